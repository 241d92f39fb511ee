//! Runs the jobs of trees with their engines. An engine is looked for when the first job needs it.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::OnceCell;

use crate::plan::notice::Notice;
use crate::process::Environment;
use crate::process::engine::{Engine, EngineError, EngineKind, Policy};
use crate::render::job::{Job, JobOutput, Outputs, Runs};
use crate::render::stage::{Stage, remove_stale};
use crate::run::error::chain;

/// The variable with the path of this program, which confines the engines. The caller sets it.
pub const LAUNCHER: &str = "KTOR_LAUNCHER";

/// The largest number of engines that run at the same time.
const MOST_AT_ONCE: usize = 4;
/// The time for all jobs of a tree together.
const TIME_FOR_ALL: Duration = Duration::from_mins(5);

/// The engines of a run. Jobs that are the same in several trees run once.
pub struct Engines {
    environment: Environment,
    policy: Policy,
    kustomize: OnceCell<Result<Engine, String>>,
    helm: OnceCell<Result<Engine, String>>,
    /// The outputs by the digests of their jobs. An engine that did not run has none, so that the job runs again.
    outputs: Mutex<BTreeMap<[u8; 32], Arc<JobOutput>>>,
    /// The part of the confinement that the kernel lacks, if an engine ran without it.
    unconfined: Mutex<Option<String>>,
}

impl fmt::Debug for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engines").field("kustomize", &self.kustomize).field("helm", &self.helm).finish_non_exhaustive()
    }
}

impl Engines {
    /// Returns engines that are looked for with the variables of this environment.
    pub fn new(environment: Environment, policy: Policy) -> Self {
        Self {
            environment,
            policy,
            kustomize: OnceCell::new(),
            helm: OnceCell::new(),
            outputs: Mutex::default(),
            unconfined: Mutex::default(),
        }
    }

    /// Runs the jobs of a tree, several at the same time. Returns the output of each.
    pub(super) async fn run(&self, jobs: Vec<Job<'_>>) -> Outputs {
        let mut sources: BTreeMap<[u8; 32], Vec<Job<'_>>> = BTreeMap::new();
        for job in jobs {
            sources.entry(job.digest()).or_default().push(job);
        }
        let at_once = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_AT_ONCE);
        let mut outputs = Outputs::new();
        let ended = futures::stream::iter(&sources)
            .map(async |(digest, jobs)| (jobs, self.output(*digest, jobs.first()).await))
            .buffer_unordered(at_once)
            .take_until(tokio::time::sleep(TIME_FOR_ALL));
        let mut ended = pin!(ended);
        while let Some((jobs, output)) = ended.next().await {
            outputs.extend(jobs.iter().map(|job| (job.id(), Arc::clone(&output))));
        }
        let message = format!("not built within {} minutes, with all others", TIME_FOR_ALL.as_secs() / 60);
        let late = Arc::new(JobOutput::NotRun(message));
        for job in sources.values().flatten() {
            outputs.entry(job.id()).or_insert_with(|| Arc::clone(&late));
        }
        outputs
    }

    /// Returns notices about the engines that were used.
    pub(super) fn notices(&self) -> Vec<Notice> {
        let engines = [&self.kustomize, &self.helm].into_iter();
        let engines = engines.filter_map(|cell| cell.get()?.as_ref().ok());
        let used = engines.map(|Engine { kind, version, .. }| Notice::RenderedWith(format!("{kind} {version}")));
        let unconfined = locked(&self.unconfined).clone().map(Notice::EngineUnconfined);
        used.chain(unconfined).collect()
    }

    async fn output(&self, digest: [u8; 32], job: Option<&Job<'_>>) -> Arc<JobOutput> {
        let known = locked(&self.outputs).get(&digest).cloned();
        if let Some(known) = known {
            return known;
        }
        let output = match job {
            Some(job) => self.run_one(job).await,
            None => Err("there is no job".to_owned()),
        };
        match output {
            Ok(output) => {
                let output = Arc::new(output);
                locked(&self.outputs).insert(digest, Arc::clone(&output));
                output
            }
            Err(message) => Arc::new(JobOutput::NotRun(message)),
        }
    }

    /// Runs a job. The error is the reason why the engine did not end by itself.
    async fn run_one(&self, job: &Job<'_>) -> Result<JobOutput, String> {
        let failed = |error: &dyn std::error::Error| format!("failed to {}", chain(error));
        let temporary = self.environment.get("TMPDIR").map_or(Path::new("/tmp"), Path::new);
        let cell = match job.engine {
            EngineKind::Kustomize => &self.kustomize,
            EngineKind::Helm => &self.helm,
        };
        let engine = cell.get_or_init(async || {
            remove_stale(temporary);
            let launcher = self.environment.get(LAUNCHER).map(PathBuf::from).unwrap_or_default();
            let found = Engine::find(job.engine, None, &launcher, &self.environment).await;
            found.map_err(|error| failed(&error))
        });
        let engine = engine.await.as_ref().map_err(Clone::clone)?;
        let stage = Stage::create(temporary, &job.files).map_err(|error| failed(&error))?;
        let first = self.printed(engine, &stage, job).await?;
        match (job.runs, first) {
            (Runs::Two, JobOutput::Printed(first)) => match self.printed(engine, &stage, job).await? {
                JobOutput::Printed(second) if first != second => Ok(JobOutput::Differed(first, second)),
                again => Ok(again),
            },
            (_, first) => Ok(first),
        }
    }

    /// Runs an engine once.
    async fn printed(&self, engine: &Engine, stage: &Stage, job: &Job<'_>) -> Result<JobOutput, String> {
        match engine.run(&stage.place(), &job.arguments, &self.policy).await {
            Ok(rendering) => {
                if rendering.unconfined.is_some() {
                    *locked(&self.unconfined) = rendering.unconfined;
                }
                Ok(JobOutput::Printed(rendering.text))
            }
            Err(EngineError::Failed { message, .. }) => Ok(JobOutput::Refused(message)),
            Err(error) => Err(format!("failed to {}", chain(&error))),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

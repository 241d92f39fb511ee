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

use crate::git::commit::Commit;
use crate::git::repository::Repository;
use crate::plan::notice::Notice;
use crate::process::Environment;
use crate::process::engine::{Engine, EngineError, EngineKind, Policy};
use crate::render::job::{Job, JobOutput, Outputs, Runs};
use crate::render::lock::{Archives, LOCK_FILE, Locked, LockedChart};
use crate::render::stage::{Stage, remove_stale};
use crate::run::charts::Charts;
use crate::run::error::chain;

/// The variable with the path of this program, which confines the engines. The caller sets it.
pub const LAUNCHER: &str = "KTOR_LAUNCHER";

/// The largest number of engines that run at the same time.
const MOST_AT_ONCE: usize = 4;
/// The time for all jobs of a tree together.
const TIME_FOR_ALL: Duration = Duration::from_mins(5);

/// An engine and its version, if a lock wants one.
type WantedEngine = (EngineKind, Option<String>);

/// An engine, or the reason why there is none, once it was looked for.
type FoundEngine = OnceCell<Result<Engine, String>>;

/// The digest of a job, and the wanted version of its engine.
type JobKey = ([u8; 32], Option<String>);

/// The engines of a run. Jobs that are the same in several trees run once.
pub struct Engines {
    environment: Environment,
    policy: Policy,
    /// The engines that were looked for, by the wanted version.
    found: Mutex<BTreeMap<WantedEngine, Arc<FoundEngine>>>,
    /// The charts that are not in the trees.
    charts: Charts,
    /// The outputs by the digests of their jobs and the wanted versions. An engine that did not run has none, so that
    /// the job runs again.
    outputs: Mutex<BTreeMap<JobKey, Arc<JobOutput>>>,
    /// The part of the confinement that the kernel lacks, if an engine ran without it.
    unconfined: Mutex<Option<String>>,
}

impl fmt::Debug for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engines").field("found", &self.found).field("charts", &self.charts).finish_non_exhaustive()
    }
}

impl Engines {
    /// Returns engines that are looked for with the variables of this environment.
    pub fn new(environment: Environment, policy: Policy) -> Self {
        Self {
            charts: Charts::new(environment.clone(), &policy),
            environment,
            policy,
            found: Mutex::default(),
            outputs: Mutex::default(),
            unconfined: Mutex::default(),
        }
    }

    /// Trusts the charts that the lock of a commit names, if a run does not trust all charts anyway.
    pub(crate) async fn trust(&self, repository: &Repository, commit: &Commit, prefix: &Path) {
        self.charts.trust(repository, commit, prefix).await;
    }

    /// Fetches the archives of charts.
    pub(super) async fn archives(&self, charts: &[LockedChart]) -> Archives {
        self.charts.archives(charts).await
    }

    /// Runs the jobs of a tree, several at the same time, with the engines that its lock wants. Returns the output of
    /// each.
    pub(super) async fn run(&self, jobs: Vec<Job<'_>>, wanted: &Locked) -> Outputs {
        let mut sources: BTreeMap<JobKey, Vec<Job<'_>>> = BTreeMap::new();
        for job in jobs {
            let version = wanted.engine(job.engine).map(str::to_owned);
            sources.entry((job.digest(), version)).or_default().push(job);
        }
        let at_once = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_AT_ONCE);
        let mut outputs = Outputs::new();
        let ended = futures::stream::iter(&sources)
            .map(async |(key, jobs)| (jobs, self.output(key, jobs.first()).await))
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

    /// Returns notices about the engines that were used and whose version no lock wants.
    pub(super) fn notices(&self) -> Vec<Notice> {
        let found = locked(&self.found).clone();
        let unpinned = found.iter().filter(|((_, version), _)| version.is_none());
        let engines = unpinned.filter_map(|(_, cell)| cell.get()?.as_ref().ok());
        let used = engines.map(|Engine { kind, version, .. }| Notice::RenderedWith(format!("{kind} {version}")));
        let unconfined = locked(&self.unconfined).clone().map(Notice::EngineUnconfined);
        used.chain(unconfined).collect()
    }

    async fn output(&self, key: &JobKey, job: Option<&Job<'_>>) -> Arc<JobOutput> {
        let known = locked(&self.outputs).get(key).cloned();
        if let Some(known) = known {
            return known;
        }
        let output = match job {
            Some(job) => self.run_one(job, key.1.as_deref()).await,
            None => Err("there is no job".to_owned()),
        };
        match output {
            Ok(output) => {
                let output = Arc::new(output);
                locked(&self.outputs).insert(key.clone(), Arc::clone(&output));
                output
            }
            Err(message) => Arc::new(JobOutput::NotRun(message)),
        }
    }

    /// Runs a job. The error is the reason why the engine did not end by itself.
    async fn run_one(&self, job: &Job<'_>, version: Option<&str>) -> Result<JobOutput, String> {
        let engine = self.engine(job.engine, version).await?;
        let stage =
            Stage::create(self.temporary(), &job.files).map_err(|error| format!("failed to {}", chain(&error)))?;
        let first = self.printed(&engine, &stage, job).await?;
        match (job.runs, first) {
            (Runs::Two, JobOutput::Printed(first)) => match self.printed(&engine, &stage, job).await? {
                JobOutput::Printed(second) if first != second => Ok(JobOutput::Differed(first, second)),
                again => Ok(again),
            },
            (_, first) => Ok(first),
        }
    }

    fn temporary(&self) -> &Path {
        self.environment.get("TMPDIR").map_or(Path::new("/tmp"), Path::new)
    }

    /// Returns an engine, which is looked for only once. The error is the reason why there is none.
    async fn engine(&self, kind: EngineKind, version: Option<&str>) -> Result<Engine, String> {
        let wanted = (kind, version.map(str::to_owned));
        let cell = Arc::clone(locked(&self.found).entry(wanted).or_default());
        let engine = cell.get_or_init(async || {
            remove_stale(self.temporary());
            let launcher = self.environment.get(LAUNCHER).map(PathBuf::from).unwrap_or_default();
            let found = Engine::find(kind, version, &launcher, &self.environment).await;
            let found = found.map_err(|error| format!("failed to {}", chain(&error)))?;
            match version.filter(|wanted| *wanted != found.version) {
                Some(wanted) => Err(format!(
                    "failed to use {kind} {}: {LOCK_FILE} wants {wanted}; install that version, or lock the charts again",
                    found.version
                )),
                None => Ok(found),
            }
        });
        engine.await.clone()
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

//! Runs on the simulated site, one after another, and the checks after they have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ktor_action::cluster::lock::LockRequest;
use ktor_action::object::mark::Root;
use ktor_action::object::redact::Redactor;
use ktor_action::plan::guard::Guard;
use ktor_action::plan::policy::Policy;
use ktor_action::project::changed::RootChange;
use ktor_action::project::path::Segment;
use ktor_action::run::decide::{BaseTree, RunRequest, ScopeBasis, decide};
use ktor_action::run::ended::{End, RunReport};
use ktor_action::run::error::RunError;
use ktor_action::run::events::Event;
use ktor_action::run::interrupt;
use ktor_action::run::reconcile::reconcile;
use ktor_action::run::review::ReviewBasis;
use ktor_action::state::provenance::Claim;
use ktor_action::state::target::TargetClaim;
use ktor_action::state::transition::RunCommits;
use support::model::World;
use support::plan_checker;

use super::checked::check;
use super::choice::{Choice, Forest, Tree};
use super::invariant;
use super::simulation::{Fates, Simulation, Situation};

/// The time that a run waits for the lock.
pub const PATIENCE: Duration = Duration::from_secs(3600);

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The holder identity, unique on the site.
    pub name: String,
    pub choice: Choice,
    pub fates: Fates,
    /// If set, the number of the request at which the run is told to stop.
    pub interrupt: Option<usize>,
    /// If true, the guard of replacements is open.
    pub allows_replacement: bool,
}

impl Run {
    pub fn of(name: impl Into<String>, choice: Choice) -> Self {
        Self { name: name.into(), choice, fates: Fates::default(), interrupt: None, allows_replacement: true }
    }
}

/// A run that has ended.
pub struct Ended {
    pub result: Result<RunReport, Stopped>,
    /// The events that the run told.
    pub events: Vec<String>,
    /// The number of requests that the run made.
    pub requests: usize,
}

/// A run that did not do everything.
#[derive(Debug)]
pub enum Stopped {
    /// The run made no plan.
    Error(RunError),
    /// The run made a plan, and this is its report.
    Report(Box<RunReport>),
}

impl Stopped {
    /// Returns the report, if the run made a plan.
    pub fn report(&self) -> Option<&RunReport> {
        match self {
            Self::Error(_) => None,
            Self::Report(report) => Some(report),
        }
    }

    /// Returns `true` if objects failed or are unready.
    pub fn is_incomplete(&self) -> bool {
        self.report().is_some_and(|report| matches!(report.end, End::Incomplete | End::Finalized))
    }

    /// Returns `true` if the run lost the lock.
    pub fn is_lock_lost(&self) -> bool {
        matches!(self, Self::Error(RunError::LockLost))
            || self.report().is_some_and(|report| matches!(report.end, End::LockLost))
    }
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Report(report) => write!(f, "{:?}: {:?}", report.end, report.outcome),
        }
    }
}

/// Returns the test's form of an event.
fn told(event: Event<'_>) -> String {
    match event {
        Event::LockHeld(holder) => format!("held by {}", holder.identity),
        Event::Phase(phase) => format!("{phase:?}"),
        Event::Applied(outcome) => format!("{} {}", outcome.verdict.word(), outcome.key),
        Event::Waiting(objects) => format!("waiting for {}", objects.len()),
        Event::Waited(outcome) => format!("waited: {} {}", outcome.verdict.word(), outcome.key),
        Event::Cleaned(outcome) => format!("cleaned: {} {}", outcome.verdict.word(), outcome.key),
    }
}

pub fn root() -> Root {
    Root::new(Segment::new("demo").unwrap())
}

pub fn request(run: &Run) -> RunRequest {
    let mut policy = Policy::new(run.choice.cleanup(), "kubernator-system");
    policy.allowed.insert(Guard::MassDeletion);
    policy.allowed.extend(run.allows_replacement.then_some(Guard::Replacement));
    let commit = format!("{:040x}", run.choice.tree as usize + 1);
    RunRequest {
        review: ReviewBasis::Policy,
        now: jiff::Timestamp::UNIX_EPOCH,
        root: root(),
        scope: run.choice.scope(),
        policy,
        redactor: Redactor::default(),
        root_change: RootChange::default(),
        claim: Claim::default(),
        target: TargetClaim::default(),
        run: run.name.clone(),
        commits: RunCommits { begun: Some(commit.clone()), ledger: Some(commit), accepted: None },
        known: BTreeSet::new(),
        approved: None,
        since: ScopeBasis::Unasked,
        notices: Vec::new(),
        before: BaseTree::Unknown,
    }
}

/// Makes a run and returns its result.
pub async fn run(site: &Simulation, forest: &Forest, run: &Run) -> Ended {
    let (interrupter, interrupt) = interrupt::pair();
    let interrupter = Arc::new(interrupter);
    let is_plain = run.fates.are_plain() && run.interrupt.is_none() && site.is_quiet();
    let before = is_plain.then(|| site.world());
    let interrupts = run.interrupt.map(|at| (at, Arc::clone(&interrupter)));
    let (cluster, count) = site.connect(&run.name, Fates { interrupt: interrupts, ..run.fates.clone() });
    let lock = LockRequest {
        namespace: "kubernator-system".to_owned(),
        root: root(),
        holder: run.name.clone(),
        timeout: PATIENCE,
        run_url: None,
    };
    let request = request(run);
    let sources = forest.sources(run.choice.tree);
    let events = Mutex::new(Vec::new());
    let tell = |event: Event<'_>| events.lock().unwrap().push(told(event));
    let result = reconcile(&cluster, &lock, &request, sources, &interrupt, &tell).await;
    if let Ok(report) = &result {
        check(site, report, run.choice.tree, before.as_ref());
    }
    let result = match result {
        Ok(report) if report.is_success() => Ok(report),
        Ok(report) => Err(Stopped::Report(Box::new(report))),
        Err(error) => Err(Stopped::Error(error)),
    };
    drop(interrupter);
    let requests = count.load(Relaxed);
    Ended { result, events: events.into_inner().unwrap(), requests }
}

/// Plans a tree and returns the violations. A plan must write nothing and must find no changes.
async fn plan(site: &Simulation, forest: &Forest, name: &str, tree: Tree) -> Vec<String> {
    let (cluster, _) = site.connect(name, Fates::default());
    let before = site.world().digest();
    let run = Run::of(name, Choice::of(tree));
    let decided = decide(&cluster, &request(&run), forest.sources(tree)).await;
    let mut violations = Vec::new();
    if site.world().digest() != before {
        violations.push("readers do not write: a plan changed the server".to_owned());
    }
    match decided {
        Ok(decided) if decided.plan.has_changes() => {
            violations.extend(plan_checker::plan(&decided.plan));
            let changes: Vec<String> = decided
                .plan
                .all()
                .filter(|change| change.action() != ktor_action::plan::decision::Action::Unchanged)
                .map(|change| format!("{} {:?}", change.ident.key, change.decision))
                .collect();
            violations.push(format!("planning again changes nothing: it would {}", changes.join(", ")));
        }
        Ok(decided) => {
            violations.extend(plan_checker::plan(&decided.plan));
            match decide(&cluster, &request(&run), forest.sources(tree)).await {
                Ok(again) => violations.extend(plan_checker::again(&decided.plan, &again.plan)),
                Err(error) => violations.push(format!("a plan can be made again: {error}")),
            }
        }
        Err(error) => violations.push(format!("planning again changes nothing: {error}")),
    }
    violations
}

/// The servers from which runs are known to settle the root without a violation.
///
/// Runs see nothing but the server. From a server that was seen before, in any test, the same runs have the same
/// results, so they are not made again.
struct Settled(Mutex<BTreeMap<Beginning, (World, World)>>);

static SETTLED: Settled = Settled(Mutex::new(BTreeMap::new()));

/// The goal, the name of the next run, and the situation in which this run begins.
type Beginning = (Tree, &'static str, Situation);

impl Settled {
    /// Changes the site as the runs do, if the result of the runs is known. Returns `true` if it is known.
    fn skip(&self, site: &Simulation, beginning: &Beginning) -> bool {
        let known = self.0.lock().unwrap();
        let Some((start, end)) = known.get(beginning) else { return false };
        site.change_like(start, end);
        true
    }

    fn remember(&self, passed: Vec<(Beginning, World)>, end: &World) {
        let passed = passed.into_iter().map(|(beginning, start)| (beginning, (start, end.clone())));
        self.0.lock().unwrap().extend(passed);
    }
}

/// Makes runs of a tree until they settle the root, and returns the violations.
///
/// The first run may begin on an unfinished state, and then it drops no entry. The second run must leave everything as
/// it should be. A third run must not write to any object. Runs whose results are known are not made.
pub async fn settle(site: &Simulation, forest: &Forest, tree: Tree) -> Vec<String> {
    let mut violations = Vec::new();
    let mut passed = Vec::new();
    for name in ["settle-1", "settle-2"] {
        if let Some(situation) = site.situation() {
            let beginning = (tree, name, situation);
            if SETTLED.skip(site, &beginning) {
                violations.extend(site.violations());
                return violations;
            }
            passed.push((beginning, site.world()));
        }
        if let Err(error) = run(site, forest, &Run::of(name, Choice::of(tree))).await.result {
            violations.push(format!("a run that nothing disturbs succeeds: {name}: {error}"));
        }
    }
    violations.extend(invariant::settled(&site.world(), tree));
    violations.extend(plan(site, forest, "plan", tree).await);
    let before = managed(site);
    if let Err(error) = run(site, forest, &Run::of("settle-3", Choice::of(tree))).await.result {
        violations.push(format!("a run that nothing disturbs succeeds: settle-3: {error}"));
    }
    if managed(site) != before {
        violations.push("converges: a second apply wrote to an object".to_owned());
    }
    violations.extend(site.violations());
    if violations.is_empty() {
        SETTLED.remember(passed, &site.world());
    }
    violations
}

/// Returns the resourceVersions of all objects outside of `kubernator-system`, which has the state and the lock.
pub fn managed(site: &Simulation) -> Vec<(String, String)> {
    let world = site.world();
    let objects = world.objects().filter(|(path, _)| !path.contains("/kubernator-system/"));
    objects.map(|(path, object)| (path.to_owned(), object["metadata"]["resourceVersion"].to_string())).collect()
}

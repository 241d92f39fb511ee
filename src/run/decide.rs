//! The first half of every run: reads the state and the cluster, and makes the plan. Writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::cluster::connect::Cluster;
use crate::object::ident::{GroupKind, ObjectKey};
use crate::object::kinds::Kinds;
use crate::object::manifest::Manifest;
use crate::object::mark::Root;
use crate::object::redact::Redactor;
use crate::plan::build::{self, Plan, PlanRequest};
use crate::plan::guard::TreeDoubt;
use crate::plan::notice::Notice;
use crate::plan::observed::Observed;
use crate::plan::offline::{self, OfflineRequest};
use crate::plan::policy::{Policy, SourceCoverage};
use crate::plan::unchanged::reduced;
use crate::plan::unready;
use crate::project::changed::RootChange;
use crate::project::path::ProjectPath;
use crate::project::scope::{Scope, ScopeRequest};
use crate::project::snapshot::Failure;
use crate::run::error::RunError;
use crate::run::listing::{Listing, Sweep};
use crate::run::observe::{look, observe};
use crate::run::record::Store;
use crate::run::review::ReviewBasis;
use crate::run::sources::{Desired, Sources};
use crate::state::commits::{Commits, Ledger};
use crate::state::freeze::Freeze;
use crate::state::payload::Entries;
use crate::state::provenance::{Claim, ProvenanceMatch};
use crate::state::target::{TargetClaim, TargetMatch};
use crate::state::transition::{Pending, Prior, RunCommits, Start};

/// The way in which a run's scope depends on the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeBasis {
    /// The scope does not depend on the ledger. The run uses the scope of the request.
    Unasked,
    /// The scope does not depend on the ledger. The run's commit was compared with these commits of the state. If the
    /// state by now names other commits that a run must not be older than, the run has to start again.
    Judged(Commits),
    /// The scope follows from the ledger. If the state by now has other commits, the run has to start again.
    Ledger {
        /// The commits that the state had when the scope was computed.
        commits: Commits,
        /// The projects that changed since the ledger. `None` if the ledger is stale or the changes are not known: then
        /// the whole root is in scope.
        touched: Option<BTreeSet<ProjectPath>>,
    },
}

/// The request for a run.
#[derive(Clone)]
pub struct RunRequest {
    /// The root.
    pub root: Root,
    /// The projects that the run may change, as requested.
    pub scope: ScopeRequest,
    /// The rules and guards that the plan has to respect.
    pub policy: Policy,
    /// The redactor, which removes secret values from everything that is shown.
    pub redactor: Redactor,
    /// The name of the run in the lock and in the state. It is unique and readable.
    pub run: String,
    /// The commits that the run writes into the state.
    pub commits: RunCommits,
    /// The projects known from the base tree.
    pub known: BTreeSet<ProjectPath>,
    /// The digest of the approved plan, or its beginning, if a plan was approved.
    pub approved: Option<String>,
    /// The way in which the scope depends on the ledger.
    pub since: ScopeBasis,
    /// The tree before the changes that the run is about.
    pub before: BaseTree,
    /// The consequences of changes to the root's own settings.
    pub root_change: RootChange,
    /// The repository and directory that the tree is read from.
    pub claim: Claim,
    /// The target that the run is for.
    pub target: TargetClaim,
    /// The review that deletions and replacements need.
    pub review: ReviewBasis,
    /// The time of the run, by which a freeze ends.
    pub now: Timestamp,
    /// Notices about the request for readers of the plan.
    pub notices: Vec<Notice>,
}

/// The tree before the changes that a run is about. It shows which parts of the desired objects come from these
/// changes, and which were there before.
#[derive(Clone)]
pub enum BaseTree {
    /// The tree is known.
    Tree(Arc<Sources>),
    /// There was no project before the changes.
    Nothing,
    /// The tree is not known. Every desired object counts as part of the changes.
    Unknown,
    /// The tree cannot be read. No desired object counts as part of the changes.
    Unreadable,
}

impl BaseTree {
    /// The desired objects of this tree, or `None` if they are not known.
    fn desired(&self, kinds: &Kinds) -> Option<BTreeMap<ObjectKey, Manifest>> {
        match self {
            Self::Tree(sources) => Some(sources.resolve(&sources.with_defined_kinds(kinds.clone())).manifests),
            Self::Nothing => Some(BTreeMap::new()),
            Self::Unknown | Self::Unreadable => None,
        }
    }

    fn told<'a>(&self, desired: Option<&'a BTreeMap<ObjectKey, Manifest>>) -> build::Baseline<'a> {
        match (self, desired) {
            (_, Some(desired)) => build::Baseline::Desired(desired),
            (Self::Unreadable, None) => build::Baseline::Unreadable,
            (_, None) => build::Baseline::Unknown,
        }
    }
}

/// The plan, and everything that the run needs to carry it out.
pub struct Decided {
    /// The plan.
    pub plan: Plan,
    /// The state that phase one records.
    pub pending: Pending,
    /// The desired objects of the whole tree.
    pub desired: BTreeMap<ObjectKey, Manifest>,
    /// The observations from the cluster.
    pub observed: Observed,
    /// The opened or claimed state.
    pub store: Store,
    /// The commit that becomes the ledger, if the run covers everything that may have changed since the last run.
    pub ledger: Option<String>,
    /// The freeze of the root, if it lasts.
    pub frozen: Option<Freeze>,
}

/// Makes the plan from the tree, the state and the cluster.
///
/// # Errors
///
/// Anything that prevents a plan. A plan that a guard refuses is not an error here.
pub async fn decide(cluster: &Cluster, request: &RunRequest, sources: &Sources) -> Result<Decided, RunError> {
    let opened = Store::open(cluster, &request.policy.state_namespace, &request.root).await?;
    decide_from(opened, cluster, request, sources).await
}

/// Makes the plan from an opened state, the tree and the cluster.
///
/// # Errors
///
/// As for [`decide`].
pub(crate) async fn decide_from(
    (store, mut prior): (Store, Prior),
    cluster: &Cluster,
    request: &RunRequest,
    sources: &Sources,
) -> Result<Decided, RunError> {
    let RunRequest { root, policy, redactor, .. } = request;
    let served = cluster.discover().await.map_err(RunError::Cluster)?;
    let kinds = sources.with_defined_kinds(served.clone()).or_builtin();
    let desired = sources.resolve(&kinds);
    prior.entries.drop_namespaces(|key| kinds.get(&key.group_kind()).is_some_and(|kind| !kind.namespaced));

    let sweep = match (&prior.start, &prior.commits.ledger) {
        (Start::Settled, Ledger::Current(_)) => Sweep::Known,
        _ => Sweep::Everything,
    };
    let known = kinds_of(&desired.manifests, &prior.entries);
    let keys = desired.manifests.keys().cloned().chain(prior.entries.keys().into_iter().cloned());
    let namespaces = keys.filter_map(|key| key.namespace).collect();
    let keep = &|key: &ObjectKey, live| reduced(key, live, desired.manifests.get(key), policy, root);
    let listing = Listing { cluster, root, kinds: &served, known: &known, namespaces: &namespaces, sweep, keep };
    let (looks, mut notices) = listing.all().await;
    let silent = served
        .unavailable()
        .filter(|group| sweep == Sweep::Everything || known.iter().any(|kind| kind.group == *group));
    notices.extend(silent.map(|group| Notice::GroupUnavailable(group.to_owned())));
    let done = store.done.of(&desired.manifests);
    let mut observed = Observed { kinds, looks, done, ..Observed::default() };
    let recorded = prior.entries.keys();
    let owned = observed.owned(root, |key| desired.manifests.contains_key(key) || recorded.contains(key));
    prior.sweep(&owned, root).map_err(RunError::State)?;

    let request = &since(request, &prior.commits, &mut notices)?;
    let scope = resolve_scope(request, sources, &prior, &desired)?;
    let (mut policy, broken) = checked(policy, &desired, &scope, &mut notices);
    let before = request.before.desired(&observed.kinds);
    let recorded = prior.entries.keys();
    let undesired: BTreeSet<_> = recorded.into_iter().filter(|key| !desired.manifests.contains_key(key)).collect();
    if request.review.has_consents() {
        // A consent is about an object with its uid.
        look(cluster, root, &mut observed, undesired.iter().map(|key| (*key).clone())).await;
    }
    request.review.judge(&mut policy, &prior, &observed, &undesired, &desired.manifests, before.as_ref());
    let recorded_and_desired =
        prior.entries.keys().into_iter().filter(|key| in_scope(&desired.manifests, key, &scope)).cloned();
    look(cluster, root, &mut observed, recorded_and_desired).await;
    let unfinished = (prior.exists && prior.start == Start::Unsettled).then_some(Notice::Unsettled);
    let plan_request = PlanRequest {
        root,
        scope: &scope,
        desired: &desired.manifests,
        entries: &prior.entries,
        policy: &policy,
        redactor,
        broken: &projects_of(&broken),
        before: request.before.told(before.as_ref()),
    };
    observe(cluster, &served, plan_request, &mut observed).await;

    let mut plan = build::build(plan_request, &observed);
    plan.notices.extend(request.notices.iter().cloned().chain(notices));
    plan.notices.extend(desired.notices);
    plan.notices.extend(unready::notice(&plan, &observed));
    plan.notices.extend(unfinished);
    tell_of_root(&mut plan, &request.root_change);
    tell_of_place(&mut plan, &mut prior, &request.claim);
    tell_of_target(&mut plan, &mut prior, &request.target);
    let frozen = store.freeze().filter(|freeze| !freeze.is_over(request.now));
    plan.notices.splice(0..0, frozen.iter().cloned().map(Notice::Frozen));
    plan.broken = broken.into_iter().map(|failure| failure.error).collect();
    let pending = prior.begin(plan.intent(), &request.commits);
    let ledger = ledger(request, prior.start, &scope, pending.entries(), sources);
    Ok(Decided { plan, pending, desired: desired.manifests, observed, store, ledger, frozen })
}

/// Makes the plan from two trees, without a cluster. The plan lists sources in scope that cannot be rendered.
///
/// # Errors
///
/// A pattern names no project.
pub(crate) fn decide_offline(request: &RunRequest, base: Option<&Sources>, head: &Sources) -> Result<Plan, RunError> {
    let mut kinds = head.with_defined_kinds(Kinds::builtin().clone());
    let mut known = head.tree.projects();
    if let Some(base) = base {
        kinds = base.with_defined_kinds(kinds);
        known.extend(base.tree.projects());
    }
    let before = base.map(|base| base.resolve(&kinds)).unwrap_or_default();
    let desired = head.resolve(&kinds);
    known.extend(request.known.iter().cloned());
    let scope = Scope::resolve(&request.scope, &known, &BTreeSet::new()).map_err(RunError::Scope)?;
    let mut notices = Vec::new();
    let (mut policy, broken) = checked(&request.policy, &desired, &scope, &mut notices);
    if !before.failures.is_empty() {
        notices.push(Notice::BaseFilesUnreadable);
        if policy.sources == SourceCoverage::Complete {
            policy.sources = SourceCoverage::BaseUnknown;
        }
    }
    let unknown = desired.manifests.keys().filter(|key| kinds.get(&key.group_kind()).is_none());
    let unknown: BTreeSet<GroupKind> = unknown.map(ObjectKey::group_kind).collect();
    if !unknown.is_empty() {
        notices.push(Notice::KindsAsWritten(unknown));
    }
    let trees = OfflineRequest {
        root: &request.root,
        scope: &scope,
        base: &before.manifests,
        head: &desired.manifests,
        policy: &policy,
        redactor: &request.redactor,
        broken: &projects_of(&broken),
    };
    let mut plan = offline::build(trees);
    plan.notices.extend(request.notices.iter().cloned().chain(notices));
    plan.broken = broken.into_iter().map(|failure| failure.error).collect();
    tell_of_root(&mut plan, &request.root_change);
    plan.notices.extend(desired.notices);
    Ok(plan)
}

/// Puts the notices about changed root settings first, because these settings affect the whole plan. Adds the refusal
/// of such a change, if there is one.
fn tell_of_root(plan: &mut Plan, change: &RootChange) {
    plan.notices.splice(0..0, change.settings.iter().cloned().map(Notice::SettingChanged));
    let refused = change.moved_state.iter().cloned();
    plan.refusals.extend(refused.map(|(from, to)| TreeDoubt::StateMoved { from, to }));
}

/// Refuses a tree that comes from another place than the recorded one, unless the caller says that the tree moved.
/// Otherwise sets the place that the run records.
fn tell_of_place(plan: &mut Plan, prior: &mut Prior, claim: &Claim) {
    match claim.judged(prior.source.as_ref()) {
        ProvenanceMatch::Same(known) => prior.source = known,
        ProvenanceMatch::Moved { from, to } => {
            prior.source = Some(to.clone());
            plan.notices.insert(0, Notice::TreeMoved { from, to });
        }
        ProvenanceMatch::Elsewhere { recorded, here } => plan.refusals.push(TreeDoubt::Elsewhere { recorded, here }),
    }
}

/// Refuses a run for another target than the recorded one, unless the caller accepts it. Otherwise sets the target that the
/// run records.
fn tell_of_target(plan: &mut Plan, prior: &mut Prior, claim: &TargetClaim) {
    match claim.judged(prior.target.as_deref()) {
        TargetMatch::Same(here) => prior.target = here,
        TargetMatch::Changed { from, to } => {
            prior.target.clone_from(&to);
            plan.notices.insert(0, Notice::TargetChanged { from, to });
        }
        TargetMatch::Other { recorded, here } => plan.refusals.push(TreeDoubt::OtherTarget { recorded, here }),
    }
}

/// The request with the scope that follows from the ledger. Fails if the commits in the state have changed since the
/// request was made.
fn since(request: &RunRequest, found: &Commits, notices: &mut Vec<Notice>) -> Result<RunRequest, RunError> {
    let mut request = request.clone();
    let (commits, touched) = match &request.since {
        ScopeBasis::Ledger { commits, touched } => (commits, touched),
        ScopeBasis::Judged(commits) if commits.measures() != found.measures() => return Err(RunError::StateChanged),
        ScopeBasis::Judged(_) | ScopeBasis::Unasked => return Ok(request),
    };
    if commits != found {
        return Err(RunError::StateChanged);
    }
    request.scope.touched = touched.clone().filter(|_| found.ledger.current().is_some());
    if found.ledger.current().is_none() {
        notices.push(Notice::WholeRoot);
    }
    Ok(request)
}

fn kinds_of(desired: &BTreeMap<ObjectKey, Manifest>, entries: &Entries) -> BTreeSet<GroupKind> {
    desired.keys().chain(entries.keys()).map(ObjectKey::group_kind).collect()
}

fn in_scope(desired: &BTreeMap<ObjectKey, Manifest>, key: &ObjectKey, scope: &Scope) -> bool {
    desired.get(key).is_some_and(|manifest| scope.contains(&manifest.project))
}

/// Resolves the scope. If the caller names no projects, the scope includes open projects and projects with orphans. A
/// project that cannot be rendered has no orphans, because its desired objects are not known.
fn resolve_scope(request: &RunRequest, sources: &Sources, prior: &Prior, desired: &Desired) -> Result<Scope, RunError> {
    let Prior { entries, open, .. } = prior;
    let mut known = sources.tree.projects();
    known.extend(request.known.iter().cloned());
    known.extend(entries.projects().cloned());
    known.extend(open.iter().cloned());
    let broken = projects_of(&desired.failures);
    let undesired = entries.iter().filter(|(_, ident)| !desired.manifests.contains_key(&ident.key));
    let undesired = undesired.map(|(project, _)| project).filter(|project| !broken.contains_key(*project));
    let due = undesired.chain(open).cloned().collect();
    Scope::resolve(&request.scope, &known, &due).map_err(RunError::Scope)
}

/// The policy and the failures that fail projects in scope. If any source failed, this policy forbids deletions.
fn checked(policy: &Policy, desired: &Desired, scope: &Scope, notices: &mut Vec<Notice>) -> (Policy, Vec<Failure>) {
    let (ours, others): (Vec<_>, Vec<_>) =
        desired.failures.iter().cloned().partition(|failure| scope.contains(&failure.project));
    let mut policy = Policy { keep_previous: desired.keep_previous.clone(), ..policy.clone() };
    if !desired.failures.is_empty() {
        policy.sources = SourceCoverage::Failed;
    }
    notices.extend(ours.iter().map(|ours| Notice::SourceFailed(ours.error.clone())));
    if let Some(first) = others.first() {
        notices.push(Notice::OtherSourceFailed(first.error.clone()));
    }
    (policy, ours)
}

/// The projects with files that cannot be rendered, each with its first failure.
fn projects_of(broken: &[Failure]) -> BTreeMap<ProjectPath, String> {
    let mut projects = BTreeMap::new();
    for Failure { project, error } in broken {
        projects.entry(project.clone()).or_insert_with(|| error.to_string());
    }
    projects
}

/// The commit that becomes the ledger, if this run covers everything that may have changed since the last run.
fn ledger(request: &RunRequest, start: Start, scope: &Scope, entries: &Entries, sources: &Sources) -> Option<String> {
    // The changes since a base that the caller named do not show what else happened since the last run.
    let untouched = |project: &ProjectPath| match (&request.since, &request.scope.touched) {
        (ScopeBasis::Ledger { .. }, Some(touched)) => !touched.contains(project),
        _ => false,
    };
    let known = sources.tree.projects();
    let covered = known.iter().chain(entries.projects()).all(|project| scope.contains(project) || untouched(project));
    request.commits.ledger.clone().filter(|_| start == Start::Settled && covered)
}

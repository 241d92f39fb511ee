//! The first half of carrying out a plan: desired objects, wave by wave, until they are ready.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};
use serde_json::Value;

use crate::cluster::apply::{Applied, ObjectError};
use crate::cluster::readiness::{Readiness, readiness};
use crate::object::ident::{GroupKind, ObjectKey};
use crate::object::kinds::{Kind, defined_kind};
use crate::object::live::Live;
use crate::object::mark::{managed_fields, ownership, stamp};
use crate::object::order::Wave;
use crate::object::refusal::Refusal;
use crate::plan::change::{Action, Change};
use crate::plan::migration::Heir;
use crate::plan::outcome::{ObjectOutcome, Outcome, Verdict};
use crate::plan::retired::restated;
use crate::run::decide::RunRequest;
use crate::run::error::RunError;
use crate::run::reconcile::Work;
use crate::run::remove::{Removed, remove};
use crate::run::vanish::{Vanished, vanished};

/// How often a migration is decided anew because the object changed under it.
const ATTEMPTS: usize = 5;

/// Applies every desired object in scope, in waves, and waits until they are ready.
///
/// Independent objects finish although one fails; what needs a failed one is skipped.
///
/// # Errors
///
/// Any failed or skipped object ([`RunError::Incomplete`]), an interrupt, or a lost lock: cleanup must not run then.
pub async fn all(work: Work<'_>) -> Result<Vec<ObjectOutcome>, RunError> {
    let mut outcomes: Vec<ObjectOutcome> = Vec::new();
    for wave in Wave::ALL {
        let changes = work.plan.changes.iter().filter(|change| Wave::of(&change.ident.key) == wave);
        let failed = Failed::of(&outcomes, work);
        let answers: Vec<Answer> = stream::iter(changes)
            .map(|change| one(work, &failed, change))
            .buffer_unordered(work.cluster.settings().concurrency)
            .collect()
            .await;
        let lost = answers.iter().any(|answer| matches!(answer, Answer::LockLost));
        let stopped = answers.iter().any(|answer| matches!(answer, Answer::NotStarted));
        outcomes.extend(answers.into_iter().filter_map(|answer| match answer {
            Answer::Done(outcome) => Some(outcome),
            Answer::LockLost | Answer::NotStarted => None,
        }));
        if lost {
            let progress = (work.plan.clone(), Outcome { applied: outcomes, cleaned: Vec::new() });
            return Err(RunError::LockLost(Some(Box::new(progress))));
        }
        if stopped || work.interrupt.is_requested() {
            let outcome = Outcome { applied: outcomes, cleaned: Vec::new() };
            return Err(RunError::Interrupted(Box::new(work.plan.clone()), outcome));
        }
    }
    outcomes.sort_by(|a, b| (Wave::of(&a.key), &a.key).cmp(&(Wave::of(&b.key), &b.key)));
    let outcome = Outcome { applied: outcomes, cleaned: Vec::new() };
    if outcome.is_complete() {
        Ok(outcome.applied)
    } else {
        Err(RunError::Incomplete(Box::new(work.plan.clone()), outcome))
    }
}

enum Answer {
    Done(ObjectOutcome),
    NotStarted,
    LockLost,
}

/// Namespaces and kinds that later objects need and that failed.
#[derive(Default)]
struct Failed {
    namespaces: BTreeSet<String>,
    kinds: BTreeSet<GroupKind>,
}

impl Failed {
    fn of(outcomes: &[ObjectOutcome], work: Work<'_>) -> Self {
        let mut failed = Self::default();
        let failing = outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Failed | Verdict::Skipped));
        for ObjectOutcome { key, .. } in failing {
            if key.is_namespace() {
                failed.namespaces.insert(key.name.clone());
            } else if key.is_crd()
                && let Some(kind) = work.desired.get(key).and_then(|manifest| defined_kind(&manifest.body))
            {
                failed.kinds.insert(kind.group_kind);
            }
        }
        failed
    }

    /// What the object needs and lacks.
    fn needed_by(&self, key: &ObjectKey) -> Option<String> {
        if let Some(namespace) = key.namespace.as_ref().filter(|namespace| self.namespaces.contains(*namespace)) {
            return Some(format!("its namespace {namespace} failed"));
        }
        self.kinds.contains(&key.group_kind()).then(|| "the definition of its kind failed".to_owned())
    }
}

async fn one(work: Work<'_>, failed: &Failed, change: &Change) -> Answer {
    let key = &change.ident.key;
    let done = |verdict, message: Option<String>| {
        let message = message.map(|message| redacted(work, key, &message));
        Answer::Done(ObjectOutcome { key: key.clone(), project: change.project.clone(), verdict, message })
    };
    if work.interrupt.is_requested() {
        return Answer::NotStarted;
    }
    if let Some(why) = failed.needed_by(key) {
        return done(Verdict::Skipped, Some(why));
    }
    match change.action {
        Action::Blocked => return done(Verdict::Failed, Some(change.reason.to_string())),
        Action::Unchanged => {
            let waiting = work.observed.live(key).filter(|live| !matches!(readiness(live), Readiness::Ready));
            return match waiting {
                Some(_) => match ready(work, key).await {
                    Ok(()) => done(Verdict::Unchanged, None),
                    Err(Some(why)) => done(Verdict::Failed, Some(why)),
                    Err(None) => Answer::NotStarted,
                },
                None => done(Verdict::Unchanged, None),
            };
        }
        _ => {}
    }
    match write(work, change).await {
        Ok(written) => match ready(work, key).await {
            Ok(()) => done(written.verdict, written.message),
            Err(Some(why)) => done(Verdict::Failed, Some(why)),
            Err(None) => Answer::NotStarted,
        },
        Err(WriteError::LockLost) => Answer::LockLost,
        Err(WriteError::Stopped) => Answer::NotStarted,
        Err(WriteError::Failed(why)) => done(Verdict::Failed, Some(why)),
    }
}

struct Written {
    verdict: Verdict,
    message: Option<String>,
}

enum WriteError {
    LockLost,
    Stopped,
    Failed(String),
}

async fn write(work: Work<'_>, change: &Change) -> Result<Written, WriteError> {
    let key = &change.ident.key;
    let failed = |why: &str| WriteError::Failed(why.to_owned());
    let manifest = work.desired.get(key).ok_or_else(|| failed("it is planned and not desired"))?;
    let kind = work.observed.kinds.get(&key.group_kind()).ok_or_else(|| failed("its kind is not known"))?;
    let kind = &redefined(work, kind);
    let mut body = manifest.body.clone();
    stamp(&mut body, &manifest.project, &work.request.root);
    let migrated = match change.action {
        Action::Update | Action::Move | Action::Adopt => migrate(work, change, kind).await?,
        _ => Migrated::NotDue,
    };
    let is_pinned = migrated == Migrated::Done || matches!(change.action, Action::Update | Action::Move);
    if let Some(uid) = change.uid.as_deref().filter(|_| is_pinned) {
        body["metadata"]["uid"] = uid.into();
    }
    if change.action == Action::Replace {
        removed(work, change).await?;
    }
    if let Some(live) = work.observed.live(key).filter(|live| live.is_terminating()) {
        vacated(work, kind, key, live.uid()).await?;
    }
    let written = kind.at_version(&manifest.ident.version);
    let mut applied = apply(work, &written, &body).await?;
    if applied.live.is_terminating() {
        // Applied, and about to vanish all the same: what counts is the one that comes after it.
        vacated(work, kind, key, applied.live.uid()).await?;
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("uid");
        }
        applied = apply(work, &written, &body).await?;
    }
    if applied.live.is_terminating() {
        return Err(failed("it is being deleted: run again when it is gone"));
    }
    Ok(match (applied.created, change.action) {
        (true, Action::Replace) => Written { verdict: Verdict::Replaced, message: None },
        (true, _) => Written { verdict: Verdict::Created, message: None },
        (false, Action::Create | Action::Replace) => {
            let message = Some("it appeared after the plan was made, and was adopted".to_owned());
            Written { verdict: Verdict::Configured, message }
        }
        (false, _) => Written { verdict: Verdict::Configured, message: None },
    })
}

/// The kind without the versions that the tree's own definition of it takes away.
fn redefined(work: Work<'_>, kind: &Kind) -> Kind {
    let definition = ObjectKey {
        group: "apiextensions.k8s.io".to_owned(),
        kind: "CustomResourceDefinition".to_owned(),
        namespace: None,
        name: format!("{}.{}", kind.plural, kind.group_kind.group),
    };
    let mut kind = kind.clone();
    if let Some(defined) = work.desired.get(&definition).and_then(|manifest| defined_kind(&manifest.body))
        && kind.versions.iter().any(|version| defined.versions.contains(version))
    {
        kind.versions.retain(|version| defined.versions.contains(version));
    }
    kind
}

async fn apply(work: Work<'_>, kind: &Kind, body: &Value) -> Result<Applied, WriteError> {
    work.cluster.apply(work.lock, kind, body, &work.request.root).await.map_err(|error| match error {
        ObjectError::LockLost => WriteError::LockLost,
        ObjectError::Refused(refusal) => WriteError::Failed(refusal.to_string()),
    })
}

/// Deletes what cannot be changed in place. A run that dies before it is created anew has recorded it: the next creates it.
async fn removed(work: Work<'_>, change: &Change) -> Result<(), WriteError> {
    match remove(work, change).await {
        Removed::Gone => Ok(()),
        Removed::Released => Err(WriteError::Failed("someone else made it anew meanwhile: run again".to_owned())),
        Removed::Failed(why) => Err(WriteError::Failed(format!("it cannot be replaced: {why}"))),
        Removed::NotStarted => Err(WriteError::Stopped),
        Removed::LockLost => Err(WriteError::LockLost),
    }
}

/// Waits until an object that is being deleted has made place for the desired one.
async fn vacated(work: Work<'_>, kind: &Kind, key: &ObjectKey, uid: &str) -> Result<(), WriteError> {
    match vanished(work, kind, key, uid).await {
        Vanished::Gone => Ok(()),
        Vanished::Held(why) => Err(WriteError::Failed(format!("{why}: run again when it is gone"))),
        Vanished::Stopped => Err(WriteError::Stopped),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Migrated {
    NotDue,
    Done,
}

/// Makes ours what older tools hold of an object that is ours or becomes it, so that the apply can remove it.
///
/// A run that dies before the apply leaves the object as it was but for that: the next run goes on.
async fn migrate(work: Work<'_>, change: &Change, kind: &Kind) -> Result<Migrated, WriteError> {
    let key = &change.ident.key;
    let Some(planned) = work.observed.live(key) else { return Ok(Migrated::NotDue) };
    let RunRequest { root, policy, .. } = work.request;
    let heir = Heir::of(root, &change.ident.api_version(), policy, key, planned);
    let extent = work.observed.extent(key);
    let mut live = planned.clone();
    for _ in 0..ATTEMPTS {
        let restated = restated(&live, kind, &change.ident.api_version());
        let fields = match (heir.managed_fields(restated.as_ref().unwrap_or(&live), extent), &restated) {
            (Some(fields), _) => fields,
            (None, Some(restated)) => managed_fields(restated).cloned().collect(),
            (None, None) => return Ok(Migrated::NotDue),
        };
        match work.cluster.replace_managed_fields(work.lock, kind, (key, &live), &fields, root).await {
            Ok(_) => return Ok(Migrated::Done),
            Err(ObjectError::LockLost) => return Err(WriteError::LockLost),
            // Another version of it, or our own lost attempt: look again, and never send the same again.
            Err(ObjectError::Refused(Refusal::Changed(_) | Refusal::Invalid(_))) => {
                live = reread(work, kind, key, planned, |now| match heir.inherited(now, extent) {
                    inherited @ Some(_) => inherited == heir.inherited(planned, extent),
                    None => true,
                })
                .await?;
            }
            Err(ObjectError::Refused(refusal)) => return Err(WriteError::Failed(refusal.to_string())),
        }
    }
    Err(WriteError::Failed("it changes faster than its fields can be taken over: run again".to_owned()))
}

/// Reads an object again: it has to be the one that was planned with, of the same owner, and as expected.
async fn reread(
    work: Work<'_>,
    kind: &Kind,
    key: &ObjectKey,
    planned: &Live,
    is_expected: impl Fn(&Live) -> bool,
) -> Result<Live, WriteError> {
    let root = &work.request.root;
    match work.cluster.get(kind, key).await {
        Ok(Some(now))
            if now.uid() == planned.uid()
                && std::mem::discriminant(&ownership(&now, root))
                    == std::mem::discriminant(&ownership(planned, root))
                && is_expected(&now) =>
        {
            Ok(now)
        }
        Ok(_) => Err(WriteError::Failed("it changed after the plan was made: run again".to_owned())),
        Err(error) => Err(WriteError::Failed(error.to_string())),
    }
}

/// Waits until an object is ready; an error without a reason means that the run was interrupted.
async fn ready(work: Work<'_>, key: &ObjectKey) -> Result<(), Option<String>> {
    let Some(kind) = work.observed.kinds.get(&key.group_kind()) else { return Ok(()) };
    let mut interrupt = work.interrupt.clone();
    tokio::select! {
        ready = work.cluster.ready(kind, key, work.cluster.settings().readiness_timeout) => {
            ready.map_err(|waiting| Some(format!("it did not become ready: {}", waiting.reason)))
        }
        () = interrupt.requested() => Err(None),
    }
}

/// A message about an object without any of its secrets.
pub fn redacted(work: Work<'_>, key: &ObjectKey, message: &str) -> String {
    let live = work.observed.live(key).map(|live| &live.body);
    let bodies: Vec<&Value> = live.into_iter().chain(work.desired.get(key).map(|manifest| &manifest.body)).collect();
    work.request.redactor.message(&bodies, message)
}

//! The second half of carrying out a plan: deletes the objects that are no longer desired, and waits until they are
//! gone.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use crate::cluster::wait::{Awaited, Until};
use crate::object::ident::ObjectKey;
use crate::object::kinds::Kinds;
use crate::object::live::Live;
use crate::object::order::CleanupStep;
use crate::object::refusal::Refusal;
use crate::plan::change::Change;
use crate::plan::cleanup::{holds, is_holder};
use crate::plan::collateral::Collateral;
use crate::plan::decision::{Action, Contents};
use crate::plan::guard::Guard;
use crate::plan::observed::Lookup;
use crate::plan::obstacle::lifted;
use crate::plan::outcome::{Detail, ObjectOutcome, Verdict};
use crate::project::path::ProjectPath;
use crate::run::apply::{PATIENCE, outcome, planned};
use crate::run::context::{RunContext, Stop};
use crate::run::events::Event;
use crate::run::observe::contents;
use crate::run::remove::{Removed, remove};
use crate::run::waits::{End, Waits};
use crate::state::transition::Settlement;

/// The number of namespaces and CRDs whose contents are listed together, right before they are deleted.
const HOLDERS: usize = 50;

/// The result of a cleanup.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cleaned {
    /// The outcome of each object, in the order of the cleanup.
    pub outcomes: Vec<ObjectOutcome>,
    gone: Vec<ObjectKey>,
    released: Vec<ObjectKey>,
}

impl Cleaned {
    /// The result of the run, for the state. The ledger does not advance if a deletion failed.
    pub(crate) fn settlement(&self, work: RunContext<'_>, ledger: Option<String>) -> Settlement {
        let absent =
            work.observed.looks.iter().filter(|(_, look)| **look == Lookup::Absent).map(|(key, _)| key.clone());
        let desired = |key: &ObjectKey| work.desired.contains_key(key);
        let released = work
            .plan
            .cleanup
            .iter()
            .filter(|change| change.action() == Action::Release)
            .map(|change| change.ident.key.clone());
        let placed = work.plan.changes.iter().filter(|change| change.disposition().is_none());
        Settlement {
            gone: absent.filter(|key| !desired(key)).chain(self.gone.iter().cloned()).collect(),
            released: released.chain(self.released.iter().cloned()).collect(),
            placed: placed.map(|change| (change.ident.key.clone(), change.project.clone())).collect(),
            open: self.open_projects(work),
            awaits_review: work.plan.awaits_review(),
            in_flight: work.lock.has_unanswered(),
            ledger: self.ledger(ledger),
        }
    }

    /// Returns `true` if the refusal comes from a webhook or policy that this run has deleted.
    fn has_lifted(&self, work: RunContext<'_>, refusal: &Refusal) -> bool {
        let gone = self.gone.iter().filter_map(|key| Some((key, &work.observed.live(key)?.body)));
        lifted(refusal, &gone.collect::<Vec<_>>()).is_some()
    }

    fn is_gone(&mut self, work: RunContext<'_>, change: &Change) {
        self.gone.push(change.ident.key.clone());
        self.note(work, change, Verdict::Deleted, None);
    }

    fn note(&mut self, work: RunContext<'_>, change: &Change, verdict: Verdict, message: Option<&str>) {
        self.add(work, outcome(work, change, verdict, message));
    }

    fn add(&mut self, work: RunContext<'_>, outcome: ObjectOutcome) {
        (work.events)(Event::Cleaned(&outcome));
        self.outcomes.push(outcome);
    }

    /// The commit that becomes the ledger, or `None` if a deletion failed.
    fn ledger(&self, ledger: Option<String>) -> Option<String> {
        ledger.filter(|_| !self.has_failed())
    }

    /// The projects that are open after the run, because the plan leaves something as it is or because a deletion did
    /// not succeed.
    fn open_projects(&self, work: RunContext<'_>) -> BTreeSet<ProjectPath> {
        let failed =
            self.outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Failed | Verdict::Skipped));
        let mut open = work.plan.open_projects();
        open.extend(failed.map(|outcome| outcome.project.clone()));
        open
    }

    fn has_failed(&self) -> bool {
        self.outcomes.iter().any(|outcome| outcome.verdict == Verdict::Failed)
    }
}

enum DeletionAnswer {
    Tried(Removed),
    /// By now, the object holds other objects that would be deleted with it.
    Holds(Contents),
    Waits(String),
}

/// Deletes the plan's cleanup set step by step. An object that fails or is refused stays recorded. It prevents no other
/// deletion than those of its own namespace and of the CRD of its kind.
///
/// Each step is sent as a whole, and then waited for as a whole.
///
/// # Errors
///
/// The run is interrupted or loses the lock. The caller must not start phase two then. The outcomes so far are in
/// `cleaned`.
pub(crate) async fn all(work: RunContext<'_>, cleaned: &mut Cleaned) -> Result<(), Stop> {
    let builtin = Kinds::builtin();
    let step_of = |key: &ObjectKey| CleanupStep::of(key, |key| builtin.get(&key.group_kind()).is_some());
    // The run does not try a deletion that is blocked in the plan, and does not succeed.
    for change in work.plan.cleanup.iter().filter(|change| change.action() == Action::Blocked) {
        cleaned.add(work, planned(change, Verdict::Failed));
    }
    for step in CleanupStep::ALL {
        let deletions = work.plan.deletions().filter(|change| step_of(&change.ident.key) == step).collect();
        match carry_out(work, cleaned, deletions).await {
            Some(stop) => return Err(stop),
            None if work.interrupt.is_requested() => return Err(Stop::Interrupted),
            None => {}
        }
    }
    Ok(())
}

/// A deletion to send. The time is set once a webhook or policy that this run has deleted refuses the deletion, and is
/// the time of the first such refusal.
type Sending<'a> = (&'a Change, Option<Instant>);

/// The next step after the end of a wait.
enum Then<'a> {
    Gone(&'a Change),
    Send(Sending<'a>),
}

/// Sends the deletions of a step, and then waits until all these objects are gone.
async fn carry_out(work: RunContext<'_>, cleaned: &mut Cleaned, deletions: Vec<&Change>) -> Option<Stop> {
    let size = if deletions.iter().any(|change| is_holder(&change.ident.key)) { HOLDERS } else { deletions.len() };
    let mut waits = Waits::new(work);
    let mut sending: Vec<Sending<'_>> = deletions.into_iter().map(|change| (change, None)).collect();
    loop {
        for some in sending.chunks(size.max(1)) {
            let stop = send(work, cleaned, &mut waits, some).await;
            // If a deletion can no longer be sent, the run fails anyway, so it does not wait for the others.
            if stop.is_some() {
                return stop;
            }
        }
        if waits.is_empty() {
            return None;
        }
        let Ok(ended) = waits.next().await else { return Some(Stop::Interrupted) };
        sending = Vec::new();
        for (then, end) in ended {
            match (then, end) {
                (Then::Gone(change), End::Over) => cleaned.is_gone(work, change),
                (Then::Send(again), _) => sending.push(again),
                (Then::Gone(change), End::Failed(why) | End::TimedOut(why)) => {
                    let why = format!("it is being deleted and {why}");
                    cleaned.note(work, change, Verdict::Failed, Some(&why));
                }
            }
        }
    }
}

/// Sends some deletions and takes each answer when it comes. Returns the reason to stop, if there is one.
async fn send<'a>(
    work: RunContext<'_>,
    cleaned: &mut Cleaned,
    waits: &mut Waits<'_, Then<'a>>,
    some: &[Sending<'a>],
) -> Option<Stop> {
    let changes: Vec<&Change> = some.iter().map(|(change, _)| *change).collect();
    let Some(contents) = &look_into_these(work, &changes).await else { return Some(Stop::Interrupted) };
    let left_in = |change: &Change| held(work, &cleaned.outcomes, &change.ident.key).cloned();
    let sent: Vec<_> = some.iter().map(|sending| (*sending, left_in(sending.0))).collect();
    let mut answers = stream::iter(sent)
        .map(|(sent, left)| async move {
            let answer = match left {
                Some(left) => DeletionAnswer::Waits(format!("it still contains {left} and waits for it")),
                None => one(work, sent.0, contents).await,
            };
            (sent, answer)
        })
        .buffer_unordered(work.cluster.settings().concurrency);
    let mut stop = None;
    while let Some((sent, answer)) = answers.next().await {
        stop = stop.max(take(work, cleaned, waits, sent, answer));
    }
    stop
}

/// Notes the result of one deletion, or adds the object to the waits. Returns the reason to stop, if there is one.
fn take<'a>(
    work: RunContext<'_>,
    cleaned: &mut Cleaned,
    waits: &mut Waits<'_, Then<'a>>,
    (change, refused): Sending<'a>,
    answer: DeletionAnswer,
) -> Option<Stop> {
    let key = &change.ident.key;
    match answer {
        DeletionAnswer::Tried(Removed::Gone) => cleaned.is_gone(work, change),
        DeletionAnswer::Tried(Removed::Leaving { kind, uid }) => {
            waits.add(Awaited { kind, key: key.clone(), until: Until::Gone { uid } }, Then::Gone(change));
        }
        DeletionAnswer::Tried(Removed::Released) => {
            cleaned.released.push(key.clone());
            let why = "it belongs to another owner now and was removed from the state";
            cleaned.note(work, change, Verdict::Unchanged, Some(why));
        }
        DeletionAnswer::Tried(Removed::Refused(refusal)) => {
            let first = refused.unwrap_or_else(Instant::now);
            let kind = work.observed.kinds.get(&key.group_kind());
            match kind.filter(|_| cleaned.has_lifted(work, &refusal) && first.elapsed() < PATIENCE) {
                // The server has not noticed yet that the webhook is gone.
                Some(kind) => {
                    let awaited = Awaited { kind: kind.clone(), key: key.clone(), until: Until::NextLook };
                    waits.add(awaited, Then::Send((change, Some(first))));
                }
                None => cleaned.note(work, change, Verdict::Failed, Some(&refusal.to_string())),
            }
        }
        DeletionAnswer::Tried(Removed::Protected(protection)) => {
            let detail = Some(Detail::NowProtected(protection));
            cleaned.add(work, ObjectOutcome { detail, ..outcome(work, change, Verdict::Failed, None) });
        }
        DeletionAnswer::Tried(Removed::Failed(why)) => cleaned.note(work, change, Verdict::Failed, Some(&why)),
        DeletionAnswer::Holds(contents) => {
            let detail = Some(Detail::NowHolds(contents));
            cleaned.add(work, ObjectOutcome { detail, ..outcome(work, change, Verdict::Failed, None) });
        }
        DeletionAnswer::Waits(why) => cleaned.note(work, change, Verdict::Skipped, Some(&why)),
        DeletionAnswer::Tried(Removed::NotStarted) => return Some(Stop::Interrupted),
        DeletionAnswer::Tried(Removed::LockLost) => return Some(Stop::LockLost),
    }
    None
}

/// Lists once more the contents of the namespaces and CRDs that are about to be deleted, because new objects may have
/// appeared since the plan was made. Returns `None` if a signal came first.
async fn look_into_these(work: RunContext<'_>, deletions: &[&Change]) -> Option<BTreeMap<ObjectKey, Collateral>> {
    if work.request.policy.allowed.contains(&Guard::Foreign) {
        return Some(BTreeMap::new());
    }
    let holders = deletions.iter().map(|change| &change.ident.key).filter(|key| is_holder(key));
    let live = |key| work.observed.live(key).filter(|live| !live.is_terminating());
    let holders: Vec<(ObjectKey, &Live)> = holders.filter_map(|key| Some((key.clone(), live(key)?))).collect();
    let mut interrupt = work.interrupt.clone();
    tokio::select! {
        contents = contents(work.cluster, &work.request.root, &work.observed.kinds, holders) => Some(contents),
        () = interrupt.requested() => None,
    }
}

/// Deletes one object, unless objects of other owners would be deleted with it.
async fn one(work: RunContext<'_>, change: &Change, contents: &BTreeMap<ObjectKey, Collateral>) -> DeletionAnswer {
    let key = &change.ident.key;
    let deleted = || work.plan.deletions().collect::<Vec<_>>();
    match contents.get(key).and_then(|content| content.outside(&deleted())) {
        Some(outside) => DeletionAnswer::Holds(outside),
        None => DeletionAnswer::Tried(remove(work, change).await),
    }
}

/// An object that could not be deleted and that `key`, a namespace or CRD, contains. If the run deleted `key`, the
/// server would delete this object too, or the deletion would not end.
fn held<'a>(work: RunContext<'_>, outcomes: &'a [ObjectOutcome], key: &ObjectKey) -> Option<&'a ObjectKey> {
    if !is_holder(key) {
        return None;
    }
    let mut left = outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Failed).map(|outcome| &outcome.key);
    left.find(|left| holds(key, left, work.observed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_a_failed_deletion_leaves_the_ledger_stale() {
        let key = ObjectKey { group: String::new(), kind: "ConfigMap".into(), namespace: None, name: "x".into() };
        let outcome =
            |verdict| ObjectOutcome { key: key.clone(), project: "demo".parse().unwrap(), verdict, detail: None };
        let ledger = |verdicts: &[Verdict]| {
            let outcomes = verdicts.iter().map(|verdict| outcome(*verdict)).collect();
            Cleaned { outcomes, ..Cleaned::default() }.ledger(Some("c0".to_owned()))
        };
        assert_eq!(ledger(&[Verdict::Deleted, Verdict::Skipped]), Some("c0".to_owned()));
        assert_eq!(ledger(&[Verdict::Deleted, Verdict::Failed]), None);
    }
}

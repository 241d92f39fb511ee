//! The second half of carrying out a plan: what is no longer desired is deleted, and waited for until it is gone.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use crate::cluster::wait::{Awaited, Until};
use crate::object::ident::ObjectKey;
use crate::object::kinds::Kinds;
use crate::object::live::Live;
use crate::object::order::CleanupStep;
use crate::object::refusal::Refusal;
use crate::plan::build::Plan;
use crate::plan::change::{Action, Change};
use crate::plan::cleanup::{holds, is_holder};
use crate::plan::collateral::Collateral;
use crate::plan::observed::Lookup;
use crate::plan::obstacle::lifted;
use crate::plan::outcome::{ObjectOutcome, Outcome, Verdict};
use crate::plan::policy::Gate;
use crate::project::path::ProjectPath;
use crate::run::apply::{PATIENCE, Stop, outcome};
use crate::run::collateral::look_into_all;
use crate::run::error::RunError;
use crate::run::reconcile::RunContext;
use crate::run::remove::{Removed, remove};
use crate::run::waits::{End, Waits};
use crate::state::transition::Settlement;

/// So many namespaces and definitions are looked into together, right before they are deleted.
const HOLDERS: usize = 50;

/// What cleanup did.
#[derive(Clone, Debug, Default)]
pub struct Cleaned {
    /// Object by object, in the order of cleanup.
    pub outcomes: Vec<ObjectOutcome>,
    gone: Vec<ObjectKey>,
    released: Vec<ObjectKey>,
}

impl Cleaned {
    /// What the run settled, for the record. The ledger does not move where something failed.
    pub fn settlement(&self, work: RunContext<'_>, ledger: Option<String>) -> Settlement {
        let absent =
            work.observed.looks.iter().filter(|(_, look)| **look == Lookup::Absent).map(|(key, _)| key.clone());
        let desired = |key: &ObjectKey| work.desired.contains_key(key);
        let released = work
            .plan
            .cleanup
            .iter()
            .filter(|change| change.action == Action::Release)
            .map(|change| change.ident.key.clone());
        let placed = work.plan.changes.iter().filter(|change| change.standing().is_none());
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

    /// Whether a refusal is by a webhook or policy that this run has deleted.
    fn has_lifted(&self, work: RunContext<'_>, refusal: &Refusal) -> bool {
        let gone = self.gone.iter().filter_map(|key| Some((key, &work.observed.live(key)?.body)));
        lifted(refusal, &gone.collect::<Vec<_>>()).is_some()
    }

    fn is_gone(&mut self, change: &Change) {
        self.gone.push(change.ident.key.clone());
        let (key, project) = (change.ident.key.clone(), change.project.clone());
        self.outcomes.push(ObjectOutcome { key, project, verdict: Verdict::Deleted, message: None });
    }

    fn note(&mut self, work: RunContext<'_>, change: &Change, verdict: Verdict, message: Option<&str>) {
        self.outcomes.push(outcome(work, change, verdict, message));
    }

    /// The commit that becomes the ledger: none where a deletion failed.
    fn ledger(&self, ledger: Option<String>) -> Option<String> {
        ledger.filter(|_| !self.has_failed())
    }

    /// The projects in which something stays as it is, by the plan or because its deletion failed.
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
    Waits(String),
}

/// Deletes the plan's cleanup set, step by step. What fails or is refused stays recorded, and blocks nothing but its
/// own namespace and the definition of its kind.
///
/// A step is sent as a whole and then waited for as a whole.
///
/// # Errors
///
/// An interrupt or a lost lock; phase two must not happen then.
pub async fn all(work: RunContext<'_>, applied: &[ObjectOutcome]) -> Result<Cleaned, RunError> {
    let builtin = Kinds::builtin();
    let step_of = |key: &ObjectKey| CleanupStep::of(key, |key| builtin.get(&key.group_kind()).is_some());
    let mut cleaned = Cleaned { outcomes: refused(work.plan), ..Cleaned::default() };
    for step in CleanupStep::ALL {
        let deletions = work.plan.deletions().filter(|change| step_of(&change.ident.key) == step).collect();
        let stop = carry_out(work, &mut cleaned, deletions).await;
        let progress = || Outcome { applied: applied.to_vec(), cleaned: cleaned.outcomes.clone() };
        if stop == Some(Stop::LockLost) {
            return Err(RunError::LockLost(Some(Box::new((work.plan.clone(), progress())))));
        }
        if stop.is_some() || work.interrupt.is_requested() {
            return Err(RunError::Interrupted(Box::new(work.plan.clone()), progress()));
        }
    }
    Ok(cleaned)
}

/// A deletion to be sent, and when it was first refused by what this run has deleted.
type Sending<'a> = (&'a Change, Option<Instant>);

/// What follows when a wait ends.
enum Then<'a> {
    Gone(&'a Change),
    Send(Sending<'a>),
}

/// Sends the deletions of a step, then waits until all of it is gone.
async fn carry_out(work: RunContext<'_>, cleaned: &mut Cleaned, deletions: Vec<&Change>) -> Option<Stop> {
    let size = if deletions.iter().any(|change| is_holder(&change.ident.key)) { HOLDERS } else { deletions.len() };
    let mut waits = Waits::new(work);
    let mut sending: Vec<Sending<'_>> = deletions.into_iter().map(|change| (change, None)).collect();
    loop {
        for some in sending.chunks(size.max(1)) {
            let Some(answers) = send(work, cleaned, some).await else { return Some(Stop::Interrupted) };
            let mut stop = None;
            for (sent, answer) in answers {
                stop = stop.max(take(work, cleaned, &mut waits, sent, answer));
            }
            // What cannot be started any more keeps the run from ending well: nothing is waited for either.
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
                (Then::Gone(change), End::Over) => cleaned.is_gone(change),
                (Then::Send(again), _) => sending.push(again),
                (Then::Gone(change), End::Failed(why) | End::TimedOut(why)) => {
                    let why = format!("it is being deleted and {why}");
                    cleaned.note(work, change, Verdict::Failed, Some(&why));
                }
            }
        }
    }
}

/// Sends some deletions; nothing where a signal came first.
async fn send<'a>(
    work: RunContext<'_>,
    cleaned: &Cleaned,
    some: &[Sending<'a>],
) -> Option<Vec<(Sending<'a>, DeletionAnswer)>> {
    let changes: Vec<&Change> = some.iter().map(|(change, _)| *change).collect();
    let contents = &look_into_these(work, &changes).await?;
    let answers = stream::iter(some.iter().copied())
        .map(|sent| {
            let left = held(work, &cleaned.outcomes, &sent.0.ident.key).cloned();
            async move {
                let answer = match left {
                    Some(left) => DeletionAnswer::Waits(format!("it still holds {left}: it waits for that one")),
                    None => DeletionAnswer::Tried(one(work, sent.0, contents).await),
                };
                (sent, answer)
            }
        })
        .buffer_unordered(work.cluster.settings().concurrency)
        .collect()
        .await;
    Some(answers)
}

/// Notes what one deletion came to, or what has to be waited for.
fn take<'a>(
    work: RunContext<'_>,
    cleaned: &mut Cleaned,
    waits: &mut Waits<'_, Then<'a>>,
    (change, refused): Sending<'a>,
    answer: DeletionAnswer,
) -> Option<Stop> {
    let key = &change.ident.key;
    match answer {
        DeletionAnswer::Tried(Removed::Gone) => cleaned.is_gone(change),
        DeletionAnswer::Tried(Removed::Leaving { kind, uid }) => {
            waits.add(Awaited { kind, key: key.clone(), until: Until::Gone { uid } }, Then::Gone(change));
        }
        DeletionAnswer::Tried(Removed::Released) => {
            cleaned.released.push(key.clone());
            let why = "it belongs to someone else now and was let go";
            cleaned.note(work, change, Verdict::Unchanged, Some(why));
        }
        DeletionAnswer::Tried(Removed::Refused(refusal)) => {
            let first = refused.unwrap_or_else(Instant::now);
            let kind = work.observed.kinds.get(&key.group_kind());
            match kind.filter(|_| cleaned.has_lifted(work, &refusal) && first.elapsed() < PATIENCE) {
                // The server has yet to take notice that the webhook is gone.
                Some(kind) => {
                    let awaited = Awaited { kind: kind.clone(), key: key.clone(), until: Until::NextLook };
                    waits.add(awaited, Then::Send((change, Some(first))));
                }
                None => cleaned.note(work, change, Verdict::Failed, Some(&refusal.to_string())),
            }
        }
        DeletionAnswer::Tried(Removed::Failed(why)) => cleaned.note(work, change, Verdict::Failed, Some(&why)),
        DeletionAnswer::Waits(why) => cleaned.note(work, change, Verdict::Skipped, Some(&why)),
        DeletionAnswer::Tried(Removed::NotStarted) => return Some(Stop::Interrupted),
        DeletionAnswer::Tried(Removed::LockLost) => return Some(Stop::LockLost),
    }
    None
}

/// Looks once more into the holders that are about to be deleted: content may have come since the plan was made.
/// Nothing where a signal came first.
async fn look_into_these(work: RunContext<'_>, deletions: &[&Change]) -> Option<BTreeMap<ObjectKey, Collateral>> {
    if work.request.policy.allow_foreign_deletion != Gate::Closed {
        return Some(BTreeMap::new());
    }
    let holders = deletions.iter().map(|change| &change.ident.key).filter(|key| is_holder(key));
    let live = |key| work.observed.live(key).filter(|live| !live.is_terminating());
    let holders: Vec<(&ObjectKey, &Live)> = holders.filter_map(|key| Some((key, live(key)?))).collect();
    let mut interrupt = work.interrupt.clone();
    tokio::select! {
        contents = look_into_all(work.cluster, &work.observed.kinds, &holders) => Some(contents),
        () = interrupt.requested() => None,
    }
}

/// Deletes one object, unless what others have would go with it.
async fn one(work: RunContext<'_>, change: &Change, contents: &BTreeMap<ObjectKey, Collateral>) -> Removed {
    let key = &change.ident.key;
    let deleted = || work.plan.deletions().collect::<Vec<_>>();
    match contents.get(key).and_then(|content| content.told(key, &deleted())) {
        Some(told) => Removed::Failed(format!("it stays, because by now {told}")),
        None => remove(work, change).await,
    }
}

/// What the plan says cannot be deleted: nothing is tried, and the run does not succeed.
fn refused(plan: &Plan) -> Vec<ObjectOutcome> {
    let blocked = plan.cleanup.iter().filter(|change| change.action == Action::Blocked);
    let outcome = |change: &Change| ObjectOutcome {
        key: change.ident.key.clone(),
        project: change.project.clone(),
        verdict: Verdict::Failed,
        message: Some(change.reason.to_string()),
    };
    blocked.map(outcome).collect()
}

/// An object that could not be deleted and would go, or hang, with its namespace or definition.
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
            |verdict| ObjectOutcome { key: key.clone(), project: "demo".parse().unwrap(), verdict, message: None };
        let ledger = |verdicts: &[Verdict]| {
            let outcomes = verdicts.iter().map(|verdict| outcome(*verdict)).collect();
            Cleaned { outcomes, ..Cleaned::default() }.ledger(Some("c0".to_owned()))
        };
        assert_eq!(ledger(&[Verdict::Deleted, Verdict::Skipped]), Some("c0".to_owned()));
        assert_eq!(ledger(&[Verdict::Deleted, Verdict::Failed]), None);
    }
}

//! The second half of carrying out a plan: what is no longer desired is deleted, and waited for until it is gone.

use futures::stream::{self, StreamExt};

use crate::object::ident::ObjectKey;
use crate::object::kinds::Kinds;
use crate::object::order::CleanupStep;
use crate::plan::build::Plan;
use crate::plan::change::{Action, Change};
use crate::plan::cleanup::{holds, is_holder};
use crate::plan::observed::Look;
use crate::plan::outcome::{ObjectOutcome, Outcome, Verdict};
use crate::plan::policy::Gate;
use crate::run::apply::redacted;
use crate::run::content::look_into;
use crate::run::error::RunError;
use crate::run::reconcile::Work;
use crate::run::remove::{Removed, remove};
use crate::state::transition::{Ledger, Settlement};

/// What cleanup did.
#[derive(Clone, Debug, Default)]
pub struct Cleaned {
    /// Object by object, in the order of cleanup.
    pub outcomes: Vec<ObjectOutcome>,
    gone: Vec<ObjectKey>,
    released: Vec<ObjectKey>,
}

impl Cleaned {
    /// What the run settled, for the record.
    pub fn settlement(&self, work: Work<'_>) -> Settlement {
        let absent = work.observed.looks.iter().filter(|(_, look)| **look == Look::Absent).map(|(key, _)| key.clone());
        let desired = |key: &ObjectKey| work.desired.contains_key(key);
        let released = work
            .plan
            .cleanup
            .iter()
            .filter(|change| change.action == Action::Release)
            .map(|change| change.ident.key.clone());
        Settlement {
            gone: absent.filter(|key| !desired(key)).chain(self.gone.iter().cloned()).collect(),
            released: released.chain(self.released.iter().cloned()).collect(),
            placed: work.plan.changes.iter().map(|change| (change.ident.key.clone(), change.project.clone())).collect(),
            in_flight: work.lock.has_unanswered(),
        }
    }

    /// The ledger that may be written: none where something failed or may still happen.
    pub fn ledger(&self, ledger: Ledger, settlement: &Settlement) -> Ledger {
        let failed = self.outcomes.iter().any(|outcome| outcome.verdict == Verdict::Failed);
        if failed || settlement.in_flight { Ledger::Stale } else { ledger }
    }
}

enum Answer {
    Tried(Removed),
    Waits(String),
}

/// Deletes the plan's cleanup set, step by step. What fails or is refused stays recorded, and blocks nothing but its
/// own namespace and the definition of its kind.
///
/// # Errors
///
/// An interrupt or a lost lock; phase two must not happen then.
pub async fn all(work: Work<'_>, applied: &[ObjectOutcome]) -> Result<Cleaned, RunError> {
    let builtin = Kinds::builtin();
    let step_of = |key: &ObjectKey| CleanupStep::of(key, |key| builtin.get(&key.group_kind()).is_some());
    let mut cleaned = Cleaned { outcomes: refused(work.plan), ..Cleaned::default() };
    for step in CleanupStep::ALL {
        let deletions = work.plan.deletions().filter(|change| step_of(&change.ident.key) == step);
        let answers: Vec<(&Change, Answer)> = stream::iter(deletions)
            .map(|change| {
                let left = held(work, &cleaned.outcomes, &change.ident.key).cloned();
                async move {
                    let answer = match left {
                        Some(left) => Answer::Waits(format!("it still holds {left}: it waits for that one")),
                        None => Answer::Tried(one(work, change).await),
                    };
                    (change, answer)
                }
            })
            .buffer_unordered(work.cluster.settings().concurrency)
            .collect()
            .await;
        let (mut lost, mut stopped) = (false, false);
        for (change, answer) in answers {
            let key = &change.ident.key;
            let (verdict, message) = match answer {
                Answer::Tried(Removed::Gone) => {
                    cleaned.gone.push(key.clone());
                    (Verdict::Deleted, None)
                }
                Answer::Tried(Removed::Released) => {
                    cleaned.released.push(key.clone());
                    (Verdict::Unchanged, Some("it belongs to someone else now and was let go".to_owned()))
                }
                Answer::Tried(Removed::Failed(why)) => (Verdict::Failed, Some(redacted(work, key, &why))),
                Answer::Waits(why) => (Verdict::Skipped, Some(why)),
                Answer::Tried(Removed::NotStarted) => {
                    stopped = true;
                    continue;
                }
                Answer::Tried(Removed::LockLost) => {
                    lost = true;
                    continue;
                }
            };
            let project = change.project.clone();
            cleaned.outcomes.push(ObjectOutcome { key: key.clone(), project, verdict, message });
        }
        let progress = || Outcome { applied: applied.to_vec(), cleaned: cleaned.outcomes.clone() };
        if lost {
            return Err(RunError::LockLost(Some(Box::new((work.plan.clone(), progress())))));
        }
        if stopped || work.interrupt.is_requested() {
            return Err(RunError::Interrupted(Box::new(work.plan.clone()), progress()));
        }
    }
    Ok(cleaned)
}

/// Deletes one object, unless what others have would go with it: that may have come since the plan was made.
async fn one(work: Work<'_>, change: &Change) -> Removed {
    let key = &change.ident.key;
    if is_holder(key)
        && work.request.policy.allow_foreign_deletion == Gate::Closed
        && let Some(live) = work.observed.live(key).filter(|live| !live.is_terminating())
    {
        let mut interrupt = work.interrupt.clone();
        let content = tokio::select! {
            content = look_into(work.cluster, &work.observed.kinds, key, live) => content,
            () = interrupt.requested() => return Removed::NotStarted,
        };
        let deleted: Vec<&Change> = work.plan.deletions().collect();
        if let Some(told) = content.told(key, &deleted) {
            return Removed::Failed(format!("it stays, because by now {told}"));
        }
    }
    remove(work, change).await
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
fn held<'a>(work: Work<'_>, outcomes: &'a [ObjectOutcome], key: &ObjectKey) -> Option<&'a ObjectKey> {
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
    fn s5_a_failed_deletion_or_a_request_in_flight_leaves_the_ledger_stale() {
        let key = ObjectKey { group: String::new(), kind: "ConfigMap".into(), namespace: None, name: "x".into() };
        let outcome =
            |verdict| ObjectOutcome { key: key.clone(), project: "demo".parse().unwrap(), verdict, message: None };
        let ledger = |verdicts: &[Verdict], in_flight| {
            let outcomes = verdicts.iter().map(|verdict| outcome(*verdict)).collect();
            let settlement = Settlement { in_flight, ..Settlement::default() };
            Cleaned { outcomes, ..Cleaned::default() }.ledger(Ledger::Current("c0".to_owned()), &settlement)
        };
        assert_eq!(ledger(&[Verdict::Deleted], false), Ledger::Current("c0".to_owned()));
        assert_eq!(ledger(&[Verdict::Deleted, Verdict::Failed], false), Ledger::Stale);
        assert_eq!(ledger(&[Verdict::Deleted], true), Ledger::Stale);
    }
}

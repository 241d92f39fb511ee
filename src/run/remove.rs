//! Deleting one object of ours, for good or to make place for its successor.

use crate::cluster::apply::ObjectError;
use crate::cluster::delete::Deletion;
use crate::object::kinds::Kind;
use crate::object::mark::{Ownership, ownership};
use crate::object::refusal::Refusal;
use crate::plan::change::Change;
use crate::plan::cleanup::kept;
use crate::run::reconcile::RunContext;

/// How often a deletion is decided anew because the object changed under it.
const ATTEMPTS: usize = 5;

/// What became of an object that was to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Gone,
    /// It is being deleted: gone is what it has to be waited for.
    Leaving {
        /// Its kind.
        kind: Kind,
        /// Its uid.
        uid: String,
    },
    /// It belongs to someone else now, or another object has its name.
    Released,
    /// The server refused.
    Refused(Refusal),
    /// It is still there, and why.
    Failed(String),
    /// A signal came first.
    NotStarted,
    /// The lock is lost.
    LockLost,
}

/// Deletes one object as it was looked at; where it changed meanwhile, looks again and decides again.
pub async fn remove(work: RunContext<'_>, change: &Change) -> Removed {
    let key = &change.ident.key;
    let Some(kind) = work.observed.kinds.get(&key.group_kind()) else {
        return Removed::Failed("its kind is not known".to_owned());
    };
    let (Some(uid), Some(mut version)) = (change.uid.clone(), change.resource_version.clone()) else {
        return Removed::Failed("its uid is not known".to_owned());
    };
    let marked = change.from.as_ref().unwrap_or(&change.project);
    for _ in 0..ATTEMPTS {
        if work.interrupt.is_requested() {
            return Removed::NotStarted;
        }
        match work.cluster.delete(work.lock, kind, key, &uid, &version).await {
            Ok(Deletion::Gone) => return Removed::Gone,
            Ok(Deletion::Terminating) => {
                return Removed::Leaving { kind: kind.clone(), uid };
            }
            Err(ObjectError::LockLost) => return Removed::LockLost,
            Err(ObjectError::Refused(Refusal::Changed(_) | Refusal::Absent(_))) => {
                match work.cluster.get(kind, key).await {
                    Ok(None) => return Removed::Gone,
                    Ok(Some(live)) if live.uid() != uid => return Removed::Released,
                    Ok(Some(live)) => match ownership(&live, &work.request.root) {
                        Ownership::Ours(project) if project == *marked => {
                            if let Some(why) = kept(&work.request.policy, key, &live) {
                                return Removed::Failed(format!("it stays, because by now {why}"));
                            }
                            live.resource_version().clone_into(&mut version);
                        }
                        // It was moved meanwhile: the next run knows more.
                        Ownership::Ours(_) => {
                            return Removed::Failed("its mark changed meanwhile: run again".to_owned());
                        }
                        Ownership::Lost(_) => {
                            return Removed::Failed("its managed fields were lost meanwhile: run again".to_owned());
                        }
                        _ => return Removed::Released,
                    },
                    Err(error) => return Removed::Failed(error.to_string()),
                }
            }
            Err(ObjectError::Refused(refusal)) => return Removed::Refused(refusal),
        }
    }
    Removed::Failed("it changes faster than it can be deleted: run again".to_owned())
}

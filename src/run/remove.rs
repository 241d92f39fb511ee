//! Deletes one object of ours, either for good or before the run creates it anew.

use crate::cluster::apply::ObjectError;
use crate::cluster::delete::Deletion as Sent;
use crate::object::kinds::Kind;
use crate::object::refusal::Refusal;
use crate::plan::change::Change;
use crate::plan::decision::Protection;
use crate::plan::meanwhile::{Deletion, Judge};
use crate::run::context::RunContext;

/// The number of attempts to delete an object. Each attempt after the first follows a change of the object.
const ATTEMPTS: usize = 5;

/// The result of deleting an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// The object is gone.
    Gone,
    /// The server is deleting the object. The caller has to wait until it is gone.
    Leaving {
        /// The kind of the object.
        kind: Kind,
        /// The uid of the object.
        uid: String,
    },
    /// The object is no longer ours, or another object has its name.
    Released,
    /// The server refused the deletion.
    Refused(Refusal),
    /// By now, the object is protected.
    Protected(Protection),
    /// The object still exists, for this reason.
    Failed(String),
    /// A signal came before the deletion was sent.
    NotStarted,
    /// The lock is lost.
    LockLost,
}

/// Deletes one object in the version that the plan saw. If the object has changed since, reads it again and decides
/// again.
pub(crate) async fn remove(work: RunContext<'_>, change: &Change) -> Removed {
    let key = &change.ident.key;
    let Some(kind) = work.observed.kinds.get(&key.group_kind()) else {
        return Removed::Failed("its kind is not known".to_owned());
    };
    let (Some(uid), Some(mut version)) = (change.uid.clone(), change.resource_version.clone()) else {
        return Removed::Failed("its uid is not known".to_owned());
    };
    let marked = change.from.as_ref().unwrap_or(&change.project);
    let judge = Judge { root: &work.request.root, policy: &work.request.policy };
    for _ in 0..ATTEMPTS {
        if work.interrupt.is_requested() {
            return Removed::NotStarted;
        }
        match work.cluster.delete(work.lock, kind, key, &uid, &version).await {
            Ok(Sent::Gone) => return Removed::Gone,
            Ok(Sent::Terminating) => {
                return Removed::Leaving { kind: kind.clone(), uid };
            }
            Err(ObjectError::LockLost) => return Removed::LockLost,
            Err(ObjectError::Refused(Refusal::Changed(_) | Refusal::Absent(_))) => {
                let now = match work.cluster.get(kind, key).await {
                    Ok(now) => now,
                    Err(error) => return Removed::Failed(error.to_string()),
                };
                match judge.deletion(key, &uid, marked, now.as_ref()) {
                    Deletion::Again(read) => version = read,
                    Deletion::Gone => return Removed::Gone,
                    Deletion::Released => return Removed::Released,
                    Deletion::Protected(protection) => return Removed::Protected(protection),
                    Deletion::Failed(why) => return Removed::Failed(why.to_owned()),
                }
            }
            Err(ObjectError::Refused(refusal)) => return Removed::Refused(refusal),
        }
    }
    Removed::Failed("it changed each time it was to be deleted: run again".to_owned())
}

//! Waiting until an object that is being deleted is gone.

use crate::object::ident::ObjectKey;
use crate::object::kinds::Kind;
use crate::run::reconcile::Work;

/// How a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vanished {
    /// The object is gone.
    Gone,
    /// It is still there, and what holds it.
    Held(String),
    /// A signal came first.
    Stopped,
}

/// Waits until the object of this uid is gone, as long as the settings allow.
pub async fn vanished(work: Work<'_>, kind: &Kind, key: &ObjectKey, uid: &str) -> Vanished {
    let mut interrupt = work.interrupt.clone();
    tokio::select! {
        gone = work.cluster.gone(kind, key, uid, work.cluster.settings().vanishing_timeout) => match gone {
            Ok(()) => Vanished::Gone,
            Err(still) => Vanished::Held(format!("it is being deleted and {still}")),
        },
        () = interrupt.requested() => Vanished::Stopped,
    }
}

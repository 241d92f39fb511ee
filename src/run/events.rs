//! The events of a run: its progress, told while it happens.
//!
//! An event carries keys, verdicts and reasons. It contains no secrets, and no text for people except reasons. The
//! caller decides what to show.

use crate::cluster::lock::Holder;
use crate::object::ident::ObjectKey;
use crate::plan::outcome::ObjectOutcome;

/// The receiver of a run's events. The run calls it in the order in which the events happen.
pub type Events<'a> = &'a (dyn Fn(Event<'_>) + Sync);

/// One event of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Another run holds the lock. Repeated while the run waits for it.
    LockHeld(&'a Holder),
    /// A phase begins.
    Phase(Phase),
    /// The run sent a desired object, or left it as it is. Told once for each desired object. If the object is not ready
    /// yet, [`Event::Waiting`] and [`Event::Waited`] follow.
    Applied(&'a ObjectOutcome),
    /// The run waits for these objects, and has looked at them again.
    Waiting(&'a [Waiting<'a>]),
    /// The wait until a desired object is ready has ended with this outcome.
    Waited(&'a ObjectOutcome),
    /// The outcome of an undesired object. Told once for each object that the run deletes or fails to delete.
    Cleaned(&'a ObjectOutcome),
}

/// A phase of a run. The phases begin in this order, and a run that ends early skips the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The run reads the state and the cluster, and makes the plan.
    Plan,
    /// The run records its intent in the state.
    Record,
    /// The run applies the desired objects.
    Apply,
    /// The run deletes the objects that are no longer desired.
    Cleanup,
    /// The run finalizes the state.
    Finalize,
}

impl Phase {
    /// The phase's name in the progress of a run.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plan => "planning",
            Self::Record => "recording",
            Self::Apply => "applying",
            Self::Cleanup => "cleaning up",
            Self::Finalize => "finalizing",
        }
    }
}

/// An object that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting<'a> {
    /// The object.
    pub key: &'a ObjectKey,
    /// The reason why the wait continues; redacted. It may contain words of a controller, which are untrusted.
    pub reason: String,
}

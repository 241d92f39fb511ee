//! The failure of a write.

use crate::object::refusal::Refusal;
use crate::plan::decision::Protection;

/// The reason why an object was not written.
pub(crate) enum WriteError {
    /// The lock is lost.
    LockLost,
    /// A signal stopped the run before the write.
    Stopped,
    /// The server refused the create or apply request itself.
    Refused(Refusal),
    /// The live object is not the one that the plan saw.
    MovedOn,
    /// The object that has to be deleted first is protected by now.
    Protected(Protection),
    /// Another failure, as a message of the server or of ours.
    Failed(String),
}

//! The runs that want or hold a lock.

use std::time::Duration;

use jiff::Timestamp;

use crate::object::mark::Root;

/// A request for a lock: the lock, the holder, and the time to wait for it.
#[derive(Clone, Debug)]
pub struct LockRequest {
    /// The state's namespace. It exists already.
    pub namespace: String,
    /// The root.
    pub root: Root,
    /// The identity of the run that wants the lock. It is unique and readable.
    pub holder: String,
    /// The time to wait for another holder. Zero does not wait.
    pub timeout: Duration,
    /// The URL of the run, for others that wait for the lock.
    pub run_url: Option<String>,
}

/// The holder of a lock. The texts come from the Lease and are untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The holder's identity.
    pub identity: String,
    /// The time since when it holds the lock, by its own account.
    pub since: Option<Timestamp>,
    /// The time of its last renewal, by its own account.
    pub renewed: Option<Timestamp>,
    /// The URL of the holder's run.
    pub run_url: Option<String>,
}

//! Getting hold of a root's lock: the namespace that it needs, and whoever is waited for.

use crate::cluster::connect::Cluster;
use crate::cluster::lock::{HeldLock, Holder, LockRequest};
use crate::run::error::RunError;
use crate::run::interrupt::Interrupt;

/// Acquires a root's lock; `waiting` is told whenever another holder is seen.
///
/// # Errors
///
/// The namespace cannot be made, the lock is held, or the run is to stop.
pub async fn hold(
    cluster: &Cluster,
    lock: &LockRequest,
    interrupt: &Interrupt,
    waiting: &mut (dyn FnMut(&Holder) + Send),
) -> Result<HeldLock, RunError> {
    cluster.ensure_namespace(&lock.namespace).await.map_err(RunError::Cluster)?;
    let mut stopped = interrupt.clone();
    tokio::select! {
        acquired = cluster.acquire(lock, waiting) => acquired.map_err(RunError::Lock),
        () = stopped.requested() => Err(RunError::NotBegun),
    }
}

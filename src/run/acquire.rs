//! Getting hold of a root's lock: the namespace that it needs, and whoever is waited for.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::cluster::connect::Cluster;
use crate::cluster::lock::{HeldLock, Holder, LockRequest};
use crate::run::error::RunError;
use crate::run::interrupt::Interrupt;

/// How long a run that was told to stop waits for answers. With the release after it, it ends within five seconds.
pub const GRACE: Duration = Duration::from_millis(2500);

/// Acquires a root's lock; `waiting` is told whenever another holder is seen.
///
/// # Errors
///
/// The namespace cannot be made, the lock is held, or the run is to stop.
pub async fn acquire_lock(
    cluster: &Cluster,
    lock: &LockRequest,
    interrupt: &Interrupt,
    waiting: &mut (dyn FnMut(&Holder) + Send),
) -> Result<HeldLock, RunError> {
    let acquiring = async {
        cluster.ensure_namespace(&lock.namespace).await.map_err(RunError::Cluster)?;
        cluster.acquire(lock, waiting).await.map_err(RunError::Lock)
    };
    tokio::select! {
        acquired = acquiring => acquired,
        () = overdue(interrupt, GRACE / 3) => {
            // A Lease may have been written whose answer is still on the way. Failing this, it expires.
            drop(timeout(GRACE, cluster.break_lock(&lock.namespace, &lock.root, &lock.holder)).await);
            Err(RunError::NotBegun)
        }
    }
}

/// Resolves when a run that was told to stop has not stopped by itself.
pub async fn overdue(interrupt: &Interrupt, grace: Duration) {
    interrupt.clone().requested().await;
    sleep(grace).await;
}

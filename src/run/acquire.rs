//! Acquires the lock of a root: creates the namespace of the lock, and waits while another run holds the lock.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::cluster::connect::Cluster;
use crate::cluster::lock::{HeldLock, Holder, LockRequest};
use crate::run::error::RunError;
use crate::run::interrupt::Interrupt;

/// The time that an interrupted run waits for outstanding answers. Together with the release of the lock, an
/// interrupted run ends within five seconds.
pub(crate) const GRACE: Duration = Duration::from_millis(2500);

/// Acquires the lock of a root. Calls `waiting` whenever it sees another holder.
///
/// # Errors
///
/// The namespace cannot be created, the lock cannot be acquired, or the run is interrupted.
pub(crate) async fn acquire_lock(
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
            // The server may have written the Lease although its answer did not arrive. This deletes such a Lease. If
            // that fails, the Lease expires.
            drop(timeout(GRACE, cluster.break_lock(&lock.namespace, &lock.root, &lock.holder)).await);
            Err(RunError::NotBegun)
        }
    }
}

/// Waits for the interrupt, and then for `grace`. The caller uses this to end a run that does not stop by itself.
pub(crate) async fn overdue(interrupt: &Interrupt, grace: Duration) {
    interrupt.clone().requested().await;
    sleep(grace).await;
}

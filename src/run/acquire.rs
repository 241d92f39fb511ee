//! Acquires the lock of a root: creates the namespace of the lock, and waits while another run holds the lock.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::cluster::connect::Cluster;
use crate::cluster::lock::{HeldLock, Holder, LockRequest};
use crate::run::error::RunError;
use crate::run::events::{Event, Events};
use crate::run::interrupt::Interrupt;

/// The time that an interrupted run waits for outstanding answers. Together with the release of the lock, an
/// interrupted run ends within five seconds.
pub(crate) const GRACE: Duration = Duration::from_millis(2500);

/// The interval at which a run that waits for the lock tells its holder.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Acquires the lock of a root. Tells each holder that it waits for.
///
/// # Errors
///
/// The namespace cannot be created, the lock cannot be acquired, or the run is interrupted.
pub(crate) async fn acquire_lock(
    cluster: &Cluster,
    lock: &LockRequest,
    interrupt: &Interrupt,
    events: Events<'_>,
) -> Result<HeldLock, RunError> {
    let (holder, seen) = watch::channel(None);
    let acquiring = async move {
        cluster.ensure_namespace(&lock.namespace).await.map_err(RunError::Cluster)?;
        let mut waiting = |found: &Holder| drop(holder.send_replace(Some(found.clone())));
        cluster.acquire(lock, &mut waiting).await.map_err(RunError::Lock)
    };
    tokio::select! {
        biased;
        acquired = acquiring => acquired,
        never = tell(seen, events) => match never {},
        () = overdue(interrupt, GRACE / 3) => {
            // The server may have written the Lease although its answer did not arrive. This deletes such a Lease. If
            // that fails, the Lease expires.
            drop(timeout(GRACE, cluster.break_lock(&lock.namespace, &lock.root, &lock.holder)).await);
            Err(RunError::NotBegun)
        }
    }
}

/// Tells each new holder of the lock at once, and the same holder again at intervals.
async fn tell(mut seen: watch::Receiver<Option<Holder>>, events: Events<'_>) -> Infallible {
    loop {
        if let Some(holder) = &*seen.borrow_and_update() {
            events(Event::LockHeld(holder));
        }
        drop(timeout(TELL_EVERY, seen.changed()).await);
    }
}

/// Waits for the interrupt, and then for `grace`. The caller uses this to end a run that does not stop by itself.
pub(crate) async fn overdue(interrupt: &Interrupt, grace: Duration) {
    interrupt.clone().requested().await;
    sleep(grace).await;
}

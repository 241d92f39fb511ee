//! Freezes a root, so that no run applies anything, and thaws it.

use crate::cluster::connect::Cluster;
use crate::cluster::lock::HeldLock;
use crate::object::mark::Root;
use crate::run::error::RunError;
use crate::run::record::Store;
use crate::state::freeze::Freeze;

/// Freezes a root, or thaws it if there is no freeze. Returns the freeze before.
///
/// # Errors
///
/// The state cannot be used or written, or the lock is lost.
pub(crate) async fn freeze(
    cluster: &Cluster,
    lock: &HeldLock,
    (namespace, root, run): (&str, &Root, &str),
    freeze: Option<&Freeze>,
) -> Result<Option<Freeze>, RunError> {
    let (mut store, _) = Store::claim(cluster, lock, namespace, root, run).await?;
    let before = store.freeze();
    if before.as_ref() != freeze {
        store.write_freeze(lock, freeze).await?;
    }
    Ok(before)
}

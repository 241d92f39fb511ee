//! Inspects the state of a root: its entries, the run that wrote it, and the holder of the lock. Takes no lock and
//! writes nothing.

use crate::cluster::connect::Cluster;
use crate::cluster::lock::Holder;
use crate::object::mark::Root;
use crate::run::error::RunError;
use crate::run::record::Store;
use crate::state::codec;
use crate::state::inspect::{Integrity, integrity, writer};
use crate::state::transition::Prior;

/// The state and the lock of a root.
#[derive(Clone, Debug)]
pub(crate) struct Inspected {
    /// The recorded entries, commits and projects.
    pub prior: Prior,
    /// `true` if the run that wrote the state last finalized it. `None` if there is no state.
    pub finalized: Option<bool>,
    /// The run that wrote the state last, if the state names it.
    pub run: Option<String>,
    /// The result of the integrity check of the state. `None` if there is no state.
    pub integrity: Option<Integrity>,
    /// The holder of the lock, if the lock is held.
    pub holder: Option<Holder>,
}

/// Reads the state and the lock of a root.
///
/// # Errors
///
/// The state or the lock cannot be read, or the state cannot be used.
pub(crate) async fn inspect(cluster: &Cluster, namespace: &str, root: &Root) -> Result<Inspected, RunError> {
    let name = |name: String| format!("{namespace}/{name}");
    let read = |source| RunError::ReadState { name: name(root.state_name()), source };
    let stored = cluster.read_state(namespace, root).await.map_err(read)?;
    let (_, prior) = Store::open(cluster, namespace, root).await?;
    let holder = cluster.lock_holder(namespace, root).await;
    let holder = holder.map_err(|source| RunError::ReadState { name: name(root.lock_name()), source })?;
    let stored = stored.as_ref();
    Ok(Inspected {
        prior,
        finalized: stored.and_then(|state| Some(codec::read(&state.data, root).ok()?.finalized())),
        run: stored.and_then(|state| writer(&state.annotations)).map(str::to_owned),
        integrity: stored.map(|state| integrity(&state.data, &state.annotations)),
        holder,
    })
}

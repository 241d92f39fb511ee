//! Looking at a root's record: what is in it, who wrote it, who holds the lock. Takes no lock and writes nothing.

use crate::cluster::connect::Cluster;
use crate::cluster::lock::Holder;
use crate::object::mark::Root;
use crate::run::error::RunError;
use crate::run::record::Store;
use crate::state::codec;
use crate::state::inspect::{Integrity, integrity, writer};
use crate::state::transition::Prior;

/// A root's record and lock.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// What is recorded.
    pub prior: Prior,
    /// Whether the run that wrote last came to its end; nothing where there is no state.
    pub finalized: Option<bool>,
    /// The run that wrote last, where it says so.
    pub run: Option<String>,
    /// Whether the state is as it was written; nothing where there is none.
    pub integrity: Option<Integrity>,
    /// Who holds the lock.
    pub holder: Option<Holder>,
}

/// Looks at a root's record and lock.
///
/// # Errors
///
/// A state or a lock that cannot be read, or a state that cannot be used.
pub async fn inspect(cluster: &Cluster, namespace: &str, root: &Root) -> Result<Inspected, RunError> {
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

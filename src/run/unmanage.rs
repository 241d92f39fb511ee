//! Stops managing objects: removes their marks, and drops them from the state. The objects stay in the cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::connect::Cluster;
use crate::cluster::lock::HeldLock;
use crate::object::ident::ObjectKey;
use crate::object::mark::Root;
use crate::object::mark_patch::unmarked;
use crate::plan::observed::Observed;
use crate::run::editor::{self, Editor};
use crate::run::error::RunError;
use crate::run::interrupt::Interrupt;
use crate::run::observe::look;
use crate::run::record::Store;
use crate::state::payload::{Entries, Payload, Version};
use crate::state::transition::Start;

/// The result of unmanaging objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unmanaged {
    /// The objects that are no longer managed.
    pub released: Vec<ObjectKey>,
    /// The objects that stay recorded, each with the reason.
    pub failed: BTreeMap<ObjectKey, String>,
}

/// Stops managing recorded objects. They stay in the cluster.
///
/// The mark is removed first. If the run dies after that, the object is recorded and unmarked, and any later run stops
/// managing it. The other order would leave an object that is marked and not recorded, and a later run would record it
/// again.
///
/// # Errors
///
/// The state cannot be used, or one of the objects is not recorded: nothing is changed then. If the run is interrupted,
/// loses the lock or cannot write the state, some marks may be gone already.
pub(crate) async fn unmanage(
    cluster: &Cluster,
    lock: &HeldLock,
    (namespace, root, run): (&str, &Root, &str),
    keys: &BTreeSet<ObjectKey>,
    interrupt: &Interrupt,
) -> Result<Unmanaged, RunError> {
    let (store, prior) = Store::claim(cluster, lock, namespace, root, run).await?;
    let recorded = prior.entries.keys();
    if let Some(key) = keys.iter().find(|key| !recorded.contains(key)) {
        return Err(RunError::Unknown(format!("{key} is not recorded for root {root}")));
    }
    let mut observed = Observed { kinds: cluster.discover().await.map_err(RunError::Cluster)?, ..Observed::default() };
    look(cluster, root, &mut observed, keys.iter().cloned()).await;
    let Observed { kinds, looks, .. } = observed;
    let editor = Editor { cluster, locks: &[lock], root, kinds: &kinds, interrupt };
    let failed = editor::all(editor, looks, &|live| unmarked(live, root)).await?;
    let released: BTreeSet<ObjectKey> = keys.iter().filter(|key| !failed.contains_key(key)).cloned().collect();

    let mut resources = prior.entries.clone();
    resources.retain(|_, key| !released.contains(key));
    let finalized = prior.start == Start::Settled;
    let payload = Payload { finalized, pending: Entries::default(), resources, version: Version::One };
    store.finalize(lock, &prior.edited(payload)).await?;
    Ok(Unmanaged { released: released.into_iter().collect(), failed })
}

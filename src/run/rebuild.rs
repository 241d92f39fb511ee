//! Rebuilds the state of a root from the live marks. The state keeps its entries and gains every live object that is
//! ours.

use std::collections::BTreeMap;

use crate::cluster::connect::Cluster;
use crate::cluster::lock::HeldLock;
use crate::object::ident::{Ident, ObjectKey};
use crate::object::mark::{Ownership, Root, ownership};
use crate::plan::notice::Notice;
use crate::plan::observed::{Lookup, Observed};
use crate::project::path::ProjectPath;
use crate::run::error::RunError;
use crate::run::listing::list_everything;
use crate::run::record::Store;
use crate::state::payload::{Entries, Payload, Version};

/// The way in which a rebuild treats a damaged state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damaged {
    /// The rebuild replaces the state. It loses the entries of objects that carry no live mark.
    Replaced,
    /// The rebuild fails.
    Refused,
}

/// The result of a rebuild.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rebuilt {
    /// The number of entries in the state after the rebuild.
    pub recorded: usize,
    /// The entries that the rebuild added.
    pub added: Vec<(ProjectPath, Ident)>,
    /// The objects that carry the root's label and are not ours, each with the reason.
    pub skipped: Vec<(ObjectKey, String)>,
    /// Notices about kinds that could not be listed. The rebuild adds no objects of these kinds.
    pub unlisted: Vec<Notice>,
}

/// Adds every live object that is ours to the state of a root. Creates the state if it is missing.
///
/// # Errors
///
/// The state cannot be read, it is damaged and must not be replaced, the kinds cannot be discovered, or a write fails.
pub(crate) async fn rebuild(
    cluster: &Cluster,
    lock: &HeldLock,
    (namespace, root, run): (&str, &Root, &str),
    damaged: Damaged,
) -> Result<Rebuilt, RunError> {
    let (store, prior, damage) = Store::claim_damaged(cluster, lock, namespace, root, run).await?;
    if let (Some(damage), Damaged::Refused) = (damage, damaged) {
        return Err(RunError::State(damage));
    }
    let kinds = cluster.discover().await.map_err(RunError::Cluster)?;
    let (looks, mut unlisted) = list_everything(cluster, root, &kinds).await;
    unlisted.extend(kinds.unavailable().map(|group| Notice::GroupUnavailable(group.to_owned())));
    let skipped = foreign(&looks, root);
    let observed = Observed { kinds, looks, ..Observed::default() };
    let recorded = prior.entries.keys();
    let owned = observed.owned(root, |key| recorded.contains(key));

    let mut entries = prior.entries.clone();
    let mut added = Vec::new();
    for (project, ident) in owned {
        if !entries.contains(&project, &ident.key) {
            entries.insert(&project, &ident);
            added.push((project, ident));
        }
    }
    let recorded = entries.len();
    // Objects of unlisted kinds may still exist. After a partial rebuild, the state is therefore not finalized, and the
    // next run drops no entry.
    let payload = Payload {
        finalized: unlisted.is_empty(),
        pending: Entries::default(),
        resources: entries,
        version: Version::One,
    };
    store.finalize(lock, &prior.edited(payload)).await?;
    Ok(Rebuilt { recorded, added, skipped, unlisted })
}

/// The objects that carry the root's label and are not ours, each with the reason.
fn foreign(looks: &BTreeMap<ObjectKey, Lookup>, root: &Root) -> Vec<(ObjectKey, String)> {
    let why = |look: &Lookup| match look {
        Lookup::Live(live) => match ownership(live, root) {
            Ownership::Ours(_) => None,
            Ownership::Lost(_) => Some("its managed fields were lost".to_owned()),
            Ownership::Unmarked => Some("it has no mark".to_owned()),
            Ownership::Other(owner) => Some(format!("it belongs to {owner}")),
            Ownership::Copied(owner) => Some(format!("it carries {owner}")),
        },
        Lookup::Proved(_) | Lookup::Absent | Lookup::Unknown(_) => None,
    };
    looks.iter().filter_map(|(key, look)| Some((key.clone(), why(look)?))).collect()
}

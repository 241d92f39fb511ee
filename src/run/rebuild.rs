//! Rebuilding a root's record from the live marks: what is recorded, and every live object that is ours.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::connect::Cluster;
use crate::cluster::lock::HeldLock;
use crate::object::ident::{Ident, ObjectKey};
use crate::object::mark::{Ownership, Root, ownership};
use crate::plan::observed::{Lookup, Observed};
use crate::project::path::ProjectPath;
use crate::run::error::RunError;
use crate::run::observe::{Sweep, list_owned};
use crate::run::record::Store;
use crate::state::payload::{Entries, Payload, Version};

/// Whether a record that cannot be used may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damaged {
    /// It may: what it held and no live object carries is lost.
    Replaced,
    /// It may not.
    Refused,
}

/// What a rebuild found and wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// How many entries are recorded now.
    pub recorded: usize,
    /// Those that were not recorded before.
    pub added: Vec<(ProjectPath, Ident)>,
    /// Objects that carry the root's label and are not ours, and why.
    pub skipped: Vec<(ObjectKey, String)>,
    /// Kinds that could not be listed: what there is of them is missing.
    pub unlisted: Vec<String>,
}

/// Adds every live object that is ours to a root's record, which may be missing.
///
/// # Errors
///
/// A record that cannot be read, or is damaged and may not be replaced; a write that did not succeed.
pub async fn rebuild(
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
    let (looks, mut unlisted) =
        list_owned(cluster, root, &kinds, &BTreeSet::new(), &BTreeSet::new(), Sweep::Everything).await;
    unlisted.extend(kinds.unavailable().map(|group| format!("the server of {group} does not answer")));
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
    // What was not seen may still be there: a run after a partial rebuild drops nothing.
    let payload = Payload {
        finalized: unlisted.is_empty(),
        pending: Entries::default(),
        resources: entries,
        version: Version::One,
    };
    store.finalize(lock, &prior.edited(payload)).await?;
    Ok(Rebuilt { recorded, added, skipped, unlisted })
}

/// The objects of the root's label that are not ours, and why.
fn foreign(looks: &BTreeMap<ObjectKey, Lookup>, root: &Root) -> Vec<(ObjectKey, String)> {
    let why = |look: &Lookup| match look {
        Lookup::Live(live) => match ownership(live, root) {
            Ownership::Ours(_) => None,
            Ownership::Lost(_) => Some("its managed fields were lost".to_owned()),
            Ownership::Unmarked => Some("it has no mark".to_owned()),
            Ownership::Other(owner) => Some(format!("it belongs to {owner}")),
            Ownership::Copied(owner) => Some(format!("it carries {owner}")),
        },
        Lookup::Absent | Lookup::Unknown(_) => None,
    };
    looks.iter().filter_map(|(key, look)| Some((key.clone(), why(look)?))).collect()
}

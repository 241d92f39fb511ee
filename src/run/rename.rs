//! Renames a project within its root, or renames a root. Records both names, changes the marks, and then records only
//! the new name.
//!
//! **Invariant:** before the first mark changes, the state contains both names of every object. The old name of an
//! object leaves the state only once the object no longer carries the old mark. If a run dies at any point, the same
//! command or the next apply can therefore finish the rename.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::connect::Cluster;
use crate::cluster::lock::HeldLock;
use crate::object::ident::ObjectKey;
use crate::object::mark::Root;
use crate::object::mark_patch;
use crate::plan::notice::Notice;
use crate::plan::observed::{Lookup, Observed};
use crate::run::editor::{self, Editor};
use crate::run::error::RunError;
use crate::run::interrupt::Interrupt;
use crate::run::listing::list_everything;
use crate::run::observe::look;
use crate::run::record::Store;
use crate::state::payload::{Entries, Payload, Version};
use crate::state::rename::Renaming;
use crate::state::transition::{Prior, RunCommits};

/// The result of a rename.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Renamed {
    /// The number of entries with the new name.
    pub count: usize,
    /// The objects that still carry the old mark, each with the reason. They stay recorded under the old name.
    pub failed: BTreeMap<ObjectKey, String>,
    /// Notices about kinds that could not be listed. Unrecorded objects of these kinds keep the old mark.
    pub unlisted: Vec<Notice>,
}

/// The parameters of a rename.
#[derive(Clone, Copy)]
pub(crate) struct RenameRequest<'a> {
    /// The namespace of the state.
    pub namespace: &'a str,
    /// The old and the new name.
    pub renaming: &'a Renaming,
    /// The name of the run in the state.
    pub run: &'a str,
}

/// Renames a project, and everything below it, within its root.
///
/// # Errors
///
/// The state cannot be used, nothing is recorded for either name, a new name would lie within the old one, the run is
/// interrupted, or the lock is lost.
pub(crate) async fn rename_project(
    cluster: &Cluster,
    lock: &HeldLock,
    request: RenameRequest<'_>,
    interrupt: &Interrupt,
) -> Result<Renamed, RunError> {
    let RenameRequest { namespace, renaming, run } = request;
    let root = &Root::new(renaming.from.root());
    let (mut store, mut prior) = Store::claim(cluster, lock, namespace, root, run).await?;
    let (observed, unlisted) = sweep(cluster, &mut prior, &[root]).await?;
    let within = |entries: &Entries, name| entries.projects().any(|project| project.is_within(name));
    if !within(&prior.entries, &renaming.from) && !within(&prior.entries, &renaming.to) {
        return Err(unknown(renaming));
    }
    checked(renaming, &prior.entries)?;
    store.record(lock, &prior.begin(renaming.renamed(&prior.entries), &RunCommits::default())).await?; // Both names.

    let editor = Editor { cluster, locks: &[lock], root, kinds: &observed.kinds, interrupt };
    let failed = change(editor, renaming, root, &prior.entries, observed.looks).await?;
    let resources = renaming.finished(prior.entries.clone(), &failed.keys().cloned().collect());
    let renamed = resources.iter().filter(|(project, _)| project.is_within(&renaming.to)).count();
    store.finalize(lock, &prior.edited(settled(resources))).await?; // The new one.
    Ok(Renamed { count: renamed, failed, unlisted })
}

/// Renames a root. Moves all entries to the state of the new root, and changes every mark.
///
/// # Errors
///
/// The state cannot be used, nothing is recorded for either root, the new root has objects of its own, the run is
/// interrupted, or a lock is lost.
pub(crate) async fn rename_root(
    cluster: &Cluster,
    (old_lock, new_lock): (&HeldLock, &HeldLock),
    request: RenameRequest<'_>,
    interrupt: &Interrupt,
) -> Result<Renamed, RunError> {
    let RenameRequest { namespace, renaming, run } = request;
    let (old, new) = (&Root::new(renaming.from.root()), &Root::new(renaming.to.root()));
    let (mut old_store, mut prior) = Store::claim(cluster, old_lock, namespace, old, run).await?;
    let (mut new_store, mut target) = Store::claim(cluster, new_lock, namespace, new, run).await?;
    let (observed, unlisted) = sweep(cluster, &mut prior, &[old, new]).await?;
    let moved = renaming.renamed(&prior.entries);
    let mut present = target.entries.clone();
    for (project, ident) in observed.owned(new, |key| prior.entries.keys().contains(key)) {
        present.insert(&project, &ident);
    }
    if moved.is_empty() {
        return if present.is_empty() { Err(unknown(renaming)) } else { Ok(Renamed::default()) };
    }
    // The new root may have objects because an earlier run of the same rename did not finish. Then some of them are
    // among the objects that move now.
    if !present.is_empty() && !present.iter().any(|(project, ident)| moved.contains(project, &ident.key)) {
        return Err(RunError::Declined(format!(
            "root {new} has {} objects of its own: give {old} a name that no root has",
            present.len()
        )));
    }
    target.entries.union(&present);
    target.source = target.source.take().or_else(|| prior.source.clone());
    target.target = target.target.take().or_else(|| prior.target.clone());
    new_store.record(new_lock, &target.begin(moved.clone(), &RunCommits::default())).await?; // Both roots' records know everything.
    old_store.record(old_lock, &prior.begin(Entries::default(), &RunCommits::default())).await?;

    let editor = Editor { cluster, locks: &[new_lock, old_lock], root: new, kinds: &observed.kinds, interrupt };
    let failed = change(editor, renaming, old, &prior.entries, observed.looks).await?;
    let resources = target.begin(moved, &RunCommits::default()).record().payload.resources;
    let renamed = resources.len() - failed.len();
    // While an object keeps the old mark, both states stay unfinalized and keep every entry. If only a kind was not
    // listed, just the old state does.
    if failed.is_empty() {
        new_store.finalize(new_lock, &target.edited(settled(resources))).await?;
        if unlisted.is_empty() {
            old_store.finalize(old_lock, &prior.edited(settled(Entries::default()))).await?;
        }
    }
    Ok(Renamed { count: renamed, failed, unlisted })
}

/// Looks up every object that is recorded in `prior` or carries the mark of one of the roots. `prior` is the state of
/// the first root.
async fn sweep(cluster: &Cluster, prior: &mut Prior, roots: &[&Root]) -> Result<(Observed, Vec<Notice>), RunError> {
    let kinds = cluster.discover().await.map_err(RunError::Cluster)?;
    let mut observed = Observed { kinds: kinds.clone(), ..Observed::default() };
    let mut unlisted: Vec<Notice> =
        kinds.unavailable().map(|group| Notice::GroupUnavailable(group.to_owned())).collect();
    for root in roots {
        let (looks, notices) = list_everything(cluster, root, &kinds).await;
        observed.looks.extend(looks);
        unlisted.extend(notices);
    }
    if let Some(root) = roots.first() {
        let owned = observed.owned(root, |key| prior.entries.keys().contains(key));
        prior.sweep(&owned, root).map_err(RunError::State)?;
        let recorded: Vec<ObjectKey> = prior.entries.keys().into_iter().cloned().collect();
        look(cluster, root, &mut observed, recorded).await;
    }
    Ok((observed, unlisted))
}

/// Changes the marks of the recorded objects that the renaming concerns. Returns the objects that keep the old mark,
/// each with the reason.
async fn change(
    editor: Editor<'_>,
    renaming: &Renaming,
    from: &Root,
    entries: &Entries,
    looks: BTreeMap<ObjectKey, Lookup>,
) -> Result<BTreeMap<ObjectKey, String>, RunError> {
    let concerned: BTreeSet<ObjectKey> = {
        let named = |project| renaming.of(project).is_some() || project.is_within(&renaming.to);
        entries.iter().filter(|(project, _)| named(project)).map(|(_, ident)| ident.key).collect()
    };
    let looks = looks.into_iter().filter(|(key, _)| concerned.contains(key));
    let next = |live: &_| mark_patch::next(live, from, editor.root, |project| renaming.of(project));
    editor::all(editor, looks, &next).await
}

fn checked(renaming: &Renaming, entries: &Entries) -> Result<(), RunError> {
    match renaming.repeats(entries) {
        None => Ok(()),
        Some(name) => Err(RunError::Declined(format!(
            "{name} would be the new name of one project and is inside {} itself: choose another name",
            renaming.from
        ))),
    }
}

fn unknown(renaming: &Renaming) -> RunError {
    RunError::Unknown(format!("nothing is recorded for {}", renaming.from))
}

fn settled(resources: Entries) -> Payload {
    Payload { finalized: true, pending: Entries::default(), resources, version: Version::One }
}

//! The cleanup set: what is recorded, ours by its live mark, and wanted by no manifest.

use std::collections::BTreeSet;

use super::change::{Action, Change, Reason};
use super::observed::{Look, Observed};
use super::policy::{Policy, Reviewed, Sources};
use super::twins::Twins;
use crate::object::ident::{Ident, ObjectKey};
use crate::object::kinds::defined_kind;
use crate::object::live::Live;
use crate::object::mark::{CLEANUP, Ownership, Root, ownership};
use crate::object::order::is_system_namespace;
use crate::project::path::ProjectPath;
use crate::project::scope::Scope;
use crate::project::tree::Cleanup;
use crate::state::payload::Entries;

/// Annotations by which other tools protect an object from being deleted: name and protecting value.
const PROTECTING: [(&str, &str); 7] = [
    (CLEANUP, "keep"),
    ("helm.sh/resource-policy", "keep"),
    ("argocd.argoproj.io/sync-options", "Prune=false"),
    ("argocd.argoproj.io/sync-options", "Delete=false"),
    ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
    ("kapp.k14s.io/delete-strategy", "orphan"),
    ("kapp.k14s.io/disable-delete", ""),
];

/// What is asked of cleanup.
#[derive(Clone, Copy, Debug)]
pub struct CleanupRequest<'a> {
    /// The root.
    pub root: &'a Root,
    /// What may be changed.
    pub scope: &'a Scope,
    /// Everything recorded.
    pub entries: &'a Entries,
    /// Every desired object of the whole tree, in scope or not.
    pub desired: &'a BTreeSet<&'a ObjectKey>,
    /// What the root and the caller allow.
    pub policy: &'a Policy,
}

/// Decides about every recorded object of a project in scope that no manifest wants.
///
/// What is gone needs nothing and is not listed.
pub fn decide(request: CleanupRequest<'_>, observed: &Observed) -> Vec<Change> {
    let judge = Judge {
        request,
        observed,
        twins: Twins::of(request.desired.iter().copied(), observed),
        recorded: request.entries.keys(),
    };
    let mut seen = BTreeSet::new();
    let mut changes: Vec<Change> = candidates(request)
        .filter(|(_, ident)| seen.insert(ident.key.clone()))
        .filter_map(|(project, ident)| judge.one(project, ident))
        .collect();
    keep_what_holds(&mut changes, observed);
    changes
}

/// Keeps namespaces and definitions that hold something that stays: it would go with them.
fn keep_what_holds(changes: &mut [Change], observed: &Observed) {
    let stays = |change: &&Change| matches!(change.action, Action::Keep | Action::Blocked);
    let staying: Vec<ObjectKey> = changes.iter().filter(stays).map(|change| change.ident.key.clone()).collect();
    for change in changes.iter_mut().filter(|change| change.action == Action::Delete) {
        if let Some(held) = staying.iter().find(|key| holds(&change.ident.key, key, observed)) {
            (change.action, change.reason) = (Action::Keep, Reason::Protected(format!("it holds {held}, which stays")));
        }
    }
}

/// Whether deleting the one takes the other with it: its namespace, or the definition of its kind.
pub fn holds(holder: &ObjectKey, held: &ObjectKey, observed: &Observed) -> bool {
    if holder.is_namespace() {
        return held.namespace.as_ref() == Some(&holder.name);
    }
    let defined = || observed.live(holder).and_then(|live| defined_kind(&live.body));
    holder.is_crd() && defined().is_some_and(|kind| kind.group_kind == held.group_kind())
}

/// The recorded, undesired objects of projects in scope: what has to be looked at.
pub fn candidates(request: CleanupRequest<'_>) -> impl Iterator<Item = (&ProjectPath, Ident)> {
    request
        .entries
        .iter()
        .filter(move |(project, ident)| request.scope.contains(project) && !request.desired.contains(&ident.key))
}

/// What one look at all desired objects tells about each recorded one.
struct Judge<'a> {
    request: CleanupRequest<'a>,
    observed: &'a Observed,
    twins: Twins<'a>,
    recorded: BTreeSet<&'a ObjectKey>,
}

impl Judge<'_> {
    fn one(&self, recorded: &ProjectPath, ident: Ident) -> Option<Change> {
        let Self { request, observed, .. } = *self;
        let change = |action, reason, live: Option<&Live>, project: &ProjectPath| {
            Some(Change {
                action,
                reason,
                ident: ident.clone(),
                project: project.clone(),
                from: None,
                place: None,
                uid: live.map(|live| live.uid().to_owned()),
                resource_version: live.map(|live| live.resource_version().to_owned()),
                diff: Vec::new(),
            })
        };
        let live = match observed.looks.get(&ident.key) {
            Some(Look::Absent) => return None,
            Some(Look::Live(live)) => live,
            Some(Look::Unknown(why)) => return change(Action::Keep, Reason::Unknown(why.clone()), None, recorded),
            None => {
                return change(Action::Keep, Reason::Unknown("it was not looked at".to_owned()), None, recorded);
            }
        };
        // Its entry may go only where this very run records the object under the key that is desired.
        let twin = self.twins.others(&ident.key, live).max_by_key(|key| self.recorded.contains(key));
        if let Some(twin) = twin.filter(|key| self.recorded.contains(key)) {
            return change(Action::Release, Reason::SameObject(twin.to_string()), Some(live), recorded);
        }
        let project = match ownership(live, request.root) {
            Ownership::Ours(project) => project,
            Ownership::Unmarked => {
                return change(
                    Action::Release,
                    Reason::Foreign("nobody: its mark is gone".to_owned()),
                    Some(live),
                    recorded,
                );
            }
            Ownership::Other(owner) | Ownership::Copied(owner) => {
                return change(Action::Release, Reason::Foreign(owner), Some(live), recorded);
            }
        };
        let keep = |why: String| change(Action::Keep, Reason::Protected(why), Some(live), &project);
        if !request.scope.contains(&project) {
            return keep(format!("its mark names {project}, which is out of scope"));
        }
        if let Some(twin) = twin {
            return keep(format!("it is the same object as {twin}"));
        }
        if let Some(why) = protection(request.policy, &ident.key, live) {
            return keep(why);
        }
        if let Some(unseen) = self.twins.unseen(&ident.key, request.desired, observed) {
            let why = format!("it may be the same object as {unseen}, which was not seen");
            return change(Action::Keep, Reason::Unknown(why), Some(live), &project);
        }
        if let Reviewed::Only(shown) = &request.policy.reviewed
            && !shown.contains(&ident.key)
        {
            return change(Action::Keep, Reason::Unreviewed, Some(live), &project);
        }
        match observed.undeletable.get(&ident.key) {
            Some(refusal) => change(Action::Blocked, Reason::Refused(refusal.to_string()), Some(live), &project),
            None => change(Action::Delete, Reason::Undesired, Some(live), &project),
        }
    }
}

/// Why an object that is ours and undesired stays all the same.
fn protection(policy: &Policy, key: &ObjectKey, live: &Live) -> Option<String> {
    if policy.cleanup == Cleanup::Off {
        return Some("cleanup is off for this root".to_owned());
    }
    if policy.sources == Sources::Failed {
        return Some("a source of the tree cannot be rendered".to_owned());
    }
    if key.is_namespace() && (is_system_namespace(&key.name) || key.name == policy.state_namespace) {
        return Some("it is a namespace of the system or of the state".to_owned());
    }
    let protecting = PROTECTING.iter().find(|(name, value)| {
        live.annotation(name)
            .is_some_and(|stated| stated.split(',').any(|part| part.trim() == *value) || value.is_empty())
    });
    if let Some((name, _)) = protecting {
        return Some(format!("its annotation {name} says so"));
    }
    None
}

//! The content of a root's state: the objects that each project owns, and the objects that an unfinished run intended
//! to own.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, Serializer};

use super::error::StateError;
use crate::object::ident::{Ident, IdentRef, ObjectKey};
use crate::object::mark::Root;
use crate::project::path::ProjectPath;

/// The recorded objects by owning project. The key of each object maps to the API version with which the object was
/// last written.
///
/// One key may be recorded under two projects. If a crash interrupts a move between projects, both entries count until
/// a later run settles one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "BTreeMap<ProjectPath, Vec<Ident>>")]
pub struct Entries {
    by_project: BTreeMap<ProjectPath, BTreeMap<ObjectKey, String>>,
}

impl Entries {
    /// Refuses projects of another root, and objects that no API server can have.
    pub(super) fn check(&self, root: &Root) -> Result<(), StateError> {
        if let Some(foreign) = self.projects().find(|project| project.root() != *root.segment()) {
            return Err(StateError::ForeignProject(foreign.to_string()));
        }
        match self.iter().find(|(_, ident)| !ident.is_possible()) {
            Some((_, Ident { key, .. })) => {
                let shown: String = key.to_string().chars().take(200).collect();
                Err(StateError::ImpossibleEntry(shown))
            }
            None => Ok(()),
        }
    }

    /// Records an object under a project. Replaces the version that was recorded for the same object and project.
    pub fn insert(&mut self, project: &ProjectPath, ident: &Ident) {
        let objects = self.by_project.entry(project.clone()).or_default();
        objects.insert(ident.key.clone(), ident.version.clone());
    }

    /// Adds every entry of `other`. For an object in both, the version of `other` is recorded.
    pub fn union(&mut self, other: &Self) {
        for (project, objects) in &other.by_project {
            let ours = self.by_project.entry(project.clone()).or_default();
            ours.extend(objects.iter().map(|(key, version)| (key.clone(), version.clone())));
        }
    }

    /// Removes the namespace from the keys of cluster-scoped objects. A run that did not know the kind may have
    /// recorded a namespace.
    pub(crate) fn drop_namespaces(&mut self, is_cluster_scoped: impl Fn(&ObjectKey) -> bool) {
        for objects in self.by_project.values_mut() {
            let misplaced = |(key, _): &(&ObjectKey, &String)| key.namespace.is_some() && is_cluster_scoped(key);
            let misplaced: Vec<ObjectKey> = objects.iter().filter(misplaced).map(|(key, _)| key.clone()).collect();
            for key in misplaced {
                let version = objects.remove(&key).unwrap_or_default();
                objects.entry(ObjectKey { namespace: None, ..key }).or_insert(version);
            }
        }
    }

    /// Keeps the entries for which `keep` returns `true`, and drops every project that has no entry left.
    pub fn retain(&mut self, mut keep: impl FnMut(&ProjectPath, &ObjectKey) -> bool) {
        for (project, objects) in &mut self.by_project {
            objects.retain(|key, _| keep(project, key));
        }
        self.by_project.retain(|_, objects| !objects.is_empty());
    }

    /// Iterates over all entries, ordered by project and key.
    pub fn iter(&self) -> impl Iterator<Item = (&ProjectPath, Ident)> {
        self.by_project.iter().flat_map(|(project, objects)| {
            objects.iter().map(move |(key, version)| (project, Ident { key: key.clone(), version: version.clone() }))
        })
    }

    /// Returns `true` if the project owns the object.
    pub fn contains(&self, project: &ProjectPath, key: &ObjectKey) -> bool {
        self.by_project.get(project).is_some_and(|objects| objects.contains_key(key))
    }

    /// Iterates over the projects that own at least one object.
    pub fn projects(&self) -> impl Iterator<Item = &ProjectPath> {
        self.by_project.keys()
    }

    /// Returns the keys of all recorded objects, each once.
    pub fn keys(&self) -> BTreeSet<&ObjectKey> {
        self.by_project.values().flat_map(BTreeMap::keys).collect()
    }

    /// Returns the number of entries. An object that is recorded under two projects counts twice.
    pub fn len(&self) -> usize {
        self.by_project.values().map(BTreeMap::len).sum()
    }

    /// Returns `true` if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.by_project.is_empty()
    }
}

impl From<BTreeMap<ProjectPath, Vec<Ident>>> for Entries {
    fn from(lists: BTreeMap<ProjectPath, Vec<Ident>>) -> Self {
        let mut entries = Self::default();
        for (project, idents) in lists {
            for ident in idents {
                entries.insert(&project, &ident);
            }
        }
        entries
    }
}

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.by_project.iter().map(|(project, objects)| (project, Objects(objects))))
    }
}

/// The objects of one project, which serialize as a list.
struct Objects<'a>(&'a BTreeMap<ObjectKey, String>);

impl Serialize for Objects<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(key, version)| IdentRef { key, version }))
    }
}

/// The state as it is encoded: version 1 of Kubernator's project state.
///
/// The fields are in alphabetical order, because the format requires sorted keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// `true` if the run that wrote the state finalized it.
    pub finalized: bool,
    /// The objects that a run under way intends to own. If ktor wrote the state, `resources` contains all of them too.
    #[serde(default)]
    pub pending: Entries,
    /// The owned objects.
    pub resources: Entries,
    /// The version of the format, which is always `"1"`.
    pub version: Version,
}

/// The only version of a whole state. The head of a sharded state has another version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// Version 1.
    #[default]
    #[serde(rename = "1")]
    One,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_scoped_object_that_was_recorded_with_a_namespace_is_known_by_its_true_key() {
        let key = |kind: &str, namespace: Option<&str>| ObjectKey {
            group: String::new(),
            kind: kind.into(),
            namespace: namespace.map(Into::into),
            name: "w".into(),
        };
        let ident = |key| Ident { key, version: "v1".into() };
        let project = "demo".parse().unwrap();
        let mut entries = Entries::default();
        for key in [key("Role", Some("a")), key("ClusterRole", Some("a")), key("ClusterRole", None)] {
            entries.insert(&project, &ident(key));
        }
        entries.drop_namespaces(|key| key.kind == "ClusterRole");
        let left: Vec<ObjectKey> = entries.iter().map(|(_, ident)| ident.key).collect();
        assert_eq!(left, [key("ClusterRole", None), key("Role", Some("a"))]);
    }

    #[test]
    fn entries_are_counted_project_by_project() {
        let mut entries = Entries::default();
        assert_eq!((entries.is_empty(), entries.len(), entries.keys().len()), (true, 0, 0));
        for (project, name) in [("demo.a", "x"), ("demo.a", "y"), ("demo.b", "x"), ("demo.b", "x")] {
            let key = ObjectKey { group: String::new(), kind: "Secret".into(), namespace: None, name: name.into() };
            entries.insert(&project.parse().unwrap(), &Ident { key, version: "v1".into() });
        }
        assert!(!entries.is_empty());
        assert_eq!((entries.len(), entries.keys().len()), (3, 2));
    }
}

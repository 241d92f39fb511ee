//! Cohabiting objects: one object that the API server serves under two groups. Finds the desired object that a live
//! object is, whatever its key.

use std::collections::{BTreeMap, BTreeSet};

use super::observed::{Lookup, Observed};
use crate::object::ident::ObjectKey;

/// The desired objects, indexed by uid and by kind, to find two keys that mean the same object.
#[derive(Debug)]
pub(crate) struct CohabitingKeys<'a> {
    by_uid: BTreeMap<&'a str, Vec<&'a ObjectKey>>,
    /// The groups in which objects of a kind are desired.
    groups: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> CohabitingKeys<'a> {
    /// Indexes the desired objects. Objects that were not observed live have no uid and are indexed by kind only.
    pub(crate) fn of(desired: impl IntoIterator<Item = &'a ObjectKey>, observed: &'a Observed) -> Self {
        let mut cohabiting = Self { by_uid: BTreeMap::new(), groups: BTreeMap::new() };
        for key in desired {
            cohabiting.groups.entry(&key.kind).or_default().insert(&key.group);
            if let Some(uid) = observed.uid(key).filter(|uid| !uid.is_empty()) {
                cohabiting.by_uid.entry(uid).or_default().push(key);
            }
        }
        cohabiting
    }

    /// Lists the desired objects with other keys that are the same object as the live object with this key: they have
    /// the same uid.
    pub(crate) fn others(&self, key: &ObjectKey, uid: &str) -> impl Iterator<Item = &'a ObjectKey> {
        self.by_uid.get(uid).into_iter().flatten().copied().filter(move |other| *other != key)
    }

    /// Lists the keys with the same kind, namespace and name in the other groups in which this kind is desired. They
    /// may mean the same object.
    pub(crate) fn namesakes(&self, key: &ObjectKey) -> impl Iterator<Item = ObjectKey> {
        let groups = self.groups.get(key.kind.as_str()).into_iter().flatten().filter(|group| **group != key.group);
        groups.map(|group| ObjectKey { group: (*group).to_owned(), ..key.clone() })
    }

    /// A desired object that may be the same object and that could not be read.
    pub(crate) fn unseen(
        &self,
        key: &ObjectKey,
        desired: &BTreeSet<&ObjectKey>,
        observed: &Observed,
    ) -> Option<ObjectKey> {
        let is_unseen = |other: &ObjectKey| {
            !matches!(observed.looks.get(other), Some(Lookup::Live(_) | Lookup::Proved(_) | Lookup::Absent))
        };
        self.namesakes(key).find(|other| desired.contains(other) && is_unseen(other))
    }
}

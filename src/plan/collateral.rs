//! Objects that are deleted together with a namespace or a CRD although no change asks for their deletion.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::change::Change;
use super::decision::Contents;
use crate::object::ident::{GroupKind, ObjectKey, split_api_version};
use crate::object::live::Live;

/// The number of objects that are named. The rest is only counted.
const NAMED: usize = 5;

/// The contents of a namespace, or the custom resources of a CRD.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collateral {
    /// The objects that exist. Only the metadata of their bodies is known.
    pub found: BTreeMap<ObjectKey, Live>,
    /// The kinds whose list is complete. An object of these kinds that is not in `found` does not exist.
    pub listed: BTreeSet<GroupKind>,
    /// The parts that could not be listed, each with the reason. Their contents are not known.
    pub unseen: Vec<String>,
}

impl Collateral {
    /// The other objects that the holder still contains after the given deletions. `None` if there are no such objects
    /// and everything could be listed.
    pub(crate) fn outside(&self, deleted: &[&Change]) -> Option<Contents> {
        let others = self.others(deleted);
        if others.is_empty() && self.unseen.is_empty() {
            return None;
        }
        let first = others.iter().take(NAMED).map(|key| (*key).clone()).collect();
        Some(Contents::Listed { first, count: others.len(), unseen: self.unseen.clone() })
    }

    /// Lists the objects that would stay after the given deletions and are deleted only because their holder is
    /// deleted.
    ///
    /// It excludes the objects that Kubernetes itself creates or deletes: objects that are being deleted, objects
    /// without any remaining owner, and objects that every namespace has.
    pub(crate) fn others(&self, deleted: &[&Change]) -> Vec<&ObjectKey> {
        let keys: BTreeSet<&ObjectKey> = deleted.iter().map(|change| &change.ident.key).collect();
        let mut gone: BTreeSet<&str> = deleted.iter().filter_map(|change| change.uid.as_deref()).collect();
        gone.remove("");
        let present: BTreeSet<&str> = self.found.values().map(Live::uid).collect();
        let mut staying: Vec<(&ObjectKey, &Live)> = self.found.iter().collect();
        loop {
            let is_left = |owner: &Owner<'_>| {
                !gone.contains(owner.uid) && (present.contains(owner.uid) || !self.listed.contains(&owner.kind))
            };
            let is_going = |(key, live): &(&ObjectKey, &Live)| {
                let owners = owners(live);
                gone.contains(live.uid())
                    || live.is_terminating()
                    || is_of_every_namespace(key)
                    || service_of(key).is_some_and(|service| keys.contains(&service))
                    || !owners.is_empty() && !owners.iter().any(is_left)
            };
            let (going, rest): (Vec<_>, Vec<_>) = staying.into_iter().partition(is_going);
            staying = rest;
            if going.is_empty() {
                return staying.into_iter().map(|(key, _)| key).collect();
            }
            // An object with the `orphan` finalizer does not take its dependents with it.
            let takes = |live: &&Live| !live.uid().is_empty() && !live.finalizers().any(|name| name == "orphan");
            gone.extend(going.into_iter().map(|(_, live)| live).filter(takes).map(Live::uid));
        }
    }
}

/// An owner that an object names. When its last owner is gone, Kubernetes deletes the object.
struct Owner<'a> {
    uid: &'a str,
    kind: GroupKind,
}

fn owners(live: &Live) -> Vec<Owner<'_>> {
    fn owner(owner: &Value) -> Owner<'_> {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        Owner { uid: text("uid"), kind: GroupKind::new(split_api_version(text("apiVersion")).0, text("kind")) }
    }
    let owners = live.body.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().map(owner).collect()
}

/// Returns `true` if objects of a kind count as content. Events do not count: they are only notes about other objects.
pub(crate) fn counts(kind: &GroupKind) -> bool {
    !(kind.kind == "Event" && ["", "events.k8s.io"].contains(&kind.group.as_str()))
}

/// Returns `true` if Kubernetes creates the object in every namespace.
fn is_of_every_namespace(key: &ObjectKey) -> bool {
    let made = [("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")];
    key.group.is_empty() && made.contains(&(key.kind.as_str(), key.name.as_str()))
}

/// The Service to which an Endpoints object belongs by its name alone. The Endpoints object is deleted with it.
fn service_of(key: &ObjectKey) -> Option<ObjectKey> {
    let is_endpoints = key.group.is_empty() && key.kind == "Endpoints";
    is_endpoints.then(|| ObjectKey { kind: "Service".to_owned(), ..key.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn key(kind: &str, name: &str) -> ObjectKey {
        ObjectKey { group: String::new(), kind: kind.into(), namespace: Some("x".into()), name: name.into() }
    }

    /// An object with this uid and with owners of these kinds and uids.
    fn object(uid: &str, owners: &[(&str, &str)]) -> Live {
        let owner = |(kind, uid): &(&str, &str)| json!({"apiVersion": "v1", "kind": kind, "uid": uid});
        let owners: Vec<Value> = owners.iter().map(owner).collect();
        Live { body: json!({"metadata": {"uid": uid, "ownerReferences": owners}}) }
    }

    fn with(mut live: Live, field: &str, value: Value) -> Live {
        live.body["metadata"][field] = value;
        live
    }

    fn content(found: &[(ObjectKey, Live)]) -> Collateral {
        let listed = ["ConfigMap", "Deployment", "ReplicaSet", "Pod", "Service", "Endpoints", "ServiceAccount"];
        let listed = listed.map(|kind| GroupKind::new("", kind)).into();
        Collateral { found: found.iter().cloned().collect(), listed, unseen: vec![] }
    }

    fn names<'a>(others: &[&'a ObjectKey]) -> Vec<&'a str> {
        others.iter().map(|key| key.name.as_str()).collect()
    }

    #[test]
    fn what_kubernetes_makes_or_takes_away_itself_is_no_ones() {
        let leaving = || json!("2031-05-06T07:08:09Z");
        let found = [
            (key("Deployment", "ours"), object("d", &[])),
            (key("ReplicaSet", "of-ours"), object("r", &[("Deployment", "d")])),
            (key("Pod", "of-ours"), object("p", &[("ReplicaSet", "r")])),
            (key("Pod", "of-none"), object("n", &[("ReplicaSet", "collected")])),
            (key("Pod", "leaving"), with(object("l", &[]), "deletionTimestamp", leaving())),
            (key("Endpoints", "ours"), object("e", &[])),
            (key("ServiceAccount", "default"), object("s", &[])),
            (key("ConfigMap", "kube-root-ca.crt"), object("k", &[])),
        ];
        let deleted = [Change::deletion(key("Deployment", "ours"), "d"), Change::deletion(key("Service", "ours"), "v")];
        let deleted: Vec<&Change> = deleted.iter().collect();
        assert!(content(&found).others(&deleted).is_empty());
        assert_eq!(content(&found).outside(&deleted), None);
    }

    #[test]
    fn what_anyone_else_has_is_found_whatever_it_looks_like() {
        let orphaning = with(object("o", &[]), "finalizers", json!(["orphan"]));
        let found = [
            (key("ConfigMap", "a-another-of-the-name"), object("new", &[])),
            (key("ConfigMap", "b-without-uid"), object("", &[])),
            (key("ConfigMap", "c-of-ours-and-theirs"), object("c", &[("Deployment", "d"), ("ConfigMap", "new")])),
            (key("ConfigMap", "d-of-a-node"), object("n", &[("Node", "somewhere")])),
            (key("ConfigMap", "e-orphaned-soon"), object("q", &[("ReplicaSet", "o")])),
            (key("ConfigMap", "f-of-itself"), object("i", &[("ConfigMap", "i")])),
            (key("ConfigMap", "g-named-as-a-service"), object("g", &[])),
            (key("Endpoints", "h-of-a-service-that-stays"), object("e", &[])),
            (key("ReplicaSet", "orphaning"), with(orphaning, "deletionTimestamp", json!("2031-05-06T07:08:09Z"))),
        ];
        let deleted = [
            Change::deletion(key("ConfigMap", "a-another-of-the-name"), "old"),
            Change::deletion(key("Deployment", "z"), "d"),
            Change::deletion(key("Service", "g-named-as-a-service"), "s"),
        ];
        let deleted: Vec<&Change> = deleted.iter().collect();
        let content = content(&found);
        let expected: Vec<&str> = found[..8].iter().map(|(key, _)| key.name.as_str()).collect();
        assert_eq!(names(&content.others(&deleted)), expected);
        let first = found[..NAMED].iter().map(|(key, _)| key.clone()).collect();
        let listed = Contents::Listed { first, count: expected.len(), unseen: vec![] };
        assert_eq!(content.outside(&deleted), Some(listed));
    }

    #[test]
    fn what_was_not_seen_is_told_beside_what_was() {
        let outside = |found: &[(ObjectKey, Live)], unseen: &[&str]| {
            let unseen = unseen.iter().map(|text| (*text).to_owned()).collect();
            Collateral { unseen, ..content(found) }.outside(&[])
        };
        let theirs = [(key("ConfigMap", "theirs"), object("t", &[]))];
        let listed = |first: &[ObjectKey], unseen: &[&str]| Contents::Listed {
            first: first.to_vec(),
            count: first.len(),
            unseen: unseen.iter().map(|text| (*text).to_owned()).collect(),
        };
        assert_eq!(outside(&[], &[]), None);
        assert_eq!(outside(&[], &["no answer"]), Some(listed(&[], &["no answer"])));
        let both = Some(listed(&[key("ConfigMap", "theirs")], &["no answer", "no right"]));
        assert_eq!(outside(&theirs, &["no answer", "no right"]), both);
    }

    #[test]
    fn events_are_notes_about_other_objects() {
        assert!(!counts(&GroupKind::new("", "Event")) && !counts(&GroupKind::new("events.k8s.io", "Event")));
        assert!(counts(&GroupKind::new("audit.example.com", "Event")) && counts(&GroupKind::new("", "Pod")));
    }

    /// The number of objects in the test. Each has owners, given by number. Owners with a number from `OBJECTS` on do
    /// not exist, although the kind of some of them was listed.
    const OBJECTS: usize = 7;

    fn owner_kind(number: usize) -> &'static str {
        if number.is_multiple_of(2) { "ConfigMap" } else { "Unlisted" }
    }

    /// Returns `true` if an object is deleted, computed directly from the definition. It follows the owners upwards.
    /// Objects that own each other in a circle keep each other.
    fn goes(number: usize, owners: &[Vec<usize>], deleted: &[bool], above: &[usize]) -> bool {
        if number >= OBJECTS {
            return owner_kind(number) == "ConfigMap";
        }
        let is_gone =
            |owner: &usize| !above.contains(owner) && goes(*owner, owners, deleted, &[above, &[*owner]].concat());
        deleted[number] || !owners[number].is_empty() && owners[number].iter().all(is_gone)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_stays_is_what_has_an_owner_that_stays_or_none(
            owners in prop::collection::vec(prop::collection::vec(0..OBJECTS + 2, 0..3), OBJECTS),
            deleted in prop::collection::vec(any::<bool>(), OBJECTS),
        ) {
            let name = |number: usize| format!("o{number}");
            let found: Vec<(ObjectKey, Live)> = (0..OBJECTS).map(|number| {
                let named: Vec<String> = owners[number].iter().copied().map(name).collect();
                let owners: Vec<(&str, &str)> =
                    owners[number].iter().zip(&named).map(|(owner, uid)| (owner_kind(*owner), uid.as_str())).collect();
                (key("ConfigMap", &name(number)), object(&name(number), &owners))
            }).collect();
            let content = content(&found);
            let changes: Vec<Change> = (0..OBJECTS).filter(|number| deleted[*number])
                .map(|number| Change::deletion(key("ConfigMap", &name(number)), &name(number))).collect();
            let others = content.others(&changes.iter().collect::<Vec<_>>());
            let expected: Vec<String> =
                (0..OBJECTS).filter(|number| !goes(*number, &owners, &deleted, &[*number])).map(name).collect();
            prop_assert_eq!(names(&others), expected);
        }
    }
}

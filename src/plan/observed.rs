//! The observations of a run before it decides. Together with the request, they are the input of the plan.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::object::fields::Fields;
use crate::object::ident::{Ident, ObjectKey};
use crate::object::kinds::Kinds;
use crate::object::live::Live;
use crate::object::mark::{Ownership, Root, ownership};
use crate::object::references::{Reference, references};
use crate::object::refusal::Refusal;
use crate::plan::collateral::Collateral;
use crate::plan::migration::Extent;
use crate::project::path::ProjectPath;

/// The result of reading an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The object exists.
    Live(Live),
    /// The object exists, is ready, and its managed fields prove that an apply would change nothing. Its content is not
    /// kept.
    Proved(Proved),
    /// The object is gone: a consistent read found nothing, or its kind does not exist.
    Absent,
    /// The object could not be read, for the given reason. Never conclude from this that the object is absent.
    Unknown(String),
}

/// A live object of ours that is as desired. Of its content, only the data that a plan needs about such an object is
/// kept, because a root may have a hundred thousand of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Proved {
    uid: String,
    resource_version: String,
    project: ProjectPath,
    references: Box<[Reference]>,
}

impl Proved {
    /// Keeps the data of an object whose mark names `project`.
    pub(super) fn new(live: &Live, project: ProjectPath) -> Self {
        let (uid, resource_version) = (live.uid().to_owned(), live.resource_version().to_owned());
        Self { uid, resource_version, project, references: references(&live.body).into() }
    }
}

/// The result of a dry run that applies a desired object.
#[derive(Clone, Debug, PartialEq)]
pub enum DryRun {
    /// No request was needed, because the managed fields prove that nothing would change. Also the result for a Job
    /// that ran and removed itself.
    Proved,
    /// The object would be created.
    Created,
    /// The object exists and would become this one.
    Applied(Live),
    /// The server would refuse the change.
    Refused(Refusal),
    /// The server would refuse the change, but would accept the same object as a new one: a field is immutable.
    Immutable(Refusal),
    /// The server cannot check the change yet, because the same run first applies the named object.
    Unverified(ObjectKey),
}

/// All observations of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The kinds that the server serves.
    pub kinds: Kinds,
    /// The results of reading objects.
    pub looks: BTreeMap<ObjectKey, Lookup>,
    /// The dry runs of the desired objects in scope.
    pub trials: BTreeMap<ObjectKey, DryRun>,
    /// The desired objects in scope that are live and not ready.
    pub unready: BTreeSet<ObjectKey>,
    /// The objects from which the server does not remove all fields that older tools left. Only their metadata is taken
    /// over.
    pub held: BTreeSet<ObjectKey>,
    /// The Jobs that ran as desired and removed themselves.
    pub done: BTreeSet<ObjectKey>,
    /// The fields that no manager owns and that prevent a change. They are claimed before the apply, and the apply then
    /// removes them.
    pub claims: BTreeMap<ObjectKey, Fields>,
    /// The objects whose contested fields are taken from other managers before the apply.
    pub forced: BTreeSet<ObjectKey>,
    /// The deletions that the server refused in a dry run.
    pub undeletable: BTreeMap<ObjectKey, Refusal>,
    /// The deletions that a webhook or a policy refuses, each with that webhook or policy. The same run deletes it
    /// first.
    pub lifted: BTreeMap<ObjectKey, ObjectKey>,
    /// The contents of the namespaces and CRDs that would be deleted.
    pub contents: BTreeMap<ObjectKey, Collateral>,
}

impl Observed {
    /// Lists the live objects that are ours by their mark, with the project that the mark names.
    ///
    /// An object that is served under two groups counts once. If one of its keys is `known` (desired or recorded), that
    /// key is used.
    pub fn owned(&self, root: &Root, known: impl Fn(&ObjectKey) -> bool) -> Vec<(ProjectPath, Ident)> {
        let (mut first, then): (Vec<_>, Vec<_>) =
            self.looks.keys().filter_map(|key| Some((key, self.uid(key)?))).partition(|(key, _)| known(key));
        first.extend(then);
        let mut seen = BTreeSet::new();
        let ours = |(key, uid): (&ObjectKey, &str)| {
            let Some(Ownership::Ours(project)) = self.owner(key, root) else { return None };
            let version = self.kinds.get(&key.group_kind())?.versions.first()?.clone();
            let ident = Ident { key: key.clone(), version };
            // None of our objects has such a name, and a state that contains it could not be read back.
            if !ident.is_possible() {
                return None;
            }
            (uid.is_empty() || seen.insert(uid.to_owned())).then_some((project, ident))
        };
        first.into_iter().filter_map(ours).collect()
    }

    /// The extent to which an object's fields of older tools become ours.
    pub fn extent(&self, key: &ObjectKey) -> Extent {
        if self.held.contains(key) { Extent::Metadata } else { Extent::Whole }
    }

    /// The live object with this key, if it was found and its content is kept.
    pub fn live(&self, key: &ObjectKey) -> Option<&Live> {
        match self.looks.get(key)? {
            Lookup::Live(live) => Some(live),
            Lookup::Proved(_) | Lookup::Absent | Lookup::Unknown(_) => None,
        }
    }

    /// Returns `true` if the object was found.
    pub(crate) fn exists(&self, key: &ObjectKey) -> bool {
        self.uid(key).is_some()
    }

    /// The uid of the object with this key, if it was found. The uid is empty if the object has none.
    pub(crate) fn uid(&self, key: &ObjectKey) -> Option<&str> {
        match self.looks.get(key)? {
            Lookup::Live(live) => Some(live.uid()),
            Lookup::Proved(proved) => Some(&proved.uid),
            Lookup::Absent | Lookup::Unknown(_) => None,
        }
    }

    /// The resourceVersion of the object with this key, if it was found.
    pub(crate) fn resource_version(&self, key: &ObjectKey) -> Option<&str> {
        match self.looks.get(key)? {
            Lookup::Live(live) => Some(live.resource_version()),
            Lookup::Proved(proved) => Some(&proved.resource_version),
            Lookup::Absent | Lookup::Unknown(_) => None,
        }
    }

    /// The owner of the object with this key, if it was found.
    pub(crate) fn owner(&self, key: &ObjectKey, root: &Root) -> Option<Ownership> {
        match self.looks.get(key)? {
            Lookup::Live(live) => Some(ownership(live, root)),
            Lookup::Proved(proved) => Some(Ownership::Ours(proved.project.clone())),
            Lookup::Absent | Lookup::Unknown(_) => None,
        }
    }

    /// The references of the object with this key to other objects. They are empty if the object was not found.
    pub(crate) fn references(&self, key: &ObjectKey) -> Cow<'_, [Reference]> {
        match self.looks.get(key) {
            Some(Lookup::Live(live)) => Cow::Owned(references(&live.body)),
            Some(Lookup::Proved(proved)) => Cow::Borrowed(&proved.references),
            Some(Lookup::Absent | Lookup::Unknown(_)) | None => Cow::Borrowed(&[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ident::GroupKind;
    use crate::object::kinds::Kind;
    use crate::object::mark::stamp;
    use crate::project::path::Segment;
    use serde_json::json;

    #[test]
    fn c8_what_is_served_under_two_kinds_is_owned_once_under_the_kind_that_is_known() {
        let root = Root::new(Segment::new("demo").unwrap());
        let key = |group: &str, kind: &str, name: &str| ObjectKey {
            group: group.into(),
            kind: kind.into(),
            namespace: Some("x".into()),
            name: name.into(),
        };
        let live = |uid: &str, is_ours: bool| {
            let mut body = json!({"metadata": {"uid": uid, "managedFields": [{"manager": "ktor-demo", "operation": "Apply",
                "fieldsV1": {"f:metadata": {"f:annotations": {"f:kubernator.io/project": {}}}}}]}});
            if is_ours {
                stamp(&mut body, &"demo.a".parse().unwrap(), &root);
            }
            Lookup::Live(Live { body })
        };
        let cohabiting = [key("", "Event", "e"), key("events.k8s.io", "Event", "e")];
        let kind = |group: &str, kind: &str| Kind {
            group_kind: GroupKind::new(group, kind),
            plural: "any".into(),
            namespaced: true,
            versions: vec!["v1".into()],
            manageable: true,
        };
        let kinds = [kind("", "Event"), kind("events.k8s.io", "Event"), kind("", "ConfigMap"), kind("", "Secret")];
        let mut observed = Observed { kinds: Kinds::new(kinds, BTreeSet::new()), ..Observed::default() };
        observed.looks = [
            (cohabiting[0].clone(), live("u", true)),
            (cohabiting[1].clone(), live("u", true)),
            (key("", "Secret", "theirs"), live("v", false)),
            (key("", "Secret", "gone"), Lookup::Absent),
            (key("", "ConfigMap", "one"), live("", true)),
            (key("", "ConfigMap", "two"), live("", true)),
        ]
        .into();
        let owned = |known: Option<&ObjectKey>| {
            let owned = observed.owned(&root, |key| Some(key) == known);
            assert!(owned.iter().all(|(project, ident)| project.as_str() == "demo.a" && ident.version == "v1"));
            owned.into_iter().map(|(_, ident)| ident.key).collect::<BTreeSet<_>>()
        };
        let config_maps = [key("", "ConfigMap", "one"), key("", "ConfigMap", "two")];
        for known in &cohabiting {
            assert_eq!(owned(Some(known)), config_maps.iter().chain([known]).cloned().collect());
        }
        assert_eq!(owned(None), config_maps.iter().chain([&cohabiting[0]]).cloned().collect());
    }
}

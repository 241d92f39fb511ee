//! The observations of a run before it decides. Together with the request, they are the input of the plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::object::fields::Fields;
use crate::object::ident::{Ident, ObjectKey};
use crate::object::kinds::Kinds;
use crate::object::live::Live;
use crate::object::mark::{Ownership, Root, ownership};
use crate::object::refusal::Refusal;
use crate::plan::collateral::Collateral;
use crate::plan::migration::Extent;
use crate::project::path::ProjectPath;

/// The result of reading an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The object exists.
    Live(Live),
    /// The object is gone: a consistent read found nothing, or its kind does not exist.
    Absent,
    /// The object could not be read, for the given reason. Never conclude from this that the object is absent.
    Unknown(String),
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
            self.looks.iter().filter_map(|(key, look)| Some((key, live_of(look)?))).partition(|(key, _)| known(key));
        first.extend(then);
        let mut seen = BTreeSet::new();
        let ours = |(key, live): (&ObjectKey, &Live)| {
            let Ownership::Ours(project) = ownership(live, root) else { return None };
            let version = self.kinds.get(&key.group_kind())?.versions.first()?.clone();
            let ident = Ident { key: key.clone(), version };
            // None of our objects has such a name, and a state that contains it could not be read back.
            if !ident.is_possible() {
                return None;
            }
            (live.uid().is_empty() || seen.insert(live.uid().to_owned())).then_some((project, ident))
        };
        first.into_iter().filter_map(ours).collect()
    }

    /// The extent to which an object's fields of older tools become ours.
    pub fn extent(&self, key: &ObjectKey) -> Extent {
        if self.held.contains(key) { Extent::Metadata } else { Extent::Whole }
    }

    /// The live object with this key, if it was found.
    pub fn live(&self, key: &ObjectKey) -> Option<&Live> {
        self.looks.get(key).and_then(live_of)
    }
}

fn live_of(look: &Lookup) -> Option<&Live> {
    match look {
        Lookup::Live(live) => Some(live),
        Lookup::Absent | Lookup::Unknown(_) => None,
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

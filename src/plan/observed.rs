//! What a run found out before it decided: the other input of the plan.

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

/// What looking for an object found.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// It is there.
    Live(Live),
    /// A consistent read found nothing, or its kind does not exist: it is gone.
    Absent,
    /// It could not be looked at. Absence must not be inferred from that.
    Unknown(String),
}

/// What a dry run of applying a desired object found.
#[derive(Clone, Debug, PartialEq)]
pub enum DryRun {
    /// No request was needed: the managed fields prove that nothing would change.
    Proved,
    /// It would be created.
    Created,
    /// It exists and would then be this.
    Applied(Live),
    /// The server would refuse.
    Refused(Refusal),
    /// The server would refuse to change it so, and would accept the same object as a new one: a field is immutable.
    Immutable(Refusal),
    /// The server cannot tell yet: the same run first brings the object of the given name.
    Unverified(String),
}

/// Everything that was found out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The kinds there are.
    pub kinds: Kinds,
    /// What was looked for.
    pub looks: BTreeMap<ObjectKey, Lookup>,
    /// Dry runs of in-scope desired objects.
    pub trials: BTreeMap<ObjectKey, DryRun>,
    /// In-scope desired objects that are live and not ready.
    pub unready: BTreeSet<ObjectKey>,
    /// Objects of which the server does not let go all that older tools left: only their metadata is migrated.
    pub held: BTreeSet<ObjectKey>,
    /// Jobs that ran as they are desired and removed themselves.
    pub done: BTreeSet<ObjectKey>,
    /// Fields that nobody owns and that stand in the way of a change: they are claimed before the apply, which drops them.
    pub claims: BTreeMap<ObjectKey, Fields>,
    /// Objects of which contested fields are taken from their managers before the apply.
    pub forced: BTreeSet<ObjectKey>,
    /// Dry runs of deletions that were refused.
    pub undeletable: BTreeMap<ObjectKey, Refusal>,
    /// Deletions that a webhook or policy refuses which the same run deletes first.
    pub lifted: BTreeMap<ObjectKey, ObjectKey>,
    /// What the namespaces and definitions that would be deleted hold.
    pub contents: BTreeMap<ObjectKey, Collateral>,
}

impl Observed {
    /// The live objects that are ours by their mark, with the project that their mark names.
    ///
    /// An object that is served under two kinds counts once: under a kind that is `known` (desired or recorded) if
    /// there is one.
    pub fn owned(&self, root: &Root, known: impl Fn(&ObjectKey) -> bool) -> Vec<(ProjectPath, Ident)> {
        let (mut first, then): (Vec<_>, Vec<_>) =
            self.looks.iter().filter_map(|(key, look)| Some((key, live_of(look)?))).partition(|(key, _)| known(key));
        first.extend(then);
        let mut seen = BTreeSet::new();
        let ours = |(key, live): (&ObjectKey, &Live)| {
            let Ownership::Ours(project) = ownership(live, root) else { return None };
            let version = self.kinds.get(&key.group_kind())?.versions.first()?.clone();
            let ident = Ident { key: key.clone(), version };
            // Nothing of ours has such a name, and the record could not be read with it.
            if !ident.is_possible() {
                return None;
            }
            (live.uid().is_empty() || seen.insert(live.uid().to_owned())).then_some((project, ident))
        };
        first.into_iter().filter_map(ours).collect()
    }

    /// How much of what older tools hold of the object becomes ours.
    pub fn extent(&self, key: &ObjectKey) -> Extent {
        if self.held.contains(key) { Extent::Metadata } else { Extent::Whole }
    }

    /// The live object of a key, if it was found.
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
        let twins = [key("", "Event", "e"), key("events.k8s.io", "Event", "e")];
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
            (twins[0].clone(), live("u", true)),
            (twins[1].clone(), live("u", true)),
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
        for known in &twins {
            assert_eq!(owned(Some(known)), config_maps.iter().chain([known]).cloned().collect());
        }
        assert_eq!(owned(None), config_maps.iter().chain([&twins[0]]).cloned().collect());
    }
}

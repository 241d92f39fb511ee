//! The cleanup set: objects that are recorded, ours by their live mark, and no longer desired.

use std::collections::BTreeSet;

use super::change::Change;
use super::cohabiting::CohabitingKeys;
use super::decision::{Action, Decision, Delete, Keep, Protection, Release, Unknown, Withheld};
use super::generations;
use super::observed::{Lookup, Observed};
use super::policy::Policy;
use crate::object::ident::{Ident, ObjectKey};
use crate::object::kinds::defined_kind;
use crate::object::live::Live;
use crate::object::mark::{CLEANUP, Ownership, Root, ownership};
use crate::object::order::is_system_namespace;
use crate::project::path::ProjectPath;
use crate::project::scope::Scope;
use crate::project::tree::Cleanup;
use crate::state::payload::Entries;

/// The annotations by which ktor or another tool protects an object from deletion: the name and the protecting value.
/// An empty value means that any value protects.
const PROTECTING: [(&str, &str); 7] = [
    (CLEANUP, "keep"),
    ("helm.sh/resource-policy", "keep"),
    ("argocd.argoproj.io/sync-options", "Prune=false"),
    ("argocd.argoproj.io/sync-options", "Delete=false"),
    ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
    ("kapp.k14s.io/delete-strategy", "orphan"),
    ("kapp.k14s.io/disable-delete", ""),
];

/// The inputs of cleanup.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CleanupRequest<'a> {
    /// The root.
    pub root: &'a Root,
    /// The projects that may be changed.
    pub scope: &'a Scope,
    /// Everything that is recorded.
    pub entries: &'a Entries,
    /// Every desired object of the whole tree, in scope or not.
    pub desired: &'a BTreeSet<&'a ObjectKey>,
    /// The objects that this run records, in addition to the recorded ones.
    pub intended: &'a BTreeSet<&'a ObjectKey>,
    /// The permissions that the root and the caller give.
    pub policy: &'a Policy,
}

/// Decides about every recorded, undesired object of the projects in scope.
///
/// An object that is gone needs no change and is not listed.
pub(crate) fn decide(request: CleanupRequest<'_>, observed: &Observed) -> Vec<Change> {
    let judge = Judge {
        request,
        observed,
        cohabiting: CohabitingKeys::of(request.desired.iter().copied(), observed),
        recorded: request.entries.keys().into_iter().chain(request.intended.iter().copied()).collect(),
        previous: previous(request, observed),
    };
    let mut seen = BTreeSet::new();
    let mut changes: Vec<Change> = candidates(request)
        .filter(|(_, ident)| seen.insert(ident.key.clone()))
        .filter_map(|(project, ident)| judge.one(project, ident))
        .collect();
    keep_holders(&mut changes, request.desired, observed);
    changes
}

/// Keeps namespaces and CRDs that contain an object that is desired or stays, because this object would be deleted with
/// them.
///
/// If they contain no desired object and every staying object in them is protected, they are protected too. Otherwise a
/// later run may delete them.
pub(super) fn keep_holders(changes: &mut [Change], desired: &BTreeSet<&ObjectKey>, observed: &Observed) {
    let staying: Vec<(ObjectKey, bool)> = changes
        .iter()
        .filter(|change| matches!(change.action(), Action::Keep | Action::Blocked))
        .map(|change| (change.ident.key.clone(), change.decision.is_protected()))
        .collect();
    let holders = |change: &&mut Change| change.action() == Action::Delete && is_holder(&change.ident.key);
    for change in changes.iter_mut().filter(holders) {
        let is_held = |key: &ObjectKey| holds(&change.ident.key, key, observed);
        let wanted = desired.iter().find(|key| is_held(key));
        let wanted = wanted.map(|held| Keep::Withheld(Withheld::ContainsDesired((*held).clone())));
        let stays = staying.iter().filter(|(key, _)| is_held(key)).min_by_key(|(_, is_protected)| *is_protected);
        let stays = stays.map(|(held, is_protected)| {
            let held = held.clone();
            if *is_protected {
                Keep::Protected(Protection::Contains(held))
            } else {
                Keep::Withheld(Withheld::Contains(held))
            }
        });
        if let Some(keep) = wanted.or(stays) {
            change.decision = Decision::Keep(keep);
        }
    }
}

/// Returns `true` if deleting the object can also delete other objects: it is a namespace or a CRD.
pub(crate) fn is_holder(key: &ObjectKey) -> bool {
    key.is_namespace() || key.is_crd()
}

/// Returns `true` if deleting the first object also deletes the second: the first is its namespace or the CRD of its
/// kind.
pub(crate) fn holds(holder: &ObjectKey, held: &ObjectKey, observed: &Observed) -> bool {
    if holder.is_namespace() {
        return held.namespace.as_ref() == Some(&holder.name);
    }
    let defined = || observed.live(holder).and_then(|live| defined_kind(&live.body));
    holder.is_crd() && defined().is_some_and(|kind| kind.group_kind == held.group_kind())
}

/// Lists the recorded, undesired objects of the projects in scope. The run must read these objects.
pub(crate) fn candidates(request: CleanupRequest<'_>) -> impl Iterator<Item = (&ProjectPath, Ident)> {
    request
        .entries
        .iter()
        .filter(move |(project, ident)| request.scope.contains(project) && !request.desired.contains(&ident.key))
}

/// The generations of ours that stay for a rollback.
fn previous<'a>(request: CleanupRequest<'a>, observed: &'a Observed) -> BTreeSet<&'a ObjectKey> {
    let undesired = request.entries.keys().into_iter().filter(|key| !request.desired.contains(key));
    let live = undesired.filter_map(|key| Some(key).zip(observed.live(key)));
    let ours = live.filter(|(_, live)| matches!(ownership(live, request.root), Ownership::Ours(_)));
    generations::kept(request.policy, ours.map(|(key, live)| (key, &live.body)))
}

/// The inputs for the decision about each recorded object. They are computed once from all desired objects.
struct Judge<'a> {
    request: CleanupRequest<'a>,
    observed: &'a Observed,
    cohabiting: CohabitingKeys<'a>,
    recorded: BTreeSet<&'a ObjectKey>,
    previous: BTreeSet<&'a ObjectKey>,
}

impl Judge<'_> {
    fn one(&self, recorded: &ProjectPath, ident: Ident) -> Option<Change> {
        let Self { request, observed, .. } = *self;
        let change = |decision, live: Option<&Live>, project: &ProjectPath| {
            Some(Change {
                decision,
                ident: ident.clone(),
                project: project.clone(),
                from: None,
                place: None,
                uid: live.map(|live| live.uid().to_owned()),
                resource_version: live.map(|live| live.resource_version().to_owned()),
                diff: Vec::new(),
                risks: Vec::new(),
                body: None,
                pods: None,
            })
        };
        let live = match observed.looks.get(&ident.key) {
            Some(Lookup::Absent) => return None,
            Some(Lookup::Live(live)) => live,
            Some(Lookup::Unknown(why)) => {
                return change(Decision::Keep(Keep::Unknown(Unknown::Message(why.clone()))), None, recorded);
            }
            // Only a desired object is proved to be as desired.
            Some(Lookup::Proved(_)) | None => {
                return change(Decision::Keep(Keep::Unknown(Unknown::NotRead)), None, recorded);
            }
        };
        // The entry may be removed only if the object is also recorded under its desired key, by an earlier run or by
        // this one.
        let cohabiting = self.cohabiting.others(&ident.key, live.uid()).max_by_key(|key| self.recorded.contains(key));
        if let Some(cohabiting) = cohabiting.filter(|key| self.recorded.contains(key)) {
            return change(Decision::Release(Release::SameObject(cohabiting.clone())), Some(live), recorded);
        }
        let project = match ownership(live, request.root) {
            Ownership::Ours(project) => project,
            // The object may be ours or anyone's, so it is neither deleted nor removed from the state.
            Ownership::Lost(project) => {
                return change(Decision::Keep(Keep::Protected(Protection::LostFields)), Some(live), &project);
            }
            Ownership::Unmarked => return change(Decision::Release(Release::Unmarked), Some(live), recorded),
            Ownership::Other(owner) | Ownership::Copied(owner) => {
                return change(Decision::Release(Release::Foreign(owner)), Some(live), recorded);
            }
        };
        let keep = |keep: Keep| change(Decision::Keep(keep), Some(live), &project);
        if !request.scope.contains(&project) {
            return keep(Keep::Protected(Protection::OutOfScope(project.clone())));
        }
        if let Some(cohabiting) = cohabiting {
            return keep(Keep::Protected(Protection::SameObject(cohabiting.clone())));
        }
        if let Some(protection) = protection(request.policy, &ident.key, live) {
            return keep(Keep::Protected(protection));
        }
        if self.previous.contains(&ident.key) {
            return keep(Keep::Protected(Protection::PreviousGeneration));
        }
        if let Some(withheld) = request.policy.sources.prevents_deletion() {
            return keep(withheld);
        }
        if let Some(unseen) = self.cohabiting.unseen(&ident.key, request.desired, observed) {
            return keep(Keep::Unknown(Unknown::MayBeSame(unseen.clone())));
        }
        if let Some(why) = request.policy.reviewed.refuses_deletion(&ident.key) {
            return keep(Keep::Unreviewed(why));
        }
        match observed.undeletable.get(&ident.key) {
            Some(refusal) => change(refusal.clone().into(), Some(live), &project),
            None => {
                let lifted = observed.lifted.get(&ident.key).cloned();
                let delete = lifted.map_or(Delete::Undesired, Delete::AfterDeletionOf);
                change(Decision::Delete(delete), Some(live), &project)
            }
        }
    }
}

/// The reason to keep an undesired object of ours; `None` if cleanup may delete it.
pub(super) fn protection(policy: &Policy, key: &ObjectKey, live: &Live) -> Option<Protection> {
    if policy.cleanup == Cleanup::Off {
        return Some(Protection::CleanupOff);
    }
    kept(policy, key, live)
}

/// The reason to keep an object of ours that would be deleted or replaced; `None` if nothing protects it.
pub(crate) fn kept(policy: &Policy, key: &ObjectKey, live: &Live) -> Option<Protection> {
    if key.is_namespace() && (is_system_namespace(&key.name) || key.name == policy.state_namespace) {
        return Some(Protection::SystemNamespace);
    }
    let protecting = PROTECTING.iter().find(|(name, value)| {
        live.annotation(name)
            .is_some_and(|stated| stated.split(',').any(|part| part.trim() == *value) || value.is_empty())
    });
    if let Some((name, _)) = protecting {
        return Some(Protection::Annotation(name));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::mark::stamp;
    use crate::object::refusal::Refusal;
    use crate::plan::policy::SourceCoverage;
    use crate::plan::policy::{Reviewed, Shown};
    use crate::project::path::Segment;
    use crate::project::scope::ScopeRequest;
    use serde_json::json;

    const OLD: (&str, &str) = ("", "Event");
    const NEW: (&str, &str) = ("events.k8s.io", "Event");

    fn root() -> Root {
        Root::new(Segment::new("demo").unwrap())
    }

    fn key((group, kind): (&str, &str), name: &str) -> ObjectKey {
        let namespace = (kind != "Namespace" && kind != "CustomResourceDefinition").then(|| "x".to_owned());
        ObjectKey { group: group.to_owned(), kind: kind.to_owned(), namespace, name: name.to_owned() }
    }

    /// An object that carries our mark.
    fn ours(uid: &str) -> Live {
        let mut body = json!({"metadata": {"uid": uid, "resourceVersion": "1", "managedFields": [{"manager": "ktor-demo",
            "operation": "Apply", "fieldsV1": {"f:metadata": {"f:annotations": {"f:kubernator.io/project": {}}}}}]}});
        stamp(&mut body, &root().project(), &root());
        Live { body }
    }

    fn decided(recorded: &[ObjectKey], desired: &[ObjectKey], observed: &Observed) -> Vec<(Action, Decision)> {
        decided_by(&Policy::new(Cleanup::On, "kubernator-system"), recorded, desired, observed)
    }

    fn decided_by(
        policy: &Policy,
        recorded: &[ObjectKey],
        desired: &[ObjectKey],
        observed: &Observed,
    ) -> Vec<(Action, Decision)> {
        let root = root();
        let mut entries = Entries::default();
        for key in recorded {
            entries.insert(&root.project(), &Ident { key: key.clone(), version: "v1".to_owned() });
        }
        let known = [root.project()].into();
        let scope = Scope::resolve(&ScopeRequest::default(), &known, &BTreeSet::new()).unwrap();
        let desired = desired.iter().collect();
        let request = CleanupRequest {
            root: &root,
            scope: &scope,
            entries: &entries,
            desired: &desired,
            intended: &BTreeSet::new(),
            policy,
        };
        decide(request, observed).into_iter().map(|change| (change.action(), change.decision)).collect()
    }

    #[test]
    fn c8_an_entry_is_released_only_where_the_same_object_is_recorded_as_it_is_desired() {
        let (old, new) = (key(OLD, "e"), key(NEW, "e"));
        let live = |uid| Some(Lookup::Live(ours(uid)));
        let both = [old.clone(), new.clone()];
        for (what, recorded, seen, expected) in [
            ("the same, and recorded", &both[..], live("u"), Action::Release),
            ("the same, and recorded by nobody", &both[..1], live("u"), Action::Keep),
            ("another of its name", &both[..], live("v"), Action::Delete),
            ("gone", &both[..], Some(Lookup::Absent), Action::Delete),
            ("perhaps the same", &both[..], Some(Lookup::Unknown("no".to_owned())), Action::Keep),
            ("perhaps the same", &both[..], None, Action::Keep),
        ] {
            let mut observed = Observed::default();
            observed.looks.insert(old.clone(), Lookup::Live(ours("u")));
            observed.looks.extend(seen.map(|look| (new.clone(), look)));
            let decided = decided(recorded, &both[1..], &observed);
            assert_eq!(
                decided.iter().map(|(action, _)| *action).collect::<Vec<_>>(),
                [expected],
                "{what}: {decided:?}"
            );
        }
    }

    #[test]
    fn c4_what_stays_keeps_its_namespace_and_its_definition() {
        let till = key(("shop.dev", "Till"), "t");
        let (namespace, other) = (key(("", "Namespace"), "x"), key(("", "Namespace"), "y"));
        let definition = key(("apiextensions.k8s.io", "CustomResourceDefinition"), "tills.shop.dev");
        let mut defined = ours("d");
        defined.body["spec"] = json!({"group": "shop.dev", "scope": "Namespaced",
            "names": {"kind": "Till", "plural": "tills"}, "versions": [{"name": "v1", "served": true}]});
        let recorded = [till.clone(), namespace.clone(), other.clone(), definition.clone()];
        let mut observed = Observed::default();
        for (key, live) in [(&till, ours("t")), (&namespace, ours("x")), (&other, ours("y")), (&definition, defined)] {
            observed.looks.insert(key.clone(), Lookup::Live(live));
        }
        let actions = |observed: &Observed| -> Vec<Action> {
            decided(&recorded, &[], observed).into_iter().map(|(action, _)| action).collect()
        };
        // In the order of the keys: two namespaces, the CRD, the custom resource.
        assert_eq!(actions(&observed), [Action::Delete; 4]);
        observed.undeletable.insert(till.clone(), Refusal::Denied("no".to_owned()));
        assert_eq!(actions(&observed), [Action::Keep, Action::Delete, Action::Keep, Action::Blocked]);
        observed.looks.insert(till, Lookup::Unknown("the server of shop.dev does not answer".to_owned()));
        assert_eq!(actions(&observed), [Action::Keep, Action::Delete, Action::Keep, Action::Keep]);
    }

    #[test]
    fn c5_what_a_manifest_wants_keeps_its_namespace_and_its_definition() {
        let (namespace, other) = (key(("", "Namespace"), "x"), key(("", "Namespace"), "y"));
        let definition = key(("apiextensions.k8s.io", "CustomResourceDefinition"), "tills.shop.dev");
        let mut defined = ours("d");
        defined.body["spec"] = json!({"group": "shop.dev", "scope": "Namespaced",
            "names": {"kind": "Till", "plural": "tills"}, "versions": [{"name": "v1", "served": true}]});
        let mut observed = Observed::default();
        for (key, live) in [(&namespace, ours("x")), (&other, ours("y")), (&definition, defined)] {
            observed.looks.insert(key.clone(), Lookup::Live(live));
        }
        let recorded = [namespace, other, definition];
        let reasons = |desired: &[ObjectKey]| -> Vec<Decision> {
            decided(&recorded, desired, &observed).into_iter().map(|(_, decision)| decision).collect()
        };
        let deleted = || Decision::Delete(Delete::Undesired);
        // In the order of the keys: two namespaces, the CRD. The result is the same if the desired object does not
        // exist yet.
        let kept = |held: &ObjectKey| Decision::Keep(Keep::Withheld(Withheld::ContainsDesired(held.clone())));
        let (web, till) = (key(("", "ConfigMap"), "web"), key(("shop.dev", "Till"), "t"));
        assert_eq!(reasons(std::slice::from_ref(&web)), [kept(&web), deleted(), deleted()]);
        assert_eq!(reasons(std::slice::from_ref(&till)), [kept(&till), deleted(), kept(&till)]);
    }

    #[test]
    fn c5_a_namespace_is_protected_only_where_all_that_stays_in_it_is() {
        let all = [key(("", "Namespace"), "x"), key(("", "ConfigMap"), "a"), key(("", "ConfigMap"), "b")];
        let mut protected = ours("u");
        protected.body["metadata"]["annotations"]["kubernator.io/cleanup"] = json!("keep");
        let (deleted, unseen) = (Lookup::Live(ours("u")), Lookup::Unknown("no right".to_owned()));
        for (looks, reason) in [
            ([&deleted, &deleted], None),
            ([&Lookup::Live(protected.clone()), &deleted], Some("protected")),
            ([&unseen, &deleted], Some("withheld")),
            ([&Lookup::Live(protected.clone()), &unseen], Some("withheld")),
            ([&unseen, &Lookup::Live(protected.clone())], Some("withheld")),
        ] {
            let mut observed = Observed::default();
            observed.looks.insert(all[0].clone(), Lookup::Live(ours("x")));
            for (key, look) in all[1..].iter().zip(looks) {
                observed.looks.insert(key.clone(), look.clone());
            }
            let decided = decided(&all, &[], &observed);
            let namespace = decided.iter().find(|(_, reason)| format!("{reason:?}").contains("Contains("));
            assert_eq!(namespace.map(|(_, reason)| reason.kind()), reason, "{decided:?}");
        }
    }

    #[test]
    fn o7_what_may_not_be_deleted_is_kept_and_says_why() {
        let config = key(("", "ConfigMap"), "c");
        let mut observed = Observed::default();
        observed.looks.insert(config.clone(), Lookup::Live(ours("u")));
        let policy = || Policy::new(Cleanup::On, "kubernator-system");
        let decided = |policy: Policy, key: &ObjectKey, observed: &Observed| {
            let decided = decided_by(&policy, std::slice::from_ref(key), &[], observed);
            let [(action, reason)] = &decided[..] else { panic!("{decided:?}") };
            (*action, format!("{reason:?}"))
        };
        assert_eq!(decided(policy(), &config, &observed).0, Action::Delete);
        let reviewed = |key: &ObjectKey| Policy {
            reviewed: Reviewed::Only(Shown { deleted: [(key.clone(), 1)].into(), ..Shown::default() }),
            ..policy()
        };
        assert_eq!(decided(reviewed(&config), &config, &observed).0, Action::Delete);
        for (policy, why) in [
            (Policy::new(Cleanup::Off, "kubernator-system"), "CleanupOff"),
            (Policy { sources: SourceCoverage::Failed, ..policy() }, "SourceFailed"),
            (reviewed(&key(OLD, "other")), "Unreviewed"),
        ] {
            let (action, reason) = decided(policy, &config, &observed);
            assert!(action == Action::Keep && reason.contains(why), "{action:?} {reason}");
        }
        for name in ["kube-system", "default", "kubernator-system"] {
            let namespace = key(("", "Namespace"), name);
            observed.looks.insert(namespace.clone(), Lookup::Live(ours("n")));
            let (action, reason) = decided(policy(), &namespace, &observed);
            assert!(action == Action::Keep && reason.contains("SystemNamespace"), "{action:?} {reason}");
        }
        observed.looks.insert(config.clone(), Lookup::Unknown("no answer".to_owned()));
        assert_eq!(decided(policy(), &config, &observed).0, Action::Keep);
        observed.looks.remove(&config);
        assert_eq!(decided(policy(), &config, &observed).0, Action::Keep);
    }

    #[test]
    fn o4_what_moved_out_of_scope_by_its_mark_is_kept() {
        let (root, config) = (root(), key(("", "ConfigMap"), "c"));
        let [a, b] = ["demo.a", "demo.b"].map(|project| project.parse::<ProjectPath>().unwrap());
        let mut live = ours("u");
        stamp(&mut live.body, &b, &root);
        let mut observed = Observed::default();
        observed.looks.insert(config.clone(), Lookup::Live(live));
        let mut entries = Entries::default();
        entries.insert(&a, &Ident { key: config, version: "v1".to_owned() });
        let request = ScopeRequest { include: vec!["demo.a".parse().unwrap()], ..ScopeRequest::default() };
        let scope = Scope::resolve(&request, &[a, b].into(), &BTreeSet::new()).unwrap();
        let policy = Policy::new(Cleanup::On, "kubernator-system");
        let desired = BTreeSet::new();
        let request = CleanupRequest {
            root: &root,
            scope: &scope,
            entries: &entries,
            desired: &desired,
            intended: &BTreeSet::new(),
            policy: &policy,
        };
        let decided = decide(request, &observed);
        assert_eq!(decided.iter().map(Change::action).collect::<Vec<_>>(), [Action::Keep], "{decided:?}");
    }

    #[test]
    fn c4_only_what_would_be_deleted_is_kept_for_what_it_holds() {
        let definition = |plural: &str| key(("apiextensions.k8s.io", "CustomResourceDefinition"), plural);
        let defined = |uid: &str, kind: &str| {
            let mut live = ours(uid);
            live.body["spec"] = json!({"group": "shop.dev", "scope": "Namespaced",
                "names": {"kind": kind, "plural": "any"}, "versions": [{"name": "v1", "served": true}]});
            live
        };
        let (till, namespace) = (key(("shop.dev", "Till"), "t"), key(("", "Namespace"), "x"));
        let (tills, carts) = (definition("tills.shop.dev"), definition("carts.shop.dev"));
        assert!(is_holder(&namespace) && is_holder(&tills) && !is_holder(&till));
        let unmarked = Live { body: json!({"metadata": {"uid": "x", "resourceVersion": "1"}}) };
        let mut observed = Observed::default();
        for (key, live) in
            [(&till, ours("t")), (&namespace, unmarked), (&tills, defined("d", "Till")), (&carts, defined("e", "Cart"))]
        {
            observed.looks.insert(key.clone(), Lookup::Live(live));
        }
        observed.undeletable.insert(till.clone(), Refusal::Denied("no".to_owned()));
        let decided = decided(&[till, namespace, tills, carts], &[], &observed);
        // In the order of the keys: the namespace, the CRDs of carts and of tills, the custom resource.
        let actions: Vec<Action> = decided.into_iter().map(|(action, _)| action).collect();
        assert_eq!(actions, [Action::Release, Action::Delete, Action::Keep, Action::Blocked]);
    }

    #[test]
    fn o7_each_tools_annotation_protects_by_its_own_value() {
        let config = key(("", "ConfigMap"), "c");
        let policy = Policy::new(Cleanup::On, "kubernator-system");
        for (name, value, expected) in [
            ("kubernator.io/cleanup", "keep", Action::Keep),
            ("kubernator.io/cleanup", "delete", Action::Delete),
            ("helm.sh/resource-policy", "keep", Action::Keep),
            ("helm.sh/resource-policy", "other", Action::Delete),
            ("argocd.argoproj.io/sync-options", "Prune=false", Action::Keep),
            ("argocd.argoproj.io/sync-options", "Validate=false, Delete=false", Action::Keep),
            ("argocd.argoproj.io/sync-options", "Prune=true", Action::Delete),
            ("kustomize.toolkit.fluxcd.io/prune", "disabled", Action::Keep),
            ("kustomize.toolkit.fluxcd.io/prune", "enabled", Action::Delete),
            ("kapp.k14s.io/delete-strategy", "orphan", Action::Keep),
            ("kapp.k14s.io/disable-delete", "", Action::Keep),
            ("kapp.k14s.io/disable-delete", "anything", Action::Keep),
            ("example.dev/keep", "keep", Action::Delete),
        ] {
            let mut live = ours("u");
            live.body["metadata"]["annotations"][name] = json!(value);
            let observed = Observed { looks: [(config.clone(), Lookup::Live(live))].into(), ..Observed::default() };
            let decided = decided_by(&policy, std::slice::from_ref(&config), &[], &observed);
            let [(action, reason)] = &decided[..] else { panic!("{decided:?}") };
            assert_eq!(*action, expected, "{name}: {value}");
            assert!(expected == Action::Delete || format!("{reason:?}").contains(name), "{reason:?}");
        }
    }
}

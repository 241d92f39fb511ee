//! The plan without a cluster: the difference between the base tree and the head tree.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::build::{Plan, PlanMode};
use super::change::Change;
use super::cleanup::protection;
use super::decision::{Blocked, Create, Decision, Delete, Keep, Move, Protection, Release, Unchanged, Update};
use super::details::{self, Immutability, Versions};
use super::notice::Notice;
use super::policy::Policy;
use super::{diff, digest};
use super::{enforce, generations};
use crate::object::ident::ObjectKey;
use crate::object::live::Live;
use crate::object::manifest::Manifest;
use crate::object::mark::Root;
use crate::object::redact::Redactor;
use crate::project::path::ProjectPath;
use crate::project::scope::Scope;

/// The two trees, the permissions and the redaction rules.
#[derive(Clone, Copy)]
pub(crate) struct OfflineRequest<'a> {
    /// The root.
    pub root: &'a Root,
    /// The projects that may be changed.
    pub scope: &'a Scope,
    /// The desired objects of the base tree.
    pub base: &'a BTreeMap<ObjectKey, Manifest>,
    /// The desired objects of the head tree.
    pub head: &'a BTreeMap<ObjectKey, Manifest>,
    /// The permissions of the run.
    pub policy: &'a Policy,
    /// The rules for what may be shown.
    pub redactor: &'a Redactor,
    /// The projects of the head tree with a file that cannot be rendered, each with the error.
    pub broken: &'a BTreeMap<ProjectPath, String>,
}

/// Compares the desired objects of two trees. An object counts if it is in scope in either tree.
///
/// Recorded objects that neither tree contains are not known here; a notice says so.
pub(crate) fn build(request: OfflineRequest<'_>) -> Plan {
    let OfflineRequest { root, scope, base, head, policy, redactor, broken } = request;
    let in_scope = |manifest: &Manifest| scope.contains(&manifest.project);
    let mut changes: Vec<Change> = head
        .iter()
        .filter(|(key, manifest)| in_scope(manifest) || base.get(key).is_some_and(in_scope))
        .map(|(key, manifest)| match broken.get(&manifest.project) {
            Some(why) => blank(manifest, Decision::Blocked(Blocked::Unrendered(why.clone()))),
            None => compared(base.get(key), manifest, redactor),
        })
        .collect();
    let undesired = || base.iter().filter(|(key, _)| !head.contains_key(key));
    let previous = generations::kept(policy, undesired().map(|(key, _)| (key, &Value::Null)));
    let mut cleanup: Vec<Change> = undesired()
        .filter(|(_, manifest)| in_scope(manifest))
        .map(|(key, manifest)| match key.cohabiting().filter(|cohabiting| head.contains_key(cohabiting)) {
            Some(cohabiting) => blank(manifest, Decision::Release(Release::SameObject(cohabiting))),
            None => dropped(manifest, policy, previous.contains(key)),
        })
        .collect();
    enforce::keep_guarded(&mut cleanup, |key| base.get(key).map(|manifest| &*manifest.body), policy);
    let refusals = enforce::doubts(&cleanup, head.len(), base.len(), policy);
    enforce::keep_shares(&mut changes, &mut cleanup, base.len(), policy);
    details::add(changes.iter_mut().chain(&mut cleanup), Immutability::Assumed, redactor, |change| {
        let key = &change.ident.key;
        let body =
            |tree: &'_ BTreeMap<ObjectKey, Manifest>| tree.get(key).map(|manifest| Cow::Owned(manifest.body.parse()));
        let manifest = head.get(key).or_else(|| base.get(key)).map(|manifest| &manifest.body);
        Versions { before: body(base), after: body(head), manifest, live: None }
    });
    let all: Vec<&Change> = changes.iter().chain(&cleanup).collect();
    let digest = digest::digest(&all, |key| head.get(key).map(|manifest| &manifest.body));
    let standing = all.iter().filter(|change| change.disposition().is_some());
    let own = standing.filter(|change| !change.decision.is_no_refusal());
    let own = own.map(|change| change.ident.key.clone()).collect();
    let notices = vec![Notice::Offline];
    let (root, mode, scope, broken) = (root.project(), PlanMode::Offline, scope.projects().clone(), Vec::new());
    let unready = BTreeSet::new();
    Plan {
        root,
        mode,
        scope,
        changes,
        cleanup,
        refusals,
        broken,
        own,
        unready,
        pending: BTreeSet::new(),
        notices,
        digest,
    }
}

fn compared(before: Option<&Manifest>, manifest: &Manifest, redactor: &Redactor) -> Change {
    let mut change = blank(manifest, Decision::Create(Create::New));
    if let Some(before) = before {
        if before.body != manifest.body {
            change.diff = diff::fields(&before.body, &manifest.body, &manifest.body, redactor);
        }
        change.decision = if before.project != manifest.project {
            change.from = Some(before.project.clone());
            Decision::Move(Move::Checked)
        } else if change.diff.is_empty() {
            Decision::Unchanged(Unchanged::AsDesired)
        } else {
            Decision::Update(Update::Differs)
        };
    }
    change
}

fn dropped(manifest: &Manifest, policy: &Policy, is_previous: bool) -> Change {
    // The live object has the annotations of the base's manifest.
    let as_applied = Live { body: manifest.body.parse() };
    let protection = protection(policy, &manifest.ident.key, &as_applied);
    let protection = protection.or(is_previous.then_some(Protection::PreviousGeneration)).map(Keep::Protected);
    match protection.or_else(|| policy.sources.prevents_deletion()) {
        Some(keep) => blank(manifest, Decision::Keep(keep)),
        None => blank(manifest, Decision::Delete(Delete::Undesired)),
    }
}

fn blank(manifest: &Manifest, decision: Decision) -> Change {
    Change {
        decision,
        ident: manifest.ident.clone(),
        project: manifest.project.clone(),
        from: None,
        place: Some(manifest.place.clone()),
        uid: None,
        resource_version: None,
        diff: Vec::new(),
        risks: Vec::new(),
        body: None,
        pods: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::decision::Action;
    use super::*;
    use crate::object::ident::Ident;
    use crate::plan::guard::Guard;
    use crate::plan::policy::SourceCoverage;
    use crate::project::path::Segment;
    use crate::project::scope::ScopeRequest;
    use crate::project::snapshot::SourcePlace;
    use crate::project::tree::Cleanup;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn manifest(project: &str, (kind, name): (&str, &str), value: &str) -> Manifest {
        let namespace = (kind != "Namespace").then(|| "x".to_owned());
        let key = ObjectKey { group: String::new(), kind: kind.into(), namespace, name: name.into() };
        Manifest {
            ident: Ident { key, version: "v1".into() },
            project: project.parse().unwrap(),
            place: SourcePlace::new("a.yaml", 1, 1),
            body: json!({"data": {"value": value}}).into(),
        }
    }

    /// The planned action and reason for each object, by name.
    fn planned(policy: &Policy, base: &[Manifest], head: &[Manifest]) -> BTreeMap<String, (Action, String)> {
        let tree = |manifests: &[Manifest]| -> BTreeMap<ObjectKey, Manifest> {
            manifests.iter().map(|manifest| (manifest.ident.key.clone(), manifest.clone())).collect()
        };
        let known = base.iter().chain(head).map(|manifest| manifest.project.clone()).collect();
        let scope = Scope::resolve(&ScopeRequest::default(), &known, &BTreeSet::new()).unwrap();
        let root = Root::new(Segment::new("demo").unwrap());
        let (base, head, redactor) = (&tree(base), &tree(head), &Redactor::default());
        let (root, scope, broken) = (&root, &scope, &BTreeMap::new());
        let plan = build(OfflineRequest { root, scope, base, head, policy, redactor, broken });
        let told =
            |change: &Change| (change.ident.key.name.clone(), (change.action(), format!("{:?}", change.decision)));
        plan.all().map(told).collect()
    }

    #[test]
    fn p4_without_a_cluster_the_plan_is_the_difference_between_two_trees() {
        let config = |project, name, value| manifest(project, ("ConfigMap", name), value);
        let base = [
            config("demo.a", "same", "1"),
            config("demo.a", "changed", "1"),
            config("demo.a", "moved", "1"),
            config("demo.a", "dropped", "1"),
        ];
        let head = [
            config("demo.a", "same", "1"),
            config("demo.a", "changed", "2"),
            config("demo.b", "moved", "1"),
            config("demo.a", "new", "1"),
        ];
        let on = Policy::new(Cleanup::On, "kubernator-system");
        let planned = planned(&on, &base, &head);
        let actions: Vec<(&str, Action)> = planned.iter().map(|(name, (action, _))| (name.as_str(), *action)).collect();
        let expected = [
            ("changed", Action::Update),
            ("dropped", Action::Delete),
            ("moved", Action::Move),
            ("new", Action::Create),
            ("same", Action::Unchanged),
        ];
        assert_eq!(actions, expected);
    }

    #[test]
    fn p4_what_may_not_be_deleted_is_kept_without_a_cluster_too() {
        let on = || Policy::new(Cleanup::On, "kubernator-system");
        let off = Policy::new(Cleanup::Off, "kubernator-system");
        for (policy, object, why) in [
            (off, ("ConfigMap", "c"), "CleanupOff"),
            (Policy { sources: SourceCoverage::Failed, ..on() }, ("ConfigMap", "c"), "SourceFailed"),
            (on(), ("Namespace", "kube-system"), "SystemNamespace"),
            (on(), ("Namespace", "kubernator-system"), "SystemNamespace"),
        ] {
            let planned = planned(&policy, &[manifest("demo", object, "1")], &[]);
            let (action, reason) = &planned[object.1];
            assert!(*action == Action::Keep && reason.contains(why), "{action:?} {reason}");
        }
    }

    #[test]
    fn p4_what_its_own_annotation_protects_is_kept_without_a_cluster_too() {
        let on = Policy::new(Cleanup::On, "kubernator-system");
        for (annotation, value, action) in [
            ("kubernator.io/cleanup", "keep", Action::Keep),
            ("helm.sh/resource-policy", "keep", Action::Keep),
            ("argocd.argoproj.io/sync-options", "Validate=false,Prune=false", Action::Keep),
            ("kubernator.io/cleanup", "other", Action::Delete),
        ] {
            let mut dropped = manifest("demo", ("ConfigMap", "c"), "1");
            let mut body = dropped.body.parse();
            body["metadata"]["annotations"] = json!({ annotation: value });
            dropped.body = body.into();
            assert_eq!(planned(&on, &[dropped], &[])["c"].0, action, "{annotation}: {value}");
        }
    }

    #[test]
    fn p4_a_namespace_of_the_trees_own_is_deleted_and_a_name_protects_nothing_else() {
        let on = Policy { allowed: [Guard::Namespace].into(), ..Policy::new(Cleanup::On, "kubernator-system") };
        for object in [("Namespace", "shop"), ("ConfigMap", "kube-system"), ("ConfigMap", "kubernator-system")] {
            let planned = planned(&on, &[manifest("demo", object, "1")], &[]);
            assert_eq!(planned[object.1].0, Action::Delete, "{object:?}");
        }
    }
}

//! The rules for blocked and kept objects: an object that stays as it is stops the changes that depend on it, and the
//! deletions of its project.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::cleanup::keep_holders;
use super::decision::{Action, Blocked, Decision, Disposition, Keep, Withheld};
use super::observed::Observed;
use crate::object::ident::{GroupKind, ObjectKey};
use crate::object::kinds::{Kinds, defined_kind};
use crate::object::manifest::Manifest;
use crate::object::order::Wave;
use crate::object::references::{Reference, references};
use crate::project::path::ProjectPath;

/// The kinds that run something. Such an object may serve custom resources or webhooks.
const WORKLOADS: [&str; 8] =
    ["CronJob", "DaemonSet", "Deployment", "Job", "Pod", "ReplicaSet", "ReplicationController", "StatefulSet"];
const ADMISSION: [&str; 2] = ["admissionregistration.k8s.io", "apiregistration.k8s.io"];

/// Blocks the changes that depend on a blocked object, directly or indirectly. Also blocks the changes in later waves
/// of a project in which a replacement is kept.
pub(crate) fn block_dependents(changes: &mut [Change], desired: &BTreeMap<ObjectKey, Manifest>) {
    let kept = changes.iter().filter(|change| change.disposition() == Some(Disposition::Kept));
    let mut first: BTreeMap<ProjectPath, ObjectKey> = BTreeMap::new();
    for change in kept {
        let key = &change.ident.key;
        let earliest = first.entry(change.project.clone()).or_insert_with(|| key.clone());
        if Wave::of(key) < Wave::of(earliest) {
            earliest.clone_from(key);
        }
    }
    for change in changes.iter_mut().filter(|change| writes(change)) {
        let kept = first.get(&change.project).filter(|kept| Wave::of(kept) < Wave::of(&change.ident.key));
        if let Some(kept) = kept {
            change.decision = Decision::Blocked(Blocked::Needs(kept.clone()));
        }
    }
    let is_blocked = |change: &&Change| change.disposition() == Some(Disposition::Blocked);
    let mut blocking: Vec<ObjectKey> =
        changes.iter().filter(is_blocked).map(|change| change.ident.key.clone()).collect();
    let mut read: BTreeMap<ObjectKey, Vec<Reference>> = BTreeMap::new();
    while !blocking.is_empty() {
        let blockers: Vec<Blocker> = blocking.into_iter().map(|key| Blocker::of(key, desired)).collect();
        blocking = Vec::new();
        for change in changes.iter_mut().filter(|change| writes(change)) {
            let key = &change.ident.key;
            let Some(manifest) = desired.get(key) else { continue };
            let names = read.entry(key.clone()).or_insert_with(|| references(&manifest.body));
            if let Some(blocker) = blockers.iter().find(|blocker| blocker.is_needed_by(key, names)) {
                blocking.push(key.clone());
                change.decision = Decision::Blocked(Blocked::Needs(blocker.key.clone()));
            }
        }
    }
}

/// Keeps every deletion of a project in which a desired object stays as it is. Also keeps every object that a staying
/// object needs.
pub(crate) fn keep_needed(
    changes: &[Change],
    cleanup: &mut [Change],
    desired: &BTreeSet<&ObjectKey>,
    observed: &Observed,
) {
    let standing = changes.iter().filter(|change| change.disposition().is_some());
    keep_beside(&standing.collect::<Vec<_>>(), Keep::OpenProject, cleanup, desired, observed);
}

/// Keeps every deletion of a project that contains one of these desired objects, for the given reason. Also keeps every
/// object that these desired objects, or other staying objects, need.
pub(super) fn keep_beside(
    standing: &[&Change],
    reason: fn(ObjectKey) -> Keep,
    cleanup: &mut [Change],
    desired: &BTreeSet<&ObjectKey>,
    observed: &Observed,
) {
    let mut stopped: BTreeMap<&ProjectPath, &ObjectKey> = BTreeMap::new();
    for change in standing {
        stopped.entry(&change.project).or_insert(&change.ident.key);
    }
    for change in cleanup.iter_mut().filter(|change| change.action() == Action::Delete) {
        if let Some(key) = stopped.get(&change.project) {
            change.decision = Decision::Keep(reason((*key).clone()));
        }
    }
    let builtin = Kinds::builtin();
    let mut staying: Vec<(ObjectKey, ProjectPath)> = Vec::new();
    staying.extend(standing.iter().map(|change| (change.ident.key.clone(), change.project.clone())));
    staying.extend(
        cleanup.iter().filter(|change| stays(change)).map(|change| (change.ident.key.clone(), change.project.clone())),
    );
    while !staying.is_empty() {
        let needs: Vec<Need> =
            staying.drain(..).map(|(key, project)| Need::of(key, project, observed, builtin)).collect();
        keep_holders(cleanup, desired, observed);
        for change in cleanup.iter_mut().filter(|change| change.action() == Action::Delete) {
            let lifted = observed.lifted.get(&change.ident.key);
            let reason = match needs.iter().find(|need| need.covers(change, observed) || Some(&need.key) == lifted) {
                Some(need) if Some(&need.key) == lifted => Keep::Withheld(Withheld::RefusedBy(need.key.clone())),
                Some(need) => Keep::NeededBy(need.key.clone()),
                None => continue,
            };
            change.decision = Decision::Keep(reason);
            staying.push((change.ident.key.clone(), change.project.clone()));
        }
    }
}

/// The projects in which an object is blocked, kept or failed.
pub(crate) fn open_projects<'a>(changes: impl Iterator<Item = &'a Change>) -> BTreeSet<ProjectPath> {
    changes.filter(|change| change.disposition().is_some()).map(|change| change.project.clone()).collect()
}

fn writes(change: &Change) -> bool {
    !matches!(change.action(), Action::Unchanged | Action::Blocked | Action::Keep)
}

fn stays(change: &Change) -> bool {
    matches!(change.action(), Action::Keep | Action::Blocked)
}

/// A blocked object, with the data to find the objects that depend on it.
struct Blocker {
    key: ObjectKey,
    /// The kind that the object defines, if it is a CRD.
    defines: Option<GroupKind>,
}

impl Blocker {
    fn of(key: ObjectKey, desired: &BTreeMap<ObjectKey, Manifest>) -> Self {
        let manifest = desired.get(&key).filter(|_| key.is_crd());
        let defines = manifest.and_then(|manifest| defined_kind(&manifest.body)).map(|kind| kind.group_kind);
        Self { key, defines }
    }

    fn is_needed_by(&self, key: &ObjectKey, names: &[Reference]) -> bool {
        let lies_in = self.key.is_namespace() && key.namespace.as_ref() == Some(&self.key.name);
        lies_in
            || self.defines.as_ref() == Some(&key.group_kind())
            || names.iter().any(|reference| reference.means(&self.key))
    }
}

/// An object that stays, and the objects that it needs.
struct Need {
    key: ObjectKey,
    project: ProjectPath,
    names: Vec<Reference>,
    /// If set, a workload in the same project may have to finalize this custom resource, or answer requests for this
    /// webhook or API service.
    is_served: bool,
}

impl Need {
    fn of(key: ObjectKey, project: ProjectPath, observed: &Observed, builtin: &Kinds) -> Self {
        let names = observed.references(&key).into_owned();
        let is_custom = builtin.get(&key.group_kind()).is_none();
        let is_served = is_custom || ADMISSION.contains(&key.group.as_str());
        Self { key, project, names, is_served }
    }

    fn covers(&self, change: &Change, observed: &Observed) -> bool {
        let key = &change.ident.key;
        let serves = self.is_served && change.project == self.project && WORKLOADS.contains(&key.kind.as_str());
        // The roles and bindings that name a kept service account are kept with it.
        let binds = self.key.kind == "ServiceAccount"
            && key.group == "rbac.authorization.k8s.io"
            && observed.references(key).iter().any(|name| name.means(&self.key));
        serves || binds || self.names.iter().any(|reference| reference.means(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ident::Ident;
    use crate::object::live::Live;
    use crate::object::refusal::Refusal;
    use crate::plan::decision::{Create, Delete, Finding};
    use crate::plan::guard::Guard;
    use crate::plan::observed::Lookup;
    use crate::plan::review::NotReviewed;
    use crate::project::snapshot::SourcePlace;
    use serde_json::{Value, json};

    fn key(kind: &str, name: &str) -> ObjectKey {
        let (group, namespace) = match kind {
            "Namespace" => ("", None),
            "CustomResourceDefinition" => ("apiextensions.k8s.io", None),
            "ValidatingWebhookConfiguration" => ("admissionregistration.k8s.io", None),
            "Deployment" => ("apps", Some("x")),
            "RoleBinding" => ("rbac.authorization.k8s.io", Some("x")),
            "Till" => ("shop.dev", Some("x")),
            _ => ("", Some("x")),
        };
        let (group, namespace) = (group.to_owned(), namespace.map(str::to_owned));
        ObjectKey { group, kind: kind.to_owned(), namespace, name: name.to_owned() }
    }

    /// An object for a test: its project, its key, and its other fields.
    type Object = (&'static str, ObjectKey, Value);

    fn body((_, key, rest): &Object) -> Value {
        let mut body = rest.clone();
        body["metadata"]["namespace"] = json!(key.namespace);
        body
    }

    fn change((project, key, _): &Object, decision: Decision) -> Change {
        let project = project.parse().unwrap();
        Change { decision, project, ..Change::deletion(key.clone(), "u") }
    }

    fn desired(objects: &[Object]) -> BTreeMap<ObjectKey, Manifest> {
        let manifest = |object: &Object| Manifest {
            ident: Ident { key: object.1.clone(), version: "v1".into() },
            project: object.0.parse().unwrap(),
            place: SourcePlace::new("a.yaml", 1, 1),
            body: body(object).into(),
        };
        objects.iter().map(|object| (object.1.clone(), manifest(object))).collect()
    }

    fn foreign() -> Decision {
        Decision::Blocked(Blocked::Foreign("other".to_owned()))
    }

    fn guarded() -> Decision {
        Decision::Keep(Keep::Guarded(Guard::Volume, Finding::Object))
    }

    /// The resulting actions for the desired objects after the first. The first is blocked or kept, the rest are new.
    fn applied(first: Decision, objects: &[Object]) -> Vec<Action> {
        let mut changes: Vec<Change> =
            objects.iter().map(|object| change(object, Decision::Create(Create::New))).collect();
        changes[0].decision = first;
        block_dependents(&mut changes, &desired(objects));
        changes.into_iter().skip(1).map(|change| change.action()).collect()
    }

    #[test]
    fn x16_what_depends_on_a_blocked_object_is_blocked_with_it() {
        let config = ("demo.a", key("ConfigMap", "c"), json!({}));
        let env = json!({"spec": {"containers": [{"envFrom": [{"configMapRef": {"name": "c"}}]}]}});
        let user = ("demo.b", key("Deployment", "web"), env);
        let scaler = json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}});
        let scaler = ("demo.c", key("HorizontalPodAutoscaler", "h"), scaler);
        let other = ("demo.a", key("Service", "s"), json!({}));
        let (blocked, new) = (Action::Blocked, Action::Create);
        let objects = [config.clone(), user, scaler, other];
        assert_eq!(applied(foreign(), &objects), [blocked, blocked, new], "however indirectly, in any project");
        let failed = Refusal::Invalid("no".to_owned()).into();
        assert_eq!(applied(failed, &objects), [new, new, new], "a failed one fails the run, which stops by itself");

        let namespace = ("demo.a", key("Namespace", "x"), json!({}));
        let elsewhere = ObjectKey { namespace: Some("y".to_owned()), ..key("ConfigMap", "c") };
        assert_eq!(applied(foreign(), &[namespace, config, ("demo.a", elsewhere, json!({}))]), [blocked, new]);
        let definition = json!({"spec": {"group": "shop.dev", "scope": "Namespaced",
            "names": {"kind": "Till", "plural": "tills"}, "versions": [{"name": "v1", "served": true}]}});
        let definition = ("demo.a", key("CustomResourceDefinition", "tills.shop.dev"), definition);
        assert_eq!(applied(foreign(), &[definition, ("demo.b", key("Till", "t"), json!({}))]), [blocked]);
        let declared =
            json!({"metadata": {"annotations": {"config.kubernetes.io/depends-on": "namespaces/x/ConfigMap/c"}}});
        let objects = [("demo.a", key("ConfigMap", "c"), json!({})), ("demo.b", key("Service", "s"), declared)];
        assert_eq!(applied(foreign(), &objects), [blocked]);
    }

    #[test]
    fn a5_what_follows_a_kept_replacement_in_its_project_waits_for_it() {
        let objects = [
            ("demo.a", key("ConfigMap", "c"), json!({})),
            ("demo.a", key("Secret", "s"), json!({})),
            ("demo.a", key("Deployment", "web"), json!({})),
            ("demo.b", key("Deployment", "web"), json!({})),
        ];
        let (blocked, new) = (Action::Blocked, Action::Create);
        assert_eq!(applied(guarded(), &objects), [new, blocked, new], "a later wave of the same project alone");
    }

    /// The actions for undesired objects. `stays` are desired objects that stay. If `first` is given, it is the decision
    /// about the first undesired object, and the result leaves that object out.
    fn cleaned(stays: &[Object], first: Option<Decision>, objects: &[Object]) -> Vec<Action> {
        let mut observed = Observed { kinds: Kinds::builtin().clone(), ..Observed::default() };
        for object in stays.iter().chain(objects) {
            observed.looks.insert(object.1.clone(), Lookup::Live(Live { body: body(object) }));
        }
        let changes: Vec<Change> = stays.iter().map(|object| change(object, foreign())).collect();
        let mut cleanup: Vec<Change> =
            objects.iter().map(|object| change(object, Decision::Delete(Delete::Undesired))).collect();
        let skipped = usize::from(first.is_some());
        if let Some(first) = first {
            cleanup[0].decision = first;
        }
        keep_needed(&changes, &mut cleanup, &BTreeSet::new(), &observed);
        cleanup.into_iter().skip(skipped).map(|change| change.action()).collect()
    }

    #[test]
    fn x16_nothing_is_deleted_where_something_desired_stays() {
        let (keep, delete) = (Action::Keep, Action::Delete);
        let old = [("demo.a", key("Deployment", "old"), json!({})), ("demo.b", key("Deployment", "old2"), json!({}))];
        let renamed = ("demo.a", key("Deployment", "new"), json!({}));
        assert_eq!(cleaned(&[renamed], None, &old), [keep, delete]);
        assert_eq!(cleaned(&[], None, &old), [delete, delete]);
        let open = open_projects([change(&old[0], guarded())].iter());
        assert_eq!(open, ["demo.a".parse().unwrap()].into());
        assert_eq!(open_projects([change(&old[0], Decision::Delete(Delete::Undesired))].iter()), BTreeSet::new());
    }

    #[test]
    fn x16_what_a_kept_object_needs_is_kept_with_it() {
        let (keep, delete) = (Action::Keep, Action::Delete);
        let env =
            json!({"spec": {"serviceAccountName": "s", "containers": [{"envFrom": [{"secretRef": {"name": "k"}}]}]}});
        let subjects = json!({"subjects": [{"kind": "ServiceAccount", "name": "s", "namespace": "x"}],
            "roleRef": {"kind": "ClusterRole", "name": "r"}});
        let objects = [
            ("demo.a", key("Deployment", "web"), env),
            ("demo.b", key("Secret", "k"), json!({})),
            ("demo.b", key("ServiceAccount", "s"), json!({})),
            ("demo.b", key("RoleBinding", "b"), subjects),
            ("demo.b", key("Namespace", "x"), json!({})),
            ("demo.a", key("Secret", "other"), json!({})),
        ];
        assert_eq!(cleaned(&[], Some(guarded()), &objects), [keep, keep, keep, keep, delete]);

        let hook = json!({"webhooks": [{"clientConfig": {"service": {"name": "s", "namespace": "x"}}}]});
        let objects = [
            ("demo.a", key("ValidatingWebhookConfiguration", "w"), hook),
            ("demo.b", key("Service", "s"), json!({})),
            ("demo.a", key("Deployment", "web"), json!({})),
            ("demo.b", key("Deployment", "web2"), json!({})),
            ("demo.a", key("ConfigMap", "c"), json!({})),
        ];
        let unreviewed = || Some(Decision::Keep(Keep::Unreviewed(NotReviewed::LeftOver)));
        assert_eq!(cleaned(&[], unreviewed(), &objects), [keep, keep, delete, delete]);
        let till = [("demo.a", key("Till", "t"), json!({})), ("demo.a", key("Deployment", "web"), json!({}))];
        assert_eq!(cleaned(&[], unreviewed(), &till), [keep], "its operator may have to finish it");
    }
}

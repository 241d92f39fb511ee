//! The cleanup set: what is recorded, ours by its live mark, and wanted by no manifest.

use std::collections::BTreeSet;

use super::change::{Action, Change, Reason};
use super::observed::{Look, Observed};
use super::policy::{Policy, Reviewed, Sources};
use crate::object::ident::{Ident, ObjectKey};
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
    let desired_uids: BTreeSet<&str> =
        request.desired.iter().filter_map(|key| Some(observed.live(key)?.uid())).collect();
    let mut seen = BTreeSet::new();
    candidates(request)
        .filter(|(_, ident)| seen.insert(ident.key.clone()))
        .filter_map(|(project, ident)| one(request, observed, &desired_uids, project, ident))
        .collect()
}

/// The recorded, undesired objects of projects in scope: what has to be looked at.
pub fn candidates(request: CleanupRequest<'_>) -> impl Iterator<Item = (&ProjectPath, Ident)> {
    request
        .entries
        .iter()
        .filter(move |(project, ident)| request.scope.contains(project) && !request.desired.contains(&ident.key))
}

fn one(
    request: CleanupRequest<'_>,
    observed: &Observed,
    desired_uids: &BTreeSet<&str>,
    recorded: &ProjectPath,
    ident: Ident,
) -> Option<Change> {
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
    if let Some(why) = protection(request.policy, &ident.key, live, desired_uids) {
        return keep(why);
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

/// Why an object that is ours and undesired stays all the same.
fn protection(policy: &Policy, key: &ObjectKey, live: &Live, desired_uids: &BTreeSet<&str>) -> Option<String> {
    if policy.cleanup == Cleanup::Off {
        return Some("cleanup is off for this root".to_owned());
    }
    if policy.sources == Sources::Failed {
        return Some("a source of the tree cannot be rendered".to_owned());
    }
    if desired_uids.contains(live.uid()) {
        return Some("it is a desired object under another kind".to_owned());
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::mark::{KUBERNATOR, PROJECT, ROOT};
    use crate::object::refusal::Refusal;
    use crate::project::path::Segment;
    use crate::project::scope::ScopeRequest;

    fn root() -> Root {
        Root::new(Segment::new("demo").unwrap())
    }

    fn key(word: &str) -> ObjectKey {
        word.parse().unwrap()
    }

    /// A live object whose mark names the project, written by the manager.
    fn live(project: &str, manager: &str) -> Live {
        let mut body = json!({"metadata": {"uid": "u", "resourceVersion": "7",
            "annotations": {PROJECT: project}, "labels": {ROOT: root().hash()},
            "managedFields": [{"manager": manager, "fieldsV1": {"f:metadata": {"f:annotations": {}}}}]}});
        body["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:annotations"][format!("f:{PROJECT}")] =
            json!({});
        Live { body }
    }

    /// A root with everything in order: one object of `demo.a`, recorded, ours and wanted by nobody.
    struct Case {
        word: &'static str,
        look: Option<Look>,
        desired: BTreeSet<ObjectKey>,
        policy: Policy,
        observed: Observed,
    }

    impl Case {
        fn new(word: &'static str) -> Self {
            let policy = Policy::new(Cleanup::On, "kube-state");
            let look = Some(Look::Live(live("demo.a", "ktor-demo")));
            Self { word, look, desired: BTreeSet::new(), policy, observed: Observed::default() }
        }

        /// What is decided where `demo.a` is in scope and `demo.b` is known and is not.
        fn decided(mut self) -> Vec<(Action, Reason)> {
            let mut entries = Entries::default();
            let ident = Ident { key: key(self.word), version: "v1".to_owned() };
            entries.insert(&"demo.a".parse().unwrap(), &ident);
            self.observed.looks.extend(self.look.map(|look| (key(self.word), look)));
            let include = vec!["demo.a".parse().unwrap()];
            let known = ["demo.a".parse().unwrap(), "demo.b".parse().unwrap()].into();
            let request = ScopeRequest { include, ..ScopeRequest::default() };
            let scope = &Scope::resolve(&request, &known, &BTreeSet::new()).unwrap();
            let (root, desired, policy) = (&root(), &self.desired.iter().collect(), &self.policy);
            let changes = decide(CleanupRequest { root, scope, entries: &entries, desired, policy }, &self.observed);
            for change in changes.iter().filter(|change| change.action == Action::Delete) {
                assert_eq!((change.uid.as_deref(), change.resource_version.as_deref()), (Some("u"), Some("7")));
            }
            changes.into_iter().map(|change| (change.action, change.reason)).collect()
        }
    }

    const WORD: &str = "ConfigMap/shop/x";

    #[test]
    fn o3_c2_only_what_is_ours_by_its_live_mark_is_deleted() {
        let check = |live: Live, expected: Action| {
            let decided = Case { look: Some(Look::Live(live.clone())), ..Case::new(WORD) }.decided();
            assert!(matches!(decided.as_slice(), [(action, _)] if *action == expected), "{live:?}: {decided:?}");
        };
        check(live("demo.a", "ktor-demo"), Action::Delete);
        check(live("demo.a", KUBERNATOR), Action::Delete);
        check(live("demo.a", "endpointslice-mirroring-controller"), Action::Release);
        check(live("other.a", "ktor-other"), Action::Release);
        check(Live { body: json!({"metadata": {"uid": "u", "resourceVersion": "7"}}) }, Action::Release);
        assert_eq!(Case { look: Some(Look::Absent), ..Case::new(WORD) }.decided(), []);
        assert_eq!(Case { desired: [key(WORD)].into(), ..Case::new(WORD) }.decided(), []);
    }

    #[test]
    fn o7_whatever_holds_a_deletion_back_keeps_it_listed() {
        let check = |name: &str, word: &'static str, expected: Action, change: fn(&mut Case)| {
            let mut case = Case::new(word);
            change(&mut case);
            let decided = case.decided();
            assert!(matches!(decided.as_slice(), [(action, _)] if *action == expected), "{name}: {decided:?}");
        };
        let keep = |name: &str, change: fn(&mut Case)| check(name, WORD, Action::Keep, change);
        keep("not looked at", |case| case.look = None);
        keep("not readable", |case| case.look = Some(Look::Unknown("no".to_owned())));
        keep("marked for a project out of scope", |case| case.look = Some(Look::Live(live("demo.b", "ktor-demo"))));
        keep("cleanup is off", |case| case.policy.cleanup = Cleanup::Off);
        keep("a source failed", |case| case.policy.sources = Sources::Failed);
        keep("not reviewed", |case| case.policy.reviewed = Reviewed::Only([key("ConfigMap/shop/y")].into()));
        check("reviewed", WORD, Action::Delete, |case| case.policy.reviewed = Reviewed::Only([key(WORD)].into()));
        keep("desired under another kind", |case| {
            let other = key("Ingress.extensions/shop/x");
            case.observed.looks.insert(other.clone(), Look::Live(live("demo.a", "ktor-demo")));
            case.desired.insert(other);
        });
        check("refused by admission", WORD, Action::Blocked, |case| {
            case.observed.undeletable.insert(key(WORD), Refusal::Denied("no".to_owned()));
        });
        check("a namespace of the system", "Namespace/kube-public", Action::Keep, |_| {});
        check("the namespace of the state", "Namespace/kube-state", Action::Keep, |_| {});
        check("any other namespace", "Namespace/shop", Action::Delete, |_| {});
    }

    #[test]
    fn c6_annotations_of_every_tool_protect_by_their_own_values() {
        let check = |name: &str, value: &str, expected: Action| {
            let mut live = live("demo.a", "ktor-demo");
            live.body["metadata"]["annotations"][name] = json!(value);
            let decided = Case { look: Some(Look::Live(live)), ..Case::new(WORD) }.decided();
            assert!(matches!(decided.as_slice(), [(action, _)] if *action == expected), "{name}={value}: {decided:?}");
        };
        check(CLEANUP, "keep", Action::Keep);
        check(CLEANUP, "later", Action::Delete);
        check("helm.sh/resource-policy", "keep", Action::Keep);
        check("argocd.argoproj.io/sync-options", "Validate=false, Prune=false", Action::Keep);
        check("argocd.argoproj.io/sync-options", "Delete=false", Action::Keep);
        check("argocd.argoproj.io/sync-options", "Prune=true", Action::Delete);
        check("kustomize.toolkit.fluxcd.io/prune", "disabled", Action::Keep);
        check("kapp.k14s.io/delete-strategy", "orphan", Action::Keep);
        check("kapp.k14s.io/disable-delete", "anything", Action::Keep);
    }
}

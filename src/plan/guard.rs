//! Guards: what makes a whole run stop before it writes anything, and the flag that opens each.

use serde::Serialize;

use super::change::{Action, Change};
use super::cleanup::is_holder;
use super::observed::Observed;
use super::policy::{Gate, Policy};
use crate::object::ident::ObjectKey;
use crate::object::live::Live;

/// A refusal of the run as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Refusal {
    /// The guard's name.
    pub guard: Guard,
    /// What it met, one sentence.
    pub message: String,
    /// The flag that opens it; absent where nothing does.
    pub flag: Option<&'static str>,
}

/// The guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// An object belongs to another root.
    Ownership,
    /// Nothing is desired at all, yet something is recorded.
    EmptyDesired,
    /// More than max(10, 10 %) of the root would be deleted.
    MassDeletion,
    /// An object would be deleted and created anew.
    Replacement,
    /// A namespace would be deleted.
    Namespace,
    /// A CRD would be deleted.
    Definition,
    /// A persistent volume or a claim would be deleted.
    Volume,
    /// The state would be looked for in another namespace than where it is.
    StateNamespace,
    /// A namespace or a CRD would take with it what others have there, or what could not be looked at.
    Foreign,
}

/// Checks the guards that count and name deletions.
///
/// `desired` and `recorded` are how many objects the whole root wants and records.
pub fn check(changes: &[Change], desired: usize, recorded: usize, policy: &Policy) -> Vec<Refusal> {
    let keys_of = |actions: &[Action]| -> Vec<&ObjectKey> {
        changes.iter().filter(|change| actions.contains(&change.action)).map(|change| &change.ident.key).collect()
    };
    // What is created anew is deleted all the same.
    let (deleted, replaced) = (keys_of(&[Action::Delete, Action::Replace]), keys_of(&[Action::Replace]));
    let mut refusals = Vec::new();
    if desired == 0 && !deleted.is_empty() && policy.allow_empty == Gate::Closed {
        refusals.push(Refusal {
            guard: Guard::EmptyDesired,
            message: format!("the tree wants no object at all, and {} would be deleted", deleted.len()),
            flag: Some("--allow-empty"),
        });
    }
    let most = (recorded / 10).max(10);
    if deleted.len() > most && policy.allow_mass_deletion == Gate::Closed {
        refusals.push(Refusal {
            guard: Guard::MassDeletion,
            message: format!("{} of {recorded} recorded objects would be deleted, more than {most}", deleted.len()),
            flag: Some("--allow-mass-deletion"),
        });
    }
    if !replaced.is_empty() && policy.allow_replacement == Gate::Closed {
        refusals.push(Refusal {
            guard: Guard::Replacement,
            message: format!(
                "what cannot be changed in place would be deleted and created anew: {}",
                listed(&replaced)
            ),
            flag: Some("--allow-replacement"),
        });
    }
    type Rule = (Guard, Gate, &'static str, &'static str, fn(&ObjectKey) -> bool);
    let rules: [Rule; 3] = [
        (
            Guard::Namespace,
            policy.allow_namespace_deletion,
            "--allow-namespace-deletion",
            "namespaces and all they hold",
            ObjectKey::is_namespace,
        ),
        (
            Guard::Definition,
            policy.allow_crd_deletion,
            "--allow-crd-deletion",
            "CRDs and all their custom resources",
            ObjectKey::is_crd,
        ),
        (
            Guard::Volume,
            policy.allow_volume_deletion,
            "--allow-volume-deletion",
            "volumes or claims, and maybe their data",
            is_volume,
        ),
    ];
    for (guard, gate, flag, what, applies) in rules {
        let named: Vec<&ObjectKey> = deleted.iter().copied().filter(|key| applies(key)).collect();
        if !named.is_empty() && gate == Gate::Closed {
            let message = format!("{what} would be deleted: {}", listed(&named));
            refusals.push(Refusal { guard, message, flag: Some(flag) });
        }
    }
    refusals
}

/// Checks that nothing but what is deleted goes with a namespace or a CRD, and says what would where that is allowed.
pub fn check_contents(changes: &[Change], observed: &Observed, policy: &Policy) -> (Option<Refusal>, Vec<String>) {
    let deleted: Vec<&Change> = changes.iter().filter(|change| change.action == Action::Delete).collect();
    let holders = deleted.iter().map(|change| &change.ident.key).filter(|key| is_holder(key));
    // What is being deleted already takes its content with it whatever this run does.
    let standing = holders.filter(|key| !observed.live(key).is_some_and(Live::is_terminating));
    let told = standing.filter_map(|key| match observed.contents.get(key) {
        Some(content) => content.told(key, &deleted),
        None => Some(format!("what {key} holds was not looked at")),
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() {
        (None, Vec::new())
    } else if policy.allow_foreign_deletion == Gate::Open {
        (None, told.into_iter().map(|told| format!("What goes unplanned: {told}.")).collect())
    } else {
        let message = format!("a namespace or a CRD would take more with it than is planned: {}", told.join("; "));
        (Some(Refusal { guard: Guard::Foreign, message, flag: Some("--allow-foreign-deletion") }), Vec::new())
    }
}

fn listed(keys: &[&ObjectKey]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn is_volume(key: &ObjectKey) -> bool {
    key.group.is_empty() && matches!(key.kind.as_str(), "PersistentVolume" | "PersistentVolumeClaim")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::content::Content;
    use crate::plan::observed::Look;
    use crate::project::tree::Cleanup;
    use serde_json::json;

    fn deletion(group: &str, kind: &str, name: usize) -> Change {
        let key = ObjectKey { group: group.into(), kind: kind.into(), namespace: None, name: name.to_string() };
        Change::deletion(key, "u")
    }

    #[test]
    fn each_guard_fires_by_default_and_only_its_own_flag_opens_it() {
        let few = |group: &str, kind: &str| vec![deletion(group, kind, 1)];
        let many: Vec<Change> = (0..11).map(|n| deletion("", "ConfigMap", n)).collect();
        type Open = fn(&mut Policy);
        let anew = vec![Change { action: Action::Replace, ..deletion("", "ConfigMap", 1) }];
        let cases: [(Guard, Vec<Change>, usize, Open); 6] = [
            (Guard::EmptyDesired, few("", "ConfigMap"), 0, |p| p.allow_empty = Gate::Open),
            (Guard::MassDeletion, many, 9, |p| p.allow_mass_deletion = Gate::Open),
            (Guard::Replacement, anew, 9, |p| p.allow_replacement = Gate::Open),
            (Guard::Namespace, few("", "Namespace"), 9, |p| p.allow_namespace_deletion = Gate::Open),
            (Guard::Definition, few("apiextensions.k8s.io", "CustomResourceDefinition"), 9, |p| {
                p.allow_crd_deletion = Gate::Open;
            }),
            (Guard::Volume, few("", "PersistentVolumeClaim"), 9, |p| p.allow_volume_deletion = Gate::Open),
        ];
        for (index, (guard, changes, desired, _)) in cases.iter().enumerate() {
            for (other, (_, _, _, open)) in cases.iter().enumerate() {
                let mut policy = Policy::new(Cleanup::On, "kubernator-system");
                open(&mut policy);
                let fired: Vec<Guard> =
                    check(changes, *desired, 20, &policy).iter().map(|refusal| refusal.guard).collect();
                assert_eq!(fired, if index == other { vec![] } else { vec![*guard] });
            }
        }
    }

    #[test]
    fn c5_what_others_have_in_a_namespace_or_of_a_definition_refuses_its_deletion() {
        let changes = [deletion("", "Namespace", 1), deletion("apiextensions.k8s.io", "CustomResourceDefinition", 2)];
        let [namespace, definition] = [0, 1].map(|index: usize| changes[index].ident.key.clone());
        let theirs = ObjectKey { kind: "ConfigMap".into(), namespace: Some("1".into()), ..namespace.clone() };
        let live = Live { body: json!({"metadata": {"uid": "t"}}) };
        let full = Content { found: [(theirs, live)].into(), ..Content::default() };
        let hidden = Content { unseen: vec!["no right".into()], ..Content::default() };
        let leaving = Live { body: json!({"metadata": {"deletionTimestamp": "2031-05-06T07:08:09Z"}}) };
        let mut observed = Observed::default();
        let refused = |observed: &Observed, open: Option<fn(&mut Policy)>| {
            let mut policy = Policy::new(Cleanup::On, "kubernator-system");
            if let Some(open) = open {
                open(&mut policy);
            }
            let (refusal, notices) = check_contents(&changes, observed, &policy);
            (refusal.map(|refusal| (refusal.message, refusal.flag)), notices)
        };
        let message = |observed: &Observed| {
            let (Some((message, Some("--allow-foreign-deletion"))), notices) = refused(observed, None) else {
                panic!()
            };
            assert!(notices.is_empty());
            message
        };
        let unseen = message(&observed);
        assert!(unseen.ends_with(
            ": what Namespace 1 holds was not looked at; what CustomResourceDefinition.apiextensions.k8s.io 2 holds was \
             not looked at"
        ), "{unseen}");
        observed.contents.insert(namespace.clone(), Content::default());
        observed.contents.insert(definition.clone(), Content::default());
        assert_eq!(refused(&observed, None), (None, vec![]));
        observed.contents.insert(definition.clone(), hidden);
        assert!(
            message(&observed)
                .ends_with("what CustomResourceDefinition.apiextensions.k8s.io 2 holds is not known: no right")
        );
        observed.contents.insert(definition.clone(), Content::default());
        observed.contents.insert(namespace.clone(), full);
        assert!(message(&observed).ends_with(": Namespace 1 holds ConfigMap 1/1"));
        let (None, notices) = refused(&observed, Some(|policy| policy.allow_foreign_deletion = Gate::Open)) else {
            panic!()
        };
        assert_eq!(notices, ["What goes unplanned: Namespace 1 holds ConfigMap 1/1."]);
        assert!(refused(&observed, Some(|policy| policy.allow_namespace_deletion = Gate::Open)).0.is_some());
        observed.looks.insert(namespace, Look::Live(leaving));
        assert_eq!(refused(&observed, None), (None, vec![]), "it goes whatever this run does");
    }

    #[test]
    fn what_is_created_anew_is_deleted_all_the_same() {
        let replaced = |kind: &str, names: usize| -> Vec<Change> {
            (0..names).map(|name| Change { action: Action::Replace, ..deletion("", kind, name) }).collect()
        };
        let mut policy = Policy::new(Cleanup::On, "kubernator-system");
        policy.allow_replacement = Gate::Open;
        let fired = |changes: &[Change]| -> Vec<Guard> {
            check(changes, 9, 20, &policy).iter().map(|refusal| refusal.guard).collect()
        };
        assert_eq!(fired(&replaced("PersistentVolumeClaim", 1)), [Guard::Volume]);
        assert_eq!(fired(&replaced("ConfigMap", 11)), [Guard::MassDeletion]);
        assert_eq!(fired(&replaced("ConfigMap", 10)), []);
        let [refusal] = &check(&replaced("PersistentVolumeClaim", 2), 9, 20, &policy)[..] else { panic!() };
        assert!(refusal.message.ends_with(": PersistentVolumeClaim 0, PersistentVolumeClaim 1"), "{}", refusal.message);
    }

    #[test]
    fn a_tenth_of_a_large_root_may_be_deleted() {
        let changes: Vec<Change> = (0..30).map(|n| deletion("", "ConfigMap", n)).collect();
        let policy = Policy::new(Cleanup::On, "kubernator-system");
        assert_eq!(check(&changes, 270, 300, &policy), []);
        assert_eq!(check(&changes, 269, 299, &policy).len(), 1);
    }
}

//! Enforces the guards: keeps objects from deletion, and refuses trees that are in doubt.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::change::Change;
use super::cleanup::is_holder;
use super::decision::{Action, Contents, Decision, Finding, Keep};
use super::guard::{Guard, TreeDoubt};
use super::notice::Notice;
use super::observed::Observed;
use super::policy::{Policy, Share};
use crate::object::generated::{any_generation, stem};
use crate::object::ident::ObjectKey;
use crate::object::live::Live;

/// Keeps each object whose deletion or replacement meets a closed guard. These guards judge each object by itself.
pub(crate) fn keep_guarded<'a>(
    changes: &mut [Change],
    body: impl Fn(&ObjectKey) -> Option<&'a Value>,
    policy: &Policy,
) {
    for change in changes {
        let key = &change.ident.key;
        let met = guards(change, body(key)).find(|guard| !policy.opens_for(*guard, key));
        if let Some(guard) = met {
            keep(change, guard, Finding::Object);
        }
    }
}

/// Lists the guards that a deletion or a replacement meets.
fn guards(change: &Change, body: Option<&Value>) -> impl Iterator<Item = Guard> {
    let key = &change.ident.key;
    let replaced = change.action() == Action::Replace;
    let deleted = change.action() == Action::Delete || replaced;
    // A finished Job has done its work. Its replacement loses only the record of that work.
    let anew = replaced && !body.is_some_and(|body| is_finished(key, body));
    let rules = [
        (Guard::Replacement, anew),
        (Guard::Namespace, key.is_namespace()),
        (Guard::Crd, key.is_crd()),
        (Guard::Volume, is_volume(key) || body.is_some_and(|body| takes_claims(key, body))),
    ];
    rules.into_iter().filter(move |(_, met)| deleted && *met).map(|(guard, _)| guard)
}

fn keep(change: &mut Change, guard: Guard, finding: Finding) {
    change.decision = Decision::Keep(Keep::Guarded(guard, finding));
}

/// Keeps namespaces and CRDs that contain more than what the plan deletes. If the guard is open, returns a notice for
/// each one instead.
pub(crate) fn keep_holders_of_others(cleanup: &mut [Change], observed: &Observed, policy: &Policy) -> Vec<Notice> {
    let deleted: Vec<&Change> = cleanup.iter().filter(|change| change.action() == Action::Delete).collect();
    let holders = deleted.iter().map(|change| &change.ident.key).filter(|key| is_holder(key));
    // A namespace or CRD that is already being deleted takes its contents with it, whatever this run does.
    let standing = holders.filter(|key| !observed.live(key).is_some_and(Live::is_terminating));
    let told = standing.filter_map(|key| match observed.contents.get(key) {
        Some(content) => Some((key.clone(), content.outside(&deleted)?)),
        None => Some((key.clone(), Contents::NotListed)),
    });
    let told: BTreeMap<ObjectKey, Contents> = told.collect();
    let (opened, closed): (BTreeMap<_, _>, BTreeMap<_, _>) =
        told.into_iter().partition(|(holder, _)| policy.opens_for(Guard::Foreign, holder));
    for change in cleanup {
        if let Some(told) = closed.get(&change.ident.key) {
            keep(change, Guard::Foreign, Finding::Contents(told.clone()));
        }
    }
    opened.into_iter().map(|(holder, contents)| Notice::AlsoDeleted { holder, contents }).collect()
}

/// Returns the reasons why a tree is in doubt: it has no desired object, or more than half of the live objects would be
/// deleted.
///
/// `desired` is the number of desired objects of the whole root. `live` is the number of recorded objects that are live
/// and ours.
pub(crate) fn doubts(cleanup: &[Change], desired: usize, live: usize, policy: &Policy) -> Vec<TreeDoubt> {
    let deleted = cleanup.iter().filter(|change| change.action() == Action::Delete).count();
    let mut refusals = Vec::new();
    if desired == 0 && deleted > 0 && !policy.opens(Guard::EmptyDesired) {
        refusals.push(TreeDoubt::Empty { deleted });
    }
    if deleted > (live / 2).max(LEAST) && !policy.opens(Guard::MassDeletion) {
        refusals.push(TreeDoubt::MoreThanHalf { deleted, live });
    }
    refusals
}

/// Up to this many deletions are never too many at once.
const LEAST: usize = 10;

/// Returns the deleted generations that a desired one takes the place of, one for each desired one.
fn succeeded(desired: &[Change], cleanup: &[Change]) -> BTreeSet<ObjectKey> {
    let generated = |change: &&Change| stem(&change.ident.key).is_some();
    let mut places: BTreeMap<ObjectKey, usize> = BTreeMap::new();
    for change in desired.iter().filter(generated) {
        *places.entry(any_generation(&change.ident.key)).or_default() += 1;
    }
    let deleted = cleanup.iter().filter(|change| change.action() == Action::Delete).filter(generated);
    let keys = deleted.map(|change| &change.ident.key);
    let takes_a_place = |key: &&ObjectKey| {
        let left = places.get_mut(&any_generation(key)).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    };
    keys.filter(takes_a_place).cloned().collect()
}

/// Keeps the deletions and replacements of one pull request if they are more than a tenth of the live objects.
///
/// The deletions and replacements that no pull request showed count together as one share. A generation of a generated
/// object that another one takes the place of is not lost, so one for each does not count.
pub(crate) fn keep_shares(changes: &mut [Change], cleanup: &mut [Change], live: usize, policy: &Policy) {
    if policy.opens(Guard::MassDeletion) {
        return;
    }
    let succeeded = succeeded(changes, cleanup);
    let mut shares: BTreeMap<Share, usize> = BTreeMap::new();
    let share_of = |change: &Change| match change.action() {
        _ if succeeded.contains(&change.ident.key) => None,
        Action::Delete => Some(policy.reviewed.deletion_share(&change.ident.key)),
        Action::Replace => Some(policy.reviewed.replacement_share(&change.ident.key)),
        _ => None,
    };
    for share in changes.iter().chain(&*cleanup).filter_map(share_of) {
        *shares.entry(share).or_default() += 1;
    }
    let most = (live / 10).max(LEAST);
    for change in changes.iter_mut().chain(cleanup) {
        let count = share_of(change).and_then(|share| shares.get(&share)).copied().unwrap_or_default();
        if count > most && !policy.opens_for(Guard::MassDeletion, &change.ident.key) {
            keep(change, Guard::MassDeletion, Finding::Share { count, live, most });
        }
    }
}

/// Returns `true` if the object is a persistent volume or a persistent volume claim. These are never replaced.
pub(super) fn is_volume(key: &ObjectKey) -> bool {
    key.group.is_empty() && matches!(key.kind.as_str(), "PersistentVolume" | "PersistentVolumeClaim")
}

/// Returns `true` if the persistent volume claims of a StatefulSet are deleted with it.
fn takes_claims(key: &ObjectKey, body: &Value) -> bool {
    let text = |pointer| body.pointer(pointer).and_then(Value::as_str);
    let has_claims =
        body.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    key.group == "apps"
        && key.kind == "StatefulSet"
        && has_claims
        && text("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted") == Some("Delete")
}

/// Returns `true` if the object is a Job that has finished.
fn is_finished(key: &ObjectKey, body: &Value) -> bool {
    let conditions = body.pointer("/status/conditions").and_then(Value::as_array);
    let is_end = |condition: &Value| {
        matches!(condition["type"].as_str(), Some("Complete" | "Failed")) && condition["status"] == "True"
    };
    key.group == "batch" && key.kind == "Job" && conditions.into_iter().flatten().any(is_end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::refusal::Refusal;
    use crate::plan::collateral::Collateral;
    use crate::plan::decision::Create;
    use crate::plan::observed::Lookup;
    use crate::plan::policy::{Reviewed, Shown};
    use crate::plan::review::NotReviewed;
    use crate::project::tree::Cleanup;
    use proptest::prelude::*;
    use serde_json::json;

    fn deletion(group: &str, kind: &str, name: usize) -> Change {
        let key = ObjectKey { group: group.into(), kind: kind.into(), namespace: None, name: name.to_string() };
        Change::deletion(key, "u")
    }

    fn replace() -> Decision {
        Decision::Replace(Refusal::Invalid("immutable".into()))
    }

    fn policy() -> Policy {
        Policy::new(Cleanup::On, "kubernator-system")
    }

    #[test]
    fn c5_each_guard_keeps_by_default_and_only_its_own_permission_opens_it() {
        let set = json!({"spec": {"volumeClaimTemplates": [{}], "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}});
        let anew = Change { decision: replace(), ..deletion("", "ConfigMap", 1) };
        for (guard, change, body) in [
            (Guard::Replacement, anew.clone(), json!({})),
            (Guard::Replacement, Change { decision: replace(), ..deletion("batch", "Job", 1) }, json!({})),
            (Guard::Namespace, deletion("", "Namespace", 1), json!({})),
            (Guard::Crd, deletion("apiextensions.k8s.io", "CustomResourceDefinition", 1), json!({})),
            (Guard::Volume, deletion("", "PersistentVolumeClaim", 1), json!({})),
            (Guard::Volume, deletion("", "PersistentVolume", 1), json!({})),
            (Guard::Volume, deletion("apps", "StatefulSet", 1), set),
        ] {
            for (other, _) in Guard::named() {
                let policy = Policy { allowed: [other].into(), ..policy() };
                let mut kept = [change.clone()];
                keep_guarded(&mut kept, |_| Some(&body), &policy);
                if other == guard {
                    assert_eq!(kept[0], change);
                } else {
                    let expected = Decision::Keep(Keep::Guarded(guard, Finding::Object));
                    assert_eq!(kept[0].decision, expected, "{other:?}");
                }
            }
        }
        let finished = json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}});
        for (change, body) in [
            (deletion("", "ConfigMap", 1), json!({})),
            (deletion("apps", "StatefulSet", 1), json!({"spec": {"volumeClaimTemplates": [{}]}})),
            (Change { decision: replace(), ..deletion("batch", "Job", 1) }, finished),
            (
                Change {
                    decision: Decision::Keep(Keep::Unreviewed(NotReviewed::LeftOver)),
                    ..deletion("", "Namespace", 1)
                },
                json!({}),
            ),
        ] {
            let mut kept = [change.clone()];
            keep_guarded(&mut kept, |_| Some(&body), &policy());
            assert_eq!(kept[0], change);
        }
    }

    #[test]
    fn c5_what_others_have_in_a_namespace_or_of_a_definition_keeps_it() {
        let changes = [deletion("", "Namespace", 1), deletion("apiextensions.k8s.io", "CustomResourceDefinition", 2)];
        let [namespace, definition] = [0, 1].map(|index: usize| changes[index].ident.key.clone());
        let theirs = ObjectKey { kind: "ConfigMap".into(), namespace: Some("1".into()), ..namespace.clone() };
        let live = Live { body: json!({"metadata": {"uid": "t"}}) };
        let full = Collateral { found: [(theirs.clone(), live)].into(), ..Collateral::default() };
        let hidden = Collateral { unseen: vec!["no right".into()], ..Collateral::default() };
        let leaving = Live { body: json!({"metadata": {"deletionTimestamp": "2031-05-06T07:08:09Z"}}) };
        let mut observed = Observed::default();
        let kept = |observed: &Observed, open: Option<Guard>| {
            let policy = Policy { allowed: open.into_iter().collect(), ..policy() };
            let mut changes = changes.clone();
            let notices = keep_holders_of_others(&mut changes, observed, &policy);
            let found = |change: Change| match change.decision {
                Decision::Keep(Keep::Guarded(Guard::Foreign, Finding::Contents(contents))) => Some(contents),
                _ => None,
            };
            (changes.map(found), notices)
        };
        let nothing = || ([None, None], Vec::new());
        assert_eq!(kept(&observed, None).0, [Some(Contents::NotListed), Some(Contents::NotListed)]);
        observed.contents.insert(namespace.clone(), Collateral::default());
        observed.contents.insert(definition.clone(), Collateral::default());
        assert_eq!(kept(&observed, None), nothing());
        observed.contents.insert(definition.clone(), hidden);
        let unseen = Contents::Listed { first: vec![], count: 0, unseen: vec!["no right".into()] };
        assert_eq!(kept(&observed, None).0, [None, Some(unseen)]);
        observed.contents.insert(definition, Collateral::default());
        observed.contents.insert(namespace.clone(), full);
        let contents = Contents::Listed { first: vec![theirs], count: 1, unseen: vec![] };
        assert_eq!(kept(&observed, None).0, [Some(contents.clone()), None]);
        let (none, notices) = kept(&observed, Some(Guard::Foreign));
        assert_eq!((none, notices), (nothing().0, vec![Notice::AlsoDeleted { holder: namespace.clone(), contents }]));
        assert_ne!(kept(&observed, Some(Guard::Namespace)), nothing());
        observed.looks.insert(namespace, Lookup::Live(leaving));
        assert_eq!(kept(&observed, None), nothing(), "it goes whatever this run does");
    }

    #[test]
    fn c5_a_tree_in_doubt_refuses_the_run() {
        let deletions =
            |count: usize| -> Vec<Change> { (0..count).map(|name| deletion("", "ConfigMap", name)).collect() };
        let found = |deleted: usize, desired: usize, live: usize, open: Option<Guard>| {
            let policy = Policy { allowed: open.into_iter().collect(), ..policy() };
            doubts(&deletions(deleted), desired, live, &policy).iter().map(TreeDoubt::guard).collect::<Vec<_>>()
        };
        assert_eq!(found(1, 0, 5, None), [Guard::EmptyDesired]);
        assert_eq!(found(0, 0, 5, None), []);
        assert_eq!(found(1, 0, 5, Some(Guard::EmptyDesired)), []);
        assert_eq!(found(25, 256, 31, None), [Guard::MassDeletion], "new objects dilute nothing");
        assert_eq!(found(25, 6, 31, Some(Guard::MassDeletion)), []);
        assert_eq!(found(25, 6, 31, Some(Guard::EmptyDesired)), [Guard::MassDeletion]);
        assert_eq!(found(15, 15, 30, None), []);
        assert_eq!(found(10, 1, 11, None), [], "a small root may change as a whole");
        let kept: Vec<Change> = deletions(25)
            .into_iter()
            .map(|change| Change { decision: Decision::Keep(Keep::Unreviewed(NotReviewed::LeftOver)), ..change })
            .collect();
        assert_eq!(doubts(&kept, 0, 31, &policy()), []);
    }

    #[test]
    fn x13_a_generation_that_another_one_takes_the_place_of_is_not_lost() {
        let named = |name: String| {
            let mut change = deletion("", "ConfigMap", 0);
            change.ident.key.name = name;
            change
        };
        let hash = |number: usize| {
            format!("6ct58987{}{}", ["h", "t", "k"][number / 10 % 3], "2456789bcd".as_bytes()[number % 10] as char)
        };
        let kept = |desired: usize, deleted: usize| {
            let new = |stem: usize| Change {
                decision: Decision::Create(Create::New),
                ..named(format!("c{stem}-2g9kh8m4tt"))
            };
            let mut changes: Vec<Change> = (0..desired).map(new).collect();
            let mut cleanup: Vec<Change> =
                (0..deleted).map(|number| named(format!("c{}-{}", number % 12, hash(number)))).collect();
            keep_shares(&mut changes, &mut cleanup, 40, &policy());
            cleanup.iter().filter(|change| change.action() == Action::Keep).count()
        };
        assert_eq!(kept(12, 12), 0, "each has its successor");
        assert_eq!(kept(0, 12), 12, "none has");
        assert_eq!(kept(12, 22), 0, "ten older ones are no more than ten");
        assert_eq!(kept(12, 23), 11, "eleven older ones are too many");
        assert_eq!(kept(1, 12), 11);
    }

    proptest! {
        /// X13, with counts computed independently: the share of one pull request is kept as a whole or not at all.
        #[test]
        fn x13_a_share_counts_what_one_pull_request_deletes_of_what_was_live(
            owners in proptest::collection::vec((0_u64..4, any::<bool>()), 0..60),
            new in 0_usize..300,
            live in 0_usize..400,
        ) {
            let object = |name: usize| deletion("", "ConfigMap", name);
            let mut shown = Shown::default();
            let (mut changes, mut cleanup) = (Vec::new(), Vec::new());
            for (name, (pull, replaced)) in owners.iter().enumerate() {
                let change = object(name);
                let into = if *replaced { &mut shown.replaced } else { &mut shown.deleted };
                if *pull > 0 {
                    into.insert(change.ident.key.clone(), *pull);
                }
                if *replaced {
                    changes.push(Change { decision: replace(), ..change });
                } else {
                    cleanup.push(change);
                }
            }
            changes.extend((0..new).map(|name| Change { decision: Decision::Create(Create::New), ..object(1000 + name) }));
            let policy = Policy { reviewed: Reviewed::Only(shown), ..policy() };
            let (mut kept_changes, mut kept_cleanup) = (changes.clone(), cleanup.clone());
            keep_shares(&mut kept_changes, &mut kept_cleanup, live, &policy);
            let most = std::cmp::max(10, live / 10);
            for change in kept_changes.iter().chain(&kept_cleanup).filter(|change| change.action() != Action::Create) {
                let name: usize = change.ident.key.name.parse().unwrap();
                let count = owners.iter().filter(|(pull, _)| *pull == owners[name].0).count();
                prop_assert_eq!(change.action() == Action::Keep, count > most, "{} of {}", count, live);
            }
        }
    }
}

//! Consents: what a person allowed a merge to delete, although a guard or the review keeps it.
//!
//! A consent covers exactly the objects that one signed plan lists as kept, each by its key and its uid.

use std::collections::BTreeMap;

use super::build::Plan;
use super::change::Change;
use super::decision::{Decision, Keep};
use super::guard::Guard;
use super::name_set::{NameKey, NameSet};
use super::notice::Notice;
use super::review::NotReviewed;
use crate::object::ident::ObjectKey;

/// The name of the group of leftovers. No guard has it.
const LEFTOVERS: &str = "leftovers";

/// The group of kept objects that a consent is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    /// The objects that this guard keeps.
    Guard(Guard),
    /// The leftovers. No merge deletes them without a consent.
    Leftovers,
    /// One leftover object, by the text of its key, such as `ConfigMap shop/web`.
    Leftover(String),
}

/// A consent, with the objects that it covers.
#[derive(Clone, Debug)]
pub struct Consent {
    pub(crate) wish: Wish,
    pub(crate) objects: NameSet,
    pub(crate) key: NameKey,
    /// The pull request that it was given in.
    pub(crate) pull: u64,
}

impl Wish {
    /// The name of the group in a signed plan.
    pub(crate) fn group(&self) -> Option<&'static str> {
        match self {
            Self::Guard(guard) => guard.name(),
            Self::Leftovers | Self::Leftover(_) => Some(LEFTOVERS),
        }
    }

    /// The guard that it opens.
    pub(crate) fn guard(&self) -> Option<Guard> {
        match self {
            Self::Guard(guard) => Some(*guard),
            Self::Leftovers | Self::Leftover(_) => None,
        }
    }
}

impl Consent {
    /// Returns `true` if the consent covers the object.
    pub(crate) fn covers(&self, object: &ObjectKey, uid: &str) -> bool {
        let is_named = match &self.wish {
            Wish::Leftover(name) => *name == object.to_string(),
            Wish::Guard(_) | Wish::Leftovers => true,
        };
        is_named && self.objects.contains(&name(object, uid), &self.key)
    }
}

/// Lists the objects that a plan keeps and that a consent can be about, by group.
pub(crate) fn kept(plan: &Plan, key: &NameKey) -> BTreeMap<String, NameSet> {
    let mut groups: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for change in plan.all() {
        if let (Some(group), Some(uid)) = (group_of(change), &change.uid) {
            groups.entry(group).or_default().push(name(&change.ident.key, uid));
        }
    }
    groups.into_iter().map(|(group, names)| (group.to_owned(), NameSet::of(&names, key))).collect()
}

/// Returns the plan of a pull request whose comments give these consents. Its decisions and its digest stay, because a
/// consent is for exactly this plan. What the merge then deletes is no refusal any more, and is told.
pub(crate) fn told(mut plan: Plan, consents: &[Consent]) -> Plan {
    let covered = |change: &&Change| {
        let group = group_of(change);
        let covers = |consent: &Consent| {
            consent.wish.group() == group
                && change.uid.as_deref().is_some_and(|uid| consent.covers(&change.ident.key, uid))
        };
        group.is_some() && consents.iter().any(covers)
    };
    let covered: Vec<ObjectKey> = plan.all().filter(covered).map(|change| change.ident.key.clone()).collect();
    for object in covered {
        plan.own.remove(&object);
        plan.notices.push(Notice::Consented(object));
    }
    plan
}

/// The group of a kept object, if a consent can be about it.
fn group_of(change: &Change) -> Option<&'static str> {
    match &change.decision {
        Decision::Keep(Keep::Guarded(guard, _)) => guard.name(),
        Decision::Keep(Keep::Unreviewed(NotReviewed::LeftOver)) => Some(LEFTOVERS),
        _ => None,
    }
}

fn name(object: &ObjectKey, uid: &str) -> String {
    format!("{object}\n{uid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectKey {
        ObjectKey { group: String::new(), kind: "ConfigMap".into(), namespace: Some("shop".into()), name: name.into() }
    }

    #[test]
    fn f15_a_consent_covers_the_listed_objects_with_their_uids_and_no_other() {
        let key = NameKey::of(b"key");
        let objects = NameSet::of(&[name(&object("web"), "u1"), name(&object("till"), "u2")], &key);
        let consent = |wish| Consent { wish, objects: objects.clone(), key: key.clone(), pull: 7 };
        let all = consent(Wish::Leftovers);
        assert!(all.covers(&object("web"), "u1") && all.covers(&object("till"), "u2"));
        assert!(!all.covers(&object("web"), "u2"), "another object of the same name");
        assert!(!all.covers(&object("other"), "u1"));
        let one = consent(Wish::Leftover("ConfigMap shop/web".into()));
        assert!(one.covers(&object("web"), "u1") && !one.covers(&object("till"), "u2"));
    }
}

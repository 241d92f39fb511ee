//! Lists a root's objects with credentials that may list only some namespaces.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};

use crate::cluster::connect::Cluster;
use crate::object::ident::ObjectKey;
use crate::object::kinds::Kind;
use crate::object::mark::Root;
use crate::plan::observed::Lookup;

/// The number of names that a notice shows in each of its lists.
const NAMED: usize = 5;

/// Lists the root's objects of kinds that may not be listed in the whole cluster. Lists them in the given namespaces,
/// and returns one notice that says for all kinds where it looked.
pub(super) async fn list_in_namespaces(
    cluster: &Cluster,
    root: &Root,
    kinds: &[&Kind],
    namespaces: &BTreeSet<String>,
) -> (BTreeMap<ObjectKey, Lookup>, Option<String>) {
    let pairs = kinds
        .iter()
        .filter(|kind| kind.namespaced)
        .flat_map(|kind| namespaces.iter().map(move |namespace| (*kind, namespace.as_str())));
    let pairs: Vec<(&Kind, &str)> = pairs.collect();
    let answers: Vec<_> = stream::iter(pairs)
        .map(|(kind, namespace)| async move { (kind, cluster.list_owned_in(kind, Some(namespace), root).await) })
        .buffer_unordered(cluster.settings().concurrency)
        .collect()
        .await;
    let mut looks = BTreeMap::new();
    let mut unlisted: BTreeSet<String> = kinds
        .iter()
        .filter(|kind| !kind.namespaced || namespaces.is_empty())
        .map(|kind| kind.group_kind.to_string())
        .collect();
    for (kind, answer) in answers {
        match answer {
            Ok(found) => looks.extend(found.into_iter().map(|live| (kind.key_of(&live), Lookup::Live(live)))),
            Err(_) => drop(unlisted.insert(kind.group_kind.to_string())),
        }
    }
    (looks, notice(kinds.len(), &unlisted, namespaces))
}

fn notice(count: usize, unlisted: &BTreeSet<String>, namespaces: &BTreeSet<String>) -> Option<String> {
    if count == 0 {
        return None;
    }
    let named = |names: &BTreeSet<String>| {
        let shown: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
        let more = names.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("{}{more}", shown.join(", "))
    };
    let mut text = "These credentials cannot list the whole cluster".to_owned();
    let listed = count - unlisted.len().min(count);
    if listed > 0 {
        text += &format!(": objects of {listed} kinds were listed only in {}", named(namespaces));
    }
    if !unlisted.is_empty() {
        text += &format!("; of {}, only recorded and desired objects were read", named(unlisted));
    }
    Some(text + ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r12_one_notice_says_what_was_not_looked_at() {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!(notice(0, &set(&[]), &set(&["a"])), None);
        let all = notice(3, &set(&[]), &set(&["a", "b"])).unwrap();
        assert!(all.ends_with("objects of 3 kinds were listed only in a, b."), "{all}");
        let some = notice(9, &set(&["A", "B", "C", "D", "E", "F", "G"]), &set(&["a"])).unwrap();
        assert!(
            some.contains("objects of 2 kinds")
                && some.contains("of A, B, C, D, E and 2 more, only recorded and desired objects were read"),
            "{some}"
        );
    }
}

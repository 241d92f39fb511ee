//! Lists a root's objects with credentials that may list only some namespaces.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};

use crate::cluster::connect::Cluster;
use crate::object::ident::{GroupKind, ObjectKey};
use crate::object::kinds::Kind;
use crate::object::mark::Root;
use crate::plan::notice::Notice;
use crate::plan::observed::Lookup;

/// Lists the root's objects of kinds that may not be listed in the whole cluster. Lists them in the given namespaces,
/// and returns one notice that says for all kinds where it looked.
pub(super) async fn list_in_namespaces(
    cluster: &Cluster,
    root: &Root,
    kinds: &[&Kind],
    namespaces: &BTreeSet<String>,
) -> (BTreeMap<ObjectKey, Lookup>, Option<Notice>) {
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
    let mut unlisted: BTreeSet<GroupKind> = kinds
        .iter()
        .filter(|kind| !kind.namespaced || namespaces.is_empty())
        .map(|kind| kind.group_kind.clone())
        .collect();
    for (kind, answer) in answers {
        match answer {
            Ok(found) => looks.extend(found.into_iter().map(|live| (kind.key_of(&live), Lookup::Live(live)))),
            Err(_) => drop(unlisted.insert(kind.group_kind.clone())),
        }
    }
    let listed = kinds.len() - unlisted.len().min(kinds.len());
    let notice = Notice::ListedInNamespaces { listed, namespaces: namespaces.clone(), unlisted };
    (looks, (!kinds.is_empty()).then_some(notice))
}

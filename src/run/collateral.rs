//! Lists the contents of namespaces and CRDs before they are deleted, because their contents are deleted with them.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};

use crate::cluster::connect::Cluster;
use crate::cluster::observe::ReadError;
use crate::cluster::readiness::{Readiness, readiness};
use crate::object::ident::ObjectKey;
use crate::object::kinds::{Kind, Kinds, defined_kind};
use crate::object::live::Live;
use crate::plan::collateral::{Collateral, counts};

/// The largest number of namespaces that are listed one by one. For more namespaces, each kind is listed once in the
/// whole cluster.
const FEW: usize = 8;

/// Lists the contents of several namespaces and CRDs, as [`look_into`] does for one.
pub(crate) async fn look_into_all(
    cluster: &Cluster,
    kinds: &Kinds,
    holders: &[(&ObjectKey, &Live)],
) -> BTreeMap<ObjectKey, Collateral> {
    let namespaces: BTreeMap<&str, &ObjectKey> =
        holders.iter().filter(|(key, _)| key.is_namespace()).map(|(key, _)| (key.name.as_str(), *key)).collect();
    let together = if namespaces.len() > FEW { namespaces } else { BTreeMap::new() };
    let mut contents = look_into_together(cluster, kinds, &together).await;
    for (key, live) in holders {
        if !contents.contains_key(*key) {
            contents.insert((*key).clone(), look_into(cluster, kinds, key, live).await);
        }
    }
    contents
}

async fn look_into_together(
    cluster: &Cluster,
    kinds: &Kinds,
    namespaces: &BTreeMap<&str, &ObjectKey>,
) -> BTreeMap<ObjectKey, Collateral> {
    let mut contents: BTreeMap<ObjectKey, Collateral> =
        namespaces.values().map(|key| ((*key).clone(), Collateral::default())).collect();
    if namespaces.is_empty() {
        return contents;
    }
    let held = kinds.iter().filter(|kind| kind.namespaced && kind.manageable && counts(&kind.group_kind));
    let answers: Vec<_> = stream::iter(held)
        .map(|kind| async move { (kind, cluster.list_metadata(kind, None).await) })
        .buffer_unordered(cluster.settings().concurrency)
        .collect()
        .await;
    for (kind, answer) in answers {
        match answer {
            Ok(found) => {
                for live in found {
                    let key = kind.key_of(&live);
                    let holder = key.namespace.as_deref().and_then(|namespace| namespaces.get(namespace));
                    if let Some(content) = holder.and_then(|holder| contents.get_mut(*holder)) {
                        content.found.insert(key, live);
                    }
                }
                for content in contents.values_mut() {
                    content.listed.insert(kind.group_kind.clone());
                }
            }
            Err(ReadError::Gone) => {}
            // Credentials that may not list a kind in the whole cluster may still list it in each namespace.
            Err(_) => {
                for content in &mut contents {
                    let more = look_for(cluster, vec![kind], Some(&content.0.name)).await;
                    content.1.found.extend(more.found);
                    content.1.listed.extend(more.listed);
                    content.1.unseen.extend(more.unseen);
                }
            }
        }
    }
    for content in contents.values_mut() {
        content.unseen.extend(kinds.unavailable().map(|group| format!("the server of {group} does not answer")));
        content.unseen.sort();
    }
    contents
}

/// Lists everything in a namespace, or every object of the kind that a CRD defines.
///
/// `live` is the namespace or CRD as it was read. The result names everything that could not be listed.
pub(crate) async fn look_into(cluster: &Cluster, kinds: &Kinds, holder: &ObjectKey, live: &Live) -> Collateral {
    if holder.is_namespace() {
        let held = kinds.iter().filter(|kind| kind.namespaced && kind.manageable && counts(&kind.group_kind)).collect();
        let mut content = look_for(cluster, held, Some(&holder.name)).await;
        let silent = kinds.unavailable().map(|group| format!("the server of {group} does not answer"));
        content.unseen.extend(silent);
        return content;
    }
    let Some(defined) = defined_kind(&live.body) else {
        return Collateral { unseen: vec!["it serves no version".to_owned()], ..Collateral::default() };
    };
    let kind = kinds.get(&defined.group_kind).unwrap_or(&defined);
    let mut content = look_for(cluster, vec![kind], None).await;
    // Once a CRD is established, the server should serve its kind. If the server does not serve it, objects of the kind
    // may still exist.
    let is_hidden = !content.listed.contains(&defined.group_kind) && readiness(live) == Readiness::Ready;
    if is_hidden && content.unseen.is_empty() {
        content.unseen.push(format!("{} is not served", defined.group_kind));
    }
    content
}

async fn look_for(cluster: &Cluster, kinds: Vec<&Kind>, namespace: Option<&str>) -> Collateral {
    let answers: Vec<_> = stream::iter(kinds)
        .map(|kind| async move { (kind, cluster.list_metadata(kind, namespace).await) })
        .buffer_unordered(cluster.settings().concurrency)
        .collect()
        .await;
    let mut content = Collateral::default();
    for (kind, answer) in answers {
        match answer {
            Ok(found) => {
                content.found.extend(found.into_iter().map(|live| (kind.key_of(&live), live)));
                content.listed.insert(kind.group_kind.clone());
            }
            Err(ReadError::Gone) => {}
            Err(error) => content.unseen.push(format!("{} could not be listed: {error}", kind.group_kind)),
        }
    }
    content.unseen.sort();
    content
}

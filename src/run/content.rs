//! Looking into namespaces and definitions before they are deleted: what they hold goes with them.

use futures::stream::{self, StreamExt};

use crate::cluster::connect::Cluster;
use crate::cluster::observe::ReadError;
use crate::cluster::readiness::{Readiness, readiness};
use crate::object::ident::ObjectKey;
use crate::object::kinds::{Kind, Kinds, defined_kind};
use crate::object::live::Live;
use crate::plan::content::{Content, counts};

/// Looks for everything that lies in a namespace, or is of the kind that a definition defines.
///
/// `live` is the holder as it was found. What cannot be looked at is named in the answer, never passed over.
pub async fn look_into(cluster: &Cluster, kinds: &Kinds, holder: &ObjectKey, live: &Live) -> Content {
    if holder.is_namespace() {
        let held = kinds.iter().filter(|kind| kind.namespaced && kind.manageable && counts(&kind.group_kind)).collect();
        let mut content = look_for(cluster, held, Some(&holder.name)).await;
        let silent = kinds.unavailable().map(|group| format!("the server of {group} does not answer"));
        content.unseen.extend(silent);
        return content;
    }
    let Some(defined) = defined_kind(&live.body) else {
        return Content { unseen: vec!["it serves no version".to_owned()], ..Content::default() };
    };
    let kind = kinds.get(&defined.group_kind).unwrap_or(&defined);
    let mut content = look_for(cluster, vec![kind], None).await;
    // What was established once is served; where it is not served, its objects may be there all the same.
    let is_hidden = !content.listed.contains(&defined.group_kind) && readiness(live) == Readiness::Ready;
    if is_hidden && content.unseen.is_empty() {
        content.unseen.push(format!("{} is not served", defined.group_kind));
    }
    content
}

async fn look_for(cluster: &Cluster, kinds: Vec<&Kind>, namespace: Option<&str>) -> Content {
    let answers: Vec<_> = stream::iter(kinds)
        .map(|kind| async move { (kind, cluster.list_metadata(kind, namespace).await) })
        .buffer_unordered(cluster.settings().concurrency)
        .collect()
        .await;
    let mut content = Content::default();
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

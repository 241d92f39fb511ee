//! Lists a root's objects.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};

use crate::cluster::connect::Cluster;
use crate::object::ident::{GroupKind, ObjectKey};
use crate::object::kinds::{Kind, Kinds};
use crate::object::live::Live;
use crate::object::mark::Root;
use crate::object::read_error::ReadError;
use crate::plan::notice::Notice;
use crate::plan::observed::Lookup;

/// The kinds that a run lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// The kinds that are desired or recorded.
    Known,
    /// Every kind that can be listed, because an unsettled run may have left objects of any kind.
    Everything,
}

/// Lists the root's live objects of every kind, as [`Listing::all`] does.
pub(crate) async fn list_everything(
    cluster: &Cluster,
    root: &Root,
    kinds: &Kinds,
) -> (BTreeMap<ObjectKey, Lookup>, Vec<Notice>) {
    let (known, namespaces) = (&BTreeSet::new(), &BTreeSet::new());
    let keep = &|_: &ObjectKey, live| Lookup::Live(live);
    Listing { cluster, root, kinds, known, namespaces, sweep: Sweep::Everything, keep }.all().await
}

/// A list of a root's objects.
#[derive(Clone, Copy)]
pub(crate) struct Listing<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) root: &'a Root,
    /// The kinds that the server serves.
    pub(crate) kinds: &'a Kinds,
    /// The kinds that are desired or recorded.
    pub(crate) known: &'a BTreeSet<GroupKind>,
    /// The namespaces to list if the credentials may not list a kind in the whole cluster.
    pub(crate) namespaces: &'a BTreeSet<String>,
    pub(crate) sweep: Sweep,
    /// Decides what is kept of each object. It is called as soon as an object is read.
    pub(crate) keep: &'a (dyn Fn(&ObjectKey, Live) -> Lookup + Sync),
}

type Page = Result<Vec<(ObjectKey, Lookup)>, ReadError>;

impl Listing<'_> {
    /// Lists the root's live objects of every relevant kind. Returns them together with notices about failed lists.
    ///
    /// A failed list proves nothing: objects of its kind are read one by one later, or stay unknown.
    ///
    /// # Errors
    ///
    /// None. Each failed list becomes a notice.
    pub(crate) async fn all(self) -> (BTreeMap<ObjectKey, Lookup>, Vec<Notice>) {
        let is_listed = |kind: &&Kind| {
            kind.manageable && (self.sweep == Sweep::Everything || self.known.contains(&kind.group_kind))
        };
        let kinds = self.kinds.iter().filter(is_listed).map(|kind| (kind, None)).collect();
        let mut looks = BTreeMap::new();
        let mut notices = Vec::new();
        let mut forbidden = Vec::new();
        for (kind, answer) in self.answers(kinds).await {
            match answer {
                Err(ReadError::Forbidden(_)) => forbidden.push(kind),
                Ok(found) => looks.extend(found),
                // The kind is not served: this run creates its CRD, or the kind was removed.
                Err(ReadError::Gone) => {}
                Err(error) if self.known.contains(&kind.group_kind) => {
                    notices.push(Notice::NotListed { kind: kind.group_kind.clone(), why: error.to_string() });
                }
                // The kind is neither desired nor recorded, and it cannot be listed. Objects that an unsettled run left
                // there are not found.
                Err(error) => {
                    notices.push(Notice::NotSearched { kind: kind.group_kind.clone(), why: error.to_string() });
                }
            }
        }
        notices.sort_by(|a: &Notice, b| format!("{a:?}").cmp(&format!("{b:?}")));
        let (found, notice) = self.in_namespaces(&forbidden).await;
        looks.extend(found);
        notices.extend(notice);
        (looks, notices)
    }

    /// Lists kinds that may not be listed in the whole cluster. Lists them in the namespaces, and returns one notice
    /// that says for all kinds where it looked.
    async fn in_namespaces(self, kinds: &[&Kind]) -> (BTreeMap<ObjectKey, Lookup>, Option<Notice>) {
        let namespaced = kinds.iter().filter(|kind| kind.namespaced);
        let pairs = namespaced
            .flat_map(|kind| self.namespaces.iter().map(move |namespace| (*kind, Some(namespace.as_str()))))
            .collect();
        let mut unlisted: BTreeSet<GroupKind> = kinds
            .iter()
            .filter(|kind| !kind.namespaced || self.namespaces.is_empty())
            .map(|kind| kind.group_kind.clone())
            .collect();
        let mut looks = BTreeMap::new();
        for (kind, answer) in self.answers(pairs).await {
            match answer {
                Ok(found) => looks.extend(found),
                Err(_) => drop(unlisted.insert(kind.group_kind.clone())),
            }
        }
        let listed = kinds.len() - unlisted.len().min(kinds.len());
        let notice = Notice::ListedInNamespaces { listed, namespaces: self.namespaces.clone(), unlisted };
        (looks, (!kinds.is_empty()).then_some(notice))
    }

    async fn answers<'k>(self, kinds: Vec<(&'k Kind, Option<&str>)>) -> Vec<(&'k Kind, Page)> {
        stream::iter(kinds)
            .map(|(kind, namespace)| async move {
                let keep = |live: Live| {
                    let key = kind.key_of(&live);
                    let look = (self.keep)(&key, live);
                    (key, look)
                };
                (kind, self.cluster.list_owned(kind, namespace, self.root, keep).await)
            })
            .buffer_unordered(self.cluster.settings().concurrency)
            .collect()
            .await
    }
}

//! Reads the objects that a run waits for: applied objects until they are ready, and deleted objects until they are
//! gone.
//!
//! One call covers all these objects with few requests. The run decides about pauses and deadlines.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::identity;

use futures::future::join_all;
use futures::stream::{self, StreamExt};

use super::connect::Cluster;
use crate::object::ident::{GroupKind, ObjectKey};
use crate::object::kinds::Kind;
use crate::object::live::Live;
use crate::object::mark::Root;
use crate::object::read_error::ReadError;
use crate::object::readiness::{Readiness, readiness};

/// The highest number of objects of one kind that are read one by one. More objects are listed.
const FEW: usize = 4;

/// A list is used only if at least one of this many listed objects is waited for.
const SHARE: usize = 10;

/// An object that a run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Awaited {
    /// The kind of the object, in the version to read.
    pub kind: Kind,
    /// The key of the object.
    pub key: ObjectKey,
    /// The condition that ends the wait.
    pub until: Until,
}

/// The condition that ends a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The object is ready.
    Ready,
    /// The object is ready or gone. An object that removes itself is gone when it is done.
    ReadyOrGone,
    /// The object with this uid is gone. Another object of the same name does not count.
    Gone {
        /// The uid of the object.
        uid: String,
    },
    /// Nothing. The wait ends at the next look.
    NextLook,
}

/// The progress of a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WaitStatus {
    /// The wait is over.
    Over,
    /// The wait continues, for this reason. The text may come from a controller and is untrusted.
    Waiting(String),
    /// Waiting does not help, for this reason. The text may come from a controller and is untrusted.
    Failed(String),
}

impl Cluster {
    /// Reads all given objects once and returns the progress for each, in the same order.
    ///
    /// `owned` is the number of objects of each kind that the root owns. It decides if a list is cheaper than single
    /// reads.
    pub(crate) async fn look_at_awaited(
        &self,
        awaited: &[&Awaited],
        root: &Root,
        owned: &BTreeMap<GroupKind, usize>,
    ) -> Vec<WaitStatus> {
        let mut by_kind: BTreeMap<&GroupKind, Vec<usize>> = BTreeMap::new();
        for (index, one) in awaited.iter().enumerate().filter(|(_, one)| one.until != Until::NextLook) {
            by_kind.entry(&one.kind.group_kind).or_default().push(index);
        }
        let looks = join_all(by_kind.into_values().map(|indices| async move {
            let of: Vec<&Awaited> = indices.iter().map(|index| awaited[*index]).collect();
            let total = owned.get(&of[0].kind.group_kind).copied().unwrap_or_default();
            indices.into_iter().zip(self.read_all(&of, root, total).await).collect::<Vec<_>>()
        }));
        let looks: Vec<(usize, Read)> = looks.await.into_iter().flatten().collect();
        let gone_kinds = self.gone_kinds(awaited, &looks).await;
        let mut sights = vec![WaitStatus::Over; awaited.len()];
        for (index, read) in looks {
            sights[index] = sight(awaited[index], read, &gone_kinds);
        }
        sights
    }

    /// Reads objects of one kind. An object that is missing from a list is read on its own, because only this proves
    /// that it is gone.
    async fn read_all(&self, awaited: &[&Awaited], root: &Root, total: usize) -> Vec<Read> {
        let mut listed: BTreeMap<ObjectKey, Live> = BTreeMap::new();
        if awaited.len() > FEW && awaited.len() * SHARE >= total {
            let kind = &awaited[0].kind;
            let mut namespaces = awaited.iter().map(|one| one.key.namespace.as_deref()).collect::<BTreeSet<_>>();
            let namespace = namespaces.pop_first().flatten().filter(|_| namespaces.is_empty());
            if let Ok(found) = self.list_owned(kind, namespace, root, identity).await {
                listed.extend(found.into_iter().map(|live| (kind.key_of(&live), live)));
            }
        }
        let reads: Vec<_> = awaited.iter().map(|one| (*one, listed.remove(&one.key))).collect();
        stream::iter(reads)
            .map(|(one, listed)| async move {
                match listed {
                    Some(live) => Ok(Some(live)),
                    None => self.get(&one.kind, &one.key).await,
                }
            })
            .buffered(self.settings().concurrency)
            .collect()
            .await
    }

    /// The kinds that are not served at their path and that a complete discovery does not know. A path that is not
    /// served proves nothing by itself.
    async fn gone_kinds(&self, awaited: &[&Awaited], looks: &[(usize, Read)]) -> BTreeSet<GroupKind> {
        let is_unserved = |(index, read): &&(usize, Read)| {
            matches!((&awaited[*index].until, read), (Until::Gone { .. }, Err(ReadError::Gone)))
        };
        let unserved = looks.iter().filter(is_unserved).map(|(index, _)| awaited[*index].kind.group_kind.clone());
        let mut unserved: BTreeSet<GroupKind> = unserved.collect();
        if unserved.is_empty() {
            return unserved;
        }
        match self.discover().await {
            Ok(kinds) => unserved.retain(|kind| kinds.is_conclusive_for(&kind.group) && kinds.get(kind).is_none()),
            Err(_) => unserved.clear(),
        }
        unserved
    }
}

type Read = Result<Option<Live>, ReadError>;

fn sight(awaited: &Awaited, read: Read, gone_kinds: &BTreeSet<GroupKind>) -> WaitStatus {
    match (&awaited.until, read) {
        (Until::NextLook, _) | (Until::Gone { .. } | Until::ReadyOrGone, Ok(None)) => WaitStatus::Over,
        (Until::Gone { uid }, Ok(Some(live))) if live.uid() != uid => WaitStatus::Over,
        (Until::Gone { .. }, Ok(Some(live))) => WaitStatus::Waiting(still_there(&live)),
        (Until::Gone { .. }, Err(ReadError::Gone)) if gone_kinds.contains(&awaited.kind.group_kind) => WaitStatus::Over,
        (Until::Gone { .. }, Err(error)) => WaitStatus::Waiting(format!("still there: {error}")),
        (Until::Ready | Until::ReadyOrGone, Ok(Some(live))) => match readiness(&live) {
            Readiness::Ready => WaitStatus::Over,
            Readiness::Failed(reason) => WaitStatus::Failed(reason),
            Readiness::Waiting(reason) => WaitStatus::Waiting(reason),
        },
        (Until::Ready, Ok(None)) => WaitStatus::Failed("it no longer exists".to_owned()),
        (Until::Ready | Until::ReadyOrGone, Err(error @ (ReadError::Forbidden(_) | ReadError::Gone))) => {
            WaitStatus::Failed(error.to_string())
        }
        (Until::Ready | Until::ReadyOrGone, Err(error)) => WaitStatus::Waiting(error.to_string()),
    }
}

/// Lists the reasons why an object still exists: its finalizers, and the conditions of a namespace or CRD. The text is
/// untrusted.
fn still_there(live: &Live) -> String {
    let holders = live.holders();
    let held = if holders.is_empty() { String::new() } else { format!(", held by {}", holders.join(", ")) };
    let unasked = if live.is_terminating() { "" } else { ": it is not being deleted" };
    format!("still there{held}{unasked}")
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Fault, root};
    use super::*;
    use crate::object::kinds::Kinds;
    use serde_json::{Value, json};

    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/a/deployments";

    fn awaited(name: &str, until: Until) -> Awaited {
        let kind = Kinds::builtin().get(&GroupKind::new("apps", "Deployment")).unwrap().clone();
        let key = ObjectKey {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: Some("a".into()),
            name: name.into(),
        };
        Awaited { kind, key, until }
    }

    fn gone() -> Until {
        Until::Gone { uid: "u".into() }
    }

    fn body(name: &str, available: u64) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"uid": "u", "generation": 1, "name": name, "namespace": "a"},
            "status": {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": available}})
    }

    async fn look(fake: &Fake, awaited: &[Awaited]) -> Vec<WaitStatus> {
        let awaited: Vec<&Awaited> = awaited.iter().collect();
        fake.cluster().look_at_awaited(&awaited, &root(), &BTreeMap::new()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a8_a_look_tells_what_is_waited_for() {
        let fake = Fake::new();
        fake.set(&format!("{DEPLOYMENTS}/x"), Some(body("x", 0)));
        let waiting = WaitStatus::Waiting("0 of 1 replicas are available".into());
        assert_eq!(look(&fake, &[awaited("x", Until::Ready)]).await, [waiting]);
        fake.set(&format!("{DEPLOYMENTS}/x"), Some(body("x", 1)));
        assert_eq!(look(&fake, &[awaited("x", Until::Ready)]).await, [WaitStatus::Over]);
        let awaited = [awaited("y", Until::Ready), awaited("y", Until::ReadyOrGone), awaited("y", Until::NextLook)];
        let lost = WaitStatus::Failed("it no longer exists".into());
        assert_eq!(look(&fake, &awaited).await, [lost, WaitStatus::Over, WaitStatus::Over]);
    }

    #[tokio::test(start_paused = true)]
    async fn c4_a_look_names_what_holds_an_object() {
        let fake = Fake::new();
        let mut held = body("x", 1);
        held["metadata"]["deletionTimestamp"] = json!("2031-05-06T07:08:09Z");
        held["metadata"]["finalizers"] = json!(["a.dev/hold"]);
        fake.set(&format!("{DEPLOYMENTS}/x"), Some(held));
        let still = WaitStatus::Waiting("still there, held by a.dev/hold".into());
        assert_eq!(look(&fake, &[awaited("x", gone())]).await, [still]);
        // Another client created a new object of this name, so our object is gone.
        assert_eq!(look(&fake, &[awaited("x", Until::Gone { uid: "another".into() })]).await, [WaitStatus::Over]);
        fake.set(&format!("{DEPLOYMENTS}/x"), None);
        assert_eq!(look(&fake, &[awaited("x", gone())]).await, [WaitStatus::Over]);
    }

    #[tokio::test(start_paused = true)]
    async fn c3_a_path_that_is_not_served_is_gone_only_when_discovery_agrees() {
        let fake = Fake::new();
        let unserved = || Fault::ApiAnswer(404, json!("404 page not found"));
        fake.fail(http::Method::GET, "/deployments/x", unserved());
        // Discovery fails too.
        assert!(matches!(look(&fake, &[awaited("x", gone())]).await[..], [WaitStatus::Waiting(_)]));
        let list = json!({"kind": "APIGroupDiscoveryList", "items": []});
        fake.set("/api", Some(list.clone()));
        fake.set("/apis", Some(list));
        fake.fail(http::Method::GET, "/deployments/x", unserved());
        assert_eq!(look(&fake, &[awaited("x", gone())]).await, [WaitStatus::Over]);
    }

    #[tokio::test(start_paused = true)]
    async fn r14_many_are_listed_and_what_the_list_lacks_is_read() {
        let fake = Fake::new();
        let all: Vec<Awaited> = (0..100).map(|number| awaited(&format!("d{number}"), gone())).collect();
        let items: Vec<Value> = (0..98).map(|number| body(&format!("d{number}"), 1)).collect();
        fake.set(DEPLOYMENTS, Some(json!({"metadata": {}, "items": items})));
        // The list is no proof. This object exists but has lost its label.
        fake.set(&format!("{DEPLOYMENTS}/d98"), Some(body("d98", 1)));
        let sights = look(&fake, &all).await;
        let over: Vec<usize> = (0..100).filter(|index| sights[*index] == WaitStatus::Over).collect();
        assert_eq!(over, [99]);
        assert_eq!(fake.journal().len(), 3, "{:#?}", fake.journal());
        // Five objects of a thousand are read one by one.
        let few: Vec<&Awaited> = all.iter().take(5).collect();
        let owned = BTreeMap::from([(GroupKind::new("apps", "Deployment"), 1_000)]);
        fake.cluster().look_at_awaited(&few, &root(), &owned).await;
        assert_eq!(fake.journal().len(), 8, "{:#?}", fake.journal());
    }
}

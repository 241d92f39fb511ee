//! Waiting: until an applied object is ready, until a deleted one is gone.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connect::Cluster;
use super::observe::ReadError;
use super::readiness::{Readiness, is_waited_for, readiness};
use crate::object::ident::ObjectKey;
use crate::object::kinds::Kind;
use crate::object::live::Live;

/// Why an object is not ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotReady {
    /// What it waits for, or what failed. May hold a controller's words: untrusted.
    pub reason: String,
}

/// An object that is still there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("still there{}{}", held_by(.holders), .reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
pub struct StillThere {
    /// The finalizers that hold it, and what a namespace or definition says that it waits for: untrusted words.
    pub holders: Vec<String>,
    /// What else is known about it.
    pub reason: Option<String>,
}

impl Cluster {
    /// Waits until an object is ready, at most for `timeout`. A failure that time does not heal ends it at once.
    pub async fn ready(&self, kind: &Kind, key: &ObjectKey, timeout: Duration) -> Result<(), NotReady> {
        if !is_waited_for(&key.group_kind()) {
            return Ok(());
        }
        let mut polls = Polls::within(timeout);
        loop {
            let reason = match self.get(kind, key).await {
                Ok(Some(live)) => match readiness(&live) {
                    Readiness::Ready => return Ok(()),
                    Readiness::Failed(reason) => return Err(NotReady { reason }),
                    Readiness::Waiting(reason) => reason,
                },
                Ok(None) => return Err(NotReady { reason: "it does not exist any more".to_owned() }),
                Err(error @ (ReadError::Forbidden(_) | ReadError::Gone)) => {
                    return Err(NotReady { reason: error.to_string() });
                }
                Err(error) => error.to_string(),
            };
            if !polls.next().await {
                return Err(NotReady { reason: format!("not ready after {} s: {reason}", timeout.as_secs()) });
            }
        }
    }

    /// Waits until the object of this uid is gone, at most for `timeout`. Another object of its name does not count.
    pub async fn gone(&self, kind: &Kind, key: &ObjectKey, uid: &str, timeout: Duration) -> Result<(), StillThere> {
        let mut polls = Polls::within(timeout);
        loop {
            let still = match self.get(kind, key).await {
                Ok(None) => return Ok(()),
                Ok(Some(live)) if live.uid() != uid => return Ok(()),
                Ok(Some(live)) => describe(&live),
                // A path that is not served proves nothing by itself; a healthy discovery without the kind does.
                Err(ReadError::Gone) if self.is_kind_gone(kind).await => return Ok(()),
                Err(error) => StillThere { holders: Vec::new(), reason: Some(error.to_string()) },
            };
            if !polls.next().await {
                return Err(still);
            }
        }
    }

    async fn is_kind_gone(&self, kind: &Kind) -> bool {
        self.discover()
            .await
            .is_ok_and(|kinds| kinds.is_conclusive_for(&kind.group_kind.group) && kinds.get(&kind.group_kind).is_none())
    }
}

/// Pauses that grow, until the time is up.
struct Polls {
    end: Instant,
    pause: Duration,
}

impl Polls {
    fn within(timeout: Duration) -> Self {
        Self { end: Instant::now() + timeout, pause: Duration::from_millis(100) }
    }

    /// Pauses before another look; false when there is no time for one.
    async fn next(&mut self) -> bool {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 3 / 2).min(Duration::from_secs(2));
        true
    }
}

fn describe(live: &Live) -> StillThere {
    StillThere {
        holders: live.holders().into_iter().map(str::to_owned).collect(),
        reason: (!live.is_terminating()).then(|| "it is not being deleted".to_owned()),
    }
}

fn held_by(holders: &[String]) -> String {
    if holders.is_empty() { String::new() } else { format!(", held by {}", holders.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;
    use crate::object::ident::GroupKind;
    use crate::object::kinds::Kinds;
    use serde_json::{Value, json};

    const PATH: &str = "/apis/apps/v1/namespaces/a/deployments/x";
    const MINUTE: Duration = Duration::from_mins(1);

    fn kind() -> Kind {
        Kinds::builtin().get(&GroupKind::new("apps", "Deployment")).unwrap().clone()
    }

    fn key() -> ObjectKey {
        ObjectKey { group: "apps".into(), kind: "Deployment".into(), namespace: Some("a".into()), name: "x".into() }
    }

    fn body(available: u64) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"uid": "u", "generation": 1},
            "status": {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": available}})
    }

    /// Sets the object after a while.
    fn later(fake: &Fake, seconds: u64, object: Option<Value>) {
        let fake = fake.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(seconds)).await;
            fake.set(PATH, object);
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a8_waits_until_ready_and_says_what_for_when_it_gives_up() {
        let fake = Fake::new();
        fake.set(PATH, Some(body(0)));
        later(&fake, 30, Some(body(1)));
        let cluster = fake.cluster();
        let early = cluster.ready(&kind(), &key(), Duration::from_secs(10)).await;
        assert_eq!(early.unwrap_err().reason, "not ready after 10 s: 0 of 1 replicas are available");
        let started = Instant::now();
        cluster.ready(&kind(), &key(), MINUTE).await.unwrap();
        assert!(started.elapsed() <= Duration::from_secs(22), "{:?}", started.elapsed());
        // Polls get rarer.
        assert!(fake.journal().len() < 40, "{}", fake.journal().len());
        fake.set(PATH, None);
        assert!(cluster.ready(&kind(), &key(), MINUTE).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn c4_waits_until_gone_and_names_what_holds_it() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let mut held = body(1);
        held["metadata"]["deletionTimestamp"] = json!("2031-05-06T07:08:09Z");
        held["metadata"]["finalizers"] = json!(["a.dev/hold"]);
        fake.set(PATH, Some(held));
        let still = cluster.gone(&kind(), &key(), "u", MINUTE).await.unwrap_err();
        assert_eq!(still.to_string(), "still there, held by a.dev/hold");
        // Someone made a new one: ours is gone.
        assert_eq!(cluster.gone(&kind(), &key(), "another", MINUTE).await, Ok(()));
        later(&fake, 5, None);
        assert_eq!(cluster.gone(&kind(), &key(), "u", MINUTE).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn c3_a_path_that_is_not_served_is_gone_only_when_discovery_agrees() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let unserved = || super::super::fake::Fault::Answer(404, json!("404 page not found"));
        for _ in 0..9 {
            fake.fail(http::Method::GET, "/deployments/x", unserved());
        }
        // Discovery fails as well.
        assert!(cluster.gone(&kind(), &key(), "u", Duration::from_millis(300)).await.is_err());
        let list = json!({"kind": "APIGroupDiscoveryList", "items": []});
        fake.set("/api", Some(list.clone()));
        fake.set("/apis", Some(list));
        fake.fail(http::Method::GET, "/deployments/x", unserved());
        assert_eq!(cluster.gone(&kind(), &key(), "u", MINUTE).await, Ok(()));
    }
}

//! Deletes exactly the object that was read, under a held lock.

use http::StatusCode;
use serde_json::Value;

use super::apply::ObjectError;
use super::connect::Cluster;
use super::lock::HeldLock;
use super::request::{self, Call, Effect};
use crate::object::ident::ObjectKey;
use crate::object::kinds::Kind;
use crate::object::refusal::Refusal;

/// The result of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// The object no longer exists.
    Gone,
    /// The object is being deleted. Finalizers or a grace period delay this.
    Terminating,
}

impl Cluster {
    /// Deletes an object, if it has this uid and this resourceVersion.
    ///
    /// # Errors
    ///
    /// The server refuses the deletion, the object has changed, or the lock is lost.
    pub async fn delete(
        &self,
        lock: &HeldLock,
        kind: &Kind,
        key: &ObjectKey,
        uid: &str,
        resource_version: &str,
    ) -> Result<Deletion, ObjectError> {
        if uid.is_empty() || resource_version.is_empty() {
            return Err(Refusal::Invalid(format!("{key} has no uid or resourceVersion to delete it by")).into());
        }
        let path = request::object(kind, key)?;
        let answer = self.exchange(lock, Call::delete(path, uid, resource_version, Effect::Real)).await?;
        if answer.is_missing_object() {
            return Ok(Deletion::Gone);
        }
        // An earlier copy of this request may have changed the object. Then it has the same uid and is being deleted.
        if answer.status == StatusCode::CONFLICT
            && answer.after_unknown
            && let Ok(Some(live)) = self.get(kind, key).await
            && live.uid() == uid
            && live.is_terminating()
        {
            return Ok(Deletion::Terminating);
        }
        if !answer.status.is_success() {
            return Err(answer.refusal().into());
        }
        let terminating = answer.status == StatusCode::ACCEPTED
            || answer.json().is_some_and(|body| {
                body.pointer("/metadata/deletionTimestamp").is_some_and(|time| *time != Value::Null)
            });
        Ok(if terminating { Deletion::Terminating } else { Deletion::Gone })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Fault, hold};
    use super::*;
    use crate::object::ident::GroupKind;
    use crate::object::kinds::Kinds;
    use http::Method;
    use serde_json::json;

    const PATH: &str = "/api/v1/namespaces/a/configmaps/x";

    fn kind() -> Kind {
        Kinds::builtin().get(&GroupKind::new("", "ConfigMap")).unwrap().clone()
    }

    fn key() -> ObjectKey {
        ObjectKey { group: String::new(), kind: "ConfigMap".into(), namespace: Some("a".into()), name: "x".into() }
    }

    async fn delete(metadata: Value, uid: &str, fault: Option<Fault>) -> (Result<Deletion, ObjectError>, bool) {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let lock = hold(&cluster, "us").await;
        fake.set(PATH, Some(json!({"metadata": metadata})));
        let version = fake.object(PATH).unwrap()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        if let Some(fault) = fault {
            fake.fail(Method::DELETE, "/configmaps/", fault);
        }
        let deleted = cluster.delete(&lock, &kind(), &key(), uid, &version).await;
        (deleted, fake.object(PATH).is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn c2_exactly_the_object_that_was_looked_at_is_deleted() {
        let plain = json!({"uid": "u"});
        let held = json!({"uid": "u", "finalizers": ["a/b"]});
        assert_eq!(delete(plain.clone(), "u", None).await, (Ok(Deletion::Gone), false));
        assert_eq!(delete(held.clone(), "u", None).await, (Ok(Deletion::Terminating), true));
        let (refused, still) = delete(plain.clone(), "another", None).await;
        assert!(matches!(refused, Err(ObjectError::Refused(Refusal::Changed(_)))) && still);
        let (refused, still) = delete(plain.clone(), "", None).await;
        assert!(matches!(refused, Err(ObjectError::Refused(Refusal::Invalid(_)))) && still);
        let fake = Fake::new();
        let (cluster, stale) = (fake.cluster(), json!({"metadata": {"uid": "u"}}));
        let lock = hold(&cluster, "us").await;
        fake.set(PATH, Some(stale));
        let refused = cluster.delete(&lock, &kind(), &key(), "u", "1").await;
        assert!(matches!(refused, Err(ObjectError::Refused(Refusal::Changed(_)))) && fake.object(PATH).is_some());
        // A change by our own request, whose answer was lost, does not count as a change by another client.
        assert_eq!(delete(plain, "u", Some(Fault::LoseAnswer)).await, (Ok(Deletion::Gone), false));
        assert_eq!(delete(held, "u", Some(Fault::LoseAnswer)).await, (Ok(Deletion::Terminating), true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_not_served_is_no_proof_of_deletion() {
        let answer = Fault::ApiAnswer(404, json!("404 page not found"));
        let (refused, _) = delete(json!({"uid": "u"}), "u", Some(answer)).await;
        assert!(matches!(refused, Err(ObjectError::Refused(Refusal::NoKind(_)))), "{refused:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn p1_trying_a_deletion_deletes_nothing() {
        let fake = Fake::new();
        fake.set(PATH, Some(json!({"metadata": {"uid": "u"}})));
        let before = fake.object(PATH).unwrap();
        let version = before["metadata"]["resourceVersion"].as_str().unwrap();
        fake.cluster().try_delete(&kind(), &key(), "u", version).await.unwrap();
        assert_eq!(fake.object(PATH), Some(before));
    }
}

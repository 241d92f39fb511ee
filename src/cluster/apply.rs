//! Changes objects under a held lock: server-side apply, and the changes that must come before it.

use serde_json::{Value, json};

use super::connect::Cluster;
use super::error::ClusterError;
use super::gate::Permit;
use super::lock::HeldLock;
use super::path::ResourcePath;
use super::request::{self, Call, Effect};
use super::transport::{ApiAnswer, SendError};
use crate::object::ident::ObjectKey;
use crate::object::kinds::Kind;
use crate::object::live::Live;
use crate::object::mark::Root;
use crate::object::refusal::Refusal;

/// A resourceVersion that no object has. The server's store starts at this revision, and every object has a later one.
const NO_VERSION: &str = "1";

/// The result of an apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// `true` if the apply created the object.
    pub created: bool,
    /// The object after the apply.
    pub live: Live,
}

/// The reason why an object was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The server refused the request, or did not answer.
    #[error("{0}")]
    Refused(Refusal),
    /// The lock is lost. Nothing was sent, and nothing more may be sent.
    #[error("the lock is lost")]
    LockLost,
}

impl From<Refusal> for ObjectError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Cluster {
    /// Applies an object. If the body has a `metadata.uid`, only the object with this uid can be updated, and nothing
    /// can be created.
    ///
    /// The caller must check the result. An object that is being deleted can be applied and disappears anyway. If a
    /// planned create created nothing, another client created the object first.
    ///
    /// # Errors
    ///
    /// The server refuses the apply, or the lock is lost.
    pub async fn apply(&self, lock: &HeldLock, kind: &Kind, body: &Value, root: &Root) -> Result<Applied, ObjectError> {
        let path = request::described(kind, body)?;
        let answer = self.change(lock, Call::apply(&path, body, root, Effect::Real)).await?;
        let live = answer.object()?;
        let is_update = body.pointer("/metadata/uid").is_some_and(|uid| !uid.is_null());
        // The request that created the object may be an earlier copy whose answer was lost.
        let created = answer.status == http::StatusCode::CREATED
            || answer.after_unknown && !is_update && has_no_other_manager(&live, root);
        Ok(Applied { created, live })
    }

    /// Creates an object. If the object exists, it does not change, and the result is a conflict.
    ///
    /// The body has a resourceVersion that no object has. The server ignores it if the object does not exist, and
    /// refuses the apply if it does.
    ///
    /// # Errors
    ///
    /// The server refuses the create, the object exists, or the lock is lost.
    pub async fn create(&self, lock: &HeldLock, kind: &Kind, body: &Value, root: &Root) -> Result<Live, ObjectError> {
        let mut body = body.clone();
        body["metadata"]["resourceVersion"] = json!(NO_VERSION);
        self.apply(lock, kind, &body, root).await.map(|applied| applied.live)
    }

    /// Replaces the managed fields of an object and nothing else, if the object has not changed since it was read.
    ///
    /// Fields that another tool owns become ours this way, so that an apply can remove them.
    pub(crate) async fn replace_managed_fields(
        &self,
        lock: &HeldLock,
        kind: &Kind,
        observed: (&ObjectKey, &Live),
        managed_fields: &Value,
        root: &Root,
    ) -> Result<Live, ObjectError> {
        let operation = json!({"op": "replace", "path": "/metadata/managedFields", "value": managed_fields});
        self.patch(lock, kind, observed, &[operation], root).await
    }

    /// Applies a JSON patch as the root's field manager, if the object has not changed since it was read.
    ///
    /// # Errors
    ///
    /// The server refuses the patch, the object has changed, or the lock is lost.
    pub async fn patch(
        &self,
        lock: &HeldLock,
        kind: &Kind,
        observed: (&ObjectKey, &Live),
        operations: &[Value],
        root: &Root,
    ) -> Result<Live, ObjectError> {
        let (key, live) = observed;
        let path = request::object(kind, key)?;
        let same = json!({"op": "test", "path": "/metadata/uid", "value": live.uid()});
        let unchanged = json!({"op": "replace", "path": "/metadata/resourceVersion", "value": live.resource_version()});
        let operations: Vec<&Value> = [&same].into_iter().chain(operations).chain([&unchanged]).collect();
        let answer = self.change(lock, Call::json_patch(&path, &json!(operations), root, Effect::Real)).await?;
        Ok(answer.object()?)
    }

    /// Creates a namespace without any mark if it does not exist.
    ///
    /// This is the only call that changes a cluster without a lock, because the Lease of the lock needs its namespace
    /// first. If the namespace exists, the call changes nothing.
    pub(crate) async fn ensure_namespace(&self, name: &str) -> Result<(), ClusterError> {
        let operation = format!("create the namespace {name}");
        let path = ResourcePath::namespaces().named(name);
        let present = self.wire.send(&Call::get(path)).await.map_err(|error| self.wire.failed(&operation, error))?;
        // A user without permission to read namespaces usually cannot create one. The next request shows if the
        // namespace exists.
        if present.status.is_success() || present.status == http::StatusCode::FORBIDDEN {
            return Ok(());
        }
        if !present.is_missing_object() {
            return Err(self.wire.refused(&operation, &present));
        }
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let call = Call::post(ResourcePath::namespaces(), &body).permitted(Permit::Namespace);
        let answer = self.wire.send(&call).await.map_err(|error| self.wire.failed(&operation, error))?;
        if answer.status.is_success() || answer.status == http::StatusCode::CONFLICT {
            return Ok(());
        }
        Err(self.wire.refused(&operation, &answer))
    }

    /// Sends a request under the lock. An answer that is not a success is an error.
    pub(super) async fn change(&self, lock: &HeldLock, call: Call) -> Result<ApiAnswer, ObjectError> {
        let target = call.target.clone();
        let answer = self.exchange(lock, call).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(answer.refusal_of(&target).into()) }
    }

    /// Sends a request under the lock, and returns any answer.
    pub(super) async fn exchange(&self, lock: &HeldLock, call: Call) -> Result<ApiAnswer, ObjectError> {
        match lock.wire().send(&call.permitted(lock.permit())).await {
            Ok(answer) => Ok(answer),
            Err(SendError::Fenced) => Err(ObjectError::LockLost),
            Err(error) => Err(error.into_refusal().into()),
        }
    }
}

/// Returns `true` if we own all managed fields of the object, apart from those of subresources.
fn has_no_other_manager(live: &Live, root: &Root) -> bool {
    let manager = root.field_manager();
    let text = |entry: &Value, field| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let entries = live.body.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .all(|entry| text(entry, "manager") == manager || !text(entry, "subresource").is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Fault, hold, message, root};
    use super::*;
    use crate::object::ident::GroupKind;
    use crate::object::kinds::Kinds;
    use http::Method;
    use proptest::prelude::*;

    const PATH: &str = "/api/v1/namespaces/a/configmaps/x";

    fn kind() -> Kind {
        Kinds::builtin().get(&GroupKind::new("", "ConfigMap")).unwrap().clone()
    }

    fn body() -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "a"}})
    }

    #[tokio::test(start_paused = true)]
    async fn an_apply_forces_nothing_and_a_dry_run_changes_nothing() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        assert!(cluster.try_apply(&kind(), &body(), &root()).await.unwrap().created);
        cluster.try_as_new(&kind(), &body(), &root()).await.unwrap();
        assert_eq!(fake.object(PATH), None);
        let lock = hold(&cluster, "us").await;
        assert!(cluster.apply(&lock, &kind(), &body(), &root()).await.unwrap().created);
        assert!(!cluster.apply(&lock, &kind(), &body(), &root()).await.unwrap().created);
        let query = "fieldManager=ktor-demo&fieldValidation=Strict&force=false";
        let journal = fake.journal();
        assert_eq!(journal[0], format!("PATCH {PATH}&{query}&dryRun=All"));
        assert_eq!(*journal.last().unwrap(), format!("PATCH {PATH}&{query}"));
    }

    #[tokio::test(start_paused = true)]
    async fn x9_a_create_leaves_what_exists_as_it_is() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let lock = hold(&cluster, "us").await;
        let live = cluster.create(&lock, &kind(), &body(), &root()).await.unwrap();
        assert!(!live.uid().is_empty());
        let before = fake.object(PATH);
        let again = cluster.create(&lock, &kind(), &body(), &root()).await;
        assert!(matches!(again, Err(ObjectError::Refused(Refusal::Changed(_)))), "{again:?}");
        assert_eq!(fake.object(PATH), before);
    }

    #[tokio::test(start_paused = true)]
    async fn a12_a_create_whose_answer_was_lost_is_still_ours() {
        for (manager, created) in [("ktor-demo", true), ("someone", false)] {
            let fake = Fake::new();
            let cluster = fake.cluster();
            let lock = hold(&cluster, "us").await;
            let mut body = body();
            body["metadata"]["managedFields"] = json!([
                {"manager": manager, "operation": "Apply"},
                {"manager": "controller", "operation": "Update", "subresource": "status"}]);
            fake.fail(Method::PATCH, "/configmaps/", Fault::LoseAnswer);
            let applied = cluster.apply(&lock, &kind(), &body, &root()).await.unwrap();
            assert_eq!(applied.created, created, "{manager}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a11_the_manifests_mistake_fails_at_once_and_a_webhook_is_asked_again() {
        let typed =
            "failed to create typed patch object (a/x; v1, Kind=ConfigMap): .spec: field not declared in schema";
        let hook = "Internal error occurred: failed calling webhook \"w.x\": connection refused";
        for (answer, times, attempts) in [(message("", typed), 1, 1), (message("InternalError", hook), 9, 7)] {
            let fake = Fake::new();
            let cluster = fake.cluster();
            let lock = hold(&cluster, "us").await;
            for _ in 0..times {
                fake.fail(Method::PATCH, "/configmaps/", Fault::ApiAnswer(500, answer.clone()));
            }
            let refused = cluster.apply(&lock, &kind(), &body(), &root()).await.unwrap_err();
            let sent = fake.journal().iter().filter(|line| line.starts_with("PATCH")).count();
            assert_eq!(sent, attempts);
            assert!(refused.to_string().contains(answer["message"].as_str().unwrap()), "{refused}");
            let ObjectError::Refused(refusal) = refused else { panic!("{refused}") };
            assert_eq!(matches!(refusal, Refusal::Malformed(_)), attempts == 1);
        }
    }

    /// The message of a 500, and `true` if a retry may help.
    fn five_hundreds() -> impl Strategy<Value = (String, bool)> {
        let field = "(\\.[a-z][a-zA-Z]{0,8}){1,4}(\\[name=\"[a-z]{1,4}\"\\])?";
        let wrong = prop::sample::select(vec![
            "field not declared in schema",
            "expected map, got &{[]}",
            "element 0: associative list with keys has an element that omits key field \"name\"",
        ]);
        let about = (field, wrong).prop_map(|(field, wrong)| format!("{field}: {wrong}"));
        let several = prop::collection::vec(about.clone(), 2..4);
        let several = several.prop_map(|lines| format!("errors:\n  {}", lines.join("\n  ")));
        let framed = prop::sample::select(vec![
            "failed to create typed patch object",
            "failed to create typed live object",
            "failed to convert live object",
            "failed to convert new object",
            "failed to convert merged object",
            "failed to prune fields",
            "failed to update ManagedFields",
        ]);
        let framed = (framed, "[a-z]{1,9}", about.clone())
            .prop_map(|(frame, name, about)| format!("{frame} (a/{name}; shop.dev/v1, Kind=Till): {about}"));
        let large = prop::sample::select(vec![
            "etcdserver: request is too large",
            "rpc error: code = ResourceExhausted desc = grpc: trying to send message larger than max (3145730 vs. 2097152)",
        ]);
        let passing = prop::sample::select(vec![
            "etcdserver: request timed out",
            "etcdserver: leader changed",
            "context deadline exceeded",
            "rpc error: code = Unavailable desc = transport is closing",
            "http2: client connection lost",
            "Internal error occurred: failed calling webhook \"w.x\": connection refused",
            "",
        ]);
        prop_oneof![
            about.prop_map(|text| (text, true)),
            several.prop_map(|text| (text, true)),
            framed.prop_map(|text| (text, true)),
            large.prop_map(|text| (text.to_owned(), true)),
            passing.prop_map(|text| (text.to_owned(), false)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn r3_final_answers_are_told_at_once_and_leave_nothing_in_flight((text, is_final) in five_hundreds()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let fake = Fake::new();
                let cluster = fake.cluster();
                let lock = hold(&cluster, "us").await;
                for _ in 0..9 {
                    fake.fail(Method::PATCH, "/configmaps/", Fault::ApiAnswer(500, message("", &text)));
                }
                let refused = cluster.apply(&lock, &kind(), &body(), &root()).await.unwrap_err();
                let sent = fake.journal().iter().filter(|line| line.starts_with("PATCH")).count();
                assert_eq!(sent, if is_final { 1 } else { 7 }, "{text}");
                let words = refused.to_string();
                assert_eq!(words.contains("no answer"), !is_final, "{words}");
                let first = text.lines().last().unwrap_or_default().trim();
                assert!(words.contains(first), "{words}");
                assert!(!is_final || !lock.has_unanswered(), "{text}");
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_namespace_is_created_once() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        cluster.ensure_namespace("kube-state").await.unwrap();
        let made = fake.object("/api/v1/namespaces/kube-state").unwrap();
        assert_eq!(made["metadata"]["labels"], Value::Null);
        cluster.ensure_namespace("kube-state").await.unwrap();
        assert_eq!(fake.journal().iter().filter(|line| line.starts_with("POST")).count(), 1);
    }
}

//! The Secrets with a root's state and its review key, as raw data. They are written by compare-and-swap. The domain
//! interprets the data.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use serde_json::{Value, json};

use super::apply::ObjectError;
use super::connect::Cluster;
use super::lock::HeldLock;
use super::path::ResourcePath;
use super::request::Call;
use super::transport::{ApiAnswer, SendError};
use crate::object::live::Live;
use crate::object::mark::Root;
use crate::object::read_error::ReadError;
use crate::object::refusal::Refusal;
use crate::state::annotation::SECRET_TYPE;

/// The type of the state's Secret.
#[cfg(test)]
const TYPE: &str = Which::State.secret_type();

/// The key of the previous review key in the data of its Secret. To rotate the key, a person moves `key` to it. The
/// next apply then makes a new key.
const PREVIOUS_KEY: &str = "previous";

/// The purpose of the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    State,
    ReviewKey,
}

impl Which {
    fn name(self, root: &Root) -> String {
        match self {
            Self::State => root.state_name(),
            Self::ReviewKey => root.review_key_name(),
        }
    }

    const fn secret_type(self) -> &'static str {
        match self {
            Self::State => SECRET_TYPE,
            Self::ReviewKey => "kubernator.io/ktor-review-key",
        }
    }

    /// The key in the Secret's data.
    const fn key(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::ReviewKey => "key",
        }
    }
}

/// A stored Secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StoredState {
    /// The content of the key, decoded from base64 and not decompressed. It is empty if the key is missing.
    pub data: Vec<u8>,
    /// The previous review key, if the Secret is one of a review key and has it. Plans that were signed with it still
    /// count.
    pub previous_key: Option<Vec<u8>>,
    /// The annotations of the Secret.
    pub annotations: BTreeMap<String, String>,
    /// The type of the Secret.
    pub secret_type: String,
    /// The uid of the Secret, from `metadata.uid`.
    pub uid: String,
    /// The resourceVersion of the Secret, from `metadata.resourceVersion`.
    pub resource_version: String,
}

/// Formats the Secret without its data, because the data may be secret.
impl std::fmt::Debug for StoredState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredState")
            .field("bytes", &self.data.len())
            .field("uid", &self.uid)
            .field("resource_version", &self.resource_version)
            .finish_non_exhaustive()
    }
}

/// The reason why a Secret was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateWriteError {
    /// Another client wrote the Secret after it was read. That content stays.
    #[error("write the state: another client changed it in the meantime; run again")]
    Conflict,
    /// The lock is lost. Nothing was sent.
    #[error("write the state: the lock is lost")]
    LockLost,
    /// The server refused the write.
    #[error("write the state: {0}")]
    Refused(Refusal),
    /// There is no answer, and the current content does not show if the write took effect.
    #[error("write the state: no answer, so it may or may not be written ({0})")]
    Unanswered(String),
}

impl Cluster {
    /// Reads the state of a root. Returns `None` if the Secret or its namespace does not exist.
    pub(crate) async fn read_state(&self, namespace: &str, root: &Root) -> Result<Option<StoredState>, ReadError> {
        self.read_secret(Which::State, namespace, root).await
    }

    /// Reads the review key of a root. Returns `None` if the Secret or its namespace does not exist.
    pub(crate) async fn read_review_key(&self, namespace: &str, root: &Root) -> Result<Option<StoredState>, ReadError> {
        self.read_secret(Which::ReviewKey, namespace, root).await
    }

    async fn read_secret(&self, which: Which, namespace: &str, root: &Root) -> Result<Option<StoredState>, ReadError> {
        let call = Call::get(ResourcePath::secrets(namespace).named(&which.name(root)));
        let answer = self.wire.send(&call).await.map_err(SendError::into_read_error)?;
        if answer.is_missing_object() {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(answer.read_error());
        }
        stored(which, &answer).map(Some)
    }

    /// Writes the state of a root if it has not changed since `previous` was read. If `previous` is `None`, the Secret
    /// must not exist.
    pub(crate) async fn write_state(
        &self,
        lock: &HeldLock,
        namespace: &str,
        root: &Root,
        data: &[u8],
        annotations: &BTreeMap<String, String>,
        previous: Option<&StoredState>,
    ) -> Result<StoredState, StateWriteError> {
        let place = (Which::State, namespace, root);
        self.write_secret(lock, place, data, annotations, previous).await
    }

    /// Writes the review key of a root if it has not changed since `previous` was read. If `previous` is `None`, the
    /// Secret must not exist.
    pub(crate) async fn write_review_key(
        &self,
        lock: &HeldLock,
        namespace: &str,
        root: &Root,
        data: &[u8],
        annotations: &BTreeMap<String, String>,
        previous: Option<&StoredState>,
    ) -> Result<StoredState, StateWriteError> {
        let place = (Which::ReviewKey, namespace, root);
        self.write_secret(lock, place, data, annotations, previous).await
    }

    async fn write_secret(
        &self,
        lock: &HeldLock,
        place: (Which, &str, &Root),
        data: &[u8],
        annotations: &BTreeMap<String, String>,
        previous: Option<&StoredState>,
    ) -> Result<StoredState, StateWriteError> {
        let (which, namespace, root) = place;
        let mut secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": which.name(root), "namespace": namespace, "annotations": annotations},
            "type": which.secret_type(),
            "data": {which.key(): BASE64.encode(data)},
        });
        let call = match previous {
            None => Call::post(ResourcePath::secrets(namespace), &secret),
            Some(previous) => {
                if let Some(key) = &previous.previous_key {
                    secret["data"][PREVIOUS_KEY] = json!(BASE64.encode(key));
                }
                secret["metadata"]["uid"] = json!(previous.uid);
                secret["metadata"]["resourceVersion"] = json!(previous.resource_version);
                // The type of a Secret cannot be changed. If it is wrong, the reader refuses the Secret.
                secret["type"] = json!(previous.secret_type);
                Call::put(ResourcePath::secrets(namespace).named(&which.name(root)), &secret)
            }
        };
        // A retry is safe, because the compare-and-swap accepts only one of the copies.
        let answer = match self.exchange(lock, call).await {
            Ok(answer) => answer,
            Err(ObjectError::LockLost) => return Err(StateWriteError::LockLost),
            Err(ObjectError::Refused(Refusal::Unavailable(failure))) => {
                return self.settle(place, data, annotations, failure).await;
            }
            Err(ObjectError::Refused(refusal)) => return Err(StateWriteError::Refused(refusal)),
        };
        match answer.status {
            status if status.is_success() => {
                stored(which, &answer).map_err(|error| StateWriteError::Unanswered(error.to_string()))
            }
            // An earlier copy of this request may have succeeded.
            StatusCode::CONFLICT if answer.after_unknown => {
                match self.settle(place, data, annotations, String::new()).await {
                    Err(StateWriteError::Unanswered(failure)) if failure.is_empty() => Err(StateWriteError::Conflict),
                    settled => settled,
                }
            }
            StatusCode::CONFLICT => Err(StateWriteError::Conflict),
            // The Secret was deleted after it was read.
            StatusCode::NOT_FOUND if previous.is_some() && answer.is_missing_object() => Err(StateWriteError::Conflict),
            _ if !answer.is_definite() => self.settle(place, data, annotations, answer.words()).await,
            _ => Err(StateWriteError::Refused(answer.refusal())),
        }
    }

    /// Checks if a write without an answer took effect. It did if the Secret has exactly the written data and
    /// annotations.
    async fn settle(
        &self,
        (which, namespace, root): (Which, &str, &Root),
        data: &[u8],
        annotations: &BTreeMap<String, String>,
        failure: String,
    ) -> Result<StoredState, StateWriteError> {
        match self.read_secret(which, namespace, root).await {
            Ok(Some(found)) if found.data == data && found.annotations == *annotations => Ok(found),
            Ok(_) => Err(StateWriteError::Unanswered(failure)),
            Err(error) => Err(StateWriteError::Unanswered(error.to_string())),
        }
    }
}

fn stored(which: Which, answer: &ApiAnswer) -> Result<StoredState, ReadError> {
    let live = answer.object().map_err(|refusal| ReadError::Unavailable(refusal.to_string()))?;
    let decoded = |key: &str| {
        let encoded = live.body.get("data").and_then(|data| data.get(key)?.as_str());
        let decoded = encoded.map(|encoded| BASE64.decode(encoded)).transpose();
        decoded.map_err(|_| ReadError::Unavailable("the state's Secret does not hold base64".to_owned()))
    };
    let previous_key = if which == Which::ReviewKey { decoded(PREVIOUS_KEY)? } else { None };
    Ok(StoredState {
        data: decoded(which.key())?.unwrap_or_default(),
        previous_key: previous_key.filter(|key| !key.is_empty()),
        annotations: texts(&live, "annotations"),
        secret_type: live.body.get("type").and_then(Value::as_str).unwrap_or_default().to_owned(),
        uid: live.uid().to_owned(),
        resource_version: live.resource_version().to_owned(),
    })
}

/// The strings in a mapping of the metadata.
pub(super) fn texts(live: &Live, field: &str) -> BTreeMap<String, String> {
    let texts = live.body.get("metadata").and_then(|metadata| metadata.get(field)?.as_object());
    texts.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Fault, hold, root};
    use super::*;
    use http::Method;

    const SECRET: &str = "/api/v1/namespaces/kube-state/secrets/kubernator-project-89e495e7941c";

    fn annotations() -> BTreeMap<String, String> {
        BTreeMap::from([("kubernator.io/project-root".to_owned(), "demo".to_owned())])
    }

    async fn write(
        cluster: &Cluster,
        lock: &HeldLock,
        data: &[u8],
        previous: Option<&StoredState>,
    ) -> Result<StoredState, StateWriteError> {
        cluster.write_state(lock, "kube-state", &root(), data, &annotations(), previous).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_is_written_and_read_back() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        assert_eq!(cluster.read_state("kube-state", &root()).await, Ok(None));
        let lock = hold(&cluster, "us").await;
        let first = write(&cluster, &lock, &[0, 159, 146, 150], None).await.unwrap();
        let second = write(&cluster, &lock, b"second", Some(&first)).await.unwrap();
        assert_eq!(cluster.read_state("kube-state", &root()).await, Ok(Some(second.clone())));
        assert_eq!((second.data.as_slice(), second.secret_type.as_str()), (b"second".as_slice(), TYPE));
        assert_eq!((&second.uid, second.annotations), (&first.uid, annotations()));
    }

    #[tokio::test(start_paused = true)]
    async fn someone_elses_state_is_never_overwritten() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let lock = hold(&cluster, "us").await;
        let first = write(&cluster, &lock, b"first", None).await.unwrap();
        assert_eq!(write(&cluster, &lock, b"x", None).await, Err(StateWriteError::Conflict));
        let mut theirs = fake.object(SECRET).unwrap();
        theirs["data"]["state"] = json!(BASE64.encode(b"theirs"));
        fake.set(SECRET, Some(theirs));
        assert_eq!(write(&cluster, &lock, b"x", Some(&first)).await, Err(StateWriteError::Conflict));
        assert_eq!(cluster.read_state("kube-state", &root()).await.unwrap().unwrap().data, b"theirs");
        fake.set(SECRET, None);
        assert_eq!(write(&cluster, &lock, b"x", Some(&first)).await, Err(StateWriteError::Conflict));
        assert_eq!(fake.object(SECRET), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_whose_answer_was_lost_counts_only_as_what_is_there() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let lock = hold(&cluster, "us").await;
        fake.fail(Method::POST, "/secrets", Fault::LoseAnswer);
        let first = write(&cluster, &lock, b"first", None).await.unwrap();
        fake.fail(Method::PUT, "/secrets/", Fault::LoseAnswer);
        let second = write(&cluster, &lock, b"second", Some(&first)).await.unwrap();
        assert_eq!(second.data, b"second");
        // No request arrives, while the lease continues.
        for _ in 0..99 {
            fake.fail(Method::PUT, "/secrets/", Fault::Reset);
        }
        let third = write(&cluster, &lock, b"third", Some(&second)).await;
        assert!(matches!(third, Err(StateWriteError::Unanswered(_))), "{third:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_and_someone_elses_write_is_a_conflict() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let lock = hold(&cluster, "us").await;
        let first = write(&cluster, &lock, b"first", None).await.unwrap();
        let mut theirs = fake.object(SECRET).unwrap();
        theirs["data"]["state"] = json!(BASE64.encode(b"theirs"));
        fake.set(SECRET, Some(theirs));
        fake.fail(Method::PUT, "/secrets/", Fault::Reset);
        assert_eq!(write(&cluster, &lock, b"x", Some(&first)).await, Err(StateWriteError::Conflict));
    }

    #[tokio::test(start_paused = true)]
    async fn without_permission_a_state_is_unknown_not_absent() {
        let fake = Fake::new();
        fake.fail(Method::GET, "/secrets/", Fault::ApiAnswer(403, json!({"kind": "Status", "message": "no"})));
        let read = fake.cluster().read_state("kube-state", &root()).await;
        assert_eq!(read, Err(ReadError::Forbidden("no".to_owned())));
    }

    #[test]
    fn p5_a_states_data_is_in_no_debug_output() {
        let state = StoredState {
            data: b"canary".to_vec(),
            previous_key: None,
            annotations: annotations(),
            secret_type: TYPE.to_owned(),
            uid: "u".to_owned(),
            resource_version: "1".to_owned(),
        };
        assert!(!format!("{state:?}").contains("99, 97"));
    }
}

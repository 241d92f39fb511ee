//! The state's Secret as raw data, written by compare-and-swap. What the data means is the domain's.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use serde_json::{Value, json};

use super::apply::ObjectError;
use super::connect::Cluster;
use super::lock::HeldLock;
use super::observe::ReadError;
use super::request::{Call, escape};
use super::transport::{Answer, SendError};
use crate::object::live::Live;
use crate::object::mark::Root;
use crate::object::refusal::Refusal;

/// The Secret's type.
const TYPE: &str = "kubernator.io/project-state";

/// The key of the Secret's data.
const KEY: &str = "state";

/// A state as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredState {
    /// The content of the key `state`, decoded from base64 and from nothing else; empty where it is missing.
    pub data: Vec<u8>,
    /// The Secret's annotations.
    pub annotations: BTreeMap<String, String>,
    /// The Secret's type.
    pub secret_type: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// Without the data: it is a Secret's.
impl std::fmt::Debug for StoredState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredState")
            .field("bytes", &self.data.len())
            .field("uid", &self.uid)
            .field("resource_version", &self.resource_version)
            .finish_non_exhaustive()
    }
}

/// Why a state was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateWriteError {
    /// Someone else wrote it since it was read; theirs stays.
    #[error("write the state: someone else changed it meanwhile")]
    Conflict,
    /// The lock is lost: nothing was sent.
    #[error("write the state: the lock is lost")]
    LockLost,
    /// The server refused.
    #[error("write the state: {0}")]
    Refused(Refusal),
    /// No answer, and what is there now does not tell either.
    #[error("write the state: no answer, so whether it is written is not known ({0})")]
    Unanswered(String),
}

impl Cluster {
    /// Reads a root's state; nothing where the Secret or its namespace does not exist.
    pub async fn read_state(&self, namespace: &str, root: &Root) -> Result<Option<StoredState>, ReadError> {
        let call = Call::get(format!("{}/{}", secrets(namespace), root.state_name()));
        let answer = self.wire.send(&call).await.map_err(SendError::into_read_error)?;
        if answer.is_missing_object() {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(answer.read_error());
        }
        stored(&answer).map(Some)
    }

    /// Writes a root's state over what was read before, and over nothing else.
    pub async fn write_state(
        &self,
        lock: &HeldLock,
        namespace: &str,
        root: &Root,
        data: &[u8],
        annotations: &BTreeMap<String, String>,
        previous: Option<&StoredState>,
    ) -> Result<StoredState, StateWriteError> {
        let mut secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": root.state_name(), "namespace": namespace, "annotations": annotations},
            "type": TYPE,
            "data": {KEY: BASE64.encode(data)},
        });
        let call = match previous {
            None => Call::post(secrets(namespace), &secret),
            Some(previous) => {
                secret["metadata"]["uid"] = json!(previous.uid);
                secret["metadata"]["resourceVersion"] = json!(previous.resource_version);
                // A Secret's type cannot be changed; another one there is for the reader to refuse.
                secret["type"] = json!(previous.secret_type);
                Call::put(format!("{}/{}", secrets(namespace), root.state_name()), &secret)
            }
        };
        // Sending it again is safe: the compare-and-swap lets only one of the copies in.
        let answer = match self.exchange(lock, call).await {
            Ok(answer) => answer,
            Err(ObjectError::LockLost) => return Err(StateWriteError::LockLost),
            Err(ObjectError::Refused(Refusal::Unavailable(failure))) => {
                return self.settle(namespace, root, data, annotations, failure).await;
            }
            Err(ObjectError::Refused(refusal)) => return Err(StateWriteError::Refused(refusal)),
        };
        match answer.status {
            status if status.is_success() => {
                stored(&answer).map_err(|error| StateWriteError::Unanswered(error.to_string()))
            }
            // The copy that was let in may be one of ours.
            StatusCode::CONFLICT if answer.after_unknown => {
                match self.settle(namespace, root, data, annotations, String::new()).await {
                    Err(StateWriteError::Unanswered(failure)) if failure.is_empty() => Err(StateWriteError::Conflict),
                    settled => settled,
                }
            }
            StatusCode::CONFLICT => Err(StateWriteError::Conflict),
            // Deleted since it was read.
            StatusCode::NOT_FOUND if previous.is_some() && answer.is_missing_object() => Err(StateWriteError::Conflict),
            _ if !answer.is_definite() => self.settle(namespace, root, data, annotations, answer.words()).await,
            _ => Err(StateWriteError::Refused(answer.refusal())),
        }
    }

    /// Looks whether a write without an answer took effect: only if exactly its content is there.
    async fn settle(
        &self,
        namespace: &str,
        root: &Root,
        data: &[u8],
        annotations: &BTreeMap<String, String>,
        failure: String,
    ) -> Result<StoredState, StateWriteError> {
        match self.read_state(namespace, root).await {
            Ok(Some(found)) if found.data == data && found.annotations == *annotations => Ok(found),
            Ok(_) => Err(StateWriteError::Unanswered(failure)),
            Err(error) => Err(StateWriteError::Unanswered(error.to_string())),
        }
    }
}

fn secrets(namespace: &str) -> String {
    format!("/api/v1/namespaces/{}/secrets", escape(namespace))
}

fn stored(answer: &Answer) -> Result<StoredState, ReadError> {
    let live = answer.object().map_err(|refusal| ReadError::Unavailable(refusal.to_string()))?;
    let encoded = live.body.get("data").and_then(|data| data.get(KEY)).and_then(Value::as_str).unwrap_or_default();
    let data = BASE64
        .decode(encoded)
        .map_err(|_| ReadError::Unavailable("the state's Secret does not hold base64".to_owned()))?;
    Ok(StoredState {
        data,
        annotations: annotations(&live),
        secret_type: live.body.get("type").and_then(Value::as_str).unwrap_or_default().to_owned(),
        uid: live.uid().to_owned(),
        resource_version: live.resource_version().to_owned(),
    })
}

fn annotations(live: &Live) -> BTreeMap<String, String> {
    let annotations = live.body.pointer("/metadata/annotations").and_then(Value::as_object);
    annotations
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

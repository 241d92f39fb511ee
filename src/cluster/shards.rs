//! The shards of a state as raw Secrets: they are created once, kept, listed and deleted, and their data never changes.
//! The domain interprets the data.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use serde_json::{Value, json};

use super::apply::ObjectError;
use super::connect::Cluster;
use super::lock::HeldLock;
use super::path::ResourcePath;
use super::request::{Call, Effect};
use super::store::{StateWriteError, texts};
use super::transport::{ApiAnswer, SendError};
use crate::object::live::Live;
use crate::object::read_error::ReadError;

/// The key in the Secret's data.
const KEY: &str = "shard";

/// The annotation that changes whenever a run uses a shard again.
const USED: &str = "kubernator.io/ktor-run";

const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// A shard that will be created.
#[derive(Clone, Debug)]
pub(crate) struct NewShard<'a> {
    /// The name of the Secret.
    pub name: &'a str,
    /// The type of the Secret.
    pub secret_type: &'a str,
    /// The content of the shard.
    pub data: &'a [u8],
    /// The annotations of the Secret.
    pub annotations: BTreeMap<String, String>,
    /// The labels of the Secret.
    pub labels: BTreeMap<String, String>,
}

/// A stored shard.
#[derive(Clone)]
pub(crate) struct StoredShard {
    /// The content, decoded from base64 and not decompressed. It is empty if the key is missing.
    pub data: Vec<u8>,
    /// The annotations of the Secret.
    pub annotations: BTreeMap<String, String>,
    /// The labels of the Secret.
    pub labels: BTreeMap<String, String>,
    /// The type of the Secret.
    pub secret_type: String,
    live: Live,
}

/// The result of creating a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// The shard was created with the given content.
    New,
    /// A Secret with this name already existed.
    Existed,
}

impl Cluster {
    /// Reads a shard. Returns `None` if the Secret or its namespace does not exist.
    pub(crate) async fn read_shard(&self, namespace: &str, name: &str) -> Result<Option<StoredShard>, ReadError> {
        let call = Call::get(ResourcePath::secrets(namespace).named(name));
        let answer = self.wire.send(&call).await.map_err(SendError::into_read_error)?;
        if answer.is_missing_object() {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(answer.read_error());
        }
        let live = answer.object().map_err(|refusal| ReadError::Unavailable(refusal.to_string()))?;
        let encoded = live.body.pointer("/data").and_then(|data| data.get(KEY)).and_then(Value::as_str);
        // Data that is not valid base64 counts as empty, and the reader refuses it.
        let data = BASE64.decode(encoded.unwrap_or_default()).unwrap_or_default();
        let secret_type = live.body.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (annotations, labels) = (texts(&live, "annotations"), texts(&live, "labels"));
        Ok(Some(StoredShard { data, annotations, labels, secret_type, live }))
    }

    /// Creates a shard, unless a Secret with this name exists.
    pub(crate) async fn create_shard(
        &self,
        lock: &HeldLock,
        namespace: &str,
        shard: &NewShard<'_>,
    ) -> Result<Created, StateWriteError> {
        let NewShard { name, secret_type, data, annotations, labels } = shard;
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace, "annotations": annotations, "labels": labels},
            "type": secret_type,
            "immutable": true,
            "data": {KEY: BASE64.encode(data)},
        });
        let answer = self.change_shard(lock, Call::post(ResourcePath::secrets(namespace), &secret)).await?;
        match answer.status {
            status if status.is_success() => Ok(Created::New),
            StatusCode::CONFLICT => Ok(Created::Existed),
            _ => Err(refused(&answer)),
        }
    }

    /// Changes the resourceVersion of a stored shard. A deletion that another run requested earlier can then no longer
    /// delete it.
    ///
    /// A conflict means that the shard is gone or that another client changed it. The caller must read it again.
    pub(crate) async fn keep_shard(
        &self,
        lock: &HeldLock,
        namespace: &str,
        shard: &StoredShard,
        run: &str,
    ) -> Result<(), StateWriteError> {
        let mut secret = shard.live.body.clone();
        secret["metadata"]["annotations"][USED] = json!(format!("{run} after {}", shard.live.resource_version()));
        let name = secret.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let target = ResourcePath::secrets(namespace).named(name);
        let answer = self.change_shard(lock, Call::put(target, &secret)).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => Err(StateWriteError::Conflict),
            _ => Err(refused(&answer)),
        }
    }

    /// Lists the names of all Secrets with this label, of any type.
    pub(crate) async fn list_shards(&self, namespace: &str, label: (&str, &str)) -> Result<Vec<String>, ReadError> {
        let selector = format!("{}={}", label.0, label.1);
        let (mut found, mut next) = (Vec::new(), String::new());
        loop {
            let mut query = vec![("limit", "500"), ("labelSelector", selector.as_str())];
            if !next.is_empty() {
                query.push(("continue", next.as_str()));
            }
            let target = ResourcePath::secrets(namespace).with(&query);
            let answer = self.wire.send(&Call::get(target).accepting(METADATA)).await;
            let answer = answer.map_err(SendError::into_read_error)?;
            if !answer.status.is_success() {
                return Err(answer.read_error());
            }
            let page = answer.json().unwrap_or_default();
            let items = page["items"].as_array().into_iter().flatten();
            found.extend(items.filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)));
            match page["metadata"]["continue"].as_str() {
                Some(from) if !from.is_empty() => from.clone_into(&mut next),
                _ => return Ok(found),
            }
        }
    }

    /// Deletes a shard, if it is the one that was read and has not changed since.
    pub(crate) async fn delete_shard(
        &self,
        lock: &HeldLock,
        namespace: &str,
        name: &str,
        shard: &StoredShard,
    ) -> Result<(), StateWriteError> {
        let target = ResourcePath::secrets(namespace).named(name);
        let call = Call::delete(target, shard.live.uid(), shard.live.resource_version(), Effect::Real);
        let answer = self.change_shard(lock, call).await?;
        if answer.status.is_success() || answer.is_missing_object() { Ok(()) } else { Err(refused(&answer)) }
    }

    async fn change_shard(&self, lock: &HeldLock, call: Call) -> Result<ApiAnswer, StateWriteError> {
        self.exchange(lock, call).await.map_err(|error| match error {
            ObjectError::LockLost => StateWriteError::LockLost,
            ObjectError::Refused(refusal) => StateWriteError::Refused(refusal),
        })
    }
}

fn refused(answer: &ApiAnswer) -> StateWriteError {
    StateWriteError::Refused(answer.refusal())
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, hold};
    use super::*;

    const LABEL: (&str, &str) = ("kubernator.io/ktor-state-shard-of", "89e495e7941c");

    fn shard() -> NewShard<'static> {
        NewShard {
            name: "s-1",
            secret_type: "kubernator.io/project-state-shard",
            data: b"content",
            annotations: BTreeMap::new(),
            labels: BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())]),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn o5_a_shard_that_is_used_again_outlives_every_deletion_asked_for_before() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let lock = hold(&cluster, "us").await;
        assert_eq!(cluster.create_shard(&lock, "kube-state", &shard()).await, Ok(Created::New));
        assert_eq!(cluster.create_shard(&lock, "kube-state", &shard()).await, Ok(Created::Existed));
        assert_eq!(cluster.list_shards("kube-state", LABEL).await, Ok(vec!["s-1".to_owned()]));
        assert_eq!(cluster.list_shards("kube-state", (LABEL.0, "another")).await, Ok(Vec::new()));
        let stored = cluster.read_shard("kube-state", "s-1").await.unwrap().unwrap();
        assert_eq!(stored.data, b"content");
        cluster.keep_shard(&lock, "kube-state", &stored, "run").await.unwrap();
        // A second change from the old content fails, even if the same run makes it.
        assert_eq!(
            cluster.keep_shard(&lock, "kube-state", &stored, "run").await,
            Err(StateWriteError::Conflict),
            "it was looked at before the change"
        );
        assert!(cluster.delete_shard(&lock, "kube-state", "s-1", &stored).await.is_err());
        let fresh = cluster.read_shard("kube-state", "s-1").await.unwrap().unwrap();
        cluster.delete_shard(&lock, "kube-state", "s-1", &fresh).await.unwrap();
        assert!(cluster.read_shard("kube-state", "s-1").await.unwrap().is_none());
    }
}

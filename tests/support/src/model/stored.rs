//! An object of the server. Its text and its hash are made once, when they are first asked for.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::Value;

/// An object as the server stores it. Servers and answers share it.
pub struct Stored {
    object: Value,
    text: OnceLock<Bytes>,
    digest: OnceLock<Digest>,
}

/// The hash of an object without its uids, and the uids in order.
struct Digest {
    shape: u64,
    uids: Vec<String>,
}

impl Stored {
    /// Returns the object as JSON.
    pub fn text(&self) -> Bytes {
        self.text.get_or_init(|| Bytes::from(self.object.to_string())).clone()
    }

    /// Returns a hash of the object. Uids, times and resourceVersions do not count.
    pub fn shape(&self) -> u64 {
        self.digest().shape
    }

    /// Returns the uids in the object, in order.
    pub fn uids(&self) -> &[String] {
        &self.digest().uids
    }

    fn digest(&self) -> &Digest {
        self.digest.get_or_init(|| {
            let (mut uids, mut hasher) = (Vec::new(), DefaultHasher::new());
            hash(&self.object, "", &mut uids, &mut hasher);
            Digest { shape: hasher.finish(), uids }
        })
    }
}

impl From<Value> for Stored {
    fn from(object: Value) -> Self {
        Self { object, text: OnceLock::new(), digest: OnceLock::new() }
    }
}

impl Deref for Stored {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.object
    }
}

/// Hashes a value and collects its uids.
fn hash(value: &Value, key: &str, uids: &mut Vec<String>, hasher: &mut DefaultHasher) {
    std::mem::discriminant(value).hash(hasher);
    match (key, value) {
        ("creationTimestamp" | "time" | "renewTime" | "acquireTime" | "deletionTimestamp" | "resourceVersion", _) => {}
        ("uid", Value::String(text)) => uids.push(text.clone()),
        (_, Value::Object(map)) => {
            for (key, value) in map {
                key.hash(hasher);
                hash(value, key, uids, hasher);
            }
        }
        (_, Value::Array(items)) => items.iter().for_each(|item| hash(item, "", uids, hasher)),
        (_, Value::String(text)) => text.hash(hasher),
        (_, Value::Bool(is_true)) => is_true.hash(hasher),
        (_, Value::Number(number)) => number.hash(hasher),
        (_, Value::Null) => {}
    }
}

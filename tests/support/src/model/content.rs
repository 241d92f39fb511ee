//! The body of an answer. It shares the server's objects, and their text is made once.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::stored::Stored;

/// The body of an answer.
pub enum Content {
    /// An error, or an object that the server does not store.
    Value(Value),
    /// An object that the server stores.
    Object(Arc<Stored>),
    /// A list of stored objects.
    List {
        /// The kind of the objects.
        kind: &'static str,
        /// The resourceVersion of the list.
        version: u64,
        /// The objects.
        items: Vec<Arc<Stored>>,
        /// The token for the rest of the list, if the list is cut.
        rest: Option<&'static str>,
    },
    /// A text that is always the same.
    Text(Bytes),
}

impl Content {
    /// Returns the text as the server sends it.
    pub fn text(&self) -> Bytes {
        match self {
            Self::Value(value) => Bytes::from(value.to_string()),
            Self::Object(object) => object.text(),
            Self::List { kind, version, items, rest } => {
                let mut metadata = json!({"resourceVersion": version.to_string()});
                if let Some(rest) = rest {
                    metadata["continue"] = json!(rest);
                }
                let text = format!(r#"{{"apiVersion":"v1","kind":"{kind}List","metadata":{metadata},"items":["#);
                let mut text = text.into_bytes();
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(b',');
                    }
                    text.extend_from_slice(&item.text());
                }
                text.extend_from_slice(b"]}");
                Bytes::from(text)
            }
            Self::Text(text) => text.clone(),
        }
    }

    /// Returns the content as a value. A text that is not JSON becomes a string.
    pub fn value(&self) -> Value {
        let text = self.text();
        serde_json::from_slice(&text).unwrap_or_else(|_| json!(String::from_utf8_lossy(&text)))
    }
}

impl From<Value> for Content {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl From<Arc<Stored>> for Content {
    fn from(object: Arc<Stored>) -> Self {
        Self::Object(object)
    }
}

impl From<Bytes> for Content {
    fn from(text: Bytes) -> Self {
        Self::Text(text)
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

//! The path of one field of an object, as a list of names from managed fields.

use std::fmt;

use serde_json::{Map, Value};

use super::fields::Fields;

/// A path from the root of an object, for example `f:spec`, `f:ports`, `k:{"port":80}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct FieldPath(Vec<String>);

impl FieldPath {
    /// Makes the path from its names.
    #[must_use]
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    /// The set of fields that contains only this path.
    #[must_use]
    pub(crate) fn to_fields(&self) -> Fields {
        let leaf = Value::Object(Map::new());
        let whole = self.0.iter().rev().fold(leaf, |below, name| {
            let mut fields = Map::new();
            fields.insert(name.clone(), below);
            Value::Object(fields)
        });
        match whole {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

impl fmt::Display for FieldPath {
    /// Formats the path in the form that the server uses in a conflict, for example `.spec.ports[port=80].name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.0 {
            match name.split_once(':') {
                Some(("f", field)) => write!(f, ".{field}")?,
                Some(("k", keys)) => {
                    let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                    write!(f, "[{}]", keys.join(","))?;
                }
                Some(("v", value)) => write!(f, "[={value}]")?,
                _ => write!(f, "[{name}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_is_a_set_of_one_and_reads_as_the_server_writes_it() {
        let names = ["f:spec", "f:ports", "k:{\"port\":80,\"protocol\":\"TCP\"}", "f:name"];
        let path = FieldPath::new(names.map(str::to_owned));
        let below = json!({"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {"f:name": {}}}});
        assert_eq!(Value::Object(path.to_fields()), json!({"f:spec": below}));
        assert_eq!(path.to_string(), ".spec.ports[port=80,protocol=\"TCP\"].name");
    }
}

//! A live object, as the API server returns it.

use serde_json::Value;

/// The content of a live object. The accessors for metadata work even if a field is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// The object. `apiVersion` and `kind` are set, also for items of a list.
    pub body: Value,
}

impl Live {
    /// The value of `metadata.uid`, or an empty text if there is none.
    pub fn uid(&self) -> &str {
        self.metadata("uid")
    }

    /// The value of `metadata.resourceVersion`, or an empty text if there is none.
    pub fn resource_version(&self) -> &str {
        self.metadata("resourceVersion")
    }

    /// Returns `true` if the object is being deleted.
    pub(crate) fn is_terminating(&self) -> bool {
        self.body.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
    }

    /// The finalizers of the object.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.body
            .pointer("/metadata/finalizers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// Lists the reasons why an object that is being deleted still exists: its finalizers, and the messages in the
    /// conditions of a namespace or CRD.
    pub(crate) fn holders(&self) -> Vec<&str> {
        let text = |condition: &'_ Value, field: &str| condition.get(field).and_then(Value::as_str).map(str::to_owned);
        let is_told = |condition: &&Value| {
            let kind = text(condition, "type").unwrap_or_default();
            let expected = match self.body.get("kind").and_then(Value::as_str) {
                Some("Namespace") => kind.starts_with("Namespace"),
                Some("CustomResourceDefinition") => kind == "Terminating",
                _ => false,
            };
            expected && text(condition, "status").as_deref() == Some("True")
        };
        let conditions = self.body.pointer("/status/conditions").and_then(Value::as_array);
        let told = conditions.into_iter().flatten().filter(is_told);
        self.finalizers().chain(told.filter_map(|condition| condition.get("message")?.as_str())).collect()
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.body.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.body.get("metadata")?.get("labels")?.get(name)?.as_str()
    }

    fn metadata(&self, field: &str) -> &str {
        self.body.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or_default()
    }
}

//! The parts of a plan: one change for each object.

use serde_json::Value;

use super::decision::{Action, Decision, Disposition};
use super::risk::Risk;
use crate::object::body::Body;
use crate::object::ident::Ident;
use crate::project::path::ProjectPath;
use crate::project::snapshot::SourcePlace;

/// A value of a field, in the form in which it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShownValue {
    /// A value. Each secret within it is replaced by the text `(secret)`.
    Plain(Value),
    /// A secret.
    Secret,
    /// The items of a list, in their order.
    Order(Vec<String>),
}

/// One step of the way to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The field of a mapping.
    Field(String),
    /// An item of a list.
    Item {
        /// The item's place before the change; `None` if it is new.
        before: Option<usize>,
        /// The item's place after the change; `None` if it is removed.
        after: Option<usize>,
        /// The item's key, such as `name=web`, if the items have keys.
        key: Option<String>,
    },
    /// The step into the document that a text contains.
    Document,
}

/// An unchanged field that is shown next to a changed one, so that a reader finds the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// The number of steps to the mapping that contains the field.
    pub depth: usize,
    /// The name of the field.
    pub name: String,
    /// The value, which is short and not secret.
    pub value: Value,
}

/// One line of a difference: a field and its two values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The field's path, such as `spec.template.spec.containers[name=web].image`. One line stands for all secrets of an
    /// object, so its path lists several fields.
    pub path: String,
    /// The value before; `None` if the field is new.
    pub before: Option<ShownValue>,
    /// The value after; `None` if the field is removed.
    pub after: Option<ShownValue>,
    /// The way to the field. It is empty if the line stands for the secrets of an object.
    pub steps: Vec<Step>,
    /// The unchanged fields that show the place of this one.
    pub near: Vec<Neighbor>,
}

impl FieldChange {
    /// Returns `true` if a value is secret.
    pub(crate) fn is_sensitive(&self) -> bool {
        [&self.before, &self.after].into_iter().any(|side| *side == Some(ShownValue::Secret))
    }
}

/// The decision about one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The decision.
    pub decision: Decision,
    /// The object.
    pub ident: Ident,
    /// The object's project after the run.
    pub project: ProjectPath,
    /// The object's project before the run, if it is another one.
    pub from: Option<ProjectPath>,
    /// The place of the manifest in the source. For an object that is no longer desired, the place in the base tree, if
    /// that tree is known.
    pub place: Option<SourcePlace>,
    /// The live object's uid, if it is known.
    pub uid: Option<String>,
    /// The live object's resourceVersion, if it is known.
    pub resource_version: Option<String>,
    /// The differences between the object before and after, redacted.
    pub diff: Vec<FieldChange>,
    /// The properties of the change that a reviewer should look at first, the most serious first.
    pub risks: Vec<Risk>,
    /// The redacted manifest of an object that is created or deleted. A large plan keeps only the first ones.
    pub body: Option<Body>,
    /// The number of live pods that the change ends, if it is known.
    pub pods: Option<u64>,
}

impl Change {
    /// The action.
    pub fn action(&self) -> Action {
        self.decision.action()
    }

    /// The disposition of an object that stays as it is although the plan has something to do with it; `None`
    /// otherwise.
    pub fn disposition(&self) -> Option<Disposition> {
        self.decision.disposition()
    }
}

#[cfg(test)]
impl Change {
    /// The starting point for tests: the deletion of an object of which only the key and the uid are known.
    pub(super) fn deletion(key: crate::object::ident::ObjectKey, uid: &str) -> Self {
        Self {
            decision: Decision::Delete(super::decision::Delete::Undesired),
            ident: Ident { key, version: "v1".to_owned() },
            project: "demo".parse().unwrap(),
            from: None,
            place: None,
            uid: Some(uid.to_owned()),
            resource_version: Some("1".to_owned()),
            diff: Vec::new(),
            risks: Vec::new(),
            body: None,
            pods: None,
        }
    }
}

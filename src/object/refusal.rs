//! The reasons why the API server refuses a request about one object.

use std::fmt;

/// A field that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldConflict {
    /// The field in the form that the API server uses, for example `.spec.replicas`.
    pub field: String,
    /// The manager that owns the field.
    pub manager: String,
}

/// The reason why a request about one object failed. The texts come from the server and are untrusted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Other field managers own fields that the request would change.
    Conflict(Vec<FieldConflict>),
    /// Other field managers own fields that are not valid together with the change.
    Beside(Vec<FieldConflict>),
    /// The object changed since it was read: it has another uid or resourceVersion, or it is gone.
    Changed(String),
    /// The object does not have the form of its kind. The manifest is wrong, independent of the live object.
    Malformed(String),
    /// The object is larger than the server can store.
    TooLarge(String),
    /// The server cannot convert the live object or its managed fields to the version that is applied.
    Unreadable(String),
    /// The object is not valid. The manifest is wrong, or the server does not allow the change.
    Invalid(String),
    /// The credentials are missing, or lack the right to do this.
    Forbidden(String),
    /// The namespace of the object does not exist.
    NoNamespace(String),
    /// The object, or something that it refers to, does not exist.
    Absent(String),
    /// The server does not know the kind.
    NoKind(String),
    /// The server knows the kind, but does not serve the version.
    NoVersion(String),
    /// The object, its namespace or its CRD is being deleted.
    Terminating(String),
    /// An admission webhook, a policy or a quota refused the object.
    Denied(String),
    /// The server or a webhook did not answer, even after retries. The request may or may not have taken effect.
    Unavailable(String),
}

impl Refusal {
    /// The refusal with other words of the server. A conflict has none.
    #[must_use]
    pub(crate) fn map_message(self, change: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Conflict(_) | Self::Beside(_) => self,
            Self::Changed(text) => Self::Changed(change(&text)),
            Self::Malformed(text) => Self::Malformed(change(&text)),
            Self::TooLarge(text) => Self::TooLarge(change(&text)),
            Self::Unreadable(text) => Self::Unreadable(change(&text)),
            Self::Invalid(text) => Self::Invalid(change(&text)),
            Self::Forbidden(text) => Self::Forbidden(change(&text)),
            Self::NoNamespace(text) => Self::NoNamespace(change(&text)),
            Self::Absent(text) => Self::Absent(change(&text)),
            Self::NoKind(text) => Self::NoKind(change(&text)),
            Self::NoVersion(text) => Self::NoVersion(change(&text)),
            Self::Terminating(text) => Self::Terminating(change(&text)),
            Self::Denied(text) => Self::Denied(change(&text)),
            Self::Unavailable(text) => Self::Unavailable(change(&text)),
        }
    }

    /// The server's message. For a conflict, it is the list of fields.
    #[must_use]
    pub(crate) fn into_message(self) -> String {
        match self {
            Self::Changed(text) | Self::Unavailable(text) => text,
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(contested) => {
                for (index, FieldConflict { field, manager }) in contested.iter().enumerate() {
                    write!(f, "{}{field} is held by {manager}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Self::Beside(contested) => {
                for FieldConflict { field, manager } in contested {
                    write!(f, "{field}, which {manager} set, ")?;
                }
                f.write_str("is not valid together with this change: remove it from the live object, or state it here")
            }
            Self::Changed(text) => write!(f, "it changed meanwhile: {text}"),
            Self::Unavailable(text) => write!(f, "no answer: {text}"),
            Self::TooLarge(text) => write!(f, "the object is larger than what the server can store: {text}"),
            Self::Unreadable(text) => write!(f, "the server cannot read the live object's managed fields: {text}"),
            Self::Malformed(text)
            | Self::Invalid(text)
            | Self::Forbidden(text)
            | Self::NoNamespace(text)
            | Self::Absent(text)
            | Self::NoKind(text)
            | Self::NoVersion(text)
            | Self::Terminating(text)
            | Self::Denied(text) => f.write_str(text),
        }
    }
}

//! The reasons why an API server does not do what was asked for one object.

use std::fmt;

/// A field that another manager holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldConflict {
    /// The field, as the server writes it: `.spec.replicas`.
    pub field: String,
    /// The manager that holds it.
    pub manager: String,
}

/// The reason why a request about one object was not carried out. Messages are the server's words and untrusted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Other field managers hold fields of it.
    Conflict(Vec<FieldConflict>),
    /// Other field managers hold fields beside those that would change, and both do not go together.
    Beside(Vec<FieldConflict>),
    /// The object is not the one that was looked at: another uid or resourceVersion, or gone.
    Changed(String),
    /// Not of its kind's form: the manifest's mistake, whatever is there.
    Malformed(String),
    /// Larger than what the server can store.
    TooLarge(String),
    /// The server cannot read the live object's managed fields in the version that is applied.
    Unreadable(String),
    /// Not valid: the manifest's own mistake, or a change that the server does not allow.
    Invalid(String),
    /// No right to do it.
    Forbidden(String),
    /// Its namespace does not exist.
    NoNamespace(String),
    /// Something that it refers to does not exist.
    Absent(String),
    /// The server does not know its kind.
    NoKind(String),
    /// The server knows its kind and does not serve its version.
    NoVersion(String),
    /// It, or its namespace, is being deleted.
    Terminating(String),
    /// An admission webhook or policy refused it.
    Denied(String),
    /// The server or a webhook could not answer, also after retries. Whether the request took effect is not known.
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

    /// The server's words; of a conflict, which fields it is about.
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

//! A desired object, where it stands in the tree and whose it is.

use serde_json::Value;

use super::ident::Ident;
use crate::project::path::ProjectPath;
use crate::project::snapshot::SourcePlace;

/// One desired object.
///
/// **Invariant:** `body` is a JSON object whose `apiVersion`, `kind`, `metadata.name` and `metadata.namespace` agree
/// with `ident`; it carries no mark (marks are stamped when it is applied).
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The identity of the object.
    pub ident: Ident,
    /// The project that wants it.
    pub project: ProjectPath,
    /// The place in the source file.
    pub place: SourcePlace,
    /// The object as it is to be applied, before stamping.
    pub body: Value,
}

/// One object as a renderer found it: not yet known to be namespaced, to be complete, or to be wanted once only.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The place where the document begins.
    pub place: SourcePlace,
    /// Its content, any JSON value.
    pub body: Value,
}

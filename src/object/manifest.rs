//! A desired object, where it stands in the tree and whose it is.

use serde_json::Value;

use super::ident::Ident;
use crate::project::path::ProjectPath;
use crate::project::snapshot::SourcePlace;
use crate::project::tree::Owner;

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

/// An object as a renderer returns it. It may be incomplete, or be in the tree a second time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    /// The owner. The place does not decide it, because a renderer can take an object from a file of another project.
    pub(crate) owner: Owner,
    /// The place where the object begins.
    pub(crate) place: SourcePlace,
    /// The content, any JSON value.
    pub(crate) body: Value,
}

//! A desired object, its place in the tree, and the project that it belongs to.

use super::body::Body;
use super::ident::Ident;
use crate::project::path::ProjectPath;
use crate::project::snapshot::SourcePlace;
use crate::project::tree::Owner;

/// A desired object.
///
/// **Invariant:** `body` is a JSON object. Its `apiVersion`, `kind`, `metadata.name` and `metadata.namespace` agree
/// with `ident`. It carries no mark, because the mark is added when the object is applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The identity of the object.
    pub ident: Ident,
    /// The project that the object belongs to.
    pub project: ProjectPath,
    /// The place in the source file.
    pub place: SourcePlace,
    /// The desired object, without the mark.
    pub body: Body,
}

/// A document from a renderer. Nothing about its content is checked yet: it may be incomplete or a duplicate, and its
/// scope is not known.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The project and namespace of the object. The place does not decide them, because a renderer can take an object
    /// from a file of another project.
    pub owner: Owner,
    /// The place where the document begins.
    pub place: SourcePlace,
    /// The content, which may be any JSON value.
    pub body: Body,
}

//! The type and the annotations of the Secrets that hold a state.

/// The type of the Secret.
pub(crate) const SECRET_TYPE: &str = "kubernator.io/project-state";
/// The annotation that names the root. Kubernator writes only this annotation.
pub(crate) const ROOT_ANNOTATION: &str = "kubernator.io/project-root";
/// The annotation with the digest of the data that we wrote. It is missing if another tool wrote last.
pub(crate) const DIGEST_ANNOTATION: &str = "kubernator.io/ktor-digest";
/// The annotation that names the run which wrote last.
pub(crate) const RUN_ANNOTATION: &str = "kubernator.io/ktor-run";
/// The annotation with the open projects.
pub(crate) const OPEN_ANNOTATION: &str = "kubernator.io/ktor-open";

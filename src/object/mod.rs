//! Kubernetes objects as values: their identity, marks, order and secrets.

pub mod body;
pub(crate) mod exported;
pub(crate) mod field_path;
pub(crate) mod fields;
pub(crate) mod generated;
pub mod ident;
pub(crate) mod items;
pub mod kinds;
pub mod live;
pub mod manifest;
pub mod mark;
pub(crate) mod mark_patch;
pub(crate) mod mask;
pub(crate) mod merge;
pub mod name;
pub(crate) mod order;
pub mod read_error;
pub(crate) mod readiness;
pub mod redact;
pub(crate) mod references;
pub mod refusal;
pub(crate) mod reserved;
pub(crate) mod resolve;
pub(crate) mod server_message;

//! Kubernetes objects as values: identity, marks, order, secrecy.

pub mod exported;
pub mod field_path;
pub mod fields;
pub mod ident;
pub mod items;
pub mod kinds;
pub mod live;
pub mod manifest;
pub mod mark;
pub mod mark_patch;
pub mod mask;
pub mod merge;
pub mod name;
pub mod order;
pub mod redact;
pub mod references;
pub mod refusal;
pub mod reserved;
pub mod resolve;
pub mod server_message;

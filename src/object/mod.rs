//! Kubernetes objects as values: identity, marks, order, secrecy.

pub mod ident;
pub mod manifest;

//! What tests stand on: stateful servers at the wire, a real control plane, git repositories.

pub mod controlplane;
pub mod github;
pub mod repository;
pub mod story;

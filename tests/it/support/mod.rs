//! What tests stand on: stateful servers at the wire, a real control plane, git repositories, Kubernator.

pub mod controlplane;
pub mod github;
pub mod kubernator;
pub mod repository;
pub mod story;

//! `ktor`: reviewed, owned and cleaned-up Kubernetes manifests.
//!
//! # Map
//!
//! The **domain** decides: [`project`] ← [`object`] ← [`state`] ← [`plan`].
//!
//! **Invariant:** the domain has no async, clock, environment, I/O, randomness or logging, and imports no adapter.
//!
//! **Adapters** talk to one external system each, translate its errors and decide nothing: [`cluster`], [`forge`],
//! [`git`], [`render`], [`process`].
//!
//! **Invariant:** adapters never import each other.
//!
//! [`report`] is pure text.

pub mod cli;
pub mod cluster;
pub mod forge;
pub mod git;
pub mod object;
pub mod plan;
pub mod process;
pub mod project;
pub mod render;
pub mod report;
pub mod run;
pub mod state;

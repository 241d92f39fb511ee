//! A Kubernetes API server: discovery, reads, dry runs, leased writes.
//!
//! Adapter: it translates the server's answers and decides nothing; `kube::Error` never leaves it.
//!
//! **Invariant:** every request that would persist anything passes the gate of `transport`, below authentication and
//! below every retry. The gate lets it out only with a permit, and the only permit for objects and state is a
//! [`HeldLock`](lock::HeldLock) whose fence has not passed.

pub(crate) mod apply;
pub mod connect;
pub(crate) mod delete;
pub(crate) mod discovery;
pub(crate) mod error;
pub mod lock;
pub(crate) mod observe;
pub(crate) mod observer;
pub(crate) mod pods;
pub(crate) mod shards;
pub(crate) mod store;
pub(crate) mod wait;

mod answer;
mod clocks;
#[cfg(test)]
mod fake;
mod gate;
mod lease;
mod path;
pub(crate) mod readiness;
mod request;
mod transport;

pub use connect::{Cluster, ClusterSettings, ConnectOptions};

//! The adapter for the Kubernetes API server: discovery, reads, dry runs, and writes under the lock.
//!
//! It translates the server's answers and decides nothing. `kube::Error` never leaves it.
//!
//! **Invariant:** every request that would persist anything passes the gate, which is below authentication and below
//! every retry. The gate sends it only with a permit. The only permit for objects and state is a
//! [`HeldLock`](lock::HeldLock) whose fence has not passed.

pub(crate) mod apply;
pub mod connect;
pub(crate) mod delete;
pub(crate) mod discovery;
pub(crate) mod error;
pub(crate) mod identity;
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
mod jitter;
mod lease;
mod page;
mod path;
mod request;
pub mod settings;
mod transport;

pub use connect::{Cluster, ConnectOptions};
pub use settings::ClusterSettings;

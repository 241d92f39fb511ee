//! A Kubernetes API server: discovery, reads, dry runs, leased writes.
//!
//! Adapter: `kube::Error` never leaves it.

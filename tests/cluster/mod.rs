//! Tests of the built binary on a real API server. Each works under a root and in namespaces of its own.

mod apply;
mod bench;
mod cleanup;
mod crash;
mod errors;
mod kinds;
mod kubernator;
mod ownership;
mod plan;
mod scenario;

//! controlplane for tests.

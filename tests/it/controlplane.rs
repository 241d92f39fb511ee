//! Tests of controlplane.

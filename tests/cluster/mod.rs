//! Tests of the built binary on a real API server.

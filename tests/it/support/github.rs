//! github for tests.

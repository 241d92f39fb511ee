//! Tests of `ktor action` as the built binary.

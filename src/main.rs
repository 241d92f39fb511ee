//! The `ktor` binary.

fn main() {}

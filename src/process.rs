//! Running other programs with a bounded environment and captured output.

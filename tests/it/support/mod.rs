//! What tests stand on: stateful servers at the wire, a real control plane, git repositories, Kubernator.

use std::ffi::OsString;
use std::io::Write;

pub mod controlplane;
pub mod github;
pub mod kubernator;
pub mod repository;
pub mod story;

/// Where a program that is instrumented writes what of it was run; nothing where none is. A program that starts without
/// it writes into its working directory.
#[expect(clippy::disallowed_methods, reason = "the product reads its environment in cli::env; this is no product code")]
pub fn profile() -> Option<(&'static str, OsString)> {
    let name = "LLVM_PROFILE_FILE";
    std::env::var_os(name).map(|file| (name, file))
}

/// Says how large a search was, also where the output of tests that pass is kept back.
pub fn announce(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

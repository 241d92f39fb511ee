//! The support of the tests: stateful fake servers, a real control plane, git repositories, Kubernator, and the runs of
//! a workflow.
#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a panic here is how the caller's test fails")]

use std::ffi::OsString;
use std::io::Write;

pub mod controlplane;
pub mod github;
pub mod kubernator;
pub mod model;
pub mod plan_checker;
pub mod repository;
pub mod wire;
pub mod workflow_run;

/// Returns the variable that tells an instrumented program where to write its coverage profile, or `None` if it is not
/// set. Without the variable, an instrumented program writes into its working directory.
#[expect(clippy::disallowed_methods, reason = "the product reads its environment in cli::env; this is no product code")]
pub fn profile() -> Option<(&'static str, OsString)> {
    let name = "LLVM_PROFILE_FILE";
    std::env::var_os(name).map(|file| (name, file))
}

/// Prints the size of a search. The line is visible even if the harness holds back the output of passing tests.
pub fn announce(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

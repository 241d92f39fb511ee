//! The support of the tests: stateful fake servers, a real control plane, a real Gitea, git repositories, Kubernator, the
//! linters of workflows, and the runs of a workflow.
#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a panic here is how the caller's test fails")]

use std::ffi::OsString;
use std::io::Write;
use std::sync::LazyLock;

use rustix::fs::StatVfsMountFlags;
use tempfile::TempDir;

pub mod controlplane;
pub mod gitea;
pub mod github;
pub mod kubernator;
pub mod linters;
pub mod model;
pub mod plan_checker;
pub mod python;
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

/// Creates a directory for the files of a test. It is in memory, if the system has a directory for that with enough
/// space and without restrictions. On a disk, the many small files of the repositories take most of the time.
pub fn temporary_directory() -> TempDir {
    const MEMORY: &str = "/dev/shm";
    const SPACE: u64 = 1 << 30;
    static IS_USABLE: LazyLock<bool> = LazyLock::new(|| {
        let Ok(found) = rustix::fs::statvfs(MEMORY) else { return false };
        // A program in such a directory cannot be started, and so a test would not see that it must not be started.
        let is_restricted = found.f_flag.intersects(StatVfsMountFlags::NOEXEC | StatVfsMountFlags::RDONLY);
        !is_restricted && found.f_bavail * found.f_frsize >= SPACE && tempfile::tempdir_in(MEMORY).is_ok()
    });
    if *IS_USABLE { tempfile::tempdir_in(MEMORY).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Prints the size of a search. The line is visible even if the harness holds back the output of passing tests.
pub fn announce(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

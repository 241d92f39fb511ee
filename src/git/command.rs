//! How git is started: which variables it sees, and what of its configuration may not run here.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::process::{Environment, Program};

/// Options before the sub-command. Hooks, watchers and prompts of the user's configuration are of no use to a reader,
/// and could run anything; housekeeping would outlive the command; pathspecs mean the paths that they spell.
const OPTIONS: [&str; 19] = [
    "--no-pager",
    "--literal-pathspecs",
    "--no-replace-objects",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.askPass=",
    "-c",
    "diff.external=",
    "-c",
    "diff.autoRefreshIndex=true",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "protocol.version=2",
];

/// Variables that git and the transports below it need. None of those that point git at another repository, index or
/// object store, none that trace (a trace shows credentials).
const VARIABLES: [&str; 27] = [
    "PATH",
    "HOME",
    "XDG_CONFIG_HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "GIT_CEILING_DIRECTORIES",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_EXEC_PATH",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
];

/// Whether git is passed the variable of this name.
pub fn reads_variable(name: &str) -> bool {
    VARIABLES.contains(&name) || name.starts_with("GIT_CONFIG_KEY_") || name.starts_with("GIT_CONFIG_VALUE_")
}

/// What git sees of `environment`.
pub(super) fn environment(environment: &Environment) -> Environment {
    environment
        .filtered(reads_variable)
        .with("GIT_TERMINAL_PROMPT", "0")
        .with("GIT_OPTIONAL_LOCKS", "0")
        .with("LC_ALL", "C")
}

/// Git, to be run in `directory`, with an environment made by [`environment`].
pub(super) fn git(directory: &Path, environment: &Environment) -> Program {
    Program::new("git", environment.clone()).arguments(OPTIONS).directory(directory)
}

/// The records of a NUL-separated list.
pub(super) fn records(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == 0).filter(|record| !record.is_empty())
}

/// A path as git writes it, byte by byte.
pub(super) fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

/// A path as git reads it below the top of a work tree; the top itself is `.`.
pub(super) fn pathspec(prefix: &Path) -> OsString {
    if prefix.as_os_str().as_bytes().is_empty() { ".".into() } else { prefix.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_redirect_trace_or_prompt_are_not_passed() {
        let names =
            ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_TRACE_CURL", "GIT_EXTERNAL_DIFF", "SSH_ASKPASS"];
        let given = names.iter().chain(&["GITHUB_TOKEN"]).map(|name| ((*name).into(), "x".into()));
        let given = given.collect::<Environment>().with("HOME", "/h").with("GIT_CONFIG_KEY_0", "safe.directory");
        assert_eq!(
            format!("{:?}", environment(&given)),
            r#"{"GIT_CONFIG_KEY_0", "GIT_OPTIONAL_LOCKS", "GIT_TERMINAL_PROMPT", "HOME", "LC_ALL"}"#
        );
    }
}

//! Starts git. Selects the environment variables that git sees, and turns off the parts of its configuration that must
//! not run here.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::process::{Environment, Program};

/// The options before git's subcommand. The hooks, file watchers and prompts of the user's configuration are of no use
/// for reading, and they could run any program. Housekeeping could outlive the command. Pathspecs mean the literal
/// paths.
///
/// A directory with the files of a bare repository does not count as a repository, because any commit can hold such
/// files.
const OPTIONS: [&str; 21] = [
    "--no-pager",
    "--literal-pathspecs",
    "--no-replace-objects",
    "-c",
    "safe.bareRepository=explicit",
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

/// The variables that git and its transports need. Variables that point git at another repository, index or object
/// store are not among them. Neither are variables that turn on tracing, because a trace shows credentials.
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

/// The protocols that git may use to reach another repository. They are the usual protocols of remotes. A protocol by
/// which an address selects the program to run is not among them (`ext::`, and every helper that an address names).
const PROTOCOLS: &str = "https:http:ssh:file";

/// The transports that a command may use to reach another repository. A command that lacks an object of a partial clone
/// uses them too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transports {
    /// The usual protocols. They run the programs that the configuration of the repository and of the user names.
    Usual,
    /// No protocol at all.
    None,
}

/// Returns `true` if git receives the variable of this name.
pub(crate) fn reads_variable(name: &str) -> bool {
    VARIABLES.contains(&name) || name.starts_with("GIT_CONFIG_KEY_") || name.starts_with("GIT_CONFIG_VALUE_")
}

/// Returns the environment for git: the variables of `environment` that git may see, and fixed settings.
pub(super) fn environment(environment: &Environment) -> Environment {
    // A relative entry would mean a directory of the tree in which the program runs.
    let path = environment.get("PATH").unwrap_or_default();
    let path: Vec<OsString> = absolute_paths(path).map(PathBuf::into_os_string).collect();
    let environment = environment
        .filtered(reads_variable)
        .with("PATH", path.join(OsStr::new(":")))
        .with("GIT_TERMINAL_PROMPT", "0")
        .with("GIT_OPTIONAL_LOCKS", "0")
        .with("LC_ALL", "C");
    transports(environment, Transports::Usual)
}

/// Returns the same environment with these transports. The variable takes precedence over every configuration.
pub(super) fn transports(environment: Environment, transports: Transports) -> Environment {
    let allowed = match transports {
        Transports::Usual => PROTOCOLS,
        Transports::None => "none",
    };
    environment.with("GIT_ALLOW_PROTOCOL", allowed)
}

/// Returns a git command with an environment made by [`environment`].
///
/// Git runs in the root directory of the file system. A program that the configuration names by a relative path is then
/// never a file of the tree. Git also finds no repository by a search.
pub(super) fn git(environment: &Environment) -> Program {
    Program::new("git", environment.clone()).arguments(OPTIONS).directory("/")
}

/// Returns a fetch command that writes no branch, tag or `FETCH_HEAD`, and that ignores submodules.
pub(super) fn quiet_fetch(git: Program) -> Program {
    let git = git.arguments(["fetch", "--quiet", "--no-tags", "--no-prune", "--no-recurse-submodules"]);
    git.arguments(["--no-write-fetch-head", "--refmap="])
}

/// Returns the absolute paths of a colon-separated list such as `PATH`.
pub(super) fn absolute_paths(list: &OsStr) -> impl Iterator<Item = PathBuf> {
    list.as_bytes().split(|byte| *byte == b':').map(path).filter(|path| path.is_absolute())
}

/// Returns the records of a NUL-separated list, without empty ones.
pub(super) fn records(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == 0).filter(|record| !record.is_empty())
}

/// Converts a path from git's output, byte by byte.
pub(super) fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
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
            r#"{"GIT_ALLOW_PROTOCOL", "GIT_CONFIG_KEY_0", "GIT_OPTIONAL_LOCKS", "GIT_TERMINAL_PROMPT", "HOME", "LC_ALL", "PATH"}"#
        );
    }

    #[test]
    fn x1_no_program_is_looked_for_in_the_directory_that_git_runs_in() {
        let given = Environment::default().with("PATH", ".:/usr/bin::bin:./x:/bin:");
        assert_eq!(environment(&given).get("PATH"), Some(OsStr::new("/usr/bin:/bin")));
    }

    #[test]
    fn x1_only_listed_protocols_are_spoken_whatever_the_user_allows() {
        let given = Environment::default().with("GIT_ALLOW_PROTOCOL", "ext:git");
        let given = environment(&given);
        assert_eq!(given.get("GIT_ALLOW_PROTOCOL"), Some(OsStr::new("https:http:ssh:file")));
        assert_eq!(transports(given, Transports::None).get("GIT_ALLOW_PROTOCOL"), Some(OsStr::new("none")));
    }
}

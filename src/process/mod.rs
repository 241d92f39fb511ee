//! Runs other programs with a limited environment, captured output, a timeout and no shell.
//!
//! This module is an adapter. It starts the programs that it is told to start, and decides nothing. It never shows an
//! environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::project::snapshot::printable;

pub mod confine;
pub mod engine;
mod system_calls;

const DEFAULT_TIME: Duration = Duration::from_mins(1);
const DEFAULT_OUTPUT: usize = 64 << 20;
const STDERR_KEPT: usize = 64 << 10;
const LINES_SHOWN: usize = 8;
const CHARACTERS_SHOWN: usize = 400;

/// The environment variables that a program is started with. The program gets no others.
///
/// **Invariant:** no value is ever displayed. `Debug` shows only names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Returns the variables whose name `keep` accepts. A name that is not UTF-8 is dropped.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        let kept = self.0.iter().filter(|(name, _)| name.to_str().is_some_and(&keep));
        Self(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Returns the same variables with `name` set to `value`.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Returns the value of a variable.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.0.get(name.as_ref()).map(OsString::as_os_str)
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The reason why a program gave no usable answer. The arguments and the environment are not shown, because both may
/// contain secrets.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no such program on the `PATH` that it was given.
    #[error("find the program {program}")]
    NotFound {
        /// The program's name.
        program: String,
    },
    /// The directory to run in does not exist.
    #[error("run {program} in {directory}: no such directory")]
    NoDirectory {
        /// The program's name.
        program: String,
        /// The directory.
        directory: String,
    },
    /// The program exists, but cannot be started.
    #[error("start {program}")]
    Start {
        /// The program's name.
        program: String,
        /// The reason that the system gave.
        #[source]
        source: io::Error,
    },
    /// The program was started, but the exchange of data with it failed.
    #[error("exchange data with {program}")]
    Exchange {
        /// The program's name.
        program: String,
        /// The reason that the system gave.
        #[source]
        source: io::Error,
    },
    /// The program did not end in time and was killed.
    #[error("run {program}: it did not end within {} s", limit.as_secs_f32())]
    TimedOut {
        /// The program's name.
        program: String,
        /// The time that the program had.
        limit: Duration,
    },
    /// The program wrote more to stdout than it was allowed to, and was killed. An incomplete answer is never taken for
    /// a complete one.
    #[error("run {program}: it wrote more than {limit} bytes")]
    TooMuchOutput {
        /// The program's name.
        program: String,
        /// The number of bytes that were allowed.
        limit: usize,
    },
    /// The program ended without success.
    #[error("run {program} ({status}){}", if stderr.is_empty() { String::new() } else { format!(": {stderr}") })]
    Failed {
        /// The program's name.
        program: String,
        /// The exit status of the program.
        status: ExitStatus,
        /// The last lines of stderr, escaped, without credentials in URLs.
        stderr: String,
    },
}

/// The result of a program that ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit status of the program.
    pub status: ExitStatus,
    /// Everything that the program wrote to stdout.
    pub stdout: Vec<u8>,
    /// The end of the program's stderr, at most 64 KiB.
    pub stderr: Vec<u8>,
    program: String,
}

impl Output {
    /// Returns the whole of stdout if the program succeeded, else an error.
    pub fn success(self) -> Result<Vec<u8>, ProcessError> {
        if self.status.success() { Ok(self.stdout) } else { Err(self.failure()) }
    }

    /// Returns this result as an error, whatever the status is.
    pub fn failure(&self) -> ProcessError {
        ProcessError::Failed {
            program: self.program.clone(),
            status: self.status,
            stderr: last_lines(&self.stderr, LINES_SHOWN, CHARACTERS_SHOWN),
        }
    }
}

/// A program to run.
#[derive(Clone)]
pub(crate) struct Program {
    name: OsString,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
    environment: Environment,
    input: Vec<u8>,
    time: Duration,
    output: usize,
}

impl Program {
    /// Creates a program without arguments and input. Its name is looked up on the `PATH` of `environment`.
    pub(crate) fn new(name: impl Into<OsString>, environment: Environment) -> Self {
        Self {
            name: name.into(),
            arguments: Vec::new(),
            directory: None,
            environment,
            input: Vec::new(),
            time: DEFAULT_TIME,
            output: DEFAULT_OUTPUT,
        }
    }

    /// Appends arguments. No shell interprets them.
    #[must_use]
    pub(crate) fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets the directory to run in.
    #[must_use]
    pub(crate) fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets the input that the program reads on stdin. Without it, stdin is empty.
    #[must_use]
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Sets the time after which the program is killed.
    #[must_use]
    pub(crate) fn time_limit(mut self, limit: Duration) -> Self {
        self.time = limit;
        self
    }

    /// Sets the largest number of bytes that the program may write to stdout. If it writes more, it is killed.
    #[must_use]
    pub(crate) fn output_limit(mut self, limit: usize) -> Self {
        self.output = limit;
        self
    }

    /// Runs the program until it ends, whatever its status is. If the future is dropped, the program is killed.
    pub(crate) async fn run(self) -> Result<Output, ProcessError> {
        let program = self.name.to_string_lossy().into_owned();
        let child = self.spawn(&program)?;
        match tokio::time::timeout(self.time, exchange(child, &self.input, self.output)).await {
            Err(_) => Err(ProcessError::TimedOut { program, limit: self.time }),
            Ok(Err(Broken::Exchange(source))) => Err(ProcessError::Exchange { program, source }),
            Ok(Err(Broken::TooMuchOutput)) => Err(ProcessError::TooMuchOutput { program, limit: self.output }),
            Ok(Ok((status, stdout, stderr))) => Ok(Output { status, stdout, stderr, program }),
        }
    }

    /// Runs the program and returns its stdout. A status other than success is an error.
    pub(crate) async fn stdout(self) -> Result<Vec<u8>, ProcessError> {
        self.run().await?.success()
    }

    fn spawn(&self, program: &str) -> Result<Child, ProcessError> {
        // With the path of the file, the system starts the program without a copy of this process.
        let mut command =
            Command::new(located(&self.name, self.environment.get("PATH")).unwrap_or(self.name.clone().into()));
        command.arg0(&self.name).args(&self.arguments).env_clear().envs(&self.environment.0).kill_on_drop(true);
        command.stdin(if self.input.is_empty() { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command.spawn().map_err(|source| self.start_error(program, source))
    }

    /// Returns the error of a failed start. The system says "not found" both for a missing program and for a missing
    /// directory.
    fn start_error(&self, program: &str, source: io::Error) -> ProcessError {
        let program = program.to_owned();
        match &self.directory {
            Some(directory) if !directory.is_dir() => {
                ProcessError::NoDirectory { program, directory: printable(directory) }
            }
            _ if source.kind() == io::ErrorKind::NotFound => ProcessError::NotFound { program },
            _ => ProcessError::Start { program, source },
        }
    }
}

/// Finds the file of a program on a `PATH`, as the system does. Returns `None` if the system has to search, or if there
/// is no such file.
fn located(name: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return None;
    }
    for directory in path?.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes).map(Path::new) {
        // A relative directory is relative to the directory that the program runs in.
        if !directory.is_absolute() {
            return None;
        }
        let file = directory.join(name);
        if file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0) {
            return Some(file);
        }
    }
    None
}

/// The reason why the exchange with a child process ended early.
enum Broken {
    TooMuchOutput,
    Exchange(io::Error),
}

/// Sends the input to a child process and reads its output until it ends. An early return drops the child, which kills
/// it.
async fn exchange(mut child: Child, input: &[u8], limit: usize) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), Broken> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (stdout, stderr, ()) = tokio::try_join!(read_whole(stdout, limit), read_tail(stderr), feed(stdin, input))?;
    let status = child.wait().await.map_err(Broken::Exchange)?;
    Ok((status, stdout, stderr))
}

async fn feed(stdin: Option<ChildStdin>, input: &[u8]) -> Result<(), Broken> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    match stdin.write_all(input).await {
        // A program may end without reading all of its input. Its status tells if that was right.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Broken::Exchange(error)),
        _ => Ok(()),
    }
}

async fn read_whole(source: Option<ChildStdout>, limit: usize) -> Result<Vec<u8>, Broken> {
    let Some(source) = source else { return Ok(Vec::new()) };
    let mut text = Vec::new();
    source.take(limit as u64 + 1).read_to_end(&mut text).await.map_err(Broken::Exchange)?;
    if text.len() > limit { Err(Broken::TooMuchOutput) } else { Ok(text) }
}

/// Reads to the end and keeps only the last part.
async fn read_tail(source: Option<ChildStderr>) -> Result<Vec<u8>, Broken> {
    let Some(mut source) = source else { return Ok(Vec::new()) };
    let mut kept = Vec::new();
    let mut chunk = vec![0; 8 << 10];
    loop {
        let count = source.read(&mut chunk).await.map_err(Broken::Exchange)?;
        if count == 0 {
            return Ok(kept);
        }
        kept.extend_from_slice(&chunk[..count]);
        kept.drain(..kept.len().saturating_sub(STDERR_KEPT));
    }
}

/// Returns the last lines of a text as one line of printable text, joined by `; `. Longer lines than `width` are cut.
fn last_lines(text: &[u8], count: usize, width: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(count)..];
    let shown = last.iter().map(|line| {
        let line = escaped(&without_credentials(line));
        match line.char_indices().nth(width) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    });
    shown.collect::<Vec<_>>().join("; ")
}

/// Escapes control characters and characters that change the direction of text.
fn escaped(text: &str) -> String {
    let inert = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if inert(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Masks the text between `://` and the last `@` before the next slash or white space.
fn without_credentials(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        let end = after.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                masked.push_str("***");
                &after[at..]
            }
            None => after,
        };
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::time::Instant;

    use super::*;

    fn path_only() -> Environment {
        Environment::default().with("PATH", "/usr/bin:/bin")
    }

    fn shell(script: &str) -> Program {
        Program::new("sh", path_only()).arguments(["-c", script])
    }

    #[tokio::test]
    async fn output_comes_whole_and_arguments_meet_no_shell() {
        let program = Program::new("printf", path_only()).arguments(["%s|", "a b", "$HOME", "`id`", "x\ny"]);
        assert_eq!(program.stdout().await.unwrap(), b"a b|$HOME|`id`|x\ny|");
    }

    #[tokio::test]
    async fn only_the_given_variables_are_passed_and_none_is_shown() {
        let environment = path_only().with("TOKEN", "hunter2");
        let variables = Program::new("env", environment.clone()).stdout().await.unwrap();
        let mut lines: Vec<_> = std::str::from_utf8(&variables).unwrap().lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["PATH=/usr/bin:/bin", "TOKEN=hunter2"]);
        assert_eq!(format!("{environment:?}"), r#"{"PATH", "TOKEN"}"#);
        assert_eq!(environment.filtered(|name| name != "TOKEN"), path_only());
    }

    #[tokio::test]
    async fn input_larger_than_a_pipe_is_fed_while_the_output_is_read() {
        let input = vec![b'x'; 1 << 20];
        let output = Program::new("cat", path_only()).input(input.clone()).stdout().await.unwrap();
        assert_eq!(output, input);
        let unread = Program::new("true", path_only()).input(input).stdout().await.unwrap();
        assert_eq!(unread, b"");
    }

    #[tokio::test]
    async fn a_failure_names_the_program_the_status_and_the_last_lines_made_inert() {
        let script = "seq 100 >&2; printf 'a\\033[31m\\r::error::b\\nhttps://me:secret@host/x\\n' >&2; exit 3";
        let error = shell(script).stdout().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "run sh (exit status: 3): 96; 97; 98; 99; 100; a\\u{1b}[31m; ::error::b; https://***@host/x"
        );
        let quiet = shell("kill -9 $$").stdout().await.unwrap_err();
        assert_eq!(quiet.to_string(), "run sh (signal: 9 (SIGKILL))");
    }

    #[tokio::test]
    async fn a_long_stderr_is_drained_and_its_end_kept() {
        let output = shell("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo; echo end >&2").run().await.unwrap();
        assert_eq!(output.stderr.len(), STDERR_KEPT);
        assert!(output.stderr.ends_with(b"xend\n"));
        assert_eq!(output.failure().to_string().chars().filter(|c| *c == 'x').count(), CHARACTERS_SHOWN + 1);
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_killed() {
        let start = Instant::now();
        let error = shell("sleep 60").time_limit(Duration::from_millis(200)).run().await.unwrap_err();
        assert_eq!(error.to_string(), "run sh: it did not end within 0.2 s");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn more_output_than_allowed_is_an_error_and_never_a_cut_answer() {
        let exact = shell("printf 12345").output_limit(5).stdout().await.unwrap();
        assert_eq!(exact, b"12345");
        let error = shell("yes").output_limit(5).run().await.unwrap_err();
        assert_eq!(error.to_string(), "run sh: it wrote more than 5 bytes");
    }

    #[tokio::test]
    async fn a_missing_program_is_told_from_a_missing_directory() {
        let missing = Program::new("no-such-program", path_only()).run().await.unwrap_err();
        assert_eq!(missing.to_string(), "find the program no-such-program");
        let nowhere = shell("true").directory("/no/such\ndirectory").run().await.unwrap_err();
        assert_eq!(nowhere.to_string(), "run sh in /no/such\\ndirectory: no such directory");
        let unusable = Program::new("/etc/passwd", path_only()).run().await.unwrap_err();
        assert_eq!(unusable.to_string(), "start /etc/passwd");
        assert!(unusable.source().is_some());
    }

    #[test]
    fn credentials_in_urls_are_masked() {
        for (line, expected) in [
            ("fatal: 'https://x-token:ghs_1@github.com/o/r/'", "fatal: 'https://***@github.com/o/r/'"),
            ("ssh://git@h/a and http://u:p@q@h", "ssh://***@h/a and http://***@h"),
            ("https://github.com/o/r@v1", "https://github.com/o/r@v1"),
            ("mail a@b", "mail a@b"),
        ] {
            assert_eq!(without_credentials(line), expected);
        }
    }
}

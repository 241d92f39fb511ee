//! The programs that render: finds them, and runs them confined.
//!
//! **Invariant:** an engine reads the files of its [`Place`] and nothing else, and has no network. It is started only
//! through [`super::confine`]. (`tests/it/confinement.rs`)

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::confine::{Confinement, FileRule, Limits, NOT_CONFINED, NOT_STARTED, PREFIX, Processes};
use super::{Environment, Output, ProcessError, Program, last_lines, located};
use crate::project::snapshot::printable;

const LINES_SHOWN: usize = 8;
const CHARACTERS_SHOWN: usize = 2000;

/// A program that renders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineKind {
    /// The program `kustomize`.
    Kustomize,
    /// The program `helm`.
    Helm,
}

impl EngineKind {
    /// Returns the name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kustomize => "kustomize",
            Self::Helm => "helm",
        }
    }

    /// Returns the variable that names the file of the program.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Kustomize => "KTOR_KUSTOMIZE",
            Self::Helm => "KTOR_HELM",
        }
    }

    fn version_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kustomize => &["version"],
            Self::Helm => &["version", "--template", "{{.Version}}"],
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An engine on this machine.
#[derive(Clone, Debug)]
pub struct Engine {
    /// The kind of the engine.
    pub kind: EngineKind,
    /// The version that the engine says, without a leading `v`.
    pub version: String,
    /// The SHA-256 of the program's bytes, in hexadecimal.
    pub sha256: String,
    path: PathBuf,
    launcher: PathBuf,
}

/// The directories of one run, which are absolute and have no links in their paths.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The directory with all files that the engine can read.
    pub top: &'a Path,
    /// The empty directory that the engine takes for its user's.
    pub home: &'a Path,
}

/// The policy for the author of what is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The bounds of each run.
    pub bounds: Bounds,
    /// The rule for a kernel that cannot confine files.
    pub without_landlock: WithoutLandlock,
}

/// The rule for a kernel that cannot confine files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutLandlock {
    /// The engine does not run.
    Refuse,
    /// The engine runs with the other limits, and the output says so.
    Proceed,
}

/// The bounds of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The time after which the engine is killed.
    pub time: Duration,
    /// The processor time in seconds.
    pub cpu_seconds: u64,
    /// The address space in bytes.
    pub address_space: u64,
    /// The size of the output in bytes.
    pub output: usize,
}

impl Policy {
    /// The policy for the repository's own content.
    pub const OWN: Self = Self {
        bounds: Bounds { time: Duration::from_secs(60), cpu_seconds: 60, address_space: 4 << 30, output: 64 << 20 },
        without_landlock: WithoutLandlock::Proceed,
    };

    /// The policy for content that anyone may have written: a pull request of a fork.
    pub const UNTRUSTED: Self = Self {
        bounds: Bounds { time: Duration::from_secs(20), cpu_seconds: 20, address_space: 2 << 30, output: 64 << 20 },
        without_landlock: WithoutLandlock::Refuse,
    };
}

/// The output of an engine that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendering {
    /// Everything that the engine printed.
    pub text: Vec<u8>,
    /// The last lines of the engine's warnings, as one line. It may be empty.
    pub warnings: String,
    /// The part of the confinement that this kernel lacks, if the policy let the engine run without it.
    pub unconfined: Option<String>,
}

/// The reason why an engine gave no output.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no such engine.
    #[error(
        "find {kind}{}: install it in an earlier step, or set {} to the path of the program",
        version.as_ref().map(|version| format!(" {version}")).unwrap_or_default(), kind.variable()
    )]
    NotFound {
        /// The kind of the engine.
        kind: EngineKind,
        /// The wanted version.
        version: Option<String>,
    },
    /// There is an engine, but of another version than the wanted one.
    #[error(
        "find {kind} {wanted}: {} is {found}; install {wanted}, or set {} to the path of the program",
        printable(.path), kind.variable()
    )]
    OtherVersion {
        /// The kind of the engine.
        kind: EngineKind,
        /// The wanted version.
        wanted: String,
        /// The version that was found.
        found: String,
        /// The file of the engine that was found.
        path: PathBuf,
    },
    /// The file cannot be an engine.
    #[error("use {} as {kind}: {problem}", printable(.path))]
    Unusable {
        /// The kind of the engine.
        kind: EngineKind,
        /// The path of the file.
        path: PathBuf,
        /// The reason.
        problem: String,
    },
    /// The kernel cannot confine the engine, and the policy requires it.
    #[error("confine {kind} on this machine: {missing}; use a machine with Linux 6.2 or newer")]
    NotConfined {
        /// The kind of the engine.
        kind: EngineKind,
        /// The thing that the kernel lacks.
        missing: String,
    },
    /// The engine was not started, although the kernel can confine it.
    #[error("start {kind} confined: {problem}")]
    NotStarted {
        /// The kind of the engine.
        kind: EngineKind,
        /// The reason.
        problem: String,
    },
    /// The engine did not end in time.
    #[error("run {kind}: it did not end within {} s", limit.as_secs_f32())]
    TimedOut {
        /// The kind of the engine.
        kind: EngineKind,
        /// The time that the engine had.
        limit: Duration,
    },
    /// The engine was killed.
    #[error("run {kind}: it used more than {} s of processor time, or the machine ran out of memory", limit)]
    Killed {
        /// The kind of the engine.
        kind: EngineKind,
        /// The processor time in seconds that the engine had.
        limit: u64,
    },
    /// The engine wanted more memory than it was allowed to use.
    #[error("run {kind}: it needs more than {} MiB of memory", limit >> 20)]
    TooMuchMemory {
        /// The kind of the engine.
        kind: EngineKind,
        /// The bytes that the engine was allowed to use.
        limit: u64,
    },
    /// The engine printed more than it was allowed to.
    #[error("run {kind}: it printed more than {limit} bytes")]
    TooMuchOutput {
        /// The kind of the engine.
        kind: EngineKind,
        /// The number of bytes that were allowed.
        limit: usize,
    },
    /// The engine ended without success.
    #[error("run {kind} ({status}){}", if message.is_empty() { String::new() } else { format!(": {message}") })]
    Failed {
        /// The kind of the engine.
        kind: EngineKind,
        /// The exit status of the engine.
        status: ExitStatus,
        /// The last lines of the engine's messages as one line, escaped, without credentials. Paths are relative to
        /// the directory with the files.
        message: String,
    },
    /// The launcher could not be run.
    #[error("run {kind}")]
    Process {
        /// The kind of the engine.
        kind: EngineKind,
        /// The reason.
        #[source]
        source: ProcessError,
    },
}

impl Engine {
    /// Finds an engine, and asks it for its version.
    ///
    /// The file that the engine's variable names is used as it is. Otherwise the runner's tool cache is searched for
    /// the wanted version, then the `PATH` for any. Without a wanted version, the engine on the `PATH` comes first: an
    /// earlier step has put it there. `launcher` is the file of this program, which confines the engine.
    ///
    /// # Errors
    ///
    /// There is no engine, it has another version than the wanted one, or it is not a program that can run confined.
    pub async fn find(
        kind: EngineKind,
        version: Option<&str>,
        launcher: &Path,
        environment: &Environment,
    ) -> Result<Self, EngineError> {
        let named = environment.get(kind.variable()).filter(|path| !path.is_empty()).map(PathBuf::from);
        let path = match &named {
            Some(path) => path.clone(),
            None => found(kind, version, environment)
                .ok_or_else(|| EngineError::NotFound { kind, version: version.map(str::to_owned) })?,
        };
        let unusable = |problem: String| EngineError::Unusable { kind, path: path.clone(), problem };
        let (path, sha256) = digest(&path).map_err(|problem| unusable(problem.to_string()))?;
        let mut engine = Self { kind, version: String::new(), sha256, path, launcher: launcher.to_owned() };
        let nowhere = Place { top: Path::new("/"), home: Path::new("/") };
        let confinement = Confinement { read: Vec::new(), ..engine.confinement(&nowhere, &Policy::OWN) };
        let answer = engine.start(&nowhere, kind.version_arguments(), &Policy::OWN, confinement).await?;
        engine.version = version_in(&answer.text).ok_or_else(|| {
            let said = last_lines(&answer.text, 1, 100);
            EngineError::Unusable {
                kind,
                path: engine.path.clone(),
                problem: format!("it says that its version is \"{said}\""),
            }
        })?;
        match version.map(|wanted| wanted.trim_start_matches('v')) {
            Some(wanted) if named.is_none() && wanted != engine.version => Err(EngineError::OtherVersion {
                kind,
                wanted: wanted.to_owned(),
                found: engine.version,
                path: engine.path,
            }),
            _ => Ok(engine),
        }
    }

    /// Runs the engine in the top directory of a place until it ends.
    ///
    /// The engine gets no variable of this process. It can read the place, and no other file. If the future is dropped,
    /// the engine is killed.
    ///
    /// # Errors
    ///
    /// The engine fails, exceeds a bound, or cannot be confined as the policy requires.
    pub async fn run<A: AsRef<OsStr>>(
        &self,
        place: &Place<'_>,
        arguments: &[A],
        policy: &Policy,
    ) -> Result<Rendering, EngineError> {
        self.start(place, arguments, policy, self.confinement(place, policy)).await
    }

    fn confinement(&self, place: &Place<'_>, policy: &Policy) -> Confinement {
        Confinement {
            read: vec![place.top.to_owned(), place.home.to_owned()],
            execute: vec![self.path.clone()],
            write: Vec::new(),
            files: FileRule::Confined,
            processes: Processes::One,
            limits: Limits {
                cpu_seconds: policy.bounds.cpu_seconds,
                address_space: policy.bounds.address_space,
                file_size: 0,
            },
        }
    }

    async fn start<A: AsRef<OsStr>>(
        &self,
        place: &Place<'_>,
        arguments: &[A],
        policy: &Policy,
        confinement: Confinement,
    ) -> Result<Rendering, EngineError> {
        let output = self.launch(place, arguments, policy, &confinement).await?;
        match (own_failure(&output), policy.without_landlock) {
            (Some((NOT_CONFINED, missing)), WithoutLandlock::Proceed) => {
                // Nothing has run yet. System calls are still denied, so only the files are open.
                let open = Confinement { files: FileRule::Open, ..confinement };
                let output = self.launch(place, arguments, policy, &open).await?;
                match own_failure(&output) {
                    Some((code, problem)) => Err(self.not_started(code, problem)),
                    None => self.rendering(&output, place, policy, Some(missing)),
                }
            }
            (Some((code, problem)), _) => Err(self.not_started(code, problem)),
            (None, _) => self.rendering(&output, place, policy, None),
        }
    }

    async fn launch<A: AsRef<OsStr>>(
        &self,
        place: &Place<'_>,
        arguments: &[A],
        policy: &Policy,
        confinement: &Confinement,
    ) -> Result<Output, EngineError> {
        let kind = self.kind;
        let not_started = |error: serde_json::Error| EngineError::NotStarted { kind, problem: error.to_string() };
        let confinement = serde_json::to_string(confinement).map_err(not_started)?;
        let mut line: Vec<OsString> = vec!["confine".into(), confinement.into(), "--".into(), self.path.clone().into()];
        line.extend(arguments.iter().map(|argument| argument.as_ref().to_owned()));
        Program::new(&self.launcher, variables(place.home))
            .arguments(line)
            .directory(place.top)
            .time_limit(policy.bounds.time)
            .output_limit(policy.bounds.output)
            .run()
            .await
            .map_err(|error| match error {
                ProcessError::TimedOut { limit, .. } => EngineError::TimedOut { kind, limit },
                ProcessError::TooMuchOutput { limit, .. } => EngineError::TooMuchOutput { kind, limit },
                source => EngineError::Process { kind, source },
            })
    }

    fn not_started(&self, code: u8, problem: String) -> EngineError {
        let kind = self.kind;
        if code == NOT_CONFINED {
            EngineError::NotConfined { kind, missing: problem }
        } else {
            EngineError::NotStarted { kind, problem }
        }
    }

    fn rendering(
        &self,
        output: &Output,
        place: &Place<'_>,
        policy: &Policy,
        unconfined: Option<String>,
    ) -> Result<Rendering, EngineError> {
        let (kind, bounds) = (self.kind, policy.bounds);
        let said = in_tree(&String::from_utf8_lossy(&output.stderr), place);
        let message = last_lines(said.as_bytes(), LINES_SHOWN, CHARACTERS_SHOWN);
        if output.status.success() {
            return Ok(Rendering { text: output.stdout.clone(), warnings: message, unconfined });
        }
        if output.status.signal() == Some(KILL) {
            return Err(EngineError::Killed { kind, limit: bounds.cpu_seconds });
        }
        if is_out_of_memory(&said) {
            return Err(EngineError::TooMuchMemory { kind, limit: bounds.address_space });
        }
        Err(EngineError::Failed { kind, status: output.status, message })
    }
}

/// The signal that ends a program that used up its processor time.
const KILL: i32 = rustix::process::Signal::KILL.as_raw();

/// The words of Go's runtime, which the engines are made with, when the system refuses memory. It has several for each
/// part of its own tables.
const OUT_OF_MEMORY: [&str; 5] = [
    "out of memory",
    "cannot allocate memory",
    "failed to reserve page summary memory",
    "failed to allocate aligned heap memory",
    "memory reservation exceeds address space limit",
];

/// Returns `true` if Go's runtime ended the program because the system refused memory.
fn is_out_of_memory(said: &str) -> bool {
    let reasons = said.lines().filter_map(|line| line.strip_prefix("fatal error: "));
    reasons.into_iter().any(|reason| OUT_OF_MEMORY.iter().any(|words| reason.contains(words)))
}

/// Returns the environment of an engine: an empty home, and nothing of this process.
fn variables(home: &Path) -> Environment {
    let directories = ["HOME", "TMPDIR", "XDG_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"];
    directories
        .iter()
        .fold(Environment::default(), |variables, name| variables.with(*name, home))
        .with("HELM_PLUGINS", "")
        // A crash prints one line, not the stacks of all threads.
        .with("GOTRACEBACK", "none")
}

/// Returns the exit code and the message of a launcher that did not start its program.
fn own_failure(output: &Output) -> Option<(u8, String)> {
    let code = u8::try_from(output.status.code()?).ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let message = text.strip_prefix(PREFIX)?;
    [NOT_CONFINED, NOT_STARTED].contains(&code).then(|| (code, last_lines(message.as_bytes(), 1, CHARACTERS_SHOWN)))
}

/// Replaces the paths of a place by paths in the tree.
fn in_tree(text: &str, place: &Place<'_>) -> String {
    // The root directory is the place of nothing, and every path contains it.
    let replaced = |text: String, directory: &Path, by: &str| match directory.to_str() {
        Some(directory) if directory != "/" => {
            text.replace(&format!("{directory}/"), &format!("{by}/")).replace(directory, by)
        }
        _ => text,
    };
    let text = match place.top.to_str() {
        Some(top) if top != "/" => text.replace(&format!("{top}/"), "").replace(top, "."),
        _ => text.to_owned(),
    };
    replaced(text, place.home, "~")
}

/// Finds the file of an engine.
fn found(kind: EngineKind, version: Option<&str>, environment: &Environment) -> Option<PathBuf> {
    let cached = || in_tool_cache(kind, version, environment.get("RUNNER_TOOL_CACHE")?);
    let on_path = || located(kind.name().as_ref(), environment.get("PATH"));
    if version.is_some() { cached().or_else(on_path) } else { on_path().or_else(cached) }
}

/// Finds an engine in the runner's tool cache, `NAME/VERSION/ARCHITECTURE`: the wanted version, else the newest.
fn in_tool_cache(kind: EngineKind, version: Option<&str>, cache: &OsStr) -> Option<PathBuf> {
    let versions = Path::new(cache).join(kind.name());
    let newest = || {
        let names = fs::read_dir(&versions).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| Some((numbers(&name)?, name))).max().map(|(_, name)| name)
    };
    let version = version.map(|version| version.trim_start_matches('v').to_owned()).or_else(newest)?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let directory = versions.join(version).join(architecture);
    let below = fs::read_dir(&directory).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let mut directories: Vec<PathBuf> = below.collect();
    directories.sort();
    directories.insert(0, directory);
    directories.into_iter().map(|directory| directory.join(kind.name())).find(|file| file.is_file())
}

/// Returns the numbers of a version such as `5.8.1`, or `None` if it has another form.
fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// Returns the version that an engine says, without a leading `v`.
fn version_in(text: &[u8]) -> Option<String> {
    let version = std::str::from_utf8(text).ok()?.trim().strip_prefix('v')?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    (version.starts_with(|c: char| c.is_ascii_digit()) && version.chars().all(is_plain)).then(|| version.to_owned())
}

/// Returns the path of a program without links, and the SHA-256 of its bytes.
fn digest(path: &Path) -> io::Result<(PathBuf, String)> {
    let path = path.canonicalize()?;
    if !path.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let (mut file, mut hash, mut chunk) = (File::open(&path)?, Sha256::new(), vec![0; 256 << 10]);
    let mut is_first = true;
    loop {
        let count = file.read(&mut chunk)?;
        if is_first && !chunk[..count].starts_with(b"\x7fELF") {
            return Err(io::Error::other("it is a script or no program, and only the program itself can be confined"));
        }
        is_first = false;
        if count == 0 {
            let hexadecimal = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok((path, hexadecimal));
        }
        hash.update(&chunk[..count]);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Writes a program that answers as a launcher does, and an engine that it would start.
    fn machine(script: &str) -> (tempfile::TempDir, PathBuf, Environment) {
        let folder = tempfile::tempdir().unwrap();
        let launcher = folder.path().join("launcher");
        std::fs::write(&launcher, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&launcher, std::fs::Permissions::from_mode(0o755)).unwrap();
        let engine = folder.path().join("engine");
        std::fs::write(&engine, "\x7fELF").unwrap();
        (folder, launcher, Environment::default().with("KTOR_KUSTOMIZE", engine))
    }

    async fn found(script: &str) -> Result<Engine, EngineError> {
        let (_folder, launcher, environment) = machine(script);
        Engine::find(EngineKind::Kustomize, None, &launcher, &environment).await
    }

    /// A launcher on a kernel that confines no files.
    const WITHOUT_LANDLOCK: &str = "case \"$2\" in *'\"files\":\"Confined\"'*)\n  \
        echo 'confine: it lacks Landlock' >&2\n  exit 125;;\nesac\necho v5.8.1";

    #[tokio::test]
    async fn k3_without_landlock_own_content_is_rendered_and_told_and_any_other_is_refused() {
        let (folder, launcher, environment) = machine(WITHOUT_LANDLOCK);
        let engine = Engine::find(EngineKind::Kustomize, None, &launcher, &environment).await.unwrap();
        assert_eq!(engine.version, "5.8.1");
        let place = Place { top: folder.path(), home: folder.path() };
        let rendering = engine.run(&place, &["build"], &Policy::OWN).await.unwrap();
        assert_eq!(
            (rendering.text.as_slice(), rendering.unconfined.as_deref()),
            (&b"v5.8.1\n"[..], Some("it lacks Landlock"))
        );
        let refused = engine.run(&place, &["build"], &Policy::UNTRUSTED).await.unwrap_err();
        assert!(
            matches!(&refused, EngineError::NotConfined { missing, .. } if missing == "it lacks Landlock"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn k3_a_launcher_that_cannot_start_the_engine_says_why() {
        let seccomp = "echo 'confine: it lacks seccomp filters' >&2; exit 125";
        let refused = found(seccomp).await.unwrap_err();
        assert!(matches!(refused, EngineError::NotConfined { .. }), "{refused}");
        let refused = found("echo 'confine: start engine: no such file' >&2; exit 126").await.unwrap_err();
        assert!(matches!(refused, EngineError::NotStarted { .. }), "{refused}");
        // An engine can end with these codes, too.
        let refused = found("echo 'no such file' >&2; exit 126").await.unwrap_err();
        assert!(matches!(refused, EngineError::Failed { .. }), "{refused}");
    }

    #[tokio::test]
    async fn k7_an_engine_that_names_no_version_is_not_used() {
        let refused = found("echo 'hello\u{1b}[2J'").await.unwrap_err().to_string();
        assert!(refused.contains("it says that its version is \"hello") && !refused.contains('\u{1b}'), "{refused}");
    }

    #[test]
    fn k3_each_way_in_which_go_runs_out_of_memory_is_known() {
        for reason in [
            "runtime: out of memory",
            "runtime: cannot allocate memory",
            "out of memory",
            "out of memory (stackalloc)",
            "out of memory allocating heap arena map",
            "pageAlloc: out of memory",
            "failed to reserve page summary memory",
            "failed to allocate aligned heap memory; too many retries",
            "memory reservation exceeds address space limit",
        ] {
            assert!(is_out_of_memory(&format!("runtime: x\nfatal error: {reason}\n\nruntime stack:\n")), "{reason}");
        }
        for said in
            ["fatal error: all goroutines are asleep", "Error: x: out of memory", "a fatal error: out of memory"]
        {
            assert!(!is_out_of_memory(said), "{said}");
        }
    }
}

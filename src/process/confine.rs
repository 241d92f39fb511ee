//! Confines this process, and then replaces it with another program, which inherits the limits.
//!
//! The kernel enforces every rule here, and no program can lift one again: the files that it can open (Landlock), the
//! system calls that it can make (seccomp), and the time and memory that it can use (resource limits).
//!
//! **Invariant:** a program that [`Confinement::replace`] starts opens no file, starts no program and creates no socket
//! but those that the confinement names. (`tests/it/confinement.rs`)

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use serde::{Deserialize, Serialize};

use super::system_calls;
pub use super::system_calls::Processes;
use crate::project::snapshot::printable;

/// The exit code of a process that could not confine itself because the kernel cannot do it.
pub const NOT_CONFINED: u8 = 125;

/// The exit code of a process that could not start the program for another reason.
pub const NOT_STARTED: u8 = 126;

/// The start of the line that a process prints to stderr before it ends with one of these exit codes.
pub const PREFIX: &str = "confine: ";

/// The versions of Landlock that confine enough, the newest first. The oldest is that of Linux 6.2, the first that
/// forbids to truncate files. Later ones add TCP, devices, signals and sockets without a file.
const ABIS: [ABI; 8] = [ABI::V10, ABI::V9, ABI::V8, ABI::V7, ABI::V6, ABI::V5, ABI::V4, ABI::V3];

/// The limits that a program runs with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The files and directories that the program can read.
    pub read: Vec<PathBuf>,
    /// The programs that the program can execute and read. It must be one of them itself.
    pub execute: Vec<PathBuf>,
    /// The directories in which the program can read, create, change and remove files.
    pub write: Vec<PathBuf>,
    /// The rule for a kernel that cannot confine files.
    pub files: FileRule,
    /// The processes that the program can create.
    pub processes: Processes,
    /// The time and the memory that the program can use.
    pub limits: Limits,
}

/// The rule for a kernel that cannot confine files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileRule {
    /// The program is not started.
    Confined,
    /// The program can open every file that this process can open. System calls and limits still hold.
    Open,
}

/// The resources that a program can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The processor time in seconds. The program is killed after it.
    pub cpu_seconds: u64,
    /// The address space in bytes. More memory is refused.
    pub address_space: u64,
    /// The size in bytes of a file that the program writes.
    pub file_size: u64,
}

/// The reason why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The kernel cannot confine.
    #[error("it lacks {missing}")]
    NotConfined {
        /// The thing that the kernel lacks.
        missing: String,
    },
    /// A file or directory that the program can use cannot be opened.
    #[error("open {}: {problem}", printable(.path))]
    Path {
        /// The path of the file or directory.
        path: PathBuf,
        /// The reason.
        problem: String,
    },
    /// A limit was refused.
    #[error("set the limit of {what}: {source}")]
    Limit {
        /// The limited resource.
        what: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The kernel refused the program.
    #[error("start {}: {source}", printable(.program))]
    Start {
        /// The path of the program.
        program: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl ConfineError {
    /// Returns the exit code that says which kind of failure this is.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotConfined { .. } => NOT_CONFINED,
            Self::Path { .. } | Self::Limit { .. } | Self::Start { .. } => NOT_STARTED,
        }
    }
}

impl Confinement {
    /// Confines this process and replaces it with a program. Returns only if that fails. The process must not have
    /// started a thread.
    pub fn replace(&self, program: &Path, arguments: &[OsString]) -> ConfineError {
        match self.enter() {
            Ok(()) => {
                let source = Command::new(program).args(arguments).exec();
                ConfineError::Start { program: program.to_owned(), source }
            }
            Err(error) => error,
        }
    }

    fn enter(&self) -> Result<(), ConfineError> {
        let limit = |what| move |source: rustix::io::Errno| ConfineError::Limit { what, source: source.into() };
        // The program must not outlive the process that waits for it.
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(limit("its life"))?;
        let limits = [
            ("processor time", Resource::Cpu, self.limits.cpu_seconds),
            ("address space", Resource::As, self.limits.address_space),
            ("file sizes", Resource::Fsize, self.limits.file_size),
            ("core dumps", Resource::Core, 0),
        ];
        for (what, resource, most) in limits {
            setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(limit(what))?;
        }
        match self.files {
            FileRule::Confined => self.confine_files()?,
            FileRule::Open => {}
        }
        system_calls::deny(self.processes).map_err(|error| ConfineError::NotConfined {
            missing: format!("seccomp filters, or does not allow them here ({error})"),
        })
    }

    /// Lets this process open only the files of the confinement, and use no TCP port.
    fn confine_files(&self) -> Result<(), ConfineError> {
        let mut problem = "not supported".to_owned();
        for abi in ABIS {
            // A part of a rule set is never enforced: if the kernel lacks one rule, an older rule set is tried whole.
            match rule_set(abi) {
                Ok(set) => return self.restrict(abi, set),
                Err(error) => problem = error.to_string(),
            }
        }
        Err(ConfineError::NotConfined { missing: format!("Landlock of Linux 6.2 or newer ({problem})") })
    }

    fn restrict(&self, abi: ABI, set: Ruleset) -> Result<(), ConfineError> {
        let lacking = |error: landlock::RulesetError| ConfineError::NotConfined {
            missing: format!("Landlock, or does not allow it here ({error})"),
        };
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let write = (AccessFs::from_all(abi) & !AccessFs::Execute) & !devices();
        // The kernel reads the program that it starts on its behalf.
        let execute = AccessFs::Execute | AccessFs::ReadFile;
        let allowed = [(&self.read, read), (&self.execute, execute), (&self.write, write)];
        let mut set = set.create().map_err(lacking)?;
        for (paths, access) in allowed {
            for path in paths {
                let failed = |problem: String| ConfineError::Path { path: path.clone(), problem };
                // The rules for directories do not exist for files.
                let is_file = path.metadata().map_err(|error| failed(error.to_string()))?.is_file();
                let access = if is_file { access & AccessFs::from_file(abi) } else { access };
                let opened = PathFd::new(path).map_err(|error| failed(error.to_string()))?;
                set = set.add_rule(PathBeneath::new(opened, access)).map_err(lacking)?;
            }
        }
        let status = set.restrict_self().map_err(lacking)?;
        if status.ruleset != RulesetStatus::FullyEnforced || !status.no_new_privs {
            return Err(ConfineError::NotConfined { missing: format!("a part of Landlock ({:?})", status.ruleset) });
        }
        Ok(())
    }
}

/// Returns the rights to create devices, pipes and sockets in a directory. No program gets them.
fn devices() -> BitFlags<AccessFs> {
    AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeFifo | AccessFs::MakeSock
}

/// Returns rules that forbid everything that this version of Landlock knows. Returns an error if the kernel knows less.
fn rule_set(abi: ABI) -> Result<Ruleset, landlock::RulesetError> {
    let mut set =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(abi))?;
    let (ports, scopes) = (AccessNet::from_all(abi), Scope::from_all(abi));
    if !ports.is_empty() {
        set = set.handle_access(ports)?;
    }
    if !scopes.is_empty() {
        set = set.scope(scopes)?;
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    /// Confines a thread of its own to the files of a directory, and returns what a test saw there.
    fn in_confinement<T: Send + 'static>(
        confinement: Confinement,
        test: impl FnOnce(Result<(), ConfineError>) -> T + Send + 'static,
    ) -> T {
        thread::spawn(move || test(confinement.confine_files())).join().unwrap()
    }

    fn confinement(read: PathBuf, write: PathBuf) -> Confinement {
        Confinement {
            read: vec![read],
            execute: Vec::new(),
            write: vec![write],
            files: FileRule::Confined,
            processes: Processes::One,
            limits: Limits { cpu_seconds: 1, address_space: 1 << 30, file_size: 1 << 20 },
        }
    }

    #[test]
    fn k3_a_thread_opens_the_files_of_its_confinement_and_no_other() {
        let top = tempfile::tempdir().unwrap();
        let [read, write, other] = ["read", "write", "other"].map(|name| {
            let directory = top.path().join(name);
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("file"), name).unwrap();
            directory
        });
        let seen = in_confinement(confinement(read.join("file"), write.clone()), move |confined| {
            confined.unwrap();
            let kind = |error: io::Error| error.kind();
            (
                fs::read_to_string(read.join("file")).map_err(kind),
                fs::write(read.join("file"), "x").map_err(kind),
                fs::read_dir(&read).map(drop).map_err(kind),
                fs::write(write.join("new"), "x").map_err(kind),
                fs::read(other.join("file")).map(drop).map_err(kind),
                fs::write(other.join("new"), "x").map_err(kind),
            )
        });
        let denied = io::ErrorKind::PermissionDenied;
        assert_eq!(seen, (Ok("read".to_owned()), Err(denied), Err(denied), Ok(()), Err(denied), Err(denied)));
        assert_eq!(fs::read_to_string(top.path().join("read/file")).unwrap(), "read");
        assert!(!top.path().join("other/new").exists());
    }

    #[test]
    fn k3_a_path_that_is_not_there_is_named() {
        let missing = PathBuf::from("/nothing/is\nhere");
        let text = in_confinement(confinement(missing.clone(), missing), |confined| {
            let error = confined.unwrap_err();
            (error.exit_code(), error.to_string())
        });
        assert_eq!(text.0, NOT_STARTED);
        assert!(
            text.1.starts_with("open /nothing/is") && text.1.ends_with("No such file or directory (os error 2)"),
            "{text:?}"
        );
        assert!(!text.1.contains('\n'), "{text:?}");
    }

    #[test]
    fn k3_each_failure_has_its_exit_code_and_its_words() {
        let source = || io::Error::from(io::ErrorKind::PermissionDenied);
        for (error, code, text) in [
            (ConfineError::NotConfined { missing: "Landlock".into() }, NOT_CONFINED, "it lacks Landlock"),
            (
                ConfineError::Limit { what: "core dumps", source: source() },
                NOT_STARTED,
                "set the limit of core dumps: permission denied",
            ),
            (
                ConfineError::Start { program: "/bin/x".into(), source: source() },
                NOT_STARTED,
                "start /bin/x: permission denied",
            ),
        ] {
            assert_eq!((error.exit_code(), error.to_string().as_str()), (code, text));
        }
    }
}

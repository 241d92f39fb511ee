//! The programs that the tests run beside the project. They are built once from the pinned Go modules, or the caller
//! provides them.
//!
//! Only Go modules are downloaded. Go downloads them and checks them against each module's `go.sum`.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use sha2::{Digest, Sha256};

/// The programs of one control plane, in one folder.
#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Finds the programs in `KUBEBUILDER_ASSETS`. If that is not set, finds them in the user's cache, where the first
    /// call builds them.
    pub fn locate() -> Result<Self, BinariesError> {
        match variable("KUBEBUILDER_ASSETS") {
            Some(assets) => Self::given(Path::new(&assets)),
            None => Ok(Self { folder: CONTROL_PLANE.built(&cache(), OsStr::new("go"), &mut io::stderr())? }),
        }
    }

    /// Takes the programs from a folder. Returns an error that names the programs that the folder lacks.
    pub fn given(assets: &Path) -> Result<Self, BinariesError> {
        // The servers run in another working directory, so the path must be absolute.
        let folder = std::path::absolute(assets).map_err(at(assets))?;
        let lacks = lacking(&folder, CONTROL_PLANE.programs);
        if lacks.is_empty() {
            Ok(Self { folder })
        } else {
            Err(BinariesError::Lack { folder, programs: lacks.join(", ") })
        }
    }

    /// Returns the path of one program.
    pub fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

/// Finds `act`, the runner of workflows, in the user's cache, where the first call builds it.
pub fn act() -> Result<PathBuf, BinariesError> {
    Ok(WORKFLOW.built(&cache(), OsStr::new("go"), &mut io::stderr())?.join("act"))
}

/// Finds the folder with `gitea` and the files that it reads, in the user's cache, where the first call builds it.
pub fn gitea() -> Result<PathBuf, BinariesError> {
    GITEA.built(&cache(), OsStr::new("go"), &mut io::stderr())
}

/// Finds `kustomize`: the file that `KTOR_KUSTOMIZE` names, else in the user's cache, where the first call builds it.
pub fn kustomize() -> Result<PathBuf, BinariesError> {
    match variable("KTOR_KUSTOMIZE") {
        Some(file) => Ok(file.into()),
        None => Ok(ENGINES.built(&cache(), OsStr::new("go"), &mut io::stderr())?.join("kustomize")),
    }
}

/// Finds `helm` of each supported major version: the file that `KTOR_HELM` names alone, else all in the user's cache,
/// where the first call builds them. The newest is the last.
pub fn helms() -> Result<Vec<PathBuf>, BinariesError> {
    if let Some(file) = variable("KTOR_HELM") {
        return Ok(vec![file.into()]);
    }
    let built = |module: &Module| module.built(&cache(), OsStr::new("go"), &mut io::stderr());
    [HELM_3, HELM_4].iter().map(|module| Ok(built(module)?.join("helm"))).collect()
}

/// The reason why there are no programs to run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says it")]
pub enum BinariesError {
    #[error("find {programs}: install Go (the version that {module}/go.mod names, or newer){or}")]
    NoGo { programs: String, module: PathBuf, or: &'static str },
    #[error("find {programs} in {folder}, which KUBEBUILDER_ASSETS names")]
    Lack { folder: PathBuf, programs: String },
    #[error("build {module}: go ended with {status}:\n{log}")]
    Build { module: PathBuf, status: std::process::ExitStatus, log: String },
    #[error("find python3: install Python 3.11 or newer, and Debian's python3-venv")]
    NoPython,
    #[error(
        "set up a Python program: {command} ended with {status} (it needs Debian's python3-venv, and PyPI):\n{log}"
    )]
    Python { command: String, status: std::process::ExitStatus, log: String },
    #[error("use {path}")]
    File { path: PathBuf, source: io::Error },
}

/// A Go module of this repository whose tools the tests run.
#[derive(Debug)]
pub struct Module {
    /// The module's folder.
    pub folder: &'static str,
    /// The flags for the linker.
    pub ldflags: &'static str,
    /// The build tags, separated by spaces.
    pub tags: &'static str,
    /// The value of `CGO_ENABLED`. It is `1` if the programs need C code, which needs a C compiler, and otherwise `0`.
    pub cgo: &'static str,
    /// The dependency whose folders the programs read at run time, and the names of these folders. The build copies them
    /// beside the programs.
    pub read: Option<(&'static str, &'static [&'static str])>,
    /// The names that the built tools must have.
    pub programs: &'static [&'static str],
    /// The tools to rename: the name that Go gives to a tool (the last element of its path), and the name that it must
    /// have.
    pub renamed: &'static [(&'static str, &'static str)],
    /// The duration of the first build, as text for a message.
    pub takes: &'static str,
    /// The alternative to an installed Go, as the end of an error message.
    pub or: &'static str,
}

const CONTROL_PLANE: Module = Module {
    folder: concat!(env!("CARGO_MANIFEST_DIR"), "/../controlplane"),
    // Without this stamp, the server reports the version v0.0.0-master and misleads clients that check it.
    ldflags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2 \
              -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37",
    tags: "",
    cgo: "0",
    read: None,
    programs: &["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok"],
    renamed: &[("server", "etcd")],
    takes: "about 13 minutes on two cores",
    or: ", or set KUBEBUILDER_ASSETS to a folder that has them",
};

const WORKFLOW: Module = Module {
    folder: concat!(env!("CARGO_MANIFEST_DIR"), "/../workflow"),
    ldflags: "-s -w",
    tags: "",
    cgo: "0",
    read: None,
    programs: &["act"],
    renamed: &[],
    takes: "about a minute on two cores",
    or: "",
};

const GITEA: Module = Module {
    folder: concat!(env!("CARGO_MANIFEST_DIR"), "/../gitea"),
    ldflags: "-s -w -X main.Version=1.26.4",
    // SQLite is C code.
    tags: "sqlite sqlite_unlock_notify",
    cgo: "1",
    read: Some(("code.gitea.io/gitea", &["options", "public", "templates"])),
    programs: &["gitea"],
    renamed: &[],
    takes: "about 6 minutes on two cores",
    or: " and a C compiler",
};

const ENGINES: Module = Module {
    folder: concat!(env!("CARGO_MANIFEST_DIR"), "/../engines"),
    ldflags: "-s -w",
    tags: "",
    cgo: "0",
    read: None,
    programs: &["kustomize"],
    // The last element of the tool's path is a version, so Go takes the one before it.
    renamed: &[],
    takes: "about half a minute on two cores",
    or: ", or set KTOR_KUSTOMIZE to the file of the program",
};

const HELM_3: Module = Module {
    folder: concat!(env!("CARGO_MANIFEST_DIR"), "/../engines/helm3"),
    ldflags: "-s -w -X helm.sh/helm/v3/internal/version.version=v3.21.4",
    tags: "",
    cgo: "0",
    read: None,
    programs: &["helm"],
    renamed: &[],
    takes: "about a minute on two cores",
    or: ", or set KTOR_HELM to the file of the program",
};

const HELM_4: Module = Module {
    folder: concat!(env!("CARGO_MANIFEST_DIR"), "/../engines/helm4"),
    ldflags: "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1",
    takes: "about 3 minutes on two cores",
    ..HELM_3
};

impl Module {
    /// Returns the folder with the built tools. One process at a time builds them, once for each pinned set.
    ///
    /// A long build writes a message to `told`, so that a person knows why nothing seems to happen. Callers pass
    /// standard error itself, since the test harness holds back printed output until a test has failed.
    pub fn built(&self, cache: &Path, go: &OsStr, told: &mut impl Write) -> Result<PathBuf, BinariesError> {
        let name = Path::new(self.folder).file_name().unwrap_or_default();
        once(&cache.join(name), &self.key()?, |partial| self.build(partial, go, told))
    }

    fn build(&self, partial: &Path, go: &OsStr, told: &mut impl Write) -> Result<(), BinariesError> {
        let (programs, takes) = (self.programs.join(", "), self.takes);
        let _ = writeln!(told, "building {programs} from {}: the first time takes {takes}", self.folder);
        let output = Command::new(go)
            .args(["build", "-C", self.folder, "-trimpath", "-ldflags", self.ldflags, "-tags", self.tags, "-o"])
            .arg(partial)
            .arg("tool")
            .env("CGO_ENABLED", self.cgo)
            .env("GOWORK", "off")
            .stdin(Stdio::null())
            .output();
        let output = match output {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BinariesError::NoGo {
                    programs: self.programs.join(", "),
                    module: self.folder.into(),
                    or: self.or,
                });
            }
            other => other.map_err(at(Path::new(go)))?,
        };
        for (called, wanted) in self.renamed {
            if partial.join(called).exists() {
                fs::rename(partial.join(called), partial.join(wanted)).map_err(at(partial))?;
            }
        }
        if !output.status.success() || !lacking(partial, self.programs).is_empty() {
            return Err(self.failed(&output));
        }
        let Some((dependency, folders)) = self.read else { return Ok(()) };
        let source = self.source(go, dependency)?;
        folders.iter().try_for_each(|name| copy(&source.join(name), &partial.join(name)))
    }

    /// Returns the folder in which Go keeps the source of a dependency.
    fn source(&self, go: &OsStr, dependency: &str) -> Result<PathBuf, BinariesError> {
        let mut list = Command::new(go);
        list.args(["list", "-C", self.folder, "-m", "-f", "{{.Dir}}", dependency]).env("GOWORK", "off");
        let output = list.stdin(Stdio::null()).output().map_err(at(Path::new(go)))?;
        if !output.status.success() {
            return Err(self.failed(&output));
        }
        Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end()))
    }

    fn failed(&self, output: &Output) -> BinariesError {
        let log = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        BinariesError::Build { module: self.folder.into(), status: output.status, log }
    }

    /// Returns the name of the pinned set: a hash of the files that Go reads, of the linker flags, of the tags, and of the
    /// names of the copied folders.
    fn key(&self) -> Result<String, BinariesError> {
        let mut hash = Sha256::new();
        for file in ["go.mod", "go.sum"] {
            let path = Path::new(self.folder).join(file);
            hash.update(fs::read(&path).map_err(at(&path))?);
        }
        hash.update(self.ldflags);
        hash.update(self.tags);
        for name in self.read.iter().flat_map(|(_, folders)| *folders) {
            hash.update(name);
        }
        Ok(short(hash))
    }
}

/// Returns the path of `name` in a folder. If it is missing, one process at a time builds it, and only once.
pub fn once(
    folder: &Path,
    name: &str,
    build: impl FnOnce(&Path) -> Result<(), BinariesError>,
) -> Result<PathBuf, BinariesError> {
    let place = folder.join(name);
    if place.is_dir() {
        return Ok(place);
    }
    fs::create_dir_all(folder).map_err(at(folder))?;
    let lock = folder.join("lock");
    let held = File::create(&lock).map_err(at(&lock))?;
    held.lock().map_err(at(&lock))?;
    // Another process may have built it while this process waited for the lock.
    if !place.is_dir() {
        clear(folder)?;
        // This folder belongs to this process alone, because an interrupted build may still write to its own folder.
        let partial = place.with_extension(format!("{}.{PARTIAL}", std::process::id()));
        fs::create_dir_all(&partial).map_err(at(&partial))?;
        build(&partial)?;
        fs::rename(&partial, &place).map_err(at(&place))?;
    }
    Ok(place)
}

/// Returns the first 8 bytes of a hash as 16 hexadecimal digits, for use as a name.
pub fn short(hash: Sha256) -> String {
    let short = hash.finalize().iter().take(8).fold(0_u64, |short, byte| short << 8 | u64::from(*byte));
    format!("{short:016x}")
}

/// The file extension of a folder that is being built or that an interrupted build left.
const PARTIAL: &str = "partial";

/// Removes the folders that interrupted builds left. Only the process that holds the lock may do this.
fn clear(folder: &Path) -> Result<(), BinariesError> {
    for left in fs::read_dir(folder).map_err(at(folder))? {
        let left = left.map_err(at(folder))?.path();
        if left.extension() == Some(OsStr::new(PARTIAL)) {
            fs::remove_dir_all(&left).map_err(at(&left))?;
        }
    }
    Ok(())
}

/// Copies a folder with everything in it.
fn copy(from: &Path, to: &Path) -> Result<(), BinariesError> {
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            fs::copy(&path, &to).map_err(at(&path))?;
        }
    }
    Ok(())
}

fn lacking(folder: &Path, programs: &[&'static str]) -> Vec<&'static str> {
    programs.iter().filter(|program| !folder.join(program).is_file()).copied().collect()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BinariesError {
    let path = path.to_owned();
    |source| BinariesError::File { path, source }
}

/// Returns the folder in which the tests keep what takes long to make.
pub fn cache() -> PathBuf {
    let base = variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || variable("HOME").map_or_else(std::env::temp_dir, |home| Path::new(&home).join(".cache"));
    base.unwrap_or_else(home).join("ktor-action")
}

#[expect(clippy::disallowed_methods, reason = "the product reads its environment in cli::env; this is no product code")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

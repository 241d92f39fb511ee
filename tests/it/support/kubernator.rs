//! Kubernator itself, the Python tool whose state, lock and mark we share: set up once, and run beside the binary.
//!
//! It runs as it is published. What it would download while it runs is put into its cache when it is set up.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use sha2::{Digest, Sha256};

use super::controlplane::{BinariesError, cache, once, sentence, short};

/// The Kubernetes client that it is made to take; newer ones it cannot use.
const CLIENT: &str = "35";

/// The lists of what is installed.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kubernator");

/// A Python with Kubernator in it.
#[derive(Debug)]
pub struct Kubernator {
    folder: PathBuf,
}

impl Kubernator {
    /// Returns the one of the user's cache, where the first call of all sets it up.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Kubernator, String>> = OnceLock::new();
        match SHARED.get_or_init(|| Self::set_up(&cache(), OsStr::new("python3")).map_err(|error| sentence(&error))) {
            Ok(kubernator) => kubernator,
            Err(sentence) => panic!("{sentence}"),
        }
    }

    /// Sets it up below a folder, unless it is there already, with this Python.
    pub fn set_up(cache: &Path, python: &OsStr) -> Result<Self, BinariesError> {
        let requirements = Path::new(FOLDER).join("requirements.txt");
        let client = Path::new(FOLDER).join("client.txt");
        // A virtual environment is bound to the Python that it was made with.
        let mut which = Command::new(python);
        which.args(["-c", "import sys; print(sys.executable, sys.version)"]);
        let mut hash = Sha256::new();
        hash.update(output(&mut which)?);
        for list in [&requirements, &client] {
            hash.update(fs::read(list).map_err(|source| BinariesError::File { path: list.clone(), source })?);
        }
        let folder = once(&cache.join("kubernator"), &short(hash), |partial| {
            output(Command::new(python).args(["-m", "venv"]).arg(partial))?;
            let its_python = || Command::new(partial.join("bin/python"));
            output(its_python().args(["-m", "pip", "install", "--no-input", "--requirement"]).arg(&requirements))?;
            let mut fetch = its_python();
            fetch.args(["-m", "kubernator", "--pre-cache-k8s-client", CLIENT]);
            output(fetch.env("XDG_CACHE_HOME", partial.join("cache")).env("PIP_CONSTRAINT", &client)).map(drop)
        })?;
        Ok(Self { folder })
    }

    /// Prepares a run over a directory against the cluster of a kubeconfig.
    pub fn command(&self, directory: &Path, kubeconfig: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.folder.join("bin/python"));
        command
            .args(["-m", "kubernator", "-p"])
            .arg(directory)
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", directory)
            .env("KUBECONFIG", kubeconfig)
            .env("XDG_CACHE_HOME", self.folder.join("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The script of a root project, for its directory.
    pub fn root_script(root: &str, cleanup: bool) -> String {
        let cleanup = if cleanup { "True" } else { "False" };
        format!(
            "import kubernator.plugins.k8s as k8s\n\
             install = k8s.install_python_k8s_client\n\
             k8s.install_python_k8s_client = lambda run, minor, *rest: install(run, \"{CLIENT}\", *rest)\n\
             ktor.app.register_plugin(\"k8s\")\n\
             ktor.app.register_plugin(\"project\", name=\"{root}\", cleanup={cleanup})\n"
        )
    }

    /// The script of a sub-project, for its directory.
    pub fn script(segment: &str) -> String {
        format!("ktor.app.project = \"{segment}\"\n")
    }
}

/// Runs one step of the set-up, and returns what it said.
fn output(command: &mut Command) -> Result<Vec<u8>, BinariesError> {
    let shown = format!("{command:?}");
    let output = match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BinariesError::NoPython),
        other => other.map_err(|source| BinariesError::File { path: shown.clone().into(), source })?,
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let log = [output.stdout, output.stderr].concat();
    let log = String::from_utf8_lossy(&log).trim().to_owned();
    Err(BinariesError::Kubernator { command: shown, status: output.status, log })
}

//! Kubernator itself, the Python tool whose state, lock and mark ktor shares. It is set up once, and runs beside the
//! binary.
//!
//! Kubernator runs as it is published. The set-up puts into its cache what it would download during a run.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use super::controlplane::{BinariesError, cache, sentence};
use super::python::{VirtualEnvironment, output};

/// The version of the Kubernetes client that Kubernator gets here. It cannot use newer ones.
const CLIENT: &str = "35";

/// The folder with the lists of the packages to install.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kubernator");

/// A Python environment that has Kubernator.
#[derive(Debug)]
pub struct Kubernator {
    folder: PathBuf,
}

impl Kubernator {
    /// Returns the Kubernator of the user's cache. The first call sets it up.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Kubernator, String>> = OnceLock::new();
        match SHARED.get_or_init(|| Self::set_up(&cache(), OsStr::new("python3")).map_err(|error| sentence(&error))) {
            Ok(kubernator) => kubernator,
            Err(sentence) => panic!("{sentence}"),
        }
    }

    /// Sets up Kubernator below a folder with this Python, unless it is there already.
    pub fn set_up(cache: &Path, python: &OsStr) -> Result<Self, BinariesError> {
        let requirements = Path::new(FOLDER).join("requirements.txt");
        let client = Path::new(FOLDER).join("client.txt");
        let inputs = [client.clone()];
        let folder = cache.join("kubernator");
        let environment = VirtualEnvironment { folder, python, requirements: &requirements, inputs: &inputs };
        let folder = environment.made(|partial| {
            let mut fetch = Command::new(partial.join("bin/python"));
            fetch.args(["-m", "kubernator", "--pre-cache-k8s-client", CLIENT]);
            output(fetch.env("XDG_CACHE_HOME", partial.join("cache")).env("PIP_CONSTRAINT", &client)).map(drop)
        })?;
        Ok(Self { folder })
    }

    /// Prepares a run of Kubernator on a directory, against the cluster of a kubeconfig.
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

    /// Prepares a run of a Python script that imports Kubernator.
    pub fn python(&self, script: &Path) -> Command {
        let mut command = Command::new(self.folder.join("bin/python"));
        command.arg(script).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("PYTHONIOENCODING", "utf-8");
        command
    }

    /// Returns the script of a root project, for its directory.
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

    /// Returns the script of a sub-project, for its directory.
    pub fn script(segment: &str) -> String {
        format!("ktor.app.project = \"{segment}\"\n")
    }
}

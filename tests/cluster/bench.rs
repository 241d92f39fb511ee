//! A test project in a directory, and the means to run the binary and kubectl on it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use flate2::read::GzDecoder;
use serde_json::Value;
use sha1::{Digest, Sha1};
use support::controlplane::{ControlPlane, User};
use support::profile;
use tempfile::TempDir;

/// A project in a temporary directory, and the control plane that it is applied to.
pub struct Bench {
    pub plane: &'static ControlPlane,
    directory: TempDir,
    /// The root's name. No other test uses it.
    pub root: String,
    kubeconfig: PathBuf,
}

/// The result of a run of the binary.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Asserts the exit code. If it differs, prints everything.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Asserts that standard error contains this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in {self:#?}");
        self
    }

    /// Parses the report on standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

impl Bench {
    /// Creates a project whose root's name begins with this text. Cleanup is on.
    pub fn new(begins: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::of_root(&format!("{begins}-{}-{number}", std::process::id()))
    }

    /// Creates a project on a control plane of its own, for tests that would disturb the others on a shared one.
    pub fn alone(root: &str) -> Self {
        let plane = ControlPlane::start().unwrap_or_else(|error| panic!("{error}"));
        // The control plane ends with the process.
        Self::on(Box::leak(Box::new(plane)), root)
    }

    /// Creates a project with exactly this root's name.
    pub fn of_root(root: &str) -> Self {
        Self::on(ControlPlane::shared(), root)
    }

    fn on(plane: &'static ControlPlane, root: &str) -> Self {
        let bench = Self {
            plane,
            directory: tempfile::tempdir().unwrap(),
            root: root.to_owned(),
            kubeconfig: plane.kubeconfig(User::Admin),
        };
        bench.write(".ktor.yaml", &format!("project: {root}\ncleanup: true\n"));
        bench
    }

    /// Uses another kubeconfig for all later runs of the binary.
    pub fn through(&mut self, kubeconfig: PathBuf) -> &mut Self {
        self.kubeconfig = kubeconfig;
        self
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub fn remove(&self, path: &str) -> &Self {
        let path = self.path().join(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        self
    }

    /// Returns the kubeconfig that the binary uses.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .envs(profile())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path())
            .env("USER", "tester")
            .env("HOSTNAME", "bench")
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the binary.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(Path::new(env!("CARGO_BIN_EXE_ktor")), arguments).spawn().unwrap()
    }

    /// Starts the binary on a terminal of its own. Its standard input is what a user types, and its standard output is
    /// the screen.
    pub fn spawn_at_terminal(&self, arguments: &str) -> Child {
        let typed = format!("exec '{}' {arguments}", env!("CARGO_BIN_EXE_ktor"));
        let mut command = self.command(Path::new("/usr/bin/script"), &["-q", "-e", "-c", &typed, "/dev/null"]);
        command.stdin(Stdio::piped()).spawn().unwrap()
    }

    /// Starts the binary with this folder first in its `PATH`.
    pub fn spawn_beside(&self, programs: &Path, arguments: &[&str]) -> Child {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_ktor")), arguments);
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display())).spawn().unwrap()
    }

    /// Starts a command line in a shell, as a person pastes it. In the shell, `ktor` is the binary.
    pub fn spawn_in_shell(&self, typed: &str) -> Child {
        let programs = Path::new(env!("CARGO_BIN_EXE_ktor")).parent().unwrap();
        let mut command = self.command(Path::new("/bin/sh"), &["-c", typed]);
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display())).spawn().unwrap()
    }

    /// Starts the example program whose lock expires after a few seconds. On a busy machine, it may lose the lock.
    pub fn spawn_brief(&self, arguments: &[&str]) -> Child {
        self.spawn_example("ktor-brief", arguments)
    }

    /// Runs the example program that waits only a few seconds for objects that are being deleted.
    pub fn impatient(&self, arguments: &[&str]) -> Ran {
        Self::finished(self.spawn_example("ktor-impatient", arguments))
    }

    fn spawn_example(&self, name: &str, arguments: &[&str]) -> Child {
        let ktor = Path::new(env!("CARGO_BIN_EXE_ktor"));
        let example = ktor.with_file_name("examples").join(name);
        assert!(example.is_file(), "no {}: build it with `cargo build --example {name}`", example.display());
        self.command(&example, arguments).spawn().unwrap()
    }

    /// Runs the binary.
    pub fn ktor(&self, arguments: &[&str]) -> Ran {
        Self::finished(self.spawn(arguments))
    }

    /// Waits for the end of a started binary.
    pub fn finished(child: Child) -> Ran {
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Applies and returns the report. The apply must succeed.
    #[track_caller]
    pub fn apply(&self) -> Value {
        self.ktor(&["apply", "--yes", "-o", "json"]).exits(0).json()
    }

    /// Plans and returns the report. The exit code may be any.
    #[track_caller]
    pub fn plan(&self) -> Value {
        self.ktor(&["plan", "-o", "json"]).json()
    }

    /// Returns an object as kubectl shows it, or `None` if it does not exist.
    pub fn get(&self, resource: &str, namespace: Option<&str>) -> Option<Value> {
        let mut arguments = vec!["get", resource, "-o", "json", "--show-managed-fields", "--ignore-not-found"];
        if let Some(namespace) = namespace {
            arguments.extend(["-n", namespace]);
        }
        let output = self.plane.kubectl(&arguments);
        assert!(output.status.success(), "{output:?}");
        if output.stdout.is_empty() { None } else { Some(serde_json::from_slice(&output.stdout).unwrap()) }
    }

    /// Runs kubectl, which must succeed.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let output = self.plane.kubectl_with(arguments, input);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the first 12 hex digits of the root's SHA-1. The tests compute it themselves.
    pub fn hash(&self) -> String {
        Sha1::digest(self.root.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the recorded state. The tests decode it themselves.
    pub fn state(&self) -> Value {
        serde_json::from_str(&self.state_text()).unwrap()
    }

    /// Returns the text of the recorded state.
    pub fn state_text(&self) -> String {
        let name = format!("secret/kubernator-project-{}", self.hash());
        let secret = self.get(&name, Some("kubernator-system")).expect("there is a state");
        assert_eq!(secret["type"], "kubernator.io/project-state");
        assert_eq!(secret["metadata"]["annotations"]["kubernator.io/project-root"], self.root.as_str());
        let data = secret["data"]["state"].as_str().unwrap();
        let data = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        let mut json = String::new();
        GzDecoder::new(data.as_slice()).read_to_string(&mut json).unwrap();
        json
    }

    /// Returns the recorded kinds and names by project, and whether the state is finalized.
    pub fn recorded(&self) -> (bool, BTreeMap<String, Vec<String>>) {
        let state = self.state();
        let list = |idents: &Value| {
            let name =
                |ident: &Value| format!("{} {}", ident["kind"].as_str().unwrap(), ident["name"].as_str().unwrap());
            idents.as_array().unwrap().iter().map(name).collect()
        };
        let resources = state["resources"].as_object().unwrap();
        let resources = resources.iter().map(|(project, idents)| (project.clone(), list(idents))).collect();
        (state["finalized"] == true, resources)
    }

    /// Returns the Lease of the lock.
    pub fn lease(&self) -> Option<Value> {
        self.get(&format!("lease/kubernator-project-{}-lock", self.hash()), Some("kubernator-system"))
    }
}

/// Returns the manifest of a ConfigMap.
pub fn config_map(namespace: &str, name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {namespace}\ndata:\n  phase: {value:?}\n"
    )
}

/// Returns the manifest of a Namespace.
pub fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
}

/// Finds a change in a list of a plan by the name of its object.
#[track_caller]
pub fn change<'a>(plan: &'a Value, list: &str, name: &str) -> &'a Value {
    let changes = plan[list].as_array().unwrap();
    let found = changes.iter().find(|change| change["key"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {plan:#}"))
}

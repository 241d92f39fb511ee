//! The process's surroundings: variables, arguments, randomness. The only place that reads them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

use crate::cluster::connect::ConnectOptions;
use crate::process::Environment;

/// The variables that the process was started with. Never displayed.
pub struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    /// Reads the process's variables, once.
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// A variable's value; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<OsString> {
        self.0.get(&OsString::from(name)).filter(|value| !value.is_empty()).cloned()
    }

    /// A variable's value as text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.into_string().ok()
    }

    /// All of them, for programs that are started; each takes what it needs.
    pub fn for_programs(&self) -> Environment {
        self.0.clone().into_iter().collect()
    }

    /// Those that are text, whose names begin with `prefix`.
    pub fn with_prefix(&self, prefix: &str) -> BTreeMap<String, String> {
        let text = |(name, value): (&OsString, &OsString)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()));
        self.0.iter().filter_map(text).filter(|(name, _)| name.starts_with(prefix)).collect()
    }
}

/// The process's arguments, its own name first.
pub fn arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os()
}

/// Whether this is a step of a workflow, whose log obeys commands.
pub fn is_workflow(variables: &Variables) -> bool {
    variables.text("GITHUB_ACTIONS").as_deref() == Some("true")
}

/// Which cluster: the given file, else KUBECONFIG, else `~/.kube/config` where there is one, else the pod's own.
pub fn connect_options(kubeconfig: Option<&Path>, context: Option<&str>, variables: &Variables) -> ConnectOptions {
    let files = match (kubeconfig, variables.get("KUBECONFIG")) {
        (Some(file), _) => vec![file.to_owned()],
        (None, Some(list)) => std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect(),
        (None, None) => home_kubeconfig(variables).into_iter().collect(),
    };
    let in_cluster = files.is_empty() && variables.get("KUBERNETES_SERVICE_HOST").is_some();
    ConnectOptions { kubeconfig: files, context: context.map(str::to_owned), in_cluster }
}

fn home_kubeconfig(variables: &Variables) -> Option<PathBuf> {
    let file = PathBuf::from(variables.get("HOME")?).join(".kube/config");
    file.is_file().then_some(file)
}

/// Who runs this, for the lock's holder: `user@host`, as far as the variables say.
pub fn whoami(variables: &Variables) -> String {
    let part = |names: [&str; 2], or: &str| names.iter().find_map(|name| variables.text(name)).unwrap_or_else(|| or.to_owned());
    let text = format!("{}@{}", part(["USER", "LOGNAME"], "someone"), part(["HOSTNAME", "HOST"], "somewhere"));
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "@-_.".contains(*c)).take(80).collect()
}

/// 16 bytes that no other run has: the keys that the standard library draws for its hash maps from the system.
pub fn seed() -> [u8; 16] {
    let mut seed = [0; 16];
    for half in seed.chunks_mut(8) {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        half.copy_from_slice(&hasher.finish().to_ne_bytes());
    }
    seed
}

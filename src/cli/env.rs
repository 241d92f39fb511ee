//! The process's environment: variables, arguments and randomness. Only this module reads them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::cluster::connect::ConnectOptions;
use crate::process::Environment;
use crate::run::sources::engines::LAUNCHER;

/// The variables that the process was started with. They are never displayed.
pub(crate) struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    /// Reads the variables of the process, once.
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
    pub(crate) fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// Returns a variable's value. An empty value counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<OsString> {
        self.0.get(&OsString::from(name)).filter(|value| !value.is_empty()).cloned()
    }

    /// Returns a variable's value if it is valid UTF-8.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.into_string().ok()
    }

    /// Returns all variables, for programs that are started. Each program takes the variables that it needs. One more
    /// variable names this program, which confines others.
    pub(crate) fn for_programs(&self) -> Environment {
        let variables: Environment = self.0.clone().into_iter().collect();
        variables.with(LAUNCHER, std::env::current_exe().unwrap_or_default())
    }

    /// Returns the variables whose names begin with `prefix`, if name and value are valid UTF-8.
    pub(crate) fn with_prefix(&self, prefix: &str) -> BTreeMap<String, String> {
        let text =
            |(name, value): (&OsString, &OsString)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()));
        self.0.iter().filter_map(text).filter(|(name, _)| name.starts_with(prefix)).collect()
    }
}

/// Returns the process's arguments, with the program's own name first.
pub(crate) fn arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os()
}

/// Returns `true` if this is a step of a workflow. The log of a workflow executes commands that are printed to it.
pub(crate) fn is_workflow(variables: &Variables) -> bool {
    variables.text("GITHUB_ACTIONS").as_deref() == Some("true")
}

/// Returns `true` if a person started the workflow with debug logging.
pub(crate) fn is_debugged(variables: &Variables) -> bool {
    is_workflow(variables) && variables.text("RUNNER_DEBUG").as_deref() == Some("1")
}

/// Selects the cluster: the given file, else `KUBECONFIG`, else `~/.kube/config` if it exists, else the pod's own
/// cluster.
pub(crate) fn connect_options(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
    variables: &Variables,
) -> ConnectOptions {
    let files = match (kubeconfig, variables.get("KUBECONFIG")) {
        (Some(file), _) => vec![file.to_owned()],
        (None, Some(list)) => std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect(),
        (None, None) => home_kubeconfig(variables).into_iter().collect(),
    };
    let in_cluster = files.is_empty() && variables.get("KUBERNETES_SERVICE_HOST").is_some();
    ConnectOptions { kubeconfig: files, context: context.map(str::to_owned), in_cluster }
}

/// Selects the cluster of a workflow: the given file, else `KUBECONFIG`, else the pod's own cluster if the caller asks for
/// it. Whatever else lies on a runner may belong to another job.
pub(crate) fn workflow_connect_options(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
    in_cluster: bool,
    variables: &Variables,
) -> ConnectOptions {
    let is_named = kubeconfig.is_some() || variables.get("KUBECONFIG").is_some();
    if !is_named {
        return ConnectOptions { kubeconfig: Vec::new(), context: context.map(str::to_owned), in_cluster };
    }
    ConnectOptions { in_cluster: false, ..connect_options(kubeconfig, context, variables) }
}

/// The maximum number of links that are followed. The kernel follows as many.
const LINKS: usize = 40;

/// Returns the first of these files that is in `directory`, or whose path goes through a link in `directory`.
pub(crate) fn lying_in<'a>(files: &'a [PathBuf], directory: &Path) -> Option<&'a Path> {
    let directory = directory.canonicalize().ok()?;
    files.iter().map(PathBuf::as_path).find(|file| is_decided_in(file, &directory))
}

/// Returns `true` if the content of `directory` decides what a path names: the file is in it, or a link on the way is.
/// `directory` must be a path without links.
fn is_decided_in(file: &Path, directory: &Path) -> bool {
    let Ok(absolute) = std::path::absolute(file) else { return false };
    let reversed = |path: &Path| path.iter().rev().map(OsStr::to_owned).collect::<Vec<OsString>>();
    let (mut at, mut ahead, mut links) = (PathBuf::from("/"), reversed(&absolute), 0);
    while let Some(name) = ahead.pop() {
        if name == "." {
            continue;
        }
        if name == ".." {
            at.pop();
            continue;
        }
        // If `name` is the root of an absolute path, `join` replaces the path so far with it.
        let next = at.join(name);
        // A file that does not exist belongs to no directory.
        let Ok(found) = next.symlink_metadata() else { return false };
        if !found.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        let target = next.read_link();
        let (false, Ok(target)) = (at.starts_with(directory) || links > LINKS, target) else {
            return at.starts_with(directory);
        };
        ahead.extend(reversed(&target));
    }
    at.starts_with(directory)
}

fn home_kubeconfig(variables: &Variables) -> Option<PathBuf> {
    let file = PathBuf::from(variables.get("HOME")?).join(".kube/config");
    file.is_file().then_some(file)
}

/// Returns the user for the lock's holder as `user@host`, as far as the variables tell.
pub(crate) fn whoami(variables: &Variables) -> String {
    let part = |names: [&str; 2], or: &str| {
        names.iter().find_map(|name| variables.text(name)).unwrap_or_else(|| or.to_owned())
    };
    let text = format!("{}@{}", part(["USER", "LOGNAME"], "someone"), part(["HOSTNAME", "HOST"], "somewhere"));
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "@-_.".contains(*c)).take(80).collect()
}

/// Returns the time on this machine's clock.
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns 16 bytes that differ in every run: the random keys that the standard library gets from the system for its
/// hash maps.
pub(crate) fn seed() -> [u8; 16] {
    let mut seed = [0; 16];
    for half in seed.chunks_mut(8) {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        half.copy_from_slice(&hasher.finish().to_ne_bytes());
    }
    seed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn x15_a_kubeconfig_in_the_checkout_is_found_out() {
        let directory = tempfile::tempdir().unwrap();
        let (checkout, outside) = (directory.path().join("checkout"), directory.path().join("temp"));
        fs::create_dir_all(checkout.join("deploy")).unwrap();
        fs::create_dir(&outside).unwrap();
        for file in [checkout.join("planted"), checkout.join("deploy/planted"), outside.join("written")] {
            fs::write(file, "").unwrap();
        }
        symlink(outside.join("written"), checkout.join("link")).unwrap();
        symlink(checkout.join("planted"), outside.join("link")).unwrap();
        symlink(&checkout, outside.join("tree")).unwrap();
        symlink(&outside, checkout.join("folder")).unwrap();
        symlink("../temp", checkout.join("relative")).unwrap();
        symlink(checkout.join("folder"), outside.join("through")).unwrap();
        symlink(outside.join("written"), outside.join("own")).unwrap();
        symlink("/nowhere", checkout.join("dangling")).unwrap();
        symlink("round", outside.join("round")).unwrap();
        for (file, is_planted) in [
            (checkout.join("planted"), true),
            (checkout.join("deploy/planted"), true),
            (outside.join("../checkout/planted"), true),
            (checkout.join("link"), true),
            (outside.join("link"), true),
            (outside.join("tree/planted"), true),
            (checkout.join("folder/written"), true),
            (checkout.join("relative/written"), true),
            (checkout.join("deploy/../folder/written"), true),
            (outside.join("through/written"), true),
            (checkout.join("dangling"), true),
            (outside.join("own"), false),
            (outside.join("round"), false),
            (outside.join("written"), false),
            (checkout.join("../temp/written"), false),
            // A file that does not exist belongs to no directory.
            (checkout.join("absent"), false),
        ] {
            let files = [outside.join("written"), file.clone()];
            let expected = is_planted.then_some(file.as_path());
            assert_eq!(lying_in(&files, &checkout), expected, "{}", file.display());
        }
        assert_eq!(lying_in(&[], &checkout), None);
    }
}

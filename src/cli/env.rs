//! The process's surroundings: variables, arguments, randomness. The only place that reads them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
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
        let text =
            |(name, value): (&OsString, &OsString)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()));
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

/// The most links that are followed: as many as the kernel follows.
const LINKS: usize = 40;

/// The first of these files that lies in a directory, or that a link in it leads to.
pub fn lying_in<'a>(files: &'a [PathBuf], directory: &Path) -> Option<&'a Path> {
    let directory = directory.canonicalize().ok()?;
    files.iter().map(PathBuf::as_path).find(|file| is_decided_in(file, &directory))
}

/// Whether the content of a real directory decides what a path names: the file lies in it, or a link on the way does.
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
        // The root of an absolute path takes the place of what is before it.
        let next = at.join(name);
        // What is not there is nobody's.
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

/// Who runs this, for the lock's holder: `user@host`, as far as the variables say.
pub fn whoami(variables: &Variables) -> String {
    let part = |names: [&str; 2], or: &str| {
        names.iter().find_map(|name| variables.text(name)).unwrap_or_else(|| or.to_owned())
    };
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
            // What is not there is nobody's.
            (checkout.join("absent"), false),
        ] {
            let files = [outside.join("written"), file.clone()];
            let expected = is_planted.then_some(file.as_path());
            assert_eq!(lying_in(&files, &checkout), expected, "{}", file.display());
        }
        assert_eq!(lying_in(&[], &checkout), None);
    }
}

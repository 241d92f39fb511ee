//! The trees in kustomize's own tests. They are text in Go code, and this module reads that text.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// A tree from one test of kustomize.
#[derive(Debug, Default)]
pub(crate) struct Case {
    /// The name of the test.
    pub(crate) name: String,
    /// The files, with paths below a directory of their own.
    pub(crate) files: Vec<(PathBuf, String)>,
}

impl Case {
    /// Returns the directories with a kustomization that no line of another kustomization names.
    pub(crate) fn entries(&self) -> BTreeSet<PathBuf> {
        let kustomizations = || self.files.iter().filter(|(path, _)| path.ends_with(NAME));
        let mut directories: BTreeSet<PathBuf> = kustomizations()
            .filter(|(_, text)| !text.starts_with(COMPONENT))
            .map(|(path, _)| plain(path.parent().unwrap()))
            .collect();
        for (path, text) in kustomizations() {
            let own = plain(path.parent().unwrap());
            let named = text.lines().filter_map(|line| line.trim().strip_prefix("- "));
            for used in named.map(|named| plain(&own.join(named.trim()))).filter(|used| *used != own) {
                directories.remove(&used);
            }
        }
        directories
    }
}

/// Returns a path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => drop(plain.pop()),
            _ => {}
        }
    }
    plain
}

const NAME: &str = "kustomization.yaml";

const HEADER: &str = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";
const COMPONENT: &str = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n";

/// Returns the trees in the text of a file of Go tests.
pub(crate) fn cases(text: &str) -> Vec<Case> {
    text.split("\nfunc ").filter(|function| function.starts_with("Test")).map(case).collect()
}

fn case(function: &str) -> Case {
    let name = function.split('(').next().unwrap_or_default().to_owned();
    let mut case = Case { name, ..Case::default() };
    let mut rest = function;
    while let Some((_, call)) = rest.split_once("th.") {
        rest = call;
        if let Some((method, arguments)) = call.split_once('(') {
            let Some((path, after)) = quoted(arguments) else { continue };
            let path = Path::new(path.trim_start_matches('/')).to_owned();
            let text = after.trim_start_matches([',', ' ', '\n', '\t']).strip_prefix('`');
            let Some((text, _)) = text.and_then(|text| text.split_once('`')) else { continue };
            let (path, text) = match method {
                "WriteK" => (path.join(NAME), format!("{HEADER}{text}")),
                "WriteC" => (path.join(NAME), format!("{COMPONENT}{text}")),
                "WriteF" => (path, text.to_owned()),
                _ => continue,
            };
            case.files.push((path, text));
        }
    }
    case
}

/// Returns the string at the beginning of a list of arguments, and the text after it.
fn quoted(arguments: &str) -> Option<(&str, &str)> {
    arguments.trim_start().strip_prefix('"')?.split_once('"')
}

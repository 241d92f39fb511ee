//! The scope: the subset of projects that a run may change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::path::ProjectPath;
use super::snapshot::Snapshot;
use super::tree::{Tree, is_settings, normalized};

/// The scope that the caller asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeRequest {
    /// `-I`: prefixes of projects; empty for all.
    pub include: Vec<ProjectPath>,
    /// `-X`: prefixes of projects that stay out.
    pub exclude: Vec<ProjectPath>,
    /// The projects that changed paths concern; absent where the scope is not computed from changes.
    pub touched: Option<BTreeSet<ProjectPath>>,
}

impl ScopeRequest {
    /// Returns `true` if the caller named projects: then nothing else pulls a project in.
    pub(crate) fn is_explicit(&self) -> bool {
        !self.include.is_empty() || !self.exclude.is_empty()
    }
}

/// The projects that a run may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    projects: BTreeSet<ProjectPath>,
}

/// A pattern that matches no known project.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {pattern} matches no known project; known are {}", list(.known))]
pub struct UnknownProject {
    flag: &'static str,
    pattern: ProjectPath,
    known: BTreeSet<ProjectPath>,
}

impl Scope {
    /// Resolves a request against the known projects (of the tree, of the base tree, of the state).
    ///
    /// `undesired` are the projects with recorded entries that no manifest wants: they are always in scope, so that
    /// cleanup that failed or was off is retried, except where the caller named projects.
    ///
    /// # Errors
    ///
    /// A pattern that matches nothing known.
    pub fn resolve(
        request: &ScopeRequest,
        known: &BTreeSet<ProjectPath>,
        undesired: &BTreeSet<ProjectPath>,
    ) -> Result<Self, UnknownProject> {
        for (flag, patterns) in [("-I", &request.include), ("-X", &request.exclude)] {
            for pattern in patterns {
                if !known.iter().any(|project| project.is_within(pattern)) {
                    return Err(UnknownProject { flag, pattern: pattern.clone(), known: known.clone() });
                }
            }
        }
        let matches = |patterns: &[ProjectPath], project: &ProjectPath| patterns.iter().any(|p| project.is_within(p));
        let wanted = |project: &ProjectPath| {
            let included = request.include.is_empty() || matches(&request.include, project);
            let touched = request.touched.as_ref().is_none_or(|touched| touched.contains(project));
            let retried = !request.is_explicit() && undesired.contains(project);
            included && !matches(&request.exclude, project) && (touched || retried)
        };
        Ok(Self { projects: known.iter().filter(|project| wanted(project)).cloned().collect() })
    }

    /// Returns `true` if a project is in scope.
    pub fn contains(&self, project: &ProjectPath) -> bool {
        self.projects.contains(project)
    }

    /// The projects, in order.
    pub fn projects(&self) -> &BTreeSet<ProjectPath> {
        &self.projects
    }
}

/// A tree and the manifest files that it read, at one commit or in the work tree.
#[derive(Clone, Copy, Debug)]
pub struct Checkout<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// Its manifest files.
    pub files: &'a Snapshot,
}

/// The projects that changed paths concern.
///
/// `changed` are paths relative to the repository's top; `prefix` is the root directory's own path in it. A changed
/// manifest concerns its project in each of the checkouts that has it, a changed `.ktor.yaml` every project at and
/// below its directory, a changed input whoever declares it.
pub fn touched(checkouts: &[Checkout<'_>], prefix: &Path, changed: &BTreeSet<PathBuf>) -> BTreeSet<ProjectPath> {
    let mut projects = BTreeSet::new();
    for path in changed {
        let inside = path.strip_prefix(prefix).ok();
        let relative = inside.map_or_else(|| relative_to(path, prefix), Path::to_path_buf);
        for Checkout { tree, files } in checkouts {
            projects.extend(tree.dependents_of(&relative).cloned());
            let Some(file) = inside else { continue };
            if is_settings(file) {
                let directory = file.parent().unwrap_or(Path::new(""));
                projects.extend(tree.projects_below(directory).cloned());
                let below = files.range(directory.to_owned()..).take_while(|(path, _)| path.starts_with(directory));
                projects.extend(below.map(|(path, _)| tree.project_of(path).clone()));
            } else if files.contains_key(file) {
                projects.insert(tree.project_of(file).clone());
            }
        }
    }
    projects
}

/// A path outside `prefix` as seen from it: with as many `..` as it takes.
fn relative_to(path: &Path, prefix: &Path) -> PathBuf {
    let common = path.components().zip(prefix.components()).take_while(|(a, b)| a == b).count();
    let up = prefix.components().skip(common).map(|_| Path::new(".."));
    let mut relative: PathBuf = up.collect();
    relative.extend(path.components().skip(common));
    normalized(&relative)
}

fn list(projects: &BTreeSet<ProjectPath>) -> String {
    let names: Vec<_> = projects.iter().take(20).map(ProjectPath::as_str).collect();
    let more = projects.len().saturating_sub(names.len());
    if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> BTreeSet<ProjectPath> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn patterns(texts: &[&str]) -> Vec<ProjectPath> {
        names(texts).into_iter().collect()
    }

    fn checkout(files: &[(&str, &str)]) -> (Tree, Snapshot) {
        let files: Snapshot = files.iter().map(|(p, text)| (PathBuf::from(p), text.as_bytes().to_vec())).collect();
        let tree = Tree::load(&files).unwrap();
        let manifests = files.into_iter().filter(|(path, _)| tree.is_manifest(path)).collect();
        (tree, manifests)
    }

    #[test]
    fn includes_and_excludes_are_prefixes_of_whole_segments() {
        let known = names(&["demo", "demo.a", "demo.a.x", "demo.ab", "demo.b"]);
        let resolve = |include: &[&str], exclude: &[&str]| {
            let request = ScopeRequest { include: patterns(include), exclude: patterns(exclude), touched: None };
            Scope::resolve(&request, &known, &BTreeSet::new()).map(|scope| scope.projects)
        };
        assert_eq!(resolve(&[], &[]).unwrap(), known);
        assert_eq!(resolve(&["demo.a"], &[]).unwrap(), names(&["demo.a", "demo.a.x"]));
        assert_eq!(resolve(&[], &["demo.a"]).unwrap(), names(&["demo", "demo.ab", "demo.b"]));
        assert_eq!(resolve(&["demo.a"], &["demo.a.x"]).unwrap(), names(&["demo.a"]));
        let error = resolve(&["demo.c"], &[]).unwrap_err().to_string();
        assert_eq!(error, "-I demo.c matches no known project; known are demo, demo.a, demo.a.x, demo.ab, demo.b");
        assert!(resolve(&[], &["dem"]).is_err());
    }

    #[test]
    fn remembered_cleanup_pulls_its_project_in_unless_projects_are_named() {
        let known = names(&["demo", "demo.a", "demo.b"]);
        let resolve = |include: &[&str]| {
            let touched = Some(names(&["demo.a"]));
            let request = ScopeRequest { include: patterns(include), exclude: vec![], touched };
            Scope::resolve(&request, &known, &names(&["demo.b"])).unwrap().projects
        };
        assert_eq!(resolve(&[]), names(&["demo.a", "demo.b"]));
        assert_eq!(resolve(&["demo.a"]), names(&["demo.a"]));
    }

    #[test]
    fn changed_paths_concern_exactly_their_projects() {
        let base = checkout(&[
            (".ktor.yaml", "project: demo\n"),
            ("a/.ktor.yaml", "project: a\n"),
            ("a/x.yaml", ""),
            ("a/sub/.ktor.yaml", "project: sub\n"),
            ("gone/.ktor.yaml", "project: gone\n"),
            ("gone/x.yaml", ""),
            ("left/.ktor.yaml", "project: left\n"),
            ("left/x.yaml", ""),
        ]);
        let head = checkout(&[
            (".ktor.yaml", "project: demo\n"),
            ("a/.ktor.yaml", "project: a\n"),
            ("a/x.yaml", ""),
            ("a/sub/.ktor.yaml", "project: sub\n"),
            ("b/.ktor.yaml", "project: b\ninputs: [../shared, ../../lib/x.txt]\n"),
            ("left/x.yaml", ""),
        ]);
        let of = |paths: &[&str]| {
            let changed = paths.iter().map(PathBuf::from).collect();
            let checkouts = [&base, &head].map(|(tree, files)| Checkout { tree, files });
            touched(&checkouts, Path::new("deploy/k8s"), &changed)
        };
        assert_eq!(of(&["deploy/k8s/a/x.yaml"]), names(&["demo.a"]));
        assert_eq!(of(&["deploy/k8s/a/.ktor.yaml"]), names(&["demo.a", "demo.a.sub"]));
        assert_eq!(of(&["deploy/k8s/gone/.ktor.yaml", "deploy/k8s/gone/x.yaml"]), names(&["demo.gone"]));
        assert_eq!(of(&["deploy/k8s/left/.ktor.yaml"]), names(&["demo", "demo.left"]));
        assert_eq!(of(&["deploy/k8s/shared/values.txt"]), names(&["demo.b"]));
        assert_eq!(of(&["deploy/lib/x.txt"]), names(&["demo.b"]));
        assert_eq!(of(&["README.md", "deploy/k8s/a/README.md", "deploy/k8.yaml"]), names(&[]));
    }
}

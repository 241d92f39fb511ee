//! The scope: the subset of projects that a run may change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::inputs::Inputs;
use super::path::ProjectPath;

/// The scope that the caller asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeRequest {
    /// The projects to include, with the projects below them. Empty for all projects.
    pub include: Vec<ProjectPath>,
    /// The projects to exclude, with the projects below them.
    pub exclude: Vec<ProjectPath>,
    /// The projects that changed paths concern. `None` if the scope does not depend on changes.
    pub touched: Option<BTreeSet<ProjectPath>>,
}

impl ScopeRequest {
    /// Returns `true` if the caller named projects. Then no other rule adds a project to the scope.
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
    /// Resolves a request against the known projects: those of the tree, of the base tree and of the state.
    ///
    /// `undesired` contains the projects with recorded objects that are no longer desired. They are in scope unless the
    /// caller named projects, so that the run repeats a cleanup that failed or was off.
    ///
    /// # Errors
    ///
    /// A pattern matches no known project.
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

    /// The projects in scope, in order.
    pub fn projects(&self) -> &BTreeSet<ProjectPath> {
        &self.projects
    }
}

/// Returns the projects that changed paths concern. A path concerns a project if it is an input of the project in the
/// base or in the head, or if it is below such an input.
///
/// `changed` contains paths relative to the repository's top. `prefix` is the path of the root directory in the
/// repository.
pub fn touched(
    changed: &BTreeSet<PathBuf>,
    prefix: &Path,
    base: Option<&Inputs>,
    head: &Inputs,
) -> BTreeSet<ProjectPath> {
    let inputs: Vec<_> = base.into_iter().chain([head]).map(|inputs| inputs.by_path(prefix)).collect();
    let mut projects = BTreeSet::new();
    for path in changed {
        let found = path.ancestors().flat_map(|path| inputs.iter().filter_map(move |inputs| inputs.get(path)));
        projects.extend(found.flatten().copied().cloned());
    }
    projects
}

fn list(projects: &BTreeSet<ProjectPath>) -> String {
    let names: Vec<_> = projects.iter().take(20).map(ProjectPath::as_str).collect();
    let more = projects.len().saturating_sub(names.len());
    if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::settings::is_settings;
    use super::super::snapshot::Snapshot;
    use super::super::tree::{Tree, normalized};
    use super::*;

    fn names(texts: &[&str]) -> BTreeSet<ProjectPath> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn patterns(texts: &[&str]) -> Vec<ProjectPath> {
        names(texts).into_iter().collect()
    }

    /// Returns the inputs of a tree of plain manifests.
    fn load(files: &[(&str, &str)]) -> Inputs {
        let files: Snapshot = files.iter().map(|(p, text)| (PathBuf::from(p), text.as_bytes().to_vec())).collect();
        let tree = Tree::load(&files, None).unwrap();
        let mut inputs = Inputs::of_settings(&tree);
        for path in files.keys().filter(|path| tree.is_manifest(path)) {
            inputs.add_source(tree.project_of(path), path);
        }
        inputs
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
        let base = load(&[
            (".ktor.yaml", "project: demo\n"),
            ("a/.ktor.yaml", "project: a\n"),
            ("a/x.yaml", ""),
            ("a/sub/.ktor.yaml", "project: sub\n"),
            ("gone/.ktor.yaml", "project: gone\n"),
            ("gone/x.yaml", ""),
            ("left/.ktor.yaml", "project: left\n"),
            ("left/x.yaml", ""),
        ]);
        let head = load(&[
            (".ktor.yaml", "project: demo\n"),
            ("a/.ktor.yaml", "project: a\n"),
            ("a/x.yaml", ""),
            ("a/sub/.ktor.yaml", "project: sub\n"),
            ("b/.ktor.yaml", "project: b\ninputs: [../shared, ../../lib/x.txt]\n"),
            ("left/x.yaml", ""),
        ]);
        let of = |paths: &[&str]| {
            let changed = paths.iter().map(PathBuf::from).collect();
            touched(&changed, Path::new("deploy/k8s"), Some(&base), &head)
        };
        assert_eq!(of(&["deploy/k8s/a/x.yaml"]), names(&["demo.a"]));
        assert_eq!(of(&["deploy/k8s/a/.ktor.yaml"]), names(&["demo.a", "demo.a.sub"]));
        assert_eq!(of(&["deploy/k8s/gone/.ktor.yaml", "deploy/k8s/gone/x.yaml"]), names(&["demo.gone"]));
        assert_eq!(of(&["deploy/k8s/left/.ktor.yaml"]), names(&["demo", "demo.left"]));
        assert_eq!(of(&["deploy/k8s/shared/values.txt"]), names(&["demo.b"]));
        assert_eq!(of(&["deploy/lib/x.txt"]), names(&["demo.b"]));
        assert_eq!(of(&["README.md", "deploy/k8s/a/README.md", "deploy/k8.yaml"]), names(&[]));
    }

    const DIRECTORIES: [&str; 7] = ["", "a", "a/b", "a/b/c", "ab", "d", "d/e"];
    const INPUTS: [&str; 9] =
        ["../lib", "../../lib/x", "..", ".", "../a", "b/x.yaml", "/etc", "../d/e/../x", "../../k/s/d"];

    /// The files of one directory: its settings file and its manifests, if there are any.
    #[derive(Clone, Debug)]
    struct Content {
        has_settings: bool,
        is_named: bool,
        inputs: Vec<&'static str>,
        manifests: Vec<&'static str>,
    }

    fn content() -> impl Strategy<Value = Content> {
        let some = |of: &'static [&'static str]| prop::collection::vec(prop::sample::select(of), 0..3);
        (any::<bool>(), any::<bool>(), some(&INPUTS), some(&["x.yaml", "y.json"])).prop_map(
            |(has_settings, is_named, inputs, manifests)| Content { has_settings, is_named, inputs, manifests },
        )
    }

    fn files(contents: &[Content]) -> Vec<(String, String)> {
        let mut files = Vec::new();
        for (number, (directory, content)) in DIRECTORIES.iter().zip(contents).enumerate() {
            let at = |name: &str| Path::new(directory).join(name).to_str().unwrap().to_owned();
            if content.has_settings || number == 0 {
                let name =
                    if content.is_named || number == 0 { format!("project: p{number}\n") } else { String::new() };
                files.push((at(".ktor.yaml"), format!("{name}inputs: {:?}\n", content.inputs)));
            }
            files.extend(content.manifests.iter().map(|name| (at(name), String::new())));
        }
        files
    }

    /// The rule that does not know inputs: it derives the projects of a path from the generated contents of a tree.
    fn derived(contents: &[Content], prefix: &Path, path: &Path) -> BTreeSet<ProjectPath> {
        let is_set = |number: usize| number == 0 || contents[number].has_settings;
        let at = |directory: &Path| {
            let name = |above: &Path| {
                let number = DIRECTORIES.iter().position(|known| Path::new(known) == above)?;
                (number == 0 || is_set(number) && contents[number].is_named).then(|| format!("p{number}"))
            };
            let mut names: Vec<_> = directory.ancestors().filter_map(name).collect();
            names.reverse();
            names.join(".").parse::<ProjectPath>().unwrap()
        };
        let inside = path.strip_prefix(prefix).ok();
        // Inputs may name directories above the repository.
        let top = Path::new("/1/2/3/4/5");
        let mut found = BTreeSet::new();
        for (number, (directory, content)) in DIRECTORIES.iter().zip(contents).enumerate() {
            let directory = Path::new(directory);
            let input_path = |input: &str| normalized(&top.join(prefix).join(directory).join(input));
            let depends = |input: &&str| top.join(path).starts_with(input_path(input));
            let is_below = |file: &Path| is_settings(file) && directory.starts_with(file.parent().unwrap());
            let is_read = |file: &Path| content.manifests.iter().any(|name| directory.join(name) == file);
            let ruled = is_set(number) || !content.manifests.is_empty();
            let touches = is_set(number) && content.inputs.iter().any(depends)
                || inside.is_some_and(|file| is_below(file) && ruled || is_read(file));
            if touches {
                found.insert(at(directory));
            }
        }
        found
    }

    proptest! {
        #[test]
        fn changed_paths_concern_the_projects_that_the_derived_rule_finds(
            base in prop::collection::vec(content(), DIRECTORIES.len()),
            head in prop::collection::vec(content(), DIRECTORIES.len()),
            has_base in any::<bool>(),
            prefix in prop::sample::select(vec!["", "k", "k/s"]),
            changed in prop::collection::vec((0..DIRECTORIES.len() + 3, 0..5_usize), 0..4),
        ) {
            let prefix = Path::new(prefix);
            let changed: BTreeSet<PathBuf> = changed.into_iter().map(|(directory, name)| {
                let outside = ["lib", "k/lib", ""];
                let directory = match DIRECTORIES.get(directory) {
                    Some(inside) => prefix.join(inside),
                    None => outside[directory - DIRECTORIES.len()].into(),
                };
                directory.join([".ktor.yaml", "x.yaml", "y.json", "x", "z.yaml"][name])
            }).collect();
            let inputs = |contents: &[Content]| {
                let files = files(contents);
                load(&files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>())
            };
            let trees = [(has_base, &base), (true, &head)].into_iter().filter(|(is_there, _)| *is_there);
            let trees: Vec<_> = trees.map(|(_, contents)| contents).collect();
            let expected: BTreeSet<_> = changed.iter()
                .flat_map(|path| trees.iter().flat_map(|contents| derived(contents, prefix, path))).collect();
            let base = has_base.then(|| inputs(&base));
            prop_assert_eq!(touched(&changed, prefix, base.as_ref(), &inputs(&head)), expected);
        }
    }
}

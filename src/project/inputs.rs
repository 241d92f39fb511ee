//! The files and directories that the objects of each project are made from.
//!
//! A change of one of them can change the objects of the project. This holds for a file that does not exist, too: a new
//! settings file in a directory changes the project that the manifests below that directory belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::path::ProjectPath;
use super::settings::SETTINGS_FILE;
use super::tree::{Tree, normalized};

/// The inputs of each project, relative to the root directory. A path outside the root directory begins with `..`. A
/// directory stands for everything in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    paths: BTreeMap<ProjectPath, BTreeSet<PathBuf>>,
    /// The project of each source. A source is a file that is rendered by itself.
    sources: BTreeMap<PathBuf, ProjectPath>,
    /// Other facts that decide about the objects of a source, as text.
    facts: BTreeMap<PathBuf, String>,
}

impl Inputs {
    /// The settings files of a tree, and the inputs that they name.
    pub fn of_settings(tree: &Tree) -> Self {
        let mut inputs = Self::default();
        for (directory, project, named) in tree.directories() {
            inputs.add_with_settings(project, &directory.join(SETTINGS_FILE));
            for path in named {
                inputs.add(project, path.clone());
            }
        }
        inputs
    }

    /// Adds a source, and the settings files in its directory and in the directories above.
    pub fn add_source(&mut self, project: &ProjectPath, file: &Path) {
        self.add_with_settings(project, file);
        self.sources.insert(file.to_owned(), project.clone());
    }

    /// Adds what else decides about the objects of a source. A change of the text can change them.
    pub(crate) fn add_fact(&mut self, file: &Path, fact: String) {
        let facts = self.facts.entry(file.to_owned()).or_default();
        facts.push_str(&fact);
        facts.push('\n');
    }

    fn add_with_settings(&mut self, project: &ProjectPath, file: &Path) {
        self.add(project, file.to_owned());
        for directory in file.ancestors().skip(1) {
            self.add(project, directory.join(SETTINGS_FILE));
        }
    }

    /// Adds a file or directory.
    pub fn add(&mut self, project: &ProjectPath, path: PathBuf) {
        match self.paths.get_mut(project) {
            Some(paths) => drop(paths.insert(path)),
            None => drop(self.paths.insert(project.clone(), BTreeSet::from([path]))),
        }
    }

    /// Returns the projects of the sources that only one of two trees has, or that belong to another project in each, or
    /// whose facts differ.
    ///
    /// A file can become a source, or stop being one, without a change of the file itself: a new kustomization turns the
    /// manifests below it into files of its own.
    pub(crate) fn moved<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a ProjectPath> {
        let only = |one: &'a Self, other: &'a Self| {
            let is_same = |path: &Path, project: &ProjectPath| {
                other.sources.get(path) == Some(project) && other.facts.get(path) == one.facts.get(path)
            };
            one.sources.iter().filter(move |(path, project)| !is_same(path, project))
        };
        only(self, other).chain(only(other, self)).map(|(_, project)| project)
    }

    /// Returns `true` if an input is outside the root directory.
    pub fn lead_beyond(&self) -> bool {
        self.paths.values().flatten().any(|path| path.starts_with(".."))
    }

    /// Returns the projects of each input. `prefix` is the path of the root directory in the repository. The inputs are
    /// relative to the repository's top directory. An input that contains the whole repository is the empty path.
    pub(super) fn by_path(&self, prefix: &Path) -> BTreeMap<PathBuf, Vec<&ProjectPath>> {
        let mut by_path: BTreeMap<PathBuf, Vec<&ProjectPath>> = BTreeMap::new();
        for (project, paths) in &self.paths {
            for path in paths {
                let path = normalized(&prefix.join(path));
                let contains_all = path.components().all(|part| part == Component::ParentDir);
                let path = if contains_all { PathBuf::new() } else { path };
                by_path.entry(path).or_default().push(project);
            }
        }
        by_path
    }

    /// The inputs of a project.
    pub fn of(&self, project: &ProjectPath) -> impl Iterator<Item = &Path> {
        self.paths.get(project).into_iter().flatten().map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_files_on_the_way_to_a_source_are_inputs_even_if_they_do_not_exist() {
        let files = [(".ktor.yaml", "project: demo\ninputs: [../lib]\n"), ("a/.ktor.yaml", "project: a\n")];
        let files = files.map(|(path, text)| (PathBuf::from(path), text.into()));
        let tree = Tree::load(&files.into(), None).unwrap();
        let mut inputs = Inputs::of_settings(&tree);
        inputs.add_source(tree.project_of(Path::new("a/b/x.yaml")), Path::new("a/b/x.yaml"));
        let of = |project: &str| -> Vec<PathBuf> { inputs.of(&project.parse().unwrap()).map(Path::to_owned).collect() };
        assert_eq!(of("demo"), ["../lib", ".ktor.yaml"].map(PathBuf::from));
        let expected = [".ktor.yaml", "a/.ktor.yaml", "a/b/.ktor.yaml", "a/b/x.yaml"];
        assert_eq!(of("demo.a"), expected.map(PathBuf::from));
        assert!(of("demo.b").is_empty());
    }

    #[test]
    fn inputs_are_found_by_their_place_in_the_repository() {
        let demo: ProjectPath = "demo".parse().unwrap();
        let mut inputs = Inputs::default();
        for path in ["a", "../lib", "../k8s/b", "..", "../..", "../../..", "../../../other", "/etc"] {
            inputs.add(&demo, path.into());
        }
        let found: Vec<_> = inputs.by_path(Path::new("deploy/k8s")).into_keys().collect();
        assert_eq!(
            found,
            ["", "/etc", "../other", "deploy", "deploy/k8s/a", "deploy/k8s/b", "deploy/lib"].map(PathBuf::from)
        );
    }
}

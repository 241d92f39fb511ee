//! Finds the files that the build of a kustomization can read: the kustomization, the files that it names, and the
//! kustomizations that it uses, with the files that these name.
//!
//! The closure grows while files are loaded. Until then, it also contains the files that have to be loaded next.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::references::{self, Kustomization, Meaning, Reference};
use crate::project::files::Files;
use crate::project::snapshot::{SourceError, SourcePlace};
use crate::render::yaml::ValueBudget;

/// The names of a kustomization. The engine refuses a directory that has two of them.
pub(super) const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The files of a build.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Closure {
    /// The paths that the build can read, if there are files. A directory with a kustomization is not one of them.
    pub(super) paths: BTreeSet<PathBuf>,
    /// The paths of kustomizations that do not exist. A file that is added at such a path changes the build.
    pub(super) vacant: BTreeSet<PathBuf>,
    /// The directories of the kustomizations that are used, without the first one.
    pub(super) used: BTreeSet<PathBuf>,
    /// The errors of the files, and of references that are refused.
    pub(super) errors: Vec<SourceError>,
}

/// Reads kustomizations and the files that configure generators and transformers, each file once.
#[derive(Debug)]
pub(super) struct Closures<'a> {
    files: &'a Files,
    budget: ValueBudget,
    kustomizations: BTreeMap<PathBuf, Result<Kustomization, SourceError>>,
    configs: BTreeMap<PathBuf, (Vec<Reference>, Vec<SourceError>)>,
}

/// A step of the search.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    /// The directory of a kustomization.
    directory: PathBuf,
    /// The directory that the files of this kustomization's objects are relative to, if the objects configure
    /// generators or transformers.
    configures: Option<PathBuf>,
}

impl<'a> Closures<'a> {
    pub(super) fn new(files: &'a Files) -> Self {
        Self { files, budget: ValueBudget::default(), kustomizations: BTreeMap::new(), configs: BTreeMap::new() }
    }

    /// Returns a kustomization. Returns `None` if its file is not loaded.
    pub(super) fn kustomization(&mut self, path: &Path) -> Option<&Result<Kustomization, SourceError>> {
        if !self.kustomizations.contains_key(path) {
            let bytes = self.files.loaded().get(path)?;
            let read = references::read(path, bytes, &mut self.budget);
            self.kustomizations.insert(path.to_owned(), read);
        }
        self.kustomizations.get(path)
    }

    /// Returns the closure of the kustomizations in these directories.
    pub(super) fn of(&mut self, directories: impl IntoIterator<Item = PathBuf>) -> Closure {
        let mut closure = Closure::default();
        let first = directories.into_iter().map(|directory| Step { directory, configures: None });
        let mut waiting: Vec<Step> = first.collect();
        let mut seen: BTreeSet<Step> = waiting.iter().cloned().collect();
        while let Some(step) = waiting.pop() {
            for next in self.step(&step, &mut closure) {
                if next.directory != step.directory {
                    closure.used.insert(next.directory.clone());
                }
                if seen.insert(next.clone()) {
                    waiting.push(next);
                }
            }
        }
        closure
    }

    /// Adds the files of one kustomization. Returns the kustomizations that it uses.
    fn step(&mut self, step: &Step, closure: &mut Closure) -> Vec<Step> {
        let mut next = Vec::new();
        for path in NAMES.map(|name| step.directory.join(name)) {
            if !self.files.paths().contains(&path) {
                closure.vacant.insert(path);
                continue;
            }
            let kustomization = match self.kustomization(&path) {
                Some(Ok(kustomization)) => kustomization,
                Some(Err(error)) => {
                    closure.errors.push(error.clone());
                    closure.paths.insert(path);
                    continue;
                }
                None => {
                    closure.paths.insert(path);
                    continue;
                }
            };
            let references = kustomization.references.clone();
            closure.errors.extend(kustomization.refused.iter().cloned());
            closure.paths.insert(path);
            for reference in references {
                next.extend(self.follow(&reference, step, closure));
            }
        }
        next
    }

    /// Adds the file that a reference names. Returns the kustomization if it names a directory.
    fn follow(&mut self, reference: &Reference, step: &Step, closure: &mut Closure) -> Option<Step> {
        let path = self.place(reference, &step.directory, closure)?;
        let configures = match reference.meaning {
            Meaning::File => None,
            Meaning::Config => Some(step.directory.clone()),
            // The objects of a directory that configures generators or transformers are configurations themselves.
            Meaning::Resource => step.configures.clone(),
        };
        if reference.meaning != Meaning::File && self.files.is_directory(&path) {
            return Some(Step { directory: path, configures });
        }
        if let Some(base) = &configures {
            for named in self.config(&path, closure) {
                if let Some(path) = self.place(&named, base, closure) {
                    closure.paths.insert(path);
                }
            }
        }
        closure.paths.insert(path);
        None
    }

    /// Returns the references of a file that configures generators or transformers. Returns none if it is not loaded.
    fn config(&mut self, path: &Path, closure: &mut Closure) -> Vec<Reference> {
        if !self.configs.contains_key(path) {
            let Some(bytes) = self.files.loaded().get(path) else { return Vec::new() };
            let read = references::read_config(path, bytes, &mut self.budget);
            let read = read.unwrap_or_else(|error| (Vec::new(), vec![error]));
            self.configs.insert(path.to_owned(), read);
        }
        let Some((references, errors)) = self.configs.get(path) else { return Vec::new() };
        closure.errors.extend(errors.iter().cloned());
        references.clone()
    }

    /// Returns the path that a reference means.
    fn place(&self, reference: &Reference, directory: &Path, closure: &mut Closure) -> Option<PathBuf> {
        let placed = self.files.placed(&directory.join(&reference.path));
        if placed.is_none() {
            let message = "the path leads out of the repository: vendor what it names, and name the copy by its path";
            closure.errors.push(SourceError::new(SourcePlace::clone(&reference.place), message));
        }
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Files {
        let mut loaded = Files::below(Path::new("deploy"));
        for (path, text) in files {
            loaded.load(path.into(), text.as_bytes().to_vec());
        }
        loaded
    }

    fn shown(paths: &BTreeSet<PathBuf>) -> String {
        paths.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    fn closure(tree: &[(&str, &str)], directory: &str) -> Closure {
        Closures::new(&files(tree)).of([directory.into()])
    }

    #[test]
    fn s6_bases_components_and_their_files_belong_to_the_closure() {
        let found = closure(
            &[
                (
                    "prod/kustomization.yaml",
                    "resources: [../base, ../../lib/x, ../../deploy/own.yaml]\ncomponents: [../c]",
                ),
                ("base/Kustomization", "resources: [a.yaml, gone.yaml]\npatches: [{path: p.yaml}]"),
                ("base/unused.yaml", "a"),
                ("base/a.yaml", "{}"),
                ("c/kustomization.yml", "kind: Component\nsecretGenerator: [{name: x, files: [k=s.txt]}]"),
                ("../lib/x/kustomization.yaml", "resources: [../y.yaml]"),
                ("other/kustomization.yaml", "resources: [x.yaml]"),
            ],
            "prod",
        );
        assert_eq!(
            shown(&found.paths),
            "../lib/x/kustomization.yaml ../lib/y.yaml base/Kustomization base/a.yaml base/gone.yaml base/p.yaml \
             c/kustomization.yml c/s.txt own.yaml prod/kustomization.yaml"
        );
        assert_eq!(shown(&found.used), "../lib/x base c");
        assert!(found.vacant.contains(Path::new("prod/Kustomization")) && found.vacant.len() == 8, "{found:?}");
        assert_eq!(found.errors, []);
    }

    #[test]
    fn s6_files_of_generators_and_transformers_are_relative_to_their_user() {
        let found = closure(
            &[
                ("a/kustomization.yaml", "transformers: [../t, one.yaml]\nresources: [x.yaml]"),
                ("a/one.yaml", "kind: PatchTransformer\npath: p.yaml"),
                ("a/x.yaml", "kind: X\npath: no.yaml"),
                ("t/kustomization.yaml", "resources: [two.yaml]\nconfigMapGenerator: [{name: x, files: [own.txt]}]"),
                ("t/two.yaml", "kind: PatchTransformer\npath: q.yaml"),
            ],
            "a",
        );
        assert_eq!(
            shown(&found.paths),
            "a/kustomization.yaml a/one.yaml a/p.yaml a/q.yaml a/x.yaml t/kustomization.yaml t/own.txt t/two.yaml"
        );
    }

    #[test]
    fn kustomizations_that_use_each_other_end_and_two_names_are_both_read() {
        let circle = [
            ("a/kustomization.yaml", "resources: [../b]"),
            ("a/kustomization.yml", "resources: [.]"),
            ("b/kustomization.yaml", "resources: [../a, ../b]"),
        ];
        let found = closure(&circle, "a");
        assert_eq!(shown(&found.paths), "a/kustomization.yaml a/kustomization.yml b/kustomization.yaml");
        assert_eq!(shown(&found.used), "a b");
    }

    #[test]
    fn k3_paths_that_leave_the_repository_are_refused_at_their_place() {
        let found = closure(&[("a/kustomization.yaml", "resources:\n- ../../../x\n- ../../x\n")], "a");
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        let expected = "a/kustomization.yaml:2:3: the path leads out of the repository: vendor what it names, and \
                        name the copy by its path";
        assert_eq!(errors, [expected]);
        assert_eq!(shown(&found.paths), "../x a/kustomization.yaml");
    }

    #[test]
    fn files_that_are_not_loaded_are_part_of_the_closure() {
        let mut files = files(&[("a/kustomization.yaml", "resources: [../b, c]")]);
        files.list("b/kustomization.yaml".into());
        let found = Closures::new(&files).of(["a".into()]);
        assert_eq!(shown(&found.paths), "a/c a/kustomization.yaml b/kustomization.yaml");
        let broken = closure(&[("a/kustomization.yaml", "a: [")], "a");
        assert!(broken.errors[0].to_string().starts_with("a/kustomization.yaml:1:"), "{broken:?}");
    }
}

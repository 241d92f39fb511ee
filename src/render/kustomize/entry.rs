//! Finds the kustomizations of a tree, and says how each of them is built.
//!
//! A kustomization covers its directory and everything below: no file there is a plain manifest. An entry is a
//! kustomization that no other one uses. Only entries are built.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::closure::{Closure, Closures, NAMES};
use super::references::{Kind, Kustomization};
use crate::process::engine::EngineKind;
use crate::project::files::Files;
use crate::project::settings::LoadRestrictions;
use crate::project::snapshot::{SourceError, SourcePlace};
use crate::project::tree::{Tree, normalized};
use crate::render::job::{Job, JobId, Runs};

/// The directory of a job that contains the files of the tree. The kustomization next to it is made by ktor.
pub(super) const TREE: &str = "ktor-tree";

/// The maximum number of files of a build.
const MOST_FILES: usize = 10_000;
/// The maximum number of bytes of the files of a build.
const MOST_BYTES: usize = 256 << 20;

/// The values of `buildMetadata` that add the paths of files to objects.
const WITH_PATHS: [&str; 2] = ["originAnnotations", "transformerAnnotations"];

/// The kustomizations of a tree, as far as they are known from the loaded files.
#[derive(Clone, Debug, Default)]
pub(in crate::render) struct Survey {
    /// The kustomizations to build, in the order of their paths.
    pub(in crate::render) entries: Vec<Entry>,
    /// The paths that any build can read.
    pub(in crate::render) paths: BTreeSet<PathBuf>,
    /// The directories of kustomizations.
    directories: BTreeSet<PathBuf>,
}

/// A kustomization to build.
#[derive(Clone, Debug)]
pub(in crate::render) struct Entry {
    /// The file of the kustomization.
    pub(in crate::render) file: PathBuf,
    closure: Closure,
    build: Build,
}

/// The way to build a kustomization.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Build {
    /// Through a kustomization that uses it, which adds the origin to each object.
    Wrapped(Value),
    /// Directly, because the kustomization itself adds paths to objects, and the paths are relative to it.
    Direct,
}

impl Survey {
    /// Finds the kustomizations of a tree, without those that `is_covered` says belong to another source.
    pub(in crate::render) fn of(tree: &Tree, files: &Files, is_covered: &dyn Fn(&Path) -> bool) -> Self {
        let is_named = |path: &Path| is_kustomization(path) && is_own(path) && !tree.is_excluded(path);
        let named = files.selected(&|path| is_named(path) && !is_covered(path));
        let mut survey = Self::default();
        if named.is_empty() {
            return survey;
        }
        let mut closures = Closures::new(files);
        let mut kinds: BTreeMap<&Path, (&Path, Kind)> = BTreeMap::new();
        for path in &named {
            let kind = match closures.kustomization(path) {
                Some(Ok(kustomization)) => kustomization.kind,
                Some(Err(_)) | None => Kind::Kustomization,
            };
            let directory = path.parent().unwrap_or(Path::new(""));
            if kind != Kind::Manifest {
                survey.directories.insert(directory.to_owned());
                kinds.entry(directory).or_insert((path, kind));
            }
        }
        let whole = closures.of(survey.directories.iter().cloned());
        survey.paths = whole.paths.iter().chain(&named).cloned().collect();
        // What a kustomization for another target uses is no entry either.
        for directory in entries(&kinds, &whole.used, &mut closures) {
            let file = kinds.get(directory).map_or(directory, |(file, _)| *file).to_owned();
            if tree.is_left_out(&file) {
                continue;
            }
            let closure = closures.of([directory.to_owned()]);
            let build = match closures.kustomization(&file) {
                Some(Ok(kustomization)) => Build::of(kustomization),
                Some(Err(_)) | None => Build::Direct,
            };
            survey.entries.push(Entry { file, closure, build });
        }
        survey
    }

    /// Returns `true` if a kustomization covers a file, so that the file is not a plain manifest.
    pub(in crate::render) fn covers(&self, file: &Path) -> bool {
        !self.directories.is_empty() && file.ancestors().skip(1).any(|directory| self.directories.contains(directory))
    }
}

/// Returns the directories of the entries.
///
/// Kustomizations that use each other in a circle are used by others, and still nothing would build them. The first of
/// a circle is therefore an entry too, and its build fails.
fn entries<'a>(
    kinds: &BTreeMap<&'a Path, (&Path, Kind)>,
    used: &BTreeSet<PathBuf>,
    closures: &mut Closures<'_>,
) -> BTreeSet<&'a Path> {
    let unused = kinds.iter().filter(|(directory, _)| !used.contains(**directory));
    let (components, mut entries): (BTreeSet<&Path>, BTreeSet<&Path>) =
        unused.map(|(directory, (_, kind))| (*directory, kind)).fold(Default::default(), |mut found, (path, kind)| {
            let of_kind = if *kind == Kind::Component { &mut found.0 } else { &mut found.1 };
            of_kind.insert(path);
            found
        });
    let mut reached = closures.of(components.iter().chain(&entries).map(|path| (*path).to_owned())).used;
    for (directory, (_, kind)) in kinds {
        if *kind == Kind::Component || entries.contains(directory) || reached.contains(*directory) {
            continue;
        }
        entries.insert(directory);
        reached.extend(closures.of([(*directory).to_owned()]).used);
    }
    entries
}

impl Build {
    fn of(kustomization: &Kustomization) -> Self {
        let metadata = &kustomization.build_metadata;
        if metadata.iter().any(|option| WITH_PATHS.contains(&option.as_str())) {
            return Self::Direct;
        }
        let metadata: Vec<&str> = metadata.iter().map(String::as_str).chain(["originAnnotations"]).collect();
        let mut wrapper = json!({ "buildMetadata": metadata });
        // These options have an effect only in the kustomization that is built.
        if let (Some(options), Some(fields)) = (&kustomization.sort_options, wrapper.as_object_mut()) {
            fields.insert("sortOptions".to_owned(), options.clone());
        }
        Self::Wrapped(wrapper)
    }
}

impl Entry {
    /// The key of the kustomization's job.
    pub(in crate::render) fn id(&self) -> JobId {
        (self.file.clone(), 0)
    }

    /// The errors in the files of the build, which then cannot run.
    pub(in crate::render) fn errors(&self) -> &[SourceError] {
        &self.closure.errors
    }

    /// The files that the build depends on. A file that does not exist is one of them if the build would read it.
    pub(in crate::render) fn inputs(&self) -> impl Iterator<Item = &Path> {
        self.closure.paths.iter().chain(&self.closure.vacant).map(PathBuf::as_path)
    }

    /// The directory of the kustomization.
    pub(super) fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// The way to build the kustomization.
    pub(super) fn build(&self) -> &Build {
        &self.build
    }

    /// Returns the job that builds the kustomization.
    ///
    /// # Errors
    ///
    /// A file is not loaded, or the files exceed a limit.
    pub(in crate::render) fn job<'a>(&self, tree: &Tree, files: &'a Files) -> Result<Job<'a>, SourceError> {
        let error = |path: &Path, message: &str| SourceError::new(SourcePlace::whole(path), message);
        let mut staged: BTreeMap<PathBuf, Cow<'a, [u8]>> = BTreeMap::new();
        for path in &self.closure.paths {
            if !files.is_answered(path) {
                return Err(error(path, "the file was not read: run again"));
            }
            if let (Some(bytes), Some(place)) = (files.loaded().get(path), files.top_path(path)) {
                staged.insert(Path::new(TREE).join(place), Cow::Borrowed(bytes));
            }
        }
        if staged.len() > MOST_FILES || staged.values().map(|bytes| bytes.len()).sum::<usize>() > MOST_BYTES {
            let message = "the kustomization uses more than 10000 files or more than 256 MiB: split it";
            return Err(error(&self.file, message));
        }
        let directory = files.top_path(self.directory()).map(|place| normalized(&Path::new(TREE).join(place)));
        let Some(directory) = directory.as_deref().and_then(Path::to_str) else {
            return Err(error(&self.file, "the path of the kustomization is not UTF-8: rename its directory"));
        };
        let mut arguments = vec!["build".to_owned()];
        if tree.load_restrictions_of(&self.file) == LoadRestrictions::None {
            arguments.push("--load-restrictor=LoadRestrictionsNone".to_owned());
        }
        match &self.build {
            Build::Direct => arguments.push(directory.to_owned()),
            Build::Wrapped(wrapper) => {
                let mut wrapper = wrapper.clone();
                if let Some(fields) = wrapper.as_object_mut() {
                    fields.insert("resources".to_owned(), json!([directory]));
                }
                staged.insert(NAMES[0].into(), Cow::Owned(wrapper.to_string().into_bytes()));
                arguments.push(".".to_owned());
            }
        }
        let (source, engine) = (self.file.clone(), EngineKind::Kustomize);
        Ok(Job { source, part: 0, engine, arguments, files: staged, runs: Runs::One })
    }
}

/// Returns `true` if a file is named as a kustomization is.
pub(in crate::render) fn is_kustomization(path: &Path) -> bool {
    path.file_name().is_some_and(|name| NAMES.iter().any(|known| name == *known))
}

/// Returns `true` if a file belongs to the tree itself. Other files are listed only because a kustomization names them.
pub(in crate::render) fn is_own(path: &Path) -> bool {
    let above = path.parent().unwrap_or(Path::new(""));
    !above.iter().any(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(files: &[(&str, &str)]) -> (Tree, Files) {
        let mut loaded = Files::below(Path::new("deploy"));
        loaded.load(".ktor.yaml".into(), b"project: demo\nexclude: ['drafts/**']\n".into());
        for (path, text) in files {
            loaded.load(path.into(), text.as_bytes().to_vec());
        }
        (Tree::load(loaded.loaded(), None).unwrap(), loaded)
    }

    fn entries(tree: &[(&str, &str)]) -> Vec<String> {
        let (tree, files) = loaded(tree);
        Survey::of(&tree, &files, &|_| false)
            .entries
            .iter()
            .map(|entry| entry.file.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn k1_entries_are_the_kustomizations_that_no_other_one_uses() {
        let tree = [
            ("base/kustomization.yaml", "resources: [x.yaml]"),
            ("dev/kustomization.yml", "resources: [../base]"),
            ("prod/Kustomization", "resources: [../base]\ncomponents: [../c]"),
            ("c/kustomization.yaml", "kind: Component"),
            ("unused/kustomization.yaml", "kind: Component\nresources: [../behind]"),
            ("behind/kustomization.yaml", "resources: []"),
            ("drafts/kustomization.yaml", "resources: [../dev]"),
            ("flux/kustomization.yaml", "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization"),
            ("broken/kustomization.yaml", "resources: ["),
            (".hidden/kustomization.yaml", "resources: []"),
            ("../outside/kustomization.yaml", "resources: []"),
        ];
        assert_eq!(entries(&tree), ["broken/kustomization.yaml", "dev/kustomization.yml", "prod/Kustomization"]);
        let (settings, files) = loaded(&tree);
        let survey = Survey::of(&settings, &files, &|_| false);
        let covers = |path: &str| survey.covers(Path::new(path));
        assert!(covers("base/y.yaml") && covers("c/deep/er.yaml") && covers("behind/x"));
        assert!(
            !covers("x.yaml")
                && !covers("flux/x.yaml")
                && !covers("drafts/x.yaml")
                && !covers("flux/kustomization.yaml")
        );
        assert!(survey.paths.contains(Path::new("flux/kustomization.yaml")));
        assert!(!survey.paths.contains(Path::new("drafts/kustomization.yaml")));
    }

    #[test]
    fn k1_a_circle_has_one_entry() {
        let tree = [
            ("a/kustomization.yaml", "resources: [../b]"),
            ("b/kustomization.yaml", "resources: [../a, ../c]"),
            ("c/kustomization.yaml", "resources: [.]"),
        ];
        assert_eq!(entries(&tree), ["a/kustomization.yaml"]);
    }

    fn job(tree: &[(&str, &str)]) -> Result<(String, Vec<String>, Option<String>), String> {
        let (tree, mut files) = loaded(tree);
        files.set_absent("a/gone.yaml".into());
        let survey = Survey::of(&tree, &files, &|_| false);
        let job = survey.entries[0].job(&tree, &files).map_err(|error| error.to_string())?;
        let wrapper = job.files.get(Path::new("kustomization.yaml"));
        let wrapper = wrapper.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        let paths = job.files.keys().map(|path| path.to_str().unwrap().to_owned()).collect();
        Ok((job.arguments.join(" "), paths, wrapper))
    }

    #[test]
    fn k1_a_job_has_the_files_of_the_build_and_nothing_else() {
        let (arguments, paths, wrapper) = job(&[
            ("a/kustomization.yaml", "resources: [x.yaml, ../../lib/y.yaml, gone.yaml]\nsortOptions: {order: fifo}"),
            ("a/x.yaml", "{}"),
            ("a/secret.txt", "{}"),
            ("../lib/y.yaml", "{}"),
        ])
        .unwrap();
        assert_eq!(arguments, "build .");
        assert_eq!(
            paths,
            [
                "ktor-tree/deploy/a/kustomization.yaml",
                "ktor-tree/deploy/a/x.yaml",
                "ktor-tree/lib/y.yaml",
                "kustomization.yaml"
            ]
        );
        let expected = "{\"buildMetadata\":[\"originAnnotations\"],\"resources\":[\"ktor-tree/deploy/a\"],\
                        \"sortOptions\":{\"order\":\"fifo\"}}";
        assert_eq!(wrapper.as_deref(), Some(expected));
    }

    #[test]
    fn k1_the_arguments_follow_the_settings_and_the_metadata_of_the_kustomization() {
        let none = (".ktor.yaml", "project: demo\nkustomize: {loadRestrictions: none}");
        let with = |metadata: &'static str| job(&[none, ("a/kustomization.yaml", metadata)]).unwrap();
        let (arguments, paths, _) = with("buildMetadata: [originAnnotations]");
        assert_eq!(arguments, "build --load-restrictor=LoadRestrictionsNone ktor-tree/deploy/a");
        assert_eq!(paths, ["ktor-tree/deploy/a/kustomization.yaml"]);
        assert_eq!(with("buildMetadata: [transformerAnnotations]").2, None);
        let wrapper = with("buildMetadata: [managedByLabel]").2.unwrap();
        assert!(wrapper.starts_with("{\"buildMetadata\":[\"managedByLabel\",\"originAnnotations\"]"), "{wrapper}");
    }

    #[test]
    fn k1_a_build_without_all_its_files_is_no_job() {
        let error = job(&[("a/kustomization.yaml", "resources: [x.yaml]")]).unwrap_err();
        assert_eq!(error, "a/x.yaml: the file was not read: run again");
        let names: Vec<String> = (0..=MOST_FILES).map(|number| format!("f{number}")).collect();
        let text = format!("crds: [{}]", names.join(", "));
        let paths: Vec<String> = names.iter().map(|name| format!("a/{name}")).collect();
        let mut tree: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "x")).collect();
        tree.push(("a/kustomization.yaml", &text));
        let error = job(&tree).unwrap_err();
        assert!(error.starts_with("a/kustomization.yaml: the kustomization uses more than 10000 files"), "{error}");
    }
}

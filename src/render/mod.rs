//! Renders the files of a tree into objects. Also reads the work tree, and YAML with kubectl's meaning.
//!
//! A caller asks [`wanted`] for the files to load, loads them, and repeats this until nothing is wanted. Then it runs
//! the [`jobs`] and calls [`render`] with their outputs. All three are pure: the files come from a work tree or from a
//! commit, and the result is the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::object::manifest::Document;
use crate::project::files::Files;
use crate::project::inputs::Inputs;
use crate::project::settings::is_settings;
use crate::project::snapshot::{Failure, SourceError, SourcePlace};
use crate::project::tree::{Owner, Tree};
use job::{Job, JobOutput, Outputs};
use kustomize::{Entry, OutputReader, Survey, is_own};
use template::Templates;
use value::Conflict;
use yaml::ValueBudget;

pub mod job;
mod kustomize;
mod plain;
pub mod source;
pub mod stage;
pub(crate) mod template;
pub(crate) mod value;
pub mod yaml;

/// The objects of a tree, with the failures and the inputs of all projects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rendered {
    /// The objects, in the order of their sources.
    pub(crate) documents: Vec<Document>,
    /// The failures, one for each source that cannot be rendered.
    pub(crate) failures: Vec<Failure>,
    /// The inputs of each project, including the sources that failed.
    pub(crate) inputs: Inputs,
    /// The values for templates that replaced values of another kind.
    pub(crate) conflicts: BTreeSet<Conflict>,
    /// The files that could be manifests, but that a kustomization covers and does not use.
    pub(crate) unused: BTreeSet<PathBuf>,
    survey: Survey,
}

impl Rendered {
    /// Returns `true` if a file with this path would be read.
    pub(crate) fn reads(&self, tree: &Tree, path: &Path) -> bool {
        is_settings(path)
            || is_own_source(tree, &self.survey, path)
            || self.survey.paths.contains(path)
            || tree.names_values(path)
    }

    /// Returns the paths outside the root directory, and in hidden directories, that were asked for.
    pub(crate) fn beyond(&self) -> impl Iterator<Item = &Path> {
        self.survey.paths.iter().map(PathBuf::as_path).filter(|path| !is_own(path))
    }
}

/// Returns the paths that rendering needs, as far as they are known from the loaded files, and that no reader has
/// answered for yet.
pub(crate) fn wanted(tree: &Tree, files: &Files) -> BTreeSet<PathBuf> {
    let survey = Survey::of(tree, files);
    let mut wanted = files.selected(&|path| is_own_source(tree, &survey, path));
    wanted.extend(template::wanted(tree, files, &|path| survey.covers(path)));
    wanted.extend(survey.paths);
    wanted.retain(|path| !files.is_answered(path));
    wanted
}

/// Returns the jobs of a tree. A source that has an error has no job.
pub(crate) fn jobs<'a>(tree: &Tree, files: &'a Files) -> Vec<Job<'a>> {
    let survey = Survey::of(tree, files);
    let entries = survey.entries.iter().filter(|entry| entry.errors().is_empty());
    entries.filter_map(|entry| entry.job(tree, files).ok()).collect()
}

/// Renders every source of a tree.
///
/// The result depends only on the arguments. A source that cannot be rendered, or whose files or output are missing, is
/// a failure of its project. The other sources are still rendered.
pub(crate) fn render(tree: &Tree, files: &Files, outputs: &Outputs) -> Rendered {
    let survey = Survey::of(tree, files);
    let mut rendered = Rendered { inputs: Inputs::of_settings(tree), ..Rendered::default() };
    let mut budget = ValueBudget::default();
    let mut templates = Templates::new(tree, files, &|path| survey.covers(path));
    for path in files.paths().iter().filter(|path| is_own_source(tree, &survey, path)) {
        if templates.uses(path) {
            continue;
        }
        let owner = tree.owner_of(path);
        let found = if template::is_template(tree, path) {
            templates.add_inputs(path, &owner, &mut rendered.inputs);
            templates.documents(path, &owner, &mut budget)
        } else {
            rendered.inputs.add_source(&owner.project, path);
            documents(path, files, &owner, &mut budget)
        };
        match found {
            Ok(found) => rendered.documents.extend(found),
            Err(error) => rendered.failures.push(Failure { project: owner.project, error }),
        }
    }
    rendered.conflicts = templates.into_conflicts();
    let mut reader = OutputReader::new(tree, files);
    for entry in &survey.entries {
        let project = tree.owner_of(&entry.file).project;
        rendered.inputs.add_source(&project, &entry.file);
        entry.inputs().for_each(|path| rendered.inputs.add(&project, path.to_owned()));
        match built(entry, tree, files, outputs, &mut reader, &mut budget) {
            Ok(found) => rendered.documents.extend(found),
            Err(errors) => {
                let failure = |error| Failure { project: project.clone(), error };
                rendered.failures.extend(errors.into_iter().map(failure));
            }
        }
    }
    let is_unused =
        |path: &Path| is_own(path) && tree.is_manifest(path) && survey.covers(path) && !survey.paths.contains(path);
    rendered.unused = files.selected(&is_unused);
    rendered.survey = survey;
    rendered
}

/// Returns `true` if a file is a plain manifest, a template, or another source than a kustomization.
fn is_own_source(tree: &Tree, survey: &Survey, path: &Path) -> bool {
    is_own(path) && !survey.covers(path) && (tree.is_manifest(path) || template::is_template(tree, path))
}

/// Returns the objects of a kustomization.
fn built(
    entry: &Entry,
    tree: &Tree,
    files: &Files,
    outputs: &Outputs,
    reader: &mut OutputReader<'_>,
    budget: &mut ValueBudget,
) -> Result<Vec<Document>, BTreeSet<SourceError>> {
    if !entry.errors().is_empty() {
        return Err(entry.errors().iter().cloned().collect());
    }
    let one = |error| BTreeSet::from([error]);
    entry.job(tree, files).map_err(one)?;
    let failed = |message: &str| one(SourceError::new(SourcePlace::whole(&entry.file), message));
    match outputs.get(&entry.file).map(|output| &**output) {
        Some(JobOutput::Printed(printed)) => reader.documents(entry, printed, budget).map_err(one),
        Some(JobOutput::Refused(message)) => Err(one(reader.refusal(entry, message))),
        Some(JobOutput::NotRun(message)) => Err(failed(message)),
        None => Err(failed("the kustomization was not built: run again")),
    }
}

/// Renders one source.
fn documents(
    path: &Path,
    files: &Files,
    owner: &Owner,
    budget: &mut ValueBudget,
) -> Result<Vec<Document>, SourceError> {
    let error = |message: String| SourceError::new(SourcePlace::whole(path), message);
    if let Some(source) = unsupported(path) {
        return Err(error(format!(
            "{source} cannot be rendered yet: exclude it in .ktor.yaml, or render it to plain YAML"
        )));
    }
    // A file that is missing here must not count as empty, because then its objects would be deleted.
    let bytes = files.loaded().get(path).ok_or_else(|| error("the file was not read: run again".to_owned()))?;
    template::refuse_variables(path, bytes)?;
    plain::manifests(path, bytes, owner, budget)
}

/// Names the kind of source that a file belongs to, if there is no renderer for that kind yet.
///
/// Returns `None` for plain manifests and for files that are not a source.
fn unsupported(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    (name.ends_with(".helm.yaml") || name.ends_with(".helm.yml")).then_some("a Helm release file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(files: &[(&str, &str)]) -> Files {
        let mut loaded = Files::default();
        for (path, text) in files {
            loaded.load(path.into(), (*text).into());
        }
        loaded
    }

    #[test]
    fn manifests_are_wanted_until_a_reader_answers_and_fail_if_they_are_not_loaded() {
        let mut files = loaded(&[(".ktor.yaml", "project: demo\nexclude: [x.yaml]\n")]);
        for path in ["a.yaml", "b/c.yaml", "x.yaml", "notes.txt"] {
            files.list(path.into());
        }
        let tree = Tree::load(files.loaded()).unwrap();
        assert_eq!(wanted(&tree, &files), ["a.yaml", "b/c.yaml"].map(PathBuf::from).into());
        files.load("a.yaml".into(), b"{apiVersion: v1, kind: Namespace, metadata: {name: x}}".into());
        assert_eq!(wanted(&tree, &files), ["b/c.yaml"].map(PathBuf::from).into());
        files.set_absent("b/c.yaml".into());
        assert!(wanted(&tree, &files).is_empty());
        let rendered = render(&tree, &files, &Outputs::default());
        assert_eq!(rendered.documents.len(), 1);
        let failures: Vec<_> = rendered.failures.iter().map(|failure| failure.error.to_string()).collect();
        assert_eq!(failures, ["b/c.yaml: the file was not read: run again"]);
    }

    #[test]
    fn every_source_has_an_owner_and_is_an_input_even_if_it_fails() {
        let files = [
            (".ktor.yaml", "project: demo\nnamespace: shop\n"),
            ("a/.ktor.yaml", "project: a\n"),
            ("a/x.yaml", "{apiVersion: v1, kind: Secret, metadata: {name: x}}"),
            ("a/y.yaml", "- broken"),
            ("web.helm.yaml", "chart: x"),
            ("notes.txt", "nothing"),
        ];
        let files = loaded(&files);
        let tree = Tree::load(files.loaded()).unwrap();
        let rendered = render(&tree, &files, &Outputs::default());
        let owners: Vec<_> = rendered.documents.iter().map(|document| &document.owner).collect();
        assert_eq!(owners, [&tree.owner_of(Path::new("a/x.yaml"))]);
        assert_eq!(owners[0].namespace.as_deref(), Some("shop"));
        let failed: Vec<_> =
            rendered.failures.iter().map(|failure| format!("{} {}", failure.project, failure.error)).collect();
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert!(failed[0].starts_with("demo.a a/y.yaml:1:1: expected an object"), "{failed:?}");
        assert!(failed[1].starts_with("demo web.helm.yaml: a Helm release file cannot be rendered yet"), "{failed:?}");
        let of = |project: &str| -> Vec<String> {
            rendered.inputs.of(&project.parse().unwrap()).map(|path| path.display().to_string()).collect()
        };
        assert_eq!(of("demo"), [".ktor.yaml", "web.helm.yaml"]);
        assert_eq!(of("demo.a"), [".ktor.yaml", "a/.ktor.yaml", "a/x.yaml", "a/y.yaml"]);
    }

    #[test]
    fn sources_without_a_renderer_are_named() {
        for (path, expected) in [
            ("kustomization.yaml", None),
            ("a/web.helm.yaml", Some("a Helm release file")),
            ("helm.yaml", None),
            ("kustomization.yaml/web.yaml", None),
            ("my-kustomization.yaml", None),
        ] {
            assert_eq!(unsupported(Path::new(path)), expected, "{path}");
        }
    }
}

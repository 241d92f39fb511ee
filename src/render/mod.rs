//! Renders the files of a tree into objects. Also reads the work tree, and YAML with kubectl's meaning.
//!
//! A caller asks [`wanted`] for the files to load, loads them, and repeats this until nothing is wanted. Then it calls
//! [`render`]. Both are pure: the files come from a work tree or from a commit, and the result is the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::object::manifest::Document;
use crate::project::files::Files;
use crate::project::inputs::Inputs;
use crate::project::snapshot::{Failure, SourceError, SourcePlace};
use crate::project::tree::{Owner, Tree};
use template::Templates;
use value::Conflict;
use yaml::ValueBudget;

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
}

/// Returns the paths that rendering needs, as far as they are known from the loaded files, and that no reader has
/// answered for yet.
pub(crate) fn wanted(tree: &Tree, files: &Files) -> BTreeSet<PathBuf> {
    let mut wanted = template::wanted(tree, files);
    wanted.extend(files.selected(&|path| !files.is_answered(path) && tree.is_manifest(path)));
    wanted
}

/// Renders every source of a tree.
///
/// The result depends only on the arguments. A source that cannot be rendered, or whose files are not loaded, is a
/// failure of its project. The other sources are still rendered.
pub(crate) fn render(tree: &Tree, files: &Files) -> Rendered {
    let mut rendered = Rendered { inputs: Inputs::of_settings(tree), ..Rendered::default() };
    let mut budget = ValueBudget::default();
    let mut templates = Templates::new(tree, files);
    for path in files.paths() {
        let is_template = template::is_template(tree, path);
        if templates.uses(path) || !is_template && !tree.is_manifest(path) {
            continue;
        }
        let owner = tree.owner_of(path);
        let found = if is_template {
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
    rendered
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
    match name {
        "kustomization.yaml" | "kustomization.yml" | "Kustomization" => Some("a kustomization"),
        _ if name.ends_with(".helm.yaml") => Some("a Helm release file"),
        _ => None,
    }
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
        let rendered = render(&tree, &files);
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
            ("kustomization.yaml", "resources: []"),
            ("notes.txt", "nothing"),
        ];
        let files = loaded(&files);
        let tree = Tree::load(files.loaded()).unwrap();
        let rendered = render(&tree, &files);
        let owners: Vec<_> = rendered.documents.iter().map(|document| &document.owner).collect();
        assert_eq!(owners, [&tree.owner_of(Path::new("a/x.yaml"))]);
        assert_eq!(owners[0].namespace.as_deref(), Some("shop"));
        let failed: Vec<_> =
            rendered.failures.iter().map(|failure| format!("{} {}", failure.project, failure.error)).collect();
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert!(failed[0].starts_with("demo.a a/y.yaml:1:1: expected an object"), "{failed:?}");
        assert!(failed[1].starts_with("demo kustomization.yaml: a kustomization cannot be rendered yet"), "{failed:?}");
        let of = |project: &str| -> Vec<String> {
            rendered.inputs.of(&project.parse().unwrap()).map(|path| path.display().to_string()).collect()
        };
        assert_eq!(of("demo"), [".ktor.yaml", "kustomization.yaml"]);
        assert_eq!(of("demo.a"), [".ktor.yaml", "a/.ktor.yaml", "a/x.yaml", "a/y.yaml"]);
    }

    #[test]
    fn sources_without_a_renderer_are_named() {
        for (path, expected) in [
            ("a/kustomization.yaml", Some("a kustomization")),
            ("kustomization.yml", Some("a kustomization")),
            ("Kustomization", Some("a kustomization")),
            ("a/web.helm.yaml", Some("a Helm release file")),
            ("helm.yaml", None),
            ("kustomization.yaml/web.yaml", None),
            ("my-kustomization.yaml", None),
        ] {
            assert_eq!(unsupported(Path::new(path)), expected, "{path}");
        }
    }
}

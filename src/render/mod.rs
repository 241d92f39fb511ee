//! Reads manifests from files: the work tree as a snapshot, YAML as kubectl reads it, and plain manifests.
//!
//! This module is an adapter: it reads files and decides nothing about the cluster.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::object::manifest::Document;
use crate::project::files::Files;
use crate::project::inputs::Inputs;
use crate::project::snapshot::{Failure, SourceError, SourcePlace};
use crate::project::tree::Tree;
use self::yaml::ValueBudget;

mod plain;
pub mod source;
pub mod stage;
pub mod yaml;

/// The objects of a tree, with the failures and the inputs of rendering.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rendered {
    /// The objects, in the order of their sources.
    pub(crate) documents: Vec<Document>,
    /// The failures, one for each source that cannot be rendered.
    pub(crate) failures: Vec<Failure>,
    /// The files that each project was rendered from, including those that failed.
    pub(crate) inputs: Inputs,
}

/// Returns the files that rendering needs and that are not loaded yet.
pub(crate) fn wanted(tree: &Tree, files: &Files) -> BTreeSet<PathBuf> {
    files.selected(&|path| tree.is_manifest(path) && !files.loaded().contains_key(path))
}

/// Renders the sources of a tree, whose files are loaded.
///
/// The result depends only on the arguments. A source that cannot be rendered is a failure of its project, and the
/// other sources are rendered all the same.
pub(crate) fn render(tree: &Tree, files: &Files) -> Rendered {
    let mut rendered = Rendered { inputs: Inputs::of_settings(tree), ..Rendered::default() };
    let mut budget = ValueBudget::default();
    for (path, bytes) in files.loaded().iter().filter(|(path, _)| tree.is_manifest(path)) {
        let owner = tree.owner_of(path);
        rendered.inputs.add_source(&owner.project, path);
        let found = match unsupported(path) {
            Some(source) => Err(SourceError::new(
                SourcePlace::whole(path),
                format!("{source} cannot be rendered yet: exclude it in .ktor.yaml, or render it to plain YAML"),
            )),
            None => plain::manifests(path, bytes, &owner, &mut budget),
        };
        match found {
            Ok(found) => rendered.documents.extend(found),
            Err(error) => rendered.failures.push(Failure { project: owner.project, error }),
        }
    }
    rendered
}

/// Names the kind of source that a file belongs to, if there is no renderer for that kind yet.
///
/// Returns `None` for plain manifests and for files that are not a source.
fn unsupported(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    match name {
        "kustomization.yaml" | "kustomization.yml" | "Kustomization" => Some("a kustomization"),
        _ if name.ends_with(".helm.yaml") => Some("a Helm release file"),
        _ if name.ends_with(".tmpl.yaml") => Some("a template"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut loaded = Files::default();
        for (path, text) in files {
            loaded.load(path.into(), text.into());
        }
        let files = loaded;
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
            ("web.tmpl.yaml", Some("a template")),
            ("helm.yaml", None),
            ("kustomization.yaml/web.yaml", None),
            ("my-kustomization.yaml", None),
        ] {
            assert_eq!(unsupported(Path::new(path)), expected, "{path}");
        }
    }
}

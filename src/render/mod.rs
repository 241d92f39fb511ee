//! Reads manifests from files: the work tree as a snapshot, YAML as kubectl reads it, and plain manifests.
//!
//! This module is an adapter: it reads files and decides nothing about the cluster.

use std::path::Path;

pub(crate) mod plain;
pub mod source;
pub mod yaml;

/// Names the kind of source that a file belongs to, if there is no renderer for that kind yet.
///
/// Returns `None` for plain manifests and for files that are not a source.
pub(crate) fn unsupported(path: &Path) -> Option<&'static str> {
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

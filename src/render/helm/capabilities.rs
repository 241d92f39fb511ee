//! Finds the API versions that the custom resource definitions of a tree define. Charts are told them.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::release::is_api_version;
use crate::project::files::Files;
use crate::render::yaml::{self, ValueBudget};

const KIND: &str = "CustomResourceDefinition";

/// Returns the API versions, with and without their kinds, that the loaded files define. Files that are not loaded or not
/// YAML define none.
pub(in crate::render) fn defined<'a>(files: &Files, paths: impl IntoIterator<Item = &'a Path>) -> BTreeSet<String> {
    let (mut found, mut budget) = (BTreeSet::new(), ValueBudget::default());
    for path in paths {
        let Some(bytes) = files.loaded().get(path) else { continue };
        found.extend(defined_in(path, bytes, &mut budget));
    }
    found
}

/// Returns the API versions, with and without their kinds, that a file defines.
pub(super) fn defined_in(path: &Path, bytes: &[u8], budget: &mut ValueBudget) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // Only a few files name the kind, and only these are parsed.
    if !bytes.windows(KIND.len()).any(|window| window == KIND.as_bytes()) {
        return found;
    }
    for located in yaml::read(path, bytes, budget).unwrap_or_default() {
        let body = located.document.body;
        let items = body.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        std::iter::once(&body).chain(items).for_each(|body| found.extend(versions(body)));
    }
    found
}

fn versions(body: &Value) -> Vec<String> {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/kind") != KIND || !text("/apiVersion").starts_with("apiextensions.k8s.io/") {
        return Vec::new();
    }
    let (group, kind) = (text("/spec/group"), text("/spec/names/kind"));
    let all = body.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let served = all.filter(|version| version.get("served") != Some(&Value::Bool(false)));
    let names = served.filter_map(|version| version.get("name").and_then(Value::as_str));
    let versions = names.flat_map(|name| [format!("{group}/{name}"), format!("{group}/{name}/{kind}")]);
    versions.filter(|version| is_api_version(version)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k10_the_versions_that_definitions_serve_are_known_without_a_cluster() {
        let definition = |group: &str, kind: &str, versions: &str| {
            format!(
                "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec:\n  group: {group}\n  \
                 names: {{kind: {kind}}}\n  versions: {versions}\n---\n"
            )
        };
        let mut files = Files::default();
        let one = definition("shop.dev", "Shop", "[{name: v1, served: true}, {name: v1beta1, served: false}]");
        files.load("one.yaml".into(), (one + &definition("a,b", "X", "[{name: v1}]")).into());
        let item = definition("i.dev", "Item", "[{name: v2}]").replace("---\n", "").replace('\n', "\n  ");
        files.load("list.yaml".into(), format!("kind: List\nitems:\n- {}", item.trim_end()).into());
        files.load("broken.yaml".into(), b"CustomResourceDefinition: [".into());
        files.load("other.yaml".into(), b"kind: Other # CustomResourceDefinition".into());
        let paths = ["one.yaml", "list.yaml", "broken.yaml", "other.yaml", "gone.yaml"].map(Path::new);
        let found = defined(&files, paths);
        assert_eq!(found, ["i.dev/v2", "i.dev/v2/Item", "shop.dev/v1", "shop.dev/v1/Shop"].map(str::to_owned).into());
    }
}

//! Reads plain manifests: the objects in a YAML or JSON file. A list of objects is split into its objects.
//!
//! Other modules check namespaces, unknown kinds, and objects that occur twice in the tree.

use std::path::Path;

use serde_json::{Map, Value};

use super::yaml::{self, Outline, ValueBudget};
use crate::object::manifest::Document;
use crate::project::snapshot::{SourceError, SourcePlace};
use crate::project::tree::Owner;

/// Reads the objects of a file that is part of a tree, each with its owner and the place where it starts. The tree
/// shares the budget of values.
///
/// Every returned body is a JSON object with `apiVersion`, `kind` and `metadata.name`, all of them non-empty text.
///
/// # Errors
///
/// A document that is not an object, and a file that exceeds the budget.
pub(crate) fn manifests(
    path: &Path,
    bytes: &[u8],
    owner: &Owner,
    budget: &mut ValueBudget,
) -> Result<Vec<Document>, SourceError> {
    let mut found = Vec::new();
    for located in yaml::read(path, bytes, budget)? {
        let yaml::Document { place, body } = located.document;
        flatten(place, body, &located.items, &mut |place, body| {
            found.push(Document { owner: owner.clone(), place, body: body.into() });
        })?;
    }
    Ok(found)
}

/// Passes the object or, for a list, its elements to `found`. The recursion is as deep as the body, and the YAML reader
/// limits the depth of the body.
pub(super) fn flatten(
    place: SourcePlace,
    body: Value,
    items: &[Outline],
    found: &mut dyn FnMut(SourcePlace, Value),
) -> Result<(), SourceError> {
    let Value::Object(mut object) = body else {
        let message = format!("expected an object with `apiVersion` and `kind`, found {}", describe(&body));
        return Err(SourceError::new(place, message));
    };
    let api_version = required(&object, "apiVersion", "v1", &place)?;
    let kind = required(&object, "kind", "ConfigMap", &place)?;
    if !is_api_version(&api_version) {
        let message = "`apiVersion` is neither a version, as `v1`, nor a group and a version, as `apps/v1`: correct it";
        return Err(SourceError::new(place, message));
    }
    match object.get("items") {
        Some(Value::Null) if kind.ends_with("List") => Ok(()),
        Some(Value::Array(_)) if kind.ends_with("List") => match object.remove("items") {
            Some(Value::Array(elements)) => elements.into_iter().enumerate().try_for_each(|(index, element)| {
                let outline = items.get(index);
                let place = outline.map_or_else(|| place.clone(), |outline| outline.place.clone());
                let element = inherit(element, &api_version, &kind);
                flatten(place, element, outline.map_or(&[], |outline| &outline.items), found)
            }),
            _ => Ok(()),
        },
        Some(other) if kind.ends_with("List") => {
            let message = format!("`items` of a {kind} is {}: make it a list of objects", describe(other));
            Err(SourceError::new(place, message))
        }
        None if kind == "List" && api_version == "v1" => {
            Err(SourceError::new(place, "a List without `items`: list the objects under `items`"))
        }
        _ => {
            check_metadata(&object, &place)?;
            found(place, Value::Object(object));
            Ok(())
        }
    }
}

/// Gives an element of a typed list, such as a `PodList`, the kind and version of the list if it has neither.
fn inherit(mut element: Value, api_version: &str, list_kind: &str) -> Value {
    let absent = |object: &Map<String, Value>, key: &str| match object.get(key) {
        None | Some(Value::Null) => true,
        Some(value) => value.as_str() == Some(""),
    };
    let item_kind = list_kind.strip_suffix("List").unwrap_or(list_kind);
    if let Value::Object(object) = &mut element
        && !item_kind.is_empty()
        && absent(object, "kind")
        && absent(object, "apiVersion")
    {
        object.insert("kind".to_owned(), item_kind.into());
        object.insert("apiVersion".to_owned(), api_version.into());
    }
    element
}

/// Returns the text of a key that every object must have.
fn required(object: &Map<String, Value>, key: &str, example: &str, place: &SourcePlace) -> Result<String, SourceError> {
    let message = match object.get(key) {
        Some(Value::String(text)) if !text.is_empty() => return Ok(text.clone()),
        None | Some(Value::Null | Value::String(_)) => {
            format!(
                "the object has no `{key}`: add one, as `{key}: {example}`, or exclude the file if it is no manifest"
            )
        }
        Some(other) => format!("`{key}` is {}: write text, in quotes where needed", describe(other)),
    };
    Err(SourceError::new(place.clone(), message))
}

fn is_api_version(text: &str) -> bool {
    let mut parts = text.split('/');
    parts.clone().count() <= 2 && parts.all(|part| !part.is_empty())
}

fn check_metadata(object: &Map<String, Value>, place: &SourcePlace) -> Result<(), SourceError> {
    let error = |message: String| Err(SourceError::new(place.clone(), message));
    let empty = Map::new();
    let metadata = match object.get("metadata") {
        Some(Value::Object(metadata)) => metadata,
        None | Some(Value::Null) => &empty,
        Some(other) => return error(format!("`metadata` is {}: make it a mapping with a `name`", describe(other))),
    };
    match metadata.get("name") {
        Some(Value::String(name)) if !name.is_empty() => {}
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            return error(format!("`metadata.name` is {}: write text, in quotes where needed", describe(other)));
        }
        _ if metadata.contains_key("generateName") => {
            return error(
                "the object has a `metadata.generateName` and no name, so every run would create another one: \
                 give it a `metadata.name`"
                    .to_owned(),
            );
        }
        _ => return error("the object has no `metadata.name`: give it one".to_owned()),
    }
    match metadata.get("namespace") {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(other) => {
            error(format!("`metadata.namespace` is {}: write text, in quotes where needed", describe(other)))
        }
    }
}

/// Describes the type of a value, without the value itself.
fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Document>, String> {
        let owner = Owner { project: "demo".parse().unwrap(), namespace: None, keeps_previous: false };
        let found = manifests(Path::new("a.yaml"), text.as_bytes(), &owner, &mut ValueBudget::default());
        found.map_err(|error| error.to_string())
    }

    fn found(text: &str) -> Vec<String> {
        let place = |document: &Document| {
            let SourcePlace { line, column, .. } = document.place;
            let text = |pointer: &str| document.body.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
            format!("{line}:{column} {} {} {}", text("/apiVersion"), text("/kind"), text("/metadata/name"))
        };
        read(text).unwrap().iter().map(place).collect()
    }

    #[test]
    fn every_document_has_the_place_where_it_begins() {
        let text = "# first\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n\n\
                    kind: Deployment\napiVersion: apps/v1\nmetadata:\n  name: b\n---\n# nothing\n";
        assert_eq!(found(text), ["2:1 v1 ConfigMap a", "7:1 apps/v1 Deployment b"]);
    }

    #[test]
    fn b1_lists_are_taken_apart_and_items_keep_their_own_place() {
        let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: a}\n\
                    - kind: List\n  apiVersion: v1\n  items:\n  - {apiVersion: v1, kind: Pod, metadata: {name: b}}\n";
        assert_eq!(found(list), ["4:3 v1 Secret a", "10:5 v1 Pod b"]);
        let typed = "apiVersion: apps/v1\nkind: DeploymentList\nitems:\n- metadata: {name: a}\n";
        assert_eq!(found(typed), ["4:3 apps/v1 Deployment a"]);
        assert_eq!(found("apiVersion: v1\nkind: List\nitems:\n"), [""; 0]);
        assert_eq!(found("apiVersion: v1\nkind: ConfigMapList\nitems: []\n"), [""; 0]);
    }

    #[test]
    fn a_kind_that_only_sounds_like_a_list_is_an_object() {
        let kind = "apiVersion: acme.io/v1\nkind: AllowList\nmetadata: {name: a}\nspec: {}\n";
        assert_eq!(found(kind), ["1:1 acme.io/v1 AllowList a"]);
        let items = "apiVersion: acme.io/v1\nkind: Menu\nmetadata: {name: a}\nitems: [soup]\n";
        assert_eq!(found(items), ["1:1 acme.io/v1 Menu a"]);
    }

    #[test]
    fn items_of_merged_and_aliased_lists_have_a_place() {
        let aliased =
            "apiVersion: v1\nkind: List\nx: &x\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\nitems: *x\n";
        assert_eq!(found(aliased), ["4:3 v1 Pod a"]);
        let merged =
            "apiVersion: v1\nkind: List\n<<:\n  items:\n  - {apiVersion: v1, kind: Pod, metadata: {name: a}}\n";
        assert_eq!(found(merged), ["1:1 v1 Pod a"]);
    }

    #[test]
    fn b2_what_is_no_object_is_refused_with_its_place() {
        let check = |text: &str, expected: &str| {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        };
        check("---\n- a\n", "a.yaml:2:1: expected an object with `apiVersion` and `kind`, found a list");
        check("just text\n", "a.yaml:1:1: expected an object with `apiVersion` and `kind`, found text");
        check("kind: Pod\nmetadata: {name: a}\n", "a.yaml:1:1: the object has no `apiVersion`: add one");
        check("a: 1\n---\nb: 2\n", "a.yaml:1:1: the object has no `apiVersion`");
        check("apiVersion: v1\nmetadata: {name: a}\n", "a.yaml:1:1: the object has no `kind`");
        check("apiVersion: 1\nkind: Pod\n", "a.yaml:1:1: `apiVersion` is a number");
        check("apiVersion: a/b/c\nkind: Pod\n", "a.yaml:1:1: `apiVersion` is neither");
        check("apiVersion: v1\nkind: ''\n", "a.yaml:1:1: the object has no `kind`");
        check("apiVersion: v1\nkind: Pod\n", "a.yaml:1:1: the object has no `metadata.name`: give it one");
        check("apiVersion: v1\nkind: Pod\nmetadata: []\n", "a.yaml:1:1: `metadata` is a list");
        check("apiVersion: v1\nkind: Pod\nmetadata: {name: 12}\n", "a.yaml:1:1: `metadata.name` is a number");
        check("apiVersion: v1\nkind: Pod\nmetadata: {name: no}\n", "a.yaml:1:1: `metadata.name` is a boolean");
        check("apiVersion: v1\nkind: Pod\nmetadata: {name: ''}\n", "a.yaml:1:1: the object has no `metadata.name`");
        check(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: 7}\n",
            "a.yaml:1:1: `metadata.namespace` is a",
        );
        check(
            "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\n",
            "a.yaml:1:1: the object has a `metadata.gen",
        );
        check("apiVersion: v1\nkind: List\n", "a.yaml:1:1: a List without `items`");
        check("apiVersion: v1\nkind: List\nitems: {}\n", "a.yaml:1:1: `items` of a List is a mapping");
        check("apiVersion: v1\nkind: List\nitems:\n- a\n", "a.yaml:4:3: expected an object");
        check(
            "apiVersion: v1\nkind: List\nitems:\n- metadata: {name: a}\n",
            "a.yaml:4:3: the object has no `apiVersion`",
        );
        check(
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod}\n",
            "a.yaml:4:3: the object has no `meta",
        );
    }
}

//! Turns rendered documents into manifests. It fills in namespaces, and refuses duplicates and objects without a
//! namespace.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::generated::{any_generation, stem};
use super::ident::{Ident, ObjectKey, split_api_version};
use super::kinds::Kinds;
use super::manifest::{Document, Manifest};
use super::{exported, name, reserved};
use crate::project::snapshot::{Failure, SourceError, SourcePlace};

/// The resolved documents of a tree.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// The desired objects.
    pub(crate) manifests: BTreeMap<ObjectKey, Manifest>,
    /// A failure for each document that is not valid or names an object that the tree already contains.
    pub(crate) failures: Vec<Failure>,
    /// The names without hash of the generated objects whose newest older generation stays.
    pub(crate) keep_previous: BTreeSet<ObjectKey>,
    /// The places of the documents that were saved from a server.
    pub(crate) saved: Vec<SourcePlace>,
}

/// Resolves every document of a tree against the known kinds.
///
/// The object of an unknown kind is kept as written. The caller decides if this is an error.
pub(crate) fn manifests<'a>(documents: impl IntoIterator<Item = &'a Document>, kinds: &Kinds) -> Resolved {
    let mut resolved = Resolved::default();
    let Resolved { manifests, failures, keep_previous, saved } = &mut resolved;
    for document in documents {
        let body = document.body.parse();
        if exported::is_saved(&body) {
            saved.push(document.place.clone());
        }
        let found = manifest(document, body, kinds).and_then(|manifest| match second(manifests, &manifest.ident.key) {
            Some(message) => Err(SourceError::new(manifest.place, message)),
            None => Ok(manifest),
        });
        match found {
            Ok(manifest) => {
                let key = &manifest.ident.key;
                if document.owner.keeps_previous && stem(key).is_some() {
                    keep_previous.insert(any_generation(key));
                }
                manifests.insert(key.clone(), manifest);
            }
            Err(error) => failures.push(Failure { project: document.owner.project.clone(), error }),
        }
    }
    resolved
}

/// The error for an object that the tree already contains, under the same key or a cohabiting one.
fn second(manifests: &BTreeMap<ObjectKey, Manifest>, key: &ObjectKey) -> Option<String> {
    if let Some(first) = manifests.get(key) {
        return Some(format!("{key} is already defined at {}: remove one of them", first.place));
    }
    let first = manifests.get(&key.cohabiting()?)?;
    Some(format!(
        "{key} is the same object as {}, which is defined at {}: remove one of them",
        first.ident.key, first.place
    ))
}

fn manifest(document: &Document, mut body: Value, kinds: &Kinds) -> Result<Manifest, SourceError> {
    let Document { owner, place, .. } = document;
    let text = |pointer: &str, field: &str| match body.pointer(pointer) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(Value::Null | Value::String(_)) | None => Err(missing(place, field)),
        Some(_) => Err(SourceError::new(place.clone(), format!("`{field}` is not a string: quote it"))),
    };
    let api_version = text("/apiVersion", "apiVersion")?;
    let (group, version) = split_api_version(&api_version);
    let kind = text("/kind", "kind")?;
    let name = text("/metadata/name", "metadata.name")?;
    let stated = match body.pointer("/metadata/namespace") {
        Some(Value::Null) | None => None,
        Some(_) => Some(text("/metadata/namespace", "metadata.namespace")?),
    };
    let key = ObjectKey { group: group.to_owned(), kind, namespace: stated, name };
    let mut ident = Ident { version: version.to_owned(), key };
    check(&ident, &body).map_err(|message| SourceError::new(place.clone(), message))?;
    let key = &mut ident.key;
    let known = kinds.get(&key.group_kind());
    match known {
        Some(known) if !known.namespaced => key.namespace = None,
        Some(_) if key.namespace.is_none() => {
            let Some(namespace) = &owner.namespace else {
                let message = format!(
                    "{key} needs a namespace: set metadata.namespace, or `namespace` in the directory's .ktor.yaml"
                );
                return Err(SourceError::new(place.clone(), message));
            };
            key.namespace = Some(namespace.clone());
        }
        // An object of an unknown kind gets the namespace of its owner, because most kinds are namespaced.
        None if key.namespace.is_none() => key.namespace.clone_from(&owner.namespace),
        _ => {}
    }
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        match &key.namespace {
            Some(namespace) => drop(metadata.insert("namespace".to_owned(), Value::String(namespace.clone()))),
            None => drop(metadata.remove("namespace")),
        }
    }
    let is_builtin = Kinds::is_builtin(&ident.key.group_kind());
    exported::clean(&ident.key.group_kind(), is_builtin, &mut body);
    encode_string_data(&ident.key, place, &mut body)?;
    Ok(Manifest { ident, project: owner.project.clone(), place: place.clone(), body: body.into() })
}

/// Checks that a manifest may name this object. The error is the reason: no API server accepts a name, or a root keeps
/// its data in the object.
fn check(ident: &Ident, body: &Value) -> Result<(), String> {
    name::check(ident).map_err(|error| error.to_string())?;
    let key = &ident.key;
    if key.is_crd() {
        name::check_definition(body).map_err(|error| error.to_string())?;
    }
    match reserved::described(&key.group, &key.kind, &key.name, body) {
        Some(what) => Err(format!("{key} is {what}, and no manifest may contain it: remove it from the tree")),
        None => Ok(()),
    }
}

fn missing(place: &SourcePlace, field: &str) -> SourceError {
    SourceError::new(place.clone(), format!("the object has no `{field}`: add it"))
}

/// Moves `stringData` of a Secret to `data`, because server-side apply does not remove keys that are no longer in
/// `stringData`.
fn encode_string_data(key: &ObjectKey, place: &SourcePlace, body: &mut Value) -> Result<(), SourceError> {
    use base64::Engine;
    if !(key.group.is_empty() && key.kind == "Secret") {
        return Ok(());
    }
    let Some(object) = body.as_object_mut() else { return Ok(()) };
    let plain = match object.remove("stringData") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(plain)) => plain,
        Some(_) => return Err(SourceError::new(place.clone(), "`stringData` is not a mapping of names to texts")),
    };
    let data = object.entry("data").or_insert_with(|| Value::Object(serde_json::Map::new()));
    if data.is_null() {
        *data = Value::Object(serde_json::Map::new());
    }
    for (name, value) in plain {
        let Value::String(text) = value else {
            return Err(SourceError::new(place.clone(), format!("`stringData.{name}` is not a string: quote it")));
        };
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        if let Some(data) = data.as_object_mut() {
            data.insert(name, Value::String(encoded));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::project::tree::{Owner, Tree};
    use serde_json::json;

    fn tree() -> Tree {
        let files = [(".ktor.yaml", "project: demo\n"), ("a/.ktor.yaml", "project: a\nnamespace: shop\n")];
        Tree::load(&files.map(|(path, text)| (PathBuf::from(path), text.into())).into(), None).unwrap()
    }

    fn resolve(documents: &[(&str, usize, Value)]) -> Result<Vec<Manifest>, Vec<String>> {
        let document = |(path, line, body): &(&str, usize, Value)| {
            let place = SourcePlace::new(*path, *line, 1);
            Document { owner: tree().owner_of(Path::new(path)), place, body: body.clone().into() }
        };
        let documents: Vec<Document> = documents.iter().map(document).collect();
        let Resolved { manifests, failures: errors, .. } = manifests(&documents, Kinds::builtin());
        if errors.is_empty() {
            Ok(manifests.into_values().collect())
        } else {
            Err(errors.iter().map(|failure| failure.error.to_string()).collect())
        }
    }

    #[test]
    fn b2_namespaces_are_filled_in_never_overridden_and_dropped_where_there_is_none() {
        let object = |kind: &str, namespace: Value| {
            let metadata = json!({"name": "x", "namespace": namespace, "uid": "u"});
            json!({"apiVersion": "v1", "kind": kind, "metadata": metadata})
        };
        let resolved =
            |path, kind, namespace| resolve(&[(path, 1, object(kind, namespace))]).map(|mut all| all.remove(0));
        let manifest = resolved("a/x.yaml", "ConfigMap", Value::Null).unwrap();
        assert_eq!(manifest.ident.key.to_string(), "ConfigMap shop/x");
        assert_eq!(manifest.body["metadata"], json!({"name": "x", "namespace": "shop"}));
        assert_eq!(manifest.project.as_str(), "demo.a");
        let manifest = resolved("a/x.yaml", "ConfigMap", json!("other")).unwrap();
        assert_eq!(manifest.ident.key.to_string(), "ConfigMap other/x");
        let manifest = resolved("a/x.yaml", "Namespace", json!("other")).unwrap();
        assert_eq!(manifest.ident.key.to_string(), "Namespace x");
        assert_eq!(manifest.body["metadata"], json!({"name": "x"}));
        let errors = resolved("x.yaml", "ConfigMap", Value::Null).unwrap_err();
        assert!(errors[0].starts_with("x.yaml:1:1: ConfigMap x needs a namespace"), "{errors:?}");
    }

    #[test]
    fn x9_what_roots_keep_their_books_in_is_refused_in_its_place() {
        let refused = |api_version: &str, kind: &str, name: &str, secret_type: Value| {
            let metadata = json!({"name": name, "namespace": "anywhere"});
            let object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "type": secret_type});
            let errors = resolve(&[("a/x.yaml", 3, object)]).err().unwrap_or_default();
            assert!(errors.iter().all(|error| error.starts_with("a/x.yaml:3:1: ")), "{errors:?}");
            errors.iter().any(|error| error.contains("no manifest may contain it: remove it from the tree"))
        };
        let state = "kubernator-project-89e495e7941c";
        assert!(refused("v1", "Secret", state, Value::Null));
        assert!(refused("v1", "Secret", &format!("{state}-anything"), json!("Opaque")));
        assert!(refused("v1", "Secret", "innocent", json!("kubernator.io/project-state")));
        assert!(refused("coordination.k8s.io/v1", "Lease", &format!("{state}-lock"), Value::Null));
        assert!(!refused("v1", "Secret", "web", json!("Opaque")) && !refused("v1", "ConfigMap", state, Value::Null));
    }

    #[test]
    fn b2_the_same_object_twice_names_both_places() {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}});
        let errors = resolve(&[("a/x.yaml", 3, object.clone()), ("b.yaml", 7, object)]).unwrap_err();
        assert_eq!(errors, ["b.yaml:7:1: Namespace x is already defined at a/x.yaml:3:1: remove one of them"]);
    }

    #[test]
    fn the_owner_decides_the_project_and_the_namespace_wherever_the_object_is_written() {
        let owner =
            Owner { project: "demo.b".parse().unwrap(), namespace: Some("b".to_owned()), keeps_previous: false };
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
        let document = Document { owner, place: SourcePlace::new("a/x.yaml", 1, 1), body: body.into() };
        let Resolved { manifests: found, failures, .. } = manifests([&document, &document], Kinds::builtin());
        let manifest = found.into_values().next().unwrap();
        assert_eq!((manifest.project.as_str(), manifest.ident.key.to_string()), ("demo.b", "ConfigMap b/x".to_owned()));
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].project.as_str(), "demo.b");
    }

    #[test]
    fn c8_the_same_object_in_both_of_its_groups_names_both_places() {
        let event = |version: &str, name: &str| json!({"apiVersion": version, "kind": "Event", "metadata": {"name": name, "namespace": "x"}});
        let tree = |name| [("a/x.yaml", 3, event("v1", "x")), ("b.yaml", 7, event("events.k8s.io/v1", name))];
        let errors = resolve(&tree("x")).unwrap_err();
        let expected = "b.yaml:7:1: Event.events.k8s.io x/x is the same object as Event x/x, which is defined at \
                        a/x.yaml:3:1: remove one of them";
        assert_eq!(errors, [expected]);
        assert_eq!(resolve(&tree("another")).unwrap().len(), 2);
    }

    #[test]
    fn b2_what_is_missing_is_named() {
        let full = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
        for (pointer, field) in [("/apiVersion", "apiVersion"), ("/kind", "kind"), ("/metadata/name", "metadata.name")]
        {
            let mut object = full.clone();
            *object.pointer_mut(pointer).unwrap() = Value::Null;
            let errors = resolve(&[("a/x.yaml", 1, object)]).unwrap_err();
            assert_eq!(errors, [format!("a/x.yaml:1:1: the object has no `{field}`: add it")]);
        }
    }

    #[test]
    fn b2_what_is_no_text_is_named() {
        let secret = |field: &str, value: Value| {
            let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "data": null});
            *object.pointer_mut("").unwrap().as_object_mut().unwrap().entry(field).or_insert(Value::Null) = value;
            resolve(&[("a/x.yaml", 1, object)])
        };
        let refused = |field: &str, value: Value| secret(field, value).unwrap_err().remove(0);
        assert!(refused("kind", json!(true)).contains("`kind` is not a string: quote it"));
        assert!(refused("stringData", json!(["a"])).contains("`stringData` is not a mapping"));
        assert!(refused("stringData", json!({"a": 1})).contains("`stringData.a` is not a string: quote it"));
        assert_eq!(secret("stringData", json!({"a": "1"})).unwrap()[0].body["data"], json!({"a": "MQ=="}));
    }

    #[test]
    fn string_data_becomes_data() {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"},
            "data": {"a": "MQ==", "b": "MQ=="}, "stringData": {"b": "two"}});
        let manifest = resolve(&[("a/x.yaml", 1, object)]).unwrap().remove(0);
        assert_eq!(manifest.body["data"], json!({"a": "MQ==", "b": "dHdv"}));
        assert_eq!(manifest.body.get("stringData"), None);
    }
}

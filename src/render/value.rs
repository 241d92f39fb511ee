//! Merges the values for templates. The rules are those of Helm: mappings are merged, lists and everything else are
//! replaced, and null deletes a key.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::yaml::placed::{Content, Placed};
use super::yaml::{self, ValueBudget};
use crate::project::files::Files;
use crate::project::snapshot::{SourceError, SourcePlace};
use crate::project::values::ValuesSource;

/// The maximum size of a file with values, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The merged values of a directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Merged {
    /// The values, each with the place that won.
    pub(super) entries: Vec<(String, Placed)>,
    /// The values that replaced a value of another kind.
    pub(super) conflicts: Vec<Conflict>,
}

/// A mapping that replaced another kind of value, or was replaced by one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Conflict {
    /// The keys from the top, as in `ingress.hosts`.
    pub(crate) key: String,
    /// The place of the value that is used.
    pub(crate) winning: SourcePlace,
    /// The place of the value that is lost.
    pub(crate) losing: SourcePlace,
}

/// The files that these values are in.
pub(super) fn files(sources: &[&ValuesSource]) -> BTreeSet<PathBuf> {
    let path = |source: &ValuesSource| match source {
        ValuesSource::File { path, .. } => Some(path.clone()),
        ValuesSource::Settings { .. } => None,
    };
    sources.iter().copied().filter_map(path).collect()
}

/// Reads and merges values. A later source is merged over the sources before it.
///
/// # Errors
///
/// A file is missing, is not YAML, or is not a mapping.
pub(super) fn merged(
    sources: &[&ValuesSource],
    files: &Files,
    budget: &mut ValueBudget,
) -> Result<Merged, SourceError> {
    let mut merged = Merged::default();
    for source in sources {
        if let Some(above) = read(source, files, budget)? {
            merge(&mut merged.entries, above, &mut Vec::new(), &mut merged.conflicts);
        }
    }
    remove_nulls(&mut merged.entries);
    Ok(merged)
}

/// Reads one source. Returns `None` if it is empty.
fn read(
    source: &ValuesSource,
    files: &Files,
    budget: &mut ValueBudget,
) -> Result<Option<Vec<(String, Placed)>>, SourceError> {
    let (path, index) = match source {
        ValuesSource::File { path, named_at } if !files.loaded().contains_key(path) => {
            let message = "there is no file of this name, which `values` names: correct the path, or add the file";
            return Err(SourceError::new(named_at.clone(), message));
        }
        ValuesSource::File { path, .. } => (path, None),
        ValuesSource::Settings { file, target, index } => (file, Some((target, *index))),
    };
    let mut documents = documents(path, files.loaded().get(path).map(Vec::as_slice).unwrap_or_default(), budget)?;
    if let Some(second) = documents.get(1) {
        let message = "a file with values is one document, and this is a second one: merge the two";
        return Err(SourceError::new(second.place.clone(), message));
    }
    let Some(document) = documents.pop() else { return Ok(None) };
    let value = match index {
        None => Some(document),
        Some((target, index)) => {
            let settings = match target {
                None => Some(document),
                Some(target) => take(document, "targets").and_then(|targets| take(targets, target)),
            };
            settings.and_then(|settings| take(settings, "values")).and_then(|setting| match index {
                None => Some(setting),
                Some(index) => item(setting, index),
            })
        }
    };
    match value {
        None => Ok(None),
        Some(Placed { content: Content::Map(entries), .. }) => Ok(Some(entries)),
        Some(other) => {
            let message = format!("values are a mapping, and this is {}: give each value a name", other.describe());
            Err(SourceError::new(other.place, message))
        }
    }
}

fn documents(path: &Path, bytes: &[u8], budget: &mut ValueBudget) -> Result<Vec<Placed>, SourceError> {
    if bytes.len() > MAX_BYTES {
        let message = format!("a file with values has at most {} MiB: split it", MAX_BYTES >> 20);
        return Err(SourceError::new(SourcePlace::whole(path), message));
    }
    yaml::read_placed(path, bytes, budget)
}

fn take(value: Placed, key: &str) -> Option<Placed> {
    match value.content {
        Content::Map(entries) => entries.into_iter().find(|(name, _)| name == key).map(|(_, value)| value),
        _ => None,
    }
}

fn item(value: Placed, index: usize) -> Option<Placed> {
    match value.content {
        Content::List(items) => items.into_iter().nth(index),
        _ => None,
    }
}

/// Merges the entries of `above` over those of `below`. The recursion is as deep as the values, which the YAML reader
/// limits.
fn merge(
    below: &mut Vec<(String, Placed)>,
    above: Vec<(String, Placed)>,
    keys: &mut Vec<String>,
    conflicts: &mut Vec<Conflict>,
) {
    let index: HashMap<String, usize> = below.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect();
    for (key, value) in above {
        let Some((_, old)) = index.get(&key).and_then(|at| below.get_mut(*at)) else {
            below.push((key, value));
            continue;
        };
        keys.push(key);
        match (&mut old.content, value.content) {
            (Content::Map(old), Content::Map(new)) => merge(old, new, keys, conflicts),
            (_, new) => {
                if is_conflict(&old.content, &new) {
                    let (winning, losing) = (value.place.clone(), old.place.clone());
                    let key = keys.join(".").chars().take(100).collect();
                    conflicts.push(Conflict { key, winning, losing });
                }
                *old = Placed { place: value.place, content: new };
            }
        }
        keys.pop();
    }
}

/// Returns `true` if one of the values is a mapping and the other one is not. Null replaces everything, and everything
/// replaces null.
fn is_conflict(old: &Content, new: &Content) -> bool {
    let is_null = |content: &Content| matches!(content, Content::Scalar(Value::Null));
    let is_map = |content: &Content| matches!(content, Content::Map(_));
    !is_null(old) && !is_null(new) && is_map(old) != is_map(new)
}

/// Removes the keys whose value is null. Lists stay as they are written.
fn remove_nulls(entries: &mut Vec<(String, Placed)>) {
    entries.retain_mut(|(_, value)| match &mut value.content {
        Content::Scalar(Value::Null) => false,
        Content::Map(entries) => {
            remove_nulls(entries);
            true
        }
        _ => true,
    });
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    fn placed(value: &Value, file: &str) -> Placed {
        let content = match value {
            Value::Object(map) => Content::Map(map.iter().map(|(k, v)| (k.clone(), placed(v, file))).collect()),
            Value::Array(items) => Content::List(items.iter().map(|item| placed(item, file)).collect()),
            other => Content::Scalar(other.clone()),
        };
        Placed { place: SourcePlace::whole(file), content }
    }

    fn plain(placed: &Placed) -> Value {
        match &placed.content {
            Content::Map(entries) => entries.iter().map(|(k, v)| (k.clone(), plain(v))).collect::<Map<_, _>>().into(),
            Content::List(items) => items.iter().map(plain).collect(),
            Content::Scalar(value) => value.clone(),
        }
    }

    fn check(texts: &[&str]) -> (Value, Vec<String>) {
        let mut files = Files::default();
        let mut sources = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let path = PathBuf::from(format!("{index}.yaml"));
            files.load(path.clone(), (*text).into());
            sources.push(ValuesSource::File { path, named_at: SourcePlace::new(".ktor.yaml", 2, 3) });
        }
        let Merged { entries, conflicts } =
            merged(&sources.iter().collect::<Vec<_>>(), &files, &mut ValueBudget::default()).unwrap();
        let told = |c: Conflict| format!("{} {} over {}", c.key, c.winning, c.losing);
        (
            plain(&Placed { place: SourcePlace::whole(""), content: Content::Map(entries) }),
            conflicts.into_iter().map(told).collect(),
        )
    }

    #[test]
    fn k8_values_merge_as_helms_do_and_tell_what_changes_kind() {
        let (value, conflicts) = check(&[
            "a: {b: 1, c: {d: 2}, l: [1, 2]}\nx: 1\nw: {z: 1}\n",
            "a:\n  b: null\n  c: {e: 3}\n  l: [3]\nx: {deep: 1}\nw: no\n",
            "n: null\na: {b: 4}\n",
        ]);
        assert_eq!(value, json!({"a": {"b": 4, "c": {"d": 2, "e": 3}, "l": [3]}, "x": {"deep": 1}, "w": false}));
        assert_eq!(conflicts, ["x 1.yaml:5:4 over 0.yaml:2:4", "w 1.yaml:6:4 over 0.yaml:3:4"]);
        assert_eq!(check(&["", "# nothing\n", "a: 1"]), (json!({"a": 1}), vec![]));
        assert_eq!(check(&["a: {b: {c: 1}}", "a: {b: null}", "a: {b: {d: 1}}"]).0, json!({"a": {"b": {"d": 1}}}));
    }

    #[test]
    fn k8_values_that_cannot_be_used_are_told_at_their_place() {
        let named_at = SourcePlace::new("a/.ktor.yaml", 2, 3);
        let error = |text: Option<&str>| {
            let mut files = Files::default();
            if let Some(text) = text {
                files.load("v.yaml".into(), text.into());
            }
            let source = ValuesSource::File { path: "v.yaml".into(), named_at: named_at.clone() };
            merged(&[&source], &files, &mut ValueBudget::default()).unwrap_err().to_string()
        };
        assert!(error(None).starts_with("a/.ktor.yaml:2:3: there is no file of this name"));
        assert_eq!(
            error(Some("- a\n")),
            "v.yaml:1:1: values are a mapping, and this is a list: give each value a name"
        );
        assert!(error(Some("a: 1\n---\nb: 1\n")).starts_with("v.yaml:3:1: a file with values is one document"));
        assert!(error(Some("a: 1\na: 2\n")).starts_with("v.yaml:2:1: key \"a\" is already set at 1:1"));
        assert!(error(Some(&"a".repeat(MAX_BYTES + 1))).starts_with("v.yaml: a file with values has at most 1 MiB"));
    }

    /// Merges by paths of leaves, an independent reading of the rule: each file is a list of assignments, where an
    /// assignment removes everything at, above (if it is no mapping) and below its path.
    fn oracle(layers: &[Value]) -> BTreeSet<(Vec<String>, String)> {
        fn leaves(value: &Value, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, String)>) {
            match value {
                Value::Object(map) => {
                    found.push((path.clone(), "{".to_owned()));
                    for (key, value) in map {
                        path.push(key.clone());
                        leaves(value, path, found);
                        path.pop();
                    }
                }
                other => found.push((path.clone(), other.to_string())),
            }
        }
        let mut result: BTreeSet<(Vec<String>, String)> = BTreeSet::new();
        for layer in layers {
            let mut found = Vec::new();
            leaves(layer, &mut Vec::new(), &mut found);
            for (path, leaf) in found {
                if leaf == "{" {
                    result.retain(|(other, value)| *other != path || value == "{");
                } else {
                    result.retain(|(other, _)| !other.starts_with(&path));
                }
                result.insert((path, leaf));
            }
        }
        result.into_iter().filter(|(_, value)| value != "null").collect()
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), (0..3i64).prop_map(Value::from), vec(0..3i64, 0..3).prop_map(Value::from)];
        let inner = leaf.prop_recursive(3, 16, 3, |inner| btree_map("[abc]", inner, 0..4).prop_map(|map| json!(map)));
        btree_map("[abc]", inner, 0..4).prop_map(|map| json!(map))
    }

    proptest! {
        #[test]
        fn k8_a_merge_is_the_last_assignment_of_each_key(layers in vec(tree(), 1..5)) {
            let mut below = Vec::new();
            for layer in &layers {
                let Content::Map(above) = placed(layer, "x").content else { unreachable!() };
                merge(&mut below, above, &mut Vec::new(), &mut Vec::new());
            }
            remove_nulls(&mut below);
            let merged = plain(&Placed { place: SourcePlace::whole(""), content: Content::Map(below) });
            prop_assert_eq!(oracle(&[merged]), oracle(&layers));
        }
    }
}

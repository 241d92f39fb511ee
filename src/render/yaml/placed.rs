//! Values with the place of each, in the order of the file. Templates and their settings are read so.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::ValueBudget;
use super::convert::{Converter, NOT_MERGEABLE};
use super::scalar::{self, Scalar};
use super::split::Syntax;
use super::tree::{NodeKind, SyntaxTree};
use crate::project::snapshot::{SourceError, SourcePlace};

/// A value and the place where it is written.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::render) struct Placed {
    /// The place where the value begins.
    pub(in crate::render) place: SourcePlace,
    /// The value.
    pub(in crate::render) content: Content,
}

/// The content of a value.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::render) enum Content {
    /// Null, a boolean, a number or text.
    Scalar(Value),
    /// A list.
    List(Vec<Placed>),
    /// A mapping, in the order of the file. No key occurs twice.
    Map(Vec<(String, Placed)>),
}

impl Placed {
    /// Returns the value of a key, or `None` if this is not a mapping or lacks the key.
    pub(in crate::render) fn get(&self, key: &str) -> Option<&Placed> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Returns the text, or `None` if this is not text.
    pub(in crate::render) fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Describes the type of the value, without the value itself.
    pub(in crate::render) fn describe(&self) -> &'static str {
        match &self.content {
            Content::Scalar(Value::Null) => "null",
            Content::Scalar(Value::Bool(_)) => "a boolean",
            Content::Scalar(Value::Number(_)) => "a number",
            Content::Scalar(_) => "text",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }
}

/// Converts a syntax tree. Returns `None` if the document is empty or null.
pub(super) fn document(
    path: &Path,
    tree: &SyntaxTree<'_>,
    syntax: Syntax,
    budget: &mut ValueBudget,
) -> Result<Option<Placed>, SourceError> {
    let Some(root) = tree.root else { return Ok(None) };
    let mut converter = Converter::new(path, tree, syntax, budget);
    let placed = value(&mut converter, root, 1)?;
    Ok(Some(placed).filter(|placed| placed.content != Content::Scalar(Value::Null)))
}

fn value(converter: &mut Converter<'_, '_>, id: usize, depth: usize) -> Result<Placed, SourceError> {
    converter.count(id)?;
    let tree = converter.tree;
    let place = tree.nodes[id].place(converter.path);
    let content = match &tree.nodes[id].kind {
        NodeKind::Scalar { .. } => Content::Scalar(converter.scalar(id, to_json)?),
        // The place is where the alias is written, because a reader looks there first.
        NodeKind::Alias(target) => {
            converter.through_alias(id, *target, |this| value(this, *target, depth).map(|placed| placed.content))?
        }
        NodeKind::Sequence(children) => Content::List(converter.inside(id, depth, |this| {
            children.iter().map(|child| value(this, *child, depth + 1)).collect::<Result<_, _>>()
        })?),
        NodeKind::Mapping(_) => {
            let mut entries = Entries::default();
            fill(converter, id, depth, &mut entries)?;
            Content::Map(entries.list)
        }
    };
    Ok(Placed { place, content })
}

/// The entries of a mapping, and where in the list each key is.
#[derive(Default)]
struct Entries {
    list: Vec<(String, Placed)>,
    index: HashMap<String, usize>,
}

impl Entries {
    fn insert(&mut self, key: String, value: Placed) {
        match self.index.get(&key).and_then(|index| self.list.get_mut(*index)) {
            Some(entry) => entry.1 = value,
            None => {
                self.index.insert(key.clone(), self.list.len());
                self.list.push((key, value));
            }
        }
    }
}

/// Adds the entries of a mapping in their order. A merge overrides the entries above it, as for manifests.
fn fill(converter: &mut Converter<'_, '_>, id: usize, depth: usize, entries: &mut Entries) -> Result<(), SourceError> {
    let tree = converter.tree;
    let NodeKind::Mapping(children) = &tree.nodes[id].kind else { return Ok(()) };
    converter.inside(id, depth, |this| {
        let mut written: HashMap<String, usize> = HashMap::with_capacity(children.len() / 2);
        for pair in children.chunks_exact(2) {
            if this.is_merge(pair[0]) {
                merge(this, pair[1], depth, entries)?;
                continue;
            }
            let name = this.key(pair[0])?;
            if let Some(first) = written.insert(name.clone(), pair[0]) {
                return Err(this.duplicate(&name, first, pair[0]));
            }
            entries.insert(name, value(this, pair[1], depth + 1)?);
        }
        Ok(())
    })
}

fn merge(converter: &mut Converter<'_, '_>, id: usize, depth: usize, entries: &mut Entries) -> Result<(), SourceError> {
    let tree = converter.tree;
    match &tree.nodes[id].kind {
        // The first mapping in the list has precedence, so it is merged last.
        NodeKind::Sequence(children) => {
            children.iter().rev().try_for_each(|child| merge_mapping(converter, *child, depth, entries))
        }
        _ => merge_mapping(converter, id, depth, entries),
    }
}

fn merge_mapping(
    converter: &mut Converter<'_, '_>,
    id: usize,
    depth: usize,
    entries: &mut Entries,
) -> Result<(), SourceError> {
    let tree = converter.tree;
    converter.count(id)?;
    match &tree.nodes[id].kind {
        NodeKind::Mapping(_) => fill(converter, id, depth + 1, entries),
        NodeKind::Alias(target) if matches!(tree.nodes[*target].kind, NodeKind::Mapping(_)) => {
            converter.through_alias(id, *target, |this| {
                this.count(*target)?;
                fill(this, *target, depth + 1, entries)
            })
        }
        _ => Err(converter.error(id, NOT_MERGEABLE)),
    }
}

/// Converts a scalar to a JSON value. A float stays one, because a template prints `1.0` and `1` differently.
fn to_json(scalar: Scalar<'_>) -> Result<Value, String> {
    match scalar {
        Scalar::Float(value) => serde_json::Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| "JSON has no infinity and no NaN: put the value in quotes".to_owned()),
        other => scalar::to_json(other),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;
    use crate::render::yaml::{read, read_placed};

    fn plain(placed: &Placed) -> Value {
        match &placed.content {
            Content::Map(entries) => entries.iter().map(|(k, v)| (k.clone(), plain(v))).collect::<Map<_, _>>().into(),
            Content::List(items) => items.iter().map(plain).collect(),
            Content::Scalar(value) => value.clone(),
        }
    }

    /// Returns a value with all numbers as floats. A manifest reads `1.0` as an integer, as kubectl does.
    fn as_floats(value: Value) -> Value {
        match value {
            Value::Number(number) => number.as_f64().map(|number| number + 0.0).into(),
            Value::Array(items) => items.into_iter().map(as_floats).collect(),
            Value::Object(map) => map.into_iter().map(|(k, v)| (k, as_floats(v))).collect::<Map<_, _>>().into(),
            other => other,
        }
    }

    /// Reads a file as manifests are read, and with places. Each error is its text.
    fn both(bytes: &[u8]) -> [Result<Vec<Value>, String>; 2] {
        let (path, text) = (Path::new("a.yaml"), |error: SourceError| error.to_string());
        let manifests = read(path, bytes, &mut ValueBudget::default()).map_err(text);
        let values = read_placed(path, bytes, &mut ValueBudget::default()).map_err(text);
        [
            manifests.map(|all| all.into_iter().map(|located| as_floats(located.document.body)).collect()),
            values.map(|all| all.iter().map(plain).map(as_floats).collect()),
        ]
    }

    #[test]
    fn b1_values_mean_what_manifests_mean() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/yaml");
        let (mut read, mut refused) = (0, 0);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let corpus: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            for case in corpus["cases"].as_array().unwrap() {
                let Some(text) = case["input"].as_str() else { continue };
                let [manifests, values] = both(text.as_bytes());
                assert_eq!(values, manifests, "{}", case["name"]);
                if values.is_ok() { read += 1 } else { refused += 1 }
            }
        }
        assert!(read > 200 && refused > 100, "{read} read, {refused} refused");
    }

    #[test]
    fn k4_a_value_of_an_alias_stands_where_the_alias_is_written() {
        let text = "base: &base\n  a: 1\n  b: [x]\nother:\n  <<: *base\n  a: 2\nlist: [*base]\n";
        let [document] =
            read_placed(Path::new("a.yaml"), text.as_bytes(), &mut ValueBudget::default()).unwrap().try_into().unwrap();
        let at = |path: &[&str]| {
            let place = &path.iter().fold(&document, |placed, key| match &placed.content {
                Content::Map(entries) => &entries.iter().find(|(name, _)| name == key).unwrap().1,
                Content::List(items) => &items[key.parse::<usize>().unwrap()],
                Content::Scalar(_) => panic!("{key}"),
            });
            place.place.to_string()
        };
        assert_eq!(plain(&document)["other"], json!({"a": 2, "b": ["x"]}));
        assert_eq!(at(&["other", "a"]), "a.yaml:6:6");
        assert_eq!(at(&["other", "b"]), "a.yaml:3:6");
        assert_eq!(at(&["list", "0"]), "a.yaml:7:8");
    }

    proptest! {
        #[test]
        fn b1_any_text_means_the_same_as_a_value_and_as_a_manifest(tokens in prop::collection::vec(
            prop::sample::select(vec![
                "a", "b: ", "- ", "\n", "\n  ", " ", "[", "]", "{", "}", ", ", ": ", "? ", "'", "\"", "|\n", "&a ", "*a",
                "<<: ", "1", "~", "---\n", "c: *a\n", "d: &a {e: 1}\n",
            ]),
            0..30,
        )) {
            let [manifests, values] = both(tokens.concat().as_bytes());
            prop_assert_eq!(values, manifests);
        }
    }
}

//! From syntax to JSON: aliases, merge keys, keys as text, and the limits that hostile documents meet.
//!
//! **Invariant:** every recursion is bounded by [`MAX_DEPTH`], and so is every value that comes out.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::split::Syntax;
use super::tree::{Node, NodeKind, SyntaxTree, too_deep};
use super::{Located, MAX_DEPTH, Outline, ValueBudget, scalar};
use crate::object::manifest::Document;
use crate::project::snapshot::{SourceError, SourcePlace};

/// The document of a tree; none when it is empty or null.
pub(super) fn document(
    path: &Path,
    tree: &SyntaxTree<'_>,
    syntax: Syntax,
    budget: &mut ValueBudget,
) -> Result<Option<Located>, SourceError> {
    let Some(root) = tree.root else { return Ok(None) };
    let mut converter = Converter {
        path,
        tree,
        syntax,
        being_read: vec![false; tree.nodes.len()],
        read: 1,
        read_by_alias: 0,
        aliases: 0,
        budget,
    };
    let body = converter.value(root, 1)?;
    if body.is_null() {
        return Ok(None);
    }
    let items = outlines(path, tree, root);
    Ok(Some(Located { document: Document { place: tree.nodes[root].place(path), body }, items }))
}

struct Converter<'a, 't> {
    path: &'t Path,
    tree: &'t SyntaxTree<'a>,
    syntax: Syntax,
    /// The lists and mappings whose content is being read.
    being_read: Vec<bool>,
    /// How many nodes have been read, and how many of them through an alias, each time counted.
    read: u64,
    read_by_alias: u64,
    /// How many aliases lead to the node that is being read.
    aliases: usize,
    /// What aliases may still add to the tree.
    budget: &'t mut ValueBudget,
}

impl Converter<'_, '_> {
    fn value(&mut self, id: usize, depth: usize) -> Result<Value, SourceError> {
        self.count(id)?;
        match &self.tree.nodes[id].kind {
            NodeKind::Scalar { .. } => self.scalar(id, scalar::to_json),
            NodeKind::Alias(target) => self.through_alias(id, *target, |this| this.value(*target, depth)),
            NodeKind::Sequence(children) => self.inside(id, depth, |this| {
                children.iter().map(|child| this.value(*child, depth + 1)).collect::<Result<_, _>>().map(Value::Array)
            }),
            NodeKind::Mapping(_) => {
                let mut entries = Map::new();
                self.fill(id, depth, &mut entries)?;
                Ok(Value::Object(entries))
            }
        }
    }

    /// Adds the entries of a mapping, in their order, as goyaml.v2 does: a merge overrides what stands above it.
    fn fill(&mut self, id: usize, depth: usize, entries: &mut Map<String, Value>) -> Result<(), SourceError> {
        let NodeKind::Mapping(children) = &self.tree.nodes[id].kind else { return Ok(()) };
        self.inside(id, depth, |this| {
            let mut written: HashMap<String, usize> = HashMap::with_capacity(children.len() / 2);
            for pair in children.chunks_exact(2) {
                let (key, value) = (pair[0], pair[1]);
                if this.is_merge(key) {
                    this.merge(value, depth, entries)?;
                    continue;
                }
                let name = this.key(key)?;
                if let Some(first) = written.insert(name.clone(), key) {
                    return Err(this.duplicate(&name, first, key));
                }
                let value = this.value(value, depth + 1)?;
                entries.insert(name, value);
            }
            Ok(())
        })
    }

    fn is_merge(&self, key: usize) -> bool {
        match &self.tree.nodes[key].kind {
            NodeKind::Scalar { text, plain, tag } if text == "<<" => match tag.as_deref() {
                None => *plain,
                Some(tag) => tag == "!" || tag == "tag:yaml.org,2002:merge",
            },
            _ => false,
        }
    }

    fn merge(&mut self, id: usize, depth: usize, entries: &mut Map<String, Value>) -> Result<(), SourceError> {
        match &self.tree.nodes[id].kind {
            NodeKind::Sequence(children) => {
                // What stands first takes precedence, so it comes last.
                children.iter().rev().try_for_each(|child| self.merge_mapping(*child, depth, entries))
            }
            _ => self.merge_mapping(id, depth, entries),
        }
    }

    fn merge_mapping(&mut self, id: usize, depth: usize, entries: &mut Map<String, Value>) -> Result<(), SourceError> {
        self.count(id)?;
        match &self.tree.nodes[id].kind {
            NodeKind::Mapping(_) => self.fill(id, depth + 1, entries),
            NodeKind::Alias(target) if matches!(self.tree.nodes[*target].kind, NodeKind::Mapping(_)) => self
                .through_alias(id, *target, |this| {
                    this.count(*target)?;
                    this.fill(*target, depth + 1, entries)
                }),
            _ => Err(self.error(id, "`<<` merges a mapping or a list of mappings, and this is neither")),
        }
    }

    /// The text of a key, whatever its type.
    fn key(&mut self, id: usize) -> Result<String, SourceError> {
        self.count(id)?;
        match &self.tree.nodes[id].kind {
            NodeKind::Scalar { .. } => self.scalar(id, scalar::to_key),
            NodeKind::Alias(target) => self.through_alias(id, *target, |this| this.key(*target)),
            NodeKind::Sequence(_) | NodeKind::Mapping(_) => {
                Err(self.error(id, "a list or mapping is no key in JSON: write the key as text"))
            }
        }
    }

    fn scalar<T>(
        &mut self,
        id: usize,
        convert: impl FnOnce(scalar::Scalar<'_>) -> Result<T, String>,
    ) -> Result<T, SourceError> {
        let NodeKind::Scalar { text, plain, tag } = &self.tree.nodes[id].kind else {
            return Err(self.error(id, "expected a scalar"));
        };
        if self.aliases > 0 {
            let Some(left) = self.budget.copied.checked_sub(text.len()) else {
                return Err(self.error(id, "aliases copy too much of this document: write out less, or exclude it"));
            };
            self.budget.copied = left;
        }
        let resolved = scalar::resolve(text, *plain, tag.as_deref()).and_then(|resolved| match resolved {
            scalar::Scalar::Text(_) if *plain && self.syntax == Syntax::Json => {
                Err("this number is too large: put it in quotes".to_owned())
            }
            resolved => convert(resolved),
        });
        resolved.map_err(|message| self.error(id, message))
    }

    /// Follows an alias, unless it stands inside what it names.
    fn through_alias<T>(
        &mut self,
        id: usize,
        target: usize,
        read: impl FnOnce(&mut Self) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        if self.being_read[target] {
            return Err(self.error(id, "this alias stands inside the very value that it names"));
        }
        self.aliases += 1;
        let value = read(self);
        self.aliases -= 1;
        value
    }

    /// Reads the content of a list or mapping, one level down.
    fn inside<T>(
        &mut self,
        id: usize,
        depth: usize,
        read: impl FnOnce(&mut Self) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        if depth > MAX_DEPTH {
            return Err(self.error(id, too_deep()));
        }
        self.being_read[id] = true;
        let value = read(self);
        self.being_read[id] = false;
        value
    }

    /// Counts a node, and refuses a document that consists of aliases, by goyaml.v2's measure.
    fn count(&mut self, id: usize) -> Result<(), SourceError> {
        self.read += 1;
        if self.aliases > 0 {
            self.read_by_alias += 1;
            let Some(left) = self.budget.aliased.checked_sub(1) else {
                return Err(self.error(id, "aliases expand to too many values: write out less, or exclude the file"));
            };
            self.budget.aliased = left;
        }
        #[expect(clippy::cast_precision_loss, reason = "a ratio of counts far below 2^52")]
        let share = self.read_by_alias as f64 / self.read as f64;
        if self.read_by_alias > 100 && self.read > 1000 && share > allowed_share(self.read) {
            return Err(self.error(id, "aliases expand to nearly all of this document: write it out, or split it"));
        }
        Ok(())
    }

    fn duplicate(&self, name: &str, first: usize, second: usize) -> SourceError {
        let Node { line, column, .. } = &self.tree.nodes[first];
        let message = format!(
            "key {} is already set at {line}:{column}: remove one of the two",
            Value::String(name.chars().take(200).collect())
        );
        self.error(second, message)
    }

    fn error(&self, id: usize, message: impl Into<String>) -> SourceError {
        SourceError::new(self.tree.nodes[id].place(self.path), message)
    }
}

/// Which share of the nodes read may come from aliases: 99 % of 400,000 and below, 10 % of 4,000,000 and above.
fn allowed_share(read: u64) -> f64 {
    const LOW: u64 = 400_000;
    const HIGH: u64 = 4_000_000;
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    match read {
        0..=LOW => 0.99,
        HIGH.. => 0.10,
        _ => 0.99 - 0.89 * ((read - LOW) as f64 / (HIGH - LOW) as f64),
    }
}

/// The places of the elements of a mapping's `items`.
///
/// As deep as the value that the same nodes became, so bounded like it.
fn outlines(path: &Path, tree: &SyntaxTree<'_>, id: usize) -> Vec<Outline> {
    let NodeKind::Mapping(children) = &tree.nodes[target(tree, id)].kind else { return Vec::new() };
    let is_items = |key: usize| matches!(&tree.nodes[key].kind, NodeKind::Scalar { text, .. } if text == "items");
    let items = children.chunks_exact(2).find(|pair| is_items(pair[0])).map(|pair| target(tree, pair[1]));
    let Some(NodeKind::Sequence(elements)) = items.map(|id| &tree.nodes[id].kind) else { return Vec::new() };
    let place = |id: usize| -> SourcePlace { tree.nodes[id].place(path) };
    elements.iter().map(|id| Outline { place: place(*id), items: outlines(path, tree, *id) }).collect()
}

/// The node itself, or what it is an alias of.
fn target(tree: &SyntaxTree<'_>, id: usize) -> usize {
    if let NodeKind::Alias(target) = tree.nodes[id].kind { target } else { id }
}

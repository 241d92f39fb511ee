//! Converts the syntax tree to JSON: resolves aliases and merge keys, turns keys into text, and enforces the limits
//! against hostile documents.
//!
//! **Invariant:** [`MAX_DEPTH`] limits every recursion, and the depth of every returned value.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::split::Syntax;
use super::tree::{Node, NodeKind, SyntaxTree, too_deep};
use super::{Document, Located, MAX_DEPTH, Outline, ValueBudget, scalar};
use crate::project::snapshot::{SourceError, SourcePlace};

/// Converts a syntax tree to a document. Returns `None` if the document is empty or null.
pub(super) fn document(
    path: &Path,
    tree: &SyntaxTree<'_>,
    syntax: Syntax,
    budget: &mut ValueBudget,
) -> Result<Option<Located>, SourceError> {
    let Some(root) = tree.root else { return Ok(None) };
    let mut converter = Converter::new(path, tree, syntax, budget);
    let body = converter.value(root, 1)?;
    if body.is_null() {
        return Ok(None);
    }
    let items = outlines(path, tree, root);
    Ok(Some(Located { document: Document { place: tree.nodes[root].place(path), body }, items }))
}

/// The message for a merge key with a value that it cannot merge.
pub(super) const NOT_MERGEABLE: &str = "`<<` merges a mapping or a list of mappings, and this is neither";

/// The reading of one document.
pub(super) struct Converter<'a, 't> {
    pub(super) path: &'t Path,
    pub(super) tree: &'t SyntaxTree<'a>,
    syntax: Syntax,
    /// For each node, `true` while the content of the list or mapping is being read.
    being_read: Vec<bool>,
    /// The number of nodes that have been read, and the number of those that were read through an alias. A node counts
    /// each time it is read.
    read: u64,
    read_by_alias: u64,
    /// The number of nested aliases around the node that is being read.
    aliases: usize,
    /// The number of values and bytes that aliases may still add in the tree.
    budget: &'t mut ValueBudget,
}

impl<'a, 't> Converter<'a, 't> {
    pub(super) fn new(path: &'t Path, tree: &'t SyntaxTree<'a>, syntax: Syntax, budget: &'t mut ValueBudget) -> Self {
        let being_read = vec![false; tree.nodes.len()];
        Self { path, tree, syntax, being_read, read: 1, read_by_alias: 0, aliases: 0, budget }
    }

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

    /// Adds the entries of a mapping in their order, as goyaml.v2 does: a merge overrides the entries above it.
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

    pub(super) fn is_merge(&self, key: usize) -> bool {
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
                // The first mapping in the list has precedence, so it is merged last.
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
            _ => Err(self.error(id, NOT_MERGEABLE)),
        }
    }

    /// Returns a key as text, for any type of scalar.
    pub(super) fn key(&mut self, id: usize) -> Result<String, SourceError> {
        self.count(id)?;
        match &self.tree.nodes[id].kind {
            NodeKind::Scalar { .. } => self.scalar(id, scalar::to_key),
            NodeKind::Alias(target) => self.through_alias(id, *target, |this| this.key(*target)),
            NodeKind::Sequence(_) | NodeKind::Mapping(_) => {
                Err(self.error(id, "a list or mapping is no key in JSON: write the key as text"))
            }
        }
    }

    pub(super) fn scalar<T>(
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

    /// Follows an alias. An alias inside its own target is an error.
    pub(super) fn through_alias<T>(
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

    /// Reads the content of a list or mapping, and checks its depth.
    pub(super) fn inside<T>(
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

    /// Counts a node. Refuses a document that consists mostly of aliases, by the same measure as goyaml.v2.
    pub(super) fn count(&mut self, id: usize) -> Result<(), SourceError> {
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

    pub(super) fn duplicate(&self, name: &str, first: usize, second: usize) -> SourceError {
        let Node { line, column, .. } = &self.tree.nodes[first];
        let message = format!(
            "key {} is already set at {line}:{column}: remove one of the two",
            Value::String(name.chars().take(200).collect())
        );
        self.error(second, message)
    }

    pub(super) fn error(&self, id: usize, message: impl Into<String>) -> SourceError {
        SourceError::new(self.tree.nodes[id].place(self.path), message)
    }
}

/// Returns the maximum share of nodes that may come from aliases: 99 % of up to 400,000 nodes, 10 % of 4,000,000 and
/// more, and a linear value between them.
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

/// Returns the places of the elements of a mapping's `items`.
///
/// The recursion is as deep as the value of the same nodes, so it has the same limit.
fn outlines(path: &Path, tree: &SyntaxTree<'_>, id: usize) -> Vec<Outline> {
    let NodeKind::Mapping(children) = &tree.nodes[target(tree, id)].kind else { return Vec::new() };
    let is_items = |key: usize| matches!(&tree.nodes[key].kind, NodeKind::Scalar { text, .. } if text == "items");
    let items = children.chunks_exact(2).find(|pair| is_items(pair[0])).map(|pair| target(tree, pair[1]));
    let Some(NodeKind::Sequence(elements)) = items.map(|id| &tree.nodes[id].kind) else { return Vec::new() };
    let place = |id: usize| -> SourcePlace { tree.nodes[id].place(path) };
    elements.iter().map(|id| Outline { place: place(*id), items: outlines(path, tree, *id) }).collect()
}

/// Returns the target of an alias, or the node itself if it is not an alias.
fn target(tree: &SyntaxTree<'_>, id: usize) -> usize {
    if let NodeKind::Alias(target) = tree.nodes[id].kind { target } else { id }
}

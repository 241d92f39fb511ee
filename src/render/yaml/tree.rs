//! Builds the syntax tree of one document from the events of the parser. Scalars are still text, with a style and a
//! tag. Their types are found later.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, StructureStyle, Tag};

use super::dialect::{self, Gap};
use super::split::{Chunk, Syntax};
use super::{MAX_DEPTH, MAX_NODES, ValueBudget};
use crate::project::snapshot::{SourceError, SourcePlace};

const UNKNOWN_ANCHOR: &str = "this alias names no anchor above it in the document";

/// The nodes of one document. A node refers to its children by their index.
pub(super) struct SyntaxTree<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    /// The root node of the document. `None` if the text has no document.
    pub(super) root: Option<usize>,
}

/// One node, and the place where it starts in the file.
pub(super) struct Node<'a> {
    pub(super) kind: NodeKind<'a>,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Node<'_> {
    /// Returns the node's place in the file.
    pub(super) fn place(&self, path: &Path) -> SourcePlace {
        SourcePlace::new(path, self.line, self.column)
    }
}

/// The kind of a node.
pub(super) enum NodeKind<'a> {
    /// Text whose type is not yet known.
    Scalar {
        /// The text after unfolding and unescaping.
        text: Cow<'a, str>,
        /// `true` if the scalar has no quotes and is not a block.
        plain: bool,
        /// The tag in its long form.
        tag: Option<Box<str>>,
    },
    /// A list: the indexes of its elements.
    Sequence(Vec<usize>),
    /// A mapping: the indexes of its keys and values in turn.
    Mapping(Vec<usize>),
    /// An alias: the index of its target.
    Alias(usize),
}

/// Reads the syntax of a chunk.
pub(super) fn read<'a>(
    path: &Path,
    chunk: &Chunk<'a>,
    budget: &mut ValueBudget,
) -> Result<SyntaxTree<'a>, SourceError> {
    let mut builder = Builder {
        path,
        chunk,
        budget,
        tree: SyntaxTree { nodes: Vec::new(), root: None },
        open: Vec::new(),
        anchors: HashMap::new(),
        seen_document: false,
        last: Last { end: 0, line: 1, plain_below: None },
    };
    let parser = Parser::new_from_str_with_options(chunk.text, options(chunk.syntax));
    for event in parser {
        let (event, span) = event.map_err(|error| builder.syntax_error(&error))?;
        builder.take(event, span)?;
    }
    builder.check_gap(chunk.text.len())?;
    if !builder.seen_document {
        builder.refuse_leading_end(chunk.text)?;
    }
    Ok(builder.tree)
}

fn options(syntax: Syntax) -> Options {
    let mut options = granit_parser::options! { emit_comments: false, emit_anchor_events: true };
    if syntax == Syntax::Json {
        options.simple_key_max_lookahead = usize::MAX;
    }
    options
}

struct Builder<'a, 'c> {
    path: &'c Path,
    chunk: &'c Chunk<'a>,
    budget: &'c mut ValueBudget,
    tree: SyntaxTree<'a>,
    /// The lists and mappings that have not ended yet.
    open: Vec<Open>,
    anchors: HashMap<usize, usize>,
    seen_document: bool,
    last: Last,
}

/// A list or mapping that has not ended yet.
struct Open {
    id: usize,
    flow: bool,
    /// The column of its start, from 1.
    column: usize,
}

/// The end of the text of the previous node.
struct Last {
    /// The byte offset in the chunk.
    end: usize,
    /// The line in the chunk, from 1.
    line: usize,
    /// After a plain scalar, the first column, from 0, at which the scalar could continue on a further line.
    plain_below: Option<usize>,
}

impl<'a> Builder<'a, '_> {
    fn take(&mut self, event: Event<'a>, span: Span) -> Result<(), SourceError> {
        match event {
            Event::DocumentStart(..) if self.seen_document => Err(self.error(
                span,
                "kubectl reads no further than the `...` before this document: separate documents with `---`",
            )),
            Event::DocumentStart(..) => {
                self.seen_document = true;
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.check_scalar(&text, style, span)?;
                let plain = style == ScalarStyle::Plain;
                self.leaf(NodeKind::Scalar { text, plain, tag: tag.map(|tag| long_form(&tag)) }, anchor, span)
            }
            Event::Anchor(_, name) => {
                dialect::check_anchor(&name, self.around(span).2).map_err(|message| self.error(span, message))
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).copied() {
                Some(target) => self.leaf(NodeKind::Alias(target), 0, span),
                None => Err(self.error(span, UNKNOWN_ANCHOR)),
            },
            Event::SequenceStart(style, anchor, _) => self.open(NodeKind::Sequence(Vec::new()), style, anchor, span),
            Event::MappingStart(style, anchor, _) => self.open(NodeKind::Mapping(Vec::new()), style, anchor, span),
            Event::SequenceEnd | Event::MappingEnd => {
                if self.open.pop().is_some_and(|ended| ended.flow) {
                    self.pass(span, None);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn open(
        &mut self,
        kind: NodeKind<'a>,
        style: StructureStyle,
        anchor: usize,
        span: Span,
    ) -> Result<(), SourceError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.error(span, &too_deep()));
        }
        self.check_gap(span.byte_range().map_or(0, |range| range.start))?;
        let flow = style == StructureStyle::Flow;
        let id = self.add(kind, anchor, span)?;
        self.open.push(Open { id, flow, column: span.start.col() + 1 });
        Ok(())
    }

    fn leaf(&mut self, kind: NodeKind<'a>, anchor: usize, span: Span) -> Result<(), SourceError> {
        self.check_gap(span.byte_range().map_or(0, |range| range.start))?;
        let plain = matches!(kind, NodeKind::Scalar { plain: true, .. });
        self.add(kind, anchor, span)?;
        let below = self.open.last().map_or(0, |parent| parent.column);
        self.pass(span, plain.then_some(below));
        Ok(())
    }

    /// Stores the place where the text of a node ended.
    fn pass(&mut self, span: Span, plain_below: Option<usize>) {
        let Some(range) = span.byte_range() else { return };
        // An absent value has a place too. It has no text that could continue.
        let plain_below = plain_below.filter(|_| !range.is_empty());
        self.last = Last { end: range.end, line: span.end.line(), plain_below };
    }

    fn add(&mut self, kind: NodeKind<'a>, anchor: usize, span: Span) -> Result<usize, SourceError> {
        let id = self.tree.nodes.len();
        if let Some(tag) = span.tag_span().filter(|_| self.chunk.syntax == Syntax::Yaml) {
            dialect::check_tag(self.around(tag).2).map_err(|message| self.error(tag, message))?;
        }
        if id == 0 {
            self.refuse_leading_end(self.around(span).0)?;
        }
        if id >= MAX_NODES {
            let message = format!("the document has more than {MAX_NODES} values: split it");
            return Err(self.error(span, &message));
        }
        let Some(left) = self.budget.nodes.checked_sub(1) else {
            return Err(self.error(span, "the tree's files have too many values together: use a smaller root"));
        };
        self.budget.nodes = left;
        let SourcePlace { line, column, .. } = self.place(span);
        self.tree.nodes.push(Node { kind, line, column });
        if anchor > 0 {
            self.anchors.insert(anchor, id);
        }
        match self.open.last().and_then(|parent| self.tree.nodes.get_mut(parent.id)) {
            Some(Node { kind: NodeKind::Sequence(children) | NodeKind::Mapping(children), .. }) => children.push(id),
            _ => self.tree.root = Some(id),
        }
        Ok(id)
    }

    /// Refuses a scalar that kubectl reads differently.
    fn check_scalar(&self, text: &str, style: ScalarStyle, span: Span) -> Result<(), SourceError> {
        if self.chunk.syntax == Syntax::Json {
            return Ok(());
        }
        let (before, source, after) = self.around(span);
        let error = |message: &str| self.error(span, message);
        match style {
            ScalarStyle::DoubleQuoted => dialect::check_escapes(source).map_err(error)?,
            ScalarStyle::Literal | ScalarStyle::Folded if self.open.is_empty() => {
                return Err(error(
                    "the document is a block of text and nothing else: exclude the file if it is no manifest",
                ));
            }
            ScalarStyle::Literal | ScalarStyle::Folded => {
                dialect::check_block(before, source, text).map_err(error)?;
            }
            ScalarStyle::Plain | ScalarStyle::SingleQuoted => {}
        }
        if style == ScalarStyle::Plain && source.contains('\t') {
            let plain_below = Some(self.open.last().map_or(0, |parent| parent.column));
            self.refuse_tab(&Gap { text: source, at_line_start: false, plain_below }, span.start.line())?;
        }
        match self.open.last() {
            Some(parent) if parent.flow => {
                if style == ScalarStyle::Plain {
                    dialect::check_flow_plain(source, after).map_err(error)?;
                }
                if self.is_key(parent.id) { dialect::check_flow_key(source, after).map_err(error) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Returns the source text before a span, in the span, and after it.
    fn around(&self, span: Span) -> (&'a str, &'a str, &'a str) {
        let text = self.chunk.text;
        let range = span.byte_range().unwrap_or_default();
        let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
        (part(0..range.start), part(range.clone()), part(range.end..text.len()))
    }

    /// Refuses tabs in the indentation between the previous node and the byte offset `start`.
    fn check_gap(&self, start: usize) -> Result<(), SourceError> {
        let inside_flow = self.open.last().is_some_and(|parent| parent.flow);
        if self.chunk.syntax == Syntax::Json || inside_flow {
            return Ok(());
        }
        let Last { end, line, plain_below } = self.last;
        let gap = Gap {
            text: self.chunk.text.get(end..start).unwrap_or_default(),
            at_line_start: end == 0 || self.chunk.text.as_bytes().get(end - 1) == Some(&b'\n'),
            plain_below,
        };
        self.refuse_tab(&gap, line)
    }

    fn refuse_tab(&self, gap: &Gap<'_>, first_line: usize) -> Result<(), SourceError> {
        let Some((lines, column)) = gap.tab() else { return Ok(()) };
        Err(SourceError::new(self.chunk.place(self.path, first_line + lines, column + 1), dialect::TAB))
    }

    /// Refuses a `...` before the content of the document.
    fn refuse_leading_end(&self, before: &str) -> Result<(), SourceError> {
        match before.lines().position(|line| line.starts_with("...")) {
            Some(line) => {
                let place = self.chunk.place(self.path, line + 1, 1);
                Err(SourceError::new(place, "this `...` ends no document: remove it"))
            }
            None => Ok(()),
        }
    }

    /// Returns `true` if the next node of a mapping is a key.
    fn is_key(&self, parent: usize) -> bool {
        matches!(&self.tree.nodes[parent].kind, NodeKind::Mapping(children) if children.len() % 2 == 0)
    }

    fn place(&self, span: Span) -> SourcePlace {
        self.chunk.place(self.path, span.start.line(), span.start.col() + 1)
    }

    fn error(&self, span: Span, message: &str) -> SourceError {
        SourceError::new(self.place(span), message)
    }

    fn syntax_error(&self, error: &ScanError) -> SourceError {
        let place = self.chunk.place(self.path, error.marker().line(), error.marker().col() + 1);
        let message = match error.kind() {
            ErrorKind::RecursionLimitExceeded => too_deep(),
            ErrorKind::UnknownAnchor => UNKNOWN_ANCHOR.to_owned(),
            ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInPlainScalar => dialect::TAB.to_owned(),
            kind => format!("not valid YAML: {kind}"),
        };
        SourceError::new(place, message)
    }
}

/// Returns the message for a document that is nested too deeply, by itself or through aliases.
pub(super) fn too_deep() -> String {
    format!("nested more than {MAX_DEPTH} levels deep: make it flatter")
}

/// Returns the long form of a tag: `tag:yaml.org,2002:str` for `!!str`, and `!local` unchanged.
fn long_form(tag: &Tag) -> Box<str> {
    let (handle, suffix) = tag.parts();
    format!("{handle}{suffix}").into()
}

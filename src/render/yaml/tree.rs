//! The syntax tree of one document, from the parser's events. No meaning yet: scalars are text with a style and a tag.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};

use super::split::{Chunk, Syntax};
use super::{MAX_DEPTH, MAX_NODES};
use crate::project::snapshot::{Place, SourceError};

/// The nodes of one document; a node names its children by their index.
pub(super) struct Tree<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    /// The document's own node; none when the text has no document at all.
    pub(super) root: Option<usize>,
}

/// One node and where it begins in the file.
pub(super) struct Node<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Node<'_> {
    /// The node's place in the file.
    pub(super) fn place(&self, path: &Path) -> Place {
        Place::new(path, self.line, self.column)
    }
}

/// What a node is.
pub(super) enum Kind<'a> {
    /// Text, as yet without a type.
    Scalar {
        /// The text after unfolding and unescaping.
        text: Cow<'a, str>,
        /// Whether it is written without quotes and not as a block.
        plain: bool,
        /// The tag, in its long form.
        tag: Option<Box<str>>,
    },
    /// A list.
    Sequence(Vec<usize>),
    /// Keys and values in turn.
    Mapping(Vec<usize>),
    /// Another node, once more.
    Alias(usize),
}

/// Reads the syntax of a chunk.
pub(super) fn read<'a>(path: &Path, chunk: &Chunk<'a>) -> Result<Tree<'a>, SourceError> {
    let mut builder = Builder {
        path,
        chunk,
        tree: Tree { nodes: Vec::new(), root: None },
        open: Vec::new(),
        anchors: HashMap::new(),
        seen_document: false,
    };
    for event in Parser::new_from_str_with_options(chunk.text, options(chunk.syntax)) {
        let (event, span) = event.map_err(|error| builder.syntax_error(&error))?;
        builder.take(event, span)?;
    }
    Ok(builder.tree)
}

fn options(syntax: Syntax) -> Options {
    let mut options = granit_parser::options! { emit_comments: false };
    if syntax == Syntax::Json {
        options.simple_key_max_lookahead = usize::MAX;
    }
    options
}

struct Builder<'a, 'c> {
    path: &'c Path,
    chunk: &'c Chunk<'a>,
    tree: Tree<'a>,
    /// The lists and mappings that have not ended.
    open: Vec<usize>,
    anchors: HashMap<usize, usize>,
    seen_document: bool,
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
                if style == ScalarStyle::DoubleQuoted {
                    self.refuse_surrogates(span)?;
                }
                let plain = style == ScalarStyle::Plain;
                self.add(Kind::Scalar { text, plain, tag: tag.map(|tag| long_form(&tag)) }, anchor, span).map(|_| ())
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).copied() {
                Some(target) => self.add(Kind::Alias(target), 0, span).map(|_| ()),
                None => Err(self.error(span, "this alias names no anchor above it in the document")),
            },
            Event::SequenceStart(_, anchor, _) => self.open(Kind::Sequence(Vec::new()), anchor, span),
            Event::MappingStart(_, anchor, _) => self.open(Kind::Mapping(Vec::new()), anchor, span),
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, kind: Kind<'a>, anchor: usize, span: Span) -> Result<(), SourceError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.error(span, &too_deep()));
        }
        let id = self.add(kind, anchor, span)?;
        self.open.push(id);
        Ok(())
    }

    fn add(&mut self, kind: Kind<'a>, anchor: usize, span: Span) -> Result<usize, SourceError> {
        let id = self.tree.nodes.len();
        if id >= MAX_NODES {
            let message = format!("the document has more than {MAX_NODES} values: split it");
            return Err(self.error(span, &message));
        }
        let Place { line, column, .. } = self.place(span);
        self.tree.nodes.push(Node { kind, line, column });
        if anchor > 0 {
            self.anchors.insert(anchor, id);
        }
        match self.open.last().and_then(|parent| self.tree.nodes.get_mut(*parent)) {
            Some(Node { kind: Kind::Sequence(children) | Kind::Mapping(children), .. }) => children.push(id),
            _ => self.tree.root = Some(id),
        }
        Ok(id)
    }

    /// goyaml.v2 knows no pairs of surrogate escapes; JSON does.
    fn refuse_surrogates(&self, span: Span) -> Result<(), SourceError> {
        let source = span.slice(self.chunk.text).unwrap_or_default();
        if self.chunk.syntax == Syntax::Json || !source.contains("\\u") {
            return Ok(());
        }
        let mut characters = source.chars();
        while let Some(c) = characters.next() {
            if c == '\\' && characters.next() == Some('u') {
                let mut digits = characters.clone();
                if matches!(digits.next(), Some('d' | 'D'))
                    && matches!(digits.next(), Some('8'..='9' | 'a'..='f' | 'A'..='F'))
                {
                    let message =
                        "kubectl reads no surrogate escapes in YAML: write the character itself, or `\\U` and 8 digits";
                    return Err(self.error(span, message));
                }
            }
        }
        Ok(())
    }

    fn place(&self, span: Span) -> Place {
        self.chunk.place(self.path, span.start.line(), span.start.col() + 1)
    }

    fn error(&self, span: Span, message: &str) -> SourceError {
        SourceError::new(self.place(span), message)
    }

    fn syntax_error(&self, error: &ScanError) -> SourceError {
        let place = self.chunk.place(self.path, error.marker().line(), error.marker().col() + 1);
        let message = match error.kind() {
            ErrorKind::RecursionLimitExceeded => too_deep(),
            ErrorKind::UnknownAnchor => "this alias names no anchor above it in the document".to_owned(),
            ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInPlainScalar => "a tab is no indentation in YAML: use spaces".to_owned(),
            kind => format!("not valid YAML: {kind}"),
        };
        SourceError::new(place, message)
    }
}

/// What is said of a document that is nested too deeply, here and where aliases make it so.
pub(super) fn too_deep() -> String {
    format!("nested more than {MAX_DEPTH} levels deep: make it flatter")
}

/// `tag:yaml.org,2002:str` for `!!str`, `!local` as it is written.
fn long_form(tag: &Tag) -> Box<str> {
    let (handle, suffix) = tag.parts();
    format!("{handle}{suffix}").into()
}

//! Reads YAML and JSON text as kubectl does, with the place of every document and every error.
//!
//! kubectl cuts a file into documents line by line, reads each document with the YAML 1.1 rules of goyaml.v2, and
//! converts the result to JSON. This module takes the syntax from the events of a YAML 1.2 parser, and interprets the
//! text as goyaml.v2 does. If the two cannot agree, this module refuses the text. It also refuses duplicate keys, for
//! example.
//!
//! This is not a general YAML library: nothing in this module writes YAML, and another module reads `.ktor.yaml`.

mod convert;
mod dialect;
pub(super) mod placed;
mod scalar;
mod split;
mod tree;

use std::borrow::Cow;
use std::path::Path;

use placed::Placed;
use serde_json::Value;

use crate::project::snapshot::{SourceError, SourcePlace};

/// The maximum size of a file, in bytes.
pub const MAX_BYTES: usize = 64 << 20;

/// The maximum nesting depth of mappings and lists.
///
/// The API server's answers are read with a limit of 128 levels, and a list of objects has levels of its own.
pub const MAX_DEPTH: usize = 120;

/// The maximum number of values and keys in one document.
const MAX_NODES: usize = 1_000_000;

/// The maximum number of values and keys in all documents of a tree together.
const TREE_NODES: usize = 8_000_000;

/// The maximum number of values and keys that aliases may add in a tree.
const TREE_ALIASED: usize = 250_000;

/// The maximum number of bytes of text that aliases may copy in a tree.
const TREE_COPIED: usize = 16 << 20;

/// The number of values, and of copies by aliases, that are left for the documents of one tree.
#[derive(Clone, Debug)]
pub(crate) struct ValueBudget {
    pub(super) nodes: usize,
    pub(super) aliased: usize,
    pub(super) copied: usize,
}

impl Default for ValueBudget {
    fn default() -> Self {
        Self { nodes: TREE_NODES, aliased: TREE_ALIASED, copied: TREE_COPIED }
    }
}

/// A document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The place where the document begins.
    pub place: SourcePlace,
    /// The content, any JSON value.
    pub body: Value,
}

/// Reads the documents of a file. Empty and null documents are skipped, as in kubectl.
pub fn documents(path: &Path, bytes: &[u8]) -> Result<Vec<Document>, SourceError> {
    let read = read(path, bytes, &mut ValueBudget::default())?;
    Ok(read.into_iter().map(|located| located.document).collect())
}

/// A document and the places of its `items`, which may be separate objects.
pub(super) struct Located {
    pub(super) document: Document,
    pub(super) items: Vec<Outline>,
}

/// The place of an element of `items`, and the places of the element's own `items`.
pub(super) struct Outline {
    pub(super) place: SourcePlace,
    pub(super) items: Vec<Outline>,
}

/// Reads the documents of a file, with the places of their `items`.
pub(super) fn read(path: &Path, bytes: &[u8], budget: &mut ValueBudget) -> Result<Vec<Located>, SourceError> {
    let text = text(path, bytes)?;
    // kubectl reads line by line. It accepts a last line without a line end.
    let lines = if text.ends_with('\n') { Cow::Borrowed(text) } else { Cow::Owned(format!("{text}\n")) };
    let escaped = split::with_escapes(&lines);
    let text = escaped.as_deref().unwrap_or(&lines);
    let mut documents = Vec::new();
    for chunk in split::chunks(path, text)? {
        let tree = tree::read(path, &chunk, budget)?;
        documents.extend(convert::document(path, &tree, chunk.syntax, budget)?);
    }
    Ok(documents)
}

/// Reads the documents of a file, with the place of every value. Empty and null documents are skipped.
pub(super) fn read_placed(path: &Path, bytes: &[u8], budget: &mut ValueBudget) -> Result<Vec<Placed>, SourceError> {
    let text = text(path, bytes)?;
    let lines = if text.ends_with('\n') { Cow::Borrowed(text) } else { Cow::Owned(format!("{text}\n")) };
    let escaped = split::with_escapes(&lines);
    let text = escaped.as_deref().unwrap_or(&lines);
    let mut documents = Vec::new();
    for chunk in split::chunks(path, text)? {
        let tree = tree::read(path, &chunk, budget)?;
        documents.extend(placed::document(path, &tree, chunk.syntax, budget)?);
    }
    Ok(documents)
}

/// Returns the bytes as text, or an error if they are too long or not UTF-8.
fn text<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, SourceError> {
    if bytes.len() > MAX_BYTES {
        let message = format!(
            "the file has {} MiB, more than the {} MiB that are read: split it, or exclude it",
            bytes.len() >> 20,
            MAX_BYTES >> 20
        );
        return Err(SourceError::new(SourcePlace::whole(path), message));
    }
    if bytes.starts_with(&[0xFE, 0xFF]) || bytes.starts_with(&[0xFF, 0xFE]) {
        return Err(SourceError::new(SourcePlace::new(path, 1, 1), "the file is UTF-16: save it as UTF-8"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.split_at(error.valid_up_to()).0;
        let (line, column) = split::position(&String::from_utf8_lossy(valid));
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        let message = format!("byte 0x{byte:02x} is not UTF-8: save the file as UTF-8");
        SourceError::new(SourcePlace::new(path, line, column), message)
    })
}

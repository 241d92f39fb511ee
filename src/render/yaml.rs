//! YAML and JSON text as kubectl reads it, with the place of every document and every error.
//!
//! kubectl cuts a file into documents line by line, reads each with the YAML 1.1 rules of goyaml.v2, and turns what it
//! read into JSON. The syntax comes from a YAML 1.2 parser's events here; what the text means is decided in this module
//! as goyaml.v2 decides it. Where the two must differ, this one refuses: duplicate keys, for example.
//!
//! Not a general YAML library: nothing here writes YAML, and `.ktor.yaml` is read elsewhere.

mod convert;
mod dialect;
mod scalar;
mod split;
mod tree;

use std::borrow::Cow;
use std::path::Path;

use crate::object::manifest::Document;
use crate::project::snapshot::{SourceError, SourcePlace};

/// The longest text that is read, in bytes.
pub const MAX_BYTES: usize = 64 << 20;

/// How deep mappings and lists may be nested.
///
/// The API server's answers are read with a limit of 128 levels, and a list of objects adds its own.
pub const MAX_DEPTH: usize = 120;

/// How many values and keys one document may have.
const MAX_NODES: usize = 1_000_000;

/// How many values and keys all documents of a tree may have together.
const TREE_NODES: usize = 8_000_000;

/// How many of them may come from aliases.
const TREE_ALIASED: usize = 250_000;

/// How many bytes of text aliases may copy in a tree.
const TREE_COPIED: usize = 16 << 20;

/// What is left of the values that the documents of one tree may have.
#[derive(Clone, Debug)]
pub struct ValueBudget {
    pub(super) nodes: usize,
    pub(super) aliased: usize,
    pub(super) copied: usize,
}

impl Default for ValueBudget {
    fn default() -> Self {
        Self { nodes: TREE_NODES, aliased: TREE_ALIASED, copied: TREE_COPIED }
    }
}

/// Reads the documents of a file. Empty and null documents yield nothing, as kubectl skips them.
pub fn documents(path: &Path, bytes: &[u8]) -> Result<Vec<Document>, SourceError> {
    let read = read(path, bytes, &mut ValueBudget::default())?;
    Ok(read.into_iter().map(|located| located.document).collect())
}

/// A document and the places of what may be objects of their own in it.
pub(super) struct Located {
    pub(super) document: Document,
    pub(super) items: Vec<Outline>,
}

/// The place of an element of `items`, and of the elements of its own `items`.
pub(super) struct Outline {
    pub(super) place: SourcePlace,
    pub(super) items: Vec<Outline>,
}

/// Reads the documents of a file together with the places of their `items`.
pub(super) fn read(path: &Path, bytes: &[u8], budget: &mut ValueBudget) -> Result<Vec<Located>, SourceError> {
    let text = text(path, bytes)?;
    // kubectl reads line by line, and a last line without its end like any other.
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

/// The bytes as text, if they are text of a size to be read.
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

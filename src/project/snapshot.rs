//! The files of a project at one moment, and places in them. No I/O: the work tree and git trees are read elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::path::ProjectPath;

/// Path, relative to the project's root directory, to content. The only input of loading a tree and of rendering.
pub type Snapshot = BTreeMap<PathBuf, Vec<u8>>;

/// The bytes that the files of one tree may have together, each real file counted once.
pub(crate) const MOST_BYTES: usize = 256 << 20;
/// The bytes that links may add to a tree by naming a file once more.
pub(crate) const MOST_REPEATED: usize = 16 << 20;
/// The bytes that each file counts besides its content, because its path takes memory too.
const FILE: usize = 256;

/// The bytes that are left for one tree.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    bytes: usize,
    repeated: usize,
}

/// Says which limit a tree exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// Its files are too large together.
    #[error("the files of the tree have more than {} MiB together: use a smaller root, or exclude some", MOST_BYTES >> 20)]
    Bytes,
    /// Links repeat too much of it.
    #[error(
        "links repeat more than {} MiB of the tree's files: name each file once, or exclude the links",
        MOST_REPEATED >> 20
    )]
    Repeated,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { bytes: MOST_BYTES, repeated: MOST_REPEATED }
    }
}

impl Allowance {
    /// Counts a file of so many bytes, which may be one that was counted before.
    ///
    /// # Errors
    ///
    /// The limit that it exceeds.
    pub(crate) fn take(&mut self, bytes: usize, is_repeated: bool) -> Result<(), Exceeded> {
        let (left, exceeded) =
            if is_repeated { (&mut self.repeated, Exceeded::Repeated) } else { (&mut self.bytes, Exceeded::Bytes) };
        *left = left.checked_sub(bytes.saturating_add(FILE)).ok_or(exceeded)?;
        Ok(())
    }
}

/// A place in a source file. Lines and columns count from 1; a line of 0 means the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePlace {
    /// Relative to the project's root directory.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl SourcePlace {
    /// A place in a file.
    pub fn new(path: impl Into<PathBuf>, line: usize, column: usize) -> Self {
        Self { path: path.into(), line, column }
    }

    /// The file as a whole.
    pub fn whole(path: impl Into<PathBuf>) -> Self {
        Self::new(path, 0, 0)
    }
}

impl fmt::Display for SourcePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.path))?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column.max(1))?;
        }
        Ok(())
    }
}

/// A path as one line of text: control characters are escaped, bytes that are not UTF-8 replaced.
pub fn printable(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text.into_owned() }
}

/// An error in a source file: its place, its cause, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{place}: {message}")]
pub struct SourceError {
    /// The place of the error.
    pub place: SourcePlace,
    /// The cause and what to do, as one sentence without a full stop.
    pub message: String,
}

/// An error in a source file, with the project that it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The project whose objects are not known completely.
    pub project: ProjectPath,
    /// The error.
    pub error: SourceError,
}

impl SourceError {
    /// An error at a place.
    pub fn new(place: SourcePlace, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

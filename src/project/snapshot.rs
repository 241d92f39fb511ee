//! The contents of files, places in files and errors in files, and the limits on the size of a tree.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::path::ProjectPath;

/// The contents of files by path. A path is relative to the root directory.
pub type Snapshot = BTreeMap<PathBuf, Vec<u8>>;

/// The maximum size of all files of a tree together, in bytes. Each real file counts once.
pub(crate) const MOST_BYTES: usize = 256 << 20;
/// The maximum number of bytes that links may add by repeating files.
pub(crate) const MOST_REPEATED: usize = 16 << 20;
/// The number of bytes that each file counts in addition to its content, because its path takes memory too.
const FILE: usize = 256;

/// The numbers of bytes that are left for a tree.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    bytes: usize,
    repeated: usize,
}

/// The limit that a tree exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// The files are too large together.
    #[error("the files of the tree have more than {} MiB together: use a smaller root, or exclude some", MOST_BYTES >> 20)]
    Bytes,
    /// Links repeat too many bytes.
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
    /// Counts a file. `is_repeated` is `true` for a file that was counted before under another path.
    ///
    /// # Errors
    ///
    /// The tree exceeds a limit.
    pub(crate) fn take(&mut self, bytes: usize, is_repeated: bool) -> Result<(), Exceeded> {
        let (left, exceeded) =
            if is_repeated { (&mut self.repeated, Exceeded::Repeated) } else { (&mut self.bytes, Exceeded::Bytes) };
        *left = left.checked_sub(bytes.saturating_add(FILE)).ok_or(exceeded)?;
        Ok(())
    }
}

/// A place in a source file. Lines and columns count from 1. Line 0 means the whole file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePlace {
    /// The path of the file, relative to the root directory.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The file that printed what is at this place, if another file only named it: the template of a Helm chart.
    pub template: Option<Box<str>>,
}

impl SourcePlace {
    /// Returns a place in a file.
    pub fn new(path: impl Into<PathBuf>, line: usize, column: usize) -> Self {
        Self { path: path.into(), line, column, template: None }
    }

    /// Returns this place with the path of the template that printed what is here.
    #[must_use]
    pub fn with_template(self, template: &Path) -> Self {
        Self { template: Some(printable(template).into()), ..self }
    }

    /// Returns the place that means a whole file.
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
        if let Some(template) = &self.template {
            write!(f, " ({template})")?;
        }
        Ok(())
    }
}

/// Returns a path as one line of text. Control characters are escaped, and bytes that are not UTF-8 are replaced.
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
    /// The project of the file. Its objects are not completely known.
    pub project: ProjectPath,
    /// The error.
    pub error: SourceError,
}

impl SourceError {
    /// Returns an error at a place.
    pub fn new(place: SourcePlace, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

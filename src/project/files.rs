//! All files of a tree at one moment. Their paths are known, and their contents are loaded when they are needed.
//!
//! This module does no I/O. The readers of a work tree and of a commit list the paths and load the contents.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::snapshot::Snapshot;

/// The files of a tree. A path is relative to the root directory. A path outside the root directory begins with `..`.
///
/// Directories whose name begins with a dot, and everything outside the root directory, are listed only if a renderer
/// asks for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    paths: BTreeSet<PathBuf>,
    loaded: Snapshot,
    /// The paths that a reader was asked for and at which there is no file.
    absent: BTreeSet<PathBuf>,
}

impl Files {
    /// The paths of all files, including files that cannot be read.
    pub fn paths(&self) -> &BTreeSet<PathBuf> {
        &self.paths
    }

    /// Returns the paths that `select` accepts.
    pub fn selected(&self, select: &dyn Fn(&Path) -> bool) -> BTreeSet<PathBuf> {
        self.paths.iter().filter(|path| select(path)).cloned().collect()
    }

    /// The files whose content is loaded.
    pub fn loaded(&self) -> &Snapshot {
        &self.loaded
    }

    /// Returns `true` if a path, and everything below it, is listed. A reader that is asked for another path lists it
    /// first.
    pub fn is_listed(&self, path: &Path) -> bool {
        let is_beyond = path.iter().any(|name| name.as_encoded_bytes().starts_with(b"."));
        let first = self.paths.range(path.to_owned()..).next();
        self.paths.contains(path) || !is_beyond && first.is_some_and(|first| first.starts_with(path))
    }

    /// Returns `true` if a reader has already answered for the path: its content is loaded, or it is not a file.
    pub fn is_answered(&self, path: &Path) -> bool {
        self.loaded.contains_key(path) || self.absent.contains(path)
    }

    /// Adds a path.
    pub(crate) fn list(&mut self, path: PathBuf) {
        self.paths.insert(path);
    }

    /// Adds the content of a file.
    pub(crate) fn load(&mut self, path: PathBuf, content: Vec<u8>) {
        self.paths.insert(path.clone());
        self.loaded.insert(path, content);
    }

    /// Records that a path is a directory, or that nothing is there.
    pub(crate) fn set_absent(&mut self, path: PathBuf) {
        self.absent.insert(path);
    }

    /// Returns the contents alone.
    pub(crate) fn into_loaded(self) -> Snapshot {
        self.loaded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_listed_through_their_files() {
        let mut files = Files::default();
        for path in ["a/b/c", "a.b", "../lib/x", "a/.d/e"] {
            files.list(path.into());
        }
        let listed = |path: &str| files.is_listed(Path::new(path));
        assert!(listed("a") && listed("a/b") && listed("a/b/c") && listed("a.b") && listed("../lib/x"));
        assert!(!listed("a/b/c/d") && !listed("b") && !listed("a/c"));
        // Only one of the files in these directories may be listed yet.
        assert!(!listed("../lib") && !listed("..") && !listed("a/.d") && listed("a/.d/e"));
        files.load("a/b/c".into(), vec![]);
        files.set_absent("a".into());
        assert!(files.is_answered(Path::new("a/b/c")) && files.is_answered(Path::new("a")));
        assert!(!files.is_answered(Path::new("a.b")));
    }
}

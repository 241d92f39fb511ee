//! Every file of a tree at one moment. All paths are known. The contents are loaded when they are needed.
//!
//! This module does no I/O. The readers of a work tree and of a commit list the paths and load the contents.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::snapshot::Snapshot;

/// The files of a tree. A path is relative to the root directory. A path outside the root directory begins with `..`.
///
/// Directories whose name begins with a dot, and everything outside the root directory, are listed only if they are
/// asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    paths: BTreeSet<PathBuf>,
    loaded: Snapshot,
}

impl Files {
    /// Returns the paths of all files, including files that cannot be read.
    pub fn paths(&self) -> &BTreeSet<PathBuf> {
        &self.paths
    }

    /// Returns the paths that `select` accepts.
    pub fn selected(&self, select: &dyn Fn(&Path) -> bool) -> BTreeSet<PathBuf> {
        self.paths.iter().filter(|path| select(path)).cloned().collect()
    }

    /// Returns the files whose content is loaded.
    pub fn loaded(&self) -> &Snapshot {
        &self.loaded
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

    /// Removes everything but the contents.
    pub(crate) fn into_loaded(self) -> Snapshot {
        self.loaded
    }
}

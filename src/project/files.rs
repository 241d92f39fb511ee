//! All files of a tree at one moment. Their paths are known, and their contents are loaded when they are needed.
//!
//! This module does no I/O. The readers of a work tree and of a commit list the paths and load the contents.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::snapshot::Snapshot;
use super::tree::normalized;

/// The files of a tree. A path is relative to the root directory. A path outside the root directory begins with `..`.
///
/// Directories whose name begins with a dot, and everything outside the root directory, are listed only if a renderer
/// asks for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The path of the root directory below the top directory, which contains everything that a reader can read.
    prefix: PathBuf,
    paths: BTreeSet<PathBuf>,
    loaded: Snapshot,
    /// The paths that a reader was asked for and at which there is no file.
    absent: BTreeSet<PathBuf>,
}

impl Files {
    /// Returns a tree without files. `prefix` is the path of the root directory below the top directory, which contains
    /// everything that a reader can read.
    pub fn below(prefix: &Path) -> Self {
        Self { prefix: normalized(prefix), ..Self::default() }
    }

    /// Returns the path of a file from the top directory down. Returns `None` for a path that leaves the top directory.
    pub fn top_path(&self, path: &Path) -> Option<PathBuf> {
        let path = normalized(&self.prefix.join(path));
        path.components().all(|part| matches!(part, Component::Normal(_))).then_some(path)
    }

    /// Returns the path of a file, given its path below the top directory. Returns `None` for a path that leaves the top
    /// directory.
    pub fn at_top_path(&self, path: &Path) -> Option<PathBuf> {
        let up: PathBuf = self.prefix.iter().map(|_| "..").collect();
        if path.is_absolute() { None } else { self.placed(&up.join(path)) }
    }

    /// Returns the path in the form that this type uses. `../k8s/x` is `x` if the root directory is `k8s`. Returns `None`
    /// for a path that leaves the top directory.
    pub fn placed(&self, path: &Path) -> Option<PathBuf> {
        let path = self.top_path(path)?;
        let shared = path.iter().zip(&self.prefix).take_while(|(one, other)| one == other).count();
        let up = std::iter::repeat_n("..".as_ref(), self.prefix.iter().count() - shared);
        Some(up.chain(path.iter().skip(shared)).collect())
    }

    /// Returns `true` if there is a file below this path.
    pub fn is_directory(&self, path: &Path) -> bool {
        if path.as_os_str().is_empty() {
            return self.paths.iter().any(|path| !path.starts_with(".."));
        }
        let mut from = self.paths.range(path.to_owned()..);
        from.find(|found| *found != path).is_some_and(|found| found.starts_with(path))
    }

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
        let is_directory = |path: &str| files.is_directory(Path::new(path));
        assert!(is_directory("") && is_directory("a") && is_directory("..") && is_directory("a/.d"));
        assert!(!is_directory("a.b") && !is_directory("a/b/c") && !is_directory("b"));
    }

    #[test]
    fn every_path_below_the_top_directory_has_one_form() {
        let files = Files::below(Path::new("deploy/k8s"));
        for (path, placed, top_path) in [
            ("a/x", "a/x", "deploy/k8s/a/x"),
            ("a/../b", "b", "deploy/k8s/b"),
            ("../lib/x", "../lib/x", "deploy/lib/x"),
            ("../k8s/a", "a", "deploy/k8s/a"),
            ("../../deploy/k8s/a", "a", "deploy/k8s/a"),
            ("../../deploy/lib", "../lib", "deploy/lib"),
            ("../../x", "../../x", "x"),
            ("..", "..", "deploy"),
            ("../..", "../..", ""),
            (".", "", "deploy/k8s"),
        ] {
            assert_eq!(files.placed(Path::new(path)).as_deref(), Some(Path::new(placed)), "{path}");
            assert_eq!(files.top_path(Path::new(path)).as_deref(), Some(Path::new(top_path)), "{path}");
            assert_eq!(files.at_top_path(Path::new(top_path)).as_deref(), Some(Path::new(placed)), "{path}");
        }
        for path in ["../../..", "../../../x", "/etc/x"] {
            assert_eq!(files.placed(Path::new(path)), None, "{path}");
        }
        let root = Files::default();
        assert_eq!(root.placed(Path::new("a/./x")).as_deref(), Some(Path::new("a/x")));
        assert_eq!(root.placed(Path::new("../x")), None);
    }
}

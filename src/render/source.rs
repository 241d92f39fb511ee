//! Lists and reads the files of the work tree. It refuses links that leave the tree, special files and large files.
//!
//! The caller selects the files to read. Other modules interpret their content.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::yaml::MAX_BYTES;
use crate::project::files::Files;
use crate::project::snapshot::{Allowance, Exceeded, Snapshot, printable};
use crate::project::tree::normalized;

/// The maximum number of directories that are entered without a link.
const MAX_DIRECTORIES: usize = 100_000;
/// The maximum number of directories that are entered through links. Links can multiply the number of paths, so this
/// limit stops the read before it runs out of time or memory.
const MAX_LINKED: usize = 10_000;
/// The maximum number of files that are listed without a link.
const MAX_PATHS: usize = 1_000_000;
/// The maximum number of files that are listed through links.
const MAX_LINKED_PATHS: usize = 100_000;

/// The error of reading a work tree.
#[derive(Debug, thiserror::Error)]
pub enum SourceReadError {
    /// The root is missing, or is not a directory.
    #[error("open the directory {}", printable(.path))]
    Root {
        /// The root as it was given.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A directory cannot be listed.
    #[error("list the directory {}: give its reader the right to, or exclude it", printable(.path))]
    Directory {
        /// The path relative to the root.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("read {}: give its reader the right to, or exclude it", printable(.path))]
    File {
        /// The path relative to the root.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A symbolic link has no target, or is part of a loop of links.
    #[error("follow the symbolic link {}: correct what it points to, or remove it", printable(.path))]
    Dangling {
        /// The path relative to the root.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The target of a symbolic link is outside of the tree.
    #[error(
        "follow the symbolic link {}: it leaves the tree for {}; put a copy in its place, or exclude it",
        printable(.path),
        printable(.target)
    )]
    Outside {
        /// The path relative to the root.
        path: PathBuf,
        /// The target of the link.
        target: PathBuf,
    },
    /// A selected file is a device, a pipe or a socket.
    #[error("read {}: it is a device, a pipe or a socket; remove it, or exclude it", printable(.path))]
    Special {
        /// The path relative to the root.
        path: PathBuf,
    },
    /// A selected file is too large.
    #[error("read {}: it is larger than {} MiB; split it, or exclude it", printable(.path), MAX_BYTES >> 20)]
    TooLarge {
        /// The path relative to the root.
        path: PathBuf,
    },
    /// The files of the tree are too large together, or links repeat too much of them.
    #[error("read {}: {problem}", printable(.path))]
    Exceeded {
        /// The path of the file that exceeds the limit, relative to the root.
        path: PathBuf,
        /// The limit that is exceeded.
        problem: Exceeded,
    },
    /// The tree has too many directories or files, with or without links.
    #[error(
        "read the tree below {}: it has, or symbolic links make it, too many directories or files; use a smaller root",
        printable(.path)
    )]
    TooMany {
        /// The path of the directory or file that exceeds the limit, relative to the root.
        path: PathBuf,
    },
}

/// Reads the files below `root` for which `select` is true. The key of a file is its path relative to `root`.
///
/// The rules are those of [`WorkTree`].
pub fn read_worktree(root: &Path, select: &dyn Fn(&Path) -> bool) -> Result<Snapshot, SourceReadError> {
    let (mut tree, mut files) = WorkTree::open(root, root)?;
    let selected = files.selected(select);
    tree.load(&mut files, &selected)?;
    Ok(files.into_loaded())
}

/// The files of a directory, as they are on disk.
///
/// Directories whose name starts with a dot are skipped. Symbolic links within the tree are followed. A link to a
/// directory that contains the link adds no files and is skipped. A file that cannot be read is an error only when it
/// is loaded, because most trees contain files that nobody asks for.
#[derive(Debug)]
pub struct WorkTree {
    /// The real path of the root, without symbolic links.
    root: PathBuf,
    /// The real path of the directory that no link and no path may leave: the root, or a directory above it.
    boundary: PathBuf,
    /// The listed paths that are not the real path of a file.
    indirect: HashMap<PathBuf, Indirect>,
    directories_left: usize,
    linked_left: usize,
    paths_left: usize,
    linked_paths_left: usize,
    allowance: Allowance,
    /// The path under which each real file was first read, by its device number and inode number.
    first: HashMap<(u64, u64), PathBuf>,
}

/// A listed path that is not the real path of a file.
#[derive(Debug)]
enum Indirect {
    /// The file is reached by a link. This is its real path.
    Linked(PathBuf),
    /// The file cannot be read.
    Broken(SourceReadError),
}

/// A directory that is still to be listed.
struct Directory {
    /// The path relative to the root.
    path: PathBuf,
    /// The real path.
    real: PathBuf,
    /// The real paths of this directory and of all directories on the way to it. A link to one of them is a loop.
    above: BTreeSet<PathBuf>,
    /// `true` if the path to this directory has a link in it.
    is_linked: bool,
}

/// The directory that links may not leave, and the consequence for a link to a directory that leaves it.
#[derive(Clone, Copy)]
enum Limit {
    /// Links stay within the root. Another link is an error.
    Root,
    /// Links stay within the boundary. Another link is an error only when it is loaded.
    Boundary,
}

impl WorkTree {
    /// Lists the files below `root`. The directory `boundary`, which contains `root`, contains everything that can be
    /// asked for.
    ///
    /// # Errors
    ///
    /// A directory cannot be listed, a link to a directory leaves the root, or there are too many files.
    pub fn open(root: &Path, boundary: &Path) -> Result<(Self, Files), SourceReadError> {
        Self::open_within(root, boundary, (MAX_DIRECTORIES, MAX_LINKED))
    }

    fn open_within(
        root: &Path,
        boundary: &Path,
        (directories_left, linked_left): (usize, usize),
    ) -> Result<(Self, Files), SourceReadError> {
        let real = |path: &Path| {
            let real = fs::canonicalize(path).and_then(|real| {
                if real.is_dir() { Ok(real) } else { Err(io::Error::from(io::ErrorKind::NotADirectory)) }
            });
            real.map_err(|source| SourceReadError::Root { path: path.to_owned(), source })
        };
        let mut tree = Self {
            root: real(root)?,
            boundary: real(boundary)?,
            indirect: HashMap::new(),
            directories_left,
            linked_left,
            paths_left: MAX_PATHS,
            linked_paths_left: MAX_LINKED_PATHS,
            allowance: Allowance::default(),
            first: HashMap::new(),
        };
        let mut files = Files::below(tree.root.strip_prefix(&tree.boundary).unwrap_or(Path::new("")));
        let real = tree.root.clone();
        let above = BTreeSet::from([real.clone()]);
        let top = Directory { path: PathBuf::new(), real, above, is_linked: false };
        tree.list_all(top, Limit::Root, &mut files)?;
        Ok((tree, files))
    }

    /// Answers for paths: loads the content of the files.
    ///
    /// A path that is not listed yet is listed first, with everything below it. It can be in a hidden directory, or
    /// outside the root and within the boundary. A path beyond the boundary is answered as if nothing were there, and
    /// so is a path that is not normalized.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or exceeds a limit.
    pub fn load(&mut self, files: &mut Files, wanted: &BTreeSet<PathBuf>) -> Result<(), SourceReadError> {
        for path in wanted {
            if files.is_answered(path) {
                continue;
            }
            if !files.is_listed(path) && normalized(path) == *path {
                self.reach(path, files)?;
            }
            if !files.paths().contains(path) {
                files.set_absent(path.clone());
                continue;
            }
            let real = match self.indirect.remove(path) {
                None => self.root.join(path),
                Some(Indirect::Linked(real)) => real,
                Some(Indirect::Broken(error)) => return Err(error),
            };
            let content = self.read(path, &real, files)?;
            files.load(path.clone(), content);
        }
        Ok(())
    }

    /// Lists a file or directory that is not listed yet.
    fn reach(&mut self, path: &Path, files: &mut Files) -> Result<(), SourceReadError> {
        let Ok(real) = fs::canonicalize(self.root.join(path)) else { return Ok(()) };
        if self.is_outside(&real, Limit::Boundary) {
            return Ok(());
        }
        if !real.is_dir() {
            return self.add(path.to_owned(), Some(Indirect::Linked(real)), files);
        }
        let above = BTreeSet::from([real.clone()]);
        // The real path of each file is kept, because the given path may contain links.
        let directory = Directory { path: path.to_owned(), real, above, is_linked: true };
        self.list_all(directory, Limit::Boundary, files)
    }

    fn list_all(&mut self, top: Directory, limit: Limit, files: &mut Files) -> Result<(), SourceReadError> {
        let mut waiting = vec![top];
        while let Some(directory) = waiting.pop() {
            self.list(&directory, limit, &mut waiting, files)?;
        }
        Ok(())
    }

    fn list(
        &mut self,
        directory: &Directory,
        limit: Limit,
        waiting: &mut Vec<Directory>,
        files: &mut Files,
    ) -> Result<(), SourceReadError> {
        let left = if directory.is_linked { &mut self.linked_left } else { &mut self.directories_left };
        *left = left.checked_sub(1).ok_or_else(|| SourceReadError::TooMany { path: directory.path.clone() })?;
        let error = |source| SourceReadError::Directory { path: shown(&directory.path), source };
        for entry in fs::read_dir(&directory.real).map_err(error)? {
            let entry = entry.map_err(error)?;
            let path = directory.path.join(entry.file_name());
            let kind = entry.file_type().map_err(error)?;
            if kind.is_symlink() {
                self.follow(path, &entry.path(), directory, limit, waiting, files)?;
            } else if kind.is_dir() {
                enter(path, entry.path(), directory, directory.is_linked, waiting);
            } else {
                self.add(path, directory.is_linked.then(|| Indirect::Linked(entry.path())), files)?;
            }
        }
        Ok(())
    }

    fn follow(
        &mut self,
        path: PathBuf,
        link: &Path,
        from: &Directory,
        limit: Limit,
        waiting: &mut Vec<Directory>,
        files: &mut Files,
    ) -> Result<(), SourceReadError> {
        let real = match fs::canonicalize(link) {
            Ok(real) => real,
            Err(source) => {
                let error = SourceReadError::Dangling { path: path.clone(), source };
                return self.add(path, Some(Indirect::Broken(error)), files);
            }
        };
        let is_directory = real.is_dir();
        if is_directory && is_hidden(&path) {
            return Ok(());
        }
        if self.is_outside(&real, limit) {
            let error = SourceReadError::Outside { path: path.clone(), target: real };
            return match limit {
                Limit::Root if is_directory => Err(error),
                Limit::Root | Limit::Boundary => self.add(path, Some(Indirect::Broken(error)), files),
            };
        }
        if is_directory {
            enter(path, real, from, true, waiting);
            return Ok(());
        }
        self.add(path, Some(Indirect::Linked(real)), files)
    }

    /// Returns `true` if a real path is not part of the tree. Git's own directory, which can hold credentials, is not.
    fn is_outside(&self, real: &Path, limit: Limit) -> bool {
        let around = match limit {
            Limit::Root => &self.root,
            Limit::Boundary => &self.boundary,
        };
        let inside = real.strip_prefix(&self.boundary);
        !real.starts_with(around) || inside.is_ok_and(|inside| inside.iter().any(|name| name == ".git"))
    }

    fn add(&mut self, path: PathBuf, indirect: Option<Indirect>, files: &mut Files) -> Result<(), SourceReadError> {
        if files.paths().contains(&path) {
            return Ok(());
        }
        let left = if indirect.is_some() { &mut self.linked_paths_left } else { &mut self.paths_left };
        *left = left.checked_sub(1).ok_or_else(|| SourceReadError::TooMany { path: path.clone() })?;
        files.list(path.clone());
        self.indirect.extend(indirect.map(|indirect| (path, indirect)));
        Ok(())
    }

    /// Reads a file, given its real path.
    fn read(&mut self, path: &Path, real: &Path, files: &Files) -> Result<Vec<u8>, SourceReadError> {
        let error = |source| SourceReadError::File { path: path.to_owned(), source };
        // The type is checked before the file is opened, because opening a pipe waits for a writer.
        let metadata = fs::symlink_metadata(real).map_err(error)?;
        if !metadata.is_file() {
            return Err(SourceReadError::Special { path: path.to_owned() });
        }
        let limit = MAX_BYTES as u64;
        if metadata.len() > limit {
            return Err(SourceReadError::TooLarge { path: path.to_owned() });
        }
        let length = usize::try_from(metadata.len()).unwrap_or(MAX_BYTES);
        let known = self.first.get(&(metadata.dev(), metadata.ino()));
        let exceeded = |problem| SourceReadError::Exceeded { path: path.to_owned(), problem };
        self.allowance.take(length, known.is_some()).map_err(exceeded)?;
        // Each real file is read only once, even if links repeat it.
        if let Some(content) = known.and_then(|first| files.loaded().get(first)) {
            return Ok(content.clone());
        }
        self.first.insert((metadata.dev(), metadata.ino()), path.to_owned());
        let mut content = Vec::new();
        // The file may have grown since the check of its size.
        let file = File::open(real).map_err(error)?;
        let length = file.take(limit + 1).read_to_end(&mut content).map_err(error)?;
        if length > MAX_BYTES {
            return Err(SourceReadError::TooLarge { path: path.to_owned() });
        }
        Ok(content)
    }
}

/// Adds a directory to those that are still to be listed, unless it is hidden or contains itself.
fn enter(path: PathBuf, real: PathBuf, from: &Directory, is_linked: bool, waiting: &mut Vec<Directory>) {
    let mut above = from.above.clone();
    if !is_hidden(&path) && above.insert(real.clone()) {
        waiting.push(Directory { path, real, above, is_linked });
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Returns the path for a message, in which the root is a dot.
fn shown(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::project::snapshot::MOST_REPEATED;

    /// Creates a tree of files. The content of each file is its own path.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        root
    }

    fn is_manifest(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "yaml")
    }

    fn read(root: &Path) -> Result<Vec<String>, SourceReadError> {
        let snapshot = read_worktree(root, &is_manifest)?;
        Ok(snapshot.keys().map(|path| path.to_str().unwrap().to_owned()).collect())
    }

    fn refused(root: &Path, expected: &str) {
        let error = read(root).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn files_are_offered_by_their_path_and_read_in_order() {
        let root = tree(&[
            "b.yaml",
            "a/.ktor.yaml",
            "a/c.yaml",
            ".git/x.yaml",
            "a/.hidden/x.yaml",
            ".dot.yaml",
            "a/notes.txt",
        ]);
        let snapshot = read_worktree(root.path(), &is_manifest).unwrap();
        let found: Vec<_> =
            snapshot.iter().map(|(path, content)| (path.to_str().unwrap(), content.as_slice())).collect();
        assert_eq!(
            found,
            [
                (".dot.yaml", b".dot.yaml".as_slice()),
                ("a/.ktor.yaml", b"a/.ktor.yaml"),
                ("a/c.yaml", b"a/c.yaml"),
                ("b.yaml", b"b.yaml"),
            ]
        );
    }

    #[test]
    fn b3_a_link_that_leaves_the_tree_is_named() {
        let outside = tree(&["secret.yaml", "notes.txt"]);
        let target = fs::canonicalize(outside.path()).unwrap();
        let root = tree(&["a.yaml"]);
        symlink(outside.path().join("notes.txt"), root.path().join("notes.txt")).unwrap();
        assert_eq!(read(root.path()).unwrap(), ["a.yaml"]);
        symlink(outside.path().join("secret.yaml"), root.path().join("x.yaml")).unwrap();
        let expected = format!("follow the symbolic link x.yaml: it leaves the tree for {}", target.display());
        refused(root.path(), &expected);
        fs::remove_file(root.path().join("x.yaml")).unwrap();
        symlink(outside.path(), root.path().join("dir")).unwrap();
        refused(root.path(), "follow the symbolic link dir: it leaves the tree");
    }

    #[test]
    fn b3_a_link_through_a_link_that_leaves_the_tree_is_named() {
        let outside = tree(&["secret.yaml"]);
        let root = tree(&["a.yaml"]);
        symlink(outside.path(), root.path().join(".hop")).unwrap();
        symlink(".hop/secret.yaml", root.path().join("x.yaml")).unwrap();
        refused(root.path(), "follow the symbolic link x.yaml: it leaves the tree");
    }

    #[test]
    fn b3_a_link_into_the_directory_of_git_is_named() {
        let root = tree(&["a.yaml", ".git/config"]);
        symlink(".git/config", root.path().join("x.yaml")).unwrap();
        refused(root.path(), "follow the symbolic link x.yaml: it leaves the tree");
        fs::remove_file(root.path().join("x.yaml")).unwrap();
        symlink(".git", root.path().join("dir")).unwrap();
        refused(root.path(), "follow the symbolic link dir: it leaves the tree");
    }

    #[test]
    fn b3_links_within_the_tree_are_followed_and_loops_end() {
        let root = tree(&["a/x.yaml", "b/y.yaml"]);
        symlink("a/x.yaml", root.path().join("link.yaml")).unwrap();
        symlink("../b", root.path().join("a/to-b")).unwrap();
        symlink("..", root.path().join("a/up")).unwrap();
        symlink("../a", root.path().join("b/to-a")).unwrap();
        symlink(".", root.path().join("here")).unwrap();
        let found = read(root.path()).unwrap();
        let expected =
            ["a/to-b/y.yaml", "a/x.yaml", "b/to-a/x.yaml", "b/y.yaml", "link.yaml"].map(str::to_owned).to_vec();
        assert_eq!(found, expected);
    }

    #[test]
    fn b3_links_that_multiply_end_in_an_error() {
        let root = tempfile::tempdir().unwrap();
        for level in 0..20 {
            let directory = root.path().join(format!("d{level}"));
            fs::create_dir(&directory).unwrap();
            for link in ["p", "q"] {
                symlink(format!("../d{}", level + 1), directory.join(link)).unwrap();
            }
        }
        fs::create_dir(root.path().join("d20")).unwrap();
        let found = WorkTree::open_within(root.path(), root.path(), (1_000, 1_000));
        assert!(matches!(found, Err(SourceReadError::TooMany { .. })));
    }

    #[test]
    fn x12_a_real_file_is_read_once_and_links_repeat_no_more_than_they_may() {
        let root = tree(&["notes.txt"]);
        fs::write(root.path().join("a.yaml"), vec![b'#'; 2 << 20]).unwrap();
        fs::hard_link(root.path().join("a.yaml"), root.path().join("hard.yaml")).unwrap();
        for number in 0..5 {
            symlink("a.yaml", root.path().join(format!("link{number}.yaml"))).unwrap();
        }
        assert_eq!(read(root.path()).unwrap().len(), 7);
        for number in 5..10_000 {
            symlink("a.yaml", root.path().join(format!("link{number}.yaml"))).unwrap();
        }
        let started = std::time::Instant::now();
        let error = read(root.path()).unwrap_err().to_string();
        assert!(error.contains(".yaml: links repeat more than 16 MiB of the tree's files: name each"), "{error}");
        assert!(started.elapsed().as_secs() < 2, "{:?}", started.elapsed());
    }

    #[test]
    fn x12_directories_of_links_repeat_no_more_than_they_may() {
        let root = tree(&["base/x.yaml"]);
        fs::write(root.path().join("base/a.yaml"), vec![b'#'; 1 << 20]).unwrap();
        for number in 0..40 {
            symlink("base", root.path().join(format!("d{number}"))).unwrap();
        }
        let error = read(root.path()).unwrap_err().to_string();
        assert!(error.contains("links repeat more than 16 MiB"), "{error}");
    }

    #[test]
    fn x12_an_honest_tree_has_room() {
        let mut allowance = Allowance::default();
        for _ in 0..100_000 {
            allowance.take(2_000, false).unwrap();
        }
        for _ in 0..5_000 {
            allowance.take(2_000, true).unwrap();
        }
        assert_eq!(allowance.take(usize::MAX, false), Err(Exceeded::Bytes));
        assert_eq!(allowance.take(MOST_REPEATED, true), Err(Exceeded::Repeated));
    }

    #[test]
    fn b3_dangling_links_matter_where_they_are_selected() {
        let root = tree(&["a.yaml"]);
        symlink("nowhere", root.path().join("notes.txt")).unwrap();
        assert_eq!(read(root.path()).unwrap(), ["a.yaml"]);
        symlink("self.yaml", root.path().join("self.yaml")).unwrap();
        refused(root.path(), "follow the symbolic link self.yaml: correct what it points to");
    }

    #[test]
    fn b3_sockets_pipes_and_devices_are_refused_where_they_are_selected() {
        let root = tree(&["a.yaml"]);
        let _unselected = UnixListener::bind(root.path().join("socket")).unwrap();
        assert_eq!(read(root.path()).unwrap(), ["a.yaml"]);
        let _selected = UnixListener::bind(root.path().join("s.yaml")).unwrap();
        refused(root.path(), "read s.yaml: it is a device, a pipe or a socket");
    }

    /// The user root may read everything. For this user, the test expects no error.
    #[test]
    fn b3_what_cannot_be_read_is_named() {
        let root = tree(&["a/x.yaml"]);
        let (directory, file) = (root.path().join("a"), root.path().join("a/x.yaml"));
        for (path, expected) in [(&file, "read a/x.yaml: give"), (&directory, "list the directory a: give")] {
            let before = fs::metadata(path).unwrap().permissions();
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
            let readable = fs::read(&file).is_ok();
            let found = read(root.path()).map_err(|error| error.to_string());
            fs::set_permissions(path, before).unwrap();
            match found {
                Ok(found) => assert!(readable && found == ["a/x.yaml"]),
                Err(error) => assert!(!readable && error.starts_with(expected), "{error}"),
            }
        }
    }

    #[test]
    fn b3_a_file_beyond_the_limit_is_refused_before_it_is_read() {
        let root = tree(&["a.yaml"]);
        File::create(root.path().join("b.yaml")).unwrap().set_len(MAX_BYTES as u64 + 1).unwrap();
        refused(root.path(), "read b.yaml: it is larger than 64 MiB");
    }

    #[test]
    fn b3_a_root_that_is_no_directory_is_named() {
        let root = tree(&["a.yaml"]);
        refused(&root.path().join("none"), "open the directory ");
        refused(&root.path().join("a.yaml"), "open the directory ");
    }
}

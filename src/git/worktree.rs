//! Compares files that were read from the work tree with the blobs of a commit.
//!
//! The bytes are hashed here. Git's index can be told not to look at a file, git's filters are programs, and git has
//! rules for files to ignore. None of them influences the result.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::command;
use super::commit::Commit;
use super::error::GitError;
use super::repository::Repository;
use super::tree::Entry;

/// The largest number of files and directories of one input. A larger input counts as changed as a whole.
const INPUT_FILES: usize = 100_000;
const LIST_LIMIT: usize = 64 << 20;
const CHUNK: usize = 64 << 10;

/// The files that a run read from the work tree, and the other paths that the run depends on.
#[derive(Clone, Debug)]
pub struct ReadFiles<'a> {
    /// The directory that the paths below are relative to. It is itself relative to the repository's top directory.
    pub prefix: &'a Path,
    /// The bytes of each file, by the path through which the file was reached.
    pub files: BTreeMap<&'a Path, &'a [u8]>,
    /// The paths of files and directories that were not read but count too. They may begin with `..`.
    pub inputs: BTreeSet<&'a Path>,
}

impl Repository {
    /// Returns the paths of the files that differ from the commit, relative to the top directory. A file differs if it
    /// was read and has other bytes, or if it was read and is not in the commit. A file also differs if the commit has
    /// it, `select` accepts it and it was not read. `select` takes paths relative to the prefix. The inputs are
    /// compared too.
    ///
    /// Line endings that git itself would convert make no difference.
    ///
    /// # Errors
    ///
    /// The commit cannot be listed, a directory of an input cannot be read, or git fails.
    pub async fn differing(
        &self,
        commit: &Commit,
        read: &ReadFiles<'_>,
        select: &(dyn Fn(&Path) -> bool + Sync),
    ) -> Result<BTreeSet<PathBuf>, GitError> {
        let blobs = self.read_blobs(commit, read.prefix, select, &read.files).await?;
        let mut differing = BTreeSet::new();
        let mut converted = Vec::new();
        for (path, bytes) in &read.files {
            match blobs.get(*path) {
                Some(Some(blob)) if blob_name(bytes, blob.len()) == *blob => {}
                Some(Some(blob)) if with_line_feeds(bytes).is_some_and(|b| blob_name(&b, blob.len()) == *blob) => {
                    converted.push(*path);
                }
                _ => drop(differing.insert(read.prefix.join(path))),
            }
        }
        let gone = blobs.keys().filter(|path| !read.files.contains_key(path.as_path()));
        differing.extend(gone.map(|path| read.prefix.join(path)));
        for path in converted {
            let path = read.prefix.join(path);
            if !self.converts_line_ends(&path).await? {
                differing.insert(path);
            }
        }
        for input in &read.inputs {
            if let Some(input) = inside(&read.prefix.join(input)) {
                differing.extend(self.differing_input(commit, &input).await?);
            }
        }
        Ok(differing)
    }

    /// Returns the blobs of the selected files and of the files that were read. It is `None` for a link that leads to
    /// no file.
    async fn read_blobs(
        &self,
        commit: &Commit,
        prefix: &Path,
        select: &(dyn Fn(&Path) -> bool + Sync),
        files: &BTreeMap<&Path, &[u8]>,
    ) -> Result<BTreeMap<PathBuf, Option<String>>, GitError> {
        let select = |path: &Path| files.contains_key(path) || select(path);
        let found = match self.walk_tree(commit, prefix, &select).await {
            Ok(found) => found,
            // Links multiply. The content of such a commit is not known, so everything that was read differs.
            Err(GitError::Link { .. }) => return Ok(BTreeMap::new()),
            Err(error) => return Err(error),
        };
        let broken = found.broken.into_keys().map(|path| (path, None));
        Ok(found.files.into_iter().map(|(path, blob)| (path, Some(blob))).chain(broken).collect())
    }

    /// Returns `true` if git would store the file with line feeds only.
    async fn converts_line_ends(&self, path: &Path) -> Result<bool, GitError> {
        let operation = || "look at the conversion of line ends".to_owned();
        // Git reads attributes from files of the tree. They are data, and none of them is a program.
        let attributes = self.git().directory(self.top()).arguments(["check-attr", "-z", "text", "eol", "--"]);
        let stated = self.read(attributes.arguments([path]), operation).await?;
        let stated: Vec<&[u8]> = command::records(&stated).collect();
        let value = |name: &[u8]| stated.chunks(3).find(|chunk| chunk.get(1) == Some(&name)).and_then(|c| c.get(2));
        let config = self.run(self.git().arguments(["config", "--get", "core.autocrlf"]), operation).await?;
        let automatic = [&b"true\n"[..], b"input\n", b"yes\n", b"1\n", b"on\n"].contains(&config.stdout.as_slice());
        Ok(match value(b"text").copied() {
            Some(b"unset") => false,
            Some(b"set" | b"auto") => true,
            _ => automatic || value(b"eol").is_some_and(|eol| [&b"crlf"[..], b"lf"].contains(eol)),
        })
    }

    /// Returns the paths at and below `input` that differ, relative to the top directory.
    async fn differing_input(&self, commit: &Commit, input: &Path) -> Result<BTreeSet<PathBuf>, GitError> {
        let mut entries = self.list_below(commit, input).await?;
        let mut differing = BTreeSet::new();
        let mut waiting = vec![input.to_owned()];
        let mut left = INPUT_FILES;
        while let Some(path) = waiting.pop() {
            let entry = entries.remove(&path);
            // The content of a submodule belongs to another repository.
            if entry == Some(Entry::Submodule) {
                continue;
            }
            let full = self.top().join(&path);
            let Ok(metadata) = fs::symlink_metadata(&full) else {
                if entry.is_some() {
                    differing.insert(path);
                }
                continue;
            };
            let Some(fewer) = left.checked_sub(1) else {
                return Ok(BTreeSet::from([input.to_owned()]));
            };
            left = fewer;
            if metadata.is_dir() {
                if entry.is_some() {
                    differing.insert(path.clone());
                }
                let names = fs::read_dir(&full).and_then(|list| list.map(|e| e.map(|e| e.file_name())).collect());
                let names: Vec<_> = names.map_err(|source| GitError::Directory { directory: full, source })?;
                waiting.extend(names.into_iter().filter(|name| name != ".git").map(|name| path.join(name)));
            } else if !is_entry(&full, &metadata, entry.as_ref()).unwrap_or(false)
                && !self.is_converted(&path, entry.as_ref()).await?
            {
                differing.insert(path);
            }
        }
        differing.extend(entries.into_iter().filter(|(_, entry)| *entry != Entry::Submodule).map(|(path, _)| path));
        Ok(differing)
    }

    async fn is_converted(&self, path: &Path, entry: Option<&Entry>) -> Result<bool, GitError> {
        let Some(Entry::File(blob)) = entry else { return Ok(false) };
        let stored = fs::read(self.top().join(path)).ok().as_deref().and_then(with_line_feeds);
        let is_same = stored.is_some_and(|stored| blob_name(&stored, blob.len()) == *blob);
        Ok(is_same && self.converts_line_ends(path).await?)
    }

    /// Lists the entries of a commit at a path and below it, relative to the top directory.
    async fn list_below(&self, commit: &Commit, path: &Path) -> Result<BTreeMap<PathBuf, Entry>, GitError> {
        let operation = || format!("list the files of commit {commit}");
        let mut list = self.git().arguments(["ls-tree", "-r", "-z", "--full-tree", commit.as_str(), "--"]);
        if !path.as_os_str().is_empty() {
            list = list.arguments([path]);
        }
        let output = self.run(list.output_limit(LIST_LIMIT), operation).await?;
        if !output.status.success() {
            return Err(self.missing_or(&[commit], operation, &output).await);
        }
        let entries: Option<_> = command::records(&output.stdout).map(super::tree::entry).collect();
        entries.ok_or_else(|| GitError::Answer { operation: operation() })
    }
}

/// Removes `.` and `..` from a path that is relative to the top directory. Returns `None` if the path leaves the
/// repository.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => inside.push(name),
            Component::ParentDir => inside.pop().then_some(())?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside)
}

/// Returns `true` if a file or link is the same as the entry of a tree, byte by byte.
fn is_entry(full: &Path, metadata: &fs::Metadata, entry: Option<&Entry>) -> io::Result<bool> {
    Ok(match entry {
        Some(Entry::Link(blob)) if metadata.is_symlink() => {
            blob_name(fs::read_link(full)?.as_os_str().as_bytes(), blob.len()) == *blob
        }
        Some(Entry::File(blob)) if metadata.is_file() => blob_name_of_file(full, metadata.len(), blob.len())? == *blob,
        _ => false,
    })
}

/// Returns the name that git gives to a blob. The number of digits in names selects the hash: SHA-256 for 64, else
/// SHA-1.
fn blob_name(bytes: &[u8], digits: usize) -> String {
    let header = format!("blob {}\0", bytes.len());
    if digits == 64 { hash::<Sha256>(&header, bytes) } else { hash::<Sha1>(&header, bytes) }
}

fn hash<D: Digest>(header: &str, bytes: &[u8]) -> String {
    hexadecimal(&D::new().chain_update(header).chain_update(bytes).finalize())
}

/// Returns the same name as [`blob_name`], without holding the file in memory.
fn blob_name_of_file(file: &Path, length: u64, digits: usize) -> io::Result<String> {
    let header = format!("blob {length}\0");
    if digits == 64 { hash_file::<Sha256>(&header, file) } else { hash_file::<Sha1>(&header, file) }
}

fn hash_file<D: Digest>(header: &str, file: &Path) -> io::Result<String> {
    let mut digest = D::new().chain_update(header);
    let mut file = fs::File::open(file)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hexadecimal(&digest.finalize())),
            count => digest.update(&chunk[..count]),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the text with line feeds in place of CRLF. Returns `None` if there is no CRLF.
fn with_line_feeds(bytes: &[u8]) -> Option<Vec<u8>> {
    bytes.windows(2).any(|pair| pair == b"\r\n").then(|| {
        let keep = |index: usize| bytes[index] != b'\r' || bytes.get(index + 1) != Some(&b'\n');
        (0..bytes.len()).filter(|index| keep(*index)).map(|index| bytes[index]).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x10_blobs_are_named_as_git_names_them() {
        // The names come from `git hash-object --stdin`, in repositories of both formats.
        assert_eq!(blob_name(b"", 40), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(blob_name(b"a\n", 40), "78981922613b2afb6025042ff6bd878ac1994e85");
        let long = "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813";
        assert_eq!(blob_name(b"", 64), long);
    }

    #[test]
    fn only_carriage_returns_before_line_feeds_are_line_ends() {
        assert_eq!(with_line_feeds(b"a\r\nb\rc\r\r\n"), Some(b"a\nb\rc\r\n".to_vec()));
        assert_eq!(with_line_feeds(b"a\nb\r"), None);
    }

    #[test]
    fn an_input_stays_inside_of_the_repository() {
        for (path, expected) in [("a/../b/./c", Some("b/c")), ("a/..", Some("")), ("a/../../b", None), ("/a", None)] {
            assert_eq!(inside(Path::new(path)), expected.map(PathBuf::from), "{path}");
        }
    }
}

//! Lists and reads the files of a commit. Never touches the work tree.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::command;
use super::commit::Commit;
use super::error::{GitError, LinkProblem};
use super::repository::Repository;
use crate::project::files::Files;
use crate::project::snapshot::{Allowance, Snapshot};
use crate::project::tree::normalized;

const READ_TIME: Duration = Duration::from_mins(2);
const READ_LIMIT: usize = 512 << 20;
/// The largest number of links that are followed for one path. Linux has the same limit.
const LINKS_FOLLOWED: usize = 40;
/// The largest number of directories that are entered: the listed one, and those that links lead to. Links to
/// directories that have such links multiply. No ordinary tree comes near this limit.
const DIRECTORIES_ENTERED: usize = 1_000;
/// The largest number of files that are found through links.
const FILES_REPEATED: usize = 100_000;
/// The largest number of directories that renderers ask for, with the directories that links lead to from there.
const DIRECTORIES_REACHED: usize = 10_000;

/// The files that were read from a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeFiles {
    /// The selected files, relative to the directory that was read.
    pub files: Snapshot,
    /// The submodules in that directory. Their content is in other repositories and was not read.
    pub submodules: BTreeSet<PathBuf>,
}

impl Repository {
    /// Reads the files below `prefix` in a commit that `select` accepts. The paths are relative to `prefix`.
    ///
    /// The rules are those of [`CommitTree`]. A selected link that leads to no file is an error.
    pub async fn read_tree(
        &self,
        commit: &Commit,
        prefix: &Path,
        select: &(dyn Fn(&Path) -> bool + Sync),
    ) -> Result<TreeFiles, GitError> {
        let (mut tree, mut files) = CommitTree::open(self, commit, prefix).await?;
        let selected = files.selected(&|path| select(path));
        tree.load(&mut files, &selected).await?;
        Ok(TreeFiles { files: files.into_loaded(), submodules: tree.found.submodules })
    }

    /// Finds the selected files below `prefix` in a commit, with the names of their blobs, by the rules of
    /// [`CommitTree`]. Also finds the selected links that lead to no file.
    pub(super) async fn walk_tree(
        &self,
        commit: &Commit,
        prefix: &Path,
        select: &(dyn Fn(&Path) -> bool + Sync),
    ) -> Result<Found, GitError> {
        let found = self.listed_tree(commit, prefix).await?.walk(View::root(), &mut WalkLimits::default(), select);
        found.map_err(|(path, problem)| GitError::Link { path, commit: commit.clone(), problem })
    }

    async fn listed_tree(&self, commit: &Commit, prefix: &Path) -> Result<ListedTree, GitError> {
        let mut tree = ListedTree::new(prefix, self.list(commit, prefix).await?);
        let operation = || format!("read the symbolic links of commit {commit}");
        let links = self.blobs(&tree.links(), operation).await?;
        tree.read_links(&links);
        Ok(tree)
    }

    /// Lists everything below `prefix` in a commit, relative to `prefix`.
    async fn list(&self, commit: &Commit, prefix: &Path) -> Result<BTreeMap<PathBuf, Entry>, GitError> {
        let operation = || format!("list the files of commit {commit}");
        let mut list = self.git().arguments(["ls-tree", "-r", "-z", "--full-tree", commit.as_str(), "--"]);
        if !prefix.as_os_str().is_empty() {
            // With a slash at its end, the path means only the directory, and never a file or link of that name.
            list = list.arguments([prefix.join("")]);
        }
        let output = self.run(list.output_limit(READ_LIMIT), operation).await?;
        if !output.status.success() {
            return Err(self.missing_or(&[commit], operation, &output).await);
        }
        let entries = command::records(&output.stdout).map(|record| {
            let (path, entry) = entry(record)?;
            Some((path.strip_prefix(prefix).ok()?.to_owned(), entry))
        });
        entries.collect::<Option<_>>().ok_or_else(|| GitError::Answer { operation: operation() })
    }

    /// Reads the content of blobs with one `git cat-file --batch`.
    async fn blobs(
        &self,
        names: &BTreeSet<String>,
        operation: impl Fn() -> String,
    ) -> Result<BTreeMap<String, Vec<u8>>, GitError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let input: String = names.iter().flat_map(|name| [name, "\n"]).collect();
        let batch = self.git().arguments(["cat-file", "--batch"]).input(input);
        let answer = self.read(batch.time_limit(READ_TIME).output_limit(READ_LIMIT), &operation).await?;
        parse_batch(&answer, names.len()).ok_or_else(|| GitError::Answer { operation: operation() })
    }
}

/// The files of a commit below a directory.
///
/// The rules are the same as for the work tree. Directories whose name begins with a dot are not entered. A symbolic
/// link stands for the file or directory that it points to, as long as that is below the directory. A link that leads
/// to a directory above itself is skipped. A link that leads to no file is an error only when it is loaded. If the
/// commit does not have the directory, there are no files.
#[derive(Debug)]
pub struct CommitTree<'a> {
    repository: &'a Repository,
    commit: &'a Commit,
    prefix: &'a Path,
    found: Found,
    /// Everything in the commit. It is listed when something outside the directory is asked for.
    whole: Option<ListedTree>,
    allowance: Allowance,
    /// The limits for everything that is listed because it is asked for.
    limits: WalkLimits,
}

impl<'a> CommitTree<'a> {
    /// Lists the files below `prefix` in a commit. The paths are relative to `prefix`.
    ///
    /// # Errors
    ///
    /// The commit cannot be listed, or links multiply.
    pub async fn open(
        repository: &'a Repository,
        commit: &'a Commit,
        prefix: &'a Path,
    ) -> Result<(Self, Files), GitError> {
        let found = repository.walk_tree(commit, prefix, &|_| true).await?;
        let mut files = Files::below(prefix);
        found.list(&mut files);
        let limits = WalkLimits { directories: DIRECTORIES_REACHED, repeated: FILES_REPEATED };
        let allowance = Allowance::default();
        Ok((Self { repository, commit, prefix, found, whole: None, allowance, limits }, files))
    }

    /// Answers for paths: loads the content of the files, all with one git process.
    ///
    /// A path that is not listed yet is listed first, with everything below it. It can be in a hidden directory, or
    /// outside the directory of this tree. A path that leaves the repository is answered as if nothing were there, and
    /// so is a path that is not normalized.
    ///
    /// # Errors
    ///
    /// A link leads to no file, a limit is exceeded, or git fails.
    pub async fn load(&mut self, files: &mut Files, wanted: &BTreeSet<PathBuf>) -> Result<(), GitError> {
        let wanted: Vec<&PathBuf> = wanted.iter().filter(|path| !files.is_answered(path)).collect();
        for path in &wanted {
            if !files.is_listed(path) && normalized(path) == **path && !path.is_absolute() {
                self.reach(path, files).await?;
            }
            if !files.paths().contains(*path) {
                files.set_absent((*path).clone());
            }
        }
        if let Some((path, problem)) = wanted.iter().find_map(|path| self.found.broken.get_key_value(*path)) {
            return Err(self.link(path.clone(), *problem));
        }
        let named: Vec<_> = wanted.iter().filter_map(|path| self.found.files.get_key_value(*path)).collect();
        let operation = || format!("read the files of commit {}", self.commit);
        let blobs = named.iter().map(|(_, blob)| (*blob).clone()).collect();
        let content = self.repository.blobs(&blobs, operation).await?;
        for (path, blob) in named {
            let bytes = content.get(blob).ok_or_else(|| GitError::Answer { operation: operation() })?;
            let counted = self.allowance.take(bytes.len(), self.found.repeated.contains(path));
            let commit = || self.commit.clone();
            counted.map_err(|problem| GitError::Exceeded { path: path.clone(), commit: commit(), problem })?;
            files.load(path.clone(), bytes.clone());
        }
        Ok(())
    }

    /// Lists a file or directory that is not listed yet.
    async fn reach(&mut self, path: &Path, files: &mut Files) -> Result<(), GitError> {
        let whole = match self.whole.take() {
            Some(whole) => whole,
            None => self.repository.listed_tree(self.commit, Path::new("")).await?,
        };
        let whole = &*self.whole.insert(whole);
        let full = self.prefix.join(path);
        // A path without a link in it stands for itself. A file behind a link can repeat another file.
        let itself = normalized(&full);
        let found = match whole.follow(&full) {
            Ok(Target::File(blob)) => {
                let is_repeated = !matches!(whole.entries.get(&itself), Some(Entry::File(own)) if *own == blob);
                let repeated = is_repeated.then(|| path.to_owned()).into_iter().collect();
                Found { files: [(path.to_owned(), blob)].into(), repeated, ..Found::default() }
            }
            Ok(Target::Directory(directory)) => {
                let above = BTreeSet::from([directory.clone()]);
                let seen_as = if directory == itself { itself } else { path.to_owned() };
                let view = View { directory, seen_as: seen_as.clone(), above };
                let walked = whole.walk(view, &mut self.limits, &|_| true);
                let found = walked.map_err(|(path, problem)| self.link(path, problem))?;
                found.moved(&seen_as, path)
            }
            Err(LinkProblem::Dangles | LinkProblem::Leaves) => return Ok(()),
            Err(problem) => Found { broken: [(path.to_owned(), problem)].into(), ..Found::default() },
        };
        found.list(files);
        self.found.files.extend(found.files);
        self.found.broken.extend(found.broken);
        self.found.repeated.extend(found.repeated);
        self.found.submodules.extend(found.submodules);
        Ok(())
    }

    fn link(&self, path: PathBuf, problem: LinkProblem) -> GitError {
        GitError::Link { path, commit: self.commit.clone(), problem }
    }
}

/// An entry of a tree. A file or link has the name of its blob. A `Pointer` is a link whose target is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    File(String),
    Link(String),
    Pointer(PathBuf),
    Submodule,
}

/// Parses one record of `git ls-tree -z`: mode, type, name, a tab and the path.
pub(super) fn entry(record: &[u8]) -> Option<(PathBuf, Entry)> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let mut words = std::str::from_utf8(&record[..tab]).ok()?.split(' ');
    let (mode, kind, name) = (words.next()?, words.next()?, words.next()?.to_owned());
    let entry = match (mode, kind) {
        ("120000", "blob") => Entry::Link(name),
        (_, "blob") => Entry::File(name),
        ("160000", "commit") => Entry::Submodule,
        _ => return None,
    };
    Some((command::path(&record[tab + 1..]), entry))
}

/// Parses the answers of `git cat-file --batch`. Each is a line `NAME blob SIZE`, `SIZE` bytes, and a line feed.
/// Returns `None` if a blob is missing, or if the number of answers is not `count`.
fn parse_batch(mut answer: &[u8], count: usize) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut blobs = BTreeMap::new();
    while !answer.is_empty() {
        let end = answer.iter().position(|byte| *byte == b'\n')?;
        let mut words = std::str::from_utf8(&answer[..end]).ok()?.split(' ');
        let (name, kind, size) = (words.next()?, words.next()?, words.next()?.parse::<usize>().ok()?);
        let content = answer.get(end + 1..)?.get(..size)?;
        answer = answer.get(end + 1 + size..)?.strip_prefix(b"\n")?;
        (kind == "blob").then(|| blobs.insert(name.to_owned(), content.to_owned()))?;
    }
    (blobs.len() == count).then_some(blobs)
}

/// The target of a path once every link in it is followed.
enum Target {
    File(String),
    Directory(PathBuf),
}

/// A directory with everything in it, as seen from the path by which a link leads to it.
struct View {
    directory: PathBuf,
    seen_as: PathBuf,
    /// The directories that `seen_as` leads through, by their real paths.
    above: BTreeSet<PathBuf>,
}

impl View {
    fn root() -> Self {
        Self { directory: PathBuf::new(), seen_as: PathBuf::new(), above: BTreeSet::from([PathBuf::new()]) }
    }

    /// Returns the directories between this directory and a path below it.
    fn between<'a>(&self, path: &'a Path) -> impl Iterator<Item = &'a Path> {
        path.ancestors().skip(1).take_while(|directory| *directory != self.directory)
    }

    /// Returns `true` if the path, which is below this directory, is reached. A path is not reached through a directory
    /// whose name begins with a dot, or through a directory that led here.
    fn shows(&self, path: &Path) -> bool {
        !self.between(path).any(|directory| is_hidden(directory) || self.above.contains(directory))
    }

    /// Returns the view that a link at `path` to `directory` adds. Returns `None` if the name of the link begins with a
    /// dot, or if the link leads back to a directory above itself.
    fn entered(&self, path: &Path, directory: PathBuf, seen_as: PathBuf) -> Option<Self> {
        let between = self.between(path).map(Path::to_owned);
        let mut above: BTreeSet<_> = self.above.iter().cloned().chain(between).collect();
        (!is_hidden(path) && above.insert(directory.clone())).then_some(Self { directory, seen_as, above })
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// The selected files with their blobs, the submodules, and the selected links that lead to no file.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: BTreeMap<PathBuf, String>,
    pub(super) broken: BTreeMap<PathBuf, LinkProblem>,
    /// The files that are reached by a link. They repeat the content of other files.
    repeated: BTreeSet<PathBuf>,
    submodules: BTreeSet<PathBuf>,
}

impl Found {
    /// Adds the paths of the files, and of the links that lead to no file.
    fn list(&self, files: &mut Files) {
        for path in self.files.keys().chain(self.broken.keys()) {
            files.list(path.clone());
        }
    }

    /// Replaces the directory `from` at the beginning of every path by `to`.
    fn moved(self, from: &Path, to: &Path) -> Self {
        let moved = |path: PathBuf| path.strip_prefix(from).map(|below| to.join(below)).unwrap_or(path);
        Self {
            files: self.files.into_iter().map(|(path, blob)| (moved(path), blob)).collect(),
            broken: self.broken.into_iter().map(|(path, problem)| (moved(path), problem)).collect(),
            repeated: self.repeated.into_iter().map(moved).collect(),
            submodules: self.submodules.into_iter().map(moved).collect(),
        }
    }
}

/// The numbers of directories and repeated files that may still be found.
#[derive(Debug)]
struct WalkLimits {
    directories: usize,
    repeated: usize,
}

impl Default for WalkLimits {
    fn default() -> Self {
        Self { directories: DIRECTORIES_ENTERED, repeated: FILES_REPEATED }
    }
}

/// A listed tree, whose links can be followed.
#[derive(Debug)]
struct ListedTree {
    /// The directory that was listed, relative to the top directory. The paths in the other fields are relative to it.
    prefix: PathBuf,
    entries: BTreeMap<PathBuf, Entry>,
    directories: BTreeSet<PathBuf>,
}

impl ListedTree {
    fn new(prefix: &Path, entries: BTreeMap<PathBuf, Entry>) -> Self {
        let directories = entries.keys().flat_map(|path| path.ancestors().skip(1)).map(Path::to_owned).collect();
        Self { prefix: prefix.to_owned(), entries, directories }
    }

    /// Returns the names of the blobs that hold the targets of the links.
    fn links(&self) -> BTreeSet<String> {
        let names = self.entries.values().filter_map(|entry| match entry {
            Entry::Link(name) => Some(name.clone()),
            Entry::File(_) | Entry::Pointer(_) | Entry::Submodule => None,
        });
        names.collect()
    }

    fn read_links(&mut self, blobs: &BTreeMap<String, Vec<u8>>) {
        for entry in self.entries.values_mut() {
            if let Entry::Link(name) = entry
                && let Some(target) = blobs.get(name)
            {
                *entry = Entry::Pointer(command::path(target));
            }
        }
    }

    /// Finds the selected files, with the paths by which they are reached. Returns an error if links multiply.
    fn walk(
        &self,
        from: View,
        limits: &mut WalkLimits,
        select: &dyn Fn(&Path) -> bool,
    ) -> Result<Found, (PathBuf, LinkProblem)> {
        let mut found = Found::default();
        let mut open = VecDeque::from([from]);
        while let Some(view) = open.pop_front() {
            let Some(left) = limits.directories.checked_sub(1) else {
                return Err((view.seen_as, LinkProblem::TooMany));
            };
            limits.directories = left;
            for (path, entry) in self.below(&view.directory).filter(|(path, _)| view.shows(path)) {
                let seen = view.seen_as.join(path.strip_prefix(&view.directory).unwrap_or(path));
                let target = match entry {
                    Entry::File(name) => Ok(Target::File(name.clone())),
                    Entry::Submodule => {
                        found.submodules.insert(seen);
                        continue;
                    }
                    Entry::Link(_) | Entry::Pointer(_) => self.follow(path),
                };
                match target {
                    Ok(Target::File(name)) if select(&seen) => {
                        if seen != *path || !matches!(entry, Entry::File(_)) {
                            let Some(left) = limits.repeated.checked_sub(1) else {
                                return Err((seen, LinkProblem::Repeats));
                            };
                            limits.repeated = left;
                            found.repeated.insert(seen.clone());
                        }
                        found.files.insert(seen, name);
                    }
                    Ok(Target::Directory(directory)) => open.extend(view.entered(path, directory, seen)),
                    Err(problem) if select(&seen) => {
                        found.broken.insert(seen, problem);
                    }
                    Ok(Target::File(_)) | Err(_) => {}
                }
            }
        }
        Ok(found)
    }

    /// Iterates over the entries of a directory and of the directories in it.
    fn below(&self, directory: &Path) -> impl Iterator<Item = (&PathBuf, &Entry)> {
        self.entries.range(directory.to_owned()..).take_while(move |(path, _)| path.starts_with(directory))
    }

    /// Follows every link of a path, as the file system does.
    fn follow(&self, path: &Path) -> Result<Target, LinkProblem> {
        let mut ahead: VecDeque<OsString> = path.iter().map(OsStr::to_owned).collect();
        // Relative to the top directory, because a link may leave the listed directory and come back.
        let mut at = self.prefix.clone();
        let mut followed = 0;
        while let Some(step) = ahead.pop_front() {
            if step == ".." {
                if !at.pop() {
                    return Err(LinkProblem::Leaves);
                }
                continue;
            }
            let next = at.join(&step);
            if self.prefix.starts_with(&next) {
                at = next;
                continue;
            }
            let inside = next.strip_prefix(&self.prefix).map_err(|_| LinkProblem::Leaves)?;
            match self.entries.get(inside) {
                None if self.directories.contains(inside) => at = next,
                Some(Entry::File(name)) if ahead.is_empty() => return Ok(Target::File(name.clone())),
                Some(Entry::Submodule) => return Err(LinkProblem::Submodule),
                None | Some(Entry::File(_) | Entry::Link(_)) => return Err(LinkProblem::Dangles),
                Some(Entry::Pointer(target)) => {
                    followed += 1;
                    if followed > LINKS_FOLLOWED {
                        return Err(LinkProblem::Loops);
                    }
                    for component in target.components().rev() {
                        match component {
                            Component::CurDir => {}
                            Component::RootDir | Component::Prefix(_) => return Err(LinkProblem::Leaves),
                            Component::ParentDir | Component::Normal(_) => {
                                ahead.push_front(component.as_os_str().to_owned());
                            }
                        }
                    }
                }
            }
        }
        at.strip_prefix(&self.prefix).map(|at| Target::Directory(at.to_owned())).map_err(|_| LinkProblem::Leaves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, &str)]) -> ListedTree {
        let entries = entries.iter().map(|(path, entry)| {
            let entry = match entry.split_once(' ') {
                Some(("->", target)) => Entry::Pointer(target.into()),
                _ if *entry == "submodule" => Entry::Submodule,
                _ => Entry::File((*entry).to_owned()),
            };
            (PathBuf::from(path), entry)
        });
        ListedTree::new(Path::new("top/r"), entries.collect())
    }

    fn check(entries: &[(&str, &str)], expected: Result<&[(&str, &str)], (&str, LinkProblem)>) {
        let yaml = |path: &Path| path.extension().is_some_and(|extension| extension == "yaml");
        let found = tree(entries).walk(View::root(), &mut WalkLimits::default(), &yaml).and_then(|found| {
            match found.broken.into_iter().next() {
                Some(broken) => Err(broken),
                None => Ok(found.files),
            }
        });
        let expected = expected.map_err(|(path, problem)| (PathBuf::from(path), problem));
        let expected = expected.map(|files| files.iter().map(|(p, b)| (PathBuf::from(p), (*b).to_owned())).collect());
        assert_eq!(found, expected, "{entries:?}");
    }

    #[test]
    fn b3_links_are_followed_within_the_tree_and_refused_beyond() {
        use LinkProblem::{Dangles, Leaves, Loops, Submodule};
        check(&[("a.yaml", "1"), ("b.txt", "2")], Ok(&[("a.yaml", "1")]));
        check(&[("a.yaml", "-> d/b.txt"), ("d/b.txt", "2")], Ok(&[("a.yaml", "2")]));
        check(&[("d/a.yaml", "-> ../b.txt"), ("b.txt", "2")], Ok(&[("d/a.yaml", "2")]));
        check(&[("a.yaml", "-> ./l/b"), ("l", "-> d"), ("d/b", "-> c"), ("d/c", "3")], Ok(&[("a.yaml", "3")]));
        check(&[("l", "-> d/"), ("d/x/a.yaml", "1")], Ok(&[("d/x/a.yaml", "1"), ("l/x/a.yaml", "1")]));
        check(&[("l", "-> d"), ("d/a.yaml", "-> ../b"), ("b", "2")], Ok(&[("d/a.yaml", "2"), ("l/a.yaml", "2")]));
        check(&[("a.yaml", "-> ../x")], Err(("a.yaml", Leaves)));
        check(&[("d/a.yaml", "-> ../../d/b.yaml"), ("d/b.yaml", "1")], Err(("d/a.yaml", Leaves)));
        check(&[("a.yaml", "-> ../../../top/r/b"), ("b", "1")], Err(("a.yaml", Leaves)));
        check(&[("a.yaml", "-> ../../top/r/b"), ("b", "1")], Ok(&[("a.yaml", "1")]));
        check(&[("a.yaml", "-> .."), ("l", "-> ../../top/r"), ("b.yaml", "1")], Err(("a.yaml", Leaves)));
        check(&[("l", "-> ../../top/r"), ("b.yaml", "1")], Ok(&[("b.yaml", "1")]));
        check(&[("a.yaml", "-> /etc/passwd")], Err(("a.yaml", Leaves)));
        check(&[("a.yaml", "-> gone")], Err(("a.yaml", Dangles)));
        check(&[("a.yaml", "-> b.yaml/x"), ("b.yaml", "1")], Err(("a.yaml", Dangles)));
        check(&[("a.yaml", "-> b.yaml"), ("b.yaml", "-> a.yaml")], Err(("a.yaml", Loops)));
        check(&[("d/l", "-> .."), ("a.yaml", "1")], Ok(&[("a.yaml", "1")]));
        check(
            &[(".d/a.yaml", "1"), ("d/.e/f/a.yaml", "2"), (".l", "-> d"), ("d/.a.yaml", "3")],
            Ok(&[("d/.a.yaml", "3")]),
        );
        check(&[("l", "-> .d"), (".d/a.yaml", "1")], Ok(&[("l/a.yaml", "1")]));
        check(&[("a.yaml", "-> sub/x"), ("sub", "submodule")], Err(("a.yaml", Submodule)));
        check(&[("unselected", "-> /etc"), ("other", "-> gone"), ("a.yaml", "1")], Ok(&[("a.yaml", "1")]));
    }

    #[test]
    fn b3_links_that_lead_to_each_other_or_multiply_end() {
        check(
            &[("a/l", "-> ../b"), ("b/l", "-> ../a"), ("a/x.yaml", "1")],
            Ok(&[("a/x.yaml", "1"), ("b/l/x.yaml", "1")]),
        );
        let names: Vec<_> = (0..24).map(|n| (format!("{n}/a"), format!("{n}/b"), format!("-> ../{}", n + 1))).collect();
        let mut entries: Vec<_> = names.iter().flat_map(|(a, b, to)| [(&**a, &**to), (&**b, &**to)]).collect();
        entries.push(("24/x.yaml", "1"));
        let walked = tree(&entries).walk(View::root(), &mut WalkLimits::default(), &|_| true);
        let problem = walked.err().map(|(_, problem)| problem);
        assert_eq!(problem, Some(LinkProblem::TooMany));
    }

    #[test]
    fn a_batch_that_is_cut_missing_or_too_short_is_no_answer() {
        let whole = b"aa blob 3\nx\ny\nbb blob 0\n\n";
        let blobs = parse_batch(whole, 2).unwrap();
        assert_eq!(blobs["aa"], b"x\ny");
        assert_eq!(blobs["bb"], b"");
        for (answer, count) in
            [(&whole[..], 3), (&whole[..whole.len() - 1], 2), (b"aa missing\n", 1), (b"aa tree 0\n\n", 1)]
        {
            assert_eq!(parse_batch(answer, count), None);
        }
    }
}

//! The errors of git. Each message continues the words "failed to".

use std::io;
use std::path::PathBuf;

use super::commit::Commit;
use crate::process::ProcessError;
use crate::project::snapshot::{Exceeded, printable};

/// The reason why git gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// Git is not installed, or not on the `PATH`.
    #[error("run git: it is not installed, or not on the PATH")]
    NoGit(#[source] ProcessError),
    /// Git does not trust the repository, because its directory belongs to another user.
    #[error("open the git repository of {}: {} belongs to another user", printable(directory), printable(repository))]
    DubiousOwnership {
        /// The directory that git was to open.
        directory: PathBuf,
        /// The repository that git does not trust.
        repository: PathBuf,
        /// The error that git reported.
        #[source]
        source: ProcessError,
    },
    /// The directory is in a bare repository or inside a `.git` directory.
    #[error("find the work tree of {}: it lies in a bare repository or in a .git directory", printable(directory))]
    NoWorkTree {
        /// The directory that was examined.
        directory: PathBuf,
    },
    /// The git directory is in the work tree, where any commit could have put it.
    #[error(
        "open the git repository of {}: its git directory {} lies in the work tree, where a commit can put anything",
        printable(directory),
        printable(git_dir)
    )]
    InTree {
        /// The top of the work tree.
        directory: PathBuf,
        /// The git directory.
        git_dir: PathBuf,
    },
    /// Git's configuration includes a file of the work tree.
    #[error(
        "{}: git's configuration includes {}, a file of the work tree, and whoever changes that \
         could run programs here; include a copy of it from outside of the work tree",
        commit.as_ref().map_or_else(|| "ask the remote".to_owned(), |commit| format!("fetch commit {commit}")),
        printable(file)
    )]
    TreeConfiguration {
        /// The commit to fetch, if the operation fetches one.
        commit: Option<Commit>,
        /// The included file.
        file: PathBuf,
    },
    /// The directory is not in the work tree of this repository.
    #[error("find {} in the repository {}: it lies outside", printable(directory), printable(top))]
    Outside {
        /// The directory.
        directory: PathBuf,
        /// The top directory of the work tree.
        top: PathBuf,
    },
    /// The directory cannot be read.
    #[error("look at the directory {}", printable(directory))]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The reason that the system gave.
        #[source]
        source: io::Error,
    },
    /// The text cannot be a revision.
    #[error("resolve the revision {revision:?}: it is empty, begins with `-` or holds a control character")]
    NotARevision {
        /// The text.
        revision: String,
    },
    /// The clone has no commit of that name.
    #[error("resolve the revision {revision:?}: no such commit in this clone{}", if *shallow {
        ", which is shallow; fetch it first, or check out with `fetch-depth: 0`"
    } else {
        ""
    })]
    UnknownRevision {
        /// The revision.
        revision: String,
        /// `true` if the clone has only the end of the history.
        shallow: bool,
    },
    /// The repository has no commit yet.
    #[error("find HEAD: the repository has no commit yet")]
    NoCommitYet,
    /// The clone does not have a commit that is needed.
    #[error("read commit {commit}: this clone does not have it")]
    MissingCommit {
        /// The commit.
        commit: Commit,
    },
    /// The text cannot be the name of a remote.
    #[error("fetch from the remote {remote:?}: it is empty, begins with `-` or holds a control character")]
    NotARemote {
        /// The text.
        remote: String,
    },
    /// The remote is not configured, or there is no repository at its address.
    #[error("fetch commit {commit} from {remote:?}: there is no such remote repository")]
    NoRemote {
        /// The commit to fetch.
        commit: Commit,
        /// The name of the remote.
        remote: String,
        /// The error that git reported.
        #[source]
        source: ProcessError,
    },
    /// The remote requires credentials, and git has none or wrong ones.
    #[error(
        "fetch commit {commit} from {remote:?}: the remote refused access; with `persist-credentials: false` the \
         checkout leaves git no credentials: check out with `fetch-depth: 2` (or 0), or without that setting"
    )]
    NoAccess {
        /// The commit to fetch.
        commit: Commit,
        /// The name of the remote.
        remote: String,
        /// The error that git reported.
        #[source]
        source: ProcessError,
    },
    /// The remote does not have the commit, or does not serve it.
    #[error("fetch commit {commit} from {remote:?}: the remote does not offer it")]
    NotOffered {
        /// The commit to fetch.
        commit: Commit,
        /// The name of the remote.
        remote: String,
        /// The error that git reported.
        #[source]
        source: ProcessError,
    },
    /// A symbolic link cannot be followed within the tree.
    #[error("follow the symbolic link {} in commit {}: {problem}", printable(path), commit.short())]
    Link {
        /// The link, relative to the directory that was read.
        path: PathBuf,
        /// The commit that was read.
        commit: Commit,
        /// The problem with the link.
        problem: LinkProblem,
    },
    /// The tree is too large, or links make it too large.
    #[error("read {} in commit {}: {problem}", printable(path), commit.short())]
    Exceeded {
        /// The file that exceeds the limit, relative to the directory that was read.
        path: PathBuf,
        /// The commit that was read.
        commit: Commit,
        /// The limit that is exceeded.
        problem: Exceeded,
    },
    /// Git failed at an operation that should succeed.
    #[error("{operation}")]
    Run {
        /// The operation and its object.
        operation: String,
        /// The error that git reported.
        #[source]
        source: ProcessError,
    },
    /// Git's answer does not have the expected form.
    #[error("{operation}: git's answer makes no sense")]
    Answer {
        /// The operation and its object.
        operation: String,
    },
}

/// The problem with a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkProblem {
    /// The link points out of the directory that is read.
    #[error("it leaves the directory that is read")]
    Leaves,
    /// There is nothing at the place that the link points to.
    #[error("there is nothing where it points")]
    Dangles,
    /// The link leads back to itself, or through too many other links.
    #[error("it leads back to itself")]
    Loops,
    /// Links, or the paths that were asked for, lead to too many directories.
    #[error("links to directories lead to more than a thousand directories")]
    TooMany,
    /// Links lead to more than a hundred thousand files.
    #[error("links lead to more than a hundred thousand files")]
    Repeats,
    /// The link points into a submodule.
    #[error("it points into a submodule")]
    Submodule,
}

//! The errors of git. Each reads after "failed to".

use std::io;
use std::path::PathBuf;

use super::commit::Commit;
use crate::process::ProcessError;
use crate::project::snapshot::{Exceeded, printable};

/// The reason why git gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git to run.
    #[error("run git: it is not installed, or not on the PATH")]
    NoGit(#[source] ProcessError),
    /// Git does not trust the repository, because its directory belongs to someone else.
    #[error("open the git repository of {}: {} belongs to another user", printable(directory), printable(repository))]
    DubiousOwnership {
        /// The directory at which the search began.
        directory: PathBuf,
        /// The repository that git found and does not trust.
        repository: PathBuf,
        /// The message of git.
        #[source]
        source: ProcessError,
    },
    /// The directory lies in a bare repository or inside a `.git` directory.
    #[error("find the work tree of {}: it lies in a bare repository or in a .git directory", printable(directory))]
    NoWorkTree {
        /// The directory at which the search began.
        directory: PathBuf,
    },
    /// The git directory is one that the tree could hold.
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
    /// The configuration includes a file of the work tree.
    #[error(
        "{}: git's configuration includes {}, a file of the work tree, and whoever changes that \
         could run programs here; include a copy of it from outside of the work tree",
        commit.as_ref().map_or_else(|| "ask the remote".to_owned(), |commit| format!("fetch commit {commit}")),
        printable(file)
    )]
    TreeConfiguration {
        /// The commit that was wanted, where one was.
        commit: Option<Commit>,
        /// The file.
        file: PathBuf,
    },
    /// The directory does not lie in this repository's work tree.
    #[error("find {} in the repository {}: it lies outside", printable(directory), printable(top))]
    Outside {
        /// The directory.
        directory: PathBuf,
        /// The repository's top.
        top: PathBuf,
    },
    /// The directory could not be looked at.
    #[error("look at the directory {}", printable(directory))]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A text that cannot be a revision.
    #[error("resolve the revision {revision:?}: it is empty, begins with `-` or holds a control character")]
    NotARevision {
        /// The text.
        revision: String,
    },
    /// No commit of that name is here.
    #[error("resolve the revision {revision:?}: no such commit in this clone{}", if *shallow {
        ", which is shallow; fetch it first, or check out with `fetch-depth: 0`"
    } else {
        ""
    })]
    UnknownRevision {
        /// The revision.
        revision: String,
        /// True if the clone contains only the end of the history.
        shallow: bool,
    },
    /// The repository has no commit yet.
    #[error("find HEAD: the repository has no commit yet")]
    NoCommitYet,
    /// A commit that is needed is not in this clone.
    #[error("read commit {commit}: this clone does not have it")]
    MissingCommit {
        /// The commit.
        commit: Commit,
    },
    /// The name cannot be that of a remote.
    #[error("fetch from the remote {remote:?}: it is empty, begins with `-` or holds a control character")]
    NotARemote {
        /// The text.
        remote: String,
    },
    /// The remote is not configured, or there is no repository where it points.
    #[error("fetch commit {commit} from {remote:?}: there is no such remote repository")]
    NoRemote {
        /// The commit that was wanted.
        commit: Commit,
        /// The remote.
        remote: String,
        /// The message of git.
        #[source]
        source: ProcessError,
    },
    /// The remote wants credentials that git does not have.
    #[error(
        "fetch commit {commit} from {remote:?}: the remote refused access; with `persist-credentials: false` the \
         checkout leaves git no credentials: check out with `fetch-depth: 2` (or 0), or without that setting"
    )]
    NoAccess {
        /// The commit that was wanted.
        commit: Commit,
        /// The remote.
        remote: String,
        /// The message of git.
        #[source]
        source: ProcessError,
    },
    /// The remote does not have the commit, or does not give it away.
    #[error("fetch commit {commit} from {remote:?}: the remote does not offer it")]
    NotOffered {
        /// The commit that was wanted.
        commit: Commit,
        /// The remote.
        remote: String,
        /// The message of git.
        #[source]
        source: ProcessError,
    },
    /// A symbolic link that cannot be followed within the tree.
    #[error("follow the symbolic link {} in commit {}: {problem}", printable(path), commit.short())]
    Link {
        /// The link, relative to the directory that was read.
        path: PathBuf,
        /// The commit that was read.
        commit: Commit,
        /// The problem of the link.
        problem: LinkProblem,
    },
    /// The tree is too large, or links make it so.
    #[error("read {} in commit {}: {problem}", printable(path), commit.short())]
    Exceeded {
        /// The file at which it was too much, relative to the directory that was read.
        path: PathBuf,
        /// The commit that was read.
        commit: Commit,
        /// The limit.
        problem: Exceeded,
    },
    /// Git failed at something that it should be able to do.
    #[error("{operation}")]
    Run {
        /// The operation and its subject.
        operation: String,
        /// The message of git.
        #[source]
        source: ProcessError,
    },
    /// Git answered in a way that it never should.
    #[error("{operation}: git's answer makes no sense")]
    Answer {
        /// The operation and its subject.
        operation: String,
    },
}

/// The problem of a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkProblem {
    /// It points out of the tree.
    #[error("it leaves the directory that is read")]
    Leaves,
    /// There is nothing where it points.
    #[error("there is nothing where it points")]
    Dangles,
    /// Following it never ends.
    #[error("it leads back to itself")]
    Loops,
    /// Links to directories multiply.
    #[error("links to directories lead to more than a thousand directories")]
    TooMany,
    /// It points into a submodule.
    #[error("it points into a submodule")]
    Submodule,
}

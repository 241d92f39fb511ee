//! Collects the desired objects: loads the project tree and renders its files. Needs no cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::git::commit::Commit;
use crate::git::error::GitError;
use crate::git::repository::Repository;
use crate::git::tree::CommitTree;
use crate::git::worktree::ReadFiles;
use crate::object::ident::{ObjectKey, split_api_version};
use crate::object::kinds::Kinds;
use crate::object::manifest::{Document, Manifest};
use crate::object::resolve::{self, Resolved};
use crate::plan::notice::Notice;
use crate::project::files::Files;
use crate::project::inputs::Inputs;
use crate::project::settings::{SETTINGS_FILE, is_settings};
use crate::project::snapshot::{Failure, SourceError};
use crate::project::target::TargetError;
use crate::project::tree::Tree;
use crate::render::job::Outputs;
use crate::render::lock::{LOCK_FILE, Locked};
use crate::render::source::{SourceReadError, WorkTree};
use crate::render::value::Conflict;
use crate::render::{ReleaseFacts, Rendered, jobs, render, unfetched, wanted};

pub mod engines;

pub use engines::Engines;

/// The largest number of times that files are loaded. It is more than the depth of any reasonable chain of references,
/// and it keeps an endless chain from starting git forever.
const ROUNDS: usize = 100;

/// The time for rendering a tree, after the engines have run.
const TIME_TO_RENDER: Duration = Duration::from_mins(5);

/// The stack of the thread that renders, in bytes. It is that of a main thread.
const STACK: usize = 8 << 20;

/// The place that a tree is read from.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A directory, as it is on disk. Renderers can read files in `top`, which contains `root`.
    WorkTree {
        /// The root directory.
        root: &'a Path,
        /// The top directory of the repository, or the root directory without a repository.
        top: &'a Path,
    },
    /// A commit. The path is the root directory's path in the repository.
    Commit(&'a Repository, &'a Commit, &'a Path),
}

/// The reason why a tree cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// The work tree cannot be read.
    #[error(transparent)]
    WorkTree(SourceReadError),
    /// The commit cannot be read.
    #[error(transparent)]
    Commit(GitError),
    /// The settings are invalid.
    #[error("{}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Settings(Vec<SourceError>),
    /// The tree is not read for one of its targets.
    #[error(transparent)]
    Target(TargetError),
    /// The tree was not rendered in time.
    #[error("render the tree within {} minutes: a template does too much work", TIME_TO_RENDER.as_secs() / 60)]
    Late,
}

/// A loaded tree with its documents.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The project tree.
    pub tree: Tree,
    files: Files,
    rendered: Box<Rendered>,
    /// Notices about the engines.
    notices: Vec<Notice>,
}

/// The desired objects of a tree, with its failures and notices.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// The desired objects by key.
    pub manifests: BTreeMap<ObjectKey, Manifest>,
    /// The names without hash of the generated objects whose newest older generation stays.
    pub(crate) keep_previous: BTreeSet<ObjectKey>,
    /// The failures of rendering or resolving, anywhere in the tree.
    pub failures: Vec<Failure>,
    /// Notices about the manifests for readers of a plan.
    pub notices: Vec<Notice>,
}

impl Sources {
    /// Loads a tree for a target and renders its files.
    ///
    /// # Errors
    ///
    /// The tree cannot be read, or its settings are invalid. A manifest that cannot be rendered is not an error here.
    /// It is kept as a failure, because its consequences depend on the scope.
    pub async fn load(origin: Origin<'_>, target: Option<&str>, engines: &Engines) -> Result<Self, SourcesError> {
        let (reader, files) = Reader::open(origin).await?;
        Self::load_from(reader, files, target, engines).await
    }

    /// Loads a tree. Returns `None` if the root directory has no settings file and so is no project, or if the tree
    /// declares targets and this is none of them.
    ///
    /// # Errors
    ///
    /// As for [`Sources::load`].
    pub(crate) async fn load_if_project(
        origin: Origin<'_>,
        target: Option<&str>,
        engines: &Engines,
    ) -> Result<Option<Self>, SourcesError> {
        let (reader, files) = Reader::open(origin).await?;
        if !files.paths().contains(Path::new(SETTINGS_FILE)) {
            return Ok(None);
        }
        match Self::load_from(reader, files, target, engines).await {
            Err(SourcesError::Target(TargetError::Unknown { .. })) => Ok(None),
            loaded => loaded.map(Some),
        }
    }

    async fn load_from(
        mut reader: Reader<'_>,
        mut files: Files,
        target: Option<&str>,
        engines: &Engines,
    ) -> Result<Self, SourcesError> {
        let settings = files.selected(&|path| is_settings(path) || path == Path::new(LOCK_FILE));
        reader.load(&mut files, &settings).await?;
        let mut locked = Locked::of(&files).map_err(SourcesError::Settings)?;
        let tree = Tree::load(files.loaded(), target).map_err(SourcesError::Settings)?;
        tree.check_target().map_err(SourcesError::Target)?;
        // What a file refers to is known once the file is loaded. A source whose files are still missing in the end
        // fails to render.
        for _ in 0..ROUNDS {
            let wanted = wanted(&tree, &files, &locked);
            if wanted.is_empty() {
                break;
            }
            reader.load(&mut files, &wanted).await?;
        }
        let unfetched = unfetched(&tree, &files, &locked);
        if !unfetched.is_empty() {
            locked.archives = Box::pin(engines.archives(&unfetched)).await;
        }
        let jobs = jobs(&tree, &files, &locked);
        let (outputs, notices) = if jobs.is_empty() {
            (Outputs::new(), Vec::new())
        } else {
            (Box::pin(engines.run(jobs, &locked)).await, engines.notices())
        };
        // Templates can be slow in ways that the template engine does not count.
        let rendering = move || {
            let rendered = Box::new(render(&tree, &files, &locked, &outputs));
            Self { tree, files, rendered, notices }
        };
        in_time(TIME_TO_RENDER, rendering).await.ok_or(SourcesError::Late)
    }

    /// The files of the work tree that these sources were read from and depend on. The caller compares them with git.
    pub(crate) fn read_files<'a>(&'a self, prefix: &'a Path) -> ReadFiles<'a> {
        let loaded = self.files.loaded().iter().map(|(path, bytes)| (path.as_path(), bytes.as_slice()));
        // Git lists no hidden directories, and nothing outside the root directory, unless they are inputs.
        let is_beyond = |directory: &Path| directory.iter().any(|name| name.as_encoded_bytes().starts_with(b"."));
        let (beyond, files): (BTreeMap<_, _>, BTreeMap<_, _>) =
            loaded.partition(|(path, _)| path.parent().is_some_and(is_beyond));
        let asked = beyond.into_keys().chain(self.rendered.beyond());
        ReadFiles { prefix, files, inputs: self.tree.inputs().into_iter().chain(asked).collect() }
    }

    /// Returns `true` if these sources would read a file of this path.
    pub fn reads(&self, path: &Path) -> bool {
        self.rendered.reads(&self.tree, path)
    }

    /// The rendered documents and the failures, before the documents are resolved.
    pub fn rendered(&self) -> (&[Document], &[Failure]) {
        (&self.rendered.documents, &self.rendered.failures)
    }

    /// The inputs of each project, from which the scope of changed paths is computed.
    pub fn inputs(&self) -> &Inputs {
        &self.rendered.inputs
    }

    /// The kinds in `known`, and the kinds that the CRDs of this tree define.
    #[must_use]
    pub fn with_defined_kinds(&self, mut known: Kinds) -> Kinds {
        const KIND: &str = "CustomResourceDefinition";
        let is_definition = |body: &Value| {
            let text = |field| body.get(field).and_then(Value::as_str).unwrap_or_default();
            split_api_version(text("apiVersion")).0 == "apiextensions.k8s.io" && text("kind") == KIND
        };
        // Only a few documents name the kind, and only these are parsed.
        let named = self.rendered.documents.iter().filter(|document| document.body.json().contains(KIND));
        known.add_definitions(named.map(|document| &*document.body).filter(|body| is_definition(body)));
        known
    }

    /// The notice about values that replaced a value of another kind.
    fn values_of_other_kind(&self) -> Option<Notice> {
        let Conflict { key, winning, losing } = self.rendered.conflicts.first()?.clone();
        let others = self.rendered.conflicts.len() - 1;
        Some(Notice::ValuesOfOtherKind { key, winning, losing, others })
    }

    /// Resolves the desired objects with the given kinds.
    pub fn resolve(&self, kinds: &Kinds) -> Desired {
        let Resolved { manifests, failures, keep_previous, saved } =
            resolve::manifests(&self.rendered.documents, kinds);
        let failures = self.rendered.failures.iter().cloned().chain(failures).collect();
        let others = saved.len().saturating_sub(1);
        let saved = saved.into_iter().next().map(|first| Notice::SavedFromCluster { first, others });
        let unused = Some(&self.rendered.unused).filter(|unused| !unused.is_empty());
        let unused = unused.map(|unused| Notice::UnusedFiles(unused.clone()));
        let notices = saved
            .into_iter()
            .chain(unused)
            .chain(self.values_of_other_kind())
            .chain(self.release_notices())
            .chain(self.notices.clone())
            .collect();
        Desired { manifests, keep_previous, failures, notices }
    }

    /// Returns notices about the Helm releases of the tree.
    fn release_notices(&self) -> impl Iterator<Item = Notice> {
        let ReleaseFacts { unused_charts, never_applied, skipped, reads_time, reads_revision } =
            &self.rendered.releases;
        let about = |files: &BTreeSet<PathBuf>, notice: fn(BTreeSet<PathBuf>) -> Notice| {
            (!files.is_empty()).then(|| notice(files.clone()))
        };
        let counted = |counts: &BTreeMap<PathBuf, usize>, notice: fn(BTreeMap<PathBuf, usize>) -> Notice| {
            (!counts.is_empty()).then(|| notice(counts.clone()))
        };
        let notices = [
            about(unused_charts, Notice::UnusedCharts),
            counted(never_applied, Notice::HooksNeverApplied),
            counted(skipped, Notice::HooksSkipped),
            about(reads_time, Notice::ChartsReadTime),
            about(reads_revision, Notice::ChartsReadRevision),
        ];
        notices.into_iter().flatten()
    }
}

/// A tree that is open for reading.
enum Reader<'a> {
    WorkTree(WorkTree),
    Commit(CommitTree<'a>),
}

impl<'a> Reader<'a> {
    /// Lists the files of a tree.
    async fn open(origin: Origin<'a>) -> Result<(Self, Files), SourcesError> {
        match origin {
            Origin::WorkTree { root, top } => {
                let (tree, files) = WorkTree::open(root, top).map_err(SourcesError::WorkTree)?;
                Ok((Self::WorkTree(tree), files))
            }
            Origin::Commit(repository, commit, prefix) => {
                let opened = CommitTree::open(repository, commit, prefix).await;
                let (tree, files) = opened.map_err(SourcesError::Commit)?;
                Ok((Self::Commit(tree), files))
            }
        }
    }

    /// Loads the content of files.
    async fn load(&mut self, files: &mut Files, wanted: &BTreeSet<PathBuf>) -> Result<(), SourcesError> {
        match self {
            Self::WorkTree(tree) => tree.load(files, wanted).map_err(SourcesError::WorkTree),
            Self::Commit(tree) => tree.load(files, wanted).await.map_err(SourcesError::Commit),
        }
    }
}

/// Runs work on a thread of its own. Returns `None` if it does not end in time, and leaves the thread alone then: it ends
/// with the process.
async fn in_time<T: Send + 'static>(time: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, done) = mpsc::sync_channel(1);
    let worker = thread::Builder::new().name("render".into()).stack_size(STACK);
    worker.spawn(move || drop(sender.send(work()))).ok()?;
    // The time is the machine's, not the runtime's, which can be a simulated one.
    tokio::task::spawn_blocking(move || done.recv_timeout(time).ok()).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn k8_rendering_that_does_not_end_is_left_after_its_time() {
        let (sender, never) = mpsc::channel::<()>();
        assert_eq!(in_time(Duration::from_millis(20), move || never.recv().is_ok()).await, None);
        drop(sender);
        assert_eq!(in_time(Duration::from_mins(1), || 7).await, Some(7));
    }
}

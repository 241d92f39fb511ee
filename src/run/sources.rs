//! Collects the desired objects: loads the project tree and renders its files. Needs no cluster.

use std::collections::BTreeMap;
use std::path::Path;

use crate::git::commit::Commit;
use crate::git::error::GitError;
use crate::git::repository::Repository;
use crate::git::worktree::ReadFiles;
use crate::object::ident::{ObjectKey, split_api_version};
use crate::object::kinds::Kinds;
use crate::object::manifest::{Document, Manifest};
use crate::object::{exported, resolve};
use crate::plan::notice::Notice;
use crate::project::scope::Checkout;
use crate::project::snapshot::{Snapshot, SourceError, SourcePlace};
use crate::project::tree::{SETTINGS_FILE, Tree, is_settings};
use crate::render::source::{SourceReadError, read_worktree};
use crate::render::yaml::ValueBudget;
use crate::render::{plain, unsupported};

/// The place that a tree is read from.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A directory, as it is on disk.
    WorkTree(&'a Path),
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
}

/// A loaded tree with its documents.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The project tree.
    pub tree: Tree,
    /// The manifest files.
    pub files: Snapshot,
    /// The settings files.
    settings: Snapshot,
    documents: Vec<Document>,
    failures: Vec<SourceError>,
}

/// The desired objects of a tree, with its failures and notices.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// The desired objects by key.
    pub manifests: BTreeMap<ObjectKey, Manifest>,
    /// The failures of rendering or resolving, anywhere in the tree.
    pub failures: Vec<SourceError>,
    /// Notices about the manifests for readers of a plan.
    pub notices: Vec<Notice>,
}

impl Sources {
    /// Loads a tree and renders its files.
    ///
    /// # Errors
    ///
    /// The tree cannot be read, or its settings are invalid. A manifest that cannot be rendered is not an error here.
    /// It is kept as a failure, because its consequences depend on the scope.
    pub async fn load(origin: Origin<'_>) -> Result<Self, SourcesError> {
        let settings = read(origin, &is_settings).await?;
        let tree = Tree::load(&settings).map_err(SourcesError::Settings)?;
        let files = read(origin, &|path| tree.is_manifest(path)).await?;
        let mut documents = Vec::new();
        let mut failures = Vec::new();
        let mut budget = ValueBudget::default();
        for (path, bytes) in &files {
            match unsupported(path) {
                Some(source) => failures.push(SourceError::new(
                    SourcePlace::whole(path),
                    format!("{source} cannot be rendered yet: exclude it in .ktor.yaml, or render it to plain YAML"),
                )),
                None => match plain::manifests(path, bytes, &mut budget) {
                    Ok(found) => documents.extend(found),
                    Err(error) => failures.push(error),
                },
            }
        }
        Ok(Self { tree, files, settings, documents, failures })
    }

    /// Loads a tree. Returns `None` if the root directory has no settings file and so is no project.
    ///
    /// # Errors
    ///
    /// As for [`Sources::load`].
    pub(crate) async fn load_if_project(origin: Origin<'_>) -> Result<Option<Self>, SourcesError> {
        let root = read(origin, &|path| path == Path::new(SETTINGS_FILE)).await?;
        if root.is_empty() { Ok(None) } else { Self::load(origin).await.map(Some) }
    }

    /// The files of the work tree that these sources were read from and depend on. The caller compares them with git.
    pub(crate) fn read_files<'a>(&'a self, prefix: &'a Path) -> ReadFiles<'a> {
        let files = self.settings.iter().chain(&self.files);
        let files = files.map(|(path, bytes)| (path.as_path(), bytes.as_slice())).collect();
        ReadFiles { prefix, files, inputs: self.tree.inputs() }
    }

    /// Returns `true` if these sources would read a file of this path.
    pub fn reads(&self, path: &Path) -> bool {
        is_settings(path) || self.tree.is_manifest(path)
    }

    /// The tree and its files, from which the scope of changed paths is computed.
    pub fn checkout(&self) -> Checkout<'_> {
        Checkout { tree: &self.tree, files: &self.files }
    }

    /// The kinds in `known`, and the kinds that the CRDs of this tree define.
    #[must_use]
    pub fn with_defined_kinds(&self, mut known: Kinds) -> Kinds {
        let is_definition = |document: &&Document| {
            let text = |field| document.body.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
            split_api_version(text("apiVersion")).0 == "apiextensions.k8s.io"
                && text("kind") == "CustomResourceDefinition"
        };
        known.add_definitions(self.documents.iter().filter(is_definition).map(|document| &document.body));
        known
    }

    /// Resolves the desired objects with the given kinds.
    pub fn resolve(&self, kinds: &Kinds) -> Desired {
        let (manifests, errors) = resolve::manifests(&self.documents, &self.tree, kinds);
        let failures = self.failures.iter().cloned().chain(errors).collect();
        let saved: Vec<&Document> =
            self.documents.iter().filter(|document| exported::is_saved(&document.body)).collect();
        let notice =
            saved.first().map(|first| Notice::SavedFromCluster { first: first.place.clone(), others: saved.len() - 1 });
        Desired { manifests, failures, notices: notice.into_iter().collect() }
    }
}

async fn read(origin: Origin<'_>, select: &(dyn Fn(&Path) -> bool + Sync)) -> Result<Snapshot, SourcesError> {
    match origin {
        Origin::WorkTree(root) => read_worktree(root, &|path| select(path)).map_err(SourcesError::WorkTree),
        Origin::Commit(repository, commit, prefix) => {
            let read = repository.read_tree(commit, prefix, select).await.map_err(SourcesError::Commit)?;
            Ok(read.files)
        }
    }
}

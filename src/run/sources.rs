//! Collecting what is desired: the project tree and everything that can be rendered of it. No cluster needed.

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
use crate::project::scope::{Checkout, Scope};
use crate::project::snapshot::{Snapshot, SourceError, SourcePlace};
use crate::project::tree::{SETTINGS_FILE, Tree, is_settings};
use crate::render::source::{SourceReadError, read_worktree};
use crate::render::yaml::ValueBudget;
use crate::render::{plain, unsupported};

/// Where a tree is read from.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// The directory as it is.
    WorkTree(&'a Path),
    /// A commit; the prefix is the root directory's path in the repository.
    Commit(&'a Repository, &'a Commit, &'a Path),
}

/// A tree that could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// The work tree cannot be read.
    #[error(transparent)]
    WorkTree(SourceReadError),
    /// The commit cannot be read.
    #[error(transparent)]
    Commit(GitError),
    /// The settings are wrong.
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

/// The desired objects, and the documents that are none.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// By key.
    pub manifests: BTreeMap<ObjectKey, Manifest>,
    /// What could not be rendered or resolved, anywhere in the tree.
    pub failures: Vec<SourceError>,
    /// What a reader of a plan has to know about the manifests.
    pub notices: Vec<String>,
}

impl Sources {
    /// Loads a tree and renders its files.
    ///
    /// # Errors
    ///
    /// A tree that cannot be read, or whose settings are wrong. A manifest that cannot be rendered is kept as a
    /// failure: what it means depends on the scope.
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
                None => match plain::manifests_within(path, bytes, &mut budget) {
                    Ok(found) => documents.extend(found),
                    Err(error) => failures.push(error),
                },
            }
        }
        Ok(Self { tree, files, settings, documents, failures })
    }

    /// Loads a tree, where the root directory was a project already.
    ///
    /// # Errors
    ///
    /// As for [`Sources::load`].
    pub async fn load_if_project(origin: Origin<'_>) -> Result<Option<Self>, SourcesError> {
        let root = read(origin, &|path| path == Path::new(SETTINGS_FILE)).await?;
        if root.is_empty() { Ok(None) } else { Self::load(origin).await.map(Some) }
    }

    /// The files of the work tree that these sources were read from and depend on, for git to compare.
    pub fn read_files<'a>(&'a self, prefix: &'a Path) -> ReadFiles<'a> {
        let files = self.settings.iter().chain(&self.files);
        let files = files.map(|(path, bytes)| (path.as_path(), bytes.as_slice())).collect();
        ReadFiles { prefix, files, inputs: self.tree.inputs() }
    }

    /// Whether a file of this path would be read.
    pub fn reads(&self, path: &Path) -> bool {
        is_settings(path) || self.tree.is_manifest(path)
    }

    /// The tree and its files, for the scope of changed paths.
    pub fn checkout(&self) -> Checkout<'_> {
        Checkout { tree: &self.tree, files: &self.files }
    }

    /// The kinds of `known` and those that this tree's CRDs define.
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

    /// The desired objects, given the kinds there are.
    pub fn resolve(&self, kinds: &Kinds) -> Desired {
        let (manifests, errors) = resolve::manifests(&self.documents, &self.tree, kinds);
        let failures = self.failures.iter().cloned().chain(errors).collect();
        let saved: Vec<&Document> =
            self.documents.iter().filter(|document| exported::is_saved(&document.body)).collect();
        let notice = saved.first().map(|first| {
            let others = if saved.len() == 1 { String::new() } else { format!(" and {} more", saved.len() - 1) };
            format!(
                "The manifest at {}{others} was saved from a cluster: what only a server writes is left out (status, \
                 managed fields, owners, generated labels).",
                first.place
            )
        });
        Desired { manifests, failures, notices: notice.into_iter().collect() }
    }

    /// The failures that concern projects in scope.
    pub fn failures_in(&self, desired: &Desired, scope: &Scope) -> Vec<SourceError> {
        let in_scope = |error: &&SourceError| scope.contains(self.tree.project_of(&error.place.path));
        desired.failures.iter().filter(in_scope).cloned().collect()
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

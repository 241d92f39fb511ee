//! A project on disk: finds it, reads its sources, compares it with other commits, and builds the request of a run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::cluster::connect::Cluster;
use crate::cluster::lock::LockRequest;
use crate::git::commit::Commit;
use crate::git::error::GitError;
use crate::git::repository::Repository;
use crate::object::kinds::Kinds;
use crate::object::mark::Root;
use crate::object::redact::Redactor;
use crate::plan::field_rules::managers_of;
use crate::plan::guard::TreeDoubt;
use crate::plan::notice::Notice;
use crate::plan::policy::{Policy, Reviewed, SourceCoverage};
use crate::plan::signature::SigningKeys;
use crate::process::{Environment, engine};
use crate::project::changed::RootChange;
use crate::project::path::ProjectPath;
use crate::project::scope::{ScopeRequest, touched};
use crate::project::settings::{SETTINGS_FILE, is_settings};
use crate::project::tree::Tree;
use crate::render::lock::LOCK_FILE;
use crate::render::source::read_worktree;
use crate::run::decide::{BaseTree, RunRequest, ScopeBasis};
use crate::run::error::{RunError, chain};
use crate::run::options::{PolicyOptions, ScopeOptions};
use crate::run::record::Store;
use crate::run::review::ReviewBasis;
use crate::run::sources::{Engines, Origin, Sources, SourcesError};
use crate::state::lateness::CommitRefusal;
use crate::state::provenance::{Claim, Provenance, ProvenanceMatch, RepositoryName};
use crate::state::target::{TargetClaim, TargetMatch};
use crate::state::transition::{Prior, RunCommits};

/// The reason why a project cannot be loaded, or cannot be used as asked.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The directory cannot be read.
    #[error("{} cannot be read", .directory.display())]
    Unreadable {
        /// The directory, as it was named.
        directory: PathBuf,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
    /// The path does not name a directory.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// The directory is a sub-project of another project.
    #[error("{} lies in the project at {}", .directory.display(), .root.display())]
    SubProject {
        /// The directory, as it was named.
        directory: PathBuf,
        /// The directory of the root project.
        root: PathBuf,
        /// The name of the sub-project, if the root project can be loaded.
        project: Option<ProjectPath>,
    },
    /// The directory is in no repository, and the caller needs one.
    #[error("{needed_by} needs a git repository, and {} is in none", .directory.display())]
    NoRepository {
        /// The operation that needs the repository.
        needed_by: &'static str,
        /// The directory.
        directory: PathBuf,
    },
    /// The tree comes from another repository or directory than the state records.
    #[error("the tree comes from another place than the state records")]
    Elsewhere(TreeDoubt),
    /// The commit that is checked out is not applied, and a person has to decide.
    #[error("{head} is not applied: {refusal}")]
    CommitRefused {
        /// The commit.
        head: String,
        /// The reason.
        refusal: CommitRefusal,
    },
    /// Git fails.
    #[error(transparent)]
    Git(GitError),
    /// The tree cannot be read.
    #[error(transparent)]
    Sources(SourcesError),
}

impl From<GitError> for WorkspaceError {
    fn from(error: GitError) -> Self {
        Self::Git(error)
    }
}

impl From<SourcesError> for WorkspaceError {
    fn from(error: SourcesError) -> Self {
        Self::Sources(error)
    }
}

/// The limits on the rendering of a project, which depend on the author of its content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rendering<'a> {
    /// The limits of the engines.
    pub(crate) policy: engine::Policy,
    /// The commit whose lock names the charts that may be fetched for content that anyone may have written.
    pub(crate) trusted: Option<&'a Commit>,
}

impl Rendering<'_> {
    /// The limits on the repository's own content.
    const OWN: Self = Self { policy: engine::Policy::OWN, trusted: None };
}

/// A loaded project.
pub struct Workspace {
    /// The root directory.
    pub directory: PathBuf,
    /// The git repository that contains the root directory, if there is one.
    pub repository: Option<Repository>,
    /// The path of the root directory in the repository. Empty without a repository.
    pub prefix: PathBuf,
    /// The repository and directory that the tree comes from. `None` if other clones do not know the repository by a
    /// common name.
    pub place: Option<Provenance>,
    /// The root.
    pub root: Root,
    /// The target that the caller names.
    pub target: Option<String>,
    /// The sources in the work tree.
    pub sources: Sources,
    /// The engines that render sources. Another tree of this project is rendered with the same ones.
    engines: Box<Engines>,
}

/// The tree that a project is compared with.
pub struct Base {
    /// The commit of the tree.
    pub commit: Commit,
    /// The sources of the tree. `None` if there was no project at this commit, or if the commit cannot be read.
    pub sources: Option<Sources>,
    /// The projects that changed since this commit. If the commit cannot be read, these are all projects.
    pub touched: BTreeSet<ProjectPath>,
    /// A notice for the user about the choice of this base.
    pub notice: Option<String>,
    /// The reason why the tree cannot be read. If set, the run deletes nothing.
    pub unreadable: Option<Notice>,
}

impl Base {
    /// Returns the tree before the changes.
    pub(crate) fn before(&self) -> BaseTree {
        match &self.sources {
            Some(sources) => BaseTree::Tree(Arc::new(sources.clone())),
            None if self.unreadable.is_some() => BaseTree::Unreadable,
            None => BaseTree::Nothing,
        }
    }
}

impl Workspace {
    /// Loads the project at a directory.
    ///
    /// # Errors
    ///
    /// There is no project, the directory is a sub-project of another project, or the settings are wrong.
    pub(crate) async fn open(
        path: &Path,
        target: Option<&str>,
        environment: &Environment,
    ) -> Result<Self, WorkspaceError> {
        Self::open_within((path, target), None, environment, Rendering::OWN).await
    }

    /// Loads the project at a directory, for a target. If `boundary` contains the directory, only a repository within
    /// `boundary` counts. `rendering` limits the engines that render the project.
    ///
    /// # Errors
    ///
    /// The errors of [`Workspace::open`].
    pub(crate) async fn open_within(
        (path, target): (&Path, Option<&str>),
        boundary: Option<&Path>,
        environment: &Environment,
        rendering: Rendering<'_>,
    ) -> Result<Self, WorkspaceError> {
        let Located { directory, repository, prefix } = located(path, boundary, environment).await?;
        let top = repository.as_ref().map_or(directory.as_path(), Repository::top);
        let engines = Box::new(Engines::new(environment.clone(), rendering.policy));
        if let (Some(repository), Some(commit)) = (&repository, rendering.trusted)
            && directory.join(LOCK_FILE).is_file()
        {
            // A commit that cannot be had names no chart.
            drop(repository.fetch_commit("origin", commit).await);
            engines.trust(repository, commit, &prefix).await;
        }
        let sources = Box::pin(Sources::load(Origin::WorkTree { root: &directory, top }, target, &engines)).await?;
        let root = Root::new(sources.tree.root().root());
        let place = match &repository {
            Some(repository) => {
                let addresses = repository.remote_addresses("origin").await?;
                let name = addresses.iter().find_map(|address| RepositoryName::of_address(address));
                name.and_then(|name| Provenance::new(name, &prefix))
            }
            None => None,
        };
        let target = target.map(str::to_owned);
        Ok(Self { directory, repository, prefix, place, root, target, sources, engines })
    }

    /// Returns the place that the tree comes from, and the caller's permission for a place that differs from the
    /// recorded one.
    fn claim(&self, policy: &PolicyOptions) -> Claim {
        Claim { here: self.place.clone(), relocation: policy.relocation }
    }

    /// Refuses a tree that comes from another place, or is for another target, than the state records. This check comes before the commits are
    /// compared, because commits of another repository have no order.
    ///
    /// # Errors
    ///
    /// The tree comes from another place or is for another target, and the caller does not allow it.
    pub(crate) fn check_place(request: &RunRequest, prior: &Prior) -> Result<(), WorkspaceError> {
        match request.claim.judged(prior.source.as_ref()) {
            ProvenanceMatch::Elsewhere { recorded, here } => {
                Err(WorkspaceError::Elsewhere(TreeDoubt::Elsewhere { recorded, here }))
            }
            ProvenanceMatch::Same(_) | ProvenanceMatch::Moved { .. } => {
                match request.target.judged(prior.target.as_deref()) {
                    TargetMatch::Other { recorded, here } => {
                        Err(WorkspaceError::Elsewhere(TreeDoubt::OtherTarget { recorded, here }))
                    }
                    TargetMatch::Same(_) | TargetMatch::Changed { .. } => Ok(()),
                }
            }
        }
    }

    /// Returns the repository, for callers that cannot work without one. `needed_by` names the caller in the message.
    ///
    /// # Errors
    ///
    /// There is no repository.
    pub(crate) fn repository(&self, needed_by: &'static str) -> Result<&Repository, WorkspaceError> {
        let absent = || WorkspaceError::NoRepository { needed_by, directory: self.directory.clone() };
        self.repository.as_ref().ok_or_else(absent)
    }

    /// Returns the base for a revision, with the projects that the work tree changes since then.
    ///
    /// # Errors
    ///
    /// There is no repository, or the revision is unknown.
    pub async fn base(&self, revision: &str) -> Result<Base, WorkspaceError> {
        let base = self.repository("a base revision")?.base_for(revision).await?;
        let notice = base.notice.map(|notice| notice.to_string());
        Ok(Base { notice, ..self.compared(base.commit, BTreeSet::new()).await? })
    }

    /// Returns a commit as the base, with the projects that changed since then: in the commits up to `head`, and in
    /// files of the work tree that differ from the base. A missing commit gives a base that cannot be read.
    ///
    /// # Errors
    ///
    /// There is no repository, or git fails.
    pub(crate) async fn base_at(&self, base: &Commit, head: &Commit) -> Result<Base, WorkspaceError> {
        let repository = self.repository("a comparison of commits")?;
        match repository.changed_between(base, head).await {
            Ok(changed) => self.compared(base.clone(), changed).await,
            Err(error @ GitError::MissingCommit { .. }) => Ok(self.unreadable(base.clone(), &error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Fetches a commit and returns it as the base, like [`Workspace::base_at`]. A commit that cannot be fetched gives a
    /// base that cannot be read.
    ///
    /// # Errors
    ///
    /// The errors of [`Workspace::base_at`].
    pub(crate) async fn base_fetched(&self, base: &Commit, head: &Commit) -> Result<Base, WorkspaceError> {
        match self.repository("a comparison of commits")?.fetch_commit("origin", base).await {
            Ok(()) => self.base_at(base, head).await,
            Err(error) => Ok(self.unreadable(base.clone(), &error)),
        }
    }

    /// Returns a base that cannot be read. Every project counts as changed, and the content of the base is unknown.
    fn unreadable(&self, commit: Commit, why: &dyn std::error::Error) -> Base {
        let unreadable = Notice::BaseUnreadable { commit: commit.short().to_owned(), why: chain(why) };
        let touched = self.sources.tree.projects();
        Base { commit, sources: None, touched, notice: None, unreadable: Some(unreadable) }
    }

    async fn compared(&self, commit: Commit, mut changed: BTreeSet<PathBuf>) -> Result<Base, WorkspaceError> {
        let repository = self.repository("a comparison of commits")?;
        self.engines.trust(repository, &commit, &self.prefix).await;
        let origin = Origin::Commit(repository, &commit, &self.prefix);
        let sources = match Box::pin(Sources::load_if_project(origin, self.target.as_deref(), &self.engines)).await {
            Ok(sources) => sources,
            Err(error) => return Ok(self.unreadable(commit, &error)),
        };
        let reads = |path: &Path| self.sources.reads(path) || sources.iter().any(|base| base.reads(path));
        changed.extend(repository.differing(&commit, &self.sources.read_files(&self.prefix), &reads).await?);
        let base = sources.as_ref().map(Sources::inputs);
        let mut touched = touched(&changed, &self.prefix, base, self.sources.inputs());
        touched.extend(base.into_iter().flat_map(|base| base.moved(self.sources.inputs())).cloned());
        Ok(Base { commit, sources, touched, notice: None, unreadable: None })
    }

    /// Returns the commit of the work tree if every file that was read is identical to that commit.
    ///
    /// # Errors
    ///
    /// Git fails.
    pub(crate) async fn clean_commit(&self) -> Result<Option<Commit>, WorkspaceError> {
        let Some(repository) = &self.repository else { return Ok(None) };
        let Ok(head) = repository.head().await else { return Ok(None) };
        let read = self.sources.read_files(&self.prefix);
        let differing = repository.differing(&head, &read, &|path| self.sources.reads(path)).await?;
        Ok(differing.is_empty().then_some(head))
    }

    /// Reads the current state, without the lock.
    ///
    /// # Errors
    ///
    /// The state cannot be read or cannot be used.
    pub async fn prior(&self, cluster: &Cluster) -> Result<Prior, RunError> {
        Ok(self.prior_and_keys(cluster).await?.0)
    }

    /// Reads the current state and the keys that plans are signed with, without the lock.
    ///
    /// # Errors
    ///
    /// The errors of [`Workspace::prior`].
    pub(crate) async fn prior_and_keys(&self, cluster: &Cluster) -> Result<(Prior, Option<SigningKeys>), RunError> {
        let namespace = &self.sources.tree.settings().state_namespace;
        let (store, prior) = Store::open(cluster, namespace, &self.root).await?;
        Ok((prior, store.signing_keys()))
    }

    /// Returns the same project with the sources of a commit in place of those of the work tree.
    ///
    /// # Errors
    ///
    /// There is no repository, the commit has no project at this place, or it cannot be read.
    pub(crate) async fn at(self, commit: &Commit) -> Result<Self, WorkspaceError> {
        let repository = self.repository("a merge")?;
        let sources = Box::pin(Sources::load(
            Origin::Commit(repository, commit, &self.prefix),
            self.target.as_deref(),
            &self.engines,
        ))
        .await?;
        let root = Root::new(sources.tree.root().root());
        Ok(Self { root, sources, ..self })
    }

    /// Returns the sources of a commit, or `None` if the commit has no project at this place.
    ///
    /// # Errors
    ///
    /// There is no repository, or the commit cannot be read.
    pub(crate) async fn sources_at(&self, commit: &Commit) -> Result<Option<Sources>, WorkspaceError> {
        let repository = self.repository("a comparison of commits")?;
        let origin = Origin::Commit(repository, commit, &self.prefix);
        Ok(Box::pin(Sources::load_if_project(origin, self.target.as_deref(), &self.engines)).await?)
    }

    /// Returns the paths whose changes can change the objects of the root, relative to the top of the repository. An
    /// empty list means every path.
    pub(crate) fn input_paths(&self) -> Vec<PathBuf> {
        if self.prefix.as_os_str().is_empty() || self.sources.inputs().lead_beyond() {
            return Vec::new();
        }
        vec![self.prefix.clone()]
    }

    /// Returns `true` if the state contains an object that the tree no longer asks for. An object of a kind that only
    /// the cluster knows may also count.
    pub fn has_orphans(&self, prior: &Prior) -> bool {
        let desired = self.sources.resolve(&self.sources.with_defined_kinds(Kinds::builtin().clone())).manifests;
        prior.entries.keys().into_iter().any(|key| !desired.contains_key(key))
    }

    /// Builds the request of a run of this project, with the run's name and time.
    pub(crate) fn request(
        &self,
        scope: &ScopeOptions,
        policy: &PolicyOptions,
        base: Option<&Base>,
        (run, now): (String, Timestamp),
    ) -> RunRequest {
        let tree = &self.sources.tree;
        let earlier = base.and_then(|base| base.sources.as_ref()).map(|base| &base.tree);
        let root_change = earlier.map(|earlier| RootChange::between(earlier, tree)).unwrap_or_default();
        let mut lowered = lowered(policy, base, tree);
        // If the change of the root's settings is refused, nothing is applied. The plan then reads the state in the old
        // namespace.
        if let Some(earlier) = earlier.filter(|_| root_change.moved_state.is_some()) {
            lowered.state_namespace.clone_from(&earlier.settings().state_namespace);
        }
        RunRequest {
            root: self.root.clone(),
            scope: ScopeRequest {
                include: scope.include.clone(),
                exclude: scope.exclude.clone(),
                touched: base.filter(|base| base.unreadable.is_none()).map(|base| base.touched.clone()),
            },
            policy: lowered,
            redactor: self.redactor(policy, base),
            run,
            commits: RunCommits::default(),
            known: base.and_then(|base| base.sources.as_ref()).map(|base| base.tree.projects()).unwrap_or_default(),
            approved: None,
            since: ScopeBasis::Unasked,
            root_change,
            claim: self.claim(policy),
            target: TargetClaim { here: tree.target().map(str::to_owned), retarget: policy.retarget },
            notices: base.and_then(|base| base.unreadable.clone()).into_iter().collect(),
            before: base.map_or(BaseTree::Unknown, Base::before),
            review: ReviewBasis::Policy,
            now,
        }
    }

    /// Returns the redactor. A field that the base hides stays hidden, even if the work tree shows it.
    fn redactor(&self, options: &PolicyOptions, base: Option<&Base>) -> Redactor {
        // If the base cannot be read, the fields that it hides are unknown.
        if base.is_some_and(|base| base.unreadable.is_some()) {
            return Redactor::hiding_all();
        }
        let base = base.and_then(|base| base.sources.as_ref());
        let hidden = [&self.sources].into_iter().chain(base).flat_map(|sources| &sources.tree.settings().redact);
        Redactor::new(hidden.chain(&options.redact).cloned(), options.adopted)
    }

    /// Builds the request for the lock.
    pub(crate) fn lock(&self, timeout: Duration, holder: &str, url: Option<String>) -> LockRequest {
        LockRequest {
            namespace: self.sources.tree.settings().state_namespace.clone(),
            root: self.root.clone(),
            holder: holder.to_owned(),
            timeout,
            run_url: url,
        }
    }
}

/// Returns the name of a run: the given name, and a number from `seed` that makes it unique.
pub(crate) fn run_name(who: &str, seed: [u8; 16]) -> String {
    let number: String = seed.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{who}#{number}")
}

/// Lowers the options to the policy of the plan.
fn lowered(options: &PolicyOptions, base: Option<&Base>, tree: &Tree) -> Policy {
    let settings = tree.settings();
    let unreadable = base.is_some_and(|base| base.unreadable.is_some());
    Policy {
        sources: if unreadable { SourceCoverage::BaseUnknown } else { SourceCoverage::Complete },
        adoption: options.adoption,
        take_over: options.take_over.clone(),
        reviewed: Reviewed::NotRequired,
        allowed: options.allowed.clone(),
        fields: settings.fields.clone(),
        adopt_managers: settings.adopt_managers.iter().flat_map(|name| managers_of(name)).collect(),
        ..Policy::new(options.cleanup.unwrap_or(settings.cleanup), &settings.state_namespace)
    }
}

/// A directory, with its place in a repository.
pub(crate) struct Located {
    /// The directory, without links in its path.
    pub(crate) directory: PathBuf,
    /// The repository that contains the directory, if there is one.
    pub(crate) repository: Option<Repository>,
    /// The path of the directory in the repository.
    prefix: PathBuf,
}

/// Finds a root directory and its repository. If `boundary` contains the directory, only a repository within `boundary`
/// counts.
///
/// # Errors
///
/// The path is not a directory, or the directory is a sub-project of another project.
pub(crate) async fn located(
    path: &Path,
    boundary: Option<&Path>,
    environment: &Environment,
) -> Result<Located, WorkspaceError> {
    let named = || path.to_owned();
    let directory = path.canonicalize();
    let directory = directory.map_err(|source| WorkspaceError::Unreadable { directory: named(), source })?;
    if !directory.is_dir() {
        return Err(WorkspaceError::NotADirectory(named()));
    }
    let repository = Repository::discover(&directory, boundary, environment).await?;
    let prefix = match &repository {
        Some(repository) => {
            refuse_sub_project(&directory, repository.top())?;
            repository.prefix(&directory)?
        }
        None => PathBuf::new(),
    };
    Ok(Located { directory, repository, prefix })
}

/// Returns the names of the targets that the tree at a directory declares.
///
/// # Errors
///
/// There is no project, or the settings are wrong.
pub(crate) fn declared_targets(directory: &Path) -> Result<Vec<String>, WorkspaceError> {
    let files = read_worktree(directory, &is_settings).map_err(SourcesError::WorkTree)?;
    let tree = Tree::load(&files, None).map_err(SourcesError::Settings)?;
    Ok(tree.declared_targets())
}

/// Refuses a directory that is a sub-project of a project above it. Otherwise, it would become a second root by
/// accident.
fn refuse_sub_project(directory: &Path, top: &Path) -> Result<(), WorkspaceError> {
    let top = top.canonicalize().unwrap_or_else(|_| top.to_owned());
    let above = directory.ancestors().skip(1).take_while(|ancestor| ancestor.starts_with(&top));
    let Some(root) = above.filter(|ancestor| ancestor.join(SETTINGS_FILE).is_file()).last() else { return Ok(()) };
    let project =
        read_worktree(root, &is_settings).ok().and_then(|files| Tree::load(&files, None).ok()).and_then(|tree| {
            let below = directory.strip_prefix(root).ok()?;
            Some(tree.project_of(&below.join("any.yaml")).clone())
        });
    Err(WorkspaceError::SubProject { directory: directory.to_owned(), root: root.to_owned(), project })
}

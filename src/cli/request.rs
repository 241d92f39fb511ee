//! Lowers arguments into requests: finds the project, reads its sources, decides what is asked of the run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::args::{ClusterArgs, PolicyArgs, ProjectArgs, ShowArgs, WaitArgs};
use super::diagnostic::CliError;
use super::env::{self, Variables};
use crate::cluster::connect::Cluster;
use crate::cluster::lock::LockRequest;
use crate::git::commit::Commit;
use crate::git::repository::Repository;
use crate::object::mark::Root;
use crate::object::redact::Redactor;
use crate::plan::field_rules::managers_of;
use crate::plan::policy::{Policy, Reviewed};
use crate::project::changed::RootChange;
use crate::project::path::ProjectPath;
use crate::project::scope::{ScopeRequest, touched};
use crate::project::snapshot::printable;
use crate::project::tree::{SETTINGS_FILE, Tree, is_settings};
use crate::render::source::read_worktree;
use crate::run::decide::{RunRequest, Since};
use crate::run::sources::{Origin, Sources};
use crate::state::transition::RunCommits;

/// A loaded project, and the tree that it is compared with.
pub struct Project {
    /// The root directory.
    pub directory: PathBuf,
    /// The repository around it.
    pub repository: Option<Repository>,
    /// The root directory's path in the repository.
    pub prefix: PathBuf,
    /// The root.
    pub root: Root,
    /// The tree as it is.
    pub sources: Sources,
}

/// The tree that a project is compared with.
pub struct Base {
    /// The commit.
    pub commit: Commit,
    /// Its tree; absent where it was no project then.
    pub sources: Option<Sources>,
    /// The projects that the changes since then concern.
    pub touched: BTreeSet<ProjectPath>,
    /// What the user should know about it.
    pub notice: Option<String>,
}

impl Project {
    /// Loads the project at a directory.
    ///
    /// # Errors
    ///
    /// No project there, a sub-project of another one, or settings that are wrong.
    pub async fn open(path: &Path, variables: &Variables) -> Result<Self, CliError> {
        let directory = path.canonicalize().map_err(|error| {
            CliError::usage(format!(
                "-p {} cannot be read ({error}): name the project's root directory",
                printable(path)
            ))
        })?;
        if !directory.is_dir() {
            return Err(CliError::usage(format!(
                "-p {} is no directory: name the project's root directory",
                printable(path)
            )));
        }
        let repository = Repository::discover(&directory, &variables.for_programs()).await?;
        let prefix = match &repository {
            Some(repository) => {
                refuse_sub_project(&directory, repository.top())?;
                repository.prefix(&directory)?
            }
            None => PathBuf::new(),
        };
        let sources = Sources::load(Origin::WorkTree(&directory)).await?;
        let root = Root::new(sources.tree.root().root());
        Ok(Self { directory, repository, prefix, root, sources })
    }

    /// The repository, where the caller cannot do without.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn repository(&self, needed_by: &str) -> Result<&Repository, CliError> {
        self.repository.as_ref().ok_or_else(|| {
            let directory = printable(&self.directory);
            CliError::usage(format!(
                "{needed_by} needs a git repository, and {directory} is in none: clone it with git"
            ))
        })
    }

    /// The base that `--base REV` names, and what the work tree changes since.
    ///
    /// # Errors
    ///
    /// No repository, an unknown revision, or a base tree that cannot be read.
    pub async fn base(&self, revision: &str) -> Result<Base, CliError> {
        let repository = self.repository("--base")?;
        let base = repository.base_for(revision).await?;
        let changed = repository.changed_in_worktree(&base.commit).await?;
        let notice = base.notice.map(|notice| notice.to_string());
        self.compared(repository, base.commit, &changed.paths, notice).await
    }

    /// A commit as the base, and what the work tree's own commit changes since.
    ///
    /// # Errors
    ///
    /// Git cannot compare the two, or the base tree cannot be read.
    pub async fn base_at(&self, base: &Commit, head: &Commit) -> Result<Base, CliError> {
        let repository = self.repository("comparing commits")?;
        let changed = repository.changed_between(base, head).await?;
        self.compared(repository, base.clone(), &changed.paths, None).await
    }

    async fn compared(
        &self,
        repository: &Repository,
        commit: Commit,
        changed: &BTreeSet<PathBuf>,
        notice: Option<String>,
    ) -> Result<Base, CliError> {
        let sources = Sources::load_if_project(Origin::Commit(repository, &commit, &self.prefix)).await?;
        let checkouts: Vec<_> = sources.iter().chain([&self.sources]).map(Sources::checkout).collect();
        let touched = touched(&checkouts, &self.prefix, changed);
        Ok(Base { commit, sources, touched, notice })
    }

    /// The commit of the work tree, where nothing in the project differs from it.
    ///
    /// # Errors
    ///
    /// Git fails.
    pub async fn clean_commit(&self) -> Result<Option<Commit>, CliError> {
        match &self.repository {
            Some(repository) if repository.is_clean_within(&self.prefix).await? => Ok(repository.head().await.ok()),
            _ => Ok(None),
        }
    }

    /// The commits that an apply of the work tree records.
    ///
    /// # Errors
    ///
    /// Git fails.
    pub async fn commits(&self) -> Result<RunCommits, CliError> {
        let begun = match &self.repository {
            Some(repository) => repository.head().await.ok().map(|commit| commit.as_str().to_owned()),
            None => None,
        };
        let ledger = self.clean_commit().await?.map(|commit| commit.as_str().to_owned());
        Ok(RunCommits { begun, ledger, accepted: None })
    }

    /// What is asked of a run of this project.
    pub fn request(&self, args: &ProjectArgs, policy: &PolicyArgs, base: Option<&Base>, run: String) -> RunRequest {
        let tree = &self.sources.tree;
        let earlier = base.and_then(|base| base.sources.as_ref()).map(|base| &base.tree);
        let root_change = earlier.map(|earlier| RootChange::between(earlier, tree)).unwrap_or_default();
        let mut lowered = lowered(policy, tree);
        // A plan looks at the state where it is; nothing is applied then.
        if let Some(earlier) = earlier.filter(|_| root_change.refusal.is_some()) {
            lowered.state_namespace.clone_from(&earlier.settings().state_namespace);
        }
        RunRequest {
            root: self.root.clone(),
            scope: ScopeRequest {
                include: args.include_project.clone(),
                exclude: args.exclude_project.clone(),
                touched: base.map(|base| base.touched.clone()),
            },
            policy: lowered,
            redactor: self.redactor(&policy.show, base),
            run,
            commits: RunCommits::default(),
            known: base.and_then(|base| base.sources.as_ref()).map(|base| base.tree.projects()).unwrap_or_default(),
            approved: None,
            since: Since::Unasked,
            root_change,
        }
    }

    /// What may be shown: the fields that the base hides stay hidden, whatever the head says.
    fn redactor(&self, show: &ShowArgs, base: Option<&Base>) -> Redactor {
        let base = base.and_then(|base| base.sources.as_ref());
        let hidden = [&self.sources].into_iter().chain(base).flat_map(|sources| &sources.tree.settings().redact);
        Redactor::new(hidden.chain(&show.redact).cloned(), show.show_adopted)
    }

    /// What is asked of the lock.
    pub fn lock(&self, wait: &WaitArgs, holder: &str, url: Option<String>) -> LockRequest {
        LockRequest {
            namespace: self.sources.tree.settings().state_namespace.clone(),
            root: self.root.clone(),
            holder: holder.to_owned(),
            timeout: wait.lock_timeout,
            run_url: url,
        }
    }
}

/// A run's name: who, and a number that no other run has.
pub fn run_name(who: &str) -> String {
    let seed = env::seed();
    let number: String = seed.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{who}#{number}")
}

/// Connects to the cluster.
///
/// # Errors
///
/// One sentence that says what to do.
pub async fn connect(args: &ClusterArgs, wait: Option<&WaitArgs>, variables: &Variables) -> Result<Cluster, CliError> {
    let options = env::connect_options(args.kubeconfig.as_deref(), args.context.as_deref(), variables);
    let mut settings = args.settings.clone();
    if let Some(wait) = wait {
        settings.readiness_timeout = wait.readiness_timeout;
    }
    Cluster::connect_with(&options, settings).await.map_err(|error| {
        let CliError { messages, .. } = CliError::failure(&error);
        CliError::new(super::exit::Exit::Failure, format!("failed to {}", messages.join(": ")))
    })
}

fn lowered(args: &PolicyArgs, tree: &Tree) -> Policy {
    let settings = tree.settings();
    Policy {
        adoption: args.no_adopt,
        take_over: args.take_over.clone(),
        reviewed: Reviewed::NotRequired,
        allow_empty: args.allow_empty,
        allow_mass_deletion: args.allow_mass_deletion,
        allow_replacement: args.allow_replacement,
        allow_namespace_deletion: args.allow_namespace_deletion,
        allow_crd_deletion: args.allow_crd_deletion,
        allow_volume_deletion: args.allow_volume_deletion,
        allow_foreign_deletion: args.allow_foreign_deletion,
        fields: settings.fields.clone(),
        adopt_managers: settings.adopt_managers.iter().flat_map(|name| managers_of(name)).collect(),
        ..Policy::new(args.cleanup.unwrap_or(settings.cleanup), &settings.state_namespace)
    }
}

/// Refuses a directory that is a sub-project of one above it: it would become a second root by accident.
fn refuse_sub_project(directory: &Path, top: &Path) -> Result<(), CliError> {
    let top = top.canonicalize().unwrap_or_else(|_| top.to_owned());
    let above = directory.ancestors().skip(1).take_while(|ancestor| ancestor.starts_with(&top));
    let Some(root) = above.filter(|ancestor| ancestor.join(SETTINGS_FILE).is_file()).last() else { return Ok(()) };
    let project = read_worktree(root, &is_settings).ok().and_then(|files| Tree::load(&files).ok()).and_then(|tree| {
        let below = directory.strip_prefix(root).ok()?;
        Some(tree.project_of(&below.join("any.yaml")).clone())
    });
    let include = project.map_or_else(|| "-I".to_owned(), |project| format!("-I {project}"));
    Err(CliError::usage(format!(
        "{} lies in the project at {}: run with -p {} {include}",
        printable(directory),
        printable(root),
        printable(root)
    )))
}

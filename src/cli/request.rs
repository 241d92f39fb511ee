//! Lowers arguments into requests: finds the project, reads its sources, decides what is asked of the run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ancestry;
use super::args::{ClusterArgs, HistoryArgs, PolicyArgs, ProjectArgs, ShowArgs, WaitArgs};
use super::diagnostic::{CliError, Console, chain};
use super::env::{self, Variables};
use super::exit::Exit;
use crate::cluster::connect::Cluster;
use crate::cluster::lock::LockRequest;
use crate::git::commit::Commit;
use crate::git::error::GitError;
use crate::git::repository::Repository;
use crate::object::kinds::Kinds;
use crate::object::mark::Root;
use crate::object::redact::Redactor;
use crate::plan::field_rules::managers_of;
use crate::plan::guard::Guard;
use crate::plan::policy::{Policy, Reviewed, SourceCoverage};
use crate::project::changed::RootChange;
use crate::project::path::ProjectPath;
use crate::project::scope::{ScopeRequest, touched};
use crate::project::snapshot::printable;
use crate::project::tree::{SETTINGS_FILE, Tree, is_settings};
use crate::render::source::read_worktree;
use crate::report::shell::quoted_path;
use crate::run::decide::{BaseTree, RunRequest, ScopeBasis};
use crate::run::error::RunError;
use crate::run::record::Store;
use crate::run::sources::{Origin, Sources};
use crate::state::commits::Commits;
use crate::state::lateness::{self, Acceptance, Caller, CommitOrder, CommitVerdict, Facts, Recording, Tip};
use crate::state::provenance::{Claim, Provenance, ProvenanceMatch, RepositoryName};
use crate::state::transition::{Prior, RunCommits};

/// A loaded project, and the tree that it is compared with.
pub struct Project {
    /// The root directory.
    pub directory: PathBuf,
    /// The repository around it.
    pub repository: Option<Repository>,
    /// The root directory's path in the repository.
    pub prefix: PathBuf,
    /// The place that the tree is taken from, where others know it by that name too.
    pub place: Option<Provenance>,
    /// The root.
    pub root: Root,
    /// The tree as it is.
    pub sources: Sources,
}

/// The tree that a project is compared with.
pub struct Base {
    /// The commit.
    pub commit: Commit,
    /// Its tree; absent where it was no project then, or where it cannot be read.
    pub sources: Option<Sources>,
    /// The projects that the changes since then concern: all of them where it cannot be read.
    pub touched: BTreeSet<ProjectPath>,
    /// What the user should know about it.
    pub notice: Option<String>,
    /// Why it cannot be read. Nothing is deleted then.
    pub unreadable: Option<String>,
}

/// What a run may do because of its commit, and what it records of it.
pub struct Judged {
    /// The commit that is checked out.
    pub head: Option<Commit>,
    /// How it lies to the branch that is applied.
    pub tip: Tip,
    /// What the run may do.
    pub verdict: CommitVerdict,
    /// The commit to record as begun.
    pub begun: Option<Commit>,
    /// The commit that may become the ledger: the branch has it, and the work tree is as it says.
    pub ledger: Option<Commit>,
    /// Where a history that does not fit was accepted: what it shares with the record.
    pub accepted: Option<Commit>,
}

impl Judged {
    fn without_commit() -> Self {
        let verdict = CommitVerdict::Apply;
        Self { head: None, tip: Tip::Unknown, verdict, begun: None, ledger: None, accepted: None }
    }

    /// What the run writes of its commit into the record.
    pub fn commits(&self) -> RunCommits {
        let text = |commit: &Option<Commit>| commit.as_ref().map(|commit| commit.as_str().to_owned());
        RunCommits { begun: text(&self.begun), ledger: text(&self.ledger), accepted: text(&self.accepted) }
    }

    /// Why nothing may be applied, in words that name the way out.
    ///
    /// # Errors
    ///
    /// A commit that a person has to look at.
    pub fn permit(&self, request: &mut RunRequest) -> Result<RunPermission, CliError> {
        let head = self.head.as_ref().map(Commit::as_str).unwrap_or_default();
        match self.verdict {
            CommitVerdict::Apply => {}
            CommitVerdict::ApplyOnly => {
                request.policy.sources = SourceCoverage::LaterCommits;
                let told = "Nothing is deleted, because this is not known to be the branch's last commit.";
                request.notices.push(told.to_owned());
            }
            CommitVerdict::Superseded => {
                return Ok(RunPermission::Superseded(format!("superseded: the branch has a later commit than {head}")));
            }
            CommitVerdict::Refused(refusal) => {
                let way_out = if refusal.is_acceptable() {
                    format!("if {head} is to be applied all the same, run again with accept-history set to it")
                } else {
                    "merge it, or name its branch as apply-ref".to_owned()
                };
                return Err(CliError::new(Exit::Refused, format!("{head} is not applied: {refusal}; {way_out}")));
            }
        }
        if self.begun != self.head
            && let Some(begun) = &self.begun
        {
            request.notices.push(format!(
                "{head} is not on the branch that is applied: {begun}, the last commit that they share, is recorded."
            ));
        }
        Ok(RunPermission::Granted)
    }
}

/// Whether a run may go on.
pub enum RunPermission {
    /// It may.
    Granted,
    /// There is nothing to do, for this reason.
    Superseded(String),
}

impl Base {
    /// The tree before the changes.
    pub fn before(&self) -> BaseTree {
        match &self.sources {
            Some(sources) => BaseTree::Tree(Arc::new(sources.clone())),
            None if self.unreadable.is_some() => BaseTree::Unreadable,
            None => BaseTree::Nothing,
        }
    }
}

impl Project {
    /// Loads the project at a directory.
    ///
    /// # Errors
    ///
    /// No project there, a sub-project of another one, or settings that are wrong.
    pub async fn open(path: &Path, variables: &Variables) -> Result<Self, CliError> {
        Self::open_within(path, None, variables).await
    }

    /// Loads the project at a directory, whose repository lies in the directory `boundary` where that contains it.
    ///
    /// # Errors
    ///
    /// As for [`Project::open`].
    pub async fn open_within(path: &Path, boundary: Option<&Path>, variables: &Variables) -> Result<Self, CliError> {
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
        let repository = Repository::discover(&directory, boundary, &variables.for_programs()).await?;
        let prefix = match &repository {
            Some(repository) => {
                refuse_sub_project(&directory, repository.top())?;
                repository.prefix(&directory)?
            }
            None => PathBuf::new(),
        };
        let sources = Sources::load(Origin::WorkTree(&directory)).await?;
        let root = Root::new(sources.tree.root().root());
        let place = match &repository {
            Some(repository) => {
                let addresses = repository.remote_addresses("origin").await?;
                let name = addresses.iter().find_map(|address| RepositoryName::of_address(address));
                name.and_then(|name| Provenance::new(name, &prefix))
            }
            None => None,
        };
        Ok(Self { directory, repository, prefix, place, root, sources })
    }

    /// The place that the tree is taken from, and whether it may be another than the recorded one.
    fn claim(&self, policy: &PolicyArgs) -> Claim {
        Claim { here: self.place.clone(), relocation: policy.relocation }
    }

    /// Refuses a tree from elsewhere than the record says, before its commits are compared with those of the record.
    ///
    /// # Errors
    ///
    /// That.
    pub fn check_place(request: &RunRequest, prior: &Prior) -> Result<(), CliError> {
        match request.claim.judged(prior.source.as_ref()) {
            ProvenanceMatch::Elsewhere(message) => Err(CliError::guarded(&message, Some(Guard::Relocation))),
            ProvenanceMatch::Same(_) | ProvenanceMatch::Moved { .. } => Ok(()),
        }
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
    /// No repository, or an unknown revision.
    pub async fn base(&self, revision: &str) -> Result<Base, CliError> {
        let base = self.repository("--base")?.base_for(revision).await?;
        let notice = base.notice.map(|notice| notice.to_string());
        Ok(Base { notice, ..self.compared(base.commit, BTreeSet::new()).await? })
    }

    /// A commit as the base, and what the work tree's own commit, and files that are not as it has them, change since.
    ///
    /// # Errors
    ///
    /// No repository, or git fails.
    pub async fn base_at(&self, base: &Commit, head: &Commit) -> Result<Base, CliError> {
        let repository = self.repository("comparing commits")?;
        match repository.changed_between(base, head).await {
            Ok(changed) => self.compared(base.clone(), changed).await,
            Err(error @ GitError::MissingCommit { .. }) => Ok(self.unreadable(base.clone(), &error)),
            Err(error) => Err(error.into()),
        }
    }

    /// As [`Project::base_at`], for a commit that may have to be fetched. One that cannot be is a base that cannot be read.
    ///
    /// # Errors
    ///
    /// As for [`Project::base_at`].
    pub async fn base_fetched(&self, base: &Commit, head: &Commit) -> Result<Base, CliError> {
        match self.repository("comparing commits")?.fetch_commit("origin", base).await {
            Ok(()) => self.base_at(base, head).await,
            Err(error) => Ok(self.unreadable(base.clone(), &error)),
        }
    }

    /// What is known of a base that is not there: all may have changed since, and what it had is not known.
    fn unreadable(&self, commit: Commit, why: &dyn std::error::Error) -> Base {
        let unreadable = format!(
            "The whole root is in scope and nothing is deleted, because the tree of {}, which this one is compared \
             with, cannot be read: {}",
            commit.short(),
            chain(why)
        );
        let touched = self.sources.tree.projects();
        Base { commit, sources: None, touched, notice: None, unreadable: Some(unreadable) }
    }

    async fn compared(&self, commit: Commit, mut changed: BTreeSet<PathBuf>) -> Result<Base, CliError> {
        let repository = self.repository("comparing with a commit")?;
        let sources = match Sources::load_if_project(Origin::Commit(repository, &commit, &self.prefix)).await {
            Ok(sources) => sources,
            Err(error) => return Ok(self.unreadable(commit, &error)),
        };
        let reads = |path: &Path| self.sources.reads(path) || sources.iter().any(|base| base.reads(path));
        changed.extend(repository.differing(&commit, &self.sources.read_files(&self.prefix), &reads).await?);
        let checkouts: Vec<_> = sources.iter().chain([&self.sources]).map(Sources::checkout).collect();
        let touched = touched(&checkouts, &self.prefix, &changed);
        Ok(Base { commit, sources, touched, notice: None, unreadable: None })
    }

    /// The commit of the work tree, where everything that was read is as it has it.
    ///
    /// # Errors
    ///
    /// Git fails.
    pub async fn clean_commit(&self) -> Result<Option<Commit>, CliError> {
        let Some(repository) = &self.repository else { return Ok(None) };
        let Ok(head) = repository.head().await else { return Ok(None) };
        let read = self.sources.read_files(&self.prefix);
        let differing = repository.differing(&head, &read, &|path| self.sources.reads(path)).await?;
        Ok(differing.is_empty().then_some(head))
    }

    /// The record as it is now, read without the lock.
    ///
    /// # Errors
    ///
    /// A state that cannot be read or cannot be used.
    pub async fn prior(&self, cluster: &Cluster) -> Result<Prior, RunError> {
        let namespace = &self.sources.tree.settings().state_namespace;
        Ok(Store::open(cluster, namespace, &self.root).await?.1)
    }

    /// Whether something is recorded that the tree no longer wants. A kind that only the cluster knows may count as such.
    pub fn has_orphans(&self, prior: &Prior) -> bool {
        let desired = self.sources.resolve(&self.sources.with_defined_kinds(Kinds::builtin())).manifests;
        prior.entries.keys().into_iter().any(|key| !desired.contains_key(key))
    }

    /// What is known of the commit that is checked out.
    ///
    /// # Errors
    ///
    /// Git fails at what needs no remote.
    pub async fn judged(
        &self,
        caller: Caller,
        history: &HistoryArgs,
        branch: Option<&str>,
        record: &Commits,
        ask: &impl AsyncFn(&Commit, &str) -> Option<CommitOrder>,
    ) -> Result<Judged, CliError> {
        // Without a commit there is no earlier and no later.
        let Some(repository) = &self.repository else { return Ok(Judged::without_commit()) };
        let Ok(head) = repository.head().await else { return Ok(Judged::without_commit()) };
        let (tip, last) = ancestry::tip(repository, &head, branch, ask).await?;
        let mut standings = Vec::new();
        for commit in &measures(record) {
            standings.push(ancestry::standing(repository, &head, commit, ask).await?);
        }
        let acceptance = match &history.accept_history {
            Some(accepted) if *accepted == head => Acceptance::Given,
            _ => Acceptance::None,
        };
        let unaccepted = Facts { recorded: standings, tip, caller, acceptance: Acceptance::None };
        let refused = matches!(lateness::judge(&unaccepted), CommitVerdict::Refused(_));
        let verdict = lateness::judge(&Facts { acceptance, ..unaccepted });
        let shared = async |other: Option<&Commit>| match other {
            Some(other) => repository.merge_base(&head, other).await.ok().flatten(),
            None => None,
        };
        // Where nothing is shared, the record begins anew with this commit.
        let accepted = if refused && acceptance == Acceptance::Given {
            let begun = record.begun.first().or(record.ledger.commits().first()).and_then(|commit| commit.parse().ok());
            Some(shared(begun.as_ref()).await.unwrap_or_else(|| head.clone()))
        } else {
            None
        };
        let (begun, ledger) = match (lateness::recording(tip), caller) {
            (Recording::Whole, _) => (Some(head.clone()), self.clean_commit().await?),
            (Recording::MergeBase, Caller::Workflow) => (Some(head.clone()), None),
            (Recording::MergeBase, Caller::Person) => (shared(last.as_ref()).await.or(Some(head.clone())), None),
        };
        Ok(Judged { head: Some(head), tip, verdict, begun, ledger, accepted })
    }

    /// What is asked of a run of this project.
    pub fn request(&self, args: &ProjectArgs, policy: &PolicyArgs, base: Option<&Base>, run: String) -> RunRequest {
        let tree = &self.sources.tree;
        let earlier = base.and_then(|base| base.sources.as_ref()).map(|base| &base.tree);
        let root_change = earlier.map(|earlier| RootChange::between(earlier, tree)).unwrap_or_default();
        let mut lowered = lowered(policy, base, tree);
        // A plan looks at the state where it is; nothing is applied then.
        if let Some(earlier) = earlier.filter(|_| root_change.refusal.is_some()) {
            lowered.state_namespace.clone_from(&earlier.settings().state_namespace);
        }
        RunRequest {
            root: self.root.clone(),
            scope: ScopeRequest {
                include: args.include_project.clone(),
                exclude: args.exclude_project.clone(),
                touched: base.filter(|base| base.unreadable.is_none()).map(|base| base.touched.clone()),
            },
            policy: lowered,
            redactor: self.redactor(&policy.show, base),
            run,
            commits: RunCommits::default(),
            known: base.and_then(|base| base.sources.as_ref()).map(|base| base.tree.projects()).unwrap_or_default(),
            approved: None,
            since: ScopeBasis::Unasked,
            root_change,
            claim: self.claim(policy),
            notices: base.and_then(|base| base.unreadable.clone()).into_iter().collect(),
            before: base.map_or(BaseTree::Unknown, Base::before),
        }
    }

    /// What may be shown: the fields that the base hides stay hidden, whatever the head says.
    fn redactor(&self, show: &ShowArgs, base: Option<&Base>) -> Redactor {
        // What the base hides is not known then.
        if base.is_some_and(|base| base.unreadable.is_some()) {
            return Redactor::hiding_all();
        }
        let base = base.and_then(|base| base.sources.as_ref());
        let hidden = [&self.sources].into_iter().chain(base).flat_map(|sources| &sources.tree.settings().redact);
        Redactor::new(hidden.chain(&show.redact).cloned(), show.show_adopted)
    }

    /// Connects to the cluster, and says where the repository itself names it.
    ///
    /// # Errors
    ///
    /// As for [`connect`].
    pub async fn connect(
        &self,
        args: &ClusterArgs,
        wait: Option<&WaitArgs>,
        variables: &Variables,
        console: &Console,
    ) -> Result<Cluster, CliError> {
        let options = env::connect_options(args.kubeconfig.as_deref(), args.context.as_deref(), variables);
        let around = self.repository.as_ref().map_or(self.directory.as_path(), Repository::top);
        if let Some(file) = env::lying_in(&options.kubeconfig, around) {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
            console.notice(&format!(
                "the kubeconfig {} lies in {}: whoever changes a file there chooses the cluster, and the programs that fetch \
                 its credentials",
                printable(&file),
                printable(around)
            ));
        }
        connect(args, wait, variables).await
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

/// The commits that a run must not be older than.
fn measures(record: &Commits) -> BTreeSet<Commit> {
    let mut measures = record.measures();
    if measures.is_empty() {
        measures.clone_from(&record.reviewed_from);
    }
    measures.iter().filter_map(|commit| commit.parse().ok()).collect()
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
        CliError::new(Exit::Failure, format!("failed to {}", messages.join(": ")))
    })
}

fn lowered(args: &PolicyArgs, base: Option<&Base>, tree: &Tree) -> Policy {
    let settings = tree.settings();
    let unreadable = base.is_some_and(|base| base.unreadable.is_some());
    Policy {
        sources: if unreadable { SourceCoverage::BaseUnknown } else { SourceCoverage::Complete },
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
        quoted_path(root)
    )))
}

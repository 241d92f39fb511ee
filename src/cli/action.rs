//! `ktor action`: does the work that the workflow's event asks for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

use super::args::{ActionArgs, ClusterArgs};
use super::conclusion::{concluded, early_end, ended, judged};
use super::console::Console;
use super::diagnostic::CliError;
use super::env::{self, Variables};
use super::exit::Exit;
use super::progress::Progress;
use super::reporter::{Report, Reporter, reviewed_in};
use super::request::{Base, Project, RunPermission, connect, run_name};
use super::signal::{on_signals, preparing};
use crate::cluster::connect::{Cluster, ConnectOptions};
use crate::forge::{Context, Event, PullRequest};
use crate::git::commit::Commit;
use crate::git::repository::Repository;
use crate::plan::build::Plan;
use crate::plan::decision::Disposition;
use crate::plan::policy::{Reviewed, SourceCoverage};
use crate::project::snapshot::printable;
use crate::report::Heading;
use crate::run::decide::{BaseTree, RunRequest, ScopeBasis, decide, decide_offline};
use crate::run::ended::RunReport;
use crate::run::error::RunError;
use crate::run::events::Event as RunEvent;
use crate::run::reconcile::reconcile;
use crate::state::commits::Commits;
use crate::state::lateness::Caller;
use crate::state::provenance::{Provenance, RepositoryName};
use crate::state::transition::Prior;

/// The maximum number of attempts of a plan or an apply. An attempt starts over if another run wrote the state
/// meanwhile ([`RunError::StateChanged`]).
const ATTEMPTS: usize = 5;

/// Does the work that the event asks for, and reports its result.
///
/// # Errors
///
/// Anything that stops the work. If the event can be read, the run also reports the error before it ends.
pub(crate) async fn run(args: &ActionArgs, variables: &Variables, console: &Console) -> Result<Exit, CliError> {
    let context = context(variables)?;
    let reporter = Reporter::new(args, &context, console)?;
    let action = Action { args, variables, console, context: &context, reporter: &reporter, target: OnceLock::new() };
    let done = match &context.event {
        Event::PullRequest(pull) if pull.action == "closed" && pull.merged => action.merged(pull).await,
        Event::PullRequest(pull) if pull.action == "closed" => action.closed(pull).await,
        Event::PullRequest(pull) => action.pull_request(pull).await,
        Event::Push(push) if action.is_applied(&push.r#ref) && !push.deleted => action.pushed(&push.after).await,
        Event::WorkflowDispatch => action.dispatched().await,
        Event::MergeGroup { head_sha, base_sha } => action.merge_group(head_sha, base_sha).await,
        Event::Push(push) => Ok(action.nothing(&format!("{} is not the branch that is applied", push.r#ref))),
        Event::Schedule => Ok(action.nothing("drift reports on a schedule do not exist yet")),
        Event::IssueComment(_) => Ok(action.nothing("commands in comments do not exist yet")),
        Event::Other(name) => Ok(action.nothing(&format!("the event {name} needs no run"))),
    };
    if let Err(error) = &done {
        reporter.outputs(&[("result", "failed")]);
        if !reporter.has_reported() {
            action.failed(error).await;
        }
    }
    done
}

fn context(variables: &Variables) -> Result<Context, CliError> {
    let file = variables.get("GITHUB_EVENT_PATH").ok_or_else(|| {
        CliError::usage(
            "GITHUB_EVENT_PATH is not set: `ktor action` runs in a workflow; elsewhere use `ktor plan` or `ktor apply`",
        )
    })?;
    let payload = std::fs::read(&file).map_err(|error| {
        CliError::new(Exit::Failure, format!("failed to read the event's payload {}: {error}", file.to_string_lossy()))
    })?;
    Context::from_parts(&variables.with_prefix("GITHUB_"), &payload).map_err(|error| CliError::failure(&error))
}

struct Action<'a> {
    args: &'a ActionArgs,
    variables: &'a Variables,
    console: &'a Console,
    context: &'a Context,
    reporter: &'a Reporter<'a>,
    /// The name of the target in comments and summaries. Set once the project is open.
    target: OnceLock<String>,
}

impl Action<'_> {
    fn nothing(&self, why: &str) -> Exit {
        self.console.notice(&format!("nothing to do: {why}"));
        self.reporter.outputs(&[("result", "nothing"), ("changes", "0"), ("cleanup-count", "0"), ("kept", "0")]);
        Exit::Success
    }

    async fn open(&self) -> Result<Project, CliError> {
        // Anyone who can commit could otherwise choose the cluster, and the program that fetches its credentials.
        if let Some(planted) = env::lying_in(&self.connect_options().kubeconfig, &self.context.workspace) {
            return Err(CliError::usage(format!(
                "the kubeconfig {} lies in the checkout, where a pull request can put its own: write it elsewhere, as \
                 below RUNNER_TEMP",
                printable(planted)
            )));
        }
        let path = &self.args.project.path;
        let path = if path.is_absolute() { path.clone() } else { self.context.workspace.join(path) };
        // A repository that contains the workspace does not belong to the workflow, so the search stops at the
        // workspace.
        let mut project = Project::open_within(&path, Some(&self.context.workspace), self.variables).await?;
        // The forge's name for the repository takes precedence over the remote's address. For a pull request from a
        // fork, it is the name of the base repository.
        let Context { server_url, repository, .. } = self.context;
        let forge = RepositoryName::of_forge(server_url, &repository.owner, &repository.name);
        project.place = forge.and_then(|name| Provenance::new(name, &project.prefix)).or(project.place);
        self.target.get_or_init(|| self.target(&project));
        Ok(project)
    }

    /// Reports an error of a run that made no plan, in the step summary and in the comments of the pull requests.
    async fn failed(&self, error: &CliError) {
        let (pulls, is_apply) = match &self.context.event {
            Event::PullRequest(pull) => (vec![(pull.number, pull.head_sha.clone())], pull.merged),
            Event::Push(push) => (self.reporter.pulls_of(&push.after).await, true),
            _ => (Vec::new(), true),
        };
        let target = self.args.target.as_ref().or(self.target.get()).map_or("ktor", String::as_str);
        // A failed apply can be repeated and then needs the reviewed deletions again. A failed plan has nothing to
        // review.
        let reviewed = if is_apply { self.reporter.comments(&pulls, target).await } else { BTreeMap::new() };
        let run = self.context.run_url();
        let heading = Heading { target, run: Some(&run), ..Heading::default() };
        self.reporter.failure(&pulls, &reviewed, &heading, error.first()).await;
    }

    /// Returns the exit code for a report that was already made, and prints the reasons to the log.
    fn told(&self, judged: Result<(), CliError>) -> Exit {
        match judged {
            Ok(()) => Exit::Success,
            Err(error) => {
                self.console.error(&error);
                error.exit
            }
        }
    }

    fn run_name(&self) -> String {
        let Context { repository, run_id, attempt, .. } = self.context;
        run_name(&format!("{}/{} run {run_id} attempt {attempt}", repository.owner, repository.name))
    }

    fn connect_options(&self) -> ConnectOptions {
        let ClusterArgs { kubeconfig, context, .. } = &self.args.cluster;
        env::connect_options(kubeconfig.as_deref(), context.as_deref(), self.variables)
    }

    fn has_cluster(&self) -> bool {
        let options = self.connect_options();
        !options.kubeconfig.is_empty() || options.in_cluster
    }

    /// Plans a pull request and writes the plan to its comment.
    async fn pull_request(&self, pull: &PullRequest) -> Result<Exit, CliError> {
        let project = self.open().await?;
        let repository = project.repository("a pull request's plan")?;
        let head = repository.head().await?;
        let base = pull_request_base(&project, &head, pull, &self.context.sha).await?;
        let request = project.request(&self.args.project, &self.args.policy, Some(&base), self.run_name());
        // The forge gives no secrets to pull requests of forks and Dependabot, so these runs cannot reach the cluster.
        let offline = pull.from_fork || pull.author_is_dependabot || !self.has_cluster();
        let (plan, cluster) = self.planned(&project, request, &base, &head, offline).await?;
        let target = self.target(&project);
        let run = self.context.run_url();
        let heading = Heading {
            target: &target,
            cluster: cluster.as_ref().map(Cluster::context),
            base: Some(base.commit.as_str()),
            head: Some(&pull.head_sha),
            run: Some(&run),
            directory: Some(&project.prefix),
        };
        let report = Report { plan: &plan, outcome: None, heading, error: None };
        let url = self.reporter.plan(pull.number, &pull.head_sha, &target, &report).await;
        let exit = if offline && plan.broken.is_empty() { Exit::Success } else { self.told(judged(&plan)) };
        let result = match (exit, plan.has_changes()) {
            (Exit::Failure, _) => "failed",
            (_, true) => "changes",
            (_, false) => "no-changes",
        };
        self.outputs(&plan, result, url.as_deref());
        Ok(exit)
    }

    async fn planned(
        &self,
        project: &Project,
        request: RunRequest,
        base: &Base,
        head: &Commit,
        offline: bool,
    ) -> Result<(Plan, Option<Cluster>), CliError> {
        if offline {
            return Ok((decide_offline(&request, base.sources.as_ref(), &project.sources)?, None));
        }
        let cluster = connect(&self.args.cluster, None, self.variables).await?;
        for _ in 0..ATTEMPTS {
            let (request, _) = self.since_ledger(project, &cluster, head, &request).await?;
            match decide(&cluster, &request, &project.sources).await {
                Ok(decided) => return Ok((decided.plan, Some(cluster))),
                Err(RunError::StateChanged) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RunError::StateChanged.into())
    }

    /// Completes the request with the ledger from the state and the projects that changed since that commit. Returns
    /// the request and the state that was read.
    async fn since_ledger(
        &self,
        project: &Project,
        cluster: &Cluster,
        head: &Commit,
        request: &RunRequest,
    ) -> Result<(RunRequest, Prior), CliError> {
        let prior = project.prior(cluster).await?;
        let mut request = request.clone();
        let commits = prior.commits.clone();
        if matches!(request.before, BaseTree::Unknown)
            && let Some(before) = self.before_finalized(project, &commits, head).await?
        {
            request.before = before;
        }
        let Some(ledger) = ledger_of(&commits) else {
            request.since = ScopeBasis::Ledger { commits, touched: None };
            return Ok((request, prior));
        };
        let base = project.base_fetched(&ledger, head).await?;
        if matches!(request.before, BaseTree::Unknown) {
            request.before = base.before();
        }
        if let Some(why) = base.unreadable {
            request.policy.sources = SourceCoverage::BaseUnknown;
            request.notices.push(why);
        }
        request.since = ScopeBasis::Ledger { commits, touched: Some(base.touched) };
        Ok((request, prior))
    }

    /// Returns the tree before the push, or [`BaseTree::Unknown`] if the event names no commit that can be read.
    async fn before_push(&self, project: &Project, head: &Commit) -> Result<BaseTree, CliError> {
        let Event::Push(push) = &self.context.event else { return Ok(BaseTree::Unknown) };
        match push.before.parse::<Commit>() {
            Ok(before) if !push.created => told_before(project, &before, head).await,
            _ => Ok(BaseTree::Unknown),
        }
    }

    /// Returns the tree before the run's changes, if neither the event names it nor a current ledger is that tree.
    ///
    /// If the root was last finalized at `head`, a repeated run is about the changes of `head` itself, so the tree is
    /// that of its first parent. A dispatch is the exception: it has no changes of its own. If the ledger is stale, its
    /// commit still tells the tree before. Returns `None` if the caller has to use the ledger, or if there is no such
    /// commit.
    async fn before_finalized(
        &self,
        project: &Project,
        commits: &Commits,
        head: &Commit,
    ) -> Result<Option<BaseTree>, CliError> {
        let Some(last) = finalized_at(commits) else { return Ok(None) };
        if last == *head && !matches!(self.context.event, Event::WorkflowDispatch) {
            let parents = project.repository("an apply")?.parents(head).await?;
            return Ok(Some(match parents.first() {
                Some(parent) => told_before(project, parent, head).await?,
                None => BaseTree::Nothing,
            }));
        }
        match commits.ledger.current() {
            Some(_) => Ok(None),
            None => told_before(project, &last, head).await.map(Some),
        }
    }

    /// Plans a merge queue's group. The plan is written only to the step summary.
    async fn merge_group(&self, head_sha: &str, base_sha: &str) -> Result<Exit, CliError> {
        let project = self.open().await?;
        let repository = project.repository("a merge group's plan")?;
        let head = at_commit(repository, head_sha).await?;
        let base: Commit = base_sha.parse().map_err(|error| CliError::failure(&error))?;
        let base = project.base_fetched(&base, &head).await?;
        let request = project.request(&self.args.project, &self.args.policy, Some(&base), self.run_name());
        let (plan, cluster) = self.planned(&project, request, &base, &head, !self.has_cluster()).await?;
        let target = self.target(&project);
        let run = self.context.run_url();
        let cluster = cluster.as_ref().map(Cluster::context);
        let heading = Heading {
            target: &target,
            cluster,
            base: Some(base_sha),
            head: Some(head_sha),
            run: Some(&run),
            directory: Some(&project.prefix),
        };
        self.reporter.summary(&Report { plan: &plan, outcome: None, heading, error: None });
        self.outputs(&plan, if plan.has_changes() { "changes" } else { "no-changes" }, None);
        Ok(self.told(judged(&plan)))
    }

    /// Notes in the comment of a pull request that it was closed without a merge.
    async fn closed(&self, pull: &PullRequest) -> Result<Exit, CliError> {
        let target = match &self.args.target {
            Some(target) => target.clone(),
            None => self.target(&self.open().await?),
        };
        self.reporter.closed(pull.number, &pull.head_sha, &target).await;
        Ok(self.nothing("the pull request was closed without a merge"))
    }

    async fn merged(&self, pull: &PullRequest) -> Result<Exit, CliError> {
        if !self.is_applied(&format!("refs/heads/{}", pull.base_ref)) {
            return Ok(self.nothing(&format!("{} is not the branch that is applied", pull.base_ref)));
        }
        let commit = pull.merge_commit_sha.clone().unwrap_or_else(|| self.context.sha.clone());
        self.applied(&commit, Some((pull.number, pull.head_sha.clone()))).await
    }

    async fn pushed(&self, commit: &str) -> Result<Exit, CliError> {
        self.applied(commit, None).await
    }

    /// Applies the whole root, because a person started the workflow. A start on another branch than the applied one is
    /// a mistake and is refused.
    async fn dispatched(&self) -> Result<Exit, CliError> {
        let started_on = self.context.git_ref.as_deref().unwrap_or("an unknown ref");
        if !self.is_applied(started_on) {
            let branch = self.branch().unwrap_or("the default branch");
            return Err(CliError::new(
                Exit::Refused,
                format!(
                    "the workflow was started on {started_on}, and only {branch} is applied: start it there, or name the \
                     other branch as apply-ref"
                ),
            ));
        }
        self.applied(&self.context.sha, None).await
    }

    /// Returns the name of the applied branch, if it is known.
    fn branch(&self) -> Option<&str> {
        let named = self.args.history.apply_ref.as_deref();
        named.map(|name| name.strip_prefix("refs/heads/").unwrap_or(name)).or(self.context.default_branch.as_deref())
    }

    /// Returns `true` if a full ref is the applied branch.
    fn is_applied(&self, r#ref: &str) -> bool {
        let branch = r#ref.strip_prefix("refs/heads/");
        match (&self.context.event, self.branch()) {
            (_, Some(applied)) => branch == Some(applied),
            // If the applied branch is unknown, a push counts only on the default branch. A merge into any branch
            // counts: the check of the commit later compares it with the remote's default branch.
            (Event::Push(push), None) => push.default_branch,
            (_, None) => branch.is_some(),
        }
    }

    /// Applies a commit of the applied branch and writes the result to the comments of its pull requests.
    async fn applied(&self, commit: &str, merged: Option<(u64, String)>) -> Result<Exit, CliError> {
        let interrupt = on_signals(self.console);
        let prepared = preparing(&interrupt, async {
            let project = self.open().await?;
            let head = at_commit(project.repository("an apply")?, commit).await?;
            let target = self.target(&project);
            let pulls = match merged {
                Some(pull) => vec![pull],
                None => self.reporter.pulls_of(commit).await,
            };
            let cluster = connect(&self.args.cluster, Some(&self.args.wait), self.variables).await?;
            let mut request = project.request(&self.args.project, &self.args.policy, None, self.run_name());
            request.before = self.before_push(&project, &head).await?;
            let comments = self.reporter.comments(&pulls, &target).await;
            if !self.args.allow_unreviewed_deletions {
                request.policy.reviewed = Reviewed::Only(reviewed_in(&comments));
            }
            Ok((project, head, target, cluster, request, pulls, comments))
        });
        let (project, head, target, cluster, request, pulls, comments) = prepared.await?;
        let progress = Progress::grouped(self.console, &format!("progress of {target}"));
        let mut result = Err(RunError::StateChanged);
        for _ in 0..ATTEMPTS {
            let since = self.since_ledger(&project, &cluster, &head, &request);
            let (mut request, prior) = preparing(&interrupt, since).await?;
            Project::check_place(&request, &prior)?;
            let ask = async |head: &Commit, other: &str| self.reporter.standing(head.as_str(), other).await;
            let (history, commits) = (&self.args.history, &prior.commits);
            let judged = project.judged(Caller::Workflow, history, self.branch(), commits, &ask);
            let judged = preparing(&interrupt, judged).await?;
            if let RunPermission::Superseded(why) = judged.permit(&mut request)? {
                return Ok(self.nothing(&why));
            }
            let is_applied = ledger_of(commits).as_ref() == Some(&head) && judged.ledger.is_some();
            if matches!(self.context.event, Event::WorkflowDispatch) {
                // A person who starts the workflow wants a check of the whole root.
                request.since = ScopeBasis::Judged(commits.clone());
            } else if is_applied && prior.open.is_empty() && !project.has_orphans(&prior) {
                return Ok(self.nothing(&format!("{head} was applied already")));
            }
            request.commits = judged.commits();
            let lock = project.lock(&self.args.wait, &request.run, Some(self.context.run_url()));
            let tell = |event: RunEvent<'_>| progress.tell(event);
            result = reconcile(&cluster, &lock, &request, &project.sources, &interrupt, &tell).await;
            if !matches!(result, Err(RunError::StateChanged)) {
                break;
            }
        }
        drop(progress);
        let report = result?;
        let run = self.context.run_url();
        let heading = Heading {
            target: &target,
            cluster: Some(cluster.context()),
            base: None,
            head: Some(commit),
            run: Some(&run),
            directory: Some(&project.prefix),
        };
        self.conclude(&report, &pulls, &comments, heading).await
    }

    async fn conclude(
        &self,
        report: &RunReport,
        pulls: &[(u64, String)],
        comments: &BTreeMap<u64, Value>,
        heading: Heading<'_>,
    ) -> Result<Exit, CliError> {
        let end = ended(report);
        let RunReport { plan, outcome, .. } = report;
        let shown = Report { plan, outcome: Some(outcome), heading, error: early_end(report, &end) };
        let url = self.reporter.outcome(pulls, comments, &shown).await;
        end?;
        self.outputs(plan, "applied", url.as_deref());
        Ok(self.told(concluded(plan)))
    }

    fn target(&self, project: &Project) -> String {
        self.args.target.clone().unwrap_or_else(|| project.root.to_string())
    }

    fn outputs(&self, plan: &Plan, result: &str, url: Option<&str>) {
        use crate::plan::decision::Action;
        let changes = plan.all().filter(|change| !matches!(change.action(), Action::Unchanged | Action::Keep)).count();
        self.reporter.outputs(&[
            ("result", result),
            ("changes", &changes.to_string()),
            ("cleanup-count", &plan.deletions().count().to_string()),
            ("kept", &plan.standing(Disposition::Kept).count().to_string()),
            ("comment-url", url.unwrap_or_default()),
            ("digest", &plan.digest),
        ]);
    }
}

/// Returns the ledger's commit if the ledger is current.
fn ledger_of(commits: &Commits) -> Option<Commit> {
    commits.ledger.current().and_then(|commit| commit.parse().ok())
}

/// Returns the commit that the root was last finalized at, if that is exactly one commit. The ledger may be stale.
fn finalized_at(commits: &Commits) -> Option<Commit> {
    let commits = commits.ledger.commits();
    commits.first().filter(|_| commits.len() == 1)?.parse().ok()
}

/// Returns the tree of `commit` as the tree before the run's changes. A tree that cannot be read counts as unknown.
async fn told_before(project: &Project, commit: &Commit, head: &Commit) -> Result<BaseTree, CliError> {
    Ok(match project.base_fetched(commit, head).await?.before() {
        BaseTree::Unreadable => BaseTree::Unknown,
        before => before,
    })
}

/// Returns HEAD, which must be the event's commit. Any other commit would plan or apply something that the event does
/// not ask for.
async fn at_commit(repository: &Repository, commit: &str) -> Result<Commit, CliError> {
    let head = repository.head().await?;
    if head.as_str() == commit {
        return Ok(head);
    }
    Err(CliError::new(
        Exit::Refused,
        format!("the checkout is at {head}, but the event is about {commit}: check out the event's own commit"),
    ))
}

/// Returns the base that a pull request's plan is compared with.
async fn pull_request_base(
    project: &Project,
    head: &Commit,
    pull: &PullRequest,
    event_sha: &str,
) -> Result<Base, CliError> {
    let repository = project.repository("a pull request's plan")?;
    let parse = |text: &str| text.parse::<Commit>().map_err(|error| CliError::failure(&error));
    if head.as_str() != event_sha && head.as_str() != pull.head_sha {
        at_commit(repository, event_sha).await?;
    }
    if let Some(base) = repository.merged_into(head, &parse(&pull.head_sha)?).await? {
        return project.base_fetched(&base, head).await;
    }
    // HEAD is no merge commit: the forge makes none, or the workflow checked out the pull request's own head.
    let target = parse(&pull.base_sha)?;
    let target = match repository.fetch_commit("origin", &target).await {
        Ok(()) => repository.merge_base(&target, head).await?.unwrap_or(target),
        Err(_) => target,
    };
    project.base_fetched(&target, head).await
}

/// Appends text to a file that the runner named, and creates the file if it is missing.
pub(crate) fn append(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    std::fs::OpenOptions::new().create(true).append(true).open(file)?.write_all(text.as_bytes())
}

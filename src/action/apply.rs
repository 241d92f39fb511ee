//! The apply of a push, of a merged pull request, or of a workflow that a person started.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::baseline::ledger_of;
use super::job::{ATTEMPTS, Job, at_commit, shown_root};
use super::landed::Known;
use super::options::Told;
use super::reporter::{MergedPull, Report};
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::{Failure, preparing};
use crate::conclusion::{concluded, early_end, ended};
use crate::forge::{Event, PullRequest, Push};
use crate::git::commit::Commit;
use crate::plan::build::Plan;
use crate::plan::change::Change;
use crate::plan::decision::Action;
use crate::project::path::ProjectPath;
use crate::project::scope::touched;
use crate::report::terminal::{self, Style};
use crate::report::{Heading, wording};
use crate::run::decide::ScopeBasis;
use crate::run::ended::RunReport;
use crate::run::error::RunError;
use crate::run::events::Event as RunEvent;
use crate::run::judged::RunPermission;
use crate::run::options::AppliedRef;
use crate::run::reconcile::reconcile;
use crate::run::workspace::Workspace;
use crate::state::lateness::Caller;

impl Job<'_> {
    pub(super) async fn merged(&self, pull: &PullRequest) -> Result<Exit, Failure> {
        if !self.is_applied(&format!("refs/heads/{}", pull.base_ref)) {
            return Ok(self.nothing(&format!("{} is not the branch that is applied", pull.base_ref)));
        }
        let commit = pull.merge_commit_sha.clone().unwrap_or_else(|| self.around.context.sha.clone());
        self.applied(&commit).await
    }

    pub(super) async fn pushed(&self, push: &Push) -> Result<Exit, Failure> {
        // The push of an annotated tag names the tag itself, and the commit of the workflow is the tagged one.
        let is_tag = push.r#ref.starts_with("refs/tags/");
        self.applied(if is_tag { &self.around.context.sha } else { &push.after }).await
    }

    /// Applies the whole root, because a person started the workflow. A start on another branch than the applied one is
    /// a mistake and is refused.
    pub(super) async fn dispatched(&self) -> Result<Exit, Failure> {
        let started_on = self.around.context.git_ref.as_deref().unwrap_or("an unknown ref");
        if !self.is_applied(started_on) {
            let applied = self.options.history.applied.as_ref().map(ToString::to_string);
            let applied = applied.or(self.branch().map(str::to_owned)).unwrap_or("the default branch".to_owned());
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "the workflow was started on {started_on}, and only {applied} is applied: start it there, or name the \
                     other ref as apply-ref"
                ),
            ));
        }
        self.applied(&self.around.context.sha).await
    }

    /// Returns the name of the branch that pull requests are merged into, if it is known.
    pub(super) fn branch(&self) -> Option<&str> {
        let named = self.options.history.applied.as_ref().and_then(AppliedRef::branch);
        named.or(self.around.context.default_branch.as_deref())
    }

    /// Returns `true` if the event has no changes of its own. Such an apply checks the whole root.
    pub(super) fn covers_the_root(&self) -> bool {
        matches!(self.around.context.event, Event::WorkflowDispatch | Event::Schedule | Event::Other(_))
    }

    /// Returns `true` if the commits of a full ref are applied.
    pub(super) fn is_applied(&self, r#ref: &str) -> bool {
        match &self.options.history.applied {
            Some(tags @ AppliedRef::Tags(_)) => tags.covers(r#ref),
            _ => self.is_merged_into(r#ref),
        }
    }

    /// Returns `true` if what is merged into a branch, given as a full ref, is applied now or with a later tag.
    pub(super) fn is_merged_into(&self, r#ref: &str) -> bool {
        let branch = r#ref.strip_prefix("refs/heads/");
        match (&self.around.context.event, self.branch()) {
            (_, Some(applied)) => branch == Some(applied),
            // If the applied branch is unknown, a push counts only on the default branch. A merge into any branch
            // counts: the check of the commit later compares it with the remote's default branch.
            (Event::Push(push), None) => push.default_branch,
            (_, None) => branch.is_some(),
        }
    }

    /// Applies a commit of the applied refs and writes the result to the comments of its pull requests.
    pub(super) async fn applied(&self, commit: &str) -> Result<Exit, Failure> {
        let interrupt = (self.around.interrupts)();
        let prepared = preparing(&interrupt, async {
            let project = self.open().await?;
            let head = at_commit(project.repository("an apply")?, commit).await?;
            let target = self.target(&project);
            let cluster = self.connect().await?;
            let mut request = project.request(&self.options.scope, &self.options.policy, None, self.run_name());
            request.before = self.before_push(&project, &head).await?;
            request.approved.clone_from(&self.options.expected_digest);
            Ok((project, head, target, cluster, request))
        });
        let (project, head, target, cluster, request) = prepared.await?;
        (self.around.tell)(Told::RunBegins(&target));
        let (mut result, mut pulls) = (Err(RunError::StateChanged), Vec::new());
        for _ in 0..ATTEMPTS {
            let since = self.since_ledger(&project, &cluster, &head, &request);
            let (mut request, prior, keys) = preparing(&interrupt, since).await?;
            Workspace::check_place(&request, &prior)?;
            let ask = async |head: &Commit, other: &str| self.reporter.standing(head.as_str(), other).await;
            let (history, commits) = (&self.options.history, &prior.commits);
            let judged = project.judged(Caller::Workflow, history, self.branch(), commits, &ask);
            let judged = preparing(&interrupt, async { Ok(judged.await?) }).await?;
            if let RunPermission::Superseded(why) = judged.permit(&mut request)? {
                return Ok(self.nothing(&why));
            }
            let is_applied = ledger_of(commits).as_ref() == Some(&head) && judged.ledger.is_some();
            if self.covers_the_root() {
                request.since = ScopeBasis::Judged(commits.clone());
            } else if is_applied && prior.open.is_empty() && !project.has_orphans(&prior) {
                return Ok(self.nothing(&format!("{head} was applied already")));
            }
            request.commits = judged.commits();
            let known = Known { project: &project, prior: &prior, keys: keys.as_ref(), target: &target, head: &head };
            preparing(&interrupt, self.check_server(known, &cluster)).await?;
            let arrivals = preparing(&interrupt, self.arrivals(known, judged.accepted.as_ref())).await?;
            if !self.options.allows_unreviewed_deletions {
                request.review = arrivals.review;
            }
            // A run that was cut short goes on with the plan that it was allowed to apply. A digest that a person expects
            // takes the place of the reviewed one.
            let resumes = commits.begun.contains(head.as_str());
            let needs_review = self.options.refuses_changed_plans && self.options.expected_digest.is_none();
            if needs_review && !self.covers_the_root() && !resumes {
                request.approved = Some(arrivals.digest.map_err(|why| changed_plan(&why))?);
            }
            pulls = arrivals.pulls;
            let lock = project.lock(self.options.lock_timeout, &request.run, Some(self.around.context.run_url()));
            let tell = |event: RunEvent<'_>| (self.around.tell)(Told::Run(event));
            result = reconcile(&cluster, &lock, &request, &project.sources, &interrupt, &tell).await;
            if !matches!(result, Err(RunError::StateChanged)) {
                break;
            }
        }
        (self.around.tell)(Told::RunEnded);
        let report = result?;
        let (run, files) = (self.around.context.run_url(), self.around.context.files_address());
        let root = project.root.to_string();
        let heading = Heading {
            target: &target,
            root: shown_root(&root, &target),
            cluster: Some(cluster.context()),
            base: None,
            head: Some(commit),
            run: Some(&run),
            directory: Some(&project.prefix),
            files: Some(&files),
            takes_commands: false,
        };
        self.conclude(&project, &report, &pulls, heading).await
    }

    /// Marks the plans of open pull requests that concern a project that the apply changed.
    async fn overtake(&self, project: &Workspace, plan: &Plan, commit: &str) {
        let is_changed =
            |change: &&Change| !matches!(change.action(), Action::Unchanged | Action::Keep | Action::Blocked);
        let changed: BTreeSet<&ProjectPath> = plan.all().filter(is_changed).map(|change| &change.project).collect();
        let Some(branch) = self.branch().filter(|_| !changed.is_empty()) else { return };
        let inputs = project.sources.inputs();
        let concerns = |paths: &BTreeSet<PathBuf>| {
            touched(paths, &project.prefix, None, inputs).iter().any(|touched| changed.contains(touched))
        };
        self.reporter.overtake(branch, commit, &concerns).await;
    }

    async fn conclude(
        &self,
        project: &Workspace,
        report: &RunReport,
        pulls: &[MergedPull],
        heading: Heading<'_>,
    ) -> Result<Exit, Failure> {
        let end = ended(report);
        let RunReport { plan, outcome, .. } = report;
        let shown = Report { plan, outcome: Some(outcome), heading, error: early_end(report, &end) };
        let title = format!("outcome of {}", heading.target);
        self.print(plan, &title, &terminal::outcome(plan, outcome, Style::Plain));
        let url = self.reporter.outcome(pulls, &shown).await;
        if let Err(error) = &end
            && matches!(error.exit, Exit::Failure | Exit::Interrupted)
        {
            self.reporter.alarm(pulls, &heading, error.first()).await;
        }
        end?;
        let concluded = concluded(plan);
        self.overtake(project, plan, heading.head.unwrap_or_default()).await;
        let commit = heading.head.unwrap_or_default();
        match &concluded {
            Ok(()) => {
                let kept = plan.cleanup.iter().filter(|change| change.action() == Action::Keep).count();
                self.status(commit, Exit::Success, &wording::outcome(outcome, kept, str::to_owned)).await;
            }
            Err(error) => self.status(commit, error.exit, error.first()).await,
        }
        self.outputs(plan, if concluded.is_ok() { "applied" } else { "kept" }, url.as_deref());
        Ok(self.told(concluded))
    }
}

/// Returns the refusal of an apply whose plan cannot be compared with a reviewed one.
fn changed_plan(why: &str) -> Failure {
    let way_out = "start the workflow by hand to apply it, or set on-changed-plan to proceed";
    Failure::new(Exit::Refused, format!("no reviewed plan says what this apply does: {why}; {way_out}"))
}

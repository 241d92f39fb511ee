//! The plan of a pull request or of a merge queue's group.

use super::job::{ATTEMPTS, Job, at_commit, shown_root};
use super::landed::about;
use super::merge::{Planned, PlannedTree};
use super::options::Told;
use super::plan_file::PlanResult;
use super::reporter::{PlanVerdict, Report, Signing};
use crate::cluster::connect::Cluster;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::conclusion::judged;
use crate::forge::{Event, Pull, PullRequest};
use crate::git::commit::Commit;
use crate::plan::build::Plan;
use crate::plan::consent::told;
use crate::plan::signature::SigningKeys;
use crate::report::markdown::Unsigned;
use crate::report::terminal::{self, Style};
use crate::report::{Heading, wording};
use crate::run::decide::{RunRequest, decide, decide_offline};
use crate::run::error::RunError;
use crate::run::review::ReviewBasis;
use crate::run::workspace::{Base, Workspace};

impl Job<'_> {
    /// Plans a pull request and writes the plan to its comment.
    pub(super) async fn pull_request(&self, pull: &PullRequest) -> Result<Exit, Failure> {
        // The forge gives no secrets to pull requests of forks and to most of Dependabot's. A fork is not planned on a
        // cluster unless the workflow says so, even if the runner has credentials.
        let is_strange = pull.from_fork && !self.options.plans_forks;
        let offline = self.options.is_offline || is_strange || !self.has_cluster();
        if offline && !self.options.is_offline && !pull.from_fork && !pull.author_is_dependabot {
            let why = "no cluster is configured, so the plan is the difference to the base: set kubeconfig or KUBECONFIG, \
                       or set offline";
            (self.around.tell)(Told::Warning(why));
        }
        Box::pin(self.plan_of(pull, offline)).await
    }

    /// Plans a pull request because someone with write access asked for it, whoever wrote it. Nothing of its tree runs.
    pub(super) async fn commanded_plan(&self, pull: &PullRequest) -> Result<Exit, Failure> {
        Box::pin(self.plan_of(pull, !self.has_cluster())).await
    }

    async fn plan_of(&self, pull: &PullRequest, offline: bool) -> Result<Exit, Failure> {
        let project = self.open().await?;
        let now = self.reporter.pull(pull.number).await;
        if let Some(why) = now.as_ref().and_then(|now| outdated(now, pull)) {
            return Ok(self.nothing(&why));
        }
        let branch = now.as_ref().map_or(&pull.base_ref, |now| &now.base_ref);
        let target = self.target(&project);
        let (run, files) = (self.around.context.run_url(), self.around.context.files_address());
        let directory = project.prefix.clone();
        let root = project.root.to_string();
        let heading = Heading {
            target: &target,
            root: shown_root(&root, &target),
            head: Some(&pull.head_sha),
            run: Some(&run),
            directory: Some(&directory),
            files: Some(&files),
            ..Heading::default()
        };
        let tree = match self.merge_of(project, pull, branch).await? {
            Planned::Tree(tree) => *tree,
            Planned::Nothing(why) => {
                self.reporter.note(pull.number, &pull.head_sha, &heading, &format!("No plan: {why}."), true).await;
                self.status(&pull.head_sha, Exit::Success, &format!("No plan: {why}.")).await;
                return Ok(self.nothing(&why));
            }
        };
        if !self.is_merged_into(&format!("refs/heads/{branch}")) {
            let why = format!("the merge into {branch} applies nothing, because it is not the branch that is applied");
            let is_new = !tree.base.touched.is_empty();
            self.reporter.note(pull.number, &pull.head_sha, &heading, &format!("No plan: {why}."), is_new).await;
            self.status(&pull.head_sha, Exit::Success, &format!("No plan: {why}.")).await;
            return Ok(self.nothing(&why));
        }
        let PlannedTree { project, base, head, unsigned } = tree;
        let mut request = project.request(&self.options.scope, &self.options.policy, Some(&base), self.run_name());
        request.review = ReviewBasis::Proposed(None);
        let (plan, cluster, keys) = self.planned(&project, request, &base, &head, offline).await?;
        if let Some(cluster) = &cluster {
            self.reporter.plans_on(cluster.identity().await);
        }
        let heading =
            Heading { cluster: cluster.as_ref().map(Cluster::context), base: Some(base.commit.as_str()), ..heading };
        let heading = Heading { takes_commands: !offline, ..heading };
        let signing = match (unsigned, keys, &now) {
            (Some(why), _, _) => Signing::Not(why),
            (None, _, _) if offline => Signing::Not(Unsigned::Offline),
            (None, None, _) => Signing::Not(Unsigned::NoKey),
            (None, _, None) => Signing::Not(Unsigned::NoForge),
            (None, Some(keys), Some(now)) => {
                let about = about(now, &project, &keys, &target);
                match self.reporter.statement(&plan, &keys, about, head.to_string()) {
                    Some(statement) => Signing::By(keys, Box::new(statement)),
                    None => Signing::Not(Unsigned::NoForge),
                }
            }
        };
        let consents = match (&signing, &now) {
            (Signing::By(keys, statement), Some(now)) => match keys.keys.first() {
                Some(key) => self.consents(now, statement, key.names()).await,
                None => Vec::new(),
            },
            _ => Vec::new(),
        };
        let plan = told(plan, &consents);
        let report = Report { plan: &plan, outcome: None, heading, error: None };
        self.print(&plan, &format!("plan of {target}"), &terminal::plan(&plan, &heading, Style::Plain));
        let judged = if offline && plan.broken.is_empty() { Ok(()) } else { judged(&plan) };
        let verdict = verdict(&plan, &judged);
        let url = self.reporter.plan(pull.number, &pull.head_sha, &report, signing, verdict).await;
        self.plan_status(&pull.head_sha, &plan, &judged).await;
        let exit = self.told(judged);
        self.outputs(&plan, verdict.result.word(), url.as_deref());
        Ok(exit)
    }

    async fn planned(
        &self,
        project: &Workspace,
        request: RunRequest,
        base: &Base,
        head: &Commit,
        offline: bool,
    ) -> Result<(Plan, Option<Cluster>, Option<SigningKeys>), Failure> {
        if offline {
            return Ok((decide_offline(&request, base.sources.as_ref(), &project.sources)?, None, None));
        }
        let cluster = self.connect().await?;
        for _ in 0..ATTEMPTS {
            let (request, _, _) = self.since_ledger(project, &cluster, head, &request).await?;
            match decide(&cluster, &request, &project.sources).await {
                Ok(decided) => return Ok((decided.plan, Some(cluster), decided.store.signing_keys())),
                Err(RunError::StateChanged) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RunError::StateChanged.into())
    }

    /// Plans the commit that is checked out, on the cluster. The plan is written only to the step summary.
    pub(super) async fn plan_of_checkout(&self) -> Result<Exit, Failure> {
        let project = self.open().await?;
        let head = project.repository("a plan")?.head().await?;
        let cluster = self.connect().await?;
        let request = project.request(&self.options.scope, &self.options.policy, None, self.run_name());
        let mut planned = Err(RunError::StateChanged);
        for _ in 0..ATTEMPTS {
            let (request, _, _) = self.since_ledger(&project, &cluster, &head, &request).await?;
            planned = decide(&cluster, &request, &project.sources).await;
            if !matches!(planned, Err(RunError::StateChanged)) {
                break;
            }
        }
        let plan = planned?.plan;
        Ok(self.summarized(&project, &plan, Some(cluster.context()), None, head.as_str()).await)
    }

    /// Plans a merge queue's group. The plan is written only to the step summary.
    pub(super) async fn merge_group(&self, head_sha: &str, base_sha: &str) -> Result<Exit, Failure> {
        let project = self.open().await?;
        let repository = project.repository("a merge group's plan")?;
        let head = at_commit(repository, head_sha).await?;
        let base: Commit = base_sha.parse().map_err(|error| Failure::other(&error))?;
        let base = project.base_fetched(&base, &head).await?;
        let request = project.request(&self.options.scope, &self.options.policy, Some(&base), self.run_name());
        let (plan, cluster, _) = self.planned(&project, request, &base, &head, !self.has_cluster()).await?;
        Ok(self.summarized(&project, &plan, cluster.as_ref().map(Cluster::context), Some(base_sha), head_sha).await)
    }

    /// Reports a plan that belongs to no pull request: in the log, in the step summary and in the outputs.
    async fn summarized(
        &self,
        project: &Workspace,
        plan: &Plan,
        cluster: Option<&str>,
        base: Option<&str>,
        head: &str,
    ) -> Exit {
        let (target, root) = (self.target(project), project.root.to_string());
        let (run, files) = (self.around.context.run_url(), self.around.context.files_address());
        let heading = Heading {
            target: &target,
            root: shown_root(&root, &target),
            cluster,
            base,
            head: Some(head),
            run: Some(&run),
            directory: Some(&project.prefix),
            files: Some(&files),
            takes_commands: false,
        };
        self.print(plan, &format!("plan of {target}"), &terminal::plan(plan, &heading, Style::Plain));
        let report = Report { plan, outcome: None, heading, error: None };
        self.reporter.summary(&report);
        let judged = judged(plan);
        if let Event::MergeGroup { head_sha, .. } = &self.around.context.event {
            self.reporter.leave_group(head_sha, &report, verdict(plan, &judged));
        }
        self.plan_status(head, plan, &judged).await;
        self.outputs(plan, if plan.has_changes() { "changes" } else { "no-changes" }, None);
        self.told(judged)
    }

    /// Sets the status of a planned commit.
    async fn plan_status(&self, commit: &str, plan: &Plan, judged: &Result<(), Failure>) {
        match judged {
            Ok(()) => self.status(commit, Exit::Success, &wording::plan(plan, str::to_owned)).await,
            Err(error) => self.status(commit, error.exit, error.first()).await,
        }
    }

    /// Notes in the comment of a pull request that it was closed without a merge.
    pub(super) async fn closed(&self, pull: &PullRequest) -> Result<Exit, Failure> {
        let project = self.open().await?;
        let (target, root) = (self.target(&project), project.root.to_string());
        let heading = Heading { target: &target, root: shown_root(&root, &target), ..Heading::default() };
        let sentence = "Closed without a merge: nothing was applied.";
        self.reporter.note(pull.number, &pull.head_sha, &heading, sentence, false).await;
        Ok(self.nothing("the pull request was closed without a merge"))
    }
}

/// Returns the end of a plan.
fn verdict(plan: &Plan, judged: &Result<(), Failure>) -> PlanVerdict {
    let exit = judged.as_ref().err().map_or(Exit::Success, |failure| failure.exit);
    let result = match (exit, plan.has_changes()) {
        (Exit::Failure, _) => PlanResult::Failed,
        (Exit::Refused, _) => PlanResult::Refused,
        (_, true) => PlanResult::Changes,
        (_, false) => PlanResult::NoChanges,
    };
    PlanVerdict { exit, result }
}

/// Returns the reason why a plan of the event's pull request would be of no use now.
fn outdated(now: &Pull, event: &PullRequest) -> Option<String> {
    if now.merged {
        Some(format!("#{} is merged already", now.number))
    } else if !now.open {
        Some(format!("#{} is closed", now.number))
    } else if now.head_sha != event.head_sha {
        Some(format!("superseded: #{} has a later commit than {}", now.number, event.head_sha))
    } else {
        None
    }
}

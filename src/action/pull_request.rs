//! The plan of a pull request or of a merge queue's group.

use super::job::{ATTEMPTS, Job, at_commit};
use super::reporter::Report;
use crate::cluster::connect::Cluster;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::conclusion::judged;
use crate::forge::PullRequest;
use crate::git::commit::Commit;
use crate::plan::build::Plan;
use crate::report::Heading;
use crate::run::decide::{RunRequest, decide, decide_offline};
use crate::run::error::RunError;
use crate::run::workspace::{Base, Workspace};

impl Job<'_> {
    /// Plans a pull request and writes the plan to its comment.
    pub(super) async fn pull_request(&self, pull: &PullRequest) -> Result<Exit, Failure> {
        let project = self.open().await?;
        let repository = project.repository("a pull request's plan")?;
        let head = repository.head().await?;
        let base = pull_request_base(&project, &head, pull, &self.around.context.sha).await?;
        let request = project.request(&self.options.scope, &self.options.policy, Some(&base), self.run_name());
        // The forge gives no secrets to pull requests of forks and Dependabot, so these runs cannot reach the cluster.
        let offline = pull.from_fork || pull.author_is_dependabot || !self.has_cluster();
        let (plan, cluster) = self.planned(&project, request, &base, &head, offline).await?;
        let target = self.target(&project);
        let run = self.around.context.run_url();
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
        project: &Workspace,
        request: RunRequest,
        base: &Base,
        head: &Commit,
        offline: bool,
    ) -> Result<(Plan, Option<Cluster>), Failure> {
        if offline {
            return Ok((decide_offline(&request, base.sources.as_ref(), &project.sources)?, None));
        }
        let cluster = self.connect().await?;
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

    /// Plans a merge queue's group. The plan is written only to the step summary.
    pub(super) async fn merge_group(&self, head_sha: &str, base_sha: &str) -> Result<Exit, Failure> {
        let project = self.open().await?;
        let repository = project.repository("a merge group's plan")?;
        let head = at_commit(repository, head_sha).await?;
        let base: Commit = base_sha.parse().map_err(|error| Failure::other(&error))?;
        let base = project.base_fetched(&base, &head).await?;
        let request = project.request(&self.options.scope, &self.options.policy, Some(&base), self.run_name());
        let (plan, cluster) = self.planned(&project, request, &base, &head, !self.has_cluster()).await?;
        let target = self.target(&project);
        let run = self.around.context.run_url();
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
    pub(super) async fn closed(&self, pull: &PullRequest) -> Result<Exit, Failure> {
        let target = match &self.options.target {
            Some(target) => target.clone(),
            None => self.target(&self.open().await?),
        };
        self.reporter.closed(pull.number, &pull.head_sha, &target).await;
        Ok(self.nothing("the pull request was closed without a merge"))
    }
}

/// Returns the base that a pull request's plan is compared with.
async fn pull_request_base(
    project: &Workspace,
    head: &Commit,
    pull: &PullRequest,
    event_sha: &str,
) -> Result<Base, Failure> {
    let repository = project.repository("a pull request's plan")?;
    let parse = |text: &str| text.parse::<Commit>().map_err(|error| Failure::other(&error));
    if head.as_str() != event_sha && head.as_str() != pull.head_sha {
        at_commit(repository, event_sha).await?;
    }
    if let Some(base) = repository.merged_into(head, &parse(&pull.head_sha)?).await? {
        return Ok(project.base_fetched(&base, head).await?);
    }
    // HEAD is no merge commit: the forge makes none, or the workflow checked out the pull request's own head.
    let target = parse(&pull.base_sha)?;
    let target = match repository.fetch_commit("origin", &target).await {
        Ok(()) => repository.merge_base(&target, head).await?.unwrap_or(target),
        Err(_) => target,
    };
    Ok(project.base_fetched(&target, head).await?)
}

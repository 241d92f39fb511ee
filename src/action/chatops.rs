//! The job that a comment on a pull request starts.
//!
//! **Invariant:** who has no write access makes no job do anything but answer.

use super::command::{Command, HELP, parse};
use super::consent::described;
use super::job::Job;
use crate::cluster::lock::Broken;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::{Failure, chain, held_lock};
use crate::forge::{IssueComment, Pull, PullRequest, Remark};

impl Job<'_> {
    /// Carries out the command in a new comment. A comment without a command, an edited one and a deleted one do
    /// nothing.
    pub(super) async fn commented(&self, comment: &IssueComment) -> Result<Exit, Failure> {
        let command = match parse(&comment.body) {
            Some(command) if comment.is_pr && comment.action == "created" => command,
            _ => return Ok(self.nothing("the comment is not a command")),
        };
        // The comment as it is now counts, not as the event says.
        let remarks = self.reporter.remarks(comment.number).await;
        let Some(remark) = remarks.into_iter().find(|remark| remark.id == comment.comment_id) else {
            return Ok(self.nothing("the comment is gone"));
        };
        let Some(pull) = self.reporter.pull(comment.number).await else {
            return Ok(self.nothing("the pull request is not known"));
        };
        if let Some(why) = self.refused(&remark, &pull.author).await {
            return self.refuse(&remark, &why).await;
        }
        match command {
            Err(why) => self.refuse(&remark, &format!("{why}\n\n{HELP}")).await,
            Ok(Command::Help) => self.answer(&remark, HELP).await,
            Ok(Command::Consent(wish, digest)) => {
                // The comment is found by the names of the root and the target.
                self.open().await?;
                let plan = self.reporter.commented_plan(comment.number).await.ok().flatten();
                let planned = plan.as_ref().and_then(|plan| plan.digest.as_deref());
                let Some(plan) = plan.as_ref().filter(|_| planned.is_some_and(|planned| planned.starts_with(&digest)))
                else {
                    if self.reporter.is_of_a_plan(comment.number, &digest).await {
                        return Ok(self.nothing("the command is about the plan of another root or target"));
                    }
                    let now = planned.map_or_else(
                        || "this pull request has no plan".to_owned(),
                        |planned| format!("the plan of this pull request is {}", &planned[..planned.len().min(8)]),
                    );
                    return self.refuse(&remark, &format!("{digest} is not its plan: {now}")).await;
                };
                let check = self.repeat_check(&pull, plan).await;
                let text = format!(
                    "Recorded. The merge deletes {} as the plan {digest} lists it, and reads this comment again: an \
                     edited or deleted comment does not count, and neither does one for an older plan.\n\n{check}",
                    described(&wish)
                );
                self.answer(&remark, &text).await
            }
            Ok(Command::Plan) => {
                let event = event_of(&pull);
                let exit = self.commanded_plan(&event).await?;
                self.answer(&remark, "Planned: see the plan's comment.").await?;
                Ok(exit)
            }
            Ok(Command::Apply) => {
                let exit = self.applied(&self.around.context.sha).await?;
                let said = if exit == Exit::Success { "Applied." } else { "The apply did not finish: see the run." };
                self.answer(&remark, &format!("{said} {}", self.around.context.run_url())).await?;
                Ok(exit)
            }
            Ok(Command::Unlock(holder)) => self.unlock(&remark, &holder).await,
        }
    }

    async fn unlock(&self, remark: &Remark, holder: &str) -> Result<Exit, Failure> {
        let project = self.open().await?;
        let cluster = self.connect().await?;
        let namespace = &project.sources.tree.settings().state_namespace;
        match cluster.break_lock(namespace, &project.root, holder).await {
            Ok(Broken::Freed) => {
                let text = "The lock is released. To repeat the apply that waited for it, re-run its job, or comment \
                            `/ktor apply`.";
                self.answer(remark, text).await
            }
            Ok(Broken::NotHeld) => self.answer(remark, "The root is not locked.").await,
            Ok(Broken::OtherHolder(other)) => {
                self.refuse(remark, &format!("it does not hold {}", held_lock(&other))).await
            }
            Err(error) => Err(Failure::new(Exit::Failure, format!("failed to {}", chain(&error)))),
        }
    }

    async fn refuse(&self, remark: &Remark, why: &str) -> Result<Exit, Failure> {
        self.reporter.reply(remark, &format!("Not done: {why}.")).await;
        Ok(self.nothing(&format!("the command of {} is refused: {why}", remark.login)))
    }

    async fn answer(&self, remark: &Remark, text: &str) -> Result<Exit, Failure> {
        self.reporter.reply(remark, text).await;
        Ok(Exit::Success)
    }
}

/// Returns the event that a command stands for: the pull request as it is now.
fn event_of(pull: &Pull) -> PullRequest {
    PullRequest {
        action: "commanded".to_owned(),
        number: pull.number,
        head_sha: pull.head_sha.clone(),
        base_sha: pull.base_sha.clone(),
        base_ref: pull.base_ref.clone(),
        from_fork: pull.from_fork,
        merged: pull.merged,
        merge_commit_sha: pull.merge_commit_sha.clone(),
        draft: false,
        author_is_dependabot: false,
    }
}

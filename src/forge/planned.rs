//! The comment with the plan of a root and a target: its own comment, or a part of a summary.
//!
//! Several can exist: because the workflow was changed, because two first runs ran at the same time, or because another
//! job of the repository writes under the same login. The caller decides which one counts.

use std::cmp::Reverse;

use super::comment::Comment;
use super::hidden::{digests, read_plan};
use super::{Forge, ForgeError, Freshness};

/// The plan of a root and a target, as our comment has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommentedPlan {
    /// The signed statement of the plan.
    pub review: Option<String>,
    /// The digest of the plan.
    pub digest: Option<String>,
    /// The identity of the API server that the plan was made on. An offline plan has none.
    pub server: Option<String>,
    /// The run that wrote the comment.
    pub run: Option<Freshness>,
    /// The visible text of the plan and its time, if it is a part of a summary.
    pub section: Option<SummarySection>,
}

/// The visible text of a part of a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummarySection {
    /// The text.
    pub text: String,
    /// The time of the last change of the summary, in seconds since 1970, if the forge tells it.
    pub updated: Option<i64>,
}

impl Forge {
    /// Finds the plans of a root and a target in our comments on a pull request, the one of the latest run first. If there
    /// is none, returns the login of someone else who wrote a comment with such a plan, if there is one.
    pub async fn find_plans(
        &self,
        pr: u64,
        root: &str,
        target: &str,
    ) -> Result<Result<Vec<CommentedPlan>, Option<String>>, ForgeError> {
        let (mut ours, other) = self.comments_with(pr, &|body| read_plan(body, root, target).is_some()).await?;
        ours.sort_by_key(|comment| Reverse((run(comment), comment.id)));
        let plan = |comment: &Comment| {
            let plan = read_plan(&comment.body, root, target)?;
            let updated = comment.updated;
            Some(CommentedPlan {
                review: plan.review.map(str::to_owned),
                digest: plan.digest.map(str::to_owned),
                server: plan.server.map(str::to_owned),
                run: comment.freshness(),
                section: plan.section.map(|text| SummarySection { text, updated }),
            })
        };
        let plans: Vec<CommentedPlan> = ours.iter().filter_map(plan).collect();
        Ok(if plans.is_empty() { Err(other) } else { Ok(plans) })
    }

    /// Lists the digests of all plans in our comments on a pull request.
    pub async fn plan_digests(&self, pr: u64) -> Result<Vec<String>, ForgeError> {
        let (ours, _) = self.comments_with(pr, &|body| digests(body).next().is_some()).await?;
        Ok(ours.iter().flat_map(|comment| digests(&comment.body)).map(str::to_owned).collect())
    }
}

/// Returns the run that wrote a comment, and its attempt. A comment that names no run is the oldest.
fn run(comment: &Comment) -> Option<(u64, u32)> {
    comment.freshness().map(|run| (run.run_id, run.attempt))
}

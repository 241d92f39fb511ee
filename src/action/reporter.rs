//! The reports of `ktor action`: the sticky comment, the step summary and the outputs. An error of the forge never
//! fails a run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::options::{ActionOptions, Surroundings, Told};
use crate::conclusion::failure::{Failure, chain};
use crate::forge::{
    Context, Forge, ForgeSettings, Freshness, Marker, Patience, Relation, Sticky, Token, Upserted, hidden_block,
    workflow,
};
use crate::plan::build::Plan;
use crate::plan::outcome::Outcome;
use crate::plan::policy::Shown;
use crate::plan::review::{self, Review};
use crate::report::{Budget, Heading, markdown, summary};
use crate::state::lateness::CommitOrder;

/// The hidden block of a comment that lists the deletions shown to the reviewer.
const CLEANUP: &str = "cleanup";
/// The hidden block of a comment that contains the plan's digest.
const DIGEST: &str = "digest";

/// The content of a report.
#[derive(Clone, Copy)]
pub(crate) struct Report<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The outcome, after an apply.
    pub outcome: Option<&'a Outcome>,
    /// The context that the report names: target, cluster, commits and run.
    pub heading: Heading<'a>,
    /// The error that ended the run early, if there is one.
    pub error: Option<&'a str>,
}

/// Writes the reports of one run.
pub(crate) struct Reporter<'a> {
    forge: Option<Forge>,
    context: &'a Context,
    around: &'a Surroundings<'a>,
    reported: AtomicBool,
}

impl<'a> Reporter<'a> {
    /// Creates the reporter. Without a token, it writes no comments.
    ///
    /// # Errors
    ///
    /// The token or the forge's address is not valid.
    pub(crate) fn new(options: &ActionOptions, around: &'a Surroundings<'a>) -> Result<Self, Failure> {
        let context = around.context;
        let forge = match &options.token {
            Some(token) => {
                if let Some(mask) = workflow::add_mask(token) {
                    (around.tell)(Told::Command(&mask));
                }
                let settings = ForgeSettings {
                    api_url: context.api_url.clone(),
                    repository: context.repository.clone(),
                    token: Token::new(token).map_err(|error| Failure::other(&error))?,
                    author: Some(options.comment_author.clone()),
                    patience: Patience::default(),
                };
                Some(Forge::new(settings).map_err(|error| Failure::other(&error))?)
            }
            None => {
                (around.tell)(Told::Notice("there is no token: the plan is only in the step summary"));
                None
            }
        };
        Ok(Self { forge, context, around, reported: AtomicBool::new(false) })
    }

    /// Returns `true` if the run has already written its report to the step summary.
    pub(crate) fn has_reported(&self) -> bool {
        self.reported.load(Ordering::Relaxed)
    }

    /// Writes a pull request's plan to the step summary and to the comment. Returns the URL of the comment.
    pub(crate) async fn plan(&self, number: u64, head: &str, target: &str, report: &Report<'_>) -> Option<String> {
        self.summary(report);
        let hidden = hidden_of(report.plan);
        let budget = Budget::COMMENT.less(reserved(&hidden));
        let text = markdown::plan(report.plan, &report.heading, budget).text;
        self.say(number, head, target, hidden, text).await
    }

    /// Writes an apply's outcome to the step summary and to the comment of each pull request that it merged. Returns
    /// the URL of the last comment written.
    pub(crate) async fn outcome(
        &self,
        pulls: &[(u64, String)],
        comments: &BTreeMap<u64, Value>,
        report: &Report<'_>,
    ) -> Option<String> {
        self.summary(report);
        let outcome = report.outcome?;
        let mut url = None;
        for (number, head) in pulls {
            // The comment keeps the reviewed deletions, because a repeated run reads them again.
            let reviewed = comments.get(number).map(|set| hidden_block(CLEANUP, set));
            let hidden: Vec<String> = reviewed.into_iter().collect();
            let budget = Budget::COMMENT.less(reserved(&hidden));
            let text = markdown::outcome(report.plan, outcome, &report.heading, report.error, budget).text;
            url = self.say(*number, head, report.heading.target, hidden, text).await.or(url);
        }
        url
    }

    /// Reports a run that made no plan. The comment of each pull request keeps its reviewed deletions, which `comments`
    /// contains.
    pub(crate) async fn failure(
        &self,
        pulls: &[(u64, String)],
        comments: &BTreeMap<u64, Value>,
        heading: &Heading<'_>,
        error: &str,
    ) {
        let text = markdown::failure(heading, error);
        self.write_summary(&text);
        for (number, head) in pulls {
            let hidden = comments.get(number).map(|set| hidden_block(CLEANUP, set));
            self.say(*number, head, heading.target, hidden.into_iter().collect(), text.clone()).await;
        }
    }

    /// Notes in the comment that the pull request was closed without a merge. Without a comment, it does nothing.
    pub(crate) async fn closed(&self, number: u64, head: &str, target: &str) {
        let text = "Closed without a merge: nothing was applied.".to_owned();
        let Some(forge) = &self.forge else { return };
        match forge.find_sticky(number, &Marker::new(target)).await {
            Ok(Some(_)) => drop(self.say(number, head, target, Vec::new(), text).await),
            Ok(None) => {}
            Err(error) => self.notice(&format!("the comment was not found: {}", chain(&error))),
        }
    }

    /// Returns the number and the head commit of each merged pull request that belongs to a commit. The list is empty
    /// if the forge fails.
    pub(crate) async fn pulls_of(&self, commit: &str) -> Vec<(u64, String)> {
        let Some(forge) = &self.forge else { return Vec::new() };
        match forge.pulls_of_commit(commit).await {
            Ok(pulls) => {
                pulls.into_iter().filter(|pull| pull.merged).map(|pull| (pull.number, pull.head_sha)).collect()
            }
            Err(error) => {
                self.notice(&format!("the pull requests of {commit} are not known: {}", chain(&error)));
                Vec::new()
            }
        }
    }

    /// Returns the order of the commit `head` relative to another commit or a branch. Returns `None` if the forge
    /// cannot tell.
    pub(crate) async fn standing(&self, head: &str, other: &str) -> Option<CommitOrder> {
        let compared = match self.forge.as_ref()?.compare_files(other, head).await {
            Ok(compared) => compared,
            Err(error) => {
                self.notice(&format!("which commit is the later one is not known: {}", chain(&error)));
                return None;
            }
        };
        match (compared.relation, compared.merge_base_sha) {
            (Some(Relation::Identical), _) => Some(CommitOrder::Same),
            (Some(Relation::Ahead), _) => Some(CommitOrder::Newer),
            (Some(Relation::Behind), _) => Some(CommitOrder::Older),
            (Some(Relation::Diverged), _) => Some(CommitOrder::Diverged),
            (None, Some(base)) if base == other => Some(CommitOrder::Newer),
            (None, Some(base)) if base == head => Some(CommitOrder::Older),
            (None, _) => None,
        }
    }

    /// Reads the deletions that the comments of the pull requests showed, by pull request number.
    pub(crate) async fn comments(&self, pulls: &[(u64, String)], target: &str) -> BTreeMap<u64, Value> {
        let mut sets = BTreeMap::new();
        let Some(forge) = &self.forge else { return sets };
        for (number, _) in pulls {
            match forge.find_sticky(*number, &Marker::new(target)).await {
                Ok(Some(comment)) => {
                    let Some(block) = comment.hidden(CLEANUP) else { continue };
                    if let Err(error) = review::decode(&block) {
                        self.notice(&format!("the plan of #{number} shows no deletion: {}", chain(&error)));
                    }
                    sets.insert(*number, block);
                }
                Ok(None) => {}
                Err(error) => self.notice(&format!("the plan of #{number} cannot be read: {}", chain(&error))),
            }
        }
        sets
    }

    /// Writes the step's outputs.
    pub(crate) fn outputs(&self, outputs: &[(&'static str, &str)]) {
        let Some(file) = &self.context.output else { return };
        let seed = u64::from_ne_bytes((self.around.seed)()[..8].try_into().unwrap_or_default());
        let text: String = outputs.iter().map(|(name, value)| workflow::set_output(name, value, seed)).collect();
        if let Err(error) = append(file, &text) {
            self.notice(&format!("the outputs were not written: {error}"));
        }
    }

    /// Writes the step summary.
    pub(crate) fn summary(&self, report: &Report<'_>) {
        let Report { plan, outcome, heading, error } = report;
        let text = match outcome {
            Some(outcome) => summary::outcome(plan, outcome, heading, *error).text,
            None => summary::plan(plan, heading).text,
        };
        self.write_summary(&text);
    }

    fn notice(&self, message: &str) {
        (self.around.tell)(Told::Notice(message));
    }

    fn write_summary(&self, text: &str) {
        self.reported.store(true, Ordering::Relaxed);
        let Some(file) = &self.context.step_summary else { return };
        if let Err(error) = append(file, &workflow::step_summary(text)) {
            self.notice(&format!("the step summary was not written: {error}"));
        }
    }

    async fn say(&self, number: u64, head: &str, target: &str, hidden: Vec<String>, text: String) -> Option<String> {
        let forge = self.forge.as_ref()?;
        let freshness =
            Freshness { head_sha: head.to_owned(), run_id: self.context.run_id, attempt: self.context.attempt };
        let sticky = Sticky { marker: Marker::new(target), freshness, hidden, text };
        match forge.upsert_sticky(number, &sticky).await {
            Ok(upserted) => {
                if let Upserted::Superseded { .. } = &upserted {
                    self.notice(&format!("a newer run has written the comment of #{number}: it was left alone"));
                }
                Some(upserted.url().to_owned())
            }
            Err(error) => {
                self.notice(&format!("the comment of #{number} was not written: {}", chain(&error)));
                None
            }
        }
    }
}

/// Returns the union of the reviewed deletions in the comments, each with its pull request. A block that cannot be read
/// shows nothing.
pub(crate) fn reviewed_in<'a>(blocks: impl IntoIterator<Item = (&'a u64, &'a Value)>) -> Shown {
    let mut shown = Shown::default();
    for (pull, block) in blocks {
        let review = review::decode(block).unwrap_or_default();
        shown.deleted.extend(review.deleted_keys().map(|key| (key, *pull)));
        shown.replaced.extend(review.replaced_keys().map(|key| (key, *pull)));
    }
    shown
}

fn hidden_of(plan: &Plan) -> Vec<String> {
    let review = review::encode(&Review::of(plan));
    vec![hidden_block(CLEANUP, &review), hidden_block(DIGEST, &json!(plan.digest))]
}

/// Returns the bytes that the hidden lines of a comment take. The forge's size limit counts them like the visible text.
fn reserved(hidden: &[String]) -> usize {
    const MARKER_AND_FRESHNESS: usize = 1_024;
    hidden.iter().map(String::len).sum::<usize>() + MARKER_AND_FRESHNESS
}

/// Appends text to a file that the runner named, and creates the file if it is missing.
fn append(file: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    std::fs::OpenOptions::new().create(true).append(true).open(file)?.write_all(text.as_bytes())
}

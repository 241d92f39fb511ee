//! The reports of `ktor action`: the comment, the step summary and the outputs. An error of the forge never fails a run.
//!
//! The plan of a root and target has a comment of its own, unless a summary makes one comment of several plans. Only the
//! summary ever writes that comment. An apply reads its plan there and writes its outcome to a comment of its own: the
//! applies of a matrix run at the same time, the forge has no conditional edit, and a comment that two of them edit would
//! lose the outcome or the signed plan of one. To read again after the write does not help, because the writer that read
//! before and writes last still overwrites, and the other one has ended by then.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::options::{Commenting, Identity, Surroundings, Told};
use crate::cluster::identity::ServerIdentity;
use crate::conclusion::failure::{Failure, chain};
use crate::forge::{
    CommentedPlan, Context, DIGEST, Forge, ForgeError, ForgeSettings, Freshness, IssueReport, Marker, Patience,
    Permission, Posting, Pull, REVIEW, Relation, Remark, SERVER, Sticky, Token, Upserted, hidden_block, workflow,
};
use crate::plan::build::Plan;
use crate::plan::drift::has_drifted;
use crate::plan::name_set::NameSet;
use crate::plan::outcome::Outcome;
use crate::plan::signature::{About, SigningKey, SigningKeys, Statement, sign, verify};
use crate::report::markdown::Unsigned;
use crate::report::{Budget, Heading, markdown, summary};
use crate::state::lateness::CommitOrder;

mod merged;
mod overtaken;
mod pages;
mod runs;
mod section;

pub(crate) use merged::{MergedPull, OwnPlan, PlanPlace};
pub(crate) use section::PlanVerdict;

/// The largest number of pull requests whose comments one run writes.
const COMMENTED: usize = 25;

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
    /// The keys of the root, once they are known. Comments of other runs are believed only with a seal then.
    keys: OnceLock<SigningKeys>,
    /// The API server that the plan is made on, once it is known.
    server: OnceLock<ServerIdentity>,
    commenting: Commenting,
    /// The root and the target, once the project is open.
    identity: OnceLock<Identity>,
    /// The identity of a project that could not be opened.
    unopened: Identity,
}

/// The signature of a plan's comment.
pub(crate) enum Signing {
    /// The plan is signed with the first of these keys.
    By(SigningKeys, Box<Statement>),
    /// The plan is not signed, for this reason.
    Not(Unsigned),
}

impl<'a> Reporter<'a> {
    /// Creates the reporter. Without a token, it writes no comments.
    ///
    /// # Errors
    ///
    /// The token or the forge's address is not valid.
    pub(crate) fn new(
        token: Option<&str>,
        author: Option<&str>,
        commenting: Commenting,
        unopened: Identity,
        around: &'a Surroundings<'a>,
    ) -> Result<Self, Failure> {
        let context = around.context;
        let forge = match token {
            Some(token) => {
                if let Some(mask) = workflow::add_mask(token) {
                    (around.tell)(Told::Command(&mask));
                }
                let settings = ForgeSettings {
                    api_url: context.api_url.clone(),
                    repository: context.repository.clone(),
                    token: Token::new(token).map_err(|error| Failure::other(&error))?,
                    author: author.map(str::to_owned),
                    patience: Patience::default(),
                };
                Some(Forge::new(settings).map_err(|error| Failure::other(&error))?)
            }
            None => {
                (around.tell)(Told::Notice("there is no token: the plan is only in the step summary"));
                None
            }
        };
        Ok(Self {
            forge,
            context,
            around,
            reported: AtomicBool::new(false),
            keys: OnceLock::new(),
            server: OnceLock::new(),
            commenting,
            identity: OnceLock::new(),
            unopened,
        })
    }

    /// Sets the root and the target of all reports from now on.
    pub(crate) fn identify(&self, identity: Identity) {
        self.identity.get_or_init(|| identity);
    }

    /// Returns `true` if the run writes no comments, and leaves files for a summary.
    fn is_off(&self) -> bool {
        self.commenting == Commenting::Off
    }

    fn identity(&self) -> &Identity {
        self.identity.get().unwrap_or(&self.unopened)
    }

    fn marker(&self) -> Marker {
        let Identity { root, target } = self.identity();
        Marker::new(root, target)
    }

    /// Returns `true` if the run has already written its report to the step summary.
    pub(crate) fn has_reported(&self) -> bool {
        self.reported.load(Ordering::Relaxed)
    }

    /// Returns `true` if there is a forge to ask.
    pub(crate) fn has_forge(&self) -> bool {
        self.forge.is_some()
    }

    /// Believes only comments that these keys sealed from now on.
    pub(crate) fn believe(&self, keys: Option<&SigningKeys>) {
        if let Some(keys) = keys {
            self.keys.get_or_init(|| keys.clone());
        }
    }

    /// Sets the API server that the plan is made on.
    pub(crate) fn plans_on(&self, server: ServerIdentity) {
        self.server.get_or_init(|| server);
    }

    /// Writes a pull request's plan to the step summary and to the comment. Returns the URL of the comment.
    pub(crate) async fn plan(
        &self,
        number: u64,
        head: &str,
        report: &Report<'_>,
        signing: Signing,
        verdict: PlanVerdict,
    ) -> Option<String> {
        let Report { plan, heading, .. } = report;
        let in_summary = self.summary(report);
        let signed = match signing {
            Signing::By(keys, statement) => match keys.keys.first().cloned() {
                Some(key) => Ok((statement, key)),
                None => Err(Unsigned::NoKey),
            },
            Signing::Not(why) => Err(why),
        };
        let alert = signed.as_ref().err().map(|why| markdown::unsigned(plan, why)).unwrap_or_default();
        // A plan that appears after the merge was seen by nobody.
        if signed.is_ok() && self.pull(number).await.is_some_and(|pull| pull.merged) {
            self.notice(&format!("#{number} was merged meanwhile: its comment stays as it is"));
            return None;
        }
        if self.is_off() {
            self.leave_plan((Some(number), head), report, signed.ok(), (&alert, in_summary), verdict);
            return None;
        }
        let server = self.server.get().and_then(|server| hidden_block(SERVER, &server.to_string()));
        let data: Vec<String> = hidden_block(DIGEST, &plan.digest).into_iter().chain(server).collect();
        let block = |statement: &Statement, key: &SigningKey| hidden_block(REVIEW, &sign(statement, key));
        // The block of all deletions is the longest one, so the text is made to fit beside it.
        let longest = signed.as_ref().ok().and_then(|(statement, key)| block(statement, key));
        let hidden: Vec<String> = data.iter().cloned().chain(longest).collect();
        let budget = Budget::COMMENT.less(reserved(&hidden) + alert.len());
        let shown = markdown::plan(plan, heading, budget);
        // The time of the signature is the one right before the comment is written, and not the one at which the plan
        // began.
        let time = self.forge.as_ref().and_then(Forge::time);
        // A deletion counts as shown if it stands in the comment, or in the summary that the comment links.
        let count = shown.deletions.max(in_summary);
        let block = signed.ok().zip(time).and_then(|((statement, key), time)| {
            let statement = Statement { time, ..statement.showing(plan, count, key.names()) };
            block(&statement, &key)
        });
        let hidden: Vec<String> = data.into_iter().chain(block).collect();
        if is_silent(plan) && !self.has_comment(number).await {
            return None;
        }
        self.say(number, head, self.marker(), hidden, format!("{alert}{}", shown.text)).await
    }

    /// Returns `true` if the pull request has our comment, or if the forge does not tell.
    async fn has_comment(&self, number: u64) -> bool {
        let Some(forge) = &self.forge else { return false };
        !matches!(forge.find_sticky(number, &self.marker()).await, Ok(None))
    }

    /// States what the plan shows. Returns `None` if the forge does not tell its time.
    pub(crate) fn statement(&self, plan: &Plan, keys: &SigningKeys, about: About, tree: String) -> Option<Statement> {
        let key = keys.keys.first()?;
        let statement = Statement {
            about,
            tree,
            run: self.context.run_id,
            attempt: u64::from(self.context.attempt),
            // The time of the merge is on the forge's clock, so the time of the plan is too.
            time: self.forge.as_ref()?.time()?,
            digest: plan.digest.clone(),
            kept: BTreeMap::new(),
            deleted: NameSet::default(),
            replaced: NameSet::default(),
            texts: Vec::new(),
        };
        Some(statement.showing(plan, usize::MAX, key.names()))
    }

    /// Writes an apply's outcome to the step summary and to the comment of each pull request that it merged. Returns
    /// the URL of the last comment written.
    pub(crate) async fn outcome(&self, pulls: &[MergedPull], report: &Report<'_>) -> Option<String> {
        self.summary(report);
        let outcome = report.outcome.filter(|_| !self.is_off())?;
        let mut url = None;
        if pulls.len() > COMMENTED {
            // So many comments would meet the forge's limits. The signed plans stay in the pull requests.
            let names: Vec<String> = pulls.iter().map(|pull| format!("#{}", pull.number)).collect();
            let budget = Budget::COMMENT.less(8 * names.len() + 256);
            let text = markdown::outcome(report.plan, outcome, &report.heading, report.error, budget).text;
            let text = format!("{text}\nThis apply covers {}.\n", names.join(", "));
            return self.say_at_commit(report.heading.head.unwrap_or_default(), &text).await;
        }
        for pull in pulls {
            // The comment keeps the signed plan, because a repeated run reads it again.
            let hidden = pull.hidden();
            let budget = Budget::COMMENT.less(reserved(&hidden));
            let text = markdown::outcome(report.plan, outcome, &report.heading, report.error, budget).text;
            url = self.say(pull.number, &pull.head, pull.marker(self.identity()), hidden, text).await.or(url);
        }
        url
    }

    /// Adds a comment to the last of the pull requests, because an edit of the plan's comment notifies nobody. A repeated
    /// run of the same commit edits it.
    pub(crate) async fn alarm(&self, pulls: &[MergedPull], heading: &Heading<'_>, error: &str) {
        let (Some(forge), Some(pull)) = (&self.forge, pulls.last()) else { return };
        if self.is_off() {
            return;
        }
        let Context { run_id, attempt, .. } = *self.context;
        let commit = heading.head.unwrap_or_default();
        let freshness = Freshness { head_sha: commit.to_owned(), run_id, attempt, seal: None };
        let Identity { root, target } = self.identity();
        let marker = Marker::alarm(root, target, commit);
        let text = markdown::alarm(heading, error);
        let sticky = Sticky { marker, freshness, hidden: Vec::new(), text };
        if let Err(error) = forge.upsert_sticky(pull.number, &sticky, &|_| true).await {
            self.notice(&format!("#{} was not told of the failed apply: {}", pull.number, chain(&error)));
        }
    }

    /// Reports a run that made no plan. The comment of each pull request keeps its signed plan. `planned` is the pull
    /// request and the head that the run should have planned.
    pub(crate) async fn failure(
        &self,
        pulls: &[MergedPull],
        planned: Option<(Option<u64>, &str)>,
        heading: &Heading<'_>,
        error: &Failure,
    ) {
        let text = markdown::failure(heading, error.first());
        self.write_summary(&text);
        if self.is_off() {
            if let Some(subject) = planned {
                self.leave_failure(subject, text, error.exit);
            }
            return;
        }
        for pull in pulls {
            self.say(pull.number, &pull.head, pull.marker(self.identity()), pull.hidden(), text.clone()).await;
        }
    }

    /// Writes a drift to its issue, or closes the issue if there is no drift. Returns the URL of the issue.
    ///
    /// # Errors
    ///
    /// The issue could not be written, for this reason.
    pub(crate) async fn drift(&self, plan: &Plan, heading: &Heading<'_>) -> Result<Option<String>, String> {
        let text = markdown::drift(plan, heading, Budget::SUMMARY).text;
        self.write_summary(&text);
        let forge = self.forge.as_ref().ok_or("there is no token")?;
        let marker = Marker::drift(plan.root.as_str(), heading.target);
        let written = if has_drifted(plan) {
            let text = markdown::drift(plan, heading, Budget::COMMENT.less(reserved(&[]))).text;
            let title = format!("{} differs from what was merged", heading.target);
            forge.report(&IssueReport { marker, title, text }).await.map(Some)
        } else {
            forge.close_report(&marker, &markdown::drift(plan, heading, Budget::COMMENT).text).await
        };
        written.map_err(|error| chain(&error))
    }

    /// Says one sentence about a pull request in its comment. Without a comment, it writes one only if `is_new` says so.
    pub(crate) async fn note(&self, number: u64, head: &str, heading: &Heading<'_>, sentence: &str, is_new: bool) {
        let text = markdown::note(heading, sentence);
        if self.is_off() {
            return self.leave_note((Some(number), head), text, is_new);
        }
        let Some(forge) = &self.forge else { return };
        match forge.find_sticky(number, &self.marker()).await {
            Ok(None) if !is_new => {}
            Ok(_) => drop(self.say(number, head, self.marker(), Vec::new(), text).await),
            Err(error) => self.notice(&format!("the comment was not found: {}", chain(&error))),
        }
    }

    /// Reads a pull request. Returns `None` if the forge does not know it, or fails.
    pub(crate) async fn pull(&self, number: u64) -> Option<Pull> {
        match self.forge.as_ref()?.pull(number).await {
            Ok(pull) => Some(pull),
            Err(error) => {
                self.notice(&format!("#{number} is not known: {}", chain(&error)));
                None
            }
        }
    }

    /// Returns the merged pull requests that belong to a commit. The list is empty if the forge fails.
    pub(crate) async fn pulls_of(&self, commit: &str) -> Vec<Pull> {
        let Some(forge) = &self.forge else { return Vec::new() };
        match forge.pulls_of_commit(commit).await {
            Ok(pulls) => pulls.into_iter().filter(|pull| pull.merged).collect(),
            Err(error) => {
                self.notice(&format!("the pull requests of {commit} are not known: {}", chain(&error)));
                Vec::new()
            }
        }
    }

    /// Lists the comments on a pull request. The list is empty if the forge fails.
    pub(crate) async fn remarks(&self, number: u64) -> Vec<Remark> {
        let Some(forge) = &self.forge else { return Vec::new() };
        match forge.remarks(number).await {
            Ok(remarks) => remarks,
            Err(error) => {
                self.notice(&format!("the comments of #{number} are not known: {}", chain(&error)));
                Vec::new()
            }
        }
    }

    /// Asks for the permission of a user.
    ///
    /// # Errors
    ///
    /// The forge does not tell, for this reason.
    pub(crate) async fn permission(&self, login: &str) -> Result<Permission, String> {
        let forge = self.forge.as_ref().ok_or("there is no token")?;
        forge.permission(login).await.map_err(|error| chain(&error))
    }

    /// Answers a comment. A repeated run edits its answer.
    pub(crate) async fn reply(&self, to: &Remark, text: &str) {
        let Some(forge) = &self.forge else { return };
        let Context { run_id, attempt, .. } = *self.context;
        let freshness = Freshness { head_sha: self.context.sha.clone(), run_id, attempt, seal: None };
        let sticky = Sticky { marker: Marker::reply("", to.id), freshness, hidden: Vec::new(), text: text.to_owned() };
        if let Err(error) = forge.upsert_sticky(to.pull, &sticky, &|_| true).await {
            self.notice(&format!("the comment of #{} was not answered: {}", to.pull, chain(&error)));
        }
    }

    /// Returns `true` if a digest is the beginning of the one of a plan in our comments, whatever its root and target.
    pub(crate) async fn is_of_a_plan(&self, number: u64, digest: &str) -> bool {
        let Some(forge) = &self.forge else { return false };
        forge.plan_digests(number).await.is_ok_and(|plans| plans.iter().any(|plan| plan.starts_with(digest)))
    }

    /// Reads the plans in our comments on a pull request, the one of the latest run first. If there is no such comment,
    /// returns the author of another comment that looks like it, if there is one.
    ///
    /// # Errors
    ///
    /// The forge fails.
    pub(crate) async fn commented_plans(
        &self,
        number: u64,
    ) -> Result<Result<Vec<CommentedPlan>, Option<String>>, ForgeError> {
        let Some(forge) = &self.forge else { return Ok(Err(None)) };
        let Identity { root, target } = self.identity();
        forge.find_plans(number, root, target).await
    }

    /// Reads the plan in our comment on a pull request: the first one with a valid signature, or else the first one.
    ///
    /// # Errors
    ///
    /// The forge fails.
    pub(crate) async fn commented_plan(&self, number: u64) -> Result<Option<CommentedPlan>, ForgeError> {
        let mut plans = self.commented_plans(number).await?.unwrap_or_default();
        let is_signed = |plan: &CommentedPlan| {
            let (block, keys) = (plan.review.as_ref(), self.keys.get());
            block.zip(keys).is_some_and(|(block, keys)| verify(block, &keys.keys).is_ok())
        };
        let at = plans.iter().position(is_signed).unwrap_or(0);
        Ok((at < plans.len()).then(|| plans.swap_remove(at)))
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

    /// Writes the step's outputs.
    pub(crate) fn outputs(&self, outputs: &[(&'static str, &str)]) {
        let Some(file) = &self.context.output else { return };
        let seed = u64::from_ne_bytes((self.around.seed)()[..8].try_into().unwrap_or_default());
        let text: String = outputs.iter().map(|(name, value)| workflow::set_output(name, value, seed)).collect();
        if let Err(error) = append(file, &text) {
            self.notice(&format!("the outputs were not written: {error}"));
        }
    }

    /// Writes the step summary. Returns the number of deletions and replacements that it shows.
    pub(crate) fn summary(&self, report: &Report<'_>) -> usize {
        let Report { plan, outcome, heading, error } = report;
        let summary = match outcome {
            Some(outcome) => summary::outcome(plan, outcome, heading, *error),
            None => summary::plan(plan, heading),
        };
        if self.write_summary(&summary.text) { summary.deletions } else { 0 }
    }

    pub(super) fn notice(&self, message: &str) {
        (self.around.tell)(Told::Notice(message));
    }

    /// Writes a text to the step summary. Returns `true` if it was written.
    pub(crate) fn write_summary(&self, text: &str) -> bool {
        self.reported.store(true, Ordering::Relaxed);
        let Some(file) = &self.context.step_summary else { return false };
        let written = append(file, &workflow::step_summary(text));
        if let Err(error) = &written {
            self.notice(&format!("the step summary was not written: {error}"));
        }
        written.is_ok()
    }

    async fn say_at_commit(&self, commit: &str, text: &str) -> Option<String> {
        match self.forge.as_ref()?.comment_on_commit(commit, text).await {
            Ok(url) => Some(url),
            Err(error) => {
                self.notice(&format!("the comment of {commit} was not written: {}", chain(&error)));
                None
            }
        }
    }

    async fn say(&self, number: u64, head: &str, marker: Marker, hidden: Vec<String>, text: String) -> Option<String> {
        let forge = self.forge.as_ref()?;
        let Context { run_id, attempt, .. } = *self.context;
        let keys = self.keys.get();
        let Identity { root, target } = self.identity();
        let seal = keys.and_then(|keys| keys.seal(&sealed(target, number, head, run_id, attempt)));
        let freshness = Freshness { head_sha: head.to_owned(), run_id, attempt, seal };
        // Anyone who can write comments as this workflow can claim to be a later run, but only a run with the keys can
        // prove it.
        let believes = |told: &Freshness| {
            let text = sealed(target, number, &told.head_sha, told.run_id, told.attempt);
            keys.is_none_or(|keys| told.seal.as_ref().is_some_and(|seal| keys.is_sealed(&text, seal)))
        };
        let sticky = Sticky { marker, freshness, hidden, text };
        let posting = if self.commenting == Commenting::New { Posting::Anew } else { Posting::InPlace };
        let url = match forge.post(number, &sticky, posting, &believes).await {
            Ok(upserted) => {
                if let Upserted::Superseded { .. } = &upserted {
                    self.notice(&format!("a newer run has written the comment of #{number}: it was left alone"));
                }
                upserted.url().to_owned()
            }
            Err(error) => {
                self.notice(&format!("the comment of #{number} was not written: {}", chain(&error)));
                return None;
            }
        };
        if posting == Posting::Anew {
            let markers = (&sticky.marker, &Marker::outdated(root, target));
            if let Err(error) = forge.outdate(number, markers, &markdown::outdated, &believes).await {
                self.notice(&format!("the older comments of #{number} still look current: {}", chain(&error)));
            }
        }
        Some(url)
    }
}

/// Returns `true` if a plan needs no comment: nothing changes, and nothing of it fails or stays.
fn is_silent(plan: &Plan) -> bool {
    !plan.has_changes() && plan.refusals.is_empty() && plan.broken.is_empty() && plan.own.is_empty()
}

/// Returns the text whose seal proves that a run wrote a comment.
fn sealed(target: &str, number: u64, head: &str, run: u64, attempt: u32) -> String {
    format!("{number} {head} {run} {attempt} {target}")
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

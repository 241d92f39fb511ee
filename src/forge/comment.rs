//! The sticky comment: found by its marker and its author, edited in place, and never overwritten by an older run.
//!
//! A comment is ours if it starts with the marker **and** its author is the login that our comments have. That login is
//! the configured one. Without one, it is the login that `GET /user` returns for the token. An Actions token of GitHub may
//! not send this request; its login is `github-actions[bot]`. No person can have this login, because logins do not contain
//! brackets. An Actions token of Gitea gets `gitea-actions`, which Gitea reserves.
//!
//! Two first runs at the same time can leave several comments of ours. Another job of the repository writes under the
//! same login, on Gitea even a job of a fork. Of several comments, the newest one whose run the caller believes is edited,
//! and the others stay as they are.
//!
//! GitHub has no conditional edit. Between the reading of the list and the write, a newer run can therefore still
//! write. The workflow's `concurrency:` block prevents this.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use http::Method;
use serde_json::{Value, json};

use super::client::{AttemptFailure, malformed, segment};
use super::hidden::visible_text;
use super::{Dialect, Forge, ForgeError, Freshness, Marker, read_hidden_block};

/// The maximum length of a comment in characters, including its hidden lines. GitHub refuses 65,536.
pub const BODY_LIMIT: usize = 60_000;

/// The maximum number of content writes of one [`Forge`]. A run has one [`Forge`].
pub(crate) const WRITE_LIMIT: u8 = 27;

/// The maximum number of pages of comments that are read.
const PAGES: u32 = 500;

/// A comment that a pull request has only once.
#[derive(Clone, Debug)]
pub struct Sticky {
    /// The marker that identifies the comment.
    pub marker: Marker,
    /// The run that writes the comment, and the commit that the comment is about.
    pub freshness: Freshness,
    /// The data lines, each made by [`super::hidden_block`].
    pub hidden: Vec<String>,
    /// The visible text.
    pub text: String,
}

/// A comment that we wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// The comment's ID.
    pub id: u64,
    /// The URL of the comment's web page.
    pub url: String,
    /// The whole text, including the hidden lines.
    pub body: String,
    /// The time of the last change, in seconds since 1970, if the forge tells it.
    pub updated: Option<i64>,
}

/// A comment on a pull request, by anyone. Its text is untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The number of the pull request.
    pub pull: u64,
    /// The comment's ID.
    pub id: u64,
    /// The login of its author.
    pub login: String,
    /// `true` if its author is not a person.
    pub is_bot: bool,
    /// The text.
    pub body: String,
    created_at: String,
    updated_at: String,
}

impl Remark {
    /// Returns `true` if the text may not be the one that its author wrote at first.
    pub fn is_edited(&self) -> bool {
        self.created_at.is_empty() || self.created_at != self.updated_at
    }
}

/// The result of writing a sticky comment. Every variant has the URL of the comment's web page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upserted {
    /// The comment was created.
    Created {
        /// The URL of the comment's web page.
        url: String,
        /// The login that wrote the comment, if it is not the expected one. Later runs must be configured with this
        /// login to find the comment again.
        unexpected_author: Option<String>,
    },
    /// The existing comment was edited.
    Edited {
        /// The URL of the comment's web page.
        url: String,
    },
    /// The existing comment already had this text.
    Unchanged {
        /// The URL of the comment's web page.
        url: String,
    },
    /// A newer run has already written the comment. Nothing was written.
    Superseded {
        /// The URL of the comment's web page.
        url: String,
        /// The newer run.
        by: Freshness,
    },
}

/// The treatment of our earlier comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posting {
    /// The earlier comment is edited.
    InPlace,
    /// The earlier comment stays, and a new one is created.
    Anew,
}

/// The kind of a write.
#[derive(Clone, Copy)]
enum Write {
    Create,
    Edit,
}

impl Sticky {
    /// Returns the comment's whole text: the hidden lines without a blank line between them, then the visible text.
    pub fn body(&self) -> String {
        let mut head = vec![self.marker.as_str().to_owned(), self.freshness.to_string()];
        head.extend(self.hidden.iter().cloned());
        format!("{}\n\n{}", head.join("\n"), self.text)
    }
}

impl Comment {
    /// Reads the hidden block `name` of the comment.
    pub fn hidden(&self, name: &str) -> Option<&str> {
        read_hidden_block(&self.body, name)
    }

    /// Returns the run that wrote the comment, and the commit that the comment is about.
    pub fn freshness(&self) -> Option<Freshness> {
        Freshness::of(&self.body)
    }

    /// Returns `true` if the comment's text is `body`. Line ends and trailing white space do not count.
    pub(super) fn says(&self, body: &str) -> bool {
        self.body.replace("\r\n", "\n").trim_end() == body.replace("\r\n", "\n").trim_end()
    }
}

impl Upserted {
    /// Returns the URL of the comment's web page.
    pub fn url(&self) -> &str {
        match self {
            Self::Created { url, .. }
            | Self::Edited { url }
            | Self::Unchanged { url }
            | Self::Superseded { url, .. } => url,
        }
    }
}

impl Forge {
    /// Finds our comment with `marker` on a pull request. If there are several, it returns the newest.
    pub async fn find_sticky(&self, pr: u64, marker: &Marker) -> Result<Option<Comment>, ForgeError> {
        Ok(self.stickies(pr, marker).await?.0.pop())
    }

    /// Lists the comments on a pull request, oldest first.
    pub async fn remarks(&self, pr: u64) -> Result<Vec<Remark>, ForgeError> {
        Ok(self.comments(pr).await?.iter().filter_map(|item| remark(pr, item)).collect())
    }

    /// Writes `sticky` to a pull request: edits our comment, or creates one if there is none.
    ///
    /// A comment of a newer run stays as it is if `believes` accepts what that comment says about its run. Of several
    /// comments, it edits the newest one that `believes` accepts. If it accepts none, it edits the newest one.
    ///
    /// If the answer to a write is lost, it reads the comments again before it repeats the write.
    pub async fn upsert_sticky(
        &self,
        pr: u64,
        sticky: &Sticky,
        believes: &(dyn Fn(&Freshness) -> bool + Sync),
    ) -> Result<Upserted, ForgeError> {
        self.post(pr, sticky, Posting::InPlace, believes).await
    }

    /// Writes `sticky` to a pull request, as `posting` says. The rest is as in [`Forge::upsert_sticky`].
    pub async fn post(
        &self,
        pr: u64,
        sticky: &Sticky,
        posting: Posting,
        believes: &(dyn Fn(&Freshness) -> bool + Sync),
    ) -> Result<Upserted, ForgeError> {
        let operation = format!("write the comment of #{pr}");
        let body = sticky.body();
        let characters = body.chars().count();
        if characters > BODY_LIMIT {
            return Err(ForgeError::TooLong { operation, characters, limit: BODY_LIMIT });
        }
        let mut tries = self.client.tries();
        // The kind of the last write whose answer was lost.
        let mut unanswered = None;
        loop {
            let (ours, _) = self.stickies(pr, &sticky.marker).await?;
            let newer = |comment| newer(comment, &sticky.freshness).filter(|freshness| believes(freshness));
            let newest = ours.iter().rev().find_map(|comment| Some((comment, newer(comment)?)));
            if let Some((comment, by)) = newest {
                return Ok(Upserted::Superseded { url: comment.url.clone(), by });
            }
            let is_believed = |comment: &&Comment| comment.freshness().is_some_and(|told| believes(&told));
            let existing = ours.iter().rev().find(is_believed).or(ours.last());
            let said = existing.filter(|comment| comment.says(&body));
            if let Some(comment) = said {
                let url = comment.url.clone();
                return Ok(match unanswered {
                    None => Upserted::Unchanged { url },
                    Some(Write::Edit) => Upserted::Edited { url },
                    Some(Write::Create) => Upserted::Created { url, unexpected_author: None },
                });
            }
            if unanswered.is_some() {
                self.uncount_write();
            }
            let existing = existing.filter(|_| posting == Posting::InPlace);
            match self.write(&operation, pr, existing, &body).await? {
                Ok(upserted) => return Ok(upserted),
                Err(failure) => {
                    let write = if existing.is_none() { Write::Create } else { Write::Edit };
                    unanswered = failure.unclear.then_some(write);
                    if !failure.unclear {
                        self.uncount_write();
                    }
                    // The comment was deleted after the list was read. The next attempt reads the list again.
                    let gone = failure.status() == Some(404) && existing.is_some();
                    tries.again(&operation, if gone { failure.passing() } else { failure }).await?;
                }
            }
        }
    }

    /// Makes all our comments with `marker` but one outdated: they get the marker `outdated` and the text that `outdate`
    /// returns for their visible text, and lose their data. The one that stays is the comment of the newest run that
    /// `believes` accepts, else the newest comment.
    pub async fn outdate(
        &self,
        pr: u64,
        (marker, outdated): (&Marker, &Marker),
        outdate: &(dyn Fn(&str, &str) -> String + Sync),
        believes: &(dyn Fn(&Freshness) -> bool + Sync),
    ) -> Result<(), ForgeError> {
        let operation = format!("mark the older comments of #{pr} as outdated");
        let (ours, _) = self.stickies(pr, marker).await?;
        let run =
            |comment: &Comment| comment.freshness().filter(|run| believes(run)).map(|run| (run.run_id, run.attempt));
        let Some(newest) = ours.iter().max_by_key(|comment| (run(comment), comment.id)) else { return Ok(()) };
        for comment in ours.iter().filter(|comment| comment.id != newest.id) {
            let run = comment.freshness().map(|run| format!("\n{run}")).unwrap_or_default();
            let text = outdate(&visible_text(&comment.body), &newest.url);
            let body = format!("{}{run}\n\n{text}", outdated.as_str());
            self.rewrite(&operation, pr, comment, &body).await?;
        }
        Ok(())
    }

    /// Replaces the text of our comment. A comment that was deleted meanwhile stays deleted.
    pub(super) async fn rewrite(
        &self,
        operation: &str,
        pr: u64,
        comment: &Comment,
        body: &str,
    ) -> Result<(), ForgeError> {
        let mut tries = self.client.tries();
        while let Err(failure) = self.write(operation, pr, Some(comment), body).await? {
            self.uncount_write();
            if failure.status() == Some(404) {
                break;
            }
            tries.again(operation, failure).await?;
        }
        Ok(())
    }

    /// Lists our comments with `marker`, oldest first, and returns the login of another author of such a comment. Reads
    /// every page.
    async fn stickies(&self, pr: u64, marker: &Marker) -> Result<(Vec<Comment>, Option<String>), ForgeError> {
        self.comments_with(pr, &|body| marker.opens(body)).await
    }

    /// Lists our comments whose text `is_meant` accepts, oldest first, and returns the login of another author of such a
    /// comment. Reads every page.
    pub(super) async fn comments_with(
        &self,
        pr: u64,
        is_meant: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<(Vec<Comment>, Option<String>), ForgeError> {
        let author = self.login().await?;
        let items = self.comments(pr).await?;
        let comments = items.iter().filter_map(|item| Some((login_of(item)?, comment(item)?)));
        let meant = comments.filter(|(_, comment)| is_meant(&comment.body));
        let (ours, others): (Vec<_>, Vec<_>) = meant.partition(|(login, _)| login.eq_ignore_ascii_case(&author));
        let mut ours: Vec<Comment> = ours.into_iter().map(|(_, comment)| comment).collect();
        ours.sort_by_key(|comment| comment.id);
        Ok((ours, others.last().map(|(login, _)| (*login).to_owned())))
    }

    /// Adds a comment to a commit. Returns the URL of its web page. A write whose answer is lost is not repeated.
    pub(crate) async fn comment_on_commit(&self, commit: &str, text: &str) -> Result<String, ForgeError> {
        let operation = format!("write a comment on commit {commit}");
        let url = format!("{}/commits/{}/comments", self.repository_url, segment(commit));
        let mut tries = self.client.tries();
        loop {
            self.count_write(&operation)?;
            match self.client.once(Method::POST, &url, Some(&json!({ "body": text }))).await {
                Ok(answer) => {
                    let url = answer.body.get("html_url").and_then(Value::as_str);
                    return Ok(url.unwrap_or_default().to_owned());
                }
                Err(failure) if failure.unclear => return Err(ForgeError::Call { operation, source: failure.cause }),
                Err(failure) => {
                    self.uncount_write();
                    tries.again(&operation, failure).await?;
                }
            }
        }
    }

    /// Lists the comments of a pull request. Reads every page.
    async fn comments(&self, pr: u64) -> Result<Vec<Value>, ForgeError> {
        let operation = format!("list the comments of #{pr}");
        let url = format!("{}/issues/{pr}/comments", self.repository_url);
        let list = self.client.list(&operation, &url, id_key, PAGES).await?;
        if list.complete { Ok(list.items) } else { Err(ForgeError::Endless { operation, pages: PAGES }) }
    }

    /// Sends one write: an edit of `existing`, or a new comment.
    async fn write(
        &self,
        operation: &str,
        pr: u64,
        existing: Option<&Comment>,
        body: &str,
    ) -> Result<Result<Upserted, AttemptFailure>, ForgeError> {
        self.count_write(operation)?;
        if self.writes.load(Ordering::SeqCst) > 1 {
            self.client.pace().await;
        }
        let (method, url) = match existing {
            // GitHub documents PATCH for an edit. octocrab's own method for it sends POST.
            Some(comment) => (Method::PATCH, format!("{}/issues/comments/{}", self.repository_url, comment.id)),
            None => (Method::POST, format!("{}/issues/{pr}/comments", self.repository_url)),
        };
        let answer = match self.client.once(method, &url, Some(&json!({ "body": body }))).await {
            Ok(answer) => answer.body,
            Err(failure) => return Ok(Err(failure)),
        };
        let written = comment(&answer).ok_or_else(|| malformed(operation, "it is not a comment"))?;
        Ok(Ok(match existing {
            Some(_) => Upserted::Edited { url: written.url },
            None => Upserted::Created { url: written.url, unexpected_author: self.learn_author(&answer) },
        }))
    }

    /// Returns the login of our own comments. If the caller named a login, it must be that one.
    pub(super) async fn login(&self) -> Result<String, ForgeError> {
        let known = self.author.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(login) = known {
            return Ok(login);
        }
        let login = match self.asked_login().await {
            Ok(login) => match &self.named_author {
                Some(named) if !named.eq_ignore_ascii_case(&login) => {
                    return Err(ForgeError::OtherAuthor { named: named.clone(), found: login });
                }
                _ => login,
            },
            // The forge does not tell. Only the caller knows then.
            Err(error) => self.named_author.clone().ok_or(error)?,
        };
        self.author.lock().unwrap_or_else(PoisonError::into_inner).replace(login.clone());
        Ok(login)
    }

    /// Asks the forge for the login that the token writes under. A token of GitHub Actions may ask only the GraphQL API,
    /// which Gitea does not have.
    async fn asked_login(&self) -> Result<String, ForgeError> {
        let operation = "ask whose token it is";
        let unnamed = || malformed(operation, "it names no login");
        let login = |body: &Value, pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        if self.dialect == Dialect::GitHub {
            let query = json!({"query": "query { viewer { login } }"});
            if let Ok(answer) = self.client.ask(operation, &self.graphql_url, &query).await
                && let Some(login) = login(&answer.body, "/data/viewer/login")
            {
                return Ok(login);
            }
        }
        let answer = self.client.get(operation, &format!("{}/user", self.api_url)).await?;
        login(&answer.body, "/login").ok_or_else(unnamed)
    }

    /// Stores the login that wrote our new comment. Returns it if another login was expected.
    fn learn_author(&self, created: &Value) -> Option<String> {
        let login = login_of(created)?;
        let mut author = self.author.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = author.as_ref().is_some_and(|author| author.eq_ignore_ascii_case(login));
        author.replace(login.to_owned());
        (!expected).then(|| login.to_owned())
    }

    /// Waits before a write that is not counted, if the run has made a content write.
    pub(super) async fn pace(&self) {
        if self.writes.load(Ordering::SeqCst) > 0 {
            self.client.pace().await;
        }
    }

    fn count_write(&self, operation: &str) -> Result<(), ForgeError> {
        let counted = self
            .writes
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |writes| (writes < WRITE_LIMIT).then_some(writes + 1));
        counted.map(drop).map_err(|_| ForgeError::TooManyWrites { operation: operation.to_owned(), limit: WRITE_LIMIT })
    }

    /// Takes back the count of a write that had no effect.
    fn uncount_write(&self) {
        self.writes.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns the run that wrote `comment`, if that run is newer than `ours`.
fn newer(comment: &Comment, ours: &Freshness) -> Option<Freshness> {
    comment.freshness().filter(|theirs| theirs.is_newer_than(ours))
}

fn comment(value: &Value) -> Option<Comment> {
    Some(Comment {
        id: value.get("id")?.as_u64()?,
        url: value.get("html_url").and_then(Value::as_str).unwrap_or_default().to_owned(),
        body: value.get("body").and_then(Value::as_str).unwrap_or_default().to_owned(),
        updated: value
            .get("updated_at")
            .and_then(Value::as_str)
            .and_then(|time| Some(time.parse::<jiff::Timestamp>().ok()?.as_second())),
    })
}

fn remark(pull: u64, value: &Value) -> Option<Remark> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let login = login_of(value)?.to_owned();
    Some(Remark {
        pull,
        id: value.get("id")?.as_u64()?,
        is_bot: text("/user/type") == "Bot" || login.ends_with("[bot]"),
        login,
        body: text("/body"),
        created_at: text("/created_at"),
        updated_at: text("/updated_at"),
    })
}

fn login_of(comment: &Value) -> Option<&str> {
    comment.pointer("/user/login")?.as_str()
}

fn id_key(item: &Value) -> Option<String> {
    item.get("id")?.as_u64().map(|id| id.to_string())
}

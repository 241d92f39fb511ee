//! The context of the run, parsed from the runner's environment and the event's payload. Pure.
//!
//! Everything is checked here, once: commits are hexadecimal, numbers are numbers, and addresses are http or https
//! URLs. An empty variable counts as absent.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::{Dialect, ForgeError};

/// The login under which Dependabot opens pull requests.
const DEPENDABOT: &str = "dependabot[bot]";

/// The event, the repository and the environment of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// The event that started the run.
    pub event: Event,
    /// The repository that the run belongs to.
    pub repository: RepositorySlug,
    /// The repository's default branch, if the payload names it. The payload of a scheduled run may not.
    pub default_branch: Option<String>,
    /// The API's address, without a slash at its end.
    pub api_url: String,
    /// The web interface's address, without a slash at its end.
    pub server_url: String,
    /// The run's ID. All attempts of the run have the same ID. A later run has a greater one.
    pub run_id: u64,
    /// The number of this attempt of the run, from 1.
    pub attempt: u32,
    /// The login of the user who started the run. Empty if the runner does not name one.
    pub actor: String,
    /// The commit of the event. For a pull request, it is the merge commit.
    pub sha: String,
    /// The branch or tag of the run, for example `refs/heads/main`.
    pub git_ref: Option<String>,
    /// The name of the workflow. Empty if the runner does not name it.
    pub workflow: String,
    /// The directory of the checkout.
    pub workspace: PathBuf,
    /// The file for the step summary.
    pub step_summary: Option<PathBuf>,
    /// The file for the step's outputs.
    pub output: Option<PathBuf>,
}

/// A repository's full name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositorySlug {
    /// The user or organization.
    pub owner: String,
    /// The name within the owner's repositories.
    pub name: String,
}

/// The event that started a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pull request was opened, changed or closed.
    PullRequest(PullRequest),
    /// A branch or tag was pushed or deleted.
    Push(Push),
    /// A merge queue requests checks for a group of pull requests.
    MergeGroup {
        /// The merged commit of the group.
        head_sha: String,
        /// The commit that the group is merged onto.
        base_sha: String,
    },
    /// The workflow's schedule started the run.
    Schedule,
    /// A user started the workflow manually.
    WorkflowDispatch,
    /// A user wrote, edited or deleted a comment.
    IssueComment(IssueComment),
    /// Any other event, by its name. This program does not handle it.
    Other(String),
}

/// The pull request of an event, in its state at the time of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the payload's own flags, each independent of the others")]
pub struct PullRequest {
    /// The activity: `opened`, `synchronize`, `closed` and others.
    pub action: String,
    /// The pull request's number.
    pub number: u64,
    /// The last commit of the pull request's branch.
    pub head_sha: String,
    /// The commit of the target branch.
    pub base_sha: String,
    /// The name of the target branch.
    pub base_ref: String,
    /// `true` if the pull request comes from another repository, from a repository that is deleted, or from no branch at
    /// all.
    pub from_fork: bool,
    /// `true` if the pull request is merged.
    pub merged: bool,
    /// The merge commit, or the test merge commit if the pull request is not merged.
    pub merge_commit_sha: Option<String>,
    /// `true` if the pull request is a draft.
    pub draft: bool,
    /// `true` if Dependabot opened the pull request. Its runs get no secrets.
    pub author_is_dependabot: bool,
}

/// A push to a branch or tag.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the payload's own flags, each independent of the others")]
pub struct Push {
    /// The full ref, for example `refs/heads/main`.
    pub r#ref: String,
    /// The ref's commit before the push. It is only a hint. It is all zeros for a new ref.
    pub before: String,
    /// The ref's commit after the push. It is all zeros for a deleted ref.
    pub after: String,
    /// `true` if the ref is the repository's default branch.
    pub default_branch: bool,
    /// `true` if the push deleted the ref.
    pub deleted: bool,
    /// `true` if the push created the ref.
    pub created: bool,
    /// `true` if the push was a forced push, which removes commits from the ref.
    pub forced: bool,
}

/// A comment on an issue or pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueComment {
    /// The activity: `created`, `edited` or `deleted`.
    pub action: String,
    /// The number of the issue or pull request.
    pub number: u64,
    /// `true` if the comment is on a pull request.
    pub is_pr: bool,
    /// The comment's ID.
    pub comment_id: u64,
    /// The comment's text. It is untrusted.
    pub body: String,
    /// The login of the comment's author.
    pub commenter: String,
    /// The time when the comment was created, in RFC 3339 format.
    pub created_at: String,
    /// The time of the comment's last change, in RFC 3339 format.
    pub updated_at: String,
}

impl Context {
    /// Reads the context of a run from `env`, the runner's variables, and `payload`, the content of the file that
    /// `GITHUB_EVENT_PATH` names.
    pub(crate) fn from_parts(env: &BTreeMap<String, String>, payload: &[u8]) -> Result<Self, ForgeError> {
        let env = Environment(env);
        let name = env.required("GITHUB_EVENT_NAME")?;
        let payload =
            serde_json::from_slice(payload).map_err(|source| ForgeError::Payload { event: name.to_owned(), source })?;
        let payload = Payload { event: name, root: &payload };
        Ok(Self {
            event: payload.event()?,
            repository: env.repository()?,
            default_branch: payload.optional("repository.default_branch", Value::as_str).map(str::to_owned),
            api_url: env.url("GITHUB_API_URL", "https://api.github.com")?,
            server_url: env.url("GITHUB_SERVER_URL", "https://github.com")?,
            run_id: env.number("GITHUB_RUN_ID", None)?,
            attempt: env.number("GITHUB_RUN_ATTEMPT", Some(1))?,
            actor: env.optional("GITHUB_ACTOR").unwrap_or_default().to_owned(),
            sha: env.commit("GITHUB_SHA")?,
            git_ref: env.optional("GITHUB_REF").map(str::to_owned),
            workflow: env.optional("GITHUB_WORKFLOW").unwrap_or_default().to_owned(),
            workspace: PathBuf::from(env.required("GITHUB_WORKSPACE")?),
            step_summary: env.optional("GITHUB_STEP_SUMMARY").map(PathBuf::from),
            output: env.optional("GITHUB_OUTPUT").map(PathBuf::from),
        })
    }

    /// Returns the URL of the web page of this attempt of the run. Gitea has one page for all attempts.
    pub(crate) fn run_url(&self) -> String {
        let run = self.run_page(self.run_id);
        match Dialect::of(&self.api_url) {
            Dialect::GitHub => format!("{run}/attempts/{}", self.attempt),
            Dialect::Gitea => run,
        }
    }

    /// Returns the URL of the web page of a run of the repository.
    pub(crate) fn run_page(&self, id: u64) -> String {
        let RepositorySlug { owner, name } = &self.repository;
        format!("{}/{owner}/{name}/actions/runs/{id}", self.server_url)
    }

    /// Returns the address below which the forge shows the files of a commit. For GitHub, it is a path, which keeps links
    /// short. Gitea takes a path in a comment as one in the repository, so there it is a URL.
    pub(crate) fn files_address(&self) -> String {
        let RepositorySlug { owner, name } = &self.repository;
        match Dialect::of(&self.api_url) {
            Dialect::GitHub => {
                let after_scheme = self.server_url.split_once("://").map_or("", |(_, rest)| rest);
                let site = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
                format!("{site}/{owner}/{name}/blob")
            }
            Dialect::Gitea => format!("{}/{owner}/{name}/src/commit", self.server_url),
        }
    }
}

impl RepositorySlug {
    /// Parses `owner/name`.
    pub fn parse(text: &str) -> Option<Self> {
        let part = |text: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            (!text.is_empty() && text != "." && text != ".." && text.chars().all(allowed)).then(|| text.to_owned())
        };
        let (owner, name) = text.split_once('/')?;
        Some(Self { owner: part(owner)?, name: part(name)? })
    }
}

/// Returns `true` if `text` is a full SHA-1 or SHA-256 commit hash.
pub(super) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// The runner's variables. An empty variable counts as absent.
struct Environment<'a>(&'a BTreeMap<String, String>);

impl<'a> Environment<'a> {
    fn optional(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str) -> Result<&'a str, ForgeError> {
        self.optional(name).ok_or(ForgeError::Environment { name, problem: "is not set" })
    }

    fn number<N: std::str::FromStr>(&self, name: &'static str, default: Option<N>) -> Result<N, ForgeError> {
        match (self.optional(name), default) {
            (None, Some(default)) => Ok(default),
            (None, None) => Err(ForgeError::Environment { name, problem: "is not set" }),
            (Some(text), _) => text.parse().map_err(|_| ForgeError::Environment { name, problem: "is not a number" }),
        }
    }

    fn commit(&self, name: &'static str) -> Result<String, ForgeError> {
        let text = self.required(name)?;
        is_commit(text).then(|| text.to_owned()).ok_or(ForgeError::Environment { name, problem: "is not a commit" })
    }

    fn repository(&self) -> Result<RepositorySlug, ForgeError> {
        let name = "GITHUB_REPOSITORY";
        RepositorySlug::parse(self.required(name)?)
            .ok_or(ForgeError::Environment { name, problem: "is not `owner/name`" })
    }

    fn url(&self, name: &'static str, default: &str) -> Result<String, ForgeError> {
        let text = self.optional(name).unwrap_or(default).trim_end_matches('/');
        let is_http = text.starts_with("https://") || text.starts_with("http://");
        let is_uri = text.parse::<http::Uri>().is_ok_and(|uri| uri.query().is_none());
        (is_http && is_uri)
            .then(|| text.to_owned())
            .ok_or(ForgeError::Environment { name, problem: "is not an http or https address" })
    }
}

/// An event's payload. It is read by dotted paths, so that an error can name the field.
struct Payload<'a> {
    event: &'a str,
    root: &'a Value,
}

impl<'a> Payload<'a> {
    fn event(&self) -> Result<Event, ForgeError> {
        Ok(match self.event {
            "pull_request" => Event::PullRequest(self.pull_request()?),
            "push" => Event::Push(self.push()?),
            "merge_group" => Event::MergeGroup {
                head_sha: self.commit("merge_group.head_sha")?,
                base_sha: self.commit("merge_group.base_sha")?,
            },
            "schedule" => Event::Schedule,
            "workflow_dispatch" => Event::WorkflowDispatch,
            "issue_comment" => Event::IssueComment(self.issue_comment()?),
            other => Event::Other(other.to_owned()),
        })
    }

    fn pull_request(&self) -> Result<PullRequest, ForgeError> {
        // If the fork is deleted, `head.repo` is null.
        let head_repository = self.optional("pull_request.head.repo.id", Value::as_u64);
        // Everyone who can read a repository of Gitea can push to `refs/for/main`. The pull request then has no branch.
        let has_no_branch =
            self.optional("pull_request.head.ref", Value::as_str).is_some_and(|head| head.starts_with("refs/"));
        let base_repository = self.number("pull_request.base.repo.id")?;
        let merge_commit_sha = match self.value("pull_request.merge_commit_sha") {
            None | Some(Value::Null) => None,
            Some(_) => Some(self.commit("pull_request.merge_commit_sha")?),
        };
        Ok(PullRequest {
            action: self.text("action")?,
            number: self.number("pull_request.number")?,
            head_sha: self.commit("pull_request.head.sha")?,
            base_sha: self.commit("pull_request.base.sha")?,
            base_ref: self.text("pull_request.base.ref")?,
            from_fork: has_no_branch || head_repository != Some(base_repository),
            merged: self.flag("pull_request.merged")?,
            merge_commit_sha,
            draft: self.flag("pull_request.draft")?,
            author_is_dependabot: self.optional("pull_request.user.login", Value::as_str) == Some(DEPENDABOT),
        })
    }

    fn push(&self) -> Result<Push, ForgeError> {
        let zeros = |commit: &str| commit.chars().all(|c| c == '0');
        let (before, after) = (self.commit("before")?, self.commit("after")?);
        let pushed = self.text("ref")?;
        let default = self.text("repository.default_branch")?;
        Ok(Push {
            default_branch: pushed.strip_prefix("refs/heads/") == Some(default.as_str()),
            r#ref: pushed,
            deleted: self.flag("deleted")? || zeros(&after),
            created: self.flag("created")? || zeros(&before),
            forced: self.flag("forced")?,
            before,
            after,
        })
    }

    fn issue_comment(&self) -> Result<IssueComment, ForgeError> {
        Ok(IssueComment {
            action: self.text("action")?,
            number: self.number("issue.number")?,
            is_pr: self.value("issue.pull_request").is_some_and(|link| !link.is_null()),
            comment_id: self.number("comment.id")?,
            body: self.text("comment.body")?,
            commenter: self.text("comment.user.login")?,
            created_at: self.text("comment.created_at")?,
            updated_at: self.text("comment.updated_at")?,
        })
    }

    fn value(&self, path: &str) -> Option<&'a Value> {
        path.split('.').try_fold(self.root, |value, key| value.get(key))
    }

    fn optional<T>(&self, path: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        self.value(path).and_then(read)
    }

    fn required<T>(
        &self,
        path: &str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, ForgeError> {
        self.optional(path, read).ok_or_else(|| ForgeError::Field {
            event: self.event.to_owned(),
            field: path.to_owned(),
            expected,
        })
    }

    fn text(&self, path: &str) -> Result<String, ForgeError> {
        self.required(path, "a text", Value::as_str).map(str::to_owned)
    }

    fn number(&self, path: &str) -> Result<u64, ForgeError> {
        self.required(path, "a number", Value::as_u64)
    }

    fn commit(&self, path: &str) -> Result<String, ForgeError> {
        self.required(path, "a commit", |value| value.as_str().filter(|text| is_commit(text))).map(str::to_owned)
    }

    /// Reads a flag that some forges do not send. An absent or null flag is false. A value that is not a boolean is an
    /// error.
    fn flag(&self, path: &str) -> Result<bool, ForgeError> {
        match self.value(path) {
            None | Some(Value::Null) => Ok(false),
            Some(_) => self.required(path, "true or false", Value::as_bool),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HEAD: &str = "1111111111111111111111111111111111111111";
    const BASE: &str = "2222222222222222222222222222222222222222";
    const MERGE: &str = "3333333333333333333333333333333333333333";
    const ZERO: &str = "0000000000000000000000000000000000000000";

    fn env(event: &str) -> BTreeMap<String, String> {
        [
            ("GITHUB_EVENT_NAME", event),
            ("GITHUB_REPOSITORY", "acme/shop.k8s"),
            ("GITHUB_API_URL", "https://ghe.example/api/v3/"),
            ("GITHUB_SERVER_URL", "https://ghe.example"),
            ("GITHUB_RUN_ID", "4242"),
            ("GITHUB_RUN_ATTEMPT", "2"),
            ("GITHUB_ACTOR", "octocat"),
            ("GITHUB_SHA", MERGE),
            ("GITHUB_REF", "refs/pull/7/merge"),
            ("GITHUB_WORKSPACE", "/work tree"),
            ("GITHUB_STEP_SUMMARY", "/tmp/summary"),
            ("GITHUB_OUTPUT", ""),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }

    fn parse(event: &str, payload: &Value) -> Result<Context, ForgeError> {
        Context::from_parts(&env(event), payload.to_string().as_bytes())
    }

    fn pull_request() -> Value {
        json!({
            "action": "synchronize", "number": 7,
            "repository": {"default_branch": "main"},
            "pull_request": {
                "number": 7, "merged": false, "merge_commit_sha": MERGE, "draft": true,
                "user": {"login": "octocat"},
                "head": {"sha": HEAD, "ref": "feature", "repo": {"id": 9}},
                "base": {"sha": BASE, "ref": "main", "repo": {"id": 9}},
            },
        })
    }

    fn push() -> Value {
        json!({
            "ref": "refs/heads/main", "before": BASE, "after": HEAD,
            "created": false, "deleted": false, "forced": true,
            "repository": {"default_branch": "main"},
        })
    }

    fn comment() -> Value {
        json!({
            "action": "created",
            "issue": {"number": 7, "pull_request": {"url": "…"}},
            "comment": {
                "id": 99, "body": "/ktor plan", "user": {"login": "octocat"},
                "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z",
            },
        })
    }

    /// Returns `payload` with `value` at `pointer`.
    fn with(mut payload: Value, pointer: &str, value: Value) -> Value {
        *payload.pointer_mut(pointer).unwrap() = value;
        payload
    }

    fn pull_of(payload: &Value) -> PullRequest {
        match parse("pull_request", payload).unwrap().event {
            Event::PullRequest(pull) => pull,
            other => panic!("{other:?}"),
        }
    }

    fn push_of(payload: &Value) -> Push {
        match parse("push", payload).unwrap().event {
            Event::Push(push) => push,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn f6_the_surroundings_are_read() {
        let context = parse("pull_request", &pull_request()).unwrap();
        assert_eq!(context.repository, RepositorySlug { owner: "acme".into(), name: "shop.k8s".into() });
        assert_eq!(context.default_branch.as_deref(), Some("main"));
        assert_eq!(context.api_url, "https://ghe.example/api/v3");
        assert_eq!(context.run_url(), "https://ghe.example/acme/shop.k8s/actions/runs/4242/attempts/2");
        assert_eq!(context.files_address(), "/acme/shop.k8s/blob");
        let gitea = Context { api_url: "https://ghe.example/api/v1".into(), ..context.clone() };
        assert_eq!(gitea.run_url(), "https://ghe.example/acme/shop.k8s/actions/runs/4242");
        assert_eq!(gitea.files_address(), "https://ghe.example/acme/shop.k8s/src/commit");
        let below = Context { server_url: "https://ghe.example/git".into(), ..context.clone() };
        assert_eq!(below.files_address(), "/git/acme/shop.k8s/blob");
        assert_eq!(context.git_ref.as_deref(), Some("refs/pull/7/merge"));
        assert_eq!(context.workspace, PathBuf::from("/work tree"));
        assert_eq!(context.step_summary, Some(PathBuf::from("/tmp/summary")));
        assert_eq!(context.output, None);
    }

    #[test]
    fn f6_a_pull_request_is_read() {
        let pull = pull_of(&pull_request());
        let expected = PullRequest {
            action: "synchronize".into(),
            number: 7,
            head_sha: HEAD.into(),
            base_sha: BASE.into(),
            base_ref: "main".into(),
            from_fork: false,
            merged: false,
            merge_commit_sha: Some(MERGE.into()),
            draft: true,
            author_is_dependabot: false,
        };
        assert_eq!(pull, expected);
    }

    #[test]
    fn f6_forks_and_dependabot_are_known() {
        assert!(pull_of(&with(pull_request(), "/pull_request/head/repo/id", json!(10))).from_fork);
        assert!(pull_of(&with(pull_request(), "/pull_request/head/repo", Value::Null)).from_fork);
        let unbranched = json!("refs/pull/7/head");
        assert!(pull_of(&with(pull_request(), "/pull_request/head/ref", unbranched)).from_fork);
        let bot = with(pull_request(), "/pull_request/user/login", json!("dependabot[bot]"));
        assert!(pull_of(&bot).author_is_dependabot);
        assert_eq!(
            pull_of(&with(pull_request(), "/pull_request/merge_commit_sha", Value::Null)).merge_commit_sha,
            None
        );
    }

    #[test]
    fn f6_pushes_are_read() {
        let push_event = push_of(&push());
        assert!(push_event.default_branch && push_event.forced && !push_event.created && !push_event.deleted);
        // Some GitHub look-alikes do not send `created` and `deleted`. The zeros in the commits show it.
        let mut bare = push();
        for key in ["created", "deleted", "forced"] {
            bare.as_object_mut().unwrap().remove(key);
        }
        assert!(push_of(&with(bare.clone(), "/before", json!(ZERO))).created);
        assert!(push_of(&with(bare, "/after", json!(ZERO))).deleted);
        for other in ["refs/heads/feature", "refs/tags/main", "refs/heads/main/x", "main"] {
            assert!(!push_of(&with(push(), "/ref", json!(other))).default_branch, "{other}");
        }
    }

    #[test]
    fn f6_the_other_events_are_read() {
        let group = json!({"merge_group": {"head_sha": HEAD, "base_sha": BASE}});
        let expected = Event::MergeGroup { head_sha: HEAD.into(), base_sha: BASE.into() };
        assert_eq!(parse("merge_group", &group).unwrap().event, expected);
        assert_eq!(parse("schedule", &json!({"schedule": "0 * * * *"})).unwrap().event, Event::Schedule);
        assert_eq!(parse("workflow_dispatch", &json!({"inputs": null})).unwrap().event, Event::WorkflowDispatch);
        let target = parse("pull_request_target", &pull_request()).unwrap().event;
        assert_eq!(target, Event::Other("pull_request_target".into()), "it runs with secrets on a stranger's head");
        let Event::IssueComment(written) = parse("issue_comment", &comment()).unwrap().event else { panic!() };
        assert_eq!((written.number, written.is_pr, written.comment_id), (7, true, 99));
        assert_eq!((written.body.as_str(), written.commenter.as_str()), ("/ktor plan", "octocat"));
        let mut on_issue = comment();
        on_issue["issue"].as_object_mut().unwrap().remove("pull_request");
        let Event::IssueComment(written) = parse("issue_comment", &on_issue).unwrap().event else { panic!() };
        assert!(!written.is_pr);
    }

    #[test]
    fn f6_a_malformed_payload_is_one_error_that_names_the_field() {
        let cases = [
            ("pull_request", with(pull_request(), "/pull_request/number", json!("7")), "pull_request.number"),
            (
                "pull_request",
                with(pull_request(), "/pull_request/head/sha", json!("--upload-pack=x")),
                "pull_request.head.sha",
            ),
            ("pull_request", with(pull_request(), "/pull_request/base", Value::Null), "pull_request.base.repo.id"),
            ("pull_request", with(pull_request(), "/pull_request/draft", json!("no")), "pull_request.draft"),
            ("pull_request", with(pull_request(), "/pull_request/merge_commit_sha", json!("x")), "merge_commit_sha"),
            ("pull_request", json!([]), "pull_request.base.repo.id"),
            ("push", with(push(), "/before", json!("main")), "before"),
            ("push", json!({}), "before"),
            ("push", with(push(), "/repository", Value::Null), "repository.default_branch"),
            ("merge_group", json!({"merge_group": {"head_sha": HEAD}}), "merge_group.base_sha"),
            ("issue_comment", with(comment(), "/comment/user", Value::Null), "comment.user.login"),
        ];
        for (event, payload, field) in cases {
            let message = parse(event, &payload).unwrap_err().to_string();
            assert!(message.contains(field) && message.contains(event), "{field}: {message}");
        }
        let error = Context::from_parts(&env("push"), b"{\"ref\":").unwrap_err();
        assert_eq!(error.to_string(), "read the payload of the push event");
    }

    #[test]
    fn f6_a_malformed_environment_is_one_error_that_names_the_variable() {
        let cases = [
            ("GITHUB_EVENT_NAME", ""),
            ("GITHUB_REPOSITORY", "acme"),
            ("GITHUB_REPOSITORY", "acme/../x"),
            ("GITHUB_REPOSITORY", "acme/.."),
            ("GITHUB_API_URL", "file:///etc/passwd"),
            ("GITHUB_API_URL", "https://x y"),
            ("GITHUB_RUN_ID", "-1"),
            ("GITHUB_RUN_ID", ""),
            ("GITHUB_RUN_ATTEMPT", "x"),
            ("GITHUB_SHA", "HEAD"),
            ("GITHUB_WORKSPACE", ""),
        ];
        for (name, value) in cases {
            let mut env = env("schedule");
            env.insert(name.to_owned(), value.to_owned());
            let message = Context::from_parts(&env, b"{}").unwrap_err().to_string();
            assert!(message.contains(name), "{name}={value:?}: {message}");
        }
    }
}

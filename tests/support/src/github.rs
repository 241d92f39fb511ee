//! A stateful fake of the GitHub API: the pull requests, comments and permissions of one repository, with faults on
//! demand.
//!
//! The fake is strict where GitHub is strict: methods of each route, tokens, lengths, and limits of lists. It models
//! only what the product asks for. It answers an unknown route with 404.
//!
//! As github.com and as GitHub Enterprise Server, every request and every answer is compared with GitHub's own description
//! of its API. A fake that met something else panics when it is dropped.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::oneshot;

mod documented;
mod fault;
mod issue;
mod run;
mod status;

pub use self::documented::{Documented, Operation};
pub use self::fault::Fault;
use self::fault::How;
pub use self::issue::FakeIssue;
pub use self::run::FakeRun;
pub use self::status::FakeStatus;

/// The token that the fake accepts. It is also a canary that must not appear in any output.
pub const TOKEN: &str = "ghs_canary0123456789";

/// The name of the one repository.
pub const REPOSITORY: &str = "acme/shop";

/// The login under which an Actions token of GitHub writes.
pub const ACTIONS_BOT: &str = "github-actions[bot]";

/// The login under which an Actions token of Gitea writes.
pub const GITEA_ACTIONS: &str = "gitea-actions";

/// The forge whose API the fake has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// github.com: the API has no base path.
    GitHub,
    /// GitHub Enterprise Server: the same API below `/api/v3`.
    Enterprise,
    /// Gitea: the API below `/api/v1`, all comments on one page, at most 50 items a page, and `commits/SHA/pull` in the
    /// singular. A comparison has commits alone. A job's token belongs to a user, who may not read permissions.
    Gitea,
}

/// A running fake. It stops when it is dropped.
pub struct FakeGitHub {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    flavor: Flavor,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A pull request of the fake.
#[derive(Clone, Debug)]
pub struct FakePull {
    /// The number in the repository.
    pub number: u64,
    /// The last commit of the pull request.
    pub head_sha: String,
    /// The commit of the base branch.
    pub base_sha: String,
    /// The name of the base branch.
    pub base_ref: String,
    /// `true` until the pull request is merged or closed.
    pub open: bool,
    /// `true` after the merge.
    pub merged: bool,
    /// The merge commit, or the test merge of an open pull request.
    pub merge_commit_sha: Option<String>,
    /// The time of the merge.
    pub merged_at: String,
    /// Further commits that the forge lists this pull request for, such as those of a rebase.
    pub commits: Vec<String>,
    /// The ID of the repository that the commits come from. A deleted fork has none.
    pub head_repository: Option<u64>,
    /// The changed files: each file's path and, if it was renamed, its earlier path.
    pub files: Vec<(String, Option<String>)>,
}

/// A comment in its current form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeComment {
    /// The ID, which is unique in the repository.
    pub id: u64,
    /// The number of the pull request.
    pub pr: u64,
    /// The login of the author.
    pub author: String,
    /// The text.
    pub body: String,
    /// `true` after an edit.
    pub is_edited: bool,
}

/// A request that the fake received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The verb.
    pub method: String,
    /// The path and the query, without the base path.
    pub path: String,
    /// The body, or nothing.
    pub body: String,
}

impl FakePull {
    /// Creates an open pull request of this repository onto `main`, without files.
    pub fn new(number: u64) -> Self {
        Self {
            number,
            head_sha: format!("{number:040x}"),
            base_sha: "b".repeat(40),
            base_ref: "main".to_owned(),
            open: true,
            merged: false,
            merge_commit_sha: None,
            merged_at: String::new(),
            commits: Vec::new(),
            head_repository: Some(1),
            files: Vec::new(),
        }
    }

    /// Returns the same pull request, merged by `commit`.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a plan is compared with the time of the merge")]
    pub fn merged_as(self, commit: &str) -> Self {
        let merged_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        Self { open: false, merged: true, merge_commit_sha: Some(commit.to_owned()), merged_at, ..self }
    }

    fn json(&self) -> Value {
        json!({
            "number": self.number,
            "state": if self.open { "open" } else { "closed" },
            "merged_at": self.merged.then_some(&self.merged_at),
            "merge_commit_sha": self.merge_commit_sha,
            "draft": false,
            "user": {"login": "octocat"},
            "head": {"sha": self.head_sha, "ref": "feature", "repo": self.head_repository.map(|id| json!({"id": id}))},
            "base": {"sha": self.base_sha, "ref": self.base_ref, "repo": {"id": 1}},
        })
    }
}

impl FakeGitHub {
    /// Starts a fake of github.com.
    pub fn start() -> Self {
        Self::start_as(Flavor::GitHub)
    }

    /// Starts a fake of this flavor on a free port.
    pub fn start_as(flavor: Flavor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a non-blocking socket");
        let address = listener.local_addr().expect("the socket's address");
        let state = Arc::new(Mutex::new(State::new(flavor, address)));
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&state);
        let thread = std::thread::spawn(move || serve(listener, &served, stopped));
        Self { state, address, flavor, stop: Some(stop), thread: Some(thread) }
    }

    /// Returns the address of the API, for `GITHUB_API_URL`.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, self.flavor.base())
    }

    /// Returns the address of the web interface, for `GITHUB_SERVER_URL`.
    pub fn server_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes the token belong to a user: `GET /user` answers, and comments get this login as their author.
    pub fn act_as_user(&self, login: &str) {
        let mut state = self.state();
        login.clone_into(&mut state.login);
        state.knows_user = true;
    }

    /// Makes the token belong to another app: `GET /user` is refused, and comments get this login as their author.
    pub fn act_as_app(&self, login: &str) {
        login.clone_into(&mut self.state().login);
    }

    /// Adds or replaces a pull request.
    pub fn add_pull(&self, pull: FakePull) {
        self.state().pulls.insert(pull.number, pull);
    }

    /// Makes the list of the pull requests of a commit empty for some time, as after a merge.
    pub fn delay_index(&self, lag: Duration) {
        self.state().index_from = Some(Instant::now() + lag);
    }

    /// Changes a pull request.
    pub fn change_pull(&self, number: u64, change: impl FnOnce(&mut FakePull)) {
        change(self.state().pulls.get_mut(&number).expect("a pull request"));
    }

    /// Replaces the text of a comment, as its author or a maintainer may.
    pub fn edit_comment(&self, id: u64, body: &str) {
        let mut state = self.state();
        let comment = state.comments.iter_mut().find(|comment| comment.id == id).expect("a comment");
        body.clone_into(&mut comment.body);
        comment.is_edited = true;
    }

    /// Adds a comment by `author` and returns its ID.
    pub fn add_comment(&self, pr: u64, author: &str, body: &str) -> u64 {
        self.state().add_comment(pr, author, body).id
    }

    /// Sets the time of the last change of a comment.
    pub fn set_comment_time(&self, id: u64, time: &str) {
        self.state().comment_times.insert(id, time.to_owned());
    }

    /// Removes a comment, as a maintainer may.
    pub fn remove_comment(&self, id: u64) {
        self.state().comments.retain(|comment| comment.id != id);
    }

    /// Grants `user` a permission: `admin`, `write`, `read` or `none`.
    pub fn set_permission(&self, user: &str, permission: &str) {
        self.state().permissions.insert(user.to_owned(), permission.to_owned());
    }

    /// Sets the answer to a comparison of two commits: a status (`ahead`, `behind`, `identical`, `diverged`) and at
    /// most 300 files. In the flavor of Gitea, it sets the comparison in both directions, as numbers of commits.
    pub fn set_comparison(&self, base: &str, head: &str, status: &str, files: &[String]) {
        let comparisons = &mut self.state().comparisons;
        if self.flavor == Flavor::Gitea {
            let (ahead, behind) = (matches!(status, "ahead" | "diverged"), matches!(status, "behind" | "diverged"));
            for (range, differs) in [(format!("{base}...{head}"), ahead), (format!("{head}...{base}"), behind)] {
                let commits: &[Value] = if differs { &[json!({"sha": head})] } else { &[] };
                comparisons.insert(range, json!({"total_commits": commits.len(), "commits": commits}));
            }
            return;
        }
        let files: Vec<_> =
            files.iter().take(300).map(|path| json!({"filename": path, "status": "modified"})).collect();
        let answer = json!({"status": status, "merge_base_commit": {"sha": base}, "commits": [], "files": files});
        comparisons.insert(format!("{base}...{head}"), answer);
    }

    /// Adds a fault for one request. If several faults match a request, the one that was added first applies.
    pub fn fault(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Returns the comments of a pull request, the oldest first.
    pub fn comments(&self, pr: u64) -> Vec<FakeComment> {
        self.state().comments.iter().filter(|comment| comment.pr == pr).cloned().collect()
    }

    /// Returns every request that came.
    pub fn journal(&self) -> Vec<Entry> {
        self.state().journal.clone()
    }

    /// Returns the content writes that took effect.
    pub fn writes(&self) -> Vec<Entry> {
        self.state().writes.clone()
    }

    /// Returns what was not as GitHub documents it, and forgets it.
    pub fn take_undocumented(&self) -> Vec<String> {
        std::mem::take(&mut self.state().undocumented)
    }

    /// Returns the number of faults that no request has met yet.
    pub fn faults_left(&self) -> usize {
        self.state().faults.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the fake did not panic")
    }
}

impl Drop for FakeGitHub {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the fake GitHub panicked");
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(state.undocumented.is_empty() || std::thread::panicking(), "{:#?}", state.undocumented);
    }
}

impl Flavor {
    /// Returns the path below which the API is served.
    pub fn base(self) -> &'static str {
        match self {
            Self::GitHub => "",
            Self::Enterprise => "/api/v3",
            Self::Gitea => "/api/v1",
        }
    }
}

struct State {
    flavor: Flavor,
    address: SocketAddr,
    login: String,
    knows_user: bool,
    next_id: u64,
    /// The time from which the pull requests of a commit are listed.
    index_from: Option<Instant>,
    pulls: BTreeMap<u64, FakePull>,
    comments: Vec<FakeComment>,
    issues: Vec<FakeIssue>,
    statuses: Vec<FakeStatus>,
    runs: BTreeMap<u64, FakeRun>,
    /// The times of the last change that a test sets, by the ID of the comment.
    comment_times: BTreeMap<u64, String>,
    permissions: BTreeMap<String, String>,
    comparisons: BTreeMap<String, Value>,
    faults: VecDeque<Fault>,
    journal: Vec<Entry>,
    writes: Vec<Entry>,
    /// What is not as GitHub documents it.
    undocumented: Vec<String>,
}

/// The reaction of the server to a request.
enum Reply {
    Answer(Response<Full<Bytes>>),
    Drop,
    Hang,
}

fn serve(listener: TcpListener, state: &Arc<Mutex<State>>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listening socket");
        let accept = async {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let state = Arc::clone(state);
                let service = service_fn(move |request| respond(Arc::clone(&state), request));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A connection that a fault breaks ends with an error, which the client sees.
                tokio::spawn(async move { drop(connection.await) });
            }
        };
        tokio::select! {
            () = accept => {}
            _ = stopped => {}
        }
    });
}

async fn respond(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let reply = state.lock().expect("the fake did not panic").reply(&parts.method, &path, &parts.headers, &body);
    match reply {
        Reply::Answer(answer) => Ok(answer),
        Reply::Drop => Err(io::Error::other("a scripted fault")),
        Reply::Hang => match std::future::pending::<Infallible>().await {},
    }
}

impl State {
    fn new(flavor: Flavor, address: SocketAddr) -> Self {
        Self {
            flavor,
            address,
            login: if flavor == Flavor::Gitea { GITEA_ACTIONS } else { ACTIONS_BOT }.to_owned(),
            knows_user: flavor == Flavor::Gitea,
            next_id: 1_000,
            index_from: None,
            pulls: BTreeMap::new(),
            comments: Vec::new(),
            issues: Vec::new(),
            statuses: Vec::new(),
            runs: BTreeMap::new(),
            comment_times: BTreeMap::new(),
            permissions: BTreeMap::new(),
            comparisons: BTreeMap::new(),
            faults: VecDeque::new(),
            journal: Vec::new(),
            writes: Vec::new(),
            undocumented: Vec::new(),
        }
    }

    fn reply(&mut self, method: &Method, path: &str, headers: &HeaderMap, body: &str) -> Reply {
        // GitHub Enterprise Server has its GraphQL API beside the REST API.
        let path = if path == "/api/graphql" { "/api/v3/graphql" } else { path };
        let Some(path) = path.strip_prefix(self.flavor.base()) else {
            return Reply::Answer(sent(not_found()));
        };
        let entry = Entry { method: method.to_string(), path: path.to_owned(), body: body.to_owned() };
        self.journal.push(entry.clone());
        let operation = self.operation(&entry);
        let fits = |fault: &Fault| fault.method == entry.method && entry.path.contains(&fault.path);
        let fault = self.faults.iter().position(fits).and_then(|place| self.faults.remove(place));
        match fault {
            Some(fault) => {
                if fault.applied {
                    let answer = self.documented_answer(operation, &entry, headers);
                    assert!(answer.status().is_success(), "the fault's request does not take effect: {answer:?}");
                }
                match fault.how {
                    How::Answer { status, headers, body } => {
                        let answer = Response::builder().status(status);
                        let answer = headers.iter().fold(answer, |answer, (name, value)| answer.header(*name, value));
                        Reply::Answer(answer.body(Full::from(body)).expect("a scripted answer"))
                    }
                    How::Drop => Reply::Drop,
                    How::Hang => Reply::Hang,
                }
            }
            None => Reply::Answer(sent(self.documented_answer(operation, &entry, headers))),
        }
    }

    /// Finds the documented operation of a request. Remembers what is not as documented. Gitea and the GraphQL API have
    /// other descriptions.
    fn operation(&mut self, entry: &Entry) -> Option<&'static Operation> {
        if self.flavor == Flavor::Gitea || entry.path == "/graphql" {
            return None;
        }
        let found = Documented::github().operation(&entry.method, &entry.path, &entry.body);
        found.map_err(|why| self.undocumented.push(why)).ok()
    }

    /// Answers a request with all the fields that the documented answer has.
    fn documented_answer(
        &mut self,
        operation: Option<&'static Operation>,
        entry: &Entry,
        headers: &HeaderMap,
    ) -> Response<Value> {
        let answer = self.answer(entry, headers);
        let Some(operation) = operation else { return answer };
        let is_success = answer.status().is_success();
        let answer = answer.map(|body| if is_success { Documented::github().completed(operation, body) } else { body });
        if let Err(why) = operation.check_answer(answer.status().as_u16(), answer.body()) {
            self.undocumented.push(why);
        }
        answer
    }

    fn answer(&mut self, entry: &Entry, headers: &HeaderMap) -> Response<Value> {
        let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let token = authorization.strip_prefix("Bearer ").or_else(|| authorization.strip_prefix("token "));
        if token != Some(TOKEN) {
            return message(StatusCode::UNAUTHORIZED, "Bad credentials");
        }
        if !headers.contains_key("user-agent") {
            return message(StatusCode::FORBIDDEN, "Request forbidden by administrative rules.");
        }
        let (path, query) = entry.path.split_once('?').unwrap_or((&entry.path, ""));
        match (entry.method.as_str(), path) {
            ("GET", "/user") => return self.user(),
            ("POST", "/graphql") if self.flavor != Flavor::Gitea => return self.viewer(&entry.body),
            _ => {}
        }
        let Some(route) = path.strip_prefix("/repos/").and_then(|path| path.strip_prefix(REPOSITORY)) else {
            return not_found();
        };
        let route: Vec<_> = route.split('/').skip(1).collect();
        let gitea = self.flavor == Flavor::Gitea;
        match (entry.method.as_str(), route.as_slice()) {
            ("GET", ["issues", pr, "comments"]) => self.list_comments(pr, path, query),
            ("POST", ["issues", pr, "comments"]) => self.create_comment(pr, entry),
            ("GET", ["issues", "comments", id]) => self.with_comment(id, |_| None),
            ("PATCH", ["issues", "comments", id]) => self.edit_comment(id, entry),
            ("GET", ["issues"]) => self.list_issues(path, query),
            ("POST", ["issues"]) => self.create_issue(entry),
            ("PATCH", ["issues", number]) => self.edit_issue(number, entry),
            ("GET", ["pulls"]) => {
                let open = self.pulls.values().rev().filter(|pull| pull.open).map(FakePull::json).collect::<Vec<_>>();
                self.page(&open, path, query)
            }
            ("GET", ["pulls", number]) => self.pull(number),
            ("GET", ["pulls", number, "files"]) => self.pull_files(number, path, query),
            ("GET", ["commits", sha, "pulls"]) if !gitea => {
                let pulls = self.pulls_of(sha);
                self.page(&pulls, path, query)
            }
            ("GET", ["commits", sha, "pull"]) if gitea => {
                // Only the last commit of the merge counts.
                let made = |pull: &&FakePull| pull.merged && pull.merge_commit_sha.as_deref() == Some(sha);
                let pull = self.pulls.values().find(made).map(FakePull::json);
                pull.map_or_else(not_found, |pull| json_answer(StatusCode::OK, pull))
            }
            ("POST", ["commits", sha, "comments"]) if !gitea => self.create_commit_comment(sha, entry),
            ("POST", ["statuses", sha]) => self.create_status(sha, entry),
            ("GET", ["actions", "runs", id]) => self.workflow_run(id),
            ("POST", ["actions", "runs", id, how @ ("rerun" | "rerun-failed-jobs")]) => self.repeat_run(id, how),
            ("GET", ["compare", range]) => self
                .comparisons
                .get(*range)
                .map_or_else(not_found, |answer| json_answer(StatusCode::OK, answer.clone())),
            // Only an administrator of the repository may ask. A job's token can write at most.
            ("GET", ["collaborators", _, "permission"]) if gitea => {
                message(StatusCode::FORBIDDEN, "Only admins can query all permissions")
            }
            ("GET", ["collaborators", user, "permission"]) => match self.permissions.get(*user) {
                Some(permission) => json_answer(StatusCode::OK, json!({"permission": permission})),
                None => not_found(),
            },
            _ => not_found(),
        }
    }

    /// Answers the one query that the product sends.
    fn viewer(&self, body: &str) -> Response<Value> {
        let asked: Value = serde_json::from_str(body).unwrap_or_default();
        if asked["query"] != "query { viewer { login } }" {
            return json_answer(StatusCode::OK, json!({"errors": [{"message": "the fake knows one query"}]}));
        }
        json_answer(StatusCode::OK, json!({"data": {"viewer": {"login": self.login}}}))
    }

    fn user(&self) -> Response<Value> {
        if self.knows_user {
            json_answer(StatusCode::OK, json!({"login": self.login}))
        } else {
            message(StatusCode::FORBIDDEN, "Resource not accessible by integration")
        }
    }

    fn list_comments(&self, pr: &str, path: &str, query: &str) -> Response<Value> {
        let Some(pr) = self.issue(pr) else { return not_found() };
        let comments = self.comments.iter().filter(|comment| comment.pr == pr);
        let comments: Vec<_> = comments.map(|comment| self.comment_json(comment)).collect();
        if self.flavor == Flavor::Gitea {
            return json_answer(StatusCode::OK, Value::Array(comments));
        }
        self.page(&comments, path, query)
    }

    fn create_comment(&mut self, pr: &str, entry: &Entry) -> Response<Value> {
        let Some(pr) = self.issue(pr) else { return not_found() };
        let body = match written(&entry.body) {
            Ok(body) => body,
            Err((status, why)) => return message(status, why),
        };
        let author = self.login.clone();
        let comment = self.add_comment(pr, &author, &body);
        self.writes.push(entry.clone());
        json_answer(StatusCode::CREATED, self.comment_json(&comment))
    }

    fn create_commit_comment(&mut self, sha: &str, entry: &Entry) -> Response<Value> {
        match written(&entry.body) {
            Ok(body) => {
                self.writes.push(entry.clone());
                let url = format!("http://{}/{REPOSITORY}/commit/{sha}#commitcomment-1", self.address);
                json_answer(StatusCode::CREATED, json!({"id": 1, "html_url": url, "body": body, "commit_id": sha}))
            }
            Err((status, why)) => message(status, why),
        }
    }

    fn edit_comment(&mut self, id: &str, entry: &Entry) -> Response<Value> {
        let body = match written(&entry.body) {
            Ok(body) => body,
            Err((status, why)) => return message(status, why),
        };
        let answer = self.with_comment(id, |_| Some(body));
        if answer.status().is_success() {
            self.writes.push(entry.clone());
        }
        answer
    }

    /// Answers with a comment. If `change` returns a text, that text replaces the comment's text first.
    fn with_comment(&mut self, id: &str, change: impl FnOnce(&FakeComment) -> Option<String>) -> Response<Value> {
        let Some(place) = self.comments.iter().position(|comment| comment.id.to_string() == id) else {
            return not_found();
        };
        if let Some(body) = change(&self.comments[place]) {
            self.comments[place].body = body;
            self.comments[place].is_edited = true;
        }
        json_answer(StatusCode::OK, self.comment_json(&self.comments[place]))
    }

    fn add_comment(&mut self, pr: u64, author: &str, body: &str) -> FakeComment {
        self.next_id += 1;
        let comment =
            FakeComment { id: self.next_id, pr, author: author.to_owned(), body: body.to_owned(), is_edited: false };
        self.comments.push(comment.clone());
        comment
    }

    fn pull(&self, number: &str) -> Response<Value> {
        let Some(pull) = number.parse().ok().and_then(|number: u64| self.pulls.get(&number)) else {
            return not_found();
        };
        let mut answer = pull.json();
        answer["merged"] = json!(pull.merged);
        answer["changed_files"] = json!(pull.files.len());
        json_answer(StatusCode::OK, answer)
    }

    fn pull_files(&self, number: &str, path: &str, query: &str) -> Response<Value> {
        let Some(pull) = number.parse().ok().and_then(|number: u64| self.pulls.get(&number)) else {
            return not_found();
        };
        let most = if self.flavor == Flavor::Gitea { usize::MAX } else { 3_000 };
        let changed = if self.flavor == Flavor::Gitea { "changed" } else { "modified" };
        let files = pull.files.iter().take(most).map(|(name, before)| match before {
            Some(before) => json!({"filename": name, "status": "renamed", "previous_filename": before}),
            None => json!({"filename": name, "status": changed}),
        });
        self.page(&files.collect::<Vec<_>>(), path, query)
    }

    fn pulls_of(&self, sha: &str) -> Vec<Value> {
        if self.index_from.is_some_and(|from| Instant::now() < from) {
            return Vec::new();
        }
        let brought = |pull: &&FakePull| {
            pull.head_sha == sha
                || pull.merge_commit_sha.as_deref() == Some(sha)
                || pull.commits.iter().any(|commit| commit == sha)
        };
        self.pulls.values().filter(brought).map(FakePull::json).collect()
    }

    fn issue(&self, number: &str) -> Option<u64> {
        number.parse().ok().filter(|number| self.pulls.contains_key(number))
    }

    fn comment_json(&self, comment: &FakeComment) -> Value {
        let FakeComment { id, pr, author, body, is_edited } = comment;
        let page = if self.flavor == Flavor::Gitea { "pulls" } else { "pull" };
        let last = if *is_edited { "2026-01-02T03:05:06Z" } else { "2026-01-02T03:04:05Z" };
        json!({
            "id": id,
            "html_url": format!("http://{}/{REPOSITORY}/{page}/{pr}#issuecomment-{id}", self.address),
            "user": {"login": author, "type": if author.ends_with("[bot]") { "Bot" } else { "User" }},
            "body": body,
            "created_at": "2026-01-02T03:04:05Z",
            "updated_at": self.comment_times.get(id).map_or(last, String::as_str),
        })
    }

    /// Returns one page of a list, with links to the other pages.
    fn page(&self, items: &[Value], path: &str, query: &str) -> Response<Value> {
        let field = |name: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse::<usize>().ok())
        };
        let per_page = match self.flavor {
            // Gitea calls the field `limit`, and caps it.
            Flavor::Gitea => field("limit").unwrap_or(30).clamp(1, 50),
            Flavor::GitHub | Flavor::Enterprise => field("per_page").unwrap_or(30).clamp(1, 100),
        };
        let page = field("page").unwrap_or(1).max(1);
        let last = items.len().div_ceil(per_page).max(1);
        let shown: Vec<_> = items.iter().skip((page - 1) * per_page).take(per_page).cloned().collect();
        let base = format!("http://{}{}{path}", self.address, self.flavor.base());
        let link = |page: usize, rel: &str| format!("<{base}?per_page={per_page}&page={page}>; rel=\"{rel}\"");
        let mut links = Vec::new();
        if page > 1 {
            links.extend([link(page - 1, "prev"), link(1, "first")]);
        }
        if page < last {
            links.extend([link(page + 1, "next"), link(last, "last")]);
        }
        let mut answer = json_answer(StatusCode::OK, Value::Array(shown));
        if !links.is_empty() {
            answer.headers_mut().insert("link", links.join(", ").parse().expect("a header"));
        }
        answer
    }
}

/// Returns the text of a comment to write, or the refusal.
fn written(body: &str) -> Result<String, (StatusCode, &'static str)> {
    let sent: Value = serde_json::from_str(body).map_err(|_| (StatusCode::BAD_REQUEST, "Problems parsing JSON"))?;
    let text = sent.get("body").and_then(Value::as_str).unwrap_or_default();
    match text.chars().count() {
        _ if text.trim().is_empty() => {
            Err((StatusCode::UNPROCESSABLE_ENTITY, "Validation Failed: body can't be blank"))
        }
        65_537.. => Err((StatusCode::UNPROCESSABLE_ENTITY, "Validation Failed: body is too long (maximum is 65536)")),
        _ => Ok(text.to_owned()),
    }
}

/// Returns an answer as it is sent.
fn sent(answer: Response<Value>) -> Response<Full<Bytes>> {
    answer.map(|body| Full::from(body.to_string()))
}

fn not_found() -> Response<Value> {
    message(StatusCode::NOT_FOUND, "Not Found")
}

fn message(status: StatusCode, text: &str) -> Response<Value> {
    json_answer(status, json!({"message": text, "documentation_url": "https://docs.github.com/rest"}))
}

fn json_answer(status: StatusCode, value: Value) -> Response<Value> {
    let answer = Response::builder().status(status).header("content-type", "application/json; charset=utf-8");
    answer.body(value).expect("an answer")
}

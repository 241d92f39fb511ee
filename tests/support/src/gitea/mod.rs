//! A real Gitea with its Actions, on loopback and with throw-away data, and a client for what the tests need of it.
//!
//! Each test process starts one. It ends when that process ends. Each test has a repository of its own. The tests are
//! the runner of its jobs: they fetch a job as `act_runner` does, and run it themselves.

mod job;
mod repository;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::controlplane::{Watchdog, free_port, gitea, random_token, sentence};

pub use job::Job;
pub use repository::{GiteaComment, GiteaRepository, MergeStyle};

/// The time that Gitea may take for a step on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// The login of the administrator, who creates the other users.
const ADMINISTRATOR: &str = "administrator";

/// A running Gitea.
pub struct Gitea {
    url: String,
    /// The token of each user who was created.
    tokens: Mutex<BTreeMap<String, String>>,
    runtime: tokio::runtime::Runtime,
    client: Client<HttpConnector, Full<Bytes>>,
    process: Mutex<Child>,
    watchdog: Watchdog,
}

/// An answer of Gitea.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body. It is null if the answer is not JSON.
    pub body: Value,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// Returns the body. Panics if the answer is an error.
    pub fn success(self) -> Value {
        assert!((200..300).contains(&self.status), "{self:#?}");
        self.body
    }
}

impl Gitea {
    /// Returns the Gitea of this process. The first call starts it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Gitea> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let folder = gitea().unwrap_or_else(|error| panic!("{}", sentence(&error)));
        let port = free_port().unwrap_or_else(|error| panic!("{}", sentence(&error)));
        let watchdog = Watchdog::start().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        fs::write(configuration(&watchdog), settings(&folder, watchdog.folder(), port)).unwrap();
        let log = File::create(watchdog.folder().join("gitea.log")).unwrap();
        let mut web = command(&folder, &watchdog);
        web.arg("web").stdout(log.try_clone().unwrap()).stderr(log);
        let process = watchdog.spawn(&mut web).unwrap();
        let gitea = Self {
            url,
            tokens: Mutex::default(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http(),
            process: Mutex::new(process),
            watchdog,
        };
        within("a ready Gitea", || gitea.is_ready().then_some(()));
        gitea.create_administrator(&folder);
        gitea
    }

    /// Returns the address of the web interface, for `GITHUB_SERVER_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the token of a user, who is created if necessary.
    pub fn token(&self, login: &str) -> String {
        let mut tokens = self.tokens.lock().unwrap();
        if let Some(token) = tokens.get(login) {
            return token.clone();
        }
        let administrator = tokens[ADMINISTRATOR].clone();
        let password = random_token().unwrap();
        let email = format!("{login}@example.com");
        let user = json!({"username": login, "email": email, "password": password, "must_change_password": false});
        self.call(&bearer(&administrator), "POST", "/admin/users", &user).success();
        let scopes = json!({"name": "tests", "scopes": ["all"]});
        let created = self.call(&basic(login, &password), "POST", &format!("/users/{login}/tokens"), &scopes);
        let token = created.success()["sha1"].as_str().unwrap().to_owned();
        tokens.insert(login.to_owned(), token.clone());
        token
    }

    /// Sends a request to the API as a user. `path` is the part of the URL after `/api/v1`.
    pub fn api(&self, login: &str, method: &str, path: &str, body: &Value) -> Answer {
        self.call(&bearer(&self.token(login)), method, path, body)
    }

    /// Sends a request to the API with a token. `path` is the part of the URL after `/api/v1`.
    pub fn api_with(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        self.call(&bearer(token), method, path, body)
    }

    /// Returns a page of the web interface, as a reader who is not signed in gets it. `address` is a URL, or a path of the
    /// site.
    pub fn page(&self, address: &str) -> Answer {
        let site = if address.starts_with('/') { self.url.as_str() } else { "" };
        self.send(&[], "GET", &format!("{site}{address}"), &Value::Null)
    }

    fn call(&self, authorization: &str, method: &str, path: &str, body: &Value) -> Answer {
        self.send(&[("authorization", authorization)], method, &format!("{}/api/v1{path}", self.url), body)
    }

    fn send(&self, headers: &[(&str, &str)], method: &str, url: &str, body: &Value) -> Answer {
        self.try_send(headers, method, url, body).unwrap_or_else(|why| panic!("{method} {url}: {why}\n{}", self.log()))
    }

    fn try_send(&self, headers: &[(&str, &str)], method: &str, url: &str, body: &Value) -> Result<Answer, String> {
        let request = http::Request::builder().method(method).uri(url).header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = request.body(Full::from(body)).unwrap();
        self.runtime.block_on(async {
            let answer = self.client.request(request).await.map_err(|error| format!("{error:?}"))?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
            let text = String::from_utf8_lossy(&body).into_owned();
            Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or_default(), text })
        })
    }

    fn is_ready(&self) -> bool {
        let ended = self.process.lock().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "Gitea ended with {ended:?}:\n{}", self.log());
        let health = format!("{}/api/healthz", self.url);
        self.try_send(&[], "GET", &health, &Value::Null).is_ok_and(|answer| answer.status == 200)
    }

    fn create_administrator(&self, folder: &Path) {
        let mut create = command(folder, &self.watchdog);
        create.args(["admin", "user", "create", "--admin", "--username", ADMINISTRATOR, "--random-password"]);
        create.args(["--email", "administrator@example.com", "--must-change-password=false"]);
        create.args(["--access-token", "--access-token-name", "tests", "--access-token-scopes", "all"]);
        let output = create.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let token = said.lines().find_map(|line| line.strip_prefix("Access token was successfully created... "));
        let token = token.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
        self.tokens.lock().unwrap().insert(ADMINISTRATOR.to_owned(), token.trim().to_owned());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.watchdog.folder().join("gitea.log")).unwrap_or_default()
    }
}

/// Prepares a run of Gitea's program.
fn command(folder: &Path, watchdog: &Watchdog) -> Command {
    let mut command = Command::new(folder.join("gitea"));
    command.arg("--config").arg(configuration(watchdog)).arg("--work-path").arg(watchdog.folder());
    command.current_dir(watchdog.folder()).env_clear();
    command.env("HOME", watchdog.folder()).env("PATH", "/usr/local/bin:/usr/bin:/bin").stdin(Stdio::null());
    command
}

fn configuration(watchdog: &Watchdog) -> PathBuf {
    watchdog.folder().join("app.ini")
}

/// Returns the settings: no set-up page, no network, and no other service.
fn settings(program: &Path, folder: &Path, port: u16) -> String {
    let (program, folder) = (program.display(), folder.display());
    // Gitea refuses to run as root without the first line. It has no effect for other users.
    format!(
        "I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
RUN_MODE = prod
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
STATIC_ROOT_PATH = {program}
OFFLINE_MODE = true
DISABLE_SSH = true
[database]
DB_TYPE = sqlite3
PATH = {folder}/gitea.db
[repository]
ROOT = {folder}/repositories
DEFAULT_BRANCH = main
[security]
INSTALL_LOCK = true
[service]
DISABLE_REGISTRATION = true
[actions]
ENABLED = true
[indexer]
ISSUE_INDEXER_TYPE = db
[queue]
TYPE = channel
[cron.update_checker]
ENABLED = false
[log]
MODE = console
LEVEL = Warn
"
    )
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Returns the value of an `Authorization` header for a login and a password.
fn basic(login: &str, password: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    format!("Basic {}", BASE64_STANDARD.encode(format!("{login}:{password}")))
}

/// Waits until a question has an answer.
fn within<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "failed to see {what} within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

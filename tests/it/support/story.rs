//! The surroundings of one workflow: a repository with a project, its forge, its cluster, and the runs that the forge
//! starts.
//!
//! A run sees nothing of the tests' own environment. Everything that a run prints or reports is searched for its
//! secrets.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ktor_action::forge::read_hidden_block;
use ktor_action::git::commit::Commit;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::controlplane::{ControlPlane, User};
use super::github::{FakeComment, FakeGitHub, FakePull, REPOSITORY, TOKEN};
use super::profile;
use super::repository::TestRepository;

/// The number of the pull request in the payloads.
pub const PULL: u64 = 7;

/// The ID of the repository in the payloads.
const REPOSITORY_ID: u64 = 512_840_213;

/// The surroundings that the runs of one workflow share.
pub struct Story {
    pub origin: TestRepository,
    pub forge: FakeGitHub,
    pub plane: &'static ControlPlane,
    /// The name of the root project and of its namespace. No two stories share a name.
    pub root: String,
    files: TempDir,
    runs: Cell<u64>,
}

/// An event: its name, its payload, and the commit and the ref that the forge names with it.
#[derive(Clone)]
pub struct Event {
    name: &'static str,
    payload: Value,
    sha: String,
    r#ref: &'static str,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ran {
    pub exit: i32,
    /// Everything that the run printed.
    pub log: String,
    pub outputs: BTreeMap<String, String>,
    pub summary: String,
}

impl Story {
    /// Creates a story with a root project at `k8s` and an empty namespace. `main` has only the settings and a README.
    pub fn new(root: &str) -> Self {
        let plane = ControlPlane::shared();
        let created = plane.kubectl(&["create", "namespace", root]);
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        let story = Self {
            origin: TestRepository::new(),
            forge: FakeGitHub::start(),
            plane,
            root: root.to_owned(),
            files: tempfile::tempdir().unwrap(),
            runs: Cell::new(100),
        };
        let settings = format!("project: {root}\ncleanup: true\nnamespace: {root}\n");
        story.origin.write("k8s/.ktor.yaml", settings).write("README.md", "# The shop\n");
        story.origin.commit("begin");
        story
    }

    /// Writes a ConfigMap as a manifest: `web/banner` becomes `k8s/web/banner.yaml`.
    pub fn config(&self, path: &str, value: &str) -> &Self {
        self.write(path, value, &json!(null))
    }

    /// Writes an immutable ConfigMap as a manifest.
    pub fn sealed(&self, path: &str, value: &str) -> &Self {
        self.write(path, value, &json!(true))
    }

    fn write(&self, path: &str, value: &str, immutable: &Value) -> &Self {
        let name = path.rsplit('/').next().unwrap();
        let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"value": value}, "immutable": immutable});
        self.origin.write(format!("k8s/{path}.yaml"), serde_json::to_string_pretty(&manifest).unwrap());
        self
    }

    /// Removes a manifest.
    pub fn remove(&self, path: &str) -> &Self {
        self.origin.remove(format!("k8s/{path}.yaml"));
        self
    }

    /// Commits `change` on the branch `feature`. If `action` is `opened`, the branch starts at `main`. Returns the
    /// event of the pull request and the commit of its test merge.
    pub fn propose(&self, action: &str, change: impl FnOnce(&Self)) -> (Event, Commit) {
        let new = action == "opened";
        let at = if new { "main" } else { "feature" };
        self.origin.branch("feature", at);
        change(self);
        let head = self.origin.commit(action);
        let base = self.origin.git(["rev-parse", "main"]);
        self.origin.branch("pull", "main");
        let merge = self.origin.merge("feature");
        self.origin.branch("main", "main");
        let pull = FakePull::new(PULL);
        self.forge.add_pull(FakePull { head_sha: head.to_string(), base_sha: base.clone(), ..pull });
        let file = if new { "pull_request-opened" } else { "pull_request-synchronize" };
        let mut payload = payload(file);
        place_pull(&mut payload, head.as_str(), &base);
        payload["after"] = json!(head.as_str());
        (Event { name: "pull_request", payload, sha: merge.to_string(), r#ref: "refs/pull/7/merge" }, merge)
    }

    /// Merges `feature` as a forge does. Returns the event of the closed pull request and the merge commit.
    pub fn merge(&self) -> (Event, Commit) {
        self.origin.branch("main", "main");
        let (base, head) = (self.origin.head(), self.origin.git(["rev-parse", "feature"]));
        self.origin.git(["merge", "--quiet", "--no-ff", "--message", "Merge pull request #7", "feature"]);
        let merge = self.origin.head();
        let pull = FakePull { head_sha: head.clone(), base_sha: base.to_string(), ..FakePull::new(PULL) };
        self.forge.add_pull(pull.merged_as(merge.as_str()));
        let mut payload = payload("pull_request-closed-merged");
        place_pull(&mut payload, &head, base.as_str());
        payload["pull_request"]["merge_commit_sha"] = json!(merge.as_str());
        (Event { name: "pull_request", payload, sha: merge.to_string(), r#ref: "refs/heads/main" }, merge)
    }

    /// Returns the event of a pull request that was closed without a merge.
    pub fn close(&self) -> Event {
        let (base, head) = (self.origin.git(["rev-parse", "main"]), self.origin.git(["rev-parse", "feature"]));
        let merge = self.origin.git(["rev-parse", "pull"]);
        let mut payload = payload("pull_request-closed-unmerged");
        place_pull(&mut payload, &head, &base);
        payload["pull_request"]["merge_commit_sha"] = json!(merge);
        Event { name: "pull_request", payload, sha: merge, r#ref: "refs/pull/7/merge" }
    }

    /// Commits `change` on `main`. Returns the event of the push and the commit.
    pub fn push(&self, change: impl FnOnce(&Self)) -> (Event, Commit) {
        self.origin.branch("main", "main");
        let before = self.origin.head();
        change(self);
        let after = self.origin.commit("push");
        (pushed(&before, &after), after)
    }

    /// Runs `ktor action` in a depth-1 checkout of `commit`, with the cluster's kubeconfig.
    pub fn run(&self, event: &Event, commit: &Commit) -> Ran {
        self.run_in(&TestRepository::checkout(&self.origin, commit), event, Some(&self.kubeconfig()))
    }

    /// Runs `ktor action` in a checkout, with or without a kubeconfig.
    pub fn run_in(&self, checkout: &TestRepository, event: &Event, kubeconfig: Option<&Path>) -> Ran {
        self.run_with(checkout, event, kubeconfig, &[])
    }

    /// Runs `ktor action` in a checkout, with further inputs. An empty value removes an input.
    pub fn run_with(
        &self,
        checkout: &TestRepository,
        event: &Event,
        kubeconfig: Option<&Path>,
        inputs: &[(&str, &str)],
    ) -> Ran {
        let folder = self.files.path().join(self.next_run().to_string());
        let ran = act(&self.forge, &folder, self.runs.get(), checkout, event, kubeconfig, inputs);
        self.check_secrecy(&ran);
        ran
    }

    /// Returns the path of the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.plane.kubeconfig(User::Admin)
    }

    /// Returns the one comment of the pull request.
    pub fn comment(&self) -> FakeComment {
        let mut comments = self.forge.comments(PULL);
        assert_eq!(comments.len(), 1, "{comments:#?}");
        comments.remove(0)
    }

    /// Returns the object names of the cleanup set in the comment's hidden block.
    pub fn hidden_cleanup(&self) -> Vec<String> {
        let set = read_hidden_block(&self.comment().body, "cleanup").unwrap_or_default();
        let names =
            set["deleted"].as_array().into_iter().flatten().map(|ident| ident["name"].as_str().unwrap().to_owned());
        names.collect()
    }

    /// Returns the names and values of the live ConfigMaps that the story manages.
    pub fn live(&self) -> BTreeMap<String, String> {
        let list = self.get(&["configmaps", "-n", &self.root]);
        let items = list["items"].as_array().unwrap().iter();
        let values =
            items.filter_map(|item| Some((item["metadata"]["name"].as_str()?, item["data"]["value"].as_str()?)));
        values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Returns every object that a run of this story could write, with its resourceVersion.
    pub fn versions(&self) -> Vec<String> {
        let marked = self.get(&["configmaps,secrets", "-n", &self.root]);
        let state = self.get(&["secrets,leases", "-n", "kubernator-system"]);
        let of_root =
            |item: &&Value| item.to_string().contains(&format!("\"kubernator.io/project-root\":\"{}\"", self.root));
        let version = |item: &Value| {
            let metadata = &item["metadata"];
            format!("{} {} {}", item["kind"], metadata["name"], metadata["resourceVersion"])
        };
        let state = state["items"].as_array().unwrap().iter().filter(of_root).map(version);
        marked["items"].as_array().unwrap().iter().map(version).chain(state).collect()
    }

    fn get(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = ["get", "-o", "json"].iter().chain(arguments).copied().collect();
        let output = self.plane.kubectl(&arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Returns the number of the next run, which is greater than all earlier ones.
    fn next_run(&self) -> u64 {
        self.runs.set(self.runs.get() + 1);
        self.runs.get()
    }

    fn check_secrecy(&self, ran: &Ran) {
        let comments: String = self.forge.comments(PULL).iter().map(|comment| comment.body.as_str()).collect();
        let masked = |line: &&str| !line.starts_with("::add-mask::");
        let log: Vec<&str> = ran.log.lines().filter(masked).collect();
        for secret in [TOKEN, self.plane.token(User::Admin)] {
            for said in [&log.join("\n"), &ran.summary, &format!("{:?}", ran.outputs), &comments] {
                assert!(!said.contains(secret), "{said}");
            }
        }
    }
}

impl Event {
    /// Returns the payload, which the caller may change.
    pub fn payload(&mut self) -> &mut Value {
        &mut self.payload
    }

    /// Writes the payload to a file.
    pub fn write(&self, file: &Path) {
        fs::write(file, self.payload.to_string()).unwrap();
    }

    /// Returns the event as if the pull request came from a fork.
    #[must_use]
    pub fn forked(mut self) -> Self {
        self.payload["pull_request"]["head"]["repo"]["id"] = json!(77);
        self.payload["pull_request"]["head"]["repo"]["fork"] = json!(true);
        self
    }
}

impl Ran {
    /// Returns the value of an output, or an empty text if the output is not set.
    pub fn output(&self, name: &str) -> &str {
        self.outputs.get(name).map_or("", String::as_str)
    }
}

/// Runs `ktor action` in a checkout, with or without a kubeconfig. `folder` gets the files of the run.
pub fn act(
    forge: &FakeGitHub,
    folder: &Path,
    run: u64,
    checkout: &TestRepository,
    event: &Event,
    kubeconfig: Option<&Path>,
    inputs: &[(&str, &str)],
) -> Ran {
    fs::create_dir(folder).unwrap();
    let [payload, output, summary] = ["event.json", "output", "summary"].map(|name| folder.join(name));
    fs::write(&payload, event.payload.to_string()).unwrap();
    let mut ktor = Command::new(env!("CARGO_BIN_EXE_ktor"));
    ktor.arg("action").env_clear().envs(profile()).current_dir(checkout.top());
    ktor.env("PATH", checkout.environment().get("PATH").unwrap()).env("HOME", checkout.home());
    for (name, value) in [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", event.name),
        ("GITHUB_REPOSITORY", REPOSITORY),
        ("GITHUB_API_URL", &forge.url()),
        ("GITHUB_SERVER_URL", &forge.server_url()),
        ("GITHUB_RUN_ID", &run.to_string()),
        ("GITHUB_RUN_ATTEMPT", "1"),
        ("GITHUB_SHA", &event.sha),
        ("GITHUB_REF", event.r#ref),
        ("GITHUB_ACTOR", "maria-dev"),
        ("KTOR_INPUT_TOKEN", TOKEN),
        ("KTOR_INPUT_PATH", "k8s"),
        ("KTOR_INPUT_ALLOW_REPLACEMENT", "true"),
    ] {
        ktor.env(name, value);
    }
    ktor.envs(inputs.iter().copied());
    ktor.env("GITHUB_EVENT_PATH", &payload).env("GITHUB_WORKSPACE", checkout.top());
    ktor.env("GITHUB_OUTPUT", &output).env("GITHUB_STEP_SUMMARY", &summary);
    ktor.envs(kubeconfig.map(|file| ("KUBECONFIG", file)));
    let ended = ktor.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).unwrap();
    let read = |file: &Path| fs::read_to_string(file).unwrap_or_default();
    Ran {
        exit: ended.status.code().unwrap_or(-1),
        log: text(&ended.stdout) + &text(&ended.stderr),
        outputs: outputs(&read(&output)),
        summary: read(&summary),
    }
}

/// Returns the event of a pull request that was opened, on a forge that has no merge commit for it.
pub fn opened(head: &Commit, base: &Commit) -> Event {
    let mut payload = payload("pull_request-opened");
    place_pull(&mut payload, head.as_str(), base.as_str());
    Event { name: "pull_request", payload, sha: head.to_string(), r#ref: "refs/pull/7/head" }
}

/// Returns the event of a workflow that a person started by hand on a ref.
pub fn dispatched(commit: &Commit, r#ref: &'static str) -> Event {
    let mut payload = payload("push");
    payload["ref"] = json!(r#ref);
    payload["inputs"] = json!({});
    Event { name: "workflow_dispatch", payload, sha: commit.to_string(), r#ref }
}

/// Returns the event of a push to `main`.
pub fn pushed(before: &Commit, after: &Commit) -> Event {
    let mut payload = payload("push");
    payload["before"] = json!(before.as_str());
    payload["after"] = json!(after.as_str());
    payload["head_commit"]["id"] = json!(after.as_str());
    payload["commits"][0]["id"] = json!(after.as_str());
    Event { name: "push", payload, sha: after.to_string(), r#ref: "refs/heads/main" }
}

fn payload(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/events").join(name).with_extension("json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

fn place_pull(payload: &mut Value, head: &str, base: &str) {
    let pull = &mut payload["pull_request"];
    assert_eq!((&pull["number"], &pull["base"]["repo"]["id"]), (&json!(PULL), &json!(REPOSITORY_ID)));
    pull["head"]["sha"] = json!(head);
    pull["base"]["sha"] = json!(base);
}

/// Parses the outputs of a step, whose values are between delimiters in its file.
fn outputs(text: &str) -> BTreeMap<String, String> {
    let mut lines = text.lines();
    let mut outputs = BTreeMap::new();
    while let Some(line) = lines.next() {
        let (name, delimiter) = line.split_once("<<").expect("a delimiter");
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
        outputs.insert(name.to_owned(), value.join("\n"));
    }
    outputs
}

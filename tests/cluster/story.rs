//! The surroundings of one workflow: a repository with a project, its forge, its cluster, and the runs that the forge
//! starts.
//!
//! Everything that a run prints or reports is searched for its secrets.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ktor_action::forge::read_hidden_block;
use ktor_action::git::commit::Commit;
use serde_json::{Value, json};
use support::controlplane::{ControlPlane, User};
use support::github::{FakeComment, FakeGitHub, FakePull, TOKEN};
use support::repository::TestRepository;
use support::workflow_run::{Event, PULL, Ran, WorkflowRun, pushed};
use tempfile::TempDir;

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

impl Story {
    /// Creates a story with a root project at `k8s` and an empty namespace. `main` has only the settings and a README.
    pub fn new(root: &str) -> Self {
        let plane = plane_with(root);
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
        write_config(&self.origin, path, value, immutable);
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
        let mut event = Event::of_pull(file, head.as_str(), &base, merge.as_str(), "refs/pull/7/merge");
        event.payload()["after"] = json!(head.as_str());
        (event, merge)
    }

    /// Merges `feature` as a forge does. Returns the event of the closed pull request and the merge commit.
    pub fn merge(&self) -> (Event, Commit) {
        self.origin.branch("main", "main");
        let (base, head) = (self.origin.head(), self.origin.git(["rev-parse", "feature"]));
        self.origin.git(["merge", "--quiet", "--no-ff", "--message", "Merge pull request #7", "feature"]);
        let merge = self.origin.head();
        let pull = FakePull { head_sha: head.clone(), base_sha: base.to_string(), ..FakePull::new(PULL) };
        self.forge.add_pull(pull.merged_as(merge.as_str()));
        let file = "pull_request-closed-merged";
        let mut event = Event::of_pull(file, &head, base.as_str(), merge.as_str(), "refs/heads/main");
        event.payload()["pull_request"]["merge_commit_sha"] = json!(merge.as_str());
        (event, merge)
    }

    /// Returns the event of a pull request that was closed without a merge.
    pub fn close(&self) -> Event {
        let (base, head) = (self.origin.git(["rev-parse", "main"]), self.origin.git(["rev-parse", "feature"]));
        let merge = self.origin.git(["rev-parse", "pull"]);
        let mut event = Event::of_pull("pull_request-closed-unmerged", &head, &base, &merge, "refs/pull/7/merge");
        event.payload()["pull_request"]["merge_commit_sha"] = json!(merge);
        event
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
        let number = self.next_run();
        let folder = self.files.path().join(number.to_string());
        let run = WorkflowRun { ktor: env!("CARGO_BIN_EXE_ktor"), forge: &self.forge, folder, number };
        let ran = run.act(checkout, event, kubeconfig, inputs);
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

    /// Returns the names of the ConfigMaps that the comment shows as deleted.
    pub fn shown_deletions(&self) -> Vec<String> {
        shown_deletions(&self.comment().body)
    }

    /// Returns `true` if the comment has a signed statement.
    pub fn is_signed(&self) -> bool {
        read_hidden_block(&self.comment().body, "review").is_some()
    }

    /// Returns the names and values of the live ConfigMaps that the story manages.
    pub fn live(&self) -> BTreeMap<String, String> {
        live(self.plane, &self.root)
    }

    /// Returns every object that a run of this story could write, with its resourceVersion.
    pub fn versions(&self) -> Vec<String> {
        versions(self.plane, &self.root)
    }

    /// Makes the review key anew with the same content, as the restore of a backup does.
    pub fn restore_review_key(&self) {
        let mut secret = self.review_key();
        self.remove_review_key();
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
            secret["metadata"].as_object_mut().unwrap().remove(field);
        }
        let created = self.plane.kubectl_with(&["create", "-f", "-"], &secret.to_string());
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    }

    /// Moves the review key to its previous place, as a person does to rotate it.
    pub fn rotate_review_key(&self) {
        let secret = self.review_key();
        let name = secret["metadata"]["name"].as_str().unwrap();
        let patch = json!({"data": {"key": null, "previous": secret["data"]["key"]}}).to_string();
        self.kubectl(&["-n", "kubernator-system", "patch", "secret", name, "--type=merge", "-p", &patch]);
    }

    /// Deletes the review key.
    pub fn remove_review_key(&self) {
        let secret = self.review_key();
        self.kubectl(&["-n", "kubernator-system", "delete", "secret", secret["metadata"]["name"].as_str().unwrap()]);
    }

    fn review_key(&self) -> Value {
        let secrets = get(self.plane, &["secrets", "-n", "kubernator-system"]);
        let is_ours = |secret: &&Value| {
            secret["type"] == "kubernator.io/ktor-review-key"
                && secret["metadata"]["annotations"]["kubernator.io/project-root"] == self.root.as_str()
        };
        secrets["items"].as_array().unwrap().iter().find(is_ours).unwrap().clone()
    }

    /// Takes away what tells that ktor wrote the state last, as a run of Kubernator does.
    pub fn unsettle(&self) {
        let secrets = get(self.plane, &["secrets", "-n", "kubernator-system"]);
        let digest = "kubernator.io/ktor-digest";
        let is_state = |secret: &&Value| {
            let annotations = &secret["metadata"]["annotations"];
            annotations["kubernator.io/project-root"] == self.root.as_str() && annotations[digest].is_string()
        };
        let states: Vec<&Value> = secrets["items"].as_array().unwrap().iter().filter(is_state).collect();
        assert_eq!(states.len(), 1, "{states:#?}");
        let name = states[0]["metadata"]["name"].as_str().unwrap();
        self.kubectl(&["-n", "kubernator-system", "annotate", "secret", name, &format!("{digest}-")]);
    }

    /// Runs kubectl, which must succeed.
    pub fn kubectl(&self, arguments: &[&str]) {
        let ran = self.plane.kubectl(arguments);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
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

/// Returns the control plane with a new, empty namespace.
pub fn plane_with(namespace: &str) -> &'static ControlPlane {
    let plane = ControlPlane::shared();
    let created = plane.kubectl(&["create", "namespace", namespace]);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    plane
}

/// Writes a ConfigMap as a manifest: `web/banner` becomes `k8s/web/banner.yaml`.
pub fn write_config(repository: &TestRepository, path: &str, value: &str, immutable: &Value) {
    let name = path.rsplit('/').next().unwrap();
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"value": value}, "immutable": immutable});
    repository.write(format!("k8s/{path}.yaml"), serde_json::to_string_pretty(&manifest).unwrap());
}

/// Returns the names of the ConfigMaps that the text of a comment shows as deleted.
pub fn shown_deletions(comment: &str) -> Vec<String> {
    let is_title = |line: &&str| line.starts_with("### ") && line.contains("to delete");
    let section = comment.lines().skip_while(|line| !is_title(line)).skip(1);
    let section = section.take_while(|line| !line.starts_with("### ") && !line.starts_with("<details"));
    let deleted = section.filter(|line| !line.contains("deleted and created again"));
    let names = deleted.filter_map(|line| line.split_once("ConfigMap ")?.1.split(['`', ' ', '*']).next());
    names.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect()
}

/// Returns the names and values of the live ConfigMaps in a root's namespace.
pub fn live(plane: &ControlPlane, root: &str) -> BTreeMap<String, String> {
    let list = get(plane, &["configmaps", "-n", root]);
    let items = list["items"].as_array().unwrap().iter();
    let values = items.filter_map(|item| Some((item["metadata"]["name"].as_str()?, item["data"]["value"].as_str()?)));
    values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Returns every object that a run of a root could write, with its resourceVersion.
pub fn versions(plane: &ControlPlane, root: &str) -> Vec<String> {
    let marked = get(plane, &["configmaps,secrets", "-n", root]);
    let state = get(plane, &["secrets,leases", "-n", "kubernator-system"]);
    let of_root = |item: &&Value| item.to_string().contains(&format!("\"kubernator.io/project-root\":\"{root}\""));
    let version = |item: &Value| {
        let metadata = &item["metadata"];
        format!("{} {} {}", item["kind"], metadata["name"], metadata["resourceVersion"])
    };
    let state = state["items"].as_array().unwrap().iter().filter(of_root).map(version);
    marked["items"].as_array().unwrap().iter().map(version).chain(state).collect()
}

fn get(plane: &ControlPlane, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = ["get", "-o", "json"].iter().chain(arguments).copied().collect();
    let output = plane.kubectl(&arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

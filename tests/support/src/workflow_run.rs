//! A run of `ktor action` as a workflow starts it, with the event that started it.
//!
//! The run sees nothing of the tests' own environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ktor_action::git::commit::Commit;
use serde_json::{Value, json};

use crate::github::{FakeGitHub, REPOSITORY, TOKEN};
use crate::profile;
use crate::repository::TestRepository;

/// The number of the pull request in the payloads.
pub const PULL: u64 = 7;

/// The ID of the repository in the payloads.
const REPOSITORY_ID: u64 = 512_840_213;

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
    /// The exit code.
    pub exit: i32,
    /// Everything that the run printed.
    pub log: String,
    /// The outputs of the step.
    pub outputs: BTreeMap<String, String>,
    /// The step summary.
    pub summary: String,
}

/// A run of `ktor action` that has not started.
pub struct ActionRun<'a> {
    /// The path of the binary.
    pub ktor: &'static str,
    /// The command: `action` or `summary`.
    pub command: &'static str,
    /// The folder for the files of the run. The run creates it.
    pub folder: PathBuf,
    /// The payload of the event.
    pub payload: &'a Value,
    /// The variables that the runner sets, without those that name a file, and the inputs.
    pub variables: Vec<(&'static str, String)>,
    /// The file for the step summary, if the runner has one.
    pub summary: Summary,
}

/// The runner's offer of a step summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summary {
    /// The runner shows a step summary.
    Offered,
    /// The runner has no step summary.
    Absent,
}

impl ActionRun<'_> {
    /// Runs `ktor action` in a checkout, with or without a kubeconfig, and with further inputs.
    pub fn run(&self, checkout: &TestRepository, kubeconfig: Option<&Path>, inputs: &[(&str, &str)]) -> Ran {
        fs::create_dir(&self.folder).unwrap();
        let [payload, output, summary] = ["event.json", "output", "summary"].map(|name| self.folder.join(name));
        fs::write(&payload, self.payload.to_string()).unwrap();
        let mut ktor = Command::new(self.ktor);
        ktor.arg(self.command).env_clear().envs(profile()).current_dir(checkout.top());
        ktor.env("PATH", checkout.environment().get("PATH").unwrap()).env("HOME", checkout.home());
        ktor.env("GITHUB_ACTIONS", "true").env("KTOR_INPUT_PATH", "k8s").env("KTOR_INPUT_ALLOW_REPLACEMENT", "true");
        ktor.envs(self.variables.iter().map(|(name, value)| (name, value)));
        ktor.envs(inputs.iter().copied());
        ktor.env("GITHUB_EVENT_PATH", &payload).env("GITHUB_WORKSPACE", checkout.top()).env("GITHUB_OUTPUT", &output);
        ktor.env("RUNNER_TEMP", self.folder.join("temp"));
        if self.summary == Summary::Offered {
            ktor.env("GITHUB_STEP_SUMMARY", &summary);
        }
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
}

/// A run that the fake forge starts, and that has not started.
pub struct WorkflowRun<'a> {
    /// The path of the binary.
    pub ktor: &'static str,
    /// The forge of the workflow.
    pub forge: &'a FakeGitHub,
    /// The folder for the files of the run. The run creates it.
    pub folder: PathBuf,
    /// The number of the run. Later runs have greater numbers.
    pub number: u64,
}

impl WorkflowRun<'_> {
    /// Runs `ktor action` in a checkout, with or without a kubeconfig, and with further inputs.
    pub fn act(
        &self,
        checkout: &TestRepository,
        event: &Event,
        kubeconfig: Option<&Path>,
        inputs: &[(&str, &str)],
    ) -> Ran {
        self.run("action", checkout, event, kubeconfig, inputs)
    }

    /// Runs a command of the binary in a checkout, as [`WorkflowRun::act`] runs `ktor action`.
    pub fn run(
        &self,
        command: &'static str,
        checkout: &TestRepository,
        event: &Event,
        kubeconfig: Option<&Path>,
        inputs: &[(&str, &str)],
    ) -> Ran {
        let mut variables = event.variables(self.forge, self.number);
        variables.push(("KTOR_INPUT_TOKEN", TOKEN.to_owned()));
        let (ktor, folder, payload) = (self.ktor, self.folder.clone(), &event.payload);
        let run = ActionRun { ktor, command, folder, payload, variables, summary: Summary::Offered };
        run.run(checkout, kubeconfig, inputs)
    }
}

impl Event {
    /// Returns an event of the pull request, with the payload of a file, the pull request's head and base, and the
    /// commit and the ref that the forge names.
    pub fn of_pull(file: &str, head: &str, base: &str, sha: &str, r#ref: &'static str) -> Self {
        let mut payload = payload(file);
        let pull = &mut payload["pull_request"];
        assert_eq!((&pull["number"], &pull["base"]["repo"]["id"]), (&json!(PULL), &json!(REPOSITORY_ID)));
        pull["head"]["sha"] = json!(head);
        pull["base"]["sha"] = json!(base);
        Self { name: "pull_request", payload, sha: sha.to_owned(), r#ref }
    }

    /// Returns the payload, which the caller may change.
    pub fn payload(&mut self) -> &mut Value {
        &mut self.payload
    }

    /// Returns the name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the variables that the runner sets in the run with this number.
    pub fn variables(&self, forge: &FakeGitHub, number: u64) -> Vec<(&'static str, String)> {
        vec![
            ("GITHUB_EVENT_NAME", self.name.to_owned()),
            ("GITHUB_REPOSITORY", REPOSITORY.to_owned()),
            ("GITHUB_API_URL", forge.url()),
            ("GITHUB_SERVER_URL", forge.server_url()),
            ("GITHUB_RUN_ID", number.to_string()),
            ("GITHUB_RUN_ATTEMPT", "1".to_owned()),
            ("GITHUB_SHA", self.sha.clone()),
            ("GITHUB_REF", self.r#ref.to_owned()),
            ("GITHUB_ACTOR", "maria-dev".to_owned()),
            ("GITHUB_WORKFLOW", "deploy".to_owned()),
        ]
    }

    /// Returns the same payload under the name of another event.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Returns the event with another commit that the forge names.
    #[must_use]
    pub fn at(mut self, commit: &Commit) -> Self {
        self.sha = commit.to_string();
        self
    }

    /// Returns the event as if the pull request came from a fork.
    #[must_use]
    pub fn forked(mut self) -> Self {
        self.payload["pull_request"]["head"]["repo"]["id"] = json!(77);
        self.payload["pull_request"]["head"]["repo"]["fork"] = json!(true);
        self.payload["pull_request"]["head"]["repo"]["full_name"] = json!("passer-by/shop");
        self
    }

    /// Returns the event as if Dependabot had opened the pull request.
    #[must_use]
    pub fn of_dependabot(mut self) -> Self {
        self.payload["pull_request"]["user"]["login"] = json!("dependabot[bot]");
        self
    }
}

impl Ran {
    /// Returns the value of an output, or an empty text if the output is not set.
    pub fn output(&self, name: &str) -> &str {
        self.outputs.get(name).map_or("", String::as_str)
    }
}

/// Returns the event of a pull request that was opened, on a forge that has no merge commit for it.
pub fn opened(head: &Commit, base: &Commit) -> Event {
    Event::of_pull("pull_request-opened", head.as_str(), base.as_str(), head.as_str(), "refs/pull/7/head")
}

/// Returns the event of a workflow that a person started by hand on a ref.
pub fn dispatched(commit: &Commit, r#ref: &'static str) -> Event {
    let mut payload = payload("push");
    payload["ref"] = json!(r#ref);
    payload["inputs"] = json!({});
    Event { name: "workflow_dispatch", payload, sha: commit.to_string(), r#ref }
}

/// Returns the event of a new comment on a pull request.
pub fn commented(number: u64, id: u64, author: &str, text: &str, commit: &Commit) -> Event {
    let time = "2026-01-02T03:04:05Z";
    let mut payload = payload("push");
    payload["action"] = json!("created");
    payload["issue"] =
        json!({"number": number, "pull_request": {"url": "https://api.github.com/repos/acme/shop/pulls/7"}});
    payload["comment"] =
        json!({"id": id, "body": text, "user": {"login": author}, "created_at": time, "updated_at": time});
    Event { name: "issue_comment", payload, sha: commit.to_string(), r#ref: "refs/heads/main" }
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

/// Returns the event of the push of an annotated tag, given as a full ref, at a commit.
pub fn tagged(commit: &Commit, tag: &'static str) -> Event {
    let mut event = pushed(commit, commit);
    // An annotated tag is an object of its own.
    let object = "f".repeat(40);
    for (field, value) in [("ref", tag), ("before", &"0".repeat(40)), ("after", &object)] {
        event.payload[field] = json!(value);
    }
    event.payload["created"] = json!(true);
    Event { r#ref: tag, ..event }
}

/// Returns the event of a merge queue's group whose merge of `base` is `head`.
pub fn queued(base: &Commit, head: &Commit) -> Event {
    let group = "refs/heads/gh-readonly-queue/main/pr-7";
    let mut payload = payload("push");
    payload["action"] = json!("checks_requested");
    payload["merge_group"] = json!({"head_sha": head.as_str(), "head_ref": group, "base_sha": base.as_str(),
        "base_ref": "refs/heads/main"});
    Event { name: "merge_group", payload, sha: head.to_string(), r#ref: group }
}

fn payload(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cases/events").join(name).with_extension("json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
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

//! The tests of the action through action.yml, which `act` runs.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::controlplane::act;
use support::github::{REPOSITORY, TOKEN};
use support::profile;
use support::repository::TestRepository;
use support::workflow_run::Event;

use crate::story::Story;

/// A workflow as in the README, except for the parts that a runner without containers needs.
const WORKFLOW: &str = r#"
on: [pull_request, push]
permissions:
  contents: read
  pull-requests: write
concurrency:
  group: ktor-${{ github.ref }}
  cancel-in-progress: false
jobs:
  ktor:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v6
      - uses: ./
        id: ktor
        with:
          path: k8s
          lock-timeout: 90s
      - env:
          RESULT: ${{ steps.ktor.outputs.result }} ${{ steps.ktor.outputs.cleanup-count }}
          URL: ${{ steps.ktor.outputs.comment-url }}
        run: echo "seen $RESULT at $URL"
"#;

/// Adds the action of this repository, and a workflow that uses it, to the work tree of a repository.
pub fn add_the_action(repository: &TestRepository, workflow: &str) {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["action.yml", ".github/install.sh", ".github/ktor.sha256"] {
        let (from, to) = (own.join(file), repository.top().join(file));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    }
    repository.write(".github/workflows/ktor.yaml", workflow);
}

/// Runs the workflow of an event in a directory that is already checked out, with further variables of the runner.
pub fn run_act(
    directory: &Path,
    event: &str,
    payload: &Value,
    token: &str,
    variables: impl IntoIterator<Item = (&'static str, String)>,
) -> Output {
    let act = act().unwrap_or_else(|error| panic!("failed to {error}"));
    // act keeps its own files below HOME.
    let elsewhere = TestRepository::new();
    let file = elsewhere.home().join("event.json");
    std::fs::write(&file, payload.to_string()).unwrap();
    let mut command = Command::new(act);
    command.arg(event).args([
        "-P",
        "ubuntu-latest=-self-hosted",
        "--container-daemon-socket",
        "-",
        "--no-cache-server",
    ]);
    command.arg("-e").arg(file).args(["-s", &format!("GITHUB_TOKEN={token}")]);
    let profile = profile().into_iter().map(|(name, file)| (name, file.into_string().unwrap()));
    let binary = ("KTOR_BIN", env!("CARGO_BIN_EXE_ktor").to_owned());
    for (name, value) in variables.into_iter().chain(profile).chain([binary]) {
        command.args(["--env", &format!("{name}={value}")]);
    }
    command.env_clear().current_dir(directory);
    command.env("PATH", elsewhere.environment().get("PATH").unwrap()).env("HOME", elsewhere.home());
    command.env("XDG_CACHE_HOME", elsewhere.home().join("cache")).env("TMPDIR", elsewhere.home());
    command.stdin(std::process::Stdio::null()).output().unwrap()
}

/// Runs the workflow in the repository as it is checked out.
fn run(story: &Story, event: &mut Event, name: &str) -> Output {
    let variables = [
        ("GITHUB_API_URL", story.forge.url()),
        ("GITHUB_SERVER_URL", story.forge.server_url()),
        ("KUBECONFIG", story.kubeconfig().to_str().unwrap().to_owned()),
    ];
    run_act(&story.origin.top(), name, event.payload(), TOKEN, variables)
}

#[test]
fn f8_a_workflow_with_the_action_plans_and_applies() {
    let story = Story::new("workflow-story");
    add_the_action(&story.origin, WORKFLOW);
    story.origin.git(["remote", "add", "origin", &format!("https://github.com/{REPOSITORY}.git")]);
    let (mut pushed, commit) = story.push(|story| {
        story.config("web", "one").config("banner", "hello");
    });
    // The remote of the checkout is out of reach. The forge says which commit is the branch's last one.
    story.forge.set_comparison("main", commit.as_str(), "identical", &[]);
    let output = run(&story, &mut pushed, "push");
    let log = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("seen applied 0"), "{log}");
    assert_eq!(story.live().len(), 2);

    let (mut opened, merge) = story.propose("opened", |story| {
        story.remove("banner").config("web", "two");
    });
    story.origin.git(["checkout", "--quiet", merge.as_str()]);
    let output = run(&story, &mut opened, "pull_request");
    let log = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let comment = story.comment();
    assert!(log.contains(&format!("seen changes 1 at {}", story.forge.server_url())), "{log}");
    assert!(comment.body.contains("### 1 to delete") && comment.body.contains("banner"), "{}", comment.body);
    assert_eq!(story.shown_deletions(), ["banner"]);
    assert_eq!(story.live()["web"], "one");
    assert!(!log.contains(TOKEN), "{log}");
}

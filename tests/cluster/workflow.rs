//! The tests of the action through action.yml, which `act` runs.

use support::github::{REPOSITORY, TOKEN};
use support::repository::TestRepository;
use support::workflow_run::Event;

use crate::act::{ActRun, Runner, copy_the_action};
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

/// Adds the action of this repository, and a workflow, to the work tree of a repository.
pub fn add_the_action(repository: &TestRepository, workflow: &str) {
    copy_the_action(&repository.top());
    repository.write(".github/workflows/ktor.yaml", workflow);
}

/// Runs the workflow in the repository as it is checked out.
fn run(story: &Story, event: &mut Event) -> String {
    let variables = vec![
        ("GITHUB_API_URL", story.forge.url()),
        ("GITHUB_SERVER_URL", story.forge.server_url()),
        ("KUBECONFIG", story.kubeconfig().to_str().unwrap().to_owned()),
    ];
    let (directory, name) = (story.origin.top(), event.name());
    let payload = event.payload();
    let run = ActRun { directory: &directory, event: name, payload, token: TOKEN, variables, secrets: Vec::new() };
    Runner::new().run(run).succeeded(&["ktor"]).log
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
    let log = run(&story, &mut pushed);
    assert!(log.contains("seen applied 0"), "{log}");
    assert_eq!(story.live().len(), 2);

    let (mut opened, merge) = story.propose("opened", |story| {
        story.remove("banner").config("web", "two");
    });
    story.origin.git(["checkout", "--quiet", merge.as_str()]);
    let log = run(&story, &mut opened);
    let comment = story.comment();
    assert!(log.contains(&format!("seen changes 1 at {}", story.forge.server_url())), "{log}");
    assert!(comment.body.contains("### 1 to delete") && comment.body.contains("banner"), "{}", comment.body);
    assert_eq!(story.shown_deletions(), ["banner"]);
    assert_eq!(story.live()["web"], "one");
}

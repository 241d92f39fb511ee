//! The comparison of a cluster with what was merged: `ktor drift`, and the issue of a schedule.

use std::process::Command;

use ktor_action::git::commit::Commit;
use support::github::{ACTIONS_BOT, FakeIssue, Fault};
use support::repository::TestRepository;
use support::workflow_run::{Event, Ran, pushed};

use crate::story::Story;

/// Creates a story whose `main` has two ConfigMaps, and applies it.
fn applied(root: &str) -> (Story, Commit) {
    let story = Story::new(root);
    let (event, commit) = story.push(|story| {
        story.config("web", "one").config("banner", "hello");
    });
    let ran = story.run(&event, &commit);
    assert_eq!((ran.exit, ran.output("result")), (0, "applied"), "{}", ran.log);
    (story, commit)
}

/// Runs the schedule at a commit, and checks that it writes nothing to the cluster.
fn compared(story: &Story, commit: &Commit) -> Ran {
    let before = story.versions();
    let ran = story.run(&scheduled(commit), commit);
    assert_eq!(story.versions(), before, "a comparison wrote to the cluster");
    ran
}

fn scheduled(commit: &Commit) -> Event {
    pushed(commit, commit).named("schedule")
}

#[track_caller]
fn the_issue(story: &Story) -> FakeIssue {
    let mut issues = story.forge.issues();
    issues.retain(|issue| issue.author == ACTIONS_BOT);
    assert_eq!(issues.len(), 1, "{issues:#?}");
    issues.remove(0)
}

#[test]
fn f21_drift_is_one_issue_that_is_opened_edited_and_closed() {
    let (story, commit) = applied("drift-story");
    let ran = compared(&story, &commit);
    assert_eq!((ran.exit, ran.output("result")), (0, "no-changes"), "{}", ran.log);
    assert!(story.forge.issues().is_empty(), "{:#?}", story.forge.issues());

    // Someone edits an object by hand. An issue of someone else that looks like ours stays as it is.
    story.kubectl(&[
        "-n",
        &story.root,
        "patch",
        "configmap",
        "web",
        "--type=merge",
        "-p",
        r#"{"data":{"value":"hot"}}"#,
    ]);
    let ran = compared(&story, &commit);
    assert_eq!((ran.exit, ran.output("result"), ran.output("changes")), (0, "drift", "1"), "{}", ran.log);
    let opened = the_issue(&story);
    assert!(opened.is_open && opened.title.contains("drift-story"), "{opened:#?}");
    assert!(opened.body.contains("held by kubectl-patch") && opened.body.contains("k8s/web.yaml"), "{}", opened.body);
    assert!(ran.output("comment-url").ends_with(&format!("/issues/{}", opened.number)), "{:?}", ran.outputs);
    let stranger = story.forge.add_issue("mallory", "drift", &opened.body);

    // A commit is merged and its apply never runs.
    let (push, merged) = story.push(|story| {
        story.config("footer", "new");
    });
    compared(&story, &merged);
    let edited = the_issue(&story);
    assert_eq!((edited.number, edited.is_open), (opened.number, true));
    let due = format!("> - 1 commit is merged and not applied: `{}` (push).", merged.short());
    assert!(edited.body.contains(&due) && edited.body.contains("footer"), "{}", edited.body);

    // An apply heals what nobody else holds. An object whose removal nobody reviewed is left over, which is told until it is gone.
    story.kubectl(&["-n", &story.root, "delete", "configmap", "web"]);
    let ran = story.run(&push, &merged);
    assert_eq!(ran.exit, 0, "{}", ran.log);
    let (push, removed) = story.push(|story| {
        story.remove("banner");
    });
    assert_eq!(story.run(&push, &removed).exit, 3);
    story.kubectl(&["-n", &story.root, "delete", "configmap", "web"]);
    compared(&story, &removed);
    let body = the_issue(&story).body;
    assert!(body.contains("banner") && !body.contains("not applied"), "{body}");
    let heal = [("KTOR_INPUT_MODE", "apply"), ("KTOR_INPUT_ALLOW_UNREVIEWED_DELETIONS", "true")];
    let checkout = TestRepository::checkout(&story.origin, &removed);
    let ran = story.run_with(&checkout, &scheduled(&removed), Some(&story.kubeconfig()), &heal);
    assert_eq!(ran.exit, 0, "{}", ran.log);

    let ran = compared(&story, &removed);
    assert_eq!((ran.exit, ran.output("result")), (0, "no-changes"), "{}", ran.log);
    let closed = the_issue(&story);
    assert_eq!((closed.number, closed.is_open), (opened.number, false));
    assert!(closed.body.contains("No difference"), "{}", closed.body);
    let theirs = story.forge.issues().into_iter().find(|issue| issue.number == stranger).unwrap();
    assert!(theirs.is_open && theirs.body == opened.body, "{theirs:#?}");

    // The next drift opens an issue of its own.
    story.kubectl(&["-n", &story.root, "delete", "configmap", "web"]);
    compared(&story, &removed);
    let issues = story.forge.issues();
    let ours: Vec<_> = issues.iter().filter(|issue| issue.author == ACTIONS_BOT).collect();
    assert_eq!(ours.iter().map(|issue| issue.is_open).collect::<Vec<_>>(), [false, true], "{ours:#?}");
}

#[test]
fn f21_a_drift_that_no_issue_can_tell_is_no_success() {
    let (story, commit) = applied("drift-untold");
    story.kubectl(&["-n", &story.root, "delete", "configmap", "web"]);
    // The answer to the write is lost once: the issue is there, and no second one is opened.
    story.forge.fault(Fault::drop("POST", "/issues").applied());
    let ran = compared(&story, &commit);
    assert_eq!((ran.exit, ran.output("result")), (0, "drift"), "{}", ran.log);
    assert!(the_issue(&story).is_open);
    for _ in 0..9 {
        story.forge.fault(Fault::answer("GET", "/issues", 403));
    }
    let ran = compared(&story, &commit);
    assert_eq!((ran.exit, ran.output("result")), (2, "drift"), "{}", ran.log);
    assert!(ran.log.contains("::warning") && ran.log.contains("the issue of the drift was not written"), "{}", ran.log);
    // A job without a cluster cannot compare.
    let ran = story.run_in(&TestRepository::checkout(&story.origin, &commit), &scheduled(&commit), None);
    assert_eq!((ran.exit, ran.output("result")), (1, "failed"), "{}", ran.log);
}

#[test]
fn f21_the_command_tells_live_drift_unapplied_commits_and_unfinished_runs() {
    let (story, first) = applied("drift-command");
    let clone = TestRepository::clone_of(&story.origin);
    let drift = |arguments: &[&str]| {
        let mut ktor = Command::new(env!("CARGO_BIN_EXE_ktor"));
        ktor.args(["drift", "-p", "k8s"]).args(arguments).env_clear().envs(support::profile()).current_dir(clone.top());
        ktor.env("KUBECONFIG", story.kubeconfig()).env("HOME", clone.home()).env("USER", "maria");
        let ended = ktor.env("PATH", clone.environment().get("PATH").unwrap()).output().unwrap();
        let said = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (ended.status.code().unwrap(), said)
    };
    let before = story.versions();
    let (exit, said) = drift(&[]);
    assert_eq!(exit, 0, "{said}");

    let (_, second) = story.push(|story| {
        story.config("footer", "new");
    });
    clone.git(["pull", "--quiet", "origin", "main"]);
    let (exit, said) = drift(&[]);
    let due = format!("1 commit is merged and not applied: {} (push).", second.short());
    assert!(exit == 2 && said.contains(&due) && said.contains("footer"), "{exit}: {said}");
    let (exit, said) = drift(&["-o", "json"]);
    assert!(exit == 2 && said.contains("\"not-applied\""), "{exit}: {said}");
    let (exit, said) = drift(&["-o", "markdown"]);
    assert!(exit == 2 && said.contains("> - 1 commit is merged and not applied: `"), "{exit}: {said}");
    assert_eq!(story.versions(), before);

    // A commit that changes nothing of the root needs no apply.
    clone.git(["reset", "--quiet", "--hard", first.as_str()]);
    clone.write("README.md", "# Another shop\n");
    clone.commit("words");
    let (exit, said) = drift(&[]);
    assert_eq!(exit, 0, "{said}");

    // The cluster is ahead of the checkout.
    let ran = story.run(&pushed(&first, &second), &second);
    assert_eq!(ran.exit, 0, "{}", ran.log);
    let (exit, said) = drift(&[]);
    assert!(exit == 2 && said.contains("is not part of this history"), "{exit}: {said}");

    // A run did not finish, or another tool wrote the state.
    clone.git(["reset", "--quiet", "--hard", second.as_str()]);
    story.unsettle();
    let (exit, said) = drift(&[]);
    assert!(exit == 2 && said.contains("The last run did not finish"), "{exit}: {said}");
}

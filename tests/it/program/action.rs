//! `ktor action`: the log, the outputs, the step summary, and the comment of a pull request.

use std::path::PathBuf;

use ktor_action::git::commit::Commit;
use serde_json::json;
use support::github::{FakeGitHub, FakePull};
use support::model::status;
use support::repository::TestRepository;
use support::workflow_run::{Event, PULL, WorkflowRun, pushed};

use super::{Site, compare, config_map, in_order, lock};

/// Returns the event of a pull request of a change, and its test merge.
fn propose(site: &Site, forge: &FakeGitHub, change: impl FnOnce(&TestRepository)) -> (Event, Commit) {
    let checkout = &site.checkout;
    checkout.branch("feature", "main");
    change(checkout);
    let head = checkout.commit("feature");
    let base = checkout.git(["rev-parse", "main"]);
    checkout.branch("pull", "main");
    let merge = checkout.merge("feature");
    forge.add_pull(FakePull { head_sha: head.to_string(), base_sha: base.clone(), ..FakePull::new(PULL) });
    let mut event = Event::of_pull("pull_request-opened", head.as_str(), &base, merge.as_str(), "refs/pull/7/merge");
    event.payload()["after"] = json!(head.as_str());
    (event, merge)
}

/// Returns the event of a push of a change.
fn push(site: &Site, change: impl FnOnce(&TestRepository)) -> (Event, Commit) {
    let before = site.checkout.head();
    change(&site.checkout);
    let after = site.checkout.commit("push");
    (pushed(&before, &after), after)
}

/// Compares everything that a run of the action writes with a snapshot.
fn check(name: &str, site: &Site, forge: &FakeGitHub, (event, commit): (Event, Commit)) {
    let files = support::temporary_directory();
    let folder: PathBuf = files.path().join("run");
    let checkout = TestRepository::checkout(&site.checkout, &commit);
    let kubeconfig = site.checkout.home().join("kubeconfig");
    let run = WorkflowRun { ktor: env!("CARGO_BIN_EXE_ktor"), forge, folder, number: 1 };
    let ran = run.act(&checkout, &event, Some(&kubeconfig), &[("KTOR_INPUT_LOCK_TIMEOUT", "0")]);
    let outputs: Vec<String> = ran.outputs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let comments: Vec<String> = forge.comments(PULL).into_iter().map(|comment| comment.body).collect();
    let text = format!(
        "$ ktor action\nexit code {}\n\n[log]\n{}\n\n[outputs]\n{}\n\n[step summary]\n{}\n\n[comment]\n{}\n",
        ran.exit,
        in_order(ran.log.trim_end()),
        outputs.join("\n"),
        ran.summary.trim_end(),
        unsigned(&comments.join("\n---\n"))
    );
    let top = checkout.top().canonicalize().unwrap();
    let forge = forge.server_url();
    compare(name, site.without_names(&text.replace(top.to_str().unwrap(), "/checkout").replace(&forge, "forge")));
}

/// Replaces the signatures and the servers in the hidden lines of a comment, which depend on a random key and on a port.
fn unsigned(comments: &str) -> String {
    let hidden = |line: &str| {
        let marks = [("seal=", "signature"), ("data review ", "signature"), ("data server ", "server")];
        let varying = marks.iter().find_map(|(mark, what)| Some((line.find(mark)? + mark.len(), what)));
        match varying {
            Some((at, what)) if line.starts_with("<!-- ktor-action:") => format!("{}({what}) -->", &line[..at]),
            _ => line.to_owned(),
        }
    };
    comments.lines().map(hidden).collect::<Vec<_>>().join("\n")
}

fn change(checkout: &TestRepository) {
    checkout.write("k8s/a/x.yaml", config_map("x", "2")).remove("k8s/a/y.yaml");
}

#[test]
fn the_plan_of_a_pull_request() {
    let (site, forge) = (Site::applied(), FakeGitHub::start());
    check("action_plan_changes", &site, &forge, propose(&site, &forge, change));
    let (site, forge) = (Site::applied(), FakeGitHub::start());
    let readme = |checkout: &TestRepository| {
        checkout.write("README.md", "# The shop\n");
    };
    check("action_plan_nothing_to_do", &site, &forge, propose(&site, &forge, readme));
    let (site, forge) = (Site::applied(), FakeGitHub::start());
    let broken = |checkout: &TestRepository| {
        checkout.write("k8s/b/broken.yaml", "kind: [\n");
    };
    check("action_plan_broken", &site, &forge, propose(&site, &forge, broken));
}

#[test]
fn the_apply_of_a_push() {
    let (site, forge) = (Site::applied(), FakeGitHub::start());
    let update = |checkout: &TestRepository| {
        checkout.write("k8s/a/x.yaml", config_map("x", "2"));
    };
    check("action_apply_changes", &site, &forge, push(&site, update));
    let (site, forge) = (Site::applied(), FakeGitHub::start());
    check("action_apply_unreviewed_deletion", &site, &forge, push(&site, change));
    let (site, forge) = (Site::changed(lock), FakeGitHub::start());
    check("action_apply_locked", &site, &forge, push(&site, update));
    let (site, forge) = (Site::applied(), FakeGitHub::start());
    site.server.set_hand(|request, _| {
        let writes = request.method == "PATCH" && request.target.starts_with(super::X);
        (writes && !request.target.contains("dryRun")).then(|| status(422, "Invalid", "data: Forbidden: not today"))
    });
    check("action_apply_failed", &site, &forge, push(&site, update));
}

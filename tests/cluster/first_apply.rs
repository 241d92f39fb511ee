//! The first apply of a root by a workflow: it goes to the API server that its plan was made on.

use std::fs;

use ktor_action::forge::read_hidden_block;
use ktor_action::git::commit::Commit;
use serde_json::{Value, json};
use support::controlplane::User;
use support::repository::TestRepository;
use support::workflow_run::{Event, PULL, Ran, dispatched, pushed};

use crate::story::Story;

/// Creates a story whose pull request brings the first object and is merged. Returns the events of its merge: that of the
/// pull request and that of the push.
fn merged(root: &str, kubeconfig: Option<&User>) -> (Story, [Event; 2], Commit) {
    let story = Story::new(root);
    let before = story.origin.head();
    let (event, merge) = story.propose("opened", |story| {
        story.config("web", "one");
    });
    let kubeconfig = kubeconfig.map(|user| story.plane.kubeconfig(*user));
    let checkout = TestRepository::checkout(&story.origin, &merge);
    let ran = story.run_in(&checkout, &event, kubeconfig.as_deref());
    assert_eq!((ran.exit, ran.output("result")), (0, "changes"), "{}", ran.log);
    let (closed, commit) = story.merge();
    let push = pushed(&before, &commit);
    (story, [closed, push], commit)
}

/// Makes the plan of the pull request one of another API server.
fn planned_elsewhere(story: &Story) {
    let comment = story.comment();
    let server = read_hidden_block(&comment.body, "server").unwrap();
    let other = |digit| match digit {
        '.' => '.',
        '0' => '1',
        _ => '0',
    };
    let other: String = server.chars().map(other).collect();
    story.forge.edit_comment(comment.id, &comment.body.replace(server, &other));
}

#[track_caller]
fn refused(story: &Story, ran: &Ran, before: &[String]) {
    assert_eq!((ran.exit, ran.output("result")), (3, "refused"), "{}", ran.log);
    let expected = format!("the plan of #{PULL} was made on another API server");
    assert!(ran.log.contains(&expected) && ran.log.contains("correct the kubeconfig"), "{}", ran.log);
    assert!(story.comment().body.contains(&expected), "{}", story.comment().body);
    assert_eq!(story.versions(), before, "nothing is written");
    assert!(story.live().is_empty());
}

#[test]
fn f16_a_first_apply_on_another_server_than_the_plans_is_refused() {
    let (story, [closed, push], commit) = merged("first-elsewhere", Some(&User::Admin));
    planned_elsewhere(&story);
    let before = story.versions();
    refused(&story, &story.run(&push, &commit), &before);
    // The comment keeps what the plan said, so a repeated run is refused too.
    refused(&story, &story.run(&push, &commit), &before);
    refused(&story, &story.run(&closed, &commit), &before);
    let ran = story.run(&dispatched(&commit, "refs/heads/main"), &commit);
    assert_eq!((ran.exit, ran.output("result")), (0, "applied"), "a person has started it: {}", ran.log);
    assert_eq!(story.live().into_keys().collect::<Vec<_>>(), ["web"]);
}

#[test]
fn f16_a_first_apply_reaches_the_plans_server_under_another_address() {
    let (story, [_, push], commit) = merged("first-address", Some(&User::Admin));
    let text = fs::read_to_string(story.kubeconfig()).unwrap();
    assert!(text.contains("127.0.0.1"), "the addresses must differ");
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let mut config: Value = serde_json::from_str(&text.replace("127.0.0.1", "localhost")).unwrap();
    // The certificate of the server does not have the other address.
    config["clusters"][0]["cluster"]["tls-server-name"] = json!("kubernetes.default");
    fs::write(&kubeconfig, config.to_string()).unwrap();
    let ran = story.run_in(&TestRepository::checkout(&story.origin, &commit), &push, Some(&kubeconfig));
    assert_eq!((ran.exit, ran.output("result")), (0, "applied"), "{}", ran.log);
    // Later applies are not compared: the keys of the root tell the cluster.
    let (event, merge) = story.propose("opened", |story| {
        story.config("web", "two");
    });
    assert_eq!(story.run(&event, &merge).exit, 0);
    planned_elsewhere(&story);
    let before = story.origin.git(["rev-parse", "main"]).parse().unwrap();
    let (_, commit) = story.merge();
    let ran = story.run(&pushed(&before, &commit), &commit);
    assert_eq!((ran.exit, ran.output("result")), (0, "applied"), "{}", ran.log);
}

#[test]
fn f16_a_first_apply_after_a_plan_without_a_cluster_is_made() {
    let (story, [_, push], commit) = merged("first-offline", None);
    assert_eq!(read_hidden_block(&story.comment().body, "server"), None);
    let ran = story.run(&push, &commit);
    assert_eq!((ran.exit, ran.output("result")), (0, "applied"), "{}", ran.log);
}

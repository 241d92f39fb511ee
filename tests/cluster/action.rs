//! Tests of `ktor action` as the built binary.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ktor_action::git::commit::Commit;
use support::github::{ACTIONS_BOT, Fault};
use support::repository::TestRepository;
use support::workflow_run::{Event, PULL, Ran, dispatched, pushed, tagged};

use crate::story::Story;

/// Creates a story whose `main` has three ConfigMaps, `web` among them, and applies it.
fn applied(root: &str) -> (Story, Commit) {
    let story = Story::new(root);
    let (event, commit) = story.push(|story| {
        story.config("web", "one").config("banner", "hello").config("footer", "bye");
    });
    let ran = story.run(&event, &commit);
    assert_eq!((ran.exit, ran.output("result")), (0, "applied"), "{}", ran.log);
    assert_eq!(story.live(), values([("banner", "hello"), ("footer", "bye"), ("web", "one")]));
    (story, commit)
}

/// Makes the change of most pull requests in these tests: one object is removed and another one changes.
fn retire_banner(story: &Story) {
    story.remove("banner").config("web", "two");
}

fn values<const N: usize>(values: [(&str, &str); N]) -> BTreeMap<String, String> {
    values.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Returns a kubeconfig of a server that does not run.
fn nowhere(story: &Story, checkout: &TestRepository) -> PathBuf {
    let text = std::fs::read_to_string(story.kubeconfig()).unwrap();
    let file = checkout.home().join("kubeconfig");
    std::fs::write(&file, text.replace(story.plane.url(), "https://127.0.0.1:1")).unwrap();
    file
}

#[track_caller]
fn ended(ran: &Ran, exit: i32, result: &str) {
    assert_eq!((ran.exit, ran.output("result")), (exit, result), "{}", ran.log);
}

#[test]
fn f1_f6_a_pull_request_has_one_comment_from_its_plan_to_its_apply() {
    let (story, _) = applied("action-story");
    let before = story.versions();

    let (opened, merge) = story.propose("opened", retire_banner);
    let ran = story.run(&opened, &merge);
    ended(&ran, 0, "changes");
    let planned = story.comment();
    assert_eq!((ran.output("changes"), ran.output("cleanup-count")), ("2", "1"));
    assert!(ran.output("comment-url").ends_with(&format!("#issuecomment-{}", planned.id)), "{:?}", ran.outputs);
    assert_eq!(ran.output("digest").len(), 64, "{:?}", ran.outputs);
    assert!(planned.body.contains(ran.output("digest")));
    assert_eq!(planned.author, ACTIONS_BOT);
    assert!(planned.body.contains("### 1 to delete"), "{}", planned.body);
    assert!(planned.body.contains("banner"), "{}", planned.body);
    assert!(ran.summary.contains("banner") && ran.summary.contains("to delete"), "{}", ran.summary);
    assert_eq!(story.shown_deletions(), ["banner"]);

    let (synchronized, merge) = story.propose("synchronize", |story| {
        story.remove("footer");
    });
    let ran = story.run(&synchronized, &merge);
    ended(&ran, 0, "changes");
    assert_eq!(ran.output("cleanup-count"), "2");
    let edited = story.comment();
    assert_eq!(edited.id, planned.id);
    assert_ne!(edited.body, planned.body);
    assert_eq!(story.shown_deletions(), ["banner", "footer"]);
    assert_eq!(story.versions(), before, "a plan wrote to the cluster");

    let (closed, merged) = story.merge();
    let ran = story.run(&closed, &merged);
    ended(&ran, 0, "applied");
    assert_eq!(story.live(), values([("web", "two")]));
    let reported = story.comment();
    assert_eq!(reported.id, planned.id);
    assert!(reported.body.contains("## Applied"), "{}", reported.body);
    assert!(reported.body.contains("### Deleted") && reported.body.contains("banner"), "{}", reported.body);
    assert!(ran.summary.contains("### Deleted"), "{}", ran.summary);

    // The forge also reports the push of the same merge.
    let after = story.versions();
    let ran = story.run(&pushed(&merged, &merged), &merged);
    ended(&ran, 0, "nothing");
    assert!(ran.log.contains("applied already"), "{}", ran.log);
    assert_eq!((story.versions(), story.comment()), (after, reported));
}

#[test]
fn c7_a_removal_that_no_plan_showed_is_kept_and_named() {
    let (story, _) = applied("action-unreviewed");
    let (event, commit) = story.push(retire_banner);
    let ran = story.run(&event, &commit);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    assert_eq!(story.live(), values([("banner", "hello"), ("footer", "bye"), ("web", "two")]));
    assert!(ran.summary.contains("### Not deleted") && ran.summary.contains("banner"), "{}", ran.summary);

    assert!(ran.summary.contains("no pull request of this commit is known"), "{}", ran.summary);

    // The object stays recorded. It is left over now, and the merge of another pull request does not delete it.
    let (opened, merge) = story.propose("opened", |story| {
        story.config("web", "three");
    });
    let ran = story.run(&opened, &merge);
    ended(&ran, 0, "changes");
    assert_eq!((ran.output("cleanup-count"), ran.output("kept")), ("0", "1"), "{}", ran.summary);
    let (closed, merged) = story.merge();
    ended(&story.run(&closed, &merged), 0, "applied");
    assert_eq!(story.live(), values([("banner", "hello"), ("footer", "bye"), ("web", "three")]));
}

#[test]
fn c7_a_plan_of_another_head_shows_nothing_and_the_comment_says_so() {
    let (story, _) = applied("action-partly");
    let (opened, merge) = story.propose("opened", retire_banner);
    ended(&story.run(&opened, &merge), 0, "changes");
    // No run plans this commit before the merge.
    drop(story.propose("synchronize", |story| {
        story.remove("footer");
    }));
    let (closed, merged) = story.merge();
    let ran = story.run(&closed, &merged);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    assert_eq!(story.live(), values([("banner", "hello"), ("footer", "bye"), ("web", "two")]));
    let body = story.comment().body;
    assert!(body.contains("footer") && body.contains("banner") && body.contains("its plan is of"), "{body}");
}

#[test]
fn c7_only_what_the_plan_showed_is_replaced() {
    let (story, _) = applied("action-replaced");
    let write = |value: &'static str| {
        move |story: &Story| {
            story.sealed("seal", value);
        }
    };
    let (event, commit) = story.push(write("one"));
    ended(&story.run(&event, &commit), 0, "applied");
    let (event, commit) = story.push(write("two"));
    let ran = story.run(&event, &commit);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    assert!(ran.summary.contains("no pull request of this commit is known"), "{}", ran.summary);
    assert_eq!(story.live()["seal"], "one");

    let (opened, merge) = story.propose("opened", |story| {
        story.config("web", "three");
    });
    let ran = story.run(&opened, &merge);
    ended(&ran, 0, "changes");
    let planned = story.comment().body;
    assert!(planned.contains("deleted and recreated") && planned.contains("seal"), "{planned}");
    assert_eq!(ran.output("cleanup-count"), "0", "it is not deleted for good");
    let (closed, merged) = story.merge();
    let ran = story.run(&closed, &merged);
    ended(&ran, 0, "applied");
    assert_eq!(story.live()["seal"], "two");
    assert!(story.comment().body.contains("replaced"), "{}", story.comment().body);
}

#[test]
fn c7_an_apply_that_failed_is_repeated_with_the_same_reviewed_set() {
    let (story, _) = applied("action-repeated");
    let (opened, merge) = story.propose("opened", retire_banner);
    ended(&story.run(&opened, &merge), 0, "changes");
    let (closed, merged) = story.merge();
    let checkout = TestRepository::checkout(&story.origin, &merged);
    ended(&story.run_in(&checkout, &closed, Some(&nowhere(&story, &checkout))), 1, "failed");
    assert!(story.is_signed());
    ended(&story.run(&closed, &merged), 0, "applied");
    assert_eq!(story.live(), values([("footer", "bye"), ("web", "two")]));
    assert!(story.comment().body.contains("### Deleted"));
}

#[test]
fn s5_a_late_run_of_an_older_commit_writes_nothing() {
    let (story, _) = applied("action-late");
    let (late, older) = story.push(|story| {
        story.config("web", "older");
    });
    let (newest, newer) = story.push(|story| {
        story.config("web", "newer");
    });
    ended(&story.run(&newest, &newer), 0, "applied");
    let before = story.versions();
    // A full clone knows the ancestry itself. A shallow clone asks the forge.
    let clone = TestRepository::clone_of(&story.origin);
    clone.git(["checkout", "--quiet", older.as_str()]);
    story.forge.set_comparison(older.as_str(), newer.as_str(), "ahead", &[]);
    for checkout in [clone, TestRepository::checkout(&story.origin, &older)] {
        let ran = story.run_in(&checkout, &late, Some(&story.kubeconfig()));
        ended(&ran, 0, "nothing");
        assert!(ran.log.contains("superseded"), "{}", ran.log);
        assert_eq!(story.versions(), before);
    }
}

/// Creates a story, and applies two further commits that change `web`. Returns the story and both pushes.
fn two_pushes(root: &str) -> (Story, [(Event, Commit); 2]) {
    let (story, _) = applied(root);
    let one = story.push(|story| {
        story.config("web", "one more");
    });
    ended(&story.run(&one.0, &one.1), 0, "applied");
    let two = story.push(|story| {
        story.config("web", "two");
    });
    ended(&story.run(&two.0, &two.1), 0, "applied");
    (story, [one, two])
}

#[test]
fn x4_a_late_run_writes_nothing_with_and_without_a_token_at_any_depth() {
    let (story, [(late, older), _]) = two_pushes("action-late-again");
    let before = story.versions();
    let whole = TestRepository::clone_of(&story.origin);
    whole.git(["checkout", "--quiet", older.as_str()]);
    let shallow = || TestRepository::checkout(&story.origin, &older);
    // The forge answers every comparison with 404, so the run fetches what it does not know.
    for checkout in [&whole, &shallow(), &shallow()] {
        for inputs in [&[][..], &[("KTOR_INPUT_TOKEN", "")]] {
            let ran = story.run_with(checkout, &late, Some(&story.kubeconfig()), inputs);
            ended(&ran, 0, "nothing");
            assert!(ran.log.contains("superseded"), "{}", ran.log);
            assert_eq!(story.versions(), before);
        }
    }
    // The relation is not known, so the run may not apply.
    for status in [404, 500, 200] {
        let checkout = shallow();
        checkout.git(["remote", "set-url", "origin", "file:///nowhere/at/all"]);
        for _ in 0..12 {
            let fault = Fault::answer("GET", "/compare/", status);
            // The answer of Gitea has no status.
            story.forge.fault(if status == 200 { fault.body(r#"{"commits":[],"total_commits":0}"#) } else { fault });
        }
        let ran = story.run_in(&checkout, &late, Some(&story.kubeconfig()));
        assert_eq!(ran.exit, 3, "{status}: {}", ran.log);
        assert!(ran.log.contains("accept-history"), "{}", ran.log);
        assert_eq!(story.versions(), before);
    }
}

#[test]
fn x4_a_branch_that_was_moved_back_is_refused_until_someone_accepts_it() {
    let (story, [(event, older), _]) = two_pushes("action-moved-back");
    let before = story.versions();
    story.origin.git(["reset", "--quiet", "--hard", older.as_str()]);
    let ran = story.run(&event, &older);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    assert!(ran.log.contains("moved back") && ran.log.contains("accept-history"), "{}", ran.log);
    assert_eq!(story.versions(), before);
    let checkout = || TestRepository::checkout(&story.origin, &older);
    // The input accepts exactly one commit and no other.
    let other = [("KTOR_INPUT_ACCEPT_HISTORY", "0123456789012345678901234567890123456789")];
    assert_eq!(story.run_with(&checkout(), &event, Some(&story.kubeconfig()), &other).exit, 3);
    assert_eq!(story.versions(), before);
    let accepted = [("KTOR_INPUT_ACCEPT_HISTORY", older.as_str())];
    ended(&story.run_with(&checkout(), &event, Some(&story.kubeconfig()), &accepted), 0, "applied");
    assert_eq!(story.live()["web"], "one more");
    // The accepted history is the history from now on.
    let (event, next) = story.push(|story| {
        story.config("web", "three");
    });
    ended(&story.run(&event, &next), 0, "applied");
    assert_eq!(story.live()["web"], "three");
}

#[test]
fn x4_a_history_that_was_rewritten_is_refused() {
    let (story, _) = two_pushes("action-rewritten");
    let before = story.versions();
    story.origin.git(["reset", "--quiet", "--hard", "HEAD~1"]);
    let (event, rewritten) = story.push(|story| {
        story.config("web", "rewritten");
    });
    let ran = story.run(&event, &rewritten);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    assert!(ran.log.contains("rewritten") && ran.log.contains("accept-history"), "{}", ran.log);
    assert_eq!(story.versions(), before);
    let checkout = TestRepository::checkout(&story.origin, &rewritten);
    let accepted = [("KTOR_INPUT_ACCEPT_HISTORY", rewritten.as_str())];
    ended(&story.run_with(&checkout, &event, Some(&story.kubeconfig()), &accepted), 0, "applied");
    assert_eq!(story.live()["web"], "rewritten");
}

#[test]
fn x4_a_workflow_started_on_another_branch_applies_nothing_unless_it_is_named() {
    let (story, first) = applied("action-dispatch");
    story.origin.branch("release", "main");
    let release = story.config("web", "unmerged").origin.commit("unmerged");
    story.origin.branch("main", "main");
    let before = story.versions();
    let event = dispatched(&release, "refs/heads/release");
    let ran = story.run(&event, &release);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    assert!(ran.log.contains("apply-ref"), "{}", ran.log);
    // The ref claims to be the branch, but the commit is not on the branch.
    let ran = story.run(&dispatched(&release, "refs/heads/main"), &release);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    ended(&story.run(&dispatched(&first, "refs/tags/v1"), &first), 3, "refused");
    assert_eq!(story.versions(), before);
    // This run applies the whole root again, at a commit that was already applied. It repairs drift.
    ended(&story.run(&dispatched(&first, "refs/heads/main"), &first), 0, "applied");
    assert_eq!(story.live()["web"], "one");
    let checkout = TestRepository::checkout(&story.origin, &release);
    let named = [("KTOR_INPUT_APPLY_REF", "release")];
    ended(&story.run_with(&checkout, &event, Some(&story.kubeconfig()), &named), 0, "applied");
    assert_eq!(story.live()["web"], "unmerged");
}

#[test]
fn x4_a_run_that_failed_is_resumed_by_its_own_commit_and_keeps_older_ones_out() {
    let (story, _) = applied("action-resumed");
    let (late, older) = story.push(|story| {
        story.config("web", "two");
    });
    let (event, failing) = story.push(|story| {
        story.config("web", "three");
        let refused = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: refused\ndata:\n  value: {}\n";
        story.origin.write("k8s/refused.yaml", refused);
    });
    let ran = story.run(&event, &failing);
    assert_eq!((ran.exit, story.live()["web"].as_str()), (1, "three"), "{}", ran.log);
    // The ledger is still older than both commits.
    let ran = story.run(&late, &older);
    ended(&ran, 0, "nothing");
    assert!(ran.log.contains("superseded"), "{}", ran.log);
    assert_eq!(story.live()["web"], "three");
    let ran = story.run(&event, &failing);
    assert!(ran.exit == 1 && !ran.log.contains("superseded"), "{}", ran.log);
    let (event, repaired) = story.push(|story| {
        story.origin.remove("k8s/refused.yaml");
    });
    ended(&story.run(&event, &repaired), 0, "applied");
    assert_eq!(story.live()["web"], "three");
}

#[test]
fn x4_a_run_behind_the_branchs_last_commit_deletes_nothing() {
    let (story, _) = applied("action-behind");
    let (earlier, first) = story.push(retire_banner);
    let (last, second) = story.push(|story| {
        story.config("web", "three");
    });
    let run = |event: &Event, commit: &Commit| {
        let checkout = TestRepository::checkout(&story.origin, commit);
        let allowed = [("KTOR_INPUT_ALLOW_UNREVIEWED_DELETIONS", "true")];
        story.run_with(&checkout, event, Some(&story.kubeconfig()), &allowed)
    };
    let ran = run(&earlier, &first);
    ended(&ran, 0, "applied");
    assert_eq!(story.live(), values([("banner", "hello"), ("footer", "bye"), ("web", "two")]));
    assert!(ran.summary.contains("last commit"), "{}", ran.summary);
    ended(&run(&last, &second), 0, "applied");
    assert_eq!(story.live(), values([("footer", "bye"), ("web", "three")]));
}

#[test]
fn s5_a_push_covers_what_dropped_runs_left_and_a_second_run_does_nothing() {
    let story = Story::new("action-dropped");
    let (event, first) = story.push(|story| {
        for project in ["web", "shop"] {
            story.origin.write(format!("k8s/{project}/.ktor.yaml"), format!("project: {project}\n"));
        }
        story.config("web/page", "one").config("shop/cart", "one").config("base", "one");
    });
    ended(&story.run(&event, &first), 0, "applied");
    drop(story.push(|story| {
        story.config("web/page", "two");
    }));
    let (event, last) = story.push(|story| {
        story.config("shop/cart", "two");
    });
    ended(&story.run(&event, &last), 0, "applied");
    assert_eq!(story.live(), values([("base", "one"), ("cart", "two"), ("page", "two")]));
    // The run covered all changes. Nothing is left to do, neither for the same commit nor for an older one.
    let ran = story.run(&event, &last);
    ended(&ran, 0, "nothing");
    assert!(ran.log.contains("applied already"), "{}", ran.log);
}

#[test]
fn x10_a_generated_manifest_is_applied_whatever_the_ledger_says() {
    let story = Story::new("action-generated");
    let (event, commit) = story.push(|story| {
        story.config("web", "one").origin.write(".gitignore", "generated.json\n");
    });
    ended(&story.run(&event, &commit), 0, "applied");
    let generated = |value: &str| {
        let checkout = TestRepository::checkout(&story.origin, &commit);
        let manifest = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"generated"}},"data":{{"value":"{value}"}}}}"#
        );
        checkout.write("k8s/generated.json", manifest);
        checkout
    };
    // The ledger is at this commit. But a manifest that an earlier step rendered is not part of the commit, and it
    // changes with every run.
    for value in ["one", "two"] {
        ended(&story.run_in(&generated(value), &event, Some(&story.kubeconfig())), 0, "applied");
        assert_eq!(story.live(), values([("generated", value), ("web", "one")]));
    }
}

#[test]
fn x11_a_pull_request_that_repairs_the_settings_is_planned_and_applied() {
    let (story, _) = applied("action-repair");
    let (event, broken) = story.push(|story| {
        story.origin.write("k8s/.ktor.yaml", "project: action-repair\ncleanup: perhaps\n");
    });
    ended(&story.run(&event, &broken), 1, "failed");
    let (opened, merge) = story.propose("opened", |story| {
        story.config("web", "two").remove("banner");
        story.origin.write("k8s/.ktor.yaml", "project: action-repair\ncleanup: true\nnamespace: action-repair\n");
    });
    let ran = story.run(&opened, &merge);
    ended(&ran, 0, "changes");
    let body = story.comment().body;
    assert!(body.contains("cannot be read") && body.contains("invalid boolean"), "{body}");
    assert!(!ran.log.contains("::error"), "{}", ran.log);
    assert!(
        !story.is_signed() || story.shown_deletions().is_empty(),
        "nothing is deleted while the base is unknown: {body}"
    );
    let (closed, merged) = story.merge();
    let ran = story.run(&closed, &merged);
    // The run compares the merge with the ledger's commit, which can be read. It keeps the objects whose deletion no
    // plan showed.
    assert_eq!((ran.exit, story.live()["web"].as_str(), story.live().len()), (3, "two", 3), "{}", ran.log);
}

#[test]
fn x11_a_ledger_that_cannot_be_fetched_widens_the_scope_and_deletes_nothing() {
    let (story, _) = applied("action-unfetched");
    let (opened, merge) = story.propose("opened", retire_banner);
    ended(&story.run(&opened, &merge), 0, "changes");
    let (closed, merged) = story.merge();
    let checkout = TestRepository::checkout(&story.origin, &merged);
    checkout.git(["remote", "set-url", "origin", "file:///nowhere/at/all"]);
    let ran = story.run_in(&checkout, &closed, Some(&story.kubeconfig()));
    assert_eq!(ran.exit, 0, "{}", ran.log);
    assert!(ran.summary.contains("nothing is deleted") && ran.summary.contains("banner"), "{}", ran.summary);
    assert_eq!(story.live(), values([("banner", "hello"), ("footer", "bye"), ("web", "two")]));
    // The next run knows what changed, and deletes what was reviewed.
    let again = TestRepository::checkout(&story.origin, &merged);
    assert!(matches!(story.run_in(&again, &closed, Some(&story.kubeconfig())).exit, 0 | 3));
}

#[test]
fn f6_a_forks_pull_request_gets_an_offline_plan_and_a_green_check() {
    let (story, _) = applied("action-fork");
    let (opened, merge) = story.propose("opened", retire_banner);
    let checkout = TestRepository::checkout(&story.origin, &merge);
    let ran = story.run_in(&checkout, &opened.forked(), None);
    ended(&ran, 0, "changes");
    let body = story.comment().body;
    assert!(body.contains("## Offline plan"), "{body}");
    assert!(body.contains("banner"), "{body}");
    assert_eq!(story.shown_deletions(), ["banner"]);
    assert!(!story.is_signed() && body.contains("The merge will delete and replace nothing"), "{body}");
}

#[test]
fn f6_a_forks_pull_request_never_reaches_a_cluster_that_is_configured() {
    let (story, _) = applied("action-reach");
    let (opened, merge) = story.propose("opened", retire_banner);
    let checkout = TestRepository::checkout(&story.origin, &merge);
    let nowhere = checkout.home().join("kubeconfig");
    std::fs::write(&nowhere, "no kubeconfig at all: [").unwrap();
    let ran = story.run_in(&checkout, &opened.clone().forked(), Some(&nowhere));
    assert_eq!(ran.exit, 0, "{}", ran.log);
    assert!(story.comment().body.contains("## Offline plan"));
    // The workflow says so, or the author is no stranger. Dependabot's runs may have credentials.
    let plan = [("KTOR_INPUT_FORKS", "plan")];
    for (event, inputs) in [(opened.clone().forked(), &plan[..]), (opened.clone().of_dependabot(), &[])] {
        let checkout = TestRepository::checkout(&story.origin, &merge);
        let ran = story.run_with(&checkout, &event, Some(&story.kubeconfig()), inputs);
        ended(&ran, 0, "changes");
        assert!(!story.comment().body.contains("Offline plan") && story.is_signed(), "{}", story.comment().body);
    }
    let checkout = TestRepository::checkout(&story.origin, &merge);
    let ran = story.run_with(&checkout, &opened, Some(&nowhere), &[("KTOR_INPUT_OFFLINE", "true")]);
    ended(&ran, 0, "changes");
    assert!(story.comment().body.contains("## Offline plan") && !ran.log.contains("::warning"), "{}", ran.log);
}

#[test]
fn f6_a_pull_request_of_the_repository_without_a_cluster_is_green_with_a_warning() {
    let (story, _) = applied("action-no-cluster");
    let (opened, merge) = story.propose("opened", retire_banner);
    let checkout = TestRepository::checkout(&story.origin, &merge);
    // What only lies on the runner selects no cluster.
    let home = checkout.home().join(".kube");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::copy(story.kubeconfig(), home.join("config")).unwrap();
    let ran = story.run_with(&checkout, &opened, None, &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
    ended(&ran, 0, "changes");
    assert!(ran.log.contains("::warning title=ktor::no cluster is configured"), "{}", ran.log);
    assert!(story.comment().body.contains("The merge will delete and replace nothing"), "{}", story.comment().body);
}

#[test]
fn f16_a_frozen_root_is_planned_and_not_applied_until_it_is_thawed() {
    let (story, _) = applied("action-frozen");
    let clone = TestRepository::clone_of(&story.origin);
    let ktor = |arguments: &[&str]| {
        let mut ktor = std::process::Command::new(env!("CARGO_BIN_EXE_ktor"));
        ktor.args(arguments).args(["-p", "k8s"]).env_clear().envs(support::profile()).current_dir(clone.top());
        ktor.env("KUBECONFIG", story.kubeconfig()).env("HOME", clone.home()).env("USER", "maria");
        let ended = ktor.env("PATH", clone.environment().get("PATH").unwrap()).output().unwrap();
        let said = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (ended.status.code().unwrap(), said)
    };
    let (exit, said) = ktor(&["freeze", "--reason", "the fair is on", "--until", "2099-05-06T18:00:00Z"]);
    assert!(exit == 0 && said.contains("is frozen until 2099-05-06T18:00:00Z"), "{said}");
    let (opened, merge) = story.propose("opened", retire_banner);
    ended(&story.run(&opened, &merge), 0, "changes");
    assert!(story.comment().body.contains("the fair is on"), "{}", story.comment().body);
    let (closed, merged) = story.merge();
    let before = story.live();
    let ran = story.run(&closed, &merged);
    assert_eq!(ran.exit, 4, "{}", ran.log);
    assert!(ran.log.contains("maria") && ran.log.contains("the fair is on") && ran.log.contains("thaw"), "{}", ran.log);
    assert_eq!(story.live(), before);
    let (exit, said) = ktor(&["apply", "--yes"]);
    assert!(exit == 4 && said.contains("the fair is on"), "{exit}: {said}");
    let (exit, said) = ktor(&["thaw"]);
    assert!(exit == 0 && said.contains("is thawed"), "{said}");
    ended(&story.run(&closed, &merged), 0, "applied");
    assert_eq!(story.live(), values([("footer", "bye"), ("web", "two")]));
    // A freeze that is over freezes nothing.
    assert_eq!(ktor(&["freeze", "--reason", "over", "--until", "2020-01-01T00:00:00Z"]).0, 0);
    let (event, commit) = story.push(|story| {
        story.config("web", "three");
    });
    ended(&story.run(&event, &commit), 0, "applied");
    assert!(ktor(&["thaw"]).1.contains("is thawed") && ktor(&["thaw"]).1.contains("is not frozen"));
}

#[test]
fn f16_an_apply_can_stop_where_its_plan_is_not_the_one_that_was_reviewed() {
    let (story, _) = applied("action-changed-plan");
    let with = |event: &Event, commit: &Commit| {
        let checkout = TestRepository::checkout(&story.origin, commit);
        story.run_with(&checkout, event, Some(&story.kubeconfig()), &[("KTOR_INPUT_ON_CHANGED_PLAN", "stop")])
    };
    // The cluster is as it was when the pull request was planned.
    let (opened, merge) = story.propose("opened", retire_banner);
    ended(&with(&opened, &merge), 0, "changes");
    let (closed, merged) = story.merge();
    ended(&with(&closed, &merged), 0, "applied");
    assert_eq!(story.live(), values([("footer", "bye"), ("web", "two")]));
    // Another object is gone by the time of the merge, so the apply would create it too.
    let (opened, merge) = story.propose("opened", |story| {
        story.config("web", "three");
    });
    ended(&with(&opened, &merge), 0, "changes");
    let (closed, merged) = story.merge();
    story.kubectl(&["-n", &story.root, "delete", "configmap", "web"]);
    let ran = with(&closed, &merged);
    ended(&ran, 3, "refused");
    assert!(ran.log.contains("changed since the plan was approved"), "{}", ran.log);
    assert_eq!(story.live(), values([("footer", "bye")]));
    // Nobody reviewed the plan of a direct push, nor one plan of two changes.
    let (event, commit) = story.push(|story| {
        story.config("poster", "new");
    });
    let ran = with(&event, &commit);
    ended(&ran, 3, "refused");
    assert!(ran.log.contains("no reviewed plan says what this apply does"), "{}", ran.log);
    assert_eq!(story.live(), values([("footer", "bye")]));
    // The digest that a person expects counts instead, and no other plan is applied.
    let checkout = TestRepository::checkout(&story.origin, &commit);
    let inputs = [("KTOR_INPUT_ON_CHANGED_PLAN", "stop"), ("KTOR_INPUT_EXPECT_DIGEST", "0123456789abcdef")];
    let ran = story.run_with(&checkout, &event, Some(&story.kubeconfig()), &inputs);
    ended(&ran, 3, "refused");
    assert!(ran.log.contains("changed since the plan was approved"), "{}", ran.log);
    // A person can start the apply all the same.
    ended(&with(&dispatched(&commit, "refs/heads/main"), &commit), 0, "applied");
    assert_eq!(story.live(), values([("footer", "bye"), ("poster", "new"), ("web", "three")]));
}

/// Checks that a run that is not green says why: in the log, in an annotation at this place, and in the outputs.
#[track_caller]
fn says_why(ran: &Ran, (exit, result): (i32, &str), place: Option<&str>, why: &str) {
    ended(ran, exit, result);
    let annotations: Vec<&str> = ran.log.lines().filter(|line| line.starts_with("::error ")).collect();
    let told = annotations.iter().find(|line| line.contains(why));
    let told = told.unwrap_or_else(|| panic!("no annotation says {why:?}: {annotations:#?}"));
    match place {
        Some(place) => assert!(told.contains(place), "{told}"),
        None => assert!(!told.contains("file="), "{told}"),
    }
    let plain = ran.log.lines().filter(|line| !line.starts_with("::"));
    assert!(plain.clone().any(|line| line.contains(why)), "{}", ran.log);
}

#[test]
fn f19_what_is_not_green_says_why_in_the_log_in_an_annotation_and_in_the_outputs() {
    let (story, first) = applied("action-why");
    // A file that is no manifest.
    let (opened, merge) = story.propose("opened", |story| {
        story.origin.write("k8s/broken.yaml", "kind: ConfigMap\nmetadata: [\n");
    });
    let ran = story.run(&opened, &merge);
    says_why(&ran, (1, "failed"), Some("file=k8s/broken.yaml,line=2,col=11"), "not valid YAML");
    assert!(!ran.log.contains("arlier change"), "{}", ran.log);
    // An object that the server refuses, in the plan and then in the apply. A failed apply is told in one new comment.
    let bad = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: bad\ndata:\n  a key: x\n";
    let (synchronized, merge) = story.propose("synchronize", |story| {
        story.origin.git(["rm", "--quiet", "-f", "k8s/broken.yaml"]);
        story.origin.write("k8s/bad.yaml", bad);
    });
    let ran = story.run(&synchronized, &merge);
    says_why(&ran, (1, "failed"), Some("file=k8s/bad.yaml,line=1"), "a key");
    let (closed, merged) = story.merge();
    for _ in 0..2 {
        let ran = story.run(&closed, &merged);
        assert_eq!(ran.exit, 1, "{}", ran.log);
        assert!(ran.log.contains("::error ") && ran.log.contains("a key"), "{}", ran.log);
        let comments = story.forge.comments(PULL);
        assert_eq!(comments.len(), 2, "{comments:#?}");
        assert!(comments[1].body.contains("Incomplete apply of"), "{}", comments[1].body);
    }
    // A deletion that nobody reviewed.
    let (event, commit) = story.push(|story| {
        story.origin.git(["rm", "--quiet", "-f", "k8s/bad.yaml"]);
        story.remove("banner");
    });
    let ran = story.run(&event, &commit);
    assert_eq!((ran.exit, ran.output("result"), ran.output("kept")), (3, "kept", "1"), "{}", ran.log);
    let is_told =
        |line: &&str| line.starts_with("::error ") && line.contains("banner") && line.contains("no pull request");
    assert!(ran.log.lines().any(|line| is_told(&line)), "{}", ran.log);
    // An event that says nothing, a dispatch on another branch, and a server that is not there.
    let unclear = story.run(&pushed(&commit, &commit).named("repository_dispatch"), &commit);
    says_why(&unclear, (64, "failed"), None, "repository_dispatch");
    let elsewhere = story.run(&dispatched(&commit, "refs/heads/feature"), &commit);
    says_why(&elsewhere, (3, "refused"), None, "refs/heads/feature");
    let checkout = TestRepository::checkout(&story.origin, &commit);
    let absent = story.run_in(&checkout, &pushed(&first, &commit), Some(&nowhere(&story, &checkout)));
    says_why(&absent, (1, "failed"), None, "Connection refused");
}

#[test]
fn f14_an_apply_marks_the_plans_of_open_pull_requests_that_it_makes_outdated() {
    let (story, _) = applied("action-overtaken");
    let (opened, merge) = story.propose("opened", retire_banner);
    story.forge.change_pull(PULL, |pull| pull.files = vec![("k8s/web.yaml".to_owned(), None)]);
    ended(&story.run(&opened, &merge), 0, "changes");
    let planned = story.comment().body;
    let apply = |path: &str, value: &str| {
        let (event, commit) = story.push(|story| {
            story.origin.branch("main", "main");
            story.config(path, value);
        });
        let ran = story.run(&event, &commit);
        ended(&ran, 0, "applied");
        commit
    };
    // A push that changes nothing of the pull request's projects leaves the plan alone.
    story.origin.write("k8s/other/.ktor.yaml", "project: other\n");
    apply("other/poster", "new");
    assert_eq!(story.comment().body, planned);
    let first = apply("footer", "ciao");
    let marked = story.comment().body;
    assert!(marked.contains("> **Outdated.**") && marked.contains(first.short()), "{marked}");
    assert!(marked.contains("### 1 to delete") && story.is_signed(), "{marked}");
    let second = apply("footer", "tot ziens");
    let marked = story.comment().body;
    assert!(marked.contains(second.short()) && !marked.contains(first.short()), "{marked}");
    assert_eq!(marked.matches("Outdated").count(), 1, "{marked}");
    // What the plan showed is still reviewed.
    let (closed, merged) = story.merge();
    ended(&story.run(&closed, &merged), 0, "applied");
    assert!(!story.live().contains_key("banner"), "{:?}", story.live());
}

#[test]
fn f16_a_tag_applies_what_was_merged_up_to_its_commit() {
    let (story, _) = applied("action-tags");
    let with = |event: &Event, commit: &Commit| {
        let checkout = TestRepository::checkout(&story.origin, commit);
        story.run_with(&checkout, event, Some(&story.kubeconfig()), &[("KTOR_INPUT_APPLY_REF", "refs/tags/v*")])
    };
    let (opened, merge) = story.propose("opened", retire_banner);
    ended(&with(&opened, &merge), 0, "changes");
    let before = story.versions();
    let (closed, merged) = story.merge();
    ended(&with(&closed, &merged), 0, "nothing");
    ended(&with(&pushed(&merged, &merged), &merged), 0, "nothing");
    let tag = |name: &'static str| tagged(&merged, name);
    let ran = with(&tag("refs/tags/w1"), &merged);
    ended(&ran, 0, "nothing");
    assert!(ran.log.contains("::warning") && ran.log.contains("apply-ref"), "{}", ran.log);
    assert_eq!(story.versions(), before);
    let ran = with(&tag("refs/tags/v1"), &merged);
    ended(&ran, 0, "applied");
    assert_eq!(story.live(), values([("footer", "bye"), ("web", "two")]), "{}", ran.log);
    ended(&with(&tag("refs/tags/v1"), &merged), 0, "nothing");
    // A tag of an earlier commit is late.
    let (_, later) = story.push(|story| {
        story.config("web", "three");
    });
    let mut second = tag("refs/tags/v2").at(&later);
    second.payload()["after"] = later.as_str().into();
    ended(&with(&second, &later), 0, "applied");
    let ran = with(&tag("refs/tags/v1"), &merged);
    ended(&ran, 0, "nothing");
    assert_eq!(story.live()["web"], "three");
    // A person can go back to it.
    let checkout = TestRepository::checkout(&story.origin, &merged);
    let inputs = [("KTOR_INPUT_APPLY_REF", "refs/tags/v*"), ("KTOR_INPUT_ACCEPT_HISTORY", merged.as_str())];
    let ran = story.run_with(&checkout, &tag("refs/tags/v1"), Some(&story.kubeconfig()), &inputs);
    ended(&ran, 0, "applied");
    assert_eq!(story.live()["web"], "two");
}

#[test]
fn f16_a_mode_decides_what_an_event_does() {
    let (story, first) = applied("action-modes");
    let (event, commit) = story.push(|story| {
        story.config("web", "two");
    });
    let before = story.versions();
    let with = |event: &Event, commit: &Commit, inputs: &[(&str, &str)]| {
        story.run_with(&TestRepository::checkout(&story.origin, commit), event, Some(&story.kubeconfig()), inputs)
    };
    // A plan of a push writes nothing.
    ended(&with(&event, &commit, &[("KTOR_INPUT_MODE", "plan")]), 0, "changes");
    assert_eq!(story.versions(), before);
    // Events that do not say what they want are no success, and those that are not safe never are one.
    for name in ["repository_dispatch", "workflow_run", "release", "pull_request_target"] {
        let ran = with(&event.clone().named(name), &commit, &[]);
        assert_eq!((ran.exit, ran.output("result")), (64, "failed"), "{name}: {}", ran.log);
        assert!(ran.log.contains(name) && ran.log.contains("::error"), "{}", ran.log);
    }
    let ran = with(&event.clone().named("pull_request_target"), &commit, &[("KTOR_INPUT_MODE", "apply")]);
    assert_eq!(ran.exit, 64, "{}", ran.log);
    let mut tag = event.clone();
    tag.payload()["ref"] = "refs/tags/v1".into();
    let ran = with(&tag, &commit, &[]);
    ended(&ran, 0, "nothing");
    assert!(ran.log.contains("::warning") && ran.log.contains("refs/tags/v1"), "{}", ran.log);
    assert_eq!(with(&tag, &commit, &[("KTOR_INPUT_MODE", "apply")]).exit, 64);
    assert_eq!(story.versions(), before);
    // An apply needs the plan that was approved.
    let digest = with(&event, &commit, &[("KTOR_INPUT_MODE", "plan")]).output("digest").to_owned();
    let other = [("KTOR_INPUT_EXPECT_DIGEST", "0123456789abcdef")];
    let ran = with(&event, &commit, &other);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    assert_eq!(story.live()["web"], "one");
    ended(&with(&event, &commit, &[("KTOR_INPUT_EXPECT_DIGEST", &digest[..12])]), 0, "applied");
    assert_eq!(story.live()["web"], "two");
    // A schedule heals drift where the workflow wants an apply.
    let drift = story.plane.kubectl(&["-n", &story.root, "delete", "configmap", "web"]);
    assert!(drift.status.success());
    let schedule = event.named("schedule");
    ended(&with(&schedule, &commit, &[("KTOR_INPUT_MODE", "apply")]), 0, "applied");
    assert_eq!(story.live()["web"], "two");
    drop(first);
}

#[test]
fn f6_a_pull_request_that_is_closed_unmerged_says_so() {
    let (story, _) = applied("action-closed");
    let (opened, merge) = story.propose("opened", retire_banner);
    ended(&story.run(&opened, &merge), 0, "changes");
    let before = story.versions();
    ended(&story.run(&story.close(), &merge), 0, "nothing");
    let body = story.comment().body;
    assert!(body.contains("closed without") || body.contains("Closed without"), "{body}");
    assert_eq!(story.versions(), before);
    assert_eq!(story.live().len(), 3);
}

#[test]
fn f6_a_merge_into_another_branch_applies_nothing() {
    let (story, _) = applied("action-branch");
    let (opened, merge) = story.propose("opened", retire_banner);
    ended(&story.run(&opened, &merge), 0, "changes");
    let before = story.versions();
    let (mut closed, merged) = story.merge();
    closed.payload()["pull_request"]["base"]["ref"] = "release".into();
    ended(&story.run(&closed, &merged), 0, "nothing");
    assert_eq!(story.versions(), before);
}

#[test]
fn f6_a_push_that_fails_early_is_told_in_the_comment_of_its_pull_request() {
    let (story, _) = applied("action-early");
    let (opened, merge) = story.propose("opened", retire_banner);
    ended(&story.run(&opened, &merge), 0, "changes");
    let (_, merged) = story.merge();
    let checkout = TestRepository::checkout(&story.origin, &merged);
    let ran = story.run_in(&checkout, &pushed(&merged, &merged), Some(&nowhere(&story, &checkout)));
    ended(&ran, 1, "failed");
    assert!(story.comment().body.contains("Connection refused"), "{}", story.comment().body);
    assert!(ran.summary.contains("Connection refused"), "{}", ran.summary);
    assert!(story.is_signed());
}

#[test]
fn f6_a_checkout_of_another_commit_is_refused() {
    let (story, first) = applied("action-elsewhere");
    let before = story.versions();
    let (event, _) = story.push(retire_banner);
    let ran = story.run(&event, &first);
    ended(&ran, 3, "refused");
    assert!(ran.log.contains("check out the event's own commit"), "{}", ran.log);
    let (opened, _) = story.propose("opened", |story| {
        story.config("web", "three");
    });
    let ran = story.run(&opened, &first);
    ended(&ran, 3, "refused");
    assert!(story.comment().body.contains("check out the event's own commit"));
    assert_eq!(story.versions(), before);
}

#[test]
fn f1_a_file_that_cannot_be_rendered_is_told_in_the_same_comment() {
    let (story, _) = applied("action-broken");
    let (opened, merge) = story.propose("opened", retire_banner);
    ended(&story.run(&opened, &merge), 0, "changes");
    let planned = story.comment();
    let (synchronized, merge) = story.propose("synchronize", |story| {
        story.origin.write("k8s/web.yaml", "apiVersion: v1\nkind: [\n");
    });
    let ran = story.run(&synchronized, &merge);
    ended(&ran, 1, "failed");
    assert!(ran.log.contains("::error") && ran.log.contains("web.yaml"), "{}", ran.log);
    assert!(ran.summary.contains("web.yaml"), "{}", ran.summary);
    let failed = story.comment();
    assert_eq!(failed.id, planned.id);
    assert!(failed.body.contains("cannot be rendered") && failed.body.contains("web.yaml"), "{}", failed.body);
    // The tree can no longer be planned, so the comment no longer reviews any deletion.
    assert!(!story.is_signed() || story.shown_deletions().is_empty());
}

#[test]
fn f1_a_tree_that_was_broken_from_the_start_gets_its_comment() {
    let (story, _) = applied("action-settings");
    let (opened, merge) = story.propose("opened", |story| {
        story.origin.write("k8s/.ktor.yaml", "project: action-settings\ncleanup: perhaps\n");
    });
    let ran = story.run(&opened, &merge);
    ended(&ran, 1, "failed");
    assert!(story.comment().body.contains(".ktor.yaml:2:"), "{}", story.comment().body);
}

#[test]
fn f3_a_forge_that_is_down_fails_no_apply() {
    let (story, _) = applied("action-down");
    let (event, commit) = story.push(|story| {
        story.config("web", "two");
    });
    for _ in 0..20 {
        for method in ["GET", "POST", "PATCH"] {
            // This delay is longer than any run waits.
            story.forge.fault(Fault::answer(method, "/", 502).header("retry-after", "86400"));
        }
    }
    ended(&story.run(&event, &commit), 0, "applied");
    assert_eq!(story.live()["web"], "two");
}

#[test]
fn f3_a_plan_waits_for_a_forge_that_stumbles() {
    let (story, _) = applied("action-stumble");
    let (opened, merge) = story.propose("opened", retire_banner);
    story.forge.fault(Fault::answer("GET", "/comments", 502));
    story.forge.fault(Fault::answer("POST", "/comments", 502).applied());
    ended(&story.run(&opened, &merge), 0, "changes");
    assert_eq!(story.forge.faults_left(), 0);
    assert_eq!(story.shown_deletions(), ["banner"]);
}

#[test]
fn p5_a_secrets_value_stands_nowhere() {
    let (story, _) = applied("action-secret");
    let secret = |value: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: access\nstringData:\n  password: {value}\n")
    };
    let (opened, merge) = story.propose("opened", |story| {
        story.origin.write("k8s/access.yaml", secret("canary-one"));
    });
    let planned = story.run(&opened, &merge);
    ended(&planned, 0, "changes");
    let (closed, merged) = story.merge();
    let applied = story.run(&closed, &merged);
    ended(&applied, 0, "applied");
    let (event, commit) = story.push(|story| {
        story.origin.write("k8s/access.yaml", secret("canary-two"));
    });
    let changed = story.run(&event, &commit);
    ended(&changed, 0, "applied");
    let requests: String = story.forge.writes().iter().map(|entry| entry.body.as_str()).collect();
    for said in [planned, applied, changed].map(|ran| format!("{ran:?}")).iter().chain([&requests]) {
        // Each secret is searched for as plain text and as base64.
        assert!(!said.contains("canary-") && !said.contains("Y2FuYXJ5"), "{said}");
    }
    assert!(story.comment().body.contains("access") && PULL == story.comment().pr);
}

/// Runs `ktor apply` as a person does. Returns its exit code and its output.
fn by_hand(story: &Story, checkout: &TestRepository, arguments: &[&str]) -> (i32, String) {
    let mut ktor = std::process::Command::new(env!("CARGO_BIN_EXE_ktor"));
    ktor.args(["apply", "-p", "k8s", "--yes"]).args(arguments).env_clear().envs(support::profile());
    ktor.current_dir(checkout.top()).env("KUBECONFIG", story.kubeconfig()).env("HOME", checkout.home());
    let ended = ktor.env("PATH", checkout.environment().get("PATH").unwrap()).output().unwrap();
    let said = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (ended.status.code().unwrap(), said)
}

#[test]
fn x4_a_laptop_applies_its_own_branch_without_moving_the_ledger_and_nothing_that_is_late() {
    let (story, [(_, older), (last, newest)]) = two_pushes("action-laptop");
    let laptop = TestRepository::clone_of(&story.origin);
    laptop.branch("feature", "HEAD");
    let web = std::fs::read_to_string(laptop.top().join("k8s/web.json")).ok();
    let file = if web.is_some() { "k8s/web.json" } else { "k8s/web.yaml" };
    let text = std::fs::read_to_string(laptop.top().join(file)).unwrap();
    laptop.write(file, text.replace("two", "mine")).commit("mine");
    let (exit, said) = by_hand(&story, &laptop, &[]);
    assert_eq!((exit, story.live()["web"].as_str()), (0, "mine"), "{said}");
    assert!(said.contains("is not on the branch that is applied") && said.contains(newest.as_str()), "{said}");
    // The branch's own commit is not late, and it is not "applied already" either.
    ended(&story.run(&last, &newest), 0, "applied");
    assert_eq!(story.live()["web"], "two");

    let before = story.versions();
    laptop.git(["checkout", "--quiet", older.as_str()]);
    let (exit, said) = by_hand(&story, &laptop, &[]);
    assert!(exit == 0 && said.contains("superseded"), "{exit}: {said}");
    laptop.branch("rewritten", older.as_str());
    let rewritten = laptop.write(file, text.replace("two", "rewritten")).commit("rewritten");
    let (exit, said) = by_hand(&story, &laptop, &[]);
    assert!(exit == 3 && said.contains("accept-history"), "{exit}: {said}");
    assert_eq!(story.versions(), before);
    let (exit, said) = by_hand(&story, &laptop, &["--accept-history", rewritten.as_str()]);
    assert_eq!((exit, story.live()["web"].as_str()), (0, "rewritten"), "{said}");
}

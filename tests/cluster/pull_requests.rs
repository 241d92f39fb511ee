//! The way from pull requests to the apply: several of them in one push, the plan of what a merge makes, and comments
//! that do not count.

use std::collections::BTreeSet;
use std::time::Duration;

use ktor_action::forge::{Freshness, read_hidden_block};
use ktor_action::git::commit::Commit;
use serde_json::json;
use sha1::{Digest, Sha1};
use support::github::{ACTIONS_BOT, FakePull, FakeRun, Fault};
use support::repository::TestRepository;
use support::workflow_run::{Event, Ran, pushed};

use crate::story::Story;

/// The way in which a pull request lands.
#[derive(Clone, Copy, Debug)]
enum Landing {
    Merge,
    Squash,
    Rebase,
}

/// Creates a story with these ConfigMaps, and applies it.
fn applied(root: &str, names: &[&str]) -> Story {
    let story = Story::new(root);
    let (event, commit) = story.push(|story| {
        for name in names {
            story.config(name, "one");
        }
    });
    ended(&story.run(&event, &commit), 0, "applied");
    story
}

#[track_caller]
fn ended(ran: &Ran, exit: i32, result: &str) {
    assert_eq!((ran.exit, ran.output("result")), (exit, result), "{}\n{}", ran.log, ran.summary);
}

/// The branch of a pull request.
fn branch(number: u64) -> String {
    format!("feature-{number}")
}

/// Commits `change` on the branch of a pull request, which begins at `main`. Returns the event of the pull request and
/// the commit that the forge tests, as of now.
fn open(story: &Story, number: u64, change: impl FnOnce(&Story)) -> (Event, Commit) {
    story.origin.branch(&branch(number), "main");
    change(story);
    story.origin.commit(&format!("change of {number}"));
    tested(story, number)
}

/// Returns the event of a pull request and the commit that the forge tests: the merge into `main` as of now.
fn tested(story: &Story, number: u64) -> (Event, Commit) {
    let head = story.origin.git(["rev-parse", &branch(number)]);
    let base = story.origin.git(["rev-parse", "main"]);
    story.origin.branch("pull", "main");
    let merge = story.origin.merge(&branch(number));
    story.origin.branch("main", "main");
    story.forge.add_pull(FakePull { head_sha: head.clone(), base_sha: base.clone(), ..FakePull::new(number) });
    let mut event = Event::of_pull("pull_request-opened", &head, &base, merge.as_str(), "refs/pull/7/merge");
    event.payload()["number"] = json!(number);
    event.payload()["pull_request"]["number"] = json!(number);
    (event, merge)
}

/// Opens a pull request and plans it.
fn planned(story: &Story, number: u64, change: impl FnOnce(&Story)) -> Ran {
    let (event, merge) = open(story, number, change);
    let ran = story.run(&event, &merge);
    ended(&ran, 0, "changes");
    ran
}

/// Lands a pull request on `main`, as a forge does.
fn land(story: &Story, number: u64, how: Landing) -> Commit {
    let (origin, feature) = (&story.origin, branch(number));
    origin.branch("main", "main");
    let (before, head) = (origin.head(), origin.git(["rev-parse", &feature]));
    match how {
        Landing::Merge => {
            let message = format!("Merge pull request #{number} from acme/{feature}");
            origin.git(["merge", "--quiet", "--no-ff", "--message", &message, &feature]);
        }
        Landing::Squash => {
            origin.git(["merge", "--quiet", "--squash", &feature]);
            origin.commit(&format!("A change (#{number})"));
        }
        Landing::Rebase => {
            origin.git(["cherry-pick", &format!("main..{feature}")]);
            origin.touch();
        }
    }
    let commit = origin.head();
    let commits = origin.git(["rev-list", &format!("{before}..{commit}")]).lines().map(str::to_owned).collect();
    let pull = FakePull { head_sha: head, commits, ..FakePull::new(number) };
    story.forge.add_pull(pull.merged_as(commit.as_str()));
    commit
}

fn names(story: &Story) -> BTreeSet<String> {
    story.live().into_keys().collect()
}

/// Returns the text of the one comment of a pull request.
fn comment(story: &Story, number: u64) -> String {
    let ours: Vec<_> =
        story.forge.comments(number).into_iter().filter(|comment| comment.author == ACTIONS_BOT).collect();
    assert_eq!(ours.len(), 1, "{ours:#?}");
    ours[0].body.clone()
}

#[test]
fn f10_one_push_of_many_pull_requests_makes_every_reviewed_deletion() {
    let all: Vec<String> = (1..=30).map(|number| format!("c{number:02}")).collect();
    let story = applied("landed-many", &all.iter().map(String::as_str).collect::<Vec<_>>());
    let removed = |number: u64| format!("c{number:02}");
    let landings = [
        // The runs of these two pushes were dropped.
        Landing::Merge,
        Landing::Squash,
        Landing::Merge,
        Landing::Merge,
        Landing::Squash,
        Landing::Squash,
        Landing::Squash,
        Landing::Rebase,
        Landing::Rebase,
        // A merge queue squashes.
        Landing::Squash,
    ];
    let numbers: Vec<u64> = (1..=10).collect();
    for number in &numbers {
        planned(&story, *number, |story| {
            story.remove(&removed(*number));
        });
    }
    let mut before = story.origin.head();
    let mut after = before.clone();
    for (number, how) in numbers.iter().zip(landings) {
        if *number == 3 {
            before = after.clone();
        }
        after = land(&story, *number, how);
    }
    // A rebased commit quotes the number of another pull request, and one merge commit is not told.
    story.origin.git(["commit", "--quiet", "--amend", "--message", "Undo the revert of #4 (#4)"]);
    after = story.origin.touch();
    story.forge.change_pull(10, |pull| pull.commits = vec![after.to_string()]);
    story.forge.change_pull(10, |pull| pull.merge_commit_sha = None);
    story.forge.delay_index(Duration::from_secs(45));
    let ran = story.run(&pushed(&before, &after), &after);
    ended(&ran, 0, "applied");
    let expected: BTreeSet<String> = all.iter().skip(10).cloned().collect();
    assert_eq!(names(&story), expected, "{}", ran.summary);
    for number in numbers {
        let body = comment(&story, number);
        assert!(body.contains("Applied") && body.contains(&removed(number)), "#{number}: {body}");
    }
}

#[test]
fn f10_an_object_that_came_back_needs_the_plan_of_its_last_removal() {
    let story = applied("landed-back", &["a", "b", "c"]);
    planned(&story, 1, |story| {
        story.remove("a").remove("b");
    });
    land(&story, 1, Landing::Squash);
    planned(&story, 2, |story| {
        story.config("a", "again");
    });
    land(&story, 2, Landing::Squash);
    // Nobody plans the last removal.
    let (event, after) = story.push(|story| {
        story.remove("a");
    });
    let ran = story.run(&event, &after);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    assert_eq!(names(&story), ["a", "c"].map(str::to_owned).into(), "{}", ran.summary);
    assert!(ran.summary.contains("no pull request of this commit is known"), "{}", ran.summary);
}

#[test]
fn f10_two_pull_requests_at_once_leave_no_generation_of_a_generated_object() {
    let story = Story::new("landed-generations");
    // The name has a hash that depends on two files, as one of kustomize does.
    let half = |file: &str, letters: &str| {
        story.origin.write(format!("k8s/values/{file}.yaml"), format!("{file}: {letters}\n"));
    };
    let (event, commit) = story.push(|story| {
        let settings = format!(
            "project: {0}\ncleanup: true\nnamespace: {0}\nvalues: [values/a.yaml, values/b.yaml]\n",
            story.root
        );
        story.origin.write("k8s/.ktor.yaml", settings);
        let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 'app-{${ ktor.a }$}{${ ktor.b }$}'}\n\
                        data: {value: '{${ ktor.a }$}'}\n";
        story.origin.write("k8s/app.tmpl.yaml", template);
        story.config("kept-6ct58987ht", "one");
        half("a", "6ct58");
        half("b", "987ht");
    });
    ended(&story.run(&event, &commit), 0, "applied");
    // Both plans are of the same base, and neither shows the generation that comes between the two.
    planned(&story, 1, |_| half("a", "2g9kh"));
    planned(&story, 2, |_| half("b", "8m4tt"));
    let first = land(&story, 1, Landing::Squash);
    ended(&story.run(&pushed(&commit, &first), &first), 0, "applied");
    let last = land(&story, 2, Landing::Squash);
    ended(&story.run(&pushed(&first, &last), &last), 0, "applied");
    assert_eq!(names(&story), ["app-2g9kh8m4tt", "kept-6ct58987ht"].map(str::to_owned).into());
    // A generation that nobody showed stays.
    let (event, commit) = story.push(|_| half("a", "6ct58"));
    assert_eq!(story.run(&event, &commit).exit, 3);
    assert!(names(&story).contains("app-2g9kh8m4tt"));
}

#[test]
fn f10_a_pull_request_of_another_branch_shows_nothing() {
    let story = applied("landed-elsewhere", &["a", "b"]);
    planned(&story, 1, |story| {
        story.remove("a");
    });
    let commit = land(&story, 1, Landing::Squash);
    story.forge.change_pull(1, |pull| pull.base_ref = "release".to_owned());
    let ran = story.run(&pushed(&commit, &commit), &commit);
    assert!(names(&story).contains("a"), "{}", ran.summary);
}

#[test]
fn f11_a_repeated_run_judges_again_what_was_kept() {
    let story = applied("landed-again", &["a", "b"]);
    planned(&story, 1, |story| {
        story.remove("a");
    });
    let (before, commit) = (story.origin.head(), land(&story, 1, Landing::Rebase));
    // The forge does not know the commit's pull request for longer than a run waits.
    story.forge.delay_index(Duration::from_secs(600));
    let ran = story.run(&pushed(&before, &commit), &commit);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    assert!(names(&story).contains("a") && ran.summary.contains("no pull request of this commit is known"));
    story.forge.delay_index(Duration::ZERO);
    ended(&story.run(&pushed(&before, &commit), &commit), 0, "applied");
    assert_eq!(names(&story), ["b".to_owned()].into());
    ended(&story.run(&pushed(&before, &commit), &commit), 0, "nothing");
}

/// A comment that must not count, and the words that the report says about it.
type Forgery = (&'static str, fn(&Story), &'static str);

#[test]
fn x8_comments_that_do_not_count_delete_nothing_and_are_named() {
    let forgeries: [Forgery; 6] = [
        (
            "another workflow's comment",
            |story| {
                let body = comment(story, 1);
                let id = story.forge.comments(1)[0].id;
                let marker = body.lines().next().unwrap();
                story.forge.edit_comment(id, &format!("{marker}\nby another workflow"));
            },
            "is not signed",
        ),
        (
            "an edited comment",
            |story| {
                let body = comment(story, 1);
                let block = read_hidden_block(&body, "review").unwrap();
                let edited = format!("{}{}", if block.starts_with('A') { "B" } else { "A" }, &block[1..]);
                story.forge.edit_comment(story.forge.comments(1)[0].id, &body.replace(block, &edited));
            },
            "signature of its plan is wrong",
        ),
        (
            "another head",
            |story| story.forge.change_pull(1, |pull| pull.head_sha = "9".repeat(40)),
            "but 999999999999 was merged",
        ),
        (
            "the comment of another pull request",
            |story| {
                let (other, id) = (comment(story, 2), story.forge.comments(1)[0].id);
                story.forge.edit_comment(id, &other);
            },
            "of another root, cluster, target or pull request",
        ),
        ("a restored backup", Story::restore_review_key, "of another root, cluster, target or pull request"),
        (
            "a plan after the merge",
            |story| story.forge.change_pull(1, |pull| pull.merged_at = "2026-01-02T03:04:05Z".to_owned()),
            "was made after the merge",
        ),
    ];
    for (index, (name, forge, expected)) in forgeries.into_iter().enumerate() {
        let story = applied(&format!("forged-{index}"), &["a", "b", "c"]);
        planned(&story, 1, |story| {
            story.remove("a");
        });
        planned(&story, 2, |story| {
            story.remove("a").remove("b");
        });
        let (before, commit) = (story.origin.head(), land(&story, 1, Landing::Squash));
        forge(&story);
        let ran = story.run(&pushed(&before, &commit), &commit);
        assert_eq!(ran.exit, 3, "{name}: {}", ran.log);
        assert_eq!(names(&story).len(), 3, "{name}");
        assert!(ran.summary.contains(expected), "{name}: {}", ran.summary);
    }
}

#[test]
fn x8_a_rotated_key_keeps_open_plans_and_a_lost_one_keeps_objects() {
    let story = applied("rotated", &["a", "b", "c"]);
    for (number, name) in [(1, "a"), (2, "b")] {
        planned(&story, number, |story| {
            story.remove(name);
        });
    }
    story.rotate_review_key();
    let (before, commit) = (story.origin.head(), land(&story, 1, Landing::Squash));
    ended(&story.run(&pushed(&before, &commit), &commit), 0, "applied");
    assert_eq!(names(&story), ["b", "c"].map(str::to_owned).into());
    story.remove_review_key();
    let (before, commit) = (story.origin.head(), land(&story, 2, Landing::Squash));
    let ran = story.run(&pushed(&before, &commit), &commit);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    assert_eq!(names(&story), ["b", "c"].map(str::to_owned).into());
}

#[test]
fn x8_a_forged_later_run_does_not_silence_the_plan() {
    let story = applied("silenced", &["a", "b"]);
    planned(&story, 1, |story| {
        story.remove("a");
    });
    let (body, id) = (comment(&story, 1), story.forge.comments(1)[0].id);
    let marker = body.lines().next().unwrap();
    let forged = format!("<!-- ktor-action:run head={} run=999999 attempt=1 -->", "1".repeat(40));
    story.forge.edit_comment(id, &format!("{marker}\n{forged}\n\nnothing to see"));
    let (event, merge) = tested(&story, 1);
    ended(&story.run(&event, &merge), 0, "changes");
    assert!(
        !comment(&story, 1).contains("nothing to see") && read_hidden_block(&comment(&story, 1), "review").is_some()
    );
}

#[test]
fn x8_a_further_comment_under_the_same_login_does_not_hide_the_plan() {
    let story = applied("hidden-plan", &["a", "b", "c"]);
    for (number, name) in [(1, "a"), (2, "b")] {
        planned(&story, number, |story| {
            story.remove(name);
        });
    }
    let (honest, other) = (story.forge.comments(1).remove(0), comment(&story, 2));
    let marker = honest.body.lines().next().unwrap();
    let run = format!("<!-- ktor-action:run head={} run=999999 attempt=1 -->", "1".repeat(40));
    let forged = [format!("{marker}\n{run}\n\nnothing to see"), other];
    let forged = forged.map(|body| (story.forge.add_comment(1, ACTIONS_BOT, &body), body));
    let (before, commit) = (story.origin.head(), land(&story, 1, Landing::Squash));
    ended(&story.run(&pushed(&before, &commit), &commit), 0, "applied");
    assert_eq!(names(&story), ["b", "c"].map(str::to_owned).into());
    let comments = story.forge.comments(1);
    let body = |id: u64| comments.iter().find(|comment| comment.id == id).unwrap().body.clone();
    assert!(body(honest.id).contains("## Applied"), "{}", body(honest.id));
    for (id, text) in forged {
        assert_eq!(body(id), text);
    }
}

#[test]
fn f14_the_plan_is_of_what_a_merge_makes_now() {
    let story = applied("merged-now", &["a", "b", "c"]);
    let (event, merge) = open(&story, 1, |story| {
        story.remove("a");
    });
    // The base moves on after the forge has made its test merge.
    story.push(|story| {
        story.remove("b").config("d", "one");
    });
    let ran = story.run(&event, &merge);
    ended(&ran, 0, "changes");
    let body = comment(&story, 1);
    // The removal of b is pending from the push, and not this pull request's own.
    assert!(body.contains("`d`") || body.contains("/d"), "the plan has what the base gained: {body}");
    assert!(read_hidden_block(&body, "review").is_some(), "{body}");
    let (before, commit) = (story.origin.head(), land(&story, 1, Landing::Squash));
    let ran = story.run(&pushed(&before, &commit), &commit);
    assert_eq!(ran.exit, 0, "{}", ran.log);
    assert_eq!(names(&story), ["b", "c", "d"].map(str::to_owned).into(), "nobody reviewed the removal of b");
}

#[test]
fn f14_a_stale_test_merge_is_not_labelled_with_the_new_head() {
    let story = applied("stale-merge", &["a", "b", "c"]);
    let (old, merge) = open(&story, 1, |story| {
        story.remove("a");
    });
    story.origin.branch(&branch(1), &branch(1));
    story.remove("b").origin.commit("more");
    let (new, _) = tested(&story, 1);
    // The run of the older event finds a newer head.
    let ran = story.run(&old, &merge);
    ended(&ran, 0, "nothing");
    assert!(ran.log.contains("superseded"), "{}", ran.log);
    assert!(story.forge.comments(1).is_empty());
    // The run of the newer event gets the old test merge. It plans the merge of its own head.
    ended(&story.run(&new.at(&merge), &merge), 0, "changes");
    let body = comment(&story, 1);
    assert!(body.contains("2 to delete") && read_hidden_block(&body, "review").is_some(), "{body}");
}

#[test]
fn f14_a_conflict_a_merged_and_a_closed_pull_request_get_no_plan() {
    let story = applied("no-plan", &["a", "b"]);
    let (event, _) = open(&story, 1, |story| {
        story.config("a", "two");
    });
    story.push(|story| {
        story.config("a", "three");
    });
    let head: Commit = story.origin.git(["rev-parse", &branch(1)]).parse().unwrap();
    let before = story.versions();
    let ran = story.run(&event.clone().at(&head), &head);
    ended(&ran, 0, "nothing");
    assert!(comment(&story, 1).contains("conflicts with main"), "{}", comment(&story, 1));
    assert!(read_hidden_block(&comment(&story, 1), "review").is_none());
    story.forge.change_pull(1, |pull| pull.open = false);
    let ran = story.run(&event.clone().at(&head), &head);
    assert!(ran.log.contains("is closed"), "{}", ran.log);
    story.forge.change_pull(1, |pull| pull.merged = true);
    let ran = story.run(&event.at(&head), &head);
    assert!(ran.log.contains("is merged already"), "{}", ran.log);
    assert_eq!(story.versions(), before);
}

#[test]
fn f14_a_pull_request_into_another_branch_says_that_nothing_is_applied() {
    let story = applied("other-branch", &["a", "b"]);
    story.origin.branch("release", "main");
    story.origin.branch("main", "main");
    let (mut event, merge) = open(&story, 1, |story| {
        story.remove("a");
    });
    event.payload()["pull_request"]["base"]["ref"] = json!("release");
    story.forge.change_pull(1, |pull| pull.base_ref = "release".to_owned());
    let ran = story.run(&event, &merge);
    ended(&ran, 0, "nothing");
    let body = comment(&story, 1);
    assert!(body.contains("the merge into release applies nothing"), "{body}");
    assert!(read_hidden_block(&body, "review").is_none(), "{body}");
}

#[test]
fn f14_what_others_left_is_told_apart_and_no_merge_deletes_it() {
    let story = applied("told-apart", &["a", "b", "c", "d"]);
    // The removal of b was pushed without a plan, and was kept.
    let (event, commit) = story.push(|story| {
        story.remove("b");
    });
    assert_eq!(story.run(&event, &commit).exit, 3);
    // The removal of c has landed, but its run was dropped.
    planned(&story, 1, |story| {
        story.remove("c");
    });
    land(&story, 1, Landing::Squash);
    let ran = planned(&story, 2, |story| {
        story.remove("d");
    });
    assert_eq!(ran.output("cleanup-count"), "2", "d is its own, c is pending, b is left over: {}", ran.summary);
    let (before, commit) = (story.origin.head(), land(&story, 2, Landing::Merge));
    let ran = story.run(&pushed(&before, &commit), &commit);
    assert_eq!(names(&story), ["a", "b"].map(str::to_owned).into(), "{}", ran.summary);
    assert_eq!(ran.exit, 0, "what others left is no reason for a red check: {}", ran.log);
}

/// Writes a comment with a command, and runs the job that it starts. Returns the run, and the text of the answer.
fn commanded(story: &Story, number: u64, author: &str, text: &str) -> (Ran, String) {
    let id = story.forge.add_comment(number, author, text);
    let main: Commit = story.origin.git(["rev-parse", "main"]).parse().unwrap();
    let ran = story.run(&support::workflow_run::commented(number, id, author, text, &main), &main);
    let marker = format!("to={id} -->");
    let answers: Vec<_> =
        story.forge.comments(number).into_iter().filter(|comment| comment.body.contains(&marker)).collect();
    (ran, answers.first().map(|answer| answer.body.clone()).unwrap_or_default())
}

/// Returns the digest of the plan of a pull request, as its comment has it.
fn digest(story: &Story, number: u64) -> String {
    read_hidden_block(&plan_comment(story, number), "digest").unwrap()[..8].to_owned()
}

/// Returns the text of the plan's comment, which stands among answers.
fn plan_comment(story: &Story, number: u64) -> String {
    let is_plan = |body: &str| body.starts_with("<!-- ktor-action:plan ");
    let comments = story.forge.comments(number).into_iter().rev().map(|comment| comment.body);
    comments.into_iter().find(|body| is_plan(body)).unwrap()
}

/// Creates a story with a claim and some ConfigMaps, one of which is left over, and plans the removal of the claim in
/// pull request 1.
fn with_a_claim(root: &str) -> Story {
    let story = Story::new(root);
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let (event, commit) = story.push(|story| {
        story.origin.write("k8s/data.yaml", claim.to_string());
        story.config("a", "one").config("b", "one").config("c", "one");
    });
    let ran = story.run(&event, &commit);
    assert_eq!(ran.exit, 0, "{}", ran.log);
    let (event, commit) = story.push(|story| {
        story.remove("a");
    });
    assert_eq!(story.run(&event, &commit).exit, 3);
    let (event, merge) = open(&story, 1, |story| {
        story.remove("data");
    });
    let ran = story.run(&event, &merge);
    assert_eq!((ran.exit, ran.output("cleanup-count"), ran.output("kept")), (3, "0", "2"), "{}", ran.summary);
    story
}

fn has_claim(story: &Story) -> bool {
    let found =
        story.plane.kubectl(&["-n", &story.root, "get", "pvc", "data", "-o", "jsonpath={.metadata.deletionTimestamp}"]);
    found.status.success() && found.stdout.is_empty()
}

#[test]
fn f15_a_consent_covers_exactly_what_its_plan_lists() {
    let story = with_a_claim("consent");
    story.forge.set_permission("maria", "write");
    let (ran, answer) = commanded(&story, 1, "maria", &format!("/ktor allow volume-deletion {}", digest(&story, 1)));
    assert_eq!(ran.exit, 0, "{}", ran.log);
    assert!(answer.contains("Recorded") && answer.contains("Re-run the plan's check"), "{answer}");
    // The plan's check is green now, and its digest is the same.
    let before = digest(&story, 1);
    let (event, merge) = tested(&story, 1);
    let ran = story.run(&event, &merge);
    assert_eq!(ran.exit, 0, "{}", ran.log);
    assert!(ran.summary.contains("because a comment allows it") && digest(&story, 1) == before, "{}", ran.summary);
    let (before, commit) = (story.origin.head(), land(&story, 1, Landing::Squash));
    let ran = story.run(&pushed(&before, &commit), &commit);
    assert_eq!(ran.exit, 0, "{}", ran.log);
    assert!(!has_claim(&story), "{}", ran.summary);
    assert!(names(&story).contains("a"), "the leftover needs a consent of its own");
}

#[test]
fn f15_a_consent_repeats_the_check_of_its_plan_or_says_how() {
    let story = with_a_claim("consent-check");
    story.forge.set_permission("maria", "write");
    let id = Freshness::of(&plan_comment(&story, 1)).unwrap().run_id;
    let allow = format!("/ktor allow volume-deletion {}", digest(&story, 1));
    let head = story.origin.git(["rev-parse", &branch(1)]);
    let page = format!("{}/acme/shop/actions/runs/{id}", story.forge.server_url());
    let run = FakeRun::of_pull(&head, "failure");
    for (name, run, fault, repeated, expected) in [
        ("failed", run.clone(), None, &["rerun-failed-jobs"][..], "check runs again"),
        ("green", FakeRun::of_pull(&head, "success"), None, &["rerun"], "check runs again"),
        ("running", FakeRun { conclusion: None, ..run.clone() }, None, &[], "still running"),
        ("no right", run.clone(), Some(Fault::answer("POST", "/rerun", 403)), &[], "`actions: write`"),
        ("unknown", run.clone(), Some(Fault::answer("GET", "/actions/runs/", 404)), &[], "Re-run the plan's check"),
        // The number of the run stands in a comment that other jobs can write.
        ("a deployment", FakeRun { event: "push".into(), ..run.clone() }, None, &[], "Comment `/ktor plan`"),
        ("another head", FakeRun { head_sha: "9".repeat(40), ..run.clone() }, None, &[], "Comment `/ktor plan`"),
    ] {
        story.forge.add_run(id, run);
        if let Some(fault) = fault {
            story.forge.fault(fault);
        }
        let (ran, answer) = commanded(&story, 1, "maria", &allow);
        assert_eq!(ran.exit, 0, "{name}: {}", ran.log);
        assert!(answer.contains("Recorded") && answer.contains(expected), "{name}: {answer}");
        assert_eq!(answer.contains(&page), !expected.contains("/ktor plan"), "{name}: {answer}");
        assert_eq!(story.forge.run(id).repeated, repeated, "{name}");
        assert_eq!(story.forge.faults_left(), 0, "{name}");
    }
    // Who may not consent repeats nothing.
    story.forge.add_run(id, FakeRun::of_pull(&head, "failure"));
    commanded(&story, 1, "stranger", &allow);
    assert!(story.forge.run(id).repeated.is_empty());
}

#[test]
fn f19_the_commit_of_a_plan_and_of_an_apply_has_a_status() {
    let story = applied("status", &["a", "b"]);
    assert!(story.forge.statuses().is_empty(), "nobody asked for it");
    let asked = [("KTOR_INPUT_COMMIT_STATUS", "true")];
    let run = |event: &Event, commit: &Commit| {
        let checkout = TestRepository::checkout(&story.origin, commit);
        story.run_with(&checkout, event, Some(&story.kubeconfig()), &asked)
    };
    let last = |story: &Story| story.forge.statuses().last().unwrap().clone();
    let (event, merge) = open(&story, 1, |story| {
        story.remove("a").config("c", "one");
    });
    ended(&run(&event, &merge), 0, "changes");
    let head = story.origin.git(["rev-parse", &branch(1)]);
    let status = last(&story);
    assert_eq!((&status.sha, status.context.as_str(), status.state.as_str()), (&head, "ktor/status", "success"));
    assert!(status.description.contains("1 to create") && status.description.contains("1 to delete"), "{status:?}");
    assert!(status.target_url.contains("/acme/shop/actions/runs/"), "{status:?}");
    let (before, commit) = (story.origin.head(), land(&story, 1, Landing::Squash));
    ended(&run(&pushed(&before, &commit), &commit), 0, "applied");
    let status = last(&story);
    assert_eq!((status.sha.as_str(), status.state.as_str()), (commit.as_str(), "success"));
    assert!(status.description.contains("1 created") && status.description.contains("1 deleted"), "{status:?}");
    // A kept object is a failure, and a plan that cannot be made is an error.
    let (event, commit) = story.push(|story| {
        story.remove("b");
    });
    assert_eq!(run(&event, &commit).exit, 3);
    let status = last(&story);
    assert_eq!((status.sha.as_str(), status.state.as_str()), (commit.as_str(), "failure"), "{status:?}");
    let (event, merge) = open(&story, 2, |story| {
        story.origin.write("k8s/broken.yaml", "kind: [");
    });
    assert_eq!(run(&event, &merge).exit, 1);
    let (status, head) = (last(&story), story.origin.git(["rev-parse", &branch(2)]));
    assert_eq!((&status.sha, status.state.as_str()), (&head, "error"), "{status:?}");
    assert_eq!(story.forge.statuses().len(), 4, "one for each run: {:#?}", story.forge.statuses());
    // A token without the permission is one notice, and nothing else.
    let (event, merge) = open(&story, 3, |story| {
        story.config("d", "one");
    });
    story.forge.fault(Fault::answer("POST", "/statuses/", 403));
    let ran = run(&event, &merge);
    ended(&ran, 0, "changes");
    assert_eq!(ran.log.matches("statuses: write").count(), 1, "{}", ran.log);
    assert_eq!(story.forge.statuses().len(), 4);
}

#[test]
fn f15_leftovers_are_deleted_by_their_own_consent() {
    let story = with_a_claim("consent-left");
    story.forge.set_permission("maria", "admin");
    let (ran, answer) = commanded(&story, 1, "maria", &format!("/ktor delete leftovers {}", digest(&story, 1)));
    assert!(ran.exit == 0 && answer.contains("Recorded"), "{answer}: {}", ran.log);
    let (before, commit) = (story.origin.head(), land(&story, 1, Landing::Merge));
    let ran = story.run(&pushed(&before, &commit), &commit);
    assert_eq!(ran.exit, 3, "the claim is still guarded: {}", ran.log);
    assert!(has_claim(&story) && !names(&story).contains("a"), "{}", ran.summary);
    // A consent that comes after the merge counts for a repeated run.
    let (_, answer) = commanded(&story, 1, "maria", &format!("/ktor allow volume-deletion {}", "0".repeat(8)));
    assert!(answer.contains("Not done"), "{answer}");
}

#[test]
fn f15_everyone_else_and_every_other_digest_is_refused_in_words() {
    let story = with_a_claim("refused");
    let digest = digest(&story, 1);
    for (user, permission) in [("maria", "write"), ("rita", "read"), ("nina", "none")] {
        story.forge.set_permission(user, permission);
    }
    let allow = format!("/ktor allow volume-deletion {digest}");
    for (author, text, expected) in [
        ("rita", allow.as_str(), "write access"),
        ("nina", &allow, "write access"),
        ("stranger", &allow, "write access"),
        ("other-app[bot]", &allow, "by a bot"),
        ("maria", "/ktor allow volume-deletion 00000000", "is not its plan"),
        ("maria", "/ktor allow everything 00000000", "no guard"),
        ("maria", "/ktor frobnicate", "not a command"),
        ("stranger", "/ktor plan", "write access"),
        ("stranger", "/ktor apply", "write access"),
        ("stranger", "/ktor unlock someone", "write access"),
    ] {
        let before = story.versions();
        let (ran, answer) = commanded(&story, 1, author, text);
        assert_eq!(ran.exit, 0, "{}", ran.log);
        assert!(answer.contains("Not done") && answer.contains(expected), "{author} {text}: {answer}");
        assert_eq!(story.versions(), before);
    }
    let (ran, answer) = commanded(&story, 1, "maria", "thanks, /ktor plan looks good");
    assert!(ran.output("result") == "nothing" && answer.is_empty(), "{answer}");
    // An edited comment is no consent, although its author may consent.
    let id = story.forge.add_comment(1, "maria", "fine");
    story.forge.edit_comment(id, &allow);
    let (before, commit) = (story.origin.head(), land(&story, 1, Landing::Squash));
    let ran = story.run(&pushed(&before, &commit), &commit);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    assert!(has_claim(&story) && ran.log.contains("it was edited"), "{}", ran.log);
}

#[test]
fn f15_the_author_of_a_pull_request_cannot_consent_where_others_have_to() {
    let story = with_a_claim("others");
    for user in ["octocat", "maria"] {
        story.forge.set_permission(user, "write");
    }
    let allow = format!("/ktor allow volume-deletion {}", digest(&story, 1));
    story.forge.add_comment(1, "octocat", &allow);
    let (before, commit) = (story.origin.head(), land(&story, 1, Landing::Squash));
    let run = || {
        let checkout = support::repository::TestRepository::checkout(&story.origin, &commit);
        let others = [("KTOR_INPUT_CONSENT", "others")];
        story.run_with(&checkout, &pushed(&before, &commit), Some(&story.kubeconfig()), &others)
    };
    assert_eq!(run().exit, 3);
    assert!(has_claim(&story));
    // F11: a repeated run counts a consent that came after it.
    story.forge.add_comment(1, "maria", &allow);
    let ran = run();
    assert_eq!(ran.exit, 0, "{}", ran.log);
    assert!(!has_claim(&story));
}

#[test]
fn f15_a_comment_releases_the_lock_of_a_run_that_it_names_and_of_no_other() {
    let story = applied("comment-unlock", &["a"]);
    open(&story, 1, |story| {
        story.config("b", "1");
    });
    story.forge.set_permission("maria", "write");
    let unlock = |holder: &str| {
        let (ran, answer) = commanded(&story, 1, "maria", &format!("/ktor unlock {holder}"));
        (ran.exit, answer)
    };
    let (exit, answer) = unlock("acme/shop run 1");
    assert!(exit == 0 && answer.contains("The root is not locked."), "{answer}");

    let hash: String = Sha1::digest(story.root.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("kubernator-project-{hash}-lock");
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": "acme/shop run 7", "leaseDurationSeconds": 3600,
            "acquireTime": "2026-11-24T01:02:03.000000Z", "renewTime": "2026-11-24T01:02:03.000000Z"}});
    let folder = support::temporary_directory();
    let file = folder.path().join("lease.json");
    std::fs::write(&file, lease.to_string()).unwrap();
    story.kubectl(&["create", "-n", "kubernator-system", "-f", file.to_str().unwrap()]);
    let (exit, answer) = unlock("acme/shop run 1");
    assert!(exit == 0 && answer.contains("it does not hold the lock, which acme/shop run 7 holds"), "{answer}");
    let (exit, answer) = unlock("acme/shop run 7");
    assert!(exit == 0 && answer.contains("The lock is released."), "{answer}");
    let (exit, answer) = unlock("acme/shop run 7");
    assert!(exit == 0 && answer.contains("The root is not locked."), "{answer}");
}

#[test]
fn f9_f15_a_maintainer_has_a_forks_pull_request_planned_on_the_cluster() {
    let story = applied("fork-planned", &["a", "b", "c"]);
    let (event, merge) = open(&story, 1, |story| {
        story.remove("a");
    });
    let checkout = support::repository::TestRepository::checkout(&story.origin, &merge);
    ended(&story.run_in(&checkout, &event.forked(), None), 0, "changes");
    assert!(read_hidden_block(&plan_comment(&story, 1), "review").is_none());
    story.forge.set_permission("maria", "write");
    let (ran, answer) = commanded(&story, 1, "maria", "/ktor plan");
    ended(&ran, 0, "changes");
    assert!(answer.contains("Planned"), "{answer}");
    assert!(read_hidden_block(&plan_comment(&story, 1), "review").is_some(), "{}", plan_comment(&story, 1));
    let (before, commit) = (story.origin.head(), land(&story, 1, Landing::Squash));
    ended(&story.run(&pushed(&before, &commit), &commit), 0, "applied");
    assert_eq!(names(&story), ["b", "c"].map(str::to_owned).into());
    let (ran, answer) = commanded(&story, 1, "maria", "/ktor apply");
    assert!(ran.exit == 0 && answer.contains("Applied"), "{answer}: {}", ran.log);
}

//! The forge adapter against the fake GitHub: the sticky comment, waits and retries, lists and their limits.

use std::time::Duration;

use ktor_action::forge::{
    BODY_LIMIT, Cause, CommitState, CommitStatus, Files, Forge, ForgeError, ForgeSettings, Freshness, Marker, Patience,
    Permission, Posting, Relation, RepeatedJobs, RepositorySlug, Sticky, Token, Upserted, WorkflowRun, hidden_block,
    part_line, section_line, sections_end,
};
use support::github::{ACTIONS_BOT, FakeGitHub, FakePull, FakeRun, Fault, Flavor, GITEA_ACTIONS, REPOSITORY, TOKEN};

const PR: u64 = 7;
const COMMENTS: &str = "/issues/7/comments";
const EDIT: &str = "/issues/comments/";

/// Starts a fake with one pull request.
fn github_as(flavor: Flavor) -> FakeGitHub {
    let github = FakeGitHub::start_as(flavor);
    github.add_pull(FakePull::new(PR));
    github
}

fn github() -> FakeGitHub {
    github_as(Flavor::GitHub)
}

fn patience() -> Patience {
    Patience {
        total: Duration::from_secs(20),
        attempt: Duration::from_secs(3),
        pause: Duration::from_millis(5),
        limited: Duration::from_millis(10),
        pace: Duration::ZERO,
    }
}

fn settings(github: &FakeGitHub) -> ForgeSettings {
    ForgeSettings {
        api_url: github.url(),
        repository: RepositorySlug::parse(REPOSITORY).expect("a repository"),
        token: Token::new(TOKEN).expect("a token"),
        author: None,
        patience: patience(),
    }
}

fn forge(github: &FakeGitHub) -> Forge {
    Forge::new(settings(github)).expect("a client")
}

fn sticky_of(target: &str, run_id: u64, attempt: u32, text: &str) -> Sticky {
    Sticky {
        marker: Marker::new("shop", target),
        freshness: Freshness { head_sha: "1".repeat(40), run_id, attempt, seal: None },
        hidden: vec![hidden_block("review", &format!("cnVu.{run_id}")).expect("base64")],
        text: text.to_owned(),
    }
}

fn sticky(run_id: u64, text: &str) -> Sticky {
    sticky_of("prod", run_id, 1, text)
}

async fn upsert(forge: &Forge, sticky: &Sticky) -> Upserted {
    forge.upsert_sticky(PR, sticky, &|_| true).await.expect("a comment")
}

/// Returns the bodies of the comments by the Actions token.
fn ours(github: &FakeGitHub) -> Vec<String> {
    github
        .comments(PR)
        .into_iter()
        .filter(|comment| comment.author == ACTIONS_BOT)
        .map(|comment| comment.body)
        .collect()
}

fn sent(github: &FakeGitHub, method: &str) -> usize {
    github.journal().iter().filter(|entry| entry.method == method).count()
}

#[tokio::test]
async fn f1_one_comment_is_created_then_edited_in_place() {
    let github = github();
    let created = upsert(&forge(&github), &sticky(1, "one")).await;
    assert!(
        matches!(&created, Upserted::Created { url, unexpected_author: None } if url.starts_with(&github.server_url()))
    );
    let edited = upsert(&forge(&github), &sticky(2, "two")).await;
    assert_eq!(edited, Upserted::Edited { url: created.url().to_owned() });
    let unchanged = upsert(&forge(&github), &sticky(2, "two")).await;
    assert_eq!(unchanged, Upserted::Unchanged { url: created.url().to_owned() });
    assert_eq!(ours(&github), [sticky(2, "two").body()]);
    let methods: Vec<_> = github.writes().into_iter().map(|write| write.method).collect();
    assert_eq!(methods, ["POST", "PATCH"]);
    let found = forge(&github).find_sticky(PR, &Marker::new("shop", "prod")).await.unwrap().unwrap();
    assert_eq!(found.hidden("review"), Some("cnVu.2"));
    assert_eq!(found.freshness().unwrap().run_id, 2);
}

#[tokio::test]
async fn f1_targets_have_comments_of_their_own() {
    let github = github();
    let forge = forge(&github);
    let quoting = format!("a manifest says\n{}\n", Marker::new("shop", "b --> c").as_str());
    upsert(&forge, &sticky_of("a", 1, 1, &quoting)).await;
    upsert(&forge, &sticky_of("b --> c", 1, 1, "other")).await;
    assert_eq!(ours(&github).len(), 2, "text further down is no marker");
    assert!(matches!(upsert(&forge, &sticky_of("b --> c", 2, 1, "other")).await, Upserted::Edited { .. }));
    assert!(ours(&github)[0].contains("a manifest says"));
}

#[tokio::test]
async fn f1_a_spoofed_marker_of_another_author_is_ignored() {
    let github = github();
    for author in ["mallory", "github-actions", "other-app[bot]"] {
        github.add_comment(PR, author, &sticky(999, "spoofed").body());
    }
    let forge = forge(&github);
    assert_eq!(forge.find_sticky(PR, &Marker::new("shop", "prod")).await.unwrap(), None);
    assert!(matches!(upsert(&forge, &sticky(1, "real")).await, Upserted::Created { .. }));
    assert_eq!(ours(&github), [sticky(1, "real").body()]);
    assert_eq!(github.comments(PR).iter().filter(|comment| comment.body.contains("spoofed")).count(), 3);
}

#[tokio::test]
async fn f1_earlier_and_later_comments_do_not_hide_it() {
    for flavor in [Flavor::GitHub, Flavor::Gitea] {
        let github = github_as(flavor);
        for n in 0..250 {
            github.add_comment(PR, "octocat", &format!("earlier {n}"));
        }
        upsert(&forge(&github), &sticky(1, "one")).await;
        for n in 0..100 {
            github.add_comment(PR, ACTIONS_BOT, &format!("another workflow's, later {n}"));
        }
        assert!(matches!(upsert(&forge(&github), &sticky(2, "two")).await, Upserted::Edited { .. }), "{flavor:?}");
        assert_eq!(github.comments(PR).len(), 351);
        assert_eq!(github.writes().len(), 2);
    }
}

#[tokio::test]
async fn f1_a_full_last_page_ends_the_list() {
    for count in [99, 100, 101, 200] {
        let github = github();
        for n in 0..count {
            github.add_comment(PR, "octocat", &format!("{n}"));
        }
        assert_eq!(forge(&github).find_sticky(PR, &Marker::new("shop", "prod")).await.unwrap(), None);
        github.add_comment(PR, ACTIONS_BOT, &sticky(1, "x").body());
        assert!(forge(&github).find_sticky(PR, &Marker::new("shop", "prod")).await.unwrap().is_some(), "{count}");
    }
}

#[tokio::test]
async fn f1_of_several_the_newest_is_edited() {
    let github = github();
    github.add_comment(PR, ACTIONS_BOT, &sticky(1, "old").body());
    github.add_comment(PR, ACTIONS_BOT, &sticky(1, "new").body());
    upsert(&forge(&github), &sticky(2, "now")).await;
    assert_eq!(ours(&github), [sticky(1, "old").body(), sticky(2, "now").body()]);
}

#[tokio::test]
async fn f1_the_author_is_the_tokens_own_login() {
    let github = github();
    github.act_as_user("Deploy-Bot");
    github.add_comment(PR, ACTIONS_BOT, &sticky(9, "an Actions token's").body());
    upsert(&forge(&github), &sticky(1, "one")).await;
    assert!(matches!(upsert(&forge(&github), &sticky(2, "two")).await, Upserted::Edited { .. }));
    assert_eq!(github.comments(PR).len(), 2);
    let given = ForgeSettings { author: Some("deploy-bot".into()), ..settings(&github) };
    assert!(Forge::new(given).unwrap().find_sticky(PR, &Marker::new("shop", "prod")).await.unwrap().is_some());
}

#[tokio::test]
async fn f12_every_kind_of_token_finds_its_own_comment_without_a_name() {
    type Act = fn(&FakeGitHub);
    let tokens: [(Flavor, Act, &str); 6] = [
        (Flavor::GitHub, |_| {}, ACTIONS_BOT),
        (Flavor::GitHub, |github| github.act_as_app("acme-deploy[bot]"), "acme-deploy[bot]"),
        (Flavor::GitHub, |github| github.act_as_user("maria"), "maria"),
        (Flavor::Enterprise, |github| github.act_as_app("acme-deploy[bot]"), "acme-deploy[bot]"),
        (Flavor::Gitea, |_| {}, GITEA_ACTIONS),
        (Flavor::Gitea, |github| github.act_as_user("maria"), "maria"),
    ];
    for (flavor, act, login) in tokens {
        let github = github_as(flavor);
        act(&github);
        for author in ["mallory", "other-app[bot]"] {
            github.add_comment(PR, author, &sticky(999, "spoofed").body());
        }
        for run in 1..=3 {
            upsert(&forge(&github), &sticky(run, &format!("{run}"))).await;
        }
        let comments = github.comments(PR);
        let ours: Vec<_> = comments.iter().filter(|comment| comment.author == login).collect();
        assert_eq!((ours.len(), comments.len()), (1, 3), "{flavor:?} {login}");
        assert_eq!(ours[0].body, sticky(3, "3").body());
        let wrong = ForgeSettings { author: Some("mallory".into()), ..settings(&github) };
        let error = Forge::new(wrong).unwrap().find_sticky(PR, &Marker::new("shop", "prod")).await.unwrap_err();
        assert!(matches!(&error, ForgeError::OtherAuthor { found, .. } if found == login), "{error:?}");
    }
}

#[tokio::test]
async fn f12_an_author_that_the_forge_does_not_tell_is_the_named_one_or_an_error() {
    let github = github();
    github.add_comment(PR, "acme-deploy[bot]", &sticky(1, "one").body());
    let faults = || {
        github.fault(Fault::answer("POST", "/graphql", 403));
    };
    faults();
    let error = forge(&github).find_sticky(PR, &Marker::new("shop", "prod")).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.status()), ("ask whose token it is", Some(403)));
    faults();
    let named = ForgeSettings { author: Some("acme-deploy[bot]".into()), ..settings(&github) };
    assert!(Forge::new(named).unwrap().find_sticky(PR, &Marker::new("shop", "prod")).await.unwrap().is_some());
}

#[tokio::test]
async fn f1_a_comment_deleted_in_between_is_created_anew() {
    let github = github();
    let id = github.add_comment(PR, ACTIONS_BOT, &sticky(1, "one").body());
    github.fault(Fault::answer("PATCH", EDIT, 404));
    let slow = Patience { pause: Duration::from_millis(400), ..patience() };
    let forge = Forge::new(ForgeSettings { patience: slow, ..settings(&github) }).unwrap();
    let written = sticky(2, "two");
    let deleted = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        github.remove_comment(id);
    };
    let (upserted, ()) = tokio::join!(upsert(&forge, &written), deleted);
    assert!(matches!(upserted, Upserted::Created { .. }), "{upserted:?}");
    assert_eq!(github.faults_left(), 0);
    assert_eq!(ours(&github), [sticky(2, "two").body()]);
}

#[tokio::test]
async fn f3_reads_and_edits_wait_and_succeed() {
    let secondary = r#"{"message":"You have exceeded a secondary rate limit. Please wait."}"#;
    let faults = |method: &'static str, path: &'static str| {
        [
            Fault::answer(method, path, 403).header("retry-after", "1"),
            Fault::answer(method, path, 403).body(secondary),
            Fault::answer(method, path, 429),
            Fault::answer(method, path, 502).body("<html>Unicorn!</html>"),
            Fault::answer(method, path, 503).header("retry-after", "0"),
        ]
    };
    for (method, path) in [("POST", "/graphql"), ("GET", COMMENTS), ("PATCH", EDIT), ("POST", COMMENTS)] {
        let github = github();
        if path != COMMENTS || method != "POST" {
            github.add_comment(PR, ACTIONS_BOT, &sticky(1, "one").body());
        }
        for fault in faults(method, path) {
            github.fault(fault);
        }
        upsert(&forge(&github), &sticky(2, "two")).await;
        assert_eq!(ours(&github), [sticky(2, "two").body()], "{method} {path}");
        assert_eq!((github.faults_left(), github.writes().len()), (0, 1), "{method} {path}");
    }
}

#[tokio::test]
async fn f3_a_retry_after_is_waited_out() {
    let github = github();
    github.fault(Fault::answer("POST", COMMENTS, 403).header("retry-after", "1"));
    let begun = tokio::time::Instant::now();
    upsert(&forge(&github), &sticky(1, "one")).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn f3_an_exhausted_quota_is_waited_out_by_the_servers_clock() {
    let github = github();
    let quota = Fault::answer("GET", COMMENTS, 403)
        .header("x-ratelimit-remaining", "0")
        .header("x-ratelimit-reset", "784111777")
        .header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    github.fault(quota);
    let begun = tokio::time::Instant::now();
    upsert(&forge(&github), &sticky(1, "one")).await;
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(1) && waited < Duration::from_secs(30), "{waited:?}");
}

#[tokio::test]
async fn f3_a_lost_answer_does_not_double_the_comment() {
    for fault in [
        Fault::answer("POST", COMMENTS, 502).applied(),
        Fault::answer("POST", COMMENTS, 500).applied(),
        Fault::drop("POST", COMMENTS).applied(),
        Fault::hang("POST", COMMENTS).applied(),
        Fault::answer("POST", COMMENTS, 201).body("{").applied(),
    ] {
        let github = github();
        github.fault(fault.clone());
        let forge = forge(&github);
        assert!(matches!(upsert(&forge, &sticky(1, "one")).await, Upserted::Created { .. }), "{fault:?}");
        assert_eq!(ours(&github), [sticky(1, "one").body()], "{fault:?}");
        assert_eq!(sent(&github, "POST"), 1 + 1, "{fault:?}");
    }
}

#[tokio::test]
async fn f3_a_post_is_sent_again_only_after_looking() {
    for fault in [Fault::answer("POST", COMMENTS, 502), Fault::drop("POST", COMMENTS), Fault::hang("POST", COMMENTS)] {
        let github = github();
        github.fault(fault.clone());
        upsert(&forge(&github), &sticky(1, "one")).await;
        let order: Vec<_> =
            github.journal().into_iter().filter(|entry| entry.path != "/graphql").map(|e| e.method).collect();
        assert_eq!(order, ["GET", "POST", "GET", "POST"], "{fault:?}");
        assert_eq!(ours(&github).len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn f3_gives_up_within_its_patience_and_says_why() {
    let cases = [
        (Fault::answer("GET", COMMENTS, 403).header("retry-after", "3600"), "asks to wait 3600 s"),
        (Fault::answer("GET", COMMENTS, 422), "422: scripted fault"),
        (Fault::answer("GET", COMMENTS, 403), "403: scripted fault"),
        (Fault::answer("POST", COMMENTS, 404), "404: scripted fault"),
        (Fault::answer("POST", COMMENTS, 403).body(r#"{"message":"a\r\n::error::b"}"#), "403: a  ::error::b"),
    ];
    for (fault, expected) in cases {
        let github = github();
        github.fault(fault);
        let begun = tokio::time::Instant::now();
        let error = forge(&github).upsert_sticky(PR, &sticky(1, "one"), &|_| true).await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(expected), "{expected}: {source}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{expected}");
        assert_eq!(github.comments(PR).len(), 0, "{expected}");
    }
}

#[tokio::test]
async fn f3_a_forge_that_stays_broken_is_left_in_bounded_time() {
    let github = github();
    (0..40).for_each(|_| github.fault(Fault::answer("GET", COMMENTS, 502)));
    let error = forge(&github).find_sticky(PR, &Marker::new("shop", "prod")).await.unwrap_err();
    assert_eq!(error.to_string(), "list the comments of #7");
    assert_eq!(sent(&github, "GET"), 6);
    // All operations of a run share one time limit. The time that one operation has used is not available to the next.
    let short = Patience { total: Duration::from_millis(900), attempt: Duration::from_millis(800), ..patience() };
    let github = self::github();
    (0..3).for_each(|_| github.fault(Fault::hang("GET", COMMENTS)));
    let forge = Forge::new(ForgeSettings { patience: short, ..settings(&github) }).unwrap();
    assert!(forge.find_sticky(PR, &Marker::new("shop", "prod")).await.is_err());
    assert_eq!(github.journal().len(), 1 + 2);
    assert!(forge.find_sticky(PR, &Marker::new("shop", "prod")).await.is_err());
    assert_eq!(github.journal().len(), 1 + 2 + 1);
}

#[tokio::test]
async fn f3_a_limit_on_the_question_of_identity_is_not_taken_for_an_answer() {
    let github = github();
    github.act_as_user("deploy-bot");
    (0..6).for_each(|_| github.fault(Fault::answer("POST", "/graphql", 403).header("retry-after", "0")));
    (0..6).for_each(|_| github.fault(Fault::answer("GET", "/user", 403).header("retry-after", "0")));
    assert!(forge(&github).upsert_sticky(PR, &sticky(1, "one"), &|_| true).await.is_err());
    assert_eq!(github.comments(PR).len(), 0);
}

#[tokio::test]
async fn f3_a_forge_that_is_not_there_is_an_error() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = ForgeSettings { api_url: format!("http://{closed}"), ..settings(&github()) };
    let error = Forge::new(settings).unwrap().pull(PR).await.unwrap_err();
    assert!(matches!(&error, ForgeError::Call { source: Cause::Transport(_), .. }), "{error:?}");
}

#[tokio::test]
async fn f4_a_superseded_run_does_not_overwrite_a_newer_one() {
    let github = github();
    upsert(&forge(&github), &sticky_of("prod", 20, 2, "newer head")).await;
    for (run_id, attempt) in [(19, 1), (19, 9), (20, 1)] {
        let old = upsert(&forge(&github), &sticky_of("prod", run_id, attempt, "older head")).await;
        let Upserted::Superseded { by, .. } = old else { panic!("{run_id}.{attempt}: {old:?}") };
        assert_eq!((by.run_id, by.attempt), (20, 2));
    }
    assert_eq!(github.writes().len(), 1);
    for (run_id, attempt) in [(20, 2), (20, 3), (21, 1)] {
        let next = upsert(&forge(&github), &sticky_of("prod", run_id, attempt, "next")).await;
        assert!(matches!(next, Upserted::Edited { .. }), "{run_id}.{attempt}: {next:?}");
    }
}

#[tokio::test]
async fn f4_a_run_superseded_while_it_retries_stops() {
    let github = github();
    upsert(&forge(&github), &sticky(1, "one")).await;
    github.fault(Fault::answer("PATCH", EDIT, 403).header("retry-after", "1"));
    let forge = forge(&github);
    let written = sticky(2, "two");
    let newer = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        upsert(&self::forge(&github), &sticky(3, "three")).await
    };
    let (old, new) = tokio::join!(upsert(&forge, &written), newer);
    assert!(matches!(old, Upserted::Superseded { .. }), "{old:?}");
    assert!(matches!(new, Upserted::Edited { .. }), "{new:?}");
    assert_eq!(ours(&github), [sticky(3, "three").body()]);
}

#[tokio::test]
async fn f4_the_content_writes_of_a_run_are_limited() {
    let github = github();
    let forge = forge(&github);
    // Refused and unanswered writes without an effect do not count. An unanswered write that took effect counts.
    github.fault(Fault::answer("POST", COMMENTS, 429));
    github.fault(Fault::answer("PATCH", EDIT, 502));
    github.fault(Fault::answer("PATCH", EDIT, 502).applied());
    for number in 0..27 {
        upsert(&forge, &sticky(1, &format!("{number}"))).await;
    }
    let error = forge.upsert_sticky(PR, &sticky(1, "more"), &|_| true).await.unwrap_err();
    assert!(matches!(error, ForgeError::TooManyWrites { limit: 27, .. }), "{error:?}");
    assert_eq!(github.faults_left(), 0);
    assert_eq!(github.writes().len(), 27);
    assert_eq!(ours(&github), [sticky(1, "26").body()]);
    assert!(matches!(upsert(&forge, &sticky(1, "26")).await, Upserted::Unchanged { .. }), "reading is not writing");
}

#[tokio::test]
async fn x8_a_newer_run_is_believed_only_if_the_caller_says_so() {
    let github = github();
    upsert(&forge(&github), &sticky(1, "one")).await;
    // Another workflow with the same token claims to be a later run.
    let id = github.comments(PR)[0].id;
    github.edit_comment(id, &sticky(999_999, "forged").body());
    let doubts = |told: &Freshness| told.seal.is_some();
    let written = forge(&github).upsert_sticky(PR, &sticky(2, "two"), &doubts).await.unwrap();
    assert!(matches!(written, Upserted::Edited { .. }), "{written:?}");
    assert_eq!(ours(&github), [sticky(2, "two").body()]);
}

#[tokio::test]
async fn x8_of_several_comments_the_newest_one_that_the_caller_believes_is_edited() {
    let github = github();
    let sealed = |run, text: &str| {
        let sticky = sticky(run, text);
        Sticky { freshness: Freshness { seal: Some("c2VhbA==".into()), ..sticky.freshness }, ..sticky }
    };
    let forged = sticky(999_999, "forged").body();
    for body in [&sealed(1, "old").body(), &sealed(2, "new").body(), &forged] {
        github.add_comment(PR, ACTIONS_BOT, body);
    }
    let doubts = |told: &Freshness| told.seal.is_some();
    forge(&github).upsert_sticky(PR, &sealed(3, "now"), &doubts).await.unwrap();
    assert_eq!(ours(&github), [sealed(1, "old").body(), sealed(3, "now").body(), forged]);
}

#[tokio::test]
async fn f2_a_comment_that_is_too_long_is_not_sent() {
    let github = github();
    let head = sticky(1, "").body().chars().count();
    let fits = sticky(1, &"é".repeat(BODY_LIMIT - head));
    assert!(matches!(upsert(&forge(&github), &fits).await, Upserted::Created { .. }));
    let error =
        forge(&github).upsert_sticky(PR, &sticky(2, &"é".repeat(BODY_LIMIT - head + 1)), &|_| true).await.unwrap_err();
    assert!(matches!(error, ForgeError::TooLong { limit: BODY_LIMIT, .. }), "{error:?}");
    assert_eq!(github.writes().len(), 1);
}

#[tokio::test]
async fn f7_every_operation_works_below_every_base_path() {
    for flavor in [Flavor::GitHub, Flavor::Enterprise, Flavor::Gitea] {
        let github = github_as(flavor);
        let merge = "c".repeat(40);
        let files = (0..120).map(|n| (format!("{n}.yaml"), None)).collect();
        github.add_pull(FakePull { files, head_repository: None, ..FakePull::new(8).merged_as(&merge) });
        github.set_permission("octo-cat", "write");
        let slashed = ForgeSettings { api_url: format!("{}/", github.url()), ..settings(&github) };
        let forge = Forge::new(slashed).unwrap();
        upsert(&forge, &sticky(1, "one")).await;
        assert!(matches!(upsert(&forge, &sticky(2, "two")).await, Upserted::Edited { .. }), "{flavor:?}");
        let pulls = forge.pulls_of_commit(&merge).await.unwrap();
        assert_eq!(
            pulls.iter().map(|pull| (pull.number, pull.merged, pull.open)).collect::<Vec<_>>(),
            [(8, true, false)]
        );
        assert_eq!(pulls[0], forge.pull(8).await.unwrap());
        assert!(pulls[0].from_fork && !forge.pull(PR).await.unwrap().from_fork);
        assert_eq!(forge.pulls_of_commit(&"d".repeat(40)).await.unwrap(), [], "{flavor:?}");
        assert_eq!(forge.pull_files(8).await.unwrap().paths.len(), 120, "{flavor:?}");
        match flavor {
            // A job's token may not ask there.
            Flavor::Gitea => assert_eq!(forge.permission("octo-cat").await.unwrap_err().status(), Some(403)),
            _ => assert_eq!(forge.permission("octo-cat").await.unwrap(), Permission::Write),
        }
        assert!(github.journal().iter().all(|entry| !entry.path.contains("//")));
    }
}

#[tokio::test]
async fn s4_limits_of_file_lists_are_noticed() {
    let github = github();
    for (count, expected, truncated) in
        [(0, 0, false), (2_999, 2_999, false), (3_000, 3_000, true), (3_505, 3_000, true)]
    {
        let files = (0..count).map(|n| (format!("dir/{n}.yaml"), None)).collect();
        github.add_pull(FakePull { files, ..FakePull::new(9) });
        let files = forge(&github).pull_files(9).await.unwrap();
        assert_eq!((files.paths.len(), files.truncated), (expected, truncated), "{count}");
    }
    let (base, head) = ("a".repeat(40), "b".repeat(40));
    for (count, expected, truncated) in [(0, 0, false), (299, 299, false), (300, 300, true), (301, 300, true)] {
        let paths: Vec<_> = (0..count).map(|n| format!("{n}.yaml")).collect();
        github.set_comparison(&base, &head, "ahead", &paths);
        let compared = forge(&github).compare_files(&base, &head).await.unwrap();
        assert_eq!((compared.files.paths.len(), compared.files.truncated), (expected, truncated), "{count}");
        assert_eq!(compared.relation, Some(Relation::Ahead));
        assert_eq!(compared.merge_base_sha.as_ref(), Some(&base));
    }
}

#[tokio::test]
async fn s4_renamed_files_count_under_both_names_and_unreadable_names_as_unknown() {
    let github = github();
    let files = vec![("b/x.yaml".to_owned(), Some("a/x.yaml".to_owned()))];
    github.add_pull(FakePull { files, ..FakePull::new(9) });
    let expected = Files { paths: ["a/x.yaml", "b/x.yaml"].map(str::to_owned).into(), truncated: false };
    assert_eq!(forge(&github).pull_files(9).await.unwrap(), expected);
    github.add_pull(FakePull { files: vec![("b/\u{fffd}.yaml".to_owned(), None)], ..FakePull::new(9) });
    assert!(forge(&github).pull_files(9).await.unwrap().truncated);
}

#[tokio::test]
async fn s5_the_forge_tells_how_commits_relate() {
    let (base, head) = ("main", "b".repeat(40));
    let relations = [
        ("ahead", Relation::Ahead),
        ("behind", Relation::Behind),
        ("identical", Relation::Identical),
        ("diverged", Relation::Diverged),
    ];
    for flavor in [Flavor::GitHub, Flavor::Gitea] {
        let github = github_as(flavor);
        for (status, expected) in relations {
            github.set_comparison(base, &head, status, &[]);
            let compared = forge(&github).compare_files(base, &head).await.unwrap();
            assert_eq!(compared.relation, Some(expected), "{flavor:?}");
            assert_eq!(compared.files.truncated, flavor == Flavor::Gitea);
        }
        let unknown = "c".repeat(40);
        assert!(forge(&github).compare_files(&unknown, base).await.is_err(), "an unknown commit is not an answer");
    }
}

#[tokio::test]
async fn s5_a_comparison_that_tells_nothing_is_not_an_answer() {
    let github = github_as(Flavor::Gitea);
    let (base, head) = ("a".repeat(40), "b".repeat(40));
    // Two different commits cannot be identical.
    github.set_comparison(&base, &head, "identical", &[]);
    assert_eq!(forge(&github).compare_files(&base, &head).await.unwrap().relation, None);
    for body in ["{}", r#"{"commits": []}"#, r#"{"status": "unheard of", "total_commits": 0}"#] {
        github.fault(Fault::answer("GET", "/compare/", 200).body(body));
        assert_eq!(forge(&github).compare_files(&base, &head).await.unwrap().relation, None, "{body}");
    }
}

#[tokio::test]
async fn f9_permissions_are_read_and_strangers_have_none() {
    let github = github();
    for (name, expected) in [
        ("admin", Permission::Admin),
        ("write", Permission::Write),
        ("read", Permission::Read),
        ("none", Permission::None),
    ] {
        github.set_permission("octocat", name);
        assert_eq!(forge(&github).permission("octocat").await.unwrap(), expected);
    }
    assert_eq!(forge(&github).permission("../../user").await.unwrap(), Permission::None);
    assert!(github.journal().last().unwrap().path.contains("/collaborators/..%2F..%2Fuser/permission"));
    github.fault(Fault::answer("GET", "/permission", 403));
    assert!(forge(&github).permission("octocat").await.is_err(), "a refusal is no permission, and no answer");
}

#[tokio::test]
async fn p5_the_token_reaches_the_forge_alone() {
    let github = github();
    let wrong = ForgeSettings { token: Token::new("ghs_wrong_canary").unwrap(), ..settings(&github) };
    assert!(!format!("{wrong:?}").contains("canary"));
    let error = Forge::new(wrong).unwrap().upsert_sticky(PR, &sticky(1, "one"), &|_| true).await.unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
    // A redirect to another host does not send the token there.
    let elsewhere = FakeGitHub::start();
    elsewhere.add_pull(FakePull::new(PR));
    let target = format!("{}/repos/{REPOSITORY}/pulls/7", elsewhere.url().replace("127.0.0.1", "localhost"));
    github.fault(Fault::answer("GET", "/pulls/7", 302).header("location", &target));
    let error = forge(&github).pull(PR).await.unwrap_err();
    assert_eq!(error.status(), Some(401), "{error:?}");
    assert!(!format!("{error:?}").contains(TOKEN));
}

#[tokio::test]
async fn the_fake_takes_methods_only_where_github_names_them() {
    let github = github();
    let id = github.add_comment(PR, ACTIONS_BOT, "x");
    let crab = |method: &str, path: String| (method.to_owned(), path);
    let cases = [
        (crab("POST", format!("/issues/comments/{id}")), 404),
        (crab("PUT", format!("/issues/comments/{id}")), 404),
        (crab("PATCH", "/issues/7/comments".to_owned()), 404),
        (crab("PATCH", format!("/issues/comments/{id}")), 200),
        (crab("POST", "/issues/7/comments".to_owned()), 201),
        (crab("POST", "/issues/8/comments".to_owned()), 404),
        (crab("GET", "/nonsense".to_owned()), 404),
    ];
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    for ((method, path), status) in cases {
        let request = http::Request::builder()
            .method(method.as_str())
            .uri(format!("{}/repos/{REPOSITORY}{path}", github.url()))
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("user-agent", "test")
            .body(http_body_util::Full::<bytes::Bytes>::from(r#"{"body":"y"}"#))
            .unwrap();
        assert_eq!(client.request(request).await.unwrap().status().as_u16(), status, "{method} {path}");
    }
    let undocumented = github.take_undocumented();
    assert_eq!(undocumented.len(), 4, "{undocumented:#?}");
    assert!(undocumented.iter().all(|why| why.ends_with("is not a documented operation")), "{undocumented:#?}");
}

/// Returns the comment of a summary with one part.
fn summary(run_id: u64, root: &str, block: Option<&str>) -> Sticky {
    let block = block.map(|block| hidden_block("review", block).expect("base64"));
    Sticky {
        marker: Marker::summary("deploy", 1),
        hidden: [part_line(root, "prod")].into_iter().chain(block).collect(),
        text: format!("{}\n\n## {root} of {run_id}\n\n{}", section_line(root, "prod"), sections_end()),
        ..sticky(run_id, "")
    }
}

#[tokio::test]
async fn f17_the_plan_of_the_latest_run_is_the_first_in_whichever_comment_it_stands() {
    let github = github();
    let forge = forge(&github);
    let review = async |root: &str| {
        let plan = forge.find_plans(PR, root, "prod").await.unwrap().ok()?.remove(0);
        Some((plan.review, plan.section.map(|section| section.text)))
    };
    assert_eq!(review("shop").await, None);
    upsert(&forge, &sticky(1, "own")).await;
    assert_eq!(review("shop").await, Some((Some("cnVu.1".into()), None)));
    upsert(&forge, &summary(2, "shop", Some("c3Vt.2"))).await;
    let of_summary = Some((Some("c3Vt.2".into()), Some("## shop of 2".to_owned())));
    assert_eq!(review("shop").await, of_summary);
    assert_eq!(review("other").await, None);
    upsert(&forge, &summary(3, "shop", None)).await;
    assert_eq!(review("shop").await, Some((None, Some("## shop of 3".into()))));
    upsert(&forge, &sticky(4, "own")).await;
    assert_eq!(review("shop").await, Some((Some("cnVu.4".into()), None)));
    // A summary of another root does not hide it, and nobody else's comment counts.
    upsert(&forge, &Sticky { marker: Marker::summary("other", 1), ..summary(5, "other", Some("b3Ro.5")) }).await;
    github.add_comment(PR, "mallory", &summary(9, "shop", Some("Zm9y.9")).body());
    assert_eq!(review("shop").await, Some((Some("cnVu.4".into()), None)));
    assert_eq!(forge.find_plans(PR, "shop", "dev").await.unwrap(), Err(None));
}

#[tokio::test]
async fn f17_a_new_comment_for_each_run_leaves_one_that_counts() {
    let github = github();
    let forge = forge(&github);
    let (marker, outdated) = (Marker::new("shop", "prod"), Marker::outdated("shop", "prod"));
    let believes = |_: &Freshness| true;
    let post = async |run: u64| {
        let posted = forge.post(PR, &sticky(run, &format!("plan {run}")), Posting::Anew, &believes).await.unwrap();
        let outdate = |text: &str, url: &str| format!("older than {url}: {text}");
        forge.outdate(PR, (&marker, &outdated), &outdate, &believes).await.unwrap();
        posted
    };
    for run in 1..=3 {
        assert!(matches!(post(run).await, Upserted::Created { .. }), "{run}");
    }
    let bodies = ours(&github);
    assert_eq!(bodies.len(), 3);
    assert_eq!(bodies.iter().filter(|body| marker.opens(body)).collect::<Vec<_>>(), [&sticky(3, "plan 3").body()]);
    for (run, body) in [(1, &bodies[0]), (2, &bodies[1])] {
        assert!(outdated.opens(body) && body.ends_with(&format!(": plan {run}")), "{body}");
        assert!(!body.contains("review"), "an outdated comment has no block: {body}");
    }
    // The comments that were outdated before are not written again.
    assert_eq!(sent(&github, "PATCH"), 2);
    // A run that is late leaves the newer comment alone.
    assert!(matches!(post(2).await, Upserted::Superseded { by: Freshness { run_id: 3, .. }, .. }));
    assert_eq!(ours(&github), bodies);
    // If it wrote nevertheless, because both ran at once, its own comment becomes the outdated one.
    github.add_comment(PR, ACTIONS_BOT, &sticky(2, "late").body());
    let outdate = |text: &str, _: &str| text.to_owned();
    forge.outdate(PR, (&marker, &outdated), &outdate, &believes).await.unwrap();
    let counting: Vec<String> = ours(&github).into_iter().filter(|body| marker.opens(body)).collect();
    assert_eq!(counting, [sticky(3, "plan 3").body()]);
}

#[tokio::test]
async fn f17_a_new_comment_whose_answer_is_lost_is_not_posted_twice() {
    let github = github();
    github.fault(Fault::drop("POST", COMMENTS).applied());
    let believes = |_: &Freshness| true;
    let posted = forge(&github).post(PR, &sticky(1, "one"), Posting::Anew, &believes).await.unwrap();
    assert!(matches!(posted, Upserted::Created { .. }), "{posted:?}");
    assert_eq!(ours(&github), [sticky(1, "one").body()]);
}

#[tokio::test]
async fn f19_the_status_of_a_commit_is_set_once_on_every_kind_of_forge() {
    let status = CommitStatus {
        context: "ktor/shop".into(),
        state: CommitState::Failure,
        description: format!("{}\nsecond line", "ä".repeat(150)),
        url: "https://ghe.example/acme/shop/actions/runs/7".into(),
    };
    for flavor in [Flavor::GitHub, Flavor::Enterprise, Flavor::Gitea] {
        let github = github_as(flavor);
        let sha = "a".repeat(40);
        forge(&github).set_status(&sha, &status).await.unwrap();
        let set = github.statuses();
        assert_eq!(set.len(), 1, "{flavor:?}");
        assert_eq!((&set[0].sha, set[0].context.as_str(), set[0].state.as_str()), (&sha, "ktor/shop", "failure"));
        assert_eq!(set[0].description, format!("{}…", "ä".repeat(139)));
        assert_eq!(set[0].target_url, status.url);
        // A token without the permission is told at once.
        github.fault(Fault::answer("POST", "/statuses/", 403));
        let refused = forge(&github).set_status(&sha, &status).await.unwrap_err();
        assert_eq!((refused.status(), sent(&github, "POST")), (Some(403), 2));
        // A status whose answer is lost may stand.
        github.fault(Fault::drop("POST", "/statuses/").applied());
        assert_eq!(forge(&github).set_status(&sha, &status).await.unwrap_err().status(), None);
        assert_eq!((github.statuses().len(), sent(&github, "POST")), (2, 3));
        // A limit is waited for.
        github.fault(Fault::answer("POST", "/statuses/", 429));
        forge(&github).set_status(&sha, &status).await.unwrap();
        assert_eq!(github.statuses().len(), 3);
    }
}

#[tokio::test]
async fn f15_a_run_is_read_and_repeated_on_every_kind_of_forge() {
    for flavor in [Flavor::GitHub, Flavor::Enterprise, Flavor::Gitea] {
        let github = github_as(flavor);
        let (head, forge) = ("a".repeat(40), forge(&github));
        github.add_run(42, FakeRun::of_pull(&head, "failure"));
        let read = forge.workflow_run(42).await.unwrap();
        let expected = WorkflowRun { event: "pull_request".into(), head_sha: head, conclusion: Some("failure".into()) };
        assert_eq!(read, expected, "{flavor:?}");
        forge.repeat_run(42, RepeatedJobs::Failed).await.unwrap();
        assert_eq!(github.run(42).repeated, ["rerun-failed-jobs"]);
        assert_eq!(forge.workflow_run(42).await.unwrap().conclusion, None, "it runs");
        let refused = forge.repeat_run(42, RepeatedJobs::All).await.unwrap_err();
        assert_eq!(refused.status(), Some(403));
        assert_eq!(forge.workflow_run(43).await.unwrap_err().status(), Some(404));
    }
}

//! The comments on eight sample pull requests: a reviewer sees first what matters most, and every changed value.

mod trees;

use ktor_action::git::commit::Commit;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use support::github::{FakeGitHub, FakePull};
use support::repository::TestRepository;
use support::workflow_run::{PULL, WorkflowRun, opened};
use trees::Sample;

/// The comment on a pull request of a sample, without the hidden blocks and with stable names for what differs from run
/// to run.
struct Comment {
    text: String,
    /// The length of the whole comment, in characters.
    length: usize,
}

/// Runs the action on the sample's pull request, without a cluster.
fn comment(sample: Sample, inputs: &[(&str, &str)]) -> Comment {
    let repository = TestRepository::new();
    (sample.base)(&repository);
    let base = repository.commit("base");
    // The clone of the workflow fetches the base branch.
    repository.git(["remote", "add", "origin", &repository.url()]);
    repository.branch("feature", "main");
    (sample.head)(&repository);
    let head = repository.commit("head");
    let forge = FakeGitHub::start();
    forge.add_pull(FakePull { head_sha: head.to_string(), base_sha: base.to_string(), ..FakePull::new(PULL) });
    let folder = tempfile::tempdir().unwrap();
    let run =
        WorkflowRun { ktor: env!("CARGO_BIN_EXE_ktor"), forge: &forge, folder: folder.path().join("run"), number: 1 };
    let inputs: Vec<(&str, &str)> = inputs.iter().copied().chain([("KTOR_INPUT_PATH", "deploy")]).collect();
    let ran = run.act(&repository, &opened(&head, &base), None, &inputs);
    let comments = forge.comments(PULL);
    let [comment] = comments.as_slice() else { panic!("{}", ran.log) };
    let is_hidden = |line: &&str| line.starts_with("<!--") && line.ends_with("-->");
    let lines: Vec<&str> = comment.body.lines().filter(|line| !is_hidden(line)).collect();
    let text = masked(lines.join("\n").trim_start(), &forge.server_url(), &base, &head);
    Comment { text, length: comment.body.chars().count() }
}

fn masked(text: &str, server: &str, base: &Commit, head: &Commit) -> String {
    let mut text = text.replace(server, "https://forge.example");
    for (commit, name) in [(base, "BASE"), (head, "HEAD")] {
        text = text.replace(&commit.as_str()[..12], name);
    }
    let Some((before, digest)) = text.split_once("Digest: `") else { panic!("{text}") };
    format!("{before}Digest: `DIGEST{}", &digest[64..])
}

impl Comment {
    /// Checks that a forge takes the comment, and that nothing in it is left open.
    fn is_valid(&self) -> &Self {
        assert!(self.length <= 60_000, "{} characters", self.length);
        let text = &self.text;
        assert_eq!(text.lines().filter(|line| line.starts_with("```")).count() % 2, 0, "{text}");
        assert_eq!(text.matches("<details").count(), text.matches("</details>").count(), "{text}");
        let mut fences = 0;
        let mut last = String::new();
        for event in Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_GFM) {
            match event {
                Event::Start(Tag::CodeBlock(_)) => fences += 1,
                Event::End(TagEnd::CodeBlock) => fences -= 1,
                Event::Html(html) | Event::InlineHtml(html) => last = html.into_string(),
                _ => {}
            }
        }
        // The parser sees the last line as HTML, so nothing before it is left open.
        assert!(fences == 0 && last.trim_end().ends_with("</sub>"), "{text}");
        self
    }

    /// The lines that a reader sees first. Empty lines count.
    fn first(&self, count: usize) -> String {
        self.text.lines().take(count).collect::<Vec<_>>().join("\n")
    }

    /// Checks that the lines of all differences contain these texts.
    fn shows(&self, changed: impl IntoIterator<Item = String>) {
        let differences: Vec<&str> = self.text.lines().filter(|line| line.starts_with(['+', '-', '|'])).collect();
        for value in changed {
            assert!(differences.iter().any(|line| line.contains(&value)), "{value} in {}", self.text);
        }
    }
}

#[test]
fn f18_a_tiny_plan_is_one_screen() {
    let comment = comment(trees::TINY, &[]);
    assert!(comment.is_valid().text.lines().count() <= 24, "{}", comment.text);
    insta::assert_snapshot!("tiny", comment.text);
}

#[test]
fn f18_risks_and_deletions_stand_first() {
    let comment = comment(trees::FORTY, &[]);
    let first = comment.is_valid().first(40);
    for text in [
        // Kept.
        "`PersistentVolumeClaim shop/reports`",
        "`--allow-volume-deletion`",
        // Risks.
        "| 🔴 | `ClusterRole shop-reader` | now grants `*` as resources and verbs",
        "| 🔴 | `Deployment shop/identity-api` | spec.selector is immutable",
        "| 🟠 | `Deployment shop/checkout-worker` | replicas from 3 to 0",
        "| 🟠 | `Service shop/catalog-frontend` | type from ClusterIP to LoadBalancer",
        "| 🟠 | `Service shop/identity-api` | spec.selector changes",
        "| 🟠 | `Deployment shop/search-api` | image registry.example.com/search/api:latest",
        "| 🟡 | `Ingress shop/shop` | hosts from shop.example.com",
        "(/acme/shop/blob/HEAD/deploy/identity/api.yaml",
        // Deletions.
        "### 3 to delete",
        "| `Deployment shop/reporting-worker` | `shop.reporting` |",
        "| `Service shop/reporting-worker` | `shop.reporting` |",
        "| `ConfigMap shop/reporting-worker` | `shop.reporting` |",
        "(/acme/shop/blob/BASE/deploy/reporting/worker.yaml",
    ] {
        assert!(first.contains(text), "{text} in\n{first}");
    }
    insta::assert_snapshot!("forty", comment.text);
}

#[test]
fn f18_what_is_equal_in_a_fleet_is_stated_once() {
    let comment = comment(trees::FLEET, &[]);
    comment.is_valid();
    for text in ["`ConfigMap` `fleet/svc-00-00`", "`Deployment` `fleet/svc-00-00`"] {
        assert!(comment.text.contains(&format!("**The same change 399 times:** {text}")), "{}", comment.text);
    }
    comment.shows(["memory: 256Mi", "memory: 512Mi", "SIDECAR: v1", "SIDECAR: v2"].map(str::to_owned));
    let first = comment.first(40);
    for kind in ["ConfigMap", "Deployment"] {
        assert!(first.contains(&format!("| `{kind} fleet/svc-39-09` |")), "{first}");
    }
    assert!(!comment.text.contains("not shown"), "{}", comment.text);
}

#[test]
fn f18_no_changed_value_is_invisible() {
    let comment = comment(trees::LONG, &[]);
    comment.is_valid();
    // A forge shows about this many columns without scrolling.
    let wide = |line: &&str| line.starts_with(['+', '-']) && !line.starts_with("- ") && line.chars().count() > 110;
    assert_eq!(comment.text.lines().filter(wide).collect::<Vec<_>>(), [""; 0]);
    let values = (0..60).filter(|n| n % 2 == 0).map(|n| format!("value: value-{n}-new"));
    comment.shows(values);
    comment.shows(
        [
            "APP_INSERTED",
            "value: hello",
            "APP_SETTING_03",
            "type: integer",
            "Deprecated.",
            "fieldNew",
            "[1m]",
            "--max-time 5",
        ]
        .map(str::to_owned),
    );
    comment.shows(["backend-7-green".to_owned()]);
    assert_eq!(comment.text.matches("Deprecated.").count(), 20);
    assert_eq!(comment.text.matches("type: integer").count(), 2);
    insta::assert_snapshot!("long", comment.text);
}

#[test]
fn f18_moves_and_edits_of_lists_are_short() {
    let comment = comment(trees::MOVES, &[]);
    comment.is_valid().shows(
        ["--log-level=debug", "--trace", "key: spot", "cart-config-b81d0", "app: web", "yyyyyyyyyy"].map(str::to_owned),
    );
    assert!(!comment.text.contains("--cache-size"), "{}", comment.text);
    insta::assert_snapshot!("moves", comment.text);
}

#[test]
fn f18_secrets_are_shown_as_such() {
    let comment = comment(trees::SECRETS, &[]);
    comment.is_valid();
    for secret in ["oldpassword", "newpassword", "supersecret", "hostname", "client-secret"] {
        assert!(!comment.text.contains(secret), "{secret} in {}", comment.text);
    }
    assert!(comment.text.contains("!data: (secret, changed)"), "{}", comment.text);
    insta::assert_snapshot!("secrets", comment.text);
}

/// Returns the number of listed objects, and the number that a line says is left out.
fn counted(comment: &Comment, prefix: &str) -> (usize, usize) {
    // A name has no spaces, and a sentence of a list has.
    let is_listed = |line: &&str| line.strip_prefix(prefix).is_some_and(|name| prefix != "- " || !name.contains(' '));
    let listed = comment.text.lines().filter(is_listed).count();
    let more = comment
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("… and ")?.split_once(" more")?.0.parse::<usize>().ok());
    (listed, more.sum())
}

#[test]
fn f18_thousands_of_deletions_are_whole_or_counted() {
    for (sample, count) in [(trees::MASS, 5_000), (trees::LONG_NAMES, 3_600)] {
        // Nothing allows so many deletions, so they are kept.
        let kept = comment(sample, &[]);
        kept.is_valid();
        assert!(kept.first(1).contains(": refused, "), "{}", kept.first(3));
        assert!(
            kept.first(12).contains(&format!("> - **{count} objects**, [`ConfigMap mass/svc-")),
            "{}",
            kept.first(12)
        );
        let (listed, more) = counted(&kept, "  ConfigMap  ");
        assert!(listed > 500 && listed + more == count, "{listed} {more}");

        let deleted = comment(sample, &[("KTOR_INPUT_ALLOW_MASS_DELETION", "true")]);
        deleted.is_valid();
        assert!(deleted.first(9).contains(&format!("### {count} to delete")), "{}", deleted.first(9));
        let (listed, more) = counted(&deleted, "- ");
        assert!(listed > 500 && listed + more == count, "{listed} {more}");
    }
}

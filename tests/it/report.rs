//! The reports: their content for a reviewer, their length, and the rule that no text in them takes effect.

use std::collections::BTreeSet;
use std::path::Path;

use ktor_action::object::ident::{Ident, ObjectKey};
use ktor_action::object::refusal::{FieldConflict, Refusal};
use ktor_action::plan::build::{Plan, PlanMode};
use ktor_action::plan::change::{Change, FieldChange, Neighbor, ShownValue, Step};
use ktor_action::plan::decision::{
    Adopt, Blocked, Contents, Create, Decision, Delete, Finding, Keep, Move, Protection, Release, ServerRefusal,
    Unchanged, Unknown, Update, Withheld,
};
use ktor_action::plan::guard::{Guard, TreeDoubt};
use ktor_action::plan::notice::Notice;
use ktor_action::plan::outcome::{Detail, ObjectOutcome, Outcome, Verdict};
use ktor_action::plan::risk::{Risk, Weight};
use ktor_action::project::path::ProjectPath;
use ktor_action::project::snapshot::SourcePlace;
use ktor_action::report::markdown::Markdown;
use ktor_action::report::terminal::Style;
use ktor_action::report::{Budget, Heading, html, json as documents, markdown, summary, terminal};
use pulldown_cmark::{Event, Options, Parser, Tag};
use serde_json::json;

const COMMENT: usize = 60_000;
const COMMIT: &str = "1111111111111111111111111111111111111111";
const SUMMARY: usize = 900 * 1024;

fn key(kind: &str, name: &str) -> ObjectKey {
    let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) => (Some(namespace.to_owned()), name),
        None => (None, name),
    };
    ObjectKey { group: group.to_owned(), kind: kind.to_owned(), namespace, name: name.to_owned() }
}

fn project(text: &str) -> ProjectPath {
    text.parse().unwrap()
}

fn change(decision: Decision, kind: &str, name: &str, of: &str) -> Change {
    Change {
        decision,
        ident: Ident { key: key(kind, name), version: "v1".into() },
        project: project(of),
        from: None,
        place: None,
        uid: None,
        resource_version: None,
        diff: vec![],
        risks: vec![],
        body: None,
        pods: None,
    }
}

/// Returns a changed field. The values are JSON. In the path, a dot separates names, and brackets hold an item's key.
fn field(path: &str, before: Option<&str>, after: Option<&str>) -> FieldChange {
    let value = |text: &str| ShownValue::Plain(serde_json::from_str(text).unwrap());
    let mut steps = Vec::new();
    let mut near = Vec::new();
    for part in path.split('.') {
        let (name, item) = part.split_once('[').map_or((part, None), |(name, item)| (name, Some(item)));
        steps.push(Step::Field(name.to_owned()));
        if let Some((name, value)) = item.and_then(|item| item.strip_suffix(']')?.split_once('=')) {
            steps.push(Step::Item { before: Some(0), after: Some(0), key: Some(format!("{name}={value}")) });
            near.push(Neighbor { depth: steps.len(), name: name.to_owned(), value: value.into() });
        }
    }
    near.retain(|near| near.depth < steps.len());
    FieldChange { path: path.into(), before: before.map(value), after: after.map(value), steps, near }
}

const UNDESIRED: Decision = Decision::Delete(Delete::Undesired);
const AS_DESIRED: Decision = Decision::Unchanged(Unchanged::AsDesired);

fn empty() -> Plan {
    Plan {
        root: project("demo"),
        mode: PlanMode::Server,
        scope: BTreeSet::from([project("demo"), project("demo.shop")]),
        changes: vec![],
        cleanup: vec![],
        refusals: vec![],
        broken: vec![],
        own: BTreeSet::new(),
        unready: BTreeSet::new(),
        pending: BTreeSet::new(),
        notices: vec![],
        digest: "5e".repeat(32),
    }
}

fn heading() -> Heading<'static> {
    Heading {
        takes_commands: false,
        target: "demo",
        root: None,
        cluster: Some("prod-eu"),
        base: Some("1111111111111111111111111111111111111111"),
        head: Some("2222222222222222222222222222222222222222"),
        run: Some("https://forge.example/demo/actions/runs/7"),
        directory: Some(Path::new("deploy")),
        files: Some("/acme/shop/blob"),
    }
}

/// Returns a plan with one change of every kind.
fn full() -> Plan {
    let mut update = change(Decision::Update(Update::Differs), "Deployment.apps", "shop/web", "demo.shop");
    update.diff = vec![
        field("spec.replicas", Some("3"), Some("2")),
        field("spec.template.spec.containers[name=web].image", Some("\"web:1.4\""), Some("\"web:1.5\"")),
        field(
            "spec.template.spec.containers[name=proxy]",
            None,
            Some(r#"{"image":"proxy:2","ports":[{"containerPort":8080}]}"#),
        ),
    ];
    let mut config = change(Decision::Move(Move::Checked), "ConfigMap", "shop/settings", "demo.shop");
    config.from = Some(project("demo"));
    config.diff = vec![
        field("data.app.conf", Some(r#""a = 1\nb = 2\nc = 3\nd = 4\n""#), Some(r#""a = 1\nb = 20\nc = 3\nd = 4\n""#)),
        field("data.motd", Some("\"hello\""), None),
    ];
    let mut blocked = change(
        Refusal::Conflict(vec![FieldConflict { field: ".spec.replicas".into(), manager: "autoscaler".into() }]).into(),
        "Deployment.apps",
        "shop/api",
        "demo.shop",
    );
    blocked.place = Some(SourcePlace::new("shop/api.yaml", 12, 1));
    update.place = Some(SourcePlace::new("shop/web.yaml", 1, 1));
    update.risks = vec![Risk::FewerReplicas(3, 2)];
    update.pods = Some(3);
    let mut created = change(Decision::Create(Create::New), "Namespace", "till", "demo");
    created.body = Some(
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "till", "labels": {"a": "b"}}}).into(),
    );
    let mut deleted = change(UNDESIRED, "Namespace", "old-shop", "demo");
    deleted.risks = vec![Risk::Removal(Weight::High)];
    deleted.place = Some(SourcePlace::new("old.yaml", 7, 1));
    let mut replaced =
        change(Decision::Replace(Refusal::Invalid("field is immutable".into())), "Job.batch", "shop/seed", "demo.shop");
    replaced.risks = vec![Risk::Immutable("/spec/template")];
    Plan {
        changes: vec![
            created,
            replaced,
            change(Decision::Create(Create::Unchecked(key("Namespace", "till"))), "ConfigMap", "till/rates", "demo"),
            change(Decision::Adopt(Adopt::Unmarked), "Service", "shop/web", "demo.shop"),
            config,
            blocked,
            update,
            change(AS_DESIRED, "Secret", "shop/key", "demo.shop"),
        ],
        cleanup: vec![
            deleted,
            change(UNDESIRED, "Deployment.apps", "old-shop/web", "demo.shop"),
            change(
                Decision::Keep(Keep::Protected(Protection::Annotation("kubernator.io/cleanup"))),
                "PersistentVolumeClaim",
                "shop/books",
                "demo.shop",
            ),
            change(Decision::Release(Release::Foreign("other.api".into())), "ConfigMap", "shop/lent", "demo.shop"),
        ],
        refusals: vec![TreeDoubt::MoreThanHalf { deleted: 25, live: 31 }],
        notices: vec![Notice::Unchecked(1)],
        ..empty()
    }
}

#[test]
fn a_plan_says_first_what_is_deleted_and_refused() {
    let Markdown { text, omitted, .. } = markdown::plan(&full(), &heading(), Budget::COMMENT);
    assert_eq!(omitted, 0);
    insta::assert_snapshot!(text);
}

#[test]
fn a_plan_on_a_terminal_ends_with_what_matters_most() {
    insta::assert_snapshot!(terminal::plan(&full(), &heading(), Style::Plain));
    let colored = terminal::plan(&full(), &heading(), Style::Color);
    insta::assert_snapshot!("a_plan_on_a_terminal_with_colors", colored);
}

#[test]
fn an_empty_plan_reads_well() {
    let say = |plan: &Plan| {
        let text = markdown::plan(plan, &heading(), Budget::COMMENT).text;
        text.lines().nth(2).unwrap().to_owned()
    };
    let mut plan = empty();
    assert_eq!(say(&plan), "Nothing to do.");
    plan.changes = vec![change(AS_DESIRED, "Secret", "a/b", "demo")];
    assert_eq!(say(&plan), "Nothing to do: 1 object is as desired.");
    plan.cleanup = vec![change(Decision::Keep(Keep::Protected(Protection::CleanupOff)), "Secret", "a/c", "demo")];
    assert_eq!(say(&plan), "Nothing to do: 1 object is as desired, 1 kept.");
    plan = Plan { scope: BTreeSet::new(), ..empty() };
    assert_eq!(say(&plan), "Nothing to do: no project is in scope.");
    plan.mode = PlanMode::Offline;
    assert_eq!(say(&plan), "Compared with the base tree: nothing to do: no project is in scope.");
    assert!(markdown::plan(&plan, &heading(), Budget::COMMENT).text.starts_with("## Offline plan of `demo`"));
    assert!(terminal::plan(&plan, &heading(), Style::Plain).starts_with("plan for demo on prod-eu, offline,"));
}

fn happened(verdict: Verdict, kind: &str, name: &str, message: Option<&str>) -> ObjectOutcome {
    ObjectOutcome {
        key: key(kind, name),
        project: project("demo"),
        verdict,
        detail: message.map(|text| Detail::Message(text.to_owned())),
    }
}

fn incomplete() -> Outcome {
    Outcome {
        applied: vec![
            happened(Verdict::Created, "Namespace", "till", None),
            happened(Verdict::Configured, "Deployment.apps", "shop/web", None),
            happened(Verdict::Failed, "Deployment.apps", "shop/api", Some("spec.replicas: must not be negative")),
            happened(Verdict::Failed, "Job.batch", "shop/seed", Some("deadline exceeded")),
            happened(Verdict::Skipped, "Ingress.networking.k8s.io", "shop/web", Some("needs Service shop/web")),
            happened(Verdict::Unchanged, "Secret", "shop/key", None),
        ],
        cleaned: vec![],
    }
}

#[test]
fn a7_an_incomplete_apply_names_what_failed_first() {
    let mut plan = full();
    plan.refusals.clear();
    let outcome = incomplete();
    let error = Some("apply demo: 2 objects failed");
    insta::assert_snapshot!(markdown::outcome(&plan, &outcome, &heading(), error, Budget::COMMENT).text);
    insta::assert_snapshot!(terminal::outcome(&plan, &outcome, Style::Plain), @r"
    namespace/till created
    deployment.apps/web configured (shop)
    deployment.apps/api failed (shop): spec.replicas: must not be negative
    job.batch/seed failed (shop): deadline exceeded
    ingress.networking.k8s.io/web skipped (shop): needs Service shop/web
    persistentvolumeclaim/books kept (shop): its annotation kubernator.io/cleanup says so
    note: 1 object is not yet checked by the server: what it needs comes first in the same run.
    1 created, 1 configured, 2 failed, 1 skipped, 1 kept; 1 unchanged.
    ");
}

#[test]
fn r16_an_apply_that_leaves_something_unready_names_it_and_says_that_all_else_was_done() {
    let mut plan = full();
    plan.refusals.clear();
    plan.notices.clear();
    let mut outcome = incomplete();
    let sick = "it was not ready before this run: pod web-1: Unschedulable";
    outcome.applied.retain(|object| !matches!(object.verdict, Verdict::Failed | Verdict::Skipped));
    outcome.applied.push(happened(Verdict::Unready, "Deployment.apps", "shop/api", Some(sick)));
    outcome.applied.push(happened(Verdict::Unready, "Job.batch", "shop/seed", Some("deadline exceeded")));
    let text = markdown::outcome(&plan, &outcome, &heading(), None, Budget::COMMENT).text;
    let (before, _) = text.split_once("### Not deleted").unwrap_or((&text, ""));
    insta::assert_snapshot!(before, @r"
    ## Applied `demo` on `prod-eu`

    1 created, 1 configured, **2 unready**, 1 kept; 1 unchanged.

    > [!CAUTION]
    > **Not ready:** `Deployment.apps shop/api`: it was not ready before this run: pod web-1: Unschedulable
    >
    > Everything else was done and is recorded.

    ### Also not ready

    ```text
    Job.batch shop/seed
      deadline exceeded
    ```
    ");
    insta::assert_snapshot!(terminal::outcome(&plan, &outcome, Style::Plain), @r"
    namespace/till created
    deployment.apps/web configured (shop)
    deployment.apps/api unready (shop): it was not ready before this run: pod web-1: Unschedulable
    job.batch/seed unready (shop): deadline exceeded
    persistentvolumeclaim/books kept (shop): its annotation kubernator.io/cleanup says so
    1 created, 1 configured, 2 unready, 1 kept; 1 unchanged.
    ");
    let json = serde_json::to_value(documents::outcome(&plan, &outcome, &heading(), None)).unwrap();
    assert_eq!(
        (&json["complete"], &json["summary"]["unready"], &json["error"]),
        (&false.into(), &2.into(), &serde_json::Value::Null)
    );
    // If the state could not be written at the end, the run is not finished.
    let text = markdown::outcome(&plan, &outcome, &heading(), Some("failed to write"), Budget::COMMENT).text;
    insta::assert_snapshot!("an_apply_whose_state_could_not_be_written", text);
}

#[test]
fn a_complete_apply_says_what_was_deleted_and_what_stays() {
    let outcome = Outcome {
        applied: vec![happened(Verdict::Unchanged, "Secret", "shop/key", None)],
        cleaned: vec![happened(Verdict::Deleted, "ConfigMap", "shop/old", None)],
    };
    let mut plan = full();
    plan.notices.clear();
    let text = markdown::outcome(&plan, &outcome, &heading(), None, Budget::COMMENT).text;
    insta::assert_snapshot!(text);
}

#[test]
fn a_refused_apply_says_why_nothing_was_done() {
    let error = Some("the plan is refused");
    let text = markdown::outcome(&full(), &Outcome::default(), &heading(), error, Budget::COMMENT).text;
    insta::assert_snapshot!(text);
}

#[test]
fn a_plan_that_could_not_be_made_still_has_a_report() {
    insta::assert_snapshot!(markdown::failure(&heading(), "read shop/api.yaml\n  3:5: a tab\u{1b}[0m\n```"), @r"
    ## No plan for `demo` on `prod-eu`

    > [!CAUTION]
    > **The plan could not be made.** Nothing was changed.

    ````text
    read shop/api.yaml
      3:5: a tab\u{1b}[0m
    ```
    ````

    <sub>from `111111111111` to `222222222222` · [run](https://forge.example/demo/actions/runs/7)</sub>
    ");
}

#[test]
fn json_keys_keep_their_order() {
    let text = documents::text(&documents::plan(&full(), &heading())).unwrap();
    let keys = |depth: usize| -> Vec<&str> {
        let indent = "  ".repeat(depth);
        let lines = text.lines().filter_map(|line| line.strip_prefix(&indent)?.strip_prefix('"'));
        lines.map(|line| line.split('"').next().unwrap()).collect()
    };
    assert_eq!(
        keys(1),
        [
            "formatVersion",
            "root",
            "target",
            "mode",
            "base",
            "head",
            "cluster",
            "scope",
            "summary",
            "changes",
            "cleanup",
            "refusals",
            "notices",
            "digest"
        ]
    );
    assert_eq!(keys(3)[..8], ["action", "reason", "key", "apiVersion", "project", "from", "source", "diff"]);
    insta::assert_snapshot!(documents::text(&documents::plan(&empty(), &heading())).unwrap());
    let outcome = incomplete();
    let document: serde_json::Value =
        serde_json::to_value(documents::outcome(&full(), &outcome, &heading(), None)).unwrap();
    assert_eq!(document["complete"], false);
    assert_eq!(document["summary"]["failed"], 2);
    assert_eq!(document["applied"][2]["message"], "spec.replicas: must not be negative");
}

#[test]
fn f5_json_text_means_the_same_and_is_safe_in_a_log() {
    let mut plan = empty();
    plan.notices = vec![Notice::GroupUnavailable("a ##[error]b \u{202e}c \u{1f600} ä \u{e0041} ::x\r".into())];
    let document = serde_json::to_value(documents::plan(&plan, &heading())).unwrap();
    let text = documents::text(&documents::plan(&plan, &heading())).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), document);
    assert!(!text.contains("##[") && !text.contains('\u{202e}') && !text.contains('\u{e0041}'), "{text}");
    assert!(text.contains("\u{1f600} ä"), "{text}");
}

/// The structure of a report, as an independent Markdown parser sees it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    links: Vec<String>,
    headings: usize,
    items: usize,
    html: Vec<String>,
    /// The text outside of code.
    words: String,
    code: String,
}

fn read(text: &str) -> Seen {
    let mut seen = Seen::default();
    let mut in_code = false;
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_GFM
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_MATH;
    for event in Parser::new_ext(text, options) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                seen.links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => seen.headings += 1,
            Event::Start(Tag::Item) => seen.items += 1,
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(pulldown_cmark::TagEnd::CodeBlock) => in_code = false,
            Event::Html(html) | Event::InlineHtml(html) => seen.html.push(html.into_string()),
            Event::Code(text) => seen.code.push_str(&text),
            Event::Text(text) if in_code => seen.code.push_str(&text),
            Event::Text(text) => {
                seen.words.push_str(&text);
                seen.words.push(' ');
            }
            Event::InlineMath(text) | Event::DisplayMath(text) => panic!("math: {text}"),
            Event::FootnoteReference(text) => panic!("footnote: {text}"),
            Event::TaskListMarker(_) => panic!("a task"),
            _ => {}
        }
    }
    seen
}

/// Texts that take effect unless they are made inert.
const CORPUS: [&str; 34] = [
    "[click](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "<https://evil.example>",
    "https://evil.example/?x",
    "www.evil.example",
    "a@evil.example",
    "@org/team",
    "please ask @org/team, or #123, or GH-123, or org/repo#1, !5",
    "0123456789abcdef0123456789abcdef01234567",
    "# heading",
    "a\n# heading\n\nparagraph",
    "a\r\n===\r\n",
    "- item\n- item",
    "1. item",
    "> quote",
    "`code` ``two`` ```three```",
    "```\n# heading\n",
    "````\n@org/team\n````",
    "~~~\n@org/team",
    "<!-- ktor",
    "--> @org/team",
    "</details></code></summary>@org/team<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt; &#64;org/team",
    "a | b | c |",
    "\\| \\` \\",
    "`",
    "**bold** __bold__ ~~gone~~ $x$ $$y$$ [^1] - [ ] task",
    "\u{202e}evil\u{2066}\u{200b}@\u{200b}org/team",
    "::error::x",
    " ##[error]x",
    "x\r::set-output name=a::b",
    "\u{1b}[2J\u{1b}]8;;https://evil.example\u{7}x",
    "",
];

/// Returns a plan with one text in every place that can have a text.
fn hostile(text: &str) -> Plan {
    let with = |decision: Decision| {
        let mut change = change(decision, "Kind", "namespace/name", "demo");
        change.ident.key =
            ObjectKey { group: text.into(), kind: text.into(), namespace: Some(text.into()), name: text.into() };
        change.place = Some(SourcePlace::new(text, 1, 1));
        change
    };
    let json = serde_json::Value::from(text).to_string();
    let long = serde_json::Value::from(format!("{text}\n{text}\nx")).to_string();
    let nested = json!({text: [text, {text: text}]}).to_string();
    let item = |key: &str| Step::Item { before: Some(0), after: Some(0), key: Some(key.to_owned()) };
    let name = |name: &str| Step::Field(name.to_owned());
    let at = |steps: Vec<Step>, field: FieldChange| {
        let near = vec![Neighbor { depth: 0, name: text.to_owned(), value: text.into() }];
        FieldChange { steps, near, ..field }
    };
    let field = |path: &str, before, after| FieldChange { path: path.to_owned(), ..field("x", before, after) };
    let secret = FieldChange { before: Some(ShownValue::Secret), ..field(text, None, None) };
    let order = |items: &[&str]| Some(ShownValue::Order(items.iter().map(ToString::to_string).collect()));
    let mut update = with(Decision::Update(Update::Differs));
    update.diff = vec![
        field(text, Some(&json), Some(&nested)),
        field(text, Some(&long), Some("\"x\"")),
        secret,
        FieldChange { before: order(&[text, "x"]), after: order(&["x", text]), ..field(text, None, None) },
        at(vec![name(text), item(text), name(text), Step::Document, name(text)], field(text, Some(&json), None)),
        at(vec![name("containers"), item(text), name("image")], field(text, Some(&json), Some("\"x:1\""))),
    ];
    update.risks = vec![
        Risk::MovingImage(text.into()),
        Risk::ClusterBinding(text.into()),
        Risk::Hosts(vec![text.into()], vec![text.into(), text.into()]),
        Risk::ServiceType(text.into(), text.into()),
    ];
    let mut moved = update.clone();
    moved.decision = Decision::Move(Move::Checked);
    let object = || key("ConfigMap", text);
    let invalid = || Refusal::Invalid(text.into());
    let conflict = || vec![FieldConflict { field: text.into(), manager: text.into() }];
    let refused = ServerRefusal { refusal: invalid(), null: Some(text.into()), obstacle: Some(key("ConfigMap", text)) };
    let held = Contents::Listed { first: vec![object()], count: 2, unseen: vec![text.into(), text.into()] };
    Plan {
        changes: vec![
            update,
            moved,
            Change {
                body: Some(json!({text: [text, {text: long}]}).into()),
                ..with(Decision::Create(Create::Unchecked(object())))
            },
            with(Decision::Create(Create::AfterItsEnd(vec![text.into()]))),
            with(Decision::Replace(invalid())),
            with(Decision::Keep(Keep::Irreplaceable(invalid(), Protection::Volume))),
            with(Decision::Blocked(Blocked::Refused(refused.clone()))),
            with(Refusal::Conflict(conflict()).into()),
            with(Refusal::Beside(conflict()).into()),
            with(Decision::Blocked(Blocked::Foreign(text.into()))),
            with(Decision::Blocked(Blocked::SameObject { other: object(), place: Some(text.into()) })),
            with(Decision::Blocked(Blocked::Needs(object()))),
            with(Decision::Blocked(Blocked::Unrendered(text.into()))),
            with(Decision::Adopt(Adopt::Unmarked)),
            with(Decision::Adopt(Adopt::From(text.into()))),
        ],
        cleanup: vec![
            Change { body: Some(json!({text: text}).into()), ..with(UNDESIRED) },
            with(Decision::Delete(Delete::AfterDeletionOf(object()))),
            with(Decision::Keep(Keep::Unknown(Unknown::Message(text.into())))),
            with(Decision::Keep(Keep::NeededBy(object()))),
            with(Decision::Keep(Keep::Withheld(Withheld::RefusedBy(object())))),
            with(Decision::Keep(Keep::Guarded(Guard::Foreign, Finding::Contents(held.clone())))),
            with(Decision::Release(Release::Foreign(text.into()))),
            with(Decision::Blocked(Blocked::Refused(refused))),
        ],
        refusals: vec![
            TreeDoubt::StateMoved { from: text.into(), to: text.into() },
            TreeDoubt::MoreThanHalf { deleted: 25, live: 31 },
        ],
        notices: vec![
            Notice::GroupUnavailable(text.to_owned()),
            Notice::AdoptedManagers(vec![text.to_owned()]),
            Notice::OtherTool { object: object(), tool: text.to_owned() },
            Notice::AlsoDeleted { holder: object(), contents: held },
            Notice::BaseUnreadable { commit: text.to_owned(), why: text.to_owned() },
            Notice::LeftEarlier { count: 2, first: object(), decision: invalid().into() },
        ],
        ..empty()
    }
}

/// Returns the text as the address of the run's page, unless it is a real address. The caller provides this address, so
/// only a text that is not an address must be inert.
fn address(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.starts_with("https://"))
}

/// Returns every Markdown report with one text in all its places.
fn reports(text: &str) -> Vec<String> {
    let plan = hostile(text);
    let heading = Heading {
        takes_commands: false,
        target: text,
        root: None,
        cluster: Some(text),
        base: Some(text),
        head: Some(text),
        run: address(text),
        directory: None,
        files: None,
    };
    let object = |verdict| ObjectOutcome {
        key: plan.changes[0].ident.key.clone(),
        project: project("demo"),
        verdict,
        detail: Some(Detail::Message(text.to_owned())),
    };
    let outcome = Outcome {
        applied: Verdict::ALL.into_iter().chain([Verdict::Failed, Verdict::Unready]).map(object).collect(),
        cleaned: vec![object(Verdict::Deleted)],
    };
    let linking = Heading { base: Some(COMMIT), head: Some(COMMIT), files: self::heading().files, ..heading };
    vec![
        markdown::plan(&plan, &linking, Budget::COMMENT).text,
        markdown::plan(&plan, &heading, Budget::COMMENT).text,
        markdown::plan(&plan, &heading, Budget::COMMENT.less(COMMENT / 2)).text,
        markdown::outcome(&plan, &outcome, &heading, Some(text), Budget::COMMENT).text,
        markdown::outcome(&plan, &Outcome::default(), &heading, Some(text), Budget::COMMENT).text,
        markdown::failure(&heading, text),
        markdown::note(&heading, text),
    ]
}

#[test]
fn f5_untrusted_text_is_inert_in_markdown() {
    let harmless = reports("harmless");
    for text in CORPUS {
        for (expected, report) in harmless.iter().zip(reports(text)) {
            let (expected, seen) = (read(expected), read(&report));
            let context = format!("{text:?} in\n{report}");
            // The structure is the same as with a harmless text.
            assert_eq!(seen.links.len(), expected.links.len(), "{context}");
            for link in &seen.links {
                assert!(link.starts_with("/acme/shop/blob/111111111111/"), "{link} in {context}");
            }
            assert_eq!(seen.headings, expected.headings, "{context}");
            assert_eq!(seen.items, expected.items, "{context}");
            assert_eq!(tags(&seen), tags(&expected), "{context}");
            // A forge finds no mention, reference or address outside of code.
            for sign in ["@", "#", "://", "www.", "GH-", "!5", "`", "|", "<", "$", "~", "*", "0123456789abcdef"] {
                assert!(!seen.words.contains(sign), "{sign} of {context}");
            }
            assert!(report.chars().all(|c| c == '\n' || !c.is_control()), "{context}");
            assert!(!report.contains(['\u{202e}', '\u{2066}', '\u{200b}']), "{context}");
            assert_eq!(report.matches("<details").count(), report.lines().filter(|l| *l == "</details>").count());
        }
    }
}

/// Every text that a plan leaves for a summary passes the check of the summary.
#[test]
fn f17_every_text_of_a_plan_is_contained() {
    let site = "https://forge.example";
    let check = |plan: &Plan, heading: &Heading<'_>, root: &str| {
        let mut texts: Vec<String> =
            Budget::SECTIONS.iter().map(|budget| markdown::plan(plan, heading, *budget).text).collect();
        texts.push(markdown::brief(plan, heading));
        for text in texts {
            assert!(markdown::is_contained(&text, root, heading.target, site), "{text}");
        }
    };
    for plan in [empty(), full(), many(30, 30, 30), many(300, 300, 3_000)] {
        for target in ["demo", "prod"] {
            let heading = Heading { target, root: Some("demo"), takes_commands: true, ..heading() };
            check(&plan, &heading, "demo");
        }
    }
    for text in CORPUS.into_iter().chain(["harmless", "a#b@c:d"]) {
        let heading = Heading {
            target: text,
            root: Some("demo"),
            cluster: Some(text),
            base: Some(text),
            head: Some(text),
            ..heading()
        };
        check(&hostile(text), &heading, "demo");
        for text in [markdown::failure(&heading, text), markdown::note(&heading, text)] {
            assert!(markdown::is_contained(&text, "demo", heading.target, site), "{text}");
        }
    }
}

#[test]
fn f5_untrusted_text_is_inert_on_a_page() {
    let page = |text: &str| {
        let heading = Heading {
            takes_commands: false,
            target: text,
            root: None,
            cluster: Some(text),
            base: Some(text),
            head: Some(text),
            run: address(text),
            directory: None,
            files: None,
        };
        html::plan(&hostile(text), &heading)
    };
    let elements = |page: &str| -> Vec<String> {
        let tags = page.split('<').skip(1).map(|tag| tag.split('>').next().unwrap().to_owned());
        // The number of lines in a difference depends on its text.
        tags.filter(|tag| !tag.contains("span")).collect()
    };
    let harmless = page("harmless");
    for (tag, count) in [("<h1>", 1), ("<h2", 6), ("<table>", 5), ("<details>", 2), ("class=\"refused\"", 2)] {
        assert_eq!(harmless.matches(tag).count(), count, "{tag} in {harmless}");
    }
    for text in CORPUS {
        let page = page(text);
        assert_eq!(elements(&page), elements(&harmless), "{text:?} in\n{page}");
        assert!(!page.contains(['\u{202e}', '\u{200b}', '\u{1b}', '\r']), "{page}");
    }
}

/// Returns the HTML tags, without the text between them. The content of `<code>` must be text and add no tag.
fn tags(seen: &Seen) -> Vec<String> {
    // The number of lines decides if a section is open.
    let html = seen.html.concat().replace("<details open>", "<details>");
    let tags: Vec<String> =
        html.split('<').skip(1).map(|tag| tag.split('>').next().unwrap_or_default().to_owned()).collect();
    // A forge also finds mentions in the text of HTML, but not inside of `<code>`.
    let outside: String = html.split("<code>").map(|part| part.split("</code>").last().unwrap_or_default()).collect();
    assert!(!outside.contains('@') && !outside.contains("#1"), "{outside}");
    tags
}

#[test]
fn f5_untrusted_text_is_inert_in_a_terminal_and_a_log() {
    for text in CORPUS {
        let plan = hostile(text);
        let heading = Heading {
            takes_commands: false,
            target: text,
            root: None,
            cluster: Some(text),
            base: Some(text),
            head: Some(text),
            run: address(text),
            directory: None,
            files: None,
        };
        let object = ObjectOutcome {
            key: plan.changes[0].ident.key.clone(),
            project: project("demo"),
            verdict: Verdict::Failed,
            detail: Some(Detail::Message(text.to_owned())),
        };
        let outcome = Outcome { applied: vec![object], cleaned: vec![] };
        for report in [terminal::plan(&plan, &heading, Style::Plain), terminal::outcome(&plan, &outcome, Style::Plain)]
        {
            for line in report.lines() {
                assert!(!line.trim_start().starts_with("::"), "{line}");
                assert!(!line.contains("##["), "{line}");
                assert!(!line.chars().any(char::is_control), "{line:?}");
                assert!(!line.contains(['\u{202e}', '\u{2066}', '\u{200b}']), "{line:?}");
            }
        }
    }
}

fn many(updates: usize, creations: usize, deletions: usize) -> Plan {
    let lines = ["line\\n"; 12].concat();
    let update = |n: usize| {
        let mut change =
            change(Decision::Update(Update::Differs), "ConfigMap", &format!("shop/settings-{n:04}"), "demo.shop");
        // Some differences are longer than others.
        let value = format!("\"{}{n}\"", lines.repeat(n % 5));
        change.diff = vec![field("data.a", Some(&value), Some("\"x\\ny\"")), field("data.b", None, Some("1"))];
        change
    };
    let create = |n: usize| change(Decision::Create(Create::New), "Secret", &format!("shop/new-{n:04}"), "demo.shop");
    let delete = |n: usize| change(UNDESIRED, "Service", &format!("shop/old-{n:04}"), "demo");
    Plan {
        changes: (0..updates).map(update).chain((0..creations).map(create)).collect(),
        cleanup: (0..deletions).map(delete).collect(),
        ..empty()
    }
}

fn check_whole(text: &str, most: usize) {
    assert!(text.len() <= most, "{} bytes", text.len());
    assert_eq!(text.lines().filter(|line| line.starts_with("```")).count() % 2, 0);
    assert_eq!(text.matches("<details").count(), text.matches("</details>").count());
    // The parser sees the last line as HTML, so nothing before it is left open.
    assert!(read(text).html.concat().ends_with("</sub>"), "{}", &text[text.len() - 200..]);
}

/// Returns the number of changes that are shown in detail.
fn detailed(text: &str) -> usize {
    text.lines()
        .filter(|line| line.starts_with('`') && (line.ends_with(" · update") || line.ends_with(" · create")))
        .count()
}

/// Returns the number of changes that are only named.
fn named(text: &str) -> usize {
    text.matches("\n! update").count() + text.matches("\n+ create").count()
}

#[test]
fn f2_a_comment_on_5000_changes_fits_and_counts() {
    let plan = many(5_000, 0, 300);
    let Markdown { text, omitted, .. } = markdown::plan(&plan, &heading(), Budget::COMMENT);
    check_whole(&text, COMMENT);
    assert!(text.len() > COMMENT - 4_000, "only {} bytes used", text.len());
    assert!(text.starts_with("## `demo` → `prod-eu`: 300 to delete, 5000 to update\n"), "{text}");
    assert_eq!(text.matches("\n- Service").count(), 300);
    let shown = detailed(&text);
    assert!(text.contains(&format!("{} changes not shown here, in the step summary", 5_000 - shown)), "{text}");
    let more = format!("… and {} more, in the step summary", 5_000 - shown - named(&text));
    assert!(text.contains(&more), "{more}: {text}");
    assert_eq!(omitted, 5_000 - shown);
    assert!(text.contains("[step summary](https://forge.example/"));

    let whole = markdown::plan(&plan, &heading(), Budget::FILE);
    assert_eq!((whole.omitted, detailed(&whole.text)), (0, 5_000));

    let Markdown { text, omitted, .. } = summary::plan(&plan, &heading());
    check_whole(&text, SUMMARY);
    let shown = detailed(&text);
    assert!(shown > 2_000, "{shown}");
    assert_eq!(omitted, 5_000 - shown);
    assert_eq!(shown + named(&text), 5_000, "every object is named");
}

/// F13: a merge deletes what the comment or the summary shows. Beside the signed block, the comment has little room.
#[test]
fn f13_ten_thousand_deletions_with_long_names_stand_in_the_summary() {
    let deleted = (0..10_000).map(|number| {
        let mut change = many(0, 0, 1).cleanup.remove(0);
        change.ident.key.namespace = Some("n".repeat(63));
        change.ident.key.name = format!("{number:05}{}", "x".repeat(58));
        change
    });
    let plan = Plan { cleanup: deleted.collect(), ..empty() };
    let whole = summary::plan(&plan, &heading());
    check_whole(&whole.text, SUMMARY);
    assert_eq!((whole.deletions, whole.text.matches("\n- ").count()), (10_000, 10_000));
    let comment = markdown::plan(&plan, &heading(), Budget::COMMENT.less(49_000));
    check_whole(&comment.text, COMMENT - 49_000);
    assert_eq!(comment.text.matches("\n- ").count(), comment.deletions);
    assert!(comment.deletions < 10_000 && comment.text.contains(", in the step summary"));
}

#[test]
fn f2_differences_go_before_lists_and_lists_before_deletions() {
    // Everything fits.
    let Markdown { text, omitted, .. } = markdown::plan(&many(20, 30, 20), &heading(), Budget::COMMENT);
    assert_eq!((omitted, detailed(&text)), (0, 50));
    // Differences are left out, the longest first. Every object is named.
    let Markdown { text, omitted, .. } = markdown::plan(&many(300, 100, 200), &heading(), Budget::COMMENT);
    check_whole(&text, COMMENT);
    let shown = detailed(&text);
    assert!(omitted > 0 && shown > 50, "{omitted} {shown}");
    assert_eq!((omitted, shown + named(&text)), (400 - shown, 400));
    assert_eq!(text.matches("\n- Service").count(), 200);
    assert!(text.contains("settings-0000` · update") && !text.contains("settings-0004` · update"));
    // Lists are cut, and deletions are not.
    let Markdown { text, omitted, .. } = markdown::plan(&many(1_000, 1_000, 1_000), &heading(), Budget::COMMENT);
    check_whole(&text, COMMENT);
    assert_eq!(text.matches("\n- Service").count(), 1_000);
    let (shown, named) = (detailed(&text), named(&text));
    assert!(named < 2_000 - shown, "{shown} {named}");
    assert!(text.contains(&format!("… and {} more, in the step summary", 2_000 - shown - named)), "{text}");
    assert_eq!(omitted, 2_000 - shown);
}

#[test]
fn f2_a_list_of_deletions_that_does_not_fit_is_counted() {
    let Markdown { text, omitted, .. } = markdown::plan(&many(10, 10, 3_000), &heading(), Budget::COMMENT);
    check_whole(&text, COMMENT);
    assert!(text.contains("### 3000 to delete\n\n3000 in `demo`"), "{text}");
    // The names alone take less room.
    assert!(text.contains("\nService in shop, project demo:\n- old-0000\n- old-0001\n"), "{text}");
    let shown = text.matches("\n- old-").count();
    assert!(shown == 3_000 || text.contains(&format!("… and {} more, in the step summary.", 3_000 - shown)), "{text}");
    assert!(omitted >= 3_000 - shown);
    let text = summary::plan(&many(10, 10, 3_000), &heading()).text;
    assert_eq!(text.matches("\n- Service").count(), 3_000);
}

#[test]
fn f2_objects_that_stay_are_all_named_or_counted() {
    let mut plan = many(0, 0, 3_000);
    for change in &mut plan.cleanup {
        change.decision =
            Decision::Keep(Keep::Guarded(Guard::MassDeletion, Finding::Share { count: 3_000, live: 3_000, most: 300 }));
        plan.own.insert(change.ident.key.clone());
    }
    let Markdown { text, omitted, .. } = markdown::plan(&plan, &heading(), Budget::COMMENT);
    check_whole(&text, COMMENT);
    assert!(text.contains("> - **3000 objects**, `Service shop/old-0000`"), "{text}");
    let shown = text.matches("\n  Service").count();
    assert!(shown > 1_000 && omitted == 3_000 - shown, "{shown} {omitted}");
    assert!(text.contains(&format!("… and {} more, in the step summary.", 3_000 - shown)), "{text}");
}

#[test]
fn f2_what_is_equal_is_stated_once() {
    let mut plan = many(400, 0, 0);
    for change in &mut plan.changes {
        change.diff = vec![field("data.a", Some("1"), Some("2"))];
    }
    plan.changes[7].diff = vec![field("data.a", Some("1"), Some("3"))];
    let Markdown { text, omitted, .. } = markdown::plan(&plan, &heading(), Budget::COMMENT);
    check_whole(&text, COMMENT);
    assert_eq!((omitted, detailed(&text)), (0, 1));
    assert!(text.contains("**The same change 399 times:** `ConfigMap` `shop/settings-0000`"), "{text}");
    assert_eq!(text.matches("\nshop/settings-").count(), 399, "the list names every object");
}

#[test]
fn f2_any_plan_fits_any_budget() {
    let long = "[@x](y) `".repeat(200);
    let mut plans: Vec<Plan> = vec![empty(), full(), hostile(&long)];
    let mut plan = many(300, 300, 300);
    let mut all = hostile(&long);
    for _ in 0..40 {
        plan.changes.extend(all.changes.iter().cloned());
        plan.cleanup.extend(all.cleanup.iter().cloned());
        plan.refusals.append(&mut all.refusals.clone());
        plan.notices.append(&mut all.notices.clone());
    }
    all.scope = (0..5_000).map(|n| project(&format!("demo.{}-{n}", "x".repeat(200)))).collect();
    plan.scope = all.scope.clone();
    for (change, project) in plan.changes.iter_mut().zip(&all.scope) {
        change.project = project.clone();
    }
    plans.push(plan);
    for plan in &plans {
        for bytes in [0, 12_288, 20_000, COMMENT] {
            let budget = Budget::COMMENT.less(COMMENT - bytes);
            let long_heading = Heading { target: &long, cluster: Some(&long), head: Some(&long), ..heading() };
            for heading in [heading(), long_heading] {
                check_whole(&markdown::plan(plan, &heading, budget).text, bytes.max(Budget::LEAST));
                let outcome = Outcome {
                    applied: plan
                        .changes
                        .iter()
                        .map(|change| ObjectOutcome {
                            key: change.ident.key.clone(),
                            project: change.project.clone(),
                            verdict: Verdict::Failed,
                            detail: Some(Detail::Message(long.clone())),
                        })
                        .collect(),
                    cleaned: vec![],
                };
                let report = markdown::outcome(plan, &outcome, &heading, Some(&long), budget);
                check_whole(&report.text, bytes.max(Budget::LEAST));
            }
        }
    }
}

/// Returns the creation of a ConfigMap or a Secret, or its deletion, with this manifest's data.
fn generation(decision: Decision, kind: &str, name: &str, data: &serde_json::Value) -> Change {
    let body = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "data": data});
    Change { body: Some(body.into()), ..change(decision, kind, &format!("shop/{name}"), "demo.shop") }
}

#[test]
fn r9_an_object_whose_generated_name_changes_is_one_difference() {
    let create = |kind, name, data| generation(Decision::Create(Create::New), kind, name, &data);
    let delete = |kind, name, data| generation(UNDESIRED, kind, name, &data);
    let plan = Plan {
        changes: vec![
            create("ConfigMap", "web-6ct58987ht", json!({"color": "green", "size": "7"})),
            create("Secret", "db-2g9kh8m4tt", json!({"password": "(secret)"})),
            create("ConfigMap", "till-2222222222", json!({"a": "b"})),
            create("ConfigMap", "other-2222222222", json!({"only": "new"})),
        ],
        cleanup: vec![
            delete("ConfigMap", "web-4c8t69bf9k", json!({"color": "blue", "size": "7"})),
            delete("Secret", "db-5555555555", json!({"password": "(secret)"})),
            // Two generations are deleted, so neither is the one that the new object follows.
            delete("ConfigMap", "till-4444444444", json!({"a": "x"})),
            delete("ConfigMap", "till-5555555555", json!({"a": "y"})),
        ],
        ..empty()
    };
    let text = markdown::plan(&plan, &heading(), Budget::COMMENT).text;
    let at = text.find("in place of `web-4c8t69bf9k`").unwrap_or_else(|| panic!("{text}"));
    let block = &text[at..at + text[at..].find("\n```\n").unwrap()];
    assert!(block.contains("-  color: blue") && block.contains("+  color: green"), "{block}");
    let shown = |name: &str| text.matches(name).count();
    for name in ["web-6ct58987ht", "db-2g9kh8m4tt"] {
        assert!(!text.contains(&format!("manifest of <code>ConfigMap shop/{name}")), "{text}");
    }
    // The deletion still stands among the deletions, with the new name.
    assert!(
        text.contains("web-6ct58987ht` takes its place") || text.contains("web-6ct58987ht takes its place"),
        "{text}"
    );
    assert_eq!((shown("in place of"), shown("takes its place")), (2, 2), "{text}");
    assert!(text.contains("in place of `db-5555555555`") && text.contains("(secret"), "{text}");
    assert!(text.contains("manifest of <code>ConfigMap shop/till-2222222222"), "{text}");
    assert!(text.contains("deleted manifest of <code>ConfigMap shop/till-4444444444"), "{text}");
    assert!(text.contains("manifest of <code>ConfigMap shop/other-2222222222"), "{text}");
    // A plan without the deleted manifest shows both as they are.
    let mut unknown = plan.clone();
    unknown.cleanup[0].body = None;
    assert!(!markdown::plan(&unknown, &heading(), Budget::COMMENT).text.contains("in place of `web-4c8t69bf9k`"));
    // What an earlier change removed is not this plan's own.
    let pending = BTreeSet::from([plan.cleanup[0].ident.key.clone()]);
    let earlier = Plan { pending, ..plan };
    assert!(!markdown::plan(&earlier, &heading(), Budget::COMMENT).text.contains("in place of `web-4c8t69bf9k`"));
}

//! The information that a plan reveals. Two live objects that must be indistinguishable give the same reports, byte for
//! byte, whatever a manifest guesses and wherever it puts its guesses.

use std::collections::{BTreeMap, BTreeSet};

use ktor_action::object::ident::{Ident, ObjectKey};
use ktor_action::object::kinds::Kinds;
use ktor_action::object::live::Live;
use ktor_action::object::manifest::Manifest;
use ktor_action::object::mark::{Root, stamp};
use ktor_action::object::redact::{Adopted, Redactor};
use ktor_action::object::refusal::{FieldConflict, Refusal};
use ktor_action::plan::build::{Baseline, Plan, PlanRequest, build};
use ktor_action::plan::change::ShownValue;
use ktor_action::plan::decision::Action;
use ktor_action::plan::observed::{DryRun, Lookup, Observed};
use ktor_action::plan::policy::{Policy, TakeOver};
use ktor_action::project::path::Segment;
use ktor_action::project::scope::{Scope, ScopeRequest};
use ktor_action::project::snapshot::SourcePlace;
use ktor_action::project::tree::Cleanup;
use ktor_action::report::terminal::Style;
use ktor_action::report::{Budget, Heading, html, json as documents, markdown, summary, terminal};
use ktor_action::state::payload::Entries;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const WORDS: [&str; 6] = ["hunter2", "letmein", "c2VjcmV0", "correct horse", "swordfish", "a"];
const NAMES: [&str; 4] = ["password", "token", "user", "k"];

fn root() -> Root {
    Root::new(Segment::new("demo").unwrap())
}

fn redactor(pointers: &[&str], adopted: Adopted) -> Redactor {
    Redactor::new(pointers.iter().map(|pointer| pointer.parse().unwrap()), adopted)
}

/// The owner of the live object.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whose {
    Ours,
    Nobody,
    Copied,
    AnotherRoot,
}

fn body(kind: &str, content: &Map<String, Value>) -> Value {
    let mut body = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "o", "namespace": "x"}});
    for (name, value) in content {
        if name == "metadata" {
            for (name, value) in value.as_object().unwrap() {
                body["metadata"][name] = value.clone();
            }
        } else {
            body[name] = value.clone();
        }
    }
    body
}

fn live(kind: &str, content: &Map<String, Value>, whose: Whose, version: &str) -> Live {
    let mut body = body(kind, content);
    body["metadata"]["uid"] = json!("u");
    body["metadata"]["resourceVersion"] = json!(version);
    let manager = if whose == Whose::Copied { "a-controller" } else { "ktor-demo" };
    body["metadata"]["managedFields"] = json!([
        {"manager": manager, "operation": "Apply", "apiVersion": "v1",
            "fieldsV1": {"f:metadata": {"f:annotations": {"f:kubernator.io/project": {}}}}},
        {"manager": "kubectl-edit", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:data": {}, "f:spec": {}}}]);
    match whose {
        Whose::Ours | Whose::Copied => stamp(&mut body, &root().project(), &root()),
        Whose::AnotherRoot => {
            let other = Root::new(Segment::new("other").unwrap());
            stamp(&mut body, &other.project(), &other);
        }
        Whose::Nobody => {}
    }
    Live { body }
}

/// Returns the object after the server applies the manifest, if other managers own all other live fields.
fn merged(live: &Value, desired: &Value) -> Value {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            let mut all = live.clone();
            for (name, value) in desired {
                let both = live.get(name).map_or(value.clone(), |was| merged(was, value));
                all.insert(name.clone(), both);
            }
            Value::Object(all)
        }
        (Value::Array(live), Value::Array(desired)) if desired.iter().all(|item| item.get("name").is_some()) => {
            let mut all: Vec<Value> = Vec::new();
            for item in desired {
                let was = live.iter().find(|was| was.get("name") == item.get("name"));
                all.push(was.map_or(item.clone(), |was| merged(was, item)));
            }
            let rest = live.iter().filter(|was| !all.iter().any(|item| item.get("name") == was.get("name")));
            let rest: Vec<Value> = rest.cloned().collect();
            all.extend(rest);
            Value::Array(all)
        }
        (_, desired) => desired.clone(),
    }
}

/// The server's answer about an object.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Applied,
    Proved,
    Invalid,
    Denied,
    Malformed,
    Unavailable,
    Immutable,
    Conflict,
}

const ANSWERS: [Answer; 8] = [
    Answer::Applied,
    Answer::Proved,
    Answer::Invalid,
    Answer::Denied,
    Answer::Malformed,
    Answer::Unavailable,
    Answer::Immutable,
    Answer::Conflict,
];

/// Returns every text in a value, as a server would quote it.
fn quoted(value: &Value) -> String {
    match value {
        Value::Object(map) => map.iter().map(|(name, value)| format!("{name}={} ", quoted(value))).collect(),
        Value::Array(items) => items.iter().map(quoted).collect(),
        value => format!("{value} {}", value.as_str().unwrap_or_default()),
    }
}

fn trial(answer: Answer, kind: &str, live: &Live, desired: &Value) -> DryRun {
    let mut after = Live { body: merged(&live.body, desired) };
    stamp(&mut after.body, &root().project(), &root());
    let content = |body: &Value| format!("{}{}", quoted(&body["data"]), quoted(&body["spec"]));
    let (was, wanted) = (content(&live.body), content(desired));
    let first = wanted.split_whitespace().next().unwrap_or_default().to_owned();
    match answer {
        Answer::Applied => DryRun::Applied(after),
        Answer::Proved => DryRun::Proved,
        Answer::Invalid => DryRun::Refused(Refusal::Invalid(format!(
            "{kind} \"o\" is invalid: metadata.labels: Invalid value: {:?}: {was}; data[{first}]: Required value",
            format!("{wanted} {was}"),
        ))),
        Answer::Denied => DryRun::Refused(Refusal::Denied(format!(
            "admission webhook \"a.b\" denied the request: {was} is not {wanted}"
        ))),
        Answer::Malformed => DryRun::Refused(Refusal::Malformed(format!(
            "failed to create typed patch object (x/o; v1, Kind={kind}): .spec: expected map, got {was}"
        ))),
        Answer::Unavailable => {
            DryRun::Refused(Refusal::Denied(format!("no answer: failed calling webhook \"a.b\": {was}")))
        }
        Answer::Immutable => DryRun::Immutable(Refusal::Invalid(format!(
            "data: Forbidden: field is immutable when `immutable` is set: core.Secret{{Data: {was:?}}}"
        ))),
        Answer::Conflict => {
            // A conflict names exactly the fields whose live values differ.
            let differing = |field: &str| {
                let wanted = desired[field].as_object().into_iter().flatten();
                let live = live.body[field].clone();
                wanted.filter(move |(name, value)| live.get(*name) != Some(*value)).map(|(name, _)| name.clone())
            };
            let fields = differing("data").map(|name| format!(".data.{name}"));
            let fields = fields.chain(differing("spec").map(|name| format!(".spec.{name}")));
            let contested: Vec<FieldConflict> =
                fields.map(|field| FieldConflict { field, manager: "kubectl-edit".to_owned() }).collect();
            if contested.is_empty() { DryRun::Proved } else { DryRun::Refused(Refusal::Conflict(contested)) }
        }
    }
}

fn planned(kind: &str, desired: &Value, live: Live, trial: DryRun, redactor: &Redactor) -> Plan {
    let key = ObjectKey {
        group: String::new(),
        kind: kind.to_owned(),
        namespace: Some("x".to_owned()),
        name: "o".to_owned(),
    };
    let manifest = Manifest {
        ident: Ident { key: key.clone(), version: "v1".to_owned() },
        project: root().project(),
        place: SourcePlace::new("o.yaml", 1, 1),
        body: desired.clone().into(),
    };
    let observed = Observed {
        kinds: Kinds::builtin().clone(),
        looks: [(key.clone(), Lookup::Live(live))].into(),
        trials: [(key.clone(), trial)].into(),
        ..Observed::default()
    };
    let known = [root().project()].into();
    let scope = Scope::resolve(&ScopeRequest::default(), &known, &BTreeSet::new()).unwrap();
    let take_over = vec![TakeOver::Object(key.to_string())];
    let policy = Policy { take_over, ..Policy::new(Cleanup::On, "kubernator-system") };
    let (root, entries, desired) = (root(), Entries::default(), BTreeMap::from([(key, manifest)]));
    let request = PlanRequest {
        root: &root,
        scope: &scope,
        desired: &desired,
        entries: &entries,
        policy: &policy,
        redactor,
        broken: &BTreeMap::new(),
        before: Baseline::Unknown,
    };
    build(request, &observed)
}

/// Returns a plan in every form in which it leaves the program.
fn reports(plan: &Plan) -> Vec<String> {
    let heading = Heading { target: "demo", ..Heading::default() };
    vec![
        terminal::plan(plan, &heading, Style::Plain),
        markdown::plan(plan, &heading, Budget::COMMENT).text,
        markdown::plan(plan, &heading, Budget::FILE).text,
        summary::plan(plan, &heading).text,
        html::plan(plan, &heading),
        documents::text(&documents::plan(plan, &heading)).unwrap(),
        plan.digest.clone(),
    ]
}

fn word() -> impl Strategy<Value = Value> {
    prop::sample::select(WORDS.as_slice()).prop_map(Value::from)
}

fn texts() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(prop::sample::select(NAMES.as_slice()), word(), 0..4)
        .prop_map(|map| Value::Object(map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

/// Generates the content of an attacker's manifest: guesses wherever a manifest has room for them.
fn guesses() -> impl Strategy<Value = Map<String, Value>> {
    (texts(), texts(), texts(), prop::collection::vec(word(), 0..4)).prop_map(|(data, labels, annotations, list)| {
        let mut content = Map::new();
        content.insert("metadata".to_owned(), json!({"labels": labels, "annotations": annotations}));
        content.insert("data".to_owned(), data);
        content.insert("type".to_owned(), json!(quoted(&Value::Array(list))));
        content
    })
}

fn users() -> impl Strategy<Value = Value> {
    prop::collection::vec((prop::sample::select(NAMES.as_slice()), word()), 0..4)
        .prop_map(|users| users.into_iter().map(|(name, token)| json!({"name": name, "token": token})).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn x5_a_plan_tells_of_a_secret_that_it_differs_and_nothing_else(
        manifest in guesses(), one in texts(), two in texts(), answer in prop::sample::select(ANSWERS.as_slice()),
    ) {
        let desired = body("Secret", &manifest);
        let plan = |data: &Value| {
            let content = Map::from_iter([("data".to_owned(), data.clone()), ("type".to_owned(), json!("Opaque"))]);
            let live = live("Secret", &content, Whose::Ours, "1");
            let trial = trial(answer, "Secret", &live, &desired);
            let is_refused = matches!(trial, DryRun::Refused(_));
            let plan = planned("Secret", &desired, live, trial, &Redactor::default());
            let differs = plan.changes[0].diff.iter().any(|field| field.before == Some(ShownValue::Secret));
            ((is_refused, differs), plan)
        };
        let ((first, one), (second, two)) = (plan(&one), plan(&two));
        // A plan may reveal this much, so both plans must agree on it.
        prop_assume!(first == second);
        prop_assert_eq!(reports(&one), reports(&two), "{:?}", answer);
    }

    #[test]
    fn x5_a_plan_tells_of_redacted_fields_that_some_differ_and_nothing_else(
        manifest in users(), one in prop::collection::vec(word(), 4), two in prop::collection::vec(word(), 4),
        names in prop::sample::subsequence(NAMES.to_vec(), 0..=4),
        pointer in prop::sample::select(vec!["/spec/users/*/token", "/spec/users/0/token", "/spec/users/*", "/spec/users", "/spec/*"]),
        answer in prop::sample::select(ANSWERS.as_slice()),
    ) {
        let desired = body("Till", &Map::from_iter([("spec".to_owned(), json!({"users": manifest}))]));
        // With the pointer to user 0, only the token of that user is a secret. The other tokens are the same in both
        // live objects.
        let is_secret = |at: usize| pointer != "/spec/users/0/token" || at == 0;
        let plan = |tokens: &[Value]| {
            let user = |(at, name): (usize, &&str)| {
                json!({"name": name, "token": if is_secret(at) { tokens[at].clone() } else { json!("plain") }})
            };
            let users: Vec<Value> = names.iter().enumerate().map(user).collect();
            let content = Map::from_iter([("spec".to_owned(), json!({"users": users}))]);
            let live = live("Till", &content, Whose::Ours, "1");
            let trial = trial(answer, "Till", &live, &desired);
            let redactor = redactor(&[pointer], Adopted::Hidden);
            let plan = planned("Till", &desired, live, trial, &redactor);
            (plan.changes[0].action(), plan.changes[0].diff.iter().any(|field| field.before == Some(ShownValue::Secret)), plan)
        };
        let (first, second) = (plan(&one), plan(&two));
        prop_assume!((first.0, first.1) == (second.0, second.1));
        prop_assert_eq!(reports(&first.2), reports(&second.2), "{:?}", answer);
    }

    #[test]
    fn x6_a_plan_tells_nothing_of_what_is_not_ours(
        manifest in guesses(), one in guesses(), two in guesses(), spec in users(),
        whose in prop::sample::select(vec![Whose::Nobody, Whose::Copied, Whose::AnotherRoot]),
        kind in prop::sample::select(vec!["ConfigMap", "Secret", "Pod"]),
        answer in prop::sample::select(&ANSWERS[2..7]),
        applied in any::<bool>(),
    ) {
        let desired = body(kind, &manifest);
        let answer = if applied { Answer::Applied } else { answer };
        let plan = |content: &Map<String, Value>, version: &str| {
            let mut content = content.clone();
            content.insert("spec".to_owned(), json!({"users": spec}));
            let live = live(kind, &content, whose, version);
            let trial = trial(answer, kind, &live, &desired);
            planned(kind, &desired, live, trial, &Redactor::default())
        };
        let (one, two) = (plan(&one, "1"), plan(&two, "22"));
        if applied {
            prop_assert_eq!(one.changes[0].action(), Action::Adopt);
        }
        prop_assert_eq!(reports(&one), reports(&two), "{:?}", answer);
    }

    #[test]
    fn x6_what_the_base_hides_is_hidden_wherever_the_head_moves_it(
        names in Just(vec!["A", "B", "C", "D"]).prop_shuffle(),
        wanted in prop::sample::subsequence(vec!["A", "B", "C", "D"], 0..=4).prop_shuffle(),
        more in prop::collection::vec(prop::sample::select(vec!["N", "O"]), 0..2),
        at in 0usize..4,
        pointer in prop::sample::select(vec!["/spec/env/{}/value", "/spec/env/{}", "/spec/env/*/value", "/spec/env"]),
        states_values in any::<bool>(),
    ) {
        let pointer = pointer.replace("{}", &at.to_string());
        let is_secret = |place: usize| pointer.contains('*') || pointer == "/spec/env" || place == at;
        let item = |(place, name): (usize, &&str)| {
            json!({"name": name, "value": if is_secret(place) { format!("canary {name}") } else { format!("plain {name}") }})
        };
        let env: Vec<Value> = names.iter().enumerate().map(item).collect();
        let live = live("Till", &Map::from_iter([("spec".to_owned(), json!({"env": env, "l": ["x"]}))]), Whose::Ours, "1");
        let stated = more.into_iter().chain(wanted).map(|name| {
            if states_values { json!({"name": name, "value": "new"}) } else { json!({"name": name}) }
        });
        let desired = body("Till", &Map::from_iter([("spec".to_owned(), json!({"env": stated.collect::<Vec<_>>()}))]));
        // One answer has the order of a merged list. The other has the manifest's own list.
        let kept = Live { body: merged(&live.body, &desired) };
        let mut own = kept.clone();
        own.body["spec"]["env"] = desired["spec"]["env"].clone();
        for after in [kept, own] {
            let plan = planned("Till", &desired, live.clone(), DryRun::Applied(after), &redactor(&[&pointer], Adopted::Hidden));
            for report in reports(&plan) {
                prop_assert!(!report.contains("canary"), "{report}");
            }
        }
    }

    #[test]
    fn r5_twenty_plans_of_one_situation_are_one_plan(
        numbers in prop::collection::vec(1u32..99_999, 20), suffix in "[a-z0-9]{5}", other in "[a-z0-9]{5}",
        case in 0usize..6,
    ) {
        let plan = |number: u32, suffix: &str| {
            let content = Map::from_iter([("data".to_owned(), json!({"k": "v"}))]);
            let mut found = live("ConfigMap", &content, Whose::Ours, &number.to_string());
            let refused = |text: String| DryRun::Refused(Refusal::Invalid(text));
            let trial = match case {
                0 => refused(format!("Service \"ktor-probe-{suffix}\" is invalid: spec.ports[0].port: Invalid value: 80000: no")),
                1 => refused(format!("exceeded quota: q, requested: pods=1, used: pods={number}, limited: pods={number}")),
                2 => refused(format!("failed calling webhook \"a\": Post \"https://a\": read tcp 10.0.0.1:{number}->10.0.0.2:443: reset")),
                3 => {
                    found.body["metadata"]["deletionTimestamp"] = json!(format!("2031-05-06T07:08:{:02}Z", number % 60));
                    found.body["kind"] = json!("Namespace");
                    found.body["status"] = json!({"conditions": [{"type": "NamespaceContentRemaining", "status": "True",
                        "message": format!("Some resources are remaining: pods. has {number} resource instances")}]});
                    DryRun::Proved
                }
                4 => DryRun::Immutable(Refusal::Invalid(format!("spec: core.PodSpec{{Grace:(*int64)(0xc{number}), Name:\"ktor-probe-{suffix}\"}}"))),
                _ => {
                    let mut after = found.clone();
                    after.body["data"]["k"] = json!("w");
                    after.body["metadata"]["resourceVersion"] = json!("7");
                    DryRun::Applied(after)
                }
            };
            let desired = body("ConfigMap", &Map::from_iter([("data".to_owned(), json!({"k": "w"}))]));
            reports(&planned("ConfigMap", &desired, found, trial, &Redactor::default()))
        };
        let first = plan(numbers[0], &suffix);
        for (at, number) in numbers.iter().enumerate() {
            prop_assert_eq!(&first, &plan(*number, if at % 2 == 0 { &suffix } else { &other }));
        }
    }
}

#[test]
fn x6_what_is_adopted_shows_the_manifests_values_and_live_ones_only_where_the_workflow_says_so() {
    let desired = body("ConfigMap", &Map::from_iter([("data".to_owned(), json!({"k": "mine"}))]));
    let content = Map::from_iter([("data".to_owned(), json!({"k": "theirs", "l": "more"}))]);
    for whose in [Whose::Nobody, Whose::Copied, Whose::AnotherRoot] {
        let plan = |adopted| {
            let live = live("ConfigMap", &content, whose, "1");
            let trial = trial(Answer::Applied, "ConfigMap", &live, &desired);
            planned("ConfigMap", &desired, live, trial, &redactor(&[], adopted))
        };
        for report in &reports(&plan(Adopted::Hidden))[..6] {
            assert!(report.contains("mine") && !report.contains("theirs"), "{whose:?}: {report}");
        }
        for report in &reports(&plan(Adopted::Shown))[..6] {
            assert!(report.contains("mine") && report.contains("theirs"), "{whose:?}: {report}");
        }
    }
}

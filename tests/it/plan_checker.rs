//! The plan checker finds each kind of broken plan and of wrong report.

use std::collections::BTreeSet;

use ktor_action::object::ident::{Ident, ObjectKey};
use ktor_action::object::refusal::Refusal;
use ktor_action::plan::build::{Plan, PlanMode};
use ktor_action::plan::change::Change;
use ktor_action::plan::decision::{Blocked, Create, Decision, Delete, Keep, Protection, Unchanged, Update};
use ktor_action::plan::outcome::{Detail, ObjectOutcome, Outcome, Verdict};
use ktor_action::run::ended::{End, PlanRefusal, RunReport};
use support::plan_checker::{self, Observation, Owner, Surroundings};

fn key(name: &str) -> ObjectKey {
    ObjectKey { group: String::new(), kind: "ConfigMap".into(), namespace: Some("shop".into()), name: name.into() }
}

fn change(decision: Decision, name: &str) -> Change {
    Change {
        decision,
        ident: Ident { key: key(name), version: "v1".into() },
        project: "demo.a".parse().unwrap(),
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

fn outcome(verdict: Verdict, name: &str) -> ObjectOutcome {
    let detail = (verdict == Verdict::Kept).then(|| Detail::Message("it is protected".into()));
    ObjectOutcome { key: key(name), project: "demo.a".parse().unwrap(), verdict, detail }
}

/// A run that the checker looks at.
struct Case {
    report: RunReport,
    exit: u8,
    before: Observation,
    after: Observation,
    desired: BTreeSet<ObjectKey>,
}

impl Case {
    fn violations(&self) -> Vec<String> {
        let Self { report, exit, before, after, desired } = self;
        let mut violations = plan_checker::run(report, *exit, Surroundings { before, after, desired });
        violations.extend(plan_checker::outcome(report));
        violations
    }
}

fn observation(live: &[(&str, Owner, &str)], recorded: &[&str]) -> Observation {
    Observation {
        live: live.iter().map(|(name, owner, version)| (key(name), (*owner, (*version).to_owned()))).collect(),
        recorded: recorded.iter().map(|name| key(name)).collect(),
        is_settled: true,
    }
}

/// Returns a sound run that creates `new`, updates `old`, leaves `same`, deletes `gone` and keeps `kept`.
fn sound() -> Case {
    use Owner::{Another, Ours};
    let plan = Plan {
        root: "demo".parse().unwrap(),
        mode: PlanMode::Server,
        scope: BTreeSet::from(["demo".parse().unwrap(), "demo.a".parse().unwrap()]),
        changes: vec![
            change(Decision::Create(Create::New), "new"),
            change(Decision::Update(Update::Differs), "old"),
            change(Decision::Unchanged(Unchanged::AsDesired), "same"),
        ],
        cleanup: vec![
            change(Decision::Delete(Delete::Undesired), "gone"),
            change(Decision::Keep(Keep::Protected(Protection::CleanupOff)), "kept"),
        ],
        refusals: vec![],
        broken: vec![],
        own: BTreeSet::from([key("new"), key("old")]),
        pending: BTreeSet::new(),
        unready: BTreeSet::new(),
        notices: vec![],
        digest: "5e".repeat(32),
    };
    let applied = [(Verdict::Created, "new"), (Verdict::Configured, "old"), (Verdict::Unchanged, "same")];
    let cleaned = [(Verdict::Deleted, "gone"), (Verdict::Kept, "kept")];
    let outcomes = |list: &[(Verdict, &str)]| list.iter().map(|(verdict, name)| outcome(*verdict, name)).collect();
    let outcome = Outcome { applied: outcomes(&applied), cleaned: outcomes(&cleaned) };
    let theirs = ("theirs", Another, "1");
    Case {
        report: RunReport { plan, outcome, end: End::Finalized },
        exit: 0,
        before: observation(
            &[("old", Ours, "2"), ("same", Ours, "3"), ("gone", Ours, "4"), ("kept", Ours, "5"), theirs],
            &["old", "same", "gone", "kept"],
        ),
        after: observation(
            &[("new", Ours, "7"), ("old", Ours, "6"), ("same", Ours, "3"), ("kept", Ours, "5"), theirs],
            &["new", "old", "same", "kept"],
        ),
        desired: [key("new"), key("old"), key("same")].into(),
    }
}

#[test]
fn a_sound_run_has_no_violations() {
    assert_eq!(sound().violations(), [""; 0]);
    assert_eq!(plan_checker::again(&sound().report.plan, &sound().report.plan), None);
}

#[test]
fn each_kind_of_violation_is_found() {
    type Break = fn(&mut Case);
    let cases: [(&str, Break); 25] = [
        ("one change an object", |case| {
            let again = case.report.plan.changes[0].clone();
            case.report.plan.changes.push(again);
        }),
        ("every change is in scope", |case| {
            case.report.plan.scope.remove(&"demo.a".parse().unwrap());
        }),
        ("a plan speaks only of its objects", |case| {
            case.report.plan.own.insert(key("theirs"));
        }),
        ("delete is no action for", |case| {
            let deletion = case.report.plan.cleanup.remove(0);
            case.report.plan.changes.push(deletion);
        }),
        ("create is no action for", |case| {
            let creation = case.report.plan.changes.remove(0);
            case.report.plan.cleanup.push(creation);
        }),
        ("one outcome an object", |case| case.report.outcome.applied.push(outcome(Verdict::Created, "new"))),
        ("nothing unplanned happens", |case| case.report.outcome.applied.push(outcome(Verdict::Unchanged, "theirs"))),
        ("the order of answers does not show", |case| case.report.outcome.applied.reverse()),
        ("what is not done has a reason", |case| case.report.outcome.cleaned[1].detail = None),
        ("a finalized run has an outcome of each object", |case| {
            case.report.outcome.cleaned.remove(0);
        }),
        ("a run with failures is not finalized", |case| {
            case.report.outcome.applied[1].verdict = Verdict::Failed;
        }),
        ("a refused run does nothing", |case| case.report.end = End::Refused(PlanRefusal::Guarded)),
        ("the exit code follows from the report", |case| case.exit = 1),
        ("the exit code follows from the report", |case| case.report.end = End::Interrupted),
        ("the exit code follows from the report", |case| {
            case.report.plan.own.insert(key("kept"));
        }),
        ("only what is ours is deleted", |case| {
            case.before.live.insert(key("gone"), (Owner::Another, "4".into()));
        }),
        ("nothing desired is deleted", |case| {
            case.desired.insert(key("gone"));
        }),
        ("only what is recorded or marked is deleted", |case| {
            case.before.recorded.remove(&key("gone"));
            case.before.live.insert(key("gone"), (Owner::Another, "4".into()));
        }),
        ("nothing foreign is written", |case| {
            case.after.live.remove(&key("theirs"));
        }),
        ("what stays is not written", |case| {
            case.after.live.insert(key("same"), (Owner::Ours, "8".into()));
        }),
        ("a refused run writes nothing", |case| {
            case.report.end = End::Refused(PlanRefusal::NotApproved);
            case.report.outcome = Outcome::default();
        }),
        ("an outcome tells what happened", |case| {
            case.after.live.remove(&key("new"));
        }),
        ("an outcome tells what happened", |case| {
            case.after.live.insert(key("gone"), (Owner::Ours, "4".into()));
        }),
        ("what is ours is recorded", |case| {
            case.after.recorded.remove(&key("new"));
        }),
        ("only what is ours or desired stays recorded", |case| {
            case.after.recorded.insert(key("gone"));
        }),
    ];
    for (expected, breaks) in cases {
        let mut case = sound();
        breaks(&mut case);
        let violations = case.violations();
        assert!(violations.iter().any(|violation| violation.contains(expected)), "{expected}: {violations:#?}");
    }
    let other = Plan { digest: "00".repeat(32), ..sound().report.plan };
    assert!(plan_checker::again(&sound().report.plan, &other).is_some());
}

/// An object that stays as it is fits a plan of desired and of undesired objects.
#[test]
fn what_stays_may_be_desired_or_not() {
    let mut case = sound();
    let refused = Refusal::Conflict(vec![]);
    case.report.plan.changes[1].decision = refused.into();
    assert!(matches!(case.report.plan.changes[1].decision, Decision::Blocked(Blocked::Refused(_))));
    assert!(plan_checker::plan(&case.report.plan).is_empty(), "{:#?}", plan_checker::plan(&case.report.plan));
}

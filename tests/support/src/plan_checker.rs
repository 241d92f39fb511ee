//! Checks a plan and the report of its run against the cluster before and after the run.
//!
//! The checks are pure functions. They trust neither the planner nor the run: what they know about the cluster, they
//! get from the caller.

use std::collections::{BTreeMap, BTreeSet};

use ktor_action::object::ident::{GroupKind, ObjectKey};
use ktor_action::plan::build::Plan;
use ktor_action::plan::change::Change;
use ktor_action::plan::decision::Action;
use ktor_action::plan::outcome::{ObjectOutcome, Outcome, Verdict};
use ktor_action::report::{Heading, json};
use ktor_action::run::ended::{End, RunReport};
use serde_json::Value;

/// The owner of a live object, as its mark and its managed fields tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The root of the run.
    Ours,
    /// Another root, or nobody.
    Another,
}

/// The cluster at one moment, without the namespace of states and locks.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// The live objects: the owner and the resourceVersion of each.
    pub live: BTreeMap<ObjectKey, (Owner, String)>,
    /// The objects that the state records.
    pub recorded: BTreeSet<ObjectKey>,
    /// `true` if a run of ours finalized the state. The run after an unfinished one drops no entry.
    pub is_settled: bool,
}

/// The cluster around a run that nobody else disturbed.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The cluster before the run.
    pub before: &'a Observation,
    /// The cluster after the run.
    pub after: &'a Observation,
    /// The objects that the tree of the run contains.
    pub desired: &'a BTreeSet<ObjectKey>,
}

/// Returns every invariant that a plan violates, whatever its run does.
pub fn plan(plan: &Plan) -> Vec<String> {
    let mut violations = Vec::new();
    let mut seen = BTreeSet::new();
    for change in plan.all() {
        let key = &change.ident.key;
        if !seen.insert(key) {
            violations.push(format!("one change an object: {key} has two"));
        }
        // An object that is recorded in scope can belong to another project by its mark. It stays as it is.
        let stays = matches!(change.action(), Action::Keep | Action::Release | Action::Blocked | Action::Unchanged);
        if !stays && !plan.scope.contains(&change.project) {
            violations.push(format!("every change is in scope: {key} is in {}", change.project));
        }
    }
    for key in plan.own.iter().chain(&plan.unready).filter(|key| !seen.contains(key)) {
        violations.push(format!("a plan speaks only of its objects: {key} has no change"));
    }
    for (list, is_fit) in [(&plan.changes, is_of_desired as fn(Action) -> bool), (&plan.cleanup, is_of_undesired)] {
        for change in list.iter().filter(|change| !is_fit(change.action())) {
            violations.push(format!("{} is no action for {}", change.action().word(), change.ident.key));
        }
    }
    violations.extend(shown(plan));
    violations
}

fn is_of_desired(action: Action) -> bool {
    !matches!(action, Action::Delete | Action::Release)
}

fn is_of_undesired(action: Action) -> bool {
    matches!(action, Action::Delete | Action::Release | Action::Keep | Action::Blocked)
}

/// Checks the JSON report of a plan: its counts, and the reasons of objects that stay as they are.
fn shown(plan: &Plan) -> Vec<String> {
    let document = serde_json::to_value(json::plan(plan, &Heading::default())).unwrap();
    let mut violations = Vec::new();
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    for change in plan.all() {
        *counted.entry(change.action().word()).or_default() += 1;
    }
    for (word, count) in document["summary"].as_object().into_iter().flatten() {
        let is_action = Action::ALL.iter().any(|action| action.word() == word);
        let expected = counted.get(word.as_str()).copied().unwrap_or_default();
        if is_action && count.as_u64() != Some(expected) {
            violations.push(format!("the report counts what it lists: {count} to {word}, and there are {expected}"));
        }
    }
    let listed = ["changes", "cleanup"].into_iter().filter_map(|list| document[list].as_array());
    for object in listed.flatten().filter(|object| ["keep", "blocked"].iter().any(|word| object["action"] == **word)) {
        let says = |field: &str| object["reason"][field].as_str().is_some_and(|text| !text.is_empty());
        if !says("kind") || !says("message") {
            violations.push(format!("what stays has a reason: {} has none", object["key"]));
        }
    }
    violations
}

/// Returns the outcomes that come after an outcome of the same kind with a greater key.
fn unordered(outcomes: &[ObjectOutcome]) -> Vec<String> {
    let mut last: BTreeMap<GroupKind, &ObjectKey> = BTreeMap::new();
    let mut violations = Vec::new();
    for ObjectOutcome { key, .. } in outcomes {
        if let Some(before) = last.insert(key.group_kind(), key).filter(|before| *before > key) {
            violations.push(format!("the order of answers does not show: {before} comes before {key}"));
        }
    }
    violations
}

/// Returns every invariant that the report of a run violates, whatever disturbed the run.
pub fn report(report: &RunReport, exit: u8) -> Vec<String> {
    let mut violations = plan(&report.plan);
    let planned: BTreeMap<&ObjectKey, &Change> = report.plan.all().map(|change| (&change.ident.key, change)).collect();
    let mut seen = BTreeSet::new();
    violations.extend(unordered(&report.outcome.applied));
    for ObjectOutcome { key, verdict, detail, .. } in report.outcome.all() {
        if !seen.insert(key) {
            violations.push(format!("one outcome an object: {key} has two"));
        }
        if !planned.contains_key(key) {
            violations.push(format!("nothing unplanned happens: {key} is {}", verdict.word()));
        }
        if is_short(*verdict) && detail.is_none() {
            violations.push(format!("what is not done has a reason: {key} is {} without one", verdict.word()));
        }
    }
    if matches!(report.end, End::Finalized) {
        // What stays in the cluster and is not desired has no outcome. The report lists it from the plan.
        let deleted = report.plan.cleanup.iter().filter(|change| change.action() == Action::Delete);
        let left = report.plan.changes.iter().chain(deleted);
        for change in left.filter(|change| !seen.contains(&change.ident.key)) {
            let (key, word) = (&change.ident.key, change.action().word());
            violations.push(format!("a finalized run has an outcome of each object: {key}, to {word}, has none"));
        }
        for outcome in report.outcome.all().filter(|outcome| is_failure(outcome.verdict)) {
            let (key, word) = (&outcome.key, outcome.verdict.word());
            violations.push(format!("a run with failures is not finalized: {key} is {word}"));
        }
    }
    if matches!(report.end, End::Refused(_)) && report.outcome != Outcome::default() {
        violations.push("a refused run does nothing: it has outcomes".to_owned());
    }
    let codes = codes(report);
    if !codes.contains(&exit) {
        violations.push(format!("the exit code follows from the report: it is {exit}, and not one of {codes:?}"));
    }
    violations
}

/// Returns `true` if the object is not as the tree wants it.
fn is_short(verdict: Verdict) -> bool {
    is_failure(verdict) || matches!(verdict, Verdict::Unready | Verdict::Blocked | Verdict::Kept)
}

fn is_failure(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Failed | Verdict::Skipped)
}

/// Returns the exit codes that fit the end of a run.
fn codes(report: &RunReport) -> &'static [u8] {
    let stays = |change: &Change| change.disposition().is_some() && report.plan.own.contains(&change.ident.key);
    match &report.end {
        End::Finalized if report.outcome.count(Verdict::Unready) > 0 => &[1],
        End::Finalized if report.plan.all().any(stays) => &[3],
        End::Finalized => &[0],
        End::Incomplete => &[1],
        End::Interrupted | End::LockLost => &[5],
        End::Refused(_) => &[3],
        End::Failed(_) => &[1, 3, 5],
    }
}

/// Returns every invariant that the report of an undisturbed run violates, given the cluster before and after it.
pub fn run(report: &RunReport, exit: u8, around: Surroundings<'_>) -> Vec<String> {
    let Surroundings { before, after, desired } = around;
    let mut violations = self::report(report, exit);
    let planned: BTreeMap<&ObjectKey, Action> =
        report.plan.all().map(|change| (&change.ident.key, change.action())).collect();
    let is_ours = |at: &Observation, key: &ObjectKey| at.live.get(key).is_some_and(|(owner, _)| *owner == Owner::Ours);
    for (key, action) in &planned {
        if matches!(action, Action::Delete | Action::Replace) && !is_ours(before, key) {
            violations.push(format!("only what is ours is deleted: {key}"));
        }
        if *action == Action::Delete && desired.contains(*key) {
            violations.push(format!("nothing desired is deleted: {key}"));
        }
        if *action == Action::Delete && !before.recorded.contains(*key) && !is_ours(before, key) {
            violations.push(format!("only what is recorded or marked is deleted: {key}"));
        }
    }
    let all: BTreeSet<&ObjectKey> = before.live.keys().chain(after.live.keys()).collect();
    for key in all.into_iter().filter(|key| before.live.get(*key) != after.live.get(*key)) {
        match planned.get(key) {
            None => violations.push(format!("nothing foreign is written: {key} changed and has no change in the plan")),
            Some(action @ (Action::Unchanged | Action::Keep | Action::Blocked | Action::Release)) => {
                violations.push(format!("what stays is not written: {key} changed, the plan says {}", action.word()));
            }
            Some(_) if matches!(report.end, End::Refused(_)) => {
                violations.push(format!("a refused run writes nothing: {key} changed"));
            }
            Some(_) => {}
        }
    }
    for ObjectOutcome { key, verdict, .. } in report.outcome.all() {
        let (then, now) = (before.live.get(key), after.live.get(key));
        let fits = match verdict {
            Verdict::Created => then.is_none() && is_ours(after, key),
            Verdict::Configured | Verdict::Moved | Verdict::Adopted | Verdict::Replaced => is_ours(after, key),
            Verdict::Deleted => !is_ours(after, key),
            Verdict::Unchanged | Verdict::Blocked | Verdict::Kept | Verdict::Skipped | Verdict::Unready => then == now,
            Verdict::Failed => true,
        };
        if !fits {
            violations.push(format!("an outcome tells what happened: {key} is {}, and it is not so", verdict.word()));
        }
    }
    for key in after.live.keys().filter(|key| is_ours(after, key) && !after.recorded.contains(key)) {
        violations.push(format!("what is ours is recorded: {key} is not"));
    }
    if matches!(report.end, End::Finalized) && before.is_settled && after.is_settled {
        let is_done = |key: &&ObjectKey| matches!(planned.get(*key), Some(Action::Delete | Action::Release));
        let in_vain = |key: &&ObjectKey| !is_ours(after, key) && !desired.contains(*key);
        for key in after.recorded.iter().filter(is_done).filter(in_vain) {
            violations.push(format!("only what is ours or desired stays recorded: {key}"));
        }
    }
    violations
}

/// Returns the violation if the same plan, made again, has another digest.
pub fn again(first: &Plan, second: &Plan) -> Option<String> {
    (first.digest != second.digest)
        .then(|| format!("a plan made again has the same digest: {} and {}", first.digest, second.digest))
}

/// Returns the counts in the JSON report of a run that do not fit its outcomes.
pub fn outcome(report: &RunReport) -> Vec<String> {
    let document =
        serde_json::to_value(json::outcome(&report.plan, &report.outcome, &Heading::default(), None)).unwrap();
    let counts = Verdict::ALL.into_iter().map(|verdict| (verdict.word(), report.outcome.count(verdict) as u64));
    let wrong = counts.filter(|(word, count)| {
        document["summary"].get(*word).is_some_and(|shown: &Value| shown.as_u64() != Some(*count))
    });
    wrong
        .map(|(word, count)| format!("the report counts what it lists: {count} are {word}, and it says otherwise"))
        .collect()
}

//! The words of all reports, for objects, counts and reasons. The text is plain and not yet escaped.

mod decision;
mod notice;
mod remedy;
mod review;
mod risk;

pub(crate) use self::decision::{contents, decision, protected};
pub(crate) use self::notice::{doubt, notice};
pub(crate) use self::review::unseen_plan;
pub(crate) use self::risk::{risk, risks};
use super::shell::quoted;
use crate::object::ident::ObjectKey;
use crate::plan::build::{Plan, PlanMode};
use crate::plan::change::Change;
use crate::plan::decision::{Action, Blocked, Decision, Keep, Move, Update};
use crate::plan::guard::Guard;
use crate::plan::outcome::{Detail, ObjectOutcome, Outcome, Verdict};

/// The order in which a sentence counts the actions. Unchanged objects are counted separately at the end.
const TOLD: [Action; 9] = [
    Action::Create,
    Action::Update,
    Action::Move,
    Action::Adopt,
    Action::Release,
    Action::Replace,
    Action::Delete,
    Action::Blocked,
    Action::Keep,
];

/// Returns the kind, as `Deployment.apps`.
pub(crate) fn kind(key: &ObjectKey) -> String {
    key.group_kind().to_string()
}

/// The groups of the kinds that everyone knows without their group.
const KNOWN_GROUPS: [&str; 9] = [
    "",
    "apps",
    "batch",
    "policy",
    "autoscaling",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "apiextensions.k8s.io",
];

/// Returns the kind without the group if it is a well-known one, as `Deployment` or `Certificate.cert-manager.io`.
pub(crate) fn short_kind(key: &ObjectKey) -> String {
    if KNOWN_GROUPS.contains(&key.group.as_str()) { key.kind.clone() } else { kind(key) }
}

/// Returns the short kind and the name, as `Deployment shop/web`.
pub(crate) fn object(key: &ObjectKey) -> String {
    format!("{} {}", short_kind(key), name(key))
}

/// Returns the name, as `shop/web`, or `shop` for a cluster-scoped object.
pub(crate) fn name(key: &ObjectKey) -> String {
    match &key.namespace {
        Some(namespace) => format!("{namespace}/{}", key.name),
        None => key.name.clone(),
    }
}

/// Returns a count with its noun, as `1 object` or `2 objects`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Returns the count of an action, as `2 to delete` or `1 kept`.
pub(crate) fn to_do(action: Action, count: usize) -> String {
    match action {
        Action::Keep => format!("{count} kept"),
        Action::Blocked | Action::Unchanged => format!("{count} {}", action.word()),
        _ => format!("{count} to {}", action.word()),
    }
}

/// Returns a count of pods, as `1 pod` or `2 pods`.
pub(crate) fn counted_pods(count: u64) -> String {
    if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") }
}

/// Counts the objects of a plan by action, the most important action first.
pub(crate) fn counts(plan: &Plan) -> String {
    let summary = plan.summary();
    let told = Action::ALL.into_iter().filter(|action| *action != Action::Unchanged);
    let parts = told.filter_map(|action| Some(to_do(action, *summary.get(&action)?)));
    parts.collect::<Vec<_>>().join(", ")
}

/// Returns one sentence about the effect of a plan. `strong` highlights the actions that delete or block an object.
pub(crate) fn plan(plan: &Plan, strong: fn(&str) -> String) -> String {
    let summary = plan.summary();
    let count = |action| summary.get(&action).copied().unwrap_or_default();
    let unchanged = count(Action::Unchanged);
    let offline = if plan.mode == PlanMode::Offline { "compared with the base tree: " } else { "" };
    if !plan.has_changes() {
        let mut parts = Vec::new();
        if unchanged > 0 {
            parts.push(if unchanged == 1 {
                "1 object is as desired".to_owned()
            } else {
                format!("{unchanged} objects are as desired")
            });
        }
        if count(Action::Keep) > 0 {
            parts.push(to_do(Action::Keep, count(Action::Keep)));
        }
        if plan.scope.is_empty() {
            parts.push("no project is in scope".to_owned());
        }
        let why = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
        return sentence(&format!("{offline}nothing to do{why}"));
    }
    let mut parts: Vec<String> = Vec::new();
    for action in TOLD {
        match (action, count(action)) {
            (Action::Delete, 0) => parts.push("nothing to delete".to_owned()),
            (_, 0) => {}
            (Action::Delete | Action::Replace | Action::Blocked, count) => parts.push(strong(&to_do(action, count))),
            (_, count) => parts.push(to_do(action, count)),
        }
    }
    let unchanged = if unchanged > 0 { format!("; {unchanged} unchanged") } else { String::new() };
    sentence(&format!("{offline}{}{unchanged}", parts.join(", ")))
}

/// Returns one sentence about the outcome of a run. `strong` highlights deletions, replacements, failures and unready
/// objects.
pub(crate) fn outcome(outcome: &Outcome, kept: usize, strong: fn(&str) -> String) -> String {
    let verdicts = [
        Verdict::Created,
        Verdict::Configured,
        Verdict::Moved,
        Verdict::Adopted,
        Verdict::Replaced,
        Verdict::Deleted,
        Verdict::Failed,
        Verdict::Skipped,
        Verdict::Unready,
        Verdict::Blocked,
        Verdict::Kept,
    ];
    let mut parts: Vec<String> = Vec::new();
    for verdict in verdicts {
        let count = outcome.count(verdict);
        let words = format!("{count} {}", verdict.word());
        match verdict {
            _ if count == 0 => {}
            Verdict::Replaced | Verdict::Deleted | Verdict::Failed | Verdict::Unready => parts.push(strong(&words)),
            _ => parts.push(words),
        }
    }
    if parts.is_empty() {
        parts.push("nothing was changed".to_owned());
    }
    if kept > 0 {
        parts.push(to_do(Action::Keep, kept));
    }
    let unchanged = outcome.count(Verdict::Unchanged);
    let unchanged = if unchanged > 0 { format!("; {unchanged} unchanged") } else { String::new() };
    sentence(&format!("{}{unchanged}", parts.join(", ")))
}

/// Returns the option that opens a guard, if there is one. The input of the GitHub Action has the same name.
pub(crate) fn option(guard: Guard) -> Option<String> {
    match guard {
        Guard::Relocation => Some("--move".to_owned()),
        Guard::Retarget => Some("--retarget".to_owned()),
        guard => Some(format!("--allow-{}", guard.name()?)),
    }
}

/// Returns a hint about an object that stays as it is, if an option helps.
fn hint(change: &Change) -> Option<String> {
    match &change.decision {
        Decision::Keep(Keep::Guarded(guard, _)) => option(*guard).map(|option| format!("{option} allows it")),
        Decision::Blocked(Blocked::Foreign(_)) => {
            Some(format!("--take-over {} takes it over", quoted(&change.ident.key.to_string())))
        }
        Decision::Blocked(Blocked::Unmarked) => Some("leave out --no-adopt to adopt it".to_owned()),
        _ => None,
    }
}

/// Returns the reason for the decision about an object.
pub(crate) fn why(change: &Change) -> String {
    match (&change.decision, &change.from) {
        (Decision::Move(Move::Checked), Some(from)) => format!("moved from {from}"),
        _ => decision(&change.ident.key, &change.decision),
    }
}

/// Returns the reason why an object stays as it is, with a hint if an option helps.
pub(crate) fn reason(change: &Change) -> String {
    match hint(change) {
        Some(hint) => format!("{} ({hint})", why(change)),
        None => why(change),
    }
}

/// Returns the message about the outcome of an object, or `None` if the verdict says everything.
pub(crate) fn detail(object: &ObjectOutcome) -> Option<String> {
    Some(match object.detail.as_ref()? {
        Detail::Message(message) => message.clone(),
        Detail::Planned(planned) => {
            let why = decision(&object.key, planned);
            why.strip_prefix("kept: ").map_or(why.clone(), str::to_owned)
        }
        Detail::NowHolds(outside) => format!("it stays, because by now {}", contents(&object.key, outside)),
        Detail::NowProtected(protection) => format!("it stays, because by now {}", protected(protection)),
    })
}

/// Returns the message about a run that did not do everything: the first object that failed, else the first unready
/// object.
pub(crate) fn incomplete(outcome: &Outcome) -> String {
    let told = |object: &ObjectOutcome| detail(object).unwrap_or_else(|| "no reason was given".to_owned());
    match (outcome.first_failure(), outcome.first_unready()) {
        (Some(failed), _) => format!("{} failed: {}", failed.key, told(failed)),
        (None, Some(unready)) if outcome.is_carried_through() => {
            format!("{} is not ready: {}", unready.key, told(unready))
        }
        _ => "some objects were skipped".to_owned(),
    }
}

/// Names an object that stays as it is, with the reason: `ConfigMap shop/web stays as it is: belongs to project other`.
pub(crate) fn stopped(change: &Change) -> String {
    format!("{} stays as it is: {}", change.ident.key, reason(change))
}

/// Returns the reason why a recorded object is not deleted: `kept: cleanup is off for this root`, `released: belongs to
/// other`.
pub(crate) fn staying(change: &Change) -> String {
    let reason = reason(change);
    match change.action() {
        Action::Keep if reason.starts_with("kept: ") => reason,
        Action::Keep => format!("kept: {reason}"),
        Action::Release => format!("released: {reason}"),
        action => format!("{}: {reason}", action.word()),
    }
}

/// Returns a remark about a change, or `None` if the action says everything.
pub(crate) fn remark(change: &Change) -> Option<String> {
    match (&change.decision, &change.from) {
        (Decision::Replace(_), _) => Some(format!("deleted and recreated: it {}", why(change))),
        (Decision::Update(Update::Differs), _) => None,
        _ if matches!(change.decision.kind(), "new" | "as-desired" | "undesired") => None,
        (_, Some(from)) => Some(format!("from {from}")),
        (_, None) => Some(reason(change)),
    }
}

/// Shortens a full commit hash to 12 characters. Returns any other revision unchanged.
pub(crate) fn commit(revision: &str) -> &str {
    let is_hash = revision.len() >= 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { &revision[..12] } else { revision }
}

/// Adds a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first: String = characters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}

//! Version 1 of the JSON format: the public types of plans and outcomes.
//!
//! A program that reads `formatVersion` "1.x" can rely on every field here. A new field changes the second number. A
//! removed field or a changed meaning changes the first number and gets a module of its own. The order of the fields is
//! part of the format.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::super::Heading;
use super::super::wording;
use crate::object::ident::ObjectKey;
use crate::plan::build::{self, PlanMode};
use crate::plan::change::{self, FieldChange, ShownValue};
use crate::plan::decision::{Action, Subject};
use crate::plan::guard::{Guard, TreeDoubt};
use crate::plan::outcome::{self, ObjectOutcome, Verdict};
use crate::plan::risk::{self, Weight};

/// The version of the format.
pub const FORMAT_VERSION: &str = "1.1";

/// A plan, as `ktor plan --output json` prints it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The version of the format: `1.1`.
    pub format_version: &'static str,
    /// The root.
    pub root: String,
    /// The target of the plan, by the name that the user gave it.
    pub target: String,
    /// The method: `server` for dry runs of the API server, `offline` for the difference of two trees.
    pub mode: Mode,
    /// The commit that the plan is compared with.
    pub base: Option<String>,
    /// The commit that is planned.
    pub head: Option<String>,
    /// The kubeconfig's context, or the server.
    pub cluster: Option<String>,
    /// The projects that may be changed.
    pub scope: Vec<String>,
    /// The number of objects for each action.
    pub summary: PlanSummary,
    /// The desired objects in scope.
    pub changes: Vec<Change>,
    /// The recorded objects in scope that are no longer desired.
    pub cleanup: Vec<Change>,
    /// The reasons to refuse the run as a whole.
    pub refusals: Vec<Refusal>,
    /// Further facts for the reader.
    pub notices: Vec<Notice>,
    /// The hash that identifies the planned changes.
    pub digest: String,
}

/// The outcome of an apply, as `ktor apply --output json` prints it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The version of the format: `1.1`.
    pub format_version: &'static str,
    /// The root.
    pub root: String,
    /// The target of the run, by the name that the user gave it.
    pub target: String,
    /// The commit that the plan was compared with.
    pub base: Option<String>,
    /// The commit that was applied.
    pub head: Option<String>,
    /// The kubeconfig's context, or the server.
    pub cluster: Option<String>,
    /// `true` if the run did everything that it planned, and every object is ready.
    pub complete: bool,
    /// The error that ended the run early.
    pub error: Option<String>,
    /// The projects that the run could change.
    pub scope: Vec<String>,
    /// The number of objects for each outcome.
    pub summary: OutcomeSummary,
    /// The desired objects that the run handled.
    pub applied: Vec<Object>,
    /// The undesired objects that the run handled.
    pub cleaned: Vec<Object>,
    /// The recorded, undesired objects that the plan does not delete.
    pub kept: Vec<Change>,
    /// The reasons to refuse the run as a whole.
    pub refusals: Vec<Refusal>,
    /// Further facts for the reader.
    pub notices: Vec<Notice>,
    /// The hash that identifies the planned changes.
    pub digest: String,
}

/// The method by which a plan was made.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// From dry runs of the API server.
    Server,
    /// From the difference between the base tree and the head tree, without a cluster.
    Offline,
}

macro_rules! counts {
    ($(#[$doc:meta])* $name:ident, $of:ty, $($field:ident = $variant:path),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        pub struct $name {
            $(
                #[doc = concat!("The number of objects that are `", stringify!($field), "`.")]
                pub $field: usize,
            )+
        }

        impl $name {
            fn of(count: impl Fn($of) -> usize) -> Self {
                Self { $($field: count($variant)),+ }
            }
        }
    };
}

counts! {
    /// The number of objects for each action.
    PlanSummary, Action,
    blocked = Action::Blocked, delete = Action::Delete, replace = Action::Replace, create = Action::Create,
    update = Action::Update, r#move = Action::Move, adopt = Action::Adopt, release = Action::Release,
    keep = Action::Keep, unchanged = Action::Unchanged,
}

counts! {
    /// The number of objects for each outcome.
    OutcomeSummary, Verdict,
    failed = Verdict::Failed, skipped = Verdict::Skipped, unready = Verdict::Unready, blocked = Verdict::Blocked,
    kept = Verdict::Kept, created = Verdict::Created, configured = Verdict::Configured, moved = Verdict::Moved,
    adopted = Verdict::Adopted, replaced = Verdict::Replaced, deleted = Verdict::Deleted,
    unchanged = Verdict::Unchanged,
}

/// The planned action for one object.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The action: `create`, `update`, `replace`, `delete`, `move`, `adopt`, `release`, `keep`, `blocked` or
    /// `unchanged`.
    pub action: &'static str,
    /// The reason for the action.
    pub reason: Reason,
    /// The object.
    pub key: Key,
    /// The API version of the manifest or of the state, such as `apps/v1`.
    pub api_version: String,
    /// The object's project after the run.
    pub project: String,
    /// The object's project before the run, if it is another one.
    pub from: Option<String>,
    /// The place of the manifest.
    pub source: Option<Source>,
    /// The differences between the object before and after.
    pub diff: Vec<Difference>,
    /// The properties of the change that a reviewer should look at first, the most serious first. New in 1.1.
    pub risks: Vec<Risk>,
}

/// A property of a change that a reviewer should look at first.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Risk {
    /// The weight: `high`, `medium` or `low`.
    pub weight: &'static str,
    /// The property in words, to read after the name of the object.
    pub message: String,
}

/// The reason for an action.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reason {
    /// The kind of the reason, such as `differs`, `undesired` or `guarded`.
    pub kind: &'static str,
    /// The reason in words.
    pub message: String,
    /// The other object that the reason is about.
    pub object: Option<Key>,
    /// The guard that keeps the object.
    pub guard: Option<&'static str>,
}

/// The identity of an object.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Key {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace; `null` for a cluster-scoped object.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// A place in a file.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Source {
    /// The file's path in the repository, with slashes. Without a repository, its path below the project's directory.
    pub path: String,
    /// The line, from 1. It is 0 for the file as a whole.
    pub line: usize,
}

/// One field that differs.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Difference {
    /// The field's path, such as `spec.template.spec.containers[name=web].image`. If `sensitive` is true, it can list
    /// several fields.
    pub path: String,
    /// The value before; `null` if the field is new or null.
    pub before: Value,
    /// The value after; `null` if the field is removed or null.
    pub after: Value,
    /// `true` if the values are secret. Both values are placeholders then.
    pub sensitive: bool,
}

/// A reason to refuse the run as a whole.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Refusal {
    /// The guard that refuses the run.
    pub guard: &'static str,
    /// The reason in words.
    pub message: String,
}

/// A fact for the reader of a plan.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Notice {
    /// The kind of the notice, such as `not-ready` or `setting-changed`.
    pub kind: &'static str,
    /// The notice in words.
    pub message: String,
}

/// The outcome of one object.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Object {
    /// The outcome: `created`, `configured`, `moved`, `adopted`, `replaced`, `deleted`, `unchanged`, `unready`,
    /// `blocked`, `kept`, `skipped` or `failed`.
    pub outcome: &'static str,
    /// The object.
    pub key: Key,
    /// The object's project.
    pub project: String,
    /// The reason in words.
    pub message: Option<String>,
}

impl Plan {
    /// Converts a plan.
    pub fn new(plan: &build::Plan, heading: &Heading<'_>) -> Self {
        let count = |action: Action| plan.all().filter(|change| change.action() == action).count();
        let change = |change: &change::Change| Change::new(change, heading.directory);
        Self {
            format_version: FORMAT_VERSION,
            root: plan.root.to_string(),
            target: heading.target.to_owned(),
            mode: match plan.mode {
                PlanMode::Server => Mode::Server,
                PlanMode::Offline => Mode::Offline,
            },
            base: heading.base.map(str::to_owned),
            head: heading.head.map(str::to_owned),
            cluster: heading.cluster.map(str::to_owned),
            scope: plan.scope.iter().map(ToString::to_string).collect(),
            summary: PlanSummary::of(count),
            changes: plan.changes.iter().map(change).collect(),
            cleanup: plan.cleanup.iter().map(change).collect(),
            refusals: plan.refusals.iter().map(Refusal::new).collect(),
            notices: plan.notices.iter().map(Notice::new).collect(),
            digest: plan.digest.clone(),
        }
    }
}

impl Outcome {
    /// Converts an outcome. `error` is the error that ended the run early, if any.
    pub fn new(plan: &build::Plan, outcome: &outcome::Outcome, heading: &Heading<'_>, error: Option<&str>) -> Self {
        let kept = plan.cleanup.iter().filter(|change| change.action() != Action::Delete);
        Self {
            format_version: FORMAT_VERSION,
            root: plan.root.to_string(),
            target: heading.target.to_owned(),
            base: heading.base.map(str::to_owned),
            head: heading.head.map(str::to_owned),
            cluster: heading.cluster.map(str::to_owned),
            complete: error.is_none() && outcome.is_complete(),
            error: error.map(str::to_owned),
            scope: plan.scope.iter().map(ToString::to_string).collect(),
            summary: OutcomeSummary::of(|verdict| outcome.count(verdict)),
            applied: outcome.applied.iter().map(Object::new).collect(),
            cleaned: outcome.cleaned.iter().map(Object::new).collect(),
            kept: kept.map(|change| Change::new(change, heading.directory)).collect(),
            refusals: plan.refusals.iter().map(Refusal::new).collect(),
            notices: plan.notices.iter().map(Notice::new).collect(),
            digest: plan.digest.clone(),
        }
    }
}

impl Change {
    fn new(change: &change::Change, directory: Option<&Path>) -> Self {
        let change::Change { decision, ident, project, from, place, diff, risks, .. } = change;
        Self {
            action: decision.action().word(),
            reason: Reason::new(change),
            key: Key::new(&ident.key),
            api_version: ident.api_version(),
            project: project.to_string(),
            from: from.as_ref().map(ToString::to_string),
            source: place.as_ref().map(|place| Source {
                path: slashed(&directory.unwrap_or(Path::new("")).join(&place.path)),
                line: place.line,
            }),
            diff: diff.iter().map(Difference::new).collect(),
            risks: risks.iter().map(|risk| Risk::new(&ident.key, risk)).collect(),
        }
    }
}

impl Risk {
    fn new(key: &ObjectKey, risk: &risk::Risk) -> Self {
        let weight = match risk.weight() {
            Weight::High => "high",
            Weight::Medium => "medium",
            Weight::Low => "low",
        };
        Self { weight, message: wording::risk(key, risk) }
    }
}

impl Reason {
    fn new(change: &change::Change) -> Self {
        let (object, guard) = match change.decision.subject() {
            Some(Subject::Object(key)) => (Some(Key::new(key)), None),
            Some(Subject::Guard(guard)) => (None, Some(guard_name(guard))),
            None => (None, None),
        };
        Self { kind: change.decision.kind(), message: wording::why(change), object, guard }
    }
}

impl Key {
    fn new(key: &ObjectKey) -> Self {
        let ObjectKey { group, kind, namespace, name } = key.clone();
        Self { group, kind, namespace, name }
    }
}

impl Difference {
    fn new(field: &FieldChange) -> Self {
        let side = |value: &Option<ShownValue>| match value {
            None => Value::Null,
            Some(ShownValue::Plain(value)) => value.clone(),
            Some(ShownValue::Secret) if field.before == field.after => Value::from("(secret, changed)"),
            Some(ShownValue::Secret) => Value::from("(secret)"),
            Some(ShownValue::Order(items)) => Value::from(items.clone()),
        };
        Self {
            path: field.path.clone(),
            before: side(&field.before),
            after: side(&field.after),
            sensitive: field.is_sensitive(),
        }
    }
}

impl Refusal {
    fn new(doubt: &TreeDoubt) -> Self {
        Self { guard: guard_name(doubt.guard()), message: wording::doubt(doubt) }
    }
}

impl Notice {
    fn new(notice: &crate::plan::notice::Notice) -> Self {
        Self { kind: notice.kind(), message: wording::notice(notice) }
    }
}

impl Object {
    fn new(object: &ObjectOutcome) -> Self {
        let ObjectOutcome { key, project, verdict, .. } = object;
        Self {
            outcome: verdict.word(),
            key: Key::new(key),
            project: project.to_string(),
            message: wording::detail(object),
        }
    }
}

/// The name of a guard. It is the word of the guard's option, if the guard has one.
fn guard_name(guard: Guard) -> &'static str {
    guard.name().unwrap_or(match guard {
        Guard::Relocation => "move",
        Guard::Retarget => "retarget",
        _ => "state-namespace",
    })
}

fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The committed schema. If this test fails because the types changed, replace the file with the text that the
    /// message shows.
    const SCHEMA: &str = include_str!("v1.schema.json");

    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "only the schema of the type is used")]
    #[schemars(untagged)]
    enum Report {
        Plan(Plan),
        Outcome(Outcome),
    }

    #[test]
    fn the_committed_schema_is_the_one_of_the_types() {
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(Report)).unwrap() + "\n";
        assert!(schema == SCHEMA, "src/report/json/v1.schema.json should be:\n{schema}");
    }
}

//! Plans and outcomes as JSON, for programs. The order of the keys is part of the format.

use std::path::Path;

use serde::{Serialize, Serializer};

use super::Heading;
use crate::object::ident::ObjectKey;
use crate::plan::build::{Plan, PlanMode};
use crate::plan::change::{Action, Change, FieldChange, Reason};
use crate::plan::guard::TreeDoubt;
use crate::plan::outcome::{ObjectOutcome, Outcome, Verdict};
use crate::project::path::ProjectPath;

/// The version of the format. It increases when programs for the previous version would misread the new one.
pub(crate) const VERSION: u32 = 1;

/// A plan as JSON.
#[derive(Serialize)]
pub struct PlanDocument<'a> {
    version: u32,
    root: &'a ProjectPath,
    target: &'a str,
    mode: PlanMode,
    base: Option<&'a str>,
    head: Option<&'a str>,
    scope: Vec<&'a ProjectPath>,
    summary: Counts,
    changes: Vec<ChangeDocument<'a>>,
    cleanup: Vec<ChangeDocument<'a>>,
    refusals: &'a [TreeDoubt],
    notices: &'a [String],
    digest: &'a str,
    cluster: Option<&'a str>,
}

/// The outcome of a run as JSON.
#[derive(Serialize)]
pub struct OutcomeDocument<'a> {
    version: u32,
    root: &'a ProjectPath,
    target: &'a str,
    cluster: Option<&'a str>,
    base: Option<&'a str>,
    head: Option<&'a str>,
    complete: bool,
    error: Option<&'a str>,
    summary: Counts,
    applied: Vec<ObjectDocument<'a>>,
    cleaned: Vec<ObjectDocument<'a>>,
    kept: Vec<ChangeDocument<'a>>,
    refusals: &'a [TreeDoubt],
    notices: &'a [String],
    digest: &'a str,
}

/// Returns a plan as a value to serialize.
pub fn plan<'a>(plan: &'a Plan, heading: &Heading<'a>) -> PlanDocument<'a> {
    let count = |action: Action| plan.all().filter(|change| change.action == action).count();
    PlanDocument {
        version: VERSION,
        root: &plan.root,
        target: heading.target,
        mode: plan.mode,
        base: heading.base,
        head: heading.head,
        scope: plan.scope.iter().collect(),
        summary: Counts(Action::ALL.map(|action| (action.word(), count(action))).to_vec()),
        changes: plan.changes.iter().map(ChangeDocument::new).collect(),
        cleanup: plan.cleanup.iter().map(ChangeDocument::new).collect(),
        refusals: &plan.refusals,
        notices: &plan.notices,
        digest: &plan.digest,
        cluster: heading.cluster,
    }
}

/// Returns an outcome as a value to serialize. `error` is the error that ended the run early, if any.
pub fn outcome<'a>(
    plan: &'a Plan,
    outcome: &'a Outcome,
    heading: &Heading<'a>,
    error: Option<&'a str>,
) -> OutcomeDocument<'a> {
    OutcomeDocument {
        version: VERSION,
        root: &plan.root,
        target: heading.target,
        cluster: heading.cluster,
        base: heading.base,
        head: heading.head,
        complete: error.is_none() && outcome.is_complete(),
        error,
        summary: Counts(Verdict::ALL.map(|verdict| (verdict.word(), outcome.count(verdict))).to_vec()),
        applied: outcome.applied.iter().map(ObjectDocument::new).collect(),
        cleaned: outcome.cleaned.iter().map(ObjectDocument::new).collect(),
        kept: plan.cleanup.iter().filter(|change| change.action != Action::Delete).map(ChangeDocument::new).collect(),
        refusals: &plan.refusals,
        notices: &plan.notices,
        digest: &plan.digest,
    }
}

/// Returns a document as indented JSON that is safe in a terminal and in a workflow's log.
///
/// # Errors
///
/// The errors of the serializer. Plans and outcomes cause none.
pub fn text(document: &impl Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string_pretty(document)?;
    let mut safe = String::with_capacity(text.len() + 1);
    // In JSON, `##[` and non-ASCII characters occur only in strings, so an escape has the same meaning.
    for character in text.replace("##[", "#\\u0023[").chars() {
        if character.is_ascii() || super::escape::visible(character.encode_utf8(&mut [0; 4])).chars().count() == 1 {
            safe.push(character);
        } else {
            safe.extend(character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    safe.push('\n');
    Ok(safe)
}

/// The number of objects for each word, in the given order.
struct Counts(Vec<(&'static str, usize)>);

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

#[derive(Serialize)]
struct ChangeDocument<'a> {
    action: Action,
    reason: &'a Reason,
    key: KeyDocument<'a>,
    version: &'a str,
    project: &'a ProjectPath,
    from: Option<&'a ProjectPath>,
    source: Option<SourceDocument>,
    diff: &'a [FieldChange],
}

impl<'a> ChangeDocument<'a> {
    fn new(change: &'a Change) -> Self {
        let Change { action, reason, ident, project, from, place, diff, .. } = change;
        Self {
            action: *action,
            reason,
            key: KeyDocument::new(&ident.key),
            version: &ident.version,
            project,
            from: from.as_ref(),
            source: place.as_ref().map(|place| SourceDocument { path: slashed(&place.path), line: place.line }),
            diff,
        }
    }
}

#[derive(Serialize)]
struct ObjectDocument<'a> {
    verdict: Verdict,
    key: KeyDocument<'a>,
    project: &'a ProjectPath,
    message: Option<&'a str>,
}

impl<'a> ObjectDocument<'a> {
    fn new(object: &'a ObjectOutcome) -> Self {
        let ObjectOutcome { key, project, verdict, message } = object;
        Self { verdict: *verdict, key: KeyDocument::new(key), project, message: message.as_deref() }
    }
}

#[derive(Serialize)]
struct KeyDocument<'a> {
    group: &'a str,
    kind: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
}

impl<'a> KeyDocument<'a> {
    fn new(key: &'a ObjectKey) -> Self {
        let ObjectKey { group, kind, namespace, name } = key;
        Self { group, kind, namespace: namespace.as_deref(), name }
    }
}

/// The place of an object in a source file.
#[derive(Serialize)]
struct SourceDocument {
    path: String,
    /// The line, from 1. It is 0 for the file as a whole.
    line: usize,
}

fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

//! The plan itself, and the pure function that makes it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::change::{Action, Change, Disposition, FieldChange, Reason};
use super::cleanup::{self, CleanupRequest};
use super::cohabiting::CohabitingKeys;
use super::field_rules::other_tool;
use super::migration::{FieldTransfer, is_bookkeeping};
use super::observed::{DryRun, Lookup, Observed};
use super::policy::{Adoption, Policy};
use super::{blocking, diff, digest, guard, leftover_fields, message_redaction, obstacle, remedy, unready};
use crate::object::ident::ObjectKey;
use crate::object::live::Live;
use crate::object::manifest::Manifest;
use crate::object::mark::{Ownership, ROOT, Root, ownership};
use crate::object::redact::{Adopted, Redactor};
use crate::object::refusal::{FieldConflict, Refusal};
use crate::project::path::ProjectPath;
use crate::project::scope::Scope;
use crate::project::snapshot::SourceError;
use crate::state::payload::Entries;

/// The method by which the plan was computed. It tells a reader how far to rely on the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanMode {
    /// From dry runs of the API server.
    Server,
    /// From the difference between the base tree and the head tree, without a cluster.
    Offline,
}

/// Everything that a run would do. A plan is immutable and is executed as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The root.
    pub root: ProjectPath,
    /// The method by which the plan was computed.
    pub mode: PlanMode,
    /// The projects that may be changed.
    pub scope: BTreeSet<ProjectPath>,
    /// Every desired object in scope, including unchanged ones, by key.
    pub changes: Vec<Change>,
    /// Every recorded, undesired object in scope that is not gone: the deletions, and the objects that stay or are
    /// released, with the reason.
    pub cleanup: Vec<Change>,
    /// The reasons to refuse the run as a whole.
    pub refusals: Vec<guard::TreeDoubt>,
    /// The files of projects in scope that cannot be rendered. Those projects fail, and nothing is deleted.
    pub broken: Vec<SourceError>,
    /// The blocked, kept or failed objects that the source changes since the baseline concern. Objects that only
    /// earlier changes concern are not included. Objects that their own annotation or the root's settings protect, or
    /// that the run of a later commit deletes, are not included either, because keeping them is no refusal.
    pub own: BTreeSet<ObjectKey>,
    /// The objects that the run leaves as they are although they are not ready. Their projects are open unless these
    /// objects become ready.
    pub unready: BTreeSet<ObjectKey>,
    /// Further information for the reader.
    pub notices: Vec<String>,
    /// Identifies the planned changes.
    pub digest: String,
}

impl Plan {
    /// Lists the changes and the cleanup together.
    pub fn all(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().chain(&self.cleanup)
    }

    /// The number of objects for each action.
    pub fn summary(&self) -> BTreeMap<Action, usize> {
        let mut summary = BTreeMap::new();
        for change in self.all() {
            *summary.entry(change.action).or_default() += 1;
        }
        summary
    }

    /// Returns `true` if any object has an action other than unchanged or keep. Blocked objects count.
    pub fn has_changes(&self) -> bool {
        self.all().any(|change| !matches!(change.action, Action::Unchanged | Action::Keep))
    }

    /// Returns `true` if a run would write, delete or release any object.
    pub fn writes(&self) -> bool {
        self.all().any(|change| !matches!(change.action, Action::Unchanged | Action::Keep | Action::Blocked))
    }

    /// Lists the objects to delete for good.
    pub fn deletions(&self) -> impl Iterator<Item = &Change> {
        self.cleanup.iter().filter(|change| change.action == Action::Delete)
    }

    /// Lists the objects that stay as they are although the plan has something to do with them, with the given
    /// disposition.
    pub fn standing(&self, standing: Disposition) -> impl Iterator<Item = &Change> {
        self.all().filter(move |change| change.disposition() == Some(standing))
    }

    /// The projects in which an object is blocked, kept, failed or left unready.
    pub(crate) fn open_projects(&self) -> BTreeSet<ProjectPath> {
        let unready = unready::of(self).map(|change| change.project.clone());
        blocking::open_projects(self.all()).into_iter().chain(unready).collect()
    }

    /// Returns `true` if a review is still needed, because a later run may delete or replace an object. Either the
    /// deletion or replacement is kept and not protected, or an object is blocked for a reason that may hide a
    /// replacement.
    pub(crate) fn awaits_review(&self) -> bool {
        self.all().any(|change| match change.action {
            Action::Keep => !matches!(change.reason, Reason::Protected(_) | Reason::Irreplaceable(_)),
            Action::Blocked => matches!(change.reason, Reason::Needs(_) | Reason::Unknown(_)),
            _ => false,
        })
    }

    /// The objects that the run intends to own: those that it writes and those that are as desired.
    pub fn intent(&self) -> Entries {
        let mut intent = Entries::default();
        for change in self.changes.iter().filter(|change| change.disposition().is_none()) {
            intent.insert(&change.project, &change.ident);
        }
        intent
    }

    /// Lists the objects to delete and create anew.
    pub fn replacements(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.action == Action::Replace)
    }
}

/// The inputs of a plan, except for the observations.
#[derive(Clone, Copy)]
pub struct PlanRequest<'a> {
    /// The root.
    pub root: &'a Root,
    /// The projects that may be changed.
    pub scope: &'a Scope,
    /// Every desired object of the whole tree.
    pub desired: &'a BTreeMap<ObjectKey, Manifest>,
    /// Everything that was recorded before the run.
    pub entries: &'a Entries,
    /// The permissions of the run.
    pub policy: &'a Policy,
    /// The rules for what may be shown.
    pub redactor: &'a Redactor,
    /// The projects with a file that cannot be rendered, each with the error.
    pub broken: &'a BTreeMap<ProjectPath, String>,
    /// The baseline: the tree before the source changes for which the plan is made.
    pub before: Baseline<'a>,
}

/// The desired objects before the source changes for which the plan is made.
#[derive(Clone, Copy)]
pub enum Baseline<'a> {
    /// These objects were desired.
    Desired(&'a BTreeMap<ObjectKey, Manifest>),
    /// The changes are not known, so every object counts as changed by them.
    Unknown,
    /// The earlier tree cannot be read, so no object counts as changed by them.
    Unreadable,
}

impl Baseline<'_> {
    /// Returns `true` if the source changes since the baseline concern an object: they drop it, add it, move it or
    /// change its manifest.
    fn concerns(self, key: &ObjectKey, desired: Option<&Manifest>) -> bool {
        match self {
            Self::Unknown => true,
            Self::Unreadable => false,
            Self::Desired(before) => match (before.get(key), desired) {
                (None, None) => false,
                (Some(before), Some(after)) => before.body != after.body || before.project != after.project,
                (Some(_), None) | (None, Some(_)) => true,
            },
        }
    }
}

impl<'a> PlanRequest<'a> {
    /// Lists the desired objects in scope.
    pub(crate) fn in_scope(&self) -> impl Iterator<Item = &'a Manifest> {
        let Self { scope, desired, .. } = *self;
        desired.values().filter(move |manifest| scope.contains(&manifest.project))
    }

    /// The manifest in the form in which it is sent to the server.
    pub(crate) fn stamped(&self, manifest: &Manifest) -> Value {
        self.policy.sent(manifest, self.root)
    }
}

/// Makes the plan. It is pure: the same inputs give the same plan.
pub fn build(request: PlanRequest<'_>, observed: &Observed) -> Plan {
    let PlanRequest { root, scope, entries, policy, redactor, desired, broken: _, before } = request;
    let cohabiting = CohabitingKeys::of(desired.keys(), observed);
    let mut changes: Vec<Change> =
        request.in_scope().map(|manifest| change(request, observed, &cohabiting, manifest)).collect();
    let live_body = |key: &ObjectKey| observed.live(key).map(|live| &live.body);
    guard::keep_guarded(&mut changes, live_body, policy);
    blocking::block_dependents(&mut changes, desired);

    let keys: BTreeSet<&ObjectKey> = desired.keys().collect();
    let mut cleanup = {
        let written = changes.iter().filter(|change| change.disposition().is_none());
        let intended = &written.map(|change| &change.ident.key).collect();
        cleanup::decide(CleanupRequest { root, scope, entries, desired: &keys, intended, policy }, observed)
    };
    guard::keep_guarded(&mut cleanup, live_body, policy);
    name_obstacles(&mut changes, &cleanup, desired, observed);
    blocking::keep_needed(&changes, &mut cleanup, &keys, observed);
    let told = guard::keep_holders_of_others(&mut cleanup, observed, policy);
    blocking::keep_needed(&changes, &mut cleanup, &keys, observed);
    let live = entries.keys().into_iter().filter(|key| is_live_and_ours(observed, key, root)).count();
    let refusals = guard::doubts(&cleanup, desired.len(), live, policy);
    guard::keep_shares(&mut changes, &mut cleanup, live, policy);
    blocking::block_dependents(&mut changes, desired);
    blocking::keep_needed(&changes, &mut cleanup, &keys, observed);

    for change in &mut cleanup {
        message_redaction::put(change, observed, None, root, redactor);
    }
    let all: Vec<Change> = changes.iter().chain(&cleanup).cloned().collect();
    let (own, earlier): (Vec<&Change>, Vec<&Change>) = all
        .iter()
        .filter(|change| change.disposition().is_some() && !change.reason.is_no_refusal())
        .partition(|change| before.concerns(&change.ident.key, desired.get(&change.ident.key)));
    let own = own.into_iter().map(|change| change.ident.key.clone()).collect();
    let earlier = left_over(&earlier);
    let digest = digest::digest(&all, |key| desired.get(key).map(|manifest| &manifest.body));
    let rules = policy.told();
    let digest = digest::with_settings(digest, &rules);
    let held = observed.held.iter().map(|key| {
        format!("{key} keeps fields that another tool set and no manifest states: the server refuses to remove them.")
    });
    let tools = changes.iter().filter(|change| change.action == Action::Adopt).filter_map(|change| {
        let key = &change.ident.key;
        let tool = other_tool(&observed.live(key)?.body)?;
        Some(format!("{key} is managed by {tool}: stop that before the adoption, or both tools will change it."))
    });
    let told = tools.chain(held).chain(told).chain(unchecked(&all)).chain(earlier);
    let notices = rules.into_iter().chain(told).collect();
    let (scope, broken) = (scope.projects().clone(), Vec::new());
    let (root, mode, unready) = (root.project(), PlanMode::Server, unready::left(&changes, observed));
    Plan { root, mode, scope, changes, cleanup, refusals, broken, own, unready, notices, digest }
}

fn is_live_and_ours(observed: &Observed, key: &ObjectKey, root: &Root) -> bool {
    observed.live(key).is_some_and(|live| matches!(ownership(live, root), Ownership::Ours(_)))
}

/// Counts the objects that earlier changes left blocked, kept or failed, and names the first.
fn left_over(earlier: &[&Change]) -> Option<String> {
    let first = earlier.first().map(|change| format!("{} ({})", change.ident.key, change.reason))?;
    Some(match earlier.len() {
        1 => format!("An earlier change left 1 object as it is: {first}."),
        count => format!("Earlier changes left {count} objects as they are, the first of them {first}."),
    })
}

/// Counts the objects that the server could not check.
fn unchecked(changes: &[Change]) -> Option<String> {
    match changes.iter().filter(|change| matches!(change.reason, Reason::Unverified(_))).count() {
        0 => None,
        1 => Some("1 object is not yet checked by the server: what it needs comes first in the same run.".to_owned()),
        count => Some(format!(
            "{count} objects are not yet checked by the server: what they need comes first in the same run."
        )),
    }
}

fn change(
    request: PlanRequest<'_>,
    observed: &Observed,
    cohabiting: &CohabitingKeys<'_>,
    manifest: &Manifest,
) -> Change {
    let key = &manifest.ident.key;
    let live = observed.live(key);
    let mut change = Change {
        action: Action::Unchanged,
        reason: Reason::AsDesired,
        ident: manifest.ident.clone(),
        project: manifest.project.clone(),
        from: None,
        place: Some(manifest.place.clone()),
        uid: live.map(|live| live.uid().to_owned()),
        resource_version: live.map(|live| live.resource_version().to_owned()),
        diff: Vec::new(),
    };
    let owner = live.map(|live| owner_of(request, key, live));
    let is_taken = live.is_some_and(|live| request.policy.takes_over(key, live));
    if let Some(why) = request.broken.get(&manifest.project) {
        (change.action, change.reason) = (Action::Blocked, Reason::Unrendered(why.clone()));
        return change;
    }
    if let Some(Ownership::Other(owner)) = owner.as_ref().filter(|_| !is_taken) {
        (change.action, change.reason) = (Action::Blocked, Reason::Foreign(owner.clone()));
        return change;
    }
    if let Some(cohabiting) = live.and_then(|live| cohabiting.others(key, live).next()) {
        let place = request.desired.get(cohabiting).map(|other| format!(", which stands at {}", other.place));
        let other = format!("{cohabiting}{}: remove one of them", place.unwrap_or_default());
        (change.action, change.reason) = (Action::Blocked, Reason::SameObject(other));
    } else if let Some(Lookup::Unknown(why)) = observed.looks.get(key) {
        (change.action, change.reason) = (Action::Blocked, Reason::Unknown(why.clone()));
    } else if let Some(held) = live.and_then(|live| leaving(live, observed.trials.get(key))) {
        (change.action, change.reason) = (Action::Create, Reason::Terminating(held));
    } else {
        match observed.trials.get(key) {
            Some(DryRun::Proved) if live.is_none() => change.reason = Reason::Done,
            Some(DryRun::Proved) => {}
            Some(DryRun::Created) => (change.action, change.reason) = (Action::Create, Reason::New),
            Some(DryRun::Unverified(by)) => {
                change.action = unverified(&manifest.project, owner, &mut change.from);
                change.reason = Reason::Unverified(by.clone());
            }
            Some(DryRun::Refused(refusal)) => {
                let told = message_redaction::folded(refusal, live, manifest, request.redactor);
                (change.action, change.reason) = (Action::Blocked, reason_of(&told));
                if let (Some(live), Refusal::Conflict(contested)) = (live, &told) {
                    change.diff = contested_values(request, manifest, live, contested);
                }
            }
            Some(DryRun::Immutable(refusal)) => {
                immutable(request.policy, &manifest.project, live.zip(owner), refusal, &mut change);
                if let Some(live) = live.filter(|_| change.action == Action::Replace) {
                    change.diff = replaced(request, manifest, live);
                }
            }
            Some(DryRun::Applied(after)) => existing(request, manifest, live, owner, after, &mut change),
            None => {
                let why = "no dry run was made".to_owned();
                (change.action, change.reason) = (Action::Blocked, Reason::Unknown(why));
            }
        }
    }
    let is_asked_for = matches!(change.reason, Reason::TakenFrom(_));
    if change.action == Action::Adopt && !is_asked_for && request.policy.adoption == Adoption::Refused {
        (change.action, change.reason) = (Action::Blocked, Reason::Unmarked);
    }
    let is_about_null = matches!(&change.reason, Reason::Refused(words) if words.contains("null"));
    message_redaction::put(&mut change, observed, Some(&manifest.body), request.root, request.redactor);
    if is_about_null {
        change.reason = with_null(change.reason, &manifest.body);
    }
    change
}

/// The owner of a live object. If the managed fields of its mark were lost, the mark counts only for a recorded object:
/// anyone could have restored an object with a copied mark.
fn owner_of(request: PlanRequest<'_>, key: &ObjectKey, live: &Live) -> Ownership {
    match ownership(live, request.root) {
        Ownership::Lost(project) if !request.entries.keys().contains(key) => Ownership::Copied(project.to_string()),
        owner => owner,
    }
}

/// The action for an object that the server cannot check yet. For a move, it sets `from`.
fn unverified(project: &ProjectPath, owner: Option<Ownership>, from: &mut Option<ProjectPath>) -> Action {
    match owner {
        None => Action::Create,
        Some(Ownership::Ours(before)) if before != *project => {
            *from = Some(before);
            Action::Move
        }
        Some(Ownership::Ours(_)) => Action::Update,
        Some(_) => Action::Adopt,
    }
}

/// Describes what delays the end of an object that is being deleted. `None` if the object is not being deleted, or if
/// the server refuses to create it anew.
fn leaving(live: &Live, trial: Option<&DryRun>) -> Option<String> {
    if !live.is_terminating() || matches!(trial, Some(DryRun::Refused(_))) {
        return None;
    }
    let holders = live.holders();
    let held = if holders.is_empty() { String::new() } else { format!(", held by {}", holders.join(", ")) };
    Some(format!("{held}: it is waited for and then created"))
}

/// Decides about an object that exists and whose dry run succeeded.
fn existing(
    request: PlanRequest<'_>,
    manifest: &Manifest,
    live: Option<&Live>,
    owner: Option<Ownership>,
    after: &Live,
    change: &mut Change,
) {
    let Some(live) = live else {
        // The object appeared after the plan read the lists. The dry run found it, and then it was gone again.
        let why = "it appeared and vanished while the plan was made: plan again".to_owned();
        (change.action, change.reason) = (Action::Blocked, Reason::Unknown(why));
        return;
    };
    change.diff = diff::fields(&live.body, &after.body, request.redactor);
    let transfer =
        FieldTransfer::of(request.root, &manifest.ident.api_version(), request.policy, &manifest.ident.key, live);
    let takes_over = transfer.is_due(live) || is_taken_over(live, request.root);
    let differs = change.diff.iter().any(|field| !takes_over || !is_bookkeeping(&field.path));
    (change.action, change.reason) = match owner {
        Some(Ownership::Ours(project) | Ownership::Lost(project)) if project != manifest.project => {
            change.from = Some(project.clone());
            (Action::Move, Reason::MovedFrom(project.to_string()))
        }
        Some(Ownership::Lost(_)) => (Action::Update, Reason::TakeOver),
        Some(Ownership::Ours(_)) if differs => (Action::Update, Reason::Differs),
        Some(Ownership::Ours(_)) if takes_over => (Action::Update, Reason::TakeOver),
        Some(Ownership::Ours(_)) => (Action::Unchanged, Reason::AsDesired),
        Some(Ownership::Copied(_)) => (Action::Adopt, Reason::TakeOver),
        Some(Ownership::Other(owner)) => (Action::Adopt, Reason::TakenFrom(owner)),
        Some(Ownership::Unmarked) | None => (Action::Adopt, Reason::Unmarked),
    };
    // An object that is not ours yet may belong to anyone. A person who can name it in a manifest must not be able to
    // read its values in the plan.
    if change.action == Action::Adopt && request.redactor.adopted() == Adopted::Hidden {
        change.diff = diff::stated(&manifest.body, request.redactor);
    }
}

/// Decides about an object that can be changed only by deleting it and creating it anew. Only an object that is ours by
/// its live mark is replaced.
fn immutable(
    policy: &Policy,
    project: &ProjectPath,
    live: Option<(&Live, Ownership)>,
    refusal: &Refusal,
    change: &mut Change,
) {
    let key = &change.ident.key;
    let (action, reason) = match live {
        Some((live, Ownership::Ours(from))) => {
            change.from = (from != *project).then_some(from);
            let kept = cleanup::kept(policy, key, live);
            if guard::is_irreplaceable(key) {
                let why = "a volume or its claim is never replaced";
                (Action::Keep, Reason::Irreplaceable(format!("{refusal}{}{why}", message_redaction::BUT)))
            } else if let Some(why) = kept {
                (Action::Keep, Reason::Irreplaceable(format!("{refusal}{}{why}", message_redaction::BUT)))
            } else if let Some(Reason::Withheld(why)) = policy.sources.prevents_deletion() {
                (Action::Keep, Reason::Withheld(format!("{refusal}{}{why}", message_redaction::BUT)))
            } else if let Some(withheld) = policy.sources.prevents_deletion() {
                (Action::Keep, withheld)
            } else if policy.reviewed.shows_replacement(key) {
                (Action::Replace, Reason::Immutable(refusal.to_string()))
            } else {
                (Action::Keep, Reason::Unreviewed)
            }
        }
        _ => (Action::Blocked, reason_of(refusal)),
    };
    (change.action, change.reason) = (action, reason);
}

/// Lists both values of each contested field. The live value is shown only if the object is ours, or if the redactor
/// shows adopted objects.
fn contested_values(
    request: PlanRequest<'_>,
    manifest: &Manifest,
    live: &Live,
    contested: &[FieldConflict],
) -> Vec<FieldChange> {
    let mut lines = replaced(request, manifest, live);
    let plain = |field: &str| field.trim_start_matches('.').replace('"', "");
    let fields: Vec<String> = contested.iter().map(|one| plain(&one.field)).collect();
    lines.retain(|line| fields.contains(&line.path));
    let is_shown = request.redactor.adopted() == Adopted::Shown;
    if !(is_shown || matches!(ownership(live, request.root), Ownership::Ours(_))) {
        for line in &mut lines {
            line.before = None;
        }
    }
    lines
}

/// Lists the changes that a replacement makes to the fields that the manifest states. The server's message does not
/// show them.
fn replaced(request: PlanRequest<'_>, manifest: &Manifest, live: &Live) -> Vec<FieldChange> {
    let transfer =
        FieldTransfer::of(request.root, &manifest.ident.api_version(), request.policy, &manifest.ident.key, live);
    let after = leftover_fields::merged(live, &request.stamped(manifest), &transfer, request.root);
    diff::fields(&live.body, &after, request.redactor)
}

/// Returns `true` if an apply would take over an object that an older tool marked: our label is missing, or we have no
/// Apply entry in its managed fields.
fn is_taken_over(live: &Live, root: &Root) -> bool {
    let manager = root.field_manager();
    let applied = crate::object::mark::managed_fields(live).any(|entry| {
        entry.get("manager").and_then(Value::as_str) == Some(manager.as_str())
            && entry.get("operation").and_then(Value::as_str) == Some("Apply")
    });
    live.label(ROOT).is_none() || !applied
}

fn reason_of(refusal: &Refusal) -> Reason {
    match refusal {
        Refusal::Conflict(contested) => Reason::Conflict(remedy::words(contested)),
        Refusal::Beside(_) => Reason::Conflict(refusal.to_string()),
        Refusal::NoNamespace(text) => Reason::Missing(format!("{text}, and no manifest creates it")),
        Refusal::Absent(text) => Reason::Missing(format!("something that it refers to does not exist: {text}")),
        Refusal::NoKind(text) => {
            Reason::Missing(format!("{text}: the server does not know this kind, and no manifest defines it"))
        }
        Refusal::NoVersion(text) => Reason::Missing(text.clone()),
        Refusal::Terminating(text) => Reason::Terminating(format!(": {text}")),
        Refusal::Unavailable(text) => Reason::Unknown(text.clone()),
        Refusal::Changed(_)
        | Refusal::Malformed(_)
        | Refusal::TooLarge(_)
        | Refusal::Unreadable(_)
        | Refusal::Invalid(_)
        | Refusal::Forbidden(_)
        | Refusal::Denied(_) => Reason::Refused(refusal.to_string()),
    }
}

/// Adds the place of a null to the reason for a refusal. Server-side apply treats a null as a value, so the null may be
/// the cause.
fn with_null(reason: Reason, body: &Value) -> Reason {
    match reason {
        Reason::Refused(words) => Reason::Refused(match null_in(body, String::new()) {
            Some(place) => format!("{words}; the manifest has null at {place}: remove it"),
            None => words,
        }),
        reason => reason,
    }
}

/// The path of the first null in a value.
fn null_in(value: &Value, path: String) -> Option<String> {
    match value {
        Value::Null => Some(path),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| null_in(value, format!("{path}.{name}"))),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, value)| null_in(value, format!("{path}[{index}]")))
        }
        _ => None,
    }
}

/// For each refused object, names the object that stands in its way and that the same run deletes.
fn name_obstacles(
    changes: &mut [Change],
    cleanup: &[Change],
    desired: &BTreeMap<ObjectKey, Manifest>,
    observed: &Observed,
) {
    let deleted = cleanup.iter().filter(|change| change.action == Action::Delete);
    let deleted: Vec<(&ObjectKey, &Value)> =
        deleted.filter_map(|change| Some((&change.ident.key, &observed.live(&change.ident.key)?.body))).collect();
    for change in changes.iter_mut().filter(|change| change.action == Action::Blocked) {
        let key = &change.ident.key;
        if let Some(DryRun::Refused(refusal)) = observed.trials.get(key)
            && let Some(body) = desired.get(key).map(|manifest| &manifest.body)
            && let Some(by) = obstacle::obstacle(refusal, key, body, &deleted)
            && let Reason::Refused(words) | Reason::Unknown(words) = &mut change.reason
        {
            words.push_str(&format!(
                "; {by} stands in the way, and what a run deletes goes only after what it applies is ready: delete that \
                 one in a commit of its own first, or give it a project of its own"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ident::Ident;
    use crate::object::kinds::Kinds;
    use crate::object::mark::PROJECT;
    use crate::object::refusal::FieldConflict;
    use crate::plan::guard::Guard;
    use crate::plan::policy::{Reviewed, Shown, SourceCoverage, TakeOver};
    use crate::project::path::Segment;
    use crate::project::scope::ScopeRequest;
    use crate::project::snapshot::SourcePlace;
    use crate::project::tree::Cleanup;
    use serde_json::json;

    const SECRET: &str = "aHVudGVyMg==";

    fn root() -> Root {
        Root::new(Segment::new("demo").unwrap())
    }

    fn key(kind: &str, name: &str) -> ObjectKey {
        ObjectKey { group: String::new(), kind: kind.into(), namespace: Some("x".into()), name: name.into() }
    }

    fn web() -> ObjectKey {
        key("ConfigMap", "web")
    }

    fn manifest(key: &ObjectKey, project: &str) -> Manifest {
        let ident = Ident { key: key.clone(), version: "v1".into() };
        let body = json!({"apiVersion": "v1", "kind": key.kind, "metadata": {"name": key.name, "namespace": "x"},
            "data": {"word": SECRET}});
        Manifest { ident, project: project.parse().unwrap(), place: SourcePlace::whole("web.yaml"), body }
    }

    /// A live object with a mark for the given project. The given manager and operation wrote the mark. `label` is the
    /// hash in the root label, if any.
    fn marked(project: &str, manager: &str, operation: &str, label: Option<&str>) -> Live {
        let mut body = manifest(&web(), "demo").body;
        body["metadata"]["annotations"][PROJECT] = json!(project);
        body["metadata"]["labels"] = label.map_or(json!({}), |hash| json!({ROOT: hash}));
        body["metadata"]["uid"] = json!("u");
        body["metadata"]["managedFields"] = json!([{"manager": manager, "operation": operation, "apiVersion": "v1",
            "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{PROJECT}"): {}}}}}]);
        Live { body }
    }

    fn ours(project: &str) -> Live {
        marked(project, "ktor-demo", "Apply", Some(root().hash()))
    }

    fn others() -> Live {
        marked("other", "ktor-other", "Apply", None)
    }

    fn unmarked() -> Live {
        Live { body: manifest(&web(), "demo").body }
    }

    fn with(mut live: Live, field: &str, value: Value) -> Live {
        live.body["metadata"][field] = value;
        live
    }

    fn policy() -> Policy {
        Policy::new(Cleanup::On, "kubernator-system")
    }

    fn planned(policy: &Policy, desired: &[Manifest], entries: &Entries, observed: &Observed) -> Plan {
        let scope = Scope::resolve(&ScopeRequest::default(), &[root().project()].into(), &BTreeSet::new()).unwrap();
        let desired = desired.iter().map(|manifest| (manifest.ident.key.clone(), manifest.clone())).collect();
        let redactor = Redactor::default();
        let request = PlanRequest {
            root: &root(),
            scope: &scope,
            desired: &desired,
            entries,
            policy,
            redactor: &redactor,
            broken: &BTreeMap::new(),
            before: Baseline::Unknown,
        };
        build(request, observed)
    }

    /// The plan for one desired object.
    fn one(policy: &Policy, look: Option<Lookup>, trial: Option<DryRun>) -> Plan {
        let observed = Observed {
            kinds: Kinds::builtin(),
            looks: look.into_iter().map(|look| (web(), look)).collect(),
            trials: trial.into_iter().map(|trial| (web(), trial)).collect(),
            ..Observed::default()
        };
        planned(policy, &[manifest(&web(), "demo")], &Entries::default(), &observed)
    }

    fn decided(look: Option<Lookup>, trial: Option<DryRun>) -> (Action, String) {
        let plan = one(&policy(), look, trial);
        let [change] = &plan.changes[..] else { panic!("{plan:?}") };
        (change.action, change.reason.to_string())
    }

    #[test]
    fn each_dry_run_gives_one_action_and_says_why() {
        let refused = |refusal| Some(DryRun::Refused(refusal));
        let text = || "words".to_owned();
        let contested = vec![FieldConflict { field: ".data".into(), manager: "kubectl-edit".into() }];
        for (trial, action, why) in [
            (Some(DryRun::Created), Action::Create, "new"),
            (Some(DryRun::Unverified("Namespace x".into())), Action::Create, "Namespace x comes first in the same run"),
            (refused(Refusal::Conflict(contested)), Action::Blocked, "conflict: .data is held by kubectl-edit"),
            (refused(Refusal::NoNamespace(text())), Action::Blocked, "words, and no manifest creates it"),
            (refused(Refusal::NoKind(text())), Action::Blocked, "no manifest defines it"),
            (refused(Refusal::Terminating(text())), Action::Blocked, "is being deleted: words"),
            (refused(Refusal::Unavailable(text())), Action::Blocked, "not known: words"),
            (refused(Refusal::Invalid(text())), Action::Blocked, "refused by the server: words"),
            (refused(Refusal::Denied(text())), Action::Blocked, "refused by the server: words"),
            (Some(DryRun::Applied(ours("demo"))), Action::Blocked, "it appeared and vanished"),
            (None, Action::Blocked, "no dry run was made"),
        ] {
            for look in [None, Some(Lookup::Absent)] {
                let (decided, reason) = decided(look, trial.clone());
                assert!(decided == action && reason.contains(why), "{trial:?}: {decided:?} {reason}");
            }
        }
        let unknown = decided(Some(Lookup::Unknown("no answer".into())), Some(DryRun::Created));
        assert_eq!(unknown, (Action::Blocked, "not known: no answer".to_owned()));
    }

    #[test]
    fn what_exists_is_left_updated_moved_or_adopted_by_its_mark_and_its_managers() {
        let hash = root().hash().to_owned();
        let written = |manager: &str| {
            json!([{"manager": manager, "operation": "Update", "apiVersion": "v1",
            "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{PROJECT}"): {}}}}}])
        };
        let changed = || {
            let mut live = ours("demo");
            live.body["data"]["word"] = json!("b3RoZXI=");
            live
        };
        for (what, live, after, action, why) in [
            ("nothing differs", ours("demo"), ours("demo"), Action::Unchanged, "as desired"),
            ("a value differs", ours("demo"), changed(), Action::Update, "differs"),
            ("of another project", ours("demo.a"), ours("demo"), Action::Move, "moved from demo.a"),
            (
                "without its label",
                marked("demo", "ktor-demo", "Apply", None),
                ours("demo"),
                Action::Update,
                "take-over",
            ),
            (
                "not applied by us",
                marked("demo", "ktor-demo", "Update", Some(&hash)),
                ours("demo"),
                Action::Update,
                "take-over",
            ),
            (
                "applied by Kubernator",
                marked("demo", "kubernator", "Apply", Some(&hash)),
                ours("demo"),
                Action::Update,
                "take-over",
            ),
            (
                "copied",
                with(ours("demo"), "managedFields", written("someone")),
                ours("demo"),
                Action::Adopt,
                "take-over",
            ),
            (
                "restored, and never recorded",
                with(ours("demo"), "managedFields", written("velero")),
                ours("demo"),
                Action::Adopt,
                "take-over",
            ),
            ("unmarked", unmarked(), ours("demo"), Action::Adopt, "exists without a mark"),
        ] {
            let (decided, reason) = decided(Some(Lookup::Live(live)), Some(DryRun::Applied(after)));
            assert!(decided == action && reason == why, "{what}: {decided:?} {reason}");
        }
        assert_eq!(decided(Some(Lookup::Live(ours("demo"))), Some(DryRun::Proved)).0, Action::Unchanged);
    }

    #[test]
    fn a_change_beside_a_take_over_is_told_as_a_difference() {
        let live = marked("demo", "kubernator", "Apply", Some(root().hash()));
        let mut after = ours("demo");
        after.body["data"]["word"] = json!("b3RoZXI=");
        let (action, reason) = decided(Some(Lookup::Live(live)), Some(DryRun::Applied(after)));
        assert_eq!((action, reason.as_str()), (Action::Update, "differs"));
    }

    #[test]
    fn what_kubectl_left_for_itself_is_no_difference_beside_a_take_over() {
        let mut live = with(ours("demo"), "managedFields", json!([]));
        live.body["metadata"]["managedFields"] = json!([
            {"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:data": {}}},
            {"manager": "kubernator", "operation": "Apply", "apiVersion": "v1",
                "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{PROJECT}"): {}}}}},
        ]);
        live.body["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!("{}");
        let (action, reason) = decided(Some(Lookup::Live(live)), Some(DryRun::Applied(ours("demo"))));
        assert_eq!((action, reason.as_str()), (Action::Update, "take-over"));
    }

    #[test]
    fn what_is_being_deleted_is_created_once_it_is_gone() {
        let leaving = || with(ours("demo"), "deletionTimestamp", json!("2031-05-06T07:08:09Z"));
        for trial in [None, Some(DryRun::Proved), Some(DryRun::Applied(ours("demo")))] {
            let (action, reason) = decided(Some(Lookup::Live(leaving())), trial);
            assert_eq!(
                (action, reason.as_str()),
                (Action::Create, "is being deleted: it is waited for and then created")
            );
        }
        let held = with(leaving(), "finalizers", json!(["a.dev/hold"]));
        let (_, reason) = decided(Some(Lookup::Live(held)), None);
        assert!(reason.contains("held by a.dev/hold: it is waited for"), "{reason}");
        let refused = Some(DryRun::Refused(Refusal::Invalid("words".into())));
        assert_eq!(decided(Some(Lookup::Live(leaving())), refused).0, Action::Blocked);
    }

    #[test]
    fn a5_only_what_is_ours_unprotected_and_shown_is_replaced() {
        let words = || Some(DryRun::Immutable(Refusal::Invalid("field is immutable".into())));
        let opened = || Policy { allowed: [Guard::Replacement].into(), ..policy() };
        let change = |policy: &Policy, live: Live| {
            let plan = one(policy, Some(Lookup::Live(live)), words());
            assert_eq!(plan.replacements().count(), usize::from(plan.changes[0].action == Action::Replace));
            assert_eq!(plan.deletions().count(), 0);
            plan.changes.into_iter().next().unwrap()
        };
        let why = "cannot be changed in place: field is immutable";
        let shown = |deleted: &[ObjectKey], replaced: &[ObjectKey]| {
            let by_one = |keys: &[ObjectKey]| keys.iter().map(|key| (key.clone(), 1)).collect();
            let (deleted, replaced) = (by_one(deleted), by_one(replaced));
            Policy { reviewed: Reviewed::Only(Shown { deleted, replaced }), ..opened() }
        };
        let kept = || {
            let mut live = ours("demo");
            live.body["metadata"]["annotations"]["kubernator.io/cleanup"] = json!("keep");
            live
        };
        for (what, policy, live, action, expected) in [
            ("ours", opened(), ours("demo"), Action::Replace, why),
            ("ours, of another project", opened(), ours("demo.a"), Action::Replace, why),
            ("marked by kubernator", opened(), marked("demo", "kubernator", "Update", None), Action::Replace, why),
            ("with cleanup off", Policy { cleanup: Cleanup::Off, ..opened() }, ours("demo"), Action::Replace, why),
            ("shown", shown(&[], &[web()]), ours("demo"), Action::Replace, why),
            ("shown to nobody", shown(&[], &[]), ours("demo"), Action::Keep, "no merged pull request's plan showed"),
            ("shown as deleted", shown(&[web()], &[]), ours("demo"), Action::Keep, "no merged pull request's plan"),
            ("unmarked", opened(), unmarked(), Action::Blocked, "refused by the server: field is immutable"),
            ("a copy", opened(), marked("demo", "velero", "Update", None), Action::Blocked, "refused by the server"),
            ("another root's", opened(), others(), Action::Blocked, "belongs to"),
            ("protected", opened(), kept(), Action::Keep, "it is not replaced, because its annotation"),
            (
                "while a source fails",
                Policy { sources: SourceCoverage::Failed, ..opened() },
                ours("demo"),
                Action::Keep,
                "it is not replaced, because a source of the tree cannot be rendered",
            ),
        ] {
            let change = change(&policy, live);
            let reason = change.reason.to_string();
            assert!(change.action == action && reason.contains(expected), "{what}: {:?} {reason}", change.action);
            assert_eq!(change.from.is_some(), what == "ours, of another project", "{what}");
        }
        assert!(one(&shown(&[], &[]), Some(Lookup::Live(ours("demo"))), words()).awaits_review());
        assert!(!one(&opened(), Some(Lookup::Live(ours("demo"))), words()).awaits_review());
        let behind = Policy { sources: SourceCoverage::LaterCommits, ..opened() };
        let behind = one(&behind, Some(Lookup::Live(ours("demo"))), words());
        assert_eq!(behind.changes[0].reason, Reason::LaterCommits);
        assert!(behind.own.is_empty(), "the run of the branch's last commit replaces it");
        let guarded = change(&policy(), ours("demo"));
        assert_eq!(
            (guarded.action, guarded.reason),
            (Action::Keep, Reason::Guarded(Guard::Replacement, String::new()))
        );
        assert_eq!(one(&opened(), None, words()).changes[0].action, Action::Blocked, "gone by the time it was read");
    }

    #[test]
    fn c5_what_a_later_run_may_still_delete_waits_for_its_review() {
        let gone = marked("demo", "ktor-demo", "Apply", Some("89e495e7941c"));
        let mut protected = gone.clone();
        protected.body["metadata"]["annotations"]["kubernator.io/cleanup"] = json!("keep");
        let dropped = |policy: Policy, look: Lookup| {
            let orphan = key("ConfigMap", "orphan");
            let mut entries = Entries::default();
            entries.insert(&"demo".parse().unwrap(), &Ident { key: orphan.clone(), version: "v1".into() });
            let looks = [(orphan, look)].into();
            let observed = Observed { kinds: Kinds::builtin(), looks, ..Observed::default() };
            planned(&policy, &[], &entries, &observed)
        };
        for (what, policy, look, waits, own) in [
            ("deleted", policy(), Lookup::Live(gone.clone()), false, 0),
            (
                "a broken source",
                Policy { sources: SourceCoverage::Failed, ..policy() },
                Lookup::Live(gone.clone()),
                true,
                1,
            ),
            (
                "no base",
                Policy { sources: SourceCoverage::BaseUnknown, ..policy() },
                Lookup::Live(gone.clone()),
                true,
                1,
            ),
            (
                "later commits",
                Policy { sources: SourceCoverage::LaterCommits, ..policy() },
                Lookup::Live(gone.clone()),
                true,
                0,
            ),
            ("not seen", policy(), Lookup::Unknown("no right".into()), true, 1),
            ("cleanup off", Policy { cleanup: Cleanup::Off, ..policy() }, Lookup::Live(gone), false, 0),
            (
                "an annotation",
                Policy { sources: SourceCoverage::LaterCommits, ..policy() },
                Lookup::Live(protected),
                false,
                0,
            ),
        ] {
            let plan = dropped(policy, look);
            assert_eq!((plan.awaits_review(), plan.own.len()), (waits, own), "{what}: {plan:?}");
        }
    }

    #[test]
    fn o4_another_roots_object_is_blocked_unless_it_is_named() {
        let look = || Some(Lookup::Live(others()));
        let applied = || Some(DryRun::Applied(ours("demo")));
        let plan = one(&policy(), look(), applied());
        assert_eq!(plan.changes[0].action, Action::Blocked);
        assert!(plan.changes[0].reason.to_string().contains("root other"), "{plan:?}");
        assert!(plan.refusals.is_empty() && plan.intent().is_empty(), "it blocks itself, and is not recorded");
        for taken in ["other", "ConfigMap x/web"] {
            let take_over = vec![taken.parse::<TakeOver>().unwrap()];
            // If the caller names the object or its root, the caller does not need to allow adoption too.
            let policy = Policy { take_over, adoption: Adoption::Refused, ..policy() };
            let plan = one(&policy, look(), applied());
            assert!(plan.refusals.is_empty(), "{taken}: {:?}", plan.refusals);
            assert_eq!(plan.changes[0].action, Action::Adopt, "{taken}");
            assert!(plan.changes[0].reason.to_string().starts_with("taken over from "), "{taken}");
        }
        for taken in ["another", "ConfigMap x/other"] {
            let policy = Policy { take_over: vec![taken.parse().unwrap()], ..policy() };
            assert_eq!(one(&policy, look(), applied()).changes[0].action, Action::Blocked, "{taken}");
        }
    }

    #[test]
    fn o4_adoption_that_is_off_blocks_what_has_no_mark_of_ours_and_nothing_else() {
        let off = Policy { adoption: Adoption::Refused, ..policy() };
        let change = |live: Option<Live>| {
            let trial = live.as_ref().map_or(DryRun::Created, |_| DryRun::Applied(ours("demo")));
            let plan = one(&off, live.map(Lookup::Live), Some(trial));
            assert_eq!(plan.refusals, []);
            plan.changes.into_iter().next().unwrap()
        };
        let blocked = change(Some(unmarked()));
        assert_eq!((blocked.action, blocked.reason), (Action::Blocked, Reason::Unmarked));
        assert_eq!(change(Some(ours("demo"))).action, Action::Unchanged);
        assert_eq!(change(None).action, Action::Create);
    }

    #[test]
    fn x6_what_was_restored_with_a_mark_and_never_recorded_shows_no_live_value() {
        let config = key("ConfigMap", "restored");
        let stated =
            Manifest { ident: Ident { key: config.clone(), version: "v1".into() }, ..manifest(&config, "demo") };
        let mut live = with(ours("demo"), "managedFields", json!([]));
        live.body["data"] = json!({"word": "a live value"});
        let mut observed = Observed { kinds: Kinds::builtin(), ..Observed::default() };
        observed.looks.insert(config.clone(), Lookup::Live(live));
        observed.trials.insert(config.clone(), DryRun::Applied(ours("demo")));
        let planned = |entries: &Entries| planned(&policy(), std::slice::from_ref(&stated), entries, &observed);
        let change = planned(&Entries::default()).changes.remove(0);
        assert_eq!(change.action, Action::Adopt);
        assert!(!format!("{change:?}").contains("a live value"), "{change:?}");
        let mut recorded = Entries::default();
        recorded.insert(&root().project(), &stated.ident);
        assert_eq!(planned(&recorded).changes.remove(0).action, Action::Update, "what is recorded is taken over again");
    }

    #[test]
    fn c8_an_object_that_is_desired_under_two_kinds_is_blocked_and_says_where_the_other_stands() {
        let event = |group: &str| ObjectKey { group: group.into(), ..key("Event", "e") };
        let keys = [event(""), event("events.k8s.io")];
        let mut observed = Observed::default();
        for key in &keys {
            observed.looks.insert(key.clone(), Lookup::Live(ours("demo")));
            observed.trials.insert(key.clone(), DryRun::Proved);
        }
        let plan = planned(&policy(), &keys.map(|key| manifest(&key, "demo")), &Entries::default(), &observed);
        assert_eq!(plan.changes.len(), 2);
        for change in &plan.changes {
            assert!(change.action == Action::Blocked && matches!(change.reason, Reason::SameObject(_)), "{change:?}");
            assert!(change.reason.to_string().contains("web.yaml"), "{}", change.reason);
        }
    }

    #[test]
    fn the_summary_counts_and_only_writes_are_changes() {
        let mut entries = Entries::default();
        let mut observed = Observed::default();
        for name in ["old", "older"] {
            entries.insert(&root().project(), &Ident { key: key("ConfigMap", name), version: "v1".into() });
            observed.looks.insert(key("ConfigMap", name), Lookup::Live(with(ours("demo"), "uid", json!(name))));
        }
        observed.trials.insert(web(), DryRun::Created);
        let desired = [manifest(&web(), "demo")];
        let plan = planned(&policy(), &desired, &entries, &observed);
        assert_eq!(plan.summary(), [(Action::Create, 1), (Action::Delete, 2)].into());
        assert_eq!(plan.deletions().count(), 2);
        assert!(plan.has_changes());

        observed.looks.insert(web(), Lookup::Live(ours("demo")));
        observed.trials.insert(web(), DryRun::Proved);
        let plan = planned(&Policy::new(Cleanup::Off, "kubernator-system"), &desired, &entries, &observed);
        assert_eq!(plan.summary(), [(Action::Unchanged, 1), (Action::Keep, 2)].into());
        assert!(!plan.has_changes(), "what is kept is not changed");
    }

    #[test]
    fn what_is_sent_carries_the_mark() {
        let scope = Scope::resolve(&ScopeRequest::default(), &[root().project()].into(), &BTreeSet::new()).unwrap();
        let (desired, entries, policy) = (BTreeMap::new(), Entries::default(), policy());
        let redactor = Redactor::default();
        let request = PlanRequest {
            root: &root(),
            scope: &scope,
            desired: &desired,
            entries: &entries,
            policy: &policy,
            redactor: &redactor,
            broken: &BTreeMap::new(),
            before: Baseline::Unknown,
        };
        let body = request.stamped(&manifest(&web(), "demo.a"));
        assert_eq!(body["metadata"]["annotations"], json!({PROJECT: "demo.a"}));
        assert_eq!(body["metadata"]["labels"], json!({ROOT: root().hash()}));
        assert_eq!(body["data"], json!({"word": SECRET}));
    }
}

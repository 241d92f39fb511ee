//! The plan itself, and the pure function that makes it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::change::{Change, FieldChange};
use super::cleanup::{self, CleanupRequest};
use super::cohabiting::CohabitingKeys;
use super::decision::{
    Action, Adopt, Blocked, Create, Decision, Disposition, Keep, Move, Protection, Unchanged, Unknown, Update,
};
use super::details::{self, Immutability, Versions};
use super::field_rules::other_tool;
use super::guard::TreeDoubt;
use super::migration::{FieldTransfer, is_bookkeeping};
use super::notice::Notice;
use super::observed::{DryRun, Lookup, Observed};
use super::policy::{Adoption, Policy};
use super::{blocking, diff, digest, enforce, leftover_fields, message_redaction, obstacle};
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
    pub refusals: Vec<TreeDoubt>,
    /// The files of projects in scope that cannot be rendered. Those projects fail, and nothing is deleted.
    pub broken: Vec<SourceError>,
    /// The blocked, kept or failed objects that the source changes since the baseline concern. Objects that only
    /// earlier changes concern are not included. Objects that their own annotation or the root's settings protect, or
    /// that the run of a later commit deletes, are not included either, because keeping them is no refusal.
    pub own: BTreeSet<ObjectKey>,
    /// The objects that the run leaves as they are although they are not ready. Their projects are open unless these
    /// objects become ready.
    pub unready: BTreeSet<ObjectKey>,
    /// The deletions that an earlier commit of the branch asked for. They are not this plan's own.
    pub pending: BTreeSet<ObjectKey>,
    /// Further information for the reader.
    pub notices: Vec<Notice>,
    /// Identifies the planned changes.
    pub digest: String,
}

impl Plan {
    /// Lists the changes for the plan's unready objects.
    pub(super) fn unready_changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| self.unready.contains(&change.ident.key))
    }

    /// Lists the changes and the cleanup together.
    pub fn all(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().chain(&self.cleanup)
    }

    /// The number of objects for each action.
    pub fn summary(&self) -> BTreeMap<Action, usize> {
        let mut summary = BTreeMap::new();
        for change in self.all() {
            *summary.entry(change.action()).or_default() += 1;
        }
        summary
    }

    /// Returns `true` if any object has an action other than unchanged or keep. Blocked objects count.
    pub fn has_changes(&self) -> bool {
        self.all().any(|change| !matches!(change.action(), Action::Unchanged | Action::Keep))
    }

    /// Returns `true` if a run would write, delete or release any object.
    pub fn writes(&self) -> bool {
        self.all().any(|change| !matches!(change.action(), Action::Unchanged | Action::Keep | Action::Blocked))
    }

    /// Lists the objects to delete for good.
    pub fn deletions(&self) -> impl Iterator<Item = &Change> {
        self.cleanup.iter().filter(|change| change.action() == Action::Delete)
    }

    /// Lists the objects that stay as they are although the plan has something to do with them, with the given
    /// disposition.
    pub fn standing(&self, standing: Disposition) -> impl Iterator<Item = &Change> {
        self.all().filter(move |change| change.disposition() == Some(standing))
    }

    /// The projects in which an object is blocked, kept, failed or left unready.
    pub(crate) fn open_projects(&self) -> BTreeSet<ProjectPath> {
        let unready = self.unready_changes().map(|change| change.project.clone());
        blocking::open_projects(self.all()).into_iter().chain(unready).collect()
    }

    /// Returns `true` if a review is still needed, because a later run may delete or replace an object.
    pub(crate) fn awaits_review(&self) -> bool {
        self.all().any(|change| change.decision.awaits_review())
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
        self.changes.iter().filter(|change| change.action() == Action::Replace)
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

impl<'a> Baseline<'a> {
    /// The manifest of an object before the source changes, if it is known.
    fn manifest(self, key: &ObjectKey) -> Option<&'a Manifest> {
        match self {
            Self::Desired(before) => before.get(key),
            Self::Unknown | Self::Unreadable => None,
        }
    }

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
    enforce::keep_guarded(&mut changes, live_body, policy);
    blocking::block_dependents(&mut changes, desired);

    let keys: BTreeSet<&ObjectKey> = desired.keys().collect();
    let mut cleanup = {
        let written = changes.iter().filter(|change| change.disposition().is_none());
        let intended = &written.map(|change| &change.ident.key).collect();
        cleanup::decide(CleanupRequest { root, scope, entries, desired: &keys, intended, policy }, observed)
    };
    enforce::keep_guarded(&mut cleanup, live_body, policy);
    name_obstacles(&mut changes, &cleanup, desired, observed);
    blocking::keep_needed(&changes, &mut cleanup, &keys, observed);
    let told = enforce::keep_holders_of_others(&mut cleanup, observed, policy);
    blocking::keep_needed(&changes, &mut cleanup, &keys, observed);
    let live = entries.keys().into_iter().filter(|key| is_live_and_ours(observed, key, root)).count();
    let refusals = enforce::doubts(&cleanup, desired.len(), live, policy);
    enforce::keep_shares(&mut changes, &mut cleanup, live, policy);
    blocking::block_dependents(&mut changes, desired);
    blocking::keep_needed(&changes, &mut cleanup, &keys, observed);

    for change in &mut cleanup {
        message_redaction::put(change, observed, None, root, redactor);
        change.place = before.manifest(&change.ident.key).map(|manifest| manifest.place.clone());
    }
    details::add(changes.iter_mut().chain(&mut cleanup), Immutability::Tried, redactor, |change| {
        versions(request, observed, change)
    });
    let all: Vec<&Change> = changes.iter().chain(&cleanup).collect();
    let (own, earlier): (Vec<&Change>, Vec<&Change>) = all
        .iter()
        .copied()
        .filter(|change| change.disposition().is_some() && !change.decision.is_no_refusal())
        .partition(|change| before.concerns(&change.ident.key, desired.get(&change.ident.key)));
    let own = own.into_iter().map(|change| change.ident.key.clone()).collect();
    let earlier = left_over(&earlier);
    let deleted = cleanup.iter().filter(|change| change.action() == Action::Delete).map(|change| &change.ident.key);
    let pending = deleted.filter(|key| policy.reviewed.is_pending(key)).cloned().collect();
    let digest = digest::digest(&all, |key| desired.get(key).map(|manifest| &manifest.body));
    let digest = digest::with_settings(digest, policy);
    let held = observed.held.iter().cloned().map(Notice::FieldsHeld);
    let tools = changes.iter().filter(|change| change.action() == Action::Adopt).filter_map(|change| {
        let object = change.ident.key.clone();
        let tool = other_tool(&observed.live(&object)?.body)?;
        Some(Notice::OtherTool { object, tool })
    });
    let told = tools.chain(held).chain(told).chain(unchecked(&all)).chain(earlier);
    let notices = policy.notices().into_iter().chain(told).collect();
    let (scope, broken) = (scope.projects().clone(), Vec::new());
    let (root, mode, unready) = (root.project(), PlanMode::Server, left_unready(&changes, observed));
    Plan { root, mode, scope, changes, cleanup, refusals, broken, own, unready, pending, notices, digest }
}

/// The versions of an object that its change is about. For an object that is not ours yet, the live version is left out
/// unless the redactor shows adopted objects.
fn versions<'a>(request: PlanRequest<'a>, observed: &'a Observed, change: &Change) -> Versions<'a> {
    let (key, action) = (&change.ident.key, change.action());
    let is_hidden = action == Action::Adopt && request.redactor.adopted() == Adopted::Hidden;
    let live = observed.live(key).filter(|_| action != Action::Create && !is_hidden);
    let before = live.map(|live| Cow::Borrowed(&live.body));
    if action == Action::Delete {
        let manifest = request.before.manifest(key).map(|manifest| &manifest.body);
        return Versions { before, after: None, manifest, live: live.map(|live| &live.body) };
    }
    let Some(manifest) = request.desired.get(key) else { return Versions::default() };
    let after = match (observed.trials.get(key), live) {
        (Some(DryRun::Applied(after)), Some(_)) => Cow::Borrowed(&after.body),
        (Some(DryRun::Immutable(_)), Some(live)) => Cow::Owned(replacement(request, manifest, live)),
        _ => Cow::Owned(manifest.body.parse()),
    };
    Versions { before, after: Some(after), manifest: Some(&manifest.body), live: live.map(|live| &live.body) }
}

fn is_live_and_ours(observed: &Observed, key: &ObjectKey, root: &Root) -> bool {
    matches!(observed.owner(key, root), Some(Ownership::Ours(_)))
}

/// The objects that the run leaves as they are although they are not ready.
fn left_unready(changes: &[Change], observed: &Observed) -> BTreeSet<ObjectKey> {
    let unchanged = changes.iter().filter(|change| change.action() == Action::Unchanged);
    unchanged.map(|change| &change.ident.key).filter(|key| observed.unready.contains(key)).cloned().collect()
}

/// Counts the objects that earlier changes left blocked, kept or failed, and names the first. What a broken file blocks
/// is not left by anything earlier.
fn left_over(earlier: &[&Change]) -> Option<Notice> {
    let is_left = |change: &&&Change| !matches!(change.decision, Decision::Blocked(Blocked::Unrendered(_)));
    let mut left = earlier.iter().filter(is_left);
    let Change { ident, decision, .. } = left.next()?;
    Some(Notice::LeftEarlier { count: 1 + left.count(), first: ident.key.clone(), decision: decision.clone() })
}

/// Counts the objects that the server could not check.
fn unchecked(changes: &[&Change]) -> Option<Notice> {
    let count = changes.iter().filter(|change| change.decision.kind() == "unchecked").count();
    (count > 0).then_some(Notice::Unchecked(count))
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
        decision: Decision::Unchanged(Unchanged::AsDesired),
        ident: manifest.ident.clone(),
        project: manifest.project.clone(),
        from: None,
        place: Some(manifest.place.clone()),
        uid: observed.uid(key).map(str::to_owned),
        resource_version: observed.resource_version(key).map(str::to_owned),
        diff: Vec::new(),
        risks: Vec::new(),
        body: None,
        pods: None,
    };
    let owner = owner_of(request, key, observed);
    let is_taken = live.is_some_and(|live| request.policy.takes_over(key, live));
    if let Some(why) = request.broken.get(&manifest.project) {
        change.decision = Decision::Blocked(Blocked::Unrendered(why.clone()));
        return change;
    }
    if let Some(Ownership::Other(owner)) = owner.as_ref().filter(|_| !is_taken) {
        change.decision = Decision::Blocked(Blocked::Foreign(owner.clone()));
        return change;
    }
    if let Some(cohabiting) = observed.uid(key).and_then(|uid| cohabiting.others(key, uid).next()) {
        let place = request.desired.get(cohabiting).map(|other| other.place.to_string());
        change.decision = Decision::Blocked(Blocked::SameObject { other: cohabiting.clone(), place });
    } else if let Some(Lookup::Unknown(why)) = observed.looks.get(key) {
        change.decision = Decision::Blocked(Blocked::Unknown(Unknown::Message(why.clone())));
    } else if let Some(holders) = live.and_then(|live| leaving(live, observed.trials.get(key))) {
        change.decision = Decision::Create(Create::AfterItsEnd(holders));
    } else {
        match observed.trials.get(key) {
            Some(DryRun::Proved) if !observed.exists(key) => change.decision = Decision::Unchanged(Unchanged::Done),
            Some(DryRun::Proved) => {}
            Some(DryRun::Created) => change.decision = Decision::Create(Create::New),
            Some(DryRun::Unverified(by)) => {
                change.decision = unchecked_change(&manifest.project, owner, by.clone(), &mut change.from);
            }
            Some(DryRun::Refused(refusal)) => {
                let told = message_redaction::folded(refusal, live, manifest, request.redactor);
                change.decision = told.clone().into();
                if let (Some(live), Refusal::Conflict(contested)) = (live, &told) {
                    change.diff = contested_values(request, manifest, live, contested);
                }
            }
            Some(DryRun::Immutable(refusal)) => {
                immutable(request.policy, &manifest.project, live.zip(owner), refusal, &mut change);
                if let Some(live) = live.filter(|_| change.action() == Action::Replace) {
                    change.diff = replaced(request, manifest, live);
                }
            }
            Some(DryRun::Applied(after)) => existing(request, manifest, live, owner, after, &mut change),
            None => change.decision = Decision::Blocked(Blocked::Unknown(Unknown::NotTried)),
        }
    }
    let is_asked_for = matches!(change.decision, Decision::Adopt(Adopt::From(_)));
    if change.action() == Action::Adopt && !is_asked_for && request.policy.adoption == Adoption::Refused {
        change.decision = Decision::Blocked(Blocked::Unmarked);
    }
    // Server-side apply treats a null as a value, so a null may be the cause of a refusal.
    if let Decision::Blocked(Blocked::Refused(refused)) = &mut change.decision
        && refused.refusal.to_string().contains("null")
    {
        refused.null = null_in(&manifest.body, String::new());
    }
    // Nothing is told about an unchanged object, and reading its content takes memory.
    if change.action() != Action::Unchanged {
        message_redaction::put(&mut change, observed, Some(&manifest.body), request.root, request.redactor);
    }
    change
}

/// The owner of a live object. If the managed fields of its mark were lost, the mark counts only for a recorded object:
/// anyone could have restored an object with a copied mark.
fn owner_of(request: PlanRequest<'_>, key: &ObjectKey, observed: &Observed) -> Option<Ownership> {
    let owner = observed.owner(key, request.root)?;
    Some(match owner {
        Ownership::Lost(project) if !request.entries.keys().contains(key) => Ownership::Copied(project.to_string()),
        owner => owner,
    })
}

/// The decision about an object that the server cannot check yet, because the same run first applies the object `by`.
/// For a move, it sets `from`.
fn unchecked_change(
    project: &ProjectPath,
    owner: Option<Ownership>,
    by: ObjectKey,
    from: &mut Option<ProjectPath>,
) -> Decision {
    match owner {
        None => Decision::Create(Create::Unchecked(by)),
        Some(Ownership::Ours(before)) if before != *project => {
            *from = Some(before);
            Decision::Move(Move::Unchecked(by))
        }
        Some(Ownership::Ours(_)) => Decision::Update(Update::Unchecked(by)),
        Some(_) => Decision::Adopt(Adopt::Unchecked(by)),
    }
}

/// Lists what delays the end of an object that is being deleted. `None` if the object is not being deleted, or if the
/// server refuses to create it anew.
fn leaving(live: &Live, trial: Option<&DryRun>) -> Option<Vec<String>> {
    (live.is_terminating() && !matches!(trial, Some(DryRun::Refused(_))))
        .then(|| live.holders().into_iter().map(str::to_owned).collect())
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
        change.decision = Decision::Blocked(Blocked::Unknown(Unknown::Vanished));
        return;
    };
    change.diff = diff::fields(&live.body, &after.body, &manifest.body.parse(), request.redactor);
    let transfer =
        FieldTransfer::of(request.root, &manifest.ident.api_version(), request.policy, &manifest.ident.key, live);
    let takes_over = transfer.is_due(live) || is_taken_over(live, request.root);
    let differs = change.diff.iter().any(|field| !takes_over || !is_bookkeeping(&field.path));
    change.decision = match owner {
        Some(Ownership::Ours(project) | Ownership::Lost(project)) if project != manifest.project => {
            change.from = Some(project);
            Decision::Move(Move::Checked)
        }
        Some(Ownership::Lost(_)) => Decision::Update(Update::TakeOver),
        Some(Ownership::Ours(_)) if differs => Decision::Update(Update::Differs),
        Some(Ownership::Ours(_)) if takes_over => Decision::Update(Update::TakeOver),
        Some(Ownership::Ours(_)) => Decision::Unchanged(Unchanged::AsDesired),
        Some(Ownership::Copied(_)) => Decision::Adopt(Adopt::Copied),
        Some(Ownership::Other(owner)) => Decision::Adopt(Adopt::From(owner)),
        Some(Ownership::Unmarked) | None => Decision::Adopt(Adopt::Unmarked),
    };
    // An object that is not ours yet may belong to anyone. A person who can name it in a manifest must not be able to
    // read its values in the plan.
    if change.action() == Action::Adopt && request.redactor.adopted() == Adopted::Hidden {
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
    let refusal = refusal.clone();
    let Some((live, Ownership::Ours(from))) = live else {
        change.decision = refusal.into();
        return;
    };
    change.from = (from != *project).then_some(from);
    let protection = enforce::is_volume(key).then_some(Protection::Volume);
    change.decision =
        match (protection.or_else(|| cleanup::kept(policy, key, live)), policy.sources.prevents_deletion()) {
            (Some(protection), _) => Decision::Keep(Keep::Irreplaceable(refusal, protection)),
            (None, Some(Keep::Withheld(withheld))) => Decision::Keep(Keep::ReplacementWithheld(refusal, withheld)),
            (None, Some(keep)) => Decision::Keep(keep),
            (None, None) => match policy.reviewed.refuses_replacement(key) {
                Some(why) => Decision::Keep(Keep::Unreviewed(why)),
                None => Decision::Replace(refusal),
            },
        };
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
            line.near.clear();
        }
    }
    lines
}

/// Lists the changes that a replacement makes to the fields that the manifest states. The server's message does not
/// show them.
fn replaced(request: PlanRequest<'_>, manifest: &Manifest, live: &Live) -> Vec<FieldChange> {
    let after = replacement(request, manifest, live);
    diff::fields(&live.body, &after, &manifest.body.parse(), request.redactor)
}

/// The object that an apply would make of the live object if no field were immutable.
fn replacement(request: PlanRequest<'_>, manifest: &Manifest, live: &Live) -> Value {
    let transfer =
        FieldTransfer::of(request.root, &manifest.ident.api_version(), request.policy, &manifest.ident.key, live);
    leftover_fields::merged(live, &request.stamped(manifest), &transfer, request.root)
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
    let deleted = cleanup.iter().filter(|change| change.action() == Action::Delete);
    let deleted: Vec<(&ObjectKey, &Value)> =
        deleted.filter_map(|change| Some((&change.ident.key, &observed.live(&change.ident.key)?.body))).collect();
    for change in changes.iter_mut().filter(|change| change.action() == Action::Blocked) {
        let key = &change.ident.key;
        if let Some(DryRun::Refused(refusal)) = observed.trials.get(key)
            && let Some(body) = desired.get(key).map(|manifest| &manifest.body)
            && let Some(by) = obstacle::obstacle(refusal, key, body, &deleted)
            && let Decision::Blocked(Blocked::Refused(refused)) = &mut change.decision
        {
            refused.obstacle = Some(by.clone());
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
    use crate::plan::decision::Finding;
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
        Manifest { ident, project: project.parse().unwrap(), place: SourcePlace::whole("web.yaml"), body: body.into() }
    }

    /// A live object with a mark for the given project. The given manager and operation wrote the mark. `label` is the
    /// hash in the root label, if any.
    fn marked(project: &str, manager: &str, operation: &str, label: Option<&str>) -> Live {
        let mut body = manifest(&web(), "demo").body.parse();
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
        Live { body: manifest(&web(), "demo").body.parse() }
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
            kinds: Kinds::builtin().clone(),
            looks: look.into_iter().map(|look| (web(), look)).collect(),
            trials: trial.into_iter().map(|trial| (web(), trial)).collect(),
            ..Observed::default()
        };
        planned(policy, &[manifest(&web(), "demo")], &Entries::default(), &observed)
    }

    fn decided(look: Option<Lookup>, trial: Option<DryRun>) -> (Action, String) {
        let plan = one(&policy(), look, trial);
        let [change] = &plan.changes[..] else { panic!("{plan:?}") };
        (change.action(), format!("{:?}", change.decision))
    }

    #[test]
    fn each_dry_run_gives_one_action_and_says_why() {
        let refused = |refusal| Some(DryRun::Refused(refusal));
        let text = || "words".to_owned();
        let contested = vec![FieldConflict { field: ".data".into(), manager: "kubectl-edit".into() }];
        for (trial, action, why) in [
            (Some(DryRun::Created), Action::Create, "Create(New)"),
            (Some(DryRun::Unverified(key("Namespace", "first"))), Action::Create, "Unchecked(ObjectKey"),
            (refused(Refusal::Conflict(contested)), Action::Blocked, "manager: \"kubectl-edit\""),
            (refused(Refusal::NoNamespace(text())), Action::Blocked, "NoNamespace(\"words\")"),
            (refused(Refusal::NoKind(text())), Action::Blocked, "NoKind(\"words\")"),
            (refused(Refusal::Terminating(text())), Action::Blocked, "Terminating(\"words\")"),
            (refused(Refusal::Unavailable(text())), Action::Blocked, "Unavailable(\"words\")"),
            (refused(Refusal::Invalid(text())), Action::Blocked, "Invalid(\"words\")"),
            (refused(Refusal::Denied(text())), Action::Blocked, "Denied(\"words\")"),
            (Some(DryRun::Applied(ours("demo"))), Action::Blocked, "Unknown(Vanished)"),
            (None, Action::Blocked, "Unknown(NotTried)"),
        ] {
            for look in [None, Some(Lookup::Absent)] {
                let (decided, reason) = decided(look, trial.clone());
                assert!(decided == action && reason.contains(why), "{trial:?}: {decided:?} {reason}");
            }
        }
        let unknown = decided(Some(Lookup::Unknown("no answer".into())), Some(DryRun::Created));
        assert_eq!(unknown, (Action::Blocked, "Blocked(Unknown(Message(\"no answer\")))".to_owned()));
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
            ("nothing differs", ours("demo"), ours("demo"), Action::Unchanged, "Unchanged(AsDesired)"),
            ("a value differs", ours("demo"), changed(), Action::Update, "Update(Differs)"),
            ("of another project", ours("demo.a"), ours("demo"), Action::Move, "Move(Checked)"),
            (
                "without its label",
                marked("demo", "ktor-demo", "Apply", None),
                ours("demo"),
                Action::Update,
                "Update(TakeOver)",
            ),
            (
                "not applied by us",
                marked("demo", "ktor-demo", "Update", Some(&hash)),
                ours("demo"),
                Action::Update,
                "Update(TakeOver)",
            ),
            (
                "applied by Kubernator",
                marked("demo", "kubernator", "Apply", Some(&hash)),
                ours("demo"),
                Action::Update,
                "Update(TakeOver)",
            ),
            (
                "copied",
                with(ours("demo"), "managedFields", written("someone")),
                ours("demo"),
                Action::Adopt,
                "Adopt(Copied)",
            ),
            (
                "restored, and never recorded",
                with(ours("demo"), "managedFields", written("velero")),
                ours("demo"),
                Action::Adopt,
                "Adopt(Copied)",
            ),
            ("unmarked", unmarked(), ours("demo"), Action::Adopt, "Adopt(Unmarked)"),
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
        assert_eq!((action, reason.as_str()), (Action::Update, "Update(Differs)"));
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
        assert_eq!((action, reason.as_str()), (Action::Update, "Update(TakeOver)"));
    }

    #[test]
    fn what_is_being_deleted_is_created_once_it_is_gone() {
        let leaving = || with(ours("demo"), "deletionTimestamp", json!("2031-05-06T07:08:09Z"));
        for trial in [None, Some(DryRun::Proved), Some(DryRun::Applied(ours("demo")))] {
            let (action, reason) = decided(Some(Lookup::Live(leaving())), trial);
            assert_eq!((action, reason.as_str()), (Action::Create, "Create(AfterItsEnd([]))"));
        }
        let held = with(leaving(), "finalizers", json!(["a.dev/hold"]));
        let (_, reason) = decided(Some(Lookup::Live(held)), None);
        assert!(reason.contains("AfterItsEnd([\"a.dev/hold\"])"), "{reason}");
        let refused = Some(DryRun::Refused(Refusal::Invalid("words".into())));
        assert_eq!(decided(Some(Lookup::Live(leaving())), refused).0, Action::Blocked);
    }

    #[test]
    fn a5_only_what_is_ours_unprotected_and_shown_is_replaced() {
        let words = || Some(DryRun::Immutable(Refusal::Invalid("field is immutable".into())));
        let opened = || Policy { allowed: [Guard::Replacement].into(), ..policy() };
        let change = |policy: &Policy, live: Live| {
            let plan = one(policy, Some(Lookup::Live(live)), words());
            assert_eq!(plan.replacements().count(), usize::from(plan.changes[0].action() == Action::Replace));
            assert_eq!(plan.deletions().count(), 0);
            plan.changes.into_iter().next().unwrap()
        };
        let why = "Replace(Invalid(\"field is immutable\"))";
        let shown = |deleted: &[ObjectKey], replaced: &[ObjectKey]| {
            let by_one = |keys: &[ObjectKey]| keys.iter().map(|key| (key.clone(), 1)).collect();
            let (deleted, replaced) = (by_one(deleted), by_one(replaced));
            Policy { reviewed: Reviewed::Only(Shown { deleted, replaced, ..Shown::default() }), ..opened() }
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
            ("shown to nobody", shown(&[], &[]), ours("demo"), Action::Keep, "Keep(Unreviewed(LeftOver))"),
            ("shown as deleted", shown(&[web()], &[]), ours("demo"), Action::Keep, "Keep(Unreviewed(LeftOver))"),
            ("unmarked", opened(), unmarked(), Action::Blocked, "Invalid(\"field is immutable"),
            ("a copy", opened(), marked("demo", "velero", "Update", None), Action::Blocked, "Blocked(Refused("),
            ("another root's", opened(), others(), Action::Blocked, "Blocked(Foreign("),
            ("protected", opened(), kept(), Action::Keep, "Annotation(\"kubernator.io/cleanup\")"),
            (
                "while a source fails",
                Policy { sources: SourceCoverage::Failed, ..opened() },
                ours("demo"),
                Action::Keep,
                "ReplacementWithheld(Invalid(\"field is immutable\"), SourceFailed)",
            ),
        ] {
            let change = change(&policy, live);
            let reason = format!("{:?}", change.decision);
            assert!(change.action() == action && reason.contains(expected), "{what}: {:?} {reason}", change.action());
            assert_eq!(change.from.is_some(), what == "ours, of another project", "{what}");
        }
        assert!(one(&shown(&[], &[]), Some(Lookup::Live(ours("demo"))), words()).awaits_review());
        assert!(!one(&opened(), Some(Lookup::Live(ours("demo"))), words()).awaits_review());
        let behind = Policy { sources: SourceCoverage::LaterCommits, ..opened() };
        let behind = one(&behind, Some(Lookup::Live(ours("demo"))), words());
        assert_eq!(behind.changes[0].decision, Decision::Keep(Keep::LaterCommits));
        assert!(behind.own.is_empty(), "the run of the branch's last commit replaces it");
        let guarded = change(&policy(), ours("demo"));
        assert_eq!(guarded.decision, Decision::Keep(Keep::Guarded(Guard::Replacement, Finding::Object)));
        assert_eq!(one(&opened(), None, words()).changes[0].action(), Action::Blocked, "gone by the time it was read");
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
            let observed = Observed { kinds: Kinds::builtin().clone(), looks, ..Observed::default() };
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
        assert_eq!(plan.changes[0].action(), Action::Blocked);
        assert!(format!("{:?}", plan.changes[0].decision).contains("root other"), "{plan:?}");
        assert!(plan.refusals.is_empty() && plan.intent().is_empty(), "it blocks itself, and is not recorded");
        for taken in ["other", "ConfigMap x/web"] {
            let take_over = vec![taken.parse::<TakeOver>().unwrap()];
            // If the caller names the object or its root, the caller does not need to allow adoption too.
            let policy = Policy { take_over, adoption: Adoption::Refused, ..policy() };
            let plan = one(&policy, look(), applied());
            assert!(plan.refusals.is_empty(), "{taken}: {:?}", plan.refusals);
            assert!(matches!(plan.changes[0].decision, Decision::Adopt(Adopt::From(_))), "{taken}");
        }
        for taken in ["another", "ConfigMap x/other"] {
            let policy = Policy { take_over: vec![taken.parse().unwrap()], ..policy() };
            assert_eq!(one(&policy, look(), applied()).changes[0].action(), Action::Blocked, "{taken}");
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
        assert_eq!(blocked.decision, Decision::Blocked(Blocked::Unmarked));
        assert_eq!(change(Some(ours("demo"))).action(), Action::Unchanged);
        assert_eq!(change(None).action(), Action::Create);
    }

    #[test]
    fn x6_what_was_restored_with_a_mark_and_never_recorded_shows_no_live_value() {
        let config = key("ConfigMap", "restored");
        let stated =
            Manifest { ident: Ident { key: config.clone(), version: "v1".into() }, ..manifest(&config, "demo") };
        let mut live = with(ours("demo"), "managedFields", json!([]));
        live.body["data"] = json!({"word": "a live value"});
        let mut observed = Observed { kinds: Kinds::builtin().clone(), ..Observed::default() };
        observed.looks.insert(config.clone(), Lookup::Live(live));
        observed.trials.insert(config.clone(), DryRun::Applied(ours("demo")));
        let planned = |entries: &Entries| planned(&policy(), std::slice::from_ref(&stated), entries, &observed);
        let change = planned(&Entries::default()).changes.remove(0);
        assert_eq!(change.action(), Action::Adopt);
        assert!(!format!("{change:?}").contains("a live value"), "{change:?}");
        let mut recorded = Entries::default();
        recorded.insert(&root().project(), &stated.ident);
        assert_eq!(
            planned(&recorded).changes.remove(0).action(),
            Action::Update,
            "what is recorded is taken over again"
        );
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
            let Decision::Blocked(Blocked::SameObject { place, .. }) = &change.decision else { panic!("{change:?}") };
            assert_eq!(place.as_deref(), Some("web.yaml"));
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

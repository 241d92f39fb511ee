//! The plan itself, and the pure function that makes it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::change::{Action, Change, Reason};
use super::cleanup::{self, CleanupRequest};
use super::migration::{Heir, is_bookkeeping};
use super::observed::{Look, Observed, Trial};
use super::policy::{Adoption, Policy};
use super::twins::Twins;
use super::{diff, digest, guard};
use crate::object::ident::ObjectKey;
use crate::object::live::Live;
use crate::object::manifest::Manifest;
use crate::object::mark::{Ownership, ROOT, Root, ownership, stamp};
use crate::object::redact::Redactor;
use crate::object::refusal::Refusal;
use crate::project::path::ProjectPath;
use crate::project::scope::Scope;
use crate::state::payload::Entries;

/// How the plan was computed: what a reader may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By the API server's dry runs.
    Server,
    /// From the base tree alone: no cluster was asked.
    Offline,
}

/// Everything that a run would do. Immutable; executed as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The root.
    pub root: ProjectPath,
    /// How it was computed.
    pub mode: Mode,
    /// The projects that may be changed.
    pub scope: BTreeSet<ProjectPath>,
    /// Every in-scope desired object, unchanged ones included, by key.
    pub changes: Vec<Change>,
    /// Every recorded, undesired object in scope: deletions, and what stays and why.
    pub cleanup: Vec<Change>,
    /// What stops the run as a whole.
    pub refusals: Vec<guard::Refusal>,
    /// What a reader has to know besides.
    pub notices: Vec<String>,
    /// Identifies what would be done.
    pub digest: String,
}

impl Plan {
    /// Changes and cleanup together.
    pub fn all(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().chain(&self.cleanup)
    }

    /// How many there are of each action.
    pub fn summary(&self) -> BTreeMap<Action, usize> {
        let mut summary = BTreeMap::new();
        for change in self.all() {
            *summary.entry(change.action).or_default() += 1;
        }
        summary
    }

    /// Whether a run would write something to an object, or let one go.
    pub fn has_changes(&self) -> bool {
        self.all().any(|change| !matches!(change.action, Action::Unchanged | Action::Keep))
    }

    /// What would be deleted.
    pub fn deletions(&self) -> impl Iterator<Item = &Change> {
        self.cleanup.iter().filter(|change| change.action == Action::Delete)
    }
}

/// The inputs of a plan beside what was observed.
#[derive(Clone, Copy)]
pub struct PlanRequest<'a> {
    /// The root.
    pub root: &'a Root,
    /// What may be changed.
    pub scope: &'a Scope,
    /// Every desired object of the whole tree.
    pub desired: &'a BTreeMap<ObjectKey, Manifest>,
    /// Everything recorded.
    pub entries: &'a Entries,
    /// What is allowed.
    pub policy: &'a Policy,
    /// What may be shown.
    pub redactor: &'a Redactor,
}

impl<'a> PlanRequest<'a> {
    /// The desired objects in scope.
    pub fn in_scope(&self) -> impl Iterator<Item = &'a Manifest> {
        let Self { scope, desired, .. } = *self;
        desired.values().filter(move |manifest| scope.contains(&manifest.project))
    }

    /// A manifest as it is sent to the server.
    pub fn stamped(&self, manifest: &Manifest) -> Value {
        let mut body = manifest.body.clone();
        stamp(&mut body, &manifest.project, self.root);
        body
    }
}

/// Makes the plan. Pure: the same inputs give the same plan.
pub fn build(request: PlanRequest<'_>, observed: &Observed) -> Plan {
    let mut refusals = Vec::new();
    let twins = Twins::of(request.desired.keys(), observed);
    let changes: Vec<Change> =
        request.in_scope().map(|manifest| change(request, observed, &twins, manifest, &mut refusals)).collect();
    let keys: BTreeSet<&ObjectKey> = request.desired.keys().collect();
    let PlanRequest { root, scope, entries, policy, redactor, desired } = request;
    let mut cleanup = cleanup::decide(CleanupRequest { root, scope, entries, desired: &keys, policy }, observed);
    for change in &mut cleanup {
        redact_reason(change, observed, None, redactor);
    }
    refusals.extend(guard::check(&cleanup, desired.len(), entries.keys().len(), policy));
    let all: Vec<Change> = changes.iter().chain(&cleanup).cloned().collect();
    let digest = digest::digest(&all, |key| desired.get(key).map(|manifest| &manifest.body));
    let scope = scope.projects().clone();
    let held = observed.held.iter().map(|key| {
        format!("{key} keeps fields that another tool set and no manifest has: the server does not let go of them.")
    });
    let notices = held.collect();
    Plan { root: root.project(), mode: Mode::Server, scope, changes, cleanup, refusals, notices, digest }
}

fn change(
    request: PlanRequest<'_>,
    observed: &Observed,
    twins: &Twins<'_>,
    manifest: &Manifest,
    refusals: &mut Vec<guard::Refusal>,
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
    let owner = live.map(|live| ownership(live, request.root));
    let is_taken = live.is_some_and(|live| request.policy.takes_over(key, live));
    if let Some(Ownership::Other(owner)) = owner.as_ref().filter(|_| !is_taken) {
        refusals.push(guard::Refusal {
            guard: guard::Guard::Ownership,
            message: format!("{key} belongs to {owner}: take it out of this tree, or out of that one"),
            flag: Some("--take-over"),
        });
        (change.action, change.reason) = (Action::Blocked, Reason::Foreign(owner.clone()));
        return change;
    }
    if let Some(twin) = live.and_then(|live| twins.others(key, live).next()) {
        let place = request.desired.get(twin).map(|other| format!(", which stands at {}", other.place));
        let other = format!("{twin}{}: remove one of them", place.unwrap_or_default());
        (change.action, change.reason) = (Action::Blocked, Reason::SameObject(other));
    } else if let Some(Look::Unknown(why)) = observed.looks.get(key) {
        (change.action, change.reason) = (Action::Blocked, Reason::Unknown(why.clone()));
    } else if let Some(held) = live.and_then(|live| leaving(live, observed.trials.get(key))) {
        (change.action, change.reason) = (Action::Create, Reason::Terminating(held));
    } else {
        match observed.trials.get(key) {
            Some(Trial::Proved) => {}
            Some(Trial::Created) => (change.action, change.reason) = (Action::Create, Reason::New),
            Some(Trial::Unverified(by)) => {
                (change.action, change.reason) = (Action::Create, Reason::Unverified(by.clone()));
            }
            Some(Trial::Refused(refusal)) => {
                (change.action, change.reason) = (Action::Blocked, reason_of(refusal));
            }
            Some(Trial::Applied(after)) => existing(request, manifest, live, owner, after, &mut change),
            None => {
                let why = "no dry run was made".to_owned();
                (change.action, change.reason) = (Action::Blocked, Reason::Unknown(why));
            }
        }
    }
    let is_asked_for = matches!(change.reason, Reason::TakenFrom(_));
    if change.action == Action::Adopt && !is_asked_for && request.policy.adoption == Adoption::Refused {
        let message = format!("{key} exists without a mark, and adoption is off: allow it, or take the object away");
        refusals.push(guard::Refusal { guard: guard::Guard::Ownership, message, flag: Some("--adopt") });
    }
    redact_reason(&mut change, observed, Some(&manifest.body), request.redactor);
    change
}

/// What holds an object that is being deleted, unless the server would not create it anew.
fn leaving(live: &Live, trial: Option<&Trial>) -> Option<String> {
    if !live.is_terminating() || matches!(trial, Some(Trial::Refused(_))) {
        return None;
    }
    let holders = live.holders();
    let held = if holders.is_empty() { String::new() } else { format!(", held by {}", holders.join(", ")) };
    Some(format!("{held}: it is waited for and then created"))
}

/// Decides about an object that exists and accepts the desired fields.
fn existing(
    request: PlanRequest<'_>,
    manifest: &Manifest,
    live: Option<&Live>,
    owner: Option<Ownership>,
    after: &Live,
    change: &mut Change,
) {
    let Some(live) = live else {
        // It appeared between the lists and the dry run and was gone again when it was read.
        let why = "it appeared and vanished while the plan was made: plan again".to_owned();
        (change.action, change.reason) = (Action::Blocked, Reason::Unknown(why));
        return;
    };
    change.diff = diff::fields(&live.body, &after.body, request.redactor);
    let heir = Heir::of(request.root, &manifest.ident.api_version(), request.policy, &manifest.ident.key, live);
    let takes_over = heir.is_due(live) || is_taken_over(live, request.root);
    let differs = change.diff.iter().any(|field| !takes_over || !is_bookkeeping(&field.path));
    (change.action, change.reason) = match owner {
        Some(Ownership::Ours(project)) if project != manifest.project => {
            change.from = Some(project.clone());
            (Action::Move, Reason::MovedFrom(project.to_string()))
        }
        Some(Ownership::Ours(_)) if differs => (Action::Update, Reason::Differs),
        Some(Ownership::Ours(_)) if takes_over => (Action::Update, Reason::TakeOver),
        Some(Ownership::Ours(_)) => (Action::Unchanged, Reason::AsDesired),
        Some(Ownership::Copied(_)) => (Action::Adopt, Reason::TakeOver),
        Some(Ownership::Other(owner)) => (Action::Adopt, Reason::TakenFrom(owner)),
        Some(Ownership::Unmarked) | None => (Action::Adopt, Reason::Unmarked),
    };
}

/// Whether applying would make ours what an older tool marked: its label is missing, or we manage nothing of it yet.
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
        Refusal::Conflict(_) => Reason::Conflict(refusal.to_string()),
        Refusal::NoNamespace(text) => Reason::Missing(format!("{text}, and no manifest creates it")),
        Refusal::NoKind(text) => {
            Reason::Missing(format!("{text}: the server does not know this kind, and no manifest defines it"))
        }
        Refusal::Terminating(text) => Reason::Terminating(format!(": {text}")),
        Refusal::Unavailable(text) => Reason::Unknown(text.clone()),
        Refusal::Changed(_) | Refusal::Invalid(_) | Refusal::Forbidden(_) | Refusal::Denied(_) => {
            Reason::Refused(refusal.to_string())
        }
    }
}

/// Takes the object's secrets out of the server's words.
fn redact_reason(change: &mut Change, observed: &Observed, desired: Option<&Value>, redactor: &Redactor) {
    let (Reason::Refused(text)
    | Reason::Conflict(text)
    | Reason::Missing(text)
    | Reason::Unknown(text)
    | Reason::Terminating(text)) = &mut change.reason
    else {
        return;
    };
    let live = observed.live(&change.ident.key).map(|live| &live.body);
    let bodies: Vec<&Value> = live.into_iter().chain(desired).collect();
    *text = redactor.message(&bodies, text);
}

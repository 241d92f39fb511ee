//! Judges a desired object by dry runs: whether the server accepts its manifest, and what it makes of it.

use serde_json::Value;

use super::build::PlanRequest;
use super::field_rules::relinquished;
use super::migration::{Extent, FieldTransfer};
use super::observed::{DryRun, Lookup, Observed};
use super::question::{DryRunAnswer, Open, Request, Told};
use super::unchanged::is_proved_for;
use super::unreadable_fields::{applied, restated, unified};
use crate::object::fields::Fields;
use crate::object::ident::ObjectKey;
use crate::object::kinds::{Kind, Kinds};
use crate::object::live::Live;
use crate::object::manifest::Manifest;
use crate::object::mark::{Ownership, managed_fields, ownership};
use crate::object::refusal::{FieldConflict, Refusal};

/// The result of the dry runs of an object, and the fields that become ours before the apply.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) trial: DryRun,
    /// The part of the older tools' fields that can become ours.
    pub(super) extent: Extent,
    /// The fields that no manager owns and that prevent the change.
    pub(super) claims: Fields,
    /// `true` if the run takes contested fields from their managers.
    pub(super) is_forced: bool,
}

impl From<DryRun> for Finding {
    fn from(trial: DryRun) -> Self {
        Self { trial, extent: Extent::Whole, claims: Fields::new(), is_forced: false }
    }
}

impl From<Refusal> for Finding {
    fn from(refusal: Refusal) -> Self {
        DryRun::Refused(refusal).into()
    }
}

/// A desired object, and everything that its judgement depends on.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) request: PlanRequest<'a>,
    /// The kinds that the server serves now.
    pub(super) served: &'a Kinds,
    pub(super) observed: &'a Observed,
    pub(super) manifest: &'a Manifest,
}

impl<'a> Subject<'a> {
    fn key(self) -> &'a ObjectKey {
        &self.manifest.ident.key
    }

    pub(super) fn live(self) -> Option<&'a Live> {
        self.observed.live(self.key())
    }

    /// The transfer of the fields of older tools, if the object is this one.
    pub(super) fn transfer(self, live: &Live) -> FieldTransfer {
        let PlanRequest { root, policy, .. } = self.request;
        FieldTransfer::of(root, &self.manifest.ident.api_version(), policy, self.key(), live)
    }
}

/// Judges a desired object.
///
/// # Errors
///
/// The next question, if the answers so far do not suffice.
pub(super) fn tried(subject: Subject<'_>, told: &mut Told<'_>) -> Result<Finding, Open> {
    let Subject { request, served, observed, manifest } = subject;
    let (key, api_version) = (subject.key(), manifest.ident.api_version());
    let (served_kind, kind) = match kinds(served, manifest) {
        Ok(kinds) => kinds,
        Err(refusal) => return Ok(refusal.into()),
    };
    if let Some(leaving) = key.namespace_key().filter(|namespace| is_leaving(observed, namespace)) {
        return Ok(Refusal::Terminating(format!("its namespace {} is being deleted", leaving.name)).into());
    }
    // A dry run would apply the manifest to the object that is being deleted.
    if is_leaving(observed, key) {
        return Ok(DryRun::Created.into());
    }
    match observed.looks.get(key) {
        Some(Lookup::Proved(_)) => return Ok(DryRun::Proved.into()),
        Some(Lookup::Absent) if observed.done.contains(key) => return Ok(DryRun::Proved.into()),
        _ => {}
    }
    let mut body = request.stamped(manifest);
    if let Some(live) = subject.live() {
        if is_proved_for(&subject.transfer(live), &body, live, request.root) {
            return Ok(DryRun::Proved.into());
        }
        // With the uid, the dry run updates the object that was read, and never an object that was recreated meanwhile.
        if matches!(ownership(live, request.root), Ownership::Ours(_) | Ownership::Lost(_)) {
            body["metadata"]["uid"] = live.uid().into();
        }
        if let Some(restated) = restated(live, served_kind, &api_version) {
            return Ok(rewritten(subject, served_kind, &restated, &body, told)?.into());
        }
    }
    match told.write(|| Request::Apply(kind.clone(), body.clone()))? {
        Ok(DryRunAnswer { created: true, .. }) => Ok(DryRun::Created.into()),
        Ok(DryRunAnswer { live, .. }) => {
            let before = subject.live().unwrap_or(&live);
            let transfer = subject.transfer(before);
            if let Some(freed) = freed(subject, &transfer, before) {
                return Ok(rewritten(subject, &kind, &freed, &body, told)?.into());
            }
            without_legacy(&kind, &transfer, live, told)
        }
        Err(Refusal::Conflict(contested)) => taken_over(subject, (served_kind, &kind), body, contested, told),
        Err(refusal @ Refusal::Unreadable(_)) => match subject.live().and_then(|live| unified(live, &api_version)) {
            Some(unified) => Ok(rewritten(subject, &kind, &unified, &body, told)?.into()),
            None => Ok(refusal.into()),
        },
        Err(refusal) => Ok(refusal.into()),
    }
}

/// The kind as it is served, and the kind in the desired version.
pub(super) fn kinds<'a>(served: &'a Kinds, manifest: &Manifest) -> Result<(&'a Kind, Kind), Refusal> {
    let (key, version) = (&manifest.ident.key, &manifest.ident.version);
    let group_kind = key.group_kind();
    let Some(kind) = served.get(&group_kind) else {
        return Err(if served.is_conclusive_for(&key.group) {
            Refusal::NoKind(format!("{} {group_kind}", manifest.place))
        } else {
            Refusal::Unavailable(format!("the server of {group_kind} does not answer discovery"))
        });
    };
    if kind.versions.contains(version) {
        return Ok((kind, kind.at_version(version)));
    }
    let served = kind.versions.join(", ");
    Err(Refusal::NoVersion(format!("{}: {group_kind} is served in {served} and not in {version}", manifest.place)))
}

/// Returns `true` if the object was being deleted when it was read.
pub(super) fn is_leaving(observed: &Observed, key: &ObjectKey) -> bool {
    observed.live(key).is_some_and(Live::is_terminating)
}

/// Returns the object after the older tools' fields became ours and the root gave up the fields that it leaves to
/// others. `None` if it gives up no fields.
fn freed(subject: Subject<'_>, transfer: &FieldTransfer, live: &Live) -> Option<Live> {
    let fields = match transfer.managed_fields(live, Extent::Whole) {
        Some(Value::Array(fields)) => fields,
        _ => managed_fields(live).cloned().collect(),
    };
    let PlanRequest { root, policy, desired, .. } = subject.request;
    let fields = relinquished(&fields, policy, desired, subject.manifest, root)?;
    let mut freed = live.clone();
    freed.body["metadata"]["managedFields"] = fields.into();
    Some(freed)
}

/// Judges the apply as a patch. Used if the managed fields of the object have to be rewritten before an apply.
fn rewritten(
    subject: Subject<'_>,
    kind: &Kind,
    live: &Live,
    desired: &Value,
    told: &mut Told<'_>,
) -> Result<DryRun, Open> {
    let to = || applied(live, desired, subject.request.root);
    Ok(patched(kind, live, to, told)?.map_or_else(DryRun::Refused, DryRun::Applied))
}

/// Judges a change of a live object to another body.
fn patched(
    kind: &Kind,
    live: &Live,
    to: impl FnOnce() -> Value,
    told: &mut Told<'_>,
) -> Result<Result<Live, Refusal>, Open> {
    let request =
        || Request::Patch { kind: kind.clone(), uid: live.uid().to_owned(), from: live.body.clone(), to: to() };
    Ok(told.write(request)?.map(|answer| answer.live))
}

/// Judges a forced apply, if the only conflicts are about fields that the run takes over before the apply.
fn taken_over(
    subject: Subject<'_>,
    (served, kind): (&Kind, &Kind),
    mut body: Value,
    contested: Vec<FieldConflict>,
    told: &mut Told<'_>,
) -> Result<Finding, Open> {
    let (key, policy) = (subject.key(), subject.request.policy);
    let found = match subject.live() {
        Some(live) => Some(live.clone()),
        None => told.read(served)?.ok().flatten(),
    };
    let Some(live) = found else { return Ok(Refusal::Conflict(contested).into()) };
    let transfer = subject.transfer(&live);
    let is_taken = |one: &FieldConflict| policy.forces(key, &one.field) || policy.takes_mark(key, &live, &one.field);
    let (forced, others): (Vec<FieldConflict>, Vec<FieldConflict>) =
        transfer.contested(&live, &contested).into_iter().partition(is_taken);
    if !others.is_empty() {
        return Ok(Refusal::Conflict(others).into());
    }
    body["metadata"]["uid"] = live.uid().into();
    match told.write(|| Request::ForcedApply(kind.clone(), body))? {
        Ok(answer) => {
            let finding = without_legacy(kind, &transfer, answer.live, told)?;
            Ok(Finding { is_forced: !forced.is_empty(), ..finding })
        }
        Err(refusal) => Ok(refusal.into()),
    }
}

/// Judges the object after the older tools' fields became ours and the undesired ones of them are removed.
///
/// The server may refuse to remove some of these fields, for example an immutable field that it once filled in. Then
/// these fields stay, and only the metadata is taken over.
fn without_legacy(kind: &Kind, transfer: &FieldTransfer, applied: Live, told: &mut Told<'_>) -> Result<Finding, Open> {
    for extent in [Extent::Whole, Extent::Metadata] {
        let Some(remainder) = transfer.remainder(&applied, extent) else {
            return Ok(Finding { extent, ..DryRun::Applied(applied).into() });
        };
        match patched(kind, &applied, || remainder, told)? {
            Ok(live) => return Ok(Finding { extent, ..DryRun::Applied(live).into() }),
            Err(Refusal::Invalid(_)) if extent == Extent::Whole => {}
            Err(refusal) => return Ok(refusal.into()),
        }
    }
    Ok(Finding { extent: Extent::Metadata, ..DryRun::Applied(applied).into() })
}

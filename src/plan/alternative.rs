//! Handles a change that the server refuses. Finds the fields that are in the way, and finds out whether the object can
//! be created anew instead.
//!
//! The message of a refusal does not tell this. Messages differ by kind, and a mistake in the manifest gets the same
//! answer. Dry runs tell it. The first is a PUT of the changed object without the fields that stand beside a changed
//! field and that the manifest does not state. The second is a POST of the same object as a new one.

use serde_json::Value;

use super::cleanup::is_holder;
use super::leftover_fields::{InPlace, in_place};
use super::migration::{Extent, FieldTransfer};
use super::observed::DryRun;
use super::question::{Open, Request, Told};
use super::trial::{Finding, Subject, kinds};
use crate::object::field_path::FieldPath;
use crate::object::fields::{Fields, union};
use crate::object::kinds::Kind;
use crate::object::live::Live;
use crate::object::mark::{Ownership, Root, ownership};
use crate::object::refusal::{FieldConflict, Refusal};

/// The number of attempts to judge one object. Each attempt after the first follows a change of the object.
const ATTEMPTS: usize = 5;

/// The result of the dry runs of a changed object.
enum InPlaceFinding {
    /// The server accepts the object once these fields, which no manager owns, are removed. The dry run returned this
    /// object.
    Possible(Live, Fields),
    /// The server accepts the object once these fields of other managers are removed.
    Held(Vec<FieldConflict>),
    /// The server refuses the object, no matter which of these fields are removed.
    Impossible,
    /// The credentials do not permit the dry run.
    Unasked(String),
    /// The result is not known, for this reason.
    Unknown(String),
}

/// Finds out whether an object that the server refuses to change can be changed in place after all, or be created anew.
/// Returns `finding` if it is no such refusal, or if neither is possible.
///
/// # Errors
///
/// The next question, if the answers so far do not suffice.
pub(super) fn otherwise(subject: Subject<'_>, finding: Finding, told: &mut Told<'_>) -> Result<Finding, Open> {
    let (DryRun::Refused(Refusal::Invalid(words)), Some(live)) = (&finding.trial, subject.live()) else {
        return Ok(finding);
    };
    let (key, request) = (&subject.manifest.ident.key, subject.request);
    let owner = ownership(live, request.root);
    let is_foreign = matches!(owner, Ownership::Other(_)) && !request.policy.takes_over(key, live);
    let Ok((_, kind)) = kinds(subject.served, subject.manifest) else { return Ok(finding) };
    if is_foreign {
        return Ok(finding);
    }
    let body = request.stamped(subject.manifest);
    match changed_in_place(&kind, live, &body, &subject.transfer(live), request.root, told)? {
        InPlaceFinding::Possible(after, claims) => return Ok(Finding { claims, ..DryRun::Applied(after).into() }),
        InPlaceFinding::Held(contested) => return Ok(Refusal::Beside(contested).into()),
        InPlaceFinding::Unasked(why) => return Ok(Refusal::Unavailable(format!("{words}; {why}")).into()),
        InPlaceFinding::Unknown(why) => return Ok(Refusal::Invalid(format!("{words}; {why}")).into()),
        InPlaceFinding::Impossible => {}
    }
    // The server deletes the contents of a namespace or CRD together with it.
    if is_holder(key) || !matches!(owner, Ownership::Ours(_)) {
        return Ok(finding);
    }
    if let Err(refusal) = told.permit(|| Request::Create(kind.clone(), body))? {
        return Ok(Refusal::Invalid(format!("{words}; it is refused as a new object too: {refusal}")).into());
    }
    let (uid, resource_version) = (live.uid().to_owned(), live.resource_version().to_owned());
    match told.permit(|| Request::Delete { kind, uid, resource_version })? {
        // The object changed since it was read (its status, for example). The run reads it again before it deletes it.
        Ok(()) | Err(Refusal::Changed(_) | Refusal::Absent(_)) => {
            Ok(DryRun::Immutable(Refusal::Invalid(words.clone())).into())
        }
        Err(refusal) => Ok(Refusal::Denied(format!("{words}; it cannot be deleted and recreated: {refusal}")).into()),
    }
}

/// Finds out whether the object can be changed in place.
fn changed_in_place(
    kind: &Kind,
    planned: &Live,
    desired: &Value,
    transfer: &FieldTransfer,
    root: &Root,
    told: &mut Told<'_>,
) -> Result<InPlaceFinding, Open> {
    let unknown = |why: &str| Ok(InPlaceFinding::Unknown(why.to_owned()));
    let mut live = planned.clone();
    for _ in 0..ATTEMPTS {
        let Some(place) = in_place(&live, desired, transfer, root) else {
            return unknown("its managed fields do not tell whether another field stands in the way");
        };
        let check = InPlaceCheck { kind, live: &live, place: &place };
        match check.verdict(transfer, told)? {
            Ok(verdict) => return Ok(verdict),
            Err(Refusal::Changed(_) | Refusal::Absent(_)) => {}
            Err(Refusal::Forbidden(words)) => {
                return Ok(InPlaceFinding::Unasked(format!(
                    "the right to update it is needed to tell whether another field stands in the way: {words}"
                )));
            }
            Err(refusal) => return Ok(InPlaceFinding::Unknown(refusal.to_string())),
        }
        match told.read(kind)? {
            Ok(Some(now)) if now.uid() == planned.uid() => live = now,
            Ok(_) => return unknown("it was deleted while the plan was made"),
            Err(error) => return Ok(InPlaceFinding::Unknown(error.to_string())),
        }
    }
    unknown("it changed each time it was read")
}

#[derive(Clone, Copy)]
struct InPlaceCheck<'a> {
    kind: &'a Kind,
    live: &'a Live,
    place: &'a InPlace,
}

/// An answer of the server, or the refusal that prevented an answer.
type Verdict<T> = Result<Result<T, Refusal>, Open>;

/// Returns early with a refusal, as `?` does with an open question.
macro_rules! accepted {
    ($verdict:expr) => {
        match $verdict? {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}

impl InPlaceCheck<'_> {
    fn verdict(self, transfer: &FieldTransfer, told: &mut Told<'_>) -> Verdict<InPlaceFinding> {
        let InPlace { unowned, held, .. } = self.place;
        let unowned: Vec<&FieldPath> = unowned.iter().collect();
        if let Some(after) = accepted!(self.put(&unowned, told)) {
            let (at_fault, after) = accepted!(self.at_fault(&[], unowned, after, told));
            if at_fault.is_empty() && transfer.managed_fields(self.live, Extent::Whole).is_none() {
                let why = "the same change is accepted as an update, but not as an apply";
                return Ok(Ok(InPlaceFinding::Unknown(why.to_owned())));
            }
            let claims = at_fault.iter().fold(Fields::new(), |all, path| union(&all, &path.to_fields()));
            return Ok(Ok(InPlaceFinding::Possible(after, claims)));
        }
        let mut theirs: Vec<&FieldPath> = held.iter().map(|(path, _)| path).collect();
        theirs.dedup();
        let all: Vec<&FieldPath> = unowned.iter().chain(&theirs).copied().collect();
        if theirs.is_empty() {
            return Ok(Ok(InPlaceFinding::Impossible));
        }
        let Some(after) = accepted!(self.put(&all, told)) else { return Ok(Ok(InPlaceFinding::Impossible)) };
        let (at_fault, _) = accepted!(self.at_fault(&unowned, theirs, after, told));
        let contested = held.iter().filter(|(path, _)| at_fault.contains(&path));
        let contested = contested
            .map(|(path, manager)| FieldConflict { field: path.to_string(), manager: manager.clone() })
            .collect();
        Ok(Ok(InPlaceFinding::Held(contested)))
    }

    /// Reduces `paths` to the fields that have to be left out, so that the server accepts the object. Returns them with
    /// the accepted object. To find them, puts back each field in turn. The fields in `always` are left out every time.
    fn at_fault<'a>(
        self,
        always: &[&FieldPath],
        mut paths: Vec<&'a FieldPath>,
        mut after: Live,
        told: &mut Told<'_>,
    ) -> Verdict<(Vec<&'a FieldPath>, Live)> {
        for path in paths.clone() {
            let fewer: Vec<&FieldPath> = paths.iter().filter(|other| **other != path).copied().collect();
            let left_out: Vec<&FieldPath> = always.iter().chain(&fewer).copied().collect();
            if let Some(accepted) = accepted!(self.put(&left_out, told)) {
                (paths, after) = (fewer, accepted);
            }
        }
        Ok(Ok((paths, after)))
    }

    /// Judges the object without these fields. Returns the result, or `None` if the server finds the object invalid.
    fn put(self, without: &[&FieldPath], told: &mut Told<'_>) -> Verdict<Option<Live>> {
        let body = || {
            let mut body = self.place.without(without.iter().copied());
            if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
                metadata.insert("uid".to_owned(), self.live.uid().into());
                metadata.insert("resourceVersion".to_owned(), self.live.resource_version().into());
            }
            body
        };
        Ok(match told.write(|| Request::Put(self.kind.clone(), body()))? {
            Ok(answer) => Ok(Some(answer.live)),
            Err(Refusal::Invalid(_)) => Ok(None),
            Err(refusal) => Err(refusal),
        })
    }
}

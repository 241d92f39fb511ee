//! Handles a change that the server refuses. Finds the fields that are in the way, and finds out whether the object can
//! be created anew instead.
//!
//! The message of a refusal does not tell this. Messages differ by kind, and a mistake in the manifest gets the same
//! answer. Dry runs tell it. The first is a PUT of the changed object without the fields that stand beside a changed
//! field and that the manifest does not state. The second is a POST of the same object as a new one.

use serde_json::Value;

use crate::cluster::connect::Cluster;
use crate::object::field_path::FieldPath;
use crate::object::fields::{Fields, union};
use crate::object::kinds::{Kind, Kinds};
use crate::object::live::Live;
use crate::object::manifest::Manifest;
use crate::object::mark::{Ownership, Root, ownership};
use crate::object::refusal::{FieldConflict, Refusal};
use crate::plan::build::PlanRequest;
use crate::plan::cleanup::is_holder;
use crate::plan::leftover_fields::{InPlace, in_place};
use crate::plan::migration::{Extent, FieldTransfer};
use crate::plan::observed::{DryRun, Observed};
use crate::run::observe::DryRunFinding;

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
/// Returns `tested` if it is no such refusal, or if neither is possible.
pub(super) async fn try_otherwise(
    cluster: &Cluster,
    served: &Kinds,
    request: PlanRequest<'_>,
    observed: &Observed,
    manifest: &Manifest,
    tested: DryRunFinding,
) -> DryRunFinding {
    let key = &manifest.ident.key;
    let (DryRun::Refused(Refusal::Invalid(words)), Some(live)) = (&tested.trial, observed.live(key)) else {
        return tested;
    };
    let owner = ownership(live, request.root);
    let is_foreign = matches!(owner, Ownership::Other(_)) && !request.policy.takes_over(key, live);
    let Some(kind) = served.get(&key.group_kind()).filter(|_| !is_foreign) else { return tested };
    let kind = kind.at_version(&manifest.ident.version);
    let body = request.stamped(manifest);
    let transfer = FieldTransfer::of(request.root, &manifest.ident.api_version(), request.policy, key, live);
    match try_in_place(cluster, &kind, live, &body, &transfer, request.root).await {
        InPlaceFinding::Possible(after, claims) => {
            return DryRunFinding { claims, ..DryRun::Applied(after).into() };
        }
        InPlaceFinding::Held(contested) => return Refusal::Beside(contested).into(),
        InPlaceFinding::Unasked(why) => return Refusal::Unavailable(format!("{words}; {why}")).into(),
        InPlaceFinding::Unknown(why) => return Refusal::Invalid(format!("{words}; {why}")).into(),
        InPlaceFinding::Impossible => {}
    }
    // The server deletes the contents of a namespace or CRD together with it.
    if is_holder(key) || !matches!(owner, Ownership::Ours(_)) {
        return tested;
    }
    if let Err(refusal) = cluster.try_as_new(&kind, &body, request.root).await {
        return Refusal::Invalid(format!("{words}; it is refused as a new object too: {refusal}")).into();
    }
    match cluster.try_delete(&kind, key, live.uid(), live.resource_version()).await {
        // The object changed since it was read (its status, for example). The run reads it again before it deletes it.
        Ok(()) | Err(Refusal::Changed(_) | Refusal::Absent(_)) => {
            DryRun::Immutable(Refusal::Invalid(words.clone())).into()
        }
        Err(refusal) => Refusal::Denied(format!("{words}; it cannot be deleted and recreated: {refusal}")).into(),
    }
}

/// Finds out whether the object can be changed in place.
async fn try_in_place(
    cluster: &Cluster,
    kind: &Kind,
    planned: &Live,
    desired: &Value,
    transfer: &FieldTransfer,
    root: &Root,
) -> InPlaceFinding {
    let mut live = planned.clone();
    for _ in 0..ATTEMPTS {
        let Some(place) = in_place(&live, desired, transfer, root) else {
            let why = "its managed fields do not tell whether another field stands in the way";
            return InPlaceFinding::Unknown(why.to_owned());
        };
        let trying = InPlaceCheck { cluster, kind, root, live: &live, place: &place };
        match trying.verdict(transfer).await {
            Ok(verdict) => return verdict,
            Err(Refusal::Changed(_) | Refusal::Absent(_)) => {}
            Err(Refusal::Forbidden(words)) => {
                return InPlaceFinding::Unasked(format!(
                    "the right to update it is needed to tell whether another field stands in the way: {words}"
                ));
            }
            Err(refusal) => return InPlaceFinding::Unknown(refusal.to_string()),
        }
        let key = kind.key_of(&live);
        match cluster.get(kind, &key).await {
            Ok(Some(now)) if now.uid() == planned.uid() => live = now,
            Ok(_) => return InPlaceFinding::Unknown("it was deleted while the plan was made".to_owned()),
            Err(error) => return InPlaceFinding::Unknown(error.to_string()),
        }
    }
    InPlaceFinding::Unknown("it changed each time it was read".to_owned())
}

#[derive(Clone, Copy)]
struct InPlaceCheck<'a> {
    cluster: &'a Cluster,
    kind: &'a Kind,
    root: &'a Root,
    live: &'a Live,
    place: &'a InPlace,
}

impl InPlaceCheck<'_> {
    /// The server's answer, or the refusal that prevented an answer.
    async fn verdict(self, transfer: &FieldTransfer) -> Result<InPlaceFinding, Refusal> {
        let InPlace { unowned, held, .. } = self.place;
        let unowned: Vec<&FieldPath> = unowned.iter().collect();
        if let Some(after) = self.put(&unowned).await? {
            let (at_fault, after) = self.at_fault(&[], unowned, after).await?;
            if at_fault.is_empty() && transfer.managed_fields(self.live, Extent::Whole).is_none() {
                let why = "the same change is accepted as an update, but not as an apply";
                return Ok(InPlaceFinding::Unknown(why.to_owned()));
            }
            let claims = at_fault.iter().fold(Fields::new(), |all, path| union(&all, &path.to_fields()));
            return Ok(InPlaceFinding::Possible(after, claims));
        }
        let mut theirs: Vec<&FieldPath> = held.iter().map(|(path, _)| path).collect();
        theirs.dedup();
        let all: Vec<&FieldPath> = unowned.iter().chain(&theirs).copied().collect();
        let Some(after) = (if theirs.is_empty() { None } else { self.put(&all).await? }) else {
            return Ok(InPlaceFinding::Impossible);
        };
        let (at_fault, _) = self.at_fault(&unowned, theirs, after).await?;
        let contested = held.iter().filter(|(path, _)| at_fault.contains(&path));
        let contested = contested
            .map(|(path, manager)| FieldConflict { field: path.to_string(), manager: manager.clone() })
            .collect();
        Ok(InPlaceFinding::Held(contested))
    }

    /// Reduces `paths` to the fields that have to be left out, so that the server accepts the object. Returns them with
    /// the accepted object. To find them, puts back each field in turn. The fields in `always` are left out every time.
    async fn at_fault<'a>(
        self,
        always: &[&FieldPath],
        mut paths: Vec<&'a FieldPath>,
        mut after: Live,
    ) -> Result<(Vec<&'a FieldPath>, Live), Refusal> {
        for path in paths.clone() {
            let fewer: Vec<&FieldPath> = paths.iter().filter(|other| **other != path).copied().collect();
            let left_out: Vec<&FieldPath> = always.iter().chain(&fewer).copied().collect();
            if let Some(accepted) = self.put(&left_out).await? {
                (paths, after) = (fewer, accepted);
            }
        }
        Ok((paths, after))
    }

    /// Makes a dry run of the object without these fields. Returns the result, or `None` if the server finds the object
    /// invalid.
    async fn put(self, without: &[&FieldPath]) -> Result<Option<Live>, Refusal> {
        let mut body = self.place.without(without.iter().copied());
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            metadata.insert("uid".to_owned(), self.live.uid().into());
            metadata.insert("resourceVersion".to_owned(), self.live.resource_version().into());
        }
        match self.cluster.try_put(self.kind, &body, self.root).await {
            Ok(live) => Ok(Some(live)),
            Err(Refusal::Invalid(_)) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

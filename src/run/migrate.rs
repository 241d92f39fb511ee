//! Prepares the managed fields of an object for the apply. Changes nothing else of the object.

use serde_json::Value;

use crate::cluster::apply::ObjectError;
use crate::object::ident::ObjectKey;
use crate::object::kinds::Kind;
use crate::object::live::Live;
use crate::object::mark::{Ownership, managed_fields, ownership};
use crate::object::refusal::Refusal;
use crate::plan::change::Change;
use crate::plan::field_rules::{relinquished, seized};
use crate::plan::leftover_fields::claimed;
use crate::plan::migration::FieldTransfer;
use crate::plan::unreadable_fields::{restated, unified};
use crate::run::context::RunContext;
use crate::run::decide::RunRequest;
use crate::run::write_error::WriteError;

/// The number of attempts to change the managed fields. Each attempt after the first follows a change of the object.
const ATTEMPTS: usize = 5;

/// Rewrites the managed fields of an object that is ours or becomes ours. In particular, takes over the fields of older
/// tools, so that the apply can remove them.
///
/// If the run dies before the apply, only the managed fields of the object have changed, and the next run continues.
pub(super) async fn migrate(work: RunContext<'_>, change: &Change, kind: &Kind) -> Result<(), WriteError> {
    let key = &change.ident.key;
    let Some(planned) = work.observed.live(key) else { return Ok(()) };
    let RunRequest { root, policy, .. } = work.request;
    let transfer = FieldTransfer::of(root, &change.ident.api_version(), policy, key, planned);
    let extent = work.observed.extent(key);
    let mut live = planned.clone();
    for _ in 0..ATTEMPTS {
        let recovered = recovered(work, change, kind, &live).await?;
        let live_fields = recovered.as_ref().unwrap_or(&live);
        let restated = restated(live_fields, kind, &change.ident.api_version());
        let readable = restated.as_ref().unwrap_or(live_fields);
        let Some(fields) = changed(work, change, &transfer, readable, restated.is_some())? else {
            return Ok(());
        };
        let fields = Value::Array(fields);
        match work.cluster.replace_managed_fields(work.lock, kind, (key, &live), &fields, root).await {
            Ok(_) => return Ok(()),
            Err(ObjectError::LockLost) => return Err(WriteError::LockLost),
            // The object changed, or an earlier attempt took effect although its answer was lost. Read the object
            // again, and never send the same request twice.
            Err(ObjectError::Refused(Refusal::Changed(_) | Refusal::Absent(_) | Refusal::Invalid(_))) => {
                let is_lost = recovered.is_some();
                live = reread(work, kind, key, planned, |now| match transfer.inherited(now, extent) {
                    inherited @ Some(_) => is_lost || inherited == transfer.inherited(planned, extent),
                    None => true,
                })
                .await?;
            }
            Err(ObjectError::Refused(refusal)) => return Err(WriteError::Failed(refusal.to_string())),
        }
    }
    Err(WriteError::Failed("it changed each time its fields were to be taken over: run again".to_owned()))
}

/// The managed fields that the object needs before the apply, or `None` if it has them already.
fn changed(
    work: RunContext<'_>,
    change: &Change,
    transfer: &FieldTransfer,
    live: &Live,
    is_restated: bool,
) -> Result<Option<Vec<Value>>, WriteError> {
    let (key, root, policy) = (&change.ident.key, &work.request.root, &work.request.policy);
    let mut is_due = is_restated;
    let mut fields: Vec<Value> = managed_fields(live).cloned().collect();
    let mut take = |fields: &mut Vec<Value>, next: Option<Vec<Value>>| {
        if let Some(next) = next {
            (*fields, is_due) = (next, true);
        }
    };
    let inherited = transfer.managed_fields(live, work.observed.extent(key));
    take(&mut fields, inherited.and_then(|fields| fields.as_array().cloned()));
    if let Some(claims) = work.observed.claims.get(key) {
        let claimed = claimed(&fields, claims, root).ok_or(WriteError::MovedOn)?;
        take(&mut fields, Some(claimed));
    }
    if let Some(manifest) = work.desired.get(key) {
        let left = relinquished(&fields, policy, work.desired, manifest, root);
        take(&mut fields, left);
    }
    if work.observed.forced.contains(key) {
        let left = seized(&fields, policy, key, live, root);
        take(&mut fields, left);
    }
    Ok(is_due.then_some(fields))
}

/// The object with the managed fields that a dry run of a forced apply shows, if its own managed fields were lost.
/// `None` if they were not lost.
async fn recovered(
    work: RunContext<'_>,
    change: &Change,
    kind: &Kind,
    live: &Live,
) -> Result<Option<Live>, WriteError> {
    let root = &work.request.root;
    let Some(manifest) = work.desired.get(&change.ident.key) else { return Ok(None) };
    let has_fields = managed_fields(live).any(|entry| entry.get("fieldsV1").is_some());
    if has_fields || !matches!(ownership(live, root), Ownership::Lost(_)) {
        return Ok(None);
    }
    let mut body = work.request.policy.sent(manifest, root);
    body["metadata"]["uid"] = live.uid().into();
    let tried = work.cluster.try_forced_apply(&kind.at_version(&manifest.ident.version), &body, root).await;
    let applied = tried.map_err(|refusal| WriteError::Failed(refusal.to_string()))?.live;
    let mut recovered = live.clone();
    recovered.body["metadata"]["managedFields"] = managed_fields(&applied).cloned().collect();
    Ok(Some(recovered))
}

/// Reads an object again. Fails unless it is the planned object, has the same kind of owner, and `is_expected` accepts
/// it.
async fn reread(
    work: RunContext<'_>,
    kind: &Kind,
    key: &ObjectKey,
    planned: &Live,
    is_expected: impl Fn(&Live) -> bool,
) -> Result<Live, WriteError> {
    let root = &work.request.root;
    match work.cluster.get(kind, key).await {
        Ok(Some(now))
            if now.uid() == planned.uid()
                && std::mem::discriminant(&ownership(&now, root))
                    == std::mem::discriminant(&ownership(planned, root))
                && is_expected(&now) =>
        {
            Ok(now)
        }
        Ok(_) => Err(WriteError::MovedOn),
        Err(error) => Err(WriteError::Failed(error.to_string())),
    }
}

/// Rewrites managed fields that the server cannot read into the version that is applied. `why` is the server's message.
pub(super) async fn unify(work: RunContext<'_>, change: &Change, kind: &Kind, why: &str) -> Result<(), WriteError> {
    let key = &change.ident.key;
    let failed = || WriteError::Failed(why.to_owned());
    for _ in 0..ATTEMPTS {
        let live = match work.cluster.get(kind, key).await {
            Ok(Some(live)) if change.uid.as_deref().is_none_or(|uid| uid == live.uid()) => live,
            Ok(_) => return Err(WriteError::MovedOn),
            Err(error) => return Err(WriteError::Failed(error.to_string())),
        };
        let unified = unified(&live, &change.ident.api_version()).ok_or_else(failed)?;
        let fields: Value = managed_fields(&unified).cloned().collect();
        match work.cluster.replace_managed_fields(work.lock, kind, (key, &live), &fields, &work.request.root).await {
            Ok(_) => return Ok(()),
            Err(ObjectError::LockLost) => return Err(WriteError::LockLost),
            Err(ObjectError::Refused(Refusal::Changed(_) | Refusal::Absent(_) | Refusal::Invalid(_))) => {}
            Err(ObjectError::Refused(refusal)) => return Err(WriteError::Failed(refusal.to_string())),
        }
    }
    Err(failed())
}

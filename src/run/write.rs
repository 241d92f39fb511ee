//! Writes one desired object: prepares the live object, and then applies the manifest.

use serde_json::Value;

use crate::cluster::apply::{Applied, ObjectError};
use crate::object::ident::ObjectKey;
use crate::object::kinds::{Kind, defined_kind};
use crate::object::live::Live;
use crate::object::refusal::Refusal;
use crate::plan::change::Change;
use crate::plan::decision::Action;
use crate::plan::meanwhile::{Creation, Judge};
use crate::plan::outcome::Verdict;
use crate::run::context::RunContext;
use crate::run::decide::RunRequest;
use crate::run::migrate::{migrate, unify};
use crate::run::remove::{Removed, remove};
use crate::run::write_error::WriteError;

/// The largest number of objects that are being deleted and that a write waits for, one after another, before it can
/// write its own object.
const OCCUPANTS: u8 = 2;

/// The content of the place where the object is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The content that the plan saw.
    AsPlanned,
    /// The place is empty. The number counts the objects being deleted that the write has waited for, without the
    /// object that this run replaces.
    Vacated(u8),
}

/// The result of a write.
pub(crate) enum Wrote {
    /// The object is as desired.
    Written(Written),
    /// An object that is being deleted is in the place. The write continues when that object is gone.
    Occupied {
        /// The kind of the object that is being deleted.
        kind: Kind,
        /// The uid of the object that is being deleted.
        uid: String,
        /// The slot to continue the write with.
        then: Slot,
    },
}

/// A written object.
pub(crate) struct Written {
    /// The verdict about the object.
    pub verdict: Verdict,
    /// A message for the report, if there is one.
    pub message: Option<String>,
    /// The object after the write.
    pub live: Live,
}

/// Writes one object, or returns the object that has to be gone first.
///
/// # Errors
///
/// Anything that prevents the write.
pub(crate) async fn write(work: RunContext<'_>, change: &Change, place: Slot) -> Result<Wrote, WriteError> {
    let key = &change.ident.key;
    let failed = |why: &str| WriteError::Failed(why.to_owned());
    let manifest = work.desired.get(key).ok_or_else(|| failed("it is planned and not desired"))?;
    let kind = work.observed.kinds.get(&key.group_kind()).ok_or_else(|| failed("its kind is not known"))?;
    let kind = &redefined(work, kind);
    let occupied = |uid: &str, then| Wrote::Occupied { kind: kind.clone(), uid: uid.to_owned(), then };
    let body = work.request.policy.sent(manifest, &work.request.root);
    if place == Slot::AsPlanned {
        if change.action() == Action::Replace
            && let Some(uid) = removed(work, change).await?
        {
            return Ok(occupied(&uid, Slot::Vacated(0)));
        }
        if let Some(live) = work.observed.live(key).filter(|live| live.is_terminating()) {
            return Ok(occupied(live.uid(), Slot::Vacated(1)));
        }
    }
    let written = kind.at_version(&manifest.ident.version);
    let is_empty = place != Slot::AsPlanned || matches!(change.action(), Action::Create | Action::Replace);
    let Put { live, verdict, message } = if is_empty {
        create(work, change, &written, body).await?
    } else {
        match configure(work, change, kind, &written, body.clone()).await {
            Err(WriteError::MovedOn | WriteError::Refused(Refusal::Changed(_) | Refusal::Absent(_)))
                if is_gone(work, kind, key).await =>
            {
                create(work, change, &written, body).await?
            }
            configured => configured?,
        }
    };
    if live.is_terminating() {
        // The server is about to delete this object, whether the apply succeeded or not. Only the object after it
        // counts.
        return match place {
            Slot::AsPlanned => Ok(occupied(live.uid(), Slot::Vacated(1))),
            Slot::Vacated(count) if count < OCCUPANTS => Ok(occupied(live.uid(), Slot::Vacated(count + 1))),
            Slot::Vacated(_) => Err(failed("it is being deleted: run again when it is gone")),
        };
    }
    Ok(Wrote::Written(Written { verdict, message, live }))
}

/// The result of a create or apply request.
struct Put {
    live: Live,
    verdict: Verdict,
    message: Option<String>,
}

/// Changes the object that the plan saw, and no other object.
async fn configure(
    work: RunContext<'_>,
    change: &Change,
    kind: &Kind,
    written: &Kind,
    mut body: Value,
) -> Result<Put, WriteError> {
    let is_planned = matches!(change.action(), Action::Update | Action::Move | Action::Adopt);
    if is_planned {
        migrate(work, change, kind).await?;
    }
    if let Some(uid) = change.uid.as_deref().filter(|_| is_planned) {
        body["metadata"]["uid"] = uid.into();
    }
    let Applied { created, live } = match apply(work, written, &body).await {
        Err(WriteError::Refused(Refusal::Unreadable(why))) => {
            unify(work, change, written, &why).await?;
            apply(work, written, &body).await?
        }
        applied => applied?,
    };
    Ok(Put {
        live,
        verdict: if created { Verdict::Created } else { Verdict::of_change(change.action()) },
        message: None,
    })
}

/// Returns `true` if the object that the plan saw is gone.
async fn is_gone(work: RunContext<'_>, kind: &Kind, key: &ObjectKey) -> bool {
    matches!(work.cluster.get(kind, key).await, Ok(None))
}

/// Creates an object where the plan saw none, or where none is left.
///
/// An object that appeared there meanwhile stays as it is, unless it is ours, or may be adopted or taken over. If that
/// object is being deleted, it is returned, and the caller waits until it is gone.
async fn create(work: RunContext<'_>, change: &Change, kind: &Kind, mut body: Value) -> Result<Put, WriteError> {
    let key = &change.ident.key;
    let RunRequest { root, policy, .. } = work.request;
    let verdict = if change.action() == Action::Replace { Verdict::Replaced } else { Verdict::Created };
    let conflict = match work.cluster.create(work.lock, kind, &body, root).await {
        Ok(live) => return Ok(Put { live, verdict, message: None }),
        Err(ObjectError::LockLost) => return Err(WriteError::LockLost),
        Err(ObjectError::Refused(refusal @ (Refusal::Changed(_) | Refusal::Conflict(_)))) => refusal,
        Err(ObjectError::Refused(refusal)) => return Err(WriteError::Refused(refusal)),
    };
    let found = work.cluster.get(kind, key).await.map_err(|error| WriteError::Failed(error.to_string()))?;
    let Some(found) = found else { return Err(WriteError::Failed(conflict.to_string())) };
    let appeared = |then: &str| format!("it appeared after the plan was made, and {then}");
    let (verdict, message) = match (Judge { root, policy }).creation(key, &found) {
        Creation::Waits => return Ok(Put { live: found, verdict, message: None }),
        Creation::Ours => (verdict, None),
        Creation::Adopts => (Verdict::Adopted, Some(appeared("was adopted"))),
        Creation::Foreign(owner) => {
            return Err(WriteError::Failed(appeared(&format!("belongs to {owner}: it stays as it is"))));
        }
        Creation::Unadopted => {
            return Err(WriteError::Failed(appeared("adoption is off: it stays as it is")));
        }
    };
    body["metadata"]["uid"] = found.uid().into();
    let Applied { live, .. } = apply(work, kind, &body).await?;
    Ok(Put { live, verdict, message })
}

/// The kind without the versions that its CRD in the tree no longer has.
fn redefined(work: RunContext<'_>, kind: &Kind) -> Kind {
    let definition = ObjectKey {
        group: "apiextensions.k8s.io".to_owned(),
        kind: "CustomResourceDefinition".to_owned(),
        namespace: None,
        name: format!("{}.{}", kind.plural, kind.group_kind.group),
    };
    let mut kind = kind.clone();
    if let Some(defined) = work.desired.get(&definition).and_then(|manifest| defined_kind(&manifest.body))
        && kind.versions.iter().any(|version| defined.versions.contains(version))
    {
        kind.versions.retain(|version| defined.versions.contains(version));
    }
    kind
}

async fn apply(work: RunContext<'_>, kind: &Kind, body: &Value) -> Result<Applied, WriteError> {
    work.cluster.apply(work.lock, kind, body, &work.request.root).await.map_err(|error| match error {
        ObjectError::LockLost => WriteError::LockLost,
        ObjectError::Refused(refusal) => WriteError::Refused(refusal),
    })
}

/// Deletes an object that cannot be changed in place. Returns its uid if the deletion takes time. If the run dies
/// before it creates the object anew, the object is still recorded and desired, and the next run creates it.
async fn removed(work: RunContext<'_>, change: &Change) -> Result<Option<String>, WriteError> {
    match remove(work, change).await {
        Removed::Gone => Ok(None),
        Removed::Leaving { uid, .. } => Ok(Some(uid)),
        Removed::Released => Err(WriteError::Failed("someone else made it anew meanwhile: run again".to_owned())),
        Removed::Refused(refusal) => Err(WriteError::Failed(format!("it cannot be replaced: {refusal}"))),
        Removed::Protected(protection) => Err(WriteError::Protected(protection)),
        Removed::Failed(why) => Err(WriteError::Failed(format!("it cannot be replaced: {why}"))),
        Removed::NotStarted => Err(WriteError::Stopped),
        Removed::LockLost => Err(WriteError::LockLost),
    }
}

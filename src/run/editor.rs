//! Changes live objects with a series of patches. Each patch depends on the object that the patch before it left. Used
//! only to change or remove marks.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};
use serde_json::Value;

use crate::cluster::apply::ObjectError;
use crate::cluster::connect::Cluster;
use crate::cluster::lock::HeldLock;
use crate::object::ident::ObjectKey;
use crate::object::kinds::{Kind, Kinds};
use crate::object::live::Live;
use crate::object::mark::Root;
use crate::object::refusal::Refusal;
use crate::plan::observed::Lookup;
use crate::run::error::RunError;
use crate::run::interrupt::Interrupt;

/// The largest number of patches for one object. A patch that fails because the object changed meanwhile counts too.
const STEPS: usize = 8;

/// The context in which objects are patched.
#[derive(Clone, Copy)]
pub(crate) struct Editor<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Every lock that the run has to hold. The first lock gives the permit for the writes.
    pub locks: &'a [&'a HeldLock],
    /// The root whose field manager sends the patches.
    pub root: &'a Root,
    /// The kinds that the cluster serves.
    pub kinds: &'a Kinds,
    /// The interrupt, which is checked before each patch.
    pub interrupt: &'a Interrupt,
}

enum PatchEnd {
    Done,
    Failed(String),
    NotStarted,
    LockLost,
}

/// Patches each object until `next` returns no further patch for it. Returns the objects that could not be changed,
/// each with the reason. An object that is gone counts as done.
///
/// # Errors
///
/// The run is interrupted or loses a lock. The caller must then leave the state as it is.
pub(crate) async fn all(
    editor: Editor<'_>,
    objects: impl IntoIterator<Item = (ObjectKey, Lookup)>,
    next: &(impl Fn(&Live) -> Option<Vec<Value>> + Sync),
) -> Result<BTreeMap<ObjectKey, String>, RunError> {
    let answers: Vec<(ObjectKey, PatchEnd)> = stream::iter(objects)
        .map(|(key, look)| async move {
            let answer = one(editor, &key, look, next).await;
            (key, answer)
        })
        .buffer_unordered(editor.cluster.settings().concurrency)
        .collect()
        .await;
    if answers.iter().any(|(_, answer)| matches!(answer, PatchEnd::LockLost)) {
        return Err(RunError::LockLost);
    }
    if answers.iter().any(|(_, answer)| matches!(answer, PatchEnd::NotStarted)) {
        return Err(RunError::Stopped);
    }
    let failed = answers.into_iter().filter_map(|(key, answer)| match answer {
        PatchEnd::Failed(why) => Some((key, why)),
        _ => None,
    });
    Ok(failed.collect())
}

async fn one(
    editor: Editor<'_>,
    key: &ObjectKey,
    look: Lookup,
    next: &(impl Fn(&Live) -> Option<Vec<Value>> + Sync),
) -> PatchEnd {
    let mut live = match look {
        Lookup::Absent => return PatchEnd::Done,
        Lookup::Unknown(why) => return PatchEnd::Failed(why),
        Lookup::Live(live) => live,
        Lookup::Proved(_) => return PatchEnd::Failed("its content was not read".to_owned()),
    };
    let Some(kind) = editor.kinds.get(&key.group_kind()) else {
        return PatchEnd::Failed("its kind is not known".to_owned());
    };
    for _ in 0..STEPS {
        let Some(operations) = next(&live) else { return PatchEnd::Done };
        match patch(editor, kind, key, &live, &operations).await {
            Ok(Some(after)) => live = after,
            Ok(None) => return PatchEnd::Done,
            Err(answer) => return answer,
        }
    }
    PatchEnd::Failed("it changed each time its mark was written: run again".to_owned())
}

/// Sends one patch and returns the object after it. If the object changed meanwhile, reads and returns it without the
/// patch. Returns `None` if the object is gone.
async fn patch(
    editor: Editor<'_>,
    kind: &Kind,
    key: &ObjectKey,
    live: &Live,
    operations: &[Value],
) -> Result<Option<Live>, PatchEnd> {
    let Editor { cluster, locks, root, interrupt, .. } = editor;
    if interrupt.is_requested() {
        return Err(PatchEnd::NotStarted);
    }
    let Some(lock) = locks.first().filter(|_| !locks.iter().any(|lock| lock.is_lost())) else {
        return Err(PatchEnd::LockLost);
    };
    match cluster.patch(lock, kind, (key, live), operations, root).await {
        Ok(live) => Ok(Some(live)),
        Err(ObjectError::LockLost) => Err(PatchEnd::LockLost),
        Err(ObjectError::Refused(Refusal::Changed(_) | Refusal::Absent(_))) => {
            cluster.get(kind, key).await.map_err(|error| PatchEnd::Failed(error.to_string()))
        }
        Err(ObjectError::Refused(refusal)) => Err(PatchEnd::Failed(refusal.to_string())),
    }
}

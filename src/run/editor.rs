//! Changing one live object step by step, each step decided by what the one before left. Used where only a mark changes.

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

/// How many patches and looks an object may take: it may change in between.
const STEPS: usize = 8;

/// What objects are changed with.
#[derive(Clone, Copy)]
pub struct Editor<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Every lock that has to be held; the first is the one that permits.
    pub locks: &'a [&'a HeldLock],
    /// Whose field manager changes them.
    pub root: &'a Root,
    /// The kinds there are.
    pub kinds: &'a Kinds,
    /// Whether to stop.
    pub interrupt: &'a Interrupt,
}

enum PatchEnd {
    Done,
    Failed(String),
    NotStarted,
    LockLost,
}

/// Changes each object as long as `next` has a patch for it. Returns why some were left as they are.
///
/// # Errors
///
/// An interrupt or a lost lock: the record must stay as it is then.
pub async fn all(
    hands: Editor<'_>,
    objects: impl IntoIterator<Item = (ObjectKey, Lookup)>,
    next: &(impl Fn(&Live) -> Option<Vec<Value>> + Sync),
) -> Result<BTreeMap<ObjectKey, String>, RunError> {
    let answers: Vec<(ObjectKey, PatchEnd)> = stream::iter(objects)
        .map(|(key, look)| async move {
            let answer = one(hands, &key, look, next).await;
            (key, answer)
        })
        .buffer_unordered(hands.cluster.settings().concurrency)
        .collect()
        .await;
    if answers.iter().any(|(_, answer)| matches!(answer, PatchEnd::LockLost)) {
        return Err(RunError::LockLost(None));
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
    hands: Editor<'_>,
    key: &ObjectKey,
    look: Lookup,
    next: &(impl Fn(&Live) -> Option<Vec<Value>> + Sync),
) -> PatchEnd {
    let mut live = match look {
        Lookup::Absent => return PatchEnd::Done,
        Lookup::Unknown(why) => return PatchEnd::Failed(why),
        Lookup::Live(live) => live,
    };
    let Some(kind) = hands.kinds.get(&key.group_kind()) else {
        return PatchEnd::Failed("its kind is not known".to_owned());
    };
    for _ in 0..STEPS {
        let Some(operations) = next(&live) else { return PatchEnd::Done };
        match patch(hands, kind, key, &live, &operations).await {
            Ok(Some(after)) => live = after,
            Ok(None) => return PatchEnd::Done,
            Err(answer) => return answer,
        }
    }
    PatchEnd::Failed("it changes faster than it can be marked: run again".to_owned())
}

/// Sends one patch. The object as it is then, also where it changed meanwhile; nothing where it is gone.
async fn patch(
    hands: Editor<'_>,
    kind: &Kind,
    key: &ObjectKey,
    live: &Live,
    operations: &[Value],
) -> Result<Option<Live>, PatchEnd> {
    let Editor { cluster, locks, root, interrupt, .. } = hands;
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

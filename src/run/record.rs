//! The root's state over one run: claimed, read, recorded, finalized.

use std::collections::BTreeSet;

use crate::cluster::connect::Cluster;
use crate::cluster::lock::HeldLock;
use crate::cluster::store::{StateWriteError, StoredState};
use crate::object::mark::Root;
use crate::run::error::RunError;
use crate::run::shards::{Place, unwritten};
use crate::state::codec::{self, RUN_ANNOTATION, Recorded, StateError};
use crate::state::payload::Payload;
use crate::state::shard::{Head, SHARDS_ANNOTATION, shard_name};
use crate::state::transition::{Ledger, Pending, Prior, annotations};

/// How often a head that changes under the reader's eyes is read again.
const TRIES: usize = 5;

/// The state as it was last read or written by this run.
pub struct Store {
    cluster: Cluster,
    namespace: String,
    root: Root,
    run: String,
    stored: Option<StoredState>,
    /// What the stored head refers to.
    referred: BTreeSet<String>,
}

impl Store {
    /// Makes a sharded state this run's before it is read: what earlier runs still have under way cannot replace it.
    ///
    /// A state that stands in one Secret is left as it is.
    ///
    /// # Errors
    ///
    /// A state that cannot be read or used, a lost lock, or someone who keeps changing it.
    pub async fn claim(
        cluster: &Cluster,
        lock: &HeldLock,
        namespace: &str,
        root: &Root,
        run: &str,
    ) -> Result<(), RunError> {
        for _ in 0..TRIES {
            let Some(stored) = read(cluster, namespace, root).await? else { return Ok(()) };
            let Recorded::Sharded(_) = understood(&stored, root)? else { return Ok(()) };
            let mut notes = stored.annotations.clone();
            notes.insert(RUN_ANNOTATION.to_owned(), run.to_owned());
            match cluster.write_state(lock, namespace, root, &stored.data, &notes, Some(&stored)).await {
                Ok(_) => return Ok(()),
                // A write of an earlier run landed: the state to go on from is that one.
                Err(StateWriteError::Conflict) => {}
                Err(error) => return Err(unwritten(error)),
            }
        }
        Err(RunError::WriteState(StateWriteError::Conflict))
    }

    /// Reads the state.
    ///
    /// # Errors
    ///
    /// A state that cannot be read or cannot be used: nothing may be changed then.
    pub async fn open(cluster: &Cluster, namespace: &str, root: &Root, run: &str) -> Result<(Self, Prior), RunError> {
        let (stored, head, prior) = load(Place { cluster, namespace, root, run }).await?;
        let referred = head.map(|head| head.digests()).unwrap_or_default();
        let (cluster, namespace, run) = (cluster.clone(), namespace.to_owned(), run.to_owned());
        Ok((Self { cluster, namespace, root: root.clone(), run, stored, referred }, prior))
    }

    /// The commit that the root was last finalized at, where the record can be believed. Read without the lock.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`].
    pub async fn peek_ledger(cluster: &Cluster, namespace: &str, root: &Root) -> Result<Option<String>, RunError> {
        let (_, prior) = Self::open(cluster, namespace, root, "").await?;
        Ok(match prior.ledger {
            Ledger::Current(commit) => Some(commit),
            Ledger::Stale => None,
        })
    }

    /// Phase one: records what the run means to own, before anything is changed. Marks the ledger stale.
    ///
    /// # Errors
    ///
    /// Someone else wrote the state, the lock is lost, or the answer is not known.
    pub async fn record(&mut self, lock: &HeldLock, pending: &Pending) -> Result<(), RunError> {
        self.write(lock, &pending.payload(), &Ledger::Stale).await
    }

    /// Phase two: records what the run left behind, as finalized. Shards that are not needed any more are deleted.
    ///
    /// # Errors
    ///
    /// As in phase one; the state of phase one then stands, and the next run goes on from it.
    pub async fn finalize(mut self, lock: &HeldLock, payload: &Payload, ledger: &Ledger) -> Result<(), RunError> {
        self.write(lock, payload, ledger).await?;
        // What cannot be collected now is by a later run: the state is finalized without it.
        self.collect(lock).await;
        Ok(())
    }

    async fn write(&mut self, lock: &HeldLock, payload: &Payload, ledger: &Ledger) -> Result<(), RunError> {
        let (data, mut shards) = codec::encode_all(payload).map_err(RunError::State)?;
        let mut notes = annotations(&self.root, &data, &self.run, ledger);
        let referred: BTreeSet<String> = shards.iter().map(|shard| shard.digest.clone()).collect();
        if !shards.is_empty() || self.has_shards() {
            notes.insert(SHARDS_ANNOTATION.to_owned(), "true".to_owned());
        }
        shards.retain(|shard| !self.referred.contains(&shard.digest));
        self.place().write(lock, &shards).await?;
        let previous = self.stored.as_ref();
        let written = self.cluster.write_state(lock, &self.namespace, &self.root, &data, &notes, previous).await;
        self.stored = Some(written.map_err(unwritten)?);
        self.referred = referred;
        Ok(())
    }

    /// Whether there may be shards.
    fn has_shards(&self) -> bool {
        let annotated = |stored: &StoredState| stored.annotations.contains_key(SHARDS_ANNOTATION);
        !self.referred.is_empty() || self.stored.as_ref().is_some_and(annotated)
    }

    /// Deletes what the head that this run wrote does not refer to.
    async fn collect(&self, lock: &HeldLock) {
        let Some(head) = self.stored.as_ref().filter(|_| self.has_shards()) else { return };
        self.place().collect(lock, (&head.uid, &head.resource_version), &self.referred).await;
    }

    fn place(&self) -> Place<'_> {
        Place { cluster: &self.cluster, namespace: &self.namespace, root: &self.root, run: &self.run }
    }
}

/// Reads the head and what it refers to, again where the head was replaced in between.
async fn load(place: Place<'_>) -> Result<(Option<StoredState>, Option<Head>, Prior), RunError> {
    let mut missing: Option<StoredState> = None;
    for _ in 0..TRIES {
        let Some(stored) = read(place.cluster, place.namespace, place.root).await? else {
            return Ok((None, None, Prior::absent()));
        };
        let (payload, head) = match understood(&stored, place.root)? {
            Recorded::Whole(payload) => (payload, None),
            Recorded::Sharded(head) => match place.read(&head).await? {
                Some(payload) => (payload, Some(head)),
                // Nobody replaced this head, and a shard is missing still.
                None if missing.as_ref() == Some(&stored) => break,
                None => {
                    missing = Some(stored);
                    continue;
                }
            },
        };
        let prior = Prior::of(payload, &stored.data, &stored.annotations);
        return Ok((Some(stored), head, prior));
    }
    let name = shard_name(place.root, "…");
    Err(RunError::State(StateError::MissingShard(name)))
}

async fn read(cluster: &Cluster, namespace: &str, root: &Root) -> Result<Option<StoredState>, RunError> {
    let name = || format!("{namespace}/{}", root.state_name());
    cluster.read_state(namespace, root).await.map_err(|source| RunError::ReadState { name: name(), source })
}

fn understood(stored: &StoredState, root: &Root) -> Result<Recorded, RunError> {
    codec::check_root(&stored.annotations, root).map_err(RunError::State)?;
    codec::read(&stored.data, root).map_err(RunError::State)
}

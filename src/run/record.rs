//! The state of a root during one run: the run opens or claims it, records its intent in it, and finalizes it.

use std::collections::BTreeSet;

use crate::cluster::connect::Cluster;
use crate::cluster::lock::HeldLock;
use crate::cluster::store::{StateWriteError, StoredState};
use crate::object::mark::Root;
use crate::plan::signature::{SigningKey, SigningKeys};
use crate::run::error::RunError;
use crate::run::shards::{ShardSite, unwritten};
use crate::state::annotation::{ROOT_ANNOTATION, RUN_ANNOTATION};
use crate::state::codec::{self, Recorded};
use crate::state::commits::Commits;
use crate::state::done::{DONE_ANNOTATION, Done};
use crate::state::error::StateError;
use crate::state::freeze::{FREEZE_ANNOTATION, Freeze};
use crate::state::payload::Payload;
use crate::state::provenance::Provenance;
use crate::state::shard::SHARDS_ANNOTATION;
use crate::state::target;
use crate::state::transition::{Pending, Prior, Record, annotations};

/// The number of attempts to claim a head. Late writes of earlier runs may replace the head during an attempt.
const TRIES: usize = 5;

/// The state as this run last read or wrote it.
pub struct Store {
    cluster: Cluster,
    namespace: String,
    root: Root,
    run: String,
    stored: Option<StoredState>,
    /// The review key. Its Secret holds a second copy of the commits.
    review_key: Option<StoredState>,
    /// The digests of the shards that the stored head refers to.
    referred: BTreeSet<String>,
    /// The Jobs that ran and removed themselves.
    pub done: Done,
}

impl Store {
    /// Reads the state without claiming it.
    ///
    /// # Errors
    ///
    /// The state cannot be read or cannot be used.
    pub async fn open(cluster: &Cluster, namespace: &str, root: &Root) -> Result<(Self, Prior), RunError> {
        let place = ShardSite { cluster, namespace, root, run: "" };
        let mut stored = place.read_head().await?;
        loop {
            let (store, prior, damage) = Self::load(place, stored).await?;
            let Some(damage) = damage else { return Ok((store, prior)) };
            stored = match damage {
                // The run that replaced the head may have deleted shards of the old head.
                StateError::MissingShard(_) => place.read_head().await?,
                _ => return Err(RunError::State(damage)),
            };
            if stored == store.stored {
                return Err(RunError::State(damage));
            }
        }
    }

    /// Claims the state for this run, and reads it.
    ///
    /// If the state is sharded, the run first writes its own name into the head. Requests of earlier runs that are
    /// still under way then cannot replace the head any more. A state in a single Secret is left as it is.
    ///
    /// # Errors
    ///
    /// The state cannot be read or cannot be used, the lock is lost, or another party keeps writing the state. The
    /// caller must change nothing then.
    pub async fn claim(
        cluster: &Cluster,
        lock: &HeldLock,
        namespace: &str,
        root: &Root,
        run: &str,
    ) -> Result<(Self, Prior), RunError> {
        match Self::claim_damaged(cluster, lock, namespace, root, run).await? {
            (store, prior, None) => Ok((store, prior)),
            (_, _, Some(damage)) => Err(RunError::State(damage)),
        }
    }

    /// Claims the state in order to replace it. A state that cannot be used counts as empty, and its damage is
    /// returned.
    ///
    /// # Errors
    ///
    /// As for [`Store::claim`], except that damage is not an error. A state that belongs to another root is always an
    /// error, because it is never replaced.
    pub(crate) async fn claim_damaged(
        cluster: &Cluster,
        lock: &HeldLock,
        namespace: &str,
        root: &Root,
        run: &str,
    ) -> Result<(Self, Prior, Option<StateError>), RunError> {
        let place = ShardSite { cluster, namespace, root, run };
        for _ in 0..TRIES {
            match place.name_run(lock, place.read_head().await?).await {
                Ok(stored) => return Self::load(place, stored).await,
                // A write of an earlier run took effect. The claim starts again from that state.
                Err(StateWriteError::Conflict) => {}
                Err(error) => return Err(unwritten(error)),
            }
        }
        Err(RunError::WriteState(StateWriteError::Conflict))
    }

    /// Phase one: records the objects that the run intends to own, before it changes anything. Marks the ledger as
    /// stale.
    ///
    /// # Errors
    ///
    /// Another party wrote the state, the lock is lost, or the result of the write is not known.
    pub async fn record(&mut self, lock: &HeldLock, pending: &Pending) -> Result<(), RunError> {
        self.write(lock, &pending.record()).await
    }

    /// Records the Jobs that ran in a run that ends early, so that they do not run again. If the write fails, the next
    /// run runs these Jobs once more.
    pub(crate) async fn remember(&mut self, lock: &HeldLock, pending: &Pending, done: Done) {
        if done != self.done {
            self.done = done;
            drop(self.record(lock, pending).await);
        }
    }

    /// Phase two: records the result of the run, as finalized if `record` says so. Deletes shards that are no longer
    /// needed.
    ///
    /// # Errors
    ///
    /// As for [`Store::record`]. The state of phase one then remains, and the next run continues from it.
    pub async fn finalize(mut self, lock: &HeldLock, record: &Record) -> Result<(), RunError> {
        self.write(lock, record).await?;
        if let Some(head) = self.stored.as_ref().filter(|_| self.has_shards()) {
            // A later run collects the shards that remain. The state is finalized regardless of them.
            self.place().collect(lock, head, &self.referred).await;
        }
        Ok(())
    }

    /// Interprets a stored state together with its shards. Returns damage of either separately, not as an error.
    async fn load(
        place: ShardSite<'_>,
        stored: Option<StoredState>,
    ) -> Result<(Self, Prior, Option<StateError>), RunError> {
        let mut referred = BTreeSet::new();
        // The review key is read second, because it is also written second.
        let review_key = place.read_review_key().await?;
        let kept = review_key.as_ref().and_then(|stored| Commits::of(&stored.annotations));
        let (mut prior, damage) = match &stored {
            None => (Prior::absent(kept), None),
            Some(state) => match place.payload(state).await {
                Ok((payload, digests)) => {
                    referred = digests;
                    (Prior::of(payload, &state.data, &state.annotations, kept), None)
                }
                Err(RunError::State(error @ StateError::OtherRoot { .. })) => return Err(RunError::State(error)),
                Err(RunError::State(damage)) => (Prior::unreadable(&state.annotations, kept), Some(damage)),
                Err(error) => return Err(error),
            },
        };
        // The state's Secret takes precedence, because it is written first. If another tool removed the annotation
        // there, the review key's Secret still has it.
        let kept = review_key.as_ref().and_then(|stored| Provenance::of(&stored.annotations));
        prior.source = prior.source.take().or(kept);
        let kept = review_key.as_ref().and_then(|stored| target::recorded(&stored.annotations));
        prior.target = prior.target.take().or(kept);
        let ShardSite { cluster, namespace, root, run } = place;
        let (cluster, namespace, run) = (cluster.clone(), namespace.to_owned(), run.to_owned());
        let done = stored.as_ref().map(|stored| Done::parse(&stored.annotations)).unwrap_or_default();
        let root = root.clone();
        Ok((Self { cluster, namespace, root, run, stored, review_key, referred, done }, prior, damage))
    }

    /// Writes the shards that the head will refer to, then the head, and then the copy of the commits beside the review
    /// key.
    async fn write(&mut self, lock: &HeldLock, record: &Record) -> Result<(), RunError> {
        let (data, mut shards) = codec::encode_all(&record.payload, &self.root).map_err(RunError::State)?;
        let mut notes = annotations(&self.root, &data, &self.run, record);
        let referred: BTreeSet<String> = shards.iter().map(|shard| shard.digest.clone()).collect();
        if !shards.is_empty() || self.has_shards() {
            // The annotation stays, so that every later run looks for shards that this run may leave behind.
            notes.insert(SHARDS_ANNOTATION.to_owned(), "true".to_owned());
        }
        notes.extend(self.done.annotation().map(|note| (DONE_ANNOTATION.to_owned(), note)));
        shards.retain(|shard| !self.referred.contains(&shard.digest));
        self.place().write(lock, &shards).await?;
        let previous = self.stored.as_ref();
        let written = self.cluster.write_state(lock, &self.namespace, &self.root, &data, &notes, previous).await;
        self.stored = Some(written.map_err(unwritten)?);
        self.referred = referred;
        self.write_beside(lock, record).await
    }

    /// Writes the commits and the place of the tree into the Secret of the review key. Creates the key if there is
    /// none.
    async fn write_beside(&mut self, lock: &HeldLock, record: &Record) -> Result<(), RunError> {
        let Self { cluster, namespace, root, .. } = &*self;
        let mut notes = record.commits.annotations();
        notes.extend(record.source.as_ref().map(Provenance::annotation));
        notes.extend(record.target.as_deref().map(target::annotation));
        notes.insert(ROOT_ANNOTATION.to_owned(), root.segment().as_str().to_owned());
        let previous = self.review_key.as_ref();
        notes.extend(previous.and_then(|stored| stored.annotations.get_key_value(FREEZE_ANNOTATION)).map(owned));
        let key = previous.map(|stored| &stored.data).filter(|key| !key.is_empty());
        if key.is_some() && previous.is_some_and(|stored| stored.annotations == notes) {
            return Ok(());
        }
        let key = match key {
            Some(key) => key.clone(),
            None => cluster.settings().keys.key().ok_or(RunError::NoRandomness)?.to_vec(),
        };
        let written = cluster.write_review_key(lock, namespace, root, &key, &notes, previous).await;
        self.review_key = Some(written.map_err(unwritten)?);
        Ok(())
    }

    /// The keys that plans of this root are signed with. `None` if the root has no key yet, because no apply wrote its
    /// state.
    pub(crate) fn signing_keys(&self) -> Option<SigningKeys> {
        let stored = self.review_key.as_ref()?;
        let current = Some(&stored.data).filter(|key| !key.is_empty());
        let keys = current.into_iter().chain(&stored.previous_key).map(|key| SigningKey::of(key)).collect::<Vec<_>>();
        (!keys.is_empty()).then(|| SigningKeys { cluster: stored.uid.clone(), keys })
    }

    /// The freeze of the root.
    pub(crate) fn freeze(&self) -> Option<Freeze> {
        Freeze::of(&self.review_key.as_ref()?.annotations)
    }

    /// Writes the freeze, or removes it. Creates the review key if there is none.
    pub(crate) async fn write_freeze(&mut self, lock: &HeldLock, freeze: Option<&Freeze>) -> Result<(), RunError> {
        let Self { cluster, namespace, root, .. } = &*self;
        let previous = self.review_key.as_ref();
        let mut notes = previous.map(|stored| stored.annotations.clone()).unwrap_or_default();
        notes.insert(ROOT_ANNOTATION.to_owned(), root.segment().as_str().to_owned());
        notes.remove(FREEZE_ANNOTATION);
        notes.extend(freeze.map(Freeze::annotation));
        let key = previous.map(|stored| stored.data.clone()).filter(|key| !key.is_empty());
        let key = match key {
            Some(key) => key,
            None => cluster.settings().keys.key().ok_or(RunError::NoRandomness)?.to_vec(),
        };
        let written = cluster.write_review_key(lock, namespace, root, &key, &notes, previous).await;
        self.review_key = Some(written.map_err(unwritten)?);
        Ok(())
    }

    /// Returns `true` if the state may have shards.
    fn has_shards(&self) -> bool {
        let annotated = |stored: &StoredState| stored.annotations.contains_key(SHARDS_ANNOTATION);
        !self.referred.is_empty() || self.stored.as_ref().is_some_and(annotated)
    }

    fn place(&self) -> ShardSite<'_> {
        ShardSite { cluster: &self.cluster, namespace: &self.namespace, root: &self.root, run: &self.run }
    }
}

fn owned((name, text): (&String, &String)) -> (String, String) {
    (name.clone(), text.clone())
}

impl ShardSite<'_> {
    async fn read_head(self) -> Result<Option<StoredState>, RunError> {
        let stored = self.cluster.read_state(self.namespace, self.root).await;
        stored.map_err(|source| self.unread(&self.root.state_name(), source))
    }

    async fn read_review_key(self) -> Result<Option<StoredState>, RunError> {
        let stored = self.cluster.read_review_key(self.namespace, self.root).await;
        let stored = stored.map_err(|source| self.unread(&self.root.review_key_name(), source))?;
        if let Some(stored) = &stored {
            codec::check_root(&stored.annotations, self.root).map_err(RunError::State)?;
        }
        Ok(stored)
    }

    /// Writes the run's name into the head of a sharded state. Leaves any other state as it is.
    async fn name_run(
        self,
        lock: &HeldLock,
        stored: Option<StoredState>,
    ) -> Result<Option<StoredState>, StateWriteError> {
        let Some(head) = stored.as_ref().filter(|stored| matches!(self.recorded(stored), Ok(Recorded::Sharded(_))))
        else {
            return Ok(stored);
        };
        let mut notes = head.annotations.clone();
        notes.insert(RUN_ANNOTATION.to_owned(), self.run.to_owned());
        self.cluster.write_state(lock, self.namespace, self.root, &head.data, &notes, Some(head)).await.map(Some)
    }

    /// The payload of a stored state, and the digests of the shards that contain it.
    async fn payload(self, stored: &StoredState) -> Result<(Payload, BTreeSet<String>), RunError> {
        match self.recorded(stored).map_err(RunError::State)? {
            Recorded::Whole(payload) => Ok((payload, BTreeSet::new())),
            Recorded::Sharded(head) => Ok((self.read(&head).await?, head.digests())),
        }
    }

    fn recorded(self, stored: &StoredState) -> Result<Recorded, StateError> {
        codec::check_root(&stored.annotations, self.root)?;
        codec::read(&stored.data, self.root)
    }
}

//! The shards of a sharded state during one run. The run writes shards before the head, reads them after the head, and
//! collects unused shards at the end.
//!
//! **Invariant:** a head never refers to a shard that a deletion under way can still remove. A deletion names the uid
//! and resourceVersion that its run saw. Before a run uses a shard to which its head did not refer, it creates the
//! shard or gives it another resourceVersion. No run asks the server to delete a shard to which its head refers.
//!
//! **Invariant:** a reader sees the payload of one head, or none. The name of a shard is derived from its content, and
//! a shard never changes. If all shards of a head were read, they are what that head meant, whatever happened
//! meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::cluster::connect::Cluster;
use crate::cluster::lock::HeldLock;
use crate::cluster::shards::{Created, NewShard, StoredShard};
use crate::cluster::store::{StateWriteError, StoredState};
use crate::object::mark::Root;
use crate::object::read_error::ReadError;
use crate::run::error::RunError;
use crate::state::annotation::{ROOT_ANNOTATION, RUN_ANNOTATION};
use crate::state::codec;
use crate::state::error::StateError;
use crate::state::payload::Payload;
use crate::state::shard::{Candidate, Head, Joining, SHARD_LABEL, SHARD_TYPE, Shard, is_own, shard_name};

/// The number of attempts to write a shard that other writes create and delete meanwhile.
const TRIES: usize = 5;

/// The location of a root's shards, and the run that works with them.
#[derive(Clone, Copy)]
pub(super) struct ShardSite<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespace: &'a str,
    pub(super) root: &'a Root,
    pub(super) run: &'a str,
}

impl ShardSite<'_> {
    /// Reads the payload that a head refers to. If a shard is missing, the head may be outdated.
    pub(super) async fn read(self, head: &Head) -> Result<Payload, RunError> {
        let digests = head.digests();
        let mut reads = stream::iter(digests)
            .map(|digest| async move {
                let name = shard_name(self.root, &digest);
                let read = self.cluster.read_shard(self.namespace, &name).await;
                read.map(|shard| (digest, shard)).map_err(|source| (name, source))
            })
            .buffer_unordered(self.cluster.settings().concurrency);
        let mut joining = Joining::new(head, self.root);
        while let Some(read) = reads.next().await {
            let (digest, shard) = read.map_err(|(name, source)| self.unread(&name, source))?;
            let Some(shard) = shard else { continue };
            let is_typed = shard.secret_type == SHARD_TYPE;
            if !is_typed || codec::check_root(&shard.annotations, self.root).is_err() {
                return Err(RunError::State(StateError::OtherContent(shard_name(self.root, &digest))));
            }
            joining.add(&digest, &shard.data).map_err(RunError::State)?;
        }
        joining.finish().map_err(RunError::State)
    }

    /// Writes shards, so that a head may refer to them.
    pub(super) async fn write(self, lock: &HeldLock, shards: &[Shard]) -> Result<(), RunError> {
        let writes: Vec<_> = shards.iter().map(|shard| self.write_one(lock, shard)).collect();
        stream::iter(writes).buffer_unordered(self.cluster.settings().concurrency).try_collect().await
    }

    async fn write_one(self, lock: &HeldLock, shard: &Shard) -> Result<(), RunError> {
        let name = shard_name(self.root, &shard.digest);
        let annotations = [(ROOT_ANNOTATION, self.root.segment().as_str()), (RUN_ANNOTATION, self.run)];
        let new = NewShard {
            name: &name,
            secret_type: SHARD_TYPE,
            data: &shard.data,
            annotations: annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            labels: BTreeMap::from([(SHARD_LABEL.to_owned(), self.root.hash().to_owned())]),
        };
        for _ in 0..TRIES {
            match self.cluster.create_shard(lock, self.namespace, &new).await.map_err(unwritten)? {
                Created::New => return Ok(()),
                Created::Existed => {}
            }
            let found = self.cluster.read_shard(self.namespace, &name).await;
            let Some(found) = found.map_err(|source| self.unread(&name, source))? else { continue };
            if !self.is_own(&name, &found) {
                return Err(RunError::State(StateError::OtherContent(name.clone())));
            }
            match self.cluster.keep_shard(lock, self.namespace, &found, self.run).await {
                Ok(()) => return Ok(()),
                Err(StateWriteError::Conflict) => {}
                Err(error) => return Err(unwritten(error)),
            }
        }
        Err(RunError::WriteState(StateWriteError::Conflict))
    }

    /// Deletes this root's shards to which the head does not refer, provided that the stored head is still this
    /// version. The label alone does not make a Secret a shard: other objects with this label stay.
    pub(super) async fn collect(self, lock: &HeldLock, head: &StoredState, referred: &BTreeSet<String>) {
        let Ok(listed) = self.cluster.list_shards(self.namespace, (SHARD_LABEL, self.root.hash())).await else {
            return;
        };
        let names: BTreeSet<String> = referred.iter().map(|digest| shard_name(self.root, digest)).collect();
        let unused: Vec<String> = listed.into_iter().filter(|name| !names.contains(name)).collect();
        let unused: Vec<(String, StoredShard)> = stream::iter(unused)
            .map(|name| async move {
                let shard = self.cluster.read_shard(self.namespace, &name).await.ok().flatten()?;
                self.is_own(&name, &shard).then_some((name, shard))
            })
            .buffer_unordered(self.cluster.settings().concurrency)
            .filter_map(std::future::ready)
            .collect()
            .await;
        // The head is read after the shards. If another run has replaced the head since, the new head may refer to the
        // shards read above.
        match self.cluster.read_state(self.namespace, self.root).await {
            Ok(Some(now)) if now == *head => {}
            _ => return,
        }
        let deletions = unused.iter().map(|(name, shard)| self.cluster.delete_shard(lock, self.namespace, name, shard));
        let deletions: Vec<_> = deletions.collect();
        // If a shard is used again by now, or cannot be deleted, the next run checks it again.
        stream::iter(deletions).buffer_unordered(self.cluster.settings().concurrency).for_each(|_| async {}).await;
    }

    /// Returns `true` if a stored Secret of this name is a shard of this root.
    fn is_own(self, name: &str, stored: &StoredShard) -> bool {
        let StoredShard { annotations, labels, secret_type, data, .. } = stored;
        is_own(Candidate { name, secret_type, annotations, labels, data }, self.root)
    }

    pub(super) fn unread(self, name: &str, source: ReadError) -> RunError {
        RunError::ReadState { name: format!("{}/{name}", self.namespace), source }
    }
}

/// Converts a failed write into the error of the run.
pub(super) fn unwritten(error: StateWriteError) -> RunError {
    match error {
        StateWriteError::LockLost => RunError::LockLost,
        error => RunError::WriteState(error),
    }
}

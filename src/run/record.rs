//! The root's state Secret over one run: read, recorded, finalized.

use crate::cluster::connect::Cluster;
use crate::cluster::lock::HeldLock;
use crate::cluster::store::{StateWriteError, StoredState};
use crate::object::mark::Root;
use crate::run::error::RunError;
use crate::state::codec::{self, StateError};
use crate::state::payload::Payload;
use crate::state::transition::{Ledger, Pending, Prior, annotations};

/// The state as it was last read or written by this run.
pub struct Store {
    cluster: Cluster,
    namespace: String,
    root: Root,
    run: String,
    stored: Option<StoredState>,
}

impl Store {
    /// Reads the state.
    ///
    /// # Errors
    ///
    /// A state that cannot be read or cannot be used: nothing may be changed then.
    pub async fn open(cluster: &Cluster, namespace: &str, root: &Root, run: &str) -> Result<(Self, Prior), RunError> {
        match Self::open_damaged(cluster, namespace, root, run).await? {
            (store, prior, None) => Ok((store, prior)),
            (_, _, Some(damage)) => Err(RunError::State(damage)),
        }
    }

    /// Reads the state to put another in its place: one that cannot be used counts as empty, and its damage is told.
    ///
    /// # Errors
    ///
    /// A state that cannot be read, or that is another root's: that one is never replaced.
    pub async fn open_damaged(
        cluster: &Cluster,
        namespace: &str,
        root: &Root,
        run: &str,
    ) -> Result<(Self, Prior, Option<StateError>), RunError> {
        let name = || format!("{namespace}/{}", root.state_name());
        let stored = cluster.read_state(namespace, root).await;
        let stored = stored.map_err(|source| RunError::ReadState { name: name(), source })?;
        let (prior, damage) = match &stored {
            Some(state) => match Prior::read(&state.data, &state.annotations, root) {
                Ok(prior) => (prior, None),
                Err(error @ StateError::OtherRoot { .. }) => return Err(RunError::State(error)),
                Err(damage) => (Prior::unreadable(), Some(damage)),
            },
            None => (Prior::absent(), None),
        };
        let (cluster, namespace, run) = (cluster.clone(), namespace.to_owned(), run.to_owned());
        Ok((Self { cluster, namespace, root: root.clone(), run, stored }, prior, damage))
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

    /// Phase two: records what the run left behind, as finalized.
    ///
    /// # Errors
    ///
    /// As in phase one; the state of phase one then stands, and the next run goes on from it.
    pub async fn finalize(mut self, lock: &HeldLock, payload: &Payload, ledger: &Ledger) -> Result<(), RunError> {
        self.write(lock, payload, ledger).await
    }

    async fn write(&mut self, lock: &HeldLock, payload: &Payload, ledger: &Ledger) -> Result<(), RunError> {
        let data = codec::encode(payload);
        let notes = annotations(&self.root, &data, &self.run, ledger);
        let previous = self.stored.as_ref();
        let written = self.cluster.write_state(lock, &self.namespace, &self.root, &data, &notes, previous).await;
        match written {
            Ok(stored) => {
                self.stored = Some(stored);
                Ok(())
            }
            Err(StateWriteError::LockLost) => Err(RunError::LockLost(None)),
            Err(error) => Err(RunError::WriteState(error)),
        }
    }
}

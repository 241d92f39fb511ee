//! Names the holder of a lock, and breaks a lock.

use http::StatusCode;

use super::super::connect::Cluster;
use super::super::error::ClusterError;
use super::super::gate::Permit;
use super::super::lease::Lease;
use super::super::request::{Call, Effect};
use super::super::transport::SendError;
use super::{Holder, lock_target, read_lease};
use crate::object::mark::Root;
use crate::object::read_error::ReadError;

const BREAK: &str = "break the lock";

/// The result of breaking a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The lock is free now.
    Freed,
    /// The lock was free already.
    NotHeld,
    /// Another run holds the lock, and still holds it.
    OtherHolder(Holder),
}

impl Cluster {
    /// Returns the holder of a root's lock. It does not ask for the lock. A dead run holds the lock until its Lease expires.
    pub async fn lock_holder(&self, namespace: &str, root: &Root) -> Result<Option<Holder>, ReadError> {
        let call = Call::get(lock_target(namespace, root));
        let answer = self.wire.send(&call).await.map_err(SendError::into_read_error)?;
        if answer.is_missing_object() {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(answer.read_error());
        }
        Ok(answer.json().map(Lease::new).filter(|lease| !lease.holder().is_empty()).map(|lease| lease.described()))
    }

    /// Breaks a root's lock if the run with this identity holds it.
    pub async fn break_lock(&self, namespace: &str, root: &Root, holder: &str) -> Result<Broken, ClusterError> {
        let target = lock_target(namespace, root);
        loop {
            let Some(lease) = read_lease(&self.wire, &target, BREAK).await? else { return Ok(Broken::NotHeld) };
            if lease.holder().is_empty() {
                return Ok(Broken::NotHeld);
            }
            if lease.holder() != holder {
                return Ok(Broken::OtherHolder(lease.described()));
            }
            let call = Call::delete(target.clone(), lease.uid(), lease.resource_version(), Effect::Real);
            let answer = self.wire.send(&call.permitted(Permit::Lease)).await;
            let answer = answer.map_err(|error| self.wire.failed(BREAK, error))?;
            if answer.status.is_success() || answer.is_missing_object() {
                return Ok(Broken::Freed);
            }
            // The holder renewed the Lease in between, so it is read again.
            if answer.status != StatusCode::CONFLICT {
                return Err(self.wire.refused(BREAK, &answer));
            }
        }
    }
}

//! Deleting exactly the object that was looked at, under a held lock.

use http::StatusCode;
use serde_json::Value;

use super::apply::ObjectError;
use super::connect::Cluster;
use super::lock::HeldLock;
use super::request::{self, Call, Mode};
use crate::object::ident::ObjectKey;
use crate::object::kinds::Kind;
use crate::object::refusal::Refusal;

/// What became of an object that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It does not exist any more.
    Gone,
    /// It is being deleted: finalizers or a grace period hold it.
    Terminating,
}

impl Cluster {
    /// Deletes an object, provided that it is the one of this uid and still as it was looked at.
    pub async fn delete(
        &self,
        lock: &HeldLock,
        kind: &Kind,
        key: &ObjectKey,
        uid: &str,
        resource_version: &str,
    ) -> Result<Deleted, ObjectError> {
        if uid.is_empty() || resource_version.is_empty() {
            return Err(Refusal::Invalid(format!("{key} has no uid or resourceVersion to delete it by")).into());
        }
        let path = request::object(kind, key)?;
        let answer = self.exchange(lock, Call::delete(path, uid, resource_version, Mode::Real)).await?;
        if answer.is_missing_object() {
            return Ok(Deleted::Gone);
        }
        // Our own lost attempt may have changed it: then it is the same object, and it is being deleted.
        if answer.status == StatusCode::CONFLICT
            && answer.after_unknown
            && let Ok(Some(live)) = self.get(kind, key).await
            && live.uid() == uid
            && live.is_terminating()
        {
            return Ok(Deleted::Terminating);
        }
        if !answer.status.is_success() {
            return Err(answer.refusal().into());
        }
        let terminating = answer.status == StatusCode::ACCEPTED
            || answer.json().is_some_and(|body| {
                body.pointer("/metadata/deletionTimestamp").is_some_and(|time| *time != Value::Null)
            });
        Ok(if terminating { Deleted::Terminating } else { Deleted::Gone })
    }
}

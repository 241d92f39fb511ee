//! A Lease's content. Its times are for Kubernator and for readers: no decision of ours compares them with a clock.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::{Value, json};

use super::lock::holder::{Holder, LockRequest};

/// Annotation with the address of the holder's run.
const RUN: &str = "kubernator.io/run";

/// A Lease as read or as it is to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lease {
    body: Value,
}

impl Lease {
    /// A Lease as the server sent it.
    pub(super) fn new(body: Value) -> Self {
        Self { body }
    }

    /// The first moment of a term of the requester: of a new Lease, or of the one that was found.
    pub(super) fn term(request: &LockRequest, found: Option<&Self>, duration: Duration, now: Timestamp) -> Self {
        let mut body = match found {
            Some(found) => found.body.clone(),
            None => json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": request.root.lock_name(), "namespace": request.namespace},
            }),
        };
        let metadata = &mut body["metadata"];
        if !metadata["annotations"].is_object() {
            metadata["annotations"] = json!({});
        }
        match &request.run_url {
            Some(url) => metadata["annotations"][RUN] = json!(url),
            None => {
                metadata["annotations"].as_object_mut().map(|annotations| annotations.remove(RUN));
            }
        }
        // Rounded up: others must not take it for dead earlier than its holder does.
        let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
        body["spec"] = json!({
            "holderIdentity": request.holder,
            "leaseDurationSeconds": seconds.max(1),
            "acquireTime": micro_time(now),
            "renewTime": micro_time(now),
            "leaseTransitions": found.map_or(0, Self::transitions).saturating_add(1).min(i32::MAX as u64),
        });
        Self { body }
    }

    /// The same term, renewed now; nothing when the time is not known.
    pub(super) fn renewed(&self, now: Option<Timestamp>) -> Option<Self> {
        let mut body = self.body.clone();
        body["spec"]["renewTime"] = json!(micro_time(now?));
        Some(Self { body })
    }

    /// Returns `true` if this is the same term of the same holder, whenever it was renewed.
    pub(super) fn is_same_term(&self, other: &Self) -> bool {
        // A Lease that was not answered yet has no uid.
        let uid = self.uid().is_empty() || other.uid().is_empty() || self.uid() == other.uid();
        uid && self.holder() == other.holder()
            && self.text("spec", "acquireTime") == other.text("spec", "acquireTime")
            && self.transitions() == other.transitions()
    }

    /// Returns `true` if nobody wrote it in between.
    pub(super) fn is_unchanged(&self, later: &Self) -> bool {
        self.uid() == later.uid()
            && self.resource_version() == later.resource_version()
            && self.holder() == later.holder()
            && self.renew_time() == later.renew_time()
    }

    pub(super) fn body(&self) -> &Value {
        &self.body
    }

    pub(super) fn holder(&self) -> &str {
        self.text("spec", "holderIdentity")
    }

    pub(super) fn renew_time(&self) -> &str {
        self.text("spec", "renewTime")
    }

    pub(super) fn uid(&self) -> &str {
        self.text("metadata", "uid")
    }

    pub(super) fn resource_version(&self) -> &str {
        self.text("metadata", "resourceVersion")
    }

    /// Returns the number of times that the Lease changed hands.
    pub(super) fn transitions(&self) -> u64 {
        self.field("spec", "leaseTransitions").and_then(Value::as_u64).unwrap_or_default()
    }

    /// Returns the time that the Lease outlives a renewal, if the Lease states it.
    pub(super) fn duration(&self) -> Option<Duration> {
        let seconds = self.field("spec", "leaseDurationSeconds").and_then(Value::as_u64)?;
        // The server takes no more than an i32.
        u32::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// Its holder, for people.
    pub(super) fn described(&self) -> Holder {
        let run_url = self.body.get("metadata").and_then(|metadata| metadata.get("annotations")?.get(RUN)?.as_str());
        Holder {
            identity: self.holder().to_owned(),
            since: self.text("spec", "acquireTime").parse().ok(),
            renewed: self.renew_time().parse().ok(),
            run_url: run_url.map(str::to_owned),
        }
    }

    fn text(&self, part: &str, field: &str) -> &str {
        self.field(part, field).and_then(Value::as_str).unwrap_or_default()
    }

    fn field(&self, part: &str, field: &str) -> Option<&Value> {
        self.body.get(part)?.get(field)
    }
}

/// With exactly six fractional digits: the server refuses others.
fn micro_time(time: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
    PRINTER.timestamp_to_string(&time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_six_fractional_digits() {
        for (time, expected) in [
            ("2026-11-23T21:45:00Z", "2026-11-23T21:45:00.000000Z"),
            ("2026-11-23T21:45:00.5Z", "2026-11-23T21:45:00.500000Z"),
            ("2026-11-23T21:45:00.123456789Z", "2026-11-23T21:45:00.123456Z"),
        ] {
            assert_eq!(micro_time(time.parse().unwrap()), expected);
        }
    }
}

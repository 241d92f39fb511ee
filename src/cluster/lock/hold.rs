//! A held lock: its renewal in the background, its fence, and its release.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::clocks::Moment;
use super::super::error::ClusterError;
use super::super::gate::{Fence, Permit};
use super::super::lease::Lease;
use super::super::path::ResourcePath;
use super::super::request::{Call, Effect};
use super::super::transport::{ApiAnswer, SendError, Transport};
use super::read_lease;

const RELEASE: &str = "release the lock";

/// The time limit of each step of a release. An interrupted run has only a few seconds in all.
const RELEASE_STEP: Duration = Duration::from_millis(1500);

/// The result of releasing a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockRelease {
    /// The lock is free at once.
    Freed,
    /// A request may still take effect, so the Lease stays and expires.
    LeftToExpire,
    /// The lock was no longer ours. The Lease stays as it is.
    NotOurs,
}

/// A lock that this run holds. A background task renews it. Every call that changes the cluster takes one.
///
/// If it is dropped without [`HeldLock::release`], the Lease expires by itself.
#[derive(Debug)]
pub struct HeldLock {
    shared: Arc<Shared>,
    renewal: JoinHandle<()>,
}

struct Shared {
    wire: Transport,
    target: ResourcePath,
    fence: Arc<Fence>,
    /// The Lease as it was last written. The mutex is locked while a renewal is under way.
    lease: Mutex<Lease>,
    epoch: u64,
    released: watch::Sender<bool>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("target", &self.target).field("fence", &self.fence).finish_non_exhaustive()
    }
}

impl HeldLock {
    /// Starts to renew a Lease. `sent` is the moment at which the request that wrote it left.
    pub(super) fn start(wire: Transport, target: ResourcePath, duration: Duration, lease: Lease, sent: Moment) -> Self {
        let shared = Arc::new(Shared {
            wire,
            target,
            fence: Arc::new(Fence::new(duration, sent)),
            epoch: lease.transitions(),
            lease: Mutex::new(lease),
            released: watch::Sender::new(false),
        });
        let renewal = tokio::spawn(renew(Arc::clone(&shared), duration, sent.instant()));
        Self { shared, renewal }
    }

    /// Returns `true` if the lock is lost, so that nothing can be changed any more.
    pub fn is_lost(&self) -> bool {
        self.shared.fence.is_lost()
    }

    /// Resolves when the lock is lost.
    pub async fn lost(&self) {
        self.shared.fence.lost().await;
    }

    /// Returns the term of the lock. Each holder's term is higher than the one before it, until the Lease is deleted.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// Returns `true` if a request that this lock permitted may still take effect: it left, and its answer never came.
    pub fn has_unanswered(&self) -> bool {
        self.shared.fence.has_unanswered()
    }

    /// Releases the lock.
    ///
    /// If a request has no answer, the Lease stays until it expires: the request must not take effect while another run
    /// holds the lock.
    pub async fn release(self) -> Result<LockRelease, ClusterError> {
        let Shared { wire, target, fence, .. } = &*self.shared;
        self.shared.released.send_replace(true);
        // A renewal under way ends first, so the resourceVersion is the latest.
        let Ok(mut lease) = timeout(RELEASE_STEP, self.shared.lease.lock()).await else {
            return Ok(LockRelease::LeftToExpire);
        };
        if fence.has_unanswered() {
            return Ok(LockRelease::LeftToExpire);
        }
        let mut last = None;
        for _ in 0..2 {
            let call = Call::delete(target.clone(), lease.uid(), lease.resource_version(), Effect::Real);
            match wire.attempt(&call.permitted(Permit::Lease), RELEASE_STEP).await {
                Ok(answer) if answer.status.is_success() => return Ok(LockRelease::Freed),
                Ok(answer) if answer.is_missing_object() && last.is_some() => return Ok(LockRelease::Freed),
                Ok(answer) if answer.is_missing_object() => return Ok(LockRelease::NotOurs),
                Ok(answer) if answer.status == StatusCode::CONFLICT => {
                    last = Some(wire.refused(RELEASE, &answer));
                    // A renewal whose answer was lost has landed, or another party took over.
                    match read_lease(wire, target, RELEASE).await? {
                        Some(found) if found.is_same_term(&lease) => *lease = found,
                        _ => return Ok(LockRelease::NotOurs),
                    }
                }
                Ok(answer) => last = Some(wire.refused(RELEASE, &answer)),
                Err(error) => last = Some(wire.failed(RELEASE, error)),
            }
        }
        last.map_or(Ok(LockRelease::LeftToExpire), Err)
    }

    pub(in crate::cluster) fn permit(&self) -> Permit {
        Permit::Lock(Arc::clone(&self.shared.fence))
    }

    pub(in crate::cluster) fn wire(&self) -> &Transport {
        &self.shared.wire
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.renewal.abort();
        // Nobody renews the lock any more, so callers that wait for its loss learn of it.
        if !*self.shared.released.borrow() {
            self.shared.fence.lose();
        }
    }
}

/// The state of the Lease after a renewal that did not succeed.
enum Look {
    /// The Lease is still ours. `renewed` is true if the renewal took effect.
    Ours { renewed: bool },
    /// The Lease is missing, or another run holds it.
    Lost,
    /// The state is not known.
    Unknown,
}

/// Renews until the lock is released or lost.
async fn renew(shared: Arc<Shared>, duration: Duration, acquired: Instant) {
    let soon = (duration / 60).clamp(Duration::from_millis(20), Duration::from_secs(1));
    let mut next = acquired + duration / 3;
    loop {
        // The wait ends at the end of the lease at the latest, whatever happens to the requests.
        tokio::select! {
            () = sleep_until(next.min(shared.fence.lease_end())) => {}
            () = shared.fence.lost() => return,
        }
        if shared.fence.is_lost() {
            return;
        }
        let mut lease = shared.lease.lock().await;
        if *shared.released.borrow() {
            return;
        }
        let sent = Moment::now();
        let limit = (duration / 6).min(shared.fence.lease_end().saturating_duration_since(sent.instant()));
        let Some(renewed) = lease.renewed(shared.wire.server_time()) else { return shared.fence.lose() };
        let call = Call::put(shared.target.clone(), renewed.body()).permitted(Permit::Lease);
        let answer = shared.wire.attempt(&call, limit).await;
        if let Some(body) = written(&answer) {
            *lease = Lease::new(body);
            shared.fence.renewed(sent);
            next = sent.instant() + duration / 3;
            continue;
        }
        match look(&shared, &mut lease, &renewed, limit).await {
            Look::Ours { renewed: true } => {
                shared.fence.renewed(sent);
                next = sent.instant() + duration / 3;
            }
            Look::Ours { renewed: false } | Look::Unknown => next = Instant::now() + shared.wire.spread(soon),
            Look::Lost => return shared.fence.lose(),
        }
    }
}

fn written(answer: &Result<ApiAnswer, SendError>) -> Option<serde_json::Value> {
    answer.as_ref().ok().filter(|answer| answer.status.is_success())?.json()
}

async fn look(shared: &Shared, lease: &mut Lease, renewed: &Lease, limit: Duration) -> Look {
    let answer = shared.wire.attempt(&Call::get(shared.target.clone()), limit).await;
    match answer {
        Ok(answer) if answer.is_missing_object() => Look::Lost,
        Ok(answer) if answer.status.is_success() => match answer.json().map(Lease::new) {
            Some(found) if found.is_same_term(lease) => {
                let landed =
                    found.renew_time() == renewed.renew_time() && found.resource_version() != lease.resource_version();
                *lease = found;
                Look::Ours { renewed: landed }
            }
            Some(_) => Look::Lost,
            None => Look::Unknown,
        },
        _ => Look::Unknown,
    }
}

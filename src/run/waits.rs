//! Waits for many objects at once: until applied objects are ready, and until deleted objects are gone.
//!
//! An object that is waited for takes no request slot. One loop looks at all of them together, under common deadlines.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};

use crate::cluster::wait::{Awaited, Until, WaitStatus};
use crate::object::ident::GroupKind;
use crate::run::context::RunContext;
use crate::run::events::{Event, Waiting};

/// The shortest pause between two looks.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest pause between two looks.
const LONGEST: Duration = Duration::from_secs(2);

/// The interval at which the pods of unready workloads are checked.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// The largest number of workloads whose pods are checked at once.
const ASK_MOST: usize = 20;

/// The objects that are waited for, each with the value that the caller gets back when its wait ends.
pub(crate) struct Waits<'a, T> {
    work: RunContext<'a>,
    owned: BTreeMap<GroupKind, usize>,
    waiting: Vec<(Awaited, T)>,
    pause: Duration,
    /// `true` if an object was added since the last look. The next look then happens at once.
    is_fresh: bool,
    ready_by: Instant,
    pods_at: Instant,
    /// The deadline for deletions. It moves whenever an awaited object is gone, because a server deletes many objects
    /// one after another.
    gone_by: Instant,
}

/// The instant that is `time` from now, or an instant in a year if the clock does not reach that far.
fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now + Duration::from_hours(24 * 365))
}

/// Returns `true` if the readiness of objects of this kind depends on pods.
fn has_pods(kind: &GroupKind) -> bool {
    matches!(
        (kind.group.as_str(), kind.kind.as_str()),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet") | ("batch", "Job")
    )
}

/// The end of the wait for one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The awaited condition is met.
    Over,
    /// More waiting does not help, for this reason.
    Failed(String),
    /// The deadline passed. The text says what the wait was still for.
    TimedOut(String),
}

/// A signal ended the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interrupted;

impl<'a, T> Waits<'a, T> {
    /// Creates an empty set of waits.
    pub(crate) fn new(work: RunContext<'a>) -> Self {
        let mut owned = BTreeMap::new();
        let unseen = work.plan.changes.iter().map(|change| &change.ident.key);
        let unseen = unseen.filter(|key| !work.observed.exists(key));
        let seen = work.observed.looks.keys().filter(|key| work.observed.exists(key));
        for key in unseen.chain(seen) {
            *owned.entry(key.group_kind()).or_default() += 1;
        }
        let now = Instant::now();
        let waiting = Vec::new();
        Self {
            work,
            owned,
            waiting,
            pause: SHORTEST,
            is_fresh: false,
            ready_by: now,
            pods_at: now + ASK_EVERY / 2,
            gone_by: now,
        }
    }

    /// Adds an object to wait for, and restarts the deadline that applies to it.
    pub(crate) fn add(&mut self, awaited: Awaited, then: T) {
        let settings = self.work.cluster.settings();
        match awaited.until {
            Until::Ready | Until::ReadyOrGone => self.ready_by = after(settings.readiness_timeout),
            Until::Gone { .. } => self.gone_by = after(settings.vanishing_timeout),
            Until::NextLook => {}
        }
        self.is_fresh |= awaited.until != Until::NextLook;
        self.waiting.push((awaited, then));
    }

    /// Returns `true` if no object is waited for.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Gives up all waits, and returns their values.
    pub(crate) fn into_rest(self) -> impl Iterator<Item = T> {
        self.waiting.into_iter().map(|(_, then)| then)
    }

    /// Waits until at least one wait ends, and returns all waits that ended.
    ///
    /// # Errors
    ///
    /// A signal came.
    pub(crate) async fn next(&mut self) -> Result<Vec<(T, End)>, Interrupted> {
        let mut interrupt = self.work.interrupt.clone();
        tokio::select! {
            ended = self.ended() => Ok(ended),
            () = interrupt.requested() => Err(Interrupted),
        }
    }

    async fn ended(&mut self) -> Vec<(T, End)> {
        while !self.waiting.is_empty() {
            if self.is_fresh {
                (self.is_fresh, self.pause) = (false, SHORTEST);
            } else {
                sleep(self.work.cluster.spread(self.pause)).await;
                self.pause = (self.pause * 3 / 2).min(LONGEST);
            }
            let awaited: Vec<&Awaited> = self.waiting.iter().map(|(awaited, _)| awaited).collect();
            let mut sights = self.work.cluster.look_at_awaited(&awaited, &self.work.request.root, &self.owned).await;
            let is_asking = self.is_asking_pods();
            self.ask_pods(&mut sights, is_asking).await;
            let ended = self.take_ended(sights);
            if !ended.is_empty() {
                return ended;
            }
        }
        Vec::new()
    }

    /// Returns `true` if it is time to check pods: at regular intervals, and before the wait for readiness ends.
    fn is_asking_pods(&mut self) -> bool {
        let now = Instant::now();
        if now < self.pods_at && now < self.ready_by {
            return false;
        }
        self.pods_at = now + ASK_EVERY;
        true
    }

    /// Adds the trouble of the newest pods to each wait that failed. If `is_time` is set, also adds it to waits that
    /// continue.
    async fn ask_pods(&self, sights: &mut [WaitStatus], is_time: bool) {
        let pairs = self.waiting.iter().zip(sights.iter_mut());
        let waiting = pairs.filter(|((awaited, _), sight)| {
            matches!(awaited.until, Until::Ready | Until::ReadyOrGone)
                && has_pods(&awaited.kind.group_kind)
                && (matches!(sight, WaitStatus::Failed(_)) || is_time && matches!(sight, WaitStatus::Waiting(_)))
        });
        let asked = waiting.take(ASK_MOST).map(|((awaited, _), sight)| async move {
            let trouble = self.work.cluster.trouble(&awaited.kind, &awaited.key).await;
            let Some(trouble) = trouble else { return };
            let told = |reason: &str| format!("{reason}; {}", trouble.reason);
            match sight {
                WaitStatus::Waiting(reason) if !trouble.is_final => *reason = told(reason),
                WaitStatus::Waiting(reason) | WaitStatus::Failed(reason) => *sight = WaitStatus::Failed(told(reason)),
                WaitStatus::Over => {}
            }
        });
        join_all(asked).await;
    }

    fn take_ended(&mut self, sights: Vec<WaitStatus>) -> Vec<(T, End)> {
        let now = Instant::now();
        let vanishes = |until: &Until| matches!(until, Until::Gone { .. });
        let mut pairs = self.waiting.iter().zip(&sights);
        if pairs.any(|((awaited, _), sight)| vanishes(&awaited.until) && *sight == WaitStatus::Over) {
            self.gone_by = after(self.work.cluster.settings().vanishing_timeout);
        }
        let mut ended = Vec::new();
        let mut reasons = Vec::new();
        for ((awaited, then), sight) in std::mem::take(&mut self.waiting).into_iter().zip(sights) {
            let end = if vanishes(&awaited.until) { self.gone_by } else { self.ready_by };
            match sight {
                WaitStatus::Over => ended.push((then, End::Over)),
                WaitStatus::Failed(reason) => ended.push((then, End::Failed(reason))),
                WaitStatus::Waiting(reason) if now >= end => ended.push((then, End::TimedOut(reason))),
                WaitStatus::Waiting(reason) => {
                    reasons.push(self.work.redacted(&awaited.key, &reason));
                    self.waiting.push((awaited, then));
                }
            }
        }
        let keys = self.waiting.iter().map(|(awaited, _)| &awaited.key);
        let waiting: Vec<Waiting<'_>> = keys.zip(reasons).map(|(key, reason)| Waiting { key, reason }).collect();
        if !waiting.is_empty() {
            (self.work.events)(Event::Waiting(&waiting));
        }
        ended
    }
}

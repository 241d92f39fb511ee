//! Waiting for many objects at once: until applied ones are ready, until deleted ones are gone.
//!
//! Waiting holds no request's place. Whoever waits looks at everything together, under one deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};

use crate::cluster::wait::{Awaited, Until, WaitStatus};
use crate::object::ident::GroupKind;
use crate::run::reconcile::RunContext;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// How often pods are asked what is wrong, and how many workloads at once.
const ASK_EVERY: Duration = Duration::from_secs(10);
const ASK_MOST: usize = 20;

/// What is waited for, each with what follows from its end.
pub struct Waits<'a, T> {
    work: RunContext<'a>,
    owned: BTreeMap<GroupKind, usize>,
    waiting: Vec<(Awaited, T)>,
    pause: Duration,
    /// Whether something was added since the last look.
    is_fresh: bool,
    ready_by: Instant,
    pods_at: Instant,
    /// As long as objects vanish, the others have time: a server deletes many one after another.
    gone_by: Instant,
}

/// A moment in so much time; a far one where the clock does not go so far.
fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now + Duration::from_hours(24 * 365))
}

/// Whether objects of a kind are ready by their pods.
fn has_pods(kind: &GroupKind) -> bool {
    matches!(
        (kind.group.as_str(), kind.kind.as_str()),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet") | ("batch", "Job")
    )
}

/// How a wait for one object ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As wished.
    Over,
    /// Time does not heal it, and why.
    Failed(String),
    /// The time is up, and what it still waited for.
    TimedOut(String),
}

/// The wait was ended by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl<'a, T> Waits<'a, T> {
    /// Nothing yet.
    pub fn new(work: RunContext<'a>) -> Self {
        let mut owned = BTreeMap::new();
        let unseen = work.plan.changes.iter().map(|change| &change.ident.key);
        let unseen = unseen.filter(|key| work.observed.live(key).is_none());
        let seen = work.observed.looks.keys().filter(|key| work.observed.live(key).is_some());
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

    /// Waits for one more.
    pub fn add(&mut self, awaited: Awaited, then: T) {
        let settings = self.work.cluster.settings();
        match awaited.until {
            Until::Ready | Until::ReadyOrGone => self.ready_by = after(settings.readiness_timeout),
            Until::Gone { .. } => self.gone_by = after(settings.vanishing_timeout),
            Until::NextLook => {}
        }
        self.is_fresh |= awaited.until != Until::NextLook;
        self.waiting.push((awaited, then));
    }

    /// Whether nothing is waited for.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What was waited for, given up.
    pub fn into_rest(self) -> impl Iterator<Item = T> {
        self.waiting.into_iter().map(|(_, then)| then)
    }

    /// Waits until at least one wait ends.
    ///
    /// # Errors
    ///
    /// A signal.
    pub async fn next(&mut self) -> Result<Vec<(T, End)>, Interrupted> {
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
                sleep(self.pause).await;
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

    /// Whether it is time to ask pods: now and then, and before the wait ends.
    fn is_asking_pods(&mut self) -> bool {
        let now = Instant::now();
        if now < self.pods_at && now < self.ready_by {
            return false;
        }
        self.pods_at = now + ASK_EVERY;
        true
    }

    /// Adds what the newest pods say to each wait that ends, and, where it is time to ask, to what is waited for.
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
        for ((awaited, then), sight) in std::mem::take(&mut self.waiting).into_iter().zip(sights) {
            let end = if vanishes(&awaited.until) { self.gone_by } else { self.ready_by };
            match sight {
                WaitStatus::Over => ended.push((then, End::Over)),
                WaitStatus::Failed(reason) => ended.push((then, End::Failed(reason))),
                WaitStatus::Waiting(reason) if now >= end => ended.push((then, End::TimedOut(reason))),
                WaitStatus::Waiting(_) => self.waiting.push((awaited, then)),
            }
        }
        ended
    }
}

//! The lock: one Lease per root, judged by locally observed time and never by comparing clocks.
//!
//! A contender takes a Lease over only after seeing it unchanged for its whole duration. A holder stops at its fence,
//! which lies before that, so the two never work at once however their clocks run.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::clocks::{Moment, after};
use super::connect::Cluster;
use super::error::ClusterError;
use super::gate::{Fence, Permit};
use super::lease::Lease;
use super::observe::ReadError;
use super::path::ResourcePath;
use super::request::{Call, Effect};
use super::transport::{ApiAnswer, SendError, Transport};
use crate::object::mark::Root;

/// A request for a lock: the lock, the holder, and the time to wait for it.
#[derive(Clone, Debug)]
pub struct LockRequest {
    /// The state's namespace. It exists already.
    pub namespace: String,
    /// The root.
    pub root: Root,
    /// The identity of the run that wants the lock. It is unique and readable.
    pub holder: String,
    /// The time to wait for another holder. Zero does not wait.
    pub timeout: Duration,
    /// The URL of the run, for others that wait for the lock.
    pub run_url: Option<String>,
}

/// The holder of a lock. The texts come from the Lease and are untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its identity.
    pub identity: String,
    /// ScopeBasis when, by its own account.
    pub since: Option<Timestamp>,
    /// When it last renewed, by its own account.
    pub renewed: Option<Timestamp>,
    /// The URL of the holder's run.
    pub run_url: Option<String>,
}

/// The reason why a lock was not acquired.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another holder has it and did not let go in time.
    #[error("acquire the lock: {} holds it", .0.identity)]
    Held(Holder),
    /// It could not be tried.
    #[error(transparent)]
    Failed(ClusterError),
}

/// The result of releasing a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockRelease {
    /// The next party may have it at once.
    Freed,
    /// Some request may still land, so the Lease stays and expires.
    LeftToExpire,
    /// It was not ours any more; whose it is now, it stays.
    NotOurs,
}

/// The result of breaking a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It is free now.
    Freed,
    /// Nobody held it.
    NotHeld,
    /// Someone else than named holds it; it stays.
    OtherHolder(Holder),
}

/// A lock that this run holds, renewed in the background. Every call that changes the cluster takes one.
///
/// Dropped without [`HeldLock::release`], it is left to expire.
#[derive(Debug)]
pub struct HeldLock {
    shared: Arc<Shared>,
    renewal: JoinHandle<()>,
}

struct Shared {
    wire: Transport,
    target: ResourcePath,
    fence: Arc<Fence>,
    /// The Lease as last written. Held while a renewal is under way.
    lease: Mutex<Lease>,
    epoch: u64,
    released: watch::Sender<bool>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("target", &self.target).field("fence", &self.fence).finish_non_exhaustive()
    }
}

const ACQUIRE: &str = "acquire the lock";
const RELEASE: &str = "release the lock";
const BREAK: &str = "break the lock";

/// The number of failed writes of a Lease after which a contender gives up.
const ATTEMPTS: usize = 5;

/// The time limit of each step of a release. An interrupted run has only a few seconds in all.
const RELEASE_STEP: Duration = Duration::from_millis(1500);

impl Cluster {
    /// Acquires a root's lock, waiting for another holder as long as the request says.
    ///
    /// `progress` hears of each holder that is waited for, once.
    pub async fn acquire(
        &self,
        request: &LockRequest,
        progress: &mut (dyn FnMut(&Holder) + Send),
    ) -> Result<HeldLock, LockError> {
        let contender = Contender { cluster: self, request, target: lock_target(&request.namespace, &request.root) };
        let give_up = after(request.timeout);
        let poll = (self.settings.lease_duration / 60).clamp(Duration::from_millis(20), Duration::from_secs(1));
        let mut watched: Option<(Lease, Instant)> = None;
        let mut told: Option<String> = None;
        let mut sent: Vec<(Lease, Moment)> = Vec::new();
        loop {
            let Some(found) = contender.look().await.map_err(LockError::Failed)? else {
                let fresh = contender.fresh(None)?;
                if let Some(held) = contender.take(fresh, &mut sent).await? {
                    return Ok(held);
                }
                watched = None;
                sleep(poll).await;
                continue;
            };
            // Our own write whose answer was lost.
            if let Some((_, at)) = sent.iter().find(|(written, _)| written.is_same_term(&found)) {
                return Ok(contender.hold(found, *at));
            }
            let seen = match watched.take().filter(|(known, _)| known.is_unchanged(&found)) {
                Some((_, since)) => since,
                None => Instant::now(),
            };
            let dead_at = seen + found.duration().unwrap_or(self.settings.lease_duration);
            if found.holder().is_empty() || Instant::now() >= dead_at {
                let fresh = contender.fresh(Some(&found))?;
                if let Some(held) = contender.take(fresh, &mut sent).await? {
                    return Ok(held);
                }
                continue;
            }
            let holder = found.described();
            if Instant::now() >= give_up {
                return Err(LockError::Held(holder));
            }
            if told.as_deref() != Some(holder.identity.as_str()) {
                progress(&holder);
                told = Some(holder.identity);
            }
            watched = Some((found, seen));
            sleep_until((Instant::now() + poll).min(dead_at).min(give_up)).await;
        }
    }

    /// Returns the holder of a root's lock without asking for the lock. A dead holder holds it until its Lease expires.
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

    /// Breaks a root's lock, provided that it is held by the party of this identity.
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
            // The named party renewed in between: look again.
            if answer.status != StatusCode::CONFLICT {
                return Err(self.wire.refused(BREAK, &answer));
            }
        }
    }
}

fn lock_target(namespace: &str, root: &Root) -> ResourcePath {
    ResourcePath::leases(namespace).named(&root.lock_name())
}

async fn read_lease(wire: &Transport, target: &ResourcePath, operation: &str) -> Result<Option<Lease>, ClusterError> {
    let answer = wire.send(&Call::get(target.clone())).await.map_err(|error| wire.failed(operation, error))?;
    if answer.is_missing_object() {
        return Ok(None);
    }
    match answer.json().filter(|_| answer.status.is_success()) {
        Some(body) => Ok(Some(Lease::new(body))),
        None => Err(wire.refused(operation, &answer)),
    }
}

/// A party that wants a lock.
struct Contender<'a> {
    cluster: &'a Cluster,
    request: &'a LockRequest,
    target: ResourcePath,
}

impl Contender<'_> {
    async fn look(&self) -> Result<Option<Lease>, ClusterError> {
        read_lease(&self.cluster.wire, &self.target, ACQUIRE).await
    }

    /// The Lease to write: a new one, or a new term of the one that was found.
    fn fresh(&self, found: Option<&Lease>) -> Result<Lease, LockError> {
        let wire = &self.cluster.wire;
        let now = wire
            .server_time()
            .ok_or_else(|| LockError::Failed(ClusterError::NoServerTime { server: wire.server().to_owned() }))?;
        Ok(Lease::term(self.request, found, self.cluster.settings.lease_duration, now))
    }

    /// Tries to write a term. Nothing when another party was quicker, or when what became of it is not known: then the
    /// term is noted in `sent`, and the next look tells.
    async fn take(&self, term: Lease, sent: &mut Vec<(Lease, Moment)>) -> Result<Option<HeldLock>, LockError> {
        let wire = &self.cluster.wire;
        let is_new = term.uid().is_empty();
        let call = if is_new {
            Call::post(ResourcePath::leases(&self.request.namespace), term.body())
        } else {
            Call::put(self.target.clone(), term.body())
        };
        let at = Moment::now();
        let limit = (self.cluster.settings.lease_duration / 4).min(self.cluster.settings.request_timeout);
        let answer = wire.attempt(&call.permitted(Permit::Lease), limit).await;
        let (asked, failure) = match answer {
            Ok(answer) if answer.status.is_success() => {
                let lease = answer.json().map(Lease::new);
                return lease
                    .map(|lease| Some(self.hold(lease, at)))
                    .ok_or_else(|| LockError::Failed(wire.refused(ACQUIRE, &answer)));
            }
            Ok(answer) if answer.status == StatusCode::CONFLICT => return Ok(None),
            // Deletion between the look and the write of a new term.
            Ok(answer) if answer.is_missing_object() && !is_new => return Ok(None),
            Ok(answer) if answer.is_transient() => (answer.retry_after, wire.refused(ACQUIRE, &answer)),
            Ok(answer) => return Err(LockError::Failed(wire.refused(ACQUIRE, &answer))),
            Err(error @ SendError::NoAnswer(_)) => (None, wire.failed(ACQUIRE, error)),
            Err(error) => return Err(LockError::Failed(wire.failed(ACQUIRE, error))),
        };
        sent.push((term, at));
        if sent.len() > ATTEMPTS {
            return Err(LockError::Failed(failure));
        }
        let pause = asked.unwrap_or_default().clamp(Duration::from_millis(200), self.cluster.settings.lease_duration);
        sleep(pause).await;
        Ok(None)
    }

    /// Holds a Lease that this party wrote with a request that left at `sent`.
    fn hold(&self, lease: Lease, sent: Moment) -> HeldLock {
        let duration = self.cluster.settings.lease_duration;
        let shared = Arc::new(Shared {
            wire: self.cluster.wire.clone(),
            target: self.target.clone(),
            fence: Arc::new(Fence::new(duration, sent)),
            epoch: lease.transitions(),
            lease: Mutex::new(lease),
            released: watch::Sender::new(false),
        });
        let renewal = tokio::spawn(renew(Arc::clone(&shared), duration, sent.instant()));
        HeldLock { shared, renewal }
    }
}

impl HeldLock {
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

    /// Lets the lock go.
    ///
    /// Frees it at once unless some request of it is unanswered: what may still land must not land in another's term.
    pub async fn release(self) -> Result<LockRelease, ClusterError> {
        let Shared { wire, target, fence, .. } = &*self.shared;
        self.shared.released.send_replace(true);
        // Waits for a renewal under way, so that the resourceVersion is the last.
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

    pub(super) fn permit(&self) -> Permit {
        Permit::Lock(Arc::clone(&self.shared.fence))
    }

    pub(super) fn wire(&self) -> &Transport {
        &self.shared.wire
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.renewal.abort();
        // Whoever still waits for the loss of a lock that nobody renews may know it.
        if !*self.shared.released.borrow() {
            self.shared.fence.lose();
        }
    }
}

/// The state of the Lease after a renewal that did not succeed.
enum Look {
    /// It is still ours. Set where the renewal did land.
    Ours { renewed: bool },
    /// It is another's, or missing.
    Lost,
    /// Not known.
    Unknown,
}

/// Renews until the lock is released or lost.
async fn renew(shared: Arc<Shared>, duration: Duration, acquired: Instant) {
    let soon = (duration / 60).clamp(Duration::from_millis(20), Duration::from_secs(1));
    let mut next = acquired + duration / 3;
    loop {
        // Losing it means not to sleep past the lease's end, whatever happens to the requests.
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
            Look::Ours { renewed: false } | Look::Unknown => next = Instant::now() + soon,
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

#[cfg(test)]
mod tests {
    use super::super::apply::ObjectError;
    use super::super::fake::{Fake, Fault, hold, lease_path, lock_request, root};
    use super::*;
    use crate::object::ident::GroupKind;
    use crate::object::kinds::Kinds;
    use http::Method;
    use serde_json::{Value, json};

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(fake: &Fake) -> Value {
        fake.object(&lease_path()).unwrap()
    }

    fn dead_lease(fake: &Fake) {
        let body = json!({"metadata": {"name": "x"}, "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 60,
            "acquireTime": "2031-05-06T00:00:00.000000Z", "renewTime": "2031-05-06T00:00:00.000000Z",
            "leaseTransitions": 4}});
        fake.set(&lease_path(), Some(body));
    }

    async fn change(cluster: &Cluster, lock: &HeldLock) -> Result<(), ObjectError> {
        let kind = Kinds::builtin().get(&GroupKind::new("", "ConfigMap")).unwrap().clone();
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "a"}});
        cluster.apply(lock, &kind, &body, &root()).await.map(drop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_free_lock_is_taken_renewed_and_freed() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let request = LockRequest { run_url: Some("https://forge/run/7".into()), ..lock_request("us", Duration::ZERO) };
        let lock = cluster.acquire(&request, &mut |_| {}).await.unwrap();
        let taken = lease(&fake);
        assert_eq!(taken["spec"]["holderIdentity"], "us");
        assert_eq!(taken["spec"]["leaseDurationSeconds"], 60);
        // The server's time, not this machine's.
        assert_eq!(taken["spec"]["renewTime"], "2031-05-06T07:08:09.000000Z");
        assert_eq!(lock.epoch(), 1);
        let holder = cluster.lock_holder("kube-state", &root()).await.unwrap().unwrap();
        assert_eq!((holder.identity.as_str(), holder.run_url.as_deref()), ("us", Some("https://forge/run/7")));

        sleep(65 * SECOND).await;
        assert!(!lock.is_lost());
        let renewed = lease(&fake);
        assert_eq!(renewed["spec"]["renewTime"], "2031-05-06T07:09:09.000000Z");
        assert_eq!(renewed["spec"]["acquireTime"], taken["spec"]["acquireTime"]);
        change(&cluster, &lock).await.unwrap();
        assert_eq!(lock.release().await.unwrap(), LockRelease::Freed);
        assert_eq!(fake.object(&lease_path()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn l5_a_held_lock_without_waiting_names_its_holder() {
        let fake = Fake::new();
        dead_lease(&fake);
        let error = fake.cluster().acquire(&lock_request("us", Duration::ZERO), &mut |_| {}).await.unwrap_err();
        let LockError::Held(holder) = error else { panic!("{error}") };
        assert_eq!(holder.identity, "dead");
        assert_eq!(holder.since.unwrap().to_string(), "2031-05-06T00:00:00Z");
    }

    #[tokio::test(start_paused = true)]
    async fn l1_a_dead_holder_is_taken_over_only_after_its_whole_duration_was_seen() {
        let fake = Fake::new();
        // By the server's clock it has been dead for seven hours. That counts for nothing.
        dead_lease(&fake);
        let mut told = Vec::new();
        let started = Instant::now();
        let lock = fake
            .cluster()
            .acquire(&lock_request("us", 120 * SECOND), &mut |holder| told.push(holder.identity.clone()))
            .await
            .unwrap();
        assert!(started.elapsed() >= 60 * SECOND && started.elapsed() < 63 * SECOND, "{:?}", started.elapsed());
        assert_eq!((lock.epoch(), told), (5, vec!["dead".to_owned()]));
    }

    #[tokio::test(start_paused = true)]
    async fn x15_no_time_to_wait_is_too_long_or_too_short() {
        for wait in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX, Duration::from_secs(u64::MAX)] {
            let fake = Fake::new();
            dead_lease(&fake);
            let taken = fake.cluster().acquire(&lock_request("us", wait), &mut |_| {}).await;
            assert_eq!(taken.is_ok(), wait > 60 * SECOND, "{wait:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn x15_a_lease_says_whatever_it_likes() {
        for (field, value) in [
            ("leaseDurationSeconds", json!(i32::MAX)),
            ("leaseDurationSeconds", json!(u64::MAX)),
            ("leaseDurationSeconds", json!(-1)),
            ("leaseDurationSeconds", json!("long")),
            ("leaseTransitions", json!(i64::MAX)),
            ("leaseTransitions", json!(u64::MAX)),
            ("renewTime", json!("never")),
            ("acquireTime", json!("9999-12-31T23:59:59.999999Z")),
        ] {
            let fake = Fake::new();
            dead_lease(&fake);
            let mut lease = lease(&fake);
            lease["spec"][field] = value.clone();
            fake.set(&lease_path(), Some(lease));
            let taken = fake.cluster().acquire(&lock_request("us", 120 * SECOND), &mut |_| {}).await;
            assert_eq!(taken.is_ok(), value != json!(i32::MAX), "{field} {value}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn l1_a_living_holder_is_never_taken_over() {
        let fake = Fake::new();
        let (one, two) = (fake.cluster(), fake.cluster());
        let lock = hold(&one, "one").await;
        let error = two.acquire(&lock_request("two", 600 * SECOND), &mut |_| {}).await.unwrap_err();
        assert!(matches!(error, LockError::Held(holder) if holder.identity == "one"));
        assert!(!lock.is_lost());
    }

    #[tokio::test(start_paused = true)]
    async fn l1_one_renewal_starts_the_watch_again() {
        let fake = Fake::new();
        dead_lease(&fake);
        let contender = tokio::spawn({
            let cluster = fake.cluster();
            async move { cluster.acquire(&lock_request("us", 300 * SECOND), &mut |_| {}).await.map(|_| Instant::now()) }
        });
        let started = Instant::now();
        sleep(50 * SECOND).await;
        let mut renewed = lease(&fake);
        renewed["spec"]["renewTime"] = json!("2031-05-06T00:00:01.000000Z");
        fake.set(&lease_path(), Some(renewed));
        let taken = contender.await.unwrap().unwrap();
        assert!(taken - started >= 110 * SECOND, "{:?}", taken - started);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_without_a_holder_is_free() {
        let fake = Fake::new();
        fake.set(&lease_path(), Some(json!({"metadata": {"name": "x"}, "spec": {"holderIdentity": ""}})));
        assert_eq!(hold(&fake.cluster(), "us").await.epoch(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_whose_answer_was_lost_is_ours_all_the_same() {
        let fake = Fake::new();
        fake.fail(Method::POST, "/leases", Fault::LoseAnswer);
        let lock = hold(&fake.cluster(), "us").await;
        assert_eq!(lease(&fake)["spec"]["holderIdentity"], "us");
        assert_eq!(lock.release().await.unwrap(), LockRelease::Freed);
    }

    #[tokio::test(start_paused = true)]
    async fn l7_twenty_contenders_work_one_at_a_time() {
        let fake = Fake::new();
        let working = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let contenders = (0..20).map(|index| {
            let (cluster, working) = (fake.cluster(), Arc::clone(&working));
            tokio::spawn(async move {
                let request = lock_request(&format!("run {index}"), 600 * SECOND);
                let lock = cluster.acquire(&request, &mut |_| {}).await.unwrap();
                assert_eq!(working.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                sleep(3 * SECOND).await;
                assert_eq!(working.fetch_sub(1, std::sync::atomic::Ordering::SeqCst), 1);
                assert_eq!(lock.release().await.unwrap(), LockRelease::Freed);
            })
        });
        for contender in contenders.collect::<Vec<_>>() {
            contender.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn l2_one_failing_renewal_does_not_end_the_run() {
        for fault in [
            Fault::ApiAnswer(500, json!({})),
            Fault::ApiAnswer(409, json!({})),
            Fault::RetryAfter(429, 1),
            Fault::Reset,
            Fault::LoseAnswer,
            Fault::Hang,
        ] {
            let fake = Fake::new();
            let cluster = fake.cluster();
            let lock = hold(&cluster, "us").await;
            fake.fail(Method::PUT, "/leases/", fault);
            for _ in 0..200 {
                sleep(SECOND).await;
                change(&cluster, &lock).await.unwrap();
            }
            assert_eq!(fake.faults_left(), 0);
            assert_eq!(lock.release().await.unwrap(), LockRelease::Freed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn l2_a_lost_lease_stops_the_next_mutating_request() {
        fn other(fake: &Fake) -> Value {
            let mut theirs = lease(fake);
            theirs["spec"]["holderIdentity"] = json!("other");
            theirs
        }
        fn recreated(fake: &Fake) -> Value {
            let mut theirs = lease(fake);
            theirs["metadata"]["uid"] = json!("another");
            theirs
        }
        let changes: [fn(&Fake) -> Option<Value>; 3] =
            [|_| None, |fake| Some(other(fake)), |fake| Some(recreated(fake))];
        for becomes in changes {
            let fake = Fake::new();
            let cluster = fake.cluster();
            let lock = hold(&cluster, "us").await;
            let now = becomes(&fake);
            fake.set(&lease_path(), now.clone());
            tokio::time::timeout(25 * SECOND, lock.lost()).await.unwrap();
            let sent = fake.journal().len();
            assert_eq!(change(&cluster, &lock).await, Err(ObjectError::LockLost));
            assert_eq!(fake.journal().len(), sent, "nothing may leave");
            // L4: the winner's Lease stays.
            let left = fake.object(&lease_path());
            assert_eq!(lock.release().await.unwrap(), LockRelease::NotOurs);
            assert_eq!(fake.object(&lease_path()), left);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn l3_a_server_that_answers_nothing_ends_the_run_before_the_lease() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let lock = hold(&cluster, "us").await;
        let held = Instant::now();
        for method in [Method::PUT, Method::GET] {
            for _ in 0..100 {
                fake.fail(method.clone(), "/leases/", Fault::Hang);
            }
        }
        sleep(39 * SECOND).await;
        change(&cluster, &lock).await.unwrap();
        sleep(2 * SECOND).await;
        assert_eq!(change(&cluster, &lock).await, Err(ObjectError::LockLost));
        lock.lost().await;
        assert!(held.elapsed() < 60 * SECOND);
    }

    /// However late the answer: another party counts from when the write arrived, which may be when it was sent.
    #[tokio::test(start_paused = true)]
    async fn l3_the_fence_is_counted_from_when_a_write_was_sent() {
        for (method, fence) in [(Method::POST, 40), (Method::PUT, 60)] {
            let fake = Fake::new();
            let cluster = fake.cluster();
            let began = Instant::now();
            fake.fail(method, "/leases", Fault::Late(9 * SECOND));
            let lock = hold(&cluster, "us").await;
            // The first write was sent at 0 s, the only renewal that is answered, if any, at 20 s.
            sleep_until(began + (fence - 30) * SECOND).await;
            for method in [Method::PUT, Method::GET] {
                for _ in 0..100 {
                    fake.fail(method.clone(), "/leases/", Fault::Hang);
                }
            }
            sleep_until(began + (fence - 1) * SECOND).await;
            change(&cluster, &lock).await.unwrap();
            sleep_until(began + (fence + 1) * SECOND).await;
            assert_eq!(change(&cluster, &lock).await, Err(ObjectError::LockLost), "{fence} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn l3_a_request_under_way_is_given_up_before_the_lease_ends() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let lock = hold(&cluster, "us").await;
        let held = Instant::now();
        for _ in 0..100 {
            fake.fail(Method::PUT, "/leases/", Fault::Hang);
            fake.fail(Method::GET, "/leases/", Fault::Hang);
        }
        sleep(39 * SECOND).await;
        fake.fail(Method::PATCH, "/configmaps/", Fault::Hang);
        assert_eq!(change(&cluster, &lock).await, Err(ObjectError::LockLost));
        assert!(held.elapsed() < 60 * SECOND, "{:?}", held.elapsed());
        assert_eq!(lock.release().await.unwrap(), LockRelease::LeftToExpire);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unanswered_request_leaves_the_lease_to_expire() {
        for (fault, expected) in [
            (Fault::Reset, LockRelease::LeftToExpire),
            (Fault::LoseAnswer, LockRelease::LeftToExpire),
            (Fault::ApiAnswer(504, json!({})), LockRelease::LeftToExpire),
            (Fault::RetryAfter(429, 0), LockRelease::Freed),
        ] {
            let fake = Fake::new();
            let cluster = fake.cluster();
            let lock = hold(&cluster, "us").await;
            fake.fail(Method::PATCH, "/configmaps/", fault);
            // A second attempt succeeds. The first may land later all the same.
            change(&cluster, &lock).await.unwrap();
            assert_eq!(lock.release().await.unwrap(), expected);
            assert_eq!(fake.object(&lease_path()).is_some(), expected == LockRelease::LeftToExpire);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn l4_a_release_leaves_another_holders_lease() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let lock = hold(&cluster, "us").await;
        dead_lease(&fake);
        assert_eq!(lock.release().await.unwrap(), LockRelease::NotOurs);
        assert_eq!(lease(&fake)["spec"]["holderIdentity"], "dead");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_dropped_under_way_counts_as_unanswered() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let lock = hold(&cluster, "us").await;
        fake.fail(Method::PATCH, "/configmaps/", Fault::Hang);
        assert!(tokio::time::timeout(SECOND, change(&cluster, &lock)).await.is_err());
        assert_eq!(lock.release().await.unwrap(), LockRelease::LeftToExpire);
    }

    #[tokio::test(start_paused = true)]
    async fn a9_release_takes_no_five_seconds_whatever_the_server_does() {
        for fault in [Fault::Hang, Fault::Reset, Fault::Late(3600 * SECOND)] {
            let fake = Fake::new();
            let lock = hold(&fake.cluster(), "us").await;
            for _ in 0..9 {
                fake.fail(Method::DELETE, "/leases/", fault.clone());
            }
            let started = Instant::now();
            assert!(lock.release().await.is_err());
            assert!(started.elapsed() < 5 * SECOND, "{:?}", started.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn l6_a_lock_is_broken_by_its_holders_name_only() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        dead_lease(&fake);
        let broken = cluster.break_lock("kube-state", &root(), "dea").await.unwrap();
        assert!(matches!(broken, Broken::OtherHolder(holder) if holder.identity == "dead"));
        assert!(fake.object(&lease_path()).is_some());
        assert_eq!(cluster.break_lock("kube-state", &root(), "dead").await.unwrap(), Broken::Freed);
        assert_eq!(cluster.break_lock("kube-state", &root(), "dead").await.unwrap(), Broken::NotHeld);
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_servers_time_no_lease_is_written() {
        let fake = Fake::new();
        let lock = hold(&fake.cluster(), "us").await;
        assert!(lock.shared.wire.server_time().is_some());
        // Another connection that has heard nothing yet cannot know it.
        let contender_request = lock_request("x", Duration::ZERO);
        let cluster = fake.cluster();
        let contender =
            Contender { cluster: &cluster, request: &contender_request, target: lock_target("kube-state", &root()) };
        assert!(matches!(contender.fresh(None), Err(LockError::Failed(ClusterError::NoServerTime { .. }))));
    }
}

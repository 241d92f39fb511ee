//! The lock: one Lease per root. Its expiry is judged by locally observed time and never by comparing clocks.
//!
//! A contender takes over a Lease only after it saw the Lease unchanged for the Lease's whole duration ([`acquire`]). A
//! holder stops at its fence, which comes before that ([`hold`]). The two therefore never work at once, whatever their
//! clocks show. [`admin`] names the holder of a lock and breaks a lock.

mod acquire;
mod admin;
mod hold;
pub(super) mod holder;

pub use self::admin::Broken;
pub use self::hold::{HeldLock, LockRelease};
pub use self::holder::{Holder, LockRequest};
use super::error::ClusterError;
use super::lease::Lease;
use super::path::ResourcePath;
use super::request::Call;
use super::transport::Transport;
use crate::object::mark::Root;

/// The reason why a lock was not acquired.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds the lock and did not release it in time.
    #[error("acquire the lock: {} holds it", .0.identity)]
    Held(Holder),
    /// The lock could not be read or written.
    #[error(transparent)]
    Failed(ClusterError),
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

#[cfg(test)]
mod tests {
    use super::super::apply::ObjectError;
    use super::super::connect::Cluster;
    use super::super::fake::{Fake, Fault, hold, lease_path, lock_request, root};
    use super::*;
    use crate::object::ident::GroupKind;
    use crate::object::kinds::Kinds;
    use http::Method;
    use serde_json::{Value, json};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::{Instant, sleep, sleep_until};

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
}

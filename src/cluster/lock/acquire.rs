//! Acquires a lock.
//!
//! [`contend`] decides each step. It is a pure function: the moments and the pauses are arguments. The loop around it
//! reads, writes and waits, and decides nothing.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep_until};

use super::super::clocks::{Moment, after};
use super::super::connect::Cluster;
use super::super::error::ClusterError;
use super::super::gate::Permit;
use super::super::lease::Lease;
use super::super::path::ResourcePath;
use super::super::request::Call;
use super::super::transport::SendError;
use super::{HeldLock, Holder, LockError, LockRequest, lock_target, read_lease};

const ACQUIRE: &str = "acquire the lock";

/// The number of writes without an answer that a contender accepts. It gives up after one more.
const ATTEMPTS: usize = 5;

/// The shortest pause after a write without an answer.
const SHORTEST_RETRY: Duration = Duration::from_millis(200);

/// The knowledge of a contender between two steps.
#[derive(Clone, Debug)]
struct View {
    /// The moment after which the contender no longer waits for another holder.
    give_up: Instant,
    /// The duration of the contender's own lease. A Lease that states no duration gets the same one.
    lease_duration: Duration,
    /// The Lease as it was last read, and the moment at which it was first seen like this.
    watched: Option<(Lease, Instant)>,
    /// The terms that were written without an answer, each with the moment at which the request left.
    sent: Vec<(Lease, Moment)>,
}

/// The pauses of one step. They contain the jitter.
#[derive(Clone, Copy, Debug)]
struct Pauses {
    /// The pause before the next read.
    poll: Duration,
    /// The shortest pause after a write without an answer.
    retry: Duration,
}

/// The result of a read or a write.
#[derive(Debug)]
enum Seen {
    /// There is no Lease.
    Absent,
    /// There is this Lease.
    Found(Lease),
    /// The server stored this Lease. The request that wrote it left at this moment.
    Stored(Lease, Moment),
    /// Another run created the Lease first.
    NotCreated,
    /// Another run changed or deleted the Lease first.
    NotTaken,
    /// It is not known if the server stored this term.
    Unanswered {
        /// The written term.
        term: Lease,
        /// The moment at which the request left.
        sent: Moment,
        /// The pause that the server asks for, or zero.
        asked: Duration,
        /// The error to report if the contender gives up.
        failure: ClusterError,
    },
}

/// The next step of a contender.
#[derive(Debug)]
enum Step {
    /// Hold the lock with this Lease. The request that wrote it left at this moment.
    Hold(Lease, Moment),
    /// Create the Lease.
    Create,
    /// Write a new term into this Lease, because it has no holder or a dead one.
    Take(Lease),
    /// Read the Lease again at once.
    Look,
    /// Read the Lease again at this moment.
    Wait {
        /// The moment.
        until: Instant,
        /// The run that the contender waits for, if it waits for one.
        holder: Option<Holder>,
    },
    /// Fail.
    GiveUp(LockError),
}

impl View {
    fn new(give_up: Instant, lease_duration: Duration) -> Self {
        Self { give_up, lease_duration, watched: None, sent: Vec::new() }
    }
}

/// Decides the step that follows an observation at the moment `now`.
///
/// The times in a Lease are not used, so the clocks of other machines do not matter: a holder counts as dead when its
/// Lease was seen unchanged for the Lease's whole duration.
fn contend(mut view: View, seen: Seen, now: Instant, pauses: Pauses) -> (View, Step) {
    let watched = view.watched.take();
    let step = match seen {
        Seen::Absent => Step::Create,
        Seen::Found(found) => match view.sent.iter().find(|(term, _)| term.is_same_term(&found)) {
            // The write took effect, and only its answer is missing.
            Some((_, sent)) => Step::Hold(found, *sent),
            None => return found_other(view, watched, found, now, pauses.poll),
        },
        Seen::Stored(lease, sent) => Step::Hold(lease, sent),
        // The pause keeps several contenders from creating the Lease over and over.
        Seen::NotCreated => Step::Wait { until: now + pauses.poll, holder: None },
        Seen::NotTaken => Step::Look,
        Seen::Unanswered { term, sent, asked, failure } => {
            let is_new = term.uid().is_empty();
            view.sent.push((term, sent));
            if view.sent.len() > ATTEMPTS {
                Step::GiveUp(LockError::Failed(failure))
            } else {
                // The next read shows if the write took effect. Nobody holds a Lease that is missing, so there is time
                // for a longer pause.
                let poll = if is_new { pauses.poll } else { Duration::ZERO };
                let pause = asked.max(pauses.retry).min(view.lease_duration) + poll;
                Step::Wait { until: now + pause, holder: None }
            }
        }
    };
    (view, step)
}

/// Decides the step that follows a look at a Lease that this contender did not write.
fn found_other(
    mut view: View,
    watched: Option<(Lease, Instant)>,
    found: Lease,
    now: Instant,
    poll: Duration,
) -> (View, Step) {
    let since = match watched {
        Some((known, since)) if known.is_unchanged(&found) => since,
        _ => now,
    };
    let dead_at = since + found.duration().unwrap_or(view.lease_duration);
    if found.holder().is_empty() || now >= dead_at {
        return (view, Step::Take(found));
    }
    let holder = found.described();
    if now >= view.give_up {
        return (view, Step::GiveUp(LockError::Held(holder)));
    }
    view.watched = Some((found, since));
    let until = (now + poll).min(dead_at).min(view.give_up);
    (view, Step::Wait { until, holder: Some(holder) })
}

impl Cluster {
    /// Acquires a root's lock. Waits for another holder as long as the request says.
    ///
    /// Calls `progress` once for each holder that it waits for.
    ///
    /// # Errors
    ///
    /// Another run still holds the lock at the end of the wait, or the Lease cannot be read or written.
    pub async fn acquire(
        &self,
        request: &LockRequest,
        progress: &mut (dyn FnMut(&Holder) + Send),
    ) -> Result<HeldLock, LockError> {
        let contender = Contender { cluster: self, request, target: lock_target(&request.namespace, &request.root) };
        let mut view = View::new(after(request.timeout), self.settings.lease_duration);
        let mut told: Option<String> = None;
        let mut seen = contender.look().await?;
        loop {
            let step;
            (view, step) = contend(view, seen, Instant::now(), contender.pauses());
            seen = match step {
                Step::Hold(lease, sent) => return Ok(contender.hold(lease, sent)),
                Step::GiveUp(error) => return Err(error),
                Step::Create => contender.write(None).await?,
                Step::Take(found) => contender.write(Some(&found)).await?,
                Step::Look => contender.look().await?,
                Step::Wait { until, holder } => {
                    if let Some(holder) = holder.filter(|holder| told.as_ref() != Some(&holder.identity)) {
                        progress(&holder);
                        told = Some(holder.identity);
                    }
                    sleep_until(until).await;
                    contender.look().await?
                }
            };
        }
    }
}

/// A run that wants a lock.
struct Contender<'a> {
    cluster: &'a Cluster,
    request: &'a LockRequest,
    target: ResourcePath,
}

impl Contender<'_> {
    /// The pauses of the next step, with jitter.
    fn pauses(&self) -> Pauses {
        let poll = (self.cluster.settings.lease_duration / 60).clamp(Duration::from_millis(20), Duration::from_secs(1));
        Pauses { poll: self.cluster.spread(poll), retry: self.cluster.spread(SHORTEST_RETRY) }
    }

    /// Reads the Lease.
    async fn look(&self) -> Result<Seen, LockError> {
        let found = read_lease(&self.cluster.wire, &self.target, ACQUIRE).await.map_err(LockError::Failed)?;
        Ok(found.map_or(Seen::Absent, Seen::Found))
    }

    /// The Lease to write: a new Lease, or a new term of the one that was found.
    fn term(&self, found: Option<&Lease>) -> Result<Lease, LockError> {
        let wire = &self.cluster.wire;
        let now = wire
            .server_time()
            .ok_or_else(|| LockError::Failed(ClusterError::NoServerTime { server: wire.server().to_owned() }))?;
        Ok(Lease::term(self.request, found, self.cluster.settings.lease_duration, now))
    }

    /// Creates the Lease, or writes a new term into the one that was found. Sends one request.
    async fn write(&self, found: Option<&Lease>) -> Result<Seen, LockError> {
        let wire = &self.cluster.wire;
        let term = self.term(found)?;
        let call = match found {
            None => Call::post(ResourcePath::leases(&self.request.namespace), term.body()),
            Some(_) => Call::put(self.target.clone(), term.body()),
        };
        let sent = Moment::now();
        let limit = (self.cluster.settings.lease_duration / 4).min(self.cluster.settings.request_timeout);
        match wire.attempt(&call.permitted(Permit::Lease), limit).await {
            Ok(answer) if answer.status.is_success() => match answer.json() {
                Some(body) => Ok(Seen::Stored(Lease::new(body), sent)),
                None => Err(LockError::Failed(wire.refused(ACQUIRE, &answer))),
            },
            Ok(answer) if answer.status == StatusCode::CONFLICT && found.is_none() => Ok(Seen::NotCreated),
            Ok(answer) if answer.status == StatusCode::CONFLICT => Ok(Seen::NotTaken),
            // The Lease was deleted between the read and the write.
            Ok(answer) if answer.is_missing_object() && found.is_some() => Ok(Seen::NotTaken),
            Ok(answer) if answer.is_transient() => {
                let asked = answer.retry_after.unwrap_or_default();
                Ok(Seen::Unanswered { term, sent, asked, failure: wire.refused(ACQUIRE, &answer) })
            }
            Ok(answer) => Err(LockError::Failed(wire.refused(ACQUIRE, &answer))),
            Err(error @ SendError::NoAnswer(_)) => {
                Ok(Seen::Unanswered { term, sent, asked: Duration::ZERO, failure: wire.failed(ACQUIRE, error) })
            }
            Err(error) => Err(LockError::Failed(wire.failed(ACQUIRE, error))),
        }
    }

    /// Holds a Lease that this run wrote with a request that left at `sent`.
    fn hold(&self, lease: Lease, sent: Moment) -> HeldLock {
        let Cluster { wire, settings, .. } = self.cluster;
        HeldLock::start(wire.clone(), self.target.clone(), settings.lease_duration, lease, sent)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fake::{Fake, hold, lock_request, root};
    use super::super::super::settings::ClusterSettings;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    const SECOND: Duration = Duration::from_secs(1);
    const PAUSES: Pauses = Pauses { poll: SECOND, retry: Duration::from_millis(200) };

    /// A Lease of 60 seconds. Each version stands for one write by its holder.
    fn lease(holder: &str, version: u64) -> Lease {
        let renewed = format!("2031-05-06T07:00:{:02}.000000Z", version % 60);
        Lease::new(json!({"metadata": {"name": "x", "uid": "u", "resourceVersion": version.to_string()},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 60, "leaseTransitions": 4,
                "acquireTime": "2031-05-06T07:00:00.000000Z", "renewTime": renewed}}))
    }

    /// The Lease with another value at this place.
    fn with(lease: &Lease, pointer: &str, value: Value) -> Lease {
        let mut body = lease.body().clone();
        *body.pointer_mut(pointer).unwrap() = value;
        Lease::new(body)
    }

    /// A term that this run wrote into a Lease.
    fn ours(transitions: u64) -> Lease {
        with(&lease("us", 7), "/spec/leaseTransitions", json!(transitions))
    }

    /// A term with which this run wanted to create the Lease.
    fn ours_created() -> Lease {
        with(&ours(1), "/metadata/uid", json!(""))
    }

    fn found(holder: &str, version: u64) -> Seen {
        Seen::Found(lease(holder, version))
    }

    fn unanswered(term: Lease, sent: Instant) -> Seen {
        let failure = ClusterError::NoServerTime { server: "s".into() };
        Seen::Unanswered { term, sent: Moment::at(sent), asked: Duration::ZERO, failure }
    }

    /// A contender that waits for 300 seconds.
    fn view(start: Instant) -> View {
        View::new(start + 300 * SECOND, 60 * SECOND)
    }

    fn letter(step: &Step) -> char {
        match step {
            Step::Hold(..) => 'h',
            Step::Create => 'c',
            Step::Take(_) => 't',
            Step::Look => 'l',
            Step::Wait { .. } => 'w',
            Step::GiveUp(LockError::Held(_)) => 'g',
            Step::GiveUp(LockError::Failed(_)) => 'f',
        }
    }

    /// The steps of a contender, one letter each. It makes each observation at its second.
    fn steps(start: Instant, script: Vec<(u64, Seen)>) -> String {
        let mut view = view(start);
        let mut letters = String::new();
        for (second, seen) in script {
            let step;
            (view, step) = contend(view, seen, start + Duration::from_secs(second), PAUSES);
            letters.push(letter(&step));
        }
        letters
    }

    fn check(course: &str, script: impl FnOnce(Instant) -> Vec<(u64, Seen)>, expected: &str) {
        let start = Instant::now();
        assert_eq!(steps(start, script(start)), expected, "{course}");
    }

    #[test]
    fn l1_a_holder_that_was_seen_unchanged_for_its_whole_duration_is_taken_over() {
        let other = |version| found("other", version);
        check("no Lease", |_| vec![(0, Seen::Absent)], "c");
        check("no holder", |_| vec![(0, found("", 1))], "t");
        check("a dead holder", |_| vec![(0, other(1)), (59, other(1)), (60, other(1))], "wwt");
        let in_time = |_| vec![(0, other(1)), (59, other(2)), (60, other(2)), (118, other(2)), (119, other(2))];
        check("a holder that renews just in time", in_time, "wwwwt");
        check("a holder that releases the lock", |_| vec![(0, other(1)), (5, Seen::Absent)], "wc");
        let others = |_| vec![(0, found("a", 1)), (59, found("b", 1)), (60, found("b", 1)), (119, found("b", 1))];
        check("a second run takes over", others, "wwwt");
        let back = |_| vec![(0, other(1)), (30, Seen::Absent), (59, other(1)), (60, other(1)), (119, other(1))];
        check("a Lease that was away for a moment", back, "wcwwt");
        let again = with(&lease("other", 1), "/metadata/uid", json!("v"));
        let recreated = |_| vec![(0, other(1)), (59, Seen::Found(again.clone())), (60, Seen::Found(again))];
        check("a Lease with another uid", recreated, "www");
        // The same time of renewal does not mean that nobody wrote.
        let written = with(&lease("other", 1), "/metadata/resourceVersion", json!("2"));
        check("a Lease that anyone wrote", |_| vec![(0, other(1)), (60, Seen::Found(written))], "ww");
    }

    #[test]
    fn l1_a_run_that_was_slower_starts_its_watch_again() {
        let other = |version| found("other", version);
        let created = |_| vec![(0, Seen::Absent), (0, Seen::NotCreated), (1, other(1)), (60, other(1)), (61, other(1))];
        check("a second run creates the Lease", created, "cwwwt");
        let taken = |_| vec![(0, other(1)), (60, other(1)), (60, Seen::NotTaken), (60, other(2)), (61, other(2))];
        check("a second run takes over at the same moment", taken, "wtlww");
        let same = |_| vec![(0, other(1)), (60, other(1)), (60, Seen::NotTaken), (60, other(1)), (120, other(1))];
        check("a refused write proves that somebody else wrote", same, "wtlwt");
        let deleted = |_| vec![(0, other(1)), (60, other(1)), (60, Seen::NotTaken), (60, Seen::Absent)];
        check("the Lease is deleted at the same moment", deleted, "wtlc");
    }

    #[test]
    fn l5_a_contender_gives_up_at_the_end_of_its_wait() {
        let other = |version| found("other", version);
        check("a living holder", |_| vec![(0, other(1)), (299, other(2)), (300, other(3))], "wwg");
        check("the holder dies at the end of the wait", |_| vec![(240, other(1)), (300, other(1))], "wt");
        check("the lock is free at the end of the wait", |_| vec![(300, other(1)), (300, Seen::Absent)], "gc");
    }

    #[test]
    fn l1_a_write_without_an_answer_is_ours_only_if_it_took_effect() {
        let landed = |start| vec![(0, Seen::Absent), (0, unanswered(ours_created(), start)), (1, Seen::Found(ours(1)))];
        check("a create that took effect", landed, "cwh");
        let lost = |start| vec![(0, Seen::Absent), (0, unanswered(ours_created(), start)), (1, Seen::Absent)];
        check("a create that was lost", lost, "cwc");
        let beaten =
            |start| vec![(0, unanswered(ours_created(), start)), (1, found("other", 1)), (61, found("other", 1))];
        check("a create that was lost, and a second run was quicker", beaten, "wwt");
        let landed = |start| vec![(0, found("", 1)), (0, unanswered(ours(5), start)), (1, Seen::Found(ours(5)))];
        check("a takeover that took effect", landed, "twh");
        let lost = |start| vec![(0, found("", 1)), (0, unanswered(ours(5), start)), (1, found("", 1))];
        check("a takeover that was lost", lost, "twt");
        // A write may arrive long after the contender read the Lease again.
        let late = |start| vec![(0, unanswered(ours(5), start)), (1, found("other", 1)), (40, Seen::Found(ours(5)))];
        check("a takeover that took effect late", late, "wwh");
        let earlier = |start| vec![(0, unanswered(ours(5), start)), (1, Seen::Found(ours(4)))];
        check("an earlier term of a run of the same name", earlier, "ww");
        let again = with(&ours(5), "/metadata/uid", json!("v"));
        let recreated = |start| vec![(0, unanswered(ours(5), start)), (1, Seen::Found(again))];
        check("the same term in a Lease with another uid", recreated, "ww");
    }

    #[test]
    fn l3_a_lock_counts_from_the_moment_at_which_its_write_left() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let held = |view: View, seen| match contend(view, seen, at(9), PAUSES).1 {
            Step::Hold(_, sent) => sent.instant(),
            step => panic!("{step:?}"),
        };
        assert_eq!(held(view(start), Seen::Stored(ours(1), Moment::at(at(3)))), at(3));
        let (view, _) = contend(view(start), unanswered(ours(5), at(4)), at(5), PAUSES);
        // The second write has the same term as the first: any of them may have taken effect.
        let (view, _) = contend(view, unanswered(ours(5), at(6)), at(7), PAUSES);
        let (view, _) = contend(view, unanswered(ours(6), at(7)), at(8), PAUSES);
        assert_eq!(held(view.clone(), Seen::Found(ours(5))), at(4));
        assert_eq!(held(view, Seen::Found(ours(6))), at(7));
    }

    #[test]
    fn a_contender_gives_up_after_too_many_writes_without_an_answer() {
        let writes = |start| (0..6).map(|second| (second, unanswered(ours(second), start))).collect();
        check("six writes", writes, "wwwwwf");
    }

    #[test]
    fn l1_no_clock_but_the_contenders_own_matters() {
        for hours in -10..=10_i64 {
            // The clock of the holder, which wrote these times, and the clock of the server that stored them.
            let time: jiff::Timestamp = "2031-05-06T07:00:00Z".parse().unwrap();
            let time = json!((time + jiff::SignedDuration::from_hours(hours)).to_string());
            let skewed = with(&with(&lease("other", 1), "/spec/renewTime", time.clone()), "/spec/acquireTime", time);
            let script = |_| [0, 59, 60].map(|second| (second, Seen::Found(skewed.clone()))).into();
            check(&format!("{hours} h"), script, "wwt");
        }
    }

    #[test]
    fn x15_a_malformed_lease_has_the_contenders_own_duration() {
        for seconds in [json!(null), json!(0), json!(-1), json!("long"), json!(u64::MAX), json!(1.5), json!([60])] {
            let odd = with(&lease("other", 1), "/spec/leaseDurationSeconds", seconds.clone());
            let script = |_| [0, 59, 60].map(|second| (second, Seen::Found(odd.clone()))).into();
            check(&seconds.to_string(), script, "wwt");
        }
        for (field, value) in [("renewTime", json!("never")), ("renewTime", json!(7)), ("acquireTime", json!(null))] {
            let odd = with(&lease("other", 1), &format!("/spec/{field}"), value);
            let script = |_| [0, 59, 60].map(|second| (second, Seen::Found(odd.clone()))).into();
            check(field, script, "wwt");
        }
        for body in [json!({}), json!(null), json!({"spec": null}), json!({"spec": {"holderIdentity": null}})] {
            check(&body.to_string(), |_| vec![(0, Seen::Found(Lease::new(body.clone())))], "t");
        }
    }

    #[test]
    fn a_wait_has_the_length_of_its_cause() {
        let start = Instant::now();
        let until = |seen, second: u64, wait: u64| {
            let view = View::new(start + Duration::from_secs(wait), 60 * SECOND);
            let (view, _) = contend(view, found("other", 1), start, PAUSES);
            match contend(view, seen, start + Duration::from_secs(second), PAUSES).1 {
                Step::Wait { until, holder } => (until - start, holder.map(|holder| holder.identity)),
                step => panic!("{step:?}"),
            }
        };
        let half = Duration::from_millis(500);
        let other = Some("other".to_owned());
        assert_eq!(until(found("other", 1), 7, 300), (8 * SECOND, other.clone()));
        assert_eq!(until(found("other", 2), 59, 300), (60 * SECOND, other.clone()));
        assert_eq!(until(Seen::NotCreated, 7, 300), (8 * SECOND, None));
        let asks = |term, asked| {
            let failure = ClusterError::NoServerTime { server: "s".into() };
            Seen::Unanswered { term, sent: Moment::at(start), asked, failure }
        };
        assert_eq!(until(asks(ours(5), Duration::ZERO), 7, 300), (7 * SECOND + PAUSES.retry, None));
        assert_eq!(until(asks(ours_created(), Duration::ZERO), 7, 300), (8 * SECOND + PAUSES.retry, None));
        assert_eq!(until(asks(ours(5), 3 * SECOND), 7, 300), (10 * SECOND, None));
        assert_eq!(until(asks(ours(5), 3600 * SECOND), 7, 300), (67 * SECOND, None));
        // Neither the death of the holder nor the end of the wait is missed by a poll.
        let long = Pauses { poll: 100 * SECOND, ..PAUSES };
        for (wait, expected) in [(300 * SECOND, 60 * SECOND), (20 * SECOND, 20 * SECOND), (half, half)] {
            let (_, step) = contend(View::new(start + wait, 30 * SECOND), found("other", 1), start, long);
            assert!(matches!(step, Step::Wait { until, .. } if until == start + expected), "{step:?}");
        }
    }

    /// An observation of the property tests: no Lease, or a Lease of a holder, uid, version and duration.
    fn observation() -> impl Strategy<Value = Option<(u8, u8, u8, u64)>> {
        prop::option::weighted(0.95, (0_u8..2, 0_u8..2, 0_u8..2, prop::sample::select(vec![20_u64, 60])))
    }

    proptest! {
        /// The rule, told in another way: a contender takes over only if an uninterrupted row of equal observations,
        /// this one included, is at least as long as the Lease's duration.
        #[test]
        fn l1_a_lease_that_changed_within_its_duration_is_never_taken_over(
            looks in prop::collection::vec((1_u64..30, observation()), 1..40),
        ) {
            let start = Instant::now();
            let mut view = View::new(start + 100_000 * SECOND, 60 * SECOND);
            let mut second = 0;
            let mut row: Vec<u64> = Vec::new();
            let mut last = None;
            for (pause, look) in looks {
                second += pause;
                if look != last {
                    row.clear();
                }
                row.push(second);
                last = look;
                let seen = look.map_or(Seen::Absent, |(holder, uid, version, duration)| {
                    let lease = lease(&format!("run {holder}"), version.into());
                    let lease = with(&lease, "/metadata/uid", json!(format!("uid {uid}")));
                    // A holder that states another duration has written the Lease.
                    let lease = with(&lease, "/metadata/resourceVersion", json!(format!("{version} {duration}")));
                    Seen::Found(with(&lease, "/spec/leaseDurationSeconds", json!(duration)))
                });
                let step;
                let now = start + Duration::from_secs(second);
                (view, step) = contend(view, seen, now, PAUSES);
                let is_dead = look.is_some_and(|(.., duration)| second - row[0] >= duration);
                prop_assert_eq!(matches!(step, Step::Take(_)), is_dead, "{:?} {:?}", row, look);
                match step {
                    // The write of this test fails.
                    Step::Take(_) => row.clear(),
                    Step::Wait { until, .. } => prop_assert!(until > now && until <= now + PAUSES.poll),
                    _ => {}
                }
                if row.is_empty() {
                    last = None;
                }
            }
        }

        /// Two clocks that differ by any time lead to the same steps.
        #[test]
        fn l1_the_times_in_a_lease_do_not_matter(
            seconds in prop::collection::vec(1_u64..70, 1..10),
            times in prop::collection::vec(-36_000_i64..36_000, 2),
        ) {
            let course = |offset: i64| {
                let time: jiff::Timestamp = "2031-05-06T07:00:00Z".parse().unwrap();
                let time = json!((time + jiff::SignedDuration::from_secs(offset)).to_string());
                let lease = with(&lease("other", 1), "/spec/renewTime", time);
                let mut second = 0;
                let looks = seconds.iter().map(|pause| {
                    second += pause;
                    (second, Seen::Found(lease.clone()))
                });
                steps(Instant::now(), looks.collect())
            };
            prop_assert_eq!(course(times[0]), course(times[1]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn runs_with_different_seeds_poll_at_different_moments() {
        let request = lock_request("x", Duration::ZERO);
        let polls = |jitter| {
            let cluster = Fake::new().cluster_with(ClusterSettings { jitter, ..ClusterSettings::default() });
            let target = lock_target("kube-state", &root());
            Contender { cluster: &cluster, request: &request, target }.pauses().poll
        };
        let different: BTreeSet<Duration> = (0..20).map(|seed| polls(Some(seed))).collect();
        assert!(different.len() > 15, "{different:?}");
        assert_eq!(polls(None), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_servers_time_no_lease_is_written() {
        let fake = Fake::new();
        let lock = hold(&fake.cluster(), "us").await;
        assert!(lock.wire().server_time().is_some());
        // Another connection that received no answer yet does not know the time.
        let request = lock_request("x", Duration::ZERO);
        let cluster = fake.cluster();
        let contender = Contender { cluster: &cluster, request: &request, target: lock_target("kube-state", &root()) };
        assert!(matches!(contender.term(None), Err(LockError::Failed(ClusterError::NoServerTime { .. }))));
    }
}

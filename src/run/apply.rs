//! The first half of carrying out a plan: applies the desired objects wave by wave, and waits until they are ready.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use crate::cluster::wait::{Awaited, Until};
use crate::object::ident::{GroupKind, ObjectKey};
use crate::object::kinds::{Kind, defined_kind};
use crate::object::live::Live;
use crate::object::order::Wave;
use crate::object::readiness::{Readiness, is_waited_for, readiness, removes_itself};
use crate::object::refusal::Refusal;
use crate::plan::change::Change;
use crate::plan::decision::{Action, Disposition};
use crate::plan::outcome::{Detail, ObjectOutcome, Verdict};
use crate::plan::unchecked::{Brought, awaited};
use crate::plan::unready;
use crate::run::context::{RunContext, Stop};
use crate::run::events::Event;
use crate::run::waits::{End, Waits};
use crate::run::write::{Slot, Written, Wrote, write};
use crate::run::write_error::WriteError;

/// The longest time that the run waits until the server notices an earlier write of this run. During this time, the run
/// resends objects that the server still refuses.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Applies every desired object in scope, in waves, and waits until they are ready.
///
/// Each wave is sent as a whole, and then waited for as a whole. If one object fails, independent objects still finish,
/// and objects that need the failed one are skipped.
///
/// # Errors
///
/// The run is interrupted or loses the lock. The outcomes so far are in `outcomes`.
pub(crate) async fn all(work: RunContext<'_>, outcomes: &mut Vec<ObjectOutcome>) -> Result<(), Stop> {
    let ended = carry_out_waves(work, outcomes).await;
    // The answers of a wave come in any order.
    outcomes.sort_by(|a, b| (Wave::of(&a.key), &a.key).cmp(&(Wave::of(&b.key), &b.key)));
    ended
}

async fn carry_out_waves(work: RunContext<'_>, outcomes: &mut Vec<ObjectOutcome>) -> Result<(), Stop> {
    let early = awaited_webhooks(work);
    let wave_of = |key: &ObjectKey| if early.contains(key) { Wave::Limits } else { Wave::of(key) };
    for wave in Wave::ALL {
        let changes = work.plan.changes.iter().filter(|change| wave_of(&change.ident.key) == wave).collect();
        let failed = Failed::of(outcomes, work);
        let (found, stop) = carry_out(work, &failed, changes).await;
        outcomes.extend(found);
        match stop {
            Some(stop) => return Err(stop),
            None if work.interrupt.is_requested() => return Err(Stop::Interrupted),
            None => {}
        }
    }
    Ok(())
}

/// The webhooks and policies that have to change before the server accepts other objects of the same run.
fn awaited_webhooks(work: RunContext<'_>) -> BTreeSet<ObjectKey> {
    let awaited: BTreeSet<&ObjectKey> =
        work.plan.changes.iter().filter_map(|change| change.decision.waits_for()).collect();
    let late = work.plan.changes.iter().map(|change| &change.ident.key).filter(|key| Wave::of(key) == Wave::Webhooks);
    late.filter(|key| awaited.contains(key)).cloned().collect()
}

/// The next attempt to write one object.
struct Sending<'a> {
    change: &'a Change,
    place: Slot,
    /// The time at which the server first refused the object because it had not yet noticed another write of this run.
    refused: Option<Instant>,
}

/// The result of one attempt.
#[expect(clippy::large_enum_variant, reason = "nearly every attempt is done, and none is kept")]
enum Sent<'a> {
    Done(ObjectOutcome),
    Waits(Box<(Awaited, Then<'a>)>),
    Stopped(Stop),
}

impl Sent<'_> {
    /// Tells the outcome of the attempt, if there is one already.
    fn tell(&self, work: RunContext<'_>) {
        let outcome = match self {
            Self::Done(outcome) => outcome,
            Self::Waits(waiting) => match &waiting.1 {
                Then::Done(outcome) => outcome,
                Then::Send(_) => return,
            },
            Self::Stopped(_) => return,
        };
        (work.events)(Event::Applied(outcome));
    }
}

/// The next step after a wait that succeeds.
enum Then<'a> {
    /// The object is done, with this outcome.
    Done(ObjectOutcome),
    /// The object is sent again: its place is free now, or the server had time to notice another write.
    Send(Sending<'a>),
}

/// Sends a wave, and then waits for it. An object that is waited for takes no request slot, so the other objects of the
/// wave that it depends on are sent too.
async fn carry_out(work: RunContext<'_>, failed: &Failed, changes: Vec<&Change>) -> (Vec<ObjectOutcome>, Option<Stop>) {
    let mut sending: Vec<Sending<'_>> =
        changes.into_iter().map(|change| Sending { change, place: Slot::AsPlanned, refused: None }).collect();
    let brought = &failed.spared(work);
    let mut outcomes = Vec::new();
    let mut waits = Waits::new(work);
    let mut stop = None;
    loop {
        let sent: Vec<Sent<'_>> = stream::iter(sending)
            .map(|sending| async move {
                let sent = send(work, failed, brought, sending).await;
                sent.tell(work);
                sent
            })
            .buffer_unordered(work.cluster.settings().concurrency)
            .collect()
            .await;
        for sent in sent {
            match sent {
                Sent::Done(outcome) => outcomes.push(outcome),
                Sent::Waits(waiting) => waits.add(waiting.0, waiting.1),
                Sent::Stopped(why) => stop = stop.max(Some(why)),
            }
        }
        if stop.is_some() || waits.is_empty() {
            break;
        }
        let Ok(ended) = waits.next().await else {
            stop = Some(Stop::Interrupted);
            break;
        };
        sending = Vec::new();
        for (then, end) in ended {
            match (then, end) {
                (Then::Done(outcome), end) => {
                    let outcome = after_wait(work, outcome, end);
                    (work.events)(Event::Waited(&outcome));
                    outcomes.push(outcome);
                }
                (Then::Send(again), End::Over) => sending.push(again),
                (Then::Send(again), end) => {
                    let outcome = held(work, again.change, end);
                    (work.events)(Event::Applied(&outcome));
                    outcomes.push(outcome);
                }
            }
        }
    }
    outcomes.extend(waits.into_rest().filter_map(|then| match then {
        Then::Done(ObjectOutcome { verdict: Verdict::Unchanged, .. }) | Then::Send(_) => None,
        Then::Done(outcome) => Some(outcome),
    }));
    (outcomes, stop)
}

/// The outcome of an object that was sent or left as it is, after the wait for it.
fn after_wait(work: RunContext<'_>, outcome: ObjectOutcome, end: End) -> ObjectOutcome {
    let why = match end {
        End::Over => return outcome,
        End::Failed(reason) => reason,
        End::TimedOut(reason) => {
            format!("not ready after {} s: {reason}", work.cluster.settings().readiness_timeout.as_secs())
        }
    };
    let (verdict, message) = unready::judged(work.plan, &outcome, &why);
    let message = work.redacted(&outcome.key, &message);
    ObjectOutcome { verdict, detail: Some(Detail::Message(message)), ..outcome }
}

/// The outcome of an object that cannot be sent, because an object that is being deleted has its place.
fn held(work: RunContext<'_>, change: &Change, end: End) -> ObjectOutcome {
    let why = match end {
        End::Over => String::new(),
        End::Failed(reason) | End::TimedOut(reason) => reason,
    };
    let why = match change.action() {
        Action::Replace => format!("it cannot be replaced: it is being deleted and {why}"),
        _ => format!("it is being deleted and {why}: run again when it is gone"),
    };
    outcome(work, change, Verdict::Failed, Some(&why))
}

/// The outcome of one object. The message contains none of the object's secrets.
pub(crate) fn outcome(work: RunContext<'_>, change: &Change, verdict: Verdict, message: Option<&str>) -> ObjectOutcome {
    let key = change.ident.key.clone();
    let detail = message.map(|message| Detail::Message(work.redacted(&key, message)));
    ObjectOutcome { key, project: change.project.clone(), verdict, detail }
}

/// The outcome of an object that the plan leaves as it is.
pub(crate) fn planned(change: &Change, verdict: Verdict) -> ObjectOutcome {
    let detail = Some(Detail::Planned(Box::new(change.decision.clone())));
    ObjectOutcome { key: change.ident.key.clone(), project: change.project.clone(), verdict, detail }
}

/// The objects that failed, with the namespaces and kinds among them that later objects need.
#[derive(Default)]
struct Failed {
    keys: BTreeSet<ObjectKey>,
    namespaces: BTreeSet<String>,
    kinds: BTreeSet<GroupKind>,
}

impl Failed {
    fn of(outcomes: &[ObjectOutcome], work: RunContext<'_>) -> Self {
        let mut failed = Self::default();
        let failing = outcomes.iter().filter(|outcome| outcome.verdict.ends_the_run());
        for ObjectOutcome { key, .. } in failing {
            failed.keys.insert(key.clone());
            if key.is_namespace() {
                failed.namespaces.insert(key.name.clone());
            } else if key.is_crd()
                && let Some(kind) = work.desired.get(key).and_then(|manifest| defined_kind(&manifest.body))
            {
                failed.kinds.insert(kind.group_kind);
            }
        }
        failed
    }

    /// The writes of the run, without those that failed.
    fn spared<'a>(&self, work: RunContext<'a>) -> Brought<'a> {
        let mut brought = Brought::of(work.desired, work.observed, &work.request.root);
        self.keys.iter().for_each(|key| brought.forget(key));
        brought
    }

    /// The reason to skip an object: its namespace or the CRD of its kind failed.
    fn needed_by(&self, key: &ObjectKey) -> Option<String> {
        if let Some(namespace) = key.namespace.as_ref().filter(|namespace| self.namespaces.contains(*namespace)) {
            return Some(format!("its namespace {namespace} failed"));
        }
        self.kinds.contains(&key.group_kind()).then(|| "the definition of its kind failed".to_owned())
    }
}

async fn send<'a>(work: RunContext<'_>, failed: &Failed, brought: &Brought<'_>, sending: Sending<'a>) -> Sent<'a> {
    let Sending { change, place, refused } = sending;
    let key = &change.ident.key;
    let done = |verdict, message: Option<&str>| Sent::Done(outcome(work, change, verdict, message));
    if work.interrupt.is_requested() {
        return Sent::Stopped(Stop::Interrupted);
    }
    if let Some(why) = failed.needed_by(key) {
        return done(Verdict::Skipped, Some(&why));
    }
    match change.action() {
        Action::Blocked | Action::Keep => {
            let verdict = match change.disposition() {
                Some(Disposition::Blocked) => Verdict::Blocked,
                Some(Disposition::Kept) => Verdict::Kept,
                _ => Verdict::Failed,
            };
            return Sent::Done(planned(change, verdict));
        }
        Action::Unchanged => {
            let outcome = outcome(work, change, Verdict::Unchanged, None);
            return until_ready(work, work.observed.live(key), outcome);
        }
        _ => {}
    }
    match write(work, change, place).await {
        Ok(Wrote::Written(Written { verdict, message, live })) => {
            until_ready(work, Some(&live), outcome(work, change, verdict, message.as_deref()))
        }
        Ok(Wrote::Occupied { kind, uid, then }) => {
            let awaited = Awaited { kind, key: key.clone(), until: Until::Gone { uid } };
            Sent::Waits(Box::new((awaited, Then::Send(Sending { change, place: then, refused }))))
        }
        Err(WriteError::LockLost) => Sent::Stopped(Stop::LockLost),
        Err(WriteError::Stopped) => Sent::Stopped(Stop::Interrupted),
        Err(WriteError::Failed(why)) => done(Verdict::Failed, Some(&why)),
        Err(WriteError::Protected(protection)) => {
            let detail = Some(Detail::NowProtected(protection));
            Sent::Done(ObjectOutcome { detail, ..outcome(work, change, Verdict::Failed, None) })
        }
        Err(WriteError::MovedOn) => done(Verdict::Failed, Some("it changed after the plan was made: run again")),
        Err(WriteError::Refused(refusal)) => {
            let first = refused.unwrap_or_else(Instant::now);
            match waits_for(work, brought, &refusal, key).filter(|_| first.elapsed() < PATIENCE) {
                Some(kind) => {
                    let awaited = Awaited { kind, key: key.clone(), until: Until::NextLook };
                    Sent::Waits(Box::new((awaited, Then::Send(Sending { change, place, refused: Some(first) }))))
                }
                None => done(Verdict::Failed, Some(&refusal.to_string())),
            }
        }
    }
}

/// The object's kind, if the server refused the object because it has not yet noticed another write of this run.
fn waits_for(work: RunContext<'_>, brought: &Brought<'_>, refusal: &Refusal, key: &ObjectKey) -> Option<Kind> {
    let manifest = work.desired.get(key)?;
    awaited(refusal, key, &manifest.body, brought)?;
    work.observed.kinds.get(&key.group_kind()).cloned()
}

/// The next step for an object that is as desired. The run waits for it if it may not be ready yet.
fn until_ready<'a>(work: RunContext<'_>, live: Option<&Live>, outcome: ObjectOutcome) -> Sent<'a> {
    let key = &outcome.key;
    if work.cluster.settings().readiness_timeout.is_zero() {
        return Sent::Done(outcome);
    }
    let Some(live) = live.filter(|live| is_waited_for(&key.group_kind()) && !is_known_ready(&outcome, live)) else {
        return Sent::Done(outcome);
    };
    let Some(kind) = work.observed.kinds.get(&key.group_kind()) else { return Sent::Done(outcome) };
    let until = if removes_itself(live) { Until::ReadyOrGone } else { Until::Ready };
    let awaited = Awaited { kind: kind.clone(), key: key.clone(), until };
    Sent::Waits(Box::new((awaited, Then::Done(outcome))))
}

/// Returns `true` if the object needs no further check. A changed object needs one, because the server may answer
/// before the controller has seen the change.
fn is_known_ready(outcome: &ObjectOutcome, live: &Live) -> bool {
    outcome.verdict == Verdict::Unchanged && readiness(live) == Readiness::Ready
}

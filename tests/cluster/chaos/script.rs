//! A proxy that disturbs a run's requests. The current act decides which requests, and how.

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use http::Method;
use support::controlplane::{ControlPlane, Entry, Fault, Gate, Recorder};

use super::random::Random;

/// The way in which requests are currently disturbed.
enum Act {
    /// No request is disturbed.
    Calm,
    /// After `left` more changes, the next change is held at the gate. All other requests pass.
    Ambush { left: usize, gate: Gate, held: Option<usize> },
    /// Connections break at random.
    Storm(Random),
}

struct State {
    act: Act,
    /// The time of the first request for a lock in this act.
    locking: Option<Instant>,
    faults: usize,
}

/// A proxy whose faults change from act to act.
pub struct Script {
    pub recorder: Recorder<'static>,
    state: Arc<Mutex<State>>,
}

impl Script {
    /// Starts the proxy, without faults.
    pub fn start(plane: &'static ControlPlane) -> Self {
        let state = Arc::new(Mutex::new(State { act: Act::Calm, locking: None, faults: 0 }));
        let decided = Arc::clone(&state);
        let recorder = Recorder::with_faults(plane, move |entry| locked(&decided).fault(entry));
        Self { recorder, state }
    }

    /// Ends all faults from now on.
    pub fn calm(&self) {
        self.begin(Act::Calm);
    }

    /// Holds the change after the next `after` changes at the returned gate.
    pub fn ambush(&self, after: usize) -> Gate {
        let gate = Gate::closed();
        self.begin(Act::Ambush { left: after, gate: gate.clone(), held: None });
        gate
    }

    /// Breaks connections at random from now on.
    pub fn storm(&self, dice: Random) {
        self.begin(Act::Storm(dice));
    }

    fn begin(&self, act: Act) {
        let mut state = locked(&self.state);
        state.act = act;
        state.locking = None;
    }

    /// Returns the time at which a run of this act first asked for the lock.
    pub fn locking(&self) -> Option<Instant> {
        locked(&self.state).locking
    }

    /// Returns the number of requests harmed so far.
    pub fn faults(&self) -> usize {
        locked(&self.state).faults
    }

    /// Returns the number of changes so far, without those of locks.
    pub fn changes(&self) -> usize {
        self.recorder.journal().iter().filter(|entry| is_change(entry)).count()
    }

    /// Waits until the request that was held at the gate has an answer, of any kind, and returns the request.
    pub fn landed(&self) -> Option<Entry> {
        let Act::Ambush { held: Some(held), .. } = locked(&self.state).act else { return None };
        for _ in 0..400 {
            let entry = self.recorder.journal().swap_remove(held);
            if entry.status.is_some() {
                return Some(entry);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("the request that was let through is not answered: {:?}", self.recorder.journal()[held]);
    }
}

impl State {
    fn fault(&mut self, entry: &Entry) -> Option<Fault> {
        let fault = self.decide(entry);
        self.faults += usize::from(fault.is_some());
        fault
    }

    fn decide(&mut self, entry: &Entry) -> Option<Fault> {
        if is_lease(entry) && entry.persists() && entry.method != Method::DELETE {
            self.locking.get_or_insert_with(Instant::now);
        }
        match &mut self.act {
            Act::Calm => None,
            Act::Ambush { left, gate, held } => {
                if !is_change(entry) || held.is_some() {
                    return None;
                }
                if *left > 0 {
                    *left -= 1;
                    return None;
                }
                *held = Some(entry.sequence);
                Some(Fault::Hold(gate.clone()))
            }
            Act::Storm(dice) => {
                let chances = if is_change(entry) { 15 } else { 3 };
                if !dice.percent(chances) {
                    return None;
                }
                Some(if dice.percent(50) { Fault::Cut } else { Fault::DropAnswer })
            }
        }
    }
}

/// Returns `true` if a request changes anything except a lock.
pub fn is_change(entry: &Entry) -> bool {
    entry.persists() && !is_lease(entry)
}

/// Returns `true` if a request was the last one of a run that reached its end: it wrote the state as finalized.
pub fn is_finalizing(entry: &Entry) -> bool {
    let body: Option<serde_json::Value> = serde_json::from_slice(&entry.body).ok();
    let data = body
        .and_then(|body| base64::engine::general_purpose::STANDARD.decode(body.pointer("/data/state")?.as_str()?).ok());
    let mut text = String::new();
    let state = data.and_then(|data| flate2::read::GzDecoder::new(data.as_slice()).read_to_string(&mut text).ok());
    let is_written = entry.status.is_some_and(|status| status.is_success());
    is_written && state.is_some() && text.contains(r#""finalized":true"#)
}

/// Returns `true` if a request is about a lock.
pub fn is_lease(entry: &Entry) -> bool {
    entry.path().starts_with("/apis/coordination.k8s.io/") && entry.path().contains("/leases")
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

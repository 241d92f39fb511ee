//! How the state changes: what a run begins with, records before it acts, and finalizes.
//!
//! **Invariant (superset):** what is recorded before the first mutation contains everything recorded, everything an
//! unsettled run meant, everything found live with our mark, and everything this run means to own.
//!
//! **Invariant:** a run that did not start settled drops no entry, nor does one that leaves a request in flight; and what
//! that one leaves is not settled.

use std::collections::{BTreeMap, BTreeSet};

use super::codec::{self, DIGEST_ANNOTATION, LEDGER_ANNOTATION, ROOT_ANNOTATION, RUN_ANNOTATION, StateError};
use super::payload::{Entries, Payload, Version};
use crate::object::ident::{Ident, ObjectKey};
use crate::object::mark::Root;
use crate::project::path::ProjectPath;

/// The commit that a root was last finalized at, as far as the record can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ledger {
    /// Finalized at this commit, and nothing has touched the state since.
    Current(String),
    /// Not known: first run, crash, scoped run, or another tool in between.
    Stale,
}

/// Whether every earlier run is known to have come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Finalized with our own digest, or nothing was ever recorded.
    Settled,
    /// A run died, another tool wrote last, or the record is unsure.
    Unsettled,
}

/// The state that a run begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prior {
    /// Everything recorded, an unfinished run's intent included.
    pub entries: Entries,
    /// Whether earlier runs are settled.
    pub start: Start,
    /// Where the root stands.
    pub ledger: Ledger,
    /// Whether there is a state at all.
    pub exists: bool,
}

impl Prior {
    /// No state: a first run, unless marked objects are found.
    pub fn absent() -> Self {
        Self { entries: Entries::default(), start: Start::Settled, ledger: Ledger::Stale, exists: false }
    }

    /// A state that is there and cannot be used: what it recorded is not known.
    pub fn unreadable() -> Self {
        Self { entries: Entries::default(), start: Start::Unsettled, ledger: Ledger::Stale, exists: true }
    }

    /// What a payload means that was read from this Secret and, where it is sharded, from its shards.
    pub fn of(payload: Payload, data: &[u8], annotations: &BTreeMap<String, String>) -> Self {
        let Payload { finalized, pending, resources, version: Version::One } = payload;
        let ours = annotations.get(DIGEST_ANNOTATION).is_some_and(|digest| *digest == codec::digest(data));
        let settled = finalized && ours;
        let ledger = match annotations.get(LEDGER_ANNOTATION) {
            Some(commit) if settled && commit != STALE => Ledger::Current(commit.clone()),
            _ => Ledger::Stale,
        };
        let mut entries = resources;
        entries.union(&pending);
        let start = if settled { Start::Settled } else { Start::Unsettled };
        Self { entries, start, ledger, exists: true }
    }

    /// Adds what a sweep found live with our mark.
    ///
    /// # Errors
    ///
    /// Marked objects without any state: it was lost, and taking this for a first run would leak them.
    pub fn sweep(&mut self, found: &[(ProjectPath, Ident)], root: &Root) -> Result<(), StateError> {
        if !self.exists && !found.is_empty() {
            return Err(StateError::Missing { root: root.to_string(), count: found.len() });
        }
        for (project, ident) in found {
            self.entries.insert(project, ident);
        }
        Ok(())
    }

    /// Begins a run that means to own `intent`: the superset that is recorded before anything is changed.
    #[must_use]
    pub fn begin(&self, intent: Entries) -> Pending {
        let mut resources = self.entries.clone();
        resources.union(&intent);
        Pending { resources, intent, start: self.start }
    }
}

/// What a run records before it acts. Consumed by finishing: phase two cannot happen twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    resources: Entries,
    intent: Entries,
    start: Start,
}

/// What a successful run observed and did, as far as the record is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Objects that are gone: a consistent read found nothing, or their kind no longer exists.
    pub gone: BTreeSet<ObjectKey>,
    /// Objects observed to belong to someone else, or explicitly let go.
    pub released: BTreeSet<ObjectKey>,
    /// Objects that now carry the mark of the given project.
    pub placed: BTreeMap<ObjectKey, ProjectPath>,
    /// Whether a request of the run may still take effect: what it would make is then for later runs to look for.
    pub in_flight: bool,
}

impl Pending {
    /// What cleanup may look at: everything recorded.
    pub fn entries(&self) -> &Entries {
        &self.resources
    }

    /// What phase one writes.
    pub fn payload(&self) -> Payload {
        Payload {
            finalized: false,
            pending: self.intent.clone(),
            resources: self.resources.clone(),
            version: Version::One,
        }
    }

    /// What phase two writes. Not finalized where a request is in flight: the next run then begins unsettled, and what
    /// lands during that one or after it is still recorded for the run that follows.
    #[must_use]
    pub fn finish(self, settlement: &Settlement) -> Payload {
        let Self { mut resources, intent, start } = self;
        if start == Start::Settled && !settlement.in_flight {
            resources.retain(|project, key| {
                let elsewhere =
                    settlement.placed.get(key).is_some_and(|now| now != project && intent.contains(now, key));
                !elsewhere && !settlement.gone.contains(key) && !settlement.released.contains(key)
            });
        }
        let finalized = !settlement.in_flight;
        Payload { finalized, pending: Entries::default(), resources, version: Version::One }
    }
}

/// What the ledger's annotation says while it is not known.
pub const STALE: &str = "stale";

/// The annotations to write beside an encoded state.
pub fn annotations(root: &Root, data: &[u8], run: &str, ledger: &Ledger) -> BTreeMap<String, String> {
    let ledger = match ledger {
        Ledger::Current(commit) => commit.as_str(),
        Ledger::Stale => STALE,
    };
    [
        (ROOT_ANNOTATION, root.segment().as_str()),
        (DIGEST_ANNOTATION, codec::digest(data).as_str()),
        (RUN_ANNOTATION, run),
        (LEDGER_ANNOTATION, ledger),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::path::Segment;

    fn ident(name: &str) -> Ident {
        let key = ObjectKey {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: Some("x".into()),
            name: name.into(),
        };
        Ident { key, version: "v1".into() }
    }

    fn entries(list: &[(&str, &str)]) -> Entries {
        let mut entries = Entries::default();
        for (project, name) in list {
            entries.insert(&project.parse().unwrap(), &ident(name));
        }
        entries
    }

    fn root() -> Root {
        Root::new(Segment::new("demo").unwrap())
    }

    fn prior(start: Start, list: &[(&str, &str)]) -> Prior {
        Prior { entries: entries(list), start, ledger: Ledger::Stale, exists: true }
    }

    #[test]
    fn phase_one_records_a_superset_and_repeats_the_intent() {
        let pending = prior(Start::Settled, &[("demo.a", "old")]).begin(entries(&[("demo.b", "new")]));
        let payload = pending.payload();
        assert!(!payload.finalized);
        assert_eq!(payload.resources, entries(&[("demo.a", "old"), ("demo.b", "new")]));
        assert_eq!(*pending.entries(), payload.resources);
        assert_eq!(payload.pending, entries(&[("demo.b", "new")]));
    }

    #[test]
    fn an_unfinished_runs_intent_is_carried() {
        let payload = Payload {
            pending: entries(&[("demo.b", "new")]),
            resources: entries(&[("demo.a", "old")]),
            ..Payload::default()
        };
        let prior = Prior::of(payload.clone(), &codec::encode(&payload), &BTreeMap::new());
        assert_eq!(prior.start, Start::Unsettled);
        assert_eq!(
            prior.begin(Entries::default()).payload().resources,
            entries(&[("demo.a", "old"), ("demo.b", "new")])
        );
    }

    #[test]
    fn finishing_drops_only_what_is_settled() {
        let list = [("demo.a", "gone"), ("demo.a", "moved"), ("demo.a", "kept"), ("demo.a", "foreign")];
        let settlement = Settlement {
            gone: [ident("gone").key].into(),
            released: [ident("foreign").key].into(),
            placed: [(ident("moved").key, "demo.b".parse().unwrap())].into(),
            in_flight: false,
        };
        let finish = |start| prior(start, &list).begin(entries(&[("demo.b", "moved")])).finish(&settlement);
        let settled = finish(Start::Settled);
        assert!(settled.finalized && settled.pending.is_empty());
        assert_eq!(settled.resources, entries(&[("demo.a", "kept"), ("demo.b", "moved")]));
        let mut everything = entries(&list);
        everything.union(&entries(&[("demo.b", "moved")]));
        assert_eq!(finish(Start::Unsettled).resources, everything);
    }

    #[test]
    fn o13_a_run_that_leaves_a_request_in_flight_drops_nothing_and_is_not_finalized() {
        let list = [("demo.a", "gone"), ("demo.a", "moved")];
        let settlement = Settlement {
            gone: [ident("gone").key].into(),
            placed: [(ident("moved").key, "demo.b".parse().unwrap())].into(),
            in_flight: true,
            ..Settlement::default()
        };
        let left = prior(Start::Settled, &list).begin(entries(&[("demo.b", "moved")])).finish(&settlement);
        assert!(!left.finalized && left.pending.is_empty());
        assert_eq!(left.resources, entries(&[("demo.a", "gone"), ("demo.a", "moved"), ("demo.b", "moved")]));
        let data = codec::encode(&left);
        let notes = annotations(&root(), &data, "run", &Ledger::Stale);
        assert_eq!(Prior::of(left, &data, &notes).start, Start::Unsettled);
    }

    #[test]
    fn o15_a_place_that_the_run_did_not_mean_to_own_drops_nothing() {
        let placed = [(ident("x").key, "demo.b".parse().unwrap())].into();
        let pending = prior(Start::Settled, &[("demo.a", "x")]).begin(Entries::default());
        let settled = pending.finish(&Settlement { placed, ..Settlement::default() });
        assert_eq!(settled.resources, entries(&[("demo.a", "x")]));
    }

    #[test]
    fn only_our_own_finalized_digest_is_settled() {
        let check = |finalized, annotate: bool, tamper: bool| {
            let payload = Payload { finalized, resources: entries(&[("demo", "a")]), ..Payload::default() };
            let data = codec::encode(&payload);
            let mut notes = if annotate {
                annotations(&root(), &data, "run", &Ledger::Current("c0".into()))
            } else {
                BTreeMap::new()
            };
            if tamper {
                notes.insert(DIGEST_ANNOTATION.into(), "00".into());
            }
            let prior = Prior::of(payload, &data, &notes);
            (prior.start, prior.ledger)
        };
        assert_eq!(check(true, true, false), (Start::Settled, Ledger::Current("c0".into())));
        for (finalized, annotate, tamper) in [(false, true, false), (true, false, false), (true, true, true)] {
            assert_eq!(check(finalized, annotate, tamper), (Start::Unsettled, Ledger::Stale));
        }
    }

    #[test]
    fn o6_marked_objects_without_a_state_are_no_first_run() {
        let found = [("demo.a".parse().unwrap(), ident("x"))];
        assert!(matches!(Prior::absent().sweep(&found, &root()), Err(StateError::Missing { count: 1, .. })));
        assert!(Prior::absent().sweep(&[], &root()).is_ok());
        let mut known = prior(Start::Settled, &[]);
        known.sweep(&found, &root()).unwrap();
        assert_eq!(known.entries, entries(&[("demo.a", "x")]));
    }
}

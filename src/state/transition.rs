//! The changes of a state during a run: what the run begins with, what it records before it acts, and what it
//! finalizes.
//!
//! **Invariant (superset):** before its first mutation, a run records everything that was recorded, everything that an
//! unfinished run intended to own, everything that is live with our mark, and everything that this run intends to own.
//!
//! **Invariant:** a run that did not start settled drops no entry. A run that leaves a request in flight drops no entry
//! either, and the state that it leaves is not settled.

use std::collections::{BTreeMap, BTreeSet};

use super::annotation::{DIGEST_ANNOTATION, OPEN_ANNOTATION, ROOT_ANNOTATION, RUN_ANNOTATION};
use super::commits::{Commits, Ledger};
use super::error::StateError;
use super::gzip;
use super::payload::{Entries, Payload, Version};
use super::provenance::Provenance;
use super::target;
use crate::object::ident::{Ident, ObjectKey};
use crate::object::mark::Root;
use crate::project::path::ProjectPath;

/// The knowledge about earlier runs at the start of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// All earlier runs are complete: the state is finalized with our own digest, or nothing was ever recorded.
    Settled,
    /// An earlier run may be incomplete: a run died, another tool wrote last, or the state is not reliable.
    Unsettled,
}

/// The state that a run begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prior {
    /// All recorded entries, including the intent of an unfinished run.
    pub entries: Entries,
    /// The knowledge about earlier runs.
    pub start: Start,
    /// The commits of earlier runs. The ledger is current only if the start is settled.
    pub commits: Commits,
    /// The projects in which the last run left something blocked or kept.
    pub open: BTreeSet<ProjectPath>,
    /// The place that the root's tree comes from, if it is known.
    pub source: Option<Provenance>,
    /// The target that the root is applied for, if its tree declares targets.
    pub target: Option<String>,
    /// `true` if there is a state.
    pub exists: bool,
}

impl Prior {
    /// Returns the start without a state. It is the start of a first run, unless marked objects are found. `kept` has
    /// the commits of the review key's Secret, which may remain from an earlier use of the root. If there are any, the
    /// start is unsettled.
    pub fn absent(kept: Option<Commits>) -> Self {
        let start = if kept.is_none() { Start::Settled } else { Start::Unsettled };
        let commits = Commits::merged(None, kept).0.staled();
        Self {
            entries: Entries::default(),
            start,
            commits,
            open: BTreeSet::new(),
            source: None,
            target: None,
            exists: false,
        }
    }

    /// Returns the start with a state that exists and cannot be used. The objects that it recorded are not known.
    pub fn unreadable(annotations: &BTreeMap<String, String>, kept: Option<Commits>) -> Self {
        let commits = Commits::merged(Commits::of(annotations), kept).0.staled();
        let (source, target) = (Provenance::of(annotations), target::recorded(annotations));
        let (start, open) = (Start::Unsettled, BTreeSet::new());
        Self { entries: Entries::default(), start, commits, open, source, target, exists: true }
    }

    /// Returns the start with a payload that was read from this Secret and, if the state is sharded, from its shards.
    ///
    /// `kept` has the commits of the review key's Secret.
    pub fn of(payload: Payload, data: &[u8], annotations: &BTreeMap<String, String>, kept: Option<Commits>) -> Self {
        let Payload { finalized, pending, resources, version: Version::One } = payload;
        let ours = annotations.get(DIGEST_ANNOTATION).is_some_and(|digest| *digest == gzip::digest(data));
        let (commits, agree) = Commits::merged(Commits::of(annotations), kept);
        let settled = finalized && ours && agree;
        let mut entries = resources;
        entries.union(&pending);
        let open = open_projects(annotations.get(OPEN_ANNOTATION), &entries);
        let (start, commits) = if settled { (Start::Settled, commits) } else { (Start::Unsettled, commits.staled()) };
        let (source, target) = (Provenance::of(annotations), target::recorded(annotations));
        Self { entries, start, commits, open, source, target, exists: true }
    }

    /// Adds the objects that a sweep found live with our mark.
    ///
    /// # Errors
    ///
    /// There are marked objects, but no state. The state was lost. If the run took this for a first run, it would leak
    /// the marked objects.
    pub fn sweep(&mut self, found: &[(ProjectPath, Ident)], root: &Root) -> Result<(), StateError> {
        if !self.exists && !found.is_empty() {
            return Err(StateError::Missing { root: root.to_string(), count: found.len() });
        }
        for (project, ident) in found {
            self.entries.insert(project, ident);
        }
        Ok(())
    }

    /// Begins a run that intends to own `intent`. Returns the superset that the run records before it changes anything.
    #[must_use]
    pub fn begin(&self, intent: Entries, run: &RunCommits) -> Pending {
        let mut resources = self.entries.clone();
        resources.union(&intent);
        let mut commits = self.commits.clone();
        if let Some(begun) = &run.begun {
            commits.begun = [begun.clone()].into();
        }
        if let Some(accepted) = &run.accepted {
            commits.ledger = Ledger::Stale([accepted.clone()].into());
            commits.reviewed_from = [accepted.clone()].into();
        }
        let (open, source, target) = (self.open.clone(), self.source.clone(), self.target.clone());
        Pending { resources, intent, start: self.start, commits, open, source, target }
    }

    /// Returns the content to write after an edit of the state itself, such as a rename. `payload` has the entries that
    /// remain. The next run covers the whole root.
    #[must_use]
    pub fn edited(&self, payload: Payload) -> Record {
        let commits = self.commits.clone().staled();
        let (open, source, target) = (self.open.clone(), self.source.clone(), self.target.clone());
        Record { payload, commits, open, source, target }
    }
}

/// The commits that a run records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunCommits {
    /// The commit that the run applies, or the last commit that it shares with the branch that is applied.
    pub begun: Option<String>,
    /// The commit that becomes the ledger if the run covers the whole root. `None` if the work tree is dirty, or if the
    /// commit is not on the branch that is applied.
    pub ledger: Option<String>,
    /// If the caller accepts a rewritten history: the last commit that this history shares with the recorded one. If
    /// they share none, it is the run's own commit.
    pub accepted: Option<String>,
}

/// The content of one write of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The encoded part, which has the entries.
    pub payload: Payload,
    /// The three kinds of commits, for the annotations.
    pub commits: Commits,
    /// The projects in which something is blocked or kept.
    pub open: BTreeSet<ProjectPath>,
    /// The place that the root's tree comes from, if it is known.
    pub source: Option<Provenance>,
    /// The target that the root is applied for, if its tree declares targets.
    pub target: Option<String>,
}

/// The state that a run records before it acts, which is phase one. [`Pending::finish`] consumes it, so phase two
/// cannot happen twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    resources: Entries,
    intent: Entries,
    start: Start,
    commits: Commits,
    open: BTreeSet<ProjectPath>,
    source: Option<Provenance>,
    target: Option<String>,
}

/// The observations and changes of a successful run that the state depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// The objects that are gone: a consistent read found nothing, or their kind no longer exists.
    pub gone: BTreeSet<ObjectKey>,
    /// The objects that were observed to belong to another owner, or that were released on request.
    pub released: BTreeSet<ObjectKey>,
    /// The objects that now carry the mark of the given project.
    pub placed: BTreeMap<ObjectKey, ProjectPath>,
    /// The projects in which something is blocked or kept.
    pub open: BTreeSet<ProjectPath>,
    /// `true` if the review of something that was kept is still needed.
    pub awaits_review: bool,
    /// `true` if a request of the run may still take effect. Later runs then have to look for anything that the request
    /// creates.
    pub in_flight: bool,
    /// The commit that the whole root now corresponds to, if the run covered the whole root.
    pub ledger: Option<String>,
}

impl Pending {
    /// Returns the entries that cleanup may check: everything that is recorded.
    pub fn entries(&self) -> &Entries {
        &self.resources
    }

    /// Returns the content that phase one writes. The ledger is stale until phase two.
    pub fn record(&self) -> Record {
        let payload = Payload {
            finalized: false,
            pending: self.intent.clone(),
            resources: self.resources.clone(),
            version: Version::One,
        };
        let commits = self.commits.clone().staled();
        let (open, source, target) = (self.open.clone(), self.source.clone(), self.target.clone());
        Record { payload, commits, open, source, target }
    }

    /// Returns the content that phase two writes. It is not finalized if a request is in flight. The next run then
    /// begins unsettled and drops no entry. If the request takes effect during that run or after it, the object is
    /// still recorded for the run that follows.
    #[must_use]
    pub fn finish(self, settlement: &Settlement) -> Record {
        let Self { mut resources, intent, start, mut commits, source, target, .. } = self;
        let settled = start == Start::Settled && !settlement.in_flight;
        if settled {
            resources.retain(|project, key| {
                let elsewhere =
                    settlement.placed.get(key).is_some_and(|now| now != project && intent.contains(now, key));
                !elsewhere && !settlement.gone.contains(key) && !settlement.released.contains(key)
            });
        }
        let before = commits.ledger.commits();
        let ledger = settlement.ledger.as_ref().filter(|_| settled);
        if settlement.awaits_review && commits.reviewed_from.is_empty() {
            commits.reviewed_from.clone_from(&before);
        } else if !settlement.awaits_review && ledger.is_some() {
            commits.reviewed_from.clear();
        }
        commits.ledger = ledger.map_or(Ledger::Stale(before), |commit| Ledger::Current(commit.clone()));
        let finalized = !settlement.in_flight;
        let payload = Payload { finalized, pending: Entries::default(), resources, version: Version::One };
        Record { payload, commits, open: settlement.open.clone(), source, target }
    }
}

/// The text of the annotation if the list of open projects is too long. It means that all projects are open.
const ALL: &str = "*";
/// The largest length of the list of open projects, in bytes. All annotations of an object together may have 256 KiB.
const LONGEST: usize = 64 * 1024;

/// Parses the open projects that an annotation lists. If it cannot be parsed, every recorded project counts as open.
fn open_projects(text: Option<&String>, entries: &Entries) -> BTreeSet<ProjectPath> {
    let Some(text) = text else { return BTreeSet::new() };
    let listed: Result<BTreeSet<ProjectPath>, _> = text.split_whitespace().map(str::parse).collect();
    listed.unwrap_or_else(|_| entries.projects().cloned().collect())
}

/// Returns the annotations to write on the Secret of an encoded state.
pub fn annotations(root: &Root, data: &[u8], run: &str, record: &Record) -> BTreeMap<String, String> {
    let mut annotations = record.commits.annotations();
    let stated = [
        (ROOT_ANNOTATION, root.segment().as_str()),
        (DIGEST_ANNOTATION, gzip::digest(data).as_str()),
        (RUN_ANNOTATION, run),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    annotations.extend(stated);
    annotations.extend(record.source.as_ref().map(Provenance::annotation));
    annotations.extend(record.target.as_deref().map(target::annotation));
    if !record.open.is_empty() {
        let listed = record.open.iter().map(ProjectPath::as_str).collect::<Vec<_>>().join(" ");
        let listed = if listed.len() > LONGEST { ALL.to_owned() } else { listed };
        annotations.insert(OPEN_ANNOTATION.to_owned(), listed);
    }
    annotations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::path::Segment;
    use crate::state::codec;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    const LATER: &str = "f123456789abcdef0123456789abcdef01234567";

    /// Writes a state into both Secrets. Returns the data and the annotations of the state's Secret, and the commits of
    /// the review key's Secret.
    fn written(record: &Record) -> (Vec<u8>, BTreeMap<String, String>, Option<Commits>) {
        let data = codec::encode(&record.payload);
        let notes = annotations(&root(), &data, "run", record);
        let kept = Commits::of(&record.commits.annotations());
        (data, notes, kept)
    }

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
        let (commits, open) = (Commits::default(), BTreeSet::new());
        Prior { entries: entries(list), start, commits, open, source: None, target: None, exists: true }
    }

    #[test]
    fn phase_one_records_a_superset_and_repeats_the_intent() {
        let pending =
            prior(Start::Settled, &[("demo.a", "old")]).begin(entries(&[("demo.b", "new")]), &RunCommits::default());
        let payload = pending.record().payload;
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
        let prior = Prior::of(payload.clone(), &codec::encode(&payload), &BTreeMap::new(), None);
        assert_eq!(prior.start, Start::Unsettled);
        assert_eq!(
            prior.begin(Entries::default(), &RunCommits::default()).record().payload.resources,
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
            ..Settlement::default()
        };
        let finish = |start| {
            prior(start, &list)
                .begin(entries(&[("demo.b", "moved")]), &RunCommits::default())
                .finish(&settlement)
                .payload
        };
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
        let pending = prior(Start::Settled, &list).begin(entries(&[("demo.b", "moved")]), &RunCommits::default());
        let left = pending.finish(&settlement);
        let (data, notes, kept) = written(&left);
        let left = left.payload;
        assert!(!left.finalized && left.pending.is_empty());
        assert_eq!(left.resources, entries(&[("demo.a", "gone"), ("demo.a", "moved"), ("demo.b", "moved")]));
        assert_eq!(Prior::of(left, &data, &notes, kept).start, Start::Unsettled);
    }

    #[test]
    fn o15_a_place_that_the_run_did_not_mean_to_own_drops_nothing() {
        let placed = [(ident("x").key, "demo.b".parse().unwrap())].into();
        let pending = prior(Start::Settled, &[("demo.a", "x")]).begin(Entries::default(), &RunCommits::default());
        let settled = pending.finish(&Settlement { placed, ..Settlement::default() }).payload;
        assert_eq!(settled.resources, entries(&[("demo.a", "x")]));
    }

    fn current(commit: &str) -> Commits {
        let ledger = Ledger::Current(commit.to_owned());
        Commits { begun: [commit.to_owned()].into(), ledger, ..Commits::default() }
    }

    #[test]
    fn only_our_own_finalized_digest_is_settled() {
        let check = |finalized, annotate: bool, tamper: bool| {
            let payload = Payload { finalized, resources: entries(&[("demo", "a")]), ..Payload::default() };
            let record =
                Record { payload, commits: current(COMMIT), open: BTreeSet::new(), source: None, target: None };
            let (data, mut notes, kept) = written(&record);
            if !annotate {
                notes.clear();
            }
            if tamper {
                notes.insert(DIGEST_ANNOTATION.into(), "00".into());
            }
            let prior = Prior::of(record.payload, &data, &notes, kept);
            (prior.start, prior.commits.ledger)
        };
        assert_eq!(check(true, true, false), (Start::Settled, Ledger::Current(COMMIT.into())));
        for (finalized, annotate, tamper) in [(false, true, false), (true, false, false), (true, true, true)] {
            let stale = Ledger::Stale([COMMIT.to_owned()].into());
            assert_eq!(check(finalized, annotate, tamper), (Start::Unsettled, stale));
        }
    }

    #[test]
    fn x4_a_crash_between_the_two_places_and_kubernator_lose_no_commit() {
        let payload = || Payload { finalized: true, resources: entries(&[("demo", "a")]), ..Payload::default() };
        let [older, newer] = [COMMIT, LATER].map(|commit| Record {
            payload: payload(),
            commits: current(commit),
            open: BTreeSet::new(),
            source: None,
            target: None,
        });
        let (data, notes, _) = written(&newer);
        let (_, _, kept) = written(&older);
        for (notes, kept, measures) in [
            (notes.clone(), kept.clone(), vec![COMMIT, LATER]),
            (notes, None, vec![LATER]),
            (BTreeMap::new(), kept, vec![COMMIT]),
        ] {
            let prior = Prior::of(payload(), &data, &notes, kept);
            assert_eq!(prior.start, Start::Unsettled);
            assert_eq!(prior.commits.measures(), measures.into_iter().map(str::to_owned).collect());
            assert_eq!(prior.commits.ledger.current(), None);
        }
    }

    #[test]
    fn x4_phase_one_says_what_began_and_phase_two_what_is_finalized() {
        let mut prior = prior(Start::Settled, &[]);
        prior.commits = current(COMMIT);
        let later = LATER.to_owned();
        let run = RunCommits { begun: Some(later.clone()), ledger: Some(later.clone()), accepted: None };
        let begun = prior.begin(Entries::default(), &run).record().commits;
        assert_eq!(begun.measures(), [COMMIT, LATER].map(str::to_owned).into());
        assert_eq!(begun.ledger, Ledger::Stale([COMMIT.to_owned()].into()));
        let finish = |start: Start, settlement: Settlement| {
            Prior { start, ..prior.clone() }.begin(Entries::default(), &run).finish(&settlement).commits
        };
        let covered = || Settlement { ledger: Some(later.clone()), ..Settlement::default() };
        assert_eq!(finish(Start::Settled, covered()).ledger, Ledger::Current(later.clone()));
        let kept = finish(Start::Settled, Settlement { awaits_review: true, ..covered() });
        assert_eq!(kept.reviewed_from, [COMMIT.to_owned()].into());
        for (start, settlement) in [
            (Start::Unsettled, covered()),
            (Start::Settled, Settlement { in_flight: true, ..covered() }),
            (Start::Settled, Settlement::default()),
        ] {
            let commits = finish(start, settlement);
            assert_eq!(commits.ledger, Ledger::Stale([COMMIT.to_owned()].into()));
            assert_eq!(commits.begun, [later.clone()].into());
        }
        let accepted = RunCommits { accepted: Some(COMMIT.to_owned()), ..run.clone() };
        prior.commits = current("a123456789abcdef0123456789abcdef01234567");
        let moved = prior.begin(Entries::default(), &accepted).record().commits;
        assert_eq!(moved.measures(), [COMMIT, LATER].map(str::to_owned).into());
        assert_eq!(moved.reviewed_from, [COMMIT.to_owned()].into());
    }

    #[test]
    fn x16_open_projects_are_read_again_and_what_is_not_understood_opens_all() {
        let [a, b] = ["demo.a", "demo.b"].map(|name| name.parse::<ProjectPath>().unwrap());
        let payload =
            Payload { finalized: true, resources: entries(&[("demo.a", "x"), ("demo.b", "y")]), ..Payload::default() };
        let record =
            Record { payload, commits: Commits::default(), open: [b.clone()].into(), source: None, target: None };
        let (data, mut notes, kept) = written(&record);
        let open = |notes: &_| Prior::of(record.payload.clone(), &data, notes, kept.clone()).open;
        assert_eq!(open(&notes), [b.clone()].into());
        notes.insert(OPEN_ANNOTATION.to_owned(), ALL.to_owned());
        assert_eq!(open(&notes), [a, b].into());
        notes.remove(OPEN_ANNOTATION);
        assert_eq!(open(&notes), BTreeSet::new());
        let many = (0..20_000).map(|number| format!("demo.p{number}").parse().unwrap()).collect();
        let notes = annotations(&root(), b"", "run", &Record { open: many, ..record });
        assert_eq!(notes[OPEN_ANNOTATION], ALL);
    }

    #[test]
    fn o6_marked_objects_without_a_state_are_no_first_run() {
        let found = [("demo.a".parse().unwrap(), ident("x"))];
        assert!(matches!(Prior::absent(None).sweep(&found, &root()), Err(StateError::Missing { count: 1, .. })));
        assert!(Prior::absent(None).sweep(&[], &root()).is_ok());
        let mut known = prior(Start::Settled, &[]);
        known.sweep(&found, &root()).unwrap();
        assert_eq!(known.entries, entries(&[("demo.a", "x")]));
    }
}

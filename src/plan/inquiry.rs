//! Asks what a plan needs to know, question by question. The caller sends the questions and gives back the answers.
//!
//! The order of the questions matters. Namespaces and CRDs are tried before the objects that need them, and an object
//! that a dry run finds is read before the plan relies on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::alternative::otherwise;
use super::build::PlanRequest;
use super::change::Change;
use super::cleanup::{CleanupRequest, candidates, decide, is_holder};
use super::cohabiting::CohabitingKeys;
use super::contents::ContentsInquiry;
use super::decision::Action;
use super::migration::Extent;
use super::observed::{DryRun, Lookup, Observed};
use super::obstacle::lifted;
use super::question::{Answer, Question, Request, Told, looked_up, lookup};
use super::trial::{Finding, Subject, is_leaving, tried};
use super::unchecked::{Brought, seen_anew};
use crate::object::ident::{GroupKind, ObjectKey};
use crate::object::kinds::{Kinds, defined_kind};
use crate::object::live::Live;
use crate::object::manifest::Manifest;
use crate::object::order::Wave;
use crate::object::readiness::{Readiness, is_waited_for, readiness};
use crate::object::refusal::Refusal;

/// The largest number of questions at once. It bounds the memory that the bodies of the dry runs take.
const BATCH: usize = 512;

/// The steps of an inquiry, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Reads objects again that were read in another version than the desired one.
    Versions,
    /// Tries namespaces, CRDs and what comes before them.
    Definitions,
    /// Reads the objects that these dry runs found and that no list showed.
    FoundDefinitions,
    /// Reads the namespaces of desired objects that the run itself does not apply.
    Namespaces,
    /// Tries all other objects.
    Objects,
    /// Reads the objects that these dry runs found and that no list showed.
    FoundObjects,
    /// Reads found objects again that were read in another version than the desired one.
    FoundVersions,
    /// Reads the recorded objects that may be deleted.
    Recorded,
    /// Tries the deletions.
    Deletions,
    /// Lists what the namespaces and CRDs contain that would be deleted.
    Contents,
}

const STEPS: [Step; 10] = [
    Step::Versions,
    Step::Definitions,
    Step::FoundDefinitions,
    Step::Namespaces,
    Step::Objects,
    Step::FoundObjects,
    Step::FoundVersions,
    Step::Recorded,
    Step::Deletions,
    Step::Contents,
];

/// The inquiry of one plan.
pub(crate) struct Inquiry<'a> {
    request: PlanRequest<'a>,
    /// The kinds that the server serves now.
    served: &'a Kinds,
    step: Option<Step>,
    /// The questions of the step that were not asked yet.
    questions: VecDeque<Question>,
    /// The objects of the step that were not judged yet.
    untried: VecDeque<&'a Manifest>,
    /// The answers about objects that need more of them.
    answers: BTreeMap<ObjectKey, Vec<Answer>>,
    /// The desired namespaces and CRDs that are being deleted.
    leaving: Leaving,
    /// The deletions that the server refused.
    refused: Vec<(ObjectKey, Refusal)>,
    contents: Option<ContentsInquiry>,
}

impl<'a> Inquiry<'a> {
    /// Begins an inquiry.
    pub(crate) fn new(request: PlanRequest<'a>, served: &'a Kinds) -> Self {
        Self {
            request,
            served,
            step: None,
            questions: VecDeque::new(),
            untried: VecDeque::new(),
            answers: BTreeMap::new(),
            leaving: Leaving::default(),
            refused: Vec::new(),
            contents: None,
        }
    }

    /// Returns the next questions. There are none at the end of the inquiry. The caller must have given back the answers
    /// to all earlier questions.
    pub(crate) fn next(&mut self, observed: &mut Observed) -> Vec<Question> {
        loop {
            let mut questions = self.open(observed);
            while questions.len() < BATCH
                && let Some(question) = self.questions.pop_front()
            {
                questions.push(question);
            }
            if !questions.is_empty() {
                return questions;
            }
            if let Some(step) = self.step {
                self.end(step, observed);
            }
            let after = STEPS.into_iter().find(|step| self.step.is_none_or(|last| *step > last));
            let Some(step) = after else { return Vec::new() };
            self.step = Some(step);
            self.begin(step, observed);
        }
    }

    /// Takes the answer to a question.
    pub(crate) fn learn(&mut self, observed: &mut Observed, question: Question, answer: Answer) {
        let key = question.about.clone();
        match self.step {
            Some(Step::Versions | Step::FoundVersions) => {
                if let Answer::Read(Ok(Some(live))) = answer {
                    observed.looks.insert(key, Lookup::Live(live));
                }
            }
            Some(Step::FoundDefinitions | Step::Namespaces | Step::FoundObjects | Step::Recorded) => {
                let look = looked_up(&key, answer, &observed.kinds);
                observed.looks.insert(key, look);
            }
            Some(Step::Definitions | Step::Objects) => self.answers.entry(key).or_default().push(answer),
            Some(Step::Deletions) => {
                if let Answer::Permitted(Err(refusal)) = answer {
                    self.refused.push((key, refusal));
                }
            }
            Some(Step::Contents) => {
                if let Some(contents) = &mut self.contents {
                    contents.learn(question, answer);
                }
            }
            None => {}
        }
    }

    /// Judges objects with the answers so far, and returns the questions that are open.
    fn open(&mut self, observed: &mut Observed) -> Vec<Question> {
        let mut questions = Vec::new();
        if let Some(contents) = self.contents.as_mut().filter(|_| self.step == Some(Step::Contents)) {
            return contents.next();
        }
        for (key, answers) in std::mem::take(&mut self.answers) {
            if let Some(manifest) = self.request.desired.get(&key) {
                questions.extend(self.judge(observed, manifest, answers));
            }
        }
        while questions.len() < BATCH
            && let Some(manifest) = self.untried.pop_front()
        {
            questions.extend(self.judge(observed, manifest, Vec::new()));
        }
        questions
    }

    /// Records the finding about an object, or returns the question that is open.
    fn judge(&mut self, observed: &mut Observed, manifest: &'a Manifest, answers: Vec<Answer>) -> Option<Question> {
        let key = &manifest.ident.key;
        let is_served = self.served.get(&key.group_kind()).is_some();
        let found = match self.leaving.needed_by(key).filter(|_| is_served) {
            Some(creator) => Ok(DryRun::Unverified(creator).into()),
            None => {
                let subject = Subject { request: self.request, served: self.served, observed, manifest };
                let told = &mut Told::new(key, &answers);
                tried(subject, told).and_then(|finding| otherwise(subject, finding, told))
            }
        };
        match found {
            Ok(finding) => {
                note(observed, key, finding);
                None
            }
            Err(question) => {
                self.answers.insert(key.clone(), answers);
                Some(*question)
            }
        }
    }

    fn begin(&mut self, step: Step, observed: &mut Observed) {
        let first = |manifest: &&Manifest| Wave::of(&manifest.ident.key) <= Wave::Definitions;
        match step {
            Step::Versions | Step::FoundVersions => self.questions = self.other_versions(observed).into(),
            Step::Definitions => self.untried = self.request.in_scope().filter(first).collect(),
            Step::Objects => {
                self.leaving = Leaving::of(self.request, observed);
                self.untried = self.request.in_scope().filter(|manifest| !first(manifest)).collect();
            }
            Step::FoundDefinitions | Step::FoundObjects => {
                let found = observed.trials.iter().filter(|(key, trial)| {
                    matches!(trial, DryRun::Applied(_) | DryRun::Refused(_)) && !observed.exists(key)
                });
                let found: Vec<ObjectKey> = found.map(|(key, _)| key.clone()).collect();
                // An object can appear after a list, for example from a late request of a run that died.
                for key in &found {
                    observed.looks.remove(key);
                }
                self.read(observed, found);
            }
            Step::Namespaces => {
                let all: BTreeSet<ObjectKey> =
                    self.request.in_scope().filter_map(|manifest| manifest.ident.key.namespace_key()).collect();
                let others = all.into_iter().filter(|key| !observed.trials.contains_key(key)).collect();
                self.read(observed, others);
            }
            Step::Recorded => self.read(observed, self.recorded(observed)),
            Step::Deletions => self.questions = self.deletions(observed).filter_map(deletion(observed)).collect(),
            Step::Contents => {
                let holders = self.deletions(observed).map(|change| change.ident.key).filter(is_holder);
                let living = holders.filter_map(|key| {
                    let live = observed.live(&key).filter(|live| !live.is_terminating())?;
                    Some((key.clone(), live))
                });
                self.contents = Some(ContentsInquiry::new(&observed.kinds, living));
            }
        }
    }

    fn end(&mut self, step: Step, observed: &mut Observed) {
        match step {
            Step::FoundVersions => {
                believe(self.request, observed);
                observed.unready = unready(self.request, observed);
            }
            Step::Deletions => self.note_refused(observed),
            Step::Contents => {
                let contents = self.contents.take().map(|contents| contents.end(&observed.kinds));
                observed.contents.extend(contents.unwrap_or_default());
            }
            _ => {}
        }
    }

    /// Asks for the given objects, unless they were read before.
    fn read(&mut self, observed: &mut Observed, keys: Vec<ObjectKey>) {
        let missing: Vec<ObjectKey> = keys.into_iter().filter(|key| !observed.looks.contains_key(key)).collect();
        for key in missing {
            match lookup(&key, &observed.kinds) {
                Ok(question) => self.questions.push_back(question),
                Err(look) => drop(observed.looks.insert(key, look)),
            }
        }
    }

    /// Asks for objects in the desired version, because only objects of the same version can be compared.
    fn other_versions(&self, observed: &Observed) -> Vec<Question> {
        let other = |manifest: &Manifest| {
            let key = &manifest.ident.key;
            let found = observed.live(key)?.body.get("apiVersion").and_then(Value::as_str)?;
            let kind = self.served.get(&key.group_kind()).filter(|_| found != manifest.ident.api_version())?;
            let request = Request::Get(kind.at_version(&manifest.ident.version));
            Some(Question { about: key.clone(), request })
        };
        self.request.in_scope().filter_map(other).collect()
    }

    /// The recorded objects that may be deleted, and the desired objects that may be the same.
    fn recorded(&self, observed: &Observed) -> Vec<ObjectKey> {
        let (desired, intended) = self.keys();
        let cohabiting = CohabitingKeys::of(self.request.desired.keys(), observed);
        let cleanup = cleanup(self.request, &desired, &intended);
        let recorded: Vec<ObjectKey> = candidates(cleanup).map(|(_, ident)| ident.key).collect();
        let namesakes: Vec<ObjectKey> = recorded.iter().flat_map(|key| cohabiting.namesakes(key)).collect();
        recorded.into_iter().chain(namesakes.into_iter().filter(|key| desired.contains(key))).collect()
    }

    /// The deletions of the cleanup, as far as is known now.
    fn deletions(&self, observed: &Observed) -> impl Iterator<Item = Change> + use<> {
        let (desired, intended) = self.keys();
        let changes = decide(cleanup(self.request, &desired, &intended), observed);
        changes.into_iter().filter(|change| change.action() == Action::Delete)
    }

    /// The keys of the desired objects, and of those in scope.
    fn keys(&self) -> (BTreeSet<&'a ObjectKey>, BTreeSet<&'a ObjectKey>) {
        let intended = self.request.in_scope().map(|manifest| &manifest.ident.key).collect();
        (self.request.desired.keys().collect(), intended)
    }

    /// Notes the refused deletions. A webhook or policy that the run deletes first refuses nothing any more.
    fn note_refused(&mut self, observed: &mut Observed) {
        let deleted: Vec<ObjectKey> = self.deletions(observed).map(|change| change.ident.key).collect();
        let by: Vec<Option<ObjectKey>> = {
            let bodies = deleted.iter().filter_map(|key| Some((key, &observed.live(key)?.body)));
            let bodies: Vec<(&ObjectKey, &Value)> = bodies.collect();
            let by = |(key, refusal): &(ObjectKey, Refusal)| lifted(refusal, &bodies).filter(|by| *by != key).cloned();
            self.refused.iter().map(by).collect()
        };
        for ((key, refusal), by) in std::mem::take(&mut self.refused).into_iter().zip(by) {
            match (by, refusal) {
                (Some(by), _) => drop(observed.lifted.insert(key, by)),
                // The object changed since it was read (its status, for example). The run reads it again before it
                // deletes it.
                (None, Refusal::Changed(_) | Refusal::Absent(_)) => {}
                (None, refusal) => drop(observed.undeletable.insert(key, refusal)),
            }
        }
    }
}

fn cleanup<'a>(
    request: PlanRequest<'a>,
    desired: &'a BTreeSet<&'a ObjectKey>,
    intended: &'a BTreeSet<&'a ObjectKey>,
) -> CleanupRequest<'a> {
    let PlanRequest { root, scope, entries, policy, .. } = request;
    CleanupRequest { root, scope, entries, desired, intended, policy }
}

/// Asks for a dry run of a deletion.
fn deletion(observed: &Observed) -> impl Fn(Change) -> Option<Question> {
    |change| {
        let kind = observed.kinds.get(&change.ident.key.group_kind())?.clone();
        let (uid, resource_version) = (change.uid?, change.resource_version?);
        Some(Question { about: change.ident.key, request: Request::Delete { kind, uid, resource_version } })
    }
}

/// Records the finding about an object.
fn note(observed: &mut Observed, key: &ObjectKey, finding: Finding) {
    let Finding { trial, extent, claims, is_forced } = finding;
    if is_forced {
        observed.forced.insert(key.clone());
    }
    if !claims.is_empty() {
        observed.claims.insert(key.clone(), claims);
    }
    if extent == Extent::Metadata {
        observed.held.insert(key.clone());
    }
    observed.trials.insert(key.clone(), trial);
}

/// The desired namespaces and CRDs that are being deleted. Until they are gone and created anew, the server cannot
/// check objects that need them.
#[derive(Default)]
struct Leaving {
    namespaces: BTreeSet<String>,
    /// The CRD of each kind.
    kinds: BTreeMap<GroupKind, ObjectKey>,
}

impl Leaving {
    fn of(request: PlanRequest<'_>, observed: &Observed) -> Self {
        let mut leaving = Self::default();
        for key in observed.trials.keys().filter(|key| is_leaving(observed, key)) {
            if key.is_namespace() {
                leaving.namespaces.insert(key.name.clone());
            } else if key.is_crd()
                && let Some(kind) = request.desired.get(key).and_then(|manifest| defined_kind(&manifest.body))
            {
                leaving.kinds.insert(kind.group_kind, key.clone());
            }
        }
        leaving
    }

    /// The object's namespace or the CRD of its kind, if it is being deleted and will be created anew.
    fn needed_by(&self, key: &ObjectKey) -> Option<ObjectKey> {
        let namespace = key.namespace.as_ref().filter(|namespace| self.namespaces.contains(*namespace));
        let definition = || self.kinds.get(&key.group_kind()).cloned();
        namespace.and_then(|_| key.namespace_key()).or_else(definition)
    }
}

/// Judges the dry runs again, with regard to everything that the run itself writes before it reaches each object.
fn believe(request: PlanRequest<'_>, observed: &mut Observed) {
    loop {
        let view = &*observed;
        let brought = Brought::of(request.desired, view, request.root);
        let anew = request.in_scope().filter_map(|manifest| {
            let key = &manifest.ident.key;
            Some((key.clone(), seen_anew(view.trials.get(key)?, manifest, &brought)?))
        });
        let anew: Vec<(ObjectKey, DryRun)> = anew.collect();
        if anew.is_empty() {
            return;
        }
        observed.trials.extend(anew);
    }
}

/// The in-scope desired objects that are live and not ready.
fn unready(request: PlanRequest<'_>, observed: &Observed) -> BTreeSet<ObjectKey> {
    let keys = request.in_scope().map(|manifest| &manifest.ident.key).filter(|key| is_waited_for(&key.group_kind()));
    let is_unready = |live: &Live| readiness(live) != Readiness::Ready;
    keys.filter(|key| observed.live(key).is_some_and(is_unready)).cloned().collect()
}

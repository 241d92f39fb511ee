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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ident::Ident;
    use crate::object::kinds::Kind;
    use crate::object::mark::{Root, stamp};
    use crate::object::read_error::ReadError;
    use crate::object::redact::Redactor;
    use crate::object::refusal::FieldConflict;
    use crate::plan::build::{Baseline, build};
    use crate::plan::policy::Policy;
    use crate::plan::question::DryRunAnswer;
    use crate::plan::unchanged::reduced;
    use crate::project::path::{ProjectPath, Segment};
    use crate::project::scope::{Scope, ScopeRequest};
    use crate::project::snapshot::SourcePlace;
    use crate::project::tree::Cleanup;
    use crate::state::done::Done;
    use crate::state::payload::Entries;
    use serde_json::json;

    fn root() -> Root {
        Root::new(Segment::new("demo").unwrap())
    }

    fn project() -> ProjectPath {
        root().project()
    }

    fn key(kind: &str, name: &str) -> ObjectKey {
        let (group, namespace) = match kind {
            "Namespace" => ("", None),
            "CustomResourceDefinition" => ("apiextensions.k8s.io", None),
            "ValidatingWebhookConfiguration" => ("admissionregistration.k8s.io", None),
            "Deployment" => ("apps", Some("x")),
            "Till" => ("shop.dev", Some("x")),
            _ => ("", Some("x")),
        };
        let (group, namespace) = (group.to_owned(), namespace.map(str::to_owned));
        ObjectKey { group, kind: kind.to_owned(), namespace, name: name.to_owned() }
    }

    fn manifest(key: &ObjectKey, spec: &Value) -> Manifest {
        let ident = Ident { key: key.clone(), version: "v1".into() };
        let mut metadata = json!({"name": key.name});
        if let Some(namespace) = &key.namespace {
            metadata["namespace"] = json!(namespace);
        }
        let body = json!({"apiVersion": ident.api_version(), "kind": key.kind, "metadata": metadata, "spec": spec});
        Manifest { ident, project: project(), place: SourcePlace::whole("x.yaml"), body: body.into() }
    }

    /// A live object of ours. The entry of our field manager has these fields of the spec.
    fn live(key: &ObjectKey, spec: &Value, fields: &Value) -> Live {
        let mut body = manifest(key, spec).body.parse();
        stamp(&mut body, &project(), &root());
        body["metadata"]["uid"] = json!(format!("uid of {}", key.name));
        body["metadata"]["resourceVersion"] = json!("7");
        let mark = json!({"f:annotations": {"f:kubernator.io/project": {}}, "f:labels": {"f:kubernator.io/root": {}}});
        body["metadata"]["managedFields"] = json!([{"manager": "ktor-demo", "operation": "Apply",
            "apiVersion": body["apiVersion"], "fieldsV1": {"f:metadata": mark, "f:spec": fields}}]);
        Live { body }
    }

    /// A tree, a record, and what was read of the cluster.
    struct Situation {
        desired: BTreeMap<ObjectKey, Manifest>,
        entries: Entries,
        policy: Policy,
        served: Kinds,
        observed: Observed,
    }

    impl Situation {
        fn new() -> Self {
            let served = Kinds::builtin().clone();
            Self {
                desired: BTreeMap::new(),
                entries: Entries::default(),
                policy: Policy::new(Cleanup::On, "kubernator-system"),
                observed: Observed { kinds: served.clone(), ..Observed::default() },
                served,
            }
        }

        fn want(mut self, key: &ObjectKey, spec: &Value) -> Self {
            self.desired.insert(key.clone(), manifest(key, spec));
            self
        }

        fn see(mut self, key: &ObjectKey, look: Lookup) -> Self {
            self.observed.looks.insert(key.clone(), look);
            self
        }

        fn record(mut self, key: &ObjectKey) -> Self {
            self.entries.insert(&project(), &Ident { key: key.clone(), version: "v1".into() });
            self
        }

        /// Carries out the inquiry. Returns the questions in order, a line each, and what is known at the end.
        fn asked(mut self, answer: impl Fn(&str, &Question) -> Answer) -> (Vec<String>, Observed) {
            let scope = Scope::resolve(&ScopeRequest::default(), &[project()].into(), &BTreeSet::new()).unwrap();
            let request = PlanRequest {
                root: &root(),
                scope: &scope,
                desired: &self.desired,
                entries: &self.entries,
                policy: &self.policy,
                redactor: &Redactor::default(),
                broken: &BTreeMap::new(),
                before: Baseline::Unknown,
            };
            let mut inquiry = Inquiry::new(request, &self.served);
            let mut lines = Vec::new();
            loop {
                let questions = inquiry.next(&mut self.observed);
                assert!(questions.len() <= BATCH && lines.len() < 10_000);
                if questions.is_empty() {
                    return (lines, self.observed);
                }
                for question in questions {
                    let line = line(&question);
                    let answer = answer(&line, &question);
                    lines.push(line);
                    inquiry.learn(&mut self.observed, question, answer);
                }
            }
        }
    }

    /// A question in one line.
    fn line(Question { about, request }: &Question) -> String {
        let name = format!("{}/{}", about.kind, about.name);
        let first = |kind: &Kind| kind.versions.first().cloned().unwrap_or_default();
        match request {
            Request::Get(kind) => format!("get {name} {}", first(kind)),
            Request::List(kind, namespace) => {
                format!("list {} in {}", kind.group_kind.kind, namespace.as_deref().unwrap_or("all"))
            }
            Request::Apply(_, body) => format!("apply {name} {}", body["spec"]),
            Request::ForcedApply(_, body) => format!("force {name} {}", body["metadata"]["uid"]),
            Request::Patch { to, .. } => format!("patch {name} {}", to["spec"]),
            Request::Put(_, body) => format!("put {name} {}", body["spec"]),
            Request::Create(..) => format!("create {name}"),
            Request::Delete { uid, resource_version, .. } => format!("delete {name} {uid} at {resource_version}"),
        }
    }

    fn created(question: &Question) -> Answer {
        let Request::Apply(_, body) = &question.request else { panic!("{question:?}") };
        Answer::Written(Ok(DryRunAnswer { created: true, live: Live { body: body.clone() } }))
    }

    fn after(live: Live) -> Answer {
        Answer::Written(Ok(DryRunAnswer { created: false, live }))
    }

    fn refused(refusal: Refusal) -> Answer {
        Answer::Written(Err(refusal))
    }

    fn words() -> String {
        "words".to_owned()
    }

    #[test]
    fn an_absent_object_is_applied_and_a_proved_one_is_not_asked_for() {
        let (web, proved) = (key("ConfigMap", "web"), key("ConfigMap", "proved"));
        let spec = json!({"a": 1});
        let as_desired = live(&proved, &spec, &json!({"f:a": {}}));
        let policy = Policy::new(Cleanup::On, "kubernator-system");
        let kept = reduced(&proved, as_desired.clone(), Some(&manifest(&proved, &spec)), &policy, &root());
        assert!(matches!(kept, Lookup::Proved(_)), "{kept:?}");
        for look in [kept, Lookup::Live(as_desired)] {
            let situation = Situation::new().want(&web, &json!({"a": 1})).want(&proved, &spec).see(&proved, look);
            let (asked, known) = situation.see(&key("Namespace", "x"), Lookup::Absent).asked(|_, it| created(it));
            assert_eq!(asked, ["apply ConfigMap/web {\"a\":1}"]);
            assert_eq!((&known.trials[&web], &known.trials[&proved]), (&DryRun::Created, &DryRun::Proved));
        }
    }

    #[test]
    fn the_plan_of_unchanged_objects_keeps_no_content_parsed() {
        let spec = json!({"a": 1});
        let policy = Policy::new(Cleanup::On, "kubernator-system");
        let mut situation = Situation::new().see(&key("Namespace", "x"), Lookup::Absent);
        for name in ["a", "b", "c"] {
            let key = key("ConfigMap", name);
            let found = live(&key, &spec, &json!({"f:a": {}}));
            let kept = reduced(&key, found, Some(&manifest(&key, &spec)), &policy, &root());
            situation = situation.want(&key, &spec).see(&key, kept).record(&key);
        }
        let desired = situation.desired.clone();
        let done = Done::default().after(&desired, desired.keys());
        let entries = situation.entries.clone();
        let (asked, observed) = situation.asked(|line, _| panic!("{line}"));
        let scope = Scope::resolve(&ScopeRequest::default(), &[project()].into(), &BTreeSet::new()).unwrap();
        let request = PlanRequest {
            root: &root(),
            scope: &scope,
            desired: &desired,
            entries: &entries,
            policy: &policy,
            redactor: &Redactor::default(),
            broken: &BTreeMap::new(),
            before: Baseline::Desired(&desired),
        };
        let mut again = observed.clone();
        let mut inquiry = Inquiry::new(request, &observed.kinds);
        assert!(inquiry.next(&mut again).is_empty());
        let plan = build(request, &observed);
        assert!(asked.is_empty() && plan.changes.iter().all(|change| change.action() == Action::Unchanged));
        assert_eq!((plan.changes.len(), done.annotation()), (3, None));
        assert!(desired.values().all(|manifest| !manifest.body.is_parsed()));
    }

    #[test]
    fn an_object_keeps_its_content_unless_it_is_ours_ready_and_as_desired() {
        let policy = Policy::new(Cleanup::On, "kubernator-system");
        let spec = json!({"a": 1});
        let is_kept = |key: &ObjectKey, live: Live, desired: Option<&Value>| {
            let desired = desired.map(|spec| manifest(key, spec));
            matches!(reduced(key, live, desired.as_ref(), &policy, &root()), Lookup::Live(_))
        };
        let whole = |key: &ObjectKey| live(key, &spec, &json!({"f:a": {}}));
        let web = key("ConfigMap", "web");
        assert!(!is_kept(&web, whole(&web), Some(&spec)));
        assert!(is_kept(&web, whole(&web), None), "it is not desired");
        assert!(is_kept(&web, whole(&web), Some(&json!({"a": 2}))), "it differs");
        let mut others = whole(&web);
        others.body["metadata"]["managedFields"][0]["manager"] = json!("ktor-other");
        assert!(is_kept(&web, others, Some(&spec)), "it is a copy");
        let namespace = key("Namespace", "x");
        assert!(is_kept(&namespace, whole(&namespace), Some(&spec)), "it holds other objects");
        let deployment = key("Deployment", "web");
        let unready = || {
            let mut live = live(&deployment, &json!({"replicas": 1}), &json!({"f:replicas": {}}));
            live.body["status"] = json!({"replicas": 1, "updatedReplicas": 1, "observedGeneration": 1});
            live
        };
        assert!(is_kept(&deployment, unready(), Some(&json!({"replicas": 1}))), "it is not ready");
        let mut ready = unready();
        ready.body["status"]["availableReplicas"] = json!(1);
        assert!(!is_kept(&deployment, ready, Some(&json!({"replicas": 1}))));
    }

    #[test]
    fn an_object_in_another_version_is_read_in_the_desired_one() {
        let web = key("ConfigMap", "web");
        let spec = json!({"a": 1});
        let mut older = live(&web, &spec, &json!({"f:a": {}}));
        older.body["apiVersion"] = json!("v1beta1");
        let situation = || {
            Situation::new()
                .want(&web, &spec)
                .see(&web, Lookup::Live(older.clone()))
                .see(&key("Namespace", "x"), Lookup::Absent)
        };
        let now = live(&web, &spec, &json!({"f:a": {}}));
        let (asked, known) = situation().asked(|_, _| Answer::Read(Ok(Some(now.clone()))));
        assert_eq!(asked, ["get ConfigMap/web v1"]);
        assert_eq!((&known.trials[&web], known.live(&web)), (&DryRun::Proved, Some(&now)));
        // Without an answer, the server decides about the object as it was read.
        let unread = |line: &str, _: &Question| match line.split(' ').next() {
            Some("get") => Answer::Read(Err(ReadError::Unavailable(words()))),
            _ => after(now.clone()),
        };
        let (asked, known) = situation().asked(unread);
        assert_eq!(asked, ["get ConfigMap/web v1", "apply ConfigMap/web {\"a\":1}", "get ConfigMap/web v1"]);
        assert_eq!(known.trials[&web], DryRun::Applied(now));
    }

    #[test]
    fn an_object_that_only_the_dry_run_finds_is_read_before_the_plan_relies_on_it() {
        let web = key("ConfigMap", "web");
        let found = live(&web, &json!({"a": 2}), &json!({"f:a": {}}));
        for (read, expected) in [
            (Ok(Some(found.clone())), Lookup::Live(found.clone())),
            (Ok(None), Lookup::Absent),
            (Err(ReadError::Unavailable(words())), Lookup::Unknown("no answer: words".to_owned())),
        ] {
            for look in [None, Some(Lookup::Absent)] {
                let mut situation =
                    Situation::new().want(&web, &json!({"a": 1})).see(&key("Namespace", "x"), Lookup::Absent);
                situation.observed.looks.extend(look.map(|look| (web.clone(), look)));
                let (asked, known) = situation.asked(|line, _| match line.split(' ').next() {
                    Some("get") => Answer::Read(read.clone()),
                    _ => after(found.clone()),
                });
                assert_eq!(asked, ["apply ConfigMap/web {\"a\":1}", "get ConfigMap/web v1"]);
                assert_eq!(known.looks[&web], expected);
            }
        }
    }

    #[test]
    fn a_namespace_that_the_run_does_not_apply_is_read_and_refuses_its_objects_if_it_is_being_deleted() {
        let (web, namespace) = (key("ConfigMap", "web"), key("Namespace", "x"));
        let situation = || Situation::new().want(&web, &json!({"a": 1})).see(&web, Lookup::Absent);
        let mut leaving = live(&namespace, &json!({}), &json!({}));
        leaving.body["metadata"]["deletionTimestamp"] = json!("2031-05-06T07:08:09Z");
        let (asked, known) = situation().asked(|line, _| match line {
            "get Namespace/x v1" => Answer::Read(Ok(Some(leaving.clone()))),
            _ => Answer::Read(Ok(None)),
        });
        // The refused object is read again, because its refusal may be about an object that appeared meanwhile.
        assert_eq!(asked, ["get Namespace/x v1", "get ConfigMap/web v1"]);
        assert!(matches!(known.trials[&web], DryRun::Refused(Refusal::Terminating(_))), "{known:?}");
        // The run applies this namespace itself, so it waits until the namespace is gone and creates it anew.
        let situation = situation().want(&namespace, &json!({})).see(&namespace, Lookup::Live(leaving.clone()));
        let (asked, known) = situation.asked(|line, _| panic!("{line}"));
        assert_eq!((asked, &known.trials[&namespace]), (vec![], &DryRun::Created));
        assert_eq!(known.trials[&web], DryRun::Unverified(namespace));
    }

    #[test]
    fn a_conflict_is_forced_only_if_each_contested_field_becomes_ours() {
        let web = key("ConfigMap", "web");
        let mut inherited = live(&web, &json!({"a": 2}), &json!({}));
        let older = json!({"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1",
            "fieldsV1": {"f:spec": {"f:a": {}}}});
        inherited.body["metadata"]["managedFields"].as_array_mut().unwrap().push(older);
        let contested = |manager: &str| vec![FieldConflict { field: ".spec.a".into(), manager: manager.into() }];
        let asked = |manager: &str| {
            let situation = Situation::new()
                .want(&web, &json!({"a": 1}))
                .see(&web, Lookup::Live(inherited.clone()))
                .see(&key("Namespace", "x"), Lookup::Absent);
            situation.asked(|line, _| match line.split(' ').next() {
                Some("apply") => refused(Refusal::Conflict(contested(manager))),
                Some("force") => after(live(&web, &json!({"a": 1}), &json!({"f:a": {}}))),
                _ => panic!("{line}"),
            })
        };
        let (lines, known) = asked("kubectl-client-side-apply");
        assert_eq!(lines, ["apply ConfigMap/web {\"a\":1}", "force ConfigMap/web \"uid of web\""]);
        assert!(matches!(known.trials[&web], DryRun::Applied(_)) && known.forced.is_empty());
        let (lines, known) = asked("someone");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(matches!(&known.trials[&web], DryRun::Refused(Refusal::Conflict(_))));
    }

    #[test]
    fn fields_of_older_tools_are_removed_or_only_their_metadata_is_taken_over() {
        let web = key("ConfigMap", "web");
        let mut before = live(&web, &json!({"a": 1, "old": 2}), &json!({"f:a": {}}));
        let older = json!({"manager": "kubernator", "operation": "Update", "apiVersion": "v1",
            "fieldsV1": {"f:spec": {"f:a": {}, "f:old": {}}}});
        before.body["metadata"]["managedFields"].as_array_mut().unwrap().push(older);
        let asked = |answers: fn() -> Answer| {
            let situation = Situation::new().want(&web, &json!({"a": 1})).see(&web, Lookup::Live(before.clone()));
            situation.see(&key("Namespace", "x"), Lookup::Absent).asked(|line, _| match line.split(' ').next() {
                Some("apply") => after(before.clone()),
                Some("patch") => answers(),
                _ => panic!("{line}"),
            })
        };
        let (lines, known) = asked(|| after(Live { body: json!({"spec": {"a": 1}}) }));
        assert_eq!(lines, ["apply ConfigMap/web {\"a\":1}", "patch ConfigMap/web {\"a\":1}"]);
        assert_eq!(known.trials[&web], DryRun::Applied(Live { body: json!({"spec": {"a": 1}}) }));
        assert!(known.held.is_empty());
        let (_, known) = asked(|| refused(Refusal::Invalid(words())));
        assert!(known.held.contains(&web) && matches!(known.trials[&web], DryRun::Applied(_)), "{known:?}");
        let (_, known) = asked(|| refused(Refusal::Denied(words())));
        assert_eq!(known.trials[&web], DryRun::Refused(Refusal::Denied(words())));
    }

    /// The answers about an object that cannot be changed: to its apply, its PUTs, its creation and its deletion.
    fn unchangeable(put: &Answer, create: &Answer, delete: &Answer) -> (Vec<String>, DryRun, Observed) {
        let web = key("Deployment", "web");
        let before = live(&web, &json!({"a": 1, "beside": 2}), &json!({"f:a": {}}));
        let situation = Situation::new().want(&web, &json!({"a": 3})).see(&web, Lookup::Live(before));
        let (lines, known) =
            situation.see(&key("Namespace", "x"), Lookup::Absent).asked(|line, _| match line.split(' ').next() {
                Some("apply") => refused(Refusal::Invalid(words())),
                Some("put") => put.clone(),
                Some("create") => create.clone(),
                Some("delete") => delete.clone(),
                Some("get") => Answer::Read(Ok(None)),
                _ => panic!("{line}"),
            });
        (lines, known.trials[&web].clone(), known)
    }

    #[test]
    fn an_invalid_change_is_tried_in_place_then_as_a_new_object_and_then_as_a_deletion() {
        let invalid = refused(Refusal::Invalid(words()));
        let yes = Answer::Permitted(Ok(()));
        let no = |refusal| Answer::Permitted(Err(refusal));
        let (lines, trial, _) = unchangeable(&invalid, &yes, &yes);
        let expected = ["apply", "put", "create", "delete"];
        assert_eq!(lines.iter().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>(), expected);
        assert_eq!(lines[3], "delete Deployment/web uid of web at 7");
        assert!(matches!(trial, DryRun::Immutable(_)), "{trial:?}");
        let (_, trial, _) = unchangeable(&invalid, &yes, &no(Refusal::Changed(words())));
        assert!(matches!(trial, DryRun::Immutable(_)), "the run reads it again: {trial:?}");
        let (_, trial, _) = unchangeable(&invalid, &yes, &no(Refusal::Denied(words())));
        assert!(matches!(trial, DryRun::Refused(Refusal::Denied(_))), "{trial:?}");
        let (lines, trial, _) = unchangeable(&invalid, &no(Refusal::Malformed(words())), &yes);
        assert!(matches!(trial, DryRun::Refused(Refusal::Invalid(_))) && lines.len() == 3, "{trial:?}");
        let (lines, trial, _) = unchangeable(&refused(Refusal::Forbidden(words())), &yes, &yes);
        assert!(matches!(trial, DryRun::Refused(Refusal::Unavailable(_))) && lines.len() == 2, "{trial:?}");
        let (lines, trial, _) = unchangeable(&refused(Refusal::Changed(words())), &yes, &yes);
        assert!(matches!(trial, DryRun::Refused(Refusal::Invalid(_))), "{trial:?}");
        assert_eq!(lines[2], "get Deployment/web v1", "it is read again");
        let (_, trial, known) = unchangeable(&after(Live { body: json!({}) }), &yes, &yes);
        assert!(matches!(trial, DryRun::Applied(_) | DryRun::Refused(Refusal::Invalid(_))), "{known:?}");
    }

    #[test]
    fn a_recorded_object_is_read_and_its_deletion_tried_with_the_uid_and_version_that_were_read() {
        let old = key("ConfigMap", "old");
        let found = live(&old, &json!({}), &json!({}));
        for (answer, undeletable) in [
            (Ok(()), None),
            (Err(Refusal::Changed(words())), None),
            (Err(Refusal::Absent(words())), None),
            (Err(Refusal::Denied(words())), Some(Refusal::Denied(words()))),
            (Err(Refusal::Unavailable(words())), Some(Refusal::Unavailable(words()))),
        ] {
            let (lines, known) = Situation::new().record(&old).asked(|line, _| match line.split(' ').next() {
                Some("get") => Answer::Read(Ok(Some(found.clone()))),
                _ => Answer::Permitted(answer.clone()),
            });
            assert_eq!(lines, ["get ConfigMap/old v1", "delete ConfigMap/old uid of old at 7"]);
            assert_eq!(known.undeletable.get(&old), undeletable.as_ref());
        }
        let (lines, known) =
            Situation::new().record(&old).asked(|_, _| Answer::Read(Err(ReadError::Forbidden(words()))));
        assert_eq!(lines, ["get ConfigMap/old v1"]);
        assert_eq!(known.looks[&old], Lookup::Unknown("no permission to read: words".to_owned()));
    }

    #[test]
    fn a_webhook_that_the_run_deletes_first_lifts_its_refusals() {
        let (old, hook) = (key("ConfigMap", "old"), key("ValidatingWebhookConfiguration", "hook"));
        let mut webhook = live(&hook, &json!({}), &json!({}));
        webhook.body["webhooks"] = json!([{"name": "deny.shop.dev"}]);
        let situation = Situation::new().record(&old).record(&hook).see(&hook, Lookup::Live(webhook));
        let situation = situation.see(&old, Lookup::Live(live(&old, &json!({}), &json!({}))));
        let denied = "admission webhook \"deny.shop.dev\" denied the request: no";
        let (_, known) = situation.asked(|line, _| {
            let is_old = line.contains("/old");
            Answer::Permitted(if is_old { Err(Refusal::Denied(denied.to_owned())) } else { Ok(()) })
        });
        assert_eq!((known.lifted.get(&old), known.undeletable.len()), (Some(&hook), 0));
    }

    #[test]
    fn the_contents_of_a_namespace_are_listed_before_it_is_deleted() {
        let namespace = key("Namespace", "x");
        let found = live(&namespace, &json!({}), &json!({}));
        let situation = Situation::new().record(&namespace).see(&namespace, Lookup::Live(found));
        let web = live(&key("ConfigMap", "web"), &json!({}), &json!({}));
        let (lines, known) = situation.asked(|line, _| match line.split(' ').next() {
            Some("delete") => Answer::Permitted(Ok(())),
            _ if line.contains("ConfigMap") => Answer::Listed(Ok(vec![web.clone()])),
            _ if line.contains("Secret") => Answer::Listed(Err(ReadError::Forbidden(words()))),
            _ => Answer::Listed(Ok(Vec::new())),
        });
        assert!(lines.contains(&"list ConfigMap in x".to_owned()), "{lines:?}");
        let content = &known.contents[&namespace];
        assert!(content.found.contains_key(&key("ConfigMap", "web")));
        assert_eq!(content.unseen, ["Secret could not be listed: no permission to read: words"]);
    }

    #[test]
    fn many_objects_are_asked_in_batches_and_each_once() {
        let count = 3 * BATCH + 1;
        let mut situation = Situation::new().see(&key("Namespace", "x"), Lookup::Absent);
        for number in 0..count {
            situation = situation.want(&key("ConfigMap", &format!("c{number}")), &json!({"a": number}));
        }
        let (mut lines, known) = situation.asked(|_, it| created(it));
        assert_eq!((lines.len(), known.trials.len()), (count, count));
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), count);
    }
}

//! Objects that were not ready before a run and that the run leaves as they are. They open their project and stop
//! nothing else.
//!
//! A run waits for them as for all other objects, because they may become ready meanwhile. If one does not, the run
//! does not fail.

use std::collections::BTreeMap;

use super::blocking;
use super::build::Plan;
use super::change::Change;
use super::decision::Keep;
use super::notice::Notice;
use super::observed::Observed;
use super::outcome::{ObjectOutcome, Verdict};
use crate::object::ident::ObjectKey;
use crate::object::manifest::Manifest;
use crate::project::path::ProjectPath;

/// The verdict and the message for an object that did not become ready. An object that the run changed has failed.
pub(crate) fn judged(plan: &Plan, outcome: &ObjectOutcome, why: &str) -> (Verdict, String) {
    let ObjectOutcome { key, project, .. } = outcome;
    if !plan.unready.contains(key) {
        return (Verdict::Failed, format!("it did not become ready: {why}"));
    }
    let why = why.trim_end_matches('.');
    let message = format!(
        "it was not ready before this run, which left it as it is: {why}. Nothing is deleted in {project} until it is \
         ready, paused, scaled to 0, removed from the tree, or has the annotation kubernator.io/wait: \"false\""
    );
    (Verdict::Unready, message)
}

/// Adapts the plan after the wait, when it is known which unready objects did not become ready. Nothing is deleted in
/// their projects, and the objects that they need are kept.
#[must_use]
pub(crate) fn kept_for(
    plan: &Plan,
    applied: &[ObjectOutcome],
    desired: &BTreeMap<ObjectKey, Manifest>,
    observed: &Observed,
) -> Plan {
    let mut plan = plan.clone();
    let still = applied.iter().filter(|outcome| outcome.verdict == Verdict::Unready);
    plan.unready = still.map(|outcome| outcome.key.clone()).collect();
    let mut cleanup = std::mem::take(&mut plan.cleanup);
    let unready: Vec<&Change> = plan.unready_changes().collect();
    if !unready.is_empty() {
        blocking::keep_beside(&unready, Keep::NotReady, &mut cleanup, &desired.keys().collect(), observed);
    }
    plan.cleanup = cleanup;
    plan
}

/// A notice that names the desired live objects that are not ready now, and the projects in which they prevent
/// deletions. It shows no readiness numbers, because these change every second.
pub(crate) fn notice(plan: &Plan, observed: &Observed) -> Option<Notice> {
    let unready = plan.changes.iter().map(|change| &change.ident.key).filter(|key| observed.unready.contains(key));
    let objects: Vec<ObjectKey> = unready.cloned().collect();
    if objects.is_empty() {
        return None;
    }
    let mut first: BTreeMap<&ProjectPath, &ObjectKey> = BTreeMap::new();
    for change in plan.unready_changes() {
        first.entry(&change.project).or_insert(&change.ident.key);
    }
    first.retain(|project, _| plan.deletions().any(|change| change.project == **project));
    let kept = first.into_iter().map(|(project, key)| (project.clone(), key.clone())).collect();
    Some(Notice::NotReady { objects, kept })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ident::Ident;
    use crate::object::kinds::Kinds;
    use crate::object::live::Live;
    use crate::object::mark::{Root, stamp};
    use crate::object::redact::Redactor;
    use crate::object::refusal::Refusal;
    use crate::plan::build::{Baseline, PlanRequest, build};
    use crate::plan::decision::{Action, Decision, Delete, Withheld};
    use crate::plan::observed::{DryRun, Lookup};
    use crate::plan::policy::{Policy, Reviewed, Shown};
    use crate::project::path::Segment;
    use crate::project::scope::{Scope, ScopeRequest};
    use crate::project::snapshot::SourcePlace;
    use crate::project::tree::Cleanup;
    use crate::state::payload::Entries;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    fn root() -> Root {
        Root::new(Segment::new("demo").unwrap())
    }

    fn project(number: usize) -> ProjectPath {
        format!("demo.p{number}").parse().unwrap()
    }

    fn key(kind: &str, name: &str) -> ObjectKey {
        let group = if kind == "Deployment" { "apps" } else { "" };
        ObjectKey { group: group.into(), kind: kind.into(), namespace: Some("x".into()), name: name.into() }
    }

    /// The state of a desired object: the result of its dry run, and its readiness before and after the run.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum State {
        New,
        Changed,
        Refused,
        Foreign,
        Ready,
        Heals,
        Sick,
    }

    const STATES: [State; 7] =
        [State::New, State::Changed, State::Refused, State::Foreign, State::Ready, State::Heals, State::Sick];

    /// A test case: desired and dropped objects, each in a project, and the observations about them.
    struct Situation {
        desired: BTreeMap<ObjectKey, Manifest>,
        observed: Observed,
        entries: Entries,
        policy: Policy,
        states: BTreeMap<ObjectKey, State>,
    }

    impl Situation {
        /// `wanted` are desired Deployments, each with its project and state. `dropped` are recorded ConfigMaps, each
        /// with its project and `true` if its deletion was shown.
        fn new(wanted: &[(usize, State)], dropped: &[(usize, bool)]) -> Self {
            let observed = Observed { kinds: Kinds::builtin().clone(), ..Observed::default() };
            let policy = Policy::new(Cleanup::On, "kubernator-system");
            let mut situation = Self {
                desired: BTreeMap::new(),
                observed,
                entries: Entries::default(),
                policy,
                states: BTreeMap::new(),
            };
            for (number, (at, state)) in wanted.iter().enumerate() {
                situation.want(&key("Deployment", &format!("d{number}")), &project(*at), *state);
            }
            let mut shown = Shown::default();
            for (number, (at, is_shown)) in dropped.iter().enumerate() {
                let key = key("ConfigMap", &format!("c{number}"));
                situation.see(&key, &project(*at), &json!({}));
                if *is_shown {
                    shown.deleted.insert(key, 7);
                }
            }
            situation.policy.reviewed = Reviewed::Only(shown);
            situation
        }

        /// Adds a live object that is ours and recorded.
        fn see(&mut self, key: &ObjectKey, project: &ProjectPath, body: &Value) {
            let mut body = body.clone();
            body["metadata"] = json!({"uid": key.name, "name": key.name, "namespace": "x", "resourceVersion": "1", "managedFields": [{"manager": "ktor-demo",
                "operation": "Apply", "fieldsV1": {"f:metadata": {"f:annotations": {"f:kubernator.io/project": {}}}}}]});
            stamp(&mut body, project, &root());
            self.observed.looks.insert(key.clone(), Lookup::Live(Live { body }));
            self.entries.insert(project, &Ident { key: key.clone(), version: "v1".into() });
        }

        fn want(&mut self, key: &ObjectKey, project: &ProjectPath, state: State) {
            let (ident, place) = (Ident { key: key.clone(), version: "v1".into() }, SourcePlace::whole("d.yaml"));
            let body =
                json!({"apiVersion": "apps/v1", "kind": key.kind, "metadata": {"name": key.name, "namespace": "x"}});
            self.desired.insert(key.clone(), Manifest { ident, project: project.clone(), place, body: body.into() });
            self.states.insert(key.clone(), state);
            if state != State::New {
                self.see(key, project, &json!({"spec": {}}));
            }
            if matches!(state, State::Changed | State::Refused | State::Foreign | State::Heals | State::Sick) {
                self.observed.unready.insert(key.clone());
            }
            if state == State::Foreign
                && let Some(Lookup::Live(live)) = self.observed.looks.get_mut(key)
            {
                live.body["metadata"]["annotations"]["kubernator.io/project"] = json!("other");
            }
            let trial = match state {
                State::New => DryRun::Created,
                State::Refused => DryRun::Refused(Refusal::Invalid("no".into())),
                State::Changed => {
                    let mut after = self.observed.live(key).unwrap().clone();
                    after.body["spec"]["replicas"] = json!(2);
                    DryRun::Applied(after)
                }
                _ => DryRun::Proved,
            };
            self.observed.trials.insert(key.clone(), trial);
        }

        fn plan(&self) -> Plan {
            let known = (0..3).map(project).chain([root().project()]).collect();
            let scope = Scope::resolve(&ScopeRequest::default(), &known, &BTreeSet::new()).unwrap();
            let (redactor, broken) = (Redactor::default(), BTreeMap::new());
            let request = PlanRequest {
                root: &root(),
                scope: &scope,
                desired: &self.desired,
                entries: &self.entries,
                policy: &self.policy,
                redactor: &redactor,
                broken: &broken,
                before: Baseline::Unknown,
            };
            build(request, &self.observed)
        }

        /// The outcomes of a run that changes only what the plan says, and in which only `Sick` objects stay unready.
        fn applied(&self, plan: &Plan) -> Vec<ObjectOutcome> {
            let outcome = |change: &Change| {
                let (key, project) = (change.ident.key.clone(), change.project.clone());
                let outcome = ObjectOutcome { key, project, verdict: Verdict::Unchanged, detail: None };
                let verdict = match self.states[&change.ident.key] {
                    State::Sick => judged(plan, &outcome, "no node").0,
                    _ => outcome.verdict,
                };
                ObjectOutcome { verdict, ..outcome }
            };
            plan.changes.iter().map(outcome).collect()
        }

        fn after(&self, plan: &Plan) -> Plan {
            kept_for(plan, &self.applied(plan), &self.desired, &self.observed)
        }
    }

    fn decisions(plan: &Plan) -> Vec<Decision> {
        plan.cleanup.iter().map(|change| change.decision.clone()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn r16_what_was_sick_before_and_is_left_as_it_is_keeps_the_deletions_of_its_project_and_of_no_other(
            wanted in proptest::collection::vec((0..3_usize, proptest::sample::select(STATES.to_vec())), 0..6),
            dropped in proptest::collection::vec((0..3_usize, any::<bool>()), 0..8),
        ) {
            let situation = Situation::new(&wanted, &dropped);
            let plan = situation.plan();
            let after = situation.after(&plan);
            let of = |wished: &[State]| -> BTreeSet<ProjectPath> {
                wanted.iter().filter(|(_, state)| wished.contains(state)).map(|(at, _)| project(*at)).collect()
            };
            let (sick, may_be) = (of(&[State::Sick]), of(&[State::Sick, State::Heals]));
            let stopped = of(&[State::Refused, State::Foreign]);
            prop_assert_eq!(&plan.changes, &after.changes);
            prop_assert_eq!((&plan.digest, &plan.own), (&after.digest, &after.own));
            prop_assert_eq!((plan.cleanup.len(), after.cleanup.len()), (dropped.len(), dropped.len()));
            for (before, after) in plan.cleanup.iter().zip(&after.cleanup) {
                let (at, is_shown) = &dropped[before.ident.key.name[1..].parse::<usize>().unwrap()];
                let is_deleted = *is_shown && !stopped.contains(&project(*at));
                prop_assert_eq!(before.action() == Action::Delete, is_deleted, "{:?}", before);
                if is_deleted && sick.contains(&project(*at)) {
                    let named = matches!(&after.decision, Decision::Keep(Keep::NotReady(key)) if situation.states[key] == State::Sick);
                    prop_assert!(after.action() == Action::Keep && named, "{:?}", after);
                } else {
                    prop_assert_eq!(before, after);
                }
            }
            prop_assert_eq!(
                after.open_projects(),
                blocking::open_projects(after.all()).into_iter().chain(sick.iter().cloned()).collect()
            );
            let is_kept = decisions(&after) != decisions(&plan);
            prop_assert!(!is_kept || after.awaits_review());
            // The plan announces beforehand what may be kept.
            let told = match notice(&plan, &situation.observed) {
                Some(Notice::NotReady { kept, .. }) => kept,
                _ => Vec::new(),
            };
            for at in (0..3).map(project) {
                let is_told = told.iter().any(|(project, _)| *project == at);
                let waits = may_be.contains(&at) && plan.deletions().any(|change| change.project == at);
                prop_assert_eq!(is_told, waits, "{:?}", &told);
            }
            // After all objects are repaired, every object that was kept for them is deleted.
            let healed: Vec<(usize, State)> = wanted
                .iter()
                .map(|(at, state)| (*at, if *state == State::Sick { State::Ready } else { *state }))
                .collect();
            let next = Situation::new(&healed, &dropped);
            prop_assert_eq!(decisions(&next.after(&next.plan())), decisions(&plan));
        }
    }

    #[test]
    fn r16_only_what_the_run_leaves_as_it_is_and_was_not_ready_before_is_no_failure() {
        for state in STATES {
            let situation = Situation::new(&[(0, state)], &[]);
            let plan = situation.plan();
            let (key, project) = (key("Deployment", "d0"), project(0));
            let outcome = ObjectOutcome { key, project, verdict: Verdict::Unchanged, detail: None };
            let (verdict, message) = judged(&plan, &outcome, "no node.");
            let is_left = matches!(state, State::Heals | State::Sick);
            assert_eq!(verdict, if is_left { Verdict::Unready } else { Verdict::Failed }, "{state:?}");
            assert!(!message.contains(".."), "{message}");
            assert!(message.contains("no node") && message.contains("demo.p0") == is_left, "{state:?}: {message}");
        }
    }

    #[test]
    fn r16_what_a_sick_object_names_stays_with_it() {
        let mut situation = Situation::new(&[(0, State::Sick)], &[(1, true), (1, true)]);
        let env = json!({"spec": {"containers": [{"envFrom": [{"configMapRef": {"name": "c0"}}]}]}});
        situation.see(&key("Deployment", "d0"), &project(0), &env);
        let after = situation.after(&situation.plan());
        assert_eq!(
            decisions(&after),
            [Decision::Keep(Keep::NeededBy(key("Deployment", "d0"))), Decision::Delete(Delete::Undesired)]
        );
    }

    #[test]
    fn r15_what_a_webhook_refuses_stays_where_the_webhook_stays() {
        let mut situation = Situation::new(&[(0, State::Sick)], &[(0, true), (1, true), (1, true)]);
        let (webhook, refused) = (key("ConfigMap", "c0"), key("ConfigMap", "c2"));
        situation.observed.lifted.insert(refused, webhook.clone());
        let plan = situation.plan();
        assert!(plan.deletions().count() == 3, "{plan:?}");
        let after = decisions(&situation.after(&plan));
        assert_eq!(
            after[1..],
            [Decision::Delete(Delete::Undesired), Decision::Keep(Keep::Withheld(Withheld::RefusedBy(webhook)))]
        );
    }

    #[test]
    fn r16_a_notice_names_the_objects_and_what_they_prevent() {
        let situation = Situation::new(&[(0, State::Sick); 7], &[(0, true), (1, true)]);
        let Some(Notice::NotReady { objects, kept }) = notice(&situation.plan(), &situation.observed) else {
            panic!("seven objects are not ready")
        };
        assert_eq!(objects.len(), 7);
        assert_eq!(kept, [(project(0), key("Deployment", "d0"))]);
    }
}

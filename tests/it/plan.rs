//! Properties of the plan and the state over random trees, moves and scopes, against an oracle of plain sets.

use std::collections::{BTreeMap, BTreeSet};

use ktor_action::object::ident::{Ident, ObjectKey};
use ktor_action::object::kinds::Kinds;
use ktor_action::object::live::Live;
use ktor_action::object::manifest::Manifest;
use ktor_action::object::mark::{Root, stamp};
use ktor_action::object::redact::Redactor;
use ktor_action::plan::build::{Baseline, Plan, PlanRequest, build};
use ktor_action::plan::decision::Action;
use ktor_action::plan::observed::{DryRun, Lookup, Observed};
use ktor_action::plan::policy::Policy;
use ktor_action::project::path::{ProjectPath, Segment};
use ktor_action::project::scope::{Scope, ScopeRequest};
use ktor_action::project::snapshot::SourcePlace;
use ktor_action::project::tree::Cleanup;
use ktor_action::state::commits::Commits;
use ktor_action::state::payload::Entries;
use ktor_action::state::transition::{Prior, RunCommits, Settlement, Start};
use proptest::collection::btree_map;
use proptest::prelude::*;
use serde_json::{Value, json};

const PROJECTS: [&str; 4] = ["demo", "demo.a", "demo.a.x", "demo.b"];

/// A map from object number to project number.
type Placement = BTreeMap<u8, usize>;

fn project(number: usize) -> ProjectPath {
    PROJECTS[number].parse().unwrap()
}

fn ident(number: u8) -> Ident {
    let name = format!("object-{number}");
    let key = ObjectKey { group: String::new(), kind: "ConfigMap".into(), namespace: Some("x".into()), name };
    Ident { key, version: "v1".into() }
}

fn body(number: u8, value: u8) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("object-{number}"), "namespace": "x"},
        "data": {"value": value.to_string()}})
}

fn root() -> Root {
    Root::new(Segment::new("demo").unwrap())
}

/// Returns an object as an apply of ours leaves it.
fn live(number: u8, owner: usize, value: u8) -> Live {
    let mut body = body(number, value);
    stamp(&mut body, &project(owner), &root());
    body["metadata"]["uid"] = json!(format!("uid-{number}"));
    body["metadata"]["resourceVersion"] = json!("1");
    body["metadata"]["managedFields"] = json!([{"manager": "ktor-demo", "operation": "Apply", "apiVersion": "v1",
        "fieldsV1": {"f:metadata": {"f:annotations": {"f:kubernator.io/project": {}}}}}]);
    Live { body }
}

struct World {
    desired: BTreeMap<ObjectKey, Manifest>,
    prior: Prior,
    scope: Scope,
    observed: Observed,
}

fn world(before: &Placement, after: &Placement, scoped: &BTreeSet<usize>, value: u8) -> World {
    let place = SourcePlace::whole("x.yaml");
    let manifest = |(number, owner): (&u8, &usize)| {
        let manifest = Manifest {
            ident: ident(*number),
            project: project(*owner),
            place: place.clone(),
            body: body(*number, value).into(),
        };
        (manifest.ident.key.clone(), manifest)
    };
    let mut entries = Entries::default();
    for (number, owner) in before {
        entries.insert(&project(*owner), &ident(*number));
    }
    let known = PROJECTS.iter().map(|name| name.parse().unwrap()).collect();
    let touched = Some(scoped.iter().map(|number| project(*number)).collect());
    let request = ScopeRequest { touched, ..ScopeRequest::default() };
    let scope = Scope::resolve(&request, &known, &BTreeSet::new()).unwrap();
    let looks = before.iter().map(|(number, owner)| (ident(*number).key, Lookup::Live(live(*number, *owner, 0))));
    let trials = after.iter().map(|(number, owner)| {
        let trial =
            if before.contains_key(number) { DryRun::Applied(live(*number, *owner, value)) } else { DryRun::Created };
        (ident(*number).key, trial)
    });
    World {
        desired: after.iter().map(manifest).collect(),
        prior: Prior {
            entries,
            start: Start::Settled,
            commits: Commits::default(),
            open: BTreeSet::new(),
            source: None,
            target: None,
            exists: true,
        },
        scope,
        observed: Observed {
            kinds: Kinds::builtin().clone(),
            looks: looks.collect(),
            trials: trials.collect(),
            ..Observed::default()
        },
    }
}

fn intent(world: &World) -> Entries {
    let mut intent = Entries::default();
    for manifest in world.desired.values().filter(|manifest| world.scope.contains(&manifest.project)) {
        intent.insert(&manifest.project, &manifest.ident);
    }
    intent
}

fn planned(world: &World, entries: &Entries) -> Plan {
    let policy = Policy::new(Cleanup::On, "kubernator-system");
    let redactor = Redactor::default();
    let (root, World { desired, scope, observed, .. }) = (root(), world);
    let (policy, redactor, broken, before) = (&policy, &redactor, &BTreeMap::new(), Baseline::Unknown);
    build(PlanRequest { root: &root, scope, desired, entries, policy, redactor, broken, before }, observed)
}

/// Returns the settlement of a run that carried out the whole plan.
fn carried_out(plan: &Plan) -> Settlement {
    Settlement {
        gone: plan.deletions().map(|change| change.ident.key.clone()).collect(),
        placed: plan.changes.iter().map(|change| (change.ident.key.clone(), change.project.clone())).collect(),
        ..Settlement::default()
    }
}

fn placement() -> impl Strategy<Value = Placement> {
    btree_map(0u8..8, 0usize..PROJECTS.len(), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn s2_moves_delete_nothing_and_everything_is_owned_once(
        before in placement(), after in placement(), scoped in prop::collection::btree_set(0usize..PROJECTS.len(), 0..=4), value in 0u8..2,
    ) {
        let world = world(&before, &after, &scoped, value);
        let pending = world.prior.begin(intent(&world), &RunCommits::default());
        let plan = planned(&world, pending.entries());

        // The oracle uses plain sets.
        let deleted: BTreeSet<String> = before
            .iter()
            .filter(|(number, owner)| !after.contains_key(number) && scoped.contains(owner))
            .map(|(number, _)| format!("object-{number}"))
            .collect();
        let planned: BTreeSet<String> = plan.deletions().map(|change| change.ident.key.name.clone()).collect();
        prop_assert_eq!(&planned, &deleted);
        for change in &plan.changes {
            let number: u8 = change.ident.key.name["object-".len()..].parse().unwrap();
            let expected = match before.get(&number) {
                None => Action::Create,
                Some(owner) if *owner != after[&number] => Action::Move,
                Some(_) if value == 0 => Action::Unchanged,
                Some(_) => Action::Update,
            };
            prop_assert_eq!(change.action(), expected);
        }

        // Phase one records everything that was recorded before and everything that is desired in scope.
        let recorded = pending.record().payload.resources;
        for (number, owner) in before.iter().chain(after.iter().filter(|(_, owner)| scoped.contains(owner))) {
            prop_assert!(recorded.contains(&project(*owner), &ident(*number).key));
        }

        // Phase two records each desired object in scope once, under its project. It drops deleted objects and leaves
        // every other entry as it was.
        let finished = pending.finish(&carried_out(&plan)).payload.resources;
        let mut expected: BTreeSet<(usize, u8)> = BTreeSet::new();
        expected.extend(after.iter().filter(|(_, owner)| scoped.contains(owner)).map(|(number, owner)| (*owner, *number)));
        expected.extend(before.iter().filter_map(|(number, owner)| {
            let placed = after.get(number).is_some_and(|now| scoped.contains(now));
            let gone = deleted.contains(&format!("object-{number}"));
            (!placed && !gone).then_some((*owner, *number))
        }));
        let expected: BTreeSet<(ProjectPath, ObjectKey)> =
            expected.into_iter().map(|(owner, number)| (project(owner), ident(number).key)).collect();
        let finished: BTreeSet<(ProjectPath, ObjectKey)> =
            finished.iter().map(|(owner, ident)| (owner.clone(), ident.key)).collect();
        prop_assert_eq!(finished, expected);
    }

    #[test]
    fn p6_the_plan_of_a_plans_result_is_empty(
        before in placement(), after in placement(), value in 0u8..2,
    ) {
        let everything = (0..PROJECTS.len()).collect();
        let first = world(&before, &after, &everything, value);
        let pending = first.prior.begin(intent(&first), &RunCommits::default());
        let plan = planned(&first, pending.entries());
        let finished = pending.finish(&carried_out(&plan)).payload.resources;
        let mut second = world(&after, &after, &everything, value);
        second.prior.entries = finished;
        for (number, owner) in &after {
            second.observed.looks.insert(ident(*number).key, Lookup::Live(live(*number, *owner, value)));
        }
        let pending = second.prior.begin(intent(&second), &RunCommits::default());
        let plan = planned(&second, pending.entries());
        prop_assert!(!plan.has_changes(), "{:?}", plan.all().collect::<Vec<_>>());
    }

    #[test]
    fn p7_the_digest_changes_with_what_would_be_done_and_with_nothing_else(
        before in placement(), after in placement(), other in placement(), value in 0u8..2,
    ) {
        let everything = (0..PROJECTS.len()).collect();
        let digest = |after: &Placement, value| {
            let world = world(&before, after, &everything, value);
            let pending = world.prior.begin(intent(&world), &RunCommits::default());
            planned(&world, pending.entries())
        };
        let (one, again, two) = (digest(&after, value), digest(&after, value), digest(&other, value));
        prop_assert_eq!(&one.digest, &again.digest);
        // In this test, the action on an object follows from its number, its project and the value.
        let done = |plan: &Plan| -> BTreeSet<String> {
            let acts = plan.all().filter(|change| change.action() != Action::Unchanged);
            acts.map(|change| format!("{:?} {} {}", change.action(), change.ident.key, change.project)).collect()
        };
        prop_assert_eq!(one.digest == two.digest, done(&one) == done(&two));
    }
}

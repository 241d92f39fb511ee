//! Single scenarios, one rule each. The enumerations find these defects too, but these tests take a second and name the
//! rule.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use base64::Engine;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use ktor_action::plan::outcome::Verdict;
use ktor_action::run::ended::End;
use ktor_action::run::error::RunError;
use serde_json::{Value, json};
use support::model::{Request, World};

use super::choice::{Choice, Forest, Tree};
use super::crashes::{beginning, fail_on};
use super::history::{Run, Stopped, run};
use super::invariant::{recorded, settled, state};
use super::simulation::{Fate, Fates, STATE, Simulation};

const Y: &str = "/api/v1/namespaces/shop/configmaps/y";
const W: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/w";

/// Returns a server on which a run of this tree has finished.
async fn after(forest: &Forest, tree: Tree) -> World {
    let site = Simulation::new(beginning());
    run(&site, forest, &Run::of("earlier", Choice::of(tree))).await.result.unwrap();
    fail_on(&site.violations(), &site, tree.name());
    site.world()
}

/// Replaces an object, as another tool does.
fn put(world: &mut World, path: &str, manager: &str, body: &Value) {
    let target = format!("{path}?fieldManager={manager}");
    let request = Request { method: Method::PUT, target, body: body.to_string().into_bytes() };
    let answer = world.answer(&request, "2031-05-06T08:08:09Z".parse().unwrap());
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Returns the number of the last request with this line in a run that nothing disturbs.
async fn last_request(forest: &Forest, world: &World, choice: Choice, line: &str) -> usize {
    let site = Simulation::new(world.clone());
    run(&site, forest, &Run::of("counted", choice)).await.result.unwrap();
    let journal = site.journal();
    let found = journal.iter().rev().find(|entry| entry.contains(&format!(" {line}: ")));
    found.and_then(|entry| entry.split(' ').nth(1)).unwrap().parse().unwrap()
}

/// Checks that runs of a tree settle the root.
async fn check_settles(world: World, forest: &Forest, tree: Tree) {
    let site = Simulation::new(world);
    for name in ["next", "last"] {
        run(&site, forest, &Run::of(name, Choice::of(tree))).await.result.unwrap();
    }
    fail_on(&settled(&site.world(), tree), &site, tree.name());
}

/// Returns a server on which `y` has lost its label. The state records `y`, its annotation marks it as ours, and no
/// list shows it.
async fn unlisted(forest: &Forest) -> World {
    let mut world = after(forest, Tree::Whole).await;
    let mut bare = world.object(Y).unwrap().clone();
    bare["metadata"]["labels"] = json!({});
    put(&mut world, Y, "kubectl-label", &bare);
    world
}

#[tokio::test(start_paused = true)]
async fn o2_everything_is_recorded_before_it_is_created() {
    let forest = Forest::grow().await;
    let world = after(&forest, Tree::Whole).await;
    assert!(world.object(Y).is_some() && recorded(&world).contains_key("ConfigMap shop/y"));
}

#[tokio::test(start_paused = true)]
async fn a7_a_failed_apply_ends_the_run_before_cleanup_and_phase_two() {
    let forest = Forest::grow().await;
    let world = after(&forest, Tree::Whole).await;
    let choice = Choice::of(Tree::Renewed);
    let number = last_request(&forest, &world, choice, "PATCH /api/v1/namespaces/shop/configmaps/x").await;
    let site = Simulation::new(world);
    let fates = Fates { at: BTreeMap::from([(number, Fate::Refused(422))]), ..Fates::default() };
    let result = run(&site, &forest, &Run { fates, ..Run::of("failing", choice) }).await.result;
    assert!(result.as_ref().is_err_and(Stopped::is_incomplete), "{:?}", result.err());
    assert!(site.world().object(W).is_some(), "what is independent of it is done");
    assert!(site.world().object(Y).is_some(), "nothing is deleted");
    assert_eq!(state(&site.world()).unwrap()["finalized"], false);
    check_settles(site.world(), &forest, Tree::Renewed).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_last_write_is_refused_says_what_it_did() {
    let forest = Forest::grow().await;
    let world = after(&forest, Tree::Whole).await;
    let choice = Choice::of(Tree::Dropped);
    let number = last_request(&forest, &world, choice, &format!("PUT {STATE}")).await;
    for status in [409, 403] {
        let site = Simulation::new(world.clone());
        let fates = Fates { at: BTreeMap::from([(number, Fate::Refused(status))]), ..Fates::default() };
        let error = run(&site, &forest, &Run { fates, ..Run::of("refused", choice) }).await.result.unwrap_err();
        let report = error.report().unwrap_or_else(|| panic!("{status}: {error}"));
        assert!(matches!(report.end, End::Failed(RunError::WriteState(_))), "{status}: {error}");
        assert_eq!(report.plan.deletions().count(), 1, "{status}: {error}");
        assert_eq!(report.outcome.count(Verdict::Deleted), 1, "{status}: {error}");
        assert!(recorded(&site.world()).contains_key("ConfigMap shop/y"), "phase one's record stands");
        check_settles(site.world(), &forest, Tree::Dropped).await;
    }
}

#[tokio::test(start_paused = true)]
async fn o13_an_apply_that_lands_after_the_next_run_is_looked_for_though_it_was_repeated() {
    let forest = Forest::grow().await;
    let site = Simulation::new(after(&forest, Tree::Whole).await);
    let choice = Choice::of(Tree::Renewed);
    let number = last_request(&forest, &site.world(), choice, &format!("PATCH {W}")).await;
    let fates = Fates { at: BTreeMap::from([(number, Fate::Slow(Duration::from_mins(10)))]), ..Fates::default() };
    run(&site, &forest, &Run { fates, ..Run::of("repeating", choice) }).await.result.unwrap();
    assert!(site.world().object(W).is_some());
    run(&site, &forest, &Run::of("next", Choice::of(Tree::Dropped))).await.result.unwrap();
    assert!(site.world().object(W).is_none());
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(site.world().object(W).is_some(), "the first try arrives");
    check_settles(site.world(), &forest, Tree::Dropped).await;
}

#[tokio::test(start_paused = true)]
async fn o14_what_another_tool_forgot_is_swept_whatever_its_kind() {
    let forest = Forest::grow().await;
    let mut world = after(&forest, Tree::Renewed).await;
    let mut forgetful = Value::clone(&state(&world).unwrap());
    forgetful["resources"]["demo.a"].as_array_mut().unwrap().retain(|ident| ident["kind"] != "ClusterRole");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(forgetful.to_string().as_bytes()).unwrap();
    let data = base64::engine::general_purpose::STANDARD.encode(encoder.finish().unwrap());
    let mut secret = world.object(STATE).unwrap().clone();
    secret["metadata"]["annotations"] = json!({"kubernator.io/project-root": "demo"});
    secret["data"] = json!({"state": data});
    put(&mut world, STATE, "OpenAPI-Generator", &secret);
    assert!(!recorded(&world).contains_key("ClusterRole /w"));
    check_settles(world, &forest, Tree::Dropped).await;
}

#[tokio::test(start_paused = true)]
async fn c3_what_no_list_shows_is_read_before_it_counts_as_gone() {
    let forest = Forest::grow().await;
    let world = unlisted(&forest).await;
    check_settles(world, &forest, Tree::Dropped).await;
}

#[tokio::test(start_paused = true)]
async fn o7_an_entry_whose_read_fails_stays() {
    let forest = Forest::grow().await;
    let world = unlisted(&forest).await;
    let choice = Choice::of(Tree::Dropped);
    let journal = {
        let site = Simulation::new(world.clone());
        run(&site, &forest, &Run::of("counted", choice)).await.result.unwrap();
        site.journal()
    };
    let line = format!(" GET {Y}: ");
    let numbers = journal.iter().filter(|entry| entry.contains(&line)).map(|entry| entry.split(' ').nth(1).unwrap());
    let at: BTreeMap<usize, Fate> = numbers.map(|number| (number.parse().unwrap(), Fate::Refused(403))).collect();
    assert!(!at.is_empty());
    let site = Simulation::new(world);
    drop(run(&site, &forest, &Run { fates: Fates { at, ..Fates::default() }, ..Run::of("blind", choice) }).await);
    assert!(site.world().object(Y).is_some() && recorded(&site.world()).contains_key("ConfigMap shop/y"));
    check_settles(site.world(), &forest, Tree::Dropped).await;
}

#[tokio::test(start_paused = true)]
async fn o7_what_was_kept_with_cleanup_off_is_deleted_when_it_is_on() {
    let forest = Forest::grow().await;
    let site = Simulation::new(after(&forest, Tree::Whole).await);
    run(&site, &forest, &Run::of("keeping", Choice::keeping(Tree::Dropped))).await.result.unwrap();
    assert!(site.world().object(Y).is_some() && recorded(&site.world()).contains_key("ConfigMap shop/y"));
    check_settles(site.world(), &forest, Tree::Dropped).await;
}

#[tokio::test(start_paused = true)]
async fn o12_a_file_that_cannot_be_read_turns_every_deletion_off() {
    let forest = Forest::grow().await;
    let site = Simulation::new(after(&forest, Tree::Whole).await);
    run(&site, &forest, &Run::of("broken", Choice::only(Tree::Broken, "demo.a"))).await.result.unwrap();
    assert!(site.world().object(Y).is_some(), "it may have moved into the file");
    check_settles(site.world(), &forest, Tree::Moved).await;
}

#[tokio::test(start_paused = true)]
async fn o15_a_move_to_a_project_out_of_scope_deletes_and_forgets_nothing() {
    let forest = Forest::grow().await;
    let site = Simulation::new(after(&forest, Tree::Whole).await);
    run(&site, &forest, &Run::of("scoped", Choice::only(Tree::Moved, "demo.a"))).await.result.unwrap();
    assert!(site.world().object(Y).is_some());
    assert_eq!(recorded(&site.world())["ConfigMap shop/y"], ["demo.a"]);
    check_settles(site.world(), &forest, Tree::Moved).await;
}

/// A run tells its phases in order, and each object that it applies or deletes exactly once.
#[tokio::test(start_paused = true)]
async fn r16_a_run_tells_each_object_once_and_its_phases_in_order() {
    let forest = Forest::grow().await;
    for (before, tree, expected) in [
        (
            Tree::Whole,
            Tree::Renewed,
            &[
                "Plan",
                "Record",
                "Apply",
                "configured ConfigMap shop/x",
                "created ClusterRole.rbac.authorization.k8s.io w",
                "unchanged Secret shop/z",
                "Cleanup",
                "cleaned: deleted ConfigMap shop/y",
                "Finalize",
            ][..],
        ),
        (
            Tree::Sealed,
            Tree::Resealed,
            &[
                "Plan",
                "Record",
                "Apply",
                "unchanged ConfigMap shop/x",
                "replaced ConfigMap shop/y",
                "unchanged Secret shop/z",
                "Cleanup",
                "Finalize",
            ],
        ),
    ] {
        let site = Simulation::new(after(&forest, before).await);
        let ended = run(&site, &forest, &Run::of("telling", Choice::of(tree))).await;
        let report = ended.result.unwrap();
        // The objects of one wave are sent at once, and their events come in any order.
        let is_phase = |event: &&String| !event.contains(' ');
        let phases = |events: &[String]| events.iter().filter(is_phase).cloned().collect::<Vec<_>>();
        let sorted = |events: &[String]| {
            let mut events = events.to_vec();
            events.sort();
            events
        };
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!((phases(&ended.events), sorted(&ended.events)), (phases(&expected), sorted(&expected)));
        let at = |event: &str| ended.events.iter().position(|told| told == event).unwrap();
        for event in ended.events.iter().filter(|event| !is_phase(event)) {
            let (from, to) = if event.starts_with("cleaned") { ("Cleanup", "Finalize") } else { ("Apply", "Cleanup") };
            assert!(at(from) < at(event) && at(event) < at(to), "{:#?}", ended.events);
        }
        assert_eq!(report.outcome.all().count() + 5, ended.events.len());
    }
}

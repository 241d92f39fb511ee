//! Other actors on the server: a client that creates an object again from a copy, and Kubernator between two runs of
//! ours.

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use support::announce;
use support::model::{Answer, Request, World};

use super::choice::{Choice, Forest, Tree};
use super::crashes::{Past, beginning, crash, fail_on};
use super::history::{Run, Stopped, run, settle};
use super::invariant::{foreigners, recorded, state};
use super::script::Script;
use super::simulation::{Fates, Hand, LEASE, STATE, Simulation, When};

pub const Y: &str = "/api/v1/namespaces/shop/configmaps/y";

/// Sends a request of a client, with the client's name as the field manager, and returns the answer.
pub fn send(world: &mut World, manager: &str, now: Timestamp, method: Method, path: &str, body: &Value) -> Answer {
    let request =
        Request { method, target: format!("{path}?fieldManager={manager}"), body: body.to_string().into_bytes() };
    world.answer(&request, now)
}

/// Lets another client delete `y` and create it again from a copy that has our mark. Does nothing if there is no `y`.
pub fn recreate(world: &mut World, now: Timestamp) {
    let Some(y) = world.object(Y) else { return };
    let copied = |field: &str| y["metadata"][field].clone();
    let (annotations, labels) = (copied("annotations"), copied("labels"));
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "y", "namespace": "shop", "annotations": annotations, "labels": labels},
        "data": {"value": "a stranger's"},
    });
    assert_eq!(send(world, "kubectl-create", now, Method::DELETE, Y, &json!({})).status, 200);
    let collection = Y.rsplit_once('/').unwrap().0;
    assert_eq!(send(world, "kubectl-create", now, Method::POST, collection, &body).status, 201);
}

/// Makes the requests of a Kubernator run of a tree: record, apply, delete by name, record. Kubernator replaces
/// `pending` and forgets the objects that only `pending` lists. It sets no label on objects and drops our annotations
/// from the state's Secret.
pub fn kubernator(world: &mut World, tree: Tree, now: Timestamp) {
    let mut idents: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for path in tree.desired() {
        idents.entry(tree.project_of(path)).or_default().push(ident(path));
    }
    let before = state(world).map_or(json!({}), |state| state["resources"].clone());
    record(world, now, &json!({"finalized": false, "pending": idents, "resources": before, "version": "1"}));
    for path in tree.desired() {
        let mut body = tree.manifest(path);
        if path.contains("/namespaces/") {
            body["metadata"]["namespace"] = json!("shop");
        }
        let mark = json!({"kubernator.io/project": tree.project_of(path)});
        if let Some(mut live) = world.object(path).cloned() {
            for field in ["data", "immutable"] {
                live[field] = body[field].clone();
            }
            live["metadata"]["annotations"]["kubernator.io/project"] = mark["kubernator.io/project"].clone();
            let put = send(world, "kubernator", now, Method::PUT, path, &live);
            if put.status < 300 {
                continue;
            }
            // Kubernator deletes an object that it may not change, and creates it again.
            assert_eq!(put.status, 422, "{path}: {}", put.body);
            send(world, "kubernator", now, Method::DELETE, path, &json!({}));
        }
        body["metadata"]["annotations"] = mark;
        let posted = send(world, "kubernator", now, Method::POST, path.rsplit_once('/').unwrap().0, &body);
        assert_eq!(posted.status, 201, "{path}: {}", posted.body);
    }
    let paths = ["x", "y"].map(|name| format!("/api/v1/namespaces/shop/configmaps/{name}"));
    let paths = paths.into_iter().chain([
        "/api/v1/namespaces/shop/secrets/z".to_owned(),
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/w".to_owned(),
    ]);
    let known: Vec<&Value> = before.as_object().unwrap().values().flat_map(|list| list.as_array().unwrap()).collect();
    for path in paths.filter(|path| known.contains(&&ident(path)) && !tree.desired().contains(&path.as_str())) {
        send(world, "kubernator", now, Method::DELETE, &path, &json!({}));
    }
    record(world, now, &json!({"finalized": true, "pending": {}, "resources": idents, "version": "1"}));
}

/// Returns the entry of an object in the state.
fn ident(path: &str) -> Value {
    let name = path.rsplit('/').next().unwrap();
    match path.rsplit('/').nth(1).unwrap() {
        "clusterroles" => {
            json!({"group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name, "version": "v1"})
        }
        plural => {
            let kind = if plural == "secrets" { "Secret" } else { "ConfigMap" };
            json!({"group": "", "kind": kind, "name": name, "namespace": "shop", "version": "v1"})
        }
    }
}

/// Writes the state as Kubernator does: over any stored state.
fn record(world: &mut World, now: Timestamp, state: &Value) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(state.to_string().as_bytes()).unwrap();
    let data = base64::engine::general_purpose::STANDARD.encode(encoder.finish().unwrap());
    let (collection, name) = STATE.rsplit_once('/').unwrap();
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernator.io/project-state", "data": {"state": data},
        "metadata": {"name": name, "namespace": "kubernator-system",
            "annotations": {"kubernator.io/project-root": "demo"}},
    });
    let manager = "OpenAPI-Generator";
    let status = match world.object(STATE) {
        Some(stored) => {
            secret["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
            send(world, manager, now, Method::PUT, STATE, &secret).status
        }
        None => send(world, manager, now, Method::POST, collection, &secret).status,
    };
    assert!(status < 300, "{status}");
}

/// Returns a server on which a run of this tree has finished.
pub async fn after(forest: &Forest, tree: Tree) -> World {
    let site = Simulation::new(beginning());
    run(&site, forest, &Run::of("earlier", Choice::of(tree))).await.result.unwrap();
    site.world()
}

/// Returns every server that a run may leave, crashed at any request or not at all.
pub async fn every_end(forest: &Forest, world: World, choice: Choice) -> Vec<Past> {
    crash(forest, &Past { world, script: Script::default(), pasts: 1 }, choice, 1).await
}

/// Settles on a tree, and fails with the script if there is a violation.
async fn check(site: &Simulation, forest: &Forest, tree: Tree, script: &str) {
    let mut violations = settle(site, forest, tree).await;
    if foreigners(&site.world()) != foreigners(&beginning()) {
        violations.push("nothing foreign is touched: someone else's object changed".to_owned());
    }
    fail_on(&violations, site, &format!("{script}; settle on {}", tree.name()));
}

/// Lets another client put a `y` with this metadata in the place of ours, whether or not ours exists.
fn stand_in(world: &mut World, now: Timestamp, metadata: &Value) {
    let mut body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "y", "namespace": "shop"},
        "data": {"value": "a stranger's"}});
    body["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    if world.object(Y).is_some() {
        assert_eq!(send(world, "kubectl-create", now, Method::DELETE, Y, &json!({})).status, 200);
    }
    let collection = Y.rsplit_once('/').unwrap().0;
    assert_eq!(send(world, "kubectl-create", now, Method::POST, collection, &body).status, 201);
}

/// A crashed run recorded an object in `pending`, and another client creates it before some request of the next run.
/// The object has no mark that we set, so the next run does not manage it and leaves it as it is.
#[tokio::test(start_paused = true)]
async fn o3_what_is_pending_and_carries_no_mark_of_ours_is_never_deleted() {
    let forest = Forest::grow().await;
    let (choice, ours) = (Choice::of(Tree::Dropped), json!("89e495e7941c"));
    let stand_ins = [
        json!({}),
        json!({"labels": {"kubernator.io/root": ours}}),
        json!({"annotations": {"kubernator.io/project": "demos.a"}, "labels": {"kubernator.io/root": ours}}),
        json!({"annotations": {"kubernator.io/project": "demo.a"}, "labels": {"kubernator.io/root": ours}}),
    ];
    let (mut scenarios, mut pending) = (0, 0);
    for past in every_end(&forest, beginning(), Choice::of(Tree::Whole)).await {
        if state(&past.world).is_none_or(|state| state["pending"] == json!({})) {
            continue;
        }
        pending += 1;
        let counted = Simulation::new(past.world.clone());
        let count = run(&counted, &forest, &Run::of("counted", choice)).await.requests;
        // The next run polls the dead run's Lease many times. All these polls count as one moment, so most of them are
        // skipped.
        let moments: Vec<usize> = (0..count).filter(|at| *at < 4 || *at + 55 > count).collect();
        for (metadata, at) in stand_ins.iter().flat_map(|metadata| moments.iter().map(move |at| (metadata, *at))) {
            let (made, site) = (metadata.clone(), Simulation::new(past.world.clone()));
            let hand = Hand::new(move |world, now| stand_in(world, now, &made));
            let fates = Fates { hand: Some((at, hand)), ..Fates::default() };
            drop(run(&site, &forest, &Run { fates, ..Run::of("beside", choice) }).await);
            let script = format!("{}; {choice}, before its request {at} someone makes y with {metadata}", past.script);
            let value = |site: &Simulation| site.world().object(Y).map(|y| y["data"]["value"].clone());
            assert_eq!(value(&site), Some(json!("a stranger's")), "{script}");
            check(&site, &forest, Tree::Dropped, &script).await;
            assert_eq!(value(&site), Some(json!("a stranger's")), "{script}");
            scenarios += 1;
        }
    }
    assert!(pending > 2, "y was pending after {pending} ends only");
    announce(&format!("simulator: stand-ins: {scenarios} scenarios, {pending} ends with y pending"));
}

/// An object that a crashed run created is deleted when no tree wants it any more. The very next run that may delete
/// does it.
#[tokio::test(start_paused = true)]
async fn o11_what_a_crashed_run_created_and_the_tree_dropped_is_deleted() {
    let forest = Forest::grow().await;
    let mut created = 0;
    for past in every_end(&forest, beginning(), Choice::of(Tree::Whole)).await {
        created += usize::from(past.world.object(Y).is_some());
        let site = Simulation::new(past.world.clone());
        run(&site, &forest, &Run::of("next", Choice::of(Tree::Dropped))).await.result.unwrap();
        assert!(site.world().object(Y).is_none(), "{}; dropped: y is left", past.script);
        check(&site, &forest, Tree::Dropped, &past.script.to_string()).await;
    }
    assert!(created > 3, "y was created before {created} crash points only");
}

/// An object that a crashed run replaced is deleted when no tree wants it any more, wherever the run died between the
/// deletion of the old object and its end. If a tree still wants the object, the next run finishes the replacement.
#[tokio::test(start_paused = true)]
async fn o11_what_a_crashed_run_replaced_and_the_tree_dropped_is_deleted() {
    let forest = Forest::grow().await;
    let world = after(&forest, Tree::Sealed).await;
    let old = world.object(Y).unwrap()["metadata"]["uid"].clone();
    let (mut missing, mut replaced) = (0, 0);
    for past in every_end(&forest, world, Choice::of(Tree::Resealed)).await {
        match past.world.object(Y) {
            None => missing += 1,
            Some(y) if y["metadata"]["uid"] != old => replaced += 1,
            Some(_) => {}
        }
        for goal in [Tree::Dropped, Tree::Resealed] {
            let site = Simulation::new(past.world.clone());
            run(&site, &forest, &Run::of("next", Choice::of(goal))).await.result.unwrap();
            let value = site.world().object(Y).map(|y| y["data"]["value"].clone());
            assert_eq!(value, (goal == Tree::Resealed).then(|| json!("2")), "{}; {}", past.script, goal.name());
            check(&site, &forest, goal, &past.script.to_string()).await;
        }
    }
    assert!(missing > 0 && replaced > 3, "{missing} crash points without y, {replaced} with another");
}

/// An object that another client creates again, at any moment of a run that means to replace it, stays as that client
/// made it. Later actions on it are refused or reported, and it is never deleted.
#[tokio::test(start_paused = true)]
async fn o11_what_a_stranger_made_anew_is_not_replaced() {
    let forest = Forest::grow().await;
    let world = after(&forest, Tree::Sealed).await;
    let site = Simulation::new(world.clone());
    let count = run(&site, &forest, &Run::of("counted", Choice::of(Tree::Resealed))).await.requests;
    let mut copies = 0;
    for number in 0..count {
        let site = Simulation::new(world.clone());
        let fates = Fates { hand: Some((number, Hand::new(recreate))), ..Fates::default() };
        drop(run(&site, &forest, &Run { fates, ..Run::of("beside", Choice::of(Tree::Resealed)) }).await);
        fail_on(&site.violations(), &site, &format!("y is made anew before request {number}"));
        let world = site.world();
        let y = world.object(Y).unwrap_or_else(|| panic!("y is made anew before request {number}, and gone"));
        // The other client's copy has `kubectl-create` among its managers. If `y` was missing at that moment, there was
        // nothing to copy, and the run created `y`.
        let is_strangers = y["metadata"]["managedFields"].to_string().contains("kubectl-create");
        copies += usize::from(is_strangers);
    }
    assert!(copies > 5, "of {count} moments, {copies} left a copy");
}

/// An object that is being adopted is never replaced. A difference that the server does not allow is a refusal.
#[tokio::test(start_paused = true)]
async fn o11_an_adopted_object_with_an_immutable_difference_is_refused_in_any_run() {
    let forest = Forest::grow().await;
    let mut world = beginning();
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "y", "namespace": "shop"},
        "data": {"value": "a stranger's"}, "immutable": true});
    let now = "2031-05-06T08:08:09Z".parse().unwrap();
    let collection = Y.rsplit_once('/').unwrap().0;
    assert_eq!(send(&mut world, "kubectl-create", now, Method::POST, collection, &body).status, 201);
    for past in every_end(&forest, world.clone(), Choice::of(Tree::Resealed)).await {
        assert_eq!(past.world.object(Y), world.object(Y), "{}", past.script);
        let site = Simulation::new(past.world.clone());
        let result = run(&site, &forest, &Run::of("next", Choice::of(Tree::Resealed))).await.result;
        assert!(result.as_ref().is_err_and(Stopped::is_incomplete), "{}; {:?}", past.script, result.err());
        assert_eq!(site.world().object(Y), world.object(Y), "{}", past.script);
    }
}

/// If someone protects an object before its deletion is sent, however late, the object is not deleted. This holds for a
/// cleanup and for a replacement.
#[tokio::test(start_paused = true)]
async fn c6_what_is_protected_at_any_moment_before_it_is_deleted_stays() {
    let forest = Forest::grow().await;
    let protect = |world: &mut World, now: Timestamp| {
        let Some(mut y) = world.object(Y).cloned() else { return };
        y["metadata"]["annotations"]["kubernator.io/cleanup"] = json!("keep");
        assert_eq!(send(world, "kubectl-annotate", now, Method::PUT, Y, &y).status, 200);
    };
    for (before, choice) in [(Tree::Whole, Tree::Dropped), (Tree::Sealed, Tree::Resealed)] {
        let world = after(&forest, before).await;
        let uid = |world: &World| world.object(Y).map(|y| y["metadata"]["uid"].clone());
        let counted = Simulation::new(world.clone());
        run(&counted, &forest, &Run::of("counted", Choice::of(choice))).await.result.unwrap();
        let deletion = format!(" DELETE {Y}: ");
        let journal = counted.journal();
        let last = journal.iter().rfind(|line| line.contains(&deletion)).unwrap();
        let last: usize = last.split(' ').nth(1).unwrap().parse().unwrap();
        for number in 0..=last {
            let site = Simulation::new(world.clone());
            let fates = Fates { hand: Some((number, Hand::new(protect))), ..Fates::default() };
            drop(run(&site, &forest, &Run { fates, ..Run::of("beside", Choice::of(choice)) }).await);
            let script = format!("{}: y is protected before request {number} of {last}", choice.name());
            fail_on(&site.violations(), &site, &script);
            assert_eq!(uid(&site.world()), uid(&world), "{script}\n{:#?}", site.journal());
            assert!(recorded(&site.world()).contains_key("ConfigMap shop/y"), "{script}");
        }
    }
}

/// Sets the finalizers of `y`, as a controller does. A null removes them.
fn hold(world: &mut World, now: Timestamp, finalizers: &Value) {
    let Some(mut y) = world.object(Y).cloned() else { return };
    y["metadata"]["finalizers"] = finalizers.clone();
    assert_eq!(send(world, "controller", now, Method::PUT, Y, &y).status, 200);
}

/// If a finalizer delays a deletion, the object stays recorded, wherever the run that asked for the deletion died. The
/// deletion is settled after the finalizer is removed. Then the object is gone, or it is created again if a tree wants
/// it.
#[tokio::test(start_paused = true)]
async fn c4_o2_a_deletion_that_a_finalizer_holds_is_settled_wherever_the_run_died() {
    let forest = Forest::grow().await;
    let now: Timestamp = "2031-05-07T07:08:09Z".parse().unwrap();
    let mut terminating = 0;
    for (before, choice) in [(Tree::Whole, Tree::Dropped), (Tree::Sealed, Tree::Resealed)] {
        let mut world = after(&forest, before).await;
        hold(&mut world, now, &json!(["a.dev/hold"]));
        for past in every_end(&forest, world, Choice::of(choice)).await {
            let y = past.world.object(Y).unwrap_or_else(|| panic!("{}: y is gone, and was held", past.script));
            let is_leaving = !y["metadata"]["deletionTimestamp"].is_null();
            terminating += usize::from(is_leaving);
            for goal in [Tree::Dropped, Tree::Whole, Tree::Resealed] {
                let site = Simulation::new(past.world.clone());
                let stuck = run(&site, &forest, &Run::of("stuck", Choice::of(goal))).await.result;
                let script = format!("{}; {} while y is held", past.script, goal.name());
                if is_leaving || goal == Tree::Dropped {
                    assert!(stuck.as_ref().is_err_and(Stopped::is_incomplete), "{script}: {:?}", stuck.err());
                }
                assert!(recorded(&site.world()).contains_key("ConfigMap shop/y"), "{script}");
                let mut world = site.world();
                hold(&mut world, now, &json!(null));
                check(&Simulation::new(world), &forest, goal, &script).await;
            }
        }
    }
    assert!(terminating > 3, "y was being deleted at {terminating} crash points only");
}

/// A copy that another client creates, at any moment of a run that means to delete the object, stays as that client
/// made it.
#[tokio::test(start_paused = true)]
async fn o11_a_strangers_copy_is_released_whenever_it_was_made() {
    let forest = Forest::grow().await;
    let world = after(&forest, Tree::Whole).await;
    let site = Simulation::new(world.clone());
    let count = run(&site, &forest, &Run::of("counted", Choice::of(Tree::Dropped))).await.requests;
    let mut copies = 0;
    for number in 0..count {
        let site = Simulation::new(world.clone());
        let fates = Fates { hand: Some((number, Hand::new(recreate))), ..Fates::default() };
        drop(run(&site, &forest, &Run { fates, ..Run::of("beside", Choice::of(Tree::Dropped)) }).await);
        let copy = site.world().object(Y).cloned();
        check(&site, &forest, Tree::Dropped, &format!("y is made anew before request {number}")).await;
        assert_eq!(site.world().object(Y).cloned(), copy, "before request {number}");
        copies += usize::from(copy.is_some());
    }
    assert!(copies > 10, "of {count} moments, {copies} left a copy");
}

/// An unreadable source may contain an object that moved there. A run then deletes nothing, wherever the run before it
/// crashed.
#[tokio::test(start_paused = true)]
async fn o12_while_a_source_elsewhere_fails_nothing_is_deleted() {
    let forest = Forest::grow().await;
    let whole = after(&forest, Tree::Whole).await;
    for first in [Choice::of(Tree::Whole), Choice::of(Tree::Moved), Choice::only(Tree::Moved, "demo.b")] {
        for past in every_end(&forest, whole.clone(), first).await {
            let site = Simulation::new(past.world.clone());
            let broken = run(&site, &forest, &Run::of("broken", Choice::only(Tree::Broken, "demo.a"))).await;
            assert!(broken.result.is_ok(), "{}; {:?}", past.script, broken.result);
            let lease = format!(" DELETE {LEASE}");
            let deletions: Vec<String> =
                site.journal().into_iter().filter(|line| line.contains(" DELETE ") && !line.contains(&lease)).collect();
            assert_eq!(deletions, [] as [String; 0], "{}", past.script);
            let uid = |world: &World| world.object(Y).map(|y| y["metadata"]["uid"].clone());
            assert_eq!(uid(&site.world()), uid(&past.world), "{}", past.script);
            check(&site, &forest, Tree::Moved, &format!("{}; broken -I demo.a", past.script)).await;
        }
    }
}

/// A run of one project, after a crashed run of the whole root, keeps every entry of the other projects.
#[tokio::test(start_paused = true)]
async fn o15_a_scoped_run_after_a_crash_keeps_the_others_entries() {
    let forest = Forest::grow().await;
    let whole = after(&forest, Tree::Whole).await;
    let mut unsettled = 0;
    for (first, tree) in [(Tree::Renewed, Tree::Whole), (Tree::Dropped, Tree::Dropped), (Tree::Moved, Tree::Moved)] {
        for past in every_end(&forest, whole.clone(), Choice::of(first)).await {
            let before = recorded(&past.world);
            unsettled += usize::from(state(&past.world).is_some_and(|state| state["finalized"] == false));
            let site = Simulation::new(past.world.clone());
            run(&site, &forest, &Run::of("scoped", Choice::only(tree, "demo.b"))).await.result.unwrap();
            let now = recorded(&site.world());
            for (key, projects) in &*before {
                let now = now.get(key).cloned().unwrap_or_default();
                let moved = tree == Tree::Moved && now == ["demo.b"];
                let kept = |project: &String| now.contains(project) || moved && key == "ConfigMap shop/y";
                let others: Vec<&String> = projects.iter().filter(|project| *project != "demo.b").collect();
                assert!(others.into_iter().all(kept), "{}; -I demo.b: {key} of {projects:?}: {now:?}", past.script);
            }
            check(&site, &forest, Tree::Dropped, &format!("{}; {} -I demo.b", past.script, tree.name())).await;
        }
    }
    assert!(unsettled > 5, "{unsettled} crash points left an unsettled record");
}

/// An object that moved to a project out of scope keeps its entry and its mark until a run covers its new project.
#[tokio::test(start_paused = true)]
async fn o15_an_object_that_moved_out_of_scope_keeps_its_entry() {
    let forest = Forest::grow().await;
    let whole = after(&forest, Tree::Whole).await;
    for past in every_end(&forest, whole.clone(), Choice::only(Tree::Moved, "demo.a")).await {
        assert_eq!(past.world.object(Y), whole.object(Y), "{}", past.script);
        assert_eq!(recorded(&past.world)["ConfigMap shop/y"], ["demo.a"], "{}", past.script);
        check(&Simulation::new(past.world.clone()), &forest, Tree::Moved, &past.script.to_string()).await;
    }
}

/// A request that a dead run of ours left under way arrives after Kubernator finalized, at any moment of our next run
/// or after it.
#[tokio::test(start_paused = true)]
async fn o13_what_arrives_after_kubernator_finalized_leaks_nothing() {
    let forest = Forest::grow().await;
    let mut scenarios = 0;
    for (first, theirs, second) in [
        (Tree::Renewed, Tree::Dropped, Choice::of(Tree::Dropped)),
        (Tree::Moved, Tree::Whole, Choice::of(Tree::Dropped)),
        (Tree::Dropped, Tree::Moved, Choice::only(Tree::Whole, "demo.b")),
    ] {
        let site = Simulation::new(after(&forest, Tree::Whole).await);
        site.watch_moments();
        run(&site, &forest, &Run::of("dead", Choice::of(first))).await.result.unwrap();
        for moment in site.take_moments().into_iter().filter(|moment| moment.when == When::Flying) {
            let mut world = moment.world.clone();
            let now = "2031-05-06T09:08:09Z".parse().unwrap();
            send(&mut world, "kubernator", now, Method::DELETE, LEASE, &json!({}));
            kubernator(&mut world, theirs, now);
            let counted = Simulation::new(world.clone());
            let count = run(&counted, &forest, &Run::of("counted", second)).await.requests;
            for number in 0..=count {
                let site = Simulation::with_flying(world.clone(), moment.under_way.clone());
                let fates = Fates { arrival: Some(number), ..Fates::default() };
                drop(run(&site, &forest, &Run { fates, ..Run::of("next", second) }).await);
                site.arrive();
                let script = format!(
                    "{}, crashed with request {} under way, {}; Kubernator finalizes {}; {second}; before its request \
                     {number} that arrives",
                    first.name(),
                    moment.number,
                    moment.line,
                    theirs.name()
                );
                check(&site, &forest, Tree::Dropped, &script).await;
                scenarios += 1;
            }
        }
    }
    announce(&format!("simulator: late arrivals after Kubernator: {scenarios} scenarios"));
}

//! Objects that stay as they are: an object of another root in the place of ours, and replacements that a guard keeps.
//! Wherever a run dies, no foreign object is recorded or touched, nothing is deleted in an open project, and no project
//! is open without a reason.

use http::Method;
use ktor_action::plan::decision::Disposition;
use serde_json::{Value, json};
use support::model::World;

use super::choice::{Choice, Forest, Tree};
use super::crashes::fail_on;
use super::history::{Run, run, settle};
use super::invariant::recorded;
use super::other_actors::{Y, after, every_end, send};
use super::simulation::{STATE, Simulation};

pub const W: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/w";

/// Returns the projects that the state says are open.
pub fn open(world: &World) -> Vec<String> {
    let state = world.object(STATE).unwrap();
    let text = state["metadata"]["annotations"]["kubernator.io/ktor-open"].as_str().unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Adds another root's `w` to the server. The tree `renewed` wants this object too.
pub fn with_another_roots(mut world: World) -> World {
    let now = "2031-05-06T08:08:09Z".parse().unwrap();
    let body = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "w", "annotations": {"kubernator.io/project": "other.a"}}, "rules": []});
    let collection = W.rsplit_once('/').unwrap().0;
    assert_eq!(send(&mut world, "ktor-other", now, Method::POST, collection, &body).status, 201);
    world
}

/// X16: the tree `renewed` adds the foreign `w` to `demo.a` and drops `y` from it.
#[tokio::test(start_paused = true)]
async fn x16_a_foreign_object_blocks_itself_and_its_project_wherever_a_run_dies() {
    let forest = Forest::grow().await;
    let renewed = Choice::of(Tree::Renewed);
    let world = with_another_roots(after(&forest, Tree::Whole).await);
    let theirs = world.object(W).cloned();
    for past in every_end(&forest, world, renewed).await {
        let script = &past.script;
        let site = Simulation::new(past.world.clone());
        for name in ["next", "again"] {
            let ended = run(&site, &forest, &Run::of(name, renewed)).await.result;
            let plan = ended.unwrap_or_else(|error| panic!("{script}: {error}")).plan;
            assert_eq!(plan.standing(Disposition::Blocked).count(), 1, "{script}");
        }
        fail_on(&site.violations(), &site, &script.to_string());
        let left = site.world();
        assert_eq!(left.object(W), theirs.as_ref(), "{script}: it is somebody else's");
        assert!(!recorded(&left).contains_key("ClusterRole /w"), "{script}: what is foreign is not recorded");
        assert!(left.object(Y).is_some(), "{script}: nothing is deleted in an open project");
        assert!(recorded(&left).contains_key("ConfigMap shop/y"), "{script}: nor forgotten");
        assert_eq!(open(&left), ["demo.a"], "{script}");

        let mut freed = left;
        let now = "2031-05-07T08:08:09Z".parse().unwrap();
        assert_eq!(send(&mut freed, "ktor-other", now, Method::DELETE, W, &json!({})).status, 200);
        let site = Simulation::new(freed);
        fail_on(&settle(&site, &forest, Tree::Renewed).await, &site, &format!("{script}; w is let go"));
        assert_eq!(open(&site.world()), Vec::<String>::new(), "{script}: no project is open without a reason");
    }
}

/// C5: a guard keeps a replacement. As soon as the guard is opened, the replacement is made, wherever a run dies.
#[tokio::test(start_paused = true)]
async fn c5_a_replacement_that_a_guard_keeps_is_made_once_it_is_opened() {
    let forest = Forest::grow().await;
    let resealed = Choice::of(Tree::Resealed);
    let uid = |world: &World| world.object(Y).map(|y| y["metadata"]["uid"].clone());
    let value = |world: &World| world.object(Y).map(|y| y["data"]["value"].clone());
    let world = after(&forest, Tree::Sealed).await;
    let before = uid(&world);
    let site = Simulation::new(world);
    for name in ["kept", "again"] {
        let guarded = Run { allows_replacement: false, ..Run::of(name, resealed) };
        let plan = run(&site, &forest, &guarded).await.result.unwrap().plan;
        assert_eq!(plan.standing(Disposition::Kept).count(), 1);
        assert_eq!((uid(&site.world()), value(&site.world())), (before.clone(), Some(Value::from("1"))));
        assert_eq!(open(&site.world()), ["demo.a"]);
    }
    for past in every_end(&forest, site.world(), resealed).await {
        let site = Simulation::new(past.world.clone());
        fail_on(&settle(&site, &forest, Tree::Resealed).await, &site, &past.script.to_string());
        assert_eq!(value(&site.world()), Some(Value::from("2")), "{}", past.script);
        assert_eq!(open(&site.world()), Vec::<String>::new(), "{}", past.script);
    }
}

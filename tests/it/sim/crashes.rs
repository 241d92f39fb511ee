//! Crashes at every request of up to three runs in a row, exhaustively.
//!
//! A crash is nothing but an end of requests: so one run that is watched to its end shows the server at all of its crash
//! points, before and after each request took effect. Different pasts that left the same server go on the same way,
//! because runs see nothing else: each such server is gone on from once, and counted for all of its pasts.

use std::collections::BTreeMap;
use std::fmt::Write;

use http::Method;
use serde_json::{Value, json};

use super::choice::{Choice, Forest, NAMESPACE, Tree};
use super::history::{Run, run, settle};
use super::invariant::foreigners;
use super::model::{Request, World};
use super::site::{Flying, Moment, Site, When};

/// What may be asked of a run that crashes.
const CHOICES: [Choice; 8] = [
    Choice::of(Tree::Whole),
    Choice::of(Tree::Dropped),
    Choice::of(Tree::Moved),
    Choice::of(Tree::Renewed),
    Choice::only(Tree::Moved, "demo.b"),
    Choice::only(Tree::Dropped, "demo.a"),
    Choice::only(Tree::Broken, "demo.a"),
    Choice::keeping(Tree::Dropped),
];

/// The trees that have to be reached from anywhere.
const GOALS: [Tree; 3] = [Tree::Whole, Tree::Dropped, Tree::Moved];

/// A server, and how it came to be.
#[derive(Clone)]
pub struct Past {
    pub world: World,
    /// One of its pasts, step by step.
    pub steps: Vec<String>,
    /// How many pasts lead here.
    pub pasts: u128,
}

/// What an enumeration went through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Sequences of runs and crash points.
    pub scenarios: u128,
    /// Crash points of the runs that were made.
    pub points: usize,
    /// Different servers.
    pub states: usize,
    /// Runs that were made.
    pub runs: usize,
}

/// The server before any run of ours: others' objects stand there, some with names, labels and marks like ours.
pub fn beginning() -> World {
    let mut world = World::new();
    let now = "2031-05-06T07:08:09Z".parse().unwrap();
    let mut post = |path: &str, manager: &str, body: Value| {
        let request = Request {
            method: Method::POST,
            target: format!("{path}?fieldManager={manager}"),
            content_type: Some("application/json".to_owned()),
            body: body.to_string().into_bytes(),
        };
        let answer = world.answer(&request, now);
        assert_eq!(answer.status, 201, "{}", answer.body);
    };
    for namespace in [NAMESPACE, "kubernator-system"] {
        post("/api/v1/namespaces", "kubectl-create", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
    }
    let config = |name: &str, marks: Value| {
        let mut body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}});
        body["metadata"].as_object_mut().unwrap().extend(marks.as_object().unwrap().clone());
        body
    };
    let copied = json!({"annotations": {"kubernator.io/project": "demo.a"}, "labels": {"kubernator.io/root": "89e495e7941c"}});
    let other = json!({"annotations": {"kubernator.io/project": "demos.a"}, "labels": {"kubernator.io/root": "89e495e7941c"}});
    let configs = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    post(&configs, "kubectl-create", config("foreign-y", json!({})));
    post(&configs, "endpoint-controller", config("foreign-copy", copied));
    post(&configs, "ktor-demos", config("foreign-root", other));
    world
}

/// Goes on from a past with a run that may crash anywhere.
async fn crash(forest: &Forest, past: &Past, choice: Choice, level: usize) -> Vec<(Past, Option<Flying>)> {
    let site = Site::new(past.world.clone());
    site.watch_moments();
    let ended = run(&site, forest, &Run::of(format!("run-{level}"), choice)).await;
    assert_clean(&site, &past.steps, &format!("{choice}"));
    let after = |step: String, world: World, points: usize, flying: Option<Flying>| {
        let steps = past.steps.iter().cloned().chain([step]).collect();
        (Past { world, steps, pasts: past.pasts * points as u128 }, flying)
    };
    let mut pasts: Vec<_> = site
        .take_moments()
        .into_iter()
        .map(|Moment { number, line, when, world, under_way, points }| {
            let when = match when {
                When::Before => "before",
                When::After => "after",
                When::Flying => "with its request under way:",
            };
            after(format!("{choice}, crashed {when} request {number}, {line}"), world, points, under_way)
        })
        .collect();
    let ended = match ended.result {
        Ok(_) => "to its end".to_owned(),
        Err(error) => format!("ended: {error}"),
    };
    pasts.push(after(format!("{choice}, {ended}"), site.world(), 1, None));
    pasts
}

/// Fails with the script where anything does not hold.
pub fn assert_clean(site: &Site, steps: &[String], last: &str) {
    fail_on(&site.violations(), site, steps, last);
}

/// Fails with the script where anything does not hold.
pub fn fail_on(violations: &[String], site: &Site, steps: &[String], last: &str) {
    if violations.is_empty() {
        return;
    }
    let mut script = String::new();
    for (number, step) in steps.iter().map(String::as_str).chain([last]).enumerate() {
        let _ = writeln!(script, "{}. {step}", number + 1);
    }
    panic!("{}\n\nscript:\n{script}\nrequests:\n{}", violations.join("\n"), site.journal().join("\n"));
}

/// Every server that `levels` runs can leave, crashing anywhere, and how many ways lead there.
async fn explore(forest: &Forest, levels: usize, size: &mut Size) -> BTreeMap<u64, Past> {
    let first = Past { world: beginning(), steps: Vec::new(), pasts: 1 };
    let mut reached = BTreeMap::from([(first.world.digest(), first)]);
    let mut frontier: Vec<Past> = reached.values().cloned().collect();
    for level in 1..=levels {
        let mut next: BTreeMap<u64, Past> = BTreeMap::new();
        for past in &frontier {
            for choice in CHOICES {
                let pasts = crash(forest, past, choice, level).await;
                size.runs += 1;
                for (past, flying) in pasts {
                    if flying.is_some() {
                        continue;
                    }
                    size.points += 1;
                    size.scenarios += past.pasts;
                    next.entry(past.world.digest()).and_modify(|known| known.pasts += past.pasts).or_insert(past);
                }
            }
        }
        for (digest, past) in &next {
            reached.entry(*digest).or_insert_with(|| past.clone());
        }
        frontier = next.into_values().collect();
    }
    size.states = reached.len();
    reached
}

/// From every server that crashes can leave, every goal is reached, and nothing foreign was touched.
async fn reach_goals(forest: &Forest, reached: &BTreeMap<u64, Past>, size: &mut Size) {
    let foreign = foreigners(&beginning());
    for past in reached.values() {
        for goal in GOALS {
            let site = Site::new(past.world.clone());
            let mut violations = settle(&site, forest, goal).await;
            size.runs += 3;
            if foreigners(&site.world()) != foreign {
                violations.push("nothing foreign is touched: someone else's object changed".to_owned());
            }
            fail_on(&violations, &site, &past.steps, &format!("settle on {}", goal.name()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn o2_superset_every_crash_point_of_up_to_three_runs() {
    let forest = Forest::grow().await;
    let mut size = Size::default();
    let began = std::time::Instant::now();
    let reached = explore(&forest, 2, &mut size).await;
    println!("explored {size:?} in {:?}", began.elapsed());
    reach_goals(&forest, &reached, &mut size).await;
    println!("crash points enumerated: {size:?} in {:?}", began.elapsed());
}

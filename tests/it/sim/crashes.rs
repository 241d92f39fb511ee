//! Crashes at every request of up to three runs in a row, exhaustively.
//!
//! A crash does nothing but end the requests of a run. If one run is watched to its end, it shows the server at all of
//! its crash points, before and after each request takes effect. Runs see nothing but the server, so different pasts
//! that leave the same server continue in the same way. The tests continue once from each such server and count it for
//! all of its pasts.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::Method;
use serde_json::{Value, json};
use support::announce;
use support::model::{Request, World};

use super::choice::{Choice, Forest, NAMESPACE, Tree};
use super::history::{Run, run, settle};
use super::invariant::foreigners;
use super::script::{Script, Step};
use super::simulation::{Moment, Simulation, When};

/// The options of a run that may crash.
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

/// The trees that must be reachable from every server.
const GOALS: [Tree; 3] = [Tree::Whole, Tree::Dropped, Tree::Moved];

/// A server, and the pasts that led to it.
#[derive(Clone)]
pub struct Past {
    pub world: World,
    /// The steps of one of its pasts.
    pub script: Script,
    /// The number of pasts that lead to this server.
    pub pasts: u128,
}

/// The size of an enumeration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// The number of sequences of runs and crash points.
    pub scenarios: u128,
    /// The number of crash points of the runs that were made.
    pub points: usize,
    /// The number of different servers.
    pub states: usize,
    /// The number of runs. A run from a server that is known to settle counts too, although it is not made again.
    pub runs: usize,
}

/// Returns the server before the first run of ours. It has objects of others. Some of these have names, labels and
/// marks like ours.
pub fn beginning() -> World {
    static BEGINNING: LazyLock<World> = LazyLock::new(begin);
    BEGINNING.clone()
}

fn begin() -> World {
    let mut world = World::new();
    let now = "2031-05-06T07:08:09Z".parse().unwrap();
    let mut post = |path: &str, manager: &str, body: Value| {
        let request = Request {
            method: Method::POST,
            target: format!("{path}?fieldManager={manager}"),
            body: body.to_string().into_bytes(),
        };
        let answer = world.answer(&request, now);
        assert_eq!(answer.status, 201, "{}", answer.body);
    };
    for namespace in [NAMESPACE, "kubernator-system"] {
        post(
            "/api/v1/namespaces",
            "kubectl-create",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        );
    }
    let config = |name: &str, marks: Value| {
        let mut body =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}});
        body["metadata"].as_object_mut().unwrap().extend(marks.as_object().unwrap().clone());
        body
    };
    let copied =
        json!({"annotations": {"kubernator.io/project": "demo.a"}, "labels": {"kubernator.io/root": "89e495e7941c"}});
    let other =
        json!({"annotations": {"kubernator.io/project": "demos.a"}, "labels": {"kubernator.io/root": "89e495e7941c"}});
    let configs = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    post(&configs, "kubectl-create", config("foreign-y", json!({})));
    post(&configs, "endpoint-controller", config("foreign-copy", copied));
    post(&configs, "ktor-demos", config("foreign-root", other));
    world
}

/// Continues from a past with a run that may crash at any request. Returns every server that the run may leave, with
/// the number of pasts that lead to it.
pub async fn crash(forest: &Forest, past: &Past, choice: Choice, level: usize) -> Vec<Past> {
    let site = Simulation::new(past.world.clone());
    site.watch_moments();
    drop(run(&site, forest, &Run::of(format!("run-{level}"), choice)).await);
    let moments = site.take_moments();
    fail_on(&site.violations(), &site, &past.script.then(Step { choice, crash: None }).to_string());
    let left = |world: World, crash: Option<(usize, When)>, points: usize| Past {
        world,
        script: past.script.then(Step { choice, crash }),
        pasts: past.pasts * points as u128,
    };
    let crashed = moments.into_iter().filter(|moment| moment.under_way.is_none());
    let crashed = crashed.map(|Moment { number, when, world, points, .. }| left(world, Some((number, when)), points));
    crashed.chain([left(site.world(), None, 1)]).collect()
}

/// Replays a script, and then settles on a goal. Returns the server at the end of the script, the violations, and the
/// site.
async fn play(forest: &Forest, script: &Script, goal: Tree) -> (World, Vec<String>, Simulation) {
    let mut world = beginning();
    for (level, step) in script.0.iter().enumerate() {
        let pasts = crash(forest, &Past { world, script: Script::default(), pasts: 1 }, step.choice, level + 1).await;
        let left = pasts.into_iter().find(|past| past.script.0[0].crash == step.crash);
        world = left.unwrap_or_else(|| panic!("no run gets to {step}")).world;
    }
    let site = Simulation::new(world.clone());
    let violations = settle(&site, forest, goal).await;
    (world, violations, site)
}

/// Panics with the violations, the script and every request, if there is a violation.
pub fn fail_on(violations: &[String], site: &Simulation, script: &str) {
    if violations.is_empty() {
        return;
    }
    let requests: Vec<String> =
        site.journal().iter().enumerate().map(|(number, line)| format!("{:4}. {line}", number + 1)).collect();
    panic!("{}\n\nscript: {script}\n{}", violations.join("\n"), requests.join("\n"));
}

/// Returns every server that a sequence of runs can leave, with the number of pasts that lead there. Each run has one
/// of its level's choices and may crash at any request.
async fn explore(forest: &Forest, levels: &[&[Choice]], size: &mut Size) -> BTreeMap<u64, Past> {
    let first = Past { world: beginning(), script: Script::default(), pasts: 1 };
    let mut reached = BTreeMap::from([(first.world.digest(), first)]);
    let mut frontier: Vec<Past> = reached.values().cloned().collect();
    for (level, choices) in levels.iter().enumerate() {
        let mut next: BTreeMap<u64, Past> = BTreeMap::new();
        for past in &frontier {
            for choice in *choices {
                let pasts = crash(forest, past, *choice, level + 1).await;
                size.runs += 1;
                for left in pasts {
                    size.points += usize::try_from(left.pasts / past.pasts).unwrap();
                    size.scenarios += left.pasts;
                    next.entry(left.world.digest()).and_modify(|known| known.pasts += left.pasts).or_insert(left);
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

/// Settles every server that crashes can leave on one of the goals, in turn. Fails if the goal is not reached or if a
/// foreign object has changed.
async fn reach_goals(forest: &Forest, reached: &BTreeMap<u64, Past>, goals: &[Tree], size: &mut Size) {
    let foreign = foreigners(&beginning());
    for (past, goal) in reached.values().zip(goals.iter().copied().cycle()) {
        let left = Simulation::new(past.world.clone());
        let mut violations = settle(&left, forest, goal).await;
        size.runs += 3;
        if foreigners(&left.world()) != foreign {
            violations.push("nothing foreign is touched: someone else's object changed".to_owned());
        }
        fail_on(&violations, &left, &format!("{}; settle on {}", past.script, goal.name()));
    }
}

/// O2, O12 and O15: crashes, trees that cannot be read, and scoped runs, in any order.
#[tokio::test(start_paused = true)]
async fn o2_o12_o15_superset_every_crash_point_of_up_to_three_runs() {
    let forest = Forest::grow().await;
    let mut size = Size::default();
    let last = [Choice::of(Tree::Moved), Choice::only(Tree::Dropped, "demo.b")];
    let reached = explore(&forest, &[&CHOICES, &CHOICES, &last], &mut size).await;
    reach_goals(&forest, &reached, &GOALS, &mut size).await;
    let Size { scenarios, points, states, runs } = size;
    announce(&format!(
        "simulator: crashes: {scenarios} scenarios, {points} crash points, {states} states, {runs} runs"
    ));
    assert!(scenarios > 100_000, "the enumeration covers {scenarios} scenarios");
}

/// O2 and O11: replacements that crash at any request, again and again.
#[tokio::test(start_paused = true)]
async fn o2_o11_superset_every_crash_point_of_up_to_three_runs_that_replace() {
    let forest = Forest::grow().await;
    let mut size = Size::default();
    let choices = [Choice::of(Tree::Resealed), Choice::of(Tree::Sealed), Choice::of(Tree::Dropped)];
    let reached = explore(&forest, &[&[Choice::of(Tree::Sealed)], &choices, &choices], &mut size).await;
    for goals in [[Tree::Resealed; 3], [Tree::Dropped, Tree::Moved, Tree::Sealed]] {
        reach_goals(&forest, &reached, &goals, &mut size).await;
    }
    let Size { scenarios, points, states, runs } = size;
    announce(&format!(
        "simulator: replacements: {scenarios} scenarios, {points} crash points, {states} states, {runs} runs"
    ));
}

/// A printed counterexample can be parsed and replayed, and it leads to the same server.
#[tokio::test(start_paused = true)]
async fn scripts_can_be_played_again() {
    let forest = Forest::grow().await;
    let mut past = Past { world: beginning(), script: Script::default(), pasts: 1 };
    for (level, choice) in [CHOICES[0], CHOICES[4], CHOICES[7]].into_iter().enumerate() {
        let mut pasts = crash(&forest, &past, choice, level + 1).await;
        past = pasts.swap_remove(pasts.len() / 2);
    }
    let text = past.script.to_string();
    let script = Script::parse(&text, &CHOICES).unwrap();
    assert_eq!(script, past.script);
    let (world, violations, site) = play(&forest, &script, Tree::Whole).await;
    fail_on(&violations, &site, &text);
    assert_eq!(world.digest(), past.world.digest(), "{text}");
    assert_eq!(Script::parse("whole @x", &CHOICES), Err("whole @x".to_owned()));
}

//! Two runs with another event between them: late, dirty, scoped and repeated runs, closed guards, a Kubernator run,
//! another root's object, and a copied object.
//!
//! The first run may crash at any request. After each of its crash points and each event, every second run is made, and
//! it may crash at any request too. From a sample of the servers that remain, the branch's last commit is applied until
//! nothing is left to do.

use std::collections::BTreeSet;

use http::Method;
use jiff::Timestamp;
use ktor_action::conclusion::exit::Exit;
use serde_json::json;
use support::announce;
use support::model::World;

use super::branch::{Apply, BRANCH, By, Due, LAST, apply, due, is_own, outdated, standing};
use super::choice::{Forest, Tree};
use super::crashes::{beginning, fail_on};
use super::history::managed;
use super::invariant::{commits_in, foreigners, is_others, settled};
use super::kept_objects::{W, open, with_another_roots};
use super::other_actors::{kubernator, recreate, send};
use super::simulation::{LEASE, REVIEW_KEY, STATE, Simulation};

/// An action of another actor between two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Nothing,
    /// Kubernator applies a tree.
    Kubernator(Tree),
    /// Another root creates an object that one of the commits wants.
    AnotherRoot,
    /// Another client deletes `y` and creates it again from a copy.
    Recreate,
}

impl Event {
    const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Kubernator(Tree::Whole),
        Self::AnotherRoot,
        Self::Recreate,
        Self::Kubernator(Tree::Renewed),
    ];

    fn happen(self, mut world: World, now: Timestamp) -> World {
        match self {
            Self::Nothing => {}
            Self::Kubernator(tree) => {
                // Kubernator waits for the lock, as every run does. A person deletes the Lease of a dead run by hand.
                send(&mut world, "kubernator", now, Method::DELETE, LEASE, &json!({}));
                kubernator(&mut world, tree, now);
            }
            Self::AnotherRoot if world.object(W).is_none() => world = with_another_roots(world),
            Self::AnotherRoot => {}
            Self::Recreate => recreate(&mut world, now),
        }
        world
    }
}

/// A server, and the script that led to it.
#[derive(Clone)]
struct Left {
    world: World,
    script: Vec<String>,
}

fn moment(day: usize) -> Timestamp {
    format!("2031-05-{day:02}T07:08:09Z").parse().unwrap()
}

/// Returns all objects except the lock. A run that must not write leaves them unchanged.
fn without_lock(world: &World) -> Vec<(String, serde_json::Value)> {
    let objects = world.objects().filter(|(path, _)| *path != LEASE);
    objects.map(|(path, object)| (path.to_owned(), object.clone())).collect()
}

/// Makes an apply, checks it against the expected outcome, and returns every server that it may leave.
async fn go_on(forest: &Forest, left: &Left, asked: Apply, name: &str) -> Vec<Left> {
    let site = Simulation::new(left.world.clone());
    site.watch_moments();
    let exit = apply(&site, forest, name, asked).await;
    let moments = site.take_moments();
    let told = |at: &str| left.script.iter().cloned().chain([format!("{asked}{at}")]).collect::<Vec<_>>();
    let mut violations = site.violations();
    let expected = match due(&left.world, asked) {
        Due::Carried => None,
        Due::Superseded => Some(Exit::Success),
        Due::Refused => Some(Exit::Refused),
    };
    if let Some(expected) = expected {
        if exit != expected {
            violations.push(format!("exit code: it ended with {exit:?} and not with {expected:?}"));
        }
        if without_lock(&site.world()) != without_lock(&left.world) {
            violations.push("nothing older over newer: a run that is late wrote something".to_owned());
        }
    }
    let (before, after) = (finalized_at(&left.world), finalized_at(&site.world()));
    if let Some(commit) = after.filter(|_| after != before) {
        let outdated = outdated(&site.world(), BRANCH[commit]);
        if !outdated.is_empty() {
            violations.push(format!("the ledger is true: at {commit}, and {outdated:?} are not as it wants them"));
        }
    }
    fail_on(&violations, &site, &told("").join("; "));
    let crashed = moments.into_iter().filter(|moment| moment.under_way.is_none());
    let crashed = crashed
        .map(|moment| Left { script: told(&format!(" @{} {}", moment.number, moment.when)), world: moment.world });
    let ends = crashed.chain([Left { script: told(""), world: site.world() }]);
    let mut seen = BTreeSet::new();
    ends.filter(|left| seen.insert(left.world.digest())).collect()
}

/// Returns the commit at which both the state and the review key say that the root was finalized. Returns `None` if
/// they disagree or if the ledger is stale.
fn finalized_at(world: &World) -> Option<usize> {
    let ledger = |path: &str| {
        let text = world.object(path)?["metadata"]["annotations"]["kubernator.io/ktor-ledger"].as_str()?;
        let commits = commits_in(world, path, &["ktor-ledger"]);
        commits.into_iter().next().filter(|_| !text.starts_with("stale"))
    };
    let begun = |path: &str| commits_in(world, path, &["ktor-begun"]);
    ledger(STATE).filter(|commit| ledger(REVIEW_KEY) == Some(*commit) && begun(STATE) == begun(REVIEW_KEY))
}

/// Returns `true` if both places say that the root was finalized at the branch's last commit.
fn is_at_last(world: &World) -> bool {
    finalized_at(world) == Some(LAST)
}

/// The servers from which [`come_to_rest`] has gone on, by their digests.
#[derive(Default)]
struct Rested {
    /// The servers before the push.
    pushed: BTreeSet<u64>,
    /// The servers before the apply by hand.
    by_hand: BTreeSet<u64>,
    /// The servers before the apply with an open guard.
    freed: BTreeSet<u64>,
}

/// Applies the branch's last commit until nothing is left to do: as a push with a closed guard, again by hand with the
/// closed guard, and at last with an open guard and nothing in the way.
///
/// `known` has the servers from which this is known to succeed. Runs see nothing but the server, so it is not done again.
async fn come_to_rest(forest: &Forest, left: &Left, known: &mut Rested) {
    if !known.pushed.insert(left.world.digest()) {
        return;
    }
    let site = Simulation::new(left.world.clone());
    let mut violations = Vec::new();
    let tree = Apply::push(LAST, LAST).tree();
    let codes = |expected: bool| if expected { Exit::Refused } else { Exit::Success };

    let stands = standing(&site.world(), tree, false);
    let own = stands.iter().any(|(path, _)| is_own(LAST, path));
    let was_at_last = is_at_last(&site.world());
    let exit = apply(&site, forest, "pushed", Apply::push(LAST, LAST).guarded()).await;
    if exit != codes(own) && !(was_at_last && exit == Exit::Success) {
        violations.push(format!("exit code: the push ended with {exit:?}, standing is {stands:?}"));
    }

    if !known.by_hand.insert(site.world().digest()) {
        violations.extend(site.violations());
        fail_on(&violations, &site, &left.script.join("; "));
        return;
    }
    let stands = standing(&site.world(), tree, false);
    let is_earlier = is_at_last(&site.world());
    let exit = apply(&site, forest, "by-hand", Apply::push(LAST, LAST).by(By::Dispatch).guarded()).await;
    if exit != codes(!stands.is_empty() && !is_earlier) {
        violations.push(format!("exit code: by hand it ended with {exit:?}, standing is {stands:?}"));
    }
    let reasons: BTreeSet<&str> = stands.iter().map(|(_, project)| *project).collect();
    if open(&site.world()) != reasons.iter().copied().collect::<Vec<_>>() {
        violations
            .push(format!("no project is open without a reason: {:?}, standing is {stands:?}", open(&site.world())));
    }
    violations.extend(site.violations());
    fail_on(&violations, &site, &left.script.join("; "));

    let mut world = site.world();
    if world.object(W).is_some_and(is_others) {
        assert_eq!(send(&mut world, "ktor-other", moment(20), Method::DELETE, W, &json!({})).status, 200);
    }
    if !known.freed.insert(world.digest()) {
        return;
    }
    let site = Simulation::new(world);
    for name in ["settle-1", "settle-2"] {
        let exit = apply(&site, forest, name, Apply::push(LAST, LAST).by(By::Dispatch)).await;
        if exit != Exit::Success {
            violations.push(format!("a run that nothing disturbs succeeds: {name} ended with {exit:?}"));
        }
    }
    violations.extend(settled(&site.world(), tree));
    let outdated = outdated(&site.world(), tree);
    if !open(&site.world()).is_empty() || !is_at_last(&site.world()) || !outdated.is_empty() {
        violations.push(
            "converges: a project is open at the end, the ledger is not current, or an object is outdated".to_owned(),
        );
    }
    let before = managed(&site);
    apply(&site, forest, "again", Apply::push(LAST, LAST).by(By::Dispatch)).await;
    if managed(&site) != before {
        violations.push("converges: a second apply wrote to an object".to_owned());
    }
    if foreigners(&site.world()) != foreigners(&beginning()) {
        violations.push("nothing foreign is touched: someone else's object changed".to_owned());
    }
    violations.extend(site.violations());
    fail_on(&violations, &site, &left.script.join("; "));
}

const FIRST: [Apply; 4] = [Apply::push(0, 0), Apply::push(3, 3), Apply::push(1, 3), Apply::push(1, 1).by(By::Dirty)];

const SECOND: [Apply; 10] = [
    Apply::push(0, 3),
    Apply::push(1, 1),
    Apply::push(1, 1).guarded(),
    Apply::push(1, 3),
    Apply::push(2, 2),
    Apply::push(3, 3),
    Apply::push(3, 3).by(By::Dispatch),
    Apply::push(3, 3).by(By::Dirty),
    Apply::push(LAST, LAST).by(By::Scoped("demo.b")),
    Apply::push(1, 3).by(By::Beside),
];

/// The sampling of the servers that two runs leave: one in `EACH` is brought to rest.
const EACH: usize = 7;

#[tokio::test(start_paused = true)]
async fn x4_c5_o13_nothing_older_goes_over_newer_whatever_comes_between_two_runs() {
    let forest = Forest::grow().await;
    let begun = Left { world: beginning(), script: Vec::new() };
    let (mut runs, mut ends, mut rests) = (0, 0, 0);
    let mut known = BTreeSet::new();
    let mut rested = Rested::default();
    for first in FIRST {
        for left in go_on(&forest, &begun, first, "first").await {
            for event in Event::ALL {
                let mut left = Left { world: event.happen(left.world.clone(), moment(7)), ..left.clone() };
                if !known.insert(left.world.digest()) {
                    continue;
                }
                left.script.push(format!("{event:?}"));
                for second in SECOND {
                    runs += 1;
                    for left in go_on(&forest, &left, second, "second").await {
                        ends += 1;
                        if ends % EACH != 0 {
                            continue;
                        }
                        let event = Event::ALL[ends / EACH % Event::ALL.len()];
                        let mut left = Left { world: event.happen(left.world, moment(14)), ..left };
                        left.script.push(format!("{event:?}"));
                        come_to_rest(&forest, &left, &mut rested).await;
                        rests += 1;
                    }
                }
            }
        }
    }
    announce(&format!("simulator: between two runs: {runs} second runs, {ends} servers left, {rests} brought to rest"));
}

//! Disturbances other than crashes: faults of each request, requests that arrive late, contending actors, and
//! interrupts.
//!
//! Each test makes all scenarios of one kind, one by one: a disturbed run, and then runs that nothing disturbs.

use std::sync::Arc;
use std::time::Duration;

use support::announce;
use support::model::World;
use tokio::sync::Notify;

use super::choice::{Choice, Forest, Tree};
use super::crashes::{beginning, fail_on};
use super::history::{Run, Stopped, run, settle};
use super::invariant::foreigners;
use super::simulation::{Fate, Fates, LEASE, Simulation, When};

const MINUTE: Duration = Duration::from_mins(1);

/// Returns a server on which a run of this tree has finished.
async fn after(forest: &Forest, tree: Tree) -> World {
    let site = Simulation::new(beginning());
    run(&site, forest, &Run::of("earlier", Choice::of(tree))).await.result.unwrap();
    site.world()
}

/// Settles on a tree, and fails with the script if there is a violation.
async fn check(site: &Simulation, forest: &Forest, tree: Tree, steps: &[String]) {
    let mut violations = settle(site, forest, tree).await;
    if foreigners(&site.world()) != foreigners(&beginning()) {
        violations.push("nothing foreign is touched: someone else's object changed".to_owned());
    }
    fail_on(&violations, site, &format!("{}; settle on {}", steps.join("; "), tree.name()));
}

/// Returns the number of requests that a run makes on a server.
async fn requests(forest: &Forest, world: &World, choice: Choice) -> usize {
    let site = Simulation::new(world.clone());
    run(&site, forest, &Run::of("counted", choice)).await.requests
}

/// Every request of a run meets every fault. Later runs still reach the run's own tree or another one.
#[tokio::test(start_paused = true)]
async fn a6_l2_any_fault_of_any_request_is_survived() {
    let forest = Forest::grow().await;
    let mut scenarios = 0;
    for (before, choice, goal) in [
        (None, Choice::of(Tree::Whole), Tree::Dropped),
        (Some(Tree::Whole), Choice::of(Tree::Renewed), Tree::Renewed),
        (Some(Tree::Whole), Choice::of(Tree::Moved), Tree::Whole),
        (Some(Tree::Sealed), Choice::of(Tree::Resealed), Tree::Resealed),
    ] {
        let world = match before {
            Some(tree) => after(&forest, tree).await,
            None => beginning(),
        };
        let count = requests(&forest, &world, choice).await;
        for number in 0..count {
            let fates = [
                Fate::Lost,
                Fate::Unanswered,
                Fate::Refused(409),
                Fate::Refused(422),
                Fate::Refused(429),
                Fate::Refused(500),
                Fate::Partial,
                Fate::Slow(MINUTE / 4),
                Fate::Slow(2 * MINUTE),
                Fate::AnsweredLate(2 * MINUTE),
            ];
            for fate in fates {
                let site = Simulation::new(world.clone());
                let step = format!("{choice}, request {number}: {fate:?}");
                let fates = Fates { at: [(number, fate)].into(), ..Fates::default() };
                drop(run(&site, &forest, &Run { fates, ..Run::of("troubled", choice) }).await);
                tokio::time::sleep(3 * MINUTE).await;
                check(&site, &forest, goal, &[step]).await;
                scenarios += 1;
            }
        }
    }
    announce(&format!("simulator: faults: {scenarios} scenarios"));
}

/// Returns the fates of a run on a slow server. The run is long enough for four renewals of the lock.
fn long(renewals: &[(usize, Fate)]) -> Fates {
    Fates { pace: MINUTE / 6, renewals: renewals.iter().cloned().collect(), ..Fates::default() }
}

/// Returns the fates that a renewal may have.
fn fates_of_a_renewal() -> Vec<Fate> {
    let refused = [409, 422, 429, 500].map(Fate::Refused);
    // A run waits for a renewal for a sixth of the lease. A slower renewal takes effect when the run no longer waits
    // for it.
    let slow = [Fate::Slow(MINUTE / 12), Fate::Slow(MINUTE / 5), Fate::Slow(MINUTE / 2)];
    let late = [Fate::AnsweredLate(MINUTE / 12), Fate::AnsweredLate(MINUTE / 2)];
    [Fate::Lost, Fate::Unanswered].into_iter().chain(refused).chain(slow).chain(late).collect()
}

/// If one renewal has a fault, the run goes on. If two consecutive renewals have faults, nothing is changed without the
/// lock.
#[tokio::test(start_paused = true)]
async fn l2_any_fault_of_a_renewal_or_of_two_that_follow_each_other() {
    let forest = Forest::grow().await;
    let choice = Choice::of(Tree::Renewed);
    let world = after(&forest, Tree::Whole).await;
    let renewals = {
        let site = Simulation::new(world.clone());
        run(&site, &forest, &Run { fates: long(&[]), ..Run::of("counted", choice) }).await.result.unwrap();
        let line = format!(" PUT {LEASE}: ");
        site.journal().iter().filter(|entry| entry.contains(&line)).count()
    };
    assert!(renewals >= 4, "{renewals} renewals");
    let mut singles = Vec::new();
    let mut pairs = Vec::new();
    for number in 0..renewals {
        for first in fates_of_a_renewal() {
            singles.push(vec![(number, first.clone())]);
            pairs.extend(
                fates_of_a_renewal().into_iter().map(|second| vec![(number, first.clone()), (number + 1, second)]),
            );
        }
    }
    let scenarios = singles.len() + pairs.len();
    for fates in singles.into_iter().chain(pairs) {
        let site = Simulation::new(world.clone());
        let troubled = run(&site, &forest, &Run { fates: long(&fates), ..Run::of("troubled", choice) }).await;
        let step = format!("{choice}, renewals {fates:?}");
        match troubled.result {
            Ok(_) => {}
            Err(stopped) if stopped.is_lock_lost() && fates.len() > 1 => {}
            Err(error) => panic!("{step}: {error}"),
        }
        tokio::time::sleep(3 * MINUTE).await;
        check(&site, &forest, Tree::Dropped, &[step]).await;
    }
    announce(&format!("simulator: faults of renewals: {scenarios} scenarios"));
}

/// If every renewal fails, the run ends, and it sends nothing from the fence on.
#[tokio::test(start_paused = true)]
async fn l2_a_run_whose_renewals_all_fail_ends_with_the_lock_lost() {
    let forest = Forest::grow().await;
    let choice = Choice::of(Tree::Renewed);
    let world = after(&forest, Tree::Whole).await;
    for from in 0..2 {
        for fate in [Fate::Lost, Fate::Refused(500), Fate::Slow(2 * MINUTE)] {
            let site = Simulation::new(world.clone());
            let fates: Vec<(usize, Fate)> = (from..100).map(|number| (number, fate.clone())).collect();
            let began = tokio::time::Instant::now();
            let ended = run(&site, &forest, &Run { fates: long(&fates), ..Run::of("cut-off", choice) }).await;
            let step = format!("{choice}, every renewal from {from} on: {fate:?}");
            assert!(ended.result.as_ref().is_err_and(Stopped::is_lock_lost), "{step}: {:?}", ended.result.err());
            // The run looks at the namespace before it acquires the lock, and it waits for a read that is under way.
            let latest = 2 * MINUTE / 6 + MINUTE + u32::try_from(from).unwrap() * MINUTE / 3;
            assert!(began.elapsed() <= latest, "{step}: after {:?}", began.elapsed());
            tokio::time::sleep(3 * MINUTE).await;
            check(&site, &forest, Tree::Dropped, &[step]).await;
        }
    }
}

/// Requests that a dead run left under way arrive before any request of the next run, or after its end.
#[tokio::test(start_paused = true)]
async fn o13_a_request_that_arrives_in_any_later_run_leaks_nothing() {
    let forest = Forest::grow().await;
    let mut scenarios = 0;
    for (before, first, second) in [
        (Tree::Whole, Choice::of(Tree::Renewed), Choice::of(Tree::Dropped)),
        (Tree::Whole, Choice::of(Tree::Dropped), Choice::of(Tree::Moved)),
        (Tree::Whole, Choice::of(Tree::Moved), Choice::only(Tree::Whole, "demo.b")),
        (Tree::Sealed, Choice::of(Tree::Resealed), Choice::of(Tree::Dropped)),
        (Tree::Sealed, Choice::of(Tree::Resealed), Choice::of(Tree::Sealed)),
    ] {
        let world = after(&forest, before).await;
        let site = Simulation::new(world);
        site.watch_moments();
        run(&site, &forest, &Run::of("dead", first)).await.result.unwrap();
        let moments = site.take_moments();
        for moment in moments.iter().filter(|moment| moment.when == When::Flying) {
            let count = requests(&forest, &moment.world, second).await;
            // The next run polls the dead run's Lease many times. All these polls count as one moment, so most of them
            // are skipped.
            for number in (0..=count).filter(|number| *number < 4 || number + 55 > count) {
                let site = Simulation::with_flying(moment.world.clone(), moment.under_way.clone());
                let fates = Fates { arrival: Some(number), ..Fates::default() };
                let steps = [
                    format!("{first}, crashed with request {} under way, {}", moment.number, moment.line),
                    format!("{second}; before its request {number} that arrives"),
                ];
                drop(run(&site, &forest, &Run { fates, ..Run::of("next", second) }).await);
                site.arrive();
                check(&site, &forest, Tree::Dropped, &steps).await;
                scenarios += 1;
            }
        }
    }
    announce(&format!("simulator: late arrivals: {scenarios} scenarios"));
}

/// One actor stalls at any request until its lease has expired. Another actor takes over the lock and works. Then the
/// first actor wakes, at some request of the other actor or after its end, and goes on.
#[tokio::test(start_paused = true)]
async fn l1_l3_two_actors_any_switch_and_back() {
    let forest = Forest::grow().await;
    let mut scenarios = 0;
    for (before, first, second, skew) in [
        (Tree::Whole, Choice::of(Tree::Renewed), Choice::of(Tree::Dropped), 10),
        (Tree::Whole, Choice::of(Tree::Dropped), Choice::of(Tree::Whole), -10),
        (Tree::Sealed, Choice::of(Tree::Resealed), Choice::of(Tree::Whole), 10),
    ] {
        let world = after(&forest, before).await;
        let count = requests(&forest, &world, first).await;
        for stalled in 0..count {
            for answered in [false, true] {
                for awake in (0..10).map(|step| 60 + 3 * step).chain([usize::MAX]) {
                    let site = Simulation::new(world.clone());
                    let gate = Arc::new(Notify::new());
                    let fate = if answered {
                        Fate::StalledAnswer(Arc::clone(&gate))
                    } else {
                        Fate::Stalled(Arc::clone(&gate))
                    };
                    let fates = Fates { at: [(stalled, fate)].into(), skew_hours: skew, ..Fates::default() };
                    let a = Run { fates, ..Run::of("actor-a", first) };
                    let fates = Fates { wakes: Some((awake, Arc::clone(&gate))), ..Fates::default() };
                    let b = Run { fates, ..Run::of("actor-b", second) };
                    let (one, two) = tokio::join!(run(&site, &forest, &a), async {
                        tokio::time::sleep(MINUTE / 60).await;
                        let ended = run(&site, &forest, &b).await;
                        gate.notify_one();
                        ended
                    });
                    let says = |result: &Result<_, Stopped>| match result {
                        Ok(_) => "succeeds".to_owned(),
                        Err(error) => format!("{error}"),
                    };
                    let steps = [
                        format!(
                            "A: {first}, stalled at request {stalled} (in effect: {answered}): {}",
                            says(&one.result)
                        ),
                        format!("B: {second}, waking A at its request {awake}: {}", says(&two.result)),
                    ];
                    tokio::time::sleep(3 * MINUTE).await;
                    check(&site, &forest, Tree::Dropped, &steps).await;
                    scenarios += 1;
                }
            }
        }
    }
    announce(&format!("simulator: contention: {scenarios} scenarios"));
}

/// A run that is told to stop at any request releases the lock at once and leaves a state from which the next run can
/// go on.
#[tokio::test(start_paused = true)]
async fn a9_an_interrupt_at_any_request_leaves_a_free_lock_and_nothing_lost() {
    let forest = Forest::grow().await;
    for (before, choice) in [(Tree::Whole, Choice::of(Tree::Renewed)), (Tree::Sealed, Choice::of(Tree::Resealed))] {
        let world = after(&forest, before).await;
        for number in 0..requests(&forest, &world, choice).await {
            let site = Simulation::new(world.clone());
            let began = tokio::time::Instant::now();
            drop(run(&site, &forest, &Run { interrupt: Some(number), ..Run::of("stopped", choice) }).await);
            let step = format!("{choice}, told to stop at request {number}");
            assert!(began.elapsed() < Duration::from_secs(5), "{step}: {:?}", began.elapsed());
            assert!(site.world().object(LEASE).is_none(), "{step}: the lock is held");
            check(&site, &forest, Tree::Moved, &[step]).await;
        }
    }
}

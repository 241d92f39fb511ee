//! Runs that are killed at random, one after another, while the tree changes.

use std::process::Child;
use std::time::{Duration, Instant};

use support::controlplane::User;

use super::check::Foreign;
use super::random::{Random, rounds, seed};
use super::script::Script;
use super::world::World;
use crate::bench::{Bench, Ran};

/// The number of roots that are tested in parallel. Most of the time, a run waits until the lock of a dead run expires.
const ROOTS: usize = 16;
/// The maximum number of rounds before a run may finish and everything is compared.
const BETWEEN_CHECKS: usize = 10;
/// The maximum time in which a run neither ends nor reaches the point of its kill.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn o2_two_hundred_random_kills_leak_nothing() {
    let (seed, rounds) = (seed(), rounds(200));
    println!("KTOR_CHAOS_SEED={seed} KTOR_CHAOS_ROUNDS={rounds}");
    let began = Instant::now();
    let each = rounds.div_ceil(ROOTS);
    let killed: usize = std::thread::scope(|scope| {
        let roots: Vec<_> =
            (0..ROOTS).map(|root| scope.spawn(move || root_of_kills(Random::new(seed, root as u64), each))).collect();
        roots.into_iter().map(|root| root.join().unwrap()).sum()
    });
    println!("{killed} runs killed in {:?}", began.elapsed());
    assert!(killed >= each * ROOTS, "{killed}");
}

/// Kills this number of runs of one root, and returns how many were killed.
fn root_of_kills(dice: Random, times: usize) -> usize {
    let mut world = World::new("kills", dice);
    let foreign = Foreign::surround(&world);
    let script = Script::start(world.bench.plane);
    world.bench.through(script.recorder.kubeconfig(User::Admin));
    let mut usual = Duration::from_millis(1500);
    let mut killed = 0;
    let mut unchecked = 0;
    while killed < times {
        world.change();
        let arguments = world.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match world.dice.below(10) {
            // Kill the run at a random moment, possibly before it has the lock.
            0 => {
                script.calm();
                let moment = world.dice.moment(Duration::from_millis(500));
                killed += kill_at(world.bench.spawn_brief(&arguments), || Some(Instant::now()), moment);
            }
            1..=4 => {
                script.calm();
                let moment = world.dice.moment(usual);
                killed += kill_at(world.bench.spawn_brief(&arguments), || script.locking(), moment);
            }
            // Kill the run during a change. The change is then lost, or arrives later although the run is dead.
            _ => {
                let gate = script.ambush(world.dice.below(8));
                let reached = || gate.is_reached().then(Instant::now);
                killed += kill_at(world.bench.spawn_brief(&arguments), reached, Duration::ZERO);
                if world.dice.percent(40) {
                    gate.lose();
                } else {
                    if world.dice.percent(30) {
                        // The change arrives long after the next run has begun.
                        std::thread::sleep(world.dice.moment(Duration::from_secs(1)));
                    }
                    gate.open();
                }
            }
        }
        unchecked += 1;
        if unchecked == BETWEEN_CHECKS || world.dice.percent(5) {
            script.calm();
            world.change();
            let began = Instant::now();
            foreign.settled(&world);
            usual = (usual + began.elapsed() / 3) / 2;
            unchecked = 0;
        }
    }
    script.calm();
    foreign.settled(&world);
    killed
}

/// Kills a run this long after `begins` reports a time. Returns the number of killed runs, 0 or 1.
fn kill_at(mut run: Child, begins: impl Fn() -> Option<Instant>, after: Duration) -> usize {
    let started = Instant::now();
    let mut begun = None;
    loop {
        if run.try_wait().unwrap().is_some() {
            Bench::finished(run).lived();
            return 0;
        }
        begun = begun.or_else(&begins);
        if begun.is_some_and(|begun: Instant| begun.elapsed() >= after) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "a run neither ends nor begins");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill().unwrap();
    // A run that ended by itself at the same moment was not killed.
    let ran = Bench::finished(run);
    if ran.code.is_some() {
        ran.lived();
        return 0;
    }
    1
}

impl Ran {
    /// Asserts that a run that was not killed ended in an expected way. It is done, or it lost its lock on a busy
    /// machine, or it failed because an object was still being deleted or a request of a dead run came in between.
    fn lived(self) {
        let may_fail = ["being deleted", "meanwhile", "immutable"].iter().any(|why| self.stderr.contains(why));
        assert!(matches!(self.code, Some(0 | 5)) || (self.code == Some(1) && may_fail), "{self:#?}");
    }
}

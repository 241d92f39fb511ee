//! Runs whose connections break, whose requests arrive late, or that are suspended while another run works.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use support::controlplane::{Gate, User};

use super::check::{Foreign, run};
use super::random::{Random, rounds, seed};
use super::script::{Script, is_finalizing};
use super::world::{World, whole};
use crate::bench::{Bench, Ran};

const ROOTS: usize = 10;

#[test]
fn o13_through_a_hostile_proxy_nothing_leaks() {
    let (seed, rounds) = (seed(), rounds(200));
    println!("KTOR_CHAOS_SEED={seed} KTOR_CHAOS_ROUNDS={rounds}");
    let began = Instant::now();
    let each = rounds.div_ceil(ROOTS);
    let faults: usize = std::thread::scope(|scope| {
        let roots: Vec<_> = (0..ROOTS)
            .map(|root| scope.spawn(move || root_of_faults(Random::new(seed, 1000 + root as u64), each)))
            .collect();
        roots.into_iter().map(|root| root.join().unwrap()).sum()
    });
    println!("{faults} requests harmed in {:?}", began.elapsed());
    assert!(faults * 4 >= 5 * each * ROOTS, "{faults}");
}

/// Disturbs this number of runs of one root, and returns the number of harmed requests.
fn root_of_faults(dice: Random, times: usize) -> usize {
    let mut world = World::new("network", dice);
    let foreign = Foreign::surround(&world);
    let script = Script::start(world.bench.plane);
    for round in 1..=times {
        world.change();
        match world.dice.below(4) {
            0 | 1 => storm(&mut world, &script),
            2 => late(&mut world, &script),
            _ => asleep(&mut world, &script),
        }
        script.calm();
        // One more run must repair everything that arrived late.
        if round % 4 == 0 || round == times {
            direct(&mut world);
            foreign.settled(&world);
        }
    }
    script.faults()
}

/// Runs an apply while connections break at random.
fn storm(world: &mut World, script: &Script) {
    let number = world.dice.below(usize::MAX);
    script.storm(Random::new(number as u64, 0));
    let arguments = world.arguments();
    world.bench.through(script.recorder.kubeconfig(User::Admin));
    let run = world.bench.spawn_brief(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    ended(Bench::finished(run));
}

/// Lets a change arrive after its run has ended in any way and another run has finished.
fn late(world: &mut World, script: &Script) {
    let gate = script.ambush(world.dice.below(6));
    let first = started(world, script);
    ended(Bench::finished(first));
    world.change();
    direct(world);
    ended(run(world, &whole()));
    gate.open();
    drop(script.landed());
}

/// Suspends a run at a change while another run takes over its lock and finishes. After it wakes up, it must change
/// nothing.
fn asleep(world: &mut World, script: &Script) {
    let gate = script.ambush(world.dice.below(6));
    let mut first = started(world, script);
    if !reached(&mut first, &gate) {
        ended(Bench::finished(first));
        return;
    }
    signal(&first, "STOP");
    world.change();
    direct(world);
    if world.dice.percent(50) {
        // The held request of the first run arrives in the middle of the second run.
        let second = world.bench.spawn(&whole().iter().map(String::as_str).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_secs(5) + world.dice.moment(Duration::from_secs(1)));
        gate.open();
        ended(Bench::finished(second));
    } else {
        ended(run(world, &whole()));
        gate.open();
    }
    let held = script.landed().expect("a change stood at the gate");
    let before = script.changes();
    signal(&first, "CONT");
    let first = Bench::finished(first);
    // The held request may have been the last write of the first run. The state is written by compare-and-swap, and no
    // run changes an object before it writes the state. If that last write succeeded, no other run had begun, and all
    // work is done.
    let is_done = is_finalizing(&held);
    assert!(matches!(first.code, Some(1 | 5)) || (first.code == Some(0) && is_done), "{held:#?} {first:#?}");
    assert_eq!(script.changes(), before, "a run changes something after its lock was taken over: {first:#?}");
}

fn started(world: &mut World, script: &Script) -> Child {
    let arguments = world.arguments();
    world.bench.through(script.recorder.kubeconfig(User::Admin));
    world.bench.spawn_brief(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn direct(world: &mut World) {
    let kubeconfig = world.bench.plane.kubeconfig(User::Admin);
    world.bench.through(kubeconfig);
}

/// Waits until a request of the run is held at the gate. Returns `false` if the run ends before.
fn reached(run: &mut Child, gate: &Gate) -> bool {
    while !gate.is_reached() {
        if run.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Starts runs until one is held at the gate. On a busy machine, a run may lose its short lease before it gets there.
pub fn standing(gate: &Gate, start: impl Fn() -> Child) -> Child {
    let began = Instant::now();
    loop {
        let mut run = start();
        if reached(&mut run, gate) {
            return run;
        }
        Bench::finished(run).exits(5);
        assert!(began.elapsed() < Duration::from_secs(120), "no run comes to the gate");
    }
}

/// Sends a signal to a process that a test started.
pub fn signal(run: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &run.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Asserts that a run was done, failed, or lost its lock. A run is never refused and never locked out here.
fn ended(ran: Ran) {
    assert!(matches!(ran.code, Some(0 | 1 | 5)), "{ran:#?}");
}

//! Runs whose connections break, whose requests arrive late, and that sleep while another run works.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::check::{Foreign, run};
use super::random::{Random, rounds, seed};
use super::script::{Script, is_finalizing};
use super::world::{World, whole};
use crate::cluster::bench::{Bench, Ran};
use crate::support::controlplane::{Gate, User};

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

/// Lets so many runs of one root go wrong, and returns how many requests were harmed.
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
        // One more run, and then nothing may be left of what arrived late.
        if round % 4 == 0 || round == times {
            direct(&mut world);
            foreign.settled(&world);
        }
    }
    script.faults()
}

/// Connections break at random.
fn storm(world: &mut World, script: &Script) {
    let number = world.dice.below(usize::MAX);
    script.storm(Random::new(number as u64, 0));
    let arguments = world.arguments();
    world.bench.through(script.recorder.kubeconfig(User::Admin));
    let run = world.bench.spawn_brief(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    ended(Bench::finished(run));
}

/// A change arrives after its run has ended, however it ended, and another run has finished.
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

/// A run sleeps at a change while another takes its lock over and finishes. Awake again, it changes nothing.
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
        // What the first run asked for arrives in the middle of the second one.
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
    // What arrived may have been its last write of all. The record changes hands by compare-and-swap, and nobody changes
    // an object before the record: where that write succeeded, nobody else had begun, and all is done as it says.
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

/// Waits until a run's request stands at the gate; not, where the run ends before.
fn reached(run: &mut Child, gate: &Gate) -> bool {
    while !gate.is_reached() {
        if run.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Starts a run until one stands at the gate: on a busy machine it may lose its brief lease before.
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

/// Sends a signal to a process that was started here.
pub fn signal(run: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &run.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Asserts that a run said how it ended: done, failed, or out of its lock; refused or locked out it never is.
fn ended(ran: Ran) {
    assert!(matches!(ran.code, Some(0 | 1 | 5)), "{ran:#?}");
}

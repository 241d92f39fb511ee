//! Signals in each phase of a run. The run ends within five seconds, and the next run finishes its work.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use support::controlplane::{Entry, Fault, Gate, Recorder, User};

use super::network::{signal, standing};
use super::script::{is_change, is_lease};
use crate::bench::{Bench, config_map, namespace};

const LIMIT: Duration = Duration::from_secs(5);

/// The phase of the run when the signal arrives. The run waits for a request of this phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Locking,
    Planning,
    Recording,
    Applying,
    CleaningUp,
    Finalizing,
}

impl Phase {
    const ALL: [Self; 6] =
        [Self::Locking, Self::Planning, Self::Recording, Self::Applying, Self::CleaningUp, Self::Finalizing];

    /// Returns `true` if a request belongs to the phase. `states` is the number of writes of the state before it.
    fn has(self, entry: &Entry, states: usize) -> bool {
        let is_state = is_state(entry);
        match self {
            Self::Locking => is_lease(entry) && entry.method == Method::POST,
            // The state is also read before the run has the lock. Objects are only listed with the lock.
            Self::Planning => entry.method == Method::GET && entry.target.contains("labelSelector"),
            Self::Recording => is_change(entry) && is_state && states == 0,
            Self::Applying => is_change(entry) && entry.method == Method::PATCH,
            Self::CleaningUp => is_change(entry) && entry.method == Method::DELETE,
            Self::Finalizing => is_change(entry) && is_state && states == 1,
        }
    }
}

/// Returns `true` if a request is about the state's own Secret. The Secret of the review key does not count.
fn is_state(entry: &Entry) -> bool {
    entry.path().contains("/secrets/kubernator-project-") && !entry.path().ends_with("-review")
}

/// The fate of the request that the run waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// The server answers it soon after the signal.
    Answered,
    /// It is held until the run has ended, and arrives then.
    Stuck,
}

/// Creates a project that is applied once, and then gets a change, a new object and an object to clean up.
fn project(begins: &str) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns));
    bench
        .write("changed.yaml", &config_map(&ns, "changed", "1"))
        .write("dropped.yaml", &config_map(&ns, "dropped", "1"));
    bench.apply();
    bench.write("changed.yaml", &config_map(&ns, "changed", "2")).write("new.yaml", &config_map(&ns, "new", "1"));
    bench.remove("dropped.yaml");
    (bench, ns)
}

/// Asserts the result that the next run must leave.
fn finished(bench: &Bench, ns: &str) {
    let value = |name: &str| bench.get(&format!("configmap/{name}"), Some(ns)).map(|it| it["data"]["phase"].clone());
    assert_eq!((value("changed"), value("new"), value("dropped")), (Some("2".into()), Some("1".into()), None));
    assert_eq!(bench.lease(), None);
    bench.ktor(&["apply", "--yes"]).exits(0);
    assert!(bench.recorded().0);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

/// A run that waits for a held request.
struct Standing {
    run: Child,
    gate: Gate,
    /// The proxy to the server. If it is dropped, no request arrives any more.
    recorder: Recorder<'static>,
}

impl Standing {
    fn start(bench: &mut Bench, phase: Phase) -> Self {
        let gate = Gate::closed();
        let held = gate.clone();
        let states = AtomicUsize::new(0);
        let recorder = Recorder::with_faults(bench.plane, move |entry| {
            let is_written = is_change(entry) && is_state(entry);
            if entry.method == Method::GET && is_state(entry) {
                states.store(0, Ordering::Relaxed);
            }
            let stands = phase.has(entry, states.fetch_add(usize::from(is_written), Ordering::Relaxed));
            // A retry of the request is held as well.
            let again = is_change(entry) && held.is_reached();
            (stands || again).then(|| Fault::Hold(held.clone()))
        });
        bench.through(recorder.kubeconfig(User::Admin));
        let run = standing(&gate, || bench.spawn_brief(&["apply", "--yes"]));
        Self { run, gate, recorder }
    }
}

/// Sends a signal to a run that waits in a phase, and checks how it and the next run end.
fn interrupted(phase: Phase, request: Request, name: &str) {
    let (mut bench, ns) = project("signals");
    let direct = bench.plane.kubeconfig(User::Admin);
    let Standing { run, gate, recorder } = Standing::start(&mut bench, phase);
    let began = Instant::now();
    signal(&run, name);
    if request == Request::Answered {
        std::thread::sleep(Duration::from_millis(300));
        gate.open();
    }
    let ran = Bench::finished(run);
    let took = began.elapsed();
    assert!(took < LIMIT, "{phase:?} {request:?} {name}: {took:?}, {ran:#?}");
    bench.through(direct);
    println!("{phase:?} {request:?} {name}: {took:?}");
    // If the server answered the very last write, there is nothing left to resume.
    let code = if (phase, request) == (Phase::Finalizing, Request::Answered) { 0 } else { 5 };
    let ran = ran.exits(code);
    // A change that may still arrive must not arrive while another run holds the lock. The run therefore lets the lock
    // expire.
    let is_change = !matches!(phase, Phase::Locking | Phase::Planning);
    let freed = request == Request::Answered || !is_change;
    assert_eq!(bench.lease().is_none(), freed, "{phase:?} {request:?}: {ran:#?}");
    gate.open();
    if phase == Phase::Locking {
        // The request for the Lease may have succeeded after the run ended. That Lease expires.
        std::thread::sleep(Duration::from_millis(200));
    }
    let is_free = freed && (phase, request) != (Phase::Locking, Request::Stuck);
    let timeout = if is_free { "0" } else { "30s" };
    bench.ktor(&["apply", "--yes", "--lock-timeout", timeout]).exits(0);
    finished(&bench, &ns);
    drop(recorder);
}

#[test]
fn a9_a_signal_in_any_phase_ends_the_run_within_five_seconds_and_frees_the_lock() {
    each_phase(|phase, name| interrupted(phase, Request::Answered, name));
}

#[test]
fn a9_a_signal_ends_a_run_whose_server_does_not_answer() {
    each_phase(|phase, name| interrupted(phase, Request::Stuck, name));
}

/// Checks all phases in parallel, with either signal.
fn each_phase(check: impl Fn(Phase, &str) + Sync) {
    let check = &check;
    for name in ["INT", "TERM"] {
        std::thread::scope(|scope| {
            for phase in Phase::ALL {
                scope.spawn(move || check(phase, name));
            }
        });
    }
}

#[test]
fn a9_a_signal_before_the_lock_is_asked_for_ends_a_run_that_changed_nothing() {
    let (bench, ns) = project("unlocked");
    let programs = tempfile::tempdir().unwrap();
    let (git, reached) = (programs.path().join("git"), programs.path().join("reached"));
    fs::write(&git, format!("#!/bin/sh\n: >'{}'\nexec sleep 60\n", reached.display())).unwrap();
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).unwrap();
    // The first action of a run is to ask git for the commit.
    for arguments in [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "first"]] {
        let user = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"];
        let ran = std::process::Command::new("git").args(user).args(arguments).current_dir(bench.path()).status();
        assert!(ran.unwrap().success(), "{arguments:?}");
    }
    let state = bench.state_text();
    let renamed = ["state", "mv", &ns, "other", "--yes"];
    for (name, arguments) in
        [("INT", &["apply", "--yes"] as &[&str]), ("TERM", &["apply", "--yes"]), ("TERM", &renamed)]
    {
        let run = bench.spawn_beside(programs.path(), arguments);
        let spawned = Instant::now();
        while !reached.exists() {
            assert!(spawned.elapsed() < Duration::from_secs(60), "{arguments:?} asks git");
            std::thread::sleep(Duration::from_millis(20));
        }
        let began = Instant::now();
        signal(&run, name);
        let ran = Bench::finished(run).exits(5).says("the run was interrupted before it began; nothing was changed");
        assert!(began.elapsed() < LIMIT, "{ran:#?}");
        assert_eq!((bench.lease(), bench.state_text()), (None, state.clone()));
        fs::remove_file(&reached).unwrap();
    }
    bench.ktor(&["apply", "--yes", "--lock-timeout", "0"]).exits(0);
    finished(&bench, &ns);
}

#[test]
fn a9_a_signal_while_the_lock_is_waited_for_leaves_it_to_its_holder() {
    for name in ["INT", "TERM"] {
        let (bench, ns) = project("waiting");
        let lease = serde_json::json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": format!("kubernator-project-{}-lock", bench.hash()), "namespace": "kubernator-system"},
            "spec": {"holderIdentity": "someone#1", "leaseDurationSeconds": 600}});
        bench.kubectl(&["create", "-f", "-"], &lease.to_string());
        let held = bench.lease().unwrap();
        let run = bench.spawn(&["apply", "--yes"]);
        std::thread::sleep(Duration::from_secs(2));
        let began = Instant::now();
        signal(&run, name);
        let ran = Bench::finished(run).exits(5).says("someone#1");
        assert!(began.elapsed() < LIMIT, "{ran:#?}");
        assert_eq!(bench.lease().unwrap(), held);
        let lock = format!("lease/kubernator-project-{}-lock", bench.hash());
        bench.kubectl(&["delete", &lock, "-n", "kubernator-system"], "");
        bench.ktor(&["apply", "--yes", "--lock-timeout", "0"]).exits(0);
        finished(&bench, &ns);
    }
}

#[test]
fn a9_a_signal_while_readiness_is_waited_for_frees_the_lock() {
    for name in ["INT", "TERM"] {
        let (mut bench, ns) = project("unready");
        let never = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: never, namespace: {ns}}}\nspec:\n  replicas: 1\n  \
             selector: {{matchLabels: {{a: b}}}}\n  template:\n    metadata: {{labels: {{a: b}}}}\n    \
             spec: {{nodeSelector: {{no: where}}, containers: [{{name: c, image: absent.invalid/image}}]}}\n"
        );
        bench.write("never.yaml", &never);
        let recorder = Recorder::start(bench.plane);
        let direct = bench.plane.kubeconfig(User::Admin);
        bench.through(recorder.kubeconfig(User::Admin));
        let run = bench.spawn(&["apply", "--yes"]);
        let applied = || {
            let is_applied = |entry: &Entry| is_change(entry) && entry.path().ends_with("/never");
            recorder.journal().iter().any(|entry| is_applied(entry) && entry.status.is_some())
        };
        while !applied() {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(500));
        let began = Instant::now();
        signal(&run, name);
        let ran = Bench::finished(run).exits(5);
        assert!(began.elapsed() < LIMIT, "{ran:#?}");
        bench.through(direct);
        assert_eq!(bench.lease(), None);
        bench.remove("never.yaml");
        bench.ktor(&["apply", "--yes", "--lock-timeout", "0"]).exits(0);
        assert_eq!(bench.get("deployment/never", Some(&ns)), None);
        finished(&bench, &ns);
    }
}

#[test]
fn a9_a_run_killed_in_any_phase_is_taken_over_when_its_lease_expires() {
    std::thread::scope(|scope| {
        for phase in Phase::ALL {
            scope.spawn(move || killed(phase));
        }
    });
}

fn killed(phase: Phase) {
    let (mut bench, ns) = project("killed");
    let direct = bench.plane.kubeconfig(User::Admin);
    let Standing { mut run, gate, recorder } = Standing::start(&mut bench, phase);
    run.kill().unwrap();
    run.wait().unwrap();
    gate.open();
    std::thread::sleep(Duration::from_millis(200));
    bench.through(direct);
    bench.ktor(&["apply", "--yes", "--lock-timeout", "0"]).exits(4);
    let began = Instant::now();
    bench.ktor(&["apply", "--yes", "--lock-timeout", "30s"]).exits(0);
    assert!(began.elapsed() >= Duration::from_secs(5), "{phase:?}: a lease that may be alive was taken over");
    finished(&bench, &ns);
    drop(recorder);
}

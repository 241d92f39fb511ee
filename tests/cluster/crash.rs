//! A run that dies. The next run takes over the lock and finishes the work.

use std::time::Instant;

use support::controlplane::{Fault, Gate, Recorder, User};

use super::bench::{Bench, config_map, namespace};

#[tokio::test(flavor = "multi_thread")]
async fn a9_a_killed_apply_is_finished_by_the_next_run_after_its_lease() {
    let mut bench = Bench::new("killed");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("dropped.yaml", &config_map(&ns, "dropped", "1"));
    bench.apply();
    bench.remove("dropped.yaml");
    for number in 0..20 {
        let name = format!("cfg-{number:02}");
        bench.write(&format!("{name}.yaml"), &config_map(&ns, &name, "1"));
    }
    // The run is killed while its tenth apply is held at the gate. The request arrives afterwards.
    let gate = Gate::closed();
    let held = gate.clone();
    let recorder = Recorder::with_faults(bench.plane, move |entry| {
        let is_tenth = entry.persists() && entry.method == http::Method::PATCH && entry.path().ends_with("/cfg-10");
        is_tenth.then(|| Fault::Hold(held.clone()))
    });
    let direct = bench.plane.kubeconfig(User::Admin);
    bench.through(recorder.kubeconfig(User::Admin));
    let mut run = bench.spawn(&["apply", "--yes"]);
    gate.reached().await;
    run.kill().unwrap();
    run.wait().unwrap();
    gate.open();
    bench.through(direct);

    let (finalized, _) = bench.recorded();
    assert!(!finalized, "phase one was recorded and phase two was not");
    let holder = bench.lease().expect("the dead run's lease")["spec"]["holderIdentity"].clone();
    let refused = bench.ktor(&["apply", "--yes", "--lock-timeout", "0"]).exits(4);
    assert!(refused.stderr.contains(holder.as_str().unwrap()), "{refused:#?}");

    // Created objects that are no longer desired must be deleted, although no finished run recorded them.
    bench.remove("cfg-00.yaml").remove("cfg-10.yaml");
    let began = Instant::now();
    bench.ktor(&["apply", "--yes", "--lock-timeout", "2m"]).exits(0);
    assert!(began.elapsed().as_secs() >= 20, "a lease that may be alive was taken over");
    for gone in ["dropped", "cfg-00", "cfg-10"] {
        assert_eq!(bench.get(&format!("configmap/{gone}"), Some(&ns)), None, "{gone}");
    }
    assert!(bench.get("configmap/cfg-19", Some(&ns)).is_some());
    assert_eq!(bench.lease(), None);
    // A run that starts from a settled state drops the last entries.
    bench.apply();
    assert_eq!(bench.recorded().1[&bench.root].len(), 19);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_a_terminated_apply_stops_within_5_seconds_and_frees_the_lock() {
    let mut bench = Bench::new("terminated");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns));
    bench.write(
        "never.yaml",
        &format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: never, namespace: {ns}}}\nspec:\n  selector: {{matchLabels: {{a: b}}}}\n  \
             template:\n    metadata: {{labels: {{a: b}}}}\n    spec: {{containers: [{{name: c, image: absent.invalid/image}}]}}\n"
        ),
    );
    let recorder = Recorder::start(bench.plane);
    bench.through(recorder.kubeconfig(User::Admin));
    let run = bench.spawn(&["apply", "--yes"]);
    let applied = || recorder.journal().iter().any(|entry| entry.persists() && entry.path().ends_with("/never"));
    while !applied() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let pid = run.id().to_string();
    let began = Instant::now();
    std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    let ran = tokio::task::spawn_blocking(|| Bench::finished(run)).await.unwrap();
    ran.exits(5);
    assert!(began.elapsed().as_secs() < 5);
    assert_eq!(bench.lease(), None);
    bench.remove("never.yaml");
    bench.apply();
    assert_eq!(bench.get("deployment/never", Some(&ns)), None);
}

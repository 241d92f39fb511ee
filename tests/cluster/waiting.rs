//! Waiting: a run sends a whole wave and then waits for the whole wave. This applies to created and to deleted objects.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bench::{Bench, config_map, namespace};
use super::deletion::hold;

/// Returns a workload. If `node` is given, its pods need a node with that label.
pub fn workload(kind: &str, namespace: &str, name: &str, node: Option<&str>) -> Value {
    let labels = json!({"app": name});
    let selector = node.map(|node| json!({node: "yes"})).unwrap_or(json!({}));
    let mut body = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"nodeSelector": selector, "containers": [{"name": "c", "image": "example.invalid/c"}]}}}});
    if kind == "StatefulSet" {
        body["spec"]["serviceName"] = json!(name);
    }
    body
}

/// Waits until a condition is true.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(90), "never {what}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn r14_eight_that_become_ready_with_a_ninth_of_their_wave_do_not_keep_it_from_being_sent() {
    let bench = Bench::new("ninth");
    let ns = bench.root.clone();
    let label = format!("{ns}.example.com");
    bench.write("ns.yaml", &namespace(&ns));
    for number in 0..9 {
        let name = format!("waits-{number}");
        bench.write(&format!("{name}.json"), &workload("Deployment", &ns, &name, Some(&label)).to_string());
    }
    bench.write("store.json", &workload("StatefulSet", &ns, "store", None).to_string());
    let run = bench.spawn(&["apply", "--yes", "-o", "json", "--readiness-timeout", "90s"]);
    // The test plays the role of a controller that waits for the store: once the store is ready, the other pods can be
    // scheduled.
    until("up", || {
        bench.get("statefulset/store", Some(&ns)).is_some_and(|store| store["status"]["readyReplicas"] == 1)
    });
    let nodes = bench.kubectl(&["get", "nodes", "-o", "name"], "");
    bench.kubectl(&["label", nodes.lines().next().unwrap(), &format!("{label}=yes")], "");
    let outcome = Bench::finished(run).exits(0).json();
    assert_eq!(outcome["summary"]["created"], 11, "{outcome:#}");
}

#[test]
fn r14_twenty_four_that_count_as_ready_after_ten_seconds_take_little_more_together() {
    let bench = Bench::new("minready");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns));
    for number in 0..24 {
        let name = format!("slow-{number}");
        let mut body = workload("Deployment", &ns, &name, None);
        body["spec"]["minReadySeconds"] = json!(10);
        bench.write(&format!("{name}.json"), &body.to_string());
    }
    let started = Instant::now();
    let outcome = bench.apply();
    let took = started.elapsed();
    assert_eq!(outcome["summary"]["created"], 25, "{outcome:#}");
    // In groups of eight, it would take at least 30 s.
    assert!(took > Duration::from_secs(10) && took < Duration::from_secs(28), "{took:?}");
}

#[test]
fn r14_what_is_deleted_is_asked_to_go_before_any_of_it_is_waited_for() {
    let bench = Bench::new("together");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("stays.yaml", &config_map(&ns, "stays", "1"));
    let names: Vec<String> = (0..20).map(|number| format!("goes-{number}")).collect();
    for name in &names {
        bench.write(&format!("{name}.yaml"), &config_map(&ns, name, "1"));
    }
    bench.apply();
    for name in &names {
        hold(&bench, &format!("configmap/{name}"), &ns, &json!(["a.dev/hold"]));
        bench.remove(&format!("{name}.yaml"));
    }
    let run = bench.spawn(&["apply", "--yes", "-o", "json", "--allow-mass-deletion"]);
    // The finalizers are removed only after all objects are being deleted.
    until("all being deleted", || {
        let list = bench.kubectl(&["get", "configmaps", "-n", &ns, "-o", "json"], "");
        let list: Value = serde_json::from_str(&list).unwrap();
        let items = list["items"].as_array().unwrap();
        let going = items.iter().filter(|item| !item["metadata"]["deletionTimestamp"].is_null());
        going.count() == names.len()
    });
    for name in &names {
        hold(&bench, &format!("configmap/{name}"), &ns, &json!(null));
    }
    let outcome = Bench::finished(run).exits(0).json();
    assert_eq!(outcome["summary"]["deleted"], 20, "{outcome:#}");
}

#[test]
fn r14_a_wait_that_ends_names_each_object_and_its_reason_under_one_deadline() {
    let bench = Bench::new("deadline");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns));
    for number in 0..20 {
        let name = format!("never-{number}");
        bench.write(
            &format!("{name}.json"),
            &workload("Deployment", &ns, &name, Some("no.example.com/node")).to_string(),
        );
    }
    let started = Instant::now();
    let ran = bench.ktor(&["apply", "--yes", "-o", "json", "--readiness-timeout", "5s"]).exits(1);
    assert!(started.elapsed() < Duration::from_secs(14), "{:?}", started.elapsed());
    let outcome = ran.json();
    assert_eq!(outcome["summary"]["failed"], 20, "{outcome:#}");
    for object in outcome["applied"].as_array().unwrap().iter().filter(|object| object["outcome"] == "failed") {
        assert!(object["message"].as_str().unwrap().contains("not ready after 5 s: 0 of 1 replicas"), "{object:#}");
    }
}

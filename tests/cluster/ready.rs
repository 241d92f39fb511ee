//! Readiness: the objects that a run waits for, and the reason that it reports when a wait ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bench::{Bench, change, config_map, namespace};
use super::waiting::{until, workload};

fn ready(begins: &str) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns));
    (bench, ns)
}

fn migration(ns: &str, image: &str) -> String {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate", "namespace": ns},
        "spec": {"ttlSecondsAfterFinished": 0, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": image}]}}}})
    .to_string()
}

#[test]
fn r4_a_job_that_removes_itself_is_done_and_runs_again_only_when_it_changes() {
    let (bench, ns) = ready("ttljob");
    bench.write("job.json", &migration(&ns, "example.invalid/one"));
    bench.apply();
    let job = || bench.get("job/migrate", Some(&ns));
    until("gone", || job().is_none());
    let plan = bench.ktor(&["plan", "-o", "json", "--detailed-exitcode"]).exits(0).json();
    assert_eq!(change(&plan, "changes", "migrate")["reason"]["kind"], "done", "{plan:#}");
    let again = bench.apply();
    assert_eq!((&again["summary"]["unchanged"], &again["summary"]["created"]), (&json!(2), &json!(0)), "{again:#}");
    assert_eq!(job(), None);
    // The Job also does not run in an apply that fails because of another object, or in the next apply.
    let sick = workload("Deployment", &ns, "sick", Some("no.example.com/node")).to_string();
    bench.write("job.json", &migration(&ns, "example.invalid/two")).write("sick.json", &sick);
    let ran = bench.ktor(&["apply", "--yes", "-o", "json", "--readiness-timeout", "20s"]).exits(1).json();
    assert_eq!(ran["summary"]["created"], 1, "{ran:#}");
    until("gone", || job().is_none());
    let ran = bench.ktor(&["apply", "--yes", "-o", "json", "--readiness-timeout", "3s"]).exits(1).json();
    assert_eq!(ran["summary"]["created"], 0, "{ran:#}");
    // A Job that was removed from the tree and added again is a new one.
    bench.remove("job.json").remove("sick.json");
    bench.apply();
    bench.write("job.json", &migration(&ns, "example.invalid/two"));
    assert_eq!(bench.apply()["summary"]["created"], 1);
}

#[test]
fn r4_a_job_that_was_blocked_has_not_run() {
    let (bench, ns) = ready("heldjob");
    bench.write("job.json", &migration(&ns, "example.invalid/one"));
    bench.apply();
    until("gone", || bench.get("job/migrate", Some(&ns)).is_none());
    bench.kubectl(&["create", "configmap", "settings", "-n", &ns], "");
    let mut job: Value = serde_json::from_str(&migration(&ns, "example.invalid/two")).unwrap();
    job["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
    bench.write("job.json", &job.to_string());
    bench.write("settings.yaml", &config_map(&ns, "settings", "1"));
    let held = bench.ktor(&["apply", "--yes", "--no-adopt", "-o", "json"]).exits(3).json();
    assert_eq!(held["summary"]["blocked"], 2, "{held:#}");
    assert_eq!(bench.apply()["summary"]["created"], 1, "it was noted as done");
}

#[test]
fn r13_a_time_out_of_zero_waits_for_nothing_and_fails_nothing() {
    let (bench, ns) = ready("nowait");
    bench.write("web.json", &workload("Deployment", &ns, "web", Some("no.example.com/node")).to_string());
    // An object that needs a CRD is retried until the server serves that CRD.
    let group = format!("{ns}.example.com");
    bench.write("crd.json", &gate(&group)).write("gate.json", &of_group(&group, &ns, &json!({})));
    for expected in ["created", "unchanged"] {
        let started = Instant::now();
        let ran = bench.ktor(&["apply", "--yes", "-o", "json", "--readiness-timeout", "0s"]).exits(0).json();
        assert_eq!(ran["summary"][expected], 4, "{ran:#}");
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    }
}

#[test]
fn r13_a_wait_that_ends_names_the_newest_pods_reason_and_fails_early_where_time_does_not_heal_it() {
    let (bench, ns) = ready("podreason");
    bench.write("web.json", &workload("Deployment", &ns, "web", Some("no.example.com/node")).to_string());
    bench.ktor(&["apply", "--yes", "-o", "json", "--readiness-timeout", "6s"]).exits(1).says("Unschedulable");
    // The name of the image is not valid. Waiting does not help.
    let run = bench.spawn(&["apply", "--yes", "-o", "json", "--readiness-timeout", "5m"]);
    let started = Instant::now();
    let pod = bench.kubectl(&["get", "pods", "-n", &ns, "-o", "jsonpath={.items[0].metadata.name}"], "");
    let status = json!({"status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"waiting": {"reason": "InvalidImageName", "message": "no such form"}}}]}});
    bench.kubectl(
        &["patch", "pod", &pod, "-n", &ns, "--subresource=status", "--type=merge", "-p", &status.to_string()],
        "",
    );
    Bench::finished(run).exits(1).says("InvalidImageName: no such form");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn r13_pods_that_a_quota_or_a_rule_refuses_are_named() {
    let (bench, ns) = ready("podquota");
    bench.write(
        "quota.json",
        &json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": ns},
        "spec": {"hard": {"pods": "0"}}})
        .to_string(),
    );
    bench.write("store.json", &workload("StatefulSet", &ns, "store", None).to_string());
    bench.ktor(&["apply", "--yes", "-o", "json", "--readiness-timeout", "8s"]).exits(1).says("exceeded quota: q");
    let (bench, ns) = ready("podrule");
    bench.write(
        "ns.yaml",
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns,
        "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
        .to_string(),
    );
    bench.write("web.json", &workload("Deployment", &ns, "web", None).to_string());
    let started = Instant::now();
    bench.ktor(&["apply", "--yes", "-o", "json"]).exits(1).says("violates PodSecurity");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

fn gate(group: &str) -> String {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gates.{group}"), "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Gate", "plural": "gates"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}]}})
    .to_string()
}

fn of_group(group: &str, ns: &str, spec: &Value) -> String {
    json!({"apiVersion": format!("{group}/v1"), "kind": "Gate", "metadata": {"name": "front", "namespace": ns}, "spec": spec})
        .to_string()
}

#[test]
fn r6_r7_custom_resources_are_judged_alike_whatever_their_group_and_what_is_suspended_is_not_waited_for() {
    let (bench, ns) = ready("judged");
    let groups = [format!("{ns}.k8s.io"), format!("{ns}.booth.example")];
    for (number, group) in groups.iter().enumerate() {
        bench.write(&format!("crd-{number}.json"), &gate(group));
        bench.write(&format!("gate-{number}.json"), &of_group(group, &ns, &json!({"a": 1})));
    }
    bench.apply();
    let status =
        json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Busy", "message": "still"}]}});
    for group in &groups {
        bench.kubectl(
            &[
                "patch",
                &format!("gates.{group}"),
                "front",
                "-n",
                &ns,
                "--subresource=status",
                "--type=merge",
                "-p",
                &status.to_string(),
            ],
            "",
        );
    }
    let plan = bench.plan();
    let notices = plan["notices"].to_string();
    let ran = bench.ktor(&["apply", "--yes", "-o", "json", "--readiness-timeout", "2s"]).exits(1).json();
    assert_eq!(ran["summary"]["unready"], 2, "{ran:#}");
    for group in &groups {
        assert!(notices.contains("Not ready now") && notices.contains(&format!("Gate.{group}")), "{notices}");
    }
    // If an object that the run itself changes does not become ready, the run ends.
    bench.write("gate-0.json", &of_group(&groups[0], &ns, &json!({"a": 2})));
    bench.ktor(&["apply", "--yes", "--readiness-timeout", "2s"]).exits(1);
    assert!(bench.plan()["notices"].to_string().contains("The last run did not finish"));
    // The object is suspended or paused on purpose, so it counts as ready.
    for spec in [json!({"suspend": true}), json!({"paused": true}), json!({"suspended": true})] {
        for (number, group) in groups.iter().enumerate() {
            bench.write(&format!("gate-{number}.json"), &of_group(group, &ns, &spec));
        }
        bench.ktor(&["apply", "--yes", "--readiness-timeout", "20s"]).exits(0);
    }
    assert!(!bench.plan()["notices"].to_string().contains("Not ready now"));
}

#[test]
fn r6_every_group_that_the_server_serves_by_itself_is_known() {
    let bench = Bench::new("groups");
    let raw: Value = serde_json::from_str(&bench.kubectl(&["get", "--raw", "/apis"], "")).unwrap();
    let defined = bench.kubectl(&["get", "crd", "-o", "jsonpath={range .items[*]}{.spec.group}{\"\\n\"}{end}"], "");
    let names = raw["groups"].as_array().unwrap().iter().map(|group| group["name"].as_str().unwrap());
    let services = bench.kubectl(
        &["get", "apiservices", "-o", "jsonpath={range .items[?(@.spec.service)]}{.spec.group}{\"\\n\"}{end}"],
        "",
    );
    for group in names.filter(|name| !defined.lines().chain(services.lines()).any(|defined| defined == *name)) {
        assert!(!ktor_action::object::ident::is_custom(group), "{group}");
    }
    for group in ["gateway.networking.k8s.io", "autoscaling.k8s.io", "snapshot.storage.k8s.io", "fair.k8s.io"] {
        assert!(ktor_action::object::ident::is_custom(group), "{group}");
    }
}

#[test]
fn r7_a_suspended_job_and_a_paused_deployment_are_not_waited_for() {
    let (bench, ns) = ready("suspended");
    let mut job: Value = serde_json::from_str(&migration(&ns, "example.invalid/c")).unwrap();
    job["spec"]["suspend"] = json!(true);
    let mut web = workload("Deployment", &ns, "web", Some("no.example.com/node"));
    web["spec"]["paused"] = json!(true);
    bench.write("job.json", &job.to_string()).write("web.json", &web.to_string());
    bench.ktor(&["apply", "--yes", "--readiness-timeout", "20s"]).exits(0);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

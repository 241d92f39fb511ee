//! Namespaces and CRDs that contain objects of other owners. A deletion would also delete those objects.

use std::thread;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use support::controlplane::{Fault, Recorder, User};

use super::bench::{Bench, change, config_map, namespace};
use super::deletion::{DROP, definition, outcomes, till};

/// The arguments of the plan for the apply [`DROP`].
const PLAN: [&str; 6] = ["plan", "-o", "json", "--allow-empty", "--allow-namespace-deletion", "--allow-crd-deletion"];

/// Asserts that the guard against deleting foreign objects keeps this object. Returns what the guard found.
#[track_caller]
fn kept(plan: &Value, name: &str) -> String {
    let kept = change(plan, "cleanup", name);
    assert_eq!((&kept["action"], &kept["reason"]["kind"]), (&json!("keep"), &json!("guarded")), "{plan:#}");
    assert_eq!(kept["reason"]["guard"], "foreign-deletion", "{plan:#}");
    kept["reason"]["message"].as_str().unwrap().to_owned()
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what}");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn c5_what_a_manifest_still_wants_keeps_the_namespace_that_the_tree_dropped() {
    let bench = Bench::new("wanted");
    let (ns, group) = (bench.root.clone(), format!("{}.example.com", bench.root));
    bench.write("ns.yaml", &namespace(&ns)).write("crd.json", &definition(&group));
    bench.write("config.yaml", &config_map(&ns, "config", "1")).write("till.json", &till(&group, &ns, "front"));
    bench.apply();
    bench.remove("ns.yaml").remove("crd.json");
    let plan = bench.plan();
    for (name, held) in [(ns.clone(), "ConfigMap "), (format!("tills.{group}"), "Till.")] {
        let kept = change(&plan, "cleanup", &name);
        let why = kept["reason"]["message"].as_str().unwrap();
        assert!(kept["action"] == "keep" && why.contains(&format!("it contains {held}")), "{kept:#}");
    }
    bench.ktor(&DROP).exits(3);
    assert!(bench.get("configmap/config", Some(&ns)).is_some());
    assert!(bench.get(&format!("tills.{group}/front"), Some(&ns)).is_some());
    bench.remove("config.yaml").remove("till.json");
    bench.ktor(&DROP).exits(0);
    assert_eq!((bench.get(&format!("namespace/{ns}"), None), bench.recorded().1.len()), (None, 0));
}

#[test]
fn c5_a_namespace_or_definition_with_what_others_have_there_is_kept_and_only_its_flag_opens_that() {
    let bench = Bench::new("shared");
    let (ns, group) = (bench.root.clone(), format!("{}.example.com", bench.root));
    let elsewhere = format!("{ns}-elsewhere");
    let labels = json!({"app": "web"});
    let pods = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "example.invalid/web"}]}});
    let in_ns = |version: &str, kind: &str, spec: Value| {
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": "web", "namespace": ns}, "spec": spec})
            .to_string()
    };
    let deployment = json!({"replicas": 2, "selector": {"matchLabels": labels}, "template": pods});
    bench.write("ns.yaml", &namespace(&ns)).write("crd.json", &definition(&group));
    bench.write("web.json", &in_ns("apps/v1", "Deployment", deployment));
    bench.write("service.json", &in_ns("v1", "Service", json!({"selector": labels, "ports": [{"port": 80}]})));
    bench.write("till.json", &till(&group, &ns, "front"));
    bench.apply();
    let uid = |resource: &str| bench.get(resource, None).unwrap()["metadata"]["uid"].clone();
    let count = |resource: &str| {
        let listed = bench.get(resource, Some(&ns)).unwrap();
        listed["items"].as_array().unwrap().len()
    };
    eventually("controllers make what goes with the Deployment and the Service", || {
        ["pods", "replicasets", "endpoints", "endpointslices"].iter().all(|resource| count(resource) > 0)
    });
    for file in ["ns.yaml", "crd.json", "web.json", "service.json", "till.json"] {
        bench.remove(file);
    }
    // Objects that controllers created for the deleted objects are not foreign.
    bench.ktor(&PLAN).exits(0);

    bench.kubectl(&["create", "namespace", &elsewhere], "");
    bench.kubectl(&["create", "-f", "-"], &config_map(&ns, "theirs", "1"));
    bench.kubectl(&["create", "-f", "-"], &till(&group, &elsewhere, "theirs"));
    let uids = || (uid(&format!("namespace/{ns}")), uid(&format!("crd/tills.{group}")));
    let before = uids();
    let plan = bench.ktor(&PLAN).exits(3).json();
    let words = format!("outside the plan: Namespace {ns} contains ConfigMap {ns}/theirs");
    assert!(kept(&plan, &ns).ends_with(&words), "{plan:#}");
    let message = kept(&plan, &format!("tills.{group}"));
    assert!(message.ends_with(&format!("tills.{group} contains Till.{group} {elsewhere}/theirs")), "{message}");
    bench.ktor(&DROP).exits(3).says("--allow-foreign-deletion allows it");
    let unopened = [&DROP[..], &["--allow-mass-deletion", "--allow-volume-deletion", "--allow-replacement"]].concat();
    bench.ktor(&unopened).exits(3).says("--allow-foreign-deletion");
    assert_eq!(uids(), before);
    let (finalized, recorded) = bench.recorded();
    assert!(
        finalized && recorded[&bench.root].len() == 2,
        "the rest is deleted, and these stay recorded: {recorded:?}"
    );

    bench.kubectl(&["delete", &format!("tills.{group}/theirs"), "-n", &elsewhere], "");
    let opened = [&DROP[..], &["--allow-foreign-deletion"]].concat();
    let plan = bench.ktor(&[&PLAN[..], &["--allow-foreign-deletion"]].concat()).exits(0).json();
    let notices = plan["notices"].to_string();
    assert!(notices.contains(&format!("Namespace {ns} contains ConfigMap {ns}/theirs.")), "{notices}");
    assert!(!notices.contains(&format!("tills.{group} holds")), "{notices}");
    bench.ktor(&opened).exits(0);
    assert_eq!(bench.get(&format!("namespace/{ns}"), None), None);
    assert!(bench.recorded().1.is_empty());
    bench.kubectl(&["delete", "namespace", &elsewhere, "--wait=false"], "");
}

#[test]
fn c5_what_others_put_there_after_the_plan_keeps_the_namespace_and_the_next_plan_shows_it() {
    let bench = Bench::new("meanwhile");
    let (ns, stays) = (bench.root.clone(), format!("{}-stays", bench.root));
    bench.write("ns.yaml", &namespace(&ns)).write("config.yaml", &config_map(&ns, "config", "1"));
    bench.write("stays.yaml", &namespace(&stays));
    bench.apply();
    bench.remove("ns.yaml").remove("config.yaml");
    // An object that is not ready stops the run between its plan and its cleanup.
    let group = format!("{stays}.example.com");
    let ready = |status: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
    let mut slow: Value = serde_json::from_str(&till(&group, &stays, "slow")).unwrap();
    slow["status"] = ready("False")["status"].clone();
    bench.write("crd.json", &definition(&group)).write("slow.json", &slow.to_string());
    let running = bench.spawn(&DROP);
    let till = format!("tills.{group}/slow");
    // kubectl fails while the server does not serve the kind.
    let exists = || bench.plane.kubectl(&["get", &till, "-n", &stays]).status.success();
    eventually("the run applies what is not ready", exists);
    bench.kubectl(&["create", "-f", "-"], &config_map(&ns, "theirs", "1"));
    bench.kubectl(&["patch", &till, "-n", &stays, "--type=merge", "-p", &ready("True").to_string()], "");
    let ran = Bench::finished(running).exits(1).says(&format!("it stays, because by now Namespace {ns} contains"));
    let cleaned = outcomes(&ran.json(), "cleaned");
    assert_eq!(cleaned["ConfigMap config"].0, "deleted", "{cleaned:?}");
    let (verdict, message) = &cleaned[&format!("Namespace {ns}")];
    assert!(verdict == "failed" && message.ends_with(&format!("contains ConfigMap {ns}/theirs")), "{cleaned:?}");
    assert!(bench.get("configmap/theirs", Some(&ns)).is_some());
    let live = bench.get(&format!("namespace/{ns}"), None).unwrap();
    assert_eq!(live["metadata"].get("deletionTimestamp"), None);
    assert!(bench.recorded().1[&bench.root].contains(&format!("Namespace {ns}")));

    bench.remove("slow.json");
    let plan = bench.ktor(&["plan", "-o", "json", "--allow-namespace-deletion"]).json();
    let words = format!("outside the plan: Namespace {ns} contains ConfigMap {ns}/theirs");
    assert!(kept(&plan, &ns).ends_with(&words), "{plan:#}");
    bench.kubectl(&["delete", "configmap", "theirs", "-n", &ns], "");
    bench.ktor(&DROP).exits(0);
    assert_eq!(bench.get(&format!("namespace/{ns}"), None), None);
}

#[test]
fn c5_what_cannot_be_looked_at_keeps_its_namespace_and_its_definition() {
    let mut bench = Bench::new("unseen");
    let (ns, group) = (bench.root.clone(), format!("{}.example.com", bench.root));
    bench.write("ns.yaml", &namespace(&ns)).write("crd.json", &definition(&group));
    bench.apply();
    bench.remove("ns.yaml").remove("crd.json");
    let direct = bench.plane.kubeconfig(User::Admin);
    let hidden = [format!("/api/v1/namespaces/{ns}/podtemplates"), format!("/apis/{group}/v1/tills")];
    let recorder = Recorder::with_faults(bench.plane, move |entry| {
        let is_whole = !entry.target.contains("labelSelector");
        (entry.method == Method::GET && is_whole && hidden.contains(&entry.path().to_owned())).then_some(Fault::Cut)
    });
    bench.through(recorder.kubeconfig(User::Admin));
    let plan = bench.ktor(&PLAN).exits(3).json();
    for (name, holder, unseen) in [
        (ns.clone(), format!("Namespace {ns}"), "PodTemplate".to_owned()),
        (format!("tills.{group}"), format!("tills.{group}"), format!("Till.{group}")),
    ] {
        let message = kept(&plan, &name);
        let words = format!("{holder} is not known: {unseen} could not be listed: no answer");
        assert!(message.contains(&words), "no {words:?} in {message}");
    }
    bench.through(direct);
    bench.ktor(&DROP).exits(0);
    assert!(bench.recorded().1.is_empty());
}

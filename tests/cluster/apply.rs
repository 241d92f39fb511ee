//! Applies: order, convergence and failures.

use serde_json::{Value, json};

use super::bench::{Bench, change, config_map, namespace};

fn definition(group: &str) -> String {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("tills.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Till", "plural": "tills"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object",
                    "properties": {"drawer": {"type": "integer"}}}}}}}]},
    })
    .to_string()
}

fn till(group: &str, namespace: &str) -> String {
    json!({"apiVersion": format!("{group}/v1"), "kind": "Till",
        "metadata": {"name": "front", "namespace": namespace}, "spec": {"drawer": 7}})
    .to_string()
}

fn deployment(namespace: &str) -> String {
    let labels = json!({"app": "web"});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "example.invalid/web", "ports": [{"containerPort": 80}]}]}}}})
    .to_string()
}

/// Creates a project with a namespace, objects in it, a CRD and its custom resource.
fn whole(begins: &str) -> (Bench, String, String) {
    let bench = Bench::new(begins);
    let (ns, group) = (bench.root.clone(), format!("{}.example.com", bench.root));
    bench.write("a-till.json", &till(&group, &ns));
    bench.write("b-web.json", &deployment(&ns));
    bench.write("c-config.yaml", &config_map(&ns, "config", "1"));
    bench.write(
        "secret.yaml",
        &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: {ns}}}\nstringData: {{k: v}}\n"),
    );
    bench.write("y-definition.json", &definition(&group));
    bench.write("z-namespace.yaml", &namespace(&ns));
    (bench, ns, group)
}

#[test]
fn a4_crd_custom_resource_namespace_and_content_work_in_one_first_run() {
    let (bench, ns, group) = whole("whole");
    let plan = bench.ktor(&["plan", "-o", "json", "--detailed-exitcode"]).exits(2).json();
    assert_eq!(plan["summary"]["create"], 6, "{plan:#}");
    assert_eq!(change(&plan, "changes", "front")["reason"]["kind"], "unchecked", "{plan:#}");
    let outcome = bench.apply();
    assert_eq!(outcome["summary"]["created"], 6, "{outcome:#}");
    let front = bench.get(&format!("tills.{group}/front"), Some(&ns)).unwrap();
    assert_eq!(front["spec"]["drawer"], 7);
    // The run waited until the Deployment was ready.
    assert_eq!(bench.get("deployment/web", Some(&ns)).unwrap()["status"]["availableReplicas"], 2);
}

#[test]
fn a2_applying_again_writes_nothing() {
    let (bench, ns, group) = whole("again");
    bench.apply();
    let versions = || -> Vec<Value> {
        [
            "configmap/config",
            "secret/s",
            "deployment/web",
            &format!("tills.{group}/front"),
            &format!("crd/tills.{group}"),
            &format!("namespace/{ns}"),
        ]
        .map(|name| bench.get(name, Some(&ns)).unwrap()["metadata"]["resourceVersion"].clone())
        .to_vec()
    };
    let before = versions();
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    let outcome = bench.apply();
    assert_eq!(outcome["summary"]["unchanged"], 6, "{outcome:#}");
    assert_eq!(outcome["summary"].get("configured").cloned().unwrap_or(json!(0)), 0, "{outcome:#}");
    assert_eq!(versions(), before);
}

#[test]
fn a13_a_key_taken_out_of_string_data_leaves_the_secret() {
    let (bench, ns, _) = whole("stringdata");
    bench.write(
        "secret.yaml",
        &format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: {ns}}}\nstringData: {{k: v, gone: x}}\n"
        ),
    );
    bench.apply();
    assert_eq!(bench.get("secret/s", Some(&ns)).unwrap()["data"], json!({"k": "dg==", "gone": "eA=="}));
    bench.write(
        "secret.yaml",
        &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: {ns}}}\nstringData: {{k: v}}\n"),
    );
    bench.apply();
    assert_eq!(bench.get("secret/s", Some(&ns)).unwrap()["data"], json!({"k": "dg=="}));
}

#[test]
fn a7_one_failing_object_leaves_the_independent_ones_done_and_the_rest_undone() {
    let bench = Bench::new("failing");
    let (ns, group) = (bench.root.clone(), format!("{}.example.com", bench.root));
    bench.write("namespace.yaml", &namespace(&ns)).write("dropped.yaml", &config_map(&ns, "dropped", "1"));
    bench.apply();
    bench.remove("dropped.yaml");
    bench.write("good.yaml", &config_map(&ns, "good", "1"));
    bench.write("other.json", &deployment(&ns));
    // The name of the CRD is not plural.group, so the server refuses it. The custom resource then cannot be applied.
    bench.write("definition.json", &definition(&group).replace("\"tills\"", "\"counters\""));
    bench.write("till.json", &till(&group, &ns));
    let ran = bench.ktor(&["apply", "--yes", "-o", "json"]).exits(1).says(&format!("tills.{group}"));
    let outcome = ran.json();
    let verdict = |name: &str| {
        let objects = outcome["applied"].as_array().unwrap();
        objects.iter().find(|object| object["key"]["name"] == name).unwrap()["outcome"].clone()
    };
    assert_eq!(verdict(&format!("tills.{group}")), "failed");
    assert_eq!(verdict("front"), "skipped");
    assert_eq!((verdict("good"), verdict("web")), ("created".into(), "created".into()));
    // The run neither cleaned up nor finalized. Both happen after the mistake is corrected.
    assert!(bench.get("configmap/dropped", Some(&ns)).is_some());
    assert!(!bench.recorded().0);
    assert_eq!(bench.lease(), None);
    bench.remove("definition.json").remove("till.json");
    bench.apply();
    assert_eq!(bench.get("configmap/dropped", Some(&ns)), None);
    assert!(bench.recorded().0);
}

#[test]
fn r16_progress_and_requests_are_on_standard_error_and_the_report_alone_on_standard_output() {
    let (bench, ns, _) = whole("progress");
    bench.write("d-gone.yaml", &config_map(&ns, "gone", "1"));
    let ran = bench.ktor(&["apply", "--yes", "-v", "-o", "json"]).exits(0);
    assert_eq!(ran.json()["summary"]["created"], 7, "{ran:#?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let once = |line: &str| assert_eq!(lines.iter().filter(|told| **told == line).count(), 1, "{line}: {ran:#?}");
    once(&format!("applied ConfigMap {ns}/config (created)"));
    once(&format!("applied Deployment.apps {ns}/web (created)"));
    once(&format!("ready Deployment.apps {ns}/web"));
    for phase in ["planning", "recording", "applying", "cleaning up", "finalizing"] {
        once(phase);
    }
    assert!(lines.iter().any(|line| line.starts_with("GET /version 200, ") && line.ends_with(" ms")), "{ran:#?}");
    assert!(!ran.stderr.contains('?') && !ran.stderr.contains('\u{1b}'), "{ran:#?}");

    bench.remove("d-gone.yaml");
    let ran = bench.ktor(&["apply", "--yes", "-o", "json"]).exits(0);
    assert_eq!(ran.json()["summary"]["deleted"], 1, "{ran:#?}");
    assert!(ran.stderr.lines().any(|line| line == format!("deleted ConfigMap {ns}/gone")), "{ran:#?}");
    assert!(!ran.stderr.contains("/config") && !ran.stderr.contains("GET "), "{ran:#?}");
}

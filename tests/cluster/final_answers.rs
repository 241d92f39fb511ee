//! Answers of the server that no retry changes, although the server reports them as an internal error.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bench::{Bench, change, namespace};

/// Creates a project with its namespace, and a kind that is served in these versions. Versions from `v1beta3` on have a
/// default that the earlier versions lack.
fn project(begins: &str, versions: &[&str]) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    let group = format!("{ns}.example.com");
    bench.write(".ktor.yaml", &format!("project: {ns}\ncleanup: true\nnamespace: {ns}\n"));
    bench.write("ns.yaml", &namespace(&ns));
    let served = |version: &&str| {
        let mut properties =
            json!({"drawer": {"type": "integer"}, "dropped": {"type": "string"}, "text": {"type": "string"}});
        if *version >= "v1beta3" {
            properties["access"] = json!({"type": "string", "default": "open"});
        }
        json!({"name": version, "served": true, "storage": Some(version) == versions.last(), "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}}})
    };
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("tills.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Till", "plural": "tills"},
            "versions": versions.iter().map(served).collect::<Vec<_>>()}});
    bench.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &definition.to_string());
    let began = Instant::now();
    while !bench.plane.kubectl(&["get", &format!("tills.{}.{group}", versions.last().unwrap())]).status.success() {
        assert!(began.elapsed() < Duration::from_secs(60), "the kind is served");
        std::thread::sleep(Duration::from_millis(200));
    }
    (bench, group)
}

fn till(group: &str, version: &str, spec: &Value) -> String {
    json!({"apiVersion": format!("{group}/{version}"), "kind": "Till", "metadata": {"name": "till"}, "spec": spec})
        .to_string()
}

#[test]
fn r3_a_custom_resource_moves_to_a_version_that_alone_has_a_default() {
    let (bench, group) = project("moving", &["v1beta1", "v1beta2", "v1beta3"]);
    let ns = bench.root.clone();
    let live = || bench.get(&format!("tills.{group}/till"), Some(&ns)).unwrap();
    bench.write("till.json", &till(&group, "v1beta1", &json!({"drawer": 1, "dropped": "x"})));
    bench.apply();
    // Another manager also has fields in an older version.
    let theirs = json!({"apiVersion": format!("{group}/v1beta2"), "kind": "Till",
        "metadata": {"name": "till", "namespace": ns, "labels": {"shelf": "upper"}}});
    bench.kubectl(&["apply", "--server-side", "--field-manager=someone", "-f", "-"], &theirs.to_string());
    let uid = live()["metadata"]["uid"].clone();
    for (version, drawer) in [("v1beta3", 2), ("v1beta2", 3), ("v1beta3", 4)] {
        bench.write("till.json", &till(&group, version, &json!({"drawer": drawer})));
        let began = Instant::now();
        let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
        assert_eq!(change(&plan, "changes", "till")["action"], "update", "{plan:#}");
        bench.apply();
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        let now = live();
        assert_eq!((&now["metadata"]["uid"], &now["spec"]["drawer"]), (&uid, &json!(drawer)));
        assert_eq!(now["spec"].get("dropped"), None, "what the manifest dropped is gone: {now:#}");
        assert_eq!(now["metadata"]["labels"]["shelf"], "upper");
        bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    }
}

#[test]
fn r3_an_object_that_is_too_large_is_told_at_once_and_leaves_no_lock() {
    let (bench, group) = project("large", &["v1"]);
    bench.write("till.json", &till(&group, "v1", &json!({"text": "x".repeat(1_700_000)})));
    let began = Instant::now();
    let ran = bench.ktor(&["apply", "--yes"]).exits(1);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert!(ran.stdout.contains("larger than what the server can store"), "{ran:#?}");
    assert!(!ran.stdout.contains("no answer"), "{ran:#?}");
    assert_eq!(bench.lease(), None);
    bench.write("till.json", &till(&group, "v1", &json!({"text": "x"})));
    bench.apply();
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

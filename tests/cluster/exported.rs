//! Manifests that were exported from a cluster, with everything that the server wrote into them.

use serde_json::{Value, json};

use super::bench::{Bench, change};

/// Returns objects of several kinds, as a person writes them.
fn made(ns: &str) -> Vec<Value> {
    let pod = json!({"containers": [{"name": "c", "image": "registry.example/i:1"}]});
    let meta = |name: &str| json!({"name": name, "namespace": ns, "labels": {"team": "a"}});
    let job = json!({"template": {"spec": {"containers": pod["containers"], "restartPolicy": "Never"}}});
    vec![
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("web"), "spec": {"replicas": 1,
            "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta("web"), "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta("data"), "spec":
            {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta("once"), "spec": job}),
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta("nightly"), "spec":
            {"schedule": "0 3 * * *", "jobTemplate": {"spec": job}}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta("key"), "data": {"a": "Yg=="}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("config"), "data": {"a": "b"}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("runner")}),
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta("web"), "spec": {"maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}}}),
    ]
}

fn definition(group: &str) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"a": {"type": "integer"}}}}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("tills.{group}")}, "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "tills", "kind": "Till", "singular": "till"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}})
}

fn exported(bench: &Bench, ns: &str, group: &str) -> Vec<Value> {
    let kinds = "deployments,services,persistentvolumeclaims,jobs,cronjobs,secrets,hpa";
    let list = bench.kubectl(&["get", kinds, "-n", ns, "-o", "json", "--show-managed-fields"], "");
    let named = bench.kubectl(
        &["get", "configmap/config", "serviceaccount/runner", "-n", ns, "-o", "json", "--show-managed-fields"],
        "",
    );
    let crd = bench.kubectl(&["get", "crd", &format!("tills.{group}"), "-o", "json", "--show-managed-fields"], "");
    let items =
        |text: &str| serde_json::from_str::<Value>(text).unwrap()["items"].as_array().cloned().unwrap_or_default();
    let crd = serde_json::from_str(&crd).unwrap();
    items(&list).into_iter().chain(items(&named)).chain([crd]).collect()
}

/// The same objects stay unchanged while they exist, and are created anew after they are deleted.
#[test]
fn r11_an_exported_object_applies_and_stays_unchanged() {
    let bench = Bench::new("exported");
    let (ns, group) = (bench.root.clone(), format!("{}.example.com", bench.root));
    bench.kubectl(&["create", "namespace", &ns], "");
    for object in made(&ns).iter().chain([&definition(&group)]) {
        bench.kubectl(&["create", "-f", "-"], &object.to_string());
    }
    // The Deployment's controller writes the revision.
    for _ in 0..100 {
        let live = bench.get("deployment/web", Some(&ns)).unwrap();
        if !live["metadata"]["annotations"]["deployment.kubernetes.io/revision"].is_null() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let saved = exported(&bench, &ns, &group);
    assert_eq!(saved.len(), 10);
    assert!(saved.iter().any(|object| object["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"));
    bench.write("saved.json", &json!({"apiVersion": "v1", "kind": "List", "items": saved}).to_string());
    for _ in 0..2 {
        bench.ktor(&["apply", "--yes", "--readiness-timeout", "0"]).exits(0);
    }
    let plan = bench.plan();
    assert_eq!(plan["summary"]["unchanged"], 10, "{plan:#}");
    assert!(
        plan["notices"].to_string().contains("saved.json:1:") && plan["notices"].to_string().contains("and 9 more"),
        "{plan:#}"
    );
    for kind in ["deployment/web", "job/once", "service/web"] {
        let live = bench.get(kind, Some(&ns)).unwrap();
        let ours =
            live["metadata"]["managedFields"].as_array().unwrap().iter().find(|entry| entry["operation"] == "Apply");
        let text = ours.unwrap().to_string();
        assert!(
            !text.contains("f:status") && !text.contains("kubernetes.io/revision") && !text.contains("f:uid"),
            "{kind}: {text}"
        );
    }
    // The controller changes the revision. The manifest does not reset it.
    bench.kubectl(&["set", "image", "deployment/web", "c=registry.example/i:1", "-n", &ns], "");
    bench.kubectl(&["annotate", "--overwrite", "deployment/web", "deployment.kubernetes.io/revision=7", "-n", &ns], "");
    assert_eq!(bench.plan()["summary"]["unchanged"], 10);

    // All objects are created anew from the same files.
    bench.kubectl(
        &["delete", "deployments,services,pvc,jobs,cronjobs,secrets,hpa", "--all", "-n", &ns, "--wait=true"],
        "",
    );
    bench.ktor(&["apply", "--yes", "--readiness-timeout", "0"]).exits(0);
    let plan = bench.plan();
    assert_eq!(plan["summary"]["unchanged"], 10, "{plan:#}");
    assert_eq!(change(&plan, "changes", "once")["action"], "unchanged");
}

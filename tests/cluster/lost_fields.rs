//! Objects whose managed fields were lost, or that a backup tool restored. Desired fields and objects are taken over
//! again. Undesired ones stay and are named.

use serde_json::{Value, json};

use super::bench::{Bench, change, config_map, namespace};

/// The ways in which an object of ours loses its managed fields.
const LOSSES: [&str; 3] = ["emptied", "before-first-apply", "restored"];

fn lose(bench: &Bench, ns: &str, how: &str, resource: &str) {
    let reset = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]).to_string();
    let empty = || drop(bench.kubectl(&["patch", resource, "-n", ns, "--type=json", "-p", &reset], ""));
    match how {
        "emptied" => empty(),
        "before-first-apply" => {
            empty();
            let (kind, name) = resource.split_once('/').unwrap();
            let (api, kind) = if kind == "deployment" { ("apps/v1", "Deployment") } else { ("v1", "ConfigMap") };
            let label = json!({"apiVersion": api, "kind": kind,
                "metadata": {"name": name, "namespace": ns, "labels": {"foreign": "1"}}});
            bench.kubectl(&["apply", "--server-side", "--field-manager=someone", "-f", "-"], &label.to_string());
        }
        _ => {
            let mut backup = bench.get(resource, Some(ns)).unwrap();
            let metadata = backup["metadata"].as_object_mut().unwrap();
            for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
                metadata.remove(field);
            }
            metadata["labels"]["velero.io/restore-name"] = json!("r");
            backup.as_object_mut().unwrap().remove("status");
            bench.kubectl(&["delete", resource, "-n", ns, "--cascade=foreground"], "");
            bench.kubectl(&["create", "--field-manager=velero-server", "-f", "-"], &backup.to_string());
        }
    }
}

fn web(env: &Value) -> String {
    let labels = json!({"app": "web"});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "example.invalid/c", "env": env}]}}}})
    .to_string()
}

#[test]
fn r10_what_is_desired_is_taken_over_again_and_what_is_not_is_kept_and_named() {
    for how in LOSSES {
        let bench = Bench::new(&format!("r10-{how}"));
        let ns = bench.root.clone();
        bench.write(".ktor.yaml", &format!("project: {ns}\ncleanup: true\nnamespace: {ns}\n"));
        bench.write("ns.yaml", &namespace(&ns));
        let variable = |name: &str| json!({"name": name, "value": "1"});
        bench.write("web.json", &web(&json!([variable("KEPT"), variable("DROPPED")])));
        bench.write("config.yaml", &(config_map(&ns, "config", "1") + "  dropped: \"1\"\n"));
        bench.write("undesired.yaml", &config_map(&ns, "undesired", "1"));
        bench.write("other.yaml", &config_map(&ns, "other", "1"));
        bench.apply();
        bench.kubectl(&["scale", "deployment/web", "--replicas=3", "-n", &ns], "");
        bench.kubectl(&["rollout", "restart", "deployment/web", "-n", &ns], "");
        let restarted = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
        let before = bench.get("deployment/web", Some(&ns)).unwrap();
        for resource in ["deployment/web", "configmap/config", "configmap/undesired"] {
            lose(&bench, &ns, how, resource);
        }
        let uid = |resource: &str| bench.get(resource, Some(&ns)).map(|live| live["metadata"]["uid"].clone());
        let uids = ["deployment/web", "configmap/config", "configmap/undesired"].map(uid);

        bench.write("web.json", &web(&json!([variable("KEPT")])));
        bench.write("config.yaml", &config_map(&ns, "config", "2"));
        bench.remove("undesired.yaml").remove("other.yaml");
        let plan = bench.plan();
        for name in ["web", "config"] {
            let taken = change(&plan, "changes", name);
            assert_eq!(
                (&taken["action"], &taken["reason"]["kind"]),
                (&json!("update"), &json!("take-over")),
                "{how}: {taken:#}"
            );
            assert!(taken["diff"].to_string().to_lowercase().contains("dropped"), "{how}: {taken:#}");
            assert!(!taken["diff"].to_string().contains("replicas"), "{how}: {taken:#}");
        }
        let kept = change(&plan, "cleanup", "undesired");
        assert_eq!(kept["action"], "keep", "{how}: {kept:#}");
        assert!(kept["reason"]["message"].as_str().unwrap().contains("managed fields were lost"), "{how}: {kept:#}");
        assert_eq!(change(&plan, "cleanup", "other")["action"], "delete", "{how}");
        bench.ktor(&["apply", "--yes"]);
        let config = bench.get("configmap/config", Some(&ns)).unwrap();
        assert_eq!(config["data"], json!({"phase": "2"}), "{how}");
        let after = bench.get("deployment/web", Some(&ns)).unwrap();
        assert_eq!(after.pointer("/spec/template/spec/containers/0/env"), Some(&json!([variable("KEPT")])), "{how}");
        assert_eq!(after["spec"]["replicas"], 3, "{how}");
        assert_eq!(after.pointer(restarted), before.pointer(restarted), "{how}");
        assert_eq!(["deployment/web", "configmap/config", "configmap/undesired"].map(uid), uids, "{how}");
        let again = bench.apply();
        assert_eq!(again["summary"]["configured"].as_u64().unwrap_or_default(), 0, "{how}: {again:#}");
        assert_eq!(uid("configmap/undesired"), uids[2], "{how}");
        let recorded = &bench.recorded().1[&bench.root];
        assert!(recorded.contains(&"ConfigMap undesired".to_owned()), "{how}: {recorded:?}");

        // Once a manifest asks for the object in one run, it is ours again. A later run can then delete it.
        bench.write("undesired.yaml", &config_map(&ns, "undesired", "1"));
        bench.apply();
        bench.remove("undesired.yaml");
        bench.apply();
        assert_eq!(uid("configmap/undesired"), None, "{how}");
        bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    }
}

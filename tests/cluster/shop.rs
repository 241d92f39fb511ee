//! The example of the README, over a few ordinary commits. For each commit, the plan and the apply succeed, and a
//! second apply writes nothing.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::bench::Bench;
use super::waiting::until;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Plans and applies one commit. Both must succeed, and then there must be nothing left to do.
#[track_caller]
fn committed(bench: &Bench, what: &str, flags: &[&str]) -> Value {
    let with = |arguments: &[&'static str]| -> Vec<String> {
        arguments.iter().chain(flags).map(|argument| (*argument).to_owned()).collect()
    };
    let ktor = |arguments: Vec<String>| bench.ktor(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let plan = ktor(with(&["plan", "-o", "json"]));
    assert_eq!(plan.code, Some(0), "{what}: {plan:#?}");
    let applied = ktor(with(&["apply", "--yes", "-o", "json"]));
    assert_eq!(applied.code, Some(0), "{what}: {applied:#?}");
    let again = bench.ktor(&["apply", "--yes", "-o", "json"]).exits(0).json();
    let summary = again["summary"].as_object().unwrap();
    assert!(summary.iter().all(|(word, count)| word == "unchanged" || *count == 0), "{what}: {again:#}");
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    plan.json()
}

/// Changes a file of the tree.
#[track_caller]
fn edit(bench: &Bench, file: &str, before: &str, after: &str) {
    let text = fs::read_to_string(bench.path().join(file)).unwrap();
    assert!(text.contains(before), "{file} has {before:?}");
    bench.write(file, &text.replace(before, after));
}

#[test]
fn r2_r4_the_shop_goes_through_its_ordinary_commits() {
    let bench = Bench::of_root("shop");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop"), bench.path());
    committed(&bench, "first", &[]);

    edit(
        &bench,
        "platform/promotions.yaml",
        "code: {type: string}",
        "code: {type: string}\n                note: {type: string}",
    );
    edit(&bench, "checkout/summer.yaml", "percent: 10", "percent: 10\n  note: all summer");
    let plan = committed(&bench, "a CRD's field and its use", &[]);
    assert!(plan["notices"].to_string().contains("1 object is not yet checked"), "{plan:#}");

    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "catalog"}});
    let tool = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tool"}, "spec": {"serviceAccountName": "catalog",
        "containers": [{"name": "c", "image": "registry.example.com/shop/tool:1"}]}});
    bench.write("catalog/account.json", &account.to_string()).write("catalog/tool.json", &tool.to_string());
    edit(&bench, "catalog/catalog.yaml", "      containers:", "      serviceAccountName: catalog\n      containers:");
    committed(&bench, "a service account and its workloads", &[]);

    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "catalog"},
        "spec": {"minReplicas": 3, "maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "catalog"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]}});
    bench.write("catalog/scaler.json", &scaler.to_string());
    edit(&bench, "catalog/catalog.yaml", "  replicas: 2\n", "");
    committed(&bench, "an autoscaler takes over the replicas", &[]);
    until("scaled", || bench.get("deployment/catalog", Some("shop")).unwrap()["spec"]["replicas"] == 3);
    committed(&bench, "nothing, after it scaled", &[]);

    edit(&bench, "checkout/checkout.yaml", "checkout:2.0.1", "checkout:2.0.2");
    committed(&bench, "a new image", &[]);
    edit(&bench, "checkout/checkout.yaml", "checkout:2.0.2", "checkout:2.0.1");
    committed(&bench, "its rollback", &[]);

    let migration = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"},
        "spec": {"ttlSecondsAfterFinished": 0, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": "registry.example.com/shop/migrate:1"}]}}}});
    bench.write("catalog/migrate.json", &migration.to_string());
    committed(&bench, "a job that removes itself", &[]);

    edit(&bench, ".ktor.yaml", "namespace: shop", "namespace: shop-two");
    edit(&bench, "platform/namespace.yaml", "name: shop", "name: shop-two");
    committed(&bench, "a namespace of another name", &["--allow-namespace-deletion", "--allow-mass-deletion"]);
    assert_eq!(bench.get("namespace/shop", None), None);
    assert_eq!(bench.get("deployment/catalog", Some("shop-two")).unwrap()["status"]["availableReplicas"], 3);
}

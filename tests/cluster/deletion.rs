//! The order of deletions, and objects that cannot be deleted because of a finalizer or an admission policy.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};
use support::controlplane::{Entry, Recorder, User};

use super::admission_policy::Denied;
use super::bench::{Bench, change, config_map, namespace};

/// The arguments that open every guard against dropping everything.
pub const DROP: [&str; 7] =
    ["apply", "--yes", "-o", "json", "--allow-empty", "--allow-namespace-deletion", "--allow-crd-deletion"];

/// Returns a CRD of this group. Its kind is `Till`.
pub fn definition(group: &str) -> String {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("tills.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Till", "plural": "tills"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
    .to_string()
}

/// Returns a custom resource of that CRD.
pub fn till(group: &str, namespace: &str, name: &str) -> String {
    json!({"apiVersion": format!("{group}/v1"), "kind": "Till", "metadata": {"name": name, "namespace": namespace}})
        .to_string()
}

/// Sets finalizers that no controller removes, or removes them.
pub fn hold(bench: &Bench, resource: &str, ns: &str, finalizers: &Value) {
    let patch = json!({"metadata": {"finalizers": finalizers}}).to_string();
    bench.kubectl(&["patch", resource, "-n", ns, "--type=merge", "-p", &patch], "");
}

/// Returns the verdicts and messages in a report's list, by kind and name.
#[track_caller]
pub fn outcomes(report: &Value, list: &str) -> BTreeMap<String, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |object: &Value| {
        let name = format!("{} {}", text(&object["key"]["kind"]), text(&object["key"]["name"]));
        (name, (text(&object["outcome"]), text(&object["message"])))
    };
    report[list].as_array().unwrap().iter().map(one).collect()
}

/// Returns the wave of a path. An object with a greater wave is applied later and deleted earlier.
fn wave(path: &str) -> usize {
    let plurals: [&[&str]; 5] = [
        &["namespaces"],
        &["customresourcedefinitions"],
        &["configmaps", "roles", "secrets", "serviceaccounts"],
        &["deployments", "services", "tills"],
        &["validatingwebhookconfigurations"],
    ];
    let plural = path.rsplit('/').nth(1).unwrap();
    plurals.iter().position(|wave| wave.contains(&plural)).unwrap_or_else(|| panic!("{path}"))
}

#[test]
fn c4_cleanup_goes_backwards_custom_resources_before_their_definition_and_namespaces_last() {
    let mut bench = Bench::new("backwards");
    let (ns, group) = (bench.root.clone(), format!("{}.example.com", bench.root));
    let labels = json!({"app": "web"});
    let in_ns = |version: &str, kind: &str, rest: Value| {
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "web", "namespace": ns}});
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        object
    };
    let objects = [
        in_ns("v1", "Service", json!({"spec": {"selector": labels, "ports": [{"port": 80}]}})),
        in_ns("v1", "ConfigMap", json!({})),
        in_ns("v1", "Secret", json!({})),
        in_ns("v1", "ServiceAccount", json!({})),
        in_ns("rbac.authorization.k8s.io/v1", "Role", json!({"rules": []})),
        in_ns(
            "apps/v1",
            "Deployment",
            json!({"spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "example.invalid/web"}]}}}}),
        ),
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": ns}, "webhooks": []}),
    ];
    for (number, object) in objects.iter().enumerate() {
        bench.write(&format!("{number}.json"), &object.to_string());
    }
    bench.write("till.json", &till(&group, &ns, "front")).write("crd.json", &definition(&group));
    bench.write("ns.yaml", &namespace(&ns));
    let recorder = Recorder::start(bench.plane);
    bench.through(recorder.kubeconfig(User::Admin));
    bench.apply();
    let sent = |method: Method| {
        let mut entries = recorder.journal();
        entries.retain(|entry| {
            entry.persists() && entry.method == method && !entry.path().contains("/kubernator-project-")
        });
        entries
    };
    let applied: Vec<usize> = sent(Method::PATCH).iter().map(|entry| wave(entry.path())).collect();
    assert_eq!(applied.len(), 10);
    assert!(applied.is_sorted(), "{applied:?}");

    for file in ["till.json", "crd.json", "ns.yaml"] {
        bench.remove(file);
    }
    for number in 0..objects.len() {
        bench.remove(&format!("{number}.json"));
    }
    // Without its own flag, each of the two objects is kept.
    bench.ktor(&["plan", "--allow-empty", "--allow-namespace-deletion"]).exits(3).says("--allow-crd-deletion");
    bench.ktor(&["plan", "--allow-empty", "--allow-crd-deletion"]).exits(3).says("--allow-namespace-deletion");
    assert_eq!(sent(Method::DELETE).len(), 0);
    bench.ktor(&DROP).exits(0);
    let deleted = sent(Method::DELETE);
    let paths: Vec<&str> = deleted.iter().map(Entry::path).collect();
    assert_eq!(paths.len(), 10, "{paths:#?}");
    assert!(paths.iter().rev().map(|path| wave(path)).is_sorted(), "{paths:#?}");
    let at = |end: &str| deleted.iter().find(|entry| entry.path().ends_with(end)).unwrap();
    let (front, web) = (at("/tills/front"), at("/deployments/web"));
    let (crd, namespace) = (at(&format!("/tills.{group}")), at(&format!("/namespaces/{ns}")));
    // A wave's deletions are answered, and its objects are gone, before the next wave begins.
    assert!(front.answered.unwrap() < web.at && web.answered.unwrap() < crd.at, "{deleted:#?}");
    assert!(crd.answered.unwrap() < namespace.at, "{deleted:#?}");
    assert_eq!(bench.get(&format!("namespace/{ns}"), None), None);
    assert!(bench.recorded().1.is_empty());
}

#[test]
fn c4_a_stuck_finalizer_is_named_and_blocks_only_what_holds_its_object() {
    let bench = Bench::new("stuck");
    let (ns, other) = (bench.root.clone(), format!("{}-other", bench.root));
    let group = format!("{}.example.com", bench.root);
    bench.write("crd.json", &definition(&group));
    for name in [&ns, &other] {
        bench.write(&format!("{name}/ns.yaml"), &namespace(name));
        bench.write(&format!("{name}/config.yaml"), &config_map(name, "config", "1"));
        bench.write(&format!("{name}/till.json"), &till(&group, name, &format!("front-{name}")));
    }
    bench.apply();
    let (stuck, crd) = (format!("tills.{group}/front-{ns}"), format!("tills.{group}"));
    hold(&bench, &stuck, &ns, &json!(["a.dev/hold"]));
    bench.remove("crd.json").remove(&ns).remove(&other);

    for attempt in 1..=2 {
        let held =
            format!("Till.{group} {ns}/front-{ns} failed: it is being deleted and still there, held by a.dev/hold");
        let ran = bench.impatient(&DROP).exits(1).says(&held);
        let cleaned = outcomes(&ran.json(), "cleaned");
        let is = |name: &str, verdict: &str, words: &str| {
            let (found, message) = &cleaned[name];
            assert!(found == verdict && message.contains(words), "{attempt}: {name}: {cleaned:#?}");
        };
        is(&format!("Till front-{ns}"), "failed", "held by a.dev/hold");
        is(&format!("Namespace {ns}"), "skipped", &format!("Till.{group} {ns}/front-{ns}"));
        is(&format!("CustomResourceDefinition {crd}"), "skipped", &format!("Till.{group} {ns}/front-{ns}"));
        if attempt == 1 {
            for gone in [format!("Namespace {other}"), format!("Till front-{other}"), "ConfigMap config".to_owned()] {
                is(&gone, "deleted", "");
            }
        }
        assert_eq!(cleaned.len(), if attempt == 1 { 6 } else { 3 }, "{cleaned:#?}");
        for waiting in [format!("namespace/{ns}"), format!("crd/{crd}")] {
            let live = bench.get(&waiting, None).unwrap();
            assert_eq!(live["metadata"].get("deletionTimestamp"), None, "{live:#}");
        }
        assert_eq!(bench.get(&format!("namespace/{other}"), None), None);
        assert_eq!(bench.get("configmap/config", Some(&ns)), None);
        let (finalized, recorded) = bench.recorded();
        let expected =
            [format!("Namespace {ns}"), format!("CustomResourceDefinition {crd}"), format!("Till front-{ns}")];
        assert_eq!((finalized, &recorded[&bench.root]), (true, &expected.to_vec()));
        assert_eq!(bench.lease(), None);
    }
    hold(&bench, &stuck, &ns, &json!(null));
    bench.ktor(&DROP).exits(0);
    assert_eq!((bench.get(&format!("namespace/{ns}"), None), bench.get(&format!("crd/{crd}"), None)), (None, None));
    assert!(bench.recorded().1.is_empty());
}

#[test]
fn c6_a_namespace_or_definition_stays_with_what_is_protected_in_it() {
    let bench = Bench::new("sheltering");
    let (ns, group) = (bench.root.clone(), format!("{}.example.com", bench.root));
    bench.write("ns.yaml", &namespace(&ns)).write("crd.json", &definition(&group));
    bench.write("till.json", &till(&group, &ns, "front")).write("config.yaml", &config_map(&ns, "config", "1"));
    bench.apply();
    let front = format!("tills.{group}/front");
    bench.kubectl(&["annotate", &front, "-n", &ns, "kubernator.io/cleanup=keep"], "");
    for file in ["ns.yaml", "crd.json", "till.json", "config.yaml"] {
        bench.remove(file);
    }
    let plan = bench.plan();
    for name in [ns.clone(), format!("tills.{group}")] {
        let kept = change(&plan, "cleanup", &name);
        let words = format!("kept: it contains Till.{group} {ns}/front, which stays");
        assert_eq!((&kept["action"], &kept["reason"]["message"]), (&json!("keep"), &json!(words)), "{plan:#}");
    }
    bench.ktor(&DROP).exits(0);
    assert!(bench.get(&front, Some(&ns)).is_some());
    assert_eq!(bench.get("configmap/config", Some(&ns)), None);
    bench.kubectl(&["annotate", &front, "-n", &ns, "kubernator.io/cleanup-"], "");
    bench.ktor(&DROP).exits(0);
    assert!(bench.recorded().1.is_empty());
    assert_eq!(bench.get(&format!("crd/tills.{group}"), None), None);
}

#[test]
fn p3_a_deletion_that_admission_refuses_shows_in_the_plan_and_fails_the_apply() {
    let bench = Bench::new("refused");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("config.yaml", &config_map(&ns, "config", "1"));
    for name in ["wanted", "dropped"] {
        bench.write(&format!("{name}.yaml"), &config_map(&ns, name, "1"));
    }
    bench.apply();
    let probe = ["delete", "configmap", "wanted", "-n", &ns, "--dry-run=server"];
    let denied = Denied::new(&bench, "DELETE", &ns, "wanted", &probe);
    bench.remove("wanted.yaml").remove("dropped.yaml");
    let planned = bench.ktor(&["plan", "-o", "json"]).exits(1).json();
    let refused = change(&planned, "cleanup", "wanted");
    assert_eq!(refused["action"], "blocked", "{planned:#}");
    assert!(refused["reason"]["message"].as_str().unwrap().contains("the auditors want it"), "{planned:#}");

    let ran = bench.ktor(&["apply", "--yes", "-o", "json"]).exits(1).says("the auditors want it");
    let report = ran.says(&format!("ConfigMap {ns}/wanted")).json();
    assert_eq!(report["complete"], false, "{report:#}");
    let cleaned = outcomes(&report, "cleaned");
    assert_eq!(
        (&*cleaned["ConfigMap wanted"].0, &*cleaned["ConfigMap dropped"].0),
        ("failed", "deleted"),
        "{cleaned:?}"
    );
    assert!(bench.get("configmap/wanted", Some(&ns)).is_some());
    assert_eq!(bench.get("configmap/dropped", Some(&ns)), None);
    let (finalized, recorded) = bench.recorded();
    assert!(finalized && recorded[&bench.root].contains(&"ConfigMap wanted".to_owned()), "{recorded:?}");

    denied.lift(&probe);
    bench.apply();
    assert_eq!(bench.get("configmap/wanted", Some(&ns)), None);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

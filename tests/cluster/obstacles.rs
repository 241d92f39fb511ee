//! Objects that a run deletes and that block changes of other objects. The plan names them, and the two commits that
//! help.

use serde_json::{Value, json};

use super::bench::{Bench, change, namespace};
use super::waiting::until;

fn ready(begins: &str) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns));
    (bench, ns)
}

/// Asserts that the plan blocks the object and names its obstacle, that an apply does not delete the obstacle, and that
/// two separate commits work.
#[track_caller]
fn named(bench: &Bench, ns: &str, refused: (&str, &Value), obstacle: (&str, &str)) {
    named_with(bench, ns, refused, obstacle, 1);
}

/// Does the same as [`named`], but the runs end with this exit code.
#[track_caller]
fn named_with(bench: &Bench, ns: &str, refused: (&str, &Value), obstacle: (&str, &str), code: i32) {
    let (name, body) = refused;
    let (file, word) = obstacle;
    let kept = std::fs::read_to_string(bench.path().join(file)).unwrap();
    bench.remove(file).write("new.json", &body.to_string());
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(code).json();
    let blocked = change(&plan, "changes", name);
    assert_eq!(blocked["action"], "blocked", "{plan:#}");
    let told = blocked["reason"]["message"].as_str().unwrap();
    assert!(told.contains(word) && told.contains("in a commit of its own first"), "{told}");
    bench.ktor(&["apply", "--yes"]).exits(code);
    let (kind, object) = word.split_once(' ').unwrap();
    let object = object.rsplit('/').next().unwrap();
    assert!(bench.get(&format!("{}/{object}", kind.split('.').next().unwrap()), Some(ns)).is_some(), "{kept}");
    // The way out is two commits.
    bench.remove("new.json");
    bench.apply();
    bench.write("new.json", &body.to_string());
    until("applied", || bench.ktor(&["apply", "--yes"]).code == Some(0));
}

#[test]
fn r8_a_node_port_that_moves_to_a_service_of_another_name_names_the_one_that_has_it() {
    let (bench, ns) = ready("nodeport");
    let service = |name: &str, port: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": ns},
        "spec": {"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 80, "nodePort": port}]}})
    };
    bench.write("old.json", &service("old", Value::Null).to_string().replace(",\"nodePort\":null", ""));
    bench.apply();
    let port = bench.get("service/old", Some(&ns)).unwrap()["spec"]["ports"][0]["nodePort"].clone();
    named(&bench, &ns, ("new", &service("new", port)), ("old.json", &format!("Service {ns}/old")));
}

#[test]
fn r8_a_quota_that_goes_or_is_full_of_what_goes_is_named() {
    let (bench, ns) = ready("quotafull");
    let secret =
        |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": ns}});
    bench.write(
        "quota.json",
        &json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": ns},
        "spec": {"hard": {"count/secrets": "1"}}})
        .to_string(),
    );
    bench.apply();
    until("known", || bench.get("resourcequota/q", Some(&ns)).unwrap()["status"]["used"]["count/secrets"] == "0");
    bench.write("one.json", &secret("one").to_string());
    bench.apply();
    named(&bench, &ns, ("two", &secret("two")), ("one.json", &format!("Secret {ns}/one")));
}

fn hook(ns: &str, operations: &[&str]) -> String {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": ns}, "webhooks": [{"name": format!("{ns}.example.com"), "clientConfig": {"url": "https://127.0.0.1:1/"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": operations, "resources": ["configmaps", "secrets"]}],
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 1,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns}}}]})
    .to_string()
}

#[test]
fn r8_a_webhook_that_refuses_everything_and_goes_is_named() {
    let (bench, ns) = ready("hookgoes");
    bench.apply();
    bench.write("hook.json", &hook(&ns, &["CREATE"]));
    bench.apply();
    until("in effect", || {
        !bench.plane.kubectl(&["create", "secret", "generic", "s", "-n", &ns, "--dry-run=server"]).status.success()
    });
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": ns}});
    let word = format!("ValidatingWebhookConfiguration.admissionregistration.k8s.io {ns}");
    // If a webhook does not answer, it is unknown whether the server would accept the object. The object is blocked.
    named_with(&bench, &ns, ("s", &secret), ("hook.json", &word), 3);
}

#[test]
fn r15_a_deletion_that_meets_a_webhook_which_the_same_run_deletes_is_not_yet_checked() {
    let (bench, ns) = ready("hookdel");
    for name in ["one", "two"] {
        let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": ns}});
        bench.write(&format!("{name}.json"), &body.to_string());
    }
    bench.apply();
    bench.write("hook.json", &hook(&ns, &["DELETE"]));
    bench.apply();
    until("in effect", || {
        !bench.plane.kubectl(&["delete", "secret", "one", "-n", &ns, "--dry-run=server"]).status.success()
    });
    // Without the deletion of the webhook, the deletion is refused.
    bench.remove("one.json");
    let plan = bench.plan();
    assert_eq!(change(&plan, "cleanup", "one")["action"], "blocked", "{plan:#}");
    bench.remove("hook.json").remove("two.json");
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
    for name in ["one", "two"] {
        let gone = change(&plan, "cleanup", name);
        assert_eq!((&gone["action"], &gone["reason"]["kind"]), (&json!("delete"), &json!("unchecked")), "{plan:#}");
    }
    assert!(plan["notices"].to_string().contains("2 objects are not yet checked"), "{plan:#}");
    let outcome = bench.apply();
    assert_eq!(outcome["summary"]["deleted"], 3, "{outcome:#}");
}

#[test]
fn r15_a_deletion_that_a_policy_refuses_until_the_server_notices_that_it_went_is_tried_again() {
    let (bench, ns) = ready("policydel");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one", "namespace": ns}});
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": ns}, "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [{"apiGroups": [""],
            "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["secrets"]}]},
            "validations": [{"expression": format!("request.namespace != '{ns}'"), "message": "no"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": ns}, "spec": {"policyName": ns, "validationActions": ["Deny"]}});
    bench.write("one.json", &secret.to_string());
    bench.write("policy.json", &policy.to_string()).write("binding.json", &binding.to_string());
    bench.apply();
    until("in effect", || {
        !bench.plane.kubectl(&["delete", "secret", "one", "-n", &ns, "--dry-run=server"]).status.success()
    });
    bench.remove("one.json").remove("policy.json").remove("binding.json");
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
    assert_eq!(change(&plan, "cleanup", "one")["reason"]["kind"], "unchecked", "{plan:#}");
    let outcome = bench.apply();
    assert_eq!(outcome["summary"]["deleted"], 3, "{outcome:#}");
}

#[test]
fn r15_a_null_that_an_apply_takes_for_a_value_is_told_with_its_place() {
    let (bench, ns) = ready("nulls");
    bench.apply();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a", "namespace": ns}, "secrets": [null]});
    bench.write("account.json", &account.to_string());
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(1).json();
    let told = change(&plan, "changes", "a")["reason"]["message"].as_str().unwrap().to_owned();
    assert!(told.contains("null at .secrets[0]: remove it"), "{told}");
}

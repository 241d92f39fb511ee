//! One commit that contains objects and their prerequisites. The plan succeeds and counts the unchecked objects, the
//! first apply succeeds, and the second has nothing to do. A real refusal next to them fails at once.

use serde_json::{Value, json};

use super::bench::{Bench, change, config_map, namespace};
use super::waiting::until;

/// Asserts that the plan succeeds with this number of unchecked objects, that the first apply succeeds, and that the
/// second writes nothing.
#[track_caller]
fn green(bench: &Bench, unchecked: usize) {
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
    let changes = plan["changes"].as_array().unwrap();
    let counted = changes.iter().filter(|change| change["reason"]["kind"] == "unchecked").count();
    assert_eq!(counted, unchecked, "{plan:#}");
    let notices = plan["notices"].to_string();
    assert!(notices.contains(&format!("{unchecked} object")), "{notices}");
    bench.apply();
    let again = bench.apply();
    let summary = again["summary"].as_object().unwrap();
    assert!(summary.iter().all(|(word, count)| word == "unchanged" || *count == 0), "{again:#}");
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

/// Adds an object that the server really refuses, asserts that the plan fails with these words, and removes the object.
#[track_caller]
fn red(bench: &Bench, name: &str, text: &Value, words: &str) {
    bench.write("refused.json", &text.to_string());
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(1).json();
    let refused = change(&plan, "changes", name);
    assert_eq!(refused["action"], "blocked", "{plan:#}");
    assert!(refused["reason"]["message"].as_str().unwrap().contains(words), "{refused:#}");
    bench.remove("refused.json");
}

fn ready(begins: &str) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns));
    (bench, ns)
}

fn pod(ns: &str, name: &str, spec: &Value) -> Value {
    let mut body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": ns},
        "spec": {"containers": [{"name": "c", "image": "example.invalid/c"}]}});
    for (field, value) in spec.as_object().unwrap() {
        body["spec"][field] = value.clone();
    }
    body
}

fn definition(group: &str, versions: &[(&str, Value)]) -> String {
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(index, (name, fields))| {
            json!({"name": name,
        "served": true, "storage": index == 0, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": fields}}}}})
        })
        .collect();
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("tills.{group}")}, "spec": {"group": group, "scope": "Namespaced",
            "names": {"kind": "Till", "plural": "tills"}, "versions": versions}})
    .to_string()
}

fn till(group: &str, version: &str, ns: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": format!("{group}/{version}"), "kind": "Till", "metadata": {"name": name, "namespace": ns},
        "spec": spec})
}

#[test]
fn r2_a_field_an_enum_and_a_version_of_a_crd_and_the_custom_resource_that_uses_them() {
    let (bench, ns) = ready("crdfield");
    let group = format!("{}.example.com", bench.root);
    let (old, mode) =
        (json!({"a": {"type": "string", "enum": ["x"]}}), json!({"a": {"type": "string", "enum": ["x", "y"]}}));
    bench.write("crd.json", &definition(&group, &[("v1", old)]));
    bench.write("till.json", &till(&group, "v1", &ns, "front", &json!({"a": "x"})).to_string());
    bench.apply();
    // An enum gets another value.
    bench.write("crd.json", &definition(&group, &[("v1", mode)]));
    bench.write("till.json", &till(&group, "v1", &ns, "front", &json!({"a": "y"})).to_string());
    red(&bench, "bad", &till(&group, "v1", &ns, "bad", &json!({"a": "z"})), "not one of");
    green(&bench, 1);
    // The schema gets another field.
    let fields = json!({"a": {"type": "string"}, "b": {"type": "integer"}});
    bench.write("crd.json", &definition(&group, &[("v1", fields.clone())]));
    bench.write("till.json", &till(&group, "v1", &ns, "front", &json!({"a": "y", "b": 1})).to_string());
    red(&bench, "bad", &till(&group, "v1", &ns, "bad", &json!({"c": 1})), ".spec.c");
    green(&bench, 1);
    // The CRD gets another version.
    bench.write("crd.json", &definition(&group, &[("v1", fields.clone()), ("v2", fields)]));
    bench.write("till.json", &till(&group, "v2", &ns, "front", &json!({"a": "y", "b": 2})).to_string());
    red(&bench, "bad", &till(&group, "v3", &ns, "bad", &json!({})), "v3");
    green(&bench, 1);
    assert_eq!(bench.get(&format!("tills.{group}/front"), Some(&ns)).unwrap()["spec"]["b"], 2);
}

#[test]
fn r2_a_mistake_in_a_new_namespace_or_of_a_new_crd_is_red_in_review() {
    let (bench, ns) = ready("newcrd");
    let group = format!("{}.example.com", bench.root);
    bench.write("crd.json", &definition(&group, &[("v1", json!({"a": {"type": "string"}}))]));
    bench.write("till.json", &till(&group, "v1", &ns, "front", &json!({"a": "x"})).to_string());
    bench.write("config.yaml", &config_map(&ns, "config", "1"));
    red(
        &bench,
        "bad",
        &till(&group, "v1", &ns, "bad", &json!({"a": 1})),
        ".spec.a: number where the schema wants string",
    );
    red(&bench, "bad", &till(&group, "v1", &ns, "bad", &json!({"b": "x"})), ".spec.b: the schema has no such field");
    red(
        &bench,
        "bad",
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad", "namespace": ns}, "dada": {}}),
        ".dada: field not declared in schema",
    );
    red(
        &bench,
        "bad",
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad", "namespace": "nowhere"}}),
        "nowhere",
    );
    green(&bench, 2);
}

#[test]
fn r15_a_kind_that_nobody_serves_or_defines_is_blocked_also_in_a_namespace_that_the_run_creates() {
    let (bench, ns) = ready("nokind");
    let teapot =
        json!({"apiVersion": "nokind.test/v1", "kind": "Teapot", "metadata": {"name": "brown", "namespace": ns}});
    red(&bench, "brown", &teapot, "Teapot.nokind.test");
    let unserved =
        json!({"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "brown", "namespace": ns}});
    red(&bench, "brown", &unserved, "Deployment.apps is served in v1 and not in v1beta1");
}

#[test]
fn r2_a_pod_and_what_it_names() {
    let (bench, ns) = ready("podneeds");
    bench.apply();
    let class = bench.root.clone();
    bench.write(
        "sa.json",
        &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "dora", "namespace": ns}})
            .to_string(),
    );
    bench.write("priority.json", &json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": class}, "value": 7}).to_string());
    bench.write(
        "runtime.json",
        &json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": class}, "handler": "h"})
            .to_string(),
    );
    bench.write("one.json", &pod(&ns, "one", &json!({"serviceAccountName": "dora"})).to_string());
    bench.write("two.json", &pod(&ns, "two", &json!({"priorityClassName": class})).to_string());
    bench.write("three.json", &pod(&ns, "three", &json!({"runtimeClassName": class})).to_string());
    bench.write(
        "four.json",
        &pod(
            &ns,
            "four",
            &json!({"serviceAccountName": "dora", "priorityClassName": class, "runtimeClassName": class}),
        )
        .to_string(),
    );
    red(&bench, "bad", &pod(&ns, "bad", &json!({"serviceAccountName": "nora"})), "serviceaccount \"nora\" not found");
    red(&bench, "bad", &pod(&ns, "bad", &json!({"priorityClassName": "nope"})), "nope");
    green(&bench, 4);
}

#[test]
fn r2_a_storage_class_and_its_claim() {
    let (bench, ns) = ready("storage");
    bench.apply();
    let class = bench.root.clone();
    bench.write(
        "class.json",
        &json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": class},
        "provisioner": "example.com/none", "volumeBindingMode": "WaitForFirstConsumer"})
        .to_string(),
    );
    bench.write("claim.json", &json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": ns},
        "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}).to_string());
    bench.ktor(&["plan"]).exits(0);
    bench.apply();
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

fn deployer(bench: &Bench, ns: &str, rules: &Value) {
    // The deployer has rights in its own namespace. The rights that every run needs apply to the whole cluster.
    let role = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "deployer", "namespace": ns}, "rules": rules},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "deployer", "namespace": ns},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
         "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ns}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": format!("{ns}-state")}, "rules": [
            {"apiGroups": ["", "coordination.k8s.io"], "resources": ["secrets", "leases"], "verbs": ["get", "list", "create", "update", "patch", "delete"]},
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": format!("{ns}-state")},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": format!("{ns}-state")},
         "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ns}]}]});
    bench.kubectl(&["apply", "-f", "-"], &role.to_string());
    let may = ["auth", "can-i", "create", "roles.rbac.authorization.k8s.io", "-n", ns, "--as", ns];
    until("allowed", || bench.plane.kubectl(&may).status.success());
}

/// Makes the bench act as the user with the namespace's name.
fn as_deployer(bench: &mut Bench, ns: &str) {
    let mut config: Value =
        serde_json::from_str(&bench.kubectl(&["config", "view", "--raw", "-o", "json"], "")).unwrap();
    config["users"][0]["user"]["as"] = json!(ns);
    let path = bench.path().join(".kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    bench.through(path);
}

#[test]
fn r2_a_role_and_its_binding_by_a_deployer_who_may_not_bind_or_escalate() {
    let (mut bench, ns) = ready("binding");
    bench.apply();
    bench.remove("ns.yaml");
    let verbs = json!(["get", "list", "create", "update", "patch", "delete"]);
    deployer(
        &bench,
        &ns,
        &json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": verbs},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]),
    );
    as_deployer(&mut bench, &ns);
    let role = |name: &str, verb: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": name, "namespace": ns}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": [verb]}]})
    };
    let binding = |name: &str, role: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": ns}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": ns}]})
    };
    bench.write("role.json", &role("reads", "get").to_string());
    bench.write("binding.json", &binding("reads", "reads").to_string());
    red(&bench, "bad", &role("bad", "deletecollection"), "is attempting to grant");
    red(&bench, "bad", &binding("bad", "nobodys"), "something that it refers to does not exist");
    bench.write(".ktor.yaml", &format!("project: {}\n", bench.root));
    green(&bench, 1);
}

#[test]
fn r2_a_quota_that_is_raised_and_what_needs_it() {
    let (bench, ns) = ready("quota");
    let quota = |count: u64| {
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": ns},
        "spec": {"hard": {"count/secrets": count.to_string()}}})
        .to_string()
    };
    let secret =
        |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": ns}});
    bench.write("quota.json", &quota(1));
    bench.apply();
    until("known", || bench.get("resourcequota/q", Some(&ns)).unwrap()["status"]["used"]["count/secrets"] == "0");
    bench.write("one.json", &secret("one").to_string());
    bench.apply();
    until("counted", || bench.get("resourcequota/q", Some(&ns)).unwrap()["status"]["used"]["count/secrets"] == "1");
    red(&bench, "two", &secret("two"), "exceeded quota");
    bench.write("quota.json", &quota(3)).write("two.json", &secret("two").to_string());
    red(&bench, "bad", &pod(&ns, "bad", &json!({"serviceAccountName": "nora"})), "nora");
    green(&bench, 1);
}

#[test]
fn r2_a_limit_range_and_the_pod_that_needs_it() {
    let (bench, ns) = ready("limits");
    let limits = |cpu: &str| {
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l", "namespace": ns},
        "spec": {"limits": [{"type": "Container", "max": {"cpu": cpu}}]}})
        .to_string()
    };
    bench.write("limits.json", &limits("1"));
    bench.apply();
    let large = |name: &str| {
        pod(
            &ns,
            name,
            &json!({"containers": [{"name": "c", "image": "example.invalid/c", "resources": {"limits": {"cpu": "2"}}}]}),
        )
    };
    red(&bench, "large", &large("large"), "maximum cpu usage per Container is 1");
    bench.write("limits.json", &limits("3")).write("large.json", &large("large").to_string());
    green(&bench, 1);
}

#[test]
fn r2_a_pod_security_label_and_the_pod_that_needs_it() {
    let (bench, ns) = ready("podsecurity");
    let labelled = |level: &str| {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns,
        "labels": {"pod-security.kubernetes.io/enforce": level}}})
        .to_string()
    };
    bench.write("ns.yaml", &labelled("restricted"));
    bench.apply();
    let plain = |name: &str| pod(&ns, name, &json!({}));
    red(&bench, "plain", &plain("plain"), "violates PodSecurity");
    bench.write("ns.yaml", &labelled("privileged")).write("plain.json", &plain("plain").to_string());
    red(&bench, "bad", &pod(&ns, "bad", &json!({"priorityClassName": "nope"})), "no PriorityClass");
    green(&bench, 1);
}

#[test]
fn r2_a_policy_that_changes_and_what_it_refused() {
    let (bench, ns) = ready("policy");
    let policy = |message: &str| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": ns}, "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [{"apiGroups": [""],
            "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"]}]},
            "validations": [{"expression": format!("request.namespace != '{ns}' || request.name in {message}"), "message": "no"}]}}).to_string()
    };
    bench.write("policy.json", &policy("['one']"));
    bench.write(
        "binding.json",
        &json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": ns}, "spec": {"policyName": ns, "validationActions": ["Deny"]}})
        .to_string(),
    );
    bench.apply();
    let secret =
        |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": ns}});
    until("in effect", || {
        !bench.plane.kubectl(&["create", "secret", "generic", "two", "-n", &ns, "--dry-run=server"]).status.success()
    });
    red(&bench, "two", &secret("two"), "denied request");
    bench.write("policy.json", &policy("['one', 'two']")).write("two.json", &secret("two").to_string());
    green(&bench, 1);
}

#[test]
fn r2_a_webhook_that_changes_and_what_it_refused() {
    let (bench, ns) = ready("webhook");
    bench.apply();
    let hook = |label: &str| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": ns}, "webhooks": [{"name": "hook.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}],
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 1,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": label}}}]}).to_string()
    };
    bench.write("hook.json", &hook(&ns));
    bench.apply();
    until("in effect", || {
        !bench.plane.kubectl(&["create", "secret", "generic", "s", "-n", &ns, "--dry-run=server"]).status.success()
    });
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": ns}});
    bench.write("hook.json", &hook("another")).write("secret.json", &secret.to_string());
    green(&bench, 1);
}

#[test]
fn r2_a_pod_in_a_new_namespace_waits_for_the_account_that_every_namespace_gets() {
    let (bench, ns) = ready("firstpod");
    bench.write("pod.json", &pod(&ns, "one", &json!({})).to_string());
    green(&bench, 1);
}

#[test]
fn r2_the_rights_that_a_run_brings_to_its_own_identity_are_used_by_the_same_run() {
    let (mut bench, ns) = ready("ownrights");
    bench.apply();
    bench.remove("ns.yaml").write(".ktor.yaml", &format!("project: {}\n", bench.root));
    let verbs = json!(["get", "list", "create", "update", "patch", "delete", "bind", "escalate"]);
    let rules =
        json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": verbs}]);
    deployer(&bench, &ns, &rules);
    as_deployer(&mut bench, &ns);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "own", "namespace": ns},
        "rules": [{"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["create", "patch"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "own", "namespace": ns},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "own"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ns}]});
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": ns},
        "spec": {"podSelector": {}}});
    bench.write("role.json", &role.to_string()).write("binding.json", &binding.to_string());
    bench.write("policy.json", &policy.to_string());
    red(
        &bench,
        "bad",
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad", "namespace": ns}}),
        "cannot patch resource",
    );
    green(&bench, 1);
}

#[test]
fn r2_a_storage_class_that_comes_to_allow_growth_and_the_claim_that_grows() {
    let (bench, ns) = ready("growth");
    let class = |grows: bool| {
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": ns},
            "provisioner": "example.com/none", "allowVolumeExpansion": grows})
        .to_string()
    };
    let claim = |size: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": ns},
            "spec": {"storageClassName": ns, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}})
        .to_string()
    };
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": ns}, "spec": {
        "storageClassName": ns, "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        "hostPath": {"path": "/none"}, "claimRef": {"name": "c", "namespace": ns}}});
    bench.kubectl(&["create", "-f", "-"], &volume.to_string());
    bench.write("class.json", &class(false)).write("claim.json", &claim("1Gi"));
    bench.apply();
    until("bound", || bench.get("pvc/c", Some(&ns)).unwrap()["status"]["phase"] == "Bound");
    bench.write("claim.json", &claim("2Gi"));
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(1).json();
    assert_eq!(change(&plan, "changes", "c")["action"], "blocked", "{plan:#}");
    bench.write("class.json", &class(true));
    green(&bench, 1);
}

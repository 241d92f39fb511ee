//! Fields that no manifest has, because the server filled them in or another manager set them. They conflict with a
//! change of another field, although that field is not immutable. No object is replaced for this reason.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use support::controlplane::{Entry, Fault, Gate, Recorder, User};

use super::bench::{Bench, change, namespace};
use super::deployer::{Extent, deployer};

/// Creates a project with its namespace.
fn project(begins: &str) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    bench
        .write(".ktor.yaml", &format!("project: {ns}\ncleanup: true\nnamespace: {ns}\n"))
        .write("ns.yaml", &namespace(&ns));
    (bench, ns)
}

fn write(bench: &Bench, object: &Value) {
    let name = format!("{}-{}.json", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
    bench.write(&name, &object.to_string());
}

fn workload(kind: &str, name: &str, more: &Value) -> Value {
    let labels = json!({"app": name});
    let mut spec = json!({"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "example.invalid/c"}]}}});
    if kind == "StatefulSet" {
        spec["serviceName"] = json!(name);
    }
    merge(&mut spec, more);
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn merge(value: &mut Value, more: &Value) {
    match (value, more) {
        (Value::Object(value), Value::Object(more)) => {
            for (name, more) in more {
                merge(value.entry(name.clone()).or_insert(Value::Null), more);
            }
        }
        (value, more) => *value = more.clone(),
    }
}

fn versions(bench: &Bench, ns: &str) -> BTreeMap<String, String> {
    let resources = "deployment,statefulset,daemonset,service,pdb,hpa,ingress,pod,configmap,persistentvolumeclaim";
    let listed: Value = serde_json::from_str(&bench.kubectl(&["get", resources, "-n", ns, "-o", "json"], "")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let objects = listed["items"].as_array().unwrap().iter();
    objects
        .filter(|object| object["metadata"]["labels"]["kubernator.io/root"].is_string())
        .map(|object| {
            (
                format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"])),
                text(&object["metadata"]["uid"]),
            )
        })
        .collect()
}

fn paths(change: &Value) -> Vec<&str> {
    change["diff"].as_array().unwrap().iter().map(|line| line["path"].as_str().unwrap()).collect()
}

/// Asserts that there is nothing left to do, and that another apply writes nothing.
fn settled(bench: &Bench, ns: &str, uids: &BTreeMap<String, String>) {
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    let again = bench.apply();
    assert_eq!(again["summary"]["configured"].as_u64().unwrap_or_default(), 0, "{again:#}");
    assert_eq!(versions(bench, ns), *uids, "nothing was created anew");
}

#[test]
fn r1_recreate_is_reached_with_replicas_and_restart_annotation_as_they_were() {
    let (bench, ns) = project("recreate");
    write(&bench, &workload("Deployment", "web", &json!({})));
    bench.apply();
    bench.kubectl(&["scale", "deployment/web", "--replicas=4", "-n", &ns], "");
    bench.kubectl(&["rollout", "restart", "deployment/web", "-n", &ns], "");
    let before = bench.get("deployment/web", Some(&ns)).unwrap();
    let restarted = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
    assert!(before.pointer(restarted).is_some());
    let uids = versions(&bench, &ns);

    // A field other than the replicas changes in the same commit. It causes no conflict.
    write(&bench, &workload("Deployment", "web", &json!({"strategy": {"type": "Recreate"}, "minReadySeconds": 1})));
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
    let update = change(&plan, "changes", "web");
    assert_eq!(update["action"], "update", "{plan:#}");
    assert_eq!(
        paths(update),
        ["spec.minReadySeconds", "spec.strategy.rollingUpdate", "spec.strategy.type"],
        "{plan:#}"
    );
    bench.apply();
    let after = bench.get("deployment/web", Some(&ns)).unwrap();
    assert_eq!(after["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(after["spec"]["replicas"], 4);
    assert_eq!(after.pointer(restarted), before.pointer(restarted));
    settled(&bench, &ns, &uids);
}

/// Returns every kind with a field that takes exactly one of several forms, and a change from one form to another.
fn unions() -> Vec<[Value; 2]> {
    let volume = |source: &Value| {
        let mut volume = json!({"name": "v"});
        merge(&mut volume, source);
        json!({"template": {"spec": {"volumes": [volume]}}})
    };
    let service = |name: &str, spec: &Value| {
        let mut all = json!({"selector": {"app": "x"}, "ports": [{"port": 80, "name": "http"}]});
        merge(&mut all, spec);
        if all["type"] == "ExternalName" {
            all.as_object_mut().unwrap().remove("ports");
            all.as_object_mut().unwrap().remove("selector");
        }
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": all})
    };
    let budget = |spec: &Value| {
        let mut all = json!({"selector": {"matchLabels": {"app": "x"}}});
        merge(&mut all, spec);
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "budget"}, "spec": all})
    };
    let scaler = |metric: &Value| {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "scaler"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"},
                "metrics": [metric]}})
    };
    let metric = |target: &Value| json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
    let ingress = |backend: &Value| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "ingress"},
            "spec": {"defaultBackend": backend}})
    };
    let env = |env: &Value| json!({"replicas": 0, "template": {"spec": {"containers": [{"name": "c", "image": "example.invalid/c", "env": [env]}]}}});
    let pod = |image: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"},
            "spec": {"containers": [{"name": "c", "image": image}]}})
    };
    let claim = |more: &Value| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "claim", "labels": more},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "none", "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let map = json!({"configMap": {"name": "none", "optional": true}});
    let value_from = json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
    vec![
        [json!({}), json!({"updateStrategy": {"type": "OnDelete"}})].map(|more| {
            workload("StatefulSet", "set", &{
                let mut more = more;
                more["replicas"] = json!(0);
                more
            })
        }),
        [
            json!({"updateStrategy": {"rollingUpdate": {"partition": 1}}}),
            json!({"updateStrategy": {"type": "OnDelete"}}),
        ]
        .map(|more| {
            workload("StatefulSet", "parted", &{
                let mut more = more;
                more["replicas"] = json!(0);
                more
            })
        }),
        [json!({}), json!({"updateStrategy": {"type": "OnDelete"}})].map(|more| workload("DaemonSet", "daemon", &more)),
        [json!({}), map].map(|source| {
            workload("Deployment", "volume", &{
                let mut all = volume(&source);
                all["replicas"] = json!(0);
                all
            })
        }),
        [json!({"name": "A", "value": "1"}), value_from.clone()].map(|one| workload("Deployment", "env", &env(&one))),
        [json!({"name": "A"}), value_from].map(|one| workload("Deployment", "bare-env", &env(&one))),
        [json!({}), json!({"type": "NodePort"})].map(|spec| service("to-node-port", &spec)),
        [json!({"type": "NodePort"}), json!({})].map(|spec| service("from-node-port", &spec)),
        [json!({"type": "NodePort"}), json!({"type": "ClusterIP"})].map(|spec| service("to-cluster-ip", &spec)),
        [json!({"type": "LoadBalancer"}), json!({"type": "ClusterIP"})].map(|spec| service("from-balancer", &spec)),
        [json!({}), json!({"type": "ExternalName", "externalName": "a.example"})].map(|spec| service("to-name", &spec)),
        [json!({"type": "ExternalName", "externalName": "a.example"}), json!({})]
            .map(|spec| service("from-name", &spec)),
        [json!({"sessionAffinity": "ClientIP"}), json!({})].map(|spec| service("affinity", &spec)),
        [json!({"sessionAffinity": "ClientIP"}), json!({"sessionAffinity": "None"})]
            .map(|spec| service("no-affinity", &spec)),
        [json!({"minAvailable": 1}), json!({"maxUnavailable": 1})].map(|spec| budget(&spec)),
        [
            json!({"type": "Utilization", "averageUtilization": 50}),
            json!({"type": "AverageValue", "averageValue": "1"}),
        ]
        .map(|target| scaler(&metric(&target))),
        [
            json!({"service": {"name": "a", "port": {"number": 80}}}),
            json!({"resource": {"kind": "A", "name": "a", "apiGroup": "a.dev"}}),
        ]
        .map(|backend| ingress(&backend)),
        ["example.invalid/a", "example.invalid/b"].map(pod),
        [json!({}), json!({"a": "b"})].map(|labels| claim(&labels)),
    ]
}

#[test]
fn r1_no_kind_is_replaced_for_what_the_server_filled_in() {
    let (bench, ns) = project("unions");
    let cases = unions();
    for [before, _] in &cases {
        write(&bench, before);
    }
    bench.ktor(&["apply", "--yes", "--readiness-timeout", "1s"]);
    let uids = versions(&bench, &ns);
    assert_eq!(uids.len(), cases.len(), "{uids:#?}");
    for [_, after] in &cases {
        write(&bench, after);
    }
    let plan = bench.ktor(&["plan", "-o", "json"]).json();
    for [_, after] in &cases {
        let planned = change(&plan, "changes", after["metadata"]["name"].as_str().unwrap());
        assert_eq!(planned["action"], "update", "{planned:#}");
    }
    bench.ktor(&["apply", "--yes", "--readiness-timeout", "1s"]);
    assert_eq!(versions(&bench, &ns), uids);
    let plan = bench.plan();
    assert_eq!(plan["summary"]["update"].as_u64().unwrap_or_default(), 0, "{plan:#}");
    assert_eq!(bench.get("statefulset/set", Some(&ns)).unwrap()["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
}

/// Tries combinations of changes. The change to another strategy requires that a field that the server filled in is
/// removed.
#[test]
fn r1_generated_changes_leave_everything_else_that_nobody_owns() {
    let (bench, ns) = project("generated");
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let more = proptest::sample::subsequence(
        vec![
            json!({"minReadySeconds": 1}),
            json!({"revisionHistoryLimit": 3}),
            json!({"progressDeadlineSeconds": 60}),
            json!({"template": {"metadata": {"annotations": {"a": "b"}}}}),
            json!({"template": {"spec": {"terminationGracePeriodSeconds": 5}}}),
            json!({"template": {"spec": {"restartPolicy": "Always"}}}),
            json!({"template": {"spec": {"volumes": [{"name": "v", "configMap": {"name": "none", "optional": true}}]}}}),
            json!({"template": {"spec": {"securityContext": {"runAsUser": 7}}}}),
        ],
        0..=8,
    );
    let cases: Vec<(String, Vec<Value>)> =
        (0..16).map(|number| (format!("web-{number}"), more.new_tree(&mut runner).unwrap().current())).collect();
    let volume = json!({"template": {"spec": {"volumes": [{"name": "v"}]}}});
    for (name, _) in &cases {
        write(&bench, &workload("Deployment", name, &volume));
    }
    bench.apply();
    bench.kubectl(&["scale", "deployment", "--all", "--replicas=2", "-n", &ns], "");
    bench.kubectl(&["rollout", "restart", "deployment", "-n", &ns], "");
    let live = |name: &str| bench.get(&format!("deployment/{name}"), Some(&ns)).unwrap()["spec"].clone();
    let uids = versions(&bench, &ns);
    let mut expected = BTreeMap::new();
    for (name, changes) in &cases {
        let (mut spec, mut wanted) = (volume.clone(), live(name));
        for change in [&json!({"strategy": {"type": "Recreate"}})].into_iter().chain(changes) {
            merge(&mut spec, change);
            merge(&mut wanted, change);
        }
        wanted["strategy"] = json!({"type": "Recreate"});
        if changes.iter().any(|change| change.pointer("/template/spec/volumes").is_some()) {
            let source = json!({"name": "none", "optional": true, "defaultMode": 420});
            wanted["template"]["spec"]["volumes"] = json!([{"name": "v", "configMap": source}]);
        }
        write(&bench, &workload("Deployment", name, &spec));
        expected.insert(name, wanted);
    }
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
    assert_eq!(plan["summary"]["update"], cases.len(), "{plan:#}");
    bench.apply();
    for (name, wanted) in &expected {
        assert_eq!(live(name), *wanted, "{name}");
    }
    settled(&bench, &ns, &uids);
}

#[test]
fn r1_what_another_manager_set_is_named_with_the_remedy_and_nothing_is_replaced() {
    let (bench, ns) = project("theirs");
    let group = format!("{}.example.com", bench.root);
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("tills.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Till", "plural": "tills"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object",
                    "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}},
                    "x-kubernetes-validations": [{"rule": "!(has(self.a) && has(self.b))", "message": "one of a and b"}]}}}}}]}});
    write(&bench, &definition);
    let env = |one: &Value| json!({"replicas": 0, "template": {"spec": {"containers": [{"name": "c", "image": "example.invalid/c", "env": [one]}]}}});
    let service = |ports: &Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "port"}, "spec": {"ports": ports}});
    let till = |spec: &Value| json!({"apiVersion": format!("{group}/v1"), "kind": "Till", "metadata": {"name": "till"}, "spec": spec});
    write(&bench, &workload("Deployment", "env", &env(&json!({"name": "A", "value": "1"}))));
    write(&bench, &service(&json!([{"name": "a", "port": 80}])));
    write(&bench, &till(&json!({"c": "1"})));
    bench.apply();
    bench.kubectl(&["set", "env", "deployment/env", "A=2", "-n", &ns], "");
    let added = json!({"spec": {"ports": [{"name": "b", "port": 81}]}}).to_string();
    bench.kubectl(&["patch", "service", "port", "-n", &ns, "-p", &added], "");
    let operators = json!({"spec": {"a": "operator's"}}).to_string();
    bench.kubectl(
        &[
            "patch",
            &format!("tills.{group}"),
            "till",
            "-n",
            &ns,
            "--type=merge",
            "-p",
            &operators,
            "--field-manager=operator",
        ],
        "",
    );
    let uids = versions(&bench, &ns);

    let value_from = json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
    write(&bench, &workload("Deployment", "env", &env(&value_from)));
    write(&bench, &service(&json!([{"name": "a", "port": 80}, {"name": "b", "port": 82}])));
    write(&bench, &till(&json!({"c": "2", "b": "ours"})));
    let plan = bench.ktor(&["plan", "-o", "json", "--allow-replacement"]).exits(3).json();
    for (name, field, manager) in [
        ("env", ".spec.template.spec.containers[name=\"c\"].env[name=\"A\"].value", "kubectl-set"),
        ("port", ".spec.ports[port=81,protocol=\"TCP\"]", "kubectl-patch"),
        ("till", ".spec.a", "operator"),
    ] {
        let blocked = change(&plan, "changes", name);
        let words = blocked["reason"]["message"].as_str().unwrap_or_default();
        assert_eq!(blocked["action"], "blocked", "{blocked:#}");
        assert!(words.starts_with(&format!("conflict: {field}, which {manager} set, ")), "{words}");
        assert!(words.contains("remove it from the live object"), "{words}");
    }
    bench.ktor(&["apply", "--yes", "--allow-replacement"]).exits(3);
    assert_eq!(versions(&bench, &ns), uids);
}

#[test]
fn r1_lost_managed_fields_touch_nothing() {
    let (bench, ns) = project("unowned");
    write(&bench, &workload("Deployment", "web", &json!({})));
    bench.apply();
    let reset = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]).to_string();
    bench.kubectl(&["patch", "deployment", "web", "-n", &ns, "--type=json", "-p", &reset], "");
    let uids = versions(&bench, &ns);
    write(&bench, &workload("Deployment", "web", &json!({"strategy": {"type": "Recreate"}})));
    let plan = bench.ktor(&["plan", "-o", "json", "--allow-replacement"]).json();
    assert_ne!(change(&plan, "changes", "web")["action"], "replace", "{plan:#}");
    bench.ktor(&["apply", "--yes", "--allow-replacement"]);
    assert_eq!(versions(&bench, &ns), uids);
}

/// PersistentVolumes and PersistentVolumeClaims are never replaced, whatever the options allow.
#[test]
fn r1_a_claim_that_shrinks_by_a_typo_is_refused_and_never_replaced() {
    let (bench, ns) = project("shrunk");
    let claim = |size: &str, class: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": size}}}})
    };
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": ns},
        "spec": {"capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": ns,
            "claimRef": {"namespace": ns, "name": "data"}, "hostPath": {"path": "/none"}}});
    bench.kubectl(&["create", "-f", "-"], &volume.to_string());
    write(&bench, &claim("10Gi", &ns));
    bench.apply();
    let bound = || bench.get("persistentvolumeclaim/data", Some(&ns)).unwrap()["status"]["phase"] == "Bound";
    let began = Instant::now();
    while !bound() {
        assert!(began.elapsed() < Duration::from_secs(60), "the claim is bound");
        std::thread::sleep(Duration::from_millis(200));
    }
    let uids = versions(&bench, &ns);
    for wrong in [claim("1Gi", &ns), claim("10Gi", "other")] {
        write(&bench, &wrong);
        let flags = ["--allow-replacement", "--allow-volume-deletion", "--allow-mass-deletion"];
        let plan = bench.ktor(&[&["plan", "-o", "json"], &flags[..]].concat()).exits(3).json();
        let blocked = change(&plan, "changes", "data");
        assert_eq!(blocked["action"], "keep", "{blocked:#}");
        assert!(blocked["reason"]["message"].as_str().unwrap().contains("never replaced"), "{blocked:#}");
        bench.ktor(&[&["apply", "--yes"], &flags[..]].concat()).exits(3);
        assert_eq!(versions(&bench, &ns), uids);
    }
    bench.kubectl(&["delete", "persistentvolume", &ns, "--wait=false"], "");
}

#[test]
fn r1_without_the_right_to_update_it_is_not_known_and_nothing_is_replaced() {
    let (mut bench, ns) = project("unasked");
    write(&bench, &workload("Deployment", "web", &json!({"replicas": 0})));
    bench.apply();
    let uids = versions(&bench, &ns);
    write(&bench, &workload("Deployment", "web", &json!({"replicas": 0, "strategy": {"type": "Recreate"}})));
    let all = |verbs: &[&str]| json!({"apiGroups": ["*"], "resources": ["*"], "verbs": verbs});
    let rules = json!([all(&["get", "list", "create", "patch", "delete"])]);
    let state = (Extent::In("kubernator-system"), json!([all(&["update"])]));
    let kubeconfig = deployer(&bench, &ns, &[(Extent::Everywhere, rules), state]);
    bench.through(kubeconfig);
    let plan = bench.ktor(&["plan", "-o", "json", "--allow-replacement"]).exits(3).json();
    let blocked = change(&plan, "changes", "web");
    assert_eq!((&blocked["action"], &blocked["reason"]["kind"]), (&json!("blocked"), &json!("unknown")), "{plan:#}");
    assert!(blocked["reason"]["message"].as_str().unwrap().contains("the right to update it is needed"), "{blocked:#}");
    bench.ktor(&["apply", "--yes", "--allow-replacement"]).exits(3);
    assert_eq!(versions(&bench, &ns), uids);
}

fn is_claim(entry: &Entry) -> bool {
    entry.persists() && String::from_utf8_lossy(&entry.body).contains("/metadata/managedFields")
}

fn is_apply(entry: &Entry) -> bool {
    entry.persists() && entry.target.contains("force=") && entry.path().ends_with("/web")
}

/// The run is killed before the claim of the fields, or between the claim and the apply.
#[tokio::test(flavor = "multi_thread")]
async fn r1_a_run_killed_around_a_claim_is_finished_by_the_next() {
    for (is_it, is_claimed) in [(is_claim as fn(&Entry) -> bool, false), (is_apply, true)] {
        let (mut bench, ns) = project("claimed");
        write(&bench, &workload("Deployment", "web", &json!({})));
        bench.apply();
        bench.kubectl(&["scale", "deployment/web", "--replicas=3", "-n", &ns], "");
        let uids = versions(&bench, &ns);
        write(&bench, &workload("Deployment", "web", &json!({"strategy": {"type": "Recreate"}})));
        let direct = bench.plane.kubeconfig(User::Admin);
        let gate = Gate::closed();
        let held = gate.clone();
        let recorder = Recorder::with_faults(bench.plane, move |entry| is_it(entry).then(|| Fault::Hold(held.clone())));
        bench.through(recorder.kubeconfig(User::Admin));
        let mut run = bench.spawn_brief(&["apply", "--yes"]);
        gate.reached().await;
        run.kill().unwrap();
        run.wait().unwrap();
        drop(recorder);
        bench.through(direct);
        let live = bench.get("deployment/web", Some(&ns)).unwrap();
        assert_eq!(live["spec"]["strategy"]["type"], "RollingUpdate");
        assert_eq!(live["metadata"]["managedFields"].to_string().contains("f:rollingUpdate"), is_claimed);
        let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
        assert_eq!(paths(change(&plan, "changes", "web")), ["spec.strategy.rollingUpdate", "spec.strategy.type"]);
        bench.ktor(&["apply", "--yes", "--lock-timeout", "2m"]).exits(0);
        let live = bench.get("deployment/web", Some(&ns)).unwrap();
        assert_eq!((&live["spec"]["strategy"], &live["spec"]["replicas"]), (&json!({"type": "Recreate"}), &json!(3)));
        settled(&bench, &ns, &uids);
    }
}

/// Between plan and claim, another manager changes a field that the claim would remove. The run must not remove it.
#[tokio::test(flavor = "multi_thread")]
async fn r1_what_someone_sets_meanwhile_is_not_taken_away() {
    let (mut bench, ns) = project("meanwhile");
    write(&bench, &workload("Deployment", "web", &json!({"replicas": 0})));
    bench.apply();
    write(&bench, &workload("Deployment", "web", &json!({"replicas": 0, "strategy": {"type": "Recreate"}})));
    let gate = Gate::closed();
    let held = gate.clone();
    let recorder = Recorder::with_faults(bench.plane, move |entry| is_claim(entry).then(|| Fault::Hold(held.clone())));
    bench.through(recorder.kubeconfig(User::Admin));
    let run = bench.spawn(&["apply", "--yes"]);
    gate.reached().await;
    let surge = json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 3}}}}).to_string();
    bench.kubectl(&["patch", "deployment", "web", "-n", &ns, "-p", &surge], "");
    gate.open();
    let ran = tokio::task::spawn_blocking(|| Bench::finished(run)).await.unwrap().exits(1);
    assert!(ran.stdout.contains("changed after the plan was made"), "{ran:#?}");
    let live = bench.get("deployment/web", Some(&ns)).unwrap();
    assert_eq!(live["spec"]["strategy"]["rollingUpdate"]["maxSurge"], 3);
    assert!(!live["metadata"]["managedFields"].as_array().unwrap().is_empty());
}

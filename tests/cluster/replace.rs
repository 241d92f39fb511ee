//! Objects that cannot be changed in place. They are deleted and created anew if they are ours, if the caller allows
//! it, and if the server would create the new object.

use std::collections::BTreeMap;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::controlplane::{Fault, Gate, Recorder, User};

use super::bench::{Bench, change, config_map, namespace};
use super::deletion::outcomes;

const ALLOWED: [&str; 5] = ["apply", "--yes", "-o", "json", "--allow-replacement"];

/// A kind of object with an immutable field: its name in kubectl, and its content before and after a change.
struct Fixed {
    resource: &'static str,
    before: Value,
    after: Value,
}

impl Fixed {
    fn new(resource: &'static str, mut body: Value, pointer: &str, values: [Value; 2]) -> Self {
        let [before, after] = values.map(|value| {
            *body.pointer_mut(pointer).unwrap() = value;
            body.clone()
        });
        Self { resource, before, after }
    }
}

fn object(api: &str, kind: &str, rest: Value) -> Value {
    let mut body = json!({"apiVersion": api, "kind": kind, "metadata": {"name": ""}});
    body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    body
}

/// Returns each kind whose changes the server refuses with a message of its own.
fn fixed(group: &str) -> Vec<Fixed> {
    let containers = json!([{"name": "c", "image": "example.invalid/c", "command": ["a"]}]);
    let labeled = |label: &str| {
        let labels = json!({"app": label});
        json!({"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}})
    };
    let role = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
    let job = json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": containers}}}});
    let binding = json!({"roleRef": {}, "subjects": []});
    let sealed = json!({"data": {"value": ""}, "immutable": true});
    let strings = ["a", "b"].map(Value::from);
    vec![
        Fixed::new(
            "deployment",
            object("apps/v1", "Deployment", json!({"spec": {}})),
            "/spec",
            ["a", "b"].map(labeled),
        ),
        Fixed::new(
            "job",
            object("batch/v1", "Job", job),
            "/spec/template/spec/containers/0/command/0",
            strings.clone(),
        ),
        Fixed::new(
            "pod",
            object("v1", "Pod", json!({"spec": {"containers": containers}})),
            "/spec/containers/0/command/0",
            strings.clone(),
        ),
        Fixed::new(
            "rolebinding",
            object("rbac.authorization.k8s.io/v1", "RoleBinding", binding),
            "/roleRef",
            ["a", "b"].map(role),
        ),
        Fixed::new(
            "service",
            object("v1", "Service", json!({"spec": {"clusterIP": "", "ports": [{"port": 80}]}})),
            "/spec/clusterIP",
            ["10.0.0.211", "10.0.0.212"].map(Value::from),
        ),
        Fixed::new("configmap", object("v1", "ConfigMap", sealed.clone()), "/data/value", strings.clone()),
        Fixed::new("secret", object("v1", "Secret", sealed), "/data/value", ["YQ==", "Yg=="].map(Value::from)),
        Fixed::new(
            "storageclass",
            object("storage.k8s.io/v1", "StorageClass", json!({"provisioner": ""})),
            "/provisioner",
            ["a.dev/a", "a.dev/b"].map(Value::from),
        ),
        Fixed::new(
            "priorityclass",
            object("scheduling.k8s.io/v1", "PriorityClass", json!({"value": 0})),
            "/value",
            [1, 2].map(Value::from),
        ),
        Fixed::new("seal", object(&format!("{group}/v1"), "Seal", json!({"spec": {"wax": ""}})), "/spec/wax", strings),
    ]
}

/// Returns the CRD of a kind with a field that can only be set once.
fn definition(group: &str, scope: &str) -> Value {
    let spec = json!({"type": "object", "properties": {"wax": {"type": "string",
        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "a seal is broken, not changed"}]}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("seals.{group}")},
        "spec": {"group": group, "scope": scope, "names": {"kind": "Seal", "plural": "seals"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}]},
    })
}

/// Creates a project with its namespace.
fn project(begins: &str) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    bench
        .write(".ktor.yaml", &format!("project: {ns}\ncleanup: true\nnamespace: {ns}\n"))
        .write("ns.yaml", &namespace(&ns));
    (bench, ns)
}

fn sealed(name: &str, value: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}, "immutable": true})
        .to_string()
}

fn uid(bench: &Bench, resource: &str, ns: &str) -> Option<String> {
    bench.get(resource, Some(ns)).map(|live| live["metadata"]["uid"].as_str().unwrap().to_owned())
}

#[test]
fn a5_what_cannot_be_changed_is_replaced_whatever_its_kind_and_only_where_allowed() {
    let (bench, ns) = project("fixed");
    let group = format!("{}.example.com", bench.root);
    bench.write("definition.json", &definition(&group, "Namespaced").to_string());
    let fixed = fixed(&group);
    // All objects have one name that no other project uses, because some of them are cluster-scoped.
    let write = |body: fn(&Fixed) -> &Value| {
        for one in &fixed {
            let mut body = body(one).clone();
            body["metadata"]["name"] = json!(ns);
            bench.write(&format!("{}.json", one.resource), &body.to_string());
        }
    };
    let named = |one: &Fixed| {
        if one.resource == "seal" { format!("seals.{group}/{ns}") } else { format!("{}/{ns}", one.resource) }
    };
    let uids = || -> BTreeMap<&str, Option<String>> {
        fixed.iter().map(|one| (one.resource, uid(&bench, &named(one), &ns))).collect()
    };
    write(|one| &one.before);
    bench.apply();
    let before = uids();
    assert!(before.values().all(Option::is_some), "{before:#?}");

    write(|one| &one.after);
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(3).json();
    // A finished Job needs no permission. It is blocked here, because an object of an earlier wave is kept.
    let count = |action: &str| plan["summary"][action].as_u64().unwrap();
    assert_eq!(count("keep") + count("blocked"), fixed.len() as u64, "{plan:#}");
    for one in fixed.iter().filter(|one| one.resource != "job") {
        let kind = one.after["kind"].as_str().unwrap();
        let mut changes = plan["changes"].as_array().unwrap().iter();
        let kept = changes.find(|change| change["key"]["kind"] == kind && change["action"] == "keep").unwrap();
        assert_eq!((&kept["reason"]["kind"], &kept["reason"]["guard"]), (&json!("guarded"), &json!("replacement")));
        assert!(!kept["diff"].as_array().unwrap().is_empty(), "{kind}: {plan:#}");
    }
    bench.ktor(&["apply", "--yes"]).exits(3).says("--allow-replacement allows it");
    assert_eq!(uids(), before);

    let ran = bench.ktor(&ALLOWED).exits(0).json();
    assert_eq!(ran["summary"]["replaced"], fixed.len(), "{ran:#}");
    let after = uids();
    for one in &fixed {
        assert!(after[one.resource].is_some() && after[one.resource] != before[one.resource], "{}", one.resource);
    }
    assert_eq!(bench.get(&format!("configmap/{ns}"), Some(&ns)).unwrap()["data"]["value"], "b");
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    bench.apply();
    assert_eq!(uids(), after);
}

/// Four cases are reported and change nothing: a mistake in the manifest, an object that cannot be tried as new, an
/// adopted object, and a protected object.
#[test]
fn a5_a_mistake_replaces_nothing_nor_does_what_is_adopted_or_protected() {
    let (bench, ns) = project("unfixed");
    let group = format!("{}.example.com", bench.root);
    let deployment = |replicas: i32| {
        let labels = json!({"app": "web"});
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": replicas,
            "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "example.invalid/c"}]}}}})
    };
    let service = |ip: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "port"},
            "spec": {"type": "NodePort", "clusterIP": ip, "ports": [{"port": 80, "nodePort": 31977}]}})
    };
    let kept = |value: &str| {
        let mut body: Value = serde_json::from_str(&sealed("kept", value)).unwrap();
        body["metadata"]["annotations"] = json!({"kubernator.io/cleanup": "keep"});
        body
    };
    bench.write("definition.json", &definition(&group, "Namespaced").to_string());
    bench.write("web.json", &deployment(1).to_string()).write("port.json", &service("10.0.0.213").to_string());
    bench.write("kept.json", &kept("a").to_string());
    bench.apply();
    bench.kubectl(&["create", "-n", &ns, "-f", "-"], &sealed("adopted", "a stranger's"));
    let resources = ["deployment/web", "service/port", "configmap/kept", "configmap/adopted"];
    let uids = || resources.map(|resource| uid(&bench, resource, &ns));
    let before = uids();

    bench.write("definition.json", &definition(&group, "Cluster").to_string());
    bench.write("web.json", &deployment(-1).to_string()).write("port.json", &service("10.0.0.214").to_string());
    bench.write("kept.json", &kept("b").to_string()).write("adopted.json", &sealed("adopted", "ours"));
    let plan = bench.ktor(&["plan", "-o", "json", "--allow-replacement"]).exits(1).json();
    let name = format!("seals.{group}");
    for (name, why) in [
        ("web", "it is refused as a new object too"),
        ("port", "it is refused as a new object too: spec.ports[0].nodePort"),
        ("kept", "it is not replaced, because its annotation kubernator.io/cleanup says so"),
        ("adopted", "immutable"),
        (&name, "immutable"),
    ] {
        let change = change(&plan, "changes", name);
        assert_eq!(change["action"], if name == "kept" { "keep" } else { "blocked" }, "{change:#}");
        assert!(change["reason"]["message"].as_str().unwrap().contains(why), "{change:#}");
    }
    let applied = outcomes(&bench.ktor(&ALLOWED).exits(1).json(), "applied");
    assert_eq!(applied.values().filter(|(verdict, _)| verdict == "failed").count(), 4, "{applied:#?}");
    assert_eq!(applied.values().filter(|(verdict, _)| verdict == "kept").count(), 1, "{applied:#?}");
    assert_eq!(uids(), before);
    assert_eq!(bench.get("configmap/adopted", Some(&ns)).unwrap()["data"]["value"], "a stranger's");
}

/// Starts an apply that replaces `x`, and holds its first request with this method that would change `x`.
async fn held(
    bench: &mut Bench,
    method: http::Method,
    spawn: fn(&Bench, &[&str]) -> Child,
) -> (Child, Gate, Recorder<'static>) {
    let gate = Gate::closed();
    let at = gate.clone();
    let recorder = Recorder::with_faults(bench.plane, move |entry| {
        let is_it = entry.persists() && entry.method == method && entry.path().ends_with("/configmaps/x");
        is_it.then(|| Fault::Hold(at.clone()))
    });
    let direct = bench.plane.kubeconfig(User::Admin);
    bench.through(recorder.kubeconfig(User::Admin));
    let run = spawn(bench, &ALLOWED);
    tokio::time::timeout(Duration::from_mins(2), gate.reached()).await.expect("the run comes to the gate");
    bench.through(direct);
    (run, gate, recorder)
}

/// This test also covers O11. The run is killed after the deletion of the old object. Its create request arrives before
/// the next run, or after that run has finished.
#[tokio::test(flavor = "multi_thread")]
async fn a5_o11_a_run_killed_while_it_replaces_is_finished_or_undone_by_the_next() {
    for (goal, is_late) in [(Some("b"), false), (None, false), (Some("b"), true), (None, true)] {
        let (mut bench, ns) = project("halfway");
        bench.write("x.json", &sealed("x", "a")).write("other.yaml", &config_map(&ns, "other", "1"));
        bench.apply();
        bench.write("x.json", &sealed("x", "b"));
        let (mut run, gate, _recorder) = held(&mut bench, http::Method::PATCH, Bench::spawn_brief).await;
        assert_eq!(bench.get("configmap/x", Some(&ns)), None);
        run.kill().unwrap();
        run.wait().unwrap();
        assert!(!bench.recorded().0, "phase one was recorded and phase two was not");
        if is_late {
            finish(&bench, &ns, goal);
        }
        gate.open();
        let began = Instant::now();
        while bench.get("configmap/x", Some(&ns)).is_none() {
            assert!(began.elapsed().as_secs() < 30, "the held request lands");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        finish(&bench, &ns, goal);
        finish(&bench, &ns, goal);
        bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
        let recorded = bench.recorded().1[&bench.root].iter().any(|entry| entry == "ConfigMap x");
        assert_eq!(recorded, goal.is_some(), "{:?}", bench.recorded());
    }
}

/// Applies the tree with this value of `x`, or without `x`.
fn finish(bench: &Bench, ns: &str, goal: Option<&str>) {
    match goal {
        Some(value) => drop(bench.write("x.json", &sealed("x", value))),
        None if bench.path().join("x.json").exists() => drop(bench.remove("x.json")),
        None => {}
    }
    bench.ktor(&["apply", "--yes", "--allow-replacement", "--lock-timeout", "2m"]).exits(0);
    let live = bench.get("configmap/x", Some(ns)).map(|x| x["data"]["value"].clone());
    assert_eq!(live, goal.map(Value::from));
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_c2_what_someone_made_anew_before_it_was_replaced_is_spared() {
    let (mut bench, ns) = project("overtaken");
    bench.write("x.json", &sealed("x", "a"));
    bench.apply();
    bench.write("x.json", &sealed("x", "b"));
    let (run, gate, _recorder) = held(&mut bench, http::Method::DELETE, Bench::spawn).await;
    bench.kubectl(&["delete", "configmap", "x", "-n", &ns], "");
    bench.kubectl(&["create", "-n", &ns, "-f", "-"], &sealed("x", "a stranger's"));
    gate.open();
    let ran = tokio::task::spawn_blocking(|| Bench::finished(run)).await.unwrap().exits(1);
    let (verdict, message) = &outcomes(&ran.json(), "applied")["ConfigMap x"];
    assert!(verdict == "failed" && message.contains("made it anew meanwhile"), "{verdict}: {message}");
    assert_eq!(bench.get("configmap/x", Some(&ns)).unwrap()["data"]["value"], "a stranger's");
}

//! The owner of an object: adoption, other roots, forged states, and objects that were created anew.

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use support::controlplane::{Fault, Gate, Recorder, User};

use super::bench::{Bench, change, config_map, namespace};

fn project(begins: &str) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    bench.kubectl(&["create", "namespace", &ns], "");
    (bench, ns)
}

/// Writes a forged state, as a user who may edit Secrets could.
pub fn forge_state(bench: &Bench, state: &Value) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(state.to_string().as_bytes()).unwrap();
    let data = base64::engine::general_purpose::STANDARD.encode(encoder.finish().unwrap());
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernator.io/project-state",
        "metadata": {"name": format!("kubernator-project-{}", bench.hash()), "namespace": "kubernator-system",
            "annotations": {"kubernator.io/project-root": bench.root}}, "data": {"state": data}});
    drop(bench.plane.kubectl(&["create", "namespace", "kubernator-system"]));
    bench.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &secret.to_string());
}

fn ident(namespace: &str, name: &str) -> Value {
    json!({"group": "", "kind": "ConfigMap", "name": name, "namespace": namespace, "version": "v1"})
}

#[test]
fn o3_a_recorded_or_pending_entry_without_our_live_mark_is_never_deleted() {
    let (bench, ns) = project("forged");
    for name in ["pending", "recorded"] {
        bench.kubectl(&["create", "-f", "-"], &config_map(&ns, name, "someone's"));
    }
    // Another tool wrote the annotation. It is a copy, and not our mark.
    let copied = config_map(&ns, "copied", "someone's")
        .replace("metadata:\n", &format!("metadata:\n  annotations: {{kubernator.io/project: {}}}\n", bench.root));
    bench.kubectl(&["create", "-f", "-"], &copied);
    let entries =
        |names: &[&str]| json!({bench.root.clone(): names.iter().map(|name| ident(&ns, name)).collect::<Vec<_>>()});
    forge_state(
        &bench,
        &json!({"version": "1", "finalized": false, "resources": entries(&["recorded", "copied"]), "pending": entries(&["pending"])}),
    );
    bench.write("own.yaml", &config_map(&ns, "own", "1"));
    let plan = bench.plan();
    assert_eq!(plan["summary"].get("delete").cloned().unwrap_or(json!(0)), 0, "{plan:#}");
    for name in ["pending", "recorded", "copied"] {
        assert_eq!(change(&plan, "cleanup", name)["action"], "release", "{plan:#}");
    }
    bench.apply();
    bench.apply();
    for name in ["pending", "recorded", "copied"] {
        let object = bench.get(&format!("configmap/{name}"), Some(&ns)).unwrap();
        assert_eq!(object["data"]["phase"], "someone's");
    }
    assert_eq!(bench.recorded().1[&bench.root], ["ConfigMap own"]);
}

#[test]
fn o4_unmarked_objects_are_adopted_and_another_roots_are_blocked() {
    let (bench, ns) = project("adopting");
    bench.kubectl(&["create", "--save-config=false", "-f", "-"], &config_map(&ns, "unmarked", "1"));
    bench.write("unmarked.yaml", &config_map(&ns, "unmarked", "1"));
    let plan = bench.plan();
    assert_eq!(change(&plan, "changes", "unmarked")["action"], "adopt", "{plan:#}");
    bench.ktor(&["apply", "--yes", "--no-adopt"]).exits(3).says("exists without a mark (leave out --no-adopt");
    bench.apply();
    let object = bench.get("configmap/unmarked", Some(&ns)).unwrap();
    assert_eq!(object["metadata"]["annotations"]["kubernator.io/project"], bench.root.as_str());

    let other = Bench::new("contender");
    other.write("unmarked.yaml", &config_map(&ns, "unmarked", "2"));
    let refused = other.ktor(&["apply", "--yes"]).exits(3);
    assert!(refused.stderr.contains(&bench.root) && refused.stderr.contains("unmarked"), "{refused:#?}");
    other.ktor(&["plan"]).exits(3);
    assert_eq!(other.recorded(), (true, BTreeMap::new()), "what is foreign is not recorded");
    assert_eq!(bench.get("configmap/unmarked", Some(&ns)).unwrap()["data"]["phase"], "1");
}

#[test]
fn x14_a_strangers_mark_blocks_the_object_alone_and_the_advice_works() {
    let (bench, ns) = project("evil");
    for name in ["config", "other"] {
        bench.write(&format!("{name}.yaml"), &config_map(&ns, name, "1"));
    }
    bench.apply();
    bench.kubectl(&["annotate", "--overwrite", "configmap", "config", "-n", &ns, "kubernator.io/project=evil.x"], "");
    for name in ["config", "other"] {
        bench.write(&format!("{name}.yaml"), &config_map(&ns, name, "2"));
    }
    let phase = |name: &str| bench.get(&format!("configmap/{name}"), Some(&ns)).unwrap()["data"]["phase"].clone();
    let object = format!("ConfigMap {ns}/config");
    let advice = format!("--take-over '{object}' takes it over");
    bench.ktor(&["apply", "--yes"]).exits(3).says("belongs to project evil.x").says(&advice);
    assert_eq!((phase("config"), phase("other")), ("1".into(), "2".into()), "it blocks itself, and not the run");
    let (finalized, recorded) = bench.recorded();
    assert!(finalized && recorded[&bench.root].contains(&"ConfigMap config".to_owned()), "{recorded:?}");

    bench.ktor(&["apply", "--yes", "--take-over", &object]).exits(0);
    assert_eq!(phase("config"), "2");
    let live = bench.get("configmap/config", Some(&ns)).unwrap();
    assert_eq!(live["metadata"]["annotations"]["kubernator.io/project"], bench.root.as_str());
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn o11_an_adopted_object_with_an_immutable_difference_is_refused_not_replaced() {
    let (bench, ns) = project("immutable");
    let immutable = |value: &str| format!("{}immutable: true\n", config_map(&ns, "sealed", value));
    bench.kubectl(&["create", "--save-config=false", "-f", "-"], &immutable("theirs"));
    bench.write("sealed.yaml", &immutable("ours")).write("own.yaml", &config_map(&ns, "own", "1"));
    let before = bench.get("configmap/sealed", Some(&ns)).unwrap();
    let ran = bench.ktor(&["plan", "-o", "json"]).exits(1);
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
    let blocked = change(&plan, "changes", "sealed");
    assert_eq!(blocked["action"], "blocked", "{plan:#}");
    assert!(blocked["reason"]["message"].as_str().unwrap().contains("field is immutable"), "{blocked:#}");
    bench.ktor(&["apply", "--yes"]).exits(1).says("field is immutable");
    assert_eq!(bench.get("configmap/sealed", Some(&ns)).unwrap(), before, "not replaced, and not touched");

    // The object was recorded before the apply, and never became ours.
    bench.remove("sealed.yaml");
    bench.apply();
    bench.apply();
    assert_eq!(bench.get("configmap/sealed", Some(&ns)).unwrap(), before, "released");
    assert_eq!(bench.recorded().1[&bench.root], ["ConfigMap own"]);
}

#[test]
fn c2_what_someone_recreated_or_another_root_marked_is_released() {
    let (bench, ns) = project("recreated");
    for name in ["recreated", "copied", "taken"] {
        bench.write(&format!("{name}.yaml"), &config_map(&ns, name, "1"));
    }
    bench.apply();
    bench.kubectl(&["delete", "configmap", "recreated", "copied", "taken", "-n", &ns], "");
    bench.kubectl(&["create", "-f", "-"], &config_map(&ns, "recreated", "2"));
    let marked = |name: &str, root: &str, hash: &str| {
        config_map(&ns, name, "2").replace(
            "metadata:\n",
            &format!("metadata:\n  annotations: {{kubernator.io/project: {root}}}\n  labels: {{kubernator.io/root: {hash:?}}}\n"),
        )
    };
    // A backup tool restored our marks together with everything else. The field manager of the marks is the backup
    // tool.
    bench.kubectl(&["create", "-f", "-"], &marked("copied", &bench.root, &bench.hash()));
    let other = Bench::new("taker");
    other.write("taken.yaml", &config_map(&ns, "taken", "2"));
    other.apply();

    for name in ["recreated", "copied", "taken"] {
        bench.remove(&format!("{name}.yaml"));
    }
    bench.write("own.yaml", &config_map(&ns, "own", "1"));
    let plan = bench.plan();
    for name in ["recreated", "copied", "taken"] {
        assert_eq!(change(&plan, "cleanup", name)["action"], "release", "{plan:#}");
    }
    bench.apply();
    for name in ["recreated", "copied", "taken"] {
        assert_eq!(bench.get(&format!("configmap/{name}"), Some(&ns)).unwrap()["data"]["phase"], "2", "{name}");
    }
    assert_eq!(bench.recorded().1[&bench.root], ["ConfigMap own"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_an_object_recreated_between_look_and_delete_is_spared() {
    let (mut bench, ns) = project("raced");
    bench.write("raced.yaml", &config_map(&ns, "raced", "1")).write("own.yaml", &config_map(&ns, "own", "1"));
    bench.apply();
    bench.remove("raced.yaml");
    let gate = Gate::closed();
    let held = gate.clone();
    let recorder = Recorder::with_faults(bench.plane, move |entry| {
        let is_deletion = entry.persists() && entry.method == http::Method::DELETE && entry.path().ends_with("/raced");
        is_deletion.then(|| Fault::Hold(held.clone()))
    });
    bench.through(recorder.kubeconfig(User::Admin));
    let run = bench.spawn(&["apply", "--yes", "-o", "json"]);
    gate.reached().await;
    bench.kubectl(&["delete", "configmap", "raced", "-n", &ns], "");
    bench.kubectl(&["create", "-f", "-"], &config_map(&ns, "raced", "2"));
    gate.open();
    let ran = tokio::task::spawn_blocking(|| Bench::finished(run)).await.unwrap();
    ran.exits(0);
    assert_eq!(bench.get("configmap/raced", Some(&ns)).unwrap()["data"]["phase"], "2");
}

#[test]
fn namespaces_content_of_a_lost_state_is_not_a_first_run() {
    let bench = Bench::new("lost");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("x.yaml", &config_map(&ns, "x", "1"));
    bench.apply();
    bench
        .kubectl(&["delete", "secret", "-n", "kubernator-system", &format!("kubernator-project-{}", bench.hash())], "");
    bench.ktor(&["apply", "--yes"]).exits(1).says("there is no state for root").says("ktor state rebuild");
    assert_eq!(bench.lease(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn o13_what_appears_between_its_read_and_its_dry_run_is_planned_as_it_is() {
    let (mut bench, ns) = project("appearing");
    bench.write("config.yaml", &config_map(&ns, "config", "1"));
    bench.apply();
    bench.kubectl(&["delete", "configmap", "config", "-n", &ns], "");
    let gate = Gate::closed();
    let held = gate.clone();
    let recorder = Recorder::with_faults(bench.plane, move |entry| {
        let is_dry_run = entry.method == http::Method::PATCH && !entry.persists();
        let is_it = is_dry_run && entry.path().ends_with("/configmaps/config") && !held.is_reached();
        is_it.then(|| Fault::Hold(held.clone()))
    });
    bench.through(recorder.kubeconfig(User::Admin));
    let run = bench.spawn(&["plan", "-o", "json"]);
    gate.reached().await;
    bench.kubectl(&["create", "-f", "-"], &config_map(&ns, "config", "2"));
    gate.open();
    let plan = tokio::task::spawn_blocking(|| Bench::finished(run)).await.unwrap().exits(0).json();
    assert_eq!(change(&plan, "changes", "config")["action"], "adopt", "{plan:#}");
}

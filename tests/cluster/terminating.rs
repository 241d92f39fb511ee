//! Desired objects that are being deleted. A run waits for the deletion and creates them anew, or it names the
//! finalizers that block it.

use std::time::Duration;

use serde_json::{Value, json};
use support::controlplane::{Fault, Gate, Recorder, User};

use super::bench::{Bench, Ran, change, config_map, namespace};
use super::deletion::{definition, hold, outcomes, till};

/// Starts an apply while an object is being deleted, and removes its finalizer after two seconds.
fn applied_while(bench: &Bench, lift: impl FnOnce()) -> Ran {
    let run = bench.spawn(&["apply", "--yes", "-o", "json"]);
    std::thread::sleep(Duration::from_secs(2));
    lift();
    Bench::finished(run)
}

fn uid(live: Option<Value>) -> Value {
    live.expect("it is there")["metadata"]["uid"].clone()
}

#[test]
fn a10_an_object_that_is_being_deleted_is_waited_for_and_created() {
    let bench = Bench::new("leaving");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns));
    for name in ["same", "changed"] {
        bench.write(&format!("{name}.yaml"), &config_map(&ns, name, "1"));
    }
    bench.apply();
    bench.write("changed.yaml", &config_map(&ns, "changed", "2"));
    let config = |name: &str| bench.get(&format!("configmap/{name}"), Some(&ns));
    let before = ["same", "changed"].map(|name| uid(config(name)));
    for name in ["same", "changed"] {
        hold(&bench, &format!("configmap/{name}"), &ns, &json!(["a.dev/hold"]));
        bench.kubectl(&["delete", "configmap", name, "-n", &ns, "--wait=false"], "");
    }
    let plan = bench.ktor(&["plan", "-o", "json", "--detailed-exitcode"]).exits(2).json();
    for name in ["same", "changed"] {
        let planned = change(&plan, "changes", name);
        assert_eq!((&planned["action"], &planned["reason"]["kind"]), (&json!("create"), &json!("terminating")));
        assert!(planned["reason"]["message"].as_str().unwrap().contains("held by a.dev/hold"), "{plan:#}");
    }
    // The finalizer stays, so the run names it and never applies the object.
    let ran = bench.impatient(&["apply", "--yes", "-o", "json"]).exits(1).says("held by a.dev/hold");
    let applied = outcomes(&ran.json(), "applied");
    for name in ["same", "changed"] {
        let (verdict, message) = &applied[&format!("ConfigMap {name}")];
        assert!(verdict == "failed" && message.contains("held by a.dev/hold"), "{applied:#?}");
    }
    assert_eq!(config("changed").unwrap()["data"]["phase"], "1");

    let lift =
        || ["same", "changed"].iter().for_each(|name| hold(&bench, &format!("configmap/{name}"), &ns, &json!(null)));
    let applied = outcomes(&applied_while(&bench, lift).exits(0).json(), "applied");
    for (name, before) in ["same", "changed"].iter().zip(before) {
        assert_eq!(applied[&format!("ConfigMap {name}")].0, "created", "{applied:#?}");
        assert_ne!(uid(config(name)), before);
    }
    assert_eq!(config("changed").unwrap()["data"]["phase"], "2");
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn a10_a_namespace_that_is_being_deleted_is_waited_for_with_what_lies_in_it() {
    let bench = Bench::new("emptying");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("config.yaml", &config_map(&ns, "config", "1"));
    bench.apply();
    let before = uid(bench.get(&format!("namespace/{ns}"), None));
    bench.kubectl(&["create", "configmap", "stuck", "-n", &ns], "");
    hold(&bench, "configmap/stuck", &ns, &json!(["a.dev/hold"]));
    hold(&bench, "configmap/config", &ns, &json!(["b.dev/hold"]));
    bench.kubectl(&["delete", "namespace", &ns, "--wait=false"], "");
    let told = "--for=condition=NamespaceFinalizersRemaining";
    bench.kubectl(&["wait", told, &format!("namespace/{ns}"), "--timeout=60s"], "");
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
    assert_eq!((&plan["summary"]["create"], &plan["summary"]["unchanged"]), (&json!(2), &json!(0)), "{plan:#}");

    let ran = bench.impatient(&["apply", "--yes", "-o", "json"]).exits(1).says("a.dev/hold");
    let applied = outcomes(&ran.json(), "applied");
    let (verdict, message) = &applied[&format!("Namespace {ns}")];
    assert!(verdict == "failed" && message.contains("a.dev/hold"), "{applied:#?}");
    assert_eq!(applied["ConfigMap config"].0, "skipped", "{applied:#?}");

    let lift = || {
        hold(&bench, "configmap/stuck", &ns, &json!(null));
        hold(&bench, "configmap/config", &ns, &json!(null));
    };
    let applied = outcomes(&applied_while(&bench, lift).exits(0).json(), "applied");
    assert!(applied.values().all(|(verdict, _)| verdict == "created"), "{applied:#?}");
    assert_ne!(uid(bench.get(&format!("namespace/{ns}"), None)), before);
    assert_eq!(bench.get("configmap/config", Some(&ns)).unwrap()["data"]["phase"], "1");
    assert_eq!(bench.get("configmap/stuck", Some(&ns)), None);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn a10_what_lies_in_someone_elses_vanishing_namespace_is_never_as_desired() {
    let bench = Bench::new("evicted");
    let ns = bench.root.clone();
    bench.kubectl(&["create", "namespace", &ns], "");
    bench.write("config.yaml", &config_map(&ns, "config", "1"));
    bench.apply();
    hold(&bench, "configmap/config", &ns, &json!(["a.dev/hold"]));
    bench.kubectl(&["delete", "namespace", &ns, "--wait=false"], "");
    let words = format!("its namespace {ns} is being deleted");
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(1).json();
    let planned = change(&plan, "changes", "config");
    assert_eq!(planned["action"], "blocked", "{plan:#}");
    assert!(planned["reason"]["message"].as_str().unwrap().contains(&words), "{plan:#}");
    let ran = bench.ktor(&["apply", "--yes", "-o", "json"]).exits(1).says(&words);
    assert_eq!(outcomes(&ran.json(), "applied")["ConfigMap config"].0, "failed");
    hold(&bench, "configmap/config", &ns, &json!(null));
    bench.kubectl(&["wait", "--for=delete", &format!("namespace/{ns}"), "--timeout=60s"], "");
    bench.kubectl(&["create", "namespace", &ns], "");
    bench.apply();
    assert!(bench.get("configmap/config", Some(&ns)).is_some());
}

#[test]
fn a10_a_definition_that_is_being_deleted_is_waited_for_with_its_custom_resources() {
    let bench = Bench::new("undefining");
    let (ns, group) = (bench.root.clone(), format!("{}.example.com", bench.root));
    let crd = format!("tills.{group}");
    bench.write("ns.yaml", &namespace(&ns)).write("crd.json", &definition(&group));
    bench.write("front.json", &till(&group, &ns, "front"));
    bench.apply();
    let before = uid(bench.get(&format!("crd/{crd}"), None));
    bench.kubectl(&["create", "-f", "-"], &till(&group, &ns, "stuck"));
    hold(&bench, &format!("{crd}/stuck"), &ns, &json!(["a.dev/hold"]));
    bench.kubectl(&["delete", "crd", &crd, "--wait=false"], "");
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
    assert_eq!(change(&plan, "changes", &crd)["reason"]["kind"], "terminating", "{plan:#}");
    assert_eq!(change(&plan, "changes", "front")["action"], "create", "{plan:#}");

    let ran = bench.impatient(&["apply", "--yes", "-o", "json"]).exits(1).says(&crd).says("is being deleted");
    let applied = outcomes(&ran.json(), "applied");
    assert_eq!(applied[&format!("CustomResourceDefinition {crd}")].0, "failed", "{applied:#?}");
    assert_eq!(applied["Till front"].0, "skipped", "{applied:#?}");

    let lift = || hold(&bench, &format!("{crd}/stuck"), &ns, &json!(null));
    let applied = outcomes(&applied_while(&bench, lift).exits(0).json(), "applied");
    assert_eq!(
        (&*applied["Till front"].0, &*applied[&format!("CustomResourceDefinition {crd}")].0),
        ("created", "created")
    );
    assert_ne!(uid(bench.get(&format!("crd/{crd}"), None)), before);
    assert!(bench.get(&format!("{crd}/front"), Some(&ns)).is_some());
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

/// Deletes an object during a run's first change of it, and lets the run finish.
async fn vanishes_meanwhile(bench: &mut Bench, (kind, name, ns): (&str, &str, Option<&str>), ours: bool) {
    let what = format!("{kind}/{name}");
    let place = ns.map_or_else(Vec::new, |ns| vec!["-n", ns]);
    let before = uid(bench.get(&what, ns));
    let direct = bench.plane.kubeconfig(User::Admin);
    let gate = Gate::closed();
    let held = gate.clone();
    let end = format!("s/{name}");
    let recorder = Recorder::with_faults(bench.plane, move |entry| {
        let is_change = entry.method == http::Method::PATCH && entry.persists() && entry.path().ends_with(&end);
        (is_change && !held.is_reached()).then(|| Fault::Hold(held.clone()))
    });
    bench.through(recorder.kubeconfig(User::Admin));
    let run = bench.spawn(&["apply", "--yes", "-o", "json"]);
    gate.reached().await;
    bench.kubectl(&[["delete", &what].as_slice(), &place].concat(), "");
    gate.open();
    let ran = tokio::task::spawn_blocking(|| Bench::finished(run)).await.unwrap().exits(0);
    bench.through(direct);
    let (verdict, _) =
        &outcomes(&ran.json(), "applied")[&format!("{} {name}", if ns.is_some() { "ConfigMap" } else { "Namespace" })];
    assert_eq!(verdict, "created", "{what}, ours {ours}: {ran:#?}");
    assert_ne!(uid(bench.get(&what, ns)), before);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_what_vanishes_while_it_is_changed_is_created() {
    let mut bench = Bench::new("vanishing");
    let (ns, other) = (bench.root.clone(), format!("{}-other", bench.root));
    bench.write("ns.yaml", &namespace(&ns)).write("other.yaml", &namespace(&other));
    bench.write("config.yaml", &config_map(&ns, "config", "1"));
    // An object that is not ours yet is migrated before it is applied.
    bench.kubectl(&["create", "namespace", &ns], "");
    bench.kubectl(&["create", "namespace", &other], "");
    bench.kubectl(&["create", "configmap", "config", "-n", &ns, "--from-literal=phase=0", "--from-literal=old=1"], "");
    vanishes_meanwhile(&mut bench, ("configmap", "config", Some(&ns)), false).await;
    bench.write("other.yaml", &format!("{}  labels: {{phase: '1'}}\n", namespace(&other)));
    bench.write("config.yaml", &config_map(&ns, "config", "2"));
    vanishes_meanwhile(&mut bench, ("configmap", "config", Some(&ns)), true).await;
    bench.write("other.yaml", &format!("{}  labels: {{phase: '2'}}\n", namespace(&other)));
    vanishes_meanwhile(&mut bench, ("namespace", &other, None), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_a_namespace_that_vanishes_while_it_is_taken_over_is_created() {
    let mut bench = Bench::new("vanishing");
    let other = format!("{}-other", bench.root);
    bench.write("other.yaml", &namespace(&other));
    bench.kubectl(&["create", "-f", "-"], &format!("{}  labels: {{phase: '0'}}\n", namespace(&other)));
    vanishes_meanwhile(&mut bench, ("namespace", &other, None), false).await;
}

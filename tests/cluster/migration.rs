//! Objects that other tools created. ktor takes over their fields once, and then removes the fields that the manifest
//! lacks.

use serde_json::{Value, json};
use support::controlplane::{Entry, Fault, Gate, Recorder, User};

use super::bench::{Bench, Ran, change, config_map};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The ways in which the objects were created: name and kubectl's arguments.
const MAKERS: [(&str, &[&str]); 3] = [
    ("applied", &["apply", "-f", "-"]),
    ("created", &["create", "-f", "-"]),
    ("kubernator", &["create", "--field-manager=kubernator", "-f", "-"]),
];

fn project(begins: &str) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    bench.kubectl(&["create", "namespace", &ns], "");
    (bench, ns)
}

fn objects(ns: &str, labels: &Value, data: &Value, env: &Value) -> [Value; 2] {
    let (app, metadata) =
        (json!({"app": "web"}), |name: &str| json!({"name": name, "namespace": ns, "labels": labels}));
    [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("config"), "data": data}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("web"),
            "spec": {"replicas": 1, "selector": {"matchLabels": app}, "template": {"metadata": {"labels": app},
                "spec": {"containers": [{"name": "web", "image": "example.invalid/web", "env": env}]}}}}),
    ]
}

fn make(bench: &Bench, how: &[&str], maker: &str, objects: &[Value]) {
    for object in objects {
        let mut object = object.clone();
        if maker == "kubernator" {
            object["metadata"]["annotations"] = json!({"kubernator.io/project": bench.root});
        }
        bench.kubectl(how, &object.to_string());
    }
}

/// Returns the content that a person wrote or the server filled in, without the bookkeeping of ktor and other tools.
fn content(object: &Value) -> Value {
    let mut content = json!({"labels": object["metadata"]["labels"], "data": object["data"], "spec": object["spec"]});
    if let Some(labels) = content["labels"].as_object_mut() {
        labels.remove("kubernator.io/root");
    }
    content
}

/// Returns a plan that shows the live values of objects that are not ours yet.
fn shown(bench: &Bench) -> Value {
    bench.ktor(&["plan", "-o", "json", "--show-adopted"]).json()
}

fn paths(change: &Value) -> Vec<String> {
    let lines = change["diff"].as_array().unwrap();
    lines.iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect()
}

fn is_migration(entry: &Entry) -> bool {
    entry.persists() && String::from_utf8_lossy(&entry.body).contains("/metadata/managedFields")
}

fn is_apply_of(entry: &Entry, name: &str) -> bool {
    entry.persists() && entry.target.contains("force=") && entry.path().ends_with(&format!("/{name}"))
}

#[test]
fn a1_what_the_manifest_lacks_disappears_whoever_made_the_object() {
    for (maker, how) in MAKERS {
        let (bench, ns) = project(&format!("a1-{maker}"));
        let variable = |name: &str, value: &str| json!({"name": name, "value": value});
        let labels = json!({"kept": "1", "dropped": "1"});
        let data = json!({"kept": "1", "changed": "1", "dropped": "1"});
        let env = json!([variable("KEPT", "1"), variable("DROPPED", "1"), variable("CHANGED", "1")]);
        make(&bench, how, maker, &objects(&ns, &labels, &data, &env));
        // This field belongs to another manager and is in no manifest. A run must not take it.
        bench.kubectl(&["label", "configmap/config", "deployment/web", "-n", &ns, "foreign=1"], "");
        let get = |name: &str| bench.get(name, Some(&ns)).unwrap();
        let mut expected = [get("configmap/config"), get("deployment/web")].map(|object| content(&object));
        for object in &mut expected {
            object["labels"] = json!({"kept": "1", "foreign": "1"});
        }
        expected[0]["data"] = json!({"kept": "1", "changed": "2"});
        expected[1]["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([variable("KEPT", "1"), variable("CHANGED", "2")]);

        let env = json!([variable("KEPT", "1"), variable("CHANGED", "2")]);
        let [config, web] = objects(&ns, &json!({"kept": "1"}), &json!({"kept": "1", "changed": "2"}), &env);
        bench.write("config.json", &config.to_string()).write("web.json", &web.to_string());
        let plan = shown(&bench);
        let (action, more) = match maker {
            "kubernator" => ("update", vec![]),
            "applied" => ("adopt", vec![format!("metadata.annotations.{LAST_APPLIED}")]),
            _ => ("adopt", vec![]),
        };
        let container = "spec.template.spec.containers[name=web].env";
        for (name, fields) in [
            ("config", vec!["data.changed".to_owned(), "data.dropped".to_owned()]),
            ("web", vec![format!("{container}[name=CHANGED].value"), format!("{container}[name=DROPPED]")]),
        ] {
            let change = change(&plan, "changes", name);
            assert_eq!(change["action"], action, "{maker}: {plan:#}");
            let mut fields: Vec<String> =
                fields.into_iter().chain(["metadata.labels.dropped".to_owned()]).chain(more.clone()).collect();
            let mut shown = paths(change);
            fields.sort();
            shown.sort();
            assert_eq!(shown, fields, "{maker} {name}");
        }
        bench.apply();
        let after = [get("configmap/config"), get("deployment/web")];
        assert_eq!(after.clone().map(|object| content(&object)), expected, "{maker}");
        for object in &after {
            assert_eq!(object["metadata"]["annotations"][LAST_APPLIED], Value::Null);
            assert_eq!(object["metadata"]["annotations"]["kubernator.io/project"], bench.root.as_str());
            assert_eq!(object["metadata"]["labels"]["kubernator.io/root"], bench.hash());
            let entries = object["metadata"]["managedFields"].as_array().unwrap();
            let ours = format!("ktor-{}", bench.root);
            let by = |manager: &str| entries.iter().filter(|entry| entry["manager"] == manager).count();
            let older = ["kubernator", "kubectl-create", "kubectl-client-side-apply"].map(by);
            assert_eq!((by(&ours), older), (1, [0, 0, 0]), "{maker}: {entries:#?}");
        }
        bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
        let outcome = bench.apply();
        assert_eq!(outcome["summary"]["unchanged"], 2, "{outcome:#}");
        let versions = |objects: [Value; 2]| objects.map(|object| object["metadata"]["resourceVersion"].clone());
        assert_eq!(versions([get("configmap/config"), get("deployment/web")]), versions(after), "{maker}");
    }
}

#[test]
fn a1_a_take_over_where_nothing_differs_changes_metadata_only_and_costs_one_request_once() {
    for (maker, how) in MAKERS {
        let (mut bench, ns) = project(&format!("same-{maker}"));
        let (labels, data) = (json!({"kept": "1"}), json!({"kept": "1"}));
        let made = objects(&ns, &labels, &data, &json!([{"name": "A", "value": "1"}]));
        make(&bench, how, maker, &made);
        bench.write("config.json", &made[0].to_string()).write("web.json", &made[1].to_string());
        bench.write("own.yaml", &config_map(&ns, "own", "1"));
        let before = bench.get("deployment/web", Some(&ns)).unwrap();
        let plan = shown(&bench);
        for name in ["config", "web"] {
            let change = change(&plan, "changes", name);
            let bookkeeping =
                if maker == "applied" { vec![format!("metadata.annotations.{LAST_APPLIED}")] } else { vec![] };
            assert_eq!(paths(change), bookkeeping, "{maker}");
            if maker == "kubernator" {
                assert_eq!((&change["action"], &change["reason"]["kind"]), (&json!("update"), &json!("take-over")));
            } else {
                assert_eq!(change["action"], "adopt");
            }
        }
        let recorder = Recorder::start(bench.plane);
        bench.through(recorder.kubeconfig(User::Admin));
        bench.apply();
        let migrations = || recorder.journal().iter().filter(|entry| is_migration(entry)).count();
        assert_eq!(migrations(), 2, "{maker}: one for each object that another tool made, none for a new one");
        bench.apply();
        assert_eq!(migrations(), 2);
        let after = bench.get("deployment/web", Some(&ns)).unwrap();
        assert_eq!(content(&after), content(&before));
        bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    }
}

#[test]
fn a1_a_later_client_side_apply_is_migrated_again_and_a_hand_edit_conflicts() {
    let (bench, ns) = project("later");
    bench.write("config.yaml", &config_map(&ns, "config", "1"));
    bench.apply();
    bench.kubectl(&["apply", "-f", "-"], &(config_map(&ns, "config", "1") + "  added: \"1\"\n"));
    let plan = bench.plan();
    let update = change(&plan, "changes", "config");
    assert_eq!(update["action"], "update");
    assert!(paths(update).contains(&"data.added".to_owned()), "{plan:#}");
    bench.apply();
    assert_eq!(bench.get("configmap/config", Some(&ns)).unwrap()["data"], json!({"phase": "1"}));
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);

    bench.kubectl(&["patch", "configmap", "config", "-n", &ns, "-p", r#"{"data":{"phase":"by hand"}}"#], "");
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(3).json();
    let blocked = change(&plan, "changes", "config");
    let words = blocked["reason"]["message"].as_str().unwrap();
    assert!(words.starts_with("conflict: .data.phase is held by kubectl-patch: "), "{plan:#}");
}

#[test]
fn a1_what_the_server_does_not_let_go_of_stays_and_is_said() {
    let (bench, ns) = project("immutable");
    let mut object: Value = json!({"apiVersion": "v1", "kind": "ConfigMap", "immutable": true, "data": {"a": "1", "b": "1"},
        "metadata": {"name": "config", "namespace": ns, "labels": {"dropped": "1"}}});
    bench.kubectl(&["create", "-f", "-"], &object.to_string());
    object["data"] = json!({"a": "1"});
    object["metadata"]["labels"] = json!({});
    bench.write("config.json", &object.to_string());
    let plan = shown(&bench);
    assert_eq!(paths(change(&plan, "changes", "config")), ["metadata.labels.dropped"], "{plan:#}");
    assert!(plan["notices"].to_string().contains("refuses to remove them"), "{plan:#}");
    bench.apply();
    let after = bench.get("configmap/config", Some(&ns)).unwrap();
    assert_eq!((&after["data"], content(&after)["labels"].clone()), (&json!({"a": "1", "b": "1"}), json!({})));
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

/// Creates a project with one object that kubectl created. The object has a key that the manifest lacks.
fn legacy(begins: &str) -> (Bench, String) {
    let (bench, ns) = project(begins);
    bench.kubectl(&["create", "-f", "-"], &(config_map(&ns, "config", "1") + "  dropped: \"1\"\n"));
    bench.write("config.yaml", &config_map(&ns, "config", "1"));
    (bench, ns)
}

fn data(bench: &Bench, ns: &str) -> Value {
    bench.get("configmap/config", Some(ns)).unwrap()["data"].clone()
}

/// Kills a run at the first request that matches, which never arrives. Another run then finishes the work.
async fn killed_at(begins: &str, is_it: impl Fn(&Entry) -> bool + Send + Sync + 'static) {
    let (mut bench, ns) = legacy(begins);
    let direct = bench.plane.kubeconfig(User::Admin);
    let gate = Gate::closed();
    let held = gate.clone();
    let recorder = Recorder::with_faults(bench.plane, move |entry| is_it(entry).then(|| Fault::Hold(held.clone())));
    bench.through(recorder.kubeconfig(User::Admin));
    let mut run = bench.spawn(&["apply", "--yes"]);
    gate.reached().await;
    run.kill().unwrap();
    run.wait().unwrap();
    drop(recorder);
    bench.through(direct);
    assert_eq!(data(&bench, &ns), json!({"phase": "1", "dropped": "1"}));
    let plan = bench.ktor(&["plan", "-o", "json", "--show-adopted"]).json();
    assert_eq!(paths(change(&plan, "changes", "config")), ["data.dropped"], "{plan:#}");
    bench.ktor(&["apply", "--yes"]).exits(0);
    assert_eq!(data(&bench, &ns), json!({"phase": "1"}));
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_a_run_killed_before_a_migration_is_finished_by_the_next() {
    killed_at("before", is_migration).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_a_run_killed_between_a_migration_and_its_apply_is_finished_by_the_next() {
    killed_at("between", |entry| is_apply_of(entry, "config")).await;
}

#[test]
fn a6_a_migration_whose_answer_is_lost_is_looked_at_and_not_sent_again() {
    let (mut bench, ns) = legacy("lost");
    let once = std::sync::atomic::AtomicBool::new(true);
    let recorder = Recorder::with_faults(bench.plane, move |entry| {
        (is_migration(entry) && once.swap(false, std::sync::atomic::Ordering::Relaxed)).then_some(Fault::DropAnswer)
    });
    bench.through(recorder.kubeconfig(User::Admin));
    bench.ktor(&["apply", "--yes"]).exits(0);
    assert_eq!(data(&bench, &ns), json!({"phase": "1"}));
}

/// Holds a migration, lets `meddle` change the object, and continues the migration.
async fn raced(begins: &str, meddle: impl FnOnce(&Bench, &str)) -> (Bench, String, Ran) {
    let (mut bench, ns) = legacy(begins);
    let gate = Gate::closed();
    let held = gate.clone();
    let recorder =
        Recorder::with_faults(bench.plane, move |entry| is_migration(entry).then(|| Fault::Hold(held.clone())));
    bench.through(recorder.kubeconfig(User::Admin));
    let run = bench.spawn(&["apply", "--yes"]);
    gate.reached().await;
    meddle(&bench, &ns);
    gate.open();
    let ran = tokio::task::spawn_blocking(|| Bench::finished(run)).await.unwrap();
    let conflicts =
        recorder.journal().iter().filter(|entry| is_migration(entry) && entry.status.is_some_and(|s| s != 200)).count();
    assert_eq!(conflicts, 1);
    (bench, ns, ran)
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_a_migration_of_an_object_that_changed_is_decided_anew() {
    let label =
        |bench: &Bench, ns: &str| drop(bench.kubectl(&["label", "configmap", "config", "-n", ns, "foreign=1"], ""));
    let (bench, ns, ran) = raced("labelled", label).await;
    ran.exits(0);
    assert_eq!(data(&bench, &ns), json!({"phase": "1"}));
    assert_eq!(bench.get("configmap/config", Some(&ns)).unwrap()["metadata"]["labels"]["foreign"], "1");

    // A key that was not in the plan is not removed.
    let add = |bench: &Bench, ns: &str| {
        let more = config_map(ns, "config", "1") + "  dropped: \"1\"\n  unseen: \"1\"\n";
        bench.kubectl(&["replace", "-f", "-"], &more);
    };
    let (bench, ns, ran) = raced("added", add).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.stdout.contains("changed after the plan was made"), "{ran:#?}");
    assert_eq!(data(&bench, &ns), json!({"phase": "1", "dropped": "1", "unseen": "1"}));

    let recreate = |bench: &Bench, ns: &str| {
        bench.kubectl(&["delete", "configmap", "config", "-n", ns], "");
        bench.kubectl(&["create", "-f", "-"], &config_map(ns, "config", "another's"));
    };
    let (bench, ns, ran) = raced("recreated", recreate).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert_eq!(data(&bench, &ns), json!({"phase": "another's"}));
}

#[test]
fn o4_another_roots_object_is_blocked_by_its_names_and_taken_over_when_asked() {
    let (owner, ns) = project("owner");
    owner.write("sub/.ktor.yaml", "project: sub\n");
    for name in ["config", "second"] {
        owner.write(&format!("sub/{name}.yaml"), &(config_map(&ns, name, "1") + "  theirs: \"1\"\n"));
    }
    owner.write("own.yaml", &config_map(&ns, "own", "1"));
    owner.apply();

    let taker = Bench::new("taker");
    taker.write("config.yaml", &config_map(&ns, "config", "2")).write("second.yaml", &config_map(&ns, "second", "2"));
    let object = format!("ConfigMap {ns}/config");
    let blocked = format!("{object} stays as it is: belongs to project {0}.sub of root {0}", owner.root);
    let hint = format!("--take-over '{object}' takes it over");
    taker.ktor(&["apply", "--yes"]).exits(3).says(&blocked).says(&hint);
    assert_eq!(data(&taker, &ns), json!({"phase": "1", "theirs": "1"}));
    let shown = ["plan", "-o", "json", "--take-over", &owner.root, "--no-adopt", "--show-adopted"];
    let plan = taker.ktor(&shown).exits(0).json();
    let adopted = change(&plan, "changes", "config");
    assert_eq!((&adopted["action"], &adopted["reason"]["kind"]), (&json!("adopt"), &json!("taken-from")), "{plan:#}");
    assert_eq!(paths(adopted), ["data.phase", "data.theirs"]);
    // The option names one object. The other object is blocked as before.
    let second = format!("ConfigMap {ns}/second stays as it is: belongs");
    taker.ktor(&["apply", "--yes", "--take-over", &object]).exits(3).says(&second);
    assert_eq!(data(&taker, &ns), json!({"phase": "2"}));
    assert_eq!(taker.recorded().1[&taker.root], ["ConfigMap config"]);
    taker.remove("second.yaml");
    // The flag is no longer needed, and there is nothing left to do.
    taker.ktor(&["plan", "--detailed-exitcode"]).exits(0);

    owner.ktor(&["apply", "--yes"]).exits(3).says(&format!("belongs to project {0} of root {0}", taker.root));
    owner.remove("sub/config.yaml");
    let plan = owner.plan();
    assert_eq!(change(&plan, "cleanup", "config")["action"], "release", "{plan:#}");
    owner.apply();
    assert_eq!(owner.recorded().1[&format!("{}.sub", owner.root)], ["ConfigMap second"]);
    assert_eq!(data(&taker, &ns), json!({"phase": "2"}));
}

#[test]
fn o4_a_field_that_neither_root_holds_is_not_forced_by_a_take_over() {
    let (owner, ns) = project("holder");
    owner.write("config.yaml", &config_map(&ns, "config", "1"));
    owner.apply();
    let patch = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"config"},"data":{"third":"1"}}"#;
    owner.kubectl(&["apply", "--server-side", "--field-manager=third", "-n", &ns, "-f", "-"], patch);
    let taker = Bench::new("forcing");
    taker.write("config.yaml", &(config_map(&ns, "config", "2") + "  third: \"2\"\n"));
    let ran = taker.ktor(&["apply", "--yes", "--take-over", &owner.root]).exits(3);
    assert!(ran.stdout.contains(".data.third is held by third"), "{ran:#?}");
    assert_eq!(data(&owner, &ns), json!({"phase": "1", "third": "1"}));
}

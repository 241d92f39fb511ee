//! `ktor state mv`: renames projects and roots. Of their objects, only the marks change.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use support::controlplane::{Fault, Gate, Recorder, User};

use super::admission_policy::Denied;
use super::bench::{Bench, config_map};

const OBJECTS: [&str; 5] = ["configmap/one", "configmap/two", "configmap/deep", "deployment/web", "statefulset/db"];

/// The objects of the project of `small`.
const FEW: [&str; 2] = ["configmap/one", "configmap/deep"];

/// Creates and applies a project `a` with a ConfigMap, and with another ConfigMap in a sub-project.
fn small(begins: &str) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = format!("{}-ns", bench.root);
    bench.kubectl(&["create", "namespace", &ns], "");
    bench.write("a/.ktor.yaml", "project: a\n").write("a/x/.ktor.yaml", "project: x\n");
    bench.write("a/one.yaml", &config_map(&ns, "one", "1")).write("a/x/deep.yaml", &config_map(&ns, "deep", "1"));
    bench.apply();
    (bench, ns)
}

/// Creates and applies a project `a` with workloads and a sub-project, and a project `ab`.
fn project(begins: &str) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = format!("{}-ns", bench.root);
    bench.kubectl(&["create", "namespace", &ns], "");
    bench.write("root.yaml", &config_map(&ns, "at-root", "1"));
    bench.write("a/.ktor.yaml", "project: a\n").write("a/x/.ktor.yaml", "project: x\n");
    bench.write("ab/.ktor.yaml", "project: ab\n").write("ab/near.yaml", &config_map(&ns, "near", "1"));
    for (kind, name) in [("Deployment", "web"), ("StatefulSet", "db")] {
        let workload = format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {ns}}}\n\
             spec:\n  replicas: 0\n  selector: {{matchLabels: {{a: {name}}}}}\n  \
             template:\n    metadata: {{labels: {{a: {name}}}}}\n    spec: {{containers: [{{name: c, image: absent.invalid/image}}]}}\n"
        );
        bench.write(&format!("a/{name}.yaml"), &workload);
    }
    for (directory, name) in [("a", "one"), ("a", "two"), ("a/x", "deep")] {
        bench.write(&format!("{directory}/{name}.yaml"), &config_map(&ns, name, "1"));
    }
    bench.apply();
    (bench, ns)
}

/// Returns everything that a rename must not change: the identity and content of the objects, and the ReplicaSets.
fn workloads(bench: &Bench, ns: &str, objects: &[&str]) -> Vec<Value> {
    let workload = |name: &&str| {
        let object = bench.get(name, Some(ns)).unwrap();
        let metadata = &object["metadata"];
        // A Deployment's generation also counts changes of its annotations.
        let generation = if object["kind"] == "Deployment" { &Value::Null } else { &metadata["generation"] };
        json!({"uid": metadata["uid"], "generation": generation, "data": object["data"], "spec": object["spec"]})
    };
    // If there is none, kubectl prints nothing.
    let revisions = bench.get("replicasets", Some(ns)).unwrap_or(json!({"items": []}));
    let revisions = revisions["items"].as_array().unwrap().iter().map(|revision| revision["metadata"]["uid"].clone());
    objects.iter().map(workload).chain(revisions).collect()
}

/// Asserts that each object carries the mark of `project` or of its sub-project, and that ktor owns it only by apply.
#[track_caller]
fn is_marked(bench: &Bench, ns: &str, objects: &[&str], project: &str) {
    for &name in objects {
        let object = bench.get(name, Some(ns)).unwrap();
        let expected = if name == "configmap/deep" { format!("{project}.x") } else { project.to_owned() };
        assert_eq!(object["metadata"]["annotations"]["kubernator.io/project"], expected, "{name}");
        assert_eq!(object["metadata"]["labels"]["kubernator.io/root"], bench.hash(), "{name}");
        let entries = object["metadata"]["managedFields"].as_array().unwrap();
        let is_ours = |entry: &&Value| entry["manager"].as_str().unwrap().starts_with("ktor-");
        let ours: Vec<_> = entries.iter().filter(is_ours).collect();
        let [entry] = &ours[..] else { panic!("{name}: {ours:#?}") };
        assert_eq!((&entry["manager"], &entry["operation"]), (&json!(format!("ktor-{}", bench.root)), &json!("Apply")));
        let mark = &entry["fieldsV1"]["f:metadata"]["f:annotations"]["f:kubernator.io/project"];
        assert_eq!(*mark, json!({}), "{name}: {entry:#}");
    }
}

/// Asserts that the renamed tree has nothing to plan, and that a field that is removed from a manifest is removed live.
#[track_caller]
fn converges(bench: &Bench, ns: &str) {
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    let outcome = bench.apply();
    assert_eq!(outcome["summary"].get("configured").cloned().unwrap_or(json!(0)), 0, "{outcome:#}");
    let manifest = config_map(ns, "one", "1");
    bench.write("a/one.yaml", &manifest.replace("\ndata:\n", "\ndata:\n  more: x\n"));
    bench.apply();
    assert_eq!(bench.get("configmap/one", Some(ns)).unwrap()["data"], json!({"phase": "1", "more": "x"}));
    bench.write("a/one.yaml", &manifest);
    bench.apply();
    assert_eq!(bench.get("configmap/one", Some(ns)).unwrap()["data"], json!({"phase": "1"}));
}

/// Runs a command and kills it at its persisting request with this number, which then arrives if `lands` is true.
/// Returns `true` if the command reached that request.
async fn killed_at(bench: &mut Bench, arguments: &[&str], number: usize, lands: bool) -> bool {
    let direct = bench.plane.kubeconfig(User::Admin);
    let gate = Gate::closed();
    let (held, count) = (gate.clone(), AtomicUsize::new(0));
    let recorder = Recorder::with_faults(bench.plane, move |entry| {
        let is_it = entry.persists() && count.fetch_add(1, Ordering::Relaxed) + 1 == number;
        is_it.then(|| Fault::Hold(held.clone()))
    });
    bench.through(recorder.kubeconfig(User::Admin));
    let mut run = bench.spawn(arguments);
    let reached = loop {
        if tokio::time::timeout(Duration::from_millis(20), gate.reached()).await.is_ok() {
            break true;
        }
        if run.try_wait().unwrap().is_some() {
            break false;
        }
    };
    run.kill().unwrap();
    let ended = run.wait().unwrap();
    assert!(reached || ended.success(), "{ended}");
    if reached && lands {
        gate.open();
        while !recorder.journal().iter().filter(|entry| entry.persists()).all(|entry| entry.status.is_some()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    bench.through(direct);
    reached
}

/// Frees the lock of a killed run.
fn free(bench: &Bench) {
    if let Some(lease) = bench.lease() {
        bench.ktor(&["unlock", lease["spec"]["holderIdentity"].as_str().unwrap()]).exits(0);
    }
}

#[test]
fn o9_a_project_is_renamed_with_what_lies_below_it_and_nothing_else_changes() {
    let (bench, ns) = project("renaming");
    let before = workloads(&bench, &ns, &OBJECTS);
    let (a, b) = (format!("{}.a", bench.root), format!("{}.b", bench.root));
    bench.ktor(&["state", "mv", &a, &b]).exits(64).says("--yes");
    bench.ktor(&["state", "mv", "--yes", &a, &format!("{a}.deeper")]).exits(64).says("is inside");
    bench.ktor(&["state", "mv", "--yes", &a, "elsewhere.a"]).exits(64);
    bench.ktor(&["state", "mv", "--yes", &format!("{}.none", bench.root), &b]).exits(64).says("nothing is recorded");
    is_marked(&bench, &ns, &OBJECTS, &a);

    let ran = bench.ktor(&["state", "mv", "--yes", &a, &b]).exits(0);
    assert!(ran.stdout.contains("5 objects renamed"), "{ran:#?}");
    is_marked(&bench, &ns, &OBJECTS, &b);
    assert_eq!(workloads(&bench, &ns, &OBJECTS), before);
    let (finalized, recorded) = bench.recorded();
    assert!(finalized);
    let names: Vec<&str> = recorded.keys().map(String::as_str).collect();
    assert_eq!(names, [bench.root.clone(), format!("{}.ab", bench.root), b.clone(), format!("{b}.x")]);
    assert_eq!(bench.lease(), None);
    bench.write("a/.ktor.yaml", "project: b\n");
    converges(&bench, &ns);
    // A repeated rename is no error.
    bench.ktor(&["state", "mv", "--yes", &a, &b]).exits(0);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn o9_a_rename_that_dies_at_any_request_is_resumed_by_the_same_command() {
    let (mut bench, ns) = small("dying");
    let before = workloads(&bench, &ns, &FEW);
    let (mut from, mut to) = ("a".to_owned(), "b".to_owned());
    for number in 1.. {
        let names = (format!("{}.{from}", bench.root), format!("{}.{to}", bench.root));
        let command = ["state", "mv", "--yes", &names.0, &names.1];
        let reached = killed_at(&mut bench, &command, number, false).await;
        free(&bench);
        bench.ktor(&command).exits(0);
        is_marked(&bench, &ns, &FEW, &names.1);
        assert_eq!(workloads(&bench, &ns, &FEW), before, "at {number}");
        let recorded = bench.recorded().1;
        assert!(!recorded.contains_key(&names.0) && recorded[&names.1].len() == 1, "at {number}: {recorded:?}");
        bench.write("a/.ktor.yaml", &format!("project: {to}\n"));
        bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
        (from, to) = (to, from);
        if !reached {
            // The requests are: the Lease, two writes of the state, two patches for each object, and the deletion of
            // the Lease.
            assert_eq!(number, 1 + 2 + 2 * FEW.len() + 1 + 1);
            break;
        }
    }
    converges(&bench, &ns);
}

#[tokio::test(flavor = "multi_thread")]
async fn o9_a_rename_that_dies_is_finished_by_the_next_apply() {
    let (mut bench, ns) = project("continued");
    let before = workloads(&bench, &ns, &OBJECTS);
    let (a, b) = (format!("{}.a", bench.root), format!("{}.b", bench.root));
    // The run dies after the Lease, the state and some patches.
    assert!(killed_at(&mut bench, &["state", "mv", "--yes", &a, &b], 6, true).await);
    free(&bench);
    bench.write("a/.ktor.yaml", "project: b\n");
    bench.apply();
    bench.apply();
    assert_eq!(workloads(&bench, &ns, &OBJECTS), before);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    let recorded = bench.recorded().1;
    assert!(!recorded.contains_key(&a) && recorded[&b].len() == 4, "{recorded:?}");
}

#[test]
fn o9_what_cannot_be_marked_keeps_its_old_name() {
    let (bench, ns) = project("stubborn");
    let (a, b) = (format!("{}.a", bench.root), format!("{}.b", bench.root));
    let probe = ["annotate", "configmap", "one", "-n", &ns, "probe=x", "--dry-run=server", "--overwrite"];
    let denied = Denied::new(&bench, "UPDATE", &ns, "one", &probe);
    let ran = bench.ktor(&["state", "mv", "--yes", &a, &b]).exits(1).says("the auditors want it");
    assert!(ran.stderr.contains(&format!("ConfigMap {ns}/one still carries the mark of {a}")), "{ran:#?}");
    assert_eq!(bench.recorded().1[&a], ["ConfigMap one"]);
    // The rename of the whole root waits for the object that the server refuses to change.
    let (old, new) = (bench.root.clone(), format!("{}-new", bench.root));
    let before = bench.recorded().1;
    bench.ktor(&["state", "mv", "--yes", &old, &new]).exits(1).says("the auditors want it");
    assert_eq!(bench.recorded(), (false, before));
    denied.lift(&probe);
    bench.ktor(&["state", "mv", "--yes", &old, &new]).exits(0);
    bench.ktor(&["state", "mv", "--yes", &new, &old]).exits(0);
    bench.ktor(&["state", "mv", "--yes", &a, &b]).exits(0);
    is_marked(&bench, &ns, &OBJECTS, &b);
    bench.write("a/.ktor.yaml", "project: b\n");
    converges(&bench, &ns);
}

#[test]
fn o9_someone_elses_copy_of_a_mark_is_left_alone() {
    let (bench, ns) = project("copied");
    let (a, b) = (format!("{}.a", bench.root), format!("{}.b", bench.root));
    bench.kubectl(&["delete", "configmap", "two", "-n", &ns], "");
    let copied = config_map(&ns, "two", "9")
        .replace("metadata:\n", &format!("metadata:\n  annotations: {{kubernator.io/project: {a}}}\n"));
    bench.kubectl(&["create", "-f", "-"], &copied);
    bench.ktor(&["state", "mv", "--yes", &a, &b]).exits(0);
    let two = bench.get("configmap/two", Some(&ns)).unwrap();
    assert_eq!(two["metadata"]["annotations"]["kubernator.io/project"], a.as_str());
    assert_eq!(two["data"]["phase"], "9");
}

#[test]
fn o9_a_root_is_renamed_with_its_marks_managers_and_record() {
    let (mut bench, ns) = project("rooted");
    let before = workloads(&bench, &ns, &OBJECTS);
    let old = bench.root.clone();
    let new = format!("{old}-new");
    let taken = Bench::new("taken");
    taken.write("own.yaml", &config_map(&ns, "own", "1"));
    taken.apply();
    bench.ktor(&["state", "mv", "--yes", &old, &taken.root]).exits(3).says("objects of its own");
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);

    bench.ktor(&["state", "mv", "--yes", &old, &new]).exits(0);
    assert!(bench.recorded().1.is_empty() && bench.lease().is_none());
    bench.root.clone_from(&new);
    bench.write(".ktor.yaml", &format!("project: {new}\ncleanup: true\n"));
    is_marked(&bench, &ns, &OBJECTS, &format!("{new}.a"));
    assert_eq!(workloads(&bench, &ns, &OBJECTS), before);
    let (finalized, recorded) = bench.recorded();
    assert!(finalized && recorded.len() == 4, "{recorded:?}");
    assert_eq!(bench.lease(), None);
    converges(&bench, &ns);
}

#[tokio::test(flavor = "multi_thread")]
async fn o9_a_root_whose_rename_dies_at_any_request_is_resumed_by_the_same_command() {
    let (mut bench, ns) = small("reborn");
    let before = workloads(&bench, &ns, &FEW);
    let (first, second) = (bench.root.clone(), format!("{}-z", bench.root));
    for number in 1.. {
        let old = bench.root.clone();
        let new = if old == first { second.clone() } else { first.clone() };
        let command = ["state", "mv", "--yes", &old, &new];
        let reached = killed_at(&mut bench, &command, number, number % 2 == 0).await;
        free(&bench);
        bench.root.clone_from(&new);
        bench.write(".ktor.yaml", &format!("project: {new}\ncleanup: true\n"));
        free(&bench);
        bench.ktor(&command).exits(0);
        is_marked(&bench, &ns, &FEW, &format!("{new}.a"));
        assert_eq!(workloads(&bench, &ns, &FEW), before, "at {number}");
        assert_eq!(bench.recorded().1.values().map(Vec::len).sum::<usize>(), 2, "at {number}");
        bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
        if !reached {
            break;
        }
    }
    converges(&bench, &ns);
}

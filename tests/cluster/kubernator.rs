//! Kubernator, the older tool, and the binary on the same directory, project and API server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use serde_json::{Value, json};
use support::controlplane::{Entry, Fault, Gate, Recorder, User, sentence};
use support::kubernator::Kubernator;

use super::bench::{Bench, Ran, change, config_map, namespace};

#[test]
fn kubernator_that_cannot_be_set_up_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let set_up = |python: &Path| sentence(&Kubernator::set_up(folder.path(), python.as_os_str()).unwrap_err());
    let absent = set_up(&folder.path().join("absent"));
    assert!(absent.contains("install Python 3.11") && absent.contains("python3-venv"), "{absent}");

    let lacking = folder.path().join("python");
    fs::write(&lacking, "#!/bin/sh\n[ \"$1\" = -c ] && exit\necho 'ensurepip is not available'\nexit 1\n").unwrap();
    fs::set_permissions(&lacking, fs::Permissions::from_mode(0o755)).unwrap();
    for _ in 0..2 {
        let failed = set_up(&lacking);
        assert!(failed.contains("Debian's python3-venv") && failed.ends_with("ensurepip is not available"), "{failed}");
    }
}

/// Creates a project that both tools understand, with a namespace and two sub-projects.
fn project(begins: &str) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    bench.write(".kubernator.py", &Kubernator::root_script(&ns, true)).write("ns.yaml", &namespace(&ns));
    for project in ["a", "b"] {
        bench.write(&format!("{project}/.kubernator.py"), &Kubernator::script(project));
        bench.write(&format!("{project}/.ktor.yaml"), &format!("project: {project}\n"));
    }
    (bench, ns)
}

fn start(bench: &Bench) -> Child {
    let mut command = Kubernator::shared().command(bench.path(), bench.kubeconfig(), &["--yes", "apply"]);
    command.spawn().unwrap()
}

fn kubernator(bench: &Bench) -> Ran {
    Bench::finished(start(bench))
}

async fn finished(run: Child) -> Ran {
    tokio::task::spawn_blocking(|| Bench::finished(run)).await.unwrap()
}

/// Returns `true` if this request creates the ConfigMap: a POST of Kubernator or a server-side apply of ktor.
fn creates(entry: &Entry, name: &str) -> bool {
    let posted = || serde_json::from_slice::<Value>(&entry.body).is_ok_and(|body| body["metadata"]["name"] == name);
    let by_name = entry.method == http::Method::PATCH && entry.path().ends_with(&format!("/configmaps/{name}"));
    let by_kind = entry.method == http::Method::POST && entry.path().ends_with("/configmaps") && posted();
    entry.persists() && (by_name || by_kind)
}

/// Starts a proxy that holds the creation of a ConfigMap at a gate.
fn holding(bench: &Bench, name: &str) -> (Recorder<'static>, Gate) {
    let (gate, name) = (Gate::closed(), name.to_owned());
    let held = gate.clone();
    let choose = move |entry: &Entry| creates(entry, &name).then(|| Fault::Hold(held.clone()));
    (Recorder::with_faults(bench.plane, choose), gate)
}

async fn eventually<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = holds() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("failed to see {what} within a minute")
}

fn exists(bench: &Bench, ns: &str, name: &str) -> bool {
    bench.get(&format!("configmap/{name}"), Some(ns)).is_some()
}

/// Asserts that a state's text has the form that both tools write: compact JSON with sorted keys and sorted lists.
#[track_caller]
fn assert_shape(text: &str) {
    let state: Value = serde_json::from_str(text).unwrap();
    assert_eq!(state.to_string(), text, "compact, and sorted by key");
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&state), ["finalized", "pending", "resources", "version"]);
    assert_eq!(state["version"], "1");
    for idents in state["resources"].as_object().unwrap().values().map(|idents| idents.as_array().unwrap()) {
        let key = |ident: &Value| {
            ["group", "kind", "name", "namespace"].map(|field| ident[field].as_str().map(str::to_owned))
        };
        assert!(idents.is_sorted_by_key(key), "{idents:#?}");
        for ident in idents {
            let of_cluster = ["group", "kind", "name", "version"];
            let namespaced = ["group", "kind", "name", "namespace", "version"];
            let expected = if ident["kind"] == "Namespace" { of_cluster.as_slice() } else { &namespaced };
            assert_eq!(names(ident), expected);
        }
    }
}

const WORKLOAD: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NAMESPACE, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.invalid/web, ports: [{containerPort: 80, protocol: TCP}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, protocol: TCP}]
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: NAMESPACE}
data: {key: a2V5}
";

#[test]
fn o8_a_live_project_goes_from_kubernator_to_ktor_and_back() {
    let (bench, ns) = project("changing");
    bench.write("b/web.yaml", &WORKLOAD.replace("NAMESPACE", &ns));
    for name in ["a-kept", "a-dropped"] {
        bench.write(&format!("a/{name}.yaml"), &config_map(&ns, name, "1"));
    }
    kubernator(&bench).exits(0).says("Created 6, patched 0, deleted 0 resources");
    let theirs = bench.state_text();
    assert_shape(&theirs);

    let plan = bench.plan();
    for change in plan["changes"].as_array().unwrap() {
        assert_eq!((&change["action"], &change["reason"]["kind"]), (&json!("update"), &json!("take-over")), "{plan:#}");
        let is_metadata = |field: &Value| field["path"].as_str().unwrap().starts_with("metadata.");
        assert!(change["diff"].as_array().unwrap().iter().all(is_metadata), "{change:#}");
    }
    assert_eq!((plan["changes"].as_array().unwrap().len(), &plan["cleanup"]), (6, &json!([])), "{plan:#}");

    let namespace = format!("namespace/{ns}");
    let namespaced = ["configmap/a-kept", "configmap/a-dropped", "deployment/web", "service/web", "secret/key"];
    let mut objects = namespaced.map(|name| (name, Some(ns.as_str()))).to_vec();
    objects.push((&namespace, None));
    let live = || objects.iter().map(|(name, ns)| bench.get(name, *ns).unwrap()).collect::<Vec<_>>();
    let uids = || live().iter().map(|object| object["metadata"]["uid"].clone()).collect::<Vec<_>>();
    let before = uids();
    let generation = bench.get("deployment/web", Some(&ns)).unwrap()["metadata"]["generation"].clone();
    bench.apply();
    assert_eq!(uids(), before);
    assert_eq!(bench.get("deployment/web", Some(&ns)).unwrap()["metadata"]["generation"], generation);
    for object in live() {
        assert_eq!(object["metadata"]["labels"]["kubernator.io/root"], bench.hash(), "{object:#}");
    }
    // The states are equal byte for byte, so that neither tool sees a change in the state of the other.
    assert_eq!(bench.state_text(), theirs);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);

    kubernator(&bench).exits(0).says("Created 0, patched 0, deleted 0 resources");
    assert_eq!(bench.state_text(), theirs);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);

    // Each tool deletes the objects that the other tool created.
    bench.remove("a/a-dropped.yaml").write("b/ours.yaml", &config_map(&ns, "ours", "1"));
    let plan = bench.plan();
    assert_eq!(change(&plan, "cleanup", "a-dropped")["action"], "delete", "{plan:#}");
    bench.apply();
    assert!(!exists(&bench, &ns, "a-dropped") && exists(&bench, &ns, "ours"));
    bench.remove("b/ours.yaml");
    kubernator(&bench).exits(0).says("Created 0, patched 0, deleted 0 resources");
    assert!(!exists(&bench, &ns, "ours") && exists(&bench, &ns, "a-kept"));
    assert_shape(&bench.state_text());
    assert_eq!(bench.recorded().1[&format!("{ns}.a")], ["ConfigMap a-kept"]);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn o8_a1_a_field_that_either_tool_wrote_last_is_the_others_to_change() {
    let (bench, ns) = project("values");
    let write = |value: &str, more: &str| {
        bench.write("a/cfg.yaml", &format!("{}{more}", config_map(&ns, "cfg", value)));
    };
    let data = || bench.get("configmap/cfg", Some(&ns)).unwrap()["data"].clone();
    write("1", "  dropped: \"1\"\n");
    kubernator(&bench).exits(0);
    // Kubernator owns every field, because it created the object.
    write("2", "");
    let plan = bench.plan();
    assert_eq!(change(&plan, "changes", "cfg")["action"], "update", "{plan:#}");
    bench.apply();
    assert_eq!(data(), json!({"phase": "2"}));
    // Kubernator takes the field back, and ktor takes it over again.
    write("3", "");
    kubernator(&bench).exits(0).says("Created 0, patched 1, deleted 0 resources");
    bench.ktor(&["apply", "--yes"]).exits(0);
    write("4", "");
    bench.apply();
    assert_eq!(data(), json!({"phase": "4"}));
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    kubernator(&bench).exits(0).says("Created 0, patched 0, deleted 0 resources");
}

#[tokio::test(flavor = "multi_thread")]
async fn o8_kubernators_lock_keeps_us_out_until_it_is_released() {
    let (mut bench, ns) = project("theirs");
    bench.write("a/held.yaml", &config_map(&ns, "held", "1"));
    let direct = bench.kubeconfig().to_owned();
    let (recorder, gate) = holding(&bench, "held");
    bench.through(recorder.kubeconfig(User::Admin));
    let run = start(&bench);
    gate.reached().await;
    bench.through(direct);

    let holder = bench.lease().expect("Kubernator's lock")["spec"]["holderIdentity"].as_str().unwrap().to_owned();
    bench.ktor(&["apply", "--yes", "--lock-timeout", "0"]).exits(4).says(&holder);
    let waiting = bench.spawn(&["apply", "--yes", "--lock-timeout", "1m"]);
    assert!(!bench.recorded().0, "nobody but Kubernator wrote the state");
    gate.open();
    finished(run).await.exits(0).says("Created 2, patched 0, deleted 0 resources");
    finished(waiting).await.exits(0);
    assert!(bench.recorded().0 && bench.lease().is_none());
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn o8_our_lock_keeps_kubernator_out_until_it_is_released() {
    let (mut bench, ns) = project("ours");
    bench.write("a/held.yaml", &config_map(&ns, "held", "1"));
    let direct = bench.kubeconfig().to_owned();
    let (recorder, gate) = holding(&bench, "held");
    bench.through(recorder.kubeconfig(User::Admin));
    let run = bench.spawn(&["apply", "--yes"]);
    gate.reached().await;
    bench.through(direct);

    let lease = bench.lease().expect("our lock");
    let (holder, renewed) =
        (lease["spec"]["holderIdentity"].as_str().unwrap(), lease["spec"]["renewTime"].as_str().unwrap());
    let fraction = renewed.split_once('.').map(|(_, fraction)| fraction).unwrap();
    assert!(fraction.len() == 7 && fraction.ends_with('Z'), "{renewed}");
    let before = bench.state_text();
    let refused = kubernator(&bench).exits(1).says(&format!("is held by '{holder}'"));
    // Kubernator and the server use the same clock here. It judged the time that ktor wrote, with microseconds.
    let expires: jiff::Timestamp = renewed.parse::<jiff::Timestamp>().unwrap() + Duration::from_secs(60);
    let expires = expires.to_string().trim_end_matches('Z').to_owned();
    assert!(refused.stderr.contains(&format!("(expires {expires}")), "no {expires} in {refused:#?}");
    assert_eq!(bench.state_text(), before);
    gate.open();
    finished(run).await.exits(0);
    assert_eq!(bench.lease(), None);
    kubernator(&bench).exits(0).says("Created 0, patched 0, deleted 0 resources");
}

/// Starts an apply and kills it while it creates the ConfigMap `held`, after the objects in `beside` exist.
///
/// The held request arrives at the server when the gate opens. The proxy must live until then.
async fn killed(bench: &mut Bench, held: &str, beside: &[&str]) -> (Recorder<'static>, Gate) {
    let direct = bench.kubeconfig().to_owned();
    let (recorder, gate) = holding(bench, held);
    bench.through(recorder.kubeconfig(User::Admin));
    let mut run = bench.spawn(&["apply", "--yes"]);
    gate.reached().await;
    for name in beside {
        eventually(name, || exists(bench, &bench.root, name).then_some(())).await;
    }
    run.kill().unwrap();
    run.wait().unwrap();
    bench.through(direct);
    assert!(!bench.recorded().0, "phase two did not happen");
    (recorder, gate)
}

/// Moves the times of a dead run's Lease to the past, so that it has expired for a tool that compares clocks.
fn age_lease(bench: &Bench) {
    let renewed = bench.lease().unwrap()["spec"]["renewTime"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let aged = format!("{:.6}", renewed - Duration::from_secs(3600));
    let patch = json!({"spec": {"renewTime": aged, "acquireTime": aged}}).to_string();
    let name = format!("kubernator-project-{}-lock", bench.hash());
    bench.kubectl(&["patch", "lease", &name, "-n", "kubernator-system", "--type=merge", "-p", &patch], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn o14_kubernators_finalize_between_two_crashed_runs_leaks_nothing() {
    let (mut bench, ns) = project("between");
    bench.write("own.yaml", &config_map(&ns, "own", "1"));
    bench.apply();
    for name in ["created", "late"] {
        bench.write(&format!("a/{name}.yaml"), &config_map(&ns, name, "1"));
    }
    let (_first, late) = killed(&mut bench, "late", &["created"]).await;

    // Kubernator takes over the dead run's lock and finalizes. With cleanup off, it drops the undesired entries.
    bench.remove("a/created.yaml").remove("a/late.yaml");
    bench.write(".kubernator.py", &Kubernator::root_script(&ns, false));
    age_lease(&bench);
    kubernator(&bench).exits(0).says("taking over").says("Created 0, patched 0, deleted 0 resources");
    let (finalized, recorded) = bench.recorded();
    assert!(finalized && !recorded.contains_key(&format!("{ns}.a")), "{recorded:?}");
    late.open();
    eventually("what landed late", || exists(&bench, &ns, "late").then_some(())).await;

    // The second run sweeps before it writes, so that the state that it leaves contains both objects again.
    bench.write("b/second.yaml", &config_map(&ns, "second", "1"));
    let (_second, second) = killed(&mut bench, "second", &[]).await;
    second.open();
    let recorded = bench.recorded().1;
    assert_eq!(recorded[&format!("{ns}.a")], ["ConfigMap created", "ConfigMap late"]);
    assert_eq!(recorded[&format!("{ns}.b")], ["ConfigMap second"]);
    eventually("what the second run sent", || exists(&bench, &ns, "second").then_some(())).await;

    bench.remove("b/second.yaml");
    let lease = format!("kubernator-project-{}-lock", bench.hash());
    // The deletion replaces the minute after which the next run would take over the lock.
    bench.kubectl(&["delete", "lease", &lease, "-n", "kubernator-system"], "");
    bench.apply();
    for name in ["created", "late", "second"] {
        assert!(!exists(&bench, &ns, name), "{name} leaked");
    }
    assert!(exists(&bench, &ns, "own"));
    // A run that starts from a settled state drops the entries of deleted objects.
    bench.apply();
    assert_eq!(bench.recorded().1.into_keys().collect::<Vec<_>>(), [ns]);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn o14_what_kubernator_forgot_with_cleanup_off_is_found_by_its_label() {
    let (bench, ns) = project("forgetting");
    bench.write("a/kept.yaml", &config_map(&ns, "kept", "1"));
    // No other object here has this kind, so only a sweep of every kind can find it.
    let account = format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: labelled, namespace: {ns}}}\n");
    bench.write("a/labelled.yaml", &account);
    bench.apply();
    // Objects that only Kubernator applied carry no label.
    bench.write("b/unlabelled.yaml", &config_map(&ns, "unlabelled", "1"));
    kubernator(&bench).exits(0).says("Created 1, patched 0, deleted 0 resources");
    bench.remove("a/labelled.yaml").remove("b/unlabelled.yaml");
    bench.write(".kubernator.py", &Kubernator::root_script(&ns, false));
    kubernator(&bench).exits(0).says("2 obsolete resource(s) would be deleted");
    assert_eq!(bench.recorded().1[&format!("{ns}.a")], ["ConfigMap kept"]);

    let plan = bench.plan();
    assert_eq!(change(&plan, "cleanup", "labelled")["action"], "delete", "{plan:#}");
    assert_eq!(plan["cleanup"].as_array().unwrap().len(), 1, "{plan:#}");
    bench.apply();
    assert_eq!(bench.get("serviceaccount/labelled", Some(&ns)), None);
    assert!(exists(&bench, &ns, "kept"));
    // As the README says, the owner of this object is no longer known.
    assert!(exists(&bench, &ns, "unlabelled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn o14_kubernator_that_goes_on_without_its_lock_leaks_nothing() {
    let (mut bench, ns) = project("going-on");
    bench.write("a/theirs.yaml", &config_map(&ns, "theirs", "1"));
    let direct = bench.kubeconfig().to_owned();
    let (recorder, theirs) = holding(&bench, "theirs");
    bench.through(recorder.kubeconfig(User::Admin));
    let run = start(&bench);
    theirs.reached().await;
    let lease = format!("kubernator-project-{}-lock", bench.hash());
    // The deletion replaces a stall of more than a minute.
    bench.kubectl(&["delete", "lease", &lease, "-n", "kubernator-system"], "");

    bench.remove("a/theirs.yaml").write("b/ours.yaml", &config_map(&ns, "ours", "1"));
    let (recorder, ours) = holding(&bench, "ours");
    bench.through(recorder.kubeconfig(User::Admin));
    let our_run = bench.spawn(&["apply", "--yes"]);
    ours.reached().await;
    bench.through(direct);
    // Kubernator creates the object, overwrites the state of our first phase with its own, and deletes our Lease.
    theirs.open();
    finished(run).await.exits(0);
    assert_eq!(bench.lease(), None);
    let before = bench.state_text();
    assert!(before.contains("theirs") && !before.contains("ours"), "{before}");

    // Our run does not overwrite a state that it did not read. The next run finds everything.
    ours.open();
    let told = "error: failed to write the state: another client changed it in the meantime; run again\n";
    let ran = finished(our_run).await.exits(1);
    assert!(ran.stderr.ends_with(told), "{ran:#?}");
    assert_eq!(bench.state_text(), before);
    assert!(exists(&bench, &ns, "theirs") && exists(&bench, &ns, "ours"));
    let plan = bench.plan();
    assert_eq!(change(&plan, "cleanup", "theirs")["action"], "delete", "{plan:#}");
    bench.apply();
    assert!(!exists(&bench, &ns, "theirs") && exists(&bench, &ns, "ours"));
    assert_eq!(bench.recorded().1[&format!("{ns}.b")], ["ConfigMap ours"]);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

const MIRRORED: &str = "
apiVersion: v1
kind: Service
metadata: {name: mirrored, namespace: NAMESPACE}
spec:
  ports: [{name: http, port: 80, protocol: TCP}]
---
apiVersion: v1
kind: Endpoints
metadata: {name: mirrored, namespace: NAMESPACE}
subsets:
- addresses: [{ip: 192.0.2.1}]
  ports: [{name: http, port: 80, protocol: TCP}]
";

const SLICE: &str = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: own, namespace: NAMESPACE}
addressType: IPv4
endpoints: [{addresses: [192.0.2.2]}]
ports: [{name: http, port: 80, protocol: TCP}]
";

#[tokio::test(flavor = "multi_thread")]
async fn o14_a_controllers_copy_of_our_mark_is_never_recorded_or_deleted() {
    let (mut bench, ns) = project("mirroring");
    bench.write("a/mirrored.yaml", &MIRRORED.replace("NAMESPACE", &ns));
    // This object has the same kind as the copy, so every run also lists the copy.
    bench.write("b/slice.yaml", &SLICE.replace("NAMESPACE", &ns));
    bench.apply();
    let selector = format!("kubernator.io/root={}", bench.hash());
    let copies = |bench: &Bench| {
        let arguments = ["get", "endpointslices", "-n", &ns, "-l", &selector, "-o", "json", "--show-managed-fields"];
        let list: Value = serde_json::from_str(&bench.kubectl(&arguments, "")).unwrap();
        let items = list["items"].as_array().unwrap().clone();
        items.into_iter().filter(|slice| slice["metadata"]["name"] != "own").collect::<Vec<_>>()
    };
    let copy = eventually("the mirrored EndpointSlice", || copies(&bench).pop()).await;
    assert_eq!(copy["metadata"]["annotations"]["kubernator.io/project"], format!("{ns}.a"), "{copy:#}");
    assert_eq!(copy["metadata"]["managedFields"][0]["manager"], "kube-controller-manager", "{copy:#}");
    let (name, uid) = (copy["metadata"]["name"].as_str().unwrap(), &copy["metadata"]["uid"]);

    let is_spared = |bench: &Bench| {
        let plan = bench.plan();
        assert_eq!(plan["cleanup"], json!([]), "{plan:#}");
        bench.apply();
        assert!(!bench.state_text().contains(name), "{}", bench.state_text());
        assert_eq!(copies(bench)[0]["metadata"]["uid"], *uid);
    };
    is_spared(&bench);
    // After a write of another tool, a run sweeps every kind.
    kubernator(&bench).exits(0);
    is_spared(&bench);

    // The controller deletes its own copy. A run never deletes the copy, even if it deletes the original.
    let recorder = Recorder::start(bench.plane);
    bench.through(recorder.kubeconfig(User::Admin));
    bench.remove("a/mirrored.yaml");
    let outcome = bench.apply();
    assert_eq!(outcome["summary"]["deleted"], 2, "{outcome:#}");
    let journal = recorder.journal();
    let deletions = journal.iter().filter(|entry| entry.persists() && entry.method == http::Method::DELETE);
    let deleted: Vec<&str> = deletions.map(|entry| entry.path().rsplit('/').nth(1).unwrap()).collect();
    assert!(!deleted.contains(&"endpointslices") && deleted.contains(&"endpoints"), "{deleted:?}");
    assert!(!bench.state_text().contains(name));
}

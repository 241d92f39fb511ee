//! The commands that show and repair the state: show, list, orphans, rebuild and rm.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::controlplane::{Recorder, User};

use super::admission_policy::Denied;
use super::bench::{Bench, config_map, namespace};

/// Creates and applies two projects with one object each.
fn two_projects(begins: &str) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns));
    for project in ["a", "b"] {
        bench.write(&format!("{project}/.ktor.yaml"), &format!("project: {project}\n"));
        bench.write(&format!("{project}/one.yaml"), &config_map(&ns, &format!("{project}-one"), "1"));
    }
    bench.apply();
    (bench, ns)
}

fn state_secret(bench: &Bench) -> String {
    format!("kubernator-project-{}", bench.hash())
}

/// Returns the reason that `ktor state orphans` gives for each object.
fn orphans(bench: &Bench, arguments: &[&str]) -> BTreeMap<String, String> {
    let arguments = [&["state", "orphans", "-o", "json"], arguments].concat();
    let listed = bench.ktor(&arguments).exits(0).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    listed["objects"].as_array().unwrap().iter().map(|entry| (text(&entry["object"]), text(&entry["reason"]))).collect()
}

#[test]
fn the_record_is_shown_and_listed_without_a_lock_or_a_write() {
    let (mut bench, ns) = two_projects("looking");
    let recorder = Recorder::start(bench.plane);
    bench.through(recorder.kubeconfig(User::Admin));
    let shown = bench.ktor(&["state", "show", "-o", "json"]).exits(0).json();
    let (a, b) = (format!("{}.a", bench.root), format!("{}.b", bench.root));
    assert_eq!(shown["root"], bench.root.as_str());
    for (field, expected) in [("exists", json!(true)), ("finalized", json!(true)), ("settled", json!(true))] {
        assert_eq!(shown[field], expected, "{shown:#}");
    }
    assert_eq!((&shown["digest"], &shown["lock"], &shown["ledger"]), (&json!("valid"), &json!(null), &json!(null)));
    assert!(shown["run"].as_str().unwrap().starts_with("tester@bench#"), "{shown:#}");
    assert_eq!(shown["projects"], json!({&bench.root: 1, &a: 1, &b: 1}));
    let listed = bench.ktor(&["state", "list"]).exits(0).stdout;
    let expected = [
        (format!("Namespace/{ns}"), bench.root.clone()),
        (format!("ConfigMap/{ns}/a-one"), a.clone()),
        (format!("ConfigMap/{ns}/b-one"), b.clone()),
    ];
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    let found: Vec<_> =
        expected.iter().map(|(object, project)| vec![object.as_str(), project.as_str(), "v1"]).collect();
    assert_eq!(lines, found);
    let listed = bench.ktor(&["state", "list", "-o", "json", "-I", &b]).exits(0).json();
    assert_eq!(listed["objects"], json!([{"object": format!("ConfigMap/{ns}/b-one"), "project": b, "version": "v1"}]));
    bench.ktor(&["state", "list", "-X", "no.such"]).exits(64);
    assert_eq!(orphans(&bench, &[]), BTreeMap::new());
    for entry in recorder.journal() {
        assert!(!entry.persists(), "{entry:#?}");
    }
}

#[test]
fn o7_whatever_holds_cleanup_back_is_listed_with_its_reason_and_done_later() {
    struct Case {
        begins: &'static str,
        apply: fn(&Bench) -> Vec<String>,
        reason: &'static str,
    }
    let plain = |_: &Bench| Vec::new();
    for Case { begins, apply, reason } in [
        Case { begins: "disabled", apply: |_| vec!["--cleanup=false".to_owned()], reason: "cleanup is off" },
        Case { begins: "protected", apply: plain, reason: "its annotation kubernator.io/cleanup says so" },
        Case {
            begins: "filtered",
            apply: |bench| vec!["-X".to_owned(), format!("{}.a", bench.root)],
            reason: "out of scope",
        },
        Case { begins: "failing", apply: plain, reason: "the auditors want it" },
    ] {
        let (bench, ns) = two_projects(begins);
        let protect = |value: &str| bench.kubectl(&["annotate", "configmap", "a-one", "-n", &ns, value], "");
        let probe = ["delete", "configmap", "a-one", "-n", &ns, "--dry-run=server"];
        let denied = (begins == "failing").then(|| Denied::new(&bench, "DELETE", &ns, "a-one", &probe));
        if begins == "protected" {
            protect("kubernator.io/cleanup=keep");
        }
        bench.remove("a/one.yaml");
        let options = apply(&bench);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let ran = bench.ktor(&[&["apply", "--yes"], &options[..]].concat());
        ran.exits(i32::from(begins == "failing"));
        let key = format!("ConfigMap/{ns}/a-one");
        let recorded = || bench.recorded().1.get(&format!("{}.a", bench.root)).cloned();
        assert_eq!(recorded(), Some(vec!["ConfigMap a-one".to_owned()]), "{begins}");
        let listed = orphans(&bench, &options);
        assert!(listed[&key].contains(reason), "{begins}: {listed:?}");
        assert_eq!(listed.len(), 1, "{begins}: {listed:?}");

        if begins == "protected" {
            protect("kubernator.io/cleanup-");
        }
        if let Some(denied) = denied {
            denied.lift(&probe);
        }
        assert_eq!(orphans(&bench, &[])[&key], "the next apply deletes it", "{begins}");
        bench.apply();
        assert_eq!(bench.get("configmap/a-one", Some(&ns)), None, "{begins}");
        assert_eq!((recorded(), orphans(&bench, &[])), (None, BTreeMap::new()), "{begins}");
    }
}

#[test]
fn o1_a_lost_state_is_rebuilt_from_the_marks_and_the_next_plan_shows_no_change() {
    let (bench, ns) = two_projects("rebuilding");
    let before = bench.recorded();
    // The object is no longer desired and no longer recorded. Only its mark tells its owner.
    bench.remove("b/one.yaml");
    bench.ktor(&["apply", "--yes", "--cleanup=false"]).exits(0);
    let marked = config_map(&ns, "copied", "1").replace(
        "metadata:\n",
        &format!(
            "metadata:\n  annotations: {{kubernator.io/project: {}}}\n  labels: {{kubernator.io/root: {:?}}}\n",
            bench.root,
            bench.hash()
        ),
    );
    bench.kubectl(&["create", "-f", "-"], &marked);
    bench.kubectl(&["delete", "secret", "-n", "kubernator-system", &state_secret(&bench)], "");
    for command in [&["plan"][..], &["apply", "--yes"]] {
        bench.ktor(command).exits(1).says("there is no state for root").says("`ktor state rebuild`");
    }
    let shown = bench.ktor(&["state", "show", "-o", "json"]).exits(0).json();
    assert_eq!((&shown["exists"], &shown["finalized"]), (&json!(false), &json!(null)));
    bench.ktor(&["state", "rebuild"]).exits(64).says("--yes");
    let rebuilt =
        bench.ktor(&["state", "rebuild", "--yes"]).exits(0).says(&format!("ConfigMap {ns}/copied is left out"));
    assert!(rebuilt.stdout.contains("3 objects recorded, 3 of them found by their mark"), "{rebuilt:#?}");
    assert_eq!(bench.recorded(), before);
    assert_eq!(bench.lease(), None);
    let plan = bench.plan();
    assert_eq!((&plan["summary"]["unchanged"], &plan["summary"]["delete"]), (&json!(2), &json!(1)), "{plan:#}");
    bench.apply();
    assert_eq!(bench.get("configmap/b-one", Some(&ns)), None);
    assert!(bench.get("configmap/copied", Some(&ns)).is_some());
    // The recorded entries stay, and no object is added twice.
    let rebuilt = bench.ktor(&["state", "rebuild", "--yes"]).exits(0);
    assert!(rebuilt.stdout.contains("2 objects recorded, 0 of them"), "{rebuilt:#?}");
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn o1_a_rebuild_that_may_not_look_everywhere_says_so_and_is_no_end() {
    let (mut bench, ns) = two_projects("partial");
    let before = bench.recorded().1;
    bench.kubectl(&["delete", "secret", "-n", "kubernator-system", &state_secret(&bench)], "");
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mender", "namespace": ns}});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": ns},
        "rules": [
            {"apiGroups": ["", "coordination.k8s.io"], "resources": ["secrets", "leases"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "get"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": ns},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ns},
        "subjects": [{"kind": "ServiceAccount", "name": "mender", "namespace": ns}]});
    for object in [account, role, binding] {
        bench.kubectl(&["create", "-f", "-"], &object.to_string());
    }
    let direct = bench.plane.kubeconfig(User::Admin);
    let mut kubeconfig: Value = serde_json::from_str(&std::fs::read_to_string(&direct).unwrap()).unwrap();
    kubeconfig["users"][0]["user"]["token"] =
        bench.kubectl(&["create", "token", "mender", "-n", &ns], "").trim().into();
    let limited = bench.path().join("mender.kubeconfig");
    std::fs::write(&limited, kubeconfig.to_string()).unwrap();

    bench.through(limited);
    let partial = bench.ktor(&["state", "rebuild", "--yes"]).exits(1).says("the rebuild is partial");
    assert!(partial.stderr.contains("cannot list the whole cluster"), "{partial:#?}");
    assert!(!partial.stderr.contains("ConfigMap could not be searched"), "{partial:#?}");
    let (finalized, recorded) = bench.recorded();
    assert!(!finalized && recorded.len() == 2, "{recorded:?}");
    bench.through(direct);
    bench.ktor(&["state", "rebuild", "--yes"]).exits(0);
    assert_eq!(bench.recorded(), (true, before));
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    bench.kubectl(&["delete", "clusterrole,clusterrolebinding", &ns], "");
}

#[test]
fn o6_a_damaged_state_is_replaced_only_on_request_and_another_roots_never() {
    let (bench, _) = two_projects("damaged");
    let before = bench.recorded();
    let secret = state_secret(&bench);
    let patch = |patch: &Value| {
        bench.kubectl(
            &["patch", "secret", "-n", "kubernator-system", &secret, "--type=merge", "-p", &patch.to_string()],
            "",
        )
    };
    patch(&json!({"data": {"state": "bm8gZ3ppcA=="}}));
    for command in [&["plan"][..], &["apply", "--yes"], &["state", "show"], &["state", "rebuild", "--yes"]] {
        bench.ktor(command).exits(1).says("`ktor state rebuild --replace-damaged`");
    }
    bench.ktor(&["state", "rebuild", "--replace-damaged", "--yes"]).exits(0);
    assert_eq!(bench.recorded(), before);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);

    patch(&json!({"metadata": {"annotations": {"kubernator.io/project-root": "another"}}}));
    bench.ktor(&["state", "rebuild", "--replace-damaged", "--yes"]).exits(1).says("\"another\"");
    let annotations = bench.get(&format!("secret/{secret}"), Some("kubernator-system")).unwrap();
    assert_eq!(annotations["metadata"]["annotations"]["kubernator.io/project-root"], "another");
}

#[test]
fn an_object_that_is_let_go_stays_as_it_is_and_is_nobodys() {
    let (bench, ns) = two_projects("releasing");
    let (key, project) = (format!("ConfigMap/{ns}/a-one"), format!("{}.a", bench.root));
    let before = bench.get("configmap/a-one", Some(&ns)).unwrap();
    bench.ktor(&["state", "rm", &key]).exits(64).says("--yes");
    bench.ktor(&["state", "rm", "--yes", "ConfigMap"]).exits(64).says("kind.group/namespace/name");
    let absent = format!("ConfigMap/{ns}/absent");
    bench.ktor(&["state", "rm", "--yes", &key, &absent]).exits(64).says("is not recorded");
    assert_eq!(bench.get("configmap/a-one", Some(&ns)).unwrap(), before);

    bench.remove("a/one.yaml");
    bench.ktor(&["state", "rm", "--yes", &key]).exits(0);
    assert!(!bench.recorded().1.contains_key(&project));
    let after = bench.get("configmap/a-one", Some(&ns)).unwrap();
    assert_eq!((&after["metadata"]["uid"], &after["data"]), (&before["metadata"]["uid"], &before["data"]));
    assert_eq!(after["metadata"].get("annotations"), None, "{after:#}");
    assert_eq!(after["metadata"].get("labels"), None, "{after:#}");
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    bench.apply();
    assert!(bench.get("configmap/a-one", Some(&ns)).is_some());
    let rebuilt = bench.ktor(&["state", "rebuild", "--yes"]).exits(0);
    assert!(rebuilt.stdout.contains("2 objects recorded, 0 of them"), "{rebuilt:#?}");

    // The server refuses the change, so the object stays recorded and marked.
    let denied = format!("ConfigMap/{ns}/b-one");
    let probe = ["annotate", "configmap", "b-one", "-n", &ns, "probe=x", "--dry-run=server", "--overwrite"];
    let policy = Denied::new(&bench, "UPDATE", &ns, "b-one", &probe);
    bench.ktor(&["state", "rm", "--yes", &denied]).exits(1).says("the auditors want it");
    assert!(bench.recorded().1.contains_key(&format!("{}.b", bench.root)));
    policy.lift(&probe);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

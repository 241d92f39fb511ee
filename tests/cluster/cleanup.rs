//! Cleanup: scope, guards, moves and protection.

use super::bench::{Bench, change, config_map, namespace};

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

#[test]
fn s1_a_removed_project_is_cleaned_up_when_included_and_protected_when_excluded() {
    let (bench, ns) = two_projects("scoped");
    let (a, b) = (format!("{}.a", bench.root), format!("{}.b", bench.root));
    bench.remove("a").remove("b");
    let plan = bench.ktor(&["plan", "-o", "json", "-I", &a]).exits(0).json();
    assert_eq!(change(&plan, "cleanup", "a-one")["action"], "delete");
    assert_eq!(plan["cleanup"].as_array().unwrap().len(), 1, "{plan:#}");
    let plan = bench.ktor(&["plan", "-o", "json", "-X", &a]).exits(0).json();
    assert_eq!(change(&plan, "cleanup", "b-one")["action"], "delete");
    assert_eq!(plan["cleanup"].as_array().unwrap().len(), 1, "{plan:#}");
    bench.ktor(&["apply", "--yes", "-X", &a]).exits(0);
    assert!(bench.get("configmap/a-one", Some(&ns)).is_some());
    assert_eq!(bench.get("configmap/b-one", Some(&ns)), None);
    assert!(bench.recorded().1.contains_key(&a) && !bench.recorded().1.contains_key(&b));
    bench.ktor(&["plan", "-I", &b]).exits(64).says("matches no known project");
    bench.ktor(&["apply", "--yes", "-I", &a]).exits(0);
    assert_eq!(bench.get("configmap/a-one", Some(&ns)), None);
}

#[test]
fn s2_a_moved_object_is_kept_and_owned_once() {
    let (bench, ns) = two_projects("moving");
    let uid = || bench.get("configmap/a-one", Some(&ns)).unwrap()["metadata"]["uid"].clone();
    let before = uid();
    bench.remove("a/one.yaml").write("b/moved.yaml", &config_map(&ns, "a-one", "1"));
    let plan = bench.plan();
    let moved = change(&plan, "changes", "a-one");
    assert_eq!((&moved["action"], &moved["from"]), (&"move".into(), &format!("{}.a", bench.root).into()), "{plan:#}");
    // Only one of the two projects is in scope, so the object does not move, and both projects stay recorded.
    bench.ktor(&["apply", "--yes", "-I", &format!("{}.a", bench.root)]).exits(0);
    assert_eq!(uid(), before);
    bench.apply();
    assert_eq!(uid(), before);
    let (finalized, recorded) = bench.recorded();
    assert!(finalized);
    let owners: Vec<_> = recorded.iter().filter(|(_, names)| names.contains(&"ConfigMap a-one".to_owned())).collect();
    assert_eq!(owners.len(), 1, "{recorded:?}");
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn c5_a_guard_keeps_what_it_guards_and_a_tree_in_doubt_refuses_the_run() {
    let (bench, ns) = two_projects("guarded");
    bench.remove("ns.yaml").remove("a").remove("b");
    let other = format!("{ns}-other");
    bench.write("other.yaml", &namespace(&other));
    bench.ktor(&["plan"]).exits(3).says("--allow-namespace-deletion allows it");
    bench.ktor(&["apply", "--yes", "--allow-mass-deletion"]).exits(3).says("--allow-namespace-deletion");
    // The rest of the run continued and was finalized. The kept namespace stays recorded.
    assert!(bench.get(&format!("namespace/{ns}"), None).is_some());
    assert_eq!(bench.get("configmap/a-one", Some(&ns)), None);
    let (finalized, recorded) = bench.recorded();
    assert!(finalized && recorded[&bench.root].contains(&format!("Namespace {ns}")), "{recorded:?}");
    assert_eq!(bench.lease(), None);

    bench.remove("other.yaml");
    let before = bench.state();
    bench.ktor(&["apply", "--yes", "--allow-namespace-deletion"]).exits(3).says("--allow-empty");
    assert_eq!(bench.state(), before, "a run that is refused writes nothing");
    bench.ktor(&["apply", "--yes", "--allow-namespace-deletion", "--allow-empty"]).exits(0);
    assert_eq!(bench.get(&format!("namespace/{ns}"), None), None);
    assert!(bench.recorded().1.is_empty());
}

#[test]
fn o7_disabled_or_protected_cleanup_is_remembered_and_done_later() {
    let (bench, ns) = two_projects("remembering");
    bench.kubectl(&["annotate", "configmap", "b-one", "-n", &ns, "kubernator.io/cleanup=keep"], "");
    bench.remove("a/one.yaml").remove("b/one.yaml");
    bench.ktor(&["apply", "--yes", "--cleanup", "false"]).exits(0);
    assert!(bench.get("configmap/a-one", Some(&ns)).is_some());
    assert_eq!(bench.recorded().1.len(), 3);
    bench.apply();
    assert_eq!(bench.get("configmap/a-one", Some(&ns)), None);
    assert!(bench.get("configmap/b-one", Some(&ns)).is_some());
    bench.kubectl(&["annotate", "configmap", "b-one", "-n", &ns, "kubernator.io/cleanup-"], "");
    bench.apply();
    assert_eq!(bench.get("configmap/b-one", Some(&ns)), None);
    assert_eq!(bench.recorded().1.len(), 1);
}

#[test]
fn s7_a_broken_file_fails_its_own_project_and_turns_off_deletions_everywhere() {
    let (bench, ns) = two_projects("broken");
    bench
        .write("a/broken.yaml", "a: 1\nb: [1\n")
        .remove("b/one.yaml")
        .write("b/two.yaml", &config_map(&ns, "b-two", "1"));
    bench.write("a/one.yaml", &config_map(&ns, "a-one", "2"));
    let (a, b) = (format!("{}.a", bench.root), format!("{}.b", bench.root));
    bench.ktor(&["plan", "-I", &a]).exits(1).says("a/broken.yaml:");
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(1).says("a/broken.yaml:").json();
    assert_eq!(change(&plan, "changes", "a-one")["reason"]["kind"], "unrendered", "{plan:#}");
    assert_eq!(change(&plan, "cleanup", "b-one")["action"], "keep", "{plan:#}");
    bench.ktor(&["apply", "--yes"]).exits(1).says("a/broken.yaml:");
    assert_eq!(bench.get("configmap/a-one", Some(&ns)).unwrap()["data"]["phase"], "1", "its project fails");
    assert!(bench.get("configmap/b-two", Some(&ns)).is_some(), "others go on");
    assert!(bench.get("configmap/b-one", Some(&ns)).is_some(), "and nothing is deleted");
    assert!(!bench.recorded().0, "nor finalized");
    bench.ktor(&["apply", "--yes", "-I", &b]).exits(3).says("a source of the tree cannot be rendered");
    assert!(bench.get("configmap/b-one", Some(&ns)).is_some());
    bench.remove("a/broken.yaml");
    bench.apply();
    assert_eq!(bench.get("configmap/b-one", Some(&ns)), None);
    assert_eq!(bench.get("configmap/a-one", Some(&ns)).unwrap()["data"]["phase"], "2");
}

#[test]
fn c6_what_any_tool_protects_on_the_live_object_is_kept_until_it_is_not() {
    let bench = Bench::new("protected");
    let ns = bench.root.clone();
    let protecting = [
        "kubernator.io/cleanup=keep",
        "helm.sh/resource-policy=keep",
        "argocd.argoproj.io/sync-options=Prune=false",
        "argocd.argoproj.io/sync-options=Validate=false,Delete=false",
        "kustomize.toolkit.fluxcd.io/prune=disabled",
        "kapp.k14s.io/delete-strategy=orphan",
        "kapp.k14s.io/disable-delete=",
    ];
    let without = ["helm.sh/resource-policy=other", "argocd.argoproj.io/sync-options=Validate=false"];
    bench.write("ns.yaml", &namespace(&ns));
    let all = || protecting.iter().chain(&without).enumerate().map(|(n, text)| (format!("o{n}"), *text));
    for (name, _) in all() {
        bench.write(&format!("objects/{name}.yaml"), &config_map(&ns, &name, "1"));
    }
    bench.apply();
    for (name, annotation) in all() {
        bench.kubectl(&["annotate", "configmap", &name, "-n", &ns, annotation], "");
    }
    bench.remove("objects");
    bench.apply();
    for (number, (name, annotation)) in all().enumerate() {
        let kept = bench.get(&format!("configmap/{name}"), Some(&ns)).is_some();
        assert_eq!(kept, number < protecting.len(), "{annotation}");
    }
    assert_eq!(bench.recorded().1[&bench.root].len(), 1 + protecting.len());
    for (name, annotation) in all().take(protecting.len()) {
        let (key, _) = annotation.split_once('=').unwrap();
        bench.kubectl(&["annotate", "configmap", &name, "-n", &ns, &format!("{key}-")], "");
    }
    bench.apply();
    assert_eq!(bench.recorded().1[&bench.root].len(), 1);
}

//! Fields of other managers, and objects that other tools created. A plan shows both values and the remedy. The root's
//! settings define which fields are left to others and which are taken over.

use serde_json::{Value, json};

use super::bench::{Bench, change, config_map, namespace};

fn project(begins: &str, settings: &str) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    set(&bench, settings);
    bench.write("ns.yaml", &namespace(&ns));
    (bench, ns)
}

fn set(bench: &Bench, settings: &str) {
    let ns = &bench.root;
    bench.write(".ktor.yaml", &format!("project: {ns}\ncleanup: true\nnamespace: {ns}\n{settings}"));
}

fn web(replicas: Option<u8>) -> String {
    let labels = json!({"app": "web"});
    let mut body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "example.invalid/c"}]}}}});
    if let Some(replicas) = replicas {
        body["spec"]["replicas"] = json!(replicas);
    }
    body.to_string()
}

fn scaler() -> String {
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"minReplicas": 1, "maxReplicas": 9, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}})
    .to_string()
}

fn replicas(bench: &Bench) -> Value {
    bench.get("deployment/web", Some(&bench.root)).unwrap()["spec"]["replicas"].clone()
}

fn writes_nothing(bench: &Bench) {
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    let again = bench.apply();
    assert_eq!(again["summary"]["configured"].as_u64().unwrap_or_default(), 0, "{again:#}");
}

const LEAVE: &str = "fields:\n- kinds: [Deployment]\n  pointers: [/spec/replicas]\n  policy: leave\n";
const FORCE: &str = "fields:\n- kinds: [apps/Deployment]\n  pointers: [/spec/replicas]\n  policy: force\n";

#[test]
fn a3_a_scaled_deployment_shows_both_values_and_the_remedy_and_is_left_or_taken_as_the_settings_say() {
    let (bench, ns) = project("scaled", "");
    bench.write("web.json", &web(Some(2)));
    bench.apply();
    bench.kubectl(&["scale", "deployment/web", "--replicas=4", "-n", &ns], "");
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(3).json();
    let blocked = change(&plan, "changes", "web");
    assert_eq!(blocked["action"], "blocked", "{blocked:#}");
    let words = blocked["reason"]["message"].as_str().unwrap();
    assert!(words.starts_with("conflict: .spec.replicas is held by kubectl: someone scaled it"), "{words}");
    let line = json!([{"path": "spec.replicas", "before": 4, "after": 2, "sensitive": false}]);
    assert_eq!(blocked["diff"], line, "{blocked:#}");
    let digest = plan["digest"].clone();

    set(&bench, LEAVE);
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
    assert_ne!(plan["digest"], digest);
    assert!(plan["notices"].to_string().contains("/spec/replicas of Deployment is left to other managers"), "{plan:#}");
    bench.apply();
    assert_eq!(replicas(&bench), 4);
    writes_nothing(&bench);

    // A field that was only ours keeps its value after the settings leave it to others.
    set(&bench, FORCE);
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
    let update = change(&plan, "changes", "web");
    assert_eq!((&update["action"], &update["diff"]), (&json!("update"), &line), "{plan:#}");
    assert!(plan["notices"].to_string().contains("is taken from other managers"), "{plan:#}");
    bench.apply();
    assert_eq!(replicas(&bench), 2);
    writes_nothing(&bench);
    set(&bench, LEAVE);
    bench.apply();
    assert_eq!(replicas(&bench), 2, "what was ours alone stays as it is");
    bench.kubectl(&["scale", "deployment/web", "--replicas=3", "-n", &ns], "");
    writes_nothing(&bench);
    assert_eq!(replicas(&bench), 3);
}

#[test]
fn a3_only_the_fields_that_the_settings_name_are_taken() {
    let (bench, ns) = project("partly", "fields:\n- kinds: [ConfigMap]\n  pointers: [/data/phase]\n  policy: force\n");
    bench.write("config.yaml", &(config_map(&ns, "config", "1") + "  other: \"1\"\n"));
    bench.apply();
    let theirs = json!({"data": {"phase": "theirs", "other": "theirs"}}).to_string();
    bench.kubectl(&["patch", "configmap", "config", "-n", &ns, "-p", &theirs], "");
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(3).json();
    let words = change(&plan, "changes", "config")["reason"]["message"].as_str().unwrap().to_owned();
    assert!(words.starts_with("conflict: .data.other is held by kubectl-patch: "), "{words}");
    bench.write("config.yaml", &config_map(&ns, "config", "1"));
    bench.apply();
    let data = bench.get("configmap/config", Some(&ns)).unwrap()["data"].clone();
    assert_eq!(data, json!({"phase": "1", "other": "theirs"}));
    writes_nothing(&bench);
}

#[test]
fn a3_an_autoscaler_takes_replicas_over_in_one_commit() {
    let (bench, _) = project("autoscaled", "");
    bench.write("web.json", &web(Some(3)));
    bench.apply();
    bench.write("web.json", &web(None)).write("scaler.json", &scaler());
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
    assert!(!change(&plan, "changes", "web")["diff"].to_string().contains("replicas"), "{plan:#}");
    bench.apply();
    assert_eq!(replicas(&bench), 3);
    writes_nothing(&bench);
}

/// The way in which other tools apply: preset, field manager, the note on their objects, and the tool's name in
/// reports.
const TOOLS: [(&str, &str, &str, &str); 5] = [
    ("helm", "helm", "app.kubernetes.io/managed-by=Helm", "Helm"),
    ("argocd", "argocd-controller", "argocd.argoproj.io/instance=x", "Argo CD"),
    ("flux", "kustomize-controller", "kustomize.toolkit.fluxcd.io/name=x", "Flux"),
    ("kapp", "kapp-server-side-fieldmanager", "kapp.k14s.io/app=1", "kapp"),
    ("kubectl", "kubectl", "plain=1", ""),
];

#[test]
fn a3_what_other_tools_applied_counts_as_ours_where_the_settings_say_so() {
    for (preset, manager, label, tool) in TOOLS {
        let (bench, ns) = project(&format!("from-{preset}"), "");
        bench.kubectl(&["create", "namespace", &ns], "");
        let (name, value) = label.split_once('=').unwrap();
        let mut theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"phase": "1", "dropped": "1"},
            "metadata": {"name": "config", "namespace": ns}});
        theirs["metadata"]["labels"] = json!({name: value});
        let field_manager = format!("--field-manager={manager}");
        bench.kubectl(&["apply", "--server-side", &field_manager, "-f", "-"], &theirs.to_string());
        bench.write("config.yaml", &config_map(&ns, "config", "2"));
        let plan = bench.ktor(&["plan", "-o", "json"]).exits(3).json();
        let blocked = change(&plan, "changes", "config");
        let words = blocked["reason"]["message"].as_str().unwrap();
        assert!(words.contains("adoptManagers"), "{preset}: {words}");
        // The object is not ours, so its live values are not shown.
        assert!(blocked["diff"].as_array().unwrap().iter().all(|line| line["before"].is_null()), "{blocked:#}");
        let digest = plan["digest"].clone();

        set(&bench, &format!("adoptManagers: [{preset}]\n"));
        let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
        assert_ne!(plan["digest"], digest, "{preset}");
        let adopted = change(&plan, "changes", "config");
        assert_eq!(adopted["action"], "adopt", "{preset}: {plan:#}");
        let notices = plan["notices"].to_string();
        assert!(notices.contains(manager) && notices.contains("counts as its own"), "{preset}: {notices}");
        assert_eq!(notices.contains(&format!("is managed by {tool}")), !tool.is_empty(), "{preset}: {notices}");
        bench.apply();
        let config = bench.get("configmap/config", Some(&ns)).unwrap();
        assert_eq!(config["data"], json!({"phase": "2"}), "{preset}: what the manifest lacks disappears");
        writes_nothing(&bench);
    }
}

#[test]
fn a3_settings_that_mean_nothing_are_errors_with_their_place() {
    for (settings, line, words) in [
        ("fields:\n- kinds: [Deployment]\n  pointers: [spec.replicas]\n  policy: leave\n", 6, "is not a JSON pointer"),
        ("fields:\n- kinds: [a b]\n  pointers: [/spec/x]\n  policy: leave\n", 5, "is not a kind"),
        ("fields:\n- kinds: [A]\n  pointers: [/metadata/name]\n  policy: leave\n", 6, "a part of every object"),
    ] {
        let (bench, _) = project("settings", settings);
        let ran = bench.ktor(&["plan", "-o", "json"]);
        assert_ne!(ran.code, Some(0), "{ran:#?}");
        assert!(ran.stderr.contains(&format!(".ktor.yaml:{line}:")) && ran.stderr.contains(words), "{ran:#?}");
    }
    let (bench, _) = project("below", "");
    bench.write("sub/.ktor.yaml", "project: sub\nadoptManagers: [helm]\n");
    bench.ktor(&["plan"]).says("`adoptManagers` is set at the root");
}

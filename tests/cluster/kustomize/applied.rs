//! Overlays with generators on the real control plane.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::KUSTOMIZE;
use crate::bench::{Bench, Ran, namespace};
use crate::waiting::until;

/// A base with a Deployment whose settings are generated, and an overlay of it.
struct Overlay {
    bench: Bench,
    ns: String,
}

impl Overlay {
    fn new(begins: &str, settings: &str) -> Self {
        let bench = Bench::new(begins);
        let ns = bench.root.clone();
        bench
            .write(".ktor.yaml", &format!("project: {ns}\ncleanup: true\n{settings}"))
            .write("namespace.yaml", &namespace(&ns))
            .write("web/base/kustomization.yaml", "resources: [web.yaml]\n")
            .write("web/prod/app.conf", "color = red\n");
        let overlay = Self { bench, ns };
        overlay.node("").image(1).mode("a")
    }

    /// Names the only node that the Deployment fits on. No node has a name, so it then never gets ready.
    fn node(self, node: &str) -> Self {
        let selector = if node.is_empty() { String::new() } else { format!("      nodeSelector: {{node: {node}}}\n") };
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  selector: {{matchLabels: {{app: web}}}}\n  \
             template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n{selector}      containers:\n      - name: web\n        \
             image: registry.example.com/shop/web:1\n        envFrom: [{{configMapRef: {{name: settings}}}}]\n"
        );
        self.bench.write("web/base/web.yaml", &text);
        self
    }

    fn image(self, tag: u32) -> Self {
        self.bench.write("web/prod/app.conf", &format!("tag = {tag}\n"));
        self
    }

    /// Changes the content of the generated ConfigMap.
    fn mode(self, mode: &str) -> Self {
        let text = format!(
            "namespace: {}\nresources: [../base]\nconfigMapGenerator:\n- name: settings\n  files: [app.conf]\n  literals: [mode={mode}]\n",
            self.ns
        );
        self.bench.write("web/prod/kustomization.yaml", &text);
        self
    }

    fn ktor(&self, arguments: &[&str]) -> Ran {
        Bench::finished(self.bench.spawn_beside(KUSTOMIZE.parent().unwrap(), arguments))
    }

    #[track_caller]
    fn apply(&self) -> Value {
        self.ktor(&["apply", "--yes", "-o", "json"]).exits(0).json()
    }

    /// Returns the modes of the live generations.
    fn modes(&self) -> BTreeSet<String> {
        let listed = self.bench.kubectl(&["get", "configmap", "-n", &self.ns, "-o", "json"], "");
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let items = listed["items"].as_array().unwrap().iter();
        items.filter_map(|item| Some(item["data"]["mode"].as_str()?.to_owned())).collect()
    }

    /// Returns the name of the ConfigMap that the Deployment uses, if it is live.
    fn used(&self) -> String {
        let web = self.bench.get("deployment/web", Some(&self.ns)).unwrap();
        let name = &web["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"];
        name.as_str().unwrap().to_owned()
    }
}

fn set<const N: usize>(modes: [&str; N]) -> BTreeSet<String> {
    modes.map(str::to_owned).into()
}

#[test]
fn k5_a_generation_is_deleted_after_the_rollout_of_the_next_one() {
    let overlay = Overlay::new("generations", "");
    assert_eq!(overlay.apply()["summary"]["created"], 3);
    let first = overlay.used();
    let again = overlay.apply();
    let summary = again["summary"].as_object().unwrap();
    assert!(summary.iter().all(|(word, count)| word == "unchanged" || *count == 0), "{again:#}");

    let overlay = overlay.mode("b");
    let outcome = overlay.apply();
    assert_eq!((&outcome["summary"]["created"], &outcome["summary"]["deleted"]), (&1.into(), &1.into()), "{outcome:#}");
    assert_ne!(overlay.used(), first);
    assert_eq!(overlay.modes(), set(["b"]));
    let web = overlay.bench.get("deployment/web", Some(&overlay.ns)).unwrap();
    assert_eq!(web["status"]["updatedReplicas"], 1, "{web:#}");

    // The rollout does not end, so the pods of before still need their ConfigMap.
    let overlay = overlay.mode("c").node("nowhere");
    let failed = overlay.ktor(&["apply", "--yes", "-o", "json", "--readiness-timeout", "3s"]);
    assert_ne!(failed.code, Some(0));
    assert_eq!(overlay.modes(), set(["b", "c"]));
    let overlay = overlay.node("");
    overlay.apply();
    assert_eq!(overlay.modes(), set(["c"]));
}

#[test]
fn k5_the_generation_before_the_current_one_stays_where_the_settings_say_so() {
    let overlay = Overlay::new("previous", "kustomize: {keepPrevious: true}\n");
    overlay.apply();
    let mut overlay = overlay;
    for (mode, live) in [("b", set(["a", "b"])), ("c", set(["b", "c"])), ("d", set(["c", "d"]))] {
        // A server notes the time of a creation in seconds.
        let began = Instant::now();
        until("another second", || began.elapsed() > Duration::from_millis(1100));
        overlay = overlay.mode(mode);
        let plan = overlay.ktor(&["plan"]).exits(0).stdout;
        assert!(plan.contains("the generation before the current one"), "{plan}");
        overlay.apply();
        assert_eq!(overlay.modes(), live, "{mode}");
        let again = overlay.apply();
        assert_eq!(again["summary"]["deleted"], 0, "{again:#}");
    }
    // Where nothing generates the ConfigMap any more, there is nothing to go back to.
    overlay
        .bench
        .remove("web/prod/kustomization.yaml")
        .write("web/prod/kustomization.yaml", &format!("namespace: {}\nresources: [../base]\n", overlay.ns));
    overlay.apply();
    assert_eq!(overlay.modes(), set([]));
}

#[test]
fn k5_a_run_that_dies_between_two_generations_leaves_what_the_next_one_finishes() {
    let overlay = Overlay::new("torn-generations", "");
    overlay.apply();
    let overlay = overlay.mode("b");
    let mut run = overlay.bench.spawn_beside(KUSTOMIZE.parent().unwrap(), &["apply", "--yes"]);
    until("the new generation", || overlay.modes().contains("b"));
    run.kill().unwrap();
    run.wait().unwrap();
    let overlay = overlay.mode("c");
    let outcome = overlay.ktor(&["apply", "--yes", "-o", "json", "--lock-timeout", "90s"]).exits(0).json();
    assert_eq!(outcome["summary"]["created"], 1, "{outcome:#}");
    assert_eq!(overlay.modes(), set(["c"]));
    // A request of the run that died could still arrive, so its objects are forgotten by the run after.
    overlay.apply();
    let (is_finalized, recorded) = overlay.bench.recorded();
    let names = recorded.into_values().flatten().filter(|name| name.starts_with("ConfigMap")).count();
    assert_eq!((is_finalized, names), (true, 1));
}

//! Releases on the real control plane.

use serde_json::Value;

use super::newest;
use crate::bench::{Bench, Ran, namespace};

fn ktor(bench: &Bench, arguments: &[&str]) -> Ran {
    Bench::finished(bench.spawn_beside(newest().parent().unwrap(), arguments))
}

#[track_caller]
fn apply(bench: &Bench) -> Value {
    ktor(bench, &["apply", "--yes", "-o", "json"]).exits(0).json()
}

fn hook(kind: &str, name: &str, moment: &str, spec: &str) -> String {
    let version = if kind == "Job" { "batch/v1" } else { "v1" };
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {{{{ .Release.Name }}}}-{name}\n  annotations:\n    \
         helm.sh/hook: {moment}\n    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded\nspec:\n{spec}"
    )
}

#[test]
fn k5_a_release_with_hooks_and_definitions_is_applied_once_and_the_second_apply_writes_nothing() {
    let bench = Bench::new("helm");
    let (ns, group) = (bench.root.clone(), format!("{}.example.com", bench.root));
    let pod =
        "    spec:\n      restartPolicy: Never\n      containers: [{name: c, image: registry.example.com/shop/c:1}]\n";
    let job_spec = format!("  ttlSecondsAfterFinished: 0\n  template:\n{pod}");
    let definition = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: tills.{group}}}\nspec:\n  \
         group: {group}\n  scope: Namespaced\n  names: {{kind: Till, plural: tills}}\n  versions:\n  - name: v1\n    served: true\n    \
         storage: true\n    schema: {{openAPIV3Schema: {{type: object, properties: {{spec: {{type: object, properties: {{drawer: \
         {{type: integer}}}}}}}}}}}}\n"
    );
    let objects = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {{{{ .Values.replicas }}}}\n  \
         selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{containers: \
         [{{name: web, image: registry.example.com/shop/web:1}}]}}\n---\napiVersion: {group}/v1\nkind: Till\nmetadata: {{name: \
         front}}\nspec: {{drawer: 7}}\n"
    );
    bench
        .write("namespace.yaml", &namespace(&ns))
        .write(
            "web.helm.yaml",
            &format!("chart: charts/web\nname: web\nnamespace: {ns}\nhooks: apply\nvalues: {{replicas: 2}}\n"),
        )
        .write("charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n")
        .write("charts/web/crds/till.yaml", &definition)
        .write("charts/web/templates/objects.yaml", &objects)
        .write("charts/web/templates/migrate.yaml", &hook("Job", "migrate", "pre-install,pre-upgrade", &job_spec))
        .write("charts/web/templates/clean.yaml", &hook("Job", "clean", "pre-delete", &job_spec))
        .write("charts/web/templates/test.yaml", &hook("Pod", "test", "test", "  containers: [{name: c, image: c}]\n"));
    let outcome = apply(&bench);
    assert_eq!(outcome["summary"]["created"], 5, "{outcome:#}");
    let job = bench.get("job/web-migrate", Some(&ns)).unwrap();
    assert_eq!(job["status"]["succeeded"], 1, "{job:#}");
    assert!(job["spec"].get("ttlSecondsAfterFinished").is_none(), "{job:#}");
    assert!(!job["metadata"]["annotations"].to_string().contains("helm.sh"), "{job:#}");
    assert_eq!(bench.get(&format!("tills.{group}/front"), Some(&ns)).unwrap()["spec"]["drawer"], 7);
    assert_eq!(bench.get("deployment/web", Some(&ns)).unwrap()["status"]["availableReplicas"], 2);
    for absent in ["job/web-clean", "pod/web-test"] {
        assert_eq!(bench.get(absent, Some(&ns)), None);
    }
    let versions = || {
        let names = ["job/web-migrate", "deployment/web"];
        names.map(|name| bench.get(name, Some(&ns)).unwrap()["metadata"]["resourceVersion"].clone())
    };
    let before = versions();
    let again = apply(&bench);
    let summary = again["summary"].as_object().unwrap();
    assert!(summary.iter().all(|(word, count)| word == "unchanged" || *count == 0), "{again:#}");
    assert_eq!(versions(), before);
    ktor(&bench, &["plan", "--detailed-exitcode"]).exits(0);

    // A change of the values reaches the Deployment, and leaves the finished Job alone.
    bench.write(
        "web.helm.yaml",
        &format!("chart: charts/web\nname: web\nnamespace: {ns}\nhooks: apply\nvalues: {{replicas: 3}}\n"),
    );
    let changed = apply(&bench);
    assert_eq!(changed["summary"]["configured"], 1, "{changed:#}");
    assert_eq!(bench.get("job/web-migrate", Some(&ns)).unwrap()["metadata"]["uid"], job["metadata"]["uid"]);

    // A hook whose template changes runs again, and no guard has to be opened for it.
    let next = job_spec.replace("shop/c:1", "shop/c:2");
    bench.write("charts/web/templates/migrate.yaml", &hook("Job", "migrate", "pre-install,pre-upgrade", &next));
    let changed = apply(&bench);
    assert_eq!(changed["summary"]["replaced"], 1, "{changed:#}");
    let again = bench.get("job/web-migrate", Some(&ns)).unwrap();
    assert_ne!(again["metadata"]["uid"], job["metadata"]["uid"]);
    assert_eq!(again["status"]["succeeded"], 1, "{again:#}");
    ktor(&bench, &["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn k5_hooks_without_a_policy_stop_the_apply_before_it_writes() {
    let bench = Bench::new("helm-hooks");
    let ns = bench.root.clone();
    bench
        .write("namespace.yaml", &namespace(&ns))
        .write("web.helm.yaml", &format!("chart: charts/web\nname: web\nnamespace: {ns}\n"))
        .write("charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n")
        .write("charts/web/templates/x.yaml", &hook("Job", "migrate", "post-install", "  template: {}\n"));
    let refused = ktor(&bench, &["apply", "--yes"]);
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    let text = format!("{}{}", refused.stdout, refused.stderr);
    assert!(
        text.contains("the chart has hooks for installs and upgrades: Job web-migrate (post-install)"),
        "{refused:#?}"
    );
    assert_eq!(bench.get(&format!("namespace/{ns}"), None), None);
    bench.write(".ktor.yaml", &format!("project: {ns}\ncleanup: true\nhelm: {{hooks: skip}}\n"));
    assert_eq!(apply(&bench)["summary"]["created"], 1);
    assert_eq!(bench.get("job/web-migrate", Some(&ns)), None);
}

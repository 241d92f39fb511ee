//! An object that never becomes ready. It stops the deletions of its own project, and nothing else.

use std::time::Duration;

use ktor_action::git::commit::Commit;
use ktor_action::object::mark::Root;
use ktor_action::project::path::Segment;
use serde_json::{Value, json};
use support::repository::TestRepository;
use support::workflow_run::Event;

use super::bench::{Bench, Ran, change, config_map, namespace};
use super::waiting::{until, workload};
use crate::story::Story;

const NOWHERE: &str = "no.example.com/node";

/// A root with the projects `a` and `b`. Both have a ConfigMap, and `a` has a Deployment that fits on no node.
struct Sick {
    bench: Bench,
    ns: String,
}

impl Sick {
    fn new(begins: &str) -> Self {
        let bench = Bench::new(begins);
        let ns = bench.root.clone();
        bench.write("ns.yaml", &namespace(&ns));
        let sick = Self { bench, ns };
        for project in ["a", "b"] {
            sick.bench.write(&format!("{project}/.ktor.yaml"), &format!("project: {project}\n"));
            sick.config(project, "old");
        }
        sick
    }

    fn deployment(&self) -> Value {
        workload("Deployment", &self.ns, "web", Some(NOWHERE))
    }

    fn config(&self, project: &str, name: &str) {
        let text = config_map(&self.ns, &format!("{project}-{name}"), "1");
        self.bench.write(&format!("{project}/{name}.yaml"), &text);
    }

    fn drop(&self, project: &str, name: &str) {
        self.bench.remove(&format!("{project}/{name}.yaml"));
    }

    fn lives(&self, name: &str) -> bool {
        self.bench.get(&format!("configmap/{name}"), Some(&self.ns)).is_some()
    }

    fn apply(&self, timeout: &str) -> Ran {
        self.bench.ktor(&["apply", "--yes", "-o", "json", "--readiness-timeout", timeout])
    }

    /// Returns an annotation of the state's Secret.
    fn note(&self, name: &str) -> String {
        let secret = format!("secret/kubernator-project-{}", self.bench.hash());
        let secret = self.bench.get(&secret, Some("kubernator-system")).unwrap();
        secret["metadata"]["annotations"][name].as_str().unwrap_or_default().to_owned()
    }

    fn open(&self) -> String {
        self.note("kubernator.io/ktor-open").replace(&self.ns, "root")
    }
}

#[test]
fn r16_one_sick_deployment_keeps_the_deletions_of_its_project_alone_and_the_report_says_how_to_go_on() {
    let sick = Sick::new("sick");
    let (bench, ns) = (&sick.bench, &sick.ns);
    bench.write("a/web.json", &sick.deployment().to_string());
    // If an object that the run changes does not become ready, the run ends and deletes nothing, in any project.
    let ran = sick.apply("3s").exits(1).json();
    assert_eq!((&ran["summary"]["failed"], &ran["summary"]["unready"]), (&json!(1), &json!(0)), "{ran:#}");
    assert!(!bench.recorded().0);

    sick.drop("a", "old");
    sick.drop("b", "old");
    let plan = bench.plan();
    let told = format!("Unless that changes, nothing is deleted in {ns}.a (for Deployment.apps {ns}/web).");
    assert!(plan["notices"].to_string().contains(&told), "{plan:#}");
    assert_eq!(plan["summary"]["delete"], 2, "it may become ready: {plan:#}");
    let digest = plan["digest"].clone();

    let ran = sick.apply("6s").exits(1);
    let ran = ran.says(&format!("Deployment.apps {ns}/web is not ready")).says("Unschedulable");
    let ran = ran.says(&format!("Nothing is deleted in {ns}.a until it is ready, paused, scaled to 0, removed"));
    let report = ran.json();
    let count = |verdict: &str| report["summary"][verdict].as_u64().unwrap();
    assert_eq!((count("unready"), count("failed"), count("deleted")), (1, 0, 1), "{report:#}");
    assert_eq!((&report["complete"], &report["error"], &report["digest"]), (&json!(false), &Value::Null, &digest));
    assert!(!sick.lives("b-old") && sick.lives("a-old"));
    let kept = change(&report, "kept", "a-old");
    let web = json!({"group": "apps", "kind": "Deployment", "namespace": ns, "name": "web"});
    assert_eq!((&kept["reason"]["kind"], &kept["reason"]["object"]), (&json!("not-ready"), &web));
    let (finalized, recorded) = bench.recorded();
    assert!(finalized && recorded[&format!("{ns}.a")].contains(&"ConfigMap a-old".to_owned()), "{recorded:?}");
    assert_eq!((sick.open().as_str(), bench.lease()), ("root.a", None));

    // The next change in another project is carried out completely, in its first run.
    sick.config("b", "new");
    assert_eq!(sick.apply("1s").exits(1).json()["summary"]["created"], 1);
    sick.drop("b", "new");
    assert_eq!(sick.apply("1s").exits(1).json()["summary"]["deleted"], 1);
    assert!(!sick.lives("b-new") && sick.lives("a-old"));
    assert_eq!(bench.recorded().1.get(&format!("{ns}.b")), None, "what is gone leaves the record");

    // After the repair, the deletions of the project are made, and there is nothing left to do.
    bench.write("a/web.json", &workload("Deployment", ns, "web", None).to_string());
    assert_eq!(sick.apply("90s").exits(0).json()["summary"]["deleted"], 1);
    assert!(!sick.lives("a-old"));
    assert_eq!(sick.open(), "");
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn r16_one_that_becomes_ready_while_it_is_waited_for_keeps_nothing() {
    let sick = Sick::new("heals");
    let label = format!("{}.example.com", sick.ns);
    sick.bench.write("a/web.json", &workload("Deployment", &sick.ns, "web", Some(&label)).to_string());
    sick.apply("3s").exits(1);
    sick.drop("a", "old");
    let run = sick.bench.spawn(&["apply", "--yes", "-o", "json", "--readiness-timeout", "90s"]);
    std::thread::sleep(Duration::from_secs(2));
    let nodes = sick.bench.kubectl(&["get", "nodes", "-o", "name"], "");
    sick.bench.kubectl(&["label", nodes.lines().next().unwrap(), &format!("{label}=yes")], "");
    let ran = Bench::finished(run).exits(0).json();
    assert_eq!((&ran["summary"]["deleted"], &ran["complete"]), (&json!(1), &json!(true)), "{ran:#}");
    assert_eq!(sick.open(), "");
}

#[test]
fn r16_each_way_on_that_the_report_names_works() {
    let spec = |change: fn(&mut Value)| {
        move |mut body: Value| {
            change(&mut body);
            Some(body)
        }
    };
    type Way = Box<dyn Fn(Value) -> Option<Value>>;
    let ways: [(&str, Way); 4] = [
        ("paused", Box::new(spec(|body| body["spec"]["paused"] = json!(true)))),
        ("scaled", Box::new(spec(|body| body["spec"]["replicas"] = json!(0)))),
        ("unwaited", Box::new(spec(|body| body["metadata"]["annotations"] = json!({"kubernator.io/wait": "false"})))),
        ("removed", Box::new(|_| None)),
    ];
    for (name, way) in ways {
        let sick = Sick::new(name);
        sick.bench.write("a/web.json", &sick.deployment().to_string());
        sick.apply("2s").exits(1);
        sick.drop("a", "old");
        sick.apply("2s").exits(1).says("until it is ready");
        assert!(sick.lives("a-old"));
        match way(sick.deployment()) {
            Some(body) => sick.bench.write("a/web.json", &body.to_string()),
            None => sick.bench.remove("a/web.json"),
        };
        sick.apply("60s").exits(0);
        assert!(!sick.lives("a-old"), "{name}");
        sick.bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    }
}

#[test]
fn r16_what_the_run_changes_in_vain_still_ends_it() {
    let sick = Sick::new("invain");
    let mut web = sick.deployment();
    for image in ["example.invalid/one", "example.invalid/two"] {
        web["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        sick.bench.write("a/web.json", &web.to_string());
        if image.ends_with("two") {
            sick.drop("b", "old");
        }
        let ran = sick.apply("3s").exits(1).says("it did not become ready").json();
        assert_eq!((&ran["summary"]["failed"], &ran["summary"]["unready"]), (&json!(1), &json!(0)), "{ran:#}");
        assert!(ran["error"].is_string() && sick.lives("b-old") && !sick.bench.recorded().0, "{ran:#}");
        assert!(sick.bench.plan()["notices"].to_string().contains("The last run did not finish"));
    }
    // The same tree is applied again. The object was already unready before this run, so the run continues.
    let ran = sick.apply("3s").exits(1).json();
    assert_eq!((&ran["summary"]["unready"], &ran["summary"]["deleted"]), (&json!(1), &json!(1)), "{ran:#}");
    assert!(!sick.lives("b-old") && sick.bench.recorded().0);
}

#[test]
fn r16_whatever_kind_of_object_is_sick_later_waves_go_on() {
    let sick = Sick::new("kinds");
    let (bench, ns) = (&sick.bench, &sick.ns);
    let group = format!("{ns}.example.com");
    let crd = |plural: &str, kind: &str| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
    };
    // A kind has one plural. The server never serves the second CRD that claims it.
    bench.kubectl(&["create", "-f", "-"], &crd("booths", "Booth").to_string());
    bench.write("crd.json", &crd("gates", "Gate").to_string());
    let mut daemon = workload("DaemonSet", ns, "sick", None);
    daemon["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100000"}});
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sick", "namespace": ns}});
    job["spec"] = json!({"activeDeadlineSeconds": 1, "template": workload("Deployment", ns, "job", Some(NOWHERE))["spec"]["template"]});
    job["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    job["spec"]["template"]["metadata"]["labels"] = json!({"job": "sick"});
    let mut stalled = workload("Deployment", ns, "stalled", Some(NOWHERE));
    stalled["spec"]["progressDeadlineSeconds"] = json!(1);
    let gate =
        json!({"apiVersion": format!("{group}/v1"), "kind": "Gate", "metadata": {"name": "sick", "namespace": ns}});
    let all = [
        ("daemon", daemon),
        ("store", workload("StatefulSet", ns, "sick", Some(NOWHERE))),
        ("job", job),
        ("stalled", stalled),
        ("gate", gate),
        ("crd", crd("stalls", "Booth")),
    ];
    for (project, body) in &all {
        bench.write(&format!("{project}/.ktor.yaml"), &format!("project: {project}\n"));
        bench.write(&format!("{project}/sick.json"), &body.to_string());
        sick.config(project, "old");
    }
    let failed = sick.apply("5s").exits(1).json();
    assert_eq!(failed["summary"]["failed"], 5, "the gate has no controller yet: {failed:#}");
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Closed", "message": "for good"}]}});
    let (resource, status) = (format!("gates.{group}"), status.to_string());
    let patch = ["patch", &resource, "sick", "-n", ns, "--subresource=status", "--type=merge", "-p", &status];
    bench.kubectl(&patch, "");
    until("failed", || {
        let conditions =
            |kind: &str, name: &str| bench.get(&format!("{kind}/{name}"), Some(ns)).unwrap()["status"].to_string();
        conditions("job", "sick").contains("DeadlineExceeded")
            && conditions("deployment", "stalled").contains("ProgressDeadlineExceeded")
    });
    for (project, _) in &all {
        sick.drop(project, "old");
        sick.config(project, "new");
    }
    sick.drop("b", "old");
    let ran = sick.apply("5s").exits(1).json();
    let count = |verdict: &str| ran["summary"][verdict].as_u64().unwrap();
    assert_eq!((count("unready"), count("failed"), count("created"), count("deleted")), (6, 0, 6, 1), "{ran:#}");
    assert!(all.iter().all(|(project, _)| sick.lives(&format!("{project}-old"))), "{ran:#}");
    assert_eq!(sick.open(), "root.crd root.daemon root.gate root.job root.stalled root.store");
    let said = |name: &str| change(&ran, "applied", name)["message"].as_str().unwrap();
    assert!(said("stalled").contains("Unschedulable"), "the pod's reason, also where time does not heal it: {ran:#}");
    assert!(said(&format!("stalls.{group}")).contains("Conflict"), "{ran:#}");
}

#[test]
fn r16_a_review_is_remembered_until_what_is_sick_is_repaired_and_other_pull_requests_are_carried_out() {
    let story = Story::new("sick-review");
    let ns = &story.root;
    let run = |event: &Event, commit: &Commit, more: &[(&str, &str)]| {
        let checkout = TestRepository::checkout(&story.origin, commit);
        let inputs: Vec<(&str, &str)> = [("KTOR_INPUT_READINESS_TIMEOUT", "3s")].iter().chain(more).copied().collect();
        story.run_with(&checkout, event, Some(&story.kubeconfig()), &inputs)
    };
    let reviewed_from = || {
        let name = Root::new(Segment::new(ns).unwrap()).state_name();
        let found = story.plane.kubectl(&["get", "secret", &name, "-n", "kubernator-system", "-o", "json"]);
        let found: Value = serde_json::from_slice(&found.stdout).unwrap();
        found["metadata"]["annotations"]["kubernator.io/ktor-reviewed-from"].as_str().unwrap_or_default().to_owned()
    };
    let (event, commit) = story.push(|story| {
        for project in ["a", "b"] {
            story.origin.write(format!("k8s/{project}/.ktor.yaml"), format!("project: {project}\n"));
            story.config(&format!("{project}/{project}-old"), "1").config(&format!("{project}/{project}-older"), "1");
        }
    });
    assert_eq!(run(&event, &commit, &[]).exit, 0);
    let (event, commit) = story.push(|story| {
        story.origin.write("k8s/a/web.json", workload("Deployment", ns, "web", Some(NOWHERE)).to_string());
    });
    assert_eq!(run(&event, &commit, &[]).exit, 1);
    // The first of these runs settles the state that the failed run left. The second starts from a settled state.
    let mut settled = commit;
    for value in ["2", "3"] {
        let (event, commit) = story.push(|story| {
            story.config("b/b-new", value);
        });
        let ran = run(&event, &commit, &[]);
        assert!(ran.exit == 1 && ran.log.contains("is not ready"), "{}", ran.log);
        assert_eq!(story.live()["b-new"], value);
        settled = commit;
    }
    assert_eq!(reviewed_from(), "");

    let (opened, merge) = story.propose("opened", |story| {
        story.remove("a/a-old").remove("b/b-old");
    });
    let ran = run(&opened, &merge, &[]);
    assert_eq!((ran.exit, story.shown_deletions()), (0, vec!["a-old".to_owned(), "b-old".to_owned()]), "{}", ran.log);
    let told = format!("nothing is deleted in {ns}.a (for Deployment.apps {ns}/web)");
    assert!(story.comment().body.contains(&told), "{}", story.comment().body);
    let (closed, merged) = story.merge();
    let ran = run(&closed, &merged, &[]);
    let is_live = |name: &str| story.live().contains_key(name);
    assert!(ran.exit == 1 && is_live("a-old") && !is_live("b-old"), "{}\n{}", ran.log, ran.summary);
    assert!(ran.summary.contains("**Not ready:**") && !ran.summary.contains("ended early"), "{}", ran.summary);
    assert!(
        ran.summary.contains("## Applied") && ran.summary.contains("Everything else was done and is recorded."),
        "{}",
        ran.summary
    );
    assert_eq!(reviewed_from(), settled.as_str(), "just before the commit whose review still waits");
    let (event, commit) = story.push(|story| {
        story.config("b/b-new", "4");
    });
    assert_eq!((run(&event, &commit, &[]).exit, reviewed_from().as_str()), (1, settled.as_str()));

    let (event, commit) = story.push(|story| {
        story.origin.write("k8s/a/web.json", workload("Deployment", ns, "web", None).to_string());
    });
    let inputs = [("KTOR_INPUT_READINESS_TIMEOUT", "90s"), ("KTOR_INPUT_ALLOW_UNREVIEWED_DELETIONS", "true")];
    let ran = run(&event, &commit, &inputs);
    assert!(ran.exit == 0 && !is_live("a-old") && is_live("a-older"), "{}", ran.log);
    assert_eq!(reviewed_from(), "");
}

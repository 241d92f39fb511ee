//! The recorded objects of kinds that the server now serves in other versions, no longer serves, or cannot answer for.

use std::time::{Duration, Instant};

use http::{Method, header};
use serde_json::{Value, json};
use support::controlplane::{Fault, Recorder, User};

use super::bench::{Bench, change, config_map, namespace};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A project, and a kind whose CRD another owner defines.
struct Shop {
    bench: Bench,
    ns: String,
    group: String,
}

impl Shop {
    /// Creates a shop whose kind is served in these versions and stored in the last one. Without versions, no CRD
    /// defines it.
    fn open(begins: &str, versions: &[&str]) -> Self {
        Self::on(Bench::new(begins), versions)
    }

    fn on(bench: Bench, versions: &[&str]) -> Self {
        let (ns, group) = (bench.root.clone(), format!("{}.example.com", bench.root));
        let shop = Self { bench, ns, group };
        if !versions.is_empty() {
            shop.define(versions);
        }
        shop.bench.write("ns.yaml", &namespace(&shop.ns));
        shop
    }

    fn definition(&self, versions: &[&str]) -> Value {
        let entry = |version: &&str| {
            json!({"name": version, "served": true, "storage": Some(version) == versions.last(), "schema": {
                "openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "drawer": {"type": "integer"}}}}}}})
        };
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("tills.{}", self.group)},
            "spec": {"group": self.group, "scope": "Namespaced", "names": {"kind": "Till", "plural": "tills"},
                "versions": versions.iter().map(entry).collect::<Vec<_>>()}})
    }

    /// Defines the kind in exactly these versions, as another owner does.
    fn define(&self, versions: &[&str]) {
        let text = self.definition(versions).to_string();
        self.bench.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &text);
        let served: Vec<String> = versions.iter().map(ToString::to_string).collect();
        let mut served = served;
        served.sort();
        self.until("the versions are served", || self.discovered().0 == served);
    }

    fn till(&self, version: &str, name: &str) -> String {
        self.till_with(version, name, 7)
    }

    fn till_with(&self, version: &str, name: &str, drawer: u8) -> String {
        json!({"apiVersion": format!("{}/{version}", self.group), "kind": "Till",
            "metadata": {"name": name, "namespace": self.ns}, "spec": {"drawer": drawer}})
        .to_string()
    }

    fn live(&self, name: &str) -> Option<Value> {
        self.bench.get(&format!("tills.{}/{name}", self.group), Some(&self.ns))
    }

    /// Returns the versions of the kind in discovery, and `true` if discovery reports that the group's server does not
    /// answer.
    fn discovered(&self) -> (Vec<String>, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let text = runtime.block_on(async {
            let request = http::Request::get("/apis").header(header::ACCEPT, AGGREGATED).body(Vec::new()).unwrap();
            self.bench.plane.client().request_text(request).await.unwrap()
        });
        let document: Value = serde_json::from_str(&text).unwrap();
        let groups = document["items"].as_array().unwrap();
        let Some(group) = groups.iter().find(|group| group["metadata"]["name"] == self.group.as_str()) else {
            return (Vec::new(), false);
        };
        let versions = group["versions"].as_array().unwrap();
        let has_kind = |version: &&Value| {
            let resources = version["resources"].as_array();
            resources.is_some_and(|all| all.iter().any(|one| one["resource"] == "tills"))
        };
        let mut served: Vec<String> =
            versions.iter().filter(has_kind).map(|version| version["version"].as_str().unwrap().to_owned()).collect();
        served.sort();
        (served, versions.iter().any(|version| version["freshness"] == "Stale"))
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            // The server asks a group that did not answer only once a minute. On a busy machine, it may miss that
            // answer too.
            assert!(began.elapsed() < Duration::from_mins(5), "{what}: {:?}", self.discovered());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn recorded(&self) -> Vec<String> {
        let (finalized, recorded) = self.bench.recorded();
        assert!(finalized);
        recorded.get(&self.bench.root).cloned().unwrap_or_default()
    }

    /// Asserts that only the namespace is recorded, and that there is nothing to do.
    fn settled(&self) {
        assert_eq!(self.recorded(), [format!("Namespace {}", self.ns)]);
        self.bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    }
}

#[test]
fn c3_an_entry_in_a_version_that_is_gone_is_resolved_by_discovery() {
    let shop = Shop::open("versions", &["v1alpha1", "v1"]);
    let bench = &shop.bench;
    for name in ["dropped", "kept"] {
        bench.write(&format!("{name}.json"), &shop.till("v1alpha1", name));
    }
    bench.apply();
    let version = |name: &str| {
        let state = bench.state();
        let idents = state["resources"][&bench.root].as_array().unwrap();
        idents.iter().find(|ident| ident["name"] == name).unwrap()["version"].clone()
    };
    assert_eq!((version("dropped"), version("kept")), (json!("v1alpha1"), json!("v1alpha1")));
    let uid = || shop.live("kept").unwrap()["metadata"]["uid"].clone();
    let before = uid();
    shop.define(&["v1"]);

    // A manifest in a version that is no longer served fails with its name. Meanwhile, nothing is deleted.
    bench.remove("dropped.json");
    bench.ktor(&["apply", "--yes"]).exits(1).says(&format!("Till.{} {}/kept", shop.group, shop.ns));
    assert!(shop.live("dropped").is_some() && shop.live("kept").is_some());
    bench.write("kept.json", &shop.till("v1", "kept"));
    let plan = bench.plan();
    assert_eq!(change(&plan, "cleanup", "dropped")["action"], "delete", "{plan:#}");
    bench.apply();
    bench.apply();
    assert_eq!((shop.live("dropped"), uid(), version("kept")), (None, before, json!("v1")));
    assert_eq!(shop.recorded().len(), 2);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    bench.remove("kept.json");
    bench.apply();
    shop.settled();
}

#[test]
fn c3_a_definition_drops_a_version_in_the_run_that_changes_its_custom_resources() {
    let shop = Shop::open("upgrading", &[]);
    let bench = &shop.bench;
    let written = |versions: &[&str], version: &str, drawer| {
        bench.write("definition.json", &shop.definition(versions).to_string());
        for name in ["front", "back"] {
            bench.write(&format!("{name}.json"), &shop.till_with(version, name, drawer));
        }
    };
    written(&["v1alpha1", "v1"], "v1alpha1", 7);
    bench.apply();
    // Another manager also has fields in that version. They stay its own.
    let theirs = json!({"apiVersion": format!("{}/v1alpha1", shop.group), "kind": "Till",
        "metadata": {"name": "back", "namespace": shop.ns, "labels": {"shelf": "upper"}}});
    let someone = ["apply", "--server-side", "--field-manager=someone", "-f", "-"];
    bench.kubectl(&someone, &theirs.to_string());
    let uids = || ["front", "back"].map(|name| shop.live(name).unwrap()["metadata"]["uid"].clone());
    let before = uids();
    written(&["v1"], "v1", 8);
    bench.apply();
    for drawer in [8, 9] {
        written(&["v1"], "v1", drawer);
        let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
        let expected = if drawer == 8 { "unchanged" } else { "update" };
        assert_eq!(change(&plan, "changes", "back")["action"], expected, "{plan:#}");
        bench.apply();
        assert_eq!((uids(), &shop.live("back").unwrap()["spec"]["drawer"]), (before.clone(), &json!(drawer)));
    }
    assert_eq!(shop.live("back").unwrap()["metadata"]["labels"]["shelf"], "upper");
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn c3_custom_resources_whose_definition_someone_deleted_are_settled() {
    let shop = Shop::open("undefined", &["v1"]);
    let bench = &shop.bench;
    let definition = format!("tills.{}", shop.group);
    bench.write("dropped.yaml", &config_map(&shop.ns, "dropped", "1"));
    for (name, own) in [("front", false), ("back", true)] {
        bench.write(&format!("{name}.json"), &shop.till("v1", name));
        if own {
            // In the second round, the CRD belongs to this root.
            bench.write("definition.json", &shop.definition(&["v1"]).to_string());
        }
        bench.apply();
        bench.kubectl(&["delete", "crd", &definition], "");
        shop.until("the kind is gone", || shop.discovered().0.is_empty());
        bench.remove(&format!("{name}.json"));
        if own {
            bench.remove("definition.json").remove("dropped.yaml");
        }
        let plan = bench.plan();
        assert_eq!(plan["summary"]["keep"], 0, "{plan:#}");
        bench.apply();
        if !own {
            assert_eq!(shop.recorded().len(), 2);
            shop.define(&["v1"]);
        }
    }
    assert_eq!(bench.get("configmap/dropped", Some(&shop.ns)), None);
    shop.settled();
}

#[test]
fn c3_what_a_group_owns_that_does_not_answer_is_kept_and_settled_when_it_does() {
    // While a group does not answer, the server cannot finish deleting any namespace. This test needs its own cluster.
    let shop = Shop::on(Bench::alone("silent"), &["v1"]);
    let bench = &shop.bench;
    for name in ["one", "two"] {
        bench.write(&format!("{name}.json"), &shop.till("v1", name));
        bench.write(&format!("{name}.yaml"), &config_map(&shop.ns, name, "1"));
    }
    bench.apply();
    let service = format!("v1.{}", shop.group);
    let patch = json!({"metadata": {"labels": {"kube-aggregator.kubernetes.io/automanaged": null}},
        "spec": {"service": {"name": "dead", "namespace": shop.ns}, "insecureSkipTLSVerify": true}});
    bench.kubectl(&["patch", "apiservice", &service, "--type=merge", "-p", &patch.to_string()], "");
    shop.until("the group does not answer", || shop.discovered().1);

    let silent = format!("the server of {} does not answer", shop.group);
    bench.remove("one.json").remove("one.yaml");
    // A desired object of that group is blocked with its name, and nothing is deleted in its project.
    bench.ktor(&["apply", "--yes"]).exits(3).says(&format!("{}/two", shop.ns));
    assert!(bench.get("configmap/one", Some(&shop.ns)).is_some());
    bench.remove("two.json");
    let plan = bench.plan();
    for name in ["one", "two"] {
        let found = plan["cleanup"].as_array().unwrap().iter();
        let till = found.clone().find(|it| it["key"]["kind"] == "Till" && it["key"]["name"] == name).unwrap();
        assert_eq!(
            (&till["action"], &till["reason"]["message"]),
            (&json!("keep"), &json!(format!("not known: {silent}"))),
            "{plan:#}"
        );
    }
    let ran = bench.ktor(&["apply", "--yes"]).exits(3);
    assert!(ran.stdout.contains(&silent), "{ran:#?}");
    bench.ktor(&["apply", "--yes"]).exits(3);
    assert_eq!(bench.get("configmap/one", Some(&shop.ns)), None);
    let recorded = shop.recorded();
    assert!(["Till one", "Till two"].iter().all(|name| recorded.contains(&(*name).to_owned())), "{recorded:?}");

    bench.kubectl(&["delete", "apiservice", &service], "");
    shop.until("the group answers", || !shop.discovered().1 && !shop.discovered().0.is_empty());
    assert!(shop.live("one").is_some() && shop.live("two").is_some());
    bench.remove("two.yaml");
    bench.apply();
    assert_eq!((shop.live("one"), shop.live("two")), (None, None));
    shop.settled();
}

#[test]
fn c3_a_discovery_that_fails_deletes_nothing_and_drops_nothing() {
    let mut shop = Shop::open("blind", &["v1"]);
    shop.bench.write("front.json", &shop.till("v1", "front"));
    shop.bench.write("dropped.yaml", &config_map(&shop.ns, "dropped", "1"));
    shop.bench.apply();
    shop.bench.remove("front.json").remove("dropped.yaml");
    let before = shop.bench.state();
    let direct = shop.bench.plane.kubeconfig(User::Admin);
    for path in ["/api", "/apis"] {
        let recorder = Recorder::with_faults(shop.bench.plane, move |entry| {
            (entry.method == Method::GET && entry.path() == path).then_some(Fault::Cut)
        });
        shop.bench.through(recorder.kubeconfig(User::Admin));
        shop.bench.ktor(&["plan"]).exits(1).says("error: reach ");
        shop.bench.ktor(&["apply", "--yes"]).exits(1).says("error: reach ");
        shop.bench.through(direct.clone());
        assert_eq!(shop.bench.state(), before);
        assert!(shop.live("front").is_some() && shop.bench.get("configmap/dropped", Some(&shop.ns)).is_some());
        assert_eq!(shop.bench.lease(), None);
    }
    shop.bench.apply();
    assert_eq!((shop.live("front"), shop.bench.get("configmap/dropped", Some(&shop.ns))), (None, None));
    shop.settled();
}

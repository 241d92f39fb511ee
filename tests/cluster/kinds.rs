//! Every kind is created, left unchanged, dropped and cleaned up: the built-in kinds, and custom kinds like those of
//! well-known projects.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::bench::{Bench, namespace};

const SAMPLES: [(&str, &str); 3] = [
    ("core.yaml", include_str!("../cases/kinds/core.yaml")),
    ("workloads.yaml", include_str!("../cases/kinds/workloads.yaml")),
    ("cluster.yaml", include_str!("../cases/kinds/cluster.yaml")),
];

const DEFINITIONS: &str = include_str!("../cases/kinds/definitions.txt");

/// The built-in kinds without a sample, with the reason for each.
const WITHOUT_SAMPLE: [(&str, &str); 2] = [
    ("Node", "pods of other tests would be scheduled to it and lost with it"),
    ("PodCertificateRequest.certificates.k8s.io", "only the kubelet of the pod that it names may create one"),
];

/// The arguments that open every guard against dropping everything.
const DROP: [&str; 7] = [
    "apply",
    "--yes",
    "--allow-empty",
    "--allow-mass-deletion",
    "--allow-namespace-deletion",
    "--allow-crd-deletion",
    "--allow-volume-deletion",
];

/// Returns the built-in kinds that the server creates, lists and deletes, in the form `Kind.group`.
fn served(bench: &Bench) -> BTreeSet<String> {
    // The server registers its own groups when it starts, and the groups of custom resources later.
    let groups = ["get", "apiservices", "-l", "kube-aggregator.kubernetes.io/automanaged=onstart"];
    let groups =
        bench.kubectl(&[&groups[..], &["-o", r#"jsonpath={range .items[*]}/{.spec.group}{"\n"}{end}"#]].concat(), "");
    let groups: BTreeSet<&str> = groups.lines().map(|line| &line[1..]).collect();
    let group_kind = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // The column of short names may be empty. The column that says whether the kind is namespaced is always there,
        // so the other columns are found by their position next to it.
        let at = fields.iter().position(|field| *field == "true" || *field == "false").unwrap();
        let group = fields[at - 1].rsplit_once('/').map_or("", |(group, _)| group);
        groups.contains(group).then(|| written(group, fields[at + 1]))
    };
    let lines = bench.kubectl(&["api-resources", "--no-headers", "-o", "wide", "--verbs=create,delete,list"], "");
    lines.lines().filter_map(group_kind).collect()
}

fn written(group: &str, kind: &str) -> String {
    if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") }
}

/// Returns the kinds that the state records.
fn recorded_kinds(bench: &Bench) -> BTreeSet<String> {
    let state = bench.state();
    let idents = state["resources"].as_object().unwrap().values().flat_map(|idents| idents.as_array().unwrap());
    idents.map(|ident| written(ident["group"].as_str().unwrap(), ident["kind"].as_str().unwrap())).collect()
}

#[test]
fn c1_every_built_in_kind_is_created_left_alone_dropped_and_cleaned_up() {
    let bench = Bench::new("kinds");
    let root = bench.root.clone();
    bench.write(".ktor.yaml", &format!("project: {root}\ncleanup: true\nnamespace: {root}\n"));
    for (name, text) in SAMPLES {
        bench.write(name, &text.replace("ROOT", &root));
    }
    bench.ktor(&["apply", "--yes"]).exits(0);
    let (recorded, excused) = (recorded_kinds(&bench), WITHOUT_SAMPLE.map(|(kind, _)| kind.to_owned()).into());
    let unproved: BTreeSet<String> = served(&bench).difference(&recorded).cloned().collect();
    assert_eq!(unproved, excused, "kinds that can be created and have no sample in tests/cases/kinds");
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    for (name, _) in SAMPLES {
        bench.remove(name);
    }
    bench.ktor(&DROP).exits(0);
    assert_eq!(bench.recorded(), (true, std::collections::BTreeMap::new()));
    assert_eq!(left(&bench), "");
}

/// Returns the names of all objects that still carry the root's label.
fn left(bench: &Bench) -> String {
    let kinds = bench.kubectl(&["api-resources", "-o", "name", "--verbs=delete,list"], "");
    let kinds: Vec<&str> = kinds.lines().collect();
    let label = format!("kubernator.io/root={}", bench.hash());
    bench.kubectl(&["get", &kinds.join(","), "-A", "-o", "name", "-l", &label, "--ignore-not-found"], "")
}

#[test]
fn c1_custom_resources_of_50_public_shapes_are_created_left_alone_dropped_and_cleaned_up() {
    let bench = Bench::new("definitions");
    let root = bench.root.clone();
    bench.write("ns.yaml", &namespace(&root));
    let lines: Vec<&str> = DEFINITIONS.lines().collect();
    assert!(lines.len() >= 50);
    for (number, line) in lines.iter().enumerate() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [plural, kind, group, scope, versions] = fields[..] else { panic!("{line}") };
        let versions: Vec<&str> = versions.split(',').collect();
        // The last version is stored, so most resources are written in a version that is not stored.
        let entry = |version: &&str| {
            json!({"name": version, "served": true, "storage": Some(version) == versions.last(),
                "schema": {"openAPIV3Schema": schema(number)}, "subresources": {"status": {}}})
        };
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}"),
                "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
            "spec": {"group": group, "scope": scope,
                "names": {"plural": plural, "kind": kind, "categories": ["all-samples"]},
                "versions": versions.iter().map(entry).collect::<Vec<_>>()},
        });
        let mut metadata = json!({"name": root});
        if scope == "Namespaced" {
            metadata["namespace"] = json!(root);
        }
        let resource = json!({"apiVersion": format!("{group}/{}", versions[0]), "kind": kind, "metadata": metadata,
            "spec": {"size": 3, "port": "http", "free": {"any": [1, "2"]}}});
        bench.write(&format!("all/{number:02}-definition.json"), &definition.to_string());
        bench.write(&format!("all/{number:02}-resource.json"), &resource.to_string());
    }
    bench.ktor(&["apply", "--yes"]).exits(0);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    bench.remove("all").remove("ns.yaml");
    bench.ktor(&DROP).exits(0);
    assert_eq!(bench.recorded(), (true, std::collections::BTreeMap::new()));
    assert_eq!(left(&bench), "");
}

/// Returns a schema with required, defaulted and free fields, a field of two types, and a field that never changes.
fn schema(number: usize) -> Value {
    let mut schema = json!({"type": "object", "required": ["spec"], "properties": {
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "stays"}]},
            "port": {"x-kubernetes-int-or-string": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "mode": {"type": "string", "default": "auto"}}}}});
    // Every third kind requires nothing except that its spec is an object.
    if number % 3 == 2 {
        schema["properties"]["spec"] = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    }
    schema
}

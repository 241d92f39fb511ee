//! The check of [`is_proved`] against the server. If it proves that a dry run is unnecessary, the dry run changes
//! nothing.
//!
//! `KTOR_CHAOS_SEED` and `KTOR_CHAOS_ROUNDS` choose other objects and their number.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use http::{Method, Request};
use http_body_util::BodyExt;
use ktor_action::object::live::Live;
use ktor_action::object::mark::{Root, stamp};
use ktor_action::plan::unchanged::is_proved;
use ktor_action::project::path::Segment;
use kube::client::Body;
use serde_json::{Map, Value, json};
use support::announce;
use support::controlplane::ControlPlane;
use tokio::time::{sleep, timeout};

use super::chaos::random::{Random, rounds, seed};

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

type Make = fn(&mut Random) -> Value;

/// The kinds of the generated objects, with their collection and generator. Together they use every merge strategy.
const KINDS: [(&str, Make); 5] = [
    ("api/v1/namespaces/NS/configmaps", config_map),
    ("api/v1/namespaces/NS/services", service),
    ("apis/apps/v1/namespaces/NS/deployments", deployment),
    ("apis/NS.example.com/v1/namespaces/NS/things", thing),
    ("apis/NS.example.com/v1/namespaces/NS/things", thing),
];

/// Returns a map with some of these keys. Each has one of its values, and most have the first.
fn some(dice: &mut Random, from: &[(&str, &[Value])]) -> Value {
    let chosen = from.iter().filter_map(|(key, values)| {
        let is_there = dice.percent(60);
        let value = if dice.percent(85) { values[0].clone() } else { dice.choose(values).clone() };
        is_there.then(|| ((*key).to_owned(), value))
    });
    Value::Object(chosen.collect::<Map<_, _>>())
}

/// Returns a list of at most `most` items. Few lists are empty.
fn list(dice: &mut Random, most: usize, mut item: impl FnMut(&mut Random, usize) -> Value) -> Value {
    let count = if dice.percent(95) { 1 + dice.below(most) } else { 0 };
    (0..count).map(|number| item(dice, number)).collect()
}

fn config_map(dice: &mut Random) -> Value {
    let text = [json!("yes"), json!("1"), json!(""), json!("two\nlines\n")];
    let data = some(dice, &[("a", &text), ("b.c", &text), ("d_e", &text), ("f-g", &text)]);
    let bytes = some(dice, &[("x", &[json!("AA=="), json!("AQI=")]), ("y", &[json!("AA=="), json!("")])]);
    let finalizers = list(dice, 3, |dice, number| json!(format!("a.dev/{}", number * 2 + dice.below(2))));
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"finalizers": finalizers}, "data": data,
        "binaryData": bytes})
}

fn service(dice: &mut Random) -> Value {
    let ports = list(dice, 3, |dice, number| {
        let mut port = some(
            dice,
            &[
                ("protocol", &[json!("TCP"), json!("UDP")]),
                ("targetPort", &[json!(80), json!("web")]),
                ("appProtocol", &[json!("http"), Value::Null]),
            ],
        );
        port["name"] = json!(format!("p{number}"));
        port["port"] = json!(80 + number);
        port
    });
    let mut spec = some(
        dice,
        &[
            ("selector", &[json!({"app": "web"}), json!({"app": "web", "tier": "front"})]),
            ("sessionAffinity", &[json!("None"), json!("ClientIP")]),
            ("externalIPs", &[json!(["192.0.2.1"]), json!(["192.0.2.2", "192.0.2.1"]), json!([])]),
            ("type", &[json!("ClusterIP")]),
        ],
    );
    spec["ports"] = if ports == json!([]) { json!([{"port": 80}]) } else { ports };
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {}, "spec": spec})
}

fn deployment(dice: &mut Random) -> Value {
    let container = |dice: &mut Random, number: usize| {
        let mut container = some(
            dice,
            &[
                ("args", &[json!(["a", "b"]), json!([]), json!(["b"])]),
                ("imagePullPolicy", &[json!("Always"), json!("IfNotPresent")]),
                (
                    "resources",
                    &[
                        json!({"limits": {"cpu": "500m"}}),
                        json!({"limits": {"cpu": "0.5", "memory": "1Gi"}, "requests": {"cpu": 1}}),
                        json!({}),
                    ],
                ),
                ("securityContext", &[json!({"runAsNonRoot": true}), json!({"capabilities": {"drop": ["ALL"]}})]),
                ("volumeMounts", &[json!([{"mountPath": "/a", "name": "v"}])]),
            ],
        );
        container["name"] = json!(format!("c{number}"));
        container["image"] = json!("example.invalid/web");
        container["env"] = list(dice, 3, |dice, number| {
            let mut variable = some(dice, &[("value", &[json!("1"), json!(""), Value::Null])]);
            variable["name"] = json!(format!("E{number}"));
            variable
        });
        container["ports"] = list(dice, 2, |dice, number| {
            let mut port = some(dice, &[("protocol", &[json!("TCP"), json!("UDP")]), ("name", &[json!("web")])]);
            port["containerPort"] = json!(80 + number);
            port
        });
        container
    };
    let labels = json!({"app": "web"});
    let mut pod = some(
        dice,
        &[
            ("nodeSelector", &[json!({"disk": "fast"}), json!({})]),
            ("tolerations", &[json!([{"key": "a", "operator": "Exists"}]), json!([])]),
            ("imagePullSecrets", &[json!([{"name": "a"}, {"name": "b"}]), json!([{"name": "b"}])]),
            ("hostAliases", &[json!([{"ip": "192.0.2.1", "hostnames": ["a", "b"]}])]),
            ("securityContext", &[json!({"runAsUser": 7, "supplementalGroups": [1, 2]}), json!({})]),
            ("terminationGracePeriodSeconds", &[json!(30), json!(7)]),
        ],
    );
    pod["containers"] = json!([container(dice, 0), container(dice, 1)]);
    pod["volumes"] =
        json!([{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "c", "defaultMode": 420}}]);
    let mut spec = some(
        dice,
        &[
            (
                "strategy",
                &[json!({"type": "Recreate"}), json!({"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}})],
            ),
            ("revisionHistoryLimit", &[json!(10), json!(2)]),
            ("minReadySeconds", &[json!(1), json!(0)]),
        ],
    );
    spec["replicas"] = json!(0);
    spec["selector"] = json!({"matchLabels": labels});
    spec["template"] = json!({"metadata": {"labels": labels}, "spec": pod});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"labels": labels}, "spec": spec})
}

/// Returns the CRD of a kind with lists and maps of every merge strategy, with defaults, and with a field that accepts
/// any content.
fn definition(group: &str) -> Value {
    let map = |item: Value| json!({"type": "object", "additionalProperties": item});
    let (text, number) = (json!({"type": "string"}), json!({"type": "integer"}));
    let either = json!({"x-kubernetes-int-or-string": true});
    let port = json!({"type": "object", "required": ["port"], "properties": {"port": number, "target": either, "name": text,
        "protocol": {"type": "string", "default": "TCP"}, "tags": {"type": "array", "items": text,
            "x-kubernetes-list-type": "set"}}});
    let mut atomic = map(text.clone());
    atomic["x-kubernetes-map-type"] = json!("atomic");
    let spec = json!({"type": "object", "properties": {
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": port},
        "names": {"type": "array", "x-kubernetes-list-type": "set", "items": text},
        "marks": {"type": "array", "x-kubernetes-list-type": "set", "items": number},
        "words": {"type": "array", "items": text},
        "labels": map(text.clone()), "limits": map(either), "selector": atomic,
        "depth": {"type": "object", "properties": {"a": {"type": "integer", "default": 3}, "b": text,
            "c": {"type": "string", "nullable": true}, "d": {"type": "object", "default": {}, "properties": {
                "e": {"type": "boolean", "default": true}}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "ratio": {"type": "number"}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
                "properties": {"spec": spec}}}}]}})
}

fn thing(dice: &mut Random) -> Value {
    let text = [json!("a"), json!("b"), json!("")];
    let either = [json!(1), json!("1"), json!("10%")];
    let mut spec = some(
        dice,
        &[
            ("names", &[json!(["a", "b"]), json!(["b"]), json!([])]),
            ("marks", &[json!([1, 2, 3]), json!([3])]),
            ("words", &[json!(["a", "a"]), json!([])]),
            ("selector", &[json!({"x": "a", "y": "b"}), json!({})]),
            ("ratio", &[json!(1), json!(1.5), json!(0.1)]),
            (
                "free",
                &[json!({"l": [{"a": 1}], "m": {"x": 1, "y": [1, 2.5]}}), json!({"n": null, "y": 2.0}), json!({})],
            ),
        ],
    );
    spec["labels"] = some(dice, &[("x", &text), ("y/z", &text), ("t~u", &text)]);
    spec["limits"] = some(dice, &[("x", &either), ("y", &either)]);
    spec["depth"] = some(
        dice,
        &[
            ("a", &[json!(3), json!(4)]),
            ("b", &text),
            ("c", &[json!("a"), Value::Null]),
            ("d", &[json!({"e": true}), json!({"e": false}), json!({})]),
        ],
    );
    spec["ports"] = list(dice, 3, |dice, number| {
        let mut port = some(
            dice,
            &[
                ("protocol", &[json!("TCP"), json!("UDP")]),
                ("target", &either),
                ("name", &text),
                ("tags", &[json!(["a"]), json!(["b", "a"])]),
            ],
        );
        port["port"] = json!(if dice.percent(90) { 80 + number } else { 80 });
        port
    });
    json!({"apiVersion": "NS.example.com/v1", "kind": "Thing", "metadata": {}, "spec": spec})
}

/// Finds the places in an object that a person edits.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    if at.starts_with("/spec")
        || at.starts_with("/data")
        || at.starts_with("/binaryData")
        || at.starts_with("/metadata/")
    {
        found.push(at.to_owned());
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                places(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Edits one place as a person does: removes, moves or respells its value, or copies the value from another object.
fn edit(dice: &mut Random, body: &mut Value, other: &Value) {
    let mut found = Vec::new();
    places(body, "", &mut found);
    let place = dice.choose(&found).clone();
    let theirs = other.pointer(&place).cloned();
    let node = body.pointer_mut(&place).unwrap();
    let choice = dice.below(6);
    match (node, theirs) {
        (node, Some(theirs)) if choice == 0 => *node = theirs,
        (Value::Object(map), theirs) => {
            let keys: Vec<String> = map.keys().cloned().collect();
            match (choice, keys.is_empty(), theirs) {
                (1 | 2, false, _) => drop(map.remove(dice.choose(&keys))),
                (3, false, _) => drop(map.insert(dice.choose(&keys).clone(), Value::Null)),
                (_, _, Some(Value::Object(theirs))) => map.extend(theirs),
                _ => {}
            }
        }
        (Value::Array(items), theirs) if !items.is_empty() => {
            let (one, two) = (dice.below(items.len()), dice.below(items.len()));
            match (choice, theirs) {
                (1, _) => drop(items.remove(one)),
                (2 | 3, _) => items.swap(one, two),
                (4, _) => items.push(items[one].clone()),
                (_, Some(Value::Array(theirs))) => items.extend(theirs),
                _ => {}
            }
        }
        (node, _) => *node = respelled(dice, node),
    }
}

/// Returns another value, or the same value in another spelling.
fn respelled(dice: &mut Random, value: &Value) -> Value {
    let same = [("1Gi", "1024Mi"), ("500m", "0.5"), ("0.5", "500m"), ("", "0"), ("AA==", "AA=")];
    match value {
        Value::String(text) if dice.percent(50) => match same.iter().find(|(from, _)| from == text) {
            Some((_, to)) => json!(to),
            None => text.parse::<i64>().map_or_else(|_| json!(format!("{text}x")), |number| json!(number)),
        },
        Value::Number(number) if dice.percent(50) => json!(number.to_string()),
        Value::Number(number) => number.as_i64().map_or(json!(1), |number| json!(number + 1)),
        Value::Bool(is) => json!(!is),
        Value::Null => json!("1"),
        other => other.clone(),
    }
}

/// Returns an object without its managed fields. They change no plan, unless another manager owns a field.
fn content(mut body: Value) -> Value {
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    body
}

struct Server {
    client: kube::Client,
    namespace: String,
    root: Root,
}

/// The results for one object.
#[derive(Default)]
struct Shown {
    is_proved: bool,
    is_same: bool,
    wrong: Option<String>,
}

impl Server {
    async fn send(&self, method: Method, target: &str, content: &str, body: &Value) -> (u16, Value) {
        loop {
            let request = Request::builder().method(&method).uri(format!("/{target}")).header("content-type", content);
            let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
            let answer = self.client.send(request.body(Body::from(bytes)).unwrap()).await.unwrap();
            let status = answer.status().as_u16();
            let bytes = answer.into_body().collect().await.unwrap().to_bytes();
            if status != 429 {
                return (status, serde_json::from_slice(&bytes).unwrap_or_default());
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Creates an object, may let another tool change it, may edit its manifest, and compares the proof with the dry
    /// run.
    async fn play(&self, seed: u64, number: usize) -> Shown {
        let dice = &mut Random::new(seed, u64::try_from(number).unwrap());
        let (collection, make) = KINDS[number % KINDS.len()];
        let at = format!("{}/o{number}", collection.replace("NS", &self.namespace));
        let drawn = |dice: &mut Random| -> Value {
            let text = make(dice).to_string().replace("NS.example.com", &format!("{}.example.com", self.namespace));
            serde_json::from_str(&text).unwrap()
        };
        let sent = |body: &Value| {
            let mut body = body.clone();
            body["metadata"]["name"] = json!(format!("o{number}"));
            body["metadata"]["namespace"] = json!(self.namespace);
            stamp(&mut body, &self.root.project(), &self.root);
            body
        };
        let mut manifest = drawn(dice);
        let ours = format!("{at}?fieldManager={}&force=false&fieldValidation=Strict", self.root.field_manager());
        if self.send(Method::PATCH, &ours, APPLY, &sent(&manifest)).await.0 != 201 {
            return Shown::default();
        }
        if dice.percent(30) {
            let mut theirs = drawn(dice);
            let (query, content) =
                *dice.choose(&[("fieldManager=other&force=true", APPLY), ("fieldManager=editor", MERGE)]);
            if content == APPLY {
                theirs["metadata"] = json!({"name": format!("o{number}"), "labels": {"theirs": "1"}});
            }
            self.send(Method::PATCH, &format!("{at}?{query}"), content, &theirs).await;
        }
        for _ in 0..dice.below(3) {
            let other = drawn(dice);
            edit(dice, &mut manifest, &other);
        }
        let mut desired = sent(&manifest);
        let query = format!("{ours}&dryRun=All");
        let (status, before, after) = loop {
            let (_, live) = self.send(Method::GET, &at, APPLY, &Value::Null).await;
            desired["metadata"]["uid"] = live["metadata"]["uid"].clone();
            let (status, after) = self.send(Method::PATCH, &query, APPLY, &desired).await;
            // A controller may write between the two requests. Then they return different versions of the object, so
            // try again.
            if status != 200 || after["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"] {
                break (status, live, after);
            }
        };
        let is_proved = is_proved(&desired, &Live { body: before.clone() }, &self.root);
        let is_same = status == 200 && content(before.clone()) == content(after.clone());
        let wrong = (is_proved && !is_same).then(|| {
            format!("object {number} of seed {seed}: {status}\n desired {desired}\n live    {before}\n after   {after}")
        });
        Shown { is_proved, is_same, wrong }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_dry_run_is_skipped_only_where_the_server_would_have_changed_nothing() {
    let namespace = format!("skipped-{}", std::process::id());
    let root = Root::new(Segment::new(&namespace).unwrap());
    let server = Server { client: ControlPlane::shared().client(), namespace, root };
    let ns = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": server.namespace}});
    let group = format!("{}.example.com", server.namespace);
    let crds = "apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for (target, body) in [("api/v1/namespaces", ns), (crds, definition(&group))] {
        let (status, answer) = server.send(Method::POST, target, "application/json", &body).await;
        assert_eq!(status, 201, "{answer}");
    }
    let things = format!("apis/{group}/v1/things");
    let answering = async {
        while server.send(Method::GET, &things, APPLY, &Value::Null).await.0 != 200 {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(Duration::from_secs(120), answering).await.expect("the kind is served");
    let (seed, objects) = (seed(), rounds(3_000));
    let shown: Vec<Shown> =
        stream::iter(0..objects).map(|number| server.play(seed, number)).buffer_unordered(8).collect().await;
    let count = |is: fn(&Shown) -> bool| shown.iter().filter(|shown| is(shown)).count();
    let (proved, same) = (count(|shown| shown.is_proved), count(|shown| shown.is_same));
    announce(&format!("skipped dry runs: {objects} objects, {same} unchanged by the server, {proved} of them proved"));
    let wrong: Vec<&str> = shown.iter().filter_map(|shown| shown.wrong.as_deref()).collect();
    assert!(wrong.is_empty(), "{} of seed {seed}:\n{}", wrong.len(), wrong[..wrong.len().min(3)].join("\n"));
    // A check that proves nothing would also pass, so a minimum of proofs is required.
    assert!(same * 5 > objects && proved * 2 > same, "{proved} of {same} of {objects}");
}

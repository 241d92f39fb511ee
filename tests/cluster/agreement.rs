//! The test of the model against the real API server. Both get the same requests, and their answers must agree.
//!
//! The test compares the status, the reason and causes of a refusal, labels, annotations, finalizers, data, rules, the
//! managed fields, and whether an object's uid and resourceVersion changed. It leaves out what only a real server adds:
//! times, the values of versions and uids, the label of a namespace's name, and the text of messages.

use std::collections::BTreeMap;

use http::{Method, Request as Wired};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use support::announce;
use support::controlplane::ControlPlane;
use support::model::{Request, World};

const CONFIGS: &str = "/api/v1/namespaces/$ns/configmaps";
const SECRETS: &str = "/api/v1/namespaces/$ns/secrets";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/$ns/leases";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

/// A request: verb, target, body. In it, `$uid` and `$rv` stand for the object's uid and resourceVersion as last
/// answered. `$old` stands for its resourceVersion as first answered, and `$ns` for the script's namespace.
type Step = (&'static str, String, Value);

fn config(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "$ns"}, "data": data})
}

fn with(mut body: Value, metadata: Value) -> Value {
    body["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    body
}

fn sealed(value: &str) -> Value {
    let mut body = config(json!({"a": value}));
    body["immutable"] = json!(true);
    body
}

/// Returns the same body with a generated name.
fn unnamed(mut body: Value) -> Value {
    body["metadata"].as_object_mut().unwrap().remove("name");
    with(body, json!({"generateName": "probe-"}))
}

fn apply(manager: &str, more: &str, body: Value) -> Step {
    let force = if more.contains("force") { "" } else { "&force=false" };
    ("PATCH", format!("{CONFIGS}/x?fieldManager={manager}&fieldValidation=Strict{force}{more}"), body)
}

fn delete(more: &str, options: Value) -> Step {
    ("DELETE", format!("{CONFIGS}/x{more}"), options)
}

fn get() -> Step {
    ("GET", format!("{CONFIGS}/x"), Value::Null)
}

fn lease(time: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "x", "namespace": "$ns"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 60, "renewTime": time}})
}

/// The scripts, one for each topic. Every script begins without the object `x`.
#[expect(clippy::too_many_lines, reason = "data: one table of scripts")]
fn scripts() -> Vec<(&'static str, Vec<Step>)> {
    let (one, two) = (|| config(json!({"a": "1", "b": "1"})), || config(json!({"a": "2"})));
    let patch = |operations: Value| ("PATCH", format!("{CONFIGS}/x?fieldManager=ktor"), operations);
    let role = |verbs: Value| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "agreement-x"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]})
    };
    vec![
        (
            "an apply creates, changes, removes, and changes nothing",
            vec![
                apply("ktor", "", one()),
                apply("ktor", "", one()),
                apply("ktor", "", two()),
                get(),
                delete("", json!({})),
                get(),
            ],
        ),
        (
            "two managers conflict, and force decides",
            vec![
                apply("ktor", "", one()),
                apply("other", "", two()),
                apply("other", "", config(json!({"a": "1"}))),
                apply("ktor", "", config(json!({"b": "1"}))),
                apply("other", "&force=true", two()),
                apply("ktor", "&force=true", config(json!({"a": "3"}))),
                apply("ktor", "", config(json!({}))),
            ],
        ),
        (
            "a uid in an apply makes it an update of that object",
            vec![
                apply("ktor", "", with(one(), json!({"uid": "0e9a4a0c-58a7-4c7f-a7f0-9d6f4ac1d1f1"}))),
                apply("ktor", "", one()),
                apply("ktor", "", with(two(), json!({"uid": "0e9a4a0c-58a7-4c7f-a7f0-9d6f4ac1d1f1"}))),
                apply("ktor", "", with(two(), json!({"uid": "$uid"}))),
            ],
        ),
        (
            "a dry run persists nothing",
            vec![
                apply("ktor", "&dryRun=All", one()),
                get(),
                apply("ktor", "", one()),
                apply("ktor", "&dryRun=All", two()),
                ("POST", format!("{CONFIGS}?dryRun=All"), one()),
                delete("", json!({"dryRun": ["All"]})),
                get(),
                delete("?dryRun=All", json!({})),
                get(),
            ],
        ),
        (
            "a delete states what it saw",
            vec![
                delete("", json!({})),
                apply("ktor", "", one()),
                apply("ktor", "", two()),
                delete("", json!({"preconditions": {"uid": "no"}})),
                delete("", json!({"preconditions": {"uid": "$uid", "resourceVersion": "$old"}})),
                delete("", json!({"dryRun": ["All"], "preconditions": {"uid": "$uid", "resourceVersion": "$old"}})),
                delete("", json!({"preconditions": {"uid": "$uid", "resourceVersion": "$rv"}})),
                get(),
            ],
        ),
        (
            "a finalizer holds an object, and the last to go lets it vanish",
            vec![
                apply("ktor", "", with(one(), json!({"finalizers": ["example.com/hold"]}))),
                delete("", json!({"preconditions": {"uid": "$uid"}})),
                delete("", json!({})),
                get(),
                apply("ktor", "", one()),
                get(),
            ],
        ),
        (
            "a put compares and swaps",
            vec![
                ("POST", format!("{CONFIGS}?fieldManager=maker"), one()),
                ("POST", format!("{CONFIGS}?fieldManager=maker"), one()),
                ("PUT", format!("{CONFIGS}/x?fieldManager=other"), with(two(), json!({"resourceVersion": "$rv"}))),
                ("PUT", format!("{CONFIGS}/x?fieldManager=other"), with(one(), json!({"resourceVersion": "$old"}))),
                ("PUT", format!("{CONFIGS}/x?fieldManager=maker"), one()),
                apply("ktor", "", two()),
                apply("ktor", "&force=true", two()),
                apply("ktor", "", with(config(json!({"a": "2"})), json!({"labels": {"l": "1"}}))),
                apply("ktor", "", config(json!({"a": "2"}))),
            ],
        ),
        (
            "a put of what is not there",
            vec![
                ("PUT", format!("{CONFIGS}/x"), with(one(), json!({"resourceVersion": "1"}))),
                get(),
                (
                    "PUT",
                    format!("{LEASES}/x"),
                    with(lease("2031-01-01T00:00:00.000000Z"), json!({"uid": "0e9a4a0c-58a7-4c7f-a7f0-9d6f4ac1d1f1"})),
                ),
                ("PUT", format!("{LEASES}/x"), lease("2031-01-01T00:00:00.000000Z")),
                ("GET", format!("{LEASES}/x"), Value::Null),
            ],
        ),
        (
            "a JSON patch tests, replaces and compares",
            vec![
                patch(json!([{"op": "replace", "path": "/data/a", "value": "9"}])),
                apply("ktor", "", one()),
                patch(json!([{"op": "test", "path": "/metadata/uid", "value": "no"}])),
                patch(json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": "$rv"}])),
                apply("ktor", "", two()),
                patch(
                    json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": "$old"}, {"op": "replace", "path": "/data/a", "value": "9"}]),
                ),
                get(),
            ],
        ),
        (
            "labels select",
            vec![
                apply("ktor", "", with(one(), json!({"labels": {"kubernator.io/root": "agreement"}}))),
                ("GET", format!("{CONFIGS}?labelSelector=kubernator.io%2Froot%3Dagreement&limit=500"), Value::Null),
                ("GET", format!("{CONFIGS}?labelSelector=kubernator.io%2Froot%3Dother&limit=500"), Value::Null),
            ],
        ),
        (
            "a Lease's times have six digits",
            vec![
                ("POST", LEASES.to_owned(), lease("2031-01-01T00:00:00Z")),
                ("POST", LEASES.to_owned(), lease("2031-01-01T00:00:00.000Z")),
                ("POST", LEASES.to_owned(), lease("2031-01-01T00:00:00.000000Z")),
                (
                    "PUT",
                    format!("{LEASES}/x"),
                    with(lease("2031-01-01T00:00:01.000000Z"), json!({"resourceVersion": "$rv"})),
                ),
                (
                    "PUT",
                    format!("{LEASES}/x"),
                    with(lease("2031-01-01T00:00:02.000000Z"), json!({"resourceVersion": "$old"})),
                ),
                ("DELETE", format!("{LEASES}/x"), json!({"preconditions": {"resourceVersion": "$old"}})),
                ("DELETE", format!("{LEASES}/x"), json!({"preconditions": {"resourceVersion": "$rv"}})),
                ("GET", format!("{LEASES}/x"), Value::Null),
            ],
        ),
        (
            "a namespace that is missing, a kind that is not served",
            vec![
                (
                    "PATCH",
                    "/api/v1/namespaces/agreement-none/configmaps/x?fieldManager=ktor&force=false".to_owned(),
                    with(one(), json!({"namespace": "agreement-none"})),
                ),
                (
                    "POST",
                    "/api/v1/namespaces/agreement-none/secrets".to_owned(),
                    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}),
                ),
                ("GET", "/api/v1/namespaces/agreement-none/configmaps/x".to_owned(), Value::Null),
                ("GET", "/apis/example.com/v1/namespaces/$ns/tills/x".to_owned(), Value::Null),
            ],
        ),
        (
            "a cluster-scoped object, a list that is one field",
            vec![
                ("PATCH", format!("{ROLES}/agreement-x?fieldManager=ktor&force=false"), role(json!(["get"]))),
                ("PATCH", format!("{ROLES}/agreement-x?fieldManager=ktor&force=false"), role(json!(["get", "list"]))),
                ("PATCH", format!("{ROLES}/agreement-x?fieldManager=other&force=false"), role(json!(["get"]))),
                ("DELETE", format!("{ROLES}/agreement-x"), json!({})),
            ],
        ),
        (
            "what says of itself that it is immutable is deleted and created anew",
            vec![
                apply("ktor", "", sealed("1")),
                apply("ktor", "", sealed("1")),
                apply("ktor", "", sealed("2")),
                apply("ktor", "&dryRun=All", sealed("2")),
                apply("ktor", "", with(sealed("2"), json!({"uid": "$uid"}))),
                apply("ktor", "", config(json!({"a": "1"}))),
                apply("ktor", "", with(sealed("1"), json!({"labels": {"l": "1"}}))),
                ("PUT", format!("{CONFIGS}/x?fieldManager=other"), sealed("3")),
                patch(json!([{"op": "remove", "path": "/immutable"}])),
                patch(json!([{"op": "replace", "path": "/data/a", "value": "9"}])),
                (
                    "POST",
                    format!("{CONFIGS}?fieldManager=ktor&fieldValidation=Strict&dryRun=All"),
                    unnamed(sealed("2")),
                ),
                get(),
                delete("", json!({"preconditions": {"uid": "$uid", "resourceVersion": "$rv"}})),
                apply("ktor", "", sealed("2")),
                get(),
            ],
        ),
        (
            "the state's Secret",
            vec![
                (
                    "POST",
                    SECRETS.to_owned(),
                    json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernator.io/project-state",
                    "metadata": {"name": "x", "namespace": "$ns", "annotations": {"a": "1"}}, "data": {"state": "YQ=="}}),
                ),
                (
                    "PUT",
                    format!("{SECRETS}/x"),
                    json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernator.io/project-state",
                    "metadata": {"name": "x", "namespace": "$ns", "uid": "$uid", "resourceVersion": "$rv", "annotations": {"a": "2"}}, "data": {"state": "Yg=="}}),
                ),
                (
                    "PUT",
                    format!("{SECRETS}/x"),
                    json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernator.io/project-state",
                    "metadata": {"name": "x", "namespace": "$ns", "uid": "$uid", "resourceVersion": "$old", "annotations": {"a": "3"}}, "data": {"state": "Yw=="}}),
                ),
            ],
        ),
    ]
}

/// The answers about the script's object so far: its uid, and its first and last resourceVersion.
#[derive(Clone, Debug, Default)]
struct Memory {
    uid: String,
    old: String,
    last: String,
}

impl Memory {
    fn fill(&self, text: &str, namespace: &str) -> String {
        text.replace("$uid", &self.uid).replace("$rv", &self.last).replace("$old", &self.old).replace("$ns", namespace)
    }

    /// Notes an answer. Returns whether the uid and the resourceVersion are the same as before, or null if the answer
    /// has no object.
    fn note(&mut self, answer: &Value) -> Value {
        let text = |field: &str| answer["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (uid, version) = (text("uid"), text("resourceVersion"));
        if answer["kind"] == "Status" || uid.is_empty() {
            return Value::Null;
        }
        let seen = json!({"same uid": uid == self.uid, "same version": version == self.last});
        if self.old.is_empty() || uid != self.uid {
            self.old.clone_from(&version);
        }
        (self.uid, self.last) = (uid, version);
        seen
    }
}

/// Returns the parts of an object that the test compares.
fn content(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut managers: BTreeMap<String, Value> = BTreeMap::new();
    for entry in metadata["managedFields"].as_array().into_iter().flatten() {
        let name = format!("{} {} {}", entry["manager"], entry["operation"], entry["subresource"]);
        let fields = without_dots(&entry["fieldsV1"]);
        // An update's entry may list only an empty `data` map, because other managers own every part of it by now.
        let is_rest = entry["operation"] == "Update" && fields == json!({"f:data": {}});
        if !is_rest {
            managers.insert(name, fields);
        }
    }
    json!({"labels": metadata["labels"], "annotations": metadata["annotations"], "finalizers": metadata["finalizers"],
        "terminating": !metadata["deletionTimestamp"].is_null(), "data": object["data"], "rules": object["rules"],
        "spec": object["spec"]["holderIdentity"], "managers": managers})
}

/// Removes the entries `.` and `v:`. A field's own entry says nothing more here, and the model treats the items of a
/// set as owned together.
fn without_dots(fields: &Value) -> Value {
    let children = fields.as_object().into_iter().flatten().filter(|(key, _)| *key != "." && !key.starts_with("v:"));
    Value::Object(children.map(|(key, value)| (key.clone(), without_dots(value))).collect())
}

fn compared(status: u16, body: &Value, seen: &Value) -> Value {
    if status >= 300 || body["kind"] == "Status" {
        let cause = |cause: &Value| json!([cause["reason"], cause["field"]]);
        let causes: Vec<Value> = body["details"]["causes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|cause| status == 409 && cause["reason"] == "FieldManagerConflict")
            .map(cause)
            .collect();
        return json!({"status": status, "reason": body["reason"], "causes": causes});
    }
    match body["items"].as_array() {
        Some(items) => json!({"status": status, "items": items.iter().map(content).collect::<Vec<_>>()}),
        None => json!({"status": status, "content": content(body), "seen": seen}),
    }
}

async fn real(client: &kube::Client, method: &Method, target: &str, kind: &str, body: &Value) -> (u16, Value) {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Wired::builder().method(method).uri(target).header("content-type", kind);
    let response = client.send(request.body(Body::from(bytes)).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn o2_the_model_answers_as_the_real_server() {
    let client = ControlPlane::shared().client();
    let mut model = World::new();
    let now = "2031-05-06T07:08:09Z".parse().unwrap();
    let mut differences = Vec::new();
    let mut requests = 0;
    for (index, (title, steps)) in scripts().into_iter().enumerate() {
        let namespace = format!("agreement-{}-{index}", std::process::id());
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let made = real(&client, &Method::POST, "/api/v1/namespaces", "application/json", &body).await;
        assert_eq!(made.0, 201, "{}", made.1);
        let body = body.to_string().into_bytes();
        let made = Request { method: Method::POST, target: "/api/v1/namespaces".to_owned(), body };
        assert_eq!(model.answer(&made, now).status, 201);
        let (mut theirs, mut ours) = (Memory::default(), Memory::default());
        for (number, (verb, target, body)) in steps.into_iter().enumerate() {
            let method: Method = verb.parse().unwrap();
            let kind = match (verb, body.is_array()) {
                ("PATCH", true) => "application/json-patch+json",
                ("PATCH", false) => "application/apply-patch+yaml",
                _ => "application/json",
            };
            let filled = |memory: &Memory| {
                let body = if body.is_null() {
                    Value::Null
                } else {
                    serde_json::from_str(&memory.fill(&body.to_string(), &namespace)).unwrap()
                };
                (memory.fill(&target, &namespace), body)
            };
            let (place, sent) = filled(&theirs);
            let (status, answer) = real(&client, &method, &place, kind, &sent).await;
            let wanted = compared(status, &answer, &theirs.note(&answer));
            let (place, sent) = filled(&ours);
            let body = if sent.is_null() { Vec::new() } else { sent.to_string().into_bytes() };
            let modeled = model.answer(&Request { method, target: place.clone(), body }, now);
            let answer = modeled.body.value();
            let found = compared(modeled.status, &answer, &ours.note(&answer));
            requests += 1;
            if wanted != found {
                differences.push(format!(
                    "{title}, step {}: {verb} {place} {sent}\n  server: {wanted}\n  model:  {found}",
                    number + 1
                ));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    announce(&format!("simulator: agreement: {requests} requests"));
}

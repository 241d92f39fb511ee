//! A model of the API server at the HTTP level. It is stateful and synchronous, and has no clock and no randomness of
//! its own.
//!
//! The model has objects with uid and resourceVersion, preconditions, server-side apply with field ownership, dry runs,
//! finalizers, label selectors, and discovery. Maps are granular and lists are atomic. The schemas of the real server
//! refine this.

mod apply;
mod content;
mod stored;

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

pub use self::content::Content;
use self::stored::Stored;

/// A request as a client sends it.
pub struct Request {
    /// The verb.
    pub method: Method,
    /// The path and the query.
    pub target: String,
    /// The body, or nothing.
    pub body: Vec<u8>,
}

/// An answer.
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The object, the list or the error.
    pub body: Content,
}

impl Answer {
    fn new(status: u16, body: impl Into<Content>) -> Self {
        Self { status, body: body.into() }
    }
}

/// A served resource: its group, its plural, its kind, and its scope. The version is always `v1`.
struct Resource {
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
}

const RESOURCES: [Resource; 6] = [
    Resource { group: "", plural: "namespaces", kind: "Namespace", namespaced: false },
    Resource { group: "", plural: "configmaps", kind: "ConfigMap", namespaced: true },
    Resource { group: "", plural: "secrets", kind: "Secret", namespaced: true },
    Resource { group: "", plural: "serviceaccounts", kind: "ServiceAccount", namespaced: true },
    Resource { group: "coordination.k8s.io", plural: "leases", kind: "Lease", namespaced: true },
    Resource { group: "rbac.authorization.k8s.io", plural: "clusterroles", kind: "ClusterRole", namespaced: false },
];

static DISCOVERY: LazyLock<[Bytes; 2]> = LazyLock::new(|| {
    let group = |group: &str| {
        let served = RESOURCES.iter().filter(|resource| resource.group == group);
        let resources: Vec<Value> = served
            .map(|resource| {
                let scope = if resource.namespaced { "Namespaced" } else { "Cluster" };
                json!({"resource": resource.plural, "scope": scope,
                    "responseKind": {"group": group, "version": "v1", "kind": resource.kind},
                    "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]})
            })
            .collect();
        json!({"metadata": {"name": group}, "versions": [{"version": "v1", "freshness": "Current", "resources": resources}]})
    };
    let list = |items: Vec<Value>| {
        let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items});
        Bytes::from(list.to_string())
    };
    [list(vec![group("")]), list(vec![group("coordination.k8s.io"), group("rbac.authorization.k8s.io")])]
});

/// The whole server.
#[derive(Clone, Default)]
pub struct World {
    objects: BTreeMap<Arc<str>, Arc<Stored>>,
    counter: u64,
}

/// The parts of an object's or a collection's path.
struct Target<'a> {
    resource: &'static Resource,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
}

fn parse(path: &str) -> Option<Target<'_>> {
    let (group, rest) = if let Some(rest) = path.strip_prefix("/api/v1/") {
        ("", rest)
    } else {
        let (group, rest) = path.strip_prefix("/apis/")?.split_once('/')?;
        (group, rest.strip_prefix("v1/")?)
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let resource =
        |plural: &str| RESOURCES.iter().find(|resource| resource.group == group && resource.plural == plural);
    match parts.as_slice() {
        ["namespaces", namespace, plural] => {
            Some(Target { resource: resource(plural)?, namespace: Some(namespace), name: None })
        }
        ["namespaces", namespace, plural, name] => {
            Some(Target { resource: resource(plural)?, namespace: Some(namespace), name: Some(name) })
        }
        [plural] => Some(Target { resource: resource(plural)?, namespace: None, name: None }),
        [plural, name] => Some(Target { resource: resource(plural)?, namespace: None, name: Some(name) }),
        _ => None,
    }
}

fn query<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Returns the refusal of a request.
pub fn status(code: u16, reason: &str, message: &str) -> Answer {
    refusal(code, reason, message, &Value::Null)
}

fn refusal(code: u16, reason: &str, message: &str, details: &Value) -> Answer {
    let mut body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message});
    if !details.is_null() {
        body["details"] = details.clone();
    }
    Answer::new(code, body)
}

fn not_found(target: &Target<'_>, name: &str) -> Answer {
    let details = json!({"name": name, "kind": target.resource.plural, "group": target.resource.group});
    refusal(404, "NotFound", &format!("{} {name:?} not found", target.resource.plural), &details)
}

/// Returns the refusal of a change to an object that says of itself that it is immutable, or `None` if the change is
/// allowed.
fn sealed(target: &Target<'_>, known: &Value, next: &Value) -> Option<Answer> {
    let is_sealed = matches!(target.resource.kind, "ConfigMap" | "Secret") && known["immutable"] == true;
    let field = ["data", "immutable"].into_iter().find(|field| is_sealed && known[*field] != next[*field])?;
    let details = json!({"causes": [{"reason": "FieldValueForbidden", "field": field}]});
    Some(refusal(422, "Invalid", "field is immutable when `immutable` is set", &details))
}

impl World {
    /// Creates a server with the namespaces that every server has.
    pub fn new() -> Self {
        let mut world = Self::default();
        let now = "2031-05-06T07:08:09Z".parse().unwrap();
        for name in ["default", "kube-system"] {
            world.store(
                &format!("/api/v1/namespaces/{name}"),
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
                now,
            );
        }
        world
    }

    /// Returns the object at a path.
    pub fn object(&self, path: &str) -> Option<&Value> {
        self.objects.get(path).map(|object| &***object)
    }

    /// Returns all objects with their paths.
    pub fn objects(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.objects.iter().map(|(path, object)| (&**path, &***object))
    }

    /// Returns this server after the changes that lead from `start` to `end`. This server has the same digest as
    /// `start`. It keeps its own form of each object that these changes do not touch.
    #[must_use]
    pub fn changed_like(&self, start: &Self, end: &Self) -> Self {
        let objects = end.objects.iter().map(|(path, object)| {
            let is_untouched = start.objects.get(path).is_some_and(|known| Arc::ptr_eq(known, object));
            let own = self.objects.get(path).filter(|_| is_untouched);
            (Arc::clone(path), Arc::clone(own.unwrap_or(object)))
        });
        Self { objects: objects.collect(), counter: self.counter.max(end.counter) }
    }

    /// Returns a hash of the content. It counts uids by the order in which they first appear, and ignores times and
    /// resourceVersions.
    pub fn digest(&self) -> u64 {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut hasher = DefaultHasher::new();
        for (path, object) in &self.objects {
            path.hash(&mut hasher);
            object.shape().hash(&mut hasher);
            for uid in object.uids() {
                let next = names.len();
                names.entry(uid).or_insert(next).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// Does what a request asks, and returns its answer.
    pub fn answer(&mut self, request: &Request, now: Timestamp) -> Answer {
        let (path, text) = request.target.split_once('?').unwrap_or((&request.target, ""));
        match path {
            "/api" => return Answer::new(200, DISCOVERY[0].clone()),
            "/apis" => return Answer::new(200, DISCOVERY[1].clone()),
            "/version" => {
                return Answer::new(200, json!({"major": "1", "minor": "37", "gitVersion": "v1.37.2"}));
            }
            _ => {}
        }
        let Some(target) = parse(path) else {
            return Answer::new(404, Bytes::from_static(b"404 page not found\n"));
        };
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let dry_run = query(text, "dryRun") == Some("All");
        let manager = query(text, "fieldManager").unwrap_or("unknown").to_owned();
        if let Some(refused) = self.refuses(&target, request, &body) {
            return refused;
        }
        match (request.method.as_str(), target.name) {
            ("GET", None) => self.list(&target, text),
            ("GET", Some(name)) => match self.objects.get(path) {
                Some(object) => Answer::new(200, Arc::clone(object)),
                None => not_found(&target, name),
            },
            ("POST", None) => self.post(path, &target, body, &manager, dry_run, now),
            ("PUT", Some(name)) => self.put(path, &target, name, body, &manager, dry_run, now),
            ("PATCH", Some(name)) => {
                let force = query(text, "force") == Some("true");
                self.patch(path, &target, name, body, (&manager, force, dry_run), now)
            }
            ("DELETE", Some(name)) => self.delete(path, &target, name, &body, now),
            _ => status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"),
        }
    }

    fn refuses(&self, target: &Target<'_>, request: &Request, body: &Value) -> Option<Answer> {
        if matches!(request.method.as_str(), "GET" | "DELETE") {
            return None;
        }
        if let Some(namespace) = target.namespace
            && !self.objects.contains_key(&*format!("/api/v1/namespaces/{namespace}"))
        {
            let details = json!({"name": namespace, "kind": "namespaces"});
            return Some(refusal(404, "NotFound", &format!("namespaces {namespace:?} not found"), &details));
        }
        if target.resource.kind == "Lease" {
            for field in ["acquireTime", "renewTime"] {
                let time = body["spec"][field].as_str();
                if time.is_some_and(|time| time.split_once('.').is_none_or(|(_, rest)| rest.len() != 7)) {
                    return Some(status(400, "BadRequest", "cannot parse a micro time"));
                }
            }
        }
        None
    }

    fn list(&self, target: &Target<'_>, text: &str) -> Answer {
        let wanted = query(text, "labelSelector").map(|selector| selector.replace("%2F", "/").replace("%3D", "="));
        let wanted = wanted.as_deref().and_then(|selector| selector.split_once('='));
        let items: Vec<Arc<Stored>> = self
            .objects
            .iter()
            .filter(|(known, object)| {
                let same = parse(known).is_some_and(|known| {
                    known.resource.kind == target.resource.kind
                        && (target.namespace.is_none() || known.namespace == target.namespace)
                });
                same && wanted.is_none_or(|(label, value)| object["metadata"]["labels"][label] == value)
            })
            .map(|(_, object)| Arc::clone(object))
            .collect();
        let (kind, version) = (target.resource.kind, self.counter);
        Answer::new(200, Content::List { kind, version, items, rest: None })
    }

    fn post(
        &mut self,
        path: &str,
        target: &Target<'_>,
        mut body: Value,
        manager: &str,
        dry_run: bool,
        now: Timestamp,
    ) -> Answer {
        let generated = body["metadata"]["generateName"].as_str().map(|prefix| format!("{prefix}{}", self.counter));
        let name = body["metadata"]["name"].as_str().map(str::to_owned).or(generated).unwrap_or_default();
        body["metadata"]["name"] = json!(name);
        let path = format!("{path}/{name}");
        if self.objects.contains_key(&*path) {
            return status(409, "AlreadyExists", &format!("{} {name:?} already exists", target.resource.plural));
        }
        apply::update(&Value::Null, &mut body, manager, now);
        if dry_run {
            return Answer::new(201, self.untried(body));
        }
        Answer::new(201, self.store(&path, body, now))
    }

    /// Returns the answer to a dry run of a create. Its uid is one that no object ever has.
    fn untried(&self, mut body: Value) -> Value {
        body["metadata"]["uid"] = json!(format!("dry-{}", self.counter));
        body
    }

    #[expect(clippy::too_many_arguments, reason = "what a request says, taken apart")]
    fn put(
        &mut self,
        path: &str,
        target: &Target<'_>,
        name: &str,
        mut body: Value,
        manager: &str,
        dry_run: bool,
        now: Timestamp,
    ) -> Answer {
        let Some(known) = self.objects.get(path).cloned() else {
            // A PUT may create a Lease.
            if target.resource.kind == "Lease" && body["metadata"]["uid"].is_null() {
                apply::update(&Value::Null, &mut body, manager, now);
                return Answer::new(201, self.store(path, body, now));
            }
            return if target.resource.kind == "Lease" {
                status(409, "Conflict", "uid mismatch")
            } else {
                not_found(target, name)
            };
        };
        for field in ["uid", "resourceVersion"] {
            let stated = &body["metadata"][field];
            if stated.as_str().is_some_and(|stated| !stated.is_empty()) && *stated != known["metadata"][field] {
                return status(
                    409,
                    "Conflict",
                    "the object has been modified; please apply your changes to the latest version",
                );
            }
        }
        for field in ["uid", "creationTimestamp"] {
            body["metadata"][field] = known["metadata"][field].clone();
        }
        apply::update(&known, &mut body, manager, now);
        if let Some(refused) = sealed(target, &known, &body) {
            return refused;
        }
        if dry_run {
            return Answer::new(200, body);
        }
        Answer::new(200, self.store(path, body, now))
    }

    fn patch(
        &mut self,
        path: &str,
        target: &Target<'_>,
        name: &str,
        body: Value,
        (manager, force, dry_run): (&str, bool, bool),
        now: Timestamp,
    ) -> Answer {
        let known = self.objects.get(path).cloned();
        if let Value::Array(operations) = &body {
            let Some(known) = known else { return not_found(target, name) };
            return self.json_patch(path, target, &known, operations, dry_run, now);
        }
        let uid = body["metadata"]["uid"].as_str().filter(|uid| !uid.is_empty());
        match (&known, uid) {
            (None, Some(_)) => {
                return status(
                    409,
                    "Conflict",
                    "uid mismatch: the provided object specified uid and no existing object was found",
                );
            }
            (Some(known), Some(uid)) if known["metadata"]["uid"] != uid => {
                let details = json!({"causes": [{"reason": "FieldValueInvalid", "field": "metadata.uid"}]});
                return refusal(422, "Invalid", "metadata.uid: Invalid value: field is immutable", &details);
            }
            _ => {}
        }
        let version = &body["metadata"]["resourceVersion"];
        if let Some(known) =
            known.as_ref().filter(|known| !version.is_null() && known["metadata"]["resourceVersion"] != *version)
        {
            return status(409, "Conflict", &format!("{} has been modified", known["metadata"]["name"]));
        }
        let next = match apply::apply(known.as_deref().map(|known| &**known), &body, manager, force, now) {
            Ok(next) => next,
            Err(conflict) => return conflict,
        };
        if let Some(refused) = known.as_deref().and_then(|known| sealed(target, known, &next)) {
            return refused;
        }
        match known {
            None if dry_run => Answer::new(201, self.untried(next)),
            None => Answer::new(201, self.store(path, next, now)),
            Some(known) if dry_run || **known == next => {
                if dry_run {
                    Answer::new(200, next)
                } else {
                    Answer::new(200, known)
                }
            }
            Some(_) => Answer::new(200, self.store(path, next, now)),
        }
    }

    fn json_patch(
        &mut self,
        path: &str,
        target: &Target<'_>,
        known: &Value,
        operations: &[Value],
        dry_run: bool,
        now: Timestamp,
    ) -> Answer {
        let mut next = known.clone();
        for operation in operations {
            let Some(place) = operation["path"].as_str() else { return status(400, "BadRequest", "no path") };
            match operation["op"].as_str() {
                Some("test") if next.pointer(place) != Some(&operation["value"]) => {
                    return status(422, "Invalid", "the server rejected our request due to an error in our request");
                }
                Some("test") => {}
                Some("replace" | "add") => match next.pointer_mut(place) {
                    Some(found) => *found = operation["value"].clone(),
                    None => {
                        return status(
                            422,
                            "Invalid",
                            "the server rejected our request due to an error in our request",
                        );
                    }
                },
                Some("remove") if next.pointer(place).is_some() => {
                    let (parent, name) = place.rsplit_once('/').expect("a pointer begins with a slash");
                    next.pointer_mut(parent).and_then(Value::as_object_mut).map(|map| map.remove(name));
                }
                _ => return status(400, "BadRequest", "an operation that is not modeled"),
            }
        }
        if next["metadata"]["resourceVersion"] != known["metadata"]["resourceVersion"] {
            return status(409, "Conflict", "the object has been modified");
        }
        if let Some(refused) = sealed(target, known, &next) {
            return refused;
        }
        if dry_run || next == *known {
            return Answer::new(200, next);
        }
        Answer::new(200, self.store(path, next, now))
    }

    fn delete(&mut self, path: &str, target: &Target<'_>, name: &str, options: &Value, now: Timestamp) -> Answer {
        let Some(known) = self.objects.get(path).cloned() else { return not_found(target, name) };
        for field in ["uid", "resourceVersion"] {
            let stated = &options["preconditions"][field];
            if stated.is_string() && *stated != known["metadata"][field] {
                return status(409, "Conflict", &format!("the {field} in the precondition does not match"));
            }
        }
        let success = json!({"kind": "Status", "apiVersion": "v1", "status": "Success",
            "details": {"name": name, "uid": known["metadata"]["uid"]}});
        if options["dryRun"] == json!(["All"]) {
            return Answer::new(200, success);
        }
        if known["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty()) {
            if !known["metadata"]["deletionTimestamp"].is_null() {
                return Answer::new(200, known);
            }
            let mut next = Value::clone(&known);
            next["metadata"]["deletionTimestamp"] = json!(now.to_string());
            return Answer::new(200, self.store(path, next, now));
        }
        self.objects.remove(path);
        self.counter += 1;
        Answer::new(200, success)
    }

    fn store(&mut self, path: &str, mut object: Value, now: Timestamp) -> Arc<Stored> {
        self.counter += 1;
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        if !object["metadata"]["deletionTimestamp"].is_null() && !held {
            // The last finalizer is gone, so the object is deleted.
            self.objects.remove(path);
            return Arc::new(Stored::from(object));
        }
        let target = parse(path).expect("only objects of served kinds are stored");
        object["kind"] = json!(target.resource.kind);
        if object["apiVersion"].is_null() {
            object["apiVersion"] = json!("v1");
        }
        let metadata = &mut object["metadata"];
        if metadata["uid"].is_null() || metadata["uid"] == "" {
            metadata["uid"] = json!(format!("uid-{}", self.counter));
            metadata["creationTimestamp"] = json!(now.to_string());
        }
        if let Some(namespace) = target.namespace {
            metadata["namespace"] = json!(namespace);
        }
        metadata["resourceVersion"] = json!(self.counter.to_string());
        let object = Arc::new(Stored::from(object));
        self.objects.insert(path.into(), Arc::clone(&object));
        object
    }
}

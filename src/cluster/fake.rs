//! A small API server in this process, for the tests of this adapter. It keeps state, has its own clock and can inject
//! faults.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::{BoxError, service_fn};

use super::connect::Cluster;
use super::lock::{HeldLock, LockRequest};
use super::settings::ClusterSettings;
use crate::object::mark::Root;
use crate::project::path::Segment;

/// A fault of a request.
#[derive(Clone)]
pub(super) enum Fault {
    /// The server answers with this status and body and does nothing.
    ApiAnswer(u16, Value),
    /// The server answers with this status and a `Retry-After` in seconds.
    RetryAfter(u16, u64),
    /// The connection breaks before the request arrives.
    Reset,
    /// The request takes effect, and the connection breaks before the answer.
    LoseAnswer,
    /// The request never arrives, and no error is reported.
    Hang,
    /// The request arrives after this delay and is answered.
    Late(Duration),
}

#[derive(Clone)]
pub(super) struct Fake(Arc<Mutex<World>>);

struct World {
    objects: BTreeMap<String, Value>,
    counter: u64,
    /// Every request that arrived, as `METHOD path?query`.
    journal: Vec<String>,
    faults: Vec<(Method, String, Fault)>,
    started: Instant,
    first: Timestamp,
}

impl Fake {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(World {
            objects: BTreeMap::new(),
            counter: 100,
            journal: Vec::new(),
            faults: Vec::new(),
            started: Instant::now(),
            first: "2031-05-06T07:08:09Z".parse().unwrap(),
        })))
    }

    pub(super) fn cluster(&self) -> Cluster {
        self.cluster_with(ClusterSettings::default())
    }

    pub(super) fn cluster_with(&self, settings: ClusterSettings) -> Cluster {
        let fake = self.clone();
        Cluster::over(
            service_fn(move |request| {
                let fake = fake.clone();
                async move { fake.handle(request).await }
            }),
            settings,
        )
    }

    /// Adds a fault for the next request with this method whose path contains `part`. Faults are used in order.
    pub(super) fn fail(&self, method: Method, part: &str, fault: Fault) {
        self.0.lock().unwrap().faults.push((method, part.to_owned(), fault));
    }

    /// The number of faults that are not used yet.
    pub(super) fn faults_left(&self) -> usize {
        self.0.lock().unwrap().faults.len()
    }

    pub(super) fn object(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    /// Changes or removes an object without a request.
    pub(super) fn set(&self, path: &str, object: Option<Value>) {
        let mut world = self.0.lock().unwrap();
        match object {
            Some(object) => drop(world.store(path, object)),
            None => drop(world.objects.remove(path)),
        }
    }

    /// The requests that arrived so far, without their time-outs.
    pub(super) fn journal(&self) -> Vec<String> {
        let world = self.0.lock().unwrap();
        let strip = |line: &String| {
            line.split(['?', '&']).filter(|part| !part.starts_with("timeout=")).collect::<Vec<_>>().join("&")
        };
        world.journal.iter().map(strip).collect()
    }

    /// The requests that arrived so far, unchanged.
    pub(super) fn raw_journal(&self) -> Vec<String> {
        self.0.lock().unwrap().journal.clone()
    }

    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let path = parts.uri.path().to_owned();
        let fault = {
            let mut world = self.0.lock().unwrap();
            let index =
                world.faults.iter().position(|(method, part, _)| *method == parts.method && path.contains(part));
            index.map(|index| world.faults.remove(index).2)
        };
        match &fault {
            Some(Fault::Reset) => return Err("connection reset".into()),
            Some(Fault::Hang) => pending().await,
            Some(Fault::Late(delay)) => sleep(*delay).await,
            _ => {}
        }
        let mut world = self.0.lock().unwrap();
        world.journal.push(format!("{} {}", parts.method, parts.uri));
        let (status, answer, retry_after) = match fault {
            Some(Fault::ApiAnswer(status, ref answer)) => (status, answer.clone(), None),
            Some(Fault::RetryAfter(status, seconds)) => (status, json!({}), Some(seconds)),
            _ => {
                let query = parts.uri.query().unwrap_or_default();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let (status, answer) = world.answer(&parts.method, &path, query, &body);
                (status, answer, None)
            }
        };
        if matches!(fault, Some(Fault::LoseAnswer)) {
            return Err("connection reset".into());
        }
        let elapsed = SignedDuration::try_from(world.started.elapsed()).unwrap();
        let date = jiff::fmt::rfc2822::DateTimePrinter::new();
        let date = date.timestamp_to_rfc9110_string(&(world.first + elapsed)).unwrap();
        let mut response = Response::builder().status(status).header("date", date);
        if let Some(seconds) = retry_after {
            response = response.header("retry-after", seconds);
        }
        Ok(response.body(Body::from(answer.to_string().into_bytes())).unwrap())
    }
}

impl World {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.counter += 1;
        let counter = self.counter;
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{counter}"));
        }
        object["metadata"]["resourceVersion"] = json!(counter.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn answer(&mut self, method: &Method, path: &str, query: &str, body: &Value) -> (u16, Value) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let known = self.objects.get(path).cloned();
        let dry_run = query.contains("dryRun=All");
        let agrees = |wanted: &Value, known: &Value| wanted.is_null() || wanted == known;
        match (method.as_str(), known) {
            ("POST", _) => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or("generated"));
                match self.objects.get(&path) {
                    Some(_) => status(409, "AlreadyExists", name),
                    None if dry_run => (201, body.clone()),
                    None => (201, self.store(&path, body.clone())),
                }
            }
            ("GET", Some(known)) => (200, known),
            ("GET", None) if query.contains("labelSelector=") && path.ends_with("/secrets") => {
                let wanted = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector=")).unwrap_or_default();
                let carries = |object: &Value| {
                    let labels = object["metadata"]["labels"].as_object();
                    labels.into_iter().flatten().any(|(name, value)| {
                        wanted == super::path::escape(&format!("{name}={}", value.as_str().unwrap_or_default()))
                    })
                };
                let begins = format!("{path}/");
                let items = self.objects.iter().filter(|(at, object)| at.starts_with(&begins) && carries(object));
                let items: Vec<&Value> = items.map(|(_, object)| object).collect();
                (200, json!({"metadata": {}, "items": items}))
            }
            ("GET" | "DELETE", None) => status(404, "NotFound", name),
            ("PUT" | "PATCH", known) => {
                let live = known.clone().unwrap_or(json!({"metadata": {}}));
                let meta = &body["metadata"];
                // An apply to an object that does not exist creates it, even if it names a version.
                let same = agrees(&meta["uid"], &live["metadata"]["uid"])
                    && (known.is_none() && method == Method::PATCH
                        || agrees(&meta["resourceVersion"], &live["metadata"]["resourceVersion"]));
                let mut next = body.clone();
                next["metadata"]["uid"] = live["metadata"]["uid"].clone();
                match (same, known) {
                    (false, _) => status(409, "Conflict", name),
                    (true, None) if dry_run => (201, next),
                    (true, None) => (201, self.store(path, next)),
                    (true, Some(_)) if dry_run => (200, next),
                    (true, Some(_)) => (200, self.store(path, next)),
                }
            }
            ("DELETE", Some(known)) => {
                let wanted = &body["preconditions"];
                let meta = &known["metadata"];
                if !agrees(&wanted["uid"], &meta["uid"])
                    || !agrees(&wanted["resourceVersion"], &meta["resourceVersion"])
                {
                    return status(409, "Conflict", name);
                }
                if body["dryRun"] == json!(["All"]) {
                    return (200, known);
                }
                if meta["finalizers"].is_array() {
                    let mut next = known;
                    next["metadata"]["deletionTimestamp"] = json!("2031-05-06T07:08:09Z");
                    return (200, self.store(path, next));
                }
                self.objects.remove(path);
                (200, json!({"kind": "Status", "status": "Success"}))
            }
            _ => status(405, "MethodNotAllowed", name),
        }
    }
}

/// A `Status` in the form that the server writes.
pub(super) fn status(code: u16, reason: &str, name: &str) -> (u16, Value) {
    let code_text = StatusCode::from_u16(code).unwrap();
    let message = format!("{name}: {code_text}");
    let details = json!({"name": name});
    (code, json!({"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}))
}

/// A `Status` with the given message.
pub(super) fn message(reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "reason": reason, "message": message})
}

pub(super) fn root() -> Root {
    Root::new(Segment::new("demo").unwrap())
}

pub(super) fn lock_request(holder: &str, timeout: Duration) -> LockRequest {
    LockRequest { namespace: "kube-state".into(), root: root(), holder: holder.into(), timeout, run_url: None }
}

/// The path of the lock's Lease.
pub(super) fn lease_path() -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/kube-state/leases/{}", root().lock_name())
}

pub(super) async fn hold(cluster: &Cluster, holder: &str) -> HeldLock {
    cluster.acquire(&lock_request(holder, Duration::ZERO), &mut |_| {}).await.unwrap()
}

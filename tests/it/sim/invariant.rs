//! The invariants that hold at every moment, whatever crashes. The checks read the server's content alone and trust no
//! report of a run.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::rc::Rc;

use base64::Engine;
use flate2::read::GzDecoder;
use http::Method;
use serde_json::Value;
use support::model::{Request, World};

use super::choice::Tree;
use super::simulation::{LEASE, REVIEW_KEY, STATE, path_of};

/// The field manager of our writes.
const MANAGER: &str = "ktor-demo";
/// The annotation of the mark.
pub const MARK: &str = "kubernator.io/project";

/// A request that changed the server.
pub struct Landing<'a> {
    pub request: &'a Request,
    pub before: &'a World,
    pub after: &'a World,
    /// The paths that late requests changed.
    pub late: &'a [String],
    /// The number of the commit that the run applies, if the scenario has an order of commits.
    pub commit: Option<usize>,
}

/// Checks the server after a request of ours changed it, and returns the violations.
pub fn landing(landing: Landing<'_>) -> Vec<String> {
    let Landing { request, before, after, late, commit } = landing;
    let path = path_of(&request.target);
    let mut violations = Vec::new();
    if is_foreign(path) || before.object(path).is_some_and(is_others) {
        violations.push(format!("nothing foreign is touched: {} {path}", request.method));
    }
    if request.method == Method::DELETE && path != LEASE {
        let options: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let stated = |field: &str| options["preconditions"][field].as_str().is_some_and(|text| !text.is_empty());
        if !stated("uid") || !stated("resourceVersion") {
            violations.push(format!("a delete states what it saw: {path} without preconditions"));
        }
        if before.object(path).is_some_and(|object| !is_ours(object)) {
            violations.push(format!("nothing foreign is ever deleted: {path}"));
        }
    }
    if let Some(commit) = commit.filter(|_| !path.contains("/kubernator-system") && path != "/api/v1/namespaces") {
        violations.extend(order(before, commit).map(|what| format!("{what}: {} {path}", request.method)));
    }
    let recorded = recorded(after);
    for (path, object) in after.objects().filter(|(_, object)| is_ours(object)) {
        let key = key_of(path, object);
        if !late.iter().any(|late| late == path) && !recorded.contains_key(&key) {
            violations
                .push(format!("superset: {key} is ours and recorded nowhere, after {}", path_of(&request.target)));
        }
    }
    if path == STATE || path.starts_with(STATE.rsplit_once('/').unwrap().0) {
        violations.extend(dropped(before, after));
    }
    violations
}

/// **Invariant (order):** nothing older goes over newer. A run writes an object only after its commit is recorded as
/// begun in both places, and only while neither place records a later commit.
fn order(before: &World, commit: usize) -> Option<String> {
    let later = commits_recorded(before).into_iter().find(|recorded| *recorded > commit);
    if let Some(later) = later {
        return Some(format!("nothing older over newer: {commit} is applied after {later}"));
    }
    let is_begun = |path: &str| commits_in(before, path, &["ktor-begun"]).contains(&commit);
    (![STATE, REVIEW_KEY].into_iter().all(is_begun))
        .then(|| format!("{commit} is applied before it is recorded as begun"))
}

/// Returns the commits that a run must not be older than, from both places together.
pub fn commits_recorded(world: &World) -> BTreeSet<usize> {
    let both = |names: &[&str]| -> BTreeSet<usize> {
        [STATE, REVIEW_KEY].iter().flat_map(|path| commits_in(world, path, names)).collect()
    };
    let measures = both(&["ktor-begun", "ktor-ledger"]);
    if measures.is_empty() { both(&["ktor-reviewed-from"]) } else { measures }
}

/// Returns the commits that the given annotations of an object name.
pub fn commits_in(world: &World, path: &str, names: &[&str]) -> BTreeSet<usize> {
    let Some(object) = world.object(path) else { return BTreeSet::new() };
    let texts = names.iter().map(|name| &object["metadata"]["annotations"][format!("kubernator.io/{name}")]);
    let words = texts.filter_map(Value::as_str).flat_map(str::split_whitespace);
    words.filter(|word| *word != "stale").map(|word| usize::from_str_radix(word, 16).unwrap() - 1).collect()
}

/// **Invariant (superset):** an entry leaves the state only if its object is gone, belongs to another owner, or is
/// recorded elsewhere.
fn dropped(before: &World, after: &World) -> Vec<String> {
    let (then, now) = (recorded(before), recorded(after));
    let live: BTreeMap<String, &Value> = after.objects().map(|(path, object)| (key_of(path, object), object)).collect();
    let lost = then.keys().filter(|key| !now.contains_key(*key));
    lost.filter(|key| live.get(*key).is_some_and(|object| is_ours(object)))
        .map(|key| format!("superset: the record forgot {key}, which is ours and live"))
        .collect()
}

/// Checks the server after the runs have ended, and returns the violations. The tree, the cluster and the state must
/// agree.
pub fn settled(world: &World, tree: Tree) -> Vec<String> {
    let mut violations = Vec::new();
    let desired = tree.desired();
    for path in &desired {
        match world.object(path) {
            Some(object) if object["metadata"]["annotations"][MARK] == tree.project_of(path) => {}
            Some(object) => {
                violations.push(format!("converges: {path} is marked {}", object["metadata"]["annotations"][MARK]));
            }
            None => violations.push(format!("converges: {path} is missing")),
        }
    }
    let ours: BTreeMap<String, &str> = world
        .objects()
        .filter(|(_, object)| is_ours(object))
        .map(|(path, object)| (key_of(path, object), path))
        .collect();
    for path in ours.values().filter(|path| !desired.contains(path)) {
        violations.push(format!("nothing is leaked: {path} is ours and no longer desired"));
    }
    let recorded = recorded(world);
    for key in ours.keys().filter(|key| !recorded.contains_key(*key)) {
        violations.push(format!("superset: {key} is not recorded at the end"));
    }
    for (key, projects) in recorded.iter().filter(|(key, projects)| !ours.contains_key(*key) || projects.len() != 1) {
        violations.push(format!("converges: {key} is still recorded under {projects:?}"));
    }
    if let Some(lease) = world.object(LEASE) {
        violations.push(format!("the lock is let go: {} has it", lease["spec"]["holderIdentity"]));
    }
    violations
}

/// Returns the content of every object that no run of ours may touch.
pub fn foreigners(world: &World) -> BTreeMap<String, Value> {
    let foreign = world.objects().filter(|(path, _)| is_foreign(path));
    foreign.map(|(path, object)| (path.to_owned(), object.clone())).collect()
}

/// Returns `true` if the name says that the object belongs to another owner.
fn is_foreign(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with("foreign-"))
}

/// Returns `true` if the object has the mark of another root.
pub fn is_others(object: &Value) -> bool {
    object["metadata"]["annotations"][MARK].as_str().is_some_and(|mark| mark.starts_with("other"))
}

/// Returns `true` if ktor or Kubernator put the mark of `demo` on the object.
pub fn is_ours(object: &Value) -> bool {
    let marked = object["metadata"]["annotations"][MARK].as_str();
    let of_demo = marked.is_some_and(|project| project == "demo" || project.starts_with("demo."));
    let managers = object["metadata"]["managedFields"].as_array();
    of_demo
        && managers.into_iter().flatten().any(|entry| {
            [MANAGER, "kubernator"].iter().any(|manager| entry["manager"] == **manager)
                && !entry["fieldsV1"]["f:metadata"]["f:annotations"][format!("f:{MARK}")].is_null()
        })
}

/// Returns the key of an object for comparisons: its kind, namespace and name.
fn key_of(path: &str, object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let namespace = text(&object["metadata"]["namespace"]);
    let kind = match path.rsplit('/').nth(1).unwrap_or_default() {
        "configmaps" => "ConfigMap",
        "secrets" => "Secret",
        "clusterroles" => "ClusterRole",
        other => other,
    };
    format!("{kind} {namespace}/{}", text(&object["metadata"]["name"]))
}

/// Returns the objects that the state records, pending or not, as a map from key to projects.
pub fn recorded(world: &World) -> Rc<BTreeMap<String, Vec<String>>> {
    decoded(world).map(|decoded| decoded.recorded).unwrap_or_default()
}

/// Returns the decoded state.
pub fn state(world: &World) -> Option<Rc<Value>> {
    decoded(world).map(|decoded| decoded.state)
}

/// A decoded state, and the objects that it records.
#[derive(Clone)]
struct Decoded {
    state: Rc<Value>,
    recorded: Rc<BTreeMap<String, Vec<String>>>,
}

/// Decodes the state. This is done here and not by the product, and once for equal data.
fn decoded(world: &World) -> Option<Decoded> {
    thread_local! {
        static KNOWN: RefCell<BTreeMap<String, Decoded>> = RefCell::default();
    }
    let data = world.object(STATE)?["data"]["state"].as_str()?;
    KNOWN.with_borrow_mut(|known| {
        let decoded = known.get(data).cloned().unwrap_or_else(|| {
            let state = decode(data);
            let decoded = Decoded { recorded: Rc::new(entries(&state)), state: Rc::new(state) };
            known.insert(data.to_owned(), decoded.clone());
            decoded
        });
        Some(decoded)
    })
}

/// Returns the objects that a decoded state records.
fn entries(state: &Value) -> BTreeMap<String, Vec<String>> {
    let mut recorded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in ["resources", "pending"] {
        for (project, idents) in state[part].as_object().into_iter().flatten() {
            for ident in idents.as_array().into_iter().flatten() {
                let text = |field: &str| ident[field].as_str().unwrap_or_default();
                let key = format!("{} {}/{}", text("kind"), text("namespace"), text("name"));
                let projects = recorded.entry(key).or_default();
                if !projects.contains(project) {
                    projects.push(project.clone());
                }
            }
        }
    }
    recorded
}

fn decode(data: &str) -> Value {
    let data = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    let mut json = Vec::new();
    GzDecoder::new(data.as_slice()).read_to_end(&mut json).unwrap();
    serde_json::from_slice(&json).unwrap()
}

//! Field ownership: server-side apply, and the tracking of updates beside it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Answer, refusal};

/// A field: the keys that lead to a leaf, to a list, or to an empty map.
type Path = Vec<String>;

/// The metadata fields that no field manager owns.
const UNOWNED: [&str; 6] = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp", "managedFields"];

fn leaves(value: &Value) -> BTreeMap<Path, Value> {
    let mut found = BTreeMap::new();
    let mut body = value.clone();
    if let Some(map) = body.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| !UNOWNED.contains(&field.as_str()));
            if metadata.is_empty() {
                map.remove("metadata");
            }
        }
    }
    collect(&body, &mut Vec::new(), &mut found);
    found
}

fn collect(value: &Value, at: &mut Path, found: &mut BTreeMap<Path, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                at.push(key.clone());
                collect(value, at, found);
                at.pop();
            }
        }
        Value::Null => {}
        Value::Object(_) if at.is_empty() => {}
        leaf => drop(found.insert(at.clone(), leaf.clone())),
    }
}

fn fields(paths: &BTreeSet<Path>) -> Value {
    let mut root = json!({});
    for path in paths {
        let mut at = &mut root;
        for key in path {
            at = &mut at[format!("f:{key}")];
            if at.is_null() {
                *at = json!({});
            }
        }
    }
    root
}

fn owned(fields: &Value, at: &mut Path, found: &mut BTreeSet<Path>) {
    let children: Vec<(&String, &Value)> =
        fields.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("f:")).collect();
    if children.is_empty() && !at.is_empty() {
        found.insert(at.clone());
    }
    for (key, value) in children {
        at.push(key[2..].to_owned());
        owned(value, at, found);
        at.pop();
    }
}

/// An entry of the managed fields: its manager, its operation, its fields, and its time.
struct Entry {
    manager: String,
    operation: String,
    paths: BTreeSet<Path>,
    time: Value,
}

fn entries(object: &Value) -> Vec<Entry> {
    let listed = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    listed
        .map(|entry| {
            let mut paths = BTreeSet::new();
            owned(&entry["fieldsV1"], &mut Vec::new(), &mut paths);
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            Entry { manager: text("manager"), operation: text("operation"), paths, time: entry["time"].clone() }
        })
        .collect()
}

fn write(object: &mut Value, entries: Vec<Entry>) {
    let version = object["apiVersion"].clone();
    let list = entries.into_iter().filter(|entry| !entry.paths.is_empty()).map(|entry| {
        json!({"manager": entry.manager, "operation": entry.operation, "apiVersion": version, "time": entry.time,
            "fieldsType": "FieldsV1", "fieldsV1": fields(&entry.paths)})
    });
    let list: Vec<Value> = list.collect();
    object["metadata"]["managedFields"] = Value::Array(list);
}

fn remove(object: &mut Value, path: &[String]) {
    let [first, rest @ ..] = path else { return };
    let Some(map) = object.as_object_mut() else { return };
    if rest.is_empty() {
        map.remove(first);
        return;
    }
    if let Some(child) = map.get_mut(first) {
        remove(child, rest);
        if child.as_object().is_some_and(Map::is_empty) {
            map.remove(first);
        }
    }
}

fn set(object: &mut Value, path: &[String], value: Value) {
    let mut at = object;
    for key in path {
        if !at[key].is_object() && !at[key].is_null() {
            at[key] = Value::Null;
        }
        at = &mut at[key];
    }
    *at = value;
}

/// Returns the object after a server-side apply, or the conflict.
pub fn apply(known: Option<&Value>, body: &Value, manager: &str, force: bool, now: Timestamp) -> Result<Value, Answer> {
    let wanted = leaves(body);
    let mut next = known.cloned().unwrap_or_else(|| {
        let metadata = json!({"name": body["metadata"]["name"], "namespace": body["metadata"]["namespace"]});
        let mut next = json!({"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata});
        if next["metadata"]["namespace"].is_null() {
            next["metadata"].as_object_mut().expect("it is a map").remove("namespace");
        }
        next
    });
    let mut entries = known.map(entries).unwrap_or_default();
    let live = leaves(&next);
    let mut causes = Vec::new();
    for entry in entries.iter_mut().filter(|entry| !(entry.manager == manager && entry.operation == "Apply")) {
        let differing: Vec<Path> = entry
            .paths
            .iter()
            .filter(|path| wanted.get(*path).is_some_and(|value| live.get(*path) != Some(value)))
            .cloned()
            .collect();
        for path in differing {
            causes.push(json!({"reason": "FieldManagerConflict", "message": format!("conflict with {:?}", entry.manager), "field": format!(".{}", path.join("."))}));
            entry.paths.remove(&path);
        }
    }
    if !causes.is_empty() && !force {
        return Err(refusal(409, "Conflict", "Apply failed with conflicts", &json!({"causes": causes})));
    }
    let mine = entries.iter().position(|entry| entry.manager == manager && entry.operation == "Apply");
    let before = mine.map(|index| entries[index].paths.clone()).unwrap_or_default();
    let others: BTreeSet<&Path> = entries
        .iter()
        .enumerate()
        .filter(|(index, _)| Some(*index) != mine)
        .flat_map(|(_, entry)| &entry.paths)
        .collect();
    let dropped: Vec<Path> =
        before.iter().filter(|path| !wanted.contains_key(*path) && !others.contains(path)).cloned().collect();
    for path in dropped {
        remove(&mut next, &path);
    }
    // A manager can own an empty map, but the object does not store it.
    for (path, value) in wanted.iter().filter(|(_, value)| **value != json!({})) {
        set(&mut next, path, value.clone());
    }
    let paths: BTreeSet<Path> = wanted.into_keys().collect();
    match mine {
        Some(index) if entries[index].paths == paths => {}
        Some(index) => {
            entries[index].paths = paths;
            entries[index].time = json!(now.to_string());
        }
        None => {
            let time = json!(now.to_string());
            entries.push(Entry { manager: manager.to_owned(), operation: "Apply".to_owned(), paths, time });
        }
    }
    write(&mut next, entries);
    Ok(next)
}

/// Records in the managed fields of `body` which fields an update wrote.
pub fn update(known: &Value, body: &mut Value, manager: &str, now: Timestamp) {
    let (before, after) = (leaves(known), leaves(body));
    let changed: BTreeSet<Path> =
        after.iter().filter(|(path, value)| before.get(*path) != Some(value)).map(|(path, _)| path.clone()).collect();
    let mut entries = entries(known);
    for entry in &mut entries {
        let mine = entry.manager == manager && entry.operation == "Update";
        entry.paths.retain(|path| after.contains_key(path) && (mine || !changed.contains(path)));
    }
    match entries.iter_mut().find(|entry| entry.manager == manager && entry.operation == "Update") {
        Some(entry) => entry.paths.extend(changed),
        None => entries.push(Entry {
            manager: manager.to_owned(),
            operation: "Update".to_owned(),
            paths: changed,
            time: json!(now.to_string()),
        }),
    }
    write(body, entries);
}

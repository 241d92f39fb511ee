//! Proves, without a request, that applying an object would change nothing.
//!
//! Our own Apply entry in the managed fields must name exactly the desired fields, and each live field must have the
//! desired value. If this check does not understand something, there is no proof, and the server is asked.

use serde_json::{Map, Value};

use super::cleanup::is_holder;
use super::migration::{FieldTransfer, OtherRoots};
use super::observed::{Lookup, Proved};
use super::policy::Policy;
use crate::object::ident::{ObjectKey, is_custom, split_api_version};
use crate::object::live::Live;
use crate::object::manifest::Manifest;
use crate::object::mark::{Ownership, Root, managed_fields, ownership};
use crate::object::readiness::{Readiness, is_waited_for, readiness};

/// Drops the content of a live object of ours that is ready and proved to be as `desired`.
///
/// A namespace or CRD keeps its content, because the plan has to know what it holds. So does every other object: a plan
/// compares it with the desired one.
pub(crate) fn reduced(key: &ObjectKey, live: Live, desired: Option<&Manifest>, policy: &Policy, root: &Root) -> Lookup {
    let Some(desired) = desired.filter(|_| !is_holder(key)) else { return Lookup::Live(live) };
    let is_ready = !is_waited_for(&key.group_kind()) || readiness(&live) == Readiness::Ready;
    let transfer = FieldTransfer::of(root, &desired.ident.api_version(), policy, key, &live);
    match ownership(&live, root) {
        Ownership::Ours(project) if is_ready && is_proved_for(&transfer, &policy.sent(desired, root), &live, root) => {
            Lookup::Proved(Proved::new(&live, project))
        }
        _ => Lookup::Live(live),
    }
}

/// Returns `true` if the managed fields prove that applying `desired` (stamped) with the root's field manager changes
/// nothing.
///
/// If fields of an older tool are still to be taken over, the apply does change something.
pub fn is_proved(desired: &Value, live: &Live, root: &Root) -> bool {
    let api_version = desired.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    is_proved_for(&FieldTransfer::new(root, api_version, OtherRoots::Keep), desired, live, root)
}

/// Does the same as [`is_proved`] for a transfer that may also cover other managers.
pub(crate) fn is_proved_for(transfer: &FieldTransfer, desired: &Value, live: &Live, root: &Root) -> bool {
    let Some(Value::String(api_version)) = desired.get("apiVersion") else { return false };
    if live.is_terminating() || live.body.get("apiVersion").and_then(Value::as_str) != Some(api_version) {
        return false;
    }
    if transfer.is_due(live) {
        return false;
    }
    // If a field of a custom resource may be null, null is a value that a manager can own.
    let content = desired.as_object().into_iter().flatten().filter(|(name, _)| *name != "metadata");
    if is_custom(split_api_version(api_version).0) && content.map(|(_, value)| value).any(has_null) {
        return false;
    }
    let manager = root.field_manager();
    let ours = managed_fields(live).find(|entry| {
        entry.get("manager").and_then(Value::as_str) == Some(manager.as_str())
            && entry.get("operation").and_then(Value::as_str) == Some("Apply")
            && entry.get("subresource").is_none()
            && entry.get("apiVersion").and_then(Value::as_str) == Some(api_version)
    });
    match (ours.and_then(|entry| entry.get("fieldsV1")), desired.as_object(), live.body.as_object()) {
        (Some(Value::Object(fields)), Some(desired), Some(live)) => {
            let identity = ["apiVersion", "kind"];
            let metadata_agrees = match (fields.get("f:metadata"), desired.get("metadata"), live.get("metadata")) {
                (Some(Value::Object(fields)), Some(Value::Object(desired)), Some(Value::Object(live))) => {
                    maps_agree(fields, desired, live, &["name", "namespace", "uid", "creationTimestamp"])
                }
                _ => false,
            };
            let outside = |map: &Map<String, Value>, name: &str| {
                map.iter().filter(|(key, _)| *key != name).map(|(k, v)| (k.clone(), v.clone())).collect::<Map<_, _>>()
            };
            metadata_agrees
                && maps_agree(&outside(fields, "f:metadata"), &outside(desired, "metadata"), live, &identity)
        }
        _ => false,
    }
}

/// Returns `true` if the owned fields of a map are exactly the desired ones and the live values are the desired values.
fn maps_agree(
    fields: &Map<String, Value>,
    desired: &Map<String, Value>,
    live: &Map<String, Value>,
    pass: &[&str],
) -> bool {
    let mut count = 0;
    for (name, value) in desired.iter().filter(|(name, _)| !pass.contains(&name.as_str())) {
        if value.is_null() {
            // A null states no value. If the live field has no value, the server ignores the null. Otherwise the null
            // is a change.
            if live.get(name).is_some_and(|current| !current.is_null()) {
                return false;
            }
            continue;
        }
        let (Some(field), Some(current)) = (fields.get(&format!("f:{name}")), live.get(name)) else { return false };
        if !values_agree(field, value, current) {
            return false;
        }
        count += 1;
    }
    // Every owned field must be among the desired ones, because an apply would remove an owned field that is no longer
    // desired.
    fields.keys().filter(|name| *name != ".").all(|name| name.starts_with("f:"))
        && count == fields.keys().filter(|name| *name != ".").count()
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().any(has_null),
        Value::Array(items) => items.iter().any(has_null),
        _ => false,
    }
}

fn values_agree(field: &Value, desired: &Value, live: &Value) -> bool {
    let Some(fields) = field.as_object() else { return false };
    if fields.is_empty() {
        // The field is a leaf or an atomic value, so the whole value must be equal.
        return desired == live;
    }
    match (desired, live) {
        // In an empty owned map there is no field to compare, and the live map may contain defaults. This is no proof.
        (Value::Object(desired), Value::Object(live)) => !desired.is_empty() && maps_agree(fields, desired, live, &[]),
        (Value::Array(desired), Value::Array(live))
            if fields.keys().all(|name| name == "." || name.starts_with("k:")) =>
        {
            keyed_lists_agree(fields, desired, live)
        }
        (Value::Array(desired), Value::Array(live))
            if fields.keys().all(|name| name == "." || name.starts_with("v:")) =>
        {
            sets_agree(fields, desired, live)
        }
        _ => false,
    }
}

/// Matches items by the keys that the desired item states. The items must be in the same relative order.
fn keyed_lists_agree(fields: &Map<String, Value>, desired: &[Value], live: &[Value]) -> bool {
    let owned: Vec<(Map<String, Value>, &Value)> = fields
        .iter()
        .filter_map(|(name, field)| Some((serde_json::from_str(name.strip_prefix("k:")?).ok()?, field)))
        .collect();
    if owned.len() != desired.len() || owned.len() != fields.keys().filter(|name| *name != ".").count() {
        return false;
    }
    let matches = |keys: &Map<String, Value>, item: &Map<String, Value>| {
        keys.iter().all(|(name, value)| item.get(name).is_none_or(|stated| stated == value))
            && keys.keys().any(|name| item.contains_key(name))
    };
    let mut after = 0;
    for item in desired {
        let Some(item) = item.as_object() else { return false };
        let mut candidates = owned.iter().filter(|(keys, _)| matches(keys, item));
        let (Some((keys, field)), None) = (candidates.next(), candidates.next()) else { return false };
        let at = live.iter().position(|current| {
            current.as_object().is_some_and(|current| keys.iter().all(|(name, value)| current.get(name) == Some(value)))
        });
        let (Some(at), Some(fields)) = (at, field.as_object()) else { return false };
        let Some(current) = live[at].as_object() else { return false };
        // An item without fields of its own is atomic. Keys that a desired item leaves to their defaults are not
        // fields.
        let agrees = if fields.is_empty() { item == current } else { maps_agree(fields, item, current, &[]) };
        // The order of keyed items is significant to the server.
        if at < after || !agrees {
            return false;
        }
        after = at + 1;
    }
    true
}

fn sets_agree(fields: &Map<String, Value>, desired: &[Value], live: &[Value]) -> bool {
    let owned: Vec<Value> =
        fields.keys().filter_map(|name| serde_json::from_str(name.strip_prefix("v:")?).ok()).collect();
    let mut after = 0;
    owned.len() == desired.len()
        && desired.iter().all(|item| {
            let Some(at) = live.iter().position(|current| current == item) else { return false };
            let ordered = at >= after;
            after = at + 1;
            ordered && owned.contains(item)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::path::Segment;
    use serde_json::json;

    fn root(name: &str) -> Root {
        Root::new(Segment::new(name).unwrap())
    }

    fn live(spec: &Value, fields: &Value) -> Live {
        let entry = json!({"manager": "ktor-demo", "operation": "Apply", "apiVersion": "v1",
            "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": fields}});
        let metadata = json!({"name": "x", "labels": {"a": "1", "other": "2"}, "managedFields": [entry]});
        Live { body: json!({"apiVersion": "v1", "kind": "X", "metadata": metadata, "spec": spec}) }
    }

    fn check(desired: &Value, spec: &Value, fields: &Value, expected: bool) {
        let desired =
            json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x", "labels": {"a": "1"}}, "spec": desired});
        assert_eq!(is_proved(&desired, &live(spec, fields), &root("demo")), expected, "{desired}");
    }

    #[test]
    fn equal_owned_fields_prove_and_anything_else_does_not() {
        let fields = json!({"f:a": {}, "f:m": {"f:x": {}}});
        check(&json!({"a": 1, "m": {"x": 2}}), &json!({"a": 1, "m": {"x": 2, "defaulted": 3}}), &fields, true);
        check(&json!({"a": 1, "m": {"x": 2}, "gone": null}), &json!({"a": 1, "m": {"x": 2}}), &fields, true);
        check(&json!({"a": 2, "m": {"x": 2}}), &json!({"a": 1, "m": {"x": 2}}), &fields, false);
        check(&json!({"a": 1}), &json!({"a": 1, "m": {"x": 2}}), &fields, false);
        check(&json!({"a": 1, "m": {"x": 2, "y": 3}}), &json!({"a": 1, "m": {"x": 2, "y": 3}}), &fields, false);
        check(&json!({"a": 1, "m": {}}), &json!({"a": 1, "m": {}}), &json!({"f:a": {}, "f:m": {".": {}}}), false);
        check(&json!({"a": "1Gi"}), &json!({"a": "1024Mi"}), &json!({"f:a": {}}), false);
        check(&json!({"m": {"x": 2}}), &json!({"m": {"x": 2}}), &json!({"f:m": {".": {}, "f:x": {}}}), true);
        check(&json!({"m": {"x": 2}}), &json!({"m": {"x": 2}}), &json!({"f:m": {"f:x": {}, "i:0": {}}}), false);
    }

    #[test]
    fn a_null_proves_nothing_where_it_would_take_a_value_away_or_be_one() {
        let fields = json!({"f:a": {}});
        check(&json!({"a": 1, "gone": null}), &json!({"a": 1}), &fields, true);
        check(&json!({"a": 1, "gone": null}), &json!({"a": 1, "gone": "someone else's"}), &fields, false);
        check(&json!({"a": 1, "gone": null}), &json!({"a": 1, "gone": null}), &fields, true);
        check(&json!({"a": 1, "gone": null}), &json!({"a": 1}), &json!({"f:a": {}, "f:gone": {}}), false);
        // If a field of a custom resource may be null, null is a value.
        let custom = |value: &Value| {
            let spec = json!({"a": value});
            let metadata = json!({"labels": {"a": "1"}, "creationTimestamp": null});
            let desired = json!({"apiVersion": "shop.dev/v1", "kind": "X", "metadata": metadata, "spec": spec});
            let mut live = live(&spec, &fields);
            live.body["apiVersion"] = json!("shop.dev/v1");
            live.body["metadata"]["creationTimestamp"] = json!("2031-05-06T07:08:09Z");
            live.body["metadata"]["managedFields"][0]["apiVersion"] = json!("shop.dev/v1");
            is_proved(&desired, &live, &root("demo"))
        };
        assert!(custom(&json!(1)) && custom(&json!({"b": [{"c": 1}]})));
        for value in [json!({"b": null}), json!([1, null]), json!([{"b": [null]}])] {
            assert!(!custom(&value), "{value}");
        }
    }

    #[test]
    fn keyed_items_match_by_stated_keys_and_keep_their_order() {
        let key = |port: u16| format!("k:{{\"port\":{port},\"protocol\":\"TCP\"}}");
        let fields = json!({"f:ports": {key(1): {".": {}, "f:port": {}}, key(2): {".": {}, "f:port": {}}}});
        let spec = json!({"ports": [{"port": 1, "protocol": "TCP"}, {"port": 2, "protocol": "TCP"}]});
        check(&json!({"ports": [{"port": 1}, {"port": 2}]}), &spec, &fields, true);
        check(&json!({"ports": [{"port": 2}, {"port": 1}]}), &spec, &fields, false);
        check(&json!({"ports": [{"port": 1}]}), &spec, &fields, false);
        check(&json!({"ports": [{"port": 1}, {"port": 3}]}), &spec, &fields, false);
        check(&json!({"ports": [{"port": 1}, {"port": 1}]}), &spec, &fields, false);
        let other = json!({"port": 9, "protocol": "TCP"});
        let between = json!({"ports": [{"port": 1, "protocol": "TCP"}, other, {"port": 2, "protocol": "TCP"}]});
        check(&json!({"ports": [{"port": 1}, {"port": 2}]}), &between, &fields, true);
    }

    #[test]
    fn keyed_items_agree_in_what_else_they_state() {
        let fields = json!({"f:ports": {".": {}, "k:{\"port\":1}": {".": {}, "f:port": {}, "f:name": {}}}});
        let spec = |name: &str| json!({"ports": [{"port": 1, "name": name, "nodePort": 30_000}]});
        check(&json!({"ports": [{"port": 1, "name": "a"}]}), &spec("a"), &fields, true);
        check(&json!({"ports": [{"port": 1, "name": "a"}]}), &spec("b"), &fields, false);
        check(&json!({"ports": [{"port": 1}]}), &spec("a"), &fields, false);
        check(&json!({"ports": [{"port": 1, "name": "a", "nodePort": 30_000}]}), &spec("a"), &fields, false);
    }

    #[test]
    fn keyed_items_without_fields_are_atomic() {
        let fields = json!({"f:secrets": {"k:{\"name\":\"a\"}": {}}});
        check(&json!({"secrets": [{"name": "a"}]}), &json!({"secrets": [{"name": "a"}]}), &fields, true);
        check(&json!({"secrets": [{"name": "a"}]}), &json!({"secrets": [{"name": "a", "more": 1}]}), &fields, false);
        check(&json!({"secrets": [{"name": "a", "more": 1}]}), &json!({"secrets": [{"name": "a"}]}), &fields, false);
    }

    #[test]
    fn sets_agree_in_value_and_order() {
        let fields = json!({"f:finalizers": {"v:\"a\"": {}, "v:\"b\"": {}}});
        check(&json!({"finalizers": ["a", "b"]}), &json!({"finalizers": ["a", "x", "b"]}), &fields, true);
        check(&json!({"finalizers": ["b", "a"]}), &json!({"finalizers": ["a", "b"]}), &fields, false);
        check(&json!({"finalizers": ["a"]}), &json!({"finalizers": ["a", "b"]}), &fields, false);
        check(&json!({"finalizers": ["a", "a"]}), &json!({"finalizers": ["a", "b"]}), &fields, false);
        let fields = json!({"f:finalizers": {".": {}, "v:\"a\"": {}}});
        check(&json!({"finalizers": ["a"]}), &json!({"finalizers": ["a"]}), &fields, true);
        let fields = json!({"f:finalizers": {"i:1": {}, "v:\"a\"": {}}});
        check(&json!({"finalizers": ["a"]}), &json!({"finalizers": ["a"]}), &fields, false);
    }

    #[test]
    fn another_manager_operation_or_version_proves_nothing() {
        let desired =
            json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x", "labels": {"a": "1"}}, "spec": {"a": 1}});
        let good = live(&json!({"a": 1}), &json!({"f:a": {}}));
        assert!(is_proved(&desired, &good, &root("demo")));
        assert!(!is_proved(&desired, &good, &root("other")));
        for (field, value) in [("operation", "Update"), ("apiVersion", "v2"), ("subresource", "status")] {
            let mut other = good.clone();
            other.body["metadata"]["managedFields"][0][field] = json!(value);
            assert!(!is_proved(&desired, &other, &root("demo")), "{field}");
        }
        let mut leaving = good.clone();
        leaving.body["metadata"]["deletionTimestamp"] = json!("2031-05-06T07:08:09Z");
        assert!(!is_proved(&desired, &leaving, &root("demo")), "it is being deleted");
        let mut older = good;
        let entry = json!({"manager": "kubernator", "operation": "Update", "apiVersion": "v1",
            "fieldsV1": {"f:metadata": {"f:labels": {"f:other": {}}}}});
        older.body["metadata"]["managedFields"].as_array_mut().unwrap().push(entry);
        assert!(!is_proved(&desired, &older, &root("demo")), "a migration is due");
    }
}

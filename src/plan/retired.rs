//! Managed fields in versions that are no longer served, by which the server refuses every apply of a custom resource.
//!
//! A kind that every cluster has loses such entries by itself. For a custom resource the server fails to convert them, so
//! they are restated in the desired version before the first apply, and the plan is computed without a dry run of it.

use serde_json::{Value, json};

use crate::object::fields::{Fields, prune, union};
use crate::object::ident::split_api_version;
use crate::object::kinds::{Kind, Kinds};
use crate::object::live::Live;
use crate::object::mark::{Root, managed_fields};

/// The object with all entries of its managed fields in versions that are served; nothing where they are so already.
pub fn restated(live: &Live, kind: &Kind, api_version: &str) -> Option<Live> {
    let is_retired = |entry: &Value| {
        let (group, version) = split_api_version(text(entry, "apiVersion"));
        group == kind.group_kind.group && !kind.versions.iter().any(|served| served == version)
    };
    if !managed_fields(live).any(is_retired) || Kinds::builtin().get(&kind.group_kind).is_some() {
        return None;
    }
    let mut entries: Vec<Value> = Vec::new();
    for entry in managed_fields(live) {
        let mut entry = entry.clone();
        if is_retired(&entry) {
            entry["apiVersion"] = json!(api_version);
        }
        let same = |other: &&mut Value| {
            ["manager", "operation", "apiVersion", "subresource"]
                .iter()
                .all(|field| other.get(field) == entry.get(field))
        };
        match entries.iter_mut().find(same) {
            Some(present) => present["fieldsV1"] = Value::Object(union(&fields(present), &fields(&entry))),
            None => entries.push(entry),
        }
    }
    let mut live = live.clone();
    live.body["metadata"]["managedFields"] = Value::Array(entries);
    Some(live)
}

/// What an apply makes of a restated object: our fields are as desired, those that we drop are gone, others stay.
///
/// Lists are taken as a whole, as the server takes those of a custom resource that does not say otherwise.
pub fn applied(restated: &Live, desired: &Value, root: &Root) -> Value {
    let manager = root.field_manager();
    let is_ours = |entry: &&Value| text(entry, "manager") == manager && text(entry, "operation") == "Apply";
    let (ours, others): (Vec<&Value>, Vec<&Value>) = managed_fields(restated).partition(is_ours);
    let given = ours.iter().fold(Fields::new(), |all, entry| union(&all, &fields(entry)));
    let kept: Vec<Fields> = others.iter().map(|entry| fields(entry)).collect();
    let mut body = restated.body.clone();
    prune(&mut body, &given, &kept.iter().collect::<Vec<_>>());
    overlay(&mut body, desired);
    body
}

fn overlay(value: &mut Value, desired: &Value) {
    match (value, desired) {
        (Value::Object(map), Value::Object(desired)) => {
            for (name, field) in desired.iter().filter(|(_, field)| !field.is_null()) {
                overlay(map.entry(name.clone()).or_insert(Value::Null), field);
            }
        }
        (value, desired) => *value = desired.clone(),
    }
}

fn fields(entry: &Value) -> Fields {
    entry.get("fieldsV1").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ident::GroupKind;
    use crate::project::path::Segment;

    fn kind(group: &str, name: &str) -> Kind {
        let versions = vec!["v1".to_owned()];
        Kind {
            group_kind: GroupKind::new(group, name),
            plural: "x".into(),
            namespaced: true,
            versions,
            manageable: true,
        }
    }

    fn entry(manager: &str, version: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": "Apply", "apiVersion": version, "fieldsV1": fields})
    }

    fn till() -> Live {
        let ours = json!({"f:spec": {"f:drawer": {}, "f:dropped": {}}});
        let entries = [
            entry("ktor-demo", "shop.dev/v1alpha1", &ours),
            entry("someone", "shop.dev/v1alpha1", &json!({"f:spec": {"f:theirs": {}}})),
            entry("someone", "shop.dev/v1", &json!({"f:spec": {"f:more": {}}})),
        ];
        let spec = json!({"drawer": 1, "dropped": 2, "theirs": 3, "more": 4});
        Live { body: json!({"metadata": {"managedFields": entries}, "spec": spec}) }
    }

    #[test]
    fn c3_entries_in_versions_that_are_gone_are_restated_and_merged() {
        let restated = restated(&till(), &kind("shop.dev", "Till"), "shop.dev/v1").unwrap();
        let ours = json!({"f:spec": {"f:drawer": {}, "f:dropped": {}}});
        let theirs = json!({"f:spec": {"f:theirs": {}, "f:more": {}}});
        let expected = [entry("ktor-demo", "shop.dev/v1", &ours), entry("someone", "shop.dev/v1", &theirs)];
        assert_eq!(restated.body["metadata"]["managedFields"], json!(expected));
        assert_eq!(super::restated(&restated, &kind("shop.dev", "Till"), "shop.dev/v1"), None);
        let root = Root::new(Segment::new("demo").unwrap());
        let after = applied(&restated, &json!({"spec": {"drawer": 5, "new": [1]}}), &root);
        assert_eq!(after["spec"], json!({"drawer": 5, "theirs": 3, "more": 4, "new": [1]}));
    }

    #[test]
    fn the_entries_of_built_in_kinds_and_of_other_groups_are_the_servers_matter() {
        let mut scaler = till();
        scaler.body["metadata"]["managedFields"] = json!([entry("ktor-demo", "autoscaling/v2beta2", &json!({}))]);
        assert_eq!(restated(&scaler, &kind("autoscaling", "HorizontalPodAutoscaler"), "autoscaling/v2"), None);
        assert_eq!(restated(&till(), &kind("market.dev", "Till"), "market.dev/v1"), None);
    }
}

//! Managed fields that the server cannot read, so that it refuses every apply of a custom resource.
//!
//! Either the server no longer serves their version, or the schema of that version lacks a field that the object now
//! has. For built-in kinds, the server drops entries in retired versions by itself. For a custom resource, the server
//! fails to convert them. Before the apply, ktor therefore restates them in the desired version. For the plan, it
//! replaces the dry run of the apply with a dry run of a PUT.

use serde_json::{Value, json};

use crate::object::fields::{Fields, union};
use crate::object::ident::split_api_version;
use crate::object::kinds::{Kind, Kinds};
use crate::object::live::Live;
use crate::object::mark::{Root, managed_fields};
use crate::object::merge;

/// The object with all entries of its managed fields in served versions; `None` if they are so already, or if the kind
/// is built in.
pub(crate) fn restated(live: &Live, kind: &Kind, api_version: &str) -> Option<Live> {
    let is_retired = |entry: &Value| {
        let (group, version) = split_api_version(text(entry, "apiVersion"));
        group == kind.group_kind.group && !kind.versions.iter().any(|served| served == version)
    };
    if Kinds::builtin().get(&kind.group_kind).is_some() {
        return None;
    }
    restate(live, api_version, is_retired)
}

/// The object with all entries of its managed fields in this version; `None` if they are so already.
///
/// It is for a server that reported that it cannot read the managed fields: any entry may be the cause.
pub(crate) fn unified(live: &Live, api_version: &str) -> Option<Live> {
    let group = split_api_version(api_version).0;
    restate(live, api_version, |entry| {
        let version = text(entry, "apiVersion");
        version != api_version && split_api_version(version).0 == group
    })
}

fn restate(live: &Live, api_version: &str, is_due: impl Fn(&Value) -> bool) -> Option<Live> {
    if !managed_fields(live).any(&is_due) {
        return None;
    }
    let mut entries: Vec<Value> = Vec::new();
    for entry in managed_fields(live) {
        let mut entry = entry.clone();
        if is_due(&entry) {
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

/// The result of applying `desired` to a restated object.
pub(crate) fn applied(restated: &Live, desired: &Value, root: &Root) -> Value {
    let manager = root.field_manager();
    let is_ours = |entry: &&Value| text(entry, "manager") == manager && text(entry, "operation") == "Apply";
    let (ours, others): (Vec<&Value>, Vec<&Value>) = managed_fields(restated).partition(is_ours);
    let own = ours.iter().fold(Fields::new(), |all, entry| union(&all, &fields(entry)));
    let others: Vec<Fields> = others.iter().map(|entry| fields(entry)).collect();
    merge::applied(&restated.body, desired, &own, &others.iter().collect::<Vec<_>>())
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
    fn r3_entries_in_versions_that_are_served_are_restated_where_the_server_cannot_read_them() {
        let mut live = till();
        live.body["metadata"]["managedFields"][2] = entry("foreign", "other.dev/v1", &json!({}));
        let unified = unified(&live, "shop.dev/v2").unwrap();
        let versions: Vec<&str> = managed_fields(&unified).map(|entry| text(entry, "apiVersion")).collect();
        assert_eq!(versions, ["shop.dev/v2", "shop.dev/v2", "other.dev/v1"]);
        assert_eq!(super::unified(&unified, "shop.dev/v2"), None);
    }

    #[test]
    fn the_entries_of_built_in_kinds_and_of_other_groups_are_the_servers_matter() {
        let mut scaler = till();
        scaler.body["metadata"]["managedFields"] = json!([entry("ktor-demo", "autoscaling/v2beta2", &json!({}))]);
        assert_eq!(restated(&scaler, &kind("autoscaling", "HorizontalPodAutoscaler"), "autoscaling/v2"), None);
        assert_eq!(restated(&till(), &kind("market.dev", "Till"), "market.dev/v1"), None);
    }
}

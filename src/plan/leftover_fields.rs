//! Fields that no manifest states and that prevent a change: the server filled them in, or another manager set them.
//! They make the changed object invalid, although the change affects no immutable field.
//!
//! This module examines the fields next to a changed field, that is, with the same parent. If no manager owns a field
//! at fault, our Apply entry claims it and the apply then removes it. If another manager owns such a field, the message
//! names that manager.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::object::field_path::FieldPath;
use crate::object::fields::{Fields, prune, union};
use crate::object::live::Live;
use crate::object::mark::{Root, managed_fields};
use crate::object::merge::{applied, find, item_keys};
use crate::plan::migration::{Extent, FieldTransfer};

/// The result of an apply, and the fields next to the fields that the apply changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InPlace {
    /// The object with the manifest applied.
    pub merged: Value,
    /// The fields next to changed ones that no manager owns.
    pub unowned: Vec<FieldPath>,
    /// The fields next to changed ones that another manager owns, each with the name of that manager.
    pub held: Vec<(FieldPath, String)>,
}

impl InPlace {
    /// The object without these fields.
    #[must_use]
    pub(crate) fn without<'a>(&self, paths: impl IntoIterator<Item = &'a FieldPath>) -> Value {
        let mut body = self.merged.clone();
        for path in paths {
            prune(&mut body, &path.to_fields(), &[]);
        }
        body
    }
}

/// Computes the result of applying `desired` to a live object after the fields of older tools became ours.
///
/// `None` if the managed fields were lost or are those of another version: then they prove nothing about the owners of
/// fields.
#[must_use]
pub(crate) fn in_place(live: &Live, desired: &Value, transfer: &FieldTransfer, root: &Root) -> Option<InPlace> {
    let mut migrated = live.clone();
    if let Some(fields) = transfer.managed_fields(live, Extent::Whole) {
        migrated.body["metadata"]["managedFields"] = fields;
    }
    let version = live.body.get("apiVersion");
    let is_status = |entry: &Value| entry.get("subresource").and_then(Value::as_str) == Some("status");
    if managed_fields(&migrated).any(|entry| entry.get("apiVersion") != version && !is_status(entry)) {
        return None;
    }
    let manager = root.field_manager();
    let own = managed_fields(&migrated).find(|entry| is_applied_by(entry, &manager))?;
    let own = own.get("fieldsV1")?.as_object()?;
    let others: Vec<(&str, &Fields)> = managed_fields(&migrated)
        .filter(|entry| !is_applied_by(entry, &manager))
        .filter_map(|entry| Some((entry.get("manager")?.as_str()?, entry.get("fieldsV1")?.as_object()?)))
        .collect();
    let sets: Vec<&Fields> = others.iter().map(|(_, fields)| *fields).collect();
    let merged = applied(&live.body, desired, own, &sets);
    let mut walk = Walk { path: Vec::new(), unowned: Vec::new(), held: Vec::new() };
    let owners = Owners { own: Some(own), others };
    walk.values(&live.body, &merged, Some(desired), &owners);
    let Walk { unowned, held, .. } = walk;
    Some(InPlace { merged, unowned, held })
}

/// The object with the manifest applied, as far as its managed fields tell.
#[must_use]
pub(crate) fn merged(live: &Live, desired: &Value, transfer: &FieldTransfer, root: &Root) -> Value {
    match in_place(live, desired, transfer, root) {
        Some(in_place) => in_place.merged,
        None => applied(&live.body, desired, &Fields::new(), &[]),
    }
}

/// The managed fields after our own Apply entry claims these paths. `None` if another manager owns one of them by now,
/// or if there is no such entry.
#[must_use]
pub(crate) fn claimed(fields: &[Value], claims: &Fields, root: &Root) -> Option<Vec<Value>> {
    let manager = root.field_manager();
    let is_free = |entry: &Value| {
        let owned = entry.get("fieldsV1").and_then(Value::as_object);
        !owned.is_some_and(|owned| overlaps(owned, claims))
    };
    if !fields.iter().filter(|entry| !is_applied_by(entry, &manager)).all(is_free) {
        return None;
    }
    let mut fields = fields.to_vec();
    let own = fields.iter_mut().find(|entry| is_applied_by(entry, &manager))?;
    let all = union(own.get("fieldsV1")?.as_object()?, claims);
    own["fieldsV1"] = json!(all);
    Some(fields)
}

/// Returns `true` if a field set has anything at or below one of these paths.
fn overlaps(owned: &Fields, claims: &Fields) -> bool {
    claims.iter().any(|(name, claim)| match (owned.get(name).and_then(Value::as_object), claim.as_object()) {
        (Some(owned), Some(claim)) => claim.is_empty() || overlaps(owned, claim),
        _ => false,
    })
}

fn is_applied_by(entry: &Value, manager: &str) -> bool {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
    text("manager") == manager && text("operation") == "Apply" && text("subresource").is_empty()
}

/// The owners of the fields below one place.
struct Owners<'a> {
    own: Option<&'a Fields>,
    others: Vec<(&'a str, &'a Fields)>,
}

impl<'a> Owners<'a> {
    fn below(&self, name: &str) -> Self {
        let own = self.own.and_then(|fields| fields.get(name)?.as_object());
        let others = self.others.iter();
        let others = others.filter_map(|(manager, fields)| Some((*manager, fields.get(name)?.as_object()?))).collect();
        Self { own, others }
    }

    fn sets(&self) -> Vec<&'a Fields> {
        self.own.into_iter().chain(self.others.iter().map(|(_, fields)| *fields)).collect()
    }

    /// Returns `true` if a manager owns the place as a whole, and so everything below it.
    fn is_whole(&self) -> bool {
        self.sets().iter().any(|fields| fields.is_empty())
    }
}

struct Walk {
    path: Vec<String>,
    unowned: Vec<FieldPath>,
    held: Vec<(FieldPath, String)>,
}

impl Walk {
    fn values(&mut self, live: &Value, merged: &Value, desired: Option<&Value>, owners: &Owners<'_>) {
        match (live, merged) {
            (Value::Object(live), Value::Object(merged)) => {
                self.maps(live, merged, desired.and_then(Value::as_object), owners);
            }
            (Value::Array(live), Value::Array(merged)) => {
                if let Some(keys) = item_keys(&owners.sets()) {
                    self.lists(live, merged, desired.and_then(Value::as_array), &keys, owners);
                }
            }
            _ => {}
        }
    }

    fn maps(
        &mut self,
        live: &Map<String, Value>,
        merged: &Map<String, Value>,
        desired: Option<&Map<String, Value>>,
        owners: &Owners<'_>,
    ) {
        let passed: &[&str] = if self.path.is_empty() { &["apiVersion", "kind", "metadata", "status"] } else { &[] };
        let is_nested = |name: &String| {
            matches!(
                (live.get(name), merged.get(name)),
                (Some(Value::Object(_)), Some(Value::Object(_))) | (Some(Value::Array(_)), Some(Value::Array(_)))
            )
        };
        let names = || live.keys().chain(merged.keys()).filter(|name| !passed.contains(&name.as_str()));
        let differs = |name: &String| live.get(name) != merged.get(name);
        let changes_here = names().any(|name| {
            differs(name) && (!is_nested(name) || owners.below(&format!("f:{name}")).is_whole_or_bare(live.get(name)))
        });
        if changes_here && !owners.is_whole() {
            let is_stated = |name: &str| desired.is_some_and(|map| map.get(name).is_some_and(|value| !value.is_null()));
            for name in merged.keys().filter(|name| !passed.contains(&name.as_str()) && !is_stated(name)) {
                self.beside(format!("f:{name}"), owners);
            }
        }
        let nested: BTreeSet<&String> = names().filter(|name| is_nested(name) && differs(name)).collect();
        for name in nested {
            if let (Some(before), Some(after)) = (live.get(name), merged.get(name)) {
                let field = format!("f:{name}");
                let owners = owners.below(&field);
                self.path.push(field);
                self.values(before, after, desired.and_then(|map| map.get(name)), &owners);
                self.path.pop();
            }
        }
    }

    fn lists(
        &mut self,
        live: &[Value],
        merged: &[Value],
        desired: Option<&Vec<Value>>,
        keys: &[String],
        owners: &Owners<'_>,
    ) {
        let nothing = Vec::new();
        let desired = desired.unwrap_or(&nothing);
        let differs = merged.iter().any(|item| find(live, keys, item).is_none())
            || live.iter().any(|item| find(merged, keys, item).is_none());
        for item in merged {
            let stated = find(desired, keys, item).map(|at| &desired[at]);
            let name = name_of(item, keys);
            match (stated, find(live, keys, item).map(|at| &live[at])) {
                (None, _) if differs => self.beside(name, owners),
                (Some(_), Some(before)) if before != item => {
                    let owners = owners.below(&name);
                    self.path.push(name);
                    self.values(before, item, stated, &owners);
                    self.path.pop();
                }
                _ => {}
            }
        }
    }

    /// Notes a field that the manifest does not state, next to a field that the apply changes.
    fn beside(&mut self, name: String, owners: &Owners<'_>) {
        let below = owners.below(&name);
        let path = FieldPath::new(self.path.iter().cloned().chain([name]));
        if below.own.is_some() {
            return;
        }
        match below.others.as_slice() {
            [] => self.unowned.push(path),
            others => self.held.extend(others.iter().map(|(manager, _)| (path.clone(), (*manager).to_owned()))),
        }
    }
}

impl Owners<'_> {
    /// Returns `true` if a map or a list changes as one value: a manager owns it as a whole, or it is a list without
    /// keys.
    fn is_whole_or_bare(&self, value: Option<&Value>) -> bool {
        self.is_whole() || (value.is_some_and(Value::is_array) && item_keys(&self.sets()).is_none())
    }
}

/// The name of a list item, as managed fields write it.
fn name_of(item: &Value, keys: &[String]) -> String {
    let keys: Map<String, Value> = keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone()))).collect();
    format!("k:{}", Value::Object(keys))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::migration::OtherRoots;
    use crate::project::path::Segment;

    fn root() -> Root {
        Root::new(Segment::new("demo").unwrap())
    }

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsV1": fields})
    }

    fn live(spec: &Value, entries: &[Value]) -> Live {
        let metadata = json!({"name": "x", "managedFields": entries});
        Live { body: json!({"apiVersion": "apps/v1", "kind": "X", "metadata": metadata, "spec": spec}) }
    }

    fn found(live: &Live, spec: &Value) -> Option<(Vec<String>, Vec<String>)> {
        let desired = json!({"apiVersion": "apps/v1", "kind": "X", "metadata": {"name": "x"}, "spec": spec});
        let transfer = FieldTransfer::new(&root(), "apps/v1", OtherRoots::Keep);
        let place = in_place(live, &desired, &transfer, &root())?;
        let held = place.held.iter().map(|(path, manager)| format!("{path} {manager}")).collect();
        Some((place.unowned.iter().map(ToString::to_string).collect(), held))
    }

    #[test]
    fn r1_what_nobody_owns_beside_a_changed_field_may_be_left_over() {
        let spec = json!({"replicas": 4, "selector": {"a": "b"}, "strategy": {"type": "A", "rolling": {"max": 1}, "other": 1}});
        let ours = entry("ktor-demo", "Apply", &json!({"f:spec": {"f:selector": {}, "f:strategy": {"f:type": {}}}}));
        let theirs = entry("kubectl-patch", "Update", &json!({"f:spec": {"f:strategy": {"f:other": {}}}}));
        let changed = json!({"selector": {"a": "b"}, "strategy": {"type": "B"}});
        let live_of = |entries: &[Value]| live(&spec, entries);
        let both = live_of(&[ours.clone(), theirs.clone()]);
        let expected =
            (vec![".spec.strategy.rolling".to_owned()], vec![".spec.strategy.other kubectl-patch".to_owned()]);
        assert_eq!(found(&both, &changed), Some(expected));
        let same = json!({"selector": {"a": "b"}, "strategy": {"type": "A"}});
        assert_eq!(found(&both, &same), Some((vec![], vec![])), "nothing changes");
        // Managed fields that were lost, or that are of another version, prove nothing about the owners of fields.
        assert_eq!(found(&live_of(&[theirs]), &changed), None);
        let mut older = ours;
        older["apiVersion"] = json!("apps/v1beta1");
        assert_eq!(found(&live_of(&[older]), &changed), None);
    }

    #[test]
    fn r1_items_beside_a_new_one_and_fields_within_one_are_found() {
        let spec = json!({"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}], "env": [{"name": "X", "value": "1", "more": 1}]});
        let item = |name: &str| format!("k:{{\"name\":\"{name}\"}}");
        let whole = json!({".": {}, "f:name": {}, "f:port": {}});
        let ours = entry(
            "ktor-demo",
            "Apply",
            &json!({"f:spec": {"f:ports": {item("a"): whole}, "f:env": {item("X"): {".": {}, "f:name": {}}}}}),
        );
        let theirs = entry(
            "set",
            "Update",
            &json!({"f:spec": {"f:ports": {item("b"): whole}, "f:env": {item("X"): {"f:value": {}}}}}),
        );
        let live = live(&spec, &[ours, theirs]);
        let desired =
            json!({"ports": [{"name": "a", "port": 1}, {"name": "c", "port": 2}], "env": [{"name": "X", "from": 1}]});
        let (unowned, held) = found(&live, &desired).unwrap();
        assert_eq!(unowned, [".spec.env[name=\"X\"].more"]);
        assert_eq!(held, [".spec.env[name=\"X\"].value set", ".spec.ports[name=\"b\"] set"]);
    }

    #[test]
    fn r1_only_what_nobody_owns_by_now_is_claimed() {
        let ours = entry("ktor-demo", "Apply", &json!({"f:spec": {"f:a": {}}}));
        let claims = json!({"f:spec": {"f:b": {}}}).as_object().unwrap().clone();
        let fields = claimed(std::slice::from_ref(&ours), &claims, &root()).unwrap();
        assert_eq!(fields[0]["fieldsV1"], json!({"f:spec": {"f:a": {}, "f:b": {}}}));
        assert_eq!(claimed(&fields, &claims, &root()), Some(fields.clone()), "a lost attempt of our own");
        for theirs in [json!({"f:b": {}}), json!({"f:b": {"f:below": {}}})] {
            let theirs = entry("other", "Update", &json!({"f:spec": theirs}));
            assert_eq!(claimed(&[ours.clone(), theirs], &claims, &root()), None);
        }
        assert_eq!(claimed(&[], &claims, &root()), None, "the managed fields are lost");
    }
}

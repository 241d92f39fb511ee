//! Computes the result of a server-side apply from the managed fields, for cases in which the server cannot be asked.
//!
//! There is no schema here. The managed fields show how the server merges. A list with `k:` names below it is merged by
//! these keys. A list with `v:` names is a set. A value that a manager owns as a whole is replaced as a whole.

use serde_json::{Map, Value};

use super::fields::Fields;

/// Computes the object after the manager that owns `own` has applied `desired`.
///
/// The fields in `desired` get their desired values. The fields that only this manager owns and that are no longer in
/// `desired` are removed. All other fields stay.
#[must_use]
pub(crate) fn applied(live: &Value, desired: &Value, own: &Fields, others: &[&Fields]) -> Value {
    let mut after = live.clone();
    if let (Value::Object(after), Value::Object(desired)) = (&mut after, desired) {
        maps(after, desired, own, others);
    }
    after
}

/// The part of each set below one name. Sets without this name are left out.
#[must_use]
pub(crate) fn below<'a>(sets: &[&'a Fields], name: &str) -> Vec<&'a Fields> {
    sets.iter().filter_map(|fields| fields.get(name)?.as_object()).collect()
}

/// The names of the fields that are the key of a list's items. Returns `None` if the list is not merged by keys.
#[must_use]
pub(crate) fn item_keys(sets: &[&Fields]) -> Option<Vec<String>> {
    let name = sets.iter().flat_map(|fields| fields.keys()).find(|name| name.starts_with("k:"))?;
    Some(keys_of(name)?.keys().cloned().collect())
}

/// The keys and their values in the name of an item (`k:…`).
#[must_use]
pub(crate) fn keys_of(name: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(name.strip_prefix("k:")?).ok()
}

/// Finds the item with the same keys as `wanted`. A key that either of the two leaves to its default is not compared.
/// At least one key must be present in both.
#[must_use]
pub(crate) fn find(items: &[Value], keys: &[String], wanted: &Value) -> Option<usize> {
    let is_it = |item: &Value| {
        let stated = keys.iter().filter_map(|key| Some((item.get(key)?, wanted.get(key)?)));
        let mut stated = stated.peekable();
        stated.peek().is_some() && stated.all(|(a, b)| a == b)
    };
    items.iter().position(is_it)
}

fn maps(live: &mut Map<String, Value>, desired: &Map<String, Value>, own: &Fields, others: &[&Fields]) {
    for (field, ours) in own {
        let Some(name) = field.strip_prefix("f:") else { continue };
        if desired.get(name).is_some_and(|value| !value.is_null()) {
            continue;
        }
        let kept = below(others, field);
        if kept.is_empty() {
            live.remove(name);
        } else if let (Some(value), Some(ours)) = (live.get_mut(name), ours.as_object()) {
            dropped(value, ours, &kept);
        }
    }
    for (name, wanted) in desired.iter().filter(|(_, wanted)| !wanted.is_null()) {
        match live.get_mut(name) {
            Some(value) => {
                let field = format!("f:{name}");
                let ours = own.get(&field).and_then(Value::as_object);
                values(value, wanted, ours, &below(others, &field));
            }
            None => drop(live.insert(name.clone(), wanted.clone())),
        }
    }
}

fn values(live: &mut Value, desired: &Value, ours: Option<&Fields>, others: &[&Fields]) {
    let nothing = Fields::new();
    let own = ours.unwrap_or(&nothing);
    let sets: Vec<&Fields> = ours.into_iter().chain(others.iter().copied()).collect();
    // If a manager owns the value and nothing below it, the value is replaced as a whole.
    let is_atomic = sets.iter().any(|fields| fields.is_empty());
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) if !is_atomic || live.is_empty() => {
            maps(live, desired, own, others);
        }
        (Value::Array(live), Value::Array(desired)) if !is_atomic => match item_keys(&sets) {
            Some(keys) => items(live, desired, &keys, own, others),
            None if sets.iter().any(|fields| fields.keys().any(|name| name.starts_with("v:"))) => {
                live.retain(|item| !is_dropped(item, own, others) || desired.contains(item));
                let new: Vec<Value> = desired.iter().filter(|item| !live.contains(item)).cloned().collect();
                live.extend(new);
            }
            None => live.clone_from(desired),
        },
        (live, desired) => *live = desired.clone(),
    }
}

fn is_dropped(item: &Value, own: &Fields, others: &[&Fields]) -> bool {
    let name = format!("v:{item}");
    own.contains_key(&name) && below(others, &name).is_empty()
}

/// Merges a list whose items have keys. Items that are not in the manifest keep their positions. The other items fill
/// the remaining positions in the order of the manifest. New items come last.
fn items(live: &mut Vec<Value>, desired: &[Value], keys: &[String], own: &Fields, others: &[&Fields]) {
    let name = |item: &Value, sets: &[&Fields]| -> Option<String> {
        let is_it = |name: &&String| {
            keys_of(name).is_some_and(|keys| keys.iter().all(|(key, value)| item.get(key) == Some(value)))
        };
        sets.iter().flat_map(|fields| fields.keys()).find(is_it).cloned()
    };
    let mut shared = Vec::new();
    let mut kept: Vec<Option<Value>> = Vec::new();
    for item in live.drain(..) {
        let owned = name(&item, &[own]);
        if find(desired, keys, &item).is_some() {
            shared.push(item);
            kept.push(None);
            continue;
        }
        let theirs = owned.as_deref().map(|name| below(others, name)).unwrap_or_default();
        match owned.as_deref().and_then(|name| own.get(name)?.as_object()) {
            None => kept.push(Some(item)),
            Some(_) if theirs.is_empty() => {}
            Some(ours) => {
                let mut left = item.clone();
                dropped(&mut left, ours, &theirs);
                // An item always keeps its keys.
                for key in keys {
                    if let Some(value) = item.get(key) {
                        left[key] = value.clone();
                    }
                }
                kept.push(Some(left));
            }
        }
    }
    let sets: Vec<&Fields> = [own].into_iter().chain(others.iter().copied()).collect();
    let mut new = Vec::new();
    let mut merged = Vec::new();
    for wanted in desired {
        let Some(at) = find(&shared, keys, wanted) else {
            new.push(wanted.clone());
            continue;
        };
        let mut item = shared[at].clone();
        let place = name(&item, &sets).unwrap_or_default();
        values(&mut item, wanted, own.get(&place).and_then(Value::as_object), &below(others, &place));
        merged.push(item);
    }
    let mut merged = merged.into_iter();
    *live = kept.into_iter().filter_map(|slot| slot.or_else(|| merged.next())).chain(new).collect();
}

/// Removes the fields that only we own from a value that other managers own too.
fn dropped(value: &mut Value, ours: &Fields, kept: &[&Fields]) {
    super::fields::prune(value, ours, kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(live: &Value, desired: &Value, own: &Value, others: &[Value], expected: &Value) {
        let others: Vec<&Fields> = others.iter().filter_map(Value::as_object).collect();
        assert_eq!(applied(live, desired, own.as_object().unwrap(), &others), *expected);
    }

    #[test]
    fn r1_what_we_state_no_more_goes_and_what_nobody_owns_stays() {
        let live = json!({"spec": {"replicas": 4, "paused": true, "strategy": {"type": "A", "rolling": {"max": 1}}}});
        let own = json!({"f:spec": {"f:paused": {}, "f:strategy": {"f:type": {}}}});
        let desired = json!({"spec": {"strategy": {"type": "B"}}});
        let expected = json!({"spec": {"replicas": 4, "strategy": {"type": "B", "rolling": {"max": 1}}}});
        check(&live, &desired, &own, &[], &expected);
        // Fields of other managers stay, even if they are below a field that we drop.
        let theirs = json!({"f:spec": {"f:strategy": {"f:rolling": {"f:max": {}}}}});
        let expected = json!({"spec": {"replicas": 4, "strategy": {"rolling": {"max": 1}}}});
        check(&live, &json!({"spec": {}}), &own, &[theirs], &expected);
        check(&live, &json!({"spec": {}}), &own, &[], &json!({"spec": {"replicas": 4}}));
    }

    #[test]
    fn r1_items_are_merged_by_their_keys() {
        let live =
            json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "X", "value": "x"}]});
        let item = |name: &str| format!("k:{{\"name\":\"{name}\"}}");
        let whole = json!({".": {}, "f:name": {}, "f:value": {}});
        let own = json!({"f:env": {item("A"): whole, item("B"): whole}});
        let desired = json!({"env": [{"name": "C", "value": "3"}, {"name": "B", "valueFrom": {"a": 1}}]});
        let expected = json!({"env": [{"name": "B", "valueFrom": {"a": 1}}, {"name": "X", "value": "x"}, {"name": "C", "value": "3"}]});
        check(&live, &desired, &own, &[], &expected);
        let theirs = json!({"f:env": {item("A"): {"f:value": {}}, item("B"): {"f:value": {}}}});
        let expected = json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2", "valueFrom": {"a": 1}},
            {"name": "X", "value": "x"}, {"name": "C", "value": "3"}]});
        check(&live, &desired, &own, &[theirs], &expected);
    }

    #[test]
    fn r1_lists_and_maps_that_are_owned_as_a_whole_are_replaced() {
        let live = json!({"selector": {"app": "a", "tier": "b"}, "args": ["x"], "set": ["a", "b", "c"]});
        let own = json!({"f:selector": {}, "f:args": {}, "f:set": {"v:\"a\"": {}, "v:\"b\"": {}}});
        let desired = json!({"selector": {"app": "c"}, "args": ["y", "z"], "set": ["b", "d"]});
        let expected = json!({"selector": {"app": "c"}, "args": ["y", "z"], "set": ["b", "c", "d"]});
        check(&live, &desired, &own, &[], &expected);
    }
}

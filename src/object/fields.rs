//! Sets of fields in the form of `metadata.managedFields` (`fieldsV1`), with union and removal.
//!
//! A name leads to the names below it: `f:` is a field, `k:` is a list item identified by keys, and `v:` is a list item
//! identified by its value. An empty map means that the path itself is in the set. A `.` among other names means the
//! same.

use serde_json::{Map, Value};

/// A set of fields.
pub(crate) type Fields = Map<String, Value>;

/// The union of two sets.
#[must_use]
pub(crate) fn union(a: &Fields, b: &Fields) -> Fields {
    let mut all = a.clone();
    for (name, field) in b {
        let both = match all.get(name) {
            Some(present) => union_below(present, field),
            None => field.clone(),
        };
        all.insert(name.clone(), both);
    }
    all
}

fn union_below(a: &Value, b: &Value) -> Value {
    match (a.as_object(), b.as_object()) {
        (Some(a), Some(b)) if a.is_empty() == b.is_empty() => Value::Object(union(a, b)),
        // One of the sets contains the path itself, and the other contains paths below it.
        (Some(a), Some(b)) => {
            let mut all = union(a, b);
            all.insert(".".to_owned(), Value::Object(Map::new()));
            Value::Object(all)
        }
        (Some(_), None) => a.clone(),
        (None, _) => b.clone(),
    }
}

/// Removes the fields in `given` from a value, except those that a set in `kept` contains at or below the same path.
pub(crate) fn prune(value: &mut Value, given: &Fields, kept: &[&Fields]) {
    for (name, field) in given {
        let kept: Vec<&Fields> = kept.iter().filter_map(|fields| fields.get(name)?.as_object()).collect();
        let (Some(place), Some(field)) = (place(value, name), field.as_object()) else { continue };
        if kept.is_empty() && (field.is_empty() || field.contains_key(".")) {
            match (place, &mut *value) {
                (Position::Field(name), Value::Object(map)) => drop(map.remove(name)),
                (Position::Item(at), Value::Array(items)) => drop(items.remove(at)),
                _ => {}
            }
        } else if let Some(below) = match place {
            Position::Field(name) => value.get_mut(name),
            Position::Item(at) => value.get_mut(at),
        } {
            prune(below, field, &kept);
        }
    }
}

enum Position<'a> {
    Field(&'a str),
    Item(usize),
}

/// Finds the position that the next name of a path leads to. Returns `None` if the value has nothing there.
fn place<'a>(value: &Value, name: &'a str) -> Option<Position<'a>> {
    let (sort, rest) = name.split_once(':')?;
    match (sort, value) {
        ("f", Value::Object(map)) => map.contains_key(rest).then_some(Position::Field(rest)),
        ("k", Value::Array(items)) => {
            let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
            let is_named = |item: &Value| keys.iter().all(|(key, value)| item.get(key) == Some(value));
            items.iter().position(is_named).map(Position::Item)
        }
        ("v", Value::Array(items)) => {
            let wanted: Value = serde_json::from_str(rest).ok()?;
            items.iter().position(|item| *item == wanted).map(Position::Item)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The set of paths that a set of fields stands for. This is the oracle of the test.
    fn paths(fields: &Fields) -> BTreeSet<String> {
        fn below(value: &Value, path: &str, found: &mut BTreeSet<String>) {
            let fields = value.as_object().unwrap();
            if fields.is_empty() || fields.contains_key(".") {
                found.insert(path.to_owned());
            }
            for (name, field) in fields.iter().filter(|(name, _)| *name != ".") {
                below(field, &format!("{path}/{name}"), found);
            }
        }
        let mut found = BTreeSet::new();
        for (name, field) in fields {
            below(field, name, &mut found);
        }
        found
    }

    fn tree() -> impl Strategy<Value = Value> {
        let names = || prop::sample::select(vec!["f:a", "f:b", "k:{\"n\":1}", "v:\"x\"", "."]);
        Just(json!({})).prop_recursive(4, 32, 4, move |inner| {
            prop::collection::btree_map(names(), inner, 0..4).prop_map(|fields| {
                let name = |(name, field): (&str, Value)| {
                    let field = if name == "." { json!({}) } else { field };
                    (name.to_owned(), field)
                };
                Value::Object(fields.into_iter().map(name).collect())
            })
        })
    }

    fn set() -> impl Strategy<Value = Fields> {
        tree().prop_map(|tree| {
            let mut fields = tree.as_object().unwrap().clone();
            fields.remove(".");
            fields
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_union_has_every_path_of_both_and_no_other(a in set(), b in set()) {
            let all = union(&a, &b);
            prop_assert_eq!(paths(&all), paths(&a).union(&paths(&b)).cloned().collect());
            prop_assert_eq!(paths(&all), paths(&union(&b, &a)));
            prop_assert_eq!(&union(&all, &a), &all);
        }
    }

    fn check(value: Value, given: &Value, kept: &[Value], expected: &Value) {
        let mut value = value;
        let kept: Vec<&Fields> = kept.iter().filter_map(Value::as_object).collect();
        prune(&mut value, given.as_object().unwrap(), &kept);
        assert_eq!(value, *expected);
    }

    #[test]
    fn fields_that_nobody_keeps_go_and_all_others_stay() {
        let data = || json!({"data": {"a": "1", "b": "2", "c": "3"}});
        let given = json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}});
        check(data(), &given, &[json!({"f:data": {"f:a": {}}})], &json!({"data": {"a": "1", "c": "3"}}));
        check(data(), &given, &[], &json!({}));
        check(data(), &json!({"f:data": {"f:a": {}}}), &[], &json!({"data": {"b": "2", "c": "3"}}));
        check(data(), &json!({"f:absent": {}, "f:data": {"f:absent": {}}}), &[], &data());
    }

    #[test]
    fn list_items_go_by_their_keys_or_values() {
        let list =
            || json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "finalizers": ["x", "y"]});
        let item = |name: &str| format!("k:{{\"name\":\"{name}\"}}");
        let whole = json!({".": {}, "f:name": {}, "f:value": {}});
        let given = json!({"f:env": {".": {}, item("A"): whole, item("B"): whole}, "f:finalizers": {"v:\"y\"": {}}});
        let kept = json!({"f:env": {item("B"): {".": {}, "f:name": {}}}});
        check(list(), &given, &[kept], &json!({"env": [{"name": "B"}], "finalizers": ["x"]}));
    }
}

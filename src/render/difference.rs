//! Finds the first field in which two renderings of an object differ.

use std::collections::BTreeSet;

use serde_json::Value;

/// Returns the JSON pointer of the first field in which two values differ. It shows no value.
pub(crate) fn difference(one: &Value, other: &Value) -> Option<String> {
    if one == other {
        return None;
    }
    let below = match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            names.into_iter().find_map(|name| {
                let field = difference(one.get(name).unwrap_or(&Value::Null), other.get(name).unwrap_or(&Value::Null));
                field.map(|field| format!("/{}{field}", name.replace('~', "~0").replace('/', "~1")))
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            pairs.find_map(|(at, (one, other))| difference(one, other).map(|field| format!("/{at}{field}")))
        }
        _ => None,
    };
    Some(below.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn k6_a_difference_is_named_by_its_field_and_never_by_its_value() {
        let object = json!({"data": {"a/b": "x", "c": [1, {"d": 2}]}});
        for (pointer, expected) in
            [("/data/a~1b", Some("/data/a~1b")), ("/data/c/1/d", Some("/data/c/1/d")), ("/data/c", Some("/data/c"))]
        {
            let mut other = object.clone();
            *other.pointer_mut(pointer).unwrap() = json!("other");
            assert_eq!(difference(&object, &other).as_deref(), expected);
        }
        assert_eq!(difference(&object, &object), None);
        assert_eq!(difference(&json!(1), &json!(2)).as_deref(), Some(""));
    }
}

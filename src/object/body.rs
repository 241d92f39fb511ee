//! The content of a desired object.

use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

use serde_json::Value;

/// The content of a desired object. It is kept as compact JSON and parsed when it is read.
///
/// A tree may have a hundred thousand objects, and a parsed object takes about ten times the memory of its JSON. Code
/// that reads every object of a tree therefore uses [`Body::parse`]. Code that reads a few of them reads the value that
/// a body stands for, which is parsed once and then kept.
#[derive(Clone)]
pub struct Body {
    json: Box<str>,
    parsed: OnceLock<Box<Value>>,
}

impl Body {
    /// Returns the content without keeping it parsed.
    pub(crate) fn parse(&self) -> Value {
        match self.parsed.get() {
            Some(parsed) => (**parsed).clone(),
            None => parsed(&self.json),
        }
    }

    /// Returns `true` if the parsed content is kept.
    #[cfg(test)]
    pub(crate) fn is_parsed(&self) -> bool {
        self.parsed.get().is_some()
    }

    /// The content as compact JSON with sorted keys.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        let json = value.to_string().into_boxed_str();
        let kept = OnceLock::new();
        // A parser may read another number than the one that was written, if it has a fraction.
        if has_fraction(&value) {
            drop(kept.set(Box::new(value)));
        }
        Self { json, parsed: kept }
    }
}

impl Deref for Body {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.parsed.get_or_init(|| Box::new(parsed(&self.json)))
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}

/// Parses JSON that was written from a value. This cannot fail, because no value of a tree is nested too deeply.
fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(map) => map.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, json};

    /// Any value, up to the depth that a renderer returns.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_body_is_the_value_that_it_was_made_from(value in value(), other in value()) {
            let body = Body::from(value.clone());
            prop_assert_eq!(&body.parse(), &value);
            prop_assert_eq!(&*body.clone(), &value);
            prop_assert_eq!(&*body, &value);
            prop_assert_eq!(body.json(), value.to_string());
            let (other, json) = (Body::from(other), value.to_string());
            prop_assert_eq!(body == other, json == other.json());
        }
    }

    #[test]
    fn the_deepest_value_of_a_tree_can_be_parsed() {
        let mut deep = json!(1);
        for _ in 0..crate::render::yaml::MAX_DEPTH + 2 {
            deep = json!({"a": deep});
        }
        assert_eq!(Body::from(deep.clone()).parse(), deep);
    }
}

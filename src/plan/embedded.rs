//! Texts that contain JSON or YAML, such as configuration in ConfigMaps and annotations.

use serde_json::Value;

/// The largest text, in bytes, that is parsed. Longer texts are compared as texts, because parsing them costs more than
/// it helps.
const LONGEST: usize = 256 * 1024;

/// Two versions of a text as parsed documents. `None` unless both are mappings, or both are lists, and their contents
/// differ.
///
/// Texts that differ only in their layout, in comments or in the spelling of values are compared as texts.
pub(crate) fn documents(before: &str, after: &str) -> Option<(Value, Value)> {
    let (before, after) = (document(before)?, document(after)?);
    let alike = before.is_object() == after.is_object();
    (alike && before != after).then_some((before, after))
}

fn document(text: &str) -> Option<Value> {
    if text.len() > LONGEST {
        return None;
    }
    let begins = text.trim_start().chars().next()?;
    // A YAML mapping or list has more than one line or starts with a bracket. Most texts have neither.
    if !matches!(begins, '{' | '[') && !text.trim_end().contains('\n') {
        return None;
    }
    // The YAML parser also reads JSON. It refuses duplicate keys, so no value is silently ignored.
    let value: Value = serde_saphyr::from_str(text).ok()?;
    let has_parts =
        value.as_object().is_some_and(|map| !map.is_empty()) || value.as_array().is_some_and(|items| !items.is_empty());
    has_parts.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn r9_only_what_both_read_as_documents_is_compared_as_documents() {
        let both = |before: &str, after: &str| documents(before, after);
        assert_eq!(both("{\"a\": 1}", "{\"a\":2}"), Some((json!({"a": 1}), json!({"a": 2}))));
        assert_eq!(both("a: 1\nb: 2\n", "a: 1\nb: 3\n"), Some((json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3}))));
        assert_eq!(both("- a\n- b\n", "- a\n- c\n"), Some((json!(["a", "b"]), json!(["a", "c"]))));
        for (before, after) in [
            ("{\"a\": 1}", "{\"a\":1}"),
            ("a: 1 # one\nb: 2\n", "a: 1\nb: 2\n"),
            ("a: 1\nb: 2\n", "- a\n- b\n"),
            ("plain", "text"),
            ("a: 1", "a: 2"),
            ("#!/bin/sh\necho a\n", "#!/bin/sh\necho b\n"),
            ("{\"a\": 1, \"a\": 2}", "{\"a\": 3, \"a\": 2, \"b\": 1}"),
            ("{", "["),
            ("", ""),
        ] {
            assert_eq!(both(before, after), None, "{before:?} {after:?}");
        }
    }
}

//! Values as YAML for a reader. No program reads the text back, and it is not yet escaped.

use serde_json::Value;

/// The maximum number of bytes of a list that is written on one line.
const SHORT_LIST: usize = 80;

/// The words that YAML readers do not take for a text.
const WORDS: [&str; 11] = ["null", "~", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan"];

/// Returns the name of a field.
pub(crate) fn key(name: &str) -> String {
    text(name)
}

/// Returns a text as a scalar. It is quoted only if it could be read as something else.
pub(crate) fn text(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { Value::from(text).to_string() }
}

/// Returns a value on one line.
pub(crate) fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => self::text(text),
        Value::Array(items) => {
            let item = |item: &Value| match item {
                Value::String(text) if text.contains([',', '[', ']', '{', '}']) => item.to_string(),
                item => flow(item),
            };
            format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}

/// Returns a field and its value. The parts of a value are indented below the field's name.
pub(crate) fn field(name: &str, value: &Value) -> Vec<String> {
    let name = key(name);
    match value {
        Value::String(text) if text.contains('\n') => {
            let sign = if text.ends_with('\n') { "|" } else { "|-" };
            let lines = text.strip_suffix('\n').unwrap_or(text).split('\n').map(|line| format!("  {line}"));
            std::iter::once(format!("{name}: {sign}")).chain(lines).collect()
        }
        Value::Array(items) if !is_brief(items) => {
            std::iter::once(format!("{name}:")).chain(items.iter().flat_map(item)).collect()
        }
        Value::Object(map) if !map.is_empty() => {
            let lines = fields(value).into_iter().map(|line| format!("  {line}"));
            std::iter::once(format!("{name}:")).chain(lines).collect()
        }
        value => vec![format!("{name}: {}", flow(value))],
    }
}

/// Returns an item of a list.
pub(crate) fn item(value: &Value) -> Vec<String> {
    let lines = match value {
        Value::Object(map) if !map.is_empty() => fields(value),
        Value::Array(items) if !is_brief(items) => items.iter().flat_map(item).collect(),
        Value::String(text) if text.contains('\n') => {
            std::iter::once("|".to_owned()).chain(text.split('\n').map(str::to_owned)).collect()
        }
        value => vec![flow(value)],
    };
    let dashed = |(at, line): (usize, String)| if at == 0 { format!("- {line}") } else { format!("  {line}") };
    lines.into_iter().enumerate().map(dashed).collect()
}

/// Returns the fields of a mapping.
pub(crate) fn fields(value: &Value) -> Vec<String> {
    value.as_object().into_iter().flatten().flat_map(|(name, value)| field(name, value)).collect()
}

/// Returns `true` if a list is written on one line: it has only short scalars.
fn is_brief(items: &[Value]) -> bool {
    let is_scalar = |value: &Value| !value.is_object() && !value.is_array();
    let length = |value: &Value| value.as_str().map_or(8, str::len) + 2;
    items.iter().all(|item| is_scalar(item) && !item.as_str().is_some_and(|text| text.contains('\n')))
        && items.iter().map(length).sum::<usize>() <= SHORT_LIST
}

/// Returns `true` if the text means itself without quotes.
fn is_plain(text: &str) -> bool {
    let starts = |c: char| c.is_alphanumeric() || "/._+=<$(^".contains(c);
    let option = text.strip_prefix("--").or(text.strip_prefix('-')).unwrap_or(text);
    let inside = |c: char| c.is_alphanumeric() || " -_./:@%+=~?!,;<>()[]{}'\"$^&*|\\#".contains(c);
    let is_number = text.parse::<f64>().is_ok() || text.starts_with("0x") || text.starts_with("0o");
    option.starts_with(starts)
        && text.chars().all(inside)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !is_number
        && !WORDS.contains(&text.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_is_quoted_where_it_could_be_something_else() {
        for (given, expected) in [
            ("web", "web"),
            ("registry.example.com/a/b:1.2", "registry.example.com/a/b:1.2"),
            ("--log-level=info", "--log-level=info"),
            ("-v", "-v"),
            ("1.4.0", "1.4.0"),
            ("3", "\"3\""),
            ("-1", "\"-1\""),
            ("1e3", "\"1e3\""),
            ("0x1f", "\"0x1f\""),
            ("true", "\"true\""),
            ("No", "\"No\""),
            ("y", "\"y\""),
            ("", "\"\""),
            (" a", "\" a\""),
            ("a ", "\"a \""),
            ("a: b", "\"a: b\""),
            ("a #b", "\"a #b\""),
            ("a:", "\"a:\""),
            ("*", "\"*\""),
            ("- a", "\"- a\""),
            ("@org", "\"@org\""),
            ("a\tb", "\"a\\tb\""),
        ] {
            assert_eq!(text(given), expected);
        }
    }

    #[test]
    fn any_text_reads_back_as_itself() {
        for given in
            ["web", "1.4.0", "3", "a: b", "-v", "--x=[1]", "sum(rate(x{a=\"b\"}))", "yes", "/a", "$(A)", "<a>", "^a$"]
        {
            let read: Value = serde_saphyr::from_str(&format!("a: {}", text(given))).unwrap();
            assert_eq!(read, json!({"a": given}));
        }
    }

    #[test]
    fn parts_stand_below_their_field() {
        let value = json!({"a": [{"image": "x", "ports": [{"p": 1}, 2, [[3]]]}, "z"], "b": [], "c": {}, "d": "x\ny\n", "e": "x\ny",
            "f": ["get", "list,"], "g": null});
        let expected = [
            "a:",
            "- image: x",
            "  ports:",
            "  - p: 1",
            "  - 2",
            "  - - [3]",
            "- z",
            "b: []",
            "c: {}",
            "d: |",
            "  x",
            "  y",
            "e: |-",
            "  x",
            "  y",
            "f: [get, \"list,\"]",
            "g: null",
        ];
        assert_eq!(fields(&value), expected);
        let read: Value = serde_saphyr::from_str(&expected.join("\n")).unwrap();
        assert_eq!(read, value);
    }
}

//! Objects as YAML that programs read back, with the place of each.

use serde_json::Value;

use super::escape::{logged, visible};
use crate::project::snapshot::SourcePlace;

/// The words that a YAML reader does not take for text.
const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// Returns an object as a YAML document. A comment above it tells its place and its project.
///
/// Every YAML reader reads the object back. No line can be a command of a workflow's log.
pub fn document(place: &SourcePlace, project: &str, object: &Value) -> String {
    let mut text = format!("---\n# {} ({project})\n", logged(&place.to_string()));
    write(object, 0, &mut text);
    text
}

/// Writes a value that begins on a line of its own.
fn write(value: &Value, indent: usize, text: &mut String) {
    let space = " ".repeat(indent);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                text.push_str(&format!("{space}{}:", scalar(name)));
                below(value, indent, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                text.push_str(&format!("{space}-"));
                let at = text.len();
                below(item, indent, text);
                // The first field of an item stands beside its dash.
                let beside = format!("\n{space}  ");
                if text[at..].starts_with(&beside) && !text[at + 1..].starts_with(&format!("{space}   ")) {
                    text.replace_range(at..at + beside.len(), " ");
                }
            }
        }
        value => text.push_str(&format!("{space}{}\n", flow(value))),
    }
}

/// Writes the value of a field or an item.
fn below(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            write(value, indent + 2, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            write(value, indent + 2, text);
        }
        Value::String(lines) if is_block(lines) => {
            text.push_str(if lines.ends_with('\n') { " |\n" } else { " |-\n" });
            let space = " ".repeat(indent + 2);
            for line in lines.strip_suffix('\n').unwrap_or(lines).split('\n') {
                text.push_str(&if line.is_empty() { "\n".to_owned() } else { format!("{space}{line}\n") });
            }
        }
        value => text.push_str(&format!(" {}\n", flow(value))),
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        value => value.to_string(),
    }
}

/// Returns a text as it is if every YAML reader takes it for this text, else in quotes.
fn scalar(text: &str) -> String {
    let inside = |c: char| c.is_ascii_alphanumeric() || "_./-:@+ ".contains(c);
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(inside)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// Returns a text in quotes, with an escape for everything that is not visible.
fn quoted(text: &str) -> String {
    let mut shown = String::new();
    for character in Value::from(text).to_string().replace("##[", "#\\u0023[").chars() {
        if character.is_ascii() && !character.is_control() || visible(&character.to_string()).chars().count() == 1 {
            shown.push(character);
        } else {
            shown.push_str(&format!("\\U{:08x}", u32::from(character)));
        }
    }
    shown
}

/// Returns `true` if a text of several lines is written as lines.
fn is_block(text: &str) -> bool {
    let is_line = |line: &str| {
        visible(line) == line && logged(line) == line && !line.ends_with(' ') && !line.trim_start().starts_with("::")
    };
    let content = text.strip_suffix('\n').unwrap_or(text);
    content.contains('\n')
        && !content.ends_with('\n')
        && !content.starts_with(['\n', ' '])
        && content.split('\n').all(is_line)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::render::yaml::documents;

    fn read(text: &str) -> Value {
        documents(Path::new("x"), text.as_bytes()).unwrap().remove(0).body
    }

    #[test]
    fn documents_have_a_place_and_ordinary_yaml() {
        let object = json!({
            "kind": "ConfigMap",
            "data": {"on": "yes", "a.conf": "x: 1\n\ny", "n": "0644", "d": "2020-01-01", "e": ""},
            "items": [{"a": 1, "b": [true, null]}, "x y", [["z"]], {}],
        });
        let text = document(&SourcePlace::new("a/x.yaml", 3, 1), "demo.a", &object);
        let expected = "---\n# a/x.yaml:3:1 (demo.a)\ndata:\n  a.conf: |-\n    x: 1\n\n    y\n  d: \"2020-01-01\"\n  \
                        e: \"\"\n  \"n\": \"0644\"\n  \"on\": \"yes\"\nitems:\n  - a: 1\n    b:\n      - true\n      - null\n  \
                        - x y\n  - - - z\n  - {}\nkind: ConfigMap\n";
        assert_eq!(text, expected);
        assert_eq!(read(&text), object);
    }

    #[test]
    fn no_text_becomes_a_command_of_a_log_or_a_hidden_character() {
        for hostile in ["::add-mask::x", "a\n  ::error::x\nb", "a\n##[group]x", "\u{202e}a", "a\r\nb", "\u{1b}[31m"] {
            let object = json!({"data": {hostile: hostile}});
            let text = document(&SourcePlace::new("::x", 1, 1), "demo", &object);
            for line in text.lines() {
                assert_eq!(logged(line), line, "{text}");
            }
            assert_eq!(read(&text), object);
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["[a-z0-9:#. -]{0,8}", "[ \\na-z:|>#'\"-]{0,12}", "\\PC{0,6}"];
        let leaf = prop_oneof![
            text.clone().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_object_reads_back_as_itself(value in value()) {
            let object = json!({"a": value});
            let text = document(&SourcePlace::new("x", 1, 1), "demo", &object);
            prop_assert_eq!(read(&text), object, "{}", text);
        }
    }
}

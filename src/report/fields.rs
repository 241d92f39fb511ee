//! Shows a difference field by field, as lines with signs. Secret values are already redacted.

use serde_json::Value;

use super::escape::{LONGEST, clipped, visible};
use crate::plan::align::unchanged;
use crate::plan::change::{FieldChange, ShownValue};

/// The longest line, in bytes, that is shown from its start.
const WIDEST: usize = LONGEST / 2;
/// The largest number of common characters that are shown before the first difference of two long lines.
const LEAD: usize = 60;
/// The number of unchanged lines that are shown before and after a changed line.
const CONTEXT: usize = 2;

/// The meaning of a line of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The old value or line.
    Removed,
    /// The new value or line.
    Added,
    /// The value is different, but it may not be shown.
    Changed,
    /// The line does not change. It is shown as context.
    Same,
    /// The heading of the lines that follow.
    Title,
}

/// One line of a difference. Its text is escaped and cut at [`LONGEST`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The meaning of the line.
    pub sign: Sign,
    /// The text.
    pub text: String,
}

/// Returns the lines for the changed fields: `path: value`. Lists and mappings become an outline. Texts of several
/// lines are compared line by line.
pub(crate) fn lines(diff: &[FieldChange]) -> Vec<Line> {
    let mut lines = Vec::new();
    for FieldChange { path, before, after, .. } in diff {
        if before == after && *before == Some(ShownValue::Secret) {
            lines.push(line(Sign::Changed, &format!("{path}: (secret, changed)")));
            continue;
        }
        match (text(before.as_ref()), text(after.as_ref())) {
            (Some(before), Some(after)) if before.contains('\n') || after.contains('\n') => {
                lines.push(line(Sign::Title, path));
                compared(before, after, WIDEST, &mut lines);
            }
            (Some(before), Some(after)) => {
                let start = lead(before, after, WIDEST);
                for (sign, value) in [(Sign::Removed, before), (Sign::Added, after)] {
                    let cut = if start > 0 { "… " } else { "" };
                    lines.push(line(sign, &format!("{path}: {cut}{}", Value::from(&value[start..]))));
                }
            }
            _ => {
                for (sign, value) in [(Sign::Removed, before), (Sign::Added, after)] {
                    if let Some(value) = value {
                        lines.extend(outline(path, value).iter().map(|text| line(sign, text)));
                    }
                }
            }
        }
    }
    lines
}

/// Returns a line with its text escaped and cut.
pub(crate) fn line(sign: Sign, text: &str) -> Line {
    Line { sign, text: clipped(&visible(text), LONGEST) }
}

/// Returns the byte at which the display of two lines starts, so that their first difference is visible. It is 0 for
/// lines that are not longer than `widest`.
pub(crate) fn lead(before: &str, after: &str, widest: usize) -> usize {
    if before.len().max(after.len()) <= widest {
        return 0;
    }
    let same = before.char_indices().zip(after.chars()).take_while(|((_, a), b)| a == b);
    let same: Vec<usize> = same.map(|((at, _), _)| at).collect();
    same.len().checked_sub(LEAD.min(widest / 2)).and_then(|start| same.get(start).copied()).unwrap_or_default()
}

/// The text of a shown value. Returns `None` if it is not a text.
fn text(shown: Option<&ShownValue>) -> Option<&str> {
    match shown {
        Some(ShownValue::Plain(Value::String(text))) => Some(text),
        _ => None,
    }
}

/// Returns a field and its value. A list or mapping becomes an outline.
fn outline(path: &str, shown: &ShownValue) -> Vec<String> {
    match shown {
        ShownValue::Plain(value) => {
            let mut lines = Vec::new();
            named(path, value, "", &mut lines);
            lines
        }
        ShownValue::Secret => vec![format!("{path}: (secret)")],
        ShownValue::Order(items) => vec![format!("{path}: {}", items.join(", "))],
    }
}

fn named(name: &str, value: &Value, indent: &str, lines: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains('\n') => {
            lines.push(format!("{indent}{name}: |"));
            lines.extend(text.trim_end_matches('\n').split('\n').map(|text| format!("{indent}  {text}")));
        }
        value if is_composite(value) => {
            lines.push(format!("{indent}{name}:"));
            parts(value, &format!("{indent}  "), lines);
        }
        value => lines.push(format!("{indent}{name}: {value}")),
    }
}

fn parts(value: &Value, indent: &str, lines: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| named(name, value, indent, lines)),
        Value::Array(items) => {
            for item in items {
                if is_composite(item) {
                    let first = lines.len();
                    parts(item, &format!("{indent}  "), lines);
                    // The first line of the item gets the dash.
                    if let Some(line) = lines.get_mut(first) {
                        *line = format!("{indent}- {}", line.strip_prefix(indent).unwrap_or(line).trim_start());
                    }
                } else {
                    lines.push(format!("{indent}- {item}"));
                }
            }
        }
        value => lines.push(format!("{indent}{value}")),
    }
}

fn is_composite(value: &Value) -> bool {
    value.as_object().is_some_and(|map| !map.is_empty()) || value.as_array().is_some_and(|items| !items.is_empty())
}

/// Compares two texts line by line. Unchanged lines are shown only near changed lines. A line that is longer than
/// `widest` is shown around its first difference.
pub(crate) fn compared(before: &str, after: &str, widest: usize, lines: &mut Vec<Line>) {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.split('\n').collect(), after.split('\n').collect());
    let mut all: Vec<(Sign, String)> = Vec::new();
    let (mut was, mut is) = (0, 0);
    for (a, b) in unchanged(&old, &new).into_iter().chain([(old.len(), new.len())]) {
        let (gone, came) = (&old[was..a], &new[is..b]);
        let starts: Vec<usize> = gone.iter().zip(came).map(|(gone, came)| lead(gone, came, widest)).collect();
        for (sign, texts) in [(Sign::Removed, gone), (Sign::Added, came)] {
            all.extend(texts.iter().enumerate().map(|(at, text)| match starts.get(at) {
                Some(start) if *start > 0 => (sign, format!("… {}", &text[*start..])),
                _ => (sign, (*text).to_owned()),
            }));
        }
        all.extend(old.get(a).map(|text| (Sign::Same, (*text).to_owned())));
        (was, is) = (a + 1, b + 1);
    }
    let near = |at: usize| {
        let around = &all[at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(all.len())];
        around.iter().any(|(sign, _)| *sign != Sign::Same)
    };
    let mut hidden = 0;
    for (at, (sign, text)) in all.iter().enumerate() {
        if !near(at) {
            hidden += 1;
            continue;
        }
        if hidden > 0 {
            lines.push(line(Sign::Same, &format!("… {hidden} unchanged lines")));
            hidden = 0;
        }
        lines.push(line(*sign, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(path: &str, before: Option<ShownValue>, after: Option<ShownValue>) -> FieldChange {
        FieldChange { path: path.into(), before, after, steps: vec![], near: vec![] }
    }

    fn check(before: Option<Value>, after: Option<Value>, expected: &[&str]) {
        let shown = |value: Option<Value>| value.map(ShownValue::Plain);
        let diff = [field("spec.x", shown(before), shown(after))];
        let signed: Vec<String> = lines(&diff)
            .into_iter()
            .map(|Line { sign, text }| match sign {
                Sign::Removed => format!("-{text}"),
                Sign::Added => format!("+{text}"),
                Sign::Changed => format!("!{text}"),
                Sign::Same => format!(" {text}"),
                Sign::Title => format!("@{text}"),
            })
            .collect();
        assert_eq!(signed, expected);
    }

    #[test]
    fn values_stand_beside_their_field_and_parts_below_it() {
        check(Some(json!(2)), Some(json!("3")), &["-spec.x: 2", "+spec.x: \"3\""]);
        check(Some(json!({})), None, &["-spec.x: {}"]);
        check(
            None,
            Some(json!([{"image": "a", "ports": [{"p": 1}, 2, [[3]]]}, "x"])),
            &[
                "+spec.x:",
                "+  - image: \"a\"",
                "+    ports:",
                "+      - p: 1",
                "+      - 2",
                "+      - - - 3",
                "+  - \"x\"",
            ],
        );
        check(None, Some(json!("a\n\tb\n")), &["+spec.x: |", "+  a", "+  \\tb"]);
    }

    #[test]
    fn long_texts_are_compared_line_by_line() {
        check(
            Some(json!("0\n1\n2\n3\n4\n5\n6\n7\n8\n9")),
            Some(json!("0\n1\n2\n3\n4\nfive\n6\n8\n9\n")),
            &["@spec.x", " … 3 unchanged lines", " 3", " 4", "-5", "+five", " 6", "-7", " 8", " 9", "+"],
        );
    }

    #[test]
    fn r9_a_long_line_is_shown_around_its_first_difference() {
        let (before, after) = (format!("{}1 tail", "é".repeat(500)), format!("{}2 tail", "é".repeat(500)));
        let lead = "é".repeat(LEAD);
        check(
            Some(json!(before)),
            Some(json!(after)),
            &[&format!("-spec.x: … \"{lead}1 tail\""), &format!("+spec.x: … \"{lead}2 tail\"")],
        );
        check(
            Some(json!(format!("a\n{before}\nb"))),
            Some(json!(format!("a\n{after}\nb"))),
            &["@spec.x", " a", &format!("-… {lead}1 tail"), &format!("+… {lead}2 tail"), " b"],
        );
        check(Some(json!("a")), Some(json!("b")), &["-spec.x: \"a\"", "+spec.x: \"b\""]);
    }

    #[test]
    fn a_redacted_value_stands_as_it_is() {
        let secret = || Some(ShownValue::Secret);
        let changed = field("data", secret(), secret());
        let added = field("data", None, secret());
        let shown: Vec<(Sign, String)> =
            lines(&[changed, added]).into_iter().map(|line| (line.sign, line.text)).collect();
        let expected = [(Sign::Changed, "data: (secret, changed)"), (Sign::Added, "data: (secret)")];
        assert_eq!(shown, expected.map(|(sign, text)| (sign, text.to_owned())));
    }
}

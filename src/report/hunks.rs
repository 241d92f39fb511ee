//! The difference of an object as YAML: each changed field below its parents, with a few unchanged fields around it.
//! Secret values are already redacted.

use serde_json::Value;

use super::fields::{Line, Sign, compared, lead, line};
use super::yaml;
use crate::plan::align::unchanged;
use crate::plan::change::{FieldChange, Neighbor, ShownValue, Step};

/// The text that stands for the name of an object where several objects have the same difference.
const ANY: &str = "*";

/// The widest line, in bytes, that is shown from its start: a page of a forge shows about this much without scrolling.
const WIDEST: usize = 90;

/// Returns the difference as lines. `name` is the name of the object, for which `*` is written where it identifies an
/// item of a list; then equal changes of several objects have equal lines.
pub(crate) fn lines<'a>(diff: impl IntoIterator<Item = &'a FieldChange>, name: Option<&str>) -> Vec<Line> {
    let mut parts = Vec::new();
    for change in diff {
        insert(&mut parts, change, 0);
    }
    let mut outline = Outline { name, lines: Vec::new() };
    outline.parts(&parts, 0);
    outline.lines
}

/// A part of an outline.
enum Part<'a> {
    Near(&'a Neighbor),
    Leaf(&'a FieldChange),
    Below(&'a Step, Vec<Part<'a>>),
}

/// Adds a change below its parents. The changes come in the order of the fields.
fn insert<'a>(parts: &mut Vec<Part<'a>>, change: &'a FieldChange, depth: usize) {
    for near in change.near.iter().filter(|near| near.depth == depth) {
        if !parts.iter().any(|part| matches!(part, Part::Near(known) if known.name == near.name)) {
            parts.push(Part::Near(near));
        }
    }
    let Some(step) = change.steps.get(depth) else {
        parts.push(Part::Leaf(change));
        return;
    };
    match parts.last_mut() {
        Some(Part::Below(last, below)) if *last == step => insert(below, change, depth + 1),
        _ => {
            let mut below = Vec::new();
            insert(&mut below, change, depth + 1);
            parts.push(Part::Below(step, below));
        }
    }
}

struct Outline<'a> {
    name: Option<&'a str>,
    lines: Vec<Line>,
}

impl Outline<'_> {
    fn parts(&mut self, parts: &[Part<'_>], indent: usize) {
        let renamed = renamed(parts);
        for part in parts {
            if let (Part::Below(_, below), Some((first, before, after))) = (part, &renamed)
                && let [Part::Leaf(_)] = below.as_slice()
            {
                if std::ptr::eq(part, *first) {
                    self.compared(before, after, indent);
                }
                continue;
            }
            match part {
                Part::Near(near) => {
                    let is_name = near.value.as_str().is_some_and(|value| Some(value) == self.name);
                    let value = if is_name { ANY.to_owned() } else { yaml::flow(&near.value) };
                    self.push(Sign::Same, indent, &format!("{}: {value}", yaml::key(&near.name)));
                }
                Part::Leaf(change) => self.leaf(&change.path, change, indent),
                Part::Below(Step::Field(name), below) => self.field(name, below, indent),
                Part::Below(Step::Item { before, after, .. }, below) => {
                    self.item(after.or(*before).unwrap_or_default(), below, indent);
                }
                Part::Below(Step::Document, below) => self.parts(below, indent),
            }
        }
    }

    /// Compares two texts line by line.
    fn compared(&mut self, before: &str, after: &str, indent: usize) {
        let mut lines = Vec::new();
        compared(before, after, widest(indent), &mut lines);
        let margin = " ".repeat(indent);
        self.lines.extend(lines.into_iter().map(|Line { sign, text }| Line { sign, text: format!("{margin}{text}") }));
    }

    fn push(&mut self, sign: Sign, indent: usize, text: &str) {
        self.lines.push(line(sign, &format!("{}{text}", " ".repeat(indent))));
    }

    /// Writes a field: its own change, or the changed parts of its value.
    fn field(&mut self, name: &str, below: &[Part<'_>], indent: usize) {
        let is_leaf = |part: &&Part<'_>| matches!(part, Part::Leaf(_));
        if !below.iter().all(|part| is_leaf(&part)) {
            let (title, below) = match below {
                [Part::Below(Step::Document, document)] => (": # this text is a document", document.as_slice()),
                below => (":", below),
            };
            self.push(Sign::Same, indent, &format!("{}{title}", yaml::key(name)));
            let is_item = |part: &Part<'_>| matches!(part, Part::Below(Step::Item { .. }, _) | Part::Leaf(_));
            let deeper = if below.iter().all(is_item) { indent } else { indent + 2 };
            match below.iter().position(|part| is_leaf(&part)) {
                None => self.parts(below, deeper),
                // The order of a list comes after its items.
                Some(order) => self.parts(&below[..order], deeper),
            }
        }
        for part in below {
            if let Part::Leaf(change) = part {
                self.leaf(&yaml::key(name), change, indent);
            }
        }
    }

    /// Writes an item of a list. An item of which nothing is shown but its change is named by its place.
    fn item(&mut self, place: usize, below: &[Part<'_>], indent: usize) {
        if let [Part::Leaf(change)] = below {
            return self.whole_item(change, indent);
        }
        let first = self.lines.len();
        self.parts(below, indent + 2);
        let Some(opening) = self.lines.get_mut(first) else { return };
        let dash = |text: &str| format!("{}- {}", " ".repeat(indent), text.trim_start());
        if opening.sign == Sign::Same {
            opening.text = dash(&opening.text);
        } else {
            self.lines.insert(first, line(Sign::Same, &dash(&format!("# item {}", place + 1))));
        }
    }

    fn whole_item(&mut self, change: &FieldChange, indent: usize) {
        if let (Some(before), Some(after)) = (text(change.before.as_ref()), text(change.after.as_ref()))
            && !before.contains('\n')
            && !after.contains('\n')
        {
            let start = lead(before, after, widest(indent));
            self.push(Sign::Removed, indent, &format!("- {}", tail(before, start)));
            return self.push(Sign::Added, indent, &format!("- {}", tail(after, start)));
        }
        for (sign, side) in [(Sign::Removed, &change.before), (Sign::Added, &change.after)] {
            let shown = match side {
                Some(ShownValue::Plain(value)) => yaml::item(value),
                Some(ShownValue::Secret) => vec!["- (secret)".to_owned()],
                Some(ShownValue::Order(items)) => vec![format!("- (order): {}", items.join(", "))],
                None => Vec::new(),
            };
            for text in &shown {
                self.push(sign, indent, text);
            }
        }
    }

    /// Writes a field that is changed as a whole. `name` is YAML.
    fn leaf(&mut self, name: &str, change: &FieldChange, indent: usize) {
        if (&change.before, &change.after) == (&Some(ShownValue::Secret), &Some(ShownValue::Secret)) {
            return self.push(Sign::Changed, indent, &format!("{name}: (secret, changed)"));
        }
        if let (Some(before), Some(after)) = (text(change.before.as_ref()), text(change.after.as_ref())) {
            if before.contains('\n') || after.contains('\n') {
                self.push(Sign::Same, indent, &format!("{name}: |"));
                return self.compared(before, after, indent + 2);
            }
            let start = lead(before, after, widest(indent + name.len()));
            self.push(Sign::Removed, indent, &format!("{name}: {}", tail(before, start)));
            return self.push(Sign::Added, indent, &format!("{name}: {}", tail(after, start)));
        }
        for (sign, side) in [(Sign::Removed, &change.before), (Sign::Added, &change.after)] {
            let shown = match side {
                Some(ShownValue::Plain(value)) => named(name, value),
                Some(ShownValue::Secret) => vec![format!("{name}: (secret)")],
                Some(ShownValue::Order(items)) => vec![format!("{name} (order): {}", items.join(", "))],
                None => Vec::new(),
            };
            for text in &shown {
                self.push(sign, indent, text);
            }
        }
    }
}

/// The widest text that fits on a line after `used` bytes.
fn widest(used: usize) -> usize {
    WIDEST.saturating_sub(used).max(WIDEST / 2)
}

/// If a list loses one item and gets one that is mostly the same, returns the first of the two parts and both items as
/// YAML. An item whose key changes is shown as one changed item.
fn renamed<'p, 'a>(parts: &'p [Part<'a>]) -> Option<(&'p Part<'a>, String, String)> {
    let whole = parts.iter().filter_map(|part| match part {
        Part::Below(Step::Item { .. }, below) => match below.as_slice() {
            [Part::Leaf(change)] => Some((part, *change)),
            _ => None,
        },
        _ => None,
    });
    let whole: Vec<(&Part<'a>, &FieldChange)> = whole.collect();
    let [(first, one), (_, other)] = whole.as_slice() else { return None };
    let item = |side: &Option<ShownValue>| match side {
        Some(ShownValue::Plain(value @ Value::Object(_))) => Some(yaml::item(value)),
        _ => None,
    };
    let (before, after) = match (&one.before, &one.after, &other.before, &other.after) {
        (before, None, None, after) | (None, after, before, None) => (item(before)?, item(after)?),
        _ => return None,
    };
    let same = unchanged(&before, &after).len();
    let is_renamed = 2 * same >= before.len().max(after.len()) && same > 0;
    is_renamed.then(|| (*first, before.join("\n"), after.join("\n")))
}

/// Returns a field whose name is already YAML.
fn named(name: &str, value: &Value) -> Vec<String> {
    let mut lines = yaml::field("x", value);
    if let Some(first) = lines.first_mut() {
        first.replace_range(..1, name);
    }
    lines
}

/// The text of a shown value. Returns `None` if it is not a text.
fn text(shown: Option<&ShownValue>) -> Option<&str> {
    match shown {
        Some(ShownValue::Plain(Value::String(text))) => Some(text),
        _ => None,
    }
}

/// The text from the byte `start`, with a sign that something stands before it.
fn tail(text: &str, start: usize) -> String {
    if start == 0 { yaml::text(text) } else { format!("… {}", Value::from(&text[start..])) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(path: &[Step], before: Option<Value>, after: Option<Value>) -> FieldChange {
        let shown = |value: Option<Value>| value.map(ShownValue::Plain);
        FieldChange {
            path: "path".into(),
            before: shown(before),
            after: shown(after),
            steps: path.to_vec(),
            near: vec![],
        }
    }

    fn name(name: &str) -> Step {
        Step::Field(name.to_owned())
    }

    fn item(before: Option<usize>, after: Option<usize>) -> Step {
        Step::Item { before, after, key: None }
    }

    fn check(diff: &[FieldChange], expected: &[&str]) {
        let signed = |Line { sign, text }| match sign {
            Sign::Removed => format!("-{text}"),
            Sign::Added => format!("+{text}"),
            Sign::Changed => format!("!{text}"),
            Sign::Same => format!(" {text}"),
            Sign::Title => format!("@{text}"),
        };
        let lines: Vec<String> = lines(diff, None).into_iter().map(signed).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn fields_stand_below_their_parents() {
        let replicas = field(&[name("spec"), name("replicas")], Some(json!(3)), Some(json!(0)));
        let mut image = field(
            &[name("spec"), name("c"), item(Some(0), Some(0)), name("image")],
            Some(json!("a:1")),
            Some(json!("a:2")),
        );
        image.near = vec![Neighbor { depth: 3, name: "name".into(), value: json!("web") }];
        let args = |at, before, after| {
            field(&[name("spec"), name("c"), item(Some(0), Some(0)), name("args"), at], before, after)
        };
        check(
            &[
                replicas,
                image,
                args(item(Some(0), Some(0)), Some(json!("-v")), Some(json!("-vv"))),
                args(item(None, Some(1)), None, Some(json!("--x"))),
            ],
            &[
                " spec:",
                "-  replicas: 3",
                "+  replicas: 0",
                "   c:",
                "   - name: web",
                "-    image: a:1",
                "+    image: a:2",
                "     args:",
                "-    - -v",
                "+    - -vv",
                "+    - --x",
            ],
        );
    }

    #[test]
    fn an_item_without_a_known_field_is_named_by_its_place() {
        check(
            &[field(&[name("l"), item(Some(2), Some(2)), name("a")], Some(json!(1)), None)],
            &[" l:", " - # item 3", "-  a: 1"],
        );
    }

    #[test]
    fn r9_an_item_whose_key_changes_is_one_changed_item() {
        let rule = |host: &str| json!({"host": host, "http": {"paths": [{"path": "/a"}, {"path": "/b"}]}});
        check(
            &[
                field(&[name("rules"), item(None, Some(0))], None, Some(rule("www.a"))),
                field(&[name("rules"), item(Some(0), None)], Some(rule("a")), None),
            ],
            &[" rules:", "-- host: a", "+- host: www.a", "   http:", "     paths:"],
        );
        check(
            &[
                field(&[name("env"), item(None, Some(0))], None, Some(json!({"name": "a", "value": "b"}))),
                field(&[name("env"), item(Some(0), None)], Some(json!({"name": "c", "value": "d"})), None),
            ],
            &[" env:", "+- name: a", "+  value: b", "-- name: c", "-  value: d"],
        );
    }

    #[test]
    fn r9_a_text_is_compared_by_its_parts_and_a_long_line_is_shown_around_its_difference() {
        let document = [name("data"), name("a.json"), Step::Document, name("title")];
        let long = |end: char| json!(format!("{}{end}", "x".repeat(150)));
        check(
            &[
                field(&document, Some(json!("a")), Some(json!("b"))),
                field(&[name("data"), name("b.conf")], Some(json!("a\nb\n")), Some(json!("a\nc\n"))),
                field(&[name("data"), name("c")], Some(long('1')), Some(long('2'))),
            ],
            &[
                " data:",
                "   a.json: # this text is a document",
                "-    title: a",
                "+    title: b",
                "   b.conf: |",
                "     a",
                "-    b",
                "+    c",
                "     ",
                &format!("-  c: … \"{}1\"", "x".repeat(43)),
                &format!("+  c: … \"{}2\"", "x".repeat(43)),
            ],
        );
    }

    #[test]
    fn p5_a_secret_is_shown_as_such() {
        let secret = || Some(ShownValue::Secret);
        let of = |before, after| FieldChange { before, after, ..field(&[], None, None) };
        check(&[of(secret(), secret()), of(None, secret())], &["!path: (secret, changed)", "+path: (secret)"]);
    }
}

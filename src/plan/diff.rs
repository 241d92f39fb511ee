//! The difference of two objects, field by field and redacted.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::change::FieldChange;
use crate::object::mark::{PROJECT, ROOT};
use crate::object::redact::Redactor;

/// Names under `metadata` that only a server writes.
const SERVER_METADATA: [&str; 7] =
    ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink", "deletionTimestamp"];

/// Compares two objects: what a reviewer should see, in the order of the fields.
///
/// The status, what only a server writes, and the mark are passed over.
pub fn fields(before: &Value, after: &Value, redactor: &Redactor) -> Vec<FieldChange> {
    let kind = after.get("kind").or_else(|| before.get("kind")).and_then(Value::as_str).unwrap_or_default();
    let mut walk = Walk { kind, redactor, shown: Vec::new(), path: Vec::new(), changes: Vec::new() };
    walk.values(Some(before), Some(after));
    walk.changes
}

struct Walk<'a> {
    kind: &'a str,
    redactor: &'a Redactor,
    /// The path as it is shown: list items by name where they have one.
    shown: Vec<String>,
    /// The path as JSON pointers say it, for redaction.
    path: Vec<String>,
    changes: Vec<FieldChange>,
}

impl Walk<'_> {
    fn values(&mut self, before: Option<&Value>, after: Option<&Value>) {
        // No labels at all, and none but the mark, are the same to a reader.
        let none = json!({});
        let (before, after) = match (before, after) {
            (None, Some(after)) if self.may_hold_the_mark() => (Some(&none), Some(after)),
            (Some(before), None) if self.may_hold_the_mark() => (Some(before), Some(&none)),
            sides => sides,
        };
        match (before, after) {
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                for name in names {
                    if !self.is_passed_over(name) {
                        self.below(name, format!(".{name}"), before.get(name), after.get(name));
                    }
                }
            }
            (Some(Value::Array(before)), Some(Value::Array(after))) => self.lists(before, after),
            (before, after) if before != after => self.changed(before, after),
            _ => {}
        }
    }

    fn lists(&mut self, before: &[Value], after: &[Value]) {
        if before == after {
            return;
        }
        let (Some(old), Some(new)) = (by_name(before), by_name(after)) else {
            for index in 0..before.len().max(after.len()) {
                self.below(&index.to_string(), format!("[{index}]"), before.get(index), after.get(index));
            }
            return;
        };
        let position = |name: &str| new.iter().chain(&old).position(|(other, _)| *other == name);
        let mut names: Vec<&str> =
            new.iter().chain(&old).map(|(name, _)| *name).collect::<BTreeSet<_>>().into_iter().collect();
        names.sort_by_key(|name| position(name));
        let find =
            |items: &[(&str, usize)], name: &str| items.iter().find(|(other, _)| *other == name).map(|(_, at)| *at);
        let changes = self.changes.len();
        for name in names {
            let (was, is) = (find(&old, name), find(&new, name));
            let at = is.or(was).unwrap_or_default().to_string();
            self.below(&at, format!("[name={name}]"), was.map(|at| &before[at]), is.map(|at| &after[at]));
        }
        if self.changes.len() == changes {
            // The same items in another order: the order counts to the server.
            let order =
                |items: &[(&str, usize)]| Some(items.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "));
            let path = format!("{} (order)", self.shown.concat().trim_start_matches('.'));
            self.changes.push(FieldChange { path, before: order(&old), after: order(&new) });
        }
    }

    fn below(&mut self, name: &str, shown: String, before: Option<&Value>, after: Option<&Value>) {
        self.path.push(name.to_owned());
        self.shown.push(shown);
        self.values(before, after);
        self.shown.pop();
        self.path.pop();
    }

    fn changed(&mut self, before: Option<&Value>, after: Option<&Value>) {
        let show = |value: &Value| self.redactor.shown(self.kind, &self.path, value);
        let path = self.shown.concat().trim_start_matches('.').to_owned();
        let change = FieldChange { path, before: before.map(show), after: after.map(show) };
        self.changes.push(change);
    }

    fn may_hold_the_mark(&self) -> bool {
        matches!(self.path.as_slice(), [metadata, map] if metadata == "metadata" && (map == "annotations" || map == "labels"))
    }

    fn is_passed_over(&self, name: &str) -> bool {
        match self.path.as_slice() {
            [] => name == "status",
            [metadata] if metadata == "metadata" => SERVER_METADATA.contains(&name),
            [metadata, map] if metadata == "metadata" => {
                (map == "annotations" && name == PROJECT) || (map == "labels" && name == ROOT)
            }
            _ => false,
        }
    }
}

/// The items' names and places, where every item is an object with a name of its own.
fn by_name(items: &[Value]) -> Option<Vec<(&str, usize)>> {
    let names: Option<Vec<_>> =
        items.iter().enumerate().map(|(at, item)| Some((item.get("name")?.as_str()?, at))).collect();
    names.filter(|names| names.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len() == items.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &Value, after: &Value, expected: &[&str]) {
        let redactor = Redactor::new([0; 16], &[]);
        let lines: Vec<String> = fields(before, after, &redactor)
            .into_iter()
            .map(|change| {
                let side = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
                format!("{}: {} -> {}", change.path, side(change.before), side(change.after))
            })
            .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn differences_name_fields_and_list_items() {
        check(
            &json!({"spec": {"a": 1, "c": [{"name": "x", "v": 1}, {"name": "y"}], "l": [1, 2]}}),
            &json!({"spec": {"b": 2, "c": [{"name": "y"}, {"name": "x", "v": 2}], "l": [1, 3]}}),
            &["spec.a: 1 -> -", "spec.b: - -> 2", "spec.c[name=x].v: 1 -> 2", "spec.l[1]: 2 -> 3"],
        );
        check(
            &json!({"c": [{"name": "x"}, {"name": "y"}]}),
            &json!({"c": [{"name": "y"}, {"name": "x"}]}),
            &["c (order): x, y -> y, x"],
        );
        check(
            &json!({"c": [{"name": "y", "v": 1}, {"name": "x", "v": 1}]}),
            &json!({"c": [{"name": "y", "v": 2}, {"name": "x", "v": 2}]}),
            &["c[name=y].v: 1 -> 2", "c[name=x].v: 1 -> 2"],
        );
    }

    #[test]
    fn what_the_server_writes_and_the_mark_are_no_difference() {
        check(
            &json!({"status": {"x": 1}, "metadata": {"uid": "a", "annotations": {"kubernator.io/project": "demo", "k": "v"}}}),
            &json!({"metadata": {"resourceVersion": "2", "annotations": {"kubernator.io/project": "demo.a", "k": "w"}}}),
            &["metadata.annotations.k: \"v\" -> \"w\""],
        );
        check(
            &json!({"spec": {"uid": 1, "annotations": {"kubernator.io/project": 1}, "labels": {"kubernator.io/root": 1}}}),
            &json!({"spec": {"uid": 2, "annotations": {"kubernator.io/project": 2}, "labels": {"kubernator.io/root": 2}}}),
            &[
                "spec.annotations.kubernator.io/project: 1 -> 2",
                "spec.labels.kubernator.io/root: 1 -> 2",
                "spec.uid: 1 -> 2",
            ],
        );
        let marked = json!({"metadata": {"annotations": {"kubernator.io/project": "demo"}, "labels": {"kubernator.io/root": "89e495e7941c"}}});
        check(&json!({"metadata": {}}), &marked, &[]);
        check(&marked, &json!({"metadata": {}}), &[]);
        let labelled = json!({"metadata": {"labels": {"kubernator.io/root": "89e495e7941c", "app": "web"}}});
        check(&json!({"metadata": {}}), &labelled, &["metadata.labels.app: - -> \"web\""]);
        check(
            &json!({"metadata": {"annotations": {"k": "v"}}}),
            &json!({"metadata": {"labels": {"kubernator.io/root": "0", "l": "1"}}}),
            &["metadata.annotations.k: \"v\" -> -", "metadata.labels.l: - -> \"1\""],
        );
    }
}

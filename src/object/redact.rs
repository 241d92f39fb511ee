//! The only place that decides which parts of an object may be shown. It keeps secret values out of every output.
//!
//! **Invariant:** if two live objects differ only in their secrets, their output for the same desired object is the
//! same. The output shows that some secret differs from the desired one. It does not show which: no name, length, order
//! or message depends on it.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::mask::{Mask, MaskedView, Masks, masks};
use crate::project::pointer::{Pointer, Step};

/// The text that replaces a secret in a message.
const REDACTED: &str = "(redacted)";
/// The length of the shortest secret that is searched for in messages, in bytes. Shorter values match ordinary words,
/// and replacing them would hide nothing.
const SHORTEST: usize = 4;
/// The annotations in which tools keep a copy of the whole object, including its secrets.
const COPIES: [&str; 4] = [
    "kapp.k14s.io/original",
    "kapp.k14s.io/original-diff",
    "objectset.rio.cattle.io/applied",
    "banzaicloud.com/last-applied",
];

/// The values that are shown of live objects which are about to be adopted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adopted {
    /// Only the values of the manifest are shown. Otherwise everyone who can propose a change could read the cluster
    /// through a plan.
    #[default]
    Hidden,
    /// The live values are shown too.
    Shown,
}

/// Decides which fields are secret and how they are shown.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    pointers: BTreeSet<Pointer>,
    adopted: Adopted,
    /// `true` if nothing may be shown, because it is not known what is secret.
    hides_all: bool,
}

/// The secret parts of two versions of an object.
#[derive(Clone, Debug)]
pub struct Secrets {
    masks: Masks,
    /// The names of the secret places in either version. They are listed even if nothing differs there.
    pub places: Vec<String>,
}

impl Secrets {
    /// The view of the earlier version without its secrets.
    pub fn before<'a>(&'a self, value: &'a Value) -> MaskedView<'a> {
        MaskedView::new(value, self.masks.before.as_ref())
    }

    /// The view of the later version without its secrets.
    pub fn after<'a>(&'a self, value: &'a Value) -> MaskedView<'a> {
        MaskedView::new(value, self.masks.after.as_ref())
    }
}

impl Redactor {
    /// Makes a redactor that hides the given fields in addition to the built-in ones.
    pub fn new(pointers: impl IntoIterator<Item = Pointer>, adopted: Adopted) -> Self {
        Self { pointers: pointers.into_iter().collect(), adopted, hides_all: false }
    }

    /// The redactor that shows nothing of any object. It is for a tree whose own rules cannot be read.
    #[must_use]
    pub(crate) fn hiding_all() -> Self {
        Self { hides_all: true, ..Self::default() }
    }

    /// The values that are shown of objects which are about to be adopted.
    pub fn adopted(&self) -> Adopted {
        self.adopted
    }

    /// Finds the secret parts of two versions of an object of the given kind.
    pub fn secrets(&self, kind: &str, before: Option<&Value>, after: Option<&Value>) -> Secrets {
        let mut rules: Vec<Vec<Step>> = self.pointers.iter().map(|pointer| pointer.steps().to_vec()).collect();
        let mut places: Vec<String> = self.pointers.iter().map(Pointer::shown).collect();
        let mut add = |names: &[&str]| {
            rules.push(names.iter().map(|name| Step::Name((*name).to_owned())).collect());
            places.push(names.join("."));
        };
        if self.hides_all {
            let bodies = [before, after].into_iter().flatten().filter_map(Value::as_object);
            let names: BTreeSet<&String> = bodies.flat_map(serde_json::Map::keys).collect();
            let is_content = |name: &str| !["apiVersion", "kind", "metadata", "status"].contains(&name);
            names.iter().filter(|name| is_content(name)).for_each(|name| add(&[name.as_str()]));
            add(&["metadata", "labels"]);
            add(&["metadata", "annotations"]);
        }
        if kind == "Secret" {
            add(&["data"]);
            add(&["stringData"]);
        }
        let annotations =
            [before, after].into_iter().flatten().filter_map(|body| body.get("metadata")?.get("annotations"));
        let names = annotations.filter_map(Value::as_object).flat_map(serde_json::Map::keys);
        for name in names.filter(|name| is_copy(name)).collect::<BTreeSet<_>>() {
            add(&["metadata", "annotations", name]);
        }
        let masks = masks(&rules, before, after);
        let places: BTreeSet<String> = masks.rules.iter().filter_map(|number| places.get(*number).cloned()).collect();
        Secrets { masks, places: places.into_iter().collect() }
    }

    /// Returns an object as it may be shown, with a placeholder for each of its secrets.
    pub(crate) fn shown(&self, kind: &str, body: &Value) -> Value {
        self.secrets(kind, None, Some(body)).after(body).shown()
    }

    /// Returns `true` if one of the given versions of an object has secrets.
    pub(crate) fn has_secrets(&self, kind: &str, bodies: &[&Value]) -> bool {
        kind == "Secret" || bodies.iter().any(|body| self.secrets(kind, Some(body), None).masks.before.is_some())
    }

    /// Removes the secret values of an object from a message. The message is about a request that a run sent for this
    /// object.
    ///
    /// Plans must not use this function, because a gap in the message can show that a value in the manifest equals a
    /// secret.
    pub fn message(&self, bodies: &[&Value], text: &str) -> String {
        let mut secrets = BTreeSet::new();
        for body in bodies {
            let kind = body.get("kind").and_then(Value::as_str).unwrap_or_default();
            let found = self.secrets(kind, Some(body), None);
            if let Some(mask) = &found.masks.before {
                collect(body, mask, &mut secrets);
            }
        }
        // The longest secrets come first, because a secret may contain another.
        let mut secrets: Vec<String> = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), REDACTED))
    }
}

/// Returns `true` if the annotation holds a copy of the object.
pub(crate) fn is_copy(annotation: &str) -> bool {
    annotation.ends_with("last-applied-configuration") || COPIES.contains(&annotation)
}

fn collect(value: &Value, mask: &Mask, secrets: &mut BTreeSet<String>) {
    match mask {
        Mask::Secret => collect_texts(value, secrets),
        Mask::Below(below) => {
            for (name, mask) in below {
                let child = match value {
                    Value::Array(items) => name.parse::<usize>().ok().and_then(|at| items.get(at)),
                    value => value.get(name),
                };
                if let Some(child) = child {
                    collect(child, mask, secrets);
                }
            }
        }
    }
}

/// Collects every text below a secret value: as written, decoded from base64, encoded in base64, and with the escapes
/// of JSON and Go.
fn collect_texts(value: &Value, secrets: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.values().for_each(|child| collect_texts(child, secrets)),
        Value::Array(items) => items.iter().for_each(|child| collect_texts(child, secrets)),
        Value::String(text) => {
            let decoded = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            for text in decoded.iter().chain([text]) {
                secrets.insert(STANDARD.encode(text));
                let quoted = Value::from(text.as_str()).to_string();
                secrets.insert(quoted.trim_matches('"').to_owned());
                secrets.extend(text.lines().map(str::trim).map(str::to_owned));
                secrets.insert(text.clone());
            }
        }
        Value::Number(_) => drop(secrets.insert(value.to_string())),
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redactor(pointers: &[&str]) -> Redactor {
        Redactor::new(pointers.iter().map(|pointer| pointer.parse().unwrap()), Adopted::Hidden)
    }

    fn check(pointers: &[&str], kind: &str, body: Value, shown: Value, places: &[&str]) {
        let secrets = redactor(pointers).secrets(kind, Some(&body), None);
        assert_eq!(secrets.before(&body).shown(), shown);
        assert_eq!(secrets.places, places);
        assert_eq!(redactor(pointers).has_secrets(kind, &[&body]), !places.is_empty());
    }

    #[test]
    fn x5_secret_places_show_neither_value_nor_name_nor_number() {
        let secret = json!({"data": {"a": "x", "b": "y"}, "stringData": {"c": "z"}, "type": "Opaque"});
        let shown = json!({"data": "(secret)", "stringData": "(secret)", "type": "Opaque"});
        check(&[], "Secret", secret, shown, &["data", "stringData"]);
        check(&[], "ConfigMap", json!({"data": {"a": "x"}}), json!({"data": {"a": "x"}}), &[]);
        for annotation in ["kubectl.kubernetes.io/last-applied-configuration", "kapp.k14s.io/original"] {
            let place = format!("metadata.annotations.{annotation}");
            let body = json!({"metadata": {"annotations": {annotation: "x", "b": "y"}}});
            check(
                &[],
                "Pod",
                body,
                json!({"metadata": {"annotations": {annotation: "(secret)", "b": "y"}}}),
                &[&place],
            );
        }
        let users = json!({"users": [{"name": "a", "token": 1}, {"name": "b", "token": [2, 3]}]});
        let hidden = json!({"users": [{"name": "a", "token": "(secret)"}, {"name": "b", "token": "(secret)"}]});
        check(&["/users/*/token"], "X", users.clone(), hidden, &["users[*].token"]);
        check(&["/users/*"], "X", users.clone(), json!({"users": "(secret)"}), &["users[*]"]);
        check(
            &["/users/1/token/*"],
            "X",
            users.clone(),
            json!({"users": [{"name": "a", "token": 1},
            {"name": "b", "token": "(secret)"}]}),
            &["users[1].token[*]"],
        );
        check(&["/users/7/token", "/absent"], "X", users.clone(), users, &[]);
    }

    #[test]
    fn x6_a_number_is_every_item_once_items_moved() {
        let env = |names: &[&str]| {
            let item = |name: &&str| json!({"name": name, "value": format!("of {name}")});
            json!({"env": names.iter().map(item).collect::<Vec<_>>()})
        };
        let shown = |before: &[&str], after: &[&str]| {
            let (before, after) = (env(before), env(after));
            let secrets = redactor(&["/env/0/value"]).secrets("X", Some(&before), Some(&after));
            [secrets.before(&before).shown().to_string(), secrets.after(&after).shown().to_string()]
        };
        let still = shown(&["A", "B"], &["A", "B"]);
        assert!(still.iter().all(|text| !text.contains("of A") && text.contains("of B")), "{still:?}");
        for after in [&["N", "A", "B"][..], &["B", "A"], &["B"], &["A"], &["A", "A", "B"], &[]] {
            let moved = shown(&["A", "B"], after);
            assert!(moved.iter().all(|text| !text.contains("of ")), "{moved:?}");
        }
    }

    #[test]
    fn messages_lose_secrets_in_every_spelling() {
        let body =
            json!({"kind": "Secret", "data": {"k": "Y2FuYXJ5LXZhbHVl"}, "stringData": {"s": "say \"two\"\nlines"}});
        let text = redactor(&[])
            .message(&[&body], "invalid \"canary-value\" (Y2FuYXJ5LXZhbHVl), say \\\"two\\\"\\nlines, lines");
        assert!(!text.contains("canary") && !text.contains("Y2Fu") && !text.contains("two"), "{text}");
    }
}

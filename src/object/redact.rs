//! What may be shown of an object: the one place that keeps secret values out of every output.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What stands for a secret in a message.
const REDACTED: &str = "(redacted)";
/// Shorter values are not searched for in messages: they would blot out ordinary words and hide nothing.
const SHORTEST: usize = 4;

/// Decides which fields are secret and how they are shown.
#[derive(Clone)]
pub struct Redactor {
    /// Known to this run alone, so that a hash cannot be looked up or compared across runs.
    seed: [u8; 16],
    pointers: Vec<Vec<String>>,
}

impl Redactor {
    /// A redactor with the run's seed and further secret fields as JSON pointers.
    pub fn new(seed: [u8; 16], pointers: &[String]) -> Self {
        let split = |pointer: &String| pointer.trim_start_matches('/').split('/').map(unescaped).collect();
        Self { seed, pointers: pointers.iter().map(split).collect() }
    }

    /// A field's value as it may be shown: compact JSON, or a keyed hash where the field is secret.
    pub fn shown(&self, kind: &str, path: &[String], value: &Value) -> String {
        if self.is_secret(kind, path) { self.hashed(value) } else { self.cut(kind, path, value) }
    }

    /// A message about an object, without any of the object's secret values.
    pub fn message(&self, bodies: &[&Value], text: &str) -> String {
        let mut secrets = BTreeSet::new();
        for body in bodies {
            let kind = body.get("kind").and_then(Value::as_str).unwrap_or_default();
            self.collect(kind, &mut Vec::new(), body, &mut secrets);
        }
        // Longest first: a secret may contain another.
        let mut secrets: Vec<String> = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), REDACTED))
    }

    fn is_secret(&self, kind: &str, path: &[String]) -> bool {
        let starts = |prefix: &[&str]| path.len() >= prefix.len() && prefix.iter().zip(path).all(|(a, b)| a == b);
        (kind == "Secret" && (starts(&["data"]) || starts(&["stringData"])))
            || (starts(&["metadata", "annotations"])
                && path.get(2).is_some_and(|name| name.ends_with("last-applied-configuration")))
            || self
                .pointers
                .iter()
                .any(|pointer| path.len() >= pointer.len() && pointer.iter().zip(path).all(|(a, b)| a == "*" || a == b))
    }

    /// Shows a value, hashing what is secret inside of it.
    fn cut(&self, kind: &str, path: &[String], value: &Value) -> String {
        let mut shown = value.clone();
        self.hash_below(kind, &mut path.to_vec(), &mut shown);
        shown.to_string()
    }

    fn hash_below(&self, kind: &str, path: &mut Vec<String>, value: &mut Value) {
        if self.is_secret(kind, path) {
            *value = Value::String(self.hashed(value));
            return;
        }
        for_each_child(value, |name, child| {
            path.push(name);
            self.hash_below(kind, path, child);
            path.pop();
        });
    }

    fn hashed(&self, value: &Value) -> String {
        let digest = Sha256::new().chain_update(self.seed).chain_update(value.to_string()).finalize();
        let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("(secret {short})")
    }

    fn collect(&self, kind: &str, path: &mut Vec<String>, value: &Value, secrets: &mut BTreeSet<String>) {
        if self.is_secret(kind, path) {
            collect_texts(value, secrets);
            return;
        }
        let children: Box<dyn Iterator<Item = (String, &Value)>> = match value {
            Value::Object(map) => Box::new(map.iter().map(|(name, child)| (name.clone(), child))),
            Value::Array(items) => Box::new(items.iter().enumerate().map(|(index, child)| (index.to_string(), child))),
            _ => return,
        };
        for (name, child) in children {
            path.push(name);
            self.collect(kind, path, child, secrets);
            path.pop();
        }
    }
}

fn for_each_child(value: &mut Value, mut act: impl FnMut(String, &mut Value)) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(name, child)| act(name.clone(), child)),
        Value::Array(items) => items.iter_mut().enumerate().for_each(|(index, child)| act(index.to_string(), child)),
        _ => {}
    }
}

/// Every text below a secret value, as it stands, decoded, encoded, and as JSON and Go quote it.
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

fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn secret_fields_show_a_hash_that_changes_with_the_value_and_the_run() {
        let redactor = Redactor::new([1; 16], &["/spec/auth/password".to_owned(), "/spec/users/*/token".to_owned()]);
        for (kind, field) in [
            ("Secret", "data.password"),
            ("Secret", "stringData.password"),
            ("Till", "spec.auth.password"),
            ("Till", "spec.users.0.token"),
        ] {
            let shown = redactor.shown(kind, &path(field), &json!("canary"));
            assert!(shown.starts_with("(secret ") && !shown.contains("canary"), "{shown}");
            assert_ne!(shown, redactor.shown(kind, &path(field), &json!("other")));
            assert_ne!(
                shown,
                Redactor::new([2; 16], &["/spec".to_owned()]).shown(kind, &path(field), &json!("canary"))
            );
        }
        assert_eq!(redactor.shown("ConfigMap", &path("data.password"), &json!("plain")), "\"plain\"");
    }

    #[test]
    fn a_secret_below_a_shown_value_is_hashed() {
        let redactor = Redactor::new([1; 16], &[]);
        let name = "kubectl.kubernetes.io/last-applied-configuration";
        let shown = redactor.shown("Pod", &path("metadata"), &json!({"annotations": {name: "canary", "a": "b"}}));
        assert!(shown.contains("\"a\":\"b\"") && !shown.contains("canary"), "{shown}");
        let shown = redactor.shown("Secret", &[], &json!({"kind": "Secret", "data": {"k": "canary"}}));
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn messages_lose_secrets_in_every_spelling() {
        let redactor = Redactor::new([1; 16], &[]);
        let body =
            json!({"kind": "Secret", "data": {"k": "Y2FuYXJ5LXZhbHVl"}, "stringData": {"s": "say \"two\"\nlines"}});
        let text =
            redactor.message(&[&body], "invalid \"canary-value\" (Y2FuYXJ5LXZhbHVl), say \\\"two\\\"\\nlines, lines");
        assert!(!text.contains("canary") && !text.contains("Y2Fu") && !text.contains("two"), "{text}");
    }
}

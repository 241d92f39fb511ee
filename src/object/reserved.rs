//! The objects in which roots keep their own data: states, shards, review keys and locks. Such an object is never
//! desired, adopted or cleaned up, even if it belongs to another root.

use serde_json::Value;

/// The prefix of the type of every Secret in which a root keeps its data.
const TYPES: &str = "kubernator.io/";
/// The prefix of the name of every such object. It is followed by 12 hexadecimal digits of the root's hash, and then by
/// any text.
const NAMES: &str = "kubernator-project-";
const HASH: usize = 12;

/// Describes the object if a root keeps its data in it. The description follows "it is". Returns `None` for all other
/// objects.
pub(crate) fn described(group: &str, kind: &str, name: &str, body: &Value) -> Option<&'static str> {
    match (group, kind) {
        ("", "Secret") => {
            let is_typed = || body.get("type").and_then(Value::as_str).is_some_and(|text| text.starts_with(TYPES));
            (is_named(name) || is_typed()).then_some("the state of a root")
        }
        ("coordination.k8s.io", "Lease") => is_named(name).then_some("the lock of a root"),
        _ => None,
    }
}

/// Describes a live object, as [`described`] does.
pub(crate) fn described_live(body: &Value) -> Option<&'static str> {
    let text = |pointer| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, _) = super::ident::split_api_version(text("/apiVersion"));
    described(group, text("/kind"), text("/metadata/name"), body)
}

fn is_named(name: &str) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let hash = name.strip_prefix(NAMES).map(str::as_bytes).and_then(|rest| rest.get(..HASH));
    hash.is_some_and(|hash| hash.iter().all(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn x9_a_roots_books_are_known_by_type_and_by_name() {
        let is = |group: &str, kind: &str, name: &str, body: Value| described(group, kind, name, &body).is_some();
        for name in ["", "-lock", "-0123456789abcdef", "-review", "x"].map(|end| format!("{NAMES}89e495e7941c{end}")) {
            assert!(is("", "Secret", &name, json!({})), "{name}");
            assert!(is("coordination.k8s.io", "Lease", &name, json!({})), "{name}");
            assert!(!is("", "ConfigMap", &name, json!({})), "{name}");
            assert!(!is("shop.dev", "Secret", &name, json!({})), "{name}");
        }
        for name in
            ["kubernator-project-web", "kubernator-project-89E495E7941C", "kubernator-project-89e495e7941", "web"]
        {
            assert!(!is("", "Secret", name, json!({"type": "Opaque"})), "{name}");
            assert!(is("", "Secret", name, json!({"type": "kubernator.io/project-state-shard"})), "{name}");
            assert!(
                !is("coordination.k8s.io", "Lease", name, json!({"type": "kubernator.io/project-state"})),
                "{name}"
            );
        }
    }
}

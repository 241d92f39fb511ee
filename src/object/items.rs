//! Lists of objects whose items have keys. The keys identify the same item in two versions of a list.
//!
//! No schema is used. A field counts as the key if every item of both versions has it, and no two items of one version
//! have the same value.

use std::collections::HashSet;

use serde_json::Value;

/// The fields that are keys in Kubernetes, with the most common ones first. Of several fields, every item must have the
/// first. The others may be left to their defaults.
const KEYS: [&[&str]; 12] = [
    &["name"],
    &["containerPort", "protocol"],
    &["port", "protocol"],
    &["mountPath"],
    &["devicePath"],
    &["topologyKey", "whenUnsatisfiable"],
    &["uid"],
    &["key"],
    &["id"],
    &["host"],
    &["ip"],
    &["type"],
];

/// The keys of the items in two versions of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keyed {
    /// The fields that form the key.
    pub fields: &'static [&'static str],
    /// The keys in the earlier version, in order, for example `name=web`.
    pub before: Vec<String>,
    /// The keys in the later version, in order.
    pub after: Vec<String>,
}

/// Finds the keys of the items of a list. Returns `None` if the items have no keys. A field for which `is_hidden`
/// returns `true` is never used.
pub(crate) fn keyed(before: &[Value], after: &[Value], is_hidden: impl Fn(&str) -> bool) -> Option<Keyed> {
    if before.is_empty() && after.is_empty() {
        return None;
    }
    KEYS.iter()
        .filter(|fields| !fields.iter().any(|field| is_hidden(field)))
        .find_map(|fields| Some(Keyed { fields, before: labels(before, fields)?, after: labels(after, fields)? }))
}

/// The key of each item, if every item has one and no two are the same.
fn labels(items: &[Value], fields: &[&str]) -> Option<Vec<String>> {
    let labels: Option<Vec<String>> = items.iter().map(|item| label(item, fields)).collect();
    labels.filter(|labels| labels.iter().collect::<HashSet<_>>().len() == labels.len())
}

fn label(item: &Value, fields: &[&str]) -> Option<String> {
    let (first, others) = fields.split_first()?;
    let stated = |field: &str| match item.get(field)? {
        Value::String(text) => Some(format!("{field}={text}")),
        Value::Number(number) => Some(format!("{field}={number}")),
        _ => None,
    };
    let mut label = stated(first)?;
    for other in others.iter().filter_map(|field| stated(field)) {
        label.push(',');
        label.push_str(&other);
    }
    Some(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(before: Value, after: Value, expected: Option<(&[&str], &[&str])>) {
        let keyed = keyed(before.as_array().unwrap(), after.as_array().unwrap(), |field| field == "type");
        let found = keyed.map(|keyed| (keyed.before, keyed.after));
        let owned = |labels: &[&str]| labels.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found, expected.map(|(before, after)| (owned(before), owned(after))), "{before} {after}");
    }

    #[test]
    fn a_key_is_what_all_items_have_and_no_two_share() {
        check(
            json!([{"name": "a"}]),
            json!([{"name": "b"}, {"name": "a"}]),
            Some((&["name=a"], &["name=b", "name=a"])),
        );
        check(json!([{"name": "a"}, {"name": "a"}]), json!([{"name": "a"}]), None);
        check(json!([{"name": "a"}]), json!([{"v": 1}]), None);
        check(
            json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 80}]),
            json!([{"name": "x", "port": 53}]),
            Some((&["port=53,protocol=UDP", "port=53,protocol=TCP", "port=80"], &["port=53"])),
        );
        check(json!([1, 2]), json!([1]), None);
        check(json!([]), json!([]), None);
        check(json!([{"type": "A"}]), json!([{"type": "B"}]), None);
    }
}

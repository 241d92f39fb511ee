//! The generations of generated objects that stay for a rollback.
//!
//! kustomize names each content of a ConfigMap or Secret anew. `kubectl rollout undo` needs the generation before the
//! current one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::policy::Policy;
use crate::object::generated::{any_generation, stem};
use crate::object::ident::ObjectKey;

/// Returns the generations that stay: the newest of each generated object that the tree desires and for which its
/// settings keep one. `undesired` are the generations that are not desired any more, each with its body.
pub(super) fn kept<'a>(
    policy: &Policy,
    undesired: impl Iterator<Item = (&'a ObjectKey, &'a Value)>,
) -> BTreeSet<&'a ObjectKey> {
    let mut newest: BTreeMap<ObjectKey, (&str, &ObjectKey)> = BTreeMap::new();
    for (key, body) in undesired.filter(|(key, _)| stem(key).is_some()) {
        let stem = any_generation(key);
        if !policy.keep_previous.contains(&stem) {
            continue;
        }
        // A server writes all times in one format. The name decides between two of one second.
        let created = body.pointer("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default();
        let entry = newest.entry(stem).or_insert((created, key));
        *entry = (*entry).max((created, key));
    }
    newest.into_values().map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::project::tree::Cleanup;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { group: String::new(), kind: "ConfigMap".into(), namespace: Some("shop".into()), name: name.into() }
    }

    proptest! {
        /// K5: of each generated object whose setting says so, one generation stays, and none is newer. Nothing else
        /// stays.
        #[test]
        fn k5_the_newest_undesired_generation_stays_and_no_other(
            objects in prop::collection::btree_map((0..3_usize, 0..16_usize), 0..4_u8, 0..20),
            keeping in prop::collection::btree_set(0..3_usize, 0..3),
        ) {
            let stems = ["app", "app-web", "db"];
            let letters: Vec<char> = "2456789bcdfghkmt".chars().collect();
            let live: Vec<(ObjectKey, Value, usize, u8)> = objects
                .iter()
                .map(|((stem, hash), second)| {
                    let name = format!("{}-6ct58987h{}", stems[*stem], letters[*hash]);
                    let body = json!({"metadata": {"creationTimestamp": format!("2026-01-01T00:00:0{second}Z")}});
                    (key(&name), body, *stem, *second)
                })
                .collect();
            let plain = key("app-web");
            let mut policy = Policy::new(Cleanup::On, "kubernator-system");
            policy.keep_previous = keeping.iter().map(|stem| key(&format!("{}-", stems[*stem]))).collect();
            let body = json!({});
            let undesired = live.iter().map(|(key, body, ..)| (key, body)).chain([(&plain, &body)]);
            let kept = kept(&policy, undesired);
            for stem in 0..3 {
                let of_stem: Vec<_> = live.iter().filter(|(.., its, _)| *its == stem).collect();
                let staying: Vec<_> = of_stem.iter().filter(|(key, ..)| kept.contains(key)).collect();
                prop_assert_eq!(staying.len(), usize::from(keeping.contains(&stem) && !of_stem.is_empty()));
                let newest = of_stem.iter().map(|(.., second)| second).max();
                prop_assert!(staying.iter().all(|(.., second)| Some(second) == newest));
            }
            prop_assert!(!kept.contains(&plain));
        }
    }
}

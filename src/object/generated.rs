//! Generated names: kustomize appends a hash of the content to the name of a ConfigMap or Secret, so that each content has
//! an object of its own, a generation.

use super::ident::ObjectKey;

/// The letters of the hash that kustomize appends to a name.
const LETTERS: &str = "2456789bcdfghkmt";

/// The number of letters of the hash.
const HASH: usize = 10;

/// Returns the name that all generations of an object have in common, the one before the hash. Returns `None` if the name is
/// not a generated one.
pub(crate) fn stem(key: &ObjectKey) -> Option<&str> {
    let (stem, hash) = key.name.rsplit_once('-')?;
    let is_generated = !stem.is_empty() && hash.len() == HASH && hash.chars().all(|letter| LETTERS.contains(letter));
    let is_meant = key.group.is_empty() && matches!(key.kind.as_str(), "ConfigMap" | "Secret");
    (is_generated && is_meant).then_some(stem)
}

/// Returns the key with the name that all generations have in common, if the name is generated. No object has such a key,
/// because no name ends with a hyphen.
pub(crate) fn any_generation(key: &ObjectKey) -> ObjectKey {
    match stem(key) {
        Some(stem) => ObjectKey { name: format!("{stem}-"), ..key.clone() },
        None => key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r9_a_generated_name_has_the_letters_of_a_hash_at_its_end() {
        let key = |kind: &str, name: &str| ObjectKey {
            group: String::new(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: name.into(),
        };
        for (kind, name, expected) in [
            ("ConfigMap", "web-6ct58987ht", Some("web")),
            ("Secret", "db-auth-2g9kh8m4tt", Some("db-auth")),
            ("Deployment", "web-6ct58987ht", None),
            ("ConfigMap", "web", None),
            ("ConfigMap", "web-production", None),
            ("ConfigMap", "web-6ct58987h", None),
            ("ConfigMap", "web-0ct58987ht", None),
            ("ConfigMap", "-6ct58987ht", None),
        ] {
            let key = key(kind, name);
            assert_eq!(stem(&key), expected, "{kind} {name}");
            assert_eq!(any_generation(&key).name, expected.map_or(name.to_owned(), |stem| format!("{stem}-")));
        }
    }
}

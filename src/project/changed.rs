//! Changes of the settings of the root. A plan shows them, because they apply to the whole tree.

use super::pointer::Pointer;
use super::tree::{Cleanup, RootSettings, Tree};

/// A changed setting of the root, with both values as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedSetting {
    /// The name of the setting in `.ktor.yaml`.
    pub key: &'static str,
    /// The value before.
    pub before: String,
    /// The value after.
    pub after: String,
}

/// Compares the root settings of two trees.
fn changed_settings(base: &Tree, head: &Tree) -> Vec<ChangedSetting> {
    let (old, new) = (settings(base), settings(head));
    let pairs = old.into_iter().zip(new).filter(|((_, before), (_, after))| before != after);
    pairs.map(|((key, before), (_, after))| ChangedSetting { key, before, after }).collect()
}

/// Returns every setting of the root as text. A new setting does not compile until it is listed here.
fn settings(tree: &Tree) -> [(&'static str, String); 6] {
    let RootSettings { cleanup, state_namespace, redact, fields, adopt_managers } = tree.settings();
    let mut hidden: Vec<String> = redact.iter().map(Pointer::to_string).collect();
    hidden.sort();
    let listed = |texts: &[String]| if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") };
    let rules: Vec<String> = fields.iter().map(ToString::to_string).collect();
    [
        ("project", tree.root().to_string()),
        ("cleanup", (*cleanup == Cleanup::On).to_string()),
        ("stateNamespace", state_namespace.clone()),
        ("redact", listed(&hidden)),
        ("fields", listed(&rules)),
        ("adoptManagers", listed(adopt_managers)),
    ]
}

/// The consequences of changed root settings for a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootChange {
    /// The changed settings.
    pub settings: Vec<ChangedSetting>,
    /// The namespaces of the state before and after, if they differ. A run must not apply anything then.
    pub moved_state: Option<(String, String)>,
}

impl RootChange {
    /// Compares the settings of two trees.
    pub fn between(base: &Tree, head: &Tree) -> Self {
        Self { settings: changed_settings(base, head), moved_state: moved_state(base, head) }
    }
}

/// Returns the namespaces of the state before and after, if they differ and the root has the same name.
fn moved_state(base: &Tree, head: &Tree) -> Option<(String, String)> {
    let (old, new) = (&base.settings().state_namespace, &head.settings().state_namespace);
    (base.root() == head.root() && old != new).then(|| (old.clone(), new.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn tree(settings: &str) -> Tree {
        Tree::load(&[(PathBuf::from(".ktor.yaml"), settings.as_bytes().to_vec())].into(), None).unwrap()
    }

    #[test]
    fn x7_each_changed_setting_of_the_root_is_named_with_both_values() {
        let base = "project: demo\nredact: [/spec/a, /spec/b]\n";
        let changed = |head: &str| changed_settings(&tree(base), &tree(head));
        assert_eq!(changed(base), []);
        assert_eq!(changed("project: demo\nredact: [/spec/b, /spec/a]\nnamespace: x\n"), []);
        let setting =
            |key, before: &str, after: &str| ChangedSetting { key, before: before.into(), after: after.into() };
        assert_eq!(
            changed("project: shop\ncleanup: true\nstateNamespace: state\n"),
            [
                setting("project", "demo", "shop"),
                setting("cleanup", "false", "true"),
                setting("stateNamespace", "kubernator-system", "state"),
                setting("redact", "/spec/a, /spec/b", "nothing"),
            ]
        );
    }

    #[test]
    fn x7_a_state_that_would_move_refuses_and_another_roots_does_not() {
        let moved = |head: &str| moved_state(&tree("project: demo\n"), &tree(head));
        let namespaces = Some(("kubernator-system".to_owned(), "state".to_owned()));
        assert_eq!(moved("project: demo\nstateNamespace: state\n"), namespaces);
        assert_eq!(moved("project: demo\nstateNamespace: kubernator-system\n"), None);
        assert_eq!(moved("project: other\nstateNamespace: state\n"), None);
    }
}

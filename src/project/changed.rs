//! Changes of the root's settings, which rule the whole tree: a reader of a plan has to know them.

use super::pointer::Pointer;
use super::tree::{Cleanup, RootSettings, Tree};

/// One of the root's settings with its two values, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ChangedSetting {
    key: &'static str,
    before: String,
    after: String,
}

/// Compares the root's settings of two trees.
fn changed_settings(base: &Tree, head: &Tree) -> Vec<ChangedSetting> {
    let (old, new) = (settings(base), settings(head));
    let pairs = old.into_iter().zip(new).filter(|((_, before), (_, after))| before != after);
    pairs.map(|((key, before), (_, after))| ChangedSetting { key, before, after }).collect()
}

/// Every setting of the root as text. A new one does not compile before it is listed here.
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

impl ChangedSetting {
    /// One sentence for a plan's reader.
    fn notice(&self) -> String {
        let Self { key, before, after } = self;
        let meaning = match *key {
            "project" => ": what was applied under the old name stays, and belongs to it",
            "redact" => ": what the base hides is hidden in this plan all the same",
            _ => "",
        };
        format!("The root's `{key}` changes from {before} to {after}{meaning}.")
    }
}

/// The consequences of changed root settings for a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootChange {
    /// The notices for readers of the plan, one sentence for each setting.
    pub notices: Vec<String>,
    /// The reason why nothing may be applied.
    pub refusal: Option<String>,
}

impl RootChange {
    /// Compares the settings of two trees.
    pub fn between(base: &Tree, head: &Tree) -> Self {
        let notices = changed_settings(base, head).iter().map(ChangedSetting::notice).collect();
        Self { notices, refusal: moved_state(base, head) }
    }
}

/// Tells why a run is refused that would look for its state in another namespace than where it is.
fn moved_state(base: &Tree, head: &Tree) -> Option<String> {
    let (old, new) = (&base.settings().state_namespace, &head.settings().state_namespace);
    (base.root() == head.root() && old != new).then(|| {
        format!(
            "stateNamespace changes from {old} to {new}, but the state and the lock stay in {old}, where other runs look for \
             them: leave stateNamespace as it is"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn tree(settings: &str) -> Tree {
        Tree::load(&[(PathBuf::from(".ktor.yaml"), settings.as_bytes().to_vec())].into()).unwrap()
    }

    #[test]
    fn x7_each_changed_setting_of_the_root_is_named_with_both_values() {
        let base = "project: demo\nredact: [/spec/a, /spec/b]\n";
        let notices = |head: &str| -> Vec<String> {
            changed_settings(&tree(base), &tree(head)).iter().map(ChangedSetting::notice).collect()
        };
        assert_eq!(notices(base), [""; 0]);
        assert_eq!(notices("project: demo\nredact: [/spec/b, /spec/a]\nnamespace: x\n"), [""; 0]);
        assert_eq!(
            notices("project: shop\ncleanup: true\nstateNamespace: state\n"),
            [
                "The root's `project` changes from demo to shop: what was applied under the old name stays, and belongs to it.",
                "The root's `cleanup` changes from false to true.",
                "The root's `stateNamespace` changes from kubernator-system to state.",
                "The root's `redact` changes from /spec/a, /spec/b to nothing: what the base hides is hidden in this plan all the \
                 same.",
            ]
        );
    }

    #[test]
    fn x7_a_state_that_would_move_refuses_and_another_roots_does_not() {
        let moved = |head: &str| moved_state(&tree("project: demo\n"), &tree(head));
        assert!(moved("project: demo\nstateNamespace: state\n").unwrap().contains("from kubernator-system to state"));
        assert_eq!(moved("project: demo\nstateNamespace: kubernator-system\n"), None);
        assert_eq!(moved("project: other\nstateNamespace: state\n"), None);
    }
}

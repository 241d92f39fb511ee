//! The plan's digest. It changes if, and only if, the planned changes change.

use crate::object::body::Body;
use sha2::{Digest, Sha256};

use super::change::Change;
use super::decision::{Action, Subject};
use super::policy::Policy;
use crate::object::ident::ObjectKey;

/// A SHA-256 hash over the sorted changes, without unchanged objects. Each change contributes its action, the kind and
/// the subject of its reason, its object and its projects, the uid if the object is deleted or replaced, and the hash
/// of the manifest as it is in git. The digest contains no other live value and nothing that is specific to one run.
pub(crate) fn digest<'a>(changes: &[&Change], desired: impl Fn(&ObjectKey) -> Option<&'a Body>) -> String {
    let mut lines: Vec<String> = changes
        .iter()
        .filter(|change| change.action() != Action::Unchanged)
        .map(|change| {
            let uid = match change.action() {
                Action::Delete | Action::Replace => change.uid.as_deref().unwrap_or_default(),
                _ => "",
            };
            let body = desired(&change.ident.key).map(|body| hex(&Sha256::digest(body.json()))).unwrap_or_default();
            let from = change.from.as_ref().map(ToString::to_string).unwrap_or_default();
            let Change { decision, ident, project, .. } = change;
            let subject = decision.subject().map(|subject| match subject {
                Subject::Object(key) => key.to_string(),
                Subject::Guard(guard) => format!("{guard:?}"),
            });
            // JSON separates the parts, whatever they contain.
            serde_json::json!([decision.action().word(), decision.kind(), subject, ident, project, from, uid, body])
                .to_string()
        })
        .collect();
    lines.sort();
    hex(&Sha256::digest(lines.join("\n")))
}

/// The digest of a plan that also depends on the root's settings about fields and managers. Without such settings, the
/// digest stays as it is.
pub(crate) fn with_settings(digest: String, policy: &Policy) -> String {
    if policy.fields.is_empty() && policy.adopt_managers.is_empty() {
        return digest;
    }
    let rules: Vec<String> = policy.fields.iter().map(ToString::to_string).collect();
    hex(&Sha256::digest(serde_json::json!([digest, rules, policy.adopt_managers]).to_string()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::decision::{Create, Decision, Delete, Keep, Update};
    use super::*;
    use crate::object::refusal::Refusal;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { group: String::new(), kind: "Namespace".into(), namespace: None, name: name.into() }
    }

    fn digest_of(decision: Decision, uid: &str) -> String {
        digest(&[&Change { decision, ..Change::deletion(key("x"), uid) }], |_| None)
    }

    #[test]
    fn p7_whose_uid_is_deleted_is_in_the_digest_and_whose_is_changed_is_not() {
        for decision in [Decision::Delete(Delete::Undesired), Decision::Replace(Refusal::Invalid(String::new()))] {
            assert_ne!(digest_of(decision.clone(), "u"), digest_of(decision.clone(), "v"), "{decision:?}");
        }
        let update = Decision::Update(Update::Differs);
        assert_eq!(digest_of(update.clone(), "u"), digest_of(update, "v"));
    }

    #[test]
    fn p7_the_words_in_which_a_change_is_refused_are_not_in_the_digest() {
        let replaced = |words: &str| digest_of(Decision::Replace(Refusal::Invalid(words.to_owned())), "u");
        assert_eq!(replaced("field is immutable"), replaced("may not change once set"));
        assert_ne!(replaced(""), digest_of(Decision::Update(Update::Differs), "u"));
    }

    #[test]
    fn p7_what_holds_an_object_that_is_being_deleted_is_not_in_the_digest() {
        let leaving = |held: &str| digest_of(Decision::Create(Create::AfterItsEnd(vec![held.to_owned()])), "u");
        assert_eq!(leaving("a"), leaving("b"));
        assert_ne!(leaving("a"), digest_of(Decision::Create(Create::New), "u"));
    }

    #[test]
    fn p7_the_object_that_a_reason_names_is_in_the_digest() {
        let kept = |name: &str| digest_of(Decision::Keep(Keep::NeededBy(key(name))), "u");
        assert_ne!(kept("a"), kept("b"));
        assert_ne!(kept("a"), digest_of(Decision::Keep(Keep::OpenProject(key("a"))), "u"));
    }
}

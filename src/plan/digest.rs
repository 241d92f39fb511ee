//! The plan's digest. It changes if, and only if, the planned changes change.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::change::{Action, Change};
use crate::object::ident::ObjectKey;

/// A SHA-256 hash over the sorted changes, without unchanged objects. Each change contributes its action, the kind of
/// its reason, its object and its projects, the uid if the object is deleted or replaced, and the hash of the manifest
/// as it is in git. The digest contains no other live value and nothing that is specific to one run.
pub(crate) fn digest<'a>(changes: &[Change], desired: impl Fn(&ObjectKey) -> Option<&'a Value>) -> String {
    let mut lines: Vec<String> = changes
        .iter()
        .filter(|change| change.action != Action::Unchanged)
        .map(|change| {
            let uid = match change.action {
                Action::Delete | Action::Replace => change.uid.as_deref().unwrap_or_default(),
                _ => "",
            };
            let body =
                desired(&change.ident.key).map(|body| hex(&Sha256::digest(body.to_string()))).unwrap_or_default();
            let from = change.from.as_ref().map(ToString::to_string).unwrap_or_default();
            // JSON separates the parts, whatever they contain.
            let Change { action, reason, ident, project, .. } = change;
            // The server's messages quote live values and may change every second, so only the kind of the reason
            // counts.
            serde_json::json!([action.word(), reason.kind(), ident, project, from, uid, body]).to_string()
        })
        .collect();
    lines.sort();
    hex(&Sha256::digest(lines.join("\n")))
}

/// The digest of a plan that also depends on the root's settings about fields and managers. `told` describes these
/// settings; if it is empty, the digest stays as it is.
pub(crate) fn with_settings(digest: String, told: &[String]) -> String {
    if told.is_empty() { digest } else { hex(&Sha256::digest(serde_json::json!([digest, told]).to_string())) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::change::Reason;
    use super::*;

    fn change(action: Action, reason: Reason, uid: &str) -> Change {
        let key = ObjectKey { group: String::new(), kind: "Namespace".into(), namespace: None, name: "x".into() };
        Change { action, reason, ..Change::deletion(key, uid) }
    }

    #[test]
    fn p7_whose_uid_is_deleted_is_in_the_digest_and_whose_is_changed_is_not() {
        let digest_of = |action, uid| digest(&[change(action, Reason::Differs, uid)], |_| None);
        for action in [Action::Delete, Action::Replace] {
            assert_ne!(digest_of(action, "u"), digest_of(action, "v"), "{action:?}");
        }
        assert_eq!(digest_of(Action::Update, "u"), digest_of(Action::Update, "v"));
    }

    #[test]
    fn p7_the_words_in_which_a_change_is_refused_are_not_in_the_digest() {
        let replaced =
            |words: &str| digest(&[change(Action::Replace, Reason::Immutable(words.to_owned()), "u")], |_| None);
        assert_eq!(replaced("field is immutable"), replaced("may not change once set"));
        assert_ne!(replaced(""), digest(&[change(Action::Replace, Reason::Differs, "u")], |_| None));
    }

    #[test]
    fn p7_what_holds_an_object_that_is_being_deleted_is_not_in_the_digest() {
        let digest_of = |action, reason| digest(&[change(action, reason, "u")], |_| None);
        let leaving = |held: &str| digest_of(Action::Create, Reason::Terminating(held.to_owned()));
        assert_eq!(leaving(", held by a"), leaving(", held by b"));
        assert_ne!(leaving(", held by a"), digest_of(Action::Create, Reason::New));
    }
}

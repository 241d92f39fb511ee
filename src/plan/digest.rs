//! The plan's digest: changes when, and only when, what would be done changes.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::change::{Action, Change};
use crate::object::ident::ObjectKey;

/// SHA-256 over the sorted actions: reason, key, uid where something is deleted or replaced, and the hash of the
/// desired object as it is in git. No live value and no key of a run is in it.
pub fn digest<'a>(changes: &[Change], desired: impl Fn(&ObjectKey) -> Option<&'a Value>) -> String {
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
            // JSON keeps the parts apart whatever they contain.
            let Change { action, reason, ident, project, .. } = change;
            serde_json::json!([action.word(), reason, ident, project, from, uid, body]).to_string()
        })
        .collect();
    lines.sort();
    hex(&Sha256::digest(lines.join("\n")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Plans and outcomes as JSON, for programs.

pub mod v1;

use serde::Serialize;

use super::Heading;
use crate::plan::build::Plan;
use crate::plan::outcome::Outcome;

/// Returns a plan as a value to serialize.
pub fn plan(plan: &Plan, heading: &Heading<'_>) -> v1::Plan {
    v1::Plan::new(plan, heading)
}

/// Returns an outcome as a value to serialize. `error` is the error that ended the run early, if any.
pub fn outcome(plan: &Plan, outcome: &Outcome, heading: &Heading<'_>, error: Option<&str>) -> v1::Outcome {
    v1::Outcome::new(plan, outcome, heading, error)
}

/// Returns a document as indented JSON that is safe in a terminal and in a workflow's log.
///
/// # Errors
///
/// The errors of the serializer. Plans and outcomes cause none.
pub fn text(document: &impl Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string_pretty(document)?;
    let mut safe = String::with_capacity(text.len() + 1);
    // In JSON, `##[` and non-ASCII characters occur only in strings, so an escape has the same meaning.
    for character in text.replace("##[", "#\\u0023[").chars() {
        if character.is_ascii() || super::escape::visible(character.encode_utf8(&mut [0; 4])).chars().count() == 1 {
            safe.push(character);
        } else {
            safe.extend(character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    safe.push('\n');
    Ok(safe)
}

//! The freeze of a root: while it lasts, no run applies anything.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The annotation on the review key's Secret. Kubernator never rewrites that Secret.
pub(crate) const FREEZE_ANNOTATION: &str = "kubernator.io/ktor-frozen";

/// A freeze of a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// The reason, in the words of the person who froze the root.
    pub reason: String,
    /// The person or the run that froze it.
    pub by: String,
    /// The end. Without one, only a thaw ends the freeze.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Freeze {
    /// Reads the freeze from annotations. An annotation that cannot be read counts as a freeze without an end.
    pub(crate) fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let text = annotations.get(FREEZE_ANNOTATION)?;
        let unreadable =
            || Self { reason: "the freeze cannot be read".to_owned(), by: "someone".to_owned(), until: None };
        Some(serde_json::from_str(text).unwrap_or_else(|_| unreadable()))
    }

    /// Returns the annotation that records the freeze.
    pub(crate) fn annotation(&self) -> (String, String) {
        // Serializing texts cannot fail. If it did, a reader would take the text for a freeze without an end.
        (FREEZE_ANNOTATION.to_owned(), serde_json::to_string(self).unwrap_or_default())
    }

    /// Returns `true` if the freeze has ended at this time.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_a_freeze_is_read_as_it_was_written_and_ends_at_its_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for until in [None, Some(at(1_900_000_000))] {
            let freeze = Freeze { reason: "a \"release\"\n".into(), by: "maria@laptop".into(), until };
            let annotations = BTreeMap::from([freeze.annotation()]);
            assert_eq!(Freeze::of(&annotations), Some(freeze.clone()));
            assert!(!freeze.is_over(at(1_899_999_999)));
            assert_eq!(freeze.is_over(at(1_900_000_000)), until.is_some());
        }
        assert_eq!(Freeze::of(&BTreeMap::new()), None);
        let damaged = BTreeMap::from([(FREEZE_ANNOTATION.to_owned(), "{".to_owned())]);
        assert!(!Freeze::of(&damaged).unwrap().is_over(Timestamp::MAX));
    }
}

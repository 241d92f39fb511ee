//! Reads the annotations beside a state, for display. It decides nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::annotation::{DIGEST_ANNOTATION, RUN_ANNOTATION};
use super::gzip::digest;

/// The relation of a state to the digest in its annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Integrity {
    /// The digest matches the state.
    Valid,
    /// There is no digest, because another tool wrote last.
    Missing,
    /// The digest does not match the state, because the state was changed in another way, for example by hand.
    Invalid,
}

/// Compares an encoded state with the digest in its annotation.
pub(crate) fn integrity(data: &[u8], annotations: &BTreeMap<String, String>) -> Integrity {
    match annotations.get(DIGEST_ANNOTATION) {
        None => Integrity::Missing,
        Some(stated) if *stated == digest(data) => Integrity::Valid,
        Some(_) => Integrity::Invalid,
    }
}

/// Returns the name of the run that wrote last, if an annotation names it.
pub(crate) fn writer(annotations: &BTreeMap<String, String>) -> Option<&str> {
    annotations.get(RUN_ANNOTATION).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_as_its_writer_left_it_or_another_tools_or_tampered_with() {
        let notes = |digest: &str| [(DIGEST_ANNOTATION.to_owned(), digest.to_owned())].into();
        assert_eq!(integrity(b"data", &notes(&digest(b"data"))), Integrity::Valid);
        assert_eq!(integrity(b"other", &notes(&digest(b"data"))), Integrity::Invalid);
        assert_eq!(integrity(b"data", &BTreeMap::new()), Integrity::Missing);
        assert_eq!(writer(&[(RUN_ANNOTATION.to_owned(), "run".to_owned())].into()), Some("run"));
        assert_eq!(writer(&BTreeMap::new()), None);
    }
}

//! The state's wire form: gzip of compact JSON with sorted keys, and the annotations beside it.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::payload::Payload;
use crate::object::mark::Root;

/// The Secret's type.
pub const SECRET_TYPE: &str = "kubernator.io/project-state";
/// The annotation that names the root; Kubernator writes this one alone.
pub const ROOT_ANNOTATION: &str = "kubernator.io/project-root";
/// The annotation with the digest of what we wrote: missing where someone else wrote last.
pub const DIGEST_ANNOTATION: &str = "kubernator.io/ktor-digest";
/// The annotation that names the run which wrote last.
pub const RUN_ANNOTATION: &str = "kubernator.io/ktor-run";
/// The annotation with the commit that the root was last finalized at, or `stale`.
pub const LEDGER_ANNOTATION: &str = "kubernator.io/ktor-ledger";

/// Decompressed, a state is never larger: a Secret holds 1 MiB, and idents compress no better than this.
const LARGEST: u64 = 64 * 1024 * 1024;

/// A state that cannot be used. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The Secret belongs to another root (two names may share a prefix of their hash).
    #[error("the state is annotated for root {found:?}, not {expected:?}: rename one of the two roots")]
    OtherRoot {
        /// What the annotation says.
        found: String,
        /// The root that was asked for.
        expected: String,
    },
    /// The payload is no gzip.
    #[error("the state is damaged: rebuild it from the live marks with `ktor state rebuild --replace-damaged`")]
    Damaged(#[source] std::io::Error),
    /// The payload is too large when decompressed.
    #[error("the state is larger than {} MiB: rebuild it from the live marks with `ktor state rebuild --replace-damaged`", LARGEST >> 20)]
    TooLarge,
    /// The version is not known.
    #[error(
        "the state is of version {0:?}, which this ktor does not know: use a newer ktor, or rebuild it from the live marks \
         with `ktor state rebuild --replace-damaged`"
    )]
    UnknownVersion(String),
    /// The payload is no state.
    #[error(
        "the state cannot be understood: rebuild it from the live marks with `ktor state rebuild --replace-damaged`"
    )]
    Malformed(#[source] serde_json::Error),
    /// An entry names a project of another root.
    #[error(
        "the state records project {0:?}, which is not of its root: rebuild it with `ktor state rebuild --replace-damaged`"
    )]
    ForeignProject(String),
    /// Marked objects are live, yet there is no state.
    #[error(
        "there is no state for root {root}, yet {count} live objects carry its mark: restore the state, or rebuild it \
         from the live marks with `ktor state rebuild`"
    )]
    Missing {
        /// The root.
        root: String,
        /// How many marked objects were found.
        count: usize,
    },
}

/// Encodes a payload.
pub fn encode(payload: &Payload) -> Vec<u8> {
    // Writing to memory and serializing maps with text keys cannot fail; an empty state would be refused on reading.
    let json = serde_json::to_vec(payload).unwrap_or_default();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(&json).and_then(|()| encoder.finish());
    written.unwrap_or_default()
}

/// Decodes a payload and holds it to its root.
///
/// # Errors
///
/// A payload that is damaged, too large, of another version or with another root's projects.
pub fn decode(data: &[u8], root: &Root) -> Result<Payload, StateError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: String,
    }
    let mut json = Vec::new();
    MultiGzDecoder::new(data).take(LARGEST + 1).read_to_end(&mut json).map_err(StateError::Damaged)?;
    if json.len() as u64 > LARGEST {
        return Err(StateError::TooLarge);
    }
    let Versioned { version } = serde_json::from_slice(&json).map_err(StateError::Malformed)?;
    if version != "1" {
        return Err(StateError::UnknownVersion(version));
    }
    let payload: Payload = serde_json::from_slice(&json).map_err(StateError::Malformed)?;
    let projects = payload.resources.projects().chain(payload.pending.projects());
    let foreign = projects.into_iter().find(|project| project.root() != *root.segment()).map(ToString::to_string);
    match foreign {
        Some(foreign) => Err(StateError::ForeignProject(foreign)),
        None => Ok(payload),
    }
}

/// The digest of encoded state, as its annotation holds it.
pub fn digest(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses a state Secret whose annotation names another root.
///
/// # Errors
///
/// [`StateError::OtherRoot`].
pub fn check_root(annotations: &BTreeMap<String, String>, root: &Root) -> Result<(), StateError> {
    match annotations.get(ROOT_ANNOTATION) {
        Some(found) if found != root.segment().as_str() => {
            Err(StateError::OtherRoot { found: found.clone(), expected: root.to_string() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::path::Segment;
    use base64::Engine;

    fn root() -> Root {
        Root::new(Segment::new("demo").unwrap())
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// The samples that Kubernator wrote: what is decoded from its Secret, encoded again, is its JSON to the letter.
    #[test]
    fn o8_states_written_by_kubernator_are_read_and_written_in_its_form() {
        for (secret, json) in [
            (
                include_str!("../../tests/cases/kubernator-v1/kubernator-state-after-phase1.yaml"),
                include_str!("../../tests/cases/kubernator-v1/kubernator-state-after-phase1.raw.json"),
            ),
            (
                include_str!("../../tests/cases/kubernator-v1/kubernator-state-after-phase2.yaml"),
                include_str!("../../tests/cases/kubernator-v1/kubernator-state-after-phase2.raw.json"),
            ),
        ] {
            let encoded = secret.lines().find_map(|line| line.strip_prefix("  state: ")).unwrap();
            let data = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
            let payload = decode(&data, &root()).unwrap();
            assert!(payload.finalized && payload.pending.is_empty());
            assert_eq!(serde_json::to_string(&payload).unwrap(), json.trim_end());
            let mut ours = String::new();
            MultiGzDecoder::new(encode(&payload).as_slice()).read_to_string(&mut ours).unwrap();
            assert_eq!(ours, json.trim_end());
        }
    }

    #[test]
    fn o6_o10_what_is_no_state_is_refused_with_what_to_do() {
        let check = |data: &[u8], expected: &str| {
            let error = decode(data, &root()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let good = gzip(br#"{"finalized":true,"pending":{},"resources":{},"version":"1"}"#);
        assert!(decode(&good, &root()).is_ok());
        check(&good[..good.len() - 9], "damaged: rebuild it");
        check(b"no gzip", "damaged: rebuild it");
        check(&gzip(br#"{"version":"2"}"#), "version \"2\"");
        check(&gzip(br#"{"version":1}"#), "cannot be understood");
        check(&gzip(&vec![b' '; 10 << 20]), "cannot be understood");
        check(&gzip(&vec![b' '; (64 << 20) + 1]), "larger than 64 MiB");
        check(&gzip(br#"{"finalized":true,"pending":{},"resources":{"other.a":[{"group":"","kind":"A","name":"b","version":"v1"}]},"version":"1"}"#), "\"other.a\"");
        check(
            &gzip(br#"{"finalized":true,"pending":{},"resources":{"demo/x":[]},"version":"1"}"#),
            "cannot be understood",
        );
        let other = [(ROOT_ANNOTATION.to_owned(), "other".to_owned())].into();
        assert!(matches!(check_root(&other, &root()), Err(StateError::OtherRoot { .. })));
    }
}

//! The wire format of the state: gzip of compact JSON with sorted keys, and annotations.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::annotation::ROOT_ANNOTATION;
use super::error::{LARGEST, StateError};
use super::gzip::{gunzip, gzip};
use super::payload::Payload;
use super::shard::{self, Head, Shard};
use crate::object::mark::Root;

/// The largest size of a state in one Secret, in bytes. A larger state is written in shards. A Secret holds 1 MiB.
const LARGEST_WHOLE: usize = 900 * 1024;

/// Encodes a payload as a whole.
pub fn encode(payload: &Payload) -> Vec<u8> {
    // Serializing maps with text keys cannot fail. If it did, the reader would refuse the empty state.
    gzip(&serde_json::to_vec(payload).unwrap_or_default())
}

/// Encodes a payload for its Secret. Returns the data of the Secret, and the shards that must be written before it. A
/// payload that fits into the Secret has no shards.
///
/// # Errors
///
/// A payload that no reader would accept: it has projects of another root, objects that no API server can have, or too
/// many objects.
pub fn encode_all(payload: &Payload, root: &Root) -> Result<(Vec<u8>, Vec<Shard>), StateError> {
    for entries in [&payload.resources, &payload.pending] {
        entries.check(root).map_err(|error| match error {
            StateError::ImpossibleEntry(shown) => StateError::Unrecordable(shown),
            other => other,
        })?;
    }
    let json = serde_json::to_vec(payload).unwrap_or_default();
    if json.len() as u64 <= LARGEST {
        let whole = gzip(&json);
        if whole.len() <= LARGEST_WHOLE {
            return Ok((whole, Vec::new()));
        }
    }
    drop(json);
    let (head, shards) = shard::split(payload)?;
    Ok((gzip(&serde_json::to_vec(&head).unwrap_or_default()), shards))
}

/// The decoded data of the state's Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The state as a whole.
    Whole(Payload),
    /// The head of a state in shards.
    Sharded(Head),
}

impl Recorded {
    /// Returns `true` if the run that wrote the state finished.
    pub fn finalized(&self) -> bool {
        match self {
            Self::Whole(payload) => payload.finalized,
            Self::Sharded(head) => head.finalized(),
        }
    }
}

/// Decodes the data of the state's Secret and checks that the entries belong to the root.
///
/// # Errors
///
/// The data is damaged, too large or of an unknown version. An entry is in a project of another root, or names an
/// object that no API server can have. The head has a form that no run writes.
pub fn read(data: &[u8], root: &Root) -> Result<Recorded, StateError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: String,
    }
    let json = gunzip(data, LARGEST)?;
    let Versioned { version } = serde_json::from_slice(&json).map_err(StateError::Malformed)?;
    match version.as_str() {
        "1" => whole(&json, root).map(Recorded::Whole),
        "2" => serde_json::from_slice::<Head>(&json).map_err(StateError::Malformed)?.check().map(Recorded::Sharded),
        _ => Err(StateError::UnknownVersion(version)),
    }
}

fn whole(json: &[u8], root: &Root) -> Result<Payload, StateError> {
    let payload: Payload = serde_json::from_slice(json).map_err(StateError::Malformed)?;
    payload.resources.check(root)?;
    payload.pending.check(root)?;
    Ok(payload)
}

/// Refuses a Secret whose annotation names another root.
///
/// # Errors
///
/// [`StateError::OtherRoot`], if the annotation names another root.
pub(crate) fn check_root(annotations: &BTreeMap<String, String>, root: &Root) -> Result<(), StateError> {
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
    use flate2::Compression;
    use flate2::read::MultiGzDecoder;
    use flate2::write::GzEncoder;
    use std::io::{Read, Write};

    fn root() -> Root {
        Root::new(Segment::new("demo").unwrap())
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// The samples were written by Kubernator. Decoding a Secret and encoding it again gives exactly the JSON of the
    /// sample.
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
            let Ok(Recorded::Whole(payload)) = read(&data, &root()) else { panic!("not whole") };
            assert!(payload.finalized && payload.pending.is_empty());
            assert_eq!(serde_json::to_string(&payload).unwrap(), json.trim_end());
            let mut ours = String::new();
            MultiGzDecoder::new(encode(&payload).as_slice()).read_to_string(&mut ours).unwrap();
            assert_eq!(ours, json.trim_end());
        }
    }

    fn refuses(data: &[u8], expected: &str) {
        let error = read(data, &root()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.len() < 600, "{} bytes of error", error.len());
    }

    #[test]
    fn o6_what_is_no_state_is_refused() {
        let good = gzip(br#"{"finalized":true,"pending":{},"resources":{},"version":"1"}"#);
        assert!(matches!(read(&good, &root()), Ok(Recorded::Whole(_))));
        refuses(b"no gzip", "damaged");
        refuses(&gzip(br#"{"version":"3"}"#), "version \"3\"");
        refuses(&gzip(br#"{"version":1}"#), "cannot be understood");
        refuses(&gzip(br#"{"finalized":true,"pending":{},"resources":{"other.a":[{"group":"","kind":"A","name":"b","version":"v1"}]},"version":"1"}"#), "\"other.a\"");
        refuses(
            &gzip(br#"{"finalized":true,"pending":{},"resources":{"demo/x":[]},"version":"1"}"#),
            "cannot be understood",
        );
        let other = [(ROOT_ANNOTATION.to_owned(), "other".to_owned())].into();
        assert!(matches!(check_root(&other, &root()), Err(StateError::OtherRoot { .. })));
    }

    #[test]
    fn o10_bombs_and_cut_payloads_are_refused_in_bounded_memory() {
        let good = gzip(br#"{"finalized":true,"pending":{},"resources":{},"version":"1"}"#);
        for cut in 1..good.len() {
            refuses(&good[..good.len() - cut], "the state");
        }
        refuses(&gzip(&vec![b' '; 10 << 20]), "cannot be understood");
        refuses(&gzip(&vec![b' '; (64 << 20) + 1]), "larger than 64 MiB");
        // Many gzip members in a row are one payload. This one would decompress to 20 GiB.
        let member = gzip(&vec![b' '; 64 << 20]);
        assert!(member.len() < 512 * 1024);
        refuses(&member.repeat(320), "larger than 64 MiB");
        let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        refuses(&gzip(deep.as_bytes()), "cannot be understood");
    }

    #[test]
    fn o10_hostile_entries_are_refused_and_shown_short() {
        let state = |field: &str, value: &str| {
            let mut ident = serde_json::json!({"group": "apps", "kind": "Deployment", "name": "a", "namespace": "b", "version": "v1"});
            ident[field] = value.into();
            let payload =
                serde_json::json!({"finalized": true, "pending": {"demo": [ident]}, "resources": {}, "version": "1"});
            gzip(payload.to_string().as_bytes())
        };
        for field in ["group", "kind", "name", "namespace", "version"] {
            assert!(read(&state(field, "system:a-b.c"), &root()).is_ok(), "{field}");
            for hostile in ["..", "../../nodes", "a/b", "%2e%2e", "a\nb", "\u{1b}[2J", &"x".repeat(10 << 20)] {
                refuses(&state(field, hostile), "which no server can have");
            }
        }
        for field in ["kind", "name", "version"] {
            refuses(&state(field, ""), "which no server can have");
        }
    }

    #[test]
    fn a_state_says_whether_its_run_came_to_its_end_whole_or_sharded() {
        for finalized in [false, true] {
            let payload = Payload { finalized, ..Payload::default() };
            let (head, _) = shard::split(&payload).unwrap();
            assert_eq!(head.finalized(), finalized);
            for recorded in [Recorded::Whole(payload), Recorded::Sharded(head)] {
                assert_eq!(recorded.finalized(), finalized, "{recorded:?}");
            }
        }
    }

    #[test]
    fn a_state_of_its_own_root_or_without_a_word_of_it_is_read() {
        let own = [(ROOT_ANNOTATION.to_owned(), "demo".to_owned())].into();
        assert!(check_root(&own, &root()).is_ok() && check_root(&BTreeMap::new(), &root()).is_ok());
    }

    #[test]
    fn o10_as_much_as_is_allowed_is_unpacked_and_no_byte_more() {
        let data = gzip(&[b'x'; 1000]);
        assert_eq!(gunzip(&data, 1000).unwrap().len(), 1000);
        assert!(matches!(gunzip(&data, 999), Err(StateError::TooLarge)));
    }
}

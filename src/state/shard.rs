//! The encoding of a state that is too large for one Secret: shards with the entries, and a small head that refers to
//! them. The name of a shard is derived from its content.
//!
//! This module does no I/O. Other modules write the shards before the head, and delete the shards that no head refers
//! to.
//!
//! The hash of an entry decides if a shard ends with this entry. A small change of the state therefore changes few
//! shards.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::annotation;
use super::error::StateError;
use super::gzip::{self, digest};
use super::payload::{Entries, Payload, Version};
use crate::object::ident::{Ident, ObjectKey};
use crate::object::mark::Root;
use crate::project::path::ProjectPath;

/// The type of a shard's Secret.
pub(crate) const SHARD_TYPE: &str = "kubernator.io/project-state-shard";
/// The label to list the shards of a root. It is not a mark of ownership: no sweep and no rebuild finds an object by
/// it.
pub(crate) const SHARD_LABEL: &str = "kubernator.io/ktor-state-shard-of";
/// The annotation on a state's Secret. If it is present, there may be shards to which the head does not refer.
pub(crate) const SHARDS_ANNOTATION: &str = "kubernator.io/ktor-shards";

/// The number of bytes of JSON that a shard has before the hash of an entry may end it.
const SMALLEST_PIECE: usize = 64 * 1024;
/// The largest size of a new shard, in bytes of JSON. Even JSON that does not compress fits into a Secret at this size.
const LARGEST_PIECE: usize = 512 * 1024;
/// One of this many entries ends a shard, on average.
const ENDS_ONE_IN: u16 = 2048;
/// The largest size of a decompressed shard that is read, in bytes.
const LARGEST_SHARD: u64 = 2 * LARGEST_PIECE as u64;
/// The largest number of shards in one list. A million objects need less than half of it.
const MOST_SHARDS: usize = 8192;
/// The largest total size of the decompressed shards of one state, in bytes. A million objects need less than half of
/// it.
const LARGEST_SUM: usize = 512 * 1024 * 1024;

/// A part of the entries, as one Secret holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The SHA-256 digest of the JSON, in hexadecimal.
    pub digest: String,
    /// The JSON, compressed with gzip.
    pub data: Vec<u8>,
}

/// The content of the state's own Secret if the entries are in shards. The fields are in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    finalized: bool,
    shards: Lists,
    version: HeadVersion,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Lists {
    pending: Vec<String>,
    resources: Vec<String>,
}

/// The version of a head. Readers that know only whole states refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum HeadVersion {
    #[serde(rename = "2")]
    Two,
}

impl Head {
    /// Returns `true` if the run that wrote the head finalized the state.
    pub(crate) fn finalized(&self) -> bool {
        self.finalized
    }

    /// Returns the digests of all shards that the head refers to, each once.
    pub(crate) fn digests(&self) -> BTreeSet<String> {
        self.shards.pending.iter().chain(&self.shards.resources).cloned().collect()
    }

    /// Refuses lists that no run writes. Such lists could use too much memory, or make a run read a shard twice.
    pub(super) fn check(self) -> Result<Self, StateError> {
        let is_digest =
            |text: &String| text.len() == 64 && text.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
        for list in [&self.shards.pending, &self.shards.resources] {
            if exceeds(0, list.len()) {
                return Err(StateError::TooManyObjects);
            }
            if !list.iter().all(is_digest) || list.iter().collect::<BTreeSet<_>>().len() != list.len() {
                return Err(StateError::WrongHead);
            }
        }
        Ok(self)
    }
}

/// The name of the Secret that holds a shard.
pub fn shard_name(root: &Root, digest: &str) -> String {
    format!("{}-{}", root.state_name(), digest.get(..32).unwrap_or(digest))
}

/// Splits a payload into a head and the shards that it refers to, each once.
///
/// # Errors
///
/// The payload has more objects than any reader accepts.
pub fn split(payload: &Payload) -> Result<(Head, Vec<Shard>), StateError> {
    let mut shards = BTreeMap::new();
    let mut list = |entries: &Entries| -> Vec<String> {
        let mut digests = Vec::new();
        for piece in pieces(entries) {
            // Serialization of maps with string keys cannot fail.
            let json = serde_json::to_vec(&piece).unwrap_or_default();
            let digest = digest(&json);
            shards.entry(digest.clone()).or_insert_with(|| (json.len(), gzip::gzip(&json)));
            digests.push(digest);
        }
        digests
    };
    let lists = Lists { pending: list(&payload.pending), resources: list(&payload.resources) };
    let sum = shards.values().map(|(size, _)| size).sum();
    if exceeds(sum, lists.pending.len().max(lists.resources.len())) {
        return Err(StateError::TooManyObjects);
    }
    let shards = shards.into_iter().map(|(digest, (_, data))| Shard { digest, data }).collect();
    Ok((Head { finalized: payload.finalized, shards: lists, version: HeadVersion::Two }, shards))
}

/// Returns `true` if no reader accepts `sum` bytes of JSON in all shards, or `shards` shards in one list.
fn exceeds(sum: usize, shards: usize) -> bool {
    sum > LARGEST_SUM || shards > MOST_SHARDS
}

/// Cuts entries into pieces. A piece ends after an entry whose hash marks an end, or when the next entry does not fit.
fn pieces(entries: &Entries) -> Vec<Entries> {
    let mut pieces = Vec::new();
    let (mut piece, mut size) = (Entries::default(), 0);
    for (project, ident) in entries.iter() {
        let own = recorded_size(project, &ident);
        if size > 0 && size + own > LARGEST_PIECE {
            pieces.push(std::mem::take(&mut piece));
            size = 0;
        }
        piece.insert(project, &ident);
        size += own;
        if size >= SMALLEST_PIECE && ends_piece(project, &ident) {
            pieces.push(std::mem::take(&mut piece));
            size = 0;
        }
    }
    if size > 0 {
        pieces.push(piece);
    }
    pieces
}

/// Estimates the number of bytes that an entry takes as JSON. The estimate is never too low, unless JSON escapes a
/// character of the entry.
fn recorded_size(project: &ProjectPath, ident: &Ident) -> usize {
    let Ident { key: ObjectKey { group, kind, namespace, name }, version } = ident;
    let namespace = namespace.as_deref().unwrap_or_default();
    80 + [project.as_str(), group, kind, namespace, name, version].iter().map(|text| text.len()).sum::<usize>()
}

fn ends_piece(project: &ProjectPath, ident: &Ident) -> bool {
    let hash = Sha256::digest(format!("{project} {}", ident.key));
    u16::from_be_bytes([hash[0], hash[1]]) % ENDS_ONE_IN == 0
}

/// Assembles a state from its head and its shards, one shard after another. Holds no more data than the limits allow.
#[derive(Debug)]
pub(crate) struct Joining<'a> {
    head: &'a Head,
    root: &'a Root,
    sum: usize,
    payload: Payload,
    missing: BTreeSet<String>,
}

impl<'a> Joining<'a> {
    /// Begins with the head and no shards.
    pub(crate) fn new(head: &'a Head, root: &'a Root) -> Self {
        let payload = Payload { finalized: head.finalized, version: Version::One, ..Payload::default() };
        Self { head, root, sum: 0, payload, missing: head.digests() }
    }

    /// Adds the content of the shard with this digest.
    ///
    /// # Errors
    ///
    /// The content does not match the digest or is not a list of entries. It names projects of another root or objects
    /// that no server can have. The shards together exceed the limits.
    pub(crate) fn add(&mut self, digest: &str, data: &[u8]) -> Result<(), StateError> {
        let json = verified(digest, data)?;
        self.sum += json.len();
        if exceeds(self.sum, 0) {
            return Err(StateError::TooManyObjects);
        }
        let entries: Entries = serde_json::from_slice(&json).map_err(StateError::Malformed)?;
        entries.check(self.root)?;
        for (list, target) in [
            (&self.head.shards.pending, &mut self.payload.pending),
            (&self.head.shards.resources, &mut self.payload.resources),
        ] {
            if list.iter().any(|listed| listed == digest) {
                target.union(&entries);
            }
        }
        self.missing.remove(digest);
        Ok(())
    }

    /// Returns the complete state.
    ///
    /// # Errors
    ///
    /// A shard was not added.
    pub(crate) fn finish(self) -> Result<Payload, StateError> {
        match self.missing.first() {
            Some(digest) => Err(StateError::MissingShard(shard_name(self.root, digest))),
            None => Ok(self.payload),
        }
    }
}

/// A Secret that may be a shard.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The name of the Secret.
    pub name: &'a str,
    /// The type of the Secret.
    pub secret_type: &'a str,
    /// The annotations of the Secret.
    pub annotations: &'a BTreeMap<String, String>,
    /// The labels of the Secret.
    pub labels: &'a BTreeMap<String, String>,
    /// The compressed content of the Secret.
    pub data: &'a [u8],
}

/// Returns `true` if a Secret is a shard of this root. Its type, root annotation and label must be those of such a
/// shard, and its name must be derived from its own content.
pub fn is_own(candidate: Candidate<'_>, root: &Root) -> bool {
    let Candidate { name, secret_type, annotations, labels, data } = candidate;
    secret_type == SHARD_TYPE
        && annotations.get(annotation::ROOT_ANNOTATION).is_some_and(|found| found == root.segment().as_str())
        && labels.get(SHARD_LABEL).is_some_and(|found| found == root.hash())
        && gzip::gunzip(data, LARGEST_SHARD).is_ok_and(|json| shard_name(root, &digest(&json)) == name)
}

/// Decompresses the JSON of a shard, and checks that it has the expected digest.
///
/// # Errors
///
/// The data cannot be decompressed, or its digest is another one.
pub(crate) fn verified(expected: &str, data: &[u8]) -> Result<Vec<u8>, StateError> {
    let json = gzip::gunzip(data, LARGEST_SHARD)?;
    if digest(&json) == expected { Ok(json) } else { Err(StateError::OtherContent(expected.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::path::Segment;
    use crate::state::codec::{Recorded, encode_all, read};
    use proptest::prelude::*;

    fn root() -> Root {
        Root::new(Segment::new("demo").unwrap())
    }

    /// Creates an entry that does not compress well. The seed determines its position in the order.
    fn entry(seed: u64) -> (ProjectPath, Ident) {
        let name = digest(&seed.to_be_bytes());
        let project = ["demo", "demo.a", "demo.b.c"][usize::try_from(seed % 3).unwrap()].parse().unwrap();
        let namespace = (!seed.is_multiple_of(5)).then(|| format!("ns-{}", seed % 7));
        let key = ObjectKey { group: "apps".into(), kind: "Deployment".into(), namespace, name };
        (project, Ident { key, version: "v1".into() })
    }

    fn entries(seeds: impl IntoIterator<Item = u64>) -> Entries {
        let mut entries = Entries::default();
        for (project, ident) in seeds.into_iter().map(entry) {
            entries.insert(&project, &ident);
        }
        entries
    }

    fn joined(head: &Head, shards: &[Shard]) -> Result<Payload, StateError> {
        let root = root();
        let mut joining = Joining::new(head, &root);
        for shard in shards {
            joining.add(&shard.digest, &shard.data)?;
        }
        joining.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        #[test]
        fn o5_what_is_split_is_joined_again(first in 0_u64..1000, count in 0_u64..9000, pending in 0_u64..3000, finalized: bool) {
            let payload = Payload {
                finalized,
                resources: entries(first..first + count),
                pending: entries(first..first + pending),
                version: Version::One,
            };
            let (head, shards) = split(&payload).unwrap();
            prop_assert!(shards.iter().all(|shard| shard.data.len() < 700 * 1024));
            prop_assert_eq!(joined(&head, &shards).unwrap(), payload);
        }

        #[test]
        fn o5_a_small_change_touches_few_shards(seed in 100_000_u64..200_000, dropped in 0_u64..9000) {
            let before = entries(0..9000);
            let mut after = before.clone();
            let (project, ident) = entry(seed);
            after.insert(&project, &ident);
            let gone = entry(dropped).1.key;
            after.retain(|_, key| *key != gone);
            let digests = |resources| split(&Payload { resources, ..Payload::default() }).unwrap().0.digests();
            let (before, after) = (digests(before), digests(after));
            prop_assert!(before.len() >= 4, "{}", before.len());
            prop_assert!(after.difference(&before).count() <= 4, "{} of {}", after.difference(&before).count(), after.len());
        }
    }

    #[test]
    fn o5_a_small_state_stays_whole_and_a_large_one_is_sharded() {
        let small = Payload { resources: entries(0..10), ..Payload::default() };
        let (data, shards) = encode_all(&small, &root()).unwrap();
        assert!(shards.is_empty() && matches!(read(&data, &root()), Ok(Recorded::Whole(found)) if found == small));
        let medium = Payload { resources: entries(0..10_000), ..Payload::default() };
        let (data, shards) = encode_all(&medium, &root()).unwrap();
        assert!(shards.is_empty() && data.len() > 256 * 1024, "{} bytes", data.len());
        let large = Payload { resources: entries(0..25_000), ..Payload::default() };
        let (data, shards) = encode_all(&large, &root()).unwrap();
        let Ok(Recorded::Sharded(head)) = read(&data, &root()) else { panic!("not sharded") };
        assert_eq!(joined(&head, &shards).unwrap(), large);
    }

    #[test]
    fn o6_a_shard_that_is_missing_or_holds_something_else_is_refused() {
        let (head, shards) = split(&Payload { resources: entries(0..5000), ..Payload::default() }).unwrap();
        assert!(matches!(joined(&head, &shards[1..]), Err(StateError::MissingShard(_))));
        let mut swapped = shards.clone();
        swapped[0].data.clone_from(&shards[1].data);
        assert!(matches!(joined(&head, &swapped), Err(StateError::OtherContent(_))));
        swapped[0].data.truncate(100);
        assert!(matches!(joined(&head, &swapped), Err(StateError::Damaged(_))));
    }

    #[test]
    fn o10_hostile_heads_and_shards_are_refused() {
        let check = |pending: Vec<String>, expected: &str| {
            let head =
                serde_json::json!({"finalized": true, "shards": {"pending": pending, "resources": []}, "version": "2"});
            let error = read(&gzip::gzip(head.to_string().as_bytes()), &root()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let digest_of = |number: usize| digest(&number.to_be_bytes());
        check(vec![digest_of(1), digest_of(1)], "cannot be understood");
        check(vec!["../x".into()], "cannot be understood");
        check(vec![digest_of(1).to_uppercase()], "cannot be understood");
        check((0..=MOST_SHARDS).map(digest_of).collect(), "more objects");
        let most = Lists { resources: (0..MOST_SHARDS).map(digest_of).collect(), ..Lists::default() };
        let head = Head { finalized: true, shards: most, version: HeadVersion::Two };
        assert_eq!(head.clone().check().unwrap(), head);

        let hostile = |json: &[u8]| {
            let shard = Shard { digest: digest(json), data: gzip::gzip(json) };
            let shards = Lists { resources: vec![shard.digest.clone()], ..Lists::default() };
            joined(&Head { finalized: true, shards, version: HeadVersion::Two }, &[shard]).unwrap_err()
        };
        let foreign = br#"{"other.a":[{"group":"","kind":"A","name":"b","version":"v1"}]}"#;
        assert!(matches!(hostile(foreign), StateError::ForeignProject(project) if project == "other.a"));
        assert!(matches!(hostile(&vec![b' '; 64 << 20]), StateError::TooLarge));
        assert!(matches!(hostile(b"[1]"), StateError::Malformed(_)));
    }

    #[test]
    fn o10_no_more_is_written_than_is_read() {
        assert!(!exceeds(LARGEST_SUM, MOST_SHARDS));
        assert!(exceeds(LARGEST_SUM + 1, 0) && exceeds(0, MOST_SHARDS + 1));
        // A million objects fit.
        let (project, ident) = entry(0);
        assert!(!exceeds(1_000_000 * recorded_size(&project, &ident), 1_000_000 / 512));

        let (head, shards) = split(&Payload { resources: entries(0..5000), ..Payload::default() }).unwrap();
        let root = root();
        let mut joining = Joining::new(&head, &root);
        let mut sum = 0;
        for shard in &shards {
            joining.add(&shard.digest, &shard.data).unwrap();
            sum += verified(&shard.digest, &shard.data).unwrap().len();
        }
        assert!(shards.len() > 1 && joining.sum == sum, "{} of {sum}", joining.sum);
    }

    #[test]
    fn x9_a_shard_is_known_by_type_root_label_and_content() {
        let (_, shards) = split(&Payload { resources: entries(0..50), ..Payload::default() }).unwrap();
        let shard = &shards[0];
        let name = shard_name(&root(), &shard.digest);
        let annotations: BTreeMap<String, String> =
            [(annotation::ROOT_ANNOTATION.to_owned(), "demo".to_owned())].into();
        let labels: BTreeMap<String, String> = [(SHARD_LABEL.to_owned(), root().hash().to_owned())].into();
        let own = Candidate {
            name: &name,
            secret_type: SHARD_TYPE,
            annotations: &annotations,
            labels: &labels,
            data: &shard.data,
        };
        assert!(is_own(own, &root()));
        let other = Root::new(Segment::new("other").unwrap());
        assert!(!is_own(own, &other));
        let others: BTreeMap<String, String> = [(annotation::ROOT_ANNOTATION.to_owned(), "other".to_owned())].into();
        let changed = gzip::gzip(b"{}");
        for stranger in [
            Candidate { name: "database-password", ..own },
            Candidate { name: &name[..name.len() - 1], ..own },
            Candidate { secret_type: "Opaque", ..own },
            Candidate { secret_type: annotation::SECRET_TYPE, ..own },
            Candidate { annotations: &others, ..own },
            Candidate { annotations: &BTreeMap::new(), ..own },
            Candidate { labels: &BTreeMap::new(), ..own },
            Candidate { data: b"", ..own },
            Candidate { data: b"no gzip", ..own },
            Candidate { data: &changed, ..own },
        ] {
            assert!(!is_own(stranger, &root()), "{stranger:?}");
        }
    }

    #[test]
    fn o5_no_piece_is_empty_too_large_or_cut_without_need() {
        let all = entries(0..30_000);
        let pieces = pieces(&all);
        let sizes: Vec<usize> = pieces.iter().map(|piece| serde_json::to_vec(piece).unwrap().len()).collect();
        let (last, cut) = sizes.split_last().unwrap();
        assert!(*last > 2 && *last <= 512 * 1024, "{sizes:?}");
        assert!(cut.iter().all(|size| *size > 48 * 1024 && *size <= 512 * 1024), "{sizes:?}");
        // If no entry ends a piece for a long time, the size limit ends it.
        assert!(sizes.iter().any(|size| *size > LARGEST_PIECE / 2), "{sizes:?}");
        // On average, pieces are much larger than the smallest one, because few entries end a piece.
        assert!(sizes.len() < sizes.iter().sum::<usize>() / (2 * SMALLEST_PIECE), "{sizes:?}");
        let mut joined = Entries::default();
        for piece in &pieces {
            joined.union(piece);
        }
        assert_eq!(joined, all);
    }

    #[test]
    fn a_shards_name_has_its_root_and_its_content_in_it() {
        let digest = digest(b"x");
        assert_eq!(shard_name(&root(), &digest), format!("kubernator-project-89e495e7941c-{}", &digest[..32]));
    }
}

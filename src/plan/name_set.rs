//! A set of object names as keyed hashes: small enough for a comment, and of no use to anyone without the key.
//!
//! A name is hashed to 40 bits. The sorted hashes are written as their differences in a Golomb-Rice code. With random
//! differences, this takes about 1.5 bits more for each name than the best possible code: 10,000 names take 35 KiB.

use ring::hmac;

/// The number of bits of a hash. Of a million names that are not in a set of 10,000, one in a hundred times any one is
/// taken for a member.
const BITS: u32 = 40;

/// The largest number of names that a set is read with.
const MOST: usize = 20_000;

/// The key of the hashes.
#[derive(Clone, Debug)]
pub(crate) struct NameKey(hmac::Key);

impl NameKey {
    /// Derives the key of the hashes from a secret.
    pub(crate) fn of(secret: &[u8]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"names");
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    fn hash(&self, name: &str) -> u64 {
        let tag = hmac::sign(&self.0, name.as_bytes());
        tag.as_ref().iter().take(5).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
    }
}

/// A set of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameSet {
    /// The hashes, sorted, each once.
    hashes: Vec<u64>,
}

/// A text that is no set of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the set of names is malformed")]
pub(crate) struct MalformedSet;

impl NameSet {
    /// Makes the set of the given names.
    pub(crate) fn of(names: impl IntoIterator<Item = impl ToString>, key: &NameKey) -> Self {
        let mut hashes: Vec<u64> = names.into_iter().map(|name| key.hash(&name.to_string())).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self { hashes }
    }

    /// Returns `true` if the set contains the name.
    pub(crate) fn contains(&self, name: &impl ToString, key: &NameKey) -> bool {
        !self.is_empty() && self.hashes.binary_search(&key.hash(&name.to_string())).is_ok()
    }

    /// The number of names.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Returns `true` if the set has no names.
    pub(crate) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Writes the set: the number of names in four bytes, and the code of each difference.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.hashes.len()).unwrap_or(u32::MAX);
        let width = width(self.hashes.len());
        let mut bits = Bits { bytes: count.to_be_bytes().to_vec(), free: 0 };
        let mut last = 0;
        for (index, hash) in self.hashes.iter().enumerate() {
            // Each hash is larger than the one before, so one is left out of each difference but the first.
            let difference = hash - last - u64::from(index > 0);
            for _ in 0..difference >> width {
                bits.push(true);
            }
            bits.push(false);
            for bit in (0..width).rev() {
                bits.push(difference >> bit & 1 == 1);
            }
            last = *hash;
        }
        bits.bytes
    }

    /// Reads a set.
    ///
    /// # Errors
    ///
    /// The bytes are not what [`NameSet::encode`] writes, or they are too many names.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, MalformedSet> {
        let (count, code) = bytes.split_first_chunk::<4>().ok_or(MalformedSet)?;
        let count = usize::try_from(u32::from_be_bytes(*count)).map_err(|_| MalformedSet)?;
        if count > MOST {
            return Err(MalformedSet);
        }
        let width = width(count);
        let mut bits = code.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
        let mut hashes = Vec::with_capacity(count);
        let mut last = 0_u64;
        for index in 0..count {
            let mut difference = 0_u64;
            while bits.next().ok_or(MalformedSet)? {
                difference += 1;
            }
            for _ in 0..width {
                difference = difference << 1 | u64::from(bits.next().ok_or(MalformedSet)?);
            }
            let hash = last.checked_add(difference).and_then(|hash| hash.checked_add(u64::from(index > 0)));
            last = hash.filter(|hash| *hash >> BITS == 0).ok_or(MalformedSet)?;
            hashes.push(last);
        }
        let set = Self { hashes };
        // Only one text stands for a set.
        if set.encode() == bytes { Ok(set) } else { Err(MalformedSet) }
    }
}

/// The number of low bits of a difference that are written as they are: the binary logarithm of the average difference.
fn width(count: usize) -> u32 {
    let average = (1_u64 << BITS) / u64::try_from(count.max(1)).unwrap_or(u64::MAX);
    average.max(1).ilog2()
}

/// Bits that are written one after another.
struct Bits {
    bytes: Vec<u8>,
    /// The number of bits of the last byte that are not written yet.
    free: u32,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.free == 0 {
            self.bytes.push(0);
            self.free = 8;
        }
        self.free -= 1;
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << self.free;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ident::ObjectKey;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn name(number: usize) -> ObjectKey {
        let name = format!("a-rather-long-name-of-an-object-{number}");
        ObjectKey { group: String::new(), kind: "ConfigMap".into(), namespace: Some("shop".into()), name }
    }

    fn key() -> NameKey {
        NameKey::of(b"secret")
    }

    proptest! {
        #[test]
        fn a_set_is_read_as_it_was_written(hashes in prop::collection::btree_set(0_u64..1 << BITS, 0..200)) {
            let set = NameSet { hashes: hashes.into_iter().collect() };
            prop_assert_eq!(NameSet::decode(&set.encode()), Ok(set));
        }

        #[test]
        fn neighbours_and_ends_are_read_as_they_were_written(start in 0_u64..1 << BITS, count in 0_u64..50) {
            let hashes: BTreeSet<u64> =
                (start..start + count).filter(|hash| hash >> BITS == 0).chain([0, (1 << BITS) - 1]).collect();
            let set = NameSet { hashes: hashes.into_iter().collect() };
            prop_assert_eq!(NameSet::decode(&set.encode()), Ok(set));
        }

        #[test]
        fn any_bytes_are_a_set_in_one_way_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(set) = NameSet::decode(&bytes) {
                prop_assert_eq!(set.encode(), bytes);
            }
        }

        #[test]
        fn a_changed_text_is_another_set_or_refused(
            count in 1_usize..60, at in any::<prop::sample::Index>(), flip in 1_u8..
        ) {
            let names: Vec<ObjectKey> = (0..count).map(name).collect();
            let set = NameSet::of(&names, &key());
            let mut bytes = set.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_ne!(NameSet::decode(&bytes), Ok(set));
        }
    }

    #[test]
    fn ten_thousand_names_fit_into_a_comment_and_are_members() {
        let names: Vec<ObjectKey> = (0..10_000).map(name).collect();
        let set = NameSet::of(&names, &key());
        let bytes = set.encode();
        assert!(bytes.len() < 36 * 1024, "{}", bytes.len());
        let read = NameSet::decode(&bytes).unwrap();
        assert_eq!(read.hashes.len(), names.len());
        assert!(names.iter().all(|name| read.contains(name, &key())));
        assert!(!(10_000..20_000).any(|number| read.contains(&name(number), &key())));
    }

    #[test]
    fn without_the_key_the_names_are_not_members() {
        let names: Vec<ObjectKey> = (0..100).map(name).collect();
        let set = NameSet::of(&names, &key());
        assert!(!names.iter().any(|name| set.contains(name, &NameKey::of(b"other"))));
    }

    #[test]
    fn too_many_names_are_refused() {
        let mut bytes = u32::try_from(MOST + 1).unwrap().to_be_bytes().to_vec();
        bytes.extend([0; 100]);
        assert_eq!(NameSet::decode(&bytes), Err(MalformedSet));
        assert_eq!(NameSet::decode(&[0, 0, 0]), Err(MalformedSet));
        assert_eq!(NameSet::decode(&[0, 0, 0, 0]), Ok(NameSet::default()));
        assert_eq!(NameSet::decode(&[0, 0, 0, 0, 0]), Err(MalformedSet));
    }
}

//! The compression and the digests of a state.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::error::StateError;

/// Compresses data.
pub(super) fn gzip(json: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory cannot fail.
    encoder.write_all(json).and_then(|()| encoder.finish()).unwrap_or_default()
}

/// Decompresses data of at most `largest` bytes.
pub(super) fn gunzip(data: &[u8], largest: u64) -> Result<Vec<u8>, StateError> {
    let mut json = Vec::new();
    MultiGzDecoder::new(data).take(largest + 1).read_to_end(&mut json).map_err(StateError::Damaged)?;
    if json.len() as u64 > largest { Err(StateError::TooLarge) } else { Ok(json) }
}

/// The digest of an encoded state, as in its annotation: the SHA-256 in hexadecimal digits.
pub(crate) fn digest(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

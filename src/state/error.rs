//! States that cannot be read or written.

/// The largest size of a decompressed state, in bytes. A Secret holds 1 MiB, and entries do not compress by a larger
/// factor.
pub(super) const LARGEST: u64 = 64 * 1024 * 1024;
/// A state that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The Secret belongs to another root. The hashes of two names may begin with the same digits.
    #[error("the state is annotated for root {found:?}, not {expected:?}: rename one of the two roots")]
    OtherRoot {
        /// The root in the annotation.
        found: String,
        /// The root that was expected.
        expected: String,
    },
    /// The payload is not valid gzip.
    #[error("the state is damaged")]
    Damaged(#[source] std::io::Error),
    /// The decompressed payload is too large.
    #[error("the state is larger than {} MiB", LARGEST >> 20)]
    TooLarge,
    /// The format version is unknown.
    #[error("the state has format version {0:?}, which this ktor cannot read")]
    UnknownVersion(String),
    /// The payload is not a state.
    #[error("the state cannot be understood")]
    Malformed(#[source] serde_json::Error),
    /// The head contains a list of shards that no run writes.
    #[error("the state's list of shards cannot be understood")]
    WrongHead,
    /// A shard does not exist, although the head that refers to it has not changed.
    #[error("the state's shard {0} is missing")]
    MissingShard(String),
    /// A shard does not match its digest, or does not belong to this state.
    #[error("the state's shard {0} is damaged")]
    OtherContent(String),
    /// The state would have more objects than its format allows.
    #[error("the state has more objects than one root can record: split the root")]
    TooManyObjects,
    /// An entry is in a project of another root.
    #[error("the state records project {0:?}, which is not of its root")]
    ForeignProject(String),
    /// An entry names an object that no API server can have.
    #[error("the state records {0:?}, which no server can have")]
    ImpossibleEntry(String),
    /// An entry that would be written could not be read back.
    #[error("{0:?} cannot be recorded, because no server can have it: nothing was written")]
    Unrecordable(String),
    /// Marked objects are live, but there is no state.
    #[error("there is no state for root {root}, but {count} live objects carry its mark: restore the state")]
    Missing {
        /// The root.
        root: String,
        /// The number of marked objects.
        count: usize,
    },
}

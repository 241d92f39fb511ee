//! The review block: the list of deletions and replacements that a plan's comment showed.
//!
//! The comment of a pull request carries the block. The apply after the merge reads it and deletes nothing else.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::build::Plan;
use crate::object::ident::{Ident, ObjectKey};

/// The version of the block.
const VERSION: u64 = 1;

/// The deletions and replacements that a plan shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Review {
    /// The objects to delete for good.
    pub deleted: Vec<Ident>,
    /// The objects to delete and create anew.
    pub replaced: Vec<Ident>,
}

/// The reason why a review block cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReviewError {
    /// Another version of the program wrote the block.
    #[error("the review block has version {0}, but this program reads version {VERSION}")]
    Version(u64),
    /// The block does not have the form of its version.
    #[error("the review block is malformed")]
    Malformed(#[source] serde_json::Error),
}

/// The form of the block.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    version: u64,
    deleted: Vec<Ident>,
    replaced: Vec<Ident>,
}

/// The version of a block of any version.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl Review {
    /// The review that a plan offers.
    pub(crate) fn of(plan: &Plan) -> Self {
        Self {
            deleted: plan.deletions().map(|change| change.ident.clone()).collect(),
            replaced: plan.replacements().map(|change| change.ident.clone()).collect(),
        }
    }

    /// Lists the keys of the objects to delete for good.
    pub(crate) fn deleted_keys(&self) -> impl Iterator<Item = ObjectKey> {
        self.deleted.iter().map(|ident| ident.key.clone())
    }

    /// Lists the keys of the objects to delete and create anew.
    pub(crate) fn replaced_keys(&self) -> impl Iterator<Item = ObjectKey> {
        self.replaced.iter().map(|ident| ident.key.clone())
    }
}

/// Writes a review as a block.
pub(crate) fn encode(review: &Review) -> Value {
    let Review { deleted, replaced } = review.clone();
    serde_json::to_value(Block { version: VERSION, deleted, replaced }).unwrap_or_default()
}

/// Reads a block.
///
/// # Errors
///
/// The block has another version or another form. Nothing in it then counts as reviewed.
pub(crate) fn decode(block: &Value) -> Result<Review, ReviewError> {
    let Versioned { version } = Versioned::deserialize(block).map_err(ReviewError::Malformed)?;
    if version != VERSION {
        return Err(ReviewError::Version(version));
    }
    let Block { deleted, replaced, .. } = Block::deserialize(block).map_err(ReviewError::Malformed)?;
    Ok(Review { deleted, replaced })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn idents() -> impl Strategy<Value = Vec<Ident>> {
        let name = "[a-z]([a-z0-9-]{0,8}[a-z0-9])?";
        let ident = (name, prop::option::of(name), prop::sample::select(vec!["", "apps"])).prop_map(
            |(name, namespace, group)| Ident {
                key: ObjectKey { group: group.into(), kind: "Deployment".into(), namespace, name },
                version: "v1".into(),
            },
        );
        prop::collection::vec(ident, 0..6)
    }

    proptest! {
        #[test]
        fn s4_a_review_is_read_as_it_was_written(deleted in idents(), replaced in idents()) {
            let review = Review { deleted, replaced };
            let text = encode(&review).to_string();
            prop_assert_eq!(decode(&serde_json::from_str(&text).unwrap()).unwrap(), review);
        }
    }

    #[test]
    fn s4_a_block_of_another_form_shows_nothing_and_says_why() {
        let ident = json!({"group": "", "version": "v1", "kind": "ConfigMap", "name": "a"});
        for (block, error) in [
            (json!({"version": 2, "deleted": [], "replaced": []}), "has version 2"),
            (json!({"deleted": [ident], "replaced": []}), "malformed"),
            (json!({"version": 1, "deleted": [ident]}), "malformed"),
            (json!({"version": 1, "deleted": [ident], "replaced": [], "more": 1}), "malformed"),
            (json!({"version": 1, "deleted": [{"kind": "ConfigMap"}], "replaced": []}), "malformed"),
            (json!({"version": 1, "deleted": ident, "replaced": []}), "malformed"),
            (json!("text"), "malformed"),
            (json!(null), "malformed"),
        ] {
            let found = decode(&block).unwrap_err().to_string();
            assert!(found.contains(error), "{block}: {found}");
        }
    }
}

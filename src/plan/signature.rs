//! The signed block of a plan's comment: what the plan deletes, replaces and adds, for whom and when.
//!
//! The block is one line of the letters of base64url and a dot, so it is inert in a comment. Its signature protects
//! against other comments and changed ones. It does not protect against someone who has the credentials of a plan,
//! because a plan reads the key to sign.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::name_set::{NameKey, NameSet};
use super::reviewed::Unseen;

/// The version of the block.
const VERSION: u64 = 2;

/// A key of a root for signing plans.
#[derive(Clone, Debug)]
pub(crate) struct SigningKey {
    sign: hmac::Key,
    names: NameKey,
}

impl SigningKey {
    /// Derives the key from a secret of the root.
    pub(crate) fn of(secret: &[u8]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"plan");
        Self { sign: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()), names: NameKey::of(secret) }
    }

    /// The key of the names in the sets.
    pub(crate) fn names(&self) -> &NameKey {
        &self.names
    }
}

/// What a plan is about. Only a plan about exactly this counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    /// The root.
    pub root: String,
    /// The uid of the Secret that holds the key. A cluster that was restored from a backup has another one.
    pub cluster: String,
    /// The name of the target.
    pub target: String,
    /// The number of the repository.
    pub repository: u64,
    /// The number of the pull request.
    pub pull: u64,
    /// The branch that the pull request is merged into.
    pub branch: String,
    /// The head of the pull request.
    pub head: String,
}

/// The signed statement of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// What the plan is about.
    pub about: About,
    /// The tree that the plan is of: the one that a merge makes.
    pub tree: String,
    /// The number of the workflow's run.
    pub run: u64,
    /// The attempt of the run.
    pub attempt: u64,
    /// The time of the signature, in seconds since 1970.
    pub time: i64,
    /// The objects that the plan deletes for good.
    pub deleted: NameSet,
    /// The objects that the plan deletes and creates anew.
    pub replaced: NameSet,
    /// The objects that the plan creates.
    pub added: NameSet,
}

/// The form of a statement.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u64,
    about: About,
    tree: String,
    run: u64,
    attempt: u64,
    time: i64,
    deleted: String,
    replaced: String,
    added: String,
}

/// Signs a statement. Returns the block.
pub(crate) fn sign(statement: &Statement, key: &SigningKey) -> String {
    let Statement { about, tree, run, attempt, time, deleted, replaced, added } = statement.clone();
    let set = |set: &NameSet| BASE64.encode(set.encode());
    let form = Form {
        version: VERSION,
        about,
        tree,
        run,
        attempt,
        time,
        deleted: set(&deleted),
        replaced: set(&replaced),
        added: set(&added),
    };
    // Serializing texts and numbers cannot fail. If it did, no reader would accept the block.
    let text = BASE64.encode(serde_json::to_vec(&form).unwrap_or_default());
    let tag = hmac::sign(&key.sign, text.as_bytes());
    format!("{text}.{}", BASE64.encode(tag))
}

/// Reads a block that was signed with one of the keys. Returns its statement, and the key.
///
/// # Errors
///
/// No key made the signature, or the block has another form. Nothing in it then counts as shown.
pub(crate) fn verify<'k>(block: &str, keys: &'k [SigningKey]) -> Result<(Statement, &'k SigningKey), Unseen> {
    let (text, tag) = block.rsplit_once('.').ok_or(Unseen::NotSigned)?;
    let tag = BASE64.decode(tag).map_err(|_| Unseen::NotSigned)?;
    let is_by = |key: &&SigningKey| hmac::verify(&key.sign, text.as_bytes(), &tag).is_ok();
    let key = keys.iter().find(is_by).ok_or(Unseen::WrongSignature)?;
    // The form is read only after the signature, so only a plan of this root wrote it.
    let statement = stated(text).ok_or(Unseen::WrongSignature)?;
    Ok((statement, key))
}

fn stated(text: &str) -> Option<Statement> {
    let form: Form = serde_json::from_slice(&BASE64.decode(text).ok()?).ok()?;
    let Form { version, about, tree, run, attempt, time, deleted, replaced, added } = form;
    let set = |text: &str| NameSet::decode(&BASE64.decode(text).ok()?).ok();
    let (deleted, replaced, added) = (set(&deleted)?, set(&replaced)?, set(&added)?);
    (version == VERSION).then_some(Statement { about, tree, run, attempt, time, deleted, replaced, added })
}

impl Statement {
    /// Checks that the plan counts for a merge. `merged` is what was merged, and `at` is the time of the merge, in
    /// seconds since 1970.
    ///
    /// # Errors
    ///
    /// The plan is about something else, or was signed after the merge.
    pub(crate) fn check(&self, merged: &About, at: i64) -> Result<(), Unseen> {
        let About { root, cluster, target, repository, pull, branch, head } = &self.about;
        if (root, cluster, target) != (&merged.root, &merged.cluster, &merged.target)
            || (repository, pull) != (&merged.repository, &merged.pull)
        {
            return Err(Unseen::WrongSignature);
        }
        if *branch != merged.branch {
            return Err(Unseen::OtherBranch(branch.clone()));
        }
        if *head != merged.head {
            return Err(Unseen::OtherHead { shown: head.clone(), merged: merged.head.clone() });
        }
        if self.time > at { Err(Unseen::SignedAfterMerge) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ident::ObjectKey;
    use proptest::prelude::*;

    fn name(number: usize) -> ObjectKey {
        ObjectKey { group: String::new(), kind: "Namespace".into(), namespace: None, name: format!("n{number}") }
    }

    fn about() -> About {
        About {
            root: "shop".into(),
            cluster: "6c1f".into(),
            target: "prod".into(),
            repository: 7,
            pull: 43,
            branch: "main".into(),
            head: "ea30397".into(),
        }
    }

    fn statement(key: &SigningKey) -> Statement {
        let names: Vec<ObjectKey> = (0..6).map(name).collect();
        Statement {
            about: about(),
            tree: "73a73bb".into(),
            run: 2,
            attempt: 1,
            time: 1_900_000_000,
            deleted: NameSet::of(&names[..3], key.names()),
            replaced: NameSet::of(&names[3..4], key.names()),
            added: NameSet::of(&names[4..], key.names()),
        }
    }

    #[test]
    fn a_statement_is_read_with_the_key_that_signed_it_or_an_older_one() {
        let (old, new) = (SigningKey::of(b"old"), SigningKey::of(b"new"));
        for key in [&old, &new] {
            let block = sign(&statement(key), key);
            assert!(block.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{block}");
            let keys = [new.clone(), old.clone()];
            let (read, by) = verify(&block, &keys).unwrap();
            assert_eq!(read, statement(key));
            assert!(read.deleted.contains(&name(0), by.names()) && !read.deleted.contains(&name(3), by.names()));
            assert_eq!(verify(&block, &[SigningKey::of(b"other")]).unwrap_err(), Unseen::WrongSignature);
        }
        assert_eq!(verify("", &[new.clone()]).unwrap_err(), Unseen::NotSigned);
        assert_eq!(verify("e30", &[new]).unwrap_err(), Unseen::NotSigned);
    }

    #[test]
    fn a_plan_about_something_else_or_after_the_merge_does_not_count() {
        let statement = statement(&SigningKey::of(b"key"));
        assert_eq!(statement.check(&about(), 1_900_000_000), Ok(()));
        assert_eq!(statement.check(&about(), 1_899_999_999), Err(Unseen::SignedAfterMerge));
        for (merged, why) in [
            (About { root: "x".into(), ..about() }, Unseen::WrongSignature),
            (About { cluster: "x".into(), ..about() }, Unseen::WrongSignature),
            (About { target: "x".into(), ..about() }, Unseen::WrongSignature),
            (About { repository: 8, ..about() }, Unseen::WrongSignature),
            (About { pull: 44, ..about() }, Unseen::WrongSignature),
            (About { branch: "next".into(), ..about() }, Unseen::OtherBranch("main".into())),
            (
                About { head: "f00".into(), ..about() },
                Unseen::OtherHead { shown: "ea30397".into(), merged: "f00".into() },
            ),
        ] {
            assert_eq!(statement.check(&merged, 1_900_000_001), Err(why), "{merged:?}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_block_is_refused(at in any::<prop::sample::Index>(), letter in "[A-Za-z0-9_.-]") {
            let key = SigningKey::of(b"key");
            let block = sign(&statement(&key), &key);
            let at = at.index(block.len());
            let changed = format!("{}{letter}{}", &block[..at], &block[at + 1..]);
            // The last letter of base64 has bits that stand for nothing, and the decoder refuses them too.
            prop_assume!(changed != block);
            prop_assert!(verify(&changed, &[key]).is_err(), "{}", changed);
        }

        #[test]
        fn any_text_is_refused(text in "\\PC{0,80}") {
            prop_assert!(verify(&text, &[SigningKey::of(b"key")]).is_err());
        }
    }
}

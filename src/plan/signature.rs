//! The signed block of a plan's comment: what the plan deletes and replaces, for whom and when.
//!
//! The block is one line of the letters of base64 and a dot, so it is inert in a comment. Its signature protects
//! against other comments and changed ones. It does not protect against someone who has the credentials of a plan,
//! because a plan reads the key to sign.
//!
//! A plan that goes into a comment of several is signed together with its visible texts. The job that makes that comment
//! has no key, and neither do the files that it reads. So only the texts that the plan made count as showing its deletions.
//!
//! A comment also has a seal: a signature of the run that wrote it. Without one, another workflow could claim to be a
//! later run, and the honest plan would stay silent.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ring::hmac;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::build::Plan;
use super::change::Change;
use super::consent::kept;
use super::decision::Action;
use super::name_set::{NameKey, NameSet};
use super::review::Unseen;
use crate::object::generated::any_generation;

/// The version of the block.
const VERSION: u64 = 2;

/// A key of a root for signing plans.
#[derive(Clone, Debug)]
pub(crate) struct SigningKey {
    sign: hmac::Key,
    seal: hmac::Key,
    names: NameKey,
}

impl SigningKey {
    /// Derives the key from a secret of the root.
    pub(crate) fn of(secret: &[u8]) -> Self {
        let secret_key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = |purpose: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret_key, purpose).as_ref());
        Self { sign: derived(b"plan"), seal: derived(b"seal"), names: NameKey::of(secret) }
    }

    /// The key of the names in the sets.
    pub(crate) fn names(&self) -> &NameKey {
        &self.names
    }
}

/// The keys of a root, and the cluster that they belong to.
#[derive(Clone, Debug)]
pub(crate) struct SigningKeys {
    /// The uid of the Secret that holds the keys. A cluster that was restored from a backup has another one.
    pub cluster: String,
    /// The current key first, then the previous one.
    pub keys: Vec<SigningKey>,
}

impl SigningKeys {
    /// Seals a text with the current key.
    pub(crate) fn seal(&self, text: &str) -> Option<String> {
        let key = self.keys.first()?;
        Some(BASE64.encode(hmac::sign(&key.seal, self.sealed(text).as_bytes())))
    }

    /// Returns `true` if one of the keys made the seal of the text.
    pub(crate) fn is_sealed(&self, text: &str, seal: &str) -> bool {
        let Ok(tag) = BASE64.decode(seal) else { return false };
        self.keys.iter().any(|key| hmac::verify(&key.seal, self.sealed(text).as_bytes(), &tag).is_ok())
    }

    fn sealed(&self, text: &str) -> String {
        format!("{}\n{text}", self.cluster)
    }
}

/// The subject of a plan. A plan counts only for exactly this subject.
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
    /// The subject of the plan.
    pub about: About,
    /// The tree that the plan is of: the one that a merge makes.
    pub tree: String,
    /// The number of the workflow's run.
    pub run: u64,
    /// The attempt of the run.
    pub attempt: u64,
    /// The time of the signature, in seconds since 1970.
    pub time: i64,
    /// The digest of the plan.
    pub digest: String,
    /// The objects that the plan deletes for good. A generated name counts without its hash, so a shown generation covers
    /// all others that no commit desires.
    pub deleted: NameSet,
    /// The objects that the plan deletes and creates anew.
    pub replaced: NameSet,
    /// The objects that the plan keeps and that a consent can be about, by group.
    pub kept: BTreeMap<String, NameSet>,
    /// The hashes of the texts that show the plan in a comment of several. A plan with its own comment has none.
    pub texts: Vec<String>,
}

/// The form of a statement without its sets.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u64,
    about: About,
    tree: String,
    run: u64,
    attempt: u64,
    time: i64,
    digest: String,
    kept: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    texts: Vec<String>,
}

/// Signs a statement. Returns the block.
pub(crate) fn sign(statement: &Statement, key: &SigningKey) -> String {
    let Statement { about, tree, run, attempt, time, digest, deleted, replaced, kept, texts } = statement.clone();
    let (groups, kept): (Vec<String>, Vec<NameSet>) = kept.into_iter().unzip();
    let form = Form { version: VERSION, about, tree, run, attempt, time, digest, kept: groups, texts };
    // Serializing texts and numbers cannot fail. If it did, no reader would accept the block.
    let mut bytes = Vec::new();
    let sets = [deleted, replaced].into_iter().chain(kept).map(|set| set.encode());
    for part in std::iter::once(serde_json::to_vec(&form).unwrap_or_default()).chain(sets) {
        bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(part);
    }
    let text = BASE64.encode(bytes);
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
    let statement = BASE64.decode(text).ok().and_then(|bytes| stated(&bytes)).ok_or(Unseen::WrongSignature)?;
    Ok((statement, key))
}

fn stated(mut bytes: &[u8]) -> Option<Statement> {
    let mut next = || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        bytes = rest;
        Some(part)
    };
    let Form { version, about, tree, run, attempt, time, digest, kept, texts } =
        serde_json::from_slice(next()?).ok()?;
    let mut set = || NameSet::decode(next()?).ok();
    let (deleted, replaced) = (set()?, set()?);
    let kept = kept.into_iter().map(|group| Some((group, set()?))).collect::<Option<BTreeMap<_, _>>>()?;
    let statement = Statement { about, tree, run, attempt, time, digest, deleted, replaced, kept, texts };
    (version == VERSION && bytes.is_empty()).then_some(statement)
}

/// The number of bytes of a hash of a text. A second text with the same hash needs 2^128 tries.
const HASH: usize = 16;

/// The largest number of names in a statement. More of them do not fit into a comment.
const MOST: usize = 10_000;

impl Statement {
    /// Returns the statement with the first `shown` of the plan's deletions and replacements, in this order. Deletions
    /// that an earlier change asked for are not the plan's own.
    #[must_use]
    pub(crate) fn showing(self, plan: &Plan, shown: usize, key: &NameKey) -> Self {
        let deletions = plan.deletions().chain(plan.replacements()).take(shown.min(MOST));
        let deletions = deletions.filter(|change| !plan.pending.contains(&change.ident.key));
        let (replaced, deleted): (Vec<&Change>, Vec<&Change>) =
            deletions.partition(|change| change.action() == Action::Replace);
        let mut left = MOST.saturating_sub(replaced.len() + deleted.len());
        // A group that does not fit is left out as a whole, so that a consent covers all of it or nothing.
        let mut kept = kept(plan, key);
        kept.retain(|_, set| {
            let fits = set.len() <= left;
            left -= if fits { set.len() } else { 0 };
            fits
        });
        let deleted = NameSet::of(deleted.iter().map(|change| any_generation(&change.ident.key)), key);
        let replaced = NameSet::of(replaced.iter().map(|change| &change.ident.key), key);
        Self { deleted, replaced, kept, ..self }
    }

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
            return Err(Unseen::OtherSubject);
        }
        if *branch != merged.branch {
            return Err(Unseen::OtherBranch(branch.clone()));
        }
        if *head != merged.head {
            return Err(Unseen::OtherHead { shown: head.clone(), merged: merged.head.clone() });
        }
        if self.time > at { Err(Unseen::SignedAfterMerge) } else { Ok(()) }
    }

    /// Checks that the comment shows the plan. `section` is its visible text in a comment of several, with the time of the
    /// last change of that comment. It is `None` if the plan has its own comment. `at` is the time of the merge.
    ///
    /// # Errors
    ///
    /// The comment of several shows another text than the plan signed, or was changed after the merge. The plan of a
    /// comment of several also does not count in a comment of its own, where its text would not be checked.
    pub(crate) fn check_shown(&self, section: Option<(&str, Option<i64>)>, at: i64) -> Result<(), Unseen> {
        match section {
            None if self.texts.is_empty() => Ok(()),
            Some((text, _)) if !self.texts.contains(&text_hash(text)) => Err(Unseen::OtherText),
            Some((_, updated)) if updated.is_none_or(|updated| updated > at) => Err(Unseen::ShownAfterMerge),
            Some(_) => Ok(()),
            None => Err(Unseen::OtherText),
        }
    }
}

/// Returns the hash of a text of a plan, without the white space around it. Line ends are as the forge makes them.
pub(crate) fn text_hash(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let hash = Sha256::digest(text.trim());
    hash.iter().take(HASH).map(|byte| format!("{byte:02x}")).collect()
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
            digest: "de000eb5".into(),
            kept: [("volume-deletion".to_owned(), NameSet::of(["x"], key.names()))].into(),
            texts: Vec::new(),
            deleted: NameSet::of(&names[..3], key.names()),
            replaced: NameSet::of(&names[3..4], key.names()),
        }
    }

    #[test]
    fn a_statement_is_read_with_the_key_that_signed_it_or_an_older_one() {
        let (old, new) = (SigningKey::of(b"old"), SigningKey::of(b"new"));
        for key in [&old, &new] {
            let block = sign(&statement(key), key);
            assert!(block.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/.".contains(&byte)), "{block}");
            let keys = [new.clone(), old.clone()];
            let (read, by) = verify(&block, &keys).unwrap();
            assert_eq!(read, statement(key));
            assert!(read.deleted.contains(&name(0), by.names()) && !read.deleted.contains(&name(3), by.names()));
            assert_eq!(verify(&block, &[SigningKey::of(b"other")]).unwrap_err(), Unseen::WrongSignature);
        }
        assert_eq!(verify("", std::slice::from_ref(&new)).unwrap_err(), Unseen::NotSigned);
        assert_eq!(verify("e30", &[new]).unwrap_err(), Unseen::NotSigned);
    }

    #[test]
    fn a_plan_about_something_else_or_after_the_merge_does_not_count() {
        let statement = statement(&SigningKey::of(b"key"));
        assert_eq!(statement.check(&about(), 1_900_000_000), Ok(()));
        assert_eq!(statement.check(&about(), 1_899_999_999), Err(Unseen::SignedAfterMerge));
        for (merged, why) in [
            (About { root: "x".into(), ..about() }, Unseen::OtherSubject),
            (About { cluster: "x".into(), ..about() }, Unseen::OtherSubject),
            (About { target: "x".into(), ..about() }, Unseen::OtherSubject),
            (About { repository: 8, ..about() }, Unseen::OtherSubject),
            (About { pull: 44, ..about() }, Unseen::OtherSubject),
            (About { branch: "next".into(), ..about() }, Unseen::OtherBranch("main".into())),
            (
                About { head: "f00".into(), ..about() },
                Unseen::OtherHead { shown: "ea30397".into(), merged: "f00".into() },
            ),
        ] {
            assert_eq!(statement.check(&merged, 1_900_000_001), Err(why), "{merged:?}");
        }
    }

    #[test]
    fn f17_a_plan_in_a_comment_of_several_counts_only_with_a_text_that_it_signed() {
        let key = SigningKey::of(b"key");
        let texts = vec![text_hash("## long\n\ntext"), text_hash("## short")];
        let block = sign(&Statement { texts, ..statement(&key) }, &key);
        let (read, _) = verify(&block, std::slice::from_ref(&key)).unwrap();
        for text in ["## long\n\ntext", "\r\n## long\r\n\r\ntext\r\n", "## short\n"] {
            assert_eq!(read.check_shown(Some((text, Some(7))), 7), Ok(()), "{text:?}");
            assert_eq!(read.check_shown(Some((text, Some(8))), 7), Err(Unseen::ShownAfterMerge), "{text:?}");
            assert_eq!(read.check_shown(Some((text, None)), 7), Err(Unseen::ShownAfterMerge), "{text:?}");
        }
        for text in ["", "## nothing to do", "## long\n\ntext.", "## long text", "## short\n\n## short"] {
            assert_eq!(read.check_shown(Some((text, Some(7))), 7), Err(Unseen::OtherText), "{text:?}");
        }
        assert_eq!(read.check_shown(None, 7), Err(Unseen::OtherText));
        // The plan of a comment of its own signs no text, so it does not count in a comment of several.
        assert_eq!(statement(&key).check_shown(None, 7), Ok(()));
        assert_eq!(statement(&key).check_shown(Some(("", Some(7))), 7), Err(Unseen::OtherText));
    }

    #[test]
    fn a_seal_holds_for_its_text_and_its_cluster() {
        let keys = |cluster: &str, secrets: &[&[u8]]| SigningKeys {
            cluster: cluster.to_owned(),
            keys: secrets.iter().map(|secret| SigningKey::of(secret)).collect(),
        };
        let old = keys("6c1f", &[b"old"]);
        let seal = old.seal("run 7").unwrap();
        assert!(old.is_sealed("run 7", &seal) && keys("6c1f", &[b"new", b"old"]).is_sealed("run 7", &seal));
        assert!(!old.is_sealed("run 8", &seal) && !keys("6c1f", &[b"new"]).is_sealed("run 7", &seal));
        assert!(!keys("other", &[b"old"]).is_sealed("run 7", &seal), "a restored backup is another cluster");
        assert!(!old.is_sealed("run 7", "") && !old.is_sealed("run 7", "--"));
        assert_eq!(keys("6c1f", &[]).seal("run 7"), None);
    }

    /// F13: the block of 10,000 deletions leaves room for text in a comment of 60,000 characters.
    #[test]
    fn f13_a_block_of_ten_thousand_names_fits_in_a_comment() {
        let key = SigningKey::of(b"key");
        let names: Vec<ObjectKey> = (0..10_000).map(name).collect();
        let block = sign(&Statement { deleted: NameSet::of(&names, key.names()), ..statement(&key) }, &key);
        assert!(block.len() < 50_000, "{}", block.len());
        let (read, by) = verify(&block, std::slice::from_ref(&key)).map(|(read, by)| (read, by.clone())).unwrap();
        assert!(names.iter().all(|name| read.deleted.contains(name, by.names())));
    }

    proptest! {
        #[test]
        fn a_changed_block_is_refused(at in any::<prop::sample::Index>(), letter in "[A-Za-z0-9+/.]") {
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

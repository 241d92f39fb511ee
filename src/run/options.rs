//! The options of a run as plain values. The command line and other callers produce them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::git::commit::Commit;
use crate::object::redact::Adopted;
use crate::plan::guard::Guard;
use crate::plan::policy::{Adoption, TakeOver};
use crate::project::path::ProjectPath;
use crate::project::pointer::Pointer;
use crate::project::tree::Cleanup;
use crate::state::provenance::Relocation;
use crate::state::target::Retarget;

/// The projects that a run covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScopeOptions {
    /// The projects to cover, with the projects below them. If empty, all projects.
    pub include: Vec<ProjectPath>,
    /// The projects to leave out, with the projects below them.
    pub exclude: Vec<ProjectPath>,
}

/// The parts of a plan that a run allows, refuses, hides or shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyOptions {
    /// The adoption of live objects that have no mark.
    pub adoption: Adoption,
    /// The roots and objects to take over.
    pub take_over: Vec<TakeOver>,
    /// The cleanup, if it is not the one of the root's settings.
    pub cleanup: Option<Cleanup>,
    /// The guards that are opened.
    pub allowed: BTreeSet<Guard>,
    /// The permission for a tree that comes from another place than the recorded one.
    pub relocation: Relocation,
    /// The permission for another target than the recorded one.
    pub retarget: Retarget,
    /// The pointers of more fields to hide.
    pub redact: Vec<Pointer>,
    /// The display of live values of objects that are about to be adopted.
    pub adopted: Adopted,
}

/// The refs whose commits are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppliedRef {
    /// A branch.
    Branch(String),
    /// The tags whose name matches this pattern.
    Tags(String),
}

/// A pattern of tags that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pattern of tags")]
pub struct InvalidTags(String);

impl AppliedRef {
    /// Returns the name of the branch, or `None` if tags are applied.
    pub fn branch(&self) -> Option<&str> {
        match self {
            Self::Branch(name) => Some(name),
            Self::Tags(_) => None,
        }
    }

    /// Returns `true` if the commits of a full ref, such as `refs/tags/v1.2`, are applied.
    pub fn covers(&self, full: &str) -> bool {
        match self {
            Self::Branch(name) => full.strip_prefix("refs/heads/") == Some(name),
            Self::Tags(pattern) => full
                .strip_prefix(TAGS)
                .is_some_and(|tag| tags(pattern).is_some_and(|pattern| pattern.compile_matcher().is_match(tag))),
        }
    }
}

/// The start of a full ref of a tag.
const TAGS: &str = "refs/tags/";

fn tags(pattern: &str) -> Option<globset::Glob> {
    globset::GlobBuilder::new(pattern).literal_separator(true).build().ok()
}

impl FromStr for AppliedRef {
    type Err = InvalidTags;

    /// Reads the name of a branch, or `refs/tags/` and a pattern in which `*` stands for any characters but `/`.
    fn from_str(text: &str) -> Result<Self, InvalidTags> {
        match text.strip_prefix(TAGS) {
            Some(pattern) if !pattern.is_empty() && tags(pattern).is_some() => Ok(Self::Tags(pattern.to_owned())),
            Some(_) => Err(InvalidTags(text.to_owned())),
            None => Ok(Self::Branch(text.strip_prefix("refs/heads/").unwrap_or(text).to_owned())),
        }
    }
}

impl fmt::Display for AppliedRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) => f.write_str(name),
            Self::Tags(pattern) => write!(f, "{TAGS}{pattern}"),
        }
    }
}

/// The commits that a run may apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HistoryOptions {
    /// The commits that are applied. If absent, those of the repository's default branch.
    pub applied: Option<AppliedRef>,
    /// The commit that is applied although it does not descend from the last applied commit.
    pub accepted: Option<Commit>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_a_branch_or_the_tags_of_a_pattern_are_applied() {
        for (named, full, expected) in [
            ("main", "refs/heads/main", true),
            ("refs/heads/main", "refs/heads/main", true),
            ("main", "refs/tags/main", false),
            ("main", "refs/heads/main2", false),
            ("refs/tags/v*", "refs/tags/v1.2", true),
            ("refs/tags/v*", "refs/tags/w1", false),
            ("refs/tags/v*", "refs/heads/v1", false),
            ("refs/tags/v*", "refs/tags/v1/x", false),
            ("refs/tags/shop/*", "refs/tags/shop/1", true),
            ("refs/tags/v1.2", "refs/tags/v1x2", false),
        ] {
            let applied: AppliedRef = named.parse().unwrap();
            assert_eq!(applied.covers(full), expected, "{named} {full}");
            assert_eq!(applied.to_string().parse(), Ok(applied));
        }
        for wrong in ["refs/tags/", "refs/tags/v[", "refs/tags/{a"] {
            assert_eq!(wrong.parse::<AppliedRef>(), Err(InvalidTags(wrong.to_owned())));
        }
    }
}

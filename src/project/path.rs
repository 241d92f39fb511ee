//! Dotted project names: `demo.api.frontend`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One part of a [`ProjectPath`]: `[A-Za-z0-9_-]+`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment(String);

/// The error of a text that is not a project name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a project name: write letters, digits, `_` and `-` only{}", .dotted)]
pub struct InvalidName {
    text: String,
    dotted: &'static str,
}

impl Segment {
    /// Parses one segment. A dot is an error, because dots separate segments.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if text.is_empty() || !text.chars().all(allowed) {
            return Err(InvalidName { text: text.to_owned(), dotted: "" });
        }
        Ok(Self(text.to_owned()))
    }

    /// The text of the segment.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The full name of a project, from the segment of its root to its own. It has at least one segment.
///
/// Names are ordered by their dotted text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectPath(String);

impl ProjectPath {
    /// Returns the root project with this segment.
    pub(crate) fn root_of(root: &Segment) -> Self {
        Self(root.0.clone())
    }

    /// Returns the project with this segment below this project.
    #[must_use]
    pub fn child(&self, segment: &Segment) -> Self {
        Self(format!("{}.{}", self.0, segment.0))
    }

    /// The first segment.
    pub fn root(&self) -> Segment {
        Segment(self.0.split('.').next().unwrap_or_default().to_owned())
    }

    /// Returns the project above this one. Returns `None` for a root.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('.').map(|(above, _)| Self(above.to_owned()))
    }

    /// Returns `true` if this is `ancestor` or a project below it. Only whole segments count: `demo.ab` is not below
    /// `demo.a`.
    pub(crate) fn is_within(&self, ancestor: &Self) -> bool {
        self.0.strip_prefix(&ancestor.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// Returns the name of this project after `from` was renamed to `to`. Returns `None` if this project is not within
    /// `from`.
    pub fn renamed(&self, from: &Self, to: &Self) -> Option<Self> {
        if !self.is_within(from) {
            return None;
        }
        self.0.strip_prefix(&from.0).map(|rest| Self(format!("{}{rest}", to.0)))
    }

    /// The name as dotted text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProjectPath {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.split('.').all(|part| Segment::new(part).is_ok()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName { text: text.to_owned(), dotted: ", dots between the segments" })
        }
    }
}

impl TryFrom<String> for ProjectPath {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ProjectPath> for String {
    fn from(path: ProjectPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ProjectPath {
        text.parse().unwrap()
    }

    #[test]
    fn within_compares_whole_segments() {
        assert!(path("demo.a.b").is_within(&path("demo.a")));
        assert!(path("demo.a").is_within(&path("demo.a")));
        assert!(!path("demo.ab").is_within(&path("demo.a")));
        assert!(!path("demo").is_within(&path("demo.a")));
    }

    #[test]
    fn o9_a_rename_takes_the_whole_sub_tree_by_whole_segments() {
        let renamed = |text: &str| path(text).renamed(&path("demo.a"), &path("demo.b")).map(String::from);
        assert_eq!(renamed("demo.a").as_deref(), Some("demo.b"));
        assert_eq!(renamed("demo.a.x.a").as_deref(), Some("demo.b.x.a"));
        for other in ["demo", "demo.ab", "demo.b.a", "demo.b"] {
            assert_eq!(renamed(other), None, "{other}");
        }
    }

    #[test]
    fn names_outside_the_syntax_are_refused() {
        for text in ["", ".", "a.", ".a", "a..b", "a b", "ä", "a/b", "a\n"] {
            assert!(text.parse::<ProjectPath>().is_err(), "{text:?}");
        }
        assert!(Segment::new("a.b").is_err());
    }

    #[test]
    fn parents_and_children_are_inverse() {
        let child = path("demo").child(&Segment::new("a").unwrap());
        assert_eq!(child.as_str(), "demo.a");
        assert_eq!(child.parent(), Some(path("demo")));
        assert_eq!(child.root().as_str(), "demo");
        assert_eq!(path("demo").parent(), None);
    }
}

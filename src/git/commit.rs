//! The names of commits, and the parents that a commit object names.

use std::fmt;
use std::str::FromStr;

/// The full name of a commit: 40 or 64 lowercase hexadecimal digits. Git cannot take it for an option or another
/// revision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit(String);

/// The error for a text that is not the full name of a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the full name of a commit")]
pub struct InvalidCommit(String);

impl Commit {
    /// Returns the full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first twelve digits, for display.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl FromStr for Commit {
    type Err = InvalidCommit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits && matches!(text.len(), 40 | 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidCommit(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the parents that a raw commit object names, in its order. Returns `None` if it is not a valid commit object.
pub(super) fn parents(object: &[u8]) -> Option<Vec<Commit>> {
    let mut lines = object.split(|byte| *byte == b'\n');
    lines.next().filter(|line| line.starts_with(b"tree "))?;
    let named = lines.map_while(|line| line.strip_prefix(b"parent "));
    named.map(|name| std::str::from_utf8(name).ok()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn only_full_names_are_commits() {
        assert_eq!(A.parse::<Commit>().unwrap().short(), "aaaaaaaaaaaa");
        assert!("0".repeat(64).parse::<Commit>().is_ok());
        for text in ["", "HEAD", "--all", "abc123", &A.to_uppercase(), &format!("{A}\n"), &format!("^{}", &A[1..])] {
            assert!(text.parse::<Commit>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn parents_are_read_from_the_header_and_never_from_the_message() {
        let b = A.replace('a', "b");
        let object = format!("tree {A}\nparent {b}\nparent {A}\nauthor x\n\nparent {A}\n");
        let names: Vec<_> = parents(object.as_bytes()).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, [b.as_str(), A]);
        assert_eq!(parents(format!("tree {A}\nauthor x\n\nparent {A}\n").as_bytes()), Some(Vec::new()));
        assert_eq!(parents(b"object x\n"), None);
        assert_eq!(parents(format!("tree {A}\nparent HEAD\n").as_bytes()), None);
    }
}

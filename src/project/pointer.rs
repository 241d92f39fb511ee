//! JSON pointers of the setting `redact`. A pointer that can never match a field is an error, because it would hide
//! nothing without a warning.

use std::fmt;
use std::str::FromStr;

/// One step of a pointer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// `*`: every field of an object, or every item of a list.
    Any,
    /// The field of this name. In a list, the name is the index of an item.
    Name(String),
}

impl Step {
    /// Returns the index in a list. Returns `None` for `*`, and for a name that is not a number.
    pub(crate) fn index(&self) -> Option<usize> {
        match self {
            Self::Any => None,
            Self::Name(name) => name.parse().ok(),
        }
    }
}

/// A JSON pointer (RFC 6901) with `*` for any field and any item: `/spec/users/*/token`.
///
/// **Invariant:** it has at least one step, and no step is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer {
    steps: Vec<Step>,
}

/// The reason why a text is not a pointer, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a JSON pointer: {remedy}")]
pub struct InvalidPointer {
    text: String,
    remedy: String,
}

impl Pointer {
    /// The steps, from the top of the object.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the pointer in the form in which paths are shown: `spec.users[*].token`.
    pub(crate) fn shown(&self) -> String {
        let mut shown = String::new();
        for step in &self.steps {
            match step {
                Step::Any => shown.push_str("[*]"),
                Step::Name(name) if step.index().is_some() => shown.push_str(&format!("[{name}]")),
                Step::Name(name) => shown.push_str(&format!(".{name}")),
            }
        }
        shown.trim_start_matches('.').to_owned()
    }
}

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |remedy: String| Err(InvalidPointer { text: text.to_owned(), remedy });
        let Some(tokens) = text.strip_prefix('/') else {
            let bare = text.trim_start_matches(['$', '#', '.', '/']);
            let steps = bare
                .replace(['.', '[', ']'], "/")
                .split('/')
                .filter(|step| !step.is_empty())
                .collect::<Vec<_>>()
                .join("/");
            let example = if steps.is_empty() { "spec/password" } else { &steps };
            return refused(format!("write it as /{example}"));
        };
        let mut steps = Vec::new();
        for token in tokens.split('/') {
            if token.is_empty() {
                return refused("it has an empty step, which names nothing: write it as /spec/password".to_owned());
            }
            if token.contains(['[', ']']) {
                return refused("write an item of a list as /0 or, for every item, as /*".to_owned());
            }
            let bad_escape = token.split('~').skip(1).any(|after| !after.starts_with(['0', '1']));
            if bad_escape {
                return refused("write a ~ in a name as ~0, a / as ~1".to_owned());
            }
            steps.push(match token {
                "*" => Step::Any,
                name => Step::Name(name.replace("~1", "/").replace("~0", "~")),
            });
        }
        let is = |at: usize, name: &str| steps.get(at) == Some(&Step::Name(name.to_owned()));
        if is(0, "metadata") && (is(1, "annotations") || is(1, "labels")) && steps.len() > 3 {
            let map = tokens.split('/').nth(1).unwrap_or_default();
            let name = tokens.split('/').skip(2).collect::<Vec<_>>().join("~1");
            return refused(format!("write the / of a name as ~1: /metadata/{map}/{name}"));
        }
        Ok(Self { steps })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            match step {
                Step::Any => f.write_str("/*")?,
                Step::Name(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1"))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x6_what_is_no_pointer_is_refused_with_what_to_write() {
        for (text, remedy) in [
            ("data.password", "write it as /data/password"),
            ("data/password", "write it as /data/password"),
            ("$.spec.users[0].token", "write it as /spec/users/0/token"),
            ("#/spec/password", "write it as /spec/password"),
            ("", "write it as /spec/password"),
            ("password", "write it as /password"),
            ("/", "an empty step"),
            ("/spec//password", "an empty step"),
            ("/spec/password/", "an empty step"),
            ("/spec/users[0]/token", "as /0 or, for every item, as /*"),
            ("/spec/a~b", "write a ~ in a name as ~0"),
            ("/spec/a~", "write a ~ in a name as ~0"),
            ("/metadata/annotations/shop.dev/token", "/metadata/annotations/shop.dev~1token"),
            ("/metadata/labels/a/b/c", "/metadata/labels/a~1b~1c"),
        ] {
            let error = text.parse::<Pointer>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is not")) && error.contains(remedy), "{text}: {error}");
        }
    }

    #[test]
    fn pointers_are_read_written_and_shown() {
        for (text, shown) in [
            ("/spec/password", "spec.password"),
            ("/spec/users/*/token", "spec.users[*].token"),
            ("/spec/env/0/value", "spec.env[0].value"),
            ("/metadata/annotations/shop.dev~1token", "metadata.annotations.shop.dev/token"),
            ("/data/a~0b", "data.a~b"),
        ] {
            let pointer: Pointer = text.parse().unwrap();
            assert_eq!((pointer.to_string().as_str(), pointer.shown().as_str()), (text, shown));
        }
    }
}

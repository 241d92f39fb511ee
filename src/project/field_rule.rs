//! The rules of the root for fields that other managers set: leave the field to them, or take it.

use std::fmt;

/// The treatment of a field that another manager sets too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum FieldPolicy {
    /// ktor neither sends nor compares the field.
    Leave,
    /// ktor takes the field from the other managers.
    Force,
}

/// A rule for fields of some kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// The kinds that the rule applies to.
    pub kinds: Vec<KindPattern>,
    /// The fields.
    pub pointers: Vec<FieldPointer>,
    /// The treatment of the fields.
    pub policy: FieldPolicy,
}

impl fmt::Display for FieldRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = |texts: &mut dyn Iterator<Item = String>| texts.collect::<Vec<_>>().join(" ");
        let pointers = texts(&mut self.pointers.iter().map(ToString::to_string));
        let kinds = texts(&mut self.kinds.iter().map(ToString::to_string));
        let policy = match self.policy {
            FieldPolicy::Leave => "left",
            FieldPolicy::Force => "forced",
        };
        write!(f, "{pointers} of {kinds} {policy}")
    }
}

/// A kind: `Deployment` of any group, `apps/Deployment`, or `*` for every kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindPattern {
    group: Option<String>,
    kind: Option<String>,
}

impl KindPattern {
    /// Parses a pattern. Returns `None` if the text is not one.
    #[must_use]
    pub(crate) fn new(text: &str) -> Option<Self> {
        let is_word = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '/');
        match text.rsplit_once('/') {
            None if text == "*" => Some(Self { group: None, kind: None }),
            None => is_word(text).then(|| Self { group: None, kind: Some(text.to_owned()) }),
            Some((group, kind)) if is_word(group) && is_word(kind) => {
                let kind = (kind != "*").then(|| kind.to_owned());
                Some(Self { group: Some(group.to_owned()), kind })
            }
            Some(_) => None,
        }
    }

    /// Returns `true` if the pattern matches a kind.
    #[must_use]
    pub(crate) fn matches(&self, group: &str, kind: &str) -> bool {
        self.group.as_deref().is_none_or(|wanted| wanted == group)
            && self.kind.as_deref().is_none_or(|wanted| wanted == kind)
    }
}

impl fmt::Display for KindPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(group) = &self.group {
            write!(f, "{group}/")?;
        }
        f.write_str(self.kind.as_deref().unwrap_or("*"))
    }
}

/// A JSON pointer to a field. `*` stands for every item of a list and every key of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPointer(Vec<String>);

impl FieldPointer {
    /// Parses a pointer. The error is the reason and the correction.
    ///
    /// # Errors
    ///
    /// The text is not a pointer, or it points to a field that every object needs.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
            return Err(format!("{text:?} is not a JSON pointer: write it as /spec/replicas"));
        };
        let tokens: Vec<String> = rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
        if tokens.iter().any(String::is_empty) {
            return Err(format!("{text:?} is not a JSON pointer: write it as /spec/replicas"));
        }
        let first: Vec<&str> = tokens.iter().map(String::as_str).take(2).collect();
        if matches!(
            first.as_slice(),
            ["apiVersion" | "kind" | "*", ..] | ["metadata"] | ["metadata", "name" | "namespace" | "*"]
        ) {
            return Err(format!("{text} is a part of every object: name a field of its own"));
        }
        Ok(Self(tokens))
    }

    /// The names of the fields on the path, from the top of the object.
    #[must_use]
    pub(crate) fn tokens(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for FieldPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a3_pointers_name_a_field_of_an_object_and_not_the_object() {
        for text in
            ["/spec/replicas", "/spec/template/spec/containers/*/image", "/metadata/annotations/a~1b", "/data/*"]
        {
            assert_eq!(FieldPointer::new(text).unwrap().to_string(), text);
        }
        for text in ["", "/", "spec/replicas", "/spec//x", "/kind", "/metadata", "/metadata/name", "/*", "/metadata/*"]
        {
            assert!(FieldPointer::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a3_kinds_are_named_with_or_without_their_group() {
        for (pattern, deployment, service) in [
            ("*", true, true),
            ("Deployment", true, false),
            ("apps/Deployment", true, false),
            ("apps/*", true, false),
            ("batch/Deployment", false, false),
        ] {
            let pattern = KindPattern::new(pattern).unwrap();
            assert_eq!(
                (pattern.matches("apps", "Deployment"), pattern.matches("", "Service")),
                (deployment, service),
                "{pattern}"
            );
        }
        for text in ["", "a b", "/Deployment", "apps/", "a/b/C"] {
            assert_eq!(KindPattern::new(text), None, "{text}");
        }
    }
}

//! The rules of Kubernetes for names of objects, namespaces, groups, versions, kinds and plurals.
//!
//! A text that passes a rule is a valid segment of a URL path, and can be recorded in the state and read back. The
//! rules for built-in kinds are those of the API server, so no valid name is refused. For all other kinds, the name
//! only has to be one path segment.

use std::fmt;

use serde_json::Value;

use super::ident::{Ident, ObjectKey};
use crate::project::dns;

/// The longest name that can be recorded. The API server allows 253 bytes for most built-in kinds.
const LONGEST_SEGMENT: usize = 1024;

/// The words that have another meaning for the API server at the position of a plural in a path.
pub(crate) const RESERVED_PLURALS: [&str; 2] = ["proxy", "watch"];

/// The required form of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// One segment of a URL path: any text of at most 1024 bytes without `/`, `%` and control characters, except `.`
    /// and `..`.
    Segment,
    /// A DNS subdomain.
    Subdomain,
    /// A DNS label.
    Label,
    /// A DNS label that begins with a letter.
    LetteredLabel,
    /// A DNS label that begins with a letter and has no other meaning for the API server at the position of a plural in
    /// a path.
    Plural,
    /// A kind: a letter, followed by letters, digits, `-` and `_`.
    Kind,
}

impl Rule {
    /// Returns `true` if the text follows the rule.
    pub fn allows(self, text: &str) -> bool {
        match self {
            Self::Segment => {
                let inert = |c: char| c != '/' && c != '%' && !c.is_control();
                !matches!(text, "" | "." | "..") && text.len() <= LONGEST_SEGMENT && text.chars().all(inert)
            }
            Self::Subdomain => dns::is_subdomain(text),
            Self::Label => dns::is_label(text),
            Self::LetteredLabel => dns::is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase()),
            Self::Plural => Self::LetteredLabel.allows(text) && !RESERVED_PLURALS.contains(&text),
            Self::Kind => {
                let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                text.len() <= dns::LONGEST_SUBDOMAIN
                    && text.starts_with(|c: char| c.is_ascii_alphabetic())
                    && text.bytes().all(inner)
            }
        }
    }

    /// The advice for a text that does not follow the rule.
    fn advice(self) -> &'static str {
        match self {
            Self::Segment => "write a name without `/`, `%` and control characters, of at most 1024 bytes",
            Self::Subdomain => {
                "write lower-case letters, digits, `-` and `.`, with a letter or digit at both ends of every part \
                 (at most 253 characters)"
            }
            Self::Label => dns::LABEL_ADVICE,
            Self::LetteredLabel | Self::Plural => {
                "write lower-case letters, digits and `-`, a letter first and no `-` last (at most 63 characters)"
            }
            Self::Kind => "write a letter, then letters, digits, `-` and `_`",
        }
    }

    /// Checks the text of a field.
    ///
    /// # Errors
    ///
    /// The text does not follow the rule. The error names the field and the text, and says what to write instead.
    pub fn check(self, field: &str, text: &str) -> Result<(), InvalidText> {
        if self.allows(text) {
            Ok(())
        } else {
            Err(InvalidText { field: field.to_owned(), text: text.chars().take(80).collect(), rule: self })
        }
    }
}

/// The error for a text that is not valid in its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidText {
    field: String,
    text: String,
    rule: Rule,
}

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` cannot be {:?}: {}", self.field, self.text, self.rule.advice())
    }
}

/// The built-in kinds whose names are DNS subdomains, by group.
const SUBDOMAINS: &[(&str, &str)] = &[
    (
        "",
        "ConfigMap Endpoints LimitRange Node PersistentVolume PersistentVolumeClaim Pod PodTemplate \
         ReplicationController ResourceQuota Secret ServiceAccount",
    ),
    ("apps", "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet"),
    ("batch", "CronJob Job"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("networking.k8s.io", "Ingress IngressClass NetworkPolicy"),
    ("storage.k8s.io", "StorageClass"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("coordination.k8s.io", "Lease"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration ValidatingWebhookConfiguration"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema PriorityLevelConfiguration"),
];

/// The rule for the name of an object of this group and kind.
pub fn rule_of(group: &str, kind: &str) -> Rule {
    match (group, kind) {
        ("", "Namespace" | "Service") => Rule::Label,
        _ => {
            let is_listed =
                |(of, kinds): &(&str, &str)| *of == group && kinds.split_whitespace().any(|one| one == kind);
            if SUBDOMAINS.iter().any(is_listed) { Rule::Subdomain } else { Rule::Segment }
        }
    }
}

/// Checks the group, version, kind, name and namespace of a manifest.
///
/// # Errors
///
/// The first part that no API server accepts.
pub fn check(ident: &Ident) -> Result<(), InvalidText> {
    let Ident { key: ObjectKey { group, kind, namespace, name }, version } = ident;
    if !group.is_empty() {
        Rule::Subdomain.check("apiVersion", group)?;
    }
    Rule::LetteredLabel.check("apiVersion", version)?;
    Rule::Kind.check("kind", kind)?;
    rule_of(group, kind).check("metadata.name", name)?;
    namespace.as_deref().map_or(Ok(()), |namespace| Rule::Label.check("metadata.namespace", namespace))
}

/// Checks the names in a CRD, because they become parts of URL paths.
///
/// # Errors
///
/// The first name that no API server accepts. A name that is missing or is not a string is not an error here, because
/// the API server refuses it.
pub(crate) fn check_definition(definition: &Value) -> Result<(), InvalidText> {
    for (pointer, field, rule) in [
        ("/spec/group", "spec.group", Rule::Subdomain),
        ("/spec/names/plural", "spec.names.plural", Rule::Plural),
        ("/spec/names/kind", "spec.names.kind", Rule::Kind),
    ] {
        if let Some(text) = definition.pointer(pointer).and_then(Value::as_str) {
            rule.check(field, text)?;
        }
    }
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
    let names = versions.into_iter().flatten().filter_map(|version| version.get("name")?.as_str());
    for name in names {
        Rule::LetteredLabel.check("spec.versions.name", name)?;
    }
    Ok(())
}

impl Ident {
    /// Returns `true` if an API server can have such an object, because each part is a valid segment of a URL path.
    pub(crate) fn is_possible(&self) -> bool {
        let is_segment = |text: &str| Rule::Segment.allows(text);
        let ObjectKey { group, kind, namespace, name } = &self.key;
        (group.is_empty() || is_segment(group))
            && namespace.as_deref().is_none_or(is_segment)
            && [kind, name, &self.version].into_iter().all(|text| is_segment(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x2_each_rule_allows_what_the_server_allows_and_no_more() {
        let long = "a".repeat(64);
        for (text, segment, subdomain, label, lettered, kind) in [
            ("web", true, true, true, true, true),
            ("Web", true, false, false, false, true),
            ("web-1", true, true, true, true, true),
            ("1web", true, true, true, false, false),
            ("-web", true, false, false, false, false),
            ("web-", true, false, false, false, true),
            ("a.b", true, true, false, false, false),
            ("a..b", true, false, false, false, false),
            (".", false, false, false, false, false),
            ("..", false, false, false, false, false),
            ("...", true, false, false, false, false),
            ("", false, false, false, false, false),
            ("a/b", false, false, false, false, false),
            ("a%2fb", false, false, false, false, false),
            ("a\nb", false, false, false, false, false),
            ("a\u{85}b", false, false, false, false, false),
            ("system:node", true, false, false, false, false),
            ("a b?c#d&e", true, false, false, false, false),
            ("ü", true, false, false, false, false),
            ("a_b", true, false, false, false, true),
            (&long, true, true, false, false, true),
            (&"a".repeat(254), true, false, false, false, false),
            (&"a".repeat(1025), false, false, false, false, false),
        ] {
            let rules = [Rule::Segment, Rule::Subdomain, Rule::Label, Rule::LetteredLabel, Rule::Kind];
            let found = rules.map(|rule| rule.allows(text));
            assert_eq!(found, [segment, subdomain, label, lettered, kind], "{text:?}");
        }
    }

    #[test]
    fn x2_a_name_is_judged_by_its_kind() {
        for (plural, expected) in [("tills", true), ("status", true), ("watch", false), ("proxy", false), ("1s", false)]
        {
            assert_eq!(Rule::Plural.allows(plural), expected, "{plural}");
        }
        assert_eq!(rule_of("", "ConfigMap"), Rule::Subdomain);
        assert_eq!(rule_of("", "Namespace"), Rule::Label);
        assert_eq!(rule_of("rbac.authorization.k8s.io", "ClusterRole"), Rule::Segment);
        assert_eq!(rule_of("shop.dev", "ConfigMap"), Rule::Segment);
        let error = rule_of("", "Secret").check("metadata.name", "Team/Web").unwrap_err().to_string();
        assert!(error.starts_with("`metadata.name` cannot be \"Team/Web\": write lower-case letters"), "{error}");
    }
}

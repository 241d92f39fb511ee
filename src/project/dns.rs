//! The DNS names that Kubernetes requires for namespaces, groups and most objects.

/// The maximum length of a label.
pub(crate) const LONGEST_LABEL: usize = 63;
/// The maximum length of a subdomain.
pub(crate) const LONGEST_SUBDOMAIN: usize = 253;

/// The advice for a text that is not a label.
pub(crate) const LABEL_ADVICE: &str =
    "write lower-case letters, digits and `-`, with a letter or digit at both ends (at most 63 characters)";

/// Returns `true` for a DNS label: lower-case letters, digits, and hyphens that are not at its ends.
pub(crate) fn is_label(text: &str) -> bool {
    text.len() <= LONGEST_LABEL && is_part(text)
}

/// Returns `true` for a DNS subdomain: labels joined by dots.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= LONGEST_SUBDOMAIN && text.split('.').all(is_part)
}

fn is_part(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(inner)
}

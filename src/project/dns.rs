//! DNS names as Kubernetes wants them of namespaces, groups and most objects.

/// The longest label.
pub(crate) const LONGEST_LABEL: usize = 63;
/// The longest subdomain.
pub(crate) const LONGEST_SUBDOMAIN: usize = 253;

/// The advice where a label is wanted.
pub(crate) const LABEL_ADVICE: &str =
    "write lower-case letters, digits and `-`, with a letter or digit at both ends (at most 63 characters)";

/// Says whether a text is a DNS label: lower-case letters, digits and inner hyphens.
pub(crate) fn is_label(text: &str) -> bool {
    text.len() <= LONGEST_LABEL && is_part(text)
}

/// Says whether a text is a DNS subdomain: parts like labels, joined by dots.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= LONGEST_SUBDOMAIN && text.split('.').all(is_part)
}

fn is_part(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(inner)
}

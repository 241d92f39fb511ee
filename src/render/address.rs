//! The addresses that charts are fetched from: HTTPS, or HTTP to this machine itself, without credentials.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

/// The maximum length of an address.
const LONGEST: usize = 2_000;

/// An absolute address, without a user and without a fragment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    text: String,
    /// The length of the scheme, the host and the port.
    origin: usize,
}

/// The reason why a text is not an address that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// The text is not an address.
    #[error("is not an address: write it as in https://charts.example.org")]
    Malformed,
    /// The address has credentials, which must not stand in a tree.
    #[error("has credentials: write it without them, and keep them in Helm's own configuration")]
    Credentials,
    /// The address is not encrypted.
    #[error("is not an https address: use one (http is for this machine only)")]
    Unencrypted,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// The text is not an absolute address, its scheme is not `https`, or it has credentials.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        let is_plain = |c: char| c.is_ascii_graphic() && !"\\\"'<>`{}|^".contains(c);
        if text.len() > LONGEST || !text.chars().all(is_plain) {
            return Err(AddressError::Malformed);
        }
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Malformed)?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(AddressError::Credentials);
        }
        let origin = format!("{}://{}", scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
        let uri: Uri = format!("{origin}{path}").parse().map_err(|_| AddressError::Malformed)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(AddressError::Malformed)?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(host) => {}
            _ => return Err(AddressError::Unencrypted),
        }
        Ok(Self { text: format!("{origin}{path}"), origin: origin.len() })
    }

    /// The address as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme, the host and the port.
    pub(crate) fn origin(&self) -> &str {
        &self.text[..self.origin]
    }

    /// The host and the port.
    pub(crate) fn authority(&self) -> &str {
        self.origin().split_once("://").map_or("", |(_, authority)| authority)
    }

    /// The host.
    pub(crate) fn host(&self) -> &str {
        let authority = self.authority();
        let port = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
        &authority[..port.unwrap_or(authority.len())]
    }

    /// Returns the address of a reference in a document at this address.
    ///
    /// # Errors
    ///
    /// The result cannot be used.
    pub(crate) fn join(&self, reference: &str) -> Result<Self, AddressError> {
        let path = &self.text[self.origin..];
        let path = path.split('?').next().unwrap_or_default();
        let scheme = self.text.split("//").next().unwrap_or_default();
        if reference.contains("://") {
            Self::parse(reference)
        } else if reference.starts_with("//") {
            Self::parse(&format!("{scheme}{reference}"))
        } else if reference.starts_with('/') {
            Self::parse(&format!("{}{reference}", self.origin()))
        } else {
            let directory = path.rfind('/').map_or("/", |at| &path[..=at]);
            Self::parse(&format!("{}{directory}{reference}", self.origin()))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query can be a signature, which is as good as a password.
        f.write_str(self.text.split('?').next().unwrap_or_default())
    }
}

/// Returns `true` if a host, without a port, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k7_only_encrypted_addresses_without_credentials_are_used() {
        for (text, expected) in [
            ("https://Charts.Example/x?a=b#c", Ok("https://charts.example/x?a=b")),
            ("HTTPS://a.b:8443", Ok("https://a.b:8443")),
            ("http://127.0.0.1:80/x", Ok("http://127.0.0.1:80/x")),
            ("http://[::1]:80/x", Ok("http://[::1]:80/x")),
            ("http://localhost/x", Ok("http://localhost/x")),
            ("http://localhost.example/x", Err(AddressError::Unencrypted)),
            ("http://a/x", Err(AddressError::Unencrypted)),
            ("file:///etc/passwd", Err(AddressError::Malformed)),
            ("ftp://a/x", Err(AddressError::Unencrypted)),
            ("https://user:secret@a/x", Err(AddressError::Credentials)),
            ("https://a@127.0.0.1/x", Err(AddressError::Credentials)),
            ("https:///x", Err(AddressError::Malformed)),
            ("https://", Err(AddressError::Malformed)),
            ("a/b", Err(AddressError::Malformed)),
            ("https://a/\u{0}", Err(AddressError::Malformed)),
            ("https://a/ b", Err(AddressError::Malformed)),
            ("https://a\\@b/", Err(AddressError::Malformed)),
        ] {
            let found = Address::parse(text);
            assert_eq!(found.as_ref().map(Address::as_str).map_err(|error| *error), expected, "{text}");
        }
        let long = format!("https://a/{}", "x".repeat(LONGEST));
        assert_eq!(Address::parse(&long), Err(AddressError::Malformed));
    }

    #[test]
    fn k7_references_are_relative_to_their_document_and_shown_without_a_query() {
        let base = Address::parse("https://a.b:1/c/index.yaml?token=t").unwrap();
        for (reference, expected) in [
            ("x.tgz", "https://a.b:1/c/x.tgz"),
            ("/x.tgz", "https://a.b:1/x.tgz"),
            ("//d/x.tgz", "https://d/x.tgz"),
            ("https://d/x.tgz", "https://d/x.tgz"),
        ] {
            assert_eq!(base.join(reference).unwrap().as_str(), expected);
        }
        assert_eq!(base.join("http://d/x"), Err(AddressError::Unencrypted));
        assert_eq!(base.to_string(), "https://a.b:1/c/index.yaml");
        assert_eq!((base.origin(), base.authority(), base.host()), ("https://a.b:1", "a.b:1", "a.b"));
        assert_eq!(Address::parse("https://a").unwrap().join("x").unwrap().as_str(), "https://a/x");
        assert_eq!(Address::parse("http://[::1]:3/a").unwrap().host(), "[::1]");
        assert_eq!(Address::parse("http://[::1]/a").unwrap().host(), "[::1]");
    }
}

//! The identity of an API server, which tells one cluster from another without naming either.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// A namespace that every cluster has, and that nobody can delete. Its uid is the closest thing to a name of a cluster.
pub(super) const ETERNAL: &str = "kube-system";

/// The number of bytes of a hash.
const HASH: usize = 16;

/// The identity of an API server, as hashes. Its text has only hexadecimal digits and one dot.
///
/// One server can have several addresses, for example one inside of the cluster and one outside of it. So the address
/// counts only if one of two identities lacks the uid, because its user may not read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerIdentity {
    /// The hash of the uid of `kube-system`.
    uid: Option<String>,
    /// The hash of the address and of the certificates that the server's own certificate is checked against.
    address: String,
}

impl ServerIdentity {
    /// Makes an identity from the uid, if the user may read it, and from the hash that [`address`] returns.
    pub(super) fn new(uid: Option<&str>, address: &str) -> Self {
        let uid = uid.filter(|uid| !uid.is_empty()).map(|uid| hash([uid.as_bytes()]));
        Self { uid, address: address.to_owned() }
    }

    /// Returns `true` if two identities are those of one server, as far as can be told.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (uid, address) = (&other.uid, &other.address);
        match (&self.uid, uid) {
            (Some(one), Some(other)) => one == other,
            _ => self.address == *address,
        }
    }
}

impl fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.uid.as_deref().unwrap_or_default(), self.address)
    }
}

impl FromStr for ServerIdentity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hash = |text: &str| text.len() == 2 * HASH && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (uid, address) = text.split_once('.').ok_or(())?;
        let uid = Some(uid.to_owned()).filter(|uid| !uid.is_empty());
        if !is_hash(address) || uid.as_ref().is_some_and(|uid| !is_hash(uid)) {
            return Err(());
        }
        Ok(Self { uid, address: address.to_owned() })
    }
}

/// Returns the hash of an address and of certificates.
pub(super) fn address(server: &str, certificates: &[Vec<u8>]) -> String {
    hash(std::iter::once(server.as_bytes()).chain(certificates.iter().map(Vec::as_slice)))
}

fn hash<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The lengths keep the parts apart.
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(HASH).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(uid: Option<&str>, server: &str) -> ServerIdentity {
        ServerIdentity::new(uid, &address(server, &[b"ca".to_vec()]))
    }

    #[test]
    fn f16_a_server_is_known_by_its_uid_and_else_by_its_address() {
        for (one, other, is_same) in [
            (identity(Some("a"), "https://x"), identity(Some("a"), "https://x"), true),
            (identity(Some("a"), "https://x"), identity(Some("a"), "https://kubernetes.default.svc"), true),
            (identity(Some("a"), "https://x"), identity(Some("b"), "https://x"), false),
            (identity(None, "https://x"), identity(Some("b"), "https://x"), true),
            (identity(Some("a"), "https://x"), identity(None, "https://y"), false),
            (identity(None, "https://x"), identity(None, "https://y"), false),
        ] {
            assert_eq!((one.is_same(&other), other.is_same(&one)), (is_same, is_same), "{one} {other}");
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        assert_ne!(address("https://x", &[b"ca".to_vec()]), address("https://x", &[b"other".to_vec()]));
        assert_ne!(address("https://x", &[b"ab".to_vec()]), address("https://x", &[b"a".to_vec(), b"b".to_vec()]));
    }

    #[test]
    fn f16_other_texts_are_no_identity() {
        let hash = "0".repeat(32);
        for text in ["", ".", "x", &hash, &format!("{hash}."), &format!("x.{hash}"), &format!(".{hash}0"), "a.b.c"] {
            assert_eq!(text.parse::<ServerIdentity>(), Err(()), "{text}");
        }
    }
}

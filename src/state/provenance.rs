//! The repository and the directory that a root's tree comes from, as they are recorded.
//!
//! If two repositories, or two directories of one repository, name the same root, they would delete each other's
//! objects in turn. Therefore the place that the tree comes from is recorded beside the state. A run with a tree from
//! another place is refused, until a person says that the tree moved.
//!
//! **Invariant:** only the host and the path of a remote's address are kept here. The user, the password, the token and
//! the query of an address are never kept.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The annotation with the repository and the directory of the root's tree.
pub(crate) const SOURCE_ANNOTATION: &str = "kubernator.io/ktor-source";

/// The separator between the repository and the directory. No repository name contains it.
const SEPARATOR: &str = "//";
/// The largest length of a repository or a directory, in bytes, that is recorded.
const LONGEST: usize = 4096;

/// The name of a repository: its host and its path, such as `github.com/acme/shop`. All addresses of one repository
/// give the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RepositoryName(String);

impl RepositoryName {
    /// Parses the address of a remote, which is a URL or `user@host:path`. Returns `None` if it does not name a host
    /// that other machines know by that name: it is a local path, a name that only the configuration of this machine
    /// explains, or not an address.
    pub(crate) fn of_address(address: &str) -> Option<Self> {
        let (authority, path) = match address.split_once("://") {
            Some((scheme, rest)) => {
                let is_known = ["https", "http", "ssh", "git", "git+ssh", "ssh+git"]
                    .iter()
                    .any(|known| scheme.eq_ignore_ascii_case(known));
                let rest = if is_known { rest } else { return None };
                rest.split_once('/')?
            }
            // Git takes an address with a slash before the colon for a path.
            None => address.split_once(':').filter(|(host, _)| !host.contains('/'))?,
        };
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = match host_and_port.split_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            Some(_) => return None,
            None => host_and_port,
        };
        // If a password contains an unescaped slash, `?` or `#`, the rest of the password looks like a path.
        if path.contains('@') {
            return None;
        }
        let path = path.split(['?', '#']).next().unwrap_or_default();
        Self::of(host, path)
    }

    /// Returns the name of a repository on a forge, given the address of the forge's web interface.
    pub(crate) fn of_forge(server: &str, owner: &str, name: &str) -> Option<Self> {
        Self::of_address(&format!("{}/{owner}/{name}", server.trim_end_matches('/')))
    }

    /// Returns the normalized name of a repository, or `None` if the host or the path is not valid. Ports and letter
    /// case do not tell repositories apart.
    fn of(host: &str, path: &str) -> Option<Self> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        // Forges use these prefixes for the same host, for example for SSH on the HTTPS port.
        let known = ["ssh.", "altssh.", "www."].iter().find_map(|part| host.strip_prefix(part));
        let host = known.filter(|rest| rest.contains('.')).unwrap_or(&host);
        let path = path.to_ascii_lowercase();
        let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        if let Some(last) = segments.last_mut() {
            *last = last.strip_suffix(".git").unwrap_or(last);
        }
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' || byte == b'_';
        let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~+%".contains(&byte);
        let is_segment =
            |segment: &&str| !segment.is_empty() && !matches!(*segment, "." | "..") && segment.bytes().all(is_path);
        // A host name without a dot is known only to this machine or its network.
        let is_sound = host.contains('.')
            && host.bytes().all(is_host)
            && !host.split('.').any(str::is_empty)
            && !segments.is_empty()
            && segments.iter().all(is_segment);
        let name = format!("{host}/{}", segments.join("/"));
        (is_sound && name.len() <= LONGEST).then_some(Self(name))
    }
}

/// The repository and the directory that a root's tree comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    repository: RepositoryName,
    /// The root's directory in the repository, with slashes. Empty for the top directory of the repository.
    directory: String,
}

impl Provenance {
    /// Creates the provenance of a directory in a repository. Returns `None` if the directory has no name that can be
    /// recorded.
    pub(crate) fn new(repository: RepositoryName, directory: &Path) -> Option<Self> {
        let directory = directory.to_str()?.trim_end_matches('/');
        Self::checked(repository, directory)
    }

    /// Reads the provenance from annotations. Returns `None` if they contain no valid one.
    pub(crate) fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let (repository, directory) = annotations.get(SOURCE_ANNOTATION)?.split_once(SEPARATOR)?;
        let (host, path) = repository.split_once('/')?;
        // ktor writes only normalized names, so any other name is not from ktor.
        let repository = RepositoryName::of(host, path).filter(|name| name.0 == repository)?;
        Self::checked(repository, directory)
    }

    fn checked(repository: RepositoryName, directory: &str) -> Option<Self> {
        let is_sound =
            directory.len() <= LONGEST && !directory.starts_with('/') && !directory.contains(char::is_control);
        is_sound.then(|| Self { repository, directory: directory.to_owned() })
    }

    /// Returns the name and the value of the annotation to write.
    pub(crate) fn annotation(&self) -> (String, String) {
        (SOURCE_ANNOTATION.to_owned(), format!("{}{SEPARATOR}{}", self.repository.0, self.directory))
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.directory.as_str() {
            "" => f.write_str(&self.repository.0),
            directory => write!(f, "{directory} of {}", self.repository.0),
        }
    }
}

/// The caller's answer to the question if the tree moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relocation {
    /// The tree did not move. A tree from another place is another tree.
    #[default]
    Refused,
    /// The tree moved. The new place is recorded from now on.
    Accepted,
}

/// The place that a run takes its tree from, to compare with the recorded place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The place, if it is known.
    pub here: Option<Provenance>,
    /// The caller's permission for a place that differs from the recorded one.
    pub relocation: Relocation,
}

/// The result of comparing a run's place with the recorded place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProvenanceMatch {
    /// The two places are the same, or one of them is not known. Contains the place to record, if one is known.
    Same(Option<Provenance>),
    /// The tree moved, and the caller accepts the move.
    Moved {
        /// The recorded place.
        from: Provenance,
        /// The place to record from now on.
        to: Provenance,
    },
    /// The tree comes from another place, and the caller did not accept a move.
    Elsewhere {
        /// The recorded place.
        recorded: Provenance,
        /// The place of this tree.
        here: Provenance,
    },
}

impl Claim {
    /// Compares the run's place with the recorded place.
    pub fn judged(&self, recorded: Option<&Provenance>) -> ProvenanceMatch {
        match (recorded, &self.here, self.relocation) {
            (Some(from), Some(to), Relocation::Accepted) if from != to => {
                ProvenanceMatch::Moved { from: from.clone(), to: to.clone() }
            }
            (Some(recorded), Some(here), Relocation::Refused) if recorded != here => {
                ProvenanceMatch::Elsewhere { recorded: recorded.clone(), here: here.clone() }
            }
            (recorded, here, _) => ProvenanceMatch::Same(recorded.or(here.as_ref()).cloned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(address: &str) -> Option<String> {
        RepositoryName::of_address(address).map(|name| name.0)
    }

    fn place(address: &str, directory: &str) -> Provenance {
        Provenance::new(RepositoryName::of_address(address).unwrap(), Path::new(directory)).unwrap()
    }

    #[test]
    fn x15_every_address_of_one_repository_gives_one_name() {
        for address in [
            "https://github.com/acme/shop",
            "https://github.com/Acme/Shop.git",
            "https://github.com/acme/shop.git/",
            "HTTPS://GitHub.com:443//acme/shop",
            "https://www.github.com/acme/shop?tab=readme#top",
            "http://github.com/acme/shop",
            "https://x-access-token:ghs_secret@github.com/acme/shop.git",
            "https://ghp_secret@github.com/acme/shop",
            "https://me:p@ss@github.com/acme/shop",
            "git@github.com:acme/shop.git",
            "github.com:acme/shop",
            "git@github.com:/acme/shop",
            "ssh://git@github.com/acme/shop.git",
            "ssh://git@ssh.github.com:443/acme/shop.git",
            "git+ssh://git@github.com:22/acme/shop",
            "git://github.com/acme/shop.git",
        ] {
            assert_eq!(name(address).as_deref(), Some("github.com/acme/shop"), "{address}");
        }
        let forge = RepositoryName::of_forge("https://GitHub.com/", "Acme", "shop");
        assert_eq!(forge, RepositoryName::of_address("git@github.com:acme/shop.git"));
        assert_eq!(name("https://git.example/group/sub/shop").as_deref(), Some("git.example/group/sub/shop"));
        assert_eq!(name("https://127.0.0.1:3000/acme/shop").as_deref(), Some("127.0.0.1/acme/shop"));
        assert_eq!(name("https://git.sr.ht/~acme/shop").as_deref(), Some("git.sr.ht/~acme/shop"));
    }

    #[test]
    fn x15_what_names_no_host_that_others_know_is_unknown() {
        for address in [
            "",
            "shop",
            "/srv/git/shop.git",
            "./shop:x/y",
            "../shop",
            "~/shop",
            "file:///srv/git/shop.git",
            "ext::sh -c touch",
            "https://",
            "https://github.com",
            "https://github.com/",
            "https://github.com/.git",
            "https:///acme/shop",
            "https://secret@/acme/shop",
            "https://gitea/acme/shop",
            "work:acme/shop",
            "git@work:acme/shop.git",
            "ssh://git@localhost:2222/acme/shop",
            "https://github.com/../shop",
            // The password contains a slash, so the user name before it looks like the host.
            "https://me.or.you:pa/ss@github.com/acme/shop",
            "https://me.or.you:7/ss@github.com/acme/shop",
            "https://me.or.you:7/ss#@github.com/acme/shop",
            "https://github.com/acme/shop with a space",
            "https://github.com/acme/shop\nX: y",
            "https://git hub.com/acme/shop",
            "https://a..b/acme/shop",
        ] {
            assert_eq!(name(address), None, "{address}");
        }
        assert_eq!(name(&format!("https://github.com/acme/{}", "x".repeat(5000))), None);
    }

    proptest! {
        /// The name contains no credentials of any address, and it is read back as it was written.
        #[test]
        fn x15_no_secret_of_an_address_gets_into_the_record(
            form in 0..8_usize,
            user in "[a-zA-Z0-9._~%+-]{1,12}",
            secret in prop_oneof!["S3CRET[ -~]{0,24}", "[a-c]?\\.?S3CRET[./:?#@%a-c0-9]{0,12}"],
            port in proptest::option::of(1..=u16::MAX),
            host in "[a-zA-Z][a-zA-Z0-9-]{0,8}(\\.[a-zA-Z0-9]{1,6}){0,2}",
            path in "[a-zA-Z0-9._-]{1,8}(/[a-zA-Z0-9._-]{1,8}){0,3}",
            directory in "([a-zA-Z0-9 ._-]{1,8}(/[a-zA-Z0-9 ._-]{1,8}){0,3})?",
        ) {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let address = match form {
                0 => format!("https://{user}:{secret}@{host}{port}/{path}"),
                1 => format!("https://{secret}@{host}{port}/{path}.git"),
                2 => format!("{secret}@{host}:{path}.git"),
                3 => format!("ssh://{user}:{secret}@{host}{port}/{path}"),
                4 => format!("http://{host}{port}/{path}?access_token={secret}"),
                5 => format!("https://{host}{port}/{path}#{secret}"),
                6 => format!("https://{user}:7/{secret}@{host}{port}/{path}"),
                _ => format!("{user}@{secret}:{path}@{host}:{path}"),
            };
            let place = RepositoryName::of_address(&address).and_then(|name| Provenance::new(name, Path::new(&directory)));
            if let Some(place) = place {
                let (key, text) = place.annotation();
                for shown in [text.as_str(), &place.to_string(), &format!("{place:?}")] {
                    prop_assert!(!shown.to_lowercase().contains("s3cret"), "{address} gave {shown}");
                }
                prop_assert_eq!(Provenance::of(&[(key, text)].into()), Some(place));
            }
        }

        /// An annotation is read back exactly as it is written, or it counts as missing. Reading it never panics.
        #[test]
        fn x15_what_someone_else_wrote_there_is_one_of_ours_or_nothing(text in "(github.com/acme/shop//)?\\PC{0,24}") {
            let read = Provenance::of(&[(SOURCE_ANNOTATION.to_owned(), text.clone())].into());
            if let Some(read) = read {
                prop_assert_eq!(read.annotation().1, text);
            }
        }
    }

    #[test]
    fn x15_only_two_known_places_that_differ_refuse_and_a_relocation_is_recorded() {
        let (shop, web) = (place("https://github.com/acme/shop", "k8s"), place("https://github.com/acme/web", "k8s"));
        let below = place("git@github.com:acme/shop.git", "k8s/below");
        let top = place("git@github.com:acme/shop.git", "");
        let claim = |here: Option<&Provenance>, relocation| Claim { here: here.cloned(), relocation };
        for relocation in [Relocation::Refused, Relocation::Accepted] {
            for (recorded, here, known) in [
                (None, None, None),
                (None, Some(&shop), Some(&shop)),
                (Some(&shop), None, Some(&shop)),
                (Some(&shop), Some(&shop), Some(&shop)),
            ] {
                assert_eq!(claim(here, relocation).judged(recorded), ProvenanceMatch::Same(known.cloned()));
            }
        }
        for other in [&web, &below, &top] {
            let elsewhere = ProvenanceMatch::Elsewhere { recorded: shop.clone(), here: other.clone() };
            assert_eq!(claim(Some(other), Relocation::Refused).judged(Some(&shop)), elsewhere);
            let moved = ProvenanceMatch::Moved { from: shop.clone(), to: other.clone() };
            assert_eq!(claim(Some(other), Relocation::Accepted).judged(Some(&shop)), moved);
        }
        assert_eq!(top.to_string(), "github.com/acme/shop");
        assert_eq!(top.annotation().1, "github.com/acme/shop//");
    }
}

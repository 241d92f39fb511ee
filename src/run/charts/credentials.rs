//! Reads the credentials for repositories and registries from the files of Helm and Docker.
//!
//! No program is started for them. They are never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::web::Authorization;
use crate::process::Environment;
use crate::render::address::Address;

/// The maximum size of a file.
const MAX_BYTES: u64 = 4 << 20;

/// The host of Docker's registry, and the names that stand for it.
const DOCKER: &str = "registry-1.docker.io";
const DOCKER_NAMES: [&str; 2] = ["docker.io", "index.docker.io"];

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: String,
}

/// The credentials of this machine's user.
#[derive(Clone, Debug, Default)]
pub(super) struct Credentials {
    /// By host and port.
    registries: BTreeMap<String, Login>,
    /// By the address of the repository.
    repositories: BTreeMap<Address, Login>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl Login {
    fn authorization(&self) -> Option<Authorization> {
        Authorization::new(&format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password))))
    }
}

/// The file that Docker and Helm keep logins to registries in.
#[derive(Debug, Default, Deserialize)]
struct RegistryFile {
    #[serde(default)]
    auths: BTreeMap<String, RegistryLogin>,
}

#[derive(Default, Deserialize)]
struct RegistryLogin {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistryLogin")
    }
}

/// The file that Helm keeps its repositories in.
#[derive(Default, Deserialize)]
struct RepositoryFile {
    #[serde(default)]
    repositories: Vec<RepositoryLogin>,
}

#[derive(Deserialize)]
struct RepositoryLogin {
    url: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// Reads the files that the variables name, or those in the home directory. A file that is missing or broken has no
    /// credentials.
    pub(super) fn read(environment: &Environment) -> Self {
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = |path: &str| set("HOME").map(|home| home.join(path));
        let helm = set("HELM_CONFIG_HOME")
            .or_else(|| set("XDG_CONFIG_HOME").map(|directory| directory.join("helm")))
            .or_else(|| home(".config/helm"));
        let of_helm = |name: &str| helm.as_ref().map(|directory| directory.join(name));
        let docker = set("DOCKER_CONFIG").map(|directory| directory.join("config.json"));
        let docker = docker.or_else(|| home(".docker/config.json"));
        let registries = set("HELM_REGISTRY_CONFIG").or_else(|| of_helm("registry/config.json"));
        let repositories = set("HELM_REPOSITORY_CONFIG").or_else(|| of_helm("repositories.yaml"));
        let mut credentials = Self::default();
        // Those of Helm take precedence.
        for path in [docker, registries].into_iter().flatten() {
            credentials.add_registries(&content(&path).unwrap_or_default());
        }
        if let Some(path) = repositories {
            credentials.add_repositories(&content(&path).unwrap_or_default());
        }
        credentials
    }

    fn add_registries(&mut self, bytes: &[u8]) {
        let file: RegistryFile = serde_json::from_slice(bytes).unwrap_or_default();
        for (server, RegistryLogin { auth, username, password }) in file.auths {
            let server = server.trim_start_matches("https://").trim_end_matches('/');
            let (host, path) = server.split_once('/').unwrap_or((server, ""));
            let decoded = auth.and_then(|auth| String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok());
            let login = match decoded.as_deref().and_then(|auth| auth.split_once(':')) {
                Some((user, password)) => Some(Login { user: user.to_owned(), password: password.to_owned() }),
                None => username.zip(password).map(|(user, password)| Login { user, password }),
            };
            if let Some(login) = login.filter(|_| matches!(path, "" | "v1" | "v2")) {
                self.registries.insert(registry_host(&host.to_ascii_lowercase()).to_owned(), login);
            }
        }
    }

    fn add_repositories(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let file: RepositoryFile = serde_saphyr::from_str(&text).unwrap_or_default();
        for RepositoryLogin { url, username, password } in file.repositories {
            let address = url.and_then(|url| Address::parse(url.trim_end_matches('/')).ok());
            let login = username.zip(password).filter(|(user, _)| !user.is_empty());
            if let (Some(address), Some((user, password))) = (address, login) {
                self.repositories.insert(address, Login { user, password });
            }
        }
    }

    /// Returns the credentials of a repository for an address on its own server.
    pub(super) fn of_repository(&self, repository: &Address, address: &Address) -> Option<Authorization> {
        let login = self.repositories.get(repository)?;
        (repository.origin() == address.origin()).then(|| login.authorization()).flatten()
    }

    /// Returns the credentials of the registry at an address.
    pub(super) fn of_registry(&self, address: &Address) -> Option<Authorization> {
        self.registries.get(address.authority())?.authorization()
    }
}

/// Returns the host of the registry that a name stands for.
pub(super) fn registry_host(name: &str) -> &str {
    if DOCKER_NAMES.contains(&name) { DOCKER } else { name }
}

fn content(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn shown(authorization: Option<Authorization>) -> Option<String> {
        // The value is compared through the header that a request would have.
        authorization.map(|authorization| authorization.exposed())
    }

    #[test]
    fn k7_credentials_come_from_the_files_of_helm_and_docker_and_stay_with_their_server() {
        let home = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let auth = STANDARD.encode("user:pass:word");
        write(
            ".docker/config.json",
            &format!(
                r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{auth}"}}, "ghcr.io": {{"username": "a", "password": "b"}},
                   "other.example/some/path": {{"auth": "{auth}"}}, "broken.example": {{"auth": "?"}}}}, "credsStore": "desktop"}}"#
            ),
        );
        write(".config/helm/registry/config.json", r#"{"auths": {"ghcr.io": {"username": "helm", "password": "b"}}}"#);
        write(
            ".config/helm/repositories.yaml",
            "apiVersion: ''\nrepositories:\n- {name: x, url: 'https://charts.example/x/', username: u, password: p, pass_credentials_all: true}\n- {name: y, url: 'https://open.example', username: '', password: ''}\n",
        );
        let environment = Environment::default().with("HOME", home.path());
        let credentials = Credentials::read(&environment);
        let address = |text: &str| Address::parse(text).unwrap();
        let registry = |text: &str| shown(credentials.of_registry(&address(text)));
        let basic = |login: &str| Some(format!("Basic {}", STANDARD.encode(login)));
        assert_eq!(registry("https://registry-1.docker.io/v2/x"), basic("user:pass:word"));
        assert_eq!(registry("https://ghcr.io/v2/x"), basic("helm:b"));
        for none in ["https://ghcr.io:444/v2/x", "https://other.example/x", "https://broken.example/x"] {
            assert_eq!(registry(none), None, "{none}");
        }
        let repository = address("https://charts.example/x");
        let of = |text: &str| shown(credentials.of_repository(&repository, &address(text)));
        assert_eq!(of("https://charts.example/files/x.tgz"), basic("u:p"));
        for none in ["https://charts.example.org/x.tgz", "https://charts.example:8443/x.tgz"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(
            shown(credentials.of_repository(&address("https://open.example"), &address("https://open.example"))),
            None
        );
        assert!(!format!("{credentials:?}").contains("pass"), "{credentials:?}");

        let moved = environment.with("HELM_REPOSITORY_CONFIG", "/nowhere").with("DOCKER_CONFIG", "/nowhere");
        let credentials = Credentials::read(&moved);
        assert!(credentials.repositories.is_empty() && credentials.registries.len() == 1);
    }
}

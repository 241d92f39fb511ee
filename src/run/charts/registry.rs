//! Speaks to repositories and to OCI registries: logs in where they ask for it, and reads manifests.

use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use serde::Deserialize;

use super::credentials::{Credentials, registry_host};
use super::index::Index;
use super::web::{Authorization, Request, Web, WebAnswer, WebError, reachable};
use crate::render::address::{Address, is_loopback};
use crate::render::lock::{Registry, RemoteChart};

/// The media type of the manifest of a chart.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of the archive of a chart.
const ARCHIVE: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// The maximum size of the index of a repository.
const MAX_INDEX: usize = 64 << 20;
/// The maximum size of a manifest or a token.
const MAX_ANSWER: usize = 4 << 20;

/// A client of repositories and registries.
pub(super) struct Client {
    web: Web,
    credentials: Credentials,
}

/// The manifest of a chart.
#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
}

/// The answer of a server of tokens.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Client {
    /// Makes a client.
    pub(super) fn new(credentials: Credentials) -> std::io::Result<Self> {
        Ok(Self { web: Web::new()?, credentials })
    }

    /// Finds the address of the archive of a chart.
    ///
    /// # Errors
    ///
    /// The server cannot be asked, or has no such version of the chart.
    pub(super) async fn resolve(&self, chart: &RemoteChart) -> Result<Address, WebError> {
        match &chart.registry {
            Registry::Repository(repository) => self.in_index(repository, chart).await,
            Registry::Oci(path) => self.in_manifest(path, chart).await,
        }
    }

    async fn in_index(&self, repository: &Address, chart: &RemoteChart) -> Result<Address, WebError> {
        let address = Address::parse(&format!("{}/index.yaml", repository.as_str()));
        let address = reachable(repository, address)?;
        let request = Request { address: &address, accept: "*/*", limit: MAX_INDEX };
        let index = self.read_in_repository(repository, request).await?;
        let malformed = |problem: String| WebError::malformed(&address, problem);
        let index = Index::read(&index).map_err(malformed)?;
        let url = index.url(&chart.chart, &chart.version).map_err(malformed)?;
        reachable(&address, address.join(&url))
    }

    async fn in_manifest(&self, path: &str, chart: &RemoteChart) -> Result<Address, WebError> {
        let (host, path) =
            path.split_once('/').map_or((path, String::new()), |(host, path)| (host, format!("{path}/")));
        let host = registry_host(host);
        let scheme = if is_loopback(host.rsplit_once(':').map_or(host, |(host, _)| host)) { "http" } else { "https" };
        // A tag cannot contain a plus sign. Helm replaces it.
        let (tag, name) = (chart.version.replace('+', "_"), format!("{path}{}", chart.chart));
        let base = format!("{scheme}://{host}/v2/{name}");
        let unusable = |problem| WebError::Redirected { server: format!("{scheme}://{host}"), problem };
        let address = Address::parse(&format!("{base}/manifests/{tag}")).map_err(unusable)?;
        let request = Request { address: &address, accept: MANIFEST, limit: MAX_ANSWER };
        let manifest: Manifest = serde_json::from_slice(&self.read_in_registry(request).await?)
            .map_err(|_| WebError::malformed(&address, "it is not a manifest"))?;
        let mut layers = manifest.layers.iter().filter(|layer| layer.media_type == ARCHIVE);
        let (Some(layer), None) = (layers.next(), layers.next()) else {
            return Err(WebError::malformed(&address, "the manifest is not that of a chart"));
        };
        let is_digest = |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !layer.digest.strip_prefix("sha256:").is_some_and(is_digest) {
            return Err(WebError::malformed(&address, "the manifest has no SHA-256 of the archive"));
        }
        Address::parse(&format!("{base}/blobs/{}", layer.digest)).map_err(unusable)
    }

    /// Reads an address that a repository names.
    ///
    /// # Errors
    ///
    /// There is no answer, or it is not a success.
    pub(super) async fn read_in_repository(
        &self,
        repository: &Address,
        request: Request<'_>,
    ) -> Result<Vec<u8>, WebError> {
        let authorization = self.credentials.of_repository(repository, request.address);
        success(request.address, self.web.get(request, authorization.as_ref()).await?)
    }

    /// Reads an address of an OCI registry. Logs in if the registry asks for it.
    ///
    /// # Errors
    ///
    /// There is no answer, or it is not a success.
    pub(super) async fn read_in_registry(&self, request: Request<'_>) -> Result<Vec<u8>, WebError> {
        let answer = self.web.get(request, None).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return success(request.address, answer);
        }
        let mut asked = answer.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let authorization = match asked.find_map(Challenge::parse) {
            Some(Challenge::Basic) => self.credentials.of_registry(request.address),
            Some(Challenge::Bearer { realm, query }) => Some(self.token(request.address, &realm, &query).await?),
            None => None,
        };
        let Some(authorization) = authorization else { return success(request.address, answer) };
        success(request.address, self.web.get(request, Some(&authorization)).await?)
    }

    /// Asks for a token. The credentials of a registry go only to a server of the same domain.
    async fn token(&self, registry: &Address, realm: &str, query: &str) -> Result<Authorization, WebError> {
        let separator = if realm.contains('?') { '&' } else { '?' };
        let address = reachable(registry, Address::parse(&format!("{realm}{separator}{query}")))?;
        let authorization = self.credentials.of_registry(registry).filter(|_| is_related(registry, &address));
        let request = Request { address: &address, accept: "application/json", limit: MAX_ANSWER };
        let answer = success(&address, self.web.get(request, authorization.as_ref()).await?)?;
        let token: Option<Token> = serde_json::from_slice(&answer).ok();
        let token = token.and_then(|token| token.token.or(token.access_token));
        token
            .and_then(|token| Authorization::new(&format!("Bearer {token}")))
            .ok_or_else(|| WebError::malformed(&address, "it has no token"))
    }
}

fn success(address: &Address, answer: WebAnswer) -> Result<Vec<u8>, WebError> {
    if answer.status.is_success() { Ok(answer.body) } else { Err(WebError::refused(address, answer.status)) }
}

/// Returns `true` if two servers have the same host, or hosts of the same domain.
fn is_related(registry: &Address, realm: &Address) -> bool {
    if registry.host() == realm.host() {
        return registry.authority() == realm.authority();
    }
    let domain = |host: &str| {
        let labels: Vec<&str> = host.rsplit('.').take(2).collect();
        (labels.len() == 2 && host.split('.').count() > 2 && host.parse::<std::net::IpAddr>().is_err())
            .then(|| labels.join("."))
    };
    domain(registry.host()).is_some_and(|of_registry| domain(realm.host()) == Some(of_registry))
}

/// The kind of login that a registry asks for.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, query: String },
}

impl Challenge {
    fn parse(header: &str) -> Option<Self> {
        let (kind, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if kind.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !kind.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut query, mut rest) = (None, Vec::new(), rest);
        while let Some((name, after)) = rest.split_once('=') {
            let name = name.trim_matches([',', ' ']);
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            match name {
                "realm" => realm = Some(value.to_owned()),
                "service" | "scope" => query.push(format!("{name}={}", encoded(value))),
                _ => {}
            }
            rest = after;
        }
        Some(Self::Bearer { realm: realm?, query: query.join("&") })
    }
}

/// Returns a value as it stands in a query.
fn encoded(value: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    value.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k7_the_login_that_a_registry_asks_for_is_understood() {
        let bearer =
            |realm: &str, query: &str| Some(Challenge::Bearer { realm: realm.to_owned(), query: query.to_owned() });
        for (header, expected) in [
            (
                r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:org/x:pull""#,
                bearer("https://ghcr.io/token", "service=ghcr.io&scope=repository:org/x:pull"),
            ),
            (
                r#"bearer realm="https://a/t?x=1", scope="a b,c&d", error="x""#,
                bearer("https://a/t?x=1", "scope=a%20b%2Cc%26d"),
            ),
            ("Bearer realm=https://a/t,service=x", bearer("https://a/t", "service=x")),
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            ("Bearer service=\"x\"", None),
            ("Bearer realm=\"x", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
    }

    #[test]
    fn k7_credentials_go_to_servers_of_the_same_domain_alone() {
        for (registry, realm, expected) in [
            ("https://ghcr.io/v2", "https://ghcr.io/token", true),
            ("https://registry-1.docker.io/v2", "https://auth.docker.io/token", true),
            ("https://a.example.org", "https://b.example.com", false),
            ("https://ghcr.io", "https://evil.io", false),
            ("https://ghcr.io", "https://a.ghcr.io", false),
            ("https://ghcr.io", "https://ghcr.io:444", false),
            ("http://127.0.0.1:1", "http://127.0.0.1:2", false),
            ("http://127.0.0.1:1", "http://1.2.0.1:1", false),
        ] {
            let (Ok(registry), Ok(realm)) = (Address::parse(registry), Address::parse(realm)) else { continue };
            assert_eq!(is_related(&registry, &realm), expected, "{registry} {realm}");
        }
    }
}

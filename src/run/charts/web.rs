//! Sends one GET request over HTTPS, and follows redirects.
//!
//! An answer has a limit on its size and on its time. Credentials go only to the server that they are for.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::{sleep, timeout};

use crate::render::address::{Address, AddressError, is_loopback};

/// The time to connect.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The time for a request and its answer.
const TIME: Duration = Duration::from_mins(2);
/// The maximum number of redirects.
const MOST_REDIRECTS: usize = 5;
/// The pauses between the attempts.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// The value of a header that proves the right to read. It is never shown.
#[derive(Clone, Debug)]
pub(super) struct Authorization(HeaderValue);

/// An HTTP client.
pub(super) struct Web {
    client: Client<HttpsConnector<HttpConnector>, Empty<&'static [u8]>>,
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// The address.
    pub(super) address: &'a Address,
    /// The media types that the answer may have.
    pub(super) accept: &'static str,
    /// The maximum size of the answer.
    pub(super) limit: usize,
}

/// An answer that is not a redirect.
#[derive(Debug)]
pub(super) struct WebAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The reason why there is no usable answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    /// The server cannot be reached.
    #[error("ask {server}: {detail}")]
    Unreachable {
        /// The scheme and the host.
        server: String,
        /// The reason.
        detail: String,
    },
    /// The server did not answer in time.
    #[error("ask {server}: no answer within {} s", TIME.as_secs())]
    TimedOut {
        /// The scheme and the host.
        server: String,
    },
    /// The answer is too large.
    #[error("read the answer of {server}: it has more than {} MiB", limit >> 20)]
    TooLarge {
        /// The scheme and the host.
        server: String,
        /// The maximum number of bytes.
        limit: usize,
    },
    /// There are too many redirects.
    #[error("ask {server}: it redirects more than {MOST_REDIRECTS} times")]
    TooManyRedirects {
        /// The scheme and the host.
        server: String,
    },
    /// A server names an address that is not used.
    #[error("ask {server}: it names an address that {problem}")]
    Redirected {
        /// The scheme and the host.
        server: String,
        /// The reason.
        problem: AddressError,
    },
    /// A server names an address of this machine.
    #[error("ask {server}: it names an address of this machine")]
    ToLoopback {
        /// The scheme and the host.
        server: String,
    },
    /// The server refuses.
    #[error("read {address}: the server answers {status}{}", advice(*status))]
    Refused {
        /// The address, without its query.
        address: String,
        /// The status.
        status: StatusCode,
    },
    /// The answer is not the expected one.
    #[error("understand the answer of {server}: {problem}")]
    Malformed {
        /// The scheme and the host.
        server: String,
        /// The reason.
        problem: String,
    },
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; log in to it with helm or docker",
        StatusCode::NOT_FOUND => "; correct the name and the version",
        _ => "",
    }
}

impl Authorization {
    /// Returns the header for a value. Returns `None` if the value has characters that cannot be sent.
    pub(super) fn new(value: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// The value.
    #[cfg(test)]
    pub(super) fn exposed(&self) -> String {
        self.0.to_str().unwrap_or_default().to_owned()
    }
}

impl WebError {
    /// Returns `true` if a further attempt may help.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }

    /// Returns the error for an answer that does not have the expected form.
    pub(super) fn malformed(address: &Address, problem: impl Into<String>) -> Self {
        Self::Malformed { server: address.origin().to_owned(), problem: problem.into() }
    }

    /// Returns the error for an answer without success.
    pub(super) fn refused(address: &Address, status: StatusCode) -> Self {
        Self::Refused { address: address.to_string(), status }
    }
}

impl Web {
    /// Makes a client that trusts the certificates of this machine.
    pub(super) fn new() -> std::io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_TIME));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Sends a request, and follows redirects. The authorization goes to the server of the address alone.
    ///
    /// # Errors
    ///
    /// There is no answer, or it exceeds a limit. An answer of any status is not an error here.
    pub(super) async fn get(
        &self,
        request: Request<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<WebAnswer, WebError> {
        let mut pauses = PAUSES.iter();
        loop {
            let answer = self.attempt(request, authorization).await;
            let is_transient = match &answer {
                Ok(answer) => answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS,
                Err(error) => error.is_transient(),
            };
            match pauses.next().filter(|_| is_transient) {
                Some(pause) => sleep(*pause).await,
                None => return answer,
            }
        }
    }

    async fn attempt(
        &self,
        request: Request<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<WebAnswer, WebError> {
        let mut address = request.address.clone();
        for _ in 0..=MOST_REDIRECTS {
            let authorization = authorization.filter(|_| address.origin() == request.address.origin());
            let late = |_| WebError::TimedOut { server: address.origin().to_owned() };
            let once = timeout(TIME, self.once(&address, request, authorization)).await;
            let answer = once.map_err(late)??;
            let location = answer.headers.get(LOCATION).filter(|_| answer.status.is_redirection());
            let Some(location) = location else { return Ok(answer) };
            let next = location.to_str().map_err(|_| AddressError::Malformed).and_then(|text| address.join(text));
            address = reachable(&address, next)?;
        }
        Err(WebError::TooManyRedirects { server: address.origin().to_owned() })
    }

    async fn once(
        &self,
        address: &Address,
        Request { accept, limit, .. }: Request<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<WebAnswer, WebError> {
        let server = || address.origin().to_owned();
        let unreachable = |detail: String| WebError::Unreachable { server: server(), detail };
        let mut builder = http::Request::get(address.as_str())
            .header(ACCEPT, accept)
            .header(USER_AGENT, concat!("ktor/", env!("CARGO_PKG_VERSION")));
        if let Some(Authorization(value)) = authorization {
            builder = builder.header(AUTHORIZATION, value);
        }
        let request = builder.body(Empty::new()).map_err(|error| unreachable(error.to_string()))?;
        let answer = self.client.request(request).await.map_err(|error| unreachable(innermost(&error)))?;
        let (parts, body) = answer.into_parts();
        // The body of a redirect or a refusal is of no use.
        let limit = if parts.status.is_success() { limit } else { limit.min(1 << 20) };
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                WebError::TooLarge { server: server(), limit }
            } else {
                unreachable(error.to_string())
            }
        })?;
        Ok(WebAnswer { status: parts.status, headers: parts.headers, body: body.to_bytes().to_vec() })
    }
}

/// Checks an address that an answer from `from` names.
///
/// # Errors
///
/// The address cannot be used, or another machine sends to this one.
pub(super) fn reachable(from: &Address, next: Result<Address, AddressError>) -> Result<Address, WebError> {
    let server = || from.origin().to_owned();
    let next = next.map_err(|problem| WebError::Redirected { server: server(), problem })?;
    if is_loopback(next.host()) && !is_loopback(from.host()) {
        return Err(WebError::ToLoopback { server: server() });
    }
    Ok(next)
}

/// Returns the innermost cause of an error. The outer ones say only that the client failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k7_a_server_cannot_send_to_this_machine() {
        let address = |text: &str| Address::parse(text).unwrap();
        let remote = address("https://charts.example/x");
        for to in ["https://localhost/x", "https://127.0.0.1:8443/x", "http://[::1]/x"] {
            let error = reachable(&remote, remote.join(to)).unwrap_err();
            assert_eq!(error.to_string(), "ask https://charts.example: it names an address of this machine", "{to}");
        }
        let error = reachable(&remote, remote.join("http://169.254.169.254/x")).unwrap_err();
        assert!(error.to_string().contains("is not an https address"), "{error}");
        let local = address("http://127.0.0.1:1/x");
        assert_eq!(reachable(&local, local.join("http://localhost:2/y")).unwrap().as_str(), "http://localhost:2/y");
        assert_eq!(format!("{:?}", Authorization::new("Bearer secret").unwrap()), "Authorization(Sensitive)");
    }
}

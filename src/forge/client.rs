//! Sends requests to the forge's REST API: single attempts, reads with retries, and complete lists.
//!
//! This is the only file that names octocrab. All answers are untyped JSON, so that octocrab's large models are not
//! compiled in. octocrab's own retry is off, because it sends a POST again when the answer is lost. That would create
//! the same comment twice.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use octocrab::Octocrab;
use octocrab::service::middleware::retry::RetryConfig;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{Cause, ForgeError, Token};

/// The maximum size of an answer, in bytes. A longer answer is an error.
const ANSWER_LIMIT: usize = 32 << 20;

/// The maximum number of times that a request is sent.
const TRIES: u32 = 6;

/// The number of items on a full page of a list.
const PAGE: usize = 100;

/// The limits on the time that requests may take and on the waits between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The total time for failed attempts and the waits after them, over the whole life of a [`super::Forge`].
    pub total: Duration,
    /// The time limit of one attempt.
    pub attempt: Duration,
    /// The first wait after a failure that names no wait. It doubles with each further failure of the operation.
    pub pause: Duration,
    /// The wait after a rate limit that names no wait.
    pub limited: Duration,
    /// The pause between two content writes. GitHub allows 80 a minute, and asks for one second between two.
    pub pace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            total: Duration::from_secs(150),
            attempt: Duration::from_secs(30),
            pause: Duration::from_secs(1),
            limited: Duration::from_mins(1),
            pace: Duration::from_secs(1),
        }
    }
}

/// An HTTP client for one forge.
pub(super) struct Client {
    octocrab: Octocrab,
    patience: Patience,
    /// The part of [`Patience::total`] that is used up.
    spent: Mutex<Duration>,
    /// The time of the last answer on the forge's clock, in seconds since 1970.
    clock: Mutex<Option<u64>>,
}

/// A successful answer.
pub(super) struct ForgeAnswer {
    headers: HeaderMap,
    /// The body. It is null if the answer is empty.
    pub(super) body: Value,
}

/// The failure of one attempt.
pub(super) struct AttemptFailure {
    pub(super) cause: Cause,
    retry: Retry,
    /// `true` if the request may have taken effect although the attempt failed.
    pub(super) unclear: bool,
}

/// The advice on repeating a failed attempt.
#[derive(Clone, Copy)]
enum Retry {
    Never,
    Soon,
    After(Duration),
}

/// The attempts of one operation.
pub(super) struct Tries<'a> {
    client: &'a Client,
    failed: u32,
}

/// The items of a list. The list is incomplete if it has more pages than the caller allows.
pub(super) struct List {
    pub(super) items: Vec<Value>,
    pub(super) complete: bool,
}

impl AttemptFailure {
    pub(super) fn status(&self) -> Option<u16> {
        match self.cause {
            Cause::Refused { status, .. } | Cause::Limited { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Returns the final cause of the failure. A rate limit that lasts longer than this client may wait becomes
    /// [`Cause::Limited`], so that callers do not take its status for a refusal.
    fn into_cause(self) -> Cause {
        match (self.cause, self.retry) {
            (Cause::Refused { status, message }, Retry::After(wait)) => Cause::Limited { status, wait, message },
            (cause, _) => cause,
        }
    }

    /// Returns the same failure, marked as temporary and worth a retry.
    pub(super) fn passing(self) -> Self {
        Self { retry: Retry::Soon, ..self }
    }
}

impl Client {
    /// Creates a client. It needs a running tokio runtime, which drives its connections.
    pub(super) fn new(api_url: &str, token: &Token, patience: Patience) -> Result<Self, ForgeError> {
        let failed = |error: &octocrab::Error| ForgeError::Client {
            url: api_url.to_owned(),
            source: Cause::Transport(chain(error)),
        };
        let octocrab = Octocrab::builder()
            .add_retry_config(RetryConfig::None)
            .set_connect_timeout(Some(patience.attempt.min(Duration::from_secs(10))))
            .set_read_timeout(Some(patience.attempt))
            .set_write_timeout(Some(patience.attempt))
            .personal_token(token.expose())
            .base_uri(origin(api_url))
            .map_err(|error| failed(&error))?
            .build()
            .map_err(|error| failed(&error))?;
        Ok(Self { octocrab, patience, spent: Mutex::default(), clock: Mutex::default() })
    }

    /// Sends one request once. `url` is absolute. octocrab sends the token only to the host of its base URL.
    pub(super) async fn once(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<ForgeAnswer, AttemptFailure> {
        let begun = Instant::now();
        let answer = timeout(self.patience.attempt, self.exchange(method, url, body)).await;
        let answer = answer.unwrap_or_else(|_| Err(AttemptFailure::unclear(Cause::Silent(self.patience.attempt))));
        if answer.is_err() {
            self.spend(begun.elapsed());
        }
        answer
    }

    async fn exchange(&self, method: Method, url: &str, body: Option<&Value>) -> Result<ForgeAnswer, AttemptFailure> {
        let request = http::request::Builder::new().method(method).uri(url);
        let request = self.octocrab.build_request(request, body).map_err(|error| AttemptFailure::transport(&error))?;
        let answer = self.octocrab.execute(request).await.map_err(|error| AttemptFailure::transport(&error))?;
        let (parts, body) = answer.into_parts();
        if let Some(time) = date(&parts.headers) {
            self.clock.lock().unwrap_or_else(PoisonError::into_inner).replace(time);
        }
        let bytes = Limited::new(body, ANSWER_LIMIT).collect().await;
        let bytes = bytes.map_err(|error| AttemptFailure::transport(error.as_ref()))?.to_bytes();
        if !parts.status.is_success() {
            return Err(self.refusal(parts.status, &parts.headers, &bytes));
        }
        if bytes.is_empty() {
            return Ok(ForgeAnswer { headers: parts.headers, body: Value::Null });
        }
        let body = serde_json::from_slice(&bytes)
            .map_err(|error| AttemptFailure::unclear(Cause::Malformed(error.to_string())))?;
        Ok(ForgeAnswer { headers: parts.headers, body })
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> AttemptFailure {
        let message = message(status, body);
        let retry = match status {
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => self.limit(status, headers, &message),
            status if status.is_server_error() => header(headers, "retry-after").map_or(Retry::Soon, seconds),
            StatusCode::REQUEST_TIMEOUT => Retry::Soon,
            _ => Retry::Never,
        };
        let cause = Cause::Refused { status: status.as_u16(), message };
        AttemptFailure { cause, retry, unclear: !status.is_client_error() }
    }

    /// Tells a rate limit from a missing permission, and returns the wait that a rate limit asks for.
    fn limit(&self, status: StatusCode, headers: &HeaderMap, message: &str) -> Retry {
        if let Some(wait) = header(headers, "retry-after") {
            return seconds(wait);
        }
        if header(headers, "x-ratelimit-remaining") == Some(0) {
            // The reset time is on the server's clock. It is therefore compared with the `Date` header of the same
            // answer.
            let reset = header(headers, "x-ratelimit-reset").zip(date(headers));
            return reset
                .map_or(Retry::After(self.patience.limited), |(reset, now)| seconds(reset.saturating_sub(now) + 1));
        }
        let words = message.to_ascii_lowercase();
        let limited =
            status == StatusCode::TOO_MANY_REQUESTS || words.contains("rate limit") || words.contains("abuse");
        if limited { Retry::After(self.patience.limited) } else { Retry::Never }
    }

    /// Starts an operation of several attempts.
    pub(super) fn tries(&self) -> Tries<'_> {
        Tries { client: self, failed: 0 }
    }

    /// Reads `url`. Repeats the request when the failure may be temporary.
    pub(super) async fn get(&self, operation: &str, url: &str) -> Result<ForgeAnswer, ForgeError> {
        let mut tries = self.tries();
        loop {
            match self.once(Method::GET, url, None).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => tries.again(operation, failure).await?,
            }
        }
    }

    /// Sends a query that changes nothing, by POST. Repeats the request when the failure may be temporary.
    pub(super) async fn ask(&self, operation: &str, url: &str, query: &Value) -> Result<ForgeAnswer, ForgeError> {
        let mut tries = self.tries();
        loop {
            match self.once(Method::POST, url, Some(query)).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => tries.again(operation, failure).await?,
            }
        }
    }

    /// Waits until the next content write may be sent.
    pub(super) async fn pace(&self) {
        sleep(self.patience.pace).await;
    }

    /// Returns the time of the last answer on the forge's clock, in seconds since 1970.
    pub(super) fn time(&self) -> Option<u64> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the list at `url` page by page, at most `most` pages.
    ///
    /// `key` identifies an item. The read ends at a page without new items, because some forges answer every page
    /// number with the same page.
    pub(super) async fn list(
        &self,
        operation: &str,
        url: &str,
        key: fn(&Value) -> Option<String>,
        most: u32,
    ) -> Result<List, ForgeError> {
        let mut seen = BTreeSet::new();
        let mut items = Vec::new();
        for page in 1..=most {
            let answer = self.get(operation, &format!("{url}?per_page={PAGE}&page={page}")).await?;
            let next = has_next(&answer.headers);
            let Value::Array(listed) = answer.body else {
                return Err(malformed(operation, "it is not a list"));
            };
            let full = listed.len() >= PAGE;
            let known = seen.len();
            for item in listed {
                let Some(key) = key(&item) else {
                    return Err(malformed(operation, "an item of the list has no name"));
                };
                if seen.insert(key) {
                    items.push(item);
                }
            }
            if seen.len() == known || !next.unwrap_or(full) {
                return Ok(List { items, complete: true });
            }
        }
        Ok(List { items, complete: false })
    }

    fn spend(&self, time: Duration) {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }

    /// Returns `true` if `wait` still fits into [`Patience::total`].
    fn affords(&self, wait: Duration) -> bool {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner) + wait <= self.patience.total
    }
}

impl Tries<'_> {
    /// Waits before the next attempt, or returns the failure as an error if no further attempt is allowed.
    pub(super) async fn again(&mut self, operation: &str, failure: AttemptFailure) -> Result<(), ForgeError> {
        let patience = self.client.patience;
        self.failed += 1;
        let wait = match failure.retry {
            Retry::Never => None,
            Retry::Soon => Some(patience.pause * 2_u32.pow(self.failed.min(TRIES) - 1)),
            Retry::After(wait) => Some(wait),
        };
        let Some(wait) = wait.filter(|wait| self.failed < TRIES && self.client.affords(*wait)) else {
            return Err(ForgeError::Call { operation: operation.to_owned(), source: failure.into_cause() });
        };
        self.client.spend(wait);
        sleep(wait).await;
        Ok(())
    }
}

impl AttemptFailure {
    /// Creates a failure after which the request may or may not have taken effect.
    fn unclear(cause: Cause) -> Self {
        Self { cause, retry: Retry::Soon, unclear: true }
    }

    fn transport(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::unclear(Cause::Transport(chain(error)))
    }
}

/// Creates the error for an answer that does not have the documented shape.
pub(super) fn malformed(operation: &str, problem: &str) -> ForgeError {
    ForgeError::Call { operation: operation.to_owned(), source: Cause::Malformed(problem.to_owned()) }
}

/// Returns the scheme and the host of an address. octocrab would put a path of its base address before every path that does
/// not begin with it, and the GraphQL API of GitHub Enterprise Server has another path than the REST API.
fn origin(api_url: &str) -> String {
    let end = api_url.find("://").map_or(0, |at| at + 3);
    let length = api_url[end..].find('/').unwrap_or(api_url.len() - end);
    api_url[..end + length].to_owned()
}

/// Encodes one segment of a URL path.
pub(super) fn segment(text: &str) -> String {
    percent_encode(text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~'))
}

/// Writes every byte for which `plain` is false as `%XX`.
pub(super) fn percent_encode(text: &str, plain: impl Fn(u8) -> bool) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Returns `true` if the `Link` header names a next page, and `None` if there is no such header.
fn has_next(headers: &HeaderMap) -> Option<bool> {
    let links = headers.get(http::header::LINK)?.to_str().ok()?;
    Some(links.split(',').any(|link| link.split(';').any(|part| part.trim() == r#"rel="next""#)))
}

fn header(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Reads the `Date` header: the server's clock, in seconds since 1970.
fn date(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(http::header::DATE)?.to_str().ok()?;
    let time = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    u64::try_from(time.as_second()).ok()
}

fn seconds(wait: u64) -> Retry {
    Retry::After(Duration::from_secs(wait))
}

/// Returns the forge's error message on one line of at most 300 characters. If the body is not JSON with a message,
/// this is the standard text of the status.
fn message(status: StatusCode, body: &[u8]) -> String {
    let answer = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let mut words: Vec<&str> = answer.get("message").and_then(Value::as_str).into_iter().collect();
    let errors = answer.get("errors").and_then(Value::as_array).into_iter().flatten();
    words.extend(errors.filter_map(|error| error.as_str().or_else(|| error.get("message")?.as_str())));
    if words.is_empty() {
        words.extend(status.canonical_reason());
    }
    let line: String = words.join(": ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.chars().take(300).collect()
}

/// Joins an error and its sources on one line, without repeating a text.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string().lines().next().unwrap_or_default().to_owned();
        if !words.iter().any(|said| said.contains(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn next_pages_are_read_from_the_link_header() {
        let link = |text| has_next(&headers(&[("link", text)]));
        assert_eq!(link(r#"<https://x/a?page=2>; rel="next", <https://x/a?page=9>; rel="last""#), Some(true));
        assert_eq!(link(r#"<https://x/a?page=1>; rel="prev", <https://x/rel="next">; rel="first""#), Some(false));
        assert_eq!(has_next(&HeaderMap::new()), None);
    }

    #[test]
    fn a_date_header_is_the_servers_clock() {
        assert_eq!(date(&headers(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT")])), Some(784_111_777));
        assert_eq!(date(&headers(&[("date", "soon")])), None);
    }

    #[test]
    fn refusals_speak_in_the_forges_words() {
        let check =
            |body: &str, expected: &str| assert_eq!(message(StatusCode::BAD_GATEWAY, body.as_bytes()), expected);
        check(
            r#"{"message":"Validation Failed","errors":[{"message":"too\nlong"},"x"]}"#,
            "Validation Failed: too long: x",
        );
        check("<html><h1>Unicorn</h1>", "Bad Gateway");
        check("", "Bad Gateway");
        assert_eq!(
            message(StatusCode::FORBIDDEN, format!(r#"{{"message":"{}"}}"#, "é".repeat(999)).as_bytes())
                .chars()
                .count(),
            300
        );
    }

    #[test]
    fn path_segments_cannot_leave_their_place() {
        assert_eq!(segment("octo-cat_1.x"), "octo-cat_1.x");
        assert_eq!(segment("../a b?c#d/é"), "..%2Fa%20b%3Fc%23d%2F%C3%A9");
    }
}

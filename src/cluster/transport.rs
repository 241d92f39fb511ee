//! Sends requests. It handles time-outs, retries, the server's clock and missing answers.
//!
//! This module is above the gate, so every retry passes the fence too. All requests share one connection pool.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use kube::client::{AuthError, Body};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::error::ClusterError;
use super::gate::{GateError, InFlight, Permit};
use super::jitter::Jitter;
use super::observer::{Exchange, RequestObserver};
use super::request::Call;
use super::settings::ClusterSettings;

/// The pauses between attempts, unless the server asks for a longer pause.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// The longest `Retry-After` that is obeyed. A server that asks for more counts as unavailable.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// An answer of the server.
#[derive(Debug)]
pub(super) struct ApiAnswer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    pub(super) retry_after: Option<Duration>,
    /// `true` if an earlier attempt of the same request may have taken effect although its answer is unknown.
    pub(super) after_unknown: bool,
}

/// The reason why a request has no answer.
#[derive(Debug)]
pub(super) enum SendError {
    /// The gate did not send the request, because it has no permit.
    NotPermitted(String),
    /// The gate did not send the request, because the lock is lost.
    Fenced,
    /// The request may or may not have arrived.
    NoAnswer(SendFailure),
}

/// The failure that prevented an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SendFailure {
    /// The credentials could not be obtained or used.
    Credentials(String),
    /// The server's certificate is not trusted.
    Certificate(String),
    /// No answer came in time.
    TimedOut,
    /// The connection failed.
    Connection(String),
}

impl std::fmt::Display for SendFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Credentials(detail) | Self::Certificate(detail) | Self::Connection(detail) => f.write_str(detail),
            Self::TimedOut => f.write_str("no answer in time"),
        }
    }
}

impl SendFailure {
    /// Returns `true` if a retry may help.
    fn is_transient(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Connection(_))
    }
}

/// The transport to one server. Clones share the connections, the limit on simultaneous requests and the server's
/// clock.
#[derive(Clone)]
pub(super) struct Transport {
    client: kube::Client,
    server: Arc<str>,
    time_out: Duration,
    jitter: Arc<Jitter>,
    slots: Arc<Semaphore>,
    clock: Arc<ServerClock>,
    observer: Option<RequestObserver>,
}

impl Transport {
    /// Makes the transport. The innermost layer of `client` must be the gate.
    pub(super) fn new(client: kube::Client, server: &str, settings: &ClusterSettings) -> Self {
        Self {
            client,
            server: server.into(),
            time_out: settings.request_timeout,
            jitter: Arc::new(Jitter::new(settings.jitter)),
            slots: Arc::new(Semaphore::new(settings.concurrency.max(1))),
            clock: Arc::default(),
            observer: settings.observer.clone(),
        }
    }

    /// The address of the server, for reports.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Adds jitter to a pause.
    pub(super) fn spread(&self, pause: Duration) -> Duration {
        self.jitter.spread(pause)
    }

    /// The current time on the server's clock, or `None` if no answer had a `Date` header.
    pub(super) fn server_time(&self) -> Option<Timestamp> {
        self.clock.now()
    }

    /// Sends a request, and repeats it until the answer is definite or no retry is left.
    ///
    /// This is only for requests that have the same effect if they arrive twice.
    pub(super) async fn send(&self, call: &Call) -> Result<ApiAnswer, SendError> {
        self.send_pausing(call, &PAUSES).await
    }

    /// Sends a request to find out if there is a server. It retries less often than [`Transport::send`].
    pub(super) async fn probe(&self, call: &Call) -> Result<ApiAnswer, SendError> {
        self.send_pausing(call, &PAUSES[..3]).await
    }

    async fn send_pausing(&self, call: &Call, pauses: &[Duration]) -> Result<ApiAnswer, SendError> {
        let mut after_unknown = false;
        let mut pauses = pauses.iter();
        loop {
            let slot = self.slots.acquire().await;
            let attempt = self.attempt(call, self.time_out).await;
            drop(slot);
            let asked = match &attempt {
                Ok(answer) if answer.is_transient() => answer.retry_after.unwrap_or_default(),
                Err(SendError::NoAnswer(failure)) if failure.is_transient() => Duration::ZERO,
                _ => return attempt.map(|answer| ApiAnswer { after_unknown, ..answer }),
            };
            let Some(pause) = pauses.next().filter(|_| asked <= LONGEST_PAUSE) else {
                return attempt.map(|answer| ApiAnswer { after_unknown, ..answer });
            };
            after_unknown |= !attempt.is_ok_and(|answer| answer.is_definite());
            // The server asks for a shortest pause, so jitter must not shorten that one.
            sleep(asked.max(self.spread(*pause))).await;
        }
    }

    /// Sends a request once, and tells the observer. The limit on simultaneous requests does not apply.
    pub(super) async fn attempt(&self, call: &Call, limit: Duration) -> Result<ApiAnswer, SendError> {
        let Some(observer) = &self.observer else { return self.attempt_once(call, limit).await };
        let began = Instant::now();
        let answer = self.attempt_once(call, limit).await;
        observer.tell(Exchange {
            method: call.method.as_str(),
            path: call.target.text().unwrap_or_default().split('?').next().unwrap_or_default(),
            // The gate lets only dry runs through without a permit.
            is_dry_run: call.method != Method::GET && call.permit.is_none(),
            status: answer.as_ref().ok().map(|answer| answer.status.as_u16()),
            duration: began.elapsed(),
        });
        answer
    }

    async fn attempt_once(&self, call: &Call, limit: Duration) -> Result<ApiAnswer, SendError> {
        let target = call.target.text().map_err(|why| SendError::NotPermitted(why.to_owned()))?;
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(target)
            .header(ACCEPT, call.accept)
            .header(CONTENT_TYPE, call.content_type)
            .body(Body::from(call.body.clone()))
            .map_err(|error| SendError::NotPermitted(format!("{target} is not a valid address: {error}")))?;
        if let Some(permit) = &call.permit {
            request.extensions_mut().insert::<Permit>(permit.clone());
        }
        let timed_out = |_| SendError::NoAnswer(SendFailure::TimedOut);
        let response = timeout(limit, self.client.send(request)).await.map_err(timed_out)?.map_err(translate)?;
        let (parts, body) = response.into_parts();
        self.clock.set(&parts.headers);
        let body = timeout(limit, body.collect()).await.map_err(timed_out)?.map_err(translate)?.to_bytes().to_vec();
        let retry_after = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let answer = ApiAnswer {
            status: parts.status,
            body,
            retry_after: retry_after.map(Duration::from_secs),
            after_unknown: false,
        };
        if let Some(in_flight) = parts.extensions.get::<InFlight>()
            && answer.is_definite()
        {
            in_flight.answered();
        }
        Ok(answer)
    }

    /// The error for an operation that every run needs, if there is no answer.
    pub(super) fn failed(&self, operation: &str, error: SendError) -> ClusterError {
        let server = self.server.to_string();
        match error {
            SendError::NoAnswer(SendFailure::Credentials(detail)) => ClusterError::Credentials { server, detail },
            SendError::NoAnswer(SendFailure::Certificate(detail)) => ClusterError::Untrusted { server, detail },
            SendError::NoAnswer(failure) => ClusterError::Unreachable { server, detail: failure.to_string() },
            SendError::NotPermitted(detail) => ClusterError::ApiAnswer { operation: operation.to_owned(), detail },
            SendError::Fenced => {
                ClusterError::ApiAnswer { operation: operation.to_owned(), detail: "the lock is lost".to_owned() }
            }
        }
    }

    /// The error for an operation that every run needs, if the server refuses it.
    pub(super) fn refused(&self, operation: &str, answer: &ApiAnswer) -> ClusterError {
        let (operation, detail) = (operation.to_owned(), answer.words());
        match answer.status {
            StatusCode::UNAUTHORIZED => ClusterError::Unauthorized { server: self.server.to_string() },
            StatusCode::FORBIDDEN => ClusterError::Forbidden { operation, detail },
            _ => ClusterError::ApiAnswer { operation, detail },
        }
    }
}

/// The server's clock: the last `Date` header, and the time since then on the local monotonic clock.
#[derive(Debug, Default)]
struct ServerClock {
    seen: Mutex<Option<(Timestamp, Instant)>>,
}

impl ServerClock {
    fn set(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        if let Some(time) = date.and_then(|date| parser.parse_timestamp(date).ok()) {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((time, Instant::now()));
        }
    }

    fn now(&self) -> Option<Timestamp> {
        let (time, seen) = (*self.seen.lock().unwrap_or_else(PoisonError::into_inner))?;
        time.checked_add(SignedDuration::try_from(seen.elapsed()).ok()?).ok()
    }
}

fn translate(error: kube::Error) -> SendError {
    let error: Box<dyn Error + Send + Sync> = match error {
        kube::Error::Service(error) => error,
        other => Box::new(other),
    };
    if let Some(gate) = chain(&*error).find_map(|error| error.downcast_ref::<GateError>()) {
        return match gate {
            GateError::NotPermitted(_) | GateError::Elsewhere(_) => SendError::NotPermitted(gate.to_string()),
            GateError::Fenced => SendError::Fenced,
            GateError::TooLate => SendError::NoAnswer(SendFailure::TimedOut),
        };
    }
    if let Some(auth) = chain(&*error).find_map(|error| error.downcast_ref::<AuthError>()) {
        return SendError::NoAnswer(SendFailure::Credentials(credentials(auth)));
    }
    if let Some(tls) = chain(&*error).find_map(tls) {
        return SendError::NoAnswer(SendFailure::Certificate(tls));
    }
    let innermost = chain(&*error).last().map(ToString::to_string).unwrap_or_default();
    SendError::NoAnswer(SendFailure::Connection(innermost))
}

/// Describes a problem with credentials. The text does not contain the output of a plugin or the content of a file,
/// because these may contain credentials.
pub(super) fn credentials(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { out, .. } => format!("the credential plugin failed ({})", out.status),
        AuthError::AuthExecStart(source) => format!("the credential plugin cannot be run: {source}"),
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => {
            "the credential plugin printed no ExecCredential".to_owned()
        }
        AuthError::MissingCommand => "the credential plugin's entry names no command".to_owned(),
        AuthError::ReadTokenFile(source, path) => format!("the token file {}: {source}", path.display()),
        AuthError::InvalidBearerToken(_) | AuthError::InvalidBasicAuth(_) => {
            "the token or password has characters that cannot be sent".to_owned()
        }
        _ => "the credentials cannot be obtained".to_owned(),
    }
}

fn tls(error: &(dyn Error + 'static)) -> Option<String> {
    // An `io::Error` hides its inner error from the chain, sometimes twice.
    if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return tls(inner);
    }
    match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(reason) => Some(format!("its certificate is not trusted ({reason})")),
        rustls::Error::NoCertificatesPresented => Some("it presents no certificate".to_owned()),
        _ => None,
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Fault, message};
    use super::super::path::Target;
    use super::super::settings::ClusterSettings;
    use super::*;
    use serde_json::json;

    const PATH: &str = "/api/v1/namespaces/a/configmaps/x";

    fn fake() -> Fake {
        let fake = Fake::new();
        fake.set(PATH, Some(json!({"metadata": {"name": "x"}})));
        fake
    }

    #[tokio::test(start_paused = true)]
    async fn p5_each_attempt_is_observed_without_its_query() {
        const LIST: &str = "/api/v1/namespaces/a/configmaps";
        let fake = fake();
        fake.fail(Method::GET, LIST, Fault::RetryAfter(503, 0));
        fake.fail(Method::GET, LIST, Fault::Reset);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        let observer = RequestObserver::new(move |exchange: Exchange<'_>| {
            let Exchange { method, path, is_dry_run, status, .. } = exchange;
            told.lock().unwrap().push(format!("{method} {path} {is_dry_run} {status:?}"));
        });
        let cluster = fake.cluster_with(ClusterSettings { observer: Some(observer), ..ClusterSettings::default() });
        let call = Call::get(Target::raw(&format!("{LIST}?continue=token")));
        let last = cluster.wire.send(&call).await.unwrap().status.as_u16();
        let line = |status: Option<u16>| format!("GET {LIST} false {status:?}");
        assert_eq!(*seen.lock().unwrap(), [line(Some(503)), line(None), line(Some(last))]);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_honored() {
        for (seconds, least, most) in [(0, 0, 1), (7, 7, 8), (45, 45, 46)] {
            let fake = fake();
            fake.fail(Method::GET, PATH, Fault::RetryAfter(429, seconds));
            let started = Instant::now();
            let answer = fake.cluster().wire.send(&Call::get(Target::raw(PATH))).await.unwrap();
            assert_eq!(answer.status, StatusCode::OK);
            let waited = started.elapsed();
            assert!(
                waited >= Duration::from_secs(least) && waited <= Duration::from_secs(most),
                "{seconds}: {waited:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn jitter_spreads_retries_and_never_shortens_what_the_server_asks_for() {
        let waited = async |seed, fault: Fault| {
            let fake = fake();
            fake.fail(Method::GET, PATH, fault);
            let cluster = fake.cluster_with(ClusterSettings { jitter: seed, ..ClusterSettings::default() });
            let started = Instant::now();
            cluster.wire.send(&Call::get(Target::raw(PATH))).await.unwrap();
            started.elapsed()
        };
        let mut different = std::collections::BTreeSet::new();
        for seed in 0..20 {
            assert!(waited(Some(seed), Fault::RetryAfter(429, 7)).await >= Duration::from_secs(7), "{seed}");
            different.insert(waited(Some(seed), Fault::Reset).await);
        }
        let (shortest, longest) = (Duration::from_millis(150), Duration::from_millis(255));
        assert!(
            different.len() > 5 && different.iter().all(|time| (shortest..longest).contains(time)),
            "{different:?}"
        );
        assert_eq!(waited(None, Fault::Reset).await.as_millis() / 10, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_an_hour_is_not_waited_for() {
        let fake = fake();
        fake.fail(Method::GET, PATH, Fault::RetryAfter(503, 3600));
        let answer = fake.cluster().wire.send(&Call::get(Target::raw(PATH))).await.unwrap();
        assert_eq!((answer.status, fake.journal().len()), (StatusCode::SERVICE_UNAVAILABLE, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_time_heals_is_asked_again_and_only_that() {
        let webhook = "Internal error occurred: failed calling webhook \"x\": connection refused";
        let typed = "failed to create typed patch object (a/x; v1, Kind=ConfigMap): .data.a: expected string";
        for (fault, attempts, after_unknown) in [
            (Fault::Reset, 2, true),
            (Fault::LoseAnswer, 2, true),
            (Fault::Hang, 2, true),
            (Fault::RetryAfter(429, 0), 2, false),
            (Fault::ApiAnswer(502, json!({})), 2, true),
            (Fault::ApiAnswer(503, json!({})), 2, true),
            (Fault::ApiAnswer(504, json!({})), 2, true),
            (Fault::ApiAnswer(500, message("InternalError", webhook)), 2, false),
            (Fault::ApiAnswer(500, message("", "etcdserver: request timed out")), 2, true),
            // The server answers 500 although the manifest is wrong.
            (Fault::ApiAnswer(500, message("", typed)), 1, false),
            (Fault::ApiAnswer(409, json!({})), 1, false),
            (Fault::ApiAnswer(422, json!({})), 1, false),
            (Fault::ApiAnswer(501, json!({})), 1, false),
        ] {
            let fake = fake();
            let before_arrival = matches!(fault, Fault::Reset | Fault::Hang);
            fake.fail(Method::GET, PATH, fault);
            let answer = fake.cluster().wire.send(&Call::get(Target::raw(PATH))).await.unwrap();
            let arrived = fake.journal().len() + usize::from(before_arrival);
            assert_eq!((arrived, answer.after_unknown), (attempts, after_unknown), "{answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_in_the_end() {
        let fake = fake();
        for _ in 0..50 {
            fake.fail(Method::GET, PATH, Fault::Reset);
        }
        let answer = fake.cluster().wire.send(&Call::get(Target::raw(PATH))).await;
        assert!(matches!(answer, Err(SendError::NoAnswer(SendFailure::Connection(_)))), "{answer:?}");
        assert_eq!(fake.faults_left(), 50 - 1 - PAUSES.len());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_requests_are_under_way_than_allowed() {
        let fake = fake();
        let cluster = fake.cluster();
        for _ in 0..17 {
            fake.fail(Method::GET, PATH, Fault::Late(Duration::from_secs(1)));
        }
        let started = Instant::now();
        let call = Call::get(Target::raw(PATH));
        futures::future::join_all((0..17).map(|_| cluster.wire.send(&call))).await;
        // There are 17 requests of one second each, and 8 of them run at once.
        assert_eq!(started.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_servers_time_goes_on_between_answers() {
        let fake = fake();
        let cluster = fake.cluster();
        assert_eq!(cluster.wire.server_time(), None);
        cluster.wire.send(&Call::get(Target::raw(PATH))).await.unwrap();
        sleep(Duration::from_millis(2500)).await;
        assert_eq!(cluster.wire.server_time().unwrap().to_string(), "2031-05-06T07:08:11.5Z");
    }
}

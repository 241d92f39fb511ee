//! The gate: the innermost layer of the client. Every request passes it last.
//!
//! The gate reads the request itself to find out if it would persist anything. It sends such a request only with a
//! valid permit. It does not retry and does not read answers.

use std::future::{Future as _, poll_fn, ready};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Response};
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

use super::clocks::Moment;
use super::path::{Resource, Route, is_query_of, route};

/// The reason why a request was not sent, or its answer was not awaited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GateError {
    /// The request would persist something, but has no permit for it.
    #[error("{0} would change the cluster, but has no permit")]
    NotPermitted(String),
    /// The path is not discovery, a collection or one object, or the query has an unknown key.
    #[error("{0} is not a request for an object or a collection, so it is not sent")]
    Elsewhere(String),
    /// The lock that permits the request is lost, or its fence has passed.
    #[error("the lock is lost")]
    Fenced,
    /// The request was sent, and no answer came before the end of the lease.
    #[error("no answer before the lock's lease ends")]
    TooLate,
}

/// The permit of a request to change the cluster. It is in the extensions of the request.
#[derive(Clone, Debug)]
pub(super) enum Permit {
    /// A held lock, until its fence passes.
    Lock(Arc<Fence>),
    /// The lock's own Lease and nothing else. Each such request is a compare-and-swap.
    Lease,
    /// The creation of a namespace and nothing else.
    Namespace,
}

/// The local deadline after which the holder of a lock sends no more changes. It uses two monotonic clocks, and the one
/// that shows the longer time counts. If the machine sleeps until the lease has ended, the lock is lost.
#[derive(Debug)]
pub(super) struct Fence {
    lease: Duration,
    /// The moment at which the last successful renewal was sent.
    renewed: Mutex<Moment>,
    lost: watch::Sender<bool>,
    unanswered: watch::Sender<usize>,
}

impl Fence {
    /// Makes the fence for a lease of the given length. The first write of the Lease was sent at `sent`.
    pub(super) fn new(lease: Duration, sent: Moment) -> Self {
        Self { lease, renewed: Mutex::new(sent), lost: watch::Sender::new(false), unanswered: watch::Sender::new(0) }
    }

    /// Moves the fence after a successful renewal that was sent at `sent`.
    pub(super) fn renewed(&self, sent: Moment) {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        if renewed.instant() <= sent.instant() {
            *renewed = sent;
        }
    }

    /// Closes the fence permanently.
    pub(super) fn lose(&self) {
        self.lost.send_replace(true);
    }

    /// Returns `true` if the lock is lost. If the fence passes while no request is sent, the lock is not lost yet,
    /// because a renewal may still succeed before the lease ends. It is lost when the lease ends.
    pub(super) fn is_lost(&self) -> bool {
        if self.last_renewed().elapsed() >= self.lease {
            self.lose();
        }
        *self.lost.borrow()
    }

    /// Waits until the lock is lost.
    pub(super) async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        // The sender exists as long as `self`.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// The earliest moment at which another party may take over the lease.
    pub(super) fn lease_end(&self) -> Instant {
        self.last_renewed().instant() + self.lease
    }

    fn last_renewed(&self) -> Moment {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time from the last renewal until answers to requests under this lock are no longer awaited.
    fn patience(&self) -> Duration {
        self.lease.saturating_sub(self.lease / 12)
    }

    /// Returns `true` if this time is over.
    fn is_over(&self) -> bool {
        self.last_renewed().elapsed() >= self.patience()
    }

    /// Returns `true` if a request under this lock was sent and its effect is unknown.
    pub(super) fn has_unanswered(&self) -> bool {
        *self.unanswered.borrow() > 0
    }

    /// The moment until which the answer to a request sent now is awaited.
    ///
    /// Fails if no request may be sent. This is final: the caller gives up, so a late renewal must not restore the
    /// lock.
    fn admit(&self) -> Result<Instant, GateError> {
        let renewed = self.last_renewed();
        if *self.lost.borrow() || renewed.elapsed() >= self.lease.saturating_sub(self.lease / 3) {
            self.lose();
            return Err(GateError::Fenced);
        }
        Ok(renewed.instant() + self.patience())
    }
}

/// A request that was sent under a lock. If it is dropped without [`InFlight::answered`], it counts as unanswered.
#[derive(Clone, Debug)]
pub(super) struct InFlight(Arc<Ticket>);

#[derive(Debug)]
struct Ticket {
    fence: Arc<Fence>,
    answered: watch::Sender<bool>,
}

impl InFlight {
    fn new(fence: Arc<Fence>) -> Self {
        Self(Arc::new(Ticket { fence, answered: watch::Sender::new(false) }))
    }

    /// Records that the answer shows the effect of the request.
    pub(super) fn answered(&self) {
        self.0.answered.send_replace(true);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !*self.answered.borrow() {
            self.fence.unanswered.send_modify(|count| *count += 1);
        }
    }
}

/// The layer that puts the gate in front of a service.
#[derive(Clone, Debug)]
pub(super) struct GateLayer {
    time_out: Duration,
    base: Arc<str>,
}

impl GateLayer {
    /// Makes the layer. `time_out` is the longest time for which the server may work on a request that is not a read.
    /// `base` is the path below which the server's API begins.
    pub(super) fn new(time_out: Duration, base: &str) -> Self {
        Self { time_out, base: base.trim_end_matches('/').into() }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, time_out: self.time_out, base: Arc::clone(&self.base) }
    }
}

/// The gate in front of a service. See [`GateLayer`].
#[derive(Clone, Debug)]
pub(super) struct Gate<S> {
    inner: S,
    time_out: Duration,
    base: Arc<str>,
}

impl<S, B> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let permit = request.extensions_mut().remove::<Permit>();
        let (fence, until) = match admit(&request, &self.base, permit) {
            Ok(Some((fence, until))) => (Some(fence), Some(until)),
            Ok(None) => (None, None),
            Err(error) => return Box::pin(ready(Err(error.into()))),
        };
        if !is_read(request.method()) {
            let left = until.map_or(self.time_out, |until| until.saturating_duration_since(Instant::now()));
            limit(&mut request, left.min(self.time_out));
        }
        let in_flight = fence.clone().map(InFlight::new);
        let mut answer = Box::pin(self.inner.call(request));
        // The fence is checked before every poll. If the machine sleeps before the request is sent, it is not sent
        // afterwards.
        let answer = poll_fn(move |context| match &fence {
            Some(fence) if fence.is_over() => Poll::Ready(Err(GateError::TooLate.into())),
            _ => answer.as_mut().poll(context).map_err(Into::into),
        });
        Box::pin(async move {
            let mut answer = match until {
                Some(until) => tokio::time::timeout_at(until, answer).await.map_err(|_| GateError::TooLate)?,
                None => answer.await,
            }?;
            if let Some(in_flight) = in_flight {
                answer.extensions_mut().insert(in_flight);
            }
            Ok(answer)
        })
    }
}

/// Decides if a request may be sent. For a request that a lock permits, returns the fence of the lock and the moment
/// until which the answer is awaited.
fn admit(
    request: &Request<Body>,
    base: &str,
    permit: Option<Permit>,
) -> Result<Option<(Arc<Fence>, Instant)>, GateError> {
    let route = route_of(request, base)?;
    if is_read(request.method()) || is_dry_run(request) {
        return Ok(None);
    }
    match (permit, route) {
        (Some(Permit::Lock(fence)), _) => {
            let until = fence.admit()?;
            Ok(Some((fence, until)))
        }
        (
            Some(Permit::Lease),
            Route::Collection(Resource { group: "coordination.k8s.io", plural: "leases", is_namespaced: true })
            | Route::Object(Resource { group: "coordination.k8s.io", plural: "leases", is_namespaced: true }),
        ) => Ok(None),
        (
            Some(Permit::Namespace),
            Route::Collection(Resource { group: "", plural: "namespaces", is_namespaced: false }),
        ) => Ok(None),
        _ => Err(GateError::NotPermitted(format!("{} {}", request.method(), request.uri().path()))),
    }
}

/// Finds the route of a request. Every request must be for discovery, a collection or one object, and its query may
/// contain only known keys. All other requests are refused.
fn route_of<'a>(request: &'a Request<Body>, base: &str) -> Result<Route<'a>, GateError> {
    let path = request.uri().path();
    let elsewhere = || GateError::Elsewhere(format!("{} {path}", request.method()));
    let route = path.strip_prefix(base).and_then(route).ok_or_else(elsewhere)?;
    let keys: &[&str] = match (request.method(), route) {
        (&Method::GET | &Method::HEAD, Route::Discovery | Route::Object(_)) => &[],
        (&Method::GET | &Method::HEAD, Route::Collection(_)) => {
            &["continue", "fieldSelector", "labelSelector", "limit"]
        }
        (&Method::POST, Route::Collection(_)) => &["dryRun", "fieldManager", "fieldValidation"],
        (&Method::PATCH, Route::Object(_)) => &["dryRun", "fieldManager", "fieldValidation", "force"],
        (&Method::PUT, Route::Object(_)) => &["dryRun", "fieldManager", "fieldValidation"],
        (&Method::DELETE, Route::Object(_)) => &[],
        _ => return Err(elsewhere()),
    };
    if request.uri().query().is_none_or(|query| is_query_of(query, keys)) { Ok(route) } else { Err(elsewhere()) }
}

fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Returns `true` if the server would persist nothing. For a DELETE, only the body counts, because the server ignores
/// the query if there is a body.
fn is_dry_run(request: &Request<Body>) -> bool {
    if request.method() == Method::DELETE {
        let Some(Ok(bytes)) = request.body().try_clone().and_then(|body| body.collect_bytes().now_or_never()) else {
            return false;
        };
        return serde_json::from_slice::<serde_json::Value>(&bytes)
            .is_ok_and(|options| options.get("dryRun") == Some(&serde_json::json!(["All"])));
    }
    let verbs = [Method::PATCH, Method::POST, Method::PUT];
    verbs.contains(request.method())
        && request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "dryRun=All"))
}

/// Adds the `timeout` parameter. The server gives up after this time, so the request cannot take effect long after the
/// client stopped waiting.
fn limit(request: &mut Request<Body>, time_out: Duration) {
    // The server gets one second less than the client waits, so that its answer arrives. The value is never zero.
    let server = time_out.saturating_sub(Duration::from_secs(1)).max(time_out / 2).max(Duration::from_millis(1));
    let text = if server.subsec_millis() == 0 {
        format!("timeout={}s", server.as_secs())
    } else {
        format!("timeout={}ms", server.as_millis())
    };
    let uri = request.uri();
    let separator = if uri.query().is_some() { '&' } else { '?' };
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = format!("{path}{separator}{text}").parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::super::path::Target;
    use super::super::request::Call;
    use super::super::transport::SendError;
    use super::*;
    use serde_json::json;

    /// Sends a request of the given shape. Returns `true` if the gate sent it.
    async fn leaves(method: Method, target: &str, body: serde_json::Value, permit: Option<Permit>) -> bool {
        let fake = Fake::new();
        let call = Call { method, body: body.to_string().into_bytes(), permit, ..Call::get(Target::raw(target)) };
        let answer = fake.cluster().wire.attempt(&call, Duration::from_secs(5)).await;
        assert_eq!(
            matches!(answer, Err(SendError::NotPermitted(_))),
            fake.journal().is_empty(),
            "{target}: {answer:?}"
        );
        answer.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn p1_without_a_permit_nothing_that_persists_leaves() {
        let path = "/api/v1/namespaces/a/configmaps/x";
        for (method, target, body, expected) in [
            (Method::GET, path.to_owned(), json!(null), true),
            (Method::HEAD, path.to_owned(), json!(null), true),
            (Method::PATCH, format!("{path}?dryRun=All"), json!({}), true),
            (Method::PATCH, format!("{path}?force=false&dryRun=All"), json!({}), true),
            (Method::POST, "/api/v1/namespaces/a/configmaps?dryRun=All".to_owned(), json!({}), true),
            (Method::DELETE, path.to_owned(), json!({"dryRun": ["All"]}), true),
            (Method::PATCH, path.to_owned(), json!({}), false),
            (Method::PATCH, format!("{path}?dryRun=Allx"), json!({}), false),
            (Method::PATCH, format!("{path}?xdryRun=All"), json!({}), false),
            (Method::POST, "/api/v1/namespaces".to_owned(), json!({}), false),
            (Method::PUT, path.to_owned(), json!({}), false),
            (Method::DELETE, path.to_owned(), json!(null), false),
            (Method::DELETE, path.to_owned(), json!({}), false),
            // The server would really delete the object, because it ignores the query if there is a body.
            (Method::DELETE, format!("{path}?dryRun=All"), json!({}), false),
            (Method::DELETE, format!("{path}?dryRun=All"), json!({"dryRun": []}), false),
            (Method::OPTIONS, path.to_owned(), json!(null), false),
        ] {
            let label = format!("{method} {target} {body}");
            assert_eq!(leaves(method, &target, body, None).await, expected, "{label}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_opens_for_its_own_purpose_only() {
        let lease = "/apis/coordination.k8s.io/v1/namespaces/a/leases/x";
        let secret = "/api/v1/namespaces/a/secrets/x";
        for (permit, method, target, expected) in [
            (Permit::Lease, Method::PUT, lease, true),
            (Permit::Lease, Method::DELETE, lease, true),
            (Permit::Lease, Method::PUT, secret, false),
            (Permit::Namespace, Method::POST, "/api/v1/namespaces", true),
            (Permit::Namespace, Method::DELETE, "/api/v1/namespaces/a", false),
            (Permit::Namespace, Method::POST, "/api/v1/namespaces/a/secrets", false),
        ] {
            let label = format!("{permit:?} {method} {target}");
            assert_eq!(leaves(method, target, json!({}), Some(permit)).await, expected, "{label}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn x3_nothing_leaves_for_anywhere_but_a_collection_or_an_object() {
        let object = "/api/v1/namespaces/a/services/x";
        let all = "/api/v1/namespaces/a/services";
        let elsewhere = [
            (Method::GET, format!("{object}/proxy/admin/shutdown")),
            (Method::GET, format!("{object}%2Fproxy%2Fadmin")),
            (Method::GET, "/api/v1/nodes/n0/proxy".to_owned()),
            (Method::GET, "/api/v1/namespaces/../nodes/n0".to_owned()),
            (Method::GET, "/api/v1%2Fnodes/n0".to_owned()),
            (Method::GET, format!("{all}?watch=true")),
            (Method::GET, format!("{all}?limit=1&limit=2")),
            (Method::GET, format!("{all}?limit=1&labelSelector=a&b")),
            (Method::GET, format!("{object}?limit=1")),
            (Method::GET, "/metrics".to_owned()),
            (Method::HEAD, format!("{object}/log")),
            (Method::PATCH, format!("{object}/status?dryRun=All")),
            (Method::PATCH, format!("{object}?dryRun=All&path=x")),
            (Method::PUT, format!("{object}/scale?dryRun=All")),
            (Method::PUT, format!("{all}?dryRun=All")),
            (Method::POST, format!("{object}?dryRun=All")),
            (Method::POST, format!("{object}/token?dryRun=All")),
            (Method::POST, "/apis?dryRun=All".to_owned()),
            (Method::DELETE, all.to_owned()),
        ];
        let fence = Arc::new(Fence::new(Duration::from_mins(1), Moment::now()));
        for (method, target) in elsewhere {
            for permit in [None, Some(Permit::Lock(Arc::clone(&fence))), Some(Permit::Lease), Some(Permit::Namespace)] {
                let label = format!("{method} {target} {permit:?}");
                let left = leaves(method.clone(), &target, json!({"dryRun": ["All"], "metadata": {}}), permit).await;
                assert!(!left, "{label}");
            }
        }
        for target in
            ["/version", "/api", "/apis", "/apis/apps/v1", all, &format!("{all}?limit=500&continue=a%3D"), object]
        {
            assert!(leaves(Method::GET, target, json!(null), None).await, "{target}");
        }
        // The API may begin below a base path. Paths outside this base path are refused.
        for (base, target, expected) in [
            ("/k8s/clusters/c-1", "/k8s/clusters/c-1/api/v1/pods", true),
            ("/k8s/clusters/c-1/", "/k8s/clusters/c-1/api/v1/pods", true),
            ("/k8s/clusters/c-1", "/k8s/clusters/c-2/api/v1/pods", false),
            ("/k8s/clusters/c-1", "/api/v1/pods", false),
            ("/", "/api/v1/pods", true),
        ] {
            let request = Request::get(target).body(Body::empty()).unwrap();
            let layer = GateLayer::new(Duration::from_secs(1), base);
            assert_eq!(admit(&request, &layer.base, None).is_ok(), expected, "{base} {target}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn l3_nothing_leaves_past_the_fence() {
        let lease = Duration::from_mins(1);
        let path = "/api/v1/namespaces/a/configmaps/x";
        for (age, expected) in [(0, true), (39, true), (40, false), (61, false)] {
            let fence = Arc::new(Fence::new(lease, Moment::now()));
            tokio::time::sleep(Duration::from_secs(age)).await;
            let permit = Permit::Lock(Arc::clone(&fence));
            let fake = Fake::new();
            let call = Call::put(Target::raw(path), &json!({"metadata": {}})).permitted(permit);
            let answer = fake.cluster().wire.send(&call).await;
            assert_eq!(answer.is_ok(), expected, "{age} s: {answer:?}");
            assert_eq!(fake.journal().len(), usize::from(expected), "{age} s");
            assert_eq!(fence.is_lost(), !expected, "{age} s");
            assert!(!fence.has_unanswered());
        }
    }

    /// The runtime's clock stands still while the machine sleeps, but the lease continues.
    #[tokio::test(start_paused = true)]
    async fn x15_nothing_leaves_after_a_sleep_past_the_fence() {
        let lease = Duration::from_mins(1);
        for (slept, expected) in [(0, true), (35, true), (41, false), (61, false)] {
            let sent = Moment::now().before_a_sleep_of(Duration::from_secs(slept));
            let fence = Arc::new(Fence::new(lease, sent));
            assert_eq!(fence.is_lost(), slept > 60, "{slept} s");
            let fake = Fake::new();
            let put = Call::put(Target::raw("/api/v1/namespaces/a/configmaps/x"), &json!({"metadata": {}}));
            let answer = fake.cluster().wire.send(&put.permitted(Permit::Lock(Arc::clone(&fence)))).await;
            assert_eq!((answer.is_ok(), fake.journal().len()), (expected, usize::from(expected)), "{slept} s");
            assert_eq!(fence.is_lost(), !expected, "{slept} s");
        }
        // A renewal that was sent after the sleep makes the lock valid again. A renewal from before the sleep does not.
        let before = Moment::now().before_a_sleep_of(Duration::from_secs(45));
        let fence = Fence::new(lease, before);
        fence.renewed(before);
        assert!(!fence.is_over() && fence.admit().is_err());
        let fence = Fence::new(lease, before);
        fence.renewed(Moment::now());
        assert!(fence.admit().is_ok());
    }

    /// A request that passed the gate and waits for a connection while the machine sleeps is not sent afterwards.
    #[tokio::test(start_paused = true)]
    async fn x15_what_did_not_leave_before_a_sleep_does_not_leave_after_it() {
        let fence = Arc::new(Fence::new(Duration::from_mins(1), Moment::now()));
        let polls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let inner = tower::service_fn(move |_: Request<Body>| {
            let counted = Arc::clone(&counted);
            async move {
                for _ in 0..3 {
                    counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Ok::<_, BoxError>(Response::new(()))
            }
        });
        let mut gate = GateLayer::new(Duration::from_secs(30), "").layer(inner);
        let mut request = Request::put("/api/v1/namespaces/a/configmaps/x").body(Body::empty()).unwrap();
        request.extensions_mut().insert(Permit::Lock(Arc::clone(&fence)));
        let answer = gate.call(request);
        let slept = Arc::clone(&fence);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            *slept.renewed.lock().unwrap() = Moment::now().before_a_sleep_of(Duration::from_secs(58));
        });
        let error = answer.await.unwrap_err();
        assert_eq!(error.downcast_ref::<GateError>(), Some(&GateError::TooLate));
        assert_eq!(polls.load(std::sync::atomic::Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn every_mutating_request_says_how_long_the_server_may_work_on_it() {
        let fake = Fake::new();
        let cluster = fake.cluster();
        let path = "/api/v1/namespaces/a/configmaps/x";
        let fence = Arc::new(Fence::new(Duration::from_mins(1), Moment::now()));
        let put = || {
            Call::put(Target::raw(&format!("{path}?fieldManager=b")), &json!({"metadata": {}}))
                .permitted(Permit::Lock(Arc::clone(&fence)))
        };
        cluster.wire.send(&put()).await.unwrap();
        // After 39 s, 21 s of the lease are left, and 5 s of them are a margin. The server gets one second less.
        tokio::time::sleep(Duration::from_secs(39)).await;
        cluster.wire.send(&put()).await.unwrap();
        cluster.wire.send(&Call::get(Target::raw(path))).await.unwrap();
        assert_eq!(
            fake.raw_journal(),
            [
                format!("PUT {path}?fieldManager=b&timeout=29s"),
                format!("PUT {path}?fieldManager=b&timeout=15s"),
                format!("GET {path}")
            ]
        );
    }
}

//! A proxy in front of the API server that records the requests of clients and can make them fail.
//!
//! The proxy works at the transport level. It serves TLS as the API server does, and it passes on the clients'
//! credentials.

use std::{
    fs, io,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};
use tokio_rustls::TlsAcceptor;

use super::{ControlPlane, User};

/// A recorded request.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The position of the request among all received requests, from 0.
    pub sequence: usize,
    /// The time at which the request came, counted from the recorder's start.
    pub at: Duration,
    /// The verb.
    pub method: Method,
    /// The path and the query.
    pub target: String,
    /// The body, or nothing.
    pub body: Bytes,
    /// The status that the API server answered, even if a fault kept the answer from the client.
    pub status: Option<StatusCode>,
    /// The time at which the API server answered, counted from the recorder's start.
    pub answered: Option<Duration>,
}

impl Entry {
    /// Returns the path without the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// Returns `true` if the API server would store what the request asks for.
    ///
    /// A DELETE states a dry run in its body. If there is a body, the API server does not look at the query.
    pub fn persists(&self) -> bool {
        let in_query = || {
            let query = self.target.split_once('?').map_or("", |(_, query)| query);
            query.split('&').any(|pair| pair == "dryRun=All")
        };
        match self.method {
            Method::GET | Method::HEAD | Method::OPTIONS => false,
            Method::DELETE if !self.body.is_empty() => !self.body_is_a_dry_run(),
            // These requests are questions in the form of objects. The API server never stores anything of these
            // groups.
            Method::POST if self.path().starts_with("/apis/authorization.k8s.io/") => false,
            Method::POST if self.path().starts_with("/apis/authentication.k8s.io/") => false,
            _ => !in_query(),
        }
    }

    fn body_is_a_dry_run(&self) -> bool {
        let options: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        options.is_some_and(|options| options["dryRun"] == serde_json::json!(["All"]))
    }
}

/// The fault that a request meets.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection is cut before the API server receives the request.
    Cut,
    /// The API server does what the request asks. Then the connection is cut before its answer.
    DropAnswer,
    /// The request waits in the proxy until the gate opens. It arrives even if its client has gone.
    Hold(Gate),
}

/// A gate that stops requests until it is opened.
#[derive(Debug, Clone)]
pub struct Gate {
    state: Arc<watch::Sender<GateState>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GateState {
    Untouched,
    Holding,
    Open,
    Gone,
}

/// The result of a request's wait at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    Free,
    Lost,
}

impl Gate {
    /// Creates a closed gate.
    pub fn closed() -> Self {
        Self { state: Arc::new(watch::Sender::new(GateState::Untouched)) }
    }

    /// Waits until a request has reached the gate.
    pub async fn reached(&self) {
        let _ = self.state.subscribe().wait_for(|state| *state != GateState::Untouched).await;
    }

    /// Returns `true` if a request has reached the gate.
    pub fn is_reached(&self) -> bool {
        *self.state.borrow() != GateState::Untouched
    }

    /// Discards the requests that wait and all later ones. They never arrive.
    pub fn lose(&self) {
        self.state.send_replace(GateState::Gone);
    }

    /// Lets the requests that wait and all later ones pass.
    pub fn open(&self) {
        self.state.send_replace(GateState::Open);
    }

    async fn pass(&self) -> Passage {
        self.state.send_if_modified(|state| {
            let first = *state == GateState::Untouched;
            if first {
                *state = GateState::Holding;
            }
            first
        });
        let mut state = self.state.subscribe();
        match state.wait_for(|state| matches!(state, GateState::Open | GateState::Gone)).await.as_deref() {
            Ok(GateState::Open) => Passage::Free,
            _ => Passage::Lost,
        }
    }
}

/// A recording proxy in front of a control plane.
#[derive(Debug)]
pub struct Recorder<'plane> {
    plane: &'plane ControlPlane,
    url: String,
    begun: Instant,
    journal: Arc<Mutex<Vec<Entry>>>,
    runtime: Option<Runtime>,
}

impl<'plane> Recorder<'plane> {
    /// Starts a proxy that only records.
    pub fn start(plane: &'plane ControlPlane) -> Self {
        Self::with_faults(plane, |_| None)
    }

    /// Starts a proxy that calls `choose` to get the fault of each request, in the order in which the requests come.
    pub fn with_faults(
        plane: &'plane ControlPlane,
        choose: impl Fn(&Entry) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(plane, Box::new(choose)).unwrap_or_else(|error| panic!("failed to start the recorder: {error}"))
    }

    fn serve(plane: &'plane ControlPlane, choose: Choose) -> io::Result<Self> {
        // The proxy has its own runtime, which keeps running while a test's runtime blocks on a process.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let acceptor = acceptor(plane)?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let url = format!("https://{}", listener.local_addr()?);
        let (listener, upstream) = {
            let _on = runtime.enter();
            (TcpListener::from_std(listener)?, plane.client_at(plane.url(), None))
        };
        let journal = Arc::default();
        let begun = Instant::now();
        let proxy = Arc::new(Proxy { upstream, begun, journal: Arc::clone(&journal), choose });
        runtime.spawn(accept(listener, acceptor, proxy));
        Ok(Self { plane, url, begun, journal, runtime: Some(runtime) })
    }

    /// Writes a kubeconfig that sends a user's requests through the proxy, and returns its path.
    pub fn kubeconfig(&self, user: User) -> PathBuf {
        let port = self.url.rsplit(':').next().unwrap_or_default();
        let path = self.plane.folder().join(format!("{}-{port}.kubeconfig", user.name()));
        self.plane
            .write_kubeconfig(&self.url, user, &path)
            .unwrap_or_else(|error| panic!("failed to write {}: {error}", path.display()));
        path
    }

    /// Returns a new client of a user that goes through the proxy.
    pub fn client(&self, user: User) -> Client {
        self.plane.client_at(&self.url, Some(user))
    }

    /// Returns the time of the recorder's start, from which the times of its entries count.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Returns the requests that have come so far.
    pub fn journal(&self) -> Vec<Entry> {
        locked(&self.journal).clone()
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        // A plain drop of the runtime would block, which a test's runtime forbids.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Choose = Box<dyn Fn(&Entry) -> Option<Fault> + Send + Sync>;

struct Proxy {
    upstream: Client,
    begun: Instant,
    journal: Arc<Mutex<Vec<Entry>>>,
    choose: Choose,
}

/// The error that ends the client's connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection was cut")]
struct Severed;

impl Proxy {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Severed> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Severed)?.to_bytes();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let (sequence, fault) = self.note(head.method.clone(), target, body.clone());
        if let Some(Fault::Cut) = fault {
            return Err(Severed);
        }
        let mut forwarded = Request::new(Body::from(body));
        *forwarded.method_mut() = head.method;
        *forwarded.uri_mut() = head.uri;
        *forwarded.headers_mut() = passing(&head.headers);
        forwarded.headers_mut().remove(header::HOST);
        forwarded.headers_mut().remove(header::CONTENT_LENGTH);
        // A separate task sends the request, so that it arrives even if the client has gone.
        let arriving = tokio::spawn(async move {
            if let Some(Fault::Hold(gate)) = &fault
                && gate.pass().await == Passage::Lost
            {
                return Err(Severed);
            }
            let answer = self.upstream.send(forwarded).await.map_err(|_| Severed)?;
            if let Some(entry) = locked(&self.journal).get_mut(sequence) {
                entry.status = Some(answer.status());
                entry.answered = Some(self.begun.elapsed());
            }
            if matches!(fault, Some(Fault::DropAnswer)) { Err(Severed) } else { Ok(answer) }
        });
        let mut answer = arriving.await.map_err(|_| Severed)??;
        *answer.headers_mut() = passing(answer.headers());
        Ok(answer)
    }

    /// Records a request and chooses its fault, one request at a time.
    fn note(&self, method: Method, target: String, body: Bytes) -> (usize, Option<Fault>) {
        let mut journal = locked(&self.journal);
        let sequence = journal.len();
        let entry = Entry { sequence, at: self.begun.elapsed(), method, target, body, status: None, answered: None };
        let fault = (self.choose)(&entry);
        journal.push(entry);
        (sequence, fault)
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, proxy: Arc<Proxy>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, proxy) = (acceptor.clone(), Arc::clone(&proxy));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| Arc::clone(&proxy).answer(request));
            // The client reports such an error, or a test asked for the fault.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn acceptor(plane: &ControlPlane) -> io::Result<TlsAcceptor> {
    let (certificate, key) = plane.serving_pem();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&fs::read(certificate)?).flatten().collect();
    let key = PrivateKeyDer::from_pem_slice(&fs::read(key)?).map_err(io::Error::other)?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(io::Error::other)?)))
}

/// Returns the headers without those that concern one connection alone.
fn passing(headers: &HeaderMap) -> HeaderMap {
    let own = [header::CONNECTION, header::TRANSFER_ENCODING, header::TE, header::TRAILER, header::UPGRADE];
    let mut passing = headers.clone();
    for name in own {
        passing.remove(name);
    }
    passing
}

fn locked(journal: &Mutex<Vec<Entry>>) -> MutexGuard<'_, Vec<Entry>> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

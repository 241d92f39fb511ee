//! The model of the API server behind a socket, for the built program.
//!
//! The server's clock stands still, so that equal runs have equal answers.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use crate::model::{Answer, Request, World};

/// A running API server. It stops when it is dropped.
pub struct ApiServer {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Acts before a request arrives. It may change the server, and it may answer the request in the server's place.
pub type Hand = Box<dyn FnMut(&Request, &mut World) -> Option<Answer> + Send>;

struct State {
    world: World,
    hand: Option<Hand>,
}

impl ApiServer {
    /// Starts a server with this content on a free port.
    pub fn start(world: World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { world, hand: None }));
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&state);
        let thread = std::thread::spawn(move || serve(listener, &served, stopped));
        Self { state, address, stop: Some(stop), thread: Some(thread) }
    }

    /// Sets the hand that acts before each request.
    pub fn set_hand(&self, hand: impl FnMut(&Request, &mut World) -> Option<Answer> + Send + 'static) {
        self.state().hand = Some(Box::new(hand));
    }

    /// Returns the content.
    pub fn world(&self) -> World {
        self.state().world.clone()
    }

    /// Returns the address: the host and the port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Writes a kubeconfig with one context, `demo`.
    pub fn write_kubeconfig(&self, file: &Path) {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: demo\nclusters:\n- name: demo\n  cluster:\n    server: \
             http://{}\ncontexts:\n- name: demo\n  context:\n    cluster: demo\n    user: demo\nusers:\n- name: demo\n  \
             user: {{}}\n",
            self.address
        );
        std::fs::write(file, text).unwrap();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the API server panicked");
        }
    }
}

fn serve(listener: TcpListener, state: &Arc<Mutex<State>>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let accept = async {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let state = Arc::clone(state);
                let service = service_fn(move |request| respond(Arc::clone(&state), request));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A connection that the client breaks ends with an error, which is the client's matter.
                tokio::spawn(async move { drop(connection.await) });
            }
        };
        tokio::select! {
            () = accept => {}
            _ = stopped => {}
        }
    });
}

async fn respond(state: Arc<Mutex<State>>, wired: http::Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (parts, body) = wired.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
    let request = Request { method: parts.method, target: parts.uri.to_string(), body };
    let now = "2031-05-06T07:08:09Z".parse().unwrap();
    let answer = {
        let mut state = state.lock().unwrap();
        let State { world, hand } = &mut *state;
        let answered = hand.as_mut().and_then(|hand| hand(&request, world));
        answered.unwrap_or_else(|| world.answer(&request, now))
    };
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
    Ok(Response::builder().status(answer.status).header("date", date).body(Full::from(answer.body.text())).unwrap())
}

//! A small server of charts on this machine: files by path, with redirects and logins, and a list of what was asked.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// An answer of the server.
#[derive(Clone, Default)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// The authorization that the request must have, and the header that asks for it.
    login: Option<(String, String)>,
}

/// A request: its path with the query, and its authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) authorization: Option<String>,
}

#[derive(Default)]
struct State {
    replies: BTreeMap<String, Reply>,
    asked: Vec<Asked>,
    is_stopped: bool,
}

/// A running server. It stops when it is dropped.
pub(super) struct ChartServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl Reply {
    pub(super) fn of(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    pub(super) fn redirect(to: String) -> Self {
        Self { status: 302, headers: vec![("Location", to)], ..Self::default() }
    }

    /// Returns the same answer for requests with an authorization alone. Others are asked for it by a challenge.
    pub(super) fn for_login(self, authorization: &str, challenge: String) -> Self {
        Self { login: Some((authorization.to_owned(), challenge)), ..self }
    }
}

impl ChartServer {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state: Arc<Mutex<State>> = Arc::default();
        let served = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.lock().unwrap().is_stopped {
                    return;
                }
                // A client that goes away is no matter of the server.
                drop(stream.and_then(|stream| answer(&stream, &served)));
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    /// The host and the port.
    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn set(&self, path: &str, reply: Reply) {
        self.state.lock().unwrap().replies.insert(path.to_owned(), reply);
    }

    pub(super) fn clear(&self) {
        self.state.lock().unwrap().replies.clear();
    }

    /// Returns the requests since the last call.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).collect()
    }
}

impl Drop for ChartServer {
    fn drop(&mut self) {
        self.state.lock().unwrap().is_stopped = true;
        // The server looks at the mark when a connection comes.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn answer(mut stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut authorization = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            authorization = Some(value.to_owned());
        }
    }
    let reply = {
        let mut state = state.lock().unwrap();
        state.asked.push(Asked { path: path.clone(), authorization: authorization.clone() });
        let found = state.replies.get(&path).cloned();
        found.unwrap_or(Reply { status: 404, ..Reply::default() })
    };
    let reply = match &reply.login {
        Some((wanted, challenge)) if authorization.as_ref() != Some(wanted) => {
            Reply { status: 401, headers: vec![("WWW-Authenticate", challenge.clone())], ..Reply::default() }
        }
        _ => reply,
    };
    write!(stream, "HTTP/1.1 {} x\r\nConnection: close\r\nContent-Length: {}\r\n", reply.status, reply.body.len())?;
    for (name, value) in &reply.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    stream.write_all(&reply.body)
}

//! An observer of the requests to the API server, for the details that a person asks for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One request that was sent, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// `true` if the request asks the server to change nothing.
    pub is_dry_run: bool,
    /// The status of the answer, or `None` if there is no answer.
    pub status: Option<u16>,
    /// The time from the start of the request to the end of the answer.
    pub duration: Duration,
}

/// A callback that is told every request, each attempt by itself.
#[derive(Clone)]
pub struct RequestObserver(Arc<dyn Fn(Exchange<'_>) + Send + Sync>);

impl RequestObserver {
    /// Creates an observer that calls `tell`.
    pub fn new(tell: impl Fn(Exchange<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(super) fn tell(&self, exchange: Exchange<'_>) {
        (self.0)(exchange);
    }
}

impl fmt::Debug for RequestObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestObserver")
    }
}

impl PartialEq for RequestObserver {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for RequestObserver {}

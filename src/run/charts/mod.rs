//! Fetches the archives of charts that are not in the tree.
//!
//! Only what a lock names by address and digest is rendered. An archive whose bytes differ from its digest is refused.

mod credentials;
mod index;
pub(crate) mod locking;
mod registry;
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::OnceCell;

use crate::git::commit::Commit;
use crate::git::repository::Repository;
use crate::git::tree::CommitTree;
use crate::process::Environment;
use crate::process::engine::Policy;
use crate::render::address::Address;
use crate::render::lock::{ArchiveDigest, Archives, LOCK_FILE, Locked, LockedChart, Registry, RemoteChart};
use crate::run::error::chain;

use credentials::Credentials;
use registry::Client;
use web::{Request, WebError};

/// The maximum size of an archive.
const MOST_BYTES: usize = 64 << 20;
/// The largest number of archives that are fetched at the same time.
const AT_ONCE: usize = 4;
/// The time for all archives of a tree together.
const TIME_FOR_ALL: Duration = Duration::from_mins(5);
/// The maximum number of bytes of all archives that one run fetches.
const MOST_TOGETHER: usize = 512 << 20;

/// The charts whose archives a run may fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trust {
    /// All that a lock names.
    All,
    /// These alone, whatever the lock of a tree names.
    Only(BTreeSet<LockedChart>),
}

/// The fetched archives of a run, and the means to fetch more.
pub(super) struct Charts {
    environment: Environment,
    trust: Mutex<Trust>,
    client: OnceCell<Result<Client, String>>,
    fetched: Mutex<BTreeMap<ArchiveDigest, Vec<u8>>>,
}

/// The reason why an archive is not fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The request failed.
    #[error("fetch the {chart}")]
    Web {
        /// The chart, for the message.
        chart: String,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The archive has other bytes than the lock says.
    #[error(
        "fetch the {chart}: its bytes changed since they were locked; to accept them, remove its entry from {LOCK_FILE} and \
         lock the charts again"
    )]
    Changed {
        /// The chart, for the message.
        chart: String,
    },
    /// Nobody whose word counts named the chart.
    #[error(
        "fetch the {chart}: only the lock of this change names it, and the change is not the repository's own; put its \
         archive at {path}"
    )]
    Untrusted {
        /// The chart, for the message.
        chart: String,
        /// The path of the archive in the tree.
        path: String,
    },
    /// The client cannot be made.
    #[error("prepare for HTTPS: {0}")]
    Client(String),
    /// A run fetches too much.
    #[error("fetch the {chart}: the charts have more than {} MiB together", MOST_TOGETHER >> 20)]
    TooMuch {
        /// The chart, for the message.
        chart: String,
    },
}

impl fmt::Debug for Charts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Charts").field("trust", &self.trust).finish_non_exhaustive()
    }
}

impl Charts {
    /// Returns charts that are fetched with the credentials of this environment.
    pub(super) fn new(environment: Environment, policy: &Policy) -> Self {
        let trust = if *policy == Policy::UNTRUSTED { Trust::Only(BTreeSet::new()) } else { Trust::All };
        Self { environment, trust: Mutex::new(trust), client: OnceCell::new(), fetched: Mutex::default() }
    }

    /// Trusts what the lock of a commit names, if not everything is trusted anyway. A lock that cannot be read names
    /// nothing.
    pub(super) async fn trust(&self, repository: &Repository, commit: &Commit, prefix: &Path) {
        if *self.trust.lock().unwrap_or_else(PoisonError::into_inner) == Trust::All {
            return;
        }
        let Ok((mut tree, mut files)) = CommitTree::open(repository, commit, prefix).await else { return };
        if tree.load(&mut files, &BTreeSet::from([LOCK_FILE.into()])).await.is_err() {
            return;
        }
        let Some(lock) = Locked::of(&files).ok().and_then(|locked| locked.lock) else { return };
        if let Trust::Only(trusted) = &mut *self.trust.lock().unwrap_or_else(PoisonError::into_inner) {
            trusted.extend(lock.charts.into_values());
        }
    }

    /// Fetches archives. A message stands for each that cannot be had.
    pub(super) async fn archives(&self, charts: &[LockedChart]) -> Archives {
        let fetched = futures::stream::iter(charts)
            .map(async |chart| {
                let fetched = self.fetch(chart).await;
                (chart.sha256.clone(), fetched.map_err(|error| format!("failed to {}", chain(&error))))
            })
            .buffer_unordered(AT_ONCE)
            .take_until(tokio::time::sleep(TIME_FOR_ALL));
        let mut archives: Archives = fetched.collect().await;
        for chart in charts {
            let late = || Err(format!("the archive of the {} was not fetched in time: run again", chart.chart));
            archives.entry(chart.sha256.clone()).or_insert_with(late);
        }
        archives
    }

    /// Fetches the archive that an entry of a lock names.
    async fn fetch(&self, entry: &LockedChart) -> Result<Vec<u8>, FetchError> {
        let chart = entry.chart.to_string();
        let path = entry.sha256.vendored_path().display().to_string();
        if let Trust::Only(trusted) = &*self.trust.lock().unwrap_or_else(PoisonError::into_inner)
            && !trusted.contains(entry)
        {
            return Err(FetchError::Untrusted { chart, path });
        }
        let known = self.fetched.lock().unwrap_or_else(PoisonError::into_inner).get(&entry.sha256).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let bytes = self.client().await?.archive(&entry.chart, &entry.url).await;
        let bytes = bytes.map_err(|source| FetchError::Web { chart: chart.clone(), source: Box::new(source) })?;
        if ArchiveDigest::of(&bytes) != entry.sha256 {
            return Err(FetchError::Changed { chart });
        }
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let together = fetched.values().map(Vec::len).sum::<usize>() + bytes.len();
        if together > MOST_TOGETHER {
            return Err(FetchError::TooMuch { chart });
        }
        fetched.insert(entry.sha256.clone(), bytes.clone());
        Ok(bytes)
    }

    async fn client(&self) -> Result<&Client, FetchError> {
        let made = self.client.get_or_init(async || {
            let credentials = Credentials::read(&self.environment);
            Client::new(credentials).map_err(|error| error.to_string())
        });
        made.await.as_ref().map_err(|error| FetchError::Client(error.clone()))
    }
}

impl Client {
    /// Fetches the archive of a chart from its address.
    async fn archive(&self, chart: &RemoteChart, address: &Address) -> Result<Vec<u8>, WebError> {
        let request = Request { address, accept: "*/*", limit: MOST_BYTES };
        match &chart.registry {
            Registry::Repository(repository) => self.read_in_repository(repository, request).await,
            Registry::Oci(_) => self.read_in_registry(request).await,
        }
    }
}

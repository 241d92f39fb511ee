//! The settings of a connection: its limits and durations, and its sources of randomness.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

use super::observer::RequestObserver;

/// The limits and durations for the work with a cluster, and the source of random keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The source of new review keys.
    pub keys: KeySource,
    /// The seed of the jitter in the pauses between retries and polls. It differs between runs. Without a seed there is
    /// no jitter.
    pub jitter: Option<u64>,
    /// The highest number of simultaneous requests.
    pub concurrency: usize,
    /// The duration of the lease: the time from the last renewal until another run may take over the lock.
    pub lease_duration: Duration,
    /// The default time in which an applied object must become ready.
    pub readiness_timeout: Duration,
    /// The time in which a request must be answered.
    pub request_timeout: Duration,
    /// The time in which a deleted object must disappear.
    pub vanishing_timeout: Duration,
    /// The observer of every request, if there is one.
    pub observer: Option<RequestObserver>,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            keys: KeySource::System,
            jitter: None,
            concurrency: 8,
            lease_duration: Duration::from_mins(1),
            readiness_timeout: Duration::from_mins(5),
            request_timeout: Duration::from_secs(30),
            vanishing_timeout: Duration::from_mins(2),
            observer: None,
        }
    }
}

/// The source of new keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The random number generator of the system.
    System,
    /// Always this key. A simulation needs it to be repeatable.
    Given([u8; 32]),
}

impl KeySource {
    /// Makes a key. Returns `None` if the system provides no random numbers.
    pub fn key(&self) -> Option<[u8; 32]> {
        let mut key = [0; 32];
        match self {
            Self::System => SystemRandom::new().fill(&mut key).ok()?,
            Self::Given(given) => key = *given,
        }
        Some(key)
    }
}

//! Moments on two clocks of this machine. The runtime's clock drives the timers and is controlled by tests. The
//! system's clock also counts the time in which the machine sleeps.

use std::time::Duration;

use tokio::time::Instant;

/// The longest wait. Longer waits are cut to it, so that no sum overflows.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    at: Instant,
    uptime: Duration,
}

impl Moment {
    /// The current moment.
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), uptime: uptime() }
    }

    /// The moment on the runtime's clock.
    pub(super) fn instant(self) -> Instant {
        self.at
    }

    /// The time since this moment, on the clock that shows the longer time.
    pub(super) fn elapsed(self) -> Duration {
        self.at.elapsed().max(uptime().saturating_sub(self.uptime))
    }

    /// The moment that the runtime's clock shows as `at`.
    #[cfg(test)]
    pub(super) fn at(at: Instant) -> Self {
        Self { at, uptime: Duration::ZERO }
    }

    /// The same moment, as if the machine had slept for the given time since.
    #[cfg(test)]
    pub(super) fn before_a_sleep_of(self, time: Duration) -> Self {
        Self { uptime: self.uptime.saturating_sub(time), ..self }
    }
}

/// The moment on the runtime's clock at which a wait ends.
pub(super) fn after(wait: Duration) -> Instant {
    Instant::now() + wait.min(LONGEST_WAIT)
}

/// The time since the machine started, including the time in which it slept.
#[cfg(target_os = "linux")]
fn uptime() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let part = |value: i64| u64::try_from(value).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// Returns zero, because no such clock is known for this system. Only the runtime's clock counts.
#[cfg(not(target_os = "linux"))]
fn uptime() -> Duration {
    Duration::ZERO
}

//! Moments of this machine by two clocks: the runtime's, which the timers and the tests go by, and the system's, which
//! goes on while the machine sleeps.

use std::time::Duration;

use tokio::time::Instant;

/// The longest wait. Whatever is longer means the same, and no sum overflows.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A moment by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    at: Instant,
    uptime: Duration,
}

impl Moment {
    /// This moment.
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), uptime: uptime() }
    }

    /// The moment as the runtime's timers count.
    pub(super) fn instant(self) -> Instant {
        self.at
    }

    /// The time that has passed since, by the clock that shows more of it.
    pub(super) fn elapsed(self) -> Duration {
        self.at.elapsed().max(uptime().saturating_sub(self.uptime))
    }

    /// The moment that the runtime's clock shows as `at`.
    #[cfg(test)]
    pub(super) fn at(at: Instant) -> Self {
        Self { at, uptime: Duration::ZERO }
    }

    /// The same moment, had the machine slept so long since.
    #[cfg(test)]
    pub(super) fn before_a_sleep_of(self, time: Duration) -> Self {
        Self { uptime: self.uptime.saturating_sub(time), ..self }
    }
}

/// The moment, by the runtime's clock, after which a wait is over.
pub(super) fn after(wait: Duration) -> Instant {
    Instant::now() + wait.min(LONGEST_WAIT)
}

/// The time since the machine started, its sleep included.
#[cfg(target_os = "linux")]
fn uptime() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let part = |value: i64| u64::try_from(value).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// No such clock is known here: the runtime's has to do.
#[cfg(not(target_os = "linux"))]
fn uptime() -> Duration {
    Duration::ZERO
}

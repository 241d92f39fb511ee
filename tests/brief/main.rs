//! `ktor` with a short lease (5 s) and a short request timeout (8 s), for tests that wait until a dead run's lock
//! expires. It differs from `ktor` in nothing else. Do not use it outside the tests: a busy machine may be too slow to
//! renew such a short lease.

use std::time::Duration;

use ktor_action::cluster::settings::ClusterSettings;

fn main() -> std::process::ExitCode {
    ktor_action::cli::run_with(ClusterSettings {
        lease_duration: Duration::from_secs(5),
        request_timeout: Duration::from_secs(8),
        ..ClusterSettings::default()
    })
}

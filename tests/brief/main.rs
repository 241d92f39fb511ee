//! `ktor` with a brief lease, for tests that wait until a dead run's lock expires. Nothing else differs, and nobody
//! should use it: a busy machine may take longer to renew so short a lease.

use std::time::Duration;

use ktor_action::cluster::connect::ClusterSettings;

fn main() -> std::process::ExitCode {
    ktor_action::cli::run_with(ClusterSettings {
        lease_duration: Duration::from_secs(5),
        request_timeout: Duration::from_secs(8),
        ..ClusterSettings::default()
    })
}

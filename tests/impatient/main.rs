//! `ktor` that waits a few seconds for a deleted object to vanish, for tests of what never vanishes. Nothing else
//! differs.

use std::time::Duration;

use ktor_action::cluster::connect::ClusterSettings;

fn main() -> std::process::ExitCode {
    ktor_action::cli::run_with(ClusterSettings {
        vanishing_timeout: Duration::from_secs(8),
        ..ClusterSettings::default()
    })
}

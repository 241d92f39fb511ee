//! `ktor` that waits only 8 s until a deleted object is gone, for tests with objects that are never gone. It differs
//! from `ktor` in nothing else.

use std::time::Duration;

use ktor_action::cluster::settings::ClusterSettings;

fn main() -> std::process::ExitCode {
    ktor_action::cli::run_with(ClusterSettings {
        vanishing_timeout: Duration::from_secs(8),
        ..ClusterSettings::default()
    })
}

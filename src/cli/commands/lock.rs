//! `ktor lock`: writes `.ktor.lock`, which names the archives of the remote charts of a tree.

use std::path::PathBuf;

use crate::cli::args::LockArgs;
use crate::cli::console::Console;
use crate::cli::env::Variables;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::git::repository::Repository;
use crate::run::charts::locking::{LockError, LockReport, Vendoring, lock as lock_charts};
use crate::run::error::chain;
use crate::run::sources::engines::LAUNCHER;
use crate::run::workspace::{Located, located};

/// Locks the charts of a tree. Does not ask a cluster.
///
/// # Errors
///
/// The tree cannot be read, or a chart cannot be found or fetched.
pub(crate) async fn lock(args: &LockArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let environment = variables.for_programs();
    let Located { directory, repository, .. } = located(&args.path, None, &environment).await?;
    let top = repository.as_ref().map_or(directory.as_path(), Repository::top);
    let vendoring = if args.vendor { Vendoring::On } else { Vendoring::Off };
    let launcher = environment.get(LAUNCHER).map(PathBuf::from).unwrap_or_default();
    let locked = Box::pin(lock_charts((&directory, top), vendoring, &launcher, &environment)).await;
    let report = locked.map_err(|error| match error {
        LockError::Sources(errors) => Failure::sources(&errors),
        error => Failure::new(Exit::Failure, format!("failed to {}", chain(&error))),
    })?;
    for (kind, reason) in &report.unpinned {
        console.notice(&format!("the version of {kind} is not locked: failed to {reason}"));
    }
    console.report(&text(&report));
    Ok(Exit::Success)
}

/// Returns one line for each thing that is locked.
fn text(report: &LockReport) -> String {
    let mut text = String::new();
    for (chart, sha256, is_known) in &report.charts {
        text.push_str(&format!("{} {chart} sha256:{sha256}\n", if *is_known { "kept" } else { "locked" }));
    }
    report.dropped.iter().for_each(|chart| text.push_str(&format!("dropped {chart}\n")));
    report.engines.iter().for_each(|(kind, version)| text.push_str(&format!("locked {kind} {version}\n")));
    let end = if report.is_changed {
        "wrote .ktor.lock\n"
    } else if text.is_empty() {
        "nothing to lock\n"
    } else {
        ".ktor.lock is current\n"
    };
    text.push_str(end);
    text
}

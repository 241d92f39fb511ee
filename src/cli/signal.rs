//! Handlers for SIGINT and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

use super::console::Console;
use super::diagnostic::CliError;
use crate::run::error::RunError;
use crate::run::interrupt::{self, Interrupt};

/// Installs handlers for SIGINT and SIGTERM. Signals no longer end the process; callers check the returned `Interrupt`.
pub(crate) fn on_signals(console: &Console) -> Interrupt {
    let (interrupter, interrupt) = interrupt::pair();
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut int), Ok(mut term)) => {
            tokio::spawn(async move {
                tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
                interrupter.interrupt();
                // The handlers stay installed: the run is already ending, and further signals must change nothing.
                loop {
                    tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
                }
            });
        }
        _ => console.notice("signals cannot be handled here: the lock of an interrupted run stays until it expires"),
    }
    interrupt
}

/// Does work that comes before a run and changes nothing. A signal ends this work at once.
///
/// # Errors
///
/// The errors of the work, and [`RunError::NotBegun`] after a signal.
pub(crate) async fn preparing<T>(
    interrupt: &Interrupt,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let mut interrupt = interrupt.clone();
    tokio::select! {
        prepared = work => prepared,
        () = interrupt.requested() => Err(RunError::NotBegun.into()),
    }
}

//! SIGINT and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

use super::diagnostic::{CliError, Console};
use crate::run::error::RunError;
use crate::run::interrupt::{self, Interrupt};

/// Hears signals from here on. They end nothing by themselves any more: whoever waits has to look at the interrupt.
pub fn on_signals(console: &Console) -> Interrupt {
    let (interrupter, interrupt) = interrupt::pair();
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut int), Ok(mut term)) => {
            tokio::spawn(async move {
                tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
                interrupter.interrupt();
                // Kept: further signals change nothing, the run is on its way out.
                loop {
                    tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
                }
            });
        }
        _ => console.notice("signals cannot be caught here: an interrupted run leaves its lock to expire"),
    }
    interrupt
}

/// Does what comes before a run and changes nothing; a signal ends it at once.
///
/// # Errors
///
/// Those of the work, and [`RunError::NotBegun`].
pub async fn preparing<T>(
    interrupt: &Interrupt,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let mut interrupt = interrupt.clone();
    tokio::select! {
        prepared = work => prepared,
        () = interrupt.requested() => Err(RunError::NotBegun.into()),
    }
}

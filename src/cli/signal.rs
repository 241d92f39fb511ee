//! Handlers for SIGINT and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

use super::console::Console;
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

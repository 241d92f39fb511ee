//! Asking the person at the terminal.

use std::io::{BufRead, IsTerminal, Write};

/// Whether somebody is there to be asked.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks whether to go on; only `yes` does.
pub async fn ask(question: &str) -> bool {
    drop(write!(std::io::stderr(), "{question} Only `yes` goes on: "));
    drop(std::io::stderr().flush());
    let answered = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim() == "yes"
    });
    answered.await.unwrap_or_default()
}

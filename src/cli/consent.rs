//! Questions to the person at the terminal.

use std::io::{BufRead, IsTerminal, Write};

/// Returns `true` if standard input and standard error are terminals, so that a person can answer.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a question on standard error. Returns `true` only if the answer is `yes`.
pub(crate) async fn ask(question: &str) -> bool {
    drop(write!(std::io::stderr(), "{question} Type `yes` to continue: "));
    drop(std::io::stderr().flush());
    let answered = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim() == "yes"
    });
    answered.await.unwrap_or_default()
}

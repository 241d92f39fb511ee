//! The output of the program: messages on standard error, reports and workflow commands on standard output.
//!
//! **Invariant:** each line of a message passes through [`escape::logged`] here, so that it cannot act as a command or
//! move the cursor.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::conclusion::failure::Failure;
use crate::forge::workflow::{self, Annotation};
use crate::project::snapshot::printable;
use crate::report::{escape, progress};

/// The sequence that moves the cursor to the start of its row and erases the row.
const ERASE: &str = "\r\u{1b}[K";

/// The output of the program. Clones share it.
#[derive(Clone)]
pub(crate) struct Console {
    workflow: bool,
    /// `true` while the last row of the terminal is a status line.
    status: Arc<Mutex<bool>>,
}

impl Console {
    /// Creates a console. If `workflow` is true, errors are also written as annotations.
    pub(crate) fn new(workflow: bool) -> Self {
        Self { workflow, status: Arc::default() }
    }

    /// Returns `true` in a step of a workflow, whose log executes commands.
    pub(crate) fn is_workflow(&self) -> bool {
        self.workflow
    }

    /// Prints the error that ends the program.
    pub(crate) fn error(&self, error: &Failure) {
        for message in &error.messages {
            self.message("error", message);
        }
        if self.workflow {
            let place = error.place.as_ref().map(|error| &error.place);
            let file = place.map(|place| printable(&place.path));
            let number = |of: usize| u32::try_from(of).ok().filter(|of| *of > 0);
            let annotation = Annotation {
                message: error.first(),
                title: Some("ktor"),
                file: file.as_deref(),
                line: place.and_then(|place| number(place.line)),
                column: place.and_then(|place| number(place.column)),
            };
            self.command(&annotation.command());
        }
    }

    /// Prints a notice.
    pub(crate) fn notice(&self, message: &str) {
        self.message("note", message);
    }

    /// Prints a notice that a workflow also shows as a warning.
    pub(crate) fn warning(&self, message: &str) {
        self.notice(message);
        if self.workflow {
            let warning = Annotation { message, title: Some("ktor"), file: None, line: None, column: None };
            self.command(&warning.warning());
        }
    }

    /// Prints a report of many lines in a group of the log. The lines may hold untrusted text.
    pub(crate) fn section(&self, title: &str, text: &str) {
        self.command(&workflow::group(title));
        for line in text.lines() {
            self.grouped(line);
        }
        self.command(workflow::end_group());
    }

    /// Annotates the place of an object that stays as it is.
    pub(crate) fn standing(&self, message: &str, place: Option<(&Path, usize)>) {
        let file = place.map(|(path, _)| printable(path));
        let line = place.and_then(|(_, line)| u32::try_from(line).ok()).filter(|line| *line > 0);
        let annotation = Annotation { message, title: Some("ktor"), file: file.as_deref(), line, column: None };
        self.command(&annotation.command());
    }

    /// Prints a workflow command that `forge::workflow` built. Does nothing outside a workflow.
    pub(crate) fn command(&self, command: &str) {
        if self.workflow {
            drop(writeln!(std::io::stdout(), "{command}"));
        }
    }

    /// Writes a finished report to standard output.
    pub(crate) fn report(&self, text: &str) {
        self.clear();
        let mut out = std::io::stdout().lock();
        // A reader that closed its end does not want more output, so the error is ignored.
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }

    /// Prints one line to standard error.
    pub(crate) fn line(&self, line: &str) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let erase = if std::mem::take(&mut *status) { ERASE } else { "" };
        drop(writeln!(std::io::stderr(), "{erase}{}", escape::logged(line)));
    }

    /// Prints one line to standard output, where it stays in the order of the workflow commands.
    pub(crate) fn grouped(&self, line: &str) {
        self.clear();
        drop(writeln!(std::io::stdout(), "{}", escape::logged(line)));
    }

    /// Returns `true` if standard error is a terminal, which can show a status line.
    #[expect(clippy::unused_self, reason = "the console is the place that knows the terminal")]
    pub(crate) fn is_live(&self) -> bool {
        std::io::stderr().is_terminal()
    }

    /// Shows a status line on the terminal, in place of the one before it.
    pub(crate) fn status(&self, line: &str) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        *status = true;
        let mut terminal = std::io::stderr();
        let written = write!(terminal, "{ERASE}{}", progress::status(&escape::logged(line)));
        drop(written.and_then(|()| terminal.flush()));
    }

    /// Erases the status line, if there is one.
    pub(crate) fn clear(&self) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *status) {
            let mut terminal = std::io::stderr();
            drop(write!(terminal, "{ERASE}").and_then(|()| terminal.flush()));
        }
    }

    fn message(&self, word: &str, message: &str) {
        for (index, line) in message.lines().enumerate() {
            let word = if index == 0 { word } else { "    " };
            self.line(&format!("{word}: {}", escape::logged(line)));
        }
    }
}

//! The progress of a run, shown while it happens: as a status line on a terminal, as lines in a log, or as a group in the
//! log of a workflow.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::console::Console;
use crate::conclusion::failure::waiting_for;
use crate::forge::workflow;
use crate::report::progress;
use crate::run::events::Event;

/// The interval at which a log names the objects that the run waits for.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The display of a run's events. It ends when it is dropped.
pub(crate) struct Progress<'a> {
    console: &'a Console,
    display: Display,
    log: Mutex<Log>,
}

/// The form of the display.
enum Display {
    /// One status line on a terminal.
    Status,
    /// Lines on standard error.
    Lines,
    /// A group of lines in the log of a workflow, with this title.
    Group(String),
}

impl<'a> Progress<'a> {
    /// Creates the display for a person: a status line on a terminal, and otherwise lines.
    pub(crate) fn new(console: &'a Console) -> Self {
        let display = if console.is_live() { Display::Status } else { Display::Lines };
        Self { console, display, log: Mutex::default() }
    }

    /// Creates the display for the log of a workflow. Outside a workflow, it is the display for a person.
    pub(crate) fn grouped(console: &'a Console, title: &str) -> Self {
        if console.is_workflow() {
            Self { console, display: Display::Group(title.to_owned()), log: Mutex::default() }
        } else {
            Self::new(console)
        }
    }

    /// Shows an event.
    pub(crate) fn tell(&self, event: Event<'_>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.display {
            Display::Status => self.show(&mut log, event),
            Display::Lines => log.lines(event, Instant::now()).iter().for_each(|line| self.console.line(line)),
            Display::Group(title) => {
                for line in log.lines(event, Instant::now()) {
                    if !std::mem::replace(&mut log.is_open, true) {
                        self.console.command(&workflow::group(title));
                    }
                    self.console.grouped(&line);
                }
            }
        }
    }

    /// Shows an event on a terminal. The name of another holder of the lock stays there.
    fn show(&self, log: &mut Log, event: Event<'_>) {
        if let Event::LockHeld(holder) = event {
            let told = waiting_for(holder);
            if log.holder.as_ref() != Some(&told) {
                self.console.line(&told);
                log.holder = Some(told);
            }
            return;
        }
        let lines = lines(event);
        if let Some(first) = lines.first() {
            let more = lines.len() - 1;
            let more = if more == 0 { String::new() } else { format!("({more} more) ") };
            self.console.status(&format!("{more}{first}"));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.console.clear();
        let log = self.log.get_mut().unwrap_or_else(PoisonError::into_inner);
        if log.is_open {
            self.console.command(workflow::end_group());
        }
    }
}

/// The lines that were told so far, as far as the next ones depend on them.
#[derive(Default)]
struct Log {
    /// The time since which the run has waited for objects without a line about it.
    waiting_since: Option<Instant>,
    /// The last message about another holder of the lock.
    holder: Option<String>,
    /// `true` if the group in the log has begun.
    is_open: bool,
}

impl Log {
    /// Returns the lines to print for an event. The objects that are waited for are named at intervals only.
    fn lines(&mut self, event: Event<'_>, now: Instant) -> Vec<String> {
        match event {
            Event::Waiting(_) => {
                let since = *self.waiting_since.get_or_insert(now);
                if now.duration_since(since) < TELL_EVERY {
                    return Vec::new();
                }
                self.waiting_since = Some(now);
            }
            Event::Phase(_) => self.waiting_since = None,
            _ => {}
        }
        lines(event)
    }
}

/// Returns the lines that describe an event.
fn lines(event: Event<'_>) -> Vec<String> {
    match event {
        Event::LockHeld(holder) => vec![waiting_for(holder)],
        Event::Phase(phase) => vec![progress::phase(phase.word())],
        Event::Applied(outcome) => progress::applied(outcome).into_iter().collect(),
        Event::Waiting(objects) => progress::waiting(objects.iter().map(|object| (object.key, object.reason.as_str()))),
        Event::Waited(outcome) => progress::waited(outcome).into_iter().collect(),
        Event::Cleaned(outcome) => vec![progress::cleaned(outcome)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::lock::Holder;
    use crate::object::ident::ObjectKey;
    use crate::plan::outcome::{ObjectOutcome, Verdict};
    use crate::run::events::{Phase, Waiting};

    #[test]
    fn r16_a_log_names_what_is_waited_for_every_ten_seconds() {
        let key = ObjectKey { group: String::new(), kind: "Pod".into(), namespace: Some("a".into()), name: "x".into() };
        let waiting = [Waiting { key: &key, reason: "no".into() }];
        let (mut log, began) = (Log::default(), Instant::now());
        let mut told = |event, seconds| log.lines(event, began + Duration::from_secs(seconds)).concat();
        for seconds in 0..40 {
            let expected = if seconds > 0 && seconds % 10 == 0 { "waiting for Pod a/x: no" } else { "" };
            assert_eq!(told(Event::Waiting(&waiting), seconds), expected, "{seconds}");
        }
        assert_eq!(told(Event::Phase(Phase::Cleanup), 40), "cleaning up");
        assert_eq!(told(Event::Waiting(&waiting), 41), "");
        assert_eq!(told(Event::Waiting(&waiting), 51), "waiting for Pod a/x: no");
    }

    #[test]
    fn every_event_but_that_of_an_unchanged_object_has_its_line() {
        let key = ObjectKey { group: String::new(), kind: "Pod".into(), namespace: Some("a".into()), name: "x".into() };
        let outcome =
            |verdict| ObjectOutcome { key: key.clone(), project: "demo".parse().unwrap(), verdict, detail: None };
        let holder = Holder { identity: "ci\n::error::x".into(), since: None, renewed: None, run_url: None };
        let (created, unchanged, deleted) =
            (outcome(Verdict::Created), outcome(Verdict::Unchanged), outcome(Verdict::Deleted));
        for (event, expected) in [
            (Event::LockHeld(&holder), "waiting for the lock, which ci\\n::error::x holds"),
            (Event::Phase(Phase::Plan), "planning"),
            (Event::Applied(&created), "applied Pod a/x (created)"),
            (Event::Waited(&created), "ready Pod a/x"),
            (Event::Applied(&unchanged), ""),
            (Event::Cleaned(&deleted), "deleted Pod a/x"),
        ] {
            assert_eq!(lines(event).concat(), expected);
        }
    }
}

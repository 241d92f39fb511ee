//! The progress of a run as lines for a log or a terminal, one for each thing that happens.
//!
//! **Invariant:** every line passes through [`logged`], as in [`super::terminal`].

use std::time::Duration;

use super::escape::logged;
use super::wording;
use crate::object::ident::ObjectKey;
use crate::plan::outcome::{ObjectOutcome, Verdict};

/// The maximum number of objects that a run names while it waits for them.
const NAMED: usize = 10;

/// The maximum number of characters of a status line, so that it fits one row of a terminal.
const STATUS: usize = 76;

/// Returns the line of a phase.
pub fn phase(word: &str) -> String {
    logged(word)
}

/// Returns the line of a desired object that the run sent or did not send: `applied ConfigMap shop/web (created)`.
/// Returns `None` for an object that was already as desired.
pub fn applied(outcome: &ObjectOutcome) -> Option<String> {
    match outcome.verdict {
        Verdict::Unchanged => None,
        Verdict::Created | Verdict::Configured | Verdict::Moved | Verdict::Adopted | Verdict::Replaced => {
            let word = format!("({})", outcome.verdict.word());
            Some(line("applied", &outcome.key, Some(&word), wording::detail(outcome).as_deref()))
        }
        _ => Some(line(outcome.verdict.word(), &outcome.key, None, wording::detail(outcome).as_deref())),
    }
}

/// Returns the line of a desired object after the wait until it is ready. Returns `None` for an object that did not
/// change and is ready.
pub fn waited(outcome: &ObjectOutcome) -> Option<String> {
    match outcome.verdict {
        Verdict::Unchanged => None,
        Verdict::Created | Verdict::Configured | Verdict::Moved | Verdict::Adopted | Verdict::Replaced => {
            Some(line("ready", &outcome.key, None, None))
        }
        _ => Some(line(outcome.verdict.word(), &outcome.key, None, wording::detail(outcome).as_deref())),
    }
}

/// Returns the line of an object that the run deleted or did not delete: `deleted ConfigMap shop/web`.
pub fn cleaned(outcome: &ObjectOutcome) -> String {
    line(outcome.verdict.word(), &outcome.key, None, wording::detail(outcome).as_deref())
}

/// Returns a line for each object that is waited for, with its reason. If there are many objects, the last line counts
/// the rest.
pub fn waiting<'a>(objects: impl ExactSizeIterator<Item = (&'a ObjectKey, &'a str)>) -> Vec<String> {
    let more = objects.len().saturating_sub(NAMED);
    let mut lines: Vec<String> =
        objects.take(NAMED).map(|(key, reason)| line("waiting for", key, None, Some(reason))).collect();
    if more > 0 {
        lines.push(format!("waiting for {more} more"));
    }
    lines
}

/// Returns the line of a request to the API server: `GET /api/v1/namespaces 200, 12 ms`.
pub fn request(method: &str, path: &str, is_dry_run: bool, status: Option<u16>, time: Duration) -> String {
    let dry_run = if is_dry_run { " (dry run)" } else { "" };
    let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    logged(&format!("{method} {path}{dry_run} {status}, {} ms", time.as_millis()))
}

/// Returns the start of a line, for a status line, which has one row.
pub fn status(line: &str) -> String {
    match line.char_indices().nth(STATUS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn line(word: &str, key: &ObjectKey, remark: Option<&str>, message: Option<&str>) -> String {
    let remark = remark.map(|remark| format!(" {remark}")).unwrap_or_default();
    let message = message.map(|message| format!(": {message}")).unwrap_or_default();
    logged(&format!("{word} {key}{remark}{message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::outcome::Detail;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { group: "apps".into(), kind: "Deployment".into(), namespace: Some("shop".into()), name: name.into() }
    }

    fn outcome(verdict: Verdict, message: Option<&str>) -> ObjectOutcome {
        let project = "demo".parse().unwrap();
        ObjectOutcome {
            key: key("web"),
            project,
            verdict,
            detail: message.map(|text| Detail::Message(text.to_owned())),
        }
    }

    #[test]
    fn f5_every_verdict_has_its_line() {
        let web = "Deployment.apps shop/web";
        for (verdict, message, sent, ready, deleted) in [
            (Verdict::Created, None, Some(format!("applied {web} (created)")), Some(format!("ready {web}")), "created"),
            (
                Verdict::Configured,
                Some("it was adopted"),
                Some(format!("applied {web} (configured): it was adopted")),
                Some(format!("ready {web}")),
                "configured",
            ),
            (
                Verdict::Replaced,
                None,
                Some(format!("applied {web} (replaced)")),
                Some(format!("ready {web}")),
                "replaced",
            ),
            (Verdict::Unchanged, None, None, None, "unchanged"),
            (
                Verdict::Failed,
                Some("no"),
                Some(format!("failed {web}: no")),
                Some(format!("failed {web}: no")),
                "failed",
            ),
            (Verdict::Kept, Some("no"), Some(format!("kept {web}: no")), Some(format!("kept {web}: no")), "kept"),
            (Verdict::Deleted, None, Some(format!("deleted {web}")), Some(format!("deleted {web}")), "deleted"),
        ] {
            let object = outcome(verdict, message);
            assert_eq!(applied(&object), sent, "{verdict:?}");
            assert_eq!(waited(&object), ready, "{verdict:?}");
            let message = message.map(|message| format!(": {message}")).unwrap_or_default();
            assert_eq!(cleaned(&object), format!("{deleted} {web}{message}"));
        }
    }

    #[test]
    fn r16_what_is_waited_for_is_named_with_its_reason_and_the_rest_is_counted() {
        let keys: Vec<ObjectKey> = (0..12).map(|number| key(&format!("d{number}"))).collect();
        let lines = waiting(keys.iter().map(|key| (key, "0 of 1 replicas are available")));
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[0], "waiting for Deployment.apps shop/d0: 0 of 1 replicas are available");
        assert_eq!(lines[10], "waiting for 2 more");
        assert_eq!(waiting(keys.iter().take(1).map(|key| (key, "x"))).len(), 1);
    }

    #[test]
    fn f5_no_text_of_an_event_is_a_command_or_moves_the_cursor() {
        for evil in ["::error::x", "\n::error::x", "\u{1b}[2Jx", "a\r::stop-commands::t", "##[error]x", "\u{202e}x"] {
            let mut object = outcome(Verdict::Failed, Some(evil));
            object.key.name = evil.to_owned();
            object.key.kind = evil.to_owned();
            let lines = [applied(&object), waited(&object), Some(cleaned(&object)), Some(phase(evil))];
            let waiting = waiting([(&object.key, evil)].into_iter());
            for line in lines.into_iter().flatten().chain(waiting) {
                for line in [status(&line), line] {
                    assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
                    assert!(!line.trim_start().starts_with("::") && !line.contains("##["), "{line:?}");
                }
            }
        }
    }

    #[test]
    fn a_request_is_one_line() {
        let time = Duration::from_micros(12_900);
        for (method, dry_run, status, expected) in [
            ("GET", false, Some(200), "GET /api 200, 12 ms"),
            ("PATCH", true, Some(409), "PATCH /api (dry run) 409, 12 ms"),
            ("GET", false, None, "GET /api no answer, 12 ms"),
        ] {
            assert_eq!(request(method, "/api", dry_run, status, time), expected);
        }
        assert_eq!(request("GET", "/a\n::error::x", false, None, time), "GET /a\\n::error::x no answer, 12 ms");
    }

    #[test]
    fn a_status_fits_one_row() {
        assert_eq!(status("applying"), "applying");
        let long = "waiting for ConfigMap shop/".to_owned() + &"x".repeat(100);
        assert!(status(&long).starts_with("waiting for ConfigMap shop/x"), "{}", status(&long));
        assert!(status(&long).chars().count() <= STATUS + 1, "{}", status(&long));
    }
}

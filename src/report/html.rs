//! Shows a plan or an outcome as one HTML page. The page has no script and loads no other file.

use std::fmt::{self, Write};

use super::escape::html;
use super::fields::{self, Line, Sign};
use super::{Heading, wording};
use crate::plan::build::{Plan, PlanMode};
use crate::plan::change::Change;
use crate::plan::decision::Action;
use crate::plan::outcome::{ObjectOutcome, Outcome, Verdict};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;\
    color:#1f2328;background:#fff}table{border-collapse:collapse;margin:.5rem 0 1.5rem}\
    td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}td,pre,code{overflow-wrap:anywhere}\
    code,pre{font:13px/1.5 ui-monospace,monospace}pre{margin:.3rem 0 1rem;padding:.6rem;background:#f6f8fa;\
    white-space:pre-wrap}.gone{color:#a40e26}.new{color:#116329}.changed{color:#7d4e00}.faint{color:#59636e}\
    .refused{border-left:4px solid #a40e26;padding:.1rem 1rem;margin:1rem 0}\
    @media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}pre{background:#161b22}\
    .gone{color:#ff7b72}.new{color:#7ee787}.changed{color:#e3b341}.faint{color:#9198a1}}";

/// Returns the HTML page of a plan.
pub fn plan(plan: &Plan, heading: &Heading<'_>) -> String {
    let mut page = String::new();
    // A write to a `String` does not fail.
    let _ = write(&mut page, plan, heading);
    page
}

/// Returns the HTML page of a run's outcome. `error` is the reason why the run ended early, if it did.
pub fn outcome(plan: &Plan, outcome: &Outcome, heading: &Heading<'_>, error: Option<&str>) -> String {
    let mut page = String::new();
    // A write to a `String` does not fail.
    let _ = write_outcome(&mut page, plan, outcome, heading, error);
    page
}

fn write_outcome(
    page: &mut String,
    plan: &Plan,
    outcome: &Outcome,
    heading: &Heading<'_>,
    error: Option<&str>,
) -> fmt::Result {
    let is_whole = error.is_none() && outcome.is_carried_through();
    let kept: Vec<Change> = plan.cleanup.iter().filter(|change| change.action() == Action::Keep).cloned().collect();
    let sentence = wording::outcome(outcome, kept.len(), |text| format!("<strong>{text}</strong>"));
    begin(page, if is_whole { "Applied" } else { "Incomplete apply of" }, heading, &sentence)?;
    if let Some(error) = error {
        writeln!(page, "<p class=\"refused\">{}</p>", html(error))?;
    }
    refusals(page, plan)?;
    let changed: Vec<&ObjectOutcome> = outcome.all().filter(|object| object.verdict != Verdict::Unchanged).collect();
    if !changed.is_empty() {
        writeln!(page, "<h2>Objects: {}</h2>\n<table>", changed.len())?;
        writeln!(page, "<tr><th>kind</th><th>name</th><th>project</th><th>outcome</th><th>why</th></tr>")?;
    }
    for object in &changed {
        writeln!(
            page,
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
            html(&wording::kind(&object.key)),
            html(&wording::name(&object.key)),
            html(object.project.as_str()),
            object.verdict.word(),
            html(&wording::detail(object).unwrap_or_default())
        )?;
    }
    if !changed.is_empty() {
        writeln!(page, "</table>")?;
    }
    table(page, "Not deleted", "faint", &kept)?;
    end(page, plan, heading)
}

fn write(page: &mut String, plan: &Plan, heading: &Heading<'_>) -> fmt::Result {
    let words = if plan.mode == PlanMode::Offline { "Offline plan for" } else { "Plan for" };
    begin(page, words, heading, &wording::plan(plan, |text| format!("<strong>{text}</strong>")))?;
    refusals(page, plan)?;
    let of = |changes: &[Change], actions: &[Action]| -> Vec<Change> {
        changes.iter().filter(|change| actions.contains(&change.action())).cloned().collect()
    };
    table(page, "Blocked or kept", "gone", &of(&plan.changes, &[Action::Blocked, Action::Keep]))?;
    let deleted: Vec<Change> = plan.deletions().chain(plan.replacements()).cloned().collect();
    table(page, "Deleted", "gone", &deleted)?;
    table(page, "Not deleted", "faint", &of(&plan.cleanup, &[Action::Keep, Action::Release, Action::Blocked]))?;
    table(page, "Created", "new", &of(&plan.changes, &[Action::Create]))?;
    table(page, "Changed", "changed", &of(&plan.changes, &[Action::Update, Action::Move, Action::Adopt]))?;
    end(page, plan, heading)
}

/// Writes everything up to the sentence that sums up, which is HTML already.
fn begin(page: &mut String, words: &str, heading: &Heading<'_>, sentence: &str) -> fmt::Result {
    let cluster = heading.cluster.map(|cluster| format!(" on {}", html(cluster))).unwrap_or_default();
    let title = format!("{words} {}{cluster}", html(heading.target));
    writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<h1>{title}</h1>\n<p>{sentence}</p>"
    )
}

fn refusals(page: &mut String, plan: &Plan) -> fmt::Result {
    for refusal in &plan.refusals {
        let flag = wording::option(refusal.guard())
            .map(|option| format!(" To allow it: <code>{option}</code>"))
            .unwrap_or_default();
        writeln!(page, "<p class=\"refused\"><strong>Refused:</strong> {}.{flag}</p>", html(&wording::doubt(refusal)))?;
    }
    Ok(())
}

/// Writes the notices, the commits, the scope and the digest.
fn end(page: &mut String, plan: &Plan, heading: &Heading<'_>) -> fmt::Result {
    if !plan.notices.is_empty() {
        writeln!(page, "<h2>Notices</h2>\n<ul>")?;
        for notice in &plan.notices {
            writeln!(page, "<li>{}</li>", html(&wording::notice(notice)))?;
        }
        writeln!(page, "</ul>")?;
    }
    let scope: Vec<String> =
        plan.scope.iter().map(|project| format!("<code>{}</code>", html(project.as_str()))).collect();
    let commit = |words: &str, revision: Option<&str>| {
        revision.map(|revision| format!("{words} <code>{}</code><br>\n", html(revision))).unwrap_or_default()
    };
    writeln!(
        page,
        "<p class=\"faint\">{}{}Scope: {}<br>\nDigest: <code>{}</code></p>\n</body>\n</html>",
        commit("Base:", heading.base),
        commit("Head:", heading.head),
        if scope.is_empty() { "no project".to_owned() } else { scope.join(", ") },
        html(&plan.digest)
    )
}

fn table(page: &mut String, title: &str, class: &str, changes: &[Change]) -> fmt::Result {
    if changes.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h2 class=\"{class}\">{title}: {}</h2>\n<table>", changes.len())?;
    writeln!(page, "<tr><th>kind</th><th>name</th><th>project</th><th>why</th></tr>")?;
    for change in changes {
        let key = &change.ident.key;
        let why = wording::remark(change).unwrap_or_default();
        let place = match (&change.place, change.action()) {
            (Some(place), Action::Blocked) => format!(" <code>{}</code>", html(&place.to_string())),
            _ => String::new(),
        };
        writeln!(
            page,
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td><td>{}{place}</td></tr>",
            html(&wording::kind(key)),
            html(&wording::name(key)),
            html(change.project.as_str()),
            html(&why)
        )?;
    }
    writeln!(page, "</table>")?;
    for change in changes.iter().filter(|change| !change.diff.is_empty()) {
        let fields = wording::counted(change.diff.len(), "field");
        writeln!(page, "<details><summary><code>{}</code>: {fields}</summary>", html(&change.ident.key.to_string()))?;
        page.push_str("<pre>");
        for Line { sign, text } in fields::lines(&change.diff) {
            let (sign, class) = match sign {
                Sign::Removed => ('-', "gone"),
                Sign::Added => ('+', "new"),
                Sign::Changed => ('!', "changed"),
                Sign::Same => (' ', "faint"),
                Sign::Title => ('@', "faint"),
            };
            writeln!(page, "<span class=\"{class}\">{sign} {}</span>", html(&text))?;
        }
        writeln!(page, "</pre></details>")?;
    }
    Ok(())
}

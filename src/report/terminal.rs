//! Plans and outcomes for a terminal or a log. The most important lines come last, next to the prompt.
//!
//! **Invariant:** every line passes through [`logged`]. It moves no cursor, and no workflow runner takes it for a
//! command.

use std::collections::BTreeMap;

use super::escape::logged;
use super::fields::{self, Sign};
use super::listing::columns;
use super::{Heading, wording};
use crate::object::ident::ObjectKey;
use crate::plan::build::{Plan, PlanMode};
use crate::plan::change::Change;
use crate::plan::decision::Action;
use crate::plan::outcome::{ObjectOutcome, Outcome, Verdict};
use crate::project::path::ProjectPath;

/// The use of colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Only text.
    Plain,
    /// Text with the terminal's escape sequences for colors.
    Color,
}

/// The look of a line if colors are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Plain,
    Strong,
    Faint,
    New,
    Changed,
    Gone,
}

/// Returns a plan: the changes by project, the cleanup, the notices, the refusals, and a sentence that sums up.
pub fn plan(plan: &Plan, heading: &Heading<'_>, style: Style) -> String {
    let mut page = Page { style, text: String::new() };
    page.line(Tone::Strong, &title(plan, heading));
    let mut projects: BTreeMap<&ProjectPath, Vec<&Change>> = BTreeMap::new();
    for change in plan.changes.iter().filter(|change| change.action() != Action::Unchanged) {
        projects.entry(&change.project).or_default().push(change);
    }
    for (project, changes) in projects {
        page.gap();
        page.line(Tone::Strong, project.as_str());
        let rows: Vec<Vec<String>> = changes.iter().map(|change| row(change)).collect();
        for (change, line) in changes.iter().zip(columns(&rows)) {
            page.change(change, &line);
            page.difference(change);
        }
    }
    if !plan.cleanup.is_empty() {
        page.gap();
        page.line(Tone::Strong, "cleanup");
        let rows: Vec<Vec<String>> = plan.cleanup.iter().map(cleanup_row).collect();
        for (change, line) in plan.cleanup.iter().zip(columns(&rows)) {
            page.change(change, &line);
        }
    }
    if !plan.notices.is_empty() {
        page.gap();
    }
    for notice in &plan.notices {
        page.line(Tone::Plain, &format!("note: {}", wording::notice(notice)));
    }
    for refusal in &plan.refusals {
        page.gap();
        page.line(Tone::Gone, &format!("refused: {}", wording::doubt(refusal)));
        if let Some(option) = wording::option(refusal.guard()) {
            page.line(Tone::Plain, &format!("  to allow it: {option}"));
        }
    }
    page.gap();
    page.line(Tone::Strong, &wording::plan(plan, str::to_owned));
    page.line(Tone::Faint, &format!("digest {}", plan.digest));
    page.text
}

/// Returns the outcome of a run: a line for each object that is not unchanged, each object that cleanup keeps and each
/// notice, and a sentence that sums up.
pub fn outcome(plan: &Plan, outcome: &Outcome, style: Style) -> String {
    let mut page = Page { style, text: String::new() };
    for object in outcome.all().filter(|object| object.verdict != Verdict::Unchanged) {
        page.object(object);
    }
    let kept: Vec<&Change> = plan.cleanup.iter().filter(|change| change.action() == Action::Keep).collect();
    for change in &kept {
        page.kept(change);
    }
    for notice in &plan.notices {
        page.line(Tone::Plain, &format!("note: {}", wording::notice(notice)));
    }
    page.line(Tone::Strong, &wording::outcome(outcome, kept.len(), str::to_owned));
    page.text
}

/// Returns the line of one object in the form of kubectl: `deployment.apps/web configured (shop)`.
pub fn object(object: &ObjectOutcome, style: Style) -> String {
    let mut page = Page { style, text: String::new() };
    page.object(object);
    page.text
}

fn title(plan: &Plan, heading: &Heading<'_>) -> String {
    let cluster = heading.cluster.map(|cluster| format!(" on {cluster}")).unwrap_or_default();
    let offline = if plan.mode == PlanMode::Offline { ", offline" } else { "" };
    let commit = |words: &str, revision: Option<&str>| {
        revision.map(|revision| format!(", {words} {}", wording::commit(revision))).unwrap_or_default()
    };
    let commits = format!("{}{}", commit("base", heading.base), commit("head", heading.head));
    format!("plan for {}{cluster}{offline}{commits}", heading.target)
}

fn row(change: &Change) -> Vec<String> {
    let key = &change.ident.key;
    let mut row = vec![change.action().word().to_owned(), wording::kind(key), wording::name(key)];
    row.extend(wording::remark(change));
    row
}

fn cleanup_row(change: &Change) -> Vec<String> {
    let key = &change.ident.key;
    let mut row =
        vec![change.action().word().to_owned(), wording::kind(key), wording::name(key), change.project.to_string()];
    row.extend(wording::remark(change));
    row
}

/// The text that is being written.
struct Page {
    style: Style,
    text: String,
}

impl Page {
    fn line(&mut self, tone: Tone, line: &str) {
        let line = logged(line);
        let code = match (self.style, tone) {
            (Style::Plain, _) | (_, Tone::Plain) => None,
            (_, Tone::Strong) => Some("1"),
            (_, Tone::Faint) => Some("2"),
            (_, Tone::Gone) => Some("31"),
            (_, Tone::New) => Some("32"),
            (_, Tone::Changed) => Some("33"),
        };
        let (before, after) = code.map_or_else(Default::default, |code| (format!("\u{1b}[{code}m"), "\u{1b}[0m"));
        self.text.extend([&before, &line, after, "\n"]);
    }

    fn gap(&mut self) {
        self.text.push('\n');
    }

    fn change(&mut self, change: &Change, line: &str) {
        let (sign, tone) = match change.action() {
            Action::Create => ('+', Tone::New),
            Action::Update | Action::Move | Action::Adopt => ('~', Tone::Changed),
            Action::Delete | Action::Replace => ('-', Tone::Gone),
            Action::Blocked => ('!', Tone::Gone),
            Action::Release | Action::Keep | Action::Unchanged => ('=', Tone::Faint),
        };
        self.line(tone, &format!("  {sign} {line}"));
        if let (Action::Blocked, Some(place)) = (change.action(), &change.place) {
            self.line(Tone::Faint, &format!("      {place}"));
        }
    }

    fn difference(&mut self, change: &Change) {
        for fields::Line { sign, text } in fields::lines(&change.diff) {
            let (sign, tone) = match sign {
                Sign::Removed => ('-', Tone::Gone),
                Sign::Added => ('+', Tone::New),
                Sign::Changed => ('~', Tone::Changed),
                Sign::Same => ('|', Tone::Faint),
                Sign::Title => ('@', Tone::Faint),
            };
            self.line(tone, &format!("      {sign} {text}"));
        }
    }

    fn kept(&mut self, change: &Change) {
        let key = &change.ident.key;
        let staying = wording::staying(change);
        let why = staying.strip_prefix("kept: ").unwrap_or(&staying);
        self.line(Tone::Faint, &described(key, "kept", Some(why)));
    }

    fn object(&mut self, object: &ObjectOutcome) {
        let ObjectOutcome { key, verdict, .. } = object;
        let tone = match verdict {
            Verdict::Failed | Verdict::Unready | Verdict::Deleted | Verdict::Replaced => Tone::Gone,
            Verdict::Created => Tone::New,
            Verdict::Configured | Verdict::Moved | Verdict::Adopted => Tone::Changed,
            Verdict::Skipped | Verdict::Blocked | Verdict::Kept | Verdict::Unchanged => Tone::Faint,
        };
        self.line(tone, &described(key, verdict.word(), wording::detail(object).as_deref()));
    }
}

/// Returns `deployment.apps/web configured (shop)`, followed by the message.
fn described(key: &ObjectKey, word: &str, message: Option<&str>) -> String {
    let kind = wording::kind(key).to_lowercase();
    let namespace = key.namespace.as_deref().map(|namespace| format!(" ({namespace})")).unwrap_or_default();
    let message = message.map(|message| format!(": {message}")).unwrap_or_default();
    format!("{kind}/{} {word}{namespace}{message}", key.name)
}

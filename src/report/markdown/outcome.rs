//! The outcome of a run as Markdown.

use std::collections::BTreeSet;

use super::super::escape::{clipped, code, inert};
use super::super::listing::{self, Entry, Section};
use super::super::{Budget, Heading, wording};
use super::parts::{folded, footer, notices, refusals, signed, staying};
use super::{Markdown, Room, joined, strong, title};
use crate::object::ident::ObjectKey;
use crate::plan::build::Plan;
use crate::plan::change::Change;
use crate::plan::decision::Action;
use crate::plan::outcome::{ObjectOutcome, Outcome, Verdict};

/// Returns the report of a run: the first failure, the deleted objects, the objects that stay and the reasons, and the
/// applied objects.
///
/// `error` is the error that ended the whole run early, if any.
pub fn outcome(plan: &Plan, outcome: &Outcome, heading: &Heading<'_>, error: Option<&str>, budget: Budget) -> Markdown {
    let mut room = Room::new(budget, 11);
    let share = budget.bytes() / 8;
    let started = outcome.all().any(|object| object.verdict != Verdict::Skipped);
    let through = error.is_none() && outcome.is_carried_through();
    let words = match (through, started) {
        (true, _) => "Applied",
        (false, true) => "Incomplete apply of",
        (false, false) => "Not applied:",
    };
    let kept = plan.cleanup.iter().filter(|change| change.action() == Action::Keep).count();
    let head = format!("{}\n{}\n", title(words, heading), wording::outcome(outcome, kept, strong));
    let alert = alert(outcome, error, started);
    let foot = footer(heading, Some(plan), Some(1));
    room.left = room.left.saturating_sub(head.len() + alert.len() + foot.len());
    let refusals =
        if started { String::new() } else { room.fill(share, |room, rest| self::refusals(&plan.refusals, room, rest)) };
    let cleaned: BTreeSet<&ObjectKey> = outcome.cleaned.iter().map(|object| &object.key).collect();
    let unstarted: Vec<&Change> =
        plan.deletions().filter(|change| !through && !cleaned.contains(&change.ident.key)).collect();
    let aside = room.left.min(share);
    room.left -= aside;
    let deleted = of(outcome, &[Verdict::Deleted, Verdict::Replaced]);
    let deleted = room.rest(|room, rest| headed("### Deleted\n\n", '-', &deleted, room, rest));
    let staying = room.rest(|room, rest| not_deleted(plan, &unstarted, room, rest));
    room.left += aside;
    let failed = failed(outcome);
    let failed = room.rest(|room, rest| list("### Also failed\n\n", &failed, room, rest));
    let unready = unready(outcome);
    let unready = room.rest(|room, rest| list("### Also not ready\n\n", &unready, room, rest));
    let skipped = of(outcome, &[Verdict::Skipped]);
    let skipped = room.rest(|room, rest| headed("### Skipped\n\n", '!', &skipped, room, rest));
    let standing = of(outcome, &[Verdict::Blocked, Verdict::Kept]);
    let standing = room.rest(|room, rest| headed("### Blocked or kept\n\n", '!', &standing, room, rest));
    let notices = room.rest(|room, rest| notices(&plan.notices, room, rest));
    let applied = of(outcome, &[Verdict::Created, Verdict::Configured, Verdict::Moved, Verdict::Adopted]);
    let applied = room.rest(|room, rest| headed("### Applied\n\n", '+', &applied, room, rest));
    let foot = if room.omitted > 0 { foot } else { footer(heading, Some(plan), None) };
    let parts = [head, alert, refusals, failed, unready, standing, deleted, staying, skipped, applied, notices, foot];
    let text = joined(&parts);
    Markdown { text, omitted: room.omitted, deletions: 0 }
}

/// Returns the alert: the first failure, the first unready object, and the error of the run.
fn alert(outcome: &Outcome, error: Option<&str>, started: bool) -> String {
    let mut lines = Vec::new();
    let mut first = |words: &str, object: Option<&ObjectOutcome>| {
        let Some(object) = object else { return };
        let why = wording::detail(object).map(|message| format!(": {}", inert(&message))).unwrap_or_default();
        lines.push(format!("**{words}:** {}{why}", code(&object.key.to_string())));
    };
    first("First to fail", outcome.first_failure());
    first("Not ready", outcome.first_unready());
    lines.extend(error.map(|error| format!("**The run ended early:** {}", inert(error))));
    if lines.is_empty() {
        return String::new();
    }
    if error.is_none() && outcome.is_carried_through() {
        lines.push("Everything else was done and is recorded.".to_owned());
    } else if started {
        lines.push("What was done is recorded. The next run continues from here.".to_owned());
    }
    format!("> [!CAUTION]\n> {}\n", lines.join("\n>\n> "))
}

fn of<'a>(outcome: &'a Outcome, verdicts: &[Verdict]) -> Vec<&'a ObjectOutcome> {
    outcome.all().filter(|object| verdicts.contains(&object.verdict)).collect()
}

/// Returns a titled list of objects with one line each: verdict, kind, name, project and message.
fn headed(head: &str, sign: char, objects: &[&ObjectOutcome], room: usize, rest: &str) -> Section {
    if objects.is_empty() {
        return Section::default();
    }
    let rows: Vec<(char, Vec<String>)> = objects.iter().map(|object| (sign, row(object))).collect();
    let section =
        folded(&wording::counted(rows.len(), "object"), &signed(&rows), room.saturating_sub(head.len()), rest);
    Section { text: format!("{head}{}", section.text), ..section }
}

fn row(object: &ObjectOutcome) -> Vec<String> {
    let ObjectOutcome { key, project, verdict, .. } = object;
    let mut row = vec![verdict.word().to_owned(), wording::kind(key), wording::name(key), project.to_string()];
    row.extend(wording::detail(object));
    row
}

/// Lists the failed objects without the first, which is in the alert.
fn failed(outcome: &Outcome) -> Vec<Entry> {
    after_first(outcome, Verdict::Failed)
}

/// Lists the unready objects without the first, which is in the alert.
fn unready(outcome: &Outcome) -> Vec<Entry> {
    after_first(outcome, Verdict::Unready)
}

fn after_first(outcome: &Outcome, verdict: Verdict) -> Vec<Entry> {
    let entry = |object: &&ObjectOutcome| {
        let message = wording::detail(object).unwrap_or_else(|| "no reason was given".to_owned());
        vec![object.key.to_string(), format!("  {}", clipped(&message, 1_200))]
    };
    of(outcome, &[verdict]).iter().skip(1).map(entry).collect()
}

fn list(head: &str, entries: &[Entry], room: usize, rest: &str) -> Section {
    if entries.is_empty() {
        return Section::default();
    }
    let section = listing::fenced("text", entries, room.saturating_sub(head.len()), rest);
    Section { text: format!("{head}{}", section.text), ..section }
}

fn not_deleted(plan: &Plan, unstarted: &[&Change], room: usize, rest: &str) -> Section {
    let head = "### Not deleted\n\n";
    let section = staying(plan, unstarted, room.saturating_sub(head.len()), rest);
    if section.text.is_empty() { section } else { Section { text: format!("{head}{}", section.text), ..section } }
}

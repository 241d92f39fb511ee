//! A plan as Markdown.

use std::collections::BTreeMap;

use super::super::escape::{LONGEST, cell, clipped, fence, html};
use super::super::fields::{self, Line, Sign};
use super::super::listing::{self, Section};
use super::super::{Budget, Heading, wording};
use super::parts::{folded, footer, notices, refusals, row, signed, staying};
use super::{Markdown, Room, joined, strong, title};
use crate::plan::build::{Plan, PlanMode};
use crate::plan::change::Change;
use crate::plan::decision::Action;
use crate::project::path::ProjectPath;

/// Returns the report of a plan.
///
/// If the report is too long, it leaves out differences first, starting with the longest. It then cuts the lists of
/// created and changed objects. The list of deletions is cut last.
pub fn plan(plan: &Plan, heading: &Heading<'_>, budget: Budget) -> Markdown {
    let mut room = Room::new(budget, 12);
    let share = budget.bytes() / 8;
    let words = if plan.mode == PlanMode::Offline { "Offline plan for" } else { "Plan for" };
    let head = format!("{}\n{}\n", title(words, heading), wording::plan(plan, strong));
    let foot = footer(heading, Some(plan), Some(1));
    room.left = room.left.saturating_sub(head.len() + foot.len());
    let refusals = room.fill(share, |room, rest| refusals(&plan.refusals, room, rest));
    // A part of the room is reserved for the sections that must always appear. The cleanup sections may use all the
    // rest.
    let aside = room.left.min(2 * share);
    room.left -= aside;
    let cleanup_title = cleanup_title(plan);
    let deletions = room.rest(|room, rest| deletions(plan, room, rest));
    let staying = room.rest(|room, rest| staying(plan, &[], room, rest));
    room.left += aside;
    let blocked = room.fill(share.max(room.left / 2), |room, rest| blocked(plan, room, rest));
    let table = room.fill(share.max(room.left / 4), |room, rest| table(plan, room, rest));
    let notices = room.rest(|room, rest| notices(&plan.notices, room, rest));
    let most = room.left.saturating_sub(naming(plan)).max(room.left / 2);
    let changed = room.fill(most, |room, rest| listed(plan, room, rest));
    let differing = room.rest(|room, rest| differing(plan, room, rest));
    let changes_title =
        if changed.is_empty() && differing.is_empty() { String::new() } else { "### Changes\n".to_owned() };
    let foot = if room.omitted > 0 { foot } else { footer(heading, Some(plan), None) };
    let text = joined(&[
        head,
        refusals,
        blocked,
        table,
        cleanup_title,
        deletions,
        staying,
        changes_title,
        changed,
        differing,
        notices,
        foot,
    ]);
    Markdown { text, omitted: room.omitted }
}

/// Lists the blocked and kept objects with their reasons and their places in the source files.
fn blocked(plan: &Plan, room: usize, rest: &str) -> Section {
    let blocked: Vec<&Change> = plan.changes.iter().filter(|change| change.disposition().is_some()).collect();
    if blocked.is_empty() {
        return Section::default();
    }
    let head = "### Blocked or kept\n\n";
    let entry = |change: &&Change| {
        let place = change.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
        let reason = clipped(&wording::reason(change), 1_200);
        vec![format!("{}{place}", change.ident.key), format!("  {reason}")]
    };
    let entries: Vec<listing::Entry> = blocked.iter().map(entry).collect();
    let Section { text, omitted } = listing::fenced("text", &entries, room.saturating_sub(head.len()), rest);
    Section { text: format!("{head}{text}"), omitted }
}

/// Returns the table with the number of objects for each project and action.
fn table(plan: &Plan, room: usize, rest: &str) -> Section {
    let mut counts: BTreeMap<&ProjectPath, BTreeMap<Action, usize>> = BTreeMap::new();
    for change in plan.all().filter(|change| change.action() != Action::Unchanged) {
        *counts.entry(&change.project).or_default().entry(change.action()).or_default() += 1;
    }
    if counts.is_empty() {
        return Section::default();
    }
    let actions: Vec<Action> =
        Action::ALL.into_iter().filter(|action| counts.values().any(|counts| counts.contains_key(action))).collect();
    let line = |(project, counts): (&&ProjectPath, &BTreeMap<Action, usize>)| {
        let counts = actions.iter().map(|action| match (action, counts.get(action)) {
            (_, None) => String::new(),
            (Action::Delete | Action::Replace | Action::Blocked, Some(count)) => strong(&count.to_string()),
            (_, Some(count)) => count.to_string(),
        });
        format!("| {} | {} |", cell(project.as_str()), counts.collect::<Vec<_>>().join(" | "))
    };
    let names: Vec<&str> = actions.iter().map(|action| action.word()).collect();
    let head = format!("| project | {} |\n|---|{}\n", names.join(" | "), "--:|".repeat(names.len()));
    let lines: Vec<String> = counts.iter().map(line).collect();
    let Section { text, omitted } = listing::lined(&lines, room.saturating_sub(head.len()), "\n", rest);
    Section { text: format!("{head}{text}"), omitted }
}

fn cleanup_title(plan: &Plan) -> String {
    let actions = [Action::Delete, Action::Blocked, Action::Release, Action::Keep];
    let count = |action| plan.cleanup.iter().filter(|change| change.action() == action).count();
    let replaced = plan.replacements().count();
    let mut parts: Vec<String> = actions
        .into_iter()
        .map(|action| (action, count(action)))
        .filter(|(_, count)| *count > 0)
        .map(|(action, count)| wording::to_do(action, count))
        .collect();
    if replaced > 0 {
        parts.push(wording::to_do(Action::Replace, replaced));
    }
    if parts.is_empty() { String::new() } else { format!("### Cleanup: {}\n", parts.join(", ")) }
}

/// Lists every object that is deleted, including objects that are created again after their deletion.
fn deletions(plan: &Plan, room: usize, rest: &str) -> Section {
    let rows: Vec<(char, Vec<String>)> = plan
        .deletions()
        .map(|change| ('-', row(change)))
        .chain(
            plan.replacements().map(|change| ('-', row(change).into_iter().chain(wording::remark(change)).collect())),
        )
        .collect();
    if rows.is_empty() { Section::default() } else { listing::fenced("diff", &signed(&rows), room, rest) }
}

/// Returns the sign and the cells of a change for a list.
fn line(change: &Change) -> (char, Vec<String>) {
    let sign = if change.action() == Action::Create { '+' } else { '!' };
    let mut cells = vec![change.action().word().to_owned()];
    cells.extend(row(change));
    cells.extend(wording::remark(change));
    (sign, cells)
}

fn is_shown(change: &Change) -> bool {
    !matches!(change.action(), Action::Unchanged | Action::Blocked)
}

/// Lists the changes without a field difference, for example creations and changes of only the owner. Replacements are
/// listed with the deletions.
fn listed(plan: &Plan, room: usize, rest: &str) -> Section {
    let rows: Vec<(char, Vec<String>)> = plan
        .changes
        .iter()
        .filter(|change| is_shown(change) && change.diff.is_empty() && change.action() != Action::Replace)
        .map(line)
        .collect();
    let count = |action: Action| rows.iter().filter(|(_, row)| row[0] == action.word()).count();
    let parts = Action::ALL.into_iter().map(|action| (action, count(action))).filter(|(_, count)| *count > 0);
    let title: Vec<String> = parts.map(|(action, count)| wording::to_do(action, count)).collect();
    folded(&title.join(", "), &signed(&rows), room, rest)
}

/// Lists the changes with a field difference.
fn with_difference(plan: &Plan) -> Vec<&Change> {
    plan.changes.iter().filter(|change| is_shown(change) && !change.diff.is_empty()).collect()
}

/// Returns the number of bytes that are needed to name all changes with a difference, without the differences.
fn naming(plan: &Plan) -> usize {
    let rows: Vec<(char, Vec<String>)> = with_difference(plan).into_iter().map(line).collect();
    let lines: usize = signed(&rows).iter().flatten().map(|line| line.len() + 1).sum();
    lines + 2 * Room::EACH
}

/// Shows as many differences as fit, the shortest first, and lists the other changes by name.
fn differing(plan: &Plan, room: usize, rest: &str) -> Section {
    let changes = with_difference(plan);
    let blocks: Vec<String> = changes.iter().map(|change| block(change)).collect();
    let total: usize = blocks.iter().map(|block| block.len() + 1).sum();
    if total <= room {
        return Section { text: blocks.join("\n"), omitted: 0 };
    }
    let entries = signed(&changes.iter().map(|change| line(change)).collect::<Vec<_>>());
    // The size of one name in the list. The fence and the sentence around the list need `around` bytes.
    let cost = |at: usize| entries[at].iter().map(|line| line.len() + 1).sum::<usize>();
    let around = 2 * Room::EACH;
    let spare = room.checked_sub(around + (0..entries.len()).map(cost).sum::<usize>());
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.truncate(if spare.is_some() { blocks.len() } else { 0 });
    let mut spare = spare.unwrap_or_default();
    order.sort_by_key(|at| blocks[*at].len());
    let mut shown = vec![false; blocks.len()];
    for at in order {
        let more = (blocks[at].len() + 1).saturating_sub(cost(at));
        if more > spare {
            break;
        }
        spare -= more;
        shown[at] = true;
    }
    let with: Vec<&str> = (0..blocks.len()).filter(|at| shown[*at]).map(|at| blocks[at].as_str()).collect();
    let without: Vec<listing::Entry> =
        (0..blocks.len()).filter(|at| !shown[*at]).map(|at| entries[at].clone()).collect();
    let text = with.join("\n");
    let left = wording::counted(without.len(), "difference");
    let sentence = format!("{left} not shown here{rest}:\n\n");
    let names = listing::fenced("diff", &without, room.saturating_sub(text.len() + 1 + sentence.len()), rest);
    let gap = if text.is_empty() { "" } else { "\n" };
    Section { text: format!("{text}{gap}{sentence}{}", names.text), omitted: without.len() }
}

/// Returns the difference of one object, collapsed.
fn block(change: &Change) -> String {
    let lines: Vec<String> = fields::lines(&change.diff)
        .into_iter()
        .map(|Line { sign, text }| match sign {
            Sign::Removed => format!("- {text}"),
            Sign::Added => format!("+ {text}"),
            Sign::Changed => format!("! {text}"),
            Sign::Same => format!("  {text}"),
            Sign::Title => format!("@@ {text} @@"),
        })
        .collect();
    let fields = wording::counted(change.diff.len(), "field");
    // Forges look for mentions in the text of HTML, but not in code.
    let remark = match (&change.from, wording::remark(change)) {
        (Some(from), _) => format!(", from <code>{}</code>", html(&clipped(from.as_str(), LONGEST))),
        (None, Some(remark)) => format!(", <code>{}</code>", html(&clipped(&remark, LONGEST))),
        (None, None) => String::new(),
    };
    format!(
        "<details><summary>{} <code>{}</code>{remark}: {fields}</summary>\n\n{}\n</details>\n",
        change.action().word(),
        html(&clipped(&change.ident.key.to_string(), LONGEST)),
        fence("diff", lines.iter().map(String::as_str)),
    )
}

//! The objects that a plan deletes, and the recorded objects that stay although no manifest contains them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::escape::{cell, code};
use super::super::listing::{self, Entry, Section};
use super::super::{Heading, place, wording};
use super::alert::{Alert, short};
use super::parts::{row, signed};
use super::renamed::Renamed;
use super::strong;
use crate::object::ident::ObjectKey;
use crate::plan::build::Plan;
use crate::plan::change::Change;
use crate::plan::decision::{Action, Decision, Keep};
use crate::plan::review::NotReviewed;
use crate::plan::risk::Risk;
use crate::project::path::ProjectPath;

/// The number of objects up to which a table shows the deletions. More of them are a list.
const TABLE: usize = 40;

/// The number of projects that the sentence above a list of deletions counts by name.
const PROJECTS: usize = 12;

/// Shows every object that is deleted, including objects that are created again after their deletion.
pub(super) fn deletions(plan: &Plan, renamed: &Renamed<'_>, heading: &Heading<'_>, room: usize, rest: &str) -> Section {
    let deleted: Vec<&Change> = plan.deletions().chain(plan.replacements()).collect();
    let replaced = plan.replacements().count();
    let mut counts = vec![(Action::Delete, deleted.len() - replaced), (Action::Replace, replaced)];
    counts.retain(|(_, count)| *count > 0);
    if counts.is_empty() {
        return Section::default();
    }
    let counts: Vec<String> = counts.into_iter().map(|(action, count)| wording::to_do(action, count)).collect();
    let head = format!("### {}\n\n", counts.join(", "));
    let room = room.saturating_sub(head.len());
    let section = if deleted.len() <= TABLE {
        table(plan, &deleted, renamed, heading, room, rest)
    } else {
        list(&deleted, room, rest)
    };
    Section { text: format!("{head}{}", section.text), ..section }
}

fn table(
    plan: &Plan,
    deleted: &[&Change],
    renamed: &Renamed<'_>,
    heading: &Heading<'_>,
    room: usize,
    rest: &str,
) -> Section {
    let head = "| object | project | removed from | |\n|---|---|---|---|\n";
    let is_known = deleted.iter().any(|change| change.action() == Action::Delete && change.place.is_some());
    let line = |change: &&Change| {
        let name = cell(&wording::object(&change.ident.key));
        let is_serious = change.risks.iter().any(|risk| matches!(risk, Risk::Removal(_)));
        let name = if is_serious { strong(&name) } else { name };
        let mut notes = Vec::new();
        if plan.pending.contains(&change.ident.key) {
            notes.push("an earlier change removed it".to_owned());
        }
        match (change.action(), &change.place) {
            (Action::Replace, _) => notes.push("deleted and created again".to_owned()),
            (_, None) if is_known => notes.push("left over: the base has no manifest of it".to_owned()),
            _ => {}
        }
        notes.extend(renamed.replaces(change).map(|key| format!("{} takes its place", cell(&key.name))));
        notes.extend(change.pods.map(wording::counted_pods));
        let place = match (change.action(), &change.place) {
            (Action::Delete, Some(place)) => place::linked(&cell(&place::short(place)), change, heading),
            _ => String::new(),
        };
        format!("| {name} | {} | {place} | {} |", cell(change.project.as_str()), notes.join(", "))
    };
    let lines: Vec<String> = deleted.iter().map(line).collect();
    let whole: usize = lines.iter().map(|line| line.len() + 1).sum::<usize>() + head.len();
    if whole > room {
        return list(deleted, room, rest);
    }
    let section = listing::lined(&lines, room.saturating_sub(head.len()), "\n", rest);
    Section { text: format!("{head}{}", section.text), ..section }
}

/// Counts the deletions by project, and lists them collapsed.
fn list(deleted: &[&Change], room: usize, rest: &str) -> Section {
    let mut counts: BTreeMap<&ProjectPath, usize> = BTreeMap::new();
    for change in deleted {
        *counts.entry(&change.project).or_default() += 1;
    }
    let told: Vec<String> =
        counts.iter().take(PROJECTS).map(|(project, count)| format!("{count} in {}", cell(project.as_str()))).collect();
    let more = counts.len() - told.len();
    let more =
        if more > 0 { format!(" and more in {}", wording::counted(more, "other project")) } else { String::new() };
    let head = format!("{}{more}\n\n<details><summary>All of them</summary>\n\n", told.join(", "));
    let tail = "\n</details>\n";
    let rows: Vec<(char, Vec<String>)> = deleted
        .iter()
        .map(|change| {
            let note = (change.action() == Action::Replace).then(|| "deleted and created again".to_owned());
            ('-', row(change).into_iter().chain(note).collect())
        })
        .collect();
    let room = room.saturating_sub(head.len() + tail.len());
    let mut section = listing::fenced("diff", &signed(&rows), room, rest);
    if section.omitted > 0 {
        section = listing::fenced("diff", &grouped(deleted), room, rest);
    }
    Section { text: format!("{head}{}{tail}", section.text), ..section }
}

/// Returns one line for each object with its name alone, below a line with the kind, the namespace and the project that
/// successive objects share. The order stays.
fn grouped(deleted: &[&Change]) -> Vec<Entry> {
    let mut last = None;
    let entry = |change: &&Change| {
        let key = &change.ident.key;
        let namespace = key.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        let title = format!("{}{namespace}, project {}:", wording::kind(key), change.project);
        let line = format!("- {}", key.name);
        let is_new = last.as_ref() != Some(&title);
        let entry = if is_new { vec![title.clone(), line] } else { vec![line] };
        last = Some(title);
        entry
    };
    deleted.iter().map(entry).collect()
}

/// Lists, collapsed, the recorded objects that are not desired and stay, and the objects that the alert does not name.
pub(super) fn staying(plan: &Plan, alert: &Alert<'_>, heading: &Heading<'_>, room: usize, rest: &str) -> Section {
    let is_left = |change: &&Change| change.action() != Action::Delete && !alert.named.contains(&change.ident.key);
    let listed: BTreeSet<&ObjectKey> = plan.cleanup.iter().map(|change| &change.ident.key).collect();
    let others = alert.others.iter().copied().filter(|change| !listed.contains(&change.ident.key));
    let left = plan.cleanup.iter().filter(is_left).chain(others);
    let mut left: Vec<(String, &Change)> = left.map(|change| (wording::staying(change), change)).collect();
    if left.is_empty() {
        return Section::default();
    }
    left.sort_by(|(a, x), (b, y)| (x.action(), a).cmp(&(y.action(), b)));
    let count = |action: Action| left.iter().filter(|(_, change)| change.action() == action).count();
    let counts = [Action::Blocked, Action::Keep, Action::Release].map(|action| (action, count(action)));
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(action, count)| wording::to_do(action, count))
        .collect();
    let rows: Vec<Vec<String>> = left.iter().map(|(_, change)| row(change)).collect();
    let titles = left.into_iter().map(|(title, _)| title);
    let entries = listing::grouped(titles.zip(listing::columns(&rows)));
    let is_left_over =
        |change: &Change| matches!(change.decision, Decision::Keep(Keep::Unreviewed(NotReviewed::LeftOver)));
    let remedy = if heading.takes_commands && plan.cleanup.iter().any(is_left_over) {
        let command = code(&format!("/ktor delete leftovers {}", short(&plan.digest)));
        format!("To delete the leftovers with the merge: comment {command}.\n\n")
    } else {
        String::new()
    };
    let head = format!("<details><summary>{}</summary>\n\n{remedy}", counts.join(", "));
    let tail = "\n</details>\n";
    let section = listing::fenced("text", &entries, room.saturating_sub(head.len() + tail.len()), rest);
    Section { text: format!("{head}{}{tail}", section.text), ..section }
}

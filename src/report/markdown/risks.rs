//! The changes that a reviewer should look at first, as a table.

use std::collections::HashMap;

use super::super::escape::{cell, inert_cell};
use super::super::listing::{self, Section};
use super::super::{Heading, place, wording};
use crate::plan::build::Plan;
use crate::plan::change::Change;
use crate::plan::risk::Weight;

/// The number of objects with the same risk that are named.
const NAMED: usize = 3;

/// The most rows of the table.
const MOST_ROWS: usize = 20;

/// A row: objects of one kind with the same risks.
struct Row<'a> {
    weight: Weight,
    what: String,
    changes: Vec<&'a Change>,
}

/// Returns the table of the changes with risks, the most serious first.
pub(super) fn risks(plan: &Plan, heading: &Heading<'_>, room: usize, rest: &str) -> Section {
    let rows = rows(plan);
    if rows.is_empty() {
        return Section::default();
    }
    let head = "**Look at these first**\n\n| | object | what | where |\n|---|---|---|---|\n";
    let lines: Vec<String> = rows.iter().take(MOST_ROWS).map(|row| line(row, heading)).collect();
    let mut section = listing::lined(&lines, room.saturating_sub(head.len()), "\n", rest);
    let shown = lines.len() - section.omitted;
    if section.omitted == 0 && rows.len() > shown {
        let more = wording::counted(rows[shown..].iter().map(|row| row.changes.len()).sum(), "object");
        section.text.push_str(&format!("\n… and {more} with other risks{rest}.\n"));
    }
    section.omitted = rows[shown..].iter().map(|row| row.changes.len()).sum();
    Section { text: format!("{head}{}", section.text), ..section }
}

fn rows(plan: &Plan) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    for change in plan.all() {
        let Some(weight) = change.risks.first().map(crate::plan::risk::Risk::weight) else { continue };
        let what = wording::risks(change);
        let at = *places.entry((wording::short_kind(&change.ident.key), what.clone())).or_insert_with(|| {
            rows.push(Row { weight, what, changes: Vec::new() });
            rows.len() - 1
        });
        rows[at].changes.push(change);
    }
    rows.sort_by_key(|row| row.weight);
    rows
}

fn line(row: &Row<'_>, heading: &Heading<'_>) -> String {
    let sign = match row.weight {
        Weight::High => "🔴",
        Weight::Medium => "🟠",
        Weight::Low => "🟡",
    };
    let Row { what, changes, .. } = row;
    let shown = if changes.len() <= NAMED { changes.len() } else { 1 };
    let names: Vec<String> = changes[..shown].iter().map(|change| cell(&wording::object(&change.ident.key))).collect();
    let places = changes[..shown].iter().filter_map(|change| {
        let place = change.place.as_ref()?;
        Some(place::linked(&cell(&place::short(place)), change, heading))
    });
    let more = if changes.len() > shown { format!(" and {} more", changes.len() - shown) } else { String::new() };
    format!(
        "| {sign} | {}{more} | {} | {} |",
        names.join(", "),
        inert_cell(what),
        places.collect::<Vec<_>>().join(", ")
    )
}

//! The parts that the reports of plans and outcomes share.

use super::super::escape::{SHORT, clipped, code, inert, link};
use super::super::listing::{self, Entry, Section};
use super::super::{Heading, wording};
use crate::plan::build::Plan;
use crate::plan::change::Change;
use crate::plan::decision::Action;
use crate::plan::guard::TreeDoubt;
use crate::plan::notice::Notice;

/// The number of bytes of project names after which a footer names no further project.
const PROJECTS: usize = 400;

/// Lists the refusals, which stop the whole run, and the options that allow them.
pub(super) fn refusals(refusals: &[TreeDoubt], room: usize, rest: &str) -> Section {
    if refusals.is_empty() {
        return Section::default();
    }
    let head = "> [!CAUTION]\n> **Refused.** An apply would stop here and write nothing:\n>\n";
    let item = |refusal: &TreeDoubt| {
        let option = wording::option(refusal.guard()).map(|option| format!(" To allow it: {}", code(&option)));
        format!("> - {}.{}", inert(&wording::doubt(refusal)), option.unwrap_or_default())
    };
    let items: Vec<String> = refusals.iter().map(item).collect();
    let Section { text, omitted } = listing::lined(&items, room.saturating_sub(head.len()), "> - ", rest);
    Section { text: format!("{head}{text}"), omitted }
}

/// Lists the recorded objects that are no longer desired and still stay, grouped by reason. `unstarted` has the
/// deletions that the run did not reach.
pub(super) fn staying(plan: &Plan, unstarted: &[&Change], room: usize, rest: &str) -> Section {
    let kept = plan.cleanup.iter().filter(|change| change.action() != Action::Delete);
    let mut staying: Vec<(String, &Change)> = kept.map(|change| (wording::staying(change), change)).collect();
    staying
        .extend(unstarted.iter().map(|change| ("remembered: the run ended before its deletion".to_owned(), *change)));
    if staying.is_empty() {
        return Section::default();
    }
    staying.sort_by(|(a, x), (b, y)| (x.action(), a).cmp(&(y.action(), b)));
    let rows: Vec<Vec<String>> = staying.iter().map(|(_, change)| row(change)).collect();
    let titles = staying.into_iter().map(|(title, _)| title);
    listing::fenced("text", &listing::grouped(titles.zip(listing::columns(&rows))), room, rest)
}

/// Returns the kind, the name and the project of a change.
pub(super) fn row(change: &Change) -> Vec<String> {
    let key = &change.ident.key;
    vec![wording::kind(key), wording::name(key), change.project.to_string()]
}

/// Returns one line for each row, with its sign in front.
pub(super) fn signed(rows: &[(char, Vec<String>)]) -> Vec<Entry> {
    let cells: Vec<Vec<String>> = rows.iter().map(|(_, row)| row.clone()).collect();
    rows.iter().zip(listing::columns(&cells)).map(|((sign, _), line)| vec![format!("{sign} {line}")]).collect()
}

/// Lists the notices of a plan.
pub(super) fn notices(notices: &[Notice], room: usize, rest: &str) -> Section {
    if notices.is_empty() {
        return Section::default();
    }
    let items: Vec<String> = notices.iter().map(|notice| format!("- {}", inert(&wording::notice(notice)))).collect();
    let head = "### Notices\n\n";
    let Section { text, omitted } = listing::lined(&items, room.saturating_sub(head.len()), "- ", rest);
    Section { text: format!("{head}{text}"), omitted }
}

/// Returns the small print of a plan: as [`footer`], with the number of unchanged objects.
pub(super) fn footer_of_plan(heading: &Heading<'_>, plan: &Plan, omitted: usize) -> String {
    let unchanged = plan.all().filter(|change| change.action() == Action::Unchanged).count();
    small_print(heading, Some(plan), Some(omitted), Some(format!("{unchanged} unchanged")))
}

/// Returns the small print: the scope, the commits, a link to the run and the digest of the plan.
pub(super) fn footer(heading: &Heading<'_>, plan: Option<&Plan>, omitted: Option<usize>) -> String {
    small_print(heading, plan, omitted, None)
}

fn small_print(heading: &Heading<'_>, plan: Option<&Plan>, omitted: Option<usize>, more: Option<String>) -> String {
    let mut parts = Vec::new();
    if let Some(plan) = plan {
        let mut named: Vec<String> = Vec::new();
        for project in &plan.scope {
            if named.iter().map(String::len).sum::<usize>() < PROJECTS {
                named.push(code(project.as_str()));
            }
        }
        let more = plan.scope.len() - named.len();
        if named.is_empty() {
            named.push("no project".to_owned());
        }
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        parts.push(format!("Scope: {}{more}", named.join(", ")));
    }
    let commit = |revision| code(&clipped(wording::commit(revision), SHORT));
    match (heading.base, heading.head) {
        (Some(base), Some(head)) => parts.push(format!("from {} to {}", commit(base), commit(head))),
        (None, Some(head)) => parts.push(format!("at {}", commit(head))),
        (Some(base), None) => parts.push(format!("compared with {}", commit(base))),
        (None, None) => {}
    }
    if let Some(run) = heading.run {
        let words = if omitted.is_some_and(|omitted| omitted > 0) { "step summary" } else { "run" };
        parts.push(link(words, Some(run)));
    }
    parts.extend(more);
    let mut lines = vec![parts.join(" · ")];
    lines.extend(plan.map(|plan| format!("Digest: {}", code(&plan.digest))));
    lines.retain(|line| !line.is_empty());
    if lines.is_empty() { String::new() } else { format!("<sub>{}</sub>\n", lines.join("<br>\n")) }
}

/// Returns a list of entries. A list of more than 20 entries is collapsed under `title`.
pub(super) fn folded(title: &str, entries: &[Entry], room: usize, rest: &str) -> Section {
    const OPEN: usize = 20;
    if entries.is_empty() {
        return Section::default();
    }
    if entries.len() <= OPEN {
        return listing::fenced("diff", entries, room, rest);
    }
    let (head, tail) = (format!("<details><summary>{title}</summary>\n\n"), "\n</details>\n");
    let Section { text, omitted } =
        listing::fenced("diff", entries, room.saturating_sub(head.len() + tail.len()), rest);
    Section { text: format!("{head}{text}{tail}"), omitted }
}

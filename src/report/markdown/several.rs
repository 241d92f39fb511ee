//! The plans of several roots and targets in one comment: a table of all, and a section for each that has something to say.
//!
//! The sections get the room that the hidden lines leave. All of them get their short text first, then all get longer ones,
//! so a large plan takes no room from a small one. A hidden line is never cut. If the hidden lines and the short texts do
//! not fit into one comment, the rest goes into further comments, and the first comment says so.

use super::super::escape::{SHORT, cell, clipped, code, inert, link};
use super::super::wording;
use super::{joined, named};

/// The most bytes of the table. Further rows are counted.
const TABLE: usize = 6_000;

/// The most bytes of the list of problems.
const PROBLEMS: usize = 3_000;

/// The most comments.
const MOST_PAGES: usize = 20;

/// The bytes that are reserved for the sentences about further comments, the small print and the line ends.
const FRAME: usize = 4_000;

/// The plan of one root and target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanOfSeveral {
    /// The root. It is empty if it is not known.
    pub root: String,
    /// The target.
    pub target: String,
    /// The end of the plan.
    pub standing: Standing,
    /// The number of objects that the plan changes, deletions included.
    pub changes: usize,
    /// The number of objects that the plan deletes.
    pub deletions: usize,
    /// The number of objects that the plan keeps.
    pub kept: usize,
    /// The hidden lines of the plan.
    pub hidden: Vec<String>,
    /// The line above the section.
    pub opening: String,
    /// The texts of the section, the longest first. Without a text, there is only a row in the table.
    pub texts: Vec<String>,
}

/// The end of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The plan could not be made.
    Failed,
    /// The plan is refused, or keeps or blocks one of its own changes.
    Refused,
    /// The plan has changes.
    Changes,
    /// There is no plan, for example because of a conflict.
    NoPlan,
    /// The plan has no changes.
    NoChanges,
}

/// The content of the comment beside the plans.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overview<'a> {
    /// The sentences about plans that are missing or refused.
    pub problems: &'a [String],
    /// The head of the pull request.
    pub head: &'a str,
    /// The URL of the run.
    pub run: Option<&'a str>,
    /// The line below the last section.
    pub end: &'a str,
    /// The most bytes of a comment.
    pub limit: usize,
    /// The bytes of a comment's own hidden lines.
    pub reserved: usize,
}

/// One comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The hidden lines of its parts.
    pub hidden: Vec<String>,
    /// The visible text.
    pub text: String,
}

impl Standing {
    fn word(self) -> &'static str {
        match self {
            Self::Failed => "🔴 failed",
            Self::Refused => "🟠 refused",
            Self::Changes => "changes",
            Self::NoPlan => "no plan",
            Self::NoChanges => "no changes",
        }
    }
}

impl PlanOfSeveral {
    fn name(&self) -> String {
        named(&self.root, &self.target)
    }

    /// The bytes of the section with one of its texts, and of the hidden lines.
    fn size(&self, text: usize) -> usize {
        let hidden: usize = self.hidden.iter().map(|line| line.len() + 1).sum();
        hidden + self.texts.get(text).map_or(0, |text| self.opening.len() + text.len() + 5)
    }
}

/// Returns the comments for several plans, and the names of the plans that no comment has room for. Plans stand in the
/// order of their names, and the first comment has the table of all.
pub fn pages(plans: &[PlanOfSeveral], overview: &Overview<'_>) -> (Vec<Page>, Vec<String>) {
    let mut plans: Vec<&PlanOfSeveral> = plans.iter().collect();
    plans.sort_by(|one, other| (&one.root, &one.target).cmp(&(&other.root, &other.target)));
    let (table, problems) = (table(&plans), problems(overview.problems));
    let left = overview.limit.saturating_sub(overview.reserved + FRAME);
    let mut rooms = vec![left.saturating_sub(table.len() + problems.len())];
    let mut held: Vec<Vec<&PlanOfSeveral>> = vec![Vec::new()];
    let mut unheld = Vec::new();
    for plan in &plans {
        let size = plan.size(plan.texts.len().saturating_sub(1));
        let at = rooms.iter().position(|room| *room >= size);
        match at {
            Some(at) => {
                rooms[at] -= size;
                held[at].push(plan);
            }
            None if rooms.len() < MOST_PAGES && size <= left => {
                rooms.push(left - size);
                held.push(vec![plan]);
            }
            None => unheld.push(plan.name()),
        }
    }
    let elsewhere: Vec<String> = held.iter().skip(1).flatten().map(|plan| plan.name()).collect();
    let total = held.len();
    let mut pages = Vec::new();
    for (index, (plans, room)) in held.iter().zip(rooms).enumerate() {
        let sections = sections(plans, room);
        let end = if sections.is_empty() { String::new() } else { format!("{}\n", overview.end) };
        let top = if index == 0 {
            let further = further(&elsewhere, total - 1) + &without_room(&unheld);
            joined(&[title(&held.concat(), &plans_of(&held, &unheld)), problems.clone(), further, table.clone()])
        } else {
            format!("## Plans, continued ({} of {total})\n", index + 1)
        };
        let text = joined(&[top, sections, end, footer(overview)]);
        pages.push(Page { hidden: plans.iter().flat_map(|plan| plan.hidden.clone()).collect(), text });
    }
    (pages, unheld)
}

/// Returns the number of all plans, those without room included.
fn plans_of(held: &[Vec<&PlanOfSeveral>], unheld: &[String]) -> String {
    let count = held.iter().map(Vec::len).sum::<usize>() + unheld.len();
    wording::counted(count, "plan")
}

fn title(plans: &[&PlanOfSeveral], count: &str) -> String {
    let sum = |number: fn(&PlanOfSeveral) -> usize| plans.iter().map(|plan| number(plan)).sum::<usize>();
    let (changes, deletions) = (sum(|plan| plan.changes), sum(|plan| plan.deletions));
    let what = match (changes, deletions) {
        (0, _) => "nothing to do".to_owned(),
        (changes, 0) => wording::counted(changes, "change"),
        (changes, deletions) => format!("{}, {deletions} of them deletions", wording::counted(changes, "change")),
    };
    format!("## {count}: {what}\n")
}

/// Returns the sentence about the plans in further comments.
fn further(names: &[String], comments: usize) -> String {
    if names.is_empty() {
        return String::new();
    }
    let comments = wording::counted(comments, "further comment");
    format!("> [!NOTE]\n> The signed plans are too long for one comment. {comments} with {}.\n", some(names))
}

/// Returns the sentence about the plans that no comment has room for.
fn without_room(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let names = some(names);
    format!(
        "\n> [!WARNING]\n> **No comment has room for the plan of {names}.** A merge deletes and replaces nothing for it.\n"
    )
}

/// Returns the first of the names, and the number of the others.
fn some(names: &[String]) -> String {
    const NAMED: usize = 4;
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "))
}

fn problems(problems: &[String]) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let mut text =
        "> [!CAUTION]\n> **Not every plan is here.** A merge deletes and replaces nothing for these:\n>\n".to_owned();
    for (index, problem) in problems.iter().enumerate() {
        let line = format!("> - {}.\n", inert(problem));
        if text.len() + line.len() > PROBLEMS {
            text.push_str(&format!("> - … and {} more.\n", problems.len() - index));
            break;
        }
        text.push_str(&line);
    }
    text
}

fn table(plans: &[&PlanOfSeveral]) -> String {
    let mut rows = "| root | target | plan | changes | deletions | kept |\n|---|---|---|--:|--:|--:|\n".to_owned();
    if plans.is_empty() {
        return String::new();
    }
    let name = |text: &str| if text.is_empty() { "–".to_owned() } else { cell(&clipped(text, SHORT)) };
    // The rows of plans without changes are the first to be left out.
    let mut order: Vec<&PlanOfSeveral> = plans.to_vec();
    order.sort_by_key(|plan| plan.standing == Standing::NoChanges);
    for (index, plan) in order.iter().enumerate() {
        let PlanOfSeveral { root, target, standing, changes, deletions, kept, .. } = plan;
        let (root, target) = (name(root), name(target));
        let row = format!("| {root} | {target} | {} | {changes} | {deletions} | {kept} |\n", standing.word());
        if rows.len() + row.len() > TABLE {
            return format!("{rows}\n… and {}.\n", wording::counted(order.len() - index, "more plan"));
        }
        rows.push_str(&row);
    }
    rows
}

/// Returns the sections of a comment, each with the longest text that the room allows. `room` is what is left after every
/// section has its shortest text.
fn sections(plans: &[&PlanOfSeveral], mut room: usize) -> String {
    let mut chosen: Vec<usize> = plans.iter().map(|plan| plan.texts.len().saturating_sub(1)).collect();
    let mut order: Vec<usize> = (0..plans.len()).collect();
    // Where the room ends, plans that are refused or delete come first.
    order.sort_by_key(|at| (plans[*at].standing, plans[*at].deletions == 0));
    loop {
        let mut is_changed = false;
        for at in &order {
            let (plan, text) = (plans[*at], chosen[*at]);
            let Some(longer) = text.checked_sub(1) else { continue };
            let more = plan.size(longer).saturating_sub(plan.size(text));
            if more <= room {
                room -= more;
                chosen[*at] = longer;
                is_changed = true;
            }
        }
        if !is_changed {
            break;
        }
    }
    let section = |(plan, text): (&&PlanOfSeveral, &usize)| {
        let text = plan.texts.get(*text)?;
        Some(format!("{}\n\n{}\n", plan.opening, text.trim_end()))
    };
    plans.iter().zip(&chosen).filter_map(section).collect::<Vec<_>>().join("\n")
}

fn footer(overview: &Overview<'_>) -> String {
    let commit = code(&clipped(wording::commit(overview.head), SHORT));
    format!("<sub>at {commit} · {}</sub>\n", link("run", overview.run))
}

//! Plans and outcomes as Markdown: for the comment on a pull request and, with more room, for the step summary.
//!
//! The most important parts come first. Deletions and replacements are the last to be cut.
//!
//! **Invariant:** a report is never longer than its budget, every fence and `<details>` is closed, and the report says
//! how much it leaves out.

mod alert;
mod changes;
mod cleanup;
mod contained;
mod drift;
mod images;
mod outcome;
mod parts;
mod plan;
mod renamed;
mod risks;
mod several;
mod unsigned;

use super::escape::{LONGEST, SHORT, clipped, code, inert, link};
use super::listing::Section;
use super::{Budget, Heading};

pub use contained::is_contained;
pub use drift::drift;
pub use outcome::outcome;
pub use plan::{brief, plan};
pub use several::{Overview, Page, PlanOfSeveral, Standing, pages};
pub use unsigned::{Unsigned, unsigned};

/// A report and the number of things that it leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markdown {
    /// The text.
    pub text: String,
    /// The number of objects or differences that are left out.
    pub omitted: usize,
    /// The number of deletions and replacements that the text shows. They are the first ones of the plan.
    pub deletions: usize,
}

/// Returns the report for a plan that failed. `error` is the reason.
pub fn failure(heading: &Heading<'_>, error: &str) -> String {
    let shown = clipped(error.trim(), 20 * LONGEST);
    let error = super::escape::fence("text", shown.lines());
    format!(
        "{}\n> [!CAUTION]\n> **The plan could not be made.** Nothing was changed.\n\n{error}\n{}",
        title("No plan for", heading),
        parts::footer(heading, None, None),
    )
}

/// Returns the comment that tells of an apply that did not finish. `error` is the reason.
pub fn alarm(heading: &Heading<'_>, error: &str) -> String {
    let shown = clipped(error.trim(), 20 * LONGEST);
    let error = super::escape::fence("text", shown.lines());
    format!(
        "{}\n> [!CAUTION]\n> **The apply did not finish.** What was done is recorded, and the next run continues.\n\n{error}\n{}",
        title("Incomplete apply of", heading),
        parts::footer(heading, None, None),
    )
}

/// The start of the notice that a plan is outdated.
pub const OVERTAKEN: &str = "> [!NOTE]\n> **Outdated.**";

/// Returns the rest of the notice that a plan is outdated, because a commit of the branch was applied after it.
pub fn overtaken(branch: &str, commit: &str) -> String {
    format!(
        " After this plan, the commit {} of {} was applied, and it changed projects of this pull request. Push again or \
         repeat the run for a plan of what a merge does now.",
        code(super::wording::commit(commit)),
        code(&clipped(branch, SHORT)),
    )
}

/// Returns a report of one sentence, for example if no project is in scope, or if a newer run supersedes this one.
pub fn note(heading: &Heading<'_>, sentence: &str) -> String {
    format!("{}\n{}\n", title("Plan for", heading), inert(sentence))
}

/// Returns the text of a comment that a newer one replaces. `url` is the address of the newer one, and `text` is the text
/// of the outdated one.
pub fn outdated(text: &str, url: &str) -> String {
    const LONGEST_TEXT: usize = 50_000;
    let head = format!("> [!NOTE]\n> **Outdated:** {} replaces this one.\n", link("a newer comment", Some(url)));
    if text.len() > LONGEST_TEXT {
        return head;
    }
    format!("{head}\n<details><summary>the outdated comment</summary>\n\n{text}\n\n</details>\n")
}

/// Returns the heading, for example `## Plan for demo on prod`.
fn title(words: &str, heading: &Heading<'_>) -> String {
    let cluster = heading.cluster.map(|cluster| format!(" on {}", code(&clipped(cluster, SHORT)))).unwrap_or_default();
    format!("## {words} {}{cluster}\n", subject(heading))
}

/// Returns the names of the root and the target of a report.
fn subject(heading: &Heading<'_>) -> String {
    named(heading.root.unwrap_or(heading.target), heading.target)
}

/// Returns the names of a root and a target: one name if they are the same, or if the root is not known.
fn named(root: &str, target: &str) -> String {
    let target_name = code(&clipped(target, SHORT));
    if root == target || root.is_empty() {
        target_name
    } else {
        format!("{} ({target_name})", code(&clipped(root, SHORT)))
    }
}

fn strong(text: &str) -> String {
    format!("**{text}**")
}

/// The bytes that are left for the sections. The sections receive them by importance, not by their order in the report.
struct Room {
    left: usize,
    omitted: usize,
    rest: &'static str,
}

impl Room {
    /// The bytes that are reserved for each section. They are enough to say how much the section leaves out.
    const EACH: usize = 256;

    /// Creates the room for `sections` sections: the budget without the reserved bytes.
    fn new(budget: Budget, sections: usize) -> Self {
        Self { left: budget.bytes().saturating_sub(sections * Self::EACH), omitted: 0, rest: budget.rest() }
    }

    /// Makes a section from the bytes that are left, with at most `most` bytes.
    fn fill(&mut self, most: usize, section: impl FnOnce(usize, &str) -> Section) -> String {
        let Section { text, omitted } = section(self.left.min(most), self.rest);
        self.left = self.left.saturating_sub(text.len());
        self.omitted += omitted;
        text
    }

    /// Makes a section from all the bytes that are left.
    fn rest(&mut self, section: impl FnOnce(usize, &str) -> Section) -> String {
        self.fill(usize::MAX, section)
    }
}

/// Joins the sections that are not empty, with an empty line between them.
fn joined(sections: &[String]) -> String {
    let sections: Vec<&str> = sections.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    sections.join("\n")
}

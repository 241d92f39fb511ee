//! Plans and outcomes as Markdown: a pull request's comment, and with more room a step summary.
//!
//! What a reader has to see comes first, and what destroys something is the last to be cut. **Invariant:** a report is
//! never longer than its budget, every fence and `<details>` is closed, and what is left out is counted.

mod outcome;
mod parts;
mod plan;

use super::escape::{LONGEST, SHORT, clipped, code, inert};
use super::listing::Section;
use super::{Budget, Heading};

pub use outcome::outcome;
pub use plan::plan;

/// A report and what it leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markdown {
    /// The text.
    pub text: String,
    /// How many objects or differences it should show and does not.
    pub omitted: usize,
}

/// The report of a plan that could not be made.
pub fn failure(heading: &Heading<'_>, error: &str) -> String {
    let shown = clipped(error.trim(), 20 * LONGEST);
    let error = super::escape::fence("text", shown.lines());
    format!(
        "{}\n> [!CAUTION]\n> **The plan could not be made.** Nothing was changed.\n\n{error}\n{}",
        title("No plan for", heading),
        parts::footer(heading, None, None),
    )
}

/// The report of a pull request that was closed without being merged.
pub fn closed(heading: &Heading<'_>) -> String {
    format!("{}\nThis pull request was closed without being merged. Nothing was applied.\n", title("Plan for", heading))
}

/// A report of one sentence, for what needs no more: nothing in scope, a run that was superseded.
pub fn note(heading: &Heading<'_>, sentence: &str) -> String {
    format!("{}\n{}\n", title("Plan for", heading), inert(sentence))
}

/// `## Plan for demo on prod`.
fn title(words: &str, heading: &Heading<'_>) -> String {
    let cluster = heading.cluster.map(|cluster| format!(" on {}", code(&clipped(cluster, SHORT)))).unwrap_or_default();
    format!("## {words} {}{cluster}\n", code(&clipped(heading.target, SHORT)))
}

fn strong(text: &str) -> String {
    format!("**{text}**")
}

/// The room that is left, given out by importance, not by place.
struct Room {
    left: usize,
    omitted: usize,
    rest: &'static str,
}

impl Room {
    /// What every section may take without being asked: enough to say how much it leaves out.
    const EACH: usize = 256;

    /// The room for a number of sections.
    fn new(budget: Budget, sections: usize) -> Self {
        Self { left: budget.bytes().saturating_sub(sections * Self::EACH), omitted: 0, rest: budget.rest() }
    }

    /// Makes a section of at most `most` bytes of what is left.
    fn fill(&mut self, most: usize, section: impl FnOnce(usize, &str) -> Section) -> String {
        let Section { text, omitted } = section(self.left.min(most), self.rest);
        self.left = self.left.saturating_sub(text.len());
        self.omitted += omitted;
        text
    }

    /// Makes a section of whatever is left.
    fn rest(&mut self, section: impl FnOnce(usize, &str) -> Section) -> String {
        self.fill(usize::MAX, section)
    }
}

/// Sections with an empty line between them.
fn joined(sections: &[String]) -> String {
    let sections: Vec<&str> = sections.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    sections.join("\n")
}

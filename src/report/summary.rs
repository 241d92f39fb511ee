//! The step summary: the text of the comment, with more room.

use super::markdown::{self, Markdown};
use super::{Budget, Heading};
use crate::plan::build::Plan;
use crate::plan::outcome::Outcome;

/// Returns a plan as a step summary.
pub fn plan(plan: &Plan, heading: &Heading<'_>) -> Markdown {
    markdown::plan(plan, heading, Budget::SUMMARY)
}

/// Returns an outcome as a step summary.
pub fn outcome(plan: &Plan, outcome: &Outcome, heading: &Heading<'_>, error: Option<&str>) -> Markdown {
    markdown::outcome(plan, outcome, heading, error, Budget::SUMMARY)
}

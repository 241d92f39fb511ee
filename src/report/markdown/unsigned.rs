//! The alert above a plan whose deletions no merge makes.

use super::super::escape::inert;
use crate::plan::build::Plan;

/// The reason why a plan is not signed. An apply makes only deletions and replacements of signed plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsigned {
    /// The plan was made without the cluster, which has the key.
    Offline,
    /// The root has no key, because it was never applied.
    NoKey,
    /// The plan is not the one of what the merge makes now, for this reason.
    NotTheMerge(String),
    /// There is no forge, or it does not tell its time.
    NoForge,
}

/// Returns the alert above an unsigned plan. It is empty if the plan deletes and replaces nothing.
pub fn unsigned(plan: &Plan, why: &Unsigned) -> String {
    if plan.deletions().next().is_none() && plan.replacements().next().is_none() {
        return String::new();
    }
    let (reason, remedy) = match why {
        Unsigned::Offline => (
            "it was made without the cluster".to_owned(),
            "Someone with write access can plan it on the cluster with the comment `/ktor plan`.",
        ),
        Unsigned::NoKey => (
            "the root has no key for signing plans yet".to_owned(),
            "The first apply makes the key. Apply the branch once, and plan again.",
        ),
        Unsigned::NotTheMerge(why) => (
            format!("it is not a plan of what the merge makes now: {}", inert(why)),
            "Update the branch, and plan again.",
        ),
        Unsigned::NoForge => ("the forge does not tell its time".to_owned(), "Plan again when the forge answers."),
    };
    format!(
        "> [!WARNING]\n> **The merge will delete and replace nothing that this plan shows**, because {reason}. {remedy}\n\n"
    )
}

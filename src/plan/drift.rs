//! Tells if a cluster differs from what was merged.

use super::build::Plan;
use super::decision::Disposition;
use super::notice::Notice;

/// Returns `true` if a notice tells that an apply is due, whatever the objects are like.
pub(crate) fn is_due(notice: &Notice) -> bool {
    matches!(notice, Notice::NotApplied { .. } | Notice::AppliedElsewhere(_) | Notice::Unsettled)
}

/// Returns `true` if a plan of a whole root finds anything that a finished apply would not leave behind: a difference, an
/// object that is kept or blocked, a commit that is not applied, or a run that did not finish.
pub(crate) fn has_drifted(plan: &Plan) -> bool {
    plan.has_changes()
        || plan.standing(Disposition::Kept).next().is_some()
        || !plan.refusals.is_empty()
        || !plan.broken.is_empty()
        || plan.notices.iter().any(is_due)
}

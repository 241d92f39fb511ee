//! A merged pull request: the place of its plan, and the comment for the outcome of its apply.

use super::super::options::Identity;
use crate::forge::{Marker, REVIEW, SERVER, hidden_block};

/// A merged pull request.
#[derive(Clone)]
pub(crate) struct MergedPull {
    /// Its number.
    pub number: u64,
    /// The head that was merged.
    pub head: String,
    /// The place of its plan.
    pub plan: PlanPlace,
}

/// The place of the plan of a merged pull request.
#[derive(Clone)]
pub(crate) enum PlanPlace {
    /// Its own comment, or no comment.
    Own(OwnPlan),
    /// A comment of several plans.
    Summary,
}

/// The data of a plan's own comment that a later run needs again.
#[derive(Clone, Default)]
pub(crate) struct OwnPlan {
    /// The signed block.
    pub review: Option<String>,
    /// The identity of the API server that the plan was made on.
    pub server: Option<String>,
}

impl PlanPlace {
    /// Returns the place of a plan that does not exist or that nobody needs again.
    pub(crate) fn nowhere() -> Self {
        Self::Own(OwnPlan::default())
    }
}

impl MergedPull {
    /// The hidden lines that its comment keeps.
    pub(super) fn hidden(&self) -> Vec<String> {
        let PlanPlace::Own(OwnPlan { review, server }) = &self.plan else { return Vec::new() };
        let lines = [(REVIEW, review), (SERVER, server)];
        lines.into_iter().filter_map(|(name, data)| hidden_block(name, data.as_ref()?)).collect()
    }

    /// Returns the marker of the comment for the outcome of its apply.
    pub(super) fn marker(&self, Identity { root, target }: &Identity) -> Marker {
        match self.plan {
            PlanPlace::Own(_) => Marker::new(root, target),
            PlanPlace::Summary => Marker::outcome(root, target),
        }
    }
}

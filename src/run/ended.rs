//! The report of a run that made a plan: the plan, the outcome of each object, and the end of the run.

use crate::plan::build::Plan;
use crate::plan::outcome::Outcome;
use crate::run::context::Stop;
use crate::run::error::RunError;

/// The report of a run that made a plan.
#[derive(Debug)]
pub struct RunReport {
    /// The plan.
    pub plan: Plan,
    /// The outcomes so far.
    pub outcome: Outcome,
    /// The end of the run.
    pub end: End,
}

/// The end of a run that made a plan. In every case, the next run continues from the state that this run left.
#[derive(Debug)]
pub enum End {
    /// The run did everything and finalized the state. An object that it left as it was may still be unready.
    Finalized,
    /// Objects failed or were skipped, or files in scope cannot be read. The run did the rest.
    Incomplete,
    /// A signal stopped the run.
    Interrupted,
    /// The lock was lost.
    LockLost,
    /// The plan is refused. Nothing was changed.
    Refused(PlanRefusal),
    /// The state could not be written.
    Failed(RunError),
}

/// The reason why a plan is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanRefusal {
    /// A guard refuses the plan. The plan's refusals say which one.
    Guarded,
    /// The plan is not the one that was approved.
    NotApproved,
}

impl RunReport {
    /// Returns `true` if the run did everything, and no object failed or is unready.
    pub fn is_success(&self) -> bool {
        matches!(self.end, End::Finalized) && self.outcome.is_complete()
    }
}

impl From<Stop> for End {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Interrupted => Self::Interrupted,
            Stop::LockLost => Self::LockLost,
        }
    }
}

impl From<RunError> for End {
    fn from(error: RunError) -> Self {
        match error {
            RunError::LockLost => Self::LockLost,
            error => Self::Failed(error),
        }
    }
}

//! The exit codes.

use std::process::ExitCode;

/// The result of the program. If several results apply, the greatest in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything was done, or there was nothing to do.
    Success,
    /// Changes are pending, and the caller asked for an exit code that says so.
    ChangesPending,
    /// The run is refused as a whole, or it kept or blocked one of its own changes.
    Refused,
    /// Something failed, or an object is not ready.
    Failure,
    /// The run was interrupted or lost its lock. Another run can resume.
    Interrupted,
    /// The lock was not acquired, or the root is frozen.
    Locked,
    /// The command line is wrong.
    Usage,
}

impl Exit {
    /// Returns the process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::ChangesPending => 2,
            Self::Refused => 3,
            Self::Locked => 4,
            Self::Interrupted => 5,
            Self::Usage => 64,
        }
    }

    /// Returns the result with an exit code.
    pub(crate) fn of_code(code: u8) -> Option<Self> {
        use Exit::{ChangesPending, Failure, Interrupted, Locked, Refused, Success, Usage};
        let all = [Success, ChangesPending, Refused, Failure, Interrupted, Locked, Usage];
        all.into_iter().find(|exit| exit.code() == code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

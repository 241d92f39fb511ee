//! Exit codes.

use std::process::ExitCode;

/// How the program ends. Where several hold, the greatest in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything was done, or there was nothing to do.
    Success,
    /// Changes are pending, and the caller asked to be told.
    ChangesPending,
    /// Refused as a whole, or something was kept or blocked that the run's own changes ask for.
    Refused,
    /// Something failed, or is left unready.
    Failure,
    /// Interrupted, or the lock was lost: resumable.
    Interrupted,
    /// The lock was not acquired.
    Locked,
    /// The command line is wrong.
    Usage,
}

impl Exit {
    /// The process's exit code.
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
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

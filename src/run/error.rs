//! The error type of runs and of the commands that change a state.

use std::error::Error;
use std::fmt::Write as _;

use crate::cluster::error::ClusterError;
use crate::cluster::lock::LockError;
use crate::cluster::store::StateWriteError;
use crate::object::read_error::ReadError;
use crate::project::scope::UnknownProject;
use crate::project::snapshot::SourceError;
use crate::state::error::StateError;
use crate::state::freeze::Freeze;

/// The reason why a run made no plan, could not write its state, or did not change the state as it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Sources in scope, or the project tree itself, cannot be read. Nothing was changed.
    #[error("{}", first_of(.0))]
    Sources(Vec<SourceError>),
    /// A pattern names no project. Nothing was changed.
    #[error(transparent)]
    Scope(UnknownProject),
    /// The cluster cannot be reached, or its answers cannot be understood. Nothing was changed.
    #[error(transparent)]
    Cluster(ClusterError),
    /// The state cannot be read. Nothing was changed.
    #[error("failed to read the state {name}")]
    ReadState {
        /// The object that cannot be read, as namespace/name. It is a Secret of the state or the Lease of the lock.
        name: String,
        /// The error of the read.
        #[source]
        source: ReadError,
    },
    /// The state was read, but cannot be used. Nothing was changed.
    #[error(transparent)]
    State(StateError),
    /// Another run wrote the state since it was read. Nothing was changed. The run has to start again.
    #[error("another run wrote the state of this root meanwhile: run again")]
    StateChanged,
    /// The system provides no random bytes for a review key. The state of phase one may have been written.
    #[error("the system provides no random bytes for the key that signs reviews")]
    NoRandomness,
    /// The named object or project is not recorded. Nothing was changed.
    #[error("{0}")]
    Unknown(String),
    /// The request would not be safe. Nothing was changed.
    #[error("{0}")]
    Declined(String),
    /// A signal stopped an edit of the state. The same command continues from there.
    #[error("interrupted: run the same command again to continue")]
    Stopped,
    /// A signal came before the state was written. Nothing was changed.
    #[error("the run was interrupted before it began; nothing was changed")]
    NotBegun,
    /// A person froze the root. Nothing was changed.
    #[error("{} froze the root{}: {}", .0.by, .0.until.map(|until| format!(" until {until}")).unwrap_or_default(), .0.reason)]
    Frozen(Freeze),
    /// The lock was not acquired. Nothing was changed.
    #[error(transparent)]
    Lock(LockError),
    /// The state could not be written. The state that was recorded before remains valid, and the next run continues
    /// from there.
    #[error("failed to {0}")]
    WriteState(StateWriteError),
    /// A signal came, and a request under way got no answer in time. The next run continues from there.
    #[error("the run was interrupted while a request had no answer; its lock expires, and the next run continues it")]
    CutShort,
    /// The lock was lost. The next run continues from there.
    #[error("the lock was lost; the run that holds it now, or the next run, continues")]
    LockLost,
}

fn first_of(errors: &[SourceError]) -> String {
    match errors {
        [] => "the sources cannot be read".to_owned(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

/// Formats an error and its causes as one line: `failed to a: b: c`.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

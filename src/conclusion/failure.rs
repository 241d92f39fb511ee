//! Errors for people. An error is one sentence that says what to do, and has an exit code.

use std::error::Error;

use super::exit::Exit;
use super::hint::{self, hinted};
use crate::cluster::error::ClusterError;
use crate::cluster::lock::{Holder, LockError};
use crate::git::error::GitError;
use crate::plan::build::Plan;
use crate::plan::guard::Guard;
use crate::project::snapshot::{SourceError, printable};
use crate::report::shell::quoted_path;
use crate::report::{escape, wording};
use crate::run::error::RunError;
pub(crate) use crate::run::error::chain;
use crate::run::interrupt::Interrupt;
use crate::run::sources::SourcesError;
use crate::run::workspace::WorkspaceError;

/// The error that ends the program.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The messages, one sentence each.
    pub messages: Vec<String>,
    /// The place in a file of the tree that the first message is about, if there is one.
    pub place: Option<SourceError>,
}

impl Failure {
    /// Creates an error with one message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, messages: vec![message.into()], place: None }
    }

    /// Creates an error for arguments or surroundings that the program cannot work with.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Creates an error from any failure, with its causes.
    pub fn other(error: &dyn Error) -> Self {
        Self::new(Exit::Failure, chain(error))
    }

    /// Creates an error for a refused plan. If a guard refuses it, the message names the option that allows the plan.
    pub fn refused(plan: &Plan) -> Self {
        let Some(first) = plan.refusals.first() else {
            return Self::guarded("the cluster or the tree changed since the plan was approved: plan again", None);
        };
        let more = plan.refusals.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        Self::guarded(&format!("{}{more}", wording::doubt(first)), Some(first.guard()))
    }

    /// Creates an error for a run that is refused as a whole. If `guard` has an option that allows the run, the message
    /// names that option.
    pub fn guarded(message: &str, guard: Option<Guard>) -> Self {
        let option = guard.and_then(wording::option);
        let hint = option.map(|option| format!("; {option} allows it"));
        Self::new(Exit::Refused, format!("the plan is refused: {message}{}", hint.unwrap_or_default()))
    }

    /// Creates an error for files that cannot be rendered, with one message for each.
    pub fn sources(errors: &[SourceError]) -> Self {
        let message = |error: &SourceError| hinted(error.to_string(), hint::after_rendering(error));
        Self { exit: Exit::Failure, messages: errors.iter().map(message).collect(), place: errors.first().cloned() }
    }

    /// Returns the first message.
    pub fn first(&self) -> &str {
        self.messages.first().map_or("it failed", String::as_str)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::from(&error)
    }
}

impl From<&RunError> for Failure {
    fn from(error: &RunError) -> Self {
        let exit = match error {
            RunError::Sources(errors) => return Self::sources(errors),
            RunError::Scope(_) | RunError::Unknown(_) => Exit::Usage,
            RunError::Lock(LockError::Held(holder)) => {
                let message = format!(
                    "failed to acquire {}; if that run is dead, `{}` releases the lock",
                    held_lock(holder),
                    hint::unlock(&holder.identity)
                );
                return Self::new(Exit::Locked, message);
            }
            RunError::Declined(_) => Exit::Refused,
            RunError::Frozen(_) => Exit::Locked,
            RunError::Stopped | RunError::NotBegun | RunError::CutShort | RunError::LockLost => Exit::Interrupted,
            _ => Exit::Failure,
        };
        Self::new(exit, hinted(chain(error), hint::after_run(error)))
    }
}

impl From<&ClusterError> for Failure {
    fn from(error: &ClusterError) -> Self {
        let message = format!("failed to {}", chain(error));
        Self::new(Exit::Failure, hinted(message, hint::after_connecting(error)))
    }
}

impl From<SourcesError> for Failure {
    fn from(error: SourcesError) -> Self {
        match error {
            SourcesError::Settings(errors) => Self::sources(&errors),
            error @ SourcesError::Target(_) => Self::usage(hinted(chain(&error), hint::after_reading(&error))),
            error => Self::new(Exit::Failure, hinted(chain(&error), hint::after_reading(&error))),
        }
    }
}

impl From<WorkspaceError> for Failure {
    fn from(error: WorkspaceError) -> Self {
        match error {
            WorkspaceError::Unreadable { directory, source } => Self::usage(format!(
                "-p {} cannot be read ({source}): name the project's root directory",
                printable(&directory)
            )),
            WorkspaceError::NotADirectory(directory) => Self::usage(format!(
                "-p {} is not a directory: name the project's root directory",
                printable(&directory)
            )),
            WorkspaceError::SubProject { directory, root, project } => {
                let include = project.map_or_else(|| "-I".to_owned(), |project| format!("-I {project}"));
                Self::usage(format!(
                    "{} lies in the project at {}: run with -p {} {include}",
                    printable(&directory),
                    printable(&root),
                    quoted_path(&root)
                ))
            }
            WorkspaceError::NoRepository { needed_by, directory } => Self::usage(format!(
                "{needed_by} needs a git repository, and {} is in none: clone it with git",
                printable(&directory)
            )),
            WorkspaceError::Elsewhere(doubt) => Self::guarded(&wording::doubt(&doubt), Some(doubt.guard())),
            WorkspaceError::CommitRefused { head, refusal } => {
                let way_out = if refusal.is_acceptable() {
                    format!("if {head} is to be applied all the same, run again with accept-history set to it")
                } else {
                    "merge it, or name its branch as apply-ref".to_owned()
                };
                Self::new(Exit::Refused, format!("{head} is not applied: {refusal}; {way_out}"))
            }
            WorkspaceError::Git(error) => error.into(),
            WorkspaceError::Sources(error) => error.into(),
        }
    }
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        match &error {
            GitError::DubiousOwnership { repository, .. } => {
                let trust = quoted_path(repository);
                let hint = format!(
                    "if you trust it, run `git config --global --add safe.directory {trust}` first, as the same user and \
                     with the same HOME"
                );
                Self::new(Exit::Failure, format!("{}; {hint}", chain(&error)))
            }
            _ => Self::other(&error),
        }
    }
}

/// Describes a held lock: its holder, the start time, and the URL of the holder's run. The holder chose the identity
/// and the URL, so both are escaped and stay on one line.
pub(crate) fn held_lock(holder: &Holder) -> String {
    let Holder { identity, since, run_url, .. } = holder;
    let since = since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
    let url = run_url.as_deref().map(|url| format!(", see {}", escape::visible(url))).unwrap_or_default();
    format!("the lock, which {} holds{since}{url}", escape::visible(identity))
}

/// Returns the message for a run that waits while another run holds the lock.
pub(crate) fn waiting_for(holder: &Holder) -> String {
    format!("waiting for {}", held_lock(holder))
}

/// Does work that comes before a run and changes nothing. A signal ends this work at once.
///
/// # Errors
///
/// The errors of the work, and [`RunError::NotBegun`] after a signal.
pub(crate) async fn preparing<T>(
    interrupt: &Interrupt,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut interrupt = interrupt.clone();
    tokio::select! {
        prepared = work => prepared,
        () = interrupt.requested() => Err(RunError::NotBegun.into()),
    }
}

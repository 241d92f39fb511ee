//! The options and the surroundings of a workflow's job, as plain values.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use crate::cluster::connect::ConnectOptions;
use crate::cluster::settings::ClusterSettings;
use crate::conclusion::failure::Failure;
use crate::forge::Context;
use crate::process::Environment;
use crate::project::path::Segment;
use crate::run::events::Event;
use crate::run::interrupt::Interrupt;
use crate::run::options::{HistoryOptions, PolicyOptions, ScopeOptions};

/// The options of a job.
///
/// The type has no `Debug` implementation because it contains a token.
#[expect(clippy::struct_excessive_bools, reason = "the inputs' own flags, each independent of the others")]
pub(crate) struct ActionOptions {
    /// The directory of the root project, relative to the checkout.
    pub path: PathBuf,
    /// The projects to cover.
    pub scope: ScopeOptions,
    /// The parts of a plan that are allowed or refused.
    pub policy: PolicyOptions,
    /// The commits that may be applied.
    pub history: HistoryOptions,
    /// The name of the target, if it is not the root's name.
    pub target: Option<String>,
    /// The token for the forge.
    pub token: Option<String>,
    /// The login that the token's comments appear under. If absent, the forge is asked for it.
    pub comment_author: Option<String>,
    /// The treatment of comments.
    pub commenting: Commenting,
    /// `true` if the commit gets a status.
    pub sets_status: bool,
    /// The work to do.
    pub work: Work,
    /// `true` if pull requests are planned without a cluster.
    pub is_offline: bool,
    /// `true` if pull requests of forks are planned on the cluster.
    pub plans_forks: bool,
    /// The digest, or the beginning of the digest, of the only plan that may be applied.
    pub expected_digest: Option<String>,
    /// `true` if an apply does only what the plan of its pull request showed.
    pub refuses_changed_plans: bool,
    /// `true` if the author of a pull request cannot consent to what it deletes.
    pub consent_of_others: bool,
    /// `true` if an apply may delete objects whose deletion no plan showed.
    pub allows_unreviewed_deletions: bool,
    /// The time to wait for the lock.
    pub lock_timeout: Duration,
}

/// The treatment of comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commenting {
    /// A run edits the comment of earlier runs.
    Sticky,
    /// Each run adds a comment and marks the earlier ones as outdated.
    New,
    /// A run writes no comment. It leaves its plan as a file.
    Off,
}

/// The root and the target of a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// The root. It is empty if the project could not be opened.
    pub root: String,
    /// The target.
    pub target: String,
}

/// The options of a summary.
///
/// The type has no `Debug` implementation because it contains a token.
pub(crate) struct SummaryOptions {
    /// The folder with the files of the plans.
    pub plans: PathBuf,
    /// The plans that must be there.
    pub expected: Vec<Expected>,
    /// The token for the forge.
    pub token: Option<String>,
    /// The login that the token's comments appear under. If absent, the forge is asked for it.
    pub comment_author: Option<String>,
}

/// A plan that a summary expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The root.
    pub root: String,
    /// The target. Without it, a plan of any target counts.
    pub target: Option<String>,
}

impl FromStr for Expected {
    type Err = &'static str;

    /// Parses `ROOT` or `ROOT:TARGET`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (root, target) = text.split_once(':').map_or((text, None), |(root, target)| (root, Some(target)));
        match (Segment::new(root), target) {
            (Ok(_), Some("")) | (Err(_), _) => Err("write ROOT or ROOT:TARGET"),
            (Ok(root), target) => Ok(Self { root: root.to_string(), target: target.map(str::to_owned) }),
        }
    }
}

/// The work of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The work that the event asks for.
    OfTheEvent,
    /// Only plans, whatever the event is.
    Plan,
    /// An apply of the commit that is checked out, whatever the event is.
    Apply,
    /// A comparison of the cluster with the commit that is checked out, whatever the event is.
    Drift,
}

/// The surroundings of a job.
pub(crate) struct Surroundings<'a> {
    /// The event, the repository and the run.
    pub context: &'a Context,
    /// The variables for programs that the job starts.
    pub environment: Environment,
    /// The selected cluster.
    pub cluster: ConnectOptions,
    /// The folder for temporary files.
    pub temporary: Option<PathBuf>,
    /// The limits of the work with the cluster.
    pub settings: ClusterSettings,
    /// A selected kubeconfig that the checkout decides about.
    pub planted_kubeconfig: Option<PathBuf>,
    /// The receiver of everything that the job tells.
    pub tell: &'a (dyn Fn(Told<'_>) + Sync),
    /// Begins to handle signals.
    pub interrupts: &'a (dyn Fn() -> Interrupt + Sync),
    /// Returns the time.
    pub now: fn() -> Timestamp,
    /// Returns bytes that differ in every call.
    pub seed: fn() -> [u8; 16],
}

/// A message of a job.
#[derive(Clone, Copy)]
pub(crate) enum Told<'a> {
    /// A notice for people.
    Notice(&'a str),
    /// A notice that the workflow shows as a warning.
    Warning(&'a str),
    /// A workflow command.
    Command(&'a str),
    /// A report of many lines, under a title.
    Report(&'a str, &'a str),
    /// An object that stays as it is, with the path of its manifest in the repository and the line.
    Standing(&'a str, Option<(&'a Path, usize)>),
    /// An error that does not end the job.
    Failure(&'a Failure),
    /// A run for the named target begins.
    RunBegins(&'a str),
    /// An event of the run.
    Run(Event<'a>),
    /// The run has ended.
    RunEnded,
}

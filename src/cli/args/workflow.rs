//! The arguments of `ktor action`, which are the inputs of action.yml.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{HistoryArgs, PolicyArgs, ProjectArgs, WaitArgs, plan_digest};
use crate::action::options::Expected;
use crate::cluster::settings::ClusterSettings;

/// `ktor action`. Each option is an input of action.yml.
///
/// The type has no `Debug` implementation because it contains a token.
#[derive(Args)]
pub struct ActionArgs {
    /// The tree.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// The kind of work: what the event asks for (auto), only plans (plan), an apply of the commit that is checked out
    /// (apply), or a comparison of the cluster with it (drift).
    #[arg(long, value_enum, value_name = "MODE", default_value_t)]
    pub mode: Mode,
    /// The cluster options.
    #[command(flatten)]
    pub cluster: WorkflowClusterArgs,
    /// The token that reads the pull request and writes its comment.
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// The login that the token's comments appear under. By default, the forge is asked for it. If it tells another
    /// login, the run fails.
    #[arg(long, value_name = "LOGIN")]
    pub comment_author: Option<String>,
    /// The comments on a pull request: one that each run edits (sticky), one for each run, which marks the older ones as
    /// outdated (new), or none (off). With off, the run leaves its plan in the folder that the output plans names.
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub comment: Comments,
    /// Set the status ktor/ROOT of the commit that a plan or an apply is about. The token needs the permission statuses:
    /// write.
    #[arg(long)]
    pub commit_status: bool,
    /// The options that allow or refuse parts of a plan.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// The allowed commits.
    #[command(flatten)]
    pub history: HistoryArgs,
    /// Apply only the plan with this digest, or with a digest that begins so.
    #[arg(long, value_name = "DIGEST", value_parser = plan_digest)]
    pub expect_digest: Option<String>,
    /// Apply a plan that differs from the one that the merged pull request showed (proceed), or refuse it (stop).
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub on_changed_plan: ChangedPlan,
    /// People who can consent to a deletion in a comment: anyone with write access (writers), or others than the author of
    /// the pull request (others).
    #[arg(long, value_enum, value_name = "WHO", default_value_t)]
    pub consent: Consenting,
    /// Allow an apply to delete objects whose deletion no merged pull request's plan showed.
    #[arg(long)]
    pub allow_unreviewed_deletions: bool,
    /// The time limits.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// `ktor summary`. Each option is an input of summary/action.yml.
///
/// The type has no `Debug` implementation because it contains a token.
#[derive(Args)]
pub struct SummaryArgs {
    /// The folder with the plans of all jobs, as actions/download-artifact writes it.
    #[arg(long, value_name = "DIR", default_value = "ktor-plans")]
    pub plans: PathBuf,
    /// The roots whose plans must be there, each as ROOT or ROOT:TARGET. A missing one fails the check. Separate with commas.
    #[arg(long, value_name = "ROOT", value_delimiter = ',', value_parser = expected_plan)]
    pub expected: Vec<String>,
    /// The token that reads the pull request and writes its comment.
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// The login that the token's comments appear under. By default, the forge is asked for it. If it tells another
    /// login, the run fails.
    #[arg(long, value_name = "LOGIN")]
    pub comment_author: Option<String>,
}

/// The options that select the cluster of a workflow. A file that only lies on the runner selects none.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct WorkflowClusterArgs {
    /// The kubeconfig file. The default is KUBECONFIG. A kubeconfig in the home directory is not used.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig context. The default is the current context.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Use the service account of the pod that the runner is in.
    #[arg(long)]
    pub in_cluster: bool,
    /// Plan pull requests without a cluster, as the difference to the base.
    #[arg(long)]
    pub offline: bool,
    /// Plan pull requests of forks without the cluster (offline), or on the cluster (plan). Their authors can then read
    /// in the plan what the cluster has.
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub forks: Forks,
    /// Limits and durations. The program sets them; they are not options.
    #[arg(skip)]
    pub settings: ClusterSettings,
}

/// The comments of a workflow's job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Comments {
    /// One comment that each run edits.
    #[default]
    Sticky,
    /// A new comment for each run.
    New,
    /// No comment.
    Off,
}

/// The kind of work of a workflow's job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The work that the event asks for.
    #[default]
    Auto,
    /// Only plans.
    Plan,
    /// An apply of the commit that is checked out.
    Apply,
    /// A comparison of the cluster with the commit that is checked out.
    Drift,
}

/// The treatment of a plan that nobody reviewed as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ChangedPlan {
    /// It is applied. Deletions and replacements still need a review.
    #[default]
    Proceed,
    /// It is refused.
    Stop,
}

/// The treatment of pull requests from forks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Forks {
    /// They are planned without the cluster.
    #[default]
    Offline,
    /// They are planned on the cluster.
    Plan,
}

/// The people who can consent to a deletion in a comment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Consenting {
    /// Anyone with write access.
    #[default]
    Writers,
    /// Anyone with write access but the author of the pull request.
    Others,
}

/// Checks the name of a plan that a summary expects.
fn expected_plan(text: &str) -> Result<String, &'static str> {
    text.parse::<Expected>().map(|_| text.to_owned())
}

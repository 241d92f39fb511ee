//! The command line of `ktor state …` and `ktor unlock` as clap parses it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use super::{ClusterArgs, PolicyArgs, ProjectArgs, duration};
use crate::object::ident::ObjectKey;
use crate::project::path::ProjectPath;

/// `ktor state`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StateArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub command: StateCommand,
}

/// The subcommand.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum StateCommand {
    /// Show the state, its writer, and the holder of the lock.
    Show(StateShowArgs),
    /// List the objects in the state.
    List(ListArgs),
    /// List the objects in the state that no manifest contains, and why they are not deleted.
    Orphans(OrphansArgs),
    /// Create a lost state again from the live objects that have the root's mark.
    Rebuild(RebuildArgs),
    /// Rename a project or a root. Of the objects, only the marks change.
    Mv(MvArgs),
    /// Stop managing objects. They lose their mark and stay in the cluster.
    Rm(RmArgs),
}

impl StateCommand {
    /// The cluster options of the subcommand.
    pub(crate) fn cluster_mut(&mut self) -> &mut ClusterArgs {
        match self {
            Self::Show(args) => &mut args.root.cluster,
            Self::List(args) => &mut args.cluster,
            Self::Orphans(args) => &mut args.cluster,
            Self::Rebuild(args) => &mut args.root.cluster,
            Self::Mv(args) => &mut args.root.cluster,
            Self::Rm(args) => &mut args.root.cluster,
        }
    }
}

/// The formats of a state report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StateFormat {
    /// Text for a terminal.
    #[default]
    Terminal,
    /// One JSON document with a version.
    Json,
}

/// The options that select a root and its cluster.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RootArgs {
    /// The directory of the root project. Its .ktor.yaml names the root.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub path: PathBuf,
    /// The target, if .ktor.yaml declares targets.
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// The cluster options.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// The options of a subcommand that changes the state.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ChangeArgs {
    /// Change the state without asking.
    #[arg(short, long)]
    pub yes: bool,
    /// The time to wait for the root's lock, for example 90s or 2m. 0 does not wait.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub lock_timeout: Duration,
}

/// `ktor state show`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StateShowArgs {
    /// The root.
    #[command(flatten)]
    pub root: RootArgs,
    /// The format of the report.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: StateFormat,
}

/// `ktor state list`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ListArgs {
    /// The tree.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// The cluster options.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The format of the list.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: StateFormat,
}

/// `ktor state orphans`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct OrphansArgs {
    /// The tree.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// The cluster options.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The format of the list.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: StateFormat,
    /// The policy of an apply.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// `ktor state rebuild`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RebuildArgs {
    /// The root.
    #[command(flatten)]
    pub root: RootArgs,
    /// Replace a state that cannot be read. Entries without a live object are lost.
    #[arg(long)]
    pub replace_damaged: bool,
    /// The options of the change.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `ktor state mv`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct MvArgs {
    /// The old name of the project. The name of a root renames the root.
    #[arg(value_name = "OLD")]
    pub from: ProjectPath,
    /// The new name of the project.
    #[arg(value_name = "NEW")]
    pub to: ProjectPath,
    /// The root.
    #[command(flatten)]
    pub root: RootArgs,
    /// The options of the change.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `ktor state rm`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RmArgs {
    /// The objects, as `ktor state list` prints them: kind.group/namespace/name.
    #[arg(value_name = "OBJECT", required = true)]
    pub objects: Vec<ObjectKey>,
    /// The root.
    #[command(flatten)]
    pub root: RootArgs,
    /// The options of the change.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `ktor freeze`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct FreezeArgs {
    /// The reason, for everyone who meets the freeze.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The end of the freeze, for example 2031-05-06T18:00:00Z. Without it, only `ktor thaw` ends the freeze.
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// The root.
    #[command(flatten)]
    pub root: RootArgs,
    /// The time to wait for the root's lock, for example 90s or 2m. 0 does not wait.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub lock_timeout: Duration,
}

/// `ktor thaw`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ThawArgs {
    /// The root.
    #[command(flatten)]
    pub root: RootArgs,
    /// The time to wait for the root's lock, for example 90s or 2m. 0 does not wait.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub lock_timeout: Duration,
}

/// `ktor unlock`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct UnlockArgs {
    /// The identity of the holder, as `ktor state show` and a waiting run print it.
    #[arg(value_name = "IDENTITY", conflicts_with = "holder")]
    pub identity: Option<String>,
    /// The identity of the holder, as an option.
    #[arg(long, value_name = "IDENTITY")]
    pub holder: Option<String>,
    /// The root.
    #[command(flatten)]
    pub root: RootArgs,
}

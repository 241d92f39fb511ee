//! The command line of `ktor state …` and `ktor unlock` as it is written, and nothing of what it means.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{ClusterArgs, PolicyArgs, ProjectArgs, duration};
use crate::object::ident::ObjectKey;
use crate::project::path::ProjectPath;

/// `ktor state`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StateArgs {
    /// What to do with the record.
    #[command(subcommand)]
    pub command: StateCommand,
}

/// What to do with the record.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum StateCommand {
    /// Show what is recorded, who wrote it, and who holds the lock.
    Show(StateShowArgs),
    /// List every recorded object.
    List(ListArgs),
    /// List the recorded objects that no manifest wants, and what holds each of them back.
    Orphans(OrphansArgs),
    /// Add every live object that carries the root's mark to the record, which may be missing.
    Rebuild(RebuildArgs),
    /// Rename a project within its root, or a root: the record and the marks, and nothing else of any object.
    Mv(MvArgs),
    /// Let objects go: they lose their mark, leave the record, and stay as they are.
    Rm(RmArgs),
}

impl StateCommand {
    /// Which cluster it works with.
    pub fn cluster_mut(&mut self) -> &mut ClusterArgs {
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

/// The formats of what the record says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StateFormat {
    /// Text for a person at a terminal.
    #[default]
    Terminal,
    /// One versioned JSON document.
    Json,
}

/// Which root, on which cluster.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RootArgs {
    /// The directory of the root project, the one whose .ktor.yaml names the root.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub path: PathBuf,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Consent, and patience.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ChangeArgs {
    /// Approve the change without a question.
    #[arg(short, long)]
    pub yes: bool,
    /// How long to wait for the root's lock, as 90s or 2m; 0 gives up at once.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub lock_timeout: Duration,
}

/// `ktor state show`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StateShowArgs {
    /// Which root.
    #[command(flatten)]
    pub root: RootArgs,
    /// The format.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: StateFormat,
}

/// `ktor state list`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ListArgs {
    /// Which tree.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The list's format.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: StateFormat,
}

/// `ktor state orphans`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct OrphansArgs {
    /// Which tree.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The list's format.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: StateFormat,
    /// What an apply would be allowed to do.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// `ktor state rebuild`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RebuildArgs {
    /// Which root.
    #[command(flatten)]
    pub root: RootArgs,
    /// Replace a record that cannot be read; what it held and no live object carries is lost.
    #[arg(long)]
    pub replace_damaged: bool,
    /// Consent and patience.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `ktor state mv`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct MvArgs {
    /// The project's name so far; a root's alone renames the root.
    #[arg(value_name = "OLD")]
    pub from: ProjectPath,
    /// Its name from now on.
    #[arg(value_name = "NEW")]
    pub to: ProjectPath,
    /// Which root.
    #[command(flatten)]
    pub root: RootArgs,
    /// Consent and patience.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `ktor state rm`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RmArgs {
    /// The objects, as `ktor state list` prints them: kind.group/namespace/name.
    #[arg(value_name = "OBJECT", required = true)]
    pub objects: Vec<ObjectKey>,
    /// Which root.
    #[command(flatten)]
    pub root: RootArgs,
    /// Consent and patience.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `ktor unlock`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct UnlockArgs {
    /// The identity of the holder, as `ktor state show` and a waiting run print it.
    #[arg(value_name = "IDENTITY", conflicts_with = "holder")]
    pub identity: Option<String>,
    /// The same as an option.
    #[arg(long, value_name = "IDENTITY")]
    pub holder: Option<String>,
    /// Which root.
    #[command(flatten)]
    pub root: RootArgs,
}

//! The command line as clap parses it. [`crate::run::options`] are its values without clap.
//!
//! The help of an option is also the description of the input in action.yml and in the README.

pub mod state;
pub mod workflow;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use self::state::{FreezeArgs, StateArgs, ThawArgs, UnlockArgs};
use self::workflow::{ActionArgs, SummaryArgs};
use crate::cluster::settings::ClusterSettings;
use crate::git::commit::Commit;
use crate::object::redact::Adopted;
use crate::plan::guard::Guard;
use crate::plan::policy::{Adoption, TakeOver};
use crate::process::confine::Confinement;
use crate::project::path::ProjectPath;
use crate::project::pointer::Pointer;
use crate::project::tree::Cleanup;
use crate::run::options::{AppliedRef, HistoryOptions, PolicyOptions, ScopeOptions};
use crate::state::provenance::Relocation;
use crate::state::target::Retarget;

/// Plans, applies and cleans up a directory tree of Kubernetes manifests.
#[derive(Parser)]
#[command(name = "ktor", version, arg_required_else_help = true, max_term_width = 120)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// Print each request to the API server, its status and its time to standard error.
    #[arg(short, long, global = true, display_order = 1000)]
    pub verbose: bool,
}

/// The command.
#[derive(Subcommand)]
pub enum Command {
    /// Show what an apply would do, without writing anything.
    Plan(PlanArgs),
    /// Apply the tree, then delete the objects that it no longer contains.
    Apply(ApplyArgs),
    /// Handle the workflow's event: plan and comment on a pull request, apply on a push.
    ///
    /// Each option is also read from the environment, which is how action.yml passes its inputs: --lock-timeout from
    /// KTOR_INPUT_LOCK_TIMEOUT. An empty variable counts as unset. An option on the command line takes precedence.
    #[command(args_override_self = true)]
    Action(ActionArgs),
    /// Show how the cluster differs from what was merged, without writing anything. Exits with 2 if it does.
    Drift(DriftArgs),
    /// Make one comment and one check from the plans of several jobs.
    ///
    /// Each option is also read from the environment, as `ktor action` does it.
    #[command(args_override_self = true)]
    Summary(SummaryArgs),
    /// Print the objects that the tree asks for, without asking a cluster.
    Render(RenderArgs),
    /// Write .ktor.lock: the archive and digest of each remote chart that the tree uses, and the versions of the engines.
    Lock(LockArgs),
    /// List the projects that a run would cover.
    Scope(ScopeArgs),
    /// List the targets that the tree declares, or those that a change concerns.
    Targets(TargetsArgs),
    /// Show or change the state of a root.
    State(StateArgs),
    /// Release the lock of a run that is dead.
    Unlock(UnlockArgs),
    /// Stop all applies of a root, for a reason and until a time.
    Freeze(FreezeArgs),
    /// End the freeze of a root.
    Thaw(ThawArgs),
    /// Confine this process and replace it with another program. Only ktor itself uses it.
    #[command(hide = true)]
    Confine(ConfineArgs),
}

impl Command {
    /// The limits and durations of the command's work with a cluster, if it uses a cluster.
    pub(crate) fn settings_mut(&mut self) -> Option<&mut ClusterSettings> {
        match self {
            Self::Plan(args) => Some(&mut args.cluster.settings),
            Self::Apply(args) => Some(&mut args.cluster.settings),
            Self::Drift(args) => Some(&mut args.cluster.settings),
            Self::Action(args) => Some(&mut args.cluster.settings),
            Self::State(args) => Some(&mut args.command.cluster_mut().settings),
            Self::Unlock(args) => Some(&mut args.root.cluster.settings),
            Self::Freeze(args) => Some(&mut args.root.cluster.settings),
            Self::Thaw(args) => Some(&mut args.root.cluster.settings),
            Self::Render(_)
            | Self::Lock(_)
            | Self::Scope(_)
            | Self::Targets(_)
            | Self::Summary(_)
            | Self::Confine(_) => None,
        }
    }
}

/// The arguments of `ktor confine`.
#[derive(Args)]
pub struct ConfineArgs {
    /// The confinement, as JSON.
    #[arg(value_parser = confinement)]
    pub confinement: Confinement,
    /// The path of the program and its arguments.
    #[arg(last = true, required = true, num_args = 1..)]
    pub program: Vec<OsString>,
}

/// Reads a confinement.
fn confinement(text: &str) -> Result<Confinement, serde_json::Error> {
    serde_json::from_str(text)
}

/// The options that select the tree and its projects.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ProjectArgs {
    /// The directory of the root project. Its .ktor.yaml names the root.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub path: PathBuf,
    /// Cover only these projects and the projects below them. Separate names with commas.
    #[arg(short = 'I', long, value_name = "PROJECT", value_delimiter = ',')]
    pub include_project: Vec<ProjectPath>,
    /// Leave out these projects and the projects below them. Separate names with commas.
    #[arg(short = 'X', long, value_name = "PROJECT", value_delimiter = ',')]
    pub exclude_project: Vec<ProjectPath>,
    /// The name of the cluster or environment, for example prod. If .ktor.yaml declares targets, it is one of them. The
    /// default is the root's name.
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
}

/// The options that select the base to compare with.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct BaseArgs {
    /// Cover only the projects that changed since the merge base with this revision.
    #[arg(long, value_name = "REV")]
    pub base: Option<String>,
}

/// The cluster options.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ClusterArgs {
    /// The kubeconfig file. The default is KUBECONFIG, then ~/.kube/config, then the pod's service account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig context. The default is the current context.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Limits and durations. The program sets them; they are not options.
    #[arg(skip)]
    pub settings: ClusterSettings,
}

/// The options that allow or refuse parts of a plan.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct PolicyArgs {
    /// Refuse to adopt live objects that have no mark.
    #[arg(long, action = ArgAction::SetTrue, value_parser = adoption())]
    pub no_adopt: Adoption,
    /// Take over objects from another root. Name the root, or an object as "Kind namespace/name". Separate with commas.
    #[arg(long, value_name = "ROOT|OBJECT", value_delimiter = ',')]
    pub take_over: Vec<TakeOver>,
    /// Delete objects that are no longer desired (true), or only keep them in the state (false). Overrides the root's
    /// .ktor.yaml.
    #[arg(long, alias = "prune", value_name = "true|false", value_parser = cleanup())]
    pub cleanup: Option<Cleanup>,
    /// The guards that the run opens.
    #[command(flatten)]
    pub guards: GuardArgs,
    /// Accept that the root's tree now comes from another repository or directory.
    #[arg(long = "move", action = ArgAction::SetTrue, value_parser = relocation())]
    pub relocation: Relocation,
    /// Accept that the cluster is now for another target of the tree.
    #[arg(long, action = ArgAction::SetTrue, value_parser = retarget())]
    pub retarget: Retarget,
    /// The options that hide or show values.
    #[command(flatten)]
    pub show: ShowArgs,
}

/// One option for each guard that a caller can open: `--allow-volume-deletion`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardArgs {
    /// The guards that are opened.
    pub allowed: BTreeSet<Guard>,
}

impl Args for GuardArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(Guard::named().map(|(guard, name)| {
            let option = format!("allow-{name}");
            let help = format!("Allow {}", guard.prevents());
            Arg::new(option.clone()).long(option).action(ArgAction::SetTrue).help(help)
        }))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for GuardArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_opened = |name: &str| matches.get_flag(&format!("allow-{name}"));
        let opened = Guard::named().filter(|(_, name)| is_opened(name)).map(|(guard, _)| guard);
        Ok(Self { allowed: opened.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The options that hide or show values.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ShowArgs {
    /// JSON pointers of more fields to hide, for example /spec/password, besides those in .ktor.yaml. Separate with
    /// commas.
    #[arg(long, value_name = "POINTER", value_delimiter = ',')]
    pub redact: Vec<Pointer>,
    /// Show the live values of objects that are about to be adopted. Everyone who can open a pull request can then read
    /// them.
    #[arg(long, action = ArgAction::SetTrue, value_parser = adopted())]
    pub show_adopted: Adopted,
}

/// The time limits of an apply.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct WaitArgs {
    /// The time to wait for the root's lock, for example 90s or 2m. 0 does not wait.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub lock_timeout: Duration,
    /// The time to wait for applied objects to become ready, for example 90s or 5m. 0 does not wait.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub readiness_timeout: Duration,
}

/// The destination and the format of the report.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ReportArgs {
    /// The format of the report.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: Format,
    /// Write the report to this file instead of to standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// The formats of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for a terminal.
    #[default]
    Terminal,
    /// Markdown, as in the comment of a pull request.
    Markdown,
    /// One JSON document with a version.
    Json,
    /// One page for a browser. It has no script and loads no other file.
    Html,
}

/// `ktor plan`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct PlanArgs {
    /// The tree.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// The base.
    #[command(flatten)]
    pub base: BaseArgs,
    /// The cluster options.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Compare the tree with the base revision, without a cluster.
    #[arg(long, conflicts_with_all = ["kubeconfig", "context"])]
    pub offline: bool,
    /// The report.
    #[command(flatten)]
    pub report: ReportArgs,
    /// Exit with 2 if changes are pending.
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Delete leftovers too: objects that an earlier run kept because no merged pull request's plan showed their
    /// deletion.
    #[arg(long)]
    pub delete_leftovers: bool,
    /// The policy of the apply.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// `ktor drift`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct DriftArgs {
    /// The tree.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// The cluster options.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The report.
    #[command(flatten)]
    pub report: ReportArgs,
    /// The policy of the apply.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// The options that allow commits to be applied.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryArgs {
    /// The branch whose commits are applied, or the tags, such as refs/tags/v*. The default is the repository's default
    /// branch.
    #[arg(long, value_name = "REF")]
    pub apply_ref: Option<AppliedRef>,
    /// Apply this commit although it does not descend from the last applied commit, for example after a force push.
    #[arg(long, value_name = "COMMIT")]
    pub accept_history: Option<Commit>,
}

/// `ktor apply`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ApplyArgs {
    /// The tree.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// The base.
    #[command(flatten)]
    pub base: BaseArgs,
    /// The cluster options.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The allowed commits.
    #[command(flatten)]
    pub history: HistoryArgs,
    /// Apply without asking. Guards still apply.
    #[arg(short, long)]
    pub yes: bool,
    /// Apply only the plan with this digest, or with a digest that begins so.
    #[arg(long, value_name = "DIGEST", value_parser = plan_digest)]
    pub expect_digest: Option<String>,
    /// Delete leftovers too: objects that an earlier run kept because no merged pull request's plan showed their
    /// deletion.
    #[arg(long)]
    pub delete_leftovers: bool,
    /// The time limits.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// The report.
    #[command(flatten)]
    pub report: ReportArgs,
    /// The policy of the run.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// `ktor render`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RenderArgs {
    /// The tree.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// The format of the objects.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: RenderFormat,
    /// Print secret values too.
    #[arg(long)]
    pub show_secrets: bool,
    /// Render the tree a second time, and fail if an object differs.
    #[arg(long)]
    pub twice: bool,
}

/// `ktor lock`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct LockArgs {
    /// The directory of the root project.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub path: PathBuf,
    /// Store the archives below .ktor/charts, so that no run has to fetch them. Remove archives that nothing uses.
    #[arg(long)]
    pub vendor: bool,
}

/// The formats of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RenderFormat {
    /// YAML documents. A comment above each tells where it is written.
    #[default]
    Yaml,
    /// One JSON document with a version.
    Json,
}

/// `ktor scope`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ScopeArgs {
    /// The tree.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// The base.
    #[command(flatten)]
    pub base: BaseArgs,
    /// The list's format.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ScopeFormat,
}

/// `ktor targets`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TargetsArgs {
    /// The directory of the root project. Its .ktor.yaml declares the targets.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub path: PathBuf,
    /// List only the targets that the changes since the merge base with this revision concern.
    #[arg(long, value_name = "REV")]
    pub base: Option<String>,
    /// The list's format.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ScopeFormat,
}

/// The formats of a list of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ScopeFormat {
    /// One name per line.
    #[default]
    Text,
    /// One JSON document with a version.
    Json,
}

impl ProjectArgs {
    /// Returns the projects that a run covers.
    pub(crate) fn scope(&self) -> ScopeOptions {
        ScopeOptions { include: self.include_project.clone(), exclude: self.exclude_project.clone() }
    }
}

impl PolicyArgs {
    /// Returns the parts of a plan that a run allows, refuses, hides or shows.
    pub(crate) fn options(&self) -> PolicyOptions {
        PolicyOptions {
            adoption: self.no_adopt,
            take_over: self.take_over.clone(),
            cleanup: self.cleanup,
            allowed: self.guards.allowed.clone(),
            relocation: self.relocation,
            retarget: self.retarget,
            redact: self.show.redact.clone(),
            adopted: self.show.show_adopted,
        }
    }
}

impl HistoryArgs {
    /// Returns the commits that a run may apply.
    pub(crate) fn options(&self) -> HistoryOptions {
        HistoryOptions { applied: self.apply_ref.clone(), accepted: self.accept_history.clone() }
    }
}

impl Cli {
    /// Parses a command line, its first argument the program's name; `ktor action` and `ktor summary` take their inputs from
    /// `variable` too, which gives an environment variable's value.
    ///
    /// # Errors
    ///
    /// What clap has to say, which for `--help` and `--version` is no error.
    pub fn read(
        arguments: impl IntoIterator<Item = OsString>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, clap::Error> {
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        // No flag that may stand before the subcommand takes a value.
        let is_word = |argument: &OsString| !argument.as_encoded_bytes().starts_with(b"-");
        if let Some(at) = arguments.iter().skip(1).position(is_word).map(|at| at + 1)
            && let Some(command) = ["action", "summary"].into_iter().find(|command| arguments[at] == *command)
        {
            arguments.splice(at + 1..=at, inputs(command, variable));
        }
        Self::try_parse_from(arguments)
    }
}

/// The inputs of a command that are set in the environment, as arguments.
fn inputs(name: &str, variable: impl Fn(&str) -> Option<OsString>) -> Vec<OsString> {
    let command = Cli::command();
    let arguments = command.find_subcommand(name).into_iter().flat_map(clap::Command::get_arguments);
    arguments
        .filter_map(|argument| Some((argument, variable(&variable_name(argument)?)?)))
        .filter(|(_, value)| !value.is_empty())
        .flat_map(|(argument, value)| written_out(argument, &value))
        .collect()
}

/// Parses the digest of a plan, or its beginning.
fn plan_digest(text: &str) -> Result<String, &'static str> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex && (8..=64).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("a digest has 8 to 64 characters 0-9a-f")
    }
}

/// Returns the variable of an option: `KTOR_INPUT_LOCK_TIMEOUT` for `--lock-timeout`.
fn variable_name(argument: &Arg) -> Option<String> {
    Some(format!("KTOR_INPUT_{}", argument.get_long()?.replace('-', "_").to_ascii_uppercase()))
}

/// Returns one input as command-line arguments. Lists are separated by commas or line ends. A flag is true or false.
fn written_out(argument: &Arg, value: &OsStr) -> Vec<OsString> {
    let long = argument.get_long().unwrap_or_default();
    let with = |value: &OsStr| {
        let mut text = OsString::from(format!("--{long}="));
        text.push(value);
        text
    };
    match (argument.get_action(), value.to_str()) {
        (ArgAction::Append, Some(list)) => {
            let items = list.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
            items.map(|item| with(OsStr::new(item))).collect()
        }
        (ArgAction::SetTrue, Some("true")) => vec![OsString::from(format!("--{long}"))],
        (ArgAction::SetTrue, Some("false")) => vec![],
        // A flag with any other value is left to clap to refuse.
        _ => vec![with(value)],
    }
}

fn adoption() -> impl TypedValueParser<Value = Adoption> {
    BoolValueParser::new().map(|refused| if refused { Adoption::Refused } else { Adoption::Allowed })
}

fn relocation() -> impl TypedValueParser<Value = Relocation> {
    BoolValueParser::new().map(|moved| if moved { Relocation::Accepted } else { Relocation::Refused })
}

fn retarget() -> impl TypedValueParser<Value = Retarget> {
    BoolValueParser::new().map(|changed| if changed { Retarget::Accepted } else { Retarget::Refused })
}

fn adopted() -> impl TypedValueParser<Value = Adopted> {
    BoolValueParser::new().map(|shown| if shown { Adopted::Shown } else { Adopted::Hidden })
}

fn cleanup() -> impl TypedValueParser<Value = Cleanup> {
    BoolValueParser::new().map(|on| if on { Cleanup::On } else { Cleanup::Off })
}

/// The longest duration that an option accepts. No runner lives that long.
const LONGEST_DURATION: Duration = Duration::from_secs(1000 * 3600);

/// Parses `90s`, `2m`, `1h30m` or `0`.
fn duration(text: &str) -> Result<Duration, String> {
    let refused = || "write a duration as 90s, 2m, 1h30m or 0, at most 1000h".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
        let count: u64 = rest[..unit].parse().map_err(|_| refused())?;
        let seconds = match rest[unit..].chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            _ => return Err(refused()),
        };
        let part = count.checked_mul(seconds).map(Duration::from_secs);
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(refused)?;
        rest = &rest[unit + 1..];
    }
    if text.is_empty() || total > LONGEST_DURATION { Err(refused()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(line: &str, variables: &[(&str, &str)]) -> Result<Cli, String> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let arguments = line.split(' ').map(OsString::from);
        Cli::read(arguments, |name| variables.get(name).map(OsString::from)).map_err(|error| error.to_string())
    }

    fn action(line: &str, variables: &[(&str, &str)]) -> Result<ActionArgs, String> {
        match read(line, variables)?.command {
            Command::Action(args) => Ok(args),
            _ => panic!("not an action"),
        }
    }

    fn plan(line: &str) -> Result<PlanArgs, String> {
        match read(line, &[("KTOR_INPUT_PATH", "elsewhere")])?.command {
            Command::Plan(args) => Ok(args),
            _ => panic!("not a plan"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_plan_has_defaults_and_reads_no_input() {
        let args = plan("ktor plan").unwrap();
        assert_eq!(args.project.path, PathBuf::from("."));
        assert_eq!((args.report.output, args.offline, args.policy.cleanup), (Format::Terminal, false, None));
        assert_eq!((args.policy.no_adopt, args.policy.guards), (Adoption::Allowed, GuardArgs::default()));
        let args = plan("ktor -v plan -p k8s -I demo.a,demo.b -I demo.c -o json --prune=false --no-adopt").unwrap();
        assert_eq!(args.project.include_project.len(), 3);
        assert_eq!((args.report.output, args.policy.cleanup), (Format::Json, Some(Cleanup::Off)));
        assert_eq!(args.policy.no_adopt, Adoption::Refused);
        assert!(plan("ktor plan --offline --context prod").is_err());
        assert!(plan("ktor plan -I demo..a").is_err());
    }

    #[test]
    fn each_guard_is_opened_by_its_own_option() {
        let names: Vec<_> = Guard::named().collect();
        assert_eq!(names.len(), 7);
        for (guard, name) in names {
            let opened = plan(&format!("ktor plan --allow-{name}")).unwrap().policy.guards;
            assert_eq!(opened.allowed, [guard].into(), "{name}");
        }
    }

    #[test]
    fn an_action_takes_its_inputs_from_the_environment() {
        let args = action(
            "ktor -v action",
            &[
                ("KTOR_INPUT_PATH", "deploy/k8s"),
                ("KTOR_INPUT_INCLUDE_PROJECT", "demo.a, demo.b\n demo.c\n"),
                ("KTOR_INPUT_ALLOW_EMPTY", "true"),
                ("KTOR_INPUT_ALLOW_MASS_DELETION", "false"),
                ("KTOR_INPUT_CLEANUP", "false"),
                ("KTOR_INPUT_LOCK_TIMEOUT", ""),
                ("KTOR_INPUT_TOKEN", "ghs_x"),
            ],
        )
        .unwrap();
        assert_eq!(args.project.path, PathBuf::from("deploy/k8s"));
        let included: Vec<_> = args.project.include_project.iter().map(ProjectPath::as_str).collect();
        assert_eq!(included, ["demo.a", "demo.b", "demo.c"]);
        assert_eq!(args.policy.guards.allowed, [Guard::EmptyDesired].into());
        assert_eq!(args.policy.cleanup, Some(Cleanup::Off));
        assert_eq!(args.wait.lock_timeout, Duration::from_secs(120));
        assert_eq!(args.token.as_deref(), Some("ghs_x"));
        assert_eq!(args.comment_author, None);
    }

    #[test]
    fn f17_a_summary_takes_its_inputs_from_the_environment() {
        let summary = |variables: &[(&str, &str)]| -> Result<_, String> {
            match read("ktor summary", variables)?.command {
                Command::Summary(args) => Ok(args),
                _ => panic!("not a summary"),
            }
        };
        let args = summary(&[
            ("KTOR_INPUT_EXPECTED", "shop:prod, shop:dev\nother\n"),
            ("KTOR_INPUT_PLANS", "there"),
            ("KTOR_INPUT_PATH", "elsewhere"),
        ])
        .unwrap();
        assert_eq!(args.expected, ["shop:prod", "shop:dev", "other"]);
        assert_eq!(args.plans, PathBuf::from("there"));
        assert_eq!(summary(&[]).unwrap().plans, PathBuf::from("ktor-plans"));
        for wrong in ["a b", "shop:", ":prod", "shop.api"] {
            assert!(summary(&[("KTOR_INPUT_EXPECTED", wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_input_is_refused_by_its_name_and_a_written_option_wins() {
        for (variable, flag) in [
            ("KTOR_INPUT_ALLOW_EMPTY", "--allow-empty"),
            ("KTOR_INPUT_CLEANUP", "--cleanup"),
            ("KTOR_INPUT_READINESS_TIMEOUT", "--readiness-timeout"),
        ] {
            let error = action("ktor action", &[(variable, "yes")]).err().unwrap();
            assert!(error.contains(flag), "{error}");
        }
        let args = action("ktor action --path here", &[("KTOR_INPUT_PATH", "--there")]).unwrap();
        assert_eq!(args.project.path, PathBuf::from("here"));
        let args = action("ktor action", &[("KTOR_INPUT_PATH", "--there")]).unwrap();
        assert_eq!(args.project.path, PathBuf::from("--there"));
    }

    #[test]
    fn x15_durations() {
        let cases = [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("90s", Some(90)),
            ("2m", Some(120)),
            ("1h30m", Some(5400)),
            ("", None),
            ("90", None),
            ("m", None),
            ("-1s", None),
            ("1.5m", None),
            ("1d", None),
            ("5é", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
            ("18446744073709551615s", None),
            ("18446744073709551615s18446744073709551615s", None),
            ("1000h", Some(3_600_000)),
            ("1000h1s", None),
            ("9999999999m", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(duration(text).ok(), seconds.map(Duration::from_secs), "{text:?}");
        }
    }
}

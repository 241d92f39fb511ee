//! `ktor action`: does the work that the workflow's event asks for. `ktor summary`: puts the plans of its jobs together.

use std::path::PathBuf;
use std::sync::Mutex;

use crate::action::options::{ActionOptions, Commenting, SummaryOptions, Surroundings, Told, Work};
use crate::action::{dispatch, summary};
use crate::cli::args::workflow::{ActionArgs, ChangedPlan, Comments, Consenting, Forks, Mode, SummaryArgs};
use crate::cli::console::Console;
use crate::cli::env::{self, Variables};
use crate::cli::progress::Progress;
use crate::cli::signal::on_signals;
use crate::cluster::connect::ConnectOptions;
use crate::cluster::settings::ClusterSettings;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::forge::Context;
use crate::run::interrupt::Interrupt;

/// Does the work that the event asks for, and reports its result.
///
/// # Errors
///
/// Anything that stops the work.
pub(crate) async fn run(args: &ActionArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let context = &context(variables)?;
    let selected = &args.cluster;
    let (file, name) = (selected.kubeconfig.as_deref(), selected.context.as_deref());
    let cluster = env::workflow_connect_options(file, name, selected.in_cluster, variables);
    let progress = Mutex::new(None);
    let (tell, interrupts) = (|told: Told<'_>| tell(told, console, &progress), || on_signals(console));
    let around = Surroundings {
        planted_kubeconfig: env::lying_in(&cluster.kubeconfig, &context.workspace).map(ToOwned::to_owned),
        cluster,
        settings: ClusterSettings { readiness_timeout: args.wait.readiness_timeout, ..args.cluster.settings.clone() },
        ..surroundings(context, variables, &tell, &interrupts)
    };
    Box::pin(dispatch::run(&options(args), &around)).await
}

/// Makes one comment from the plans of several jobs.
///
/// # Errors
///
/// A plan failed, is refused, is missing or does not count.
pub(crate) async fn summarize(args: &SummaryArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let context = &context(variables)?;
    let progress = Mutex::new(None);
    let expected = args.expected.iter().map(|text| text.parse().map_err(Failure::usage));
    let options = SummaryOptions {
        plans: context.workspace.join(&args.plans),
        expected: expected.collect::<Result<_, _>>()?,
        token: args.token.clone(),
        comment_author: args.comment_author.clone(),
    };
    let (tell, interrupts) = (|told: Told<'_>| tell(told, console, &progress), || on_signals(console));
    summary::run(&options, &surroundings(context, variables, &tell, &interrupts)).await
}

/// Returns the surroundings of a job without a cluster.
fn surroundings<'a>(
    context: &'a Context,
    variables: &Variables,
    tell: &'a (dyn Fn(Told<'_>) + Sync),
    interrupts: &'a (dyn Fn() -> Interrupt + Sync),
) -> Surroundings<'a> {
    Surroundings {
        context,
        environment: variables.for_programs(),
        planted_kubeconfig: None,
        cluster: ConnectOptions { kubeconfig: Vec::new(), context: None, in_cluster: false },
        temporary: variables.get("RUNNER_TEMP").map(PathBuf::from),
        settings: ClusterSettings::default(),
        tell,
        interrupts,
        seed: env::seed,
        now: env::now,
    }
}

/// Prints a message of the job.
fn tell<'a>(told: Told<'_>, console: &'a Console, progress: &Mutex<Option<Progress<'a>>>) {
    let mut progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match told {
        Told::Notice(message) => console.notice(message),
        Told::Command(command) => console.command(command),
        Told::Warning(message) => console.warning(message),
        Told::Report(title, text) => console.section(title, text),
        Told::Standing(message, place) => console.standing(message, place),
        Told::Failure(failure) => console.error(failure),
        Told::RunBegins(target) => *progress = Some(Progress::grouped(console, &format!("progress of {target}"))),
        Told::Run(event) => progress.iter().for_each(|progress| progress.tell(event)),
        Told::RunEnded => *progress = None,
    }
}

fn options(args: &ActionArgs) -> ActionOptions {
    ActionOptions {
        path: args.project.path.clone(),
        scope: args.project.scope(),
        policy: args.policy.options(),
        history: args.history.options(),
        target: args.project.target.clone(),
        token: args.token.clone(),
        comment_author: args.comment_author.clone(),
        commenting: match args.comment {
            Comments::Sticky => Commenting::Sticky,
            Comments::New => Commenting::New,
            Comments::Off => Commenting::Off,
        },
        sets_status: args.commit_status,
        work: match args.mode {
            Mode::Auto => Work::OfTheEvent,
            Mode::Plan => Work::Plan,
            Mode::Apply => Work::Apply,
            Mode::Drift => Work::Drift,
        },
        is_offline: args.cluster.offline,
        plans_forks: args.cluster.forks == Forks::Plan,
        expected_digest: args.expect_digest.clone(),
        refuses_changed_plans: args.on_changed_plan == ChangedPlan::Stop,
        consent_of_others: args.consent == Consenting::Others,
        allows_unreviewed_deletions: args.allow_unreviewed_deletions,
        lock_timeout: args.wait.lock_timeout,
    }
}

fn context(variables: &Variables) -> Result<Context, Failure> {
    let file = variables.get("GITHUB_EVENT_PATH").ok_or_else(|| {
        Failure::usage(
            "GITHUB_EVENT_PATH is not set: `ktor action` runs in a workflow; elsewhere use `ktor plan` or `ktor apply`",
        )
    })?;
    let payload = std::fs::read(&file).map_err(|error| {
        Failure::new(Exit::Failure, format!("failed to read the event's payload {}: {error}", file.to_string_lossy()))
    })?;
    Context::from_parts(&variables.with_prefix("GITHUB_"), &payload).map_err(|error| Failure::other(&error))
}

//! `ktor action`: does the work that the workflow's event asks for.

use std::sync::Mutex;

use crate::action::dispatch;
use crate::action::options::{ActionOptions, Surroundings, Told, Work};
use crate::cli::args::workflow::{ActionArgs, ChangedPlan, Consenting, Forks, Mode};
use crate::cli::console::Console;
use crate::cli::env::{self, Variables};
use crate::cli::progress::Progress;
use crate::cli::signal::on_signals;
use crate::cluster::settings::ClusterSettings;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::forge::Context;

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
    let around = Surroundings {
        context,
        environment: variables.for_programs(),
        planted_kubeconfig: env::lying_in(&cluster.kubeconfig, &context.workspace).map(ToOwned::to_owned),
        cluster,
        settings: ClusterSettings { readiness_timeout: args.wait.readiness_timeout, ..args.cluster.settings.clone() },
        tell: &|told| tell(told, console, &progress),
        interrupts: &|| on_signals(console),
        seed: env::seed,
        now: env::now,
    };
    Box::pin(dispatch::run(&options(args), &around)).await
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
        target: args.target.clone(),
        token: args.token.clone(),
        comment_author: args.comment_author.clone(),
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

//! The command line: parses the arguments, reads the environment, runs a command, and prints the results. It is the only
//! layer that knows all others.

pub mod args;
pub(crate) mod commands;
pub(crate) mod connection;
pub(crate) mod consent;
pub(crate) mod console;
pub(crate) mod env;
pub(crate) mod heads;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod signal;

use std::io::Write;
use std::process::ExitCode;

use self::args::{Cli, Command};
use self::console::Console;
use self::env::Variables;
use crate::cluster::observer::{Exchange, RequestObserver};
use crate::cluster::settings::ClusterSettings;
use crate::conclusion::exit::Exit;
use crate::report::progress::request;

/// Runs the program.
pub fn run() -> ExitCode {
    let seed = u64::from_ne_bytes(env::seed()[..8].try_into().unwrap_or_default());
    run_with(ClusterSettings { jitter: Some(seed), ..ClusterSettings::default() })
}

/// Runs the program with other limits and durations than the defaults. A duration that has an option still comes from
/// that option.
pub fn run_with(settings: ClusterSettings) -> ExitCode {
    let variables = Variables::of_process();
    let mut cli = match Cli::read(env::arguments(), |name| variables.get(name)) {
        Ok(cli) => cli,
        Err(error) => {
            // Printing fails if the reader closed its end (`ktor --help | head -1`). This is no error.
            drop(error.print());
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Success.into() };
        }
    };
    // The limits hold for the threads that exist, so they come before the runtime's.
    if let Command::Confine(args) = &cli.command {
        return commands::confine::run(args);
    }
    let console = Console::new(env::is_workflow(&variables));
    let is_verbose = cli.verbose || env::is_debugged(&variables);
    if let Some(of_command) = cli.command.settings_mut() {
        *of_command = settings;
        of_command.observer = is_verbose.then(|| observer(&console));
    }
    // This fails only if a provider is already installed. That provider is the same one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "error: failed to start: {error}"));
            return Exit::Failure.into();
        }
    };
    let ended = runtime.block_on(async {
        match &cli.command {
            Command::Plan(args) => commands::plan::plan(args, &variables, &console).await,
            Command::Apply(args) => commands::apply::apply(args, &variables, &console).await,
            Command::Drift(args) => commands::drift::drift(args, &variables, &console).await,
            Command::Render(args) => Box::pin(commands::render::render(args, &variables, &console)).await,
            Command::Lock(args) => Box::pin(commands::lock::lock(args, &variables, &console)).await,
            Command::Scope(args) => commands::scope::scope(args, &variables, &console).await,
            Command::Targets(args) => Box::pin(commands::targets::targets(args, &variables, &console)).await,
            Command::State(args) => commands::state::run(&args.command, &variables, &console).await,
            Command::Unlock(args) => commands::unlock::run(args, &variables, &console).await,
            Command::Freeze(args) => commands::freeze::frozen(args, &variables, &console).await,
            Command::Thaw(args) => commands::freeze::thawed(args, &variables, &console).await,
            Command::Action(args) => Box::pin(commands::action::run(args, &variables, &console)).await,
            Command::Summary(args) => Box::pin(commands::action::summarize(args, &variables, &console)).await,
            // It has returned above.
            Command::Confine(_) => Ok(Exit::Usage),
        }
    });
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => {
            console.error(&error);
            error.exit.into()
        }
    }
}

/// Returns an observer that prints each request to the API server.
fn observer(console: &Console) -> RequestObserver {
    let console = console.clone();
    RequestObserver::new(move |exchange| {
        let Exchange { method, path, is_dry_run, status, duration } = exchange;
        console.line(&request(method, path, is_dry_run, status, duration));
    })
}

//! `ktor freeze` and `ktor thaw`: stop and resume the applies of a root.

use crate::cli::args::state::{FreezeArgs, RootArgs, ThawArgs};
use crate::cli::connection::{connect_for, own_run_name};
use crate::cli::console::Console;
use crate::cli::env::{self, Variables};
use crate::cli::progress::Progress;
use crate::cli::signal::on_signals;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::report::escape::logged;
use crate::run::acquire::acquire_lock;
use crate::run::freeze::freeze;
use crate::run::workspace::Workspace;
use crate::state::freeze::Freeze;

/// Freezes a root.
///
/// # Errors
///
/// The lock is not acquired, or the state cannot be used or written.
pub(crate) async fn frozen(args: &FreezeArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let by = env::whoami(variables);
    let wanted = Freeze { reason: args.reason.clone(), by, until: args.until };
    let (root, _) = set(&args.root, args.lock_timeout, Some(&wanted), variables, console).await?;
    let until = args.until.map(|until| format!(" until {until}")).unwrap_or_default();
    console.report(&format!("root {root} is frozen{until}: no run applies anything\n"));
    Ok(Exit::Success)
}

/// Thaws a root.
///
/// # Errors
///
/// The lock is not acquired, or the state cannot be used or written.
pub(crate) async fn thawed(args: &ThawArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let (root, before) = set(&args.root, args.lock_timeout, None, variables, console).await?;
    console.report(&match before {
        Some(before) => format!("root {root} is thawed: {} froze it, {}\n", logged(&before.by), logged(&before.reason)),
        None => format!("root {root} is not frozen\n"),
    });
    Ok(Exit::Success)
}

async fn set(
    args: &RootArgs,
    lock_timeout: std::time::Duration,
    wanted: Option<&Freeze>,
    variables: &Variables,
    console: &Console,
) -> Result<(String, Option<Freeze>), Failure> {
    let interrupt = on_signals(console);
    let project = Workspace::open(&args.path, args.target.as_deref(), &variables.for_programs()).await?;
    let cluster = connect_for(&project, &args.cluster, None, variables, console).await?;
    let run = own_run_name(variables);
    let request = project.lock(lock_timeout, &run, None);
    let progress = Progress::new(console);
    let lock = acquire_lock(&cluster, &request, &interrupt, &|event| progress.tell(event)).await?;
    let namespace = &project.sources.tree.settings().state_namespace;
    let before = freeze(&cluster, &lock, (namespace, &project.root, &run), wanted).await;
    // A failed release does not change the result. The lease then expires by itself.
    drop(lock.release().await);
    Ok((project.root.to_string(), before?))
}

//! `ktor unlock`: frees a lock, if the caller names its holder.

use super::args::state::UnlockArgs;
use super::console::Console;
use super::diagnostic::{CliError, chain, held_lock};
use super::env::Variables;
use super::exit::Exit;
use super::request::Project;
use crate::cluster::lock::Broken;
use crate::report::shell::quoted;

/// Returns the command that frees this holder's lock, quoted for a shell.
pub(crate) fn command(identity: &str) -> String {
    format!("ktor unlock --holder={}", quoted(identity))
}

/// Frees the root's lock if the named run holds it.
///
/// # Errors
///
/// Another run holds the lock, the lock is held and no holder is named, or the cluster does not answer.
pub(crate) async fn run(args: &UnlockArgs, variables: &Variables, console: &Console) -> Result<Exit, CliError> {
    let project = Project::open(&args.root.path, variables).await?;
    let cluster = project.connect(&args.root.cluster, None, variables, console).await?;
    let namespace = &project.sources.tree.settings().state_namespace;
    let root = &project.root;
    let free = || {
        console.report(&format!("root {root} is not locked\n"));
        Ok(Exit::Success)
    };
    let Some(identity) = args.identity.as_ref().or(args.holder.as_ref()) else {
        let holder = cluster.lock_holder(namespace, root).await;
        let holder =
            holder.map_err(|error| CliError::new(Exit::Failure, format!("failed to read the lock: {error}")))?;
        let Some(holder) = holder else { return free() };
        return Err(CliError::usage(format!(
            "to release {}, make sure that its run is dead and run `{}`",
            held_lock(&holder),
            command(&holder.identity)
        )));
    };
    match cluster.break_lock(namespace, root, identity).await {
        Ok(Broken::Freed) => {
            console.report(&format!("the lock of root {root} is released\n"));
            Ok(Exit::Success)
        }
        Ok(Broken::NotHeld) => free(),
        Ok(Broken::OtherHolder(holder)) => {
            let message = format!("failed to release {}: {identity} does not hold it", held_lock(&holder));
            Err(CliError::new(Exit::Refused, message))
        }
        Err(error) => Err(CliError::new(Exit::Failure, format!("failed to {}", chain(&error)))),
    }
}

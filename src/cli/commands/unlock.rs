//! `ktor unlock`: frees a lock, if the caller names its holder.

use crate::cli::args::state::UnlockArgs;
use crate::cli::connection::connect_for;
use crate::cli::console::Console;
use crate::cli::env::Variables;
use crate::cluster::lock::Broken;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::{Failure, chain, held_lock};
use crate::conclusion::hint;
use crate::run::workspace::Workspace;

/// Frees the root's lock if the named run holds it.
///
/// # Errors
///
/// Another run holds the lock, the lock is held and no holder is named, or the cluster does not answer.
pub(crate) async fn run(args: &UnlockArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let project = Workspace::open(&args.root.path, args.root.target.as_deref(), &variables.for_programs()).await?;
    let cluster = connect_for(&project, &args.root.cluster, None, variables, console).await?;
    let namespace = &project.sources.tree.settings().state_namespace;
    let root = &project.root;
    let free = || {
        console.report(&format!("root {root} is not locked\n"));
        Ok(Exit::Success)
    };
    let Some(identity) = args.identity.as_ref().or(args.holder.as_ref()) else {
        let holder = cluster.lock_holder(namespace, root).await;
        let holder =
            holder.map_err(|error| Failure::new(Exit::Failure, format!("failed to read the lock: {error}")))?;
        let Some(holder) = holder else { return free() };
        return Err(Failure::usage(format!(
            "to release {}, make sure that its run is dead and run `{}`",
            held_lock(&holder),
            hint::unlock(&holder.identity)
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
            Err(Failure::new(Exit::Refused, message))
        }
        Err(error) => Err(Failure::new(Exit::Failure, format!("failed to {}", chain(&error)))),
    }
}

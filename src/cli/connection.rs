//! The connection to the cluster that the arguments and the environment select, and the name of a run in it.

use jiff::Timestamp;

use super::args::{ClusterArgs, WaitArgs};
use super::console::Console;
use super::env::{self, Variables};
use crate::cluster::connect::Cluster;
use crate::conclusion::failure::Failure;
use crate::git::repository::Repository;
use crate::project::snapshot::printable;
use crate::run::workspace::{Workspace, run_name};

/// Connects to the cluster. Prints a notice if the kubeconfig is in the repository, or in the project directory
/// without a repository.
///
/// # Errors
///
/// The errors of [`connect`].
pub(crate) async fn connect_for(
    workspace: &Workspace,
    args: &ClusterArgs,
    wait: Option<&WaitArgs>,
    variables: &Variables,
    console: &Console,
) -> Result<Cluster, Failure> {
    let options = env::connect_options(args.kubeconfig.as_deref(), args.context.as_deref(), variables);
    let around = workspace.repository.as_ref().map_or(workspace.directory.as_path(), Repository::top);
    if let Some(file) = env::lying_in(&options.kubeconfig, around) {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        console.notice(&format!(
            "the kubeconfig {} lies in {}: whoever changes a file there chooses the cluster, and the programs that fetch \
             its credentials",
            printable(&file),
            printable(around)
        ));
    }
    connect(args, wait, variables).await
}

/// Returns the name of a run of the person at this machine.
pub(crate) fn own_run_name(variables: &Variables) -> String {
    run_name(&env::whoami(variables), env::seed())
}

/// Returns the name of a run of the person at this machine, and its time.
pub(crate) fn own_run(variables: &Variables) -> (String, Timestamp) {
    (own_run_name(variables), env::now())
}

/// Connects to the cluster.
///
/// # Errors
///
/// The connection fails. The message is one sentence that says what to do.
pub(crate) async fn connect(
    args: &ClusterArgs,
    wait: Option<&WaitArgs>,
    variables: &Variables,
) -> Result<Cluster, Failure> {
    let options = env::connect_options(args.kubeconfig.as_deref(), args.context.as_deref(), variables);
    let mut settings = args.settings.clone();
    if let Some(wait) = wait {
        settings.readiness_timeout = wait.readiness_timeout;
    }
    Cluster::connect_with(&options, settings).await.map_err(|error| Failure::from(&error))
}

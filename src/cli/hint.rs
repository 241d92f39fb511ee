//! Hints: the options and commands that help after an error. The layers below the command line do not name them.

use crate::cluster::error::ClusterError;
use crate::render::source::SourceReadError;
use crate::run::error::RunError;
use crate::run::sources::SourcesError;
use crate::state::codec::StateError;

const REBUILD: &str = "or rebuild it from the live marks with `ktor state rebuild`";
const REPLACE: &str = "rebuild it from the live marks with `ktor state rebuild --replace-damaged`";
const NEWER: &str = "use a newer ktor, or rebuild it from the live marks with `ktor state rebuild --replace-damaged`";

/// Returns what to do after a run that did not succeed, if an option or a command helps.
pub fn after_run(error: &RunError) -> Option<&'static str> {
    match error {
        RunError::Cluster(error) => after_connecting(error),
        RunError::State(error) => with_state(error),
        RunError::Unknown(_) => Some("`ktor state list` lists what is recorded"),
        _ => None,
    }
}

/// Returns what to do about a cluster that cannot be used.
pub fn after_connecting(error: &ClusterError) -> Option<&'static str> {
    match error {
        ClusterError::NoKubeconfig => Some("set KUBECONFIG or pass --kubeconfig FILE"),
        ClusterError::MissingKubeconfig { .. } => Some("correct KUBECONFIG or --kubeconfig"),
        ClusterError::NoContext { .. } => Some("pass one of them with --context"),
        ClusterError::UnknownContext { .. } => Some("correct --context"),
        ClusterError::InCluster { .. } => Some("run in a pod that mounts one, or pass --kubeconfig FILE"),
        _ => None,
    }
}

/// Returns what to do about a state that cannot be used.
fn with_state(error: &StateError) -> Option<&'static str> {
    match error {
        StateError::Missing { .. } => Some(REBUILD),
        StateError::OtherRoot { .. } | StateError::TooManyObjects | StateError::Unrecordable(_) => None,
        StateError::UnknownVersion(_) => Some(NEWER),
        _ => Some(REPLACE),
    }
}

/// Returns what to do about a tree that cannot be read.
pub fn after_reading(error: &SourcesError) -> Option<&'static str> {
    match error {
        SourcesError::WorkTree(SourceReadError::Root { .. }) => Some("pass a directory that exists with --path"),
        _ => None,
    }
}

/// Puts a hint after a message.
pub fn hinted(message: String, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{message}; {hint}"),
        None => message,
    }
}

//! Hints: the options and commands that help after an error. The layers below the command line do not name them.

use crate::cluster::error::ClusterError;
use crate::project::snapshot::SourceError;
use crate::render::lock::LOCK_CHARTS;
use crate::render::source::SourceReadError;
use crate::report::shell::quoted;
use crate::run::error::RunError;
use crate::run::sources::SourcesError;
use crate::state::error::StateError;

const REBUILD: &str = "or rebuild the state from the live marks with `ktor state rebuild`";
const REPLACE: &str = "rebuild the state from the live marks with `ktor state rebuild --replace-damaged`";
const NEWER: &str =
    "use a newer ktor, or rebuild the state from the live marks with `ktor state rebuild --replace-damaged`";

/// Returns what to do after a run that did not succeed, if an option or a command helps.
pub(crate) fn after_run(error: &RunError) -> Option<&'static str> {
    match error {
        RunError::Cluster(error) => after_connecting(error),
        RunError::State(error) => with_state(error),
        RunError::Frozen(_) => Some("`ktor thaw` ends the freeze"),
        RunError::Unknown(_) => Some("`ktor state list` lists what is recorded"),
        _ => None,
    }
}

/// Returns what to do about a cluster that cannot be used.
pub(crate) fn after_connecting(error: &ClusterError) -> Option<&'static str> {
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
pub(crate) fn after_reading(error: &SourcesError) -> Option<&'static str> {
    match error {
        SourcesError::WorkTree(SourceReadError::Root { .. }) => Some("pass a directory that exists with --path"),
        SourcesError::Target(_) => Some("pass it with --target"),
        _ => None,
    }
}

/// Returns what to do about a source that cannot be rendered.
pub(crate) fn after_rendering(error: &SourceError) -> Option<&'static str> {
    error.message.contains(LOCK_CHARTS).then_some("`ktor lock` locks them")
}

/// Returns the command that frees a holder's lock, quoted for a shell.
pub(crate) fn unlock(identity: &str) -> String {
    format!("ktor unlock --holder={}", quoted(identity))
}

/// Puts a hint after a message.
pub(crate) fn hinted(message: String, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{message}; {hint}"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: RunError, expected: Option<&str>) {
        let hint = after_run(&error);
        assert_eq!(hint.is_some(), expected.is_some(), "{error}: {hint:?}");
        assert!(hint.unwrap_or_default().contains(expected.unwrap_or_default()), "{error}: {hint:?}");
    }

    #[test]
    fn o6_a_state_that_cannot_be_used_is_rebuilt() {
        let replaced = Some("`ktor state rebuild --replace-damaged`");
        for (error, expected) in [
            (StateError::TooLarge, replaced),
            (StateError::UnknownVersion("3".into()), replaced),
            (StateError::WrongHead, replaced),
            (StateError::MissingShard("a".into()), replaced),
            (StateError::OtherContent("a".into()), replaced),
            (StateError::ForeignProject("other.a".into()), replaced),
            (StateError::ImpossibleEntry("a/b".into()), replaced),
            (StateError::Missing { root: "demo".into(), count: 1 }, Some("`ktor state rebuild`")),
            (StateError::OtherRoot { found: "a".into(), expected: "b".into() }, None),
            (StateError::TooManyObjects, None),
            (StateError::Unrecordable("a/b".into()), None),
        ] {
            check(RunError::State(error), expected);
        }
        check(RunError::Unknown("x".into()), Some("`ktor state list`"));
        check(RunError::Stopped, None);
    }

    #[test]
    fn b4_a_cluster_that_is_not_found_is_named_with_an_option() {
        let available = || vec!["one".to_owned()];
        for (error, expected) in [
            (ClusterError::NoKubeconfig, Some("--kubeconfig")),
            (ClusterError::MissingKubeconfig { paths: vec![] }, Some("--kubeconfig")),
            (ClusterError::NoContext { available: available() }, Some("--context")),
            (ClusterError::UnknownContext { context: "x".into(), available: available() }, Some("--context")),
            (ClusterError::InCluster { source: "no token".into() }, Some("--kubeconfig")),
            (ClusterError::Proxy, None),
        ] {
            check(RunError::Cluster(error), expected);
        }
    }
}

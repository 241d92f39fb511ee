//! Decides about the hooks of a chart. A hook is an object that Helm itself would apply at a moment of its own.

use serde_json::{Map, Value};

use crate::project::settings::HookPolicy;

/// The annotation that makes an object a hook.
const HOOK: &str = "helm.sh/hook";
/// The annotations of hooks, which mean nothing without Helm.
const ANNOTATIONS: [&str; 4] =
    [HOOK, "helm.sh/hook-weight", "helm.sh/hook-delete-policy", "helm.sh/hook-output-log-policy"];
/// The moments at which ktor never applies an object.
const NEVER: [&str; 6] = ["test", "test-success", "pre-delete", "post-delete", "pre-rollback", "post-rollback"];

/// The treatment of an object of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// The object is applied.
    Apply,
    /// The object is for a moment that never comes: a test, a deletion or a rollback.
    Never,
    /// The object is a hook that the policy leaves out.
    Skip,
    /// The object is a hook, and no policy decides about it. The text names the object and its moments.
    Undecided(String),
}

/// Decides about an object. An object to apply is no hook afterwards.
pub(super) fn treat(body: &mut Value, policy: Option<HookPolicy>) -> Treatment {
    let Some(moments) = body.pointer("/metadata/annotations").and_then(|all| all.get(HOOK)?.as_str()) else {
        return Treatment::Apply;
    };
    let moments: Vec<String> = moments.split(',').map(|moment| moment.trim().to_ascii_lowercase()).collect();
    if moments.iter().all(|moment| NEVER.contains(&moment.as_str())) {
        return Treatment::Never;
    }
    match policy {
        Some(HookPolicy::Skip) => Treatment::Skip,
        Some(HookPolicy::Apply) => {
            make_ordinary(body);
            Treatment::Apply
        }
        None => {
            let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let (kind, name) = (text("/kind"), text("/metadata/name"));
            Treatment::Undecided(format!("{kind} {name} ({})", moments.join(", ")))
        }
    }
}

/// Removes what makes an object a hook. A finished Job stays, because it is the proof that it ran: a Job that removes
/// itself would be created again by every run.
fn make_ordinary(body: &mut Value) {
    let is_job = body.get("kind").and_then(Value::as_str) == Some("Job");
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut)
        && let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut)
    {
        remove(annotations, &ANNOTATIONS);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    if is_job && let Some(spec) = body.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("ttlSecondsAfterFinished");
    }
}

fn remove(fields: &mut Map<String, Value>, names: &[&str]) {
    for name in names {
        fields.remove(*name);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(hook: &str) -> Value {
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "migrate", "annotations": {"helm.sh/hook": hook, "helm.sh/hook-weight": "-5"}},
            "spec": {"ttlSecondsAfterFinished": 0, "template": {}},
        })
    }

    #[test]
    fn k5_tests_and_hooks_of_deletions_and_rollbacks_are_never_applied() {
        for hook in
            ["test", "test-success", "pre-delete", " post-delete", "Pre-Rollback,post-rollback", "test,pre-delete"]
        {
            for policy in [None, Some(HookPolicy::Apply), Some(HookPolicy::Skip)] {
                assert_eq!(treat(&mut job(hook), policy), Treatment::Never, "{hook}");
            }
        }
    }

    #[test]
    fn k5_other_hooks_need_a_policy() {
        for hook in ["pre-install", "post-upgrade,post-delete", "pre-install, pre-upgrade", "unknown"] {
            assert_eq!(treat(&mut job(hook), Some(HookPolicy::Skip)), Treatment::Skip, "{hook}");
            let mut applied = job(hook);
            assert_eq!(treat(&mut applied, Some(HookPolicy::Apply)), Treatment::Apply, "{hook}");
            assert_eq!(
                (&applied["metadata"], &applied["spec"]),
                (&json!({"name": "migrate"}), &json!({"template": {}}))
            );
        }
        let undecided = treat(&mut job("Post-Install, pre-upgrade"), None);
        assert_eq!(undecided, Treatment::Undecided("Job migrate (post-install, pre-upgrade)".into()));
    }

    #[test]
    fn k5_objects_that_are_no_hooks_stay_as_they_are() {
        let ordinary = json!({
            "kind": "Job",
            "metadata": {"name": "x", "annotations": {"a": "b"}},
            "spec": {"ttlSecondsAfterFinished": 60},
        });
        let mut body = ordinary.clone();
        assert_eq!(treat(&mut body, None), Treatment::Apply);
        assert_eq!(body, ordinary);
        let mut other = json!({"kind": "X", "metadata": {"annotations": {"helm.sh/hook": "pre-install", "a": "b"}},
            "spec": {"ttlSecondsAfterFinished": 1}});
        treat(&mut other, Some(HookPolicy::Apply));
        assert_eq!(
            other,
            json!({"kind": "X", "metadata": {"annotations": {"a": "b"}}, "spec": {"ttlSecondsAfterFinished": 1}})
        );
        assert_eq!(treat(&mut json!("text"), None), Treatment::Apply);
    }
}

//! Judges if a live object is ready, from its content alone.

use serde_json::Value;

use super::ident::{GroupKind, is_custom, split_api_version};
use super::live::Live;

/// The annotation with which an object asks that no run waits for it.
const WAIT: &str = "kubernator.io/wait";

/// The readiness of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// The object works, or there is nothing to wait for.
    Ready,
    /// The object needs time, for this reason.
    Waiting(String),
    /// Waiting does not help, for this reason.
    Failed(String),
}

/// Returns `true` if objects of this kind may need time to become ready.
pub(crate) fn is_waited_for(kind: &GroupKind) -> bool {
    matches!(
        (kind.group.as_str(), kind.kind.as_str()),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet") | ("batch", "Job")
    ) || kind.group == "apiextensions.k8s.io"
        // The objects of a custom kind may have a `Ready` condition.
        || is_custom(&kind.group)
}

/// Returns `true` if a controller deletes the object as soon as it is done.
pub(crate) fn removes_itself(live: &Live) -> bool {
    let object = Object(&live.body);
    object.text("/kind") == "Job" && object.number("/spec/ttlSecondsAfterFinished").is_some()
}

/// Judges if a live object is ready.
pub(crate) fn readiness(live: &Live) -> Readiness {
    if live.annotation(WAIT) == Some("false") || is_held_back(live) {
        return Readiness::Ready;
    }
    let text = |field| live.body.get(field).and_then(Value::as_str).unwrap_or_default();
    let group = split_api_version(text("apiVersion")).0;
    let object = Object(&live.body);
    match (group, text("kind")) {
        ("apps", "Deployment") => deployment(&object),
        ("apps", "StatefulSet") => stateful_set(&object),
        ("apps", "DaemonSet") => daemon_set(&object),
        ("batch", "Job") => job(&object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(&object),
        (group, _) if is_custom(group) => custom(&object),
        _ => Readiness::Ready,
    }
}

/// Returns `true` if the object is paused or suspended on purpose, by a field or an annotation. Its controller then
/// leaves it alone, and it does not become ready.
fn is_held_back(live: &Live) -> bool {
    let object = Object(&live.body);
    let fields = ["/spec/suspend", "/spec/suspended", "/spec/paused", "/spec/pause"];
    let annotations = live.body.pointer("/metadata/annotations").and_then(Value::as_object).into_iter().flatten();
    let is_told = |(name, value): (&String, &Value)| {
        let (name, value) = (name.rsplit('/').next().unwrap_or_default(), value.as_str().unwrap_or_default());
        match name {
            "paused" => value != "false",
            "reconcile" => value == "disabled",
            "skip-reconcile" => value == "true",
            _ => false,
        }
    };
    let is_failed_job = object.text("/kind") == "Job" && matches!(object.condition("Failed"), Some(("True", ..)));
    !is_failed_job && (fields.iter().any(|field| object.flag(field)) || annotations.into_iter().any(is_told))
}

/// Judges a Deployment. The numbers in the status mean nothing until the controller has seen the last change.
fn deployment(object: &Object<'_>) -> Readiness {
    if let Some(waiting) = object.unobserved() {
        return waiting;
    }
    if let Some(("False", "ProgressDeadlineExceeded", message)) = object.condition("Progressing") {
        return Readiness::Failed(message.to_owned());
    }
    let wanted = object.number("/spec/replicas").unwrap_or(1);
    let updated = object.count("/status/updatedReplicas");
    let all = object.count("/status/replicas");
    let available = object.count("/status/availableReplicas");
    if let Some(("True", _, message)) = object.condition("ReplicaFailure")
        && is_refused_for_good(message)
    {
        Readiness::Failed(message.to_owned())
    } else if updated < wanted {
        Readiness::Waiting(format!("{updated} of {wanted} replicas are updated"))
    } else if all > updated {
        Readiness::Waiting(format!("{} old replicas still run", all - updated))
    } else if available < updated {
        Readiness::Waiting(format!("{available} of {updated} replicas are available"))
    } else {
        Readiness::Ready
    }
}

/// Returns `true` if the template of a pod is the reason why the pod is refused. Waiting does not help then. A full
/// quota is not such a reason, because it may become free.
pub(crate) fn is_refused_for_good(message: &str) -> bool {
    let is_limit =
        ["minimum ", "maximum "].iter().any(|bound| message.contains(bound)) && message.contains(" usage per ");
    message.contains("violates PodSecurity \"") || is_limit || message.contains(" is invalid: ")
}

fn stateful_set(object: &Object<'_>) -> Readiness {
    if let Some(waiting) = object.unobserved() {
        return waiting;
    }
    let wanted = object.number("/spec/replicas").unwrap_or(1);
    let ready = object.count("/status/readyReplicas");
    let updated = object.count("/status/updatedReplicas");
    let partition = object.count("/spec/updateStrategy/rollingUpdate/partition");
    let to_update = (wanted - partition).max(0);
    if object.text("/spec/updateStrategy/type") == "OnDelete" {
        Readiness::Ready
    } else if ready < wanted {
        Readiness::Waiting(format!("{ready} of {wanted} replicas are ready"))
    } else if updated < to_update {
        Readiness::Waiting(format!("{updated} of {to_update} replicas are updated"))
    } else {
        Readiness::Ready
    }
}

fn daemon_set(object: &Object<'_>) -> Readiness {
    if let Some(waiting) = object.unobserved() {
        return waiting;
    }
    let wanted = object.count("/status/desiredNumberScheduled");
    let updated = object.count("/status/updatedNumberScheduled");
    let available = object.count("/status/numberAvailable");
    if object.text("/spec/updateStrategy/type") == "OnDelete" {
        Readiness::Ready
    } else if updated < wanted {
        Readiness::Waiting(format!("{updated} of {wanted} pods are updated"))
    } else if available < wanted {
        Readiness::Waiting(format!("{available} of {wanted} pods are available"))
    } else {
        Readiness::Ready
    }
}

fn job(object: &Object<'_>) -> Readiness {
    match (object.condition("Failed"), object.condition("Complete")) {
        (Some(("True", reason, message)), _) => Readiness::Failed(format!("{reason}: {message}")),
        (_, Some(("True", ..))) => Readiness::Ready,
        _ => {
            let done = object.count("/status/succeeded");
            let wanted = object.number("/spec/completions").unwrap_or(1);
            Readiness::Waiting(format!("{done} of {wanted} pods have completed"))
        }
    }
}

fn definition(object: &Object<'_>) -> Readiness {
    if let Some(("False", reason, message)) = object.condition("NamesAccepted") {
        return Readiness::Failed(format!("{reason}: {message}"));
    }
    match (object.condition("NamesAccepted"), object.condition("Established")) {
        (Some(("True", ..)), Some(("True", ..))) => Readiness::Ready,
        _ => Readiness::Waiting("it is not established".to_owned()),
    }
}

/// Judges a custom resource by the conventions that most controllers follow: `observedGeneration` and a `Ready`
/// condition. An object that has neither is ready.
fn custom(object: &Object<'_>) -> Readiness {
    if object.number("/status/observedGeneration").is_some()
        && let Some(waiting) = object.unobserved()
    {
        return waiting;
    }
    if let Some(("True", reason, message)) = object.condition("Stalled") {
        return Readiness::Failed(format!("{reason}: {message}"));
    }
    match object.condition("Ready") {
        Some(("True", ..)) | None => Readiness::Ready,
        Some((_, reason, message)) => Readiness::Waiting(format!("{reason}: {message}")),
    }
}

struct Object<'a>(&'a Value);

impl<'a> Object<'a> {
    fn number(&self, pointer: &str) -> Option<i64> {
        self.0.pointer(pointer)?.as_i64()
    }

    fn count(&self, pointer: &str) -> i64 {
        self.number(pointer).unwrap_or_default()
    }

    fn flag(&self, pointer: &str) -> bool {
        self.0.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
    }

    fn text(&self, pointer: &str) -> &'a str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The status, reason and message of a condition.
    fn condition(&self, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
        let conditions = self.0.pointer("/status/conditions")?.as_array()?;
        let text = |condition: &'a Value, field| condition.get(field).and_then(Value::as_str).unwrap_or_default();
        let found = conditions.iter().find(|condition| text(condition, "type") == name)?;
        Some((text(found, "status"), text(found, "reason"), text(found, "message")))
    }

    fn unobserved(&self) -> Option<Readiness> {
        let behind = self.count("/status/observedGeneration") < self.count("/metadata/generation");
        behind.then(|| Readiness::Waiting("its controller has not seen the change".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(body: &Value, expected: &str) {
        let verdict = match readiness(&Live { body: body.clone() }) {
            Readiness::Ready => "ready".to_owned(),
            Readiness::Waiting(reason) => format!("waiting: {reason}"),
            Readiness::Failed(reason) => format!("failed: {reason}"),
        };
        assert_eq!(verdict, expected, "{body}");
    }

    fn workload(kind: &str, spec: &Value, status: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"generation": 2}, "spec": spec, "status": status})
    }

    #[test]
    fn a8_deployments() {
        let check =
            |status: &Value, expected| check(&workload("Deployment", &json!({"replicas": 3}), status), expected);
        check(&json!({}), "waiting: its controller has not seen the change");
        // The numbers of an earlier generation are complete, but they say nothing about the new one.
        check(
            &json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
            "waiting: its controller has not seen the change",
        );
        check(&json!({"observedGeneration": 2, "replicas": 3}), "waiting: 0 of 3 replicas are updated");
        check(
            &json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 4}),
            "waiting: 1 old replicas still run",
        );
        check(
            &json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 2}),
            "waiting: 2 of 3 replicas are available",
        );
        check(&json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}), "ready");
        check(
            &json!({"observedGeneration": 2, "conditions": [
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "stuck"}]}),
            "failed: stuck",
        );
    }

    #[test]
    fn a8_scaled_to_nothing_is_ready() {
        check(&workload("Deployment", &json!({"replicas": 0}), &json!({"observedGeneration": 2})), "ready");
        check(&workload("StatefulSet", &json!({"replicas": 0}), &json!({"observedGeneration": 2})), "ready");
        check(&workload("DaemonSet", &json!({}), &json!({"observedGeneration": 2})), "ready");
    }

    #[test]
    fn a8_stateful_sets_and_daemon_sets() {
        let status = json!({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1});
        check(
            &workload("StatefulSet", &json!({"replicas": 3}), &status.clone()),
            "waiting: 1 of 3 replicas are updated",
        );
        let partition = json!({"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}});
        check(&workload("StatefulSet", &partition, &status.clone()), "ready");
        let by_hand = json!({"replicas": 5, "updateStrategy": {"type": "OnDelete"}});
        check(&workload("StatefulSet", &by_hand, &status), "ready");
        let status = json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2});
        check(&workload("DaemonSet", &json!({}), &status), "waiting: 0 of 2 pods are available");
    }

    #[test]
    fn a8_jobs() {
        let job = |status| json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, "status": status});
        check(&job(json!({})), "waiting: 0 of 1 pods have completed");
        check(&job(json!({"conditions": [{"type": "Complete", "status": "True"}]})), "ready");
        let failed = json!({"conditions": [
            {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]});
        check(&job(failed), "failed: BackoffLimitExceeded: too often");
    }

    #[test]
    fn a8_definitions_and_custom_resources() {
        let object = |api_version: &str, kind: &str, conditions: Value| {
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"generation": 1},
                "status": {"conditions": conditions}})
        };
        let definition = |conditions| object("apiextensions.k8s.io/v1", "CustomResourceDefinition", conditions);
        check(&definition(json!([])), "waiting: it is not established");
        let accepted = json!({"type": "NamesAccepted", "status": "True"});
        check(&definition(json!([accepted])), "waiting: it is not established");
        check(&definition(json!([accepted, {"type": "Established", "status": "True"}])), "ready");
        let taken = json!([{"type": "NamesAccepted", "status": "False", "reason": "PluralConflict", "message": "x"}]);
        check(&definition(taken), "failed: PluralConflict: x");

        let custom = |conditions| object("shop.dev/v1", "Till", conditions);
        check(&custom(json!([])), "ready");
        check(
            &custom(json!([{"type": "Ready", "status": "False", "reason": "Starting", "message": "soon"}])),
            "waiting: Starting: soon",
        );
        check(&custom(json!([{"type": "Ready", "status": "True"}])), "ready");
        let node = object("v1", "Node", json!([{"type": "Ready", "status": "False"}]));
        check(&node, "ready");
    }

    #[test]
    fn a8_an_object_may_opt_out() {
        let mut body = workload("Deployment", &json!({}), &json!({}));
        body["metadata"]["annotations"] = json!({WAIT: "false"});
        check(&body, "ready");
    }
}

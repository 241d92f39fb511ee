//! Objects that stand in the way of other objects and that the same run deletes.
//!
//! A run deletes nothing before the applied objects are ready. A webhook that the run deletes can refuse other
//! deletions only until it is gone. But an apply that it refuses has to wait for another run.

use serde_json::Value;

use super::unchecked::{between, named};
use crate::object::ident::ObjectKey;
use crate::object::refusal::Refusal;

/// An object that the run deletes: its key and its live body.
pub(crate) type DeletedObject<'a> = (&'a ObjectKey, &'a Value);

/// The deleted webhook or policy that caused the refusal.
pub(crate) fn lifted<'a>(refusal: &Refusal, deleted: &[DeletedObject<'a>]) -> Option<&'a ObjectKey> {
    let (Refusal::Denied(words) | Refusal::Unavailable(words) | Refusal::Invalid(words)) = refusal else { return None };
    let hook = between(words, "admission webhook \"", "\" denied the request")
        .or_else(|| between(words, "failed calling webhook \"", "\""));
    let policy = between(words, "AdmissionPolicy '", "'");
    let binding = between(words, "with binding '", "'");
    let has_hook = |body: &Value| {
        let hooks = body.get("webhooks").and_then(Value::as_array).into_iter().flatten();
        hooks.into_iter().any(|one| hook.is_some() && one.get("name").and_then(Value::as_str) == hook)
    };
    let refuses = |(key, body): &&DeletedObject<'a>| {
        key.group == "admissionregistration.k8s.io"
            && match key.kind.as_str() {
                "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => has_hook(body),
                "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => policy == Some(&*key.name),
                "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => binding == Some(&*key.name),
                _ => false,
            }
    };
    deleted.iter().find(refuses).map(|(key, _)| *key)
}

/// The object that the run deletes too late for a refused object, because it still has something that the refused
/// object needs.
pub(crate) fn obstacle<'a>(
    refusal: &Refusal,
    key: &ObjectKey,
    body: &Value,
    deleted: &[DeletedObject<'a>],
) -> Option<&'a ObjectKey> {
    let found = |is_it: &dyn Fn(&ObjectKey, &Value) -> bool| {
        deleted.iter().find(|(other, live)| is_it(other, live)).map(|(other, _)| *other)
    };
    let by = match refusal {
        Refusal::Invalid(words) if words.contains("already allocated") => {
            let wanted = addresses(body);
            found(&|other, live| {
                other.group.is_empty()
                    && other.kind == "Service"
                    && addresses(live).iter().any(|one| wanted.contains(one))
            })
        }
        Refusal::Denied(words) => match (named(words, &["exceeded quota: ", "failed quota: "]), default_class(words)) {
            (Some(quota), _) => {
                let is_sized = ["cpu", "memory", "pods="].iter().any(|unit| words.contains(unit));
                let is_near = |other: &ObjectKey| other.namespace == key.namespace && key.namespace.is_some();
                let is_counted = |other: &ObjectKey| other.kind == key.kind || is_sized && runs_pods(other);
                found(&|other, _| is_near(other) && other.kind == "ResourceQuota" && other.name == quota)
                    .or_else(|| found(&|other, _| is_near(other) && is_counted(other)))
            }
            (None, Some(class)) => found(&|other, _| other.kind == "PriorityClass" && other.name == class),
            (None, None) => None,
        },
        _ => None,
    };
    by.or_else(|| lifted(refusal, deleted))
}

/// Finds the class in `PriorityClass x is already marked as default. Only one default can exist`.
fn default_class(words: &str) -> Option<&str> {
    between(words, "PriorityClass ", " is already marked as default")
}

fn runs_pods(key: &ObjectKey) -> bool {
    matches!(
        (key.group.as_str(), key.kind.as_str()),
        ("", "Pod" | "ReplicationController") | ("apps", _) | ("batch", "Job" | "CronJob")
    )
}

/// The node ports and cluster addresses that a Service has or asks for.
fn addresses(service: &Value) -> Vec<String> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let ports = ports.filter_map(|port| port.get("nodePort")?.as_u64().map(|port| port.to_string()));
    let health = service.pointer("/spec/healthCheckNodePort").and_then(Value::as_u64).map(|port| port.to_string());
    let listed = service.pointer("/spec/clusterIPs").and_then(Value::as_array).into_iter().flatten();
    let first = service.pointer("/spec/clusterIP").into_iter();
    let addresses = listed.chain(first).filter_map(Value::as_str).filter(|one| !["", "None"].contains(one));
    ports.chain(health).chain(addresses.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(word: &str) -> ObjectKey {
        word.parse().unwrap()
    }

    #[test]
    fn r8_what_holds_what_a_refused_object_needs_is_found_and_nothing_else_is() {
        let quota = "exceeded quota: q, requested: count/secrets=1, used: count/secrets=1, limited: count/secrets=1";
        let hook = json!({"webhooks": [{"name": "hook.w.dev"}]});
        let port = |port: u64| json!({"spec": {"ports": [{"port": 80, "nodePort": port}]}});
        let allocated = || {
            Refusal::Invalid("spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated".into())
        };
        let denied = |words: &str| Refusal::Denied(words.into());
        let cases = [
            (allocated(), "Service/w/new", port(30080), "Service/w/old", port(30080), true),
            (allocated(), "Service/w/new", port(30080), "Service/w/old", port(30081), false),
            (allocated(), "Service/w/new", port(30080), "ConfigMap/w/old", port(30080), false),
            (denied(quota), "Secret/w/new", json!({}), "Secret/w/old", json!({}), true),
            (denied(quota), "Secret/w/new", json!({}), "ResourceQuota/w/q", json!({}), true),
            (denied(quota), "Secret/w/new", json!({}), "ResourceQuota/w/r", json!({}), false),
            (denied(quota), "Secret/w/new", json!({}), "Secret/v/old", json!({}), false),
            (denied(quota), "Secret/w/new", json!({}), "ConfigMap/w/old", json!({}), false),
            (
                denied("exceeded quota: q, requested: limits.cpu=1"),
                "Pod/w/new",
                json!({}),
                "Deployment.apps/w/old",
                json!({}),
                true,
            ),
            (
                denied("admission webhook \"hook.w.dev\" denied the request: no"),
                "Secret/w/new",
                json!({}),
                "ValidatingWebhookConfiguration.admissionregistration.k8s.io/h",
                hook.clone(),
                true,
            ),
            (
                Refusal::Unavailable("failed calling webhook \"hook.w.dev\": refused".into()),
                "Secret/w/new",
                json!({}),
                "MutatingWebhookConfiguration.admissionregistration.k8s.io/h",
                hook.clone(),
                true,
            ),
            (
                denied("admission webhook \"other.w.dev\" denied the request: no"),
                "Secret/w/new",
                json!({}),
                "ValidatingWebhookConfiguration.admissionregistration.k8s.io/h",
                hook,
                false,
            ),
            (
                denied("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"),
                "Secret/w/new",
                json!({}),
                "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io/b",
                json!({}),
                true,
            ),
            (
                denied("PriorityClass old is already marked as default. Only one default can exist"),
                "PriorityClass.scheduling.k8s.io/new",
                json!({}),
                "PriorityClass.scheduling.k8s.io/old",
                json!({}),
                true,
            ),
            (Refusal::Forbidden("no".into()), "Secret/w/new", json!({}), "Secret/w/old", json!({}), false),
        ];
        for (refusal, word, body, other, live, expected) in cases {
            let (other, live) = (key(other), live);
            let found = obstacle(&refusal, &key(word), &body, &[(&other, &live)]);
            assert_eq!(found.is_some(), expected, "{refusal:?} {other}");
        }
    }
}

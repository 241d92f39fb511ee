//! Cleans manifests that were saved from a cluster. It removes the fields that only a server or a controller writes.
//!
//! Such fields are never desired. If they were applied, ktor would own them forever, they would differ in every plan,
//! or the garbage collector would delete the object because its owner does not exist.

use serde_json::{Map, Value};

use super::ident::GroupKind;
use super::mark;

/// The metadata fields that the server writes.
const METADATA: [&str; 8] = [
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generation",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// The annotations that kubectl and the server's own controllers write, and the project annotation.
const ANNOTATIONS: [&str; 15] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.daemonset.template.generation",
    "batch.kubernetes.io/job-tracking",
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/selected-node",
    "autoscaling.alpha.kubernetes.io/conditions",
    "autoscaling.alpha.kubernetes.io/current-metrics",
    mark::PROJECT,
];

/// The finalizers that the server and its controllers add and remove.
const FINALIZERS: [&str; 6] = [
    "foregroundDeletion",
    "orphan",
    "kubernetes.io/pvc-protection",
    "kubernetes.io/pv-protection",
    "service.kubernetes.io/load-balancer-cleanup",
    "customresourcecleanup.apiextensions.k8s.io",
];

/// The labels that the Job controller generates. It refuses them in a manifest.
const JOB_LABELS: [&str; 4] =
    ["controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];

/// Removes the fields that only a server writes. Returns `true` if the object was saved from a server.
///
/// The status of a built-in kind is always removed. The status of any other kind is removed if the object was saved
/// from a server.
pub(crate) fn clean(kind: &GroupKind, is_builtin: bool, body: &mut Value) -> bool {
    let Some(object) = body.as_object_mut() else { return false };
    let is_exported = object.get("metadata").and_then(Value::as_object).is_some_and(is_exported);
    if is_builtin || is_exported {
        object.remove("status");
        drop_empty_times(object);
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        clean_metadata(metadata, is_exported);
    }
    if is_exported && kind.group == "batch" {
        match kind.kind.as_str() {
            "Job" => clean_job(object),
            "CronJob" => {
                let template = object.get_mut("spec").and_then(|spec| spec.get_mut("jobTemplate")?.as_object_mut());
                if let Some(template) = template {
                    clean_job(template);
                }
            }
            _ => {}
        }
    }
    is_exported
}

/// Returns `true` if the object was saved from a server, because it has metadata that only a server writes.
pub(crate) fn is_saved(body: &Value) -> bool {
    body.get("metadata").and_then(Value::as_object).is_some_and(is_exported)
}

/// Returns `true` if only a server can have written this metadata.
fn is_exported(metadata: &Map<String, Value>) -> bool {
    ["uid", "resourceVersion", "managedFields", "selfLink"]
        .iter()
        .any(|field| metadata.get(*field).is_some_and(|value| !value.is_null()))
}

fn clean_metadata(metadata: &mut Map<String, Value>, is_exported: bool) {
    for field in METADATA {
        metadata.remove(field);
    }
    if is_exported {
        // The owner has a uid. An owner with this uid may no longer exist, or may not exist in this cluster.
        metadata.remove("ownerReferences");
    }
    remove_from(metadata, "annotations", &ANNOTATIONS);
    remove_from(metadata, "labels", &[mark::ROOT]);
    if let Some(Value::Array(finalizers)) = metadata.get_mut("finalizers") {
        finalizers.retain(|finalizer| !finalizer.as_str().is_some_and(|text| FINALIZERS.contains(&text)));
        if finalizers.is_empty() {
            metadata.remove("finalizers");
        }
    }
}

/// Removes the selector and the labels that the Job controller generates, unless `manualSelector` is set.
fn clean_job(job: &mut Map<String, Value>) {
    let is_manual = |spec: &Map<String, Value>| spec.get("manualSelector").and_then(Value::as_bool).unwrap_or(false);
    let Some(spec) = job.get_mut("spec").and_then(Value::as_object_mut).filter(|spec| !is_manual(spec)) else { return };
    spec.remove("selector");
    if let Some(metadata) = spec.get_mut("template").and_then(|template| template.get_mut("metadata")?.as_object_mut())
    {
        remove_from(metadata, "labels", &JOB_LABELS);
    }
    if let Some(metadata) = job.get_mut("metadata").and_then(Value::as_object_mut) {
        remove_from(metadata, "labels", &JOB_LABELS);
    }
}

/// Removes entries from a mapping. Removes the mapping too if no entry is left.
fn remove_from(metadata: &mut Map<String, Value>, field: &str, names: &[&str]) {
    let Some(Value::Object(entries)) = metadata.get_mut(field) else { return };
    let before = entries.len();
    entries.retain(|name, _| !names.contains(&name.as_str()));
    if entries.is_empty() && before > 0 {
        metadata.remove(field);
    }
}

/// Removes the `creationTimestamp: null` that Go writes into the metadata of every template. The recursion is as deep
/// as the body. The reader of the body limits that depth.
fn drop_empty_times(object: &mut Map<String, Value>) {
    for (name, value) in object.iter_mut() {
        match value {
            Value::Object(inner) => {
                if name == "metadata" && inner.get("creationTimestamp").is_some_and(Value::is_null) {
                    inner.remove("creationTimestamp");
                }
                drop_empty_times(inner);
            }
            Value::Array(items) => {
                items.iter_mut().filter_map(Value::as_object_mut).for_each(drop_empty_times);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cleaned(group: &str, kind: &str, is_builtin: bool, mut body: Value) -> (Value, bool) {
        let is_exported = clean(&GroupKind::new(group, kind), is_builtin, &mut body);
        (body, is_exported)
    }

    #[test]
    fn r11_what_only_a_server_writes_is_left_out() {
        let exported = json!({"metadata": {"name": "web", "uid": "u", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [], "selfLink": "/x",
            "ownerReferences": [{"uid": "o"}], "finalizers": ["kubernetes.io/pvc-protection", "team.example/hold"],
            "annotations": {"deployment.kubernetes.io/revision": "4", "team": "a",
                "kubectl.kubernetes.io/last-applied-configuration": "{}", "kubernator.io/project": "other"},
            "labels": {"kubernator.io/root": "0123456789ab"}},
            "spec": {"template": {"metadata": {"creationTimestamp": null, "labels": {"a": "b"}}}}, "status": {"replicas": 1}});
        let (body, is_exported) = cleaned("apps", "Deployment", true, exported);
        assert!(is_exported);
        assert_eq!(
            body,
            json!({"metadata": {"name": "web", "annotations": {"team": "a"}, "finalizers": ["team.example/hold"]},
                "spec": {"template": {"metadata": {"labels": {"a": "b"}}}}})
        );
        assert!(!cleaned("apps", "Deployment", true, body).1);
    }

    #[test]
    fn r11_what_someone_wrote_stays() {
        let custom = json!({"metadata": {"name": "x", "annotations": {}, "ownerReferences": [{"uid": "o"}]},
            "status": {"desired": true}, "spec": {"metadata": {"creationTimestamp": null}}});
        assert_eq!(cleaned("shop.dev", "Till", false, custom.clone()), (custom.clone(), false));
        let mut exported = custom;
        exported["metadata"]["uid"] = json!("u");
        assert_eq!(cleaned("shop.dev", "Till", false, exported).0.get("status"), None);
        let manual = json!({"metadata": {"uid": "u"}, "spec": {"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}}});
        assert_eq!(cleaned("batch", "Job", true, manual.clone()).0["spec"], manual["spec"]);
        let labels = json!({"controller-uid": "u", "job-name": "x", "app": "y"});
        let job = json!({"metadata": {"uid": "u", "labels": labels}, "spec": {"selector": {"matchLabels": {"controller-uid": "u"}},
            "template": {"metadata": {"labels": labels}}}});
        assert_eq!(
            cleaned("batch", "Job", true, job).0,
            json!({"metadata": {"labels": {"app": "y"}}, "spec": {"template": {"metadata": {"labels": {"app": "y"}}}}})
        );
    }
}

//! References: the other objects that an object names and depends on.
//!
//! The fields are recognized by name at any depth. Custom resources that embed the fields of a pod or an Ingress are
//! therefore read too. A field that only looks like a reference does no harm, because references are compared with
//! objects that exist.

use serde_json::{Map, Value};

use super::ident::{ObjectKey, split_api_version};

/// The annotation by which an object declares its dependencies: `GROUP/namespaces/NAMESPACE/KIND/NAME` or
/// `GROUP/KIND/NAME`, separated by commas. The core group is left out.
const DEPENDS_ON: &str = "config.kubernetes.io/depends-on";

/// The fields that contain a name, and the kind of the named object.
const NAMES: [(&str, &str); 10] = [
    ("claimName", "PersistentVolumeClaim"),
    ("configMapName", "ConfigMap"),
    ("ingressClassName", "IngressClass"),
    ("priorityClassName", "PriorityClass"),
    ("runtimeClassName", "RuntimeClass"),
    ("secretName", "Secret"),
    ("serviceAccount", "ServiceAccount"),
    ("serviceAccountName", "ServiceAccount"),
    ("serviceName", "Service"),
    ("storageClassName", "StorageClass"),
];

/// The fields that contain an object with a `name` or a list of such objects, and the kind of the named object.
const OBJECTS: [(&str, &str); 7] = [
    ("configMap", "ConfigMap"),
    ("configMapKeyRef", "ConfigMap"),
    ("configMapRef", "ConfigMap"),
    ("imagePullSecrets", "Secret"),
    ("secret", "Secret"),
    ("secrets", "Secret"),
    ("service", "Service"),
];

/// The suffixes of fields that contain a reference with a `name`, and the kind if the reference does not state one.
const REFERENCES: [(&str, Option<&str>); 6] = [
    ("secretKeyRef", Some("Secret")),
    ("SecretRef", Some("Secret")),
    ("secretRef", Some("Secret")),
    ("backendRefs", Some("Service")),
    ("Refs", None),
    ("Ref", None),
];

/// A reference from one object to another. It is a key whose group may be unknown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    /// The API group, or `None` if it is not stated.
    group: Option<String>,
    kind: String,
    /// The stated namespace, or else the namespace of the object that contains the reference.
    namespace: Option<String>,
    name: String,
}

impl Reference {
    /// Returns `true` if the reference names the object with this key. The namespace of a cluster-scoped object is not
    /// compared.
    pub(crate) fn means(&self, key: &ObjectKey) -> bool {
        self.kind == key.kind
            && self.name == key.name
            && self.group.as_ref().is_none_or(|group| *group == key.group)
            && (key.namespace.is_none() || key.namespace == self.namespace)
    }
}

/// Lists the references of an object. The body may be desired or live.
pub(crate) fn references(body: &Value) -> Vec<Reference> {
    let namespace = body.pointer("/metadata/namespace").and_then(Value::as_str);
    let mut found = Vec::new();
    let annotations = body.pointer("/metadata/annotations").and_then(Value::as_object);
    if let Some(text) = annotations.and_then(|all| all.get(DEPENDS_ON)).and_then(Value::as_str) {
        found.extend(text.split(',').filter_map(|one| declared(one.trim())));
    }
    for (field, value) in body.as_object().into_iter().flatten() {
        if !["metadata", "status"].contains(&field.as_str()) {
            visit(field, value, namespace, &mut found);
        }
    }
    found.sort();
    found.dedup();
    found
}

fn visit(field: &str, value: &Value, namespace: Option<&str>, found: &mut Vec<Reference>) {
    named(field, value, namespace, found);
    match value {
        Value::Object(map) => {
            for (field, value) in map {
                visit(field, value, namespace, found);
            }
        }
        // The items of a list are read as values of its field.
        Value::Array(items) => {
            for item in items {
                visit(field, item, namespace, found);
            }
        }
        _ => {}
    }
}

/// Reads one field, or one item of a list.
fn named(field: &str, value: &Value, namespace: Option<&str>, found: &mut Vec<Reference>) {
    let reference = |kind: &str, name: &str, namespace: Option<&str>| Reference {
        group: None,
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    };
    if let Value::String(name) = value {
        let kinds = NAMES.iter().filter(|(known, _)| *known == field);
        found.extend(kinds.map(|(_, kind)| reference(kind, name, namespace)));
        return;
    }
    let Value::Object(map) = value else { return };
    let text = |field: &str| map.get(field).and_then(Value::as_str);
    let Some(name) = text("name") else { return };
    let namespace = text("namespace").or(namespace);
    if let Some((_, kind)) = OBJECTS.iter().find(|(known, _)| *known == field) {
        found.push(reference(kind, name, namespace));
        return;
    }
    let form = REFERENCES.iter().find(|(end, _)| field == *end || field.ends_with(end));
    let is_reference = form.is_some() || ["subjects", "resource"].contains(&field);
    let kind = text("kind").or(form.and_then(|(_, kind)| *kind));
    if let Some(kind) = kind.filter(|_| is_reference) {
        found.push(Reference { group: group_of(map), ..reference(kind, name, namespace) });
    }
}

/// The group that a reference states, in any of the usual fields.
fn group_of(map: &Map<String, Value>) -> Option<String> {
    let text = |field: &str| map.get(field).and_then(Value::as_str);
    let group = text("apiGroup").or_else(|| text("group"));
    let stated = group.or_else(|| text("apiVersion").map(|version| split_api_version(version).0));
    // Templates often leave the group empty although they mean another group, so an empty group counts as not stated.
    stated.filter(|group| !group.is_empty()).map(str::to_owned)
}

fn declared(text: &str) -> Option<Reference> {
    let parts: Vec<&str> = text.split('/').collect();
    let (group, namespace, kind, name) = match parts[..] {
        ["namespaces", namespace, kind, name] => ("", Some(namespace), kind, name),
        [group, "namespaces", namespace, kind, name] => (group, Some(namespace), kind, name),
        [kind, name] => ("", None, kind, name),
        [group, kind, name] => (group, None, kind, name),
        _ => return None,
    };
    Some(Reference {
        group: Some(group.to_owned()),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(kind: &str, namespace: Option<&str>, name: &str) -> ObjectKey {
        let group = match kind {
            "Role" | "ClusterRole" => "rbac.authorization.k8s.io",
            "Deployment" => "apps",
            "StorageClass" => "storage.k8s.io",
            "Till" => "shop.dev",
            _ => "",
        };
        ObjectKey {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    #[test]
    fn x16_every_way_of_naming_an_object_is_read() {
        let here = |kind: &str| key(kind, Some("x"), "n");
        let pod = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
        for (what, body, expected) in [
            ("volume", pod(json!({"volumes": [{"configMap": {"name": "n"}}]})), here("ConfigMap")),
            ("secret volume", pod(json!({"volumes": [{"secret": {"secretName": "n"}}]})), here("Secret")),
            (
                "projected",
                pod(json!({"volumes": [{"projected": {"sources": [{"secret": {"name": "n"}}]}}]})),
                here("Secret"),
            ),
            (
                "claim",
                pod(json!({"volumes": [{"persistentVolumeClaim": {"claimName": "n"}}]})),
                here("PersistentVolumeClaim"),
            ),
            (
                "env",
                pod(json!({"containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "n", "key": "k"}}}]}]})),
                here("Secret"),
            ),
            (
                "env from",
                pod(json!({"initContainers": [{"envFrom": [{"configMapRef": {"name": "n"}}]}]})),
                here("ConfigMap"),
            ),
            ("pull secret", pod(json!({"imagePullSecrets": [{"name": "a"}, {"name": "n"}]})), here("Secret")),
            ("account", pod(json!({"serviceAccountName": "n"})), here("ServiceAccount")),
            ("custom", json!({"spec": {"podTemplate": {"spec": {"serviceAccountName": "n"}}}}), here("ServiceAccount")),
            ("csi", pod(json!({"volumes": [{"csi": {"nodePublishSecretRef": {"name": "n"}}}]})), here("Secret")),
            (
                "role",
                json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "n"}}),
                here("Role"),
            ),
            ("cluster role", json!({"roleRef": {"kind": "ClusterRole", "name": "n"}}), key("ClusterRole", None, "n")),
            (
                "subject",
                json!({"subjects": [{"kind": "ServiceAccount", "name": "n", "namespace": "y"}]}),
                key("ServiceAccount", Some("y"), "n"),
            ),
            (
                "scale",
                json!({"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "n"}}}),
                here("Deployment"),
            ),
            (
                "backend",
                json!({"spec": {"rules": [{"http": {"paths": [{"backend": {"service": {"name": "n"}}}]}}]}}),
                here("Service"),
            ),
            (
                "resource",
                json!({"spec": {"defaultBackend": {"resource": {"apiGroup": "shop.dev", "kind": "Till", "name": "n"}}}}),
                here("Till"),
            ),
            ("route", json!({"spec": {"rules": [{"backendRefs": [{"name": "n", "port": 80}]}]}}), here("Service")),
            (
                "webhook",
                json!({"webhooks": [{"clientConfig": {"service": {"name": "n", "namespace": "y"}}}]}),
                key("Service", Some("y"), "n"),
            ),
            ("class", json!({"spec": {"storageClassName": "n"}}), key("StorageClass", None, "n")),
            ("set", json!({"spec": {"serviceName": "n"}}), here("Service")),
            (
                "annotation",
                json!({"metadata": {"annotations": {DEPENDS_ON: "apps/namespaces/y/Deployment/n, Node/a"}}}),
                key("Deployment", Some("y"), "n"),
            ),
        ] {
            let mut body = body;
            body["metadata"]["namespace"] = json!("x");
            let found = references(&body);
            assert!(found.iter().any(|reference| reference.means(&expected)), "{what}: {found:?}");
            let other = ObjectKey { name: "other".to_owned(), ..expected.clone() };
            assert!(!found.iter().any(|reference| reference.means(&other)), "{what}: {found:?}");
            if expected.namespace.is_some() {
                let elsewhere = ObjectKey { namespace: Some("z".to_owned()), ..expected };
                assert!(!found.iter().any(|reference| reference.means(&elsewhere)), "{what}: {found:?}");
            }
        }
    }

    #[test]
    fn what_names_nothing_has_no_references() {
        for body in [
            json!({"metadata": {"name": "n", "namespace": "x"}, "data": {"a": "b"}}),
            json!({"spec": {"containers": [{"name": "n", "image": "i"}]}}),
            json!({"metadata": {"ownerReferences": [{"kind": "Deployment", "name": "n"}]}}),
            json!({"status": {"secretName": "n"}}),
            json!(null),
        ] {
            assert_eq!(references(&body), [], "{body}");
        }
    }
}

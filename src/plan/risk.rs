//! Risks: properties of a change that a reviewer should look at first.
//!
//! The table is pure and needs no server. It compares the object before the change (live, or in the base) with the
//! object after it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::object::ident::ObjectKey;

/// The weight of a risk. The first is the most serious.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Data, availability or control of the cluster may be lost.
    High,
    /// The behaviour of a workload may change for its users.
    Medium,
    /// The change is visible from outside.
    Low,
}

/// A property of a change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// An object is removed whose end takes data, availability or protection with it.
    Removal(Weight),
    /// The workload has no replicas any more. The number is the one before.
    NoReplicas(u64),
    /// The workload has fewer replicas: before and after.
    FewerReplicas(u64, u64),
    /// A container uses an image without a tag, or with the tag `latest`.
    MovingImage(String),
    /// A container or pod gains this power over its node, by the name of the field.
    NodeAccess(&'static str),
    /// A role grants every verb, resource or group: the name of the list.
    Wildcard(&'static str),
    /// A role is bound in the whole cluster.
    ClusterBinding(String),
    /// The type of a Service changes: before and after.
    ServiceType(String, String),
    /// The selector of a Service selects other pods.
    ServiceSelector,
    /// A field changes that the server never lets change, so the object has to be replaced: the JSON pointer.
    Immutable(&'static str),
    /// The object is deleted and created anew.
    Replaced,
    /// The smallest or largest size falls: the field, and its value before and after.
    Shrinks(&'static str, String, String),
    /// A CRD no longer serves this version.
    VersionEnds(String),
    /// A webhook refuses requests when it does not answer.
    FailurePolicy(String),
    /// The hosts of an Ingress change: before and after.
    Hosts(Vec<String>, Vec<String>),
}

impl Risk {
    /// The weight of the risk.
    pub fn weight(&self) -> Weight {
        match self {
            Self::Removal(weight) => *weight,
            Self::NodeAccess(_)
            | Self::Wildcard(_)
            | Self::ClusterBinding(_)
            | Self::Immutable(_)
            | Self::Replaced
            | Self::VersionEnds(_) => Weight::High,
            Self::NoReplicas(_)
            | Self::Shrinks(..)
            | Self::MovingImage(_)
            | Self::ServiceType(..)
            | Self::ServiceSelector
            | Self::FailurePolicy(_) => Weight::Medium,
            Self::FewerReplicas(..) | Self::Hosts(..) => Weight::Low,
        }
    }
}

/// Lists the risks of a change, the most serious first. `before` is `None` if the object is created, and `after` is
/// `None` if it is deleted. A property that the object had before is no risk of the change.
pub(crate) fn risks(key: &ObjectKey, before: Option<&Value>, after: Option<&Value>) -> Vec<Risk> {
    let Some(after) = after else {
        return removal(key).map(Risk::Removal).into_iter().collect();
    };
    let nothing = Value::Null;
    let before_or_nothing = before.unwrap_or(&nothing);
    let mut found = Vec::new();
    replicas(before, after, &mut found);
    pods(key, before_or_nothing, after, &mut found);
    match (key.group.as_str(), key.kind.as_str()) {
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => roles(before_or_nothing, after, &mut found),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => binding(before_or_nothing, after, &mut found),
        ("", "Service") => service(before, after, &mut found),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration") => {
            webhooks(before_or_nothing, after, &mut found);
        }
        ("networking.k8s.io", "Ingress") => hosts(before, after, &mut found),
        _ => {}
    }
    if let Some(before) = before {
        shrinking(key, before, after, &mut found);
        if key.is_crd() {
            found.extend(served(before).difference(&served(after)).map(|name| Risk::VersionEnds((*name).to_owned())));
        }
        found.extend(immutable(key, before, after).map(Risk::Immutable));
    }
    found.sort_by(|a, b| (a.weight(), a).cmp(&(b.weight(), b)));
    found.dedup();
    found
}

/// The weight of the removal of an object, if it is one to look at.
fn removal(key: &ObjectKey) -> Option<Weight> {
    match (key.group.as_str(), key.kind.as_str()) {
        ("", "PersistentVolumeClaim" | "PersistentVolume" | "Namespace")
        | ("apps", "StatefulSet")
        | ("apiextensions.k8s.io", "CustomResourceDefinition") => Some(Weight::High),
        ("networking.k8s.io", "NetworkPolicy")
        | ("policy", "PodDisruptionBudget")
        | ("", "ResourceQuota" | "LimitRange")
        | (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration"
            | "MutatingWebhookConfiguration"
            | "ValidatingAdmissionPolicy"
            | "ValidatingAdmissionPolicyBinding",
        ) => Some(Weight::Medium),
        _ => None,
    }
}

fn replicas(before: Option<&Value>, after: &Value, found: &mut Vec<Risk>) {
    let of = |body: &Value| body.pointer("/spec/replicas").and_then(Value::as_u64);
    match (before.and_then(of), of(after)) {
        (Some(before), Some(0)) if before > 0 => found.push(Risk::NoReplicas(before)),
        (Some(before), Some(after)) if after < before => found.push(Risk::FewerReplicas(before, after)),
        _ => {}
    }
}

/// The pod that an object describes, if it describes one.
fn pod<'a>(key: &ObjectKey, body: &'a Value) -> Option<&'a Value> {
    let pointer = match (key.group.as_str(), key.kind.as_str()) {
        ("", "Pod") => "/spec",
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => "/spec/template/spec",
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template/spec",
        _ => return None,
    };
    body.pointer(pointer)
}

fn pods(key: &ObjectKey, before: &Value, after: &Value, found: &mut Vec<Risk>) {
    let Some(now) = pod(key, after) else { return };
    let nothing = Value::Null;
    let was = pod(key, before).unwrap_or(&nothing);
    let known: BTreeSet<&str> = images(was).collect();
    let moving = images(now).filter(|image| !known.contains(image) && is_moving(image));
    found.extend(moving.map(|image| Risk::MovingImage(image.to_owned())));
    let powers = node_access(was);
    found.extend(node_access(now).difference(&powers).map(|power| Risk::NodeAccess(power)));
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers", "ephemeralContainers"].into_iter();
    lists.filter_map(|name| pod.get(name)?.as_array()).flatten()
}

fn images(pod: &Value) -> impl Iterator<Item = &str> {
    containers(pod).filter_map(|container| container.get("image")?.as_str())
}

/// Returns `true` if the image may be another one tomorrow: it has no digest, and its tag is missing or `latest`.
fn is_moving(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// The powers that a pod has over its node.
fn node_access(pod: &Value) -> BTreeSet<&'static str> {
    let mut powers: BTreeSet<&'static str> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|name| pod.get(*name).and_then(Value::as_bool) == Some(true))
        .collect();
    let is_privileged =
        |container: &Value| container.pointer("/securityContext/privileged").and_then(Value::as_bool) == Some(true);
    if containers(pod).any(is_privileged) {
        powers.insert("privileged");
    }
    let added = |container: &Value| {
        container
            .pointer("/securityContext/capabilities/add")
            .is_some_and(|all| *all != Value::Array(Vec::new()) && !all.is_null())
    };
    if containers(pod).any(added) {
        powers.insert("capabilities");
    }
    let volumes = pod.get("volumes").and_then(Value::as_array).into_iter().flatten();
    if volumes.into_iter().any(|volume| volume.get("hostPath").is_some_and(|path| !path.is_null())) {
        powers.insert("hostPath");
    }
    powers
}

fn roles(before: &Value, after: &Value, found: &mut Vec<Risk>) {
    let all = |body: &Value| -> BTreeSet<&'static str> {
        let rules: Vec<&Value> = body.get("rules").and_then(Value::as_array).into_iter().flatten().collect();
        let is_all = |name: &str| {
            let lists = rules.iter().filter_map(|rule| rule.get(name)?.as_array());
            lists.flatten().any(|item| item.as_str() == Some("*"))
        };
        ["apiGroups", "resources", "verbs", "nonResourceURLs"].into_iter().filter(|name| is_all(name)).collect()
    };
    found.extend(all(after).difference(&all(before)).map(|name| Risk::Wildcard(name)));
}

fn binding(before: &Value, after: &Value, found: &mut Vec<Risk>) {
    let role = after.pointer("/roleRef/name").and_then(Value::as_str).unwrap_or_default();
    let subjects =
        |body: &Value| -> Vec<Value> { body.get("subjects").and_then(Value::as_array).cloned().unwrap_or_default() };
    let known = subjects(before);
    let is_same_role = before.get("roleRef") == after.get("roleRef");
    if !is_same_role || subjects(after).iter().any(|subject| !known.contains(subject)) {
        found.push(Risk::ClusterBinding(role.to_owned()));
    }
}

fn service(before: Option<&Value>, after: &Value, found: &mut Vec<Risk>) {
    let of = |body: &Value| body.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP").to_owned();
    let was = before.map_or_else(|| "ClusterIP".to_owned(), of);
    let is = of(after);
    if was != is {
        found.push(Risk::ServiceType(was, is));
    }
    let selector = |body: &Value| body.pointer("/spec/selector").cloned();
    if before.is_some_and(|before| selector(before) != selector(after)) {
        found.push(Risk::ServiceSelector);
    }
}

fn webhooks(before: &Value, after: &Value, found: &mut Vec<Risk>) {
    fn failing(body: &Value) -> BTreeSet<&str> {
        let hooks = body.get("webhooks").and_then(Value::as_array).into_iter().flatten();
        let fails = |hook: &&Value| hook.get("failurePolicy").and_then(Value::as_str).unwrap_or("Fail") == "Fail";
        hooks.into_iter().filter(fails).filter_map(|hook| hook.get("name")?.as_str()).collect()
    }
    found.extend(failing(after).difference(&failing(before)).map(|name| Risk::FailurePolicy((*name).to_owned())));
}

fn hosts(before: Option<&Value>, after: &Value, found: &mut Vec<Risk>) {
    let of = |body: &Value| -> Vec<String> {
        let rules = body.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten();
        rules.into_iter().filter_map(|rule| rule.get("host")?.as_str().map(str::to_owned)).collect()
    };
    if let Some(before) = before.map(of)
        && before != of(after)
    {
        found.push(Risk::Hosts(before, of(after)));
    }
}

/// The sizes whose fall is a risk, by kind.
const SIZES: [(&str, &str, &str); 4] = [
    ("autoscaling", "HorizontalPodAutoscaler", "/spec/minReplicas"),
    ("autoscaling", "HorizontalPodAutoscaler", "/spec/maxReplicas"),
    ("policy", "PodDisruptionBudget", "/spec/minAvailable"),
    ("", "PersistentVolumeClaim", "/spec/resources/requests/storage"),
];

fn shrinking(key: &ObjectKey, before: &Value, after: &Value, found: &mut Vec<Risk>) {
    for (group, kind, pointer) in SIZES {
        let of = |body: &Value| body.pointer(pointer).filter(|_| key.group == group && key.kind == kind).cloned();
        let (Some(before), Some(after)) = (of(before), of(after)) else { continue };
        let (was, is) = (quantity(&before), quantity(&after));
        if was.zip(is).is_some_and(|(was, is)| is < was) {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            found.push(Risk::Shrinks(pointer, text(&before), text(&after)));
        }
    }
}

/// Reads a number, a percentage, or a quantity of Kubernetes such as `200Gi`. Percentages compare only with each other,
/// and a number that is compared with one of them is not a smaller size.
fn quantity(value: &Value) -> Option<f64> {
    const UNITS: [(&str, f64); 13] = [
        ("Ki", 1_024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("m", 0.001),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("%", 1.0),
        ("", 1.0),
    ];
    let Some(text) = value.as_str() else { return value.as_f64() };
    UNITS.iter().find_map(|(unit, size)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * size))
}

/// The versions that a CRD serves.
fn served(body: &Value) -> BTreeSet<&str> {
    let versions = body.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let is_served = |version: &&Value| version.get("served").and_then(Value::as_bool) != Some(false);
    versions.filter(is_served).filter_map(|version| version.get("name")?.as_str()).collect()
}

/// The fields that the server never lets change, by kind. An object whose `immutable` field is `true` has more of them.
const IMMUTABLE: [(&str, &str, &[&str]); 15] = [
    ("apps", "Deployment", &["/spec/selector"]),
    ("apps", "DaemonSet", &["/spec/selector"]),
    ("apps", "ReplicaSet", &["/spec/selector"]),
    (
        "apps",
        "StatefulSet",
        &["/spec/selector", "/spec/serviceName", "/spec/podManagementPolicy", "/spec/volumeClaimTemplates"],
    ),
    ("batch", "Job", &["/spec/selector", "/spec/template", "/spec/completionMode"]),
    ("", "PersistentVolumeClaim", &["/spec/storageClassName", "/spec/volumeName", "/spec/accessModes"]),
    ("", "Service", &["/spec/clusterIP"]),
    ("rbac.authorization.k8s.io", "RoleBinding", &["/roleRef"]),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", &["/roleRef"]),
    ("storage.k8s.io", "StorageClass", &["/provisioner", "/parameters", "/reclaimPolicy", "/volumeBindingMode"]),
    ("scheduling.k8s.io", "PriorityClass", &["/value", "/preemptionPolicy"]),
    ("", "Secret", &["/type"]),
    ("apiextensions.k8s.io", "CustomResourceDefinition", &["/spec/group", "/spec/scope", "/spec/names/kind"]),
    ("networking.k8s.io", "IngressClass", &["/spec/controller"]),
    ("node.k8s.io", "RuntimeClass", &["/handler"]),
];

/// The immutable fields that both objects state with different values.
fn immutable(key: &ObjectKey, before: &Value, after: &Value) -> impl Iterator<Item = &'static str> {
    let row = IMMUTABLE.iter().find(|(group, kind, _)| key.group == *group && key.kind == *kind);
    let is_frozen = key.group.is_empty()
        && matches!(key.kind.as_str(), "ConfigMap" | "Secret")
        && before.get("immutable").and_then(Value::as_bool) == Some(true);
    let frozen: &[&'static str] = if is_frozen { &["/data", "/binaryData", "/immutable"] } else { &[] };
    let fields = row.into_iter().flat_map(|(_, _, fields)| fields.iter()).chain(frozen);
    let changed = fields.filter(|pointer| match (before.pointer(pointer), after.pointer(pointer)) {
        (Some(before), Some(after)) => before != after,
        (Some(_), None) => is_frozen,
        (None, _) => false,
    });
    changed.copied().collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn key(group: &str, kind: &str) -> ObjectKey {
        ObjectKey { group: group.into(), kind: kind.into(), namespace: Some("x".into()), name: "web".into() }
    }

    fn change(group: &str, kind: &str, before: &Value, after: &Value) -> Vec<Risk> {
        let some = |body: &'_ Value| if body.is_null() { None } else { Some(body.clone()) };
        risks(&key(group, kind), some(before).as_ref(), some(after).as_ref())
    }

    fn deployment(pod: &Value) -> Value {
        json!({"spec": {"template": {"spec": pod}}})
    }

    #[test]
    fn removals_that_take_data_availability_or_protection_are_risks() {
        let body = json!({"spec": {}});
        for (group, kind, expected) in [
            ("", "PersistentVolumeClaim", Some(Weight::High)),
            ("", "Namespace", Some(Weight::High)),
            ("apps", "StatefulSet", Some(Weight::High)),
            ("apiextensions.k8s.io", "CustomResourceDefinition", Some(Weight::High)),
            ("networking.k8s.io", "NetworkPolicy", Some(Weight::Medium)),
            ("policy", "PodDisruptionBudget", Some(Weight::Medium)),
            ("", "ResourceQuota", Some(Weight::Medium)),
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", Some(Weight::Medium)),
            ("", "ConfigMap", None),
            ("apps", "Deployment", None),
        ] {
            let expected: Vec<Risk> = expected.map(Risk::Removal).into_iter().collect();
            assert_eq!(change(group, kind, &body, &Value::Null), expected, "{kind}");
        }
    }

    #[test]
    fn fewer_replicas_and_none_are_risks() {
        let of = |count: u64| json!({"spec": {"replicas": count}});
        assert_eq!(change("apps", "Deployment", &of(3), &of(0)), [Risk::NoReplicas(3)]);
        assert_eq!(change("apps", "StatefulSet", &of(3), &of(1)), [Risk::FewerReplicas(3, 1)]);
        for (before, after) in [(of(0), of(0)), (of(1), of(3)), (Value::Null, of(0)), (of(3), json!({"spec": {}}))] {
            assert_eq!(change("apps", "Deployment", &before, &after), [], "{before} {after}");
        }
    }

    #[test]
    fn a_smaller_size_is_a_risk() {
        for (kind, pointer, before, after, is_risk) in [
            ("HorizontalPodAutoscaler", "/spec/minReplicas", json!(3), json!(2), true),
            ("HorizontalPodAutoscaler", "/spec/maxReplicas", json!(3), json!(4), false),
            ("PodDisruptionBudget", "/spec/minAvailable", json!("50%"), json!("25%"), true),
            ("PodDisruptionBudget", "/spec/minAvailable", json!(2), json!(2), false),
            ("PersistentVolumeClaim", "/spec/resources/requests/storage", json!("200Gi"), json!("1000Mi"), true),
            ("PersistentVolumeClaim", "/spec/resources/requests/storage", json!("1Ti"), json!("2000Gi"), false),
            ("PersistentVolumeClaim", "/spec/resources/requests/storage", json!("much"), json!("1Gi"), false),
            ("ConfigMap", "/spec/minReplicas", json!(3), json!(2), false),
        ] {
            let of = |value: &Value| {
                let names: Vec<&str> = pointer.split('/').skip(1).collect();
                names.iter().rev().fold(value.clone(), |inner, name| json!({ *name: inner }))
            };
            let group = SIZES.iter().find(|(_, sized, _)| *sized == kind).map_or("", |(group, ..)| group);
            let found = change(group, kind, &of(&before), &of(&after));
            assert_eq!(found.iter().any(|risk| matches!(risk, Risk::Shrinks(..))), is_risk, "{kind} {before} {after}");
        }
    }

    #[test]
    fn a_crd_that_no_longer_serves_a_version_is_a_risk() {
        let crd = |versions: &Value| json!({"spec": {"versions": versions}});
        let both = crd(&json!([{"name": "v1", "served": true}, {"name": "v2", "served": true}]));
        let one = crd(&json!([{"name": "v1", "served": false}, {"name": "v2", "served": true}]));
        let of =
            |before: &Value, after: &Value| change("apiextensions.k8s.io", "CustomResourceDefinition", before, after);
        assert_eq!(of(&both, &one), [Risk::VersionEnds("v1".to_owned())]);
        assert_eq!(of(&one, &both), []);
    }

    #[test]
    fn images_that_move_are_risks_where_they_are_new() {
        let pod = |images: &[&str]| {
            let containers: Vec<Value> = images.iter().map(|image| json!({"name": "a", "image": image})).collect();
            deployment(&json!({"containers": containers}))
        };
        for (image, is_risk) in [
            ("web", true),
            ("web:latest", true),
            ("registry:5000/web", true),
            ("registry:5000/web:latest", true),
            ("web:1.2", false),
            ("registry:5000/web:1.2", false),
            ("web@sha256:00", false),
            ("web:latest@sha256:00", false),
        ] {
            let expected: Vec<Risk> = is_risk.then(|| Risk::MovingImage(image.to_owned())).into_iter().collect();
            assert_eq!(change("apps", "Deployment", &Value::Null, &pod(&[image])), expected, "{image}");
            assert_eq!(change("apps", "Deployment", &pod(&[image]), &pod(&[image])), [], "{image}");
        }
        let cron = |image: &str| json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"initContainers": [{"image": image}]}}}}}});
        assert_eq!(change("batch", "CronJob", &cron("a:1"), &cron("a")), [Risk::MovingImage("a".to_owned())]);
    }

    #[test]
    fn access_to_the_node_is_a_risk_where_it_is_new() {
        let plain = deployment(&json!({"containers": [{"image": "a:1"}]}));
        for (pod, power) in [
            (json!({"hostNetwork": true}), "hostNetwork"),
            (json!({"hostPID": true}), "hostPID"),
            (json!({"hostIPC": true}), "hostIPC"),
            (json!({"containers": [{"securityContext": {"privileged": true}}]}), "privileged"),
            (json!({"containers": [{"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}]}), "capabilities"),
            (json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), "hostPath"),
        ] {
            let after = deployment(&pod);
            assert_eq!(change("apps", "DaemonSet", &plain, &after), [Risk::NodeAccess(power)]);
            assert_eq!(change("apps", "DaemonSet", &after, &after), []);
            assert_eq!(change("apps", "DaemonSet", &after, &plain), []);
        }
    }

    #[test]
    fn wider_roles_and_bindings_in_the_whole_cluster_are_risks() {
        let role = |resources: &[&str], verbs: &[&str]| json!({"rules": [{"resources": resources, "verbs": verbs}]});
        let (narrow, wide) = (role(&["pods"], &["get"]), role(&["*"], &["*"]));
        let rbac = "rbac.authorization.k8s.io";
        assert_eq!(change(rbac, "ClusterRole", &narrow, &wide), [Risk::Wildcard("resources"), Risk::Wildcard("verbs")]);
        assert_eq!(change(rbac, "Role", &wide, &wide), []);
        let bound = |role: &str, names: &[&str]| {
            let subjects: Vec<Value> = names.iter().map(|name| json!({"kind": "User", "name": name})).collect();
            json!({"roleRef": {"name": role}, "subjects": subjects})
        };
        let kind = "ClusterRoleBinding";
        let risk = || Risk::ClusterBinding("admin".to_owned());
        assert_eq!(change(rbac, kind, &Value::Null, &bound("admin", &["a"])), [risk()]);
        assert_eq!(change(rbac, kind, &bound("admin", &["a"]), &bound("admin", &["a", "b"])), [risk()]);
        assert_eq!(change(rbac, kind, &bound("admin", &["a", "b"]), &bound("admin", &["a"])), []);
        let other = change(rbac, kind, &bound("view", &["a"]), &bound("admin", &["a"]));
        assert_eq!(other, [risk(), Risk::Immutable("/roleRef")]);
    }

    #[test]
    fn what_a_service_opens_and_selects_is_a_risk() {
        let of = |kind: &str, app: &str| json!({"spec": {"type": kind, "selector": {"app": app}}});
        let types = |a: &str, b: &str| Risk::ServiceType(a.to_owned(), b.to_owned());
        let after = of("LoadBalancer", "a");
        assert_eq!(change("", "Service", &of("ClusterIP", "a"), &after), [types("ClusterIP", "LoadBalancer")]);
        assert_eq!(change("", "Service", &Value::Null, &after), [types("ClusterIP", "LoadBalancer")]);
        assert_eq!(change("", "Service", &after, &of("LoadBalancer", "b")), [Risk::ServiceSelector]);
        assert_eq!(change("", "Service", &Value::Null, &json!({"spec": {}})), []);
    }

    #[test]
    fn immutable_fields_are_risks_where_both_state_them() {
        let of = |pointer: &str, value: &Value| {
            let names: Vec<&str> = pointer.split('/').skip(1).collect();
            names.iter().rev().fold(value.clone(), |inner, name| json!({ *name: inner }))
        };
        for (group, kind, fields) in IMMUTABLE {
            for field in fields {
                let (one, two) = (of(field, &json!({"a": "1"})), of(field, &json!({"a": "2"})));
                assert!(change(group, kind, &one, &two).contains(&Risk::Immutable(field)), "{kind} {field}");
                for (before, after) in [(&one, &one), (&Value::Null, &one), (&one, &json!({})), (&json!({}), &one)] {
                    assert!(!change(group, kind, before, after).contains(&Risk::Immutable(field)), "{kind} {field}");
                }
            }
        }
        let frozen = |word: &str| json!({"immutable": true, "data": {"a": word}});
        assert_eq!(change("", "ConfigMap", &frozen("1"), &frozen("2")), [Risk::Immutable("/data")]);
        assert_eq!(change("", "ConfigMap", &json!({"data": {"a": "1"}}), &frozen("1")), []);
    }

    #[test]
    fn webhooks_that_fail_closed_and_hosts_that_change_are_risks() {
        let hook = |policy: &str| json!({"webhooks": [{"name": "deny.shop.dev", "failurePolicy": policy}]});
        let group = "admissionregistration.k8s.io";
        let risk = Risk::FailurePolicy("deny.shop.dev".to_owned());
        assert_eq!(
            change(group, "ValidatingWebhookConfiguration", &hook("Ignore"), &hook("Fail")),
            std::slice::from_ref(&risk)
        );
        let default = json!({"webhooks": [{"name": "deny.shop.dev"}]});
        assert_eq!(change(group, "MutatingWebhookConfiguration", &Value::Null, &default), [risk]);
        assert_eq!(change(group, "MutatingWebhookConfiguration", &hook("Fail"), &hook("Ignore")), []);
        let ingress = |host: &str| json!({"spec": {"rules": [{"host": host}]}});
        let hosts = Risk::Hosts(vec!["a".to_owned()], vec!["b".to_owned()]);
        assert_eq!(change("networking.k8s.io", "Ingress", &ingress("a"), &ingress("b")), [hosts]);
        assert_eq!(change("networking.k8s.io", "Ingress", &Value::Null, &ingress("b")), []);
    }

    /// Any small JSON, with names that the table knows.
    fn body() -> impl Strategy<Value = Value> {
        let names = prop::sample::select(vec![
            "spec",
            "template",
            "containers",
            "image",
            "rules",
            "verbs",
            "webhooks",
            "roleRef",
            "replicas",
            "volumes",
        ]);
        let leaf =
            prop_oneof![Just(Value::Null), any::<u64>().prop_map(Value::from), "[a*:]{0,3}".prop_map(Value::from)];
        leaf.prop_recursive(5, 30, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_object_that_does_not_change_has_no_risk_whatever_it_holds(
            body in body(),
            kind in prop::sample::select(vec![("apps", "Deployment"), ("", "Service"), ("batch", "Job"),
                ("rbac.authorization.k8s.io", "ClusterRole"), ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
                ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"), ("networking.k8s.io", "Ingress")]),
        ) {
            let key = key(kind.0, kind.1);
            prop_assert_eq!(risks(&key, Some(&body), Some(&body)), []);
            let sorted = risks(&key, None, Some(&body));
            prop_assert!(sorted.windows(2).all(|pair| pair[0].weight() <= pair[1].weight()));
        }
    }
}

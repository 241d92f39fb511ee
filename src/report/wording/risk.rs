//! The words for risks.

use crate::object::ident::ObjectKey;
use crate::plan::change::Change;
use crate::plan::risk::Risk;

/// Returns the risk of a change of the object `key`, to read after the name of the object.
pub(crate) fn risk(key: &ObjectKey, risk: &Risk) -> String {
    match risk {
        Risk::Removal(_) => format!("is deleted: {}", removal(key)),
        Risk::NoReplicas(before) => format!("replicas from {before} to 0: no pod is left"),
        Risk::FewerReplicas(before, after) => format!("replicas from {before} to {after}"),
        Risk::MovingImage(image) => format!("image {image} has no fixed version"),
        Risk::NodeAccess(field) => format!("gains {field}: it can reach into its node"),
        Risk::Wildcard(list) => format!("now grants * as {list}"),
        Risk::ClusterBinding(role) => format!("binds {role} in the whole cluster"),
        Risk::ServiceType(before, after) => format!("type from {before} to {after}"),
        Risk::ServiceSelector => "spec.selector changes: its traffic goes to other pods".to_owned(),
        Risk::Immutable(pointer) => {
            format!("{} is immutable: the object is deleted and created again", field(pointer))
        }
        Risk::Replaced => "is deleted and created again: a field is immutable".to_owned(),
        Risk::FailurePolicy(webhook) => format!("webhook {webhook} refuses requests when it does not answer"),
        Risk::Hosts(before, after) => format!("hosts from {} to {}", hosts(before), hosts(after)),
        Risk::Shrinks(pointer, before, after) => format!("{} from {before} to {after}", field(pointer)),
        Risk::VersionEnds(version) => format!("version {version} is no longer served"),
    }
}

/// Returns all risks of a change in one sentence without a full stop.
pub(crate) fn risks(change: &Change) -> String {
    let key = &change.ident.key;
    let lists = change.risks.iter().filter_map(|one| if let Risk::Wildcard(list) = one { Some(*list) } else { None });
    let lists: Vec<&str> = lists.collect();
    let is_other = |one: &&Risk| !matches!(one, Risk::Wildcard(_));
    let all = (!lists.is_empty()).then(|| format!("now grants * as {}", lists.join(" and ")));
    all.into_iter().chain(change.risks.iter().filter(is_other).map(|one| risk(key, one))).collect::<Vec<_>>().join("; ")
}

fn removal(key: &ObjectKey) -> &'static str {
    match key.kind.as_str() {
        "PersistentVolumeClaim" | "PersistentVolume" => "its data may go with it",
        "Namespace" => "everything in it goes with it",
        "StatefulSet" => "its pods end, and their data may go with them",
        "CustomResourceDefinition" => "all its custom resources go with it",
        "NetworkPolicy" => "the traffic that it blocked is open",
        "PodDisruptionBudget" => "evictions are no longer limited",
        "ResourceQuota" | "LimitRange" => "its limits end",
        _ => "what it refused is accepted",
    }
}

fn field(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

fn hosts(hosts: &[String]) -> String {
    if hosts.is_empty() { "none".to_owned() } else { hosts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::risk::Weight;

    #[test]
    fn every_risk_reads_after_the_name_of_its_object() {
        let key =
            |kind: &str| ObjectKey { group: String::new(), kind: kind.into(), namespace: None, name: "web".into() };
        let text = |text: &str| text.to_owned();
        for (kind, given, expected) in [
            ("Namespace", Risk::Removal(Weight::High), "is deleted: everything in it goes with it"),
            ("Deployment", Risk::NoReplicas(3), "replicas from 3 to 0: no pod is left"),
            ("Deployment", Risk::FewerReplicas(3, 1), "replicas from 3 to 1"),
            ("Pod", Risk::MovingImage(text("web:latest")), "image web:latest has no fixed version"),
            ("Pod", Risk::NodeAccess("hostPID"), "gains hostPID: it can reach into its node"),
            ("Role", Risk::Wildcard("verbs"), "now grants * as verbs"),
            ("ClusterRoleBinding", Risk::ClusterBinding(text("admin")), "binds admin in the whole cluster"),
            ("Service", Risk::ServiceType(text("ClusterIP"), text("NodePort")), "type from ClusterIP to NodePort"),
            (
                "Deployment",
                Risk::Immutable("/spec/selector"),
                "spec.selector is immutable: the object is deleted and created again",
            ),
            ("Ingress", Risk::Hosts(vec![], vec![text("a"), text("b")]), "hosts from none to a, b"),
            (
                "HorizontalPodAutoscaler",
                Risk::Shrinks("/spec/minReplicas", text("3"), text("2")),
                "spec.minReplicas from 3 to 2",
            ),
            ("CustomResourceDefinition", Risk::VersionEnds(text("v1")), "version v1 is no longer served"),
        ] {
            assert_eq!(risk(&key(kind), &given), expected);
        }
    }
}

//! Advice on fields that another manager owns.

use std::collections::BTreeSet;

use crate::object::refusal::FieldConflict;

/// Describes a conflict: each contested field, the manager that owns it, and the advice for each case.
#[must_use]
pub(crate) fn words(contested: &[FieldConflict]) -> String {
    let held: Vec<String> = contested.iter().map(|one| format!("{} is held by {}", one.field, one.manager)).collect();
    let remedies: BTreeSet<&str> = contested.iter().map(remedy).collect();
    let remedies: Vec<&str> = remedies.into_iter().collect();
    format!("{}: {}", held.join(", "), remedies.join("; "))
}

fn remedy(contested: &FieldConflict) -> &'static str {
    let FieldConflict { field, manager } = contested;
    match manager.as_str() {
        "clusterrole-aggregation-controller" => {
            "the server fills in the rules of an aggregated role, so remove `rules` from the manifest"
        }
        "kube-controller-manager" | "horizontal-pod-autoscaler" if field == ".spec.replicas" => {
            "an autoscaler sets it, so remove it from the manifest"
        }
        _ if field == ".spec.replicas" => {
            "someone scaled it, so leave it out of the manifest, or take it with `fields:` and `policy: force` in the \
             root's .ktor.yaml"
        }
        _ if is_known_tool(manager) => {
            "that tool applied it, so stop that tool from managing it, and name it in `adoptManagers:` of the root's .ktor.yaml"
        }
        _ => {
            "leave it out of the manifest, or say in `fields:` of the root's .ktor.yaml whether to leave it to that \
             manager (`policy: leave`) or to take it (`policy: force`)"
        }
    }
}

fn is_known_tool(manager: &str) -> bool {
    ["argocd", "flux", "helm", "kapp", "kubectl"]
        .iter()
        .any(|tool| crate::plan::field_rules::managers_of(tool).iter().any(|known| known == manager))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a3_a_conflict_names_the_remedy_of_its_case() {
        let said =
            |field: &str, manager: &str| words(&[FieldConflict { field: field.into(), manager: manager.into() }]);
        assert!(
            said(".spec.replicas", "kube-controller-manager")
                .starts_with(".spec.replicas is held by kube-controller-manager: an autoscaler")
        );
        assert!(said(".spec.replicas", "kubectl").contains("someone scaled it"));
        assert!(said(".rules", "clusterrole-aggregation-controller").contains("remove `rules`"));
        assert!(said(".data.a", "argocd-controller").contains("adoptManagers"));
        assert!(said(".data.a", "kubectl-patch").contains("policy: leave"));
        let both = [".a", ".b"].map(|field| FieldConflict { field: field.into(), manager: "x".into() });
        assert_eq!(words(&both).matches("policy: leave").count(), 1, "one remedy for both");
    }
}

//! The order in which objects are applied; cleanup runs it backwards.

use super::ident::ObjectKey;

/// A step of an apply. All objects of a wave are ready before the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Wave {
    /// Namespaces.
    Namespaces,
    /// CustomResourceDefinitions, until they are established.
    Definitions,
    /// Roles: a binding to a role that does not exist may be refused.
    Roles,
    /// Bindings: they may give this very identity the rights that it needs for the rest.
    Bindings,
    /// Quotas, limits, network policies and classes, by which a server judges and fills in what comes later.
    Limits,
    /// The objects that workloads refer to: service accounts, configuration, storage.
    Foundations,
    /// Everything else, custom resources among it.
    Workloads,
    /// Admission and aggregation, which could refuse the waves before.
    Webhooks,
}

impl Wave {
    /// Every wave, first to last.
    pub(crate) const ALL: [Self; 8] = [
        Self::Namespaces,
        Self::Definitions,
        Self::Roles,
        Self::Bindings,
        Self::Limits,
        Self::Foundations,
        Self::Workloads,
        Self::Webhooks,
    ];

    /// The wave of an object.
    pub(crate) fn of(key: &ObjectKey) -> Self {
        match (key.group.as_str(), key.kind.as_str()) {
            ("", "Namespace") => Self::Namespaces,
            ("apiextensions.k8s.io", "CustomResourceDefinition") => Self::Definitions,
            ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => Self::Webhooks,
            ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => Self::Roles,
            ("rbac.authorization.k8s.io", _) => Self::Bindings,
            ("storage.k8s.io" | "scheduling.k8s.io", _)
            | ("", "LimitRange" | "ResourceQuota")
            | ("networking.k8s.io", "NetworkPolicy" | "IngressClass")
            | ("node.k8s.io", "RuntimeClass")
            | ("resource.k8s.io", "DeviceClass") => Self::Limits,
            ("", "ConfigMap" | "Secret" | "ServiceAccount" | "PersistentVolume" | "PersistentVolumeClaim") => {
                Self::Foundations
            }
            _ => Self::Workloads,
        }
    }
}

/// A step of a cleanup: the waves backwards, custom resources before the workloads that may serve them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CleanupStep {
    /// Admission and aggregation.
    Webhooks,
    /// Custom resources, while their operator is still there to finish them.
    CustomResources,
    /// Workloads.
    Workloads,
    /// The objects that workloads refer to.
    Foundations,
    /// CustomResourceDefinitions.
    Definitions,
    /// Namespaces.
    Namespaces,
}

impl CleanupStep {
    /// Every step, first to last.
    pub(crate) const ALL: [Self; 6] = [
        Self::Webhooks,
        Self::CustomResources,
        Self::Workloads,
        Self::Foundations,
        Self::Definitions,
        Self::Namespaces,
    ];

    /// The step of an object; `builtin` says whether every cluster has its kind.
    pub(crate) fn of(key: &ObjectKey, builtin: impl Fn(&ObjectKey) -> bool) -> Self {
        match Wave::of(key) {
            Wave::Namespaces => Self::Namespaces,
            Wave::Definitions => Self::Definitions,
            Wave::Roles | Wave::Bindings | Wave::Limits | Wave::Foundations => Self::Foundations,
            Wave::Webhooks => Self::Webhooks,
            Wave::Workloads if builtin(key) => Self::Workloads,
            Wave::Workloads => Self::CustomResources,
        }
    }
}

/// Namespaces that belong to the cluster itself and are never deleted.
pub(crate) fn is_system_namespace(name: &str) -> bool {
    name == "default" || name.starts_with("kube-")
}

//! The order in which objects are applied. Cleanup uses the reverse order.

use super::ident::ObjectKey;

/// A step of an apply. All objects of a wave are ready before the next wave begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Wave {
    /// Namespaces.
    Namespaces,
    /// CRDs. The wave ends when they are established.
    Definitions,
    /// Roles. They come before bindings, because the API server may refuse a binding to a role that does not exist.
    Roles,
    /// Bindings. They may give ktor's own identity the rights that later waves need.
    Bindings,
    /// Quotas, limits, network policies and classes. They affect the objects of later waves.
    Limits,
    /// The objects that workloads refer to: service accounts, configuration and storage.
    Foundations,
    /// All other objects, including custom resources.
    Workloads,
    /// Webhooks, admission policies and aggregated APIs. They come last, because they could refuse objects of earlier
    /// waves.
    Webhooks,
}

impl Wave {
    /// All waves, in order.
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

/// A step of a cleanup. The steps are the waves in reverse order. Custom resources are deleted before workloads,
/// because a workload may be their operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CleanupStep {
    /// Webhooks, admission policies and aggregated APIs.
    Webhooks,
    /// Custom resources. Their operator still runs and can finish them.
    CustomResources,
    /// Workloads.
    Workloads,
    /// The objects that workloads refer to, and the roles, bindings and limits.
    Foundations,
    /// CRDs.
    Definitions,
    /// Namespaces.
    Namespaces,
}

impl CleanupStep {
    /// All steps, in order.
    pub(crate) const ALL: [Self; 6] = [
        Self::Webhooks,
        Self::CustomResources,
        Self::Workloads,
        Self::Foundations,
        Self::Definitions,
        Self::Namespaces,
    ];

    /// The step of an object. `builtin` returns `true` if every cluster has the kind of the object.
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

/// Returns `true` if the namespace belongs to the cluster itself. Such a namespace is never deleted.
pub(crate) fn is_system_namespace(name: &str) -> bool {
    name == "default" || name.starts_with("kube-")
}

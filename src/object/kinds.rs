//! The known kinds, with their plural, scope and served versions. They come from discovery, a built-in table and
//! desired CRDs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::Value;

use super::ident::{GroupKind, ObjectKey};
use super::live::Live;
use super::name;

/// A kind as the API server serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The group and the kind.
    pub group_kind: GroupKind,
    /// The name of the resource in URLs, for example `deployments`.
    pub plural: String,
    /// `true` if objects of the kind are in a namespace.
    pub namespaced: bool,
    /// The served versions, with the preferred version first. The list is never empty.
    pub versions: Vec<String>,
    /// `true` if objects of the kind can be listed, read, created, changed and deleted. `false` for kinds such as
    /// reviews and bindings.
    pub manageable: bool,
}

impl Kind {
    /// The same kind, with the given version as its only version.
    #[must_use]
    pub fn at_version(&self, version: &str) -> Self {
        Self { versions: vec![version.to_owned()], ..self.clone() }
    }

    /// The key of a live object of this kind.
    pub fn key_of(&self, live: &Live) -> ObjectKey {
        let text = |field: &str| live.body.get("metadata").and_then(|metadata| metadata.get(field)?.as_str());
        ObjectKey {
            group: self.group_kind.group.clone(),
            kind: self.group_kind.kind.clone(),
            namespace: text("namespace").filter(|namespace| !namespace.is_empty()).map(str::to_owned),
            name: text("name").unwrap_or_default().to_owned(),
        }
    }
}

/// The kinds that are known to a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    by_group_kind: BTreeMap<GroupKind, Kind>,
    /// The groups whose server did not answer discovery. If a kind of such a group is missing, this proves nothing.
    unavailable: BTreeSet<String>,
}

impl Kinds {
    /// Makes the set from kinds and from the groups whose discovery failed.
    pub fn new(kinds: impl IntoIterator<Item = Kind>, unavailable: BTreeSet<String>) -> Self {
        let by_group_kind = kinds.into_iter().map(|kind| (kind.group_kind.clone(), kind)).collect();
        Self { by_group_kind, unavailable }
    }

    /// The kinds that every cluster has, for use without a cluster.
    pub fn builtin() -> &'static Self {
        static BUILTIN_KINDS: LazyLock<Kinds> = LazyLock::new(Kinds::named);
        &BUILTIN_KINDS
    }

    /// Makes the set of the kinds that [`BUILTIN`] names.
    fn named() -> Self {
        let kinds = BUILTIN.iter().flat_map(|(group, version, namespaced, names)| {
            names.split_whitespace().map(move |name| {
                let (kind, plural) = match name.split_once(':') {
                    Some((kind, plural)) => (kind, plural.to_owned()),
                    None => (name, plural_of(name)),
                };
                Kind {
                    group_kind: GroupKind::new(*group, kind),
                    plural,
                    namespaced: *namespaced,
                    versions: vec![(*version).to_owned()],
                    manageable: true,
                }
            })
        });
        Self::new(kinds, BTreeSet::new())
    }

    /// Returns `true` if the kind is built into the API server.
    pub(crate) fn is_builtin(group_kind: &GroupKind) -> bool {
        let is_named =
            |names: &str| names.split_whitespace().any(|name| name.split(':').next() == Some(&group_kind.kind));
        BUILTIN.iter().any(|(group, _, _, names)| *group == group_kind.group && is_named(names))
    }

    /// The kind, if it is known.
    pub fn get(&self, group_kind: &GroupKind) -> Option<&Kind> {
        self.by_group_kind.get(group_kind)
    }

    /// Every known kind, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.by_group_kind.values()
    }

    /// Returns `true` if discovery of the group succeeded. A kind of the group that is not in this set then does not
    /// exist.
    pub fn is_conclusive_for(&self, group: &str) -> bool {
        !self.unavailable.contains(group)
    }

    /// Adds every built-in kind that is missing. The scope of a built-in kind, and so the form of its keys, then does
    /// not depend on which server answers discovery.
    #[must_use]
    pub(crate) fn or_builtin(mut self) -> Self {
        for (group_kind, kind) in &Self::builtin().by_group_kind {
            if !self.by_group_kind.contains_key(group_kind) {
                self.by_group_kind.insert(group_kind.clone(), kind.clone());
            }
        }
        self
    }

    /// The groups whose server did not answer discovery.
    pub(crate) fn unavailable(&self) -> impl Iterator<Item = &str> {
        self.unavailable.iter().map(String::as_str)
    }

    /// Adds the kinds that the given CRDs define, unless they are known already.
    pub(crate) fn add_definitions<'a>(&mut self, definitions: impl IntoIterator<Item = &'a Value>) {
        for kind in definitions.into_iter().filter_map(defined_kind) {
            self.by_group_kind.entry(kind.group_kind.clone()).or_insert(kind);
        }
    }
}

/// The kind that a CRD defines. Returns `None` if the CRD is incomplete, serves no version, or contains a name that is
/// not valid in a URL path.
pub fn defined_kind(definition: &Value) -> Option<Kind> {
    name::check_definition(definition).ok()?;
    let spec = definition.get("spec")?;
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str);
    let versions: Vec<String> = spec
        .get("versions")?
        .as_array()?
        .iter()
        .filter(|version| version.get("served").and_then(Value::as_bool).unwrap_or(false))
        .filter_map(|version| Some(version.get("name")?.as_str()?.to_owned()))
        .collect();
    if versions.is_empty() {
        return None;
    }
    Some(Kind {
        group_kind: GroupKind::new(text("/group")?, text("/names/kind")?),
        plural: text("/names/plural")?.to_owned(),
        namespaced: text("/scope")? == "Namespaced",
        versions,
        manageable: true,
    })
}

fn plural_of(kind: &str) -> String {
    let lower = kind.to_lowercase();
    if lower.ends_with('s') {
        lower + "es"
    } else if let Some(stem) = lower.strip_suffix('y') {
        format!("{stem}ies")
    } else {
        lower + "s"
    }
}

/// The built-in kinds: group, version, scope (`true` for namespaced), and kinds. A kind with an irregular plural has
/// the form `Kind:plural`.
const BUILTIN: &[(&str, &str, bool, &str)] = &[
    ("", "v1", false, "Namespace Node PersistentVolume"),
    (
        "",
        "v1",
        true,
        "ConfigMap Endpoints:endpoints Event LimitRange PersistentVolumeClaim Pod PodTemplate ReplicationController \
         ResourceQuota Secret Service ServiceAccount",
    ),
    ("apps", "v1", true, "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet"),
    ("batch", "v1", true, "CronJob Job"),
    ("autoscaling", "v2", true, "HorizontalPodAutoscaler"),
    ("networking.k8s.io", "v1", true, "Ingress NetworkPolicy"),
    ("networking.k8s.io", "v1", false, "IngressClass IPAddress ServiceCIDR"),
    ("policy", "v1", true, "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io", "v1", true, "Role RoleBinding"),
    ("rbac.authorization.k8s.io", "v1", false, "ClusterRole ClusterRoleBinding"),
    ("storage.k8s.io", "v1", false, "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass"),
    ("storage.k8s.io", "v1", true, "CSIStorageCapacity"),
    ("scheduling.k8s.io", "v1", false, "PriorityClass"),
    ("node.k8s.io", "v1", false, "RuntimeClass"),
    ("coordination.k8s.io", "v1", true, "Lease"),
    ("discovery.k8s.io", "v1", true, "EndpointSlice"),
    ("certificates.k8s.io", "v1", false, "CertificateSigningRequest"),
    ("apiextensions.k8s.io", "v1", false, "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "v1", false, "APIService"),
    (
        "admissionregistration.k8s.io",
        "v1",
        false,
        "MutatingWebhookConfiguration ValidatingWebhookConfiguration ValidatingAdmissionPolicy \
         ValidatingAdmissionPolicyBinding MutatingAdmissionPolicy MutatingAdmissionPolicyBinding",
    ),
    ("flowcontrol.apiserver.k8s.io", "v1", false, "FlowSchema PriorityLevelConfiguration"),
    ("resource.k8s.io", "v1", false, "DeviceClass ResourceSlice"),
    ("resource.k8s.io", "v1", true, "ResourceClaim ResourceClaimTemplate"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn builtin_plurals_follow_the_servers_names() {
        let kinds = Kinds::builtin();
        for (group, kind, plural) in [
            ("", "Endpoints", "endpoints"),
            ("networking.k8s.io", "Ingress", "ingresses"),
            ("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
            ("storage.k8s.io", "CSIStorageCapacity", "csistoragecapacities"),
            ("scheduling.k8s.io", "PriorityClass", "priorityclasses"),
            ("resource.k8s.io", "DeviceClass", "deviceclasses"),
        ] {
            assert_eq!(kinds.get(&GroupKind::new(group, kind)).unwrap().plural, plural);
        }
    }

    #[test]
    fn a_definition_gives_its_kind_unless_nothing_is_served() {
        let mut crd = json!({"spec": {"group": "shop.dev", "scope": "Namespaced",
            "names": {"kind": "Till", "plural": "tills"}, "versions": [{"name": "v1", "served": true}]}});
        let kind = defined_kind(&crd).unwrap();
        assert_eq!((kind.plural.as_str(), kind.namespaced, kind.versions), ("tills", true, vec!["v1".to_owned()]));
        crd["spec"]["versions"][0]["served"] = json!(false);
        assert_eq!(defined_kind(&crd), None);
    }
}

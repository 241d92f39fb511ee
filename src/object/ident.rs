//! The identity of objects: keys, and keys with a version.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

/// The identity of an object: its group, kind, namespace and name. The version is not part of it.
///
/// Keys are ordered by group, kind, namespace (cluster-scoped first) and name, so that output is stable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The API group. It is empty for the core group.
    pub group: String,
    /// The kind, for example `Deployment`.
    pub kind: String,
    /// The namespace. It is `None` for a cluster-scoped object.
    pub namespace: Option<String>,
    /// The name, from `metadata.name`.
    pub name: String,
}

impl ObjectKey {
    /// The group and the kind without the rest.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind { group: self.group.clone(), kind: self.kind.clone() }
    }

    /// The key as one word, for example `Deployment.apps/shop/web` or `Namespace/shop`. [`ObjectKey::from_str`] parses
    /// it.
    pub fn word(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}/{namespace}/{}", self.group_kind(), self.name),
            None => format!("{}/{}", self.group_kind(), self.name),
        }
    }

    /// The key of the same object in another group, if every API server serves the kind in two groups. `Event` is the
    /// only such kind.
    #[must_use]
    pub fn cohabiting(&self) -> Option<Self> {
        let group = match (self.group.as_str(), self.kind.as_str()) {
            ("", "Event") => "events.k8s.io",
            ("events.k8s.io", "Event") => "",
            _ => return None,
        };
        Some(Self { group: group.to_owned(), ..self.clone() })
    }

    /// The key of the namespace that the object is in, or `None` for a cluster-scoped object.
    #[must_use]
    pub(crate) fn namespace_key(&self) -> Option<Self> {
        let name = self.namespace.clone()?;
        Some(Self { group: String::new(), kind: "Namespace".to_owned(), namespace: None, name })
    }

    /// Returns `true` if this is a core `Namespace`.
    pub(crate) fn is_namespace(&self) -> bool {
        self.group.is_empty() && self.kind == "Namespace"
    }

    /// Returns `true` if this is a `CustomResourceDefinition`.
    pub(crate) fn is_crd(&self) -> bool {
        self.group == "apiextensions.k8s.io" && self.kind == "CustomResourceDefinition"
    }
}

/// Formats the key for people, for example `Deployment.apps shop/web` or `Namespace shop`.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " {namespace}/{}", self.name),
            None => write!(f, " {}", self.name),
        }
    }
}

/// The error for a text that is not an object key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not name an object: write kind.group/namespace/name")]
pub struct InvalidKey(String);

/// Parses the form of [`ObjectKey::word`] and the form of `Display`, which has a space after the kind instead of a
/// slash.
impl FromStr for ObjectKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.replacen(' ', "/", 1);
        let parts: Vec<&str> = parts.split('/').collect();
        let (kind, namespace, name) = match parts[..] {
            [kind, name] => (kind, None, name),
            [kind, namespace, name] => (kind, Some(namespace), name),
            _ => return Err(InvalidKey(text.to_owned())),
        };
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        if kind.is_empty() || name.is_empty() || namespace == Some("") {
            return Err(InvalidKey(text.to_owned()));
        }
        Ok(Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

/// An API group and a kind in this group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKind {
    /// The API group. It is empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
}

impl GroupKind {
    /// Makes a group kind from a group and a kind.
    pub fn new(group: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { group: group.into(), kind: kind.into() }
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

/// A key and the API version that the object was written with.
///
/// The serialized form is an entry of the state: `{"group","kind","name"[,"namespace"],"version"}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "IdentRecord")]
pub struct Ident {
    /// The key of the object.
    pub key: ObjectKey,
    /// The version within the group, for example `v1`.
    pub version: String,
}

impl Ident {
    /// The value of `apiVersion`, for example `v1` for the core group and `apps/v1` for another group.
    pub fn api_version(&self) -> String {
        if self.key.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.key.group, self.version) }
    }
}

/// Returns `true` if the group is not part of Kubernetes. The kinds of such a group usually come from CRDs.
pub fn is_custom(group: &str) -> bool {
    !BUILTIN_GROUPS.contains(&group)
}

/// The groups that the API server itself serves, in this or an older release. Some custom groups end in `k8s.io` too,
/// so the suffix is not enough to recognize them.
const BUILTIN_GROUPS: [&str; 24] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// Splits an `apiVersion` into group and version. If there is nothing before the slash, the slash stays in the version.
/// No API server accepts such a version.
pub(crate) fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').filter(|(group, _)| !group.is_empty()).unwrap_or(("", api_version))
}

/// The parts of an [`Ident`] by reference, for serialization into the state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdentRef<'a> {
    /// The key of the object.
    pub key: &'a ObjectKey,
    /// The version within the group.
    pub version: &'a str,
}

impl Serialize for IdentRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// The entry, with its fields in alphabetical order.
        #[derive(Serialize)]
        struct Record<'a> {
            group: &'a str,
            kind: &'a str,
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            namespace: Option<&'a str>,
            version: &'a str,
        }
        let ObjectKey { group, kind, namespace, name } = self.key;
        Record { group, kind, name, namespace: namespace.as_deref(), version: self.version }.serialize(serializer)
    }
}

impl Serialize for Ident {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        IdentRef { key: &self.key, version: &self.version }.serialize(serializer)
    }
}

/// An entry of the state, as the input of deserialization.
#[derive(Deserialize)]
struct IdentRecord {
    group: String,
    kind: String,
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    version: String,
}

impl From<IdentRecord> for Ident {
    fn from(record: IdentRecord) -> Self {
        let IdentRecord { group, kind, name, namespace, version } = record;
        Self { key: ObjectKey { group, kind, namespace: namespace.filter(|n| !n.is_empty()), name }, version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ident_is_recorded_with_sorted_keys_and_without_an_empty_namespace() {
        let text = r#"{"group":"","kind":"Namespace","name":"demo-ns","version":"v1"}"#;
        let ident: Ident = serde_json::from_str(text).unwrap();
        assert_eq!(ident.key.namespace, None);
        assert_eq!(ident.api_version(), "v1");
        assert_eq!(serde_json::to_string(&ident).unwrap(), text);
    }

    #[test]
    fn a_keys_word_is_read_back() {
        for word in ["Deployment.apps/shop/web", "Namespace/shop", "ClusterRole.rbac.authorization.k8s.io/system:a"] {
            let key: ObjectKey = word.parse().unwrap();
            assert_eq!(key.word(), word);
            assert_eq!(key.to_string().parse(), Ok(key), "{word}");
        }
        for text in ["", "ConfigMap", "ConfigMap/", "/x", "ConfigMap//x", "ConfigMap/a/b/c"] {
            assert!(text.parse::<ObjectKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn keys_read_like_kubectl() {
        let key = ObjectKey {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        };
        assert_eq!(key.to_string(), "Deployment.apps shop/web");
    }
}

//! Paths and queries of requests. This is the only place that makes them, from checked parts, and that knows their
//! shape.
//!
//! **Invariant:** a path that is made here is the path of one collection or one object. It never leads to a subresource
//! or a proxy, and never carries another query. This holds for any content of manifests, CRDs, the state and discovery.

use std::fmt::Write as _;

use crate::object::kinds::Kind;
use crate::object::name::{RESERVED_PLURALS, Rule};

/// The subresources of a namespace. They are at the position of the plural of a namespaced kind.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["finalize", "status"];

/// The path of a collection or of one object, or the reason why there is no such path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResourcePath(Result<String, String>);

impl ResourcePath {
    /// The collection of a kind in one version: all objects, or the objects of one namespace.
    pub(super) fn collection(kind: &Kind, version: &str, namespace: Option<&str>) -> Self {
        Self::resources(&kind.group_kind.group, version, namespace, &kind.plural)
    }

    /// The collection of Secrets in a namespace.
    pub(super) fn secrets(namespace: &str) -> Self {
        Self::resources("", "v1", Some(namespace), "secrets")
    }

    /// The collection of Leases in a namespace.
    pub(super) fn leases(namespace: &str) -> Self {
        Self::resources("coordination.k8s.io", "v1", Some(namespace), "leases")
    }

    /// The collection of namespaces.
    pub(super) fn namespaces() -> Self {
        Self::resources("", "v1", None, "namespaces")
    }

    fn resources(group: &str, version: &str, namespace: Option<&str>, plural: &str) -> Self {
        Self(resources(group, version, namespace, plural))
    }

    /// The object with this name in the collection.
    pub(super) fn named(&self, name: &str) -> Self {
        Self(self.0.clone().and_then(|path| Ok(format!("{path}/{}", escape(checked("name", name)?)))))
    }

    /// The path without a query.
    pub(super) fn target(&self) -> Target {
        self.with::<&str>(&[])
    }

    /// The path with a query.
    pub(super) fn with<V: AsRef<str>>(&self, query: &[(&str, V)]) -> Target {
        let query = query.iter().enumerate().map(|(index, (name, value))| {
            format!("{}{name}={}", if index == 0 { '?' } else { '&' }, escape(value.as_ref()))
        });
        Target(self.0.clone().map(|path| path + &query.collect::<String>()))
    }

    /// The path itself, or the reason why there is no such path.
    pub(super) fn checked(self) -> Result<Self, String> {
        self.0.map(|path| Self(Ok(path)))
    }
}

/// The path and query of one request, or the reason why there is no such path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target(Result<String, String>);

impl Target {
    /// The version of the server.
    pub(super) fn version() -> Self {
        Self(Ok("/version".to_owned()))
    }

    /// The versions of the core group.
    pub(super) fn core() -> Self {
        Self(Ok("/api".to_owned()))
    }

    /// All groups except the core group.
    pub(super) fn groups() -> Self {
        Self(Ok("/apis".to_owned()))
    }

    /// The kinds of one group in one version.
    pub(super) fn group_version(group: &str, version: &str) -> Self {
        Self(group_version(group, version))
    }

    /// The path and query as text.
    pub(super) fn text(&self) -> Result<&str, &str> {
        self.0.as_deref().map_err(String::as_str)
    }

    /// Returns `true` if the target is a namespace object, and not an object in a namespace.
    pub(super) fn is_namespace(&self) -> bool {
        let namespace = Resource { group: "", plural: "namespaces", is_namespaced: false };
        let path = self.text().ok().and_then(|text| text.split('?').next());
        path.and_then(route) == Some(Route::Object(namespace))
    }

    /// A target with any text.
    #[cfg(test)]
    pub(super) fn raw(text: &str) -> Self {
        Self(Ok(text.to_owned()))
    }
}

impl From<ResourcePath> for Target {
    fn from(path: ResourcePath) -> Self {
        path.target()
    }
}

fn resources(group: &str, version: &str, namespace: Option<&str>, plural: &str) -> Result<String, String> {
    let mut path = group_version(group, version)?;
    if let Some(namespace) = namespace {
        path = format!("{path}/namespaces/{}", escape(checked("namespace", namespace)?));
    }
    let is_reserved = RESERVED_PLURALS.contains(&plural)
        || group.is_empty() && namespace.is_some() && NAMESPACE_SUBRESOURCES.contains(&plural);
    if is_reserved || !is_plain(plural) {
        return Err(format!("there is no path for the resource {plural:?}"));
    }
    Ok(format!("{path}/{plural}"))
}

fn group_version(group: &str, version: &str) -> Result<String, String> {
    for (what, text) in [("group", group), ("version", version)] {
        let is_core = what == "group" && text.is_empty();
        if !is_core && !is_plain(text) {
            return Err(format!("there is no path for the API {what} {text:?}"));
        }
    }
    Ok(if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") })
}

fn checked<'a>(what: &str, text: &'a str) -> Result<&'a str, String> {
    if Rule::Segment.allows(text) { Ok(text) } else { Err(format!("there is no path for the {what} {text:?}")) }
}

/// Returns `true` if a group, version or plural needs no encoding in a path.
pub(super) fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !matches!(text, "" | "." | "..") && text.len() <= 253 && text.bytes().all(plain)
}

/// Percent-encodes all characters that are not allowed in a path segment or a query value.
pub(super) fn escape(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// The meaning of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// The version of the server, or its groups, versions or kinds.
    Discovery,
    /// The objects of a kind.
    Collection(Resource<'a>),
    /// One object.
    Object(Resource<'a>),
}

/// The kind in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resource<'a> {
    pub(super) group: &'a str,
    pub(super) plural: &'a str,
    pub(super) is_namespaced: bool,
}

/// Parses a path as the server does. Returns `None` if the path is not discovery, a collection or an object.
pub(super) fn route(path: &str) -> Option<Route<'_>> {
    let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let (group, rest) = match segments.as_slice() {
        ["version" | "api" | "apis"] => return Some(Route::Discovery),
        ["api", version, rest @ ..] if is_plain(version) => ("", rest),
        ["apis", group, version, rest @ ..] if is_plain(group) && is_plain(version) => (*group, rest),
        _ => return None,
    };
    let (is_namespaced, plural, name) = match *rest {
        [] => return Some(Route::Discovery),
        [plural] => (false, plural, None),
        [plural, name] => (false, plural, Some(name)),
        ["namespaces", namespace, plural] if is_encoded(namespace) => (true, plural, None),
        ["namespaces", namespace, plural, name] if is_encoded(namespace) => (true, plural, Some(name)),
        _ => return None,
    };
    let is_reserved = RESERVED_PLURALS.contains(&plural)
        || group.is_empty() && is_namespaced && NAMESPACE_SUBRESOURCES.contains(&plural);
    if is_reserved || !is_plain(plural) {
        return None;
    }
    let resource = Resource { group, plural, is_namespaced };
    match name {
        None => Some(Route::Collection(resource)),
        Some(name) if is_encoded(name) => Some(Route::Object(resource)),
        Some(_) => None,
    }
}

/// Returns `true` if the segment is a name in the encoding of [`escape`].
fn is_encoded(segment: &str) -> bool {
    decode(segment).is_some_and(|text| Rule::Segment.allows(&text) && escape(&text) == segment)
}

fn decode(segment: &str) -> Option<String> {
    let mut bytes = segment.bytes();
    let mut decoded = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            digit()? * 16 + digit()?
        } else {
            byte
        });
    }
    String::from_utf8(decoded).ok()
}

/// Returns `true` if the query contains only these keys, each at most once, with values in the encoding of [`escape`].
pub(super) fn is_query_of(query: &str, keys: &[&str]) -> bool {
    let mut seen: Vec<&str> = Vec::new();
    query.split('&').all(|pair| {
        let Some((key, value)) = pair.split_once('=') else { return false };
        let is_new = !seen.contains(&key);
        seen.push(key);
        is_new && keys.contains(&key) && decode(value).is_some_and(|text| escape(&text) == value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ident::GroupKind;
    use proptest::prelude::*;

    /// Texts that look like names, and texts that would change the meaning of a path.
    fn hostile() -> impl Strategy<Value = String> {
        let parts = prop::sample::select(vec![
            "web",
            "kube-dns",
            ":53",
            "/",
            "proxy",
            "..",
            ".",
            "%2F",
            "%2e",
            "%",
            "?",
            "#",
            "&",
            "=",
            "x",
            "nodes",
            "n0",
            "watch",
            "status",
            "finalize",
            "\\",
            "\n",
            " ",
            "\u{85}",
            "ü",
            "namespaces",
            "pods",
            ";",
            "@",
            "//",
            "v1",
        ]);
        prop_oneof![prop::collection::vec(parts, 0..5).prop_map(|parts| parts.concat()), ".{0,12}"]
    }

    fn kind(group: String, plural: String, namespaced: bool) -> Kind {
        let group_kind = GroupKind::new(group, "Any");
        Kind { group_kind, plural, namespaced, versions: vec!["v1".to_owned()], manageable: true }
    }

    proptest! {
        #[test]
        fn x3_a_path_is_the_objects_own_or_there_is_none(
            group in prop_oneof![Just(String::new()), Just("shop.dev".to_owned()), hostile()],
            version in prop_oneof![Just("v1".to_owned()), hostile()],
            plural in prop_oneof![Just("tills".to_owned()), hostile()],
            namespace in prop::option::of(prop_oneof![Just("shop".to_owned()), hostile()]),
            name in prop_oneof![Just("web".to_owned()), hostile()],
        ) {
            let kind = kind(group.clone(), plural.clone(), namespace.is_some());
            let collection = ResourcePath::collection(&kind, &version, namespace.as_deref());
            let target = collection.named(&name).target();
            let Ok(text) = target.text() else { return Ok(()) };
            // A server splits the path at slashes first, and then decodes each part.
            let parts: Vec<String> = text.split('/').skip(1).map(|part| decode(part).unwrap()).collect();
            let mut expected = if group.is_empty() { vec!["api".to_owned()] } else { vec!["apis".to_owned(), group.clone()] };
            expected.push(version);
            if let Some(namespace) = &namespace {
                expected.extend(["namespaces".to_owned(), namespace.clone()]);
            }
            expected.extend([plural.clone(), name.clone()]);
            prop_assert_eq!(&parts, &expected, "{}", text);
            // A proxy may decode the path once more. The number of parts is still the same.
            prop_assert_eq!(parts.join("/").split('/').count(), expected.len());
            prop_assert!(parts.iter().all(|part| part != ".." && part != "." && !part.contains('%')));
            let is_namespaced = namespace.is_some();
            let found = route(text);
            prop_assert_eq!(found, Some(Route::Object(Resource { group: &group, plural: &plural, is_namespaced })));
            prop_assert!(!text.contains(['?', '#']));
        }

        #[test]
        fn x3_a_query_cannot_end_its_own_value(value in hostile()) {
            let target = ResourcePath::namespaces().with(&[("labelSelector", value.as_str()), ("limit", "1")]);
            let text = target.text().unwrap();
            let (path, query) = text.split_once('?').unwrap();
            prop_assert_eq!(path, "/api/v1/namespaces");
            prop_assert!(is_query_of(query, &["labelSelector", "limit"]), "{}", query);
            let (first, second) = query.split_once('&').unwrap();
            prop_assert_eq!((decode(first.split_once('=').unwrap().1).unwrap(), second), (value, "limit=1"));
        }
    }

    #[test]
    fn x3_what_leads_elsewhere_has_no_route() {
        for path in [
            "/api/v1/nodes/n0/proxy",
            "/api/v1/nodes/n0/proxy/pods",
            "/api/v1/namespaces/kube-system/services/kube-dns:53/proxy/admin/shutdown",
            "/api/v1/namespaces/kube-system/services/kube-dns%3A53%2Fproxy%2Fadmin",
            "/api/v1/namespaces/a/pods/x/exec",
            "/api/v1/namespaces/a/pods/x/log",
            "/api/v1/namespaces/a/status",
            "/api/v1/namespaces/a/finalize",
            "/api/v1/watch/pods",
            "/api/v1/proxy/nodes",
            "/api/v1/namespaces/a/pods/..",
            "/api/v1/namespaces/../pods/x",
            "/api/v1/namespaces/%2E%2E/pods/x",
            "/api/v1/namespaces/a/pods/%2e%2e",
            "/api/v1//pods/x",
            "//evil.example/api/v1/pods",
            "/api/v1/pods/",
            "/api/v1/pods/x/",
            "/api/v1/namespaces/a/pods/x%2Flog",
            "/api/v1/namespaces/a/pods/x%252Flog",
            "/api/v1/namespaces/a/pods/x%0Alog",
            "/api/v1%2Fnodes/n0",
            "/apis/shop.dev%2Fv1/v1/tills",
            "/apis/shop.dev/v1/tills/x/scale",
            "/metrics",
            "/logs/kube-apiserver.log",
            "/healthz",
            "/openapi/v2",
            "/",
            "",
            "api",
        ] {
            assert_eq!(route(path), None, "{path}");
        }
        for path in ["/version", "/api", "/apis", "/api/v1", "/apis/apps/v1"] {
            assert_eq!(route(path), Some(Route::Discovery), "{path}");
        }
        let resource = |group, plural, is_namespaced| Resource { group, plural, is_namespaced };
        for (path, expected) in [
            ("/api/v1/namespaces", Route::Collection(resource("", "namespaces", false))),
            ("/api/v1/namespaces/status", Route::Object(resource("", "namespaces", false))),
            ("/apis/apps/v1/namespaces/a/deployments", Route::Collection(resource("apps", "deployments", true))),
            ("/apis/shop.dev/v1/namespaces/a/status/x", Route::Object(resource("shop.dev", "status", true))),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode%20x",
                Route::Object(resource("rbac.authorization.k8s.io", "clusterroles", false)),
            ),
        ] {
            assert_eq!(route(path), Some(expected), "{path}");
        }
    }
}

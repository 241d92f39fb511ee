//! Requests to the server: their paths, queries and bodies.

use std::fmt::Write as _;

use http::Method;
use serde_json::{Value, json};

use super::gate::Permit;
use super::path::{ResourcePath, Target};
use crate::object::ident::{ObjectKey, split_api_version};
use crate::object::kinds::Kind;
use crate::object::mark::Root;
use crate::object::refusal::Refusal;

const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";
const JSON_PATCH: &str = "application/json-patch+json";

/// A request. It can be sent several times.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// The path and query.
    pub(super) target: Target,
    pub(super) accept: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) permit: Option<Permit>,
}

impl Call {
    fn new(method: Method, target: impl Into<Target>) -> Self {
        Self { method, target: target.into(), accept: JSON, content_type: JSON, body: Vec::new(), permit: None }
    }

    /// A request that reads.
    pub(super) fn get(target: impl Into<Target>) -> Self {
        Self::new(Method::GET, target)
    }

    /// A request that creates the object in the body.
    pub(super) fn post(target: impl Into<Target>, body: &Value) -> Self {
        Self { body: body.to_string().into_bytes(), ..Self::new(Method::POST, target) }
    }

    /// A request that replaces a whole object.
    pub(super) fn put(target: impl Into<Target>, body: &Value) -> Self {
        Self { body: body.to_string().into_bytes(), ..Self::new(Method::PUT, target) }
    }

    /// A server-side apply that forces no conflict.
    pub(super) fn apply(path: &ResourcePath, body: &Value, root: &Root, mode: Effect) -> Self {
        Self::apply_with(path, body, root, "false", mode)
    }

    /// The dry run of an apply that takes over every contested field. There is no such request that takes effect.
    pub(super) fn try_forced_apply(path: &ResourcePath, body: &Value, root: &Root) -> Self {
        Self::apply_with(path, body, root, "true", Effect::DryRun)
    }

    fn apply_with(path: &ResourcePath, body: &Value, root: &Root, force: &str, mode: Effect) -> Self {
        let manager = root.field_manager();
        let query = [("fieldManager", manager.as_str()), ("fieldValidation", "Strict"), ("force", force)];
        let target = path.with(&[&query, mode.query()].concat());
        Self {
            content_type: APPLY,
            body: yaml_safe(&body.to_string()).into_bytes(),
            ..Self::new(Method::PATCH, target)
        }
    }

    /// A request with a JSON patch.
    pub(super) fn json_patch(path: &ResourcePath, operations: &Value, root: &Root, mode: Effect) -> Self {
        let manager = root.field_manager();
        let target = path.with(&[&[("fieldManager", manager.as_str())], mode.query()].concat());
        Self { content_type: JSON_PATCH, body: operations.to_string().into_bytes(), ..Self::new(Method::PATCH, target) }
    }

    /// A request that deletes exactly the object with this uid and this resourceVersion.
    ///
    /// A dry run is requested in the body, because the server ignores the query if there is a body.
    pub(super) fn delete(target: impl Into<Target>, uid: &str, resource_version: &str, mode: Effect) -> Self {
        let mut options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
            "propagationPolicy": "Background",
        });
        if mode == Effect::DryRun {
            options["dryRun"] = json!(["All"]);
        }
        Self { body: options.to_string().into_bytes(), ..Self::new(Method::DELETE, target) }
    }

    /// The same request, with a permit to change the cluster.
    pub(super) fn permitted(mut self, permit: Permit) -> Self {
        self.permit = Some(permit);
        self
    }

    /// The same request with another `Accept` header.
    pub(super) fn accepting(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }
}

/// The effect of a request: a real change or a dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    DryRun,
    Real,
}

impl Effect {
    /// The query parameters for this effect. A deletion states it in the body instead.
    pub(super) fn query(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::DryRun => &[("dryRun", "All")],
            Self::Real => &[],
        }
    }
}

/// The path of one object, in the first version of the kind.
pub(super) fn object(kind: &Kind, key: &ObjectKey) -> Result<ResourcePath, Refusal> {
    let version = kind.versions.first().map_or("v1", String::as_str);
    path_of(kind, version, key.namespace.as_deref(), &key.name).map(|(_, object)| object)
}

/// The path of the object that a body describes, in the version of the body.
pub(super) fn described(kind: &Kind, body: &Value) -> Result<ResourcePath, Refusal> {
    described_in(kind, body).map(|(_, object)| object)
}

/// The paths of the collection and of the object that a body describes.
pub(super) fn described_in(kind: &Kind, body: &Value) -> Result<(ResourcePath, ResourcePath), Refusal> {
    let text = |pointer| body.pointer(pointer).and_then(Value::as_str);
    let (group, version) = split_api_version(text("/apiVersion").unwrap_or_default());
    if group != kind.group_kind.group {
        return Err(Refusal::Invalid(format!("{} is not of the group {group:?}", kind.group_kind)));
    }
    path_of(kind, version, text("/metadata/namespace"), text("/metadata/name").unwrap_or_default())
}

/// The paths of a collection and of one object in it. Neither can lead anywhere else.
fn path_of(
    kind: &Kind,
    version: &str,
    namespace: Option<&str>,
    name: &str,
) -> Result<(ResourcePath, ResourcePath), Refusal> {
    let namespace = if kind.namespaced { Some(namespace.unwrap_or_default()) } else { None };
    let collection = ResourcePath::collection(kind, version, namespace);
    let object = collection.named(name).checked();
    let object = object.map_err(|why| Refusal::Invalid(format!("{}: {why}", kind.group_kind)))?;
    Ok((collection, object))
}

/// Escapes characters so that JSON has the same meaning when it is read as YAML. The server reads the body of an apply
/// as YAML.
///
/// YAML turns some raw characters into a space (U+0085, U+2028, U+2029) and refuses others. In JSON, these characters
/// can only be inside strings, so it is correct to escape every one of them.
fn yaml_safe(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut text, c| {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            _ => text.push(c),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ident::GroupKind;
    use crate::object::kinds::Kinds;

    fn kind(group: &str, kind: &str) -> Kind {
        Kinds::builtin().get(&GroupKind::new(group, kind)).unwrap().clone()
    }

    fn key(namespace: Option<&str>, name: &str) -> ObjectKey {
        let (group, kind) = (String::new(), "ConfigMap".to_owned());
        ObjectKey { group, kind, namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }

    #[test]
    fn x3_a_path_names_one_object_or_is_refused() {
        let configmap = kind("", "ConfigMap");
        let text = |path: ResourcePath| path.target().text().unwrap().to_owned();
        assert_eq!(text(object(&configmap, &key(Some("shop"), "x")).unwrap()), "/api/v1/namespaces/shop/configmaps/x");
        for (namespace, name) in [
            (None, "x"),
            (Some(""), "x"),
            (Some("shop"), ""),
            (Some("shop"), ".."),
            (Some("."), "x"),
            (Some("shop"), "kube-dns:53/proxy/admin/shutdown"),
            (Some("a/b"), "x"),
        ] {
            assert!(object(&configmap, &key(namespace, name)).is_err(), "{namespace:?} {name:?}");
        }
        let role = kind("rbac.authorization.k8s.io", "ClusterRole");
        assert_eq!(
            text(object(&role, &key(Some("dropped"), "system:a?x#y")).unwrap()),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aa%3Fx%23y"
        );
        for api_version in ["v1%2Fnodes", "v1/x", "", "v1?watch=true", ".."] {
            let body = json!({"apiVersion": api_version, "metadata": {"name": "x", "namespace": "shop"}});
            assert!(described(&configmap, &body).is_err(), "{api_version:?}");
        }
    }

    #[test]
    fn what_yaml_would_change_is_escaped() {
        let body = json!({"a": "x\u{2028}y\u{85}z\u{7f}ü😀"});
        let safe = yaml_safe(&body.to_string());
        assert_eq!(safe, r#"{"a":"x\u2028y\u0085z\u007fü😀"}"#);
        assert_eq!(serde_json::from_str::<Value>(&safe).unwrap(), body);
    }

    #[test]
    fn a_dry_delete_says_so_in_its_body() {
        let call = Call::delete(ResourcePath::namespaces().named("x"), "u", "1", Effect::DryRun);
        assert_eq!(serde_json::from_slice::<Value>(&call.body).unwrap()["dryRun"], json!(["All"]));
        assert_eq!(call.target.text(), Ok("/api/v1/namespaces/x"));
    }
}

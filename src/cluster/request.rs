//! What is asked of the server: paths and queries, bodies as the server will read them.

use std::fmt::Write as _;

use http::Method;
use serde_json::{Value, json};

use super::gate::Permit;
use crate::object::ident::{ObjectKey, split_api_version};
use crate::object::kinds::Kind;
use crate::object::mark::Root;
use crate::object::refusal::Refusal;

const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";
const JSON_PATCH: &str = "application/json-patch+json";

/// One request, to be sent once or several times.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) accept: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) permit: Option<Permit>,
}

impl Call {
    fn new(method: Method, target: String) -> Self {
        Self { method, target, accept: JSON, content_type: JSON, body: Vec::new(), permit: None }
    }

    /// Reads.
    pub(super) fn get(target: String) -> Self {
        Self::new(Method::GET, target)
    }

    /// Creates what stands in the body.
    pub(super) fn post(target: String, body: &Value) -> Self {
        Self { body: body.to_string().into_bytes(), ..Self::new(Method::POST, target) }
    }

    /// Replaces the whole object.
    pub(super) fn put(target: String, body: &Value) -> Self {
        Self { body: body.to_string().into_bytes(), ..Self::new(Method::PUT, target) }
    }

    /// Server-side apply, forcing nothing.
    pub(super) fn apply(path: &str, body: &Value, root: &Root, mode: Mode) -> Self {
        Self::apply_with(path, body, root, &format!("force=false{}", mode.query()))
    }

    /// Asks what an apply would do if it took every contested field. There is no such apply that takes effect.
    pub(super) fn try_forced_apply(path: &str, body: &Value, root: &Root) -> Self {
        Self::apply_with(path, body, root, &format!("force=true{}", Mode::DryRun.query()))
    }

    fn apply_with(path: &str, body: &Value, root: &Root, options: &str) -> Self {
        let manager = escape(&root.field_manager());
        let target = format!("{path}?fieldManager={manager}&fieldValidation=Strict&{options}");
        Self {
            content_type: APPLY,
            body: yaml_safe(&body.to_string()).into_bytes(),
            ..Self::new(Method::PATCH, target)
        }
    }

    /// A JSON patch.
    pub(super) fn json_patch(path: &str, operations: &Value, root: &Root, mode: Mode) -> Self {
        let target = format!("{path}?fieldManager={}{}", escape(&root.field_manager()), mode.query());
        Self { content_type: JSON_PATCH, body: operations.to_string().into_bytes(), ..Self::new(Method::PATCH, target) }
    }

    /// Deletes exactly the object that was looked at.
    ///
    /// A dry run is said in the body, for that is where the server looks once there is a body.
    pub(super) fn delete(target: String, uid: &str, resource_version: &str, mode: Mode) -> Self {
        let mut options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
            "propagationPolicy": "Background",
        });
        if mode == Mode::DryRun {
            options["dryRun"] = json!(["All"]);
        }
        Self { body: options.to_string().into_bytes(), ..Self::new(Method::DELETE, target) }
    }

    /// The same request with a permit to change the cluster.
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

/// Whether a request is to take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    DryRun,
    Real,
}

impl Mode {
    fn query(self) -> &'static str {
        match self {
            Self::DryRun => "&dryRun=All",
            Self::Real => "",
        }
    }
}

/// The path of a kind's objects in one version: all of them, or those of one namespace.
pub(super) fn collection(kind: &Kind, version: &str, namespace: Option<&str>) -> String {
    let group = &kind.group_kind.group;
    let mut path = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    if let Some(namespace) = namespace {
        let _ = write!(path, "/namespaces/{}", escape(namespace));
    }
    path + "/" + &kind.plural
}

/// The path of one object, as the kind's first version.
pub(super) fn object(kind: &Kind, key: &ObjectKey) -> Result<String, Refusal> {
    let version = kind.versions.first().map_or("v1", String::as_str);
    path_of(kind, version, key.namespace.as_deref(), &key.name)
}

/// The path of the object that a body describes, in the body's own version.
pub(super) fn described(kind: &Kind, body: &Value) -> Result<String, Refusal> {
    let text = |pointer| body.pointer(pointer).and_then(Value::as_str);
    let api_version = text("/apiVersion").unwrap_or_default();
    path_of(
        kind,
        split_api_version(api_version).1,
        text("/metadata/namespace"),
        text("/metadata/name").unwrap_or_default(),
    )
}

/// A path that cannot name anything but one object: without a name it would be the whole collection.
fn path_of(kind: &Kind, version: &str, namespace: Option<&str>, name: &str) -> Result<String, Refusal> {
    let namespace = if kind.namespaced { Some(namespace.unwrap_or_default()) } else { None };
    for (what, text) in [("apiVersion", Some(version)), ("namespace", namespace), ("name", Some(name))] {
        if text.is_some_and(|text| text.is_empty() || text == "." || text == "..") {
            return Err(Refusal::Invalid(format!("{} without a usable {what}", kind.group_kind)));
        }
    }
    Ok(collection(kind, version, namespace) + "/" + &escape(name))
}

/// Percent-encodes what may not stand in a path segment or a query value as it is.
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

/// Makes JSON mean the same when it is read as YAML, which is how the server reads an apply.
///
/// YAML folds some raw characters into a space (U+0085, U+2028, U+2029) and refuses others. JSON allows them, and only
/// inside strings, so escaping each wherever it stands is right.
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
    fn a_path_names_one_object_or_is_refused() {
        let configmap = kind("", "ConfigMap");
        assert_eq!(object(&configmap, &key(Some("shop"), "x")).unwrap(), "/api/v1/namespaces/shop/configmaps/x");
        for (namespace, name) in
            [(None, "x"), (Some(""), "x"), (Some("shop"), ""), (Some("shop"), ".."), (Some("."), "x")]
        {
            assert!(object(&configmap, &key(namespace, name)).is_err(), "{namespace:?} {name:?}");
        }
        let role = kind("rbac.authorization.k8s.io", "ClusterRole");
        assert_eq!(
            object(&role, &key(Some("dropped"), "system:a/../b?x#y")).unwrap(),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aa%2F..%2Fb%3Fx%23y"
        );
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
        let call = Call::delete("/x".into(), "u", "1", Mode::DryRun);
        assert_eq!(serde_json::from_slice::<Value>(&call.body).unwrap()["dryRun"], json!(["All"]));
        assert!(!call.target.contains("dryRun"));
    }
}

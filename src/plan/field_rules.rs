//! Fields that the root leaves to other managers or takes from them, in the manifests that are sent and in the managed
//! fields.
//!
//! No apply is ever forced. To take a field, ktor first removes it from the other manager's entry, so that no other
//! field is taken.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::object::fields::Fields;
use crate::object::ident::ObjectKey;
use crate::object::live::Live;
use crate::object::manifest::Manifest;
use crate::object::mark::{PROJECT, ROOT, Root, stamp};
use crate::plan::notice::Notice;
use crate::plan::policy::Policy;
use crate::project::field_rule::{FieldPointer, FieldPolicy};

impl Policy {
    /// The manifest in the form in which it is sent to the server: with its mark, and without the fields that are left
    /// to others.
    #[must_use]
    pub fn sent(&self, manifest: &Manifest, root: &Root) -> Value {
        let mut body = manifest.body.parse();
        for pointer in self.pointers(&manifest.ident.key, FieldPolicy::Leave) {
            strip(&mut body, pointer.tokens());
        }
        stamp(&mut body, &manifest.project, root);
        body
    }

    /// Lists the fields of an object for which the root has this policy.
    pub fn pointers<'a>(&'a self, key: &'a ObjectKey, policy: FieldPolicy) -> impl Iterator<Item = &'a FieldPointer> {
        let is_meant = move |kinds: &[crate::project::field_rule::KindPattern]| {
            kinds.iter().any(|kind| kind.matches(&key.group, &key.kind))
        };
        let rules = self.fields.iter().filter(move |rule| rule.policy == policy && is_meant(&rule.kinds));
        rules.flat_map(|rule| &rule.pointers)
    }

    /// Returns `true` if a contested field, in the server's notation, is to be taken from other managers.
    #[must_use]
    pub(crate) fn forces(&self, key: &ObjectKey, field: &str) -> bool {
        self.pointers(key, FieldPolicy::Force).any(|pointer| covers(pointer.tokens(), field))
    }

    /// Returns `true` if a contested field is part of the mark of an object that is taken over. The mark is then taken
    /// from any manager that owns it.
    #[must_use]
    pub(crate) fn takes_mark(&self, key: &ObjectKey, live: &Live, field: &str) -> bool {
        self.takes_over(key, live) && mark().iter().any(|tokens| covers(tokens, field))
    }

    /// The notices about the root's settings for fields and managers.
    #[must_use]
    pub(crate) fn notices(&self) -> Vec<Notice> {
        let rules = self.fields.iter().cloned().map(Notice::FieldRule);
        let managers = Some(self.adopt_managers.clone()).filter(|managers| !managers.is_empty());
        rules.chain(managers.map(Notice::AdoptedManagers)).collect()
    }
}

/// Returns `true` if a desired autoscaler sets the replicas of this object and the manifest does not state them.
#[must_use]
pub(crate) fn is_scaled(desired: &BTreeMap<ObjectKey, Manifest>, manifest: &Manifest) -> bool {
    let key = &manifest.ident.key;
    let text =
        |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let targets = |other: &Manifest| {
        let group = text(&other.body, "/spec/scaleTargetRef/apiVersion");
        other.ident.key.kind == "HorizontalPodAutoscaler"
            && other.ident.key.namespace == key.namespace
            && text(&other.body, "/spec/scaleTargetRef/kind") == key.kind
            && text(&other.body, "/spec/scaleTargetRef/name") == key.name
            && group.split_once('/').map_or("", |(group, _)| group) == key.group
    };
    manifest.body.pointer("/spec/replicas").is_none() && desired.values().any(targets)
}

/// The managed fields after our own entry gives up the fields that are left to others. `None` if our entry has none of
/// these fields.
///
/// The values of these fields then stay. Without this step, an apply would remove each field that our entry has and the
/// manifest does not have.
#[must_use]
pub(crate) fn relinquished(
    entries: &[Value],
    policy: &Policy,
    desired: &BTreeMap<ObjectKey, Manifest>,
    manifest: &Manifest,
    root: &Root,
) -> Option<Vec<Value>> {
    let replicas = ["spec".to_owned(), "replicas".to_owned()];
    let mut pointers: Vec<&[String]> =
        policy.pointers(&manifest.ident.key, FieldPolicy::Leave).map(FieldPointer::tokens).collect();
    if is_scaled(desired, manifest) {
        pointers.push(&replicas);
    }
    let manager = root.field_manager();
    without(entries, &pointers, |entry| text(entry, "manager") == manager && text(entry, "operation") == "Apply")
}

/// The managed fields after the fields to take are removed from the entries of other managers. `None` if these entries
/// have none of the fields.
#[must_use]
pub(crate) fn seized(
    entries: &[Value],
    policy: &Policy,
    key: &ObjectKey,
    live: &Live,
    root: &Root,
) -> Option<Vec<Value>> {
    let mut pointers: Vec<&[String]> = policy.pointers(key, FieldPolicy::Force).map(FieldPointer::tokens).collect();
    let mark = mark();
    if policy.takes_over(key, live) {
        pointers.extend(mark.iter().map(<[String; 3]>::as_slice));
    }
    let manager = root.field_manager();
    without(entries, &pointers, |entry| text(entry, "manager") != manager && text(entry, "subresource") != "status")
}

/// The fields of the mark.
fn mark() -> [[String; 3]; 2] {
    [["metadata", "annotations", PROJECT], ["metadata", "labels", ROOT]].map(|tokens| tokens.map(str::to_owned))
}

fn without(entries: &[Value], pointers: &[&[String]], is_meant: impl Fn(&Value) -> bool) -> Option<Vec<Value>> {
    let mut left = entries.to_vec();
    for entry in left.iter_mut().filter(|entry| is_meant(entry)) {
        if let Some(Value::Object(fields)) = entry.get_mut("fieldsV1") {
            for pointer in pointers {
                take(fields, pointer);
            }
        }
    }
    if left == entries {
        return None;
    }
    left.retain(|entry| entry.get("fieldsV1") != Some(&json!({})));
    Some(left)
}

/// Removes paths from a field set, and each parent that becomes empty: an empty set would mean everything below it.
fn take(fields: &mut Fields, tokens: &[String]) {
    let [first, rest @ ..] = tokens else { return };
    let is_it = |name: &str| name != "." && (first == "*" || name.strip_prefix("f:") == Some(first));
    let names: Vec<String> = fields.keys().filter(|name| is_it(name)).cloned().collect();
    for name in names {
        let is_gone = rest.is_empty()
            || fields.get_mut(&name).and_then(Value::as_object_mut).is_some_and(|below| {
                let had = below.len();
                take(below, rest);
                had > 0 && below.is_empty()
            });
        if is_gone {
            fields.remove(&name);
        }
    }
}

/// Removes a field from an object.
fn strip(value: &mut Value, tokens: &[String]) {
    let [first, rest @ ..] = tokens else { return };
    match value {
        Value::Object(map) => {
            let is_it = |name: &String| first == "*" || name == first;
            if rest.is_empty() {
                map.retain(|name, _| !is_it(name));
            } else {
                map.iter_mut().filter(|(name, _)| is_it(name)).for_each(|(_, below)| strip(below, rest));
            }
        }
        Value::Array(items) => {
            let index = first.parse::<usize>().ok();
            if rest.is_empty() {
                let mut at = 0;
                items.retain(|_| {
                    let is_it = first == "*" || index == Some(at);
                    at += 1;
                    !is_it
                });
            } else {
                let is_it = |at: usize| first == "*" || index == Some(at);
                items.iter_mut().enumerate().filter(|(at, _)| is_it(*at)).for_each(|(_, below)| strip(below, rest));
            }
        }
        _ => {}
    }
}

/// Returns `true` if a field in the server's notation, such as `.spec.containers[name="a"].image`, is at or below a
/// pointer.
fn covers(tokens: &[String], field: &str) -> bool {
    let [first, rest @ ..] = tokens else {
        return field.is_empty() || field.starts_with(['.', '[']);
    };
    let below = match (field.strip_prefix('.'), field.strip_prefix('[')) {
        (Some(name), _) if first == "*" => name.find(['.', '[']).map_or("", |end| &name[end..]),
        (Some(name), _) => match name.strip_prefix(first.as_str()) {
            Some(below) => below,
            None => return false,
        },
        (_, Some(item)) if first == "*" => item.split_once(']').map_or("", |(_, below)| below),
        _ => return false,
    };
    (below.is_empty() || below.starts_with(['.', '['])) && covers(rest, below)
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The field managers of a tool with a short name. Any other name stands for itself.
#[must_use]
pub(crate) fn managers_of(name: &str) -> Vec<String> {
    let managers: &[&str] = match name {
        "argocd" => &["argocd-controller", "argocd-application-controller", "argocd-server"],
        "flux" => &["kustomize-controller", "helm-controller", "flux"],
        "helm" => &["helm", "Helm"],
        "kapp" => &["kapp", "kapp-server-side-fieldmanager"],
        "kubectl" => &["kubectl", "kubectl-client-side-apply", "kubectl-create", "kubectl-replace"],
        literal => return vec![literal.to_owned()],
    };
    managers.iter().map(|manager| (*manager).to_owned()).collect()
}

/// The tool that manages an object according to its metadata. Only the tool's name is shown, because the rest is not
/// ours to show.
#[must_use]
pub(crate) fn other_tool(body: &Value) -> Option<String> {
    let nothing = Map::new();
    let map =
        |name: &str| body.pointer(&format!("/metadata/{name}")).and_then(Value::as_object).unwrap_or(&nothing).clone();
    let (labels, annotations) = (map("labels"), map("annotations"));
    let has = |name: &str| labels.contains_key(name) || annotations.contains_key(name);
    let is_helms = labels.get("app.kubernetes.io/managed-by").and_then(Value::as_str) == Some("Helm");
    let tool = if has("argocd.argoproj.io/tracking-id") || has("argocd.argoproj.io/instance") {
        "Argo CD"
    } else if has("kustomize.toolkit.fluxcd.io/name") || has("helm.toolkit.fluxcd.io/name") {
        "Flux"
    } else if has("kapp.k14s.io/app") || has("kapp.k14s.io/identity") {
        "kapp"
    } else if is_helms || has("meta.helm.sh/release-name") {
        "Helm"
    } else {
        let owners = body.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let mut controllers =
            owners.into_iter().flatten().filter(|owner| owner.get("controller") == Some(&json!(true)));
        return controllers.next().map(|owner| format!("a controller, for the {} that owns it", text(owner, "kind")));
    };
    Some(tool.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::field_rule::{FieldRule, KindPattern};
    use crate::project::path::Segment;
    use crate::project::tree::Cleanup;

    fn policy(rules: &[(&str, &str, FieldPolicy)]) -> Policy {
        let rule = |(kind, pointer, policy): &(&str, &str, FieldPolicy)| FieldRule {
            kinds: vec![KindPattern::new(kind).unwrap()],
            pointers: vec![FieldPointer::new(pointer).unwrap()],
            policy: *policy,
        };
        Policy { fields: rules.iter().map(rule).collect(), ..Policy::new(Cleanup::On, "kubernator-system") }
    }

    fn key() -> ObjectKey {
        ObjectKey { group: "apps".into(), kind: "Deployment".into(), namespace: Some("x".into()), name: "web".into() }
    }

    #[test]
    fn a3_a_field_is_covered_at_and_below_its_pointer() {
        let forces =
            |pointer: &str, field: &str| policy(&[("Deployment", pointer, FieldPolicy::Force)]).forces(&key(), field);
        for (pointer, field, expected) in [
            ("/spec/replicas", ".spec.replicas", true),
            ("/spec/replicas", ".spec.replicasX", false),
            ("/spec", ".spec.replicas", true),
            ("/spec/replicas", ".spec", false),
            ("/spec/containers/*/image", ".spec.containers[name=\"a.b\"].image", true),
            ("/spec/containers/*/image", ".spec.containers[name=\"a\"].env", false),
            ("/spec/containers/*", ".spec.containers[name=\"a\"].env[name=\"X\"].value", true),
            ("/metadata/annotations/a.b~1c", ".metadata.annotations.a.b/c", true),
            ("/data/*", ".data.key", true),
        ] {
            assert_eq!(forces(pointer, field), expected, "{pointer} {field}");
        }
        assert!(!policy(&[("Service", "/spec", FieldPolicy::Force)]).forces(&key(), ".spec.x"));
        assert!(!policy(&[("*", "/spec", FieldPolicy::Leave)]).forces(&key(), ".spec.x"));
    }

    #[test]
    fn a3_what_is_left_is_neither_sent_nor_ours() {
        let policy = policy(&[
            ("apps/Deployment", "/spec/replicas", FieldPolicy::Leave),
            ("*", "/spec/containers/*/image", FieldPolicy::Leave),
        ]);
        let mut body = json!({"spec": {"replicas": 3, "containers": [{"name": "a", "image": "i"}, {"name": "b"}]}});
        for pointer in policy.pointers(&key(), FieldPolicy::Leave) {
            strip(&mut body, pointer.tokens());
        }
        assert_eq!(body, json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}));
        let item = "k:{\"name\":\"a\"}";
        let fields =
            json!({"f:spec": {"f:replicas": {}, "f:containers": {item: {".": {}, "f:name": {}, "f:image": {}}}}});
        let ours = json!({"manager": "ktor-demo", "operation": "Apply", "fieldsV1": fields});
        let theirs = json!({"manager": "hpa", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}});
        let root = Root::new(Segment::new("demo").unwrap());
        let manifest = Manifest {
            ident: crate::object::ident::Ident { key: key(), version: "v1".into() },
            project: "demo".parse().unwrap(),
            place: crate::project::snapshot::SourcePlace::whole("web.yaml"),
            body: json!({}).into(),
        };
        let left = relinquished(&[ours, theirs.clone()], &policy, &BTreeMap::new(), &manifest, &root).unwrap();
        assert_eq!(left[0]["fieldsV1"], json!({"f:spec": {"f:containers": {item: {".": {}, "f:name": {}}}}}));
        assert_eq!(left[1], theirs);
        assert_eq!(relinquished(&left, &policy, &BTreeMap::new(), &manifest, &root), None);
    }

    #[test]
    fn a3_what_is_taken_leaves_the_entries_of_others_and_nothing_else_does() {
        let policy = policy(&[("Deployment", "/spec/replicas", FieldPolicy::Force)]);
        let root = Root::new(Segment::new("demo").unwrap());
        let entry =
            |manager: &str, fields: Value| json!({"manager": manager, "operation": "Update", "fieldsV1": fields});
        let both = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
        let entries = [
            entry("ktor-demo", both.clone()),
            entry("hpa", json!({"f:spec": {"f:replicas": {}}})),
            entry("kubectl", both.clone()),
        ];
        let bare = Live { body: json!({}) };
        let left = seized(&entries, &policy, &key(), &bare, &root).unwrap();
        assert_eq!(left, [entry("ktor-demo", both), entry("kubectl", json!({"f:spec": {"f:paused": {}}}))]);
        assert_eq!(seized(&left, &policy, &key(), &bare, &root), None);
    }

    #[test]
    fn a3_other_tools_are_known_by_what_they_write() {
        let tool = |metadata: Value| other_tool(&json!({"metadata": metadata}));
        assert_eq!(tool(json!({"labels": {"app": "x"}})), None);
        for (metadata, expected) in [
            (json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}), "Helm"),
            (json!({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}), "Argo CD"),
            (json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}), "Flux"),
            (json!({"labels": {"kapp.k14s.io/app": "1"}}), "kapp"),
            (
                json!({"ownerReferences": [{"kind": "Till", "controller": true}]}),
                "a controller, for the Till that owns it",
            ),
        ] {
            assert_eq!(tool(metadata).as_deref(), Some(expected));
        }
    }
}

//! Refusals that do not count, because the same run first applies an object that removes their cause.
//!
//! The rules are narrow. Each rule needs a refusal of one form **and** an object that the run creates or changes and
//! that this very refusal is about. A refusal that fits no rule is real and stays one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::observed::{DryRun, Lookup, Observed};
use super::schema;
use crate::object::body::Body;
use crate::object::ident::ObjectKey;
use crate::object::kinds::defined_kind;
use crate::object::live::Live;
use crate::object::manifest::Manifest;
use crate::object::mark::{Ownership, Root, ownership};
use crate::object::refusal::Refusal;

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// An object that the run creates or changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write<'a> {
    /// The object as it is; `None` if it is created.
    pub before: Option<&'a Value>,
    /// The object as it will be.
    pub after: &'a Value,
}

impl Write<'_> {
    fn is_created(&self) -> bool {
        self.before.is_none()
    }
}

/// The objects that a run writes, according to its observations, and all desired objects of the tree. A rule may need
/// the latter to connect the refused object with the written object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Brought<'a> {
    writes: BTreeMap<&'a ObjectKey, Write<'a>>,
    desired: BTreeMap<&'a ObjectKey, &'a Body>,
}

impl<'a> Brought<'a> {
    /// Collects the objects of a tree that the run writes.
    pub(crate) fn of(desired: &'a BTreeMap<ObjectKey, Manifest>, observed: &'a Observed, root: &Root) -> Self {
        let is_others = |live: &Live| matches!(ownership(live, root), Ownership::Other(_));
        let write = |(key, trial): (&'a ObjectKey, &'a DryRun)| {
            let (key, manifest) = desired.get_key_value(key)?;
            let live = observed.live(key);
            if live.is_some_and(is_others) || *trial == DryRun::Proved {
                return None;
            }
            // The run waits until an object that is being deleted is gone, and then creates it.
            let before = match observed.looks.get(key) {
                Some(Lookup::Proved(_)) => Some(&*manifest.body),
                _ => live.filter(|live| !live.is_terminating()).map(|live| &live.body),
            };
            let write = match (trial, before) {
                (DryRun::Applied(after), Some(before)) if differs(before, &after.body) => {
                    Write { before: Some(before), after: &after.body }
                }
                (DryRun::Unverified(_), before) => Write { before, after: &manifest.body },
                (DryRun::Created, _) | (DryRun::Immutable(_) | DryRun::Applied(_), None) => {
                    Write { before: None, after: &manifest.body }
                }
                (DryRun::Immutable(_), Some(before)) => Write { before: Some(before), after: &manifest.body },
                (DryRun::Applied(_), Some(_)) | (DryRun::Proved | DryRun::Refused(_), _) => return None,
            };
            Some((key, write))
        };
        Self {
            writes: observed.trials.iter().filter_map(write).collect(),
            desired: desired.iter().map(|(key, manifest)| (key, &manifest.body)).collect(),
        }
    }

    /// Removes an object that the run did not write after all.
    pub(crate) fn forget(&mut self, key: &ObjectKey) {
        self.writes.remove(key);
    }

    /// Returns `true` if the run writes the object.
    pub(crate) fn contains(&self, key: &ObjectKey) -> bool {
        self.writes.contains_key(key)
    }

    /// The CRD that the run writes and that defines the object's kind.
    pub(crate) fn definition(&self, key: &ObjectKey) -> Option<(&'a ObjectKey, Write<'a>)> {
        let defines = |body: &Value| defined_kind(body).is_some_and(|kind| kind.group_kind == key.group_kind());
        let mut found = self.writes.iter().filter(|(by, _)| by.is_crd());
        found.find(|(_, write)| defines(write.after)).map(|(by, write)| (*by, *write))
    }

    fn changed(&self, group: &str, kind: &str, namespace: Option<&str>, name: &str) -> Option<&'a ObjectKey> {
        self.get(group, kind, namespace, name).filter(|(_, write)| !write.is_created()).map(|(by, _)| by)
    }

    fn get(&self, group: &str, kind: &str, namespace: Option<&str>, name: &str) -> Option<(&'a ObjectKey, Write<'a>)> {
        let key = ObjectKey {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        };
        self.writes.get_key_value(&key).map(|(by, write)| (*by, *write))
    }

    fn created(&self, group: &str, kind: &str, namespace: Option<&str>, name: &str) -> Option<&'a ObjectKey> {
        self.get(group, kind, namespace, name).filter(|(_, write)| write.is_created()).map(|(by, _)| by)
    }

    fn of_kind(&self, group: &str, kinds: &[&str]) -> impl Iterator<Item = (&'a ObjectKey, Write<'a>)> {
        let is_meant = move |by: &ObjectKey| by.group == group && kinds.contains(&by.kind.as_str());
        self.writes.iter().filter(move |(by, _)| is_meant(by)).map(|(by, write)| (*by, *write))
    }
}

/// The object that the run writes first and that the refusal of another object is about. `None` if the refusal is real.
pub(crate) fn awaited<'a>(
    refusal: &Refusal,
    key: &ObjectKey,
    body: &Value,
    brought: &Brought<'a>,
) -> Option<&'a ObjectKey> {
    let namespace = key.namespace.as_deref();
    let by = match refusal {
        Refusal::NoNamespace(_) => brought.created("", "Namespace", None, namespace?),
        Refusal::Denied(words) => denied(words, key, namespace, body, brought),
        Refusal::Invalid(words) if is_policys(words) => policy(words, brought),
        Refusal::Invalid(_) | Refusal::Malformed(_) | Refusal::NoKind(_) | Refusal::NoVersion(_) => {
            defined_anew(refusal, key, body, brought)
        }
        Refusal::Forbidden(words) => entitled(words, namespace, brought),
        Refusal::Absent(_) => role_of(key, body, brought),
        Refusal::Unavailable(words) => webhook(words, brought),
        Refusal::Conflict(_)
        | Refusal::Beside(_)
        | Refusal::Changed(_)
        | Refusal::Terminating(_)
        | Refusal::TooLarge(_)
        | Refusal::Unreadable(_) => None,
    };
    by.filter(|by| *by != key)
}

/// The corrected result of a dry run, given what the run writes first. `None` if the result stays as it is.
///
/// A custom resource is checked against the new schema of its CRD, even if the present schema accepts it.
pub(crate) fn seen_anew(trial: &DryRun, manifest: &Manifest, brought: &Brought<'_>) -> Option<DryRun> {
    let key = &manifest.ident.key;
    let misfit = || {
        let (by, write) = brought.definition(key)?;
        let misfit = schema::check(write.after, &manifest.body).err()?;
        Some(DryRun::Refused(Refusal::Malformed(format!("{by} does not take it: {misfit}"))))
    };
    let anew = match trial {
        DryRun::Refused(refusal) => match awaited(refusal, key, &manifest.body, brought) {
            Some(by) => Some(DryRun::Unverified(by.clone())),
            None => misfit(),
        },
        DryRun::Created => misfit(),
        DryRun::Applied(_) if brought.contains(key) => misfit(),
        DryRun::Applied(_) | DryRun::Proved | DryRun::Immutable(_) | DryRun::Unverified(_) => None,
    };
    anew.filter(|anew| anew != trial)
}

/// The CRD that the run writes, if its new schema accepts the object.
fn defined_anew<'a>(refusal: &Refusal, key: &ObjectKey, body: &Value, brought: &Brought<'a>) -> Option<&'a ObjectKey> {
    let (by, write) = brought.definition(key)?;
    // If the present schema accepts the object and the other rules stay the same, the refusal has another cause.
    let is_real = |before| schema::check(before, body).is_ok() && schema::has_same_rules(before, write.after, body);
    let is_invalid = matches!(refusal, Refusal::Invalid(_));
    (schema::check(write.after, body).is_ok() && !(is_invalid && write.before.is_some_and(is_real))).then_some(by)
}

/// The object whose change or creation removes the cause of an admission refusal.
fn denied<'a>(
    words: &str,
    key: &ObjectKey,
    namespace: Option<&str>,
    body: &Value,
    brought: &Brought<'a>,
) -> Option<&'a ObjectKey> {
    let limit_ranges = || {
        let all = brought.of_kind("", &["LimitRange"]);
        all.filter(|(by, _)| by.namespace.as_deref() == namespace)
    };
    if let Some(name) = named(words, &["status unknown for quota: "]) {
        return brought.get("", "ResourceQuota", namespace, name).map(|(by, _)| by);
    }
    if let Some(name) = named(words, &["exceeded quota: ", "failed quota: "]) {
        let quota = brought.changed("", "ResourceQuota", namespace, name);
        // A LimitRange fills in the limits that a quota requires.
        let filled = words.contains(": must specify ").then(|| limit_ranges().next().map(|(by, _)| by)).flatten();
        return quota.or(filled);
    }
    if words.contains("insufficient quota to match these scopes") {
        let mut quotas = brought.of_kind("", &["ResourceQuota"]);
        return quotas.find(|(by, _)| by.namespace.as_deref() == namespace).map(|(by, _)| by);
    }
    if is_limit(words) {
        return limit_ranges().find(|(_, write)| !write.is_created()).map(|(by, _)| by);
    }
    if words.contains("violates PodSecurity \"") {
        let (by, write) = brought.get("", "Namespace", None, namespace?)?;
        return changes_label(write, "pod-security.kubernetes.io/").then_some(by);
    }
    if words.contains("error looking up service account ") {
        let name = between(words, "serviceaccount \"", "\" not found")?;
        // A controller creates the default service account in each new namespace.
        let made = (name == "default").then(|| brought.created("", "Namespace", None, namespace?)).flatten();
        return brought.created("", "ServiceAccount", namespace, name).or(made);
    }
    if let Some(name) = between(words, "no PriorityClass with name ", " was found") {
        return brought.created("scheduling.k8s.io", "PriorityClass", None, name);
    }
    if let Some(name) = between(words, "RuntimeClass \"", "\" not found") {
        return brought.created("node.k8s.io", "RuntimeClass", None, name);
    }
    if words.contains("the storageclass that provisions the pvc must support resize") {
        let class = body.pointer("/spec/storageClassName").and_then(Value::as_str)?;
        return brought.get("storage.k8s.io", "StorageClass", None, class).map(|(by, _)| by);
    }
    if words.contains("is attempting to grant RBAC permissions not currently held") {
        // A role that the same run changes may grant less by then.
        return role_of(key, body, brought).filter(|by| !brought.writes[by].is_created());
    }
    webhook(words, brought).or_else(|| policy(words, brought))
}

/// Returns `true` for messages such as `maximum cpu usage per Container is 1, but limit is 2`. They do not name the
/// LimitRange.
fn is_limit(words: &str) -> bool {
    let is_usage = |bound: &str| {
        words.split(bound).skip(1).any(|rest| {
            let rest = rest.split(',').next().unwrap_or_default();
            [" usage per Container ", " usage per Pod ", " usage per PersistentVolumeClaim "]
                .iter()
                .any(|unit| rest.contains(unit))
        })
    };
    is_usage("minimum ") || is_usage("maximum ") || words.contains(" max limit to request ratio per ")
}

/// Returns `true` if a write sets, changes or removes a label with this prefix.
fn changes_label(write: Write<'_>, begins: &str) -> bool {
    let labels = |body: &Value| -> BTreeMap<String, Value> {
        let labels = body.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
        labels.filter(|(name, _)| name.starts_with(begins)).map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    write.before.is_some_and(|before| labels(before) != labels(write.after))
}

/// The webhook configuration that the run changes and that contains the webhook in the message.
fn webhook<'a>(words: &str, brought: &Brought<'a>) -> Option<&'a ObjectKey> {
    let name = between(words, "admission webhook \"", "\" denied the request")
        .or_else(|| between(words, "failed calling webhook \"", "\""))?;
    let kinds = ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"];
    let has = |body: &Value| {
        let hooks = body.get("webhooks").and_then(Value::as_array).into_iter().flatten();
        hooks.into_iter().any(|hook| hook.get("name").and_then(Value::as_str) == Some(name))
    };
    // A configuration that the run creates cannot refuse anything yet.
    let mut changed = brought.of_kind(ADMISSION, &kinds).filter(|(_, write)| !write.is_created());
    changed.find(|(_, write)| write.before.is_some_and(has)).map(|(by, _)| by)
}

fn is_policys(words: &str) -> bool {
    words.contains("AdmissionPolicy '")
}

/// The changed policy or the changed binding that the message names, or a changed parameter of that policy.
fn policy<'a>(words: &str, brought: &Brought<'a>) -> Option<&'a ObjectKey> {
    let (name, binding) = (between(words, "AdmissionPolicy '", "'")?, between(words, "with binding '", "'"));
    let policies = ["ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"];
    let bindings = ["ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding"];
    let is_meant = |by: &ObjectKey| {
        policies.contains(&by.kind.as_str()) && by.name == name
            || bindings.contains(&by.kind.as_str()) && Some(by.name.as_str()) == binding
    };
    let kinds = [policies, bindings].concat();
    let mut changed = brought.of_kind(ADMISSION, &kinds).filter(|(_, write)| !write.is_created());
    changed.find(|(by, _)| is_meant(by)).map(|(by, _)| by).or_else(|| parameter(name, binding?, brought))
}

/// A changed object from which a policy takes its parameters. The tree must contain the policy and its binding.
fn parameter<'a>(policy: &str, binding: &str, brought: &Brought<'a>) -> Option<&'a ObjectKey> {
    let find = |ends: &str, name: &str| {
        let is_it = |key: &ObjectKey| key.group == ADMISSION && key.kind.ends_with(ends) && key.name == name;
        brought.desired.iter().find(|(key, _)| is_it(key)).map(|(_, body)| &***body)
    };
    let text = |body: &Value, field: &str| body.pointer(field).and_then(Value::as_str).map(str::to_owned);
    let (policy, binding) = (find("AdmissionPolicy", policy)?, find("AdmissionPolicyBinding", binding)?);
    let (kind, name) = (text(policy, "/spec/paramKind/kind")?, text(binding, "/spec/paramRef/name")?);
    let namespace = text(binding, "/spec/paramRef/namespace");
    let is_it =
        |key: &ObjectKey| key.kind == kind && key.name == name && (namespace.is_none() || key.namespace == namespace);
    let mut changed = brought.writes.iter().filter(|(key, write)| is_it(key) && !write.is_created());
    changed.next().map(|(key, _)| *key)
}

/// The role to which a binding refers, if the run writes it.
fn role_of<'a>(key: &ObjectKey, body: &Value, brought: &Brought<'a>) -> Option<&'a ObjectKey> {
    if key.group != RBAC || !matches!(key.kind.as_str(), "RoleBinding" | "ClusterRoleBinding") {
        return None;
    }
    let text = |field: &str| body.pointer(field).and_then(Value::as_str);
    let (kind, name) = (text("/roleRef/kind")?, text("/roleRef/name")?);
    let namespace = key.namespace.as_deref().filter(|_| kind == "Role");
    brought.get(RBAC, kind, namespace, name).map(|(by, _)| by)
}

/// The right that a user lacks, parsed from a message such as
/// `User "dora" cannot patch resource "secrets" in API group "" in the namespace "w"`.
struct Lacks<'w> {
    user: &'w str,
    verb: &'w str,
    resource: &'w str,
    group: &'w str,
}

/// A role or binding that the run writes and that gives the user the missing right.
fn entitled<'a>(words: &str, namespace: Option<&str>, brought: &Brought<'a>) -> Option<&'a ObjectKey> {
    let lacks = Lacks {
        user: between(words, "User \"", "\"")?,
        verb: between(words, "\" cannot ", " resource ")?,
        resource: between(words, " resource \"", "\"")?,
        group: between(words, " in API group \"", "\"")?,
    };
    for (binding, body) in &brought.desired {
        let reaches = binding.kind == "ClusterRoleBinding"
            || binding.kind == "RoleBinding" && namespace.is_some() && binding.namespace.as_deref() == namespace;
        if binding.group != RBAC || !reaches || !names(body, lacks.user) {
            continue;
        }
        let text = |field: &str| body.pointer(field).and_then(Value::as_str).unwrap_or_default();
        let role = ObjectKey {
            group: RBAC.to_owned(),
            kind: text("/roleRef/kind").to_owned(),
            namespace: binding.namespace.clone().filter(|_| text("/roleRef/kind") == "Role"),
            name: text("/roleRef/name").to_owned(),
        };
        let Some((role, rules)) = brought.desired.get_key_value(&role) else { continue };
        if !grants(rules, &lacks) {
            continue;
        }
        let written = [binding, role].into_iter().find(|key| brought.contains(key));
        if let Some(by) = written {
            return Some(by);
        }
    }
    None
}

/// Returns `true` if a binding names this user, or the service account that this user is.
fn names(binding: &Value, user: &str) -> bool {
    let subjects = binding.get("subjects").and_then(Value::as_array).into_iter().flatten();
    subjects.into_iter().any(|subject| {
        let text = |field: &str| subject.get(field).and_then(Value::as_str).unwrap_or_default();
        match text("kind") {
            "User" => text("name") == user,
            "ServiceAccount" => format!("system:serviceaccount:{}:{}", text("namespace"), text("name")) == user,
            _ => false,
        }
    })
}

fn grants(role: &Value, lacks: &Lacks<'_>) -> bool {
    let rules = role.get("rules").and_then(Value::as_array).into_iter().flatten();
    rules.into_iter().any(|rule| {
        let has = |field: &str, wanted: &str| {
            let listed = rule.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            listed.into_iter().any(|one| one == "*" || one == wanted)
        };
        // A right that is limited to certain names may not cover this object.
        let is_limited = rule.get("resourceNames").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
        !is_limited && has("verbs", lacks.verb) && has("resources", lacks.resource) && has("apiGroups", lacks.group)
    })
}

/// The text between two other texts.
pub(super) fn between<'w>(words: &'w str, begins: &str, ends: &str) -> Option<&'w str> {
    let (_, rest) = words.split_once(begins)?;
    rest.split_once(ends).map(|(found, _)| found)
}

/// The name that follows one of the given prefixes.
pub(super) fn named<'w>(words: &'w str, begins: &[&str]) -> Option<&'w str> {
    let (_, rest) = begins.iter().find_map(|begins| words.split_once(begins))?;
    rest.split([',', ':']).next().map(str::trim)
}

/// Returns `true` if two states of an object differ in more than the fields that a server writes by itself.
fn differs(before: &Value, after: &Value) -> bool {
    let content = |body: &Value| {
        let mut body = body.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|name, _| name == "labels" || name == "annotations");
        }
        body
    };
    content(before) != content(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn key(word: &str) -> ObjectKey {
        word.parse().unwrap()
    }

    /// A written object: its key as text, the object before (null if the run creates it), and the object after.
    type Written = (&'static str, Value, Value);

    struct World {
        written: Vec<(ObjectKey, Value, Body)>,
    }

    impl World {
        fn of(written: &[Written]) -> Self {
            let one = |(word, before, after): &Written| (key(word), before.clone(), after.clone().into());
            Self { written: written.iter().map(one).collect() }
        }

        fn brought<'w>(&'w self) -> Brought<'w> {
            let write = |(key, before, after): &'w (ObjectKey, Value, Body)| {
                (key, Write { before: Some(before).filter(|one| !one.is_null()), after })
            };
            let desired = self.written.iter().map(|(key, _, after)| (key, after)).collect();
            Brought { writes: self.written.iter().map(write).collect(), desired }
        }
    }

    fn denied(words: &str) -> Refusal {
        Refusal::Denied(words.to_owned())
    }

    type Case = (Refusal, &'static str, Value, Written);

    /// Refusals in the words of Kubernetes 1.37.2, the refused object, and the object that the run writes.
    fn cases() -> Vec<Case> {
        let mut cases = admission();
        cases.extend(others());
        cases
    }

    fn admission() -> Vec<Case> {
        let labels = |value: &str| json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": value}}});
        let hook = |rules: u64| json!({"webhooks": [{"name": "hook.w.dev", "rules": rules}]});
        let pod = "Pod/w/p";
        vec![
            (
                denied(
                    "pods \"p\" is forbidden: error looking up service account w/nosa: serviceaccount \"nosa\" not found",
                ),
                pod,
                json!({}),
                ("ServiceAccount/w/nosa", Value::Null, json!({})),
            ),
            (
                denied("pods \"p\" is forbidden: no PriorityClass with name high was found"),
                pod,
                json!({}),
                ("PriorityClass.scheduling.k8s.io/high", Value::Null, json!({})),
            ),
            (
                denied("pods \"p\" is forbidden: pod rejected: RuntimeClass \"gv\" not found"),
                pod,
                json!({}),
                ("RuntimeClass.node.k8s.io/gv", Value::Null, json!({})),
            ),
            (
                denied(
                    "persistentvolumeclaims \"p\" is forbidden: only dynamically provisioned pvc can be resized and the \
                storageclass that provisions the pvc must support resize",
                ),
                "PersistentVolumeClaim/w/p",
                json!({"spec": {"storageClassName": "fast"}}),
                ("StorageClass.storage.k8s.io/fast", json!({"allowVolumeExpansion": false}), json!({})),
            ),
            (
                denied(
                    "configmaps \"c1\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=1, limited: configmaps=1",
                ),
                "ConfigMap/w/c1",
                json!({}),
                ("ResourceQuota/w/q", json!({"spec": 1}), json!({"spec": 2})),
            ),
            (
                denied("pods \"p\" is forbidden: failed quota: q: must specify limits.cpu for: c"),
                pod,
                json!({}),
                ("LimitRange/w/lr", Value::Null, json!({})),
            ),
            (
                denied(
                    "pods \"p\" is forbidden: [minimum memory usage per Container is 10Mi, but request is 1Mi, maximum cpu usage per Container is 1, but limit is 2]",
                ),
                pod,
                json!({}),
                ("LimitRange/w/lr", json!({"spec": 1}), json!({"spec": 2})),
            ),
            (
                denied(
                    "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false",
                ),
                pod,
                json!({}),
                ("Namespace/w", labels("restricted"), labels("baseline")),
            ),
            (
                denied(
                    "The configmaps \"bad\" is invalid: : ValidatingAdmissionPolicy 'nocm' with binding 'nocmb' denied request: no bad",
                ),
                "ConfigMap/w/bad",
                json!({}),
                ("ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io/nocmb", json!({"spec": 1}), json!({})),
            ),
            (
                denied("admission webhook \"hook.w.dev\" denied the request: no"),
                "Secret/w/s",
                json!({}),
                ("ValidatingWebhookConfiguration.admissionregistration.k8s.io/hooky", hook(1), hook(2)),
            ),
            (
                Refusal::Unavailable(
                    "Internal error occurred: failed calling webhook \"hook.w.dev\": failed to call webhook".into(),
                ),
                "Secret/w/s",
                json!({}),
                ("MutatingWebhookConfiguration.admissionregistration.k8s.io/hooky", hook(1), json!({})),
            ),
        ]
    }

    fn others() -> Vec<Case> {
        let binding = json!({"roleRef": {"kind": "Role", "name": "norole"}});
        let crd = |field: &str| {
            json!({"spec": {"group": "w.dev", "scope": "Namespaced",
            "names": {"kind": "Till", "plural": "tills"}, "versions": [{"name": "v1", "served": true,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
                "properties": {field: {"type": "string"}}}}}}}]}})
        };
        let till = json!({"apiVersion": "w.dev/v1", "spec": {"new": "x"}});
        vec![
            (
                Refusal::Absent("rolebindings.rbac.authorization.k8s.io \"norole\" not found".into()),
                "RoleBinding.rbac.authorization.k8s.io/w/rb",
                binding,
                ("Role.rbac.authorization.k8s.io/w/norole", Value::Null, json!({})),
            ),
            (
                Refusal::NoNamespace("namespaces \"w\" not found".into()),
                "ConfigMap/w/c",
                json!({}),
                ("Namespace/w", Value::Null, json!({})),
            ),
            (
                Refusal::Malformed(
                    "failed to create typed patch object (w/t): .spec.new: field not declared in schema".into(),
                ),
                "Till.w.dev/w/t",
                till.clone(),
                ("CustomResourceDefinition.apiextensions.k8s.io/tills.w.dev", crd("old"), crd("new")),
            ),
            (
                Refusal::NoKind("404 page not found".into()),
                "Till.w.dev/w/t",
                till,
                ("CustomResourceDefinition.apiextensions.k8s.io/tills.w.dev", Value::Null, crd("new")),
            ),
        ]
    }

    #[test]
    fn r2_a_refusal_waits_for_what_the_run_brings_and_it_is_about() {
        for (refusal, word, body, written) in cases() {
            let world = World::of(std::slice::from_ref(&written));
            let by = awaited(&refusal, &key(word), &body, &world.brought()).map(ToString::to_string);
            assert_eq!(by, Some(key(written.0).to_string()), "{refusal:?}");
            // The run writes nothing, so the refusal is real.
            assert_eq!(awaited(&refusal, &key(word), &body, &World::of(&[]).brought()), None, "{refusal:?}");
        }
    }

    #[test]
    fn r2_what_a_refusal_is_about_without_naming_it_is_waited_for() {
        let binding = json!({"spec": {"policyName": "p", "paramRef": {"name": "allowed", "namespace": "w"}}});
        let policy = json!({"spec": {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}});
        let place = |kind: &'static str| match kind {
            "policy" => "ValidatingAdmissionPolicy.admissionregistration.k8s.io/p",
            _ => "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io/b",
        };
        let by = |words: &str, written: &[Written], unchanged: &[Written]| {
            let (world, rest) = (World::of(written), World::of(unchanged));
            let mut brought = world.brought();
            brought.desired.extend(rest.written.iter().map(|(key, _, after)| (key, after)));
            awaited(&denied(words), &key("Pod/w/p"), &json!({}), &brought).map(ToString::to_string)
        };
        let account = "error looking up service account w/default: serviceaccount \"default\" not found";
        let named = |word: &str| Some(key(word).to_string());
        assert_eq!(by(account, &[("Namespace/w", Value::Null, json!({}))], &[]), named("Namespace/w"));
        assert_eq!(by(account, &[("Namespace/v", Value::Null, json!({}))], &[]), None);
        assert_eq!(by(account, &[("Namespace/w", json!({}), json!({"a": 1}))], &[]), None);
        let scopes = "pods \"p\" is forbidden: insufficient quota to match these scopes: [{PriorityClass In [high]}]";
        assert_eq!(by(scopes, &[("ResourceQuota/w/q", Value::Null, json!({}))], &[]), named("ResourceQuota/w/q"));
        assert_eq!(by(scopes, &[("ResourceQuota/v/q", Value::Null, json!({}))], &[]), None);
        let refused = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
        let connected = [(place("policy"), Value::Null, policy.clone()), (place("binding"), Value::Null, binding)];
        let changed = |word: &'static str| [(word, json!({"data": 1}), json!({"data": 2}))];
        assert_eq!(by(refused, &changed("ConfigMap/w/allowed"), &connected), named("ConfigMap/w/allowed"));
        assert_eq!(by(refused, &changed("ConfigMap/w/other"), &connected), None);
        assert_eq!(by(refused, &changed("ConfigMap/v/allowed"), &connected), None);
        assert_eq!(by(refused, &changed("ConfigMap/w/allowed"), &[(place("policy"), Value::Null, policy)]), None);
    }

    #[test]
    fn r2_the_rights_that_a_run_brings_to_its_own_identity_are_waited_for_and_no_others() {
        let words = "configmaps \"c\" is forbidden: User \"system:serviceaccount:ci:dora\" cannot patch resource \
            \"configmaps\" in API group \"\" in the namespace \"w\"";
        let role = |verb: &str, resource: &str| json!({"rules": [{"apiGroups": [""], "resources": [resource], "verbs": [verb]}]});
        let binding = |name: &str, role: &str| {
            json!({"roleRef": {"kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "namespace": "ci", "name": name}]})
        };
        let by = |role: Value, binding: Value, place: &'static str| {
            let world =
                World::of(&[("Role.rbac.authorization.k8s.io/w/r", Value::Null, role), (place, Value::Null, binding)]);
            let found = awaited(&Refusal::Forbidden(words.into()), &key("ConfigMap/w/c"), &json!({}), &world.brought());
            found.map(|by| by.kind.clone())
        };
        let here = "RoleBinding.rbac.authorization.k8s.io/w/b";
        assert_eq!(by(role("patch", "configmaps"), binding("dora", "r"), here).as_deref(), Some("RoleBinding"));
        assert_eq!(by(role("*", "*"), binding("dora", "r"), here).as_deref(), Some("RoleBinding"));
        assert_eq!(by(role("get", "configmaps"), binding("dora", "r"), here), None);
        assert_eq!(by(role("patch", "secrets"), binding("dora", "r"), here), None);
        assert_eq!(by(role("patch", "configmaps"), binding("nora", "r"), here), None);
        assert_eq!(by(role("patch", "configmaps"), binding("dora", "s"), here), None);
        let there = "RoleBinding.rbac.authorization.k8s.io/v/b";
        assert_eq!(by(role("patch", "configmaps"), binding("dora", "r"), there), None);
    }

    #[test]
    fn r2_what_a_changed_crd_does_not_take_either_is_a_real_refusal_and_so_is_a_rule_that_stays() {
        let crd = |fields: Value, rule: &str| {
            json!({"spec": {"group": "w.dev", "scope": "Namespaced",
            "names": {"kind": "Till", "plural": "tills"}, "versions": [{"name": "v1", "served": true,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
                "x-kubernetes-validations": [{"rule": rule}], "properties": fields}}}}}]}})
        };
        let (old, both) = (json!({"a": {"type": "string"}}), json!({"a": {"type": "string"}, "b": {"type": "string"}}));
        let place = "CustomResourceDefinition.apiextensions.k8s.io/tills.w.dev";
        let by = |refusal: Refusal, before: Value, after: Value, spec: Value| {
            let world = World::of(&[(place, before, after)]);
            let body = json!({"apiVersion": "w.dev/v1", "spec": spec});
            awaited(&refusal, &key("Till.w.dev/w/t"), &body, &world.brought()).is_some()
        };
        let invalid = || Refusal::Invalid("Till \"t\" is invalid".into());
        let unknown = || Refusal::Malformed(".spec.b: field not declared in schema".into());
        assert!(by(unknown(), crd(old.clone(), "r"), crd(both.clone(), "r"), json!({"b": "x"})));
        assert!(!by(unknown(), crd(old.clone(), "r"), crd(both.clone(), "r"), json!({"c": "x"})));
        assert!(!by(unknown(), crd(old.clone(), "r"), crd(both.clone(), "r"), json!({"b": 1})));
        // The present schema accepts the object. A rule refused it, and that rule stays.
        assert!(!by(invalid(), crd(old.clone(), "r"), crd(both.clone(), "r"), json!({"a": "x"})));
        assert!(by(invalid(), crd(old, "r"), crd(both, "s"), json!({"a": "x"})));
    }

    proptest! {
        /// A refusal stays real if the run writes only objects of other kinds, in other namespaces or under other
        /// names.
        #[test]
        fn r2_what_the_refusal_is_not_about_excuses_nothing(
            pick in 0..15_usize,
            others in proptest::collection::vec((0..15_usize, 0..3_u8), 0..6),
        ) {
            let all = cases();
            let (refusal, word, body, about) = &all[pick];
            let mut written = Vec::new();
            for (index, how) in others {
                let (word, before, after) = &all[index].3;
                let mut key = key(word);
                let after = match how {
                    0 => {
                        key.name.push_str("-other");
                        // A CRD and a webhook are found by their contents.
                        json!({})
                    }
                    1 if key.namespace.is_some() => {
                        key.namespace = Some("elsewhere".into());
                        after.clone()
                    }
                    _ if key.kind == self::key(about.0).kind || key.group == ADMISSION => continue,
                    // A LimitRange fills in what a quota requires. Conversely, a quota may be removed.
                    _ if ["LimitRange", "ResourceQuota"].contains(&key.kind.as_str()) => continue,
                    _ => after.clone(),
                };
                let before = if how == 0 && !before.is_null() { json!({}) } else { before.clone() };
                written.push((key, before, after.into()));
            }
            let world = World { written };
            let is_about = |by: &ObjectKey| ["LimitRange"].contains(&by.kind.as_str()) && by.namespace.as_deref() == Some("w");
            let by = awaited(refusal, &key(word), body, &world.brought()).filter(|by| !is_about(by));
            prop_assert_eq!(by, None, "{:?}", refusal);
        }
    }
}

//! The details of a change that only its reader needs: its risks, the manifest of an object that is created or deleted,
//! and the number of pods that it ends. They decide nothing.
//!
//! **Invariant:** every detail is computed from redacted objects.

use std::borrow::Cow;

use serde_json::Value;

use super::change::{Change, Step};
use super::decision::Action;
use super::risk::{Risk, risks};
use crate::object::body::Body;
use crate::object::ident::ObjectKey;
use crate::object::redact::Redactor;

/// The maximum number of bytes of all manifests that a plan keeps for its reader. No report shows more than this.
const MOST_BODIES: usize = 2 << 20;

/// The versions of the object that a change is about.
#[derive(Default)]
pub(crate) struct Versions<'a> {
    /// The object before the change.
    pub before: Option<Cow<'a, Value>>,
    /// The object after the change.
    pub after: Option<Cow<'a, Value>>,
    /// The manifest that states the object: the desired one, or for a deletion the one in the base.
    pub manifest: Option<&'a Body>,
    /// The live object, if it is known.
    pub live: Option<&'a Value>,
}

/// The way in which an immutable field is recognized.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Immutability {
    /// The server was asked for a dry run, and only a replacement is due to an immutable field.
    Tried,
    /// No server was asked, so the table of risks says which fields are immutable.
    Assumed,
}

/// Adds the details to each change that a run would make.
pub(crate) fn add<'a, 'v>(
    changes: impl Iterator<Item = &'a mut Change>,
    immutability: Immutability,
    redactor: &Redactor,
    versions: impl Fn(&Change) -> Versions<'v>,
) {
    let mut room = MOST_BODIES;
    for change in changes.filter(|change| is_made(change.action())) {
        let versions = versions(change);
        change.risks = risks_of(change, &versions, immutability, redactor);
        change.pods = versions.live.and_then(|live| pods(change, live));
        if matches!(change.action(), Action::Create | Action::Delete)
            && let Some(manifest) = versions.manifest.filter(|manifest| manifest.json().len() <= room)
        {
            let body = Body::from(shown(&change.ident.key, &manifest.parse(), redactor));
            room = room.saturating_sub(body.json().len());
            change.body = Some(body);
        }
    }
}

/// Returns `true` if a run writes or deletes an object with this action.
fn is_made(action: Action) -> bool {
    !matches!(action, Action::Release | Action::Unchanged | Action::Keep | Action::Blocked)
}

/// The object without its secrets.
fn shown(key: &ObjectKey, body: &Value, redactor: &Redactor) -> Value {
    redactor.secrets(&key.kind, None, Some(body)).after(body).shown()
}

fn risks_of(change: &Change, versions: &Versions<'_>, immutability: Immutability, redactor: &Redactor) -> Vec<Risk> {
    let key = &change.ident.key;
    let (before, after) = (versions.before.as_deref(), versions.after.as_deref());
    let secrets = redactor.secrets(&key.kind, before, after);
    let before = before.map(|body| secrets.before(body).shown());
    let after = after.map(|body| secrets.after(body).shown());
    let mut found = risks(key, before.as_ref(), after.as_ref());
    let is_immutable = |risk: &Risk| matches!(risk, Risk::Immutable(_));
    if change.action() == Action::Replace {
        if !found.iter().any(is_immutable) {
            found.insert(0, Risk::Replaced);
        }
    } else if immutability == Immutability::Tried {
        found.retain(|risk| !is_immutable(risk));
    }
    found
}

/// The number of live pods that a change ends: those of an object that is deleted or replaced, and those whose template
/// changes.
fn pods(change: &Change, live: &Value) -> Option<u64> {
    let is_template = |steps: &[Step]| {
        let names = steps.iter().map_while(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            _ => None,
        });
        names.take(2).eq(["spec", "template"])
    };
    let key = &change.ident.key;
    let ends = matches!(change.action(), Action::Delete | Action::Replace)
        || key.group == "apps" && change.diff.iter().any(|field| is_template(&field.steps));
    let pointer = match (key.group.as_str(), key.kind.as_str()) {
        ("apps", "Deployment" | "StatefulSet" | "ReplicaSet") | ("", "ReplicationController") => "/status/replicas",
        ("apps", "DaemonSet") => "/status/currentNumberScheduled",
        ("batch", "Job") => "/status/active",
        _ => return None,
    };
    live.pointer(pointer).and_then(Value::as_u64).filter(|count| ends && *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::redact::Adopted;
    use crate::object::refusal::Refusal;
    use crate::plan::change::FieldChange;
    use crate::plan::decision::{Create, Decision, Delete, Keep, Update};
    use crate::plan::risk::Weight;
    use serde_json::json;

    fn change(decision: Decision, group: &str, kind: &str) -> Change {
        let key = ObjectKey { group: group.into(), kind: kind.into(), namespace: Some("x".into()), name: "web".into() };
        Change { decision, ..Change::deletion(key, "u") }
    }

    fn with<'a>(before: &'a Value, after: &'a Value, manifest: &'a Body) -> Versions<'a> {
        let some = |value: &'a Value| (!value.is_null()).then_some(Cow::Borrowed(value));
        Versions { before: some(before), after: some(after), manifest: Some(manifest), live: Some(before) }
    }

    fn described(change: Change, before: &Value, after: &Value, immutability: Immutability) -> Change {
        let redactor = Redactor::new(["/spec/rules".parse().unwrap()], Adopted::Hidden);
        let manifest = Body::from(if after.is_null() { before.clone() } else { after.clone() });
        let mut changes = [change];
        add(changes.iter_mut(), immutability, &redactor, |_| with(before, after, &manifest));
        let [change] = changes;
        change
    }

    const DELETE: Decision = Decision::Delete(Delete::Undesired);
    const UPDATE: Decision = Decision::Update(Update::Differs);

    #[test]
    fn only_what_is_made_has_risks_and_a_manifest() {
        let body = json!({"kind": "StatefulSet", "spec": {"replicas": 1}});
        let deleted = described(change(DELETE, "apps", "StatefulSet"), &body, &Value::Null, Immutability::Tried);
        assert_eq!(deleted.risks, [Risk::Removal(Weight::High)]);
        assert_eq!(*deleted.body.unwrap(), body);
        let kept = change(Decision::Keep(Keep::LaterCommits), "apps", "StatefulSet");
        let kept = described(kept, &body, &Value::Null, Immutability::Tried);
        assert_eq!((kept.risks.len(), kept.body), (0, None));
        let updated = described(change(UPDATE, "apps", "StatefulSet"), &body, &body, Immutability::Tried);
        assert_eq!((updated.risks.len(), updated.body), (0, None));
    }

    #[test]
    fn p5_a_secret_is_in_no_risk_and_in_no_manifest() {
        let host = |name: &str| json!({"spec": {"rules": [{"host": name}], "x": 1}});
        let ingress = change(UPDATE, "networking.k8s.io", "Ingress");
        let updated = described(ingress, &host("canary-a"), &host("canary-b"), Immutability::Tried);
        assert_eq!(updated.risks, []);
        let created = change(Decision::Create(Create::New), "", "Secret");
        let body = json!({"kind": "Secret", "data": {"canary-name": "canary"}, "spec": {"rules": "canary"}});
        let created = described(created, &Value::Null, &body, Immutability::Tried);
        assert_eq!(
            *created.body.unwrap(),
            json!({"kind": "Secret", "data": "(secret)", "spec": {"rules": "(secret)"}})
        );
    }

    #[test]
    fn a_field_is_immutable_only_where_the_server_says_so_or_cannot_be_asked() {
        let selector = |app: &str| json!({"spec": {"selector": {"app": app}}});
        let risks = |decision: Decision, after: &Value, immutability| {
            described(change(decision, "apps", "Deployment"), &selector("a"), after, immutability).risks
        };
        let replace = || Decision::Replace(Refusal::Invalid("immutable".to_owned()));
        assert_eq!(risks(UPDATE, &selector("b"), Immutability::Assumed), [Risk::Immutable("/spec/selector")]);
        assert_eq!(risks(UPDATE, &selector("b"), Immutability::Tried), []);
        assert_eq!(risks(replace(), &selector("b"), Immutability::Tried), [Risk::Immutable("/spec/selector")]);
        assert_eq!(risks(replace(), &selector("a"), Immutability::Tried), [Risk::Replaced]);
    }

    #[test]
    fn pods_are_counted_where_the_change_ends_them() {
        let live = json!({"spec": {}, "status": {"replicas": 3}});
        let ended = |change: Change| described(change, &live, &live, Immutability::Tried).pods;
        assert_eq!(ended(change(DELETE, "apps", "Deployment")), Some(3));
        assert_eq!(ended(change(DELETE, "", "ConfigMap")), None);
        let field = |names: &[&str]| FieldChange {
            path: names.join("."),
            before: None,
            after: None,
            steps: names.iter().map(|name| Step::Field((*name).to_owned())).collect(),
            near: Vec::new(),
        };
        let updated = |names: &[&str]| Change { diff: vec![field(names)], ..change(UPDATE, "apps", "Deployment") };
        assert_eq!(ended(updated(&["spec", "template", "spec"])), Some(3));
        assert_eq!(ended(updated(&["spec", "replicas"])), None);
    }

    #[test]
    fn a_large_plan_keeps_the_first_manifests() {
        let body = Body::from(json!({"data": "x".repeat(MOST_BODIES / 2)}));
        let mut changes = vec![change(DELETE, "", "ConfigMap"); 3];
        let none = Versions::default;
        add(changes.iter_mut(), Immutability::Tried, &Redactor::default(), |_| Versions {
            manifest: Some(&body),
            ..none()
        });
        let kept: Vec<bool> = changes.iter().map(|change| change.body.is_some()).collect();
        assert_eq!(kept, [true, false, false]);
    }
}

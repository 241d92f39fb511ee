//! JSON patches that change the mark of a live object and nothing else. This module makes them, and the cluster adapter
//! sends them.
//!
//! A patch records our manager as the owner of the mark with operation `Update`. A later apply would treat this entry
//! of the managed fields as another manager. A second patch therefore merges it into our entry with operation `Apply`.

use serde_json::{Map, Value, json};

use super::live::Live;
use super::mark::{Ownership, PROJECT, ROOT, Root, managed_fields, ownership};
use crate::project::path::ProjectPath;

/// The next patch towards a mark of `to`. Returns `None` if no patch is left to send, or if neither root owns the
/// object.
///
/// `renamed` returns the new name of a project, or `None` if the project keeps its name.
pub(crate) fn next(
    live: &Live,
    from: &Root,
    to: &Root,
    renamed: impl Fn(&ProjectPath) -> Option<ProjectPath>,
) -> Option<Vec<Value>> {
    if let Ownership::Ours(project) = ownership(live, from)
        && let Some(project) = renamed(&project)
    {
        return Some(marked(live, &project, to));
    }
    match ownership(live, to) {
        Ownership::Ours(_) => {
            let fields = folded(live, from, to)?;
            Some(vec![json!({"op": "replace", "path": "/metadata/managedFields", "value": fields})])
        }
        _ => None,
    }
}

/// The patch that removes the mark of a root. Returns `None` if the root does not own the object.
pub(crate) fn unmarked(live: &Live, root: &Root) -> Option<Vec<Value>> {
    let Ownership::Ours(_) = ownership(live, root) else { return None };
    let mut operations = vec![
        json!({"op": "test", "path": pointer("annotations", PROJECT), "value": live.annotation(PROJECT)}),
        json!({"op": "remove", "path": pointer("annotations", PROJECT)}),
    ];
    if live.label(ROOT).is_some() {
        operations.push(json!({"op": "remove", "path": pointer("labels", ROOT)}));
    }
    Some(operations)
}

/// The patch that replaces the mark.
fn marked(live: &Live, project: &ProjectPath, root: &Root) -> Vec<Value> {
    let label = if live.body.pointer("/metadata/labels").is_some_and(Value::is_object) {
        json!({"op": "add", "path": pointer("labels", ROOT), "value": root.hash()})
    } else {
        json!({"op": "add", "path": "/metadata/labels", "value": {ROOT: root.hash()}})
    };
    vec![
        json!({"op": "test", "path": pointer("annotations", PROJECT), "value": live.annotation(PROJECT)}),
        json!({"op": "replace", "path": pointer("annotations", PROJECT), "value": project}),
        label,
    ]
}

fn pointer(field: &str, name: &str) -> String {
    format!("/metadata/{field}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The managed fields in which the entries of both roots' managers are merged into one `Apply` entry of the new
/// manager.
///
/// Returns `None` if the managed fields already have this form.
fn folded(live: &Live, from: &Root, to: &Root) -> Option<Value> {
    let (before, after) = (from.field_manager(), to.field_manager());
    let text = |entry: &Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_ours = |entry: &&Value| {
        let manager = text(entry, "manager");
        (manager == before || manager == after) && text(entry, "subresource").is_empty()
    };
    let applied = |entry: &&Value| text(entry, "operation") == "Apply";
    let (ours, others): (Vec<&Value>, Vec<&Value>) = managed_fields(live).partition(is_ours);
    if ours.iter().all(|entry| applied(entry) && text(entry, "manager") == after) {
        return None;
    }
    let mut folded = (*ours.iter().find(|entry| applied(entry)).or(ours.first())?).clone();
    let mut fields = Map::new();
    for entry in ours {
        if let Some(Value::Object(more)) = entry.get("fieldsV1") {
            unite(&mut fields, more);
        }
    }
    folded["manager"] = json!(after);
    folded["operation"] = json!("Apply");
    folded["fieldsV1"] = Value::Object(fields);
    Some(others.into_iter().cloned().chain([folded]).collect())
}

/// Adds one tree of managed fields to another.
fn unite(fields: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, below) in more {
        match (fields.get_mut(name), below) {
            (Some(Value::Object(present)), Value::Object(below)) => unite(present, below),
            (Some(_), _) => {}
            (None, below) => drop(fields.insert(name.clone(), below.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::path::Segment;

    fn root(name: &str) -> Root {
        Root::new(Segment::new(name).unwrap())
    }

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn mark() -> Value {
        json!({"f:metadata": {"f:annotations": {"f:kubernator.io/project": {}}, "f:labels": {"f:kubernator.io/root": {}}}})
    }

    fn live(project: &str, root: &Root, managed: &[Value]) -> Live {
        let body = json!({"metadata": {"annotations": {PROJECT: project}, "labels": {ROOT: root.hash()},
            "managedFields": managed}});
        Live { body }
    }

    #[test]
    fn o9_the_mark_changes_first_and_its_entry_is_folded_then() {
        let (demo, shop) = (root("demo"), root("shop"));
        let renamed = |project: &ProjectPath| project.renamed(&demo.project(), &shop.project());
        let data = json!({"f:data": {"f:x": {}}});
        let before = live("demo.a", &demo, &[entry("ktor-demo", "Apply", &mark()), entry("other", "Update", &data)]);
        let patch = next(&before, &demo, &shop, renamed).unwrap();
        assert_eq!(
            json!(patch),
            json!([
                {"op": "test", "path": "/metadata/annotations/kubernator.io~1project", "value": "demo.a"},
                {"op": "replace", "path": "/metadata/annotations/kubernator.io~1project", "value": "shop.a"},
                {"op": "add", "path": "/metadata/labels/kubernator.io~1root", "value": shop.hash()},
            ])
        );
        let marked =
            live("shop.a", &shop, &[entry("ktor-demo", "Apply", &data), entry("ktor-shop", "Update", &mark())]);
        let patch = next(&marked, &demo, &shop, renamed).unwrap();
        let mut both = data.clone();
        both["f:metadata"] = mark()["f:metadata"].clone();
        let folded = json!([entry("ktor-shop", "Apply", &both)]);
        assert_eq!(json!(patch), json!([{"op": "replace", "path": "/metadata/managedFields", "value": folded}]));
        let done = live("shop.a", &shop, &[entry("ktor-shop", "Apply", &both)]);
        assert_eq!(next(&done, &demo, &shop, renamed), None);
    }

    #[test]
    fn o9_nothing_is_done_to_what_is_not_ours() {
        let demo = root("demo");
        let (a, b) = ("demo.a".parse().unwrap(), "demo.b".parse().unwrap());
        let renamed = |project: &ProjectPath| project.renamed(&a, &b);
        let copied = live("demo.a", &demo, &[entry("a-controller", "Update", &mark())]);
        assert_eq!(next(&copied, &demo, &demo, renamed), None);
        assert_eq!(unmarked(&copied, &demo), None);
        let elsewhere = live("demo.ab", &demo, &[entry("ktor-demo", "Apply", &mark())]);
        assert_eq!(next(&elsewhere, &demo, &demo, renamed), None);
        // An object that Kubernator marked has no label. Its own entry of the managed fields does not change.
        let mut kubernators = live("demo.a", &demo, &[entry("kubernator", "Update", &mark())]);
        kubernators.body["metadata"]["labels"] = Value::Null;
        let patch = next(&kubernators, &demo, &demo, renamed).unwrap();
        assert_eq!(patch[2]["path"], "/metadata/labels");
    }
}

//! The mark of a live object. Only the mark decides which root owns the object.

use std::fmt;

use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

use super::live::Live;
use super::reserved;
use crate::project::path::{ProjectPath, Segment};

/// The annotation that names the owning project.
pub(crate) const PROJECT: &str = "kubernator.io/project";
/// The label that selects the objects of a root.
pub const ROOT: &str = "kubernator.io/root";
/// The annotation that protects a live object from cleanup.
pub(crate) const CLEANUP: &str = "kubernator.io/cleanup";
/// The field manager of Kubernator, which uses the same state format and the same mark.
pub(crate) const KUBERNATOR: &str = "kubernator";

/// A root project. Each root has one state, one lock, one field manager and one value of the label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    segment: Segment,
    hash: String,
}

impl Root {
    /// Makes the root with the given name.
    pub fn new(segment: Segment) -> Self {
        let digest = Sha1::digest(segment.as_str().as_bytes());
        let hash = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self { segment, hash }
    }

    /// The name of the root.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The root as a project.
    pub fn project(&self) -> ProjectPath {
        ProjectPath::root_of(&self.segment)
    }

    /// The first 12 hexadecimal digits of the SHA-1 of the root's name. This is the value of the label and a part of
    /// the name of the state.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The field manager for server-side apply. It differs for each root, so two roots conflict instead of overwriting
    /// each other.
    pub fn field_manager(&self) -> String {
        format!("ktor-{}", self.segment)
    }

    /// The label selector for the objects of this root.
    pub fn selector(&self) -> String {
        format!("{ROOT}={}", self.hash)
    }

    /// The name of the Secret that holds the state.
    pub fn state_name(&self) -> String {
        format!("kubernator-project-{}", self.hash)
    }

    /// The name of the Secret that holds the key for signing reviews.
    pub(crate) fn review_key_name(&self) -> String {
        format!("kubernator-project-{}-review", self.hash)
    }

    /// The name of the Lease that is the lock.
    pub(crate) fn lock_name(&self) -> String {
        format!("kubernator-project-{}-lock", self.hash)
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segment.fmt(f)
    }
}

/// The owner of a live object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This root owns the object. The mark names the given project and was written by us, or by Kubernator for this
    /// root.
    Ours(ProjectPath),
    /// The object carries our whole mark for the given project, but its managed fields were lost or rewritten by a
    /// backup tool. They no longer show who wrote the mark.
    Lost(ProjectPath),
    /// The object has no mark.
    Unmarked,
    /// Another root owns the object. The text describes the owner.
    Other(String),
    /// The mark names our root, but neither we nor Kubernator wrote it. The object is a copy. The text describes the
    /// mark.
    Copied(String),
}

/// Adds the mark of a project to a body that will be applied.
pub fn stamp(body: &mut Value, project: &ProjectPath, root: &Root) {
    for (field, name, value) in [("annotations", PROJECT, project.as_str()), ("labels", ROOT, root.hash())] {
        let metadata = &mut body["metadata"];
        if !metadata[field].is_object() {
            metadata[field] = Value::Object(Map::new());
        }
        metadata[field][name] = json!(value);
    }
}

/// Decides who owns a live object. The decision depends only on the live mark and on the manager that wrote it. The
/// state has no influence.
///
/// An object in which a root keeps its own data always belongs to another owner, even if it carries our mark.
pub fn ownership(live: &Live, root: &Root) -> Ownership {
    if let Some(what) = reserved::described_live(&live.body) {
        return Ownership::Other(what.to_owned());
    }
    let Some(annotation) = live.annotation(PROJECT) else {
        return match live.label(ROOT) {
            // Half a mark does not prove that the object is ours.
            Some(hash) if hash == root.hash() => Ownership::Copied("a label without its annotation".to_owned()),
            Some(hash) => Ownership::Other(format!("the root of the hash {hash}")),
            None => Ownership::Unmarked,
        };
    };
    let project = match annotation.parse::<ProjectPath>() {
        Ok(project) if project.root() == *root.segment() => project,
        Ok(project) => return Ownership::Other(format!("project {project} of root {}", project.root())),
        Err(_) => return Ownership::Other(format!("project {annotation:?}")),
    };
    if let Some(hash) = live.label(ROOT).filter(|hash| *hash != root.hash()) {
        return Ownership::Other(format!("the root of the hash {hash}"));
    }
    let manager = root.field_manager();
    let mut writers = writers_of_mark(live).peekable();
    let is_marked = live.label(ROOT).is_some();
    if is_marked && has_lost_fields(live) {
        return Ownership::Lost(project);
    }
    if writers.peek().is_none() {
        return Ownership::Copied("a mark that no field manager owns".to_owned());
    }
    let mut others = Vec::new();
    for writer in writers {
        if writer == manager || writer == KUBERNATOR {
            return Ownership::Ours(project);
        }
        others.push(writer.to_owned());
    }
    Ownership::Copied(format!("a mark written by {}", others.join(", ")))
}

/// The managers of whole objects that other managers wrote before. The API server or a backup tool sets them.
pub(crate) const RESTORERS: [&str; 3] = ["before-first-apply", "velero", "velero-server"];

/// Returns `true` if the managed fields do not show who wrote the mark, because they were lost or the object was
/// restored from a backup.
fn has_lost_fields(live: &Live) -> bool {
    let mut writers = writers_of_mark(live).peekable();
    match writers.peek() {
        None => managed_fields(live).all(|entry| !entry.is_object() || entry.get("fieldsV1").is_none()),
        Some(_) => writers.all(|writer| RESTORERS.contains(&writer)),
    }
}

/// Returns `true` if this entry of the managed fields belongs to a restorer and owns the mark. It then stands for the
/// managed fields that were lost.
pub(crate) fn is_restored(entry: &Value) -> bool {
    let manager = entry.get("manager").and_then(Value::as_str).unwrap_or_default();
    RESTORERS.contains(&manager) && owns_mark(entry)
}

fn owns_mark(entry: &Value) -> bool {
    let annotations = entry.get("fieldsV1").and_then(|fields| fields.get("f:metadata")?.get("f:annotations"));
    annotations.is_some_and(|annotations| annotations.get(format!("f:{PROJECT}")).is_some())
}

/// The managers whose entries own the project annotation.
fn writers_of_mark(live: &Live) -> impl Iterator<Item = &str> {
    managed_fields(live).filter(|entry| owns_mark(entry)).filter_map(|entry| entry.get("manager")?.as_str())
}

/// The entries of `metadata.managedFields`.
pub(crate) fn managed_fields(live: &Live) -> impl Iterator<Item = &Value> {
    live.body.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Root {
        Root::new(Segment::new("demo").unwrap())
    }

    fn live(project: Option<&str>, label: Option<&str>, manager: &str) -> Live {
        let mut body = json!({"metadata": {"annotations": {}, "labels": {}}});
        if let Some(project) = project {
            body["metadata"]["annotations"][PROJECT] = json!(project);
        }
        if let Some(label) = label {
            body["metadata"]["labels"][ROOT] = json!(label);
        }
        let mut fields = json!({"f:metadata": {"f:annotations": {}}});
        fields["f:metadata"]["f:annotations"][format!("f:{PROJECT}")] = json!({});
        body["metadata"]["managedFields"] = json!([{"manager": manager, "operation": "Apply", "fieldsV1": fields}]);
        Live { body }
    }

    #[test]
    fn names_are_those_of_the_recorded_samples() {
        assert_eq!(root().state_name(), "kubernator-project-89e495e7941c");
        assert_eq!(root().lock_name(), "kubernator-project-89e495e7941c-lock");
        assert_eq!(root().field_manager(), "ktor-demo");
    }

    #[test]
    fn ownership_is_the_live_mark_and_its_writer() {
        let ours = Ownership::Ours("demo.a".parse().unwrap());
        let hash = root().hash().to_owned();
        assert_eq!(ownership(&live(Some("demo.a"), Some(&hash), "ktor-demo"), &root()), ours);
        assert_eq!(ownership(&live(Some("demo.a"), None, "kubernator"), &root()), ours);
        assert_eq!(ownership(&live(None, None, "x"), &root()), Ownership::Unmarked);
        for (project, label, manager) in [
            (Some("demo.a"), Some(hash.as_str()), "endpointslice-mirroring-controller"),
            (Some("demo.a"), Some("000000000000"), "ktor-demo"),
            (Some("demos.a"), None, "ktor-demo"),
            (Some("other"), None, "ktor-other"),
            (Some("not a project"), None, "ktor-demo"),
            (None, Some(hash.as_str()), "ktor-demo"),
        ] {
            let verdict = ownership(&live(project, label, manager), &root());
            assert!(matches!(verdict, Ownership::Other(_) | Ownership::Copied(_)), "{verdict:?}");
        }
    }

    #[test]
    fn x9_a_roots_books_are_nobodys_whatever_mark_they_carry() {
        let hash = root().hash().to_owned();
        let mut books = live(Some("demo.a"), Some(&hash), "ktor-demo");
        for (api_version, kind, name, secret_type, is_books) in [
            ("v1", "Secret", "kubernator-project-0123456789ab", "Opaque", true),
            ("v1", "Secret", "web", "kubernator.io/project-state", true),
            ("v1", "Secret", "web", "Opaque", false),
            ("coordination.k8s.io/v1", "Lease", "kubernator-project-89e495e7941c-lock", "", true),
            ("v1", "ConfigMap", "kubernator-project-89e495e7941c", "", false),
        ] {
            books.body["apiVersion"] = json!(api_version);
            books.body["kind"] = json!(kind);
            books.body["metadata"]["name"] = json!(name);
            books.body["type"] = json!(secret_type);
            let found = ownership(&books, &root());
            assert_eq!(matches!(found, Ownership::Other(_)), is_books, "{kind} {name} {secret_type}: {found:?}");
            assert_eq!(matches!(found, Ownership::Ours(_)), !is_books, "{kind} {name} {secret_type}: {found:?}");
        }
    }

    #[test]
    fn a_mark_nobody_manages_is_not_ours() {
        let mut unmanaged = live(Some("demo.a"), None, "ktor-demo");
        unmanaged.body["metadata"]["managedFields"] = json!([]);
        assert!(matches!(ownership(&unmanaged, &root()), Ownership::Copied(_)));
    }

    #[test]
    fn r10_a_whole_mark_whose_managed_fields_were_lost_is_neither_ours_nor_anyone_elses() {
        let hash = root().hash().to_owned();
        let lost = |label: Option<&str>, fields: &Value| {
            let mut live = live(Some("demo.a"), label, "ktor-demo");
            live.body["metadata"]["managedFields"] = fields.clone();
            ownership(&live, &root())
        };
        let is_lost = |verdict: &Ownership| *verdict == Ownership::Lost("demo.a".parse().unwrap());
        for manager in RESTORERS {
            let restored = live(Some("demo.a"), Some(&hash), manager);
            assert!(is_lost(&ownership(&restored, &root())), "{manager}");
            let elsewhere = live(Some("other.a"), Some(&hash), manager);
            assert!(matches!(ownership(&elsewhere, &root()), Ownership::Other(_)), "{manager}");
        }
        for none in [json!([]), json!(null), json!([{}])] {
            assert!(is_lost(&lost(Some(&hash), &none)), "{none}");
            assert!(matches!(lost(None, &none), Ownership::Copied(_)), "half a mark is not enough");
        }
        let status = json!([{"manager": "a-controller", "operation": "Update", "fieldsV1": {"f:status": {}}}]);
        assert!(matches!(lost(Some(&hash), &status), Ownership::Copied(_)), "fields that were never lost");
    }

    #[test]
    fn stamping_keeps_what_is_there() {
        let mut body = json!({"metadata": {"name": "x", "labels": {"app": "web"}, "annotations": null}});
        stamp(&mut body, &"demo.a".parse().unwrap(), &root());
        assert_eq!(body["metadata"]["labels"], json!({"app": "web", "kubernator.io/root": "89e495e7941c"}));
        assert_eq!(body["metadata"]["annotations"], json!({"kubernator.io/project": "demo.a"}));
    }
}

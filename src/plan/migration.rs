//! Fields that older tools own: which of them become ours, once, and the object without those that are no longer
//! desired.
//!
//! A server-side apply removes only fields that its own manager alone owned. The fields that Kubernator,
//! `kubectl apply` or `kubectl create` wrote belong to their Update entries. These entries are therefore merged into
//! our Apply entry before the first apply.

use serde_json::{Map, Value, json};

use crate::object::field_path::FieldPath;
use crate::object::fields::{Fields, prune, union};
use crate::object::ident::ObjectKey;
use crate::object::live::Live;
use crate::object::mark::{
    KUBERNATOR, Ownership, PROJECT, RESTORERS, ROOT, Root, is_restored, managed_fields, ownership,
};
use crate::object::refusal::FieldConflict;
use crate::plan::policy::Policy;

/// The managers that state a whole object, as a manifest does.
///
/// The list excludes managers that change single fields by hand or by rule (`kubectl-edit`, `kubectl-patch`,
/// `kubectl-set`, `kubectl-label`, `kubectl-annotate`, `kubectl-scale`, `kubectl-rollout`). The fields that they wrote
/// may be missing from the manifest on purpose. The list also excludes `before-first-apply`, because its entry also has
/// fields that controllers set and values that the server allocated.
const HOLDERS: [&str; 8] = [
    KUBERNATOR,
    "kubectl",
    "kubectl-autoscale",
    "kubectl-client-side-apply",
    "kubectl-create",
    "kubectl-expose",
    "kubectl-replace",
    "kubectl-run",
];

/// The annotation in which client-side `kubectl apply` stores the last manifest.
const LAST_APPLIED: &str = "metadata.annotations.kubectl.kubernetes.io/last-applied-configuration";

/// The prefix of the field manager of every root.
const ROOTS: &str = "ktor-";

/// The part of an older tool's entry that becomes ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The whole entry.
    Whole,
    /// Only the metadata. The server does not remove the rest, which then stays without an owner, like a default.
    Metadata,
}

/// The treatment of fields that another root applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OtherRoots {
    /// The fields stay with that root.
    Keep,
    /// The fields become ours, because the caller asked for it by name.
    Yield,
}

/// A transfer of fields from other managers to our field manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldTransfer {
    /// Our field manager.
    manager: String,
    /// The apiVersion of the desired object.
    api_version: String,
    roots: OtherRoots,
    /// The managers whose fields on our objects become ours.
    adopted: Vec<String>,
}

impl FieldTransfer {
    /// The transfer for a root that takes over the fields of older tools on its own objects, or on objects that become
    /// its own.
    pub(crate) fn new(root: &Root, api_version: &str, roots: OtherRoots) -> Self {
        let adopted = Vec::new();
        Self { manager: root.field_manager(), api_version: api_version.to_owned(), roots, adopted }
    }

    /// The transfer for a live object. It also covers the managers that the policy adopts, and another root if the
    /// policy takes the object over from it.
    pub(crate) fn of(root: &Root, api_version: &str, policy: &Policy, key: &ObjectKey, live: &Live) -> Self {
        let is_others = matches!(ownership(live, root), Ownership::Other(_));
        let yields = is_others && policy.takes_over(key, live);
        let transfer = Self::new(root, api_version, if yields { OtherRoots::Yield } else { OtherRoots::Keep });
        Self { adopted: policy.adopt_managers.clone(), ..transfer }
    }

    /// Returns `true` if there are fields to take over.
    pub(crate) fn is_due(&self, live: &Live) -> bool {
        self.legacy(live).next().is_some()
    }

    /// The object's managed fields after the older entries are merged into our own entry; `None` if there are no older
    /// entries.
    pub(crate) fn managed_fields(&self, live: &Live, extent: Extent) -> Option<Value> {
        let inherited = self.inherited(live, extent)?;
        let (ours, legacy) = (self.own(live), self.legacy(live).collect::<Vec<_>>());
        let latest = legacy.iter().filter_map(|entry| entry.get("time")?.as_str()).max();
        let time = ours.and_then(|entry| entry.get("time")?.as_str()).or(latest);
        let is_merged = |entry: &&Value| ours == Some(*entry) || legacy.contains(entry);
        let mut entries: Vec<Value> = managed_fields(live).filter(|entry| !is_merged(entry)).cloned().collect();
        let is_noted = |entry: &Value| Some(noted(fields(entry)?)).filter(|fields| !fields.is_empty());
        entries.extend(legacy.iter().filter(|entry| is_restored(entry)).filter_map(|entry| {
            let mut entry = (*entry).clone();
            entry["fieldsV1"] = Value::Object(is_noted(&entry)?);
            Some(entry)
        }));
        let mut entry = json!({"manager": self.manager, "operation": "Apply", "apiVersion": self.version(live),
            "fieldsType": "FieldsV1", "fieldsV1": inherited});
        if let Some(time) = time {
            entry["time"] = json!(time);
        }
        entries.push(entry);
        Some(Value::Array(entries))
    }

    /// The fields that are ours after the migration; `None` if there are no older entries.
    pub(crate) fn inherited(&self, live: &Live, extent: Extent) -> Option<Fields> {
        let ours = self.own(live).and_then(fields).cloned().unwrap_or_default();
        let mut legacy = self.legacy(live).peekable();
        legacy.peek()?;
        Some(legacy.filter_map(|entry| given(entry, extent)).fold(ours, |all, fields| union(&all, &fields)))
    }

    /// The object without the fields that only the older entries own, computed from the result of a dry run of our
    /// apply. `None` if this changes nothing.
    ///
    /// These fields include values that the server fills in. Only the server can tell which of them come back.
    pub(crate) fn remainder(&self, applied: &Live, extent: Extent) -> Option<Value> {
        let legacy: Vec<&Value> =
            self.legacy(applied).filter(|entry| text(entry, "apiVersion") == self.api_version).collect();
        let mut given =
            legacy.iter().filter_map(|entry| given(entry, extent)).fold(Map::new(), |all, fields| union(&all, &fields));
        given.remove("f:status");
        let kept: Vec<&Fields> =
            managed_fields(applied).filter(|entry| !legacy.contains(entry)).filter_map(fields).collect();
        let mut body = applied.body.clone();
        prune(&mut body, &given, &kept);
        (body != applied.body).then_some(body)
    }

    /// The conflicts that remain after the migration, because other managers own the fields.
    pub(crate) fn contested(&self, live: &Live, contested: &[FieldConflict]) -> Vec<FieldConflict> {
        let legacy: Vec<&Value> = self.legacy(live).collect();
        // If the managed fields were lost, the server attributes all existing fields to one manager and names it in the
        // conflict.
        let is_lost = managed_fields(live).all(|entry| fields(entry).is_none())
            && live.annotation(PROJECT).is_some()
            && live.label(ROOT).is_some();
        let ends = |manager: &str| {
            if is_lost && RESTORERS.contains(&manager) {
                return true;
            }
            let mut entries = managed_fields(live).filter(|entry| text(entry, "manager") == manager).peekable();
            entries.peek().is_some() && entries.all(|entry| legacy.contains(&entry))
        };
        contested.iter().filter(|conflict| !ends(&conflict.manager)).cloned().collect()
    }

    /// Lists the entries to merge into ours.
    ///
    /// It lists the entries of one API version only, because a path of another version may mean something else. This is
    /// the version of our own Apply entry, of which there is only one. Without this entry, it is the version of the
    /// desired object, or the version of the first entry if no entry has the desired version.
    fn legacy<'a>(&self, live: &'a Live) -> impl Iterator<Item = &'a Value> + use<'a> {
        let version = self.version(live);
        let transfer = self.clone();
        managed_fields(live).filter(move |entry| transfer.inherits(entry) && text(entry, "apiVersion") == version)
    }

    fn version(&self, live: &Live) -> String {
        let version = |entry: &Value| text(entry, "apiVersion").to_owned();
        if let Some(ours) = self.own(live) {
            return version(ours);
        }
        let versions: Vec<String> = managed_fields(live).filter(|entry| self.inherits(entry)).map(version).collect();
        match versions.first() {
            Some(first) if !versions.contains(&self.api_version) => first.clone(),
            _ => self.api_version.clone(),
        }
    }

    fn own<'a>(&self, live: &'a Live) -> Option<&'a Value> {
        managed_fields(live).find(|entry| {
            text(entry, "manager") == self.manager
                && text(entry, "operation") == "Apply"
                && text(entry, "subresource").is_empty()
        })
    }

    fn inherits(&self, entry: &Value) -> bool {
        let manager = text(entry, "manager");
        let is_update = text(entry, "operation") == "Update";
        let is_other_root = manager.starts_with(ROOTS) && manager != self.manager;
        text(entry, "subresource").is_empty()
            && ((is_update && (manager == self.manager || HOLDERS.contains(&manager) || is_restored(entry)))
                || self.adopted.iter().any(|adopted| adopted == manager)
                || (is_other_root && self.roots == OtherRoots::Yield))
    }
}

/// Returns `true` if the changed field is only the annotation that client-side `kubectl apply` left for itself.
pub(crate) fn is_bookkeeping(path: &str) -> bool {
    path == LAST_APPLIED
}

/// The fields of an entry that become ours.
fn given(entry: &Value, extent: Extent) -> Option<Fields> {
    let fields = fields(entry)?;
    Some(if is_restored(entry) { within(&stated(fields), extent) } else { within(fields, extent) })
}

/// The places of annotations and labels in an object and in its pod template.
const METADATA: [&str; 2] = ["/f:metadata", "/f:spec/f:template/f:metadata"];
const MAPS: [&str; 2] = ["f:annotations", "f:labels"];

/// The fields of a restored object's entry that manifests state. This excludes the replicas, and the annotations and
/// labels that controllers and commands wrote.
fn stated(fields: &Fields) -> Fields {
    let mut whole = Value::Object(fields.iter().filter(|(name, _)| *name != "f:status").map(owned).collect());
    if let Some(Value::Object(metadata)) = whole.get_mut("f:metadata") {
        metadata.retain(|name, _| MAPS.contains(&name.as_str()));
    }
    for place in METADATA {
        for map in MAPS {
            if let Some(Value::Object(names)) = whole.pointer_mut(&format!("{place}/{map}")) {
                let count = names.len();
                names.retain(|name, _| !is_noted(name));
                if names.len() < count {
                    names.remove(".");
                }
            }
        }
    }
    if let Some(Value::Object(spec)) = whole.get_mut("f:spec") {
        spec.remove("f:replicas");
    }
    whole.as_object().cloned().unwrap_or_default()
}

/// The annotations and labels of a restored object's entry that controllers and commands wrote. They stay theirs.
fn noted(fields: &Fields) -> Fields {
    let whole = Value::Object(fields.clone());
    let mut all = Fields::new();
    for place in METADATA {
        for map in MAPS {
            let names = whole.pointer(&format!("{place}/{map}")).and_then(Value::as_object);
            for name in names.into_iter().flatten().map(|(name, _)| name).filter(|name| is_noted(name)) {
                let path = place.split('/').skip(1).chain([map, name]).map(str::to_owned);
                all = union(&all, &FieldPath::new(path).to_fields());
            }
        }
    }
    all
}

/// Returns `true` if Kubernetes controllers, Kubernetes commands or backup tools write this annotation or label
/// themselves.
fn is_noted(name: &str) -> bool {
    let Some(name) = name.strip_prefix("f:") else { return false };
    const OURS_TO_STATE: [&str; 2] = ["app.kubernetes.io", "kubectl.kubernetes.io/last-applied-configuration"];
    let domain = name.split('/').next().unwrap_or_default();
    let is_theirs = ["kubernetes.io", "k8s.io", "velero.io"]
        .iter()
        .any(|suffix| domain == *suffix || domain.ends_with(&format!(".{suffix}")));
    is_theirs && !OURS_TO_STATE.contains(&domain) && !OURS_TO_STATE.contains(&name)
}

fn within(fields: &Fields, extent: Extent) -> Fields {
    match extent {
        Extent::Whole => fields.clone(),
        Extent::Metadata => fields.iter().filter(|(name, _)| *name == "f:metadata").map(owned).collect(),
    }
}

fn owned((name, field): (&String, &Value)) -> (String, Value) {
    (name.clone(), field.clone())
}

fn fields(entry: &Value) -> Option<&Fields> {
    entry.get("fieldsV1")?.as_object()
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::path::Segment;

    fn transfer(roots: OtherRoots) -> FieldTransfer {
        FieldTransfer::new(&Root::new(Segment::new("demo").unwrap()), "v1", roots)
    }

    fn entry(manager: &str, operation: &str, version: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": version, "fieldsType": "FieldsV1",
            "time": "2026-01-01T00:00:00Z", "fieldsV1": fields})
    }

    fn live(entries: &[Value]) -> Live {
        Live {
            body: json!({"metadata": {"managedFields": entries, "labels": {"l": "1"}}, "data": {"a": "1", "b": "2", "c": "3"}}),
        }
    }

    fn data(names: &[&str]) -> Value {
        let below: Map<String, Value> = names.iter().map(|name| (format!("f:{name}"), json!({}))).collect();
        json!({"f:data": below})
    }

    #[test]
    fn whole_objects_stated_by_older_tools_are_inherited_and_nothing_else() {
        let is_due = |manager: &str, operation: &str, roots| {
            transfer(roots).is_due(&live(&[entry(manager, operation, "v1", &data(&["a"]))]))
        };
        for holder in HOLDERS {
            assert!(is_due(holder, "Update", OtherRoots::Keep), "{holder}");
            assert!(!is_due(holder, "Apply", OtherRoots::Yield), "{holder}");
        }
        assert!(is_due("ktor-demo", "Update", OtherRoots::Keep));
        assert!(!is_due("ktor-demo", "Apply", OtherRoots::Yield));
        for other in ["kubectl-edit", "kubectl-rollout", "before-first-apply", "kube-controller-manager", "helm"] {
            assert!(!is_due(other, "Update", OtherRoots::Yield), "{other}");
        }
        assert!(!is_due("ktor-other", "Apply", OtherRoots::Keep));
        assert!(is_due("ktor-other", "Apply", OtherRoots::Yield));
        let mut status = entry("kubernator", "Update", "v1", &data(&["a"]));
        status["subresource"] = json!("status");
        assert!(!transfer(OtherRoots::Keep).is_due(&live(&[status])));
    }

    #[test]
    fn r10_of_a_restored_object_what_manifests_state_is_inherited() {
        let annotations =
            json!({"f:kubernator.io/project": {}, "f:mine": {}, "f:deployment.kubernetes.io/revision": {}});
        let template = json!({"f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}, "f:a": {}}}});
        let fields = json!({"f:metadata": {"f:annotations": annotations, "f:labels": {"f:app.kubernetes.io/name": {}, "f:velero.io/restore-name": {}},
            "f:finalizers": {".": {}}}, "f:spec": {"f:replicas": {}, "f:template": template}, "f:status": {}});
        let restored = live(&[entry("velero-server", "Update", "v1", &fields)]);
        let inherited = transfer(OtherRoots::Keep).inherited(&restored, Extent::Whole).unwrap();
        let expected = json!({"f:metadata": {"f:annotations": {"f:kubernator.io/project": {}, "f:mine": {}}, "f:labels": {"f:app.kubernetes.io/name": {}}},
            "f:spec": {"f:template": {"f:metadata": {"f:annotations": {"f:a": {}}}}}});
        assert_eq!(Value::Object(inherited), expected);
        // The fields that others noted stay in their entry, which is no longer the entry of a restored object.
        let merged = transfer(OtherRoots::Keep).managed_fields(&restored, Extent::Whole).unwrap();
        let noted = json!({"f:metadata": {"f:annotations": {"f:deployment.kubernetes.io/revision": {}}, "f:labels": {"f:velero.io/restore-name": {}}},
            "f:spec": {"f:template": {"f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}}}}}});
        assert_eq!((&merged[0]["manager"], &merged[0]["fieldsV1"]), (&json!("velero-server"), &noted));
        let done = Live { body: json!({"metadata": {"managedFields": merged}}) };
        assert!(!transfer(OtherRoots::Keep).is_due(&done));
    }

    #[test]
    fn entries_are_merged_into_ours_in_one_version() {
        let others = [
            entry("ktor-demo", "Apply", "v1", &data(&["a"])),
            entry("kubernator", "Update", "v1", &data(&["b"])),
            entry("kubectl-create", "Update", "v2", &data(&["c"])),
            entry("someone", "Update", "v1", &data(&["c"])),
        ];
        let merged = transfer(OtherRoots::Keep).managed_fields(&live(&others), Extent::Whole).unwrap();
        let ours = entry("ktor-demo", "Apply", "v1", &data(&["a", "b"]));
        assert_eq!(merged, json!([others[2], others[3], ours]));
        // The migrated object needs no further migration, whatever else is on it.
        let done = Live { body: json!({"metadata": {"managedFields": merged}}) };
        assert_eq!(transfer(OtherRoots::Keep).managed_fields(&done, Extent::Whole), None);
    }

    #[test]
    fn of_what_the_server_keeps_only_the_metadata_is_inherited() {
        let fields = json!({"f:metadata": {"f:labels": {"f:l": {}}}, "f:data": {"f:a": {}}});
        let merged = transfer(OtherRoots::Keep)
            .managed_fields(&live(&[entry("kubectl-create", "Update", "v1", &fields)]), Extent::Metadata)
            .unwrap();
        assert_eq!(merged[0]["fieldsV1"], json!({"f:metadata": {"f:labels": {"f:l": {}}}}));
    }

    #[test]
    fn the_remainder_lacks_what_only_older_entries_hold() {
        let applied = live(&[
            entry("ktor-demo", "Apply", "v1", &data(&["a"])),
            entry("kubectl-create", "Update", "v1", &data(&["a", "b", "c"])),
            entry("someone", "Update", "v1", &data(&["c"])),
        ]);
        let remainder = transfer(OtherRoots::Keep).remainder(&applied, Extent::Whole).unwrap();
        assert_eq!(remainder["data"], json!({"a": "1", "c": "3"}));
        assert_eq!(transfer(OtherRoots::Keep).remainder(&applied, Extent::Metadata), None);
    }

    #[test]
    fn a_conflict_ends_only_where_all_its_managers_entries_are_inherited() {
        let conflict = |manager: &str| FieldConflict { field: ".data.a".into(), manager: manager.into() };
        let object = live(&[
            entry("kubectl-create", "Update", "v1", &data(&["a"])),
            entry("kubectl", "Update", "v1", &data(&["a"])),
            entry("kubectl", "Apply", "v1", &data(&["a"])),
            entry("hpa", "Update", "v1", &data(&["a"])),
        ]);
        let all = ["kubectl-create", "kubectl", "hpa", "another manager"].map(conflict);
        assert_eq!(transfer(OtherRoots::Keep).contested(&object, &all), all[1..]);
    }

    #[test]
    fn entries_of_the_desired_version_come_first_and_of_any_other_where_there_are_none() {
        let entries =
            |versions: [&str; 2]| versions.map(|version| entry("kubernator", "Update", version, &data(&["a"])));
        let left = |versions| {
            let live = live(&entries(versions));
            let merged = transfer(OtherRoots::Keep).managed_fields(&live, Extent::Whole).unwrap();
            let told = |entry: &Value| format!("{} {}", text(entry, "manager"), text(entry, "apiVersion"));
            merged.as_array().unwrap().iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(left(["v2", "v1"]), ["kubernator v2", "ktor-demo v1"]);
        assert_eq!(left(["v2", "v3"]), ["kubernator v3", "ktor-demo v2"]);
    }

    #[test]
    fn our_entry_is_the_one_that_we_applied() {
        let both =
            [entry("ktor-demo", "Update", "v1", &data(&["c"])), entry("ktor-demo", "Apply", "v1", &data(&["a"]))];
        let merged = transfer(OtherRoots::Keep).managed_fields(&live(&both), Extent::Whole).unwrap();
        assert_eq!(merged, json!([entry("ktor-demo", "Apply", "v1", &data(&["a", "c"]))]));
    }

    #[test]
    fn o4_only_another_roots_object_that_is_taken_over_yields_what_other_roots_hold() {
        let root = Root::new(Segment::new("demo").unwrap());
        let key = ObjectKey { group: String::new(), kind: "Secret".into(), namespace: None, name: "s".into() };
        let mut policy = Policy::new(crate::project::tree::Cleanup::On, "kubernator-system");
        let unmarked = live(&[entry("ktor-other", "Apply", "v1", &data(&["a"]))]);
        let mut marked = unmarked.clone();
        marked.body["metadata"]["annotations"] = json!({"kubernator.io/project": "other"});
        let yields = |policy: &Policy, live: &Live| FieldTransfer::of(&root, "v1", policy, &key, live).is_due(live);
        assert!(!yields(&policy, &marked));
        policy.take_over.push("Secret s".parse().unwrap());
        assert!(yields(&policy, &marked));
        assert!(!yields(&policy, &unmarked), "it is nobody's");
    }
}

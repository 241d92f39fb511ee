//! The Jobs that ran and that a controller then deleted. Such a Job is desired and not live, and must not run again.
//!
//! An annotation on the state's Secret lists these Jobs. If another tool drops the annotation, the Jobs run again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::object::body::Body;
use crate::object::ident::ObjectKey;
use crate::object::manifest::Manifest;

/// The annotation that holds the list: a JSON map from object keys to digests of manifests.
pub(crate) const DONE_ANNOTATION: &str = "kubernator.io/ktor-done";

/// The largest number of Jobs in the list. The size of annotations has a limit of its own.
const MOST: usize = 1_000;

/// The list of the Jobs that ran, each with the digest of the manifest that it ran with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done(BTreeMap<String, String>);

impl Done {
    /// Reads the list from annotations. If the list is missing or cannot be read, it is empty.
    pub(crate) fn parse(annotations: &BTreeMap<String, String>) -> Self {
        let text = annotations.get(DONE_ANNOTATION).map(String::as_str).unwrap_or_default();
        Self(serde_json::from_str(text).unwrap_or_default())
    }

    /// Returns the value of the annotation, or `None` if the list is empty.
    pub(crate) fn annotation(&self) -> Option<String> {
        if self.0.is_empty() { None } else { serde_json::to_string(&self.0).ok() }
    }

    /// Returns the desired Jobs that ran with exactly the manifest that is desired now.
    pub(crate) fn of(&self, desired: &BTreeMap<ObjectKey, Manifest>) -> BTreeSet<ObjectKey> {
        let noted = desired.iter().filter(|(key, manifest)| {
            removes_itself(key, &manifest.body) && self.0.get(&key.to_string()) == Some(&digest(&manifest.body))
        });
        noted.map(|(key, _)| key.clone()).collect()
    }

    /// Returns the list after a run that carried out the changes of the given objects. A Job from an earlier run stays
    /// in the list as long as the same manifest is desired.
    #[must_use]
    pub(crate) fn after<'a>(
        &self,
        desired: &BTreeMap<ObjectKey, Manifest>,
        carried_out: impl IntoIterator<Item = &'a ObjectKey>,
    ) -> Self {
        let ran = carried_out.into_iter().filter_map(|key| desired.get_key_value(key));
        let ran = ran.filter(|(key, manifest)| removes_itself(key, &manifest.body));
        let stays = self.of(desired);
        let stays = stays.iter().filter_map(|key| desired.get_key_value(key));
        let noted = ran.chain(stays).map(|(key, manifest)| (key.to_string(), digest(&manifest.body)));
        Self(noted.take(MOST).collect())
    }
}

/// Returns `true` if the object is a Job that a controller deletes after it has finished.
fn removes_itself(key: &ObjectKey, body: &Body) -> bool {
    key.group == "batch"
        && key.kind == "Job"
        && body.pointer("/spec/ttlSecondsAfterFinished").is_some_and(Value::is_number)
}

fn digest(body: &Body) -> String {
    Sha256::digest(body.json()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ident::Ident;
    use crate::project::snapshot::SourcePlace;
    use serde_json::json;

    fn desired(jobs: &[(&str, Value)]) -> BTreeMap<ObjectKey, Manifest> {
        let one = |(name, spec): &(&str, Value)| {
            let key: ObjectKey = format!("Job.batch/x/{name}").parse().unwrap();
            let ident = Ident { key: key.clone(), version: "v1".into() };
            let place = SourcePlace::new("x.yaml", 1, 1);
            (key, Manifest { ident, body: json!({"spec": spec}).into(), project: "demo".parse().unwrap(), place })
        };
        jobs.iter().map(one).collect()
    }

    #[test]
    fn r4_a_job_is_noted_while_it_is_desired_as_it_ran_and_removes_itself() {
        let (ttl, stays) = (json!({"ttlSecondsAfterFinished": 0}), json!({"parallelism": 1}));
        let tree = desired(&[("gone", ttl.clone()), ("stays", stays), ("failed", ttl.clone())]);
        let ran: Vec<&ObjectKey> = tree.keys().filter(|key| key.name != "failed").collect();
        let done = Done::default().after(&tree, ran);
        let names = |done: &Done, tree| done.of(tree).into_iter().map(|key| key.name).collect::<Vec<_>>();
        assert_eq!(names(&done, &tree), ["gone"]);
        let notes = BTreeMap::from([(DONE_ANNOTATION.to_owned(), done.annotation().unwrap())]);
        let read = Done::parse(&notes);
        assert_eq!(read, done);
        // A run that does not change the Job keeps it in the list. A changed manifest removes it from the list.
        assert_eq!(names(&read.after(&tree, []), &tree), ["gone"]);
        let changed = desired(&[("gone", json!({"ttlSecondsAfterFinished": 0, "parallelism": 2}))]);
        assert_eq!(names(&read, &changed), Vec::<String>::new());
        assert_eq!(read.after(&changed, []).annotation(), None);
        let torn = BTreeMap::from([(DONE_ANNOTATION.to_owned(), "{".to_owned())]);
        assert_eq!(Done::parse(&torn), Done::default());
    }
}

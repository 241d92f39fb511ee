//! Judges objects that changed after the plan was made, when the run comes to write or delete them.

use super::cleanup::kept;
use super::decision::Protection;
use super::policy::{Adoption, Policy};
use crate::object::ident::ObjectKey;
use crate::object::live::Live;
use crate::object::mark::{Ownership, Root, ownership};
use crate::project::path::ProjectPath;

/// The root and the policy that a run judges by.
#[derive(Clone, Copy)]
pub(crate) struct Judge<'a> {
    pub(crate) root: &'a Root,
    pub(crate) policy: &'a Policy,
}

/// The judgement of a planned deletion whose object changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// The object is gone.
    Gone,
    /// The object is no longer ours, or another object has its name.
    Released,
    /// The object is still to be deleted, in this resourceVersion.
    Again(String),
    /// By now, the object is protected.
    Protected(Protection),
    /// The object must not be deleted, for this reason.
    Failed(&'static str),
}

/// The judgement of a planned creation in whose place an object was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// The found object is being deleted. The creation waits for its end.
    Waits,
    /// The found object is ours: an earlier request created it, whose answer was lost. The run applies the manifest.
    Ours,
    /// The found object becomes ours. The run applies the manifest.
    Adopts,
    /// The found object stays as it is, because it belongs to this owner.
    Foreign(String),
    /// The found object stays as it is, because adoption is off.
    Unadopted,
}

impl Judge<'_> {
    /// Judges a planned deletion of the object with this uid and a mark of this project. `now` is the object as it was
    /// just read.
    pub(crate) fn deletion(self, key: &ObjectKey, uid: &str, marked: &ProjectPath, now: Option<&Live>) -> Deletion {
        let Some(live) = now else { return Deletion::Gone };
        if live.uid() != uid {
            return Deletion::Released;
        }
        match ownership(live, self.root) {
            Ownership::Ours(project) if project == *marked => match kept(self.policy, key, live) {
                Some(protection) => Deletion::Protected(protection),
                None => Deletion::Again(live.resource_version().to_owned()),
            },
            // The object now belongs to another project of this root. The next run plans with its new mark.
            Ownership::Ours(_) => Deletion::Failed("its mark changed meanwhile: run again"),
            Ownership::Lost(_) => Deletion::Failed("its managed fields were lost meanwhile: run again"),
            Ownership::Unmarked | Ownership::Other(_) | Ownership::Copied(_) => Deletion::Released,
        }
    }

    /// Judges a planned creation in whose place an object was found.
    pub(crate) fn creation(self, key: &ObjectKey, found: &Live) -> Creation {
        if found.is_terminating() {
            return Creation::Waits;
        }
        match ownership(found, self.root) {
            Ownership::Ours(_) => Creation::Ours,
            Ownership::Other(owner) if !self.policy.takes_over(key, found) => Creation::Foreign(owner),
            Ownership::Unmarked | Ownership::Copied(_) | Ownership::Lost(_)
                if self.policy.adoption == Adoption::Refused =>
            {
                Creation::Unadopted
            }
            _ => Creation::Adopts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::mark::{CLEANUP, PROJECT, stamp};
    use crate::project::path::Segment;
    use crate::project::tree::Cleanup;
    use serde_json::{Value, json};

    fn root() -> Root {
        Root::new(Segment::new("demo").unwrap())
    }

    fn policy() -> Policy {
        Policy::new(Cleanup::On, "kubernator-system")
    }

    fn key() -> ObjectKey {
        ObjectKey { group: String::new(), kind: "ConfigMap".into(), namespace: Some("x".into()), name: "web".into() }
    }

    /// A live object with the mark of a project, written by this manager.
    fn live(project: Option<&str>, manager: &str) -> Live {
        let mut body = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "web", "namespace": "x", "uid": "u", "resourceVersion": "8"}});
        if let Some(project) = project {
            let project: ProjectPath = project.parse().unwrap();
            stamp(&mut body, &project, &Root::new(project.root()));
            body["metadata"]["managedFields"] = json!([{"manager": manager, "operation": "Apply", "apiVersion": "v1",
                "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{PROJECT}"): {}}}}}]);
        }
        Live { body }
    }

    fn with(mut live: Live, pointer: &str, value: &Value) -> Live {
        let (above, name) = pointer.rsplit_once('/').unwrap();
        live.body.pointer_mut(above).unwrap()[name] = value.clone();
        live
    }

    #[test]
    fn a_changed_object_is_deleted_only_if_it_is_the_same_still_ours_and_not_protected() {
        let ours = || live(Some("demo.a"), "ktor-demo");
        let lost = with(ours(), "/metadata/managedFields", &json!([]));
        let keep = with(ours(), "/metadata/annotations", &json!({PROJECT: "demo.a", CLEANUP: "keep"}));
        for (what, now, expected) in [
            ("gone", None, Deletion::Gone),
            ("ours", Some(ours()), Deletion::Again("8".to_owned())),
            ("made anew", Some(with(ours(), "/metadata/uid", &json!("other"))), Deletion::Released),
            ("unmarked", Some(live(None, "")), Deletion::Released),
            ("another root's", Some(live(Some("other"), "ktor-other")), Deletion::Released),
            ("a copy", Some(live(Some("demo.a"), "kubectl")), Deletion::Released),
            (
                "moved",
                Some(live(Some("demo.b"), "ktor-demo")),
                Deletion::Failed("its mark changed meanwhile: run again"),
            ),
            ("without fields", Some(lost), Deletion::Failed("its managed fields were lost meanwhile: run again")),
            ("protected", Some(keep), Deletion::Protected(Protection::Annotation(CLEANUP))),
        ] {
            let (root, policy) = (&root(), &policy());
            let judged = Judge { root, policy }.deletion(&key(), "u", &"demo.a".parse().unwrap(), now.as_ref());
            assert_eq!(judged, expected, "{what}");
        }
    }

    #[test]
    fn an_object_in_the_place_of_a_new_one_is_ours_adopted_or_left_alone() {
        let leaving =
            with(live(Some("other"), "ktor-other"), "/metadata/deletionTimestamp", &json!("2031-05-06T07:08:09Z"));
        let lost = with(live(Some("demo.a"), "ktor-demo"), "/metadata/managedFields", &json!([]));
        for (what, found, allowed, refused) in [
            ("leaving", leaving, Creation::Waits, Creation::Waits),
            ("ours", live(Some("demo.a"), "ktor-demo"), Creation::Ours, Creation::Ours),
            ("unmarked", live(None, ""), Creation::Adopts, Creation::Unadopted),
            ("a copy", live(Some("demo.a"), "kubectl"), Creation::Adopts, Creation::Unadopted),
            ("without fields", lost, Creation::Adopts, Creation::Unadopted),
        ] {
            let refusing = Policy { adoption: Adoption::Refused, ..policy() };
            let root = &root();
            assert_eq!(Judge { root, policy: &policy() }.creation(&key(), &found), allowed, "{what}");
            assert_eq!(Judge { root, policy: &refusing }.creation(&key(), &found), refused, "{what}");
        }
        let others = live(Some("other"), "ktor-other");
        let judged = |policy: &Policy| Judge { root: &root(), policy }.creation(&key(), &others);
        assert!(matches!(judged(&policy()), Creation::Foreign(owner) if owner.contains("other")));
        let taking = Policy { take_over: vec!["other".parse().unwrap()], ..policy() };
        assert_eq!(judged(&taking), Creation::Adopts);
    }
}

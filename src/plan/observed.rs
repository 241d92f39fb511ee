//! What a run found out before it decided: the other input of the plan.

use std::collections::BTreeMap;

use crate::object::ident::{Ident, ObjectKey};
use crate::object::kinds::Kinds;
use crate::object::live::Live;
use crate::object::mark::{Ownership, Root, ownership};
use crate::object::refusal::Refusal;
use crate::project::path::ProjectPath;

/// What looking for an object found.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    /// It is there.
    Live(Live),
    /// A consistent read found nothing, or its kind does not exist: it is gone.
    Absent,
    /// It could not be looked at. Absence must not be inferred from that.
    Unknown(String),
}

/// What a dry run of applying a desired object found.
#[derive(Clone, Debug, PartialEq)]
pub enum Trial {
    /// No request was needed: the managed fields prove that nothing would change.
    Proved,
    /// It would be created.
    Created,
    /// It exists and would then be this.
    Applied(Live),
    /// The server would refuse.
    Refused(Refusal),
    /// The server cannot tell yet: the namespace or kind of the given name is created in the same run.
    Unverified(String),
}

/// Everything that was found out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The kinds there are.
    pub kinds: Kinds,
    /// What was looked for.
    pub looks: BTreeMap<ObjectKey, Look>,
    /// Dry runs of in-scope desired objects.
    pub trials: BTreeMap<ObjectKey, Trial>,
    /// Dry runs of deletions that were refused.
    pub undeletable: BTreeMap<ObjectKey, Refusal>,
}

impl Observed {
    /// The live objects that are ours by their mark, with the project that their mark names.
    pub fn owned(&self, root: &Root) -> Vec<(ProjectPath, Ident)> {
        let ours = |(key, look): (&ObjectKey, &Look)| {
            let Look::Live(live) = look else { return None };
            let Ownership::Ours(project) = ownership(live, root) else { return None };
            let version = self.kinds.get(&key.group_kind())?.versions.first()?.clone();
            Some((project, Ident { key: key.clone(), version }))
        };
        self.looks.iter().filter_map(ours).collect()
    }

    /// The live object of a key, if it was found.
    pub fn live(&self, key: &ObjectKey) -> Option<&Live> {
        match self.looks.get(key) {
            Some(Look::Live(live)) => Some(live),
            _ => None,
        }
    }
}

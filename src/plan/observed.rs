//! What a run found out before it decided: the other input of the plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::object::ident::{Ident, ObjectKey};
use crate::object::kinds::Kinds;
use crate::object::live::Live;
use crate::object::mark::{Ownership, Root, ownership};
use crate::object::refusal::Refusal;
use crate::plan::migration::Extent;
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
    /// Objects of which the server does not let go all that older tools left: only their metadata is migrated.
    pub held: BTreeSet<ObjectKey>,
    /// Dry runs of deletions that were refused.
    pub undeletable: BTreeMap<ObjectKey, Refusal>,
}

impl Observed {
    /// The live objects that are ours by their mark, with the project that their mark names.
    ///
    /// An object that is served under two kinds counts once: under a kind that is `known` (desired or recorded) if
    /// there is one.
    pub fn owned(&self, root: &Root, known: impl Fn(&ObjectKey) -> bool) -> Vec<(ProjectPath, Ident)> {
        let (mut first, then): (Vec<_>, Vec<_>) =
            self.looks.iter().filter_map(|(key, look)| Some((key, live_of(look)?))).partition(|(key, _)| known(key));
        first.extend(then);
        let mut seen = BTreeSet::new();
        let ours = |(key, live): (&ObjectKey, &Live)| {
            let Ownership::Ours(project) = ownership(live, root) else { return None };
            let version = self.kinds.get(&key.group_kind())?.versions.first()?.clone();
            let ident = Ident { key: key.clone(), version };
            (live.uid().is_empty() || seen.insert(live.uid().to_owned())).then_some((project, ident))
        };
        first.into_iter().filter_map(ours).collect()
    }

    /// How much of what older tools hold of the object becomes ours.
    pub fn extent(&self, key: &ObjectKey) -> Extent {
        if self.held.contains(key) { Extent::Metadata } else { Extent::Whole }
    }

    /// The live object of a key, if it was found.
    pub fn live(&self, key: &ObjectKey) -> Option<&Live> {
        self.looks.get(key).and_then(live_of)
    }
}

fn live_of(look: &Look) -> Option<&Live> {
    match look {
        Look::Live(live) => Some(live),
        Look::Absent | Look::Unknown(_) => None,
    }
}

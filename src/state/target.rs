//! The target that a root is applied for, as it is recorded.
//!
//! A tree that declares targets is a different tree for each of them. With the wrong kubeconfig, the tree of one target
//! would delete the objects of another one. Therefore the target is recorded beside the state, and a run for another one
//! is refused until a person says that the cluster is for that target now.

use std::collections::BTreeMap;

use crate::project::path::Segment;

/// The annotation with the target that the root was last applied for.
pub(crate) const TARGET_ANNOTATION: &str = "kubernator.io/ktor-target";

/// The caller's answer to the question if the cluster is for another target now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retarget {
    /// It is not.
    #[default]
    Refused,
    /// It is. The new target is recorded from now on.
    Accepted,
}

/// The target that a run is for, to compare with the recorded one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetClaim {
    /// The declared target. `None` if the tree declares none.
    pub here: Option<String>,
    /// The caller's permission for a target that differs from the recorded one.
    pub retarget: Retarget,
}

/// The result of comparing a run's target with the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetMatch {
    /// The two targets are the same, or none is recorded. Contains the target to record.
    Same(Option<String>),
    /// The targets differ, and the caller accepts it.
    Changed {
        /// The recorded target.
        from: String,
        /// The target to record from now on.
        to: Option<String>,
    },
    /// The targets differ, and the caller did not accept it.
    Other {
        /// The recorded target.
        recorded: String,
        /// The target of the run.
        here: Option<String>,
    },
}

impl TargetClaim {
    /// Compares the run's target with the recorded one.
    pub fn judged(&self, recorded: Option<&str>) -> TargetMatch {
        let here = self.here.clone();
        match recorded {
            Some(recorded) if here.as_deref() != Some(recorded) => match self.retarget {
                Retarget::Accepted => TargetMatch::Changed { from: recorded.to_owned(), to: here },
                Retarget::Refused => TargetMatch::Other { recorded: recorded.to_owned(), here },
            },
            _ => TargetMatch::Same(here),
        }
    }
}

/// Reads the target from annotations. Returns `None` if they contain no valid one.
pub(crate) fn recorded(annotations: &BTreeMap<String, String>) -> Option<String> {
    annotations.get(TARGET_ANNOTATION).filter(|name| Segment::new(name).is_ok()).cloned()
}

/// Returns the name and the value of the annotation to write.
pub(crate) fn annotation(target: &str) -> (String, String) {
    (TARGET_ANNOTATION.to_owned(), target.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k9_a_run_for_another_target_than_the_recorded_one_is_refused_until_a_person_accepts_it() {
        let text = |name: Option<&str>| name.map(str::to_owned);
        for (recorded, here, refused) in [
            (None, None, false),
            (None, Some("dev"), false),
            (Some("dev"), Some("dev"), false),
            (Some("dev"), Some("prod"), true),
            (Some("dev"), None, true),
        ] {
            let judged = |retarget| TargetClaim { here: text(here), retarget }.judged(recorded);
            let (without, with) = (judged(Retarget::Refused), judged(Retarget::Accepted));
            if refused {
                let recorded = text(recorded).unwrap();
                assert_eq!(without, TargetMatch::Other { recorded: recorded.clone(), here: text(here) });
                assert_eq!(with, TargetMatch::Changed { from: recorded, to: text(here) });
            } else {
                assert_eq!((without, with), (TargetMatch::Same(text(here)), TargetMatch::Same(text(here))));
            }
        }
    }

    #[test]
    fn k9_only_a_sound_name_is_read_back() {
        let read = |name: &str| recorded(&BTreeMap::from([annotation(name)]));
        assert_eq!(read("prod_EU-1").as_deref(), Some("prod_EU-1"));
        assert_eq!([read(""), read("a b"), read("a.b"), read("\u{1b}[2J")], [None, None, None, None]);
    }
}

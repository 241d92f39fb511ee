//! The words for decisions: the reason for each action.

use super::remedy;
use super::review::unreviewed;
use crate::object::ident::ObjectKey;
use crate::object::refusal::Refusal;
use crate::plan::decision::{
    Adopt, Blocked, Contents, Create, Decision, Delete, Finding, Keep, Move, Protection, Release, ServerRefusal,
    Unchanged, Unknown, Update, Withheld,
};

/// Returns the reason for the decision about the object `key`.
pub(crate) fn decision(key: &ObjectKey, decision: &Decision) -> String {
    match decision {
        Decision::Create(Create::New) => "new".to_owned(),
        Decision::Create(Create::AfterItsEnd(holders)) => {
            let held = if holders.is_empty() { String::new() } else { format!(", held by {}", holders.join(", ")) };
            format!("is being deleted{held}: it is waited for and then created")
        }
        Decision::Create(Create::Unchecked(by))
        | Decision::Update(Update::Unchecked(by))
        | Decision::Move(Move::Unchecked(by))
        | Decision::Adopt(Adopt::Unchecked(by)) => {
            format!("not yet checked by the server: {by} comes first in the same run")
        }
        Decision::Update(Update::Differs) => "differs".to_owned(),
        Decision::Update(Update::TakeOver) => "take-over".to_owned(),
        Decision::Replace(refusal) => format!("cannot be changed in place: {refusal}"),
        Decision::Delete(Delete::Undesired) => "no longer desired".to_owned(),
        Decision::Delete(Delete::AfterDeletionOf(by)) => {
            format!("not yet checked by the server: {by}, which refuses the deletion, is deleted first")
        }
        Decision::Move(Move::Checked) => "moved".to_owned(),
        Decision::Adopt(Adopt::Unmarked) => "exists without a mark".to_owned(),
        Decision::Adopt(Adopt::Copied) => "take-over".to_owned(),
        Decision::Adopt(Adopt::From(owner)) => format!("taken over from {owner}"),
        Decision::Release(Release::Foreign(owner)) => format!("belongs to {owner}"),
        Decision::Release(Release::Unmarked) => "belongs to no root: its mark is gone".to_owned(),
        Decision::Release(Release::SameObject(other)) => format!("the same object as {other}"),
        Decision::Unchanged(Unchanged::AsDesired) => "as desired".to_owned(),
        Decision::Unchanged(Unchanged::Done) => "has run and removed itself".to_owned(),
        Decision::Keep(keep) => kept(key, keep),
        Decision::Blocked(blocked) => self::blocked(blocked),
    }
}

fn kept(key: &ObjectKey, keep: &Keep) -> String {
    match keep {
        Keep::Protected(protection) => format!("kept: {}", protected(protection)),
        Keep::Withheld(withheld) => format!("kept: {}", self::withheld(withheld)),
        Keep::LaterCommits => "kept: this is not known to be the branch's last commit".to_owned(),
        Keep::Unreviewed(why) => format!("kept: {}", unreviewed(why)),
        Keep::Guarded(guard, finding) => {
            let found = match finding {
                Finding::Object => String::new(),
                Finding::Contents(contents) => format!(": {}", self::contents(key, contents)),
                Finding::Share { count, live, most } => format!(": {count} of {live}, more than {most}"),
            };
            format!("kept: {}{found}", guard.sentence())
        }
        Keep::OpenProject(other) => format!("kept: nothing is deleted in this project while {other} stays as it is"),
        Keep::NotReady(other) => format!("kept: nothing is deleted in this project while {other} is not ready"),
        Keep::NeededBy(other) => format!("kept: {other} stays and needs it"),
        Keep::Irreplaceable(refusal, protection) => {
            format!("{refusal}; it is not replaced, because {}", protected(protection))
        }
        Keep::ReplacementWithheld(refusal, withheld) => {
            format!("kept: {refusal}; it is not replaced, because {}", self::withheld(withheld))
        }
        Keep::Unknown(unknown) => format!("not known: {}", self::unknown(unknown)),
    }
}

/// Returns the reason why an object is protected, to read after "because".
pub(crate) fn protected(protection: &Protection) -> String {
    match protection {
        Protection::CleanupOff => "cleanup is off for this root".to_owned(),
        Protection::SystemNamespace => "it is a namespace of the system or of the state".to_owned(),
        Protection::Annotation(name) => format!("its annotation {name} says so"),
        Protection::Volume => "a volume or its claim is never replaced".to_owned(),
        Protection::LostFields => {
            "its managed fields were lost, so nothing shows that this root applied it: delete it \
                                   by hand, or state it in a manifest for one run"
                .to_owned()
        }
        Protection::OutOfScope(project) => format!("its mark names {project}, which is out of scope"),
        Protection::SameObject(other) => format!("it is the same object as {other}"),
        Protection::Contains(other) => format!("it contains {other}, which stays"),
        Protection::PreviousGeneration => {
            "it is the generation before the current one, and kustomize.keepPrevious keeps it".to_owned()
        }
    }
}

fn withheld(withheld: &Withheld) -> String {
    match withheld {
        Withheld::SourceFailed => "a source of the tree cannot be rendered".to_owned(),
        Withheld::BaseUnreadable => "the tree that this one is compared with cannot be read".to_owned(),
        Withheld::ContainsDesired(other) => format!("it contains {other}, which is desired"),
        Withheld::Contains(other) => format!("it contains {other}, which stays"),
        Withheld::RefusedBy(other) => format!("{other}, which refuses its deletion, stays"),
    }
}

fn blocked(blocked: &Blocked) -> String {
    match blocked {
        Blocked::Foreign(owner) => format!("belongs to {owner}"),
        Blocked::Unmarked => "exists without a mark".to_owned(),
        Blocked::SameObject { other, place } => {
            let place = place.as_ref().map(|place| format!(", which stands at {place}")).unwrap_or_default();
            format!("the same object as {other}{place}: remove one of them")
        }
        Blocked::Needs(other) => format!("needs {other}, which stays as it is"),
        Blocked::Unrendered(why) => format!("a file of its project cannot be rendered: {why}"),
        Blocked::Refused(refused) => self::refused(refused),
        Blocked::Unknown(unknown) => format!("not known: {}", self::unknown(unknown)),
    }
}

fn refused(ServerRefusal { refusal, null, obstacle }: &ServerRefusal) -> String {
    let words = match refusal {
        Refusal::Conflict(contested) => format!("conflict: {}", remedy::words(contested)),
        Refusal::Beside(_) => format!("conflict: {refusal}"),
        Refusal::NoNamespace(text) => format!("{text}, and no manifest creates it"),
        Refusal::Absent(text) => format!("something that it refers to does not exist: {text}"),
        Refusal::NoKind(text) => format!("{text}: the server does not know this kind, and no manifest defines it"),
        Refusal::NoVersion(text) => text.clone(),
        Refusal::Terminating(text) => format!("is being deleted: {text}"),
        Refusal::Unavailable(text) => format!("not known: {text}"),
        Refusal::Changed(_)
        | Refusal::Malformed(_)
        | Refusal::TooLarge(_)
        | Refusal::Unreadable(_)
        | Refusal::Invalid(_)
        | Refusal::Forbidden(_)
        | Refusal::Denied(_) => format!("refused by the server: {refusal}"),
    };
    let null = null.as_ref().map(|place| format!("; the manifest has null at {place}: remove it")).unwrap_or_default();
    let obstacle = obstacle.as_ref().map(|other| {
        format!(
            "; {other} stands in the way, and what a run deletes goes only after what it applies is ready: delete that \
             one in a commit of its own first, or give it a project of its own"
        )
    });
    format!("{words}{null}{}", obstacle.unwrap_or_default())
}

fn unknown(unknown: &Unknown) -> String {
    match unknown {
        Unknown::Message(text) => text.clone(),
        Unknown::NotRead => "it was not read".to_owned(),
        Unknown::NotTried => "no dry run was made".to_owned(),
        Unknown::Vanished => "it appeared and vanished while the plan was made: plan again".to_owned(),
        Unknown::MayBeSame(other) => format!("it may be the same object as {other}, which could not be read"),
    }
}

/// Names the objects that would be deleted together with the namespace or CRD `holder`.
pub(crate) fn contents(holder: &ObjectKey, contents: &Contents) -> String {
    let more = |count: usize| if count == 0 { String::new() } else { format!(" (and {count} more)") };
    let Contents::Listed { first, count, unseen } = contents else {
        return format!("the content of {holder} was not listed");
    };
    let named: Vec<String> = first.iter().map(ToString::to_string).collect();
    let held = format!("{holder} contains {}{}", named.join(", "), more(count - first.len().min(*count)));
    match (&unseen[..], *count) {
        ([], _) => held,
        ([why, rest @ ..], 0) => format!("the content of {holder} is not known: {why}{}", more(rest.len())),
        ([why, rest @ ..], _) => format!("{held}, and its content is not fully known: {why}{}", more(rest.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::refusal::FieldConflict;
    use crate::plan::decision::Subject;
    use crate::plan::guard::Guard;
    use crate::plan::review::NotReviewed;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { group: String::new(), kind: "ConfigMap".into(), namespace: Some("x".into()), name: name.into() }
    }

    #[test]
    fn every_reason_reads_as_a_sentence() {
        let web = key("web");
        let refusal = |text: &str| Refusal::Invalid(text.to_owned());
        for (given, expected) in [
            (Decision::Create(Create::AfterItsEnd(vec![])), "is being deleted: it is waited for and then created"),
            (
                Decision::Create(Create::AfterItsEnd(vec!["a".into(), "b".into()])),
                "is being deleted, held by a, b: it is waited for and then created",
            ),
            (Decision::Keep(Keep::Guarded(Guard::Volume, Finding::Object)), "kept: deleting it may delete stored data"),
            (
                Decision::Keep(Keep::Guarded(Guard::MassDeletion, Finding::Share { count: 12, live: 60, most: 10 })),
                "kept: one change deletes more than a tenth of the root: 12 of 60, more than 10",
            ),
            (
                Decision::Keep(Keep::Guarded(Guard::Foreign, Finding::Contents(Contents::NotListed))),
                "kept: deleting it would also delete objects outside the plan: the content of ConfigMap x/web was not \
                 listed",
            ),
            (
                Decision::Keep(Keep::Irreplaceable(refusal("spec: immutable"), Protection::Volume)),
                "spec: immutable; it is not replaced, because a volume or its claim is never replaced",
            ),
            (
                Decision::Blocked(Blocked::SameObject { other: key("other"), place: Some("a.yaml:1:1".into()) }),
                "the same object as ConfigMap x/other, which stands at a.yaml:1:1: remove one of them",
            ),
            (
                Decision::Blocked(Blocked::Refused(ServerRefusal {
                    refusal: refusal("null is bad"),
                    null: Some(".spec.a".into()),
                    obstacle: Some(key("old")),
                })),
                "refused by the server: null is bad; the manifest has null at .spec.a: remove it; ConfigMap x/old stands \
                 in the way, and what a run deletes goes only after what it applies is ready: delete that one in a commit \
                 of its own first, or give it a project of its own",
            ),
        ] {
            assert_eq!(decision(&web, &given), expected);
        }
        let contested = FieldConflict { field: ".spec.replicas".into(), manager: "kubectl".into() };
        let conflict = decision(&web, &Refusal::Conflict(vec![contested]).into());
        assert!(conflict.starts_with("conflict: .spec.replicas is held by kubectl: someone scaled it"), "{conflict}");
    }

    /// Returns one decision of each kind.
    fn every_decision() -> Vec<Decision> {
        let (other, owner) = (|| key("other"), || "root other".to_owned());
        let invalid = || Refusal::Invalid("no".to_owned());
        let kept = [
            Keep::Protected(Protection::CleanupOff),
            Keep::Protected(Protection::SystemNamespace),
            Keep::Protected(Protection::Annotation("a")),
            Keep::Protected(Protection::LostFields),
            Keep::Protected(Protection::OutOfScope("demo".parse().unwrap())),
            Keep::Protected(Protection::SameObject(other())),
            Keep::Protected(Protection::Contains(other())),
            Keep::Protected(Protection::PreviousGeneration),
            Keep::Withheld(Withheld::SourceFailed),
            Keep::Withheld(Withheld::ContainsDesired(other())),
            Keep::Withheld(Withheld::Contains(other())),
            Keep::Withheld(Withheld::RefusedBy(other())),
            Keep::LaterCommits,
            Keep::Unreviewed(NotReviewed::LeftOver),
            Keep::Guarded(Guard::Volume, Finding::Object),
            Keep::OpenProject(other()),
            Keep::NotReady(other()),
            Keep::NeededBy(other()),
            Keep::Irreplaceable(invalid(), Protection::Volume),
            Keep::ReplacementWithheld(invalid(), Withheld::BaseUnreadable),
            Keep::Unknown(Unknown::NotRead),
            Keep::Unknown(Unknown::MayBeSame(other())),
        ];
        let blocked = [
            Blocked::Foreign(owner()),
            Blocked::Unmarked,
            Blocked::SameObject { other: other(), place: None },
            Blocked::Needs(other()),
            Blocked::Unrendered("no mapping".to_owned()),
            Blocked::Unknown(Unknown::NotTried),
            Blocked::Unknown(Unknown::Vanished),
            Blocked::Unknown(Unknown::Message("no answer".to_owned())),
        ];
        let refusals = [
            Refusal::Beside(vec![]),
            Refusal::NoNamespace("no".to_owned()),
            Refusal::Absent("no".to_owned()),
            Refusal::NoKind("no".to_owned()),
            Refusal::NoVersion("no version".to_owned()),
            Refusal::Terminating("no".to_owned()),
            Refusal::Unavailable("no".to_owned()),
            Refusal::Denied("no".to_owned()),
        ];
        let others = [
            Decision::Create(Create::New),
            Decision::Create(Create::Unchecked(other())),
            Decision::Update(Update::Differs),
            Decision::Update(Update::TakeOver),
            Decision::Update(Update::Unchecked(other())),
            Decision::Replace(invalid()),
            Decision::Delete(Delete::Undesired),
            Decision::Delete(Delete::AfterDeletionOf(other())),
            Decision::Move(Move::Checked),
            Decision::Move(Move::Unchecked(other())),
            Decision::Adopt(Adopt::Unmarked),
            Decision::Adopt(Adopt::Copied),
            Decision::Adopt(Adopt::From(owner())),
            Decision::Adopt(Adopt::Unchecked(other())),
            Decision::Release(Release::Foreign(owner())),
            Decision::Release(Release::Unmarked),
            Decision::Release(Release::SameObject(other())),
            Decision::Unchanged(Unchanged::AsDesired),
            Decision::Unchanged(Unchanged::Done),
        ];
        let kept = kept.into_iter().map(Decision::Keep);
        let blocked = blocked.into_iter().map(Decision::Blocked).chain(refusals.into_iter().map(Decision::from));
        others.into_iter().chain(kept).chain(blocked).collect()
    }

    #[test]
    fn a_reason_names_the_object_and_the_guard_that_it_is_about() {
        for given in every_decision() {
            let words = decision(&key("web"), &given);
            assert!(!words.is_empty() && !words.contains("  "), "{given:?}: {words}");
            assert!(given.kind().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{given:?}");
            let named = matches!(given.subject(), Some(Subject::Object(_)));
            assert_eq!(named, words.contains("ConfigMap x/other"), "{given:?}: {words}");
            assert_eq!(given.disposition().is_some(), matches!(given, Decision::Keep(_) | Decision::Blocked(_)));
        }
    }

    #[test]
    fn contents_are_named_and_counted() {
        let listed = |first: &[&str], count, unseen: &[&str]| Contents::Listed {
            first: first.iter().map(|name| key(name)).collect(),
            count,
            unseen: unseen.iter().map(ToString::to_string).collect(),
        };
        for (given, expected) in [
            (listed(&["a"], 1, &[]), "ConfigMap x/n contains ConfigMap x/a"),
            (listed(&["a", "b"], 4, &[]), "ConfigMap x/n contains ConfigMap x/a, ConfigMap x/b (and 2 more)"),
            (listed(&[], 0, &["no right", "no"]), "the content of ConfigMap x/n is not known: no right (and 1 more)"),
            (
                listed(&["a"], 1, &["no right"]),
                "ConfigMap x/n contains ConfigMap x/a, and its content is not fully known: no right",
            ),
        ] {
            assert_eq!(contents(&key("n"), &given), expected);
        }
    }
}

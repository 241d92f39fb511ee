//! The words for notices and for doubts about a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::PathBuf;

use super::decision::{contents, decision};
use crate::object::ident::{GroupKind, ObjectKey};
use crate::plan::decision::Decision;
use crate::plan::guard::TreeDoubt;
use crate::plan::notice::Notice;
use crate::project::changed::ChangedSetting;
use crate::project::field_rule::{FieldPolicy, FieldRule};
use crate::project::path::ProjectPath;
use crate::project::snapshot::{SourcePlace, printable};
use crate::state::freeze::Freeze;

/// The number of names that a notice shows in each of its lists. It counts the rest.
const NAMED: usize = 5;

/// Returns a notice as one or two sentences.
pub(crate) fn notice(notice: &Notice) -> String {
    match notice {
        Notice::Consented(object) => format!("The merge deletes or replaces {object}, because a comment allows it."),
        Notice::Frozen(Freeze { reason, by, until }) => {
            let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
            format!("{by} froze the root{until}, so an apply changes nothing: {reason}")
        }
        Notice::SettingChanged(setting) => changed(setting),
        Notice::TargetChanged { from, to } => {
            let to = to.as_deref().unwrap_or("no target");
            format!("The target changed: the state now names {to} instead of {from}.")
        }
        Notice::TreeMoved { from, to } => format!("The tree moved: the state now names {to} instead of {from}."),
        Notice::FieldRule(FieldRule { kinds, pointers, policy }) => {
            let treatment = match policy {
                FieldPolicy::Leave => "left to other managers",
                FieldPolicy::Force => "taken from other managers",
            };
            format!("As the root's settings say, {} of {} is {treatment}.", joined(pointers), joined(kinds))
        }
        Notice::AdoptedManagers(managers) => {
            format!("As the root's settings say, what {} applied to its objects counts as its own.", joined(managers))
        }
        Notice::OtherTool { object, tool } => {
            format!("{object} is managed by {tool}: stop that before the adoption, or both tools will change it.")
        }
        Notice::FieldsHeld(object) => format!(
            "{object} keeps fields that another tool set and no manifest states: the server refuses to remove them."
        ),
        Notice::AlsoDeleted { holder, contents: outside } => {
            format!("Deleted outside the plan: {}.", contents(holder, outside))
        }
        Notice::Unchecked(count) => {
            let (objects, needed) = if *count == 1 { ("object is", "it needs") } else { ("objects are", "they need") };
            format!("{count} {objects} not yet checked by the server: what {needed} comes first in the same run.")
        }
        Notice::LeftEarlier { count, first, decision } => left_earlier(*count, first, decision),
        Notice::SourceFailed(error) => format!("A file cannot be rendered, so its project fails: {error}"),
        Notice::OtherSourceFailed(error) => {
            format!("Nothing is deleted, because a source out of scope cannot be rendered: {error}")
        }
        Notice::BaseUnreadable { commit, why } => format!(
            "The whole root is in scope and nothing is deleted, because the tree of {commit}, which this one is \
             compared with, cannot be read: {why}"
        ),
        Notice::LaterCommits => {
            "Nothing is deleted, because this is not known to be the branch's last commit.".to_owned()
        }
        Notice::OffTheBranch { head, recorded } => format!(
            "The commit {head} is not on the branch that is applied: {recorded}, the last commit that they share, is \
             recorded."
        ),
        Notice::WholeRoot => "The whole root is in scope, because the state does not say at which commit it was last \
                              finalized."
            .to_owned(),
        Notice::Unsettled => "The last run did not finish, or another tool wrote the state since: this run checks \
                              everything again."
            .to_owned(),
        Notice::NotApplied { commits, is_cut } => not_applied(commits, *is_cut),
        Notice::AppliedElsewhere(commit) => format!(
            "The commit that was applied last, {commit}, is not part of this history: what differs may be older or newer \
             than the cluster."
        ),
        Notice::NotListed { kind, why } => format!("{kind} could not be listed: {why}"),
        Notice::NotSearched { kind, why } => format!("{kind} could not be searched for marked objects: {why}"),
        Notice::ListedInNamespaces { listed, namespaces, unlisted } => listed_in(*listed, namespaces, unlisted),
        Notice::GroupUnavailable(group) => {
            format!("The server of {group} does not answer: its objects are not known.")
        }
        Notice::SavedFromCluster { first, others } => saved(first, *others),
        Notice::UnusedFiles(files) => unused(files),
        Notice::UnusedCharts(files) => format!("Charts that no release uses: {}.", paths(files)),
        Notice::HooksNeverApplied(hooks) => never_applied(hooks),
        Notice::HooksSkipped(hooks) => {
            format!("Hooks of charts are left out, as `hooks: skip` says: {}.", in_files(hooks))
        }
        Notice::ChartsReadTime(files) => reads_time(files),
        Notice::ChartsReadRevision(files) => reads_revision(files),
        Notice::RenderedWith(engine) => format!("Rendered with {engine}. No file of the tree pins this version."),
        Notice::EngineUnconfined(missing) => {
            format!("The kernel cannot confine the program that renders ({missing}), so it could read other files.")
        }
        Notice::ValuesOfOtherKind { key, winning, losing, others } => replaced(key, winning, losing, *others),
        Notice::NotReady { objects, kept } => not_ready(objects, kept),
        Notice::Offline => {
            "This plan is the difference between two trees: no cluster was asked. What is live, and what \
                            earlier runs recorded, may differ."
                .to_owned()
        }
        Notice::BaseFilesUnreadable => {
            "Some files of the base tree cannot be read: their objects count as new, and this plan shows no deletion."
                .to_owned()
        }
        Notice::KindsAsWritten(kinds) => {
            format!("Without a cluster these kinds are taken as written: {}.", joined(kinds))
        }
    }
}

/// Returns the reason why a run is refused as a whole, without a full stop.
pub(crate) fn doubt(doubt: &TreeDoubt) -> String {
    match doubt {
        TreeDoubt::Empty { deleted } => format!("the tree contains no manifests, and {deleted} would be deleted"),
        TreeDoubt::MoreThanHalf { deleted, live } => {
            format!("{deleted} of {live} live objects would be deleted, more than half")
        }
        TreeDoubt::StateMoved { from, to } => format!(
            "stateNamespace changes from {from} to {to}, but the state and the lock stay in {from}, where other runs \
             look for them: leave stateNamespace as it is"
        ),
        TreeDoubt::OtherTarget { recorded, here } => {
            let here = here.as_ref().map_or("for no target".to_owned(), |here| format!("for {here}"));
            format!(
                "the state says that this cluster is for the target {recorded}, but this run is {here}: connect to the \
                 cluster of the target, unless the cluster is for another target now"
            )
        }
        TreeDoubt::Elsewhere { recorded, here } => format!(
            "the state says that this root is {recorded}, but this tree is {here}: give one of the two roots another \
             name, unless it is the same tree in a new place"
        ),
    }
}

fn left_earlier(count: usize, first: &ObjectKey, decided: &Decision) -> String {
    let first = format!("{first} ({})", decision(first, decided));
    match count {
        1 => format!("An earlier change left 1 object as it is: {first}."),
        count => format!("Earlier changes left {count} objects as they are, the first of them {first}."),
    }
}

fn replaced(key: &str, winning: &SourcePlace, losing: &SourcePlace, others: usize) -> String {
    let others = if others == 0 { String::new() } else { format!(" The same is true of {others} more.") };
    format!(
        "The value {key:?} at {winning} replaces the one at {losing}, and one of the two is a mapping: check that this is \
         meant.{others}"
    )
}

fn not_ready(objects: &[ObjectKey], kept: &[(ProjectPath, ObjectKey)]) -> String {
    let objects = counted(objects.iter());
    let kept = kept.iter().map(|(project, key)| format!("{project} (for {key})"));
    let kept = if kept.len() == 0 {
        String::new()
    } else {
        format!(" Unless that changes, nothing is deleted in {}.", counted(kept))
    };
    format!("Not ready now: {objects}.{kept}")
}

fn saved(first: &SourcePlace, others: usize) -> String {
    let others = if others == 0 { String::new() } else { format!(" and {others} more") };
    format!(
        "The manifest at {first}{others} was saved from a cluster: what only a server writes is left out (status, managed \
         fields, owners, generated labels)."
    )
}

fn never_applied(hooks: &BTreeMap<PathBuf, usize>) -> String {
    format!("Hooks of charts for tests, deletions and rollbacks are never applied: {}.", in_files(hooks))
}

fn reads_time(files: &BTreeSet<PathBuf>) -> String {
    let files = paths(files);
    format!(
        "These releases have charts that read the clock, so their objects can change without a change of the tree: {files}."
    )
}

fn reads_revision(files: &BTreeSet<PathBuf>) -> String {
    let files = paths(files);
    format!(
        "These releases have charts that ask if they are upgraded. They are always told that they are installed: {files}."
    )
}

fn paths(files: &BTreeSet<PathBuf>) -> String {
    counted(files.iter().map(|file| printable(file)))
}

fn in_files(counts: &BTreeMap<PathBuf, usize>) -> String {
    counted(counts.iter().map(|(file, count)| format!("{count} in {}", printable(file))))
}

fn unused(files: &BTreeSet<PathBuf>) -> String {
    let files = counted(files.iter().map(|file| printable(file)));
    format!("Not applied, because no kustomization names them: {files}. Exclude what is no manifest.")
}

fn changed(ChangedSetting { key, before, after }: &ChangedSetting) -> String {
    let meaning = match *key {
        "project" => ": what was applied under the old name stays, and belongs to it",
        "redact" => ": what the base hides is hidden in this plan all the same",
        _ => "",
    };
    format!("The root's `{key}` changes from {before} to {after}{meaning}.")
}

fn not_applied(commits: &[(String, String)], is_cut: bool) -> String {
    let count = commits.len();
    let named = counted(commits.iter().map(|(commit, subject)| format!("{commit} ({subject})")));
    match (count, is_cut) {
        (1, false) => format!("1 commit is merged and not applied: {named}."),
        (_, false) => format!("{count} commits are merged and not applied: {named}."),
        (_, true) => format!("More than {count} commits are merged and not applied: {named}."),
    }
}

fn listed_in(listed: usize, namespaces: &BTreeSet<String>, unlisted: &BTreeSet<GroupKind>) -> String {
    let mut text = "These credentials cannot list the whole cluster".to_owned();
    if listed > 0 {
        text += &format!(": objects of {listed} kinds were listed only in {}", first_of(namespaces));
    }
    if !unlisted.is_empty() {
        text += &format!("; of {}, only recorded and desired objects were read", first_of(unlisted));
    }
    text + "."
}

fn joined<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// Joins the first items and counts the rest: `a, b (and 2 more)`.
fn counted<T: Display>(items: impl ExactSizeIterator<Item = T>) -> String {
    let more = items.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    format!("{}{more}", joined(items.take(NAMED)))
}

/// Joins the first items and counts the rest: `a, b and 2 more`.
fn first_of<T: Display>(items: &BTreeSet<T>) -> String {
    let more = items.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", joined(items.iter().take(NAMED)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::decision::{Contents, Keep};
    use crate::plan::review::NotReviewed;
    use crate::project::snapshot::SourceError;
    use crate::state::provenance::{Provenance, RepositoryName};
    use std::path::Path;

    fn object(name: &str) -> ObjectKey {
        ObjectKey { group: "apps".into(), kind: "Deployment".into(), namespace: Some("x".into()), name: name.into() }
    }

    /// Returns one notice of each kind.
    fn every_kind() -> Vec<Notice> {
        let texts = || vec!["a".to_owned(), "b".to_owned()];
        let place = || SourcePlace::new("a.yaml", 1, 1);
        let kinds = || BTreeSet::from([GroupKind::new("shop.dev", "Till")]);
        let text = || "no answer".to_owned();
        let source =
            || Provenance::new(RepositoryName::of_address("https://github.com/a/b").unwrap(), Path::new("k8s"));
        let setting = |key| ChangedSetting { key, before: "false".into(), after: "true".into() };
        let rule = |policy| FieldRule { kinds: vec![], pointers: vec![], policy };
        vec![
            Notice::Consented(object("a")),
            Notice::Frozen(Freeze { reason: "a release".into(), by: "Maria".into(), until: None }),
            Notice::SettingChanged(setting("cleanup")),
            Notice::TargetChanged { from: text(), to: Some(text()) },
            Notice::TreeMoved { from: source().unwrap(), to: source().unwrap() },
            Notice::FieldRule(rule(FieldPolicy::Leave)),
            Notice::AdoptedManagers(texts()),
            Notice::OtherTool { object: object("a"), tool: "Helm".into() },
            Notice::FieldsHeld(object("a")),
            Notice::AlsoDeleted { holder: object("a"), contents: Contents::NotListed },
            Notice::Unchecked(2),
            Notice::LeftEarlier {
                count: 1,
                first: object("a"),
                decision: Decision::Keep(Keep::Unreviewed(NotReviewed::LeftOver)),
            },
            Notice::SourceFailed(SourceError::new(place(), "no mapping")),
            Notice::OtherSourceFailed(SourceError::new(place(), "no mapping")),
            Notice::BaseUnreadable { commit: "c0".into(), why: text() },
            Notice::LaterCommits,
            Notice::OffTheBranch { head: "c1".into(), recorded: "c0".into() },
            Notice::WholeRoot,
            Notice::Unsettled,
            Notice::NotApplied { commits: vec![("c0".into(), "web: more".into())], is_cut: false },
            Notice::AppliedElsewhere("c0".into()),
            Notice::NotListed { kind: GroupKind::new("", "Pod"), why: text() },
            Notice::NotSearched { kind: GroupKind::new("", "Pod"), why: text() },
            Notice::ListedInNamespaces { listed: 1, namespaces: texts().into_iter().collect(), unlisted: kinds() },
            Notice::GroupUnavailable("shop.dev".into()),
            Notice::SavedFromCluster { first: place(), others: 1 },
            Notice::ValuesOfOtherKind { key: text(), winning: place(), losing: place(), others: 1 },
            Notice::UnusedFiles(["a.yaml".into()].into()),
            Notice::UnusedCharts(["a/Chart.yaml".into()].into()),
            Notice::HooksNeverApplied([("a.helm.yaml".into(), 2)].into()),
            Notice::HooksSkipped([("a.helm.yaml".into(), 2)].into()),
            Notice::ChartsReadTime(["a.helm.yaml".into()].into()),
            Notice::ChartsReadRevision(["a.helm.yaml".into()].into()),
            Notice::RenderedWith("kustomize 5.8.1".into()),
            Notice::EngineUnconfined(text()),
            Notice::NotReady { objects: vec![object("a")], kept: vec![] },
            Notice::Offline,
            Notice::BaseFilesUnreadable,
            Notice::KindsAsWritten(kinds()),
        ]
    }

    #[test]
    fn every_notice_has_a_kind_of_its_own_and_begins_as_a_sentence() {
        let notices = every_kind();
        let kinds: BTreeSet<&str> = notices.iter().map(Notice::kind).collect();
        assert_eq!(kinds.len(), notices.len(), "{kinds:?}");
        for told in &notices {
            let words = notice(told);
            assert!(words.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit()), "{words}");
        }
        assert!(
            notice(&Notice::FieldRule(FieldRule { kinds: vec![], pointers: vec![], policy: FieldPolicy::Force }))
                .ends_with("is taken from other managers.")
        );
        let earlier =
            Notice::LeftEarlier { count: 2, first: object("a"), decision: Decision::Keep(Keep::LaterCommits) };
        assert!(notice(&earlier).starts_with("Earlier changes left 2 objects as they are"));
    }

    #[test]
    fn a_doubt_names_what_it_found() {
        let place = |name| Provenance::new(RepositoryName::of_address(name).unwrap(), Path::new("k8s")).unwrap();
        for (found, expected) in [
            (TreeDoubt::Empty { deleted: 3 }, "contains no manifests, and 3 would be deleted"),
            (TreeDoubt::MoreThanHalf { deleted: 3, live: 5 }, "3 of 5 live objects"),
            (TreeDoubt::StateMoved { from: "a".into(), to: "b".into() }, "stateNamespace changes from a to b"),
            (
                TreeDoubt::Elsewhere {
                    recorded: place("https://github.com/a/b"),
                    here: place("https://github.com/c/d"),
                },
                "this root is k8s of github.com/a/b, but this tree is k8s of github.com/c/d",
            ),
        ] {
            assert!(doubt(&found).contains(expected), "{}", doubt(&found));
        }
    }

    #[test]
    fn r12_one_notice_says_what_was_not_looked_at() {
        let kinds = |kinds: &[&str]| kinds.iter().map(|kind| GroupKind::new("", *kind)).collect::<BTreeSet<_>>();
        let namespaces = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let all = Notice::ListedInNamespaces { listed: 3, namespaces: namespaces(&["a", "b"]), unlisted: kinds(&[]) };
        assert!(notice(&all).ends_with("objects of 3 kinds were listed only in a, b."), "{}", notice(&all));
        let unlisted = kinds(&["A", "B", "C", "D", "E", "F", "G"]);
        let some = notice(&Notice::ListedInNamespaces { listed: 2, namespaces: namespaces(&["a"]), unlisted });
        assert!(
            some.contains("objects of 2 kinds")
                && some.contains("of A, B, C, D, E and 2 more, only recorded and desired objects were read"),
            "{some}"
        );
    }

    #[test]
    fn x7_a_changed_setting_is_named_with_both_values_and_its_meaning() {
        let told = |key, before: &str, after: &str| {
            notice(&Notice::SettingChanged(ChangedSetting { key, before: before.into(), after: after.into() }))
        };
        assert_eq!(
            told("project", "demo", "shop"),
            "The root's `project` changes from demo to shop: what was applied under the old name stays, and belongs to it."
        );
        assert_eq!(told("cleanup", "false", "true"), "The root's `cleanup` changes from false to true.");
        assert_eq!(
            told("redact", "/spec/a, /spec/b", "nothing"),
            "The root's `redact` changes from /spec/a, /spec/b to nothing: what the base hides is hidden in this plan all \
             the same."
        );
    }

    #[test]
    fn r16_a_notice_counts_what_it_does_not_name() {
        let objects = (0..7).map(|number| object(&format!("d{number}"))).collect();
        let kept = vec![("demo.p0".parse().unwrap(), object("d0"))];
        assert_eq!(
            notice(&Notice::NotReady { objects, kept }),
            "Not ready now: Deployment.apps x/d0, Deployment.apps x/d1, Deployment.apps x/d2, Deployment.apps x/d3, \
             Deployment.apps x/d4 (and 2 more). Unless that changes, nothing is deleted in demo.p0 (for Deployment.apps \
             x/d0)."
        );
    }
}

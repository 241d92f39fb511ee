//! The state of a root as text and as JSON: its recorded objects, and its orphans.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::escape::logged;
use super::json::v1::FORMAT_VERSION;
use super::listing::columns;
use super::wording;
use crate::object::ident::Ident;
use crate::plan::change::Change;
use crate::plan::decision::Action;
use crate::project::path::ProjectPath;
use crate::state::inspect::Integrity;
use crate::state::payload::Entries;

/// The output of `ktor state show`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateDocument<'a> {
    /// The version of the format.
    pub format_version: &'static str,
    /// The name of the root.
    pub root: &'a str,
    /// The Secret that stores the state, as namespace/name.
    pub state: String,
    /// `true` if the Secret exists.
    pub exists: bool,
    /// `true` if the last run to write the state finalized it. Absent if this is not known.
    pub finalized: Option<bool>,
    /// `true` if every earlier run is known to have ended.
    pub settled: bool,
    /// The commit that the root was last finalized at, if it is known.
    pub ledger: Option<&'a str>,
    /// The last run that wrote the state.
    pub run: Option<&'a str>,
    /// The result of comparing the state with its digest. Absent if there is no state.
    pub digest: Option<Integrity>,
    /// The number of objects of each project.
    pub projects: BTreeMap<&'a ProjectPath, usize>,
    /// The holder of the lock. Absent if the lock is free.
    pub lock: Option<LockDocument<'a>>,
}

/// The holder of a lock.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LockDocument<'a> {
    /// The holder's identity.
    pub holder: &'a str,
    /// The time since when it holds the lock, by its own account.
    pub since: Option<String>,
    /// The URL of the holder's run.
    pub run: Option<&'a str>,
}

/// One recorded object.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EntryDocument<'a> {
    /// The object, in the form that commands accept.
    pub object: String,
    /// The object's project.
    pub project: &'a ProjectPath,
    /// The API version with which the object was recorded.
    pub version: String,
    /// The reason why cleanup does not delete the object. Absent in a plain list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A list of recorded objects as JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EntriesDocument<'a> {
    format_version: &'static str,
    root: &'a str,
    objects: &'a [EntryDocument<'a>],
    notices: &'a [String],
}

/// Returns all recorded objects, in the order of the state.
pub(crate) fn entries(entries: &Entries) -> Vec<EntryDocument<'_>> {
    entries.iter().map(|(project, ident)| entry(project, &ident, None)).collect()
}

/// Returns one recorded object.
pub(crate) fn entry<'a>(project: &'a ProjectPath, ident: &Ident, reason: Option<String>) -> EntryDocument<'a> {
    EntryDocument { object: ident.key.word(), project, version: ident.version.clone(), reason }
}

/// Returns the reason why an orphan is not deleted, in the words of the plan.
pub(crate) fn held_back(change: &Change) -> String {
    match change.action() {
        Action::Delete => "the next apply deletes it".to_owned(),
        Action::Release => format!("it {}: the next apply removes it from the state", wording::why(change)),
        _ => wording::why(change),
    }
}

/// Returns a list as a value to serialize.
pub(crate) fn document<'a>(
    root: &'a str,
    objects: &'a [EntryDocument<'a>],
    notices: &'a [String],
) -> EntriesDocument<'a> {
    EntriesDocument { format_version: FORMAT_VERSION, root, objects, notices }
}

/// Returns a list for a terminal, with one object on each line.
pub(crate) fn lines(objects: &[EntryDocument<'_>]) -> String {
    let row = |entry: &EntryDocument<'_>| {
        let mut row = vec![entry.object.clone(), entry.project.to_string(), entry.version.clone()];
        row.extend(entry.reason.clone());
        row
    };
    let rows: Vec<Vec<String>> = objects.iter().map(row).collect();
    columns(&rows).iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{}", logged(line));
        text
    })
}

/// Returns the output of `ktor state show` for a terminal.
pub(crate) fn shown(state: &StateDocument<'_>) -> String {
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let digest = match state.digest {
        Some(Integrity::Valid) => "valid",
        Some(Integrity::Missing) => "missing: another tool wrote last",
        Some(Integrity::Invalid) => "invalid: it was changed by hand",
        None => "none",
    };
    let lock = state.lock.as_ref().map_or_else(
        || "free".to_owned(),
        |LockDocument { holder, since, run }| {
            let since = since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
            let run = run.map(|run| format!(", see {run}")).unwrap_or_default();
            format!("held by {holder}{since}{run}")
        },
    );
    let mut rows = vec![
        ("root", state.root.to_owned()),
        ("state", format!("{}{}", state.state, if state.exists { "" } else { " (there is none)" })),
        ("finalized", state.finalized.map_or_else(|| "not known".to_owned(), yes)),
        ("settled", yes(state.settled)),
        ("ledger", state.ledger.unwrap_or("not known").to_owned()),
        ("written by", state.run.unwrap_or("not known").to_owned()),
        ("digest", digest.to_owned()),
        ("lock", lock),
        ("objects", state.projects.values().sum::<usize>().to_string()),
    ];
    let projects = state.projects.iter();
    rows.extend(projects.map(|(project, count)| ("", format!("{project}: {}", wording::counted(*count, "object")))));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    columns(&rows).iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{}", logged(line));
        text
    })
}

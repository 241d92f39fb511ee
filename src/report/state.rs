//! A root's record as text and as JSON: what is in it, and what nobody wants any more.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::escape::logged;
use super::json::VERSION;
use super::listing::columns;
use super::wording;
use crate::object::ident::Ident;
use crate::plan::change::{Action, Change};
use crate::project::path::ProjectPath;
use crate::state::inspect::Integrity;
use crate::state::payload::Entries;

/// `ktor state show`.
#[derive(Clone, Debug, Serialize)]
pub struct StateDocument<'a> {
    /// The format's version.
    pub version: u32,
    /// The root.
    pub root: &'a str,
    /// The Secret, as namespace/name.
    pub state: String,
    /// Whether there is one.
    pub exists: bool,
    /// Whether the run that wrote last came to its end.
    pub finalized: Option<bool>,
    /// Whether every earlier run is known to have come to its end.
    pub settled: bool,
    /// The commit that the root was last finalized at, where that is known.
    pub ledger: Option<&'a str>,
    /// The run that wrote last.
    pub run: Option<&'a str>,
    /// Whether it is as it was written.
    pub digest: Option<Integrity>,
    /// How many objects each project has.
    pub projects: BTreeMap<&'a ProjectPath, usize>,
    /// Who holds the lock.
    pub lock: Option<LockDocument<'a>>,
}

/// Who holds a lock.
#[derive(Clone, Debug, Serialize)]
pub struct LockDocument<'a> {
    /// Its identity.
    pub holder: &'a str,
    /// ScopeBasis when, by its own account.
    pub since: Option<String>,
    /// Where its run can be watched.
    pub run: Option<&'a str>,
}

/// One recorded object.
#[derive(Clone, Debug, Serialize)]
pub struct EntryDocument<'a> {
    /// The object, as commands take it.
    pub object: String,
    /// Its project.
    pub project: &'a ProjectPath,
    /// The version that it was written with.
    pub version: String,
    /// What holds it back from being cleaned up; absent in a plain list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A list of recorded objects.
#[derive(Clone, Debug, Serialize)]
pub struct EntriesDocument<'a> {
    version: u32,
    root: &'a str,
    objects: &'a [EntryDocument<'a>],
    notices: &'a [String],
}

/// Every entry, in order.
pub fn entries(entries: &Entries) -> Vec<EntryDocument<'_>> {
    entries.iter().map(|(project, ident)| entry(project, &ident, None)).collect()
}

/// One entry.
pub fn entry<'a>(project: &'a ProjectPath, ident: &Ident, reason: Option<String>) -> EntryDocument<'a> {
    EntryDocument { object: ident.key.word(), project, version: ident.version.clone(), reason }
}

/// What holds a recorded, undesired object back, in a plan's own words.
pub fn held_back(change: &Change) -> String {
    match change.action {
        Action::Delete => "nothing holds it: the next apply deletes it".to_owned(),
        Action::Release => format!("it {}: the next apply lets it go", change.reason),
        _ => change.reason.to_string(),
    }
}

/// A list as JSON.
pub fn document<'a>(root: &'a str, objects: &'a [EntryDocument<'a>], notices: &'a [String]) -> EntriesDocument<'a> {
    EntriesDocument { version: VERSION, root, objects, notices }
}

/// A list for a terminal: one object a line.
pub fn lines(objects: &[EntryDocument<'_>]) -> String {
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

/// `ktor state show` for a terminal.
pub fn shown(state: &StateDocument<'_>) -> String {
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

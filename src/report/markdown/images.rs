//! The changed images of all workloads, in one table.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::escape::cell;
use super::super::listing::{self, Section};
use super::super::wording;
use super::strong;
use crate::plan::change::{Change, FieldChange, ShownValue, Step};
use crate::project::path::ProjectPath;

/// The number of characters of a digest that are shown, with its prefix `sha256:`.
const DIGEST: usize = 19;

/// Returns both values of a field that is the image of a container.
pub(super) fn of(field: &FieldChange) -> Option<(&str, &str)> {
    let [.., Step::Field(list), Step::Item { .. }, Step::Field(name)] = field.steps.as_slice() else { return None };
    let is_image = name == "image" && ["containers", "initContainers", "ephemeralContainers"].contains(&list.as_str());
    match (&field.before, &field.after) {
        (Some(ShownValue::Plain(Value::String(before))), Some(ShownValue::Plain(Value::String(after)))) => {
            is_image.then_some((before, after))
        }
        _ => None,
    }
}

/// The images that change in the same way in one project.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Row<'a> {
    project: &'a ProjectPath,
    /// The repository without its last segment.
    parent: &'a str,
    from: String,
    to: String,
}

/// Returns the table of the changed images.
pub(super) fn table(changes: &[&Change], room: usize, rest: &str) -> Section {
    let images = || {
        changes.iter().flat_map(|change| {
            change.diff.iter().filter_map(of).map(|(before, after)| (*change, split(before), split(after)))
        })
    };
    let workloads = changes.iter().filter(|change| change.diff.iter().any(|field| of(field).is_some())).count();
    if workloads == 0 {
        return Section::default();
    }
    let registries: BTreeSet<Option<&str>> =
        images().flat_map(|(_, (before, _), (after, _))| [registry(before), registry(after)]).collect();
    let common = if registries.len() == 1 { registries.into_iter().next().flatten() } else { None };
    let bare = |name: &'_ str| {
        common.and_then(|host| name.strip_prefix(host)?.strip_prefix('/')).map_or(0, |bare| name.len() - bare.len())
    };
    let mut rows: BTreeMap<Row<'_>, BTreeSet<&str>> = BTreeMap::new();
    for (change, (before, old), (after, new)) in images() {
        let before = &before[bare(before)..];
        let after = &after[bare(after)..];
        let (parent, name) = before.rsplit_once('/').unwrap_or(("", before));
        let (from, to) = if before == after { versions(old, new) } else { (old.to_owned(), format!("{after} {new}")) };
        rows.entry(Row { project: &change.project, parent, from, to }).or_default().insert(name);
    }
    let host = common.map(|host| format!(", all from {}", cell(host))).unwrap_or_default();
    let head = format!(
        "**Images** ({}{host})\n\n| image | from | to | in |\n|---|---|---|---|\n",
        wording::counted(workloads, "workload")
    );
    let lines: Vec<String> = rows.iter().map(|(row, names)| line(row, names)).collect();
    let section = listing::lined(&lines, room.saturating_sub(head.len()), "\n", rest);
    Section { text: format!("{head}{}", section.text), ..section }
}

fn line(row: &Row<'_>, names: &BTreeSet<&str>) -> String {
    let names: Vec<&str> = names.iter().copied().collect();
    let names = if names.len() == 1 { names.concat() } else { format!("{{{}}}", names.join(", ")) };
    let image = if row.parent.is_empty() { names } else { format!("{}/{names}", row.parent) };
    let version = |text: &str| if text.is_empty() { "(no tag)".to_owned() } else { cell(text) };
    let to = version(&row.to);
    let to = if matches!(row.to.as_str(), "latest" | "") { strong(&to) } else { to };
    format!("| {} | {} | {to} | {} |", cell(&image), version(&row.from), cell(row.project.as_str()))
}

/// Splits an image into its repository and its version: the tag, the digest, or both.
fn split(image: &str) -> (&str, &str) {
    let name = image.rfind('/').map_or(0, |at| at + 1);
    match image[name..].find([':', '@']) {
        Some(at) => (&image[..name + at], image[name + at..].trim_start_matches([':', '@'])),
        None => (image, ""),
    }
}

/// The host of a repository, if it names one.
fn registry(repository: &str) -> Option<&str> {
    let (host, _) = repository.split_once('/')?;
    (host.contains(['.', ':']) || host == "localhost").then_some(host)
}

/// Shortens two digests, unless they would look the same.
fn versions(before: &str, after: &str) -> (String, String) {
    let short = |text: &str| match text.find("sha256:").and_then(|at| text.get(..at + DIGEST)) {
        Some(start) if start.len() < text.len() => format!("{start}…"),
        _ => text.to_owned(),
    };
    let shown = (short(before), short(after));
    if shown.0 == shown.1 { (before.to_owned(), after.to_owned()) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_repository_and_a_version() {
        for (image, repository, version) in [
            ("web", "web", ""),
            ("web:1.4", "web", "1.4"),
            ("host:5000/a/web", "host:5000/a/web", ""),
            ("host:5000/a/web:1.4@sha256:00", "host:5000/a/web", "1.4@sha256:00"),
            ("a/web@sha256:00", "a/web", "sha256:00"),
        ] {
            assert_eq!(split(image), (repository, version));
        }
        assert_eq!(registry("host:5000/a/web"), Some("host:5000"));
        assert_eq!(registry("a/web"), None);
    }

    #[test]
    fn a_digest_is_short_only_if_the_difference_stays_visible() {
        let digest = |end: char| format!("sha256:{}{end}", "0".repeat(63));
        assert_eq!(versions(&digest('1'), &digest('2')), (digest('1'), digest('2')));
        let other = format!("sha256:{}", "1".repeat(64));
        assert_eq!(
            versions(&digest('1'), &other),
            ("sha256:000000000000…".to_owned(), "sha256:111111111111…".to_owned())
        );
    }
}

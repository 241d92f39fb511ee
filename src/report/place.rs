//! Links to the files of a commit, on the forge's own pages.

use std::path::Path;

use super::Heading;
use super::escape::{LONGEST, clipped, link, link_on_site};
use super::wording;
use crate::plan::change::Change;
use crate::plan::decision::Action;
use crate::project::snapshot::SourcePlace;

/// Links `words`, which are Markdown, to the place of a change. Without a place or a forge, returns only the words.
pub(crate) fn linked(words: &str, change: &Change, heading: &Heading<'_>) -> String {
    let commit = if change.action() == Action::Delete { heading.base } else { heading.head };
    at(words, change, commit, heading)
}

/// Links `words`, which are Markdown, to the place of an object that the base has and the head has not.
pub(crate) fn linked_in_base(words: &str, change: &Change, heading: &Heading<'_>) -> String {
    at(words, change, heading.base, heading)
}

fn at(words: &str, change: &Change, commit: Option<&str>, heading: &Heading<'_>) -> String {
    match change.place.as_ref().and_then(|place| address(place, commit?, heading)) {
        Some(path) if path.starts_with('/') => link_on_site(words, &path),
        Some(url) => link(words, Some(&url)),
        None => words.to_owned(),
    }
}

/// The name of the file in which a change stands, with its line: `worker.yaml:8`.
pub(crate) fn short(place: &SourcePlace) -> String {
    let name = place.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = clipped(&name, LONGEST / 4);
    if place.line > 1 { format!("{name}:{}", place.line) } else { name }
}

/// The address of the forge's page about a place. The file's path is in the repository.
fn address(place: &SourcePlace, commit: &str, heading: &Heading<'_>) -> Option<String> {
    let files = heading.files?;
    let file = encoded(&heading.directory.unwrap_or(Path::new("")).join(&place.path));
    let line = if place.line > 1 { format!("#L{}", place.line) } else { String::new() };
    Some(format!("{files}/{}/{file}{line}", wording::commit(commit)))
}

/// Writes a path for a URL.
fn encoded(path: &Path) -> String {
    let mut shown = String::new();
    for byte in path.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            shown.push(char::from(byte));
        } else {
            shown.push_str(&format!("%{byte:02X}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_linked_at_its_commit_and_line() {
        let below = |files| Heading { files, directory: Some(Path::new("deploy")), ..Heading::default() };
        let heading = below(Some("/acme/shop/blob"));
        let commit = "0123456789abcdef0123456789abcdef01234567";
        for (place, expected) in [
            (SourcePlace::new("a b/é.yaml", 7, 1), "/acme/shop/blob/0123456789ab/deploy/a%20b/%C3%A9.yaml#L7"),
            (SourcePlace::new("x](y).yaml", 1, 1), "/acme/shop/blob/0123456789ab/deploy/x%5D%28y%29.yaml"),
        ] {
            assert_eq!(address(&place, commit, &heading).as_deref(), Some(expected));
        }
        let gitea = below(Some("https://gitea.example/acme/shop/src/commit"));
        assert_eq!(
            address(&SourcePlace::whole("x"), commit, &gitea).as_deref(),
            Some("https://gitea.example/acme/shop/src/commit/0123456789ab/deploy/x")
        );
        assert_eq!(address(&SourcePlace::whole("x"), commit, &below(None)), None);
        assert_eq!(short(&SourcePlace::new("a/b.yaml", 7, 1)), "b.yaml:7");
        assert_eq!(short(&SourcePlace::whole("b.yaml")), "b.yaml");
    }
}

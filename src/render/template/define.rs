//! Kubernator's template files: documents with `define` and `apply`. The file itself is not a template, and the files
//! that it defines are.

use std::path::{Component, Path, PathBuf};

use crate::project::snapshot::{SourceError, SourcePlace};
use crate::project::tree::normalized;
use crate::render::yaml::placed::{Content, Placed};
use crate::render::yaml::{self, ValueBudget};

/// A template that has a name.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    /// The name.
    pub(super) name: String,
    /// The place of the name.
    pub(super) place: SourcePlace,
    /// The path of the template, relative to the root directory.
    pub(super) path: PathBuf,
    /// The place that names the path.
    pub(super) path_place: SourcePlace,
    /// The values that an application does not set.
    pub(super) defaults: Vec<(String, Placed)>,
}

/// The application of a template.
#[derive(Clone, Debug)]
pub(super) struct Application {
    /// The name of the template.
    pub(super) name: String,
    /// The place of the name.
    pub(super) place: SourcePlace,
    /// The values. They replace the defaults of the same names whole.
    pub(super) values: Vec<(String, Placed)>,
}

/// The content of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Definitions {
    /// The templates that the file defines.
    pub(super) defined: Vec<Definition>,
    /// The templates that the file applies.
    pub(super) applied: Vec<Application>,
}

/// Reads a file. Returns `None` if it is a template itself: one of its documents has something other than `define` and
/// `apply`, or it is not YAML.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Option<Result<Definitions, SourceError>> {
    let mentions = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    if !mentions(b"define") && !mentions(b"apply") {
        return None;
    }
    let documents = yaml::read_placed(path, bytes, &mut ValueBudget::default()).ok()?;
    let is_ours = |document: &Placed| match &document.content {
        Content::Map(entries) => entries.iter().all(|(key, _)| matches!(key.as_str(), "define" | "apply")),
        _ => false,
    };
    if documents.is_empty() || !documents.iter().all(is_ours) {
        return None;
    }
    Some(definitions(path, &documents))
}

fn definitions(path: &Path, documents: &[Placed]) -> Result<Definitions, SourceError> {
    let mut found = Definitions::default();
    for document in documents {
        for item in items(document, "define")? {
            found.defined.push(definition(path, item)?);
        }
        for item in items(document, "apply")? {
            check_keys(item, &["name", "values"])?;
            let (name, place) = text(item, "name")?;
            found.applied.push(Application { name, place, values: values(item, "values")? });
        }
    }
    Ok(found)
}

fn definition(path: &Path, item: &Placed) -> Result<Definition, SourceError> {
    check_keys(item, &["name", "path", "defaults"])?;
    let (name, place) = text(item, "name")?;
    let (file, path_place) = text(item, "path")?;
    if Path::new(&file).is_absolute() {
        let message = "`path` is absolute: write it relative to the directory of this file";
        return Err(SourceError::new(path_place, message));
    }
    let file = normalized(&path.parent().unwrap_or(Path::new("")).join(file));
    if !matches!(file.components().next_back(), Some(Component::Normal(_))) {
        return Err(SourceError::new(path_place, "`path` names a directory: write the path of a template"));
    }
    Ok(Definition { name, place, path: file, path_place, defaults: values(item, "defaults")? })
}

fn items<'a>(document: &'a Placed, key: &str) -> Result<&'a [Placed], SourceError> {
    match document.get(key) {
        None => Ok(&[]),
        Some(Placed { content: Content::List(items), .. }) => Ok(items),
        Some(other) => {
            let message = format!("`{key}` is {}: make it a list, each item with a `name`", other.describe());
            Err(SourceError::new(other.place.clone(), message))
        }
    }
}

fn check_keys(item: &Placed, allowed: &[&str]) -> Result<(), SourceError> {
    let Content::Map(entries) = &item.content else {
        let message = format!("expected a mapping with a `name`, found {}", item.describe());
        return Err(SourceError::new(item.place.clone(), message));
    };
    match entries.iter().find(|(key, _)| !allowed.contains(&key.as_str())) {
        None => Ok(()),
        Some((key, value)) => {
            let key: String = key.chars().take(80).collect();
            let message = format!("unknown key {key:?}, expected one of {}", allowed.join(", "));
            Err(SourceError::new(value.place.clone(), message))
        }
    }
}

fn text(item: &Placed, key: &str) -> Result<(String, SourcePlace), SourceError> {
    match item.get(key) {
        Some(value) => match value.as_text().filter(|text| !text.is_empty()) {
            Some(text) => Ok((text.to_owned(), value.place.clone())),
            None => {
                let message = format!("`{key}` is {}: write text that is not empty", value.describe());
                Err(SourceError::new(value.place.clone(), message))
            }
        },
        None => Err(SourceError::new(item.place.clone(), format!("`{key}` is missing: add it"))),
    }
}

fn values(item: &Placed, key: &str) -> Result<Vec<(String, Placed)>, SourceError> {
    match item.get(key) {
        None => Ok(Vec::new()),
        Some(Placed { content: Content::Map(entries), .. }) => Ok(entries.clone()),
        Some(other) => {
            let message = format!("`{key}` is {}: make it a mapping of names to values", other.describe());
            Err(SourceError::new(other.place.clone(), message))
        }
    }
}

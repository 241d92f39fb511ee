//! Opens the archives of the charts that releases use, for the facts that decide how the charts are rendered.
//!
//! Helm gets the archives as they are. Only archives that can be read here are given to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::actions::{self, Traits};
use super::archive::Archive;
use super::capabilities::defined_in;
use super::chart::is_archive;
use super::schema::{self, SCHEMA_FILE};
use crate::project::files::Files;
use crate::project::snapshot::{SourceError, printable};
use crate::render::lock::{ArchiveDigest, Locked, LockedChart};
use crate::render::yaml::ValueBudget;

/// The maximum number of unpacked bytes of all archives of a tree.
const MOST_BYTES: usize = 1 << 30;

/// The facts about the archives of a release.
#[derive(Clone, Debug, Default)]
pub(super) struct Opened {
    /// The properties of the templates.
    pub(super) traits: Traits,
    /// The API versions that the charts define.
    pub(super) definitions: BTreeSet<String>,
    /// The errors of templates that read something outside the chart.
    pub(super) outside: Vec<String>,
    /// The errors of schemas that refer to something outside the chart.
    pub(super) schemas: Vec<String>,
}

/// The archives of a tree that were opened so far.
pub(super) struct Opening<'a> {
    files: &'a Files,
    locked: &'a Locked,
    left: usize,
    budget: ValueBudget,
    opened: BTreeMap<PathBuf, Result<Rc<Opened>, String>>,
}

impl Opened {
    /// Adds the facts about another archive.
    pub(super) fn add(&mut self, other: &Self) {
        self.traits.add_all(other.traits);
        self.definitions.extend(other.definitions.iter().cloned());
        self.outside.extend(other.outside.iter().cloned());
        self.schemas.extend(other.schemas.iter().cloned());
    }

    fn of(archive: &Archive, budget: &mut ValueBudget) -> Self {
        let mut opened = Self::default();
        let shown = |error: SourceError| format!("{}: {}", error.place, error.message);
        for (path, bytes) in &archive.files {
            let is_chart = path.parent().is_some_and(|parent| parent.ends_with("charts"));
            if is_archive(path) && is_chart {
                opened.traits.add_all(Traits::UNKNOWN);
                continue;
            }
            opened.traits.add(bytes);
            opened.outside.extend(actions::outside(path, bytes).into_iter().map(shown));
            if path.ends_with(SCHEMA_FILE) {
                opened.schemas.extend(schema::outside(path, bytes).map(shown));
            }
            if path.parent().is_some_and(|parent| parent.iter().any(|name| name == "crds")) {
                opened.definitions.extend(defined_in(path, bytes, budget));
            }
        }
        opened
    }
}

impl<'a> Opening<'a> {
    /// Returns the archives of a tree, none of which is open.
    pub(super) fn new(files: &'a Files, locked: &'a Locked) -> Self {
        Self { files, locked, left: MOST_BYTES, budget: ValueBudget::default(), opened: BTreeMap::new() }
    }

    /// Opens an archive. `entry` is the entry of the lock that names it. Returns `None` for a file that was not read.
    ///
    /// # Errors
    ///
    /// The archive was not fetched, has other bytes than the lock says, or is not the archive of a chart.
    pub(super) fn open(&mut self, path: &Path, entry: Option<&LockedChart>) -> Option<Result<Rc<Opened>, String>> {
        if let Some(known) = self.opened.get(path) {
            return Some(known.clone());
        }
        let opened = match entry {
            Some(entry) => self.bytes_of(entry, path).and_then(|bytes| {
                self.read(bytes).map_err(|error| format!("the archive of the {} is refused: {error}", entry.chart))
            }),
            None => self.read(self.files.loaded().get(path)?).map_err(|error| {
                format!("{} is not the archive of a chart: {error}; package the chart again", printable(path))
            }),
        };
        self.opened.insert(path.to_owned(), opened.clone());
        Some(opened)
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Rc<Opened>, String> {
        let archive = Archive::read(bytes, &mut self.left).map_err(|error| error.to_string())?;
        Ok(Rc::new(Opened::of(&archive, &mut self.budget)))
    }

    /// Returns the bytes that an entry of the lock stands for.
    fn bytes_of(&self, entry: &LockedChart, path: &Path) -> Result<&'a [u8], String> {
        let LockedChart { chart, sha256, .. } = entry;
        if let Some(bytes) = self.files.loaded().get(path) {
            if ArchiveDigest::of(bytes) == *sha256 {
                return Ok(bytes);
            }
            return Err(format!(
                "the bytes of {} are not those that were locked: restore the file, or remove it",
                printable(path)
            ));
        }
        match self.locked.archives.get(sha256) {
            Some(Ok(bytes)) if ArchiveDigest::of(bytes) == *sha256 => Ok(bytes),
            Some(Ok(_)) => Err(format!("the bytes of the {chart} changed since they were locked")),
            Some(Err(message)) => Err(message.clone()),
            None => Err(format!("the archive of the {chart} was not fetched: run again")),
        }
    }
}

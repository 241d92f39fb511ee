//! The targets of a tree: the clusters or environments that it is applied to, and the parts that are for some of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::path::Segment;
use super::settings::{Settings, Stated};
use super::snapshot::{SourceError, SourcePlace};

/// The text in a pattern of `overlays` that stands for the name of a target.
const PLACEHOLDER: &str = "{target}";

/// The reason why a tree cannot be read for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// The tree declares targets, and the caller names none.
    Missing {
        /// The declared targets.
        declared: Vec<String>,
    },
    /// The tree declares other targets than the one that the caller names.
    Unknown {
        /// The name that the caller gives.
        name: String,
        /// The declared targets.
        declared: Vec<String>,
    },
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let declared = |names: &[String]| names.join(", ");
        match self {
            Self::Missing { declared: names } => {
                write!(f, "the tree has several targets, and none is named: name one of {}", declared(names))
            }
            Self::Unknown { name, declared: names } => {
                let name: String = name.chars().take(80).collect();
                write!(f, "the tree has no target {name:?}: name one of {}", declared(names))
            }
        }
    }
}

impl std::error::Error for TargetError {}

/// The targets that the root's settings file declares, and the one that the tree is read for.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets {
    /// The declared targets, each with the directories that are for it alone.
    overlays: BTreeMap<String, GlobSet>,
    /// The name of the target that the tree is read for. It may be no declared one.
    chosen: Option<String>,
    /// The directories that are for other targets.
    left_out: Vec<PathBuf>,
}

impl Targets {
    /// Reads the declared targets.
    ///
    /// # Errors
    ///
    /// The place of a wrong name or pattern.
    pub(super) fn declared(path: &Path, settings: &Settings, chosen: Option<&str>) -> Result<Self, SourceError> {
        let mut overlays = BTreeMap::new();
        for (name, _) in settings.targets.iter().flat_map(|targets| &targets.value) {
            if let (Err(error), Some(targets)) = (Segment::new(name), &settings.targets) {
                return Err(SourceError::new(targets.place(path), format!("the name of a target: {error}")));
            }
            overlays.insert(name.clone(), patterns(path, settings.overlays.as_deref().unwrap_or_default(), name)?);
        }
        if let (true, Some(first)) = (overlays.is_empty(), settings.overlays.iter().flatten().next()) {
            let message = "`overlays` chooses directories by target, and the tree has no targets: declare `targets`";
            return Err(SourceError::new(first.place(path), message));
        }
        Ok(Self { overlays, chosen: chosen.map(str::to_owned), left_out: Vec::new() })
    }

    /// Reads the setting `only` of a directory. Returns `true` if the directory is for other targets.
    ///
    /// # Errors
    ///
    /// The place of a target that is not declared.
    pub(super) fn leave_out(
        &mut self,
        directory: &Path,
        path: &Path,
        only: Option<&[Stated<String>]>,
    ) -> Result<bool, SourceError> {
        for name in only.into_iter().flatten() {
            if !self.overlays.contains_key(&name.value) {
                let shown: String = name.value.chars().take(80).collect();
                let message = match self.names()[..] {
                    [] => {
                        format!("the tree has no targets: declare {shown:?} under `targets` in the root's .ktor.yaml")
                    }
                    _ => TargetError::Unknown { name: shown, declared: self.names() }.to_string(),
                };
                return Err(SourceError::new(name.place(path), message));
            }
        }
        // Without a chosen target the whole tree is read, to find the settings alone.
        let is_other = match (only, &self.chosen) {
            (Some(only), Some(chosen)) => only.iter().all(|name| name.value != *chosen),
            _ => false,
        };
        if is_other {
            self.left_out.push(directory.to_owned());
        }
        Ok(is_other)
    }

    /// The names of the declared targets.
    pub(super) fn names(&self) -> Vec<String> {
        self.overlays.keys().cloned().collect()
    }

    /// The chosen target, if it is a declared one.
    pub(super) fn chosen(&self) -> Option<&str> {
        self.chosen.as_deref().filter(|chosen| self.overlays.contains_key(*chosen))
    }

    /// Checks that a declared target is chosen if any is declared.
    ///
    /// # Errors
    ///
    /// No target is chosen, or one that is not declared.
    pub(super) fn check(&self) -> Result<(), TargetError> {
        match &self.chosen {
            _ if self.overlays.is_empty() || self.chosen().is_some() => Ok(()),
            None => Err(TargetError::Missing { declared: self.names() }),
            Some(name) => Err(TargetError::Unknown { name: name.clone(), declared: self.names() }),
        }
    }

    /// Returns `true` if a file lies in a directory that is for other targets.
    pub(super) fn excludes(&self, file: &Path) -> bool {
        let Some(chosen) = self.chosen() else { return false };
        let is_of = |name: &str, directory: &Path| self.overlays.get(name).is_some_and(|set| set.is_match(directory));
        let is_others = |directory: &Path| {
            let mut others = self.overlays.keys().filter(|name| *name != chosen);
            others.any(|name| is_of(name, directory)) && !is_of(chosen, directory)
        };
        file.ancestors().skip(1).any(|directory| {
            self.left_out.iter().any(|left_out| left_out == directory)
                || !directory.as_os_str().is_empty() && is_others(directory)
        })
    }
}

/// Returns the patterns of `overlays` for one target.
fn patterns(path: &Path, overlays: &[Stated<String>], name: &str) -> Result<GlobSet, SourceError> {
    let mut builder = GlobSetBuilder::new();
    for pattern in overlays {
        if !pattern.value.contains(PLACEHOLDER) {
            let message = format!("a pattern of `overlays` has {PLACEHOLDER} where the name of the target stands");
            return Err(SourceError::new(pattern.place(path), message));
        }
        let glob = GlobBuilder::new(&pattern.value.replace(PLACEHOLDER, name)).literal_separator(true).build();
        builder.add(glob.map_err(|error| SourceError::new(pattern.place(path), error.to_string()))?);
    }
    builder.build().map_err(|error| SourceError::new(SourcePlace::whole(path), error.to_string()))
}

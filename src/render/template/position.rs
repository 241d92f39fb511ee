//! Places in the text of a template.

use std::path::Path;

use crate::project::snapshot::SourcePlace;

/// Returns the place of a byte of a template.
pub(super) fn of(path: &Path, source: &str, offset: usize) -> SourcePlace {
    let before = source.get(..offset).unwrap_or(source);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    SourcePlace::new(path, line, before[line_start..].chars().count() + 1)
}

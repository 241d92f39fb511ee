//! The file that a job of a matrix leaves for the summary: the plan of one root and target, with its signed block.
//!
//! The summary reads files of other jobs, so everything in a file is untrusted. A file says what it is about, and the
//! summary compares that with its own event. The block in it is checked only by the apply, which has the key.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The version of the format.
const VERSION: u64 = 1;

/// The beginning of the name of each file.
const NAME: &str = "ktor-plan-";

/// The folder for the files, below the folder for temporary files.
const FOLDER: &str = "ktor-plans";

/// The most bytes of a file.
const MOST_BYTES: u64 = 512 * 1024;

/// The most files of a summary. A matrix has at most 256 jobs.
const MOST_FILES: usize = 512;

/// The depth of the folders that are searched. Each artifact is a folder of its own, unless all are merged.
const DEPTH: usize = 2;

/// The plan of one root and target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PlanFile {
    /// The version of the format.
    pub version: u64,
    /// The root. It is empty if the project could not be opened.
    pub root: String,
    /// The target. Without a root, it may be the directory of the project.
    pub target: String,
    /// The number of the pull request. A plan of a merge queue's group has none.
    pub pull: Option<u64>,
    /// The head of the pull request or of the group.
    pub head: String,
    /// The end of the plan.
    pub result: PlanResult,
    /// The exit code of the job.
    pub exit: u8,
    /// `true` if the plan needs no comment.
    pub is_silent: bool,
    /// The number of objects that the plan changes, deletions included.
    pub changes: usize,
    /// The number of objects that the plan deletes.
    pub deletions: usize,
    /// The number of objects that the plan keeps.
    pub kept: usize,
    /// The digest of the plan.
    pub digest: Option<String>,
    /// The identity of the API server that the plan was made on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The signed block.
    pub block: Option<String>,
    /// The texts of the section, the longest first.
    pub texts: Vec<String>,
}

/// The end of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PlanResult {
    /// The plan has changes.
    Changes,
    /// The plan has no changes.
    NoChanges,
    /// The plan is refused, or keeps or blocks one of its own changes.
    Refused,
    /// The plan could not be made.
    Failed,
    /// There is no plan, for the reason in the text.
    Nothing,
}

impl PlanResult {
    /// The word of the output `result`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::NoChanges => "no-changes",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Nothing => "nothing",
        }
    }
}

impl PlanFile {
    /// Creates a file without a plan: no counts, no block and no text.
    pub(super) fn empty(root: &str, target: &str, pull: Option<u64>, head: &str, result: PlanResult) -> Self {
        Self {
            version: VERSION,
            root: root.to_owned(),
            target: target.to_owned(),
            pull,
            head: head.to_owned(),
            result,
            exit: 0,
            is_silent: false,
            changes: 0,
            deletions: 0,
            kept: 0,
            digest: None,
            server: None,
            block: None,
            texts: Vec::new(),
        }
    }

    /// Writes the file below the folder for temporary files. Returns the folder of the files of all plans of the job. An
    /// earlier file for the same root and target is replaced.
    pub(super) fn write(&self, temporary: &Path) -> io::Result<PathBuf> {
        let folder = temporary.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        fs::write(folder.join(self.name()), text)?;
        Ok(folder)
    }

    /// The name of the file. Files of different roots or targets have different names, so that they can be put together.
    fn name(&self) -> String {
        let hash = Sha256::digest(format!("{}\0{}", self.root, self.target));
        let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let letters = |text: &str| -> String {
            text.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(40).collect()
        };
        format!("{NAME}{}-{hash}.json", letters(if self.root.is_empty() { &self.target } else { &self.root }))
    }
}

/// The files in a folder, and the sentences about those that cannot be read.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The plans.
    pub files: Vec<PlanFile>,
    /// The reasons why files do not count.
    pub refused: Vec<String>,
}

/// Reads the files of plans in a folder and in the folders in it. Links are not followed, and other files do not count.
///
/// # Errors
///
/// The folder cannot be read. A folder that does not exist has no files.
pub(super) fn read_all(folder: &Path) -> io::Result<Found> {
    let mut paths = Vec::new();
    match find(folder, DEPTH, &mut paths) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        found => found?,
    }
    paths.sort();
    let mut found = Found::default();
    if paths.len() > MOST_FILES {
        found.refused.push(format!("there are more than {MOST_FILES} files: the others are not read"));
        paths.truncate(MOST_FILES);
    }
    for path in paths {
        match read(&path) {
            Ok(file) => found.files.push(file),
            Err(why) => {
                let name = path.strip_prefix(folder).unwrap_or(&path);
                found.refused.push(format!("the file {} does not count: {why}", name.display()));
            }
        }
    }
    Ok(found)
}

fn find(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let is_named = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(NAME) && name.strip_suffix(".json").is_some());
        if kind.is_dir() && depth > 1 && found.len() <= MOST_FILES {
            find(&entry.path(), depth - 1, found)?;
        } else if kind.is_file() && is_named && found.len() <= MOST_FILES {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<PlanFile, String> {
    use std::io::Read as _;
    let file = fs::File::open(path).map_err(|error| format!("it cannot be read ({error})"))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| format!("it cannot be read ({error})"))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST_BYTES) {
        return Err(format!("it has more than {MOST_BYTES} bytes"));
    }
    let file: PlanFile =
        serde_json::from_slice(&bytes).map_err(|error| format!("it is not the file of a plan ({error})"))?;
    if file.version == VERSION { Ok(file) } else { Err(format!("its version is {}", file.version)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(root: &str, target: &str) -> PlanFile {
        let plan = PlanFile::empty(root, target, Some(7), &"1".repeat(40), PlanResult::Changes);
        PlanFile { texts: vec!["## `shop`".into()], ..plan }
    }

    #[test]
    fn f17_files_of_all_roots_and_targets_lie_side_by_side_and_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            [file("shop", "prod"), file("shop", "dev"), file("shop", "dev/"), file("", "deploy/../x"), file("a", "")];
        for file in &files {
            assert_eq!(file.write(folder.path()).unwrap(), folder.path().join(FOLDER));
        }
        files[0].write(folder.path()).unwrap();
        let found = read_all(folder.path()).unwrap();
        assert!(found.refused.is_empty(), "{found:?}");
        assert_eq!(found.files.len(), files.len());
        assert!(files.iter().all(|file| found.files.contains(file)), "{found:?}");
        assert!(read_all(&folder.path().join("missing")).unwrap().files.is_empty());
    }

    #[test]
    fn f17_what_is_not_a_plan_is_refused_by_its_name_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("ktor-plan-empty.json", "");
        write("ktor-plan-large.json", &" ".repeat(usize::try_from(MOST_BYTES).unwrap() + 1));
        let text = serde_json::to_string(&file("shop", "prod")).unwrap();
        write("ktor-plan-more.json", &text.replacen('{', "{\"more\":1,", 1));
        write("ktor-plan-new.json", &text.replace("\"version\":1", "\"version\":2"));
        write("other.json", &text);
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), &text).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("ktor-plan-link.json")).unwrap();
        file("shop", "prod").write(outside.path()).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("folder")).unwrap();
        let found = read_all(folder.path()).unwrap();
        assert!(found.files.is_empty(), "{found:?}");
        for name in ["empty", "large", "more", "new"] {
            let told = found.refused.iter().filter(|why| why.contains(&format!("ktor-plan-{name}.json"))).count();
            assert_eq!(told, 1, "{name}: {found:?}");
        }
        assert_eq!(found.refused.len(), 4, "{found:?}");
    }
}

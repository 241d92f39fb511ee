//! Locks the charts of a tree: finds their archives, and writes the file that names them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::credentials::Credentials;
use super::registry::Client;
use super::web::WebError;
use super::{Charts, FetchError};
use crate::process::engine::{Engine, EngineKind, Policy};
use crate::process::{Environment, engine::EngineError};
use crate::project::files::Files;
use crate::project::settings::is_settings;
use crate::project::snapshot::{SourceError, SourcePlace, printable};
use crate::project::tree::Tree;
use crate::render::lock::{ArchiveDigest, LOCK_FILE, Lock, Locked, LockedChart, RemoteChart, VENDORED};
use crate::render::source::{SourceReadError, WorkTree};
use crate::render::{Lockable, check_archive, wanted};

/// The largest number of times that files are loaded.
const ROUNDS: usize = 100;

/// The choice to put archives into the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendoring {
    /// The archives are fetched by each run.
    Off,
    /// The tree contains the archives.
    On,
}

/// The locked charts and engines of a tree, and what changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockReport {
    /// The charts, each with its digest. The last field is `true` for an entry that was there before.
    pub(crate) charts: Vec<(String, String, bool)>,
    /// The charts that nothing uses any more.
    pub(crate) dropped: Vec<String>,
    /// The versions of the engines.
    pub(crate) engines: Vec<(EngineKind, String)>,
    /// The engines whose version is not locked, each with the reason.
    pub(crate) unpinned: Vec<(EngineKind, String)>,
    /// `true` if the file changed.
    pub(crate) is_changed: bool,
}

/// The reason why charts are not locked. Nothing is written then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// The tree cannot be read.
    #[error(transparent)]
    Tree(SourceReadError),
    /// The settings, the lock or releases have errors.
    #[error("read the releases of the tree")]
    Sources(Vec<SourceError>),
    /// A server has no such chart.
    #[error("lock the {chart} ({place})")]
    Resolve {
        /// The chart.
        chart: Box<RemoteChart>,
        /// The place of a release that names it.
        place: SourcePlace,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The archive of a chart is not one.
    #[error("lock the {chart} ({place}): the archive is refused: {problem}")]
    Archive {
        /// The chart.
        chart: Box<RemoteChart>,
        /// The place of a release that names it.
        place: SourcePlace,
        /// The reason.
        problem: String,
    },
    /// A locked archive cannot be fetched.
    #[error(transparent)]
    Fetch(FetchError),
    /// The client cannot be made.
    #[error("prepare for HTTPS")]
    Client(#[source] io::Error),
    /// A file cannot be written.
    #[error("write {}", printable(.path))]
    Write {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
}

/// Locks the charts of the tree at `directory`. The directory `top` contains everything that can be read.
///
/// An entry that a release still names stays as it is. With `vendoring`, the tree then contains exactly the locked
/// archives.
///
/// # Errors
///
/// The tree cannot be read, a chart cannot be found or fetched, or a file cannot be written.
pub(crate) async fn lock(
    (directory, top): (&Path, &Path),
    vendoring: Vendoring,
    launcher: &Path,
    environment: &Environment,
) -> Result<LockReport, LockError> {
    let Surveyed { lockable, files, locked } = survey(directory, top)?;
    let before = locked.lock.clone().unwrap_or_default();
    let mut report = LockReport::default();
    let (charts, mut archives) = entries(&lockable, &before, environment, &mut report).await?;
    let mut after = Lock { charts, targets: before.targets.clone(), engines: BTreeMap::new() };
    for kind in lockable.engines {
        match Engine::find(kind, None, launcher, environment).await {
            Ok(Engine { version, .. }) => {
                report.engines.push((kind, version.clone()));
                after.engines.insert(kind, version);
            }
            Err(error) => {
                after.engines.extend(before.engines.get(&kind).map(|version| (kind, version.clone())));
                report.unpinned.push((kind, reason(&error)));
            }
        }
    }
    let is_dropped = |chart: &&RemoteChart| !after.charts.contains_key(*chart);
    report.dropped = before.charts.keys().filter(is_dropped).map(ToString::to_string).collect();
    if vendoring == Vendoring::On {
        let charts = Charts::new(environment.clone(), &Policy::OWN);
        for entry in after.charts.values() {
            let path = entry.sha256.vendored_path();
            let in_tree = files.loaded().get(&path).filter(|bytes| ArchiveDigest::of(bytes) == entry.sha256);
            if in_tree.is_none() && !archives.contains_key(&entry.sha256) {
                archives.insert(entry.sha256.clone(), charts.fetch(entry).await.map_err(LockError::Fetch)?);
            }
        }
        vendor(directory, &archives, &after)?;
    }
    let text = after.text();
    let is_empty = after == Lock::default();
    let present = files.loaded().get(Path::new(LOCK_FILE));
    report.is_changed = present.map_or(!is_empty, |bytes| bytes != text.as_bytes());
    if report.is_changed {
        replace(&directory.join(LOCK_FILE), text.as_bytes())?;
    }
    Ok(report)
}

/// The charts of a tree, and its files.
struct Surveyed {
    lockable: Lockable,
    files: Files,
    locked: Locked,
}

/// Reads the releases of a tree, for all of its targets.
fn survey(directory: &Path, top: &Path) -> Result<Surveyed, LockError> {
    let (mut reader, mut files) = WorkTree::open(directory, top).map_err(LockError::Tree)?;
    let first = files.selected(&|path| is_settings(path) || path == Path::new(LOCK_FILE));
    reader.load(&mut files, &first).map_err(LockError::Tree)?;
    let locked = Locked::of(&files).map_err(LockError::Sources)?;
    let declared = Tree::load(files.loaded(), None).map_err(LockError::Sources)?.declared_targets();
    let targets: Vec<Option<&str>> =
        if declared.is_empty() { vec![None] } else { declared.iter().map(|target| Some(target.as_str())).collect() };
    let mut lockable = Lockable::default();
    for target in targets {
        let tree = Tree::load(files.loaded(), target).map_err(LockError::Sources)?;
        for _ in 0..ROUNDS {
            let wanted = wanted(&tree, &files, &locked);
            if wanted.is_empty() {
                break;
            }
            reader.load(&mut files, &wanted).map_err(LockError::Tree)?;
        }
        lockable.add(&tree, &files);
    }
    if lockable.errors.is_empty() {
        Ok(Surveyed { lockable, files, locked })
    } else {
        Err(LockError::Sources(lockable.errors.into_iter().collect()))
    }
}

/// Returns the entries of all charts, with the archives that were fetched for new ones.
async fn entries(
    lockable: &Lockable,
    before: &Lock,
    environment: &Environment,
    report: &mut LockReport,
) -> Result<(BTreeMap<RemoteChart, LockedChart>, BTreeMap<ArchiveDigest, Vec<u8>>), LockError> {
    let (mut entries, mut archives) = (BTreeMap::new(), BTreeMap::new());
    let mut client = None;
    for (chart, place) in &lockable.charts {
        let known = before.charts.get(chart);
        let entry = if let Some(entry) = known {
            entry.clone()
        } else {
            let client = match &mut client {
                Some(client) => client,
                none => none.insert(Client::new(Credentials::read(environment)).map_err(LockError::Client)?),
            };
            let named = || (Box::new(chart.clone()), place.clone());
            let failed = |source: WebError| {
                let (chart, place) = named();
                LockError::Resolve { chart, place, source: Box::new(source) }
            };
            let url = client.resolve(chart).await.map_err(failed)?;
            let bytes = client.archive(chart, &url).await.map_err(failed)?;
            check_archive(&bytes).map_err(|problem| {
                let (chart, place) = named();
                LockError::Archive { chart, place, problem }
            })?;
            let sha256 = ArchiveDigest::of(&bytes);
            archives.insert(sha256.clone(), bytes);
            LockedChart { chart: chart.clone(), url, sha256 }
        };
        report.charts.push((chart.to_string(), entry.sha256.to_string(), known.is_some()));
        entries.insert(chart.clone(), entry);
    }
    Ok((entries, archives))
}

/// Puts archives into the tree, and removes those that the lock does not name.
fn vendor(directory: &Path, archives: &BTreeMap<ArchiveDigest, Vec<u8>>, lock: &Lock) -> Result<(), LockError> {
    // A link in the tree must not lead to other files of this machine.
    let archives_at = directory.join(VENDORED);
    if archives_at.canonicalize().is_ok_and(|real| !real.starts_with(directory)) {
        let source = io::Error::other("a link leads out of the tree; remove it");
        return Err(LockError::Write { path: archives_at, source });
    }
    let wanted: BTreeSet<PathBuf> = lock.charts.values().map(|entry| entry.sha256.vendored_path()).collect();
    for (digest, bytes) in archives {
        let path = digest.vendored_path();
        if wanted.contains(&path) {
            let path = directory.join(path);
            let parent = path.parent().unwrap_or(directory);
            fs::create_dir_all(parent).map_err(|source| LockError::Write { path: parent.to_owned(), source })?;
            replace(&path, bytes)?;
        }
    }
    let Ok(present) = fs::read_dir(archives_at) else { return Ok(()) };
    for entry in present.flatten() {
        let name = PathBuf::from(entry.file_name());
        let is_archive = name.file_stem().and_then(|stem| ArchiveDigest::parse(stem.to_str()?)).is_some();
        if is_archive && !wanted.contains(&Path::new(VENDORED).join(&name)) {
            fs::remove_file(entry.path()).map_err(|source| LockError::Write { path: entry.path(), source })?;
        }
    }
    Ok(())
}

/// Writes a file as a whole: a reader sees the old content or the new one.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), LockError> {
    let failed = |source| LockError::Write { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    // A link that someone put there is not followed.
    drop(fs::remove_file(&new));
    let created = OpenOptions::new().write(true).create_new(true).open(&new);
    let written = created.and_then(|mut file| file.write_all(bytes));
    written.and_then(|()| fs::rename(&new, path)).map_err(|source| {
        drop(fs::remove_file(&new));
        failed(source)
    })
}

fn reason(error: &EngineError) -> String {
    crate::run::error::chain(error)
}

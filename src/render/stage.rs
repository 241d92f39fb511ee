//! Writes the files of a tree into a directory of their own, where a program can read them and nothing else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use crate::process::engine::Place;
use crate::project::files::Files;
use crate::project::snapshot::printable;
use crate::project::tree::normalized;

/// The error of writing files into a directory.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The directory contains something already. A link in it could lead elsewhere.
    #[error("write files into {}: the directory is not empty", printable(.directory))]
    NotEmpty {
        /// The directory.
        directory: PathBuf,
    },
    /// The path of a file leads out of the directory.
    #[error("write {}: the path leads out of the directory", printable(.path))]
    Outside {
        /// The path of the file.
        path: PathBuf,
    },
    /// A file or directory cannot be written.
    #[error("write {}", printable(.path))]
    Write {
        /// The path of the file or directory.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
}

/// The start of the names of all stages.
const NAME: &str = "ktor-stage-";

/// The file in a stage that its process holds locked for as long as it lives.
const LOCK: &str = "lock";

/// The number of names that are tried. A name is taken only if another process made the same choice.
const ATTEMPTS: usize = 16;

/// A private directory for one run of an engine. It is removed when this value is dropped.
///
/// A process that is killed leaves its stages behind. [`remove_stale`] removes them.
#[derive(Debug)]
pub struct Stage {
    directory: PathBuf,
    top: PathBuf,
    home: PathBuf,
    _lock: File,
}

impl Stage {
    /// Creates a stage below the directory `temporary`, and writes files into its top directory.
    ///
    /// # Errors
    ///
    /// A path leads out of the top directory, or something cannot be written. Nothing is left behind then.
    pub fn create<P: AsRef<Path>, B: AsRef<[u8]>>(
        temporary: &Path,
        files: impl IntoIterator<Item = (P, B)>,
    ) -> Result<Self, StageError> {
        let stage = Self::empty(temporary)?;
        write_all(files.into_iter().map(|(path, bytes)| (path.as_ref().to_owned(), bytes)), &stage.top)?;
        Ok(stage)
    }

    /// Returns the directories for an engine.
    pub fn place(&self) -> Place<'_> {
        Place { top: &self.top, home: &self.home }
    }

    fn empty(temporary: &Path) -> Result<Self, StageError> {
        // An engine says paths without links, and the confinement needs them too.
        let temporary = temporary.canonicalize().map_err(failed(temporary))?;
        for _ in 0..ATTEMPTS {
            let name = format!("{NAME}{:016x}", RandomState::new().hash_one(std::process::id()));
            let directory = temporary.join(name);
            match DirBuilder::new().mode(0o700).create(&directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                created => created.map_err(failed(&directory))?,
            }
            if let Some(lock) = locked(&directory).map_err(failed(&directory))? {
                let (top, home) = (directory.join("top"), directory.join("home"));
                let stage = Self { directory, top, home, _lock: lock };
                create(&stage.top).map_err(failed(&stage.top))?;
                create(&stage.home).map_err(failed(&stage.home))?;
                return Ok(stage);
            }
        }
        let source = io::Error::other("another process removes the directories of this one");
        Err(StageError::Write { path: temporary, source })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Another run removes the rest if this fails.
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Creates the lock in a new directory. Returns `None` if another process took the directory for a stale one meanwhile.
fn locked(directory: &Path) -> io::Result<Option<File>> {
    let path = directory.join(LOCK);
    let lock = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match lock.try_lock() {
        Ok(()) if lock.metadata()?.nlink() > 0 => Ok(Some(lock)),
        Ok(()) | Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Removes the stages in the directory `temporary` whose processes ended without removing them, and returns their number.
///
/// It touches only directories of this user that have the name and the lock of a stage. Whatever fails is left alone.
pub fn remove_stale(temporary: &Path) -> usize {
    let user = rustix::process::geteuid().as_raw();
    let is_stale = |directory: &PathBuf| {
        let is_named = directory.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(NAME.as_bytes()));
        let of_user =
            |path: &Path| path.symlink_metadata().ok().filter(|found| found.uid() == user && !found.is_symlink());
        let lock = directory.join(LOCK);
        is_named
            && of_user(directory).is_some_and(|found| found.is_dir() && found.mode() & 0o777 == 0o700)
            && of_user(&lock).is_some_and(|found| found.is_file())
    };
    let Ok(entries) = fs::read_dir(temporary) else { return 0 };
    let stale = entries.flatten().map(|entry| entry.path()).filter(is_stale);
    let removed = stale.filter(|directory| {
        let Ok(lock) = File::open(directory.join(LOCK)) else { return false };
        // The lock is held until the directory is gone, so that nobody starts to use it meanwhile.
        lock.try_lock().is_ok() && fs::remove_dir_all(directory).is_ok()
    });
    removed.count()
}

/// Writes the loaded files into `directory`, which is empty or does not exist yet. `prefix` is the place of the root
/// directory in it, so that a path that begins with `..` has a place too.
///
/// Every file is a regular file that only its owner can read and write, and that nobody can execute.
///
/// # Errors
///
/// The directory is not empty, a path leads out of it, or a file cannot be written.
pub fn write_to(files: &Files, directory: &Path, prefix: &Path) -> Result<(), StageError> {
    write_all(files.loaded().iter().map(|(path, bytes)| (prefix.join(path), bytes)), directory)
}

fn write_all<B: AsRef<[u8]>>(files: impl Iterator<Item = (PathBuf, B)>, directory: &Path) -> Result<(), StageError> {
    create(directory).map_err(failed(directory))?;
    let mut content = fs::read_dir(directory).map_err(failed(directory))?;
    if content.next().is_some() {
        return Err(StageError::NotEmpty { directory: directory.to_owned() });
    }
    let inside = |(path, bytes): (PathBuf, B)| {
        let inside = normalized(&path);
        let is_inside = inside.components().all(|part| matches!(part, Component::Normal(_)));
        let is_inside = is_inside && !inside.as_os_str().is_empty();
        if is_inside { Ok((inside, bytes)) } else { Err(StageError::Outside { path }) }
    };
    // Nothing is written if one of the paths is refused.
    let targets: Vec<(PathBuf, B)> = files.map(inside).collect::<Result<_, _>>()?;
    for (path, bytes) in targets {
        let target = directory.join(&path);
        create(target.parent().unwrap_or(directory)).map_err(failed(&path))?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target);
        file.and_then(|mut file| file.write_all(bytes.as_ref())).map_err(failed(&path))?;
    }
    Ok(())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StageError {
    let path = path.to_owned();
    |source| StageError::Write { path, source }
}

fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn files(paths: &[&str]) -> Files {
        let mut files = Files::default();
        for path in paths {
            files.load(path.into(), path.as_bytes().to_vec());
        }
        files
    }

    #[test]
    fn files_are_written_plain_and_below_the_prefix() {
        let directory = tempfile::tempdir().unwrap();
        let stage = directory.path().join("new/stage");
        write_to(&files(&["a/x.yaml", "../lib/y", ".hidden/z"]), &stage, Path::new("deploy/k8s")).unwrap();
        for (path, content) in
            [("deploy/k8s/a/x.yaml", "a/x.yaml"), ("deploy/lib/y", "../lib/y"), ("deploy/k8s/.hidden/z", ".hidden/z")]
        {
            assert_eq!(fs::read_to_string(stage.join(path)).unwrap(), content);
            assert_eq!(fs::metadata(stage.join(path)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(stage.join("deploy")).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn nothing_is_written_outside_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let stage = directory.path().join("stage");
        for path in ["../x", "/etc/x", "a/../../x", "..", ""] {
            let error = write_to(&files(&["a", path]), &stage, Path::new("")).unwrap_err();
            assert!(matches!(error, StageError::Outside { .. }), "{path}: {error}");
            assert!(!directory.path().join("x").exists() && !stage.join("a").exists(), "{path}");
        }
        symlink("..", stage.join("a")).unwrap();
        let error = write_to(&files(&["a/x"]), &stage, Path::new("")).unwrap_err();
        assert!(matches!(error, StageError::NotEmpty { .. }), "{error}");
        assert!(!directory.path().join("x").exists());
    }
}

//! Writes the files of a tree into a directory of their own, where a program can read them and nothing else.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

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

/// Writes the loaded files into `directory`, which is empty or does not exist yet. `prefix` is the place of the root
/// directory in it, so that a path that begins with `..` has a place too.
///
/// Every file is a regular file that only its owner can read and write, and that nobody can execute.
///
/// # Errors
///
/// The directory is not empty, a path leads out of it, or a file cannot be written.
pub fn write_to(files: &Files, directory: &Path, prefix: &Path) -> Result<(), StageError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| StageError::Write { path, source }
    };
    create(directory).map_err(failed(directory))?;
    let mut content = fs::read_dir(directory).map_err(failed(directory))?;
    if content.next().is_some() {
        return Err(StageError::NotEmpty { directory: directory.to_owned() });
    }
    let inside = |path: &PathBuf| {
        let inside = normalized(&prefix.join(path));
        let is_inside = inside.components().all(|part| matches!(part, Component::Normal(_)));
        let is_inside = is_inside && !inside.as_os_str().is_empty();
        if is_inside { Ok(inside) } else { Err(StageError::Outside { path: path.clone() }) }
    };
    // Nothing is written if one of the paths is refused.
    let targets: Vec<PathBuf> = files.loaded().keys().map(inside).collect::<Result<_, _>>()?;
    for (target, (path, bytes)) in targets.iter().zip(files.loaded()) {
        let target = directory.join(target);
        create(target.parent().unwrap_or(directory)).map_err(failed(path))?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target);
        file.and_then(|mut file| file.write_all(bytes)).map_err(failed(path))?;
    }
    Ok(())
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

//! Virtual environments of Python with pinned packages from PyPI. Each is made once, in the user's cache.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest, Sha256};

use super::controlplane::{BinariesError, once, short};

/// A virtual environment that is made once for each set of packages.
pub struct VirtualEnvironment<'a> {
    /// The folder of the cache in which it is.
    pub folder: PathBuf,
    /// The Python that makes it.
    pub python: &'a OsStr,
    /// The list of the packages to install.
    pub requirements: &'a Path,
    /// Further files that the environment depends on.
    pub inputs: &'a [PathBuf],
}

impl VirtualEnvironment<'_> {
    /// Returns the path of the environment. The first call makes it, and then calls `finish` with its path.
    ///
    /// # Errors
    ///
    /// Python is missing, a program of it fails, or a file cannot be read or written.
    pub fn made(&self, finish: impl FnOnce(&Path) -> Result<(), BinariesError>) -> Result<PathBuf, BinariesError> {
        // A virtual environment is bound to the Python that made it.
        let mut which = Command::new(self.python);
        which.args(["-c", "import sys; print(sys.executable, sys.version)"]);
        let mut hash = Sha256::new();
        hash.update(output(&mut which)?);
        for list in [self.requirements].into_iter().chain(self.inputs.iter().map(PathBuf::as_path)) {
            hash.update(fs::read(list).map_err(|source| BinariesError::File { path: list.to_owned(), source })?);
        }
        once(&self.folder, &short(hash), |partial| {
            output(Command::new(self.python).args(["-m", "venv"]).arg(partial))?;
            let mut install = Command::new(partial.join("bin/python"));
            install.args(["-m", "pip", "install", "--no-input", "--requirement"]).arg(self.requirements);
            output(&mut install)?;
            finish(partial)
        })
    }
}

/// Runs one step of a set-up and returns its standard output.
///
/// # Errors
///
/// The program is missing, cannot be started, or fails.
pub fn output(command: &mut Command) -> Result<Vec<u8>, BinariesError> {
    let shown = format!("{command:?}");
    let output = match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BinariesError::NoPython),
        other => other.map_err(|source| BinariesError::File { path: shown.clone().into(), source })?,
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let log = [output.stdout, output.stderr].concat();
    let log = String::from_utf8_lossy(&log).trim().to_owned();
    Err(BinariesError::Python { command: shown, status: output.status, log })
}

//! The programs that check workflows: zizmor, which knows insecure ones, and check-jsonschema, which has the schemas of
//! GitHub and GitLab. They are installed once. They read files alone, and use no network.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use super::controlplane::{BinariesError, cache, sentence};
use super::python::VirtualEnvironment;

/// The list of the packages to install.
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../linters/requirements.txt");

/// A schema that check-jsonschema has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// The schema of a workflow of GitHub.
    Workflow,
    /// The schema of the file `action.yml`.
    Action,
    /// The schema of the file `.gitlab-ci.yml`.
    GitLab,
}

/// The installed programs.
#[derive(Debug)]
pub struct Linters {
    folder: PathBuf,
}

impl Linters {
    /// Returns the programs in the user's cache. The first call installs them.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Linters, String>> = OnceLock::new();
        match SHARED.get_or_init(|| Self::install(&cache(), OsStr::new("python3")).map_err(|error| sentence(&error))) {
            Ok(linters) => linters,
            Err(sentence) => panic!("{sentence}"),
        }
    }

    fn install(cache: &Path, python: &OsStr) -> Result<Self, BinariesError> {
        let (folder, requirements) = (cache.join("linters"), Path::new(REQUIREMENTS));
        let environment = VirtualEnvironment { folder, python, requirements, inputs: &[] };
        Ok(Self { folder: environment.made(|_| Ok(()))? })
    }

    /// Looks for what is insecure in workflows and actions, with a file of exceptions.
    pub fn zizmor(&self, exceptions: &Path, files: &[PathBuf]) -> Output {
        let mut zizmor = self.command("zizmor");
        zizmor.args(["--offline", "--no-progress", "--color=never", "--format=plain", "--config"]).arg(exceptions);
        zizmor.args(files).output().unwrap()
    }

    /// Compares files with a schema.
    pub fn check_schema(&self, schema: Schema, files: &[PathBuf]) -> Output {
        let name = match schema {
            Schema::Workflow => "vendor.github-workflows",
            Schema::Action => "vendor.github-actions",
            Schema::GitLab => "vendor.gitlab-ci",
        };
        self.command("check-jsonschema").args(["--color=never", "--builtin-schema", name]).args(files).output().unwrap()
    }

    fn command(&self, program: &str) -> Command {
        // Python scripts name the folder in which they were installed, and this one was renamed since.
        let folder = self.folder.join("bin");
        let mut command = match program {
            "zizmor" => Command::new(folder.join(program)),
            script => {
                let mut python = Command::new(folder.join("python"));
                python.arg(folder.join(script));
                python
            }
        };
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", &self.folder).stdin(Stdio::null());
        command
    }
}

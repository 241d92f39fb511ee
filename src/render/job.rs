//! The work that only an engine can do: a job, which any machine can run, and its output.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::process::engine::EngineKind;

/// One run of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job<'a> {
    /// The file that the job renders, relative to the root directory.
    pub source: PathBuf,
    /// The number of the job among those of the same file, from 0.
    pub part: usize,
    /// The engine.
    pub engine: EngineKind,
    /// The arguments of the engine. Paths are relative to the directory that it runs in.
    pub arguments: Vec<String>,
    /// The files that the engine can read, relative to the directory that it runs in.
    pub files: BTreeMap<PathBuf, Cow<'a, [u8]>>,
    /// The number of times that the engine runs.
    pub runs: Runs,
}

/// The number of times that an engine runs for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// Once, because the output depends on the files alone.
    One,
    /// Twice, to compare the outputs.
    Two,
}

/// The key of a job: its source, and its number among the jobs of the same source.
pub type JobId = (PathBuf, usize);

/// The output of a job, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobOutput {
    /// The text that the engine printed.
    Printed(Vec<u8>),
    /// The two different texts that the engine printed when it ran twice.
    Differed(Vec<u8>, Vec<u8>),
    /// The error message of the engine. The paths in it are relative to the directory that it ran in.
    Refused(String),
    /// The reason why the engine did not end, or did not run at all.
    NotRun(String),
}

/// The outputs of jobs by their keys.
pub type Outputs = BTreeMap<JobId, Arc<JobOutput>>;

impl Job<'_> {
    /// The key of the job.
    pub fn id(&self) -> JobId {
        (self.source.clone(), self.part)
    }

    /// Returns a digest of everything that decides about the output, if the same engine runs the job.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update(bytes.len().to_le_bytes());
            hash.update(bytes);
        };
        add(format!("{:?} {:?}", self.engine, self.runs).as_bytes());
        add(&self.arguments.len().to_le_bytes());
        self.arguments.iter().for_each(|argument| add(argument.as_bytes()));
        for (path, bytes) in &self.files {
            add(path.as_os_str().as_encoded_bytes());
            add(bytes);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_depends_on_every_part_but_not_on_the_source() {
        let job = |arguments: &[&str], files: &[(&'static str, &'static str)]| Job {
            source: PathBuf::from("x"),
            part: 0,
            engine: EngineKind::Kustomize,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            files: files.iter().map(|(path, text)| (path.into(), Cow::Borrowed(text.as_bytes()))).collect(),
            runs: Runs::One,
        };
        let jobs = [
            job(&["build", "."], &[("a", "b")]),
            job(&["build."], &[("a", "b")]),
            job(&["build", "."], &[("a", "c")]),
            job(&["build", "."], &[("ab", "")]),
            job(&["build", "."], &[]),
            job(&["build", ".", "a"], &[]),
            Job { runs: Runs::Two, ..job(&["build", "."], &[]) },
            Job { engine: EngineKind::Helm, ..job(&["build", "."], &[]) },
        ];
        let digests: std::collections::BTreeSet<_> = jobs.iter().map(Job::digest).collect();
        assert_eq!(digests.len(), jobs.len());
        let moved = Job { source: PathBuf::from("y"), part: 1, ..jobs[0].clone() };
        assert_eq!(moved.digest(), jobs[0].digest());
    }
}

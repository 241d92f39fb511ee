//! The commits that a command compares, and the heading of its report.

use std::path::PathBuf;

use super::console::Console;
use crate::cluster::connect::Cluster;
use crate::conclusion::failure::Failure;
use crate::report::{Heading, wording};
use crate::run::workspace::{Base, Workspace};

/// Returns the base to compare with, and prints its notices.
pub(crate) async fn base_of(
    project: &Workspace,
    revision: Option<&str>,
    console: &Console,
) -> Result<Option<Base>, Failure> {
    let Some(revision) = revision else { return Ok(None) };
    let base = project.base(revision).await?;
    for notice in base.notice.iter().cloned().chain(base.unreadable.as_ref().map(wording::notice)) {
        console.notice(&notice);
    }
    Ok(Some(base))
}

/// The commits for the heading of a report.
pub(crate) struct Heads {
    base: Option<String>,
    head: Option<String>,
    /// The directory of the tree in its repository.
    directory: Option<PathBuf>,
}

impl Heads {
    /// Reads the commits of the project and of its base.
    pub(crate) async fn of(project: &Workspace, base: Option<&Base>) -> Self {
        let head = match &project.repository {
            Some(repository) => repository.head().await.ok().map(|commit| commit.as_str().to_owned()),
            None => None,
        };
        let base = base.map(|base| base.commit.as_str().to_owned());
        let directory = project.repository.as_ref().map(|_| project.prefix.clone());
        Self { base, head, directory }
    }

    /// Returns the heading of a report.
    pub(crate) fn heading<'a>(&'a self, target: &'a str, cluster: Option<&'a Cluster>) -> Heading<'a> {
        let cluster = cluster.map(Cluster::context);
        let Self { base, head, directory } = self;
        let (base, head, directory) = (base.as_deref(), head.as_deref(), directory.as_deref());
        Heading { target, root: None, cluster, base, head, run: None, directory, files: None, takes_commands: false }
    }
}

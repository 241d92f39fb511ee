//! The commits that a command compares, and the heading of its report.

use super::console::Console;
use crate::cluster::connect::Cluster;
use crate::conclusion::failure::Failure;
use crate::report::Heading;
use crate::run::workspace::{Base, Workspace};

/// Returns the base to compare with, and prints its notices.
pub(crate) async fn base_of(
    project: &Workspace,
    revision: Option<&str>,
    console: &Console,
) -> Result<Option<Base>, Failure> {
    let Some(revision) = revision else { return Ok(None) };
    let base = project.base(revision).await?;
    for notice in base.notice.iter().chain(&base.unreadable) {
        console.notice(notice);
    }
    Ok(Some(base))
}

/// The commits for the heading of a report.
pub(crate) struct Heads {
    base: Option<String>,
    head: Option<String>,
}

impl Heads {
    /// Reads the commits of the project and of its base.
    pub(crate) async fn of(project: &Workspace, base: Option<&Base>) -> Self {
        let head = match &project.repository {
            Some(repository) => repository.head().await.ok().map(|commit| commit.as_str().to_owned()),
            None => None,
        };
        Self { base: base.map(|base| base.commit.as_str().to_owned()), head }
    }

    /// Returns the heading of a report.
    pub(crate) fn heading<'a>(&'a self, target: &'a str, cluster: Option<&'a Cluster>) -> Heading<'a> {
        let cluster = cluster.map(Cluster::context);
        Heading { target, cluster, base: self.base.as_deref(), head: self.head.as_deref(), run: None }
    }
}

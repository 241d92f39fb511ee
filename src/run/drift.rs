//! Finds the commits that are merged and not applied.

use super::workspace::{Workspace, WorkspaceError};
use crate::git::commit::Commit;
use crate::plan::notice::Notice;
use crate::state::commits::Commits;

/// The remote that the history is fetched from.
const REMOTE: &str = "origin";

impl Workspace {
    /// Returns a notice of the commits after the one that was applied last, up to the one that is checked out, that
    /// change the root. Returns `None` if there are none, or if it is not recorded which commit was applied last.
    ///
    /// # Errors
    ///
    /// There is no repository, or git fails.
    pub(crate) async fn unapplied(&self, commits: &Commits) -> Result<Option<Notice>, WorkspaceError> {
        let recorded = commits.ledger.commits();
        let applied = recorded.first().filter(|_| recorded.len() == 1).and_then(|commit| commit.parse::<Commit>().ok());
        let Some(applied) = applied else { return Ok(None) };
        let repository = self.repository("the history of the root")?;
        let head = repository.head().await?;
        if !repository.reaches(REMOTE, &applied, &head).await? {
            return Ok(Some(Notice::AppliedElsewhere(applied.short().to_owned())));
        }
        let landed = repository.landed(&applied, &head, &self.input_paths()).await?;
        let commits = landed.commits.iter().map(|landed| (landed.commit.short().to_owned(), landed.subject.clone()));
        let notice = Notice::NotApplied { commits: commits.collect(), is_cut: landed.is_cut };
        Ok((!landed.commits.is_empty()).then_some(notice))
    }
}

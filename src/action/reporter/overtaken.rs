//! The plans of open pull requests that an apply made outdated.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Reporter;
use crate::conclusion::failure::chain;
use crate::forge::ForgeError;
use crate::report::markdown;

/// The number of open pull requests that an apply looks at, the newest first.
const LOOKED_AT: usize = 20;

impl Reporter<'_> {
    /// Marks the comments of open pull requests into `branch` whose files `concerns` accepts: their plans were made before
    /// `commit` was applied. A comment of several plans is left alone, because a changed one no longer counts after a merge.
    pub(crate) async fn overtake(
        &self,
        branch: &str,
        commit: &str,
        concerns: &(dyn Fn(&BTreeSet<PathBuf>) -> bool + Sync),
    ) {
        if let Err(error) = self.mark_overtaken(branch, commit, concerns).await {
            self.notice(&format!("open pull requests were not told of the apply: {}", chain(&error)));
        }
    }

    async fn mark_overtaken(
        &self,
        branch: &str,
        commit: &str,
        concerns: &(dyn Fn(&BTreeSet<PathBuf>) -> bool + Sync),
    ) -> Result<(), ForgeError> {
        let Some(forge) = &self.forge else { return Ok(()) };
        for pull in forge.open_pulls(branch).await?.into_iter().take(LOOKED_AT) {
            let Some(comment) = forge.find_sticky(pull.number, &self.marker()).await? else { continue };
            let files = forge.pull_files(pull.number).await?;
            let paths = files.paths.iter().map(PathBuf::from).collect();
            if files.truncated || concerns(&paths) {
                let notice = markdown::overtaken(branch, commit);
                forge.put_notice(pull.number, &comment, (markdown::OVERTAKEN, &notice)).await?;
            }
        }
        Ok(())
    }
}

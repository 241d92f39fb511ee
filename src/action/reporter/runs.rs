//! Statuses of commits and runs of workflows: what a run tells the forge besides comments.

use super::Reporter;
use crate::forge::{CommitStatus, ForgeError, RepeatedJobs, WorkflowRun};

impl Reporter<'_> {
    /// Sets the status of a commit. Without a token, it does nothing.
    ///
    /// # Errors
    ///
    /// The forge fails or refuses it.
    pub(crate) async fn set_status(&self, commit: &str, status: &CommitStatus) -> Result<(), ForgeError> {
        match &self.forge {
            Some(forge) => forge.set_status(commit, status).await,
            None => Ok(()),
        }
    }

    /// Reads a run of a workflow. Returns `None` without a token.
    ///
    /// # Errors
    ///
    /// The forge fails or refuses it.
    pub(crate) async fn workflow_run(&self, id: u64) -> Result<Option<WorkflowRun>, ForgeError> {
        match &self.forge {
            Some(forge) => forge.workflow_run(id).await.map(Some),
            None => Ok(None),
        }
    }

    /// Starts jobs of a run again. Without a token, it does nothing.
    ///
    /// # Errors
    ///
    /// The forge fails or refuses it.
    pub(crate) async fn repeat_run(&self, id: u64, jobs: RepeatedJobs) -> Result<(), ForgeError> {
        match &self.forge {
            Some(forge) => forge.repeat_run(id, jobs).await,
            None => Ok(()),
        }
    }
}

//! The decision about a run's commit: what the run may do with it, and which commits it records.

use std::collections::BTreeSet;

use crate::git::commit::Commit;
use crate::plan::notice::Notice;
use crate::plan::policy::SourceCoverage;
use crate::run::ancestry;
use crate::run::decide::RunRequest;
use crate::run::options::{AppliedRef, HistoryOptions};
use crate::run::workspace::{Workspace, WorkspaceError};
use crate::state::commits::Commits;
use crate::state::lateness::{self, Acceptance, Caller, CommitOrder, CommitVerdict, Facts, Recording, Tip};
use crate::state::transition::RunCommits;

/// The decision about a run's commit, and the commits that the run records.
pub struct Judged {
    /// The commit that is checked out. `None` without a repository, or if the repository has no commit.
    pub head: Option<Commit>,
    /// The position of the commit relative to the applied branch.
    pub tip: Tip,
    /// The changes that the run may make.
    pub verdict: CommitVerdict,
    /// The commit to record as begun.
    pub begun: Option<Commit>,
    /// The commit that may become the ledger: the branch contains it, and the work tree is identical to it.
    pub ledger: Option<Commit>,
    /// The commit that a rewritten history shares with the recorded one. Set only if the caller accepted that history.
    pub accepted: Option<Commit>,
}

impl Judged {
    fn without_commit() -> Self {
        let verdict = CommitVerdict::Apply;
        Self { head: None, tip: Tip::Unknown, verdict, begun: None, ledger: None, accepted: None }
    }

    /// Returns the commits that the run writes into the state.
    pub fn commits(&self) -> RunCommits {
        let text = |commit: &Option<Commit>| commit.as_ref().map(|commit| commit.as_str().to_owned());
        RunCommits { begun: text(&self.begun), ledger: text(&self.ledger), accepted: text(&self.accepted) }
    }

    /// Applies the decision to the request: adds its limits and its notices.
    ///
    /// # Errors
    ///
    /// The commit is refused, and a person has to decide.
    pub fn permit(&self, request: &mut RunRequest) -> Result<RunPermission, WorkspaceError> {
        let head = self.head.as_ref().map(Commit::as_str).unwrap_or_default();
        match self.verdict {
            CommitVerdict::Apply => {}
            CommitVerdict::ApplyOnly => {
                request.policy.sources = SourceCoverage::LaterCommits;
                request.notices.push(Notice::LaterCommits);
            }
            CommitVerdict::Superseded => {
                return Ok(RunPermission::Superseded(format!("superseded: the branch has a later commit than {head}")));
            }
            CommitVerdict::Refused(refusal) => {
                return Err(WorkspaceError::CommitRefused { head: head.to_owned(), refusal });
            }
        }
        if self.begun != self.head
            && let Some(begun) = &self.begun
        {
            let (head, recorded) = (head.to_owned(), begun.as_str().to_owned());
            request.notices.push(Notice::OffTheBranch { head, recorded });
        }
        Ok(RunPermission::Granted)
    }
}

/// The permission of a run to go on.
pub enum RunPermission {
    /// The run may go on.
    Granted,
    /// There is nothing to do, for this reason.
    Superseded(String),
}

impl Workspace {
    /// Decides what a run of the commit that is checked out may do, and which commits it records.
    ///
    /// # Errors
    ///
    /// Git fails at an operation that needs no remote.
    pub(crate) async fn judged(
        &self,
        caller: Caller,
        history: &HistoryOptions,
        branch: Option<&str>,
        record: &Commits,
        ask: &impl AsyncFn(&Commit, &str) -> Option<CommitOrder>,
    ) -> Result<Judged, WorkspaceError> {
        // Without a commit, there is no order.
        let Some(repository) = &self.repository else { return Ok(Judged::without_commit()) };
        let Ok(head) = repository.head().await else { return Ok(Judged::without_commit()) };
        let mut standings = Vec::new();
        for commit in &measures(record) {
            standings.push(ancestry::standing(repository, &head, commit, ask).await?);
        }
        let acceptance = match &history.accepted {
            Some(accepted) if *accepted == head => Acceptance::Given,
            _ => Acceptance::None,
        };
        let (tip, last) = match &history.applied {
            // The tag names the commit to apply, whatever comes after it on a branch. Only a later tag makes it late.
            Some(AppliedRef::Tags(_)) => {
                let is_late = acceptance == Acceptance::None && standings.contains(&CommitOrder::Older);
                (if is_late { Tip::Behind } else { Tip::Reached }, None)
            }
            _ => ancestry::tip(repository, &head, branch, ask).await?,
        };
        let unaccepted = Facts { recorded: standings, tip, caller, acceptance: Acceptance::None };
        let refused = matches!(lateness::judge(&unaccepted), CommitVerdict::Refused(_));
        let verdict = lateness::judge(&Facts { acceptance, ..unaccepted });
        let shared = async |other: Option<&Commit>| match other {
            Some(other) => repository.merge_base(&head, other).await.ok().flatten(),
            None => None,
        };
        // If the histories share no commit, the recorded history starts anew with this commit.
        let accepted = if refused && acceptance == Acceptance::Given {
            let begun = record.begun.first().or(record.ledger.commits().first()).and_then(|commit| commit.parse().ok());
            Some(shared(begun.as_ref()).await.unwrap_or_else(|| head.clone()))
        } else {
            None
        };
        let (begun, ledger) = match (lateness::recording(tip), caller) {
            (Recording::Whole, _) => (Some(head.clone()), self.clean_commit().await?),
            (Recording::MergeBase, Caller::Workflow) => (Some(head.clone()), None),
            (Recording::MergeBase, Caller::Person) => (shared(last.as_ref()).await.or(Some(head.clone())), None),
        };
        Ok(Judged { head: Some(head), tip, verdict, begun, ledger, accepted })
    }
}

/// Returns the commits that a run's commit must not be older than.
fn measures(record: &Commits) -> BTreeSet<Commit> {
    let mut measures = record.measures();
    if measures.is_empty() {
        measures.clone_from(&record.reviewed_from);
    }
    measures.iter().filter_map(|commit| commit.parse().ok()).collect()
}

//! Reconciles in two phases under a lock: locks, records, applies, cleans up, finalizes, and unlocks.

use std::collections::BTreeMap;

use crate::cluster::connect::Cluster;
use crate::cluster::lock::{HeldLock, Holder, LockRequest};
use crate::object::ident::ObjectKey;
use crate::object::manifest::Manifest;
use crate::plan::build::Plan;
use crate::plan::observed::Observed;
use crate::plan::outcome::{ObjectOutcome, Outcome};
use crate::plan::unready;
use crate::run::acquire::{GRACE, acquire_lock, overdue};
use crate::run::decide::{Decided, RunRequest, decide_from};
use crate::run::error::{Refused, RunError};
use crate::run::interrupt::Interrupt;
use crate::run::record::Store;
use crate::run::sources::Sources;
use crate::run::{apply, cleanup};
use crate::state::transition::Pending;

/// A run that succeeded, with its plan and its outcome.
#[derive(Debug)]
pub struct Reconciled {
    /// The plan.
    pub plan: Plan,
    /// The outcome.
    pub outcome: Outcome,
}

/// Acquires the root's lock, reconciles, and always releases the lock.
///
/// Calls `waiting` whenever it sees another holder of the lock.
///
/// # Errors
///
/// Any [`RunError`]. Its documentation says what was changed by then.
pub async fn reconcile(
    cluster: &Cluster,
    lock: &LockRequest,
    request: &RunRequest,
    sources: &Sources,
    interrupt: &Interrupt,
    waiting: &mut (dyn FnMut(&Holder) + Send),
) -> Result<Reconciled, RunError> {
    let lock = acquire_lock(cluster, lock, interrupt, waiting).await?;
    let reconciled = tokio::select! {
        reconciled = reconcile_locked(cluster, &lock, request, sources, interrupt) => reconciled,
        () = overdue(interrupt, GRACE) => Err(RunError::CutShort),
    };
    // A failed release does not change the result of the run. The lease then expires by itself.
    drop(lock.release().await);
    reconciled
}

/// Makes the cluster match the desired objects, and then deletes objects that are no longer desired.
///
/// If the run dies at any point, it leaves a state from which the next run can finish.
async fn reconcile_locked(
    cluster: &Cluster,
    lock: &HeldLock,
    request: &RunRequest,
    sources: &Sources,
    interrupt: &Interrupt,
) -> Result<Reconciled, RunError> {
    let begun = async {
        let opened = Store::claim(cluster, lock, &request.policy.state_namespace, &request.root, &request.run).await?;
        decide_from(opened, cluster, request, sources).await
    };
    let mut stopped = interrupt.clone();
    let Decided { plan, pending, desired, observed, mut store, ledger } = tokio::select! {
        decided = begun => decided?,
        () = stopped.requested() => return Err(RunError::NotBegun), // Only reads are given up, and a claim at most.
    };
    check(request, &plan)?;
    let work = RunContext { cluster, lock, request, plan: &plan, desired: &desired, observed: &observed, interrupt };

    store.record(lock, &pending).await?; // Phase one.
    let applied = applied(work, &mut store, &pending).await?; // Any failure ends the run here, resumable.
    let plan = unready::kept_for(&plan, &applied, &desired, &observed); // In their projects nothing is deleted.
    let work = RunContext { plan: &plan, ..work };
    let cleaned = cleanup::all(work, &applied).await?;
    let finalized = store.finalize(lock, &pending.finish(&cleaned.settlement(work, ledger))).await; // Phase two.

    let outcome = Outcome { applied, cleaned: cleaned.outcomes };
    match finalized {
        Err(error) => Err(error.after(plan, outcome)),
        Ok(()) if outcome.is_complete() => Ok(Reconciled { plan, outcome }),
        Ok(()) => Err(RunError::Incomplete(Box::new(plan), outcome)),
    }
}

/// Applies the desired objects. Notes the Jobs that ran and remove themselves, even if the run ends here.
async fn applied(work: RunContext<'_>, store: &mut Store, pending: &Pending) -> Result<Vec<ObjectOutcome>, RunError> {
    let applied = apply::all(work).await;
    match &applied {
        Ok(outcomes) => {
            let done = outcomes.iter().filter(|outcome| outcome.verdict.is_carried_out());
            store.done = store.done.after(work.desired, done.map(|outcome| &outcome.key));
        }
        Err(RunError::Incomplete(_, outcome)) => {
            store.remember(work.lock, pending, store.done.after(work.desired, outcome.carried_out())).await;
        }
        Err(_) => {}
    }
    applied
}

/// The context of the two halves of a run.
#[derive(Clone, Copy)]
pub(crate) struct RunContext<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The lock, which permits changes to the cluster.
    pub lock: &'a HeldLock,
    /// The request.
    pub request: &'a RunRequest,
    /// The plan.
    pub plan: &'a Plan,
    /// The desired objects of the whole tree.
    pub desired: &'a BTreeMap<ObjectKey, Manifest>,
    /// The observations from the cluster.
    pub observed: &'a Observed,
    /// The interrupt, which tells the run to stop.
    pub interrupt: &'a Interrupt,
}

/// Fails if a guard refuses the plan, if the plan is not the approved one, or if the plan has nothing to write because
/// files cannot be rendered.
fn check(request: &RunRequest, plan: &Plan) -> Result<(), RunError> {
    if !plan.broken.is_empty() && !plan.writes() {
        return Err(RunError::Sources(plan.broken.clone()));
    }
    let refused = |why| Err(RunError::Refused(why, Box::new(plan.clone())));
    match &request.approved {
        _ if !plan.refusals.is_empty() => refused(Refused::Doubts),
        Some(approved) if *approved != plan.digest => refused(Refused::NotApproved),
        _ => Ok(()),
    }
}

//! Reconciles in two phases under a lock: locks, records, applies, cleans up, finalizes, and unlocks.

use crate::cluster::connect::Cluster;
use crate::cluster::lock::{HeldLock, LockRequest};
use crate::plan::build::Plan;
use crate::plan::outcome::Outcome;
use crate::plan::unready;
use crate::run::acquire::{GRACE, acquire_lock, overdue};
use crate::run::apply;
use crate::run::cleanup::{self, Cleaned};
use crate::run::context::RunContext;
use crate::run::decide::{Decided, RunRequest, decide_from};
use crate::run::ended::{End, PlanRefusal, RunReport};
use crate::run::error::RunError;
use crate::run::events::{Event, Events, Phase};
use crate::run::interrupt::Interrupt;
use crate::run::record::Store;
use crate::run::sources::Sources;
use crate::state::transition::Pending;

/// Acquires the root's lock, reconciles, and always releases the lock. Tells its progress to `events`.
///
/// # Errors
///
/// The run made no plan, or a signal came while a request had no answer ([`RunError::CutShort`]).
pub async fn reconcile(
    cluster: &Cluster,
    lock: &LockRequest,
    request: &RunRequest,
    sources: &Sources,
    interrupt: &Interrupt,
    events: Events<'_>,
) -> Result<RunReport, RunError> {
    let lock = acquire_lock(cluster, lock, interrupt, events).await?;
    let reconciled = tokio::select! {
        reconciled = reconcile_locked(cluster, &lock, request, sources, interrupt, events) => reconciled,
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
    events: Events<'_>,
) -> Result<RunReport, RunError> {
    events(Event::Phase(Phase::Plan));
    let begun = async {
        let opened = Store::claim(cluster, lock, &request.policy.state_namespace, &request.root, &request.run).await?;
        decide_from(opened, cluster, request, sources).await
    };
    let mut stopped = interrupt.clone();
    let Decided { plan, pending, desired, observed, mut store, ledger, frozen } = tokio::select! {
        decided = begun => decided?,
        () = stopped.requested() => return Err(RunError::NotBegun), // Only reads are given up, and a claim at most.
    };
    if let Some(freeze) = frozen {
        return Err(RunError::Frozen(freeze));
    }
    if !plan.broken.is_empty() && !plan.writes() {
        return Err(RunError::Sources(plan.broken));
    }

    let (mut outcome, mut cleaned, mut narrowed) = (Outcome::default(), Cleaned::default(), None);
    let ended: Result<(), End> = async {
        check(request, &plan)?;
        let (desired, observed) = (&desired, &observed);
        let work = RunContext { cluster, lock, request, plan: &plan, desired, observed, interrupt, events };

        events(Event::Phase(Phase::Record));
        store.record(lock, &pending).await?; // Phase one.
        events(Event::Phase(Phase::Apply));
        applied(work, &mut store, &pending, &mut outcome).await?; // Any failure ends the run here, resumable.
        let kept = unready::kept_for(&plan, &outcome.applied, desired, observed);
        let work = RunContext { plan: narrowed.insert(kept), ..work }; // In unready projects nothing is deleted.
        events(Event::Phase(Phase::Cleanup));
        cleanup::all(work, &mut cleaned).await?;
        events(Event::Phase(Phase::Finalize));
        store.finalize(lock, &pending.finish(&cleaned.settlement(work, ledger))).await?; // Phase two.
        Ok(())
    }
    .await;

    outcome.cleaned = cleaned.outcomes;
    let end = match ended {
        Err(end) => end,
        Ok(()) if outcome.is_carried_through() => End::Finalized,
        Ok(()) => End::Incomplete,
    };
    Ok(RunReport { plan: narrowed.unwrap_or(plan), outcome, end })
}

/// Applies the desired objects. Notes the Jobs that ran and remove themselves, even if the run ends here.
async fn applied(work: RunContext<'_>, store: &mut Store, pending: &Pending, outcome: &mut Outcome) -> Result<(), End> {
    apply::all(work, &mut outcome.applied).await?;
    let done = store.done.after(work.desired, outcome.carried_out());
    if outcome.is_carried_through() && work.plan.broken.is_empty() {
        store.done = done;
        return Ok(());
    }
    store.remember(work.lock, pending, done).await;
    Err(End::Incomplete)
}

/// Fails if a guard refuses the plan, or if the plan is not the approved one.
fn check(request: &RunRequest, plan: &Plan) -> Result<(), End> {
    if !plan.refusals.is_empty() {
        return Err(End::Refused(PlanRefusal::Guarded));
    }
    match &request.approved {
        Some(approved) if !plan.digest.starts_with(approved) => Err(End::Refused(PlanRefusal::NotApproved)),
        _ => Ok(()),
    }
}

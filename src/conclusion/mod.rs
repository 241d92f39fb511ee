//! The result of the program: the exit code and the messages that follow from a plan, from the report of a run, or from
//! an error. Commands and workflows share it.

pub mod exit;
pub mod failure;
pub(crate) mod hint;

use self::exit::Exit;
use self::failure::Failure;
use crate::plan::build::Plan;
use crate::plan::change::Change;
use crate::plan::decision::Disposition;
use crate::plan::outcome::ObjectOutcome;
use crate::report::wording;
use crate::run::ended::{End, PlanRefusal, RunReport};
use crate::run::error::RunError;

/// Derives the program's result from a plan.
///
/// The exit code is 1 if a file cannot be rendered, or if one of the run's own changes ([`Plan::own`]) failed in its
/// dry run. It is 3 if an apply would refuse the whole plan, or would keep or block one of the run's own changes.
///
/// # Errors
///
/// The first of these cases that applies, with its reasons. A refused plan gives only its first refusal.
pub fn judged(plan: &Plan) -> Result<(), Failure> {
    if !plan.broken.is_empty() {
        return Err(Failure::sources(&plan.broken));
    }
    stopped(plan, Exit::Failure, &[Disposition::Failed])?;
    match plan.refusals.first() {
        Some(_) => Err(Failure::refused(plan)),
        None => concluded(plan),
    }
}

/// Derives the program's result from the plan of a completed run: exit code 3 if the run kept or blocked one of its own
/// changes ([`Plan::own`]).
///
/// # Errors
///
/// That case, with the reason for each such change.
pub fn concluded(plan: &Plan) -> Result<(), Failure> {
    stopped(plan, Exit::Refused, &[Disposition::Blocked, Disposition::Kept])
}

fn stopped(plan: &Plan, exit: Exit, standings: &[Disposition]) -> Result<(), Failure> {
    let is_meant = |change: &&Change| {
        change.disposition().is_some_and(|standing| standings.contains(&standing))
            && plan.own.contains(&change.ident.key)
    };
    let messages: Vec<String> = plan.all().filter(is_meant).map(wording::stopped).collect();
    if messages.is_empty() { Ok(()) } else { Err(Failure { exit, messages, place: None }) }
}

/// Derives the program's result from the end of a run: exit code 5 after an interrupt or a lost lock, 1 if something
/// failed or is unready, 3 if the plan was refused.
///
/// # Errors
///
/// The run did not do everything, or an object is unready. The message gives the first reason.
pub fn ended(report: &RunReport) -> Result<(), Failure> {
    let RunReport { plan, outcome, end } = report;
    Err(match end {
        End::Finalized => match outcome.first_unready() {
            None => return Ok(()),
            Some(object) => Failure::new(Exit::Failure, told(object, "is not ready")),
        },
        End::Incomplete if !plan.broken.is_empty() => Failure::sources(&plan.broken),
        End::Incomplete => Failure::new(Exit::Failure, wording::incomplete(outcome)),
        End::Interrupted => {
            Failure::new(Exit::Interrupted, "the run was interrupted; the next run continues it".to_owned())
        }
        End::LockLost => RunError::LockLost.into(),
        End::Refused(PlanRefusal::Guarded) => Failure::refused(plan),
        End::Refused(PlanRefusal::NotApproved) => {
            Failure::guarded("the cluster or the tree changed since the plan was approved: plan again", None)
        }
        End::Failed(error) => error.into(),
    })
}

/// Returns the message that a report shows above its objects, if the run ended before it did everything.
pub(crate) fn early_end<'a>(report: &RunReport, end: &'a Result<(), Failure>) -> Option<&'a str> {
    end.as_ref().err().filter(|_| !matches!(report.end, End::Finalized)).map(Failure::first)
}

fn told(object: &ObjectOutcome, is: &str) -> String {
    let why = wording::detail(object).unwrap_or_else(|| "no reason was given".to_owned());
    format!("{} {is}: {why}", object.key)
}

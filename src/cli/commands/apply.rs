//! `ktor apply`: makes the cluster match the tree.

use crate::cli::args::ApplyArgs;
use crate::cli::connection::{connect_for, own_run};
use crate::cli::consent;
use crate::cli::console::Console;
use crate::cli::env::Variables;
use crate::cli::heads::{Heads, base_of};
use crate::cli::output::{outcome_text, style, write_report};
use crate::cli::progress::Progress;
use crate::cli::signal::on_signals;
use crate::cluster::connect::Cluster;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::{Failure, preparing};
use crate::conclusion::{concluded, early_end, ended};
use crate::git::commit::Commit;
use crate::report::{terminal, wording};
use crate::run::decide::{RunRequest, ScopeBasis, decide};
use crate::run::error::RunError;
use crate::run::judged::RunPermission;
use crate::run::options::AppliedRef;
use crate::run::reconcile::reconcile;
use crate::run::review::ReviewBasis;
use crate::run::workspace::Workspace;
use crate::state::lateness::Caller;

/// The maximum number of attempts of an apply. An attempt starts over if another run wrote the state meanwhile
/// ([`RunError::StateChanged`]).
const ATTEMPTS: usize = 5;

/// Makes the cluster match the tree.
///
/// # Errors
///
/// Anything that stops the run before its end, and the errors of [`concluded`].
pub(crate) async fn apply(args: &ApplyArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    if !args.yes && !consent::is_interactive() {
        return Err(Failure::usage("not a terminal: pass --yes to apply without confirmation"));
    }
    let interrupt = on_signals(console);
    let prepared = Box::pin(preparing(&interrupt, async {
        let project =
            Workspace::open(&args.project.path, args.project.target.as_deref(), &variables.for_programs()).await?;
        let base = base_of(&project, args.base.base.as_deref(), console).await?;
        let run = own_run(variables);
        let mut request = project.request(&args.project.scope(), &args.policy.options(), base.as_ref(), run);
        request.approved.clone_from(&args.expect_digest);
        if !args.delete_leftovers {
            request.review = ReviewBasis::ByHand;
        }
        let cluster = connect_for(&project, &args.cluster, Some(&args.wait), variables, console).await?;
        let heads = Heads::of(&project, base.as_ref()).await;
        if !args.yes {
            let judged = match Box::pin(judge(&project, &cluster, args, &request)).await? {
                Ok(judged) => judged,
                Err(why) => return Ok(Err(why)),
            };
            let plan = decide(&cluster, &judged, &project.sources).await?.plan;
            let target = project.root.to_string();
            let heading = heads.heading(&target, Some(&cluster));
            console.report(&terminal::plan(&plan, &heading, style(&args.report)));
            if plan.refusals.is_empty() && !consent::ask("Apply this plan?").await {
                return Err(Failure::new(Exit::Refused, "the plan was not approved; nothing was changed"));
            }
            request.approved.get_or_insert(plan.digest);
        }
        Ok(Ok((project, request, cluster, heads)))
    }));
    let nothing = |why: &str| {
        console.notice(&format!("nothing to do: {why}"));
        Ok(Exit::Success)
    };
    let (project, request, cluster, heads) = match prepared.await? {
        Ok(prepared) => prepared,
        Err(why) => return nothing(&why),
    };
    let target = project.root.to_string();
    let heading = heads.heading(&target, Some(&cluster));
    let lock = project.lock(args.wait.lock_timeout, &request.run, None);
    let progress = Progress::new(console);
    let mut result = Err(RunError::StateChanged);
    for _ in 0..ATTEMPTS {
        let judged = match preparing(&interrupt, Box::pin(judge(&project, &cluster, args, &request))).await? {
            Ok(judged) => judged,
            Err(why) => return nothing(&why),
        };
        for notice in judged.notices.iter().skip(request.notices.len()) {
            console.notice(&wording::notice(notice));
        }
        result = reconcile(&cluster, &lock, &judged, &project.sources, &interrupt, &|event| progress.tell(event)).await;
        if !matches!(result, Err(RunError::StateChanged)) {
            break;
        }
    }
    drop(progress);
    let report = result?;
    let end = ended(&report);
    let why = early_end(&report, &end);
    write_report(&args.report, &outcome_text(&args.report, &report.plan, &report.outcome, &heading, why)?, console)?;
    end?;
    concluded(&report.plan)?;
    Ok(Exit::Success)
}

/// Judges the commit that is checked out, and completes the request with the result. The inner `Err` is the reason if
/// there is nothing to do.
async fn judge(
    project: &Workspace,
    cluster: &Cluster,
    args: &ApplyArgs,
    request: &RunRequest,
) -> Result<Result<RunRequest, String>, Failure> {
    let prior = project.prior(cluster).await?;
    Workspace::check_place(request, &prior)?;
    let commits = prior.commits;
    let nobody = async |_: &Commit, _: &str| None;
    let history = args.history.options();
    let branch = history.applied.as_ref().and_then(AppliedRef::branch);
    let judged = project.judged(Caller::Person, &history, branch, &commits, &nobody).await?;
    let mut request = request.clone();
    if let RunPermission::Superseded(why) = judged.permit(&mut request)? {
        return Ok(Err(why));
    }
    request.commits = judged.commits();
    if judged.head.is_some() {
        request.since = ScopeBasis::Judged(commits);
    }
    Ok(Ok(request))
}

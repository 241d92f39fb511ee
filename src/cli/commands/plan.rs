//! `ktor plan`: shows the plan of an apply.

use crate::cli::args::{Format, PlanArgs};
use crate::cli::connection::{connect_for, own_run};
use crate::cli::console::Console;
use crate::cli::env::Variables;
use crate::cli::heads::{Heads, base_of};
use crate::cli::output::{document, style, write_report};
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::conclusion::judged;
use crate::report::{Budget, html, json, markdown, terminal};
use crate::run::decide::{decide, decide_offline};
use crate::run::review::ReviewBasis;
use crate::run::workspace::Workspace;

/// Shows the plan of an apply. Changes nothing.
///
/// # Errors
///
/// Anything that stops the plan from being made, and the errors of [`judged`].
pub(crate) async fn plan(args: &PlanArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let project =
        Workspace::open(&args.project.path, args.project.target.as_deref(), &variables.for_programs()).await?;
    let base = base_of(&project, args.base.base.as_deref(), console).await?;
    let mut request = project.request(&args.project.scope(), &args.policy.options(), base.as_ref(), own_run(variables));
    if !args.delete_leftovers {
        request.review = ReviewBasis::ByHand;
    }
    let (plan, cluster) = if args.offline {
        let Some(base) = &base else {
            return Err(Failure::usage("--offline compares with a base tree: name it with --base REV"));
        };
        (decide_offline(&request, base.sources.as_ref(), &project.sources)?, None)
    } else {
        let cluster = connect_for(&project, &args.cluster, None, variables, console).await?;
        (decide(&cluster, &request, &project.sources).await?.plan, Some(cluster))
    };
    let heads = Heads::of(&project, base.as_ref()).await;
    let target = args.project.target.clone().unwrap_or_else(|| project.root.to_string());
    let heading = heads.heading(&target, cluster.as_ref());
    let text = match args.report.output {
        Format::Terminal => terminal::plan(&plan, &heading, style(&args.report)),
        Format::Markdown => markdown::plan(&plan, &heading, Budget::FILE).text,
        Format::Json => document(&json::plan(&plan, &heading))?,
        Format::Html => html::plan(&plan, &heading),
    };
    write_report(&args.report, &text, console)?;
    judged(&plan)?;
    Ok(if args.detailed_exitcode && plan.has_changes() { Exit::ChangesPending } else { Exit::Success })
}

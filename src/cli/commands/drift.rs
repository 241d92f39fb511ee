//! `ktor drift`: shows how a cluster differs from what was merged.

use crate::cli::args::{DriftArgs, Format};
use crate::cli::connection::{connect_for, own_run};
use crate::cli::console::Console;
use crate::cli::env::Variables;
use crate::cli::heads::Heads;
use crate::cli::output::{document, style, write_report};
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::plan::drift::has_drifted;
use crate::report::{Budget, html, json, markdown, terminal};
use crate::run::decide::decide;
use crate::run::review::ReviewBasis;
use crate::run::workspace::Workspace;

/// Shows how the cluster differs from the tree, with the commits that are not applied. Changes nothing.
///
/// # Errors
///
/// Anything that stops the comparison from being made.
pub(crate) async fn drift(args: &DriftArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let project =
        Workspace::open(&args.project.path, args.project.target.as_deref(), &variables.for_programs()).await?;
    let mut request = project.request(&args.project.scope(), &args.policy.options(), None, own_run(variables));
    request.review = ReviewBasis::ByHand;
    let cluster = connect_for(&project, &args.cluster, None, variables, console).await?;
    if project.repository.is_some() {
        let prior = project.prior(&cluster).await?;
        request.notices.extend(project.unapplied(&prior.commits).await?);
    }
    let plan = decide(&cluster, &request, &project.sources).await?.plan;
    let heads = Heads::of(&project, None).await;
    let target = args.project.target.clone().unwrap_or_else(|| project.root.to_string());
    let heading = heads.heading(&target, Some(&cluster));
    let text = match args.report.output {
        Format::Terminal => terminal::plan(&plan, &heading, style(&args.report)),
        Format::Markdown => markdown::drift(&plan, &heading, Budget::FILE).text,
        Format::Json => document(&json::plan(&plan, &heading))?,
        Format::Html => html::plan(&plan, &heading),
    };
    write_report(&args.report, &text, console)?;
    Ok(if has_drifted(&plan) { Exit::ChangesPending } else { Exit::Success })
}

//! `ktor plan`, `ktor apply` and `ktor scope`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::args::{ApplyArgs, Format, PlanArgs, ReportArgs, ScopeArgs, ScopeFormat};
use super::conclusion::{concluded, early_end, ended, judged};
use super::consent;
use super::console::Console;
use super::diagnostic::CliError;
use super::env::{self, Variables};
use super::exit::Exit;
use super::progress::Progress;
use super::request::{Base, Project, RunPermission, run_name};
use super::signal::{on_signals, preparing};
use crate::cluster::connect::Cluster;
use crate::git::commit::Commit;
use crate::plan::build::Plan;
use crate::plan::outcome::Outcome;
use crate::project::scope::{Scope, ScopeRequest};
use crate::project::snapshot::printable;
use crate::report::json::v1::FORMAT_VERSION;
use crate::report::terminal::Style;
use crate::report::{Budget, Heading, json, markdown, terminal, wording};
use crate::run::decide::{RunRequest, ScopeBasis, decide, decide_offline};
use crate::run::error::RunError;
use crate::run::reconcile::reconcile;
use crate::state::lateness::Caller;

/// The maximum number of attempts of an apply. An attempt starts over if another run wrote the state meanwhile
/// ([`RunError::StateChanged`]).
const ATTEMPTS: usize = 5;

/// Shows the plan of an apply. Changes nothing.
///
/// # Errors
///
/// Anything that stops the plan from being made, and the errors of [`judged`].
pub async fn plan(args: &PlanArgs, variables: &Variables, console: &Console) -> Result<Exit, CliError> {
    let project = Project::open(&args.project.path, variables).await?;
    let base = base_of(&project, args.base.base.as_deref(), console).await?;
    let request = project.request(&args.project, &args.policy, base.as_ref(), run_name(&env::whoami(variables)));
    let (plan, cluster) = if args.offline {
        let Some(base) = &base else {
            return Err(CliError::usage("--offline compares with a base tree: name it with --base REV"));
        };
        (decide_offline(&request, base.sources.as_ref(), &project.sources)?, None)
    } else {
        let cluster = project.connect(&args.cluster, None, variables, console).await?;
        (decide(&cluster, &request, &project.sources).await?.plan, Some(cluster))
    };
    let heads = Heads::of(&project, base.as_ref()).await;
    let target = args.target.clone().unwrap_or_else(|| project.root.to_string());
    let heading = heads.heading(&target, cluster.as_ref());
    let text = match args.report.output {
        Format::Terminal => terminal::plan(&plan, &heading, style(&args.report)),
        Format::Markdown => markdown::plan(&plan, &heading, Budget::FILE).text,
        Format::Json => document(&json::plan(&plan, &heading))?,
    };
    write_report(&args.report, &text, console)?;
    judged(&plan)?;
    Ok(if args.detailed_exitcode && plan.has_changes() { Exit::ChangesPending } else { Exit::Success })
}

/// Makes the cluster match the tree.
///
/// # Errors
///
/// Anything that stops the run before its end, and the errors of [`concluded`].
pub async fn apply(args: &ApplyArgs, variables: &Variables, console: &Console) -> Result<Exit, CliError> {
    if !args.yes && !consent::is_interactive() {
        return Err(CliError::usage("not a terminal: pass --yes to apply without confirmation"));
    }
    let interrupt = on_signals(console);
    let prepared = Box::pin(preparing(&interrupt, async {
        let project = Project::open(&args.project.path, variables).await?;
        let base = base_of(&project, args.base.base.as_deref(), console).await?;
        let run = run_name(&env::whoami(variables));
        let mut request = project.request(&args.project, &args.policy, base.as_ref(), run);
        let cluster = project.connect(&args.cluster, Some(&args.wait), variables, console).await?;
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
                return Err(CliError::new(Exit::Refused, "the plan was not approved; nothing was changed"));
            }
            request.approved = Some(plan.digest);
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
    let lock = project.lock(&args.wait, &request.run, None);
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
    project: &Project,
    cluster: &Cluster,
    args: &ApplyArgs,
    request: &RunRequest,
) -> Result<Result<RunRequest, String>, CliError> {
    let prior = project.prior(cluster).await?;
    Project::check_place(request, &prior)?;
    let commits = prior.commits;
    let nobody = async |_: &Commit, _: &str| None;
    let branch = args.history.apply_ref.as_deref();
    let judged = project.judged(Caller::Person, &args.history, branch, &commits, &nobody).await?;
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

/// Lists the projects in the scope of a run, from the work tree and the base. Does not ask the cluster.
///
/// # Errors
///
/// Anything that stops the trees from being read.
pub async fn scope(args: &ScopeArgs, variables: &Variables, console: &Console) -> Result<Exit, CliError> {
    let project = Project::open(&args.project.path, variables).await?;
    let base = base_of(&project, args.base.base.as_deref(), console).await?;
    let request = ScopeRequest {
        include: args.project.include_project.clone(),
        exclude: args.project.exclude_project.clone(),
        touched: base.as_ref().map(|base| base.touched.clone()),
    };
    let mut known = project.sources.tree.projects();
    known.extend(base.iter().filter_map(|base| base.sources.as_ref()).flat_map(|base| base.tree.projects()));
    let scope = Scope::resolve(&request, &known, &std::collections::BTreeSet::new())
        .map_err(|error| CliError::usage(error.to_string()))?;
    let text = match args.output {
        ScopeFormat::Text => scope.projects().iter().map(|project| format!("{project}\n")).collect(),
        ScopeFormat::Json => document(&serde_json::json!({
            "formatVersion": FORMAT_VERSION,
            "root": project.root.to_string(),
            "base": base.as_ref().map(|base| base.commit.as_str()),
            "known": known,
            "scope": scope.projects(),
        }))?,
    };
    console.report(&text);
    Ok(Exit::Success)
}

async fn base_of(project: &Project, revision: Option<&str>, console: &Console) -> Result<Option<Base>, CliError> {
    let Some(revision) = revision else { return Ok(None) };
    let base = project.base(revision).await?;
    for notice in base.notice.iter().cloned().chain(base.unreadable.as_ref().map(wording::notice)) {
        console.notice(&notice);
    }
    Ok(Some(base))
}

fn outcome_text(
    args: &ReportArgs,
    plan: &Plan,
    outcome: &Outcome,
    heading: &Heading<'_>,
    error: Option<&str>,
) -> Result<String, CliError> {
    Ok(match args.output {
        Format::Terminal => terminal::outcome(plan, outcome, style(args)),
        Format::Markdown => markdown::outcome(plan, outcome, heading, error, Budget::FILE).text,
        Format::Json => document(&json::outcome(plan, outcome, heading, error))?,
    })
}

/// Formats a value as a JSON report.
pub fn document(value: &impl serde::Serialize) -> Result<String, CliError> {
    json::text(value).map_err(|error| CliError::failure(&error))
}

fn style(args: &ReportArgs) -> Style {
    if args.out.is_none() && std::io::stdout().is_terminal() { Style::Color } else { Style::Plain }
}

fn write_report(args: &ReportArgs, text: &str, console: &Console) -> Result<(), CliError> {
    match &args.out {
        None => {
            console.report(text);
            Ok(())
        }
        Some(file) => save(file, text),
    }
}

fn save(file: &Path, text: &str) -> Result<(), CliError> {
    std::fs::write(file, text)
        .map_err(|error| CliError::new(Exit::Failure, format!("failed to write {}: {error}", printable(file))))
}

/// The commits for the heading of a report.
struct Heads {
    base: Option<String>,
    head: Option<String>,
    directory: Option<PathBuf>,
}

impl Heads {
    async fn of(project: &Project, base: Option<&Base>) -> Self {
        let head = match &project.repository {
            Some(repository) => repository.head().await.ok().map(|commit| commit.as_str().to_owned()),
            None => None,
        };
        let base = base.map(|base| base.commit.as_str().to_owned());
        let directory = project.repository.as_ref().map(|_| project.prefix.clone());
        Self { base, head, directory }
    }

    fn heading<'a>(&'a self, target: &'a str, cluster: Option<&'a Cluster>) -> Heading<'a> {
        let cluster = cluster.map(Cluster::context);
        let Self { base, head, directory } = self;
        let (base, head, directory) = (base.as_deref(), head.as_deref(), directory.as_deref());
        Heading { target, cluster, base, head, run: None, directory }
    }
}

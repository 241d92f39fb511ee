//! `ktor scope`: lists the projects in the scope of a run.

use std::collections::BTreeSet;

use crate::cli::args::{ScopeArgs, ScopeFormat};
use crate::cli::console::Console;
use crate::cli::env::Variables;
use crate::cli::heads::base_of;
use crate::cli::output::document;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::project::scope::{Scope, ScopeRequest};
use crate::report::json::v1::FORMAT_VERSION;
use crate::run::workspace::Workspace;

/// Lists the projects in the scope of a run, from the work tree and the base. Does not ask the cluster.
///
/// # Errors
///
/// Anything that stops the trees from being read.
pub(crate) async fn scope(args: &ScopeArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let project =
        Workspace::open(&args.project.path, args.project.target.as_deref(), &variables.for_programs()).await?;
    let base = base_of(&project, args.base.base.as_deref(), console).await?;
    let request = ScopeRequest {
        include: args.project.include_project.clone(),
        exclude: args.project.exclude_project.clone(),
        touched: base.as_ref().map(|base| base.touched.clone()),
    };
    let mut known = project.sources.tree.projects();
    known.extend(base.iter().filter_map(|base| base.sources.as_ref()).flat_map(|base| base.tree.projects()));
    let scope =
        Scope::resolve(&request, &known, &BTreeSet::new()).map_err(|error| Failure::usage(error.to_string()))?;
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

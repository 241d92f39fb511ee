//! `ktor targets`: lists the targets of a tree, for the matrix of a workflow.

use crate::cli::args::{ScopeFormat, TargetsArgs};
use crate::cli::console::Console;
use crate::cli::env::Variables;
use crate::cli::heads::base_of;
use crate::cli::output::document;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::report::json::v1::FORMAT_VERSION;
use crate::run::workspace::{Workspace, declared_targets};

/// Lists the targets that the tree declares. With a base, only those that the changes since the base concern. Does not
/// ask a cluster.
///
/// # Errors
///
/// Anything that stops the trees from being read.
pub(crate) async fn targets(args: &TargetsArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let declared = declared_targets(&args.path)?;
    let mut concerned = Vec::new();
    let mut commit = None;
    for target in &declared {
        let project = Workspace::open(&args.path, Some(target), &variables.for_programs()).await?;
        let base = base_of(&project, args.base.as_deref(), console).await?;
        if base.as_ref().is_none_or(|base| !base.touched.is_empty()) {
            concerned.push(target);
        }
        commit = base.map(|base| base.commit.as_str().to_owned());
    }
    let text = match args.output {
        ScopeFormat::Text => concerned.iter().map(|target| format!("{target}\n")).collect(),
        ScopeFormat::Json => document(&serde_json::json!({
            "formatVersion": FORMAT_VERSION,
            "base": commit,
            "declared": declared,
            "targets": concerned,
        }))?,
    };
    console.report(&text);
    Ok(Exit::Success)
}

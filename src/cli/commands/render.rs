//! `ktor render`: prints the objects that a tree asks for, with the places where they are written.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::cli::args::{RenderArgs, RenderFormat};
use crate::cli::console::Console;
use crate::cli::env::Variables;
use crate::cli::output::document;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::object::ident::ObjectKey;
use crate::object::kinds::Kinds;
use crate::object::manifest::Manifest;
use crate::object::redact::{Adopted, Redactor};
use crate::project::scope::{Scope, ScopeRequest};
use crate::project::snapshot::SourceError;
use crate::project::tree::normalized;
use crate::render::difference::difference;
use crate::report::json::v1::FORMAT_VERSION;
use crate::report::{manifest, wording};
use crate::run::workspace::Workspace;

/// Prints the desired objects of a tree. Does not ask the cluster.
///
/// # Errors
///
/// A source in scope cannot be rendered. If two renderings are compared, also an object that differs between them.
pub(crate) async fn render(args: &RenderArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let project =
        Workspace::open(&args.project.path, args.project.target.as_deref(), &variables.for_programs()).await?;
    let kinds = project.sources.with_defined_kinds(Kinds::builtin().clone());
    let desired = project.sources.resolve(&kinds);
    let request = ScopeRequest {
        include: args.project.include_project.clone(),
        exclude: args.project.exclude_project.clone(),
        touched: None,
    };
    let scope = Scope::resolve(&request, &project.sources.tree.projects(), &BTreeSet::new());
    let scope = scope.map_err(|error| Failure::usage(error.to_string()))?;
    for notice in &desired.notices {
        console.notice(&wording::notice(notice));
    }
    let failures = desired.failures.iter().filter(|failure| scope.contains(&failure.project));
    let failures: Vec<SourceError> = failures.map(|failure| failure.error.clone()).collect();
    if !failures.is_empty() {
        return Err(Failure::sources(&failures));
    }
    let hidden = project.sources.tree.settings().redact.iter().cloned();
    let redactor = (!args.show_secrets).then(|| Redactor::new(hidden, Adopted::Hidden));
    let in_scope = desired.manifests.values().filter(|manifest| scope.contains(&manifest.project));
    let mut manifests: Vec<&Manifest> = in_scope.collect();
    manifests.sort_by_key(|manifest| &manifest.place);
    if args.twice {
        // The second rendering has engines of its own, which know no output yet.
        let again =
            Workspace::open(&args.project.path, args.project.target.as_deref(), &variables.for_programs()).await?;
        compare(&manifests, &again.sources.resolve(&kinds).manifests)?;
    }
    let shown = |manifest: &Manifest| match &redactor {
        Some(redactor) => redactor.shown(&manifest.ident.key.kind, &manifest.body),
        None => (*manifest.body).clone(),
    };
    let text = match args.output {
        RenderFormat::Yaml => {
            let document = |of: &&Manifest| manifest::document(&of.place, of.project.as_str(), &shown(of));
            manifests.iter().map(document).collect()
        }
        RenderFormat::Json => document(&json!({
            "formatVersion": FORMAT_VERSION,
            "root": project.root.to_string(),
            "objects": manifests.iter().map(|manifest| json!({
                "project": manifest.project,
                "file": normalized(&project.prefix.join(&manifest.place.path)).to_string_lossy(),
                "line": manifest.place.line,
                "object": shown(manifest),
            })).collect::<Vec<_>>(),
        }))?,
    };
    console.report(&text);
    Ok(Exit::Success)
}

/// Compares the objects of two renderings.
///
/// # Errors
///
/// An object differs. The error names the first one and its field.
fn compare(first: &[&Manifest], again: &BTreeMap<ObjectKey, Manifest>) -> Result<(), Failure> {
    let other = |manifest: &&&Manifest| again.get(&manifest.ident.key).map(|again| &again.body) != Some(&manifest.body);
    let other: Vec<&&Manifest> = first.iter().filter(other).collect();
    let Some(manifest) = other.first() else { return Ok(()) };
    let key = &manifest.ident.key;
    let field = again.get(key).and_then(|again| difference(&manifest.body, &again.body));
    let field = field.map(|field| format!(" at {field}")).unwrap_or_default();
    let more = match other.len() - 1 {
        0 => String::new(),
        more => format!(", and so do {more} other objects"),
    };
    let message = format!(
        "two renderings of {key} differ{field} ({}){more}: a source must not depend on time or chance",
        manifest.place
    );
    Err(Failure::new(Exit::Failure, message))
}

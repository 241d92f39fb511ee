//! The destination and the format of a report, as the arguments say.

use std::io::IsTerminal;
use std::path::Path;

use super::args::{Format, ReportArgs};
use super::console::Console;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::plan::build::Plan;
use crate::plan::outcome::Outcome;
use crate::project::snapshot::printable;
use crate::report::terminal::Style;
use crate::report::{Budget, Heading, html, json, markdown, terminal};

/// Formats the outcome of a run as the arguments say.
pub(crate) fn outcome_text(
    args: &ReportArgs,
    plan: &Plan,
    outcome: &Outcome,
    heading: &Heading<'_>,
    error: Option<&str>,
) -> Result<String, Failure> {
    Ok(match args.output {
        Format::Terminal => terminal::outcome(plan, outcome, style(args)),
        Format::Markdown => markdown::outcome(plan, outcome, heading, error, Budget::FILE).text,
        Format::Json => document(&json::outcome(plan, outcome, heading, error))?,
        Format::Html => html::outcome(plan, outcome, heading, error),
    })
}

/// Formats a value as a JSON report.
pub(crate) fn document(value: &impl serde::Serialize) -> Result<String, Failure> {
    json::text(value).map_err(|error| Failure::other(&error))
}

/// Returns the style of a report: color only on a terminal.
pub(crate) fn style(args: &ReportArgs) -> Style {
    if args.out.is_none() && std::io::stdout().is_terminal() { Style::Color } else { Style::Plain }
}

/// Writes a report to standard output or to the file that the arguments name.
pub(crate) fn write_report(args: &ReportArgs, text: &str, console: &Console) -> Result<(), Failure> {
    match &args.out {
        None => {
            console.report(text);
            Ok(())
        }
        Some(file) => save(file, text),
    }
}

fn save(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text)
        .map_err(|error| Failure::new(Exit::Failure, format!("failed to write {}: {error}", printable(file))))
}

//! Kubernator's filters, with exactly its output.

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, State};

use super::python::{self, Data};
use super::yaml_writer;

/// The greatest indentation that a filter accepts.
const MAX_INDENT: usize = 200;

/// Adds the filters to an environment.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("to_json", |state: &State<'_, '_>, value: &Value| {
        finish(state, python::json(&Data::of(value)?, None))
    });
    environment.add_filter("to_yaml_str", |state: &State<'_, '_>, value: &Value| {
        finish(state, yaml_writer::dump(&Data::of(value)?, None))
    });
    environment.add_filter("to_json_yaml_str", |state: &State<'_, '_>, value: &Value| {
        let json = Data::Text(python::json(&Data::of(value)?, None));
        finish(state, yaml_writer::dump(&json, None))
    });
    environment.add_filter("to_yaml", to_yaml);
    environment.add_filter("to_yaml_str_block", to_yaml_str_block);
    environment.add_filter("to_json_yaml_str_block", to_json_yaml_str_block);
}

fn to_yaml(
    state: &State<'_, '_>,
    value: &Value,
    level_indent: Option<usize>,
    indent: Option<usize>,
    named: Kwargs,
) -> Result<String, Error> {
    let level_indent = argument(level_indent, "level_indent", &named)?.ok_or_else(missing)?;
    let indent = argument(indent, "indent", &named)?.ok_or_else(missing)?;
    named.assert_all_used()?;
    let yaml = yaml_writer::dump(&Data::of(value)?, Some(indent));
    finish(state, format!("\n{}", python::indent(&yaml, level_indent)))
}

fn to_yaml_str_block(
    state: &State<'_, '_>,
    value: &Value,
    indent: Option<usize>,
    pretty_indent: Option<usize>,
    named: Kwargs,
) -> Result<String, Error> {
    let Some(text) = value.as_str() else {
        return Err(Error::new(ErrorKind::BadSerialization, "not text"));
    };
    let (indent, pretty_indent) = block_arguments(indent, pretty_indent, &named)?;
    finish(state, block(text, indent, pretty_indent))
}

fn to_json_yaml_str_block(
    state: &State<'_, '_>,
    value: &Value,
    indent: Option<usize>,
    pretty_indent: Option<usize>,
    named: Kwargs,
) -> Result<String, Error> {
    let (indent, pretty_indent) = block_arguments(indent, pretty_indent, &named)?;
    let json = python::json(&Data::of(value)?, Some(pretty_indent));
    finish(state, block(&json, indent, pretty_indent))
}

fn block(text: &str, indent: usize, pretty_indent: usize) -> String {
    format!("|+{pretty_indent}\n{}", python::indent(&python::dedent(text), indent + pretty_indent))
}

fn block_arguments(
    indent: Option<usize>,
    pretty_indent: Option<usize>,
    named: &Kwargs,
) -> Result<(usize, usize), Error> {
    let indent = argument(indent, "indent", named)?.unwrap_or(4);
    let pretty_indent = argument(pretty_indent, "pretty_indent", named)?.unwrap_or(2);
    named.assert_all_used()?;
    Ok((indent, pretty_indent))
}

/// Returns an argument that is given by its position or by its name.
fn argument(positional: Option<usize>, name: &str, named: &Kwargs) -> Result<Option<usize>, Error> {
    let value = match positional {
        Some(value) => Some(value),
        None if named.has(name) => Some(named.get::<usize>(name)?),
        None => None,
    };
    match value {
        Some(value) if value > MAX_INDENT => Err(Error::from(ErrorKind::OutOfFuel)),
        value => Ok(value),
    }
}

fn missing() -> Error {
    Error::from(ErrorKind::MissingArgument)
}

/// Pays for the text that a filter made. The engine counts a part of it only.
fn finish(state: &State<'_, '_>, text: String) -> Result<String, Error> {
    state.consume_fuel(text.len() as u64 / 8)?;
    Ok(text)
}

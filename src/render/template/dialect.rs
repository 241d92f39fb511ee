//! Kubernator's dialect of Jinja: variables are written as `{${ x }$}`. A template reads no file, clock or environment,
//! and its work and its output are bounded.

use std::fmt::{self, Write};
use std::ops::Range;
use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, OutputSpan, OutputSpanKind, State, UndefinedBehavior,
};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::python::{self, Data};
use super::{filters, message, position};
use crate::project::snapshot::{SourceError, SourcePlace};

/// The text that opens a variable.
pub(super) const OPEN: &str = "{${";

/// The text that closes a variable.
pub(super) const CLOSE: &str = "}$}";

/// The work that one template may do: about this many steps, and 64 bytes for each.
const FUEL: u64 = 1_000_000;

/// The work that all templates of a tree may do together.
const TREE_FUEL: u64 = 50_000_000;

/// The maximum size of a template, in bytes.
const MAX_SOURCE: usize = 4 << 20;

/// The maximum size of what a template renders, in bytes.
pub(super) const MAX_OUTPUT: usize = 16 << 20;

/// The maximum depth of values that contain `{${` and are rendered again.
const MAX_DEPTH: usize = 8;

/// The work that rendering a value again costs in addition to its steps.
const VALUE_FUEL: u64 = 200;

/// The depth of recursion in macros and loops.
const MAX_RECURSION: usize = 200;

/// The work that is left for the templates of a tree.
#[derive(Clone, Debug)]
pub(super) struct Work(u64);

impl Default for Work {
    fn default() -> Self {
        Self(TREE_FUEL)
    }
}

/// The text that a template rendered, and the parts of the template that its parts are from.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) text: String,
    spans: Vec<(Range<usize>, Range<usize>, OutputSpanKind)>,
}

/// Renders a template with a context, a map of variables.
///
/// # Errors
///
/// The template is wrong, uses a name that is not defined, or exceeds a bound. The error has its place, and contains no
/// value.
pub(super) fn render(path: &Path, source: &str, context: &Value, work: &mut Work) -> Result<Text, SourceError> {
    if source.len() > MAX_SOURCE {
        let message = format!("a template has at most {} MiB: split it", MAX_SOURCE >> 20);
        return Err(SourceError::new(SourcePlace::whole(path), message));
    }
    let fuel = FUEL.min(work.0);
    if fuel == 0 {
        let message = "the templates of the tree do too much work together: use a smaller root";
        return Err(SourceError::new(SourcePlace::whole(path), message));
    }
    let environment = environment(context.clone(), fuel, 0);
    let rendered = environment.template_from_named_str("template", source).and_then(|template| {
        // One rendering tells what it spent, and the other one what came from where.
        let captured = template.render_captured(context.clone())?;
        let spent = captured.state().fuel_levels().map_or(FUEL, |(spent, _)| spent);
        let is_small = captured.output().len() <= MAX_OUTPUT;
        Ok((if is_small { Some(template.render_with_spans(context.clone())?) } else { None }, spent))
    });
    let (rendered, spent) = match rendered {
        Ok((rendered, spent)) => (Ok(rendered), spent),
        Err(error) if error.kind() == ErrorKind::OutOfFuel => (Err(error), FUEL),
        // The engine does not tell what a failure spent.
        Err(error) => (Err(error), FUEL / 5),
    };
    work.0 = work.0.saturating_sub(spent + source.len() as u64 / 64 + 100);
    match rendered {
        Ok(Some((text, spans))) => {
            let span = |span: &OutputSpan| (span.output_range(), span.source_range(), span.kind());
            Ok(Text { text, spans: spans.iter().map(span).collect() })
        }
        Ok(None) => {
            let message = format!("the template renders more than {} MiB: render less", MAX_OUTPUT >> 20);
            Err(SourceError::new(SourcePlace::whole(path), message))
        }
        Err(error) => Err(message::of(&error, path, source, context)),
    }
}

/// Builds the environment of one template, or of a value at a depth above 0.
fn environment<'source>(context: Value, fuel: u64, depth: usize) -> Environment<'source> {
    let mut environment = Environment::new();
    if let Ok(syntax) = SyntaxConfig::builder().variable_delimiters(OPEN, CLOSE).build() {
        environment.set_syntax(syntax);
    }
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(fuel));
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_debug(true);
    environment.set_unknown_method_callback(unknown_method_callback);
    // It would print all values.
    environment.remove_global("debug");
    filters::add(&mut environment);
    environment.set_formatter(move |out, state, value| print(out, state, value, &context, depth));
    environment
}

/// Prints a value. Text that contains a variable is rendered again, as Kubernator does.
fn print(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
    context: &Value,
    depth: usize,
) -> Result<(), Error> {
    let printed;
    let text = match value.as_str() {
        Some(text) => text,
        None => {
            printed = text_of(state, value)?;
            &printed
        }
    };
    if !(text.contains(OPEN) && text.contains(CLOSE)) {
        return out.write_str(text).map_err(Error::from);
    }
    if depth >= MAX_DEPTH {
        return Err(Error::new(ErrorKind::WriteFailure, message::TOO_DEEP));
    }
    state.consume_fuel(VALUE_FUEL + text.len() as u64 / 16)?;
    let left = state.fuel_levels().map_or(0, |(_, left)| left);
    let inner = environment(context.clone(), left, depth + 1);
    let rendered = inner.template_from_named_str("value", text).and_then(|template| {
        let captured = template.render_captured(context.clone())?;
        let spent = captured.state().fuel_levels().map_or(0, |(spent, _)| spent);
        Ok((captured.into_output(), spent))
    });
    let (text, spent) = rendered.map_err(|error| match (error.kind(), error.detail()) {
        // The place in the value means nothing here, so each error begins anew.
        (ErrorKind::OutOfFuel, _) => Error::from(ErrorKind::OutOfFuel),
        (ErrorKind::WriteFailure, Some(detail)) if message::is_about_value(detail) => {
            Error::new(ErrorKind::WriteFailure, detail.to_owned())
        }
        _ => Error::new(ErrorKind::WriteFailure, message::in_value(&error)),
    })?;
    state.consume_fuel(spent)?;
    out.write_str(&text).map_err(Error::from)
}

/// Returns the text of a value that is not text. It is bounded while it is written, because a list can contain another
/// one a billion times without taking any memory.
fn text_of(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    struct Bounded(String, usize);

    impl Write for Bounded {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.1 = self.1.checked_sub(text.len()).ok_or(fmt::Error)?;
            self.0.push_str(text);
            Ok(())
        }
    }

    if value.kind() == ValueKind::Number && !value.is_integer() {
        return Ok(f64::try_from(value.clone()).map_or_else(|_| value.to_string(), python::float));
    }
    if matches!(value.kind(), ValueKind::Seq | ValueKind::Map) {
        match Data::of(value) {
            Ok(data) => return Ok(python::repr(&data)),
            Err(error) if error.kind() == ErrorKind::OutOfFuel => return Err(error),
            // It contains something that Python has no word for.
            Err(_) => {}
        }
    }
    let left = state.fuel_levels().map_or(0, |(_, left)| left);
    let mut bounded = Bounded(String::new(), usize::try_from(left.saturating_mul(4)).unwrap_or(usize::MAX));
    match write!(bounded, "{value}") {
        Ok(()) => Ok(bounded.0),
        Err(_) => Err(Error::from(ErrorKind::OutOfFuel)),
    }
}

impl Text {
    /// Returns the place in the template that a line and a column of the text are from.
    pub(super) fn place(&self, path: &Path, source: &str, line: usize, column: usize) -> SourcePlace {
        let before: usize = self.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let within = self.text[before..].char_indices().nth(column.saturating_sub(1)).map_or(0, |(at, _)| at);
        let offset = before + within;
        let index = self.spans.partition_point(|(output, ..)| output.end <= offset);
        let from = match self.spans.get(index).or(self.spans.last()) {
            Some((output, from, OutputSpanKind::Raw)) => from.start + offset.saturating_sub(output.start),
            Some((_, from, _)) => from.start,
            None => return SourcePlace::whole(path),
        };
        position::of(path, source, from)
    }
}

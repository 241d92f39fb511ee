//! The messages about a template that cannot be rendered. None of them contains a value.

use std::path::Path;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::position;
use crate::project::snapshot::{SourceError, SourcePlace};

/// The message about values that name each other without end.
pub(super) const TOO_DEEP: &str =
    "the values that this prints contain `{${` again and again: a value must not name itself, directly or by others";

/// The beginning of the message about a value that is a template itself.
const IN_VALUE: &str = "a value that this prints contains `{${`, and";

/// Translates an error of the engine.
pub(super) fn of(error: &Error, path: &Path, source: &str, context: &Value) -> SourceError {
    let place = match (error.range(), error.line()) {
        (Some(range), _) => position::of(path, source, range.start),
        (None, Some(line)) => SourcePlace::new(path, line, 1),
        (None, None) => SourcePlace::whole(path),
    };
    let detail = error.detail().unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::UndefinedError => undefined(detail, context),
        ErrorKind::WriteFailure if is_about_value(detail) => detail.to_owned(),
        kind => what(kind, detail),
    };
    SourceError::new(place, message)
}

/// Returns `true` if a detail is a message of this module about a value that is a template itself.
pub(super) fn is_about_value(detail: &str) -> bool {
    detail.starts_with(IN_VALUE) || detail == TOO_DEEP
}

/// Returns the message about an error in a value that is a template itself. It repeats nothing from the value.
pub(super) fn in_value(error: &Error) -> String {
    let what = match error.kind() {
        ErrorKind::UndefinedError => "a name in it is not defined: correct the value, or define the name".to_owned(),
        ErrorKind::SyntaxError => "it is not a template: correct the value".to_owned(),
        kind => what(kind, ""),
    };
    format!("{IN_VALUE} {what}")
}

/// Describes an error. `detail` is used where it repeats nothing but the template.
fn what(kind: ErrorKind, detail: &str) -> String {
    const FILES: [&str; 5] = ["include", "import", "from", "extends", "block"];
    match kind {
        ErrorKind::OutOfFuel => {
            "the template does too much work: render less, or split it into several templates".to_owned()
        }
        ErrorKind::SyntaxError => match detail.strip_prefix("unknown statement ") {
            Some(word) if FILES.contains(&word) => format!(
                "`{word}` is not available, because a template reads no other template: name the other file under \
                 `define` of a *.tmpl.yaml file, and `apply` it"
            ),
            Some(_) => format!("{detail}: remove it, or write it in `{{% raw %}}` if it is no template"),
            None if detail.is_empty() => "the template cannot be read: correct it".to_owned(),
            None => format!("the template cannot be read: {detail}"),
        },
        ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownMethod | ErrorKind::UnknownFunction
            if !detail.is_empty() =>
        {
            format!("{detail}: use one that Kubernator and Jinja have")
        }
        ErrorKind::MissingArgument => "an argument is missing: name all arguments".to_owned(),
        ErrorKind::TooManyArguments => "too many arguments: remove some".to_owned(),
        ErrorKind::BadSerialization => {
            "this filter cannot print the value: pass text, numbers, booleans, lists and mappings".to_owned()
        }
        ErrorKind::InvalidOperation if is_safe(detail) => format!("{detail}: correct the expression"),
        ErrorKind::CannotUnpack => "the list has another number of items than there are names: correct one".to_owned(),
        _ => "this expression cannot be computed from these values: correct it or them".to_owned(),
    }
}

/// Returns `true` if a detail of the engine names types and limits only, and no value.
fn is_safe(detail: &str) -> bool {
    detail.starts_with("tried to use ") && detail.contains(" operator on unsupported types ")
        || ["range has too many elements", "recursion limit exceeded", "cannot get absolute value"].contains(&detail)
        || detail.ends_with(" is not iterable") && detail.split(' ').count() == 4
}

/// Describes a name that is not defined, and the one that was probably meant.
fn undefined(detail: &str, context: &Value) -> String {
    let advice = "define it under `values` in .ktor.yaml, or write `| default(…)` if it may be absent";
    let Some(name) = detail.strip_prefix('`').and_then(|rest| rest.strip_suffix("` is undefined")) else {
        return format!("a name here is not defined: {advice}");
    };
    let shown: String = name.chars().take(100).collect();
    match nearest(name, context) {
        Some(near) => format!("`{shown}` is not defined: write `{near}` if that is meant, or {advice}"),
        None => format!("`{shown}` is not defined: {advice}"),
    }
}

/// Returns the known name that is most like a name with dots, or `None` if no name is like it.
fn nearest(name: &str, context: &Value) -> Option<String> {
    let mut known = context.clone();
    let mut path = String::new();
    let mut parts = name.split('.');
    for part in &mut parts {
        if known.kind() != ValueKind::Map {
            return None;
        }
        match known.get_attr(part) {
            Ok(value) if !value.is_undefined() => {
                known = value;
                path = if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") };
            }
            _ => {
                let names = known.try_iter().ok()?.filter_map(|key| key.as_str().map(str::to_owned));
                let near = most_alike(part, names)?;
                let all = std::iter::once(near.as_str()).chain(parts).collect::<Vec<_>>().join(".");
                return Some(if path.is_empty() { all } else { format!("{path}.{all}") });
            }
        }
    }
    None
}

/// Returns the name that is most like the given one, or `None` if no name is like it.
pub(super) fn most_alike(name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let limit = name.chars().count() / 3 + 1;
    let rated = names.take(10_000).map(|known| (distance(name, &known), known));
    rated.filter(|(rate, _)| *rate <= limit).min().map(|(_, near)| near)
}

/// The number of characters to insert, remove, replace or swap with a neighbor that make one name of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, left) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in b.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(left != right);
            let mut best = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *left == b[j - 1] && a[i - 1] == *right {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last().copied()).unwrap_or_default()
}

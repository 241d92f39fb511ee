//! Values as Python writes them: JSON, floats, and the indentation of text. Kubernator's filters print so.

use std::fmt::Write;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// The maximum number of values that a filter prints.
const MAX_VALUES: usize = 250_000;

/// The maximum number of bytes of text that a filter prints.
const MAX_TEXT: usize = 4 << 20;

/// A value that Python's JSON and YAML can print.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    /// `None`.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A float.
    Float(f64),
    /// Text.
    Text(String),
    /// A list or tuple.
    List(Vec<Data>),
    /// A mapping, in its order.
    Map(Vec<(Data, Data)>),
}

impl Data {
    /// Converts a value of a template. The size is bounded, because a list can contain another one a billion times
    /// without taking any memory.
    pub(super) fn of(value: &Value) -> Result<Self, Error> {
        let mut left = (MAX_VALUES, MAX_TEXT);
        Self::bounded(value, 0, &mut left)
    }

    fn bounded(value: &Value, depth: usize, left: &mut (usize, usize)) -> Result<Self, Error> {
        let text = value.as_str().map_or(0, str::len);
        let counted = left.0.checked_sub(1).zip(left.1.checked_sub(text));
        *left = counted.ok_or(Error::from(ErrorKind::OutOfFuel))?;
        if depth > 120 {
            return Err(Error::from(ErrorKind::OutOfFuel));
        }
        let unprintable = || Err(Error::new(ErrorKind::BadSerialization, "unprintable"));
        match value.kind() {
            ValueKind::None => Ok(Self::Null),
            ValueKind::Bool => Ok(Self::Bool(value.is_true())),
            ValueKind::Number if value.is_integer() => match i128::try_from(value.clone()) {
                Ok(number) => Ok(Self::Int(number)),
                Err(_) => unprintable(),
            },
            ValueKind::Number => match f64::try_from(value.clone()) {
                Ok(number) if number.is_finite() => Ok(Self::Float(number)),
                _ => unprintable(),
            },
            ValueKind::String => Ok(Self::Text(value.as_str().unwrap_or_default().to_owned())),
            ValueKind::Seq => {
                let items = value.try_iter()?.map(|item| Self::bounded(&item, depth + 1, left));
                items.collect::<Result<_, _>>().map(Self::List)
            }
            ValueKind::Map => {
                let mut entries = Vec::new();
                for key in value.try_iter()? {
                    let item = value.get_item(&key)?;
                    entries.push((Self::bounded(&key, depth + 1, left)?, Self::bounded(&item, depth + 1, left)?));
                }
                Ok(Self::Map(entries))
            }
            ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
            _ => unprintable(),
        }
    }
}

/// Prints a value as `json.dumps` does. With an indentation, each item has its own line.
pub(super) fn json(data: &Data, indent: Option<usize>) -> String {
    let mut out = String::new();
    write_json(data, indent, 0, &mut out);
    out
}

fn write_json(data: &Data, indent: Option<usize>, level: usize, out: &mut String) {
    match data {
        Data::Null => out.push_str("null"),
        Data::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Data::Int(value) => out.push_str(&value.to_string()),
        Data::Float(value) => out.push_str(&float(*value)),
        Data::Text(text) => json_text(text, out),
        Data::List(items) => {
            write_items(('[', ']'), items.iter(), indent, level, out, |item, out| {
                write_json(item, indent, level + 1, out);
            });
        }
        Data::Map(entries) => {
            write_items(('{', '}'), entries.iter(), indent, level, out, |(key, value), out| {
                match key {
                    Data::Text(text) => json_text(text, out),
                    // Python writes every other key as text too.
                    other => {
                        out.push('"');
                        write_json(other, None, 0, out);
                        out.push('"');
                    }
                }
                out.push_str(": ");
                write_json(value, indent, level + 1, out);
            });
        }
    }
}

fn write_items<T>(
    (open, close): (char, char),
    items: impl ExactSizeIterator<Item = T>,
    indent: Option<usize>,
    level: usize,
    out: &mut String,
    mut write: impl FnMut(T, &mut String),
) {
    let is_empty = items.len() == 0;
    let line = |out: &mut String, level: usize| {
        if let Some(indent) = indent.filter(|_| !is_empty) {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * level));
        }
    };
    out.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        line(out, level + 1);
        write(item, out);
    }
    line(out, level);
    out.push(close);
}

fn json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // A write to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// Prints a value as Python's `repr` does. Python prints a list or mapping so, with the values in it.
pub(super) fn repr(data: &Data) -> String {
    let mut out = String::new();
    write_repr(data, &mut out);
    out
}

fn write_repr(data: &Data, out: &mut String) {
    match data {
        Data::Null => out.push_str("None"),
        Data::Bool(value) => out.push_str(if *value { "True" } else { "False" }),
        Data::Int(value) => out.push_str(&value.to_string()),
        Data::Float(value) => out.push_str(&float(*value)),
        Data::Text(text) => text_repr(text, out),
        Data::List(items) => write_items(('[', ']'), items.iter(), None, 0, out, write_repr),
        Data::Map(entries) => write_items(('{', '}'), entries.iter(), None, 0, out, |(key, value), out| {
            write_repr(key, out);
            out.push_str(": ");
            write_repr(value, out);
        }),
    }
}

fn text_repr(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        let code = u32::from(c);
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if c == quote => out.extend(['\\', quote]),
            _ if is_printable(c) => out.push(c),
            // A write to a string cannot fail.
            _ if code <= 0xff => drop(write!(out, "\\x{code:02x}")),
            _ if code <= 0xffff => drop(write!(out, "\\u{code:04x}")),
            _ => drop(write!(out, "\\U{code:08x}")),
        }
    }
    out.push(quote);
}

/// Returns `true` if Python prints the character itself: it has a shape or a width, or it is the space.
fn is_printable(c: char) -> bool {
    use unicode_general_category::GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, SpaceSeparator, Surrogate, Unassigned,
    };
    let category = unicode_general_category::get_general_category(c);
    let has_no_shape =
        matches!(category, Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate | Unassigned);
    c == ' ' || !has_no_shape && category != SpaceSeparator
}

/// Prints a finite float as Python's `repr` does: its shortest digits, with an exponent below 1e-4 and from 1e16.
pub(super) fn float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) || value == 0.0 {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// The characters at which Python's `splitlines` ends a line.
fn ends_line(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Indents every line that is more than whitespace, as `textwrap.indent` does.
pub(super) fn indent(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(ends_line).map_or(rest.len(), |at| {
            let after = rest[at..].chars().next().map_or(0, char::len_utf8);
            if rest[at..].starts_with("\r\n") { at + 2 } else { at + after }
        });
        let (line, after) = rest.split_at(end);
        if !line.chars().all(|c| c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')) {
            out.extend(std::iter::repeat_n(' ', width));
        }
        out.push_str(line);
        rest = after;
    }
    out
}

/// Removes the whitespace that all lines begin with, as `textwrap.dedent` does. Lines of whitespace become empty.
pub(super) fn dedent(text: &str) -> String {
    let is_blank = |c: char| matches!(c, ' ' | '\t');
    let lines: Vec<&str> = text.split('\n').map(|line| if line.chars().all(is_blank) { "" } else { line }).collect();
    let indentation = |line: &'_ str| line.len() - line.trim_start_matches(is_blank).len();
    let mut margin: Option<&str> = None;
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let own = &line[..indentation(line)];
        margin = Some(match margin {
            None => own,
            Some(margin) => {
                let same = margin.bytes().zip(own.bytes()).take_while(|(a, b)| a == b).count();
                &margin[..same]
            }
        });
    }
    let margin = margin.unwrap_or_default();
    let cut: Vec<&str> = lines.iter().map(|line| line.strip_prefix(margin).unwrap_or(line)).collect();
    cut.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k8_floats_are_written_as_python_writes_them() {
        for (value, expected) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (1e-4, "0.0001"),
            (1.25e-5, "1.25e-05"),
            (-0.0, "-0.0"),
        ] {
            assert_eq!(float(value), expected);
        }
    }

    #[test]
    fn k8_values_in_lists_are_written_as_python_writes_them() {
        let text = |text: &str| Data::Text(text.to_owned());
        for (data, expected) in [
            (text("it's"), r#""it's""#),
            (text("it's \"x\""), r#"'it\'s "x"'"#),
            (text("a\\\n\r\t\0\u{7f}\u{a0}\u{ad}"), r"'a\\\n\r\t\x00\x7f\xa0\xad'"),
            (text("e\u{301}\u{2028}\u{1f600}\u{e0001}"), "'e\u{301}\\u2028\u{1f600}\\U000e0001'"),
            (
                Data::List(vec![Data::Null, Data::Bool(true), Data::Float(1e-7), Data::Int(-3)]),
                "[None, True, 1e-07, -3]",
            ),
            (Data::Map(vec![(Data::Int(1), Data::List(vec![])), (text("b"), Data::Map(vec![]))]), "{1: [], 'b': {}}"),
        ] {
            assert_eq!(repr(&data), expected);
        }
    }

    #[test]
    fn k8_text_is_indented_as_python_indents_it() {
        assert_eq!(indent("a\n\n b\r\nc\u{2028}d\n  \n", 2), "  a\n\n   b\r\n  c\u{2028}  d\n  \n");
        assert_eq!(dedent("  a\n    b\n \t \n  c"), "a\n  b\n\nc");
        assert_eq!(dedent("\ta\n  b\n"), "\ta\n  b\n");
        assert_eq!(dedent(""), "");
    }
}

//! Cuts a file into documents, as kubectl does before it parses YAML.

use std::fmt::Write;
use std::path::Path;

use serde::de::IgnoredAny;

use crate::project::snapshot::{SourceError, SourcePlace};

/// The syntax of a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// YAML.
    Yaml,
    /// One JSON value, which is already known to be well-formed.
    Json,
}

/// The text of one document, and the place where it starts in the file.
pub(super) struct Chunk<'a> {
    pub(super) text: &'a str,
    pub(super) syntax: Syntax,
    line: usize,
    column: usize,
}

impl Chunk<'_> {
    /// Converts a line and a column of this chunk, both from 1, to a place in the file.
    pub(super) fn place(&self, path: &Path, line: usize, column: usize) -> SourcePlace {
        let line = line.max(1);
        let column = if line == 1 { column + self.column - 1 } else { column };
        SourcePlace::new(path, line + self.line - 1, column)
    }
}

/// Cuts the text of a file into its documents.
///
/// A text that starts with a brace and consists only of JSON values is read as JSON. All other text is YAML, and is cut
/// at the lines that start with `---`.
pub(super) fn chunks<'a>(path: &Path, text: &'a str) -> Result<Vec<Chunk<'a>>, SourceError> {
    if let Some(values) = json_values(text) {
        return Ok(values);
    }
    refuse_characters(path, text)?;
    yaml_documents(path, text)
}

/// Escapes the characters that JSON allows in strings and the YAML parser does not. Returns `None` if the text is not
/// JSON, or has no such character.
pub(super) fn with_escapes(text: &str) -> Option<String> {
    let foreign = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{FFFE}' | '\u{FFFF}');
    if !text.contains(foreign) || json_values(text).is_none() {
        return None;
    }
    let mut escaped = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if foreign(c) {
            // A write to a string cannot fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    Some(escaped)
}

/// Returns the line and the column, both from 1, of the place after this text.
pub(super) fn position(before: &str) -> (usize, usize) {
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let lines = before.bytes().filter(|byte| *byte == b'\n').count();
    (lines + 1, before[line_start..].chars().count() + 1)
}

/// Returns the values of a text that starts with a brace and consists only of JSON values, or `None` for any other
/// text.
fn json_values(text: &str) -> Option<Vec<Chunk<'_>>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let mut values = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let (mut line, mut column, mut counted) = (1, 1, 0);
    loop {
        let gap = &text[stream.byte_offset()..];
        let start = text.len() - gap.trim_start_matches([' ', '\t', '\r', '\n']).len();
        let Some(value) = stream.next() else { return Some(values) };
        value.ok()?;
        let between = &text[counted..start];
        let (lines, columns) = position(between);
        column = if lines == 1 { column + columns - 1 } else { columns };
        line += lines - 1;
        counted = start;
        values.push(Chunk { text: &text[start..stream.byte_offset()], syntax: Syntax::Json, line, column });
    }
}

/// Returns the chunks between separator lines. A separator before any other text is part of the chunk that follows it.
fn yaml_documents<'a>(path: &Path, text: &'a str) -> Result<Vec<Chunk<'a>>, SourceError> {
    let mut chunks = Vec::new();
    let mut push = |start: usize, end: usize, line: usize| {
        if start < end {
            chunks.push(Chunk { text: &text[start..end], syntax: Syntax::Yaml, line, column: 1 });
        }
    };
    let (mut start, mut first_line, mut offset) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let end = offset + line.len();
        if let Some(rest) = line.strip_prefix("---") {
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                let message = "kubectl reads nothing but a comment after `---`: put the content on the next line";
                return Err(SourceError::new(SourcePlace::new(path, index + 1, 4), message));
            }
            if start < offset {
                push(start, offset, first_line);
                (start, first_line) = (end, index + 2);
            }
        }
        offset = end;
    }
    push(start, offset, first_line);
    Ok(chunks)
}

/// Refuses the characters that YAML allows nowhere, quoted or not, and the characters that kubectl reads as line
/// breaks.
fn refuse_characters(path: &Path, text: &str) -> Result<(), SourceError> {
    let breaks = |c: char| matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}');
    let refused = |c: char| match c {
        '\t' | '\n' | '\r' => false,
        _ => c.is_control() || breaks(c) || ('\u{FFFE}'..='\u{FFFF}').contains(&c),
    };
    let Some((at, found)) = text.char_indices().find(|(_, c)| refused(*c)) else { return Ok(()) };
    let (line, column) = position(&text[..at]);
    let what = if breaks(found) { "is a line break to kubectl" } else { "is not allowed in YAML" };
    let message = format!(
        "control character U+{:04X} {what}: remove it, or write it as an escape in double quotes",
        u32::from(found)
    );
    Err(SourceError::new(SourcePlace::new(path, line, column), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, usize, usize)]) {
        let chunks = chunks(Path::new("a.yaml"), text).unwrap();
        let found: Vec<_> = chunks.iter().map(|chunk| (chunk.text, chunk.line, chunk.column)).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn separators_cut_where_kubectl_cuts() {
        check("", &[]);
        check("a: 1\n---\nb: 2\n", &[("a: 1\n", 1, 1), ("b: 2\n", 3, 1)]);
        check("---\na: 1\n--- # b\n\nb: 2", &[("---\na: 1\n", 1, 1), ("\nb: 2", 4, 1)]);
        check("---\n---\n---\n", &[("---\n", 1, 1), ("---\n", 3, 1)]);
        check("a: 1\r\n---\r\nb: 2\r\n", &[("a: 1\r\n", 1, 1), ("b: 2\r\n", 3, 1)]);
        check(" ---\na: 1\n", &[(" ---\na: 1\n", 1, 1)]);
    }

    #[test]
    fn rows_of_json_values_are_cut_between_values() {
        check("{} \n {\"a\":\n1}{}\n", &[("{}", 1, 1), ("{\"a\":\n1}", 2, 2), ("{}", 3, 3)]);
        check("{}\n---\n{}\n", &[("{}\n", 1, 1), ("{}\n", 3, 1)]);
        check("{a: 1}\n", &[("{a: 1}\n", 1, 1)]);
    }
}

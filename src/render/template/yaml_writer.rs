//! Writes YAML exactly as PyYAML's `safe_dump` does with its defaults, because templates depend on its layout.
//!
//! Differs from PyYAML in one way: a value that occurs twice is written twice, and not as an anchor and an alias.

use super::python::{Data, float};

/// The width after which PyYAML breaks a line at the next space.
const WIDTH: usize = 80;

/// Returns the YAML of a value. `indent` counts if it is from 2 to 9.
pub(super) fn dump(data: &Data, indent: Option<usize>) -> String {
    let step = indent.filter(|indent| (2..10).contains(indent)).unwrap_or(2);
    let mut writer =
        Writer { out: String::new(), step, column: 0, after_space: true, indention: true, open_ended: false };
    writer.node(data, None, Place::Root);
    writer.line_to(0);
    if writer.open_ended {
        writer.indicator("...", true, false, false);
        writer.line_to(0);
    }
    writer.out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Item,
    Key,
    LongKey,
    Value,
}

struct Writer {
    out: String,
    step: usize,
    column: usize,
    /// `true` if the last character is a space or a line break, or nothing was written yet.
    after_space: bool,
    /// `true` if the line has nothing but indentation and indicators.
    indention: bool,
    /// `true` if the document needs an end marker.
    open_ended: bool,
}

impl Writer {
    fn node(&mut self, data: &Data, indent: Option<usize>, place: Place) {
        match data {
            Data::List(items) if items.is_empty() => self.empty("[", "]"),
            Data::Map(entries) if entries.is_empty() => self.empty("{", "}"),
            Data::List(items) => {
                let in_mapping = matches!(place, Place::Value | Place::LongKey);
                let indent = match indent {
                    None => 0,
                    Some(indent) if in_mapping && !self.indention => indent,
                    Some(indent) => indent + self.step,
                };
                for item in items {
                    self.line_to(indent);
                    self.indicator("-", true, false, true);
                    self.node(item, Some(indent), Place::Item);
                }
            }
            Data::Map(entries) => {
                let indent = indent.map_or(0, |indent| indent + self.step);
                for (key, value) in sorted(entries) {
                    self.line_to(indent);
                    if is_simple_key(key) {
                        self.node(key, Some(indent), Place::Key);
                        self.indicator(":", false, false, false);
                    } else {
                        self.indicator("?", true, false, true);
                        self.node(key, Some(indent), Place::LongKey);
                        self.line_to(indent);
                        self.indicator(":", true, false, true);
                    }
                    self.node(value, Some(indent), Place::Value);
                }
            }
            scalar => self.scalar(scalar, indent.map_or(self.step, |indent| indent + self.step), place),
        }
    }

    fn empty(&mut self, open: &str, close: &str) {
        self.indicator(open, true, true, false);
        self.indicator(close, false, false, false);
    }

    fn scalar(&mut self, data: &Data, indent: usize, place: Place) {
        let (text, is_text) = (scalar_text(data), matches!(data, Data::Text(_)));
        let chars: Vec<char> = text.chars().collect();
        let analysis = Analysis::of(&chars);
        let is_key = place == Place::Key;
        let plain =
            !is_text || analysis.plain && !resolves(&text) && !(is_key && (chars.is_empty() || analysis.multiline));
        if plain {
            self.plain(&chars, indent, place);
        } else if analysis.single && !(is_key && analysis.multiline) {
            self.single(&chars, indent, !is_key);
        } else {
            self.double(&chars, indent, !is_key);
        }
    }

    fn push(&mut self, text: &[char]) {
        self.out.extend(text);
        self.column += text.len();
    }

    fn indicator(&mut self, text: &str, needs_space: bool, leaves_space: bool, indention: bool) {
        if needs_space && !self.after_space {
            self.out.push(' ');
            self.column += 1;
        }
        self.out.push_str(text);
        self.column += text.len();
        self.after_space = leaves_space;
        self.indention = self.indention && indention;
        self.open_ended = false;
    }

    /// Goes to a column, on a new line unless this one has only indentation before it.
    fn line_to(&mut self, indent: usize) {
        if !self.indention || self.column > indent || self.column == indent && !self.after_space {
            self.line_break('\n');
        }
        if self.column < indent {
            self.after_space = true;
            self.out.extend(std::iter::repeat_n(' ', indent - self.column));
            self.column = indent;
        }
    }

    fn line_break(&mut self, c: char) {
        self.after_space = true;
        self.indention = true;
        self.column = 0;
        self.out.push(c);
    }

    /// Writes text without quotes. It has one line, which is broken where it is too long.
    fn plain(&mut self, text: &[char], indent: usize, place: Place) {
        self.open_ended = self.open_ended || place == Place::Root;
        if text.is_empty() {
            return;
        }
        if !self.after_space {
            self.push(&[' ']);
        }
        self.after_space = false;
        self.indention = false;
        let mut start = 0;
        while start < text.len() {
            let is_space = text[start] == ' ';
            let end = start + text[start..].iter().take_while(|c| (**c == ' ') == is_space).count();
            if is_space && end == start + 1 && self.column > WIDTH && place != Place::Key {
                self.line_to(indent);
                self.after_space = false;
                self.indention = false;
            } else {
                self.push(&text[start..end]);
            }
            start = end;
        }
    }

    /// Writes text in single quotes. A line break is written as an empty line.
    fn single(&mut self, text: &[char], indent: usize, may_break: bool) {
        self.indicator("'", true, false, false);
        let mut start = 0;
        while start < text.len() {
            let class = |c: char| {
                if c == ' ' {
                    0
                } else if is_break(c) {
                    1
                } else {
                    2
                }
            };
            let own = class(text[start]);
            let end = start + text[start..].iter().take_while(|c| class(**c) == own).count();
            match own {
                0 if end == start + 1 && self.column > WIDTH && may_break && start != 0 && end != text.len() => {
                    self.line_to(indent);
                }
                1 => {
                    if text[start] == '\n' {
                        self.line_break('\n');
                    }
                    for c in &text[start..end] {
                        self.line_break(*c);
                    }
                    self.line_to(indent);
                }
                _ => {
                    for c in &text[start..end] {
                        self.push(if *c == '\'' { &['\'', '\''] } else { std::slice::from_ref(c) });
                    }
                }
            }
            start = end;
        }
        self.indicator("'", false, false, false);
    }

    /// Writes text in double quotes, with escapes for everything but printable ASCII.
    fn double(&mut self, text: &[char], indent: usize, may_break: bool) {
        self.indicator("\"", true, false, false);
        // The characters from `start` on are not written yet.
        let mut start = 0;
        for end in 0..=text.len() {
            let c = text.get(end).copied();
            if c.is_none_or(|c| matches!(c, '"' | '\\') || !(' '..='~').contains(&c)) {
                if start < end {
                    self.push(&text[start..end]);
                    start = end;
                }
                if let Some(c) = c {
                    self.push(&escape(c));
                    start = end + 1;
                }
            }
            let pending = end.saturating_sub(start);
            let too_long = if start > end { self.column > WIDTH + 1 } else { self.column + pending > WIDTH };
            if 0 < end && end + 1 < text.len() && (c == Some(' ') || start >= end) && too_long && may_break {
                if start < end {
                    self.push(&text[start..end]);
                    start = end;
                }
                self.push(&['\\']);
                self.line_to(indent);
                self.after_space = false;
                self.indention = false;
                if text.get(start) == Some(&' ') {
                    self.push(&['\\']);
                }
            }
        }
        self.indicator("\"", false, false, false);
    }
}

/// Sorts entries by their keys if Python can compare them.
fn sorted(entries: &[(Data, Data)]) -> Vec<&(Data, Data)> {
    let mut sorted: Vec<&(Data, Data)> = entries.iter().collect();
    if entries.iter().all(|(key, _)| matches!(key, Data::Text(_))) {
        sorted.sort_by(|(a, _), (b, _)| match (a, b) {
            (Data::Text(a), Data::Text(b)) => a.cmp(b),
            _ => std::cmp::Ordering::Equal,
        });
    } else if entries.iter().all(|(key, _)| matches!(key, Data::Int(_))) {
        sorted.sort_by_key(|(key, _)| if let Data::Int(key) = key { *key } else { 0 });
    }
    sorted
}

fn scalar_text(data: &Data) -> String {
    match data {
        Data::Null => "null".to_owned(),
        Data::Bool(value) => value.to_string(),
        Data::Int(value) => value.to_string(),
        Data::Float(value) => {
            let text = float(*value);
            if text.contains('.') { text } else { text.replacen('e', ".0e", 1) }
        }
        Data::Text(text) => text.clone(),
        Data::List(_) | Data::Map(_) => String::new(),
    }
}

/// Returns `true` if a key and its tag are short enough for one line.
fn is_simple_key(key: &Data) -> bool {
    let tag = match key {
        Data::List(items) => return items.is_empty(),
        Data::Map(entries) => return entries.is_empty(),
        Data::Float(_) => "!!float",
        Data::Null | Data::Bool(_) => "!!null",
        Data::Int(_) | Data::Text(_) => "!!str",
    };
    let text = scalar_text(key);
    tag.len() + text.chars().count() < 128 && !text.is_empty() && !text.contains(is_break)
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn escape(c: char) -> Vec<char> {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ => {
            let code = u32::from(c);
            let long = match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            };
            return long.chars().collect();
        }
    };
    vec!['\\', short]
}

/// The styles that a text can have.
struct Analysis {
    multiline: bool,
    plain: bool,
    single: bool,
}

impl Analysis {
    fn of(text: &[char]) -> Self {
        let (Some(first), Some(last)) = (text.first().copied(), text.last().copied()) else {
            return Self { multiline: false, plain: true, single: true };
        };
        let is_space = |c: Option<&char>| c.is_none_or(|c| matches!(c, '\0' | ' ' | '\t' | '\r') || is_break(*c));
        let starts = |marker: &str| marker.chars().eq(text.iter().take(3).copied());
        let mut indicators = starts("---")
            || starts("...")
            || "#,[]{}&*!|>'\"%@`".contains(first)
            || "?:-".contains(first) && is_space(text.get(1));
        for (at, c) in text.iter().enumerate().skip(1) {
            indicators |= *c == ':' && is_space(text.get(at + 1)) || *c == '#' && is_space(text.get(at - 1));
        }
        let special = text.iter().any(|c| *c != '\n' && !(' '..='~').contains(c));
        let multiline = text.iter().any(|c| is_break(*c));
        let pair = |matches: fn(char, char) -> bool| text.windows(2).any(|pair| matches(pair[0], pair[1]));
        let break_space = pair(|a, b| is_break(a) && b == ' ');
        let space_break = pair(|a, b| a == ' ' && is_break(b));
        let edge = |c: char| c == ' ' || is_break(c);
        let quoted = special || space_break || break_space;
        Self { multiline, plain: !quoted && !multiline && !indicators && !edge(first) && !edge(last), single: !quoted }
    }
}

/// Returns `true` if PyYAML reads the plain text as something other than text.
fn resolves(text: &str) -> bool {
    const WORDS: [&str; 28] = [
        "", "~", "null", "Null", "NULL", "<<", "=", "yes", "Yes", "YES", "no", "No", "NO", "true", "True", "TRUE",
        "false", "False", "FALSE", "on", "On", "ON", "off", "Off", "OFF", ".nan", ".NaN", ".NAN",
    ];
    WORDS.contains(&text) || is_number(text) || is_timestamp(text)
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all = |text: &str, allowed: fn(char) -> bool| !text.is_empty() && text.chars().all(allowed);
    let digits =
        |text: &str| text.starts_with(|c: char| c.is_ascii_digit()) && all(text, |c| c.is_ascii_digit() || c == '_');
    let exponent = |text: &str| {
        text.strip_prefix(['e', 'E'])
            .and_then(|rest| rest.strip_prefix(['-', '+']))
            .is_some_and(|rest| all(rest, |c| c.is_ascii_digit()))
    };
    let is_fraction = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(rest.len());
        let (_, rest) = rest.split_at(end);
        rest.is_empty() || exponent(rest)
    };
    let sexagesimal = |text: &str| {
        let mut parts = text.split(':');
        let leads = parts.next().is_some_and(digits);
        let part = |part: &str| match part.as_bytes() {
            [digit] => digit.is_ascii_digit(),
            [tens, digit] => (b'0'..=b'5').contains(tens) && digit.is_ascii_digit(),
            _ => false,
        };
        let parts: Vec<&str> = parts.collect();
        leads && !parts.is_empty() && parts.into_iter().all(part)
    };
    // Integers.
    let prefixed =
        |prefix: &str, allowed: fn(char) -> bool| unsigned.strip_prefix(prefix).is_some_and(|rest| all(rest, allowed));
    if prefixed("0b", |c| matches!(c, '0' | '1' | '_'))
        || prefixed("0x", |c| c.is_ascii_hexdigit() || c == '_')
        || prefixed("0", |c| matches!(c, '0'..='7' | '_'))
        || unsigned == "0"
        || !unsigned.starts_with('0') && (digits(unsigned) || sexagesimal(unsigned))
    {
        return true;
    }
    // Floats.
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    match unsigned.split_once('.') {
        Some(("", rest)) => {
            // A sign is allowed before a digit only.
            text.len() == unsigned.len() && rest.starts_with(|c: char| c.is_ascii_digit()) && is_fraction(rest)
        }
        Some((whole, rest)) if digits(whole) => is_fraction(rest),
        Some((whole, rest)) => sexagesimal(whole) && rest.chars().all(|c| c.is_ascii_digit() || c == '_'),
        None => false,
    }
}

fn is_timestamp(text: &str) -> bool {
    let mut rest = text;
    let digits = |least: usize, most: usize, rest: &mut &str| {
        let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        *rest = &rest[count..];
        count >= least
    };
    let literal = |expected: char, rest: &mut &str| match rest.strip_prefix(expected) {
        Some(after) => {
            *rest = after;
            true
        }
        None => false,
    };
    if !(digits(4, 4, &mut rest) && literal('-', &mut rest)) {
        return false;
    }
    let date = rest;
    if digits(2, 2, &mut rest) && literal('-', &mut rest) && digits(2, 2, &mut rest) && rest.is_empty() {
        return true;
    }
    rest = date;
    if !(digits(1, 2, &mut rest) && literal('-', &mut rest) && digits(1, 2, &mut rest)) {
        return false;
    }
    let blanks = |text: &str| text.len() - text.trim_start_matches([' ', '\t']).len();
    if rest.starts_with(['T', 't']) {
        rest = &rest[1..];
    } else if blanks(rest) > 0 {
        rest = &rest[blanks(rest)..];
    } else {
        return false;
    }
    let time = digits(1, 2, &mut rest)
        && literal(':', &mut rest)
        && digits(2, 2, &mut rest)
        && literal(':', &mut rest)
        && digits(2, 2, &mut rest);
    if !time {
        return false;
    }
    if literal('.', &mut rest) {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    if rest.is_empty() {
        return true;
    }
    rest = &rest[blanks(rest)..];
    if rest == "Z" {
        return true;
    }
    if !(literal('-', &mut rest) || literal('+', &mut rest)) || !digits(1, 2, &mut rest) {
        return false;
    }
    rest.is_empty() || literal(':', &mut rest) && digits(2, 2, &mut rest) && rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Data {
        Data::Text(text.to_owned())
    }

    #[test]
    fn k8_yaml_is_written_as_pyyaml_writes_it() {
        let long = "word ".repeat(20);
        let long = long.trim_end();
        let pair = |key: &str, value: Data| (text(key), value);
        let nested = Data::Map(vec![
            pair(
                "b",
                Data::List(vec![Data::Int(1), Data::Map(vec![pair("x", Data::Null), pair("w", Data::List(vec![]))])]),
            ),
            pair("a", Data::List(vec![Data::List(vec![Data::Bool(true), Data::Float(1e20)])])),
            pair("", text("v")),
        ]);
        for (data, expected) in [
            (text("plain"), "plain\n...\n"),
            (text(""), "''\n"),
            (text("true"), "'true'\n"),
            (text("1_000"), "'1_000'\n"),
            (text("2020-01-01"), "'2020-01-01'\n"),
            (text("a: b"), "'a: b'\n"),
            (text("it's # x"), "'it''s # x'\n"),
            (text("a\nb\n"), "'a\n\n  b\n\n  '\n"),
            (text("tab\t\u{e9}\u{1f600}"), "\"tab\\t\\xE9\\U0001F600\"\n"),
            (Data::Null, "null\n...\n"),
            (Data::Float(1e-7), "1.0e-07\n...\n"),
            (Data::List(vec![]), "[]\n"),
            (nested.clone(), "? ''\n: v\na:\n- - true\n  - 1.0e+20\nb:\n- 1\n- w: []\n  x: null\n"),
        ] {
            assert_eq!(dump(&data, None), expected);
        }
        let folded = dump(&Data::Map(vec![pair("k", text(long))]), None);
        assert_eq!(folded.lines().count(), 2, "{folded}");
        assert!(folded.lines().all(|line| line.len() <= 86), "{folded}");
        assert!(
            dump(&nested, Some(4)).contains("a:\n-   - true\n    - 1.0e+20\nb:\n- 1\n"),
            "{}",
            dump(&nested, Some(4))
        );
    }
}

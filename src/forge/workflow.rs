//! Workflow commands and file commands for the runner, and text that the runner does not take for a command. Pure.
//!
//! This module does not write. The caller prints a workflow command to standard output, and appends a file command to
//! its file.

use std::fmt::Write as _;

/// The maximum size of a step summary, in bytes. The runner drops the whole summary if it has more than 1 MiB.
pub(crate) const SUMMARY_LIMIT: usize = 900 * 1024;

/// An error that the runner shows on the page of the run and, if it has a file, next to the line in the file. It does
/// not fail the step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Annotation<'a> {
    /// The text. It may have several lines.
    pub message: &'a str,
    /// The heading.
    pub title: Option<&'a str>,
    /// The file's path in the repository.
    pub file: Option<&'a str>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
}

impl Annotation<'_> {
    /// Returns the workflow command of an error, without a line end.
    pub(crate) fn command(&self) -> String {
        self.leveled("error")
    }

    /// Returns the workflow command of a warning, without a line end.
    pub(crate) fn warning(&self) -> String {
        self.leveled("warning")
    }

    fn leveled(&self, level: &'static str) -> String {
        let mut command = format!("::{level}");
        let line = self.line.map(|line| line.to_string());
        let column = self.column.map(|column| column.to_string());
        let properties =
            [("title", self.title), ("file", self.file), ("line", line.as_deref()), ("col", column.as_deref())];
        let mut separator = ' ';
        for (name, value) in properties {
            if let Some(value) = value {
                let _ = write!(command, "{separator}{name}={}", escape_property(&inert(value)));
                separator = ',';
            }
        }
        command + "::" + &escape_data(&inert(self.message))
    }
}

/// Returns the command that hides `secret` in the rest of the log, or `None` if `secret` is blank.
pub(crate) fn add_mask(secret: &str) -> Option<String> {
    (!secret.trim().is_empty()).then(|| format!("::add-mask::{}", escape_data(secret)))
}

/// Returns the command that begins a group of lines, which the log shows folded under `title`.
pub(crate) fn group(title: &str) -> String {
    format!("::group::{}", escape_data(&inert(title)))
}

/// Returns the command that ends a group.
pub(crate) fn end_group() -> &'static str {
    "::endgroup::"
}

/// Returns the text to append to the file `GITHUB_OUTPUT` (or `GITHUB_ENV`), which sets `name` to `value`.
///
/// The value is between two delimiters that do not occur in it. `seed` makes the delimiters different in each run, so
/// that an attacker cannot prepare a value that contains the delimiter.
pub(crate) fn set_output(name: &'static str, value: &str, seed: u64) -> String {
    let mut delimiter = format!("ktor_{seed:016x}");
    while value.contains(&delimiter) {
        delimiter.push('_');
    }
    format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
}

/// Returns the text to append to the file `GITHUB_STEP_SUMMARY`. If `markdown` is too long for [`SUMMARY_LIMIT`], the
/// text is cut there and ends with a note about it.
pub(crate) fn step_summary(markdown: &str) -> String {
    if markdown.len() < SUMMARY_LIMIT {
        return format!("{markdown}\n");
    }
    let note = format!("\n\n… cut: the whole text has {} bytes\n", markdown.len());
    let room = markdown.floor_char_boundary(SUMMARY_LIMIT - note.len());
    format!("{}{note}", &markdown[..room])
}

/// Makes `text` safe for a log: the result contains no workflow command, and no character that moves the cursor or
/// reorders the text.
///
/// Line feeds and tabs stay. Each line is escaped separately. A second call does not change the result.
pub(crate) fn inert(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut shown = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            shown.push('\n');
        }
        inert_line(line, &mut shown);
    }
    shown
}

fn inert_line(line: &str, shown: &mut String) {
    let start = shown.len();
    for c in line.chars() {
        match c {
            '\t' => shown.push(c),
            '\r' => shown.push_str("\\r"),
            c if c.is_control() || is_invisible(c) => {
                let _ = write!(shown, "{}", c.escape_unicode());
            }
            '[' if shown[start..].ends_with("##") => shown.push_str("\\["),
            c => shown.push(c),
        }
    }
    // The runner skips white space at the start of a line and then looks for `::`. A character before `::` makes the
    // line plain text.
    let written = &shown[start..];
    let text = written.trim_start();
    if text.starts_with("::") {
        let place = start + written.len() - text.len();
        shown.insert(place, '\\');
    }
}

/// Returns `true` for an invisible character that changes the reading of other characters: a bidi control, a separator,
/// or invisible formatting.
///
/// The joiners of scripts and emoji (U+200C, U+200D) only change the shape of visible characters, so they stay.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts that are a command, move the cursor or deceive the reader, if they reach a log unchanged.
    const INJECTIONS: &[&str] = &[
        "::error::x",
        "  ::set-output name=a::b",
        "\t::ADD-MASK::x",
        "\u{a0}\u{3000}::warning::x",
        "\u{2003}::Stop-Commands::t",
        "\u{feff}::notice::x",
        "\u{200b}::notice::x",
        "harmless\n::error::x",
        "harmless\r::error::x",
        "harmless\r\n::error::x",
        "harmless\u{85}::error::x",
        "harmless\u{2028}::error::x",
        "\u{b}::error::x",
        "\u{c}::error::x",
        "a ##[error]x",
        "###[group]x",
        "##[##[error]x",
        "##[command]x ##[Error]y",
        "##\r[error]x",
        "\u{1b}[2J\u{1b}[31mred",
        "\u{9b}31m",
        "\0",
        "\u{202e}live\u{2066}",
        ":::error::x",
        "::",
    ];

    /// Finds the lines that the runner could take for a command: lines with `::` at the start, after white space, and
    /// lines with `##[` anywhere. It finds more than the runner does: it accepts any command name, and more characters
    /// count as a line end.
    fn commands(output: &str) -> Vec<&str> {
        output
            .split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}', '\u{b}', '\u{c}'])
            .filter(|line| line.trim_start().starts_with("::") || line.contains("##["))
            .collect()
    }

    fn check_inert(text: &str) {
        let shown = inert(text);
        assert_eq!(commands(&shown), Vec::<&str>::new(), "{text:?} became {shown:?}");
        assert!(!shown.chars().any(|c| (c.is_control() && c != '\n' && c != '\t') || is_invisible(c)), "{shown:?}");
        assert_eq!(inert(&shown), shown, "inert twice");
    }

    #[test]
    fn f5_the_corpus_is_inert_in_the_log() {
        for text in INJECTIONS {
            check_inert(text);
            check_inert(&format!("  {text}"));
        }
        // The check must itself recognize commands.
        assert_eq!(commands("a\n ::error::x\rb ##[group]").len(), 2);
    }

    #[test]
    fn f5_inert_text_stays_readable() {
        let cases = [
            ("::error::x", "\\::error::x"),
            ("  ::error::x", "  \\::error::x"),
            ("a ##[error]", "a ##\\[error]"),
            ("a\rb", "a\\rb"),
            ("a\r\nb", "a\nb"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("\u{202e}x", "\\u{202e}x"),
            ("image: a::b #[x] ünï 👩\u{200d}🚀\ttab", "image: a::b #[x] ünï 👩\u{200d}🚀\ttab"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(inert(text), expected, "{text:?}");
        }
    }

    #[test]
    fn f5_an_annotation_is_one_command_whatever_it_says() {
        for text in INJECTIONS {
            let annotation =
                Annotation { message: text, title: Some(text), file: Some(text), line: Some(3), column: Some(7) };
            let command = annotation.command();
            assert_eq!(commands(&command).len(), 1, "{command:?}");
            assert!(command.starts_with("::error title="), "{command:?}");
            // No property ends the list of properties early, and no property adds another one.
            let properties = command.strip_prefix("::error ").unwrap().split("::").next().unwrap();
            let names: Vec<_> = properties.split(',').map(|property| property.split('=').next().unwrap()).collect();
            assert_eq!(names, ["title", "file", "line", "col"], "{command:?}");
            assert!(command.contains(",line=3,col=7::"), "{command:?}");
        }
    }

    #[test]
    fn f5_a_group_is_one_command_whatever_its_title() {
        for text in INJECTIONS {
            let command = group(text);
            assert_eq!(commands(&command).len(), 1, "{command:?}");
            assert!(command.starts_with("::group::"), "{command:?}");
        }
    }

    #[test]
    fn commands_are_escaped_as_the_runner_unescapes_them() {
        let annotation =
            Annotation { message: "50% of a\nb", title: Some("a: b, c"), file: None, line: None, column: None };
        assert_eq!(annotation.command(), "::error title=a%3A b%2C c::50%25 of a%0Ab");
        let bare = Annotation { title: None, message: "done", ..annotation };
        assert_eq!(bare.command(), "::error::done");
        assert_eq!(add_mask("a%b\nc").unwrap(), "::add-mask::a%25b%0Ac");
        assert_eq!(add_mask(" \n"), None);
        assert_eq!(group("a\nb"), "::group::a%0Ab");
        assert_eq!(end_group(), "::endgroup::");
    }

    /// Reads a file command as the runner does: `NAME<<DELIMITER`, lines, `DELIMITER`.
    fn read_outputs(file: &str) -> Vec<(String, String)> {
        let mut outputs = Vec::new();
        let mut lines = file.split('\n');
        while let Some(head) = lines.next() {
            if head.is_empty() {
                continue;
            }
            let (name, delimiter) = head.split_once("<<").expect("a here-document");
            let value: Vec<_> = lines.by_ref().take_while(|line| *line != delimiter).collect();
            outputs.push((name.to_owned(), value.join("\n")));
        }
        outputs
    }

    #[test]
    fn f5_an_output_cannot_set_another() {
        let seed = 0xfeed;
        let values = ["", "one line", "ktor_000000000000feed\nevil<<E\nx\nE", "ktor_000000000000feed_\n", "a<<b"];
        for value in values {
            let file = set_output("digest", value, seed) + &set_output("exit-code", "0", seed);
            let expected = vec![("digest".to_owned(), value.to_owned()), ("exit-code".to_owned(), "0".to_owned())];
            assert_eq!(read_outputs(&file), expected);
        }
    }

    #[test]
    fn f2_a_summary_is_cut_on_a_character() {
        assert_eq!(step_summary("# plan"), "# plan\n");
        for filler in ["a", "ü", "€", "👩"] {
            let summary = step_summary(&filler.repeat(SUMMARY_LIMIT));
            assert!(summary.len() <= SUMMARY_LIMIT, "{}", summary.len());
            assert!(summary.len() > SUMMARY_LIMIT - 8, "{}", summary.len());
            assert!(summary.contains("… cut: the whole text has "));
        }
        let full = "a".repeat(SUMMARY_LIMIT - 1);
        assert_eq!(step_summary(&full).len(), SUMMARY_LIMIT);
    }

    proptest! {
        #[test]
        fn f5_no_text_becomes_a_command(parts in prop::collection::vec(
            prop_oneof![
                Just("::".to_owned()), Just(":".to_owned()), Just("#".to_owned()), Just("##".to_owned()),
                Just("[".to_owned()), Just("##[".to_owned()), Just("\n".to_owned()), Just("\r".to_owned()),
                Just(" ".to_owned()), Just("\\".to_owned()), Just("error".to_owned()), ".{0,3}",
                any::<char>().prop_map(String::from),
            ], 0..12))
        {
            check_inert(&parts.concat());
        }

        #[test]
        fn f5_any_output_reads_back(value in "(ktor_0{15}1_{0,2}|<<|\n|[a-z]){0,8}") {
            let file = set_output("name", &value, 1);
            prop_assert_eq!(read_outputs(&file), vec![("name".to_owned(), value)]);
        }
    }
}

//! Searches the files of charts for functions and values that make a rendering depend on more than its inputs.
//!
//! This module does not run templates. It looks for words in the actions, `{{ … }}`, and may therefore find a word that is
//! never evaluated.

use std::path::Path;

use crate::project::snapshot::{SourceError, SourcePlace};

/// The properties of the templates of a release.
#[expect(clippy::struct_excessive_bools, reason = "each of them is found independently of the others")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::render) struct Traits {
    /// Two renderings can differ.
    pub(in crate::render) can_differ: bool,
    /// The rendering can depend on the date.
    pub(in crate::render) reads_time: bool,
    /// The rendering depends on the number of upgrades, which is not known here.
    pub(in crate::render) reads_revision: bool,
    /// The rendering can depend on the API versions that the chart is told.
    pub(in crate::render) reads_capabilities: bool,
}

/// The functions whose results differ from call to call, or that list a map in any order.
const RANDOM: [&str; 8] = ["uuidv4", "shuffle", "bcrypt", "htpasswd", "encryptAES", "lookup", "keys", "values"];
/// The starts of the names of such functions.
const RANDOM_STARTS: [&str; 2] = ["rand", "gen"];
/// The functions that read the clock.
const TIME: [&str; 4] = ["now", "ago", "htmlDate", "htmlDateInZone"];
/// The starts of the names of functions that read the clock if their argument is not a time.
const TIME_STARTS: [&str; 2] = ["date", "mustDate"];
/// The methods that read a file of the chart.
const READS_FILE: [&str; 4] = [".Files.Get", ".Files.GetBytes", ".Files.Lines", ".Files.Glob"];

impl Traits {
    /// Returns the properties of templates whose text is not known.
    pub(super) const UNKNOWN: Self =
        Self { can_differ: true, reads_time: false, reads_revision: false, reads_capabilities: true };

    /// Adds the properties of other templates.
    pub(super) fn add_all(&mut self, other: Self) {
        self.can_differ |= other.can_differ;
        self.reads_time |= other.reads_time;
        self.reads_revision |= other.reads_revision;
        self.reads_capabilities |= other.reads_capabilities;
    }

    /// Adds the properties of a file.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        if !contains(bytes, b"{{") {
            return;
        }
        let text = String::from_utf8_lossy(bytes);
        self.reads_capabilities |= text.contains("Capabilities");
        for action in actions(&text) {
            for word in words(action.text) {
                self.can_differ |= is_one(word, &RANDOM, &RANDOM_STARTS) || is_one(word, &TIME, &TIME_STARTS);
                self.reads_revision |= word.contains("Release.IsUpgrade") || word.contains("Release.Revision");
            }
            let plain = without_strings(action.text);
            self.reads_time |= words(&plain).any(|word| is_one(word, &TIME, &TIME_STARTS));
        }
    }
}

/// Returns an error for each file outside the chart that a template names.
pub(super) fn outside(path: &Path, bytes: &[u8]) -> Vec<SourceError> {
    if !contains(bytes, b".Files.") {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(bytes);
    let mut errors = Vec::new();
    for action in actions(&text) {
        for method in READS_FILE {
            for (at, _) in action.text.match_indices(method) {
                let after = action.text[at + method.len()..].trim_start_matches([' ', '\t', '(']);
                let quoted = ['"', '`'].iter().find_map(|quote| after.strip_prefix(*quote)?.split_once(*quote));
                let Some((name, _)) = quoted else { continue };
                if name.starts_with('/') || name.split('/').any(|part| part == "..") {
                    let before = &text[..action.start + at];
                    let line = before.matches('\n').count() + 1;
                    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                    let message = "the template reads a file outside the chart, which Helm never finds: put a copy of the \
                                   file into the chart";
                    errors.push(SourceError::new(SourcePlace::new(path, line, column), message));
                }
            }
        }
    }
    errors
}

/// An action of a template.
struct Action<'a> {
    /// The start of the text in the file.
    start: usize,
    text: &'a str,
}

/// Returns the actions of a template, without its comments.
fn actions(text: &str) -> Vec<Action<'_>> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(start) = text[from..].find("{{").map(|at| from + at + 2) {
        let inner = text[start..].trim_start_matches('-').trim_start();
        if inner.starts_with("/*") {
            let Some(end) = text[start..].find("*/") else { break };
            from = start + end + 2;
            continue;
        }
        let end = text[start..].find("}}").map_or(text.len(), |at| start + at);
        found.push(Action { start, text: &text[start..end] });
        from = end;
    }
    found
}

/// Returns the words of an action: names of functions, and fields with everything before them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "_.$".contains(c))).filter(|word| !word.is_empty())
}

fn is_one(word: &str, all: &[&str], starts: &[&str]) -> bool {
    all.contains(&word) || starts.iter().any(|start| word.starts_with(start))
}

/// Returns an action without the texts in quotes. A quote that has no end is kept.
fn without_strings(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(start) = rest.find(['"', '`']) {
        let quote = &rest[start..=start];
        plain.push_str(&rest[..start]);
        plain.push(' ');
        rest = &rest[start + 1..];
        let mut end = None;
        let mut escaped = false;
        for (at, c) in rest.char_indices() {
            if !escaped && quote.starts_with(c) {
                end = Some(at);
                break;
            }
            escaped = c == '\\' && !escaped && quote == "\"";
        }
        match end {
            Some(end) => rest = &rest[end + 1..],
            None => break,
        }
    }
    plain.push_str(rest);
    plain
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn traits(text: &str) -> Traits {
        let mut traits = Traits::default();
        traits.add(text.as_bytes());
        traits
    }

    #[test]
    fn k6_every_function_of_chance_and_time_is_found() {
        for call in [
            "randAlphaNum 5",
            "randBytes 5 | b64enc",
            "genCA \"x\" 365",
            "genPrivateKey \"rsa\"",
            "uuidv4",
            "shuffle \"abc\"",
            "bcrypt .Values.password",
            "htpasswd \"a\" \"b\"",
            "encryptAES \"a\" \"b\"",
            "(lookup \"v1\" \"Secret\" \"a\" \"b\").data",
            "keys .Values.a | join \",\"",
            "tpl \"{{ randAlpha 5 }}\" .",
        ] {
            let found = traits(&format!("a: {{{{- {call} }}}}"));
            assert_eq!((found.can_differ, found.reads_time), (true, false), "{call}");
        }
        for call in ["now", "now | date \"2006\"", "dateInZone \"2006\" .x \"UTC\"", "ago .Values.x", "htmlDate 0"] {
            let found = traits(&format!("a: {{{{ {call} }}}}"));
            assert!(found.can_differ && found.reads_time, "{call}");
        }
        for text in [
            "a: {{ .Values.randAlpha }} {{ $now }} {{ .date }} {{ $.Values.keys }}",
            "{{/* uses randAlpha */}} {{- /* now */ -}}",
            "randAlpha now, without an action",
            "{{ .Values.x | toDate }} {{ sha256sum \"x\" }} {{ include \"x.y\" . }}",
        ] {
            assert_eq!(traits(text), Traits::default(), "{text}");
        }
        assert!(!traits("{{ default \"now\" .x }}").reads_time);
    }

    #[test]
    fn k6_reads_of_the_release_and_of_capabilities_are_found() {
        for text in ["{{ if .Release.IsUpgrade }}", "{{ $.Release.Revision }}", "{{ .root.Release.Revision }}"] {
            assert!(traits(text).reads_revision, "{text}");
        }
        assert!(!traits("{{ .Release.IsInstall }}{{ .Release.Name }}").reads_revision);
        assert!(traits("{{ .Capabilities.APIVersions.Has \"a\" }}").reads_capabilities);
        assert!(!traits("Capabilities").reads_capabilities);
    }

    #[test]
    fn k3_files_outside_the_chart_are_refused_at_their_place() {
        let shown = |text: &str| {
            let errors = outside(Path::new("t.yaml"), text.as_bytes());
            errors.iter().map(|error| error.place.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(shown("a: b\n  c: {{ .Files.Get \"/etc/passwd\" }}"), ["t.yaml:2:9"]);
        assert_eq!(shown("{{ ($.Files.Glob `../x/*`).AsConfig }}"), ["t.yaml:1:6"]);
        assert_eq!(
            shown("{{ .Files.Lines \"a/../../b\" }}{{.Files.GetBytes (\"/x\")}}"),
            ["t.yaml:1:4", "t.yaml:1:33"]
        );
        assert_eq!(shown("{{ .Files.Get \"a/b\" }}{{ .Files.Get .Values.x }} .Files.Get \"/x\""), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn any_text_is_searched_without_a_panic(text in "[{}a-z/*\"`é. \n-]{0,80}") {
            let _ = traits(&text);
            drop(outside(Path::new("x"), format!("{text}.Files.Get{text}").as_bytes()));
        }
    }
}

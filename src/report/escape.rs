//! Escapes untrusted text for terminals, logs, Markdown and HTML. It does not decide what a report says.

/// The maximum number of bytes of one name, path or value in a report.
pub(crate) const LONGEST: usize = 400;

/// The maximum number of bytes of a name in a heading or a footer.
pub(crate) const SHORT: usize = 120;

/// Writes every control, format or otherwise invisible character as an escape: `\n`, `\u{202e}`.
///
/// The result is one line, and its characters are displayed in the order in which they are written.
pub fn visible(text: &str) -> String {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_visible(character) { shown.push(character) } else { shown.extend(character.escape_default()) }
    }
    shown
}

/// Applies [`visible`] and escapes workflow commands: the result has no `::` at its start and no `##[` anywhere, so
/// that a workflow runner takes no line of a log for a command.
pub fn logged(line: &str) -> String {
    let line = visible(line).replace("##[", "#\\u{23}[");
    match line.trim_start().strip_prefix("::") {
        Some(rest) => format!("{}\\u{{3a}}:{rest}", &line[..line.len() - rest.len() - 2]),
        None => line,
    }
}

/// Cuts a text after at most `most` bytes, and adds the number of missing characters.
pub(crate) fn clipped(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    let (shown, missing) = text.split_at(end);
    format!("{shown}… ({} more characters)", missing.chars().count())
}

/// Returns a Markdown code span on one line. The content cannot end the span, and nothing in it becomes a link, a
/// mention or a reference.
pub fn code(text: &str) -> String {
    let mut text = clipped(&visible(text), LONGEST);
    if text.is_empty() {
        text.push(' ');
    }
    let ticks = "`".repeat(longest_run(&text) + 1);
    let edge = |c: char| c == '`' || c == ' ';
    // Markdown removes one space at both edges of a code span, unless the span has only spaces.
    let pad = if text != " " && (text.starts_with(edge) || text.ends_with(edge)) { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

/// Returns a code span for a table cell. Markdown readers treat a pipe in a code span differently, so it is written as
/// an escape.
pub fn cell(text: &str) -> String {
    code(&text.replace('|', "\\u{7c}"))
}

/// Returns a sentence as Markdown: plain words stay as they are, and everything else is put into code spans.
///
/// A name, a path, an option, or a word with characters that Markdown, HTML or a forge gives a meaning to is not plain.
/// In a code span it cannot become markup in any dialect of Markdown.
pub fn inert(text: &str) -> String {
    let text = clipped(&spaced(text), 3 * LONGEST);
    let mut shown: Vec<String> = Vec::new();
    let mut odd: Vec<&str> = Vec::new();
    for (index, word) in text.split_whitespace().enumerate() {
        if is_plain(word) && (index > 0 || !begins_a_list(word)) {
            if !odd.is_empty() {
                shown.push(code(&odd.join(" ")));
                odd.clear();
            }
            shown.push(word.to_owned());
        } else {
            odd.push(word);
        }
    }
    if !odd.is_empty() {
        shown.push(code(&odd.join(" ")));
    }
    shown.join(" ")
}

/// Returns a sentence for a table cell: as [`inert`], without a pipe.
pub fn inert_cell(text: &str) -> String {
    inert(&text.replace('|', "\\u{7c}"))
}

/// Returns a Markdown fence with the given language. The content cannot close the fence. [`visible`] is applied to each
/// line.
pub fn fence<'a>(language: &str, lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut body = String::new();
    for line in lines {
        body.push_str(&visible(line));
        body.push('\n');
    }
    let ticks = "`".repeat(fence_ticks(longest_run(&body)));
    format!("{ticks}{language}\n{body}{ticks}\n")
}

/// Returns the number of backticks for a fence around text whose longest run of backticks is `longest_run`.
pub(crate) fn fence_ticks(longest_run: usize) -> usize {
    (longest_run + 1).max(3)
}

/// Escapes text for HTML, on one line.
pub fn html(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in visible(text).chars() {
        match character {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\'' => shown.push_str("&#39;"),
            _ => shown.push(character),
        }
    }
    shown
}

/// Returns a Markdown link, or only `words` if the address is not an http or https URL of harmless characters.
pub fn link(words: &str, address: Option<&str>) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#=&%+,@".contains(c);
    match address {
        Some(address) if address.starts_with("https://") || address.starts_with("http://") => {
            if address.chars().all(safe) { format!("[{words}]({address})") } else { words.to_owned() }
        }
        _ => words.to_owned(),
    }
}

/// Returns a Markdown link to a path of the same site, or only `words` if the path is not one of harmless characters.
pub(crate) fn link_on_site(words: &str, path: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-._~/%#".contains(c);
    let is_path = path.starts_with('/') && !path.starts_with("//") && path.chars().all(safe);
    if is_path { format!("[{words}]({path})") } else { words.to_owned() }
}

/// Applies [`visible`] to each word, and joins the words with one space. White space only separates words here.
fn spaced(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(visible).collect();
    words.join(" ")
}

fn is_visible(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    // Letters and marks without a visible shape. The standard library counts them as printable.
    let blank = matches!(
        character,
        '\u{34f}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{ffa0}'
            | '\u{e0100}'..='\u{e01ef}'
    );
    // The standard library escapes a combining mark only at the start of a text. The check therefore puts a letter
    // before it.
    let after_a_letter: String = ['a', character].into_iter().collect();
    !blank && after_a_letter.escape_debug().nth(1) == Some(character)
}

/// Returns `true` if no Markdown reader and no forge gives the word a special meaning.
fn is_plain(word: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || ".,;:()'\"/-%?".contains(c);
    let lower = word.to_lowercase();
    let bare = lower.trim_start_matches(['(', '\'', '"']);
    let reference = ["gh-", "ghsa-", "cve-"].iter().any(|prefix| bare.starts_with(prefix));
    let commit = bare
        .split(|c: char| !c.is_ascii_hexdigit())
        .any(|run| run.len() >= 7 && run.contains(|c: char| c.is_ascii_digit()));
    let address = bare.contains("://") || bare.contains("www.");
    word.chars().all(allowed)
        && bare.starts_with(char::is_alphanumeric)
        && bare.matches(':').count() <= 1
        && !(reference || commit || address)
}

/// Returns `true` if the word starts a numbered list when it is first on a line.
fn begins_a_list(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with(['.', ')'])
}

/// Returns the length of the longest run of backticks in a text.
pub(crate) fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_shown_as_an_escape() {
        for (text, expected) in [
            ("a\r\n\tb\u{1b}[31m\u{7f}", "a\\r\\n\\tb\\u{1b}[31m\\u{7f}"),
            ("\u{202e}x\u{2066}\u{200b}\u{feff}\u{e0041}", "\\u{202e}x\\u{2066}\\u{200b}\\u{feff}\\u{e0041}"),
            ("\u{85}\u{2028}\u{3164}\u{a0}", "\\u{85}\\u{2028}\\u{3164}\\u{a0}"),
            ("Grüße, 世界 e\u{301} नमस्ते \"x\\y'", "Grüße, 世界 e\u{301} नमस्ते \"x\\y'"),
        ] {
            assert_eq!(visible(text), expected);
        }
    }

    #[test]
    fn f5_no_line_of_a_log_is_a_workflow_command() {
        for (line, expected) in [
            ("  ::error::x", "  \\u{3a}:error::x"),
            ("a ##[group]b", "a #\\u{23}[group]b"),
            ("x\r::error::y", "x\\r::error::y"),
            ("a::b", "a::b"),
        ] {
            assert_eq!(logged(line), expected);
        }
    }

    #[test]
    fn code_spans_hold_any_backticks() {
        for (text, expected) in
            [("a", "`a`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("``a", "``` ``a ```"), ("", "` `"), (" a", "`  a `")]
        {
            assert_eq!(code(text), expected);
        }
        assert_eq!(cell("a|b"), "`a\\u{7c}b`");
    }

    #[test]
    fn fences_hold_any_fence() {
        assert_eq!(fence("diff", ["```", "x\n~~~"]), "````diff\n```\nx\\n~~~\n````\n");
    }

    #[test]
    fn f5_sentences_keep_their_words_and_lose_their_markup() {
        for (text, expected) in [
            ("Deployment.apps shop/web belongs to demo.a.", "Deployment.apps shop/web belongs to demo.a."),
            ("ask @org/team, see #12 or GH-12", "ask `@org/team,` see `#12` or `GH-12`"),
            ("see https://evil.example or www.evil.example", "see `https://evil.example` or `www.evil.example`"),
            ("[click here](x) <!-- </details>", "`[click here](x) <!-- </details>`"),
            ("1. a\n# b\n- c", "`1.` a `#` b `-` c"),
            ("at 0123456789abcdef, 12 :smile: a|b", "at `0123456789abcdef,` 12 `:smile: a|b`"),
            ("*a* _b_ ~c~ $d$ `e`", "`` *a* _b_ ~c~ $d$ `e` ``"),
            ("x\u{202e}y", "`x\\u{202e}y`"),
        ] {
            assert_eq!(inert(text), expected);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters_and_counted() {
        assert_eq!(clipped("ääää", 5), "ää… (2 more characters)");
        assert_eq!(clipped("abc", 3), "abc");
    }

    #[test]
    fn only_a_harmless_address_is_linked() {
        assert_eq!(link("the run", Some("https://forge.example/a/b?c=1")), "[the run](https://forge.example/a/b?c=1)");
        for address in [None, Some("javascript:x"), Some("https://x/) [y](z"), Some("https://x/<b>")] {
            assert_eq!(link("the run", address), "the run");
        }
        assert_eq!(link_on_site("a", "/a/b/blob/0/c%20d.yaml#L7"), "[a](/a/b/blob/0/c%20d.yaml#L7)");
        for path in ["//evil.example/x", "a", "https://x", "/a) [y](z", "/a b"] {
            assert_eq!(link_on_site("a", path), "a");
        }
    }
}

//! Quotes untrusted text as one word of a command that a user pastes into a shell.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Quotes a text so that every POSIX shell reads it as one word, which is the text, and executes nothing in it.
///
/// The word is printable ASCII without a backtick, and no log takes it for a workflow command. A text that cannot be
/// shown in this way is encoded for `printf`. A text that ends with a line break is written in the syntax of bash, ksh
/// and zsh, because the shell would remove that line break from the output of `printf`. In another shell, this syntax
/// is a wrong but harmless word.
pub fn quoted(text: &str) -> String {
    word(OsStr::new(text))
}

/// Quotes a path in the same way as [`quoted`].
pub fn quoted_path(path: &Path) -> String {
    word(path.as_os_str())
}

fn word(text: &OsStr) -> String {
    match text.to_str() {
        Some(text) if is_bare(text) => text.to_owned(),
        Some(text) if is_shown(text) => single_quoted(text),
        _ if text.as_bytes().ends_with(b"\n") => format!("$'{}'", spelt_out(text.as_bytes(), "\\")),
        _ => format!("\"$(printf %b '{}')\"", spelt_out(text.as_bytes(), "\\0")),
    }
}

/// Returns `true` if every shell reads the text as itself without quotes, as an argument of a command.
fn is_bare(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./_-".contains(&byte);
    let begins_plainly = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    begins_plainly && !text.contains("::") && text.bytes().all(is_plain)
}

/// Returns `true` if every report shows the text unchanged. Some reports join several spaces into one, and a backtick
/// would end the command.
fn is_shown(text: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'`';
    text.bytes().all(is_plain) && !text.contains("  ") && text.trim() == text
}

/// Quotes a text with single quotes, in which no character has a meaning. Extra quotes split `::` and `##`, so that a
/// workflow runner finds no command in the log.
fn single_quoted(text: &str) -> String {
    let mut word = String::from("'");
    let mut last = None;
    for character in text.chars() {
        match character {
            '\'' => word.push_str(r"'\''"),
            ':' | '#' if last == Some(character) => {
                word.push_str("''");
                word.push(character);
            }
            _ => word.push(character),
        }
        last = Some(character);
    }
    word.push('\'');
    word
}

/// Encodes every byte that is not plain as an escape of three octal digits. A digit after the escape does not become
/// part of it.
fn spelt_out(text: &[u8], escape: &str) -> String {
    let escaped = text.iter().map(|byte| match byte {
        b' ' | b'-' | b'.' | b'/' | b'_' => char::from(*byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
        _ => format!("{escape}{byte:03o}"),
    });
    // Some reports join two spaces into one.
    escaped.collect::<String>().replace("  ", &format!("{escape}040{escape}040"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x15_a_word_is_plain_where_it_can_be_and_inert_where_it_cannot() {
        for (text, expected) in [
            ("karellen/shop#1", "'karellen/shop#1'"),
            ("maria@laptop", "maria@laptop"),
            ("karellen/shop run 7 attempt 1", "'karellen/shop run 7 attempt 1'"),
            ("$(touch pwned)", "'$(touch pwned)'"),
            ("it's", r"'it'\''s'"),
            ("-x", "'-x'"),
            ("", "''"),
            ("a`b`", r#""$(printf %b 'a\0140b\0140')""#),
            ("x\n", r"$'x\012'"),
            ("##[error]x", "'#''#[error]x'"),
            ("::error::x", "':'':error:'':x'"),
            ("ü", r#""$(printf %b '\0303\0274')""#),
            ("a\nb", r#""$(printf %b 'a\0012b')""#),
            ("two  spaces", r#""$(printf %b 'two\0040\0040spaces')""#),
            ("\u{202e}x\t", r#""$(printf %b '\0342\0200\0256x\0011')""#),
        ] {
            assert_eq!(quoted(text), expected);
        }
        let path = Path::new(OsStr::from_bytes(b"/srv/\xff'"));
        assert_eq!(quoted_path(path), r#""$(printf %b '/srv/\0377\0047')""#);
    }
}

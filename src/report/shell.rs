//! Untrusted text as one word of a command that someone pastes into a shell.

/// Writes a text so that a shell reads it as one word, which is the text, and nothing else.
///
/// The word is printable, and holds nothing that a log, Markdown or HTML reads as its own. A text with other characters
/// than plain ones is written as bash, ksh and zsh read it; another shell finds an inert word.
pub fn quoted(text: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./_-".contains(&byte);
    let is_inert = |byte: u8| is_bare(byte) || b" (){}|;?!~^#".contains(&byte);
    let begins_plainly = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    if begins_plainly && !text.contains("::") && text.bytes().all(is_bare) {
        return text.to_owned();
    }
    if !text.contains("::") && !text.contains("##") && text.bytes().all(is_inert) {
        return format!("'{text}'");
    }
    let escaped = text.bytes().map(|byte| match byte {
        b' ' | b'-' | b'.' | b'/' | b'_' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        // Always three digits: no digit after it becomes part of the escape.
        _ => format!("\\{byte:03o}"),
    });
    format!("$'{}'", escaped.collect::<String>())
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
            ("$(touch pwned)", r"$'\044\050touch pwned\051'"),
            ("it's", r"$'it\047s'"),
            ("-x", "'-x'"),
            ("", "''"),
            ("a`b`", r"$'a\140b\140'"),
            ("##[error]x", r"$'\043\043\133error\135x'"),
            ("::error::x", r"$'\072\072error\072\072x'"),
            ("ü\n", r"$'\303\274\012'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}

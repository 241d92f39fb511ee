//! Refuses text that a YAML 1.2 parser accepts and kubectl refuses or reads differently: tabs, keys over several lines,
//! and a few escapes.
//!
//! Each check receives source text and returns a message about the problem. Another module reads the parser's events.

/// The message for a tab in a place where kubectl expects spaces.
pub(super) const TAB: &str = "a tab is no indentation in YAML: use spaces";

/// Checks the text of a double-quoted scalar, including its quotes.
pub(super) fn check_escapes(source: &str) -> Result<(), &'static str> {
    let mut characters = source.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            continue;
        }
        match characters.next() {
            Some('/') => return Err("kubectl does not know the escape `\\/` in YAML: write `/`"),
            Some('u') => {
                let mut digits = characters.clone();
                let high = matches!(digits.next(), Some('d' | 'D'));
                if high && digits.next().is_some_and(|c| matches!(c, '8' | '9' | 'a'..='f' | 'A'..='F')) {
                    return Err(
                        "kubectl reads no surrogate escapes in YAML: write the character, or `\\U` and 8 digits",
                    );
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks the name of an anchor, and the text after it.
pub(super) fn check_anchor(name: &str, after: &str) -> Result<(), &'static str> {
    let known = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !known {
        return Err("kubectl knows letters, digits, `_` and `-` in the name of an anchor: choose another name");
    }
    if after.starts_with(|c: char| !c.is_whitespace() && !"?:,]}%@`".contains(c)) {
        return Err("kubectl wants a space after the name of an anchor: put one there");
    }
    Ok(())
}

/// Checks the text after a tag.
pub(super) fn check_tag(after: &str) -> Result<(), &'static str> {
    if after.starts_with(|c: char| !c.is_whitespace()) {
        return Err("kubectl wants a space after a tag: put one there");
    }
    Ok(())
}

/// Checks a literal or folded block. kubectl finds the indentation of a block only by its spaces.
///
/// `before` is the source text before the block. `source` is the text of the block, which may or may not include its
/// header.
pub(super) fn check_block(before: &str, source: &str, text: &str) -> Result<(), &'static str> {
    let begins_with_tab = text.trim_start_matches('\n').starts_with('\t');
    if !begins_with_tab {
        return Ok(());
    }
    let header =
        if source.starts_with(['|', '>']) { source.lines().next() } else { before.trim_end().lines().next_back() };
    let indicators = header.and_then(|line| line.rsplit(['|', '>']).next()).unwrap_or_default();
    let mut indicators = indicators.chars().take_while(|c| !c.is_whitespace());
    if indicators.any(|c| c.is_ascii_digit()) {
        return Ok(());
    }
    Err("this block begins with a tab: indent it with spaces, or give its indentation, as in `|2`")
}

/// The text between two nodes, outside of flow collections.
pub(super) struct Gap<'a> {
    pub(super) text: &'a str,
    /// `true` if the text is at the start of a line.
    pub(super) at_line_start: bool,
    /// After a plain scalar, the first column, from 0, in which a tab is allowed. `None` if a tab is not allowed in any
    /// column.
    pub(super) plain_below: Option<usize>,
}

impl Gap<'_> {
    /// Finds a tab in the indentation of a line. Returns its line, counted from 0 at the start of the gap, and its
    /// column, from 0.
    pub(super) fn tab(&self) -> Option<(usize, usize)> {
        if !self.text.contains('\t') {
            return None;
        }
        let skipped = usize::from(!self.at_line_start);
        // A colon shows that the plain scalar was a key. It cannot continue on a further line.
        let was_key = self.text.trim_start_matches([' ', '\t']).starts_with(':');
        let mut plain_below = self.plain_below.filter(|_| !was_key);
        for (index, line) in self.text.split('\n').enumerate().skip(skipped) {
            let indentation = line.find(|c| !matches!(c, ' ' | '-' | '?' | ':')).unwrap_or(line.len());
            if line[..indentation].contains(['-', '?', ':']) {
                plain_below = None;
            }
            if line[indentation..].starts_with('\t') && plain_below.is_none_or(|below| indentation < below) {
                return Some((index, indentation));
            }
        }
        None
    }
}

/// Checks a plain scalar within a flow collection, and the text after it.
pub(super) fn check_flow_plain(source: &str, after: &str) -> Result<(), &'static str> {
    if source.starts_with(':') || source.contains('?') {
        return Err("kubectl takes `?` and a leading `:` within brackets for YAML's own signs: put the text in quotes");
    }
    let mut following = after.trim_start_matches([' ', '\t']).chars();
    if following.next() == Some(':') && following.next().is_some_and(|c| ",[]{}".contains(c)) {
        return Err("kubectl takes this colon for a part of the text: put a space after it");
    }
    Ok(())
}

/// Checks a key within a flow collection, and the text after it.
pub(super) fn check_flow_key(source: &str, after: &str) -> Result<(), &'static str> {
    if source.contains('\n') {
        return Err("kubectl reads no key over several lines: write it on one");
    }
    let gap = after.trim_start_matches([' ', '\t']);
    if gap.starts_with(['\n', '\r']) && gap.trim_start().starts_with(':') {
        return Err("kubectl wants the colon on the line of its key: move it there");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs_are_found_in_indentation_alone() {
        let check = |text: &str, at_line_start: bool, plain_below: Option<usize>, expected: Option<(usize, usize)>| {
            assert_eq!(Gap { text, at_line_start, plain_below }.tab(), expected, "{text:?}");
        };
        check(" \t# x\n  ", false, None, None);
        check("\n\t\n", false, None, Some((1, 0)));
        check("\n  \t", false, None, Some((1, 2)));
        check("-\t", true, None, Some((0, 1)));
        check("\n  # x\ty\n", false, None, None);
        check("\n   \t\n", false, Some(1), None);
        check("\n\t\n", false, Some(1), Some((1, 0)));
        check("\n-\t", false, Some(1), Some((1, 1)));
        check(":\n   \t", false, Some(1), Some((1, 3)));
        check("\n-\n \t", false, Some(1), Some((2, 1)));
        check("\n:\t", false, Some(1), Some((1, 1)));
    }
}

//! Rust source as far as the architecture test reads it: code without comments, literals and tests, and the paths that
//! it names.

/// Returns the code of a file. Comments and literals are blanked, and test modules are removed.
pub fn code(text: &str) -> String {
    without_tests(&blanked(text))
}

/// A token of code.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// The separator `::`.
    Separator,
    Mark(char),
}

/// A path that code names. It is absolute, even if it began with `crate`, `self` or `super` in the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The segments of the path. A path within the package begins with `crate`. A glob ends with `*`.
    pub segments: Vec<String>,
    /// `true` if a `use` brings the path into scope, so that code can name the items below it without the whole path.
    pub imported: bool,
}

/// Returns the words of some code, each with the character after it.
pub fn words(code: &str) -> Vec<(String, Option<char>)> {
    let tokens = tokens(code);
    let after = |index: usize| match tokens.get(index + 1) {
        Some(Token::Mark(mark)) => Some(*mark),
        _ => None,
    };
    let words = tokens.iter().enumerate().filter_map(|(index, token)| match token {
        Token::Word(word) => Some((word.clone(), after(index))),
        _ => None,
    });
    words.collect()
}

/// Returns every path that the code of the module `module` names.
pub fn named(code: &str, module: &[&str]) -> Vec<Named> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut modules: Vec<String> = module.iter().map(ToString::to_string).collect();
    // The depth of braces at which each inline module ends.
    let mut ends = Vec::new();
    let (mut depth, mut index, mut using) = (0_usize, 0, false);
    while let Some(token) = tokens.get(index) {
        match token {
            Token::Word(word) if word == "mod" && matches!(tokens.get(index + 2), Some(Token::Mark('{'))) => {
                if let Some(Token::Word(name)) = tokens.get(index + 1) {
                    modules.push(name.clone());
                    ends.push(depth);
                }
                index += 2;
                continue;
            }
            Token::Word(word) if word == "use" => using = true,
            Token::Word(word) if word == "pub" => index += visibility(&tokens[index + 1..]),
            Token::Word(_) => {
                let mut reader = Reader { tokens: &tokens, index, found: Vec::new() };
                reader.tree(&mut Vec::new());
                index = reader.index;
                let paths = reader.found.into_iter().filter(|path| using || path.len() > 1);
                found.extend(paths.map(|path| Named { segments: absolute(path, &modules), imported: using }));
                continue;
            }
            Token::Mark('{') => depth += 1,
            Token::Mark('}') => {
                depth = depth.saturating_sub(1);
                if ends.last() == Some(&depth) {
                    ends.pop();
                    modules.pop();
                }
            }
            Token::Mark(';') => using = false,
            Token::Mark(_) | Token::Separator => {}
        }
        index += 1;
    }
    found
}

/// Returns the number of tokens after `pub` that restrict its visibility: `(crate)`, `(in super::super)`.
fn visibility(after: &[Token]) -> usize {
    let restricts = |word: &str| matches!(word, "crate" | "self" | "super" | "in");
    match after {
        [Token::Mark('('), Token::Word(word), ..] if restricts(word) => {
            after.iter().position(|token| *token == Token::Mark(')')).map_or(0, |end| end + 1)
        }
        _ => 0,
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    index: usize,
    found: Vec<Vec<String>>,
}

impl Reader<'_> {
    /// Reads a path, or a tree of paths in braces, that continues `before`.
    fn tree(&mut self, before: &mut Vec<String>) {
        let length = before.len();
        loop {
            match self.tokens.get(self.index) {
                Some(Token::Word(word)) => before.push(word.clone()),
                Some(Token::Mark('*')) if !before.is_empty() => before.push("*".to_owned()),
                Some(Token::Mark('{')) if !before.is_empty() => {
                    self.group(before);
                    break;
                }
                // This is a turbofish. The paths in it are read as separate paths.
                _ => {
                    self.found.push(before.clone());
                    break;
                }
            }
            self.index += 1;
            if self.tokens.get(self.index) == Some(&Token::Separator) {
                self.index += 1;
            } else {
                self.found.push(before.clone());
                break;
            }
        }
        before.truncate(length);
    }

    fn group(&mut self, before: &mut Vec<String>) {
        self.index += 1;
        while let Some(token) = self.tokens.get(self.index) {
            match token {
                Token::Mark('}') => {
                    self.index += 1;
                    return;
                }
                Token::Word(word) if word == "as" => self.index += 2,
                Token::Word(word) if word == "self" => {
                    self.found.push(before.clone());
                    self.index += 1;
                }
                Token::Word(_) | Token::Mark('*' | '{') => self.tree(before),
                Token::Mark(_) | Token::Separator => self.index += 1,
            }
        }
    }
}

/// Returns a path with its leading `crate`, `self` and `super` replaced. A path beyond the crate's root becomes the
/// root.
fn absolute(path: Vec<String>, module: &[String]) -> Vec<String> {
    let mut at = match path[0].as_str() {
        "crate" | "ktor_action" => Vec::new(),
        "self" | "super" => module.to_vec(),
        _ => return path,
    };
    let mut rest = path.as_slice();
    while let Some((first, after)) = rest.split_first() {
        match first.as_str() {
            "super" => drop(at.pop()),
            "self" | "crate" | "ktor_action" => {}
            _ => break,
        }
        rest = after;
    }
    std::iter::once("crate".to_owned()).chain(at).chain(rest.iter().cloned()).collect()
}

fn tokens(code: &str) -> Vec<Token> {
    let characters: Vec<char> = code.chars().collect();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut index = 0;
    while let Some(&c) = characters.get(index) {
        let word: String = characters[index..].iter().copied().take_while(|c| is_word(*c)).collect();
        if !word.is_empty() {
            index += word.chars().count();
            tokens.push(Token::Word(word));
        } else if c == ':' && characters.get(index + 1) == Some(&':') {
            tokens.push(Token::Separator);
            index += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(Token::Mark(c));
            }
            index += 1;
        }
    }
    tokens
}

/// Returns the text with spaces in place of comments and literals. Lines stay where they are.
fn blanked(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut result = String::with_capacity(text.len());
    let mut index = 0;
    let mut in_word = false;
    while index < characters.len() {
        let rest = &characters[index..];
        let skipped = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => quoted(rest, '"'),
            ['\'', '\\', ..] => quoted(rest, '\''),
            ['\'', _, '\'', ..] => 3,
            ['r', '"' | '#', ..] if !in_word => raw_string(rest),
            ['b' | 'c', 'r', '"' | '#', ..] if !in_word => raw_string(&rest[1..]).checked_add(1).unwrap_or(0),
            _ => 0,
        };
        // A raw identifier, such as `r#type`, is not a literal.
        let skipped = if skipped == 1 { 0 } else { skipped };
        if skipped == 0 {
            in_word = rest[0].is_alphanumeric() || rest[0] == '_';
            result.push(rest[0]);
            index += 1;
        } else {
            in_word = false;
            result.extend(rest[..skipped].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            index += skipped;
        }
    }
    result
}

fn block_comment(text: &[char]) -> usize {
    let (mut depth, mut index) = (0_usize, 0);
    while index < text.len() {
        match text[index..] {
            ['/', '*', ..] => (depth, index) = (depth + 1, index + 2),
            ['*', '/', ..] => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    text.len()
}

fn quoted(text: &[char], quote: char) -> usize {
    let mut index = 1;
    while let Some(c) = text.get(index) {
        index += if *c == '\\' { 2 } else { 1 };
        if *c == quote {
            break;
        }
    }
    index.min(text.len())
}

fn raw_string(text: &[char]) -> usize {
    let hashes = text[1..].iter().take_while(|c| **c == '#').count();
    if text.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let content = &text[2 + hashes..];
    let length = content.windows(end.len()).position(|window| window == end).unwrap_or(content.len());
    (2 + hashes + length + end.len()).min(text.len())
}

/// Removes each `#[cfg(test)] mod NAME { … }` that begins at the start of a line. The formatter makes it end there too.
fn without_tests(code: &str) -> String {
    let mut kept = Vec::new();
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        let opens = |next: &&str| next.starts_with("mod ") && next.trim_end().ends_with('{');
        if line.trim_end() == "#[cfg(test)]" && lines.peek().is_some_and(opens) {
            lines.by_ref().find(|line| line.trim_end() == "}");
        } else {
            kept.push(line);
        }
    }
    kept.join("\n")
}

mod tests {
    use super::*;

    fn names(code: &str, module: &[&str]) -> Vec<String> {
        named(code, module).into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let text =
            "a /* b /* c */ d */ e // f\n\"g \\\" h\" i 'j' '\\'' k<'l> r#\"m \" n\"# o br\"p\" q r#type b'\"' s";
        let left: Vec<_> = words(&code(text)).into_iter().map(|(word, _)| word).collect();
        assert_eq!(left, ["a", "e", "i", "k", "l", "o", "q", "r", "type", "b", "s"]);
    }

    #[test]
    fn only_modules_of_tests_are_taken_out() {
        let text = "a\n#[cfg(test)]\nfn b() {}\n#[cfg(test)]\nmod tests {\n    c\n    }\n}\nd\n";
        assert_eq!(code(text), "a\n#[cfg(test)]\nfn b() {}\nd");
        assert_eq!(code("#[cfg(test)]\nmod tests {\n  \"\n}\n\"\n x\n}\ny"), "y");
    }

    #[test]
    fn paths_are_found_in_imports_and_in_place() {
        let module = ["plan", "build"];
        for (code, expected) in [
            ("use crate::git::Repository;", &["crate::git::Repository"][..]),
            ("use crate::{git::{self, changed}, run::*};", &["crate::git", "crate::git::changed", "crate::run::*"]),
            ("use super::change as c;", &["crate::plan::change"]),
            ("pub(crate) use super::super::git;", &["crate::git"]),
            ("pub(in super::super) fn a() {}", &[]),
            ("fn a(b: crate::git::B) -> self::C<D::E> {}", &["crate::git::B", "crate::plan::build::C", "D::E"]),
            ("ktor_action::git::x::<super::Y>()", &["crate::git::x", "crate::plan::Y"]),
            ("mod inner { fn a() { super::b() } } fn c() { super::d() }", &["crate::plan::build::b", "crate::plan::d"]),
            ("::std::fs::read(x)", &["std::fs::read"]),
            ("use std::{fs as f, io};", &["std::fs", "std::io"]),
            ("use kube;", &["kube"]),
            ("let kube = a.b; c * d", &[]),
            ("use crate as c;", &["crate"]),
        ] {
            let found: Vec<_> =
                names(code, &module).into_iter().filter(|name| !matches!(&name[..], "c" | "as")).collect();
            assert_eq!(found, expected, "{code}");
        }
    }
}

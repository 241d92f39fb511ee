//! The check of a text that another job wrote: it must be a text that this program could have written, and have no effect
//! outside of its own section.
//!
//! The check accepts less than Markdown allows. A text ends as it begins: every fence, code span and HTML element that it
//! opens is closed in it, and it has no HTML comment, no image, no mention, and no heading above the third level except in
//! its first line. Links lead to the forge only.

use super::super::escape::visible;
use super::named;

/// The elements that a report has. Each is closed in the report.
const ELEMENTS: [&str; 5] = ["details", "summary", "code", "sub", "b"];

/// The first words of a report, before the names of its root and target.
const OPENINGS: [&str; 4] = ["## ", "## Offline plan of ", "## Plan for ", "## No plan for "];

/// The signs of an alert.
const ALERTS: [&str; 3] = ["[!CAUTION]", "[!WARNING]", "[!NOTE]"];

/// The languages of a fence.
const LANGUAGES: [&str; 4] = ["", "diff", "text", "yaml"];

/// Returns `true` if a text can be the section of a root and a target in a comment of several plans. `site` is the address
/// of the forge, without a slash at its end.
pub fn is_contained(text: &str, root: &str, target: &str, site: &str) -> bool {
    text.lines().next().is_some_and(|first| opens(first, root, target)) && Reader::new(site).reads(text)
}

/// Returns `true` if the first line of a report names the root and the target.
fn opens(line: &str, root: &str, target: &str) -> bool {
    let name = named(root, target);
    let rest = OPENINGS.iter().find_map(|opening| line.strip_prefix(opening)?.strip_prefix(&name));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ':']))
}

/// The state between two lines.
struct Reader<'a> {
    site: &'a str,
    /// The number of backticks of the open fence, or 0.
    fence: usize,
    /// `true` in a block of HTML, where Markdown has no effect. An empty line ends it.
    in_html: bool,
    /// The open elements, the innermost last.
    open: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    fn new(site: &'a str) -> Self {
        Self { site, fence: 0, in_html: false, open: Vec::new() }
    }

    fn reads(mut self, text: &str) -> bool {
        let (title, rest) = text.split_once('\n').unwrap_or((text, ""));
        // A heading of this level is for the first line only.
        let is_title = title.strip_prefix("## ").is_some_and(|title| self.line(title).is_some());
        is_title && rest.lines().all(|line| self.line(line).is_some()) && self.fence == 0 && self.open.is_empty()
    }

    /// Reads a line. Returns `None` if it must not stand in a section.
    fn line(&mut self, line: &str) -> Option<()> {
        if visible(line) != line {
            return None;
        }
        let ticks = line.len() - line.trim_start_matches('`').len();
        if self.fence > 0 {
            let bare = line.trim();
            let closing = bare.bytes().all(|byte| byte == b'`') && bare.len() >= self.fence;
            return match closing {
                false => Some(()),
                true if line.len() == self.fence => {
                    self.fence = 0;
                    Some(())
                }
                true => None,
            };
        }
        if line.is_empty() {
            self.in_html = false;
            return Some(());
        }
        if ticks >= 3 && LANGUAGES.contains(&&line[ticks..]) {
            // In a block of HTML, this would be no fence, and the next empty line would end what looks like one.
            self.fence = if self.in_html { return None } else { ticks };
            return Some(());
        }
        let content = line.trim_start_matches(['>', ' ']);
        if content.starts_with('<') && !line.starts_with('<') {
            return None;
        }
        self.in_html |= begins_html(line);
        let is_underline = |sign| !content.is_empty() && content.chars().all(|c| c == sign || c == ' ');
        if line.starts_with("   ") || is_underline('=') || is_underline('-') {
            return None;
        }
        self.words(content)
    }

    /// Reads the content of a line.
    fn words(&mut self, content: &str) -> Option<()> {
        let mut rest = content.strip_prefix("### ").unwrap_or(content);
        rest = ALERTS.iter().find_map(|sign| rest.strip_prefix(sign)).unwrap_or(rest);
        let is_tagged = content.starts_with('<');
        let mut has_word = false;
        while let Some(c) = rest.chars().next() {
            has_word |= c.is_alphanumeric();
            let next = &rest[c.len_utf8()..];
            rest = match c {
                // After a sign of a list, a tag would begin a block of HTML in the list.
                '<' if is_tagged || has_word && ["</sub>", "<br>"].iter().any(|tag| rest.starts_with(tag)) => {
                    self.after_tag(rest)?
                }
                '<' | '>' => return None,
                '&' => ["&lt;", "&gt;", "&amp;", "&quot;", "&#39;"].iter().find_map(|name| rest.strip_prefix(name))?,
                // Markdown has no effect in HTML, and a forge changes nothing inside of this element.
                _ if self.in_html && self.open.last() == Some(&"code") => next,
                '`' if !self.in_html => after_code(rest)?,
                '[' => after_link(rest, self.site, self.in_html)?,
                '\\' => next.strip_prefix(|c: char| c.is_alphanumeric())?,
                ']' | '@' | '#' | '~' | '$' | '^' => return None,
                _ if ["![", "://", "www."].iter().any(|sign| rest.starts_with(sign)) => return None,
                _ => next,
            };
        }
        Some(())
    }

    /// Reads a tag, and returns the text after it.
    fn after_tag<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        if let Some(rest) = text.strip_prefix("<br>") {
            return Some(rest);
        }
        let (tag, rest) = text.strip_prefix('<')?.split_once('>')?;
        if let Some(name) = tag.strip_prefix('/') {
            return (self.open.pop()? == name).then_some(rest);
        }
        let name = if tag == "details open" { "details" } else { tag };
        self.open.push(ELEMENTS.iter().find(|element| **element == name)?);
        Some(rest)
    }
}

/// Returns `true` if a line begins a block of HTML: with an element that Markdown knows as a block, or with a tag alone.
fn begins_html(line: &str) -> bool {
    let is_block = ["<details", "</details", "<summary", "</summary"].iter().any(|tag| line.starts_with(tag));
    is_block || line.starts_with('<') && line.split_once('>').is_none_or(|(_, rest)| rest.trim().is_empty())
}

/// Returns the text after the code span that a text begins with. The span ends on the same line.
fn after_code(text: &str) -> Option<&str> {
    let ticks = text.len() - text.trim_start_matches('`').len();
    let mut rest = &text[ticks..];
    loop {
        rest = &rest[rest.find('`')?..];
        let run = rest.len() - rest.trim_start_matches('`').len();
        rest = &rest[run..];
        if run == ticks {
            return Some(rest);
        }
    }
}

/// Returns the text after the link that a text begins with. It has one code span or plain words, and leads to a page of the
/// forge.
fn after_link<'t>(text: &'t str, site: &str, in_html: bool) -> Option<&'t str> {
    let inner = &text[1..];
    let rest = if inner.starts_with('`') && !in_html {
        after_code(inner)?
    } else {
        inner.trim_start_matches(|c: char| c.is_alphanumeric() || " .,:-".contains(c))
    };
    let (address, rest) = rest.strip_prefix("](")?.split_once(')')?;
    let path = address.strip_prefix(site).unwrap_or(address);
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "-._~/%#?=&".contains(c);
    (path.starts_with('/') && !path.starts_with("//") && path.chars().all(is_safe)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag};

    const SITE: &str = "https://github.com";

    fn accepts(body: &str) -> bool {
        is_contained(&format!("## `shop` (`prod`): 1 to delete\n\n{body}"), "shop", "prod", SITE)
    }

    #[test]
    fn f17_what_a_report_has_is_accepted() {
        for body in [
            "",
            "**Routine:** nothing is deleted, replaced or kept, and no change is risky.",
            "> [!CAUTION]\n> **Refused.** An apply would stop here:\n>\n> - `a`: x. To allow it: `--allow-empty`.",
            "### 1 to delete\n\n| object | |\n|---|---|\n| ``a`b`` | [`y.yaml`](/acme/shop/blob/bc/y.yaml#L7) |",
            "<details open><summary><b><code>demo.a</code></b>: 1</summary>\n\n`x` · update\n```diff\n+ <!-- -->\n```\n\n</details>",
            "````text\n```\n@org/team # <script>\n````",
            "```yaml\n# a comment\n## another\n```",
            "<sub>Scope: `demo` · [run](https://github.com/acme/shop/actions/runs/1)<br>\nDigest: `ab`</sub>",
            "🔴 `<!--` → `@org/team`",
        ] {
            assert!(accepts(body), "{body}");
        }
        assert!(is_contained("## Offline plan of `shop`: 1 to create", "shop", "shop", SITE));
        assert!(is_contained("## No plan for `shop`\n", "shop", "shop", SITE));
    }

    #[test]
    fn f17_what_reaches_out_of_a_section_is_refused() {
        for body in [
            "<!--",
            "text <!-- ktor-action:end -->",
            "<details>",
            "</details>",
            "<details>\n</sub>",
            "<details><summary>x</details></summary>",
            "<details>\n`<!--`\n</details>",
            "  <details>\n`<!--`\n  </details>",
            "> <sub>\n> `<!--`\n> </sub>",
            "- </sub>\n  `<!--`",
            "- <details>\n  `<!--`\n</details>",
            "<sub>\n`<!--`\n</sub>",
            "<details>\n```\n</details>",
            "<script>alert(1)</script>",
            "<a href=\"https://evil.example\">x</a>",
            "<details ontoggle=alert(1)>\n\n</details>",
            "`a",
            "`a\nb`",
            "``a`",
            "```",
            "```\ntext",
            "```html\n```",
            "````\n```",
            "```\n ```\ntext",
            "> ```\n> x",
            "~~~\ntext",
            "# other",
            "## `shop` (`prod`): nothing to do",
            "> ## other",
            "other\n===",
            "other\n---",
            "> other\n> ---",
            "    code",
            "\tcode",
            "@org/team",
            "see #12",
            "https://evil.example",
            "www.evil.example",
            "[x](https://evil.example)",
            "[x](//evil.example)",
            "[x](https://github.com.evil.example/)",
            "[x](https://github.com@evil.example/)",
            "[x](javascript:alert)",
            "![x](/acme/x.png)",
            "[x]: /acme",
            "[x][y]",
            "[`x](/a)`",
            "a &#64;org",
            "\\`a`",
            "a\\",
            "x\u{202e}y",
            "\u{1b}[2J",
            "$x$",
        ] {
            assert!(!accepts(body), "{body:?}");
        }
        for first in [
            "",
            "## `other`: 1",
            "## `shop` (`dev`): 1",
            "## `shop`: 1",
            "text",
            "# `shop` (`prod`)",
            "## `shop` (`prod`)x",
        ] {
            assert!(!is_contained(first, "shop", "prod", SITE), "{first:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        /// A reader of Markdown finds the end of an accepted text where it is, and no HTML that hides what follows.
        #[test]
        fn f17_an_accepted_text_closes_what_it_opens(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..9)) {
            let body = pieces.concat();
            if accepts(&body) {
                let text = format!("## x\n\n{body}\n\n<!-- end -->\n\n## next\n\n<details>\n\n</details>\n");
                let (mut titles, mut html) = (0, String::new());
                for event in Parser::new_ext(&text, Options::ENABLE_TABLES | Options::ENABLE_GFM) {
                    match event {
                        Event::Start(Tag::Heading { level: HeadingLevel::H1 | HeadingLevel::H2, .. }) => titles += 1,
                        Event::Start(Tag::Link { .. } | Tag::Image { .. }) => prop_assert!(false, "{}", body),
                        Event::Html(text) | Event::InlineHtml(text) => html.push_str(&text),
                        _ => {}
                    }
                }
                prop_assert_eq!((titles, html.matches("<!--").count()), (2, 1), "{}", body);
                prop_assert_eq!(html.matches("<details").count(), html.matches("</details>").count(), "{}", body);
                prop_assert_eq!(html.matches("<sub>").count(), html.matches("</sub>").count(), "{}", body);
            }
        }
    }

    /// Pieces of Markdown and HTML, most of which a report has.
    const PIECES: [&str; 26] = [
        "<details>\n",
        "<details>",
        "<details open>\n\n",
        "</details>",
        "\n\n</details>\n\n",
        "<summary>",
        "</summary>",
        "<sub>",
        "</sub>",
        "<br>",
        "<code>",
        "</code>",
        "<!--",
        "-->",
        "`",
        "`<!--`",
        "`</details>`",
        "\n```\n",
        "\n```text\n",
        "\n- ",
        "\n> ",
        "\n  ",
        "\n## x",
        "| a |\n|---|\n",
        "text",
        "\n",
    ];
}

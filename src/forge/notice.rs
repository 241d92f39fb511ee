//! A notice above the text of a comment, which otherwise stays as it is.

use super::comment::Comment;
use super::hidden::{hidden_part, visible_text};
use super::{Forge, ForgeError};

/// The maximum length of a comment with a notice, in characters. GitHub refuses more.
const MOST: usize = 65_000;

impl Forge {
    /// Puts a notice above the visible text of our comment, in place of an earlier notice. A notice is one paragraph, and
    /// `opening` is what each begins with. Nothing is written if the comment has this notice, or no room for it.
    pub(crate) async fn put_notice(
        &self,
        pr: u64,
        comment: &Comment,
        (opening, notice): (&str, &str),
    ) -> Result<(), ForgeError> {
        let body = with_notice(&comment.body, opening, notice);
        if comment.says(&body) || body.chars().count() > MOST {
            return Ok(());
        }
        let operation = format!("put a notice into the comment of #{pr}");
        self.rewrite(&operation, pr, comment, &body).await
    }
}

/// Returns the body of a comment with a notice above its visible text.
fn with_notice(body: &str, opening: &str, notice: &str) -> String {
    let text = visible_text(body);
    let text = match text.strip_prefix(opening) {
        Some(rest) => rest.split_once("\n\n").map_or("", |(_, text)| text),
        None => &text,
    };
    format!("{}\n\n{opening}{notice}\n\n{}\n", hidden_part(body), text.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENING: &str = "> [!NOTE]\n> **Outdated.**";

    #[test]
    fn f14_a_notice_replaces_an_earlier_one_and_keeps_everything_else() {
        let hidden = "<!-- ktor-action:plan root=a target=a -->\n<!-- ktor-action:data review YQ==.Yg== -->";
        let body = format!("{hidden}\n\n## `a`: 1 to create\n\n### Changes\n");
        let once = with_notice(&body, OPENING, " main is at 1.");
        assert_eq!(once, format!("{hidden}\n\n{OPENING} main is at 1.\n\n## `a`: 1 to create\n\n### Changes\n"));
        assert_eq!(with_notice(&once, OPENING, " main is at 1."), once);
        let twice = with_notice(&once.replace('\n', "\r\n"), OPENING, " main is at 2.");
        assert_eq!(twice, once.replace("at 1.", "at 2."));
    }
}

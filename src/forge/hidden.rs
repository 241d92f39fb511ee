//! The hidden lines at the start of a comment: its marker, the run that wrote it, and data for the next run. Pure.
//!
//! **Invariant:** hidden lines count only at the start of a comment. Untrusted text further down may look like a hidden
//! line and has no effect.

use std::fmt;

use super::client::percent_encode;
use super::context::is_commit;

const OPEN: &str = "<!-- ktor-action:";
const CLOSE: &str = " -->";

/// The first line of a sticky comment. It identifies the comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker(String);

impl Marker {
    /// Creates the marker of the plan comment for `target`, which may be any text.
    pub fn new(target: &str) -> Self {
        Self(hidden_line(&format!("plan target={}", encode(target))))
    }

    /// Creates the marker of the answer to the comment `comment_id`.
    pub fn reply(target: &str, comment_id: u64) -> Self {
        Self(hidden_line(&format!("reply target={} to={comment_id}", encode(target))))
    }

    /// Creates the marker of the comment that tells of a failed apply of `commit`.
    pub(crate) fn alarm(target: &str, commit: &str) -> Self {
        Self(hidden_line(&format!("alarm target={} commit={}", encode(target), encode(commit))))
    }

    /// Creates the marker of the issue that tells how the cluster of `target` differs from what was merged.
    pub fn drift(target: &str) -> Self {
        Self(hidden_line(&format!("drift target={}", encode(target))))
    }

    /// Returns the marker as a line of text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns `true` if the first line of `body` is exactly this marker.
    pub fn opens(&self, body: &str) -> bool {
        body.lines().next() == Some(self.as_str())
    }
}

/// The commit that a comment is about, and the run that wrote the comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// The head commit of the pull request in that run.
    pub head_sha: String,
    /// The run's ID.
    pub run_id: u64,
    /// The number of the run's attempt.
    pub attempt: u32,
    /// The proof that the run had the key of the root, if it had the key.
    pub seal: Option<String>,
}

impl Freshness {
    /// Reads the freshness line of a comment.
    pub fn of(body: &str) -> Option<Self> {
        let fields = hidden_lines(body).find_map(|line| line.strip_prefix("run "))?;
        let mut fields = fields.split(' ');
        let head_sha = fields.next()?.strip_prefix("head=").filter(|head| is_commit(head))?.to_owned();
        let run_id = fields.next()?.strip_prefix("run=")?.parse().ok()?;
        let attempt = fields.next()?.strip_prefix("attempt=")?.parse().ok()?;
        let seal = match fields.next() {
            None => None,
            Some(field) => Some(field.strip_prefix("seal=").filter(|seal| is_base64(seal))?.to_owned()),
        };
        fields.next().is_none().then_some(Self { head_sha, run_id, attempt, seal })
    }

    /// Returns `true` if this run started after the run of `other`.
    ///
    /// Runs have ascending IDs, in the order of their events. A repeated run keeps its ID and gets a higher attempt
    /// number.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        (self.run_id, self.attempt) > (other.run_id, other.attempt)
    }
}

impl fmt::Display for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head_sha, run_id, attempt, seal } = self;
        let seal = seal.as_ref().map(|seal| format!(" seal={seal}")).unwrap_or_default();
        f.write_str(&hidden_line(&format!("run head={head_sha} run={run_id} attempt={attempt}{seal}")))
    }
}

/// Creates a hidden line that contains the text `data` under `name`. Returns `None` if the text has other characters
/// than base64 and dots, because they could end the HTML comment.
pub fn hidden_block(name: &'static str, data: &str) -> Option<String> {
    data.split('.').all(is_base64).then(|| hidden_line(&format!("data {name} {data}")))
}

/// Reads the text under `name` from the hidden lines at the start of `body`.
///
/// The caller must check the author of the comment before it reads the block.
pub fn read_hidden_block<'b>(body: &'b str, name: &str) -> Option<&'b str> {
    let data = hidden_lines(body).find_map(|line| line.strip_prefix("data ")?.strip_prefix(name)?.strip_prefix(' '))?;
    data.split('.').all(is_base64).then_some(data)
}

fn is_base64(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

fn hidden_line(content: &str) -> String {
    format!("{OPEN}{content}{CLOSE}")
}

/// Returns the contents of the hidden lines at the start of `body`, up to the first other line.
fn hidden_lines(body: &str) -> impl Iterator<Item = &str> {
    body.lines().map_while(|line| line.strip_prefix(OPEN)?.strip_suffix(CLOSE))
}

/// Encodes a target so that it does not end the HTML comment and is not ambiguous.
fn encode(target: &str) -> String {
    // A single `-` is common in names. Two in a row have a meaning in HTML comments.
    percent_encode(target, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'))
        .replace("--", "-%2D")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "1111111111111111111111111111111111111111";

    fn freshness(run_id: u64, attempt: u32) -> Freshness {
        Freshness { head_sha: HEAD.into(), run_id, attempt, seal: None }
    }

    /// Returns `true` if `line` is one HTML comment from its first to its last character.
    fn is_one_comment(line: &str) -> bool {
        let inner = line.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
        inner.is_some_and(|inner| !["--", "<!", ">", "\n", "\r"].iter().any(|end| inner.contains(end)))
    }

    #[test]
    fn f1_markers_are_one_inert_line() {
        assert_eq!(Marker::new("prod-eu/demo.a").as_str(), "<!-- ktor-action:plan target=prod-eu/demo.a -->");
        assert_eq!(Marker::new("a b").as_str(), "<!-- ktor-action:plan target=a%20b -->");
        assert_eq!(Marker::reply("x", 7).as_str(), "<!-- ktor-action:reply target=x to=7 -->");
        for target in ["x --> <script>", "x--", "---->", "-->", "--!>", "\n## x", "é\u{202e}", "a target=b", ""] {
            assert!(is_one_comment(Marker::new(target).as_str()), "{target:?}");
        }
    }

    #[test]
    fn f1_a_marker_opens_its_own_comment_alone() {
        let marker = Marker::new("a");
        let line = marker.as_str();
        assert!(marker.opens(&format!("{line}\ntext")));
        assert!(marker.opens(&format!("{line}\r\ntext")));
        assert!(marker.opens(line));
        for body in
            [format!(" {line}"), format!("text\n{line}"), format!("> {line}"), format!("{line}x"), String::new()]
        {
            assert!(!marker.opens(&body), "{body:?}");
        }
        assert!(!marker.opens(Marker::new("a/b").as_str()));
    }

    #[test]
    fn f4_freshness_survives_and_orders() {
        let body = format!("{}\n{}\n\ntext", Marker::new("a").as_str(), freshness(12, 3));
        assert_eq!(Freshness::of(&body), Some(freshness(12, 3)));
        assert_eq!(Freshness::of(&body.replace('\n', "\r\n")), Some(freshness(12, 3)));
        assert!(freshness(12, 3).is_newer_than(&freshness(12, 2)));
        assert!(freshness(100, 1).is_newer_than(&freshness(99, 9)));
        assert!(!freshness(12, 3).is_newer_than(&freshness(12, 3)));
        // After the first hidden lines, everything is untrusted text.
        assert_eq!(Freshness::of(&format!("{}\n\n{}", Marker::new("a").as_str(), freshness(12, 3))), None);
        let sealed = Freshness { seal: Some("c2Vh+/=".into()), ..freshness(12, 3) };
        assert_eq!(Freshness::of(&sealed.to_string()), Some(sealed));
        for damaged in ["run head=x run=1 attempt=1", "run head= run=1", "run run=1 attempt=1", "run"] {
            assert_eq!(Freshness::of(&hidden_line(damaged)), None, "{damaged}");
        }
    }

    #[test]
    fn c7_hidden_blocks_read_back_from_the_head_alone() {
        let block = hidden_block("review", "eyJ2+/A.c2ln").unwrap();
        let head = format!("{}\n{}", Marker::new("a").as_str(), freshness(1, 1));
        assert!(is_one_comment(&block), "{block}");
        assert_eq!(read_hidden_block(&format!("{head}\n{block}\n\ntext"), "review"), Some("eyJ2+/A.c2ln"));
        assert_eq!(read_hidden_block(&format!("{head}\n\ntext\n{block}"), "review"), None, "spoofed by a manifest");
        assert_eq!(read_hidden_block(&format!("{head}\n{block}"), "rev"), None);
        assert_eq!(read_hidden_block(&block.replace("data review ", "data review !"), "review"), None);
        for hostile in ["a b", "-->", "a-b", "a\nb", "é", "<"] {
            assert_eq!(hidden_block("review", hostile), None, "{hostile:?}");
        }
    }

    proptest! {
        #[test]
        fn f1_no_target_breaks_out_and_no_two_share_a_marker(one in ".{0,12}", other in "[-%/> a]{0,6}", third in "[-%/> a]{0,6}") {
            prop_assert!(is_one_comment(Marker::new(&one).as_str()));
            prop_assert!(is_one_comment(Marker::new(&other).as_str()));
            prop_assert_eq!(Marker::new(&other) == Marker::new(&third), other == third);
        }
    }
}

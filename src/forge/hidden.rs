//! The hidden lines at the start of a comment: its marker, the run that wrote it, and data for the next run. Pure.
//!
//! **Invariant:** hidden lines count only at the start of a comment. Untrusted text further down may look like a hidden
//! line and has no effect.

use std::fmt;
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde_json::Value;

use super::client::percent_encode;
use super::context::is_commit;

const OPEN: &str = "<!-- ktor-action:";
const CLOSE: &str = " -->";

/// The maximum size of a hidden block's JSON, in bytes. A larger block is not read.
const DATA_LIMIT: u64 = 16 << 20;

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
}

impl Freshness {
    /// Reads the freshness line of a comment.
    pub fn of(body: &str) -> Option<Self> {
        let fields = hidden_lines(body).find_map(|line| line.strip_prefix("run "))?;
        let mut fields = fields.split(' ');
        let head_sha = fields.next()?.strip_prefix("head=").filter(|head| is_commit(head))?.to_owned();
        let run_id = fields.next()?.strip_prefix("run=")?.parse().ok()?;
        let attempt = fields.next()?.strip_prefix("attempt=")?.parse().ok()?;
        fields.next().is_none().then_some(Self { head_sha, run_id, attempt })
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
        let Self { head_sha, run_id, attempt } = self;
        f.write_str(&hidden_line(&format!("run head={head_sha} run={run_id} attempt={attempt}")))
    }
}

/// Creates a hidden line that contains `data` under `name`. The data is compressed and encoded as base64, so that
/// nothing in it can end the HTML comment.
pub fn hidden_block(name: &'static str, data: &Value) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let packed = encoder.write_all(data.to_string().as_bytes()).and_then(|()| encoder.finish());
    // A write to memory does not fail. If it did, the reader would treat the block as absent.
    hidden_line(&format!("data {name} {}", STANDARD.encode(packed.unwrap_or_default())))
}

/// Reads the data under `name` from the hidden lines at the start of `body`.
///
/// A damaged block counts as absent. The caller must check the author of the comment before it reads the block.
pub fn read_hidden_block(body: &str, name: &str) -> Option<Value> {
    let data = hidden_lines(body).find_map(|line| line.strip_prefix("data ")?.strip_prefix(name)?.strip_prefix(' '))?;
    let packed = STANDARD.decode(data).ok()?;
    let mut json = Vec::new();
    ZlibDecoder::new(packed.as_slice()).take(DATA_LIMIT + 1).read_to_end(&mut json).ok()?;
    if json.len() as u64 > DATA_LIMIT {
        return None;
    }
    serde_json::from_slice(&json).ok()
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
    use serde_json::json;

    use super::*;

    const HEAD: &str = "1111111111111111111111111111111111111111";

    fn freshness(run_id: u64, attempt: u32) -> Freshness {
        Freshness { head_sha: HEAD.into(), run_id, attempt }
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
        for damaged in ["run head=x run=1 attempt=1", "run head= run=1", "run run=1 attempt=1", "run"] {
            assert_eq!(Freshness::of(&hidden_line(damaged)), None, "{damaged}");
        }
    }

    #[test]
    fn c7_hidden_blocks_read_back_from_the_head_alone() {
        let data = json!({"delete": [{"name": "--> x", "uid": "\n"}]});
        let block = hidden_block("cleanup", &data);
        let head = format!("{}\n{}", Marker::new("a").as_str(), freshness(1, 1));
        assert!(is_one_comment(&block), "{block}");
        assert_eq!(read_hidden_block(&format!("{head}\n{block}\n\ntext"), "cleanup"), Some(data));
        assert_eq!(read_hidden_block(&format!("{head}\n\ntext\n{block}"), "cleanup"), None, "spoofed by a manifest");
        assert_eq!(read_hidden_block(&format!("{head}\n{block}"), "clean"), None);
        assert_eq!(read_hidden_block(&block.replace("data cleanup ", "data cleanup !"), "cleanup"), None);
    }

    #[test]
    fn c7_a_packed_bomb_is_refused() {
        let bomb = hidden_block("cleanup", &Value::String("a".repeat(usize::try_from(DATA_LIMIT).unwrap())));
        assert!(bomb.len() < 60_000);
        assert_eq!(read_hidden_block(&bomb, "cleanup"), None);
    }

    #[test]
    fn c7_a_large_cleanup_set_fits_into_a_comment() {
        let keys: Vec<_> = (0..5_000).map(|n| json!(["apps", "Deployment", "shop", format!("web-{n}")])).collect();
        assert!(hidden_block("cleanup", &Value::Array(keys)).len() < 30_000);
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

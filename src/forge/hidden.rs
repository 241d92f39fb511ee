//! The hidden lines at the start of a comment: its marker, the run that wrote it, and data for the next run. Pure.
//!
//! A comment has the plan of one root and target, or it is the summary of several. A summary has one part for each root
//! and target: a hidden line that names them, and their data lines after it. The visible text of each part is its section,
//! which begins with a line that names them too.
//!
//! **Invariant:** hidden lines count only at the start of a comment. Untrusted text further down may look like a hidden
//! line and has no effect.

use std::fmt;

use super::client::percent_encode;
use super::context::is_commit;

const OPEN: &str = "<!-- ktor-action:";
const CLOSE: &str = " -->";

/// The name of the data line with the signed statement of a plan.
pub(crate) const REVIEW: &str = "review";
/// The name of the data line with the digest of a plan.
pub(crate) const DIGEST: &str = "digest";
/// The name of the data line with the identity of the API server that a plan was made on.
pub(crate) const SERVER: &str = "server";

/// The beginning of the marker of a summary.
const SUMMARY: &str = "summary ";
/// The beginning of the line of a part.
const PART: &str = "part ";

/// The first line of a sticky comment. It identifies the comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker(String);

impl Marker {
    /// Creates the marker of the comment with the plan of a root and a target. Both may be any text.
    pub fn new(root: &str, target: &str) -> Self {
        Self(hidden_line(&format!("plan {}", names(root, target))))
    }

    /// Creates the marker of the comment with the outcome of an apply whose plan stands in a summary.
    pub fn outcome(root: &str, target: &str) -> Self {
        Self(hidden_line(&format!("outcome {}", names(root, target))))
    }

    /// Creates the marker of a comment that a newer one with the marker [`Marker::new`] replaces.
    pub fn outdated(root: &str, target: &str) -> Self {
        Self(hidden_line(&format!("outdated {}", names(root, target))))
    }

    /// Creates the marker of the summary that a workflow makes of several plans. Page 1 is the first comment, and the
    /// others have the parts that do not fit into it.
    pub fn summary(workflow: &str, page: usize) -> Self {
        Self(hidden_line(&format!("{SUMMARY}of={} page={page}", encode(workflow))))
    }

    /// Creates the marker of the answer to the comment `comment_id`.
    pub fn reply(target: &str, comment_id: u64) -> Self {
        Self(hidden_line(&format!("reply target={} to={comment_id}", encode(target))))
    }

    /// Creates the marker of the comment that tells of a failed apply of `commit`.
    pub(crate) fn alarm(root: &str, target: &str, commit: &str) -> Self {
        Self(hidden_line(&format!("alarm {} commit={}", names(root, target), encode(commit))))
    }

    /// Creates the marker of the issue that tells how the cluster of `target` differs from what was merged.
    pub fn drift(root: &str, target: &str) -> Self {
        Self(hidden_line(&format!("drift {}", names(root, target))))
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

/// The plan of a root and a target, as a comment has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanPart<'b> {
    /// The signed statement of the plan.
    pub review: Option<&'b str>,
    /// The digest of the plan.
    pub digest: Option<&'b str>,
    /// The identity of the API server that the plan was made on.
    pub server: Option<&'b str>,
    /// The visible text of the part, if the comment is a summary. It is empty if the summary has no such section.
    pub section: Option<String>,
}

/// Reads the plan of a root and a target in a comment. Returns `None` if the comment has none.
///
/// The caller must check the author of the comment before it reads the plan.
pub fn read_plan<'b>(body: &'b str, root: &str, target: &str) -> Option<PlanPart<'b>> {
    if Marker::new(root, target).opens(body) {
        let [review, digest, server] = [REVIEW, DIGEST, SERVER].map(|name| read_hidden_block(body, name));
        return Some(PlanPart { review, digest, server, section: None });
    }
    let part = format!("{PART}{}", names(root, target));
    let mut lines = hidden_lines(body);
    lines.next()?.strip_prefix(SUMMARY)?;
    lines.find(|line| *line == part)?;
    let data: Vec<&str> = lines.take_while(|line| !line.starts_with(PART)).collect();
    let block = |name| data.iter().copied().find_map(|line| data_of(line, name));
    let hidden = hidden_lines(body).count();
    let opening = section_line(root, target);
    let text = body.lines().skip(hidden).skip_while(|line| *line != opening).skip(1);
    let text: Vec<&str> = text.take_while(|line| !line.starts_with(OPEN)).collect();
    let [review, digest, server] = [REVIEW, DIGEST, SERVER].map(block);
    Some(PlanPart { review, digest, server, section: Some(text.join("\n").trim().to_owned()) })
}

/// Returns the digests of all plans in a comment.
pub(super) fn digests(body: &str) -> impl Iterator<Item = &str> {
    hidden_lines(body).filter_map(|line| data_of(line, DIGEST))
}

/// Returns the hidden line that begins a part of a summary.
pub fn part_line(root: &str, target: &str) -> String {
    hidden_line(&format!("{PART}{}", names(root, target)))
}

/// Returns the line above the visible text of a part of a summary.
pub fn section_line(root: &str, target: &str) -> String {
    hidden_line(&format!("section {}", names(root, target)))
}

/// Returns the line below the last section of a summary.
pub fn sections_end() -> String {
    hidden_line("end")
}

/// Returns the hidden lines at the start of a comment, as they are.
pub(super) fn hidden_part(body: &str) -> String {
    let hidden = hidden_lines(body).count();
    body.lines().take(hidden).collect::<Vec<_>>().join("\n")
}

/// Returns the visible text of a comment.
pub(super) fn visible_text(body: &str) -> String {
    let hidden = hidden_lines(body).count();
    body.lines().skip(hidden).collect::<Vec<_>>().join("\n").trim().to_owned()
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
    hidden_lines(body).find_map(|line| data_of(line, name))
}

fn data_of<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let data = line.strip_prefix("data ")?.strip_prefix(name)?.strip_prefix(' ')?;
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

fn names(root: &str, target: &str) -> String {
    format!("root={} target={}", encode(root), encode(target))
}

/// Encodes a name so that it does not end the HTML comment and is not ambiguous.
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
        assert_eq!(
            Marker::new("a", "prod-eu/demo.a").as_str(),
            "<!-- ktor-action:plan root=a target=prod-eu/demo.a -->"
        );
        assert_eq!(Marker::new("a", "a b").as_str(), "<!-- ktor-action:plan root=a target=a%20b -->");
        assert_eq!(Marker::reply("x", 7).as_str(), "<!-- ktor-action:reply target=x to=7 -->");
        for target in ["x --> <script>", "x--", "---->", "-->", "--!>", "\n## x", "é\u{202e}", "a target=b", ""] {
            assert!(is_one_comment(Marker::new("shop", target).as_str()), "{target:?}");
        }
    }

    #[test]
    fn f1_a_marker_opens_its_own_comment_alone() {
        let marker = Marker::new("shop", "a");
        let line = marker.as_str();
        assert!(marker.opens(&format!("{line}\ntext")));
        assert!(marker.opens(&format!("{line}\r\ntext")));
        assert!(marker.opens(line));
        for body in
            [format!(" {line}"), format!("text\n{line}"), format!("> {line}"), format!("{line}x"), String::new()]
        {
            assert!(!marker.opens(&body), "{body:?}");
        }
        assert!(!marker.opens(Marker::new("shop", "a/b").as_str()));
    }

    #[test]
    fn f4_freshness_survives_and_orders() {
        let body = format!("{}\n{}\n\ntext", Marker::new("shop", "a").as_str(), freshness(12, 3));
        assert_eq!(Freshness::of(&body), Some(freshness(12, 3)));
        assert_eq!(Freshness::of(&body.replace('\n', "\r\n")), Some(freshness(12, 3)));
        assert!(freshness(12, 3).is_newer_than(&freshness(12, 2)));
        assert!(freshness(100, 1).is_newer_than(&freshness(99, 9)));
        assert!(!freshness(12, 3).is_newer_than(&freshness(12, 3)));
        // After the first hidden lines, everything is untrusted text.
        assert_eq!(Freshness::of(&format!("{}\n\n{}", Marker::new("shop", "a").as_str(), freshness(12, 3))), None);
        let sealed = Freshness { seal: Some("c2Vh+/=".into()), ..freshness(12, 3) };
        assert_eq!(Freshness::of(&sealed.to_string()), Some(sealed));
        for damaged in ["run head=x run=1 attempt=1", "run head= run=1", "run run=1 attempt=1", "run"] {
            assert_eq!(Freshness::of(&hidden_line(damaged)), None, "{damaged}");
        }
    }

    #[test]
    fn c7_hidden_blocks_read_back_from_the_head_alone() {
        let block = hidden_block("review", "eyJ2+/A.c2ln").unwrap();
        let head = format!("{}\n{}", Marker::new("shop", "a").as_str(), freshness(1, 1));
        assert!(is_one_comment(&block), "{block}");
        assert_eq!(read_hidden_block(&format!("{head}\n{block}\n\ntext"), "review"), Some("eyJ2+/A.c2ln"));
        assert_eq!(read_hidden_block(&format!("{head}\n\ntext\n{block}"), "review"), None, "spoofed by a manifest");
        assert_eq!(read_hidden_block(&format!("{head}\n{block}"), "rev"), None);
        assert_eq!(read_hidden_block(&block.replace("data review ", "data review !"), "review"), None);
        for hostile in ["a b", "-->", "a-b", "a\nb", "é", "<"] {
            assert_eq!(hidden_block("review", hostile), None, "{hostile:?}");
        }
    }

    /// Returns the text of a summary with these parts: the root and the target, the block and the section of each.
    fn summary(parts: &[(&str, &str, &str, &str)]) -> String {
        let mut lines = vec![Marker::summary("deploy", 1).as_str().to_owned(), freshness(12, 1).to_string()];
        for (root, target, block, _) in parts {
            lines.extend([part_line(root, target), hidden_block(REVIEW, block).unwrap()]);
        }
        lines.push("\n## Plans".into());
        for (root, target, _, text) in parts {
            lines.push(format!("{}\n\n{text}\n", section_line(root, target)));
        }
        lines.push(sections_end());
        lines.join("\n")
    }

    #[test]
    fn f17_each_part_of_a_summary_is_read_by_its_root_and_target() {
        let body =
            summary(&[("a", "prod", "YQ.1", "text a"), ("a", "dev", "Yg.2", "text\n\nb"), ("b", "prod", "Yw.3", "c")]);
        for (root, target, block, text) in
            [("a", "prod", "YQ.1", "text a"), ("a", "dev", "Yg.2", "text\n\nb"), ("b", "prod", "Yw.3", "c")]
        {
            for body in [body.clone(), body.replace('\n', "\r\n")] {
                let part = read_plan(&body, root, target).unwrap();
                assert_eq!((part.review, part.section.as_deref()), (Some(block), Some(text)), "{root} {target}");
            }
        }
        assert_eq!(read_plan(&body, "b", "dev"), None);
        assert_eq!(read_plan(&body.replace("summary of", "plan of"), "b", "prod"), None);
        assert_eq!(Freshness::of(&body), Some(freshness(12, 1)));
        // A part without a block does not get the block of the next one.
        let bare = body.replace("<!-- ktor-action:data review YQ.1 -->\n", "");
        assert_eq!(read_plan(&bare, "a", "prod").unwrap().review, None);
        // A section further down that only looks like a part is text.
        let text = format!("{}\n{}", part_line("z", "prod"), hidden_block(REVIEW, "eg").unwrap());
        assert_eq!(read_plan(&summary(&[("a", "prod", "YQ", &text)]), "z", "prod"), None);
    }

    #[test]
    fn f17_the_comment_of_one_root_is_read_whole_and_no_other_marker_is_a_plan() {
        let body = |marker: &Marker| format!("{}\n{}\n\ntext", marker.as_str(), hidden_block(REVIEW, "YQ").unwrap());
        let read = |marker: &Marker| read_plan(&body(marker), "a", "prod").map(|part| part.review == Some("YQ"));
        assert_eq!(read(&Marker::new("a", "prod")), Some(true));
        for other in [Marker::outcome("a", "prod"), Marker::outdated("a", "prod"), Marker::new("b", "prod")] {
            assert_eq!(read(&other), None, "{}", other.as_str());
        }
        assert_eq!(visible_text(&body(&Marker::new("a", "prod"))), "text");
    }

    proptest! {
        #[test]
        fn f1_no_target_breaks_out_and_no_two_share_a_marker(one in ".{0,12}", other in "[-%/> a]{0,6}", third in "[-%/> a]{0,6}") {
            prop_assert!(is_one_comment(Marker::new("shop", &one).as_str()));
            prop_assert!(is_one_comment(Marker::new(&other, &one).as_str()));
            prop_assert_eq!(Marker::new(&one, &other) == Marker::new(&one, &third), other == third);
        }
    }
}

//! The summary: one comment from the plans that the jobs of a matrix left as files, and one check for all of them.
//!
//! The job has no cluster and no key. It believes nothing that a file says: a file counts only for the pull request and
//! the head of the job's own event, its text must be one that has no effect outside of its section, and its signed block
//! is passed on unread. The apply checks the block, and that the comment shows a text that was signed with it. So a changed
//! file can make a plan not count, and can never make a deletion count that the comment does not show.

use std::collections::BTreeMap;

use super::command::{Command, parse};
use super::options::{Commenting, Expected, Identity, SummaryOptions, Surroundings, Told};
use super::plan_file::{Found, PlanFile, PlanResult, read_all};
use super::reporter::Reporter;
use crate::cluster::identity::ServerIdentity;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::forge::{
    BODY_LIMIT, DIGEST, Event, Pull, REVIEW, SERVER, hidden_block, part_line, section_line, sections_end,
};
use crate::project::path::Segment;
use crate::report::markdown::{Overview, PlanOfSeveral, Standing, is_contained, pages};

/// The most bytes of a signed block. The block of ten thousand deletions is shorter.
const MOST_BLOCK: usize = 52_000;

/// The most texts of a plan.
const MOST_TEXTS: usize = 8;

/// The most bytes of the name of a target.
const MOST_NAME: usize = 256;

/// The bytes of the marker and of the run that wrote a comment.
const MARKER_AND_FRESHNESS: usize = 1_024;

/// The plans that count, by root and target, and the sentences about the others.
struct Accepted {
    plans: BTreeMap<Identity, PlanFile>,
    problems: Vec<String>,
}

/// The subject of the plans: the number of a pull request, or none for a merge queue's group, and the planned head.
#[derive(Clone, Copy)]
struct Subject<'a> {
    pull: Option<u64>,
    head: &'a str,
}

/// Makes one comment from the plans of several jobs. Fails if a plan failed, is refused, is expected and missing, or does
/// not count.
///
/// # Errors
///
/// The worst of these, with a sentence for each. The comment is written before.
pub(crate) async fn run(options: &SummaryOptions, around: &Surroundings<'_>) -> Result<Exit, Failure> {
    let (token, author) = (options.token.as_deref(), options.comment_author.as_deref());
    let nobody = Identity { root: String::new(), target: String::new() };
    let reporter = Reporter::new(token, author, Commenting::Sticky, nobody, around)?;
    let summarized = summarized(options, around, &reporter).await;
    if let Err(error) = &summarized {
        reporter.outputs(&[("result", if error.exit == Exit::Refused { "refused" } else { "failed" })]);
    }
    summarized
}

async fn summarized(
    options: &SummaryOptions,
    around: &Surroundings<'_>,
    reporter: &Reporter<'_>,
) -> Result<Exit, Failure> {
    let nothing = |why: &str| {
        (around.tell)(Told::Notice(&format!("nothing to do: {why}")));
        reporter.outputs(&[("result", "nothing"), ("changes", "0"), ("cleanup-count", "0"), ("kept", "0")]);
        Ok(Exit::Success)
    };
    let (number, head) = match &around.context.event {
        Event::PullRequest(pull) if pull.action != "closed" => (Some(pull.number), Some(pull.head_sha.as_str())),
        Event::IssueComment(comment) if comment.is_pr && parse(&comment.body) == Some(Ok(Command::Plan)) => {
            (Some(comment.number), None)
        }
        Event::MergeGroup { head_sha, .. } => (None, Some(head_sha.as_str())),
        _ => return nothing("the event is not about a change that is planned"),
    };
    let now = match number {
        Some(number) => reporter.pull(number).await,
        None => None,
    };
    if let Some(why) = now.as_ref().and_then(|now| outdated(now, head)) {
        return nothing(&why);
    }
    let Some(head) = head.or(now.as_ref().map(|now| now.head_sha.as_str())) else {
        return Err(Failure::new(Exit::Failure, "the head of the pull request is not known"));
    };
    let found = read_all(&options.plans).map_err(|error| {
        Failure::new(Exit::Failure, format!("failed to read the plans in {}: {error}", options.plans.display()))
    })?;
    if found.files.is_empty() && matches!(around.context.event, Event::IssueComment(_)) {
        return nothing("no job made a plan");
    }
    let accepted = accepted(found, Subject { pull: number, head }, &options.expected, &around.context.server_url);
    let result = conclude(&accepted);
    let url = written(reporter, around, (number, head, now.is_some()), &accepted).await;
    let sum = |of: fn(&PlanFile) -> usize| accepted.plans.values().map(of).sum::<usize>().to_string();
    reporter.outputs(&[
        ("result", worst(&accepted).word()),
        ("changes", &sum(|plan| plan.changes)),
        ("cleanup-count", &sum(|plan| plan.deletions)),
        ("kept", &sum(|plan| plan.kept)),
        ("comment-url", url.as_deref().unwrap_or_default()),
    ]);
    result.map(|()| Exit::Success)
}

/// Writes the step summary and the comments. Returns the URL of the first comment.
async fn written(
    reporter: &Reporter<'_>,
    around: &Surroundings<'_>,
    (number, head, is_known): (Option<u64>, &str, bool),
    accepted: &Accepted,
) -> Option<String> {
    let plans: Vec<PlanOfSeveral> = accepted.plans.iter().map(|(identity, plan)| of_several(identity, plan)).collect();
    let (run, end) = (around.context.run_url(), sections_end());
    let overview = Overview {
        problems: &accepted.problems,
        head,
        run: Some(&run),
        end: &end,
        limit: BODY_LIMIT,
        reserved: MARKER_AND_FRESHNESS,
    };
    let (pages, unheld) = pages(&plans, &overview);
    for name in unheld {
        let why = format!("no comment has room for the plan of {name}: a merge deletes and replaces nothing for it");
        (around.tell)(Told::Warning(&why));
    }
    reporter.write_summary(&pages.iter().map(|page| page.text.as_str()).collect::<Vec<_>>().join("\n"));
    // A pull request that may be merged already gets no comment: nobody would have seen it.
    let number = number.filter(|_| is_known)?;
    let is_silent = accepted.problems.is_empty() && accepted.plans.values().all(|plan| plan.is_silent);
    if is_silent && !reporter.has_summary(number).await {
        return None;
    }
    reporter.pages(number, head, pages).await
}

/// Returns the reason why a summary would be of no use now.
fn outdated(now: &Pull, head: Option<&str>) -> Option<String> {
    if now.merged || !now.open {
        Some(format!("#{} is merged or closed", now.number))
    } else if head.is_some_and(|head| head != now.head_sha) {
        Some(format!("superseded: #{} has a later commit", now.number))
    } else {
        None
    }
}

/// Decides which files count.
fn accepted(found: Found, subject: Subject<'_>, expected: &[Expected], site: &str) -> Accepted {
    let mut problems = found.refused;
    if found.files.is_empty() && problems.is_empty() && expected.is_empty() {
        problems.push("no job left the file of a plan".to_owned());
    }
    let mut plans: BTreeMap<Identity, Vec<PlanFile>> = BTreeMap::new();
    for plan in found.files {
        match refused(&plan, subject, site) {
            Some(why) => {
                problems.push(format!("the plan of {} does not count: {why}", named(&plan.root, &plan.target)));
            }
            None => {
                let identity = Identity { root: plan.root.clone(), target: plan.target.clone() };
                plans.entry(identity).or_default().push(plan);
            }
        }
    }
    // Of two files for the same root and target, only their jobs know which one is right.
    let mut only = BTreeMap::new();
    for (identity, mut files) in plans {
        match (files.pop(), files.len()) {
            (Some(plan), 0) => drop(only.insert(identity, plan)),
            (_, others) => {
                let name = named(&identity.root, &identity.target);
                problems.push(format!("the plan of {name} does not count: {} files have it", others + 1));
            }
        }
    }
    for Expected { root, target } in expected {
        let is_meant =
            |plan: &Identity| plan.root == *root && target.as_ref().is_none_or(|target| plan.target == *target);
        if !only.keys().any(is_meant) {
            let name = named(root, target.as_deref().unwrap_or(root));
            problems.push(format!("there is no plan of {name}: its job left no file that counts"));
        }
    }
    Accepted { plans: only, problems }
}

/// Returns the reason why a file does not count.
fn refused(plan: &PlanFile, subject: Subject<'_>, site: &str) -> Option<&'static str> {
    let PlanFile { root, target, block, digest, server, texts, .. } = plan;
    let is_name = root.is_empty() || Segment::new(root).is_ok();
    let is_hex = |text: &String| text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_shown = |text: &String| text.len() < BODY_LIMIT && is_contained(text, root, target, site);
    if !is_name || root.len() > MOST_NAME || target.len() > MOST_NAME {
        Some("its names are not those of a root and a target")
    } else if plan.pull != subject.pull {
        Some("it is of another pull request")
    } else if plan.head != subject.head {
        Some("it is of another head")
    } else if !digest.as_ref().is_none_or(is_hex) || block.as_ref().is_some_and(|block| !is_block(block)) {
        Some("its signed block is not a block")
    } else if server.as_ref().is_some_and(|server| server.parse::<ServerIdentity>().is_err()) {
        Some("it does not name its API server as a plan does")
    } else if texts.len() > MOST_TEXTS || (texts.is_empty() && !plan.is_silent) || !texts.iter().all(is_shown) {
        Some("its text is not the text of a plan")
    } else {
        None
    }
}

fn is_block(block: &str) -> bool {
    !block.is_empty() && block.len() <= MOST_BLOCK && hidden_block(REVIEW, block).is_some()
}

/// Returns the plan as the comment shows it. A plan without anything to say has only a row, and so no block.
fn of_several(identity: &Identity, plan: &PlanFile) -> PlanOfSeveral {
    let Identity { root, target } = identity;
    let mut hidden = vec![part_line(root, target)];
    let mut texts = Vec::new();
    if !plan.is_silent {
        texts.clone_from(&plan.texts);
        hidden.extend(plan.digest.as_ref().and_then(|digest| hidden_block(DIGEST, digest)));
        hidden.extend(plan.server.as_ref().and_then(|server| hidden_block(SERVER, server)));
        hidden.extend(plan.block.as_ref().and_then(|block| hidden_block(REVIEW, block)));
    }
    // The pages count on this order.
    texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
    PlanOfSeveral {
        root: root.clone(),
        target: target.clone(),
        standing: match plan.result {
            PlanResult::Changes => Standing::Changes,
            PlanResult::NoChanges => Standing::NoChanges,
            PlanResult::Refused => Standing::Refused,
            PlanResult::Failed => Standing::Failed,
            PlanResult::Nothing => Standing::NoPlan,
        },
        changes: plan.changes,
        deletions: plan.deletions,
        kept: plan.kept,
        hidden,
        opening: section_line(root, target),
        texts,
    }
}

/// Derives the result of the check: the worst of the plans.
fn conclude(accepted: &Accepted) -> Result<(), Failure> {
    let mut exit = if accepted.problems.is_empty() { Exit::Success } else { Exit::Failure };
    let mut messages = accepted.problems.clone();
    for (Identity { root, target }, plan) in &accepted.plans {
        let of_plan = Exit::of_code(plan.exit).unwrap_or(Exit::Failure);
        if of_plan > Exit::ChangesPending {
            exit = exit.max(of_plan);
            messages.push(format!("the plan of {} ended with exit code {}", named(root, target), of_plan.code()));
        }
    }
    if messages.is_empty() { Ok(()) } else { Err(Failure { exit, messages, place: None }) }
}

/// Returns the worst end of the plans.
fn worst(accepted: &Accepted) -> PlanResult {
    let order = |result: PlanResult| match result {
        PlanResult::Failed => 4,
        PlanResult::Refused => 3,
        PlanResult::Changes => 2,
        PlanResult::NoChanges => 1,
        PlanResult::Nothing => 0,
    };
    let problem = accepted.problems.first().map(|_| PlanResult::Failed);
    let ends = accepted.plans.values().map(|plan| plan.result).chain(problem);
    ends.max_by_key(|result| order(*result)).unwrap_or(PlanResult::Nothing)
}

/// The names of a root and a target in a sentence.
fn named(root: &str, target: &str) -> String {
    if root == target || root.is_empty() { target.to_owned() } else { format!("{root} on {target}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag};

    const HEAD: &str = "1111111111111111111111111111111111111111";
    const SITE: &str = "https://github.com";

    fn file(root: &str, target: &str) -> PlanFile {
        let plan = PlanFile::empty(root, target, Some(7), HEAD, PlanResult::Changes);
        let name = if root == target { format!("`{root}`") } else { format!("`{root}` (`{target}`)") };
        let texts = vec![format!("## {name}: 1 to create\n\n### Changes\n"), format!("## {name}: 1 to create\n")];
        PlanFile { texts, changes: 1, digest: Some("ab12".into()), block: Some(format!("{root}.c2ln")), ..plan }
    }

    fn judge(files: Vec<PlanFile>, expected: &[&str]) -> Accepted {
        let expected: Vec<Expected> = expected.iter().map(|text| text.parse().unwrap()).collect();
        let subject = Subject { pull: Some(7), head: HEAD };
        accepted(Found { files, refused: Vec::new() }, subject, &expected, SITE)
    }

    fn comment(accepted: &Accepted) -> Vec<crate::report::markdown::Page> {
        let plans: Vec<_> = accepted.plans.iter().map(|(identity, plan)| of_several(identity, plan)).collect();
        let end = sections_end();
        let overview = Overview {
            problems: &accepted.problems,
            head: HEAD,
            run: None,
            end: &end,
            limit: BODY_LIMIT,
            reserved: MARKER_AND_FRESHNESS,
        };
        pages(&plans, &overview).0
    }

    /// The words of the reason why a changed file does not count, and the change.
    type Change = (&'static str, fn(&mut PlanFile));

    #[test]
    fn f17_a_file_counts_for_its_own_pull_request_and_head_alone() {
        let changes: [Change; 12] = [
            ("another pull request", |plan| plan.pull = Some(8)),
            ("another pull request", |plan| plan.pull = None),
            ("another head", |plan| plan.head = "2".repeat(40)),
            ("names", |plan| plan.root = "a b".into()),
            ("names", |plan| plan.target = "x".repeat(300)),
            ("signed block", |plan| plan.block = Some("a -->".into())),
            ("signed block", |plan| plan.block = Some("a".repeat(60_000))),
            ("signed block", |plan| plan.digest = Some("xyz".into())),
            ("API server", |plan| plan.server = Some("prod -->".into())),
            ("text", |plan| plan.texts.clear()),
            ("text", |plan| plan.texts[1] = "## `other`: nothing to do\n".into()),
            ("text", |plan| plan.texts[0].push_str("\n<!--")),
        ];
        for (expected, change) in changes {
            let mut plan = file("shop", "prod");
            change(&mut plan);
            let judged = judge(vec![plan, file("other", "prod")], &["shop", "other:prod"]);
            assert_eq!(judged.plans.len(), 1, "{expected}");
            assert!(judged.problems[0].contains(expected), "{expected}: {:?}", judged.problems);
            assert!(judged.problems.last().unwrap().contains("there is no plan of shop"), "{:?}", judged.problems);
            assert_eq!(conclude(&judged).unwrap_err().exit, Exit::Failure);
        }
    }

    #[test]
    fn f17_two_files_for_one_root_and_target_do_not_count_and_others_do() {
        let judged = judge(vec![file("a", "prod"), file("b", "prod"), file("a", "prod"), file("a", "dev")], &[]);
        let names: Vec<_> = judged.plans.keys().map(|plan| format!("{} {}", plan.root, plan.target)).collect();
        assert_eq!(names, ["a dev", "b prod"]);
        assert!(judged.problems[0].contains("a on prod does not count: 2 files"), "{:?}", judged.problems);
    }

    #[test]
    fn f17_the_check_is_the_worst_of_the_plans_and_names_what_is_missing() {
        let with = |root: &str, exit: u8| PlanFile { exit, ..file(root, "prod") };
        for (exits, expected) in [
            (vec![0, 0], None),
            (vec![0, 2], None),
            (vec![3, 0], Some(Exit::Refused)),
            (vec![3, 1], Some(Exit::Failure)),
            (vec![4, 1], Some(Exit::Locked)),
            (vec![0, 77], Some(Exit::Failure)),
        ] {
            let files = exits.iter().enumerate().map(|(at, exit)| with(&format!("r{at}"), *exit)).collect();
            assert_eq!(
                conclude(&judge(files, &["r0", "r1:prod"])).err().map(|error| error.exit),
                expected,
                "{exits:?}"
            );
        }
        let missing = judge(vec![with("a", 0)], &["a", "b", "a:dev"]);
        let error = conclude(&missing).unwrap_err();
        assert_eq!(error.exit, Exit::Failure);
        let told = error.messages.join("\n");
        assert!(told.contains("no plan of b:") && told.contains("no plan of a on dev:"), "{told}");
        assert!(comment(&missing)[0].text.contains("there is no plan of b"), "{}", comment(&missing)[0].text);
        assert!(conclude(&judge(Vec::new(), &[])).is_err(), "no file at all is not a success");
    }

    #[test]
    fn f17_ten_roots_with_large_plans_fit_into_one_comment_with_every_block() {
        let plans: Vec<PlanFile> = (0..10)
            .map(|number| {
                let root = format!("root-{number}");
                let title = format!("## `{root}` (`prod`): 9 to create\n\n");
                let text = |bytes: usize| format!("{title}```diff\n{}\n```\n", "x".repeat(bytes));
                let texts = vec![text(55_000), text(24_000), text(9_000), title.clone()];
                PlanFile { texts, block: Some(format!("{}.{number}", "b".repeat(2_000))), ..file(&root, "prod") }
            })
            .collect();
        let judged = judge(plans, &[]);
        assert!(judged.problems.is_empty(), "{:?}", judged.problems);
        let pages = comment(&judged);
        let [page] = &pages[..] else { panic!("{} comments", pages.len()) };
        let body = format!("{}{}", page.hidden.join("\n"), page.text);
        assert!(body.len() < BODY_LIMIT && body.len() > BODY_LIMIT / 2, "{}", body.len());
        for number in 0..10 {
            assert!(body.contains(&format!("{}.{number} -->", "b".repeat(2_000))), "{number}");
            assert!(body.contains(&format!("\n## `root-{number}` (`prod`)")), "{number}");
        }
    }

    #[test]
    fn f17_blocks_that_do_not_fit_go_into_further_comments_together_with_their_sections() {
        let block = |number: usize| format!("{}.{number}", "b".repeat(40_000));
        let plans =
            (0..10).map(|number| PlanFile { block: Some(block(number)), ..file(&format!("r{number}"), "prod") });
        let pages = comment(&judge(plans.collect(), &[]));
        assert_eq!(pages.len(), 10);
        assert!(pages[0].text.contains("9 further comments with `r1` (`prod`)"), "{}", pages[0].text);
        for (number, page) in pages.iter().enumerate() {
            let hidden = page.hidden.join("\n");
            assert!(hidden.len() + page.text.len() < BODY_LIMIT - MARKER_AND_FRESHNESS, "{number}");
            assert!(hidden.contains(&block(number)), "{number}");
            assert!(page.text.contains(&section_line(&format!("r{number}"), "prod")), "{number}");
        }
    }

    #[test]
    fn f17_a_plan_without_changes_has_a_row_and_nothing_else() {
        let silent = PlanFile { is_silent: true, result: PlanResult::NoChanges, changes: 0, ..file("quiet", "quiet") };
        let pages = comment(&judge(vec![silent, file("loud", "loud")], &[]));
        let text = &pages[0].text;
        assert!(text.contains("| `quiet` | `quiet` | no changes | 0 | 0 | 0 |"), "{text}");
        assert!(!text.contains("## `quiet`") && text.contains("## `loud`"), "{text}");
        assert!(!pages[0].hidden.join("\n").contains("quiet.c2ln"), "{:?}", pages[0].hidden);
    }

    /// Pieces of Markdown, HTML and hidden lines that reach out of a section, if anything does.
    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "<!-- ktor-action:end -->",
            "<!-- ktor-action:section root=victim target=prod -->",
            "<!-- ktor-action:part root=victim target=prod -->",
            "<!-- ktor-action:data review Zm9yZ2Vk.c2ln -->",
            "<!--",
            "-->",
            "<details>",
            "</details>",
            "<summary>",
            "<sub>",
            "```",
            "````",
            "~~~",
            "`",
            "## `victim` (`prod`): nothing to do",
            "# x",
            "===",
            "---",
            "@org/team",
            "[x](https://evil.example)",
            "| a |",
            "> ",
            "text",
            "\n",
            "\n\n",
            "\r",
            " ",
        ]);
        prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// F17: no file changes what the comment says about another root, or gives it another block.
        #[test]
        fn f17_no_text_of_a_file_reaches_the_part_of_another_root(
            text in hostile(), title in hostile(), target in hostile(), block in "[A-Za-z0-9+/.]{0,20}"
        ) {
            let victim = file("victim", "prod");
            let mut forged = file("forged", "prod");
            forged.texts = vec![format!("## `forged` (`prod`){title}: 1\n\n{text}"), format!("## `forged` (`prod`)\n\n{text}")];
            forged.block = Some(block);
            let mut renamed = file("renamed", "prod");
            renamed.target = target;
            let judged = judge(vec![forged, victim.clone(), renamed], &[]);
            let pages = comment(&judged);
            prop_assert_eq!(pages.len(), 1);
            let run = format!("<!-- ktor-action:run head={HEAD} run=1 attempt=1 -->");
            let marker = crate::forge::Marker::summary("deploy", 1);
            let body = format!("{}\n{run}\n{}\n\n{}", marker.as_str(), pages[0].hidden.join("\n"), pages[0].text);
            let part = crate::forge::read_plan(&body, "victim", "prod").unwrap();
            prop_assert_eq!(part.review, victim.block.as_deref());
            prop_assert_eq!(part.section.as_deref(), Some(victim.texts[0].trim()), "{}", body);
            // A hidden line and a delimiter stand there as often as the parts have one. In a line of text, a name that looks
            // like one is in a code span.
            let sections = judged.plans.len();
            let lines = |start: &str| body.lines().filter(|line| line.starts_with(start)).count();
            prop_assert_eq!(lines("<!-- ktor-action:section "), sections, "{}", body);
            prop_assert_eq!(lines("<!-- ktor-action:end -->"), 1, "{}", body);
            prop_assert_eq!(lines("<!--"), 3 + 3 * sections + sections, "{}", body);
            // A reader of Markdown sees the headings of the parts, no link, and no other comment.
            let (mut headings, mut comments) = (0, 0);
            for event in Parser::new_ext(&body, Options::ENABLE_TABLES | Options::ENABLE_GFM | Options::ENABLE_STRIKETHROUGH) {
                match event {
                    Event::Start(Tag::Heading { level: HeadingLevel::H1 | HeadingLevel::H2, .. }) => headings += 1,
                    Event::Start(Tag::Link { .. } | Tag::Image { .. }) => prop_assert!(false, "{}", body),
                    Event::Html(html) | Event::InlineHtml(html) => comments += html.matches("<!--").count(),
                    _ => {}
                }
            }
            prop_assert_eq!((headings, comments), (1 + sections, lines("<!--")), "{}", body);
            prop_assert!(body.len() < BODY_LIMIT);
        }
    }
}

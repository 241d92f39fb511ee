//! The whole story of pull requests on a real Gitea, whose jobs the tests run: most of them with the built binary, and
//! one pass through the recipe with `act`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use ktor_action::forge::{Forge, ForgeSettings, Marker, Patience, Relation, RepositorySlug, Token, read_hidden_block};
use serde_json::Value;
use support::controlplane::{ControlPlane, User};
use support::gitea::{Gitea, GiteaComment, GiteaRepository, Job, MergeStyle};
use support::github::GITEA_ACTIONS;
use support::repository::TestRepository;
use support::workflow_run::{ActionRun, Ran, Summary};
use tempfile::TempDir;

use crate::act::{ActRun, Runner};
use crate::recipes;
use crate::story::{live, plane_with, shown_deletions, versions, write_config};
use crate::workflow::add_the_action;

const MAINTAINER: &str = "maintainer";
const AUTHOR: &str = "author";
const PASSER_BY: &str = "passer-by";

const WORKFLOW: &str = r"
on:
  pull_request: {types: [opened, synchronize, reopened, closed, labeled]}
  push: {branches: [main]}
jobs:
  ktor:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v6
      - uses: ./
        with: {path: k8s}
";

/// A repository on Gitea with a root project at `k8s`, and its cluster.
struct GiteaStory {
    repository: GiteaRepository,
    plane: &'static ControlPlane,
    /// The name of the root project, of its namespace, and of the repository.
    root: String,
    /// The clone of the pull requests' author.
    clone: TestRepository,
    files: TempDir,
    runs: AtomicU64,
}

impl GiteaStory {
    /// Creates a story whose `main` has these ConfigMaps, and applies it.
    fn applied(root: &str, names: &[&str]) -> Self {
        Self::applied_with(root, names, WORKFLOW)
    }

    fn applied_with(root: &str, names: &[&str], workflow: &str) -> Self {
        let plane = plane_with(root);
        let repository = GiteaRepository::create(Gitea::shared(), MAINTAINER, root);
        repository.add_writer(AUTHOR);
        let clone = repository.clone_of_main();
        let files = tempfile::tempdir().unwrap();
        let story = Self { repository, plane, root: root.to_owned(), clone, files, runs: AtomicU64::new(0) };
        story.clone.write("k8s/.ktor.yaml", format!("project: {root}\ncleanup: true\nnamespace: {root}\n"));
        add_the_action(&story.clone, workflow);
        for name in names {
            story.config(name, "one");
        }
        story.clone.commit("begin");
        story.push("main");
        let ran = story.run(story.job("push"));
        ended(&ran, 0, "applied");
        assert_eq!(story.live(), names.iter().map(|name| ((*name).to_owned(), "one".to_owned())).collect());
        story
    }

    fn config(&self, name: &str, value: &str) {
        write_config(&self.clone, name, value, &Value::Null);
    }

    fn remove(&self, name: &str) {
        self.clone.remove(format!("k8s/{name}.yaml"));
    }

    /// Pushes the commit of the clone to a branch, as the author.
    fn push(&self, branch: &str) {
        self.repository.push(AUTHOR, &self.clone, &format!("HEAD:refs/heads/{branch}"), &[]);
    }

    /// Commits a change on a new branch at `main`, and opens a pull request. Returns its number.
    fn propose(&self, branch: &str, change: impl FnOnce(&Self)) -> u64 {
        self.clone.git(["fetch", "--quiet", "origin", "main"]);
        self.clone.branch(branch, "FETCH_HEAD");
        change(self);
        self.clone.commit(branch);
        self.push(branch);
        self.repository.open_pull(AUTHOR, branch)
    }

    /// Commits a further change on the branch of the last pull request.
    fn propose_more(&self, branch: &str, change: impl FnOnce(&Self)) {
        change(self);
        self.clone.commit("more");
        self.push(branch);
    }

    /// Waits for the next job, which must be of this activity.
    #[track_caller]
    fn job(&self, activity: &str) -> Job<'_> {
        let job = self.repository.job();
        assert_eq!(job.activity(), activity, "{:#}", job.event());
        job
    }

    /// Waits for the two jobs of a merge. Returns the job of the closed pull request and the job of the push.
    fn merge(&self, number: u64, style: MergeStyle) -> [Job<'_>; 2] {
        self.repository.merge(number, style);
        let mut jobs = [self.repository.job(), self.repository.job()];
        jobs.sort_by_key(|job| job.activity().to_owned());
        assert_eq!([jobs[0].activity(), jobs[1].activity()], ["closed", "push"]);
        jobs
    }

    /// Runs a job with the built binary, and finishes the job.
    fn run(&self, job: Job<'_>) -> Ran {
        self.run_with(job, Summary::Offered, &[])
    }

    /// Runs a job with or without a step summary, and with further inputs. Finishes the job.
    fn run_with(&self, job: Job<'_>, summary: Summary, inputs: &[(&str, &str)]) -> Ran {
        let checkout = job.checkout();
        let folder = self.files.path().join(self.runs.fetch_add(1, Ordering::Relaxed).to_string());
        let mut variables = job.variables();
        variables.push(("KTOR_INPUT_TOKEN", job.token().to_owned()));
        let run = ActionRun {
            ktor: env!("CARGO_BIN_EXE_ktor"),
            command: "action",
            folder,
            payload: job.event(),
            variables,
            summary,
        };
        let ran = run.run(&checkout, Some(&self.plane.kubeconfig(User::Admin)), inputs);
        let masked = |line: &&str| !line.starts_with("::add-mask::");
        let said: Vec<&str> = ran.log.lines().filter(masked).collect();
        let said = format!("{}{}{:?}", said.join("\n"), ran.summary, ran.outputs);
        assert!(!said.contains(job.token()) && !said.contains(self.plane.token(User::Admin)), "{said}");
        job.finish(ran.exit);
        ran
    }

    /// Returns the comments of a pull request that the jobs wrote, the oldest first.
    fn comments(&self, number: u64) -> Vec<GiteaComment> {
        let mut comments = self.repository.comments(number);
        comments.retain(|comment| comment.author == GITEA_ACTIONS);
        comments
    }

    /// Returns the one comment of a pull request that the jobs wrote.
    #[track_caller]
    fn comment(&self, number: u64) -> GiteaComment {
        let mut comments = self.comments(number);
        assert_eq!(comments.len(), 1, "{comments:#?}");
        comments.remove(0)
    }

    /// Returns the paths of the links in a comment that have `part` in their path, as its web page has them. Each of them
    /// leads to a page.
    fn linked(&self, comment: &GiteaComment, part: &str) -> Vec<String> {
        let gitea = self.repository.gitea();
        let page = gitea.page(comment.url.split('#').next().unwrap()).text;
        let shown = page.split_once(&format!("id=\"issuecomment-{}-raw\"", comment.id));
        let shown = shown.unwrap_or_else(|| panic!("{page}")).0;
        let shown = shown.rsplit_once("render-content").unwrap().1;
        let links = shown.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        let paths = links.map(|link| link.strip_prefix(gitea.url()).unwrap_or(link).to_owned());
        let mut paths: Vec<String> = paths.filter(|path| path.contains(part)).collect();
        paths.sort();
        paths.dedup();
        for path in &paths {
            assert_eq!(gitea.page(path).status, 200, "{path}");
        }
        paths
    }

    fn live(&self) -> BTreeMap<String, String> {
        live(self.plane, &self.root)
    }

    /// Returns the names of the live ConfigMaps.
    fn names(&self) -> Vec<String> {
        self.live().into_keys().collect()
    }

    fn versions(&self) -> Vec<String> {
        versions(self.plane, &self.root)
    }

    fn slug(&self) -> RepositorySlug {
        RepositorySlug::parse(&self.repository.full_name()).unwrap()
    }
}

/// Returns `true` if a comment has a signed plan.
fn is_signed(comment: &GiteaComment) -> bool {
    read_hidden_block(&comment.body, "review").is_some()
}

#[track_caller]
fn ended(ran: &Ran, exit: i32, result: &str) {
    assert_eq!((ran.exit, ran.output("result")), (exit, result), "{}\n{}", ran.log, ran.summary);
}

#[test]
fn f7_on_gitea_each_way_to_merge_deletes_exactly_what_was_shown() {
    let names = ["merge-one", "merge-two", "rebase-one", "rebase-two", "squash-one", "squash-two", "web"];
    let story = GiteaStory::applied("gitea-story", &names);
    let mut left: Vec<String> = names.map(str::to_owned).into();
    for (branch, style) in
        [("merge", MergeStyle::Merge), ("squash", MergeStyle::Squash), ("rebase", MergeStyle::Rebase)]
    {
        let [one, two] = ["one", "two"].map(|end| format!("{branch}-{end}"));
        let before = story.versions();
        let number = story.propose(branch, |story| {
            story.remove(&one);
            story.config("web", branch);
        });
        let ran = story.run(story.job("opened"));
        ended(&ran, 0, "changes");
        let planned = story.comment(number);
        assert_eq!(
            (shown_deletions(&planned.body), is_signed(&planned)),
            (vec![one.clone()], true),
            "{}",
            planned.body
        );
        assert_eq!(ran.output("comment-url"), planned.url);

        story.propose_more(branch, |story| story.remove(&two));
        let job = story.job("synchronized");
        let run_page = format!("/{}/actions/runs/{}", story.repository.full_name(), job.text("run_id"));
        ended(&story.run(job), 0, "changes");
        let edited = story.comment(number);
        assert_eq!((edited.id, shown_deletions(&edited.body)), (planned.id, vec![one.clone(), two.clone()]));
        assert_eq!(story.linked(&edited, "/actions/runs/"), [run_page]);
        let manifests = story.linked(&edited, "/src/commit/").into_iter();
        let manifests: BTreeSet<String> = manifests.map(|path| path.rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!(manifests, [&one, &two, "web"].map(|name| format!("{name}.yaml")).into());
        assert_eq!(story.versions(), before, "a plan wrote to the cluster");

        // The forge starts two jobs for one merge, in any order.
        let [closed, pushed] = story.merge(number, style);
        let (first, second) = if style == MergeStyle::Merge { (closed, pushed) } else { (pushed, closed) };
        ended(&story.run(first), 0, "applied");
        left.retain(|name| *name != one && *name != two);
        assert_eq!(story.names(), left);
        assert_eq!(story.live()["web"], branch);
        let reported = story.comment(number);
        assert_eq!(reported.id, planned.id);
        assert!(reported.body.contains("## Applied") && reported.body.contains("### Deleted"), "{}", reported.body);
        assert!(reported.body.contains(&one) && reported.body.contains(&two), "{}", reported.body);

        let after = story.versions();
        let run = second.text("run_id").to_owned();
        let ran = story.run(second);
        ended(&ran, 0, "nothing");
        assert!(ran.log.contains("applied already"), "{}", ran.log);
        story.repository.run_again(&run);
        let again = story.repository.job();
        assert_eq!((again.text("run_id"), again.text("run_attempt")), (run.as_str(), "2"));
        ended(&story.run(again), 0, "nothing");
        assert_eq!((story.versions(), story.comment(number)), (after, reported));
    }
}

#[test]
fn f7_on_gitea_both_jobs_of_a_merge_at_the_same_time_make_one_outcome() {
    let story = GiteaStory::applied("gitea-parallel", &["banner", "web"]);
    let number = story.propose("parallel", |story| story.remove("banner"));
    ended(&story.run(story.job("opened")), 0, "changes");
    let jobs = story.merge(number, MergeStyle::Squash);
    let waits = [("KTOR_INPUT_LOCK_TIMEOUT", "2m")];
    let ran = std::thread::scope(|scope| {
        let runs = jobs.map(|job| scope.spawn(|| story.run_with(job, Summary::Offered, &waits)));
        runs.map(|run| run.join().unwrap())
    });
    let mut results = ran.each_ref().map(|ran| (ran.exit, ran.output("result")));
    results.sort_unstable();
    assert_eq!(results, [(0, "applied"), (0, "nothing")], "{ran:#?}");
    assert_eq!(story.names(), ["web"]);
    let reported = story.comment(number).body;
    assert!(reported.contains("## Applied") && reported.contains("### Deleted"), "{reported}");
}

#[test]
fn f1_on_gitea_a_comment_of_someone_else_reviews_nothing_and_is_never_edited() {
    let story = GiteaStory::applied("gitea-spoofed", &["banner", "footer", "web"]);
    let number = story.propose("spoofed", |story| story.remove("banner"));
    ended(&story.run(story.job("opened")), 0, "changes");
    let planned = story.comment(number);
    // The copies claim to be of a newer run.
    let spoofed = planned.body.replace(" run=", " run=9");
    assert_ne!(spoofed, planned.body);
    for author in [PASSER_BY, AUTHOR, MAINTAINER] {
        story.repository.comment(author, number, &spoofed);
    }
    let of_others = || {
        let mut comments = story.repository.comments(number);
        comments.retain(|comment| comment.author != GITEA_ACTIONS);
        comments
    };
    let before = of_others();
    assert_eq!(before.len(), 3);

    // No run plans this commit before the merge.
    story.propose_more("spoofed", |story| story.remove("footer"));
    story.job("synchronized").finish(1);
    let [closed, pushed] = story.merge(number, MergeStyle::Squash);
    let ran = story.run(closed);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    assert_eq!(story.names(), ["banner", "footer", "web"]);
    let reported = story.comment(number);
    assert_eq!(reported.id, planned.id);
    assert!(reported.body.contains("### Not deleted") && reported.body.contains("was merged"), "{}", reported.body);
    assert_eq!(of_others(), before);
    pushed.finish(0);
}

#[test]
fn f6_on_gitea_what_happens_after_the_merge_leaves_the_outcome_alone() {
    let story = GiteaStory::applied("gitea-labeled", &["banner", "footer", "web"]);
    let number = story.propose("labeled", |story| story.remove("banner"));
    ended(&story.run(story.job("opened")), 0, "changes");
    let [closed, pushed] = story.merge(number, MergeStyle::Merge);
    ended(&story.run(closed), 0, "applied");
    ended(&story.run(pushed), 0, "nothing");
    let reported = story.comment(number);
    story.repository.label(number, "shipped");
    ended(&story.run(story.job("label_updated")), 0, "nothing");
    assert_eq!(story.comment(number), reported);

    let number = story.propose("dropped", |story| story.remove("web"));
    ended(&story.run(story.job("opened")), 0, "changes");
    story.repository.close(number);
    ended(&story.run(story.job("closed")), 0, "nothing");
    assert!(story.comment(number).body.contains("Closed without a merge"), "{}", story.comment(number).body);
    assert_eq!(story.names(), ["footer", "web"]);
}

#[test]
fn x8_on_gitea_a_comment_of_a_forks_own_job_neither_counts_nor_hides_the_plan() {
    let story = GiteaStory::applied("gitea-fork", &["banner", "footer", "web"]);
    let on_the_cluster = [("KTOR_INPUT_FORKS", "plan")];
    story.repository.fork(AUTHOR);
    story.clone.branch("forked", "main");
    story.remove("banner");
    story.clone.commit("forked");
    story.repository.push_to_fork(AUTHOR, &story.clone, "HEAD:refs/heads/forked");
    let number = story.repository.open_pull(AUTHOR, &format!("{AUTHOR}:forked"));
    ended(&story.run_with(story.job("opened"), Summary::Offered, &on_the_cluster), 0, "changes");
    let planned = story.comment(number);
    assert_eq!((shown_deletions(&planned.body), is_signed(&planned)), (vec!["banner".to_owned()], true));

    // The token of a fork's job may read, and everyone who may read may write comments.
    let marker = planned.body.lines().next().unwrap();
    let forge = |job: &Job<'_>, text: &str| {
        let run = format!("<!-- ktor-action:run head={} run=999999 attempt=1 -->", "1".repeat(40));
        story.repository.comment_with(job.token(), number, &format!("{marker}\n{run}\n\n{text}"));
    };
    story.remove("footer");
    story.clone.commit("more");
    story.repository.push_to_fork(AUTHOR, &story.clone, "HEAD:refs/heads/forked");
    let job = story.job("synchronized");
    forge(&job, "nothing to see");
    ended(&story.run_with(job, Summary::Offered, &on_the_cluster), 0, "changes");
    let [planned_again, forged] = story.comments(number).try_into().unwrap();
    assert_eq!((planned_again.id, is_signed(&planned_again)), (planned.id, true));
    assert_eq!(shown_deletions(&planned_again.body), ["banner", "footer"]);
    assert!(forged.body.ends_with("nothing to see"), "{}", forged.body);

    story.repository.label(number, "later");
    let job = story.job("label_updated");
    forge(&job, "nothing here either");
    job.finish(0);
    let [closed, pushed] = story.merge(number, MergeStyle::Squash);
    ended(&story.run(closed), 0, "applied");
    assert_eq!(story.names(), ["web"]);
    let [reported, ..] = story.comments(number).try_into().map(|comments: [GiteaComment; 3]| comments).unwrap();
    assert!(reported.id == planned.id && reported.body.contains("## Applied"), "{}", reported.body);
    ended(&story.run(pushed), 0, "nothing");
}

#[test]
fn f6_on_gitea_a_head_without_a_branch_gets_no_plan_on_the_cluster() {
    let story = GiteaStory::applied("gitea-agit", &["banner", "web"]);
    let before = story.versions();
    story.remove("banner");
    story.clone.commit("unasked");
    story.repository.push(AUTHOR, &story.clone, "HEAD:refs/for/main", &["topic=unasked"]);
    let job = story.job("opened");
    let number = job.event()["number"].as_u64().unwrap();
    ended(&story.run(job), 0, "changes");
    let planned = story.comment(number);
    assert!(planned.body.contains("Offline plan") && !is_signed(&planned), "{}", planned.body);
    assert!(planned.body.contains("it was made without the cluster"), "{}", planned.body);
    assert_eq!(story.versions(), before);

    let [closed, pushed] = story.merge(number, MergeStyle::Squash);
    let ran = story.run(closed);
    ended(&ran, 3, "kept");
    assert_eq!(story.names(), ["banner", "web"]);
    assert!(story.comment(number).body.contains("its plan is not signed"), "{}", story.comment(number).body);
    pushed.finish(0);
}

#[test]
fn f14_on_gitea_a_conflict_gets_no_plan() {
    let story = GiteaStory::applied("gitea-conflict", &["web"]);
    let number = story.propose("mine", |story| story.config("web", "mine"));
    ended(&story.run(story.job("opened")), 0, "changes");
    let planned = story.comment(number);
    assert!(is_signed(&planned), "{}", planned.body);
    story.clone.git(["fetch", "--quiet", "origin", "main"]);
    story.clone.branch("theirs", "FETCH_HEAD");
    story.config("web", "theirs");
    story.clone.commit("theirs");
    story.push("main");
    ended(&story.run(story.job("push")), 0, "applied");

    // Gitea starts a job for the head of a pull request in conflict.
    let before = story.versions();
    story.clone.branch("mine", "mine");
    story.propose_more("mine", |story| story.config("web", "still mine"));
    let job = story.job("synchronized");
    assert_eq!(story.repository.pull(number)["head"]["sha"], job.text("sha"));
    ended(&story.run(job), 0, "nothing");
    let comment = story.comment(number);
    assert_eq!((comment.id, is_signed(&comment)), (planned.id, false), "{}", comment.body);
    assert!(comment.body.contains("it conflicts with main in k8s/web.yaml"), "{}", comment.body);
    assert_eq!((story.live()["web"].as_str(), story.versions()), ("theirs", before));
}

#[test]
fn f9_on_gitea_a_command_needs_the_token_of_an_administrator() {
    let commands = WORKFLOW.replace("  push:", "  issue_comment: {types: [created]}\n  push:");
    let story = GiteaStory::applied_with("gitea-commands", &["banner", "web"], &commands);
    let number = story.propose("commands", |story| story.remove("banner"));
    ended(&story.run(story.job("opened")), 0, "changes");
    let planned = story.comment(number);
    let before = story.versions();
    story.repository.comment(MAINTAINER, number, "/ktor apply");
    let job = story.job("created");
    assert_eq!(job.text("event_name"), "issue_comment");
    ended(&story.run(job), 0, "nothing");
    let [same, answer] = story.comments(number).try_into().unwrap();
    assert_eq!((same, story.versions()), (planned, before));
    for words in ["Not done", "the forge does not tell who has write access"] {
        assert!(answer.body.contains(words), "{}", answer.body);
    }

    // The owner of a repository may ask.
    story.repository.comment(MAINTAINER, number, "/ktor plan");
    let owner = story.repository.gitea().token(MAINTAINER);
    let ran = story.run_with(story.job("created"), Summary::Offered, &[("KTOR_INPUT_TOKEN", &owner)]);
    ended(&ran, 0, "changes");
    let comments = story.repository.comments(number);
    let answers = comments.iter().filter(|comment| comment.author == MAINTAINER && comment.body.contains("Planned:"));
    assert_eq!(answers.count(), 1, "{comments:#?}");
}

#[test]
fn f11_on_gitea_the_run_again_makes_a_deletion_that_a_silent_forge_kept() {
    let story = GiteaStory::applied("gitea-outage", &["banner", "web"]);
    let number = story.propose("outage", |story| {
        story.remove("banner");
        story.config("web", "two");
    });
    let job = story.job("opened");
    let ended_token = job.token().to_owned();
    ended(&story.run(job), 0, "changes");
    let planned = story.comment(number);
    let [closed, pushed] = story.merge(number, MergeStyle::Squash);
    // The token of a job that has ended is worth nothing: the forge refuses every question.
    let run = pushed.text("run_id").to_owned();
    let ran = story.run_with(pushed, Summary::Offered, &[("KTOR_INPUT_TOKEN", &ended_token)]);
    ended(&ran, 3, "kept");
    assert!(ran.summary.contains("no pull request of this commit is known"), "{}", ran.summary);
    assert_eq!((story.names(), story.live()["web"].as_str()), (vec!["banner".to_owned(), "web".to_owned()], "two"));
    assert_eq!(story.comment(number), planned);
    closed.finish(1);

    story.repository.run_again(&run);
    ended(&story.run(story.job("push")), 0, "applied");
    assert_eq!(story.names(), ["web"]);
    assert!(story.comment(number).body.contains("### Deleted"), "{}", story.comment(number).body);
}

#[test]
fn f7_on_gitea_a_run_without_a_step_summary_is_told_in_the_log() {
    let story = GiteaStory::applied("gitea-log", &["banner", "footer", "web"]);
    let number = story.propose("log", |story| {
        story.remove("banner");
        story.config("web", "two");
    });
    let ran = story.run_with(story.job("opened"), Summary::Absent, &[]);
    ended(&ran, 0, "changes");
    assert_eq!(ran.summary, "");
    let says = |ran: &Ran, words: &[&str]| {
        for word in words {
            assert!(ran.log.contains(word), "{word}: {}", ran.log);
        }
    };
    says(&ran, &["banner", "1 to delete", "web", "two"]);
    // No run plans this commit before the merge.
    story.propose_more("log", |story| story.remove("footer"));
    story.job("synchronized").finish(1);
    let [closed, pushed] = story.merge(number, MergeStyle::Merge);
    let ran = story.run_with(closed, Summary::Absent, &[]);
    ended(&ran, 3, "kept");
    says(&ran, &["banner", "footer", "was merged", "configured"]);
    pushed.finish(0);
}

#[test]
fn s5_on_gitea_a_late_job_of_an_older_commit_writes_nothing() {
    let story = GiteaStory::applied("gitea-late", &["web"]);
    let push = |value: &str| {
        story.config("web", value);
        story.clone.commit(value);
        story.push("main");
        story.job("push")
    };
    let (late, newest) = (push("older"), push("newer"));
    ended(&story.run(newest), 0, "applied");
    let before = story.versions();
    let ran = story.run(late);
    ended(&ran, 0, "nothing");
    assert!(ran.log.contains("superseded"), "{}", ran.log);
    assert_eq!(story.versions(), before);
}

#[test]
fn f7_the_adapter_understands_what_gitea_answers() {
    let story = GiteaStory::applied("gitea-answers", &["banner", "web"]);
    let number = story.propose("answers", |story| story.remove("banner"));
    story.job("opened").finish(0);
    let head = story.clone.head().to_string();
    let base = story.clone.git(["rev-parse", "HEAD~"]);
    let other = story.propose("other", |story| story.config("web", "two"));
    story.job("opened").finish(0);
    let diverged = story.clone.head().to_string();
    let merged = story.repository.merge(other, MergeStyle::Squash);
    let jobs = [story.repository.job(), story.repository.job()];
    let token = jobs[0].token();
    // The token of a job is known to Gitea as a user of its own, who may not read the permissions of others.
    let user = Gitea::shared().api_with(token, "GET", "/user", &Value::Null).success();
    assert_eq!(user["login"], GITEA_ACTIONS);
    let settings = ForgeSettings {
        api_url: jobs[0].text("api_url").to_owned(),
        repository: story.slug(),
        token: Token::new(token).unwrap(),
        author: None,
        patience: Patience::default(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let forge = Forge::new(settings).unwrap();
        let relations = [
            (&base, &head, Relation::Ahead),
            (&head, &base, Relation::Behind),
            (&head, &head, Relation::Identical),
            (&head, &diverged, Relation::Diverged),
        ];
        for (base, head, expected) in relations {
            let compared = forge.compare_files(base, head).await.unwrap();
            assert_eq!((compared.relation, compared.files.truncated), (Some(expected), true), "{base} {head}");
        }
        assert_eq!(forge.compare_files("main", &merged).await.unwrap().relation, Some(Relation::Identical));
        assert_eq!(forge.compare_files("answers", &base).await.unwrap().relation, Some(Relation::Behind));
        assert!(forge.compare_files(&"0123456789".repeat(4), &head).await.is_err());

        let pulls = forge.pulls_of_commit(&merged).await.unwrap();
        assert_eq!(pulls.iter().map(|pull| (pull.number, pull.merged)).collect::<Vec<_>>(), [(other, true)]);
        assert_eq!(pulls[0], forge.pull(other).await.unwrap());
        assert_eq!(forge.pulls_of_commit(&head).await.unwrap(), []);
        let open = forge.pull(number).await.unwrap();
        assert!(open.open && !open.merged && !open.from_fork && open.head_sha == head, "{open:?}");
        assert_eq!(forge.pull_files(number).await.unwrap().paths, ["k8s/banner.yaml".to_owned()].into());
        assert_eq!(forge.find_sticky(number, &Marker::new("shop", "prod")).await.unwrap(), None);
        let refused = forge.permission(AUTHOR).await.unwrap_err();
        assert_eq!(refused.status(), Some(403), "{refused:?}");
    });
    for job in jobs {
        job.finish(0);
    }
}

#[test]
fn f8_f20_on_gitea_the_recipe_plans_and_applies() {
    let (workflow, runner) = (recipes::of_gitea(), Runner::new());
    let story = GiteaStory::applied_with("gitea-act", &["banner", "web"], &workflow);
    let run = |job: Job<'_>| {
        let checkout = job.checkout();
        let mut variables = job.variables();
        variables.push(("SHA_REF", job.text("sha").to_owned()));
        let kubeconfig = std::fs::read_to_string(story.plane.kubeconfig(User::Admin)).unwrap();
        let (directory, event) = (checkout.top(), job.text("event_name"));
        let secrets = vec![("KUBECONFIG".to_owned(), kubeconfig)];
        let (payload, token) = (job.event(), job.token());
        runner.run(ActRun { directory: &directory, event, payload, token, variables, secrets }).succeeded(&["ktor"]);
        job.finish(0);
    };
    let number = story.propose("act", |story| story.remove("banner"));
    run(story.job("opened"));
    let planned = story.comment(number);
    assert_eq!((shown_deletions(&planned.body), is_signed(&planned)), (vec!["banner".to_owned()], true));
    assert_eq!(story.names(), ["banner", "web"]);

    // The recipe asks for no job when a pull request is closed.
    story.repository.merge(number, MergeStyle::Squash);
    run(story.job("push"));
    assert_eq!(story.names(), ["web"]);
    let reported = story.comment(number);
    assert!(reported.id == planned.id && reported.body.contains("### Deleted"), "{}", reported.body);
}

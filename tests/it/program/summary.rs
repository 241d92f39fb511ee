//! `ktor summary`: the plans of a matrix in one comment, and what the applies of its jobs make of it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ktor_action::forge::{Marker, read_plan};
use ktor_action::git::commit::Commit;
use serde_json::{Value, json};
use support::github::{ACTIONS_BOT, FakeGitHub, FakePull};
use support::model::World;
use support::repository::TestRepository;
use support::wire::ApiServer;
use support::workflow_run::{Event, PULL, Ran, WorkflowRun, commented, pushed};
use tempfile::TempDir;

use super::{config_map, new_server};

/// The target of every root.
const TARGET: &str = "prod";

/// A repository with several roots at `deploy`, each with the ConfigMaps `a` and `b` of its name, and its workflow.
struct Matrix {
    origin: TestRepository,
    server: ApiServer,
    forge: FakeGitHub,
    files: TempDir,
    runs: Cell<u64>,
    roots: Vec<String>,
}

impl Matrix {
    /// Creates a matrix of so many roots, all of which were applied.
    fn applied(count: usize) -> Self {
        let matrix = Self {
            origin: TestRepository::new(),
            server: ApiServer::start(new_server()),
            forge: FakeGitHub::start(),
            files: support::temporary_directory(),
            runs: Cell::new(100),
            roots: (0..count).map(|number| format!("r{number}")).collect(),
        };
        matrix.server.write_kubeconfig(&matrix.files.path().join("kubeconfig"));
        let before = matrix.origin.commit("begin");
        for root in &matrix.roots {
            let settings = format!("project: {root}\ncleanup: true\nnamespace: shop\n");
            matrix.origin.write(format!("deploy/{root}/.ktor.yaml"), settings);
            for name in ["a", "b"] {
                matrix.write(root, name, "1");
            }
        }
        let after = matrix.origin.commit("roots");
        for ran in matrix.run_all(&pushed(&before, &after), &after, "sticky") {
            assert_eq!((ran.exit, ran.output("result")), (0, "applied"), "{}", ran.log);
        }
        matrix
    }

    fn write(&self, root: &str, name: &str, value: &str) {
        self.origin.write(format!("deploy/{root}/{name}.yaml"), config_map(&format!("{root}-{name}"), value));
    }

    fn remove(&self, root: &str, name: &str) {
        self.origin.remove(format!("deploy/{root}/{name}.yaml"));
    }

    /// Commits a change on the branch of the pull request, which begins at `main`. Returns its event and its test merge.
    fn propose(&self, change: impl FnOnce(&Self)) -> (Event, Commit) {
        self.origin.branch("feature", "main");
        change(self);
        let head = self.origin.commit("feature");
        let base = self.origin.git(["rev-parse", "main"]);
        self.origin.branch("pull", "main");
        let merge = self.origin.merge("feature");
        self.origin.branch("main", "main");
        self.forge.add_pull(FakePull { head_sha: head.to_string(), base_sha: base.clone(), ..FakePull::new(PULL) });
        let event = Event::of_pull("pull_request-opened", head.as_str(), &base, merge.as_str(), "refs/pull/7/merge");
        (event, merge)
    }

    /// Merges the pull request as a forge does. Returns the event of the push and its commit.
    fn merge(&self) -> (Event, Commit) {
        self.origin.branch("main", "main");
        let (before, head) = (self.origin.head(), self.origin.git(["rev-parse", "feature"]));
        self.origin.git(["merge", "--quiet", "--no-ff", "--message", "Merge pull request #7 from acme/x", "feature"]);
        let commit = self.origin.head();
        let pull = FakePull { head_sha: head, base_sha: before.to_string(), ..FakePull::new(PULL) };
        self.forge.add_pull(pull.merged_as(commit.as_str()));
        (pushed(&before, &commit), commit)
    }

    fn next_run(&self) -> u64 {
        self.runs.set(self.runs.get() + 1);
        self.runs.get()
    }

    /// Runs the jobs of the matrix at the same time, in checkouts of their own.
    fn run_all(&self, event: &Event, commit: &Commit, comment: &str) -> Vec<Ran> {
        let number = self.next_run();
        let kubeconfig = self.files.path().join("kubeconfig");
        let (origin, forge, files) = (&self.origin, &self.forge, self.files.path());
        std::thread::scope(|scope| {
            let jobs: Vec<_> = self
                .roots
                .iter()
                .map(|root| {
                    let checkout = TestRepository::checkout(origin, commit);
                    let kubeconfig = &kubeconfig;
                    scope.spawn(move || {
                        let folder = files.join(format!("{number}-{root}"));
                        let run = WorkflowRun { ktor: env!("CARGO_BIN_EXE_ktor"), forge, folder, number };
                        let path = format!("deploy/{root}");
                        let inputs = [
                            ("KTOR_INPUT_PATH", path.as_str()),
                            ("KTOR_INPUT_TARGET", TARGET),
                            ("KTOR_INPUT_COMMENT", comment),
                        ];
                        run.act(&checkout, event, Some(kubeconfig), &inputs)
                    })
                })
                .collect();
            jobs.into_iter().map(|job| job.join().unwrap()).collect()
        })
    }

    /// Plans the pull request in every job without comments. Returns the folder with the files of all jobs.
    fn plans(&self, event: &Event, commit: &Commit) -> PathBuf {
        let downloaded = self.files.path().join(format!("download-{}", self.runs.get()));
        for (root, ran) in self.roots.iter().zip(self.run_all(event, commit, "off")) {
            assert_eq!(ran.exit, 0, "{}", ran.log);
            let artifact = downloaded.join(format!("ktor-plan-{root}"));
            fs::create_dir_all(&artifact).unwrap();
            for file in fs::read_dir(ran.output("plans")).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), artifact.join(file.file_name())).unwrap();
            }
        }
        downloaded
    }

    /// Runs the last job of the workflow.
    fn summarize(&self, event: &Event, commit: &Commit, plans: &Path, expected: &str) -> Ran {
        let number = self.next_run();
        let folder = self.files.path().join(format!("{number}-summary"));
        let run = WorkflowRun { ktor: env!("CARGO_BIN_EXE_ktor"), forge: &self.forge, folder, number };
        let checkout = TestRepository::checkout(&self.origin, commit);
        let inputs = [("KTOR_INPUT_PLANS", plans.to_str().unwrap()), ("KTOR_INPUT_EXPECTED", expected)];
        run.run("summary", &checkout, event, None, &inputs)
    }

    /// Returns the texts of our comments on the pull request.
    fn comments(&self) -> Vec<String> {
        let comments = self.forge.comments(PULL).into_iter();
        comments.filter(|comment| comment.author == ACTIONS_BOT).map(|comment| comment.body).collect()
    }

    /// Returns the one comment of the pull request.
    #[track_caller]
    fn comment(&self) -> String {
        let mut comments = self.comments();
        assert_eq!(comments.len(), 1, "{comments:#?}");
        comments.remove(0)
    }

    /// Returns the names of the live ConfigMaps.
    fn live(&self) -> BTreeSet<String> {
        let world: World = self.server.world();
        let names = self.roots.iter().flat_map(|root| [format!("{root}-a"), format!("{root}-b")]);
        names.filter(|name| world.object(&format!("/api/v1/namespaces/shop/configmaps/{name}")).is_some()).collect()
    }
}

/// Returns the names of the files of plans in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let artifacts = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        artifacts.flat_map(|artifact| fs::read_dir(artifact).unwrap()).map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// Changes the file of a root's plan.
fn tamper(folder: &Path, root: &str, change: impl FnOnce(&mut Value)) {
    let is_of = |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().contains(&format!("-{root}-"));
    let file = files(folder).iter().find(is_of).unwrap().clone();
    let mut plan = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut plan);
    fs::write(file, plan.to_string()).unwrap();
}

fn block(body: &str, root: &str) -> Option<String> {
    read_plan(body, root, TARGET)?.review.map(str::to_owned)
}

#[test]
fn f17_ten_roots_of_a_matrix_get_one_comment_and_their_applies_lose_nothing() {
    let matrix = Matrix::applied(10);
    let (event, merge) = matrix.propose(|matrix| {
        for root in &matrix.roots[..8] {
            matrix.remove(root, "b");
        }
        matrix.write("r8", "a", "2");
    });
    let plans = matrix.plans(&event, &merge);
    assert!(matrix.comments().is_empty() && files(&plans).len() == 10, "{:?}", files(&plans));
    let expected = matrix.roots.join(",");
    let ran = matrix.summarize(&event, &merge, &plans, &expected);
    assert_eq!((ran.exit, ran.output("result")), (0, "changes"), "{}", ran.log);
    assert_eq!((ran.output("changes"), ran.output("cleanup-count")), ("9", "8"), "{}", ran.log);
    let body = matrix.comment();
    assert!(ran.output("comment-url").contains("#issuecomment-") && ran.summary.contains("| `r9` | `prod` |"));
    assert_eq!(matrix.forge.writes().len(), 1, "one writer, one write");
    for root in &matrix.roots[..9] {
        assert!(block(&body, root).is_some() && body.contains(&format!("\n## `{root}` (`prod`)")), "{root}: {body}");
    }
    assert!(body.contains("| `r9` | `prod` | no changes | 0 | 0 | 0 |") && !body.contains("## `r9`"), "{body}");
    let blocks: BTreeSet<_> = matrix.roots.iter().filter_map(|root| block(&body, root)).collect();
    assert_eq!(blocks.len(), 9);

    // The applies of all roots run at once, and each writes its outcome to a comment of its own.
    let (event, commit) = matrix.merge();
    for (root, ran) in matrix.roots.iter().zip(matrix.run_all(&event, &commit, "sticky")) {
        assert_eq!(ran.exit, 0, "{root}: {}", ran.log);
        let is_deleted = ran.summary.contains(&format!("{root}-b"));
        assert_eq!(is_deleted, matrix.roots[..8].contains(root), "{root}: {}", ran.summary);
    }
    let gone: BTreeSet<String> = matrix.roots[..8].iter().map(|root| format!("{root}-b")).collect();
    assert!(matrix.live().is_disjoint(&gone) && matrix.live().len() == 12, "{:?}", matrix.live());
    let comments = matrix.comments();
    assert_eq!(comments[0], body, "nobody but the summary writes the summary");
    for root in &matrix.roots[..9] {
        let marker = Marker::outcome(root, TARGET);
        let own: Vec<_> = comments.iter().filter(|body| marker.opens(body)).collect();
        assert!(own.len() == 1 && own[0].contains("## Applied"), "{root}: {own:?}");
    }
    assert_eq!(comments.len(), 10);
    // A repeated run finds the plan again and has nothing to do.
    for ran in matrix.run_all(&event, &commit, "sticky") {
        assert_eq!((ran.exit, ran.output("result")), (0, "nothing"), "{}", ran.log);
    }
}

#[test]
fn f17_a_later_summary_edits_the_comment_and_nothing_to_say_makes_none() {
    let matrix = Matrix::applied(2);
    let (event, merge) = matrix.propose(|matrix| {
        matrix.origin.write("README.md", "# Text\n");
    });
    let plans = matrix.plans(&event, &merge);
    let ran = matrix.summarize(&event, &merge, &plans, "r0:prod, r1");
    assert_eq!((ran.exit, ran.output("result")), (0, "no-changes"), "{}", ran.log);
    assert!(matrix.comments().is_empty() && matrix.forge.writes().is_empty());

    let (event, merge) = matrix.propose(|matrix| matrix.remove("r0", "b"));
    // The plans of the older head do not count any more.
    let ran = matrix.summarize(&event, &merge, &plans, "r0, r1");
    assert_eq!((ran.exit, ran.output("result")), (1, "failed"), "{}", ran.log);
    assert!(ran.log.contains("it is of another head") && ran.log.contains("there is no plan of r0"), "{}", ran.log);
    let first = matrix.forge.comments(PULL)[0].id;
    let plans = matrix.plans(&event, &merge);
    assert_eq!(matrix.summarize(&event, &merge, &plans, "r0, r1").exit, 0);
    let body = matrix.comment();
    assert!(block(&body, "r0").is_some() && !body.contains("another head"), "{body}");
    assert_eq!(matrix.forge.comments(PULL)[0].id, first);

    // The comment that exists says so if nothing changes any more, and the plan of the older head is gone.
    let (event, merge) = matrix.propose(|matrix| {
        matrix.origin.write("README.md", "# Other\n");
    });
    let plans = matrix.plans(&event, &merge);
    assert_eq!(matrix.summarize(&event, &merge, &plans, "r0, r1").exit, 0);
    let body = matrix.comment();
    assert!(body.contains("2 plans: nothing to do") && block(&body, "r0").is_none(), "{body}");

    // After the merge, a summary that is late writes nothing.
    matrix.merge();
    let ran = matrix.summarize(&event, &merge, &plans, "r0, r1");
    assert_eq!((ran.exit, ran.output("result")), (0, "nothing"), "{}", ran.log);
    assert_eq!(matrix.comment(), body);
}

#[test]
fn f17_a_merge_queues_group_has_one_check_for_all_plans_and_no_comment() {
    let matrix = Matrix::applied(2);
    let (_, merge) = matrix.propose(|matrix| matrix.remove("r0", "b"));
    let before = matrix.origin.git(["rev-parse", "main"]);
    let group = |head: &str| {
        let mut event = pushed(&before.parse().unwrap(), &merge).named("merge_group");
        *event.payload() = json!({"repository": event.payload()["repository"], "merge_group": {"head_sha": head,
            "base_sha": before, "head_ref": "refs/heads/gh-readonly-queue/main/pr-7-1", "base_ref": "refs/heads/main"}});
        event
    };
    let event = group(merge.as_str());
    let plans = matrix.plans(&event, &merge);
    let ran = matrix.summarize(&event, &merge, &plans, "r0, r1");
    assert_eq!((ran.exit, ran.output("result"), ran.output("cleanup-count")), (0, "changes", "1"), "{}", ran.log);
    assert!(ran.summary.contains("| `r0` | `prod` |") && ran.summary.contains("r0-b"), "{}", ran.summary);
    assert!(matrix.comments().is_empty() && matrix.forge.writes().is_empty());

    // A plan that is missing, or of another group, fails the one check.
    let ran = matrix.summarize(&event, &merge, &plans, "r0, r1, r2");
    assert!(ran.exit == 1 && ran.log.contains("there is no plan of r2"), "{}", ran.log);
    let other = group(&before);
    let ran = matrix.summarize(&other, &merge, &plans, "r0, r1");
    assert!(ran.exit == 1 && ran.log.contains("it is of another head"), "{}", ran.log);
}

#[test]
fn f15_f17_a_plan_that_a_comment_asks_for_reaches_the_one_comment_of_the_summary() {
    let matrix = Matrix::applied(2);
    let (_, _) = matrix.propose(|matrix| matrix.remove("r0", "b"));
    let main = matrix.origin.git(["rev-parse", "main"]).parse().unwrap();
    matrix.origin.git(["update-ref", "refs/pull/7/head", "feature"]);
    let asked = |author: &str| {
        let id = matrix.forge.add_comment(PULL, author, "/ktor plan");
        commented(PULL, id, author, "/ktor plan", &main)
    };
    matrix.forge.set_permission("maria", "write");
    let event = asked("maria");
    let plans = matrix.plans(&event, &main);
    let ran = matrix.summarize(&event, &main, &plans, "r0, r1");
    assert_eq!((ran.exit, ran.output("result"), ran.output("cleanup-count")), (0, "changes", "1"), "{}", ran.log);
    let bodies = matrix.comments();
    let written: Vec<_> = bodies.iter().filter(|body| body.contains("## `r0` (`prod`)")).collect();
    assert!(written.len() == 1 && block(written[0], "r0").is_some(), "{bodies:#?}");

    // Who may not ask gets no plan, and the summary has nothing to say.
    let event = asked("stranger");
    for ran in matrix.run_all(&event, &main, "off") {
        assert!(ran.exit == 0 && ran.output("plans").is_empty(), "{}", ran.log);
    }
    let empty = matrix.files.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let ran = matrix.summarize(&event, &main, &empty, "r0, r1");
    assert_eq!((ran.exit, ran.output("result")), (0, "nothing"), "{}", ran.log);

    let (event, commit) = matrix.merge();
    for ran in matrix.run_all(&event, &commit, "sticky") {
        assert_eq!(ran.exit, 0, "{}", ran.log);
    }
    assert!(!matrix.live().contains("r0-b") && matrix.live().len() == 3, "{:?}", matrix.live());
}

/// A change of what lies between a plan and its apply, and the words of the apply's report.
type Forgery = (&'static str, fn(&Matrix, &Path), fn(&Matrix), &'static str);

#[test]
fn f17_what_the_comment_does_not_show_is_not_deleted() {
    let hidden = |_: &Matrix| {};
    let forgeries: [Forgery; 5] = [
        (
            "a file with another text beside its block",
            |_, plans| {
                tamper(plans, "r0", |plan| plan["texts"] = json!(["## `r0` (`prod`): nothing to do\n"]));
            },
            hidden,
            "shows another text than the plan signed",
        ),
        (
            "a file with the block of another root",
            |_, plans| {
                let mut other = Value::Null;
                tamper(plans, "r1", |plan| other = plan["block"].clone());
                tamper(plans, "r0", |plan| plan["block"] = other);
            },
            hidden,
            "signature of its plan is wrong",
        ),
        (
            "a file that says that nothing changes",
            |_, plans| tamper(plans, "r0", |plan| plan["isSilent"] = json!(true)),
            hidden,
            "its plan is not signed",
        ),
        (
            "a section that was edited",
            |_, _| {},
            |matrix| {
                let body = matrix.comment().replace("`ConfigMap shop/r0-b`", "`ConfigMap shop/r0-x`");
                matrix.forge.edit_comment(matrix.forge.comments(PULL)[0].id, &body);
            },
            "shows another text than the plan signed",
        ),
        (
            "a summary that was written after the merge",
            |_, _| {},
            |matrix| {
                let id = matrix.forge.comments(PULL)[0].id;
                matrix.forge.set_comment_time(id, "2999-01-02T03:04:05Z");
            },
            "was written or changed after the merge",
        ),
    ];
    for (name, of_files, of_comment, expected) in forgeries {
        let matrix = Matrix::applied(2);
        let (event, merge) = matrix.propose(|matrix| {
            matrix.remove("r0", "b");
            matrix.remove("r1", "b");
        });
        let plans = matrix.plans(&event, &merge);
        of_files(&matrix, &plans);
        let ran = matrix.summarize(&event, &merge, &plans, "r0, r1");
        assert_eq!(ran.exit, 0, "{name}: {}", ran.log);
        let (event, commit) = matrix.merge();
        of_comment(&matrix);
        let ran = matrix.run_all(&event, &commit, "sticky");
        assert_eq!(ran[0].exit, 3, "{name}: {}", ran[0].log);
        assert!(ran[0].summary.contains(expected), "{name}: {}", ran[0].summary);
        assert!(matrix.live().contains("r0-b"), "{name}");
        if expected.contains("merge") {
            assert_eq!(ran[1].exit, 3, "{name}: {}", ran[1].log);
        } else {
            assert_eq!(ran[1].exit, 0, "the other root is not concerned: {name}: {}", ran[1].log);
            assert!(!matrix.live().contains("r1-b"), "{name}");
        }
    }
}

#[test]
fn f17_a_plan_that_fails_or_is_missing_fails_the_check_and_stands_in_the_comment() {
    let matrix = Matrix::applied(3);
    let (event, merge) = matrix.propose(|matrix| {
        matrix.remove("r0", "b");
        matrix.origin.write("deploy/r1/.ktor.yaml", "project: r1\ncleanup: perhaps\n");
    });
    let ran = matrix.run_all(&event, &merge, "off");
    let exits: Vec<i32> = ran.iter().map(|ran| ran.exit).collect();
    assert_eq!(exits, [0, 1, 0]);
    let plans = matrix.files.path().join("plans");
    fs::create_dir(&plans).unwrap();
    for ran in &ran[..2] {
        for file in fs::read_dir(ran.output("plans")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), plans.join(file.file_name())).unwrap();
        }
    }
    let ran = matrix.summarize(&event, &merge, &plans, "r0, r2");
    assert_eq!((ran.exit, ran.output("result")), (1, "failed"), "{}", ran.log);
    assert!(ran.log.contains("::error") && ran.log.contains("there is no plan of r2"), "{}", ran.log);
    let body = matrix.comment();
    for said in ["there is no plan of r2", "No plan for `prod`", ".ktor.yaml:2:", "🔴 failed", "## `r0` (`prod`)"] {
        assert!(body.contains(said), "{said}: {body}");
    }
    assert!(block(&body, "r0").is_some());
    // Nothing at all is not a success either, but an event without a plan is none of the summary's business.
    let ran = matrix.summarize(&event, &merge, &matrix.files.path().join("nowhere"), "");
    assert_eq!(ran.exit, 1, "{}", ran.log);
    let (event, commit) = matrix.merge();
    let ran = matrix.summarize(&event, &commit, &plans, "r0, r2");
    assert_eq!((ran.exit, ran.output("result")), (0, "nothing"), "{}", ran.log);
}

#[test]
fn f17_without_a_summary_each_root_has_its_comment_and_none_loses_its_block() {
    let matrix = Matrix::applied(3);
    let (event, merge) = matrix.propose(|matrix| {
        for root in &matrix.roots {
            matrix.remove(root, "b");
        }
    });
    for ran in matrix.run_all(&event, &merge, "sticky") {
        assert_eq!((ran.exit, ran.output("plans")), (0, ""), "{}", ran.log);
    }
    let blocks = |matrix: &Matrix| -> Vec<String> {
        let comments = matrix.comments();
        assert_eq!(comments.len(), 3, "{comments:#?}");
        let of_root = |root: &String| comments.iter().find_map(|body| block(body, root)).unwrap();
        matrix.roots.iter().map(of_root).collect()
    };
    let before = blocks(&matrix);
    let (event, commit) = matrix.merge();
    for ran in matrix.run_all(&event, &commit, "sticky") {
        assert_eq!((ran.exit, ran.output("result")), (0, "applied"), "{}", ran.log);
    }
    assert_eq!(matrix.live().len(), 3);
    assert_eq!(blocks(&matrix), before);
    assert!(matrix.comments().iter().all(|body| body.contains("## Applied")), "{:#?}", matrix.comments());
}

#[test]
fn f17_a_new_comment_for_each_run_makes_the_older_plan_not_count() {
    let matrix = Matrix::applied(1);
    let (event, merge) = matrix.propose(|matrix| matrix.remove("r0", "b"));
    assert_eq!(matrix.run_all(&event, &merge, "new")[0].exit, 0);
    let first = matrix.comment();
    assert!(block(&first, "r0").is_some(), "{first}");
    let (event, merge) = matrix.propose(|matrix| matrix.remove("r0", "a"));
    assert_eq!(matrix.run_all(&event, &merge, "new")[0].exit, 0);
    let comments = matrix.comments();
    assert_eq!(comments.len(), 2, "{comments:#?}");
    assert!(
        Marker::outdated("r0", TARGET).opens(&comments[0]) && comments[0].contains("**Outdated:**"),
        "{comments:#?}"
    );
    assert!(!comments[0].contains("data review") && block(&comments[1], "r0").is_some(), "{comments:#?}");
    // The block of the first plan counts no more, even if its comment comes back as it was.
    let (event, commit) = matrix.merge();
    matrix.forge.edit_comment(matrix.forge.comments(PULL)[0].id, &first);
    let ran = &matrix.run_all(&event, &commit, "new")[0];
    assert_eq!((ran.exit, ran.output("result")), (0, "applied"), "{}", ran.log);
    assert_eq!(matrix.live(), ["r0-b".to_owned()].into());
    let comments = matrix.comments();
    let counting: Vec<_> = comments.iter().filter(|body| block(body, "r0").is_some()).collect();
    assert!(counting.len() == 1 && counting[0].contains("## Applied"), "{comments:#?}");
}

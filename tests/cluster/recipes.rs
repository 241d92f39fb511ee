//! The workflows of `docs/recipes` and of the README: they are sound, and each does what it is for.
//!
//! `act` runs each workflow as its file has it, but for the substitutions that a test names. A substitution that no longer
//! applies fails its test.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use ktor_action::git::commit::Commit;
use serde_json::{Value, json};
use support::controlplane::{ControlPlane, User};
use support::github::{Fault, TOKEN};
use support::linters::{Linters, Schema};
use support::repository::TestRepository;
use support::workflow_run::{Event, PULL, commented, pushed, queued, tagged};

use crate::act::{ActRan, ActRun, IDENTITY, KUBECONFIG, Runner, stand_ins, used_actions};
use crate::story::{Story, live, plane_with};

/// The directory of the tree in a story.
const PATH: (&str, &str) = ("path: deploy", "path: k8s");

/// The place for the sign-in in the README's workflows, and the sign-in of the tests.
const SIGN_IN: (&str, &str) = (
    "      # Here: the step that signs in to your cluster and writes a kubeconfig.\n",
    "      - run: echo \"KUBECONFIG=$STAND_IN_KUBECONFIG\" >>\"$GITHUB_ENV\"\n",
);

/// The names of the README's workflows, in their order.
const README: [&str; 4] = ["readme-pull-requests", "readme-commands", "readme-matrix", "readme-drift"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the paths of the workflows of `docs/recipes`.
fn recipes() -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("docs/recipes")).unwrap();
    let files = folder.map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    files
}

/// Returns the README's workflows.
fn readme() -> [String; 4] {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = readme.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect::<Vec<_>>().try_into().unwrap()
}

/// Returns a text with substitutions. Each of them must apply.
#[track_caller]
fn substituted(text: &str, table: &[(&str, &str)]) -> String {
    table.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "this is no longer in the workflow: {from}\n{text}");
        text.replace(from, to)
    })
}

/// Returns a recipe for the tree of a story.
#[track_caller]
fn recipe(name: &str) -> String {
    substituted(&fs::read_to_string(root().join("docs/recipes").join(name)).unwrap(), &[PATH])
}

/// Returns the recipe for Gitea. `act` does not know addresses of actions.
pub fn of_gitea() -> String {
    substituted(&recipe("gitea.yaml"), &[("https://github.com/karellen/ktor-action@v1", "karellen/ktor-action@v1")])
}

/// A repository with a workflow, and the runs of the workflow.
struct Shop {
    story: Story,
    runner: Runner,
    /// The secrets of the repository.
    secrets: Vec<(String, String)>,
    /// The variables that only this shop's runner sets.
    variables: Vec<(&'static str, String)>,
    runs: Cell<u64>,
}

impl Shop {
    /// Creates a shop whose `main` has a workflow and no manifest.
    fn new(root: &str, workflow: &str) -> Self {
        let story = Story::new(root);
        story.origin.write(".github/workflows/ktor.yaml", workflow);
        story.origin.commit("workflow");
        let kubeconfig = story.kubeconfig();
        let secrets = vec![("KUBECONFIG".to_owned(), fs::read_to_string(&kubeconfig).unwrap())];
        let variables = vec![(KUBECONFIG, kubeconfig.to_str().unwrap().to_owned())];
        Self { story, runner: Runner::new(), secrets, variables, runs: Cell::new(500) }
    }

    /// Runs the workflow for an event, with the secrets and the identity of the repository.
    fn run(&self, event: &Event, commit: &Commit) -> ActRan {
        let identity = (IDENTITY, "true".to_owned());
        self.run_with(event, commit, self.secrets.clone(), self.variables.iter().cloned().chain([identity]))
    }

    /// Runs the workflow for an event of a stranger, to whom the forge gives nothing.
    fn run_for_stranger(&self, event: &Event, commit: &Commit) -> ActRan {
        self.run_with(event, commit, Vec::new(), self.variables.iter().cloned())
    }

    fn run_with(
        &self,
        event: &Event,
        commit: &Commit,
        secrets: Vec<(String, String)>,
        further: impl Iterator<Item = (&'static str, String)>,
    ) -> ActRan {
        self.runs.set(self.runs.get() + 1);
        let checkout = TestRepository::checkout(&self.story.origin, commit);
        // act copies this checkout for every job, so it is as deep as the deepest checkout of the workflow.
        let workflow = fs::read_to_string(checkout.top().join(".github/workflows/ktor.yaml")).unwrap();
        let depth = if workflow.contains("fetch-depth: 2") { "--depth=2" } else { "--depth=1" };
        checkout.git(["fetch", "--quiet", "--no-tags", depth, "origin", commit.as_str()]);
        let variables = event.variables(&self.story.forge, self.runs.get()).into_iter().chain(further);
        // act takes the commit of the event from a variable of its own.
        let variables = variables.flat_map(|(name, value)| {
            let again = (name == "GITHUB_SHA").then(|| ("SHA_REF", value.clone()));
            again.into_iter().chain([(name, value)])
        });
        let (mut event, directory) = (event.clone(), checkout.top());
        let (name, variables) = (event.name(), variables.collect());
        let payload = event.payload();
        self.runner.run(ActRun { directory: &directory, event: name, payload, token: TOKEN, variables, secrets })
    }

    /// Pushes a change to `main`, and runs the workflow.
    fn push(&self, change: impl FnOnce(&Story)) -> ActRan {
        let (event, commit) = self.story.push(change);
        self.run(&event, &commit)
    }

    /// Merges the pull request, and returns the event of the push and its commit.
    fn merge(&self) -> (Event, Commit) {
        self.story.origin.branch("main", "main");
        let before = self.story.origin.head();
        let (_, merged) = self.story.merge();
        (pushed(&before, &merged), merged)
    }

    /// Lives one life: the first apply, a pull request that deletes an object, its merge. Checks which jobs ran.
    #[track_caller]
    fn lives(&self, planning: &[&str], applying: &[&str]) {
        let story = &self.story;
        let ran = self.push(|story| {
            story.config("web", "one").config("banner", "hello");
        });
        ran.succeeded(applying);
        assert_eq!(story.live(), values([("banner", "hello"), ("web", "one")]));

        let before = story.versions();
        let (opened, merge) = story.propose("opened", |story| {
            story.remove("banner").config("web", "two");
        });
        self.run(&opened, &merge).succeeded(planning);
        assert_eq!((story.shown_deletions(), story.is_signed()), (vec!["banner".to_owned()], true));
        assert_eq!(story.versions(), before, "a plan wrote to the cluster");

        let (pushed, merged) = self.merge();
        self.run(&pushed, &merged).succeeded(applying);
        assert_eq!(story.live(), values([("web", "two")]));
        assert!(story.comment().body.contains("### Deleted"), "{}", story.comment().body);
    }
}

fn values<const N: usize>(values: [(&str, &str); N]) -> BTreeMap<String, String> {
    values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Returns a second control plane, for the other of two targets.
fn other_plane() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| ControlPlane::start().unwrap_or_else(|error| panic!("{error}")))
}

fn kubeconfig_of(plane: &ControlPlane) -> String {
    plane.kubeconfig(User::Admin).to_str().unwrap().to_owned()
}

fn create_namespace(plane: &ControlPlane, name: &str) {
    let created = plane.kubectl(&["create", "namespace", name]);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
}

#[test]
fn f20_a_kubeconfig_from_a_secret_is_enough_and_strangers_do_without() {
    let shop = Shop::new("recipe-kubeconfig", &recipe("kubeconfig.yaml"));
    shop.lives(&["ktor"], &["ktor"]);
    let (opened, merge) = shop.story.propose("opened", |story| {
        story.config("web", "three");
    });
    shop.run_for_stranger(&opened.of_dependabot(), &merge).succeeded(&["ktor"]);
    assert!(shop.story.comment().body.contains("## Offline plan"), "{}", shop.story.comment().body);
}

#[test]
fn f20_an_approved_plan_is_applied_and_nothing_else() {
    let shop = Shop::new("recipe-environment", &recipe("environment.yaml"));
    shop.lives(&["plan"], &["apply", "plan"]);
    let before = shop.story.versions();
    let ran = shop.push(|story| {
        story.origin.write("k8s/broken.yaml", "kind: ConfigMap\n");
    });
    ran.failed(&[("plan", false)]);
    // The plan that a person approved is another one.
    let other = [("expect-digest: ${{ needs.plan.outputs.digest }}", "expect-digest: 0123456789abcdef")];
    let workflow = substituted(&recipe("environment.yaml"), &other);
    let ran = shop.push(|story| {
        story.remove("broken").config("web", "three");
        story.origin.write(".github/workflows/ktor.yaml", workflow);
    });
    let ran = ran.failed(&[("plan", true), ("apply", false)]);
    assert!(ran.log.contains("digest"), "{}", ran.log);
    assert_eq!((shop.story.live(), shop.story.versions()), (values([("web", "two")]), before));
}

#[test]
fn f20_the_sign_in_to_each_cloud_gives_a_kubeconfig() {
    for name in ["eks", "gke", "aks"] {
        let workflow = recipe(&format!("{name}.yaml"));
        assert!(workflow.contains("id-token: write") && !workflow.contains("secrets."), "{workflow}");
        let shop = Shop::new(&format!("recipe-{name}"), &workflow);
        shop.lives(&["ktor"], &["ktor"]);
        // Without an identity, the sign-in fails.
        let (event, commit) = shop.story.push(|story| {
            story.config("web", "three");
        });
        shop.run_for_stranger(&event, &commit).failed(&[("ktor", false)]);
        assert_eq!(shop.story.live()["web"], "two");
    }
}

#[test]
fn f20_a_runner_in_the_cluster_uses_its_pod_and_never_runs_for_a_fork() {
    let mut shop = Shop::new("recipe-pod", &recipe("in-cluster.yaml"));
    // The runner of the test is not in a pod. A kubeconfig of the runner takes the place of the service account.
    let (event, commit) = shop.story.push(|story| {
        story.config("web", "none");
    });
    let ran = shop.run(&event, &commit).failed(&[("ktor", false)]);
    assert!(ran.log.contains("service account"), "{}", ran.log);
    shop.variables.push(("KUBECONFIG", kubeconfig_of(shop.story.plane)));
    shop.lives(&["ktor"], &["ktor"]);
    let (opened, merge) = shop.story.propose("opened", |story| {
        story.config("web", "three");
    });
    let before = shop.story.comment();
    shop.run_for_stranger(&opened.forked(), &merge).succeeded(&[]);
    assert_eq!(shop.story.comment(), before);
}

#[test]
fn f20_a_merge_queue_is_planned_and_its_push_is_applied() {
    let shop = Shop::new("recipe-queue", &recipe("merge-queue.yaml"));
    shop.lives(&["ktor"], &["ktor"]);
    let (_, merge) = shop.story.propose("opened", |story| {
        story.config("web", "three");
    });
    let before = (shop.story.versions(), shop.story.comment());
    let base: Commit = shop.story.origin.git(["rev-parse", "main"]).parse().unwrap();
    let ran = shop.run(&queued(&base, &merge), &merge).succeeded(&["ktor"]);
    assert!(ran.log.contains("plan of recipe-queue") && ran.log.contains("three"), "{}", ran.log);
    assert_eq!((shop.story.versions(), shop.story.comment()), before);
}

#[test]
fn f20_a_tag_applies_what_was_merged_and_a_merge_applies_nothing() {
    let shop = Shop::new("recipe-tags", &recipe("tags.yaml"));
    let story = &shop.story;
    let (event, commit) = story.push(|story| {
        story.config("web", "one").config("banner", "hello");
    });
    let applies_nothing = |event: &Event, commit: &Commit| {
        let before = story.versions();
        let ran = shop.run(event, commit);
        assert!(ran.jobs.values().all(|succeeded| *succeeded), "{}", ran.log);
        assert_eq!(story.versions(), before, "{}", ran.log);
    };
    applies_nothing(&event, &commit);
    shop.run(&tagged(&commit, "refs/tags/v1.0.0"), &commit).succeeded(&["ktor"]);
    assert_eq!(story.live(), values([("banner", "hello"), ("web", "one")]));
    let (opened, merge) = story.propose("opened", |story| {
        story.remove("banner");
    });
    shop.run(&opened, &merge).succeeded(&["ktor"]);
    assert_eq!((story.shown_deletions(), story.is_signed()), (vec!["banner".to_owned()], true));
    let (pushed, merged) = shop.merge();
    applies_nothing(&pushed, &merged);
    applies_nothing(&tagged(&merged, "refs/tags/nightly"), &merged);
    shop.run(&tagged(&merged, "refs/tags/v1.1.0"), &merged).succeeded(&["ktor"]);
    assert_eq!(story.live(), values([("web", "one")]));
}

#[test]
fn f20_stages_are_applied_in_their_order_and_a_failure_stops_the_later_ones() {
    let root = "recipe-stages";
    let shop = Shop::new(root, &recipe("stages.yaml"));
    let story = &shop.story;
    let stages = ["dev", "staging", "prod"];
    // All three are on one cluster here, so each needs a root of its own.
    let targets: String = stages.iter().map(|stage| format!("  {stage}: {{project: {root}-{stage}}}\n")).collect();
    let set = |value: &str| {
        for stage in stages {
            story.config(&format!("overlays/{stage}/{stage}"), value);
        }
    };
    let ran = shop.push(|story| {
        let settings =
            format!("project: {root}\ncleanup: true\nnamespace: {root}\noverlays: ['overlays/{{target}}']\n");
        story.origin.write("k8s/.ktor.yaml", format!("{settings}targets:\n{targets}"));
        set("one");
    });
    ran.succeeded(&["dev", "prod", "staging"]);
    let all = |value: &str| values(stages.map(|stage| (stage, value)));
    assert_eq!(story.live(), all("one"));

    let (opened, merge) = story.propose("opened", |_| set("two"));
    shop.run(&opened, &merge).succeeded(&["plan-1", "plan-2", "plan-3"]);
    assert_eq!((story.forge.comments(PULL).len(), story.live()), (3, all("one")));

    let (pushed, merged) = shop.merge();
    shop.run(&pushed, &merged).succeeded(&["dev", "prod", "staging"]);
    assert_eq!(story.live(), all("two"));

    let ran = shop.push(|story| {
        set("three");
        story.origin.write("k8s/overlays/staging/broken.yaml", "kind: ConfigMap\n");
    });
    ran.failed(&[("dev", true), ("staging", false)]);
    assert_eq!(story.live(), values([("dev", "three"), ("prod", "two"), ("staging", "two")]));
    let ran = shop.push(|story| {
        story.origin.rename("k8s/overlays/staging/broken.yaml", "k8s/overlays/dev/broken.yaml");
    });
    ran.failed(&[("dev", false)]);
    assert_eq!(story.live(), values([("dev", "three"), ("prod", "two"), ("staging", "two")]));
}

#[test]
fn f20_a_matrix_plans_the_targets_that_a_change_concerns() {
    let root = "recipe-matrix";
    let table = [
        // act has no environments. Here the name of an environment's secret has the name of the environment.
        ("secrets.KUBECONFIG", "secrets[format('KUBECONFIG_{0}', matrix.target)]"),
        ("expected=shop:", "expected=recipe-matrix:"),
        (",shop:", ",recipe-matrix:"),
        ("--path deploy", "--path k8s"),
    ];
    let mut shop = Shop::new(root, &substituted(&recipe("matrix.yaml"), &table));
    let planes = [("dev", shop.story.plane), ("prod", other_plane())];
    create_namespace(planes[1].1, root);
    shop.secrets = planes
        .map(|(target, plane)| {
            let kubeconfig = fs::read_to_string(plane.kubeconfig(User::Admin)).unwrap();
            (format!("KUBECONFIG_{target}"), kubeconfig)
        })
        .into();
    let story = &shop.story;
    let values = || planes.map(|(_, plane)| live(plane, root).remove("web").unwrap_or_default());
    let settings = "targets: {dev: , prod: }\noverlays: ['overlays/{target}']\n";
    let ran = shop.push(|story| {
        let settings = format!("project: {root}\ncleanup: true\nnamespace: {root}\n{settings}");
        story.origin.write("k8s/.ktor.yaml", settings);
        story.config("overlays/dev/web", "one").config("overlays/prod/web", "one");
    });
    ran.succeeded(&["ktor-1", "ktor-2", "targets"]);
    assert_eq!(values(), ["one", "one"]);

    let planning = ["ktor", "summary", "targets"];
    let (opened, merge) = story.propose("opened", |story| {
        story.origin.write("README.md", "# The shop\n\nIt is open.\n");
    });
    shop.run(&opened, &merge).succeeded(&planning);
    assert!(story.forge.comments(PULL).is_empty(), "{:#?}", story.forge.comments(PULL));

    let (opened, merge) = story.propose("synchronize", |story| {
        story.config("overlays/prod/web", "two");
    });
    shop.run(&opened, &merge).succeeded(&planning);
    let comment = story.comment().body;
    assert!(comment.contains("prod") && !comment.contains("dev") && comment.contains("two"), "{comment}");

    // A later commit takes the change back, and the comment says so.
    let (opened, merge) = story.propose("synchronize", |story| {
        story.config("overlays/prod/web", "one");
    });
    shop.run(&opened, &merge).succeeded(&planning);
    assert!(!story.comment().body.contains("two"), "{}", story.comment().body);

    let (opened, merge) = story.propose("synchronize", |story| {
        story.config("overlays/prod/web", "two");
    });
    shop.run(&opened, &merge).succeeded(&planning);
    let (pushed, merged) = shop.merge();
    shop.run(&pushed, &merged).succeeded(&["ktor-1", "ktor-2", "targets"]);
    assert_eq!(values(), ["one", "two"]);
}

#[test]
fn f20_strangers_are_planned_without_a_sign_in_and_their_check_is_green() {
    let shop = Shop::new("recipe-forks", &recipe("forks.yaml"));
    shop.lives(&["ktor"], &["ktor"]);
    let story = &shop.story;
    let (opened, merge) = story.propose("opened", |story| {
        story.config("web", "three");
    });
    // The token of a fork may not write.
    let before = story.comment();
    story.forge.fault(Fault::answer("PATCH", "/issues/comments/", 403));
    let ran = shop.run_for_stranger(&opened.clone().forked(), &merge).succeeded(&["ktor"]);
    assert!(ran.log.contains("three"), "{}", ran.log);
    assert_eq!((story.comment(), story.forge.faults_left()), (before, 0));

    shop.run_for_stranger(&opened.clone().of_dependabot(), &merge).succeeded(&["ktor"]);
    let body = story.comment().body;
    assert!(body.contains("## Offline plan") && body.contains("three") && !story.is_signed(), "{body}");

    shop.run(&opened, &merge).succeeded(&["ktor"]);
    assert!(story.is_signed(), "{}", story.comment().body);
}

#[test]
fn f20_the_readmes_first_workflow_plans_and_applies() {
    let [workflow, ..] = readme();
    let shop = Shop::new("readme-first", &substituted(&workflow, &[PATH, SIGN_IN]));
    shop.lives(&["ktor"], &["ktor"]);
}

#[test]
fn f20_the_readmes_workflow_for_comments_carries_out_commands_alone() {
    let [_, workflow, ..] = readme();
    let shop = Shop::new("readme-commands", &substituted(&workflow, &[PATH, SIGN_IN]));
    let story = &shop.story;
    let (event, commit) = story.push(|story| {
        story.config("web", "one");
    });
    assert_eq!(story.run(&event, &commit).exit, 0);
    story.propose("opened", |story| {
        story.config("web", "two");
    });
    story.forge.set_permission("jonas-rev", "write");
    for (text, jobs) in [("Looks good.", &[][..]), ("/ktor plan", &["ktor"])] {
        let id = story.forge.add_comment(PULL, "jonas-rev", text);
        shop.run(&commented(PULL, id, "jonas-rev", text, &commit), &commit).succeeded(jobs);
    }
    let comments = story.forge.comments(PULL);
    assert!(comments.iter().any(|comment| comment.body.contains("two")), "{comments:#?}");
}

#[test]
fn f20_the_readmes_matrix_makes_one_comment_and_applies_everywhere() {
    let [_, _, workflow, _] = readme();
    let table = [
        PATH,
        ("shop", "readme-shop"),
        ("billing", "readme-billing"),
        (
            "      # Here: the step that signs in to the cluster of the target and writes a kubeconfig.\n",
            "      - env: {TARGET: \"${{ matrix.target }}\"}\n        run: |\n          \
             for pair in $STAND_IN_KUBECONFIGS; do\n            \
             [ \"${pair%%=*}\" != \"$TARGET\" ] || echo \"KUBECONFIG=${pair#*=}\" >>\"$GITHUB_ENV\"\n          done\n",
        ),
    ];
    let mut shop = Shop::new("readme-matrix", &substituted(&workflow, &table));
    let planes = [("staging", shop.story.plane), ("prod", other_plane())];
    let kubeconfigs = planes.map(|(target, plane)| format!("{target}={}", kubeconfig_of(plane)));
    shop.variables.push(("STAND_IN_KUBECONFIGS", kubeconfigs.join(" ")));
    let story = &shop.story;
    let roots = ["readme-billing", "readme-shop"];
    for root in roots {
        plane_with(root);
        create_namespace(planes[1].1, root);
    }
    let set = |value: &str| {
        for root in roots {
            story.config(&format!("{root}/web"), value);
        }
    };
    let everywhere = |value: &str| {
        for ((target, plane), root) in planes.iter().flat_map(|plane| roots.map(|root| (plane, root))) {
            assert_eq!(live(plane, root), values([("web", value)]), "{root} on {target}");
        }
    };
    let applying = ["ktor-1", "ktor-2", "ktor-3", "ktor-4"];
    let ran = shop.push(|story| {
        story.origin.remove("k8s/.ktor.yaml");
        for root in roots {
            let settings = format!("project: {root}\ncleanup: true\nnamespace: {root}\n");
            story.origin.write(format!("k8s/{root}/.ktor.yaml"), settings);
        }
        set("one");
    });
    ran.succeeded(&applying);
    everywhere("one");
    let (opened, merge) = story.propose("opened", |_| set("two"));
    shop.run(&opened, &merge).succeeded(&["ktor-1", "ktor-2", "ktor-3", "ktor-4", "summary"]);
    let comment = story.comment().body;
    assert!(roots.iter().all(|root| comment.contains(root)), "{comment}");
    everywhere("one");
    let (pushed, merged) = shop.merge();
    shop.run(&pushed, &merged).succeeded(&applying);
    everywhere("two");
}

#[test]
fn f20_the_readmes_schedule_tells_a_drift_in_an_issue() {
    let [_, _, _, workflow] = readme();
    let shop = Shop::new("readme-drift", &substituted(&workflow, &[PATH, SIGN_IN]));
    let story = &shop.story;
    let (event, commit) = story.push(|story| {
        story.config("web", "one");
    });
    assert_eq!(story.run(&event, &commit).exit, 0);
    let patch = json!({"data": {"value": "by hand"}}).to_string();
    story.kubectl(&["-n", &story.root, "patch", "configmap", "web", "--type=merge", "-p", &patch]);
    let before = story.versions();
    shop.run(&pushed(&commit, &commit).named("schedule"), &commit).succeeded(&["ktor"].map(|_| "drift"));
    let issues = story.forge.issues();
    assert!(issues.len() == 1 && issues[0].is_open && issues[0].body.contains("web"), "{issues:#?}");
    assert_eq!(story.versions(), before);
}

/// A pipeline that is no workflow: a shell runs its scripts, with `ktor` on the search path.
struct Pipeline<'a> {
    story: &'a Story,
    bin: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl<'a> Pipeline<'a> {
    fn new(story: &'a Story) -> Self {
        let bin = tempfile::tempdir().unwrap();
        symlink(env!("CARGO_BIN_EXE_ktor"), bin.path().join("ktor")).unwrap();
        let kubeconfig = story.kubeconfig().to_str().unwrap().to_owned();
        Self { story, bin, variables: vec![("KUBECONFIG".to_owned(), kubeconfig)] }
    }

    /// Runs a script in a clone, with further variables.
    fn run(&self, clone: &TestRepository, script: &str, further: &[(&str, &str)]) -> Output {
        let environment = clone.environment();
        let search = environment.get("PATH").unwrap().to_str().unwrap();
        let mut shell = Command::new("bash");
        shell.args(["-e", "-o", "pipefail", "-c", script]).env_clear().current_dir(clone.top());
        shell.env("PATH", format!("{}:{search}", self.bin.path().display())).env("HOME", clone.home());
        shell.envs(support::profile()).envs(self.variables.iter().cloned()).envs(further.iter().copied());
        shell.output().unwrap()
    }

    /// Runs a script that must succeed, and returns what it prints.
    #[track_caller]
    fn succeeds(&self, clone: &TestRepository, script: &str, further: &[(&str, &str)]) -> String {
        let output = self.run(clone, script, further);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {said}");
        said
    }

    /// Lives one life as [`Shop::lives`] does. `plan_of_pull` is the script of a pull request, and gets these variables.
    /// `plan` and `apply` run in one clone after a push, and `plan` leaves the variables of `apply` to `handed`.
    #[track_caller]
    fn lives(
        &self,
        [plan_of_pull, plan, apply]: [&str; 3],
        pull: &dyn Fn(&TestRepository) -> (&'static str, String),
        handed: &dyn Fn(&TestRepository) -> Vec<(String, String)>,
    ) {
        let story = self.story;
        let apply_push = || {
            let clone = TestRepository::clone_of(&story.origin);
            self.succeeds(&clone, plan, &[]);
            let handed = handed(&clone);
            let handed: Vec<(&str, &str)> =
                handed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            self.succeeds(&clone, apply, &handed);
            clone
        };
        story.push(|story| {
            story.config("web", "one").config("banner", "hello");
        });
        let first = apply_push();
        assert_eq!(story.live(), values([("banner", "hello"), ("web", "one")]));

        story.propose("opened", |story| {
            story.remove("banner").config("web", "two");
        });
        let before = story.versions();
        let clone = TestRepository::clone_of(&story.origin);
        clone.git(["fetch", "--quiet", "origin", "feature"]);
        clone.git(["checkout", "--quiet", "FETCH_HEAD"]);
        let (name, value) = pull(&clone);
        let said = self.succeeds(&clone, plan_of_pull, &[(name, &value)]);
        assert!(said.contains("banner") && said.contains("two"), "{said}");
        assert_eq!(story.versions(), before);

        story.merge();
        // What was approved for the first push is not approved for this one.
        let clone = TestRepository::clone_of(&story.origin);
        self.succeeds(&clone, plan, &[]);
        let stale = handed(&first);
        for file in ["plan.txt", "plan.env", "digest.txt"] {
            if let Ok(text) = fs::read(first.top().join(file)) {
                clone.write(file, text);
            }
        }
        let stale: Vec<(&str, &str)> = stale.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let refused = self.run(&clone, apply, &stale);
        assert_eq!(refused.status.code(), Some(3), "{}", String::from_utf8_lossy(&refused.stderr));
        assert_eq!(story.versions(), before);
        apply_push();
        assert_eq!(story.live(), values([("web", "two")]));
    }
}

#[test]
fn f20_the_commands_for_gitlab_apply_the_plan_that_a_person_saw() {
    let story = Story::new("recipe-gitlab");
    let text = fs::read_to_string(root().join("docs/recipes/gitlab-ci.yml")).unwrap();
    let text = substituted(&text, &[("--path deploy", "--path k8s")]);
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let script = |job: &str| {
        let lines = file[job]["script"].as_array().unwrap().iter();
        lines.map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
    };
    let mut pipeline = Pipeline::new(&story);
    let variables = file["variables"].as_object().unwrap().iter();
    let variables =
        variables.map(|(name, value)| (name.clone(), value.as_str().unwrap().replace("$CI_PROJECT_DIR", "*")));
    pipeline.variables.extend(variables);
    let handed = |clone: &TestRepository| {
        let text = fs::read_to_string(clone.top().join("plan.env")).unwrap();
        let pairs = text.lines().map(|line| line.split_once('=').unwrap());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let base = |clone: &TestRepository| ("CI_MERGE_REQUEST_DIFF_BASE_SHA", clone.git(["rev-parse", "main"]));
    let scripts = ["plan-of-merge-request", "plan", "apply"].map(script);
    pipeline.lives(scripts.each_ref().map(String::as_str), &base, &handed);
    // Without a digest, nothing is applied.
    let clone = TestRepository::clone_of(&story.origin);
    assert_eq!(pipeline.run(&clone, &scripts[2], &[]).status.code(), Some(64));
}

#[test]
fn f20_the_commands_for_jenkins_apply_the_plan_that_a_person_saw() {
    let story = Story::new("recipe-jenkins");
    let text = fs::read_to_string(root().join("docs/recipes/Jenkinsfile")).unwrap();
    let text = substituted(&text, &[("--path deploy", "--path k8s")]);
    let script = |stage: &str| {
        let stage = text.split_once(&format!("stage('{stage}')")).unwrap().1;
        let script = stage.split_once("sh '").unwrap().1;
        match script.strip_prefix("''") {
            Some(lines) => lines.split_once("'''").unwrap().0,
            None => script.split_once('\'').unwrap().0,
        }
    };
    let pipeline = Pipeline::new(&story);
    let target = |_: &TestRepository| ("CHANGE_TARGET", "main".to_owned());
    pipeline.lives(["Plan of the pull request", "Plan", "Apply"].map(script), &target, &|_| Vec::new());
}

/// Fails with what a program printed, unless the program succeeded.
#[track_caller]
fn clean(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Returns the paths of all workflows. Those of the README are written into a folder.
fn workflows(folder: &Path) -> Vec<PathBuf> {
    let mut files = recipes();
    for (name, text) in README.iter().zip(readme()) {
        let file = folder.join(format!("{name}.yaml"));
        fs::write(&file, text).unwrap();
        files.push(file);
    }
    files.push(root().join(".github/workflows/ci.yml"));
    files
}

#[test]
fn f20_every_workflow_and_action_is_as_its_schema_says() {
    let (linters, folder) = (Linters::shared(), tempfile::tempdir().unwrap());
    clean(&linters.check_schema(Schema::Workflow, &workflows(folder.path())));
    clean(&linters.check_schema(Schema::Action, &["action.yml", "summary/action.yml"].map(|file| root().join(file))));
    clean(&linters.check_schema(Schema::GitLab, &[root().join("docs/recipes/gitlab-ci.yml")]));
    let wrong = folder.path().join("wrong.yaml");
    fs::write(&wrong, "on: push\njobs: {a: {runs-on: ubuntu-latest, step: []}}\n").unwrap();
    for schema in [Schema::Workflow, Schema::Action, Schema::GitLab] {
        assert!(!linters.check_schema(schema, std::slice::from_ref(&wrong)).status.success(), "{schema:?}");
    }
}

#[test]
fn f20_zizmor_finds_nothing_insecure_but_for_the_exceptions() {
    let (linters, folder) = (Linters::shared(), tempfile::tempdir().unwrap());
    let exceptions = root().join(".github/zizmor.yml");
    let mut files = workflows(folder.path());
    files.extend(["action.yml", "summary/action.yml"].map(|file| root().join(file)));
    clean(&linters.zizmor(&exceptions, &files));
    let steps = "jobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n";
    for (wrong, finding) in [
        ("      - run: echo ${{ github.event.pull_request.title }}\n", "template-injection"),
        ("      - uses: actions/checkout@v4\n", "artipacked"),
        ("      - uses: aws-actions/configure-aws-credentials@v4\n", "unpinned-uses"),
    ] {
        let file = folder.path().join("wrong.yaml");
        fs::write(&file, format!("on: pull_request\npermissions: {{}}\n{steps}{wrong}")).unwrap();
        let found = linters.zizmor(&exceptions, &[file]);
        let said = String::from_utf8_lossy(&found.stdout);
        assert!(!found.status.success() && said.contains(finding), "{said}");
    }
}

#[test]
fn f20_no_recipe_stops_an_apply_or_asks_for_more_than_it_needs() {
    for file in recipes() {
        let text = fs::read_to_string(&file).unwrap();
        let workflow: Value = serde_saphyr::from_str(&text).unwrap();
        let name = file.display();
        assert_eq!(workflow["permissions"], json!({}), "{name}");
        let concurrency = &workflow["concurrency"];
        assert_eq!(concurrency["cancel-in-progress"], "${{ github.event_name != 'push' }}", "{name}");
        assert!(concurrency["group"].as_str().unwrap().contains("github.event_name == 'push' && 'apply'"), "{name}");
        let uses_ktor = |job: &Value| job["steps"].to_string().contains("karellen/ktor-action@v1");
        for (job, described) in workflow["jobs"].as_object().unwrap() {
            let permissions = described["permissions"].as_object().unwrap();
            let allowed = |(name, level): (&String, &Value)| {
                let level = level.as_str().unwrap();
                matches!((name.as_str(), level), ("contents", "read") | ("pull-requests" | "id-token", "write"))
            };
            assert!(permissions.iter().all(allowed), "{name}: {job}");
            let signs_in = described["steps"].to_string().contains("credentials@") || text.contains("azure/login@");
            assert_eq!(permissions.contains_key("id-token"), signs_in, "{name}: {job}");
            // Only a job that compares commits keeps the token in the checkout.
            let checkouts = described["steps"].as_array().unwrap().iter();
            for checkout in checkouts.filter(|step| step["uses"].as_str().is_some_and(|it| it.contains("/checkout@"))) {
                assert_eq!(checkout["with"]["persist-credentials"], uses_ktor(described), "{name}: {job}");
            }
        }
    }
}

#[test]
fn f20_every_recipe_is_on_the_page_and_every_stand_in_is_used() {
    let page = fs::read_to_string(root().join("docs/recipes.md")).unwrap();
    assert!(fs::read_to_string(root().join("README.md")).unwrap().contains("](docs/recipes.md)"));
    let links: BTreeSet<&str> = page.split("](recipes/").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    let folder = fs::read_dir(root().join("docs/recipes")).unwrap();
    let files: BTreeSet<String> = folder.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(links, files.iter().map(String::as_str).collect());

    // `act` makes the first checkout itself.
    let texts = recipes().into_iter().filter(|file| !file.ends_with("gitea.yaml"));
    let texts = texts.map(|file| fs::read_to_string(file).unwrap()).chain(readme());
    let used: BTreeSet<String> = texts.flat_map(|text| used_actions(&text)).collect();
    let used: BTreeSet<&str> = used.iter().map(|action| action.split_once('@').unwrap().0).collect();
    let known = stand_ins().into_iter().chain(["karellen/ktor-action"]).collect();
    assert_eq!(used, known);
}

//! Trees that try to make git run a program, or read a history other than the checkout's.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use ktor_action::git::commit::Commit;
use ktor_action::git::error::GitError;
use ktor_action::git::repository::Repository;
use serde_json::Value;
use support::github::FakeGitHub;
use support::profile;
use support::repository::{DirectoryCopy, RepositoryCopy, TestRepository};
use support::workflow_run::{WorkflowRun, opened};

use super::{differing_with, everything, nowhere, script};

/// The way in which a forged repository gets into a checkout.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Committed as the plain files of a bare repository.
    Plain(&'static str),
    /// Committed as plain files. A `.git` file that an earlier step wrote names them as the repository.
    Named(&'static str),
    /// Committed as plain files. A symbolic link `.git` names them as the repository.
    Linked(&'static str),
    /// Written by an earlier step as a directory `.git`.
    Own(&'static str),
    /// Committed as a directory whose name git takes for `.git` on some file systems.
    OddCase(&'static str),
}

const PLACES: [Place; 14] = [
    Place::Plain("deploy"),
    Place::Plain("deploy/web"),
    Place::Plain("."),
    Place::Plain("deploy/.git.d"),
    Place::Named("deploy"),
    Place::Named("deploy/web"),
    Place::Linked("deploy"),
    Place::Linked("deploy/web"),
    Place::Own("deploy"),
    Place::Own("deploy/web"),
    Place::OddCase("deploy"),
    Place::OddCase("deploy/web"),
    Place::Plain("deploy/web/deeper"),
    Place::Plain("origin"),
];

/// Returns every setting with which a configuration names a program, an address or another file.
fn settings(canary: &str) -> Vec<(String, String)> {
    let programs = [
        "core.fsmonitor",
        "core.sshCommand",
        "core.gitProxy",
        "core.askPass",
        "core.pager",
        "core.editor",
        "core.alternateRefsCommand",
        "diff.external",
        "diff.trap.command",
        "diff.trap.textconv",
        "filter.trap.clean",
        "filter.trap.smudge",
        "filter.trap.process",
        "merge.trap.driver",
        "remote.origin.uploadpack",
        "uploadpack.packObjectsHook",
        "gpg.program",
        "interactive.diffFilter",
        "pager.diff",
    ];
    let mut settings: Vec<(String, String)> =
        programs.iter().map(|key| ((*key).to_owned(), canary.to_owned())).collect();
    let shell = format!("!{canary}");
    for (key, value) in [
        ("credential.helper", shell.as_str()),
        ("alias.rev-parse", &shell),
        ("alias.diff-tree", &shell),
        ("submodule.library.update", &shell),
        ("core.hooksPath", Path::new(canary).parent().unwrap().to_str().unwrap()),
        ("core.attributesFile", "attributes"),
        ("core.worktree", ".."),
        ("core.bare", "false"),
        ("remote.origin.vcs", "trap"),
        ("protocol.ext.allow", "always"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("include.path", "more"),
    ] {
        settings.push((key.to_owned(), value.to_owned()));
    }
    settings.push(("remote.origin.url".to_owned(), format!("ext::sh -c {canary}")));
    settings.push((format!("url.ext::sh -c {canary}.insteadOf"), "file://".to_owned()));
    settings
}

/// Returns one setting in the form of a configuration file: `a.b.c` is `c` in the section `a "b"`.
fn as_configuration(key: &str, value: &str) -> String {
    let (section, rest) = key.split_once('.').unwrap();
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    match rest.rsplit_once('.') {
        Some((middle, name)) => format!("[{section} {}]\n\t{name} = {}\n", quoted(middle), quoted(value)),
        None => format!("[{section}]\n\t{rest} = {}\n", quoted(value)),
    }
}

/// A checkout with a project at `deploy`. Its second commit changes one object.
struct Checkout {
    repository: TestRepository,
    canary: PathBuf,
    marker: PathBuf,
    first: Commit,
    second: Commit,
}

fn manifest(value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\ndata:\n  value: {value}\n")
}

impl Checkout {
    /// Creates a checkout with a forged repository at a place. The forged configuration has these settings.
    fn new(place: Place, settings: impl Fn(&str) -> Vec<(String, String)>) -> Self {
        static FIRST: LazyLock<RepositoryCopy> = LazyLock::new(|| {
            let repository = TestRepository::new();
            repository.write("deploy/.ktor.yaml", "project: shop\nnamespace: shop\ncleanup: true\n");
            repository
                .write("deploy/web/web.yaml", manifest("one"))
                .write("deploy/.gitattributes", "* filter=trap diff=trap\n");
            repository.write(".gitattributes", "* filter=trap diff=trap merge=trap\n");
            repository.commit("first");
            repository.copy()
        });
        let repository = TestRepository::from(&*FIRST);
        let marker = repository.home().join("ran");
        let canary = script(&repository, "canary", &format!("echo \"$0 $*\" >> '{}'", marker.display()));
        let first = repository.head();
        repository.write("deploy/web/web.yaml", manifest("two"));
        let checkout = Self { second: first.clone(), repository, canary, marker, first };
        let settings = settings(checkout.canary.to_str().unwrap());
        let top = checkout.repository.top();
        match place {
            Place::Plain(directory) => Self::forge(&top.join(directory), &settings),
            Place::OddCase(directory) => {
                // Git refuses the name. A checkout on a file system that ignores case would not have it either.
                Self::forge(&top.join(directory).join("GIT~1"), &settings);
            }
            Place::Named(_) | Place::Linked(_) => Self::forge(&top.join("forged"), &settings),
            Place::Own(_) => {}
        }
        let repository = &checkout.repository;
        repository.git(["-c", "core.protectNTFS=false", "add", "--all"]);
        repository.git(["-c", "core.protectNTFS=false", "commit", "--quiet", "--message", "second"]);
        let second = repository.head();
        match place {
            Place::Named(directory) => {
                let target = format!("gitdir: {}\n", top.join("forged").display());
                repository.write(Path::new(directory).join(".git"), target);
            }
            Place::Linked(directory) => drop(repository.link(Path::new(directory).join(".git"), top.join("forged"))),
            Place::Own(directory) => Self::forge(&top.join(directory).join(".git"), &settings),
            Place::Plain(_) | Place::OddCase(_) => {}
        }
        Self { second, ..checkout }
    }

    /// Writes a repository with another history into a directory.
    fn forge(directory: &Path, settings: &[(String, String)]) {
        static FORGED: LazyLock<DirectoryCopy> = LazyLock::new(|| {
            let other = TestRepository::new();
            other.write("deploy/.ktor.yaml", "project: forged\nnamespace: forged\n");
            other
                .write("deploy/web/web.yaml", manifest("forged"))
                .write(".ktor.yaml", "project: forged\n")
                .commit("forged");
            other.write("deploy/web/web.yaml", manifest("forged again")).commit("forged again");
            other.git(["clone", "--quiet", "--bare", ".", "../forged"]);
            let forged = other.home().parent().unwrap().join("forged");
            std::fs::write(forged.join("refs/kept"), "").unwrap();
            std::fs::write(forged.join("attributes"), "* filter=trap diff=trap\n").unwrap();
            DirectoryCopy::of(&forged)
        });
        std::fs::create_dir_all(directory).unwrap();
        FORGED.write(directory);
        let config = std::fs::read_to_string(directory.join("config")).unwrap();
        let added: String = settings.iter().map(|(key, value)| as_configuration(key, value)).collect();
        std::fs::write(directory.join("config"), config + &added).unwrap();
        std::fs::write(directory.join("more"), added).unwrap();
    }

    fn assert_quiet(&self, what: &dyn std::fmt::Debug) {
        let ran = std::fs::read_to_string(&self.marker).unwrap_or_default();
        assert!(ran.is_empty(), "{what:?} ran {ran}");
    }

    fn ktor(&self, arguments: &[&str]) -> Output {
        let environment = self.repository.environment();
        let mut ktor = Command::new(env!("CARGO_BIN_EXE_ktor"));
        ktor.args(arguments).env_clear().envs(profile()).current_dir(self.repository.top());
        for name in ["PATH", "HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"] {
            ktor.env(name, environment.get(name).unwrap());
        }
        ktor.output().unwrap()
    }
}

/// Does everything that the adapter can do, in a repository that is discovered from `deploy`.
async fn exercise(checkout: &Checkout, what: &dyn std::fmt::Debug) {
    let Checkout { repository, first, second, .. } = checkout;
    for directory in ["deploy", "deploy/web"] {
        let found = Repository::discover(&repository.top().join(directory), None, &repository.environment()).await;
        let git = match found {
            Ok(found) => found.expect("there is a repository"),
            Err(_) => continue,
        };
        assert_eq!(git.top(), repository.top().canonicalize().unwrap(), "{what:?}");
        assert_eq!(git.head().await.unwrap(), *second, "{what:?}");
        git.changed_between(first, second).await.unwrap();
        git.read_tree(first, Path::new("deploy"), &everything).await.unwrap();
        git.parents(second).await.unwrap();
        git.merge_base(first, second).await.unwrap();
        git.is_ancestor(&nowhere(), second).await.unwrap();
        git.fetch_commit("origin", &nowhere()).await.unwrap_err();
    }
    checkout.assert_quiet(what);
}

#[tokio::test]
async fn x1_a_forged_repository_is_never_read_wherever_it_lies_and_whatever_it_configures() {
    for place in PLACES {
        let checkout = Checkout::new(place, settings);
        exercise(&checkout, &place).await;
    }
    // Only one setting is tested at a time. Otherwise the first setting that git rejects would hide all later ones.
    let count = settings("/x").len();
    for number in 0..count {
        let place = PLACES[number % 3];
        let one = |canary: &str| {
            let mut all = settings(canary);
            let worktree = all.iter().find(|(key, _)| key == "core.worktree").cloned();
            vec![all.swap_remove(number), worktree.unwrap(), ("core.bare".to_owned(), "false".to_owned())]
        };
        exercise(&Checkout::new(place, one), &(place, number)).await;
    }
}

#[tokio::test]
async fn x1_a_forged_repository_that_git_would_open_is_passed_over_for_the_one_around_it() {
    for place in PLACES {
        // Git rejects none of these settings. An adapter that trusts the nested directory reads the forged history.
        let checkout = Checkout::new(place, |canary| vec![("core.fsmonitor".to_owned(), canary.to_owned())]);
        let Checkout { repository, second, .. } = &checkout;
        for directory in ["deploy", "deploy/web"] {
            let directory = repository.top().join(directory);
            let found = Repository::discover(&directory, None, &repository.environment()).await.unwrap().unwrap();
            assert_eq!(
                (found.top(), found.head().await.unwrap()),
                (&*repository.top().canonicalize().unwrap(), second.clone()),
                "{place:?}"
            );
        }
        checkout.assert_quiet(&place);
    }
}

#[tokio::test]
async fn x1_without_the_rules_the_same_tree_runs_its_programs() {
    let checkout = Checkout::new(Place::Plain("deploy"), |canary| {
        [("core.worktree", ".."), ("core.bare", "false"), ("core.fsmonitor", canary)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    });
    checkout.repository.git(["-C", "deploy", "status"]);
    assert!(checkout.marker.exists(), "the trap works");
}

#[test]
fn x1_a_plan_on_a_laptop_is_of_the_real_history_or_an_error() {
    for place in PLACES {
        let checkout = Checkout::new(place, settings);
        for project in ["deploy", "deploy/web/.."] {
            let ended = checkout.ktor(&["plan", "-p", project, "--offline", "--base", "HEAD~1", "-o", "json"]);
            checkout.assert_quiet(&place);
            if ended.status.success() {
                let plan: Value = serde_json::from_slice(&ended.stdout).unwrap();
                assert_eq!(plan["head"], checkout.second.as_str(), "{place:?}");
                assert_eq!(plan["base"], checkout.first.as_str(), "{place:?}");
                assert_eq!(plan["summary"]["update"], 1, "{place:?}: {plan}");
            }
            let said = String::from_utf8_lossy(&ended.stderr);
            // Only a `.git` that no commit can contain may make the plan fail.
            assert!(ended.status.success() || !matches!(place, Place::Plain(_)), "{place:?}: {said}");
        }
    }
}

#[test]
fn x1_the_actions_plan_is_of_the_real_history_or_an_error() {
    for place in PLACES {
        let checkout = Checkout::new(place, settings);
        let forge = FakeGitHub::start();
        let files = support::temporary_directory();
        let event = opened(&checkout.second, &checkout.first);
        // The action's path is `k8s`. Here a link leads from it to the project.
        checkout.repository.link("k8s", "deploy");
        let folder = files.path().join("run");
        let run = WorkflowRun { ktor: env!("CARGO_BIN_EXE_ktor"), forge: &forge, folder, number: 1 };
        let ran = run.act(&checkout.repository, &event, None, &[]);
        checkout.assert_quiet(&place);
        if ran.exit == 0 {
            assert_eq!((ran.output("result"), ran.output("changes")), ("changes", "1"), "{place:?}: {}", ran.log);
        }
        assert!(ran.exit == 0 || !matches!(place, Place::Plain(_)), "{place:?}: {}", ran.log);
    }
}

#[tokio::test]
async fn x1_a_configuration_that_is_a_file_of_the_tree_names_no_program() {
    let origin = TestRepository::new();
    let first = origin.write("deploy/x.yaml", "1").commit("first");
    let second = origin.write("deploy/x.yaml", "2").commit("second");
    let copy = TestRepository::checkout(&origin, &second).branch("main", "HEAD").copy();
    for include in ["include.path", "includeIf.onbranch:**.path"] {
        for setting in (0..settings("/x").len()).filter(|n| include == "include.path" || n % 8 == 0) {
            let clone = TestRepository::from(&copy);
            let marker = clone.home().join("ran");
            let canary = script(&clone, "canary", &format!("echo \"$0 $*\" >> '{}'", marker.display()));
            let (key, value) = settings(canary.to_str().unwrap()).swap_remove(setting);
            clone.write(".gitconfig", "");
            clone.git(["config", "--file", ".gitconfig", &key, &value]);
            clone.git(["config", include, "../.gitconfig"]);
            let git = clone.open().await;
            assert_eq!(git.head().await.unwrap(), second, "{key}");
            git.read_tree(&second, Path::new(""), &everything).await.unwrap();
            assert_eq!(
                differing_with(&clone, &second, "deploy", &[("x.yaml".into(), b"2".to_vec())].into(), &[]).await,
                [].into()
            );
            let error = git.fetch_commit("origin", &first).await.unwrap_err();
            assert!(matches!(error, GitError::TreeConfiguration { .. }), "{error}");
            assert!(!marker.exists(), "{key}: {}", std::fs::read_to_string(&marker).unwrap_or_default());
        }
    }
}

#[tokio::test]
async fn x1_programs_that_the_users_configuration_names_by_a_relative_path_are_none_of_the_tree() {
    let origin = TestRepository::new();
    let first = origin.write("x.yaml", "1").commit("first");
    let second = origin.write("x.yaml", "2").commit("second");
    let clone = TestRepository::checkout(&origin, &second);
    let marker = clone.home().join("ran");
    let canary = script(&clone, "canary", &format!("echo \"$0 $*\" >> '{}'", marker.display()));
    for name in ["git", "ssh", "git-upload-pack", "helper"] {
        std::fs::copy(&canary, clone.top().join(name)).unwrap();
    }
    clone.git(["config", "core.sshCommand", "./helper"]);
    clone.git(["config", "credential.helper", "!./helper"]);
    clone.git(["config", "remote.origin.uploadpack", "./helper"]);
    let path = clone.environment().get("PATH").unwrap().to_str().unwrap().to_owned();
    let environment = clone.environment().with("PATH", format!(".::{path}"));
    let git = Repository::discover(&clone.top(), None, &environment).await.unwrap().unwrap();
    git.fetch_commit("origin", &first).await.unwrap();
    clone.git(["remote", "set-url", "origin", "ssh://127.0.0.1:1/x"]);
    git.fetch_commit("origin", &nowhere()).await.unwrap_err();
    assert!(!marker.exists(), "{}", std::fs::read_to_string(&marker).unwrap_or_default());
}

#[tokio::test]
async fn x1_only_the_usual_protocols_are_spoken() {
    let origin = TestRepository::new();
    let second = origin.write("x.yaml", "2").commit("second");
    let clone = TestRepository::checkout(&origin, &second);
    let marker = clone.home().join("ran");
    let canary = script(&clone, "canary", &format!("echo \"$0 $*\" >> '{}'", marker.display()));
    script(&clone, "git-remote-trap", &format!("echo \"$0 $*\" >> '{}'", marker.display()));
    let path = clone.environment().get("PATH").unwrap().to_str().unwrap().to_owned();
    let path = format!("{}:{path}", canary.parent().unwrap().display());
    let environment = clone.environment().with("PATH", path).with("GIT_ALLOW_PROTOCOL", "ext:trap:git");
    let git = Repository::discover(&clone.top(), None, &environment).await.unwrap().unwrap();
    clone.git(["config", "protocol.allow", "always"]);
    for url in
        [format!("ext::{} x", canary.display()), "trap::x".into(), "trap://x/y".into(), "git://127.0.0.1:1/x".into()]
    {
        clone.git(["remote", "set-url", "origin", &url]);
        let error = git.fetch_commit("origin", &nowhere()).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("not allowed"), "{url}: {error}: {cause}");
    }
    assert!(!marker.exists(), "{}", std::fs::read_to_string(&marker).unwrap_or_default());
}

#[tokio::test]
async fn x1_repositories_of_ones_own_below_another_are_found() {
    let outer = TestRepository::new();
    outer.write("shop/x.yaml", "1").write(".gitignore", "clone\nlinked\n").commit("outer");
    // A separate clone, a linked work tree, and a submodule.
    outer.git(["clone", "--quiet", ".", "clone"]);
    outer.git(["worktree", "add", "--quiet", "linked"]);
    let library = TestRepository::new();
    library.write("x.yaml", "1").commit("library");
    outer.git(["submodule", "--quiet", "add", &library.url(), "library"]);
    outer.commit("with a submodule");
    for below in ["clone", "clone/shop", "linked/shop", "library", "shop", ""] {
        let directory = outer.top().join(below);
        let git = Repository::discover(&directory, None, &outer.environment()).await.unwrap().unwrap();
        let expected = match Path::new(below).iter().next() {
            Some(name) if name != "shop" => outer.top().join(name),
            _ => outer.top(),
        };
        assert_eq!(git.top(), expected.canonicalize().unwrap(), "{below}");
        assert_eq!(git.head().await.unwrap().as_str(), outer.git(["-C", below_or_dot(below), "rev-parse", "HEAD"]));
    }
    // A boundary hides the repository above it.
    let (shop, environment) = (outer.top().join("shop"), outer.environment());
    assert!(Repository::discover(&shop, Some(&shop), &environment).await.unwrap().is_none());
}

fn below_or_dot(below: &str) -> &str {
    if below.is_empty() { "." } else { below }
}

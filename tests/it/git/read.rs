//! The files that were read from the work tree against a commit's files, and base trees that cannot be read.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ktor_action::render::source::read_worktree;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use support::profile;
use support::repository::TestRepository;

use super::{differing, differing_with, everything, paths, script};

/// A change to a file after the commit.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Untouched,
    Rewritten,
    Edited,
    EditedInPlace,
    Deleted,
    AssumedUnchanged,
    Skipped,
    Staged,
    Unstaged,
    Executable,
    Retyped,
}

const FATES: [Fate; 11] = [
    Fate::Untouched,
    Fate::Rewritten,
    Fate::Edited,
    Fate::EditedInPlace,
    Fate::Deleted,
    Fate::AssumedUnchanged,
    Fate::Skipped,
    Fate::Staged,
    Fate::Unstaged,
    Fate::Executable,
    Fate::Retyped,
];

/// The way in which a file is in the work tree and not in the commit.
#[derive(Clone, Copy, Debug)]
enum Stranger {
    Untracked,
    Ignored,
    IntendedToAdd,
    Added,
}

const STRANGERS: [Stranger; 4] = [Stranger::Untracked, Stranger::Ignored, Stranger::IntendedToAdd, Stranger::Added];

fn befall(repository: &TestRepository, path: &str, fate: Fate) {
    let file = repository.top().join(path);
    match fate {
        Fate::Untouched => {}
        Fate::Rewritten => drop(repository.write(path, std::fs::read(&file).unwrap())),
        Fate::Edited => drop(repository.write(path, "edited")),
        Fate::EditedInPlace | Fate::AssumedUnchanged | Fate::Skipped => {
            if let Fate::AssumedUnchanged = fate {
                repository.git(["update-index", "--assume-unchanged", path]);
            } else if let Fate::Skipped = fate {
                repository.git(["update-index", "--skip-worktree", path]);
            }
            // The length and the time stay the same, so the index sees no change.
            let time = std::fs::metadata(&file).unwrap().modified().unwrap();
            let bytes: Vec<u8> = std::fs::read(&file).unwrap().iter().map(|byte| byte ^ 1).collect();
            repository.write(path, bytes);
            std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        }
        Fate::Deleted => drop(repository.remove(path)),
        Fate::Staged => {
            repository.write(path, "staged").git(["add", path]);
        }
        Fate::Unstaged => {
            repository.git(["rm", "--quiet", "--cached", path]);
        }
        Fate::Executable => {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Fate::Retyped => {
            let up = "../".repeat(path.matches('/').count());
            repository.remove(path).link(path, up + "elsewhere.txt");
        }
    }
}

/// Returns the paths at which the work tree and the commit differ. It compares bytes, and uses only `git ls-tree` and
/// `git cat-file`.
fn oracle(repository: &TestRepository) -> BTreeSet<PathBuf> {
    let listed = repository.git(["ls-tree", "-r", "--name-only", "HEAD"]);
    let committed: BTreeSet<PathBuf> = listed.lines().map(PathBuf::from).collect();
    let read = read_worktree(&repository.top(), &everything).unwrap();
    let blob = |path: &Path| {
        let output = repository.try_git(["cat-file", "blob", &format!("HEAD:{}", path.display())]);
        output.status.success().then_some(output.stdout)
    };
    let all = committed.iter().chain(read.keys()).collect::<BTreeSet<_>>();
    all.into_iter().filter(|path| blob(path) != read.get(*path).cloned()).cloned().collect()
}

#[test]
fn x10_every_file_that_is_not_the_commits_blob_differs_and_no_other() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let content = prop::collection::vec(any::<u8>(), 1..40);
    let file = (content, 0..FATES.len(), 0..3_usize);
    let files = prop::collection::vec(file, 1..9);
    let strangers = prop::collection::vec(0..STRANGERS.len(), 0..4);
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let cases = (files, strangers, any::<bool>(), any::<bool>());
    let result = runner.run(&cases, |(files, strangers, long_names, filtered)| {
        let repository = TestRepository::new();
        if long_names {
            repository.remove(".git").git(["init", "--quiet", "--object-format=sha256", "--initial-branch=main"]);
        }
        let directories = ["", "a/", "a/b/"];
        let paths: Vec<String> =
            files.iter().enumerate().map(|(n, (_, _, d))| format!("{}{n}.yaml", directories[*d])).collect();
        repository.write("elsewhere.txt", "what a link leads to").write(".gitignore", "ignored-*\n");
        for (path, (content, _, _)) in paths.iter().zip(&files) {
            repository.write(path, content);
        }
        repository.commit("first");
        if filtered {
            // With this filter, git would call every file clean, and would run a program to find out.
            let clean = script(&repository, "clean", "cat > /dev/null; echo same");
            repository.git(["config", "filter.trap.clean", clean.to_str().unwrap()]);
            repository.write(".git/info/attributes", "* filter=trap\n");
        }
        for (path, (_, fate, _)) in paths.iter().zip(&files) {
            befall(&repository, path, FATES[*fate]);
        }
        for (n, stranger) in strangers.iter().enumerate() {
            let stranger = STRANGERS[*stranger];
            let path = match stranger {
                Stranger::Ignored => format!("a/ignored-{n}.yaml"),
                _ => format!("a/new-{n}.yaml"),
            };
            repository.write(&path, "new");
            match stranger {
                Stranger::IntendedToAdd => drop(repository.git(["add", "--intent-to-add", &path])),
                Stranger::Added => drop(repository.git(["add", &path])),
                Stranger::Untracked | Stranger::Ignored => {}
            }
        }
        let found = runtime.block_on(differing(&repository, &repository.head()));
        prop_assert_eq!(&found, &oracle(&repository));
        // The same files are now inputs: the project depends on them and does not read them.
        let top = repository.head();
        let inputs = runtime.block_on(async {
            let read = ktor_action::git::worktree::ReadFiles {
                prefix: Path::new("a"),
                files: BTreeMap::new(),
                inputs: [Path::new("..")].into(),
            };
            repository.open().await.differing(&top, &read, &|_| false).await.unwrap()
        });
        // As an input, a link counts as itself and not as the file that it leads to.
        let retyped: BTreeSet<PathBuf> = paths
            .iter()
            .zip(&files)
            .filter(|(_, (_, fate, _))| matches!(FATES[*fate], Fate::Retyped))
            .map(|(path, _)| path.into())
            .collect();
        prop_assert_eq!(&inputs | &retyped, &found | &retyped);
        Ok(())
    });
    result.unwrap();
}

#[tokio::test]
async fn x10_line_ends_that_git_converts_are_no_difference() {
    let repository = TestRepository::new();
    repository.write("a.yaml", "a: 1\nb: 2\n").write("b.yaml", "a: 1\n").write("c.yaml", "a: 1\n");
    repository.write("crlf.yaml", "a: 1\r\n").commit("first");
    repository.write("a.yaml", "a: 1\r\nb: 2\r\n").write("b.yaml", "a: 1\r\n").write("c.yaml", "a: 2\r\n");
    let head = repository.head();
    assert_eq!(differing(&repository, &head).await, paths(["a.yaml", "b.yaml", "c.yaml"]));
    repository.write(".git/info/attributes", "a.yaml text eol=crlf\n");
    assert_eq!(differing(&repository, &head).await, paths(["b.yaml", "c.yaml"]));
    repository.git(["config", "core.autocrlf", "true"]);
    assert_eq!(differing(&repository, &head).await, paths(["c.yaml"]));
    repository.write(".git/info/attributes", "b.yaml -text\n");
    assert_eq!(differing(&repository, &head).await, paths(["b.yaml", "c.yaml"]));
    let read = [("a.yaml".into(), std::fs::read(repository.top().join("a.yaml")).unwrap())];
    let only = differing_with(&repository, &head, "", &read.into(), &["a.yaml"]).await;
    assert!(!only.contains(Path::new("a.yaml")), "{only:?}");
}

/// Creates a project at `k8s` with two sub-projects.
fn project() -> TestRepository {
    let repository = TestRepository::new();
    repository.write("k8s/.ktor.yaml", "project: shop\nnamespace: shop\ncleanup: true\n");
    for name in ["web", "cart"] {
        repository.write(format!("k8s/{name}/.ktor.yaml"), format!("project: {name}\n"));
        repository.write(format!("k8s/{name}/one.yaml"), config(name, "one"));
    }
    repository.write(".gitignore", "generated*\n").commit("first");
    repository
}

fn config(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  value: {value}\n")
}

fn ktor(repository: &TestRepository, arguments: &[&str]) -> Output {
    let environment = repository.environment();
    let mut ktor = Command::new(env!("CARGO_BIN_EXE_ktor"));
    ktor.args(arguments).env_clear().envs(profile()).current_dir(repository.top());
    for name in ["PATH", "HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"] {
        ktor.env(name, environment.get(name).unwrap());
    }
    ktor.output().unwrap()
}

fn scope(repository: &TestRepository, base: &str) -> Vec<String> {
    let ended = ktor(repository, &["scope", "-p", "k8s", "--base", base]);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn x10_a_generated_manifest_puts_its_project_in_scope() {
    let repository = project();
    assert!(scope(&repository, "HEAD").is_empty());
    repository.write("k8s/web/generated.yaml", config("generated", "1"));
    assert_eq!(scope(&repository, "HEAD"), ["shop.web"]);
    repository.write("k8s/cart/one.yaml", config("cart", "two"));
    repository.git(["update-index", "--assume-unchanged", "k8s/cart/one.yaml"]);
    assert_eq!(scope(&repository, "HEAD"), ["shop.cart", "shop.web"]);
}

fn plan(repository: &TestRepository) -> (Value, String) {
    let ended = ktor(repository, &["plan", "-p", "k8s", "--offline", "--base", "HEAD~1", "-o", "json"]);
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{said}");
    (serde_json::from_slice(&ended.stdout).unwrap(), said)
}

type Change = fn(&TestRepository) -> &TestRepository;

#[test]
fn x11_a_base_that_cannot_be_read_widens_the_scope_and_the_plan_says_so() {
    let broken: [(&str, Change); 5] = [
        ("invalid boolean", |r| r.write("k8s/.ktor.yaml", "project: shop\ncleanup: perhaps\n")),
        ("web/.ktor.yaml:2:1", |r| r.write("k8s/web/.ktor.yaml", "project: web\nunknown: 1\n")),
        ("nothing where it points", |r| r.link("k8s/web/gone.yaml", "nowhere.yaml")),
        ("leaves the directory", |r| r.link("k8s/web/out.yaml", "../../README.md")),
        ("leads back to itself", |r| r.link("k8s/web/self.yaml", "self.yaml")),
    ];
    for (why, break_it) in broken {
        let repository = project();
        break_it(&repository);
        repository.commit("broken");
        // The repair removes one object and changes one project.
        repository.git(["checkout", "--quiet", "HEAD~1", "--", "k8s"]);
        for link in ["gone.yaml", "out.yaml", "self.yaml"] {
            drop(std::fs::remove_file(repository.top().join("k8s/web").join(link)));
        }
        repository.remove("k8s/cart/one.yaml").commit("repaired");
        let (plan, said) = plan(&repository);
        assert_eq!(plan["scope"], serde_json::json!(["shop", "shop.cart", "shop.web"]), "{why}: {plan}");
        assert_eq!(plan["summary"]["delete"], 0, "{why}: {plan}");
        let notices = plan["notices"].to_string();
        assert!(notices.contains("nothing is deleted") && notices.contains(why), "{why}: {notices}");
        assert!(said.contains(why) && !said.contains("error:"), "{why}: {said}");
    }
}

#[test]
fn x11_a_link_that_git_cannot_follow_and_the_work_tree_can_is_a_file_that_changed() {
    let repository = project();
    repository.write("k8s/web/generated.txt", config("generated", "1"));
    repository.link("k8s/web/link.yaml", "generated.txt").commit("linked");
    assert_eq!(scope(&repository, "HEAD~1"), ["shop.web"]);
    // The commit's own tree is now the base. It cannot be read, so all projects are in scope.
    assert_eq!(scope(&repository, "HEAD"), ["shop", "shop.cart", "shop.web"]);
}

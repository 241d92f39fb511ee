//! The git adapter against real repositories.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ktor_action::git::commit::Commit;
use ktor_action::git::error::GitError;
use ktor_action::git::repository::{Ancestry, Repository};
use ktor_action::git::tree::CommitTree;
use ktor_action::git::worktree::ReadFiles;
use ktor_action::project::snapshot::Snapshot;
use ktor_action::render::source::{WorkTree, read_worktree};
use support::repository::TestRepository;

mod hostile;
mod landed;
mod lateness;
mod merge;
mod read;

const NOWHERE: &str = "1111111111111111111111111111111111111111";

fn paths<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> BTreeSet<PathBuf> {
    paths.into_iter().map(Into::into).collect()
}

fn bytes(name: &[u8]) -> PathBuf {
    OsStr::from_bytes(name).into()
}

fn nowhere() -> Commit {
    NOWHERE.parse().unwrap()
}

fn everything(_: &Path) -> bool {
    true
}

/// Returns the paths of the whole work tree that differ from a commit.
async fn differing(repository: &TestRepository, commit: &Commit) -> BTreeSet<PathBuf> {
    let files = read_worktree(&repository.top(), &everything).unwrap();
    differing_with(repository, commit, "", &files, &[]).await
}

async fn differing_with(
    repository: &TestRepository,
    commit: &Commit,
    prefix: &str,
    files: &Snapshot,
    inputs: &[&str],
) -> BTreeSet<PathBuf> {
    let read = ReadFiles {
        prefix: Path::new(prefix),
        files: files.iter().map(|(path, bytes)| (path.as_path(), bytes.as_slice())).collect(),
        inputs: inputs.iter().map(Path::new).collect(),
    };
    repository.open().await.differing(commit, &read, &everything).await.unwrap()
}

/// Creates a `main` with one merged pull request. Returns the base, the head of the pull request, and the merge.
fn pull_request(repository: &TestRepository) -> (Commit, Commit, Commit) {
    repository.write("a/x.yaml", "1").commit("first");
    let base = repository.write("a/x.yaml", "2").commit("second");
    let head = repository.branch("feature", "main~1").write("b/y.yaml", "3").commit("feature");
    let merge = repository.branch("main", "main").merge("feature");
    (base, head, merge)
}

/// Returns what a fetch might move: branches, tags, remote branches and `FETCH_HEAD`.
fn references(repository: &TestRepository) -> (String, Vec<u8>) {
    let fetched = std::fs::read(repository.top().join(".git/FETCH_HEAD")).unwrap_or_default();
    (repository.git(["for-each-ref"]), fetched)
}

/// Puts an executable script into the HOME. Another process writes it. If this process opened the file for writing, a
/// child of a parallel test could inherit the descriptor, and then the script could not run ("text file busy").
fn script(repository: &TestRepository, name: &str, text: &str) -> PathBuf {
    let path = repository.home().join("bin").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let write = ["-c", "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\"", "sh"];
    assert!(Command::new("/bin/sh").args(write).arg(&path).arg(text).status().unwrap().success());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn a_repository_is_found_from_any_directory_in_it_and_none_outside() {
    let repository = TestRepository::new();
    repository.write("a/b/x.yaml", "1").write("new\nline/x", "1").link("to-a", "a");
    let found = repository.open().await;
    assert_eq!(found.top(), repository.top().canonicalize().unwrap());
    for (directory, prefix) in [("", ""), ("a/b", "a/b"), ("to-a/b", "a/b"), ("new\nline", "new\nline")] {
        let directory = repository.top().join(directory);
        let below = Repository::discover(&directory, None, &repository.environment()).await.unwrap().unwrap();
        assert_eq!(below.top(), found.top());
        assert_eq!(below.prefix(&directory).unwrap(), Path::new(prefix));
    }
    assert!(Repository::discover(&repository.home(), None, &repository.environment()).await.unwrap().is_none());
    let outside = found.prefix(&repository.home()).unwrap_err();
    assert!(matches!(outside, GitError::Outside { .. }), "{outside}");
    let gone = found.prefix(&repository.top().join("gone")).unwrap_err();
    assert!(matches!(gone, GitError::Directory { .. }), "{gone}");
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_repository_is_named() {
    let repository = TestRepository::new();
    let discover =
        async |directory: &Path, environment| Repository::discover(directory, None, &environment).await.unwrap_err();

    let without_git = repository.environment().with("PATH", repository.home());
    let error = discover(&repository.top(), without_git).await;
    assert_eq!(error.to_string(), "run git: it is not installed, or not on the PATH");

    let error = discover(&repository.top().join(".git"), repository.environment()).await;
    assert!(matches!(error, GitError::NoWorkTree { .. }), "{error}");

    let error = discover(&repository.top().join("gone"), repository.environment()).await;
    assert!(matches!(error, GitError::Directory { .. }), "{error}");

    repository.write("broken/.git", "gitdir: /no/where\n");
    let error = discover(&repository.top().join("broken"), repository.environment()).await;
    assert!(matches!(error, GitError::Run { .. }), "{error}");

    let git = Command::new("sh").args(["-c", "command -v git"]).output().unwrap().stdout;
    let git = String::from_utf8(git).unwrap();
    script(&repository, "git", &format!("GIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {} \"$@\"", git.trim()));
    let error = discover(&repository.top(), repository.environment().with("PATH", repository.home().join("bin"))).await;
    let top = repository.top().canonicalize().unwrap();
    let told = format!("{} belongs to another user", top.display());
    assert!(matches!(error, GitError::DubiousOwnership { .. }) && error.to_string().contains(&told), "{error}");
}

#[tokio::test]
async fn revisions_are_resolved_and_never_taken_for_options() {
    let repository = TestRepository::new();
    let git = repository.open().await;
    assert!(matches!(git.head().await.unwrap_err(), GitError::NoCommitYet));
    let first = repository.write("x", "1").commit("first");
    let second = repository.write("x", "2").commit("second");
    repository.git(["tag", "--annotate", "--message", "t", "v1", "HEAD~1"]);

    assert_eq!(git.head().await.unwrap(), second);
    for revision in ["HEAD~1", "v1", first.as_str(), first.short(), "main^"] {
        assert_eq!(git.resolve(revision).await.unwrap(), first, "{revision}");
    }
    for revision in ["-h", "--all", "--output=x", "", "HEAD\nmain", "-"] {
        let error = git.resolve(revision).await.unwrap_err();
        assert!(matches!(error, GitError::NotARevision { .. }), "{revision:?}: {error}");
    }
    for revision in ["gone", "^HEAD", "HEAD..HEAD~1", "HEAD:x", "HEAD~9", NOWHERE] {
        let error = git.resolve(revision).await.unwrap_err();
        assert!(matches!(error, GitError::UnknownRevision { shallow: false, .. }), "{revision:?}: {error}");
    }
    assert!(git.has_commit(&first).await.unwrap());
    assert!(!git.has_commit(&nowhere()).await.unwrap());
}

#[tokio::test]
async fn histories_are_compared_as_far_as_they_are_known() {
    use Ancestry::{Ancestor, NotAncestor, Unknown};
    let origin = TestRepository::new();
    let (base, head, merge) = pull_request(&origin);
    let whole = origin.open().await;
    let first = whole.resolve("main~2").await.unwrap();
    let shallow = TestRepository::checkout(&origin, &merge);
    let shallow = shallow.open().await;

    for (git, ancestor, descendant, expected) in [
        (&whole, &first, &merge, Ancestor),
        (&whole, &merge, &merge, Ancestor),
        (&whole, &merge, &first, NotAncestor),
        (&whole, &base, &head, NotAncestor),
        (&whole, &nowhere(), &merge, NotAncestor),
        (&whole, &merge, &nowhere(), Unknown),
        (&shallow, &merge, &merge, Ancestor),
        (&shallow, &base, &merge, Unknown),
        (&shallow, &merge, &base, Unknown),
    ] {
        assert_eq!(git.is_ancestor(ancestor, descendant).await.unwrap(), expected, "{ancestor} {descendant}");
    }
    assert_eq!(whole.merge_base(&base, &head).await.unwrap(), Some(first));
    let missing = whole.merge_base(&base, &nowhere()).await.unwrap_err();
    assert!(matches!(missing, GitError::MissingCommit { .. }), "{missing}");
    assert!(!whole.is_shallow().await.unwrap());
    assert!(shallow.is_shallow().await.unwrap());
}

#[tokio::test]
async fn s3_a_merge_commit_checked_out_at_depth_1_is_compared_with_its_first_parent() {
    let origin = TestRepository::new();
    let (base, head, merge) = pull_request(&origin);
    let clone = TestRepository::checkout(&origin, &merge);
    let git = clone.open().await;

    let before = references(&clone);

    assert_eq!(git.parents(&merge).await.unwrap(), [base.clone(), head.clone()]);
    assert!(!git.has_commit(&base).await.unwrap());
    assert_eq!(git.merged_into(&merge, &head).await.unwrap(), Some(base.clone()));
    git.fetch_commit("origin", &base).await.unwrap();
    assert_eq!(git.changed_between(&base, &merge).await.unwrap(), paths(["b/y.yaml"]));
    assert!(git.is_shallow().await.unwrap());
    assert!(!git.has_commit(&head).await.unwrap(), "the base alone is fetched");
    assert_eq!(references(&clone), before);

    // The author's own merge and a plain commit are not merges of the pull request.
    assert_eq!(git.merged_into(&merge, &merge).await.unwrap(), None);
    assert_eq!(origin.open().await.merged_into(&head, &head).await.unwrap(), None);
}

#[tokio::test]
async fn s4_a_commit_that_cannot_be_fetched_says_why() {
    let origin = TestRepository::new();
    let (base, _, merge) = pull_request(&origin);
    let clone = TestRepository::checkout(&origin, &merge);
    let git = clone.open().await;

    let error = git.fetch_commit("upstream", &base).await.unwrap_err();
    assert!(matches!(error, GitError::NoRemote { .. }), "{error}");
    let error = git.fetch_commit("origin", &nowhere()).await.unwrap_err();
    assert!(matches!(error, GitError::NotOffered { .. }), "{error}: {:?}", error.source());
    for remote in ["", "--upload-pack=touch x", "a\nb"] {
        let error = git.fetch_commit(remote, &base).await.unwrap_err();
        assert!(matches!(error, GitError::NotARemote { .. }), "{error}");
    }

    // This is `persist-credentials: false` on a private repository: the remote asks for a user name that git does not
    // have.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:hunter2@{}/o/r.git", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            lines.find(String::is_empty);
            let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    for url in [&url, &url.replace("user:hunter2@", "")] {
        clone.git(["remote", "set-url", "origin", url]);
        let error = git.fetch_commit("origin", &base).await.unwrap_err();
        assert!(matches!(error, GitError::NoAccess { .. }), "{error}: {:?}", error.source());
        assert!(error.to_string().contains("persist-credentials: false"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn fetching_into_a_whole_clone_leaves_it_whole() {
    let origin = TestRepository::new();
    origin.write("x", "1").commit("first");
    let clone = TestRepository::clone_of(&origin);
    let second = origin.write("x", "2").commit("second");
    let third = origin.write("x", "3").commit("third");
    origin.git(["tag", "v1"]);
    let before = references(&clone);

    let git = clone.open().await;
    git.fetch_commit("origin", &third).await.unwrap();
    assert!(!git.is_shallow().await.unwrap());
    assert_eq!(git.is_ancestor(&second, &third).await.unwrap(), Ancestry::Ancestor);
    assert_eq!(references(&clone), before);
}

#[tokio::test]
async fn s3_renames_deletions_and_odd_names_are_all_listed() {
    let repository = TestRepository::new();
    let latin = bytes(b"caf\xe9.yaml");
    repository.write("old/moved.yaml", "a long enough text to be seen as the same file\n").write("gone/x.yaml", "1");
    repository.write("gone/sub/y.yaml", "1").write("kept.yaml", "1").write(&latin, "1").write("mode.yaml", "1");
    repository.write("file-then-link", "1");
    let base = repository.commit("first");
    repository.git(["config", "diff.renames", "copies"]);
    repository.git(["config", "core.quotePath", "true"]);
    repository.git(["config", "diff.relative", "true"]);
    repository
        .rename("old/moved.yaml", "new/moved.yaml")
        .remove("gone")
        .write(&latin, "2")
        .write("a\nb\t\"c\".yaml", "1");
    repository.write("-rf", "1").remove("file-then-link").link("file-then-link", "kept.yaml");
    let expected =
        paths(["old/moved.yaml", "new/moved.yaml", "gone/x.yaml", "gone/sub/y.yaml", "a\nb\t\"c\".yaml", "-rf"]);
    let expected = &expected | &paths([latin, "file-then-link".into()]);

    let git = repository.open().await;
    // A link counts as the file that it leads to. Here that file has the content that was at this path before.
    assert_eq!(differing(&repository, &base).await, &expected - &paths(["file-then-link"]));
    let head = repository.commit("second");
    assert_eq!(git.changed_between(&base, &head).await.unwrap(), expected.clone());
    assert_eq!(git.changed_between(&head, &base).await.unwrap(), expected);
    assert_eq!(differing(&repository, &head).await, paths::<PathBuf>([]));
    for (one, other) in [(&base, &nowhere()), (&nowhere(), &base)] {
        let error = git.changed_between(one, other).await.unwrap_err();
        assert!(matches!(error, GitError::MissingCommit { ref commit } if *commit == nowhere()), "{error}");
    }
}

#[tokio::test]
async fn s3_four_thousand_files_of_which_3500_changed_give_exactly_those() {
    let repository = TestRepository::new();
    for n in 0..4_000 {
        repository.write(format!("p{}/{n}.yaml", n % 50), format!("n: {n}\n"));
    }
    repository.commit("first");
    repository.branch("feature", "main");
    let mut expected = BTreeSet::new();
    for n in 0..3_500 {
        let path = PathBuf::from(format!("p{}/{n}.yaml", n % 50));
        match n % 3 {
            0 => drop(repository.write(&path, format!("n: {n}\nmore: true\n"))),
            1 => drop(repository.remove(&path)),
            _ => {
                let new = PathBuf::from(format!("moved/{n}.yaml"));
                repository.rename(&path, &new);
                expected.insert(new);
            }
        }
        expected.insert(path);
    }
    let head = repository.commit("feature");
    let merge = repository.branch("main", "main").merge("feature");
    let clone = TestRepository::checkout(&repository, &merge);
    let git = clone.open().await;
    let base = git.merged_into(&merge, &head).await.unwrap().unwrap();
    git.fetch_commit("origin", &base).await.unwrap();

    let start = Instant::now();
    assert_eq!(git.changed_between(&base, &merge).await.unwrap(), expected);
    let listed = start.elapsed();
    let tree = git.read_tree(&base, Path::new(""), &everything).await.unwrap();
    let total = start.elapsed();
    assert_eq!(tree.files.len(), 4_000);
    assert_eq!(tree.files[Path::new("p7/57.yaml")], b"n: 57\n");
    assert!(total < Duration::from_secs(20), "listed in {listed:?}, listed and read in {total:?}");
}

#[tokio::test]
async fn a_base_is_the_merge_base_or_with_a_notice_the_revision_itself() {
    let origin = TestRepository::new();
    let (base, head, merge) = pull_request(&origin);
    let git = origin.open().await;
    let first = git.resolve("main~2").await.unwrap();
    origin.branch("feature", "feature");
    let found = git.base_for("main~1").await.unwrap();
    assert_eq!((found.commit, found.notice), (first, None));

    origin.git(["checkout", "--quiet", "--orphan", "unrelated"]);
    origin.commit("unrelated");
    let found = git.base_for("main").await.unwrap();
    assert_eq!(found.commit, merge);
    let notice = found.notice.unwrap().to_string();
    assert_eq!(notice, "compared with \"main\" itself: there is no common ancestor of it and HEAD");

    let clone = TestRepository::checkout(&origin, &head);
    let git = clone.open().await;
    let unknown = git.base_for(base.as_str()).await.unwrap_err();
    assert!(matches!(unknown, GitError::UnknownRevision { shallow: true, .. }), "{unknown}");
    git.fetch_commit("origin", &base).await.unwrap();
    let found = git.base_for(base.as_str()).await.unwrap();
    assert_eq!(found.commit, base);
    assert!(found.notice.unwrap().shallow);
}

#[tokio::test]
async fn a_tree_is_read_from_the_commit_and_not_from_the_work_tree() {
    let repository = TestRepository::new();
    let odd = bytes(b"a/\xff\n\t.yaml");
    repository.write("a/x.yaml", "1\n").write(&odd, b"\0\xfe").write("a/deep/er/y.yaml", "").write("a/no.txt", "5");
    repository.write("ab/z.yaml", "6").write("x*/q.yaml", "7").write("xy/q.yaml", "8").write("a/same.yaml", "1\n");
    let commit = repository.commit("first");
    repository.remove("a").write("a", "now a file").commit("second");
    let git = repository.open().await;
    let yaml = |path: &Path| path.extension() == Some(OsStr::new("yaml"));

    let read = git.read_tree(&commit, Path::new("a"), &yaml).await.unwrap();
    let files: Vec<_> = read.files.iter().map(|(path, content)| (path.clone(), &content[..])).collect();
    let expected: [(PathBuf, &[u8]); 4] = [
        ("deep/er/y.yaml".into(), b""),
        ("same.yaml".into(), b"1\n"),
        ("x.yaml".into(), b"1\n"),
        (bytes(b"\xff\n\t.yaml"), b"\0\xfe"),
    ];
    assert_eq!(files, expected);
    let starred = git.read_tree(&commit, Path::new("x*"), &everything).await.unwrap();
    assert_eq!(starred.files.into_iter().collect::<Vec<_>>(), [("q.yaml".into(), b"7".to_vec())]);
    for (commit, prefix) in [("HEAD", "a"), ("HEAD", "gone")] {
        let commit = git.resolve(commit).await.unwrap();
        assert!(git.read_tree(&commit, Path::new(prefix), &everything).await.unwrap().files.is_empty());
    }
    let missing = git.read_tree(&nowhere(), Path::new(""), &everything).await.unwrap_err();
    assert!(matches!(missing, GitError::MissingCommit { .. }), "{missing}");
}

#[tokio::test]
async fn b3_links_and_submodules_of_a_commit() {
    let library = TestRepository::new();
    library.write("x.yaml", "1").commit("library");
    let repository = TestRepository::new();
    repository.write("a/real.yaml", "1").link("a/link.yaml", "sub/../real.yaml").write("a/sub/s.yaml", "2");
    repository.link("a/to-sub", "sub").write("outside.yaml", "3");
    repository.git(["submodule", "--quiet", "add", &library.url(), "a/library"]);
    let commit = repository.commit("first");
    let git = repository.open().await;

    let read = git.read_tree(&commit, Path::new("a"), &everything).await.unwrap();
    let names: BTreeSet<_> = read.files.keys().cloned().collect();
    assert_eq!(names, paths(["link.yaml", "real.yaml", "sub/s.yaml", "to-sub/s.yaml"]));
    assert_eq!(read.files[Path::new("link.yaml")], b"1");
    assert_eq!(read.submodules, paths(["library"]));
    // A file that is read from a submodule is not part of this repository's commit.
    assert_eq!(differing(&repository, &commit).await, paths(["a/library/.git", "a/library/x.yaml"]));

    let leaving = repository.link("a/leaving.yaml", "../outside.yaml").commit("second");
    let error = git.read_tree(&leaving, Path::new("a"), &everything).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "follow the symbolic link leaving.yaml in commit {}: it leaves the directory that is read",
            leaving.short()
        )
    );
    let whole = git.read_tree(&leaving, Path::new(""), &everything).await.unwrap();
    assert_eq!(whole.files[Path::new("a/leaving.yaml")], b"3");
}

#[tokio::test]
async fn a_commit_is_read_by_the_rules_of_the_work_tree() {
    let repository = TestRepository::new();
    for path in ["r/x.yaml", "r/a/x.yaml", "r/b/x.yaml", "r/c/d/x.yaml", "r/.h/x.yaml", "r/a/.h/e/x.yaml", "r/.x.yaml"]
    {
        repository.write(path, path);
    }
    repository.write(bytes(b"r/\xe9/\n.yaml"), "odd");
    for (link, target) in [
        ("r/to-file.yaml", "a/x.yaml"),
        ("r/to-hidden", ".h"),
        ("r/.to-a", "a"),
        ("r/up", "."),
        ("r/a/b", "../b"),
        ("r/b/a", "../a"),
        ("r/a/c", "../c"),
        ("r/c/d/up", ".."),
        ("r/b/d", "../c/d"),
        ("r/out-and-back", "../r/c"),
        ("r/chain", "b/d"),
        ("r/unselected", "gone"),
    ] {
        repository.link(link, target);
    }
    let commit = repository.commit("first");
    let yaml = |path: &Path| path.extension() == Some(OsStr::new("yaml"));
    let git = repository.open().await;
    let read = git.read_tree(&commit, Path::new("r"), &yaml).await.unwrap().files;
    assert_eq!(read, read_worktree(&repository.top().join("r"), &yaml).unwrap());
    assert!(read.len() == 16 && read.contains_key(Path::new("out-and-back/d/x.yaml")), "{read:?}");
}

#[tokio::test]
async fn files_that_are_asked_for_are_loaded_alike_from_a_commit_and_from_the_work_tree() {
    let repository = TestRepository::new();
    let files = ["r/x.yaml", "r/.h/y", "r/.h/z", "r/c/k", "lib/a", "lib/d/b", "lib/.i/c", "other/o", "r/c/.j/l"];
    for path in files {
        repository.write(path, path);
    }
    for (link, target) in [
        ("lib/back", "../r/c"),
        ("lib/up", ".."),
        ("lib/out", "/etc/passwd"),
        ("lib/gone", "nothing"),
        ("r/to-a", "../lib/a"),
        ("to-other", "other"),
    ] {
        repository.link(link, target);
    }
    let commit = repository.commit("first");
    let (git, top) = (repository.open().await, repository.top());
    let (mut committed, mut files) = CommitTree::open(&git, &commit, Path::new("r")).await.unwrap();
    let (mut work_tree, mut same) = WorkTree::open(&top.join("r"), &top).unwrap();
    assert_eq!(files, same);
    assert_eq!(*files.paths(), paths(["c/k", "to-a", "x.yaml"]));
    for wanted in [
        &[".h/y", "../lib", "../lib/d", "c", "../to-other/o", "../to-other"][..],
        &["none", "../none", "x.yaml/y", "../../x", "/etc/passwd", "../lib/../lib/a", "c/../x.yaml", "../.git/config"],
        &["../lib/a", "../lib/back/k", "../lib/d/b", "../lib/up/other/o", "x.yaml"],
    ] {
        let wanted = paths(wanted);
        committed.load(&mut files, &wanted).await.unwrap();
        work_tree.load(&mut same, &wanted).unwrap();
        assert_eq!(files, same);
        assert!(wanted.iter().all(|path| files.is_answered(path)), "{wanted:?}");
    }
    let loaded: Vec<_> = files
        .loaded()
        .iter()
        .map(|(path, content)| (path.to_str().unwrap(), str::from_utf8(content).unwrap()))
        .collect();
    let expected = [
        ("../lib/a", "lib/a"),
        ("../lib/back/k", "r/c/k"),
        ("../lib/d/b", "lib/d/b"),
        ("../lib/up/other/o", "other/o"),
        ("../to-other/o", "other/o"),
        (".h/y", "r/.h/y"),
        ("x.yaml", "r/x.yaml"),
    ];
    assert_eq!(loaded, expected);
    for path in ["../lib/out", "../lib/gone", "to-a"] {
        assert!(files.paths().contains(Path::new(path)), "{path}");
        assert!(committed.load(&mut files, &paths([path])).await.is_err(), "{path}");
        assert!(work_tree.load(&mut same, &paths([path])).is_err(), "{path}");
    }
}

#[tokio::test]
async fn nothing_that_the_repository_configures_is_run() {
    let origin = TestRepository::new();
    let first = origin.write("x.yaml", "1").commit("first");
    let second = origin.write("x.yaml", "2").commit("second");
    let clone = TestRepository::checkout(&origin, &second);
    let marker = clone.home().join("ran");
    let trap = script(&clone, "reference-transaction", &format!("echo \"$0 $*\" >> '{}'", marker.display()));
    for key in
        ["core.fsmonitor", "diff.external", "diff.trap.textconv", "diff.trap.command", "core.askPass", "core.pager"]
    {
        clone.git(["config", key, trap.to_str().unwrap()]);
    }
    clone.git(["config", "core.hooksPath", trap.parent().unwrap().to_str().unwrap()]);
    clone.write(".git/info/attributes", "*.yaml diff=trap\n");
    let git = clone.open().await;
    clone.write("x.yaml", "3").write("y.yaml", "1");

    git.fetch_commit("origin", &first).await.unwrap();
    git.changed_between(&first, &second).await.unwrap();
    assert_eq!(differing(&clone, &first).await, paths(["x.yaml", "y.yaml"]));
    git.read_tree(&first, Path::new(""), &everything).await.unwrap();
    assert!(!marker.exists(), "{}", std::fs::read_to_string(&marker).unwrap_or_default());
    clone.git(["status"]);
    assert!(marker.exists(), "the trap works");
}

//! The commit that a merge would make.

use std::path::PathBuf;

use ktor_action::git::commit::Commit;
use ktor_action::git::merge::Merge;
use support::repository::TestRepository;

async fn merged(repository: &TestRepository, base: &Commit, head: &Commit) -> Merge {
    repository.open().await.merged("origin", base, head).await.unwrap()
}

/// Returns the tree of a commit.
fn tree(repository: &TestRepository, commit: &Commit) -> String {
    repository.git(["rev-parse", &format!("{commit}^{{tree}}")])
}

#[tokio::test]
async fn f14_a_merge_has_the_tree_that_git_merge_makes() {
    let repository = TestRepository::new();
    repository.write("a", "1\n").write("b", "1\n").write("c", "1\n").commit("begin");
    repository.branch("feature", "main").write("a", "2\n").remove("c");
    let head = repository.write("new/d", "1\n").commit("feature");
    repository.branch("main", "main");
    let base = repository.write("b", "2\n").commit("main");
    let Merge::Made(made) = merged(&repository, &base, &head).await else { panic!("a merge is possible") };
    let real = repository.merge("feature");
    assert_eq!(tree(&repository, &made), tree(&repository, &real));
    assert_eq!(repository.git(["rev-parse", &format!("{made}^1"), &format!("{made}^2")]), format!("{base}\n{head}"));
    repository.git(["reset", "--quiet", "--hard", base.as_str()]);
    assert_eq!(merged(&repository, &base, &head).await, Merge::Made(made), "the same merge is the same commit");
    assert_eq!(repository.git(["status", "--porcelain"]), "");
    assert_eq!(repository.git(["rev-parse", "HEAD"]), base.as_str());
}

#[tokio::test]
async fn f14_a_conflict_names_its_files_whatever_the_trees_say_about_merging() {
    let repository = TestRepository::new();
    repository.write("k8s/web.yaml", "1\n").write(".gitattributes", "* merge=union\n").commit("begin");
    repository.branch("feature", "main");
    let head = repository.write("k8s/web.yaml", "2\n").commit("feature");
    repository.branch("main", "main");
    let base = repository.write("k8s/web.yaml", "3\n").commit("main");
    assert_eq!(merged(&repository, &base, &head).await, Merge::Conflict(vec![PathBuf::from("k8s/web.yaml")]));
}

#[tokio::test]
async fn f14_a_shallow_clone_gets_the_history_that_a_merge_needs() {
    let origin = TestRepository::new();
    origin.write("a", "0\n").commit("begin");
    origin.branch("feature", "main");
    let mut head = origin.head();
    for number in 0..70 {
        head = origin.write("a", format!("{number}\n")).commit("step");
    }
    origin.branch("main", "main");
    let base = origin.write("b", "1\n").commit("main");
    let checkout = TestRepository::checkout(&origin, &base);
    let repository = checkout.open().await;
    repository.fetch_commit("origin", &head).await.unwrap();
    let Merge::Made(made) = merged(&checkout, &base, &head).await else { panic!("a merge is possible") };
    assert_eq!(checkout.git(["show", &format!("{made}:a")]), "69");
    assert_eq!(checkout.git(["show", &format!("{made}:b")]), "1");
}

#[tokio::test]
async fn f14_histories_without_a_common_commit_are_not_merged() {
    let repository = TestRepository::new();
    let base = repository.write("a", "1\n").commit("begin");
    repository.git(["switch", "--quiet", "--orphan", "feature"]);
    let head = repository.write("b", "1\n").commit("feature");
    assert_eq!(merged(&repository, &base, &head).await, Merge::NoBase);
}

//! The commits of a branch as they landed.

use std::path::PathBuf;

use ktor_action::git::commit::Commit;
use ktor_action::git::error::GitError;
use support::repository::TestRepository;

use super::{NOWHERE, nowhere};

/// Returns the subjects of the commits that landed after a commit and change one of the paths.
async fn landed(repository: &TestRepository, from: &Commit, to: &Commit, paths: &[&str]) -> Vec<String> {
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    let found = repository.open().await.landed(from, to, &paths).await.unwrap();
    assert!(!found.is_cut);
    found.commits.into_iter().map(|landed| landed.subject).collect()
}

#[tokio::test]
async fn f10_merges_squashes_and_rebased_commits_land_once_each_in_their_order() {
    let repository = TestRepository::new();
    let base = repository.write("k8s/x.yaml", "1").write("lib/a", "1").commit("base");
    repository.branch("feature", "main").write("k8s/y.yaml", "1").commit("inner one");
    repository.write("k8s/y.yaml", "2").commit("inner two");
    repository.branch("main", "main").write("README", "1").commit("readme (#1)");
    repository.merge("feature");
    repository.write("k8s/x.yaml", "2").commit("squashed (#2)");
    repository.write("lib/a", "2").commit("library");
    let head = repository.write("k8s/z.yaml", "1").commit("rebased\n\nwith a body");
    let all = landed(&repository, &base, &head, &[]).await;
    assert_eq!(all.len(), 5, "{all:?}");
    assert!(!all.iter().any(|subject| subject.starts_with("inner")), "{all:?}");
    assert_eq!((&*all[0], &*all[2], &*all[4]), ("readme (#1)", "squashed (#2)", "rebased"));
    let below = landed(&repository, &base, &head, &["k8s"]).await;
    assert_eq!((below.len(), &*below[1], &*below[2]), (3, "squashed (#2)", "rebased"));
    assert_eq!(below[0], all[1], "the merge changes what its branch changed");
    assert_eq!(landed(&repository, &base, &head, &["lib/a", "README"]).await, ["readme (#1)", "library"]);
    assert_eq!(landed(&repository, &head, &head, &[]).await, [""; 0]);
    assert_eq!(landed(&repository, &base, &head, &["none", "*.yaml"]).await, [""; 0]);
}

#[tokio::test]
async fn f10_hostile_subjects_are_one_record_each() {
    let repository = TestRepository::new();
    let base = repository.write("x", "1").commit("base");
    let subjects = ["(#7) --all", "a\u{7}b \u{202e}c", " leading", "%H %s %x00"];
    let mut head = base.clone();
    for (number, subject) in subjects.iter().enumerate() {
        head = repository.write("x", format!("{}", number + 2)).commit(subject);
    }
    let found = landed(&repository, &base, &head, &["x"]).await;
    assert_eq!(found, subjects);
}

#[tokio::test]
async fn commits_that_the_clone_lacks_are_an_error() {
    let repository = TestRepository::new();
    let base = repository.write("x", "1").commit("base");
    let error = repository.open().await.landed(&nowhere(), &base, &[]).await.unwrap_err();
    assert!(matches!(error, GitError::Run { .. }) && error.to_string().contains(NOWHERE), "{error:?}");
}

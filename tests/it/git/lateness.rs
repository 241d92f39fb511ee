//! The order of commits, in clones of every depth, against the parents that the test made up.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use ktor_action::git::commit::Commit;
use ktor_action::git::history::Branch;
use ktor_action::run::ancestry::{standing, tip};
use ktor_action::state::lateness::{CommitOrder, Tip};
use support::repository::{RepositoryCopy, TestRepository};

use super::references;

/// A history of numbered commits, of which one is `main`.
struct History {
    origin: TestRepository,
    commits: Vec<Commit>,
    parents: Vec<Vec<usize>>,
    main: usize,
}

/// A pseudo-random sequence that its seed determines.
struct Random(u64);

impl Random {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

impl History {
    /// Returns the history that a seed determines. Its repository is built once.
    fn new(seed: u64) -> Self {
        static BUILT: [OnceLock<(RepositoryCopy, Vec<Commit>)>; 4] = [const { OnceLock::new() }; 4];
        let mut dice = Random(seed);
        let mut parents = Vec::<Vec<usize>>::new();
        for number in 0..7_usize {
            let mut own = BTreeSet::new();
            if number > 0 {
                // The parent is mostly the commit before. Sometimes it is any earlier commit, which makes branches.
                // Sometimes a second parent is added, which makes merges.
                own.insert(if dice.roll(3) > 0 { number - 1 } else { dice.roll(number) });
                if dice.roll(3) == 0 {
                    own.insert(dice.roll(number));
                }
            }
            parents.push(own.into_iter().rev().collect());
        }
        // The branch may have been moved back, or away from some of the commits.
        let main = if dice.roll(2) == 0 { 6 } else { 3 + dice.roll(4) };
        let (copy, commits) = BUILT[usize::try_from(seed).unwrap()].get_or_init(|| Self::build(&parents, main));
        Self { origin: TestRepository::from(copy), commits: commits.clone(), parents, main }
    }

    /// Makes a commit for each list of parents, with one file that never changes. Returns the repository and its
    /// commits.
    fn build(parents: &[Vec<usize>], main: usize) -> (RepositoryCopy, Vec<Commit>) {
        let origin = TestRepository::new();
        let who = "A Tester <tester@example.com> 1767323045 +0000";
        let mut stream = String::new();
        for (number, own) in parents.iter().enumerate() {
            stream += &format!("commit refs/kept/{number}\nmark :{}\ncommitter {who}\ndata 1\n{number}\n", number + 1);
            match own.as_slice() {
                [] => stream += "M 100644 inline x\ndata 1\n1\n",
                [first, others @ ..] => {
                    stream += &format!("from :{}\n", first + 1);
                    stream.extend(others.iter().map(|other| format!("merge :{}\n", other + 1)));
                }
            }
            stream.push('\n');
        }
        stream += &format!("reset refs/heads/main\nfrom :{}\n\n", main + 1);
        origin.import(&stream);
        let listed = origin.git(["for-each-ref", "--format=%(objectname)", "refs/kept"]);
        let commits = listed.lines().map(|commit| commit.parse().unwrap()).collect();
        (origin.copy(), commits)
    }

    fn ancestors(&self, of: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open = self.parents[of].clone();
        while let Some(number) = open.pop() {
            if found.insert(number) {
                open.extend(&self.parents[number]);
            }
        }
        found
    }

    fn oracle(&self, head: usize, other: usize) -> CommitOrder {
        if head == other {
            CommitOrder::Same
        } else if self.ancestors(head).contains(&other) {
            CommitOrder::Newer
        } else if self.ancestors(other).contains(&head) {
            CommitOrder::Older
        } else {
            CommitOrder::Diverged
        }
    }

    /// Returns a copy of a clone. Every clone of one commit and depth is the same.
    fn copy_at(&self, head: usize, depth: usize) -> RepositoryCopy {
        self.clone_at(head, depth).copy()
    }

    fn clone_at(&self, head: usize, depth: usize) -> TestRepository {
        let clone = TestRepository::new();
        clone.git(["remote", "add", "origin", &self.origin.url()]);
        let fetch = ["fetch".to_owned(), "--quiet".to_owned(), format!("--depth={depth}"), "origin".to_owned()];
        clone.git(fetch.iter().map(String::as_str).chain([self.commits[head].as_str()]));
        clone.git(["checkout", "--quiet", "--detach", self.commits[head].as_str()]);
        clone
    }
}

#[tokio::test]
async fn x4_the_order_of_commits_is_known_or_unknown_and_never_wrong() {
    for seed in 0..3 {
        let history = History::new(seed);
        for depth in [1, 2, 3, 100] {
            let head = 2 + usize::try_from(seed).unwrap() + usize::from(depth == 2);
            let copy = history.copy_at(head, depth);
            let alone = TestRepository::from(&copy);
            alone.git(["remote", "set-url", "origin", "file:///nowhere/at/all"]);
            let lonely = alone.open().await;
            for other in 0..history.commits.len() {
                let what = format!("seed {seed} depth {depth} head {head} other {other}");
                let expected = history.oracle(head, other);
                let (one, two) = (&history.commits[head], &history.commits[other]);
                // Neither a remote nor a forge is there, only the clone. Nothing is fetched, so all pairs share the clone.
                let found = standing(&lonely, one, two, &async |_, _| None).await.unwrap();
                assert!(found == expected || found == CommitOrder::Unknown, "{what}: {found:?}");
                // A forge that knows the order is there.
                let told = standing(&lonely, one, two, &async |_, _| Some(expected)).await.unwrap();
                assert_eq!(told, expected, "{what}");
                // A remote is there, and a forge that does not answer or answers without a status.
                let clone = TestRepository::from(&copy);
                let git = clone.open().await;
                let fetched = standing(&git, one, two, &async |_, _| None).await.unwrap();
                assert_eq!(fetched, expected, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn x4_the_branchs_last_commit_is_asked_of_the_remote_and_then_of_the_forge() {
    for seed in 0..4 {
        let history = History::new(seed);
        for head in 0..history.commits.len() {
            let expected = match history.oracle(head, history.main) {
                CommitOrder::Same => Tip::Reached,
                CommitOrder::Older => Tip::Behind,
                _ => Tip::Elsewhere,
            };
            let clone = history.clone_at(head, 1);
            let git = clone.open().await;
            let commit = &history.commits[head];
            let nobody = async |_: &Commit, _: &str| None;
            let (found, last) = tip(&git, commit, Some("main"), &nobody).await.unwrap();
            assert_eq!((found, last.as_ref()), (expected, Some(&history.commits[history.main])), "{seed} {head}");
            assert_eq!(tip(&git, commit, Some("gone"), &nobody).await.unwrap(), (Tip::Unknown, None));
            clone.git(["remote", "set-url", "origin", "file:///nowhere/at/all"]);
            let told = history.oracle(head, history.main);
            let forge = async |_: &Commit, branch: &str| (branch == "main").then_some(told);
            assert_eq!(tip(&git, commit, Some("main"), &forge).await.unwrap(), (expected, None), "{seed} {head}");
            assert_eq!(tip(&git, commit, Some("main"), &nobody).await.unwrap(), (Tip::Unknown, None));
            clone.git(["remote", "remove", "origin"]);
            assert_eq!(tip(&git, commit, Some("main"), &nobody).await.unwrap(), (Tip::Unknown, None));
            assert_eq!(tip(&git, commit, None, &nobody).await.unwrap(), (Tip::Reached, None));
        }
    }
}

#[tokio::test]
async fn a_remote_is_asked_for_a_branch_without_fetching() {
    let origin = TestRepository::new();
    let first = origin.write("x", "1").commit("first");
    let clone = TestRepository::checkout(&origin, &first);
    let second = origin.write("x", "2").commit("second");
    origin.git(["tag", "main-tag"]);
    let before = references(&clone);
    let git = clone.open().await;
    assert_eq!(git.remote_branch("origin", Some("main")).await.unwrap(), Branch::At(second.clone()));
    assert_eq!(git.remote_branch("origin", None).await.unwrap(), Branch::At(second.clone()));
    for absent in ["main-tag", "ain", "*", "ma?n"] {
        assert_eq!(git.remote_branch("origin", Some(absent)).await.unwrap(), Branch::Absent, "{absent}");
    }
    assert_eq!(git.remote_branch("upstream", None).await.unwrap(), Branch::NoRemote);
    git.remote_branch("--upload-pack=x", None).await.unwrap_err();
    assert!(!git.has_commit(&second).await.unwrap());
    assert_eq!(references(&clone), before);
}

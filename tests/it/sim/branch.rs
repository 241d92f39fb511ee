//! A branch whose commits are applied on time, late, again, from a dirty work tree, in part, and from a commit beside
//! the branch.
//!
//! The module has the action's apply without git, and an oracle. The oracle reads nothing but the server's content and
//! returns the outcome that the apply must have.

use std::collections::BTreeSet;
use std::sync::Arc;

use ktor_action::cluster::lock::LockRequest;
use ktor_action::conclusion::exit::Exit;
use ktor_action::conclusion::failure::Failure;
use ktor_action::conclusion::{concluded, ended};
use ktor_action::git::commit::Commit;
use ktor_action::object::kinds::Kinds;
use ktor_action::run::decide::{BaseTree, RunRequest, ScopeBasis};
use ktor_action::run::error::RunError;
use ktor_action::run::interrupt;
use ktor_action::run::judged::{Judged, RunPermission};
use ktor_action::run::reconcile::reconcile;
use ktor_action::run::record::Store;
use ktor_action::state::commits::Commits;
use ktor_action::state::lateness::{self, Acceptance, Caller, CommitOrder, Facts, Recording, Tip};
use ktor_action::state::transition::Prior;
use support::model::World;

use super::checked::check;
use super::choice::{Choice, Forest, Tree};
use super::history::{PATIENCE, Run, request, root};
use super::invariant::{MARK, commits_recorded, is_others, is_ours};
use super::simulation::{Fates, Simulation};

/// The tree of each commit on the branch, the oldest first. One commit does not change the tree.
pub const BRANCH: [Tree; 5] = [Tree::Sealed, Tree::Resealed, Tree::Resealed, Tree::Renewed, Tree::Moved];
/// The number of the last commit.
pub const LAST: usize = BRANCH.len() - 1;
/// The tree of a dirty work tree, which has files that its commit does not have.
const DIRTY: Tree = Tree::Whole;
/// The tree of a commit beside the branch.
const BESIDE: Tree = Tree::Dropped;
/// The offset between the number of a commit on the branch and the number of the commit beside the branch that follows
/// it.
const ASIDE: usize = 0xb000;

const STATE_NAMESPACE: &str = "kubernator-system";
const Y: &str = "/api/v1/namespaces/shop/configmaps/y";

/// The way in which an apply is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The workflow, on the push of the commit or on a re-run of that push's job.
    Push,
    /// The workflow, started by hand.
    Dispatch,
    /// The workflow, in a work tree with files that the commit does not have.
    Dirty,
    /// A person, for one project of the commit.
    Scoped(&'static str),
    /// A person, at a commit that follows this one beside the branch.
    Beside,
}

/// One apply of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apply {
    /// The number of the commit, counted from 0.
    pub commit: usize,
    /// The number of the branch's last commit at the time of the apply.
    pub tip: usize,
    pub by: By,
    /// If true, the guard of replacements is open.
    pub allows_replacement: bool,
}

impl Apply {
    pub const fn push(commit: usize, tip: usize) -> Self {
        Self { commit, tip, by: By::Push, allows_replacement: true }
    }

    pub const fn by(self, by: By) -> Self {
        Self { by, ..self }
    }

    pub const fn guarded(self) -> Self {
        Self { allows_replacement: false, ..self }
    }

    pub fn tree(self) -> Tree {
        match self.by {
            By::Dirty => DIRTY,
            By::Beside => BESIDE,
            _ => BRANCH[self.commit],
        }
    }

    fn caller(self) -> Caller {
        if matches!(self.by, By::Scoped(_) | By::Beside) { Caller::Person } else { Caller::Workflow }
    }

    fn position(self) -> Tip {
        match self.by {
            By::Beside => Tip::Elsewhere,
            _ if self.commit == self.tip => Tip::Reached,
            _ => Tip::Behind,
        }
    }

    fn head(self) -> Commit {
        named(if self.by == By::Beside { ASIDE + self.commit } else { self.commit })
    }

    /// Returns the judgment that follows from the answers that git and the forge would give.
    fn judged(self, record: &Commits) -> Judged {
        let mut measures = record.measures();
        if measures.is_empty() {
            measures.clone_from(&record.reviewed_from);
        }
        let (tip, caller) = (self.position(), self.caller());
        let recorded = measures.iter().map(|commit| self.standing(commit)).collect();
        let facts = Facts { recorded, tip, caller, acceptance: Acceptance::None };
        let head = self.head();
        let (begun, ledger) = match lateness::recording(tip) {
            Recording::Whole => (head.clone(), Some(head.clone()).filter(|_| self.by != By::Dirty)),
            Recording::MergeBase => (named(self.commit), None),
        };
        let verdict = lateness::judge(&facts);
        Judged { head: Some(head), tip, verdict, begun: Some(begun), ledger, accepted: None }
    }

    /// Returns the order of this commit relative to another commit of the branch.
    fn standing(self, other: &str) -> CommitOrder {
        let other = number(other);
        match (self.commit.cmp(&other), self.by) {
            (std::cmp::Ordering::Less, By::Beside) => CommitOrder::Diverged,
            (_, By::Beside) => CommitOrder::Newer,
            (std::cmp::Ordering::Less, _) => CommitOrder::Older,
            (std::cmp::Ordering::Equal, _) => CommitOrder::Same,
            (std::cmp::Ordering::Greater, _) => CommitOrder::Newer,
        }
    }

    fn request(self, name: &str, forest: &Forest, prior: &Prior) -> RunRequest {
        let only = match self.by {
            By::Scoped(project) => Some(project),
            _ => None,
        };
        let choice = Choice { only, ..Choice::of(self.tree()) };
        let mut request = request(&Run { allows_replacement: self.allows_replacement, ..Run::of(name, choice) });
        let commits = prior.commits.clone();
        let ledger = commits.ledger.current().map(|commit| BRANCH[number(commit)]);
        request.before = match (self.by, self.commit, ledger) {
            (By::Push | By::Dirty, 0, _) => BaseTree::Nothing,
            (By::Push | By::Dirty, commit, _) => BaseTree::Tree(Arc::new(forest.sources(BRANCH[commit - 1]).clone())),
            (By::Dispatch, _, Some(ledger)) => BaseTree::Tree(Arc::new(forest.sources(ledger).clone())),
            _ => BaseTree::Unknown,
        };
        request.since = match self.by {
            By::Push | By::Dirty => {
                ScopeBasis::Ledger { commits, touched: ledger.map(|ledger| ledger.touched(self.tree())) }
            }
            _ => ScopeBasis::Judged(commits),
        };
        request
    }
}

impl std::fmt::Display for Apply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { commit, tip, by, allows_replacement } = self;
        write!(f, "{by:?} of {commit}, the tip is {tip}")?;
        f.write_str(if *allows_replacement { "" } else { ", guarded" })
    }
}

/// Returns the ID of the commit with this number.
fn named(number: usize) -> Commit {
    format!("{:040x}", number + 1).parse().unwrap()
}

/// Returns the number of the commit with this ID.
pub fn number(commit: &str) -> usize {
    usize::from_str_radix(commit, 16).unwrap() - 1
}

/// Makes an apply as the action does. It reads the state, judges the commit by it, and reconciles. If the state moved
/// in between, it begins again. It fails after five attempts.
pub async fn apply(site: &Simulation, forest: &Forest, name: &str, apply: Apply) -> Exit {
    let (cluster, _) = site.connect(name, Fates { commit: Some(apply.commit), ..Fates::default() });
    let (_interrupter, interrupt) = interrupt::pair();
    let sources = forest.sources(apply.tree());
    let lock = LockRequest {
        namespace: STATE_NAMESPACE.to_owned(),
        root: root(),
        holder: name.to_owned(),
        timeout: PATIENCE,
        run_url: None,
    };
    let exit = |error: RunError| Failure::from(error).exit;
    for _ in 0..5 {
        let prior = match Store::open(&cluster, STATE_NAMESPACE, &root()).await {
            Ok((_, prior)) => prior,
            Err(error) => return exit(error),
        };
        let mut request = apply.request(name, forest, &prior);
        let judged = apply.judged(&prior.commits);
        match judged.permit(&mut request) {
            Ok(RunPermission::Granted) => {}
            Ok(RunPermission::Superseded(_)) => return Exit::Success,
            Err(error) => return Failure::from(error).exit,
        }
        let is_applied = prior.commits.ledger.current() == Some(apply.head().as_str()) && judged.ledger.is_some();
        if apply.by == By::Push && is_applied && prior.open.is_empty() && !has_orphans(forest, apply, &prior) {
            return Exit::Success;
        }
        request.commits = judged.commits();
        let before = site.world();
        match reconcile(&cluster, &lock, &request, sources, &interrupt, &|_| {}).await {
            Err(RunError::StateChanged) => {}
            Err(error) => return exit(error),
            Ok(report) => {
                check(site, &report, apply.tree(), Some(&before));
                let result = ended(&report).and_then(|()| concluded(&report.plan));
                return result.map_or_else(|error| error.exit, |()| Exit::Success);
            }
        }
    }
    Exit::Failure
}

fn has_orphans(forest: &Forest, apply: Apply, prior: &Prior) -> bool {
    let sources = forest.sources(apply.tree());
    let desired = sources.resolve(&sources.with_defined_kinds(Kinds::builtin().clone())).manifests;
    prior.entries.keys().into_iter().any(|key| !desired.contains_key(key))
}

/// The outcome that an apply must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The apply writes nothing and succeeds.
    Superseded,
    /// The apply writes nothing, and a person has to look at it.
    Refused,
    /// The apply is carried out.
    Carried,
}

/// Returns the outcome that an apply must have on a server with this content, by the rules for late runs.
pub fn due(world: &World, apply: Apply) -> Due {
    let newest = commits_recorded(world).last().copied();
    match (newest, apply.by) {
        (None, By::Scoped(_) | By::Beside) => Due::Carried,
        (None, _) if apply.commit == apply.tip => Due::Carried,
        (None, _) => Due::Superseded,
        (Some(newest), _) if newest <= apply.commit => Due::Carried,
        (Some(_), By::Beside) => Due::Refused,
        (Some(_), _) if apply.commit < apply.tip => Due::Superseded,
        (Some(_), _) => Due::Refused,
    }
}

/// Returns the objects that a tree wants and that must stay as they are, each with its project. These are the objects
/// of another root and, while the guard of replacements is closed, the objects that only a replacement could change.
pub fn standing(world: &World, tree: Tree, allows_replacement: bool) -> BTreeSet<(&'static str, &'static str)> {
    let mut standing = BTreeSet::new();
    for path in tree.desired() {
        let Some(live) = world.object(path) else { continue };
        let manifest = tree.manifest(path);
        let is_sealed = live["immutable"] == true;
        let differs = live["data"] != manifest["data"] || live["immutable"] != manifest["immutable"];
        let is_kept = path == Y && is_ours(live) && is_sealed && differs && !allows_replacement;
        if is_kept || is_others(live) {
            standing.insert((path, tree.project_of(path)));
        }
    }
    standing
}

/// Returns the objects that a tree wants and that are missing or differ from it, without the objects that must stay as
/// they are.
pub fn outdated(world: &World, tree: Tree) -> BTreeSet<&'static str> {
    let stands = standing(world, tree, false);
    let is_current = |path: &&str| {
        world.object(path).is_some_and(|live| {
            let is_placed = live["metadata"]["annotations"][MARK] == tree.project_of(path);
            is_placed && live["data"] == tree.manifest(path)["data"]
        })
    };
    let moving = tree.desired().into_iter().filter(|path| !stands.contains(&(*path, tree.project_of(path))));
    moving.filter(|path| !is_current(path)).collect()
}

/// Returns `true` if this commit itself changes what its tree states about an object, compared with the commit before
/// it.
pub fn is_own(commit: usize, path: &str) -> bool {
    let (before, after) = (commit.checked_sub(1).map(|before| BRANCH[before]), BRANCH[commit]);
    let stated = |tree: Tree| {
        let wanted = tree.desired().contains(&path);
        wanted.then(|| (tree.manifest(path), tree.project_of(path)))
    };
    before.and_then(stated) != stated(after)
}

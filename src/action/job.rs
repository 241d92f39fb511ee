//! One job of a workflow, and the steps that every event shares.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;

use super::options::{ActionOptions, Identity, Surroundings, Told};
use super::reporter::{MergedPull, OwnPlan, PlanPlace, Reporter};
use crate::cluster::connect::Cluster;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::forge::{CommentedPlan, Context, Event};
use crate::git::commit::Commit;
use crate::git::repository::Repository;
use crate::plan::build::Plan;
use crate::plan::decision::{Action, Disposition};
use crate::process::engine::Policy;
use crate::project::snapshot::printable;
use crate::report::{Heading, wording};
use crate::run::workspace::{Rendering, Workspace, run_name};
use crate::state::provenance::{Provenance, RepositoryName};

/// The maximum number of attempts of a plan or an apply. An attempt starts over if another run wrote the state
/// meanwhile.
pub(super) const ATTEMPTS: usize = 5;

/// One job of a workflow.
pub(super) struct Job<'a> {
    /// The options.
    pub options: &'a ActionOptions,
    /// The surroundings.
    pub around: &'a Surroundings<'a>,
    /// The reporter.
    pub reporter: &'a Reporter<'a>,
    /// The names of the root and the target. Set once the project is open.
    pub named: OnceLock<Identity>,
    /// The path of the root directory in the repository. Set once the project is open.
    pub prefix: OnceLock<PathBuf>,
    /// `true` if the job has set the status of its commit, or has tried to.
    pub has_status: AtomicBool,
}

/// The number of annotations of a job. GitHub shows ten of each step, and the error that ends the job is one of them.
const ANNOTATIONS: usize = 9;

impl Job<'_> {
    /// Prints a notice.
    pub(super) fn notice(&self, message: &str) {
        (self.around.tell)(Told::Notice(message));
    }

    pub(super) fn nothing(&self, why: &str) -> Exit {
        self.notice(&format!("nothing to do: {why}"));
        self.reporter.outputs(&[("result", "nothing"), ("changes", "0"), ("cleanup-count", "0"), ("kept", "0")]);
        Exit::Success
    }

    pub(super) async fn open(&self) -> Result<Workspace, Failure> {
        // Anyone who can commit could otherwise choose the cluster, and the program that fetches its credentials.
        if let Some(planted) = &self.around.planted_kubeconfig {
            return Err(Failure::usage(format!(
                "the kubeconfig {} lies in the checkout, where a pull request can put its own: write it elsewhere, as \
                 below RUNNER_TEMP",
                printable(planted)
            )));
        }
        let path = &self.options.path;
        let path = if path.is_absolute() { path.clone() } else { self.around.context.workspace.join(path) };
        // A repository that contains the workspace does not belong to the workflow, so the search stops at the
        // workspace.
        // Anyone can have written what a comment asks about, or what comes from a fork.
        // The charts of such content are those that the base names, which for a comment is the default branch.
        let (policy, trusted) = match &self.around.context.event {
            Event::PullRequest(pull) if pull.from_fork || pull.author_is_dependabot => {
                (Policy::UNTRUSTED, Some(&pull.base_sha))
            }
            Event::IssueComment(_) => (Policy::UNTRUSTED, Some(&self.around.context.sha)),
            Event::Other(_) => (Policy::UNTRUSTED, None),
            _ => (Policy::OWN, None),
        };
        let trusted = trusted.and_then(|commit| commit.parse::<Commit>().ok());
        let rendering = Rendering { policy, trusted: trusted.as_ref() };
        let (workspace, environment) = (&self.around.context.workspace, &self.around.environment);
        let mut project = Box::pin(Workspace::open_within(
            (&path, self.options.target.as_deref()),
            Some(workspace),
            environment,
            rendering,
        ))
        .await?;
        // The forge's name for the repository takes precedence over the remote's address. For a pull request from a
        // fork, it is the name of the base repository.
        let Context { server_url, repository, .. } = self.around.context;
        let forge = RepositoryName::of_forge(server_url, &repository.owner, &repository.name);
        project.place = forge.and_then(|name| Provenance::new(name, &project.prefix)).or(project.place);
        let identity = Identity { root: project.root.to_string(), target: self.target(&project) };
        self.reporter.identify(self.named.get_or_init(|| identity).clone());
        self.prefix.get_or_init(|| project.prefix.clone());
        Ok(project)
    }

    /// Reports an error of a run that made no plan, in the step summary and in the comments of the pull requests.
    pub(super) async fn failed(&self, error: &Failure) {
        let unopened = unopened(self.options);
        let Identity { root, target } = self.named.get().unwrap_or(&unopened);
        let (planned, pulls) = match &self.around.context.event {
            Event::PullRequest(pull) if pull.merged => (None, vec![(pull.number, pull.head_sha.clone(), true)]),
            Event::PullRequest(pull) => {
                let planned = (pull.action != "closed").then_some((Some(pull.number), pull.head_sha.as_str()));
                (planned, vec![(pull.number, pull.head_sha.clone(), false)])
            }
            Event::MergeGroup { head_sha, .. } => (Some((None, head_sha.as_str())), Vec::new()),
            Event::Push(push) => {
                let pulls = self.reporter.pulls_of(&push.after).await;
                (None, pulls.into_iter().map(|pull| (pull.number, pull.head_sha, true)).collect())
            }
            _ => (None, Vec::new()),
        };
        let mut failed = Vec::new();
        for (number, head, is_apply) in pulls {
            // A failed apply can be repeated and then needs the signed plan again, so a comment that cannot be read is not
            // written. A failed plan has nothing to review.
            let plan = if is_apply { self.place_of_plan(number).await } else { Some(PlanPlace::nowhere()) };
            failed.extend(plan.map(|plan| MergedPull { number, head, plan }));
        }
        let run = self.around.context.run_url();
        let heading = Heading { target, root: shown_root(root, target), run: Some(&run), ..Heading::default() };
        self.reporter.failure(&failed, planned, &heading, error).await;
    }

    /// Returns the place of the plan of a merged pull request. `None` if the forge fails.
    pub(super) async fn place_of_plan(&self, number: u64) -> Option<PlanPlace> {
        let plan = self.reporter.commented_plan(number).await.ok()?;
        Some(plan.map_or_else(PlanPlace::nowhere, |plan| place(&plan)))
    }

    /// Returns the exit code for a report that was already made, and prints the reasons to the log.
    pub(super) fn told(&self, judged: Result<(), Failure>) -> Exit {
        match judged {
            Ok(()) => Exit::Success,
            Err(error) => {
                let error = self.in_repository(error);
                (self.around.tell)(Told::Failure(&error));
                error.exit
            }
        }
    }

    /// Returns the error with the path of its file in the repository, where annotations belong.
    pub(super) fn in_repository(&self, mut error: Failure) -> Failure {
        if let (Some(prefix), Some(place)) = (self.prefix.get(), &mut error.place) {
            place.place.path = prefix.join(&place.place.path);
        }
        error
    }

    /// Prints a report to the log, and annotates what stays as it is because of the job's own changes.
    pub(super) fn print(&self, plan: &Plan, title: &str, text: &str) {
        (self.around.tell)(Told::Report(title, text));
        let prefix = self.prefix.get().cloned().unwrap_or_default();
        let standing = plan.all().filter(|change| plan.own.contains(&change.ident.key));
        for change in standing.take(ANNOTATIONS) {
            let place = change.place.as_ref().map(|place| (prefix.join(&place.path), place.line));
            let place = place.as_ref().map(|(path, line)| (path.as_path(), *line));
            (self.around.tell)(Told::Standing(&wording::stopped(change), place));
        }
    }

    /// The name of the run, and its time.
    pub(super) fn run_name(&self) -> (String, Timestamp) {
        let Context { repository, run_id, attempt, .. } = self.around.context;
        let who = format!("{}/{} run {run_id} attempt {attempt}", repository.owner, repository.name);
        (run_name(&who, (self.around.seed)()), (self.around.now)())
    }

    /// Returns `true` if a cluster is configured.
    pub(super) fn has_cluster(&self) -> bool {
        !self.around.cluster.kubeconfig.is_empty() || self.around.cluster.in_cluster
    }

    /// Connects to the cluster.
    pub(super) async fn connect(&self) -> Result<Cluster, Failure> {
        let connecting = Cluster::connect_with(&self.around.cluster, self.around.settings.clone());
        connecting.await.map_err(|error| Failure::from(&error))
    }

    /// The name of the target.
    pub(super) fn target(&self, project: &Workspace) -> String {
        self.options.target.clone().unwrap_or_else(|| project.root.to_string())
    }

    pub(super) fn outputs(&self, plan: &Plan, result: &str, url: Option<&str>) {
        let changes = plan.all().filter(|change| !matches!(change.action(), Action::Unchanged | Action::Keep)).count();
        self.reporter.outputs(&[
            ("result", result),
            ("changes", &changes.to_string()),
            ("cleanup-count", &plan.deletions().count().to_string()),
            ("kept", &plan.standing(Disposition::Kept).count().to_string()),
            ("comment-url", url.unwrap_or_default()),
            ("digest", &plan.digest),
        ]);
    }
}

/// Returns the place of a plan in a comment.
pub(super) fn place(plan: &CommentedPlan) -> PlanPlace {
    if plan.section.is_some() {
        return PlanPlace::Summary;
    }
    PlanPlace::Own(OwnPlan { review: plan.review.clone(), server: plan.server.clone() })
}

/// Returns the identity of a project that could not be opened: its target, else its directory.
pub(super) fn unopened(options: &ActionOptions) -> Identity {
    let directory = || printable(&options.path);
    Identity { root: String::new(), target: options.target.clone().unwrap_or_else(directory) }
}

/// Returns the root if a report has to show it beside the target.
pub(super) fn shown_root<'r>(root: &'r str, target: &str) -> Option<&'r str> {
    Some(root).filter(|root| !root.is_empty() && *root != target)
}

/// Returns HEAD, which must be the event's commit. Any other commit would plan or apply something that the event does
/// not ask for.
pub(super) async fn at_commit(repository: &Repository, commit: &str) -> Result<Commit, Failure> {
    let head = repository.head().await?;
    if head.as_str() == commit {
        return Ok(head);
    }
    Err(Failure::new(
        Exit::Refused,
        format!("the checkout is at {head}, but the event is about {commit}: check out the event's own commit"),
    ))
}

//! The comparison of a cluster with what was merged, on a schedule.

use super::job::{ATTEMPTS, Job, shown_root};
use super::options::Told;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::plan::drift::has_drifted;
use crate::report::Heading;
use crate::report::terminal::{self, Style};
use crate::run::decide::decide;
use crate::run::error::RunError;
use crate::run::review::ReviewBasis;

impl Job<'_> {
    /// Compares the cluster with the commit that is checked out, and keeps one issue that tells the difference.
    ///
    /// Nothing is written to the cluster. If the issue cannot be written, a drift is told by the exit code.
    pub(super) async fn drift(&self) -> Result<Exit, Failure> {
        let project = self.open().await?;
        let head = project.repository("a comparison with the cluster")?.head().await?;
        let cluster = self.connect().await?;
        let mut planned = Err(RunError::StateChanged);
        for _ in 0..ATTEMPTS {
            let mut request = project.request(&self.options.scope, &self.options.policy, None, self.run_name());
            request.review = ReviewBasis::ByHand;
            let prior = project.prior(&cluster).await?;
            request.notices.extend(project.unapplied(&prior.commits).await?);
            planned = decide(&cluster, &request, &project.sources).await;
            if !matches!(planned, Err(RunError::StateChanged)) {
                break;
            }
        }
        let plan = planned?.plan;
        let (target, root) = (self.target(&project), project.root.to_string());
        let (run, files) = (self.around.context.run_url(), self.around.context.files_address());
        let heading = Heading {
            target: &target,
            root: shown_root(&root, &target),
            cluster: Some(cluster.context()),
            base: None,
            head: Some(head.as_str()),
            run: Some(&run),
            directory: Some(&project.prefix),
            files: Some(&files),
            takes_commands: false,
        };
        self.print(&plan, &format!("drift of {target}"), &terminal::plan(&plan, &heading, Style::Plain));
        let has_drifted = has_drifted(&plan);
        let issue = self.reporter.drift(&plan, &heading).await;
        self.outputs(
            &plan,
            if has_drifted { "drift" } else { "no-changes" },
            issue.as_ref().ok().and_then(Option::as_deref),
        );
        match issue {
            Ok(_) => Ok(Exit::Success),
            Err(why) => {
                (self.around.tell)(Told::Warning(&format!("the issue of the drift was not written: {why}")));
                Ok(if has_drifted { Exit::ChangesPending } else { Exit::Success })
            }
        }
    }
}

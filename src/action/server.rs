//! The API server of a root's first apply, which must be the one that its plan was made on.
//!
//! A later apply needs no such check: the keys of the root tell the cluster, and a plan that was signed with other keys
//! shows nothing. Before the first apply there are no keys, and nothing of the root is in the cluster that would tell a
//! wrong kubeconfig.

use std::collections::BTreeSet;

use super::job::Job;
use super::landed::Known;
use crate::cluster::connect::Cluster;
use crate::cluster::identity::ServerIdentity;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::{Failure, chain};
use crate::forge::Event;
use crate::git::commit::Commit;
use crate::git::landed::Landed;
use crate::git::repository::Repository;

impl Job<'_> {
    /// Checks that the plans of what the first apply of a root applies were made on this API server. A plan that was
    /// made without a cluster does not count, and neither does an apply that a person started by hand.
    ///
    /// # Errors
    ///
    /// A plan was made on another server, or git fails. A forge that fails leaves plans unchecked.
    pub(super) async fn check_server(&self, known: Known<'_>, cluster: &Cluster) -> Result<(), Failure> {
        if known.keys.is_some() || self.covers_the_root() || !self.reporter.has_forge() {
            return Ok(());
        }
        let planned = self.planned_servers(known).await?;
        if planned.is_empty() {
            return Ok(());
        }
        let here = cluster.identity().await;
        match planned.iter().find(|(_, planned)| !planned.is_same(&here)) {
            Some((number, _)) => Err(other_server(*number, &known.project.root.to_string(), cluster.context())),
            None => Ok(()),
        }
    }

    /// Returns the pull requests of what is applied, with the servers that their plans were made on.
    async fn planned_servers(&self, known: Known<'_>) -> Result<Vec<(u64, ServerIdentity)>, Failure> {
        let mut numbers = BTreeSet::new();
        if let Event::PullRequest(pull) = &self.around.context.event {
            numbers.insert(pull.number);
        }
        for landed in self.first_landed(known).await? {
            numbers.extend(self.landed_pull(&landed).await.map(|pull| pull.number));
        }
        let mut servers = Vec::new();
        for number in numbers {
            let plans = match self.reporter.commented_plans(number).await {
                Ok(plans) => plans.unwrap_or_default(),
                Err(error) => {
                    self.notice(&format!("the API server of the plan of #{number} is not known: {}", chain(&error)));
                    continue;
                }
            };
            // The latest plan is the one that people saw last.
            let latest = plans.into_iter().next();
            let server = latest.and_then(|plan| plan.server?.parse().ok());
            servers.extend(server.map(|server| (number, server)));
        }
        Ok(servers)
    }

    /// Lists the commits of the push, or the head alone if the commit before it is not known.
    async fn first_landed(&self, known: Known<'_>) -> Result<Vec<Landed>, Failure> {
        let repository = known.project.repository("an apply")?;
        let before = match &self.around.context.event {
            Event::Push(push) if !push.created => push.before.parse::<Commit>().ok(),
            _ => None,
        };
        let before = match before {
            Some(before) => Some(before),
            None => parent(repository, known.head).await?,
        };
        let Some(before) = before else { return Ok(Vec::new()) };
        Ok(self.history(repository, known, &before).await?.unwrap_or_default())
    }
}

/// Returns the first parent of a commit.
async fn parent(repository: &Repository, commit: &Commit) -> Result<Option<Commit>, Failure> {
    Ok(repository.parents(commit).await?.into_iter().next())
}

fn other_server(number: u64, root: &str, context: &str) -> Failure {
    Failure::new(
        Exit::Refused,
        format!(
            "the plan of #{number} was made on another API server than that of the context {context}, where {root} was \
             never applied: correct the kubeconfig, or start the workflow by hand to apply it there"
        ),
    )
}

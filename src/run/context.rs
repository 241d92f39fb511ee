//! The context that the steps of a run share.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::connect::Cluster;
use crate::cluster::lock::HeldLock;
use crate::object::ident::ObjectKey;
use crate::object::manifest::Manifest;
use crate::plan::build::Plan;
use crate::plan::observed::Observed;
use crate::run::decide::RunRequest;
use crate::run::events::Events;
use crate::run::interrupt::Interrupt;

/// The context of the two halves of a run.
#[derive(Clone, Copy)]
pub(crate) struct RunContext<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The lock, which permits changes to the cluster.
    pub lock: &'a HeldLock,
    /// The request.
    pub request: &'a RunRequest,
    /// The plan.
    pub plan: &'a Plan,
    /// The desired objects of the whole tree.
    pub desired: &'a BTreeMap<ObjectKey, Manifest>,
    /// The observations from the cluster.
    pub observed: &'a Observed,
    /// The interrupt, which tells the run to stop.
    pub interrupt: &'a Interrupt,
    /// The receiver of the run's events.
    pub events: Events<'a>,
}

impl RunContext<'_> {
    /// Removes the secrets of an object from a message about it.
    pub(crate) fn redacted(self, key: &ObjectKey, message: &str) -> String {
        let live = self.observed.live(key).map(|live| &live.body);
        let desired = self.desired.get(key).map(|manifest| &*manifest.body);
        let bodies: Vec<&Value> = live.into_iter().chain(desired).collect();
        self.request.redactor.message(&bodies, message)
    }
}

/// The reason why a run may start no further object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// A signal came.
    Interrupted,
    /// The lock is lost.
    LockLost,
}

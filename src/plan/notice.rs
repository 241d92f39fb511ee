//! The notices of a plan: facts for its readers that belong to no single change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::decision::{Contents, Decision};
use crate::object::ident::{GroupKind, ObjectKey};
use crate::project::changed::ChangedSetting;
use crate::project::field_rule::FieldRule;
use crate::project::path::ProjectPath;
use crate::project::snapshot::{SourceError, SourcePlace};
use crate::state::freeze::Freeze;
use crate::state::provenance::Provenance;

/// A fact for the readers of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A comment allows the merge to delete or replace the object, which the plan keeps.
    Consented(ObjectKey),
    /// A person froze the root: an apply changes nothing now.
    Frozen(Freeze),
    /// A setting of the root changes.
    SettingChanged(ChangedSetting),
    /// The run is for another target than before, and the caller accepts this.
    TargetChanged {
        /// The recorded target.
        from: String,
        /// The target to record, if the tree declares targets.
        to: Option<String>,
    },
    /// The tree comes from another place than before, and the caller accepts this.
    TreeMoved {
        /// The recorded place.
        from: Provenance,
        /// The place that is recorded from now on.
        to: Provenance,
    },
    /// The root's settings leave fields to other managers, or take them from other managers.
    FieldRule(FieldRule),
    /// The root's settings count what these managers applied as the root's own.
    AdoptedManagers(Vec<String>),
    /// Another tool manages an object that is adopted.
    OtherTool {
        /// The object.
        object: ObjectKey,
        /// The tool.
        tool: String,
    },
    /// An object keeps fields that another tool set and no manifest states.
    FieldsHeld(ObjectKey),
    /// Deleting a namespace or CRD also deletes objects outside the plan, and the guard is open.
    AlsoDeleted {
        /// The namespace or CRD.
        holder: ObjectKey,
        /// Its contents outside the plan.
        contents: Contents,
    },
    /// The number of changes that the server cannot check yet.
    Unchecked(usize),
    /// Earlier changes left objects as they are.
    LeftEarlier {
        /// The number of objects.
        count: usize,
        /// The first object.
        first: ObjectKey,
        /// The decision about the first object.
        decision: Decision,
    },
    /// A file of a project in scope cannot be rendered, so the project fails.
    SourceFailed(SourceError),
    /// A source out of scope cannot be rendered, so nothing is deleted.
    OtherSourceFailed(SourceError),
    /// The tree that this one is compared with cannot be read.
    BaseUnreadable {
        /// The commit.
        commit: String,
        /// The reason.
        why: String,
    },
    /// The commit is not known to be the branch's last one, so nothing is deleted.
    LaterCommits,
    /// The commit is not on the branch that is applied.
    OffTheBranch {
        /// The commit.
        head: String,
        /// The last commit that it shares with the branch. The run records this one.
        recorded: String,
    },
    /// The state does not say at which commit the root was last finalized, so the whole root is in scope.
    WholeRoot,
    /// The last run did not finish, or another tool wrote the state since.
    Unsettled,
    /// Commits of the branch change the root and are not applied yet.
    NotApplied {
        /// The commits, the oldest first, with the first lines of their messages.
        commits: Vec<(String, String)>,
        /// `true` if there are more than these.
        is_cut: bool,
    },
    /// The commit that was applied last is not part of the tree's history.
    AppliedElsewhere(String),
    /// A kind that is desired or recorded could not be listed.
    NotListed {
        /// The kind.
        kind: GroupKind,
        /// The reason.
        why: String,
    },
    /// Another kind could not be searched for objects of this root.
    NotSearched {
        /// The kind.
        kind: GroupKind,
        /// The reason.
        why: String,
    },
    /// The credentials may not list the whole cluster.
    ListedInNamespaces {
        /// The number of kinds that were listed in these namespaces only.
        listed: usize,
        /// The namespaces.
        namespaces: BTreeSet<String>,
        /// The kinds that could not be listed. Only recorded and desired objects of these kinds were read.
        unlisted: BTreeSet<GroupKind>,
    },
    /// The server of an API group does not answer.
    GroupUnavailable(String),
    /// Manifests were saved from a cluster. Fields that only a server writes are left out.
    SavedFromCluster {
        /// The place of the first one.
        first: SourcePlace,
        /// The number of the others.
        others: usize,
    },
    /// Values for templates replaced a value of another kind: a mapping by something else, or the other way round.
    ValuesOfOtherKind {
        /// The keys of the first one, as in `ingress.hosts`.
        key: String,
        /// The place of the value that is used.
        winning: SourcePlace,
        /// The place of the value that is lost.
        losing: SourcePlace,
        /// The number of the others.
        others: usize,
    },
    /// Files that could be manifests are in the directory of a kustomization that does not use them.
    UnusedFiles(BTreeSet<PathBuf>),
    /// These directories with a chart are used by no release. The paths are those of their `Chart.yaml`.
    UnusedCharts(BTreeSet<PathBuf>),
    /// Charts have hooks for tests, deletions and rollbacks, which are never applied: their numbers by release file.
    HooksNeverApplied(BTreeMap<PathBuf, usize>),
    /// A policy leaves out hooks of charts: their numbers by release file.
    HooksSkipped(BTreeMap<PathBuf, usize>),
    /// The charts of these release files read the clock.
    ChartsReadTime(BTreeSet<PathBuf>),
    /// The charts of these release files ask if they are installed or upgraded.
    ChartsReadRevision(BTreeSet<PathBuf>),
    /// The engine that rendered sources, with its version.
    RenderedWith(String),
    /// An engine ran without a part of its confinement, which the kernel lacks.
    EngineUnconfined(String),
    /// Desired objects are not ready now.
    NotReady {
        /// The objects.
        objects: Vec<ObjectKey>,
        /// The projects in which they prevent deletions, each with its first object.
        kept: Vec<(ProjectPath, ObjectKey)>,
    },
    /// The plan is the difference between two trees. No cluster was asked.
    Offline,
    /// Some files of the base tree cannot be read, so their objects are not compared.
    BaseFilesUnreadable,
    /// These kinds are not known without a cluster.
    KindsAsWritten(BTreeSet<GroupKind>),
}

impl Notice {
    /// The kind of the notice, as in JSON output.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Consented(_) => "consented",
            Self::Frozen(_) => "frozen",
            Self::SettingChanged(_) => "setting-changed",
            Self::TargetChanged { .. } => "target-changed",
            Self::TreeMoved { .. } => "tree-moved",
            Self::FieldRule(_) => "field-rule",
            Self::AdoptedManagers(_) => "adopted-managers",
            Self::OtherTool { .. } => "other-tool",
            Self::FieldsHeld(_) => "fields-held",
            Self::AlsoDeleted { .. } => "also-deleted",
            Self::Unchecked(_) => "unchecked",
            Self::LeftEarlier { .. } => "left-earlier",
            Self::SourceFailed(_) => "source-failed",
            Self::OtherSourceFailed(_) => "other-source-failed",
            Self::BaseUnreadable { .. } => "base-unreadable",
            Self::LaterCommits => "later-commits",
            Self::OffTheBranch { .. } => "off-the-branch",
            Self::WholeRoot => "whole-root",
            Self::Unsettled => "unsettled",
            Self::NotApplied { .. } => "not-applied",
            Self::AppliedElsewhere(_) => "applied-elsewhere",
            Self::NotListed { .. } => "not-listed",
            Self::NotSearched { .. } => "not-searched",
            Self::ListedInNamespaces { .. } => "listed-in-namespaces",
            Self::GroupUnavailable(_) => "group-unavailable",
            Self::SavedFromCluster { .. } => "saved-from-cluster",
            Self::ValuesOfOtherKind { .. } => "values-of-other-kind",
            Self::UnusedFiles(_) => "unused-files",
            Self::UnusedCharts(_) => "unused-charts",
            Self::HooksNeverApplied(_) => "hooks-never-applied",
            Self::HooksSkipped(_) => "hooks-skipped",
            Self::ChartsReadTime(_) => "charts-read-time",
            Self::ChartsReadRevision(_) => "charts-read-revision",
            Self::RenderedWith(_) => "rendered-with",
            Self::EngineUnconfined(_) => "engine-unconfined",
            Self::NotReady { .. } => "not-ready",
            Self::Offline => "offline",
            Self::BaseFilesUnreadable => "base-files-unreadable",
            Self::KindsAsWritten(_) => "kinds-as-written",
        }
    }
}

//! Observes what a plan needs to know: lists live objects, and makes dry runs of the changes. Writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};

use crate::cluster::connect::Cluster;
use crate::cluster::observe::{DryRunAnswer, ReadError};
use crate::cluster::readiness::{Readiness, is_waited_for, readiness};
use crate::object::fields::Fields;
use crate::object::ident::{GroupKind, ObjectKey};
use crate::object::kinds::{Kind, Kinds, defined_kind};
use crate::object::live::Live;
use crate::object::manifest::Manifest;
use crate::object::mark::{Ownership, Root, managed_fields, ownership};
use crate::object::order::Wave;
use crate::object::refusal::{FieldConflict, Refusal};
use crate::plan::build::PlanRequest;
use crate::plan::cleanup::{CleanupRequest, candidates, decide, is_holder};
use crate::plan::cohabiting::CohabitingKeys;
use crate::plan::decision::Action;
use crate::plan::field_rules::relinquished;
use crate::plan::migration::{Extent, FieldTransfer};
use crate::plan::notice::Notice;
use crate::plan::observed::{DryRun, Lookup, Observed};
use crate::plan::obstacle::lifted;
use crate::plan::unchanged::is_proved_for;
use crate::plan::unchecked::{Brought, seen_anew};
use crate::plan::unreadable_fields::{self, restated, unified};
use crate::run::collateral::look_into_all;
use crate::run::in_place::try_otherwise;
use crate::run::listing::list_in_namespaces;

/// The kinds that a run lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// The kinds that are desired or recorded.
    Known,
    /// Every kind that can be listed, because an unsettled run may have left objects of any kind.
    Everything,
}

/// Lists the root's live objects of every relevant kind. Returns them together with notices about failed lists.
///
/// If the credentials may not list a kind in the whole cluster, lists it in the given namespaces. A failed list proves
/// nothing: objects of its kind are read one by one later, or stay unknown.
///
/// # Errors
///
/// None. Each failed list becomes a notice.
pub(crate) async fn list_owned(
    cluster: &Cluster,
    root: &Root,
    kinds: &Kinds,
    known: &BTreeSet<GroupKind>,
    namespaces: &BTreeSet<String>,
    sweep: Sweep,
) -> (BTreeMap<ObjectKey, Lookup>, Vec<Notice>) {
    let listed: Vec<&Kind> = kinds
        .iter()
        .filter(|kind| kind.manageable && (sweep == Sweep::Everything || known.contains(&kind.group_kind)))
        .collect();
    let answers: Vec<_> = stream::iter(listed)
        .map(|kind| async move { (kind, cluster.list_owned(kind, root).await) })
        .buffer_unordered(cluster.settings().concurrency)
        .collect()
        .await;
    let mut looks = BTreeMap::new();
    let mut notices = Vec::new();
    let mut forbidden = Vec::new();
    for (kind, answer) in answers {
        match answer {
            Err(ReadError::Forbidden(_)) => forbidden.push(kind),
            Ok(found) => looks.extend(found.into_iter().map(|live| (kind.key_of(&live), Lookup::Live(live)))),
            // The kind is not served: this run creates its CRD, or the kind was removed.
            Err(ReadError::Gone) => {}
            Err(error) if known.contains(&kind.group_kind) => {
                notices.push(Notice::NotListed { kind: kind.group_kind.clone(), why: error.to_string() });
            }
            // The kind is neither desired nor recorded, and it cannot be listed. Objects that an unsettled run left
            // there are not found.
            Err(error) => {
                notices.push(Notice::NotSearched { kind: kind.group_kind.clone(), why: error.to_string() });
            }
        }
    }
    notices.sort_by(|a: &Notice, b| format!("{a:?}").cmp(&format!("{b:?}")));
    let (found, notice) = list_in_namespaces(cluster, root, &forbidden, namespaces).await;
    looks.extend(found);
    notices.extend(notice);
    (looks, notices)
}

/// Reads those of the given objects that no list showed. A consistent read of each object tells whether it is gone.
pub(crate) async fn look(cluster: &Cluster, observed: &mut Observed, keys: impl IntoIterator<Item = ObjectKey>) {
    let missing: Vec<ObjectKey> = keys.into_iter().filter(|key| !observed.looks.contains_key(key)).collect();
    let kinds = &observed.kinds;
    let found: Vec<_> = stream::iter(missing)
        .map(|key| async move {
            let look = match kinds.get(&key.group_kind()) {
                Some(kind) => match cluster.get(kind, &key).await {
                    Ok(Some(live)) => Lookup::Live(live),
                    Ok(None) => Lookup::Absent,
                    Err(ReadError::Gone) if kinds.is_conclusive_for(&key.group) => Lookup::Absent,
                    Err(error) => Lookup::Unknown(error.to_string()),
                },
                None if kinds.is_conclusive_for(&key.group) => Lookup::Absent,
                None => Lookup::Unknown(format!("the server of {} does not answer", key.group)),
            };
            (key, look)
        })
        .buffer_unordered(cluster.settings().concurrency)
        .collect()
        .await;
    observed.looks.extend(found);
}

/// Makes dry runs of the changes: first applies of the in-scope desired objects, then deletions of the cleanup set.
///
/// # Errors
///
/// None. A refused dry run is an observation.
pub(crate) async fn try_changes(cluster: &Cluster, served: &Kinds, request: PlanRequest<'_>, observed: &mut Observed) {
    let (first, rest): (Vec<&Manifest>, Vec<&Manifest>) =
        request.in_scope().partition(|manifest| Wave::of(&manifest.ident.key) <= Wave::Definitions);
    look_in_desired_version(cluster, served, request, observed).await;
    try_applies(cluster, served, request, observed, first).await;
    look_at_met(cluster, observed).await;
    look_at_namespaces(cluster, request, observed).await;
    try_applies(cluster, served, request, observed, rest).await;
    look_at_met(cluster, observed).await;
    look_in_desired_version(cluster, served, request, observed).await;
    believe(request, observed);
    observed.unready = unready(request, observed);
    try_deletions(cluster, request, observed).await;
}

/// Reads the objects that a dry run found and that no list or read showed before. An object can appear between the two,
/// for example from a late request of a run that died.
async fn look_at_met(cluster: &Cluster, observed: &mut Observed) {
    let met = observed.trials.iter().filter(|(key, trial)| {
        matches!(trial, DryRun::Applied(_) | DryRun::Refused(_)) && observed.live(key).is_none()
    });
    let met: Vec<ObjectKey> = met.map(|(key, _)| key.clone()).collect();
    for key in &met {
        observed.looks.remove(key);
    }
    look(cluster, observed, met).await;
}

/// Reads the namespaces of desired objects that the run itself does not apply. A namespace that is being deleted takes
/// its objects with it.
async fn look_at_namespaces(cluster: &Cluster, request: PlanRequest<'_>, observed: &mut Observed) {
    let namespaces: BTreeSet<ObjectKey> =
        request.in_scope().filter_map(|manifest| manifest.ident.key.namespace_key()).collect();
    let others = namespaces.into_iter().filter(|key| !observed.trials.contains_key(key));
    let others: Vec<ObjectKey> = others.collect();
    look(cluster, observed, others).await;
}

/// Reads objects again that were read in another version than the desired one, because only objects of the same version
/// can be compared.
async fn look_in_desired_version(cluster: &Cluster, served: &Kinds, request: PlanRequest<'_>, observed: &mut Observed) {
    let view = &*observed;
    let other = request.in_scope().filter_map(|manifest| {
        let live = view.live(&manifest.ident.key)?;
        let found = live.body.get("apiVersion").and_then(serde_json::Value::as_str)?;
        let kind = served.get(&manifest.ident.key.group_kind())?;
        let wanted = (found != manifest.ident.api_version()).then(|| kind.at_version(&manifest.ident.version))?;
        Some((manifest.ident.key.clone(), wanted))
    });
    let read: Vec<_> = stream::iter(other)
        .map(|(key, kind)| async move { Some((cluster.get(&kind, &key).await.ok()??, key)) })
        .buffer_unordered(cluster.settings().concurrency)
        .filter_map(std::future::ready)
        .collect()
        .await;
    observed.looks.extend(read.into_iter().map(|(live, key)| (key, Lookup::Live(live))));
}

async fn try_applies(
    cluster: &Cluster,
    served: &Kinds,
    request: PlanRequest<'_>,
    observed: &mut Observed,
    manifests: Vec<&Manifest>,
) {
    let view = &*observed;
    let leaving = &Leaving::of(request, view);
    let trials: Vec<(ObjectKey, DryRunFinding)> = stream::iter(manifests)
        .map(|manifest| async move {
            let tested = match leaving.needed_by(&manifest.ident.key) {
                Some(creator) if served.get(&manifest.ident.key.group_kind()).is_some() => {
                    DryRun::Unverified(creator).into()
                }
                _ => {
                    let tested = try_apply(cluster, served, request, view, manifest).await;
                    try_otherwise(cluster, served, request, view, manifest, tested).await
                }
            };
            (manifest.ident.key.clone(), tested)
        })
        .buffer_unordered(cluster.settings().concurrency)
        .collect()
        .await;
    for (key, DryRunFinding { trial, extent, claims, is_forced }) in trials {
        if is_forced {
            observed.forced.insert(key.clone());
        }
        if !claims.is_empty() {
            observed.claims.insert(key.clone(), claims);
        }
        if extent == Extent::Metadata {
            observed.held.insert(key.clone());
        }
        observed.trials.insert(key, trial);
    }
}

/// The result of a dry run, and the fields that become ours before the apply.
pub(super) struct DryRunFinding {
    pub(super) trial: DryRun,
    /// The part of the older tools' fields that can become ours.
    pub(super) extent: Extent,
    /// The fields that no manager owns and that prevent the change.
    pub(super) claims: Fields,
    /// `true` if the run takes contested fields from their managers.
    pub(super) is_forced: bool,
}

impl From<DryRun> for DryRunFinding {
    fn from(trial: DryRun) -> Self {
        Self { trial, extent: Extent::Whole, claims: Fields::new(), is_forced: false }
    }
}

impl From<Refusal> for DryRunFinding {
    fn from(refusal: Refusal) -> Self {
        DryRun::Refused(refusal).into()
    }
}

async fn try_apply(
    cluster: &Cluster,
    served: &Kinds,
    request: PlanRequest<'_>,
    observed: &Observed,
    manifest: &Manifest,
) -> DryRunFinding {
    let key = &manifest.ident.key;
    let Some(kind) = served.get(&key.group_kind()) else {
        let group = key.group_kind();
        return if served.is_conclusive_for(&key.group) {
            Refusal::NoKind(format!("{} {group}", manifest.place)).into()
        } else {
            Refusal::Unavailable(format!("the server of {group} does not answer discovery")).into()
        };
    };
    if !kind.versions.contains(&manifest.ident.version) {
        let (group_kind, served) = (key.group_kind(), kind.versions.join(", "));
        let words =
            format!("{}: {group_kind} is served in {served} and not in {}", manifest.place, manifest.ident.version);
        return Refusal::NoVersion(words).into();
    }
    if let Some(leaving) = key.namespace_key().filter(|namespace| is_leaving(observed, namespace)) {
        return Refusal::Terminating(format!("its namespace {} is being deleted", leaving.name)).into();
    }
    // A dry run would apply the manifest to the object that is being deleted.
    if is_leaving(observed, key) {
        return DryRun::Created.into();
    }
    if observed.done.contains(key) && observed.looks.get(key) == Some(&Lookup::Absent) {
        return DryRun::Proved.into();
    }
    let mut body = request.stamped(manifest);
    if let Some(live) = observed.live(key) {
        let transfer = FieldTransfer::of(request.root, &manifest.ident.api_version(), request.policy, key, live);
        if is_proved_for(&transfer, &body, live, request.root) {
            return DryRun::Proved.into();
        }
        // With the uid, the dry run updates the object that was read, and never an object that was recreated meanwhile.
        if matches!(ownership(live, request.root), Ownership::Ours(_) | Ownership::Lost(_)) {
            body["metadata"]["uid"] = live.uid().into();
        }
    }
    if let Some(restated) = observed.live(key).and_then(|live| restated(live, kind, &manifest.ident.api_version())) {
        return try_restated(cluster, kind, &restated, &body, request.root).await.into();
    }
    let trying = DryRunContext { cluster, request, key, kind: &kind.at_version(&manifest.ident.version), served: kind };
    let api_version = manifest.ident.api_version();
    match cluster.try_apply(trying.kind, &body, request.root).await {
        Ok(DryRunAnswer { created: true, .. }) => DryRun::Created.into(),
        Ok(DryRunAnswer { live, .. }) => {
            let before = observed.live(key).unwrap_or(&live);
            let transfer = FieldTransfer::of(request.root, &api_version, request.policy, key, before);
            if let Some(freed) = freed(request, manifest, &transfer, before) {
                return try_restated(cluster, trying.kind, &freed, &body, request.root).await.into();
            }
            without_legacy(trying, &transfer, live).await
        }
        Err(Refusal::Conflict(contested)) => {
            try_take_over(trying, observed.live(key), &api_version, body, contested).await
        }
        Err(refusal @ Refusal::Unreadable(_)) => {
            match observed.live(key).and_then(|live| unified(live, &api_version)) {
                Some(unified) => try_restated(cluster, trying.kind, &unified, &body, request.root).await.into(),
                None => refusal.into(),
            }
        }
        Err(refusal) => refusal.into(),
    }
}

/// The object after the older tools' fields became ours and the root gave up the fields that it leaves to others.
/// `None` if it gives up no fields.
fn freed(request: PlanRequest<'_>, manifest: &Manifest, transfer: &FieldTransfer, live: &Live) -> Option<Live> {
    let fields = match transfer.managed_fields(live, Extent::Whole) {
        Some(serde_json::Value::Array(fields)) => fields,
        _ => managed_fields(live).cloned().collect(),
    };
    let fields = relinquished(&fields, request.policy, request.desired, manifest, request.root)?;
    let mut freed = live.clone();
    freed.body["metadata"]["managedFields"] = fields.into();
    Some(freed)
}

/// Makes a dry run of the apply as a PUT. Used if the managed fields of the object have to be rewritten before an
/// apply.
async fn try_restated(cluster: &Cluster, kind: &Kind, live: &Live, desired: &serde_json::Value, root: &Root) -> DryRun {
    let after = unreadable_fields::applied(live, desired, root);
    match cluster.try_replace(kind, live.uid(), &live.body, &after, root).await {
        Ok(live) => DryRun::Applied(live),
        Err(refusal) => DryRun::Refused(refusal),
    }
}

/// Returns `true` if the object was being deleted when it was read.
fn is_leaving(observed: &Observed, key: &ObjectKey) -> bool {
    observed.live(key).is_some_and(Live::is_terminating)
}

/// The context of the dry run of one object.
#[derive(Clone, Copy)]
struct DryRunContext<'a> {
    cluster: &'a Cluster,
    request: PlanRequest<'a>,
    key: &'a ObjectKey,
    /// The kind in the desired version.
    kind: &'a Kind,
    /// The kind in the version that objects are read in.
    served: &'a Kind,
}

/// Makes a dry run of a forced apply, if the only conflicts are about fields that the run takes over before the apply.
async fn try_take_over(
    trying: DryRunContext<'_>,
    live: Option<&Live>,
    api_version: &str,
    mut body: serde_json::Value,
    contested: Vec<FieldConflict>,
) -> DryRunFinding {
    let DryRunContext { cluster, request, key, kind, served } = trying;
    let found = match live {
        Some(live) => Some(live.clone()),
        None => cluster.get(served, key).await.ok().flatten(),
    };
    let Some(live) = found else { return Refusal::Conflict(contested).into() };
    let transfer = FieldTransfer::of(request.root, api_version, request.policy, key, &live);
    let others = transfer.contested(&live, &contested);
    let is_taken = |one: &FieldConflict| {
        request.policy.forces(key, &one.field) || request.policy.takes_mark(key, &live, &one.field)
    };
    let (forced, others): (Vec<FieldConflict>, Vec<FieldConflict>) = others.into_iter().partition(is_taken);
    if !others.is_empty() {
        return Refusal::Conflict(others).into();
    }
    let is_forced = !forced.is_empty();
    body["metadata"]["uid"] = live.uid().into();
    match cluster.try_forced_apply(kind, &body, request.root).await {
        Ok(tried) => DryRunFinding { is_forced, ..without_legacy(trying, &transfer, tried.live).await },
        Err(refusal) => refusal.into(),
    }
}

/// The result of an apply after the older tools' fields became ours and the undesired ones of them are removed.
///
/// The server may refuse to remove some of these fields, for example an immutable field that it once filled in. Then
/// these fields stay, and only the metadata is taken over.
async fn without_legacy(trying: DryRunContext<'_>, transfer: &FieldTransfer, applied: Live) -> DryRunFinding {
    let DryRunContext { cluster, request, kind, .. } = trying;
    for extent in [Extent::Whole, Extent::Metadata] {
        let Some(remainder) = transfer.remainder(&applied, extent) else {
            return DryRunFinding { extent, ..DryRun::Applied(applied).into() };
        };
        match cluster.try_replace(kind, applied.uid(), &applied.body, &remainder, request.root).await {
            Ok(live) => return DryRunFinding { extent, ..DryRun::Applied(live).into() },
            Err(Refusal::Invalid(_)) if extent == Extent::Whole => {}
            Err(refusal) => return refusal.into(),
        }
    }
    DryRunFinding { extent: Extent::Metadata, ..DryRun::Applied(applied).into() }
}

/// The desired namespaces and CRDs that are being deleted. Until they are gone and created anew, the server cannot
/// check objects that need them.
struct Leaving {
    namespaces: BTreeSet<String>,
    /// The CRD of each kind.
    kinds: BTreeMap<GroupKind, ObjectKey>,
}

impl Leaving {
    fn of(request: PlanRequest<'_>, observed: &Observed) -> Self {
        let (mut namespaces, mut kinds) = (BTreeSet::new(), BTreeMap::new());
        for key in observed.trials.keys().filter(|key| is_leaving(observed, key)) {
            if key.is_namespace() {
                namespaces.insert(key.name.clone());
            } else if key.is_crd()
                && let Some(kind) = request.desired.get(key).and_then(|manifest| defined_kind(&manifest.body))
            {
                kinds.insert(kind.group_kind, key.clone());
            }
        }
        Self { namespaces, kinds }
    }

    /// The object's namespace or the CRD of its kind, if it is being deleted and will be created anew.
    fn needed_by(&self, key: &ObjectKey) -> Option<ObjectKey> {
        let namespace = key.namespace.as_ref().filter(|namespace| self.namespaces.contains(*namespace));
        let definition = || self.kinds.get(&key.group_kind()).cloned();
        namespace.and_then(|_| key.namespace_key()).or_else(definition)
    }
}

/// Judges the dry runs again, with regard to everything that the run itself writes before it reaches each object.
fn believe(request: PlanRequest<'_>, observed: &mut Observed) {
    loop {
        let view = &*observed;
        let brought = Brought::of(request.desired, view, request.root);
        let anew = request.in_scope().filter_map(|manifest| {
            let key = &manifest.ident.key;
            Some((key.clone(), seen_anew(view.trials.get(key)?, manifest, &brought)?))
        });
        let anew: Vec<(ObjectKey, DryRun)> = anew.collect();
        if anew.is_empty() {
            return;
        }
        observed.trials.extend(anew);
    }
}

/// The in-scope desired objects that are live and not ready.
fn unready(request: PlanRequest<'_>, observed: &Observed) -> BTreeSet<ObjectKey> {
    let keys = request.in_scope().map(|manifest| &manifest.ident.key).filter(|key| is_waited_for(&key.group_kind()));
    let is_unready = |key: &&ObjectKey| observed.live(key).is_some_and(|live| readiness(live) != Readiness::Ready);
    keys.filter(is_unready).cloned().collect()
}

async fn try_deletions(cluster: &Cluster, request: PlanRequest<'_>, observed: &mut Observed) {
    let desired: BTreeSet<&ObjectKey> = request.desired.keys().collect();
    let PlanRequest { root, scope, entries, policy, .. } = request;
    let intended = &request.in_scope().map(|manifest| &manifest.ident.key).collect();
    let cleanup = CleanupRequest { root, scope, entries, desired: &desired, intended, policy };
    let cohabiting = CohabitingKeys::of(request.desired.keys(), observed);
    let recorded: Vec<ObjectKey> = candidates(cleanup).map(|(_, ident)| ident.key).collect();
    let namesakes: Vec<ObjectKey> = recorded.iter().flat_map(|key| cohabiting.namesakes(key)).collect();
    let namesakes = namesakes.into_iter().filter(|key| desired.contains(key));
    let unseen: Vec<ObjectKey> = recorded.iter().cloned().chain(namesakes).collect();
    look(cluster, observed, unseen).await;
    let view = &*observed;
    let deletions = decide(cleanup, view).into_iter().filter(|change| change.action() == Action::Delete);
    let refused: Vec<_> = stream::iter(deletions)
        .map(|change| async move {
            let kind = view.kinds.get(&change.ident.key.group_kind())?;
            let (uid, version) = (change.uid.as_deref()?, change.resource_version.as_deref()?);
            let refusal = cluster.try_delete(kind, &change.ident.key, uid, version).await.err()?;
            Some((change.ident.key, refusal))
        })
        .buffer_unordered(cluster.settings().concurrency)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let deleted = decide(cleanup, view).into_iter().filter(|change| change.action() == Action::Delete);
    let deleted: Vec<ObjectKey> = deleted.map(|change| change.ident.key).collect();
    let bodies = deleted.iter().filter_map(|key| Some((key, &view.live(key)?.body)));
    let bodies: Vec<(&ObjectKey, &serde_json::Value)> = bodies.collect();
    let by: Vec<Option<ObjectKey>> =
        refused.iter().map(|(key, refusal)| lifted(refusal, &bodies).filter(|by| *by != key).cloned()).collect();
    for ((key, refusal), by) in refused.into_iter().zip(by) {
        if let Some(by) = by {
            observed.lifted.insert(key, by);
            continue;
        }
        match refusal {
            // The object changed since it was read (its status, for example). The run reads it again before it deletes
            // it.
            Refusal::Changed(_) | Refusal::Absent(_) => {}
            refusal => drop(observed.undeletable.insert(key, refusal)),
        }
    }
    if recorded.iter().any(is_holder) {
        look_into_holders(cluster, cleanup, observed).await;
    }
}

/// Lists the contents of the namespaces and CRDs that would be deleted.
async fn look_into_holders(cluster: &Cluster, cleanup: CleanupRequest<'_>, observed: &mut Observed) {
    let deletions = decide(cleanup, observed).into_iter().filter(|change| change.action() == Action::Delete);
    let holders: Vec<ObjectKey> = deletions.map(|change| change.ident.key).filter(is_holder).collect();
    let view = &*observed;
    let living = holders.iter().filter_map(|key| Some((key, view.live(key).filter(|live| !live.is_terminating())?)));
    let contents = look_into_all(cluster, &view.kinds, &living.collect::<Vec<_>>()).await;
    observed.contents.extend(contents);
}

//! Objects whose generated name changes with their content, as kustomize names ConfigMaps and Secrets. The old and the new
//! one are shown as one difference.

use std::collections::BTreeMap;

use crate::object::generated::stem;
use crate::object::ident::ObjectKey;
use crate::object::redact::Redactor;
use crate::plan::build::Plan;
use crate::plan::change::{Change, FieldChange, ShownValue};
use crate::plan::decision::Action;
use crate::plan::diff;

/// The new objects that take the place of a deleted one, by key.
pub(super) struct Renamed<'a> {
    by_key: BTreeMap<&'a ObjectKey, Successor<'a>>,
}

/// An object that takes the place of a deleted one.
pub(super) struct Successor<'a> {
    /// The deleted object.
    pub old: &'a Change,
    /// The difference between the two, redacted and without the name.
    pub diff: Vec<FieldChange>,
}

/// The parts of a key that all generations of an object have in common: the kind, the namespace, and the name before the
/// hash.
type Stem<'a> = (&'a str, Option<&'a str>, &'a str);

impl<'a> Renamed<'a> {
    /// Finds the objects whose place a new one takes: of a stem, exactly one is created, and this plan itself deletes
    /// exactly one. The manifests of both must be known.
    pub(super) fn of(plan: &'a Plan) -> Self {
        let created = plan.changes.iter().filter(|change| change.action() == Action::Create);
        let deleted = plan.deletions().filter(|change| !plan.pending.contains(&change.ident.key));
        let (created, deleted) = (by_stem(created), by_stem(deleted));
        let pairs = created.iter().filter_map(|(stem, created)| {
            let [new] = created[..] else { return None };
            let [old] = deleted.get(stem)?[..] else { return None };
            Some((&new.ident.key, Successor { old, diff: difference(old, new)? }))
        });
        Self { by_key: pairs.collect() }
    }

    /// Returns the object whose place a new object takes.
    pub(super) fn successor(&self, change: &Change) -> Option<&Successor<'a>> {
        self.by_key.get(&change.ident.key).filter(|_| change.action() == Action::Create)
    }

    /// Returns the new object that takes the place of a deleted one.
    pub(super) fn replaces(&self, deleted: &Change) -> Option<&'a ObjectKey> {
        let is_old = |successor: &Successor<'_>| successor.old.ident.key == deleted.ident.key;
        self.by_key.iter().find(|(_, successor)| is_old(successor)).map(|(key, _)| *key)
    }
}

fn by_stem<'a>(changes: impl Iterator<Item = &'a Change>) -> BTreeMap<Stem<'a>, Vec<&'a Change>> {
    let mut by_stem: BTreeMap<Stem<'a>, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        let key = &change.ident.key;
        if let Some(stem) = stem(key) {
            by_stem.entry((&key.kind, key.namespace.as_deref(), stem)).or_default().push(change);
        }
    }
    by_stem
}

/// Compares the redacted manifests of two objects, without their names.
fn difference(old: &Change, new: &Change) -> Option<Vec<FieldChange>> {
    let (before, mut after) = (old.body.as_ref()?.parse(), new.body.as_ref()?.parse());
    if let (Some(metadata), Some(name)) = (after.get_mut("metadata"), before.pointer("/metadata/name")) {
        metadata["name"] = name.clone();
    }
    let mut diff = diff::fields(&before, &after, &after, &Redactor::default());
    if diff.is_empty() {
        // The hash in the name is one of the content, so what differs is hidden.
        let (path, secret) = ("data".to_owned(), Some(ShownValue::Secret));
        diff.push(FieldChange { path, before: secret.clone(), after: secret, steps: Vec::new(), near: Vec::new() });
    }
    Some(diff)
}

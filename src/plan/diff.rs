//! The difference between two objects, field by field and redacted.
//!
//! Lists are compared by content: items with a key by their key, other items by their value. An item that is inserted
//! at the start is therefore one addition. Texts that contain JSON or YAML are compared as documents.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use super::align::{Pairs, moved, rising, unchanged};
use super::change::{FieldChange, Neighbor, ShownValue, Step};
use super::embedded::documents;
use crate::object::items::{Keyed, keyed};
use crate::object::mark::{PROJECT, ROOT};
use crate::object::mask::MaskedView;
use crate::object::redact::Redactor;

/// The fields of `metadata` that only a server writes.
const SERVER_METADATA: [&str; 7] =
    ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink", "deletionTimestamp"];

/// The maximum number of common items for which the whole order of a keyed list is shown. For longer lists, only the
/// moved items are shown.
const SHORT_ORDER: usize = 12;

/// The maximum number of characters shown of an item that moved.
const SHORT_ITEM: usize = 60;

/// The maximum number of item pairs that are compared to find the most similar ones. Above this number, items are
/// paired in order.
const MOST_PAIRS: usize = 40_000;

/// The maximum number of bytes, as JSON, of an unchanged value that is shown next to a changed one.
const SHORT_NEIGHBOR: usize = 80;

/// The maximum number of unchanged fields that identify an item without a key.
const MOST_NEIGHBORS: usize = 3;

/// Compares two objects and lists the differences for a reviewer, in the order of the fields.
///
/// The status, the fields that only a server writes, and the mark are ignored. All secrets of the object share one
/// line: with a line for each secret, the difference would tell which of them changed. Unchanged fields are shown next
/// to a changed one only if `stated`, the manifest, contains them, so that no value of the server's own is shown.
pub(crate) fn fields(before: &Value, after: &Value, stated: &Value, redactor: &Redactor) -> Vec<FieldChange> {
    let kind = after.get("kind").or_else(|| before.get("kind")).and_then(Value::as_str).unwrap_or_default();
    let secrets = redactor.secrets(kind, Some(before), Some(after));
    let (before, after) = (secrets.before(before), secrets.after(after));
    let mut changes: Vec<FieldChange> = edits(before, after, stated).into_iter().map(Edit::shown).collect();
    if secrets_differ(&mut Vec::new(), Some(before), Some(after)) {
        let secret = || Some(ShownValue::Secret);
        changes.push(secret_line(&secrets.places, secret(), secret()));
    }
    changes
}

/// Lists the values that a manifest states, as far as they may be shown. It is for an object whose live values must
/// stay hidden.
pub(crate) fn stated(manifest: &Value, redactor: &Redactor) -> Vec<FieldChange> {
    let part = |value: &Value, names: &[&str]| {
        let named = names.iter().filter_map(|name| Some(((*name).to_owned(), value.get(name)?.clone())));
        Value::Object(named.collect())
    };
    let mut identity = part(manifest, &["apiVersion", "kind"]);
    identity["metadata"] = part(manifest.get("metadata").unwrap_or(&Value::Null), &["name", "namespace"]);
    let kind = manifest.get("kind").and_then(Value::as_str).unwrap_or_default();
    let secrets = redactor.secrets(kind, None, Some(manifest));
    let edits = edits(MaskedView::new(&identity, None), secrets.after(manifest), &Value::Null);
    let mut changes: Vec<FieldChange> = edits.into_iter().map(Edit::shown).collect();
    let is_named = |place: &String| changes.iter().any(|change| change.path == *place);
    let unnamed: Vec<String> = secrets.places.into_iter().filter(|place| !is_named(place)).collect();
    if !unnamed.is_empty() {
        changes.push(secret_line(&unnamed, None, Some(ShownValue::Secret)));
    }
    changes
}

fn secret_line(places: &[String], before: Option<ShownValue>, after: Option<ShownValue>) -> FieldChange {
    FieldChange { path: places.join(", "), before, after, steps: Vec::new(), near: Vec::new() }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    path: Vec<Step>,
    /// The value before, in the form in which it may be shown.
    before: Option<ShownValue>,
    after: Option<ShownValue>,
    /// The items of a list that are at another place now. If there are any, the two values show the two orders.
    moves: Pairs,
    near: Vec<Neighbor>,
}

impl Edit {
    fn shown(self) -> FieldChange {
        let mut path = String::new();
        for part in &self.path {
            match part {
                Step::Field(name) => {
                    if !path.is_empty() && !path.ends_with("> ") {
                        path.push('.');
                    }
                    path.push_str(name);
                }
                Step::Item { key: Some(key), .. } => path.push_str(&format!("[{key}]")),
                Step::Item { before, after, .. } => {
                    path.push_str(&format!("[{}]", after.or(*before).unwrap_or_default()));
                }
                Step::Document => path.push_str(" > "),
            }
        }
        if !self.moves.is_empty() {
            path.push_str(" (order)");
        }
        FieldChange { path, before: self.before, after: self.after, steps: self.path, near: self.near }
    }
}

fn edits(before: MaskedView<'_>, after: MaskedView<'_>, stated: &Value) -> Vec<Edit> {
    let mut walk = Walk { path: Vec::new(), edits: Vec::new(), stated: HashSet::new() };
    pairs(stated, &mut walk.stated);
    walk.values(Some(before), Some(after));
    walk.edits
}

/// Collects the short fields of a manifest: their names, and their values as JSON.
fn pairs(value: &Value, found: &mut HashSet<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                found.extend(brief(value).map(|text| (name.clone(), text)));
                pairs(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| pairs(item, found)),
        _ => {}
    }
}

/// Returns the JSON of a scalar, or of a list of scalars, if it is short.
fn brief(value: &Value) -> Option<String> {
    let is_scalar = |value: &Value| !value.is_object() && !value.is_array();
    let is_flat = is_scalar(value) || value.as_array().is_some_and(|items| items.iter().all(is_scalar));
    // The check avoids writing a long text only to measure it.
    let is_short = value.as_str().is_none_or(|text| text.len() <= SHORT_NEIGHBOR && !text.contains('\n'));
    (is_flat && is_short).then(|| value.to_string()).filter(|text| text.len() <= SHORT_NEIGHBOR)
}

struct Walk {
    path: Vec<Step>,
    edits: Vec<Edit>,
    /// The short fields of the manifest.
    stated: HashSet<(String, String)>,
}

impl Walk {
    fn values(&mut self, before: Option<MaskedView<'_>>, after: Option<MaskedView<'_>>) {
        // For a reader, a missing map of labels or annotations is the same as a map that contains only the mark.
        let none = json!({});
        let nothing = Some(MaskedView::new(&none, None));
        let is_absent = |side: &Option<MaskedView<'_>>| side.is_none_or(|side| side.value().is_null());
        let (before, after) = match (before, after) {
            (before, Some(after)) if is_absent(&before) && self.may_hold_the_mark() => (nothing, Some(after)),
            (Some(before), after) if is_absent(&after) && self.may_hold_the_mark() => (Some(before), nothing),
            sides => sides,
        };
        let is_secret = |side: Option<MaskedView<'_>>| side.is_some_and(MaskedView::is_secret);
        if is_secret(before) || is_secret(after) {
            // An annotation may contain a secret copy of the object. Its presence is no secret, so adding or removing
            // it is shown.
            if before.is_some() != after.is_some() && is_annotation(&self.path) {
                self.changed(before, after);
            }
            return;
        }
        if let (Some(before), Some(after)) = (before, after) {
            match (before.value(), after.value()) {
                (Value::Object(old), Value::Object(new)) => {
                    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                    return self.mappings(before, after, &names);
                }
                _ if before.is_like(after) => return,
                (Value::Array(_), Value::Array(_)) => return self.lists(&before.items(), &after.items()),
                (Value::String(old), Value::String(new)) => {
                    if let Some((old, new)) = documents(old, new) {
                        return self.below(
                            Step::Document,
                            Some(MaskedView::new(&old, None)),
                            Some(MaskedView::new(&new, None)),
                        );
                    }
                }
                _ => {}
            }
        }
        if before.is_some() || after.is_some() {
            self.changed(before, after);
        }
    }

    fn mappings(&mut self, before: MaskedView<'_>, after: MaskedView<'_>, names: &BTreeSet<&String>) {
        let is_item_without_key = matches!(self.path.last(), Some(Step::Item { key: None, .. }));
        let depth = self.path.len();
        let mut unchanged: Vec<Neighbor> = Vec::new();
        for name in names.iter().filter(|name| !is_passed_over(&self.path, name)).copied().collect::<Vec<_>>() {
            let first = self.edits.len();
            self.below(Step::Field(name.clone()), before.field(name), after.field(name));
            let Some(edit) = self.edits.get_mut(first) else {
                unchanged
                    .extend(before.field(name).zip(after.field(name)).and_then(|sides| self.neighbor(name, sides)));
                continue;
            };
            // An item without a key is identified by its unchanged fields. Elsewhere, the field before is enough.
            if is_item_without_key {
                edit.near.extend(unchanged.drain(..).take(MOST_NEIGHBORS));
            } else if edit.path.len() == depth + 1 {
                edit.near.extend(unchanged.pop());
            }
        }
    }

    /// An unchanged field as a neighbor, if the manifest states it and no part of it is secret.
    fn neighbor(&self, name: &str, (before, after): (MaskedView<'_>, MaskedView<'_>)) -> Option<Neighbor> {
        if !(before.is_open() && after.is_open()) {
            return None;
        }
        let value = after.value();
        let stated = (name.to_owned(), brief(value)?);
        self.stated.contains(&stated).then(|| Neighbor { depth: self.path.len(), name: stated.0, value: value.clone() })
    }

    /// Names the changed item of a list by the fields that form its key.
    fn identify(&mut self, first: usize, fields: &[&str], item: MaskedView<'_>) {
        let depth = self.path.len() + 1;
        let Some(edit) = self.edits.get_mut(first).filter(|edit| edit.path.len() > depth) else { return };
        let key =
            fields.iter().filter(|name| !matches!(edit.path.get(depth), Some(Step::Field(field)) if field == *name));
        let key: Vec<Neighbor> = key
            .filter_map(|name| {
                let value = item.field(name)?.value().clone();
                Some(Neighbor { depth, name: (*name).to_owned(), value })
            })
            .collect();
        edit.near.retain(|near| near.depth != depth || !fields.contains(&near.name.as_str()));
        edit.near.splice(0..0, key);
    }

    fn lists(&mut self, before: &[MaskedView<'_>], after: &[MaskedView<'_>]) {
        match keys(before, after) {
            Some(keyed) => self.keyed(before, after, keyed),
            None => self.sequences(before, after),
        }
    }

    fn keyed(&mut self, before: &[MaskedView<'_>], after: &[MaskedView<'_>], keyed: Keyed) {
        let places: HashMap<&String, usize> = keyed.before.iter().enumerate().map(|(at, key)| (key, at)).collect();
        let pairs: Pairs =
            keyed.after.iter().enumerate().filter_map(|(at, key)| Some((*places.get(key)?, at))).collect();
        let item = |before, after, key: &String| Step::Item { before, after, key: Some(key.clone()) };
        let mut stays = vec![false; before.len()];
        for (at, key) in keyed.after.iter().enumerate() {
            let was = places.get(key).copied();
            if let Some(was) = was {
                stays[was] = true;
            }
            let first = self.edits.len();
            self.below(item(was, Some(at), key), was.map(|was| before[was]), Some(after[at]));
            self.identify(first, keyed.fields, after[at]);
        }
        for (at, key) in keyed.before.iter().enumerate().filter(|(at, _)| !stays[*at]) {
            self.below(item(Some(at), None, key), Some(before[at]), None);
        }
        let kept: BTreeSet<usize> = rising(pairs.clone()).into_iter().map(|(_, at)| at).collect();
        let moves: Pairs = pairs.iter().copied().filter(|(_, at)| !kept.contains(at)).collect();
        if moves.is_empty() {
            return;
        }
        let name = |key: &String| key.strip_prefix("name=").unwrap_or(key).to_owned();
        let (old, new): (Vec<String>, Vec<String>) = if pairs.len() <= SHORT_ORDER {
            let mut by_place = pairs.clone();
            by_place.sort_unstable();
            let order = |(_, at): &(usize, usize)| name(&keyed.after[*at]);
            (by_place.iter().map(order).collect(), pairs.iter().map(order).collect())
        } else {
            let at = |key: &String, at: usize| format!("{} at [{at}]", name(key));
            let told = moves.iter().map(|(was, is)| (at(&keyed.before[*was], *was), at(&keyed.after[*is], *is)));
            told.unzip()
        };
        self.ordered(old, new, moves);
    }

    fn sequences(&mut self, before: &[MaskedView<'_>], after: &[MaskedView<'_>]) {
        let prints =
            |items: &[MaskedView<'_>]| -> Vec<String> { items.iter().map(|item| item.fingerprint()).collect() };
        let (old, new) = (prints(before), prints(after));
        let mut pairs = unchanged(&old, &new);
        let moves = moved(&old, &new, &pairs);
        let (mut left, mut came): (BTreeSet<usize>, BTreeSet<usize>) = moves.iter().copied().unzip();
        // Between two unchanged items, an item that is gone and an item that is new may be one item that changed.
        let mut changed = Vec::new();
        let (mut was, mut is) = (0, 0);
        for (a, b) in pairs.iter().copied().chain([(before.len(), after.len())]) {
            let gone: Vec<usize> = (was..a).filter(|at| !left.contains(at)).collect();
            let new: Vec<usize> = (is..b).filter(|at| !came.contains(at)).collect();
            changed.extend(likest(before, after, &gone, &new));
            (was, is) = (a + 1, b + 1);
        }
        pairs.extend(&changed);
        pairs.sort_unstable();
        left.extend(pairs.iter().map(|(was, _)| *was));
        came.extend(pairs.iter().map(|(_, is)| *is));
        let item = |before, after| Step::Item { before, after, key: None };
        let (mut was, mut is) = (0, 0);
        let changed: BTreeSet<(usize, usize)> = changed.into_iter().collect();
        for (a, b) in pairs.into_iter().chain([(before.len(), after.len())]) {
            for at in (was..a).filter(|at| !left.contains(at)) {
                self.below(item(Some(at), None), Some(before[at]), None);
            }
            for at in (is..b).filter(|at| !came.contains(at)) {
                self.below(item(None, Some(at)), None, Some(after[at]));
            }
            if changed.contains(&(a, b)) {
                self.below(item(Some(a), Some(b)), Some(before[a]), Some(after[b]));
            }
            (was, is) = (a + 1, b + 1);
        }
        if !moves.is_empty() {
            let told = |value: MaskedView<'_>, at: usize| format!("{} at [{at}]", short(&value.shown().to_string()));
            let (old, new): (Vec<String>, Vec<String>) =
                moves.iter().map(|(was, is)| (told(before[*was], *was), told(after[*is], *is))).unzip();
            self.ordered(old, new, moves);
        }
    }

    fn ordered(&mut self, before: Vec<String>, after: Vec<String>, moves: Pairs) {
        let (before, after) = (Some(ShownValue::Order(before)), Some(ShownValue::Order(after)));
        self.edits.push(Edit { path: self.path.clone(), before, after, moves, near: Vec::new() });
    }

    fn below(&mut self, part: Step, before: Option<MaskedView<'_>>, after: Option<MaskedView<'_>>) {
        self.path.push(part);
        self.values(before, after);
        self.path.pop();
    }

    fn changed(&mut self, before: Option<MaskedView<'_>>, after: Option<MaskedView<'_>>) {
        let (before, after) = (before.map(shown), after.map(shown));
        self.edits.push(Edit { path: self.path.clone(), before, after, moves: Pairs::new(), near: Vec::new() });
    }

    fn may_hold_the_mark(&self) -> bool {
        matches!(names(&self.path).as_slice(), ["metadata", "annotations" | "labels"])
    }
}

/// A value in the form in which it may be shown.
fn shown(side: MaskedView<'_>) -> ShownValue {
    if side.is_secret() { ShownValue::Secret } else { ShownValue::Plain(side.shown()) }
}

/// The names of the path's fields. The list is empty if the path also leads through items or documents.
fn names(path: &[Step]) -> Vec<&str> {
    let names = path.iter().map_while(|part| match part {
        Step::Field(name) => Some(name.as_str()),
        Step::Item { .. } | Step::Document => None,
    });
    let names: Vec<&str> = names.collect();
    if names.len() == path.len() { names } else { Vec::new() }
}

fn is_annotation(path: &[Step]) -> bool {
    matches!(names(path).as_slice(), ["metadata", "annotations", _])
}

fn is_passed_over(path: &[Step], name: &str) -> bool {
    if path.is_empty() {
        return name == "status";
    }
    match names(path).as_slice() {
        ["metadata"] => SERVER_METADATA.contains(&name),
        ["metadata", map] => (*map == "annotations" && name == PROJECT) || (*map == "labels" && name == ROOT),
        _ => false,
    }
}

/// The keys of the items in two versions of a list. `None` if the items have no key or if a key is secret.
fn keys(before: &[MaskedView<'_>], after: &[MaskedView<'_>]) -> Option<Keyed> {
    let values = |items: &[MaskedView<'_>]| -> Vec<Value> { items.iter().map(|item| item.value().clone()).collect() };
    let is_secret =
        |field: &str| before.iter().chain(after).any(|item| item.field(field).is_some_and(MaskedView::is_secret));
    keyed(&values(before), &values(after), is_secret)
}

/// Pairs items that are gone with new items, in order, so that the pairs are as similar as possible. An item that is
/// similar to no other item stays unpaired.
fn likest(before: &[MaskedView<'_>], after: &[MaskedView<'_>], gone: &[usize], new: &[usize]) -> Pairs {
    if gone.is_empty() || new.is_empty() {
        return Pairs::new();
    }
    let likeness = |a: usize, b: usize| likeness(before[a], after[b]);
    if gone.len().saturating_mul(new.len()) > MOST_PAIRS {
        let pairs = gone.iter().copied().zip(new.iter().copied());
        return pairs.filter(|(a, b)| likeness(*a, *b).is_some()).collect();
    }
    // best[a][b]: the highest total worth of pairs among gone[a..] and new[b..].
    let worth: Vec<Vec<Option<u32>>> =
        gone.iter().map(|a| new.iter().map(|b| likeness(*a, *b).map(|likeness| 1_000 + likeness)).collect()).collect();
    let mut best = vec![vec![0; new.len() + 1]; gone.len() + 1];
    for a in (0..gone.len()).rev() {
        for b in (0..new.len()).rev() {
            let paired = worth[a][b].map_or(0, |worth| worth + best[a + 1][b + 1]);
            best[a][b] = paired.max(best[a + 1][b]).max(best[a][b + 1]);
        }
    }
    let (mut a, mut b) = (0, 0);
    let mut pairs = Pairs::new();
    while a < gone.len() && b < new.len() {
        if worth[a][b].is_some_and(|worth| worth + best[a + 1][b + 1] == best[a][b]) {
            pairs.push((gone[a], new[b]));
            (a, b) = (a + 1, b + 1);
        } else if best[a + 1][b] >= best[a][b + 1] {
            a += 1;
        } else {
            b += 1;
        }
    }
    pairs
}

/// The similarity of two items in percent. `None` if the difference is better shown as one removed and one added item.
fn likeness(before: MaskedView<'_>, after: MaskedView<'_>) -> Option<u32> {
    let percent = |part: usize, whole: usize| u32::try_from(part * 100 / whole.max(1)).unwrap_or(100);
    match (before.value(), after.value()) {
        (Value::Object(old), Value::Object(new)) => {
            let shared = old.keys().filter(|name| new.contains_key(*name));
            let alike = |name: &&String| {
                before.field(name).zip(after.field(name)).is_some_and(|(before, after)| before.is_like(after))
            };
            let (names, values) = (shared.clone().count(), shared.filter(alike).count());
            let whole = old.len().max(new.len());
            let likeness = u32::midpoint(percent(names, whole), percent(values, whole));
            (likeness > 40).then_some(likeness)
        }
        (Value::Array(_), Value::Array(_)) => Some(50),
        (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_)) => None,
        (Value::String(old), Value::String(new)) => {
            let (old, new) = (old.as_bytes(), new.as_bytes());
            let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
            let end = old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(a, b)| a == b).count();
            Some(percent(start + end, old.len().max(new.len())))
        }
        _ => Some(0),
    }
}

/// Returns `true` if any secret of the object differs.
fn secrets_differ(path: &mut Vec<Step>, before: Option<MaskedView<'_>>, after: Option<MaskedView<'_>>) -> bool {
    let is_open = |side: Option<MaskedView<'_>>| side.is_none_or(MaskedView::is_open);
    if is_open(before) && is_open(after) {
        return false;
    }
    if before.is_some_and(MaskedView::is_secret) || after.is_some_and(MaskedView::is_secret) {
        let is_shown = before.is_some() != after.is_some() && is_annotation(path);
        let content =
            |side: Option<MaskedView<'_>>| side.map(|side| side.value().clone()).filter(|value| !is_empty(value));
        return !is_shown && content(before) != content(after);
    }
    parts(before, after).into_iter().any(|(part, before, after)| {
        if matches!(&part, Step::Field(name) if is_passed_over(path, name)) {
            return false;
        }
        path.push(part);
        let differ = secrets_differ(path, before, after);
        path.pop();
        differ
    })
}

/// The parts of two values, side by side: fields by name, items by key, or by place if they have no key.
fn parts<'a>(
    before: Option<MaskedView<'a>>,
    after: Option<MaskedView<'a>>,
) -> Vec<(Step, Option<MaskedView<'a>>, Option<MaskedView<'a>>)> {
    let items = |side: Option<MaskedView<'a>>| side.map(MaskedView::items).unwrap_or_default();
    let (old, new) = (items(before), items(after));
    let item = |was: Option<usize>, is: Option<usize>| {
        let part = Step::Item { before: was, after: is, key: None };
        (part, was.and_then(|at| old.get(at).copied()), is.and_then(|at| new.get(at).copied()))
    };
    let mut parts = match keys(&old, &new) {
        Some(keyed) => {
            let places = |keys: &'_ [String]| -> HashMap<String, usize> {
                keys.iter().enumerate().map(|(at, key)| (key.clone(), at)).collect()
            };
            let (was, is) = (places(&keyed.before), places(&keyed.after));
            let all: BTreeSet<&String> = keyed.before.iter().chain(&keyed.after).collect();
            all.into_iter().map(|key| item(was.get(key).copied(), is.get(key).copied())).collect()
        }
        None => (0..old.len().max(new.len())).map(|at| item(Some(at), Some(at))).collect::<Vec<_>>(),
    };
    let fields = |side: Option<MaskedView<'a>>| side.and_then(|side| side.value().as_object()).into_iter().flatten();
    let names: BTreeSet<&String> = fields(before).chain(fields(after)).map(|(name, _)| name).collect();
    parts.extend(names.into_iter().map(|name| {
        let field = |side: Option<MaskedView<'a>>| side.and_then(|side| side.field(name));
        (Step::Field(name.clone()), field(before), field(after))
    }));
    parts
}

/// Returns `true` if a secret value is empty. An empty value counts as absent.
fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// Shortens a value so that it fits on part of a line.
fn short(text: &str) -> String {
    match text.char_indices().nth(SHORT_ITEM) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::redact::Adopted;
    use proptest::prelude::*;

    fn redactor(pointers: &[&str]) -> Redactor {
        Redactor::new(pointers.iter().map(|pointer| pointer.parse().unwrap()), Adopted::Hidden)
    }

    fn lines(changes: Vec<FieldChange>) -> Vec<String> {
        let line = |change: FieldChange| {
            let secret = if change.before == change.after { "(secret, changed)" } else { "(secret)" };
            let side = |value: Option<ShownValue>| match value {
                None => "-".to_owned(),
                Some(ShownValue::Secret) => secret.to_owned(),
                Some(ShownValue::Plain(value)) => value.to_string(),
                Some(ShownValue::Order(items)) => items.join(", "),
            };
            format!("{}: {} -> {}", change.path, side(change.before), side(change.after))
        };
        changes.into_iter().map(line).collect()
    }

    fn check(before: &Value, after: &Value, expected: &[&str]) {
        assert_eq!(lines(fields(before, after, after, &redactor(&[]))), expected);
    }

    #[test]
    fn differences_name_fields_and_list_items() {
        check(
            &json!({"spec": {"a": 1, "c": [{"name": "x", "v": 1}, {"name": "y"}], "l": [1, 2]}}),
            &json!({"spec": {"b": 2, "c": [{"name": "y"}, {"name": "x", "v": 2}], "l": [1, 3]}}),
            &[
                "spec.a: 1 -> -",
                "spec.b: - -> 2",
                "spec.c[name=x].v: 1 -> 2",
                "spec.c (order): x, y -> y, x",
                "spec.l[1]: 2 -> 3",
            ],
        );
        check(
            &json!({"c": [{"name": "x"}, {"name": "y"}]}),
            &json!({"c": [{"name": "y"}, {"name": "x"}]}),
            &["c (order): x, y -> y, x"],
        );
        check(
            &json!({"c": [{"name": "y", "v": 1}, {"name": "x", "v": 1}]}),
            &json!({"c": [{"name": "y", "v": 2}, {"name": "x", "v": 2}]}),
            &["c[name=y].v: 1 -> 2", "c[name=x].v: 1 -> 2"],
        );
    }

    #[test]
    fn what_the_server_writes_and_the_mark_are_no_difference() {
        check(
            &json!({"status": {"x": 1}, "metadata": {"uid": "a", "annotations": {"kubernator.io/project": "demo", "k": "v"}}}),
            &json!({"metadata": {"resourceVersion": "2", "annotations": {"kubernator.io/project": "demo.a", "k": "w"}}}),
            &["metadata.annotations.k: \"v\" -> \"w\""],
        );
        check(
            &json!({"spec": {"uid": 1, "annotations": {"kubernator.io/project": 1}, "labels": {"kubernator.io/root": 1}}}),
            &json!({"spec": {"uid": 2, "annotations": {"kubernator.io/project": 2}, "labels": {"kubernator.io/root": 2}}}),
            &[
                "spec.annotations.kubernator.io/project: 1 -> 2",
                "spec.labels.kubernator.io/root: 1 -> 2",
                "spec.uid: 1 -> 2",
            ],
        );
        let marked = json!({"metadata": {"annotations": {"kubernator.io/project": "demo"}, "labels": {"kubernator.io/root": "89e495e7941c"}}});
        check(&json!({"metadata": {}}), &marked, &[]);
        check(&marked, &json!({"metadata": {}}), &[]);
        let labelled = json!({"metadata": {"labels": {"kubernator.io/root": "89e495e7941c", "app": "web"}}});
        check(&json!({"metadata": {}}), &labelled, &["metadata.labels.app: - -> \"web\""]);
        check(
            &json!({"metadata": {"annotations": {"k": "v"}}}),
            &json!({"metadata": {"labels": {"kubernator.io/root": "0", "l": "1"}}}),
            &["metadata.annotations.k: \"v\" -> -", "metadata.labels.l: - -> \"1\""],
        );
    }

    #[test]
    fn x5_all_secrets_of_an_object_are_one_line() {
        let secret = |data: Value| json!({"kind": "Secret", "data": data, "type": "Opaque"});
        let changed = ["data: (secret, changed) -> (secret, changed)"];
        check(&secret(json!({"a": "1", "b": "2"})), &secret(json!({"a": "3", "c": "4"})), &changed);
        check(&secret(json!({"a": "1"})), &secret(json!({"b": "1"})), &changed);
        check(&secret(json!({"a": "1"})), &secret(json!({"a": "1"})), &[]);
        check(&json!({"kind": "Secret"}), &secret(json!({})), &["type: - -> \"Opaque\""]);
        let copy = |text: &str| json!({"metadata": {"annotations": {"kapp.k14s.io/original": text, "k": "v"}}});
        let place = "metadata.annotations.kapp.k14s.io/original";
        check(&copy("a"), &copy("b"), &[&format!("{place}: (secret, changed) -> (secret, changed)")]);
        check(&copy("a"), &json!({"metadata": {"annotations": {"k": "v"}}}), &[&format!("{place}: (secret) -> -")]);
        let both = redactor(&["/spec/a", "/spec/l/*/v"]);
        let spec = |a: u8, v: u8, o: u8| json!({"spec": {"a": a, "l": [{"name": "x", "v": v}], "o": o}});
        for (after, expected) in [
            (spec(2, 1, 1), vec!["spec.a, spec.l[*].v: (secret, changed) -> (secret, changed)"]),
            (spec(1, 2, 1), vec!["spec.a, spec.l[*].v: (secret, changed) -> (secret, changed)"]),
            (spec(1, 1, 2), vec!["spec.o: 1 -> 2"]),
        ] {
            assert_eq!(lines(fields(&spec(1, 1, 1), &after, &after, &both)), expected);
        }
    }

    #[test]
    fn x6_where_the_rules_cannot_be_read_nothing_is_shown() {
        let spec = |value: u8| json!({"kind": "X", "metadata": {"labels": {"l": value}}, "spec": [value]});
        let redactor = Redactor::hiding_all();
        let told = ["metadata.labels, spec: (secret, changed) -> (secret, changed)"];
        assert_eq!(lines(fields(&spec(1), &spec(2), &spec(2), &redactor)), told);
        assert_eq!(lines(fields(&spec(1), &spec(1), &spec(1), &redactor)), [""; 0]);
        assert_eq!(lines(stated(&spec(1), &redactor)), ["metadata.labels, spec: - -> (secret)"]);
    }

    #[test]
    fn x6_what_is_stated_shows_no_secret_and_no_identity() {
        let manifest = json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "1"}, "type": "Opaque",
            "metadata": {"name": "s", "namespace": "x", "labels": {"l": "1"}}});
        assert_eq!(
            lines(stated(&manifest, &redactor(&[]))),
            ["metadata.labels.l: - -> \"1\"", "type: - -> \"Opaque\"", "data: - -> (secret)"]
        );
    }

    #[test]
    fn r9_an_item_put_first_is_one_addition_and_a_document_is_compared_as_one() {
        let rules = |names: &[&str]| json!({"rules": names.iter().map(|name| json!({"apiGroups": [""], "resources": [name], "verbs": ["get"]})).collect::<Vec<_>>()});
        check(
            &rules(&["pods", "nodes"]),
            &rules(&["secrets", "pods", "nodes"]),
            &["rules[0]: - -> {\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],\"verbs\":[\"get\"]}"],
        );
        check(&rules(&["pods", "nodes"]), &rules(&["pods", "jobs"]), &["rules[1].resources[0]: \"nodes\" -> \"jobs\""]);
        check(
            &json!({"args": ["--a", "--b=1"]}),
            &json!({"args": ["--c", "--a", "--b=2"]}),
            &["args[0]: - -> \"--c\"", "args[2]: \"--b=1\" -> \"--b=2\""],
        );
        check(
            &json!({"l": ["x", "y", "z"]}),
            &json!({"l": ["z", "x", "y"]}),
            &["l (order): \"z\" at [2] -> \"z\" at [0]"],
        );
        check(
            &json!({"ports": [{"port": 80}, {"port": 443}]}),
            &json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 80, "targetPort": 8080}, {"port": 443}]}),
            &[
                "ports[port=53,protocol=UDP]: - -> {\"port\":53,\"protocol\":\"UDP\"}",
                "ports[port=80].targetPort: - -> 8080",
            ],
        );
        check(
            &json!({"data": {"a.json": "{\"x\": 1, \"l\": [\"p\", \"q\"]}", "b.yaml": "a: 1\nb: [1]\n"}}),
            &json!({"data": {"a.json": "{\"l\":[\"o\",\"p\",\"q\"],\"x\":1}", "b.yaml": "a: 2\nb: [1]\n"}}),
            &["data.a.json > l[0]: - -> \"o\"", "data.b.yaml > a: 1 -> 2"],
        );
    }

    #[test]
    fn x12_lists_of_fifty_thousand_items_are_compared() {
        let list = |items: Vec<Value>| json!({"l": items});
        let count = |before: &Value, after: &Value| fields(before, after, after, &redactor(&[])).len();
        let number = 50_000_u32;
        let texts: Vec<Value> = (0..number).map(|at| json!(format!("item {at}"))).collect();
        let first: Vec<Value> = [json!("first")].into_iter().chain(texts.iter().cloned()).collect();
        assert_eq!(count(&list(texts.clone()), &list(first)), 1);
        let others: Vec<Value> = (0..number).map(|at| json!(format!("other {at}"))).collect();
        assert_eq!(count(&list(texts.clone()), &list(others)), 50_000);
        let reversed: Vec<Value> = texts.iter().rev().cloned().collect();
        assert_eq!(count(&list(texts), &list(reversed)), 1);
        let named = |value: u32| (0..number).map(|at| json!({"name": at.to_string(), "v": value})).collect();
        assert_eq!(count(&list(named(1)), &list(named(2))), 50_000);
    }

    /// An edit with the rest of its path.
    type Left<'a> = (&'a [Step], &'a Edit);

    /// An independent implementation for the test: it applies the edits to the earlier version.
    fn patched(before: Option<&Value>, edits: &[Left<'_>]) -> Option<Value> {
        let parse = |shown: &ShownValue| match shown {
            ShownValue::Plain(value) => value.clone(),
            other => panic!("{other:?} is not a value"),
        };
        if let Some((_, edit)) = edits.iter().find(|(path, edit)| path.is_empty() && edit.moves.is_empty()) {
            return edit.after.as_ref().map(parse);
        }
        let moves: HashMap<usize, usize> =
            edits.iter().filter(|(path, _)| path.is_empty()).flat_map(|(_, edit)| edit.moves.clone()).collect();
        let mut below: Vec<(&Step, Vec<Left<'_>>)> = Vec::new();
        for (path, edit) in edits.iter().filter(|(path, _)| !path.is_empty()) {
            match below.iter_mut().find(|(part, _)| **part == path[0]) {
                Some((_, edits)) => edits.push((&path[1..], edit)),
                None => below.push((&path[0], vec![(&path[1..], edit)])),
            }
        }
        match before {
            Some(Value::Array(items)) => {
                let mut now: Vec<Option<Value>> = items.iter().cloned().map(Some).collect();
                let mut added = Vec::new();
                for (part, edits) in &below {
                    let Step::Item { before, after, .. } = part else { panic!("{part:?} in a list") };
                    match (before, after) {
                        (Some(was), _) => now[*was] = patched(Some(&items[*was]), edits),
                        (None, Some(is)) => added.push((*is, patched(None, edits).unwrap())),
                        (None, None) => panic!("an item of nowhere"),
                    }
                }
                let length = now.iter().flatten().count() + added.len();
                let mut slots: Vec<Option<Value>> = vec![None; length];
                for (at, value) in added {
                    slots[at] = Some(value);
                }
                for (was, is) in &moves {
                    slots[*is] = now[*was].take();
                }
                let mut rest = now.into_iter().flatten();
                let filled = slots.into_iter().map(|slot| slot.or_else(|| rest.next()).unwrap()).collect();
                assert!(rest.next().is_none());
                Some(Value::Array(filled))
            }
            Some(Value::Object(map)) => {
                let mut map = map.clone();
                for (part, edits) in &below {
                    let Step::Field(name) = part else { panic!("{part:?} in an object") };
                    match patched(map.get(name), edits) {
                        Some(value) => drop(map.insert(name.clone(), value)),
                        None => drop(map.remove(name)),
                    }
                }
                Some(Value::Object(map))
            }
            other => {
                assert!(below.is_empty() && moves.is_empty());
                other.cloned()
            }
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (0u8..3).prop_map(Value::from),
            prop::sample::select(vec!["x", "y"]).prop_map(Value::from),
            Just(Value::Null)
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            let names = prop::sample::select(vec!["name", "port", "a", "b"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::btree_map(names, inner, 0..4).prop_map(|map| Value::Object(
                    map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
                )),
            ]
        })
    }

    fn item() -> impl Strategy<Value = Value> {
        prop_oneof![
            (0u16..500).prop_map(|at| json!({"name": at.to_string(), "v": at % 3})),
            (0u16..500).prop_map(|at| json!({"verbs": [at, at % 3]})),
            (0u16..9).prop_map(|at| json!(at.to_string())),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn r9_the_difference_applied_to_the_earlier_version_gives_the_later(before in value(), after in value()) {
            let (before, after) = (json!({"spec": before}), json!({"spec": after}));
            let edits = edits(MaskedView::new(&before, None), MaskedView::new(&after, None), &after);
            let told: Vec<Left<'_>> = edits.iter().map(|edit| (edit.path.as_slice(), edit)).collect();
            prop_assert_eq!(patched(Some(&before), &told), Some(after), "{:?}", edits);
        }

        #[test]
        fn r9_one_item_more_less_or_elsewhere_is_one_line(
            items in prop::collection::vec(item(), 0..9), more in item(), at in 0usize..9, to in 0usize..9,
        ) {
            let list = |items: &[Value]| json!({"l": items});
            let count = |before: &[Value], after: &[Value]| fields(&list(before), &list(after), &Value::Null, &redactor(&[])).len();
            let mut longer = items.clone();
            longer.insert(at.min(items.len()), more);
            prop_assert_eq!(count(&items, &longer), 1);
            prop_assert_eq!(count(&longer, &items), 1);
            let mut elsewhere = longer.clone();
            let moved = elsewhere.remove(at.min(items.len()));
            elsewhere.insert(to.min(items.len()), moved);
            prop_assert_eq!(count(&longer, &elsewhere), usize::from(longer != elsewhere));
        }
    }
}

//! The alert at the top of a plan: the desired objects that a run would not apply, and the objects that it would keep
//! although this change removes or replaces them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::escape::{code, inert};
use super::super::{Heading, place, wording};
use crate::object::ident::ObjectKey;
use crate::plan::build::Plan;
use crate::plan::change::Change;
use crate::plan::decision::{Action, Decision, Keep};
use crate::plan::guard::Guard;

/// The number of objects with the same reason that the alert names.
const NAMED: usize = 3;

const HEAD: &str = "> [!CAUTION]\n> **These objects stay as they are**, until the reason is gone:\n>\n";

/// The alert. It gives each reason once.
pub(super) struct Alert<'a> {
    /// The text. It is empty if nothing stays.
    pub text: String,
    /// The objects that the text names.
    pub named: BTreeSet<&'a ObjectKey>,
    /// The objects that only a list below the alert names: too many have the same reason, or the room is too small.
    pub others: Vec<&'a Change>,
}

impl<'a> Alert<'a> {
    /// Makes the alert from at most `room` bytes. A recorded object that stays because of an earlier change is not in
    /// it.
    pub(super) fn of(plan: &'a Plan, heading: &Heading<'_>, room: usize) -> Self {
        let groups = groups(plan, heading);
        let mut alert = Self { text: String::new(), named: BTreeSet::new(), others: Vec::new() };
        if groups.is_empty() {
            return alert;
        }
        let more = |count: usize| format!("> - … and {}, listed below.\n", wording::counted(count, "more object"));
        let removed: BTreeSet<&ObjectKey> = plan.cleanup.iter().map(|change| &change.ident.key).collect();
        let mut left = room.saturating_sub(HEAD.len() + more(usize::MAX).len());
        let mut items = String::new();
        let mut unnamed = 0;
        for (reason, changes) in groups {
            let item = item(&reason, &changes, |change| linked(change, removed.contains(&change.ident.key), heading));
            let fits = item.len() <= left;
            if fits && changes.len() <= NAMED {
                alert.named.extend(changes.iter().map(|change| &change.ident.key));
            } else {
                alert.others.extend(&changes);
            }
            if fits {
                left -= item.len();
                items.push_str(&item);
            } else {
                unnamed += changes.len();
            }
        }
        if unnamed > 0 {
            items.push_str(&more(unnamed));
        }
        alert.text = format!("{HEAD}{items}");
        alert
    }
}

/// Groups the objects that stay by the reason. Objects that a run refuses to apply come first.
fn groups<'a>(plan: &'a Plan, heading: &Heading<'_>) -> Vec<(String, Vec<&'a Change>)> {
    let is_own = |change: &&Change| plan.own.contains(&change.ident.key) && change.action() == Action::Keep;
    let standing = plan.changes.iter().filter(|change| change.disposition().is_some());
    let mut groups: Vec<(String, Vec<&Change>)> = Vec::new();
    let mut places = BTreeMap::new();
    for change in standing.chain(plan.cleanup.iter().filter(is_own)) {
        let reason = reason(change, plan, heading);
        let at = *places.entry(reason.clone()).or_insert_with(|| {
            groups.push((reason, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(change);
    }
    groups.sort_by_key(|(_, changes)| changes.first().map(|change| change.action() == Action::Keep));
    groups
}

/// The reason why an object stays, as Markdown.
fn reason(change: &Change, plan: &Plan, heading: &Heading<'_>) -> String {
    let Decision::Keep(Keep::Guarded(guard, _)) = &change.decision else {
        return format!("{}.", inert(bare(&wording::reason(change))));
    };
    let why = inert(bare(&wording::why(change)));
    let option = match guard.name().filter(|_| heading.takes_commands) {
        Some(name) => Some(format!("comment {}", code(&format!("/ktor allow {name} {}", short(&plan.digest))))),
        None => wording::option(*guard).map(|option| code(&option)),
    };
    let option = option.map(|option| format!(" To allow it: {option}.")).unwrap_or_default();
    let is_one = matches!(guard, Guard::Volume | Guard::Namespace | Guard::Crd | Guard::Foreign);
    let forever = if is_one { " To keep it for good: annotation `kubernator.io/cleanup: keep`." } else { "" };
    format!("{why}.{option}{forever}")
}

/// The beginning of a digest that a command names.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..8).unwrap_or(digest)
}

/// A reason without the word that the alert has in its title.
fn bare(reason: &str) -> &str {
    reason.strip_prefix("kept: ").unwrap_or(reason)
}

/// The name of an object with a link to its manifest, which only the base has if the object `is_removed`.
fn linked(change: &Change, is_removed: bool, heading: &Heading<'_>) -> String {
    let name = code(&wording::object(&change.ident.key));
    if is_removed { place::linked_in_base(&name, change, heading) } else { place::linked(&name, change, heading) }
}

fn item(reason: &str, changes: &[&Change], name: impl Fn(&Change) -> String) -> String {
    let names: Vec<String> = changes.iter().take(NAMED).map(|change| name(change)).collect();
    let more = changes.len() - names.len();
    let names = names.join(", ");
    match more {
        0 => format!("> - {names}: {reason}\n"),
        more => format!("> - **{} objects**, {names} and {more} more: {reason}\n", changes.len()),
    }
}

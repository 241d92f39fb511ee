//! The changes of a plan in detail: a change that several objects have in common once, then the others by project.

use std::collections::{BTreeMap, HashMap};

use super::super::escape::{LONGEST, clipped, code, fence, html};
use super::super::fields::{Line, Sign};
use super::super::listing::{self, Section};
use super::super::{Heading, hunks, place, wording, yaml};
use super::parts::{row, signed};
use super::renamed::Renamed;
use super::{Room, images, strong};
use crate::plan::change::{Change, FieldChange};
use crate::plan::decision::Action;
use crate::project::path::ProjectPath;
use serde_json::Value;

/// The number of objects from which a common change is shown once.
const EQUAL: usize = 3;

/// The number of objects with a common change that are named before the list.
const NAMED: usize = 6;

/// The number of lines up to which nothing is collapsed.
const OPEN: usize = 60;

/// Changes that differ only in the object.
pub(super) struct Common<'a> {
    changes: Vec<&'a Change>,
    lines: Vec<Line>,
}

/// Returns `true` if the object is written, and not blocked, kept or released.
pub(super) fn is_shown(change: &Change) -> bool {
    !matches!(change.action(), Action::Unchanged | Action::Blocked | Action::Keep | Action::Release)
}

/// The differences without the images, which have a table of their own.
fn without_images(change: &Change) -> impl Iterator<Item = &FieldChange> {
    change.diff.iter().filter(|field| images::of(field).is_none())
}

/// Returns `true` if the table of images shows everything about a change.
fn is_only_images(change: &Change) -> bool {
    change.action() == Action::Update && !change.diff.is_empty() && without_images(change).next().is_none()
}

/// Divides changes into those that several objects have in common and the others. A change that the table of images
/// shows completely is in neither.
pub(super) fn divided<'a>(changes: &[&'a Change]) -> (Vec<Common<'a>>, Vec<&'a Change>) {
    let mut groups: Vec<Common<'a>> = Vec::new();
    let mut others = Vec::new();
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    for change in changes.iter().filter(|change| !is_only_images(change)) {
        if change.action() != Action::Update || change.diff.is_empty() {
            others.push(*change);
            continue;
        }
        let lines = hunks::lines(without_images(change), Some(&change.ident.key.name));
        let kind = format!("{} {}", wording::kind(&change.ident.key), wording::remark(change).unwrap_or_default());
        let at = *places.entry((kind, fenced(&lines))).or_insert_with(|| {
            groups.push(Common { changes: Vec::new(), lines });
            groups.len() - 1
        });
        groups[at].changes.push(change);
    }
    let (common, single): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| group.changes.len() >= EQUAL);
    others.extend(single.into_iter().flat_map(|group| group.changes));
    (common, others)
}

/// Shows each common change once, with the names of its objects.
pub(super) fn common(groups: &[Common<'_>], room: usize, rest: &str) -> Section {
    let mut shown = Section::default();
    for group in groups {
        let left = room.saturating_sub(shown.text.len() + 1);
        let gap = if shown.text.is_empty() { "" } else { "\n" };
        let section = one_common(group, left.saturating_sub(Room::EACH), rest);
        shown.omitted += section.omitted;
        if left < 2 * Room::EACH {
            shown.omitted += group.changes.len() - section.omitted;
            continue;
        }
        shown.text.push_str(&format!("{gap}{}", section.text));
    }
    if shown.text.is_empty() && !groups.is_empty() {
        shown.text = format!("… {} not shown{rest}.\n", wording::counted(shown.omitted, "equal change"));
    }
    shown
}

fn one_common(group: &Common<'_>, room: usize, rest: &str) -> Section {
    let Common { changes, lines } = group;
    let Some(first) = changes.first() else { return Section::default() };
    let kind = code(&wording::short_kind(&first.ident.key));
    let names: Vec<String> = changes.iter().take(NAMED).map(|change| code(&wording::name(&change.ident.key))).collect();
    let more = changes.len() - names.len();
    let more_names = if more > 0 { format!(" and {more} more") } else { String::new() };
    let pods: u64 = changes.iter().filter_map(|change| change.pods).sum();
    let pods = if pods > 0 { format!(" · restarts {}", wording::counted_pods(pods)) } else { String::new() };
    let head = format!("**The same change {} times:** {kind} {}{more_names}{pods}\n", changes.len(), names.join(", "));
    let entries: Vec<listing::Entry> = lines.iter().map(|line| vec![signed_line(line)]).collect();
    let difference = listing::fenced("diff", &entries, room.saturating_sub(head.len()), rest);
    let mut text = format!("{head}{}", difference.text);
    if difference.omitted > 0 {
        return Section { text, omitted: changes.len() };
    }
    let mut omitted = 0;
    if more > 0 {
        let (start, end) = ("<details><summary>all objects</summary>\n\n", "\n</details>\n");
        let entries: Vec<listing::Entry> =
            changes.iter().map(|change| vec![wording::name(&change.ident.key)]).collect();
        let left = room.saturating_sub(text.len() + start.len() + end.len() + 1);
        let list = listing::fenced("text", &entries, left, rest);
        omitted = list.omitted.saturating_sub(NAMED);
        text.push_str(&format!("{start}{}{end}", list.text));
    }
    Section { text, omitted }
}

/// A part of a project's section.
struct Piece<'a> {
    /// The place of the change in the plan.
    at: usize,
    change: &'a Change,
    text: String,
    /// The parts with a smaller number are chosen first.
    tier: u8,
}

/// Shows the other changes by project: as many as fit, the shortest first, and the names of the others.
pub(super) fn by_project(
    changes: &[&Change],
    deleted: &[&Change],
    renamed: &Renamed<'_>,
    heading: &Heading<'_>,
    room: usize,
    rest: &str,
) -> Section {
    let pieces = pieces(changes, deleted, renamed, heading);
    let entries: Vec<listing::Entry> = signed(&changes.iter().map(|change| line(change)).collect::<Vec<_>>());
    let chosen = chosen(&pieces, &entries, room);
    let is_open = pieces.iter().map(|piece| piece.text.lines().count()).sum::<usize>() <= OPEN;
    let mut projects: BTreeMap<&ProjectPath, Vec<&Piece<'_>>> = BTreeMap::new();
    for (piece, _) in pieces.iter().zip(&chosen).filter(|(_, chosen)| **chosen) {
        projects.entry(&piece.change.project).or_default().push(piece);
    }
    let mut text = String::new();
    for (project, mut pieces) in projects {
        pieces.sort_by_key(|piece| (piece.at, piece.tier));
        let gap = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{gap}{}", section(project, &pieces, is_open)));
    }
    let is_left = |(at, piece): &(usize, &Piece<'_>)| !chosen[*at] && piece.tier == 0;
    let left: Vec<listing::Entry> =
        pieces.iter().enumerate().filter(is_left).filter_map(|(at, _)| entries.get(at).cloned()).collect();
    let bodies = pieces.iter().zip(&chosen).filter(|(piece, chosen)| !**chosen && piece.tier > 0).count();
    let mut omitted = left.len() + bodies;
    let mut add = |more: &str| {
        let gap = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{gap}{more}"));
        text.len()
    };
    if bodies > 0 {
        add(&format!(
            "{} of created and deleted objects not shown here{rest}.\n",
            wording::counted(bodies, "manifest")
        ));
    }
    if !left.is_empty() {
        let used = add(&format!("{} not shown here{rest}:\n\n", wording::counted(left.len(), "change")));
        let names = listing::fenced("diff", &left, room.saturating_sub(used), rest);
        omitted = omitted.max(names.omitted + bodies);
        text.push_str(&names.text);
    }
    Section { text, omitted }
}

/// Makes the parts: one for each change, in their order, then the manifests of created and deleted objects. An object
/// that takes the place of another one has its difference in place of both manifests.
fn pieces<'a>(
    changes: &[&'a Change],
    deleted: &[&'a Change],
    renamed: &Renamed<'_>,
    heading: &Heading<'_>,
) -> Vec<Piece<'a>> {
    let block = |(at, change): (usize, &&'a Change)| {
        let text = block(change, renamed, heading);
        Piece { at, change, text, tier: 0 }
    };
    let manifest = |at: usize, change: &'a Change, tier: u8, word: &str| {
        let body = change.body.as_ref()?;
        let name = html(&clipped(&wording::object(&change.ident.key), LONGEST));
        let lines = manifest(body);
        let text = format!(
            "<details><summary>{word} <code>{name}</code></summary>\n\n{}\n</details>\n",
            fence("yaml", lines.iter().map(String::as_str))
        );
        Some(Piece { at, change, text, tier })
    };
    let created = changes.iter().enumerate().filter(|(_, change)| renamed.successor(change).is_none());
    let created = created.filter_map(|(at, change)| manifest(at, change, 1, "manifest of"));
    let deleted = deleted.iter().filter(|change| renamed.replaces(change).is_none());
    let deleted = deleted.filter_map(|change| manifest(usize::MAX, change, 2, "deleted manifest of"));
    changes.iter().enumerate().map(block).chain(created).chain(deleted).collect()
}

/// Chooses the parts that fit next to the names of all changes that are not chosen.
fn chosen(pieces: &[Piece<'_>], entries: &[listing::Entry], room: usize) -> Vec<bool> {
    let cost = |at: usize| entries.get(at).map_or(0, |entry| entry.iter().map(|line| line.len() + 1).sum::<usize>());
    let mut chosen = vec![false; pieces.len()];
    let around = |piece: &Piece<'_>| 2 * Room::EACH + piece.change.project.as_str().len();
    let mut open = std::collections::BTreeSet::new();
    let whole: usize = pieces
        .iter()
        .map(|piece| piece.text.len() + 1 + if open.insert(&piece.change.project) { around(piece) } else { 0 })
        .sum();
    if whole <= room {
        return vec![true; pieces.len()];
    }
    // The sentences and the fence around the names need room too.
    let names = 3 * Room::EACH + (0..entries.len()).map(cost).sum::<usize>();
    let Some(mut spare) = room.checked_sub(names) else { return chosen };
    open.clear();
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_by_key(|at| (pieces[*at].tier, pieces[*at].text.len()));
    for at in order {
        let piece = &pieces[at];
        let opens = if open.contains(&piece.change.project) { 0 } else { around(piece) };
        let more = (piece.text.len() + 1 + opens).saturating_sub(cost(at));
        if more <= spare {
            spare -= more;
            chosen[at] = true;
            open.insert(&piece.change.project);
        }
    }
    chosen
}

fn section(project: &ProjectPath, pieces: &[&Piece<'_>], is_open: bool) -> String {
    let mut counts: BTreeMap<Action, usize> = BTreeMap::new();
    for piece in pieces.iter().filter(|piece| piece.tier != 1) {
        *counts.entry(piece.change.action()).or_default() += 1;
    }
    let counts: Vec<String> = counts.into_iter().map(|(action, count)| wording::to_do(action, count)).collect();
    let open = if is_open { " open" } else { "" };
    let texts: Vec<&str> = pieces.iter().map(|piece| piece.text.as_str()).collect();
    format!(
        "<details{open}><summary><b><code>{}</code></b>: {}</summary>\n\n{}\n</details>\n",
        html(&clipped(project.as_str(), LONGEST)),
        counts.join(", "),
        texts.join("\n")
    )
}

/// Shows one change: the object, the action, and the difference.
fn block(change: &Change, renamed: &Renamed<'_>, heading: &Heading<'_>) -> String {
    let name = place::linked(&code(&wording::object(&change.ident.key)), change, heading);
    let action = change.action();
    let word = if action == Action::Replace { strong(action.word()) } else { action.word().to_owned() };
    let mut parts = vec![name, word];
    match (&change.from, wording::remark(change)) {
        (Some(from), _) => parts.push(format!("from {}", code(from.as_str()))),
        (None, Some(remark)) => parts.push(super::super::escape::inert(&clipped(&remark, LONGEST))),
        (None, None) => {}
    }
    let verb = if action == Action::Replace { "ends" } else { "restarts" };
    parts.extend(change.pods.map(|count| format!("{verb} {}", wording::counted_pods(count))));
    if change.diff.iter().any(|field| images::of(field).is_some()) {
        parts.push("image as above".to_owned());
    }
    let lines = match renamed.successor(change) {
        Some(successor) => {
            parts.push(format!("in place of {}", code(&clipped(&successor.old.ident.key.name, LONGEST))));
            hunks::lines(&successor.diff, None)
        }
        None => hunks::lines(without_images(change), None),
    };
    let difference = if lines.is_empty() { String::new() } else { fenced(&lines) };
    format!("{}\n{difference}", parts.join(" · "))
}

fn fenced(lines: &[Line]) -> String {
    let lines: Vec<String> = lines.iter().map(signed_line).collect();
    fence("diff", lines.iter().map(String::as_str))
}

fn signed_line(line: &Line) -> String {
    let sign = match line.sign {
        Sign::Removed => '-',
        Sign::Added => '+',
        Sign::Changed => '!',
        Sign::Same => ' ',
        Sign::Title => '@',
    };
    format!("{sign}{}", line.text)
}

/// The lines of a manifest, without the fields that the title has.
fn manifest(body: &Value) -> Vec<String> {
    let mut body = body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("kind");
        let metadata = fields.get_mut("metadata").and_then(Value::as_object_mut);
        let is_empty = metadata.is_some_and(|metadata| {
            metadata.remove("name");
            metadata.remove("namespace");
            metadata.is_empty()
        });
        if is_empty {
            fields.remove("metadata");
        }
    }
    yaml::fields(&body).iter().map(|line| clipped(line, LONGEST)).collect()
}

/// Returns the sign and the cells of a change for a list of names.
fn line(change: &Change) -> (char, Vec<String>) {
    let sign = match change.action() {
        Action::Create => '+',
        Action::Replace | Action::Delete => '-',
        Action::Update | Action::Move | Action::Adopt => '!',
        _ => ' ',
    };
    let mut cells = vec![change.action().word().to_owned()];
    cells.extend(row(change));
    cells.extend(wording::remark(change));
    (sign, cells)
}

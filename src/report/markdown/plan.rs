//! A plan as Markdown, for the reviewer of a pull request.

use super::super::escape::{SHORT, clipped, code, link};
use super::super::{Budget, Heading, wording};
use super::alert::Alert;
use super::changes::{by_project, common, divided, is_shown};
use super::cleanup::{deletions, staying};
use super::parts::{footer_of_plan, notices, refusals};
use super::renamed::Renamed;
use super::{Markdown, Room, images, joined, risks, subject};
use crate::plan::build::{Plan, PlanMode};
use crate::plan::change::Change;
use crate::plan::decision::Action;

/// The number of changes up to which a plan without anything to look at is a matter of routine.
const ROUTINE: usize = 10;

/// Returns the report of a plan.
///
/// The order is that of importance: refusals, objects that stay as they are, risks, deletions, leftovers, changes. If
/// the report is too long, it first leaves out manifests and differences, starting with the longest. It then cuts the
/// lists of changed objects. The list of deletions is cut last.
pub fn plan(plan: &Plan, heading: &Heading<'_>, budget: Budget) -> Markdown {
    let mut room = Room::new(budget, 12);
    let share = budget.bytes() / 8;
    let head = head(plan, heading);
    let foot = footer_of_plan(heading, plan, 1);
    room.left = room.left.saturating_sub(head.len() + foot.len());
    let refused = room.fill(share, |room, rest| refusals(&plan.refusals, room, rest));
    let alert = Alert::of(plan, heading, room.left.min(share));
    room.left = room.left.saturating_sub(alert.text.len());
    let risky = room.fill(share, |room, rest| risks::risks(plan, heading, room, rest));
    // A part of the room is reserved for the sections that must always appear. The deletions may use all the rest.
    let aside = room.left.min(share);
    room.left -= aside;
    let before = room.omitted;
    let renamed = Renamed::of(plan);
    let deleted = room.rest(|room, rest| deletions(plan, &renamed, heading, room, rest));
    let all = plan.deletions().count() + plan.replacements().count();
    let shown_deletions = all.saturating_sub(room.omitted - before);
    let left = room.rest(|room, rest| staying(plan, &alert, heading, room, rest));
    room.left += aside;
    let notices = room.fill(share, |room, rest| notices(&plan.notices, room, rest));
    let shown: Vec<&Change> = plan.changes.iter().filter(|change| is_shown(change)).collect();
    let half = room.left / 2;
    let images = room.fill(half, |room, rest| images::table(&shown, room, rest));
    let (groups, others) = divided(&shown);
    let half = room.left / 2;
    let equal = room.fill(half, |room, rest| common(&groups, room, rest));
    let gone: Vec<&Change> = plan.deletions().collect();
    let projects = room.rest(|room, rest| by_project(&others, &gone, &renamed, heading, room, rest));
    let has_changes = [&images, &equal, &projects].iter().any(|section| !section.is_empty());
    let title = if has_changes { "### Changes\n".to_owned() } else { String::new() };
    let foot = if room.omitted > 0 { foot } else { footer_of_plan(heading, plan, 0) };
    let alerted = alert.text;
    let text = joined(&[head, refused, alerted, risky, deleted, left, title, images, equal, projects, notices, foot]);
    Markdown { text, omitted: room.omitted, deletions: shown_deletions }
}

/// Returns a plan in a few lines: what it counts, why it is refused, and where the whole plan stands.
pub fn brief(plan: &Plan, heading: &Heading<'_>) -> String {
    const REFUSALS: usize = 1_500;
    let refused = refusals(&plan.refusals, REFUSALS, Budget::COMMENT.rest()).text;
    let place =
        format!("There is no room for this plan here. It stands in the {}.\n", link("step summary", heading.run));
    joined(&[head(plan, heading), refused, place, footer_of_plan(heading, plan, 1)])
}

/// Returns the title with the counts, and a verdict where one line says everything.
fn head(plan: &Plan, heading: &Heading<'_>) -> String {
    let cluster = heading.cluster.map(|cluster| format!(" → {}", code(&clipped(cluster, SHORT)))).unwrap_or_default();
    let offline = if plan.mode == PlanMode::Offline { "Offline plan of " } else { "" };
    let target = subject(heading);
    let refused = if plan.refusals.is_empty() { "" } else { "refused, " };
    let counts = wording::counts(plan);
    let counts = match (plan.has_changes(), counts.is_empty()) {
        (true, _) => counts,
        (false, true) => "nothing to do".to_owned(),
        (false, false) => format!("nothing to do, {counts}"),
    };
    let verdict = verdict(plan).map(|verdict| format!("\n{verdict}\n")).unwrap_or_default();
    format!("## {offline}{target}{cluster}: {refused}{counts}\n{verdict}")
}

fn verdict(plan: &Plan) -> Option<String> {
    if !plan.has_changes() && plan.refusals.is_empty() {
        return Some(wording::plan(plan, str::to_owned));
    }
    let is_plain = |change: &Change| {
        change.risks.is_empty() && !matches!(change.action(), Action::Delete | Action::Replace | Action::Release)
    };
    let is_calm =
        plan.refusals.is_empty() && plan.all().all(|change| is_plain(change) && change.disposition().is_none());
    let count = plan.all().filter(|change| change.action() != Action::Unchanged).count();
    (is_calm && count <= ROUTINE)
        .then(|| "**Routine:** nothing is deleted, replaced or kept, and no change is risky.".to_owned())
}

//! A comparison of a cluster with what was merged, as Markdown, for an issue.

use super::super::escape::inert;
use super::super::{Budget, Heading, wording};
use super::{Markdown, plan};
use crate::plan::build::Plan;
use crate::plan::drift::{has_drifted, is_due};
use crate::plan::notice::Notice;

/// Returns the report of a drift: what is due whatever the objects are like, and then the plan of an apply.
pub fn drift(compared: &Plan, heading: &Heading<'_>, budget: Budget) -> Markdown {
    let (due, other): (Vec<Notice>, Vec<Notice>) = compared.notices.iter().cloned().partition(is_due);
    let mut head = if has_drifted(compared) {
        "> [!WARNING]\n> **The cluster differs from what was merged.** An apply of the whole root does the following.\n"
            .to_owned()
    } else {
        "> [!NOTE]\n> **No difference.** The cluster is as the merged tree says.\n".to_owned()
    };
    if !due.is_empty() {
        head += ">\n";
        head.extend(due.iter().map(|notice| format!("> - {}\n", inert(&wording::notice(notice)))));
    }
    let rest = Plan { notices: other, ..compared.clone() };
    let Markdown { text, omitted, deletions } = plan(&rest, heading, budget.less(head.len() + 1));
    Markdown { text: format!("{head}\n{text}"), omitted, deletions }
}

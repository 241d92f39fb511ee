//! The files that a job without comments leaves for the summary.

use super::super::plan_file::{PlanFile, PlanResult};
use super::{Report, Reporter, is_silent};
use crate::conclusion::exit::Exit;
use crate::forge::Forge;
use crate::plan::decision::{Action, Disposition};
use crate::plan::signature::{SigningKey, Statement, sign, text_hash};
use crate::report::{Budget, markdown};

/// The end of a plan.
#[derive(Clone, Copy)]
pub(crate) struct PlanVerdict {
    /// The exit code.
    pub exit: Exit,
    /// The kind of the end.
    pub result: PlanResult,
}

/// A pull request, if the plan has one, and the planned head.
type Subject<'a> = (Option<u64>, &'a str);

impl Reporter<'_> {
    /// Leaves a plan for the summary. `alert` is the text above an unsigned plan, and `in_summary` is the number of
    /// deletions and replacements that the step summary shows.
    pub(super) fn leave_plan(
        &self,
        (pull, head): Subject<'_>,
        report: &Report<'_>,
        signed: Option<(Box<Statement>, SigningKey)>,
        (alert, in_summary): (&str, usize),
        PlanVerdict { exit, result }: PlanVerdict,
    ) {
        let Report { plan, heading, .. } = report;
        let below_title = |text: String| match text.split_once('\n') {
            Some((title, rest)) if !alert.is_empty() => format!("{title}\n\n{alert}{}", rest.trim_start_matches('\n')),
            _ => text,
        };
        let reports: Vec<_> =
            Budget::SECTIONS.iter().map(|budget| markdown::plan(plan, heading, budget.less(alert.len()))).collect();
        let least = reports.iter().map(|report| report.deletions).min().unwrap_or_default();
        let mut texts: Vec<String> = reports.into_iter().map(|report| below_title(report.text)).collect();
        // The text of a few lines shows no deletion, so it needs the step summary that it links.
        if in_summary >= plan.deletions().count() + plan.replacements().count() {
            texts.push(below_title(markdown::brief(plan, heading)));
        }
        let mut shortest = usize::MAX;
        texts.retain(|text| {
            let is_shorter = text.len() < shortest;
            shortest = shortest.min(text.len());
            is_shorter
        });
        let time = self.forge.as_ref().and_then(Forge::time);
        let block = signed.zip(time).map(|((statement, key), time)| {
            let statement = statement.showing(plan, least.max(in_summary), key.names());
            let texts = texts.iter().map(|text| text_hash(text)).collect();
            sign(&Statement { time, texts, ..statement }, &key)
        });
        let identity = self.identity();
        let file = PlanFile::empty(&identity.root, &identity.target, pull, head, result);
        self.leave(&PlanFile {
            exit: exit.code(),
            is_silent: is_silent(plan),
            changes: plan.all().filter(|change| !matches!(change.action(), Action::Unchanged | Action::Keep)).count(),
            deletions: plan.deletions().count(),
            kept: plan.standing(Disposition::Kept).count(),
            digest: Some(plan.digest.clone()),
            server: self.server.get().map(ToString::to_string),
            block,
            texts,
            ..file
        });
    }

    /// Leaves the plan of a merge queue's group for the summary, whose check also counts there.
    pub(crate) fn leave_group(&self, head: &str, report: &Report<'_>, verdict: PlanVerdict) {
        if self.is_off() {
            self.leave_plan((None, head), report, None, ("", 0), verdict);
        }
    }

    /// Leaves the reason why a plan could not be made.
    pub(super) fn leave_failure(&self, (pull, head): Subject<'_>, text: String, exit: Exit) {
        let identity = self.identity();
        let result = if exit == Exit::Refused { PlanResult::Refused } else { PlanResult::Failed };
        let file = PlanFile::empty(&identity.root, &identity.target, pull, head, result);
        self.leave(&PlanFile { exit: exit.code(), texts: vec![text], ..file });
    }

    /// Leaves the reason why there is no plan.
    pub(super) fn leave_note(&self, (pull, head): Subject<'_>, text: String, is_new: bool) {
        let identity = self.identity();
        let file = PlanFile::empty(&identity.root, &identity.target, pull, head, PlanResult::Nothing);
        self.leave(&PlanFile { is_silent: !is_new, texts: vec![text], ..file });
    }

    /// Writes a file, and tells its folder in the outputs.
    fn leave(&self, file: &PlanFile) {
        let Some(temporary) = &self.around.temporary else {
            return self.notice("the plan was left nowhere, because RUNNER_TEMP is not set");
        };
        match file.write(temporary) {
            Ok(folder) => match folder.to_str() {
                Some(folder) => self.outputs(&[("plans", folder)]),
                None => self.notice("the output plans was not written: the folder's name is not UTF-8"),
            },
            Err(error) => self.notice(&format!("the plan was not left for the summary: {error}")),
        }
    }
}

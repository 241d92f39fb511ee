//! Plans and outcomes as text. Pure: no I/O, no clock, and only imports of the domain.
//!
//! All formats use the same values: [`terminal`], [`markdown`] (and [`summary`], which is the same with more room),
//! [`html`], and [`json`].
//!
//! **Invariant:** text from a manifest, a cluster or a repository is untrusted. It enters a report only through
//! [`escape`].

pub mod escape;
pub(crate) mod fields;
pub mod html;
pub(crate) mod hunks;
pub mod json;
pub(crate) mod listing;
pub mod manifest;
pub mod markdown;
pub(crate) mod place;
pub mod progress;
pub mod shell;
pub(crate) mod state;
pub mod summary;
pub mod terminal;
pub(crate) mod wording;
pub(crate) mod yaml;

use std::path::Path;

/// The facts about a run that every report shows next to the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heading<'a> {
    /// The target of the plan, by the name that the user gave it.
    pub target: &'a str,
    /// The name of the root, if a report has to show it beside the target.
    pub root: Option<&'a str>,
    /// The kubeconfig's context, or the server. It is absent if no cluster is configured.
    pub cluster: Option<&'a str>,
    /// The commit that the plan is compared with.
    pub base: Option<&'a str>,
    /// The commit that is planned or applied.
    pub head: Option<&'a str>,
    /// The URL of the run's page, which shows the step summary.
    pub run: Option<&'a str>,
    /// The directory of the tree in its repository.
    pub directory: Option<&'a Path>,
    /// `true` if comments on the pull request can hold commands about this plan.
    pub takes_commands: bool,
    /// The address below which the forge shows the files of a commit: a path of the forge's site, such as
    /// `/acme/shop/blob`, or a URL. Without it, a report has no links to files.
    pub files: Option<&'a str>,
}

/// The maximum size of a report in bytes, and a hint to the place of the full report.
///
/// Forges count characters. A text never has more characters than bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    bytes: usize,
    rest: &'static str,
}

impl Budget {
    /// The body of a comment on a pull request. GitHub refuses 65,536 characters.
    pub const COMMENT: Self = Self { bytes: 60_000, rest: ", in the step summary" };
    /// A step summary. The runner drops the whole summary if it has more than 1 MiB.
    pub const SUMMARY: Self = Self { bytes: 900 * 1024, rest: "" };
    /// A file, without a limit.
    pub const FILE: Self = Self { bytes: usize::MAX, rest: "" };
    /// The bytes that the fixed parts of a report may need. A smaller budget counts as this one.
    pub const LEAST: usize = 10_240;

    /// The sizes of a plan's texts for a comment of several plans, the largest first.
    pub const SECTIONS: [Self; 3] = [
        Self { bytes: 56_000, ..Self::COMMENT },
        Self { bytes: 24_576, ..Self::COMMENT },
        Self { bytes: Self::LEAST, ..Self::COMMENT },
    ];

    /// Returns a smaller budget, which leaves `bytes` for the caller's own text.
    #[must_use]
    pub fn less(self, bytes: usize) -> Self {
        Self { bytes: self.bytes.saturating_sub(bytes), ..self }
    }

    /// Returns the number of bytes that the report may use.
    pub fn bytes(self) -> usize {
        self.bytes.max(Self::LEAST)
    }

    /// Returns the text that follows "… and 3 more".
    pub fn rest(self) -> &'static str {
        self.rest
    }
}

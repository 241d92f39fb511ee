//! Plans and outcomes as text. Pure: no I/O, no clock, and imports of the domain alone.
//!
//! Every format is made from the same values: [`terminal`], [`markdown`] (and [`summary`], the same with more room),
//! [`html`], [`json`].
//!
//! **Invariant:** what comes from a manifest, a cluster or a repository is untrusted. It reaches a text through
//! [`escape`] alone.

pub mod escape;
pub mod fields;
pub mod html;
pub mod json;
pub mod listing;
pub mod markdown;
pub mod shell;
pub mod state;
pub mod summary;
pub mod terminal;
pub mod wording;

/// What stands around a plan in every report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heading<'a> {
    /// What the plan is for, as the user calls it.
    pub target: &'a str,
    /// The kubeconfig's context, or the server; absent where no cluster is configured.
    pub cluster: Option<&'a str>,
    /// The commit that is compared with.
    pub base: Option<&'a str>,
    /// The commit that is planned or applied.
    pub head: Option<&'a str>,
    /// The address of the run's page, where the step summary stands.
    pub run: Option<&'a str>,
}

/// How many bytes a report may take, and where a reader finds what did not fit.
///
/// Forges count characters, of which there are never more than bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    bytes: usize,
    rest: &'static str,
}

impl Budget {
    /// The body of a pull request comment: GitHub refuses 65,536 characters.
    pub const COMMENT: Self = Self { bytes: 60_000, rest: ", in the step summary" };
    /// A step summary: a runner drops it whole above 1 MiB.
    pub const SUMMARY: Self = Self { bytes: 900 * 1024, rest: "" };
    /// A file: as long as it takes.
    pub const FILE: Self = Self { bytes: usize::MAX, rest: "" };
    /// What the fixed parts of a report may need. A smaller budget counts as this one.
    pub const LEAST: usize = 12_288;

    /// Leaves room for what the caller adds to the report.
    #[must_use]
    pub fn less(self, bytes: usize) -> Self {
        Self { bytes: self.bytes.saturating_sub(bytes), ..self }
    }

    /// The bytes that may be used.
    pub fn bytes(self) -> usize {
        self.bytes.max(Self::LEAST)
    }

    /// Follows "… and 3 more".
    pub fn rest(self) -> &'static str {
        self.rest
    }
}

//! The comments of a summary. Only the summary of a workflow writes them.

use super::Reporter;
use crate::conclusion::failure::chain;
use crate::forge::{Context, Forge, Freshness, Marker, Sticky, Upserted};
use crate::report::markdown::Page;

/// The most comments of an earlier summary.
const MOST: usize = 20;

impl Reporter<'_> {
    /// Returns `true` if the pull request has a summary of this workflow, or if the forge does not tell.
    pub(crate) async fn has_summary(&self, number: u64) -> bool {
        let Some(forge) = &self.forge else { return false };
        !matches!(forge.find_sticky(number, &self.page(1)).await, Ok(None))
    }

    /// Writes the comments of a summary, each in place of the one of an earlier run. Returns the URL of the first one.
    pub(crate) async fn pages(&self, number: u64, head: &str, pages: Vec<Page>) -> Option<String> {
        let forge = self.forge.as_ref()?;
        let count = pages.len();
        let mut url = None;
        for (index, Page { hidden, text }) in pages.into_iter().enumerate() {
            match self.put(forge, number, head, index + 1, (hidden, text)).await? {
                Upserted::Superseded { url, .. } => {
                    self.notice(&format!("a newer run has written the summary of #{number}: it was left alone"));
                    return Some(url);
                }
                written => url = url.or(Some(written.url().to_owned())),
            }
        }
        // An earlier run may have needed more comments.
        for page in count + 1..=MOST {
            if !matches!(forge.find_sticky(number, &self.page(page)).await, Ok(Some(_))) {
                break;
            }
            let text = "## Plans, continued\n\nAll plans stand in the first comment.\n".to_owned();
            self.put(forge, number, head, page, (Vec::new(), text)).await?;
        }
        url
    }

    async fn put(
        &self,
        forge: &Forge,
        number: u64,
        head: &str,
        page: usize,
        (hidden, text): (Vec<String>, String),
    ) -> Option<Upserted> {
        let Context { run_id, attempt, .. } = *self.context;
        // The summary has no key, so its comment has no seal.
        let freshness = Freshness { head_sha: head.to_owned(), run_id, attempt, seal: None };
        let sticky = Sticky { marker: self.page(page), freshness, hidden, text };
        match forge.upsert_sticky(number, &sticky, &|_| true).await {
            Ok(upserted) => Some(upserted),
            Err(error) => {
                self.notice(&format!("the summary of #{number} was not written: {}", chain(&error)));
                None
            }
        }
    }

    fn page(&self, page: usize) -> Marker {
        Marker::summary(&self.context.workflow, page)
    }
}

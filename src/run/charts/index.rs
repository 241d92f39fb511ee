//! Reads the index of a repository of charts.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The maximum number of values in an index. The largest public ones have a few hundred thousand.
const MOST_NODES: usize = 8_000_000;

/// The versions of charts in a repository.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Index {
    #[serde(default)]
    entries: BTreeMap<String, Vec<Version>>,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    urls: Vec<String>,
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    ///
    /// The bytes are not an index, or it is too large.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "the index is not UTF-8".to_owned())?;
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_nodes: MOST_NODES, max_events: 2 * MOST_NODES },
        };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let place = error.location().map(|at| format!(" (line {})", at.line())).unwrap_or_default();
            format!("the index cannot be read{place}")
        })
    }

    /// Returns the first address of a version of a chart. It can be relative to the index.
    ///
    /// # Errors
    ///
    /// The index has no such chart or version, or no address for it.
    pub(super) fn url(&self, chart: &str, version: &str) -> Result<String, String> {
        let versions = self.entries.get(chart).ok_or_else(|| format!("it has no chart {chart}"))?;
        let plain = |text: &str| text.strip_prefix('v').unwrap_or(text).to_owned();
        let exact = versions.iter().find(|found| found.version == version);
        let found = exact.or_else(|| versions.iter().find(|found| plain(&found.version) == plain(version)));
        let found = found.ok_or_else(|| format!("it has no version {version} of the chart {chart}"))?;
        found.urls.first().cloned().ok_or_else(|| format!("it has no address for {chart} {version}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k7_an_exact_version_is_found_in_an_index_and_no_other() {
        let text = "apiVersion: v1\ngenerated: '2026-01-01T00:00:00Z'\nentries:\n  web:\n  - {version: v1.2.3, urls: [a.tgz, b.tgz], digest: x, appVersion: 1.10}\n  - {version: 1.2.30, urls: [c.tgz]}\n  - {version: 1.3.0, urls: []}\n  other: []\n";
        let index = Index::read(text.as_bytes()).unwrap();
        let url = |chart: &str, version: &str| index.url(chart, version);
        assert_eq!(url("web", "1.2.3"), Ok("a.tgz".into()));
        assert_eq!(url("web", "v1.2.30"), Ok("c.tgz".into()));
        assert_eq!(url("web", "1.3.0"), Err("it has no address for web 1.3.0".into()));
        assert_eq!(url("web", "1.2.4"), Err("it has no version 1.2.4 of the chart web".into()));
        assert_eq!(url("gone", "1.2.3"), Err("it has no chart gone".into()));
        assert_eq!(Index::read(b"entries: [").unwrap_err(), "the index cannot be read (line 1)");
        assert_eq!(Index::read(b"\xff").unwrap_err(), "the index is not UTF-8");
    }
}

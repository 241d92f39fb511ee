//! The file `.ktor.lock` in the root directory. It names the archives of remote charts by address and digest, and the
//! versions of engines.
//!
//! This module reads and writes the text of the file. It fetches nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::address::{Address, AddressError};
use crate::process::engine::EngineKind;
use crate::project::files::Files;
use crate::project::settings::{self, Stated};
use crate::project::snapshot::{SourceError, SourcePlace};

/// The name of the file.
pub(crate) const LOCK_FILE: &str = ".ktor.lock";

/// The directory of the archives that are kept in the tree.
pub(crate) const VENDORED: &str = ".ktor/charts";

/// The maximum size of the file.
const MAX_BYTES: usize = 1 << 20;

/// The maximum length of a chart's name, and of a version.
const LONGEST_NAME: usize = 200;

/// The comment at the top of the file.
const HEADER: &str = "# Written by ktor. Commit this file.\n";

/// The start of the advice to write the file again. The command line says how.
pub(crate) const LOCK_CHARTS: &str = "lock the charts";

/// The advice for a mistake in the file.
const ADVICE: &str = "correct it, or remove the file and lock the charts again";

/// A server with charts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Registry {
    /// A repository with an `index.yaml`.
    Repository(Address),
    /// A host and a path of an OCI registry, without a scheme.
    Oci(String),
}

/// A chart that is not in the tree, as a release names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RemoteChart {
    /// The server.
    pub(crate) registry: Registry,
    /// The name of the chart.
    pub(crate) chart: String,
    /// The exact version.
    pub(crate) version: String,
}

/// A chart with the address and the digest of its archive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LockedChart {
    /// The chart.
    pub(crate) chart: RemoteChart,
    /// The address of the archive.
    pub(crate) url: Address,
    /// The digest of the archive.
    pub(crate) sha256: ArchiveDigest,
}

/// The SHA-256 of an archive, in lower case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ArchiveDigest(String);

/// The facts about the cluster of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LockedTarget {
    /// The version of Kubernetes.
    pub(crate) kubernetes: Option<String>,
    /// The API versions that the cluster serves.
    pub(crate) api_versions: Vec<String>,
    /// The identity of the cluster.
    pub(crate) cluster: Option<String>,
}

/// The content of a lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lock {
    /// The versions of the engines.
    pub(crate) engines: BTreeMap<EngineKind, String>,
    /// The charts.
    pub(crate) charts: BTreeMap<RemoteChart, LockedChart>,
    /// The targets by name.
    pub(crate) targets: BTreeMap<String, LockedTarget>,
}

/// The archives that were fetched, by digest. A message stands for an archive that was not fetched.
pub(crate) type Archives = BTreeMap<ArchiveDigest, Result<Vec<u8>, String>>;

/// A lock with the archives that were fetched for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locked {
    /// The lock. `None` if the tree has none.
    pub(crate) lock: Option<Lock>,
    /// The archives that are not in the tree.
    pub(crate) archives: Archives,
}

impl Registry {
    /// Reads the address of a repository.
    ///
    /// # Errors
    ///
    /// The text is not an address that can be used.
    pub(crate) fn repository(text: &str) -> Result<Self, AddressError> {
        if text.contains('?') {
            return Err(AddressError::Malformed);
        }
        Address::parse(text.trim_end_matches('/')).map(Self::Repository)
    }

    /// Reads the host and the path of a registry, with or without the scheme `oci`.
    ///
    /// # Errors
    ///
    /// The text is not a host with a path.
    pub(crate) fn oci(text: &str) -> Result<Self, AddressError> {
        let text = text.strip_prefix("oci://").unwrap_or(text);
        let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
        Address::parse(&format!("https://{host}"))?;
        let is_path = |path: &str| path.split('/').all(is_path_part);
        if host.contains(['?', '#']) || !path.is_none_or(is_path) {
            return Err(AddressError::Malformed);
        }
        Ok(Self::Oci(text.to_owned()))
    }
}

/// Returns `true` for a part of the path of a registry.
fn is_path_part(part: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    part.bytes().all(is_part) && part.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

impl RemoteChart {
    /// Returns a chart of an OCI registry, given its address as in `oci://host/path/chart`.
    pub(crate) fn of_oci(address: &str, version: &str) -> Option<Self> {
        let (registry, chart) = address.strip_prefix("oci://")?.rsplit_once('/')?;
        let registry = Registry::oci(registry).ok()?;
        is_path_part(chart).then(|| Self { registry, chart: chart.to_owned(), version: version.to_owned() })
    }
}

impl fmt::Display for RemoteChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, chart, version } = self;
        match registry {
            Registry::Repository(address) => write!(f, "chart {chart} {version} of {address}"),
            Registry::Oci(path) => write!(f, "chart oci://{path}/{chart} {version}"),
        }
    }
}

/// Returns `true` for the name of a chart in a repository.
pub(crate) fn is_chart_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.len() <= LONGEST_NAME
        && text.bytes().all(is_part)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

/// Returns `true` for one version with three numbers, such as `1.2.3` or `v1.2.3-rc.1+build`. Ranges are not.
pub(crate) fn is_exact_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (numbers, rest) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_suffix = |byte: u8| byte.is_ascii_alphanumeric() || b"-+.".contains(&byte);
    text.len() <= LONGEST_NAME
        && numbers.split('.').count() == 3
        && numbers.split('.').all(is_number)
        && (rest.is_empty() || rest.len() > 1)
        && rest.bytes().all(is_suffix)
}

impl ArchiveDigest {
    /// Returns the digest of bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Reads a digest of 64 lower case hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// The path of the archive in a tree that contains it, relative to the root directory.
    pub(crate) fn vendored_path(&self) -> PathBuf {
        Path::new(VENDORED).join(format!("{}.tgz", self.0))
    }
}

impl fmt::Display for ArchiveDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Locked {
    /// Reads the lock of a tree whose lock file is loaded.
    ///
    /// # Errors
    ///
    /// The errors of [`Lock::parse`].
    pub(crate) fn of(files: &Files) -> Result<Self, Vec<SourceError>> {
        let path = Path::new(LOCK_FILE);
        let lock = files.loaded().get(path).map(|bytes| Lock::parse(path, bytes)).transpose()?;
        Ok(Self { lock, archives: Archives::new() })
    }

    /// Returns the bytes of a file, which is in the tree or was fetched.
    pub(crate) fn bytes<'a>(&'a self, files: &'a Files, path: &Path) -> Option<&'a [u8]> {
        let fetched = || {
            let digest = ArchiveDigest::parse(path.file_stem()?.to_str()?)?;
            self.archives.get(&digest).filter(|_| path == digest.vendored_path())?.as_ref().ok()
        };
        files.loaded().get(path).or_else(fetched).map(Vec::as_slice)
    }

    /// Returns the entry of a chart.
    ///
    /// # Errors
    ///
    /// There is none. The error says what to do.
    pub(crate) fn find(&self, chart: &RemoteChart) -> Result<&LockedChart, String> {
        let entry = self.lock.as_ref().and_then(|lock| lock.charts.get(chart));
        entry.ok_or_else(|| match &self.lock {
            None => format!("there is no {LOCK_FILE} that names the {chart}: {LOCK_CHARTS}, and commit the file"),
            Some(_) => format!("the {chart} is not in {LOCK_FILE}: {LOCK_CHARTS} again, and commit the file"),
        })
    }

    /// The facts about the cluster of a target.
    pub(crate) fn target(&self, name: Option<&str>) -> Option<&LockedTarget> {
        self.lock.as_ref()?.targets.get(name?)
    }

    /// The version that the lock wants of an engine.
    pub(crate) fn engine(&self, kind: EngineKind) -> Option<&str> {
        self.lock.as_ref()?.engines.get(&kind).map(String::as_str)
    }
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LockText {
    engines: EnginesText,
    charts: Vec<Stated<ChartText>>,
    targets: BTreeMap<String, TargetText>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EnginesText {
    helm: Option<Stated<String>>,
    kustomize: Option<Stated<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChartText {
    repository: Option<Stated<String>>,
    oci: Option<Stated<String>>,
    chart: Stated<String>,
    version: Stated<String>,
    url: Stated<String>,
    sha256: Stated<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct TargetText {
    kubernetes: Option<Stated<String>>,
    api_versions: Vec<Stated<String>>,
    cluster: Option<Stated<String>>,
}

impl Lock {
    /// Reads a lock file.
    ///
    /// # Errors
    ///
    /// The file is not YAML, has an unknown key or a value of the wrong type, or names a chart twice. Each error has its
    /// place.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Vec<SourceError>> {
        if bytes.len() > MAX_BYTES {
            let message = format!("a lock file can have 1 MiB: {ADVICE}");
            return Err(vec![SourceError::new(SourcePlace::whole(path), message)]);
        }
        let text: LockText = settings::read(path, bytes)
            .map_err(|SourceError { place, message }| vec![SourceError::new(place, format!("{message}; {ADVICE}"))])?;
        let mut reading = Reading { path, errors: Vec::new() };
        let mut lock = Self::default();
        let EnginesText { helm, kustomize } = text.engines;
        for (kind, version) in [(EngineKind::Helm, helm), (EngineKind::Kustomize, kustomize)] {
            let Some(version) = version else { continue };
            if reading.check(&version, is_exact_version, "the version of an engine is as in 5.8.1") {
                lock.engines.insert(kind, version.value.trim_start_matches('v').to_owned());
            }
        }
        for stated in text.charts {
            let place = stated.place(path);
            let Some(entry) = reading.chart(stated.value, &place) else { continue };
            if lock.charts.contains_key(&entry.chart) {
                let message = format!("the {} is in the file twice: remove one of the entries", entry.chart);
                reading.errors.push(SourceError::new(place, message));
                continue;
            }
            lock.charts.insert(entry.chart.clone(), entry);
        }
        for (name, TargetText { kubernetes, api_versions, cluster }) in text.targets {
            let is_version = |text: &str| is_exact_version(text);
            let is_api_version = |text: &str| !text.is_empty() && !text.starts_with('-') && is_line(text);
            if let Some(version) = &kubernetes {
                reading.check(version, is_version, "a version of Kubernetes is as in 1.35.0");
            }
            for version in &api_versions {
                reading.check(version, is_api_version, "an API version is as in policy/v1");
            }
            if let Some(cluster) = &cluster {
                reading.check(cluster, is_line, "the identity of a cluster is one word");
            }
            let target = LockedTarget {
                kubernetes: kubernetes.map(|version| version.value),
                api_versions: api_versions.into_iter().map(|version| version.value).collect(),
                cluster: cluster.map(|cluster| cluster.value),
            };
            lock.targets.insert(name, target);
        }
        if reading.errors.is_empty() { Ok(lock) } else { Err(reading.errors) }
    }

    /// Writes the file. The same content always has the same text.
    pub(crate) fn text(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut text = HEADER.to_owned();
        if !self.engines.is_empty() {
            text.push_str("engines:\n");
        }
        // The order is that of the names.
        for kind in [EngineKind::Helm, EngineKind::Kustomize] {
            if let Some(version) = self.engines.get(&kind) {
                text.push_str(&format!("  {kind}: {}\n", quoted(version)));
            }
        }
        if !self.charts.is_empty() {
            text.push_str("charts:\n");
        }
        for LockedChart { chart, url, sha256 } in self.charts.values() {
            let (key, registry) = match &chart.registry {
                Registry::Repository(address) => ("repository", address.as_str()),
                Registry::Oci(path) => ("oci", path.as_str()),
            };
            let fields = [
                (key, registry),
                ("chart", &chart.chart),
                ("version", &chart.version),
                ("url", url.as_str()),
                ("sha256", &sha256.0),
            ];
            for (at, (key, value)) in fields.into_iter().enumerate() {
                text.push_str(&format!("  {} {key}: {}\n", if at == 0 { "-" } else { " " }, quoted(value)));
            }
        }
        if !self.targets.is_empty() {
            text.push_str("targets:\n");
        }
        for (name, LockedTarget { kubernetes, api_versions, cluster }) in &self.targets {
            let versions: Vec<String> = api_versions.iter().map(|version| quoted(version)).collect();
            let fields = [
                ("kubernetes", kubernetes.as_deref().map(quoted)),
                ("apiVersions", (!versions.is_empty()).then(|| format!("[{}]", versions.join(", ")))),
                ("cluster", cluster.as_deref().map(quoted)),
            ];
            let written: Vec<String> =
                fields.into_iter().filter_map(|(key, value)| Some(format!("{key}: {}", value?))).collect();
            text.push_str(&format!("  {}: {{{}}}\n", quoted(name), written.join(", ")));
        }
        text
    }
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A lock file while it is read.
struct Reading<'a> {
    path: &'a Path,
    errors: Vec<SourceError>,
}

impl Reading<'_> {
    fn check(&mut self, stated: &Stated<String>, is_valid: impl Fn(&str) -> bool, rule: &str) -> bool {
        let is_valid = is_valid(&stated.value);
        if !is_valid {
            self.refuse(stated, rule);
        }
        is_valid
    }

    fn refuse<T>(&mut self, stated: &Stated<T>, rule: &str) {
        self.errors.push(SourceError::new(stated.place(self.path), format!("{rule}; {ADVICE}")));
    }

    fn chart(&mut self, text: ChartText, place: &SourcePlace) -> Option<LockedChart> {
        let ChartText { repository, oci, chart, version, url, sha256 } = text;
        let registry = match (&repository, &oci) {
            (Some(stated), None) => (Registry::repository(&stated.value), stated, "repository"),
            (None, Some(stated)) => (Registry::oci(&stated.value), stated, "oci"),
            _ => {
                let message = format!("a chart has either `repository` or `oci`; {ADVICE}");
                self.errors.push(SourceError::new(place.clone(), message));
                return None;
            }
        };
        let registry = match registry {
            (Ok(registry), ..) => Some(registry),
            (Err(error), stated, key) => {
                self.refuse(stated, &format!("`{key}` {error}"));
                None
            }
        };
        let address = match Address::parse(&url.value) {
            Ok(address) => Some(address),
            Err(error) => {
                self.refuse(&url, &format!("`url` {error}"));
                None
            }
        };
        let digest = ArchiveDigest::parse(&sha256.value);
        if digest.is_none() {
            self.refuse(&sha256, "`sha256` has 64 digits of 0-9 and a-f");
        }
        let is_named = self.check(&chart, is_chart_name, "`chart` is the name of a chart");
        let is_exact = self.check(&version, is_exact_version, "`version` is one version as in 1.2.3");
        let chart = RemoteChart { registry: registry?, chart: chart.value, version: version.value };
        (is_named && is_exact).then_some(LockedChart { chart, url: address?, sha256: digest? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn errors(text: &str) -> Vec<String> {
        let parsed = Lock::parse(Path::new(LOCK_FILE), text.as_bytes());
        parsed.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn entry(changed: &[(&str, &str)]) -> String {
        let mut fields = vec![
            ("repository", "https://charts.example/x"),
            ("chart", "web"),
            ("version", "1.2.3"),
            ("url", "https://charts.example/x/web-1.2.3.tgz"),
            ("sha256", SHA),
        ];
        for (key, value) in changed {
            fields.retain(|(known, _)| known != key && !(*known == "repository" && *key == "oci"));
            fields.extend((!value.is_empty()).then_some((*key, *value)));
        }
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}: '{value}'")).collect();
        format!("  - {}\n", fields.join("\n    "))
    }

    #[test]
    fn k7_a_lock_file_is_written_in_one_order_and_read_again() {
        let oci = entry(&[("oci", "ghcr.io/org/charts"), ("chart", "app"), ("url", "https://ghcr.io/v2/x")]);
        let text = format!(
            "targets: {{prod: {{kubernetes: 1.35.0, apiVersions: [a/v1, b/v1/C], cluster: 1-2}}, dev: {{}}}}\ncharts:\n{oci}{}engines: {{kustomize: v5.8.1, helm: 4.3.1}}\n",
            entry(&[("repository", "https://charts.example/x/")])
        );
        let lock = Lock::parse(Path::new(LOCK_FILE), text.as_bytes()).unwrap();
        let written = lock.text();
        insta::assert_snapshot!(written, @r#"
        # Written by ktor. Commit this file.
        engines:
          helm: "4.3.1"
          kustomize: "5.8.1"
        charts:
          - repository: "https://charts.example/x"
            chart: "web"
            version: "1.2.3"
            url: "https://charts.example/x/web-1.2.3.tgz"
            sha256: "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
          - oci: "ghcr.io/org/charts"
            chart: "app"
            version: "1.2.3"
            url: "https://ghcr.io/v2/x"
            sha256: "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
        targets:
          "dev": {}
          "prod": {kubernetes: "1.35.0", apiVersions: ["a/v1", "b/v1/C"], cluster: "1-2"}
        "#);
        assert_eq!(Lock::parse(Path::new(LOCK_FILE), written.as_bytes()), Ok(lock));
        let empty = Lock::default().text();
        assert_eq!(Lock::parse(Path::new(LOCK_FILE), empty.as_bytes()), Ok(Lock::default()));
    }

    #[test]
    fn k7_each_mistake_in_a_lock_file_has_its_place_and_what_to_do() {
        let of = |changed: &[(&str, &str)]| errors(&format!("charts:\n{}", entry(changed)));
        let mut wrong = Vec::new();
        for (found, expected) in [
            (errors("chart: []\n"), ":1:1: unknown field `chart`, expected one of engines, charts, targets"),
            (errors("engines: {tar: 1.0.0}\n"), ":1:11: unknown field `tar`"),
            (errors("engines: {helm: 4.3}\n"), ":1:17: the version of an engine is as in 5.8.1"),
            (errors("charts: {}\n"), ":1:9: expected sequence start"),
            (errors("targets: {a: {kubernetes: latest}}\n"), ":1:27: a version of Kubernetes is as in 1.35.0"),
            (errors("targets: {a: {apiVersions: [--x]}}\n"), ":1:29: an API version is as in policy/v1"),
            (errors("engines: {}\nengines: {}\n"), ":2:1: duplicate mapping key"),
            (of(&[("more", "x")]), ":7:5: unknown field `more`"),
            (of(&[("sha256", "")]), ":5:5: missing field `sha256`"),
            (of(&[("sha256", &SHA.to_uppercase())]), ":6:13: `sha256` has 64 digits of 0-9 and a-f"),
            (of(&[("sha256", "00")]), ":6:13: `sha256` has 64 digits of 0-9 and a-f"),
            (of(&[("version", "^1.2.3")]), ":6:14: `version` is one version as in 1.2.3"),
            (of(&[("version", "latest")]), ":6:14: `version` is one version as in 1.2.3"),
            (of(&[("chart", "../web")]), ":6:12: `chart` is the name of a chart"),
            (of(&[("url", "http://a/x")]), ":6:10: `url` is not an https address"),
            (of(&[("url", "https://u:p@a/x")]), ":6:10: `url` has credentials"),
            (of(&[("repository", "file:///x")]), ":6:17: `repository` is not an address"),
            (of(&[("oci", "ghcr.io/Up")]), ":6:10: `oci` is not an address"),
            (of(&[("repository", "")]), ":2:5: a chart has either `repository` or `oci`"),
            (
                errors(&format!("charts:\n{}{}", entry(&[]), entry(&[]))),
                ":7:5: the chart web 1.2.3 of https://charts.example/x is in the file twice: remove one of the entries",
            ),
            (errors(&"#".repeat(MAX_BYTES + 1)), ": a lock file can have 1 MiB"),
        ] {
            let is_one = found.len() == 1 && found[0].starts_with(&format!(".ktor.lock{expected}"));
            if !is_one || !(found[0].ends_with(ADVICE) || found[0].contains("twice")) {
                wrong.push((expected, found));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn k7_a_chart_without_an_entry_is_stale() {
        let text = format!("charts:\n{}", entry(&[]));
        let lock = Lock::parse(Path::new(LOCK_FILE), text.as_bytes()).unwrap();
        let (chart, locked) = lock.charts.first_key_value().unwrap();
        let with = Locked { lock: Some(lock.clone()), archives: Archives::new() };
        assert_eq!(with.find(chart), Ok(locked));
        let newer = RemoteChart { version: "1.2.4".into(), ..chart.clone() };
        let expected = "the chart web 1.2.4 of https://charts.example/x is not in .ktor.lock: lock the charts again, and commit the file";
        assert_eq!(with.find(&newer).unwrap_err(), expected);
        let without = Locked::default().find(chart).unwrap_err();
        assert!(without.starts_with("there is no .ktor.lock that names the chart web 1.2.3 of https"), "{without}");
    }

    #[test]
    fn k7_versions_are_exact() {
        for text in ["1.2.3", "v1.2.3", "1.2.3-rc.1", "1.2.3+build.5"] {
            assert!(is_exact_version(text), "{text}");
        }
        for text in [
            "",
            "1",
            "1.2",
            "1.x",
            "1.2.x",
            "^1.2.3",
            "~1.2.3",
            ">=1.2.3",
            "1.2.3 - 1.2.5",
            "latest",
            "*",
            "1.2.3-",
            "1.2.3/../x",
            "--x",
        ] {
            assert!(!is_exact_version(text), "{text}");
        }
        let oci = RemoteChart::of_oci("oci://ghcr.io/org/charts/app", "1.2.3").unwrap();
        assert_eq!(oci.to_string(), "chart oci://ghcr.io/org/charts/app 1.2.3");
        for text in [
            "oci://ghcr.io",
            "oci://ghcr.io/a:1.2.3",
            "oci://ghcr.io/a@sha256:x",
            "oci://a@b/c",
            "oci://a/../c",
            "oci://a/b/",
            "https://a/b",
        ] {
            assert_eq!(RemoteChart::of_oci(text, "1.2.3"), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn k7_hostile_lock_files_are_read_or_refused_and_nothing_panics(text in "\\PC{0,200}", key in "[a-z0-9]{1,12}") {
            drop(errors(&text));
            let mut found = errors(&format!("charts:\n{}", entry(&[(&key, &text.replace('\'', ""))])));
            found.retain(|error| !error.starts_with(".ktor.lock"));
            prop_assert_eq!(found, Vec::<String>::new());
        }
    }
}

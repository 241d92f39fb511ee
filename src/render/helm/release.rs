//! Reads release files, which have Kubernator's format: each document is one release of a chart.
//!
//! This module checks the keys and their values. It does not look for the chart and the files of values.

use std::path::Path;

use serde_json::{Map, Value};

use crate::project::dns::{LABEL_ADVICE, is_label, is_subdomain};
use crate::project::settings::HookPolicy;
use crate::project::snapshot::{SourceError, SourcePlace};
use crate::render::lock::{Registry, RemoteChart, is_chart_name, is_exact_version};
use crate::render::yaml::{self, ValueBudget};

/// The maximum size of a release file. It is read again whenever more files are known.
const MAX_BYTES: usize = 1 << 20;

/// The maximum length of the name of a release. Helm has the same limit.
const LONGEST_NAME: usize = 53;

/// The ends of the names of release files.
const ENDS: [&str; 2] = [".helm.yaml", ".helm.yml"];

/// The keys of a release.
const KEYS: [&str; 14] = [
    "repository",
    "chart",
    "version",
    "name",
    "namespace",
    "include-crds",
    "values",
    "values-file",
    "values-files",
    "hooks",
    "schema",
    "generated",
    "kube-version",
    "api-versions",
];

/// The start of a variable in Kubernator's templates.
const VARIABLE: &str = "{${";

/// A path that a release file names, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// The path. It is relative to the directory of the file, and it may begin with `..`.
    pub(super) path: String,
    /// The place of the key.
    pub(super) place: SourcePlace,
}

/// The chart that a release names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChartReference {
    /// A directory or an archive of the tree.
    Local(Reference),
    /// A chart of a repository or registry, and the place of the key.
    Remote(RemoteChart, SourcePlace),
}

/// A release of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Release {
    /// The place where the document begins.
    pub(super) place: SourcePlace,
    /// The name.
    pub(super) name: String,
    /// The namespace. `None` means the namespace of the directory.
    pub(super) namespace: Option<String>,
    /// The chart. `None` if there is an error.
    pub(super) chart: Option<ChartReference>,
    /// `true` if the objects in the directory `crds` of the chart are part of the release.
    pub(super) include_crds: bool,
    /// The files of values, each of which is merged over those before it.
    pub(super) values_files: Vec<Reference>,
    /// The values that are merged over those of the files.
    pub(super) values: Option<Map<String, Value>>,
    /// The treatment of install and upgrade hooks. `None` means the setting of the directory.
    pub(super) hooks: Option<HookPolicy>,
    /// `false` if the values are not compared with the chart's schema. `None` means the setting of the directory.
    pub(super) schema: Option<bool>,
    /// The version of Kubernetes that the chart is told.
    pub(super) kube_version: Option<String>,
    /// The API versions that the chart is told, besides those of the tree.
    pub(super) api_versions: Vec<String>,
}

/// Returns `true` if a file is named as a release file is.
pub(in crate::render) fn is_release(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    !name.starts_with('.') && ENDS.iter().any(|end| name.ends_with(end))
}

/// Reads a release file. Returns its releases as far as they can be read, and its errors.
pub(super) fn read(path: &Path, bytes: &[u8], budget: &mut ValueBudget) -> (Vec<Release>, Vec<SourceError>) {
    let whole = |message: &str| vec![SourceError::new(SourcePlace::whole(path), message)];
    if bytes.len() > MAX_BYTES {
        return (Vec::new(), whole("a release file can have 1 MiB: move its values to a file of values"));
    }
    if let Some(place) = variable(path, bytes) {
        let message = "a template in a release file cannot be rendered yet: write the value itself";
        return (Vec::new(), vec![SourceError::new(place, message)]);
    }
    let documents = match yaml::read(path, bytes, budget) {
        Ok(documents) => documents,
        Err(error) => return (Vec::new(), vec![error]),
    };
    let (mut releases, mut errors) = (Vec::new(), Vec::new());
    for located in documents {
        let yaml::Document { place, body } = located.document;
        let Value::Object(keys) = body else {
            errors.push(SourceError::new(place, "a release is a mapping with `chart`, `name` and `namespace`"));
            continue;
        };
        let mut document = Reading { path, text: bytes, place, keys, errors: Vec::new() };
        releases.push(document.release());
        errors.append(&mut document.errors);
    }
    (releases, errors)
}

/// Returns the place of the first variable of Kubernator's templates.
pub(super) fn variable(path: &Path, bytes: &[u8]) -> Option<SourcePlace> {
    let mut lines = bytes.split(|byte| *byte == b'\n').enumerate();
    lines.find_map(|(at, line)| {
        let line = String::from_utf8_lossy(line);
        let (before, _) = line.split_once(VARIABLE)?;
        Some(SourcePlace::new(path, at + 1, before.chars().count() + 1))
    })
}

/// A document of a release file, while it is read.
struct Reading<'a> {
    path: &'a Path,
    text: &'a [u8],
    place: SourcePlace,
    keys: Map<String, Value>,
    errors: Vec<SourceError>,
}

impl Reading<'_> {
    fn release(&mut self) -> Release {
        let unknown: Vec<String> = self.keys.keys().filter(|key| !KEYS.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            self.refuse_unknown(&key);
        }
        let name = self.text("name").unwrap_or_default();
        if self.absent("name") {
            self.error_here("the release has no `name`: give it one");
        } else if self.keys["name"].is_string() && (!is_subdomain(&name) || name.len() > LONGEST_NAME) {
            let advice =
                format!("`name` is not the name of a release: use at most {LONGEST_NAME} of a-z, 0-9, - and .");
            self.error("name", &advice);
        }
        let namespace = self.text("namespace");
        if namespace.as_deref().is_some_and(|namespace| !is_label(namespace)) {
            self.error("namespace", &format!("`namespace` is not the name of a namespace: {LABEL_ADVICE}"));
        }
        let chart = self.chart();
        let one_of = |one: &str, other: &str| format!("`{one}` and `{other}` are both set: write all files under one");
        let mut values_files = self.references("values-file");
        if !values_files.is_empty() && !self.absent("values-files") {
            self.error("values-file", &one_of("values-file", "values-files"));
        }
        values_files.extend(self.references("values-files"));
        let kube_version = self.text("kube-version");
        if kube_version.as_deref().is_some_and(|version| !is_version(version)) {
            self.error("kube-version", "`kube-version` is not a version of Kubernetes: write it as in \"1.33.0\"");
        }
        let api_versions = self.texts("api-versions");
        if !api_versions.iter().all(|version| is_api_version(version)) {
            self.error("api-versions", "`api-versions` lists versions such as `policy/v1` or `policy/v1/Eviction`");
        }
        if self.text("generated").is_some_and(|generated| generated != "refuse") {
            self.error("generated", "`generated` can only be `refuse` yet: give the chart fixed values");
        }
        Release {
            place: self.place.clone(),
            name,
            namespace,
            chart,
            include_crds: self.boolean("include-crds").unwrap_or(true),
            values_files,
            values: self.values(),
            hooks: self.hooks(),
            schema: self.boolean("schema"),
            kube_version,
            api_versions,
        }
    }

    fn chart(&mut self) -> Option<ChartReference> {
        if self.absent("chart") {
            self.error_here("the release has no `chart`: name the directory or archive of a chart");
            return None;
        }
        let path = self.text("chart")?;
        if !self.absent("repository") {
            return self.chart_of_repository(&path);
        }
        if path.starts_with("oci://") {
            let version = self.exact_version()?;
            let Some(chart) = RemoteChart::of_oci(&path, &version) else {
                let message = "`chart` is not an address of a registry: write it as in oci://ghcr.io/org/web, and the version \
                               under `version`";
                self.error("chart", message);
                return None;
            };
            return Some(ChartReference::Remote(chart, self.key_place("chart")));
        }
        if !self.absent("version") {
            self.error("version", "a chart of the tree has its version in its Chart.yaml: remove `version`");
        }
        if path.contains("://") {
            let message = "a chart is not fetched from an address: name its `repository`, or write the address as in \
                           oci://ghcr.io/org/web";
            self.error("chart", message);
            return None;
        }
        if path.is_empty() || path.starts_with('/') {
            self.error("chart", "`chart` is not a relative path: name the chart's directory as in ./charts/web");
            return None;
        }
        Some(ChartReference::Local(Reference { path, place: self.key_place("chart") }))
    }

    fn chart_of_repository(&mut self, name: &str) -> Option<ChartReference> {
        let address = self.text("repository")?;
        let registry = match Registry::repository(&address) {
            Ok(registry) => Some(registry),
            Err(error) => {
                self.error("repository", &format!("`repository` {error}"));
                None
            }
        };
        let is_name = is_chart_name(name);
        if !is_name {
            self.error("chart", "`chart` is not the name of a chart in the repository: write it as in web");
        }
        let version = self.exact_version()?;
        let chart = RemoteChart { registry: registry?, chart: name.to_owned(), version };
        is_name.then(|| ChartReference::Remote(chart, self.key_place("chart")))
    }

    /// Returns the version of a chart that is not in the tree.
    fn exact_version(&mut self) -> Option<String> {
        if self.absent("version") {
            self.error("chart", "the release has no `version`: write the exact version of the chart");
            return None;
        }
        let version = self.text("version")?;
        if !is_exact_version(&version) {
            self.error("version", "`version` is not one version: write it with three numbers as in 1.2.3");
            return None;
        }
        Some(version)
    }

    fn hooks(&mut self) -> Option<HookPolicy> {
        match self.text("hooks")?.as_str() {
            "apply" => Some(HookPolicy::Apply),
            "skip" => Some(HookPolicy::Skip),
            _ => {
                self.error("hooks", "`hooks` is `apply` or `skip`: write one of them");
                None
            }
        }
    }

    fn values(&mut self) -> Option<Map<String, Value>> {
        match self.keys.get("values")? {
            Value::Null => None,
            Value::Object(values) => Some(values.clone()),
            _ => {
                self.error("values", "`values` is not a mapping: write the values of the chart below it");
                None
            }
        }
    }

    /// Returns the paths that a key names.
    fn references(&mut self, key: &str) -> Vec<Reference> {
        let place = self.key_place(key);
        let paths = if key == "values-file" { self.text(key).into_iter().collect() } else { self.texts(key) };
        let mut found = Vec::new();
        for path in paths {
            if path.contains("://") || path.starts_with('/') || path.is_empty() || path == "-" {
                let message = format!("`{key}` does not name a file of the tree: name it by a relative path");
                self.errors.push(SourceError::new(place.clone(), message));
            } else {
                found.push(Reference { path, place: place.clone() });
            }
        }
        found
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.keys.get(key)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            _ => {
                self.error(key, &format!("`{key}` is not text: write text, in quotes where needed"));
                None
            }
        }
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        let list = match self.keys.get(key) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(list)) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            Some(_) => None,
        };
        let list: Option<Vec<String>> = list;
        list.unwrap_or_else(|| {
            self.error(key, &format!("`{key}` is not a list of texts: write one, in quotes where needed"));
            Vec::new()
        })
    }

    fn boolean(&mut self, key: &str) -> Option<bool> {
        match self.keys.get(key)? {
            Value::Null => None,
            Value::Bool(value) => Some(*value),
            _ => {
                self.error(key, &format!("`{key}` is neither true nor false: write one of them"));
                None
            }
        }
    }

    fn absent(&self, key: &str) -> bool {
        self.keys.get(key).is_none_or(Value::is_null)
    }

    fn refuse_unknown(&mut self, key: &str) {
        let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
        let message = match KEYS.iter().find(|known| plain(known) == plain(key)) {
            Some(known) => format!("unknown key `{}`: write `{known}`", cut(key)),
            None => format!("unknown key `{}`: the keys of a release are {}", cut(key), KEYS.join(", ")),
        };
        self.error(key, &message);
    }

    fn error(&mut self, key: &str, message: &str) {
        let place = self.key_place(key);
        self.errors.push(SourceError::new(place, message));
    }

    fn error_here(&mut self, message: &str) {
        self.errors.push(SourceError::new(self.place.clone(), message));
    }

    /// Returns the place of a key, or the place of the document if the key does not begin a line of it.
    fn key_place(&self, key: &str) -> SourcePlace {
        let indent = self.place.column.saturating_sub(1);
        let lines = self.text.split(|byte| *byte == b'\n').enumerate().skip(self.place.line.saturating_sub(1));
        let of_document = lines.enumerate().take_while(|(count, (_, line))| *count == 0 || !line.starts_with(b"---"));
        let mut found = of_document.filter_map(|(_, (at, line))| {
            let line = std::str::from_utf8(line).ok()?;
            let after = line.get(indent..)?.trim_start_matches(['"', '\'']).strip_prefix(key)?;
            let is_key = after.trim_start_matches(['"', '\'']).trim_start().starts_with(':');
            (is_key && line.get(..indent)?.trim().is_empty()).then(|| SourcePlace::new(self.path, at + 1, indent + 1))
        });
        found.next().unwrap_or_else(|| self.place.clone())
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// Returns `true` for a version such as `1.33` or `v1.33.0-rc.1+vendor`.
fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (numbers, suffix) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
    let is_number = |part: &str| !part.is_empty() && part.len() < 10 && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_suffix = |c: char| c.is_ascii_alphanumeric() || "-+.".contains(c);
    matches!(numbers.split('.').count(), 2 | 3) && numbers.split('.').all(is_number) && suffix.chars().all(is_suffix)
}

/// Returns `true` for an API version, with or without a kind.
pub(super) fn is_api_version(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.len() <= 253 && part.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
    };
    !text.starts_with('-') && text.split('/').count() <= 3 && text.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn releases(text: &str) -> (Vec<Release>, Vec<String>) {
        let (releases, errors) = read(Path::new("a/web.helm.yaml"), text.as_bytes(), &mut ValueBudget::default());
        (releases, errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn k8_every_key_is_read_and_several_documents_are_several_releases() {
        let text = "chart: ./charts/web\nname: web\nnamespace: shop\n---\n\
                    chart: ../lib.tgz\nname: web-2\nnamespace: other\ninclude-crds: false\nvalues: {a: {b: 1}}\n\
                    values-files: [one.yaml, ../two.yaml]\nhooks: skip\nschema: false\ngenerated: refuse\n\
                    kube-version: v1.30.1-eks\napi-versions: [a/v1, a/v1/B, v1]\n";
        let (found, errors) = releases(text);
        assert_eq!((found.len(), errors), (2, vec![]));
        let one = &found[0];
        assert_eq!((one.name.as_str(), one.namespace.as_deref(), one.include_crds), ("web", Some("shop"), true));
        assert_eq!((one.hooks, one.schema, one.kube_version.as_deref()), (None, None, None));
        let Some(ChartReference::Local(chart)) = &one.chart else { panic!("{one:?}") };
        assert_eq!(chart.path, "./charts/web");
        let other = &found[1];
        assert_eq!((other.place.to_string(), other.include_crds), ("a/web.helm.yaml:5:1".into(), false));
        let files: Vec<_> = other.values_files.iter().map(|file| format!("{} {}", file.path, file.place)).collect();
        assert_eq!(files, ["one.yaml a/web.helm.yaml:10:1", "../two.yaml a/web.helm.yaml:10:1"]);
        assert_eq!((other.hooks, other.schema), (Some(HookPolicy::Skip), Some(false)));
        assert_eq!((other.kube_version.as_deref(), other.api_versions.len()), (Some("v1.30.1-eks"), 3));
        assert_eq!(other.values.as_ref().unwrap()["a"], serde_json::json!({"b": 1}));
        let single = releases("chart: a\nname: x\nvalues-file: v.yaml\n");
        assert_eq!((single.0[0].values_files.len(), single.1), (1, vec![]));
    }

    #[test]
    fn k8_what_cannot_be_used_is_refused_at_its_place_with_what_to_do() {
        let base = "name: web\nnamespace: shop\n";
        for (text, expected) in [
            (
                "chart: https://x/y.tgz\n",
                ":3:1: a chart is not fetched from an address: name its `repository`, or write the address as in oci://ghcr.io/org/web",
            ),
            ("chart: /x\n", ":3:1: `chart` is not a relative path: name the chart's directory as in ./charts/web"),
            (
                "chart: x\nversion: 1.0.0\n",
                ":4:1: a chart of the tree has its version in its Chart.yaml: remove `version`",
            ),
            ("chart: x\nvalues_file: y\n", ":4:1: unknown key `values_file`: write `values-file`"),
            ("chart: x\nincludeCrds: true\n", ":4:1: unknown key `includeCrds`: write `include-crds`"),
            (
                "chart: x\nvalues-file: /etc/passwd\n",
                ":4:1: `values-file` does not name a file of the tree: name it by a relative path",
            ),
            (
                "chart: x\nvalues-files: ['https://x/y']\n",
                ":4:1: `values-files` does not name a file of the tree: name it by a relative path",
            ),
            (
                "chart: x\nvalues-file: a\nvalues-files: [b]\n",
                ":4:1: `values-file` and `values-files` are both set: write all files under one",
            ),
            (
                "chart: x\nvalues-files: a\n",
                ":4:1: `values-files` is not a list of texts: write one, in quotes where needed",
            ),
            ("chart: x\nvalues: [a]\n", ":4:1: `values` is not a mapping: write the values of the chart below it"),
            ("chart: x\nhooks: both\n", ":4:1: `hooks` is `apply` or `skip`: write one of them"),
            ("chart: x\nschema: 'no'\n", ":4:1: `schema` is neither true nor false: write one of them"),
            ("chart: x\ngenerated: keep\n", ":4:1: `generated` can only be `refuse` yet: give the chart fixed values"),
            ("chart: x\nkube-version: 1.30\n", ":4:1: `kube-version` is not text: write text, in quotes where needed"),
            (
                "chart: x\nkube-version: latest\n",
                ":4:1: `kube-version` is not a version of Kubernetes: write it as in \"1.33.0\"",
            ),
            (
                "chart: x\napi-versions: ['a,b']\n",
                ":4:1: `api-versions` lists versions such as `policy/v1` or `policy/v1/Eviction`",
            ),
            ("values: {}\n", ":1:1: the release has no `chart`: name the directory or archive of a chart"),
        ] {
            assert_eq!(releases(&format!("{base}{text}")).1, [format!("a/web.helm.yaml{expected}")], "{text}");
        }
        let (_, unknown) = releases("chart: x\nname: web\nfoo: 1\n");
        assert!(
            unknown[0].starts_with("a/web.helm.yaml:3:1: unknown key `foo`: the keys of a release are repository,")
        );
        for (name, advice) in [("Web", "`name` is not the name of a release"), ("--x", "`name` is not the name")] {
            let (_, errors) = releases(&format!("chart: x\nname: {name}\n"));
            assert!(errors[0].contains(advice), "{errors:?}");
        }
        assert!(releases("chart: x\nname: web\nnamespace: A\n").1[0].contains("`namespace` is not the name"));
        assert_eq!(
            releases("- a\n").1,
            ["a/web.helm.yaml:1:1: a release is a mapping with `chart`, `name` and `namespace`"]
        );
        assert_eq!(releases("a: [").1.len(), 1);
        assert_eq!(
            releases("chart: x\nname: \"{${ ktor.x }$}\"\n").1,
            ["a/web.helm.yaml:2:8: a template in a release file cannot be rendered yet: write the value itself"]
        );
    }

    #[test]
    fn k7_a_remote_chart_has_a_server_a_name_and_an_exact_version() {
        for (text, expected) in [
            ("repository: https://x/\nchart: web\nversion: 1.0.0\n", "chart web 1.0.0 of https://x"),
            ("chart: oci://x/y/web\nversion: v1.0.0-rc.1\n", "chart oci://x/y/web v1.0.0-rc.1"),
        ] {
            let (found, errors) = releases(&format!("name: web\n{text}"));
            let Some(ChartReference::Remote(chart, place)) = &found[0].chart else { panic!("{errors:?}") };
            assert_eq!((chart.to_string(), errors), (expected.to_owned(), vec![]));
            assert!(place.to_string().starts_with("a/web.helm.yaml:"), "{place}");
        }
        let no_version = "the release has no `version`: write the exact version of the chart";
        let no_range = "`version` is not one version: write it with three numbers as in 1.2.3";
        for (text, expected) in [
            ("repository: https://x\nchart: web\n", format!(":3:1: {no_version}")),
            ("chart: oci://x/y\n", format!(":2:1: {no_version}")),
            ("chart: oci://x/y\nversion: latest\n", format!(":3:1: {no_range}")),
            ("repository: https://x\nchart: web\nversion: ^1.0.0\n", format!(":4:1: {no_range}")),
            ("repository: https://x\nchart: web\nversion: '1.0'\n", format!(":4:1: {no_range}")),
            ("repository: https://x\nchart: ../web\nversion: 1.0.0\n", ":3:1: `chart` is not the name of a chart in the repository: write it as in web".to_owned()),
            ("repository: http://x\nchart: web\nversion: 1.0.0\n", ":2:1: `repository` is not an https address: use one (http is for this machine only)".to_owned()),
            ("repository: https://a:b@x\nchart: web\nversion: 1.0.0\n", ":2:1: `repository` has credentials: write it without them, and keep them in Helm's own configuration".to_owned()),
            ("repository: https://x\n", ":1:1: the release has no `chart`: name the directory or archive of a chart".to_owned()),
            ("chart: oci://x/y:1.0.0\nversion: 1.0.0\n", ":2:1: `chart` is not an address of a registry: write it as in oci://ghcr.io/org/web, and the version under `version`".to_owned()),
        ] {
            assert_eq!(releases(&format!("name: web\n{text}")).1, [format!("a/web.helm.yaml{expected}")], "{text}");
        }
    }

    #[test]
    fn only_some_names_are_release_files() {
        for (name, expected) in
            [("a/web.helm.yaml", true), ("web.helm.yml", true), ("helm.yaml", false), (".helm.yaml", false)]
        {
            assert_eq!(is_release(Path::new(name)), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn hostile_release_files_are_read_or_refused_and_nothing_panics(text in "\\PC{0,200}", key in "[a-z-]{1,12}") {
            drop(releases(&text));
            drop(releases(&format!("chart: x\nname: y\n{key}: {text}\n")));
        }
    }
}

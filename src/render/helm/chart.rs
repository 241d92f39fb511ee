//! Finds the files of a chart: everything in its directory, and the charts that it depends on by a path.
//!
//! A chart that another one names by a path (`file://`) takes the place that `helm dependency build` gives it: the
//! directory `charts` of the chart that names it. Nothing is fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::release::{ChartReference, Reference};
use crate::project::files::Files;
use crate::project::snapshot::{SourceError, SourcePlace};
use crate::render::lock::{Locked, LockedChart, Registry, RemoteChart, is_chart_name, is_exact_version};
use crate::render::yaml::{self, ValueBudget};

/// The file that makes a directory a chart.
pub(in crate::render) const CHART_FILE: &str = "Chart.yaml";

/// The path of the chart's directory in a job.
pub(super) const CHART: &str = "ktor-chart";
/// The path of the chart's archive in a job.
pub(super) const ARCHIVE: &str = "ktor-chart.tgz";

/// The directory of a job with the files of values.
pub(super) const VALUES: &str = "ktor-values";
/// The paths in a job that messages of Helm can begin with.
pub(super) const PATHS: [&str; 3] = [CHART, ARCHIVE, VALUES];

/// The greatest depth of charts in charts.
const MOST_DEPTH: usize = 10;

/// The maximum size of a file that describes a chart.
const MAX_BYTES: usize = 1 << 20;

/// The files of a chart, as far as they are known from the loaded files.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Chart {
    /// The files, with their paths in a job.
    pub(super) staged: BTreeMap<PathBuf, PathBuf>,
    /// The directories of the chart and of the charts that it names, and the archive of the chart. A change anywhere in
    /// them can change the release.
    pub(super) roots: BTreeSet<PathBuf>,
    /// The paths at the beginning of each template's name, with the directories in a job that they stand for.
    pub(super) names: BTreeMap<String, PathBuf>,
    /// The archives, as their paths in a job.
    pub(super) archives: BTreeSet<PathBuf>,
    /// The charts that are not in the tree, each with the place that names it.
    pub(super) remote: Vec<(RemoteChart, SourcePlace)>,
    /// The entries of the lock for them, by the paths of their archives.
    pub(super) locked: BTreeMap<PathBuf, LockedChart>,
    /// The errors, for which the chart cannot be used.
    pub(super) errors: Vec<SourceError>,
}

impl Chart {
    /// Finds the files of the chart that a release in a directory names.
    pub(super) fn of(
        reference: &ChartReference,
        directory: &Path,
        files: &Files,
        locked: &Locked,
        budget: &mut ValueBudget,
    ) -> Self {
        match reference {
            ChartReference::Local(reference) => Self::in_tree(reference, directory, (files, locked), budget),
            ChartReference::Remote(chart, place) => {
                let mut found = Self::default();
                found.add_remote(chart.clone(), Path::new(ARCHIVE), locked, place);
                found
            }
        }
    }

    /// Adds the archive of a chart that is not in the tree at a path in the job.
    fn add_remote(&mut self, chart: RemoteChart, staged: &Path, locked: &Locked, place: &SourcePlace) {
        match locked.find(&chart) {
            Ok(entry) => {
                let path = entry.sha256.vendored_path();
                self.roots.insert(path.clone());
                self.archives.insert(staged.to_owned());
                self.staged.insert(staged.to_owned(), path.clone());
                self.locked.insert(path, entry.clone());
            }
            Err(message) => self.refuse(place, &message),
        }
        self.remote.push((chart, place.clone()));
    }

    fn in_tree(
        reference: &Reference,
        directory: &Path,
        (files, locked): (&Files, &Locked),
        budget: &mut ValueBudget,
    ) -> Self {
        let mut chart = Self::default();
        let Some(path) = files.placed(&directory.join(&reference.path)) else {
            chart.refuse(&reference.place, "the chart is outside the repository: put it into the tree");
            return chart;
        };
        if is_archive(&path) {
            chart.roots.insert(path.clone());
            if files.is_answered(&path) && !files.paths().contains(&path) {
                chart.refuse(&reference.place, "there is no such archive of a chart: correct the path");
            }
            chart.staged.insert(ARCHIVE.into(), path);
            chart.archives.insert(ARCHIVE.into());
            return chart;
        }
        let mut search = Search { chart: &mut chart, files, locked, budget, above: Vec::new() };
        search.add(&path, Path::new(CHART), None, &reference.place);
        chart
    }

    /// Returns the path in the tree of a template, given the name that Helm gives it, such as `web/templates/x.yaml`.
    pub(super) fn tree_path(&self, name: &str) -> Option<PathBuf> {
        let mut prefixes = name.match_indices('/').map(|(at, _)| name.split_at(at)).collect::<Vec<_>>();
        prefixes.reverse();
        prefixes.into_iter().find_map(|(prefix, rest)| {
            let directory = self.names.get(prefix)?;
            self.staged.get(&directory.join(rest.trim_start_matches('/'))).cloned()
        })
    }

    fn refuse(&mut self, place: &SourcePlace, message: &str) {
        self.errors.push(SourceError::new(place.clone(), message));
    }
}

/// A search for the files of a chart.
struct Search<'a> {
    chart: &'a mut Chart,
    files: &'a Files,
    locked: &'a Locked,
    budget: &'a mut ValueBudget,
    /// The charts on the way to the current one.
    above: Vec<PathBuf>,
}

/// The content of the file that describes a chart.
#[derive(Debug, Default)]
struct Description {
    name: Option<String>,
    dependencies: Vec<Dependency>,
}

/// A chart that another one depends on.
#[derive(Debug)]
struct Dependency {
    name: String,
    alias: Option<String>,
    repository: String,
    /// The version, which can be a range.
    version: String,
    place: SourcePlace,
}

impl Search<'_> {
    /// Adds a chart's directory at a path in the job. `prefix` is the beginning of its templates' names, without the name
    /// of the chart itself.
    fn add(&mut self, directory: &Path, staged: &Path, prefix: Option<(&str, &[String])>, place: &SourcePlace) {
        if self.above.contains(&directory.to_owned()) || self.above.len() >= MOST_DEPTH {
            self.chart.refuse(place, "charts depend on each other in a circle, or too deeply: remove a dependency");
            return;
        }
        self.chart.roots.insert(directory.to_owned());
        let is_beyond = directory.iter().any(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_beyond && !self.files.is_answered(directory) {
            return;
        }
        let files: Vec<PathBuf> = if directory.as_os_str().is_empty() {
            self.files.paths().iter().filter(|path| !path.starts_with("..")).cloned().collect()
        } else {
            let from = self.files.paths().range(directory.to_owned()..);
            from.take_while(|path| path.starts_with(directory)).cloned().collect()
        };
        if !files.contains(&directory.join(CHART_FILE)) {
            let message = "there is no chart, a directory with a Chart.yaml: correct the path, or put the chart there";
            self.chart.refuse(place, message);
            return;
        }
        for path in &files {
            let below = path.strip_prefix(directory).unwrap_or(path);
            if is_archive(path) && path.parent().is_some_and(|parent| parent.ends_with("charts")) {
                self.chart.archives.insert(staged.join(below));
            }
            self.chart.staged.insert(staged.join(below), path.clone());
        }
        self.describe(directory, staged, prefix);
    }

    /// Reads what describes a chart whose files are known, and adds the charts that it names.
    fn describe(&mut self, directory: &Path, staged: &Path, prefix: Option<(&str, &[String])>) {
        let Some(description) = self.description(directory) else { return };
        let own = description.name.clone().into_iter();
        let names: Vec<String> = match prefix {
            None => own.collect(),
            Some((above, aliases)) => {
                own.chain(aliases.iter().cloned()).map(|name| format!("{above}/charts/{name}")).collect()
            }
        };
        for name in &names {
            self.chart.names.entry(name.clone()).or_insert_with(|| staged.to_owned());
        }
        let prefix = names.first().cloned().unwrap_or_default();
        self.above.push(directory.to_owned());
        let aliases = |name: &str| -> Vec<String> {
            let all = description.dependencies.iter().filter(|dependency| dependency.name == name);
            all.filter_map(|dependency| dependency.alias.clone()).collect()
        };
        let (mut vendored, mut archives) = (BTreeSet::new(), Vec::new());
        for (name, path) in self.vendored(directory) {
            if is_archive(&path) {
                archives.push(name);
                continue;
            }
            let known = self.description(&path).and_then(|found| found.name).unwrap_or(name);
            if self.above.len() < MOST_DEPTH {
                let below = path.strip_prefix(directory).unwrap_or(&path);
                self.describe(&path, &staged.join(below), Some((&prefix, &aliases(&known))));
            }
            vendored.insert(known);
        }
        for dependency in &description.dependencies {
            let Dependency { name, repository, place, .. } = dependency;
            let is_archived = archives.iter().any(|archive| {
                let version = archive.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('-'));
                version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
            });
            if vendored.contains(name) || is_archived {
                continue;
            }
            let Some(path) = repository.strip_prefix("file://") else {
                match self.remote(directory, dependency) {
                    Some(chart) => {
                        let staged = staged.join("charts").join(format!("{name}-{}.tgz", chart.version));
                        self.chart.add_remote(chart, &staged, self.locked, place);
                        vendored.insert(name.clone());
                    }
                    None => self.chart.refuse(
                        place,
                        &format!(
                            "the chart depends on `{name}`, which its directory `charts` does not contain, and no exact \
                             version of it is known: write a Chart.lock with `helm dependency update`"
                        ),
                    ),
                }
                continue;
            };
            let is_label = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
            match self.files.placed(&directory.join(path)).filter(|_| is_label && !path.starts_with('/')) {
                Some(found) => {
                    vendored.insert(name.clone());
                    let staged = staged.join("charts").join(name);
                    self.add(&found, &staged, Some((&prefix, &aliases(name))), place);
                }
                None => self.chart.refuse(
                    place,
                    &format!("the chart `{name}` is not at a relative path in the repository: put it into the tree"),
                ),
            }
        }
        self.above.pop();
    }

    /// Returns the chart of a repository or registry that another chart depends on, with the version in `Chart.lock`.
    fn remote(&mut self, directory: &Path, dependency: &Dependency) -> Option<RemoteChart> {
        let Dependency { name, repository, version, .. } = dependency;
        let registry = if repository.starts_with("oci://") {
            Registry::oci(repository.trim_end_matches('/'))
        } else {
            Registry::repository(repository)
        };
        let files = ["Chart.lock", "requirements.lock"].map(|name| directory.join(name));
        let file = files.into_iter().find(|path| self.files.paths().contains(path));
        let lock = file.and_then(|path| self.document(&path)).unwrap_or_default();
        let mut entries = lock.get("dependencies").and_then(Value::as_array).into_iter().flatten();
        let is_same = |entry: &&Value| {
            text(entry, "name").as_ref() == Some(name) && text(entry, "repository").as_ref() == Some(repository)
        };
        let locked = entries.find(is_same).and_then(|entry| text(entry, "version"));
        let version = locked.unwrap_or_else(|| version.clone());
        (is_exact_version(&version) && is_chart_name(name))
            .then(|| Some(RemoteChart { registry: registry.ok()?, chart: name.clone(), version }))
            .flatten()
    }

    /// Returns the charts in the directory `charts` of a chart, with the names of their directories and archives.
    fn vendored(&self, directory: &Path) -> Vec<(String, PathBuf)> {
        let charts = directory.join("charts");
        let from = self.files.paths().range(charts.clone()..).take_while(|path| path.starts_with(&charts));
        let found = from.filter_map(|path| {
            let below = path.strip_prefix(&charts).ok()?;
            let (first, count) = (below.iter().next()?, below.iter().count());
            let name = first.to_str()?.to_owned();
            match count {
                1 if is_archive(path) => Some((name, path.clone())),
                2 if path.ends_with(CHART_FILE) => Some((name, path.parent()?.to_owned())),
                _ => None,
            }
        });
        found.collect()
    }

    /// Reads the file that describes a chart. Returns `None` if it is not loaded or cannot be read.
    fn description(&mut self, directory: &Path) -> Option<Description> {
        let chart = self.document(&directory.join(CHART_FILE))?;
        let mut description = Description { name: text(&chart, "name"), dependencies: Vec::new() };
        self.dependencies(&directory.join(CHART_FILE), &chart, &mut description);
        // Charts of the first version have their dependencies in a file of their own.
        let old = directory.join("requirements.yaml");
        if self.files.paths().contains(&old) {
            let requirements = self.document(&old)?;
            self.dependencies(&old, &requirements, &mut description);
        }
        Some(description)
    }

    fn dependencies(&self, path: &Path, body: &Value, description: &mut Description) {
        let bytes = self.files.loaded().get(path).map(Vec::as_slice).unwrap_or_default();
        for item in body.get("dependencies").and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = text(item, "name") else { continue };
            let place = place_of(path, bytes, &name);
            let repository = text(item, "repository").unwrap_or_default();
            let version = text(item, "version").unwrap_or_default();
            description.dependencies.push(Dependency { name, alias: text(item, "alias"), repository, version, place });
        }
    }

    fn document(&mut self, path: &Path) -> Option<Value> {
        let bytes = self.files.loaded().get(path)?;
        let read = if bytes.len() > MAX_BYTES {
            Err(SourceError::new(SourcePlace::whole(path), "a file that describes a chart can have 1 MiB: shorten it"))
        } else {
            yaml::read(path, bytes, self.budget)
        };
        match read {
            Ok(documents) => Some(documents.into_iter().next()?.document.body),
            Err(error) => {
                if !self.chart.errors.contains(&error) {
                    self.chart.errors.push(error);
                }
                None
            }
        }
    }
}

/// Returns `true` if a path is that of a chart's archive.
pub(super) fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tgz")
}

fn text(value: &Value, field: &str) -> Option<String> {
    value.get(field).and_then(Value::as_str).map(str::to_owned)
}

/// Returns the place of a dependency's name.
fn place_of(path: &Path, bytes: &[u8], name: &str) -> SourcePlace {
    let text = String::from_utf8_lossy(bytes);
    let found = text.lines().enumerate().find_map(|(at, line)| {
        let (before, value) = line.split_once("name:")?;
        let value = value.trim().trim_start_matches(['"', '\'']);
        let is_whole = value.strip_prefix(name)?.chars().next().is_none_or(|next| " \"',}#".contains(next));
        let is_first = !before.is_empty() && before.chars().all(|c| " -{[".contains(c));
        (is_whole && is_first).then(|| (at + 1, before.chars().count() + 1))
    });
    match found {
        Some((line, column)) => SourcePlace::new(path, line, column),
        None => SourcePlace::whole(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::lock::Lock;

    fn files(files: &[(&str, &str)]) -> Files {
        let mut loaded = Files::below(Path::new("deploy"));
        for (path, text) in files {
            loaded.load(path.into(), text.as_bytes().to_vec());
        }
        loaded
    }

    fn chart_in(files: &Files, path: &str) -> Chart {
        let reference = Reference { path: path.to_owned(), place: SourcePlace::new("a/web.helm.yaml", 1, 1) };
        let reference = ChartReference::Local(reference);
        Chart::of(&reference, Path::new("a"), files, &Locked::default(), &mut ValueBudget::default())
    }

    fn chart(tree: &[(&str, &str)], path: &str) -> Chart {
        chart_in(&files(tree), path)
    }

    fn staged(chart: &Chart) -> Vec<String> {
        chart.staged.iter().map(|(staged, path)| format!("{} {}", staged.display(), path.display())).collect()
    }

    fn errors(chart: &Chart) -> Vec<String> {
        chart.errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn s6_a_chart_is_everything_in_its_directory() {
        let tree = [
            ("a/charts/web/Chart.yaml", "name: web"),
            ("a/charts/web/templates/x.yaml", "x"),
            ("a/charts/web/files/deep/er.txt", "x"),
            ("a/charts/web-2/Chart.yaml", "name: other"),
            ("a/charts/web.yaml", "x"),
        ];
        let found = chart(&tree, "./charts/web");
        assert_eq!(
            staged(&found),
            [
                "ktor-chart/Chart.yaml a/charts/web/Chart.yaml",
                "ktor-chart/files/deep/er.txt a/charts/web/files/deep/er.txt",
                "ktor-chart/templates/x.yaml a/charts/web/templates/x.yaml"
            ]
        );
        assert_eq!((errors(&found), found.archives.clone()), (vec![], BTreeSet::new()));
        assert_eq!(found.roots, ["a/charts/web".into()].into());
        assert_eq!(found.tree_path("web/templates/x.yaml"), Some("a/charts/web/templates/x.yaml".into()));
        assert_eq!(found.tree_path("web/templates/y.yaml"), None);
        assert_eq!(found.tree_path("other"), None);
    }

    #[test]
    fn s6_charts_that_are_named_by_a_path_take_the_place_of_vendored_ones() {
        let tree = [
            (
                "c/web/Chart.yaml",
                "name: web\ndependencies:\n- name: common\n  alias: second\n  repository: file://../common\n- name: own\n  \
                 repository: file://../nowhere\n- {name: packed, repository: 'https://x'}\n",
            ),
            (
                "c/web/charts/mine/Chart.yaml",
                "name: own\ndependencies: [{name: deep, repository: 'file://../../../deep'}]",
            ),
            ("c/web/charts/packed-1.2.0.tgz", "x"),
            ("c/common/Chart.yaml", "name: common"),
            ("c/common/templates/y.yaml", "x"),
            ("c/deep/Chart.yaml", "name: deep"),
            ("c/deep/templates/z.yaml", "x"),
        ];
        let found = chart(&tree, "../c/web");
        assert_eq!(errors(&found), Vec::<String>::new());
        assert_eq!(found.archives, ["ktor-chart/charts/packed-1.2.0.tgz".into()].into());
        let staged = staged(&found);
        for expected in [
            "ktor-chart/charts/common/templates/y.yaml c/common/templates/y.yaml",
            "ktor-chart/charts/mine/charts/deep/templates/z.yaml c/deep/templates/z.yaml",
        ] {
            assert!(staged.contains(&expected.to_owned()), "{staged:#?}");
        }
        assert_eq!(found.roots, ["c/common", "c/deep", "c/web"].map(PathBuf::from).into());
        for (name, path) in [
            ("web/charts/common/templates/y.yaml", "c/common/templates/y.yaml"),
            ("web/charts/second/templates/y.yaml", "c/common/templates/y.yaml"),
            ("web/charts/own/charts/deep/templates/z.yaml", "c/deep/templates/z.yaml"),
        ] {
            assert_eq!(found.tree_path(name), Some(path.into()), "{name} {:?}", found.names);
        }
    }

    #[test]
    fn k3_charts_outside_the_repository_and_of_repositories_are_refused_at_their_place() {
        let dependency =
            |repository: &str| format!("name: web\ndependencies:\n- name: x\n  repository: {repository}\n");
        for (repository, expected) in [
            ("https://x", "the chart depends on `x`, which its directory `charts` does not contain"),
            ("oci://x/y", "the chart depends on `x`"),
            ("''", "the chart depends on `x`"),
            ("file:///etc", "the chart `x` is not at a relative path in the repository"),
            ("file://../../../../x", "the chart `x` is not at a relative path in the repository"),
            ("file://../gone", "there is no chart, a directory with a Chart.yaml"),
            ("file://.", "charts depend on each other in a circle"),
        ] {
            let found = errors(&chart(&[("a/c/Chart.yaml", &dependency(repository))], "c"));
            assert_eq!(found.len(), 1, "{repository} {found:?}");
            assert!(found[0].starts_with(&format!("a/c/Chart.yaml:3:3: {expected}")), "{repository} {found:?}");
        }
        let old = [("a/c/Chart.yaml", "name: web"), ("a/c/requirements.yaml", "dependencies: [{name: x}]")];
        assert!(errors(&chart(&old, "c"))[0].starts_with("a/c/requirements.yaml"));
        for (path, expected) in [
            ("../../../x", "the chart is outside the repository"),
            ("gone", "there is no chart"),
            (".", "there is no chart"),
        ] {
            let found = errors(&chart(&[("a/c/Chart.yaml", "name: x")], path));
            assert!(found[0].starts_with(&format!("a/web.helm.yaml:1:1: {expected}")), "{path} {found:?}");
        }
        assert!(errors(&chart(&[("a/c/Chart.yaml", "a: [")], "c"))[0].starts_with("a/c/Chart.yaml:"));
    }

    #[test]
    fn k7_remote_charts_that_another_chart_depends_on_have_the_version_of_its_lock() {
        let dependencies = "name: web\ndependencies:\n- {name: base, version: ~1.0, repository: 'https://x/'}\n- {name: app, \
                            version: 2.0.0, repository: 'oci://x/y'}\n- {name: own, version: 1.x.x, repository: 'https://x'}\n";
        let lock = "dependencies:\n- {name: base, version: 1.0.7, repository: 'https://x/'}\n- {name: own, version: 1.0.0, \
                    repository: 'https://other'}\n";
        let tree = [("a/c/Chart.yaml", dependencies), ("a/c/Chart.lock", lock)];
        let found = chart(&tree, "c");
        let named: Vec<String> = found.remote.iter().map(|(chart, place)| format!("{place} {chart}")).collect();
        assert_eq!(
            named,
            ["a/c/Chart.yaml:3:4 chart base 1.0.7 of https://x", "a/c/Chart.yaml:4:4 chart oci://x/y/app 2.0.0"]
        );
        let errors = errors(&found);
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(errors[0].starts_with("a/c/Chart.yaml:3:4: there is no .ktor.lock that names the chart base 1.0.7"));
        assert!(errors[2].contains("no exact version of it is known: write a Chart.lock"), "{errors:?}");

        let sha = "0".repeat(64);
        let entry = format!(
            "charts: [{{repository: https://x, chart: base, version: 1.0.7, url: https://x/b.tgz, sha256: '{sha}'}}]"
        );
        let lock = Lock::parse(Path::new(".ktor.lock"), entry.as_bytes()).unwrap();
        let locked = Locked { lock: Some(lock), ..Locked::default() };
        let reference = Reference { path: "c".into(), place: SourcePlace::whole("a/web.helm.yaml") };
        let reference = ChartReference::Local(reference);
        let found = Chart::of(&reference, Path::new("a"), &files(&tree), &locked, &mut ValueBudget::default());
        let path = PathBuf::from(format!(".ktor/charts/{sha}.tgz"));
        assert_eq!(found.staged[Path::new("ktor-chart/charts/base-1.0.7.tgz")], path);
        assert_eq!(found.archives, ["ktor-chart/charts/base-1.0.7.tgz".into()].into());
        assert!(found.roots.contains(&path) && found.locked.contains_key(&path));
    }

    #[test]
    fn s6_a_chart_beyond_the_root_directory_is_first_listed() {
        let mut tree = files(&[("a/x.yaml", "x")]);
        let found = chart_in(&tree, "../../lib/web");
        assert_eq!((found.roots, found.errors), (["../lib/web".into()].into(), vec![]));
        tree.list("../lib/web/Chart.yaml".into());
        tree.set_absent("../lib/web".into());
        let found = chart_in(&tree, "../../lib/web");
        assert_eq!(staged(&found), ["ktor-chart/Chart.yaml ../lib/web/Chart.yaml"]);
    }

    #[test]
    fn s6_an_archive_is_one_file() {
        let found = chart(&[("a/web-1.0.0.tgz", "x")], "web-1.0.0.tgz");
        assert_eq!(staged(&found), ["ktor-chart.tgz a/web-1.0.0.tgz"]);
        assert_eq!(found.archives, [ARCHIVE.into()].into());
        let mut tree = files(&[]);
        tree.set_absent("a/x.tgz".into());
        assert!(errors(&chart_in(&tree, "x.tgz"))[0].contains("there is no such archive"));
    }
}

//! Finds the releases of a tree, and says how each of them is rendered.
//!
//! A release file is found by its name. A directory with a `Chart.yaml` is a chart: no file in it is a manifest. The same
//! holds for the files of values that a release names.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::actions::{self, Traits};
use super::chart::{ARCHIVE, CHART, CHART_FILE, Chart, PATHS, VALUES, is_archive};
use super::opened::{Opened, Opening};
use super::release::{self, ChartReference, Release, is_release};
use super::schema::{self, SCHEMA_FILE};
use crate::process::engine::EngineKind;
use crate::project::files::Files;
use crate::project::settings::HookPolicy;
use crate::project::snapshot::{SourceError, SourcePlace};
use crate::project::tree::Tree;
use crate::render::job::{Job, JobId, Runs};
use crate::render::kustomize::is_own;
use crate::render::lock::{Locked, LockedChart, RemoteChart};
use crate::render::yaml::ValueBudget;

/// The version of Kubernetes that charts are told if nothing else says one.
pub(crate) const KUBERNETES: &str = "1.35.0";

/// The namespace that Helm is told if there is none. Objects without a namespace are then refused.
const NO_NAMESPACE: &str = "default";

/// The maximum number of files of a release.
const MOST_FILES: usize = 10_000;
/// The maximum number of bytes of the files of a release.
const MOST_BYTES: usize = 256 << 20;

/// The releases and charts of a tree, as far as they are known from the loaded files.
#[derive(Clone, Debug, Default)]
pub(in crate::render) struct Survey {
    /// The releases, in the order of their files and places.
    pub(in crate::render) entries: Vec<Entry>,
    /// The release files.
    pub(in crate::render) files: BTreeSet<PathBuf>,
    /// The paths that any release can read, and the directories of charts.
    pub(in crate::render) paths: BTreeSet<PathBuf>,
    /// The files that describe the charts that no release uses.
    pub(in crate::render) unused: BTreeSet<PathBuf>,
    /// The directories of charts.
    charts: BTreeSet<PathBuf>,
    /// The files of values that releases name.
    values: BTreeSet<PathBuf>,
}

/// A release to render.
#[derive(Clone, Debug)]
pub(in crate::render) struct Entry {
    /// The release file.
    pub(in crate::render) file: PathBuf,
    /// The number of the release in its file, from 0.
    part: usize,
    release: Release,
    chart: Chart,
    /// The files of values, in their order.
    values: Vec<PathBuf>,
    /// The facts about the archives of the chart, once they are open.
    opened: Option<Opened>,
    errors: Vec<SourceError>,
}

/// Returns the directories with a chart.
pub(in crate::render) fn chart_directories(tree: &Tree, files: &Files) -> BTreeSet<PathBuf> {
    let is_chart = |path: &&PathBuf| path.ends_with(CHART_FILE) && is_own(path) && !tree.is_excluded(path);
    let parent = |path: &PathBuf| path.parent().unwrap_or(Path::new("")).to_owned();
    files.paths().iter().filter(is_chart).map(parent).collect()
}

/// Returns `true` if a file is in one of the directories.
pub(in crate::render) fn is_in(directories: &BTreeSet<PathBuf>, file: &Path) -> bool {
    !directories.is_empty() && file.ancestors().skip(1).any(|directory| directories.contains(directory))
}

impl Survey {
    /// Finds the releases of a tree. `taken` are the files that other sources use.
    pub(in crate::render) fn of(tree: &Tree, files: &Files, locked: &Locked, taken: &BTreeSet<PathBuf>) -> Self {
        let charts = chart_directories(tree, files);
        let is_source = |path: &Path| {
            is_release(path)
                && is_own(path)
                && !tree.is_excluded(path)
                && !taken.contains(path)
                && !is_in(&charts, path)
        };
        let described: Vec<PathBuf> = charts.iter().map(|directory| directory.join(CHART_FILE)).collect();
        let mut used = BTreeSet::new();
        let mut survey = Self { files: files.selected(&is_source), charts, ..Self::default() };
        let mut budget = ValueBudget::default();
        for file in survey.files.clone() {
            survey.paths.insert(file.clone());
            let Some(bytes) = files.loaded().get(&file) else { continue };
            let (releases, errors) = release::read(&file, bytes, &mut budget);
            let is_left_out = tree.is_left_out(&file);
            if releases.is_empty() && !errors.is_empty() && !is_left_out {
                survey.entries.push(Entry::broken(&file, errors));
                continue;
            }
            for (part, release) in releases.into_iter().enumerate() {
                let errors = if part == 0 { errors.clone() } else { Vec::new() };
                let entry = Entry::of((&file, part), release, errors, (files, locked), &mut budget);
                survey.charts.extend(entry.chart.roots.iter().filter(|path| !is_archive(path)).cloned());
                if is_left_out {
                    // What a release for another target names is no manifest and no chart without a use.
                    survey.values.extend(entry.values);
                    used.extend(entry.chart.roots.iter().map(|root| root.join(CHART_FILE)));
                    continue;
                }
                survey.paths.extend(entry.chart.roots.iter().chain(entry.chart.staged.values()).cloned());
                survey.paths.extend(entry.values.iter().cloned());
                survey.values.extend(entry.values.iter().cloned());
                survey.entries.push(entry);
            }
        }
        used.extend(survey.entries.iter().flat_map(|entry| entry.chart.staged.values()).cloned());
        survey.unused = described.into_iter().filter(|path| !used.contains(path)).collect();
        survey
    }

    /// Returns `true` if a file belongs to a release or a chart, so that it is not a plain manifest.
    pub(in crate::render) fn covers(&self, file: &Path) -> bool {
        self.files.contains(file) || self.values.contains(file) || is_in(&self.charts, file)
    }

    /// Returns `true` if a release would read a file with this path.
    pub(in crate::render) fn reads(&self, file: &Path) -> bool {
        let roots = |entry: &Entry| is_in(&entry.chart.roots, file);
        self.paths.contains(file) || self.entries.iter().any(roots)
    }

    /// Opens the archives of the charts. An archive that cannot be used is an error of its release.
    pub(in crate::render) fn open(&mut self, files: &Files, locked: &Locked) {
        let mut opening = Opening::new(files, locked);
        for entry in &mut self.entries {
            if entry.errors.is_empty() {
                entry.open(&mut opening);
            }
        }
    }

    /// Returns the API versions that the open archives define.
    pub(in crate::render) fn archived_definitions(&self) -> impl Iterator<Item = &String> {
        self.entries.iter().filter_map(|entry| entry.opened.as_ref()).flat_map(|opened| &opened.definitions)
    }

    /// Returns the custom resource definitions in the charts that releases use.
    pub(in crate::render) fn definitions(&self) -> impl Iterator<Item = &Path> {
        let staged = self.entries.iter().flat_map(|entry| &entry.chart.staged);
        let is_definition =
            |staged: &Path| staged.parent().is_some_and(|parent| parent.iter().any(|name| name == "crds"));
        staged.filter(move |(staged, _)| is_definition(staged)).map(|(_, path)| path.as_path())
    }
}

impl Entry {
    fn broken(file: &Path, errors: Vec<SourceError>) -> Self {
        let release = Release {
            place: SourcePlace::whole(file),
            name: String::new(),
            namespace: None,
            chart: None,
            include_crds: true,
            values_files: Vec::new(),
            values: None,
            hooks: None,
            schema: None,
            kube_version: None,
            api_versions: Vec::new(),
        };
        let chart = Chart::default();
        Self { file: file.to_owned(), part: 0, release, chart, values: Vec::new(), opened: None, errors }
    }

    fn of(
        (file, part): (&Path, usize),
        release: Release,
        mut errors: Vec<SourceError>,
        (files, locked): (&Files, &Locked),
        budget: &mut ValueBudget,
    ) -> Self {
        let directory = file.parent().unwrap_or(Path::new(""));
        let chart = release.chart.as_ref().map(|chart| Chart::of(chart, directory, files, locked, budget));
        let chart = chart.unwrap_or_default();
        errors.extend(chart.errors.iter().cloned());
        let mut values = Vec::new();
        for reference in &release.values_files {
            let Some(path) = files.placed(&directory.join(&reference.path)) else {
                let message = "the file of values is outside the repository: put it into the tree";
                errors.push(SourceError::new(reference.place.clone(), message));
                continue;
            };
            if files.is_answered(&path) && !files.loaded().contains_key(&path) {
                let message = "there is no such file of values: correct the path";
                errors.push(SourceError::new(reference.place.clone(), message));
            }
            let variable = files.loaded().get(&path).and_then(|bytes| release::variable(&path, bytes));
            if let Some(place) = variable {
                let message = "a template in a file of values cannot be rendered yet: write the value itself";
                errors.push(SourceError::new(place, message));
            }
            values.push(path);
        }
        Self { file: file.to_owned(), part, release, chart, values, opened: None, errors }
    }

    fn open(&mut self, opening: &mut Opening<'_>) {
        let mut found = Opened::default();
        let paths = self.chart.archives.iter().filter_map(|staged| self.chart.staged.get(staged));
        for path in paths {
            match opening.open(path, self.chart.locked.get(path)) {
                Some(Ok(opened)) => found.add(&opened),
                Some(Err(message)) => self.errors.push(SourceError::new(self.chart_place().clone(), message)),
                None => return,
            }
        }
        self.opened = Some(found);
    }

    /// The place of the chart in the release file.
    fn chart_place(&self) -> &SourcePlace {
        match &self.release.chart {
            Some(ChartReference::Local(reference)) => &reference.place,
            Some(ChartReference::Remote(_, place)) => place,
            None => &self.release.place,
        }
    }

    /// The charts of the release that are not in the tree, each with the place that names it.
    pub(in crate::render) fn remote(&self) -> &[(RemoteChart, SourcePlace)] {
        &self.chart.remote
    }

    /// The entries of the lock for these charts.
    pub(in crate::render) fn locked(&self) -> impl Iterator<Item = &LockedChart> {
        self.chart.locked.values()
    }

    /// Returns `true` if the release says which chart it is of.
    pub(in crate::render) fn has_chart(&self) -> bool {
        self.release.chart.is_some()
    }

    /// The key of the release's job.
    pub(in crate::render) fn id(&self) -> JobId {
        (self.file.clone(), self.part)
    }

    /// The errors in the files of the release, which then cannot be rendered.
    pub(in crate::render) fn errors(&self) -> &[SourceError] {
        &self.errors
    }

    /// The files and directories that the release depends on, whether they exist or not.
    pub(in crate::render) fn inputs(&self) -> impl Iterator<Item = &Path> {
        self.chart.roots.iter().chain(&self.values).map(PathBuf::as_path)
    }

    /// The place of the release.
    pub(in crate::render) fn place(&self) -> &SourcePlace {
        &self.release.place
    }

    /// The namespace that the release names.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.release.namespace.as_deref()
    }

    /// The treatment of hooks for installs and upgrades.
    pub(super) fn hooks(&self, tree: &Tree) -> Option<HookPolicy> {
        self.release.hooks.or_else(|| tree.helm_of(&self.file).hooks)
    }

    /// Returns the path in the tree of a template, given the name that Helm gives it.
    pub(super) fn template_path(&self, name: &str) -> Option<PathBuf> {
        self.chart.tree_path(name)
    }

    /// Returns the path in the tree that a path in a message stands for.
    pub(super) fn tree_path(&self, text: &str) -> Option<PathBuf> {
        let path = Path::new(text);
        if !PATHS.iter().any(|start| path.starts_with(start)) {
            return self.chart.tree_path(text);
        }
        let value = path.strip_prefix(VALUES).ok().and_then(|name| name.file_stem()?.to_str()?.parse::<usize>().ok());
        if let Some(at) = value {
            return Some(self.values.get(at).unwrap_or(&self.file).clone());
        }
        let staged = self.chart.staged.get(path).cloned();
        staged.or_else(|| {
            let directory = self.chart.staged.get(&Path::new(CHART).join(CHART_FILE))?.parent()?;
            let below = path.strip_prefix(CHART).ok()?;
            Some(if below.as_os_str().is_empty() { directory.to_owned() } else { directory.join(below) })
        })
    }

    /// Returns the properties of the release's templates and values.
    pub(in crate::render) fn traits(&self, files: &Files) -> Traits {
        let mut traits = match &self.opened {
            Some(opened) => opened.traits,
            None if self.chart.archives.is_empty() => Traits::default(),
            None => return Traits::UNKNOWN,
        };
        let paths = self.chart.staged.values().chain(&self.values);
        paths.filter_map(|path| files.loaded().get(path)).for_each(|bytes| traits.add(bytes));
        if let Some(values) = &self.release.values {
            traits.add(Value::from(values.clone()).to_string().as_bytes());
        }
        traits
    }

    /// Returns the job that renders the release. `api_versions` are those that the tree defines.
    ///
    /// # Errors
    ///
    /// A file is not loaded, the files exceed a limit, or they name something outside the chart.
    pub(in crate::render) fn job<'a>(
        &self,
        tree: &Tree,
        (files, locked): (&'a Files, &'a Locked),
        api_versions: &BTreeSet<String>,
    ) -> Result<Job<'a>, Vec<SourceError>> {
        let one = |path: &Path, message: &str| vec![SourceError::new(SourcePlace::whole(path), message)];
        let mut staged: BTreeMap<PathBuf, Cow<'a, [u8]>> = BTreeMap::new();
        let values =
            self.values.iter().enumerate().map(|(at, path)| (Path::new(VALUES).join(format!("{at}.yaml")), path));
        let chart = self.chart.staged.iter().map(|(place, path)| (place.clone(), path));
        for (place, path) in chart.chain(values.clone()) {
            match locked.bytes(files, path) {
                Some(bytes) => drop(staged.insert(place, Cow::Borrowed(bytes))),
                None => return Err(one(path, "the file was not read: run again")),
            }
        }
        if staged.len() > MOST_FILES || staged.values().map(|bytes| bytes.len()).sum::<usize>() > MOST_BYTES {
            return Err(one(
                &self.file,
                "the release uses more than 10000 files or more than 256 MiB: split its chart",
            ));
        }
        let validates = self.release.schema.unwrap_or(tree.helm_of(&self.file).schema);
        self.refuse_outside(files, validates)?;
        let namespace = self.namespace().map(str::to_owned).or(tree.owner_of(&self.file).namespace);
        let target = locked.target(tree.target());
        let version = self.release.kube_version.as_deref().or(target.and_then(|target| target.kubernetes.as_deref()));
        let version = version.unwrap_or(KUBERNETES);
        let chart = if staged.contains_key(Path::new(ARCHIVE)) { ARCHIVE } else { CHART };
        let mut arguments: Vec<String> =
            ["template", &self.release.name, chart, "--kube-version", version].map(str::to_owned).into();
        arguments.extend(["--namespace".to_owned(), namespace.unwrap_or_else(|| NO_NAMESPACE.to_owned())]);
        let traits = self.traits(files);
        let served = target.into_iter().flat_map(|target| &target.api_versions).chain(api_versions);
        let served: BTreeSet<&String> = served.filter(|_| traits.reads_capabilities).collect();
        served
            .into_iter()
            .chain(&self.release.api_versions)
            .for_each(|version| arguments.extend(["--api-versions".to_owned(), version.clone()]));
        if self.release.include_crds {
            arguments.push("--include-crds".to_owned());
        }
        if !validates {
            arguments.push("--skip-schema-validation".to_owned());
        }
        let mut names: Vec<PathBuf> = values.map(|(place, _)| place).collect();
        if let Some(values) = &self.release.values {
            let place = Path::new(VALUES).join(format!("{}.yaml", names.len()));
            staged.insert(place.clone(), Cow::Owned(Value::from(values.clone()).to_string().into_bytes()));
            names.push(place);
        }
        for name in names {
            arguments.extend(["--values".to_owned(), name.display().to_string()]);
        }
        let runs = if traits.can_differ { Runs::Two } else { Runs::One };
        Ok(Job { source: self.file.clone(), part: self.part, engine: EngineKind::Helm, arguments, files: staged, runs })
    }

    /// Refuses files that make Helm read something outside of the chart, or that ask it to.
    fn refuse_outside(&self, files: &Files, validates: bool) -> Result<(), Vec<SourceError>> {
        let mut errors = Vec::new();
        for path in self.chart.staged.values() {
            let Some(bytes) = files.loaded().get(path) else { continue };
            errors.extend(actions::outside(path, bytes));
            if validates && path.ends_with(SCHEMA_FILE) {
                errors.extend(schema::outside(path, bytes));
            }
        }
        if let Some(opened) = &self.opened {
            let schemas = opened.schemas.iter().filter(|_| validates);
            let error = |message: &String| {
                SourceError::new(self.chart_place().clone(), format!("the chart cannot be used: {message}"))
            };
            errors.extend(opened.outside.iter().chain(schemas).map(error));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::archive;
    use super::*;
    use crate::render::lock::{ArchiveDigest, Lock};

    const CHART: [(&str, &str); 3] = [
        ("charts/web/Chart.yaml", "name: web"),
        ("charts/web/templates/x.yaml", "x"),
        ("charts/web/crds/c.yaml", "kind: CustomResourceDefinition"),
    ];

    fn loaded(release: &str, more: &[(&str, &str)]) -> (Tree, Files) {
        let mut files = Files::default();
        files.load(".ktor.yaml".into(), b"project: demo\nexclude: ['drafts/**']\n".into());
        files.load("a/web.helm.yaml".into(), release.into());
        for (path, text) in CHART.iter().chain(more) {
            files.load(path.into(), text.as_bytes().to_vec());
        }
        (Tree::load(files.loaded(), None).unwrap(), files)
    }

    fn job(
        release: &str,
        more: &[(&str, &str)],
        versions: &[&str],
    ) -> Result<(String, Vec<String>, Runs), Vec<String>> {
        let (tree, files) = loaded(release, more);
        let survey = Survey::of(&tree, &files, &Locked::default(), &BTreeSet::new());
        let entry = &survey.entries[0];
        let shown = |errors: &[SourceError]| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        if !entry.errors().is_empty() {
            return Err(shown(entry.errors()));
        }
        let versions = versions.iter().map(ToString::to_string).collect();
        let locked = Locked::default();
        let job = entry.job(&tree, (&files, &locked), &versions).map_err(|errors| shown(&errors))?;
        Ok((job.arguments.join(" "), job.files.keys().map(|path| path.display().to_string()).collect(), job.runs))
    }

    #[test]
    fn k4_a_release_that_is_no_yaml_is_an_error_at_its_place() {
        let errors = job("chart: ../charts/web\nname: [\n", &[], &[]).unwrap_err();
        assert!(errors.len() == 1 && errors[0].starts_with("a/web.helm.yaml:"), "{errors:?}");
    }

    #[test]
    fn k8_release_files_charts_and_values_are_no_manifests() {
        let release = "chart: ../charts/web\nname: web\nvalues-files: [v.yaml, ../values-prod.yaml]\n";
        let (tree, files) = loaded(
            release,
            &[
                ("a/v.yaml", "x: 1"),
                ("values-prod.yaml", "x: 1"),
                ("charts/other/Chart.yaml", "name: other"),
                ("charts/other/x.helm.yaml", "chart: ."),
                ("drafts/y.helm.yaml", "chart: ."),
                (".hidden/z.helm.yaml", "chart: ."),
                ("taken.helm.yaml", "chart: ."),
            ],
        );
        let survey = Survey::of(&tree, &files, &Locked::default(), &["taken.helm.yaml".into()].into());
        assert_eq!(survey.files, ["a/web.helm.yaml".into()].into());
        let covers = |path: &str| survey.covers(Path::new(path));
        assert!(covers("a/v.yaml") && covers("values-prod.yaml") && covers("charts/other/x.helm.yaml"));
        assert!(survey.reads(Path::new("charts/web/new.txt")) && !survey.reads(Path::new("charts/other/x.yaml")));
        assert!(covers("charts/web/crds/c.yaml") && !covers("charts/x.yaml") && !covers("a/x.yaml"));
        assert_eq!(survey.unused, ["charts/other/Chart.yaml".into()].into());
        let inputs: BTreeSet<&Path> = survey.entries[0].inputs().collect();
        assert_eq!(inputs, ["a/v.yaml", "charts/web", "values-prod.yaml"].map(Path::new).into());
        assert_eq!(survey.definitions().collect::<Vec<_>>(), [Path::new("charts/web/crds/c.yaml")]);
    }

    #[test]
    fn k1_the_arguments_of_helm_are_those_of_the_release() {
        let (arguments, files, runs) = job("chart: ../charts/web\nname: web\n", &[], &["a/v1"]).unwrap();
        assert_eq!(arguments, "template web ktor-chart --kube-version 1.35.0 --namespace default --include-crds");
        assert_eq!(files, ["ktor-chart/Chart.yaml", "ktor-chart/crds/c.yaml", "ktor-chart/templates/x.yaml"]);
        assert_eq!(runs, Runs::One);
        let release = "chart: ../charts/web\nname: web\nnamespace: shop\ninclude-crds: false\nschema: false\n\
                       kube-version: v1.30.0\napi-versions: [b/v1]\nvalues-file: v.yaml\nvalues: {a: 1}\n";
        let template = ("charts/web/templates/y.yaml", "{{ .Capabilities.APIVersions }} {{ randAlpha 5 }}");
        let (arguments, files, runs) = job(release, &[("a/v.yaml", "x: 1"), template], &["a/v1"]).unwrap();
        assert_eq!(
            arguments,
            "template web ktor-chart --kube-version v1.30.0 --namespace shop --api-versions a/v1 --api-versions b/v1 \
             --skip-schema-validation --values ktor-values/0.yaml --values ktor-values/1.yaml"
        );
        assert!(files.ends_with(&["ktor-values/0.yaml".into(), "ktor-values/1.yaml".into()]), "{files:?}");
        assert_eq!(runs, Runs::Two);
    }

    #[test]
    fn k7_charts_are_told_the_cluster_of_the_target_and_archives_are_opened() {
        let lock = "targets: {prod: {kubernetes: 1.36.2, apiVersions: [z/v1, a/v1]}}";
        let lock = Lock::parse(Path::new(".ktor.lock"), lock.as_bytes()).unwrap();
        let locked = Locked { lock: Some(lock), ..Locked::default() };
        let told = |template: &str, more: &str, target: &str| {
            let mut files = Files::default();
            files.load(".ktor.yaml".into(), b"project: demo\ntargets: {prod: {}, dev: {}}\n".into());
            files.load("web.helm.yaml".into(), format!("chart: web.tgz\nname: web\n{more}").into());
            let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {group: own.dev, names: \
                       {kind: Own}, versions: [{name: v1}]}";
            let chart = [("web/Chart.yaml", "name: web"), ("web/crds/x.yaml", crd), ("web/templates/x.yaml", template)];
            files.load("web.tgz".into(), archive(&chart));
            let tree = Tree::load(files.loaded(), Some(target)).unwrap();
            let mut survey = Survey::of(&tree, &files, &locked, &BTreeSet::new());
            survey.open(&files, &locked);
            let versions = survey.archived_definitions().cloned().collect();
            let job = survey.entries[0].job(&tree, (&files, &locked), &versions);
            let job = job.map_err(|errors| errors[0].to_string())?;
            Ok::<_, String>((job.arguments[3..].join(" "), job.runs))
        };
        let capabilities = "{{ .Capabilities.APIVersions }}";
        let (arguments, runs) = told(capabilities, "", "prod").unwrap();
        assert_eq!(
            arguments,
            "--kube-version 1.36.2 --namespace default --api-versions a/v1 --api-versions own.dev/v1 --api-versions \
             own.dev/v1/Own --api-versions z/v1 --include-crds"
        );
        assert_eq!(runs, Runs::One);
        let (arguments, _) = told("x", "kube-version: 1.30.0\n", "prod").unwrap();
        assert_eq!(arguments, "--kube-version 1.30.0 --namespace default --include-crds");
        assert!(told("x", "", "dev").unwrap().0.starts_with("--kube-version 1.35.0"));
        assert_eq!(told("{{ uuidv4 }}", "", "dev").unwrap().1, Runs::Two);
        let error = told("{{ .Files.Get \"../x\" }}", "", "dev").unwrap_err();
        assert!(
            error.starts_with("web.helm.yaml:1:1: the chart cannot be used: templates/x.yaml:1:4: the template reads"),
            "{error}"
        );
    }

    #[test]
    fn k7_only_the_archive_that_was_locked_is_rendered() {
        let bytes = archive(&[("web/Chart.yaml", "name: web"), ("web/templates/x.yaml", "x")]);
        let digest = ArchiveDigest::of(&bytes);
        let text = format!(
            "charts: [{{repository: https://x, chart: web, version: 1.0.0, url: https://x/web.tgz, sha256: '{digest}'}}]"
        );
        let lock = Lock::parse(Path::new(".ktor.lock"), text.as_bytes()).unwrap();
        let check = |vendored: Option<&[u8]>, fetched: Option<Result<&[u8], &str>>| {
            let release = "repository: https://x\nchart: web\nversion: 1.0.0\nname: web\n";
            let (tree, mut files) = loaded(release, &[]);
            if let Some(bytes) = vendored {
                files.load(digest.vendored_path(), bytes.to_vec());
            }
            let fetched = fetched.map(|fetched| (digest.clone(), fetched.map(<[u8]>::to_vec).map_err(str::to_owned)));
            let locked = Locked { lock: Some(lock.clone()), archives: fetched.into_iter().collect() };
            let mut survey = Survey::of(&tree, &files, &locked, &BTreeSet::new());
            assert!(survey.paths.contains(&digest.vendored_path()) && survey.reads(&digest.vendored_path()));
            survey.open(&files, &locked);
            let entry = &survey.entries[0];
            if let Some(error) = entry.errors().first() {
                return Err(error.to_string());
            }
            let job = entry.job(&tree, (&files, &locked), &BTreeSet::new()).unwrap();
            assert_eq!(job.arguments[2], ARCHIVE);
            Ok(job.files[Path::new(ARCHIVE)].to_vec())
        };
        let other = archive(&[("web/Chart.yaml", "name: other")]);
        assert_eq!(check(Some(&bytes), None), Ok(bytes.clone()));
        assert_eq!(check(None, Some(Ok(&bytes))), Ok(bytes.clone()));
        for (found, expected) in [
            (check(Some(&other), Some(Ok(&bytes))), "the bytes of .ktor/charts/"),
            (
                check(None, Some(Ok(&other))),
                "the bytes of the chart web 1.0.0 of https://x changed since they were locked",
            ),
            (check(None, Some(Err("failed to fetch it"))), "failed to fetch it"),
            (check(None, None), "the archive of the chart web 1.0.0 of https://x was not fetched: run again"),
        ] {
            let error = found.unwrap_err();
            assert!(error.starts_with(&format!("a/web.helm.yaml:2:1: {expected}")), "{error}");
        }
    }

    #[test]
    fn k3_a_release_that_reads_outside_of_the_tree_is_no_job() {
        let release = "chart: ../charts/web\nname: web\n";
        let schema = ("charts/web/values.schema.json", r#"{"$ref": "file:///etc/passwd"}"#);
        let error = job(release, &[schema], &[]).unwrap_err();
        assert!(
            error[0].starts_with("charts/web/values.schema.json:1:10: the schema refers to file:///etc"),
            "{error:?}"
        );
        assert!(job(&format!("{release}schema: false\n"), &[schema], &[]).is_ok());
        let template = ("charts/web/templates/y.yaml", "{{ .Files.Get \"../../x\" }}");
        assert!(
            job(release, &[template], &[]).unwrap_err()[0].starts_with("charts/web/templates/y.yaml:1:4: the template")
        );
        let outside = job("chart: ../charts/web\nname: web\nvalues-file: ../../x\n", &[], &[]).unwrap_err();
        assert_eq!(
            outside,
            ["a/web.helm.yaml:3:1: the file of values is outside the repository: put it into the tree"]
        );
        let values = ("a/v.yaml", "a: b\nc: {${ ktor.x }$}");
        let error = job(&format!("{release}values-file: v.yaml\n"), &[values], &[]).unwrap_err();
        assert_eq!(
            error,
            ["a/v.yaml:2:4: a template in a file of values cannot be rendered yet: write the value itself"]
        );
    }

    #[test]
    fn k1_a_release_without_all_its_files_is_no_job() {
        let (tree, mut files) = loaded("chart: ../charts/web\nname: web\nvalues-file: v.yaml\n", &[]);
        files.list("charts/web/later.txt".into());
        let survey = Survey::of(&tree, &files, &Locked::default(), &BTreeSet::new());
        let error = survey.entries[0].job(&tree, (&files, &Locked::default()), &BTreeSet::new()).unwrap_err();
        assert_eq!(error[0].to_string(), "charts/web/later.txt: the file was not read: run again");
        assert!(
            survey.paths.contains(Path::new("a/v.yaml")) && survey.paths.contains(Path::new("charts/web/later.txt"))
        );
        files.set_absent("a/v.yaml".into());
        let survey = Survey::of(&tree, &files, &Locked::default(), &BTreeSet::new());
        assert_eq!(
            survey.entries[0].errors()[0].to_string(),
            "a/web.helm.yaml:3:1: there is no such file of values: correct the path"
        );
    }
}

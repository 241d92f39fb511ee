//! Renders the files of a tree into objects. Also reads the work tree, and YAML with kubectl's meaning.
//!
//! A caller asks [`wanted`] for the files to load, loads them, and repeats this until nothing is wanted. Then it runs
//! the [`jobs`] and calls [`render`] with their outputs. All three are pure: the files come from a work tree or from a
//! commit, and the result is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::object::manifest::Document;
use crate::process::engine::EngineKind;
use crate::project::files::Files;
use crate::project::inputs::Inputs;
use crate::project::settings::is_settings;
use crate::project::snapshot::{Failure, SourceError, SourcePlace};
use crate::project::tree::{Owner, Tree};
use job::{Job, JobId, JobOutput, Outputs};
use kustomize::{OutputReader, is_own};
use lock::{LOCK_FILE, Locked, LockedChart, RemoteChart};
use template::Templates;
use value::Conflict;
use yaml::ValueBudget;

pub(crate) mod address;
pub(crate) mod difference;
mod helm;
pub mod job;
mod kustomize;
pub(crate) mod lock;
mod plain;
pub mod source;
pub mod stage;
pub(crate) mod template;
pub(crate) mod value;
pub mod yaml;

/// The objects of a tree, with the failures and the inputs of all projects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rendered {
    /// The objects, in the order of their sources.
    pub(crate) documents: Vec<Document>,
    /// The failures, one for each source that cannot be rendered.
    pub(crate) failures: Vec<Failure>,
    /// The inputs of each project, including the sources that failed.
    pub(crate) inputs: Inputs,
    /// The values for templates that replaced values of another kind.
    pub(crate) conflicts: BTreeSet<Conflict>,
    /// The files that could be manifests, but that a kustomization covers and does not use.
    pub(crate) unused: BTreeSet<PathBuf>,
    /// The facts about Helm releases that a reader of a plan has to know.
    pub(crate) releases: ReleaseFacts,
    survey: Survey,
}

/// The facts about Helm releases that a reader of a plan has to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReleaseFacts {
    /// The files of charts that no release uses.
    pub(crate) unused_charts: BTreeSet<PathBuf>,
    /// The numbers of hooks that are never applied, by release file.
    pub(crate) never_applied: BTreeMap<PathBuf, usize>,
    /// The numbers of hooks that a policy leaves out, by release file.
    pub(crate) skipped: BTreeMap<PathBuf, usize>,
    /// The release files whose charts read the clock.
    pub(crate) reads_time: BTreeSet<PathBuf>,
    /// The release files whose charts ask if they are installed or upgraded.
    pub(crate) reads_revision: BTreeSet<PathBuf>,
}

/// The sources of a tree that an engine renders, as far as they are known from the loaded files.
#[derive(Clone, Debug, Default)]
struct Survey {
    kustomize: kustomize::Survey,
    helm: helm::Survey,
}

impl Survey {
    fn of(tree: &Tree, files: &Files, locked: &Locked) -> Self {
        let charts = helm::chart_directories(tree, files);
        let kustomize = kustomize::Survey::of(tree, files, &|path| helm::is_in(&charts, path));
        let helm = helm::Survey::of(tree, files, locked, &kustomize.paths);
        Self { kustomize, helm }
    }

    /// The paths that any source can read.
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.kustomize.paths.iter().chain(&self.helm.paths)
    }

    /// Returns `true` if an engine renders the file, or the file is a part of such a source.
    fn covers(&self, path: &Path) -> bool {
        self.kustomize.covers(path) || self.helm.covers(path)
    }

    /// Returns `true` if a file is a plain manifest or a template.
    fn is_plain(&self, tree: &Tree, path: &Path) -> bool {
        is_own(path) && !self.covers(path) && (tree.is_manifest(path) || template::is_template(tree, path))
    }

    /// Returns the API versions that the custom resource definitions of the tree define, if a chart asks for them.
    fn api_versions(&self, tree: &Tree, files: &Files) -> BTreeSet<String> {
        if !self.helm.entries.iter().any(|entry| entry.traits(files).reads_capabilities) {
            return BTreeSet::new();
        }
        let plain = files.paths().iter().map(PathBuf::as_path).filter(|path| self.is_plain(tree, path));
        let used = self.kustomize.paths.iter().map(PathBuf::as_path);
        let mut found = helm::defined(files, plain.chain(used).chain(self.helm.definitions()));
        found.extend(self.helm.archived_definitions().cloned());
        found
    }
}

impl Rendered {
    /// Returns `true` if a file with this path would be read.
    pub(crate) fn reads(&self, tree: &Tree, path: &Path) -> bool {
        is_settings(path)
            || path == Path::new(LOCK_FILE)
            || self.survey.is_plain(tree, path)
            || self.survey.kustomize.paths.contains(path)
            || self.survey.helm.reads(path)
            || tree.names_values(path)
    }

    /// Returns the paths outside the root directory, and in hidden directories, that were asked for.
    pub(crate) fn beyond(&self) -> impl Iterator<Item = &Path> {
        self.survey.paths().map(PathBuf::as_path).filter(|path| !is_own(path))
    }
}

/// Returns the paths that rendering needs, as far as they are known from the loaded files, and that no reader has
/// answered for yet.
pub(crate) fn wanted(tree: &Tree, files: &Files, locked: &Locked) -> BTreeSet<PathBuf> {
    let survey = Survey::of(tree, files, locked);
    let mut wanted = files.selected(&|path| survey.is_plain(tree, path));
    wanted.extend(template::wanted(tree, files, &|path| survey.covers(path)));
    wanted.extend(survey.paths().cloned());
    wanted.retain(|path| !files.is_answered(path));
    wanted
}

/// Returns the charts of the lock that releases use and whose archives are not in the tree. The caller fetches them.
pub(crate) fn unfetched(tree: &Tree, files: &Files, locked: &Locked) -> Vec<LockedChart> {
    let survey = Survey::of(tree, files, locked);
    let usable = survey.helm.entries.iter().filter(|entry| entry.errors().is_empty());
    let charts: BTreeSet<&LockedChart> = usable.flat_map(helm::Entry::locked).collect();
    let is_absent = |chart: &&LockedChart| !files.loaded().contains_key(&chart.sha256.vendored_path());
    charts.into_iter().filter(is_absent).cloned().collect()
}

/// Checks that bytes are the archive of a chart.
///
/// # Errors
///
/// They are not. The error is the reason.
pub(crate) fn check_archive(bytes: &[u8]) -> Result<(), String> {
    helm::Archive::read(bytes, &mut usize::MAX.clone()).map(drop).map_err(|error| error.to_string())
}

/// The things that a lock of a tree has to name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lockable {
    /// The charts that are not in the tree, each with a place that names it.
    pub(crate) charts: BTreeMap<RemoteChart, SourcePlace>,
    /// The engines that render something.
    pub(crate) engines: BTreeSet<EngineKind>,
    /// The errors of releases whose charts cannot be told.
    pub(crate) errors: BTreeSet<SourceError>,
}

impl Lockable {
    /// Adds what the sources of a tree need. The settings and the release files are loaded.
    pub(crate) fn add(&mut self, tree: &Tree, files: &Files) {
        let survey = Survey::of(tree, files, &Locked::default());
        self.engines.extend((!survey.kustomize.entries.is_empty()).then_some(EngineKind::Kustomize));
        self.engines.extend((!survey.helm.entries.is_empty()).then_some(EngineKind::Helm));
        for entry in &survey.helm.entries {
            for (chart, place) in entry.remote() {
                self.charts.entry(chart.clone()).or_insert_with(|| place.clone());
            }
            self.errors.extend(entry.errors().iter().filter(|_| !entry.has_chart()).cloned());
        }
    }
}

/// Returns the jobs of a tree. A source that has an error has no job.
pub(crate) fn jobs<'a>(tree: &Tree, files: &'a Files, locked: &'a Locked) -> Vec<Job<'a>> {
    let mut survey = Survey::of(tree, files, locked);
    survey.helm.open(files, locked);
    let entries = survey.kustomize.entries.iter().filter(|entry| entry.errors().is_empty());
    let builds = entries.filter_map(|entry| entry.job(tree, files).ok());
    let versions = survey.api_versions(tree, files);
    let releases = survey.helm.entries.iter().filter(|entry| entry.errors().is_empty());
    builds.chain(releases.filter_map(|entry| entry.job(tree, (files, locked), &versions).ok())).collect()
}

/// Renders every source of a tree.
///
/// The result depends only on the arguments. A source that cannot be rendered, or whose files or output are missing, is
/// a failure of its project. The other sources are still rendered.
pub(crate) fn render(tree: &Tree, files: &Files, locked: &Locked, outputs: &Outputs) -> Rendered {
    let mut survey = Survey::of(tree, files, locked);
    survey.helm.open(files, locked);
    let mut rendered = Rendered { inputs: Inputs::of_settings(tree), ..Rendered::default() };
    let mut budget = ValueBudget::default();
    let mut templates = Templates::new(tree, files, &|path| survey.covers(path));
    for path in files.paths().iter().filter(|path| survey.is_plain(tree, path)) {
        if templates.uses(path) {
            continue;
        }
        let owner = tree.owner_of(path);
        let found = if template::is_template(tree, path) {
            templates.add_inputs(path, &owner, &mut rendered.inputs);
            templates.documents(path, &owner, &mut budget)
        } else {
            rendered.inputs.add_source(&owner.project, path);
            documents(path, files, &owner, &mut budget)
        };
        match found {
            Ok(found) => rendered.documents.extend(found),
            Err(error) => rendered.failures.push(Failure { project: owner.project, error }),
        }
    }
    rendered.conflicts = templates.into_conflicts();
    let mut reader = OutputReader::new(tree, files);
    for entry in &survey.kustomize.entries {
        let project = tree.owner_of(&entry.file).project;
        rendered.inputs.add_source(&project, &entry.file);
        rendered.add_engine(&entry.file, EngineKind::Kustomize, locked);
        entry.inputs().for_each(|path| rendered.inputs.add(&project, path.to_owned()));
        match built(entry, tree, files, outputs, &mut reader, &mut budget) {
            Ok(found) => rendered.documents.extend(found),
            Err(errors) => rendered.fail(&entry.file, tree, errors),
        }
    }
    rendered.add_releases(&survey, tree, (files, locked), outputs, &mut budget);
    let is_unused = |path: &Path| {
        let is_covered = survey.kustomize.covers(path) && !survey.helm.covers(path);
        is_own(path) && tree.is_manifest(path) && is_covered && !survey.kustomize.paths.contains(path)
    };
    rendered.unused = files.selected(&is_unused);
    rendered.releases.unused_charts.clone_from(&survey.helm.unused);
    rendered.survey = survey;
    rendered
}

impl Rendered {
    fn fail(&mut self, file: &Path, tree: &Tree, errors: impl IntoIterator<Item = SourceError>) {
        let project = tree.owner_of(file).project;
        let failure = |error| Failure { project: project.clone(), error };
        self.failures.extend(errors.into_iter().map(failure));
    }

    /// Adds the version that the lock wants of an engine, on which a source depends.
    fn add_engine(&mut self, file: &Path, kind: EngineKind, locked: &Locked) {
        if let Some(version) = locked.engine(kind) {
            self.inputs.add_fact(file, format!("{kind} {version}"));
        }
    }

    /// Adds the objects of the Helm releases of a tree, with their failures, inputs and facts.
    fn add_releases(
        &mut self,
        survey: &Survey,
        tree: &Tree,
        (files, locked): (&Files, &Locked),
        outputs: &Outputs,
        budget: &mut ValueBudget,
    ) {
        for file in &survey.helm.files {
            self.inputs.add_source(&tree.owner_of(file).project, file);
        }
        let versions = survey.api_versions(tree, files);
        let told = versions.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        for entry in &survey.helm.entries {
            let (file, project) = (&entry.file, tree.owner_of(&entry.file).project);
            entry.inputs().for_each(|path| self.inputs.add(&project, path.to_owned()));
            let traits = entry.traits(files);
            if traits.reads_capabilities {
                self.inputs.add_fact(file, told.clone());
            }
            self.add_engine(file, EngineKind::Helm, locked);
            if let Some(target) = locked.target(tree.target()) {
                self.inputs.add_fact(file, format!("{:?} {:?}", target.kubernetes, target.api_versions));
            }
            for LockedChart { chart, url, sha256 } in entry.locked() {
                self.inputs.add_fact(file, format!("{chart} {} {sha256}", url.as_str()));
            }
            match released(entry, tree, (files, locked), &versions, outputs, budget) {
                Ok(found) => {
                    self.documents.extend(found.documents);
                    let facts = &mut self.releases;
                    for (counts, count) in
                        [(&mut facts.never_applied, found.never), (&mut facts.skipped, found.skipped)]
                    {
                        if count > 0 {
                            *counts.entry(file.clone()).or_default() += count;
                        }
                    }
                    for (found, is_found) in
                        [(&mut facts.reads_time, traits.reads_time), (&mut facts.reads_revision, traits.reads_revision)]
                    {
                        if is_found {
                            found.insert(file.clone());
                        }
                    }
                }
                Err(errors) => self.fail(file, tree, errors),
            }
        }
    }
}

/// Returns the objects of a kustomization.
fn built(
    entry: &kustomize::Entry,
    tree: &Tree,
    files: &Files,
    outputs: &Outputs,
    reader: &mut OutputReader<'_>,
    budget: &mut ValueBudget,
) -> Result<Vec<Document>, BTreeSet<SourceError>> {
    if !entry.errors().is_empty() {
        return Err(entry.errors().iter().cloned().collect());
    }
    let one = |error| BTreeSet::from([error]);
    entry.job(tree, files).map_err(one)?;
    match printed(outputs, &entry.id(), "the kustomization was not built: run again").map_err(one)? {
        Printed::Once(printed) => reader.documents(entry, printed, budget).map_err(one),
        Printed::Differently(printed, _) => reader.documents(entry, printed, budget).map_err(one),
        Printed::Refused(message) => Err(one(reader.refusal(entry, message))),
    }
}

/// Returns the objects of a Helm release.
fn released(
    entry: &helm::Entry,
    tree: &Tree,
    (files, locked): (&Files, &Locked),
    api_versions: &BTreeSet<String>,
    outputs: &Outputs,
    budget: &mut ValueBudget,
) -> Result<helm::Found, BTreeSet<SourceError>> {
    if !entry.errors().is_empty() {
        return Err(entry.errors().iter().cloned().collect());
    }
    let one = |error| BTreeSet::from([error]);
    entry.job(tree, (files, locked), api_versions).map_err(BTreeSet::from_iter)?;
    match printed(outputs, &entry.id(), "the release was not rendered: run again").map_err(one)? {
        Printed::Once(printed) => helm::documents(entry, tree, printed, budget).map_err(one),
        Printed::Differently(first, second) => match helm::random(entry, first, second, budget) {
            Some(error) => Err(one(error)),
            None => helm::documents(entry, tree, first, budget).map_err(one),
        },
        Printed::Refused(message) => Err(one(helm::refusal(entry, files, message))),
    }
}

/// The text that an engine printed.
enum Printed<'a> {
    Once(&'a [u8]),
    Differently(&'a [u8], &'a [u8]),
    Refused(&'a str),
}

/// Returns what an engine printed for a job, or the error of a job without output.
fn printed<'a>(outputs: &'a Outputs, id: &JobId, missing: &str) -> Result<Printed<'a>, SourceError> {
    let failed = |message: &str| Err(SourceError::new(SourcePlace::whole(&id.0), message));
    match outputs.get(id).map(|output| &**output) {
        Some(JobOutput::Printed(printed)) => Ok(Printed::Once(printed)),
        Some(JobOutput::Differed(first, second)) => Ok(Printed::Differently(first, second)),
        Some(JobOutput::Refused(message)) => Ok(Printed::Refused(message)),
        Some(JobOutput::NotRun(message)) => failed(message),
        None => failed(missing),
    }
}

/// Renders one source.
fn documents(
    path: &Path,
    files: &Files,
    owner: &Owner,
    budget: &mut ValueBudget,
) -> Result<Vec<Document>, SourceError> {
    let error = |message: &str| SourceError::new(SourcePlace::whole(path), message);
    // A file that is missing here must not count as empty, because then its objects would be deleted.
    let bytes = files.loaded().get(path).ok_or_else(|| error("the file was not read: run again"))?;
    template::refuse_variables(path, bytes)?;
    plain::manifests(path, bytes, owner, budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(files: &[(&str, &str)]) -> Files {
        let mut loaded = Files::default();
        for (path, text) in files {
            loaded.load(path.into(), (*text).into());
        }
        loaded
    }

    #[test]
    fn manifests_are_wanted_until_a_reader_answers_and_fail_if_they_are_not_loaded() {
        let mut files = loaded(&[(".ktor.yaml", "project: demo\nexclude: [x.yaml]\n")]);
        for path in ["a.yaml", "b/c.yaml", "x.yaml", "notes.txt"] {
            files.list(path.into());
        }
        let tree = Tree::load(files.loaded(), None).unwrap();
        assert_eq!(wanted(&tree, &files, &Locked::default()), ["a.yaml", "b/c.yaml"].map(PathBuf::from).into());
        files.load("a.yaml".into(), b"{apiVersion: v1, kind: Namespace, metadata: {name: x}}".into());
        assert_eq!(wanted(&tree, &files, &Locked::default()), ["b/c.yaml"].map(PathBuf::from).into());
        files.set_absent("b/c.yaml".into());
        assert!(wanted(&tree, &files, &Locked::default()).is_empty());
        let rendered = render(&tree, &files, &Locked::default(), &Outputs::default());
        assert_eq!(rendered.documents.len(), 1);
        let failures: Vec<_> = rendered.failures.iter().map(|failure| failure.error.to_string()).collect();
        assert_eq!(failures, ["b/c.yaml: the file was not read: run again"]);
    }

    #[test]
    fn every_source_has_an_owner_and_is_an_input_even_if_it_fails() {
        let files = [
            (".ktor.yaml", "project: demo\nnamespace: shop\n"),
            ("a/.ktor.yaml", "project: a\n"),
            ("a/x.yaml", "{apiVersion: v1, kind: Secret, metadata: {name: x}}"),
            ("a/y.yaml", "- broken"),
            ("web.helm.yaml", "chart: x"),
            ("notes.txt", "nothing"),
        ];
        let files = loaded(&files);
        let tree = Tree::load(files.loaded(), None).unwrap();
        let rendered = render(&tree, &files, &Locked::default(), &Outputs::default());
        let owners: Vec<_> = rendered.documents.iter().map(|document| &document.owner).collect();
        assert_eq!(owners, [&tree.owner_of(Path::new("a/x.yaml"))]);
        assert_eq!(owners[0].namespace.as_deref(), Some("shop"));
        let failed: Vec<_> =
            rendered.failures.iter().map(|failure| format!("{} {}", failure.project, failure.error)).collect();
        assert_eq!(failed.len(), 3, "{failed:?}");
        assert!(failed[0].starts_with("demo.a a/y.yaml:1:1: expected an object"), "{failed:?}");
        assert!(failed[1].starts_with("demo web.helm.yaml:1:1: the release has no `name`"), "{failed:?}");
        let of = |project: &str| -> Vec<String> {
            rendered.inputs.of(&project.parse().unwrap()).map(|path| path.display().to_string()).collect()
        };
        assert_eq!(of("demo"), [".ktor.yaml", "web.helm.yaml", "x"]);
        assert_eq!(of("demo.a"), [".ktor.yaml", "a/.ktor.yaml", "a/x.yaml", "a/y.yaml"]);
    }
}

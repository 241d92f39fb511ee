//! The project tree: the project of each directory, and the settings that apply there. `.ktor.yaml` files define it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::dns::{LABEL_ADVICE, is_label};
use super::field_rule::{FieldPointer, FieldRule, KindPattern};
use super::path::{ProjectPath, Segment};
use super::pointer::Pointer;
use super::settings::{
    HelmSettings, KustomizeSettings, LoadRestrictions, SETTINGS_FILE, Settings, Stated, TargetSettings, is_settings,
};
use super::snapshot::{Snapshot, SourceError, SourcePlace};
use super::target::{TargetError, Targets};
use super::values::{ValuesSetting, ValuesSource};

/// The namespace of the state and the lock if no setting names one.
pub(crate) const DEFAULT_STATE_NAMESPACE: &str = "kubernator-system";

/// The maximum length of the name of a root. The name is part of the field manager, which can have 128 characters.
const LONGEST_ROOT: usize = 120;

const DEFAULT_INCLUDES: [&str; 3] = ["*.yaml", "*.yml", "*.json"];

/// The settings of the root that apply to the whole tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootSettings {
    /// `On` if objects that are no longer desired are deleted.
    pub cleanup: Cleanup,
    /// The namespace of the state and the lock.
    pub state_namespace: String,
    /// The fields that are secret in addition to those of Secrets, such as `/spec/password`.
    pub redact: Vec<Pointer>,
    /// The rules for fields that other managers set.
    pub fields: Vec<FieldRule>,
    /// The managers, or tools by their short names, whose objects this root treats as its own.
    pub adopt_managers: Vec<String>,
}

/// The treatment of objects that are no longer desired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// ktor deletes them.
    On,
    /// ktor keeps them, and keeps them recorded.
    Off,
}

/// The project of an object, and the namespace for the object if it names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The project.
    pub project: ProjectPath,
    /// The namespace. `None` if no setting names one.
    pub namespace: Option<String>,
    /// `true` if the newest older generation of a generated object stays.
    pub keeps_previous: bool,
}

/// A directory with a settings file, and its settings together with those that it inherits.
#[derive(Clone, Debug)]
struct Directory {
    project: ProjectPath,
    /// `true` if this directory names its project. `false` if it belongs to the project above it.
    names_project: bool,
    namespace: Option<String>,
    include: Globs,
    exclude: Vec<Globs>,
    /// The files that are templates. `None` if no setting names any.
    templates: Option<Globs>,
    /// The values for templates. A later part is merged over the parts before it.
    values: Vec<ValuesSource>,
    /// The inputs, normalized and relative to the root directory. They may begin with `..`.
    inputs: Vec<PathBuf>,
    kustomize: KustomizeSettings,
    helm: HelmSettings,
}

#[derive(Clone, Debug)]
struct Globs {
    base: PathBuf,
    set: GlobSet,
}

impl Globs {
    fn matches(&self, path: &Path) -> bool {
        path.strip_prefix(&self.base).is_ok_and(|below| {
            self.set.is_match(below) || below.file_name().is_some_and(|name| self.set.is_match(Path::new(name)))
        })
    }
}

/// A project tree.
#[derive(Clone, Debug)]
pub struct Tree {
    settings: RootSettings,
    root: ProjectPath,
    directories: BTreeMap<PathBuf, Directory>,
    targets: Targets,
    /// The values of the target that the tree is read for. They are merged over those of every directory.
    target_values: Vec<ValuesSource>,
    /// The files with values that any directory or target names.
    values_files: BTreeSet<PathBuf>,
}

impl Tree {
    /// Loads a tree from its settings files, as it is for a target. Other files are ignored. A tree that declares targets
    /// is complete only for one of them, see [`Tree::check_target`].
    ///
    /// # Errors
    ///
    /// The errors in all settings files, in the order of the files.
    pub fn load(files: &Snapshot, target: Option<&str>) -> Result<Self, Vec<SourceError>> {
        let settings_files = files.iter().filter(|(path, _)| is_settings(path));
        let mut errors = Vec::new();
        let mut parsed: BTreeMap<PathBuf, (&Path, Settings)> = BTreeMap::new();
        for (path, bytes) in settings_files {
            match Settings::parse(path, bytes) {
                Ok(settings) => {
                    parsed.insert(path.parent().unwrap_or(Path::new("")).to_owned(), (path, settings));
                }
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let Some((root_path, root_settings)) = parsed.get(Path::new("")) else {
            return Err(vec![SourceError::new(
                SourcePlace::whole(SETTINGS_FILE),
                "there is no .ktor.yaml with `project: NAME` here, so this directory is no project: add one, or name \
                 the project's directory with -p",
            )]);
        };
        let one = |error| vec![error];
        let targets = Targets::declared(root_path, root_settings, target).map_err(one)?;
        let chosen = targets.chosen().and_then(|chosen| chosen_settings(root_settings, chosen));
        let root = root_name(root_path, root_settings, chosen).map_err(one)?;
        for (path, settings) in parsed.values() {
            errors.extend(wrong_namespaces(path, settings));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let settings = RootSettings {
            cleanup: match root_settings.cleanup {
                Some(Stated { value: true, .. }) => Cleanup::On,
                _ => Cleanup::Off,
            },
            state_namespace: value_of(root_settings.state_namespace.as_ref())
                .unwrap_or_else(|| DEFAULT_STATE_NAMESPACE.to_owned()),
            redact: pointers(root_path, root_settings)?,
            fields: field_rules(root_path, root_settings).map_err(|error| vec![error])?,
            adopt_managers: root_settings.adopt_managers.as_ref().map(|names| names.value.clone()).unwrap_or_default(),
        };
        let (directories, target_values, values_files) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        let mut tree = Self { settings, root, directories, targets, target_values, values_files };
        tree.read_target_values(root_path, root_settings).map_err(one)?;
        let mut named: BTreeMap<ProjectPath, &Path> = BTreeMap::new();
        // The map lists every directory after the directories above it.
        for (directory, (path, settings)) in &parsed {
            let left_out = tree.targets.leave_out(directory, path, settings.only.as_deref());
            match left_out.and_then(|_| tree.directory(directory, path, settings)) {
                Ok(entry) => {
                    if entry.names_project
                        && let Some(first) = named.insert(entry.project.clone(), path)
                    {
                        let place =
                            settings.project.as_ref().map_or(SourcePlace::whole(*path), |name| name.place(path));
                        let message = format!(
                            "project {} is named by {} already: give one of them another name",
                            entry.project,
                            first.display()
                        );
                        errors.push(SourceError::new(place, message));
                    }
                    tree.values_files.extend(values_files_of(&entry.values));
                    tree.directories.insert(directory.clone(), entry);
                }
                Err(error) => errors.push(error),
            }
        }
        // Each directory was read, so that a mistake in it shows, whatever the target is.
        let targets = &tree.targets;
        tree.directories.retain(|directory, _| !targets.excludes(&directory.join(SETTINGS_FILE)));
        if errors.is_empty() { Ok(tree) } else { Err(errors) }
    }

    /// Reads the values that the targets name.
    fn read_target_values(&mut self, path: &Path, settings: &Settings) -> Result<(), SourceError> {
        for (name, target) in settings.targets.iter().flat_map(|targets| &targets.value) {
            let Some(setting) = target.as_ref().and_then(|target| target.values.as_ref()) else { continue };
            let values = values_sources(setting, path, Path::new(""), Some(name))?;
            self.values_files.extend(values_files_of(&values));
            if self.targets.chosen() == Some(name) {
                self.target_values = values;
            }
        }
        Ok(())
    }

    fn directory(&self, directory: &Path, path: &Path, settings: &Settings) -> Result<Directory, SourceError> {
        let above = directory.parent().and_then(|parent| self.nearest(parent));
        let is_root = directory.as_os_str().is_empty();
        if !is_root {
            refuse_root_keys(path, settings)?;
        } else if let Some(first) = settings.only.iter().flatten().next() {
            let message = "`only` is set below the root: the whole tree cannot be for some targets alone";
            return Err(SourceError::new(first.place(path), message));
        }
        let project = match (&settings.project, above) {
            (Some(name), Some(above)) => above.project.child(&segment(path, name)?),
            (None, Some(above)) => above.project.clone(),
            (_, None) => self.root.clone(),
        };
        let include = match (&settings.include, above) {
            (Some(patterns), _) => globs(path, directory, patterns)?,
            (None, Some(above)) => above.include.clone(),
            (None, None) => default_includes(path)?,
        };
        let mut exclude = above.map(|above| above.exclude.clone()).unwrap_or_default();
        if let Some(patterns) = &settings.exclude {
            exclude.push(globs(path, directory, patterns)?);
        }
        let templates = match (&settings.templates, above) {
            (Some(patterns), _) => Some(globs(path, directory, patterns)?),
            (None, above) => above.and_then(|above| above.templates.clone()),
        };
        let mut values = above.map(|above| above.values.clone()).unwrap_or_default();
        if let Some(setting) = &settings.values {
            values.extend(values_sources(setting, path, directory, None)?);
        }
        let inputs = settings.inputs.iter().flatten().map(|input| normalized(&directory.join(&input.value))).collect();
        Ok(Directory {
            project,
            names_project: is_root || settings.project.is_some(),
            namespace: value_of(settings.namespace.as_ref())
                .or_else(|| above.and_then(|above| above.namespace.clone())),
            include,
            exclude,
            templates,
            values,
            inputs,
            kustomize: {
                let [own, above] =
                    [settings.kustomize, above.map(|above| above.kustomize)].map(Option::unwrap_or_default);
                KustomizeSettings {
                    load_restrictions: own.load_restrictions.or(above.load_restrictions),
                    keep_previous: own.keep_previous.or(above.keep_previous),
                }
            },
            helm: settings.helm.or_else(|| above.map(|above| above.helm)).unwrap_or_default(),
        })
    }

    /// Returns the settings that apply in a directory: its own, or those of the nearest directory above it.
    fn nearest(&self, directory: &Path) -> Option<&Directory> {
        directory.ancestors().find_map(|ancestor| self.directories.get(ancestor))
    }

    fn of_file(&self, file: &Path) -> Option<&Directory> {
        file.parent().and_then(|directory| self.nearest(directory))
    }

    /// The root project.
    pub fn root(&self) -> &ProjectPath {
        &self.root
    }

    /// The settings of the root that apply to the whole tree.
    pub fn settings(&self) -> &RootSettings {
        &self.settings
    }

    /// The projects of the tree.
    pub fn projects(&self) -> BTreeSet<ProjectPath> {
        self.directories.values().map(|directory| directory.project.clone()).collect()
    }

    /// Returns `true` if a file with this path can contain manifests.
    pub(crate) fn is_manifest(&self, file: &Path) -> bool {
        !self.is_hidden(file) && self.of_file(file).is_some_and(|directory| directory.include.matches(file))
    }

    /// Returns `true` if a file with this path is never a source of objects: a dotfile, a file that is excluded, or one for
    /// other targets.
    pub(crate) fn is_hidden(&self, file: &Path) -> bool {
        let is_dotfile = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        is_dotfile || self.of_file(file).is_none() || self.is_excluded(file) || self.is_left_out(file)
    }

    /// Returns `true` if the settings exclude a file, so that it is not a source.
    pub(crate) fn is_excluded(&self, file: &Path) -> bool {
        self.of_file(file).is_some_and(|directory| directory.exclude.iter().any(|globs| globs.matches(file)))
    }

    /// Returns `true` if the settings name a file with this path as a template.
    pub(crate) fn names_template(&self, file: &Path) -> bool {
        let templates = self.of_file(file).and_then(|directory| directory.templates.as_ref());
        templates.is_some_and(|globs| globs.matches(file))
    }

    /// Returns `true` if a settings file anywhere in the tree names the file as values.
    pub(crate) fn names_values(&self, file: &Path) -> bool {
        self.values_files.contains(file)
    }

    /// The values for the templates of the directory of a file. A later part is merged over the parts before it.
    pub(crate) fn values_of(&self, file: &Path) -> Vec<&ValuesSource> {
        let own = self.of_file(file).into_iter().flat_map(|directory| &directory.values);
        own.chain(&self.target_values).collect()
    }

    /// The names of the targets that the tree declares.
    pub fn declared_targets(&self) -> Vec<String> {
        self.targets.names()
    }

    /// The declared target that the tree is read for.
    pub fn target(&self) -> Option<&str> {
        self.targets.chosen()
    }

    /// Checks that the tree is read for one of its targets, if it declares any.
    ///
    /// # Errors
    ///
    /// The tree is read for none of its targets.
    pub fn check_target(&self) -> Result<(), TargetError> {
        self.targets.check()
    }

    /// Returns `true` if a file is in a directory for other targets, so that it is not a source.
    pub(crate) fn is_left_out(&self, file: &Path) -> bool {
        self.targets.excludes(file)
    }

    /// Returns the project of a file.
    pub fn project_of(&self, file: &Path) -> &ProjectPath {
        self.of_file(file).map_or(&self.root, |directory| &directory.project)
    }

    /// Returns the owner of the objects of a file.
    pub fn owner_of(&self, file: &Path) -> Owner {
        let namespace = self.of_file(file).and_then(|directory| directory.namespace.clone());
        Owner { project: self.project_of(file).clone(), namespace, keeps_previous: false }
    }

    /// Returns the owner of the objects of a kustomization.
    pub(crate) fn owner_of_kustomization(&self, file: &Path) -> Owner {
        let kept = self.of_file(file).and_then(|directory| directory.kustomize.keep_previous);
        Owner { keeps_previous: kept.unwrap_or_default(), ..self.owner_of(file) }
    }

    /// Returns the files that a kustomization can read.
    pub(crate) fn load_restrictions_of(&self, file: &Path) -> LoadRestrictions {
        self.of_file(file).and_then(|directory| directory.kustomize.load_restrictions).unwrap_or_default()
    }

    /// Returns the options for the Helm releases of a file.
    pub(crate) fn helm_of(&self, file: &Path) -> HelmSettings {
        self.of_file(file).map(|directory| directory.helm).unwrap_or_default()
    }

    /// The inputs of all settings files, relative to the root directory. They may begin with `..`.
    pub fn inputs(&self) -> BTreeSet<&Path> {
        self.directories.values().flat_map(|directory| &directory.inputs).map(PathBuf::as_path).collect()
    }

    /// Returns the directories that have a settings file, each with its project and the inputs that it names.
    pub(super) fn directories(&self) -> impl Iterator<Item = (&Path, &ProjectPath, &[PathBuf])> {
        self.directories.iter().map(|(path, entry)| (path.as_path(), &entry.project, entry.inputs.as_slice()))
    }
}

/// Removes `.` and `..` from a relative path without looking at the files. A leading `..` stays.
pub(crate) fn normalized(path: &Path) -> PathBuf {
    let mut parts: Vec<Component<'_>> = Vec::new();
    for component in path.components() {
        match (component, parts.last()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                parts.pop();
            }
            _ => parts.push(component),
        }
    }
    parts.into_iter().collect()
}

/// Returns an error for each namespace that is not a DNS label. Namespaces become parts of request paths.
fn wrong_namespaces(path: &Path, settings: &Settings) -> Vec<SourceError> {
    let set = [("namespace", &settings.namespace), ("stateNamespace", &settings.state_namespace)];
    let set = set.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
    set.filter(|(_, value)| !is_label(&value.value))
        .map(|(key, value)| {
            let message =
                format!("`{key}` cannot be {:?}: {LABEL_ADVICE}", value.value.chars().take(80).collect::<String>());
            SourceError::new(value.place(path), message)
        })
        .collect()
}

/// Returns the settings of a target.
fn chosen_settings<'a>(settings: &'a Settings, chosen: &str) -> Option<&'a TargetSettings> {
    settings.targets.as_ref().and_then(|targets| targets.value.get(chosen)).and_then(Option::as_ref)
}

/// Returns the sources of a setting `values`.
fn values_sources(
    setting: &ValuesSetting,
    path: &Path,
    directory: &Path,
    target: Option<&str>,
) -> Result<Vec<ValuesSource>, SourceError> {
    let absolute = "`values` names no file relative to this directory: write the path of a YAML file, as \
                    values/common.yaml";
    setting.sources(path, directory, target, normalized).map_err(|place| SourceError::new(place, absolute))
}

/// Returns the files among values.
fn values_files_of(values: &[ValuesSource]) -> impl Iterator<Item = PathBuf> {
    values.iter().filter_map(|source| match source {
        ValuesSource::File { path, .. } => Some(path.clone()),
        ValuesSource::Settings { .. } => None,
    })
}

fn root_name(path: &Path, settings: &Settings, target: Option<&TargetSettings>) -> Result<ProjectPath, SourceError> {
    let Some(name) = target.and_then(|target| target.project.as_ref()).or(settings.project.as_ref()) else {
        let message =
            "the root's .ktor.yaml has no `project: NAME`: name the root project, or name its directory with -p";
        return Err(SourceError::new(SourcePlace::whole(path), message));
    };
    if name.value.len() > LONGEST_ROOT {
        let message = format!("the root's name is longer than {LONGEST_ROOT} characters: shorten it");
        return Err(SourceError::new(name.place(path), message));
    }
    Ok(ProjectPath::root_of(&segment(path, name)?))
}

fn pointers(path: &Path, settings: &Settings) -> Result<Vec<Pointer>, Vec<SourceError>> {
    let (mut pointers, mut errors) = (Vec::new(), Vec::new());
    for stated in settings.redact.iter().flat_map(|redact| &redact.value) {
        match stated.value.parse::<Pointer>() {
            Ok(pointer) => pointers.push(pointer),
            Err(error) => errors.push(SourceError::new(stated.place(path), error.to_string())),
        }
    }
    if errors.is_empty() { Ok(pointers) } else { Err(errors) }
}

fn segment(path: &Path, name: &Stated<String>) -> Result<Segment, SourceError> {
    Segment::new(&name.value).map_err(|error| SourceError::new(name.place(path), error.to_string()))
}

fn refuse_root_keys(path: &Path, settings: &Settings) -> Result<(), SourceError> {
    let refused = |key: &str, place: SourcePlace| {
        Err(SourceError::new(place, format!("`{key}` is set at the root's .ktor.yaml only: move it there")))
    };
    if let Some(cleanup) = &settings.cleanup {
        return refused("cleanup", cleanup.place(path));
    }
    if let Some(namespace) = &settings.state_namespace {
        return refused("stateNamespace", namespace.place(path));
    }
    if let Some(fields) = &settings.fields {
        return refused("fields", fields.place(path));
    }
    if let Some(managers) = &settings.adopt_managers {
        return refused("adoptManagers", managers.place(path));
    }
    if let Some(redact) = &settings.redact {
        return refused("redact", redact.place(path));
    }
    if let Some(targets) = &settings.targets {
        return refused("targets", targets.place(path));
    }
    if let Some(pattern) = settings.overlays.iter().flatten().next() {
        return refused("overlays", pattern.place(path));
    }
    Ok(())
}

fn field_rules(path: &Path, settings: &Settings) -> Result<Vec<FieldRule>, SourceError> {
    let mut rules = Vec::new();
    for rule in settings.fields.iter().flat_map(|fields| &fields.value) {
        let mut kinds = Vec::new();
        for kind in &rule.kinds {
            let message = || format!("{:?} is not a kind: write it as Deployment, apps/Deployment or *", kind.value);
            let pattern = KindPattern::new(&kind.value);
            kinds.push(pattern.ok_or_else(|| SourceError::new(kind.place(path), message()))?);
        }
        let mut pointers = Vec::new();
        for pointer in &rule.pointers {
            let read = FieldPointer::new(&pointer.value);
            pointers.push(read.map_err(|message| SourceError::new(pointer.place(path), message))?);
        }
        rules.push(FieldRule { kinds, pointers, policy: rule.policy });
    }
    Ok(rules)
}

fn globs(path: &Path, base: &Path, patterns: &[Stated<String>]) -> Result<Globs, SourceError> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(&pattern.value)
            .literal_separator(true)
            .build()
            .map_err(|error| SourceError::new(pattern.place(path), error.to_string()))?;
        builder.add(glob);
    }
    let set = builder.build().map_err(|error| SourceError::new(SourcePlace::whole(path), error.to_string()))?;
    Ok(Globs { base: base.to_owned(), set })
}

fn default_includes(path: &Path) -> Result<Globs, SourceError> {
    let mut builder = GlobSetBuilder::new();
    for pattern in DEFAULT_INCLUDES {
        let error_of = |error: globset::Error| SourceError::new(SourcePlace::whole(path), error.to_string());
        builder.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(error_of)?);
    }
    let set = builder.build().map_err(|error| SourceError::new(SourcePlace::whole(path), error.to_string()))?;
    Ok(Globs { base: PathBuf::new(), set })
}

fn value_of(stated: Option<&Stated<String>>) -> Option<String> {
    stated.map(|stated| stated.value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)]) -> Result<Tree, Vec<String>> {
        let files = files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect();
        Tree::load(&files, None).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn projects_extend_their_nearest_ancestor() {
        let tree = load(&[
            (".ktor.yaml", "project: demo\ncleanup: true\nnamespace: shop\n"),
            ("x/api/.ktor.yaml", "project: api\n"),
            ("x/api/deep/er/.ktor.yaml", "project: front\nnamespace: web\n"),
            ("x/api/plain/.ktor.yaml", "# nothing\n"),
        ])
        .unwrap();
        let of = |path: &str| tree.project_of(Path::new(path)).to_string();
        assert_eq!(of("a.yaml"), "demo");
        assert_eq!(of("x/a.yaml"), "demo");
        assert_eq!(of("x/api/a.yaml"), "demo.api");
        assert_eq!(of("x/api/plain/a.yaml"), "demo.api");
        assert_eq!(of("x/api/deep/er/a.yaml"), "demo.api.front");
        let namespace_of = |path: &str| tree.owner_of(Path::new(path)).namespace;
        assert_eq!(namespace_of("x/api/a.yaml").as_deref(), Some("shop"));
        assert_eq!(namespace_of("x/api/deep/er/more/a.yaml").as_deref(), Some("web"));
        assert_eq!(tree.settings().cleanup, Cleanup::On);
        assert_eq!(tree.settings().state_namespace, "kubernator-system");
        let names: Vec<_> = tree.projects().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["demo", "demo.api", "demo.api.front"]);
    }

    #[test]
    fn globs_choose_manifests_and_dotfiles_never_are() {
        let tree = load(&[
            (".ktor.yaml", "project: demo\nexclude: ['*.skip.yaml', 'drafts/**']\n"),
            ("k/.ktor.yaml", "include: ['*.k8s']\n"),
        ])
        .unwrap();
        let is = |path: &str| tree.is_manifest(Path::new(path));
        assert!(is("a.yaml") && is("deep/er/a.yml") && is("a.json") && is("k/a.k8s") && is("k/deep/a.k8s"));
        assert!(!is("a.skip.yaml") && !is("deep/a.skip.yaml") && !is("drafts/x/a.yaml") && !is("k/a.yaml"));
        assert!(!is(".ktor.yaml") && !is(".hidden.yaml") && !is("a.txt"));
    }

    #[test]
    fn the_nearest_directory_decides_about_load_restrictions() {
        let tree = load(&[
            (".ktor.yaml", "project: demo\n"),
            ("a/.ktor.yaml", "kustomize: {loadRestrictions: none}\n"),
            ("a/b/.ktor.yaml", "project: b\n"),
            ("a/c/.ktor.yaml", "kustomize:\n  loadRestrictions: root\n"),
        ])
        .unwrap();
        let of = |path: &str| tree.load_restrictions_of(Path::new(path));
        assert_eq!([of("x"), of("a/x"), of("a/b/x/x"), of("a/c/x")], {
            use LoadRestrictions::{None, Root};
            [Root, None, None, Root]
        });
    }

    #[test]
    fn k9_a_tree_is_read_for_one_target_and_everything_else_is_left_out() {
        let files = [
            (
                ".ktor.yaml",
                "project: shop\nvalues: {a: 1}\ntargets:\n  dev:\n  prod: {project: shop-prod, values: [{a: 2}, v/prod.yaml]}\n\
                 overlays: ['**/overlays/{target}']\n",
            ),
            ("jobs/.ktor.yaml", "project: jobs\nonly: [prod]\n"),
            ("jobs/deep/.ktor.yaml", "project: deep\n"),
            ("web/.ktor.yaml", "project: web\n"),
        ];
        let files: Snapshot = files.map(|(path, text)| (PathBuf::from(path), text.into())).into();
        let of = |target| Tree::load(&files, target).unwrap();
        let (dev, prod, none) = (of(Some("dev")), of(Some("prod")), of(None));
        let projects = |tree: &Tree| tree.projects().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(projects(&dev), "shop shop.web");
        assert_eq!(projects(&prod), "shop-prod shop-prod.jobs shop-prod.jobs.deep shop-prod.web");
        for (path, expected) in [
            ("x.yaml", [true, true]),
            ("web/overlays/dev/x.yaml", [true, false]),
            ("web/overlays/dev/deep/x.yaml", [true, false]),
            ("web/overlays/prod/x.yaml", [false, true]),
            ("overlays/prod/x.yaml", [false, true]),
            ("web/overlays/other/x.yaml", [true, true]),
            ("web/prod/x.yaml", [true, true]),
            ("jobs/x.yaml", [false, true]),
            ("jobs/deep/x.yaml", [false, true]),
        ] {
            assert_eq!([&dev, &prod].map(|tree| tree.is_manifest(Path::new(path))), expected, "{path}");
        }
        // The values of a target are no manifest for any target.
        assert!([&dev, &prod].iter().all(|tree| tree.names_values(Path::new("v/prod.yaml"))));
        let values = |tree: &Tree| tree.values_of(Path::new("web/x.yaml")).len();
        assert_eq!([values(&dev), values(&prod)], [1, 3]);
        assert_eq!([dev.target(), prod.target(), none.target()], [Some("dev"), Some("prod"), None]);
        assert_eq!(none.declared_targets(), ["dev", "prod"]);
        let declared = || vec!["dev".to_owned(), "prod".to_owned()];
        assert_eq!(none.check_target(), Err(TargetError::Missing { declared: declared() }));
        let wrong = TargetError::Unknown { name: "stage".to_owned(), declared: declared() };
        assert_eq!(of(Some("stage")).check_target(), Err(wrong));
        // Without declared targets, any name is a name for reports alone.
        let plain =
            Tree::load(&[(PathBuf::from(".ktor.yaml"), b"project: shop\n".to_vec())].into(), Some("prod")).unwrap();
        assert_eq!((plain.check_target(), plain.target()), (Ok(()), None));
    }

    #[test]
    fn k9_mistakes_in_targets_point_at_their_place() {
        let targets = "project: shop\ntargets: {dev: {}, prod: }\n";
        for (root, below, expected) in [
            ("project: shop\ntargets: {a.b: {}}\n", "", ".ktor.yaml:2:10: the name of a target: \"a.b\""),
            ("project: shop\ntargets: {dev: {image: x}}\n", "", ".ktor.yaml:2:17: unknown field `image`"),
            ("project: shop\noverlays: ['**/{target}']\n", "", ".ktor.yaml:2:12: `overlays` chooses"),
            (&format!("{targets}overlays: ['**/prod']\n"), "", ".ktor.yaml:3:12: a pattern of `overlays` has {target}"),
            (&format!("{targets}only: [dev]\n"), "", ".ktor.yaml:3:8: `only` is set below the root"),
            (targets, "only: [stage]\n", "a/.ktor.yaml:1:8: the tree has no target \"stage\": name one of dev, prod"),
            ("project: shop\n", "only: [dev]\n", "a/.ktor.yaml:1:8: the tree has no targets: declare \"dev\""),
            ("project: shop\n", "targets: {dev: {}}\n", "a/.ktor.yaml:1:10: `targets` is set at the root's"),
            ("project: shop\n", "overlays: ['{target}']\n", "a/.ktor.yaml:1:12: `overlays` is set at the root's"),
        ] {
            let errors = load(&[(".ktor.yaml", root), ("a/.ktor.yaml", below)]).unwrap_err();
            assert!(errors.len() == 1 && errors[0].starts_with(expected), "{errors:?}");
        }
    }

    #[test]
    fn mistakes_point_at_their_place() {
        let check = |files: &[(&str, &str)], expected: &[&str]| {
            let errors = load(files).unwrap_err();
            assert_eq!(errors.len(), expected.len(), "{errors:?}");
            for (error, expected) in errors.iter().zip(expected) {
                assert!(error.starts_with(expected), "{error}");
            }
        };
        check(&[("a/.ktor.yaml", "project: a\n")], &[".ktor.yaml: there is no .ktor.yaml"]);
        check(&[(".ktor.yaml", "namespace: x\n")], &[".ktor.yaml: the root's .ktor.yaml has no `project"]);
        check(&[(".ktor.yaml", "project: demo\nclean: true\n")], &[".ktor.yaml:2:1: unknown field `clean`"]);
        check(&[(".ktor.yaml", "project: demo\ncleanup: 3\n")], &[".ktor.yaml:2:10: "]);
        check(&[(".ktor.yaml", "project: demo\nproject: demo\n")], &[".ktor.yaml:2:1: duplicate"]);
        check(
            &[(".ktor.yaml", "project: demo\nnamespace: a/b\nstateNamespace: ..\n")],
            &[".ktor.yaml:2:12: `namespace` cannot be \"a/b\": write", ".ktor.yaml:3:17: `stateNamespace` cannot"],
        );
        let long = format!("project: {}\n", "r".repeat(121));
        check(&[(".ktor.yaml", &long)], &[".ktor.yaml:1:10: the root's name is longer than 120 characters"]);
        check(
            &[(".ktor.yaml", "project: demo\nredact:\n  - /spec/password\n  - data.password\n  - spec/x\n")],
            &[
                ".ktor.yaml:4:5: \"data.password\" is not a JSON pointer: write it as /data/password",
                ".ktor.yaml:5:5: \"spec/x\" is not a JSON pointer",
            ],
        );
        check(&[(".ktor.yaml", "project: a.b\n")], &[".ktor.yaml:1:10: \"a.b\" is not a project name"]);
        check(
            &[(".ktor.yaml", "project: demo\n"), ("a/.ktor.yaml", "project: a\ncleanup: true\n")],
            &["a/.ktor.yaml:2:10: `cleanup` is set at the root's"],
        );
        check(
            &[(".ktor.yaml", "project: demo\n"), ("a/.ktor.yaml", "project: a\n"), ("b/.ktor.yaml", "project: a\n")],
            &["b/.ktor.yaml:1:10: project demo.a is named by a/.ktor.yaml already"],
        );
    }

    #[test]
    fn paths_are_normalized_by_text() {
        for (path, expected) in [("a/../b", "b"), ("../x/./y", "../x/y"), ("a/b/../../..", ".."), ("./a", "a")] {
            assert_eq!(normalized(Path::new(path)), Path::new(expected));
        }
    }
}

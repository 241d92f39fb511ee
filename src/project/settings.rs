//! The settings file `.ktor.yaml`: its keys, and the place of each value. Other modules interpret the values.
//!
//! The types here define the JSON Schema for editors, `settings.schema.json`. Their comments are the descriptions in
//! the schema. A test compares the schema with the committed file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::field_rule::FieldPolicy;
use super::snapshot::{SourceError, SourcePlace};
use super::values::ValuesSetting;

/// The name of a directory's settings file.
pub(crate) const SETTINGS_FILE: &str = ".ktor.yaml";

/// Settings of ktor for a directory and the directories below it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(title = ".ktor.yaml"))]
pub struct Settings {
    /// The name that this directory adds to the name of the project above it. Required at the root.
    #[cfg_attr(test, schemars(regex(pattern = r"^[A-Za-z0-9_-]+$")))]
    pub project: Option<Stated<String>>,
    /// Root only. `true` deletes the objects that no manifest contains any more. The default is `false`.
    pub cleanup: Option<Stated<bool>>,
    /// Root only. The namespace of the state and the lock. The default is `kubernator-system`.
    #[cfg_attr(test, schemars(regex(pattern = LABEL)))]
    pub state_namespace: Option<Stated<String>>,
    /// Root only. JSON pointers of more secret fields, for example `/spec/password`. `*` matches any field or item.
    #[cfg_attr(test, schemars(inner(regex(pattern = POINTER))))]
    pub redact: Option<Stated<Vec<Stated<String>>>>,
    /// Root only. Rules for fields that other managers set.
    pub fields: Option<Stated<Vec<FieldSettings>>>,
    /// Root only. Field managers whose objects this root treats as its own: `helm`, `flux`, `argocd`, `kapp`,
    /// `kubectl`, or the name of a manager.
    pub adopt_managers: Option<Stated<Vec<String>>>,
    /// Root only. The targets of the tree by name: the clusters or environments that it is applied to. If there are any,
    /// each run names one.
    pub targets: Option<Stated<BTreeMap<String, Option<TargetSettings>>>>,
    /// Root only. Glob patterns of the directories for one target alone, in which `{target}` stands for its name, for
    /// example `**/overlays/{target}`. The directories of other targets are left out.
    pub overlays: Option<Vec<Stated<String>>>,
    /// The namespace for manifests that name none. The setting of the nearest directory applies.
    #[cfg_attr(test, schemars(regex(pattern = LABEL)))]
    pub namespace: Option<Stated<String>>,
    /// Glob patterns of the manifest files. The default is `*.yaml`, `*.yml` and `*.json`.
    pub include: Option<Vec<Stated<String>>>,
    /// Glob patterns of files that are not manifests, in addition to those of the directories above.
    pub exclude: Option<Vec<Stated<String>>>,
    /// The targets that this directory and the directories below it are for. The default is all targets.
    pub only: Option<Vec<Stated<String>>>,
    /// Values for templates: a map, or a list of maps and of paths of YAML files. They are merged over the values of the
    /// directories above.
    pub values: Option<ValuesSetting>,
    /// Glob patterns of files that are templates, in addition to `*.tmpl.yaml`. The setting of the nearest directory
    /// applies.
    pub templates: Option<Vec<Stated<String>>>,
    /// Paths of files and directories that the project depends on, relative to this directory.
    pub inputs: Option<Vec<Stated<String>>>,
    /// Options for the kustomizations in this directory and below it.
    pub kustomize: Option<KustomizeSettings>,
    /// Options for the Helm releases in this directory and below it.
    pub helm: Option<HelmSettings>,
}

/// Options for Helm releases. A release file can set each of them for its own release.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HelmSettings {
    /// The treatment of hooks for installs and upgrades. Without it, a chart with such hooks is an error.
    pub hooks: Option<HookPolicy>,
    /// `false` does not compare the values with the schemas of charts. The default is `true`.
    pub schema: bool,
}

impl Default for HelmSettings {
    fn default() -> Self {
        Self { hooks: None, schema: true }
    }
}

/// The treatment of a chart's hooks for installs and upgrades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum HookPolicy {
    /// Hooks are applied like all other objects.
    Apply,
    /// Hooks are left out.
    Skip,
}

/// A target of the tree.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TargetSettings {
    /// The name of the root for this target. Two targets on one cluster need different names.
    #[cfg_attr(test, schemars(regex(pattern = r"^[A-Za-z0-9_-]+$")))]
    pub project: Option<Stated<String>>,
    /// Values for templates, merged over those of all directories.
    pub values: Option<ValuesSetting>,
}

/// Options for kustomizations.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KustomizeSettings {
    /// The files that a kustomization can read. The default is `root`.
    pub load_restrictions: Option<LoadRestrictions>,
    /// `true` keeps the generation before the current one of each generated ConfigMap and Secret, for a rollback.
    pub keep_previous: Option<bool>,
}

/// The files that a kustomization can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum LoadRestrictions {
    /// The files in its own directory and below it.
    #[default]
    Root,
    /// All files of the repository.
    None,
}

/// A rule for fields that other managers set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FieldSettings {
    /// The kinds that the rule applies to: `Deployment`, `apps/Deployment`, or `*` for all.
    pub kinds: Vec<Stated<String>>,
    /// JSON pointers of the fields. `*` matches any field or item.
    pub pointers: Vec<Stated<String>>,
    /// The treatment of the fields.
    pub policy: FieldPolicy,
}

/// A value of a settings file, with its place in the file.
#[derive(Debug)]
pub struct Stated<T> {
    /// The value.
    pub value: T,
    line: usize,
    column: usize,
}

impl<T> Stated<T> {
    /// Returns the place of the value, given the path of the file.
    pub(crate) fn place(&self, path: &Path) -> SourcePlace {
        SourcePlace::new(path, self.line, self.column)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Stated<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced: at, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self { value, line: number(at.line()), column: number(at.column()) })
    }
}

impl Settings {
    /// Parses a settings file. A file with nothing but comments has no settings.
    ///
    /// # Errors
    ///
    /// The file is not UTF-8 or not YAML, it has an unknown key, or a value has the wrong type.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, SourceError> {
        read(path, bytes)
    }
}

/// Reads a YAML file strictly. A file with nothing but comments has the default content.
///
/// # Errors
///
/// The file is not UTF-8 or not YAML, it has an unknown key, or a value has the wrong type.
pub(crate) fn read<T: Default + DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, SourceError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.split(|byte| *byte == b'\n').count() - 1;
        SourceError::new(SourcePlace::new(path, line, 1), "the file is not UTF-8: save it as UTF-8")
    })?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(T::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let place = error
            .location()
            .map_or(SourcePlace::whole(path), |at| SourcePlace::new(path, number(at.line()), number(at.column())));
        SourceError::new(place, message_of(&error))
    })
}

/// Returns `true` if a path is that of a settings file.
pub(crate) fn is_settings(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == SETTINGS_FILE)
}

fn number(position: impl TryInto<usize>) -> usize {
    position.try_into().unwrap_or(0)
}

/// Returns the first line of the error. The place that some of the errors repeat is removed.
fn message_of(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.split(" at line ").next().unwrap_or(line);
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Stated<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<T>()
    }
}

#[cfg(test)]
const LABEL: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

#[cfg(test)]
const POINTER: &str = "^/";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use similar::{Algorithm, ChangeTag, capture_diff_slices};

    use super::*;

    const COMMITTED: &str = include_str!("settings.schema.json");

    fn schema() -> Value {
        let mut schema = schemars::schema_for!(Settings);
        schema.insert("$id".to_owned(), address().into());
        schema.to_value()
    }

    fn address() -> String {
        format!("{}/src/project/settings.schema.json", "https://raw.githubusercontent.com/karellen/ktor-action/v1")
    }

    #[test]
    fn the_committed_schema_is_the_one_of_the_types() {
        let generated = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        let (old, new): (Vec<_>, Vec<_>) = (COMMITTED.lines().collect(), generated.lines().collect());
        let differences = capture_diff_slices(Algorithm::Myers, &old, &new);
        let differences = differences.iter().flat_map(|difference| difference.iter_changes(&old, &new));
        let shown: String = differences
            .filter(|change| change.tag() != ChangeTag::Equal)
            .map(|change| format!("{}{}\n", change.tag(), change.value()))
            .collect();
        assert!(COMMITTED == generated, "make these changes to src/project/settings.schema.json:\n\n{shown}");
    }

    #[test]
    fn the_readme_has_the_same_keys_and_the_address_of_the_schema() {
        let readme = include_str!("../../README.md");
        let table = readme.lines().skip_while(|line| !line.starts_with("| setting |")).skip(2);
        let names = table.take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
        let names: BTreeSet<&str> =
            names.flat_map(|cell| cell.split(',')).map(|n| n.trim().trim_matches('`')).collect();
        let schema = schema();
        let keys: BTreeSet<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, keys);
        assert!(readme.contains(&format!("# yaml-language-server: $schema={}", address())));
    }

    #[test]
    fn wrong_types_and_unknown_keys_have_their_place() {
        let errors = [
            "project: demo\nclean: true\n",
            "project: [a]\n",
            "a\n",
            "fields:\n- kinds: [a]\n  pointers: [/a]\n  policy: other\n",
            "fields:\n- kinds: [a]\n  pointers: [/a]\n  police: leave\n",
            "fields:\n- kinds: [a]\n  policy: leave\n",
            "inputs: a\n",
            "kustomize: {loadRestrictions: off}\n",
            "helm: {hooks: both}\n",
            "cleanup: 3\n",
            "redact: [/a, [b]]\n",
            "namespace: a\nnamespace: b\n",
        ]
        .map(|text| Settings::parse(Path::new("a/.ktor.yaml"), text.as_bytes()).unwrap_err().to_string());
        assert_eq!(
            errors,
            [
                "a/.ktor.yaml:2:1: unknown field `clean`, expected one of project, cleanup, stateNamespace, redact, fields, adoptManagers, targets, overlays, namespace, include, exclude, only, values, templates, inputs, kustomize, helm",
                "a/.ktor.yaml:1:10: expected string scalar",
                "a/.ktor.yaml:1:1: expected mapping start",
                "a/.ktor.yaml:4:11: unknown variant `other`, expected one of leave, force",
                "a/.ktor.yaml:4:3: unknown field `police`, expected one of kinds, pointers, policy",
                "a/.ktor.yaml:3:3: missing field `pointers`",
                "a/.ktor.yaml:1:9: expected sequence start",
                "a/.ktor.yaml:1:31: unknown variant `off`, expected one of root, none",
                "a/.ktor.yaml:1:15: unknown variant `both`, expected one of apply, skip",
                "a/.ktor.yaml:1:10: invalid boolean",
                "a/.ktor.yaml:1:14: expected string scalar",
                "a/.ktor.yaml:2:1: duplicate mapping key: namespace, set DuplicateKeyPolicy in Options if acceptable",
            ]
        );
    }
}

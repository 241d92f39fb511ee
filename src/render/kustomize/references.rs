//! Reads a kustomization: its kind, and the files and directories that it names.
//!
//! This module only reads the fields that name a path or decide how the engine is started. The engine interprets all
//! others, and it also reports fields that do not exist.

use std::path::Path;

use serde_json::{Map, Value};

use crate::project::snapshot::{SourceError, SourcePlace};
use crate::render::yaml::{self, ValueBudget};

/// The maximum size of a kustomization, and of a file that configures a generator or a transformer. These files are
/// read again whenever more files are known, so they must be small.
const MAX_BYTES: usize = 1 << 20;

/// The API group of Flux's objects with the same name. They are manifests.
const FLUX_GROUP: &str = "kustomize.toolkit.fluxcd.io/";

/// The fields that list files, or directories with a kustomization.
const RESOURCES: [&str; 3] = ["resources", "bases", "components"];
/// The fields that list files alone.
const FILES: [&str; 2] = ["crds", "configurations"];
/// The fields that list configurations of generators and transformers: files, directories or inline text.
const CONFIGS: [&str; 3] = ["generators", "transformers", "validators"];
/// The fields that list objects with a `path`.
const WITH_PATH: [&str; 3] = ["patches", "patchesjson6902", "replacements"];
/// The fields that list generators of a ConfigMap or Secret.
const GENERATORS: [&str; 2] = ["configmapgenerator", "secretgenerator"];
/// The fields that inflate a Helm chart.
const CHARTS: [&str; 2] = ["helmcharts", "helmchartinflationgenerator"];

/// The kind of a file that is named as a kustomization is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A kustomization, which can be built.
    Kustomization,
    /// A component, which only a kustomization can use.
    Component,
    /// An object for Flux, which is a manifest.
    Manifest,
}

/// The meaning of a named path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    /// A file.
    File,
    /// A file with objects, or a directory with a kustomization.
    Resource,
    /// A file that configures a generator or a transformer, or a directory with a kustomization that lists such files.
    Config,
}

/// A path that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// The path as it is written. It is relative, and it may begin with `..`.
    pub(super) path: String,
    /// The meaning of the path.
    pub(super) meaning: Meaning,
    /// The place of the path.
    pub(super) place: SourcePlace,
}

/// The parts of a kustomization that decide about its closure and about the start of the engine.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kustomization {
    /// The kind of the file.
    pub(super) kind: Kind,
    /// The paths that the file names.
    pub(super) references: Vec<Reference>,
    /// The errors of references that are refused.
    pub(super) refused: Vec<SourceError>,
    /// The value of `buildMetadata`.
    pub(super) build_metadata: Vec<String>,
    /// The value of `sortOptions`.
    pub(super) sort_options: Option<Value>,
}

/// Reads a kustomization.
///
/// # Errors
///
/// The file is too large, or it is not YAML.
pub(super) fn read(path: &Path, bytes: &[u8], budget: &mut ValueBudget) -> Result<Kustomization, SourceError> {
    let documents = documents(path, bytes, budget)?;
    let mut found = Found { path, text: bytes, references: Vec::new(), refused: Vec::new() };
    let (mut kind, mut build_metadata, mut sort_options) = (Kind::Kustomization, Vec::new(), None);
    for (at, document) in documents.iter().enumerate() {
        let Value::Object(fields) = document else { continue };
        // Only the first document is a kustomization. The engine ignores the others.
        if at > 0 {
            break;
        }
        kind = kind_of(fields);
        for (name, value) in fields {
            // The engine does not distinguish upper and lower case in the names of fields.
            let lower = name.to_lowercase();
            match lower.as_str() {
                "buildmetadata" => build_metadata = texts(value).map(str::to_owned).collect(),
                "sortoptions" => sort_options = Some(value.clone()),
                _ => found.field(name, &lower, value, budget),
            }
        }
    }
    if kind == Kind::Manifest {
        (found.references, found.refused) = (Vec::new(), Vec::new());
    }
    let Found { references, refused, .. } = found;
    Ok(Kustomization { kind, references, refused, build_metadata, sort_options })
}

/// Reads a file that configures generators or transformers. Returns the files that it names, and its errors.
///
/// The paths are relative to the directory of the kustomization that uses the file.
///
/// # Errors
///
/// The file is too large, or it is not YAML.
pub(super) fn read_config(
    path: &Path,
    bytes: &[u8],
    budget: &mut ValueBudget,
) -> Result<(Vec<Reference>, Vec<SourceError>), SourceError> {
    let mut found = Found { path, text: bytes, references: Vec::new(), refused: Vec::new() };
    for document in documents(path, bytes, budget)? {
        found.config(&document);
    }
    Ok((found.references, found.refused))
}

fn documents(path: &Path, bytes: &[u8], budget: &mut ValueBudget) -> Result<Vec<Value>, SourceError> {
    if bytes.len() > MAX_BYTES {
        let message = "a file that configures kustomize can have 1 MiB: move its objects to other files";
        return Err(SourceError::new(SourcePlace::whole(path), message));
    }
    let located = yaml::read(path, bytes, budget)?;
    Ok(located.into_iter().map(|located| located.document.body).collect())
}

fn kind_of(fields: &Map<String, Value>) -> Kind {
    let text = |name: &str| {
        let found = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_str()).unwrap_or_default()
    };
    if text("apiVersion").starts_with(FLUX_GROUP) {
        Kind::Manifest
    } else if text("kind") == "Component" {
        Kind::Component
    } else {
        Kind::Kustomization
    }
}

/// Returns the texts of a list. A single text counts as a list.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    items(value).filter_map(Value::as_str)
}

/// Returns the items of a list. Any other value counts as a list of itself.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(items) => items.as_slice(),
        other => std::slice::from_ref(other),
    }
    .iter()
}

/// Returns the values of the fields with this name, in upper or lower case.
fn fields<'a>(value: &'a Value, name: &'a str) -> impl Iterator<Item = &'a Value> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The references of a file, while it is read.
struct Found<'a> {
    path: &'a Path,
    text: &'a [u8],
    references: Vec<Reference>,
    refused: Vec<SourceError>,
}

impl Found<'_> {
    /// Adds the references of a field of a kustomization.
    fn field(&mut self, name: &str, lower: &str, value: &Value, budget: &mut ValueBudget) {
        if RESOURCES.contains(&lower) {
            texts(value).for_each(|path| self.add(name, path, Meaning::Resource));
        } else if FILES.contains(&lower) {
            texts(value).for_each(|path| self.add(name, path, Meaning::File));
        } else if lower == "patchesstrategicmerge" {
            for text in texts(value) {
                if self.inline(text, budget).is_none() {
                    self.add(name, text, Meaning::File);
                }
            }
        } else if CONFIGS.contains(&lower) {
            for text in texts(value) {
                match self.inline(text, budget) {
                    Some(documents) => documents.iter().for_each(|document| self.config(document)),
                    None => self.add(name, text, Meaning::Config),
                }
            }
        } else if WITH_PATH.contains(&lower) {
            let paths = items(value).flat_map(|item| fields(item, "path")).filter_map(Value::as_str);
            paths.for_each(|path| self.add(name, path, Meaning::File));
        } else if GENERATORS.contains(&lower) {
            items(value).for_each(|generator| self.generator(name, generator));
        } else if lower == "openapi" {
            fields(value, "path").flat_map(texts).for_each(|path| self.add(name, path, Meaning::File));
        } else if CHARTS.contains(&lower) && !value.is_null() {
            self.refuse_chart(name);
        }
    }

    /// Adds the files of a generator of a ConfigMap or Secret.
    fn generator(&mut self, name: &str, generator: &Value) {
        for source in fields(generator, "files").flat_map(texts) {
            // A key can stand before the path: KEY=PATH.
            let path = source.split_once('=').map_or(source, |(_, path)| path);
            self.add(name, path, Meaning::File);
        }
        for field in ["envs", "env"] {
            fields(generator, field).flat_map(texts).for_each(|path| self.add(name, path, Meaning::File));
        }
    }

    /// Adds the files that the configuration of a generator or transformer names.
    ///
    /// A configuration has the fields of the generator or transformer that it configures. Fields with the same name
    /// can mean something else in other configurations. What they name is then missing or not needed.
    fn config(&mut self, config: &Value) {
        let kind = fields(config, "kind").find_map(Value::as_str).unwrap_or_default();
        if kind == "HelmChartInflationGenerator" {
            self.refuse_chart(kind);
            return;
        }
        if kind.ends_with("List") {
            fields(config, "items").flat_map(items).for_each(|item| self.config(item));
        }
        let replacements = fields(config, "replacements").flat_map(items).flat_map(|item| fields(item, "path"));
        let named = ["path", "paths", "targetFilePath"].into_iter().flat_map(|field| fields(config, field));
        for path in named.chain(replacements).flat_map(texts) {
            if is_local(path) && !path.contains('\n') {
                self.add(kind, path, Meaning::File);
            }
        }
        self.generator(kind, config);
    }

    /// Returns the objects of an inline text. Returns `None` for a path.
    fn inline(&self, text: &str, budget: &mut ValueBudget) -> Option<Vec<Value>> {
        if !text.contains(['\n', '{', ':']) {
            return None;
        }
        // The engine reports a text that is not YAML, and it is the engine that has to decide if the text is a path.
        let read = yaml::read(self.path, text.as_bytes(), budget).unwrap_or_default();
        let documents: Vec<Value> = read.into_iter().map(|located| located.document.body).collect();
        let is_object = |document: &Value| fields(document, "kind").next().is_some();
        let is_inline = text.contains('\n') || documents.iter().any(is_object);
        is_inline.then_some(documents)
    }

    fn add(&mut self, field: &str, path: &str, meaning: Meaning) {
        if path.is_empty() {
            return;
        }
        let place = self.place_of(path);
        if path.starts_with('/') {
            let message = format!("`{field}` names an absolute path: name a file of the repository by a relative path");
            self.refused.push(SourceError::new(place, message));
        } else if !is_local(path) {
            let message =
                format!("`{field}` names something outside the repository: vendor it, and name the copy by its path");
            self.refused.push(SourceError::new(place, message));
        } else {
            self.references.push(Reference { path: path.to_owned(), meaning, place });
        }
    }

    fn refuse_chart(&mut self, field: &str) {
        let message =
            format!("`{field}` cannot be rendered yet: name the chart's rendered manifests under `resources`");
        self.refused.push(SourceError::new(self.place_of(field), message));
    }

    /// Returns the place of the first line with this text as a whole value or name.
    fn place_of(&self, text: &str) -> SourcePlace {
        let is_part = |c: char| !c.is_whitespace() && !"'\"[]{},=:".contains(c);
        let mut lines = self.text.split(|byte| *byte == b'\n').enumerate();
        let found = lines.find_map(|(at, line)| {
            let line = std::str::from_utf8(line).ok().filter(|line| !line.trim_start().starts_with('#'))?;
            let mut all = line.match_indices(text).map(|(start, _)| (&line[..start], &line[start + text.len()..]));
            let (before, _) = all.find(|(before, after)| !before.ends_with(is_part) && !after.starts_with(is_part))?;
            Some((at + 1, before.chars().count() + 1))
        });
        match found {
            Some((line, column)) => SourcePlace::new(self.path, line, column),
            None => SourcePlace::whole(self.path),
        }
    }
}

/// Returns `true` if the engine takes a text for a path, and `false` if it takes the text for a URL or a git remote.
fn is_local(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let path = lower.strip_prefix("git::").unwrap_or(&lower);
    let user = path.split_once('@').map(|(user, _)| user);
    let is_user = |user: &str| {
        user.starts_with(|first: char| first.is_ascii_alphabetic())
            && user.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let is_remote = ["http://", "https://", "ssh://", "file://", "oci://", "github.com/", "github.com:"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
        || user.is_some_and(is_user)
        || path.len() < lower.len();
    !is_remote
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kustomization(text: &str) -> Kustomization {
        read(Path::new("a/kustomization.yaml"), text.as_bytes(), &mut ValueBudget::default()).unwrap()
    }

    fn named(text: &str) -> Vec<(String, Meaning)> {
        let read = kustomization(text);
        assert_eq!(read.refused, [], "{text}");
        read.references.into_iter().map(|reference| (reference.path, reference.meaning)).collect()
    }

    fn refused(text: &str) -> Vec<String> {
        kustomization(text).refused.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn s6_every_field_that_names_a_path_is_read() {
        use Meaning::{Config, File, Resource};
        for (text, path, meaning) in [
            ("resources: [x.yaml]", "x.yaml", Resource),
            ("bases: [../base]", "../base", Resource),
            ("components: [../c]", "../c", Resource),
            ("crds: [crd.json]", "crd.json", File),
            ("configurations: [c.yaml]", "c.yaml", File),
            ("generators: [g.yaml]", "g.yaml", Config),
            ("transformers: [t]", "t", Config),
            ("validators: [v.yaml]", "v.yaml", Config),
            ("patches: [{path: p.yaml}, {patch: 'kind: X'}]", "p.yaml", File),
            ("patchesJson6902: [{target: {kind: X}, path: p.json}]", "p.json", File),
            ("replacements: [{path: r.yaml}, {source: {fieldPath: x}}]", "r.yaml", File),
            ("patchesStrategicMerge: [p.yaml]", "p.yaml", File),
            ("configMapGenerator: [{name: x, files: [a.txt]}]", "a.txt", File),
            ("configMapGenerator: [{name: x, files: [key=a.txt]}]", "a.txt", File),
            ("secretGenerator: [{name: x, envs: [a.env]}]", "a.env", File),
            ("secretGenerator: [{name: x, env: a.env}]", "a.env", File),
            ("openapi: {path: schema.json}", "schema.json", File),
            ("RESOURCES: [x.yaml]", "x.yaml", Resource),
            ("ConfigMapGenerator: [{FILES: [a.txt]}]", "a.txt", File),
            ("{\"resources\": [\"x.yaml\"]}", "x.yaml", Resource),
        ] {
            assert_eq!(named(text), [(path.to_owned(), meaning)], "{text}");
        }
        assert_eq!(named("namePrefix: x-\nlabels: [{pairs: {path: x}}]\nimages: [{name: a/b}]"), []);
    }

    #[test]
    fn s6_inline_texts_are_no_paths_and_configurations_name_files() {
        let inline = "patchesStrategicMerge:\n- |-\n  apiVersion: v1\n  kind: Secret\n- '{kind: Secret}'\n";
        assert_eq!(named(inline), []);
        let config = "transformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: x}\n  \
                      path: p.yaml\n- '{kind: ReplacementTransformer, replacements: [{path: r.yaml}]}'\n";
        let paths: Vec<_> = named(config).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["p.yaml", "r.yaml"]);
        let file = "kind: ConfigMapGenerator\nfiles: [k=a.txt]\nenvs: [e]\n---\nkind: PatchStrategicMergeTransformer\n\
                    paths: [b.yaml]\n---\nkind: ValueAddTransformer\ntargetFilePath: t\n---\nkind: LabelTransformer\n\
                    fieldSpecs: [{path: metadata/labels}]\n";
        let read = read_config(Path::new("g.yaml"), file.as_bytes(), &mut ValueBudget::default()).unwrap();
        let paths: Vec<_> = read.0.iter().map(|reference| reference.path.as_str()).collect();
        assert_eq!(paths, ["a.txt", "e", "b.yaml", "t"]);
        let chart = "kind: HelmChartInflationGenerator\nname: x\n";
        let read = read_config(Path::new("g.yaml"), chart.as_bytes(), &mut ValueBudget::default()).unwrap();
        assert!(read.1[0].to_string().starts_with("g.yaml:1:7: `HelmChartInflationGenerator` cannot"), "{:?}", read.1);
    }

    #[test]
    fn k3_everything_outside_the_repository_is_refused_at_its_place() {
        for path in [
            "https://example.com/x.yaml",
            "HTTPS://example.com/x.yaml",
            "http://x",
            "ssh://git@example.com/x",
            "file:///etc",
            "git::https://example.com/x",
            "github.com/a/b//c?ref=v1",
            "GitHub.com:a/b",
            "git@example.com:a/b.git",
            "org-1@host:a",
            "oci://registry/x",
        ] {
            let expected = "a/kustomization.yaml:2:3: `resources` names something outside the repository: vendor it, \
                            and name the copy by its path";
            assert_eq!(refused(&format!("resources:\n- {path}\n")), [expected], "{path}");
        }
        let absolute = refused("# /etc/passwd\nconfigMapGenerator:\n- name: x\n  files: [k=/etc/passwd]\n");
        assert!(absolute[0].starts_with("a/kustomization.yaml:4:13: `configMapGenerator` names an absolute path"));
        for text in ["helmCharts: [{name: x}]", "helmChartInflationGenerator: [{chartName: x}]"] {
            assert!(refused(text)[0].contains("cannot be rendered yet"), "{text}");
        }
        for path in ["x.yaml", "../x", "a_b@c", "1a@b", "github.community/x", "x://y", "http:/x", "a b"] {
            assert!(is_local(path), "{path}");
        }
    }

    #[test]
    fn kinds_are_told_apart() {
        let kind = |text: &str| kustomization(text).kind;
        assert_eq!(kind("resources: []"), Kind::Kustomization);
        assert_eq!(kind(""), Kind::Kustomization);
        assert_eq!(kind("kind: Component"), Kind::Component);
        assert_eq!(kind("kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1"), Kind::Kustomization);
        let flux =
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec: {path: /x}\npatches: [{path: /y}]";
        assert_eq!((kind(flux), refused(flux).len()), (Kind::Manifest, 0));
        let options = kustomization("buildMetadata: [managedByLabel]\nsortOptions: {order: fifo}");
        assert_eq!(options.build_metadata, ["managedByLabel"]);
        assert_eq!(options.sort_options, Some(serde_json::json!({"order": "fifo"})));
        let large = vec![b'#'; MAX_BYTES + 1];
        let error = read(Path::new("k"), &large, &mut ValueBudget::default()).unwrap_err().to_string();
        assert_eq!(error, "k: a file that configures kustomize can have 1 MiB: move its objects to other files");
    }

    proptest! {
        #[test]
        fn s6_every_relative_path_is_found_or_refused_in_any_field(
            path in "(\\.\\./){0,3}[a-z0-9@.:/_-]{1,20}",
            field in prop::sample::select(vec!["resources", "components", "crds", "transformers", "Bases"]),
        ) {
            let text = format!("{field}:\n- {}\n", serde_json::Value::from(path.as_str()));
            let read = kustomization(&text);
            prop_assert_eq!(read.references.len() + read.refused.len(), 1);
            prop_assert!(read.references.iter().all(|reference| reference.path == path));
        }

        #[test]
        fn hostile_texts_are_read_or_refused_and_nothing_panics(text in "\\PC{0,200}") {
            let bytes = text.as_bytes();
            drop(read(Path::new("k"), bytes, &mut ValueBudget::default()));
            drop(read_config(Path::new("k"), bytes, &mut ValueBudget::default()));
        }
    }
}

//! Renders templates: Kubernator's files with `define` and `apply`, other `*.tmpl.yaml` files, and the files that the
//! settings name as templates.
//!
//! Everything here is pure. What a template renders is read as manifests, with places in the template.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use minijinja::value::Value;

use super::plain;
use super::value::{self, Conflict, Merged};
use super::yaml::ValueBudget;
use super::yaml::placed::{Content, Placed};
use crate::object::manifest::Document;
use crate::project::files::Files;
use crate::project::inputs::Inputs;
use crate::project::snapshot::{SourceError, SourcePlace};
use crate::project::tree::{Owner, Tree};
use crate::project::values::ValuesSource;
use define::{Application, Definition, Definitions};
use dialect::Work;

mod define;
mod dialect;
mod filters;
mod message;
mod position;
mod python;
mod yaml_writer;

/// The names in `ktor` that no value can have.
const OWN_NAMES: [&str; 2] = ["target", "project"];

/// Returns `true` if a file with this path is a template, whatever the setting `include` says.
pub(crate) fn is_template(tree: &Tree, path: &Path) -> bool {
    !tree.is_hidden(path)
        && (is_named_template(path) || tree.names_template(path) && !is_other_source(path))
        && !tree.names_values(path)
}

fn is_named_template(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".tmpl.yaml") || name.ends_with(".tmpl.yml")
}

/// Returns `true` if another renderer reads the file, even if the settings name it as a template.
fn is_other_source(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    matches!(name, "kustomization.yaml" | "kustomization.yml" | "Kustomization" | "Chart.yaml")
        || name.ends_with(".helm.yaml")
        || name.ends_with(".helm.yml")
}

/// Returns the files that the templates of a tree need, as far as they are known, and that no reader has answered for
/// yet. A file that another source covers is no template.
pub(crate) fn wanted(tree: &Tree, files: &Files, is_covered: &dyn Fn(&Path) -> bool) -> BTreeSet<PathBuf> {
    let mut wanted = BTreeSet::new();
    for path in files.paths().iter().filter(|path| is_template(tree, path) && !is_covered(path)) {
        wanted.insert(path.clone());
        wanted.extend(value::files(&tree.values_of(path)));
        if let Some(Ok(found)) = definitions_in(path, files) {
            wanted.extend(found.defined.into_iter().map(|definition| definition.path));
        }
    }
    wanted.retain(|path| !files.is_answered(path));
    wanted
}

fn definitions_in(path: &Path, files: &Files) -> Option<Result<Definitions, SourceError>> {
    if is_named_template(path) { define::read(path, files.loaded().get(path)?) } else { None }
}

/// The values of a directory, as they are merged and as the engine takes them.
struct Known {
    merged: Merged,
    engine: Vec<(String, Value)>,
}

type KnownValues = Result<Rc<Known>, SourceError>;

/// The templates of a tree.
pub(crate) struct Templates<'a> {
    tree: &'a Tree,
    files: &'a Files,
    /// Kubernator's files.
    definitions: BTreeMap<&'a Path, Result<Definitions, SourceError>>,
    /// The files that these name.
    named: BTreeSet<PathBuf>,
    work: Work,
    /// The values of the directory that was asked for last.
    last: Option<(Vec<&'a ValuesSource>, KnownValues)>,
    conflicts: BTreeSet<Conflict>,
}

impl<'a> Templates<'a> {
    /// Reads the definitions of a tree. A file that another source covers is no template.
    pub(crate) fn new(tree: &'a Tree, files: &'a Files, is_covered: &dyn Fn(&Path) -> bool) -> Self {
        let mut definitions = BTreeMap::new();
        for path in files.paths().iter().filter(|path| is_template(tree, path) && !is_covered(path)) {
            if let Some(found) = definitions_in(path, files) {
                definitions.insert(path.as_path(), found);
            }
        }
        let found = definitions.values().flatten().flat_map(|found| &found.defined);
        let named = found.map(|definition| definition.path.clone()).collect();
        let (work, last, conflicts) = (Work::default(), None, BTreeSet::new());
        Self { tree, files, definitions, named, work, last, conflicts }
    }

    /// Returns `true` if a file is a part of templates and no source of its own: values, or a file that `define` names.
    pub(crate) fn uses(&self, path: &Path) -> bool {
        self.named.contains(path) || self.tree.names_values(path)
    }

    /// The values that replaced values of another kind, in all templates that were rendered.
    pub(crate) fn into_conflicts(self) -> BTreeSet<Conflict> {
        self.conflicts
    }

    /// Adds the inputs of a template.
    pub(crate) fn add_inputs(&self, path: &Path, owner: &Owner, inputs: &mut Inputs) {
        let project = &owner.project;
        inputs.add_source(project, path);
        for file in value::files(&self.tree.values_of(path)) {
            inputs.add(project, file);
        }
        let Some(Ok(found)) = self.definitions.get(path) else { return };
        for definition in &found.defined {
            inputs.add(project, definition.path.clone());
        }
        for application in &found.applied {
            for (file, definition) in self.visible(path).filter(|(_, it)| it.name == application.name) {
                inputs.add(project, file.to_owned());
                inputs.add(project, definition.path.clone());
            }
        }
    }

    /// Renders a template into objects.
    ///
    /// # Errors
    ///
    /// The template or its values are wrong, or what it renders is no manifest.
    pub(crate) fn documents(
        &mut self,
        path: &Path,
        owner: &Owner,
        budget: &mut ValueBudget,
    ) -> Result<Vec<Document>, SourceError> {
        let values = self.values(path, budget)?;
        match self.definitions.get(path) {
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(found)) => {
                let found = found.clone();
                self.check_names(path, &found.defined)?;
                let mut documents = Vec::new();
                for application in &found.applied {
                    documents.extend(self.apply(path, application, &values, owner, budget)?);
                }
                Ok(documents)
            }
            None => {
                let bytes = self.files.loaded().get(path).ok_or_else(|| not_read(path))?;
                let context = context(&values, values.engine.iter().cloned(), owner, self.tree.target());
                self.rendered(path, bytes, &context, owner, budget)
            }
        }
    }

    /// The merged values of the directory of a file.
    fn values(&mut self, path: &Path, budget: &mut ValueBudget) -> KnownValues {
        let sources = self.tree.values_of(path);
        if let Some((last, merged)) = &self.last
            && *last == sources
        {
            return merged.clone();
        }
        let known = value::merged(&sources, self.files, budget).and_then(known);
        if let Ok(known) = &known {
            self.conflicts.extend(known.merged.conflicts.iter().cloned());
        }
        self.last = Some((sources, known.clone()));
        known
    }

    /// The definitions in the directory of a file and in the directories above, in the order of their files.
    fn visible(&self, path: &Path) -> impl Iterator<Item = (&'a Path, &Definition)> {
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let is_visible = move |file: &Path| directory.starts_with(file.parent().unwrap_or(Path::new("")));
        let files = self.definitions.iter().filter(move |(file, _)| is_visible(file));
        let found = files.filter_map(|(file, found)| found.as_ref().ok().map(|found| (*file, found)));
        found.flat_map(|(file, found)| found.defined.iter().map(move |definition| (file, definition)))
    }

    /// Refuses a name that the file or a file above it defines already.
    fn check_names(&self, path: &Path, defined: &[Definition]) -> Result<(), SourceError> {
        for definition in defined {
            // Of two files in one directory, the later one is wrong.
            let mut others = self.visible(path).map(|(_, other)| other).filter(|other| other.name == definition.name);
            let is_earlier = |other: &Definition| {
                let above = other.place.path.parent() != path.parent();
                other.place != definition.place && (above || other.place < definition.place)
            };
            if let Some(first) = others.find(|other| is_earlier(other)) {
                let name: String = definition.name.chars().take(80).collect();
                let message = format!("template {name:?} is defined at {} already: rename one of the two", first.place);
                return Err(SourceError::new(definition.place.clone(), message));
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        path: &Path,
        application: &Application,
        values: &Known,
        owner: &Owner,
        budget: &mut ValueBudget,
    ) -> Result<Vec<Document>, SourceError> {
        let Some(definition) = self.definition(path, &application.name).cloned() else {
            return Err(self.unknown(path, application));
        };
        let Some(bytes) = self.files.loaded().get(&definition.path) else {
            let message = "there is no file of this name: correct `path`, or add the file";
            return Err(SourceError::new(definition.path_place, message));
        };
        let set: BTreeSet<&str> = application.values.iter().map(|(key, _)| key.as_str()).collect();
        let defaults = definition.defaults.iter().filter(|(key, _)| !set.contains(key.as_str()));
        let own = defaults.chain(&application.values).map(|(key, value)| (key.clone(), engine(value)));
        let context = context(values, own, owner, self.tree.target());
        self.rendered(&definition.path, bytes, &context, owner, budget).map_err(|error| {
            let message = format!("{} (applied at {})", error.message, application.place);
            SourceError::new(error.place, message)
        })
    }

    /// Finds a definition by its name: the nearest one, and the first one of a directory.
    fn definition(&self, path: &Path, name: &str) -> Option<&Definition> {
        let depth = |definition: &Definition| definition.place.path.components().count();
        let named = self.visible(path).map(|(_, definition)| definition).filter(|definition| definition.name == name);
        named.fold(None, |best: Option<&Definition>, other| match best {
            Some(best) if depth(best) >= depth(other) => Some(best),
            _ => Some(other),
        })
    }

    fn unknown(&self, path: &Path, application: &Application) -> SourceError {
        let shown: String = application.name.chars().take(80).collect();
        let names: BTreeSet<&str> = self.visible(path).map(|(_, definition)| definition.name.as_str()).collect();
        let near = message::most_alike(&application.name, names.into_iter().map(str::to_owned));
        let advice = "`define` it in this directory or in one above";
        let message = match near {
            Some(near) => format!("no template is named {shown:?}: write {near:?} if that is meant, or {advice}"),
            None => format!("no template is named {shown:?}: {advice}"),
        };
        SourceError::new(application.place.clone(), message)
    }

    /// Renders one template, and reads the result as manifests.
    fn rendered(
        &mut self,
        path: &Path,
        bytes: &[u8],
        context: &Value,
        owner: &Owner,
        budget: &mut ValueBudget,
    ) -> Result<Vec<Document>, SourceError> {
        let source = std::str::from_utf8(bytes)
            .map_err(|_| SourceError::new(SourcePlace::whole(path), "the template is not UTF-8: save it as UTF-8"))?;
        let rendered = dialect::render(path, source, context, &mut self.work)?;
        let found = plain::manifests(path, rendered.text.as_bytes(), owner, budget);
        let original = |place: SourcePlace| match place.line {
            0 => place,
            line => rendered.place(path, source, line, place.column),
        };
        match found {
            Ok(documents) => {
                let placed = |document: Document| Document { place: original(document.place), ..document };
                Ok(documents.into_iter().map(placed).collect())
            }
            Err(error) => Err(SourceError::new(original(error.place), format!("what this renders: {}", error.message))),
        }
    }
}

fn not_read(path: &Path) -> SourceError {
    // A file that is missing here must not count as empty, because then its objects would be deleted.
    SourceError::new(SourcePlace::whole(path), "the file was not read: run again")
}

/// Refuses a variable in a file that is not a template.
///
/// # Errors
///
/// The place of the first variable.
pub(crate) fn refuse_variables(path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
    let find = |word: &str| bytes.windows(word.len()).position(|window| window == word.as_bytes());
    let (Some(at), Some(_)) = (find(dialect::OPEN), find(dialect::CLOSE)) else { return Ok(()) };
    let text = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
    let message = "`{${` begins a variable, but this file is not a template: set `templates: [\"*.yaml\"]` in the \
                   .ktor.yaml of its directory, or write the text in another way";
    Err(SourceError::new(position::of(path, &text, text.len()), message))
}

/// Converts the values of a directory for the engine.
fn known(merged: Merged) -> KnownValues {
    if let Some((name, value)) = merged.entries.iter().find(|(name, _)| OWN_NAMES.contains(&name.as_str())) {
        let message = format!("`ktor.{name}` is set by ktor itself: give the value another name");
        return Err(SourceError::new(value.place.clone(), message));
    }
    let engine = merged.entries.iter().map(|(key, value)| (key.clone(), engine(value))).collect();
    Ok(Rc::new(Known { merged, engine }))
}

/// Builds the variables of a template: `ktor` and `values`.
fn context(known: &Known, values: impl Iterator<Item = (String, Value)>, owner: &Owner, target: Option<&str>) -> Value {
    let project = ("project".to_owned(), Value::from(owner.project.to_string()));
    let target = target.map(|target| ("target".to_owned(), Value::from(target)));
    let ktor = Value::from_pairs([project].into_iter().chain(target).chain(known.engine.iter().cloned()));
    Value::from_pairs([("ktor", ktor), ("values", Value::from_pairs(values))])
}

/// Converts a value for the engine. The recursion is as deep as the value, which the YAML reader limits.
fn engine(placed: &Placed) -> Value {
    match &placed.content {
        Content::Scalar(serde_json::Value::String(text)) => Value::from(text.as_str()),
        Content::Scalar(serde_json::Value::Bool(value)) => Value::from(*value),
        Content::Scalar(serde_json::Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::from(integer),
            (None, Some(float)) => Value::from(float),
            (None, None) => Value::from(()),
        },
        Content::Scalar(_) => Value::from(()),
        Content::List(items) => items.iter().map(engine).collect::<Vec<Value>>().into(),
        Content::Map(entries) => Value::from_pairs(entries.iter().map(|(key, value)| (key.clone(), engine(value)))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::{Value as Json, json};

    use super::*;
    use crate::render::job::Outputs;
    use crate::render::lock::Locked;
    use crate::render::{Rendered, render};

    fn tree(files: &[(&str, &str)]) -> Rendered {
        let mut loaded = Files::default();
        for (path, text) in files {
            loaded.load(path.into(), (*text).into());
        }
        let tree = Tree::load(loaded.loaded(), None).unwrap();
        assert_eq!(
            crate::render::wanted(&tree, &loaded, &Locked::default()),
            BTreeSet::new(),
            "a reader loads everything first"
        );
        render(&tree, &loaded, &Locked::default(), &Outputs::default())
    }

    fn objects(files: &[(&str, &str)]) -> Vec<(String, Json)> {
        let rendered = tree(files);
        assert_eq!(rendered.failures, []);
        rendered.documents.iter().map(|document| (document.place.to_string(), (*document.body).clone())).collect()
    }

    fn failures(files: &[(&str, &str)]) -> Vec<String> {
        tree(files).failures.iter().map(|failure| failure.error.to_string()).collect()
    }

    const ROOT: (&str, &str) = (
        ".ktor.yaml",
        "project: demo\nvalues:\n  name: shop\n  image: {tag: '1.0', pull: 2.0}\n  hosts: [a, b]\n  again: '{${ ktor.name }$}-x'\n",
    );

    /// Renders one template and returns its text, or the error.
    fn text(source: &str) -> Result<String, String> {
        let mut loaded = Files::default();
        loaded.load(ROOT.0.into(), ROOT.1.into());
        let tree = Tree::load(loaded.loaded(), None).unwrap();
        let owner = tree.owner_of(Path::new("a.tmpl.yaml"));
        let merged =
            value::merged(&tree.values_of(Path::new("a.tmpl.yaml")), &loaded, &mut ValueBudget::default()).unwrap();
        let known = known(merged).unwrap();
        let context = context(&known, known.engine.iter().cloned(), &owner, None);
        let rendered = dialect::render(Path::new("a.tmpl.yaml"), source, &context, &mut Work::default());
        rendered.map(|rendered| rendered.text).map_err(|error| error.to_string())
    }

    #[test]
    fn k8_templates_print_what_kubernator_prints() {
        for (source, expected) in [
            ("{${ ktor.name }$}:{${ ktor.image.tag }$} {${ ktor.project }$}\n", "shop:1.0 demo"),
            ("{% for host in ktor.hosts %}{${ host }$},{% endfor %}{# no #}", "a,b,"),
            (
                "{${ ktor.image.pull }$} {${ 1e20 }$} {${ true }$} {${ none }$} {${ ktor.hosts }$}",
                "2.0 1e+20 True None ['a', 'b']",
            ),
            ("{${ ktor.again }$}", "shop-x"),
            ("{% for k, v in ktor.image.items() %}{${ k }$}={${ v }$};{% endfor %}", "tag=1.0;pull=2.0;"),
            ("{${ 'a,b'.split(',') | join('-') }$}", "a-b"),
            ("{${ ktor.nope | default('d') }$}", "d"),
            ("{${ ktor.image | to_json }$}", r#"{"tag": "1.0", "pull": 2.0}"#),
            ("{${ ktor.image | to_yaml(4, 2) }$}", "\n    pull: 2.0\n    tag: '1.0'\n"),
            ("{${ ktor.image | to_yaml(level_indent=0, indent=4) }$}", "\npull: 2.0\ntag: '1.0'\n"),
            ("{${ 'é' | to_yaml_str }$}", "\"\\xE9\"\n"),
            ("{${ 'abc' | to_yaml_str }$}", "abc\n...\n"),
            ("{${ ktor.hosts | to_json_yaml_str }$}", "'[\"a\", \"b\"]'\n"),
            ("{${ 'a\n  b' | to_yaml_str_block }$}", "|+2\n      a\n        b"),
            ("{${ ktor.hosts | to_json_yaml_str_block(2) }$}", "|+2\n    [\n      \"a\",\n      \"b\"\n    ]"),
            ("{% raw %}{${ x }$}{% endraw %} {{ y }}", "{${ x }$} {{ y }}"),
            ("{% set x = namespace(n=0) %}{% for i in range(3) %}{% set x.n = x.n + i %}{% endfor %}{${ x.n }$}", "3"),
        ] {
            assert_eq!(text(source).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn k4_a_template_error_names_its_place_and_the_nearest_name() {
        for (source, expected) in [
            (
                "a\n  {${ ktor.nmae }$}",
                "a.tmpl.yaml:2:7: `ktor.nmae` is not defined: write `ktor.name` if that is meant, or",
            ),
            ("{${ ktro.name }$}", "a.tmpl.yaml:1:5: `ktro` is not defined: write `ktor` if"),
            (
                "{${ ktor.image.tga.x }$}",
                "a.tmpl.yaml:1:15: `ktor.image.tga` is not defined: write `ktor.image.tag` if",
            ),
            (
                "{% if ktor.zzzzzz %}{% endif %}",
                "a.tmpl.yaml:1:7: `ktor.zzzzzz` is not defined: define it under `values`",
            ),
            ("{% include 'x' %}", "a.tmpl.yaml:1:4: `include` is not available, because a template reads no other"),
            ("{% import 'x' as y %}", "a.tmpl.yaml:1:4: `import` is not available"),
            ("{% extends 'x' %}", "a.tmpl.yaml:1:4: `extends` is not available"),
            ("é {${ 1 + }$}", "a.tmpl.yaml:1:11: the template cannot be read: unexpected"),
            ("{${ ktor.name | nope }$}", "a.tmpl.yaml:1:17: filter nope is unknown"),
            (
                "{${ ktor.name + 1 }$}",
                "a.tmpl.yaml:1:5: tried to use + operator on unsupported types string and number",
            ),
            ("{${ debug() }$}", "a.tmpl.yaml:1:5: debug is unknown"),
            ("{${ now() }$}", "a.tmpl.yaml:1:5: now is unknown"),
            ("{${ ktor.name | to_yaml }$}", "a.tmpl.yaml:1:17: an argument is missing"),
        ] {
            let error = text(source).unwrap_err();
            assert!(error.starts_with(expected), "{source}: {error}");
            assert!(!error.contains("shop") && !error.contains('\n') && !error.ends_with('.'), "{error}");
        }
    }

    #[test]
    fn k8_hostile_templates_are_refused_in_a_sentence_within_a_second() {
        let work = "the template does too much work";
        for (source, expected) in [
            ("{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}", work),
            ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", work),
            ("{% for a in range(100000000) %}x{% endfor %}", "range has too many elements"),
            ("{${ 'x' * 1000000000 }$}", work),
            ("{% set ns = namespace(a='x') %}{% for i in range(99) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}", work),
            ("{% macro a() %}{${ a() }$}{% endmacro %}{${ a() }$}", "recursion limit exceeded"),
            ("{${ 'x\n' | to_yaml_str_block(100000000) }$}", work),
            (
                "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{${ ns.a }$}",
                work,
            ),
            (
                "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{${ ns.a | to_json }$}",
                work,
            ),
            ("{% for i in range(9999) %}{${ '{${ range(999) | list }$}' }$}{% endfor %}", work),
        ] {
            let started = Instant::now();
            let error = text(source).unwrap_err();
            assert!(started.elapsed() < Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 }), "{source}");
            assert!(error.contains(expected) && error.len() < 300, "{source}: {error}");
        }
        let deep = format!("{}x{}", "{% if true %}".repeat(5000), "{% endif %}".repeat(5000));
        assert!(text(&deep).unwrap_err().contains("the template cannot be read"));
        let parentheses = format!("{{${{ {}1{} }}$}}", "(".repeat(50_000), ")".repeat(50_000));
        assert!(text(&parentheses).unwrap_err().contains("the template cannot be read"));
    }

    #[test]
    fn k8_values_that_contain_themselves_are_refused_without_a_word_of_them() {
        let render = |values: &str| {
            let settings = format!("project: demo\nvalues:\n{values}");
            failures(&[(".ktor.yaml", &settings), ("a.tmpl.yaml", "x: {${ ktor.a }$}\n")])
        };
        let cycle = render("  a: 'hunter2 {${ ktor.b }$}'\n  b: '{${ ktor.a }$}{${ ktor.a }$}'\n");
        assert!(cycle[0].starts_with("a.tmpl.yaml:1:8: the values that this prints contain `{${` again"), "{cycle:?}");
        let wrong = render("  a: '{${ hunter2 }$}'\n");
        assert_eq!(
            wrong,
            [
                "a.tmpl.yaml:1:8: a value that this prints contains `{${`, and a name in it is not defined: correct the value, or define the name"
            ]
        );
        let wrong = render("  a: '{${ hunter2 hunter2 }$}'\n");
        assert_eq!(
            wrong,
            ["a.tmpl.yaml:1:8: a value that this prints contains `{${`, and it is not a template: correct the value"]
        );
        assert!(![cycle, wrong].concat().join("").contains("hunter2"));
    }

    #[test]
    fn k8_definitions_are_applied_in_their_directory_and_below() {
        let define = "define:\n- name: web\n  path: .web.yaml\n  defaults: {port: 80, labels: {a: 1, b: 2}}\n";
        let template = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {${ values.name }$}\ndata: {${ values.labels | to_json }$}\n";
        let found = objects(&[
            ROOT,
            ("a/.web.yaml", template),
            ("a/web.tmpl.yaml", define),
            ("a/b/.ktor.yaml", "project: b\nvalues: {name: below}\n"),
            (
                "a/b/use.tmpl.yaml",
                "apply:\n- name: web\n  values: {name: '{${ ktor.name }$}-1', labels: {c: '3'}}\n- {name: web, values: {name: two}}\n",
            ),
        ]);
        let map = |name: &str, data: Json| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        let place = "a/.web.yaml:1:1".to_owned();
        assert_eq!(
            found,
            [(place.clone(), map("below-1", json!({"c": "3"}))), (place, map("two", json!({"a": 1, "b": 2})))]
        );
        let failed = failures(&[
            ROOT,
            ("a/web.tmpl.yaml", define),
            ("a/.web.yaml", template),
            ("use.tmpl.yaml", "apply: [{name: wbe}]"),
        ]);
        assert_eq!(
            failed,
            ["use.tmpl.yaml:1:16: no template is named \"wbe\": `define` it in this directory or in one above"]
        );
        let failed = failures(&[
            ROOT,
            ("a/web.tmpl.yaml", define),
            ("a/.web.yaml", template),
            ("a/use.tmpl.yaml", "apply: [{name: wbe}]"),
        ]);
        assert!(failed[0].contains("no template is named \"wbe\": write \"web\" if that is meant"), "{failed:?}");
        let twice = failures(&[
            ROOT,
            ("a/web.tmpl.yaml", define),
            ("a/.web.yaml", template),
            ("a/b/web.tmpl.yaml", define),
            ("a/b/.web.yaml", ""),
        ]);
        assert_eq!(
            twice,
            [
                "a/b/web.tmpl.yaml:2:9: template \"web\" is defined at a/web.tmpl.yaml:2:9 already: rename one of the two"
            ]
        );
        let absent =
            failures(&[ROOT, ("use.tmpl.yaml", "define: [{name: a, path: ../x}]\napply: [{name: a, vlaues: {}}]")]);
        assert!(absent[0].contains("unknown key \"vlaues\", expected one of name, values"), "{absent:?}");
    }

    #[test]
    fn k4_objects_of_a_template_have_the_line_of_the_template() {
        let template = "{# a comment #}\n{% for host in ktor.hosts %}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {${ host }$}\n{% endfor %}\n";
        let places: Vec<_> = objects(&[ROOT, ("x/a.tmpl.yml", template)]).into_iter().map(|(place, _)| place).collect();
        assert_eq!(places, ["x/a.tmpl.yml:4:1", "x/a.tmpl.yml:4:1"]);
        let failed = failures(&[ROOT, ("a.tmpl.yaml", "apiVersion: v1\nkind: ConfigMap\n\n{${ 'a: [' }$}\n")]);
        assert!(failed[0].starts_with("a.tmpl.yaml:4:") && failed[0].contains(": what this renders: "), "{failed:?}");
    }

    #[test]
    fn k8_settings_name_templates_and_everything_else_stays_plain() {
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{${ ktor.name }$}'}\n";
        let files = [ROOT, ("a/.ktor.yaml", "templates: ['*.yaml']\n"), ("a/b/x.yaml", map)];
        assert_eq!(objects(&files)[0].1["metadata"]["name"], "shop");
        let failed = failures(&[ROOT, ("b/x.yaml", map)]);
        assert_eq!(failed.len(), 1);
        assert!(
            failed[0].starts_with(
                "b/x.yaml:3:19: `{${` begins a variable, but this file is not a template: set `templates: [\"*.yaml\"]`"
            ),
            "{failed:?}"
        );
        assert!(
            objects(&[
                ROOT,
                ("b/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: 'echo ${{${X}}'}\n")
            ])
            .len()
                == 1
        );
        assert!(
            tree(&[ROOT, (".ktor.yaml", "project: demo\nexclude: ['a.*']\n"), ("a.tmpl.yaml", "{${ x }$}")])
                .failures
                .is_empty()
        );
        let taken = failures(&[(".ktor.yaml", "project: demo\nvalues: {target: x}\n"), ("a.tmpl.yaml", "")]);
        assert_eq!(taken, [".ktor.yaml:2:18: `ktor.target` is set by ktor itself: give the value another name"]);
    }

    #[test]
    fn s6_the_inputs_of_a_template_are_its_values_and_its_definitions() {
        let rendered = tree(&[
            (".ktor.yaml", "project: demo\nvalues: [v/common.yaml, {x: 1}]\n"),
            ("v/common.yaml", "name: a\n"),
            ("a/.ktor.yaml", "project: a\nvalues: [../v/a.yaml]\n"),
            ("v/a.yaml", "# none\n"),
            ("a/x.tmpl.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{${ values.name }$}'}\n"),
            ("web.tmpl.yaml", "define: [{name: web, path: t/web.yaml}]\n"),
            ("other.tmpl.yaml", "define: [{name: other, path: t/other.yaml}]\n"),
            ("t/web.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n"),
            ("t/other.yaml", "{${ never }$}"),
            ("b/.ktor.yaml", "project: b\n"),
            ("b/use.tmpl.yaml", "apply: [{name: web}]\n"),
            ("c/.ktor.yaml", "project: c\n"),
            ("c/plain.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n"),
        ]);
        assert_eq!(rendered.failures, []);
        assert_eq!(rendered.documents.len(), 3);
        let of = |project: &str| -> Vec<String> {
            rendered.inputs.of(&project.parse().unwrap()).map(|path| path.display().to_string()).collect()
        };
        assert_eq!(of("demo.a"), [".ktor.yaml", "a/.ktor.yaml", "a/x.tmpl.yaml", "v/a.yaml", "v/common.yaml"]);
        assert_eq!(
            of("demo.b"),
            [".ktor.yaml", "b/.ktor.yaml", "b/use.tmpl.yaml", "t/web.yaml", "v/common.yaml", "web.tmpl.yaml"]
        );
        assert_eq!(of("demo.c"), [".ktor.yaml", "c/.ktor.yaml", "c/plain.yaml"]);
    }

    #[test]
    fn k8_a_template_asks_for_its_values_and_definitions() {
        let mut files = Files::default();
        files.load(".ktor.yaml".into(), b"project: demo\nvalues: [../env.yaml]\n".to_vec());
        files.load("a/web.tmpl.yaml".into(), b"define: [{name: web, path: .web.yaml}]\n".to_vec());
        files.list("plain.yaml".into());
        let tree = Tree::load(files.loaded(), None).unwrap();
        let asked: Vec<_> = crate::render::wanted(&tree, &files, &Locked::default()).into_iter().collect();
        assert_eq!(asked, ["../env.yaml", "a/.web.yaml", "plain.yaml"].map(PathBuf::from));
    }
}

//! Reads the output of kustomize: the objects, each with the place where it is written, and the errors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::entry::{Build, Entry, TREE};
use crate::object::manifest::Document;
use crate::project::files::Files;
use crate::project::snapshot::{SourceError, SourcePlace, printable};
use crate::project::tree::Tree;
use crate::render::plain;
use crate::render::yaml::{self, ValueBudget};

/// The annotation with the file that an object comes from.
const ORIGIN: &str = "config.kubernetes.io/origin";

/// The maximum number of characters of an error message.
const LONGEST_MESSAGE: usize = 2_000;

/// Reads the output of builds.
#[derive(Debug)]
pub(in crate::render) struct Reader<'a> {
    tree: &'a Tree,
    files: &'a Files,
    /// The objects in each file that was searched, with their kinds and names.
    objects: BTreeMap<PathBuf, Vec<(SourcePlace, String, String)>>,
}

impl<'a> Reader<'a> {
    pub(in crate::render) fn new(tree: &'a Tree, files: &'a Files) -> Self {
        Self { tree, files, objects: BTreeMap::new() }
    }

    /// Reads the objects that a build printed. The owner of each object is the owner of the kustomization.
    ///
    /// # Errors
    ///
    /// The output is not YAML, or not a list of objects.
    pub(in crate::render) fn documents(
        &mut self,
        entry: &Entry,
        printed: &[u8],
        budget: &mut ValueBudget,
    ) -> Result<Vec<Document>, SourceError> {
        let owner = self.tree.owner_of_kustomization(&entry.file);
        let unreadable = |error: SourceError| {
            let message = format!("the output of kustomize cannot be read: {}", error.message);
            SourceError::new(SourcePlace::whole(&entry.file), message)
        };
        let mut found = Vec::new();
        for located in yaml::read(&entry.file, printed, budget).map_err(unreadable)? {
            let mut body = located.document.body;
            let origin = origin(&mut body, entry.build());
            let place = self.place(entry, origin.as_deref(), &body, budget);
            let mut add = |place, body: Value| found.push(Document { owner: owner.clone(), place, body: body.into() });
            plain::flatten(place, body, &[], &mut add)?;
        }
        Ok(found)
    }

    /// Returns the place where an object is written, as exactly as it is known.
    fn place(&mut self, entry: &Entry, origin: Option<&str>, body: &Value, budget: &mut ValueBudget) -> SourcePlace {
        let whole = || SourcePlace::whole(&entry.file);
        let Some(origin) = origin.and_then(|text| self.origin_file(entry, text, budget)) else { return whole() };
        let Some(bytes) = self.files.loaded().get(&origin) else { return whole() };
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        if super::is_kustomization(&origin) {
            return generator_place(&origin, bytes, name);
        }
        if !self.objects.contains_key(&origin) {
            self.objects.insert(origin.clone(), objects(&origin, bytes, budget));
        }
        let objects = self.objects.get(&origin).map(Vec::as_slice).unwrap_or_default();
        // A kustomization can add a prefix and a suffix to a name. A patch can change the kind and the name.
        let named = objects.iter().filter(|(_, _, its_name)| !its_name.is_empty() && name.contains(its_name.as_str()));
        let rank = |(place, its_kind, its_name): &&(SourcePlace, String, String)| {
            (its_kind == kind, its_name.len(), std::cmp::Reverse(place.line))
        };
        match (named.max_by_key(rank), objects) {
            (Some((place, ..)), _) | (None, [(place, ..)]) => place.clone(),
            _ => SourcePlace::whole(origin),
        }
    }

    /// Returns the file that the annotation of an object names.
    fn origin_file(&self, entry: &Entry, text: &str, budget: &mut ValueBudget) -> Option<PathBuf> {
        let documents = yaml::read(&entry.file, text.as_bytes(), budget).ok()?;
        let origin = documents.into_iter().next()?.document.body;
        let path = ["path", "configuredIn"].into_iter().find_map(|field| origin.get(field)?.as_str())?;
        let path = Path::new(path);
        match entry.build() {
            Build::Wrapped(_) => self.files.at_top_path(path.strip_prefix(TREE).ok()?),
            Build::Direct => self.files.placed(&entry.directory().join(path)),
        }
    }

    /// Returns the error of a build that kustomize refused. The paths in its message are those of the tree.
    pub(in crate::render) fn refusal(&self, entry: &Entry, message: &str) -> SourceError {
        // Warnings come before the error.
        let text = innermost(message.split_once("Error: ").map_or(message, |(_, error)| error).trim());
        let (mut shown, mut rest) = (String::new(), text);
        let mut place = None;
        while let Some((before, after)) = rest.split_once(TREE) {
            let after = after.trim_start_matches('/');
            let end = after.find(|c: char| c.is_whitespace() || "'\":,;)]".contains(c)).unwrap_or(after.len());
            let (path, after) = after.split_at(end);
            let path = self.files.at_top_path(Path::new(path)).unwrap_or_default();
            shown.push_str(before);
            shown.push_str(&if path.as_os_str().is_empty() { ".".to_owned() } else { printable(&path) });
            if self.files.loaded().contains_key(&path) {
                place = Some(path);
            }
            rest = after;
        }
        shown.push_str(rest);
        let place = place.or_else(|| self.named_file(entry, &shown));
        let line = number_after(&shown, "line ");
        let cut: String = shown.chars().take(LONGEST_MESSAGE).collect();
        let place = match (place, line) {
            (Some(path), Some(line)) => SourcePlace::new(path, line, 1),
            _ => SourcePlace::whole(&entry.file),
        };
        SourceError::new(place, format!("kustomize cannot build {}: {cut}", shown_directory(entry.directory())))
    }

    /// Returns the file of the build that a message names by its last part.
    fn named_file(&self, entry: &Entry, message: &str) -> Option<PathBuf> {
        let paths = entry.inputs().filter(|path| self.files.loaded().contains_key(*path));
        let mut named = paths.filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            message.split([' ', '\'', '"', ':', '/', ',']).any(|word| word == name)
        });
        named.next().filter(|_| named.next().is_none()).map(Path::to_owned)
    }
}

/// Returns the objects of a file, with their places, kinds and names. kustomize may read a file that cannot be read here.
/// The objects of such a file have no line.
fn objects(path: &Path, bytes: &[u8], budget: &mut ValueBudget) -> Vec<(SourcePlace, String, String)> {
    let mut found = Vec::new();
    let mut add = |place: SourcePlace, body: &Value| {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        found.push((place, text("/kind"), text("/metadata/name")));
    };
    for located in yaml::read(path, bytes, budget).unwrap_or_default() {
        let yaml::Document { place, body } = located.document;
        let mut items = Vec::new();
        let whole = body.clone();
        let flat = plain::flatten(place.clone(), body, &located.items, &mut |place, body| items.push((place, body)));
        match flat {
            Ok(()) => items.iter().for_each(|(place, body)| add(place.clone(), body)),
            Err(_) => add(place, &whole),
        }
    }
    found
}

/// Removes the part of a message that only says through which directories kustomize came to the error.
fn innermost(message: &str) -> &str {
    let mut message = message;
    while message.starts_with("accumulating resources: accumulation err='accumulating resources from '")
        && let Some((_, after)) = message.split_once("' must resolve to a file': recursed accumulation of path '")
        && let Some((_, inner)) = after.split_once("': ")
    {
        message = inner;
    }
    message
}

fn shown_directory(directory: &Path) -> String {
    if directory.as_os_str().is_empty() { "the root directory".to_owned() } else { printable(directory) }
}

/// Returns the number after the last occurrence of some text.
fn number_after(text: &str, before: &str) -> Option<usize> {
    let (_, after) = text.rsplit_once(before)?;
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|line| *line > 0)
}

/// Returns the annotation with the origin, and removes it if the kustomization did not ask for it.
fn origin(body: &mut Value, build: &Build) -> Option<String> {
    let metadata = body.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    if *build == Build::Direct {
        return annotations.get(ORIGIN)?.as_str().map(str::to_owned);
    }
    let origin = annotations.remove(ORIGIN)?;
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    origin.as_str().map(str::to_owned)
}

/// Returns the place of the generator of an object in a kustomization. The name of the object begins with the
/// generator's name, unless the kustomization adds a prefix.
fn generator_place(path: &Path, bytes: &[u8], name: &str) -> SourcePlace {
    let text = String::from_utf8_lossy(bytes);
    let named = text.lines().enumerate().filter_map(|(at, line)| {
        let (before, value) = line.split_once("name:")?;
        let value = value.trim_start().trim_start_matches(['"', '\'']);
        let end = value.find(|c: char| c.is_whitespace() || ",}\"'#".contains(c)).unwrap_or(value.len());
        let value = value.get(..end).filter(|value| !value.is_empty() && name.contains(value))?;
        Some((value.len(), std::cmp::Reverse(at), before.chars().count() + 1))
    });
    match named.max() {
        Some((_, std::cmp::Reverse(at), column)) => SourcePlace::new(path, at + 1, column),
        None => SourcePlace::whole(path),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Survey;
    use super::*;

    fn loaded(files: &[(&str, &str)]) -> (Tree, Files) {
        let mut loaded = Files::below(Path::new("deploy"));
        loaded.load(".ktor.yaml".into(), b"project: demo\n".into());
        loaded.load("a/.ktor.yaml".into(), b"project: a\nnamespace: shop\n".into());
        for (path, text) in files {
            loaded.load(path.into(), text.as_bytes().to_vec());
        }
        (Tree::load(loaded.loaded(), None).unwrap(), loaded)
    }

    /// Returns the objects of a printed text, for the first kustomization of a tree.
    fn found(files: &[(&str, &str)], printed: &str) -> Result<Vec<String>, String> {
        let (tree, files) = loaded(files);
        let survey = Survey::of(&tree, &files, &|_| false);
        let mut reader = Reader::new(&tree, &files);
        let found = reader.documents(&survey.entries[0], printed.as_bytes(), &mut ValueBudget::default());
        let shown = |document: Document| {
            let Document { owner, place, body } = document;
            format!("{} {} {place} {}", owner.project, owner.namespace.unwrap_or_default(), body["metadata"])
        };
        found.map(|documents| documents.into_iter().map(shown).collect()).map_err(|error| error.to_string())
    }

    fn object(kind: &str, name: &str, origin: &str) -> String {
        let annotations = serde_json::json!({"config.kubernetes.io/origin": origin});
        let metadata = serde_json::json!({"name": name, "annotations": annotations});
        format!("{}\n---\n", serde_json::json!({"apiVersion": "v1", "kind": kind, "metadata": metadata}))
    }

    #[test]
    fn k4_objects_have_the_place_where_they_are_written_and_the_owner_of_the_kustomization() {
        let tree = [
            ("a/kustomization.yaml", "resources: [../../lib]\nconfigMapGenerator:\n- name: app\n- name: app-two\n"),
            ("../lib/kustomization.yaml", "resources: [x.yaml, one.yaml, list.yaml]"),
            (
                "../lib/x.yaml",
                "kind: A\nmetadata: {name: web}\n---\nkind: B\nmetadata: {name: web}\n---\n\
                               kind: B\nmetadata: {name: web-two}\n",
            ),
            ("../lib/one.yaml", "# one\nkind: C\nmetadata: {name: c}\n"),
            (
                "../lib/list.yaml",
                "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: C\n  metadata:\n    name: item\n",
            ),
        ];
        let lib = "path: ktor-tree/lib/x.yaml\n";
        let generated =
            "configuredIn: ktor-tree/deploy/a/kustomization.yaml\nconfiguredBy:\n  kind: ConfigMapGenerator\n";
        let printed = [
            object("A", "web", lib),
            object("B", "web-two", lib),
            object("B", "pre-web-suf", lib),
            object("C", "other", "path: ktor-tree/lib/one.yaml\n"),
            object("C", "no", lib),
            object("C", "item", "path: ktor-tree/lib/list.yaml\n"),
            object("ConfigMap", "app-two-5g5g6f7h8k", generated),
            object("ConfigMap", "app-5g5g6f7h8k", generated),
            object("A", "x", "path: ktor-tree/other/gone.yaml\n"),
        ];
        let places = [
            "../lib/x.yaml:1:1",
            "../lib/x.yaml:7:1",
            "../lib/x.yaml:4:1",
            "../lib/one.yaml:2:1",
            "../lib/x.yaml",
            "../lib/list.yaml:4:3",
            "a/kustomization.yaml:4:3",
            "a/kustomization.yaml:3:3",
            "a/kustomization.yaml",
        ];
        let found = found(&tree, &printed.concat()).unwrap();
        assert_eq!(found.len(), places.len());
        for (found, place) in found.iter().zip(places) {
            assert!(found.starts_with(&format!("demo.a shop {place} {{\"name\"")), "{found} {place}");
            assert!(!found.contains("annotations"), "{found}");
        }
    }

    #[test]
    fn k1_other_annotations_stay_and_so_does_an_origin_that_the_kustomization_asks_for() {
        let printed = "apiVersion: v1\nkind: A\nmetadata:\n  name: x\n  annotations:\n    a: b\n    \
                       config.kubernetes.io/origin: |\n      path: ../lib/x.yaml\n";
        let tree = |text| [("a/kustomization.yaml", text), ("lib/x.yaml", "# x\nkind: A\nmetadata: {name: x}")];
        let own = found(&tree("buildMetadata: [originAnnotations]"), printed).unwrap().remove(0);
        assert!(own.starts_with("demo.a shop lib/x.yaml:2:1") && own.contains("config.kubernetes.io"), "{own}");
        let wrapped = found(&tree("resources: []"), printed).unwrap().remove(0);
        assert_eq!(wrapped, "demo.a shop a/kustomization.yaml {\"annotations\":{\"a\":\"b\"},\"name\":\"x\"}");
    }

    #[test]
    fn k4_errors_have_the_paths_of_the_tree_and_keep_the_line() {
        let tree = [
            ("a/kustomization.yaml", "resources: [x.yaml, gone.yaml, ../../lib]"),
            ("a/x.yaml", "a: b"),
            ("../lib/kustomization.yaml", "resources: []"),
        ];
        let (settings, files) = loaded(&tree);
        let survey = Survey::of(&settings, &files, &|_| false);
        let refusal = |message: &str| Reader::new(&settings, &files).refusal(&survey.entries[0], message).to_string();
        assert_eq!(
            refusal(
                "# Warning: 'bases' is deprecated.\nError: accumulating resources: evalsymlink failure on \
                 'ktor-tree/deploy/a/gone.yaml' : lstat ktor-tree/deploy/a/gone.yaml: no such file\n"
            ),
            "a/kustomization.yaml: kustomize cannot build a: accumulating resources: evalsymlink failure on \
             'a/gone.yaml' : lstat a/gone.yaml: no such file"
        );
        assert_eq!(
            refusal("Error: in File: x.yaml: yaml: line 7: mapping values"),
            "a/x.yaml:7:1: kustomize cannot build a: in File: x.yaml: yaml: line 7: mapping values"
        );
        assert_eq!(
            refusal(
                "Error: accumulating resources: accumulation err='accumulating resources from 'ktor-tree/deploy/a': \
                 'ktor-tree/deploy/a' must resolve to a file': recursed accumulation of path 'ktor-tree/deploy/a': x: y"
            ),
            "a/kustomization.yaml: kustomize cannot build a: x: y"
        );
        let outside = refusal("Error: line 3 of 'ktor-tree/lib/kustomization.yaml' and 'ktor-tree'");
        assert!(outside.starts_with("../lib/kustomization.yaml:3:1: ") && outside.ends_with("and '..'"), "{outside}");
        let long = refusal(&"x".repeat(10_000));
        assert!(long.len() < 2_100, "{}", long.len());
    }

    #[test]
    fn k1_an_output_that_is_not_a_list_of_objects_is_an_error_at_the_kustomization() {
        let tree = [("a/kustomization.yaml", "resources: []")];
        for printed in ["a: [", "- x", "kind: A", "apiVersion: v1\nkind: A\nmetadata: {}"] {
            let error = found(&tree, printed).unwrap_err();
            assert!(error.starts_with("a/kustomization.yaml: "), "{printed}: {error}");
        }
        assert_eq!(found(&tree, ""), Ok(vec![]));
    }
}

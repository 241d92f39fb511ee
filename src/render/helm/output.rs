//! Reads the output of Helm: the objects, each with the template that printed it, and the errors.

use std::path::Path;

use serde_json::Value;

use super::chart::VALUES;
use super::entry::Entry;
use super::hooks::{self, Treatment};
use crate::object::manifest::Document;
use crate::project::files::Files;
use crate::project::snapshot::{SourceError, SourcePlace, printable};
use crate::project::tree::{Owner, Tree};
use crate::render::difference::difference;
use crate::render::plain;
use crate::render::yaml::{self, ValueBudget};

/// The line before each object, which names its template.
const SOURCE: &str = "# Source: ";

/// The maximum number of characters of an error message.
const LONGEST_MESSAGE: usize = 2_000;

/// The maximum number of hooks that an error names.
const MOST_NAMED: usize = 10;

/// The objects of a release.
#[derive(Debug, Default)]
pub(in crate::render) struct Found {
    /// The objects to apply.
    pub(in crate::render) documents: Vec<Document>,
    /// The number of hooks for moments that never come.
    pub(in crate::render) never: usize,
    /// The number of hooks that the policy leaves out.
    pub(in crate::render) skipped: usize,
}

/// Reads the objects that Helm printed for a release.
///
/// # Errors
///
/// The output is not YAML, or not a list of objects, or it has hooks about which no policy decides.
pub(in crate::render) fn documents(
    entry: &Entry,
    tree: &Tree,
    printed: &[u8],
    budget: &mut ValueBudget,
) -> Result<Found, SourceError> {
    let owner = owner(entry, tree);
    let sources = sources(printed);
    let read = yaml::read(&entry.file, printed, budget).map_err(|error| {
        let message = format!("the output of helm cannot be read: {}", error.message);
        SourceError::new(place(entry, &sources, error.place.line), message)
    });
    let mut found = Found::default();
    let mut undecided = Vec::new();
    for located in read? {
        let yaml::Document { place: printed_at, mut body } = located.document;
        match hooks::treat(&mut body, entry.hooks(tree)) {
            Treatment::Apply => {}
            Treatment::Never => {
                found.never += 1;
                continue;
            }
            Treatment::Skip => {
                found.skipped += 1;
                continue;
            }
            Treatment::Undecided(hook) => {
                undecided.push(hook);
                continue;
            }
        }
        let mut add =
            |place, body: Value| found.documents.push(Document { owner: owner.clone(), place, body: body.into() });
        plain::flatten(place(entry, &sources, printed_at.line), body, &[], &mut add)?;
    }
    if undecided.is_empty() { Ok(found) } else { Err(no_policy(entry, &undecided)) }
}

/// Returns the error of a release whose two renderings differ, or `None` if they have the same objects.
pub(in crate::render) fn random(
    entry: &Entry,
    first: &[u8],
    second: &[u8],
    budget: &mut ValueBudget,
) -> Option<SourceError> {
    let sources = sources(first);
    let mut bodies = |printed| {
        let read = yaml::read(&entry.file, printed, budget).ok()?;
        Some(read.into_iter().map(|located| located.document).collect::<Vec<_>>())
    };
    let because = "use fixed values, for example from a Secret that exists already";
    let (Some(one), Some(other)) = (bodies(first), bodies(second)) else {
        let message = format!("two renderings of the release differ: {because}");
        return Some(SourceError::new(entry.place().clone(), message));
    };
    let pair = one.iter().zip(&other).find_map(|(one, other)| Some((one, difference(&one.body, &other.body)?)));
    match pair {
        Some((document, field)) => {
            let text = |pointer: &str| document.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let (kind, name) = (text("/kind"), text("/metadata/name"));
            let field = if field.is_empty() { String::new() } else { format!(" at {field}") };
            let message =
                format!("two renderings of {kind} {name} differ{field}, so every run would change it: {because}");
            Some(SourceError::new(place(entry, &sources, document.place.line), message))
        }
        None if one.len() != other.len() => {
            let message = format!("two renderings of the release have different objects: {because}");
            Some(SourceError::new(entry.place().clone(), message))
        }
        None => None,
    }
}

/// Returns the error of a release that Helm refused. The paths in its message are those of the tree.
pub(in crate::render) fn refusal(entry: &Entry, files: &Files, message: &str) -> SourceError {
    // Warnings come before the error.
    let text = message.split_once("Error: ").map_or(message, |(_, error)| error).trim();
    let text = text.trim_end_matches("Use --debug flag to render out invalid YAML").trim_end_matches([';', ' ']);
    let (mut shown, mut place, mut rest) = (String::new(), None, text);
    let is_between = |c: char| c.is_whitespace() || "'\"(),;<>".contains(c);
    while !rest.is_empty() {
        let end = rest.find(is_between).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let (path, numbers) = word.split_at(word.find(':').unwrap_or(word.len()));
        match entry.tree_path(path) {
            Some(path) => {
                shown.push_str(&printable(&path));
                shown.push_str(numbers);
                let mut numbers = numbers.split(':').skip(1).map(str::parse::<usize>);
                let (line, column) = (numbers.next().and_then(Result::ok), numbers.next().and_then(Result::ok));
                // Templates count columns from 0. Values have their line in the text that follows.
                let is_values = word.starts_with(VALUES);
                let line = line.or_else(|| number_after(after, "line ").filter(|_| is_values));
                match line {
                    Some(line) => place = Some(SourcePlace::new(path, line, column.map_or(1, |column| column + 1))),
                    None if place.is_none() => place = Some(SourcePlace::whole(path)),
                    None => {}
                }
            }
            None => shown.push_str(word),
        }
        let next = after.chars().next().map_or(0, char::len_utf8);
        shown.push_str(&after[..next]);
        rest = &after[next..];
    }
    let place = place.filter(|place| files.loaded().contains_key(&place.path));
    let cut: String = shown.chars().take(LONGEST_MESSAGE).collect();
    let place = place.unwrap_or_else(|| entry.place().clone());
    SourceError::new(place, format!("helm cannot render {}: {cut}", printable(&entry.file)))
}

/// Returns the number after some text.
fn number_after(text: &str, before: &str) -> Option<usize> {
    let (_, after) = text.split_once(before)?;
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|line| *line > 0)
}

/// Returns the owner of the objects of a release.
fn owner(entry: &Entry, tree: &Tree) -> Owner {
    let owner = tree.owner_of(&entry.file);
    Owner { namespace: entry.namespace().map(str::to_owned).or(owner.namespace), ..owner }
}

/// Returns the names of the templates in an output, with the numbers of the lines that they begin after.
fn sources(printed: &[u8]) -> Vec<(usize, String)> {
    let lines: Vec<&[u8]> = printed.split(|byte| *byte == b'\n').collect();
    let named = lines.windows(2).enumerate().filter(|(_, pair)| pair[0] == b"---").filter_map(|(at, pair)| {
        let name = pair[1].strip_prefix(SOURCE.as_bytes())?;
        Some((at + 2, String::from_utf8_lossy(name).trim().to_owned()))
    });
    named.collect()
}

/// Returns the place of an object: its release, and the template that printed it.
fn place(entry: &Entry, sources: &[(usize, String)], line: usize) -> SourcePlace {
    let source = sources.iter().rev().find(|(at, _)| *at <= line);
    let place = entry.place().clone();
    match source {
        Some((_, name)) => match entry.template_path(name) {
            Some(path) => place.with_template(&path),
            None => place.with_template(Path::new(name)),
        },
        None => place,
    }
}

fn no_policy(entry: &Entry, hooks: &[String]) -> SourceError {
    let more = match hooks.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = hooks.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    let message = format!(
        "the chart has hooks for installs and upgrades: {named}{more}. Set `hooks: apply` to apply them like all other \
         objects, or `hooks: skip` to leave them out"
    );
    SourceError::new(entry.place().clone(), message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::Survey;
    use super::*;
    use crate::render::lock::Locked;

    const RELEASE: &str = "# The web shop.\nchart: ../charts/web\nname: web\n";

    fn with(release: &str, check: impl FnOnce(&Entry, &Tree, &Files)) {
        let mut files = Files::default();
        for (path, text) in [
            (".ktor.yaml", "project: demo\nnamespace: shop\n"),
            ("a/.ktor.yaml", "project: a\n"),
            ("a/web.helm.yaml", release),
            ("a/v.yaml", "x: 1"),
            ("charts/web/Chart.yaml", "name: web"),
            ("charts/web/templates/x.yaml", "x"),
            ("charts/web/charts/sub/Chart.yaml", "name: sub"),
            ("charts/web/charts/sub/templates/y.yaml", "x"),
        ] {
            files.load(path.into(), text.into());
        }
        let tree = Tree::load(files.loaded(), None).unwrap();
        let survey = Survey::of(&tree, &files, &Locked::default(), &BTreeSet::new());
        check(&survey.entries[0], &tree, &files);
    }

    fn read(release: &str, printed: &str) -> Result<(Vec<String>, usize, usize), String> {
        let mut read = Ok((vec![], 0, 0));
        with(release, |entry, tree, _| {
            let found = documents(entry, tree, printed.as_bytes(), &mut ValueBudget::default());
            read = found.map_err(|error| error.to_string()).map(|found| {
                let shown = |document: &Document| {
                    let Document { owner, place, body } = document;
                    let namespace = owner.namespace.clone().unwrap_or_default();
                    format!("{} {namespace} {place} {}", owner.project, body["metadata"]["name"].as_str().unwrap())
                };
                (found.documents.iter().map(shown).collect(), found.never, found.skipped)
            });
        });
        read
    }

    fn object(source: &str, name: &str, hook: &str) -> String {
        let annotations = if hook.is_empty() { "{}".to_owned() } else { format!("{{helm.sh/hook: '{hook}'}}") };
        format!(
            "---\n# Source: {source}\napiVersion: v1\nkind: A\nmetadata: {{name: {name}, annotations: {annotations}}}\n"
        )
    }

    #[test]
    fn k4_objects_have_the_release_and_the_template_and_the_namespace_of_the_release() {
        let printed = [
            object("web/templates/x.yaml", "one", ""),
            "---\n# another document of the same template\napiVersion: v1\nkind: A\nmetadata: {name: two}\n".to_owned(),
            object("web/charts/sub/templates/y.yaml", "three", ""),
            object("web/templates/gone.yaml", "four", ""),
        ];
        let (found, ..) = read(&format!("{RELEASE}namespace: other\n"), &printed.concat()).unwrap();
        assert_eq!(
            found,
            [
                "demo.a other a/web.helm.yaml:2:1 (charts/web/templates/x.yaml) one",
                "demo.a other a/web.helm.yaml:2:1 (charts/web/templates/x.yaml) two",
                "demo.a other a/web.helm.yaml:2:1 (charts/web/charts/sub/templates/y.yaml) three",
                "demo.a other a/web.helm.yaml:2:1 (web/templates/gone.yaml) four",
            ]
        );
        let (found, ..) = read(RELEASE, &printed.concat()).unwrap();
        assert!(found[0].starts_with("demo.a shop "), "{found:?}");
        let error = read(RELEASE, &(printed[0].clone() + "---\n# Source: web/templates/x.yaml\na: [\n")).unwrap_err();
        let expected = "a/web.helm.yaml:2:1 (charts/web/templates/x.yaml): the output of helm cannot be read: ";
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(read(RELEASE, "").unwrap(), (vec![], 0, 0));
    }

    #[test]
    fn k5_hooks_are_counted_and_those_without_a_policy_are_listed() {
        let printed = [object("s", "a", "test"), object("s", "b", "pre-install"), object("s", "c", "")].concat();
        let error = read(RELEASE, &printed).unwrap_err();
        assert!(error.contains("hooks for installs and upgrades: A b (pre-install). Set `hooks: apply`"), "{error}");
        let many: String = (0..12).map(|at| object("s", &format!("x{at}"), "pre-upgrade")).collect();
        let error = read(RELEASE, &many).unwrap_err();
        assert!(error.contains("A x9 (pre-upgrade) and 2 more. Set"), "{error}");
        let (found, never, skipped) = read(&format!("{RELEASE}hooks: skip\n"), &printed).unwrap();
        assert_eq!((found.len(), never, skipped), (1, 1, 1));
        let (found, never, skipped) = read(&format!("{RELEASE}hooks: apply\n"), &printed).unwrap();
        assert_eq!((found.len(), never, skipped), (2, 1, 0));
    }

    #[test]
    fn k6_a_difference_names_object_and_field_and_no_value() {
        with(RELEASE, |entry, _, _| {
            let printed = |value: &str, name: &str| {
                format!(
                    "---\n# Source: web/templates/x.yaml\nkind: S\nmetadata: {{name: {name}}}\ndata: {{p: {value}}}\n"
                )
            };
            let random = |one: &str, other: &str| {
                random(entry, one.as_bytes(), other.as_bytes(), &mut ValueBudget::default())
                    .map(|error| error.to_string())
            };
            let error = random(&printed("secret", "x"), &printed("other", "x")).unwrap();
            assert_eq!(
                error,
                "a/web.helm.yaml:2:1 (charts/web/templates/x.yaml): two renderings of S x differ at /data/p, so every run \
                 would change it: use fixed values, for example from a Secret that exists already"
            );
            assert_eq!(random(&printed("a", "x"), &format!("# now\n{}", printed("a", "x"))), None);
            let more = printed("a", "x") + &printed("a", "y");
            assert!(random(&printed("a", "x"), &more).unwrap().contains("have different objects"));
        });
    }

    #[test]
    fn k4_errors_have_the_paths_of_the_tree_with_line_and_column() {
        with(&format!("{RELEASE}values-file: v.yaml\n"), |entry, _, files| {
            for (message, expected) in [
                (
                    "WARNING: x; Error: template: web/templates/x.yaml:2:13: executing \"web/templates/x.yaml\" at <.a.b>: nil",
                    "charts/web/templates/x.yaml:2:14: helm cannot render a/web.helm.yaml: template: \
                     charts/web/templates/x.yaml:2:13: executing \"charts/web/templates/x.yaml\" at <.a.b>: nil",
                ),
                (
                    "Error: parse error at (web/charts/sub/templates/y.yaml:3): unclosed action",
                    "charts/web/charts/sub/templates/y.yaml:3:1: helm cannot render a/web.helm.yaml: parse error at \
                     (charts/web/charts/sub/templates/y.yaml:3): unclosed action",
                ),
                (
                    "Error: failed to parse ktor-values/0.yaml: error converting YAML to JSON: yaml: line 4: did not find",
                    "a/v.yaml:4:1: helm cannot render a/web.helm.yaml: failed to parse a/v.yaml: error converting YAML to \
                     JSON: yaml: line 4: did not find",
                ),
                (
                    "Error: YAML parse error on web/templates/x.yaml: error converting YAML to JSON: yaml: line 7: x; ; \
                     Use --debug flag to render out invalid YAML",
                    "charts/web/templates/x.yaml: helm cannot render a/web.helm.yaml: YAML parse error on \
                     charts/web/templates/x.yaml: error converting YAML to JSON: yaml: line 7: x",
                ),
                (
                    "Error: cannot load values.yaml: ktor-chart/values.yaml and ktor-chart",
                    "a/web.helm.yaml:2:1: helm cannot render a/web.helm.yaml: cannot load values.yaml: \
                     charts/web/values.yaml and charts/web",
                ),
            ] {
                assert_eq!(refusal(entry, files, message).to_string(), expected);
            }
            assert!(refusal(entry, files, &"x".repeat(10_000)).to_string().len() < 2_100);
        });
    }
}

//! The layers, and the rules that hold in every file, as a test over the text of `src/`.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::{Named, code, named, words};

const DOMAIN: [&str; 4] = ["project", "object", "state", "plan"];
const ADAPTERS: [&str; 5] = ["cluster", "forge", "git", "render", "process"];
const UPPER: [&str; 5] = ["report", "run", "conclusion", "action", "cli"];

/// The names that a module must not have, because they say nothing about its content.
const EMPTY_NAMES: [&str; 8] = ["util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"];

/// The paths that the domain must not name: clocks, the environment, I/O, randomness, logging, the network.
const OUTSIDE_THE_DOMAIN: [&str; 25] = [
    "std::env",
    "std::fs",
    "std::net",
    "std::os::fd",
    "std::os::unix::fs",
    "std::os::unix::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "fastrand",
    "futures",
    "getrandom",
    "http",
    "hyper",
    "k8s_openapi",
    "kube",
    "log",
    "octocrab",
    "rand",
    "reqwest",
    "rustls",
    "tokio",
    "tower",
    "tracing",
];

const MACROS_OUTSIDE_THE_DOMAIN: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// The words that only I/O uses. The last ones are methods of `Path` that read the disk.
const WORDS_OUTSIDE_THE_DOMAIN: [&str; 10] = [
    "async",
    "await",
    "stdin",
    "stdout",
    "stderr",
    "canonicalize",
    "read_dir",
    "read_link",
    "symlink_metadata",
    "try_exists",
];

const LONGEST_FILE: usize = 600;

/// The layers that know neither the options nor the commands of the program.
const BELOW_THE_COMMAND_LINE: [&str; 9] =
    ["project", "object", "state", "plan", "run", "cluster", "git", "render", "forge"];

/// The words that a doc comment does not open with: it opens with a noun or a verb.
const QUESTION_WORDS: [&str; 9] = ["what", "whether", "where", "why", "how", "which", "who", "whoever", "whatever"];

/// The largest share of doc comments that open with a question word, in percent.
const MOST_QUESTIONS: usize = 3;

/// Returns `true` if a file of the layer `from` may name the layer `to`.
fn may_name(from: &str, to: &str) -> bool {
    let rank = |layer: &str| DOMAIN.iter().position(|name| *name == layer);
    let is_adapter = ADAPTERS.contains(&to);
    match (from, rank(from), rank(to)) {
        ("cli" | "lib" | "main", _, _) | (_, None, Some(_)) => true,
        _ if from == to => true,
        (_, Some(from), to) => to.is_some_and(|to| to < from),
        ("git" | "render", _, _) => to == "process",
        ("run", _, _) => is_adapter && to != "forge",
        ("conclusion", _, _) => is_adapter && to != "forge" || ["report", "run"].contains(&to),
        ("action", _, _) => is_adapter || ["report", "run", "conclusion"].contains(&to),
        _ => false,
    }
}

/// Returns the module path of a file of `src/`: `plan/build.rs` is `[plan, build]`.
fn module(file: &str) -> Vec<&str> {
    let path = file.trim_end_matches(".rs");
    path.split('/').filter(|part| !matches!(*part, "lib" | "main" | "mod")).collect()
}

/// Returns `true` if `path` gives access to `forbidden`: it is that path or below it, or it imports a parent of that
/// path.
fn reaches(path: &Named, forbidden: &str) -> bool {
    let forbidden: Vec<&str> = forbidden.split("::").collect();
    let glob = path.segments.last().is_some_and(|last| last == "*");
    let segments = &path.segments[..path.segments.len() - usize::from(glob)];
    let shared = segments.iter().zip(&forbidden).take_while(|(one, other)| one == other).count();
    shared == forbidden.len() || (path.imported && shared == segments.len())
}

/// Returns the violations in a file, given its path below `src/` and the crates that the package depends on.
fn violations(file: &str, text: &str, dependencies: &BTreeSet<String>) -> Vec<String> {
    let module = module(file);
    let layer = module.first().copied().unwrap_or(if file == "main.rs" { "main" } else { "lib" });
    let code = code(text);
    let paths = named(&code, &module);
    let mut found = form(file, text, &code);
    if !["lib", "main"].contains(&layer) && !DOMAIN.iter().chain(&ADAPTERS).chain(&UPPER).any(|name| *name == layer) {
        found.push(format!("{layer} is none of the layers"));
    }
    found.extend(paths.iter().filter_map(|path| foreign_layer(layer, path)));
    if DOMAIN.contains(&layer) {
        found.extend(OUTSIDE_THE_DOMAIN.iter().flat_map(|name| reached(&paths, name, "is not for the domain")));
        for (word, after) in words(&code) {
            if WORDS_OUTSIDE_THE_DOMAIN.contains(&&*word)
                || (after == Some('!') && MACROS_OUTSIDE_THE_DOMAIN.contains(&&*word))
            {
                found.push(format!("{word} is not for the domain"));
            }
        }
    }
    if BELOW_THE_COMMAND_LINE.contains(&layer) {
        // Git and the engines have options of their own.
        let engines = ["render/kustomize/", "render/helm/"];
        let starts_others = layer == "git" || engines.iter().any(|engine| file.starts_with(engine));
        found.extend(options(starts_others, text).map(|line| format!("names an option or a command: {line}")));
    }
    if layer == "report" {
        let foreign = dependencies.iter().filter(|name| !["serde", "serde_json"].contains(&&***name));
        found.extend(foreign.flat_map(|name| reached(&paths, name, "is not for report")));
    }
    if layer != "cluster" {
        for name in ["kube::Error", "kube::error"] {
            found.extend(reached(&paths, name, "stays in cluster"));
        }
    }
    if layer != "cli" {
        found.extend(reached(&paths, "clap", "stays in cli"));
    }
    if layer != "forge" {
        found.extend(reached(&paths, "octocrab", "stays in forge"));
    }
    if file != "cli/env.rs" {
        found.extend(reached(&paths, "std::env", "stays in cli/env.rs"));
    }
    found
}

/// The lines of a file, without its tests, that name an option or a command of the program. A file that starts other
/// programs can name their options.
fn options(starts_others: bool, text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").map(str::trim);
    let is_option = |line: &str| {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        words.map(|word| word.trim_end_matches('-')).any(|word| word.starts_with("--") && word.len() > 3)
    };
    lines.filter(move |line| line.contains("`ktor ") || !starts_others && is_option(line))
}

fn reached(paths: &[Named], forbidden: &str, why: &str) -> Vec<String> {
    let hits = paths.iter().filter(|path| reaches(path, forbidden));
    hits.map(|path| format!("{}: {forbidden} {why}", path.segments.join("::"))).collect()
}

fn foreign_layer(layer: &str, path: &Named) -> Option<String> {
    let shown = path.segments.join("::");
    match path.segments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["crate", to, ..] if to != "*" => (!may_name(layer, to)).then(|| format!("{shown}: not for {layer}")),
        ["crate", ..] if !matches!(layer, "lib" | "main") => Some(format!("{shown}: names the whole crate")),
        _ => None,
    }
}

/// Returns the violations in a file's form and names.
fn form(file: &str, text: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push("does not open with //!".to_owned());
    }
    let lines = code.lines().count();
    if lines > LONGEST_FILE {
        found.push(format!("{lines} lines without tests"));
    }
    let inline = words(code);
    let inline = inline.windows(2).filter(|pair| pair[0].0 == "mod").map(|pair| pair[1].0.as_str());
    let names: BTreeSet<&str> = module(file).into_iter().chain(inline).collect();
    found.extend(names.iter().filter(|name| EMPTY_NAMES.contains(name)).map(|name| format!("{name} is no name")));
    found
}

/// Returns the crates of `[dependencies]`, as code names them.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let section = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let names = section.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = "));
    names.map(|(name, _)| name.replace('-', "_")).collect()
}

/// Adds the Rust files in a directory and below it to `found`.
pub(crate) fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_file_keeps_to_its_layer_and_form() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dependencies = dependencies(&fs::read_to_string(package.join("Cargo.toml")).unwrap());
    assert!(dependencies.contains("octocrab") && dependencies.contains("k8s_openapi"), "{dependencies:?}");
    let source = package.join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    assert!(files.contains(&source.join("lib.rs")) && files.contains(&source.join("git/tree.rs")));

    let found: BTreeSet<String> = files
        .iter()
        .flat_map(|path| {
            let file = path.strip_prefix(&source).unwrap().to_str().unwrap();
            let wrong = violations(file, &fs::read_to_string(path).unwrap(), &dependencies);
            wrong.into_iter().map(move |wrong| format!("src/{file}: {wrong}"))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.into_iter().collect::<Vec<_>>().join("\n"));
}

/// Returns the pairs of files that import each other, given the path and the text of every file below `src/`. A module
/// and its parent do not count, because the parent declares the module.
fn circles(files: &BTreeMap<String, String>) -> Vec<String> {
    let file_of = |path: &Named| {
        let segments = path.segments.split_first().filter(|(first, _)| *first == "crate")?.1;
        (1..=segments.len()).rev().find_map(|length| {
            let module = segments[..length].join("/");
            [format!("{module}.rs"), format!("{module}/mod.rs")].into_iter().find(|file| files.contains_key(file))
        })
    };
    let imports: BTreeMap<&String, BTreeSet<String>> = files
        .iter()
        .map(|(file, text)| {
            let paths = named(&code(text), &module(file));
            (file, paths.iter().filter(|path| path.imported).filter_map(file_of).collect())
        })
        .collect();
    let is_parent =
        |one: &str, other: &str| module(other).split_last().is_some_and(|(_, parent)| parent == module(one));
    let both = |one: &String, other: &String| {
        one < other
            && !is_parent(one, other)
            && !is_parent(other, one)
            && imports.get(other).is_some_and(|its| its.contains(one))
    };
    let pairs = imports.iter().flat_map(|(one, its)| its.iter().map(move |other| (*one, other)));
    pairs.filter(|(one, other)| both(one, other)).map(|(one, other)| format!("{one} and {other}")).collect()
}

#[test]
fn no_two_files_import_each_other() {
    let tree = |files: &[(&str, &str)]| files.iter().map(|(file, text)| (file.to_string(), text.to_string())).collect();
    let files = tree(&[
        ("a/b.rs", "use super::c::X; use crate::d::Y;"),
        ("a/c.rs", "use crate::a::b::{Z, z};"),
        ("d/mod.rs", "mod e; use self::e::W;"),
        ("d/e.rs", "use super::V; fn f() { crate::a::b::g() }"),
    ]);
    assert_eq!(circles(&files), ["a/b.rs and a/c.rs"]);

    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    rust_files(&source, &mut paths);
    let name = |path: &Path| path.strip_prefix(&source).unwrap().to_str().unwrap().to_owned();
    let files = paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect();
    assert_eq!(circles(&files), [""; 0], "what two files share belongs in a third one");
}

/// Checks a text, after an opening line, against the rules for a file.
fn check(file: &str, text: &str, expected: &[&str]) {
    let dependencies = ["kube", "serde", "serde_json", "similar", "tokio"].map(str::to_owned).into();
    let found = violations(file, &format!("//! Opens.\n{text}"), &dependencies);
    assert_eq!(found, expected, "{file}: {text}");
}

#[test]
fn the_options_and_the_commands_are_named_at_the_edge_alone() {
    let says = |text: &str| format!("names an option or a command: {text}");
    for text in ["#[error(\"give --kubeconfig FILE\")]", "/// As `ktor state list` prints it.", "f(\"--yes\");"] {
        check("state/x.rs", text, &[&says(text)]);
        check("cli/x.rs", text, &[]);
    }
    check("git/x.rs", "args([\"log\", \"--format=%H\"]);", &[]);
    check("state/x.rs", "let x = y--; // -- and ---", &[]);
}

/// The first lines of the doc comments in a file, without their marks.
fn doc_openings(text: &str) -> Vec<&str> {
    let doc = |line: &'_ str| line.strip_prefix("///").or(line.strip_prefix("//!")).is_some();
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let opens = |at: usize| doc(lines[at]) && (at == 0 || !doc(lines[at - 1]));
    (0..lines.len()).filter(|at| opens(*at)).map(|at| lines[at][3..].trim()).collect()
}

fn is_question(opening: &str) -> bool {
    let word = opening.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    QUESTION_WORDS.contains(&&*word.to_ascii_lowercase())
}

#[test]
fn doc_comments_open_with_a_noun_or_a_verb() {
    assert_eq!(
        doc_openings("//! A.\n//! b\n\n    /// Why.\nfn f() {}\n// What.\n/// The c.\n"),
        ["A.", "Why.", "The c."]
    );
    assert!(is_question("Whether a") && is_question("why") && !is_question("Whichever") && !is_question(""));

    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(&package.join("src"), &mut files);
    rust_files(&package.join("tests"), &mut files);
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let openings: Vec<&str> = texts.iter().flat_map(|text| doc_openings(text)).collect();
    let questions: Vec<&&str> = openings.iter().filter(|opening| is_question(opening)).collect();
    assert!(openings.len() > 3_000, "{}", openings.len());
    assert!(100 * questions.len() <= MOST_QUESTIONS * openings.len(), "{questions:#?}");
}

#[test]
fn layers_name_only_what_lies_below_them() {
    let all = || DOMAIN.iter().chain(&ADAPTERS).chain(&UPPER).copied();
    for (from, allowed) in [
        ("project", &[][..]),
        ("object", &["project"]),
        ("state", &["project", "object"]),
        ("plan", &["project", "object", "state"]),
        ("cluster", &DOMAIN),
        ("forge", &DOMAIN),
        ("process", &DOMAIN),
        ("git", &["project", "object", "state", "plan", "process"]),
        ("render", &["project", "object", "state", "plan", "process"]),
        ("report", &DOMAIN),
        ("run", &["project", "object", "state", "plan", "cluster", "git", "render", "process"]),
        ("conclusion", &["project", "object", "state", "plan", "cluster", "git", "render", "process", "report", "run"]),
        ("action", &all().filter(|layer| *layer != "cli").collect::<Vec<_>>()),
        ("cli", &all().collect::<Vec<_>>()),
    ] {
        for to in all().filter(|to| *to != from) {
            let wrong = format!("crate::{to}::X: not for {from}");
            let expected: &[&str] = if allowed.contains(&to) { &[] } else { &[&wrong] };
            check(&format!("{from}/x.rs"), &format!("use crate::{to}::X;"), expected);
        }
    }
}

#[test]
fn a_layer_is_named_in_any_way_of_writing() {
    let wrong = ["crate::git::X: not for plan"];
    for text in [
        "use crate::git::X;",
        "use super::super::git::X;",
        "use crate::{object::ident, git::{X}};",
        "pub(crate) use ktor_action::git::X as Y;",
        "fn f() { let x = crate::git::X::<u8> { y }; }",
        "impl<'a> From<&'a crate::git::X> for Y {}",
        "#[cfg(test)]\nuse crate::git::X;",
        "#[cfg(test)]\nmod tests {\n    use crate::run::Y;\n}\nuse crate::git::X;",
        "mod inner { use super::super::super::git::X; }",
    ] {
        check("plan/build.rs", text, &wrong);
    }
    check("plan/mod.rs", "use super::git::X;", &wrong);
    check("plan/build.rs", "use crate as c;", &["crate: names the whole crate"]);
    check("plan/build.rs", "use super::super as c;", &["crate: names the whole crate"]);
    check("plan/build.rs", "use crate::*;", &["crate::*: names the whole crate"]);
    for text in [
        "// use crate::git::X;",
        "/* use crate::git::X; */ fn f() -> &'static str { \"crate::git::X\" }",
        "/// See [`crate::git::X`].\npub(in crate::plan) fn f() {}",
        "#[cfg(test)]\nmod tests {\n    use crate::git::X;\n}",
        "pub(crate) fn f() { self::g(); super::h(); git::x() }",
    ] {
        check("plan/build.rs", text, &[]);
    }
    check("lib.rs", "pub mod git; pub use git::X; use crate::git::Y;", &[]);
    check("lease/x.rs", "", &["lease is none of the layers"]);
}

#[test]
fn the_domain_does_nothing_but_decide() {
    for (text, wrong) in [
        ("async fn f() {}", "async is not for the domain"),
        ("fn f() { println!() }", "println is not for the domain"),
        ("fn f() { io::stdout() }", "stdout is not for the domain"),
        ("fn f(p: &Path) { p.canonicalize() }", "canonicalize is not for the domain"),
        ("use std::time::Instant;", "std::time::Instant: std::time::Instant is not for the domain"),
        (
            "use std::time::{Duration, SystemTime};",
            "std::time::SystemTime: std::time::SystemTime is not for the domain",
        ),
        ("use std::fs::File;", "std::fs::File: std::fs is not for the domain"),
        ("fn f() { std::net::lookup() }", "std::net::lookup: std::net is not for the domain"),
        ("fn f() { std::process::abort() }", "std::process::abort: std::process is not for the domain"),
        ("use tokio::sync::Mutex;", "tokio::sync::Mutex: tokio is not for the domain"),
        ("use rand::random;", "rand::random: rand is not for the domain"),
        ("fn f() { tracing::info!() }", "tracing::info: tracing is not for the domain"),
        ("use kube::Client;", "kube::Client: kube is not for the domain"),
    ] {
        for layer in DOMAIN {
            check(&format!("{layer}/x.rs"), text, &[wrong]);
        }
    }
    for text in ["use std::time::Duration;", "use std::{fmt, io};", "fn log(tokio: u8) { log(tokio) }"] {
        check("plan/x.rs", text, &[]);
    }
    let clock = ["use std::time;", "use std::time::*;"]
        .map(|text| violations("plan/x.rs", &format!("//! x\n{text}"), &BTreeSet::new()));
    assert!(clock.iter().all(|found| found.len() == 2), "a module of clocks is a clock: {clock:?}");
}

#[test]
fn errors_and_the_environment_stay_where_they_belong() {
    let kube = "kube::Error: kube::Error stays in cluster";
    for file in ["run/x.rs", "action/x.rs", "cli/x.rs", "git/x.rs"] {
        check(file, "fn f(e: kube::Error) {}", &[kube]);
        check(file, "use octocrab::Octocrab;", &["octocrab::Octocrab: octocrab stays in forge"]);
        check(file, "use std::env::var;", &["std::env::var: std::env stays in cli/env.rs"]);
        check(file, "use kube::Client;", &[]);
        let clap: &[&str] = if file == "cli/x.rs" { &[] } else { &["clap::Parser: clap stays in cli"] };
        check(file, "use clap::Parser;", clap);
    }
    check("cluster/x.rs", "fn f(e: kube::Error) {}", &[]);
    check("forge/x.rs", "use octocrab::Octocrab;", &[]);
    check("cli/env.rs", "use std::env;", &[]);
    check("report/x.rs", "use similar::TextDiff;", &["similar::TextDiff: similar is not for report"]);
    check("report/x.rs", "use serde_json::Value; use std::fmt; use crate::plan::X;", &[]);
}

#[test]
fn files_have_a_size_a_first_line_and_a_name() {
    let lines = |count: usize| format!("//! x\n{}", "// y\n".repeat(count - 1));
    let none = BTreeSet::new();
    assert_eq!(violations("plan/x.rs", &lines(600), &none), [""; 0]);
    assert_eq!(violations("plan/x.rs", &lines(601), &none), ["601 lines without tests"]);
    let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(600), "    // z\n".repeat(900));
    assert_eq!(violations("plan/x.rs", &tested, &none), [""; 0]);
    assert_eq!(violations("plan/x.rs", "// x\n", &none), ["does not open with //!"]);
    check("plan/helpers.rs", "", &["helpers is no name"]);
    check("plan/util/mod.rs", "", &["util is no name"]);
    check("plan/mod.rs", "mod common;", &["common is no name"]);
    check("plan/x.rs", "fn common(util: u8) {}", &[]);
}

#[test]
fn dependencies_are_read_from_the_manifest() {
    let manifest = "[package]\nname = \"x\"\n\n[dependencies]\na-b = \"1\"\nc = { version = \"2\" }\n\n[dev-dependencies]\nd = \"3\"\n";
    assert_eq!(dependencies(manifest), ["a_b".to_owned(), "c".to_owned()].into());
}

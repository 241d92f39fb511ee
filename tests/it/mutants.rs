//! The check of the deliberate defects against the code. `tests/mutants/run` makes the defects, one by one.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

#[derive(Deserialize)]
struct Defect {
    name: String,
    file: String,
    before: Vec<String>,
    after: Vec<String>,
    killed_by: Vec<String>,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the names of the tests in this binary.
fn own_tests() -> BTreeSet<String> {
    let output = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    listed.lines().filter_map(|line| Some(line.strip_suffix(": test")?.to_owned())).collect()
}

/// Returns `true` if the file of a module below `folder` has a test with this name.
fn is_in_file(folder: &str, (module, name): (&str, &str)) -> bool {
    let module = module.replace("::", "/");
    let whole = format!("{folder}/{module}/mod.rs");
    let is_folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(&whole).is_file();
    read(&if is_folder { whole } else { format!("{folder}/{module}.rs") }).contains(&format!("fn {name}("))
}

#[test]
fn every_deliberate_defect_can_be_made_and_names_a_test_that_exists() {
    let defects: Vec<Defect> = serde_json::from_str(&read("tests/mutants/defects.json")).unwrap();
    let own = own_tests();
    assert!(own.contains("mutants::every_deliberate_defect_can_be_made_and_names_a_test_that_exists"));
    let mut names = BTreeSet::new();
    for Defect { name, file, before, after, killed_by } in &defects {
        assert!(names.insert(name), "{name}: twice");
        assert_eq!(read(file).matches(&before.join("\n")).count(), 1, "{name}: {file} has not this once: {before:#?}");
        assert_ne!(before, after, "{name}");
        assert!(!killed_by.is_empty(), "{name}: nothing kills it");
        for test in killed_by {
            let exists = match test.split_once(": ") {
                None => test.split_once("::tests::").is_some_and(|test| is_in_file("src", test)),
                Some(("tests/it", test)) => own.contains(test),
                Some((folder @ "tests/cluster", test)) => {
                    test.rsplit_once("::").is_some_and(|test| is_in_file(folder, test))
                }
                Some(_) => false,
            };
            assert!(exists, "{name}: there is no test {test}");
        }
    }
}

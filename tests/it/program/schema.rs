//! The JSON reports of the snapshots against the published schema.

use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};

const SCHEMA: &str = include_str!("../../../src/report/json/v1.schema.json");

/// The beginnings of the names of snapshots with other documents. The schema is of the reports of plans and applies.
const OTHERS: [&str; 2] = ["scope_", "state_"];

fn validator(schema: &Value) -> Validator {
    jsonschema::validator_for(schema).unwrap()
}

/// Returns the JSON document in a snapshot: the standard output of a program, or the whole text. Returns `None` if there
/// is none, as after an error.
fn document(text: &str) -> Option<Value> {
    let (_, text) = text.split_once("\n---\n")?;
    let text = match text.split_once("\n[standard output]\n") {
        Some((_, streams)) => streams.split_once("\n[standard error]\n")?.0,
        None => text,
    };
    text.trim_start().starts_with('{').then(|| serde_json::from_str(text).unwrap())
}

/// Returns the names and the reports of all JSON snapshots of plans and applies.
fn reports() -> Vec<(String, Value)> {
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots");
    let folders = [snapshots.join("program"), snapshots];
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut reports = Vec::new();
    for file in entries.map(|entry| entry.unwrap().path()).filter(|file| file.is_file()) {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        if !OTHERS.iter().any(|other| name.starts_with(other)) {
            let text = std::fs::read_to_string(&file).unwrap();
            reports.extend(document(&text).map(|document| (name, document)));
        }
    }
    reports
}

#[test]
fn every_json_report_fits_the_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = validator(&schema);
    let reports = reports();
    assert!(reports.len() > 15, "{} JSON reports", reports.len());
    for (name, report) in reports {
        let errors: Vec<String> = validator.iter_errors(&report).map(|error| format!("{error}")).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

/// A schema that does not allow what the reports contain, and a report that lacks what the schema requires.
#[test]
fn a_report_that_does_not_fit_is_found() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut broken = schema.clone();
    for document in ["Plan", "Outcome"] {
        broken["$defs"][document]["properties"]["root"] = json!({"type": "integer"});
    }
    let (sound, broken) = (validator(&schema), validator(&broken));
    for (name, mut report) in reports() {
        assert!(!broken.is_valid(&report), "{name}");
        report.as_object_mut().unwrap().remove("summary");
        assert!(!sound.is_valid(&report), "{name}");
    }
}

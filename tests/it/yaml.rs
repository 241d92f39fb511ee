//! YAML as kubectl reads it (B1): the corpus of `tests/cases/yaml`, whose expectations are kubectl's own reading.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ktor_action::object::manifest::Document;
use ktor_action::project::snapshot::SourceError;
use ktor_action::render::yaml::{MAX_BYTES, MAX_DEPTH, documents};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Corpus {
    cases: Vec<Case>,
}

/// One case; `oracle/main.go` says what the fields mean.
#[derive(Deserialize)]
struct Case {
    name: String,
    input: Option<String>,
    base64: Option<String>,
    kubectl: Option<Vec<Value>>,
    kubectl_error: Option<String>,
    stricter: Option<Stricter>,
    says: Option<String>,
}

#[derive(Deserialize)]
struct Stricter {
    error: String,
}

fn read(bytes: &[u8]) -> Result<Vec<Value>, SourceError> {
    let bodies = |documents: Vec<Document>| documents.into_iter().map(|document| document.body).collect();
    documents(Path::new("a.yaml"), bytes).map(bodies)
}

fn read_text(text: &str) -> Result<Vec<Value>, String> {
    read(text.as_bytes()).map_err(|error| error.to_string())
}

/// Equal as JSON: a number is what it stands for, however it is written.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a == b,
            _ => a.as_f64() == b.as_f64(),
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        match (&self.input, &self.base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(packed)) => STANDARD.decode(packed).unwrap(),
            _ => panic!("{}: give it either an input or a base64", self.name),
        }
    }

    /// What is wrong, if anything is.
    fn check(&self) -> Result<(), String> {
        let ours = read(&self.bytes()).map_err(|error| error.to_string());
        let refusal = self.stricter.as_ref().map(|stricter| &stricter.error).or(self.says.as_ref());
        match (&self.kubectl, &self.kubectl_error) {
            (Some(_), None) if refusal.is_some() => {}
            (Some(theirs), None) => {
                let ours = ours.map_err(|error| format!("kubectl reads {}, we say: {error}", json!(theirs)))?;
                let equal = ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b));
                return if equal {
                    Ok(())
                } else {
                    Err(format!("kubectl reads {}, we {}", json!(theirs), json!(ours)))
                };
            }
            (None, Some(_)) if self.stricter.is_none() => {}
            _ => return Err("the expectation contradicts itself: run the oracle again".to_owned()),
        }
        match (ours, refusal) {
            (Ok(ours), _) => Err(format!("must be refused ({:?}), we read {}", self.kubectl_error, json!(ours))),
            (Err(error), _) if !error.starts_with("a.yaml:") => Err(format!("an error without a place: {error}")),
            (Err(error), Some(part)) if !error.contains(part.as_str()) => {
                Err(format!("must say {part:?}, says: {error}"))
            }
            (Err(_), _) => Ok(()),
        }
    }
}

fn corpus(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/yaml").join(file);
    let text = std::fs::read(&path).unwrap();
    serde_json::from_slice::<Corpus>(&text).unwrap().cases
}

fn check(file: &str, at_least: usize) {
    let cases = corpus(file);
    assert!(cases.len() >= at_least, "{file}: {} cases", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "{file}: a name stands twice");
    let mut failures = String::new();
    for case in &cases {
        if let Err(failure) = case.check() {
            writeln!(failures, "{}: {failure}", case.name).unwrap();
        }
    }
    assert!(failures.is_empty(), "{file}:\n{failures}");
}

#[test]
fn b1_scalars_mean_what_kubectl_means() {
    check("scalars.json", 200);
}

#[test]
fn b1_tags_mean_what_kubectl_means() {
    check("tags.json", 80);
}

#[test]
fn b1_keys_mean_what_kubectl_means() {
    check("keys.json", 70);
}

#[test]
fn b1_aliases_and_merges_mean_what_kubectl_means() {
    check("aliases.json", 45);
}

#[test]
fn b1_documents_are_what_kubectl_finds() {
    check("documents.json", 80);
}

#[test]
fn b1_syntax_means_what_kubectl_means() {
    check("syntax.json", 140);
}

#[test]
fn b1_json_means_what_kubectl_means() {
    check("json.json", 40);
}

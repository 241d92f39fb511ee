//! YAML as kubectl reads it (B1): the corpus of `tests/cases/yaml`, whose expectations are kubectl's own results.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ktor_action::project::snapshot::SourceError;
use ktor_action::render::yaml::{Document, MAX_BYTES, MAX_DEPTH, documents};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Corpus {
    cases: Vec<Case>,
}

/// One case. `oracle/main.go` describes the fields.
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

/// Returns `true` if two values are equal as JSON. Numbers are equal if they have the same value, however they are
/// written.
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
            (None, Some(packed)) => STANDARD.decode(packed).expect("base64"),
            _ => panic!("{}: give it either an input or a base64", self.name),
        }
    }

    /// Returns an error that describes the difference from kubectl, if there is one.
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
    let text = std::fs::read(&path).expect("the corpus");
    serde_json::from_slice::<Corpus>(&text).expect("a corpus").cases
}

fn check(file: &str, at_least: usize) {
    let cases = corpus(file);
    assert!(cases.len() >= at_least, "{file}: {} cases", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "{file}: a name stands twice");
    let failures: Vec<_> =
        cases.iter().filter_map(|case| Some(format!("{}: {}", case.name, case.check().err()?))).collect();
    assert!(failures.is_empty(), "{file}:\n{}", failures.join("\n"));
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

/// Returns a 1 inside of `levels` lists or mappings, in each notation.
fn nested(levels: usize) -> Vec<(&'static str, String)> {
    vec![
        ("flow lists", format!("{}1{}", "[".repeat(levels), "]".repeat(levels))),
        ("flow mappings", format!("{}1{}", "{a: ".repeat(levels), "}".repeat(levels))),
        ("JSON", format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))),
        ("block lists", format!("{}1", "- ".repeat(levels))),
        ("explicit keys", format!("{}1", "? ".repeat(levels))),
    ]
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[test]
fn b1_depth_is_bounded_and_said_so() {
    for (name, text) in nested(MAX_DEPTH).into_iter().filter(|(name, _)| *name != "explicit keys") {
        let found = read_text(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found.iter().map(depth).collect::<Vec<_>>(), [MAX_DEPTH], "{name}");
    }
    for levels in [MAX_DEPTH + 1, 300, 10_000] {
        for (name, text) in nested(levels) {
            let error = read_text(&text).unwrap_err();
            let expected = ["nested more than 120 levels deep", "is no key in JSON"];
            assert!(expected.iter().any(|part| error.contains(part)), "{name}, {levels}: {error}");
        }
    }
    let indented: Vec<_> = (0..2_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    assert!(read_text(&indented.concat()).unwrap_err().starts_with("a.yaml:121:121: nested more than"));
}

#[test]
fn b1_depth_counts_through_aliases_and_merges() {
    let chain = |link: &dyn Fn(usize) -> String| (1..300).map(link).collect::<String>();
    let lists = format!("a0: &a0 []\n{}", chain(&|n| format!("a{n}: &a{n} [*a{}]\n", n - 1)));
    let merges = format!("a0: &a0 {{}}\n{}", chain(&|n| format!("a{n}: &a{n} {{<<: *a{}}}\n", n - 1)));
    for text in [lists, merges] {
        let error = read_text(&text).unwrap_err();
        assert!(error.contains("nested more than 120 levels deep"), "{error}");
    }
}

#[test]
fn b1_large_but_honest_documents_are_read() {
    let numbers: Vec<_> = (0..300_000).map(|n| format!("- {n}\n")).collect();
    assert_eq!(read_text(&numbers.concat()).unwrap()[0].as_array().unwrap().len(), 300_000);
    let documents = "a: 1\n---\n".repeat(1_025);
    assert_eq!(read_text(&documents).unwrap().len(), 1_025);
    let aliases = format!("a: &x {{k: v}}\nb:\n{}", "- *x\n".repeat(20_000));
    assert_eq!(read_text(&aliases).unwrap()[0]["b"].as_array().unwrap().len(), 20_000);
}

#[test]
fn b1_what_would_exhaust_memory_is_refused() {
    let large = vec![b'#'; MAX_BYTES + 1];
    let error = read(&large).unwrap_err().to_string();
    assert_eq!(error, "a.yaml: the file has 64 MiB, more than the 64 MiB that are read: split it, or exclude it");
    let copies = format!("a: &x {}\nb:\n{}", "x".repeat(1 << 20), "- *x\n".repeat(100));
    assert!(read_text(&copies).unwrap_err().contains("aliases copy too much"));
    let keys = format!("a: &x {}\nb:\n{}", "x".repeat(1 << 20), "- {*x : 1}\n".repeat(100));
    assert!(read_text(&keys).unwrap_err().contains("aliases copy too much"));
    let nodes = format!("[{}]", "1,".repeat(1_000_001));
    assert!(read_text(&nodes).unwrap_err().contains("more than 1000000 values"));
}

#[test]
fn x12_aliases_expand_to_no_more_than_a_tree_may_have() {
    let fields: String = (0..20).map(|number| format!("k{number}: v, ")).collect();
    let nested = "a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n";
    for (hostile, said) in [
        (format!("a: &x {{{fields}}}\nb:\n{}", "- *x\n".repeat(110_000)), "aliases expand to too many values"),
        (format!("a: &x [{}]\nb:\n{}", "1,".repeat(1_000), "- *x\n".repeat(110_000)), "aliases expand to"),
        (format!("a: &x {}\nb:\n{}", "x".repeat(1_000), "- *x\n".repeat(110_000)), "aliases copy too much"),
        (format!("{nested}d:\n{}", "- *c\n".repeat(50_000)), "aliases expand to"),
        (format!("a: &x {{{fields}}}\nb:\n{}", "- {<<: *x}\n".repeat(60_000)), "aliases expand to"),
    ] {
        let error = read_text(&hostile).unwrap_err();
        assert!(error.starts_with("a.yaml:") && error.contains(said), "{error}");
    }
}

/// A reader that is quadratic in any of these parts would take minutes.
#[test]
fn b1_hostile_repetition_is_read_in_linear_time() {
    let parts = [
        "[",
        "{",
        "]",
        "a: ",
        "? ",
        "- ",
        "&a ",
        "*a ",
        "!a ",
        "'",
        "\"",
        "\\",
        "\"\\",
        "#\n",
        "a\n",
        " ",
        "\n",
        "\t",
        "|\n",
        ">\n ",
        "---\n",
        "...\n",
        "%a\n",
        "{a: 1}",
        "{}",
        "\r",
        "a b ",
        "- |\n\n",
        "- |2\n  \tx\n",
        "[a, ",
        "{a: {",
        "a:\n",
        "\n\n  a",
        "<<: ",
        "\"a\" ",
        "- &a x\n",
        "- a: {b\n",
        "é",
        "- |\n \tx\n",
        "a: 'b\n",
        "- 1\n   \t",
        "x,",
        "{\"a\":",
        "[a\n:",
    ];
    for part in parts {
        let body = part.repeat(100_000 / part.len());
        for text in [body.clone(), format!("[{body}"), format!("a:\n  b: {body}"), format!("a: |\n  {body}")] {
            let start = Instant::now();
            let _ = read(text.as_bytes());
            assert!(start.elapsed() < Duration::from_secs(30), "{part:?} took {:?}", start.elapsed());
        }
    }
}

#[test]
fn b1_json_strings_hold_any_character() {
    let characters: Vec<char> = (0..=0x10_FFFF).filter_map(char::from_u32).collect();
    for block in characters.chunks(4096) {
        let object = json!({ "v": block.iter().collect::<String>() });
        assert_eq!(read_text(&object.to_string()).unwrap(), [object]);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        "[ -~]{0,12}",
        "(on|no|~|0644|1e3|<<|.inf|'|\"|\\\\|\u{2028}|\u{85}|: |- |#){1,3}"
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1e6..1e6).prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..6)
                .prop_map(|entries| { Value::Object(entries.into_iter().collect::<Map<_, _>>()) }),
        ]
    })
}

fn yaml_soup() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "a",
        "b: ",
        "- ",
        "\n",
        "\n  ",
        " ",
        "\t",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ": ",
        "? ",
        "'",
        "\"",
        "#",
        "|\n",
        ">-\n ",
        "&a ",
        "*a",
        "!!int ",
        "!!binary ",
        "<<: ",
        "1",
        "~",
        "---\n",
        "...\n",
        "\r\n",
        "\u{feff}",
        "%",
        "\\x4",
        "\0",
        "é",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn b1_json_reads_back_equal(value in any_json()) {
        let object = json!({ "v": value });
        for text in [object.to_string(), serde_json::to_string_pretty(&object).unwrap()] {
            let found = read_text(&text).map_err(TestCaseError::fail)?;
            prop_assert!(found.len() == 1 && same(&found[0], &object), "{text}: {found:?}");
        }
    }

    #[test]
    fn b1_no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    #[test]
    fn b1_no_text_makes_it_panic_and_every_error_has_a_place(text in yaml_soup()) {
        if let Err(error) = read(text.as_bytes()) {
            prop_assert!(error.place.line > 0 && error.place.column > 0, "{error}");
            prop_assert!(error.place.line <= text.matches('\n').count() + 2, "{error}");
        }
    }
}

//! Templates, rendered by Kubernator's own engine and by ktor.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use ktor_action::object::kinds::Kinds;
use ktor_action::process::Environment;
use ktor_action::process::engine::Policy;
use ktor_action::run::sources::{Engines, Origin, Sources};
use serde_json::{Value, json};
use support::kubernator::Kubernator;

/// The parts that texts are made of. They are what YAML, JSON and Python treat in their own ways.
const PARTS: [&str; 56] = [
    "a",
    "b",
    " ",
    "  ",
    "\n",
    "\n\n",
    ":",
    ": ",
    "#",
    " #",
    "'",
    "\"",
    "\\",
    "-",
    "- ",
    "---",
    "...",
    "\u{e9}",
    "\t",
    "0",
    "1",
    "1.5",
    "1e3",
    "1.0e+3",
    "0x1f",
    "017",
    "1:30",
    "1_000",
    "true",
    "No",
    "null",
    "~",
    "=",
    "<<",
    "?",
    "{",
    "}",
    "[",
    ",",
    "&",
    "*",
    "!",
    "%",
    "@",
    "2020-01-01",
    "2020-1-2 3:04:05",
    "2001-12-14t21:59:43.10-05:00",
    "T10:00:00Z",
    "+1:30:45.5",
    "-.5e+3",
    ".inf",
    "0b1_0",
    "\r",
    "\u{e9}t\u{e9} et ainsi de suite ",
    "a word and another one ",
    "a-word-that-is-longer-than-most-words-are-in-any-language ",
];

/// Characters that Python does not print as they are. A text that is part of a list prints them in its own way.
const EXOTIC: [&str; 4] = ["\u{7}\u{8}\u{b}\u{c}\u{1b}", "\0", "\u{85}", "\u{a0}\u{2028}\u{2029}"];

/// The ways to print a value `v`.
const PRINTED: [&str; 26] = [
    "v",
    "v | to_json",
    "v | to_yaml(0, 2)",
    "v | to_yaml(4, 4)",
    "v | to_yaml(level_indent=2, indent=3)",
    "v | to_yaml",
    "v | to_yaml_str",
    "v | to_json_yaml_str",
    "v | to_yaml_str_block",
    "v | to_yaml_str_block(2)",
    "v | to_yaml_str_block(indent=0, pretty_indent=4)",
    "v | to_json_yaml_str_block",
    "v | to_json_yaml_str_block(2, 4)",
    "v | length",
    "v | upper",
    "v | default('d')",
    "v.none",
    "v.none | default('d')",
    "v is mapping",
    "[v, v] | join('-')",
    "v ~ '.'",
    "{'b': 1, 'a': [v]} | to_yaml(2, 2)",
    "{2: v, 10: 'b', 1: 'a'} | to_yaml(0, 2)",
    "{2: v, 'x': 1, none: 2, true: 3, 1.5: 4} | to_yaml(0, 2)",
    "{(v | to_json) * 3: 1, '': [v]} | to_yaml(0, 2)",
    "[v, {'k': v}]",
];

/// Templates that are more than one expression.
const STATEMENTS: [&str; 16] = [
    "{% for k, x in ktor.map.items() %}{${ loop.index }$}:{${ k }$}={${ x }$};{% endfor %}",
    "{% for x in ktor.list if x != 'b' %}{${ x }$}{% if not loop.last %},{% endif %}{% else %}none{% endfor %}",
    "{% for x in [] %}{% else %}none{% endfor %}",
    "{%- if ktor.map.a == 1 -%}  one  {%- elif true -%} two {%- endif -%}  \n",
    "{% macro m(a, b='c') %}<{${ a }$}{${ b }$}>{% endmacro %}{${ m(1) }$}{${ m(2, b=ktor.list) }$}",
    "{% set ns = namespace(n=[]) %}{% for x in ktor.list %}{% set ns.n = ns.n + [x ~ '!'] %}{% endfor %}{${ ns.n }$}",
    "{% filter upper %}a{${ ktor.name }$}{% endfilter %}{# a comment {${ x }$} #}",
    "{% raw %}{% if %}{# #}{% endraw %}{{ x }}{ $ }",
    "{${ ktor.again }$}{${ values.again }$}",
    "{${ 7 // 2 }$} {${ 7 % 4 }$} {${ 7 / 2 }$} {${ 2 ** 5 }$} {${ -7 // 2 }$} {${ 1 + 1.0 }$}",
    "{${ ktor.name[1:] }$}{${ ktor.list[-1] }$}{${ 'a' in ktor.list }$}{${ 'x' if ktor.name else 'y' }$}",
    "{${ ktor.name.upper().replace('S', 'z').split('o') }$}{${ ktor.name.startswith('s') }$}",
    "{${ '%s-%02d' | format(ktor.name, 7) }$}{${ ktor.list | map('upper') | join }$}",
    "{% include 'x' %}",
    "{% if ktor.name %}",
    "{${ ktor.nothing.at.all }$}",
];

/// A source of numbers that looks random and is the same in every run.
struct Choice {
    state: u64,
    is_exotic: bool,
}

impl Choice {
    fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap() % limit
    }

    fn text(&mut self) -> String {
        let parts = PARTS.len() + if self.is_exotic { EXOTIC.len() } else { 0 };
        let part = |index: usize| PARTS.get(index).or_else(|| EXOTIC.get(index - PARTS.len())).unwrap();
        (0..=self.below(8)).map(|_| *part(self.below(parts))).collect()
    }

    /// Makes a value. Null occurs in lists alone, because ktor removes a key that is null.
    fn value(&mut self, depth: usize, in_list: bool) -> Value {
        match self.below(if depth > 2 { 7 } else { 10 }) {
            0 if in_list => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(self.below(2000)),
            3 => [json!(1.5), json!(-2.0), json!(123_456.75)][self.below(3)].clone(),
            // A list that becomes text inside an expression has `1e-7` and `3e22`, where Python writes `1e-07` and `3e+22`.
            4 if self.is_exotic => [json!(1e-7), json!(3e22)][self.below(2)].clone(),
            7 => (0..self.below(4)).map(|_| self.value(depth + 1, true)).collect(),
            8 | 9 => (0..self.below(4))
                .map(|_| (self.text(), self.value(depth + 1, false)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            _ => self.text().into(),
        }
    }
}

/// Returns a template of a ConfigMap whose `data.out` is what another template renders.
fn config_map(index: usize, template: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{index}}}\ndata:\n  \
         out: {{% set out %}}{template}{{% endset %}}{{${{ out | to_json }}$}}\n"
    )
}

#[tokio::test]
async fn k8_templates_render_as_kubernator_renders_them() {
    let mut choice = Choice { state: 7, is_exotic: false };
    let folder = tempfile::tempdir().unwrap();
    let fixed = json!({
        "name": "shop", "list": ["a", "b", "c"], "map": {"b": 2, "a": 1}, "again": "{${ ktor.name }$}/{${ ktor.list }$}",
    });
    let mut values: BTreeMap<String, Value> = BTreeMap::new();
    let mut templates: Vec<String> = STATEMENTS.iter().map(|text| (*text).to_owned()).collect();
    for index in 0..400 {
        let printed = PRINTED[choice.below(PRINTED.len())];
        choice.is_exotic = printed.contains("to_") || ["v", "[v, {'k': v}]"].contains(&printed);
        values.insert(format!("v{index}"), choice.value(0, false));
        templates.push(format!("{{% set v = ktor.v{index} %}}{{${{ {printed} }}$}}"));
    }
    let mut all = fixed;
    for (name, value) in &values {
        all[name] = value.clone();
    }
    fs::write(folder.path().join(".ktor.yaml"), "project: demo\nnamespace: shop\nvalues: [values.json]\n").unwrap();
    fs::write(folder.path().join("values.json"), all.to_string()).unwrap();
    let mut cases = Vec::new();
    for (index, template) in templates.iter().enumerate() {
        let text = config_map(index, template);
        fs::write(folder.path().join(format!("c{index}.tmpl.yaml")), &text).unwrap();
        cases.push(json!({"template": text, "variables": {"ktor": all, "values": all}}));
    }

    let theirs = kubernator(&Value::from(cases));
    let ours = ktor(folder.path()).await;
    let (mut printed, mut refused) = (0, 0);
    for (index, (template, theirs)) in templates.iter().zip(theirs).enumerate() {
        let ours = ours.get(&format!("c{index}"));
        let value = index.checked_sub(STATEMENTS.len()).map(|index| &values[&format!("v{index}")]);
        assert_eq!(ours.map(String::as_str), theirs.as_str(), "{template} with {value:?}");
        if ours.is_some() { printed += 1 } else { refused += 1 }
    }
    assert!(printed > 200 && refused > 20, "{printed} printed, {refused} refused");
}

/// Renders with Kubernator.
fn kubernator(cases: &Value) -> Vec<Value> {
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kubernator/render_templates.py"));
    let mut command = Kubernator::shared().python(script);
    let mut run = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    run.stdin.take().unwrap().write_all(cases.to_string().as_bytes()).unwrap();
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Renders with ktor, and returns the texts by the name of the ConfigMap.
async fn ktor(root: &Path) -> BTreeMap<String, String> {
    let engines = Engines::new(Environment::default(), Policy::OWN);
    let sources = Sources::load(Origin::WorkTree { root, top: root }, None, &engines).await.unwrap();
    let desired = sources.resolve(Kinds::builtin());
    let text = |body: &Value, pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    let maps = desired.manifests.values();
    maps.map(|map| (text(&map.body, "/metadata/name"), text(&map.body, "/data/out"))).collect()
}

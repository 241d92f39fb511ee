//! Kustomizations, with the real kustomize.

mod applied;
mod corpus;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use ktor_action::process::Environment;
use ktor_action::process::engine::Policy;
use ktor_action::render::yaml::documents;
use ktor_action::run::sources::engines::LAUNCHER;
use ktor_action::run::sources::{Engines, Origin, Sources};
use serde_json::Value;
use support::controlplane::binaries;
use support::profile;
use support::repository::TestRepository;

use corpus::{Case, cases};

static KUSTOMIZE: LazyLock<PathBuf> = LazyLock::new(|| binaries::kustomize().unwrap());

/// The folder of kustomize's own tests, in Go's cache of modules.
fn folder_of_tests() -> PathBuf {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engines");
    let go = |arguments: &[&str]| {
        let output = Command::new("go").arg("-C").arg(&module).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    go(&["mod", "download", "sigs.k8s.io/kustomize/api"]);
    let folder = go(&["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kustomize/api"]);
    Path::new(folder.trim()).join("krusty")
}

fn engines() -> Engines {
    let environment = Environment::default().with("KTOR_KUSTOMIZE", &*KUSTOMIZE);
    Engines::new(environment.with(LAUNCHER, env!("CARGO_BIN_EXE_ktor")), Policy::OWN)
}

/// Returns what the engine alone prints for a directory.
fn alone(directory: &Path) -> Result<Vec<Value>, String> {
    let output = Command::new(&*KUSTOMIZE).arg("build").current_dir(directory).env_clear().output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let printed = documents(Path::new("printed"), &output.stdout).unwrap();
    Ok(printed.into_iter().map(|document| document.body).collect())
}

/// Writes a tree of kustomize. Nothing in it but kustomizations is a source.
fn write(case: &Case, root: &Path) {
    fs::create_dir_all(root).unwrap();
    fs::write(root.join(".ktor.yaml"), "project: demo\ninclude: ['nothing']\n").unwrap();
    for (path, text) in &case.files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[tokio::test]
async fn k1_rendered_objects_are_those_of_the_engine_over_its_own_test_data() {
    let mut tests: Vec<PathBuf> = fs::read_dir(folder_of_tests()).unwrap().map(|entry| entry.unwrap().path()).collect();
    tests.retain(|path| path.to_str().is_some_and(|path| path.ends_with("_test.go")));
    tests.sort();
    let all: Vec<Case> = tests.iter().flat_map(|path| cases(&fs::read_to_string(path).unwrap())).collect();
    let engines = engines();
    let (mut same, mut refused, mut different) = (0, 0, Vec::new());
    for case in all.iter().filter(|case| !case.entries().is_empty()) {
        let folder = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(folder.path()).unwrap();
        let root = top.join("deploy");
        write(case, &root);
        let sources = Sources::load(Origin::WorkTree { root: &root, top: &top }, None, &engines).await.unwrap();
        let (found, failures) = sources.rendered();
        let printed: Result<Vec<_>, _> = case.entries().iter().map(|entry| alone(&root.join(entry))).collect();
        match printed.map(|printed| printed.concat()) {
            // Only a part of the tree stands in the test's own function.
            Err(_) if !failures.is_empty() => refused += 1,
            // ktor reads no YAML with a key that is set twice.
            Ok(_) if failures.iter().any(|failure| failure.error.message.contains("is already set")) => {}
            Ok(printed) if failures.is_empty() && found.iter().map(|document| &*document.body).eq(&printed) => {
                same += 1;
            }
            printed => different.push(format!("{}: {failures:?} {}", case.name, printed.is_ok())),
        }
    }
    assert!(different.is_empty(), "{different:#?}");
    assert!(same >= 60 && refused >= 20, "{same} {refused}");
}

/// A repository with the root `demo` at `deploy`, and with files outside it.
struct Site {
    checkout: TestRepository,
}

/// The files of the tree, each with the projects that it concerns.
const FILES: [(&str, &str, &[&str]); 16] = [
    (
        "deploy/.ktor.yaml",
        "project: demo\nnamespace: shop\nkustomize: {loadRestrictions: none}\n",
        &["demo", "dev", "prod", "plain"],
    ),
    ("deploy/dev/.ktor.yaml", "project: dev\n", &["dev"]),
    ("deploy/prod/.ktor.yaml", "project: prod\n", &["prod"]),
    ("deploy/plain/.ktor.yaml", "project: plain\n", &["plain"]),
    ("deploy/plain/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: plain\n", &["plain"]),
    (
        "deploy/dev/kustomization.yaml",
        "resources: [../base]\nnamePrefix: dev-\npatches: [{path: patch.yaml}]\n",
        &["dev"],
    ),
    ("deploy/dev/patch.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {b: dev}\n", &["dev"]),
    (
        "deploy/prod/kustomization.yaml",
        "resources: [../base, ../../lib]\nnamePrefix: prod-\ncomponents: [../component]\ntransformers: [labels.yaml]\n",
        &["prod"],
    ),
    (
        "deploy/prod/labels.yaml",
        "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x}\ntarget: {kind: ConfigMap}\npath: ops.yaml\n",
        &["prod"],
    ),
    ("deploy/prod/ops.yaml", "- {op: add, path: /metadata/labels, value: {tier: web}}\n", &["prod"]),
    ("deploy/base/kustomization.yaml", "resources: [app.yaml]\n", &["dev", "prod"]),
    (
        "deploy/base/app.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\ndata:\n  a: one\n",
        &["dev", "prod"],
    ),
    (
        "deploy/component/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nsecretGenerator: [{name: key, envs: [key.env]}]\n",
        &["prod"],
    ),
    ("deploy/component/key.env", "token=value\n", &["prod"]),
    ("lib/kustomization.yaml", "configMapGenerator: [{name: lib, files: [lib.conf]}]\n", &["prod"]),
    ("lib/lib.conf", "a = 1\n", &["prod"]),
];

impl Site {
    fn new() -> Self {
        let checkout = TestRepository::new();
        for (path, text, _) in FILES {
            checkout.write(path, text);
        }
        checkout.write("lib/unused.txt", "nothing").commit("first");
        Self { checkout }
    }

    fn ktor(&self, arguments: &[&str]) -> Output {
        let environment = self.checkout.environment();
        let mut ktor = Command::new(env!("CARGO_BIN_EXE_ktor"));
        ktor.args(arguments).env_clear().envs(profile()).current_dir(self.checkout.top());
        for name in ["PATH", "HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"] {
            ktor.env(name, environment.get(name).unwrap());
        }
        ktor.env("KTOR_KUSTOMIZE", &*KUSTOMIZE).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Result<Value, String> {
        let output = self.ktor(arguments);
        let error = || String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(serde_json::from_slice(&output.stdout).unwrap()) } else { Err(error()) }
    }

    /// Returns the objects of each project, or the error of the project.
    fn objects(&self) -> BTreeMap<&'static str, Result<Vec<Value>, String>> {
        let of = |project: &'static str| {
            let name = if project == "demo" { project.to_owned() } else { format!("demo.{project}") };
            let only = if project == "demo" { ["-X", "demo.dev,demo.prod,demo.plain"] } else { ["-I", &name] };
            let arguments = [&["render", "-p", "deploy", "-o", "json", "--show-secrets"][..], &only].concat();
            self.json(&arguments).map(|rendered| {
                let objects = rendered["objects"].as_array().unwrap().iter();
                objects.map(|object| object["object"].clone()).collect()
            })
        };
        ["demo", "dev", "prod", "plain"].map(|project| (project, of(project))).into()
    }

    fn touched(&self) -> BTreeSet<String> {
        let scope = self.json(&["scope", "-p", "deploy", "--base", "HEAD", "-o", "json"]).unwrap();
        let names = scope["scope"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        names.map(|name| name.trim_start_matches("demo.").to_owned()).collect()
    }
}

#[test]
fn s6_a_changed_byte_of_any_file_concerns_the_projects_whose_objects_change_and_no_other() {
    let site = Site::new();
    let before = site.objects();
    assert!(before.values().all(Result::is_ok), "{before:?}");
    assert!(site.touched().is_empty());
    for (path, text, users) in FILES.into_iter().filter(|(path, ..)| !path.ends_with(".ktor.yaml")) {
        let mut changes = 0;
        for at in [0, text.len() / 2, text.len() - 2] {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'q' { b'z' } else { b'q' };
            site.checkout.write(path, String::from_utf8(bytes).unwrap());
            let touched = site.touched();
            let expected: BTreeSet<String> = users.iter().map(ToString::to_string).collect();
            assert_eq!(touched, expected, "{path} {at}");
            for (project, objects) in site.objects() {
                let is_same = objects.is_ok() && objects == before[project];
                assert!(is_same || touched.contains(project), "{path} {at} {project}");
                changes += usize::from(!is_same);
            }
        }
        assert!(changes > 0, "{path}: no change has an effect");
        site.checkout.write(path, text);
    }
    site.checkout.write("lib/unused.txt", "changed").write("lib/another.yaml", "kind: X");
    assert!(site.touched().is_empty());
}

#[test]
fn s6_a_file_that_does_not_change_can_become_part_of_a_kustomization() {
    let site = Site::new();
    // The plain manifest is now covered, and the base is no longer used.
    site.checkout.write("deploy/plain/kustomization.yaml", "resources: [x.yaml]\n");
    assert_eq!(site.touched(), ["plain".to_owned()].into());
    site.checkout.write("deploy/plain/kustomization.yaml", "resources: [../base]\n");
    let rendered = site.json(&["render", "-p", "deploy", "-o", "json", "-I", "demo.plain"]).unwrap();
    let names: Vec<&Value> =
        rendered["objects"].as_array().unwrap().iter().map(|o| &o["object"]["metadata"]["name"]).collect();
    assert_eq!(names, ["app"]);
    site.checkout.remove("deploy/plain/kustomization.yaml");
    for user in ["dev", "prod"] {
        site.checkout
            .write(format!("deploy/{user}/kustomization.yaml"), "configMapGenerator: [{name: x, literals: [a=b]}]\n");
    }
    // Nobody uses the base any more, so it is built for its own project.
    assert_eq!(site.touched(), ["demo", "dev", "prod"].map(str::to_owned).into());
    let rendered = site.objects();
    assert_eq!(rendered["demo"].as_ref().unwrap().len(), 1, "{rendered:?}");
}

#[test]
fn k4_objects_and_errors_have_the_place_in_the_tree() {
    let site = Site::new();
    let output = site.ktor(&["render", "-p", "deploy", "-I", "demo.prod"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for place in [
        "# base/app.yaml:1:1 (demo.prod)",
        "# ../lib/kustomization.yaml:1:23 (demo.prod)",
        "# component/kustomization.yaml:3:20 (demo.prod)",
    ] {
        assert!(text.contains(place), "{text}");
    }
    assert!(text.contains("data: (secret)") || text.contains("data: \"(secret)\""), "{text}");
    assert!(!text.contains("config.kubernetes.io/origin") && !text.contains("dmFsdWU"), "{text}");
    assert!(text.contains("namespace: shop"), "{text}");
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.contains("Rendered with kustomize 5.8.1"), "{notes}");

    site.checkout.write("deploy/base/kustomization.yaml", "resources: [app.yaml, gone.yaml]\n");
    let error = String::from_utf8(site.ktor(&["render", "-p", "deploy", "-I", "demo.dev"]).stderr).unwrap();
    assert!(error.contains("dev/kustomization.yaml: kustomize cannot build dev: "), "{error}");
    assert!(error.contains("base/gone.yaml") && !error.contains("ktor-"), "{error}");
    site.checkout.write("deploy/base/kustomization.yaml", "resources: [app.yaml]\n");
    site.checkout.write("deploy/base/app.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\n bad: [\n");
    let error = String::from_utf8(site.ktor(&["render", "-p", "deploy", "-I", "demo.dev"]).stderr).unwrap();
    assert!(error.contains("base/app.yaml:4:1: kustomize cannot build dev: "), "{error}");
}

#[test]
fn k1_the_tree_of_a_commit_is_rendered_like_the_work_tree() {
    let site = Site::new();
    site.checkout.write("deploy/base/app.yaml", FILES[11].1.replace("one", "two"));
    let plan = site.json(&["plan", "-p", "deploy", "--offline", "--base", "HEAD", "-o", "json"]).unwrap();
    let planned = plan["changes"].as_array().unwrap();
    let different = planned.iter().filter(|change| change["action"] != "unchanged");
    let names: BTreeSet<&str> = different.filter_map(|change| change["key"]["name"].as_str()).collect();
    assert_eq!(names, ["dev-app", "prod-app"].into(), "{plan}");
    let twice = site.ktor(&["render", "-p", "deploy", "--twice"]);
    assert!(twice.status.success(), "{}", String::from_utf8_lossy(&twice.stderr));
}

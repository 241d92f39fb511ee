//! Helm releases, with the real Helm of each supported major version.

mod applied;
mod corpus;
mod remote;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::time::Duration;

use ktor_action::process::Environment;
use ktor_action::process::engine::{Bounds, Policy};
use ktor_action::render::yaml::documents;
use ktor_action::run::sources::engines::LAUNCHER;
use ktor_action::run::sources::{Engines, Origin, Sources};
use serde_json::Value;
use support::controlplane::binaries;
use support::profile;
use support::repository::TestRepository;

use corpus::{CASES, Case};

static HELMS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| binaries::helms().unwrap());

/// The version of Kubernetes that charts are told, if nothing else says one.
const KUBERNETES: &str = "1.35.0";

fn newest() -> &'static Path {
    HELMS.last().unwrap()
}

fn engines(helm: &Path, policy: Policy) -> Engines {
    let environment = Environment::default().with("KTOR_HELM", helm);
    Engines::new(environment.with(LAUNCHER, env!("CARGO_BIN_EXE_ktor")), policy)
}

fn helm(program: &Path, directory: &Path, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(program).args(arguments).current_dir(directory).env_clear().env("HOME", home.path()).output().unwrap()
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Returns what Helm alone prints for a case, in a copy of its tree.
fn alone(program: &Path, case: &Case) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deploy");
    prepare(program, case, &root);
    for arguments in case.alone_first {
        succeeds(&helm(program, &root, arguments));
    }
    let kubernetes =
        if case.arguments.contains(&"--kube-version") { vec![] } else { vec!["--kube-version", KUBERNETES] };
    let arguments = [&["template", "shop"], case.arguments, &["-n", "store"], &kubernetes].concat();
    let output = helm(program, &root, &arguments);
    succeeds(&output);
    let printed = documents(Path::new("printed"), &output.stdout).unwrap();
    printed.into_iter().map(|document| document.body).collect()
}

fn prepare(program: &Path, case: &Case, root: &Path) {
    write(root, ".ktor.yaml", "project: demo\ninclude: ['nothing']\n");
    write(root, "x.helm.yaml", case.release);
    for (path, text) in case.files {
        write(root, path, text);
    }
    for arguments in case.first {
        succeeds(&helm(program, root, arguments));
    }
}

#[tokio::test]
async fn k1_rendered_objects_are_those_of_helm_alone_for_every_chart_and_major_version() {
    assert!(CASES.len() >= 15);
    for program in &*HELMS {
        let engines = engines(program, Policy::OWN);
        for case in CASES {
            let folder = tempfile::tempdir().unwrap();
            let top = fs::canonicalize(folder.path()).unwrap();
            let root = top.join("deploy");
            prepare(program, case, &root);
            let sources = Sources::load(Origin::WorkTree { root: &root, top: &top }, None, &engines).await.unwrap();
            let (found, failures) = sources.rendered();
            assert_eq!(failures, [], "{}: {}", program.display(), case.name);
            let found: Vec<&Value> = found.iter().map(|document| &*document.body).collect();
            let expected = alone(program, case);
            assert!(!expected.is_empty(), "{}", case.name);
            assert_eq!(found, expected.iter().collect::<Vec<_>>(), "{}: {}", program.display(), case.name);
        }
    }
}

/// Returns the errors of a tree, with bounds that are soon exceeded.
async fn errors(files: &[(&str, &str)], change: fn(&mut Bounds)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let top = fs::canonicalize(folder.path()).unwrap();
    write(&top, ".ktor.yaml", "project: demo\nnamespace: shop\n");
    write(&top, "web.helm.yaml", "chart: c\nname: web\n");
    write(&top, "c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
    for (path, text) in files {
        write(&top, path, text);
    }
    let mut policy = Policy::OWN;
    change(&mut policy.bounds);
    let engines = engines(newest(), policy);
    match Sources::load(Origin::WorkTree { root: &top, top: &top }, None, &engines).await {
        Ok(sources) => sources.rendered().1.iter().map(|failure| failure.error.to_string()).collect(),
        Err(error) => vec![error.to_string()],
    }
}

#[tokio::test]
async fn k3_each_hostile_chart_is_refused_in_one_sentence() {
    let range =
        "{{ range until 1000000 }}{{ range until 1000000 }}{{ range until 1000000 }}{{ end }}{{ end }}{{ end }}";
    let large = "x: {{ until 100000000 | len }}";
    let reference = |to: &str| format!("{{\"$ref\": \"{to}\"}}");
    let outside = "c/values.schema.json:1:10: the schema refers to";
    for (path, text, change, expected) in [
        (
            "c/templates/x.yaml",
            range,
            (|bounds| bounds.time = Duration::from_secs(3)) as fn(&mut Bounds),
            "web.helm.yaml: failed to run helm: it did not end within 3 s",
        ),
        (
            "c/templates/x.yaml",
            range,
            |bounds| bounds.cpu_seconds = 2,
            "web.helm.yaml: failed to run helm: it used more than 2 s of processor time",
        ),
        (
            "c/templates/x.yaml",
            large,
            |bounds| bounds.address_space = 1 << 30,
            "web.helm.yaml: failed to run helm: it needs more than 1024 MiB of memory",
        ),
        (
            "c/templates/x.yaml",
            "x: {{ repeat 5000000 \"x\" }}",
            |bounds| bounds.output = 1 << 20,
            "web.helm.yaml: failed to run helm: it printed more than 1048576 bytes",
        ),
        (
            "c/templates/x.yaml",
            "x: {{ .Files.Get \"../../../../etc/passwd\" }}",
            |_| {},
            "c/templates/x.yaml:1:7: the template reads a file outside the chart",
        ),
        ("c/values.schema.json", &reference("https://127.0.0.1:1/x.json"), |_| {}, outside),
        ("c/values.schema.json", &reference("file:///etc/passwd"), |_| {}, outside),
    ] {
        let errors = errors(&[(path, text)], change).await;
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(expected) && !errors[0].contains('\n'), "{expected}: {errors:?}");
    }
}

#[tokio::test]
async fn k3_links_out_of_a_chart_are_refused_and_helm_itself_finds_nothing_outside() {
    for (link, target) in [("c/files/passwd", "/etc/passwd"), ("c/templates/x.yaml", "../../../outside")] {
        let folder = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(folder.path()).unwrap().join("root");
        write(&top, ".ktor.yaml", "project: demo\n");
        write(&top, "web.helm.yaml", "chart: c\nname: web\n");
        write(&top, "c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
        write(&top, "../outside", "x");
        fs::create_dir_all(top.join(link).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, top.join(link)).unwrap();
        let engines = engines(newest(), Policy::OWN);
        let loaded = Sources::load(Origin::WorkTree { root: &top, top: &top }, None, &engines).await;
        let error = loaded.map(|sources| sources.rendered().1.len()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("follow the symbolic link {link}: it leaves the tree")), "{error}");
    }
    // The schema is compared with the values although it is wrong, and Helm cannot read the file that it names.
    let schema = ("c/values.schema.json", r#"{"$ref": "file:///etc/passwd"}"#);
    let own = ("web.helm.yaml", "chart: c\nname: web\nschema: false\n");
    assert_eq!(errors(&[schema, own], |_| {}).await, Vec::<String>::new());
}

#[tokio::test]
async fn k6_values_of_chance_are_refused_by_object_and_field() {
    let secret = |value: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\nstringData:\n  fixed: a\n  password: {value}\n")
    };
    for call in [
        "{{ randAlphaNum 20 }}",
        "{{ uuidv4 }}",
        "{{ genPrivateKey \"ecdsa\" | b64enc }}",
        "{{ htpasswd \"a\" \"b\" }}",
    ] {
        let found = errors(&[("c/templates/key.yaml", &secret(call))], |_| {}).await;
        let expected = "web.helm.yaml:1:1 (c/templates/key.yaml): two renderings of Secret key differ at /stringData/password, \
                        so every run would change it: use fixed values, for example from a Secret that exists already";
        assert_eq!(found, [expected], "{call}");
    }
    // A chart that only could differ is rendered.
    for call in [
        "{{ if .Values.random }}{{ randAlphaNum 20 }}{{ else }}x{{ end }}",
        "{{ lookup \"v1\" \"Secret\" \"a\" \"b\" | len }}",
    ] {
        assert_eq!(errors(&[("c/templates/key.yaml", &secret(call))], |_| {}).await, Vec::<String>::new(), "{call}");
    }
}

/// A repository with the root `demo` at `deploy`, and with files outside it.
struct Site {
    checkout: TestRepository,
}

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: tills.shop.dev}\n\
                          spec:\n  group: shop.dev\n  names: {kind: Till, plural: tills}\n  scope: Namespaced\n  \
                          versions: [{name: v1, served: true, storage: true}]\n";

/// The files of the tree, each with the projects that it concerns.
const FILES: [(&str, &str, &[&str]); 17] = [
    ("deploy/.ktor.yaml", "project: demo\nnamespace: shop\n", &["demo", "dev", "prod", "plain"]),
    ("deploy/dev/.ktor.yaml", "project: dev\n", &["dev"]),
    ("deploy/prod/.ktor.yaml", "project: prod\n", &["prod"]),
    ("deploy/plain/.ktor.yaml", "project: plain\n", &["plain"]),
    ("deploy/plain/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: plain\n", &["plain"]),
    ("deploy/plain/till.yaml", DEFINITION, &["plain"]),
    ("deploy/dev/web.helm.yaml", "chart: ../charts/web\nname: dev\nvalues-file: values.yaml\n", &["dev"]),
    ("deploy/dev/values.yaml", "text: dev\n", &["dev"]),
    (
        "deploy/prod/web.helm.yaml",
        "chart: ../charts/web\nname: prod\nvalues-files: [../../common/values.yaml]\n---\nchart: ../../libs/only\nname: only\n",
        &["prod"],
    ),
    ("common/values.yaml", "text: prod\n", &["prod"]),
    (
        "deploy/charts/web/Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies:\n- {name: lib, version: 1.0.0, repository: 'file://../../../libs/lib'}\n",
        &["dev", "prod"],
    ),
    ("deploy/charts/web/values.yaml", "other: one\n", &["dev", "prod"]),
    (
        "deploy/charts/web/templates/x.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  a: {{ .Values.text }}-{{ .Values.other \
         }}\n  b: {{ .Files.Get \"files/conf\" | quote }}\n",
        &["dev", "prod"],
    ),
    ("deploy/charts/web/files/conf", "some text", &["dev", "prod"]),
    ("libs/lib/Chart.yaml", "apiVersion: v2\nname: lib\nversion: 1.0.0\n", &["dev", "prod"]),
    (
        "libs/lib/templates/y.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-lib\n",
        &["dev", "prod"],
    ),
    ("libs/only/Chart.yaml", "apiVersion: v2\nname: only\nversion: 1.0.0\n", &["prod"]),
];

impl Site {
    fn new() -> Self {
        let checkout = TestRepository::new();
        for (path, text, _) in FILES {
            checkout.write(path, text);
        }
        let only = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: only\ndata: {has: \
                    '{{ .Capabilities.APIVersions.Has \"shop.dev/v1/Till\" }}'}\n";
        checkout.write("libs/only/templates/x.yaml", only);
        checkout.write("libs/unused.txt", "nothing").commit("first");
        Self { checkout }
    }

    fn ktor(&self, arguments: &[&str]) -> Output {
        let environment = self.checkout.environment();
        let mut ktor = Command::new(env!("CARGO_BIN_EXE_ktor"));
        ktor.args(arguments).env_clear().envs(profile()).current_dir(self.checkout.top());
        for name in ["PATH", "HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"] {
            ktor.env(name, environment.get(name).unwrap());
        }
        ktor.env("KTOR_HELM", newest()).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Result<Value, String> {
        let output = self.ktor(arguments);
        let error = || String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(serde_json::from_slice(&output.stdout).unwrap()) } else { Err(error()) }
    }

    /// Returns the objects of each project, or the error of the project.
    fn objects(&self) -> BTreeMap<&'static str, Result<Vec<Value>, String>> {
        let of = |project: &'static str| {
            let name = format!("demo.{project}");
            let arguments = ["render", "-p", "deploy", "-o", "json", "--show-secrets", "-I", &name];
            self.json(&arguments).map(|rendered| {
                let objects = rendered["objects"].as_array().unwrap().iter();
                objects.map(|object| object["object"].clone()).collect()
            })
        };
        ["dev", "prod", "plain"].map(|project| (project, of(project))).into()
    }

    fn touched(&self) -> BTreeSet<String> {
        let scope = self.json(&["scope", "-p", "deploy", "--base", "HEAD", "-o", "json"]).unwrap();
        let names = scope["scope"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        names.map(|name| name.trim_start_matches("demo.").to_owned()).collect()
    }
}

#[test]
fn s6_k2_a_changed_byte_of_any_file_concerns_the_projects_whose_objects_change_and_no_other() {
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
            // A definition that is broken defines nothing, and a chart asks for it.
            let asks = path.ends_with("till.yaml").then(|| "prod".to_owned());
            assert!(touched.is_superset(&expected), "{path} {at} {touched:?}");
            assert!(
                touched.iter().all(|name| expected.contains(name) || Some(name) == asks.as_ref()),
                "{path} {at} {touched:?}"
            );
            for (project, objects) in site.objects() {
                let is_same = objects.is_ok() && objects == before[project];
                assert!(is_same || touched.contains(project), "{path} {at} {project}");
                changes += usize::from(!is_same);
            }
        }
        assert!(changes > 0, "{path}: no change has an effect");
        site.checkout.write(path, text);
    }
    site.checkout.write("libs/unused.txt", "changed").write("libs/another.yaml", "kind: X");
    assert!(site.touched().is_empty());
}

#[test]
fn s6_a_definition_concerns_the_releases_whose_charts_ask_for_versions_and_no_other() {
    let site = Site::new();
    let has = |site: &Site| {
        let objects = site.objects()["prod"].clone().unwrap();
        objects.iter().find(|object| object["metadata"]["name"] == "only").unwrap()["data"]["has"].clone()
    };
    assert_eq!(has(&site), "true");
    site.checkout.write("deploy/plain/till.yaml", DEFINITION.replace("name: v1", "name: v2"));
    assert_eq!(has(&site), "false");
    assert_eq!(site.touched(), ["plain", "prod"].map(str::to_owned).into());
    site.checkout.write("deploy/plain/till.yaml", DEFINITION.replace("scope: Namespaced", "scope: Cluster"));
    assert_eq!(site.touched(), ["plain".to_owned()].into());
    // A new file of a chart that nobody has named before belongs to the chart.
    site.checkout.write("deploy/plain/till.yaml", DEFINITION).write("deploy/charts/web/new.txt", "x");
    assert_eq!(site.touched(), ["dev", "prod"].map(str::to_owned).into());
}

#[test]
fn k4_objects_and_errors_have_the_place_in_the_tree() {
    let site = Site::new();
    let output = site.ktor(&["render", "-p", "deploy", "-I", "demo.prod"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for place in [
        "# prod/web.helm.yaml:1:1 (charts/web/templates/x.yaml) (demo.prod)",
        "# prod/web.helm.yaml:1:1 (../libs/lib/templates/y.yaml) (demo.prod)",
        "# prod/web.helm.yaml:5:1 (../libs/only/templates/x.yaml) (demo.prod)",
    ] {
        assert!(text.contains(place), "{text}");
    }
    assert!(text.contains("namespace: shop"), "{text}");
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.contains("Rendered with helm "), "{notes}");
    for (path, text, expected) in [
        (
            "deploy/charts/web/templates/x.yaml",
            "a: b\nb: {{ .Values.text.deeper.still }}\n",
            "charts/web/templates/x.yaml:2:",
        ),
        ("deploy/charts/web/templates/x.yaml", "a: b\nb: {{ if }}\n", "charts/web/templates/x.yaml:2:"),
        ("deploy/charts/web/templates/x.yaml", "{{ fail \"no\" }}", "charts/web/templates/x.yaml:1:"),
        (
            "deploy/charts/web/templates/x.yaml",
            "a: b: c\n",
            "charts/web/templates/x.yaml: helm cannot render dev/web.helm.yaml: ",
        ),
        ("libs/lib/templates/y.yaml", "{{ template \"gone\" }}", "../libs/lib/templates/y.yaml:1:"),
        ("deploy/dev/values.yaml", "a: b\nc: d: e\n", "dev/values.yaml:2:1: helm cannot render dev/web.helm.yaml: "),
    ] {
        site.checkout.write(path, text);
        let error = String::from_utf8(site.ktor(&["render", "-p", "deploy", "-I", "demo.dev"]).stderr).unwrap();
        assert!(
            error.contains(expected) && error.contains("helm cannot render dev/web.helm.yaml: "),
            "{path} {text}: {error}"
        );
        assert!(
            !error.contains("ktor-chart") && !error.contains("ktor-values") && !error.contains("ktor-stage"),
            "{error}"
        );
        site.checkout.git(["checkout", "--", "."]);
    }
}

#[test]
fn k1_the_tree_of_a_commit_is_rendered_like_the_work_tree() {
    let site = Site::new();
    site.checkout.write("deploy/dev/values.yaml", "text: changed\n");
    let plan = site.json(&["plan", "-p", "deploy", "--offline", "--base", "HEAD", "-o", "json"]).unwrap();
    let different = plan["changes"].as_array().unwrap().iter().filter(|change| change["action"] != "unchanged");
    let names: BTreeSet<&str> = different.filter_map(|change| change["key"]["name"].as_str()).collect();
    assert_eq!(names, ["dev"].into(), "{plan}");
    let twice = site.ktor(&["render", "-p", "deploy", "--twice"]);
    assert!(twice.status.success(), "{}", String::from_utf8_lossy(&twice.stderr));
}

#[test]
fn k5_k6_notices_tell_what_a_plan_cannot_show() {
    let site = Site::new();
    let hook = |moment: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x-{moment}\n  annotations: {{helm.sh/hook: {moment}}}\n"
        )
    };
    let templates = hook("test")
        + &hook("pre-delete")
        + &hook("post-install")
        + "# {{ now | date \"2006\" }} {{ .Release.Revision }}";
    site.checkout
        .write("libs/only/templates/hooks.yaml", &templates)
        .write("deploy/charts/other/Chart.yaml", "name: other");
    let told = |site: &Site| String::from_utf8(site.ktor(&["render", "-p", "deploy"]).stderr).unwrap();
    let error = told(&site);
    let expected = "prod/web.helm.yaml:5:1: the chart has hooks for installs and upgrades: ConfigMap x-post-install \
                    (post-install). Set `hooks: apply`";
    assert!(error.contains(expected), "{error}");
    site.checkout.write("deploy/prod/.ktor.yaml", "project: prod\nhelm: {hooks: skip}\n");
    let notes = told(&site);
    for expected in [
        "Hooks of charts for tests, deletions and rollbacks are never applied: 2 in prod/web.helm.yaml.",
        "Hooks of charts are left out, as `hooks: skip` says: 1 in prod/web.helm.yaml.",
        "These releases have charts that read the clock, so their objects can change without a change of the tree: prod/web",
        "These releases have charts that ask if they are upgraded. They are always told that they are installed: prod/web",
        "Charts that no release uses: charts/other/Chart.yaml.",
    ] {
        assert!(notes.contains(expected), "{notes}");
    }
}

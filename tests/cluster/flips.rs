//! Random changes of single bytes in a repository with every kind of source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ktor_action::git::commit::Commit;
use ktor_action::git::repository::Repository;
use ktor_action::object::kinds::Kinds;
use ktor_action::process::Environment;
use ktor_action::process::engine::Policy;
use ktor_action::project::path::ProjectPath;
use ktor_action::project::scope::touched;
use ktor_action::run::sources::engines::LAUNCHER;
use ktor_action::run::sources::{Engines, Origin, Sources};
use support::controlplane::binaries;
use support::repository::TestRepository;

/// The number of changes.
const FLIPS: usize = 320;

/// The files of the repository, each with the projects that use it.
const FILES: [(&str, &str, &[&str]); 25] = [
    (
        "deploy/.ktor.yaml",
        "project: demo\nnamespace: shop\nvalues: [../common/all.yaml]\n",
        &["", "k", "l", "h", "i", "t", "p"],
    ),
    ("common/all.yaml", "color: red\nsize: 3\n", &["t"]),
    ("deploy/k/.ktor.yaml", "project: k\n", &["k"]),
    ("deploy/k/kustomization.yaml", "resources: [../base]\nnamePrefix: k-\n", &["k"]),
    ("deploy/l/.ktor.yaml", "project: l\nkustomize: {loadRestrictions: none}\n", &["l"]),
    (
        "deploy/l/kustomization.yaml",
        "resources: [../base]\nnamePrefix: l-\npatches: [{path: patch.yaml}]\nconfigMapGenerator: [{name: g, files: [../../common/l.conf]}]\n",
        &["l"],
    ),
    ("deploy/l/patch.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {b: two}\n", &["l"]),
    ("common/l.conf", "a = 1\n", &["l"]),
    ("deploy/base/kustomization.yaml", "resources: [app.yaml]\n", &["k", "l"]),
    ("deploy/base/app.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {a: one}\n", &["k", "l"]),
    ("deploy/h/.ktor.yaml", "project: h\n", &["h"]),
    ("deploy/h/web.helm.yaml", "chart: ../charts/web\nname: h\nvalues-files: [v.yaml]\n", &["h"]),
    ("deploy/h/v.yaml", "text: h\n", &["h"]),
    ("deploy/i/.ktor.yaml", "project: i\n", &["i"]),
    ("deploy/i/web.helm.yaml", "chart: ../charts/web\nname: i\nvalues: {text: i}\n", &["i"]),
    ("deploy/charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n", &["h", "i"]),
    ("deploy/charts/web/values.yaml", "text: none\nother: 1\n", &["h", "i"]),
    (
        "deploy/charts/web/templates/x.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {a: {{ .Values.text }}, b: {{ .Files.Get \"f\" | quote }}}\n",
        &["h", "i"],
    ),
    ("deploy/charts/web/f", "some text", &["h", "i"]),
    ("deploy/t/.ktor.yaml", "project: t\nvalues: [{size: 4}, more.yaml]\n", &["t"]),
    ("deploy/t/more.yaml", "shape: round\n", &["t"]),
    (
        "deploy/t/x.tmpl.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: t}\ndata: {c: '{${ ktor.color }$}', s: '{${ ktor.shape }$}'}\n",
        &["t"],
    ),
    ("deploy/p/.ktor.yaml", "project: p\n", &["p"]),
    ("deploy/p/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: p}\ndata: {a: b}\n", &["p"]),
    ("common/unused.txt", "nothing reads this\n", &[]),
];

/// A source of numbers that looks random and is the same in every run.
struct Choice(u64);

impl Choice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// A file with one changed byte.
struct Flip {
    path: &'static str,
    bytes: Vec<u8>,
    users: &'static [&'static str],
}

fn flips() -> Vec<Flip> {
    let mut choice = Choice(11);
    let flip = |_| {
        let (path, text, users) = FILES[choice.below(FILES.len())];
        let mut bytes = text.as_bytes().to_vec();
        let at = choice.below(bytes.len());
        // Half of the changes are to another letter, because most bytes make no YAML.
        bytes[at] = match choice.below(2) {
            0 => b'a' + u8::try_from(choice.below(26)).unwrap(),
            _ => u8::try_from(choice.below(256)).unwrap(),
        };
        Flip { path, bytes, users }
    };
    (0..FLIPS)
        .map(flip)
        .filter(|flip| FILES.iter().all(|(path, text, _)| *path != flip.path || flip.bytes != text.as_bytes()))
        .collect()
}

/// Writes every change as a commit of its own on the first one. Nothing is in the work tree.
fn committed(repository: &TestRepository, flips: &[Flip]) -> (Commit, Vec<Commit>) {
    let mut stream: Vec<u8> = Vec::new();
    let mut commit = |branch: &str, files: &[(&str, &[u8])], from: Option<&str>| {
        stream
            .extend(format!("commit refs/heads/{branch}\ncommitter t <t@example.com> 1 +0000\ndata 1\nx\n").as_bytes());
        stream.extend(from.map(|from| format!("from refs/heads/{from}\n")).unwrap_or_default().as_bytes());
        for (path, bytes) in files {
            stream.extend(format!("M 100644 inline {path}\ndata {}\n", bytes.len()).as_bytes());
            stream.extend(*bytes);
            stream.push(b'\n');
        }
    };
    let all: Vec<(&str, &[u8])> = FILES.iter().map(|(path, text, _)| (*path, text.as_bytes())).collect();
    commit("first", &all, None);
    for (number, flip) in flips.iter().enumerate() {
        commit(&format!("flip{number}"), &[(flip.path, &flip.bytes)], Some("first"));
    }
    repository.import(&stream);
    let commit = |branch: &str| repository.git(["rev-parse", branch]).parse().unwrap();
    (commit("first"), (0..flips.len()).map(|number| commit(&format!("flip{number}"))).collect())
}

/// The objects of each project as text, and its failures.
type Objects = BTreeMap<ProjectPath, BTreeSet<String>>;

fn objects(sources: &Sources) -> Objects {
    let desired = sources.resolve(Kinds::builtin());
    let mut objects = Objects::new();
    for (key, manifest) in desired.manifests {
        objects.entry(manifest.project).or_default().insert(format!("{key} {}", *manifest.body));
    }
    for failure in desired.failures {
        objects.entry(failure.project).or_default().insert("a failure".to_owned());
    }
    objects
}

fn differing(before: &Objects, after: &Objects) -> BTreeSet<ProjectPath> {
    let names = before.keys().chain(after.keys());
    names.filter(|name| before.get(name) != after.get(name)).cloned().collect()
}

#[tokio::test]
async fn k2_a_random_byte_of_any_file_concerns_the_projects_whose_objects_change_and_no_other() {
    let helm = binaries::helms().unwrap().last().unwrap().clone();
    let environment = Environment::default()
        .with("KTOR_HELM", helm)
        .with("KTOR_KUSTOMIZE", binaries::kustomize().unwrap())
        .with(LAUNCHER, env!("CARGO_BIN_EXE_ktor"));
    let engines = Engines::new(environment, Policy::OWN);
    let origin = TestRepository::new();
    let flips = flips();
    let (first, commits) = committed(&origin, &flips);
    let repository = Repository::discover(&origin.top(), None, &origin.environment()).await.unwrap().unwrap();
    let (prefix, root, top) = (Path::new("deploy"), origin.top().join("deploy"), origin.top());
    let base = Sources::load(Origin::Commit(&repository, &first, prefix), None, &engines).await.unwrap();
    let before = objects(&base);
    assert!(before.len() == 6 && !before.values().flatten().any(|text| text == "a failure"), "{before:#?}");

    let (mut unread, mut changed, mut failed) = (0, 0, 0);
    for (number, (flip, commit)) in flips.iter().zip(&commits).enumerate() {
        let said = format!("{number}: {} {:?}", flip.path, String::from_utf8_lossy(&flip.bytes));
        let Ok(head) = Sources::load(Origin::Commit(&repository, commit, prefix), None, &engines).await else {
            // Nothing is planned where the settings cannot be read.
            assert!(flip.path.ends_with(".ktor.yaml"), "{said}");
            unread += 1;
            continue;
        };
        let after = objects(&head);
        let differ = differing(&before, &after);
        let paths: BTreeSet<PathBuf> = [flip.path.into()].into();
        let concerned = touched(&paths, prefix, Some(base.inputs()), head.inputs());
        assert!(differ.is_subset(&concerned), "{said}: {differ:?} differ, {concerned:?} are concerned");
        let project = |name: &&str| if name.is_empty() { "demo".to_owned() } else { format!("demo.{name}") };
        let users: BTreeSet<ProjectPath> = flip.users.iter().map(|name| project(name).parse().unwrap()).collect();
        // A changed name of a project is another project.
        let renamed = flip.path.ends_with(".ktor.yaml");
        let others: Vec<_> = concerned.iter().filter(|name| !users.contains(name) && !differ.contains(name)).collect();
        assert!(others.is_empty() || renamed, "{said}: {others:?} are concerned");
        changed += usize::from(!differ.is_empty());
        failed += usize::from(after.values().flatten().any(|text| text == "a failure"));

        // The work tree means what the commit means.
        if number % 4 == 0 {
            origin.git(["checkout", "--quiet", "--force", &format!("flip{number}")]);
            let tree = Sources::load(Origin::WorkTree { root: &root, top: &top }, None, &engines).await.unwrap();
            assert_eq!(objects(&tree), after, "{said}");
            assert_eq!(touched(&paths, prefix, Some(base.inputs()), tree.inputs()), concerned, "{said}");
        }
    }
    let read = flips.len() - unread;
    assert!(flips.len() >= 300 && read >= 200 && changed >= 150 && failed >= 50, "{read}, {changed}, {failed}");
}

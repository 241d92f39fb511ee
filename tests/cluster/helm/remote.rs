//! Charts of repositories and registries, which are locked and fetched.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ktor_action::render::yaml::documents;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use support::github::FakeGitHub;
use support::profile;
use support::repository::TestRepository;
use support::workflow_run::{WorkflowRun, opened};

use super::server::{ChartServer, Reply};
use super::{HELMS, KUBERNETES, helm, newest, succeeds, write};

/// The path of the archive in the repository.
const ARCHIVE: &str = "/charts/files/web-1.2.3.tgz";
/// The path of the index of the repository.
const INDEX: &str = "/charts/index.yaml";

/// Returns an archive that Helm made of a chart with one object, which has this text.
fn packed(program: &Path, name: &str, version: &str, text: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "c/Chart.yaml", &format!("apiVersion: v2\nname: {name}\nversion: {version}\n"));
    write(folder.path(), "c/values.yaml", "more: none\n");
    let object = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{{{ .Release.Name }}}}\ndata:\n  text: {text}\n  more: {{{{ \
         .Values.more }}}}\n"
    );
    write(folder.path(), "c/templates/x.yaml", &object);
    write(folder.path(), "c/crds/till.yaml", super::DEFINITION);
    succeeds(&helm(program, folder.path(), &["package", "c"]));
    fs::read(folder.path().join(format!("{name}-{version}.tgz"))).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A repository with a tree at `deploy`, and a server of charts.
struct Shop {
    checkout: TestRepository,
    server: ChartServer,
    program: PathBuf,
}

impl Shop {
    /// Creates a tree with one release of the chart `web`, which a repository serves.
    fn new(program: &Path) -> Self {
        let shop = Self { checkout: TestRepository::new(), server: ChartServer::start(), program: program.to_owned() };
        shop.checkout.write("deploy/.ktor.yaml", "project: demo\nnamespace: shop\n");
        shop.write_release("web", "1.2.3");
        // The index says another digest. The lock names that of the archive.
        let index = "entries:\n  web:\n  - {version: 1.2.3, urls: [files/web-1.2.3.tgz], digest: '00'}\n  - {version: 1.3.0, \
                     urls: [files/web-1.3.0.tgz]}\n";
        shop.server.set(INDEX, Reply::of(index));
        shop
    }

    fn write_release(&self, name: &str, version: &str) {
        let release = format!(
            "repository: {}\nchart: web\nversion: {version}\nname: {name}\nvalues: {{more: {name}}}\ninclude-crds: {}\n",
            self.server.url("/charts"),
            name == "web"
        );
        self.checkout.write(format!("deploy/{name}/.ktor.yaml"), format!("project: {name}\n"));
        self.checkout.write(format!("deploy/{name}/{name}.helm.yaml"), release);
    }

    fn serve(&self, text: &str) -> Vec<u8> {
        let archive = packed(&self.program, "web", "1.2.3", text);
        self.server.set(ARCHIVE, Reply::of(archive.clone()));
        archive
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let environment = self.checkout.environment();
        let mut ktor = Command::new(env!("CARGO_BIN_EXE_ktor"));
        ktor.args(arguments).env_clear().envs(profile()).current_dir(self.checkout.top());
        for name in ["PATH", "HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"] {
            ktor.env(name, environment.get(name).unwrap());
        }
        ktor.env("KTOR_HELM", &self.program);
        ktor
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        succeeds(&output);
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str]) -> String {
        let Output { status, stderr, .. } = self.command(arguments).output().unwrap();
        let error = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{error}");
        error
    }

    fn objects(&self) -> Vec<Value> {
        let rendered = self.succeeds(&["render", "-p", "deploy", "-o", "json"]);
        let rendered: Value = serde_json::from_str(&rendered).unwrap();
        rendered["objects"].as_array().unwrap().iter().map(|object| object["object"].clone()).collect()
    }

    /// The text of the object of a release.
    fn text(&self) -> Value {
        let objects = self.objects();
        objects.iter().find(|object| object["metadata"]["name"] == "web").unwrap()["data"]["text"].clone()
    }

    fn touched(&self) -> BTreeSet<String> {
        let scope = self.succeeds(&["scope", "-p", "deploy", "--base", "HEAD"]);
        scope.lines().map(str::to_owned).collect()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.checkout.top().join(path)).unwrap()
    }

    fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{text}");
        self.checkout.write(path, text.replace(from, to));
    }
}

/// Returns what Helm alone prints for an archive.
fn alone(program: &Path, archive: &[u8], values: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("web.tgz"), archive).unwrap();
    let arguments =
        ["template", "web", "web.tgz", "-n", "shop", "--include-crds", "--kube-version", KUBERNETES, "--set", values];
    let output = helm(program, folder.path(), &arguments);
    succeeds(&output);
    documents(Path::new("printed"), &output.stdout).unwrap().into_iter().map(|document| document.body).collect()
}

fn names(objects: &[Value]) -> BTreeSet<String> {
    objects.iter().map(|object| format!("{} {}", object["kind"], object["metadata"]["name"])).collect()
}

#[test]
fn k7_a_chart_of_a_repository_is_locked_fetched_and_rendered_and_its_archive_can_be_in_the_tree() {
    for program in &*HELMS {
        let shop = Shop::new(program);
        let archive = shop.serve("first");
        let error = shop.fails(&["render", "-p", "deploy"]);
        let expected = format!(
            "web/web.helm.yaml:2:1: there is no .ktor.lock that names the chart web 1.2.3 of {}: lock the charts",
            shop.server.url("/charts")
        );
        assert!(error.contains(&expected) && error.contains("`ktor lock` locks them"), "{error}");
        assert_eq!(shop.server.paths(), Vec::<String>::new(), "a run resolves nothing");

        let told = shop.succeeds(&["lock", "-p", "deploy"]);
        let locked = format!("locked chart web 1.2.3 of {} sha256:{}\n", shop.server.url("/charts"), sha256(&archive));
        assert!(told.starts_with(&locked) && told.ends_with("wrote .ktor.lock\n"), "{told}");
        assert_eq!(shop.server.paths(), [INDEX, ARCHIVE]);
        let written = shop.read("deploy/.ktor.lock");
        assert!(written.contains(&format!("url: \"{}\"", shop.server.url(ARCHIVE))), "{written}");
        assert!(written.starts_with("# Written by ktor. Commit this file.\nengines:\n  helm: \""), "{written}");

        let found = shop.objects();
        assert_eq!(shop.server.paths(), [ARCHIVE]);
        let expected = alone(program, &archive, "more=web");
        assert_eq!((found.len(), names(&found)), (2, names(&expected)));
        let of =
            |objects: &[Value]| objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap()["data"].clone();
        assert_eq!(of(&found), of(&expected));

        assert!(shop.succeeds(&["lock", "-p", "deploy"]).ends_with(".ktor.lock is current\n"));
        assert_eq!(shop.server.paths(), Vec::<String>::new());
        shop.succeeds(&["lock", "-p", "deploy", "--vendor"]);
        assert_eq!(shop.server.paths(), [ARCHIVE]);
        assert_eq!(shop.read("deploy/.ktor.lock"), written);
        shop.server.clear();
        assert_eq!(shop.objects(), found);
        assert_eq!(shop.server.paths(), Vec::<String>::new());

        // An archive of the tree that no lock names is a chart, too.
        shop.checkout.write("deploy/web/web.tgz", &archive);
        shop.checkout.write("deploy/web/web.helm.yaml", "chart: ./web.tgz\nname: web\nvalues: {more: web}\n");
        assert_eq!(shop.objects(), found);
        let told = shop.succeeds(&["lock", "-p", "deploy", "--vendor"]);
        assert!(told.starts_with("dropped chart web 1.2.3 of "), "{told}");
        assert_eq!(fs::read_dir(shop.checkout.top().join("deploy/.ktor/charts")).unwrap().count(), 0);
    }
}

#[test]
fn k7_a_chart_of_a_registry_is_locked_with_a_token_and_its_archive_comes_from_another_server_without_it() {
    let shop = Shop::new(newest());
    let archive = packed(newest(), "web", "1.2.3+build.5", "from a registry");
    let blobs = ChartServer::start();
    let digest = sha256(&archive);
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "layers": [
            {"mediaType": "application/vnd.cncf.helm.chart.provenance.v1.prov", "digest": "sha256:00"},
            {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": format!("sha256:{digest}")},
        ],
    });
    let challenge =
        || format!("Bearer realm=\"{}\",service=\"shop\",scope=\"repository:org/web:pull\"", shop.server.url("/token"));
    let (manifest_path, blob) = ("/v2/org/web/manifests/1.2.3_build.5", format!("/v2/org/web/blobs/sha256:{digest}"));
    let login = format!("Basic {}", STANDARD.encode("user:canary-password"));
    let token = "/token?service=shop&scope=repository:org/web:pull";
    let only = |reply: Reply| reply.for_login("Bearer canary-token", challenge());
    shop.server.set(manifest_path, only(Reply::of(manifest.to_string())));
    shop.server.set(&blob, only(Reply::redirect(blobs.url("/blob"))));
    shop.server.set(token, Reply::of(r#"{"token": "canary-token"}"#).for_login(&login, "Basic realm=x".to_owned()));
    blobs.set("/blob", Reply::of(archive));
    let release = format!("chart: oci://{}/org/web\nversion: 1.2.3+build.5\nname: web\n", shop.server.host());
    shop.checkout.write("deploy/web/web.helm.yaml", release);

    let error = shop.fails(&["lock", "-p", "deploy"]);
    assert!(error.contains("answers 401 Unauthorized; log in to it with helm or docker"), "{error}");
    assert!(!shop.checkout.top().join("deploy/.ktor.lock").exists());
    let auth = STANDARD.encode("user:canary-password");
    let config = format!(r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#, shop.server.host());
    let folder = shop.checkout.home().join(".docker");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.json"), config).unwrap();
    shop.server.asked();
    let told = shop.succeeds(&["lock", "-p", "deploy"]);
    assert!(told.contains(&format!("/org/web 1.2.3+build.5 sha256:{digest}")), "{told}");
    let asked = shop.server.asked();
    let expected = [manifest_path, token, manifest_path, &blob, token, &blob];
    assert_eq!(asked.iter().map(|asked| asked.path.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(asked[1].authorization.as_ref(), Some(&login));
    let written = shop.read("deploy/.ktor.lock");
    assert!(written.contains(&format!("oci: \"{}/org\"\n    chart: \"web\"", shop.server.host())), "{written}");
    assert_eq!(shop.text(), "from a registry");
    let on_blobs = blobs.asked();
    assert_eq!(on_blobs.len(), 2);
    assert!(on_blobs.iter().all(|asked| asked.authorization.is_none()), "{on_blobs:?}");
    assert!(!written.contains("canary") && !told.contains("canary"), "{written} {told}");
}

#[test]
fn k7_remote_charts_that_a_chart_of_the_tree_depends_on_are_locked_and_rendered_too() {
    for program in &*HELMS {
        let shop = Shop::new(program);
        shop.serve("from below");
        let repository = shop.server.url("/charts");
        let dependency =
            |version: &str| format!("dependencies: [{{name: web, version: {version}, repository: '{repository}'}}]\n");
        shop.checkout
            .write("deploy/web/web.helm.yaml", "chart: ../own\nname: web\n")
            .write(
                "deploy/own/Chart.yaml",
                format!("apiVersion: v2\nname: own\nversion: 0.1.0\n{}", dependency("1.x.x")),
            )
            .write("deploy/own/values.yaml", "web: {more: from above}\n");
        let error = shop.fails(&["render", "-p", "deploy"]);
        assert!(
            error.contains("own/Chart.yaml: the chart depends on `web`") && error.contains("write a Chart.lock"),
            "{error}"
        );
        shop.checkout.write("deploy/own/Chart.lock", dependency("1.2.3"));
        let told = shop.succeeds(&["lock", "-p", "deploy"]);
        assert!(told.starts_with("locked chart web 1.2.3 of "), "{told}");
        let objects = shop.objects();
        let data = &objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap()["data"];
        assert_eq!(data, &serde_json::json!({"text": "from below", "more": "from above"}));
        shop.checkout.commit("locked");
        // A locked chart is an input of the tree of a commit, too.
        shop.checkout.write("deploy/own/values.yaml", "web: {more: other}\n");
        let plan = shop.succeeds(&["plan", "-p", "deploy", "--offline", "--base", "HEAD", "-o", "json"]);
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let changes = plan["changes"].as_array().unwrap().iter().filter(|change| change["action"] != "unchanged");
        assert_eq!(changes.filter_map(|change| change["key"]["name"].as_str()).collect::<Vec<_>>(), ["web"]);
        shop.succeeds(&["lock", "-p", "deploy", "--vendor"]);
        shop.checkout.commit("vendored");
        shop.server.clear();
        shop.checkout.write("deploy/own/values.yaml", "web: {more: third}\n");
        shop.succeeds(&["plan", "-p", "deploy", "--offline", "--base", "HEAD", "-o", "json"]);
    }
}

#[test]
fn k7_bytes_that_changed_since_they_were_locked_are_refused() {
    let shop = Shop::new(newest());
    let archive = shop.serve("first");
    shop.succeeds(&["lock", "-p", "deploy"]);
    shop.serve("second");
    let error = shop.fails(&["render", "-p", "deploy"]);
    let expected = "web/web.helm.yaml:2:1: failed to fetch the chart web 1.2.3 of ";
    assert!(error.contains(expected) && error.contains("its bytes changed since they were locked"), "{error}");
    let told = shop.fails(&["lock", "-p", "deploy", "--vendor"]);
    assert!(told.contains("its bytes changed since they were locked"), "{told}");

    let vendored = format!("deploy/.ktor/charts/{}.tgz", sha256(&archive));
    let mut changed = archive.clone();
    changed[100] ^= 1;
    shop.checkout.write(&vendored, &changed);
    let error = shop.fails(&["render", "-p", "deploy"]);
    let expected = format!("the bytes of .ktor/charts/{}.tgz are not those that were locked", sha256(&archive));
    assert!(error.contains(&expected), "{error}");
    shop.server.asked();
    shop.checkout.write(&vendored, &archive);
    assert_eq!(shop.text(), "first");
    assert_eq!(shop.server.paths(), Vec::<String>::new());

    // A version that nobody locked is not looked for.
    shop.replace("deploy/web/web.helm.yaml", "1.2.3", "1.3.0");
    let error = shop.fails(&["render", "-p", "deploy"]);
    assert!(error.contains("is not in .ktor.lock: lock the charts again"), "{error}");
    assert_eq!(shop.server.paths(), Vec::<String>::new());
}

#[test]
fn k7_hostile_servers_are_refused_in_one_sentence_and_nothing_is_written() {
    let shop = Shop::new(newest());
    let archive = packed(newest(), "web", "1.2.3", "first");
    let redirected = Reply::redirect(shop.server.url(ARCHIVE));
    let large = vec![0; (64 << 20) + 1];
    for (reply, expected) in [
        (Reply::of("not an archive"), "the archive is refused: it is not a complete gzip stream"),
        (Reply::of(&archive[..archive.len() / 2]), "the archive is refused: it is not a complete gzip stream"),
        (Reply::of(large), "it has more than 64 MiB"),
        (redirected, "it redirects more than 5 times"),
        (Reply::redirect("http://charts.example/x".to_owned()), "it names an address that is not an https address"),
        (Reply::redirect("file:///etc/passwd".to_owned()), "it names an address that is not an address"),
        (Reply::redirect("/gone".to_owned()), "the server answers 404 Not Found; correct the name and the version"),
    ] {
        shop.server.set(ARCHIVE, reply);
        let error = shop.fails(&["lock", "-p", "deploy"]);
        let start = format!(
            "error: failed to lock the chart web 1.2.3 of {} (web/web.helm.yaml:2:1): ",
            shop.server.url("/charts")
        );
        assert!(error.starts_with(&start) && error.contains(expected), "{expected}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
        assert!(!shop.checkout.top().join("deploy/.ktor.lock").exists());
    }
    shop.server.set(INDEX, Reply::of("entries: {}"));
    let error = shop.fails(&["lock", "-p", "deploy"]);
    assert!(error.contains("it has no chart web"), "{error}");
    shop.server.set(INDEX, Reply::of("entries: {web: [{version: 1.2.3, urls: ['file:///etc/passwd']}]}"));
    let error = shop.fails(&["lock", "-p", "deploy"]);
    assert!(error.contains("it names an address that is not an address"), "{error}");
}

#[test]
fn k7_the_login_of_a_repository_stays_with_its_server() {
    let shop = Shop::new(newest());
    let archive = packed(newest(), "web", "1.2.3", "for members");
    let other = ChartServer::start();
    let login = format!("Basic {}", STANDARD.encode("member:canary-password"));
    let index = "entries: {web: [{version: 1.2.3, urls: [files/web-1.2.3.tgz]}]}";
    shop.server.set(INDEX, Reply::of(index).for_login(&login, "Basic realm=x".to_owned()));
    shop.server.set(ARCHIVE, Reply::redirect(other.url("/web.tgz")).for_login(&login, "Basic realm=x".to_owned()));
    other.set("/web.tgz", Reply::of(archive));
    let error = shop.fails(&["lock", "-p", "deploy"]);
    assert!(error.contains("answers 401 Unauthorized; log in"), "{error}");
    let file = shop.checkout.home().join(".config/helm/repositories.yaml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let login_of = |url: String| {
        format!("repositories:\n- {{name: x, url: '{url}', username: member, password: canary-password}}\n")
    };
    fs::write(&file, login_of(shop.server.url("/charts"))).unwrap();
    shop.succeeds(&["lock", "-p", "deploy"]);
    assert_eq!(shop.text(), "for members");
    assert!(other.asked().iter().all(|asked| asked.authorization.is_none()));
    assert!(!shop.read("deploy/.ktor.lock").contains("canary"));
    // Another repository has other credentials, even on the same server.
    shop.server.asked();
    fs::write(&file, login_of(shop.server.url("/private"))).unwrap();
    let error = shop.fails(&["render", "-p", "deploy"]);
    assert!(error.contains("answers 401 Unauthorized") && !error.contains("canary"), "{error}");
    assert!(shop.server.asked().iter().all(|asked| asked.authorization.is_none()));
}

#[test]
fn k7_an_engine_of_another_version_than_the_locked_one_is_refused() {
    let shop = Shop::new(newest());
    shop.serve("first");
    shop.succeeds(&["lock", "-p", "deploy"]);
    let notes = shop.command(&["render", "-p", "deploy"]).output().unwrap().stderr;
    assert_eq!(String::from_utf8(notes).unwrap(), "");
    let locked = shop.read("deploy/.ktor.lock");
    let version = locked.split("helm: \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    shop.replace("deploy/.ktor.lock", &version, "3.1.4");
    let error = shop.fails(&["render", "-p", "deploy"]);
    let expected =
        format!("failed to use helm {version}: .ktor.lock wants 3.1.4; install that version, or lock the charts again");
    assert!(error.contains(&expected), "{error}");
    // Another lock of the same charts wants the version that is here.
    shop.succeeds(&["lock", "-p", "deploy"]);
    assert_eq!(shop.read("deploy/.ktor.lock"), locked);
    shop.replace("deploy/.ktor.lock", &format!("engines:\n  helm: \"{version}\"\n"), "");
    let notes = String::from_utf8(shop.command(&["render", "-p", "deploy"]).output().unwrap().stderr).unwrap();
    assert!(
        notes.contains(&format!("Rendered with helm {version}. No file of the tree pins this version.")),
        "{notes}"
    );
}

#[test]
fn k7_s6_a_changed_entry_of_the_lock_concerns_its_users_alone() {
    let shop = Shop::new(newest());
    shop.serve("first");
    shop.server.set("/charts/files/web-1.3.0.tgz", Reply::of(packed(newest(), "web", "1.3.0", "newer")));
    shop.write_release("other", "1.3.0");
    shop.succeeds(&["lock", "-p", "deploy"]);
    shop.checkout.commit("locked");
    assert_eq!(shop.touched(), BTreeSet::new());
    let before = shop.read("deploy/.ktor.lock");
    let archive = shop.serve("again");
    let [first, second] = [sha256(&archive), before.split("sha256: \"").nth(1).unwrap()[..64].to_owned()];
    shop.replace("deploy/.ktor.lock", &second, &first);
    assert_eq!(shop.touched(), ["demo.web".to_owned()].into());
    assert_eq!(shop.text(), "again");
    shop.checkout.write("deploy/.ktor.lock", before.replace("engines:", "# A comment.\nengines:"));
    assert_eq!(shop.touched(), BTreeSet::new());
    shop.checkout.write("deploy/.ktor.lock", "charts: {}\n");
    let error = shop.fails(&["render", "-p", "deploy"]);
    assert!(error.contains(".ktor.lock:1:9: expected sequence start; correct it, or remove the file"), "{error}");
}

#[test]
fn k7_for_a_fork_nothing_is_fetched_that_only_its_head_names() {
    let shop = Shop::new(newest());
    shop.serve("first");
    shop.succeeds(&["lock", "-p", "deploy"]);
    let base = shop.checkout.commit("locked");
    let forge = FakeGitHub::start();
    let folder = tempfile::tempdir().unwrap();
    let mut number = 0;
    let mut run = |head: &ktor_action::git::commit::Commit| {
        number += 1;
        let checkout = TestRepository::checkout(&shop.checkout, head);
        let folder = folder.path().join(number.to_string());
        let run = WorkflowRun { ktor: env!("CARGO_BIN_EXE_ktor"), forge: &forge, folder, number };
        let helm = newest().to_str().unwrap();
        run.act(&checkout, &opened(head, &base).forked(), None, &[("KTOR_INPUT_PATH", "deploy"), ("KTOR_HELM", helm)])
    };
    // The fork may use the charts of the base.
    shop.server.asked();
    shop.checkout.branch("fork", "HEAD");
    shop.replace("deploy/web/web.helm.yaml", "more: web", "more: forked");
    let ran = run(&shop.checkout.commit("other values"));
    assert_eq!(ran.exit, 0, "{}", ran.log);
    assert!(ran.log.contains("forked"), "{}", ran.log);
    assert!(!shop.server.paths().is_empty());
    // The same chart from another address, another chart, and other bytes are not fetched.
    let listener = ChartServer::start();
    let lock = shop.read("deploy/.ktor.lock");
    let release = shop.read("deploy/web/web.helm.yaml");
    let archive = packed(newest(), "web", "1.2.3", "of the fork");
    listener.set("/x.tgz", Reply::of(archive.clone()));
    let url = format!("url: \"{}\"", shop.server.url(ARCHIVE));
    let elsewhere = lock.replace(&url, &format!("url: \"{}\"", listener.url("/x.tgz")));
    let newer = lock.replace("version: \"1.2.3\"", "version: \"1.3.0\"");
    let known = lock.split("sha256: \"").nth(1).unwrap()[..64].to_owned();
    let bytes = elsewhere.replace(&known, &sha256(&archive));
    shop.server.asked();
    for (lock, release) in
        [(&elsewhere, release.clone()), (&newer, release.replace("1.2.3", "1.3.0")), (&bytes, release.clone())]
    {
        shop.checkout.write("deploy/.ktor.lock", lock).write("deploy/web/web.helm.yaml", release);
        let ran = run(&shop.checkout.commit("other lock"));
        let expected = "only the lock of this change names it, and the change is not the repository's own; put its archive at \
                        .ktor/charts/";
        assert!(ran.log.contains(expected), "{}", ran.log);
        assert_eq!(listener.paths(), Vec::<String>::new());
    }
    // The base is rendered from what its own lock names.
    assert!(shop.server.paths().iter().all(|path| path == ARCHIVE));
    // What the head contains needs no network.
    shop.checkout.write(format!("deploy/.ktor/charts/{}.tgz", sha256(&archive)), &archive);
    let ran = run(&shop.checkout.commit("vendored"));
    assert_eq!(ran.exit, 0, "{}", ran.log);
    assert!(ran.log.contains("of the fork"), "{}", ran.log);
    assert_eq!(listener.paths(), Vec::<String>::new());
}

//! The whole output of the built program: every command, every format of its report, and every kind of end.
//!
//! Each snapshot is a file that shows the command line, the exit code, and both streams. Names that differ between runs
//! are replaced: the directory of the checkout, the address of the API server, and the number of a run.

mod action;
mod apply;
mod lock;
mod plan;
mod render;
mod schema;
mod state;
mod summary;
mod targets;

use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};
use support::model::{Request, World};
use support::profile;
use support::repository::{RepositoryCopy, TestRepository};
use support::wire::ApiServer;

const X: &str = "/api/v1/namespaces/shop/configmaps/x";
const Y: &str = "/api/v1/namespaces/shop/configmaps/y";
const Z: &str = "/api/v1/namespaces/shop/secrets/z";
const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/kubernator-system/leases/kubernator-project-89e495e7941c-lock";

/// A checkout with the root `demo` at `k8s`, and a server.
struct Site {
    checkout: TestRepository,
    server: ApiServer,
}

/// The first commit of a checkout: `demo.a` has the ConfigMaps `x` and `y`, and `demo.b` has the Secret `z`.
static CHECKOUT: LazyLock<RepositoryCopy> = LazyLock::new(|| {
    let checkout = TestRepository::new();
    checkout.write("k8s/.ktor.yaml", "project: demo\ncleanup: true\nnamespace: shop\n");
    for project in ["a", "b"] {
        checkout.write(format!("k8s/{project}/.ktor.yaml"), format!("project: {project}\n"));
    }
    checkout.write("k8s/a/x.yaml", config_map("x", "1")).write("k8s/a/y.yaml", config_map("y", "1"));
    let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: z\ndata:\n  key: dmFsdWU=\n";
    checkout.write("k8s/b/z.yaml", secret).commit("first");
    checkout.copy()
});

/// The server after an apply of the first commit. The objects are created one after another, so that their uids do not
/// depend on the order in which requests arrive.
static APPLIED: LazyLock<World> = LazyLock::new(|| {
    let site = Site::on(new_server());
    let files = ["a/x.yaml", "a/y.yaml", "b/z.yaml"].map(|file| format!("k8s/{file}"));
    let contents = files.each_ref().map(|file| std::fs::read(site.checkout.top().join(file)).unwrap());
    for file in &files {
        site.checkout.remove(file);
    }
    for (file, content) in files.iter().zip(contents) {
        site.checkout.write(file, content);
        let applied = site.run(&["apply", "-p", "k8s", "--yes"]);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }
    site.server.world()
});

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: \"{name}\"\ndata:\n  value: \"{value}\"\n")
}

/// Returns a server with the namespaces and nothing else.
fn new_server() -> World {
    let mut world = World::new();
    for namespace in ["shop", "kubernator-system"] {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        send(&mut world, "POST", "/api/v1/namespaces", &body);
    }
    world
}

/// Sends a request of another client.
fn send(world: &mut World, method: &str, path: &str, body: &Value) {
    let now: Timestamp = "2031-05-06T06:08:09Z".parse().unwrap();
    let request = Request {
        method: method.parse().unwrap(),
        target: format!("{path}?fieldManager=kubectl-edit"),
        body: body.to_string().into_bytes(),
    };
    let answer = world.answer(&request, now);
    assert!(answer.status < 300, "{method} {path}: {}", answer.body);
}

/// Lets another client change an object.
fn edit(world: &mut World, path: &str, change: impl Fn(&mut Value)) {
    let mut object = world.object(path).unwrap().clone();
    change(&mut object);
    send(world, "PUT", path, &object);
}

/// Lets a run hold the lock.
fn lock(world: &mut World) {
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": LEASE.rsplit('/').next(), "namespace": "kubernator-system"},
        "spec": {"holderIdentity": "maria@laptop#1a2b3c4d", "leaseDurationSeconds": 60,
            "acquireTime": "2031-05-06T07:00:00.000000Z", "renewTime": "2031-05-06T07:08:00.000000Z"}});
    send(world, "POST", LEASE.rsplit_once('/').unwrap().0, &lease);
}

impl Site {
    fn on(world: World) -> Self {
        let site = Self { checkout: TestRepository::from(&*CHECKOUT), server: ApiServer::start(world) };
        site.server.write_kubeconfig(&site.checkout.home().join("kubeconfig"));
        site
    }

    /// Creates a site on which the checkout was applied.
    fn applied() -> Self {
        Self::on(APPLIED.clone())
    }

    /// Creates a site on which the checkout was applied, and another client then changed the server.
    fn changed(change: impl Fn(&mut World)) -> Self {
        let mut world = APPLIED.clone();
        change(&mut world);
        Self::on(world)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let environment = self.checkout.environment();
        let mut ktor = Command::new(env!("CARGO_BIN_EXE_ktor"));
        ktor.args(arguments).env_clear().envs(profile()).current_dir(self.checkout.top());
        for name in ["PATH", "HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"] {
            ktor.env(name, environment.get(name).unwrap());
        }
        ktor.env("KUBECONFIG", self.checkout.home().join("kubeconfig"));
        ktor.env("USER", "tester").env("HOSTNAME", "bench").env("COLUMNS", "120");
        ktor.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ktor
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the program and returns the text of a snapshot.
    fn shows(&self, arguments: &[&str]) -> String {
        self.shown(arguments, self.run(arguments))
    }

    /// Returns the text of a snapshot.
    fn shown(&self, arguments: &[&str], ended: Output) -> String {
        let code = ended.status.code().unwrap();
        let [output, error] = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        self.without_names(&format!(
            "$ ktor {}\nexit code {code}\n\n[standard output]\n{}\n\n[standard error]\n{}\n",
            arguments.join(" "),
            output.trim_end_matches('\n'),
            in_order(&error)
        ))
    }

    /// Replaces the names that differ between runs.
    fn without_names(&self, text: &str) -> String {
        let top = self.checkout.top().canonicalize().unwrap();
        let home = self.checkout.home();
        let text = text.replace(top.to_str().unwrap(), "/checkout").replace(home.to_str().unwrap(), "/home");
        let text = text.replace(&self.server.address(), "server");
        let mut parts = text.split("tester@bench#");
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |text, part| text + "tester@bench#RUN" + &part[8..])
    }
}

/// Sorts the lines about objects that one wave handles at once. Their requests may be answered in any order.
fn in_order(text: &str) -> String {
    let is_of_object = |line: &&str| {
        ["applied ", "blocked ", "failed ", "kept ", "skipped "].iter().any(|word| line.starts_with(word))
    };
    let mut lines: Vec<&str> = text.lines().collect();
    for wave in lines.chunk_by_mut(|one, other| is_of_object(one) == is_of_object(other)) {
        if wave.first().is_some_and(is_of_object) {
            wave.sort_unstable();
        }
    }
    lines.join("\n")
}

/// Compares a run in every format of its report with one snapshot each. Each run has a site of its own.
fn check_formats(name: &str, site: impl Fn() -> Site, arguments: &[&str]) {
    for format in ["terminal", "markdown", "json", "html"] {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", format]).collect();
        check(&format!("{name}_{format}"), &site(), &arguments);
    }
}

/// Compares a run with a snapshot.
fn check(name: &str, site: &Site, arguments: &[&str]) {
    compare(name, site.shows(arguments));
}

fn compare(name: &str, text: String) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("snapshots/program");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Starts the program, and sends it a signal before the first request for which `fits` is true.
fn interrupted_at(site: &Site, arguments: &[&str], fits: impl Fn(&Request) -> bool + Send + 'static) -> Output {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock();
    let process = std::sync::Arc::new(Mutex::new(None::<u32>));
    let known = std::sync::Arc::clone(&process);
    let mut is_sent = false;
    site.server.set_hand(move |request, _| {
        if !is_sent && fits(request) {
            is_sent = true;
            let id = known.lock().unwrap().expect("the program was started").to_string();
            assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
            // The program hears the signal before the answer comes.
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        None
    });
    let mut started = process.lock().unwrap();
    let child = site.command(arguments).spawn().unwrap();
    *started = Some(child.id());
    drop(started);
    child.wait_with_output().unwrap()
}

//! Tests of the test support: the control plane, its recorder, its watchdog, and its programs.

#![cfg(test)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::StreamExt;
use http::{Request, StatusCode};
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{ConfigMap, Namespace, Pod},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams},
};
use support::controlplane::{
    Binaries, ControlPlane, Entry, Fault, Gate, Module, Recorder, User, Watchdog, act, sentence,
};

#[tokio::test]
async fn the_server_is_the_pinned_one() {
    let plane = ControlPlane::shared();
    let version = plane.client().apiserver_version().await.unwrap();
    assert_eq!((version.git_version.as_str(), version.minor.as_str()), ("v1.37.2", "37"));
    let kubectl = plane.kubectl(&["version", "-o", "json"]);
    assert_eq!(String::from_utf8_lossy(&kubectl.stdout).matches("\"gitVersion\": \"v1.37.2\"").count(), 2);
    assert_eq!(plane.pids().len(), 5);

    let kubeconfig = kube::config::Kubeconfig::read_from(plane.kubeconfig(User::Admin)).unwrap();
    let cluster = kubeconfig.clusters[0].cluster.as_ref().unwrap();
    assert_eq!(cluster.server.as_deref(), Some(plane.url()));
    let authority = BASE64_STANDARD.decode(cluster.certificate_authority_data.as_deref().unwrap()).unwrap();
    assert_eq!(authority, plane.ca_pem().as_bytes());
    assert_eq!(plane.ca_pem().matches("BEGIN CERTIFICATE").count(), 1);
}

#[tokio::test]
async fn pods_of_a_deployment_become_ready_unless_their_image_is_absent() {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("deployments").await;
    for (name, image) in [("works", "example.invalid/works"), ("lacks", "absent.invalid/image")] {
        let made = plane.kubectl(&["-n", &namespace, "create", "deployment", name, "--image", image, "--replicas=3"]);
        assert!(made.status.success(), "{made:?}");
    }
    let deployments: Api<Deployment> = Api::namespaced(plane.client(), &namespace);
    eventually("3 ready pods", async || {
        let works = deployments.get("works").await.unwrap();
        works.status.and_then(|status| status.ready_replicas) == Some(3)
    })
    .await;
    let pods: Api<Pod> = Api::namespaced(plane.client(), &namespace);
    eventually("3 pods that wait for their image", async || {
        let found = pods.list(&ListParams::default().labels("app=lacks")).await.unwrap();
        found.items.iter().filter(|pod| waits_because(pod, "ImagePullBackOff")).count() == 3
    })
    .await;
    let lacks = deployments.get("lacks").await.unwrap();
    assert_eq!(lacks.status.and_then(|status| status.ready_replicas), None);
}

fn waits_because(pod: &Pod, reason: &str) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let waiting = statuses.filter_map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    waiting.into_iter().any(|found| found == reason)
}

#[tokio::test]
async fn a_job_completes() {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("jobs").await;
    let made = plane.kubectl(&["-n", &namespace, "create", "job", "once", "--image=example.invalid/once"]);
    assert!(made.status.success(), "{made:?}");
    let jobs: Api<Job> = Api::namespaced(plane.client(), &namespace);
    eventually("a complete job", async || {
        let status = jobs.get("once").await.unwrap().status.unwrap_or_default();
        status.conditions.iter().flatten().any(|condition| condition.type_ == "Complete" && condition.status == "True")
    })
    .await;
}

#[tokio::test]
async fn a_namespace_vanishes_with_its_pods() {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("vanishing").await;
    let made = plane.kubectl(&["-n", &namespace, "run", "pod", "--image=example.invalid/pod"]);
    assert!(made.status.success(), "{made:?}");
    let pods: Api<Pod> = Api::namespaced(plane.client(), &namespace);
    eventually("a running pod", async || {
        pods.get("pod").await.unwrap().status.and_then(|status| status.phase).as_deref() == Some("Running")
    })
    .await;
    let namespaces: Api<Namespace> = Api::all(plane.client());
    namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
    eventually("no namespace", async || namespaces.get_opt(&namespace).await.unwrap().is_none()).await;
}

#[tokio::test]
async fn users_may_do_what_their_names_say() {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("users").await;
    for (user, may_read, may_write) in
        [(User::Admin, true, true), (User::Reader, true, false), (User::Nobody, false, false)]
    {
        let maps: Api<ConfigMap> = Api::namespaced(plane.client_of(user), &namespace);
        let read = maps.list(&ListParams::default()).await;
        assert_eq!(read.map(drop).map_err(|error| code(&error)), ok_or_forbidden(may_read), "{user:?} reads");
        let written = maps.create(&PostParams::default(), &config_map(user.name())).await;
        assert_eq!(written.map(drop).map_err(|error| code(&error)), ok_or_forbidden(may_write), "{user:?} writes");
        let asked = plane.kubectl_at(
            &plane.kubeconfig(user),
            &["auth", "whoami", "-o=jsonpath={.status.userInfo.username}"],
            "",
        );
        assert_eq!(String::from_utf8_lossy(&asked.stdout), user.name(), "{asked:?}");
    }
}

fn ok_or_forbidden(may: bool) -> Result<(), u16> {
    if may { Ok(()) } else { Err(403) }
}

#[tokio::test]
async fn p1_a_recorded_request_persists_when_the_server_stores_it() {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("recorder").await;
    let recorder = Recorder::start(plane);
    let client = recorder.client(User::Admin);
    let maps = format!("/api/v1/namespaces/{namespace}/configmaps");
    let map = serde_json::to_string(&config_map("new")).unwrap();
    let review = r#"{"spec":{"nonResourceAttributes":{"path":"/","verb":"get"}}}"#;
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let cases = [
        ("GET", maps.clone(), "", false),
        ("POST", format!("{maps}?dryRun=All"), &*map, false),
        ("POST", maps.clone(), &map, true),
        ("POST", reviews.to_owned(), review, false),
        ("PATCH", format!("{maps}/old?fieldManager=t&dryRun=All"), r#"{"data":{"a":"1"}}"#, false),
        ("PATCH", format!("{maps}/old?fieldManager=t"), r#"{"data":{"a":"1"}}"#, true),
        ("DELETE", format!("{maps}/old"), r#"{"dryRun":["All"]}"#, false),
        ("DELETE", format!("{maps}/old?dryRun=All"), "", false),
        ("DELETE", format!("{maps}/old?dryRun=All"), r#"{"dryRun":["All"]}"#, false),
        ("DELETE", format!("{maps}/old?dryRun=All"), "{}", true),
        ("DELETE", format!("{maps}/old"), "", true),
    ];
    let direct: Api<ConfigMap> = Api::namespaced(plane.client(), &namespace);
    for (method, target, body, persists) in cases {
        for name in ["old", "new"] {
            let _ = direct.delete(name, &DeleteParams::default()).await;
        }
        direct.create(&PostParams::default(), &config_map("old")).await.unwrap();
        let before = versions(&direct).await;

        let status = send(&client, method, &target, body).await.unwrap();

        assert!(status.is_success(), "{method} {target}: {status}");
        let entry = recorder.journal().pop().unwrap();
        assert_eq!((entry.method.as_str(), &entry.target, &entry.body[..]), (method, &target, body.as_bytes()));
        assert_eq!(entry.status, Some(status));
        assert_eq!(versions(&direct).await != before, persists, "{method} {target} {body}: the server");
        assert_eq!(entry.persists(), persists, "{method} {target} {body}: the recorder");
    }
}

#[tokio::test]
async fn the_recorder_hands_on_credentials_and_streams() {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("streams").await;
    let recorder = Recorder::start(plane);
    let forbidden =
        plane.kubectl_at(&recorder.kubeconfig(User::Reader), &["-n", &namespace, "create", "configmap", "map"], "");
    assert!(String::from_utf8_lossy(&forbidden.stderr).contains("User \"reader\" cannot create"), "{forbidden:?}");

    let maps: Api<ConfigMap> = Api::namespaced(recorder.client(User::Reader), &namespace);
    let mut watched = maps.watch(&WatchParams::default().timeout(60), "0").await.unwrap().boxed();
    let direct: Api<ConfigMap> = Api::namespaced(plane.client(), &namespace);
    direct.create(&PostParams::default(), &config_map("late")).await.unwrap();
    loop {
        match watched.next().await.unwrap().unwrap() {
            WatchEvent::Added(map) if map.metadata.name.as_deref() == Some("late") => break,
            _ => {}
        }
    }
    let journal = recorder.journal();
    assert!(journal.iter().any(|entry| entry.target.contains("watch=true")));
    assert!(journal.iter().zip(0..).all(|(entry, place)| entry.sequence == place));
    assert!(journal.is_sorted_by_key(|entry| entry.at));
}

#[tokio::test]
async fn faults_strike_before_after_and_between() {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("faults").await;
    let gate = Gate::closed();
    let held = gate.clone();
    let recorder = Recorder::with_faults(plane, move |entry: &Entry| match entry.body.as_ref() {
        body if contains(body, "cut") => Some(Fault::Cut),
        body if contains(body, "unanswered") => Some(Fault::DropAnswer),
        body if contains(body, "late") => Some(Fault::Hold(held.clone())),
        _ => None,
    });
    let direct: Api<ConfigMap> = Api::namespaced(plane.client(), &namespace);
    let maps: Api<ConfigMap> = Api::namespaced(recorder.client(User::Admin), &namespace);

    for (name, arrives) in [("cut", false), ("unanswered", true)] {
        maps.create(&PostParams::default(), &config_map(name)).await.unwrap_err();
        assert_eq!(direct.get_opt(name).await.unwrap().is_some(), arrives, "{name}");
        assert_eq!(recorder.journal().pop().unwrap().status.is_some(), arrives, "{name}");
    }

    // The client gives up while its request waits at the gate. The request arrives nevertheless.
    let waiting = tokio::spawn(async move { maps.create(&PostParams::default(), &config_map("late")).await });
    gate.reached().await;
    assert!(direct.get_opt("late").await.unwrap().is_none());
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    gate.open();
    eventually("the held request's effect", async || direct.get_opt("late").await.unwrap().is_some()).await;
}

/// This test starts itself again as the process that is killed.
#[test]
fn a_killed_process_leaves_neither_servers_nor_data() {
    const TOLD: &str = "KTOR_TEST_TELLS";
    #[expect(clippy::disallowed_methods, reason = "the one way to tell the process from its parent")]
    if let Some(told) = std::env::var_os(TOLD) {
        let plane = ControlPlane::shared();
        let pids = plane.pids().iter().map(u32::to_string).collect::<Vec<_>>().join("\n");
        let partial = Path::new(&told).with_extension("partial");
        fs::write(&partial, format!("{}\n{pids}", plane.folder().display())).unwrap();
        fs::rename(partial, told).unwrap();
        std::thread::sleep(Duration::from_mins(10));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "controlplane::a_killed_process_leaves_neither_servers_nor_data"])
        .env(TOLD, &told)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    within("a control plane of the other process", || {
        assert_eq!(process.try_wait().unwrap(), None, "the other process ended");
        told.exists()
    });
    let told = fs::read_to_string(told).unwrap();
    let (data, pids) = told.split_once('\n').unwrap();
    let pids: Vec<u32> = pids.lines().map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.len() == 5 && pids.iter().all(|pid| runs(*pid)), "{pids:?}");
    assert!(Path::new(data).join("etcd").is_dir());

    process.kill().unwrap();
    process.wait().unwrap();

    within("no servers", || !pids.iter().any(|pid| runs(*pid)));
    within("no data", || !Path::new(data).exists());
}

#[test]
fn what_a_watchdog_watches_ends_with_its_owner() {
    let (pids, folder) = std::thread::spawn(|| {
        let watchdog = Watchdog::start().unwrap();
        let sleeps = || watchdog.spawn(Command::new("sleep").arg("600")).unwrap();
        let mut processes = [sleeps(), sleeps()];
        fs::create_dir(watchdog.folder().join("data")).unwrap();
        let seen = (processes.each_ref().map(std::process::Child::id), watchdog.folder().to_owned());
        assert!(seen.0.into_iter().all(runs));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _owned = watchdog;
            panic!("a test failed");
        }));
        assert!(result.is_err());
        for process in &mut processes {
            process.wait().unwrap();
        }
        seen
    })
    .join()
    .unwrap();
    assert!(!pids.into_iter().any(runs));
    assert!(!folder.exists());
}

#[test]
fn missing_programs_are_named_in_one_sentence() {
    let assets = tempfile::tempdir().unwrap();
    for program in ["etcd", "kube-apiserver", "kubectl"] {
        fs::write(assets.path().join(program), "").unwrap();
    }
    let error = Binaries::given(assets.path()).unwrap_err();
    let folder = assets.path().display();
    assert_eq!(
        sentence(&error),
        format!(
            "failed to find kube-controller-manager, kube-scheduler, kwok in {folder}, which KUBEBUILDER_ASSETS names"
        )
    );

    let cache = tempfile::tempdir().unwrap();
    let module = module(cache.path());
    let error = module.built(cache.path(), "/nowhere/go".as_ref(), &mut Vec::new()).unwrap_err();
    assert_eq!(
        sentence(&error),
        format!(
            "failed to find one, two: install Go (the version that {}/go.mod names, or newer), or provide them",
            module.folder
        )
    );
}

#[test]
fn programs_are_built_once_for_each_pinned_set() {
    let cache = tempfile::tempdir().unwrap();
    let module = module(cache.path());
    let go = fake_go(cache.path());
    let build = || {
        let mut told = Vec::new();
        let folder = module.built(&cache.path().join("cache"), go.as_os_str(), &mut told).unwrap();
        (folder, String::from_utf8(told).unwrap())
    };

    let found = std::thread::scope(|scope| [(); 4].map(|()| scope.spawn(build)).map(|thread| thread.join().unwrap()));
    let first = &found[0].0;
    assert!(found.iter().all(|(folder, _)| folder == first && folder.join("two").is_file()));
    let told: String = found.iter().map(|(_, told)| told.as_str()).collect();
    assert_eq!(told, format!("building one, two from {}: the first time takes no time\n", module.folder));
    let runs = || fs::read_to_string(cache.path().join("runs")).unwrap().lines().count();
    assert_eq!(runs(), 1);

    fs::write(Path::new(module.folder).join("go.sum"), "another set").unwrap();
    assert_ne!(build().0, *first);
    assert_eq!(runs(), 2);

    // A build that fails leaves nothing that looks built.
    fs::write(Path::new(module.folder).join("go.sum"), "a third set").unwrap();
    fs::write(cache.path().join("fails"), "").unwrap();
    for _ in 0..2 {
        let error = module.built(&cache.path().join("cache"), go.as_os_str(), &mut Vec::new()).unwrap_err();
        assert!(sentence(&error).ends_with("go ended with exit status: 1:\nno such module"), "{}", sentence(&error));
    }
}

/// Returns a module with two tools. Its folder's name is never freed, because a module's folder is a static text.
fn module(folder: &Path) -> Module {
    let folder = folder.join("tools");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("go.mod"), "module tools").unwrap();
    fs::write(folder.join("go.sum"), "").unwrap();
    Module {
        folder: folder.display().to_string().leak(),
        ldflags: "-s",
        tags: "",
        cgo: "0",
        read: None,
        programs: &["one", "two"],
        renamed: &[("second", "two")],
        takes: "no time",
        or: ", or provide them",
    }
}

/// Creates a program that stands in for Go. It counts its runs in the file `runs`, and fails if a file `fails` exists.
fn fake_go(folder: &Path) -> PathBuf {
    let script = format!(
        "#!/bin/sh\ncd '{}' || exit 2\necho run >>runs\n[ ! -e fails ] || {{ echo no such module >&2; exit 1; }}\n\
         while [ \"$1\" != -o ]; do shift; done\nsleep 0.2\ntouch \"$2/one\" \"$2/second\"\n",
        folder.display()
    );
    let path = folder.join("go");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn the_workflow_runner_is_the_pinned_one() {
    let act = act().unwrap_or_else(|error| panic!("{}", sentence(&error)));
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(act).arg("--help").env_clear().env("HOME", home.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("--container-daemon-socket"), "{output:?}");
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(serde_json::json!({"metadata": {"name": name}, "data": {"said": name}})).unwrap()
}

async fn send(client: &Client, method: &str, target: &str, body: &str) -> Result<StatusCode, kube::Error> {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(target).header("content-type", kind);
    let request = request.body(kube::client::Body::from(body.as_bytes().to_vec())).unwrap();
    Ok(client.send(request).await?.status())
}

async fn versions(maps: &Api<ConfigMap>) -> Vec<(Option<String>, Option<String>)> {
    // A controller puts this ConfigMap into every namespace at an unknown time, so the list leaves it out.
    let found = maps.list(&ListParams::default().fields("metadata.name!=kube-root-ca.crt")).await.unwrap();
    found.items.into_iter().map(|map| (map.metadata.name, map.metadata.resource_version)).collect()
}

fn contains(body: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(body).contains(text)
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("no answer: {other}"),
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_mins(2), "failed to see {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn within(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_mins(2), "failed to see {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns `true` if a process runs. A process that waits to be reaped does not run.
fn runs(pid: u32) -> bool {
    let listed = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8_lossy(&listed.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

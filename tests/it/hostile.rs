//! Trees of an attacker: hostile values for every part of a name, up to the state and the requests.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use ktor_action::cluster::lock::LockRequest;
use ktor_action::cluster::{Cluster, ClusterSettings};
use ktor_action::object::ident::{GroupKind, ObjectKey};
use ktor_action::object::kinds::{Kind, Kinds, defined_kind};
use ktor_action::object::live::Live;
use ktor_action::object::mark::Root;
use ktor_action::process::Environment;
use ktor_action::process::engine::Policy;
use ktor_action::project::path::Segment;
use ktor_action::report::shell::quoted;
use ktor_action::run::sources::{Engines, Origin, Sources};
use ktor_action::state::codec::{Recorded, encode_all, read};
use ktor_action::state::payload::Entries;
use ktor_action::state::transition::{Prior, RunCommits};
use kube::client::Body;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::profile;
use tower::{BoxError, service_fn};

fn root() -> Root {
    Root::new(Segment::new("demo").unwrap())
}

/// Generates texts from parts that lead out of a path and from parts of ordinary names.
fn hostile() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "web",
        "kube-dns",
        ":53",
        "/",
        "/proxy",
        "/admin/shutdown",
        "..",
        ".",
        "../",
        "%2F",
        "%2e%2e",
        "%",
        "?",
        "#",
        "&",
        "=",
        "pods?x=",
        "nodes",
        "n0",
        "watch",
        "status",
        "\\",
        "\n",
        "\r",
        "\0",
        "\u{1b}[2J",
        " ",
        "\u{85}",
        "\u{202e}",
        "ü",
        "WEB",
        "v1",
        "-",
        "_",
        "~",
        "@",
        "//",
        ";",
        "system:",
        "1",
    ]);
    prop_oneof![
        4 => prop::collection::vec(parts, 0..4).prop_map(|parts| parts.concat()),
        1 => "\\PC{0,10}",
        1 => Just("x".repeat(300)),
        1 => Just("x".repeat(2000)),
    ]
}

fn or_hostile(good: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![3 => prop::sample::select(good).prop_map(str::to_owned), 1 => hostile()]
}

/// Generates one document: an object of a known kind, an object of a custom kind, or a CRD.
fn document() -> impl Strategy<Value = Value> {
    let api_versions = ["v1", "apps/v1", "rbac.authorization.k8s.io/v1", "shop.dev/v1", "policy/v1"].as_slice();
    let kinds =
        ["ConfigMap", "Secret", "Service", "Namespace", "Deployment", "ClusterRole", "Till", "PodDisruptionBudget"]
            .as_slice();
    let object = (
        or_hostile(api_versions),
        or_hostile(kinds),
        or_hostile(&["web", "api", "kubernator-project-web", "system:node"]),
        prop::option::of(or_hostile(&["shop", "kubernator-system"])),
    )
        .prop_map(|(api_version, kind, name, namespace)| {
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}})
        });
    let definition = (
        or_hostile(&["shop.dev"]),
        or_hostile(&["tills", "nodes/n0/proxy/pods?x="]),
        or_hostile(&["Till"]),
        or_hostile(&["v1", "v1beta1"]),
        prop::sample::select(vec!["Namespaced", "Cluster"]),
    )
        .prop_map(|(group, plural, kind, version, scope)| {
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "tills.shop.dev"},
                "spec": {"group": group, "scope": scope, "names": {"plural": plural, "kind": kind},
                    "versions": [{"name": version, "served": true}]}})
        });
    prop_oneof![3 => object, 1 => definition]
}

/// Returns `true` if a text could lead out of its place in a path.
fn is_dangerous(text: &str) -> bool {
    matches!(text, "." | "..") || text.contains(['/', '%', '?', '#']) || text.chars().any(char::is_control)
}

fn load(documents: &[Value]) -> Sources {
    let directory = support::temporary_directory();
    fs::write(directory.path().join(".ktor.yaml"), "project: demo\nnamespace: shop\n").unwrap();
    // Each document is one line.
    let text: Vec<String> = documents.iter().map(ToString::to_string).collect();
    fs::write(directory.path().join("x.yaml"), text.join("\n---\n")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime
        .block_on(Sources::load(
            Origin::WorkTree { root: directory.path(), top: directory.path() },
            None,
            &Engines::new(Environment::default(), Policy::OWN),
        ))
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// The next run can read whatever phase one can write. A name that cannot be written is refused at its place in the
    /// file.
    #[test]
    fn x2_what_is_recorded_can_be_read_and_what_cannot_be_is_refused_in_its_place(
        documents in prop::collection::vec(document(), 1..5),
    ) {
        let sources = load(&documents);
        let desired = sources.resolve(&sources.with_defined_kinds(Kinds::builtin().clone()));
        for failure in &desired.failures {
            let text = failure.error.to_string();
            let line: usize = text.strip_prefix("x.yaml:").unwrap_or_default().split(':').next().unwrap().parse().unwrap();
            prop_assert!(line % 2 == 1 && line < 2 * documents.len(), "{}", text);
            prop_assert!(failure.error.message.len() < 400, "{} bytes", failure.error.message.len());
        }
        let mut intent = Entries::default();
        for manifest in desired.manifests.values() {
            let ObjectKey { group, kind, namespace, name } = &manifest.ident.key;
            let is_misread =
                matches!(name.as_str(), "." | "..") || name.contains(['/', '%']) || name.chars().any(char::is_control);
            prop_assert!(!is_dangerous(group) && !is_dangerous(kind) && !is_dangerous(&manifest.ident.version));
            prop_assert!(!is_misread && !namespace.iter().any(|namespace| is_dangerous(namespace)));
            intent.insert(&manifest.project, &manifest.ident);
        }
        let payload = Prior::absent(None).begin(intent, &RunCommits::default()).record().payload;
        let (data, shards) = encode_all(&payload, &root()).unwrap();
        prop_assert!(shards.is_empty());
        match read(&data, &root()) {
            Ok(Recorded::Whole(found)) => prop_assert_eq!(found, payload),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// The encoder also refuses an entry from elsewhere if the decoder could not read it.
    #[test]
    fn x2_the_encoder_refuses_what_the_decoder_refuses(
        (group, kind, version) in (hostile(), hostile(), hostile()),
        (name, namespace) in (hostile(), prop::option::of(hostile())),
        pending in any::<bool>(),
    ) {
        let ident = json!({"group": group, "kind": kind, "version": version, "name": name, "namespace": namespace});
        let state = |ident: &Value| {
            let (empty, full) = (json!({}), json!({"demo.a": [ident]}));
            let (resources, pending) = if pending { (empty, full) } else { (full, empty) };
            json!({"finalized": true, "pending": pending, "resources": resources, "version": "1"})
        };
        let payload = serde_json::from_value(state(&ident)).unwrap();
        let good = json!({"group": "", "kind": "A", "version": "v1", "name": "a"});
        let (template, _) = encode_all(&serde_json::from_value(state(&good)).unwrap(), &root()).unwrap();
        prop_assert!(read(&template, &root()).is_ok());
        match encode_all(&payload, &root()) {
            Ok((data, _)) => match read(&data, &root()) {
                Ok(Recorded::Whole(found)) => prop_assert_eq!(found, payload),
                other => prop_assert!(false, "written and not read: {:?}", other),
            },
            Err(error) => {
                prop_assert!(error.to_string().contains("cannot be recorded"), "{}", error);
                let decoded = read(&ktor_action::state::codec::encode(&payload), &root());
                prop_assert!(decoded.is_err(), "refused and yet readable");
            }
        }
    }
}

/// The methods and targets of the requests, in the order in which they came.
type Journal = Arc<Mutex<Vec<(Method, String)>>>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A shell reads the printed word as exactly the text, and runs nothing that is in it.
    #[test]
    fn x15_a_pasted_word_is_the_text_and_nothing_else(
        text in prop::collection::vec(prop::sample::select(vec![
            "maria", " ", "$(touch pwned)", "`touch pwned`", ";touch pwned", "|touch pwned", "&", "'", "\"", "\\", "\n", "\r",
            "##[error]", "::error::", "ü", "\u{1b}[2J", "*", "~", "!", "-", "#", "$HOME", "0", "<!--", "@team", "\u{202e}",
        ]), 1..6).prop_map(|parts| parts.concat()),
    ) {
        let word = quoted(&text);
        prop_assert!(word.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", word);
        prop_assert!(!word.contains("##[") && !word.contains("::") && !word.contains('`'), "{}", word);
        let directory = support::temporary_directory();
        for shell in ["bash", "sh"] {
            let ran = std::process::Command::new(shell)
                .args(["-c", &format!("printf %s {word}")]).current_dir(directory.path()).output().unwrap();
            prop_assert!(shell == "sh" || ran.stdout == text.as_bytes(), "{} for {:?}", word, text);
            prop_assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{}", word);
        }
    }
}

/// Plans a tree with the binary. Returns its peak memory in bytes, its processor time, and its standard error.
fn planned(directory: &Path) -> (usize, Duration, String) {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_ktor"))
        .args(["plan", "-p"])
        .arg(directory)
        .env_clear()
        .envs(profile())
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", directory)
        .env("KUBECONFIG", directory.join("absent"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (status, stat) = (format!("/proc/{}/status", child.id()), format!("/proc/{}/stat", child.id()));
    let (mut peak, mut ticks) = (0, 0);
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        peak = peak.max(line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or_default() << 10);
        let text = fs::read_to_string(&stat).unwrap_or_default();
        let fields = text.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        ticks = fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>().max(ticks);
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut said = String::new();
    child.stderr.unwrap().read_to_string(&mut said).unwrap();
    (peak, Duration::from_millis(ticks * 10), said)
}

/// Trees that are small on the disk and would be large in memory.
#[test]
fn x12_links_and_aliases_fill_no_memory() {
    let tree = || {
        let directory = support::temporary_directory();
        fs::write(directory.path().join(".ktor.yaml"), "project: demo\n").unwrap();
        directory
    };
    let (links, aliases, merges, many) = (tree(), tree(), tree(), tree());
    let large: String = (0..50_000).map(|number| format!("k{number}: a text of some length\n")).collect();
    fs::write(links.path().join("a.yaml"), large).unwrap();
    for number in 0..10_000 {
        symlink("a.yaml", links.path().join(format!("link{number}.yaml"))).unwrap();
    }
    let fields: String = (0..20).map(|number| format!("k{number}: v, ")).collect();
    fs::write(aliases.path().join("a.yaml"), format!("a: &x {{{fields}}}\nb:\n{}", "- *x\n".repeat(110_000))).unwrap();
    fs::write(merges.path().join("a.yaml"), format!("a: &x {{{fields}}}\nb:\n{}", "- {<<: *x}\n".repeat(50_000)))
        .unwrap();
    // Each file stays within the limit for one document. The whole tree does not.
    for number in 0..40 {
        let text = format!(
            "apiVersion: v1\nkind: A\nmetadata: {{name: n{number}}}\na: &x {{{fields}}}\nb:\n{}",
            "- *x\n".repeat(800)
        );
        fs::write(many.path().join(format!("{number}.yaml")), text).unwrap();
    }
    for (directory, said) in
        [(&links, "links repeat more than 16 MiB of the tree's files"), (&aliases, ""), (&merges, ""), (&many, "")]
    {
        let (peak, spent, error) = planned(directory.path());
        assert!(error.contains(said) && error.contains("error: "), "{error}");
        assert!(peak > 1 << 20 && peak < 256 << 20, "{} MiB: {error}", peak >> 20);
        assert!(spent < Duration::from_secs(5), "{spent:?}: {error}");
    }
}

/// Creates a server that records the requests, answers with the body that it received, and grants every lock.
fn recording() -> (Journal, Cluster) {
    let journal = Journal::default();
    let seen = Arc::clone(&journal);
    let service = service_fn(move |request: Request<Body>| {
        let seen = Arc::clone(&seen);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let target = parts.uri.path_and_query().unwrap().to_string();
            let missing = parts.method == Method::GET && target.contains("/leases/");
            seen.lock().unwrap().push((parts.method, target));
            let mut answer = serde_json::from_slice(&body).ok().filter(Value::is_object).unwrap_or_default();
            answer["metadata"]["uid"] = json!("u");
            answer["metadata"]["resourceVersion"] = json!("1");
            let status = if missing { 404 } else { 200 };
            if missing {
                answer = json!({"kind": "Status", "reason": "NotFound", "details": {"name": "x"}});
            }
            let response = Response::builder().status(status).header("date", "Tue, 06 May 2031 07:08:09 GMT");
            Ok::<_, BoxError>(response.body(Body::from(answer.to_string().into_bytes())).unwrap())
        }
    });
    (journal, Cluster::over(service, ClusterSettings::default()))
}

/// Returns the parts of a path as a server reads it: split at the slashes, and then decoded part by part.
fn parts(target: &str) -> Vec<String> {
    let path = target.split('?').next().unwrap();
    let decode = |part: &str| {
        let mut bytes = part.bytes();
        let mut decoded = Vec::new();
        while let Some(byte) = bytes.next() {
            let digits =
                |high: u8, low: u8| u8::from_str_radix(std::str::from_utf8(&[high, low]).unwrap(), 16).unwrap();
            decoded.push(if byte == b'%' { digits(bytes.next().unwrap(), bytes.next().unwrap()) } else { byte });
        }
        String::from_utf8(decoded).unwrap()
    };
    path.split('/').skip(1).map(decode).collect()
}

/// Makes every request that the adapter can make about one object.
async fn ask_everything(cluster: &Cluster, kind: &Kind, key: &ObjectKey, body: &Value) {
    let root = root();
    let request = LockRequest {
        namespace: "kubernator-system".into(),
        root: root.clone(),
        holder: "test".into(),
        timeout: Duration::ZERO,
        run_url: None,
    };
    let lock = cluster.acquire(&request, &mut |_| {}).await.unwrap();
    let live = Live { body: json!({"metadata": {"uid": "u", "resourceVersion": "1"}}) };
    drop(cluster.get(kind, key).await);
    drop(cluster.list_owned(kind, None, &root, std::convert::identity).await);
    drop(cluster.list_metadata(kind, key.namespace.as_deref()).await);
    drop(cluster.try_apply(kind, body, &root).await);
    drop(cluster.try_forced_apply(kind, body, &root).await);
    drop(cluster.try_replace(kind, "u", body, body, &root).await);
    drop(cluster.try_as_new(kind, body, &root).await);
    drop(cluster.try_delete(kind, key, "u", "1").await);
    drop(cluster.apply(&lock, kind, body, &root).await);
    drop(cluster.patch(&lock, kind, (key, &live), &[], &root).await);
    drop(cluster.delete(&lock, kind, key, "u", "1").await);
    drop(lock.release().await);
}

/// Returns the paths that requests about an object may have: its own path, its collection, and its kind in all
/// namespaces.
fn allowed(kind: &Kind, version: &str, key: &ObjectKey) -> BTreeSet<Vec<String>> {
    let group = &kind.group_kind.group;
    let start = |version: &str| match group.as_str() {
        "" => vec!["api".to_owned(), version.to_owned()],
        group => vec!["apis".to_owned(), group.to_owned(), version.to_owned()],
    };
    let mut allowed = BTreeSet::new();
    for version in kind.versions.iter().map(String::as_str).chain([version]) {
        let mut path = start(version);
        let mut all = path.clone();
        all.push(kind.plural.clone());
        allowed.insert(all);
        if let Some(namespace) = &key.namespace {
            path.extend(["namespaces".to_owned(), namespace.clone()]);
        }
        path.push(kind.plural.clone());
        allowed.insert(path.clone());
        path.push(key.name.clone());
        allowed.insert(path);
    }
    allowed
}

fn check_wire(kind: &Kind, key: &ObjectKey, version: &str, body: &Value) -> Result<usize, TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let journal = runtime.block_on(async {
        let (journal, cluster) = recording();
        ask_everything(&cluster, kind, key, body).await;
        journal
    });
    let allowed = allowed(kind, version, key);
    let journal = journal.lock().unwrap();
    let asked: Vec<_> = journal.iter().filter(|(_, target)| !target.contains("/leases")).collect();
    for (method, target) in &asked {
        prop_assert!(allowed.contains(&parts(target)), "{} {} for {:?}", method, target, key);
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let known = ["limit", "labelSelector", "fieldManager", "fieldValidation", "force", "dryRun", "timeout"];
        let keys = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap());
        let keys: Vec<&str> = keys.collect();
        prop_assert!(keys.iter().all(|key| known.contains(key)), "{} {}", method, target);
    }
    Ok(asked.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// An object that a tree may name is requested only at its own path, whatever the tree's CRDs say about its kind.
    #[test]
    fn x3_no_manifest_makes_a_request_outside_of_its_objects_own_path(
        documents in prop::collection::vec(document(), 1..4),
    ) {
        let sources = load(&documents);
        let kinds = sources.with_defined_kinds(Kinds::builtin().clone());
        for manifest in sources.resolve(&kinds).manifests.values() {
            let key = &manifest.ident.key;
            let Some(kind) = kinds.get(&key.group_kind()) else { continue };
            let kind = kind.at_version(&manifest.ident.version);
            let asked = check_wire(&kind, key, &manifest.ident.version, &manifest.body)?;
            prop_assert!(asked >= 11, "{} requests about {}", asked, key);
        }
    }

    /// An invalid part makes no request, even if it passed every other check.
    #[test]
    fn x3_no_part_whatever_it_is_makes_a_request_elsewhere(
        (group, plural, version) in (or_hostile(&["", "shop.dev"]), or_hostile(&["tills"]), or_hostile(&["v1"])),
        (served, name) in (or_hostile(&["v1"]), or_hostile(&["web"])),
        namespace in prop::option::of(or_hostile(&["shop"])),
    ) {
        let kind = Kind {
            group_kind: GroupKind::new(group.clone(), "Till"),
            plural,
            namespaced: namespace.is_some(),
            versions: vec![served],
            manageable: true,
        };
        let key = ObjectKey { group: group.clone(), kind: "Till".into(), namespace: namespace.clone(), name: name.clone() };
        let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
        let body = json!({"apiVersion": api_version, "kind": "Till", "metadata": {"name": name, "namespace": namespace}});
        check_wire(&kind, &key, &version, &body)?;
    }

    /// A CRD with a name that no path can contain defines no kind.
    #[test]
    fn x3_a_definition_defines_what_a_path_can_name(definition in document()) {
        if let Some(kind) = defined_kind(&definition) {
            for text in [&kind.plural, &kind.group_kind.group, &kind.group_kind.kind, &kind.versions[0]] {
                prop_assert!(!is_dangerous(text) && !text.is_empty(), "{:?}", kind);
            }
        }
    }

    /// The discovery of an aggregated server is not trusted.
    #[test]
    fn x3_a_hostile_discovery_adds_no_kind_that_leads_elsewhere(
        (group, version) in (or_hostile(&["shop.dev"]), or_hostile(&["v1"])),
        (plural, kind) in (or_hostile(&["tills"]), or_hostile(&["Till"])),
        is_aggregated in any::<bool>(),
    ) {
        let verbs = json!(["get", "list", "create", "patch", "delete"]);
        let answer = {
            let (group, version, plural) = (group.clone(), version.clone(), plural.clone());
            move |target: &str| {
                let good = |plural: &str, kind: &str, verbs: &Value| json!({"resource": plural, "name": plural,
                    "responseKind": {"kind": kind}, "kind": kind, "scope": "Namespaced", "namespaced": true, "verbs": verbs});
                match (target, is_aggregated) {
                    ("/api", true) => json!({"kind": "APIGroupDiscoveryList", "items": []}),
                    ("/apis", true) => json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": group},
                        "versions": [{"version": version, "resources": [good(&plural, &kind, &verbs)]}]}]}),
                    ("/api", false) => json!({"kind": "APIVersions", "versions": []}),
                    ("/apis", false) => json!({"kind": "APIGroupList", "groups": [{"name": group,
                        "versions": [{"groupVersion": format!("{group}/{version}")}]}]}),
                    _ => json!({"resources": [good(&plural, &kind, &verbs)]}),
                }
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (asked, kinds) = runtime.block_on(async {
            let asked: Arc<Mutex<Vec<String>>> = Arc::default();
            let seen = Arc::clone(&asked);
            let service = service_fn(move |request: Request<Body>| {
                let target = request.uri().path_and_query().unwrap().to_string();
                let body = answer(&target).to_string().into_bytes();
                seen.lock().unwrap().push(target);
                async move { Ok::<_, BoxError>(Response::new(Body::from(body))) }
            });
            let kinds = Cluster::over(service, ClusterSettings::default()).discover().await.unwrap();
            (asked, kinds)
        });
        for target in asked.lock().unwrap().iter() {
            prop_assert!(parts(target).len() <= 3 && !target.contains('?') && !target.contains('%'), "{}", target);
        }
        for kind in kinds.iter() {
            for text in [&kind.plural, &kind.group_kind.group, &kind.group_kind.kind, &kind.versions[0]] {
                prop_assert!(!is_dangerous(text), "{:?}", kind);
            }
        }
        if kinds.iter().next().is_none() && !group.contains('/') {
            // If a server's discovery contains impossible names, it does not prove that a kind is missing.
            prop_assert!(!kinds.is_conclusive_for(&group) || group.is_empty() || plural.contains('/'), "{}", group);
        }
    }
}

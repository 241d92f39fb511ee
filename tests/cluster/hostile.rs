//! Trees and clusters of an attacker: names, paths, states of other roots, and objects that appear during a run.

use std::collections::BTreeSet;

use base64::Engine;
use http::Method;
use ktor_action::object::ident::{Ident, ObjectKey};
use ktor_action::object::mark::Root;
use ktor_action::object::name::{Rule, rule_of};
use ktor_action::project::path::Segment;
use ktor_action::state::payload::{Entries, Payload};
use ktor_action::state::shard::{shard_name, split};
use serde_json::{Value, json};
use support::controlplane::{ControlPlane, Entry, Fault, Gate, Recorder, User};

use super::bench::{Bench, change, config_map, namespace};

/// Sends a dry-run create to the server. Returns the status and the message.
async fn created(client: &kube::Client, path: &str, object: &Value) -> (u16, String) {
    let target = format!("{path}?dryRun=All");
    let request = http::Request::post(target).header("content-type", "application/json");
    let request = request.body(kube::client::Body::from(object.to_string().into_bytes())).unwrap();
    let answer = client.send(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect_bytes().await.unwrap();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Returns every kind whose names have more rules than a path needs, with the other fields that the server requires.
fn kinds() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let pod = json!({"containers": [{"name": "c", "image": "i"}]});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod});
    let workload = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, "serviceName": "x"}});
    let job = json!({"template": {"spec": {"containers": pod["containers"], "restartPolicy": "Never"}}});
    let rule = json!({"host": "a.example", "http": {"paths": [{"path": "/", "pathType": "Prefix",
        "backend": {"service": {"name": "x", "port": {"number": 80}}}}]}});
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let deployment = json!({"spec": {"selector": workload["spec"]["selector"], "template": template}});
    vec![
        ("", "ConfigMap", "configmaps", json!({})),
        ("", "LimitRange", "limitranges", json!({"spec": {"limits": []}})),
        ("", "PersistentVolumeClaim", "persistentvolumeclaims", json!({"spec": claim})),
        ("", "Pod", "pods", json!({"spec": pod})),
        ("", "PodTemplate", "podtemplates", json!({"template": template})),
        (
            "",
            "ReplicationController",
            "replicationcontrollers",
            json!({"spec": {"selector": {"a": "b"}, "template": template}}),
        ),
        ("", "ResourceQuota", "resourcequotas", json!({"spec": {"hard": {"pods": "100"}}})),
        ("", "Secret", "secrets", json!({})),
        ("", "Service", "services", json!({"spec": {"ports": [{"port": 80}]}})),
        ("", "ServiceAccount", "serviceaccounts", json!({})),
        ("apps", "DaemonSet", "daemonsets", deployment.clone()),
        ("apps", "Deployment", "deployments", deployment.clone()),
        ("apps", "ReplicaSet", "replicasets", deployment),
        ("apps", "StatefulSet", "statefulsets", workload),
        ("batch", "CronJob", "cronjobs", json!({"spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": job}}})),
        ("batch", "Job", "jobs", json!({"spec": job})),
        (
            "autoscaling",
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
            json!({"spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"}}}),
        ),
        ("networking.k8s.io", "Ingress", "ingresses", json!({"spec": {"rules": [rule]}})),
        ("networking.k8s.io", "NetworkPolicy", "networkpolicies", json!({"spec": {"podSelector": {}}})),
        ("coordination.k8s.io", "Lease", "leases", json!({"spec": {}})),
        (
            "discovery.k8s.io",
            "EndpointSlice",
            "endpointslices",
            json!({"addressType": "IPv4", "endpoints": [], "ports": []}),
        ),
        ("rbac.authorization.k8s.io", "Role", "roles", json!({"rules": []})),
        ("policy", "PodDisruptionBudget", "poddisruptionbudgets", json!({"spec": {"minAvailable": 1, "selector": {}}})),
    ]
}

/// A name that the server accepts is never refused, and a name that every kind accepts is allowed.
#[tokio::test(flavor = "multi_thread")]
async fn x2_no_name_is_refused_that_the_server_accepts() {
    let plane = ControlPlane::shared();
    let ns = plane.namespace("names").await;
    let client = plane.client();
    let (label, long) = ("l".repeat(63), "n".repeat(300));
    let names = [
        "web", "a.b", "1web", "a-b.c-d", &label, "Web", "web_1", "-web", "web-", "a..b", ".a", "a b", "a:b", "ü",
        "a?b", "a#b", "a&b=c", "a;b", "a\\b", "...", "a/b", "..", ".", "a%2fb", &long,
    ];
    let (mut accepted, mut refused) = (0, 0);
    for (group, kind, plural, body) in kinds() {
        let version = if group == "autoscaling" { "v2" } else { "v1" };
        let (api_version, path) = match group {
            "" => (version.to_owned(), format!("/api/v1/namespaces/{ns}/{plural}")),
            group => (format!("{group}/{version}"), format!("/apis/{group}/{version}/namespaces/{ns}/{plural}")),
        };
        for name in names {
            let mut object = body.clone();
            object["apiVersion"] = json!(api_version);
            object["kind"] = json!(kind);
            object["metadata"] = json!({"name": name, "namespace": ns});
            let (status, words) = created(&client, &path, &object).await;
            let takes = status == 201;
            if rule_of(group, kind).allows(name) {
                accepted += usize::from(takes);
                assert!(takes || !["web", "l"].contains(&name), "{kind} {name:?}: {status} {words}");
            } else {
                refused += 1;
                assert!(!takes && (words.contains("metadata.name") || name.contains("..")), "{kind} {name:?}: {words}");
            }
        }
    }
    assert!(accepted > 100 && refused > 200, "{accepted} accepted, {refused} refused");
    // These are the names of cluster-scoped objects and of namespaces.
    for (name, takes) in [("system:x y", true), ("Ü?#", true), ("a/b", false), ("a%b", false), ("..", false)] {
        let role =
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}});
        let (status, words) = created(&client, "/apis/rbac.authorization.k8s.io/v1/clusterroles", &role).await;
        assert_eq!(
            (status == 201, rule_of("rbac.authorization.k8s.io", "ClusterRole").allows(name)),
            (takes, takes),
            "{words}"
        );
    }
    for name in ["a.b", "A", "-a", &"n".repeat(64), "a_b"] {
        assert!(!Rule::Label.allows(name));
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        assert_ne!(created(&client, "/api/v1/namespaces", &object).await.0, 201, "{name}");
    }
}

#[test]
fn x2_names_that_only_some_kinds_have_are_applied_found_and_deleted() {
    let bench = Bench::new("odd");
    let role = |name: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {}}}\n\
             rules: [{{apiGroups: ['']}}]\n---\n",
            json!(name)
        )
        .replace("[{apiGroups: ['']}]", "[]")
    };
    let names =
        ["a b", "x:y", "Ü?#&=", "...", "a;b\\c", "~", "status", "watch"].map(|name| format!("{}-{name}", bench.root));
    bench.write("roles.yaml", &names.iter().map(|name| role(name)).collect::<String>());
    bench.apply();
    let plan = bench.plan();
    assert_eq!(plan["summary"]["unchanged"], names.len(), "{plan:#}");
    assert_eq!(bench.recorded().1[&bench.root].len(), names.len());
    bench.remove("roles.yaml").write("ns.yaml", &namespace(&bench.root));
    let ran = bench.ktor(&["apply", "--yes", "-o", "json", "--allow-mass-deletion"]).exits(0);
    assert_eq!(bench.recorded().1[&bench.root], [format!("Namespace {}", bench.root)], "{ran:#?}");
    let left = bench
        .kubectl(&["get", "clusterroles", "-l", &format!("kubernator.io/root={}", bench.hash()), "-o", "name"], "");
    assert_eq!(left, "");
}

#[test]
fn x2_a_typo_in_a_name_is_refused_in_its_place_and_leaves_nothing_behind() {
    let bench = Bench::new("typo");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("good.yaml", &config_map(&ns, "good", "1"));
    bench.apply();
    let before = bench.state();
    for (bad, said) in [
        (config_map(&ns, "team/web", "1"), "`metadata.name` cannot be \"team/web\""),
        (config_map(&ns, "..", "1"), "`metadata.name` cannot be \"..\""),
        (config_map(&ns, "Team", "1"), "`metadata.name` cannot be \"Team\""),
        (config_map("a/b", "x", "1"), "`metadata.namespace` cannot be \"a/b\""),
        (config_map(&ns, "x", "1").replace("apiVersion: v1", "apiVersion: v1%2Fnodes"), "`apiVersion` cannot be"),
        (config_map(&ns, "x", "1").replace("kind: ConfigMap", "kind: Config Map"), "`kind` cannot be"),
    ] {
        bench.write("bad.yaml", &bad);
        for arguments in [["plan"].as_slice(), &["apply", "--yes"]] {
            let ran = bench.ktor(arguments).exits(1);
            assert!(ran.stderr.contains("bad.yaml:1:1: ") && ran.stderr.contains(said), "{ran:#?}");
        }
        assert_eq!(bench.state(), before, "{bad}");
    }
    bench.remove("bad.yaml");
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    bench.apply();
}

#[test]
fn x2_a_record_that_an_older_run_wedged_is_repaired_as_its_refusal_says() {
    let bench = Bench::new("wedged");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("good.yaml", &config_map(&ns, "good", "1"));
    bench.apply();
    let mut state = bench.state();
    let typo = json!({"group": "", "kind": "ConfigMap", "name": "team/web", "namespace": ns, "version": "v1"});
    state["resources"][&bench.root].as_array_mut().unwrap().push(typo);
    super::ownership::forge_state(&bench, &state);
    bench.ktor(&["plan"]).exits(1).says("state rebuild --replace-damaged");
    bench.ktor(&["state", "rebuild", "--yes"]).exits(1);
    bench.ktor(&["state", "rebuild", "--yes", "--replace-damaged"]).exits(0);
    assert_eq!(bench.recorded().1[&bench.root].len(), 2);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
    bench.apply();
}

/// Returns `true` if the path has the form of a plain request on an object, a collection or discovery: no subresource,
/// no escaped or relative path, and no watch.
fn is_plain(entry: &Entry) -> bool {
    let parts: Vec<&str> = entry.path().split('/').skip(1).collect();
    let rest = match parts.as_slice() {
        ["version" | "api" | "apis"] => return entry.method == Method::GET,
        ["api", "v1", rest @ ..] => rest,
        ["apis", _, _, rest @ ..] => rest,
        _ => return false,
    };
    let is_sub = rest.first() != Some(&"namespaces") && rest.len() > 2 || rest.len() > 4;
    !is_sub && !entry.path().contains("%2F") && !entry.path().contains("..") && !entry.target.contains("watch=")
}

#[test]
fn x3_a_hostile_tree_is_refused_and_asks_the_server_nothing_elsewhere() {
    let mut bench = Bench::new("elsewhere");
    let ns = bench.root.clone();
    let recorder = Recorder::start(bench.plane);
    bench.through(recorder.kubeconfig(User::Admin));
    bench.write("ns.yaml", &namespace(&ns));
    let service = |name: &str| {
        let metadata = json!({"name": name, "namespace": "kube-system"});
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 53}]}})
            .to_string()
    };
    let definition = |plural: &str, group: &str, version: &str| {
        let names = json!({"plural": plural, "kind": "Till", "singular": "till"});
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let versions = json!([{"name": version, "served": true, "storage": true, "schema": schema}]);
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {"group": group, "scope": "Cluster", "names": names, "versions": versions}});
        let till = json!({"apiVersion": format!("{group}/{version}"), "kind": "Till", "metadata": {"name": "x"}});
        format!("{crd}\n---\n{till}\n")
    };
    for hostile in [
        service("kube-dns:53/proxy/admin/shutdown"),
        service("kube-dns:53%2Fproxy"),
        service("../../nodes/n0/proxy"),
        service("x?watch=true"),
        definition("nodes/n0/proxy/pods?x=", "shop.dev", "v1"),
        definition("tills", "shop.dev/v1/../../v1", "v1"),
        definition("tills", "shop.dev", "v1/namespaces/kube-system/secrets?x="),
        definition("watch", "elsewhere.dev", "v1"),
        config_map("kube-system/secrets/x", "x", "1"),
        json!({"apiVersion": "v1%2Fnodes%2Fn0%2Fproxy", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "a"}}).to_string(),
    ] {
        bench.write("hostile.yaml", &hostile);
        for arguments in [["plan"].as_slice(), &["apply", "--yes"]] {
            bench.ktor(arguments).exits(1);
        }
    }
    let strange: BTreeSet<String> = recorder
        .journal()
        .iter()
        .filter(|entry| !is_plain(entry))
        .map(|entry| format!("{} {}", entry.method, entry.target))
        .collect();
    assert_eq!(strange, BTreeSet::new());
    assert!(!recorder.journal().is_empty());
}

#[test]
fn x9_what_roots_keep_their_books_in_is_no_desired_object() {
    let bench = Bench::new("books");
    let other = Bench::new("victim");
    other.write("ns.yaml", &namespace(&other.root));
    other.apply();
    let name = format!("kubernator-project-{}", other.hash());
    let before = bench.get(&format!("secret/{name}"), Some("kubernator-system")).unwrap();
    let object = |kind: &str, api_version: &str, name: &str, namespace: &str, rest: Value| {
        let mut object =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}});
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        object.to_string()
    };
    let secret = |name: &str, namespace: &str, rest: Value| object("Secret", "v1", name, namespace, rest);
    for hostile in [
        secret(&name, "kubernator-system", json!({})),
        secret(&name, "kubernator-system", json!({"type": "kubernator.io/project-state"})),
        secret(&name, &bench.root, json!({})),
        secret(&format!("{name}-0123456789abcdef0123456789abcdef"), "kubernator-system", json!({})),
        secret(&format!("{name}-review"), "kubernator-system", json!({"stringData": {"key": "known"}})),
        secret("innocent", &bench.root, json!({"type": "kubernator.io/project-state-shard"})),
        object("Lease", "coordination.k8s.io/v1", &format!("{name}-lock"), "kubernator-system", json!({"spec": {}})),
    ] {
        bench.write("hostile.yaml", &hostile);
        for arguments in [["plan"].as_slice(), &["apply", "--yes", "--take-over", &other.root]] {
            let ran = bench.ktor(arguments).exits(1);
            assert!(
                ran.stderr.contains("hostile.yaml:1:1: ") && ran.stderr.contains("no manifest may contain it"),
                "{ran:#?}"
            );
        }
    }
    assert_eq!(bench.get(&format!("secret/{name}"), Some("kubernator-system")).unwrap(), before);
}

#[test]
fn x9_another_roots_books_are_never_recorded_or_cleaned_up_whatever_mark_they_carry() {
    let (bench, other) = (Bench::new("taker"), Bench::new("victim"));
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("own.yaml", &config_map(&ns, "own", "1"));
    bench.apply();
    other.write("ns.yaml", &namespace(&other.root));
    other.apply();
    let name = format!("kubernator-project-{}", other.hash());
    // An older run adopted this Secret: ktor's field manager set the mark, and the state records it.
    let marked = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "kubernator-system",
        "annotations": {"kubernator.io/project": bench.root}, "labels": {"kubernator.io/root": bench.hash()}}});
    let manager = format!("--field-manager=ktor-{}", bench.root);
    bench.kubectl(&["apply", "--server-side", "--force-conflicts", &manager, "-f", "-"], &marked.to_string());
    let mut state = bench.state();
    let entry = json!({"group": "", "kind": "Secret", "name": name, "namespace": "kubernator-system", "version": "v1"});
    state["resources"][&bench.root].as_array_mut().unwrap().push(entry);
    super::ownership::forge_state(&bench, &state);
    let before = bench.get(&format!("secret/{name}"), Some("kubernator-system")).unwrap();

    let plan = bench.plan();
    assert_eq!(change(&plan, "cleanup", &name)["action"], "release", "{plan:#}");
    bench.apply();
    bench.apply();
    assert_eq!(bench.get(&format!("secret/{name}"), Some("kubernator-system")).unwrap(), before);
    assert!(!bench.recorded().1[&bench.root].iter().any(|entry| entry.contains(&name)));
    bench.ktor(&["state", "rebuild", "--yes"]).exits(0);
    assert!(!bench.recorded().1[&bench.root].iter().any(|entry| entry.contains(&name)));
    other.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn x9_nothing_but_this_roots_own_shards_is_collected() {
    let bench = Bench::new("labeled");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("own.yaml", &config_map(&ns, "own", "1"));
    bench.apply();
    let root = Root::new(Segment::new(&bench.root).unwrap());
    let mut entries = Entries::default();
    let key = ObjectKey { group: String::new(), kind: "Pod".into(), namespace: Some(ns.clone()), name: "x".into() };
    entries.insert(&root.project(), &Ident { key, version: "v1".into() });
    let (_, shards) = split(&Payload { resources: entries, ..Payload::default() }).unwrap();
    let own = shard_name(&root, &shards[0].digest);
    let data = base64::engine::general_purpose::STANDARD.encode(&shards[0].data);
    let secret = |name: &str, secret_type: &str, of: &str, data: &str| {
        let metadata = json!({"name": name, "namespace": "kubernator-system",
            "labels": {"kubernator.io/ktor-state-shard-of": bench.hash()}, "annotations": {"kubernator.io/project-root": of}});
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": secret_type, "data": {"shard": data}})
    };
    let (shard_type, someone) = ("kubernator.io/project-state-shard", format!("{}-database", bench.root));
    let strangers = [
        secret(&someone, "Opaque", &bench.root, &data),
        secret(&format!("{own}0"), shard_type, &bench.root, &data),
        secret(
            &format!("{}{}", &own[..own.len() - 1], if own.ends_with('0') { '1' } else { '0' }),
            shard_type,
            &bench.root,
            &data,
        ),
        secret(&format!("{}-{}", root.state_name(), "0".repeat(32)), shard_type, &bench.root, "bm8gZ3ppcA=="),
        secret(&format!("{}-{}", root.state_name(), "1".repeat(32)), shard_type, "another", &data),
    ];
    let names: Vec<&str> = strangers.iter().map(|secret| secret["metadata"]["name"].as_str().unwrap()).collect();
    for secret in strangers.iter().chain([&secret(&own, shard_type, &bench.root, &data)]) {
        bench.kubectl(&["create", "-f", "-"], &secret.to_string());
    }
    bench.kubectl(
        &["annotate", "-n", "kubernator-system", "secret", &root.state_name(), "kubernator.io/ktor-shards=true"],
        "",
    );
    bench.write("own.yaml", &config_map(&ns, "own", "2"));
    bench.apply();
    let stands = |name: &str| bench.get(&format!("secret/{name}"), Some("kubernator-system")).is_some();
    assert!(!stands(&own), "a shard that no head refers to is collected");
    for name in names {
        assert!(stands(name), "{name}");
    }
}

/// Starts an apply, and runs `does` just before the apply creates the ConfigMap `late`.
fn meanwhile(bench: &mut Bench, arguments: &[&str], does: impl FnOnce(&Bench)) -> (super::bench::Ran, Vec<Entry>) {
    let gate = Gate::closed();
    let held = gate.clone();
    let plane = bench.plane;
    let recorder = Recorder::with_faults(plane, move |entry| {
        let creates = entry.method == Method::PATCH && entry.persists() && entry.path().ends_with("/late");
        (creates && !held.is_reached()).then(|| Fault::Hold(held.clone()))
    });
    bench.through(recorder.kubeconfig(User::Admin));
    let child = bench.spawn(arguments);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(60), gate.reached()).await }).unwrap();
    bench.through(plane.kubeconfig(User::Admin));
    does(bench);
    gate.open();
    let ran = Bench::finished(child);
    let journal = recorder.journal();
    (ran, journal)
}

#[test]
fn x9_what_appears_after_the_plan_is_left_as_it_is_where_adoption_is_off() {
    for (what, rest) in
        [("the same", "phase: ours"), ("another", "phase: theirs"), ("more", "phase: ours\n  extra: theirs")]
    {
        let mut bench = Bench::new("late");
        let ns = bench.root.clone();
        bench.kubectl(&["create", "namespace", &ns], "");
        bench.write("late.yaml", &config_map(&ns, "late", "ours")).write("own.yaml", &config_map(&ns, "own", "1"));
        let theirs = config_map(&ns, "late", "ours").replace("phase: \"ours\"", rest).replace("phase: ours", rest);
        let mut before = None;
        let (ran, _) = meanwhile(&mut bench, &["apply", "--yes", "--no-adopt"], |bench| {
            bench.kubectl(&["create", "-f", "-"], &theirs);
            before = bench.get("configmap/late", Some(&ns));
        });
        let ran = ran.exits(1);
        assert!(
            format!("{ran:?}").contains("it appeared after the plan was made, and adoption is off"),
            "{what}: {ran:#?}"
        );
        assert_eq!(bench.get("configmap/late", Some(&ns)), before, "{what}");
        assert!(bench.get("configmap/own", Some(&ns)).is_some(), "what is independent of it finishes");
        // The object is no longer ours afterwards, and no run deletes it.
        bench.remove("late.yaml");
        bench.apply();
        bench.apply();
        assert_eq!(bench.get("configmap/late", Some(&ns)), before, "{what}");
    }
}

#[test]
fn x9_a12_what_appears_after_the_plan_is_adopted_only_where_that_is_allowed_and_nobodys() {
    let mut bench = Bench::new("later");
    let ns = bench.root.clone();
    bench.kubectl(&["create", "namespace", &ns], "");
    bench.write("late.yaml", &config_map(&ns, "late", "ours"));
    let (ran, _) = meanwhile(&mut bench, &["apply", "--yes"], |bench| {
        bench.kubectl(&["create", "-f", "-"], &config_map(&ns, "late", "ours"));
    });
    assert!(format!("{:?}", ran.exits(0)).contains("and was adopted"));
    let live = bench.get("configmap/late", Some(&ns)).unwrap();
    assert_eq!(live["metadata"]["annotations"]["kubernator.io/project"], ns);
    // The next run takes over the fields that kubectl set.
    bench.apply();
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);

    // An object of another root cannot be adopted, even if every field is equal.
    let mut third = Bench::new("third");
    third.write("late.yaml", &config_map(&ns, "late", "ours"));
    bench.kubectl(&["delete", "configmap", "late", "-n", &ns], "");
    let mut before = None;
    let (ran, _) = meanwhile(&mut third, &["apply", "--yes"], |_| {
        bench.apply();
        before = bench.get("configmap/late", Some(&ns));
    });
    assert!(format!("{:?}", ran.exits(1)).contains(&format!("belongs to project {ns}")));
    assert_eq!(bench.get("configmap/late", Some(&ns)), before);

    // A custom resource is created and released in the same way.
    let mut bench = Bench::new("latest");
    let group = format!("{}.example.com", bench.root);
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("tills.{group}")}, "spec": {"group": group, "scope": "Cluster",
            "names": {"plural": "tills", "kind": "Till", "singular": "till"}, "versions": [{"name": "v1", "served": true,
                "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let till =
        json!({"apiVersion": format!("{group}/v1"), "kind": "Till", "metadata": {"name": "late"}, "spec": {"a": 1}});
    bench.write("crd.yaml", &crd.to_string());
    bench.apply();
    bench.write("till.yaml", &till.to_string());
    let mut before = None;
    let (ran, _) = meanwhile(&mut bench, &["apply", "--yes", "--no-adopt"], |bench| {
        bench.kubectl(&["create", "-f", "-"], &till.to_string());
        before = bench.get("tills/late", None);
    });
    assert!(format!("{:?}", ran.exits(1)).contains("adoption is off"));
    assert_eq!(bench.get("tills/late", None), before);
}

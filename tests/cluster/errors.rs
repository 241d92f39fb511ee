//! User mistakes: one sentence that says what to do, and the right exit code.

use support::controlplane::User;

use super::bench::{Bench, config_map, namespace};

#[test]
fn b4_no_cluster_and_no_permission_are_one_sentence_each() {
    let mut bench = Bench::new("unreached");
    bench.write("ns.yaml", &namespace("x"));
    let check = |bench: &Bench, arguments: &[&str], code: i32, words: &[&str]| {
        let ran = bench.ktor(arguments).exits(code);
        assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{ran:#?}");
        for word in words {
            assert!(ran.stderr.contains(word), "no {word:?} in {ran:#?}");
        }
    };
    let nowhere = bench.path().join("nowhere.kubeconfig");
    std::fs::write(
        &nowhere,
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n\
         clusters: [{name: c, cluster: {server: 'https://127.0.0.1:9'}}]\nusers: [{name: u, user: {token: t}}]\n",
    )
    .unwrap();
    bench.through(nowhere);
    check(&bench, &["plan"], 1, &["127.0.0.1:9"]);
    check(&bench, &["plan", "--context", "absent"], 1, &["absent"]);
    let absent = bench.path().join("absent.kubeconfig");
    bench.through(absent);
    check(&bench, &["plan"], 1, &["absent.kubeconfig"]);
    let nobody = bench.plane.kubeconfig(User::Nobody);
    bench.through(nobody);
    check(&bench, &["plan"], 1, &["nobody"]);
    check(&bench, &["apply", "--yes"], 1, &["nobody"]);
    check(&bench, &["apply"], 64, &["--yes"]);
}

#[test]
fn b1_b2_mistakes_in_the_tree_name_their_place_and_write_nothing() {
    let bench = Bench::new("mistaken");
    let ns = bench.root.clone();
    let check = |text: &str, words: &[&str]| {
        bench.write("x.yaml", text);
        let ran = bench.ktor(&["apply", "--yes"]).exits(1);
        for word in words {
            assert!(ran.stderr.contains(word) || ran.stdout.contains(word), "no {word:?} in {ran:#?}");
        }
    };
    check("a: [\n", &["x.yaml:"]);
    check("a: 1\na: 2\n", &["x.yaml:2:1"]);
    check("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", &["x.yaml:1:1", "needs a namespace"]);
    check("apiVersion: v1\nmetadata: {name: x}\n", &["x.yaml:1:1", "kind"]);
    check("apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: x}\n", &["x.yaml:1:1", "name"]);
    check(&format!("{}---\n{}", namespace(&ns), namespace(&ns)), &["x.yaml:6:1", "x.yaml:1:1"]);
    check(
        "apiVersion: nope.example/v1\nkind: Nope\nmetadata: {name: x, namespace: default}\n",
        &["Nope.nope.example", "does not know"],
    );
    check(&config_map("no-such-namespace", "x", "1"), &["no-such-namespace", "no manifest creates it"]);
    check(&config_map("default", "x", "1").replace("data:", "dat:"), &["dat"]);
    let state = bench.get(&format!("secret/kubernator-project-{}", bench.hash()), Some("kubernator-system"));
    let names = |state: &serde_json::Value| state["metadata"]["name"].clone();
    // Mistakes that only the server can see are found after phase one. No object was created in any case.
    assert!(state.as_ref().is_none_or(|state| names(state).is_string()));
    assert_eq!(bench.get("configmap/x", Some("default")), None);
}

#[test]
fn the_wrong_directory_is_a_usage_error() {
    let bench = Bench::new("nested");
    std::process::Command::new("git").args(["init", "-q"]).current_dir(bench.path()).status().unwrap();
    bench.write("a/.ktor.yaml", "project: a\n").write("empty/x", "");
    bench.ktor(&["plan", "-p", "a"]).exits(64).says(&format!("-I {}.a", bench.root));
    bench.ktor(&["plan", "-p", "absent"]).exits(64).says("absent");
    bench.ktor(&["plan", "--offline"]).exits(64).says("--base");
    std::fs::remove_file(bench.path().join(".ktor.yaml")).unwrap();
    bench.ktor(&["plan", "-p", "empty"]).exits(1).says("there is no .ktor.yaml");
}

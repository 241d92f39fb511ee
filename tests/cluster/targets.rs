//! One tree for several targets, on a real API server.

use serde_json::Value;

use super::bench::{Bench, config_map, namespace};

/// Writes a tree with two targets. `named` is the name of the root for `prod`, if it has one of its own.
fn tree(begins: &str, named: Option<&str>) -> Bench {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    let prod = named.map(|name| format!("{{project: {name}}}")).unwrap_or_default();
    let settings =
        format!("project: {ns}\ncleanup: true\ntargets:\n  dev:\n  prod: {prod}\noverlays: ['overlays/{{target}}']\n");
    bench.write(".ktor.yaml", &settings);
    bench.write("overlays/dev/ns.yaml", &namespace(&ns));
    bench.write("overlays/dev/x.yaml", &config_map(&ns, "one", "dev"));
    bench.write("overlays/prod/y.yaml", &config_map(&ns, "two", "prod"));
    bench
}

fn secrets(bench: &Bench) -> [Value; 2] {
    let name = |kind: &str| format!("secret/kubernator-project-{}{kind}", bench.hash());
    ["", "-review"].map(|kind| bench.get(&name(kind), Some("kubernator-system")).unwrap())
}

#[test]
fn k9_a_run_for_another_target_than_the_recorded_one_writes_nothing_until_a_person_accepts_it() {
    let bench = tree("target", None);
    let ns = bench.root.as_str();
    bench.ktor(&["apply", "--yes", "--target", "dev"]).exits(0);
    let before = secrets(&bench);
    for secret in &before {
        assert_eq!(secret["metadata"]["annotations"]["kubernator.io/ktor-target"], "dev");
    }
    for arguments in [&["plan"][..], &["apply", "--yes"]] {
        let refused = bench.ktor(&[arguments, &["--target", "prod"]].concat()).exits(3);
        assert!(refused.stderr.contains("for the target dev, but this run is for prod"), "{}", refused.stderr);
        assert!(refused.stderr.contains("--retarget"), "{}", refused.stderr);
    }
    assert_eq!((secrets(&bench), bench.lease()), (before.clone(), None));
    // Another tool that rewrites the state loses the annotation. The Secret beside it keeps it.
    let state = format!("secret/kubernator-project-{}", bench.hash());
    bench.kubectl(&["annotate", &state, "-n", "kubernator-system", "kubernator.io/ktor-target-"], "");
    bench.ktor(&["apply", "--yes", "--target", "prod"]).exits(3);
    // A tree that declares no targets any more is another tree, too.
    let settings = std::fs::read_to_string(bench.path().join(".ktor.yaml")).unwrap();
    bench.write(".ktor.yaml", &format!("project: {ns}\ncleanup: true\n"));
    bench.ktor(&["apply", "--yes"]).exits(3);
    bench.write(".ktor.yaml", &settings);

    // The namespace is dev's alone, so it stays protected.
    let accepted = bench.ktor(&["apply", "--yes", "--target", "prod", "--retarget"]);
    assert!(accepted.stdout.contains("the state now names prod instead of dev"), "{}", accepted.stdout);
    assert_eq!(secrets(&bench)[0]["metadata"]["annotations"]["kubernator.io/ktor-target"], "prod");
    assert!(bench.get("configmap/two", Some(ns)).is_some());
}

#[test]
fn k9_two_targets_on_one_cluster_keep_apart() {
    let other = format!("apart-prod-{}", std::process::id());
    let bench = tree("apart", Some(&other));
    let ns = bench.root.as_str();
    bench.ktor(&["apply", "--yes", "--target", "dev"]).exits(0);
    bench.ktor(&["apply", "--yes", "--target", "prod"]).exits(0);
    let exist = || ["one", "two"].map(|name| bench.get(&format!("configmap/{name}"), Some(ns)).is_some());
    assert_eq!(exist(), [true, true]);
    for target in ["dev", "prod"] {
        let again = bench.ktor(&["plan", "--detailed-exitcode", "--target", target]);
        assert_eq!(again.code, Some(0), "{target}: {}", again.stdout);
    }
    bench.write("overlays/prod/y.yaml", &config_map(ns, "three", "prod"));
    bench.ktor(&["apply", "--yes", "--target", "prod"]).exits(0);
    assert_eq!(exist(), [true, false]);
}

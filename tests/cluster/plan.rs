//! Plans write nothing, reveal no secret, and are stable.

use support::controlplane::{Recorder, User};

use super::bench::{Bench, config_map, namespace};

#[test]
fn p1_a_plan_puts_no_persisting_verb_on_the_wire() {
    let mut bench = Bench::new("planned");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns));
    for name in ["changed", "dropped", "same"] {
        bench.write(&format!("{name}.yaml"), &config_map(&ns, name, "1"));
    }
    bench.apply();
    bench.write("changed.yaml", &config_map(&ns, "changed", "2")).remove("dropped.yaml");
    bench.write("new.yaml", &config_map(&ns, "new", "1"));
    let versions = || {
        ["changed", "dropped", "same"]
            .map(|name| bench.get(&format!("configmap/{name}"), Some(&ns)).unwrap()["metadata"].clone())
    };
    let (before, state) = (versions(), bench.state());
    let recorder = Recorder::start(bench.plane);
    let kubeconfig = recorder.kubeconfig(User::Admin);
    let plan = {
        let arguments = ["plan", "-o", "json", "--kubeconfig", kubeconfig.to_str().unwrap()];
        bench.ktor(&arguments).exits(0).json()
    };
    let counts = ["create", "update", "delete", "unchanged"].map(|action| plan["summary"][action].clone());
    assert_eq!(counts, [1, 1, 1, 2].map(serde_json::Value::from), "{plan:#}");
    let journal = recorder.journal();
    let persisting: Vec<_> = journal.iter().filter(|entry| entry.persists()).collect();
    assert!(persisting.is_empty(), "{persisting:#?}");
    // The plan sent a dry-run apply for each difference, and a dry-run deletion. It sent none for the object that is
    // provably unchanged.
    let asked = |method: http::Method, name: &str| {
        journal.iter().filter(|entry| entry.method == method && entry.path().ends_with(&format!("/{name}"))).count()
    };
    assert_eq!((asked(http::Method::PATCH, "changed"), asked(http::Method::PATCH, "new")), (1, 1));
    assert_eq!((asked(http::Method::DELETE, "dropped"), asked(http::Method::PATCH, "same")), (1, 0));
    assert!(!journal.iter().any(|entry| entry.path().ends_with("-lock")), "a plan takes no lock");
    assert_eq!(versions(), before);
    assert_eq!(bench.state(), state);
    bench.through(kubeconfig);
}

#[test]
fn p5_secret_values_appear_in_no_output() {
    let bench = Bench::new("secretive");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns));
    let secret = |value: &str, kind: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  namespace: {ns}\n  annotations:\n    \
             kubectl.kubernetes.io/last-applied-configuration: '{{\"k\":\"{value}-annotation\"}}'\ntype: {kind}\nstringData:\n  k: {value}\n"
        )
    };
    bench.write("s.yaml", &secret("canary-one", "Opaque"));
    let mut output = String::new();
    let mut run = |arguments: &[&str], code: i32| {
        let ran = bench.ktor(arguments).exits(code);
        output += &ran.stdout;
        output += &ran.stderr;
    };
    let all = |run: &mut dyn FnMut(&[&str], i32), code: i32| {
        for format in ["terminal", "markdown", "json"] {
            run(&["-v", "plan", "-o", format], code);
        }
    };
    all(&mut run, 0);
    run(&["-v", "apply", "--yes"], 0);
    bench.write("s.yaml", &secret("canary-two", "Opaque"));
    all(&mut run, 0);
    run(&["-v", "apply", "--yes", "-o", "markdown"], 0);
    // The server refuses a value that is no dockerconfigjson, with its own message.
    let refused = secret("canary-three", "kubernetes.io/dockerconfigjson")
        .replace("  k: ", "  .dockerconfigjson: ")
        .replace("name: s\n", "name: r\n");
    bench.write("r.yaml", &refused);
    all(&mut run, 1);
    run(&["-v", "apply", "--yes", "-o", "json"], 1);
    // For a file that cannot be parsed, the message contains the place and not the content.
    bench.write("r.yaml", "apiVersion: v1\nkind: Secret\nstringData: {k: canary-four\n");
    all_fail(&mut run);
    let mut encoded = vec!["canary".to_owned()];
    for value in ["canary-one", "canary-two", "canary-three", "canary-four"] {
        use base64::Engine;
        encoded.push(base64::engine::general_purpose::STANDARD.encode(value));
    }
    for canary in encoded {
        assert!(!output.contains(&canary), "{canary} in {output}");
    }
    assert!(output.contains("~ data: (secret, changed)"), "a change of secrets shows as one line: {output}");
}

fn all_fail(run: &mut dyn FnMut(&[&str], i32)) {
    for format in ["terminal", "markdown", "json"] {
        run(&["-v", "plan", "-o", format], 1);
    }
}

#[test]
fn p4_a_reader_gets_a_sentence_about_what_it_lacks() {
    let mut bench = Bench::new("reading");
    bench.write("ns.yaml", &namespace(&bench.root.clone()));
    let reader = bench.plane.kubeconfig(User::Reader);
    bench.through(reader);
    let ran = bench.ktor(&["plan"]).exits(1);
    assert!(ran.stdout.contains("cannot patch") || ran.stdout.contains("forbidden"), "{ran:#?}");
}

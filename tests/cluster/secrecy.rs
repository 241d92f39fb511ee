//! The live values that a plan reveals. Of a Secret, it reveals only whether it changed. Of an object that is not ours,
//! it reveals nothing.

use std::collections::BTreeSet;
use std::process::Command;

use super::bench::{Bench, change, config_map, namespace};

/// Returns the output of a plan in every format, and the requests that it sent. Their times and their order differ from
/// run to run, so each is listed once, without its time.
fn plans(bench: &Bench, more: &[&str], code: i32) -> Vec<String> {
    let one = |format: &str| {
        let arguments: Vec<&str> = ["-v", "plan", "-o", format].into_iter().chain(more.iter().copied()).collect();
        let ran = bench.ktor(&arguments).exits(code);
        let (requests, told): (Vec<&str>, Vec<&str>) = ran.stderr.lines().partition(|line| line.ends_with(" ms"));
        let requests: BTreeSet<&str> =
            requests.into_iter().filter_map(|line| Some(line.rsplit_once(", ")?.0)).collect();
        format!("{}{}{requests:#?}", ran.stdout, told.join("\n"))
    };
    ["terminal", "markdown", "json"].map(one).to_vec()
}

fn git(bench: &Bench, arguments: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(arguments)
        .current_dir(bench.path())
        .env("HOME", bench.path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn x5_guesses_in_a_manifest_learn_that_the_secret_differs_and_nothing_else() {
    let bench = Bench::new("guessing");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns));
    let secret = |labels: &str, data: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  namespace: {ns}\n  labels: {{{labels}}}\nstringData: {{{data}}}\n"
        )
    };
    let guesses = "a: hunter2, b: letmein, user: admin";
    let invalid = "guess: 'is it hunter2 or letmein?'";
    let mut told = Vec::new();
    for live in ["password: hunter2", "password: letmein", "password: swordfish, user: root"] {
        bench.write("s.yaml", &secret("", live));
        bench.apply();
        bench.write("s.yaml", &secret("", guesses));
        let secretive = plans(&bench, &[], 0);
        for plan in &secretive {
            assert_eq!(plan.matches("(secret, changed)").count(), if plan.contains("\"before\"") { 2 } else { 1 });
            assert!(!plan.contains("hunter2") && !plan.contains("password") && !plan.contains("swordfish"), "{plan}");
        }
        bench.write("s.yaml", &secret(invalid, guesses));
        let refused = plans(&bench, &[], 1);
        for plan in &refused {
            assert!(plan.contains("metadata.labels") && !plan.contains("hunter2"), "{plan}");
        }
        told.push([secretive, refused]);
    }
    assert!(told.windows(2).all(|two| two[0] == two[1]), "{told:#?}");
    println!("{}", told[0][0][0]);
    println!("{}", told[0][1][0]);
}

#[test]
fn x6_what_is_not_ours_shows_the_manifests_values_alone() {
    let bench = Bench::new("peeking");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns));
    bench.apply();
    let deployment = |value: &str, port: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: api, namespace: {ns}}}\nspec:\n  replicas: 0\n  selector: {{matchLabels: {{app: api}}}}\n  \
             template:\n    metadata: {{labels: {{app: api}}}}\n    spec:\n      containers:\n      - name: c\n        image: i\n        \
             env: [{{name: TOKEN, value: {value}}}]\n{port}"
        )
    };
    bench.kubectl(&["create", "-f", "-"], &deployment("canary-live", ""));
    bench.write("d.yaml", &deployment("guess", ""));
    let hidden = plans(&bench, &[], 0);
    for plan in &hidden {
        assert!(plan.contains("guess") && !plan.contains("canary"), "{plan}");
    }
    println!("{}", hidden[0]);
    for plan in plans(&bench, &["--show-adopted"], 0) {
        assert!(plan.contains("guess") && plan.contains("canary-live"), "{plan}");
    }
    // If the server refuses a change, its message contains live values.
    bench.write("d.yaml", &deployment("guess", "        ports: [{containerPort: 80000}]\n"));
    let refused = plans(&bench, &[], 1);
    for plan in &refused {
        assert!(plan.contains("containerPort") && !plan.contains("canary"), "{plan}");
    }
    println!("{}", refused[0]);
}

#[test]
fn x6_a_shrunk_redaction_hides_what_the_base_hides_and_x7_names_it() {
    let bench = Bench::new("shrinking");
    let ns = bench.root.clone();
    let settings = |more: &str| format!("project: {ns}\n{more}");
    bench.write("ns.yaml", &namespace(&ns));
    bench.write(".ktor.yaml", &settings("redact: [/data/phase]\n"));
    bench.write("c.yaml", &config_map(&ns, "c", "canary-base"));
    git(&bench, &["init", "-q"]);
    git(&bench, &["add", "."]);
    git(&bench, &["commit", "-qm", "base"]);
    bench.apply();
    bench.write(".ktor.yaml", &settings("cleanup: true\n"));
    bench.write("c.yaml", &config_map(&ns, "c", "new"));
    let shrunk = plans(&bench, &["--base", "HEAD"], 0);
    for plan in &shrunk {
        assert!(!plan.contains("canary") && plan.contains("(secret, changed)"), "{plan}");
        // A report writes values in code spans.
        let plain = plan.replace('`', "").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(plain.contains("The root's redact changes from /data/phase to nothing"), "{plan}");
        assert!(plain.contains("The root's cleanup changes from false to true."), "{plan}");
    }
    println!("{}", shrunk[0]);
    bench.write(".ktor.yaml", &settings("stateNamespace: elsewhere\n"));
    for plan in plans(&bench, &["--base", "HEAD"], 3) {
        assert!(plan.contains("stateNamespace") && plan.contains("leave"), "{plan}");
    }
    bench.write(".ktor.yaml", &settings("redact: [data.phase]\n"));
    bench
        .ktor(&["plan"])
        .exits(1)
        .says(".ktor.yaml:2:10: \"data.phase\" is not a JSON pointer: write it as /data/phase");
}

#[test]
fn r5_twenty_plans_of_one_mistake_are_one_plan_and_a_replacement_has_few_words() {
    let bench = Bench::new("repeating");
    let ns = bench.root.clone();
    let service = |port: u32| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: {ns}}}\nspec:\n  selector: {{app: web}}\n  ports: [{{port: {port}}}]\n"
        )
    };
    let job = |image: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: once, namespace: {ns}, annotations: {{kubernator.io/wait: 'false'}}}}\nspec:\n  \
             template:\n    spec:\n      restartPolicy: Never\n      containers: [{{name: c, image: {image}}}]\n"
        )
    };
    bench.write("ns.yaml", &namespace(&ns)).write("web.yaml", &service(80)).write("once.yaml", &job("one"));
    bench.apply();
    bench.write("web.yaml", &service(80_000)).write("once.yaml", &job("two"));
    // The state of the Job, which opens the guard once it has finished, must not change the result here.
    let plan = || bench.ktor(&["plan", "-o", "json", "--allow-replacement"]).json();
    let first = plan();
    for _ in 1..20 {
        assert_eq!(plan(), first);
    }
    let reason = |name: &str| change(&first, "changes", name)["reason"]["message"].as_str().unwrap().to_owned();
    assert!(reason("web").contains("spec.ports[0].port") && !reason("web").contains("ktor-probe"), "{}", reason("web"));
    assert_eq!(reason("once"), "cannot be changed in place: spec.template: field is immutable");
    println!("{}", bench.ktor(&["plan"]).stdout);
}

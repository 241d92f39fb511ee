//! Consent on a terminal: the binary shows a plan and asks, and then applies exactly the approved plan or nothing.

use std::io::{Read, Write};
use std::process::Child;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use support::controlplane::User;

use super::bench::{Bench, config_map, namespace};

const QUESTION: &str = "Type `yes` to continue: ";

/// Waits for the question, runs `meanwhile`, and types an answer. Returns the shown text and the exit code.
fn answered(mut run: Child, meanwhile: impl FnOnce(), typed: &str) -> (String, Option<i32>) {
    let mut screen = run.stdout.take().unwrap();
    let (sender, shown) = mpsc::channel();
    std::thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(read @ 1..) = screen.read(&mut part) {
            drop(sender.send(String::from_utf8_lossy(&part[..read]).into_owned()));
        }
    });
    let mut text = String::new();
    while !text.contains(QUESTION) {
        text += &shown.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("no question: {text}"));
    }
    meanwhile();
    let asked = Instant::now();
    let mut keyboard = run.stdin.take().unwrap();
    keyboard.write_all(typed.as_bytes()).unwrap();
    let code = run.wait().unwrap().code();
    assert!(asked.elapsed() < Duration::from_secs(30), "{text}");
    text.extend(shown.iter());
    (text, code)
}

#[test]
fn a9_what_is_typed_at_the_question_decides_and_a_signal_ends_it() {
    let bench = Bench::new("asked");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("x.yaml", &config_map(&ns, "x", "1"));
    let nothing_done = |bench: &Bench| {
        assert_eq!((bench.get(&format!("namespace/{ns}"), None), bench.lease()), (None, None));
    };
    // A terminal converts Ctrl-C to a SIGINT.
    for (typed, code, says) in [
        ("no\n", 3, "the plan was not approved; nothing was changed"),
        ("\n", 3, "the plan was not approved; nothing was changed"),
        ("YES\n", 3, "the plan was not approved; nothing was changed"),
        ("\x03", 5, "the run was interrupted before it began; nothing was changed"),
    ] {
        let (text, ended) = answered(bench.spawn_at_terminal("apply"), || {}, typed);
        assert!(
            ended == Some(code) && text.contains(says) && text.contains("+ create  ConfigMap"),
            "{typed:?}: {ended:?} {text}"
        );
        nothing_done(&bench);
    }
    let (text, ended) = answered(bench.spawn_at_terminal("apply"), || {}, "yes\n");
    assert_eq!(ended, Some(0), "{text}");
    assert!(bench.get("configmap/x", Some(&ns)).is_some());
}

#[test]
fn what_is_approved_is_done_or_refused_where_it_is_another_plan_by_then() {
    let bench = Bench::new("stale");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("x.yaml", &config_map(&ns, "x", "1"));
    bench.apply();
    bench.write("x.yaml", &config_map(&ns, "x", "2"));
    let other = config_map(&ns, "other", "1");
    bench.write("other.yaml", &other);
    let create = || {
        let made = bench.plane.kubectl_at(&bench.plane.kubeconfig(User::Admin), &["create", "-f", "-"], &other);
        assert!(made.status.success(), "{made:?}");
    };
    let (text, ended) = answered(bench.spawn_at_terminal("apply"), create, "yes\n");
    assert_eq!(ended, Some(3), "{text}");
    assert!(text.contains("the cluster or the tree changed since the plan was approved: plan again"), "{text}");
    assert_eq!(bench.get("configmap/x", Some(&ns)).unwrap()["data"]["phase"], "1");
    assert_eq!(bench.lease(), None);
}

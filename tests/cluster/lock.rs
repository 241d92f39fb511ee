//! The lock from the user's view: held, waited for, and freed by its holder's name.

use std::time::{Duration, Instant};

use super::bench::{Bench, config_map, namespace};

/// Creates a project whose lock another run holds for good. The Lease contains the URL of that run.
fn held(begins: &str) -> Bench {
    held_by(begins, "octo/shop#7")
}

/// Does the same as [`held`], with this holder.
fn held_by(begins: &str, identity: &str) -> Bench {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("x.yaml", &config_map(&ns, "x", "1"));
    drop(bench.plane.kubectl(&["create", "namespace", "kubernator-system"]));
    let lease = format!(
        "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata:\n  name: kubernator-project-{}-lock\n  namespace: kubernator-system\n  \
         annotations: {{kubernator.io/run: 'https://forge.example/runs/7'}}\nspec:\n  holderIdentity: {}\n  \
         leaseDurationSeconds: 3600\n  acquireTime: '2026-11-24T01:02:03.000000Z'\n  renewTime: '2026-11-24T01:02:03.000000Z'\n",
        bench.hash(),
        serde_json::to_string(identity).unwrap()
    );
    bench.kubectl(&["create", "-f", "-"], &lease);
    bench
}

const WORDS: &str = "the lock, which octo/shop#7 holds since 2026-11-24T01:02:03Z, see https://forge.example/runs/7";

#[test]
fn l5_a_held_lock_is_waited_for_and_then_given_up_in_the_same_words() {
    let bench = held("waiting");
    let began = Instant::now();
    let refused = bench.ktor(&["apply", "--yes", "--lock-timeout", "0"]).exits(4).says(WORDS);
    assert!(!refused.stderr.contains("waiting for"), "{refused:#?}");
    assert!(began.elapsed() < Duration::from_secs(20));
    let began = Instant::now();
    let refused = bench.ktor(&["apply", "--yes", "--lock-timeout", "4s"]).exits(4);
    assert!(began.elapsed() >= Duration::from_secs(4));
    assert!(refused.stderr.contains(&format!("waiting for {WORDS}")), "{refused:#?}");
    assert!(refused.stderr.contains(&format!("failed to acquire {WORDS}")), "{refused:#?}");
    // A plan takes no lock, and the state is shown without one.
    bench.ktor(&["plan"]).exits(0);
    let shown = bench.ktor(&["state", "show", "-o", "json"]).exits(0).json();
    assert_eq!(shown["lock"]["holder"], "octo/shop#7", "{shown:#}");
    assert_eq!(shown["lock"]["run"], "https://forge.example/runs/7");
    let shown = bench.ktor(&["state", "show"]).exits(0).stdout;
    assert!(
        shown.contains("held by octo/shop#7 since 2026-11-24T01:02:03Z, see https://forge.example/runs/7"),
        "{shown}"
    );
}

#[test]
fn l5_a_lock_that_is_let_go_in_time_is_taken() {
    let bench = held("let-go");
    let run = bench.spawn(&["apply", "--yes"]);
    std::thread::sleep(Duration::from_secs(3));
    let lease = format!("kubernator-project-{}-lock", bench.hash());
    bench.kubectl(&["delete", "lease", "-n", "kubernator-system", &lease], "");
    Bench::finished(run).exits(0).says(WORDS);
    assert!(bench.get("configmap/x", Some(&bench.root)).is_some());
    assert_eq!(bench.lease(), None);
}

#[test]
fn l6_a_lock_is_freed_by_its_holders_name_alone() {
    let bench = held("unlocking");
    bench.ktor(&["unlock"]).exits(64).says(WORDS).says("`ktor unlock --holder='octo/shop#7'`");
    bench.ktor(&["unlock", "octo/shop#8"]).exits(3).says(WORDS);
    bench.ktor(&["unlock", "--holder", "octo/shop"]).exits(3).says(WORDS);
    assert!(bench.lease().is_some());
    bench.ktor(&["unlock", "--holder", "octo/shop#7"]).exits(0);
    assert_eq!(bench.lease(), None);
    for arguments in [&["unlock", "octo/shop#7"][..], &["unlock"]] {
        let ran = bench.ktor(arguments).exits(0);
        assert!(ran.stdout.contains("is not locked"), "{ran:#?}");
    }
    bench.apply();
}

#[test]
fn x15_the_unlock_command_works_in_a_shell_whatever_the_holder_calls_itself() {
    for (number, identity) in [
        "karellen/shop run 7 attempt 1#0a1b2c3d",
        "$(touch pwned)`touch pwned`",
        "it's \"me\"; touch pwned #",
        "--holder=someone",
        "-x",
        "two\nlines and  two spaces\t",
        "::error::##[error]",
        "\u{202e}reversed ü",
    ]
    .into_iter()
    .enumerate()
    {
        let bench = held_by(&format!("pasted{number}"), identity);
        let ran = bench.ktor(&["unlock"]).exits(64);
        let (_, command) = ran.stderr.split_once("`ktor unlock").unwrap();
        let command = format!("ktor unlock{}", command.rsplit_once('`').unwrap().0);
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
        let refused = bench.ktor(&["apply", "--yes", "--lock-timeout", "0"]).exits(4);
        assert!(refused.stderr.contains(&format!("`{command}` releases the lock")), "{refused:#?}");
        let files = || std::fs::read_dir(bench.path()).unwrap().count();
        let before = files();
        let freed = Bench::finished(bench.spawn_in_shell(&command)).exits(0);
        assert!(freed.stdout.ends_with(" is released\n"), "{command}: {freed:#?}");
        assert_eq!((bench.lease(), files()), (None, before), "{command}");
    }
}

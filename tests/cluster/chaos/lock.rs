//! Many runs that compete for one lock.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use http::Method;
use support::controlplane::{Recorder, User};

use super::network::{signal, standing};
use super::script::{Script, is_change, is_lease};
use crate::bench::{Bench, config_map};

const PROCESSES: usize = 20;

/// The shortest time that a run held the lock, and the changes that it made.
#[derive(Debug)]
struct Term {
    run: usize,
    acquired: Instant,
    released: Instant,
    changes: Vec<(Instant, Instant, String)>,
}

#[test]
fn l7_twenty_processes_on_one_root_work_one_at_a_time_and_all_finish() {
    let first = Bench::new("queue");
    let ns = first.root.clone();
    first.kubectl(&["create", "namespace", &ns], "");
    // The runs create the state's namespace before they hold the lock. It is created here, so that they do not compete
    // for it.
    drop(first.plane.kubectl(&["create", "namespace", "kubernator-system"]));
    let mut benches = vec![first];
    benches.extend((1..PROCESSES).map(|_| Bench::of_root(&ns)));
    let recorders: Vec<_> = benches.iter().map(|bench| Recorder::start(bench.plane)).collect();
    for (number, (bench, recorder)) in benches.iter_mut().zip(&recorders).enumerate() {
        for name in ["one", "two", "three"] {
            bench.write(&format!("{name}.yaml"), &config_map(&ns, name, &number.to_string()));
        }
        // No other tree has this object, so the next run deletes it.
        let own = format!("own-{number}");
        bench.write("own.yaml", &config_map(&ns, &own, &number.to_string()));
        bench.through(recorder.kubeconfig(User::Admin));
    }
    let began = Instant::now();
    let arguments = ["apply", "--yes", "--allow-mass-deletion", "--lock-timeout", "5m"];
    let runs: Vec<_> = benches.iter().map(|bench| bench.spawn(&arguments)).collect();
    for run in runs {
        Bench::finished(run).exits(0);
    }
    println!("{PROCESSES} runs in {:?}", began.elapsed());

    let mut terms: Vec<Term> = recorders.iter().enumerate().map(|(run, recorder)| term(run, recorder)).collect();
    terms.sort_by_key(|term| term.acquired);
    for pair in terms.windows(2) {
        assert!(pair[0].released < pair[1].acquired, "two hold the lock at once: {pair:#?}");
    }
    for term in &terms {
        assert!(term.changes.len() >= 6, "two writes of the state and four objects: {term:#?}");
        for (sent, answered, what) in &term.changes {
            assert!(*sent > term.acquired && *answered < term.released, "{what} is out of its term: {term:#?}");
        }
    }
    // The last run decides: no object of the other runs is left, and everything is recorded.
    let last = terms.last().unwrap().run;
    let bench = &benches[0];
    let objects = bench.kubectl(&["get", "configmaps", "-n", &ns, "-o", "json"], "");
    let objects: serde_json::Value = serde_json::from_str(&objects).unwrap();
    let found =
        objects["items"].as_array().unwrap().iter().map(|item| (&item["metadata"]["name"], &item["data"]["phase"]));
    let found: BTreeSet<_> = found.map(|(name, value)| format!("{name} {value}").replace('"', "")).collect();
    let names = ["one".to_owned(), "two".to_owned(), "three".to_owned(), format!("own-{last}")];
    let expected =
        names.iter().map(|name| format!("{name} {last}")).chain(["kube-root-ca.crt null".to_owned()]).collect();
    assert_eq!(found, expected);
    let own = format!("ConfigMap own-{last}");
    let expected = ["ConfigMap one", own.as_str(), "ConfigMap three", "ConfigMap two"];
    let (finalized, recorded) = bench.recorded();
    assert!(finalized);
    assert_eq!(recorded[&ns], expected);
    assert_eq!(bench.lease(), None);
}

/// Returns the time in which a run certainly held the lock: from the answer to the request that created the Lease, to
/// the request that deleted it.
fn term(run: usize, recorder: &Recorder) -> Term {
    let journal = recorder.journal();
    let time = |since: Duration| recorder.begun() + since;
    let succeeded = |method: Method| {
        let of_lease = journal.iter().filter(move |entry| is_lease(entry) && entry.method == method);
        let mut all = of_lease.filter(|entry| entry.status.is_some_and(|status| status.is_success()));
        let only = all.next().unwrap_or_else(|| panic!("run {run} never had the lock: {journal:#?}"));
        assert!(all.next().is_none(), "run {run} had the lock twice");
        only
    };
    let changes = journal.iter().filter(|entry| is_change(entry)).map(|entry| {
        let answered = entry.answered.expect("every change was answered");
        (time(entry.at), time(answered), format!("{} {}", entry.method, entry.target))
    });
    Term {
        run,
        acquired: time(succeeded(Method::POST).answered.unwrap()),
        released: time(succeeded(Method::DELETE).at),
        changes: changes.collect(),
    }
}

#[test]
fn l4_a_loser_that_wakes_up_changes_nothing_and_leaves_the_winners_lease() {
    let mut bench = Bench::new("loser");
    let ns = bench.root.clone();
    bench.kubectl(&["create", "namespace", &ns], "");
    bench.write("one.yaml", &config_map(&ns, "one", "loser")).write("two.yaml", &config_map(&ns, "two", "loser"));
    let (losing, winning) = (Script::start(bench.plane), Script::start(bench.plane));
    let arguments = ["apply", "--yes", "--lock-timeout", "60s"];

    // The loser stops at a request before its first object, and the test suspends its process there.
    let gate = losing.ambush(1);
    bench.through(losing.recorder.kubeconfig(User::Admin));
    let loser = standing(&gate, || bench.spawn_brief(&arguments));
    signal(&loser, "STOP");
    let lost = bench.lease().expect("the loser's lease");

    // The winner takes over the lock and is in the middle of its work when the loser wakes up.
    for name in ["one", "two"] {
        bench.write(&format!("{name}.yaml"), &config_map(&ns, name, "winner"));
    }
    let winners_gate = winning.ambush(1);
    bench.through(winning.recorder.kubeconfig(User::Admin));
    let winner = standing(&winners_gate, || bench.spawn(&arguments));
    let changes = losing.changes();
    signal(&loser, "CONT");
    gate.lose();
    let loser = Bench::finished(loser).exits(5);
    assert_eq!(losing.changes(), changes, "{loser:#?}");
    let lease = bench.lease().expect("the winner's lease");
    assert_ne!(lease["spec"]["holderIdentity"], lost["spec"]["holderIdentity"]);

    winners_gate.open();
    Bench::finished(winner).exits(0);
    for name in ["one", "two"] {
        let object = bench.get(&format!("configmap/{name}"), Some(&ns)).unwrap();
        assert_eq!(object["data"]["phase"], "winner");
    }
    assert_eq!(bench.lease(), None);
    assert!(bench.recorded().0);
}

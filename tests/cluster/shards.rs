//! States that are too large for one Secret. They are stored in shards, and every reader sees a complete state, even if
//! a run dies at any request.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use flate2::read::GzDecoder;
use ktor_action::cluster::connect::{Cluster, ConnectOptions};
use ktor_action::cluster::lock::{Broken, LockRequest};
use ktor_action::cluster::settings::ClusterSettings;
use ktor_action::object::ident::{Ident, ObjectKey};
use ktor_action::object::mark::Root;
use ktor_action::project::path::{ProjectPath, Segment};
use ktor_action::run::record::Store;
use ktor_action::state::payload::{Entries, Payload, Version};
use ktor_action::state::transition::{RunCommits, Settlement, Start};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use support::controlplane::{ControlPlane, Entry, Fault, Gate, Recorder, User};
use support::kubernator::Kubernator;

use super::bench::{Bench, config_map, namespace};

/// The state as a reader sees it.
type Whole = (Entries, Start);

/// A state with its namespace and root.
#[derive(Clone)]
struct Record {
    namespace: String,
    root: Root,
}

impl Record {
    fn new(namespace: &str, root: &str) -> Self {
        Self { namespace: namespace.to_owned(), root: Root::new(Segment::new(root).unwrap()) }
    }

    fn lock(&self, run: &str) -> LockRequest {
        LockRequest {
            namespace: self.namespace.clone(),
            root: self.root.clone(),
            holder: run.to_owned(),
            timeout: Duration::ZERO,
            run_url: None,
        }
    }

    /// Returns entries in a sub-project `b`. No server serves their kind, and their names do not compress.
    fn entries(&self, seeds: impl Iterator<Item = String>) -> Entries {
        let project: ProjectPath = format!("{}.b", self.root).parse().unwrap();
        let mut entries = Entries::default();
        for seed in seeds {
            let hash = Sha1::digest(seed.as_bytes());
            let name = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            let namespace = Some(format!("team-{}", hash[1] % 20));
            let key = ObjectKey { group: "ghosts.example.com".into(), kind: "Ghost".into(), namespace, name };
            entries.insert(&project, &Ident { key, version: "v1".into() });
        }
        entries
    }

    /// Adds this number of entries to the recorded state, without faults.
    async fn fill(&self, cluster: &Cluster, count: usize) -> Entries {
        let lock = cluster.acquire(&self.lock("filling"), &mut |_| ()).await.unwrap();
        let (store, prior) = Store::claim(cluster, &lock, &self.namespace, &self.root, "filling").await.unwrap();
        let mut resources = self.entries((0..count).map(|number| number.to_string()));
        resources.union(&prior.entries);
        let payload = Payload { finalized: true, resources, ..Payload::default() };
        store.finalize(&lock, &prior.edited(payload.clone())).await.unwrap();
        lock.release().await.unwrap();
        payload.resources
    }

    /// Returns the entry that a round records before it acts. Its hash decides in which shard it is.
    fn intent(&self, round: usize) -> Entries {
        self.entries(std::iter::once(format!("round {round}")))
    }

    /// Does the state's part of one run, as a reconcile does it. The object of the previous round counts as gone.
    async fn run(&self, cluster: &Cluster, round: usize) {
        let run = format!("run-{round}");
        let lock = cluster.acquire(&self.lock(&run), &mut |_| ()).await.unwrap();
        let (mut store, prior) = Store::claim(cluster, &lock, &self.namespace, &self.root, &run).await.unwrap();
        let pending = prior.begin(self.intent(round), &RunCommits::default());
        store.record(&lock, &pending).await.unwrap();
        let gone = self.intent(round - 1).keys().into_iter().cloned().collect();
        let finished = pending.finish(&Settlement { gone, ..Settlement::default() });
        let payload = Payload { finalized: true, version: Version::One, ..finished.payload };
        store.finalize(&lock, &prior.edited(payload)).await.unwrap();
        lock.release().await.unwrap();
    }

    /// Returns every state that a reader may see in a round, in order: before it, begun, done.
    fn possible(&self, before: Whole, round: usize) -> [Whole; 3] {
        let mut begun = before.0.clone();
        begun.union(&self.intent(round));
        let mut done = begun.clone();
        if before.1 == Start::Settled {
            let gone = self.intent(round - 1);
            done.retain(|project, key| !gone.contains(project, key));
        }
        [before, (begun, Start::Unsettled), (done, Start::Settled)]
    }

    async fn read(&self, cluster: &Cluster) -> Whole {
        let (_, prior) = Store::open(cluster, &self.namespace, &self.root).await.unwrap();
        (prior.entries, prior.start)
    }

    /// Returns `true` if a request writes the head or a shard.
    fn is_written_by(&self, entry: &Entry) -> bool {
        let secrets = format!("/api/v1/namespaces/{}/secrets", self.namespace);
        entry.persists() && entry.path().starts_with(&secrets)
    }

    fn shards(&self, plane: &ControlPlane) -> Vec<String> {
        let label = format!("kubernator.io/ktor-state-shard-of={}", self.root.hash());
        let output = plane.kubectl(&["get", "secrets", "-n", &self.namespace, "-l", &label, "-o", "name"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Returns the number of shards that the head refers to.
    fn referred(&self, plane: &ControlPlane) -> usize {
        let (name, namespace) = (self.root.state_name(), self.namespace.as_str());
        let output = plane.kubectl(&["get", "secret", &name, "-n", namespace, "-o", "jsonpath={.data.state}"]);
        assert!(output.status.success(), "{output:?}");
        let data = base64::engine::general_purpose::STANDARD.decode(&output.stdout).unwrap();
        let head: Value = serde_json::from_reader(GzDecoder::new(data.as_slice())).unwrap();
        let lists = head["shards"].as_object().unwrap().values();
        lists.flat_map(|list| list.as_array().unwrap()).map(Value::to_string).collect::<BTreeSet<_>>().len()
    }
}

async fn connect(kubeconfig: PathBuf) -> Cluster {
    let options = ConnectOptions { kubeconfig: vec![kubeconfig], ..ConnectOptions::default() };
    Cluster::connect_with(&options, ClusterSettings::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn o5_100000_recorded_objects_are_never_read_torn_whichever_write_a_run_dies_at() {
    let plane = ControlPlane::shared();
    let record = Record::new(&plane.namespace("shards").await, "large");
    let direct = connect(plane.kubeconfig(User::Admin)).await;
    let mut recorded = (record.fill(&direct, 100_000).await, Start::Settled);
    assert_eq!(recorded.0.len(), 100_000);
    let shards = record.shards(plane).len();
    assert!(shards >= 20, "{shards}");

    // In round n, the run dies during its n-th write. That write arrives afterwards in even rounds, and never in odd
    // rounds.
    for round in 1.. {
        let gate = Gate::closed();
        let (held, count, watched) = (gate.clone(), AtomicUsize::new(0), record.clone());
        let proxy = Recorder::with_faults(plane, move |entry| {
            let dies = watched.is_written_by(entry) && count.fetch_add(1, Ordering::Relaxed) + 1 == round;
            dies.then(|| Fault::Hold(held.clone()))
        });
        let through = connect(proxy.kubeconfig(User::Admin)).await;
        let finished = tokio::select! {
            () = record.run(&through, round) => true,
            () = gate.reached() => false,
        };
        let possible = record.possible(recorded, round);
        let progress = |found: &Whole| {
            let found_at = possible.iter().position(|whole| whole == found);
            found_at.unwrap_or_else(|| panic!("round {round}: a torn record of {} objects", found.0.len()))
        };
        let before = record.read(&direct).await;
        if finished {
            assert!(round > 8, "a run without writes to die at");
            assert_eq!(progress(&before), 2);
            break;
        }
        recorded = if round % 2 == 0 {
            gate.open();
            while proxy.journal().iter().any(|entry| entry.persists() && entry.answered.is_none()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let after = record.read(&direct).await;
            assert!(progress(&before) <= progress(&after), "round {round}");
            after
        } else {
            gate.lose();
            progress(&before);
            before
        };
        let run = format!("run-{round}");
        assert_eq!(direct.break_lock(&record.namespace, &record.root, &run).await.unwrap(), Broken::Freed);
    }
    // At most the shards of two heads are left: a run that finishes deletes the shards that no head refers to.
    let left = record.shards(plane).len();
    assert!(left <= shards + 2, "{left} shards where there were {shards}");
}

#[tokio::test(flavor = "multi_thread")]
async fn o5_a_record_in_shards_is_worked_with_mended_and_made_whole_again() {
    let bench = Bench::new("sharded");
    let ns = bench.root.clone();
    let record = Record::new("kubernator-system", &bench.root);
    let direct = connect(bench.plane.kubeconfig(User::Admin)).await;
    bench.write("ns.yaml", &namespace(&ns)).write("a/.ktor.yaml", "project: a\n");
    bench.write("a/one.yaml", &config_map(&ns, "one", "1"));
    bench.apply();
    let filled = record.fill(&direct, 45_000).await.len();
    assert!(record.shards(bench.plane).len() > 10);
    let shown = || bench.ktor(&["state", "show", "-o", "json"]).exits(0).json();
    let counts = |b: usize| match b {
        0 => json!({&bench.root: 1, format!("{}.a", bench.root): 1}),
        b => json!({&bench.root: 1, format!("{}.a", bench.root): 1, format!("{}.b", bench.root): b}),
    };
    assert_eq!((&shown()["projects"], filled), (&counts(45_000), 45_002));

    // A run with another scope keeps every entry.
    bench.write("a/one.yaml", &config_map(&ns, "one", "2"));
    let in_a = format!("{}.a", bench.root);
    bench.ktor(&["apply", "--yes", "-I", &in_a]).exits(0);
    let state = shown();
    for (field, expected) in [("projects", counts(45_000)), ("settled", json!(true)), ("digest", json!("valid"))] {
        assert_eq!(state[field], expected, "{field}");
    }

    // Kubernator refuses a state in shards, because it would misread it.
    bench.write(".kubernator.py", &Kubernator::root_script(&bench.root, true));
    let mut kubernator = Kubernator::shared().command(bench.path(), bench.kubeconfig(), &["--yes", "apply"]);
    let ran = Bench::finished(kubernator.spawn().unwrap());
    assert_ne!(ran.code, Some(0), "{ran:#?}");
    assert!(format!("{ran:?}").contains("version"), "{ran:#?}");
    assert_eq!(shown()["projects"], counts(45_000));

    // A shard is lost. The commands then fail, until a rebuild finds the objects by their marks.
    let lost = record.shards(bench.plane).swap_remove(3);
    bench.kubectl(&["delete", "-n", "kubernator-system", &lost], "");
    let name = lost.trim_start_matches("secret/");
    for command in [&["plan"][..], &["apply", "--yes"], &["state", "show"], &["state", "rebuild", "--yes"]] {
        bench.ktor(command).exits(1).says(name).says("ktor state rebuild --replace-damaged");
    }
    bench.ktor(&["state", "rebuild", "--replace-damaged", "--yes"]).exits(0);
    assert_eq!((&shown()["projects"], record.shards(bench.plane)), (&counts(0), Vec::new()));
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);

    // The entries of deleted objects leave the state, which then fits into its Secret again.
    record.fill(&direct, 45_000).await;
    assert!(record.shards(bench.plane).len() > 10);
    bench.apply();
    assert_eq!((&shown()["projects"], record.shards(bench.plane)), (&counts(0), Vec::new()));
    let state: Value = bench.state();
    assert_eq!(state["version"], "1");
}

/// Holds the chosen requests from number `nth` on, counted from 0.
fn holding(chosen: impl Fn(&Entry) -> bool + Send + Sync + 'static, nth: usize) -> (Recorder<'static>, Gate) {
    let (gate, count) = (Gate::closed(), AtomicUsize::new(0));
    let held = gate.clone();
    let choose = move |entry: &Entry| {
        let waits = chosen(entry) && count.fetch_add(1, Ordering::Relaxed) >= nth;
        waits.then(|| Fault::Hold(held.clone()))
    };
    (Recorder::with_faults(ControlPlane::shared(), choose), gate)
}

/// Lets the held requests arrive. Returns the names of their Secrets and the status of each answer.
async fn arrived(recorder: &Recorder<'_>, gate: &Gate) -> Vec<(String, u16)> {
    let held: Vec<usize> =
        recorder.journal().iter().filter(|entry| entry.answered.is_none()).map(|entry| entry.sequence).collect();
    gate.open();
    loop {
        let journal = recorder.journal();
        let answered = held.iter().map(|&sequence| {
            let entry = &journal[sequence];
            Some((entry.path().rsplit('/').next()?.to_owned(), entry.status?.as_u16()))
        });
        match answered.collect() {
            Some(answered) => return answered,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o13_what_a_dead_run_sends_late_takes_no_shard_and_replaces_no_head() {
    let plane = ControlPlane::shared();
    let record = Record::new(&plane.namespace("late").await, "late");
    let direct = connect(plane.kubeconfig(User::Admin)).await;
    record.fill(&direct, 45_000).await;
    record.run(&direct, 1).await;
    let free = async |run: &str| {
        assert_eq!(direct.break_lock(&record.namespace, &record.root, run).await.unwrap(), Broken::Freed);
    };

    // Round 2 no longer needs the shard that round 1 wrote, and dies while it deletes it. A later round needs the shard
    // again.
    let (recorder, gate) =
        holding(|entry| entry.method == http::Method::DELETE && entry.path().contains("/secrets/"), 0);
    let through = connect(recorder.kubeconfig(User::Admin)).await;
    let under_way = async {
        gate.reached().await;
        let unneeded = record.shards(plane).len() - record.referred(plane);
        let is_held = |entry: &&Entry| entry.method == http::Method::DELETE && entry.answered.is_none();
        while recorder.journal().iter().filter(is_held).count() < unneeded {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = record.run(&through, 2) => panic!("nothing was collected"),
        () = under_way => {}
    }
    free("run-2").await;
    let before = record.read(&direct).await;
    record.run(&direct, 1).await;
    let after = record.read(&direct).await;
    assert_eq!(after, record.possible(before, 1)[2]);
    let deletions = arrived(&recorder, &gate).await;
    assert!(deletions.iter().any(|(_, status)| *status == 409), "no shard was used again: {deletions:?}");
    let left = record.shards(plane);
    for (name, status) in &deletions {
        let is_left = left.contains(&format!("secret/{name}"));
        assert_eq!(*status == 409, is_left, "{deletions:?}, left: {left:?}");
    }
    assert_eq!(record.read(&direct).await, after);

    // A write of the head that is under way when its run dies must not replace the head of the next run.
    let head = format!("/secrets/{}", record.root.state_name());
    let (recorder, gate) = holding(move |entry| entry.method == http::Method::PUT && entry.path().ends_with(&head), 1);
    let through = connect(recorder.kubeconfig(User::Admin)).await;
    tokio::select! {
        () = record.run(&through, 3) => panic!("no second head was written"),
        () = gate.reached() => {}
    }
    free("run-3").await;
    let lock = direct.acquire(&record.lock("next"), &mut |_| ()).await.unwrap();
    let claimed = Store::claim(&direct, &lock, &record.namespace, &record.root, "next").await.unwrap();
    let (mut store, prior) = claimed;
    assert_eq!(arrived(&recorder, &gate).await, [(record.root.state_name(), 409)]);
    let pending = prior.begin(record.intent(4), &RunCommits::default());
    store.record(&lock, &pending).await.unwrap();
    lock.release().await.unwrap();
    assert_eq!(record.read(&direct).await.0, *pending.entries());
}

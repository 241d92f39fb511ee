//! Cohabiting kinds: one object that is served in two groups. Its manifest uses one group, and then the other.

use serde_json::{Value, json};
use support::controlplane::{Entry, Recorder, User};

use super::bench::{Bench, change, namespace};

/// The group in which the manifest of an Event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Core,
    Events,
}

impl Group {
    /// Returns the group as the state records it.
    fn name(self) -> &'static str {
        match self {
            Self::Core => "",
            Self::Events => "events.k8s.io",
        }
    }
}

/// Returns an Event with the field names of the group. Both texts describe the same object.
fn event(group: Group, ns: &str) -> String {
    let (version, about, text, by) = match group {
        Group::Core => ("v1", "involvedObject", "message", "reportingComponent"),
        Group::Events => ("events.k8s.io/v1", "regarding", "note", "reportingController"),
    };
    json!({"apiVersion": version, "kind": "Event", "metadata": {"name": "opened", "namespace": ns},
        "eventTime": "2031-05-06T07:08:09.000000Z", "type": "Normal", "reason": "Opened", "action": "Open",
        "reportingInstance": "one", by: "shop.example/till", text: "the shop is open",
        about: {"apiVersion": "v1", "kind": "Namespace", "name": ns, "namespace": ns}})
    .to_string()
}

/// Creates and applies a project with an Event that is written in one group.
fn opened(begins: &str, group: Group) -> (Bench, String) {
    let bench = Bench::new(begins);
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("a/.ktor.yaml", "project: a\n").write("b/.ktor.yaml", "project: b\n");
    bench.write("a/event.json", &event(group, &ns));
    bench.apply();
    (bench, ns)
}

fn uid(bench: &Bench, ns: &str) -> Option<Value> {
    bench.get("events/opened", Some(ns)).map(|live| live["metadata"]["uid"].clone())
}

/// Returns the recorded groups of the Event, with the project of each.
fn recorded(bench: &Bench) -> Vec<(String, String)> {
    let state = bench.state();
    let resources = state["resources"].as_object().unwrap().clone();
    let entries = resources.into_iter().flat_map(|(project, idents)| {
        let idents = idents.as_array().unwrap().clone();
        idents.into_iter().map(move |ident| (project.clone(), ident))
    });
    let events = entries.filter(|(_, ident)| ident["kind"] == "Event");
    events.map(|(project, ident)| (project, ident["group"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn c8_an_object_written_in_its_other_group_is_kept_owned_once_and_settled() {
    for (from, to) in [(Group::Core, Group::Events), (Group::Events, Group::Core)] {
        let (mut bench, ns) = opened("twins", from);
        let a = format!("{}.a", bench.root);
        let before = uid(&bench, &ns);
        assert_eq!(recorded(&bench), [(a.clone(), from.name().to_owned())]);
        bench.write("a/event.json", &event(to, &ns));
        let plan = bench.plan();
        assert_eq!(plan["summary"]["delete"], 0, "{plan:#}");
        let old = change(&plan, "cleanup", "opened");
        assert_eq!((&old["action"], &old["reason"]["kind"]), (&json!("release"), &json!("same-object")), "{plan:#}");

        let direct = bench.plane.kubeconfig(User::Admin);
        let recorder = Recorder::start(bench.plane);
        bench.through(recorder.kubeconfig(User::Admin));
        bench.apply();
        bench.through(direct);
        let deleted = |entry: &&Entry| entry.method == http::Method::DELETE && entry.path().contains("/events/");
        assert_eq!(recorder.journal().iter().filter(deleted).count(), 0);
        assert_eq!(uid(&bench, &ns), before);
        assert_eq!(recorded(&bench), [(a, to.name().to_owned())], "{from:?} to {to:?}");
        bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
        let version = || bench.get("events/opened", Some(&ns)).unwrap()["metadata"]["resourceVersion"].clone();
        let settled = version();
        bench.apply();
        assert_eq!(version(), settled);

        bench.remove("a/event.json");
        bench.apply();
        assert_eq!((uid(&bench, &ns), recorded(&bench)), (None, vec![]));
    }
}

#[test]
fn c8_where_the_other_group_is_out_of_scope_the_entry_stays_until_it_is_not() {
    let (bench, ns) = opened("apart", Group::Core);
    let before = uid(&bench, &ns);
    let (a, b) = (format!("{}.a", bench.root), format!("{}.b", bench.root));
    bench.remove("a/event.json").write("b/event.json", &event(Group::Events, &ns));
    bench.ktor(&["apply", "--yes", "-I", &a]).exits(0);
    assert_eq!((uid(&bench, &ns), recorded(&bench)), (before.clone(), vec![(a.clone(), String::new())]));
    bench.ktor(&["apply", "--yes", "-I", &b]).exits(0);
    assert_eq!(uid(&bench, &ns), before);
    assert_eq!(recorded(&bench), [(a, String::new()), (b.clone(), "events.k8s.io".to_owned())]);
    bench.apply();
    assert_eq!((uid(&bench, &ns), recorded(&bench)), (before, vec![(b, "events.k8s.io".to_owned())]));
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn c8_both_groups_in_one_tree_are_the_same_object_twice() {
    let (bench, ns) = opened("double", Group::Core);
    let before = bench.get("events/opened", Some(&ns)).unwrap();
    bench.write("b/event.json", &event(Group::Events, &ns));
    for arguments in [&["plan"][..], &["apply", "--yes"]] {
        let ran = bench.ktor(arguments).exits(1);
        for place in ["a/event.json:1:1", "b/event.json:1:1"] {
            assert!(ran.stderr.contains(place), "no {place} in {ran:#?}");
        }
    }
    assert_eq!(bench.get("events/opened", Some(&ns)).unwrap(), before);
    assert_eq!(recorded(&bench), [(format!("{}.a", bench.root), String::new())]);
    assert!(bench.recorded().0);
}

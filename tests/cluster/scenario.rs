//! Kubernator's own integration scenario: root `demo` with sub-projects `a` and `b`. Phase 2 drops `a-cfg-2`.

use serde_json::Value;

use super::bench::{Bench, config_map, namespace};

fn write_phase(bench: &Bench, phase: &str) {
    bench.write("root.yaml", &format!("{}---\n{}", namespace("demo-ns"), config_map("demo-ns", "root-cfg", phase)));
    for project in ["a", "b"] {
        bench.write(&format!("{project}/.ktor.yaml"), &format!("project: {project}\n"));
        for number in [1, 2] {
            let name = format!("{project}-cfg-{number}");
            bench.write(&format!("{project}/{name}.yaml"), &config_map("demo-ns", &name, phase));
        }
    }
}

fn sample(phase: u8) -> Value {
    let text = match phase {
        1 => include_str!("../cases/kubernator-v1/kubernator-state-after-phase1.json"),
        _ => include_str!("../cases/kubernator-v1/kubernator-state-after-phase2.json"),
    };
    serde_json::from_str(text).unwrap()
}

#[test]
fn o8_the_phases_of_kubernators_scenario_leave_its_objects_and_its_state() {
    let bench = Bench::of_root("demo");
    write_phase(&bench, "1");
    let outcome = bench.apply();
    assert_eq!(outcome["summary"]["created"], 6, "{outcome:#}");
    assert_eq!(bench.state(), sample(1));
    for (name, project) in [
        ("root-cfg", "demo"),
        ("a-cfg-1", "demo.a"),
        ("a-cfg-2", "demo.a"),
        ("b-cfg-1", "demo.b"),
        ("b-cfg-2", "demo.b"),
    ] {
        let object = bench.get(&format!("configmap/{name}"), Some("demo-ns")).unwrap();
        assert_eq!(object["metadata"]["annotations"]["kubernator.io/project"], project);
        assert_eq!(object["metadata"]["labels"]["kubernator.io/root"], "89e495e7941c");
        assert_eq!(object["data"]["phase"], "1");
    }
    let uid = |name: &str| bench.get(name, Some("demo-ns")).map(|object| object["metadata"]["uid"].clone());
    let names = ["configmap/root-cfg", "configmap/a-cfg-1", "configmap/b-cfg-1", "configmap/b-cfg-2"];
    let before: Vec<_> = names.iter().map(|name| uid(name)).collect();

    write_phase(&bench, "2");
    bench.remove("a/a-cfg-2.yaml");
    let plan = bench.plan();
    assert_eq!(plan["summary"]["delete"], 1, "{plan:#}");
    let outcome = bench.apply();
    assert_eq!(
        (&outcome["summary"]["deleted"], &outcome["summary"]["configured"]),
        (&1.into(), &4.into()),
        "{outcome:#}"
    );
    assert_eq!(bench.get("configmap/a-cfg-2", Some("demo-ns")), None);
    assert_eq!(names.iter().map(|name| uid(name)).collect::<Vec<_>>(), before);
    assert_eq!(bench.get("configmap/a-cfg-1", Some("demo-ns")).unwrap()["data"]["phase"], "2");
    assert_eq!(bench.state(), sample(2));
    assert_eq!(bench.lease(), None);
}

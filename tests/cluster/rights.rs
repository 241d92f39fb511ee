//! A deployer with rights in a few namespaces, versions that the server does not serve, and an aggregated role.

use serde_json::{Value, json};

use super::bench::{Bench, change, config_map};
use super::deployer::{Extent, deployer};

fn named(plan: &Value) -> Vec<String> {
    let changes = plan["changes"].as_array().unwrap().iter().chain(plan["cleanup"].as_array().unwrap());
    changes
        .map(|change| format!("{} {}", change["action"].as_str().unwrap(), change["key"]["name"].as_str().unwrap()))
        .collect()
}

#[test]
fn r12_a_deployer_of_two_namespaces_gets_a_correct_plan_and_one_notice() {
    let mut bench = Bench::new("tenant");
    let spaces = ["one", "two"].map(|name| format!("{}-{name}", bench.root));
    for ns in &spaces {
        bench.kubectl(&["create", "namespace", ns], "");
        for name in ["kept", "changed", "dropped"] {
            bench.write(&format!("{ns}/{name}.yaml"), &config_map(ns, name, "1"));
        }
    }
    bench.ktor(&["apply", "--yes"]).exits(0);
    let all = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    let mut rights: Vec<(Extent<'_>, Value)> = spaces.iter().map(|ns| (Extent::In(ns.as_str()), all.clone())).collect();
    rights.push((Extent::In("kubernator-system"), all));
    let kubeconfig = deployer(&bench, &bench.root.clone(), &rights);
    bench.through(kubeconfig);
    for ns in &spaces {
        bench.write(&format!("{ns}/changed.yaml"), &config_map(ns, "changed", "2"));
        bench.write(&format!("{ns}/new.yaml"), &config_map(ns, "new", "1"));
        bench.remove(&format!("{ns}/dropped.yaml"));
    }
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(0).json();
    let mut found = named(&plan);
    found.sort();
    let expected = ["create new", "delete dropped", "unchanged kept", "update changed"];
    let mut expected: Vec<String> = expected.iter().flat_map(|one| [(*one).to_owned(), (*one).to_owned()]).collect();
    expected.sort();
    assert_eq!(found, expected, "{plan:#}");
    let notices = plan["notices"].as_array().unwrap();
    let about_rights = notices.iter().filter(|notice| notice["message"].as_str().unwrap().contains("list"));
    assert_eq!(about_rights.count(), 1, "{notices:#?}");
    assert!(notices.len() < 4, "{notices:#?}");
    bench.ktor(&["apply", "--yes"]).exits(0);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn r12_a_version_that_nobody_serves_names_those_that_are() {
    let bench = Bench::new("unserved");
    let ns = bench.root.clone();
    bench.kubectl(&["create", "namespace", &ns], "");
    let scaler = json!({"apiVersion": "autoscaling/v2beta2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": ns}, "spec": {"maxReplicas": 2,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    bench.write("scaler.json", &scaler.to_string());
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(1).json();
    let words = change(&plan, "changes", "web")["reason"]["message"].as_str().unwrap().to_owned();
    assert!(words.contains("is served in v2, v1 and not in v2beta2"), "{words}");
}

#[test]
fn r12_an_aggregated_role_names_the_remedy_and_is_applied_when_it_is_followed() {
    let bench = Bench::new("aggregated");
    let name = bench.root.clone();
    let role = |name: &str, labels: Value, more: Value| {
        let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name, "labels": labels}});
        role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        role.to_string()
    };
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let select = json!({"clusterRoleSelectors": [{"matchLabels": {"for": name}}]});
    bench.write("part.json", &role(&format!("{name}-part"), json!({"for": name}), json!({"rules": rules})));
    let whole = |rules: Option<Value>| {
        let mut more = json!({"aggregationRule": select});
        if let Some(rules) = rules {
            more["rules"] = rules;
        }
        role(&name, json!({}), more)
    };
    bench.write("whole.json", &whole(Some(json!([]))));
    bench.ktor(&["apply", "--yes"]);
    let began = std::time::Instant::now();
    while bench.get(&format!("clusterrole/{name}"), None).is_none_or(|role| role["rules"] != rules) {
        assert!(began.elapsed().as_secs() < 60, "the role is aggregated");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let plan = bench.ktor(&["plan", "-o", "json"]).exits(3).json();
    let words = change(&plan, "changes", &name)["reason"]["message"].as_str().unwrap().to_owned();
    assert!(words.starts_with("conflict: .rules is held by clusterrole-aggregation-controller: "), "{words}");
    assert!(words.contains("remove `rules` from the manifest"), "{words}");
    bench.write("whole.json", &whole(None));
    bench.ktor(&["apply", "--yes"]).exits(0);
    assert_eq!(bench.get(&format!("clusterrole/{name}"), None).unwrap()["rules"], rules);
    bench.ktor(&["plan", "--detailed-exitcode"]).exits(0);
}

//! `ktor targets`, and trees that are read for one of their targets.

use super::Site;

const SETTINGS: &str = "project: demo
values: {replicas: 1}
targets:
  dev:
  prod: {values: [values/prod.yaml], project: demo-prod}
overlays: ['**/overlays/{target}']
";

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop}}\ndata: {{a: '{value}'}}\n")
}

#[test]
fn k9_targets_have_their_values_directories_and_names_and_a_change_concerns_some_of_them() {
    let site = Site::on(super::new_server());
    let checkout = &site.checkout;
    checkout.write("t/.ktor.yaml", SETTINGS);
    checkout.write("t/values/prod.yaml", "replicas: 5\n");
    checkout.write("t/a.tmpl.yaml", config_map("a", "{${ ktor.target }$}-{${ ktor.replicas }$}"));
    checkout.write("t/overlays/dev/x.yaml", config_map("x", "dev"));
    checkout.write("t/overlays/prod/x.yaml", config_map("x", "prod"));
    checkout.write("t/jobs/.ktor.yaml", "project: jobs\nonly: [dev]\n");
    checkout.write("t/jobs/j.yaml", config_map("j", "1"));
    checkout.commit("targets");
    let run = |arguments: &[&str]| {
        let output = site.run(arguments);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let rendered = |target: &str| {
        let (code, json, error) = run(&["render", "-p", "t", "--target", target, "-o", "json"]);
        assert_eq!(code, Some(0), "{error}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let objects = json["objects"].as_array().unwrap().iter().map(|object| {
            let at = |pointer| object["object"].pointer(pointer).unwrap().as_str().unwrap().to_owned();
            format!("{}={}", at("/metadata/name"), at("/data/a"))
        });
        (json["root"].as_str().unwrap().to_owned(), objects.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(rendered("dev"), ("demo".to_owned(), "a=dev-1 j=1 x=dev".to_owned()));
    assert_eq!(rendered("prod"), ("demo-prod".to_owned(), "a=prod-5 x=prod".to_owned()));

    assert_eq!(run(&["targets", "-p", "t"]).1, "dev\nprod\n");
    let concerned = || run(&["targets", "-p", "t", "--base", "HEAD"]).1;
    assert_eq!(concerned(), "");
    for (path, text, expected) in [
        ("t/overlays/prod/x.yaml", config_map("x", "new"), "prod\n"),
        ("t/jobs/j.yaml", config_map("j", "2"), "dev\n"),
        ("t/values/prod.yaml", "replicas: 6\n".to_owned(), "prod\n"),
        ("t/a.tmpl.yaml", config_map("b", "1"), "dev\nprod\n"),
        ("t/.ktor.yaml", SETTINGS.replace("dev:", "dev: {}\n  stage:"), "dev\nprod\nstage\n"),
    ] {
        checkout.write(path, text);
        assert_eq!(concerned(), expected, "{path}");
        checkout.git(["checkout", "-q", "--", "t"]);
    }
    let json: serde_json::Value = serde_json::from_str(&run(&["targets", "-p", "t", "-o", "json"]).1).unwrap();
    assert_eq!(json["targets"], serde_json::json!(["dev", "prod"]));
    assert!(json["formatVersion"].is_string(), "{json}");

    for (arguments, expected) in [
        (&["render", "-p", "t"][..], "the tree has several targets, and none is named: name one of dev, prod"),
        (&["plan", "-p", "t", "--offline", "--base", "HEAD", "--target", "stage"], "the tree has no target \"stage\""),
    ] {
        let (code, _, error) = run(arguments);
        assert_eq!(code, Some(64));
        assert!(error.contains(expected) && error.contains("--target"), "{error}");
    }
}

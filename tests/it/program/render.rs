//! `ktor render`, without an engine.

use super::Site;

#[test]
fn render_prints_objects_with_their_places_and_hides_secrets() {
    let site = Site::on(super::new_server());
    let run = |arguments: &[&str]| {
        let output = site.run(arguments);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, text, _) = run(&["render", "-p", "k8s"]);
    assert_eq!(code, Some(0));
    let expected = "---\n# a/x.yaml:1:1 (demo.a)\napiVersion: v1\ndata:\n  value: \"1\"\nkind: ConfigMap\nmetadata:\n  \
                    name: x\n  namespace: shop\n";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("data: \"(secret)\"") && !text.contains("dmFsdWU="), "{text}");
    assert!(run(&["render", "-p", "k8s", "--show-secrets"]).1.contains("key: \"dmFsdWU=\""));
    let (_, json, _) = run(&["render", "-p", "k8s", "-o", "json", "-I", "demo.b", "--twice"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["objects"].as_array().unwrap().len(), 1);
    assert_eq!(json["objects"][0]["file"], "k8s/b/z.yaml");
    assert_eq!(json["objects"][0]["object"]["data"], "(secret)");
    let (code, _, error) = run(&["render", "-p", "k8s", "-X", "demo.c"]);
    assert_eq!(code, Some(64));
    assert!(error.contains("-X demo.c matches no known project"), "{error}");
}

#[test]
fn k3_hostile_kustomizations_are_refused_at_their_place_without_an_engine() {
    for (text, place) in [
        ("resources:\n- https://example.com/x.yaml\n", "c/kustomization.yaml:2:3: `resources` names something outside"),
        ("bases: ['github.com/a/b?ref=v1']\n", "c/kustomization.yaml:1:10: `bases` names something outside"),
        ("patches: [{path: /etc/passwd}]\n", "c/kustomization.yaml:1:18: `patches` names an absolute path"),
        ("resources: [../../../x]\n", "c/kustomization.yaml:1:13: the path leads out of the repository"),
        ("helmCharts: [{name: x}]\n", "c/kustomization.yaml:1:1: `helmCharts` cannot be rendered yet"),
        ("a: [\n", "c/kustomization.yaml:"),
    ] {
        let site = Site::on(super::new_server());
        site.checkout.write("k8s/c/kustomization.yaml", text);
        let output = site.run(&["render", "-p", "k8s"]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(place) && !error.contains("install"), "{text}: {error}");
        // The rest of the tree is not concerned.
        assert!(site.run(&["render", "-p", "k8s", "-I", "demo.a"]).status.success());
    }
}

#[test]
fn a_tree_with_a_kustomization_needs_an_engine_and_another_tree_does_not_look_for_one() {
    let site = Site::on(super::new_server());
    let run = |arguments: &[&str]| {
        let output = site.command(arguments).env("KTOR_KUSTOMIZE", "/nonexistent").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&["render", "-p", "k8s"]), (Some(0), String::new()));
    site.checkout.write("k8s/a/kustomization.yaml", "resources: [x.yaml]\n");
    let (code, error) = run(&["render", "-p", "k8s"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("a/kustomization.yaml: failed to use /nonexistent as kustomize"), "{error}");
    assert!(error.contains("Not applied, because no kustomization names them: a/y.yaml."), "{error}");
}

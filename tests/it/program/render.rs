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

#[test]
fn k3_hostile_releases_are_refused_at_their_place_without_an_engine() {
    let chart = "chart: ../chart\nname: web\n";
    for (path, text, place) in [
        (
            "c/web.helm.yaml",
            "repository: https://x\nchart: web\nname: web\n",
            "c/web.helm.yaml:2:1: the release has no `version`",
        ),
        (
            "c/web.helm.yaml",
            "chart: oci://x.example/web\nversion: 1.0.0\nname: web\n",
            "c/web.helm.yaml:1:1: there is no .ktor.lock that names the chart oci://x.example/web 1.0.0",
        ),
        (
            "c/web.helm.yaml",
            "chart: https://x.example/web.tgz\nname: web\n",
            "c/web.helm.yaml:1:1: a chart is not fetched from an address",
        ),
        (
            "c/web.helm.yaml",
            "chart: ../../../x\nname: web\n",
            "c/web.helm.yaml:1:1: the chart is outside the repository",
        ),
        ("c/web.helm.yaml", "chart: ../chart\nname: --x\n", "c/web.helm.yaml:2:1: `name` is not the name of a release"),
        (
            "c/web.helm.yaml",
            "chart: ../chart\nname: web\nvalues_file: x\n",
            "c/web.helm.yaml:3:1: unknown key `values_file`",
        ),
        (
            "chart/values.schema.json",
            "{\"$ref\": \"http://127.0.0.1/x\"}",
            "chart/values.schema.json:1:10: the schema refers to",
        ),
        (
            "chart/templates/x.yaml",
            "{{ .Files.Get \"/etc/passwd\" }}",
            "chart/templates/x.yaml:1:4: the template reads a file",
        ),
        (
            "chart/Chart.yaml",
            "name: web\ndependencies:\n- {name: x, repository: 'https://x'}\n",
            "chart/Chart.yaml:3:4: the chart depends on `x`",
        ),
    ] {
        let site = Site::on(super::new_server());
        site.checkout.write("k8s/c/web.helm.yaml", chart).write("k8s/chart/Chart.yaml", "name: web\nversion: 1.0.0\n");
        site.checkout.write(format!("k8s/{path}"), text);
        let output = site.command(&["render", "-p", "k8s"]).env("KTOR_HELM", "/nonexistent").output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(place) && !error.contains("/nonexistent"), "{text}: {error}");
        // The rest of the tree is not concerned.
        assert!(site.run(&["render", "-p", "k8s", "-I", "demo.a"]).status.success());
    }
}

#[test]
fn k8_the_files_of_releases_and_charts_are_no_manifests() {
    let site = Site::on(super::new_server());
    site.checkout.write("k8s/web.helm.yaml", "chart: chart\nname: web\nvalues-file: values.yaml\n");
    site.checkout.write("k8s/chart/Chart.yaml", "name: web\nversion: 1.0.0\n").write("k8s/values.yaml", "a: 1\n");
    site.checkout.write("k8s/chart/templates/x.yaml", "{{ no yaml").write("k8s/unused/Chart.yaml", "name: x\n");
    let output = site.command(&["render", "-p", "k8s"]).env("KTOR_HELM", "/nonexistent").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("web.helm.yaml: failed to use /nonexistent as helm"), "{error}");
    assert!(!error.contains("values.yaml") && !error.contains("x.yaml"), "{error}");
    assert!(error.contains("Charts that no release uses: unused/Chart.yaml."), "{error}");
}

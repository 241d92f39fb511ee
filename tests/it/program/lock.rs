//! `ktor lock`, without an engine and without a server.

use super::Site;

#[test]
fn k7_charts_are_locked_only_if_every_release_names_an_exact_version() {
    let site = Site::on(super::new_server());
    let run = |arguments: &[&str]| {
        let output = site.command(arguments).env("KTOR_HELM", "/nonexistent").output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let lock = site.checkout.top().join("k8s/.ktor.lock");
    assert_eq!(run(&["lock", "-p", "k8s"]), (Some(0), "nothing to lock\n".to_owned(), String::new()));
    assert!(!lock.exists());

    let release =
        |version: &str| format!("repository: http://127.0.0.1:1\nchart: web\nversion: {version}\nname: web\n");
    site.checkout.write("k8s/c/web.helm.yaml", release("^1.0.0"));
    let (code, _, error) = run(&["lock", "-p", "k8s"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("c/web.helm.yaml:3:1: `version` is not one version: write it with three numbers"),
        "{error}"
    );
    site.checkout.write("k8s/c/web.helm.yaml", release("1.0.0"));
    let (code, _, error) = run(&["lock", "-p", "k8s"]);
    assert_eq!(code, Some(1));
    let expected =
        "failed to lock the chart web 1.0.0 of http://127.0.0.1:1 (c/web.helm.yaml:2:1): ask http://127.0.0.1:1: ";
    assert!(error.contains(expected) && !lock.exists(), "{error}");

    // A chart of the tree needs no entry, and an engine that is not there is not locked.
    site.checkout.write("k8s/c/web.helm.yaml", "chart: web\nname: web\n").write("k8s/c/web/Chart.yaml", "name: web\n");
    let (code, told, error) = run(&["lock", "-p", "k8s"]);
    assert_eq!((code, told.as_str()), (Some(0), "nothing to lock\n"), "{error}");
    assert!(error.contains("the version of helm is not locked: failed to use /nonexistent as helm"), "{error}");
    let sha = "0".repeat(64);
    let entry = format!("{{oci: x.example/y, chart: z, version: 1.0.0, url: 'https://x.example/z', sha256: '{sha}'}}");
    site.checkout.write("k8s/.ktor.lock", format!("engines: {{helm: 4.3.1, kustomize: 5.8.1}}\ncharts: [{entry}]\n"));
    let (code, told, _) = run(&["lock", "-p", "k8s"]);
    assert_eq!((code, told.as_str()), (Some(0), "dropped chart oci://x.example/y/z 1.0.0\nwrote .ktor.lock\n"));
    let written = std::fs::read_to_string(&lock).unwrap();
    assert_eq!(written, "# Written by ktor. Commit this file.\nengines:\n  helm: \"4.3.1\"\n");

    site.checkout.write("k8s/.ktor.lock", "chart: []\n");
    for arguments in [&["lock", "-p", "k8s"][..], &["render", "-p", "k8s"]] {
        let (code, _, error) = run(arguments);
        assert_eq!(code, Some(1));
        assert!(error.contains(".ktor.lock:1:1: unknown field `chart`"), "{error}");
    }
}

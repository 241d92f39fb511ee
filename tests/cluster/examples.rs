//! The examples of sources that are rendered.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::controlplane::binaries;
use support::profile;

/// Returns the kinds and names of the objects that an example asks for.
#[track_caller]
fn rendered(example: &str, arguments: &[&str]) -> BTreeSet<String> {
    let mut ktor = Command::new(env!("CARGO_BIN_EXE_ktor"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
    ktor.args(["render", "-o", "json", "-p"]).arg(&path).args(arguments).env_clear().envs(profile());
    ktor.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    ktor.env("KTOR_KUSTOMIZE", binaries::kustomize().unwrap());
    ktor.env("KTOR_HELM", binaries::helms().unwrap().last().unwrap());
    let output = ktor.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rendered: Value = serde_json::from_slice(&output.stdout).unwrap();
    let objects = rendered["objects"].as_array().unwrap().iter().map(|object| &object["object"]);
    objects
        .map(|object| format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap()))
        .collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn k1_the_example_of_a_kustomization_has_an_overlay_for_each_target() {
    let without_hash = |names: BTreeSet<String>| -> BTreeSet<String> {
        let cut = |name: String| match name.strip_prefix("ConfigMap settings-") {
            Some(hash) if hash.len() == 10 => "ConfigMap settings".to_owned(),
            _ => name,
        };
        names.into_iter().map(cut).collect()
    };
    let (dev, prod) = (rendered("kustomize", &["--target", "dev"]), rendered("kustomize", &["--target", "prod"]));
    assert_ne!(dev, prod);
    let both = ["ConfigMap settings", "Deployment web", "Namespace web"];
    assert_eq!(without_hash(dev), set(both));
    assert_eq!(without_hash(prod), &set(both) | &set(["PodDisruptionBudget web"]));
}

#[test]
fn k1_the_example_of_a_release_renders_its_local_chart() {
    let expected = set(["Deployment metrics", "Job metrics-migrate", "Namespace metrics"]);
    assert_eq!(rendered("helm", &[]), expected);
}

#[test]
fn k8_the_example_of_templates_has_the_objects_of_each_tenant() {
    let expected = ["ConfigMap registry", "Namespace tenant-blue", "Namespace tenant-red", "ResourceQuota pods"];
    assert_eq!(rendered("templates", &[]), set(expected));
}

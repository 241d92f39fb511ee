//! The adapter for engines, with the real kustomize.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ktor_action::process::Environment;
use ktor_action::process::engine::{Bounds, Engine, EngineError, EngineKind, Policy, Rendering};
use ktor_action::render::stage::Stage;
use support::controlplane::binaries;

const VERSION: &str = "5.8.1";

fn launcher() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ktor"))
}

async fn kustomize() -> Engine {
    let file = binaries::kustomize().unwrap();
    let environment = Environment::default().with("KTOR_KUSTOMIZE", file);
    Engine::find(EngineKind::Kustomize, None, launcher(), &environment).await.unwrap()
}

async fn built(files: &[(&str, &str)], policy: &Policy) -> Result<Rendering, EngineError> {
    let temporary = tempfile::tempdir().unwrap();
    let stage = Stage::create(temporary.path(), files.iter().copied()).unwrap();
    let arguments = ["build", "--load-restrictor", "LoadRestrictionsNone", "x"];
    kustomize().await.run(&stage.place(), &arguments, policy).await
}

#[tokio::test]
async fn k3_kustomize_builds_what_is_staged_and_finds_nothing_else() {
    let map = "configMapGenerator: [{name: m, files: [FILE]}]\n";
    let with = |file: &str| map.replace("FILE", file);
    let rendering =
        built(&[("x/kustomization.yaml", &with("../a")), ("a", "value")], &Policy::UNTRUSTED).await.unwrap();
    let text = String::from_utf8(rendering.text).unwrap();
    assert!(text.contains("kind: ConfigMap") && text.contains("a: value"), "{text}");
    assert_eq!((rendering.warnings.as_str(), rendering.unconfined), ("", None));

    for (file, expected) in [("/etc/passwd", "permission denied"), ("../b", "b: no such file or directory")] {
        let error = built(&[("x/kustomization.yaml", &with(file))], &Policy::OWN).await.unwrap_err();
        assert!(matches!(error, EngineError::Failed { .. }), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("run kustomize (exit status: 1): ") && text.contains(expected), "{text}");
        assert!(!text.contains("ktor-stage-"), "{text}");
    }
    let remote = "resources: ['https://127.0.0.1/x.yaml']\n";
    let error = built(&[("x/kustomization.yaml", remote)], &Policy::OWN).await.unwrap_err();
    assert!(matches!(error, EngineError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn k3_each_bound_of_an_engine_has_its_own_error() {
    let files = [("x/kustomization.yaml", "configMapGenerator: [{name: m, literals: [a=b]}]\n")];
    let with = |change: fn(&mut Bounds)| {
        let mut policy = Policy::UNTRUSTED;
        change(&mut policy.bounds);
        policy
    };
    let late = built(&files, &with(|bounds| bounds.time = Duration::from_micros(1))).await.unwrap_err();
    assert!(matches!(late, EngineError::TimedOut { .. }), "{late}");
    let long = built(&files, &with(|bounds| bounds.output = 10)).await.unwrap_err();
    assert_eq!(long.to_string(), "run kustomize: it printed more than 10 bytes");
    let large = built(&files, &with(|bounds| bounds.address_space = 100 << 20)).await.unwrap_err();
    assert_eq!(large.to_string(), "run kustomize: it needs more than 100 MiB of memory");
}

#[tokio::test]
async fn k7_an_engine_is_found_by_its_variable_the_tool_cache_or_the_path_and_names_its_version() {
    let file = binaries::kustomize().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cache, path) = (folder.path().join("cache"), folder.path().join("path"));
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let cached = cache.join("kustomize").join(VERSION).join(architecture);
    for directory in [&cached, &path] {
        fs::create_dir_all(directory).unwrap();
    }
    symlink(&file, cached.join("kustomize")).unwrap();
    let script = path.join("kustomize");
    fs::write(&script, "#!/bin/sh\necho v1.2.3\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let find = async |version: Option<&str>, variables: &[(&str, &PathBuf)]| {
        let set = |set: Environment, (name, value): &(&str, &PathBuf)| set.with(*name, *value);
        let environment = variables.iter().fold(Environment::default(), set);
        Engine::find(EngineKind::Kustomize, version, launcher(), &environment).await
    };
    let refused =
        async |version, variables: &[(&str, &PathBuf)]| find(version, variables).await.unwrap_err().to_string();
    let both = [("RUNNER_TOOL_CACHE", &cache), ("PATH", &path)];

    let engine = find(Some(VERSION), &both).await.unwrap();
    assert_eq!((engine.kind, engine.version.as_str(), engine.sha256.len()), (EngineKind::Kustomize, VERSION, 64));
    let first = find(None, &[("RUNNER_TOOL_CACHE", &cache)]).await.unwrap();
    assert_eq!(first.sha256, engine.sha256);
    let named = find(Some("1.0.0"), &[("KTOR_KUSTOMIZE", &file), both[0], both[1]]).await.unwrap();
    assert_eq!(named.version, VERSION);
    let text = refused(None, &both).await;
    assert!(text.contains("path/kustomize as kustomize: it is a script"), "{text}");
    assert_eq!(
        refused(Some("5.5.0"), &[("RUNNER_TOOL_CACHE", &cache)]).await,
        "find kustomize 5.5.0: install it in an earlier step, or set KTOR_KUSTOMIZE to the path of the program"
    );
    let text = refused(Some("5.5.0"), &[("PATH", &cached)]).await;
    assert!(text.contains("kustomize is 5.8.1; install 5.5.0"), "{text}");
}

//! The stages that a killed run leaves behind.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ktor_action::render::stage::{Stage, remove_stale};

fn names(directory: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

#[test]
fn k3_a_stage_is_private_and_ends_with_its_owner_even_in_a_panic() {
    let temporary = tempfile::tempdir().unwrap();
    let link = temporary.path().join("link");
    let real = temporary.path().join("real");
    fs::create_dir(&real).unwrap();
    symlink("real", &link).unwrap();
    let stage = Stage::create(&link, [("a/x", "1"), ("b", "2")]).unwrap();
    let place = stage.place();
    assert!(place.top.starts_with(real.canonicalize().unwrap()), "{place:?}");
    assert_eq!(fs::read_to_string(place.top.join("a/x")).unwrap(), "1");
    assert_eq!(fs::read_dir(place.home).unwrap().count(), 0);
    let mode = fs::metadata(place.top.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(remove_stale(&real), 0);
    assert!(place.top.exists());
    drop(stage);
    assert!(names(&real).is_empty());

    assert!(Stage::create(&real, [("../x", "1")]).is_err());
    assert!(names(&real).is_empty());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _stage = Stage::create(&real, [("x", "1")]).unwrap();
        panic!("the run ends here");
    }));
    assert!(panicked.is_err() && names(&real).is_empty());
}

#[test]
fn k3_the_next_run_removes_stale_stages_and_nothing_else() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let directory = |name: &str, mode: u32| {
        fs::create_dir_all(at(name).join("top")).unwrap();
        fs::write(at(name).join("top/x"), "content").unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for name in ["ktor-stage-dead", "ktor-other", "ktor-stage-open", "target"] {
        directory(name, if name == "ktor-stage-open" { 0o755 } else { 0o700 });
        fs::write(at(name).join("lock"), "").unwrap();
    }
    directory("ktor-stage-new", 0o700);
    fs::write(at("ktor-stage-file"), "").unwrap();
    symlink("target", at("ktor-stage-link")).unwrap();
    directory("ktor-stage-linked", 0o700);
    symlink("../target/lock", at("ktor-stage-linked").join("lock")).unwrap();
    let used = Stage::create(temporary.path(), [("x", "1")]).unwrap();
    let before = names(temporary.path());

    assert_eq!(remove_stale(temporary.path()), 1);
    let left: Vec<_> = before.into_iter().filter(|path| !path.ends_with("ktor-stage-dead")).collect();
    assert_eq!(names(temporary.path()), left);
    assert!(used.place().top.join("x").exists() && at("target/top/x").exists());
    assert_eq!(remove_stale(temporary.path()), 0);
    assert_eq!(remove_stale(&at("no/such/directory")), 0);
}

//! `ktor apply`.

use support::model::{Request, status};

use super::{Site, X, Y, Z, check_formats, compare, config_map, edit, interrupted_at, lock, new_server};

const APPLY: [&str; 6] = ["apply", "-p", "k8s", "--yes", "--lock-timeout", "0"];

/// Returns `true` if the request writes the object.
fn writes(request: &Request, path: &str) -> bool {
    request.method == "PATCH" && request.target.starts_with(path) && !request.target.contains("dryRun")
}

fn changed() -> Site {
    changed_on(Site::applied())
}

fn changed_on(site: Site) -> Site {
    site.checkout.write("k8s/a/x.yaml", config_map("x", "2")).write("k8s/b/w.yaml", config_map("w", "1"));
    site.checkout.remove("k8s/a/y.yaml");
    site
}

#[test]
fn an_apply_of_a_new_root() {
    check_formats("apply_new_root", || Site::on(new_server()), &APPLY);
}

#[test]
fn an_apply_without_changes() {
    check_formats("apply_nothing_to_do", Site::applied, &APPLY);
}

#[test]
fn an_apply_with_changes_and_a_deletion() {
    check_formats("apply_changes", changed, &APPLY);
}

#[test]
fn an_apply_that_keeps_an_object() {
    let kept = || {
        let site = Site::changed(|world| {
            edit(world, Y, |y| y["metadata"]["annotations"]["kubernator.io/cleanup"] = "keep".into());
        });
        site.checkout.remove("k8s/a/y.yaml");
        site
    };
    check_formats("apply_kept", kept, &APPLY);
}

#[test]
fn an_apply_that_a_guard_refuses() {
    let emptied = || {
        let site = Site::applied();
        for file in ["a/x.yaml", "a/y.yaml", "b/z.yaml"] {
            site.checkout.remove(format!("k8s/{file}"));
        }
        site
    };
    check_formats("apply_refused", emptied, &APPLY);
}

#[test]
fn an_apply_with_a_blocked_object() {
    let blocked = || {
        let site = Site::changed(|world| {
            edit(world, X, |x| x["metadata"]["annotations"]["kubernator.io/project"] = "other.a".into());
        });
        site.checkout.write("k8s/b/w.yaml", config_map("w", "1"));
        site
    };
    check_formats("apply_blocked", blocked, &APPLY);
}

#[test]
fn an_apply_with_a_failed_object() {
    let failing = || {
        let site = changed();
        site.server.set_hand(|request, _| {
            writes(request, X).then(|| status(422, "Invalid", "ConfigMap \"x\" is invalid: data: Forbidden: not today"))
        });
        site
    };
    check_formats("apply_failed", failing, &APPLY);
}

#[test]
fn an_apply_whose_deletion_fails() {
    let failing = || {
        let site = changed();
        site.server.set_hand(|request, _| {
            let is_deletion = request.method == "DELETE" && request.target.starts_with(Y);
            let is_dry_run = String::from_utf8_lossy(&request.body).contains("dryRun");
            (is_deletion && !is_dry_run).then(|| status(403, "Forbidden", "nobody deletes here"))
        });
        site
    };
    check_formats("apply_deletion_failed", failing, &APPLY);
}

#[test]
fn an_apply_while_another_run_holds_the_lock() {
    let locked = || changed_on(Site::changed(lock));
    check_formats("apply_locked", locked, &APPLY);
}

#[test]
fn an_apply_that_is_interrupted() {
    for format in ["terminal", "markdown", "json"] {
        let site = changed();
        // The run sends the last object of the wave last. All others were sent before the signal.
        let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: z\ndata:\n  key: b3RoZXI=\n";
        site.checkout.write("k8s/b/z.yaml", secret);
        let arguments: Vec<&str> = APPLY.into_iter().chain(["-o", format]).collect();
        let ended = interrupted_at(&site, &arguments, |request| writes(request, Z));
        compare(&format!("apply_interrupted_{format}"), site.shown(&arguments, ended));
    }
}

#[test]
fn an_apply_with_a_source_that_cannot_be_read() {
    let broken = || {
        let site = changed();
        site.checkout.write("k8s/b/broken.yaml", "kind: [\n");
        site
    };
    check_formats("apply_broken", broken, &APPLY);
}

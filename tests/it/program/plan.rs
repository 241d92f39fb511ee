//! `ktor plan` and `ktor scope`.

use serde_json::Value;

use super::{LEASE, Site, X, Y, check, check_formats, config_map, edit, new_server};

fn changed() -> Site {
    let site = Site::applied();
    site.checkout.write("k8s/a/x.yaml", config_map("x", "2")).write("k8s/b/w.yaml", config_map("w", "1"));
    site
}

fn dropped() -> Site {
    let site = Site::applied();
    site.checkout.remove("k8s/a/y.yaml");
    site
}

#[test]
fn a_plan_of_a_new_root() {
    check_formats("plan_new_root", || Site::on(new_server()), &["plan", "-p", "k8s"]);
}

#[test]
fn a_plan_without_changes() {
    check_formats("plan_nothing_to_do", Site::applied, &["plan", "-p", "k8s"]);
}

#[test]
fn a_plan_with_changes() {
    check_formats("plan_changes", changed, &["plan", "-p", "k8s", "--detailed-exitcode"]);
}

#[test]
fn a_plan_with_a_deletion() {
    check_formats("plan_deletion", dropped, &["plan", "-p", "k8s"]);
}

#[test]
fn a_plan_that_keeps_an_object() {
    let kept = || {
        let site = Site::changed(|world| {
            edit(world, Y, |y| y["metadata"]["annotations"]["kubernator.io/cleanup"] = "keep".into());
        });
        site.checkout.remove("k8s/a/y.yaml");
        site
    };
    check_formats("plan_kept", kept, &["plan", "-p", "k8s"]);
}

#[test]
fn a_plan_that_a_guard_refuses() {
    let emptied = || {
        let site = Site::applied();
        for file in ["a/x.yaml", "a/y.yaml", "b/z.yaml"] {
            site.checkout.remove(format!("k8s/{file}"));
        }
        site
    };
    check_formats("plan_refused", emptied, &["plan", "-p", "k8s"]);
}

#[test]
fn a_plan_with_a_blocked_object() {
    let blocked = || {
        let site = Site::changed(|world| {
            edit(world, X, |x| x["metadata"]["annotations"]["kubernator.io/project"] = "other.a".into());
        });
        site.checkout.write("k8s/b/w.yaml", config_map("w", "1"));
        site
    };
    check_formats("plan_blocked", blocked, &["plan", "-p", "k8s"]);
}

#[test]
fn a_plan_with_a_source_that_cannot_be_read() {
    let broken = || {
        let site = dropped();
        site.checkout.write("k8s/b/broken.yaml", "kind: [\n");
        site
    };
    check_formats("plan_broken", broken, &["plan", "-p", "k8s"]);
}

#[test]
fn an_offline_plan() {
    let committed = || {
        let site = changed();
        site.checkout.remove("k8s/a/y.yaml").commit("second");
        site
    };
    check_formats("plan_offline", committed, &["plan", "-p", "k8s", "--offline", "--base", "HEAD~1"]);
}

/// K10: what a base that cannot be rendered had is not known. The head is planned, and nothing is shown as deleted.
#[test]
fn k10_an_offline_plan_whose_base_cannot_be_rendered_deletes_nothing() {
    let site = changed();
    site.checkout.write("k8s/b/web.tmpl.yaml", "kind: {${ ktor.nothing }$}\n").commit("broken");
    site.checkout.remove("k8s/a/y.yaml");
    let arguments = ["plan", "-p", "k8s", "--offline", "--base", "HEAD", "-o", "json"];
    // A head that has the same mistake fails, and one that mends it is planned.
    assert_ne!(site.run(&arguments).status.code(), Some(0));
    site.checkout.write("k8s/b/web.tmpl.yaml", config_map("web", "1"));
    let output = site.run(&arguments);
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let actions = |list: &str| -> Vec<(String, String)> {
        let text = |change: &Value, pointer: &str| change.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        let changes = plan[list].as_array().unwrap().iter();
        let actions = changes.map(|change| (text(change, "/key/name"), text(change, "/action")));
        actions.filter(|(_, action)| action != "unchanged").collect()
    };
    assert_eq!(actions("changes"), [("web".to_owned(), "create".to_owned())], "{plan:#}");
    assert_eq!(actions("cleanup"), [("y".to_owned(), "keep".to_owned())], "{plan:#}");
    assert!(plan["notices"].to_string().contains("this plan shows no deletion"), "{plan:#}");
}

#[test]
fn a_plan_does_not_wait_for_a_lock() {
    let locked = || {
        let site = dropped();
        site.server.set_hand(|request, _| {
            assert!(!request.target.starts_with(LEASE), "a plan does not look at the lock");
            None
        });
        site
    };
    check("plan_locked", &locked(), &["plan", "-p", "k8s"]);
}

#[test]
fn a_plan_without_a_server() {
    let site = Site::applied();
    std::fs::remove_file(site.checkout.home().join("kubeconfig")).unwrap();
    check("plan_no_kubeconfig", &site, &["plan", "-p", "k8s"]);
}

#[test]
fn command_lines_that_are_wrong() {
    let site = Site::applied();
    check("plan_usage", &site, &["plan", "--offlin"]);
    check("plan_usage_project", &site, &["plan", "-p", "k8s", "-I", "demo.c"]);
    check("apply_usage", &site, &["apply", "-p", "k8s"]);
    check("scope_usage", &site, &["scope", "-p", "k8s", "-o", "markdown"]);
    check("state_usage", &site, &["state"]);
    check("unlock_usage", &site, &["unlock", "-p", "k8s", "someone", "--holder", "someone"]);
    check("plan_no_project", &site, &["plan"]);
}

#[test]
fn the_scope_of_a_run() {
    for format in ["text", "json"] {
        check(&format!("scope_all_{format}"), &Site::applied(), &["scope", "-p", "k8s", "-o", format]);
        let arguments = ["scope", "-p", "k8s", "--base", "HEAD", "-o", format];
        check(&format!("scope_changed_{format}"), &dropped(), &arguments);
        check(&format!("scope_nothing_{format}"), &Site::applied(), &arguments);
    }
    let broken = dropped();
    broken.checkout.write("k8s/.ktor.yaml", "project: demo\ncleanup: perhaps\n");
    check("scope_broken", &broken, &["scope", "-p", "k8s"]);
}

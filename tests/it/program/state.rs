//! `ktor state` and `ktor unlock`.

use super::{Site, check, lock, new_server};

fn dropped() -> Site {
    let site = Site::applied();
    site.checkout.remove("k8s/a/y.yaml");
    site
}

#[test]
fn the_state_of_a_root() {
    for format in ["terminal", "json"] {
        let show = ["state", "show", "-p", "k8s", "-o", format];
        check(&format!("state_show_{format}"), &Site::applied(), &show);
        check(&format!("state_show_locked_{format}"), &Site::changed(lock), &show);
        check(&format!("state_show_nothing_{format}"), &Site::on(new_server()), &show);
        check(&format!("state_list_{format}"), &Site::applied(), &["state", "list", "-p", "k8s", "-o", format]);
        let orphans = ["state", "orphans", "-p", "k8s", "-o", format];
        check(&format!("state_orphans_{format}"), &dropped(), &orphans);
        check(&format!("state_no_orphans_{format}"), &Site::applied(), &orphans);
    }
}

#[test]
fn changes_of_the_state() {
    check("state_rebuild", &Site::applied(), &["state", "rebuild", "-p", "k8s", "--yes"]);
    check("state_mv", &Site::applied(), &["state", "mv", "demo.a", "demo.c", "-p", "k8s", "--yes"]);
    check("state_rm_unknown", &Site::applied(), &["state", "rm", "ConfigMap/shop/q", "-p", "k8s", "--yes"]);
    check("state_rm_unasked", &Site::applied(), &["state", "rm", "ConfigMap/shop/y", "-p", "k8s"]);
    let locked = ["state", "rebuild", "-p", "k8s", "--yes", "--lock-timeout", "0"];
    check("state_rebuild_locked", &Site::changed(lock), &locked);
}

#[test]
fn the_release_of_a_lock() {
    check("unlock", &Site::changed(lock), &["unlock", "-p", "k8s", "maria@laptop#1a2b3c4d"]);
    check("unlock_another", &Site::changed(lock), &["unlock", "-p", "k8s", "someone@else#00000000"]);
    check("unlock_nothing", &Site::applied(), &["unlock", "-p", "k8s", "maria@laptop#1a2b3c4d"]);
}

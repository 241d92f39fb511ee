//! A user of the cluster with exactly the rights that a test grants.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::controlplane::User;

use super::bench::Bench;

/// The part of the cluster in which rules apply.
pub enum Extent<'a> {
    /// The whole cluster.
    Everywhere,
    /// Only this namespace.
    In(&'a str),
}

/// Creates a service account with these rights, and returns its kubeconfig.
pub fn deployer(bench: &Bench, name: &str, rights: &[(Extent<'_>, Value)]) -> PathBuf {
    let home = "kube-public";
    bench.kubectl(&["create", "serviceaccount", name, "-n", home], "");
    for (number, (extent, rules)) in rights.iter().enumerate() {
        let role = format!("{name}-{number}");
        let (kind, namespace) = match extent {
            Extent::Everywhere => ("Cluster", Value::Null),
            Extent::In(namespace) => ("", json!(namespace)),
        };
        let metadata = json!({"name": role, "namespace": namespace});
        let (group, kind) = ("rbac.authorization.k8s.io", format!("{kind}Role"));
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": metadata, "rules": rules},
            {"apiVersion": format!("{group}/v1"), "kind": format!("{kind}Binding"), "metadata": metadata,
             "roleRef": {"apiGroup": group, "kind": kind, "name": role},
             "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": home}]}]});
        bench.kubectl(&["create", "-f", "-"], &objects.to_string());
    }
    let token = bench.kubectl(&["create", "token", name, "-n", home], "");
    let admin = fs::read_to_string(bench.plane.kubeconfig(User::Admin)).unwrap();
    let mut config: Value = serde_json::from_str(&admin).unwrap();
    config["users"][0]["user"] = json!({"token": token.trim()});
    let path = bench.plane.folder().join(format!("{name}.kubeconfig"));
    fs::write(&path, config.to_string()).unwrap();
    path
}

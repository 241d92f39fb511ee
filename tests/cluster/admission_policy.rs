//! A policy that makes the API server refuse one operation on one ConfigMap.

use std::time::{Duration, Instant};

use serde_json::json;

use super::bench::Bench;

/// A policy that is in effect.
pub struct Denied<'a>(&'a Bench, String);

impl<'a> Denied<'a> {
    /// Creates the policy, and waits until the server refuses the kubectl command `probe`.
    pub fn new(bench: &'a Bench, operation: &str, ns: &str, name: &str, probe: &[&str]) -> Self {
        let policy = format!("deny-{ns}");
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": policy},
             "spec": {"failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                    "operations": [operation], "resources": ["configmaps"]}]},
                "validations": [{"expression": format!("request.namespace != '{ns}' || request.name != '{name}'"),
                    "message": "the auditors want it"}]}},
            {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
             "metadata": {"name": policy}, "spec": {"policyName": policy, "validationActions": ["Deny"]}}]});
        bench.kubectl(&["create", "-f", "-"], &objects.to_string());
        let began = Instant::now();
        while bench.plane.kubectl(probe).status.success() {
            assert!(began.elapsed() < Duration::from_secs(60), "the policy takes effect");
            std::thread::sleep(Duration::from_millis(200));
        }
        Self(bench, policy)
    }

    /// Deletes the policy, and waits until the server accepts the kubectl command `probe`.
    pub fn lift(self, probe: &[&str]) {
        let Self(bench, policy) = &self;
        let delete = |kind| drop(bench.kubectl(&["delete", kind, policy], ""));
        delete("validatingadmissionpolicybinding");
        delete("validatingadmissionpolicy");
        let began = Instant::now();
        while !bench.plane.kubectl(probe).status.success() {
            assert!(began.elapsed() < Duration::from_secs(60), "the policy is lifted");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

//! Discovers the kinds that the server serves.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use serde_json::Value;

use super::connect::Cluster;
use super::error::ClusterError;
use super::path::{Target, is_plain};
use super::request::Call;
use super::transport::ApiAnswer;
use crate::object::ident::{GroupKind, split_api_version};
use crate::object::kinds::{Kind, Kinds};
use crate::object::name::Rule;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// The verbs that a kind must allow so that its objects can be managed.
const VERBS: [&str; 5] = ["get", "list", "create", "patch", "delete"];

impl Cluster {
    /// Asks the server for all kinds that it serves.
    ///
    /// A group whose server does not answer is recorded as unavailable. If a kind of such a group is missing, this
    /// proves nothing.
    ///
    /// # Errors
    ///
    /// The server does not answer, refuses `/api` or `/apis`, or does not list the kinds of the core group.
    pub async fn discover(&self) -> Result<Kinds, ClusterError> {
        let (core, groups) =
            futures::future::try_join(self.documents(Target::core()), self.documents(Target::groups())).await?;
        let mut found = Found::default();
        for document in [core, groups] {
            if document.get("kind").and_then(Value::as_str) == Some("APIGroupDiscoveryList") {
                found.aggregated(&document);
            } else {
                self.legacy(&document, &mut found).await?;
            }
        }
        Ok(Kinds::new(found.kinds.into_values(), found.unavailable))
    }

    async fn documents(&self, target: Target) -> Result<Value, ClusterError> {
        let answer = self.discovery_answer(target.clone(), AGGREGATED).await?;
        // An older server may refuse the aggregated format instead of answering in the legacy format.
        let answer = if answer.status == StatusCode::NOT_ACCEPTABLE {
            self.discovery_answer(target, "application/json").await?
        } else {
            answer
        };
        answer.json().filter(|_| answer.status.is_success()).ok_or_else(|| self.wire.refused(DISCOVER, &answer))
    }

    async fn discovery_answer(&self, target: Target, accept: &'static str) -> Result<ApiAnswer, ClusterError> {
        let call = Call::get(target).accepting(accept);
        self.wire.send(&call).await.map_err(|error| self.wire.failed(DISCOVER, error))
    }

    /// Sends one request for each group and version, for servers without the aggregated format.
    async fn legacy(&self, document: &Value, found: &mut Found) -> Result<(), ClusterError> {
        // `/api` lists the versions of the core group. `/apis` lists the other groups with their versions.
        let mut versions: Vec<(String, String)> =
            strings(document, "versions").map(|version| (String::new(), version.to_owned())).collect();
        for group in array(document, "groups") {
            let preferred = group.pointer("/preferredVersion/groupVersion").and_then(Value::as_str);
            let others = array(group, "versions").filter_map(|version| version.get("groupVersion")?.as_str());
            let ordered = preferred.into_iter().chain(others.filter(|other| Some(*other) != preferred));
            versions
                .extend(ordered.map(split_api_version).map(|(group, version)| (group.to_owned(), version.to_owned())));
        }
        for (group, version) in versions {
            if !is_named(&group, &version) {
                found.unavailable.insert(group);
                continue;
            }
            let target = Target::group_version(&group, &version);
            let answer = self.discovery_answer(target, "application/json").await?;
            match answer.json().filter(|_| answer.status.is_success()) {
                Some(list) => found.legacy(&group, &version, &list),
                None if group.is_empty() => return Err(self.wire.refused(DISCOVER, &answer)),
                None => {
                    found.unavailable.insert(group);
                }
            }
        }
        Ok(())
    }
}

const DISCOVER: &str = "ask the server for its kinds";

#[derive(Default)]
struct Found {
    kinds: BTreeMap<GroupKind, Kind>,
    unavailable: BTreeSet<String>,
}

impl Found {
    fn aggregated(&mut self, document: &Value) {
        for group in array(document, "items") {
            let name = group.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            for version in array(group, "versions") {
                if text(version, "freshness") == "Stale" {
                    self.unavailable.insert(name.to_owned());
                }
                for resource in array(version, "resources") {
                    let kind = resource.pointer("/responseKind/kind").and_then(Value::as_str).unwrap_or_default();
                    let namespaced = text(resource, "scope") == "Namespaced";
                    self.add(name, text(version, "version"), kind, text(resource, "resource"), namespaced, resource);
                }
            }
        }
    }

    fn legacy(&mut self, group: &str, version: &str, list: &Value) {
        for resource in array(list, "resources").filter(|resource| !text(resource, "name").contains('/')) {
            let namespaced = resource.get("namespaced").and_then(Value::as_bool).unwrap_or(false);
            self.add(group, version, text(resource, "kind"), text(resource, "name"), namespaced, resource);
        }
    }

    /// Records one resource. Versions are in the order in which the server prefers them.
    fn add(&mut self, group: &str, version: &str, kind: &str, plural: &str, namespaced: bool, resource: &Value) {
        // The output of an aggregated server is untrusted. A resource that is not valid in a path is ignored, and its
        // group counts as unavailable, because the rest of the group is not reliable either.
        if !is_named(group, version) || !is_plain(plural) || !Rule::Kind.allows(kind) {
            self.unavailable.insert(group.to_owned());
            return;
        }
        let verbs: BTreeSet<&str> = strings(resource, "verbs").collect();
        let manageable = VERBS.iter().all(|verb| verbs.contains(verb));
        let group_kind = GroupKind::new(group, kind);
        let new = Kind {
            group_kind: group_kind.clone(),
            plural: plural.to_owned(),
            namespaced,
            versions: vec![version.to_owned()],
            manageable,
        };
        match self.kinds.get_mut(&group_kind) {
            Some(known) if known.plural == plural => {
                if !known.versions.iter().any(|served| served == version) {
                    known.versions.push(version.to_owned());
                }
            }
            // If two resources have the same kind, the one that can be managed is used.
            Some(known) if known.manageable || !manageable => {}
            _ => {
                self.kinds.insert(group_kind, new);
            }
        }
    }
}

/// Returns `true` if the group and the version are valid in a path.
fn is_named(group: &str, version: &str) -> bool {
    (group.is_empty() || is_plain(group)) && is_plain(version)
}

fn array<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn strings<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    array(value, field).filter_map(Value::as_str)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Fault};
    use super::*;
    use http::Method;
    use serde_json::json;

    const ALL: [&str; 6] = ["create", "delete", "get", "list", "patch", "watch"];

    fn kinds(found: &Kinds) -> Vec<String> {
        let line = |kind: &Kind| {
            let scope = if kind.namespaced { "namespaced" } else { "cluster" };
            let manageable = if kind.manageable { "" } else { ", not manageable" };
            format!("{} {} {} {scope}{manageable}", kind.group_kind, kind.plural, kind.versions.join(","))
        };
        found.iter().map(line).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_aggregated_form_takes_two_requests() {
        let resource = |name: &str, kind: &str, scope: &str, verbs: &[&str]| {
            json!({"resource": name, "responseKind": {"group": "", "version": "", "kind": kind}, "scope": scope,
                "verbs": verbs, "subresources": [{"subresource": "status", "responseKind": {"kind": "Other"}}]})
        };
        let list = |items: Value| json!({"kind": "APIGroupDiscoveryList", "items": items});
        let fake = Fake::new();
        fake.set(
            "/api",
            Some(list(json!([{"metadata": {}, "versions": [{"version": "v1", "freshness": "Current",
            "resources": [resource("namespaces", "Namespace", "Cluster", &ALL),
                resource("bindings", "Binding", "Namespaced", &["create"])]}]}]))),
        );
        fake.set("/apis", Some(list(json!([
            {"metadata": {"name": "shop.dev"}, "versions": [
                {"version": "v1", "freshness": "Current", "resources": [resource("tills", "Till", "Namespaced", &ALL)]},
                {"version": "v1beta1", "freshness": "Current", "resources": [
                    resource("tills", "Till", "Namespaced", &ALL), resource("drawers", "Drawer", "Namespaced", &ALL)]}]},
            {"metadata": {"name": "dead.dev"}, "versions": [{"version": "v1", "freshness": "Stale"}]}]))));
        let found = fake.cluster().discover().await.unwrap();
        assert_eq!(
            kinds(&found),
            [
                "Binding bindings v1 namespaced, not manageable",
                "Namespace namespaces v1 cluster",
                "Drawer.shop.dev drawers v1beta1 namespaced",
                "Till.shop.dev tills v1,v1beta1 namespaced",
            ]
        );
        assert_eq!((found.is_conclusive_for("dead.dev"), found.is_conclusive_for("shop.dev")), (false, true));
        assert_eq!(fake.journal().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_server_is_asked_group_by_group() {
        let resource = |name: &str, kind: &str| json!({"name": name, "kind": kind, "namespaced": true, "verbs": ALL});
        let fake = Fake::new();
        fake.fail(Method::GET, "/api", Fault::ApiAnswer(406, json!({})));
        fake.set("/api", Some(json!({"kind": "APIVersions", "versions": ["v1"]})));
        fake.set("/api/v1", Some(json!({"resources": [resource("pods", "Pod"), resource("pods/status", "Pod")]})));
        let version = |version: &str| json!({"groupVersion": version});
        fake.set(
            "/apis",
            Some(json!({"kind": "APIGroupList", "groups": [
            {"name": "a.dev", "versions": [version("a.dev/v1beta1"), version("a.dev/v1")],
                "preferredVersion": version("a.dev/v1")},
            {"name": "dead.dev", "versions": [version("dead.dev/v1")], "preferredVersion": version("dead.dev/v1")}]})),
        );
        for version in ["v1", "v1beta1"] {
            fake.set(&format!("/apis/a.dev/{version}"), Some(json!({"resources": [resource("xs", "X")]})));
        }
        let found = fake.cluster().discover().await.unwrap();
        assert_eq!(kinds(&found), ["Pod pods v1 namespaced", "X.a.dev xs v1,v1beta1 namespaced"]);
        assert!(!found.is_conclusive_for("dead.dev"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_has_no_kinds_that_anyone_knows_of() {
        let fake = Fake::new();
        for _ in 0..20 {
            fake.fail(Method::GET, "/api", Fault::ApiAnswer(503, json!({})));
        }
        assert!(fake.cluster().discover().await.is_err());
    }
}

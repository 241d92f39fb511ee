//! Which kinds the server serves.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use serde_json::Value;

use super::connect::Cluster;
use super::error::ClusterError;
use super::request::{Call, escape};
use super::transport::Answer;
use crate::object::ident::{GroupKind, split_api_version};
use crate::object::kinds::{Kind, Kinds};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// What an object of a kind must allow for its kind to be managed.
const VERBS: [&str; 5] = ["get", "list", "create", "patch", "delete"];

impl Cluster {
    /// Asks the server for every kind that it serves.
    ///
    /// A group whose own server does not answer is known to be unavailable: that none of its kinds is here proves nothing.
    pub async fn discover(&self) -> Result<Kinds, ClusterError> {
        let (core, groups) = futures::future::try_join(self.documents("/api"), self.documents("/apis")).await?;
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

    async fn documents(&self, path: &str) -> Result<Value, ClusterError> {
        let answer = self.discovery_answer(path, AGGREGATED).await?;
        // A server that is too old for the aggregated form may refuse it instead of answering in another.
        let answer = if answer.status == StatusCode::NOT_ACCEPTABLE {
            self.discovery_answer(path, "application/json").await?
        } else {
            answer
        };
        answer.json().filter(|_| answer.status.is_success()).ok_or_else(|| self.wire.refused(DISCOVER, &answer))
    }

    async fn discovery_answer(&self, path: &str, accept: &'static str) -> Result<Answer, ClusterError> {
        let call = Call::get(path.to_owned()).accepting(accept);
        self.wire.send(&call).await.map_err(|error| self.wire.failed(DISCOVER, error))
    }

    /// One request for each group and version, for servers without the aggregated form.
    async fn legacy(&self, document: &Value, found: &mut Found) -> Result<(), ClusterError> {
        // `/api` lists versions of the core group, `/apis` groups with theirs.
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
            let path = match group.as_str() {
                "" => format!("/api/{}", escape(&version)),
                group => format!("/apis/{}/{}", escape(group), escape(&version)),
            };
            let answer = self.discovery_answer(&path, "application/json").await?;
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

    /// Notes one resource. Versions come in the server's order of preference.
    fn add(&mut self, group: &str, version: &str, kind: &str, plural: &str, namespaced: bool, resource: &Value) {
        if kind.is_empty() || plural.is_empty() || version.is_empty() {
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
            // Two resources of one kind: the one that can be managed is meant.
            Some(known) if known.manageable || !manageable => {}
            _ => {
                self.kinds.insert(group_kind, new);
            }
        }
    }
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

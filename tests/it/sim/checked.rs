//! The plan checker on the simulated site: it gets what a run planned and did, and the server before and after the run.

use std::collections::BTreeSet;

use ktor_action::conclusion::{concluded, ended};
use ktor_action::object::ident::ObjectKey;
use ktor_action::run::ended::RunReport;
use serde_json::Value;
use support::model::World;
use support::plan_checker::{self, Observation, Owner, Surroundings};

use super::choice::Tree;
use super::invariant::{commits_in, is_ours, state};
use super::simulation::{LEASE, REVIEW_KEY, STATE, Simulation};

/// Checks a run that has ended, and adds the violations to those of the site.
///
/// `before` is the server before the run, if nobody else could change the server during the run.
pub fn check(site: &Simulation, report: &RunReport, tree: Tree, before: Option<&World>) {
    let result = ended(report).and_then(|()| concluded(&report.plan));
    let exit = result.map_or_else(|failure| failure.exit.code(), |()| 0);
    let mut violations = match before {
        None => plan_checker::report(report, exit),
        Some(before) => {
            let desired = tree.desired().into_iter().map(key_at).collect();
            let (before, after) = (observe(before), observe(&site.world()));
            plan_checker::run(report, exit, Surroundings { before: &before, after: &after, desired: &desired })
        }
    };
    violations.extend(plan_checker::outcome(report));
    site.add_violations(violations);
}

/// Returns the content of a server as the checker sees it.
fn observe(world: &World) -> Observation {
    let objects = world.objects().filter(|(path, _)| !path.contains("/kubernator-system"));
    let live = objects.map(|(path, object)| {
        let owner = if is_ours(object) { Owner::Ours } else { Owner::Another };
        (key_at(path), (owner, object["metadata"]["resourceVersion"].to_string()))
    });
    let commits = |path: &str| ["ktor-begun", "ktor-ledger"].map(|name| commits_in(world, path, &[name]));
    let is_finalized = state(world).is_some_and(|state| state["finalized"] == true);
    let is_unlocked = world.object(LEASE).is_none();
    let is_settled =
        is_unlocked && is_finalized && commits(STATE) == commits(REVIEW_KEY) && commits(STATE)[0].len() == 1;
    Observation { live: live.collect(), recorded: recorded(world), is_settled }
}

fn recorded(world: &World) -> BTreeSet<ObjectKey> {
    let Some(state) = state(world) else { return BTreeSet::new() };
    let projects = ["resources", "pending"].into_iter().filter_map(|part| state[part].as_object());
    let idents = projects.flat_map(|projects| projects.values()).filter_map(Value::as_array).flatten();
    let key = |ident: &Value| {
        let text = |field: &str| ident[field].as_str().unwrap_or_default().to_owned();
        let namespace = ident["namespace"].as_str().map(str::to_owned);
        ObjectKey { group: text("group"), kind: text("kind"), namespace, name: text("name") }
    };
    idents.map(key).collect()
}

/// Returns the key of the object at a path.
fn key_at(path: &str) -> ObjectKey {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let (group, rest) = if parts[0] == "api" { ("", &parts[2..]) } else { (parts[1], &parts[3..]) };
    let (namespace, plural, name) = match rest {
        ["namespaces", namespace, plural, name] => (Some((*namespace).to_owned()), *plural, *name),
        [plural, name] => (None, *plural, *name),
        _ => panic!("{path} is no object"),
    };
    let kind = match plural {
        "configmaps" => "ConfigMap",
        "secrets" => "Secret",
        "clusterroles" => "ClusterRole",
        "namespaces" => "Namespace",
        other => other,
    };
    ObjectKey { group: group.to_owned(), kind: kind.to_owned(), namespace, name: name.to_owned() }
}

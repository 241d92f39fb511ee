//! The tests that need real programs: an API server with etcd and its companions, Kubernator, and a workflow runner.
//!
//! The first run builds these programs. Each test uses its own root and its own namespaces.
#![cfg(test)]

mod action;
mod admission_policy;
mod agreement;
mod apply;
mod bench;
mod chaos;
mod cleanup;
mod cohabiting;
mod collateral;
mod consent;
mod controlplane;
mod crash;
mod deletion;
mod deployer;
mod drift;
mod engine;
mod errors;
mod exported;
mod final_answers;
mod foreign;
mod gitea;
mod hostile;
mod kept_earlier;
mod kinds;
mod kubeconfig;
mod kubernator;
mod kustomize;
mod leftover_fields;
mod lock;
mod lost_fields;
mod migration;
mod moved_tree;
mod obstacles;
mod ownership;
mod plan;
mod prerequisites;
mod pull_requests;
mod ready;
mod record;
mod rename;
mod replace;
mod rights;
mod scenario;
mod secrecy;
mod served_versions;
mod shards;
mod shop;
mod skip;
mod story;
mod terminating;
mod unready;
mod waiting;
mod workflow;

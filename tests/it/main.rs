//! The one integration-test binary.
#![cfg(test)]

mod action;
mod architecture;
#[path = "../cluster/mod.rs"]
mod cluster;
mod controlplane;
mod forge;
mod git;
mod hostile;
mod mutants;
mod packaging;
mod plan;
mod report;
mod secrecy;
mod shell;
mod sim;
mod support;
mod workflow;
mod yaml;

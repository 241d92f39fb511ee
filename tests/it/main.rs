//! The tests that need only Rust, git, a shell and Python: no API server, no network.
#![cfg(test)]

/// An allocator for many threads. The simulator spends a fifth of its time in the one of the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod architecture;
mod confinement;
mod documented;
mod forge;
mod git;
mod hostile;
mod mutants;
mod packaging;
mod plan;
mod plan_checker;
mod program;
mod report;
mod samples;
mod secrecy;
mod shell;
mod sim;
mod yaml;

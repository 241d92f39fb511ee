//! The one integration-test binary.

mod controlplane;
mod forge;
mod git;
mod report;
mod support;
mod yaml;

//! The one integration-test binary.

mod controlplane;
mod forge;
mod git;
mod support;
mod yaml;

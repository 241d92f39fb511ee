//! Producing manifests from files: the work tree as a snapshot, YAML as kubectl reads it, plain files.
//!
//! Adapter: reads files, decides nothing about the cluster.

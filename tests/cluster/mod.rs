//! Tests of the built binary on a real API server. Each works under a root and in namespaces of its own.

mod apply;
mod bench;
mod chaos;
mod cleanup;
mod consent;
mod content;
mod crash;
mod denied;
mod errors;
mod gone;
mod kinds;
mod kubernator;
mod lock;
mod migration;
mod ownership;
mod plan;
mod record;
mod rename;
mod replace;
mod scenario;
mod served;
mod shards;
mod skip;
mod terminating;
mod twins;
mod waiting;

//! The library behind `ktor`. It applies directory trees of Kubernetes manifests, and deletes the objects that a tree
//! no longer contains.
//!
//! Start here. The README says what the program does. This page says where that happens.
//!
//! # The path of a pull request
//!
//! 1. [`cli`] parses the command line. [`action`] dispatches on the event, which [`forge::context`] reads.
//! 2. [`git`] reads the trees of the head and of the base. It never runs anything that a tree names.
//! 3. [`project`] loads the settings and assigns each directory to a project. [`render`] reads the manifests.
//!    [`object::resolve`] turns them into desired objects.
//! 4. [`run::decide`] reads the state and observes the cluster. It asks the API server for a dry run of each change that
//!    [`plan::unchanged`] cannot rule out.
//! 5. [`plan::build`] decides. It is a pure function from the request and the observations to a plan.
//! 6. [`report`] turns the plan into text, and [`forge`] writes the comment. The jobs of a matrix leave their plans as files
//!    instead, and [`action::summary`] makes one comment of them.
//!
//! # The path of a push
//!
//! 1. Steps 1 to 3 are the same. [`state::lateness`] compares the commit with the commits in the state.
//! 2. [`run::reconcile`] acquires the lock and is the two-phase reconcile, from top to bottom. It reads the state and
//!    decides as above.
//! 3. [`run::record`] writes the intent. [`run::apply`] applies the waves and waits. [`run::cleanup`] deletes. Then the
//!    state is finalized. [`run::events`] tell the progress while it happens.
//! 4. The run returns a [`run::ended::RunReport`]. [`conclusion`] derives the messages and the exit code from it.
//! 5. Every write passes [`cluster::connect::Cluster`], whose gate sends it only while the lock is held.
//!
//! # Layers
//!
//! The **domain** decides: [`project`] ← [`object`] ← [`state`] ← [`plan`]. Each may use those before it.
//!
//! The **adapters** talk to one external system each, translate its errors, and decide nothing: [`cluster`] (the API
//! server), [`forge`] (GitHub and compatible servers), [`git`], [`render`] (files to manifests), [`process`].
//!
//! [`run`] fetches the remote charts that a lock names, asks the cluster, does what a plan says, and records it. [`report`] is pure text. Neither knows the other.
//!
//! [`conclusion`] derives exit codes and messages from plans, reports of runs and errors. [`action`] is the workflow: it
//! dispatches on the event and writes the comments, and knows no command line. [`cli`] parses, reads the environment,
//! and prints.
//!
//! # Invariants
//!
//! Each names the test that holds it.
//!
//! **Invariant:** the domain has no async code, clock, environment, I/O, randomness or logging, and imports no adapter.
//! Adapters never import each other. (`tests/it/architecture.rs`)
//!
//! **Invariant:** every object that a run may have created is in the state before the run creates it, so no crash leaks
//! an object. (`tests/it/sim/crashes.rs`, which stops runs at every request)
//!
//! **Invariant:** an object is deleted only if its live mark names this root, and only the object with the uid and the
//! resourceVersion that the plan saw. (`tests/it/sim/invariant.rs`, `tests/cluster/ownership.rs`)
//!
//! **Invariant:** a run that has lost its lock changes nothing more. (`tests/it/sim/faults.rs`, `tests/cluster/chaos`)
//!
//! **Invariant:** an older commit never overwrites what a newer commit applied. (`tests/it/sim/branch.rs`)
//!
//! **Invariant:** a live value that is secret, or that belongs to an object which is not ours, reaches no output.
//! (`tests/it/secrecy.rs`, `tests/cluster/secrecy.rs`)
//!
//! **Invariant:** the state that one run can write, the next run can read. (`tests/it/hostile.rs`)
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | adopt | To make an unmarked live object ours by applying a manifest to it. |
//! | blocked | Of a desired object: another root owns it, another manager owns a field, or it cannot be read. |
//! | cleanup | The deletion of objects that are recorded and no longer desired. |
//! | cohabiting | Of two keys: the API server serves one object under both. |
//! | fence | The local deadline after which a lock's holder sends no more changes. |
//! | finalized | Of the state: the last run finished, and the state lists exactly the owned objects. |
//! | kept | Of an object: a guard, a missing review or an annotation prevents its deletion or replacement. |
//! | ledger | The commit that a root was last finalized at. |
//! | leftover | A recorded object that is no longer desired and whose deletion no review covers. |
//! | mark | The annotation and the label that say which root owns a live object. |
//! | open | Of a project: it has something blocked, kept or unready, so every later run covers it. |
//! | permit | The proof in a request that it may change the cluster: a held lock. |
//! | root | The project at the top of a tree. It has one state and one lock. |
//! | scope | The projects that a run may change. |
//! | settled | Of the state: no earlier run can have created an object that the state does not list. |
//! | state | The list of owned objects, in a Secret. |
//! | sweep | To list kinds by the root's label, to find what a run that died has created. |
//! | take over | To make objects or fields of another owner ours. |
//! | unready | Of an object: it was not ready before the run, the run did not change it, and it did not become ready. |
//! | wave | A step of an apply. The objects of one wave are ready before the next wave is sent. |
//!
//! # Why raw requests
//!
//! [`cluster`] uses `kube::Client` to connect, and builds the requests itself instead of with `kube::Api`. The gate
//! must see the exact path and query of every request, dry runs must be told apart from writes at the wire, and a
//! missing answer must stay different from a refusal. `kube::Api` hides all three.

#![warn(unreachable_pub)]

pub(crate) mod action;
pub mod cli;
pub mod cluster;
pub mod conclusion;
pub mod forge;
pub mod git;
pub mod object;
pub mod plan;
pub mod process;
pub mod project;
pub mod render;
pub mod report;
pub mod run;
pub mod state;

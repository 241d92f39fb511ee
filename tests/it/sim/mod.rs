//! The deterministic simulator: the real reconcile against a model of the API server, under virtual time.
//!
//! The simulator is exhaustive over the crash points of up to three runs in a row, over requests that stay under way
//! and arrive late, over faults of each request, and over two contending actors with one switch each way. Every
//! scenario ends with runs that nothing disturbs, with a plan that must be empty, and with checks of the named
//! invariants. A counterexample is printed as numbered steps.

mod between;
mod branch;
mod checked;
mod choice;
mod crashes;
mod faults;
mod history;
mod invariant;
mod kept_objects;
mod other_actors;
mod random;
mod script;
mod simulation;
mod stories;

//! The deterministic simulator: the real reconcile against a model of the API server, under virtual time.
//!
//! Exhaustive over crash points for up to three runs in a row, over what stays under way and arrives late, over faults
//! of each request, and over two contending actors with one switch each way. Every scenario ends with runs that nothing
//! disturbs, with a plan that has to be empty, and with the invariants by their names. A counterexample is printed as
//! numbered steps.

mod agreement;
mod between;
mod branch;
mod choice;
mod crashes;
mod faults;
mod history;
mod invariant;
mod kept_objects;
mod model;
mod other_actors;
mod random;
mod script;
mod simulation;
mod stories;
